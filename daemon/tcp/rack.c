/* Loss detection by time: RFC 8985 section 6 (RACK).
 *
 * Of everything delivered, RACK remembers what was sent last (rack_sent_us, rack_end_pos) and how
 * long that took (rack_rtt_us). Whatever was sent before it, and is not delivered one round trip
 * and a reordering window after it was sent, is lost. Retransmissions have send times as
 * well, so that their loss is found in the same way.
 *
 * The reordering window is zero until reordering is seen, if there is evidence of loss (recovery,
 * or three segments SACKed); then a quarter of the least round trip, and one quarter more for
 * each round in which a DSACK shows that we were too quick, back to one after sixteen
 * recoveries without. What a connection has learnt about reordering outlives the block.
 *
 * Left out of section 6.2: the count of SACKed segments is taken in bytes, or in ACKs that brought
 * new SACKs, since records do not keep the borders of segments.
 */
#include <tcp/recovery.h>

enum {
	REO_MULT_MAX = 64,
	REO_PERSIST = 16, /* RFC 8985 section 6.2 step 4 */
};

static bool sent_after(uint32_t a_us, uint64_t a_end_pos, uint32_t b_us, uint64_t b_end_pos)
{
	int32_t diff = (int32_t)(a_us - b_us);

	return diff > 0 || (diff == 0 && a_end_pos > b_end_pos);
}

/* Step 2: does the ACK answer the retransmission, or an earlier transmission? */
static bool rack_is_ambiguous(const struct tcp_round *r, const struct tcp_piece *p, uint32_t rtt_us)
{
	const struct tcp_conn *c = r->c;

	if (!(p->flags & TCP_PIECE_RESENT))
		return false;
	if (tcp_conn_has(c, TCP_F_TS) && r->seg->opt.has_ts &&
		tcp_seq_lt(r->seg->opt.ts_ecr, tcp_ts_val(r->now_us - rtt_us, c->ts_offset)))
		return true;
	return c->rtt_min_us != UINT32_MAX && rtt_us < c->rtt_min_us;
}

/* Step 3: something never sent twice is delivered after what was sent behind it. */
static void rack_detect_reordering(struct tcp_round *r, const struct tcp_piece *p)
{
	if (p->end_pos > r->s->fack_pos) {
		r->s->fack_pos = p->end_pos;
		return;
	}
	if (p->end_pos == r->s->fack_pos || (p->flags & TCP_PIECE_RESENT) || r->overtaken)
		return;
	r->c->loss |= TCP_L_REORDERING;
	tcp_extra_have(r->ctx, r->c)->reord_seen++;
	r->ctx->counters->reordering_seen++;
}

void tcp_rack_delivered(struct tcp_round *r, const struct tcp_piece *p)
{
	uint32_t rtt_us = (uint32_t)r->now_us - p->sent_us;
	struct tcp_score *s = r->s;

	rack_detect_reordering(r, p);
	if (rack_is_ambiguous(r, p, rtt_us))
		return;
	if (rtt_us == 0)
		rtt_us = 1;
	if (s->rack_rtt_us == 0 ||
		sent_after(p->sent_us, p->end_pos, s->rack_sent_us, s->rack_end_pos)) {
		s->rack_sent_us = p->sent_us;
		s->rack_end_pos = p->end_pos;
	}
	s->rack_rtt_us = rtt_us;
}

/* Step 4: once a round trip. */
void tcp_rack_saw_dsack(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_extra *x = tcp_extra_make(ctx, c);

	if (!x || (x->reo_mult > 1 && tcp_seq_lt(tcp_conn_una_seq(c), x->reo_round_seq)))
		return;
	x->reo_round_seq = tcp_conn_snd_seq(c, tcp_conn_snd_nxt(c));
	x->reo_persist = REO_PERSIST;
	if (x->reo_mult < REO_MULT_MAX)
		x->reo_mult++;
}

void tcp_rack_recovered(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);

	if (x->reo_persist > 0 && --x->reo_persist == 0)
		x->reo_mult = 1;
}

static uint32_t rack_window_us(const struct tcp_round *r)
{
	const struct tcp_conn *c = r->c;
	uint32_t threshold = TCP_DUPACK_THRESHOLD * (uint32_t)c->snd_mss_bytes;
	bool evidence = tcp_conn_in_episode(c) || r->s->sacked_bytes >= threshold ||
			c->dupacks >= TCP_DUPACK_THRESHOLD;
	uint64_t window_us;

	if (!tcp_conn_loss(c, TCP_L_REORDERING) && evidence)
		return 0;
	window_us = (uint64_t)(c->rtt_min_us != UINT32_MAX ? c->rtt_min_us : c->srtt_us) / 4 *
		    tcp_extra(r->ctx, c)->reo_mult;
	return window_us < c->srtt_us ? (uint32_t)window_us : c->srtt_us;
}

static void rack_mark_lost(struct tcp_round *r, uint32_t i)
{
	struct tcp_record *rec = tcp_score_at(r->s, i);
	uint32_t len = (uint32_t)(rec->end_pos - tcp_score_start(r->s, i));

	rec->flags |= TCP_PIECE_LOST;
	r->s->lost_bytes += len;
	r->newly_lost += len;
}

static bool is_open(const struct tcp_record *rec)
{
	return !(rec->flags & (TCP_PIECE_SACKED | TCP_PIECE_LOST));
}

/* Step 5. */
uint32_t tcp_rack_detect(struct tcp_round *r)
{
	uint32_t window_us = rack_window_us(r), timeout_us = 0;
	struct tcp_score *s = r->s;

	if (s->rack_rtt_us == 0)
		return 0;
	for (uint32_t i = 0; i < s->count; i++) {
		const struct tcp_record *rec = tcp_score_at(s, i);
		int32_t left_us =
			(int32_t)(rec->sent_us + s->rack_rtt_us + window_us - (uint32_t)r->now_us);

		if (!is_open(rec) ||
			!sent_after(s->rack_sent_us, s->rack_end_pos, rec->sent_us, rec->end_pos))
			continue;
		if (left_us <= 0)
			rack_mark_lost(r, i);
		else if ((uint32_t)left_us > timeout_us)
			timeout_us = (uint32_t)left_us;
	}
	if (r->newly_lost > 0)
		tcp_score_tidy(s);
	return timeout_us;
}

/* Section 6.3: the first one, and whatever had its time. */
void tcp_rack_timeout(struct tcp_round *r)
{
	struct tcp_score *s = r->s;
	uint32_t rtt_us = s->rack_rtt_us ? s->rack_rtt_us : r->c->srtt_us;
	uint32_t due_us = rtt_us + rack_window_us(r);

	for (uint32_t i = 0; i < s->count; i++) {
		const struct tcp_record *rec = tcp_score_at(s, i);

		if (is_open(rec) &&
			(i == 0 || (int32_t)(rec->sent_us + due_us - (uint32_t)r->now_us) <= 0))
			rack_mark_lost(r, i);
	}
	tcp_score_tidy(s);
}
