/* Selective acknowledgements: what we tell the peer. RFC 2018, RFC 2883.
 *
 * The ranges are those of the reassembly block (reasm.h), which holds nothing that rx_store did
 * not store, and gives nothing up before it is delivered: what was SACKed once is never taken
 * back. Data that came twice is reported once, in the ACK that follows it, as the first block;
 * behind it comes the range that the segment lies in, which the note of its arrival has made
 * the most recent one.
 */
#include <tcp/internal.h>

/* Only what is data of this stream: the peer's SYN and FIN take numbers, too. */
void tcp_sack_note_duplicate(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t start_seq, uint32_t end_seq)
{
	uint32_t rcv_nxt = c->irs + 1 + (uint32_t)c->rcv_nxt_pos;
	int32_t back = tcp_seq_diff(rcv_nxt, start_seq);

	if (!tcp_conn_has(c, TCP_F_SACK))
		return;
	if (back > 0 && (uint64_t)back > c->rcv_nxt_pos)
		return;
	if (back > 0 && tcp_seq_gt(end_seq, rcv_nxt))
		end_seq = rcv_nxt; /* its FIN */
	if (!tcp_seq_lt(start_seq, end_seq))
		return;
	c->dsack_start_seq = start_seq;
	c->dsack_end_seq = end_seq;
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
	const struct tcp_reasm *r = tcp_conn_reasm(ctx, c);
	struct tcp_reasm_range range[TCP_SACK_BLOCKS_MAX];
	uint32_t first_seq = c->irs + 1, n;

	assert(max <= TCP_SACK_BLOCKS_MAX);
	if (tcp_conn_has(c, TCP_F_DSACK) && max > 0)
		put_block(opt, c->dsack_start_seq, c->dsack_end_seq);
	if (!r || max == opt->sack_count)
		return;
	n = tcp_reasm_report(r, range, max - opt->sack_count);
	for (uint32_t i = 0; i < n; i++)
		put_block(opt, first_seq + (uint32_t)range[i].start_pos,
			first_seq + (uint32_t)range[i].end_pos);
}
