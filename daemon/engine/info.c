/* struct tcp_info, as Linux documents it, for TCP_INFO. */
#include "internal.h"

#include <tcp/cc.h>

#include <linux/tcp.h>
#include <string.h>

enum {
	REORDERING_SEGS =
		3, /* by how many a segment may be behind: RACK goes by time, not by more */
};

/* Linux numbers its states from 1 (include/net/tcp_states.h). */
static const uint8_t linux_state[TCP_STATE_COUNT] = {
	[TCP_CLOSED] = 7,
	[TCP_LISTEN] = 10,
	[TCP_SYN_SENT] = 2,
	[TCP_SYN_RECEIVED] = 3,
	[TCP_ESTABLISHED] = 1,
	[TCP_FIN_WAIT_1] = 4,
	[TCP_FIN_WAIT_2] = 5,
	[TCP_CLOSE_WAIT] = 8,
	[TCP_CLOSING] = 11,
	[TCP_LAST_ACK] = 9,
	[TCP_TIME_WAIT] = 6,
};

static uint32_t segments(uint64_t bytes, uint32_t mss)
{
	return mss ? (uint32_t)((bytes + mss - 1) / mss) : 0;
}

uint32_t info_resent_segs(struct engine *e, const struct tcp_conn *c)
{
	if (!tcp_conn_loss(c, TCP_L_SCORE))
		return 0;
	return segments(tcp_score_resent_bytes(tcp_conn_score(&e->tcp, c)), c->snd_mss_bytes);
}

/* Linux's enum tcp_ca_state: open, disorder, CWR, recovery, loss. */
static uint8_t ca_state(struct engine *e, const struct tcp_conn *c)
{
	bool loss = tcp_conn_loss(c, TCP_L_RTO) || (c->retries > 0 && tcp_conn_flight(c) > 0);

	return c->flags & TCP_F_RECOVERY     ? 3
	       : loss			     ? 4
	       : c->flags & TCP_F_CWR_WINDOW ? 2
					     : tcp_conn_sacked(&e->tcp, c) > 0 || c->dupacks > 0;
}

/* -- what the sender waits for --------------------------------------------------------------- */

enum limit {
	LIMIT_NONE, /* all is acknowledged */
	LIMIT_BUSY, /* the congestion window, or nothing but time */
	LIMIT_RWND,
	LIMIT_SNDBUF,
};

static bool cwnd_has_room(struct engine *e, const struct tcp_conn *c)
{
	return tcp_conn_pipe(&e->tcp, c) + c->snd_mss_bytes <= c->cwnd;
}

/* As tcp_poll() sees it: not writable while less than a third is free. */
static bool sndbuf_is_full(const struct tcp_conn *c, const struct sock *sk)
{
	uint64_t used = c->snd_end_pos - c->snd_una_pos;

	return used >= sk->sndbuf_bytes || (sk->sndbuf_bytes - used) * 3 < sk->sndbuf_bytes;
}

static enum limit limit_of(struct engine *e, const struct tcp_conn *c)
{
	uint64_t nxt = tcp_conn_snd_nxt(c), wnd_end = tcp_conn_una(c) + c->snd_wnd;
	const struct sock *sk = conn_sock(e, c);
	uint64_t unsent = c->snd_end_pos > nxt ? c->snd_end_pos - nxt : 0;
	uint64_t next = unsent < c->snd_mss_bytes ? unsent : c->snd_mss_bytes;

	if (c->snd_una_pos == c->snd_end_pos)
		return LIMIT_NONE;
	if (unsent && nxt + next > wnd_end && cwnd_has_room(e, c))
		return LIMIT_RWND;
	if (unsent < c->snd_mss_bytes && sk && /* a tail may be held (Nagle) */
		sndbuf_is_full(c, sk) && cwnd_has_room(e, c))
		return LIMIT_SNDBUF;
	return LIMIT_BUSY;
}

/* Linux counts time limited by either as busy, too. */
static void limit_add(struct tcp_extra *x, uint64_t us)
{
	x->busy_us += x->limit == LIMIT_NONE ? 0 : us;
	x->rwnd_limited_us += x->limit == LIMIT_RWND ? us : 0;
	x->sndbuf_limited_us += x->limit == LIMIT_SNDBUF ? us : 0;
}

/* Counts from when the connection has a block: in bulk, in trouble, or held by its peer's window.
 */
