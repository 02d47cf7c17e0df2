#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/conn.h>
#include <tcp/isn.h>
#include <tcp/timewait.h>

#include "fixture.h"

enum {
	TS = 500000,
	SENT = 1000,
	RECEIVED = 2000,
	TS_OFFSET = 77,
};

/* The TIME-WAIT of a connection that sent and received some bytes and both FINs. Our numbers
 * start where the clock stands, or `iss_lead` ahead of it. */
static void wait_after(struct fixture *f, struct tcp_tw *tw, bool ts, uint32_t iss_lead)
{
	struct net_tuple key = fixture_tuple();
	struct tcp_conn c;

	fixture_init(f);
	memset(&c, 0, sizeof(c));
	c.entry.key = key;
	c.iss = tcp_isn(&f->ctx, &key, f->now_us) + iss_lead;
	c.irs = 0xfffffc00;
	c.snd_una_pos = c.snd_end_pos = SENT;
	c.rcv_nxt_pos = RECEIVED;
	c.rcv_edge_low = RECEIVED + 64000;
	c.rcv_wscale = 7;
	c.flags = TCP_F_SHUT | TCP_F_FIN_ACKED | TCP_F_FIN_RCVD | (ts ? TCP_F_TS : 0);
	c.ts_recent = TS;
	c.ts_offset = TS_OFFSET;
	memset(tw, 0xee, sizeof(*tw));
	tcp_tw_init(&f->ctx, tw, &c, f->now_us);
	f->now_us += 1 * S;
}

static uint32_t input(struct fixture *f, struct tcp_tw *tw, const struct tcp_segment *seg)
{
	memset(&f->reply, 0xdd, sizeof(f->reply));
	return tcp_tw_input(&f->ctx, tw, seg, f->now_us, &f->reply);
}

static void expect_ack(const struct fixture *f, const struct tcp_tw *tw)
{
	assert_int_equal(f->reply.flags, TCP_ACK);
	assert_int_equal(f->reply.seq, tw->snd_nxt);
	assert_int_equal(f->reply.ack, tw->rcv_nxt);
	assert_int_equal(f->reply.wnd, 64000 >> 7);
	assert_int_equal(f->reply.len, 0);
	assert_true(reply_options(f).has_ts == !!(tw->flags & TCP_TW_TS));
}

static void test_tw_init_numbers_follow_both_fins(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct net_tuple key = fixture_tuple();

	(void)state;
	wait_after(&f, &tw, true, 0);
	assert_int_equal(tw.snd_nxt, tcp_isn(&f.ctx, &key, f.now_us - 1 * S) + 1 + SENT + 1);
	assert_int_equal(tw.rcv_nxt, 0xfffffc00 + 1u + RECEIVED + 1);
	assert_true(tw.entry.deadline_us == f.now_us - 1 * S + 60 * S);
	assert_true(tw.entry.slot == TCP_SLOT_NONE);
	assert_int_equal(tw.gen, 0xeeeeeeee);
}

/* The entry says what the connection would have said, unless that is more than an ACK. */
static void test_tw_ack_owed_sent_by_the_entry(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_conn c = {.owe = TCP_OWE_ACK};

	(void)state;
	wait_after(&f, &tw, true, 0);
	assert_int_equal(tcp_tw_ack(&f.ctx, &tw, f.now_us, &f.reply), TCP_EV_REPLY);
	expect_ack(&f, &tw);
	assert_int_equal(f.counters.segs_out, 1);
	assert_true(tcp_tw_can_ack(&c));
	c.dup_acks_owed = 1;
	assert_false(tcp_tw_can_ack(&c));
	c = (struct tcp_conn){.owe = TCP_OWE_ACK, .flags = TCP_F_ECN_ECHO};
	assert_false(tcp_tw_can_ack(&c));
	c = (struct tcp_conn){.owe = TCP_OWE_ACK | TCP_OWE_STRAY_RST};
	assert_false(tcp_tw_can_ack(&c));
}

/* The test that breaks without RFC 1337: a reset must not end the wait. */
static void test_tw_rst_ignored(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_tw before;
	struct tcp_segment rst;

	(void)state;
	wait_after(&f, &tw, true, 0);
	before = tw;
	rst = segment(TCP_RST, tw.rcv_nxt, 0);
	assert_int_equal(input(&f, &tw, &rst), 0);
	assert_memory_equal(&tw, &before, sizeof(tw));
	assert_int_equal(f.counters.tw_rst, 1);
}

static void test_tw_repeated_fin_acked_and_wait_restarted(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_segment fin;

	(void)state;
	wait_after(&f, &tw, true, 0);
	fin = segment_with_ts(TCP_FIN | TCP_ACK, tw.rcv_nxt - 1, tw.snd_nxt, TS + 9);
	assert_int_equal(input(&f, &tw, &fin), TCP_EV_REPLY);
	expect_ack(&f, &tw);
	assert_int_equal(reply_options(&f).ts_ecr, TS + 9);
	assert_int_equal(reply_options(&f).ts_val, tcp_ts_val(f.now_us, TS_OFFSET));
	assert_true(tw.entry.deadline_us == f.now_us + 60 * S);
	/* With data before it, and however often: it is not a challenge ACK. */
	f.cfg.challenge_ack_per_s = 0;
	fin.seq = tw.rcv_nxt - 101;
	fin.len = 100;
	assert_int_equal(input(&f, &tw, &fin), TCP_EV_REPLY);
}

