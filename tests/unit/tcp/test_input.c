/* RFC 9293 section 3.10.7.4, step by step, with RFC 5961 and RFC 7323. */
#include "single.h"

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	host_establish(&h, (struct host_open){.wnd = 20000});
	return 0;
}

static int setup_ts(void **state)
{
	(void)state;
	host_init(&h);
	h.ts_val = 1000;
	host_establish(&h, (struct host_open){.wnd = 20000, .ts = true});
	return 0;
}

/* -- first step ------------------------------------------------------------------------------ */

static void test_input_given_segment_outside_window_acks(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1 + 70000, 1, 20000, 10);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 0);
	assert_int_equal(h.counters.out_of_window, 1);
	host_input(&h, TCP_RST, 1 + 70000, 0, 0, 0);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
}

static void test_input_given_old_data_acks_again(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	host_fire(&h);
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 101, 0);
	assert_int_equal(h.counters.data_old, 1);
	assert_int_equal(h.c.rcv_nxt_pos, 100);
}

static void test_input_given_bare_strays_limits_acks(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 10; i++) {
		host_input(&h, TCP_ACK, 0, 1, 20000, 0); /* left of the window */
		assert_int_equal(host_output(&h), i == 0);
	}
	assert_int_equal(h.counters.challenge_acks_limited, 9);
	h.now_us += 600 * MS_US;
	host_input(&h, TCP_ACK, 0, 1, 20000, 0);
	host_output_one(&h);
}

static void test_input_given_probe_of_closed_window_takes_its_ack(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 20000, 65535);
	host_output_one(&h);
	assert_int_equal(h.out[0].wnd, 0);
	host_send(&h, 100);
	host_output_one(&h);
	host_events(&h);
	host_input(&h, TCP_ACK, 65536, 101, 20000, 1);
	assert_int_equal(host_events(&h), TCP_EV_ACKED | TCP_EV_OUTPUT);
	assert_int_equal(h.c.rcv_nxt_pos, 65535);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 101, 65536, 0);
}

/* RFC 5961 section 7: all connections of an engine together. */
static void test_input_given_challenge_budget_spent_stays_silent(void **state)
{
	unsigned int answered = 0;

	(void)state;
	h.cfg.challenge_ack_per_s = 10;
	for (unsigned int i = 0; i < 100; i++) {
		h.c.challenge_ms = 0; /* as if each were another connection */
		host_input(&h, TCP_RST, 2, 0, 0, 0);
		answered += host_output(&h);
	}
	assert_in_range(answered, 5, 20);
	h.now_us += 1100 * MS_US;
	host_input(&h, TCP_RST, 2, 0, 0, 0);
	host_output_one(&h);
}

/* -- timestamps ------------------------------------------------------------------------------ */

static void test_input_given_old_timestamp_drops_and_acks(void **state)
{
	(void)state;
	h.ts_val = 999;
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 0);
	assert_int_equal(h.counters.paws, 1);
	assert_int_equal(host_output(&h), 1);
	h.ts_val = 1000;
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 100);
}

static void test_input_given_old_timestamp_after_24_days_takes_it(void **state)
{
	(void)state;
	h.now_us += 25ull * 24 * 3600 * SEC_US;
	h.ts_val = 5;
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 100);
	assert_int_equal(h.c.ts_recent, 5);
}

static void test_input_given_missing_timestamp_drops(void **state)
{
	struct tcp_segment s = host_segment(&h, TCP_ACK, 1, 1, 20000, 100);

	(void)state;
	s.opt.has_ts = false;
	host_deliver(&h, &s);
	assert_int_equal(h.c.rcv_nxt_pos, 0);
	assert_int_equal(h.counters.ts_missing, 1);
	s = host_segment(&h, TCP_RST, 1, 0, 0, 0);
	host_deliver(&h, &s); /* an RST needs none */
	assert_int_equal(h.c.error, ECONNRESET);
}

/* RFC 7323 section 4.3: the timestamp of a segment beyond a gap is not the one to echo. */
static void test_input_given_gap_echoes_last_in_order(void **state)
{
	(void)state;
	h.ts_val = 1010;
	host_input(&h, TCP_ACK, 101, 1, 20000, 100);
	assert_int_equal(h.c.ts_recent, 1000);
	h.ts_val = 1020;
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	assert_int_equal(h.c.ts_recent, 1020);
}

/* -- second step: RST ------------------------------------------------------------------------- */

