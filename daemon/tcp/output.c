/* What is to be sent now.
 *
 * Everything a connection sends comes from tcp_output(), in this order: an RST; the SYN; a
 * keepalive probe; what recovery asks to be sent again; data and FIN as the windows allow; a probe
 * of a closed window; and if none of these carried the ACK that is owed, an ACK. What data may go
 * is decided by plan_next() alone, which changes nothing, so that tcp_output_due() can ask the same
 * question. What makes a segment of data is inlined into put_planned(), where nearly all of them
 * are made, and stays a function for the rare ones.
 *
 *   una              nxt         una + min(cwnd, snd_wnd)       end
 *    |== in flight ===|-- usable ---------|                      |
 *                     |--- segments of one MSS, or ...
 *                     ... a tail below it, if Nagle, cork and the peer's window let it go
 *
 * SACKed and lost bytes do not count against cwnd; as long as any are lost these go first.
 *
 * A tail is held back by TCP_F_CORK or TCP_F_MORE, and without TCP_F_NODELAY while an earlier
 * tail is unacknowledged (Nagle in Minshall's form: full segments in flight do not hold it).
 * A window that leaves less than a segment is used from half of the largest window seen on
 * (RFC 9293 section 3.8.6.2.1). What is held back goes out after TCP_TAIL_HOLD_US at the
 * latest: the timer sets TCP_OWE_TAIL.
 */
#include <tcp/internal.h>

#include <tcp/cc.h>
#include <tcp/fastopen.h>

/* The next piece of the stream to send: len == 0 and no FIN if there is none. */
struct plan {
	uint64_t pos;
	uint32_t len;
	bool fin;
	bool cwnd_limited;
};

