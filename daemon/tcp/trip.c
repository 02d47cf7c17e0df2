/* What the network delivers in a round trip: one sample for each, of a connection that has a
 * struct tcp_extra.
 *
 * A trip begins with an ACK and ends with the ACK of something that was sent after it. What was
 * delivered meanwhile, over the time it took, is a sample of the delivery rate, as the ones that
 * draft-cheng-iccrg-delivery-rate-estimation takes for each segment, and of RFC 7661's pipeACK
 * (validate.c).
 *
 *     ACK            ACK of what was sent behind end_pos
 *      |--- trip ------------|--- trip ---
 *      '-> sent, end_pos ----'
 *
 * With nothing in flight a trip begins when data leaves, and lasts until all is acknowledged that
 * was sent before the first ACK: the first ACK alone would say that a segment or two are all that
 * a round trip delivers. Any other that finds nothing in flight before its end yields no sample.
 *
 * The rate that is kept is Linux's: the last one that the application did not limit, or one that it
 * did limit if that is higher all the same. It limits what is sent while less than a segment
 * waits and the window would take more, and for a round trip after that.
 */
#include <tcp/internal.h>

/* Less than a segment waits, Nagle's tail at the most, and the window would take more. */
static bool is_app_limited(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_snd_nxt(c) + c->snd_mss_bytes > c->snd_end_pos &&
	       tcp_conn_lost(ctx, c) == 0 && tcp_conn_pipe(ctx, c) + c->snd_mss_bytes <= c->cwnd;
}

static uint32_t delivered_low(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return (uint32_t)tcp_conn_una(c) + tcp_conn_sacked(ctx, c);
}

static void begin(struct tcp_trip *t, const struct tcp_ctx *ctx, const struct tcp_conn *c,
	bool limited, uint64_t now_us)
{
	t->end_low = c->snd_nxt_low + 1;
	t->since_us = (uint32_t)now_us;
	t->delivered_low = delivered_low(ctx, c);
	t->flags = (t->flags & TCP_TRIP_RATE_LIMITED) | TCP_TRIP_RUNS |
		   (limited ? TCP_TRIP_LIMITED : 0);
}

void __attribute__((noinline))
tcp_trip_leaves(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_trip *t = &tcp_extra_have(ctx, c)->trip;

	begin(t, ctx, c, (t->flags & TCP_TRIP_NEXT_LIMITED) || c->snd_una_pos == 0, now_us);
	t->flags |= TCP_TRIP_OPEN;
}

/* Less than the least round trip is the time between two ACKs, and no rate. */
static void take_rate(struct tcp_trip *t, const struct tcp_conn *c, uint32_t bytes, uint32_t us)
{
	bool limited = t->flags & TCP_TRIP_LIMITED;

	if (us == 0 || us < c->rtt_min_us)
		return;
	if (limited && (uint64_t)bytes * t->rate_us < (uint64_t)t->rate_bytes * us)
		return;
	t->rate_bytes = bytes;
	t->rate_us = us;
	t->flags &= ~(uint32_t)TCP_TRIP_RATE_LIMITED;
	t->flags |= limited ? TCP_TRIP_RATE_LIMITED : 0;
}

/* A peer that reneges takes something back: then there is no sample. */
static void end(struct tcp_trip *t, const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	int32_t bytes = (int32_t)(delivered_low(ctx, c) - t->delivered_low);

	if (bytes <= 0)
		return;
	take_rate(t, c, (uint32_t)bytes, (uint32_t)now_us - t->since_us);
	tcp_validate_sample(ctx, c, (uint32_t)bytes, now_us);
}

void tcp_trip_acked(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_trip *t = &tcp_extra_have(ctx, c)->trip;
	bool limited = is_app_limited(ctx, c);

	if (t->flags & TCP_TRIP_OPEN)
		t->end_low = c->snd_nxt_low;
	t->flags &= ~(uint32_t)TCP_TRIP_OPEN;
	if ((t->flags & TCP_TRIP_RUNS) && (int32_t)((uint32_t)tcp_conn_una(c) - t->end_low) >= 0) {
		end(t, ctx, c, now_us);
		t->flags &= ~(uint32_t)TCP_TRIP_RUNS;
	}
	if ((uint32_t)tcp_conn_una(c) == c->snd_max_low)
		t->flags &= ~(uint32_t)TCP_TRIP_RUNS;
	else if (!(t->flags & TCP_TRIP_RUNS))
		begin(t, ctx, c, limited || (t->flags & TCP_TRIP_NEXT_LIMITED), now_us);
	if (limited)
		t->flags |= TCP_TRIP_NEXT_LIMITED;
}
