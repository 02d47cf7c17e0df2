/* RFC 9293 section 3.10.7.4 for TIME-WAIT, with RFC 1337 (RST), RFC 5961 (SYN), RFC 6191
 * (early reuse) and RFC 7323 (timestamps). Nothing here changes but the deadline and
 * ts_recent.
 */
#include <tcp/timewait.h>

#include <tcp/internal.h>
#include <tcp/reply.h>
#include <tcp/seq.h>

static uint64_t two_msl_us(const struct tcp_ctx *ctx)
{
	return (uint64_t)ctx->cfg->msl_us * 2;
}

void tcp_tw_init(struct tcp_ctx *ctx, struct tcp_tw *tw, const struct tcp_conn *c, uint64_t now_us)
{
	uint32_t wnd = tcp_conn_rcv_wnd(c) >> c->rcv_wscale;

	memset(tw, 0, offsetof(struct tcp_tw, gen));
	tw->entry.key = c->entry.key;
	tw->entry.slot = TCP_SLOT_NONE;
	tw->entry.deadline_us = c->life_at_ms ? tcp_life_us(c, now_us) : now_us + two_msl_us(ctx);
	tw->snd_nxt = tcp_conn_una_seq(c); /* our FIN is acknowledged */
	tw->rcv_nxt = tcp_conn_rcv_nxt(c);
	tw->rcv_wnd = tcp_conn_rcv_wnd(c);
	tw->wnd = (uint16_t)(wnd < UINT16_MAX ? wnd : UINT16_MAX);
	if (tcp_conn_has(c, TCP_F_TS)) {
		tw->flags |= TCP_TW_TS;
		tw->ts_recent = c->ts_recent;
		tw->ts_offset = c->ts_offset;
	}
}

static uint32_t answer_ack(const struct tcp_tw *tw, uint64_t now_us, struct tcp_out *reply)
{
	tcp_reply_init(reply, &tw->entry.key, tw->snd_nxt, tw->rcv_nxt, TCP_ACK);
	reply->wnd = tw->wnd;
	if (tw->flags & TCP_TW_TS)
		tcp_reply_add_ts(reply, tcp_ts_val(now_us, tw->ts_offset), tw->ts_recent);
	return TCP_EV_REPLY;
}

bool tcp_tw_can_ack(const struct tcp_conn *c)
{
	return c->owe == TCP_OWE_ACK && c->dup_acks_owed == 0 && !tcp_conn_has(c, TCP_F_ECN_ECHO) &&
	       !tcp_conn_has(c, TCP_F_EXTRA);
}

uint32_t tcp_tw_ack(
	struct tcp_ctx *ctx, const struct tcp_tw *tw, uint64_t now_us, struct tcp_out *reply)
{
	ctx->counters->segs_out++; /* of the connection that this was */
	return answer_ack(tw, now_us, reply);
}

static uint32_t answer_limited_ack(
	struct tcp_ctx *ctx, const struct tcp_tw *tw, uint64_t now_us, struct tcp_out *reply)
{
	if (!tcp_reply_challenge(ctx, now_us))
		return 0;
	return answer_ack(tw, now_us, reply);
}

/* RFC 6191 section 2, in its order. Where nothing but sequence numbers protects the new
 * connection from segments of the old one, our own number must have moved on as well
 * (RFC 9293 section 3.6.1, MAY-2, condition 1): the clock of RFC 6528 may lag a connection
 * that sent faster than 250 kB/s. */
static bool syn_is_new(const struct tcp_ctx *ctx, const struct tcp_tw *tw,
	const struct tcp_segment *syn, uint64_t now_us)
{
	bool ts_before = tw->flags & TCP_TW_TS;
	bool ts_after = syn->opt.has_ts && ctx->cfg->timestamps;

	if (ts_before && ts_after && syn->opt.ts_val != tw->ts_recent)
		return tcp_seq_gt(syn->opt.ts_val, tw->ts_recent);
	if (!ts_before && ts_after)
		return true;
	return tcp_seq_gt(syn->seq, tw->rcv_nxt) &&
	       (ts_after || tcp_seq_gt(tcp_isn(ctx, &syn->key, now_us), tw->snd_nxt));
}

/* A SYN that proves nothing is dropped in silence: an ACK would draw an RST, which must not
 * end TIME-WAIT anyhow. */
static uint32_t syn_input(struct tcp_ctx *ctx, const struct tcp_tw *tw,
	const struct tcp_segment *seg, uint64_t now_us)
{
	if (!syn_is_new(ctx, tw, seg, now_us)) {
		ctx->counters->tw_old++;
		return 0;
	}
	ctx->counters->tw_reused++;
	return TCP_EV_NEW_SYN;
}

/* The peer's FIN again, with or without the data before it: our last ACK was lost. */
static bool is_repeated_fin(const struct tcp_tw *tw, const struct tcp_segment *seg)
{
	return (seg->flags & TCP_FIN) && seg->seq + tcp_reply_seg_len(seg) == tw->rcv_nxt &&
	       tcp_seq_leq(seg->ack, tw->snd_nxt);
}

/* RFC 7323: whether the timestamp lets the segment in. */
static bool ts_acceptable(
	struct tcp_ctx *ctx, const struct tcp_tw *tw, const struct tcp_segment *seg)
{
	if (!(tw->flags & TCP_TW_TS) || !seg->opt.has_ts)
		return true;
	if (tcp_seq_geq(seg->opt.ts_val, tw->ts_recent))
		return true;
	ctx->counters->tw_paws++;
	return false;
}

static uint32_t fin_input(struct tcp_ctx *ctx, struct tcp_tw *tw, const struct tcp_segment *seg,
	uint64_t now_us, struct tcp_out *reply)
{
	if ((tw->flags & TCP_TW_TS) && seg->opt.has_ts)
		tw->ts_recent = seg->opt.ts_val;
	tw->entry.deadline_us = now_us + two_msl_us(ctx);
	return answer_ack(tw, now_us, reply);
}

uint32_t tcp_tw_input(struct tcp_ctx *ctx, struct tcp_tw *tw, const struct tcp_segment *seg,
	uint64_t now_us, struct tcp_out *reply)
{
	if (seg->flags & TCP_RST) { /* RFC 1337, fix F1 */
		ctx->counters->tw_rst++;
		return 0;
	}
	if ((seg->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return syn_input(ctx, tw, seg, now_us);
	if (!ts_acceptable(ctx, tw, seg))
		return answer_limited_ack(ctx, tw, now_us, reply);
	if (seg->flags & TCP_SYN) { /* RFC 5961 section 4.2 */
		ctx->counters->syn_challenged++;
		return answer_limited_ack(ctx, tw, now_us, reply);
	}
	if (!(seg->flags & TCP_ACK)) {
		ctx->counters->no_ack++;
		return 0;
	}
	if (is_repeated_fin(tw, seg))
		return fin_input(ctx, tw, seg, now_us, reply);
	ctx->counters->tw_old++;
	if (!tcp_seq_acceptable(seg->seq, tcp_reply_seg_len(seg), tw->rcv_nxt, tw->rcv_wnd))
		return answer_limited_ack(ctx, tw, now_us, reply);
	return 0;
}
