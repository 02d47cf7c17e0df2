/* TCP fast open: RFC 7413. */
#include "single.h"

#include <tcp/fastopen.h>

static struct tcp_fastopen_cache cache;

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	memset(&cache, 0, sizeof(cache));
	h.cfg.fastopen = TCP_FASTOPEN_CLIENT | TCP_FASTOPEN_SERVER;
	h.ctx.fastopen = &cache;
	memcpy(h.ctx.fastopen_key, "fast open key fa", 16);
	return 0;
}

/* -- server --------------------------------------------------------------------------------- */

static struct tcp_segment syn_with_cookie(uint32_t len)
{
	struct tcp_segment syn = {
		.key = host_key(),
		.seq = PEER_ISS,
		.wnd = 20000,
		.flags = TCP_SYN,
		.len = len,
		.payload = h.payload,
		.opt = {.has_mss = true,
			.mss = 1460,
			.has_fastopen = true,
			.fastopen_len = TCP_FASTOPEN_COOKIE_BYTES},
	};

	tcp_fastopen_make(&h.ctx, &syn.key, h.now_us, syn.opt.fastopen);
	return syn;
}

static void accept_syn(const struct tcp_segment *syn)
{
	assert_true(tcp_fastopen_valid(&h.ctx, syn, h.now_us));
	memset(&h.c, 0xa5, sizeof(h.c));
	tcp_fastopen_accept(&h.ctx, &h.c, syn, h.now_us);
	host_note(&h, tcp_fastopen_text(&h.ctx, &h.c, syn, h.now_us));
}

