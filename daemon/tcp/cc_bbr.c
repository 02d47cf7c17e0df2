/* BBR version 3: draft-ietf-ccwg-bbr. Rate from a model of the path, not from losses.
 *
 * The model is the largest delivery rate of the last two probing cycles and the smallest round
 * trip of ten seconds; their product is how much fits into the path. Data leaves paced at that
 * rate times a gain, and cwnd, a multiple of the product, only catches what the model gets wrong.
 *
 *     STARTUP --rate has stopped growing--> DRAIN --queue gone--> DOWN -> CRUISE -> REFILL -> UP
 *      gain 2.77                            0.5                   0.9     1         1        1.25
 *                                                                  ^------------------------|
 *     PROBE_RTT: every five to ten seconds, half the product for 200 ms, to see the path empty.
 *
 * Loss bounds the model: more than 2% of what was in flight while probing lowers inflight_hi; a
 * round with loss otherwise lowers bw_lo and inflight_lo to 0.7, until the next probe.
 *
 * Recovery sees BBR through ssthresh(), which is cwnd, and whatever it does to cwnd meanwhile
 * is put right by the next ACK: `cwnd` of the block is the truth. A congestion mark
 * (RFC 3168) counts as a loss: the draft leaves it to L4S.
 */
#include <tcp/cc_bbr.h>

#include <tcp/counters.h>

