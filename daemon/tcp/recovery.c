/* Loss recovery with SACK: RFC 6675, 8985, 9937, 5682, 4015, 3708.
 *
 * It works on the scoreboard (score.h), which begins when something is sent while something sent
 * earlier is in flight, or with the first SACK, probe or time-out, and ends when the flight is
 * empty. Before, all that is in flight was sent at one moment, and that is known: rtt_sent_us.
 * TCP_L_BLIND says that it is not known (the block could not be had, or was given up); then
 * loss.c does without, as if the peer had no SACK, until the flight is empty.
 *
 *   ACK ---> what it covers leaves the board, its SACK blocks are marked (sack.c)
 *            each piece newly delivered ---> RACK: send times, reordering (rack.c)
 *            RACK: lost? ---> recovery begins; cwnd by PRR until recover_seq (prr.c)
 *            was it a false alarm? ---> undo: as it was before
 *   timers (all of them are the send timer; TCP_L_REO and TCP_L_PTO say which one runs):
 *            reordering window over ---> RACK again
 *            probe time-out ---> one segment more (tlp.c)
 *            time-out ---> lost; slow start (TCP_L_RTO) until recover_seq, after F-RTO
 *
 * In flight, as far as cwnd is concerned, is tcp_conn_pipe(): what is neither SACKed nor lost. Lost
 * pieces go out before new data. While the board is there snd_nxt_pos is snd_max_pos: nothing
 * goes back, even at a time-out. The peer may renege (RFC 2018 section 8): if a time-out finds the
 * first piece SACKed, SACKs are worth nothing.
 *
 * A false alarm shows in three ways: the ACK that ends the first hole echoes a timestamp older
 * than our retransmission (RFC 3522); DSACKs for all that was sent again (RFC 3708); after a
 * time-out, ACKs of data that was not sent again (F-RTO, RFC 5682 section 3.1).
 */
#include <tcp/recovery.h>

#include <tcp/cc.h>

static uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* -- the block ------------------------------------------------------------------------------ */

bool tcp_recovery_begin(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_score *s;

	if (tcp_conn_loss(c, TCP_L_SCORE))
		return true;
	if ((c->flags & (TCP_F_SACK | TCP_F_RECOVERY)) != TCP_F_SACK ||
		tcp_conn_loss(c, TCP_L_BLIND) || tcp_conn_snd_nxt(c) != tcp_conn_snd_max(c) ||
		tcp_conn_flight(c) == 0)
		return false;
	s = tcp_extra_make(ctx, c) ? ctx->ops->score_alloc(ctx->ops_arg, c) : NULL;
	if (!s) {
		ctx->counters->score_no_memory++;
		c->loss |= TCP_L_BLIND;
		return false;
	}
	tcp_score_init(s, tcp_conn_una(c), tcp_conn_snd_nxt(c), c->rtt_sent_us);
	c->loss |= TCP_L_SCORE;
	return true;
}

void tcp_recovery_end(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	if (!tcp_conn_loss(c, TCP_L_SCORE))
		return;
	ctx->ops->score_free(ctx->ops_arg, c);
	c->loss &= (uint16_t) ~(TCP_L_SCORE | TCP_L_FRTO | TCP_L_RTO);
}

void tcp_recovery_drop(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	if (!tcp_conn_loss(c, TCP_L_SCORE))
		return;
	ctx->counters->score_dropped++;
	tcp_recovery_end(ctx, c);
	c->loss |= TCP_L_BLIND;
}

static void leave_episode(struct tcp_conn *c)
{
	c->flags &= ~TCP_F_RECOVERY;
	c->loss &= (uint16_t) ~(TCP_L_RTO | TCP_L_FRTO);
}

/* -- undo ----------------------------------------------------------------------------------- */

static void undo_save(struct tcp_round *r)
{
	struct tcp_score *s = r->s;

	s->undo = true;
	s->any_resent = false;
	s->undo_resent = 0;
	s->resent_end_pos = 0;
	s->undo_pos = tcp_conn_una(r->c);
	s->prior_cwnd = r->c->cwnd;
	s->prior_ssthresh = r->c->ssthresh;
}

static void undo_unmark_lost(struct tcp_round *r)
{
	for (uint32_t i = 0; i < r->s->count; i++)
		tcp_score_at(r->s, i)->flags &= ~(uint32_t)TCP_PIECE_LOST;
	r->s->lost_bytes = 0;
}

