/* A segment arrives: RFC 9293 section 3.10.7.
 *
 * SYN-SENT has its own procedure (3.10.7.3, input_syn_sent.c). In every later state the
 * segment goes through the steps of 3.10.7.4 in their order; any of them may end it. The
 * third step, security and compartment, is left out: those options are obsolete
 * (RFC 6814). Before the first step stands the timestamp check of RFC 7323 section 5.3.
 *
 * A step changes the control block and notes events; it never transmits. What it owes the
 * peer is in `owe` and goes out with tcp_output(), once per connection and batch.
 */
#include <tcp/internal.h>

typedef enum tcp_step (*step_fn)(struct tcp_rx *rx);

static void input_steps(struct tcp_rx *rx)
{
	static const step_fn steps[] = {
		tcp_check_paws,	    /* RFC 7323 5.3 R1 */
		tcp_check_sequence, /* first, and RFC 7323 5.3 R2, R3 */
		tcp_check_rst,	    /* second */
		tcp_check_syn,	    /* fourth */
		tcp_check_ack,	    /* fifth */
		tcp_check_urg,	    /* sixth */
		tcp_process_text,   /* seventh */
		tcp_check_fin,	    /* eighth */
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (steps[i](rx) == TCP_DONE)
			return;
}

/* A simultaneous open ends with a SYN|ACK whose SYN we have already: what is left of it once
 * the old SYN is trimmed is the ACK that we wait for (RFC 9293 figure 8). */
static bool input_is_crossed_synack(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint8_t mask = TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN;

	return c->state == TCP_SYN_RECEIVED && (seg->flags & mask) == (TCP_SYN | TCP_ACK) &&
	       seg->seq == c->irs && seg->ack == c->iss + 1;
}

uint32_t tcp_input(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, uint64_t now_us)
{
	struct tcp_rx rx = {.ctx = ctx, .c = c, .seg = seg, .now_us = now_us};
	struct tcp_segment trimmed;

	ctx->counters->segs_in++;
	c->segs_in++;
	if (c->state == TCP_CLOSED) {
		ctx->counters->conn_closed++;
		return 0;
	}
	if (input_is_crossed_synack(c, seg)) {
		trimmed = *seg;
		trimmed.flags &= (uint8_t)~TCP_SYN;
		trimmed.seq++;
		trimmed.len = 0;
		trimmed.wnd >>= c->snd_wscale; /* the window of a SYN is not scaled */
		rx.seg = &trimmed;
	}
	if (c->state == TCP_SYN_SENT)
		tcp_input_syn_sent(&rx);
	else
		input_steps(&rx);
	if (c->state != TCP_CLOSED)
		rx.events |= tcp_conn_settle(ctx, c, now_us);
	return rx.events;
}