void info_limit(struct engine *e, struct tcp_conn *c)
{
	enum limit now = limit_of(e, c);
	struct tcp_extra *x = tcp_extra_have(&e->tcp, c);

	if (!x && now == LIMIT_RWND && c->state != TCP_CLOSED)
		x = tcp_extra_make(&e->tcp, c);
	if (!x || x->limit == now)
		return;
	limit_add(x, e->now_us - x->limit_since_us);
	x->limit = now;
	x->limit_since_us = e->now_us;
}

/* -- struct tcp_info ------------------------------------------------------------------------- */

static uint8_t options(const struct tcp_conn *c)
{
	return (uint8_t)((c->flags & TCP_F_TS ? TCPI_OPT_TIMESTAMPS : 0) |
			 (c->flags & TCP_F_WSCALE ? TCPI_OPT_WSCALE : 0) |
			 (c->flags & TCP_F_SACK ? TCPI_OPT_SACK : 0) |
			 (c->flags & TCP_F_ECN ? TCPI_OPT_ECN : 0) |
			 (c->loss & TCP_L_SEEN_ECT ? TCPI_OPT_ECN_SEEN : 0) |
			 (c->loss & TCP_L_SYN_DATA ? TCPI_OPT_SYN_DATA : 0));
}

static void fill_timers(struct engine *e, const struct tcp_conn *c, struct tcp_info *t)
{
	bool flight = tcp_conn_flight(c) > 0;
	uint32_t now_ms = (uint32_t)(e->now_us / 1000);

	t->tcpi_retransmits = flight ? c->retries : 0;
	t->tcpi_probes = flight ? 0 : c->retries ? c->retries : c->keepalive_probes;
	t->tcpi_backoff = c->backoff;
	t->tcpi_rto = (uint32_t)tcp_conn_rto_us(&e->tcp, c);
	t->tcpi_ato = e->cfg.tcp.delack_us;
	t->tcpi_last_data_sent = now_ms - c->last_tx_ms;
	t->tcpi_last_data_recv = now_ms - c->last_data_ms;
	t->tcpi_last_ack_recv = now_ms - c->last_rx_ms;
	t->tcpi_rtt = c->srtt_us;
	t->tcpi_rttvar = c->rttvar_us;
	t->tcpi_min_rtt = c->rtt_min_us;
}

static void fill_sending(struct engine *e, const struct tcp_conn *c, struct tcp_info *t)
{
	const struct tcp_extra *x = tcp_extra(&e->tcp, c);
	uint64_t sent = tcp_conn_sent(c);
	uint32_t mss = c->snd_mss_bytes;
	uint32_t mtu = net_iface_mtu(e->cfg.iface, &c->entry.key.remote);
	uint32_t packet = mss + tcp_mtu_overhead(c);

	t->tcpi_snd_mss = mss;
	t->tcpi_pmtu = mss && packet < mtu ? packet : mtu;
	t->tcpi_unacked = segments(tcp_conn_flight(c), mss);
	t->tcpi_sacked = segments(tcp_conn_sacked(&e->tcp, c), mss);
	t->tcpi_lost = segments(tcp_conn_lost(&e->tcp, c), mss);
	t->tcpi_retrans = info_resent_segs(e, c);
	t->tcpi_total_retrans = x->retrans_segs;
	t->tcpi_reordering = REORDERING_SEGS;
	t->tcpi_reord_seen = x->reord_seen;
	t->tcpi_dsack_dups = x->dsack_dups;
	t->tcpi_snd_ssthresh =
		c->ssthresh >= TCP_CWND_MAX_BYTES ? INT32_MAX : segments(c->ssthresh, mss);
	t->tcpi_snd_cwnd = segments(c->cwnd, mss);
	t->tcpi_snd_wnd = c->snd_wnd;
	t->tcpi_bytes_acked = c->snd_una_pos;
	t->tcpi_bytes_sent = sent + x->retrans_bytes;
	t->tcpi_bytes_retrans = x->retrans_bytes;
	t->tcpi_notsent_bytes = (uint32_t)(c->snd_end_pos - sent);
	t->tcpi_delivered = segments(c->snd_una_pos + tcp_conn_sacked(&e->tcp, c), mss);
	t->tcpi_delivered_ce = segments(x->marked_bytes, mss);
}

/* Who has no block has exchanged no more than messages, most of them of one segment: that is what
 * the path has delivered in the least round trip at the best. */
static void fill_delivery(const struct tcp_conn *c, const struct tcp_trip *trip, struct tcp_info *t)
{
	bool measured = trip->rate_us > 0;
	uint64_t bytes = measured ? trip->rate_bytes : c->snd_mss_bytes;
	uint32_t us = measured ? trip->rate_us : c->rtt_min_us;

	t->tcpi_delivery_rate_app_limited = !measured || (trip->flags & TCP_TRIP_RATE_LIMITED);
	if (measured || (c->snd_una_pos > 0 && us != UINT32_MAX))
		t->tcpi_delivery_rate = bytes * 1000000 / us;
}

