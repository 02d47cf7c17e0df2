/* RFC 9293 section 3.10.7.4 for SYN-RECEIVED after a passive open, step by step: each step
 * is a function named after it, and the first that answers DONE ends the arrival.
 *
 * Not here: the security check (second step in the RFC; obsolete for us), URG, text and
 * FIN (sixth to eighth step), which tcp_input() sees after promotion.
 */
#include <tcp/half.h>

#include <tcp/counters.h>
#include <tcp/fastopen.h>
#include <tcp/internal.h>
#include <tcp/isn.h>
#include <tcp/options.h>
#include <tcp/reply.h>
#include <tcp/seq.h>

enum step {
	CONTINUE,
	DONE,
};

struct arrival {
	struct tcp_ctx *ctx;
	struct tcp_half *h;
	const struct tcp_segment *seg;
	uint64_t now_us;
	struct tcp_out *reply;
	uint32_t events;
};

/* The window of the SYN|ACK is never scaled, those of later segments are: promise only what
 * both can say, or the right edge would move left by the bits that the scale cuts off. */
static uint16_t first_window(const struct tcp_config *cfg, uint8_t rcv_wscale)
{
	uint32_t wnd = cfg->rcvbuf_bytes < TCP_FIRST_WINDOW_BYTES ? cfg->rcvbuf_bytes
								  : TCP_FIRST_WINDOW_BYTES;

	return (uint16_t)(wnd >> rcv_wscale << rcv_wscale);
}

void tcp_half_init(const struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *syn,
	uint32_t iss, uint64_t now_us)
{
	const struct tcp_options *opt = &syn->opt;

	memset(h, 0, offsetof(struct tcp_half, listener_idx));
	h->entry.key = syn->key;
	h->entry.slot = TCP_SLOT_NONE;
	h->entry.deadline_us = now_us + ctx->cfg->rto_initial_us;
	h->iss = iss;
	h->irs = syn->seq;
	h->mss = tcp_options_peer_mss(ctx->cfg, &syn->key.remote, opt);
	h->snd_wnd = syn->wnd;
	h->synack_us = now_us;
	if (opt->has_ts && ctx->cfg->timestamps) {
		h->flags |= TCP_HALF_TS;
		h->ts_recent = opt->ts_val;
		h->ts_offset = tcp_ts_offset(ctx, &h->entry.key);
	}
	if (opt->has_wscale && ctx->cfg->window_scale) {
		h->flags |= TCP_HALF_WSCALE;
		h->snd_wscale = opt->wscale;
		h->rcv_wscale = tcp_options_rcv_wscale(ctx->cfg);
	}
	if (tcp_ecn_accepts(ctx->cfg, syn->flags))
		h->flags |= TCP_HALF_ECN;
	if (opt->sack_permitted && ctx->cfg->sack)
		h->flags |= TCP_HALF_SACK;
	h->rcv_wnd = first_window(ctx->cfg, h->rcv_wscale);
}

static uint32_t ts_now(const struct tcp_half *h, uint64_t now_us)
{
	uint32_t ts = tcp_ts_val(now_us, h->ts_offset);

	return h->flags & TCP_HALF_COOKIE ? tcp_cookie_ts_val(h, ts) : ts;
}

void tcp_half_synack(
	const struct tcp_ctx *ctx, const struct tcp_half *h, uint64_t now_us, struct tcp_out *reply)
{
	struct tcp_options opt = {
		.has_mss = true,
		.mss = tcp_mss_max(ctx->cfg, &h->entry.key.remote),
		.sack_permitted = h->flags & TCP_HALF_SACK,
	};

	if (h->flags & TCP_HALF_TS) {
		opt.has_ts = true;
		opt.ts_val = ts_now(h, now_us);
		opt.ts_ecr = h->ts_recent;
	}
	if (h->flags & TCP_HALF_WSCALE) {
		opt.has_wscale = true;
		opt.wscale = h->rcv_wscale;
	}
	if (h->flags & TCP_HALF_FASTOPEN && h->retransmits == 0) {
		opt.has_fastopen = true;
		opt.fastopen_len = TCP_FASTOPEN_COOKIE_BYTES;
		tcp_fastopen_make(ctx, &h->entry.key, now_us, opt.fastopen);
	}
	tcp_reply_init(reply, &h->entry.key, h->iss, h->irs + 1,
		TCP_SYN | TCP_ACK | (h->flags & TCP_HALF_ECN ? TCP_ECE : 0));
	reply->wnd = h->rcv_wnd;
	reply->opt_len = (uint8_t)tcp_options_encode(&opt, reply->opt);
}

/* <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>, within the limit on challenge ACKs. */
static enum step answer_ack(struct arrival *a)
{
	struct tcp_half *h = a->h;

	if (!tcp_reply_challenge(a->ctx, a->now_us))
		return DONE;
	tcp_reply_init(a->reply, &h->entry.key, h->iss + 1, h->irs + 1, TCP_ACK);
	a->reply->wnd = (uint16_t)(h->rcv_wnd >> h->rcv_wscale);
	if (h->flags & TCP_HALF_TS)
		tcp_reply_add_ts(a->reply, ts_now(h, a->now_us), h->ts_recent);
	a->events = TCP_EV_REPLY;
	return DONE;
}