static void test_input_given_exact_rst_resets(void **state)
{
	(void)state;
	host_events(&h);
	host_input(&h, TCP_RST, 1, 0, 0, 0);
	assert_int_equal(host_events(&h), TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(h.c.error, ECONNRESET);
	assert_int_equal(h.c.state, TCP_CLOSED);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
	assert_int_equal(host_output(&h), 0);
}

static void test_input_given_inexact_rst_is_challenged(void **state)
{
	(void)state;
	host_input(&h, TCP_RST, 2, 0, 0, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 0);
	assert_int_equal(h.counters.rst_challenged, 1);
}

static void test_input_given_rst_in_last_ack_closes_silently(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK | TCP_FIN, 1, 1, 20000, 0);
	host_shutdown(&h);
	host_output(&h);
	assert_int_equal(h.c.state, TCP_LAST_ACK);
	host_events(&h);
	host_input(&h, TCP_RST, 2, 0, 0, 0);
	assert_int_equal(host_events(&h), TCP_EV_CLOSED);
	assert_int_equal(h.c.error, 0);
}

/* -- fourth step: SYN -------------------------------------------------------------------------- */

static void test_input_given_syn_is_challenged(void **state)
{
	(void)state;
	host_input(&h, TCP_SYN, 50, 0, 20000, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 0);
	assert_int_equal(h.counters.syn_challenged, 1);
}

/* The peer's SYN|ACK again: our ACK was lost. */
static void test_input_given_repeated_synack_acks(void **state)
{
	(void)state;
	host_input(&h, TCP_SYN | TCP_ACK, 0, 1, 20000, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
}

/* -- fifth step: ACK --------------------------------------------------------------------------- */

static void test_input_given_no_ack_drops(void **state)
{
	(void)state;
	host_input(&h, 0, 1, 0, 20000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 0);
	assert_int_equal(h.counters.no_ack, 1);
}

static void test_input_given_ack_of_unsent_acks_and_drops(void **state)
{
	(void)state;
	host_send(&h, 100);
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 102, 20000, 50);
	assert_int_equal(h.c.snd_una_pos, 0);
	assert_int_equal(h.c.rcv_nxt_pos, 0);
	assert_int_equal(h.counters.ack_too_new, 1);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 101, 1, 0);
}

static void test_input_given_ack_beyond_max_window_challenges(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1u - 20001, 20000, 50);
	assert_int_equal(h.c.rcv_nxt_pos, 0);
	assert_int_equal(h.counters.ack_too_old, 1);
	assert_int_equal(host_output(&h), 1);
	host_input(&h, TCP_ACK, 1, 1u - 20000, 20000, 50);
	assert_int_equal(h.c.rcv_nxt_pos, 50);
}

static void test_input_given_older_segment_keeps_window(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	host_input(&h, TCP_ACK, 101, 1, 9000, 0);
	assert_int_equal(h.c.snd_wnd, 9000);
	host_input(&h, TCP_ACK, 51, 1, 7000, 60); /* overlaps; its SEQ is older */
	assert_int_equal(h.c.snd_wnd, 9000);
	assert_int_equal(h.c.rcv_nxt_pos, 110);
}

static void test_input_given_ack_frees_data(void **state)
{
	(void)state;
	host_send(&h, 3000);
	assert_int_equal(host_output(&h), 3);
	host_events(&h);
	host_input(&h, TCP_ACK, 1, 1461, 20000, 0);
	assert_int_equal(host_events(&h), TCP_EV_ACKED);
	assert_int_equal(h.c.snd_una_pos, 1460);
	host_input(&h, TCP_ACK, 1, 3001, 20000, 0);
	assert_int_equal(h.c.snd_una_pos, 3000);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
}

/* -- seventh step: text -------------------------------------------------------------------------
 */

static void test_input_given_two_full_segments_acks_second(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 20000, 1460);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 40 * MS_US);
	host_input(&h, TCP_ACK | TCP_PSH, 1461, 1, 20000, 1460);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 2921, 0);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
}

static void test_input_given_one_segment_acks_after_delay(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK | TCP_PSH, 1, 1, 20000, 10);
	assert_int_equal(host_events(&h), TCP_EV_RECEIVED);
	assert_int_equal(host_output(&h), 0);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 11, 0);
	assert_int_equal(h.counters.delayed_acks, 1);
}

static void test_input_given_young_connection_acks_each(void **state)
{
	(void)state;
	h.c.quick_acks = 16;
	host_input(&h, TCP_ACK, 1, 1, 20000, 10);
	host_output_one(&h);
	h.now_us += 1000;
	host_send(&h, 5); /* an answer: it is a dialogue */
	host_output_one(&h);
	host_input(&h, TCP_ACK, 11, 6, 20000, 10);
	assert_int_equal(host_output(&h), 0);
}

