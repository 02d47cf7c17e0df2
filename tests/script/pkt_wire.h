/* Packets between the script's notation and frames.
 *
 * A script counts from its own initial sequence numbers and timestamps. A pkt_map holds, for a
 * connection, what has to be added: the script's own numbers are given an arbitrary offset, the
 * host's are learned from its first SYN and its first timestamp.
 *
 * Payload follows a pattern of its position in the stream, either way, so that each byte that
 * arrives anywhere is known to be the right one.
 */
#ifndef PKT_WIRE_H
#define PKT_WIRE_H

#include "pkt_script.h"

#include <stdio.h>

enum {
	PKT_OPT_EOL = 0,
	PKT_OPT_NOP = 1,
	PKT_OPT_MSS = 2,
	PKT_OPT_WSCALE = 3,
	PKT_OPT_SACK_OK = 4,
	PKT_OPT_SACK = 5,
	PKT_OPT_TS = 8,
	PKT_OPT_FAST_OPEN = 34,
	PKT_FRAME_MAX = 14 + 65535,
};

/* Bit i of the header's flags. */
#define PKT_FLAG_LETTERS "FSRP.UEW"

struct pkt_map {
	bool used;
	bool ip6;
	uint16_t lport, rport; /* of the host, of the script's end */
	uint32_t remote_off;   /* live = script's + offset */
	bool remote_known;     /* its SYN was put on the link */
	uint32_t remote_first; /* the script's initial number */
	bool local_known;
	bool local_may_change; /* a new incarnation is on its way */
	uint32_t local_off;
	uint32_t local_first;
	bool ts_known;
	uint32_t ts_off;	  /* of the host's timestamps */
	uint32_t isn, isn_before; /* live, of the last two incarnations */
};

/* What a frame of the host says, in its own numbers. */
struct pkt_frame {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags, ecn;
	uint16_t wnd, urg;
	const uint8_t *opt;
	uint32_t opt_len;
	const uint8_t *payload;
	uint32_t len;
};

static inline uint8_t pkt_pattern(uint32_t pos)
{
	return (uint8_t)(pos * 2654435761u >> 13);
}

/* Writes the frame of a packet that arrives; returns its length. */
uint32_t pkt_wire_build(uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m);
/* Reads a frame of the host; false: not TCP. */
bool pkt_wire_read(struct pkt_frame *f, const uint8_t *frame, uint32_t len);
/* The numbers of a frame of the host (or of the script: `out` false) as the script counts. */
void pkt_wire_relate(
	struct pkt_packet *p, const struct pkt_frame *f, const struct pkt_map *m, bool out);
/* Prints in the script's notation, without time and newline. */
void pkt_wire_print(FILE *out, const struct pkt_packet *p);

/* Calls fn for each number inside options: where it lies, and what it counts. */
enum pkt_number {
	PKT_NUMBER_TS_VAL,
	PKT_NUMBER_TS_ECR,
	PKT_NUMBER_SACK,
};
typedef void pkt_number_fn(void *arg, uint8_t *at, enum pkt_number what);
void pkt_wire_numbers(uint8_t *opt, uint32_t len, pkt_number_fn *fn, void *arg);

#endif
