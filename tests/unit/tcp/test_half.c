/* Listener and half-open entry: SYN, SYN|ACK, and all that may come instead of the ACK. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/conn.h>
#include <tcp/half.h>
#include <tcp/isn.h>

#include "fixture.h"

enum {
	IRS = 7000,
	TS = 100000,
};

static struct tcp_segment linux_syn(void)
{
	struct tcp_segment syn = segment_with_ts(TCP_SYN, IRS, 0, TS);

	syn.opt.has_mss = true;
	syn.opt.mss = 1400;
	syn.opt.has_wscale = true;
	syn.opt.wscale = 9;
	syn.opt.sack_permitted = true;
	return syn;
}

/* A half-open entry from linux_syn(), its SYN|ACK in f->reply. */
static void listen_once(struct fixture *f, struct tcp_half *h)
{
	struct tcp_segment syn = linux_syn();

	fixture_init(f);
	memset(h, 0xee, sizeof(*h));
	assert_int_equal(tcp_listen_input(&f->ctx, h, &syn, f->now_us, &f->reply), TCP_EV_REPLY);
}

static uint32_t input(struct fixture *f, struct tcp_half *h, const struct tcp_segment *seg)
{
	memset(&f->reply, 0xdd, sizeof(f->reply));
	return tcp_half_input(&f->ctx, h, seg, f->now_us, &f->reply);
}

static void expect_ack(const struct fixture *f, const struct tcp_half *h)
{
	assert_int_equal(f->reply.flags, TCP_ACK);
	assert_int_equal(f->reply.seq, h->iss + 1);
	assert_int_equal(f->reply.ack, IRS + 1);
	assert_int_equal(f->reply.wnd, h->rcv_wnd >> h->rcv_wscale);
	assert_true(reply_options(f).has_ts);
	assert_int_equal(reply_options(f).ts_ecr, h->ts_recent);
}

static void test_listen_syn_with_all_options_answered_in_kind(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_options o;
	struct net_tuple key = fixture_tuple();

	(void)state;
	listen_once(&f, &h);
	assert_int_equal(h.iss, tcp_isn(&f.ctx, &key, f.now_us));
	assert_int_equal(h.irs, IRS);
	assert_int_equal(h.mss, 1400);
	assert_int_equal(h.snd_wnd, 29200);
	assert_int_equal(h.snd_wscale, 9);
	assert_int_equal(h.rcv_wscale, 7); /* 6 MB */
	assert_int_equal(h.flags, TCP_HALF_TS | TCP_HALF_WSCALE | TCP_HALF_SACK);
	assert_int_equal(h.ts_recent, TS);
	assert_true(h.entry.deadline_us == f.now_us + 1 * S && h.entry.slot == TCP_SLOT_NONE);
	assert_true(net_tuple_equal(&h.entry.key, &key));

	assert_int_equal(f.reply.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(f.reply.seq, h.iss);
	assert_int_equal(f.reply.ack, IRS + 1);
	assert_int_equal(f.reply.wnd, h.rcv_wnd);
	o = reply_options(&f);
	assert_true(o.has_mss && o.has_ts && o.has_wscale);
	assert_true(o.sack_permitted);
	assert_int_equal(o.mss, 1460);
	assert_int_equal(o.wscale, 7);
	assert_int_equal(o.ts_ecr, TS);
	assert_int_equal(o.ts_val, tcp_ts_val(f.now_us, tcp_ts_offset(&f.ctx, &key)));
}

/* RFC 7323 sections 2.2 and 3.2: only what the SYN offered may be answered. */
static void test_listen_plain_syn_gets_mss_alone(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment syn = segment(TCP_SYN, IRS, 0);
	struct tcp_options o;

	(void)state;
	fixture_init(&f);
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &syn, f.now_us, &f.reply), TCP_EV_REPLY);
	o = reply_options(&f);
	assert_true(o.has_mss);
	assert_false(o.has_ts || o.has_wscale);
	assert_int_equal(h.mss, 536);
	assert_int_equal(h.snd_wscale + h.rcv_wscale + h.flags, 0);
}

