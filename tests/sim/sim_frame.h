/* Frames made by hand: what no engine of ours would send. */
#ifndef SIM_FRAME_H
#define SIM_FRAME_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SIM_FRAME_MAX = 14 + 20 + 60 + 1460,
};

struct sim_tcp {
	uint32_t src_be, dst_be;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t wnd;
	const uint8_t *opt; /* opt_len bytes, a multiple of 4 */
	uint32_t opt_len;
	const uint8_t *payload;
	uint32_t len;
};

/* Builds a frame from side `side`'s MAC to the other's, checksums right, padded to 60 bytes;
 * returns its length. */
uint32_t sim_frame_tcp(uint8_t frame[SIM_FRAME_MAX], int side, const struct sim_tcp *t);

/* Reads the TCP header of an Ethernet frame of IPv4; false if it is none. Options are skipped. */
bool sim_frame_read(struct sim_tcp *t, const uint8_t *frame, uint32_t len);

#endif
