/* Delivery rate estimation (draft-ietf-ccwg-bbr section 4.1, draft-cheng-iccrg-delivery-rate-
 * estimation): how fast did the network deliver lately?
 *
 * When a segment leaves, what had been delivered by then is noted; when it is acknowledged, what
 * was delivered since, over the longer of the time it took to send and the time it took to be
 * acknowledged, is a sample. Both times count, since either ACKs or data may come in a bunch.
 *
 *     sent          |--- send_elapsed ---|
 *               first_sent             sent                    now
 *     acknowledged       |delivered_us|------ ack_elapsed ------|
 *
 * Not every segment is noted: TCP_RATE_NOTES spread over the window are plenty, and a block per
 * connection stays small. What a note says of the round trip counts only if nothing was sent
 * again meanwhile. Lost is what was sent again: an estimate that needs no scoreboard.
 */
#ifndef TCP_CC_RATE_H
#define TCP_CC_RATE_H

#include <tcp/cc.h>

enum {
	TCP_RATE_NOTES = 48,
};

struct tcp_rate_note {
	uint64_t end_pos;
	uint64_t sent_us, first_sent_us;
	uint64_t delivered, delivered_us; /* as of when it was sent */
	uint64_t lost;
	uint32_t in_flight; /* with it */
	uint32_t app_limited;
};

struct tcp_rate {
	uint64_t delivered, delivered_us;
	uint64_t first_sent_us;
	uint64_t lost;
	uint64_t app_limited; /* samples up to this `delivered` say little; 0: none */
	uint64_t reached;     /* una and what is SACKed beyond it, bytes: `delivered` follows it */
	uint32_t retrans_seen;
	uint32_t pad2;
	uint32_t head, count;
	uint32_t pad;
	struct tcp_rate_note note[TCP_RATE_NOTES];
};

struct tcp_rate_sample {
	uint64_t bw;		  /* bytes a second; 0: none */
	uint64_t delivered;	  /* bytes over the interval */
	uint64_t prior_delivered; /* when the sampled segment left; UINT64_MAX: no sample */
	uint64_t newly_delivered;
	uint64_t newly_lost;
	uint64_t lost; /* since the sampled segment left */
	uint64_t in_flight_then;
	uint64_t in_flight; /* now */
	uint32_t rtt_us;    /* 0: none */
	bool app_limited;
};

void tcp_rate_init(struct tcp_rate *r, const struct tcp_ctx *ctx, const struct tcp_conn *c);
void tcp_rate_sent(struct tcp_rate *r, const struct tcp_ctx *ctx, const struct tcp_conn *c,
	uint64_t end_pos, uint64_t now_us);
void tcp_rate_acked(struct tcp_rate *r, const struct tcp_ctx *ctx, const struct tcp_conn *c,
	const struct tcp_cc_ack *a, struct tcp_rate_sample *out);

#endif