/* Where a batch of output stands. */
struct batch {
	struct tcp_ctx *ctx;
	struct tcp_conn *c;
	uint64_t now_us;
	struct tcp_out *out;
	unsigned int n;
	unsigned int max;
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* RFC 3042: one new segment for each of the first two duplicate ACKs. */
static uint32_t limited_transmit(const struct tcp_conn *c)
{
	if (tcp_conn_has(c, TCP_F_RECOVERY) || tcp_conn_loss(c, TCP_L_SCORE) ||
		c->dupacks >= TCP_DUPACK_THRESHOLD)
		return 0;
	return c->dupacks * (uint32_t)c->snd_mss_bytes;
}

static bool nagle_holds(const struct tcp_conn *c)
{
	uint32_t una = tcp_conn_una_seq(c);
	uint32_t nxt = tcp_conn_snd_seq(c, tcp_conn_snd_nxt(c));

	if (tcp_conn_has(c, TCP_F_SHUT) || (c->owe & TCP_OWE_TAIL))
		return false;
	if (c->flags & (TCP_F_CORK | TCP_F_MORE))
		return true;
	if (tcp_conn_has(c, TCP_F_NODELAY))
		return false;
	return tcp_seq_gt(c->small_seq, una) && tcp_seq_leq(c->small_seq, nxt);
}

/* What is left behind full segments; most messages are shorter than one, and need no division. */
static uint32_t tail_of(const struct tcp_conn *c, uint32_t len)
{
	return len < c->snd_mss_bytes ? len : len % c->snd_mss_bytes;
}

/* The end of the data is within reach, `len` bytes on. What is sent again is never held. */
static uint32_t plan_tail(const struct tcp_conn *c, uint32_t len)
{
	uint32_t tail = tail_of(c, len);

	if (tail == 0 || tcp_conn_snd_nxt(c) < tcp_conn_snd_max(c) || !nagle_holds(c))
		return len;
	return len - tail;
}

/* A window ends the run after `usable` bytes, with more data behind. */
static uint32_t plan_cut(const struct tcp_conn *c, uint64_t usable, bool by_peer)
{
	if (usable >= c->snd_mss_bytes)
		return (uint32_t)(usable - usable % c->snd_mss_bytes);
	if (by_peer && usable > 0 && (usable >= c->snd_wnd_max / 2 || (c->owe & TCP_OWE_TAIL)))
		return (uint32_t)usable;
	return 0;
}

static uint32_t plan_most(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint32_t mss = c->snd_mss_bytes;

	if (tcp_conn_has(c, TCP_F_CWR_OWED)) /* a port would say CWR in every piece */
		return mss;
	if (ctx->cfg->tso_max_bytes <= mss)
		return mss;
	mss = ctx->cfg->tso_max_bytes / mss * mss;
	return tcp_conn_has(c, TCP_F_PACED) ? tcp_pace_piece_max(ctx, c, mss) : mss;
}

static bool lost_goes_first(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_lost(ctx, c) > 0 && !tcp_conn_loss(c, TCP_L_FRTO);
}

/* A message of one segment that all windows have room for, and no losses: most of plan_any() would
 * come to nothing. False: look there. */
static inline bool plan_short(const struct tcp_conn *c, struct plan *p)
{
	uint64_t left = c->snd_end_pos - p->pos; /* wraps if the FIN was sent */
	uint64_t flight = p->pos - tcp_conn_una(c);
	uint32_t wnd = c->snd_wnd < c->cwnd ? c->snd_wnd : c->cwnd;

	if (left > c->snd_mss_bytes || flight + left > wnd || tcp_conn_loss(c, TCP_L_SCORE) ||
		tcp_conn_has(c, TCP_F_PACE_HOLD) || !tcp_conn_sends(c))
		return false;
	p->len = plan_tail(c, (uint32_t)left);
	p->fin = tcp_conn_has(c, TCP_F_SHUT) && p->len == left && flight + left < c->snd_wnd;
	return true;
}

static __attribute__((noinline)) struct plan plan_any(
	const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint64_t una = tcp_conn_una(c), nxt = tcp_conn_snd_nxt(c);
	uint64_t wnd_end = una + c->snd_wnd;
	uint64_t cwnd_end = una + c->cwnd + tcp_conn_sacked(ctx, c) + tcp_conn_lost(ctx, c) +
			    limited_transmit(c);
	uint64_t edge = min_u64(wnd_end, cwnd_end);
	struct plan p = {.pos = nxt};
	uint64_t left, usable, most;

	if (!tcp_conn_sends(c) || nxt > c->snd_end_pos || lost_goes_first(ctx, c) ||
		tcp_conn_has(c, TCP_F_PACE_HOLD))
		return p;
	left = c->snd_end_pos - nxt;
	usable = edge > nxt ? edge - nxt : 0;
	p.cwnd_limited = usable < left && cwnd_end < wnd_end;
	most = min_u64(usable, left);
	if (most > c->snd_mss_bytes && most > plan_most(ctx, c))
		p.len = plan_most(ctx, c);
	else if (left <= usable)
		p.len = plan_tail(c, (uint32_t)left);
	else
		p.len = plan_cut(c, usable, wnd_end <= cwnd_end);
	p.fin = tcp_conn_has(c, TCP_F_SHUT) && p.len == left && nxt + left < wnd_end;
	return p;
}

static inline struct plan plan_next(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	struct plan p = {.pos = tcp_conn_snd_nxt(c)};

	return plan_short(c, &p) ? p : plan_any(ctx, c);
}

/* Nothing of the stream waits to be sent for the first time or again: no need to plan. */
static bool all_sent(const struct tcp_conn *c)
{
	return tcp_conn_snd_nxt(c) >= tcp_conn_end(c);
}

bool tcp_output_due(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	struct plan p;
	uint64_t pos;
	uint32_t len;

	if ((c->owe & (uint16_t)~TCP_OWE_TAIL) || c->dup_acks_owed > 0)
		return true;
	if (tcp_conn_loss(c, TCP_L_SCORE) && tcp_recovery_next(ctx, c, &pos, &len))
		return true;
	if (all_sent(c))
		return false;
	p = plan_next(ctx, c);
	return p.len > 0 || p.fin;
}

/* -- one segment ---------------------------------------------------------------------------- */

/* How many SACK blocks fit beside `len` bytes of payload. */
static uint32_t sack_room(const struct tcp_conn *c, uint32_t len)
{
	uint32_t room = len < c->snd_mss_bytes ? c->snd_mss_bytes - len : 0;
	uint32_t most = tcp_conn_has(c, TCP_F_TS) ? 3 : 4;

	if (room < 4 + 8)
		return len == 0 ? 1 : 0;
	return (room - 4) / 8 < most ? (room - 4) / 8 : most;
}

/* Something lies out of order or came twice: the next ACK says so (RFC 2018, RFC 2883). */
static bool sack_is_due(const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_SACK) && (c->flags & (TCP_F_REASM | TCP_F_DSACK));
}