static void undo(struct tcp_round *r, uint64_t *counter)
{
	struct tcp_conn *c = r->c;

	(*counter)++;
	r->s->undo = false;
	r->s->frto = 0;
	c->cwnd = max_u32(c->cwnd, r->s->prior_cwnd);
	c->ssthresh = max_u32(c->ssthresh, r->s->prior_ssthresh);
	leave_episode(c);
	tcp_loss_undo(r->ctx, c);
	undo_unmark_lost(r);
}

/* RFC 3522 section 3.2 (3): the ACK was caused by the first transmission. */
static bool undo_by_timestamp(const struct tcp_round *r)
{
	const struct tcp_score *s = r->s;
	uint64_t sent_us = r->now_us - ((uint32_t)r->now_us - s->first_resent_us);

	return r->acked > 0 && s->any_resent && tcp_conn_has(r->c, TCP_F_TS) &&
	       r->seg->opt.has_ts &&
	       tcp_seq_lt(r->seg->opt.ts_ecr, tcp_ts_val(sent_us, r->c->ts_offset));
}

/* RFC 3708: everything that was sent again has arrived twice. */
static bool undo_by_dsack(struct tcp_round *r)
{
	struct tcp_score *s = r->s;
	uint64_t len = r->dsack_end_pos - r->dsack_start_pos;

	if (!r->dsack || r->dsack_start_pos < s->undo_pos || s->undo_resent == 0 ||
		r->dsack_end_pos > s->resent_end_pos)
		return false;
	s->undo_resent -= min_u32(s->undo_resent, (uint32_t)len);
	return s->undo_resent == 0;
}

static void try_undo(struct tcp_round *r)
{
	struct tcp_counters *n = r->ctx->counters;

	if (!r->s->undo)
		return;
	if (tcp_conn_in_episode(r->c) && undo_by_timestamp(r))
		undo(r, &n->undo_timestamp);
	else if (undo_by_dsack(r))
		undo(r, &n->undo_dsack);
}

/* -- fast recovery -------------------------------------------------------------------------- */

static void enter_recovery(struct tcp_round *r)
{
	struct tcp_conn *c = r->c;

	undo_save(r);
	tcp_loss_back_off(r->ctx, c, r->acked, false);
	tcp_prr_enter(r);
	c->recover_seq = tcp_conn_snd_seq(c, tcp_conn_snd_max(c));
	c->flags |= TCP_F_RECOVERY | TCP_F_RECOVER_SET;
	c->flags &= ~TCP_F_CWND_LIMITED;
	c->loss &= (uint16_t) ~(TCP_L_TLP_OUT | TCP_L_TLP_NEW);
	c->cwnd_acked = 0;
	r->ctx->counters->fast_retransmits++;
}

/* What RACK has just found lost, outside of an episode: congestion, unless it was but a probe. */
static bool lost_begins_recovery(struct tcp_round *r)
{
	struct tcp_piece p;

	if (tcp_conn_loss(r->c, TCP_L_MTU_OUT) && tcp_score_first_lost(r->s, &p) &&
		r->newly_lost == p.end_pos - p.start_pos &&
		tcp_mtu_lost(r->ctx, r->c, p.start_pos, r->newly_lost, r->now_us))
		return false;
	enter_recovery(r);
	return true;
}

static void leave_recovery(struct tcp_round *r)
{
	struct tcp_conn *c = r->c;

	if (tcp_conn_has(c, TCP_F_RECOVERY)) {
		tcp_validate_recovered(r->ctx, c);
		c->cwnd = c->ssthresh; /* RFC 9937 section 6 */
	}
	leave_episode(c);
	r->s->frto = 0;
	tcp_rack_recovered(r->ctx, c);
}

/* -- after a time-out: F-RTO, RFC 5682 section 3.1 ------------------------------------------ */

/* Step 2b needs new data to send. */
static bool frto_has_new_data(const struct tcp_conn *c)
{
	uint64_t wnd_end = tcp_conn_una(c) + c->snd_wnd;

	return c->snd_end_pos >= tcp_conn_snd_nxt(c) + c->snd_mss_bytes &&
	       wnd_end >= tcp_conn_snd_nxt(c) + c->snd_mss_bytes;
}

static void frto(struct tcp_round *r)
{
	struct tcp_score *s = r->s;
	struct tcp_conn *c = r->c;

	if (s->frto == 2 && r->acked > 0) {
		s->frto = frto_has_new_data(c) ? 3 : 0;
		if (s->frto == 3)
			c->loss |= TCP_L_FRTO;
	} else if (s->frto == 3 && r->original_arrived) {
		undo(r, &r->ctx->counters->undo_frto);
	} else if (s->frto == 3 && (r->delivered > 0 || r->seg->len == 0)) {
		s->frto = 0;
		c->loss &= (uint16_t)~TCP_L_FRTO;
	}
}

