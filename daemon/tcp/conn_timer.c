/* The three timers of a connection, and the one deadline in the entry.
 *
 * send_at, while something is to be sent or to be acknowledged:
 *   - SYN-SENT, SYN-RECEIVED: the SYN again, with back-off, syn_retries times;
 *   - data or FIN in flight: retransmission (RFC 6298 section 5), data_retries times; before
 *     it a probe (TCP_L_PTO) or another look at what is late (TCP_L_REO, both RFC 8985);
 *   - nothing in flight, the window closed: a probe (RFC 9293 section 3.8.6.1), with
 *     back-off, for ever as long as the peer answers; an orphan only orphan_retries times;
 *   - nothing in flight, a tail held back: TCP_TAIL_HOLD_US after that the tail goes.
 * ack_at: an ACK is delayed until then.
 * life_at_ms: 2 MSL in TIME-WAIT; the patience with a peer that leaves an orphan in FIN-WAIT-2;
 *   else keepalive. Keepalive is lazy: it looks at the time of the last segment when it fires.
 *
 * A fourth time counts towards the deadline while new data is held: pace_at_us (pace.c).
 *
 * A time-out counts as `retries`, which an ACK of something new clears (and any ACK while only
 * probes are out). `backoff` doubles the time-out; only a valid RTT sample clears it (RFC
 * 6298 section 5.7, Karn), or an ACK that opens the window.
 */
#include <tcp/fastopen.h>
#include <tcp/internal.h>

#include <errno.h>

/* -- arming --------------------------------------------------------------------------------- */

/* Nothing is in flight although something is to be sent: until when is that all right? */
static uint64_t hold_us(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return c->snd_wnd > 0 ? TCP_TAIL_HOLD_US : tcp_conn_rto_us(ctx, c);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* RFC 5482: the user's patience with a peer that acknowledges nothing, or keeps its window shut,
 * counted from the first time-out or probe. */
static bool user_timed_out(const struct tcp_extra *x, uint64_t now_us)
{
	return x->user_timeout_ms && x->stalled_ms &&
	       tcp_ms(now_us) - x->stalled_ms >= x->user_timeout_ms;
}

/* The next time-out comes in time to end that patience. */
static void keep_user_timeout(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	const struct tcp_extra *x = tcp_extra(ctx, c);
	uint32_t gone_ms = tcp_ms(now_us) - x->stalled_ms;
	uint64_t left_us;

	if (!x->stalled_ms || !x->user_timeout_ms || !c->send_at)
		return;
	left_us = gone_ms < x->user_timeout_ms ? (x->user_timeout_ms - gone_ms) * 1000ull : 0;
	if (tcp_timer_us(c->send_at, now_us) > now_us + left_us)
		c->send_at = tcp_timer_in(now_us, left_us);
}

void tcp_stall_end(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);

	if (x)
		x->stalled_ms = 0;
}

void tcp_send_timer_start(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	uint64_t rto_us = tcp_conn_rto_us(ctx, c), pto_us = tcp_tlp_timeout_us(ctx, c);

	c->loss &= (uint16_t) ~(TCP_L_PTO | TCP_L_REO);
	if (pto_us < rto_us)
		c->loss |= TCP_L_PTO;
	c->send_at = tcp_timer_in(now_us, pto_us < rto_us ? pto_us : rto_us);
}

static bool is_opening(const struct tcp_conn *c)
{
	return c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED;
}

/* Is there anything to send, or to be acknowledged? */
static bool has_to_send(const struct tcp_conn *c)
{
	return is_opening(c) || (tcp_conn_una(c) != tcp_conn_end(c) && tcp_conn_sends(c));
}

static void arm_send(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (is_opening(c) || tcp_conn_flight(c) > 0)
		tcp_send_timer_start(ctx, c, now_us);
	else
		c->send_at = tcp_timer_in(now_us, hold_us(ctx, c));
}

void tcp_life_start(struct tcp_conn *c, uint64_t at_us)
{
	uint32_t at_ms = (uint32_t)((at_us + 999) / 1000);

	c->life_at_ms = at_us == TCP_NEVER ? 0 : at_ms ? at_ms : 1;
}

uint64_t tcp_life_us(const struct tcp_conn *c, uint64_t now_us)
{
	uint64_t now_ms = now_us / 1000;

	if (!c->life_at_ms)
		return TCP_NEVER;
	return (now_ms + (uint64_t)(int64_t)(int32_t)(c->life_at_ms - (uint32_t)now_ms)) * 1000;
}

