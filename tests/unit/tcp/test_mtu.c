/* RFC 4821, RFC 8899: paths that swallow large packets and say nothing. */
#include "single.h"

enum {
	TOP = 1460,
	BASE = 1160, /* 1200 - 40 */
	LEAST = 512, /* 552 - 40 */
	RTT_US = 20000,
	STREAM = 1 << 20,
	WND = 30 << 10, /* what one output may send */
};

static void establish(uint32_t mode, bool sack)
{
	host_init(&h);
	h.cfg.mtu_probing = mode;
	host_establish(&h,
		(struct host_open){.wnd = 65535, .sack = sack, .wscale = true, .rtt_us = RTT_US});
	h.c.snd_wnd = h.c.snd_wnd_max = WND;
}

static int setup(void **state)
{
	(void)state;
	establish(TCP_MTU_BLACK_HOLE, true);
	return 0;
}

static int setup_off(void **state)
{
	(void)state;
	establish(TCP_MTU_OFF, true);
	return 0;
}

static int setup_always(void **state)
{
	(void)state;
	establish(TCP_MTU_ALWAYS, true);
	return 0;
}

static int setup_without_sack(void **state)
{
	(void)state;
	establish(TCP_MTU_BLACK_HOLE, false);
	return 0;
}

/* Fires the timer until it has expired so often: probes of a tail come between. */
static void time_out(uint64_t times)
{
	while (h.counters.rto_timeouts < times) {
		host_fire(&h);
		host_output(&h);
	}
}

/* -- a path that swallows packets of more than `pass` bytes of payload ------------------------- */

static uint64_t got;		 /* in order at the peer */
static struct tcp_reasm at_peer; /* beyond */
static uint32_t largest;	 /* that arrived */

static bool arrive(const struct tcp_out *o, uint32_t pass)
{
	uint64_t start = o->pos, end = o->pos + o->len;
	uint32_t piece = o->len > o->mss_bytes ? o->mss_bytes : o->len;
	struct tcp_reasm_range gap;

	if (o->len == 0 || piece > pass)
		return false;
	if (piece > largest)
		largest = piece;
	start = start > got ? start : got;
	while (start < end && tcp_reasm_gap(&at_peer, start, end, &gap)) {
		if (gap.start_pos > got)
			tcp_reasm_add(&at_peer, gap.start_pos, gap.end_pos);
		else
			got = tcp_reasm_advance(&at_peer, gap.end_pos);
		start = gap.end_pos > got ? gap.end_pos : got;
	}
	tcp_reasm_note(&at_peer, o->pos);
	return true;
}

static void answer(void)
{
	struct tcp_segment s = host_segment(&h, TCP_ACK, 1, 1 + (uint32_t)got, WND >> 7, 0);
	struct tcp_reasm_range range[TCP_SACK_BLOCKS_MAX];
	uint32_t n = tcp_reasm_report(&at_peer, range, TCP_SACK_BLOCKS_MAX);

	for (uint32_t i = 0; i < n; i++) {
		s.opt.sack[i].start = h.c.iss + 1 + (uint32_t)range[i].start_pos;
		s.opt.sack[i].end = h.c.iss + 1 + (uint32_t)range[i].end_pos;
	}
	s.opt.sack_count = tcp_conn_has(&h.c, TCP_F_SACK) ? (uint8_t)n : 0;
	host_deliver(&h, &s);
}

/* The stream moves on, a packet and its answer at a time, until `end` is acknowledged. */
static void run_to(uint64_t end, uint32_t pass)
{
	struct tcp_out out[HOST_OUT_MAX];
	unsigned int n;

	for (int turns = 0; h.c.snd_una_pos < end; turns++) {
		assert_true(turns < 20000);
		n = host_output(&h);
		memcpy(out, h.out, n * sizeof(out[0]));
		h.now_us += RTT_US;
		for (unsigned int i = 0; i < n; i++)
			if (arrive(&out[i], pass))
				answer();
		if (n == 0)
			host_fire(&h);
	}
}