static void time_out(struct tcp_round *r)
{
	struct tcp_conn *c = r->c;
	bool open = !tcp_conn_in_episode(c);

	if (open)
		undo_save(r);
	else if (tcp_conn_has(c, TCP_F_RECOVERY))
		r->s->undo = false; /* what was lost before is no false alarm */
	if (c->retries == 0)
		tcp_loss_back_off(r->ctx, c, 0, true);
	tcp_rack_timeout(r);
	r->s->frto = open && c->retries == 0 ? 2 : 0;
	leave_episode(c);
	c->loss &= (uint16_t) ~(TCP_L_TLP_OUT | TCP_L_TLP_NEW);
	c->loss |= TCP_L_RTO;
	c->cwnd = (uint32_t)tcp_conn_pipe(r->ctx, c) + c->snd_mss_bytes;
}

/* RFC 2018 section 8: SACKed data is not kept. */
static void forget_sacks(struct tcp_round *r)
{
	for (uint32_t i = 0; i < r->s->count; i++) {
		struct tcp_record *rec = tcp_score_at(r->s, i);

		if (rec->flags & TCP_PIECE_SACKED)
			rec->flags = TCP_PIECE_LOST | TCP_PIECE_RESENT;
	}
	r->s->lost_bytes += r->s->sacked_bytes;
	r->s->sacked_bytes = 0;
	tcp_score_tidy(r->s);
	r->ctx->counters->sack_reneged++;
}

bool tcp_recovery_timeout(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_round r = {.ctx = ctx, .c = c, .now_us = now_us};

	if (c->snd_wnd == 0) /* the peer took its window back: probes, not retransmissions */
		tcp_recovery_drop(ctx, c);
	else
		tcp_recovery_begin(ctx, c);
	r.s = tcp_conn_score(ctx, c);
	if (!r.s)
		return false;
	if (tcp_score_at(r.s, 0)->flags & TCP_PIECE_SACKED)
		forget_sacks(&r);
	time_out(&r);
	return true;
}

/* -- an ACK --------------------------------------------------------------------------------- */

/* ACKs that came together are answered together: what they deliver is one delivery to PRR. */
static void note_burst(struct tcp_round *r, uint32_t len)
{
	struct tcp_score *s = r->s;

	if (s->burst_us != (uint32_t)r->now_us)
		s->burst_bytes = 0;
	s->burst_us = (uint32_t)r->now_us;
	s->burst_bytes += len;
}

/* The piece counts as delivered, unless it was SACKed before. */
static void piece_delivered(struct tcp_round *r, const struct tcp_piece *p)
{
	uint32_t len = (uint32_t)(p->end_pos - p->start_pos);

	r->delivered += len;
	note_burst(r, len);
	if (p->flags & TCP_PIECE_LOST)
		r->s->lost_bytes -= len;
	if (p->flags == TCP_PIECE_LOST &&
		(int64_t)(p->end_pos - tcp_conn_una(r->c)) <=
			tcp_seq_diff(r->c->recover_seq, tcp_conn_una_seq(r->c)))
		r->original_arrived = true;
	tcp_rack_delivered(r, p);
}

static void take_acked(struct tcp_round *r)
{
	uint64_t una = tcp_conn_una(r->c);
	struct tcp_piece p;

	while (tcp_score_pop(r->s, una, &p)) {
		if (p.flags & TCP_PIECE_SACKED)
			r->s->sacked_bytes -= (uint32_t)(p.end_pos - p.start_pos);
		else
			piece_delivered(r, &p);
	}
}

static void take_sacked(struct tcp_round *r, const struct tcp_sack_blocks *b)
{
	struct tcp_piece p;
	bool full = false;

	for (uint32_t i = 0; i < b->count; i++) {
		uint64_t at_pos = b->block[i].start_pos;

		while (tcp_score_sack(r->s, &at_pos, b->block[i].end_pos, &p, &full)) {
			uint32_t len = (uint32_t)(p.end_pos - p.start_pos);

			r->s->sacked_bytes += len;
			r->newly_sacked += len;
			piece_delivered(r, &p);
		}
	}
	if (full)
		r->ctx->counters->score_full++;
	if (r->acked > 0)
		r->c->dupacks = 0;
	else if (r->newly_sacked > 0 && r->c->dupacks < UINT8_MAX)
		r->c->dupacks++;
}

