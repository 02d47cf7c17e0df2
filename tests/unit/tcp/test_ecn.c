/* RFC 3168 and RFC 8257: negotiation, marks, echo, and what a sender does about it. */
#include "single.h"

enum {
	MSS = 1460,
	ECN_SYN = TCP_SYN | TCP_ECE | TCP_CWR,
};

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	h.cfg.ecn = TCP_ECN_ON;
	return 0;
}

static void establish(void)
{
	host_establish(&h, (struct host_open){.wnd = 60000, .ecn = true});
	assert_true(tcp_conn_has(&h.c, TCP_F_ECN));
}

static void ack(uint8_t flags, uint32_t segments)
{
	host_input(&h, TCP_ACK | flags, 1, 1 + segments * MSS, 60000, 0);
}

/* A full segment of the peer's, number n, with that mark. */
static void data(uint32_t n, uint8_t ecn, uint8_t flags)
{
	struct tcp_segment s = host_segment(&h, TCP_ACK | flags, 1 + n * MSS, 1, 60000, MSS);

	s.ecn = ecn;
	host_deliver(&h, &s);
}

/* -- handshake ------------------------------------------------------------------------------ */

static void test_ecn_given_mode_asks_or_not(void **state)
{
	static const uint8_t want[] = {
		[TCP_ECN_OFF] = TCP_SYN, [TCP_ECN_PASSIVE] = TCP_SYN, [TCP_ECN_ON] = ECN_SYN};

	(void)state;
	for (uint32_t mode = TCP_ECN_OFF; mode <= TCP_ECN_ON; mode++) {
		h.cfg.ecn = mode;
		host_connect(&h);
		assert_int_equal(host_output_one(&h)->flags, want[mode]);
	}
	h.cfg.ecn = TCP_ECN_OFF;
	h.cfg.cc = TCP_CC_DCTCP; /* makes no sense without */
	host_connect(&h);
	assert_int_equal(host_output_one(&h)->flags, ECN_SYN);
}

static void test_ecn_given_silence_repeats_syn_without(void **state)
{
	(void)state;
	host_connect(&h);
	assert_int_equal(host_output_one(&h)->flags, ECN_SYN);
	host_fire(&h);
	assert_int_equal(host_output_one(&h)->flags, TCP_SYN);
	host_input(&h, TCP_SYN | TCP_ACK | TCP_ECE, 0, 1, 60000, 0); /* answers the first */
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_false(tcp_conn_has(&h.c, TCP_F_ECN));
}

static void test_ecn_given_answers_agrees_to_ece_alone(void **state)
{
	static const uint8_t answer[] = {0, TCP_CWR, TCP_ECE | TCP_CWR, TCP_ECE};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		host_connect(&h);
		host_output_one(&h);
		host_input(&h, TCP_SYN | TCP_ACK | answer[i], 0, 1, 60000, 0);
		assert_int_equal(h.c.state, TCP_ESTABLISHED);
		assert_int_equal(tcp_conn_has(&h.c, TCP_F_ECN), answer[i] == TCP_ECE);
	}
	assert_int_equal(h.counters.ecn_agreed, 1);
}

static uint8_t listen_answer(uint8_t syn_flags, struct tcp_half *half)
{
	struct tcp_segment s = {
		.key = host_key(), .seq = PEER_ISS, .wnd = 60000, .flags = syn_flags};
	struct tcp_out reply;

	memset(half, 0, sizeof(*half));
	assert_int_equal(tcp_listen_input(&h.ctx, half, &s, h.now_us, &reply), TCP_EV_REPLY);
	return reply.flags;
}

