#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/half.h>

#include "fixture.h"
#include "rng.h"

enum {
	IRS = 7000,
	TICK_US = 64 * S,
};

static struct tcp_segment syn_with_mss(uint16_t mss)
{
	struct tcp_segment syn = segment_with_ts(TCP_SYN, IRS, 0, 1);

	syn.opt.has_mss = true;
	syn.opt.mss = mss;
	syn.opt.has_wscale = true;
	syn.opt.wscale = 7;
	syn.opt.sack_permitted = true;
	return syn;
}

/* Sends a SYN and returns the ACK that a peer would send. */
static struct tcp_segment shake(struct fixture *f, uint16_t mss)
{
	struct tcp_segment syn = syn_with_mss(mss);

	assert_int_equal(tcp_cookie_reply(&f->ctx, &syn, f->now_us, &f->reply), TCP_EV_REPLY);
	return segment(TCP_ACK, IRS + 1, f->reply.seq + 1);
}

static uint32_t input(struct fixture *f, struct tcp_half *h, const struct tcp_segment *ack)
{
	return tcp_cookie_input(&f->ctx, h, ack, f->now_us);
}

/* What the SYN|ACK said is what the promotion will be told. */
static void test_cookie_ack_promotes_with_what_was_promised(void **state)
{
	struct fixture f;
	struct tcp_half h;
	struct tcp_segment ack;
	struct tcp_options o;

	(void)state;
	fixture_init(&f);
	memset(&h, 0xee, sizeof(h));
	ack = shake(&f, 1460);
	o = reply_options(&f);
	assert_int_equal(f.reply.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(f.reply.ack, IRS + 1);
	assert_true(o.has_mss);
	assert_int_equal(o.mss, 1460);
	assert_false(o.has_ts || o.has_wscale || o.sack_permitted);

	ack.len = 10; /* the bare ACK may have been lost */
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
	assert_int_equal(h.iss, f.reply.seq);
	assert_int_equal(h.irs, IRS);
	assert_int_equal(h.rcv_wnd, f.reply.wnd);
	assert_int_equal(h.mss, 1460);
	assert_int_equal(h.flags, TCP_HALF_COOKIE);
	assert_int_equal(h.snd_wscale + h.rcv_wscale, 0);
	assert_true(net_tuple_equal(&h.entry.key, &ack.key));
	assert_true(h.entry.deadline_us == f.now_us + f.cfg.rto_initial_us);
	assert_int_equal(h.listener_idx, 0xeeeeeeee);
	assert_int_equal(f.counters.cookies_sent, 1);
	assert_int_equal(f.counters.cookies_accepted, 1);
}

static void test_cookie_mss_rounded_down_never_up(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	for (uint32_t mss = 0; mss <= UINT16_MAX; mss += mss < 2000 ? 1 : 977) {
		struct tcp_half h = {0};
		struct tcp_segment ack = shake(&f, (uint16_t)mss);

		assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
		assert_true(h.mss <= mss || h.mss == f.cfg.mss_min_bytes);
		assert_true(h.mss <= f.cfg.mss_max_bytes);
		assert_true(mss < 1460 || h.mss == 1460);
	}
}

static void test_cookie_accepted_for_two_ticks_then_expired(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment ack;
	uint64_t sent_us;

	(void)state;
	fixture_init(&f);
	sent_us = f.now_us = f.now_us / TICK_US * TICK_US;
	ack = shake(&f, 1460);
	f.now_us = sent_us + 3 * TICK_US - 1;
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
	f.now_us = sent_us + 3 * TICK_US;
	assert_int_equal(input(&f, &h, &ack), 0);
	assert_int_equal(f.counters.cookie_expired, 1);
	/* The five bits come round, the counter in the MAC does not. */
	f.now_us = sent_us + 32 * (uint64_t)TICK_US;
	assert_int_equal(input(&f, &h, &ack), 0);
	assert_int_equal(f.counters.cookie_invalid, 1);
}

static void test_cookie_other_tuple_seq_key_or_bit_refused(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment good;
	struct tcp_segment bad;

	(void)state;
	fixture_init(&f);
	good = shake(&f, 1460);
	bad = good;
	bad.key.rport++;
	assert_int_equal(input(&f, &h, &bad), 0);
	bad = good;
	bad.seq++;
	assert_int_equal(input(&f, &h, &bad), 0);
	for (int bit = 0; bit < 32; bit++) {
		bad = good;
		bad.ack = ((good.ack - 1) ^ UINT32_C(1) << bit) + 1;
		assert_int_equal(input(&f, &h, &bad), 0);
	}
	f.ctx.cookie_key[3] ^= 1;
	assert_int_equal(input(&f, &h, &good), 0);
	assert_int_equal(f.counters.cookie_invalid, 35);
	assert_int_equal(f.counters.cookies_accepted, 0);
}

static void test_cookie_input_only_an_ack_counts(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment seg;

	(void)state;
	fixture_init(&f);
	seg = shake(&f, 1460);
	seg.flags = TCP_ACK | TCP_RST;
	assert_int_equal(input(&f, &h, &seg), 0);
	seg.flags = TCP_ACK | TCP_SYN;
	assert_int_equal(input(&f, &h, &seg), 0);
	seg.flags = TCP_FIN;
	assert_int_equal(input(&f, &h, &seg), 0);
	seg.flags = TCP_ACK | TCP_FIN;
	assert_int_equal(input(&f, &h, &seg), TCP_EV_PROMOTE);
}

static void test_cookie_land_not_answered(void **state)
{
	struct fixture f;
	struct tcp_segment syn = syn_with_mss(1460);

	(void)state;
	fixture_init(&f);
	syn.key.remote = syn.key.local;
	syn.key.rport = syn.key.lport;
	assert_int_equal(tcp_cookie_reply(&f.ctx, &syn, f.now_us, &f.reply), 0);
	assert_int_equal(f.counters.seg_land, 1);
}

/* 2^-27.4 a guess: a million of them should not hit. */
static void test_cookie_guesses_refused(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment ack = segment(TCP_ACK, IRS + 1, 0);
	struct rng r = {7};

	(void)state;
	fixture_init(&f);
	for (int i = 0; i < 1000000; i++) {
		ack.ack = (uint32_t)rng_next(&r);
		assert_int_equal(input(&f, &h, &ack), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cookie_ack_promotes_with_what_was_promised),
		cmocka_unit_test(test_cookie_mss_rounded_down_never_up),
		cmocka_unit_test(test_cookie_accepted_for_two_ticks_then_expired),
		cmocka_unit_test(test_cookie_other_tuple_seq_key_or_bit_refused),
		cmocka_unit_test(test_cookie_input_only_an_ack_counts),
		cmocka_unit_test(test_cookie_land_not_answered),
		cmocka_unit_test(test_cookie_guesses_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