enum {
	UNIT = 256,
	STARTUP_PACING_GAIN = 709, /* 2.77 */
	STARTUP_CWND_GAIN = 512,
	DRAIN_PACING_GAIN = 128,
	DOWN_PACING_GAIN = 230, /* 0.9 */
	UP_PACING_GAIN = 320,	/* 1.25 */
	UP_CWND_GAIN = 576,	/* 2.25 */
	PROBE_RTT_CWND_GAIN = 128,
	BETA_PERCENT = 70,
	LOSS_THRESH_PERCENT = 2,
	HEADROOM_PERCENT = 15,
	PACING_MARGIN_PERCENT = 1,
	STARTUP_FULL_LOSSES = 6,
	FULL_ROUNDS = 3,
	MIN_SEGMENTS = 4,
	EXTRA_ACKED_ROUNDS = 5, /* of each of the two halves of the window */
	MIN_RTT_FILTER_US = 10 * 1000 * 1000,
	PROBE_RTT_INTERVAL_US = 5 * 1000 * 1000,
	PROBE_RTT_US = 200 * 1000,
	PROBE_WAIT_US = 2 * 1000 * 1000, /* and up to a second more */
	RENO_ROUNDS_MAX = 63,
	FIRST_RTT_US = 1000,
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t percent(uint64_t v, uint32_t p)
{
	return v == UINT64_MAX ? v : v * p / 100;
}

static uint64_t floor_bytes(const struct tcp_conn *c)
{
	return (uint64_t)MIN_SEGMENTS * c->snd_mss_bytes;
}

/* -- the model ------------------------------------------------------------------------------ */

static uint64_t max_bw(const struct tcp_bbr *b)
{
	return max_u64(b->max_bw[0], b->max_bw[1]);
}

static uint64_t bw(const struct tcp_bbr *b)
{
	return min_u64(max_bw(b), b->bw_lo);
}

static uint64_t bdp(const struct tcp_conn *c, const struct tcp_bbr *b, uint64_t rate, uint32_t gain)
{
	if (b->min_rtt_us == UINT32_MAX || rate == 0)
		return tcp_cc_initial_window(c);
	return rate * b->min_rtt_us / 1000000 * gain / UNIT;
}

/* Section 4.6.4.2: no less than what delayed ACKs and segmentation need. */
static uint64_t inflight(const struct tcp_conn *c, const struct tcp_bbr *b, uint32_t gain)
{
	uint64_t bytes = max_u64(bdp(c, b, max_bw(b), gain), floor_bytes(c));

	return b->state == TCP_BBR_UP ? bytes + 2u * c->snd_mss_bytes : bytes;
}

static uint64_t inflight_with_headroom(const struct tcp_conn *c, const struct tcp_bbr *b)
{
	uint64_t room;

	if (b->inflight_hi == UINT64_MAX)
		return UINT64_MAX;
	room = max_u64(c->snd_mss_bytes, percent(b->inflight_hi, HEADROOM_PERCENT));
	return b->inflight_hi > room + floor_bytes(c) ? b->inflight_hi - room : floor_bytes(c);
}

static void set_gains(struct tcp_bbr *b, uint32_t pacing, uint32_t cwnd)
{
	b->pacing_gain = pacing;
	b->cwnd_gain = cwnd;
}

static void reset_lower_bounds(struct tcp_bbr *b)
{
	b->bw_lo = UINT64_MAX;
	b->inflight_lo = UINT64_MAX;
}

/* -- ProbeBW: section 4.3.3 ------------------------------------------------------------------- */

/* Two to three seconds, different for each connection and cycle. */
static void pick_probe_wait(const struct tcp_conn *c, struct tcp_bbr *b, uint64_t now_us)
{
	uint32_t mix = (c->iss ^ (uint32_t)now_us ^ (uint32_t)b->round_count) * 2654435761u;

	b->rounds_since_probe = mix & 1;
	b->probe_wait_us = PROBE_WAIT_US + (mix >> 12) % 1000000;
}

static void start_down(const struct tcp_conn *c, struct tcp_bbr *b, uint64_t now_us)
{
	b->state = TCP_BBR_DOWN;
	set_gains(b, DOWN_PACING_GAIN, 2 * UNIT);
	b->probe_up_cnt = UINT64_MAX;
	pick_probe_wait(c, b, now_us);
	b->cycle_stamp_us = now_us;
	b->acks = TCP_BBR_ACKS_STOPPING;
	b->next_round_delivered = b->rate.delivered;
}

static void start_cruise(struct tcp_bbr *b)
{
	b->state = TCP_BBR_CRUISE;
	set_gains(b, UNIT, 2 * UNIT);
}

static void start_refill(struct tcp_bbr *b)
{
	reset_lower_bounds(b);
	b->state = TCP_BBR_REFILL;
	set_gains(b, UNIT, 2 * UNIT);
	b->probe_up_rounds = 0;
	b->probe_up_acks = 0;
	b->acks = TCP_BBR_ACKS_REFILLING;
	b->next_round_delivered = b->rate.delivered;
}

static void raise_slope(const struct tcp_conn *c, struct tcp_bbr *b)
{
	uint64_t growth = 1ull << b->probe_up_rounds;

	if (b->probe_up_rounds < 30)
		b->probe_up_rounds++;
	b->probe_up_cnt = max_u64(c->cwnd / growth, c->snd_mss_bytes);
}

static void start_up(const struct tcp_conn *c, struct tcp_bbr *b, uint64_t now_us)
{
	b->state = TCP_BBR_UP;
	set_gains(b, UP_PACING_GAIN, UP_CWND_GAIN);
	b->probe_samples = true;
	b->acks = TCP_BBR_ACKS_STARTING;
	b->next_round_delivered = b->rate.delivered;
	b->cycle_stamp_us = now_us;
	b->full_bw = max_bw(b);
	b->full_bw_count = 0;
	raise_slope(c, b);
}

static bool in_probe_bw(const struct tcp_bbr *b)
{
	return b->state >= TCP_BBR_DOWN && b->state <= TCP_BBR_UP;
}

/* Section 4.3.3.5: as often as Reno would fill the path, but every few seconds at least. */
static bool time_to_probe(const struct tcp_conn *c, struct tcp_bbr *b, uint64_t now_us)
{
	uint64_t reno_rounds =
		min_u64(bdp(c, b, max_bw(b), UNIT) / c->snd_mss_bytes, RENO_ROUNDS_MAX);

	if (now_us - b->cycle_stamp_us <= b->probe_wait_us &&
		b->rounds_since_probe < max_u64(reno_rounds, 1))
		return false;
	start_refill(b);
	return true;
}

static bool too_high(const struct tcp_rate_sample *rs)
{
	return rs->lost > percent(rs->in_flight_then, LOSS_THRESH_PERCENT);
}

/* Section 4.5.6.2. */
static void handle_too_high(const struct tcp_conn *c, struct tcp_bbr *b,
	const struct tcp_rate_sample *rs, uint64_t now_us)
{
	uint64_t target = min_u64(bdp(c, b, bw(b), UNIT), b->cwnd);

	b->probe_samples = false;
	if (!rs->app_limited)
		b->inflight_hi = max_u64(rs->in_flight_then, percent(target, BETA_PERCENT));
	if (b->state == TCP_BBR_UP)
		start_down(c, b, now_us);
}

static void probe_upward(struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	uint64_t steps;

	if (!tcp_conn_has(c, TCP_F_CWND_LIMITED) && b->cwnd < b->inflight_hi)
		return;
	b->probe_up_acks += rs->newly_delivered;
	steps = b->probe_up_acks / b->probe_up_cnt;
	b->probe_up_acks -= steps * b->probe_up_cnt;
	b->inflight_hi += steps * c->snd_mss_bytes;
	if (b->round_start)
		raise_slope(c, b);
}

static void adapt_upper_bounds(
	struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs, uint64_t now_us)
{
	if (b->acks == TCP_BBR_ACKS_STARTING && b->round_start)
		b->acks = TCP_BBR_ACKS_FEEDBACK;
	if (b->acks == TCP_BBR_ACKS_STOPPING && b->round_start) {
		b->probe_samples = false;
		b->acks = TCP_BBR_ACKS_INIT;
		if (in_probe_bw(b) && !rs->app_limited) {
			b->max_bw[1] = b->max_bw[0]; /* a cycle is over */
			b->max_bw[0] = 0;
		}
	}
	if (rs->prior_delivered == UINT64_MAX)
		return;
	if (too_high(rs)) {
		if (b->probe_samples)
			handle_too_high(c, b, rs, now_us);
		return;
	}
	if (b->inflight_hi == UINT64_MAX)
		return;
	b->inflight_hi = max_u64(b->inflight_hi, rs->in_flight_then);
	if (b->state == TCP_BBR_UP)
		probe_upward(c, b, rs);
}

/* Three rounds in which the rate did not grow by a quarter. */
static bool has_plateaued(struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	if (!b->round_start || rs->app_limited)
		return false;
	if (max_bw(b) < b->full_bw + b->full_bw / 4)
		return ++b->full_bw_count >= FULL_ROUNDS;
	b->full_bw = max_bw(b);
	b->full_bw_count = 0;
	return false;
}

static void run_probe_bw(
	struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs, uint64_t now_us)
{
	switch (b->state) {
	case TCP_BBR_DOWN:
		if (time_to_probe(c, b, now_us))
			return;
		if (rs->in_flight <= inflight_with_headroom(c, b) &&
			rs->in_flight <= inflight(c, b, UNIT))
			start_cruise(b);
		return;
	case TCP_BBR_CRUISE:
		time_to_probe(c, b, now_us);
		return;
	case TCP_BBR_REFILL:
		if (b->round_start)
			start_up(c, b, now_us);
		return;
	case TCP_BBR_UP:
		if ((now_us - b->cycle_stamp_us > b->min_rtt_us &&
			    rs->in_flight > inflight(c, b, UP_PACING_GAIN)) ||
			has_plateaued(b, rs))
			start_down(c, b, now_us);
		return;
	default:
		return;
	}
}

/* -- Startup and Drain: sections 4.3.1, 4.3.2 ------------------------------------------------- */

static void check_full_pipe(struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	if (b->full_bw_reached || !b->round_start)
		return;
	if (b->losses_in_round >= STARTUP_FULL_LOSSES && too_high(rs)) {
		b->full_bw_reached = true;
		b->inflight_hi = max_u64(bdp(c, b, max_bw(b), UNIT), b->inflight_latest);
		return;
	}
	b->full_bw_reached = has_plateaued(b, rs);
}

static void run_startup(
	struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs, uint64_t now_us)
{
	check_full_pipe(c, b, rs);
	if (b->state == TCP_BBR_STARTUP && b->full_bw_reached) {
		b->state = TCP_BBR_DRAIN;
		set_gains(b, DRAIN_PACING_GAIN, STARTUP_CWND_GAIN);
	}
	if (b->state == TCP_BBR_DRAIN && rs->in_flight <= inflight(c, b, UNIT))
		start_down(c, b, now_us);
}

/* -- ProbeRTT: section 4.3.4 ------------------------------------------------------------------ */

static void update_min_rtt(struct tcp_bbr *b, const struct tcp_rate_sample *rs, uint64_t now_us)
{
	bool expired = now_us > b->probe_rtt_stamp_us + PROBE_RTT_INTERVAL_US;

	if (rs->rtt_us > 0 && (rs->rtt_us < b->probe_rtt_min_us || expired)) {
		b->probe_rtt_min_us = rs->rtt_us;
		b->probe_rtt_stamp_us = now_us;
	}
	if (b->probe_rtt_min_us < b->min_rtt_us ||
		now_us > b->min_rtt_stamp_us + MIN_RTT_FILTER_US) {
		b->min_rtt_us = b->probe_rtt_min_us;
		b->min_rtt_stamp_us = b->probe_rtt_stamp_us;
	}
}

static uint64_t probe_rtt_cwnd(const struct tcp_conn *c, const struct tcp_bbr *b)
{
	return max_u64(bdp(c, b, bw(b), PROBE_RTT_CWND_GAIN), floor_bytes(c));
}

static void enter_probe_rtt(struct tcp_bbr *b)
{
	b->prior_cwnd = (uint32_t)max_u64(b->prior_cwnd, b->cwnd);
	b->state = TCP_BBR_PROBE_RTT;
	set_gains(b, UNIT, PROBE_RTT_CWND_GAIN);
	b->probe_rtt_done_us = 0;
	b->acks = TCP_BBR_ACKS_STOPPING;
	b->next_round_delivered = b->rate.delivered;
}

static void leave_probe_rtt(struct tcp_conn *c, struct tcp_bbr *b, uint64_t now_us)
{
	b->probe_rtt_stamp_us = now_us;
	b->cwnd = (uint32_t)max_u64(b->cwnd, b->prior_cwnd);
	b->prior_cwnd = 0;
	reset_lower_bounds(b);
	if (b->full_bw_reached) {
		start_down(c, b, now_us);
		start_cruise(b);
	} else {
		b->state = TCP_BBR_STARTUP;
		set_gains(b, STARTUP_PACING_GAIN, STARTUP_CWND_GAIN);
	}
}

static void run_probe_rtt(struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs,
	bool expired, uint64_t now_us)
{
	if (b->state != TCP_BBR_PROBE_RTT) {
		if (expired && b->min_rtt_us != UINT32_MAX)
			enter_probe_rtt(b);
		return;
	}
	if (b->probe_rtt_done_us == 0) {
		if (rs->in_flight > probe_rtt_cwnd(c, b))
			return;
		b->probe_rtt_done_us = now_us + PROBE_RTT_US;
		b->probe_rtt_round_end = b->rate.delivered;
		b->next_round_delivered = b->rate.delivered;
		return;
	}
	if (b->round_start && now_us > b->probe_rtt_done_us)
		leave_probe_rtt(c, b, now_us);
}

/* -- signals: section 4.5 ---------------------------------------------------------------------- */

static void update_round(struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	b->round_start = false;
	if (rs->prior_delivered == UINT64_MAX || rs->prior_delivered < b->next_round_delivered)
		return;
	b->next_round_delivered = b->rate.delivered;
	b->round_count++;
	b->rounds_since_probe++;
	b->round_start = true;
}

static void update_max_bw(struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	if (rs->bw == 0 || (rs->bw < max_bw(b) && rs->app_limited))
		return;
	b->max_bw[0] = max_u64(b->max_bw[0], rs->bw);
}

/* Section 4.5.6.3: a round with loss, and no probe to blame. */
static void adapt_lower_bounds(struct tcp_bbr *b)
{
	bool probing =
		b->state == TCP_BBR_STARTUP || b->state == TCP_BBR_REFILL || b->state == TCP_BBR_UP;

	if (probing || !b->loss_in_round)
		return;
	if (b->bw_lo == UINT64_MAX)
		b->bw_lo = max_bw(b);
	if (b->inflight_lo == UINT64_MAX)
		b->inflight_lo = b->cwnd;
	b->bw_lo = max_u64(b->bw_latest, percent(b->bw_lo, BETA_PERCENT));
	b->inflight_lo = max_u64(b->inflight_latest, percent(b->inflight_lo, BETA_PERCENT));
}

static void note_congestion(struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	bool backed_off = b->backoffs_seen != b->backoffs;

	b->backoffs_seen = b->backoffs;
	if (rs->newly_lost == 0 && !backed_off)
		return;
	b->loss_in_round = true;
	if (b->losses_in_round < UINT8_MAX)
		b->losses_in_round++;
}

static void update_congestion(struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	b->loss_round_start =
		rs->prior_delivered != UINT64_MAX && rs->prior_delivered >= b->loss_round_delivered;
	if (b->loss_round_start)
		b->loss_round_delivered = b->rate.delivered;
	note_congestion(b, rs);
	b->bw_latest = max_u64(b->bw_latest, rs->bw);
	b->inflight_latest = max_u64(b->inflight_latest, rs->delivered);
	if (b->loss_round_start)
		adapt_lower_bounds(b);
}

/* At the end of a round, when everybody has seen it: the next one is judged by itself. */
static void begin_loss_round(struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	if (!b->loss_round_start)
		return;
	b->loss_in_round = false;
	b->losses_in_round = 0;
	b->bw_latest = rs->bw;
	b->inflight_latest = rs->delivered;
}

/* Section 4.5.7: ACKs that come in bunches need more in flight. */
static void update_aggregation(struct tcp_bbr *b, const struct tcp_rate_sample *rs, uint64_t now_us)
{
	uint64_t expected = bw(b) * (now_us - b->extra_start_us) / 1000000;
	uint64_t extra;

	if (b->round_start && ++b->extra_rounds >= EXTRA_ACKED_ROUNDS) {
		b->extra_rounds = 0;
		b->extra_acked[1] = b->extra_acked[0];
		b->extra_acked[0] = 0;
	}
	if (b->extra_delivered <= expected) {
		b->extra_delivered = 0;
		b->extra_start_us = now_us;
		expected = 0;
	}
	b->extra_delivered += rs->newly_delivered;
	extra = b->extra_delivered > expected ? b->extra_delivered - expected : 0;
	b->extra_acked[0] = max_u64(b->extra_acked[0], min_u64(extra, b->cwnd));
}

/* -- rate and window: section 4.6 ------------------------------------------------------------- */

static void set_pacing_rate(struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_bbr *b)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	uint64_t rate = bw(b) * b->pacing_gain / UNIT * (100 - PACING_MARGIN_PERCENT) / 100;

