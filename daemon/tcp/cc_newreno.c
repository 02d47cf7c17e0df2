/* NewReno growth and back-off: RFC 5681 section 3.1, counting bytes as in RFC 3465. */
#include <tcp/cc.h>

static void newreno_init(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	(void)ctx;
	(void)c; /* all it needs is cwnd_acked */
}

/* RFC 5681 equation 4. */
static uint32_t newreno_ssthresh(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	uint64_t half = flight_bytes / 2;
	uint32_t floor = 2u * c->snd_mss_bytes;

	(void)ctx;
	(void)why;
	return half > floor ? (uint32_t)half : floor;
}

/* One segment more for each window acknowledged. */
static void avoid_congestion(struct tcp_conn *c, uint32_t acked_bytes)
{
	c->cwnd_acked += acked_bytes;
	if (c->cwnd_acked < c->cwnd)
		return;
	c->cwnd_acked -= c->cwnd;
	if (c->cwnd_acked > c->cwnd)
		c->cwnd_acked = c->cwnd;
	c->cwnd += c->snd_mss_bytes;
}

static void newreno_acked(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	(void)ctx;
	if (c->cwnd < c->ssthresh)
		c->cwnd += tcp_cc_slow_start_bytes(c, a->acked_bytes);
	else
		avoid_congestion(c, a->acked_bytes);
}

const struct tcp_cc_ops tcp_cc_newreno = {
	.name = "newreno",
	.init = newreno_init,
	.ssthresh = newreno_ssthresh,
	.acked = newreno_acked,
};