static void test_tw_other_fin_does_not_restart(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_segment fin;
	uint64_t deadline_us;

	(void)state;
	wait_after(&f, &tw, false, 0);
	deadline_us = tw.entry.deadline_us;
	fin = segment(TCP_FIN | TCP_ACK, tw.rcv_nxt, tw.snd_nxt);
	assert_int_equal(input(&f, &tw, &fin), 0);
	fin = segment(TCP_FIN | TCP_ACK, tw.rcv_nxt - 1, tw.snd_nxt + 1);
	assert_int_equal(input(&f, &tw, &fin), TCP_EV_REPLY);
	assert_true(tw.entry.deadline_us == deadline_us);
}

static void test_tw_old_data_acked_within_the_limit(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_segment seg;
	uint32_t last = TCP_EV_REPLY;

	(void)state;
	wait_after(&f, &tw, false, 0);
	f.cfg.challenge_ack_per_s = 10;
	seg = segment(TCP_ACK, tw.rcv_nxt - 500, tw.snd_nxt);
	seg.len = 10;
	for (int i = 0; i < 5; i++) { /* at least half of it is granted, at most 1.5 */
		assert_int_equal(input(&f, &tw, &seg), TCP_EV_REPLY);
		expect_ack(&f, &tw);
	}
	for (int i = 0; i < 11; i++)
		last = input(&f, &tw, &seg);
	assert_int_equal(last, 0);
}

static void test_tw_bare_ack_in_window_silent(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_segment ack;

	(void)state;
	wait_after(&f, &tw, false, 0);
	ack = segment(TCP_ACK, tw.rcv_nxt, tw.snd_nxt);
	assert_int_equal(input(&f, &tw, &ack), 0);
	ack.flags = TCP_PSH | TCP_FIN;
	assert_int_equal(input(&f, &tw, &ack), 0);
	assert_int_equal(f.counters.no_ack, 1);
}

static void test_tw_old_timestamp_acked_not_taken(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_segment fin;
	uint64_t deadline_us;

	(void)state;
	wait_after(&f, &tw, true, 0);
	deadline_us = tw.entry.deadline_us;
	fin = segment_with_ts(TCP_FIN | TCP_ACK, tw.rcv_nxt - 1, tw.snd_nxt, TS - 1);
	assert_int_equal(input(&f, &tw, &fin), TCP_EV_REPLY);
	expect_ack(&f, &tw);
	assert_int_equal(tw.ts_recent, TS);
	assert_true(tw.entry.deadline_us == deadline_us);
	assert_int_equal(f.counters.tw_paws, 1);
}

static void test_tw_synack_challenged(void **state)
{
	struct fixture f;
	struct tcp_tw tw;
	struct tcp_segment seg;

	(void)state;
	wait_after(&f, &tw, false, 0);
	seg = segment(TCP_SYN | TCP_ACK, tw.rcv_nxt + 10, tw.snd_nxt);
	assert_int_equal(input(&f, &tw, &seg), TCP_EV_REPLY);
	expect_ack(&f, &tw);
	assert_int_equal(f.counters.syn_challenged, 1);
}

/* RFC 6191 section 2, every branch. `seq` is relative to the last number seen; `lead` is how
 * far our old numbers ran ahead of the clock. */
static void test_tw_syn_honoured_as_rfc6191_says(void **state)
{
	static const struct {
		bool ts_before;
		bool ts_after;
		int32_t ts;
		int32_t seq;
		uint32_t lead;
		bool honoured;
	} cases[] = {
		{true, true, 1, -5, 0, true},
		{true, true, 1, -5, 1u << 30, true},
		{true, true, 0, 1, 0, true},
		{true, true, 0, 0, 0, false},
		{true, true, -1, 5, 0, false},
		{true, false, 0, 1, 0, true},
		{true, false, 0, 0, 0, false},
		{true, false, 0, 1, 1u << 30, false},
		{false, true, -9, -9, 1u << 30, true},
		{false, false, 0, 1, 0, true},
		{false, false, 0, -1, 0, false},
		{false, false, 0, 1, 1u << 30, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f;
		struct tcp_tw tw;
		struct tcp_tw before;
		struct tcp_segment syn;
		uint32_t events;

		wait_after(&f, &tw, cases[i].ts_before, cases[i].lead);
		before = tw;
		syn = segment_with_ts(TCP_SYN, tw.rcv_nxt + (uint32_t)cases[i].seq, 0,
			TS + (uint32_t)cases[i].ts);
		syn.opt.has_ts = cases[i].ts_after;
		events = input(&f, &tw, &syn);
		assert_int_equal(events, cases[i].honoured ? TCP_EV_NEW_SYN : 0);
		assert_int_equal(f.counters.tw_reused, cases[i].honoured);
		assert_memory_equal(&tw, &before, sizeof(tw));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tw_init_numbers_follow_both_fins),
		cmocka_unit_test(test_tw_ack_owed_sent_by_the_entry),
		cmocka_unit_test(test_tw_rst_ignored),
		cmocka_unit_test(test_tw_repeated_fin_acked_and_wait_restarted),
		cmocka_unit_test(test_tw_other_fin_does_not_restart),
		cmocka_unit_test(test_tw_old_data_acked_within_the_limit),
		cmocka_unit_test(test_tw_bare_ack_in_window_silent),
		cmocka_unit_test(test_tw_old_timestamp_acked_not_taken),
		cmocka_unit_test(test_tw_synack_challenged),
		cmocka_unit_test(test_tw_syn_honoured_as_rfc6191_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
