/* Congestion control: what all algorithms share. The theory is in cc.h. */
#include <tcp/cc.h>

#include <tcp/cc_agent.h>
#include <tcp/counters.h>
#include <tcp/internal.h>
#include <tcp/mtcp_cc_plugin.h>

#include <string.h>

static const struct tcp_cc_ops *const algorithms[TCP_CC_COUNT] = {
	[TCP_CC_NEWRENO] = &tcp_cc_newreno,
	[TCP_CC_CUBIC] = &tcp_cc_cubic,
	[TCP_CC_DCTCP] = &tcp_cc_dctcp,
	[TCP_CC_BBR] = &tcp_cc_bbr,
	[TCP_CC_PLUGIN] = &tcp_cc_plugin,
	[TCP_CC_AGENT] = &tcp_cc_agent,
};

static_assert(TCP_CC_COUNT <= 8, "a field of three bits of struct tcp_conn");

const struct tcp_cc_ops *tcp_cc_of(const struct tcp_conn *c)
{
	assert(c->cc < TCP_CC_COUNT);
	return algorithms[c->cc];
}

const char *tcp_cc_name(unsigned int id)
{
	return id < TCP_CC_COUNT ? algorithms[id]->name : NULL;
}

const char *tcp_cc_name_in(const struct tcp_config *cfg, unsigned int id)
{
	if (id == TCP_CC_PLUGIN)
		return cfg->cc_plugin ? cfg->cc_plugin->name : NULL;
	if (id == TCP_CC_AGENT)
		return cfg->cc_agent[0] ? cfg->cc_agent : NULL;
	return tcp_cc_name(id);
}

int tcp_cc_find(const char *name)
{
	for (int i = 0; i < TCP_CC_COUNT; i++)
		if (strcmp(algorithms[i]->name, name) == 0)
			return i;
	return -1;
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

/* What the algorithm cannot do without; false: memory is out. */
static bool begin_block(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ops *ops,
	const struct tcp_extra *x)
{
	if ((ops->state || ops->block) && !x)
		return false;
	if (!ops->block)
		return true;
	if (!ctx->ops->cc_alloc || !ctx->ops->cc_alloc(ctx->ops_arg, c))
		return false;
	c->flags |= TCP_F_CC_BLOCK;
	return true;
}

static void begin(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	const struct tcp_cc_ops *ops = tcp_cc_of(c);
	struct tcp_extra *x;

	/* The configuration is refused without it, and so is a client: tcp_set_congestion(). */
	assert(c->cc != TCP_CC_PLUGIN || ctx->cfg->cc_plugin);
	c->cc_phase = 0;
	c->flags &= ~(TCP_F_CC_WATCH | TCP_F_PACED | TCP_F_PACE_HOLD);
	x = ops->state || ops->block || ops->paced || ctx->cfg->pacing ? tcp_extra_make(ctx, c)
								       : tcp_extra_have(ctx, c);
	if (x) {
		memset(&x->cc_state, 0, sizeof(x->cc_state));
		x->validate = (struct tcp_validate){0};
	}
	if (!begin_block(ctx, c, ops, x)) {
		ctx->counters->cc_no_memory++;
		c->cc = TCP_CC_CUBIC;
		ops = tcp_cc_of(c);
	}
	if (x && (ops->paced || ctx->cfg->pacing))
		c->flags |= TCP_F_PACED;
	ops->init(ctx, c);
}

void tcp_cc_stop(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	c->flags &= ~TCP_F_CC_WATCH;
	if (tcp_conn_has(c, TCP_F_CC_BLOCK))
		ctx->ops->cc_free(ctx->ops_arg, c);
	c->flags &= ~TCP_F_CC_BLOCK;
}

void *tcp_cc_block(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_CC_BLOCK) ? ctx->ops->cc_get(ctx->ops_arg, c) : NULL;
}

void tcp_cc_start(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	c->cwnd = tcp_cc_initial_window(c);
	c->ssthresh = TCP_CWND_MAX_BYTES;
	c->cwnd_acked = 0;
	begin(ctx, c);
}