	if (bw(b) == 0)
		return;
	if (rate > UINT32_MAX)
		rate = UINT32_MAX;
	if (b->full_bw_reached || rate > x->pacing_rate)
		x->pacing_rate = (uint32_t)max_u64(rate, c->snd_mss_bytes);
}

static uint64_t bound_for_model(const struct tcp_conn *c, const struct tcp_bbr *b, uint64_t cwnd)
{
	uint64_t cap = UINT64_MAX;

	if (in_probe_bw(b) && b->state != TCP_BBR_CRUISE)
		cap = b->inflight_hi;
	else if (b->state == TCP_BBR_PROBE_RTT || b->state == TCP_BBR_CRUISE)
		cap = inflight_with_headroom(c, b);
	cap = max_u64(min_u64(cap, b->inflight_lo), floor_bytes(c));
	cwnd = min_u64(cwnd, cap);
	if (b->state == TCP_BBR_PROBE_RTT)
		cwnd = min_u64(cwnd, probe_rtt_cwnd(c, b));
	return cwnd;
}

/* Section 4.6.4.4: while loss is being repaired, as much may leave as arrives. */
static uint64_t bound_for_recovery(
	struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs, uint64_t cwnd)
{
	if (rs->newly_lost > 0)
		cwnd = cwnd > rs->newly_lost + c->snd_mss_bytes ? cwnd - rs->newly_lost
								: c->snd_mss_bytes;
	if (tcp_conn_has(c, TCP_F_RECOVERY) && !b->conserve) {
		b->conserve = true;
		b->conserve_until = b->rate.delivered;
		b->prior_cwnd = (uint32_t)max_u64(b->prior_cwnd, b->cwnd);
	}
	if (b->conserve && !tcp_conn_has(c, TCP_F_RECOVERY)) {
		b->conserve = false;
		cwnd = max_u64(cwnd, b->prior_cwnd);
		b->prior_cwnd = 0;
	}
	return cwnd;
}

