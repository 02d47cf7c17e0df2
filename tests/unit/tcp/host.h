/* One end of a connection under test: a tcp_ctx with storage, and helpers that write segments
 * to it and read what it sends. For scripts; pair.h joins two of them. */
#ifndef TESTS_TCP_HOST_H
#define TESTS_TCP_HOST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/cc.h>
#include <tcp/conn.h>
#include <tcp/counters.h>
#include <tcp/half.h>
#include <tcp/internal.h>
#include <tcp/options.h>
#include <tcp/reasm.h>
#include <tcp/score.h>
#include <tcp/seq.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS_US  1000ull
#define SEC_US 1000000ull

enum {
	HOST_OUT_MAX = 64,
	HOST_RX_BYTES = 4 << 20,
	PEER_ISS = 0xfffffff0u, /* so that every test wraps */
};

struct host {
	struct tcp_config cfg;
	struct tcp_ops ops;
	struct tcp_counters counters;
	struct tcp_ctx ctx;
	struct tcp_conn c;
	struct tcp_extra extra; /* tcp_extra_none until the connection needs it */
	bool extra_refuse;
	struct tcp_reasm reasm;
	_Alignas(8) uint8_t cc_block[TCP_CC_BLOCK_BYTES];
	bool cc_used;
	bool cc_refuse;
	bool reasm_used;
	bool reasm_refuse;
	struct tcp_score score;
	bool score_used;
	bool score_refuse;
	uint8_t *rx;   /* by position */
	uint8_t *have; /* 1 where stored */
	uint64_t consumed_pos;
	uint64_t rcvbuf_bytes;
	uint64_t store_budget;	     /* bytes rx_store may still take */
	unsigned int refuse_percent; /* of stores that take a part only */
	unsigned int rng;
	uint32_t events; /* all since the last host_events() */
	uint64_t now_us;
	struct tcp_out out[HOST_OUT_MAX];
	unsigned int out_n;
	uint32_t ts_val; /* of the scripted peer */
	uint8_t payload[65536];
};

static inline uint32_t host_rx_store(void *arg, struct tcp_conn *c, uint64_t pos,
	const struct tcp_segment *seg, uint32_t off, uint32_t len, bool in_order)
{
	struct host *h = arg;

	assert_ptr_equal(c, &h->c);
	assert_true(len > 0 && off + len <= seg->len);
	assert_true(in_order == (pos == c->rcv_nxt_pos));
	assert_true(pos >= c->rcv_nxt_pos && pos + len <= tcp_conn_rcv_edge(c));
	if (len > h->store_budget)
		len = (uint32_t)h->store_budget;
	if (h->refuse_percent && (unsigned int)rand_r(&h->rng) % 100 < h->refuse_percent)
		len = (unsigned int)rand_r(&h->rng) % (len + 1);
	h->store_budget -= len;
	for (uint32_t i = 0; i < len; i++) {
		assert_true(pos + i < HOST_RX_BYTES);
		assert_int_equal(h->have[pos + i], 0); /* never twice */
		h->have[pos + i] = 1;
		h->rx[pos + i] = seg->payload[off + i];
	}
	return len;
}

static inline struct tcp_rx_room host_rx_limit(void *arg, const struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	return (struct tcp_rx_room){h->consumed_pos + h->rcvbuf_bytes, NULL};
}

static inline struct tcp_reasm *host_reasm_alloc(void *arg, struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_false(h->reasm_used);
	if (h->reasm_refuse ||
		(h->refuse_percent && (unsigned int)rand_r(&h->rng) % 100 < h->refuse_percent))
		return NULL;
	h->reasm_used = true;
	return &h->reasm;
}

static inline struct tcp_reasm *host_reasm_get(void *arg, const struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	return h->reasm_used ? &h->reasm : NULL;
}

static inline void host_reasm_free(void *arg, struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_true(h->reasm_used);
	h->reasm_used = false;
}

static inline struct tcp_score *host_score_alloc(void *arg, struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_false(h->score_used);
	if (h->score_refuse ||
		(h->refuse_percent && (unsigned int)rand_r(&h->rng) % 100 < h->refuse_percent))
		return NULL;
	h->score_used = true;
	return &h->score;
}

static inline struct tcp_score *host_score_get(void *arg, const struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_true(h->score_used);
	return &h->score;
}

static inline void host_score_free(void *arg, struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_true(h->score_used);
	h->score_used = false;
}

