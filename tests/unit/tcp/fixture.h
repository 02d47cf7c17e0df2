/* A context with zeroed counters, and segments as they arrive, for tests of the parts of
 * the library that need no connection. */
#ifndef TEST_TCP_FIXTURE_H
#define TEST_TCP_FIXTURE_H

#include <tcp/counters.h>
#include <tcp/options.h>

#include <assert.h>

enum {
	MS = 1000,
	S = 1000000,
};

struct fixture {
	struct tcp_config cfg;
	struct tcp_counters counters;
	struct tcp_ctx ctx;
	struct tcp_out reply;
	uint64_t now_us;
};

static inline void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	tcp_config_default(&f->cfg);
	f->ctx.cfg = &f->cfg;
	f->ctx.counters = &f->counters;
	memcpy(f->ctx.isn_key, "isn key isn key", 16);
	memcpy(f->ctx.cookie_key, "cookie key cook", 16);
	memcpy(f->ctx.ts_key, "ts key ts key t", 16);
	f->now_us = UINT64_C(123456789012);
}

static inline struct net_tuple fixture_tuple(void)
{
	return (struct net_tuple){
		.local = net_addr_from_ip4(0x0100000a),
		.remote = net_addr_from_ip4(0x0200000a),
		.lport = 80,
		.rport = 43210,
	};
}

static inline struct tcp_segment segment(uint8_t flags, uint32_t seq, uint32_t ack)
{
	return (struct tcp_segment){
		.key = fixture_tuple(),
		.flags = flags,
		.seq = seq,
		.ack = ack,
		.wnd = 29200,
	};
}

static inline struct tcp_segment segment_with_ts(
	uint8_t flags, uint32_t seq, uint32_t ack, uint32_t ts_val)
{
	struct tcp_segment seg = segment(flags, seq, ack);

	seg.opt.has_ts = true;
	seg.opt.ts_val = ts_val;
	return seg;
}

/* The options of f->reply, as the peer would read them. */
static inline struct tcp_options reply_options(const struct fixture *f)
{
	struct tcp_options opt;
	int rc = tcp_options_parse(&opt, f->reply.opt, f->reply.opt_len, f->reply.flags);

	assert(rc == 0);
	(void)rc;
	return opt;
}

#endif
