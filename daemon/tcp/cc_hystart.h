/* HyStart++: leaving slow start before it overflows the bottleneck (RFC 9406).
 *
 * Slow start goes in rounds of a round trip. Once the smallest round trip of a round exceeds
 * that of the round before by an eighth, a queue is building: growth falls to a quarter
 * (conservative slow start). If the round trips fall again it was a false alarm; if they have
 * not after five rounds, congestion avoidance begins where cwnd is then.
 *
 * Only the first slow start of a connection is watched: a later one has a threshold. The state
 * lies in the algorithm's own, which does not need its part for congestion avoidance yet.
 */
#ifndef TCP_CC_HYSTART_H
#define TCP_CC_HYSTART_H

#include <tcp/cc.h>

/* RFC 9406 section 4.3. */
enum {
	TCP_HYSTART_MIN_RTT_THRESH_US = 4000,
	TCP_HYSTART_MAX_RTT_THRESH_US = 16000,
	TCP_HYSTART_MIN_RTT_DIVISOR = 8,
	TCP_HYSTART_SAMPLES = 8,
	TCP_HYSTART_CSS_GROWTH_DIVISOR = 4,
	TCP_HYSTART_CSS_ROUNDS = 5,
};

void tcp_hystart_init(struct tcp_conn *c, struct tcp_hystart *h);

/* Grows cwnd in slow start, and sets ssthresh when it must end. */
void tcp_hystart_acked(
	struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_hystart *h, const struct tcp_cc_ack *a);

#endif