static inline struct tcp_extra *host_extra_alloc(void *arg, struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	return h->extra_refuse ? NULL : &h->extra;
}

static inline struct tcp_extra *host_extra_get(void *arg, const struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	return &h->extra;
}

static inline void *host_cc_alloc(void *arg, struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_false(h->cc_used);
	if (h->cc_refuse)
		return NULL;
	h->cc_used = true;
	return h->cc_block;
}

static inline void *host_cc_get(void *arg, const struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_true(h->cc_used);
	return h->cc_block;
}

static inline void host_cc_free(void *arg, struct tcp_conn *c)
{
	struct host *h = arg;

	(void)c;
	assert_true(h->cc_used);
	h->cc_used = false;
}

static inline void host_init(struct host *h)
{
	memset(h, 0, sizeof(*h));
	tcp_config_default(&h->cfg);
	h->cfg.keepalive_idle_us = 7200 * SEC_US;
	h->cfg.cc = TCP_CC_NEWRENO; /* whose numbers RFC 5681 gives */
	h->ops = (struct tcp_ops){
		.rx_store = host_rx_store,
		.rx_limit = host_rx_limit,
		.extra_alloc = host_extra_alloc,
		.extra_get = host_extra_get,
		.reasm_alloc = host_reasm_alloc,
		.reasm_get = host_reasm_get,
		.reasm_free = host_reasm_free,
		.score_alloc = host_score_alloc,
		.score_get = host_score_get,
		.score_free = host_score_free,
		.cc_alloc = host_cc_alloc,
		.cc_get = host_cc_get,
		.cc_free = host_cc_free,
	};
	h->extra = tcp_extra_none;
	h->ctx.cfg = &h->cfg;
	h->ctx.ops = &h->ops;
	h->ctx.ops_arg = h;
	h->ctx.counters = &h->counters;
	h->rx = calloc(1, HOST_RX_BYTES);
	h->have = calloc(1, HOST_RX_BYTES);
	assert_non_null(h->rx);
	assert_non_null(h->have);
	h->rcvbuf_bytes = 65535;
	h->store_budget = UINT64_MAX;
	h->now_us = 1000 * SEC_US;
	for (size_t i = 0; i < sizeof(h->payload); i++)
		h->payload[i] = (uint8_t)(i * 7 + (i >> 8));
}

static inline void host_fini(struct host *h)
{
	free(h->rx);
	free(h->have);
}

static inline struct net_tuple host_key(void)
{
	return (struct net_tuple){
		.local = net_addr_from_ip4(0x0100000a),
		.remote = net_addr_from_ip4(0x0200000a),
		.lport = 40000,
		.rport = 80,
	};
}

/* What the connection wants to send now, into h->out. Nothing else asks it. */
static inline unsigned int host_output(struct host *h)
{
	h->out_n = tcp_output(&h->ctx, &h->c, h->now_us, h->out, HOST_OUT_MAX);
	assert_true(h->out_n < HOST_OUT_MAX);
	if (h->c.state != TCP_CLOSED)
		assert_false(tcp_output_due(&h->ctx, &h->c));
	return h->out_n;
}

/* Only segment sent by output, which must send exactly one. */
static inline struct tcp_out *host_output_one(struct host *h)
{
	assert_int_equal(host_output(h), 1);
	return &h->out[0];
}

/* The step just done announced output if and only if there is some. */
static inline void host_note(struct host *h, uint32_t events)
{
	h->events |= events;
	if (h->c.state != TCP_CLOSED)
		assert_int_equal(!!(events & TCP_EV_OUTPUT), tcp_output_due(&h->ctx, &h->c));
}

static inline uint32_t host_events(struct host *h)
{
	uint32_t events = h->events;

	h->events = 0;
	return events;
}

/* A segment of the scripted peer: seq and ack relative to the two initial numbers. */
static inline struct tcp_segment host_segment(
	struct host *h, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd, uint32_t len)
{
	struct tcp_segment s = {
		.key = h->c.entry.key,
		.seq = PEER_ISS + seq,
		.ack = flags & TCP_ACK ? h->c.iss + ack : 0,
		.wnd = wnd,
		.flags = flags,
		.len = len,
		.payload = h->payload,
	};

	if (seq > 0 && seq - 1 + (uint64_t)len <= sizeof(h->payload))
		s.payload += seq - 1; /* so that the stream equals it */
	if (h->c.flags & TCP_F_TS) {
		s.opt.has_ts = !(flags & TCP_RST);
		s.opt.ts_val = h->ts_val;
		s.opt.ts_ecr = tcp_ts_val(h->now_us, h->c.ts_offset);
	}
	return s;
}

