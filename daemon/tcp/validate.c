/* Is the congestion window what the path can take? RFC 7661, of a connection that has a struct
 * tcp_extra.
 *
 * pipeACK is the most that a round trip acknowledged during the last second or three round trips
 * (section 4.2); trip.c takes the samples, and here the largest of each third of that period is
 * kept. It is undefined in the beginning and after loss recovery. With less than half of cwnd the
 * window is not validated (section 4.3): it was right once. Then
 *
 *   - it stays as it is through pauses, too, for five minutes, and is halved for each five more,
 *     to no less than the initial window (section 4.4.3);
 *   - congestion brings it down to half of what was in use, not of what might have been, and once
 *     recovery is over by half of what had to be sent again as well (section 4.4.1);
 *   - bursts of more than the initial window are paced (section 4.4.2), as far as pace.c can tell
 *     them from what the path takes at once: it counts in milliseconds.
 *
 * How a window grows is the business of loss.c and the algorithms: where it was the limit, or half
 * of it in slow start, which RFC 9438 section 5.8 wants of CUBIC whatever the phase.
 * An algorithm that sets its own rate has its own mind about all this.
 */
#include <tcp/internal.h>

#include <tcp/cc.h>

enum {
	PERIOD_MIN_US = 1000 * 1000,
	PERIOD_RTTS = 3,
	NVP_MS = 5 * 60 * 1000,	 /* section 5 */
	PACED_RTT_MIN_US = 3000, /* a shorter path's window is less than pace.c lets go at once */
};

static uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static uint32_t pipe_ack(const struct tcp_validate *v)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < TCP_PIPE_PARTS; i++)
		most = max_u32(most, v->pipe[i]);
	return most;
}

/* One part more than the period has, so that a sample counts for all of it. */
static void age(struct tcp_validate *v, const struct tcp_conn *c, uint32_t now_ms)
{
	uint64_t period_us = (uint64_t)c->srtt_us * PERIOD_RTTS;
	uint32_t part_ms = (uint32_t)((period_us > PERIOD_MIN_US ? period_us : PERIOD_MIN_US) /
				      (1000 * (TCP_PIPE_PARTS - 1)));
	uint32_t parts = (now_ms - v->part_ms) / part_ms;

	if (parts == 0)
		return;
	if (parts >= TCP_PIPE_PARTS) {
		memset(v->pipe, 0, sizeof(v->pipe));
		v->part_ms = now_ms;
		return;
	}
	memmove(&v->pipe[parts], &v->pipe[0], (TCP_PIPE_PARTS - parts) * sizeof(v->pipe[0]));
	memset(v->pipe, 0, parts * sizeof(v->pipe[0]));
	v->part_ms += parts * part_ms;
}

/* -- bursts --------------------------------------------------------------------------------- */

static void pace(struct tcp_conn *c, struct tcp_extra *x, uint64_t now_us)
{
	if (tcp_conn_has(c, TCP_F_PACED) || c->rtt_min_us < PACED_RTT_MIN_US ||
		c->rtt_min_us == UINT32_MAX)
		return;
	c->flags |= TCP_F_PACED;
	x->validate.flags |= TCP_VALIDATE_PACED;
	tcp_pace_begin(x, now_us);
}

static void pace_no_more(struct tcp_conn *c, struct tcp_validate *v)
{
	if (v->flags & TCP_VALIDATE_PACED)
		c->flags &= ~(TCP_F_PACED | TCP_F_PACE_HOLD);
	v->flags &= ~(uint32_t)TCP_VALIDATE_PACED;
}

/* -- the phase ------------------------------------------------------------------------------ */

/* Section 4.4.3: five minutes are over, and perhaps five more. */
static void shrink(struct tcp_conn *c, struct tcp_validate *v, uint32_t now_ms)
{
	uint32_t least = tcp_cc_initial_window(c);

	while (now_ms - v->valid_ms >= NVP_MS && c->cwnd > least) {
		c->ssthresh = max_u32(c->ssthresh, (uint32_t)((uint64_t)c->cwnd * 3 / 4));
		c->cwnd = max_u32(c->cwnd / 2, least);
		v->valid_ms += NVP_MS;
	}
}

