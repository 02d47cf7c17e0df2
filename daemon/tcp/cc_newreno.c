/* NewReno growth and back-off: RFC 5681 section 3.1, counting bytes as in RFC 3465. */
#include <tcp/cc.h>

enum {
	SLOW_START_SEGMENTS = 8, /* most per ACK; RFC 9406 section 4.3 L, RFC 3465 says 2 */
};

static void newreno_init(struct tcp_conn *c)
{
	c->cwnd_acked = 0;
}

/* RFC 5681 equation 4. */
static uint32_t newreno_ssthresh(const struct tcp_conn *c, uint64_t flight_bytes)
{
	uint64_t half = flight_bytes / 2;
	uint32_t floor = 2u * c->snd_mss_bytes;

	return half > floor ? (uint32_t)half : floor;
}

static void slow_start(struct tcp_conn *c, uint32_t acked_bytes)
{
	uint32_t most = SLOW_START_SEGMENTS * (uint32_t)c->snd_mss_bytes;

	c->cwnd += acked_bytes < most ? acked_bytes : most;
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

static void newreno_acked(struct tcp_conn *c, uint32_t acked_bytes, uint64_t now_us)
{
	(void)now_us;
	if (c->cwnd < c->ssthresh)
		slow_start(c, acked_bytes);
	else
		avoid_congestion(c, acked_bytes);
	if (c->cwnd > TCP_CWND_MAX_BYTES)
		c->cwnd = TCP_CWND_MAX_BYTES;
}

const struct tcp_cc_ops tcp_cc_newreno = {
	.name = "newreno",
	.init = newreno_init,
	.ssthresh = newreno_ssthresh,
	.acked = newreno_acked,
};
