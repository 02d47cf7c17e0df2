/* Is the segment ours to act on? Timestamps, sequence numbers, RST and SYN. */
#include <tcp/internal.h>

#include <tcp/reply.h>

#include <errno.h>

enum {
	PAWS_IDLE_MS = 24 * 24 * 3600 * 1000u, /* RFC 7323 section 5.5 */
};

/* At most one in a while for each connection, so that two confused ends cannot keep each other
 * busy with ACKs of ACKs. Keepalives and window probes of old stacks are answered by these. */
static bool ack_limited(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	uint32_t now_ms = tcp_ms(now_us) | 1;

	if (c->challenge_ms != 0 && now_ms - c->challenge_ms < TCP_CHALLENGE_GAP_MS) {
		ctx->counters->challenge_acks_limited++;
		return true;
	}
	c->challenge_ms = now_ms;
	return false;
}

void tcp_challenge_ack(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (c->owe & TCP_OWE_ACK)
		return;
	if (!ack_limited(ctx, c, now_us) && tcp_reply_challenge(ctx, now_us))
		c->owe |= TCP_OWE_ACK;
}

/* A segment that is not acceptable is answered by an ACK (first step). One with data or FIN
 * always: its sender lost our ACK. A bare one within limits. */
static void reject(struct tcp_rx *rx)
{
	const struct tcp_segment *seg = rx->seg;
	struct tcp_conn *c = rx->c;

	if (seg->flags & TCP_RST)
		return;
	if (seg->len > 0 || (seg->flags & TCP_FIN) || !ack_limited(rx->ctx, c, rx->now_us))
		c->owe |= TCP_OWE_ACK;
}

/* RFC 7323 section 5.3 R1, section 3.2. RST is exempt from both. */
enum tcp_step tcp_check_paws(struct tcp_rx *rx)
{
	const struct tcp_segment *seg = rx->seg;
	struct tcp_conn *c = rx->c;

	if (!tcp_conn_has(c, TCP_F_TS) || (seg->flags & TCP_RST))
		return TCP_CONTINUE;
	if (!seg->opt.has_ts) {
		rx->ctx->counters->ts_missing++;
		return TCP_DONE;
	}
	if (tcp_seq_geq(seg->opt.ts_val, c->ts_recent))
		return TCP_CONTINUE;
	if (tcp_ms(rx->now_us) - c->last_rx_ms > PAWS_IDLE_MS)
		return TCP_CONTINUE;
	rx->ctx->counters->paws++;
	reject(rx);
	return TCP_DONE;
}

/* RFC 7323 section 5.3 R3. */
static void update_ts_recent(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;

	if (!tcp_conn_has(c, TCP_F_TS) || !rx->seg->opt.has_ts ||
		tcp_seq_gt(rx->seg->seq, c->last_ack_sent))
		return;
	c->ts_recent = rx->seg->opt.ts_val;
}

void tcp_note_alive(struct tcp_rx *rx)
{
	rx->c->last_rx_ms = tcp_ms(rx->now_us);
	rx->c->keepalive_probes = 0;
	if (tcp_conn_has(rx->c, TCP_F_ECN))
		tcp_ecn_received(rx);
	update_ts_recent(rx);
}

/* A peer's FIN again in TIME-WAIT: it missed our ACK, and waits begin anew (eighth step). */
static void restart_time_wait(struct tcp_rx *rx, uint32_t seg_len)
{
	if (rx->c->state == TCP_TIME_WAIT && (rx->seg->flags & TCP_FIN) &&
		rx->seg->seq + seg_len == tcp_conn_rcv_nxt(rx->c))
		tcp_life_start(rx->c, rx->now_us + 2ull * rx->ctx->cfg->msl_us);
}

/* First step. A probe of a closed window is not acceptable, but its ACK counts: without
 * that two ends with closed windows would starve each other. A bare FIN needs no room. */
