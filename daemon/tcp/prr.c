/* How much may be sent for each ACK in recovery: RFC 9937, proportional rate reduction.
 *
 * cwnd comes down from what was in flight to ssthresh over the round trip that recovery takes,
 * in proportion to what is delivered, instead of at once with a pause; and where losses
 * have brought the flight below ssthresh already, it grows back like slow start while
 * recovery makes good progress, and is held where it is otherwise.
 */
#include <tcp/cc.h>
#include <tcp/recovery.h>

static int64_t max_i64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* SACKed by the ACKs that came in one burst with this one; nothing could be sent for them. */
static uint32_t burst_before(const struct tcp_round *r, uint64_t sacked_before)
{
	const struct tcp_score *s = r->s;
	uint32_t before = s->burst_us == (uint32_t)r->now_us ? s->burst_bytes - r->delivered : 0;

	return before < sacked_before ? before : (uint32_t)sacked_before;
}

/* RecoverFS: what will be delivered during recovery, the share of this ACK and of those that are
 * answered together with it included. */
void tcp_prr_enter(struct tcp_round *r)
{
	struct tcp_conn *c = r->c;
	uint64_t sacked_before = r->s->sacked_bytes - r->newly_sacked;
	uint64_t flight = tcp_conn_flight(c) + r->acked;
	uint32_t burst = burst_before(r, sacked_before);

	/* A peer cannot SACK what is not in flight: sack_read_block(). */
	assert(sacked_before <= flight);
	r->s->recover_fs = (uint32_t)max_i64((int64_t)(flight - sacked_before + burst), 1);
	r->s->prr_delivered = burst;
	r->s->prr_out = 0;
}

/* Each ACK that starts recovery or comes during it; with `delivered` 0 only the start counts. */
void tcp_prr_acked(struct tcp_round *r)
{
	struct tcp_conn *c = r->c;
	struct tcp_score *s = r->s;
	int64_t mss = c->snd_mss_bytes, pipe = (int64_t)tcp_conn_pipe(r->ctx, c);
	int64_t ssthresh = c->ssthresh, count;

	if (r->delivered == 0 && s->prr_out > 0)
		return;
	s->prr_delivered += r->delivered;
	if (pipe > ssthresh) {
		count = ((int64_t)s->prr_delivered * ssthresh + s->recover_fs - 1) / s->recover_fs -
			s->prr_out;
	} else {
		count = max_i64((int64_t)s->prr_delivered - s->prr_out, r->delivered);
		if (r->acked > 0 && r->newly_lost == 0)
			count += mss;
		count = min_i64(ssthresh - pipe, count);
	}
	if (s->prr_out == 0 && count < mss)
		count = mss; /* the first retransmission goes at once */
	c->cwnd = (uint32_t)min_i64(pipe + max_i64(count, 0), TCP_CWND_MAX_BYTES);
}