static void test_fastopen_cookie_of_other_address_length_or_bit_refused(void **state)
{
	struct tcp_segment good = syn_with_cookie(10), bad = good;

	(void)state;
	assert_true(tcp_fastopen_valid(&h.ctx, &good, h.now_us));
	bad.key.rport++; /* of the address alone */
	assert_true(tcp_fastopen_valid(&h.ctx, &bad, h.now_us));
	bad.key.remote.b[15] ^= 1;
	assert_false(tcp_fastopen_valid(&h.ctx, &bad, h.now_us));
	for (int bit = 0; bit < 64; bit++) {
		bad = good;
		bad.opt.fastopen[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(tcp_fastopen_valid(&h.ctx, &bad, h.now_us));
	}
	for (uint8_t len = 0; len <= TCP_FASTOPEN_COOKIE_MAX; len++) {
		bad = good;
		bad.opt.fastopen_len = len;
		assert_int_equal(tcp_fastopen_valid(&h.ctx, &bad, h.now_us),
			len == TCP_FASTOPEN_COOKIE_BYTES);
	}
}

/* Section 4.1.2: the key changes; a cookie outlives one change and no second one. */
static void test_fastopen_cookie_outlives_one_change_of_key(void **state)
{
	struct tcp_segment syn = syn_with_cookie(10);
	uint64_t key_us = UINT64_C(1) << TCP_FASTOPEN_KEY_US_LOG2;

	(void)state;
	assert_true(tcp_fastopen_valid(&h.ctx, &syn, h.now_us + key_us));
	assert_false(tcp_fastopen_valid(&h.ctx, &syn, h.now_us + 2 * key_us));
}

/* Section 4.2.2: SYN and data acknowledged together, a reply before the handshake has ended. */
static void test_fastopen_syn_data_delivered_and_answered_at_once(void **state)
{
	struct tcp_segment syn = syn_with_cookie(500);
	struct tcp_options opt;

	(void)state;
	accept_syn(&syn);
	assert_true(host_events(&h) & TCP_EV_RECEIVED);
	assert_int_equal(h.c.state, TCP_SYN_RECEIVED);
	assert_int_equal(h.c.rcv_nxt_pos, 500);
	assert_memory_equal(h.rx, h.payload, 500);
	assert_segment(&h, host_output_one(&h), TCP_SYN | TCP_ACK, 0, 501, 0);
	opt = host_options(&h.out[0]);
	assert_int_equal(opt.fastopen_len, TCP_FASTOPEN_COOKIE_BYTES);
	host_send(&h, 3000);
	assert_int_equal(host_output(&h), 3);
	assert_segment(&h, &h.out[0], TCP_ACK, 1, 501, 1460);
	assert_segment(&h, &h.out[2], TCP_ACK | TCP_PSH, 2921, 501, 80);
	host_input(&h, TCP_ACK, 501, 3001, 20000, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_int_equal(h.c.snd_una_pos, 3000);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
	assert_int_equal(h.counters.fastopen_accepted, 1);
}

/* Section 4.2.2: the initial window of RFC 6928 bounds what goes before the handshake has ended. */
static void test_fastopen_early_answer_bounded_by_initial_window(void **state)
{
	struct tcp_segment syn = syn_with_cookie(1);

	(void)state;
	syn.wnd = 65535;
	accept_syn(&syn);
	host_output(&h);
	host_send(&h, 60000);
	assert_int_equal(host_output(&h), 10);
}

/* The SYN|ACK again, with neither data nor option; the answer when the handshake has ended. */
static void test_fastopen_synack_repeated_plain_and_answer_waits(void **state)
{
	struct tcp_segment syn = syn_with_cookie(500);

	(void)state;
	accept_syn(&syn);
	host_send(&h, 100);
	assert_int_equal(host_output(&h), 2);
	host_fire(&h);
	assert_segment(&h, host_output_one(&h), TCP_SYN | TCP_ACK, 0, 501, 0);
	assert_false(host_options(&h.out[0]).has_fastopen);
	host_input(&h, TCP_ACK, 501, 1, 20000, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 501, 100);
}

/* What segments say of the window, scaled, the SYN|ACK can say again. */
static void test_fastopen_synack_repeated_takes_no_window_back(void **state)
{
	struct tcp_segment syn = syn_with_cookie(17);
	uint32_t synack, data, again;

	(void)state;
	syn.opt.has_wscale = true;
	syn.opt.wscale = 7;
	accept_syn(&syn);
	h.rcvbuf_bytes = 100000; /* more than a SYN|ACK can say */
	assert_int_equal(host_output(&h), 1);
	synack = h.out[0].ack + h.out[0].wnd;
	host_send(&h, 100);
	assert_int_equal(host_output(&h), 1);
	data = h.out[0].ack + ((uint32_t)h.out[0].wnd << h.c.rcv_wscale);
	host_fire(&h);
	assert_int_equal(host_output(&h), 1);
	assert_int_equal(h.out[0].flags, TCP_SYN | TCP_ACK);
	again = h.out[0].ack + h.out[0].wnd;
	assert_true(h.c.rcv_wscale > 0);
	assert_true(data >= synack);
	assert_true(again >= data);
}

/* FIN and all in the first flight. */
static void test_fastopen_answer_and_fin_before_the_handshake_ends(void **state)
{
	struct tcp_segment syn = syn_with_cookie(500);

	(void)state;
	accept_syn(&syn);
	host_send(&h, 100);
	host_shutdown(&h);
	assert_int_equal(host_output(&h), 2);
	assert_segment(&h, &h.out[1], TCP_ACK | TCP_PSH | TCP_FIN, 1, 501, 100);
	host_input(&h, TCP_ACK | TCP_FIN, 501, 102, 20000, 0);
	assert_int_equal(h.c.state, TCP_TIME_WAIT);
}

static void test_fastopen_repeated_plain_syn_gets_the_synack_again(void **state)
{
	struct tcp_segment syn = syn_with_cookie(500);

	(void)state;
	accept_syn(&syn);
	host_send(&h, 100);
	assert_int_equal(host_output(&h), 2);
	h.now_us += SEC_US / 2;
	host_input(&h, TCP_SYN, 0, 0, 20000, 0);
	assert_segment(&h, host_output_one(&h), TCP_SYN | TCP_ACK, 0, 501, 0);
	assert_int_equal(h.c.rcv_nxt_pos, 500);
	host_input(&h, TCP_ACK, 501, 1, 20000, 0); /* it has not seen the answer either */
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 501, 100);
	assert_int_equal(h.c.srtt_us, 0); /* Karn */
}

static void test_fastopen_handshake_never_ended_times_out(void **state)
{
	struct tcp_segment syn = syn_with_cookie(500);

	(void)state;
	h.cfg.synack_retries = 2;
	accept_syn(&syn);
	for (int i = 0; i < 3; i++) {
		host_output(&h);
		host_fire(&h);
	}
	assert_int_equal(h.c.state, TCP_CLOSED);
	assert_int_equal(h.c.error, ETIMEDOUT);
}

/* -- client --------------------------------------------------------------------------------- */

static void connect_fast(void)
{
	struct net_tuple key = host_key();

	memset(&h.c, 0xa5, sizeof(h.c));
	tcp_connect(&h.ctx, &h.c, &key, h.now_us);
	host_note(&h, tcp_fastopen_connect(&h.ctx, &h.c, h.now_us));
}

static void synack(uint32_t ack, uint8_t cookie_len)
{
	struct tcp_segment s = host_segment(&h, TCP_SYN | TCP_ACK, 0, ack, 20000, 0);

	s.opt.has_mss = true;
	s.opt.mss = 1000;
	s.opt.has_fastopen = cookie_len > 0;
	s.opt.fastopen_len = cookie_len;
	memset(s.opt.fastopen, 0xc0, cookie_len);
	host_deliver(&h, &s);
}

static void get_cookie(void)
{
	connect_fast();
	host_output(&h);
	synack(1, 8);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	host_output(&h);
	host_events(&h);
}

/* Section 4.1.1: no cookie, so a request for one, at once. */
static void test_fastopen_connect_without_cookie_asks_for_one(void **state)
{
	struct tcp_options opt;

	(void)state;
	connect_fast();
	host_send(&h, 100);
	opt = host_options(host_output_one(&h));
	assert_true(opt.has_fastopen);
	assert_int_equal(opt.fastopen_len, 0);
	assert_int_equal(h.out[0].len, 0);
	synack(1, 16);
	assert_int_equal(h.counters.fastopen_cookies_learned, 1);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 1, 100);
}