static uint16_t offered_mss(const struct batch *b)
{
	uint16_t most = tcp_mss_max(b->ctx->cfg, &b->c->entry.key.remote);
	uint16_t maxseg = tcp_extra(b->ctx, b->c)->maxseg;

	return maxseg && maxseg < most ? maxseg : most;
}

/* Those of a SYN, or of a segment with SACK blocks. */
static void put_many_options(struct batch *b, struct tcp_out *o, bool syn, uint32_t len)
{
	const struct tcp_config *cfg = b->ctx->cfg;
	struct tcp_conn *c = b->c;
	bool fresh = c->state == TCP_SYN_SENT; /* we offer; else we repeat what was agreed */
	struct tcp_options opt = {
		.has_mss = syn,
		.mss = syn ? offered_mss(b) : 0,
		.has_wscale = syn && (fresh ? cfg->window_scale : tcp_conn_has(c, TCP_F_WSCALE)),
		.wscale = c->rcv_wscale,
		.has_ts = fresh ? cfg->timestamps : tcp_conn_has(c, TCP_F_TS),
		.ts_val = tcp_ts_val(b->now_us, c->ts_offset),
		.ts_ecr = c->ts_recent,
		.sack_permitted = syn && (fresh ? cfg->sack : tcp_conn_has(c, TCP_F_SACK)),
	};

	if (syn)
		tcp_fastopen_option(b->ctx, c, b->now_us, &opt);
	if (!syn && sack_is_due(c))
		tcp_sack_report(b->ctx, c, sack_room(c, len), &opt);
	o->opt_len = (uint8_t)tcp_options_encode(&opt, o->opt);
}

static void put_options(struct batch *b, struct tcp_out *o, bool syn, bool sack, uint32_t len)
{
	struct tcp_conn *c = b->c;

	if (syn || sack)
		put_many_options(b, o, syn, len);
	else if (tcp_conn_has(c, TCP_F_TS))
		o->opt_len = (uint8_t)tcp_options_encode_ts(
			tcp_ts_val(b->now_us, c->ts_offset), c->ts_recent, o->opt);
}

static inline __attribute__((always_inline)) struct tcp_out *put_segment(
	struct batch *b, uint32_t seq, uint8_t flags)
{
	struct tcp_conn *c = b->c;
	struct tcp_out *o = &b->out[b->n++];

	assert(b->n <= b->max);
	o->key = c->entry.key;
	o->seq = seq;
	o->ack = 0;
	o->wnd = 0;
	o->flags = flags;
	o->opt_len = 0; /* what is behind is not cleared: that took longer than all the rest */
	o->ecn = TCP_ECN_NOT_ECT;
	o->pos = 0;
	o->len = 0;
	o->mss_bytes = c->snd_mss_bytes;
	c->segs_out++;
	b->ctx->counters->segs_out++;
	return o;
}

/* Every segment but the first SYN and stray RSTs acknowledges; with that the debt is paid,
 * unless there are SACK blocks to report and `len` bytes of payload leave no room for them. */
static inline __attribute__((always_inline)) struct tcp_out *put_acking(
	struct batch *b, uint32_t seq, uint8_t flags, uint32_t len)
{
	struct tcp_conn *c = b->c;
	bool sack = sack_is_due(c), untold = sack && sack_room(c, len) == 0;
	uint8_t ece = tcp_conn_has(c, TCP_F_ECN_ECHO) ? TCP_ECE : 0;
	struct tcp_out *o = put_segment(b, seq, flags | TCP_ACK | ece);