enum tcp_step tcp_check_sequence(struct tcp_rx *rx)
{
	const struct tcp_segment *seg = rx->seg;
	struct tcp_conn *c = rx->c;
	uint32_t rcv_nxt = tcp_conn_rcv_nxt(c), rcv_wnd = tcp_conn_rcv_wnd(c);
	uint32_t seg_len = seg->len + !!(seg->flags & TCP_SYN) + !!(seg->flags & TCP_FIN);

	rx->text = seg->len > 0;
	rx->fin = seg->flags & TCP_FIN;
	if (tcp_seq_acceptable(seg->seq, seg_len, rcv_nxt, rcv_wnd)) {
		tcp_note_alive(rx);
		return TCP_CONTINUE;
	}
	if (rcv_wnd == 0 && seg->seq == rcv_nxt && !(seg->flags & TCP_SYN)) {
		if (seg->len > 0) {
			rx->ctx->counters->data_zero_window++;
			rx->text = false;
			rx->fin = false;
			c->owe |= TCP_OWE_ACK;
		}
		tcp_note_alive(rx);
		return TCP_CONTINUE;
	}
	if (seg->len > 0 && tcp_seq_leq(seg->seq + seg->len, rcv_nxt)) {
		rx->ctx->counters->data_old++;
		tcp_sack_note_duplicate(rx->ctx, c, seg->seq, seg->seq + seg->len);
	} else {
		rx->ctx->counters->out_of_window++;
	}
	restart_time_wait(rx, seg_len);
	reject(rx);
	return TCP_DONE;
}

/* What the user is told about an RST (second step; the texts name no errno, POSIX does). */
static int rst_error(const struct tcp_conn *c)
{
	if (c->state == TCP_SYN_RECEIVED)
		return tcp_conn_has(c, TCP_F_PASSIVE) ? ECONNRESET : ECONNREFUSED;
	if (c->state == TCP_CLOSING || c->state == TCP_LAST_ACK)
		return c->snd_una_pos == c->snd_end_pos ? 0 : ECONNRESET;
	if (c->state == TCP_CLOSE_WAIT)
		return EPIPE; /* as Linux says it: the peer had closed, what fails is our sending */
	return ECONNRESET;
}

/* Second step, with RFC 5961 section 3.2: only an RST at RCV.NXT is believed. In TIME-WAIT it
 * is ignored (RFC 1337). */
enum tcp_step tcp_check_rst(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;

	if (!(rx->seg->flags & TCP_RST))
		return TCP_CONTINUE;
	if (c->state == TCP_TIME_WAIT) {
		rx->ctx->counters->tw_rst++;
		return TCP_DONE;
	}
	if (rx->seg->seq != tcp_conn_rcv_nxt(c)) {
		rx->ctx->counters->rst_challenged++;
		tcp_challenge_ack(rx->ctx, c, rx->now_us);
		return TCP_DONE;
	}
	rx->ctx->counters->reset_in++;
	rx->events |= tcp_conn_close(rx->ctx, c, rst_error(c), false);
	return TCP_DONE;
}

/* Fourth step, with RFC 5961 section 4.2: a SYN in a synchronized state is challenged. A
 * connection in SYN-RECEIVED is treated likewise: of a passive open it is here only for the
 * length of one call, or has data already (RFC 7413). */
enum tcp_step tcp_check_syn(struct tcp_rx *rx)
{
	if (!(rx->seg->flags & TCP_SYN))
		return TCP_CONTINUE;
	rx->ctx->counters->syn_challenged++;
	tcp_challenge_ack(rx->ctx, rx->c, rx->now_us);
	return TCP_DONE;
}

/* Sixth step. Urgent data stays in line (as with SO_OOBINLINE) and nobody is signalled:
 * new programs SHOULD NOT use it (RFC 6093 section 6), and the pointer has no other use. */
enum tcp_step tcp_check_urg(struct tcp_rx *rx)
{
	if (rx->seg->flags & TCP_URG)
		rx->ctx->counters->urgent++;
	return TCP_CONTINUE;
}