static void test_input_given_gap_keeps_and_delivers_in_order(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 101, 1, 20000, 100);
	host_input(&h, TCP_ACK, 301, 1, 20000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 0);
	assert_int_equal(host_output(&h), 2); /* a duplicate ACK for each */
	assert_segment(&h, &h.out[1], TCP_ACK, 1, 1, 0);
	assert_int_equal(h.out[0].wnd, h.out[1].wnd);
	host_events(&h);
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	assert_int_equal(host_events(&h), TCP_EV_RECEIVED | TCP_EV_OUTPUT);
	assert_int_equal(h.c.rcv_nxt_pos, 200);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 201, 0);
	assert_true(h.reasm_used);
	host_input(&h, TCP_ACK, 201, 1, 20000, 300); /* fills, and goes beyond */
	assert_int_equal(h.c.rcv_nxt_pos, 500);
	assert_false(h.reasm_used);
	assert_memory_equal(h.rx, h.payload, 500);
}

static void test_input_given_overlap_keeps_first_bytes(void **state)
{
	struct tcp_segment s = host_segment(&h, TCP_ACK, 101, 1, 20000, 100);
	static const uint8_t other[400] = {0xee};

	(void)state;
	host_deliver(&h, &s);
	s = host_segment(&h, TCP_ACK, 1, 1, 20000, 400);
	s.payload = other;
	host_deliver(&h, &s);
	assert_int_equal(h.c.rcv_nxt_pos, 400);
	assert_memory_equal(h.rx + 100, h.payload + 100, 100);
	assert_memory_equal(h.rx, other, 100);
	assert_memory_equal(h.rx + 200, other + 200, 200);
	assert_int_equal(h.counters.data_overlap, 1);
}

static void test_input_given_data_past_window_cuts_it(void **state)
{
	(void)state;
	h.rcvbuf_bytes = 0; /* no more room than promised */
	host_input(&h, TCP_ACK | TCP_FIN, 1 + 60000, 1, 20000, 10000);
	host_input(&h, TCP_ACK, 1, 1, 20000, 60000);
	assert_int_equal(h.c.rcv_nxt_pos, 65535);
	assert_int_equal(h.c.state, TCP_ESTABLISHED); /* the FIN was cut off */
	assert_int_equal(h.counters.data_past_window, 1);
}

static void test_input_given_no_memory_acks_what_was_stored(void **state)
{
	(void)state;
	h.store_budget = 30;
	host_input(&h, TCP_ACK | TCP_FIN, 1, 1, 20000, 100);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 31, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	h.store_budget = 0;
	host_input(&h, TCP_ACK, 51, 1, 20000, 100);
	host_output(&h);
	assert_int_equal(h.c.rcv_nxt_pos, 30);
	assert_false(h.reasm_used);
	h.store_budget = 1000;
	h.reasm_refuse = true;
	host_input(&h, TCP_ACK, 51, 1, 20000, 100);
	assert_int_equal(h.counters.reasm_no_memory, 1);
	h.reasm_refuse = false;
	host_input(&h, TCP_ACK | TCP_FIN, 1, 1, 20000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 100);
	assert_int_equal(h.c.state, TCP_CLOSE_WAIT);
}

static void test_input_given_33_gaps_refuses_last(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 33; i++) {
		host_input(&h, TCP_ACK, 11 + 20 * i, 1, 20000, 10);
		host_output(&h);
	}
	assert_int_equal(h.reasm.count, 32);
	assert_int_equal(h.counters.reasm_full, 1);
	host_input(&h, TCP_ACK, 1, 1, 20000, 1000);
	assert_int_equal(h.c.rcv_nxt_pos, 1000);
	assert_memory_equal(h.rx, h.payload, 1000);
	assert_false(h.reasm_used);
}

/* -- eighth step: FIN ----------------------------------------------------------------------------
 */

static void test_input_given_fin_reports_and_acks(void **state)
{
	(void)state;
	host_events(&h);
	host_input(&h, TCP_ACK | TCP_FIN, 1, 1, 20000, 10);
	assert_int_equal(host_events(&h), TCP_EV_RECEIVED | TCP_EV_FIN | TCP_EV_OUTPUT);
	assert_int_equal(h.c.state, TCP_CLOSE_WAIT);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 12, 0);
}

