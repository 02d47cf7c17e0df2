/* The user's calls: RFC 9293 sections 3.10.1 to 3.10.6. */
#include <tcp/internal.h>

#include <tcp/cc.h>
#include <tcp/fastopen.h>
#include <tcp/half.h>

#include <errno.h>

uint32_t tcp_connect(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct net_tuple *key, uint64_t now_us)
{
	tcp_conn_init(ctx, c, key, TCP_SYN_SENT);
	c->ts_offset = tcp_ts_offset(ctx, key);
	c->iss = tcp_isn(ctx, key, now_us);
	c->small_seq = c->iss;
	c->rcv_wscale = tcp_options_rcv_wscale(ctx->cfg);
	c->owe = TCP_OWE_SYN;
	ctx->counters->active_opens++;
	return tcp_conn_settle(ctx, c, now_us);
}

void tcp_promote(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_half *h, uint64_t now_us)
{
	tcp_conn_init(ctx, c, &h->entry.key, TCP_LISTEN);
	tcp_conn_set_state(c, TCP_SYN_RECEIVED);
	c->iss = h->iss;
	c->irs = h->irs;
	c->flags = TCP_F_PASSIVE | (h->flags & TCP_HALF_TS ? TCP_F_TS : 0) |
		   (h->flags & TCP_HALF_WSCALE ? TCP_F_WSCALE : 0) |
		   (h->flags & TCP_HALF_SACK ? TCP_F_SACK : 0) |
		   (h->flags & TCP_HALF_ECN ? TCP_F_ECN : 0) |
		   (h->flags & TCP_HALF_COOKIE ? TCP_F_COOKIE : 0);
	if (h->flags & TCP_HALF_ECN)
		ctx->counters->ecn_agreed++;
	c->snd_wscale = h->snd_wscale;
	c->rcv_wscale = h->rcv_wscale;
	c->rcv_edge_low = h->rcv_wnd;
	c->snd_wnd = h->snd_wnd;
	c->snd_wnd_max = h->snd_wnd;
	c->snd_wl1 = h->irs;
	c->ts_recent = h->ts_recent;
	c->ts_offset = h->ts_offset;
	c->backoff = h->retransmits;
	c->retries = h->retransmits;
	if (h->retransmits == 0 && !(h->flags & (TCP_HALF_COOKIE | TCP_HALF_UNTIMED))) {
		c->flags |= TCP_F_RTT_TIMED;
		c->rtt_seq = h->iss + 1;
		c->rtt_sent_us = (uint32_t)h->synack_us;
	}
	tcp_conn_negotiated(ctx, c, h->mss, now_us);
	ctx->counters->passive_opens++;
}

/* SEND. In SYN-SENT and SYN-RECEIVED the data waits for ESTABLISHED. */
uint32_t tcp_send(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, bool more, uint64_t now_us)
{
	bool open = c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED ||
		    c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT;

	if (!open || tcp_conn_has(c, TCP_F_SHUT) || end_pos < c->snd_end_pos)
		return 0;
	c->snd_end_pos = end_pos;
	if (more)
		c->flags |= TCP_F_MORE;
	else
		c->flags &= ~TCP_F_MORE;
	if (tcp_fastopen_waits(c))
		c->owe |= TCP_OWE_SYN;
	return tcp_conn_settle(ctx, c, now_us);
}

/* False: that has been done, or there is no use in it. */
static bool shut(struct tcp_conn *c)
{
	bool opening = c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED;

	if (!opening && c->state != TCP_ESTABLISHED && c->state != TCP_CLOSE_WAIT)
		return false;
	c->flags |= TCP_F_SHUT;
	if (tcp_fastopen_waits(c))
		c->owe |= TCP_OWE_SYN;
	if (c->state == TCP_ESTABLISHED)
		tcp_conn_set_state(c, TCP_FIN_WAIT_1);
	else if (c->state == TCP_CLOSE_WAIT)
		tcp_conn_set_state(c, TCP_LAST_ACK);
	return true;
}

/* CLOSE, as half-close. The state changes when the user says so, the FIN follows the data. */
uint32_t tcp_shutdown(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	return shut(c) ? tcp_conn_settle(ctx, c, now_us) : 0;
}

/* RECEIVE has made room. */
uint32_t tcp_consumed(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (!tcp_conn_receives(c) || tcp_conn_has(c, TCP_F_FIN_RCVD) || (c->owe & TCP_OWE_ACK) ||
		!tcp_window_update_due(ctx, c))
		return 0;
	c->owe |= TCP_OWE_ACK;
	ctx->counters->window_updates++;
	return tcp_conn_settle(ctx, c, now_us);
}

/* ABORT. States without a peer that knows us owe no RST. */
uint32_t tcp_abort(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	bool rst = c->state == TCP_SYN_RECEIVED || c->state == TCP_ESTABLISHED ||
		   c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2 ||
		   c->state == TCP_CLOSE_WAIT;

	(void)now_us;
	if (c->state == TCP_CLOSED)
		return c->owe & TCP_OWE_RST ? TCP_EV_OUTPUT | TCP_EV_CLOSED : TCP_EV_CLOSED;
	ctx->counters->aborted++;
	return tcp_conn_close(ctx, c, 0, rst);
}

/* The last holder is gone. CLOSE in SYN-SENT deletes the connection (section 3.10.4). */
uint32_t tcp_close(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (c->state == TCP_CLOSED)
		return 0;
	shut(c);
	c->flags |= TCP_F_ORPHAN;
	c->flags &= ~(TCP_F_KEEPALIVE | TCP_F_CORK | TCP_F_MORE);
	if (c->state == TCP_SYN_SENT)
		return tcp_conn_close(ctx, c, 0, false);
	if (c->state == TCP_FIN_WAIT_2)
		tcp_life_start(c, now_us + tcp_conn_fin_wait_2_us(ctx, c));
	return tcp_conn_settle(ctx, c, now_us);
}

int tcp_set_congestion(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t id)
{
	if (id >= TCP_CC_COUNT || !tcp_cc_name_in(ctx->cfg, (unsigned int)id))
		return -ENOENT;
	tcp_cc_switch(ctx, c, (enum tcp_cc_id)id);
	return 0;
}
