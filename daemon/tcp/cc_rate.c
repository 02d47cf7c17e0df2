#include <tcp/cc_rate.h>

/* A peer that reneges takes something back: nothing is delivered until that is made up for. */
static uint64_t reached(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_una(c) + tcp_conn_sacked(ctx, c);
}

void tcp_rate_init(struct tcp_rate *r, const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	memset(r, 0, offsetof(struct tcp_rate, note));
	r->retrans_seen = tcp_extra(ctx, c)->retrans_bytes;
	r->reached = reached(ctx, c);
}

static struct tcp_rate_note *note_at(struct tcp_rate *r, uint32_t i)
{
	return &r->note[(r->head + i) % TCP_RATE_NOTES];
}

/* So that the notes reach all through the window. */
static bool too_dense(struct tcp_rate *r, const struct tcp_conn *c, uint64_t end_pos)
{
	if (r->count == TCP_RATE_NOTES)
		return true;
	return r->count > 0 &&
	       end_pos < note_at(r, r->count - 1)->end_pos + c->cwnd / (TCP_RATE_NOTES - 8);
}

void tcp_rate_sent(struct tcp_rate *r, const struct tcp_ctx *ctx, const struct tcp_conn *c,
	uint64_t end_pos, uint64_t now_us)
{
	uint64_t una = tcp_conn_una(c);

	if (end_pos <= tcp_conn_snd_max(c))
		return;			  /* sent again */
	if (tcp_conn_snd_max(c) == una) { /* nothing was in flight */
		r->first_sent_us = now_us;
		r->delivered_us = now_us;
		r->count = 0;
	}
	if (too_dense(r, c, end_pos))
		return;
	*note_at(r, r->count++) = (struct tcp_rate_note){
		.end_pos = end_pos,
		.sent_us = now_us,
		.first_sent_us = r->first_sent_us,
		.delivered = r->delivered,
		.delivered_us = r->delivered_us,
		.lost = r->lost,
		.in_flight = (uint32_t)(tcp_conn_pipe(ctx, c) + end_pos - tcp_conn_snd_max(c)),
		.app_limited = r->app_limited != 0,
	};
}

/* Everything handed over is on its way, and the window would take more. */
static void note_app_limit(struct tcp_rate *r, const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint64_t flight = tcp_conn_pipe(ctx, c);

	if (r->app_limited && r->delivered > r->app_limited)
		r->app_limited = 0;
	if (tcp_conn_snd_nxt(c) >= c->snd_end_pos && flight < c->cwnd)
		r->app_limited = r->delivered + flight ? r->delivered + flight : 1;
}

static void take_sample(struct tcp_rate *r, const struct tcp_rate_note *n, uint64_t now_us,
	struct tcp_rate_sample *out)
{
	uint64_t send_us = n->sent_us - n->first_sent_us;
	uint64_t ack_us = now_us - n->delivered_us;
	uint64_t interval_us = send_us > ack_us ? send_us : ack_us;

	out->prior_delivered = n->delivered;
	out->delivered = r->delivered - n->delivered;
	out->lost = r->lost - n->lost;
	out->in_flight_then = n->in_flight;
	out->app_limited = n->app_limited;
	if (out->lost == 0)
		out->rtt_us = (uint32_t)(now_us - n->sent_us);
	if (interval_us > 0)
		out->bw = out->delivered * 1000000 / interval_us;
	r->first_sent_us = n->sent_us;
}

void tcp_rate_acked(struct tcp_rate *r, const struct tcp_ctx *ctx, const struct tcp_conn *c,
	const struct tcp_cc_ack *a, struct tcp_rate_sample *out)
{
	uint64_t una = tcp_conn_una(c);
	struct tcp_rate_note last = {0};
	bool found = false;

	*out = (struct tcp_rate_sample){
		.prior_delivered = UINT64_MAX,
		.newly_delivered = reached(ctx, c) > r->reached ? reached(ctx, c) - r->reached : 0,
		.newly_lost = tcp_extra(ctx, c)->retrans_bytes - r->retrans_seen,
		.in_flight = tcp_conn_pipe(ctx, c),
		.rtt_us = a->rtt_us,
	};
	r->retrans_seen = tcp_extra(ctx, c)->retrans_bytes;
	r->lost += out->newly_lost;
	if (out->newly_delivered > 0) {
		r->reached = reached(ctx, c);
		r->delivered += out->newly_delivered;
		r->delivered_us = a->now_us;
	}
	while (r->count > 0 && note_at(r, 0)->end_pos <= una) {
		last = *note_at(r, 0);
		found = true;
		r->head = (r->head + 1) % TCP_RATE_NOTES;
		r->count--;
	}
	if (found)
		take_sample(r, &last, a->now_us, out);
	note_app_limit(r, ctx, c);
}