void tcp_keepalive_arm(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	bool patience = c->state == TCP_TIME_WAIT ||
			(c->state == TCP_FIN_WAIT_2 && tcp_conn_has(c, TCP_F_ORPHAN));

	if (patience)
		return;
	c->keepalive_probes = 0;
	tcp_life_start(c, tcp_conn_has(c, TCP_F_KEEPALIVE) ? now_us + tcp_conn_keepidle_us(ctx, c)
							   : TCP_NEVER);
}

/* The earliest of the three. */
static uint64_t deadline_us(const struct tcp_conn *c, uint64_t now_us)
{
	int64_t soon = INT64_MAX, left;
	uint64_t at_us;

	if (c->send_at)
		soon = (int32_t)(c->send_at - (uint32_t)now_us);
	if (c->ack_at) {
		left = (int32_t)(c->ack_at - (uint32_t)now_us);
		soon = left < soon ? left : soon;
	}
	at_us = soon == INT64_MAX ? TCP_NEVER : now_us + (uint64_t)soon;
	return c->life_at_ms ? min_u64(at_us, tcp_life_us(c, now_us)) : at_us;
}

/* Of what few connections have. */
static __attribute__((noinline)) void settle_extra(
	const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	keep_user_timeout(ctx, c, now_us);
	c->entry.deadline_us = deadline_us(c, now_us);
	if (tcp_conn_has(c, TCP_F_PACE_HOLD))
		c->entry.deadline_us =
			min_u64(c->entry.deadline_us, tcp_pace_settle(ctx, c, now_us));
}

void tcp_conn_settle_timers(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	assert(c->state != TCP_CLOSED);
	/* Whatever takes nxt back (a time-out, a closed window, a smaller path MTU) drops the
	 * board. */
	assert(!tcp_conn_loss(c, TCP_L_SCORE) || tcp_conn_snd_nxt(c) == tcp_conn_snd_max(c));
	if (!has_to_send(c))
		c->send_at = 0;
	else if (!c->send_at)
		arm_send(ctx, c, now_us);
	if (tcp_conn_has(c, TCP_F_EXTRA)) /* a paced one has it, too */
		settle_extra(ctx, c, now_us);
	else
		c->entry.deadline_us = deadline_us(c, now_us);
}

uint32_t tcp_conn_settle(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	bool held = tcp_conn_has(c, TCP_F_PACE_HOLD);

	if (held) /* which may be over: then something is due */
		tcp_conn_settle_timers(ctx, c, now_us);
	if (tcp_output_due(ctx, c))
		return TCP_EV_OUTPUT;
	if (!held)
		tcp_conn_settle_timers(ctx, c, now_us);
	return 0;
}

/* -- expiry --------------------------------------------------------------------------------- */

static uint32_t timed_out(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	bool rst = c->state != TCP_SYN_SENT;

	ctx->counters->timed_out++;
	return tcp_conn_close(ctx, c, c->soft_error ? c->soft_error : ETIMEDOUT, rst);
}

static uint32_t retries_max(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_ORPHAN) ? ctx->cfg->orphan_retries : ctx->cfg->data_retries;
}

/* A time-out or probe more went without an answer: was that the last? */
static bool is_over(const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t tries,
	uint32_t tries_max, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);

	if (x && !x->stalled_ms)
		x->stalled_ms = tcp_ms(now_us) ? tcp_ms(now_us) : UINT32_MAX; /* 0: does not run */
	return tries >= tries_max || tries == UINT8_MAX || (x && user_timed_out(x, now_us));
}

static void back_off(struct tcp_conn *c)
{
	if (c->backoff < UINT8_MAX)
		c->backoff++;
}

/* What went with the SYN goes again when the handshake has ended, for it may not have been what
 * the peer, or a box between, could do with. */
static uint32_t expire_syn(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (tcp_fastopen_waits(c)) {
		c->owe |= TCP_OWE_SYN;
		return 0;
	}
	if (is_over(ctx, c, c->retries, tcp_conn_syn_retries(ctx, c), now_us))
		return timed_out(ctx, c);
	c->retries++;
	back_off(c);
	c->flags &= ~TCP_F_RTT_TIMED;
	c->snd_nxt_low = (uint32_t)tcp_conn_una(c);
	c->owe |= TCP_OWE_SYN;
	ctx->counters->syn_retransmits++;
	return 0;
}

static uint32_t expire_flight(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (is_over(ctx, c, c->retries, retries_max(ctx, c), now_us))
		return timed_out(ctx, c);
	tcp_loss_timeout(ctx, c, now_us);
	tcp_mtu_timed_out(ctx, c, now_us);
	return 0;
}

