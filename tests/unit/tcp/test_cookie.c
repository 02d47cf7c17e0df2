#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/conn.h>
#include <tcp/half.h>
#include <tcp/isn.h>

#include "fixture.h"
#include "rng.h"

enum {
	IRS = 7000,
	TICK_US = 64 * S,
};

/* Without timestamps, so that nothing but the MSS is kept. */
static struct tcp_segment syn_with_mss(uint16_t mss)
{
	struct tcp_segment syn = segment(TCP_SYN | TCP_ECE | TCP_CWR, IRS, 0);

	syn.opt.has_mss = true;
	syn.opt.mss = mss;
	syn.opt.has_wscale = true;
	syn.opt.wscale = 7;
	syn.opt.sack_permitted = true;
	return syn;
}

enum {
	NO_SCALE = 15,
};

static struct tcp_segment syn_with_ts(uint8_t wscale, bool sack, bool ecn)
{
	struct tcp_segment syn = syn_with_mss(1460);

	syn.flags = TCP_SYN | (ecn ? TCP_ECE | TCP_CWR : 0);
	syn.opt.has_ts = true;
	syn.opt.ts_val = 5;
	syn.opt.has_wscale = wscale != NO_SCALE;
	syn.opt.wscale = wscale;
	syn.opt.sack_permitted = sack;
	return syn;
}

/* Sends that SYN and returns the ACK of a peer with timestamps. */
static struct tcp_segment shake_ts(struct fixture *f, const struct tcp_segment *syn)
{
	struct tcp_options o;
	struct tcp_segment ack;

