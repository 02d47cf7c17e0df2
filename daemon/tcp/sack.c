/* Selective acknowledgements: what we tell the peer, and what of his we believe. RFC 2018, 2883.
 *
 * Ours. The ranges are those of the reassembly block (reasm.h), which holds nothing that rx_store
 * did not store, and gives nothing up before it is delivered: what was SACKed once is never taken
 * back. Data that came twice is reported once, in the ACK that follows it, as the first block;
 * behind it comes the range that the segment lies in, which the note of its arrival has made
 * the most recent one.
 *
 * His. A block counts if it lies in flight: from SND.UNA to the highest number ever sent. A first
 * block at or below the acknowledgement, or inside the second block, is a DSACK (RFC 2883
 * section 4), believed as far back as an acknowledgement is (RFC 5961 section 5). All else
 * is counted and forgotten.
 */
#include <tcp/recovery.h>

/* Only what is data of this stream: the peer's SYN and FIN take numbers, too. */
void tcp_sack_note_duplicate(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t start_seq, uint32_t end_seq)
{
	uint32_t rcv_nxt = c->irs + 1 + (uint32_t)c->rcv_nxt_pos;
	int32_t back = tcp_seq_diff(rcv_nxt, start_seq);
	struct tcp_extra *x;

	if (!tcp_conn_has(c, TCP_F_SACK))
		return;
	if (back > 0 && (uint64_t)back > c->rcv_nxt_pos)
		return;
	if (back > 0 && tcp_seq_gt(end_seq, rcv_nxt))
		end_seq = rcv_nxt; /* its FIN */
	if (!tcp_seq_lt(start_seq, end_seq))
		return;
	x = tcp_extra_make(ctx, c);
	if (!x)
		return;
	x->dsack_start_seq = start_seq;
	x->dsack_end_seq = end_seq;
	c->flags |= TCP_F_DSACK;
	ctx->counters->dsacks_sent++;
}

static void put_block(struct tcp_options *opt, uint32_t start_seq, uint32_t end_seq)
{
	opt->sack[opt->sack_count].start = start_seq;
	opt->sack[opt->sack_count].end = end_seq;
	opt->sack_count++;
}

void tcp_sack_report(
	const struct tcp_ctx *ctx, const struct tcp_conn *c, uint32_t max, struct tcp_options *opt)
{
	const struct tcp_extra *x = tcp_extra(ctx, c);
	const struct tcp_reasm *r = tcp_conn_reasm(ctx, c);
	struct tcp_reasm_range range[TCP_SACK_BLOCKS_MAX];
	uint32_t first_seq = c->irs + 1, n;

	assert(max <= TCP_SACK_BLOCKS_MAX);
	if (tcp_conn_has(c, TCP_F_DSACK) && max > 0)
		put_block(opt, x->dsack_start_seq, x->dsack_end_seq);
	if (!r || max == opt->sack_count)
		return;
	n = tcp_reasm_report(r, range, max - opt->sack_count);
	for (uint32_t i = 0; i < n; i++)
		put_block(opt, first_seq + (uint32_t)range[i].start_pos,
			first_seq + (uint32_t)range[i].end_pos);
}

/* -- the peer's ----------------------------------------------------------------------------- */

/* Position of a number near SND.UNA; negative before the stream. */
static int64_t sack_pos(const struct tcp_conn *c, uint32_t seq)
{
	return (int64_t)tcp_conn_una(c) + tcp_seq_diff(seq, tcp_conn_una_seq(c));
}

static bool sack_is_duplicate(const struct tcp_options *opt, uint32_t ack)
{
	uint32_t start = opt->sack[0].start, end = opt->sack[0].end;

	if (tcp_seq_lt(start, ack))
		return tcp_seq_leq(end, ack);
	return opt->sack_count > 1 && tcp_seq_geq(start, opt->sack[1].start) &&
	       tcp_seq_leq(end, opt->sack[1].end);
}

/* Where the network duplicates there are more DSACKs than retransmissions, and they tell nothing
 * about ours (RFC 3708 section 3, exit). */
static void sack_take_duplicate(struct tcp_round *r, uint64_t start_pos, uint64_t end_pos)
{
	struct tcp_extra *x = tcp_extra_make(r->ctx, r->c);

	r->ctx->counters->dsacks_received++;
	if (!x || ++x->dsack_dups > x->retrans_segs)
		return;
	r->dsack = true;
	r->dsack_start_pos = start_pos;
	r->dsack_end_pos = end_pos;
}

/* True if the first block is a DSACK, to be believed or not. */
static bool sack_read_duplicate(struct tcp_round *r)
{
	const struct tcp_options *opt = &r->seg->opt;
	const struct tcp_conn *c = r->c;
	int64_t start_pos = sack_pos(c, opt->sack[0].start);
	int64_t end_pos = sack_pos(c, opt->sack[0].end);

	if (!sack_is_duplicate(opt, r->seg->ack))
		return false;
	if (start_pos < 0 || start_pos >= end_pos || end_pos > (int64_t)tcp_conn_snd_max(c) ||
		start_pos + (int64_t)c->snd_wnd_max < (int64_t)tcp_conn_una(c) - r->acked) {
		r->ctx->counters->sack_invalid++;
		return true;
	}
	sack_take_duplicate(r, (uint64_t)start_pos, (uint64_t)end_pos);
	return true;
}

/* An older ACK may report what SND.UNA has reached since: that part is cut off. */
static bool sack_read_block(const struct tcp_round *r, uint32_t i, struct tcp_reasm_range *range)
{
	const struct tcp_options *opt = &r->seg->opt;
	const struct tcp_conn *c = r->c;
	int64_t una = (int64_t)tcp_conn_una(c);
	int64_t start_pos = sack_pos(c, opt->sack[i].start);
	int64_t end_pos = sack_pos(c, opt->sack[i].end);

	if (!tcp_seq_lt(r->seg->ack, opt->sack[i].start) || start_pos >= end_pos ||
		end_pos > (int64_t)tcp_conn_snd_max(c)) {
		r->ctx->counters->sack_invalid++;
		return false;
	}
	range->start_pos = (uint64_t)(start_pos > una ? start_pos : una);
	range->end_pos = (uint64_t)(end_pos > una ? end_pos : una);
	return range->start_pos < range->end_pos;
}

void tcp_sack_read(struct tcp_round *r, struct tcp_sack_blocks *b)
{
	struct tcp_reasm_range range;
	uint32_t i = 0, at;

	b->count = 0;
	if (r->seg->opt.sack_count > 0 && sack_read_duplicate(r))
		i = 1;
	for (; i < r->seg->opt.sack_count; i++) {
		if (!sack_read_block(r, i, &range))
			continue;
		for (at = b->count; at > 0 && b->block[at - 1].start_pos > range.start_pos; at--)
			b->block[at] = b->block[at - 1];
		b->block[at] = range;
		b->count++;
	}
}
