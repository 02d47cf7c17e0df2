/* Seventh and eighth step: text and FIN (RFC 9293 section 3.10.7.4).
 *
 * The payload is cut to what lies in the window and was not received before; what is left is
 * handed to rx_store gap by gap. Bytes in order move RCV.NXT; bytes behind a gap are noted in
 * the reassembly block. The first bytes to arrive win. What could not be stored is as if it
 * had never come: neither it nor a FIN behind it is acknowledged.
 *
 * ACKs (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2): at once for data out of order, for
 * data that fills a gap, for data received before or refused, and for every second
 * full-sized segment; else after delack_us. A young connection acknowledges each segment, for
 * a peer in slow start, until it turns out to be a dialogue (output.c).
 */
#include <tcp/internal.h>

enum {
	DUP_ACKS_MAX = 32, /* of one batch */
};

/* The part of the payload that is dealt with, by position. */
struct text {
	uint64_t start_pos;
	uint64_t end_pos;
	uint32_t off; /* of start_pos in the payload */
};

/* Position of the first payload byte relative to RCV.NXT; negative for old data. */
static int32_t text_offset(const struct tcp_rx *rx)
{
	const struct tcp_conn *c = rx->c;
	uint32_t nxt = c->irs + 1 + (uint32_t)c->rcv_nxt_pos;

	return tcp_seq_diff(rx->seg->seq, nxt);
}

/* Where the payload ends and a FIN would be. Only for acceptable segments. */
static uint64_t text_end_pos(const struct tcp_rx *rx)
{
	return (uint64_t)((int64_t)rx->c->rcv_nxt_pos + text_offset(rx) + rx->seg->len);
}

static bool text_trim(struct tcp_rx *rx, const struct tcp_reasm *r, struct text *t)
{
	struct tcp_counters *n = rx->ctx->counters;
	struct tcp_conn *c = rx->c;
	int32_t offset = text_offset(rx);

	t->end_pos = text_end_pos(rx);
	t->off = offset < 0 ? (uint32_t) - (int64_t)offset : 0;
	t->start_pos = offset < 0 ? c->rcv_nxt_pos : c->rcv_nxt_pos + (uint32_t)offset;
	if (t->off > 0 && t->off < rx->seg->len) {
		n->data_partly_old++;
		tcp_sack_note_duplicate(rx->ctx, c, rx->seg->seq, rx->seg->seq + t->off);
	}
	if (t->end_pos > tcp_conn_rcv_edge(c)) {
		n->data_past_window++;
		t->end_pos = tcp_conn_rcv_edge(c);
		rx->fin = false;
	}
	if (r && t->end_pos > r->fin_pos) {
		n->data_past_fin++;
		t->end_pos = r->fin_pos;
		rx->fin = false;
	}
	return t->off < rx->seg->len && t->start_pos < t->end_pos;
}

static uint32_t text_store(struct tcp_rx *rx, const struct text *t, uint64_t start_pos,
	uint64_t end_pos, bool in_order)
{
	uint32_t off = t->off + (uint32_t)(start_pos - t->start_pos);
	uint32_t len = (uint32_t)(end_pos - start_pos);
	uint32_t n = rx->ctx->ops->rx_store(
		rx->ctx->ops_arg, rx->c, start_pos, rx->seg, off, len, in_order);

	assert(n <= len); /* rx_store's promise */
	if (n < len) {
		rx->ctx->counters->data_no_memory++;
		rx->fin = false;
	}
	return n;
}

