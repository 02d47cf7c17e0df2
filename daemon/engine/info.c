/* struct tcp_info, as Linux documents it, for TCP_INFO. */
#include "internal.h"

#include <linux/tcp.h>
#include <string.h>

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

/* Linux's enum tcp_ca_state: open, disorder, recovery, loss. */
static uint8_t ca_state(struct engine *e, const struct tcp_conn *c)
{
	bool loss = tcp_conn_loss(c, TCP_L_RTO) || (c->retries > 0 && tcp_conn_flight(c) > 0);

	return c->flags & TCP_F_RECOVERY ? 3
	       : loss			 ? 4
					 : tcp_conn_sacked(&e->tcp, c) > 0 || c->dupacks > 0;
}

/* Fills at most max bytes; returns how many. */
uint32_t info_tcp(struct engine *e, const struct tcp_conn *c, void *out, uint32_t max)
{
	const struct tcp_extra *x = tcp_extra(&e->tcp, c);
	uint32_t mss = c->snd_mss_bytes;
	uint64_t nxt = tcp_conn_snd_nxt(c);
	struct tcp_info t = {
		.tcpi_state = linux_state[c->state],
		.tcpi_ca_state = ca_state(e, c),
		.tcpi_retransmits = c->retries,
		.tcpi_backoff = c->backoff,
		.tcpi_options = (c->flags & TCP_F_TS ? TCPI_OPT_TIMESTAMPS : 0) |
				(c->flags & TCP_F_WSCALE ? TCPI_OPT_WSCALE : 0) |
				(c->flags & TCP_F_SACK ? TCPI_OPT_SACK : 0) |
				(c->flags & TCP_F_ECN ? TCPI_OPT_ECN : 0),
		.tcpi_snd_wscale = c->snd_wscale & 15,
		.tcpi_rcv_wscale = c->rcv_wscale & 15,
		.tcpi_rto = (uint32_t)tcp_conn_rto_us(&e->tcp, c),
		.tcpi_snd_mss = mss,
		.tcpi_rcv_mss = c->rcv_mss_bytes,
		.tcpi_unacked = segments(tcp_conn_flight(c), mss),
		.tcpi_sacked = segments(tcp_conn_sacked(&e->tcp, c), mss),
		.tcpi_lost = segments(tcp_conn_lost(&e->tcp, c), mss),
		.tcpi_retrans = info_resent_segs(e, c),
		.tcpi_reordering = 3,
		.tcpi_dsack_dups = x->dsack_dups,
		.tcpi_reord_seen = x->reord_seen,
		.tcpi_pmtu = net_iface_mtu(e->cfg.iface, &c->entry.key.remote),
		.tcpi_rtt = c->srtt_us,
		.tcpi_rttvar = c->rttvar_us,
		.tcpi_snd_ssthresh = segments(c->ssthresh, mss),
		.tcpi_snd_cwnd = segments(c->cwnd, mss),
		.tcpi_advmss = tcp_mss_max(&e->cfg.tcp, &c->entry.key.remote),
		.tcpi_rcv_space = tcp_conn_rcv_wnd(c),
		.tcpi_total_retrans = x->retrans_segs,
		.tcpi_bytes_acked = c->snd_una_pos,
		.tcpi_bytes_received = c->rcv_nxt_pos,
		.tcpi_segs_out = c->segs_out,
		.tcpi_segs_in = c->segs_in,
		.tcpi_notsent_bytes = (uint32_t)(c->snd_end_pos > nxt ? c->snd_end_pos - nxt : 0),
		.tcpi_min_rtt = c->rtt_min_us,
		.tcpi_rcv_ooopack = x->rcv_ooo_segs,
		.tcpi_bytes_retrans = x->retrans_bytes,
		.tcpi_snd_wnd = c->snd_wnd,
	};
	uint32_t len = sizeof(t) < max ? sizeof(t) : max;

	memcpy(out, &t, len);
	return len;
}
