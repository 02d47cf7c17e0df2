/* Loss detection and recovery without SACK: RFC 5681, RFC 6582 (NewReno), RFC 3042.
 *
 * Three duplicate ACKs start fast recovery: the first unacknowledged segment is sent again
 * (TCP_OWE_REXMIT) and cwnd is inflated by what has left the network; each partial ACK names
 * the next hole; an ACK of recover_seq ends it. The first two duplicates let one new segment
 * out each (limited transmit; output.c adds it to cwnd). A time-out goes back to una and
 * begins slow start; what the peer kept is skipped as its ACKs jump over it.
 *
 * A peer that permits SACK is the business of recovery.c, which leaves to this file what it
 * declines: connections that could not have a scoreboard.
 */
#include <tcp/internal.h>

#include <tcp/cc.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* RFC 5681 section 3.2 step 2: what limited transmit has sent does not count. */
void tcp_loss_back_off(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes, bool timeout)
{
	uint64_t flight = min_u64(tcp_conn_flight(c) + acked_bytes, c->cwnd);

	tcp_cc_backoff(ctx, c, flight, timeout ? TCP_CC_TIMEOUT : TCP_CC_LOSS);
}

static void loss_owe_retransmission(struct tcp_conn *c)
{
	c->owe |= TCP_OWE_REXMIT;
	c->flags &= ~TCP_F_RTT_TIMED; /* Karn */
}

/* RFC 6582 section 3.2 step 2. */
static void loss_enter_recovery(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	tcp_loss_back_off(ctx, c, 0, false);
	c->recover_seq = tcp_conn_snd_seq(c, tcp_conn_snd_max(c));
	c->flags |= TCP_F_RECOVERY | TCP_F_RECOVER_SET;
	c->flags &= ~TCP_F_PARTIAL_ACK;
	c->cwnd = c->ssthresh + TCP_DUPACK_THRESHOLD * (uint32_t)c->snd_mss_bytes;
	c->send_at = 0;
	ctx->counters->fast_retransmits++;
	loss_owe_retransmission(c);
}

/* RFC 6582 section 3.2 step 1: duplicates of what an earlier recovery has covered do not
 * start another one. */
static bool loss_may_recover(const struct tcp_conn *c)
{
	return !tcp_conn_has(c, TCP_F_RECOVER_SET) ||
	       tcp_seq_gt(tcp_conn_una_seq(c), c->recover_seq);
}

void tcp_loss_dupack(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	ctx->counters->dup_acks++;
	if (c->dupacks < UINT8_MAX)
		c->dupacks++;
	if (tcp_conn_has(c, TCP_F_RECOVERY)) {
		if (c->cwnd < TCP_CWND_MAX_BYTES) /* RFC 5681 section 3.2 step 4 */
			c->cwnd += c->snd_mss_bytes;
	} else if (c->dupacks == TCP_DUPACK_THRESHOLD && loss_may_recover(c)) {
		if (tcp_conn_loss(c, TCP_L_MTU_OUT))
			tcp_mtu_first_lost(ctx, c, now_us);
		loss_enter_recovery(ctx, c);
	}
}

/* RFC 6582 section 3.2 step 3, full acknowledgement, option 1. */
static void loss_leave_recovery(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	uint64_t mss = c->snd_mss_bytes;
	uint64_t flight = tcp_conn_flight(c);

	if (tcp_conn_has(c, TCP_F_EXTRA))
		tcp_validate_recovered(ctx, c);
	c->cwnd = (uint32_t)min_u64(c->ssthresh, (flight > mss ? flight : mss) + mss);
	c->flags &= ~(TCP_F_RECOVERY | TCP_F_PARTIAL_ACK);
	c->dupacks = 0;
	c->cwnd_acked = 0;
}

/* The same step, partial acknowledgement: the next hole, and cwnd deflates by what left. */
static void loss_partial_ack(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes)
{
	uint32_t mss = c->snd_mss_bytes;

	c->flags |= TCP_F_PARTIAL_ACK;
	c->cwnd = c->cwnd > acked_bytes ? c->cwnd - acked_bytes : 0;
	if (acked_bytes >= mss || c->cwnd < mss)
		c->cwnd += mss;
	ctx->counters->recovery_retransmits++;
	loss_owe_retransmission(c);
}

/* Whether cwnd is used shows when something is sent. ACKs of a burst come without output between
 * them: the first leaves room, and is no reason to take the others for ACKs of an idle window. */
void tcp_loss_grow(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes,
	uint64_t flight_bytes, uint64_t now_us)
{
	bool slow_start = c->cwnd < c->ssthresh;
	bool used = slow_start ? 2 * flight_bytes >= c->cwnd
			       : flight_bytes + c->snd_mss_bytes > c->cwnd;

	tcp_cc_acked(ctx, c, used || tcp_conn_has(c, TCP_F_CWND_LIMITED), acked_bytes, now_us);
}

void tcp_loss_acked(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes,
	uint64_t flight_bytes, uint64_t now_us)
{
	if (tcp_conn_has(c, TCP_F_RECOVERY)) {
		if (tcp_seq_geq(tcp_conn_una_seq(c), c->recover_seq))
			loss_leave_recovery(ctx, c);
		else
			loss_partial_ack(ctx, c, acked_bytes);
		return;
	}
	c->dupacks = 0;
	tcp_loss_grow(ctx, c, acked_bytes, flight_bytes, now_us);
}

/* Without a scoreboard everything goes again from una on. */
static void loss_go_back(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	/* RFC 5681 section 3.1: the threshold stands when the same segment is lost again. */
	if (c->retries == 0)
		tcp_loss_back_off(ctx, c, 0, true);
	c->cwnd = c->snd_mss_bytes;
	c->snd_nxt_low = (uint32_t)tcp_conn_una(c);
}

static void note_timeout(struct tcp_extra *x, uint64_t now_us)
{
	if (!x)
		return;
	x->rtos += x->rtos < UINT16_MAX;
	if (!x->rto_since_ms)
		x->rto_since_ms = tcp_ms(now_us) | 1;
}

void tcp_loss_timeout(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	if (!tcp_recovery_timeout(ctx, c, now_us))
		loss_go_back(ctx, c);
	c->cwnd_acked = 0;
	c->recover_seq = tcp_conn_snd_seq(c, tcp_conn_snd_max(c)); /* RFC 6582 section 4 */
	c->flags |= TCP_F_RECOVER_SET;
	c->flags &= ~(TCP_F_RECOVERY | TCP_F_PARTIAL_ACK | TCP_F_RTT_TIMED | TCP_F_CWND_LIMITED);
	c->owe &= (uint16_t) ~(TCP_OWE_REXMIT | TCP_OWE_TLP);
	c->dupacks = 0;
	note_timeout(tcp_extra_make(ctx, c), now_us);
	if (c->retries < UINT8_MAX)
		c->retries++;
	if (c->backoff < UINT8_MAX)
		c->backoff++;
	ctx->counters->rto_timeouts++;
}

void tcp_loss_undo(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	tcp_cc_undo(ctx, c);
}