/* RACK has something to wait for, or the timer that runs is out of place. */
static void set_timer(struct tcp_round *r, uint32_t timeout_us)
{
	struct tcp_conn *c = r->c;
	bool trouble = r->s->sacked_bytes + r->s->lost_bytes > 0 || tcp_conn_in_episode(c);

	if (timeout_us > 0 && (tcp_timer_us(c->send_at, r->now_us) > r->now_us + timeout_us ||
				      (c->loss & (TCP_L_REO | TCP_L_PTO)))) {
		c->send_at = tcp_timer_in(r->now_us, timeout_us);
		c->loss = (uint16_t)((c->loss & ~TCP_L_PTO) | TCP_L_REO);
	} else if (timeout_us == 0 &&
		   ((c->loss & TCP_L_REO) || (trouble && (c->loss & TCP_L_PTO)))) {
		c->send_at = 0;
	}
}

static void grow(struct tcp_round *r, uint64_t flight_bytes)
{
	if (tcp_conn_has(r->c, TCP_F_RECOVERY))
		tcp_prr_acked(r);
	else if (r->acked > 0 && !r->left)
		tcp_loss_grow(r->ctx, r->c, r->acked, flight_bytes, r->now_us);
}

static void round_run(struct tcp_round *r, uint64_t flight_bytes)
{
	struct tcp_sack_blocks blocks;
	struct tcp_conn *c = r->c;
	uint32_t timeout_us;

	tcp_sack_read(r, &blocks);
	take_acked(r);
	take_sacked(r, &blocks);
	if (r->dsack)
		tcp_rack_saw_dsack(r->ctx, c);
	tcp_tlp_acked(r);
	try_undo(r);
	if (tcp_conn_in_episode(c) && tcp_seq_geq(tcp_conn_una_seq(c), c->recover_seq)) {
		r->left = tcp_conn_has(c, TCP_F_RECOVERY);
		leave_recovery(r);
	}
	if (tcp_conn_loss(c, TCP_L_RTO))
		frto(r);
	timeout_us = tcp_rack_detect(r);
	if (r->newly_lost > 0 && !tcp_conn_in_episode(c))
		lost_begins_recovery(r);
	grow(r, flight_bytes);
	set_timer(r, timeout_us);
}

/* Nothing is in flight any more: only a DSACK or the end of a probe can be of interest. */
static void round_of_nothing(struct tcp_round *r)
{
	struct tcp_sack_blocks blocks;

	tcp_sack_read(r, &blocks);
	if (r->dsack)
		tcp_rack_saw_dsack(r->ctx, r->c);
	tcp_tlp_acked(r);
}

bool tcp_recovery_acked(struct tcp_rx *rx, uint32_t acked, uint64_t flight_bytes)
{
	struct tcp_round r = {
		.ctx = rx->ctx, .c = rx->c, .seg = rx->seg, .now_us = rx->now_us, .acked = acked};

	if (rx->seg->opt.sack_count > 0)
		tcp_recovery_begin(rx->ctx, rx->c);
	r.s = tcp_conn_score(rx->ctx, rx->c);
	if (!r.s) {
		round_of_nothing(&r);
		return false;
	}
	round_run(&r, flight_bytes);
	if (acked == 0 && r.newly_sacked > 0)
		rx->ctx->counters->dup_acks++;
	if (r.s->count == 0)
		tcp_recovery_end(rx->ctx, rx->c);
	return true;
}

/* What an ACK SACKs is as true when others have overtaken it, and they may not have had room to
 * say it again. Nothing else in it counts: it is no duplicate, its window is old, and it is no
 * sign of reordering on the way there. */
void tcp_recovery_overtaken(struct tcp_rx *rx)
{
	struct tcp_round r = {.ctx = rx->ctx,
		.c = rx->c,
		.seg = rx->seg,
		.now_us = rx->now_us,
		.overtaken = true};
	uint8_t dupacks = rx->c->dupacks;
	struct tcp_sack_blocks blocks;
	uint32_t timeout_us;

	r.s = tcp_conn_score(rx->ctx, rx->c);
	tcp_sack_read(&r, &blocks);
	take_sacked(&r, &blocks);
	rx->c->dupacks = dupacks;
	if (r.dsack)
		tcp_rack_saw_dsack(rx->ctx, rx->c);
	try_undo(&r);
	if (r.newly_sacked == 0)
		return;
	rx->ctx->counters->sacks_overtaken++;
	timeout_us = tcp_rack_detect(&r);
	if (r.newly_lost > 0 && !tcp_conn_in_episode(rx->c))
		lost_begins_recovery(&r);
	if (tcp_conn_has(rx->c, TCP_F_RECOVERY))
		tcp_prr_acked(&r);
	set_timer(&r, timeout_us);
}