	o->ack = tcp_conn_rcv_nxt(c);
	o->wnd = tcp_window_select(b->ctx, c, flags & TCP_SYN);
	put_options(b, o, flags & TCP_SYN, sack, len);
	c->last_ack_sent = o->ack;
	if (untold)
		return o;
	c->flags &= ~TCP_F_DSACK;
	c->owe &= (uint16_t)~TCP_OWE_ACK;
	c->ack_at = 0;
	if (c->quick_acks > 0)
		c->quick_acks--;
	return o;
}

static __attribute__((noinline)) struct tcp_out *put_ack(
	struct batch *b, uint32_t seq, uint8_t flags)
{
	return put_acking(b, seq, flags, 0);
}

/* A sequence number that the peer finds acceptable even if it has taken back its window. */
static uint32_t ack_seq(const struct tcp_conn *c)
{
	return tcp_conn_snd_seq(c, min_u64(tcp_conn_snd_max(c), tcp_conn_una(c) + c->snd_wnd));
}

static void start_send_timer(struct batch *b)
{
	tcp_send_timer_start(b->ctx, b->c, b->now_us);
}

static void put_rst(struct batch *b)
{
	struct tcp_conn *c = b->c;
	struct tcp_out *o = put_segment(b, ack_seq(c), TCP_RST | TCP_ACK);

	o->ack = tcp_conn_rcv_nxt(c);
	c->owe = 0;
	b->ctx->counters->reset_out++;
}

static void put_stray_rst(struct batch *b)
{
	put_segment(b, b->c->stray_rst_seq, TCP_RST);
	b->c->owe &= (uint16_t)~TCP_OWE_STRAY_RST;
	b->ctx->counters->reset_out++;
}

static uint8_t synack_flags(const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_ECN) ? TCP_SYN | TCP_ECE : TCP_SYN;
}

/* RFC 7413 section 4.2.1: the first SYN takes along what there is to send. */
static void put_syn_data(struct batch *b, struct tcp_out *o)
{
	struct tcp_conn *c = b->c;

	o->len = (uint32_t)min_u64(
		tcp_fastopen_syn_room(b->ctx, c, o->opt_len, b->now_us), c->snd_end_pos);
	if (o->len == 0)
		return;
	o->mss_bytes = (uint16_t)o->len;
	c->snd_nxt_low = c->snd_max_low = o->len;
	c->last_tx_ms = tcp_ms(b->now_us);
	tcp_data_segs_out(b->ctx, c, 1);
	b->ctx->counters->fastopen_syns_sent++;
}

/* SYN, or SYN|ACK of a passive or simultaneous open. A first one is timed, a repeated one is not
 * (Karn). */
static void put_syn(struct batch *b)
{
	struct tcp_conn *c = b->c;
	struct tcp_out *o;

	if (c->state == TCP_SYN_RECEIVED) {
		put_ack(b, c->iss, synack_flags(c));
	} else {
		o = put_segment(
			b, c->iss, TCP_SYN | (tcp_ecn_offers(b->ctx, c) ? TCP_ECE | TCP_CWR : 0));
		o->wnd = tcp_window_select(b->ctx, c, true);
		put_options(b, o, true, false, 0);
		put_syn_data(b, o);
	}
	if (c->backoff == 0) {
		c->flags |= TCP_F_RTT_TIMED;
		c->rtt_seq = c->iss + 1;
		c->rtt_sent_us = (uint32_t)b->now_us;
	}
	c->owe &= (uint16_t)~TCP_OWE_SYN;
	start_send_timer(b);
}

/* -- data ----------------------------------------------------------------------------------- */

static uint32_t segments_of(const struct tcp_conn *c, uint32_t len)
{
	return len <= c->snd_mss_bytes ? 1 : (len + c->snd_mss_bytes - 1) / c->snd_mss_bytes;
}

/* Bytes below snd_max_pos have been on the wire before. */
static void count_retransmission(struct batch *b, uint64_t pos, uint32_t len)
{
	struct tcp_conn *c = b->c;
	uint64_t max = tcp_conn_snd_max(c);
	uint32_t again, segs;
	struct tcp_extra *x;

	again = (uint32_t)(min_u64(pos + len, max) - pos);
	segs = segments_of(c, again);
	c->flags &= ~TCP_F_RTT_TIMED; /* Karn */
	b->ctx->counters->retransmitted_segs += segs;
	b->ctx->counters->retransmitted_bytes += again;
	x = tcp_extra_make(b->ctx, c);
	if (!x)
		return;
	x->retrans_segs += segs;
	x->retrans_bytes += again;
}

