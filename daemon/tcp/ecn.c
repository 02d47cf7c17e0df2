/* Explicit congestion notification: RFC 3168.
 *
 * A router that would soon drop marks instead: CE in the IP header of a segment that says it
 * understands (ECT). The receiver tells it back with ECE in every ACK until the sender says
 * with CWR, in its next new segment, that it has slowed down:
 *
 *     sender                         router                 receiver
 *       | data, ECT ------------------> CE --------------------> |  TCP_F_ECN_ECHO
 *       | <---------------------------------------- ACK, ECE --- |
 *       |  back off, TCP_F_CWR_OWED                              |
 *       | new data, CWR ---------------------------------------> |  echo ends
 *
 * Agreed upon in the handshake: SYN with ECE and CWR, SYN|ACK with ECE alone. A SYN that is
 * sent again goes without, since there are still boxes that drop it (section 6.1.1.1), and
 * then ECN is off. ECT is set on new data only, never on what is sent again, on pure ACKs
 * and on probes (sections 6.1.4 to 6.1.6): their loss or forgery would go unnoticed.
 *
 * With DCTCP (RFC 8257) the echo is exact instead of sticky: each ACK says whether what it
 * newly acknowledges was marked. When the mark changes while something is unacknowledged,
 * that is acknowledged at once with the old mark (section 3.2), which TCP_OWE_OLD_ACK stands
 * for. A batch of segments with several changes keeps the first only; the rest is counted
 * with the later mark.
 */
#include <tcp/internal.h>

#include <tcp/cc.h>

bool tcp_ecn_offers(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return c->backoff == 0 && (ctx->cfg->ecn == TCP_ECN_ON || c->cc == TCP_CC_DCTCP);
}

/* The peer's SYN, with our ACK or crossing ours (section 6.1.1). */
void tcp_ecn_negotiate(const struct tcp_ctx *ctx, struct tcp_conn *c, uint8_t syn_flags)
{
	uint8_t ecn = syn_flags & (TCP_ECE | TCP_CWR);
	bool agreed = syn_flags & TCP_ACK ? ecn == TCP_ECE && tcp_ecn_offers(ctx, c)
					  : tcp_ecn_accepts(ctx->cfg, syn_flags) && c->backoff == 0;

	if (!agreed)
		return;
	c->flags |= TCP_F_ECN;
	ctx->counters->ecn_agreed++;
}

static void dctcp_received(struct tcp_conn *c, struct tcp_extra *x, bool ce)
{
	struct tcp_dctcp *s = &x->cc_state.dctcp;
	bool was = tcp_conn_has(c, TCP_F_ECN_ECHO);

	if (ce == was)
		return;
	if (tcp_conn_rcv_nxt(c) != c->last_ack_sent && !(c->owe & TCP_OWE_OLD_ACK)) {
		s->old_ack_pos = c->rcv_nxt_pos;
		s->old_ack_ece = was;
		c->owe |= TCP_OWE_OLD_ACK;
	}
	c->flags ^= TCP_F_ECN_ECHO;
}

void tcp_ecn_received(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;
	bool ce = rx->seg->ecn == TCP_ECN_CE;

	if (rx->seg->len == 0)
		return;
	if (rx->seg->ecn != TCP_ECN_NOT_ECT)
		c->loss |= TCP_L_SEEN_ECT;
	if (ce)
		rx->ctx->counters->ecn_ce_in++;
	if (c->cc == TCP_CC_DCTCP && tcp_conn_has(c, TCP_F_EXTRA)) {
		dctcp_received(c, tcp_extra_have(rx->ctx, c), ce);
		return;
	}
	if (rx->seg->flags & TCP_CWR)
		c->flags &= ~TCP_F_ECN_ECHO;
	if (ce)
		c->flags |= TCP_F_ECN_ECHO;
}

/* Sections 6.1.2 and 6.1.3: the window shrinks once for each window of data, and not because of
 * what recovery has answered already. The echo goes on until something behind cwr_seq, where
 * CWR was said, is acknowledged. */
void tcp_ecn_acked(struct tcp_rx *rx)
{
	struct tcp_conn *c = rx->c;
	struct tcp_extra *x;
	uint64_t flight = tcp_conn_pipe(rx->ctx, c);

	if (tcp_conn_has(c, TCP_F_CWR_WINDOW) &&
		tcp_seq_gt(rx->seg->ack, tcp_extra(rx->ctx, c)->cwr_seq))
		c->flags &= ~TCP_F_CWR_WINDOW;
	c->flags &= ~TCP_F_ECE_NOW;
	if (!(rx->seg->flags & TCP_ECE))
		return;
	c->flags |= TCP_F_ECE_NOW;
	rx->ctx->counters->ecn_ece_in++;
	x = tcp_extra_have(rx->ctx, c);
	if (x && tcp_seq_gt(rx->seg->ack, tcp_conn_una_seq(c)))
		x->marked_bytes += rx->seg->ack - tcp_conn_una_seq(c);
	if (tcp_conn_has(c, TCP_F_CWR_WINDOW) || tcp_conn_in_episode(c) || tcp_conn_snd_max(c) == 0)
		return;
	tcp_cc_backoff(rx->ctx, c, flight < c->cwnd ? flight : c->cwnd, TCP_CC_ECN);
	if (c->cwnd > c->ssthresh)
		c->cwnd = c->ssthresh;
	x = tcp_extra_make(rx->ctx, c);
	if (x) {
		x->cwr_seq = tcp_conn_snd_seq(c, tcp_conn_snd_max(c));
		c->flags |= TCP_F_CWR_WINDOW;
	}
	rx->ctx->counters->ecn_backoffs++;
}

/* New data leaves: the marks of its headers. */
void tcp_ecn_mark(struct tcp_conn *c, struct tcp_out *out)
{
	out->ecn = TCP_ECN_ECT0;
	if (!tcp_conn_has(c, TCP_F_CWR_OWED))
		return;
	out->flags |= TCP_CWR;
	c->flags &= ~TCP_F_CWR_OWED;
}
