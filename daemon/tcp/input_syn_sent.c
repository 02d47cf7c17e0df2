/* A segment arrives in SYN-SENT: RFC 9293 section 3.10.7.3. */
#include <tcp/fastopen.h>
#include <tcp/internal.h>

#include <errno.h>

/* First: an ACK must be for our SYN, or for it and data that went with it (RFC 7413). */
static enum tcp_step syn_sent_ack(struct tcp_rx *rx)
{
	const struct tcp_segment *seg = rx->seg;
	struct tcp_conn *c = rx->c;

	if (!(seg->flags & TCP_ACK) || tcp_conn_acks_syn(c, seg->ack))
		return TCP_CONTINUE;
	rx->ctx->counters->syn_sent_bad_ack++;
	if (!(seg->flags & TCP_RST)) {
		c->stray_rst_seq = seg->ack;
		c->owe |= TCP_OWE_STRAY_RST;
	}
	return TCP_DONE;
}

/* Second: an RST counts only with that ACK (RFC 5961 section 3.2). */
static enum tcp_step syn_sent_rst(struct tcp_rx *rx)
{
	if (!(rx->seg->flags & TCP_RST))
		return TCP_CONTINUE;
	if (!(rx->seg->flags & TCP_ACK)) {
		rx->ctx->counters->syn_sent_bad_rst++;
		return TCP_DONE;
	}
	rx->ctx->counters->refused++;
	rx->events |= tcp_conn_close(rx->ctx, rx->c, ECONNREFUSED, false);
	return TCP_DONE;
}

static void syn_sent_options(struct tcp_rx *rx)
{
	const struct tcp_config *cfg = rx->ctx->cfg;
	const struct tcp_options *opt = &rx->seg->opt;
	struct tcp_conn *c = rx->c;

	if (cfg->window_scale && opt->has_wscale) {
		c->flags |= TCP_F_WSCALE;
		c->snd_wscale = opt->wscale;
	} else {
		c->rcv_wscale = 0;
	}
	if (cfg->timestamps && opt->has_ts) {
		c->flags |= TCP_F_TS;
		c->ts_recent = opt->ts_val;
	}
	if (cfg->sack && opt->sack_permitted)
		c->flags |= TCP_F_SACK;
	tcp_ecn_negotiate(rx->ctx, c, rx->seg->flags);
	tcp_conn_negotiated(
		rx->ctx, c, tcp_options_peer_mss(cfg, &c->entry.key.remote, opt), rx->now_us);
}

/* What the SYN carried and the SYN|ACK does not acknowledge goes again with the ACK (RFC 7413
 * section 4.2.3); a SYN that crosses ours says nothing of it. */
static void syn_sent_data(struct tcp_rx *rx)
{
	const struct tcp_segment *seg = rx->seg;
	struct tcp_conn *c = rx->c;

	if (seg->flags & TCP_ACK) {
		tcp_fastopen_synack(rx->ctx, c, seg, rx->now_us);
		c->snd_una_pos = seg->ack - (c->iss + 1);
		if (c->snd_una_pos > 0)
			rx->events |= TCP_EV_ACKED;
	}
	c->snd_nxt_low = (uint32_t)c->snd_una_pos;
	c->flags &= ~TCP_F_FASTOPEN;
}

/* Fourth: the peer's SYN, with our ACK or crossing ours. Text and FIN that come with it are
 * left to be sent again: we acknowledge the SYN only. */
static enum tcp_step syn_sent_syn(struct tcp_rx *rx)
{
	const struct tcp_segment *seg = rx->seg;
	struct tcp_conn *c = rx->c;

	if (!(seg->flags & TCP_SYN))
		return TCP_CONTINUE;
	c->irs = seg->seq;
	syn_sent_options(rx);
	c->snd_wnd = seg->wnd; /* never scaled in a SYN: RFC 7323 section 2.2 */
	c->snd_wnd_max = seg->wnd;
	c->snd_wl1 = seg->seq;
	if (seg->len > 0)
		rx->ctx->counters->syn_data++;
	syn_sent_data(rx);
	if (seg->flags & TCP_ACK) {
		tcp_rtt_acked(rx->ctx, c, seg, rx->now_us);
		rx->events |= tcp_conn_establish(rx->ctx, c, rx->now_us);
		c->owe |= TCP_OWE_ACK;
	} else {
		tcp_conn_set_state(c, TCP_SYN_RECEIVED);
		c->owe |= TCP_OWE_SYN;
	}
	return TCP_DONE;
}

void tcp_input_syn_sent(struct tcp_rx *rx)
{
	if (syn_sent_ack(rx) == TCP_DONE || syn_sent_rst(rx) == TCP_DONE ||
		syn_sent_syn(rx) == TCP_DONE)
		return;
	rx->ctx->counters->syn_sent_no_syn++; /* fifth: neither SYN nor RST */
}
