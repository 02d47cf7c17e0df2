/* Congestion control by a plug-in (mtcp_cc_plugin.h): copies out, calls, copies back in bounds. */
#include <tcp/cc.h>

#include <tcp/internal.h>
#include <tcp/mtcp_cc_plugin.h>

static_assert(sizeof(((struct mtcp_cc_view *)0)->state) <= sizeof(union tcp_cc_state),
	"its state fits the block's");
static_assert((int)TCP_CC_LOSS == MTCP_CC_LOSS && (int)TCP_CC_ECN == MTCP_CC_ECN &&
		      (int)TCP_CC_TIMEOUT == MTCP_CC_TIMEOUT,
	"the same reasons");

static uint32_t clamp(uint64_t v, uint32_t lo)
{
	return v < lo ? lo : v > TCP_CWND_MAX_BYTES ? TCP_CWND_MAX_BYTES : (uint32_t)v;
}

static struct mtcp_cc_view show(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	const struct tcp_extra *x = tcp_extra(ctx, c);
	struct mtcp_cc_view v = {
		.mss = c->snd_mss_bytes,
		.cwnd = c->cwnd,
		.ssthresh = c->ssthresh,
		.pacing_rate = c->cc_phase ? x->pacing_rate : 0,
		.flight = (uint32_t)tcp_conn_pipe(ctx, c),
		.srtt_us = c->srtt_us,
		.min_rtt_us = c->rtt_min_us == UINT32_MAX ? 0 : c->rtt_min_us,
	};

	memcpy(v.state, x->cc_state.word, sizeof(v.state));
	return v;
}

/* cc_phase says that the plug-in sets the rate. */
static void take_back(struct tcp_ctx *ctx, struct tcp_conn *c, const struct mtcp_cc_view *v)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);

	memcpy(x->cc_state.word, v->state, sizeof(v->state));
	c->cc_phase = v->pacing_rate != 0;
	tcp_pace_at(ctx, c, v->pacing_rate);
}

static void plugin_init(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct mtcp_cc_view v = show(ctx, c);

	ctx->cfg->cc_plugin->init(&v);
	take_back(ctx, c, &v);
	c->cwnd = clamp(v.cwnd, c->snd_mss_bytes);
	c->ssthresh = clamp(v.ssthresh, 2u * c->snd_mss_bytes);
}

static void plugin_acked(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	struct mtcp_cc_view v = show(ctx, c);

	ctx->cfg->cc_plugin->acked(&v, a->acked_bytes, a->rtt_us, a->now_us);
	take_back(ctx, c, &v);
	c->cwnd = clamp(v.cwnd, c->snd_mss_bytes);
	c->ssthresh = clamp(v.ssthresh, 2u * c->snd_mss_bytes);
}

/* cwnd is recovery's to set here. */
static uint32_t plugin_ssthresh(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	struct mtcp_cc_view v = show(ctx, c);
	uint32_t ssthresh;

	v.flight = (uint32_t)flight_bytes;
	ssthresh = ctx->cfg->cc_plugin->ssthresh(&v, (enum mtcp_cc_why)why);
	take_back(ctx, c, &v);
	return clamp(ssthresh, 2u * c->snd_mss_bytes);
}

static void plugin_undo(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct mtcp_cc_view v = show(ctx, c);

	if (!ctx->cfg->cc_plugin->undo)
		return;
	ctx->cfg->cc_plugin->undo(&v);
	take_back(ctx, c, &v);
}

const struct tcp_cc_ops tcp_cc_plugin = {
	.name = "plugin",
	.init = plugin_init,
	.ssthresh = plugin_ssthresh,
	.acked = plugin_acked,
	.undo = plugin_undo,
	.state = true,
};