static void test_ecn_given_peers_syn_agrees_if_both_bits_are_set(void **state)
{
	struct tcp_half half;
	struct tcp_segment s;
	struct tcp_out reply;

	(void)state;
	for (uint32_t mode = TCP_ECN_PASSIVE; mode <= TCP_ECN_ON; mode++) {
		h.cfg.ecn = mode;
		assert_int_equal(listen_answer(TCP_SYN, &half), TCP_SYN | TCP_ACK);
		assert_int_equal(listen_answer(TCP_SYN | TCP_ECE, &half), TCP_SYN | TCP_ACK);
		assert_int_equal(listen_answer(TCP_SYN | TCP_CWR, &half), TCP_SYN | TCP_ACK);
		assert_int_equal(listen_answer(ECN_SYN, &half), TCP_SYN | TCP_ACK | TCP_ECE);
	}
	tcp_promote(&h.ctx, &h.c, &half, h.now_us);
	assert_true(tcp_conn_has(&h.c, TCP_F_ECN));
	s = (struct tcp_segment){.key = host_key(), .seq = PEER_ISS, .flags = TCP_SYN};
	assert_int_equal(tcp_half_input(&h.ctx, &half, &s, h.now_us, &reply), TCP_EV_REPLY);
	assert_int_equal(reply.flags, TCP_SYN | TCP_ACK); /* the repeated SYN was plain */
	h.cfg.ecn = TCP_ECN_OFF;
	assert_int_equal(listen_answer(ECN_SYN, &half), TCP_SYN | TCP_ACK);
}

static void test_ecn_given_crossing_syns_agrees(void **state)
{
	(void)state;
	host_connect(&h);
	host_output_one(&h);
	host_input(&h, ECN_SYN, 0, 0, 60000, 0);
	assert_int_equal(host_output_one(&h)->flags, TCP_SYN | TCP_ACK | TCP_ECE);
	assert_true(tcp_conn_has(&h.c, TCP_F_ECN));
}

/* -- sender --------------------------------------------------------------------------------- */