/* A piece of the stream as a segment; the caller moves snd_nxt_pos. */
static inline __attribute__((always_inline)) void put_piece(
	struct batch *b, uint64_t pos, uint32_t len, bool fin)
{
	struct tcp_conn *c = b->c;
	bool push = len > 0 && pos + len == c->snd_end_pos;
	uint64_t end = pos + len + fin, max = tcp_conn_snd_max(c);
	uint32_t segs = segments_of(c, len);
	struct tcp_out *o = put_acking(b, tcp_conn_snd_seq(c, pos),
		(uint8_t)((push ? TCP_PSH : 0) | (fin ? TCP_FIN : 0)), len);

	o->pos = pos;
	o->len = len;
	if (len > 0)
		tcp_data_segs_out(b->ctx, c, segs);
	if (segs > 1) {
		c->segs_out += segs - 1;
		b->ctx->counters->segs_out += segs - 1;
	}
	if (pos < max)
		count_retransmission(b, pos, len + fin);
	else if (tcp_conn_has(c, TCP_F_ECN) && len > 0)
		tcp_ecn_mark(c, o);
	if (pos >= max && !tcp_conn_has(c, TCP_F_RTT_TIMED)) {
		c->flags |= TCP_F_RTT_TIMED;
		c->rtt_seq = tcp_conn_snd_seq(c, end);
		c->rtt_sent_us = (uint32_t)b->now_us;
	}
	if (tcp_conn_has(c, TCP_F_PACED))
		tcp_pace_sent(b->ctx, c, len, b->now_us);
	if (tcp_conn_has(c, TCP_F_CC_WATCH))
		tcp_cc_sent(b->ctx, c, pos + len, b->now_us);
	if (end > max)
		c->snd_max_low = (uint32_t)end;
	c->last_tx_ms = tcp_ms(b->now_us);
}

static __attribute__((noinline)) void put_data(
	struct batch *b, uint64_t pos, uint32_t len, bool fin)
{
	put_piece(b, pos, len, fin);
}

static void put_retransmission(struct batch *b)
{
	struct tcp_conn *c = b->c;
	uint64_t una = tcp_conn_una(c);
	uint64_t end = min_u64(tcp_conn_snd_max(c), c->snd_end_pos);
	uint32_t len;

	c->owe &= (uint16_t)~TCP_OWE_REXMIT;
	if (una >= tcp_conn_snd_max(c))
		return;
	len = (uint32_t)min_u64(end - una, c->snd_mss_bytes);
	if (tcp_conn_has(c, TCP_F_RECOVERY) && tcp_conn_has(c, TCP_F_EXTRA))
		tcp_validate_resent(b->ctx, c, len);
	put_data(b, una, len, una + len < tcp_conn_snd_max(c) && una + len == c->snd_end_pos);
	if (tcp_conn_snd_nxt(c) < una + len)
		c->snd_nxt_low = (uint32_t)(una + len);
	if (!c->send_at)
		start_send_timer(b);
}

/* One byte past the window, or the FIN: RFC 9293 section 3.8.6.1. snd_nxt_pos stays, so that
 * the byte is part of the first full segment once the window opens. */
static void put_probe(struct batch *b)
{
	struct tcp_conn *c = b->c;
	uint64_t una = tcp_conn_una(c);
	bool data = una < c->snd_end_pos;

	c->owe &= (uint16_t)~TCP_OWE_PROBE;
	if (una >= tcp_conn_end(c) || !tcp_conn_sends(c))
		return;
	put_data(b, una, data, !data);
	b->out[b->n - 1].ecn = TCP_ECN_NOT_ECT; /* RFC 3168 section 6.1.6 */
	c->flags &= ~TCP_F_RTT_TIMED;
	b->ctx->counters->window_probes++;
}

