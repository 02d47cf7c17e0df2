/* Theory of operation: cc_agent.h. */
#include <tcp/cc_agent.h>

#include <tcp/counters.h>
#include <tcp/internal.h>

struct tcp_agent {
	struct tcp_rate rate;
	uint64_t asked_us; /* the first report since the last order; 0: none */
	uint64_t reported_us;
	uint32_t epoch; /* of the agent that knows of this connection; 0: none does */
	uint32_t seq;	/* of the last report */
	uint32_t fence; /* the first report that an order may answer */
	uint32_t flags; /* enum tcp_agent_flag */
	bool governed;
	bool paces;
	bool urgent;		      /* an event waits to be reported */
	struct tcp_agent_report sums; /* for the next report */
};
static_assert(sizeof(struct tcp_agent) <= TCP_CC_BLOCK_BYTES, "fits the block");

static struct tcp_agent *agent(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_cc_block(ctx, c);
}

static uint32_t clamp(uint64_t v, uint64_t lo, uint64_t hi)
{
	return (uint32_t)(v < lo ? lo : v > hi ? hi : v);
}

/* Bytes a second; 0: the window alone. */
static void set_rate(struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_agent *b, uint64_t rate)
{
	b->paces = rate != 0;
	tcp_pace_at(ctx, c, clamp(rate, 0, UINT32_MAX));
}

/* CUBIC governs; cwnd and ssthresh are the caller's. */
static void dismiss(struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_agent *b)
{
	if (!b->governed)
		return;
	b->governed = false;
	b->flags = 0;
	set_rate(ctx, c, b, 0);
	tcp_cc_cubic.init(ctx, c);
	ctx->counters->agent_fallbacks++;
}

/* The same without a back-off: what is in flight is proven to fit, and the window may be absurd. */
static void do_without(struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_agent *b)
{
	uint32_t proven =
		clamp(tcp_conn_pipe(ctx, c), tcp_cc_initial_window(c), TCP_CWND_MAX_BYTES);

	if (!b->governed)
		return;
	dismiss(ctx, c, b);
	c->ssthresh = clamp(proven, 2u * c->snd_mss_bytes, c->ssthresh);
	if (!tcp_conn_in_episode(c) && c->cwnd > proven)
		c->cwnd = proven;
}

/* -- reports ------------------------------------------------------------------------------------
 */

static void report(struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_agent *b, uint64_t now_us)
{
	if (!b->asked_us)
		b->asked_us = now_us;
	b->reported_us = now_us;
	b->urgent = false;
	b->sums.seq = b->seq + 1;
	b->sums.now_us = now_us;
	b->sums.governed = b->governed;
	if (!ctx->ops->agent_report(ctx->ops_arg, c, &b->sums)) {
		ctx->counters->agent_reports_dropped++;
		return; /* the next one tells it all */
	}
	b->seq++;
	ctx->counters->agent_reports++;
	memset(&b->sums, 0, sizeof(b->sums));
}

/* To an agent that does not know of us. */
static void introduce(struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_agent *b, uint64_t now_us)
{
	b->epoch = ctx->agent_epoch;
	b->asked_us = 0;
	b->seq = 0;
	b->fence = 1;
	b->urgent = false;
	memset(&b->sums, 0, sizeof(b->sums));
	if (!b->epoch)
		return;
	b->sums.events = TCP_AGENT_NEW;
	report(ctx, c, b, now_us);
}

static uint64_t patience_us(const struct tcp_conn *c)
{
	uint64_t us = (uint64_t)c->srtt_us * TCP_AGENT_PATIENCE_RTTS;

	return us > TCP_AGENT_PATIENCE_MIN_US ? us : TCP_AGENT_PATIENCE_MIN_US;
}

static bool report_is_due(const struct tcp_ctx *ctx, const struct tcp_conn *c,
	const struct tcp_agent *b, uint64_t now_us)
{
	uint64_t interval_us = ctx->cfg->cc_agent_interval_us;

	if (c->srtt_us > interval_us)
		interval_us = c->srtt_us;
	return now_us - b->reported_us >= interval_us;
}

static void sum_up(
	struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_agent *b, const struct tcp_cc_ack *a)
{
	struct tcp_agent_report *r = &b->sums;
	struct tcp_rate_sample s;

	tcp_rate_acked(&b->rate, ctx, c, a, &s);
	r->acked_bytes += a->acked_bytes;
	r->delivered_bytes += s.newly_delivered;
	r->lost_bytes += s.newly_lost;
	if (tcp_conn_has(c, TCP_F_ECE_NOW))
		r->marked_bytes += a->acked_bytes;
	if (s.bw > r->delivery_rate)
		r->delivery_rate = s.bw;
	if (!a->rtt_us)
		return;
	r->rtt_us = a->rtt_us;
	if (!r->rtt_least_us || a->rtt_us < r->rtt_least_us)
		r->rtt_least_us = a->rtt_us;
}