static void test_input_given_fin_beyond_gap_waits(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK | TCP_FIN, 101, 1, 20000, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	host_input(&h, TCP_ACK, 51, 1, 20000, 200); /* data behind the FIN is not believed */
	assert_int_equal(h.counters.data_past_fin, 1);
	host_events(&h);
	host_input(&h, TCP_ACK, 1, 1, 20000, 50);
	assert_int_equal(host_events(&h), TCP_EV_RECEIVED | TCP_EV_FIN | TCP_EV_OUTPUT);
	assert_int_equal(h.c.rcv_nxt_pos, 100);
	assert_int_equal(h.c.state, TCP_CLOSE_WAIT);
	assert_false(h.reasm_used);
}

static void test_input_given_conflicting_fin_ignores_it(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 101, 1, 20000, 100);
	host_input(&h, TCP_ACK | TCP_FIN, 151, 1, 20000, 0);
	assert_int_equal(h.counters.fin_conflict, 1);
	host_input(&h, TCP_ACK, 1, 1, 20000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 200);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
}

static void test_input_given_bare_fin_at_closed_window_takes_it(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 20000, 65535);
	host_output_one(&h);
	host_input(&h, TCP_ACK | TCP_FIN, 65536, 1, 20000, 0);
	assert_int_equal(h.c.state, TCP_CLOSE_WAIT);
}

/* Whatever arrives, no assertion fires, and an end that owes something has a deadline. */
static void test_input_given_noise_survives(void **state)
{
	unsigned int rng = 1;

	(void)state;
	for (unsigned int i = 0; i < 300000; i++) {
		struct tcp_segment s;
		uint32_t near = h.c.irs + 1 + (uint32_t)h.c.rcv_nxt_pos;

		if (h.c.state == TCP_CLOSED || i % 400 == 0) {
			host_teardown(NULL);
			setup(NULL);
			h.refuse_percent = i % 3 * 10;
		}
		s = host_segment(&h, (uint8_t)rand_r(&rng), 1, 1, 0, 0);
		if (rand_r(&rng) % 8)
			s.flags = (uint8_t)((s.flags & ~(TCP_RST | TCP_SYN)) | TCP_ACK);
		s.seq = near + (uint32_t)(rand_r(&rng) % 3000) - 1000;
		s.ack = h.c.iss + (uint32_t)(rand_r(&rng) % 4000) - 100;
		s.wnd = (uint32_t)rand_r(&rng) & 0xffff;
		s.len = (uint32_t)rand_r(&rng) % 1500;
		s.payload = h.payload;
		if (rand_r(&rng) % 4 == 0)
			s.seq = (uint32_t)rand_r(&rng) * 3;
		host_deliver(&h, &s);
		host_output(&h);
		h.consumed_pos = h.c.rcv_nxt_pos;
		if (rand_r(&rng) % 3 == 0 && h.c.state == TCP_ESTABLISHED)
			host_send(&h, (uint64_t)(rand_r(&rng) % 3000));
		if (rand_r(&rng) % 200 == 0)
			host_shutdown(&h);
		host_output(&h);
		if (h.c.state != TCP_CLOSED && tcp_conn_una(&h.c) != tcp_conn_end(&h.c))
			assert_true(h.c.entry.deadline_us != TCP_NEVER);
		if (h.c.state != TCP_CLOSED && rand_r(&rng) % 5 == 0 &&
			h.c.entry.deadline_us != TCP_NEVER)
			host_fire(&h);
	}
}

/* -- the shortcut -------------------------------------------------------------------------------
 */

/* A stream with some noise in it, the same for whoever has the same *rng. */
static struct tcp_segment stream_segment(struct host *at, unsigned int *rng)
{
	uint64_t flight = tcp_conn_snd_max(&at->c) - tcp_conn_una(&at->c);
	struct tcp_segment s = host_segment(at, TCP_ACK, 1, 1, 0, 0);

	s.seq = tcp_conn_rcv_nxt(&at->c);
	s.ack = tcp_conn_una_seq(&at->c) + (uint32_t)((uint64_t)rand_r(rng) % (flight + 1));
	s.wnd = rand_r(rng) % 20 ? 60000 : (uint32_t)rand_r(rng) & 0xffff;
	s.len = rand_r(rng) % 2 ? (uint32_t)rand_r(rng) % 1500 : 0;
	s.payload = at->payload;
	if (rand_r(rng) % 3 == 0)
		s.flags |= TCP_PSH;
	if (rand_r(rng) % 10 == 0)
		s.seq += (uint32_t)(rand_r(rng) % 3000) - 1000;
	if (rand_r(rng) % 40 == 0)
		s.ack += (uint32_t)(rand_r(rng) % 3000) - 1000;
	if (rand_r(rng) % 50 == 0)
		s.opt.ts_val -= 1000;
	if (rand_r(rng) % 50 == 0)
		s.opt.has_ts = !s.opt.has_ts;
	return s;
}