/* Section 4.3. A window that has just held something back is in use, however little of it a sample
 * saw while slow start doubled it (section 4.5.3). */
static bool is_valid(const struct tcp_conn *c, const struct tcp_validate *v)
{
	return 2 * (uint64_t)pipe_ack(v) >= c->cwnd || tcp_conn_has(c, TCP_F_CWND_LIMITED);
}

static void judge(struct tcp_conn *c, struct tcp_extra *x, uint64_t now_us)
{
	struct tcp_validate *v = &x->validate;

	if (is_valid(c, v)) {
		v->valid_ms = tcp_ms(now_us);
		v->flags &= ~(uint32_t)TCP_VALIDATE_NOT;
		pace_no_more(c, v);
		return;
	}
	v->flags |= TCP_VALIDATE_NOT;
	shrink(c, v, tcp_ms(now_us));
	pace(c, x, now_us);
}

void tcp_validate_sample(
	const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t bytes, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	struct tcp_validate *v = &x->validate;

	if (tcp_cc_of(c)->paced || tcp_conn_in_episode(c))
		return;
	if (!(v->flags & TCP_VALIDATE_KNOWN))
		v->valid_ms = tcp_ms(now_us);
	age(v, c, tcp_ms(now_us));
	v->pipe[0] = max_u32(v->pipe[0], bytes);
	v->flags |= TCP_VALIDATE_KNOWN;
	judge(c, x, now_us);
}

/* Nothing sent for a time-out is a measurement, too. What goes first after it is paced even if
 * the pause was so short that the window counts as validated. */
void tcp_validate_idle(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	struct tcp_validate *v = &x->validate;

	if (!(v->flags & TCP_VALIDATE_KNOWN))
		v->valid_ms = c->last_tx_ms;
	v->flags |= TCP_VALIDATE_KNOWN;
	age(v, c, tcp_ms(now_us));
	judge(c, x, now_us);
	pace(c, x, now_us);
}

/* -- congestion ----------------------------------------------------------------------------- */

static void forget(struct tcp_conn *c, struct tcp_validate *v)
{
	pace_no_more(c, v);
	memset(v->pipe, 0, sizeof(v->pipe));
	v->flags = 0;
	v->loss_bytes = 0;
}

/* Section 4.4.1. A time-out is slow start from one segment in any phase, and DCTCP's answer to a
 * mark is a share of the window by definition (RFC 8257 section 3.4). */
void tcp_validate_congested(
	const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	struct tcp_validate *v = &tcp_extra_have(ctx, c)->validate;
	uint32_t used = max_u32(pipe_ack(v), (uint32_t)flight_bytes);

	v->loss_bytes = 0;
	if (why == TCP_CC_TIMEOUT)
		forget(c, v);
	if (!(v->flags & TCP_VALIDATE_NOT) || (why == TCP_CC_ECN && c->cc == TCP_CC_DCTCP))
		return;
	c->ssthresh = max_u32(used / 2, 2u * c->snd_mss_bytes);
	if (why != TCP_CC_LOSS)
		return;
	v->loss_bytes = used;
	v->resent_bytes = 0;
	ctx->counters->unvalidated_losses++;
}

void tcp_validate_undone(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	tcp_extra_have(ctx, c)->validate.loss_bytes = 0;
}

void tcp_validate_resent(const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t len)
{
	tcp_extra_have(ctx, c)->validate.resent_bytes += len;
}

void tcp_validate_recovered(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	struct tcp_validate *v = &x->validate;
	uint32_t resent = v->resent_bytes < v->loss_bytes ? v->resent_bytes : v->loss_bytes;

	if (v->loss_bytes > 0)
		c->ssthresh = max_u32((v->loss_bytes - resent) / 2, 2u * c->snd_mss_bytes);
	forget(c, v);
	x->trip.flags &= ~(uint32_t)TCP_TRIP_RUNS;
}