void tcp_recovery_reordered(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_round r = {.ctx = ctx, .c = c, .now_us = now_us};
	uint32_t timeout_us;

	r.s = tcp_conn_score(ctx, c);
	if (!r.s)
		return;
	ctx->counters->reo_timeouts++;
	timeout_us = tcp_rack_detect(&r);
	if (r.newly_lost > 0 && !tcp_conn_in_episode(c) && lost_begins_recovery(&r))
		tcp_prr_acked(&r);
	set_timer(&r, timeout_us);
}

/* -- sending -------------------------------------------------------------------------------- */

/* What tcp_output() would send again next: false if cwnd, the peer's window or F-RTO forbid it. */
bool tcp_recovery_next(
	const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t *start_pos, uint32_t *len)
{
	uint64_t pipe = tcp_conn_pipe(ctx, c), wnd_end = tcp_conn_una(c) + c->snd_wnd;
	uint32_t mss = c->snd_mss_bytes, room;
	struct tcp_piece p;

	if (tcp_conn_lost(ctx, c) == 0 || tcp_conn_loss(c, TCP_L_FRTO) || !tcp_conn_sends(c))
		return false;
	if (pipe > 0 && pipe + mss > c->cwnd)
		return false;
	if (!tcp_score_first_lost(tcp_conn_score(ctx, c), &p) || p.start_pos >= wnd_end)
		return false;
	room = c->cwnd > pipe + mss ? (uint32_t)(c->cwnd - pipe) / mss * mss : mss;
	if (p.end_pos > wnd_end)
		p.end_pos = wnd_end;
	*start_pos = p.start_pos;
	*len = p.end_pos - p.start_pos < room ? (uint32_t)(p.end_pos - p.start_pos) : room;
	return true;
}

void tcp_recovery_resent(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t start_pos, uint32_t len, uint64_t now_us)
{
	struct tcp_score *s = tcp_conn_score(ctx, c);
	bool first = start_pos == tcp_conn_una(c);
	struct tcp_piece p;

	if (tcp_score_first_lost(s, &p) && !(p.flags & TCP_PIECE_RESENT))
		tcp_validate_resent(ctx, c, len);
	/* A part of a lost piece; rack_mark_lost() and piece_delivered() keep the sum of them. */
	assert(len <= s->lost_bytes);
	s->lost_bytes -= len;
	s->prr_out += len;
	s->undo_resent += len;
	if (s->resent_end_pos < start_pos + len)
		s->resent_end_pos = start_pos + len;
	if (!s->any_resent) {
		s->any_resent = true;
		s->first_resent_us = (uint32_t)now_us;
	}
	if (first || !c->send_at) /* a new transmission has a time-out of its own */
		tcp_send_timer_start(ctx, c, now_us);
	if (!tcp_score_resend(s, start_pos, start_pos + len, (uint32_t)now_us))
		tcp_recovery_drop(ctx, c);
}

/* The last segment goes out again, as a probe: it is not lost as far as we know. Its length, 0:
 * there is none. */
uint32_t tcp_recovery_resend_tail(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_score *s = tcp_conn_score(ctx, c);
	uint64_t start_pos, end_pos;
	uint32_t len;

	if (!s || s->sacked_bytes + s->lost_bytes > 0)
		return 0;
	start_pos = tcp_score_start(s, s->count - 1);
	end_pos = tcp_score_end(s);
	len = end_pos - start_pos > c->snd_mss_bytes ? c->snd_mss_bytes
						     : (uint32_t)(end_pos - start_pos);
	if (!tcp_score_resend(s, end_pos - len, end_pos, (uint32_t)now_us))
		tcp_recovery_drop(ctx, c);
	return len;
}

void tcp_recovery_sent(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, uint64_t now_us)
{
	struct tcp_score *s = tcp_conn_score(ctx, c);

	s->burst_bytes = 0;
	if (tcp_conn_has(c, TCP_F_RECOVERY))
		s->prr_out += (uint32_t)(end_pos - tcp_score_end(s));
	if (!tcp_score_append(s, end_pos, (uint32_t)now_us))
		tcp_recovery_drop(ctx, c);
}
