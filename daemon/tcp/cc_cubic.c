/* CUBIC: RFC 9438, with HyStart++ in the first slow start (cc_hystart.h).
 *
 * After a loss the window grows along a cubic of the time since, whatever the round trip is:
 *
 *     W_cubic(t) = C (t - K)^3 + W_max       K = cbrt((W_max - cwnd_epoch) / C)
 *
 * concave up to W_max, where the loss happened, and convex beyond. W_est is what Reno with the
 * same back-off would have; where that is more (short round trips, small windows), it rules.
 *
 * All integers: windows in bytes, time in milliseconds, C = 0.4 segments per second cubed. The
 * cubic through (0, cwnd) with its plateau at W_max is one and the same wherever it is entered,
 * so an epoch that was not used (the application had nothing to send) is begun anew from where
 * cwnd stands: the pause is no part of t (section 4.2) and no jump follows it. `epoch_ms` 0 says
 * that the next ACK begins an epoch.
 */
#include <tcp/cc.h>
#include <tcp/cc_hystart.h>

#include <string.h>

enum {
	BETA_NUM = 7, /* section 4.6: beta_cubic = 0.7 */
	BETA_DEN = 10,
	CONVERGE_NUM = 17, /* section 4.7: (1 + beta) / 2 */
	CONVERGE_DEN = 20,
	ALPHA_NUM = 9, /* section 4.3: 3 (1 - beta) / (1 + beta) = 9 / 17 */
	ALPHA_DEN = 17,
	FINE_MS = 1 << 15,     /* up to here t is cubed to the millisecond */
	TIME_MAX_MS = 1 << 18, /* 262 s: the largest window's K is half of that */
};