static void test_listen_options_switched_off_not_answered(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment syn = linux_syn();
	struct tcp_options o;

	(void)state;
	fixture_init(&f);
	f.cfg.timestamps = false;
	f.cfg.window_scale = false;
	f.cfg.sack = false;
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &syn, f.now_us, &f.reply), TCP_EV_REPLY);
	o = reply_options(&f);
	assert_false(o.has_ts || o.has_wscale || o.sack_permitted);
	assert_int_equal(h.flags, 0);
	assert_int_equal(h.snd_wscale, 0);
}

/* The promise of the SYN|ACK can be repeated in scaled units without moving left. */
static void test_listen_first_window_survives_scaling(void **state)
{
	static const uint32_t bufs[] = {1, 127, 128, 5000, 65535, 131072, 1 << 30};

	(void)state;
	for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
		struct fixture f;
		struct tcp_half h = {0};
		struct tcp_segment syn = linux_syn();

		fixture_init(&f);
		f.cfg.rcvbuf_bytes = bufs[i];
		tcp_listen_input(&f.ctx, &h, &syn, f.now_us, &f.reply);
		assert_true(f.reply.wnd <= bufs[i]);
		assert_int_equal(h.rcv_wnd >> h.rcv_wscale << h.rcv_wscale, h.rcv_wnd);
	}
}

static void test_listen_rst_ack_and_rest_per_rfc9293(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment rst = segment(TCP_RST, 1, 0);
	struct tcp_segment ack = segment(TCP_ACK, 1, 999);
	struct tcp_segment synack = segment(TCP_SYN | TCP_ACK, 1, 998);
	struct tcp_segment fin = segment(TCP_FIN, 1, 0);

	(void)state;
	fixture_init(&f);
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &rst, f.now_us, &f.reply), 0);
	assert_int_equal(f.counters.listen_rst, 1);
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &ack, f.now_us, &f.reply), TCP_EV_REPLY);
	assert_int_equal(f.reply.flags, TCP_RST);
	assert_int_equal(f.reply.seq, 999);
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &synack, f.now_us, &f.reply), TCP_EV_REPLY);
	assert_int_equal(f.reply.seq, 998);
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &fin, f.now_us, &f.reply), 0);
	assert_int_equal(f.counters.listen_no_syn, 1);
}

static void test_listen_land_not_answered(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment syn = linux_syn();

	(void)state;
	fixture_init(&f);
	syn.key.remote = syn.key.local;
	syn.key.rport = syn.key.lport;
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &syn, f.now_us, &f.reply), 0);
	assert_int_equal(f.counters.seg_land, 1);
}

static void test_listen_syn_data_not_acknowledged(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment syn = linux_syn();

	(void)state;
	fixture_init(&f);
	syn.len = 100;
	assert_int_equal(tcp_listen_input(&f.ctx, &h, &syn, f.now_us, &f.reply), TCP_EV_REPLY);
	assert_int_equal(f.reply.ack, IRS + 1);
	assert_int_equal(f.counters.half_syn_data, 1);
}

static void test_listen_engine_fields_untouched(void **state)
{
	struct fixture f;
	struct tcp_half h;

	(void)state;
	listen_once(&f, &h);
	assert_int_equal(h.listener_idx, 0xeeeeeeee);
	assert_int_equal(h.listener_gen, 0xeeeeeeee);
	assert_int_equal(h.gen, 0xeeeeeeee);
}

static void test_half_acceptable_ack_promotes_and_entry_stays(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_half before;
	struct tcp_segment ack;

	(void)state;
	listen_once(&f, &h);
	before = h;
	ack = segment_with_ts(TCP_ACK | TCP_FIN | TCP_PSH, IRS + 1, h.iss + 1, TS + 5);
	ack.len = 1000;
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
	assert_memory_equal(&h, &before, sizeof(h));
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
}

static void test_half_ack_of_anything_else_reset(void **state)
{
	struct fixture f;
	struct tcp_half h;
	static const int32_t offsets[] = {0, 2, -1, 1 << 30};

	(void)state;
	listen_once(&f, &h);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		uint32_t ack_seq = h.iss + (uint32_t)offsets[i];
		struct tcp_segment ack = segment_with_ts(TCP_ACK, IRS + 1, ack_seq, TS);

		assert_int_equal(input(&f, &h, &ack), TCP_EV_REPLY);
		assert_int_equal(f.reply.flags, TCP_RST);
		assert_int_equal(f.reply.seq, ack_seq);
	}
	assert_int_equal(f.counters.half_bad_ack, 4);
}