	assert_int_equal(tcp_cookie_reply(&f->ctx, syn, f->now_us, &f->reply), TCP_EV_REPLY);
	o = reply_options(f);
	assert_true(o.has_ts);
	assert_int_equal(o.ts_ecr, 5);
	ack = segment_with_ts(TCP_ACK, IRS + 1, f->reply.seq + 1, 6);
	ack.opt.ts_ecr = o.ts_val;
	return ack;
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

/* What the SYN|ACK agreed to is what the promotion is told: scale, SACK and ECN in all their
 * combinations, at any phase of the clock. */
static void test_cookie_given_timestamps_keeps_scale_sack_and_ecn(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.cfg.ecn = TCP_ECN_PASSIVE;
	for (int i = 0; i < 16 * 4 * 3; i++) {
		uint8_t wscale = (uint8_t)(i % 16);
		bool sack = i & 16, ecn = i & 32;
		struct tcp_segment syn = syn_with_ts(wscale, sack, ecn);
		struct tcp_segment ack;
		struct tcp_options o;
		struct tcp_half h = {0};

		f.now_us += 23 * MS;
		ack = shake_ts(&f, &syn);
		o = reply_options(&f);
		assert_int_equal(o.has_wscale, wscale != NO_SCALE);
		assert_int_equal(o.sack_permitted, sack);
		assert_int_equal(f.reply.flags & TCP_ECE, ecn ? TCP_ECE : 0);
		assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
		assert_int_equal(h.flags,
			TCP_HALF_COOKIE | TCP_HALF_TS | (o.has_wscale ? TCP_HALF_WSCALE : 0) |
				(sack ? TCP_HALF_SACK : 0) | (ecn ? TCP_HALF_ECN : 0));
		assert_int_equal(h.snd_wscale, o.has_wscale ? wscale : 0);
		assert_int_equal(h.rcv_wscale, o.wscale);
		assert_int_equal(h.rcv_wnd, f.reply.wnd);
		assert_int_equal(h.ts_recent, 6);
		assert_int_equal(h.mss, 1460);
	}
	assert_int_equal(f.counters.cookies_kept_options, 16 * 4 * 3);
}

/* The low bits are taken from the past: what the connection says next is not older. */
static void test_cookie_timestamp_never_ahead_and_at_most_63_ms_behind(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	for (int ms = 0; ms < 200; ms++, f.now_us += MS) {
		struct tcp_segment syn = syn_with_ts((uint8_t)(ms % 16), ms & 1, false);
		uint32_t now;

		shake_ts(&f, &syn);
		now = tcp_ts_val(f.now_us, tcp_ts_offset(&f.ctx, &syn.key));
		assert_in_range(now - reply_options(&f).ts_val, 0, 63);
	}
}

/* Rewritten on the way, or made up: the two ends would not agree on what was agreed. */
static void test_cookie_given_altered_echo_refused(void **state)
{
	struct fixture f;
	struct tcp_segment syn = syn_with_ts(7, true, false), good, bad;
	struct tcp_half h = {0};

	(void)state;
	fixture_init(&f);
	good = shake_ts(&f, &syn);
	for (int bit = 0; bit < 6; bit++) {
		bad = good;
		bad.opt.ts_ecr ^= 1u << bit;
		assert_int_equal(input(&f, &h, &bad), 0);
	}
	bad = good;
	bad.opt.has_ts = false;
	assert_int_equal(input(&f, &h, &bad), 0);
	assert_int_equal(f.counters.cookie_invalid, 7);
	assert_int_equal(input(&f, &h, &good), TCP_EV_PROMOTE);
}

static void test_cookie_given_timestamps_off_keeps_the_mss_alone(void **state)
{
	struct fixture f;
	struct tcp_segment syn = syn_with_ts(7, true, false), ack;
	struct tcp_half h = {0};

	(void)state;
	fixture_init(&f);
	f.cfg.timestamps = false;
	assert_int_equal(tcp_cookie_reply(&f.ctx, &syn, f.now_us, &f.reply), TCP_EV_REPLY);
	assert_int_equal(f.reply.opt_len, 4);
	ack = segment_with_ts(TCP_ACK, IRS + 1, f.reply.seq + 1, 6);
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
	assert_int_equal(h.flags, TCP_HALF_COOKIE);
}

/* The key is another one 64 ticks later; a cookie from before the change is good after it. */
static void test_cookie_given_new_key_old_one_still_counts(void **state)
{
	struct fixture f;
	struct tcp_half h = {0};
	struct tcp_segment ack;
	uint64_t change_us;

	(void)state;
	fixture_init(&f);
	change_us = (f.now_us / (64 * (uint64_t)TICK_US) + 1) * 64 * TICK_US;
	f.now_us = change_us - 1;
	ack = shake(&f, 1460);
	f.now_us = change_us + TICK_US;
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
}

/* The echo lies by up to 63 ms, so it times nothing; the connection's clock goes on. */
static void test_cookie_given_promotion_takes_no_sample_of_its_echo(void **state)
{
	struct fixture f;
	struct tcp_segment syn = syn_with_ts(7, true, false), ack;
	struct tcp_half h = {0};
	struct tcp_conn c;

	(void)state;
	fixture_init(&f);
	ack = shake_ts(&f, &syn);
	f.now_us += 20 * MS;
	assert_int_equal(input(&f, &h, &ack), TCP_EV_PROMOTE);
	tcp_promote(&f.ctx, &c, &h, f.now_us);
	assert_true(tcp_input(&f.ctx, &c, &ack, f.now_us) & TCP_EV_ESTABLISHED);
	assert_int_equal(c.srtt_us, 0);
	assert_int_equal(c.rto_us, f.cfg.rto_initial_us);
	assert_int_equal(c.snd_wnd, 29200u << 7);
	assert_true(tcp_seq_geq(tcp_ts_val(f.now_us, c.ts_offset), ack.opt.ts_ecr));
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
		cmocka_unit_test(test_cookie_given_timestamps_keeps_scale_sack_and_ecn),
		cmocka_unit_test(test_cookie_timestamp_never_ahead_and_at_most_63_ms_behind),
		cmocka_unit_test(test_cookie_given_altered_echo_refused),
		cmocka_unit_test(test_cookie_given_timestamps_off_keeps_the_mss_alone),
		cmocka_unit_test(test_cookie_given_new_key_old_one_still_counts),
		cmocka_unit_test(test_cookie_given_promotion_takes_no_sample_of_its_echo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