static void set_cwnd(struct tcp_conn *c, struct tcp_bbr *b, const struct tcp_rate_sample *rs)
{
	uint64_t most =
		inflight(c, b, b->cwnd_gain) + max_u64(b->extra_acked[0], b->extra_acked[1]);
	uint64_t cwnd = bound_for_recovery(c, b, rs, b->cwnd);

	if (b->full_bw_reached)
		cwnd = min_u64(cwnd + rs->newly_delivered, most);
	else if (cwnd < most || b->rate.delivered < 2ull * tcp_cc_initial_window(c))
		cwnd += rs->newly_delivered;
	cwnd = bound_for_model(c, b, max_u64(cwnd, floor_bytes(c)));
	b->cwnd = (uint32_t)min_u64(cwnd, TCP_CWND_MAX_BYTES);
	c->cwnd = b->cwnd;
}

/* -- what congestion control is asked ------------------------------------------------------------
 */

static void bbr_observe(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	struct tcp_bbr *b = tcp_cc_block(ctx, c);
	struct tcp_rate_sample rs;
	bool expired;

	if (!b)
		return;
	tcp_rate_acked(&b->rate, ctx, c, a, &rs);
	if (rs.newly_delivered == 0 && rs.newly_lost == 0)
		return;
	update_round(b, &rs);
	update_max_bw(b, &rs);
	update_congestion(b, &rs);
	update_aggregation(b, &rs, a->now_us);
	run_startup(c, b, &rs, a->now_us);
	if (b->full_bw_reached)
		adapt_upper_bounds(c, b, &rs, a->now_us);
	run_probe_bw(c, b, &rs, a->now_us);
	expired = a->now_us > b->probe_rtt_stamp_us + PROBE_RTT_INTERVAL_US;
	update_min_rtt(b, &rs, a->now_us);
	run_probe_rtt(c, b, &rs, expired && !rs.app_limited, a->now_us);
	begin_loss_round(b, &rs);
	set_pacing_rate(ctx, c, b);
	set_cwnd(c, b, &rs);
}

