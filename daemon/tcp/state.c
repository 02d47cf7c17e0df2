/* The state machine: names, legal transitions, birth and death of a control block. */
#include <tcp/internal.h>

#include <tcp/cc.h>

const char *tcp_state_name(enum tcp_state state)
{
	static const char *const names[] = {
		[TCP_CLOSED] = "UNCONN",
		[TCP_LISTEN] = "LISTEN",
		[TCP_SYN_SENT] = "SYN-SENT",
		[TCP_SYN_RECEIVED] = "SYN-RECV",
		[TCP_ESTABLISHED] = "ESTAB",
		[TCP_FIN_WAIT_1] = "FIN-WAIT-1",
		[TCP_FIN_WAIT_2] = "FIN-WAIT-2",
		[TCP_CLOSE_WAIT] = "CLOSE-WAIT",
		[TCP_CLOSING] = "CLOSING",
		[TCP_LAST_ACK] = "LAST-ACK",
		[TCP_TIME_WAIT] = "TIME-WAIT",
	};
	static_assert(sizeof(names) / sizeof(names[0]) == TCP_STATE_COUNT, "a name for each");

	return (unsigned int)state < TCP_STATE_COUNT ? names[state] : "?";
}

/* RFC 9293 figure 5, and to CLOSED from everywhere (RST, abort, time-out). FIN-WAIT-1 straight
 * from SYN-RECEIVED is a close before the last ACK; this stack queues the FIN instead and
 * passes through ESTABLISHED (section 3.10.4 allows both). */
bool tcp_state_legal(enum tcp_state from, enum tcp_state to)
{
#define TO(state) (1u << TCP_##state)
	static const uint16_t legal[TCP_STATE_COUNT] = {
		[TCP_CLOSED] = TO(LISTEN) | TO(SYN_SENT),
		[TCP_LISTEN] = TO(CLOSED) | TO(SYN_RECEIVED) | TO(SYN_SENT),
		[TCP_SYN_SENT] = TO(CLOSED) | TO(SYN_RECEIVED) | TO(ESTABLISHED),
		[TCP_SYN_RECEIVED] = TO(CLOSED) | TO(LISTEN) | TO(ESTABLISHED),
		[TCP_ESTABLISHED] = TO(CLOSED) | TO(FIN_WAIT_1) | TO(CLOSE_WAIT),
		[TCP_FIN_WAIT_1] = TO(CLOSED) | TO(FIN_WAIT_2) | TO(CLOSING),
		[TCP_FIN_WAIT_2] = TO(CLOSED) | TO(TIME_WAIT),
		[TCP_CLOSE_WAIT] = TO(CLOSED) | TO(LAST_ACK),
		[TCP_CLOSING] = TO(CLOSED) | TO(TIME_WAIT),
		[TCP_LAST_ACK] = TO(CLOSED),
		[TCP_TIME_WAIT] = TO(CLOSED),
	};
#undef TO

	return from < TCP_STATE_COUNT && to < TCP_STATE_COUNT && (legal[from] >> to & 1);
}

void tcp_conn_set_state(struct tcp_conn *c, enum tcp_state state)
{
	/* Segments and calls are judged by state before: each caller is a step of one state. */
	assert(tcp_state_legal((enum tcp_state)c->state, state));
	c->state = (uint8_t)state;
}

void tcp_conn_init(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct net_tuple *key, enum tcp_state state)
{
	memset(c, 0, offsetof(struct tcp_conn, due_flags));
	c->data_segs.in = c->data_segs.out = 0;
	c->entry.key = *key;
	c->entry.slot = TCP_SLOT_NONE;
	c->entry.deadline_us = TCP_NEVER;
	c->state = TCP_CLOSED;
	if (state != TCP_CLOSED)
		tcp_conn_set_state(c, state);
	c->cc = (uint8_t)ctx->cfg->cc;
	c->quick_acks = TCP_QUICK_ACKS;
	static_assert(TCP_QUICK_ACKS < 32, "a field of five bits");
	tcp_rtt_init(ctx, c);
}

void tcp_conn_negotiated(
	const struct tcp_ctx *ctx, struct tcp_conn *c, uint16_t mss_bytes, uint64_t now_us)
{
	uint16_t options = tcp_conn_has(c, TCP_F_TS) ? TCP_OPTIONS_TS_BYTES : 0;
	uint16_t maxseg = tcp_extra(ctx, c)->maxseg;

	if (maxseg && maxseg < mss_bytes)
		mss_bytes = maxseg;
	/* A peer's MSS is clamped from below (tcp_options_peer_mss()), TCP_MAXSEG bounded. */
	assert(mss_bytes > options);
	c->snd_mss_bytes = (uint16_t)(mss_bytes - options);
	c->rcv_mss_bytes = TCP_MSS_DEFAULT;
	c->small_seq = c->iss;
	c->last_ack_sent = tcp_conn_rcv_nxt(c);
	c->last_rx_ms = tcp_ms(now_us);
	c->last_data_ms = tcp_ms(now_us);
	c->last_tx_ms = tcp_ms(now_us);
}

/* RFC 6298 section 5.7: a SYN that was lost and yields no sample leaves 3 s for the data. */
static void establish_rto(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	uint32_t careful_us = 3 * 1000 * 1000;

	if (c->srtt_us == 0 && c->backoff > 0 && c->rto_us < careful_us)
		c->rto_us = careful_us < ctx->cfg->rto_max_us ? careful_us : ctx->cfg->rto_max_us;
	c->backoff = 0;
}

uint32_t tcp_conn_establish(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	tcp_conn_set_state(c, TCP_ESTABLISHED);
	ctx->counters->established++;
	tcp_cc_start(ctx, c);
	establish_rto(ctx, c);
	c->retries = 0;
	tcp_stall_end(ctx, c);
	c->flags &= ~(TCP_F_RTT_TIMED | TCP_F_FASTOPEN);
	c->send_at = 0;
	c->owe &= (uint16_t)~TCP_OWE_SYN;
	if (tcp_conn_has(c, TCP_F_SHUT))
		tcp_conn_set_state(c, TCP_FIN_WAIT_1);
	tcp_mtu_established(ctx, c);
	tcp_keepalive_arm(ctx, c, now_us);
	return TCP_EV_ESTABLISHED;
}

uint32_t tcp_conn_close(struct tcp_ctx *ctx, struct tcp_conn *c, int error, bool rst)
{
	tcp_conn_free_reasm(ctx, c);
	tcp_recovery_end(ctx, c);
	tcp_cc_stop(ctx, c);
	tcp_conn_set_state(c, TCP_CLOSED);
	assert(error >= 0 && error <= UINT8_MAX);
	c->error = (uint8_t)error;
	c->owe = rst ? TCP_OWE_RST : 0;
	c->send_at = 0;
	c->ack_at = 0;
	c->life_at_ms = 0;
	c->entry.deadline_us = TCP_NEVER;
	return TCP_EV_CLOSED | (error ? TCP_EV_ERROR : 0) | (rst ? TCP_EV_OUTPUT : 0);
}

uint32_t tcp_conn_time_wait(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	tcp_conn_free_reasm(ctx, c);
	tcp_recovery_end(ctx, c);
	tcp_cc_stop(ctx, c);
	tcp_conn_set_state(c, TCP_TIME_WAIT);
	tcp_life_start(c, now_us + 2ull * ctx->cfg->msl_us);
	return TCP_EV_TIME_WAIT;
}
