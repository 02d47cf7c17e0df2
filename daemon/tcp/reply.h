/* Answers that belong to no connection, and the limit on those that anyone can provoke.
 *
 * Used by the compact entries and by whoever answers a segment at once. An ACK that says no
 * more than where we stand can set off another one at the peer, and a forger can ask for any
 * number: such ACKs are challenge ACKs to us, whatever the clause that demands them, and
 * share the budget of RFC 5961 section 7. Answers that end the matter (RST, SYN|ACK to a
 * SYN, the ACK of a repeated FIN) are one for one and not limited.
 */
#ifndef TCP_REPLY_H
#define TCP_REPLY_H

#include <tcp/tcp.h>

/* RFC 9293 SEG.LEN: payload, SYN and FIN. */
static inline uint32_t tcp_reply_seg_len(const struct tcp_segment *seg)
{
	return seg->len + !!(seg->flags & TCP_SYN) + !!(seg->flags & TCP_FIN);
}

/* A segment that claims to come from where it goes to. */
static inline bool tcp_reply_is_land(const struct tcp_segment *seg)
{
	return seg->key.lport == seg->key.rport &&
	       net_addr_equal(&seg->key.local, &seg->key.remote);
}

/* A segment without options or payload and a window of 0. */
void tcp_reply_init(struct tcp_out *out, const struct net_tuple *key, uint32_t seq, uint32_t ack,
	uint8_t flags);

/* The RST that *seg deserves (RFC 9293 section 3.5.2, group 1): at SEG.ACK, or, if it has none,
 * at 0 and acknowledging all of it. Counts it. *seg must not be an RST. */
void tcp_reply_rst(struct tcp_ctx *ctx, const struct tcp_segment *seg, struct tcp_out *out);

/* Appends the timestamps option alone. */
void tcp_reply_add_ts(struct tcp_out *out, uint32_t ts_val, uint32_t ts_ecr);

/* Whether one more challenge ACK may go out in this second; counts it either way. The number
 * allowed varies from second to second around cfg->challenge_ack_per_s, between half and one
 * and a half of it: a fixed one could be counted from outside, and tell an attacker whether a
 * guess of his used some of it up (CVE-2016-5696). */
bool tcp_reply_challenge(struct tcp_ctx *ctx, uint64_t now_us);

#endif
