/* Round-trip time and retransmission time-out: RFC 6298, with RFC 7323 for timestamps.
 *
 * Two clocks yield samples. One segment per flight is timed in microseconds; a
 * retransmission spoils it (Karn, RFC 6298 section 3). Timestamps yield a sample with every
 * ACK of something new, retransmitted or not, but in milliseconds only. So the timed segment
 * is preferred where it is there, and a timestamp is used when nothing is being timed or
 * when the round trip is long enough for the coarse clock to be accurate.
 */
#include <tcp/internal.h>

enum {
	TS_ACCURATE_MS = 10,
	CLOCK_GRANULARITY_US = 1000,	   /* RFC 6298 G */
	SAMPLE_MAX_US = 300 * 1000 * 1000, /* an echo older than this is not believed */
};

static uint32_t clamp_u32(uint64_t v, uint32_t lo, uint32_t hi)
{
	return v < lo ? lo : v > hi ? hi : (uint32_t)v;
}

void tcp_rtt_init(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	c->srtt_us = 0;
	c->rttvar_us = 0;
	c->rtt_min_us = UINT32_MAX;
	c->rto_us = ctx->cfg->rto_initial_us;
}

uint64_t tcp_conn_rto_us(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint64_t rto_us = (uint64_t)c->rto_us << (c->backoff < 16 ? c->backoff : 16);

	return rto_us < ctx->cfg->rto_max_us ? rto_us : ctx->cfg->rto_max_us;
}

void tcp_rtt_sample(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t rtt_us, uint32_t per_rtt)
{
	int64_t r = (int64_t)(rtt_us > SAMPLE_MAX_US ? SAMPLE_MAX_US : rtt_us);
	int64_t err, var;

	if (r == 0)
		r = 1;
	ctx->rtt_last_us = (uint32_t)r;
	if ((uint64_t)r < c->rtt_min_us)
		c->rtt_min_us = (uint32_t)r;
	if (c->srtt_us == 0) {
		c->srtt_us = (uint32_t)r;
		c->rttvar_us = (uint32_t)(r / 2);
	} else {
		err = r - c->srtt_us;
		var = (err < 0 ? -err : err) - c->rttvar_us;
		c->rttvar_us = (uint32_t)(c->rttvar_us + var / (4 * (int64_t)per_rtt));
		c->srtt_us = (uint32_t)(c->srtt_us + err / (8 * (int64_t)per_rtt));
	}
	var = 4 * (int64_t)c->rttvar_us;
	if (var < CLOCK_GRANULARITY_US)
		var = CLOCK_GRANULARITY_US;
	c->rto_us =
		clamp_u32((uint64_t)(c->srtt_us + var), ctx->cfg->rto_min_us, ctx->cfg->rto_max_us);
	c->backoff = 0;
}

/* RFC 7323 appendix G: half of the segments in flight are acknowledged one by one. */
static uint32_t samples_per_rtt(const struct tcp_conn *c)
{
	uint64_t n = tcp_conn_flight(c) / (2u * c->snd_mss_bytes);

	return n == 0 ? 1 : n > 1024 ? 1024 : (uint32_t)n;
}

bool tcp_rtt_acked(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, uint64_t now_us)
{
	bool timed = tcp_conn_has(c, TCP_F_RTT_TIMED);
	uint32_t ts_ms = tcp_ts_val(now_us, c->ts_offset) - seg->opt.ts_ecr;

	ctx->rtt_last_us = 0;
	if (timed && tcp_seq_geq(tcp_conn_una_seq(c), c->rtt_seq)) {
		c->flags &= ~TCP_F_RTT_TIMED;
		tcp_rtt_sample(ctx, c, (uint32_t)now_us - c->rtt_sent_us, 1);
		return true;
	}
	if (!tcp_conn_has(c, TCP_F_TS) || !seg->opt.has_ts || ts_ms > SAMPLE_MAX_US / 1000)
		return false;
	if (timed && ts_ms < TS_ACCURATE_MS) {
		ctx->rtt_last_us = ts_ms * 1000; /* good enough to see a queue build */
		return false;
	}
	tcp_rtt_sample(
		ctx, c, ts_ms ? ts_ms * 1000ull : CLOCK_GRANULARITY_US / 2, samples_per_rtt(c));
	return true;
}
