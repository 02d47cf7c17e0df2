/* A segment arrives: RFC 9293 section 3.10.7.
 *
 * SYN-SENT has its own procedure (3.10.7.3, input_syn_sent.c). In every later state the
 * segment goes through the steps of 3.10.7.4 in their order; any of them may end it. The
 * third step, security and compartment, is left out: those options are obsolete
 * (RFC 6814). Before the first step stands the timestamp check of RFC 7323 section 5.3.
 *
 * input_is_expected() tells of a segment that most steps would pass by; it is a shortcut through
 * the same functions, and tests/unit/tcp/test_input.c compares the two ways.
 *
 * A step changes the control block and notes events; it never transmits. What it owes the
 * peer is in `owe` and goes out with tcp_output(), once per connection and batch.
 */
#include <tcp/internal.h>

typedef enum tcp_step (*step_fn)(struct tcp_rx *rx);

/* The next segment of an exchange without events, nearly every one: all steps but two would
 * do nothing. Each line names the step that it makes needless, or what makes that step do more. */
static bool input_is_expected(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (c->state != TCP_ESTABLISHED)
		return false;
	if ((seg->flags & (uint8_t)~TCP_PSH) != TCP_ACK) /* second, fourth, sixth, eighth step */
		return false;
	if (seg->seq != tcp_conn_rcv_nxt(c) || seg->len > tcp_conn_rcv_wnd(c)) /* first step */
		return false;
	if (tcp_conn_has(c, TCP_F_REASM)) /* eighth: a FIN may wait behind a gap */
		return false;
	return !tcp_conn_has(c, TCP_F_TS) ||
	       (seg->opt.has_ts && tcp_seq_geq(seg->opt.ts_val, c->ts_recent)); /* PAWS */
}

static void input_expected(struct tcp_rx *rx)
{
	tcp_note_alive(rx);
	if (tcp_check_ack(rx) == TCP_CONTINUE && rx->seg->len > 0)
		tcp_process_next_text(rx);
}

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

/* Only what is left of it behind the SYN. */
static void input_crossed_synack(struct tcp_rx *rx)
{
	struct tcp_segment trimmed = *rx->seg;

	trimmed.flags &= (uint8_t)~TCP_SYN;
	trimmed.seq++;
	trimmed.len = 0;
	trimmed.wnd >>= rx->c->snd_wscale; /* the window of a SYN is not scaled */
	rx->seg = &trimmed;
	input_steps(rx);
}

uint32_t tcp_input(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, uint64_t now_us)
{
	struct tcp_rx rx = {.ctx = ctx, .c = c, .seg = seg, .now_us = now_us};

	ctx->counters->segs_in++;
	c->segs_in++;
	if (seg->len > 0)
		tcp_data_seg_in(ctx, c);
	if (input_is_expected(c, seg)) {
		input_expected(&rx);
	} else if (c->state == TCP_CLOSED) {
		ctx->counters->conn_closed++;
		return 0;
	} else if (c->state == TCP_SYN_SENT) {
		tcp_input_syn_sent(&rx);
	} else if (input_is_crossed_synack(c, seg)) {
		input_crossed_synack(&rx);
	} else {
		input_steps(&rx);
	}
	if (c->state != TCP_CLOSED)
		rx.events |= tcp_conn_settle(ctx, c, now_us);
	return rx.events;
}