/* Every ACK. An event has not waited for its time. */
static void agent_observe(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	struct tcp_agent *b = agent(ctx, c);

	sum_up(ctx, c, b, a);
	if (b->epoch != ctx->agent_epoch) {
		do_without(ctx, c, b);
		introduce(ctx, c, b, a->now_us);
	}
	if (!b->epoch)
		return;
	if (b->governed && b->asked_us && a->now_us - b->asked_us > patience_us(c)) {
		do_without(ctx, c, b);
		b->sums.events |= TCP_AGENT_SILENCE;
		b->urgent = true;
		b->fence = b->seq + 1;
	}
	if (report_is_due(ctx, c, b, a->now_us) || b->urgent)
		report(ctx, c, b, a->now_us);
}

/* The first data, and what follows a time-out: an agent need not wait for an ACK to hear of it. */
static void agent_sent(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, uint64_t now_us)
{
	struct tcp_agent *b = agent(ctx, c);

	if (!b)
		return;
	tcp_rate_sent(&b->rate, ctx, c, end_pos, now_us);
	if (!b->epoch && ctx->agent_epoch)
		introduce(ctx, c, b, now_us);
	else if (b->epoch == ctx->agent_epoch && b->urgent)
		report(ctx, c, b, now_us);
}

/* -- what the others do --------------------------------------------------------------------------
 */

static void agent_init(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_agent *b = agent(ctx, c);

	memset(b, 0, sizeof(*b));
	tcp_rate_init(&b->rate, ctx, c);
	tcp_cc_cubic.init(ctx, c);
	c->flags |= TCP_F_CC_WATCH;
}

static void agent_acked(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	const struct tcp_agent *b = agent(ctx, c);

	if (!b || !b->governed)
		tcp_cc_cubic.acked(ctx, c, a);
	else if (c->cwnd < c->ssthresh)
		c->cwnd += tcp_cc_slow_start_bytes(c, a->acked_bytes);
}

static uint32_t agent_ssthresh(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	static const uint32_t event[] = {
		[TCP_CC_LOSS] = TCP_AGENT_LOSS,
		[TCP_CC_ECN] = TCP_AGENT_ECN,
		[TCP_CC_TIMEOUT] = TCP_AGENT_TIMEOUT,
	};
	struct tcp_agent *b = agent(ctx, c);

	if (!b)
		return tcp_cc_cubic.ssthresh(ctx, c, flight_bytes, why);
	b->sums.events |= event[why];
	b->urgent = true;
	if (why == TCP_CC_TIMEOUT)
		dismiss(ctx, c, b);
	else if (b->flags & TCP_AGENT_KEEP)
		return clamp(c->ssthresh, 2u * c->snd_mss_bytes, TCP_CWND_MAX_BYTES);
	b->fence = b->seq + 1;
	return tcp_cc_cubic.ssthresh(ctx, c, flight_bytes, why);
}

static void agent_undo(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_agent *b = agent(ctx, c);

	tcp_cc_cubic.undo(ctx, c);
	if (b)
		b->sums.events |= TCP_AGENT_UNDO;
}

const struct tcp_cc_ops tcp_cc_agent = {
	.name = "agent",
	.init = agent_init,
	.ssthresh = agent_ssthresh,
	.acked = agent_acked,
	.undo = agent_undo,
	.observe = agent_observe,
	.sent = agent_sent,
	.state = true,
	.block = true,
};

bool tcp_agent_paces(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	const struct tcp_agent *b = agent(ctx, c);

	return b && b->paces;
}

bool tcp_agent_keeps(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	const struct tcp_agent *b = agent(ctx, c);

	return b && b->flags & TCP_AGENT_KEEP;
}

/* -- orders ------------------------------------------------------------------------------------ */

/* Does it answer one of our reports, and not one of before the last back-off? */
static bool is_timely(const struct tcp_ctx *ctx, const struct tcp_agent *b, uint32_t seq)
{
	return b->epoch && b->epoch == ctx->agent_epoch && (int32_t)(seq - b->fence) >= 0 &&
	       (int32_t)(b->seq - seq) >= 0;
}

uint32_t tcp_agent_order(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_agent_order *o, uint64_t now_us)
{
	struct tcp_agent *b = agent(ctx, c);
	uint32_t cwnd = clamp(o->cwnd, 2u * c->snd_mss_bytes, TCP_CWND_MAX_BYTES);

	if (!b || !is_timely(ctx, b, o->seq)) {
		ctx->counters->agent_orders_late++;
		return 0;
	}
	if (cwnd != o->cwnd || o->pacing_rate > UINT32_MAX ||
		(o->pacing_rate && o->pacing_rate < c->snd_mss_bytes))
		ctx->counters->agent_orders_clamped++;
	ctx->counters->agent_orders++;
	b->asked_us = 0;
	b->governed = true;
	b->flags = o->flags & TCP_AGENT_FLAGS;
	set_rate(ctx, c, b, o->pacing_rate);
	c->ssthresh = cwnd;
	tcp_validate_undone(ctx, c); /* recovery, if any, ends with this window */
	if (!tcp_conn_in_episode(c) && c->cwnd > cwnd)
		c->cwnd = cwnd;
	return tcp_conn_settle(ctx, c, now_us);
}