static void test_ecn_given_data_marks_new_segments_only(void **state)
{
	(void)state;
	establish();
	host_send(&h, 4 * MSS);
	assert_int_equal(host_output(&h), 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(h.out[i].ecn, TCP_ECN_ECT0);
	host_fire(&h);
	assert_int_equal(host_output_one(&h)->ecn, TCP_ECN_NOT_ECT); /* sent again */
	data(0, TCP_ECN_ECT0, 0);
	data(1, TCP_ECN_ECT0, 0);
	assert_int_equal(host_output_one(&h)->len, 0);
	assert_int_equal(h.out[0].ecn, TCP_ECN_NOT_ECT); /* a pure ACK */
}

static void test_ecn_given_closed_window_probes_unmarked(void **state)
{
	(void)state;
	establish();
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	host_send(&h, 10);
	assert_int_equal(host_output(&h), 0);
	host_fire(&h);
	assert_int_equal(host_output_one(&h)->len, 1);
	assert_int_equal(h.out[0].ecn, TCP_ECN_NOT_ECT);
}

static void test_ecn_given_no_agreement_marks_nothing(void **state)
{
	(void)state;
	host_establish(&h, (struct host_open){.wnd = 60000});
	host_send(&h, 20 * MSS);
	host_output(&h);
	assert_int_equal(h.out[0].ecn, TCP_ECN_NOT_ECT);
	ack(TCP_ECE, 1);
	assert_int_equal(h.counters.ecn_backoffs, 0);
	data(0, TCP_ECN_CE, 0);
	data(1, TCP_ECN_CE, 0);
	host_output(&h);
	for (unsigned int i = 0; i < h.out_n; i++)
		assert_int_equal(h.out[i].flags & TCP_ECE, 0);
}

static void test_ecn_given_echo_backs_off_once_a_window_and_says_so(void **state)
{
	(void)state;
	establish();
	host_send(&h, 40 * MSS);
	assert_int_equal(host_output(&h), 10);
	ack(TCP_ECE, 2);
	assert_int_equal(h.c.ssthresh, 5 * MSS);
	assert_int_equal(h.c.cwnd, 5 * MSS);
	assert_int_equal(host_output(&h), 0); /* eight are in flight */
	ack(TCP_ECE, 4);
	assert_int_equal(h.c.cwnd, 5 * MSS);
	assert_int_equal(h.counters.ecn_backoffs, 1);
	assert_int_equal(host_output(&h), 0);
	ack(TCP_ECE, 8); /* no growth either: two are in flight, three may go */
	assert_int_equal(h.c.cwnd, 5 * MSS);
	assert_int_equal(host_output(&h), 3);
	assert_int_equal(h.out[0].flags, TCP_ACK | TCP_CWR);
	assert_int_equal(h.out[1].flags, TCP_ACK);
	ack(TCP_ECE, 10); /* all that was sent before we said CWR */
	assert_int_equal(h.counters.ecn_backoffs, 1);
	ack(TCP_ECE, 11); /* the echo goes on behind it: another mark */
	assert_int_equal(h.counters.ecn_backoffs, 2);
}

static void test_ecn_given_cwr_and_tso_says_it_in_one_segment(void **state)
{
	(void)state;
	h.cfg.tso_max_bytes = 20 * MSS;
	establish();
	host_send(&h, 100 * MSS);
	host_output(&h);
	ack(TCP_ECE, 10);
	host_output(&h);
	assert_true(h.out_n >= 2);
	assert_true(h.out[0].flags & TCP_CWR);
	assert_int_equal(h.out[0].len, MSS);
	assert_false(h.out[1].flags & TCP_CWR);
	assert_true(h.out[1].len > MSS);
}

static void test_ecn_given_loss_says_cwr_too(void **state)
{
	(void)state;
	establish();
	host_send(&h, 20 * MSS);
	host_output(&h);
	for (int i = 0; i < 3; i++)
		ack(0, 0);
	host_output(&h);
	ack(0, 10);
	assert_true(host_output(&h) > 0);
	assert_true(h.out[0].flags & TCP_CWR);
}

/* -- receiver ------------------------------------------------------------------------------- */

static void test_ecn_given_mark_echoes_until_cwr(void **state)
{
	(void)state;
	establish();
	data(0, TCP_ECN_CE, 0);
	data(1, TCP_ECN_ECT0, 0);
	assert_int_equal(host_output_one(&h)->flags, TCP_ACK | TCP_ECE);
	data(2, TCP_ECN_ECT0, 0);
	data(3, TCP_ECN_ECT0, 0);
	assert_int_equal(host_output_one(&h)->flags, TCP_ACK | TCP_ECE);
	data(4, TCP_ECN_ECT0, TCP_CWR);
	data(5, TCP_ECN_ECT0, 0);
	assert_int_equal(host_output_one(&h)->flags, TCP_ACK);
	data(6, TCP_ECN_CE, TCP_CWR); /* marked itself */
	data(7, TCP_ECN_ECT0, 0);
	assert_int_equal(host_output_one(&h)->flags, TCP_ACK | TCP_ECE);
	assert_int_equal(h.counters.ecn_ce_in, 2);
}

static void test_ecn_given_mark_outside_window_ignores_it(void **state)
{
	struct tcp_segment s;

	(void)state;
	establish();
	s = host_segment(&h, TCP_ACK, 1 + 200000, 1, 60000, MSS);
	s.ecn = TCP_ECN_CE;
	host_deliver(&h, &s);
	assert_int_equal(host_output_one(&h)->flags, TCP_ACK);
}

/* -- DCTCP ---------------------------------------------------------------------------------- */

static void establish_dctcp(void)
{
	h.cfg.cc = TCP_CC_DCTCP;
	establish();
}

static void test_dctcp_given_marks_change_acks_each_run_apart(void **state)
{
	(void)state;
	establish_dctcp();
	data(0, TCP_ECN_ECT0, 0);
	assert_int_equal(host_output(&h), 0); /* delayed */
	data(1, TCP_ECN_CE, 0);
	assert_int_equal(host_output(&h), 2);
	assert_segment(&h, &h.out[0], TCP_ACK, 1, 1 + MSS, 0);
	assert_segment(&h, &h.out[1], TCP_ACK | TCP_ECE, 1, 1 + 2 * MSS, 0);
	data(2, TCP_ECN_CE, 0);
	data(3, TCP_ECN_CE, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK | TCP_ECE, 1, 1 + 4 * MSS, 0);
	data(4, TCP_ECN_ECT0, 0); /* nothing unacknowledged before it */
	data(5, TCP_ECN_ECT0, 0);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 1 + 6 * MSS, 0);
}