/* RFC 9293 section 3.8.4: a sequence number that the peer has acknowledged already. */
static void put_keepalive(struct batch *b)
{
	put_ack(b, tcp_conn_una_seq(b->c) - 1, 0);
	b->c->owe &= (uint16_t)~TCP_OWE_KEEPALIVE;
	b->ctx->counters->keepalive_probes++;
}

/* The user answers while the peer's data is fresh: a dialogue, in which ACKs ride on data. */
static void note_dialogue(struct batch *b)
{
	struct tcp_conn *c = b->c;

	if (c->rcv_nxt_pos > 0 && tcp_ms(b->now_us) - c->last_rx_ms < b->ctx->cfg->delack_us / 1000)
		c->quick_acks = 0;
}

/* The scoreboard must be there before a second moment's data is in flight. */
static void note_second_burst(struct batch *b)
{
	struct tcp_conn *c = b->c;

	if (!(c->loss & (TCP_L_SCORE | TCP_L_BLIND)) && tcp_conn_has(c, TCP_F_SACK) &&
		c->state != TCP_SYN_RECEIVED && (uint32_t)b->now_us != c->rtt_sent_us)
		tcp_recovery_begin(b->ctx, c);
}

/* A new flight has begun. When it was sent is in rtt_sent_us if it is being timed. */
static void note_first_burst(struct tcp_conn *c, bool timed)
{
	if (timed)
		c->loss &= (uint16_t)~TCP_L_BLIND;
	else
		c->loss |= TCP_L_BLIND;
}

static void put_planned(struct batch *b, const struct plan *p)
{
	struct tcp_conn *c = b->c;
	bool idle = tcp_conn_flight(c) == 0;
	bool timed = p->pos == tcp_conn_snd_max(c) && !tcp_conn_has(c, TCP_F_RTT_TIMED);
	uint32_t tail = tail_of(c, p->len);

	note_dialogue(b);
	if (idle)
		note_first_burst(c, timed);
	else
		note_second_burst(b);
	if (idle && tcp_conn_has(c, TCP_F_EXTRA))
		tcp_trip_leaves(b->ctx, c, b->now_us);
	put_piece(b, p->pos, p->len, p->fin);
	c->snd_nxt_low = (uint32_t)(p->pos + p->len + p->fin);
	if (tcp_conn_loss(c, TCP_L_SCORE))
		tcp_recovery_sent(b->ctx, c, tcp_conn_snd_nxt(c), b->now_us);
	c->owe &= (uint16_t)~TCP_OWE_TAIL;
	if (tail > 0)
		c->small_seq = tcp_conn_snd_seq(c, p->pos + p->len);
	if (idle || !c->send_at)
		start_send_timer(b);
}

/* One packet, larger than a segment (mtu.c). It is no small one to Nagle, whatever its length. */
static void put_mtu_probe(struct batch *b, uint32_t len)
{
	struct tcp_conn *c = b->c;
	struct plan p = {.pos = tcp_conn_snd_nxt(c), .len = len};
	uint32_t small_seq = c->small_seq, pieces = segments_of(c, len) - 1;

	put_planned(b, &p);
	b->out[b->n - 1].mss_bytes = (uint16_t)len;
	c->small_seq = small_seq;
	c->segs_out -= pieces;
	tcp_extra_have(b->ctx, c)->data_segs_out -= pieces;
	b->ctx->counters->segs_out -= pieces;
}

/* RFC 8985 section 7.2: after new data the probe waits its whole time again. One segment in
 * flight has been seen to already. */
static void restart_probe_timer(struct batch *b)
{
	struct tcp_conn *c = b->c;

	if (tcp_conn_loss(c, TCP_L_REO) || tcp_conn_flight(c) <= c->snd_mss_bytes)
		return;
	if (tcp_tlp_timeout_us(b->ctx, c) < tcp_conn_rto_us(b->ctx, c))
		start_send_timer(b);
}