/* Section 4.2.1: cookie and data, no more than the MSS that was learned. */
static void test_fastopen_connect_with_cookie_sends_data_in_the_syn(void **state)
{
	struct tcp_options opt;

	(void)state;
	get_cookie();
	connect_fast();
	assert_int_equal(host_output(&h), 0); /* it waits for data */
	host_send(&h, 5000);
	opt = host_options(host_output_one(&h));
	assert_int_equal(h.out[0].flags, TCP_SYN);
	assert_int_equal(opt.fastopen_len, 8);
	assert_int_equal(h.out[0].len, 1000 - h.out[0].opt_len);
	synack(1 + h.out[0].len, 0);
	assert_true(host_events(&h) & TCP_EV_ACKED);
	assert_int_equal(h.counters.fastopen_data_taken, 1);
	assert_true(tcp_conn_loss(&h.c, TCP_L_SYN_DATA));
	assert_int_equal(h.c.loss >> TCP_L_FASTOPEN_FAIL_SHIFT, 0);
	host_output(&h);
	assert_segment(&h, &h.out[0], TCP_ACK, 1000 - 32 + 1, 1, 1000);
}

static void test_fastopen_connect_without_data_opens_after_a_moment(void **state)
{
	(void)state;
	get_cookie();
	connect_fast();
	assert_int_equal(h.c.entry.deadline_us, h.now_us + TCP_FASTOPEN_HOLD_US);
	host_fire(&h);
	assert_int_equal(host_output_one(&h)->flags, TCP_SYN);
	assert_int_equal(h.c.retries, 0);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 1 * SEC_US);
}

/* Section 4.2.3: what the SYN|ACK does not acknowledge goes again. */
static void test_fastopen_data_refused_goes_again(void **state)
{
	(void)state;
	get_cookie();
	connect_fast();
	host_send(&h, 100);
	host_output_one(&h);
	synack(1, 0);
	assert_int_equal(h.c.snd_una_pos, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 1, 100);
	assert_int_equal(h.counters.fastopen_data_refused, 1);
	assert_int_equal(h.c.loss >> TCP_L_FASTOPEN_FAIL_SHIFT, 2); /* TFO_DATA_NOT_ACKED */
	assert_false(tcp_conn_loss(&h.c, TCP_L_SYN_DATA));
	host_input(&h, TCP_ACK, 1, 101, 20000, 0);
	assert_int_equal(h.c.snd_una_pos, 100);
}

static void test_fastopen_data_taken_in_part_rest_goes_again(void **state)
{
	(void)state;
	get_cookie();
	connect_fast();
	host_send(&h, 100);
	host_output_one(&h);
	synack(41, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 41, 1, 60);
}

static void test_fastopen_ack_of_more_than_was_sent_refused(void **state)
{
	(void)state;
	get_cookie();
	connect_fast();
	host_send(&h, 100);
	host_output_one(&h);
	synack(102, 0);
	assert_int_equal(h.c.state, TCP_SYN_SENT);
	assert_int_equal(h.counters.syn_sent_bad_ack, 1);
	host_output(&h);
}

/* Section 4.1.3.1: the SYN again is a plain one, and the next opens do without for a while. */
static void test_fastopen_syn_lost_repeated_plain_and_remembered(void **state)
{
	(void)state;
	get_cookie();
	for (uint64_t block_s = TCP_FASTOPEN_BLOCK_S; block_s <= 2 * TCP_FASTOPEN_BLOCK_S;
		block_s *= 2) {
		connect_fast();
		host_send(&h, 100);
		host_output_one(&h);
		host_fire(&h);
		assert_false(host_options(host_output_one(&h)).has_fastopen);
		assert_int_equal(h.out[0].len, 0);
		synack(1, 0);
		assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 1, 100);

		connect_fast();
		assert_false(host_options(host_output_one(&h)).has_fastopen);
		h.now_us += block_s * SEC_US;
	}
	assert_int_equal(h.counters.fastopen_syn_lost, 2);
	assert_int_equal(h.counters.fastopen_blocked, 2);
	connect_fast();
	assert_int_equal(host_output(&h), 0);
}