static void bbr_sent(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, uint64_t now_us)
{
	struct tcp_bbr *b = tcp_cc_block(ctx, c);

	if (!b)
		return;
	if (b->extra_start_us == 0) { /* the first segment: now we know the time */
		b->extra_start_us = now_us;
		b->probe_rtt_stamp_us = now_us;
		b->min_rtt_stamp_us = now_us;
		b->cycle_stamp_us = now_us;
	}
	tcp_rate_sent(&b->rate, ctx, c, end_pos, now_us);
}

/* Section 4.6.2: until there is a sample, the initial window in the first round trip. */
static void bbr_init(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_bbr *b = tcp_cc_block(ctx, c);
	uint64_t rtt_us = c->srtt_us ? c->srtt_us : FIRST_RTT_US;

	memset(b, 0, sizeof(*b));
	tcp_rate_init(&b->rate, ctx, c);
	b->min_rtt_us = b->probe_rtt_min_us = c->srtt_us ? c->srtt_us : UINT32_MAX;
	b->inflight_hi = UINT64_MAX;
	b->probe_up_cnt = UINT64_MAX;
	reset_lower_bounds(b);
	b->state = TCP_BBR_STARTUP;
	set_gains(b, STARTUP_PACING_GAIN, STARTUP_CWND_GAIN);
	b->cwnd = c->cwnd;
	tcp_extra_have(ctx, c)->pacing_rate = (uint32_t)min_u64(
		(uint64_t)c->cwnd * 1000000 / rtt_us * STARTUP_PACING_GAIN / UNIT, UINT32_MAX);
	c->flags |= TCP_F_CC_WATCH;
}