static void put_stream(struct batch *b)
{
	struct tcp_conn *c = b->c;
	unsigned int before = b->n;
	struct plan p;

	if (tcp_conn_flight(c) == 0 && tcp_conn_snd_max(c) == tcp_conn_snd_nxt(c) &&
		(uint64_t)(tcp_ms(b->now_us) - c->last_tx_ms) * 1000 > c->rto_us)
		tcp_cc_idle(b->ctx, c, b->now_us);
	if (tcp_conn_loss(c, TCP_L_MTU) && b->n < b->max) {
		uint32_t len = tcp_mtu_probe(b->ctx, c, b->now_us);

		if (len > 0)
			put_mtu_probe(b, len);
	}
	if (b->n < b->max && !lost_goes_first(b->ctx, c) && !tcp_conn_has(c, TCP_F_PACE_HOLD))
		c->flags &= ~TCP_F_CWND_LIMITED;
	while (b->n < b->max && !all_sent(c)) {
		p = plan_next(b->ctx, c);
		if (p.cwnd_limited)
			c->flags |= TCP_F_CWND_LIMITED;
		if (p.len == 0 && !p.fin)
			break;
		put_planned(b, &p);
	}
	if (b->n > before)
		restart_probe_timer(b);
}

/* What is given up for lost goes out again, as far as the windows allow. */
static void put_lost(struct batch *b)
{
	struct tcp_conn *c = b->c;
	uint64_t pos;
	uint32_t len;

	while (b->n < b->max && tcp_recovery_next(b->ctx, c, &pos, &len)) {
		bool fin;

		if (len > plan_most(b->ctx, c))
			len = plan_most(b->ctx, c);
		fin = pos + len > c->snd_end_pos;
		put_data(b, pos, len - fin, fin);
		b->ctx->counters->recovery_retransmits++;
		tcp_recovery_resent(b->ctx, c, pos, len, b->now_us);
	}
}

/* RFC 8985 section 7.3: new data if there is any, beyond cwnd; else the last segment again. */
static void put_tail_probe(struct batch *b)
{
	struct tcp_conn *c = b->c;
	uint64_t left =
		c->snd_end_pos > tcp_conn_snd_nxt(c) ? c->snd_end_pos - tcp_conn_snd_nxt(c) : 0;
	uint64_t wnd_end = tcp_conn_una(c) + c->snd_wnd;
	struct plan p = {
		.pos = tcp_conn_snd_nxt(c), .len = (uint32_t)min_u64(left, c->snd_mss_bytes)};

	c->owe &= (uint16_t)~TCP_OWE_TLP;
	if (tcp_conn_flight(c) == 0 || !tcp_conn_sends(c) || !tcp_conn_loss(c, TCP_L_SCORE))
		return;
	if (p.len > 0 && p.pos + p.len <= wnd_end) {
		put_planned(b, &p);
		c->loss |= TCP_L_TLP_OUT | TCP_L_TLP_NEW;
	} else {
		uint32_t len = tcp_recovery_resend_tail(b->ctx, c, b->now_us);
		bool fin = tcp_conn_snd_nxt(c) > c->snd_end_pos;

		if (len == 0)
			return;
		put_data(b, tcp_conn_snd_nxt(c) - len, len - fin, fin);
		c->loss |= TCP_L_TLP_OUT;
	}
	tcp_extra_have(b->ctx, c)->tlp_seq = tcp_conn_snd_seq(c, tcp_conn_snd_nxt(c));
	start_send_timer(b);
}

/* -- the whole ------------------------------------------------------------------------------ */

/* A peer that repeats its SYN has seen nothing of ours: what went early goes again when the
 * handshake has ended, and the SYN|ACK times nothing (Karn). */
static void put_synack_again(struct batch *b)
{
	struct tcp_conn *c = b->c;

	if (tcp_conn_early(c)) {
		c->backoff = 1;
		c->snd_nxt_low = (uint32_t)tcp_conn_una(c);
	}
	c->flags &= ~TCP_F_RTT_TIMED;
	put_ack(b, c->iss, synack_flags(c));
}

/* In SYN-RECEIVED an ACK goes out as the SYN|ACK again. A plain one could promise more than the
 * unscaled window of a SYN|ACK can, whose repetition would then take the promise back; and a
 * peer in SYN-SENT has no use for it. */