/* One gap: true if it was filled. */
static bool text_fill(struct tcp_rx *rx, struct tcp_reasm *r, const struct text *t,
	const struct tcp_reasm_range *gap)
{
	struct tcp_conn *c = rx->c;
	bool in_order = gap->start_pos == c->rcv_nxt_pos;
	uint32_t n;

	if (!in_order && !tcp_reasm_has_room(r, gap->start_pos)) {
		rx->ctx->counters->reasm_full++;
		rx->fin = false;
		return false;
	}
	n = text_store(rx, t, gap->start_pos, gap->end_pos, in_order);
	if (in_order)
		c->rcv_nxt_pos = tcp_reasm_advance(r, c->rcv_nxt_pos + n);
	else if (n > 0)
		tcp_reasm_add(r, gap->start_pos, gap->start_pos + n);
	return n == gap->end_pos - gap->start_pos;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* RFC 2883 section 4: the first part that lay here before. */
static void text_note_overlap(struct tcp_rx *rx, const struct tcp_reasm *r, const struct text *t)
{
	uint32_t first_seq = rx->c->irs + 1;
	struct tcp_reasm_range part;

	if (tcp_reasm_overlap(r, t->start_pos, t->end_pos, &part))
		tcp_sack_note_duplicate(rx->ctx, rx->c, first_seq + (uint32_t)part.start_pos,
			first_seq + (uint32_t)part.end_pos);
}

static void text_fill_gaps(struct tcp_rx *rx, struct tcp_reasm *r, const struct text *t)
{
	struct tcp_reasm_range gap;
	uint64_t at = t->start_pos, filled = 0;

	text_note_overlap(rx, r, t);
	while (tcp_reasm_gap(r, at, t->end_pos, &gap) && text_fill(rx, r, t, &gap)) {
		filled += gap.end_pos - gap.start_pos;
		at = max_u64(gap.end_pos, rx->c->rcv_nxt_pos); /* a range may have joined */
	}
	if (at >= t->end_pos && filled < t->end_pos - t->start_pos)
		rx->ctx->counters->data_overlap++;
	if (rx->c->rcv_nxt_pos < t->start_pos) {
		rx->ctx->counters->out_of_order++;
		tcp_extra_have(rx->ctx, rx->c)->rcv_ooo_segs++;
		tcp_reasm_note(r, t->start_pos);
		if (rx->c->dup_acks_owed < DUP_ACKS_MAX)
			rx->c->dup_acks_owed++;
	}
}

static struct tcp_reasm *reasm_get_or_alloc(struct tcp_rx *rx, struct tcp_reasm *r)
{
	if (r)
		return r;
	r = tcp_extra_make(rx->ctx, rx->c) ? rx->ctx->ops->reasm_alloc(rx->ctx->ops_arg, rx->c)
					   : NULL;
	if (!r) {
		rx->ctx->counters->reasm_no_memory++;
		return NULL;
	}
	tcp_reasm_init(r);
	rx->c->flags |= TCP_F_REASM;
	return r;
}

/* Every second full-sized segment, or later. */
static void text_ack_in_order(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;
	uint32_t unacked = tcp_conn_rcv_nxt(c) - c->last_ack_sent;
	uint32_t len = rx->seg->len < rx->ctx->cfg->mss_max_bytes ? rx->seg->len
								  : rx->ctx->cfg->mss_max_bytes;

	if (len > c->rcv_mss_bytes)
		c->rcv_mss_bytes = (uint16_t)len;
	if (c->quick_acks > 0 || unacked >= 2u * c->rcv_mss_bytes)
		c->owe |= TCP_OWE_ACK;
	else if (!c->ack_at)
		c->ack_at = tcp_timer_in(rx->now_us, rx->ctx->cfg->delack_us);
}

/* Data for a connection that nobody holds any more: RFC 9293 section 3.6.1, an RST says that
 * it was lost. */
static enum tcp_step text_after_close(struct tcp_rx *rx)
{
	rx->ctx->counters->data_after_close++;
	rx->events |= tcp_conn_close(rx->ctx, rx->c, 0, true);
	return TCP_DONE;
}

/* The block is gone as soon as nothing is in it. */
static void reasm_release(struct tcp_rx *rx, const struct tcp_reasm *r)
{
	if (r && r->count == 0 && r->fin_pos == UINT64_MAX)
		tcp_conn_free_reasm(rx->ctx, rx->c);
}

static void text_take(struct tcp_rx *rx, struct tcp_reasm *r, const struct text *t)
{
	struct tcp_conn *c = rx->c;
	uint64_t before_pos = c->rcv_nxt_pos;

	if (!r && t->start_pos == c->rcv_nxt_pos) {
		c->rcv_nxt_pos += text_store(rx, t, t->start_pos, t->end_pos, true);
	} else {
		c->owe |= TCP_OWE_ACK;
		r = reasm_get_or_alloc(rx, r);
		if (r)
			text_fill_gaps(rx, r, t);
		else
			rx->fin = false;
		reasm_release(rx, r);
	}
	if (c->rcv_nxt_pos > before_pos) {
		rx->events |= TCP_EV_RECEIVED;
		c->dup_acks_owed = 0;
		c->last_data_ms = tcp_ms(rx->now_us);
		text_ack_in_order(rx);
	}
	if (c->rcv_nxt_pos < t->end_pos)
		c->owe |= TCP_OWE_ACK;
}

enum tcp_step tcp_process_text(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;
	struct tcp_reasm *r;
	struct text t;

	if (!rx->text || !(tcp_conn_receives(c) || tcp_conn_early(c)) ||
		tcp_conn_has(c, TCP_F_FIN_RCVD))
		return TCP_CONTINUE;
	r = tcp_conn_reasm(rx->ctx, c);
	if (!text_trim(rx, r, &t)) {
		c->owe |= TCP_OWE_ACK;
		return TCP_CONTINUE;
	}
	if (tcp_conn_has(c, TCP_F_ORPHAN))
		return text_after_close(rx);
	text_take(rx, r, &t);
	return TCP_CONTINUE;
}

void tcp_process_next_text(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;
	const struct text t = {
		.start_pos = c->rcv_nxt_pos,
		.end_pos = c->rcv_nxt_pos + rx->seg->len,
	};

	if (tcp_conn_has(c, TCP_F_ORPHAN))
		text_after_close(rx);
	else
		text_take(rx, NULL, &t);
}

/* Notes where the stream ends. False if that contradicts what we know. */
static bool fin_note(struct tcp_rx *rx, uint64_t fin_pos)
{
	struct tcp_reasm *r = tcp_conn_reasm(rx->ctx, rx->c);

	if (fin_pos == rx->c->rcv_nxt_pos && !r)
		return true;
	r = reasm_get_or_alloc(rx, r);
	if (!r)
		return false;
	if ((r->fin_pos != UINT64_MAX && r->fin_pos != fin_pos) ||
		(r->count > 0 && r->range[r->count - 1].end_pos > fin_pos) ||
		fin_pos < rx->c->rcv_nxt_pos) {
		rx->ctx->counters->fin_conflict++;
		reasm_release(rx, r);
		return false;
	}
	r->fin_pos = fin_pos;
	return true;
}

/* Has RCV.NXT come to the FIN, in this segment or in an earlier one? */
static bool fin_reached(struct tcp_rx *rx)
{
	struct tcp_reasm *r;

	if (rx->fin) {
		uint64_t fin_pos = text_end_pos(rx);

		rx->c->owe |= TCP_OWE_ACK;
		if (!fin_note(rx, fin_pos))
			return false;
		if (fin_pos == rx->c->rcv_nxt_pos)
			return true;
	}
	r = tcp_conn_reasm(rx->ctx, rx->c);
	return r && r->fin_pos == rx->c->rcv_nxt_pos;
}

/* Eighth step. */
enum tcp_step tcp_check_fin(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;

	if (!tcp_conn_receives(c) || tcp_conn_has(c, TCP_F_FIN_RCVD) || !fin_reached(rx))
		return TCP_CONTINUE;
	tcp_conn_free_reasm(rx->ctx, c);
	c->flags |= TCP_F_FIN_RCVD;
	c->owe |= TCP_OWE_ACK;
	rx->events |= TCP_EV_FIN;
	if (c->state == TCP_ESTABLISHED)
		tcp_conn_set_state(c, TCP_CLOSE_WAIT);
	else if (c->state == TCP_FIN_WAIT_1)
		tcp_conn_set_state(c, TCP_CLOSING);
	else
		rx->events |= tcp_conn_time_wait(rx->ctx, c, rx->now_us);
	return TCP_DONE;
}