/* The plain SYN was repeated in vain: the first had arrived with its data. */
static void test_fastopen_late_synack_of_the_data_believed(void **state)
{
	(void)state;
	get_cookie();
	connect_fast();
	host_send(&h, 100);
	host_output_one(&h);
	host_fire(&h);
	host_output_one(&h);
	synack(101, 8);
	assert_int_equal(h.c.snd_una_pos, 100);
	assert_int_equal(h.counters.fastopen_syn_lost, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 101, 1, 0);
}

static void test_fastopen_reset_of_syn_and_data_believed(void **state)
{
	(void)state;
	get_cookie();
	connect_fast();
	host_send(&h, 100);
	host_output_one(&h);
	host_input(&h, TCP_RST | TCP_ACK, 0, 101, 0, 0);
	assert_int_equal(h.c.error, ECONNREFUSED);
}

/* RFC 9293 figure 8, with data in our SYN: the other SYN says nothing of it. */
static void test_fastopen_crossing_syns_send_the_data_later(void **state)
{
	(void)state;
	get_cookie();
	connect_fast();
	host_send(&h, 100);
	host_output_one(&h);
	host_input(&h, TCP_SYN, 0, 0, 20000, 0);
	assert_int_equal(h.c.state, TCP_SYN_RECEIVED);
	assert_segment(&h, host_output_one(&h), TCP_SYN | TCP_ACK, 0, 1, 0);
	host_input(&h, TCP_ACK, 1, 1, 20000, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH, 1, 1, 100);
}

static void test_fastopen_off_asks_for_nothing(void **state)
{
	(void)state;
	h.cfg.fastopen = TCP_FASTOPEN_SERVER;
	connect_fast();
	assert_false(host_options(host_output_one(&h)).has_fastopen);
}

/* More servers than places: the one used last stays. */
static void test_fastopen_cache_bounded_and_evicts_the_oldest(void **state)
{
	struct net_tuple key = host_key();
	unsigned int known = 0;

	(void)state;
	for (uint32_t i = 0; i < 4096; i++) {
		h.now_us += SEC_US;
		memset(&h.c, 0, sizeof(h.c));
		key.remote = net_addr_from_ip4(i);
		tcp_connect(&h.ctx, &h.c, &key, h.now_us);
		tcp_fastopen_connect(&h.ctx, &h.c, h.now_us);
		host_output(&h);
		synack(1, 8);
		host_output(&h);
	}
	for (uint32_t i = 0; i < 4096; i++) {
		memset(&h.c, 0, sizeof(h.c));
		key.remote = net_addr_from_ip4(i);
		tcp_connect(&h.ctx, &h.c, &key, h.now_us);
		tcp_fastopen_connect(&h.ctx, &h.c, h.now_us);
		known += tcp_fastopen_waits(&h.c);
		if (i == 4095)
			assert_true(tcp_fastopen_waits(&h.c));
	}
	assert_int_equal(known, TCP_FASTOPEN_BUCKETS * TCP_FASTOPEN_WAYS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_fastopen_cookie_of_other_address_length_or_bit_refused),
		T(test_fastopen_cookie_outlives_one_change_of_key),
		T(test_fastopen_syn_data_delivered_and_answered_at_once),
		T(test_fastopen_early_answer_bounded_by_initial_window),
		T(test_fastopen_synack_repeated_plain_and_answer_waits),
		T(test_fastopen_synack_repeated_takes_no_window_back),
		T(test_fastopen_answer_and_fin_before_the_handshake_ends),
		T(test_fastopen_repeated_plain_syn_gets_the_synack_again),
		T(test_fastopen_handshake_never_ended_times_out),
		T(test_fastopen_connect_without_cookie_asks_for_one),
		T(test_fastopen_connect_with_cookie_sends_data_in_the_syn),
		T(test_fastopen_connect_without_data_opens_after_a_moment),
		T(test_fastopen_data_refused_goes_again),
		T(test_fastopen_data_taken_in_part_rest_goes_again),
		T(test_fastopen_ack_of_more_than_was_sent_refused),
		T(test_fastopen_syn_lost_repeated_plain_and_remembered),
		T(test_fastopen_late_synack_of_the_data_believed),
		T(test_fastopen_reset_of_syn_and_data_believed),
		T(test_fastopen_crossing_syns_send_the_data_later),
		T(test_fastopen_off_asks_for_nothing),
		T(test_fastopen_cache_bounded_and_evicts_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
