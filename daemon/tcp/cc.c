/* Congestion control: what all algorithms share. The theory is in cc.h. */
#include <tcp/cc.h>

static const struct tcp_cc_ops *const algorithms[TCP_CC_COUNT] = {
	[TCP_CC_NEWRENO] = &tcp_cc_newreno,
};

const struct tcp_cc_ops *tcp_cc_of(const struct tcp_conn *c)
{
	assert(c->cc < TCP_CC_COUNT);
	return algorithms[c->cc];
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t tcp_cc_initial_window(const struct tcp_conn *c)
{
	uint32_t mss = c->snd_mss_bytes;
	uint32_t two = 2 * mss > 14600 ? 2 * mss : 14600;

	if (c->retries > 1)
		return mss;
	return min_u32(10 * mss, two);
}

void tcp_cc_start(struct tcp_conn *c)
{
	c->cwnd = tcp_cc_initial_window(c);
	c->ssthresh = TCP_CWND_MAX_BYTES;
	tcp_cc_of(c)->init(c);
}

void tcp_cc_idle(struct tcp_conn *c)
{
	c->cwnd = min_u32(c->cwnd, tcp_cc_initial_window(c));
}
