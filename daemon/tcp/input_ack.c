/* Fifth step: the ACK field (RFC 9293 section 3.10.7.4, RFC 5961 section 5, RFC 5681). */
#include <tcp/internal.h>

#include <tcp/cc.h>

/* SYN-RECEIVED: only an ACK of our SYN, and perhaps of what went with it (RFC 7413), brings the
 * connection up; anything else is answered with <SEQ=SEG.ACK><CTL=RST>, and the connection stays.
 */
static enum tcp_step ack_syn_received(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;

	if (!tcp_conn_acks_syn(c, rx->seg->ack)) {
		rx->ctx->counters->ack_too_new++;
		c->stray_rst_seq = rx->seg->ack;
		c->owe |= TCP_OWE_STRAY_RST;
		return TCP_DONE;
	}
	if (!tcp_conn_has(c, TCP_F_COOKIE))
		tcp_rtt_acked(rx->ctx, c, rx->seg, rx->now_us);
	rx->events |= tcp_conn_establish(rx->ctx, c, rx->now_us);
	c->snd_wnd = rx->seg->wnd << c->snd_wscale;
	c->snd_wnd_max = c->snd_wnd;
	c->snd_wl1 = rx->seg->seq;
	return TCP_CONTINUE;
}

/* A window that was closed has opened: probing ends, and what waited goes without delay. */
static void ack_window_opened(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	if (tcp_conn_flight(c) > 0)
		return;
	c->backoff = 0;
	tcp_stall_end(ctx, c);
	c->send_at = 0;
}

/* SND.WND follows the segment that is newest by SEQ, then by ACK. One that acknowledges
 * something new is newer than all before even if its SEQ is not, when the peer sends old data
 * again; the RFC's rule alone would keep a window meant for an earlier SND.UNA.
 * SND.WL2 is left out: no ACK comes here that is older than SND.UNA, which WL2 never passes. */
static void ack_update_window(
	const struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, bool advances)
{
	bool closed = c->snd_wnd == 0;

	if (!advances && tcp_seq_lt(seg->seq, c->snd_wl1))
		return;
	c->snd_wnd = seg->wnd << c->snd_wscale;
	c->snd_wl1 = seg->seq;
	if (c->snd_wnd > c->snd_wnd_max)
		c->snd_wnd_max = c->snd_wnd;
	if (closed && c->snd_wnd > 0)
		ack_window_opened(ctx, c);
}

/* RFC 6298 section 5.3; of a recovery only the first partial ACK restarts it (RFC 6582 section
 * 3.2 step 3), so that many holes end in a time-out and slow start. */
static void ack_restart_timer(struct tcp_conn *c)
{
	bool partial =
		tcp_conn_has(c, TCP_F_RECOVERY) && tcp_seq_lt(tcp_conn_una_seq(c), c->recover_seq);

	if (!partial || !tcp_conn_has(c, TCP_F_PARTIAL_ACK) || tcp_conn_loss(c, TCP_L_SCORE))
		c->send_at = 0;
}

static void ack_ends_timeouts(struct tcp_extra *x, uint64_t now_us)
{
	if (!x || !x->rto_since_ms)
		return;
	x->rto_rows += x->rto_rows < UINT16_MAX;
	x->rto_total_ms += (tcp_ms(now_us) | 1) - x->rto_since_ms;
	x->rto_since_ms = 0;
}

/* Something new was acknowledged, `acked` sequence numbers. */
static void ack_advance(struct tcp_rx *rx, uint32_t acked)
{
	struct tcp_conn *c = rx->c;
	uint64_t nxt = tcp_conn_snd_nxt(c), una = tcp_conn_una(c) + acked;

	if (una > c->snd_end_pos) {
		c->flags |= TCP_F_FIN_ACKED;
		rx->events |= TCP_EV_FIN_ACKED;
		una = c->snd_end_pos;
	}
	if (una > c->snd_una_pos)
		rx->events |= TCP_EV_ACKED;
	c->snd_una_pos = una;
	if (nxt < tcp_conn_una(c))
		c->snd_nxt_low = (uint32_t)tcp_conn_una(c);
	if (tcp_conn_has(c, TCP_F_RECOVER_SET) && !tcp_conn_in_episode(c) &&
		tcp_seq_gt(tcp_conn_una_seq(c), c->recover_seq))
		c->flags &= ~TCP_F_RECOVER_SET; /* while 32 bits can still tell */
	ack_restart_timer(c);
	if (c->retries > 0)
		ack_ends_timeouts(tcp_extra_have(rx->ctx, c), rx->now_us);
	c->retries = 0;
	tcp_stall_end(rx->ctx, c);
	c->soft_error = 0;
	tcp_rtt_acked(rx->ctx, c, rx->seg, rx->now_us);
	if (tcp_conn_loss(c, TCP_L_MTU_OUT))
		tcp_mtu_acked(rx->ctx, c, rx->now_us);
}

