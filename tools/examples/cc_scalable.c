/* A congestion control plug-in for mtcpd: Scalable TCP (Kelly, 2003).
 *
 * The window grows by a hundredth of what is acknowledged and falls by an eighth at a loss, so that
 * the time from one loss to the next does not depend on the window. Slow start is as usual.
 * Build it, install it where root alone can write, and say in mtcpd.conf:
 *
 *     [tcp]
 *     congestion_plugin = /usr/local/lib/mtcpd/cc_scalable.so
 *     congestion_control = plugin
 */
#include <mtcp_cc_plugin.h>

enum {
	GROWTH_DIVISOR = 100,
	BACKOFF_DIVISOR = 8,
	BURST_SEGMENTS = 8,
};

/* state[0]: bytes acknowledged that have not made a byte of growth yet */

static void scalable_init(struct mtcp_cc_view *v)
{
	v->state[0] = 0;
}

static void scalable_acked(
	struct mtcp_cc_view *v, uint32_t acked_bytes, uint32_t rtt_us, uint64_t now_us)
{
	uint32_t most = BURST_SEGMENTS * v->mss;

	(void)rtt_us;
	(void)now_us;
	if (v->cwnd < v->ssthresh) {
		v->cwnd += acked_bytes < most ? acked_bytes : most;
		return;
	}
	v->state[0] += acked_bytes;
	v->cwnd += (uint32_t)(v->state[0] / GROWTH_DIVISOR);
	v->state[0] %= GROWTH_DIVISOR;
}

static uint32_t scalable_ssthresh(struct mtcp_cc_view *v, enum mtcp_cc_why why)
{
	if (why == MTCP_CC_TIMEOUT)
		return v->flight / 2;
	return v->cwnd - v->cwnd / BACKOFF_DIVISOR;
}

#ifndef PLUGIN_ABI /* a test makes one of another version */
#define PLUGIN_ABI MTCP_CC_PLUGIN_ABI
#endif

__attribute__((visibility("default"))) extern const struct mtcp_cc_plugin mtcp_cc_plugin;
const struct mtcp_cc_plugin mtcp_cc_plugin = {
	.abi = PLUGIN_ABI,
	.size = sizeof(struct mtcp_cc_plugin),
	.name = "scalable",
	.init = scalable_init,
	.acked = scalable_acked,
	.ssthresh = scalable_ssthresh,
};
