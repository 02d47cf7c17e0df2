/* SYN-SENT and SYN-RECEIVED: RFC 9293 sections 3.10.1, 3.10.7.3 and figures 6 to 8. */
#include "single.h"

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	return 0;
}

static void test_open_given_connect_sends_syn_with_options(void **state)
{
	struct tcp_options opt;
	struct tcp_out *o;

	(void)state;
	host_connect(&h);
	assert_int_equal(host_events(&h), TCP_EV_OUTPUT);
	o = host_output_one(&h);
	opt = host_options(o);
	assert_int_equal(o->flags, TCP_SYN);
	assert_int_equal(o->seq, h.c.iss);
	assert_int_equal(o->ack, 0);
	assert_int_equal(o->wnd, 65535);
	assert_int_equal(opt.mss, 1460);
	assert_true(opt.has_wscale && opt.wscale == 7);
	assert_true(opt.has_ts && opt.ts_ecr == 0);
	assert_true(opt.sack_permitted);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 1 * SEC_US);
}

static void test_open_given_synack_acks_and_reports(void **state)
{
	struct tcp_segment s;

	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_events(&h);
	h.now_us += 30 * MS_US;
	s = host_segment(&h, TCP_SYN | TCP_ACK, 0, 1, 5000, 0);
	host_deliver(&h, &s);
	assert_int_equal(host_events(&h), TCP_EV_ESTABLISHED | TCP_EV_OUTPUT);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_int_equal(h.c.snd_wnd, 5000);
	assert_int_equal(h.c.snd_mss_bytes, 536); /* no MSS option */
	assert_int_equal(h.c.rcv_wscale, 0);	  /* not offered back: both off */
	assert_int_equal(h.c.srtt_us, 30000);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 0);
	assert_int_equal(h.out[0].opt_len, 0);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
}

static void test_open_given_agreed_options_uses_them(void **state)
{
	(void)state;
	h.ts_val = 77;
	host_establish(&h, (struct host_open){.wnd = 1000, .ts = true, .wscale = true});
	assert_int_equal(h.c.snd_wnd, 1000); /* of a SYN: not scaled */
	assert_int_equal(h.c.snd_mss_bytes, 1448);
	assert_int_equal(h.c.rcv_wscale, 7);
	assert_int_equal(host_options(&h.out[0]).ts_ecr, 77);
	host_input(&h, TCP_ACK, 1, 1, 1000, 0);
	assert_int_equal(h.c.snd_wnd, 128000);
}

static void test_open_given_mss_below_minimum_clamps(void **state)
{
	(void)state;
	host_establish(&h, (struct host_open){.wnd = 1000, .mss = 1, .ts = true});
	assert_int_equal(h.c.snd_mss_bytes, 48 - 12);
}

static void test_open_given_wrong_ack_sends_rst_and_goes_on(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_input(&h, TCP_SYN | TCP_ACK, 0, 55, 5000, 0);
	assert_int_equal(h.c.state, TCP_SYN_SENT);
	host_output_one(&h);
	assert_int_equal(h.out[0].flags, TCP_RST);
	assert_int_equal(host_rel_seq(&h, &h.out[0]), 55);
	host_input(&h, TCP_RST | TCP_ACK, 0, 55, 0, 0);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.c.state, TCP_SYN_SENT);
	assert_int_equal(h.counters.syn_sent_bad_ack, 2);
}