static void begin_stream(void)
{
	got = 0;
	largest = 0;
	tcp_reasm_init(&at_peer);
	host_send(&h, STREAM);
}

/* -- detection: RFC 4821 section 7.7 ----------------------------------------------------------- */

static void test_mtu_given_full_segments_time_out_twice_shrinks_to_base(void **state)
{
	(void)state;
	host_send(&h, 10 * TOP);
	host_output(&h);
	time_out(1);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
	time_out(2);
	assert_int_equal(h.c.snd_mss_bytes, BASE);
	assert_segment(&h, &h.out[0], TCP_ACK, 1, 1, BASE);
	assert_int_equal(h.counters.mtu_black_holes, 1);
}

static void test_mtu_given_base_times_out_too_shrinks_to_least_and_no_further(void **state)
{
	(void)state;
	host_send(&h, 10 * TOP);
	host_output(&h);
	time_out(4);
	assert_int_equal(h.c.snd_mss_bytes, LEAST);
	time_out(8);
	assert_int_equal(h.c.snd_mss_bytes, LEAST);
	assert_int_equal(h.counters.mtu_black_holes, 2);
}

static void test_mtu_given_small_segment_times_out_keeps_size(void **state)
{
	(void)state;
	host_send(&h, 100);
	host_output(&h);
	time_out(6);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
}

static void test_mtu_given_off_keeps_size(void **state)
{
	(void)state;
	host_send(&h, 10 * TOP);
	host_output(&h);
	time_out(6);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
}

static void test_mtu_given_no_memory_keeps_size(void **state)
{
	(void)state;
	h.extra_refuse = true;
	host_send(&h, 10 * TOP);
	host_output(&h);
	time_out(6);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
}

/* -- the search ------------------------------------------------------------------------------- */

/* It finds what passes to within 16 bytes, and no loss of a probe counts as congestion. */
static void test_mtu_given_black_hole_finds_what_passes(void **state)
{
	static const uint32_t passes[] = {1440, 1300, 1161};

	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]); i++) {
		if (i > 0) {
			host_teardown(state);
			setup(state);
		}
		begin_stream();
		run_to(STREAM, passes[i]);
		assert_in_range(h.c.snd_mss_bytes, passes[i] - 16, passes[i]);
		assert_int_equal(largest, h.c.snd_mss_bytes);
		assert_int_equal(h.counters.mtu_black_holes, 1);
		assert_true(h.counters.mtu_probes_lost >= 3);
		assert_int_equal(h.counters.fast_retransmits, 0);
		assert_int_equal(h.counters.rto_timeouts, 2);
	}
}

static void test_mtu_given_outage_is_back_at_once(void **state)
{
	(void)state;
	begin_stream();
	host_output(&h);
	time_out(4);
	assert_int_equal(h.c.snd_mss_bytes, LEAST);
	run_to(STREAM / 4, TOP);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
	assert_int_equal(h.counters.mtu_probes, 1);
	assert_false(tcp_conn_loss(&h.c, TCP_L_MTU | TCP_L_MTU_OUT));
}

static void test_mtu_given_always_begins_small_and_rises(void **state)
{
	(void)state;
	assert_int_equal(h.c.snd_mss_bytes, BASE);
	begin_stream();
	run_to(STREAM / 4, TOP);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
	assert_int_equal(h.counters.mtu_probes, 1);
}

/* Up to the moment when the first probe is out, with three segments behind it. */
static const struct tcp_out *send_probe(void)
{
	begin_stream();
	while (!tcp_conn_loss(&h.c, TCP_L_MTU_OUT)) {
		host_output(&h);
		if (tcp_conn_loss(&h.c, TCP_L_MTU_OUT))
			break;
		h.now_us += RTT_US;
		got = tcp_conn_snd_max(&h.c);
		answer();
	}
	for (unsigned int i = 0; i < h.out_n; i++)
		if (h.out[i].mss_bytes == TOP)
			return &h.out[i];
	return NULL;
}

