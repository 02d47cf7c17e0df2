/* Pacing: new data leaves at a rate instead of in bursts of a window.
 *
 * pace_at_us is when all that was sent would have left at that rate. While it lies more than
 * BURST_US ahead new data is held (TCP_F_PACE_HOLD), and the connection's deadline is
 * pace_at_us. The timing wheel may be late by a tick, so a connection that comes back late
 * may catch up by CREDIT_US; one that was idle gets no more than that.
 *
 *     now - CREDIT_US        now            now + BURST_US
 *          |------ catch up --|-- send -------|-- hold ------->
 *
 * Retransmissions are not held, but what they take counts. An algorithm that knows the rate
 * (BBR) sets it; for others it follows from the window, which is then sent in somewhat less than
 * a round trip: half of one in slow start, so that the window can double.
 */
#include <tcp/internal.h>

#include <tcp/cc_agent.h>

enum {
	BURST_US = 1000,
	CREDIT_US = 2048, /* two ticks of the wheel */
	STALE_US = 2 * 1000 * 1000,
	SLOW_START_GAIN_PERCENT = 200, /* as Linux's sch_fq and tcp_pacing_*_ratio */
	AVOID_GAIN_PERCENT = 120,
};

static void rate_from_window(const struct tcp_conn *c, struct tcp_extra *x)
{
	uint32_t gain = c->cwnd < c->ssthresh / 2 ? SLOW_START_GAIN_PERCENT : AVOID_GAIN_PERCENT;
	uint64_t rate;

	if (c->srtt_us == 0)
		return;
	rate = (uint64_t)c->cwnd * gain * 10000 / c->srtt_us;
	x->pacing_rate = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
}

/* cc_phase of a plug-in: it sets the rate. */
static bool sets_rate(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	if (c->cc == TCP_CC_AGENT)
		return tcp_agent_paces(ctx, c);
	return tcp_cc_of(c)->paced || (c->cc == TCP_CC_PLUGIN && c->cc_phase);
}

/* Where pacing is but against bursts (validate.c) the initial window is none (RFC 6928). */
static int32_t credit_us(const struct tcp_conn *c, const struct tcp_extra *x)
{
	uint64_t us;

	if (!(x->validate.flags & TCP_VALIDATE_PACED))
		return CREDIT_US;
	us = (uint64_t)tcp_cc_initial_window(c) * 1000000 / x->pacing_rate;
	return us < CREDIT_US ? CREDIT_US : us < STALE_US / 2 ? (int32_t)us : STALE_US / 2;
}

/* Without a rate validate.c may still want it paced; with one that is no longer its business. */
void tcp_pace_at(const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t rate)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);

	if (rate) {
		x->pacing_rate = rate < c->snd_mss_bytes ? c->snd_mss_bytes : rate;
		x->validate.flags &= ~(uint32_t)TCP_VALIDATE_PACED;
		c->flags |= TCP_F_PACED;
	} else if (!ctx->cfg->pacing && !(x->validate.flags & TCP_VALIDATE_PACED)) {
		c->flags &= ~(TCP_F_PACED | TCP_F_PACE_HOLD);
	}
}

void tcp_pace_begin(struct tcp_extra *x, uint64_t now_us)
{
	x->pace_at_us = (uint32_t)now_us - STALE_US;
}

void tcp_pace_sent(const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t len, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	int32_t behind_us = (int32_t)((uint32_t)now_us - x->pace_at_us);
	uint64_t take_us;

	if (!sets_rate(ctx, c))
		rate_from_window(c, x);
	if (x->pacing_rate == 0 || x->pacing_rate == UINT32_MAX)
		return;
	if (behind_us > CREDIT_US || behind_us < -STALE_US) {
		int32_t credit = credit_us(c, x);

		if (behind_us > credit || behind_us < -STALE_US)
			x->pace_at_us = (uint32_t)now_us - (uint32_t)credit;
	}
	take_us = (uint64_t)len * 1000000 / x->pacing_rate;
	x->pace_at_us += (uint32_t)(take_us < STALE_US / 2 ? take_us : STALE_US / 2);
	if ((int32_t)(x->pace_at_us - (uint32_t)now_us) >= BURST_US)
		c->flags |= TCP_F_PACE_HOLD;
}

uint64_t tcp_pace_settle(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	int32_t left_us = (int32_t)(tcp_extra(ctx, c)->pace_at_us - (uint32_t)now_us);

	if (left_us > 0 && left_us <= STALE_US)
		return now_us + (uint32_t)left_us;
	c->flags &= ~TCP_F_PACE_HOLD;
	return TCP_NEVER;
}

/* A millisecond's worth, at least two segments: one piece should not be a burst. */
uint32_t tcp_pace_piece_max(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint32_t most)
{
	uint32_t mss = c->snd_mss_bytes, rate = tcp_extra(ctx, c)->pacing_rate;
	uint32_t piece = rate / 1000 / mss * mss;

	if (rate == 0 || piece >= most)
		return most;
	if (piece < 2 * mss)
		piece = 2 * mss;
	return piece < most ? piece : most;
}
