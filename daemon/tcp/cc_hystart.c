/* RFC 9406 section 4.2, step by step. */
#include <tcp/cc_hystart.h>

#include <tcp/counters.h>

static void start_round(struct tcp_conn *c, struct tcp_hystart *h)
{
	h->last_min_rtt_us = h->curr_min_rtt_us;
	h->curr_min_rtt_us = UINT32_MAX;
	h->samples = 0;
	h->round_end = (uint32_t)tcp_conn_snd_max(c);
}

void tcp_hystart_init(struct tcp_conn *c, struct tcp_hystart *h)
{
	h->curr_min_rtt_us = UINT32_MAX;
	h->css_rounds = 0;
	start_round(c, h);
}

static uint32_t threshold_us(const struct tcp_hystart *h)
{
	uint32_t us = h->last_min_rtt_us / TCP_HYSTART_MIN_RTT_DIVISOR;

	if (us < TCP_HYSTART_MIN_RTT_THRESH_US)
		return TCP_HYSTART_MIN_RTT_THRESH_US;
	return us < TCP_HYSTART_MAX_RTT_THRESH_US ? us : TCP_HYSTART_MAX_RTT_THRESH_US;
}

static void take_sample(struct tcp_hystart *h, uint32_t rtt_us)
{
	if (rtt_us == 0)
		return;
	if (rtt_us < h->curr_min_rtt_us)
		h->curr_min_rtt_us = rtt_us;
	if (h->samples < UINT8_MAX)
		h->samples++;
}

/* Does the delay of this round tell that a queue builds, or, in CSS, that there is none? */
static void judge_delay(struct tcp_ctx *ctx, struct tcp_hystart *h)
{
	if (h->samples < TCP_HYSTART_SAMPLES)
		return;
	if (h->css_rounds > 0) {
		if (h->curr_min_rtt_us < h->css_baseline_us) {
			h->css_rounds = 0;
			ctx->counters->hystart_resumed++;
		}
	} else if (h->last_min_rtt_us != UINT32_MAX &&
		   h->curr_min_rtt_us >= h->last_min_rtt_us + threshold_us(h)) {
		h->css_baseline_us = h->curr_min_rtt_us;
		h->css_rounds = 1; /* the round under way counts */
	}
}

void tcp_hystart_acked(
	struct tcp_ctx *ctx, struct tcp_conn *c, struct tcp_hystart *h, const struct tcp_cc_ack *a)
{
	uint32_t grow = tcp_cc_slow_start_bytes(c, a->acked_bytes);
	bool round_over = (int32_t)((uint32_t)tcp_conn_una(c) - h->round_end) >= 0;

	take_sample(h, a->rtt_us);
	judge_delay(ctx, h);
	c->cwnd += h->css_rounds > 0 ? grow / TCP_HYSTART_CSS_GROWTH_DIVISOR : grow;
	if (!round_over)
		return;
	start_round(c, h);
	if (h->css_rounds > 0 && ++h->css_rounds > TCP_HYSTART_CSS_ROUNDS) {
		c->ssthresh = c->cwnd;
		ctx->counters->hystart_exits++;
	}
}