/* RFC 4821 section 7.5: one packet, whatever the port would cut. */
static void test_mtu_given_probe_is_one_packet_of_ordinary_data(void **state)
{
	const struct tcp_out *probe;

	(void)state;
	h.cfg.tso_max_bytes = 65535;
	probe = send_probe();
	assert_non_null(probe);
	assert_int_equal(probe->len, TOP);
	assert_int_equal(tcp_conn_snd_seq(&h.c, probe->pos), probe->seq);
	assert_true(tcp_conn_snd_max(&h.c) >= probe->pos + TOP + 3 * BASE);
}

/* The window that losses have left is less than one of the new segments: it must hold one. */
static void test_mtu_given_window_of_less_than_a_segment_widens_it(void **state)
{
	(void)state;
	assert_non_null(send_probe());
	h.c.cwnd = h.c.ssthresh = TOP - 1;
	h.now_us += RTT_US;
	got = tcp_conn_snd_max(&h.c);
	answer();
	assert_int_equal(h.c.snd_mss_bytes, TOP);
	assert_true(h.c.cwnd >= TOP);
	assert_true(h.c.ssthresh >= 2 * TOP);
}

/* Section 7.6.2: the probe alone is lost. It is sent again in segments; the window stays. */
static void test_mtu_given_probe_alone_lost_does_not_back_off(void **state)
{
	const struct tcp_out *probe;
	uint32_t cwnd, resent = 0;
	uint64_t at;

	(void)state;
	probe = send_probe();
	at = probe->pos;
	h.now_us += RTT_US;
	cwnd = h.c.cwnd;
	got = at;
	tcp_reasm_add(&at_peer, at + TOP, at + TOP + 3 * BASE);
	answer();
	assert_false(tcp_conn_in_episode(&h.c));
	assert_true(h.c.cwnd >= cwnd);
	assert_int_equal(h.counters.mtu_probes_lost, 1);
	host_output(&h);
	for (unsigned int i = 0; i < h.out_n; i++) {
		assert_true(h.out[i].len <= BASE);
		if (h.out[i].pos >= at && h.out[i].pos < at + TOP)
			resent += h.out[i].len;
	}
	assert_int_equal(resent, TOP);
}

/* Section 7.6.3: with other losses beside, it is congestion, and nothing is known of the size. */
static void test_mtu_given_more_lost_than_probe_backs_off(void **state)
{
	uint32_t cwnd;
	uint64_t at;

	(void)state;
	at = send_probe()->pos;
	h.now_us += RTT_US;
	cwnd = h.c.cwnd;
	got = at;
	tcp_reasm_add(&at_peer, at + TOP + BASE, at + TOP + 4 * BASE);
	answer();
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	assert_true(h.c.ssthresh < cwnd);
	assert_int_equal(h.counters.mtu_probes_lost, 0);
	assert_int_equal(h.extra.mtu_high, TOP);
}

/* RFC 8899 section 5.1.2: a size fails when its probe was lost MAX_PROBES times. */
static void test_mtu_given_size_lost_three_times_tries_smaller(void **state)
{
	(void)state;
	begin_stream();
	run_to(STREAM / 2, 1300);
	assert_true(h.extra.mtu_high < TOP);
	assert_true(h.counters.mtu_probes_lost % 3 == 0 || h.extra.mtu_fails > 0);
}

/* RFC 8899 section 5.1.1: ten minutes later the path may have become wider. */
static void test_mtu_given_ten_minutes_searches_again(void **state)
{
	uint64_t probes;

	(void)state;
	begin_stream();
	run_to(STREAM, 1300);
	probes = h.counters.mtu_probes;
	host_send(&h, STREAM);
	run_to(STREAM + STREAM / 2, TOP);
	assert_int_equal(h.counters.mtu_probes, probes);
	h.now_us += 601 * SEC_US;
	run_to(2 * STREAM, TOP);
	assert_int_equal(h.counters.mtu_probes, probes + 1);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
}