static void assert_same(const struct host *a, const struct host *b)
{
	assert_memory_equal(&a->c, &b->c, sizeof(a->c));
	assert_memory_equal(&a->extra, &b->extra, sizeof(a->extra));
	assert_int_equal(a->events, b->events);
	assert_int_equal(a->out_n, b->out_n);
	assert_memory_equal(a->out, b->out, a->out_n * sizeof(a->out[0]));
}

/* URG keeps a segment from the shortcut and does nothing else but be counted. */
static void compare_ways(struct host_open o, unsigned int seed)
{
	static struct host quick, slow;
	unsigned int rng = seed;

	host_init(&quick);
	host_init(&slow);
	host_establish(&quick, o);
	host_establish(&slow, o);
	for (unsigned int i = 0; i < 500 && quick.c.state != TCP_CLOSED; i++) {
		struct tcp_segment s = stream_segment(&quick, &rng);
		uint32_t more = rand_r(&rng) % 3 ? (uint32_t)rand_r(&rng) % 3000 : 0;
		uint64_t wait_us = (uint64_t)rand_r(&rng) % 3 * 20 * MS_US;
		bool read = rand_r(&rng) % 2;

		for (unsigned int way = 0; way < 2; way++) {
			struct host *at = way ? &slow : &quick;

			s.flags |= way ? TCP_URG : 0;
			host_deliver(at, &s);
			if (read)
				at->consumed_pos = at->c.rcv_nxt_pos;
			if (more && at->c.state == TCP_ESTABLISHED)
				host_send(at, more);
			host_output(at);
			host_wait(at, wait_us);
			host_output(at);
		}
		assert_same(&quick, &slow);
	}
	assert_int_equal(quick.counters.urgent, 0);
	assert_true(slow.counters.urgent > 0);
	slow.counters.urgent = 0;
	assert_memory_equal(&quick.counters, &slow.counters, sizeof(slow.counters));
	host_fini(&quick);
	host_fini(&slow);
}

static void test_input_given_expected_segments_equals_the_long_way(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 300; seed++)
		compare_ways(
			(struct host_open){.wnd = 60000, .sack = seed & 1, .ts = seed & 2}, seed);
}

#define T(name)	   cmocka_unit_test_setup_teardown(name, setup, host_teardown)
#define T_TS(name) cmocka_unit_test_setup_teardown(name, setup_ts, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_input_given_segment_outside_window_acks),
		T(test_input_given_old_data_acks_again),
		T(test_input_given_bare_strays_limits_acks),
		T(test_input_given_challenge_budget_spent_stays_silent),
		T(test_input_given_probe_of_closed_window_takes_its_ack),
		T_TS(test_input_given_old_timestamp_drops_and_acks),
		T_TS(test_input_given_old_timestamp_after_24_days_takes_it),
		T_TS(test_input_given_missing_timestamp_drops),
		T_TS(test_input_given_gap_echoes_last_in_order),
		T(test_input_given_exact_rst_resets),
		T(test_input_given_inexact_rst_is_challenged),
		T(test_input_given_rst_in_last_ack_closes_silently),
		T(test_input_given_syn_is_challenged),
		T(test_input_given_repeated_synack_acks),
		T(test_input_given_no_ack_drops),
		T(test_input_given_ack_of_unsent_acks_and_drops),
		T(test_input_given_ack_beyond_max_window_challenges),
		T(test_input_given_older_segment_keeps_window),
		T(test_input_given_ack_frees_data),
		T(test_input_given_two_full_segments_acks_second),
		T(test_input_given_one_segment_acks_after_delay),
		T(test_input_given_young_connection_acks_each),
		T(test_input_given_gap_keeps_and_delivers_in_order),
		T(test_input_given_overlap_keeps_first_bytes),
		T(test_input_given_data_past_window_cuts_it),
		T(test_input_given_no_memory_acks_what_was_stored),
		T(test_input_given_33_gaps_refuses_last),
		T(test_input_given_fin_reports_and_acks),
		T(test_input_given_fin_beyond_gap_waits),
		T(test_input_given_conflicting_fin_ignores_it),
		T(test_input_given_bare_fin_at_closed_window_takes_it),
		T(test_input_given_noise_survives),
		T(test_input_given_expected_segments_equals_the_long_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
