/* What can be judged from the frames alone, as their sender hands them to the link.
 *
 * For each connection and direction:
 *	right-edge	decoded with the scale that both SYNs agreed on, never moves left (RFC 9293
 *			section 3.8.6.2.1, RFC 7323 section 2.4)
 *	within-window	data never lies past the edge that the other side has sent, but for one byte
 *			of a probe
 *	segment-size	nor is a segment longer than the other side's MSS (RFC 9293 section 3.7.1)
 *	ack-arrived	nothing is acknowledged that has not come
 *	sack-arrived	nor SACKed (RFC 2018 section 4, RFC 2883 section 4)
 *	no-reneging	an acknowledgement never stops at a byte that was SACKed before
 *	timestamps	are in each segment if in both SYNs, and never go back (RFC 7323
 *section 3.2) ect-new-data	ECT is on new data only (RFC 3168 section 6.1.5) Frames are also
 *what --trace prints and --pcap writes.
 */
#ifndef SIM_WIRE_H
#define SIM_WIRE_H

#include "sim_ranges.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
	SIM_WIRE_SYNS = 4,     /* different ones in answer to one */
	SIM_WIRE_FLOWS = 1024, /* more are not followed */
};

/* What a SYN said. */
struct sim_wire_syn {
	uint32_t isn;
	int8_t wscale; /* -1: no option */
	bool ts;
	uint16_t mss; /* the longest segment that it takes, options counted */
};

/* One direction. */
struct sim_wire_way {
	/* A cookie and a half-open entry may both answer one SYN: the other side's ACK tells which
	 * of them counts. */
	struct sim_wire_syn said[SIM_WIRE_SYNS];
	uint32_t said_count;
	uint32_t said_ack; /* of all of them */
	bool chosen;
	uint32_t isn;
	uint32_t seq_end; /* behind the highest byte sent */
	uint32_t edge;	  /* right edge that it has promised */
	int8_t wscale;	  /* -1: no option in its SYN */
	bool syn, edge_valid, fin, ts, ts_valid;
	uint32_t fin_seq;
	uint32_t ts_last;
	uint16_t mss;		   /* the longest segment that it takes, options counted */
	struct sim_ranges arrived; /* of its bytes, at the other side; relative to isn */
	struct sim_ranges sacked;  /* of its bytes, by the other side, behind its ACK */
};
struct sim_wire_flow {
	uint32_t ports; /* of side 0 above, of side 1 below; 0: free */
	bool ip6;
	struct sim_wire_way way[2];
};

struct sim_wire {
	struct sim_wire_flow *flows;
	uint32_t flow_count;
	bool judge;
	FILE *trace;
	int pcapng; /* -1: none */
	uint64_t frames, data_bytes, sack_blocks;
	bool digests;	 /* each frame goes into ... */
	uint64_t digest; /* two runs with the same one had the same frames at the same times */
};

void sim_wire_init(struct sim_wire *w);
void sim_wire_fini(struct sim_wire *w);
/* A pcapng file of all frames from now on, with that comment. 0 or -errno. */
int sim_wire_pcapng(struct sim_wire *w, const char *path, const char *comment);
/* A sim_tap_fn. */
void sim_wire_tap(void *arg, uint64_t now_us, int side, const uint8_t *frame, uint32_t len);
/* Another: `side` still is the sender; the frame has arrived at the other one. */
void sim_wire_arrival(void *arg, uint64_t now_us, int side, const uint8_t *frame, uint32_t len);

#endif