/* Section 7.6.2: a router that does speak ends the search above what it says. */
static void test_mtu_given_icmp_about_probe_bounds_the_search(void **state)
{
	const struct tcp_out *probe;

	(void)state;
	probe = send_probe();
	assert_int_equal(
		tcp_icmp_too_big(&h.ctx, &h.c, probe->seq, 1400, h.now_us) & TCP_EV_OUTPUT, 0);
	assert_int_equal(h.c.snd_mss_bytes, BASE);
	assert_int_equal(h.extra.mtu_high, 1360);
	assert_int_equal(h.counters.icmp_ignored, 0);
	tcp_icmp_too_big(&h.ctx, &h.c, probe->seq, 1500, h.now_us);
	assert_int_equal(h.counters.icmp_ignored, 1);
}

/* Without SACK duplicate ACKs and the timer tell of a lost probe. */
static void test_mtu_given_no_sack_finds_what_passes(void **state)
{
	(void)state;
	begin_stream();
	run_to(STREAM, 1300);
	assert_in_range(h.c.snd_mss_bytes, 1300 - 16, 1300);
	assert_int_equal(largest, h.c.snd_mss_bytes);
	assert_int_equal(h.counters.mtu_black_holes, 1);
	assert_true(h.counters.mtu_probes_lost >= 3);
}

static void test_mtu_given_no_sack_outage_is_back_at_once(void **state)
{
	(void)state;
	begin_stream();
	host_output(&h);
	time_out(2);
	assert_int_equal(h.c.snd_mss_bytes, BASE);
	run_to(STREAM / 4, TOP);
	assert_int_equal(h.c.snd_mss_bytes, TOP);
	assert_int_equal(h.counters.mtu_probes, 1);
}

/* -- messages: nothing follows a probe ----------------------------------------------------------
 */

static void ack_all(void)
{
	h.now_us += RTT_US;
	got = tcp_conn_snd_max(&h.c);
	tcp_reasm_init(&at_peer);
	answer();
}

/* A message, and the outage that makes segments small. */
static void shrink(uint32_t message)
{
	host_send(&h, message);
	host_output(&h);
	time_out(2);
	assert_int_equal(h.c.snd_mss_bytes, BASE);
	host_output(&h);
	ack_all();
	host_output(&h);
	ack_all();
	assert_int_equal(tcp_conn_flight(&h.c), 0);
}

static void check_message_brings_back(void)
{
	shrink(1400);
	host_send(&h, 1000); /* what a segment holds tries nothing */
	host_output(&h);
	assert_int_equal(h.counters.mtu_probes, 0);
	ack_all();
	host_send(&h, 1400);
	assert_int_equal(host_output(&h), 1);
	assert_int_equal(h.out[0].len, 1400);
	assert_int_equal(h.out[0].mss_bytes, 1400);
	assert_int_equal(h.counters.mtu_probes, 1);
	ack_all();
	assert_int_equal(h.c.snd_mss_bytes, 1400);
	host_send(&h, 1460);
	assert_int_equal(host_output(&h), 1);
	ack_all();
	assert_int_equal(h.c.snd_mss_bytes, TOP);
	assert_false(tcp_conn_loss(&h.c, TCP_L_MTU));
}

static void test_mtu_given_messages_after_an_outage_is_back(void **state)
{
	(void)state;
	check_message_brings_back();
}

static void test_mtu_given_messages_without_sack_after_an_outage_is_back(void **state)
{
	(void)state;
	check_message_brings_back();
}

