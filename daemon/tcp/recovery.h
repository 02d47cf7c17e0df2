/* What the files of SACK-based loss recovery share: sack.c, rack.c, prr.c, tlp.c, recovery.c. */
#ifndef TCP_RECOVERY_H
#define TCP_RECOVERY_H

#include <tcp/internal.h>
#include <tcp/score.h>

/* One ACK on its way through recovery. */
struct tcp_round {
	struct tcp_ctx *ctx;
	struct tcp_conn *c;
	struct tcp_score *s;
	const struct tcp_segment *seg;
	uint64_t now_us;
	uint32_t acked;	       /* sequence numbers that SND.UNA moved by */
	uint32_t delivered;    /* bytes newly acknowledged or SACKed */
	uint32_t newly_sacked; /* bytes */
	uint32_t newly_lost;   /* bytes */
	bool dsack;	       /* the ACK reports a duplicate ... */
	uint64_t dsack_start_pos, dsack_end_pos;
	bool overtaken;	       /* the ACK came behind newer ones */
	bool left;	       /* this ACK has ended a fast recovery: cwnd is ssthresh */
	bool original_arrived; /* data given up by a time-out and never sent again was delivered */
};

/* -- sack.c: judges the blocks of r->seg ---------------------------------------------------- */

struct tcp_sack_blocks {
	uint32_t count;
	struct tcp_reasm_range block[TCP_SACK_BLOCKS_MAX]; /* ascending, in flight */
};
/* Fills *b with the believable blocks, and r->dsack with the duplicate reported, if any. */
void tcp_sack_read(struct tcp_round *r, struct tcp_sack_blocks *b);

/* -- rack.c: RFC 8985 section 6 ------------------------------------------------------------- */

/* A piece was delivered that was not SACKed before. */
void tcp_rack_delivered(struct tcp_round *r, const struct tcp_piece *p);
/* The ACK reports a duplicate. */
void tcp_rack_saw_dsack(struct tcp_ctx *ctx, struct tcp_conn *c);
/* A recovery has ended. */
void tcp_rack_recovered(const struct tcp_ctx *ctx, struct tcp_conn *c);
/* Marks what is lost by now; returns when to look again, in us from now, 0: no need. */
uint32_t tcp_rack_detect(struct tcp_round *r);
/* Marks what a retransmission time-out gives up. */
void tcp_rack_timeout(struct tcp_round *r);

/* -- prr.c: RFC 9937 ------------------------------------------------------------------------ */

void tcp_prr_enter(struct tcp_round *r);
void tcp_prr_acked(struct tcp_round *r);

/* -- tlp.c: RFC 8985 section 7 -------------------------------------------------------------- */

void tcp_tlp_acked(struct tcp_round *r);

#endif