static void test_dctcp_given_changes_in_a_batch_keeps_the_edge(void **state)
{
	(void)state;
	h.rcvbuf_bytes = 1 << 20;
	h.cfg.cc = TCP_CC_DCTCP;
	host_establish(&h, (struct host_open){.wnd = 60000, .ecn = true, .wscale = true});
	for (uint32_t n = 0; n < 40; n += 4) {
		uint64_t edge_pos = tcp_conn_rcv_edge(&h.c);
		uint32_t edge = h.c.irs + 1 + (uint32_t)edge_pos;

		for (uint32_t i = 0; i < 4; i++)
			data(n + i, i % 2 ? TCP_ECN_CE : TCP_ECN_ECT0, 0);
		host_output(&h);
		for (unsigned int i = 0; i < h.out_n; i++) {
			uint32_t now = h.out[i].ack + ((uint32_t)h.out[i].wnd << h.c.rcv_wscale);

			assert_true(tcp_seq_geq(now, edge));
			edge = now;
		}
	}
}

/* A window of `flight` segments of which `marked` met a mark, acknowledged one by one. */
static void window(uint32_t *acked, uint32_t flight, uint32_t marked)
{
	for (uint32_t i = 0; i < flight; i++) {
		++*acked;
		host_input(&h, TCP_ACK | (i < marked ? TCP_ECE : 0), 1, 1 + *acked * MSS, 60000, 0);
		host_output(&h);
	}
}

static void test_dctcp_given_share_of_marks_averages_it(void **state)
{
	uint32_t acked = 0;
	double alpha = 1;

	(void)state;
	establish_dctcp();
	host_send(&h, 2000 * MSS);
	host_output(&h);
	h.c.ssthresh = h.c.cwnd = 10 * MSS;
	for (int i = 0; i < 60; i++) {
		struct tcp_dctcp *s = &h.extra.cc_state.dctcp;
		uint32_t end = s->window_end, bytes = 0, marks = 0;

		while (s->window_end == end) { /* every fourth is marked */
			bool mark = acked % 4 == 0;

			window(&acked, 1, mark);
			bytes += MSS;
			marks += mark ? MSS : 0;
		}
		alpha += ((double)marks / bytes - alpha) / 16;
		assert_true((double)s->alpha / (1 << 20) - alpha < 0.001);
		assert_true((double)s->alpha / (1 << 20) - alpha > -0.001);
	}
	assert_true(alpha > 0.15 && alpha < 0.35);
}

static void test_dctcp_given_mark_backs_off_by_half_of_alpha(void **state)
{
	(void)state;
	establish_dctcp();
	host_send(&h, 100 * MSS);
	host_output(&h);
	h.extra.cc_state.dctcp.alpha = 1 << 18; /* a quarter */
	h.c.cwnd = 40 * MSS;
	ack(TCP_ECE, 1);
	assert_int_equal(h.c.cwnd, 35 * MSS);
	h.c.cwnd = 40 * MSS;
	tcp_cc_backoff(&h.ctx, &h.c, 40 * MSS, TCP_CC_LOSS);
	assert_int_equal(h.c.ssthresh, 20 * MSS); /* loss is loss */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
		T(test_ecn_given_mode_asks_or_not),
		T(test_ecn_given_silence_repeats_syn_without),
		T(test_ecn_given_answers_agrees_to_ece_alone),
		T(test_ecn_given_peers_syn_agrees_if_both_bits_are_set),
		T(test_ecn_given_crossing_syns_agrees),
		T(test_ecn_given_data_marks_new_segments_only),
		T(test_ecn_given_closed_window_probes_unmarked),
		T(test_ecn_given_no_agreement_marks_nothing),
		T(test_ecn_given_echo_backs_off_once_a_window_and_says_so),
		T(test_ecn_given_cwr_and_tso_says_it_in_one_segment),
		T(test_ecn_given_loss_says_cwr_too),
		T(test_ecn_given_mark_echoes_until_cwr),
		T(test_ecn_given_mark_outside_window_ignores_it),
		T(test_dctcp_given_marks_change_acks_each_run_apart),
		T(test_dctcp_given_changes_in_a_batch_keeps_the_edge),
		T(test_dctcp_given_share_of_marks_averages_it),
		T(test_dctcp_given_mark_backs_off_by_half_of_alpha),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