enum cubic_phase {
	FRESH,		  /* nothing to remember yet, and perhaps no place */
	FIRST_SLOW_START, /* `first` of the state is in use, later `avoid` */
	LATER,
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t now_ms(const struct tcp_cc_ack *a)
{
	uint32_t ms = (uint32_t)(a->now_us / 1000);

	return ms ? ms : 1;
}

/* The largest r with r^3 <= v; for v below 2^63. */
static uint32_t cube_root(uint64_t v)
{
	uint32_t r = 0;

	for (int bit = 20; bit >= 0; bit--) {
		uint64_t t = r | 1u << bit;

		if (t * t * t <= v)
			r = (uint32_t)t;
	}
	return r;
}

/* C t^3 in bytes: 0.4 mss t^3 / 10^9. Beyond FINE_MS in steps of 8 ms, so that it fits. */
static uint64_t cubic_bytes(uint32_t t_ms, uint32_t mss)
{
	uint64_t t = min_u32(t_ms, TIME_MAX_MS - 1);

	if (t < FINE_MS)
		return t * t * t * (2ull * mss) / 5000000000u;
	t /= 8;
	return t * t * t * (2ull * mss) / (5000000000u / 512);
}

static void leave_first_slow_start(struct tcp_conn *c, struct tcp_cubic *s)
{
	if (c->cc_phase == LATER)
		return;
	c->cc_phase = LATER;
	memset(s, 0, sizeof(*s));
}

static void cubic_init(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	(void)ctx;
	c->cc_phase = FRESH;
}

/* Its memory, from the first time that the window was the limit; NULL: there is none. */
static struct tcp_cubic *state(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_extra *x = tcp_extra_make(ctx, c);

	if (x && c->cc_phase == FRESH) {
		c->cc_phase = FIRST_SLOW_START;
		tcp_hystart_init(c, &x->cc_state.cubic.first);
	}
	return x ? &x->cc_state.cubic : NULL;
}

/* Sections 4.6 to 4.8. After a time-out the plateau is where slow start will end. */
static uint32_t cubic_ssthresh(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	struct tcp_cubic *s = state(ctx, c);
	uint32_t floor = 2u * c->snd_mss_bytes;
	uint64_t less = flight_bytes * BETA_NUM / BETA_DEN;

	if (!s)
		return tcp_cc_newreno.ssthresh(ctx, c, flight_bytes, why);
	leave_first_slow_start(c, s);
	s->undo = s->avoid;
	s->cwnd_prior = c->cwnd;
	if (why == TCP_CC_TIMEOUT)
		s->avoid.w_max = 0;
	else if (c->cwnd < s->avoid.w_max)
		s->avoid.w_max = (uint32_t)((uint64_t)c->cwnd * CONVERGE_NUM / CONVERGE_DEN);
	else
		s->avoid.w_max = c->cwnd;
	s->avoid.epoch_ms = 0;
	return less > floor ? (uint32_t)min_u32((uint32_t)less, TCP_CWND_MAX_BYTES) : floor;
}

/* Section 4.9.1. */
static void cubic_undo(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_cubic *s = state(ctx, c);

	if (!s)
		return;
	leave_first_slow_start(c, s);
	s->avoid = s->undo;
}

static void begin_epoch(struct tcp_conn *c, struct tcp_cubic *s, const struct tcp_cc_ack *a)
{
	s->avoid.epoch_ms = now_ms(a);
	s->avoid.w_est = c->cwnd;
	s->est_acked = 0;
	c->cwnd_acked = 0;
	if (c->cwnd >= s->avoid.w_max) { /* also sections 4.8 and 4.10: K = 0 */
		s->avoid.w_max = c->cwnd;
		s->avoid.k_ms = 0;
		return;
	}
	s->avoid.k_ms =
		cube_root((uint64_t)(s->avoid.w_max - c->cwnd) * 2500000000u / c->snd_mss_bytes);
}

/* Section 4.2 figure 1, t milliseconds into the epoch. */
static uint32_t w_cubic(const struct tcp_conn *c, const struct tcp_cubic_avoid *s, uint32_t t_ms)
{
	uint64_t off;

	if (t_ms < s->k_ms) {
		off = cubic_bytes(s->k_ms - t_ms, c->snd_mss_bytes);
		return off < s->w_max ? s->w_max - (uint32_t)off : 0;
	}
	off = cubic_bytes(t_ms - s->k_ms, c->snd_mss_bytes) + s->w_max;
	return off < TCP_CWND_MAX_BYTES ? (uint32_t)off : TCP_CWND_MAX_BYTES;
}

/* Section 4.3: alpha segments for each window acknowledged, one once cwnd_prior is reached. */
static void grow_reno_estimate(const struct tcp_conn *c, struct tcp_cubic *s, uint32_t acked_bytes)
{
	uint64_t per_segment = c->cwnd;

	if (s->avoid.w_est < s->cwnd_prior)
		per_segment = per_segment * ALPHA_DEN / ALPHA_NUM;
	s->est_acked += acked_bytes;
	if (s->est_acked < per_segment)
		return;
	s->est_acked = min_u32((uint32_t)(s->est_acked - per_segment), c->cwnd);
	if (s->avoid.w_est < TCP_CWND_MAX_BYTES)
		s->avoid.w_est += c->snd_mss_bytes;
}

/* Sections 4.4 and 4.5: (target - cwnd) / cwnd for each byte; what is left over is kept. */
static void approach(struct tcp_conn *c, uint32_t target, uint32_t acked_bytes)
{
	uint64_t most = (uint64_t)c->cwnd * 3 / 2;
	uint64_t step;

	if (target <= c->cwnd)
		return;
	if (target > most)
		target = (uint32_t)most;
	step = (uint64_t)(target - c->cwnd) * acked_bytes + c->cwnd_acked;
	c->cwnd_acked = (uint32_t)(step % c->cwnd);
	c->cwnd += (uint32_t)min_u32((uint32_t)(step / c->cwnd), target - c->cwnd);
}

static void avoid_congestion(struct tcp_conn *c, struct tcp_cubic *s, const struct tcp_cc_ack *a)
{
	struct tcp_cubic_avoid *v = &s->avoid;
	uint32_t t_ms;

	if (c->flags & TCP_F_CC_UNUSED)
		v->epoch_ms = 0;
	if (v->epoch_ms == 0)
		begin_epoch(c, s, a);
	t_ms = now_ms(a) - v->epoch_ms;
	grow_reno_estimate(c, s, a->acked_bytes);
	if (w_cubic(c, v, t_ms) < v->w_est) {
		if (v->w_est > c->cwnd)
			c->cwnd = v->w_est;
		return;
	}
	approach(c, w_cubic(c, v, t_ms + c->srtt_us / 1000), a->acked_bytes);
}

static void cubic_acked(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	struct tcp_cubic *s = state(ctx, c);

	if (!s) {
		tcp_cc_newreno.acked(ctx, c, a);
	} else if (c->cwnd >= c->ssthresh) {
		leave_first_slow_start(c, s);
		avoid_congestion(c, s, a);
	} else if (c->cc_phase == FIRST_SLOW_START) {
		tcp_hystart_acked(ctx, c, &s->first, a);
	} else {
		c->cwnd += tcp_cc_slow_start_bytes(c, a->acked_bytes);
	}
}

const struct tcp_cc_ops tcp_cc_cubic = {
	.name = "cubic",
	.init = cubic_init,
	.ssthresh = cubic_ssthresh,
	.acked = cubic_acked,
	.undo = cubic_undo,
};