/* Recovery may go on with the window that there is; only a time-out starts from one segment. */
static uint32_t bbr_ssthresh(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	struct tcp_bbr *b = tcp_cc_block(ctx, c);
	uint32_t floor = MIN_SEGMENTS * (uint32_t)c->snd_mss_bytes;

	(void)flight_bytes;
	if (!b)
		return floor;
	b->backoffs++;
	if (why == TCP_CC_TIMEOUT) {
		b->timeouts++;
		b->cwnd = floor;
	} else if (why == TCP_CC_ECN) {
		b->cwnd = (uint32_t)percent(b->cwnd, BETA_PERCENT);
	}
	if (b->cwnd < floor)
		b->cwnd = floor;
	return b->cwnd;
}

/* Recovery has restored cwnd: what it was before is the truth again. */
static void bbr_undo(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_bbr *b = tcp_cc_block(ctx, c);

	if (b && c->cwnd > b->cwnd)
		b->cwnd = c->cwnd;
}

static void bbr_acked(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	(void)ctx;
	(void)c;
	(void)a; /* bbr_observe() sees all of them */
}

const struct tcp_cc_ops tcp_cc_bbr = {
	.name = "bbr",
	.init = bbr_init,
	.ssthresh = bbr_ssthresh,
	.acked = bbr_acked,
	.undo = bbr_undo,
	.observe = bbr_observe,
	.sent = bbr_sent,
	.paced = true,
	.block = true,
};