/* An answered probe clears `retries`; for an orphan the probes are limited all the same. */
static uint32_t expire_probe(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	uint32_t tries = tcp_conn_has(c, TCP_F_ORPHAN) ? c->backoff : c->retries;

	if (is_over(ctx, c, tries, retries_max(ctx, c), now_us))
		return timed_out(ctx, c);
	c->retries++;
	back_off(c);
	c->owe |= TCP_OWE_PROBE;
	return 0;
}

/* What comes before a time-out; it starts anew afterwards. */
static bool expire_early(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	uint32_t kind = c->loss & (TCP_L_PTO | TCP_L_REO);

	c->loss &= (uint16_t)~kind;
	if (tcp_conn_flight(c) == 0)
		return false;
	if (kind & TCP_L_REO)
		tcp_recovery_reordered(ctx, c, now_us);
	else if (kind & TCP_L_PTO)
		tcp_tlp_expired(ctx, c);
	return kind;
}

static uint32_t expire_send(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	c->send_at = 0;
	if (expire_early(ctx, c, now_us))
		return 0;
	if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED)
		return expire_syn(ctx, c, now_us);
	if (tcp_conn_flight(c) > 0)
		return expire_flight(ctx, c, now_us);
	if (tcp_output_due(ctx, c))
		return 0; /* nothing failed: the engine has not come to it */
	if (c->snd_wnd == 0 || tcp_conn_una(c) == c->snd_end_pos)
		return expire_probe(ctx, c, now_us);
	c->owe |= TCP_OWE_TAIL;
	return 0;
}

static uint32_t keepalive_failed(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	ctx->counters->keepalive_timed_out++;
	return tcp_conn_close(ctx, c, c->soft_error ? c->soft_error : ETIMEDOUT, true);
}

/* A user timeout takes the place of the number of probes, as in Linux. */
static bool keepalive_is_over(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t idle_us)
{
	uint32_t user_timeout_ms = tcp_extra(ctx, c)->user_timeout_ms;

	if (user_timeout_ms)
		return c->keepalive_probes > 0 && idle_us / 1000 >= user_timeout_ms;
	return c->keepalive_probes >= tcp_conn_keepcnt(ctx, c);
}

/* RFC 9293 section 3.8.4; what is in flight has a timer of its own. */
static uint32_t expire_keepalive(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	uint64_t idle_us = (uint64_t)(tcp_ms(now_us) - c->last_rx_ms) * 1000;

	c->life_at_ms = 0;
	if (!tcp_conn_has(c, TCP_F_KEEPALIVE))
		return 0;
	if (tcp_conn_una(c) != tcp_conn_end(c)) {
		tcp_life_start(c, now_us + tcp_conn_keepidle_us(ctx, c));
		return 0;
	}
	if (idle_us < tcp_conn_keepidle_us(ctx, c)) {
		tcp_life_start(c, now_us + tcp_conn_keepidle_us(ctx, c) - idle_us);
		return 0;
	}
	if (keepalive_is_over(ctx, c, idle_us) || c->keepalive_probes == UINT8_MAX)
		return keepalive_failed(ctx, c);
	c->keepalive_probes++;
	c->owe |= TCP_OWE_KEEPALIVE;
	tcp_life_start(c, now_us + tcp_conn_keepintvl_us(ctx, c));
	return 0;
}

static uint32_t expire_life(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (c->state == TCP_TIME_WAIT)
		return tcp_conn_close(ctx, c, 0, false);
	if (c->state == TCP_FIN_WAIT_2 && tcp_conn_has(c, TCP_F_ORPHAN)) {
		ctx->counters->fin_wait_2_timed_out++;
		return tcp_conn_close(ctx, c, 0, false);
	}
	return expire_keepalive(ctx, c, now_us);
}

uint32_t tcp_timer(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	uint32_t events = 0;

	if (c->state != TCP_CLOSED && tcp_life_us(c, now_us) <= now_us)
		events |= expire_life(ctx, c, now_us);
	if (c->state != TCP_CLOSED && tcp_timer_us(c->send_at, now_us) <= now_us)
		events |= expire_send(ctx, c, now_us);
	if (c->state == TCP_CLOSED)
		return events;
	if (tcp_timer_us(c->ack_at, now_us) <= now_us) {
		c->ack_at = 0;
		c->owe |= TCP_OWE_ACK;
		ctx->counters->delayed_acks++;
	}
	return events | tcp_conn_settle(ctx, c, now_us);
}