void tcp_cc_switch(struct tcp_ctx *ctx, struct tcp_conn *c, enum tcp_cc_id id)
{
	assert(id < TCP_CC_COUNT);
	if (c->cc == id)
		return;
	tcp_cc_stop(ctx, c);
	c->cc = (uint8_t)id;
	c->cwnd_acked = 0;
	if (tcp_conn_has(c, TCP_F_EXTRA))
		tcp_extra_have(ctx, c)->pacing_rate = 0;
	if (c->cwnd > 0 && c->state != TCP_CLOSED && c->state != TCP_TIME_WAIT)
		begin(ctx, c);
}

/* Does it know better than RFC 7661 what congestion says of a window? */
static bool sets_ssthresh(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return c->cc == TCP_CC_AGENT ? tcp_agent_keeps(ctx, c) : tcp_cc_of(c)->paced;
}

void tcp_cc_backoff(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	c->ssthresh = tcp_cc_of(c)->ssthresh(ctx, c, flight_bytes, why);
	if (tcp_conn_has(c, TCP_F_EXTRA) && !sets_ssthresh(ctx, c))
		tcp_validate_congested(ctx, c, flight_bytes, why);
	c->cwnd_acked = 0;
	if (tcp_conn_has(c, TCP_F_ECN))
		c->flags |= TCP_F_CWR_OWED; /* RFC 3168 section 6.1.2: whatever the reason */
}

void tcp_cc_undo(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	if (tcp_conn_has(c, TCP_F_EXTRA))
		tcp_validate_undone(ctx, c);
	if (tcp_cc_of(c)->undo)
		tcp_cc_of(c)->undo(ctx, c);
}

/* RFC 7661 section 1, RFC 2861: a window that is not used proves nothing. */
void tcp_cc_acked(
	struct tcp_ctx *ctx, struct tcp_conn *c, bool used, uint32_t acked_bytes, uint64_t now_us)
{
	struct tcp_cc_ack a = {
		.now_us = now_us,
		.acked_bytes = acked_bytes,
		.rtt_us = ctx->rtt_last_us,
	};

	if (!used) {
		c->flags |= TCP_F_CC_UNUSED;
		return;
	}
	if (tcp_conn_has(c, TCP_F_ECE_NOW)) /* RFC 3168 section 6.1.2 */
		return;
	tcp_cc_of(c)->acked(ctx, c, &a);
	c->flags &= ~TCP_F_CC_UNUSED;
	if (c->cwnd > TCP_CWND_MAX_BYTES)
		c->cwnd = TCP_CWND_MAX_BYTES;
}

void tcp_cc_observe(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes, uint64_t now_us)
{
	struct tcp_cc_ack a = {
		.now_us = now_us,
		.acked_bytes = acked_bytes,
		.rtt_us = ctx->rtt_last_us,
	};

	if (tcp_conn_has(c, TCP_F_CC_WATCH))
		tcp_cc_of(c)->observe(ctx, c, &a);
}

void tcp_cc_sent(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, uint64_t now_us)
{
	if (tcp_cc_of(c)->sent)
		tcp_cc_of(c)->sent(ctx, c, end_pos, now_us);
}

/* RFC 5681 section 4.1 for a connection that remembers nothing of its use, else RFC 7661. */
void __attribute__((noinline))
tcp_cc_idle(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (tcp_conn_has(c, TCP_F_PACED) && !tcp_conn_has(c, TCP_F_PACE_HOLD))
		tcp_pace_begin(tcp_extra_have(ctx, c), now_us);
	if (tcp_cc_of(c)->paced)
		return;
	if (tcp_conn_has(c, TCP_F_EXTRA))
		tcp_validate_idle(ctx, c, now_us);
	else
		c->cwnd = min_u32(c->cwnd, tcp_cc_initial_window(c));
	c->flags |= TCP_F_CC_UNUSED;
}