/* RFC 5681 section 2: the five conditions; (a) is flight, (b) to (e) in order. */
static bool ack_is_duplicate(const struct tcp_rx *rx, uint32_t old_wnd)
{
	const struct tcp_segment *seg = rx->seg;

	return tcp_conn_flight(rx->c) > 0 && seg->len == 0 && !(seg->flags & (TCP_SYN | TCP_FIN)) &&
	       (seg->wnd << rx->c->snd_wscale) == old_wnd;
}

static void ack_tell_recovery(
	struct tcp_rx *rx, uint32_t acked, uint64_t flight_bytes, uint32_t old_wnd)
{
	if (tcp_recovery_wants(rx->c, rx->seg) && tcp_recovery_acked(rx, acked, flight_bytes))
		return;
	if (acked > 0)
		tcp_loss_acked(rx->ctx, rx->c, acked, flight_bytes, rx->now_us);
	else if (ack_is_duplicate(rx, old_wnd))
		tcp_loss_dupack(rx->ctx, rx->c, rx->now_us);
}

/* What few connections have. */
static __attribute__((noinline)) void ack_tell_watchers(struct tcp_rx *rx, uint32_t acked)
{
	if (tcp_conn_has(rx->c, TCP_F_CC_WATCH))
		tcp_cc_observe(rx->ctx, rx->c, acked, rx->now_us);
	if (tcp_conn_has(rx->c, TCP_F_EXTRA))
		tcp_trip_acked(rx->ctx, rx->c, rx->now_us);
}

/* An ACK in a closed window answers our probe: the peer lives. */
static void ack_answers_probe(struct tcp_conn *c)
{
	if (tcp_conn_flight(c) == 0)
		c->retries = 0;
}

/* Our FIN was acknowledged: what that means, by state. */
static enum tcp_step ack_of_fin(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;

	switch (c->state) {
	case TCP_FIN_WAIT_1:
		tcp_conn_set_state(c, TCP_FIN_WAIT_2);
		if (tcp_conn_has(c, TCP_F_ORPHAN))
			tcp_life_start(c, rx->now_us + tcp_conn_fin_wait_2_us(rx->ctx, c));
		return TCP_CONTINUE;
	case TCP_CLOSING:
		rx->events |= tcp_conn_time_wait(rx->ctx, c, rx->now_us);
		return TCP_DONE;
	case TCP_LAST_ACK:
		rx->events |= tcp_conn_close(rx->ctx, c, 0, false);
		return TCP_DONE;
	default:
		return TCP_CONTINUE;
	}
}

/* RFC 5961 section 5.2: SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT, where SND.NXT is the
 * highest ever sent. */
static enum tcp_step ack_check_range(struct tcp_rx *rx, int32_t acked)
{
	struct tcp_conn *c = rx->c;

	if (acked > 0 && (uint64_t)acked > tcp_conn_snd_max(c) - tcp_conn_una(c)) {
		rx->ctx->counters->ack_too_new++;
		tcp_challenge_ack(rx->ctx, c, rx->now_us);
		return TCP_DONE;
	}
	if (acked < 0 && -(int64_t)acked > (int64_t)c->snd_wnd_max) {
		rx->ctx->counters->ack_too_old++;
		tcp_challenge_ack(rx->ctx, c, rx->now_us);
		return TCP_DONE;
	}
	return TCP_CONTINUE;
}

enum tcp_step tcp_check_ack(struct tcp_rx *rx)
{
	const struct tcp_segment *seg = rx->seg;
	struct tcp_conn *c = rx->c;
	uint64_t flight;
	uint32_t old_wnd;
	int32_t acked;

	if (!(seg->flags & TCP_ACK)) {
		rx->ctx->counters->no_ack++;
		return TCP_DONE;
	}
	if (c->state == TCP_SYN_RECEIVED && ack_syn_received(rx) == TCP_DONE)
		return TCP_DONE;
	acked = tcp_seq_diff(seg->ack, tcp_conn_una_seq(c));
	if (ack_check_range(rx, acked) == TCP_DONE)
		return TCP_DONE;
	if (acked < 0) {
		if (tcp_conn_loss(c, TCP_L_SCORE) && seg->opt.sack_count > 0)
			tcp_recovery_overtaken(rx);
		return TCP_CONTINUE;
	}
	if (tcp_conn_has(c, TCP_F_ECN))
		tcp_ecn_acked(rx);
	old_wnd = c->snd_wnd;
	flight = tcp_conn_flight(c);
	ack_update_window(rx->ctx, c, seg, acked > 0);
	ack_answers_probe(c);
	if (acked > 0)
		ack_advance(rx, (uint32_t)acked);
	ack_tell_recovery(rx, (uint32_t)acked, flight, old_wnd);
	if (c->flags & (TCP_F_CC_WATCH | TCP_F_EXTRA))
		ack_tell_watchers(rx, (uint32_t)acked);
	if (tcp_conn_has(c, TCP_F_FIN_ACKED))
		return ack_of_fin(rx);
	return TCP_CONTINUE;
}