static void test_open_given_rst_with_ack_is_refused(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_events(&h);
	host_input(&h, TCP_RST, 0, 0, 0, 0); /* without ACK: not believed */
	assert_int_equal(h.c.state, TCP_SYN_SENT);
	host_input(&h, TCP_RST | TCP_ACK, 0, 1, 0, 0);
	assert_int_equal(host_events(&h), TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(h.c.error, ECONNREFUSED);
	assert_int_equal(host_output(&h), 0);
}

static void test_open_given_silence_backs_off_and_times_out(void **state)
{
	uint64_t start_us = h.now_us, at_s = 0;

	(void)state;
	host_connect(&h);
	host_output_one(&h);
	for (unsigned int i = 0; i < 6; i++) {
		host_fire(&h);
		at_s += 1u << i;
		assert_int_equal(h.now_us, start_us + at_s * SEC_US);
		assert_int_equal(host_output_one(&h)->flags, TCP_SYN);
	}
	host_events(&h);
	host_fire(&h);
	assert_int_equal(h.now_us, start_us + (63 + 60) * SEC_US); /* 64 s, capped */
	assert_int_equal(host_events(&h), TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(h.c.error, ETIMEDOUT);
	assert_int_equal(host_output(&h), 0);
}

static void test_open_given_lost_syn_starts_carefully(void **state)
{
	(void)state;
	h.cfg.timestamps = false;
	host_connect(&h);
	host_output_one(&h);
	for (unsigned int i = 0; i < 2; i++) {
		host_fire(&h);
		host_output_one(&h);
	}
	host_input(&h, TCP_SYN | TCP_ACK, 0, 1, 60000, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_int_equal(h.c.srtt_us, 0);      /* Karn */
	assert_int_equal(h.c.rto_us, 3000000); /* RFC 6298 5.7 */
	assert_int_equal(h.c.cwnd, 536);       /* RFC 6928 2 */
	host_output(&h);
}

/* RFC 9293 figure 8. */
static void test_open_given_crossing_syns_opens_simultaneously(void **state)
{
	struct tcp_segment s;
	struct tcp_out *o;

	(void)state;
	host_connect(&h);
	host_output_one(&h);
	s = host_segment(&h, TCP_SYN, 0, 0, 3000, 0);
	s.opt.has_wscale = true;
	s.opt.wscale = 3;
	host_deliver(&h, &s);
	assert_int_equal(h.c.state, TCP_SYN_RECEIVED);
	o = host_output_one(&h);
	assert_segment(&h, o, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_true(host_options(o).has_wscale);
	assert_false(host_options(o).has_ts);
	host_events(&h);
	s = host_segment(&h, TCP_SYN | TCP_ACK, 0, 1, 4000, 0);
	host_deliver(&h, &s);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_true(host_events(&h) & TCP_EV_ESTABLISHED);
	assert_int_equal(h.c.snd_wnd, 4000);
}

/* A plain ACK could promise more than the next SYN|ACK, whose window is not scaled. */
static void test_open_given_repeated_syn_in_syn_received_repeats_synack(void **state)
{
	uint64_t edge_pos;

	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_input(&h, TCP_SYN, 0, 0, 3000, 0);
	host_output_one(&h);
	edge_pos = tcp_conn_rcv_edge(&h.c);
	host_input(&h, TCP_SYN, 0, 0, 3000, 0);
	assert_int_equal(h.c.state, TCP_SYN_RECEIVED);
	assert_segment(&h, host_output_one(&h), TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_int_equal(tcp_conn_rcv_edge(&h.c), edge_pos);
}

static void test_open_given_bad_ack_in_syn_received_sends_rst(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_input(&h, TCP_SYN, 0, 0, 3000, 0);
	host_output_one(&h);
	host_input(&h, TCP_ACK, 1, 99, 3000, 0);
	assert_int_equal(h.c.state, TCP_SYN_RECEIVED);
	host_output_one(&h);
	assert_int_equal(h.out[0].flags, TCP_RST);
	assert_int_equal(host_rel_seq(&h, &h.out[0]), 99);
	host_input(&h, TCP_RST, 1, 0, 0, 0);
	assert_int_equal(h.c.error, ECONNREFUSED);
}

static void test_open_given_data_in_synack_leaves_it(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_input(&h, TCP_SYN | TCP_ACK, 0, 1, 3000, 100);
	assert_int_equal(h.c.rcv_nxt_pos, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1, 0);
	assert_int_equal(h.counters.syn_data, 1);
}

static void test_open_given_early_send_and_close_waits_for_established(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_send(&h, 10);
	host_shutdown(&h);
	assert_int_equal(host_output(&h), 0);
	assert_int_equal(h.c.state, TCP_SYN_SENT);
	host_input(&h, TCP_SYN | TCP_ACK, 0, 1, 3000, 0);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_1);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_PSH | TCP_FIN, 1, 1, 10);
}

static void half_of_peer(struct tcp_half *half, uint8_t flags)
{
	memset(half, 0, sizeof(*half));
	half->entry.key = host_key();
	half->iss = 0xfffffffe;
	half->irs = PEER_ISS;
	half->mss = 1000;
	half->rcv_wnd = 65535;
	half->synack_us = h.now_us;
	half->snd_wnd = 2000;
	half->snd_wscale = 2;
	half->rcv_wscale = 7;
	half->ts_recent = 5;
	half->flags = flags;
}

static void test_open_given_promoted_half_takes_data_with_ack(void **state)
{
	struct tcp_half half;

	(void)state;
	half_of_peer(&half, TCP_HALF_TS | TCP_HALF_WSCALE);
	memset(&h.c, 0xa5, sizeof(h.c));
	tcp_promote(&h.ctx, &h.c, &half, h.now_us);
	assert_int_equal(h.c.owner, 0xa5a5a5a5); /* the engine's group is left alone */
	assert_int_equal(h.c.state, TCP_SYN_RECEIVED);
	h.ts_val = 6;
	h.now_us += 20 * MS_US;
	host_input(&h, TCP_ACK, 1, 1, 500, 100);
	assert_int_equal(host_events(&h), TCP_EV_ESTABLISHED | TCP_EV_RECEIVED | TCP_EV_OUTPUT);
	assert_int_equal(h.c.snd_wnd, 2000);
	assert_int_equal(h.c.snd_mss_bytes, 988);
	assert_int_equal(h.c.srtt_us, 20000);
	assert_int_equal(h.c.rcv_nxt_pos, 100);
	assert_memory_equal(h.rx, h.payload, 100);
}

static void test_open_given_cookie_half_does_not_time_the_handshake(void **state)
{
	struct tcp_half half;

	(void)state;
	half_of_peer(&half, TCP_HALF_COOKIE);
	tcp_promote(&h.ctx, &h.c, &half, h.now_us);
	h.now_us += 5 * SEC_US;
	host_input(&h, TCP_ACK, 1, 1, 500, 0);
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_int_equal(h.c.srtt_us, 0);
	assert_int_equal(h.c.rto_us, 1000000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_open_given_connect_sends_syn_with_options),
		T(test_open_given_synack_acks_and_reports),
		T(test_open_given_agreed_options_uses_them),
		T(test_open_given_mss_below_minimum_clamps),
		T(test_open_given_wrong_ack_sends_rst_and_goes_on),
		T(test_open_given_rst_with_ack_is_refused),
		T(test_open_given_silence_backs_off_and_times_out),
		T(test_open_given_lost_syn_starts_carefully),
		T(test_open_given_crossing_syns_opens_simultaneously),
		T(test_open_given_repeated_syn_in_syn_received_repeats_synack),
		T(test_open_given_bad_ack_in_syn_received_sends_rst),
		T(test_open_given_data_in_synack_leaves_it),
		T(test_open_given_early_send_and_close_waits_for_established),
		T(test_open_given_promoted_half_takes_data_with_ack),
		T(test_open_given_cookie_half_does_not_time_the_handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