/* The path is a black hole: one message in ten minutes finds out. */
static void check_message_lost_waits(void)
{
	shrink(1400);
	got = h.c.snd_una_pos;
	tcp_reasm_init(&at_peer);
	host_send(&h, 1400);
	run_to(h.c.snd_end_pos, BASE);
	assert_int_equal(h.counters.mtu_probes, 1);
	assert_int_equal(h.counters.mtu_probes_lost, 1);
	assert_int_equal(h.c.snd_mss_bytes, BASE);
	for (int i = 0; i < 10; i++) {
		host_send(&h, 1400);
		run_to(h.c.snd_end_pos, BASE);
	}
	assert_int_equal(h.counters.mtu_probes, 1);
	h.now_us += 601 * SEC_US;
	host_send(&h, 1400);
	run_to(h.c.snd_end_pos, TOP);
	assert_int_equal(h.counters.mtu_probes, 2);
	assert_int_equal(h.c.snd_mss_bytes, 1400);
}

static void test_mtu_given_message_lost_tries_again_in_ten_minutes(void **state)
{
	(void)state;
	check_message_lost_waits();
}

static void test_mtu_given_message_lost_without_sack_tries_again_in_ten_minutes(void **state)
{
	(void)state;
	check_message_lost_waits();
}

/* More is to follow: it would be no message yet. */
static void test_mtu_given_corked_message_tries_nothing(void **state)
{
	(void)state;
	shrink(1400);
	tcp_setopt(&h.ctx, &h.c, TCP_OPT_CORK, 1, h.now_us);
	host_send(&h, 1400);
	host_output(&h);
	assert_int_equal(h.counters.mtu_probes, 0);
	assert_int_equal(h.out[0].len, BASE);
}

/* A message shorter than the segment size, and still too long for the path. */
static void test_mtu_given_message_of_less_than_a_segment_shrinks(void **state)
{
	(void)state;
	host_send(&h, 1400);
	host_output(&h);
	time_out(2);
	assert_int_equal(h.c.snd_mss_bytes, BASE);
	host_output(&h);
	time_out(4);
	assert_int_equal(h.c.snd_mss_bytes, LEAST);
}

#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		S(test_mtu_given_full_segments_time_out_twice_shrinks_to_base, setup),
		S(test_mtu_given_base_times_out_too_shrinks_to_least_and_no_further, setup),
		S(test_mtu_given_small_segment_times_out_keeps_size, setup),
		S(test_mtu_given_off_keeps_size, setup_off),
		S(test_mtu_given_no_memory_keeps_size, setup),
		S(test_mtu_given_black_hole_finds_what_passes, setup),
		S(test_mtu_given_outage_is_back_at_once, setup),
		S(test_mtu_given_always_begins_small_and_rises, setup_always),
		S(test_mtu_given_probe_is_one_packet_of_ordinary_data, setup_always),
		S(test_mtu_given_window_of_less_than_a_segment_widens_it, setup_always),
		S(test_mtu_given_probe_alone_lost_does_not_back_off, setup_always),
		S(test_mtu_given_more_lost_than_probe_backs_off, setup_always),
		S(test_mtu_given_size_lost_three_times_tries_smaller, setup),
		S(test_mtu_given_ten_minutes_searches_again, setup),
		S(test_mtu_given_icmp_about_probe_bounds_the_search, setup_always),
		S(test_mtu_given_no_sack_finds_what_passes, setup_without_sack),
		S(test_mtu_given_no_sack_outage_is_back_at_once, setup_without_sack),
		S(test_mtu_given_messages_after_an_outage_is_back, setup),
		S(test_mtu_given_messages_without_sack_after_an_outage_is_back, setup_without_sack),
		S(test_mtu_given_message_lost_tries_again_in_ten_minutes, setup),
		S(test_mtu_given_message_lost_without_sack_tries_again_in_ten_minutes,
			setup_without_sack),
		S(test_mtu_given_corked_message_tries_nothing, setup),
		S(test_mtu_given_message_of_less_than_a_segment_shrinks, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
