/* Tail loss probes: RFC 8985 section 7.
 *
 * When the last segments of a flight are lost, no SACK tells of it, and only the retransmission
 * time-out would. So while nothing seems amiss the timer is set for the probe time-out, two
 * round trips, instead; when it fires, one segment goes out beyond cwnd, new data if there
 * is any, else the last one again, whose SACK then reveals the rest to RACK. One probe is out
 * at a time (TCP_L_TLP_OUT until an ACK reaches tlp_seq). A probe that was a retransmission and
 * has repaired a loss on its own hides it from congestion control: no DSACK for it means so.
 */
#include <tcp/recovery.h>

#include <tcp/cc.h>

enum {
	ACK_DELAY_US = 200 * 1000, /* TLP.max_ack_delay: what other stacks delay at most */
	MARGIN_US = 2 * 1000,	   /* for timers of both ends that tick in milliseconds */
};

uint64_t tcp_tlp_timeout_us(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint64_t flight = tcp_conn_flight(c);

	if ((c->flags & (TCP_F_SACK | TCP_F_RECOVERY)) != TCP_F_SACK || flight == 0 ||
		(c->loss & (TCP_L_RTO | TCP_L_TLP_OUT)) || c->srtt_us == 0 ||
		tcp_conn_sacked(ctx, c) + tcp_conn_lost(ctx, c) > 0 || c->backoff > 0)
		return TCP_NEVER;
	return 2ull * c->srtt_us + (flight > c->snd_mss_bytes ? MARGIN_US : ACK_DELAY_US);
}

/* Without a block (memory is out) there is no probe; the time-out follows. */
void tcp_tlp_expired(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_extra *x = tcp_extra_make(ctx, c);

	if (!x || !tcp_recovery_begin(ctx, c)) {
		c->loss |= TCP_L_TLP_OUT | TCP_L_TLP_NEW; /* the time-out is next, no other probe */
		if (x)
			x->tlp_seq = tcp_conn_snd_seq(c, tcp_conn_snd_nxt(c));
		return;
	}
	c->owe |= TCP_OWE_TLP;
	ctx->counters->tlp_probes++;
}

/* Section 7.4.2: the loss is known only by the probe's success. */
static void tlp_repaired(struct tcp_round *r)
{
	struct tcp_conn *c = r->c;

	r->ctx->counters->tlp_recoveries++;
	tcp_loss_back_off(r->ctx, c, r->acked, false);
	c->cwnd = c->ssthresh;
}

void tcp_tlp_acked(struct tcp_round *r)
{
	struct tcp_conn *c = r->c;
	const struct tcp_segment *seg = r->seg;
	bool bare = r->acked == 0 && seg->len == 0 && seg->opt.sack_count == 0;
	uint32_t tlp_seq;

	if (!tcp_conn_loss(c, TCP_L_TLP_OUT))
		return;
	tlp_seq = tcp_conn_has(c, TCP_F_EXTRA) ? tcp_extra(r->ctx, c)->tlp_seq : seg->ack;
	if (tcp_seq_lt(seg->ack, tlp_seq))
		return;
	if (tcp_conn_loss(c, TCP_L_TLP_NEW)) {
		c->loss &= (uint16_t) ~(TCP_L_TLP_OUT | TCP_L_TLP_NEW);
	} else if (r->dsack || (seg->ack == tlp_seq && bare)) {
		c->loss &= (uint16_t)~TCP_L_TLP_OUT; /* both copies have arrived */
	} else if (tcp_seq_gt(seg->ack, tlp_seq)) {
		c->loss &= (uint16_t)~TCP_L_TLP_OUT;
		if (!tcp_conn_in_episode(c))
			tlp_repaired(r);
	}
}