static void output_opening(struct batch *b)
{
	if (b->c->owe & TCP_OWE_SYN)
		put_syn(b);
	if ((b->c->owe & TCP_OWE_ACK) && b->n < b->max && b->c->state == TCP_SYN_RECEIVED)
		put_synack_again(b);
	if (tcp_conn_early(b->c))
		put_stream(b);
}

/* RFC 5681 section 4.2: each segment out of order has its duplicate ACK, since a peer without
 * SACK counts them. An ACK of something new goes first and is none. */
static void put_dup_acks(struct batch *b)
{
	struct tcp_conn *c = b->c;

	while (c->dup_acks_owed > 0 && b->n < b->max) {
		if (c->last_ack_sent == tcp_conn_rcv_nxt(c))
			c->dup_acks_owed--;
		put_ack(b, ack_seq(c), 0);
	}
}

/* What came before the mark changed, with the old mark; an ACK of all follows (ecn.c). */
static void put_old_ack(struct batch *b)
{
	struct tcp_conn *c = b->c;
	const struct tcp_dctcp *s = &tcp_extra(b->ctx, c)->cc_state.dctcp;
	uint32_t saved_flags = c->flags & (TCP_F_FIN_RCVD | TCP_F_ECN_ECHO);
	uint64_t saved_pos = c->rcv_nxt_pos;

	c->owe &= (uint16_t)~TCP_OWE_OLD_ACK;
	if (c->cc != TCP_CC_DCTCP ||
		tcp_seq_leq(c->irs + 1 + (uint32_t)s->old_ack_pos, c->last_ack_sent))
		return;
	c->rcv_nxt_pos = s->old_ack_pos;
	c->flags &= ~(TCP_F_FIN_RCVD | TCP_F_ECN_ECHO);
	c->flags |= s->old_ack_ece ? TCP_F_ECN_ECHO : 0;
	put_ack(b, ack_seq(c), 0);
	c->rcv_nxt_pos = saved_pos;
	c->flags &= ~(TCP_F_FIN_RCVD | TCP_F_ECN_ECHO);
	c->flags |= saved_flags;
	c->owe |= TCP_OWE_ACK;
}

/* What goes before new data, if it is not only that and an ACK. */
static __attribute__((noinline)) void put_first(struct batch *b)
{
	struct tcp_conn *c = b->c;

	if (c->owe & TCP_OWE_OLD_ACK)
		put_old_ack(b);
	put_dup_acks(b);
	if ((c->owe & TCP_OWE_KEEPALIVE) && b->n < b->max)
		put_keepalive(b);
	if ((c->owe & TCP_OWE_REXMIT) && b->n < b->max)
		put_retransmission(b);
	if (tcp_conn_loss(c, TCP_L_SCORE))
		put_lost(b);
	if ((c->owe & TCP_OWE_TLP) && b->n < b->max)
		put_tail_probe(b);
}

static void output_synchronized(struct batch *b)
{
	struct tcp_conn *c = b->c;

	if (c->owe & (uint16_t) ~(TCP_OWE_ACK | TCP_OWE_TAIL | TCP_OWE_PROBE) ||
		c->dup_acks_owed > 0 || tcp_conn_loss(c, TCP_L_SCORE))
		put_first(b);
	put_stream(b);
	if ((c->owe & TCP_OWE_PROBE) && b->n < b->max)
		put_probe(b);
	if ((c->owe & TCP_OWE_ACK) && b->n < b->max)
		put_ack(b, ack_seq(c), 0);
}

unsigned int tcp_output(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us,
	struct tcp_out *out, unsigned int out_max)
{
	struct batch b = {.ctx = ctx, .c = c, .now_us = now_us, .out = out, .max = out_max};

	if (out_max == 0)
		return 0;
	if (c->state == TCP_CLOSED) {
		if (c->owe & TCP_OWE_RST)
			put_rst(&b);
		return b.n;
	}
	if (c->owe & TCP_OWE_STRAY_RST)
		put_stray_rst(&b);
	if (b.n < b.max) {
		if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED)
			output_opening(&b);
		else
			output_synchronized(&b);
	}
	tcp_conn_settle_timers(ctx, c, now_us);
	return b.n;
}

void tcp_output_waits(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	tcp_conn_settle_timers(ctx, c, now_us);
}