/* The SYN once more: our SYN|ACK was lost or is late. RFC 9293 would answer any segment left
 * of the window with an ACK, which a peer in SYN-SENT cannot use (RFC 9293 section 3.10.7.3
 * ignores it); the SYN|ACK says the same and helps. The timer goes on as it was. */
static enum step check_repeated_syn(struct arrival *a)
{
	const struct tcp_segment *seg = a->seg;
	struct tcp_half *h = a->h;

	if ((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN || seg->seq != h->irs)
		return CONTINUE;
	if ((h->flags & TCP_HALF_TS) && seg->opt.has_ts &&
		tcp_seq_gt(seg->opt.ts_val, h->ts_recent))
		h->ts_recent = seg->opt.ts_val;	       /* RFC 7323 section 4.3, rule 2 */
	if (!tcp_ecn_accepts(a->ctx->cfg, seg->flags)) /* RFC 3168 section 6.1.1.1 */
		h->flags &= (uint8_t)~TCP_HALF_ECN;
	h->flags |= TCP_HALF_UNTIMED; /* Karn */
	a->ctx->counters->syn_retransmits++;
	tcp_half_synack(a->ctx, h, a->now_us, a->reply);
	a->events = TCP_EV_REPLY;
	return DONE;
}

/* RFC 7323 section 3.2 (a segment without the option is dropped) and 5.3, R1. */
static enum step check_timestamps(struct arrival *a)
{
	if (!(a->h->flags & TCP_HALF_TS) || (a->seg->flags & TCP_RST))
		return CONTINUE;
	if (!a->seg->opt.has_ts) {
		a->ctx->counters->ts_missing++;
		return DONE;
	}
	if (tcp_seq_geq(a->seg->opt.ts_val, a->h->ts_recent))
		return CONTINUE;
	a->ctx->counters->half_paws++;
	return answer_ack(a);
}

/* First step. */
static enum step check_sequence(struct arrival *a)
{
	const struct tcp_half *h = a->h;

	if (tcp_seq_acceptable(a->seg->seq, tcp_reply_seg_len(a->seg), h->irs + 1, h->rcv_wnd))
		return CONTINUE;
	a->ctx->counters->half_out_of_window++;
	return a->seg->flags & TCP_RST ? DONE : answer_ack(a);
}

/* Third step, with RFC 5961 section 3.2: back to LISTEN, which is to say: forget it. */
static enum step check_rst(struct arrival *a)
{
	if (!(a->seg->flags & TCP_RST))
		return CONTINUE;
	if (a->seg->seq != a->h->irs + 1) {
		a->ctx->counters->half_bad_rst++;
		return answer_ack(a);
	}
	a->ctx->counters->half_reset++;
	a->events = TCP_EV_CLOSED;
	return DONE;
}

/* Fourth step: a SYN in the window returns a passive open to LISTEN. The peer repeats it. */
static enum step check_syn(struct arrival *a)
{
	if (!(a->seg->flags & TCP_SYN))
		return CONTINUE;
	a->ctx->counters->half_reset++;
	a->events = TCP_EV_CLOSED;
	return DONE;
}

/* Fifth step: SND.UNA < SEG.ACK =< SND.NXT has one solution here. */
static enum step check_ack(struct arrival *a)
{
	if (!(a->seg->flags & TCP_ACK)) {
		a->ctx->counters->half_no_ack++;
		return DONE;
	}
	if (a->seg->ack != a->h->iss + 1) {
		a->ctx->counters->half_bad_ack++;
		tcp_reply_rst(a->ctx, a->seg, a->reply);
		a->events = TCP_EV_REPLY;
		return DONE;
	}
	a->events = TCP_EV_PROMOTE;
	return DONE;
}

uint32_t tcp_half_input(struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg,
	uint64_t now_us, struct tcp_out *reply)
{
	static enum step (*const steps[])(struct arrival *) = {
		check_repeated_syn,
		check_timestamps,
		check_sequence,
		check_rst,
		check_syn,
		check_ack,
	};
	struct arrival a = {ctx, h, seg, now_us, reply, 0};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (steps[i](&a) == DONE)
			break;
	return a.events;
}

uint32_t tcp_half_timer(
	struct tcp_ctx *ctx, struct tcp_half *h, uint64_t now_us, struct tcp_out *reply)
{
	uint64_t rto_us;

	if (now_us < h->entry.deadline_us)
		return 0;
	if (h->retransmits >= ctx->cfg->synack_retries || h->retransmits == UINT8_MAX) {
		ctx->counters->half_timeout++;
		return TCP_EV_CLOSED;
	}
	h->retransmits++;
	rto_us = (uint64_t)ctx->cfg->rto_initial_us << (h->retransmits < 16 ? h->retransmits : 16);
	if (rto_us > ctx->cfg->rto_max_us)
		rto_us = ctx->cfg->rto_max_us;
	h->entry.deadline_us = now_us + rto_us;
	ctx->counters->syn_retransmits++;
	tcp_half_synack(ctx, h, now_us, reply);
	return TCP_EV_REPLY;
}

bool tcp_half_defers(const struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg,
	uint64_t defer_us, uint64_t now_us)
{
	if (seg->len || seg->flags & TCP_FIN || now_us - h->synack_us >= defer_us ||
		h->retransmits >= ctx->cfg->synack_retries)
		return false;
	h->flags |= TCP_HALF_UNTIMED;
	ctx->counters->half_deferred++;
	return true;
}
