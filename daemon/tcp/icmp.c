/* ICMP errors about a connection: RFC 5927, RFC 1191, RFC 9293 section 3.9.2.2.
 *
 * Anybody can send one, so it must quote a sequence number in flight, and it ends nothing but
 * an open that has not succeeded: later it is only remembered, and explains a time-out.
 */
#include <tcp/internal.h>

static bool icmp_in_flight(const struct tcp_conn *c, uint32_t seq)
{
	uint32_t una = tcp_conn_una_seq(c);

	if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED)
		return seq == c->iss;
	return tcp_seq_within(seq, una, (uint32_t)(tcp_conn_snd_max(c) - tcp_conn_una(c)));
}

uint32_t tcp_icmp_error(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t seq, int error_errno, uint64_t now_us)
{
	(void)now_us;
	if (c->state == TCP_CLOSED || !icmp_in_flight(c, seq)) {
		ctx->counters->icmp_ignored++;
		return 0;
	}
	if (c->state == TCP_SYN_SENT)
		return tcp_conn_close(ctx, c, error_errno, false);
	ctx->counters->icmp_soft++;
	c->soft_error = (uint8_t)error_errno;
	return 0;
}

/* What is in flight was too big: it is sent again in smaller pieces. That is no sign of
 * congestion, cwnd stays (RFC 1191 section 6.4); but what recovery allowed beside the flight may
 * have been less than a segment, and nothing is in flight now. */
uint32_t tcp_icmp_too_big(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t seq, uint32_t mtu_bytes, uint64_t now_us)
{
	bool ip4 = net_addr_is_ip4(&c->entry.key.local);
	uint32_t mtu_min = ip4 ? TCP_MTU_MIN_BYTES : TCP_MTU6_MIN_BYTES;
	uint32_t mss = (mtu_bytes > mtu_min ? mtu_bytes : mtu_min) - tcp_mtu_overhead(c);

	if (!tcp_conn_sends(c) || !icmp_in_flight(c, seq) ||
		(mss >= c->snd_mss_bytes && !tcp_mtu_bounded(ctx, c, mss))) {
		ctx->counters->icmp_ignored++;
		return 0;
	}
	if (mss >= c->snd_mss_bytes)
		return 0; /* only a probe was too big */
	tcp_mtu_reduced(ctx, c, mss, now_us);
	tcp_recovery_drop(ctx, c);
	if (c->cwnd < mss)
		c->cwnd = mss;
	c->snd_nxt_low = (uint32_t)(tcp_conn_una(c));
	c->flags &= ~TCP_F_RTT_TIMED;
	ctx->counters->mtu_reduced++;
	return tcp_conn_settle(ctx, c, now_us);
}