static inline void host_deliver(struct host *h, const struct tcp_segment *s)
{
	host_note(h, tcp_input(&h->ctx, &h->c, s, h->now_us));
}

static inline void host_input(
	struct host *h, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t wnd, uint32_t len)
{
	struct tcp_segment s = host_segment(h, flags, seq, ack, wnd, len);

	host_deliver(h, &s);
}

/* Moves the clock; fires the timer if its deadline falls into that time, at the deadline. */
static inline bool host_wait(struct host *h, uint64_t us)
{
	uint64_t until_us = h->now_us + us;

	if (h->c.entry.deadline_us > until_us) {
		h->now_us = until_us;
		return false;
	}
	if (h->c.entry.deadline_us > h->now_us)
		h->now_us = h->c.entry.deadline_us;
	host_note(h, tcp_timer(&h->ctx, &h->c, h->now_us));
	return true;
}

static inline void host_fire(struct host *h)
{
	assert_true(h->c.entry.deadline_us != TCP_NEVER);
	assert_true(host_wait(h, h->c.entry.deadline_us - h->now_us));
}

static inline void host_connect(struct host *h)
{
	struct net_tuple key = host_key();

	memset(&h->c, 0xa5, sizeof(h->c));
	host_note(h, tcp_connect(&h->ctx, &h->c, &key, h->now_us));
}

struct host_open {
	uint32_t wnd; /* of the peer's SYN|ACK, bytes */
	uint16_t mss; /* of the peer; 0: 1460 */
	bool ts;
	bool wscale; /* shift 7 */
	bool sack;
	uint32_t rtt_us; /* of the handshake; 0: 1 ms */
	bool ecn;	 /* the SYN|ACK agrees, if our SYN asks */
};

/* An established connection without RTT history of less than 1 ms; snd seq starts at 1. */
static inline void host_establish(struct host *h, struct host_open o)
{
	struct tcp_segment s;

	host_connect(h);
	host_output_one(h);
	h->now_us += o.rtt_us ? o.rtt_us : MS_US;
	s = host_segment(h, TCP_SYN | TCP_ACK | (o.ecn ? TCP_ECE : 0), 0, 1, o.wnd, 0);
	s.opt.has_mss = true;
	s.opt.mss = o.mss ? o.mss : 1460;
	s.opt.has_wscale = o.wscale;
	s.opt.wscale = 7;
	s.opt.sack_permitted = o.sack;
	s.opt.has_ts = o.ts;
	s.opt.ts_val = h->ts_val;
	s.opt.ts_ecr = tcp_ts_val(h->now_us - (o.rtt_us ? o.rtt_us : MS_US), h->c.ts_offset);
	host_deliver(h, &s);
	assert_int_equal(h->c.state, TCP_ESTABLISHED);
	assert_int_equal(host_output_one(h)->flags, TCP_ACK);
	h->c.quick_acks = 0;
	host_events(h);
}

static inline void host_send(struct host *h, uint64_t more_bytes)
{
	host_note(h, tcp_send(&h->ctx, &h->c, h->c.snd_end_pos + more_bytes, false, h->now_us));
}

static inline void host_shutdown(struct host *h)
{
	host_note(h, tcp_shutdown(&h->ctx, &h->c, h->now_us));
}

static inline uint32_t host_rel_seq(const struct host *h, const struct tcp_out *o)
{
	return o->seq - h->c.iss;
}

static inline uint32_t host_rel_ack(const struct tcp_out *o)
{
	return o->ack - PEER_ISS;
}

static inline struct tcp_options host_options(const struct tcp_out *o)
{
	struct tcp_options opt;

	assert_int_equal(tcp_options_parse(&opt, o->opt, o->opt_len, o->flags), 0);
	return opt;
}

#define assert_segment(h, o, want_flags, want_seq, want_ack, want_len)                             \
	do {                                                                                       \
		const struct tcp_out *segment_ = (o);                                              \
		assert_int_equal(segment_->flags, (want_flags));                                   \
		assert_int_equal(host_rel_seq((h), segment_), (want_seq));                         \
		assert_int_equal(host_rel_ack(segment_), (want_ack));                              \
		assert_int_equal(segment_->len, (want_len));                                       \
	} while (0)

#endif