static void test_half_repeated_syn_repeats_the_synack(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment syn = linux_syn();
	uint32_t iss;

	(void)state;
	listen_once(&f, &h);
	iss = h.iss;
	f.now_us += 700 * MS;
	syn.opt.ts_val = TS + 700;
	assert_int_equal(input(&f, &h, &syn), TCP_EV_REPLY);
	assert_int_equal(f.reply.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(f.reply.seq, iss);
	assert_int_equal(reply_options(&f).ts_ecr, TS + 700);
	assert_int_equal(f.counters.syn_retransmits, 1);
	/* An older copy is answered too, but does not move ts_recent back. */
	syn.opt.ts_val = TS;
	assert_int_equal(input(&f, &h, &syn), TCP_EV_REPLY);
	assert_int_equal(reply_options(&f).ts_ecr, TS + 700);
	assert_true(h.flags & TCP_HALF_UNTIMED); /* Karn: which of them will be acknowledged? */
}

/* RFC 5961 section 3.2. */
static void test_half_rst_ends_only_at_rcv_nxt(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment rst;

	(void)state;
	listen_once(&f, &h);
	rst = segment(TCP_RST, IRS + 2, 0);
	assert_int_equal(input(&f, &h, &rst), TCP_EV_REPLY);
	expect_ack(&f, &h);
	rst.seq = IRS;
	assert_int_equal(input(&f, &h, &rst), 0);
	rst.seq = IRS + 1 + h.rcv_wnd;
	assert_int_equal(input(&f, &h, &rst), 0);
	assert_int_equal(f.counters.half_out_of_window, 2);
	rst.seq = IRS + 1;
	assert_int_equal(input(&f, &h, &rst), TCP_EV_CLOSED);
}

static void test_half_other_syn_acked_outside_ends_inside(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment syn = linux_syn();

	(void)state;
	listen_once(&f, &h);
	syn.seq = IRS - 5000;
	assert_int_equal(input(&f, &h, &syn), TCP_EV_REPLY);
	expect_ack(&f, &h);
	syn.seq = IRS + 5000;
	assert_int_equal(input(&f, &h, &syn), TCP_EV_CLOSED);
}

static void test_half_out_of_window_acked(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment seg;

	(void)state;
	listen_once(&f, &h);
	seg = segment_with_ts(TCP_ACK, IRS + 1 + h.rcv_wnd, h.iss + 1, TS);
	assert_int_equal(input(&f, &h, &seg), TCP_EV_REPLY);
	expect_ack(&f, &h);
	assert_int_equal(f.counters.half_out_of_window, 1);
}

static void test_half_old_timestamp_acked_missing_dropped(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment seg;

	(void)state;
	listen_once(&f, &h);
	seg = segment_with_ts(TCP_ACK, IRS + 1, h.iss + 1, TS - 1);
	assert_int_equal(input(&f, &h, &seg), TCP_EV_REPLY);
	expect_ack(&f, &h);
	assert_int_equal(f.counters.half_paws, 1);
	seg = segment(TCP_ACK, IRS + 1, h.iss + 1);
	assert_int_equal(input(&f, &h, &seg), 0);
	assert_int_equal(f.counters.ts_missing, 1);
}

static void test_half_no_ack_bit_dropped(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment seg;

	(void)state;
	listen_once(&f, &h);
	seg = segment_with_ts(TCP_FIN, IRS + 1, 0, TS);
	assert_int_equal(input(&f, &h, &seg), 0);
	assert_int_equal(f.counters.half_no_ack, 1);
}

static struct tcp_rx_room rx_limit_64k(void *arg, const struct tcp_conn *c)
{
	(void)arg;
	(void)c;
	return (struct tcp_rx_room){65536, NULL};
}

static struct tcp_reasm *reasm_none(void *arg, const struct tcp_conn *c)
{
	(void)arg;
	(void)c;
	return NULL;
}

static void reasm_free_none(void *arg, struct tcp_conn *c)
{
	(void)arg;
	(void)c;
}

/* The SYN|ACK, the entry and the connection that comes of it tell one story. */
static void test_half_promoted_connection_keeps_the_promises(void **state)
{
	static const struct tcp_ops ops = {
		.rx_limit = rx_limit_64k,
		.reasm_get = reasm_none,
		.reasm_free = reasm_free_none,
	};
	struct fixture f;
	struct tcp_half h;
	struct tcp_conn c;
	struct tcp_segment ack;
	uint32_t events;

	(void)state;
	listen_once(&f, &h);
	f.ctx.ops = &ops;
	f.now_us += 30 * MS;
	ack = segment_with_ts(TCP_ACK, IRS + 1, h.iss + 1, TS + 30);
	ack.opt.ts_ecr = reply_options(&f).ts_val;
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
	memset(&c, 0, sizeof(c));
	tcp_promote(&f.ctx, &c, &h, f.now_us);
	events = tcp_input(&f.ctx, &c, &ack, f.now_us);
	assert_true(events & TCP_EV_ESTABLISHED);
	assert_int_equal(c.state, TCP_ESTABLISHED);
	assert_int_equal(tcp_conn_rcv_nxt(&c), IRS + 1);
	assert_int_equal(tcp_conn_una_seq(&c), h.iss + 1);
	assert_true(tcp_conn_rcv_edge(&c) >= h.rcv_wnd);
	assert_int_equal(c.snd_wnd, 29200 << 9);
	assert_int_equal(c.snd_mss_bytes, h.mss - 12);
	assert_int_equal(c.rcv_wscale, h.rcv_wscale);
	assert_int_equal(c.ts_recent, TS + 30);
	assert_int_equal(c.ts_offset, tcp_ts_offset(&f.ctx, &ack.key));
	assert_int_equal(c.srtt_us, 30 * MS);
}

/* RFC 5961 section 7: about so many a second, whoever asks. */
static void test_half_provoked_acks_limited(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment seg;
	unsigned int replies = 0;

	(void)state;
	listen_once(&f, &h);
	f.cfg.challenge_ack_per_s = 10;
	seg = segment_with_ts(TCP_ACK, IRS - 1, h.iss + 1, TS);
	for (int i = 0; i < 100; i++)
		replies += input(&f, &h, &seg) == TCP_EV_REPLY;
	assert_in_range(replies, 5, 15);
	assert_int_equal(f.counters.challenge_acks, replies);
	assert_int_equal(f.counters.challenge_acks_limited, 100 - replies);
	f.now_us += 1 * S;
	assert_int_equal(input(&f, &h, &seg), TCP_EV_REPLY);
}

/* The number varies, so that it cannot be counted out, and extremes are obeyed. */
static void test_half_challenge_limit_blurred_zero_and_max_obeyed(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment seg;
	unsigned int first = 0;
	bool differs = false;

	(void)state;
	listen_once(&f, &h);
	f.cfg.challenge_ack_per_s = 20;
	seg = segment_with_ts(TCP_ACK, IRS - 1, h.iss + 1, TS);
	for (int second = 0; second < 10; second++) {
		unsigned int replies = 0;

		f.now_us += 1 * S + 3;
		for (int i = 0; i < 100; i++)
			replies += input(&f, &h, &seg) == TCP_EV_REPLY;
		assert_in_range(replies, 10, 30);
		differs |= second && replies != first;
		first = replies;
	}
	assert_true(differs);
	f.now_us += 1 * S;
	f.cfg.challenge_ack_per_s = 0;
	assert_int_equal(input(&f, &h, &seg), 0);
	f.now_us += 1 * S;
	f.cfg.challenge_ack_per_s = UINT32_MAX;
	assert_int_equal(input(&f, &h, &seg), TCP_EV_REPLY);
}

static void test_half_timer_backs_off_and_gives_up(void **state)
{
	struct fixture f;
	struct tcp_half h;

	(void)state;
	listen_once(&f, &h);
	assert_int_equal(tcp_half_timer(&f.ctx, &h, f.now_us, &f.reply), 0);
	for (unsigned int i = 1; i <= 5; i++) {
		f.now_us = h.entry.deadline_us;
		memset(&f.reply, 0xdd, sizeof(f.reply));
		assert_int_equal(tcp_half_timer(&f.ctx, &h, f.now_us, &f.reply), TCP_EV_REPLY);
		assert_int_equal(f.reply.flags, TCP_SYN | TCP_ACK);
		assert_int_equal(f.reply.seq, h.iss);
		assert_true(h.entry.deadline_us - f.now_us == (UINT64_C(1) << i) * S);
		assert_int_equal(h.retransmits, i);
	}
	f.now_us = h.entry.deadline_us;
	assert_int_equal(tcp_half_timer(&f.ctx, &h, f.now_us, &f.reply), TCP_EV_CLOSED);
	assert_int_equal(f.counters.half_timeout, 1);
}

static void test_half_timer_many_retries_capped_at_rto_max(void **state)
{
	struct fixture f;
	struct tcp_half h;

	(void)state;
	listen_once(&f, &h);
	f.cfg.synack_retries = UINT32_MAX;
	for (unsigned int i = 1; i <= 255; i++) {
		f.now_us = h.entry.deadline_us;
		assert_int_equal(tcp_half_timer(&f.ctx, &h, f.now_us, &f.reply), TCP_EV_REPLY);
		assert_true(h.entry.deadline_us - f.now_us <= 60 * S);
	}
	f.now_us = h.entry.deadline_us;
	assert_int_equal(tcp_half_timer(&f.ctx, &h, f.now_us, &f.reply), TCP_EV_CLOSED);
}

static void test_half_given_listener_that_waits_for_data_ignores_bare_acks(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment bare, data;

	(void)state;
	listen_once(&f, &h);
	bare = segment_with_ts(TCP_ACK, IRS + 1, h.iss + 1, TS);
	data = bare;
	data.len = 1;
	assert_false(tcp_half_defers(&f.ctx, &h, &bare, 0, f.now_us)); /* it does not wait */
	assert_false(tcp_half_defers(&f.ctx, &h, &data, 5 * S, f.now_us));
	assert_false(h.flags & TCP_HALF_UNTIMED);
	assert_true(tcp_half_defers(&f.ctx, &h, &bare, 5 * S, f.now_us));
	assert_true(h.flags & TCP_HALF_UNTIMED);
	assert_false(tcp_half_defers(&f.ctx, &h, &bare, 5 * S, f.now_us + 5 * S));
	h.retransmits = (uint8_t)f.cfg.synack_retries; /* the last one is believed */
	assert_false(tcp_half_defers(&f.ctx, &h, &bare, 5 * S, f.now_us));
	assert_int_equal(f.counters.half_deferred, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen_syn_with_all_options_answered_in_kind),
		cmocka_unit_test(test_listen_plain_syn_gets_mss_alone),
		cmocka_unit_test(test_listen_options_switched_off_not_answered),
		cmocka_unit_test(test_listen_first_window_survives_scaling),
		cmocka_unit_test(test_listen_rst_ack_and_rest_per_rfc9293),
		cmocka_unit_test(test_listen_land_not_answered),
		cmocka_unit_test(test_listen_syn_data_not_acknowledged),
		cmocka_unit_test(test_listen_engine_fields_untouched),
		cmocka_unit_test(test_half_acceptable_ack_promotes_and_entry_stays),
		cmocka_unit_test(test_half_ack_of_anything_else_reset),
		cmocka_unit_test(test_half_repeated_syn_repeats_the_synack),
		cmocka_unit_test(test_half_rst_ends_only_at_rcv_nxt),
		cmocka_unit_test(test_half_other_syn_acked_outside_ends_inside),
		cmocka_unit_test(test_half_out_of_window_acked),
		cmocka_unit_test(test_half_old_timestamp_acked_missing_dropped),
		cmocka_unit_test(test_half_no_ack_bit_dropped),
		cmocka_unit_test(test_half_promoted_connection_keeps_the_promises),
		cmocka_unit_test(test_half_provoked_acks_limited),
		cmocka_unit_test(test_half_challenge_limit_blurred_zero_and_max_obeyed),
		cmocka_unit_test(test_half_timer_backs_off_and_gives_up),
		cmocka_unit_test(test_half_timer_many_retries_capped_at_rto_max),
		cmocka_unit_test(test_half_given_listener_that_waits_for_data_ignores_bare_acks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