static void fill_rates(struct engine *e, const struct tcp_conn *c, struct tcp_info *t)
{
	struct tcp_extra x = *tcp_extra(&e->tcp, c);
	bool paced = tcp_conn_has(c, TCP_F_PACED) && x.pacing_rate && x.pacing_rate != UINT32_MAX;

	limit_add(&x, e->now_us - x.limit_since_us);
	t->tcpi_busy_time = x.busy_us;
	t->tcpi_rwnd_limited = x.rwnd_limited_us;
	t->tcpi_sndbuf_limited = x.sndbuf_limited_us;
	t->tcpi_pacing_rate = paced ? x.pacing_rate : UINT64_MAX;
	t->tcpi_max_pacing_rate = UINT64_MAX;
	fill_delivery(c, &x.trip, t);
}

static void fill_receiving(struct engine *e, const struct tcp_conn *c, struct tcp_info *t)
{
	const struct tcp_extra *x = tcp_extra(&e->tcp, c);
	const struct sock *sk = conn_sock(e, c);
	const struct tune *tune = sk ? tune_of(e, sk) : NULL;
	uint16_t mss_max = tcp_mss_max(&e->cfg.tcp, &c->entry.key.remote);

	t->tcpi_rcv_mss = c->rcv_mss_bytes;
	t->tcpi_advmss = x->maxseg && x->maxseg < mss_max ? x->maxseg : mss_max;
	t->tcpi_rcv_ssthresh = (uint32_t)(rxq_limit(e, c).limit_pos - (sk ? sk->consumed_pos : 0));
	t->tcpi_rcv_rtt = tune ? tune->rtt_us : 0;
	t->tcpi_rcv_space = tune ? tune->space_bytes : INITIAL_WINDOW_BYTES;
	t->tcpi_rcv_ooopack = x->rcv_ooo_segs;
	t->tcpi_bytes_received = c->rcv_nxt_pos;
	t->tcpi_segs_out = c->segs_out;
	t->tcpi_segs_in = c->segs_in;
	t->tcpi_data_segs_in = c->flags & TCP_F_EXTRA ? x->data_segs_in : c->data_segs.in;
	t->tcpi_data_segs_out = c->flags & TCP_F_EXTRA ? x->data_segs_out : c->data_segs.out;
}

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* What a header older than Linux 6.2 does not know. */
static void fill_newer(struct engine *e, const struct tcp_conn *c, uint8_t *info)
{
	const struct tcp_extra *x = tcp_extra(&e->tcp, c);

	put32(info + PROTO_INFO_RCV_WND, tcp_conn_rcv_wnd(c));
	put32(info + PROTO_INFO_REHASH, 0);
	put16(info + PROTO_INFO_TOTAL_RTO, x->rtos);
	put16(info + PROTO_INFO_TOTAL_RTO_RECOVERIES, x->rto_rows);
	put32(info + PROTO_INFO_TOTAL_RTO_TIME, x->rto_total_ms);
	put32(info + PROTO_INFO_CONGESTION, c->cc);
}

/* docs/tcp_info.md says of each field what it is. Fills at most max bytes; returns how many.
 */
uint32_t info_tcp(struct engine *e, const struct tcp_conn *c, void *out, uint32_t max)
{
	uint8_t info[PROTO_INFO_ALL_BYTES];
	uint32_t len = sizeof(info) < max ? sizeof(info) : max;
	struct tcp_info t = {
		.tcpi_state = linux_state[c->state],
		.tcpi_ca_state = ca_state(e, c),
		.tcpi_options = options(c),
		.tcpi_snd_wscale = c->snd_wscale,
		.tcpi_rcv_wscale = c->rcv_wscale,
		.tcpi_fastopen_client_fail = c->loss >> TCP_L_FASTOPEN_FAIL_SHIFT & 3,
	};

	static_assert(offsetof(struct tcp_info, tcpi_snd_wnd) + 4 == PROTO_INFO_RCV_WND,
		"the fields that we fill lie where Linux has them");
	fill_timers(e, c, &t);
	fill_sending(e, c, &t);
	fill_rates(e, c, &t);
	fill_receiving(e, c, &t);
	memcpy(info, &t, PROTO_INFO_RCV_WND);
	fill_newer(e, c, info);
	memcpy(out, info, len);
	return len;
}
