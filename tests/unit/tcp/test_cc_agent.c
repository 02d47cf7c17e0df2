/* Congestion control by an agent: what it is told, what it may change, and what happens without. */
#include "host.h"

#include <tcp/cc_agent.h>

enum {
	MSS = 1460,
	RTT_US = 10000,
};

static struct host h;
static struct tcp_agent_report told; /* the last one that was taken */
static unsigned int reports;
static bool refuse;
static uint32_t acked; /* bytes, as the peer has them */

static bool take_report(void *arg, struct tcp_conn *c, const struct tcp_agent_report *r)
{
	assert_ptr_equal(arg, &h);
	assert_ptr_equal(c, &h.c);
	assert_int_not_equal(h.ctx.agent_epoch, 0);
	assert_int_equal(r->now_us, h.now_us);
	if (refuse)
		return false;
	told = *r;
	reports++;
	return true;
}

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	strcpy(h.cfg.cc_agent, "test");
	h.cfg.cc = TCP_CC_AGENT;
	h.ops.agent_report = take_report;
	h.ctx.agent_epoch = 7;
	reports = acked = 0;
	refuse = false;
	host_establish(&h, (struct host_open){.wnd = 65535, .wscale = true, .rtt_us = RTT_US});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_fini(&h);
	return 0;
}

static void order_of(uint32_t seq, uint64_t cwnd, uint64_t rate, uint32_t flags)
{
	const struct tcp_agent_order o = {
		.seq = seq, .cwnd = cwnd, .pacing_rate = rate, .flags = flags};

	host_note(&h, tcp_agent_order(&h.ctx, &h.c, &o, h.now_us));
}

/* Answers the last report. */
static void order(uint64_t cwnd)
{
	order_of(told.seq, cwnd, 0, 0);
}

/* The peer acknowledges so many segments more; what that lets out leaves. */
static void ack(uint32_t segments)
{
	acked += segments * MSS;
	host_input(&h, TCP_ACK, 1, 1 + acked, 60000, 0);
	host_output(&h);
}

/* A round trip later. */
static void ack_after(uint64_t us, uint32_t segments)
{
	h.now_us += us;
	ack(segments);
}

/* Data leaves, the agent hears of the connection and wants that window. */
static void govern(uint64_t cwnd)
{
	host_send(&h, 1000000);
	host_output(&h);
	assert_int_equal(told.events, TCP_AGENT_NEW);
	order(cwnd);
}

static void test_agent_given_first_data_is_told_and_obeyed(void **state)
{
	(void)state;
	assert_string_equal(tcp_cc_name_in(&h.cfg, TCP_CC_AGENT), "test");
	assert_int_equal(reports, 0);
	govern(4 * MSS);
	assert_int_equal(reports, 1);
	assert_int_equal(told.seq, 1);
	assert_false(told.governed);
	assert_int_equal(h.c.cwnd, 4 * MSS); /* of ten: at once */
	assert_int_equal(h.counters.agent_orders, 1);
	ack_after(RTT_US, 10);
	assert_int_equal(reports, 2);
	assert_true(told.governed);
	assert_int_equal(told.acked_bytes, 10 * MSS);
	assert_int_equal(told.delivered_bytes, 10 * MSS);
	assert_int_equal(told.rtt_us, RTT_US);
	assert_true(told.delivery_rate > 0);
	assert_int_equal(h.out_n, 4);
	order(100 * MSS);
	assert_int_equal(h.c.cwnd, 4 * MSS); /* more only as ACKs come */
	ack(2);
	assert_int_equal(h.c.cwnd, 6 * MSS);
	order(6 * MSS);
	ack(2);
	assert_int_equal(h.c.cwnd, 6 * MSS);
}

static void test_agent_given_many_acks_is_told_once_a_round_trip(void **state)
{
	(void)state;
	h.cfg.cc_agent_interval_us = RTT_US; /* the smoothed one is a little less */
	govern(40 * MSS);
	for (unsigned int i = 0; i < 10; i++)
		ack_after(RTT_US / 10, 1);
	assert_int_equal(reports, 2);
	assert_int_equal(told.seq, 2);
	assert_int_equal(told.acked_bytes, 10 * MSS);
	h.cfg.cc_agent_interval_us = 100 * RTT_US;
	ack_after(2 * RTT_US, 1);
	assert_int_equal(reports, 2);
}

static void test_agent_given_none_attached_cubic_governs(void **state)
{
	(void)state;
	h.ctx.agent_epoch = 0;
	host_send(&h, 1000000);
	host_output(&h);
	ack_after(RTT_US, 10);
	assert_int_equal(reports, 0);
	assert_int_equal(h.c.cwnd, 18 * MSS); /* HyStart++: at most 8 segments an ACK */
	order_of(0, MSS, 0, 0);
	order_of(1, MSS, 0, 0);
	assert_int_equal(h.counters.agent_orders_late, 2);
	assert_int_equal(h.c.cwnd, 18 * MSS);
	tcp_cc_backoff(&h.ctx, &h.c, 10 * MSS, TCP_CC_LOSS);
	assert_int_equal(h.c.ssthresh, 7 * MSS);
}

static void test_agent_given_absurd_orders_stays_in_bounds(void **state)
{
	(void)state;
	govern(0);
	assert_int_equal(h.c.cwnd, 2 * MSS);
	assert_int_equal(h.c.ssthresh, 2 * MSS);
	order_of(1, UINT64_MAX, 1, UINT32_MAX);
	assert_int_equal(h.c.ssthresh, TCP_CWND_MAX_BYTES);
	assert_int_equal(h.extra.pacing_rate, MSS);
	assert_true(tcp_agent_paces(&h.ctx, &h.c));
	order_of(1, 20 * MSS, UINT64_MAX, 0);
	assert_int_equal(h.extra.pacing_rate, UINT32_MAX);
	assert_int_equal(h.counters.agent_orders_clamped, 3);
	order_of(2, MSS, 0, 0); /* a report that was never made */
	order_of(0, MSS, 0, 0);
	order_of(0x80000001, MSS, 0, 0);
	assert_int_equal(h.counters.agent_orders_late, 3);
	assert_int_equal(h.c.ssthresh, 20 * MSS);
	order_of(1, 20 * MSS, 0, 0);
	assert_false(tcp_agent_paces(&h.ctx, &h.c));
	assert_false(tcp_conn_has(&h.c, TCP_F_PACED));
}

static void test_agent_given_loss_cubic_backs_off_and_older_orders_are_late(void **state)
{
	(void)state;
	govern(20 * MSS);
	tcp_cc_backoff(&h.ctx, &h.c, 10 * MSS, TCP_CC_LOSS);
	assert_int_equal(h.c.ssthresh, 7 * MSS);
	order_of(1, 20 * MSS, 0, 0);
	assert_int_equal(h.c.ssthresh, 7 * MSS);
	assert_int_equal(h.counters.agent_orders_late, 1);
	ack(1); /* it is told at once */
	assert_int_equal(told.seq, 2);
	assert_int_equal(told.events, TCP_AGENT_LOSS);
	assert_true(told.governed);
	order(9 * MSS);
	assert_int_equal(h.c.ssthresh, 9 * MSS);
	tcp_cc_undo(&h.ctx, &h.c);
	ack_after(RTT_US, 1);
	assert_int_equal(told.events, TCP_AGENT_UNDO);
}

static void test_agent_given_keep_backs_off_itself(void **state)
{
	(void)state;
	govern(20 * MSS);
	order_of(1, 20 * MSS, 0, TCP_AGENT_KEEP);
	tcp_cc_backoff(&h.ctx, &h.c, 10 * MSS, TCP_CC_LOSS);
	assert_int_equal(h.c.ssthresh, 20 * MSS);
	tcp_cc_backoff(&h.ctx, &h.c, 10 * MSS, TCP_CC_ECN);
	assert_int_equal(h.c.ssthresh, 20 * MSS);
	ack(1);
	assert_int_equal(told.events, TCP_AGENT_LOSS | TCP_AGENT_ECN);
	order(5 * MSS);
	tcp_cc_backoff(&h.ctx, &h.c, 10 * MSS, TCP_CC_ECN);
	assert_int_equal(h.c.ssthresh, 7 * MSS);
}

static void test_agent_given_timeout_cubic_governs_until_the_next_order(void **state)
{
	(void)state;
	govern(20 * MSS);
	order_of(1, 20 * MSS, 1000 * MSS, TCP_AGENT_KEEP);
	host_fire(&h); /* a probe or the time-out */
	host_output(&h);
	while (h.c.retries == 0) {
		host_fire(&h);
		host_output(&h);
	}
	assert_int_equal(h.c.cwnd, MSS);
	assert_int_equal(h.c.ssthresh, 7 * MSS);
	assert_int_equal(h.counters.agent_fallbacks, 1);
	assert_false(tcp_agent_paces(&h.ctx, &h.c));
	assert_int_equal(told.events, TCP_AGENT_TIMEOUT);
	assert_int_equal(told.seq, 2); /* without an ACK */
	assert_false(told.governed);
	order_of(1, 20 * MSS, 0, 0);
	assert_int_equal(h.counters.agent_orders_late, 1);
	assert_int_equal(h.c.ssthresh, 7 * MSS);
	order(12 * MSS);
	assert_int_equal(h.c.cwnd, MSS); /* no burst */
	assert_int_equal(h.c.ssthresh, 12 * MSS);
}

static void test_agent_given_silence_is_done_without_until_it_speaks(void **state)
{
	uint32_t late;

	(void)state;
	govern(1000 * MSS);
	for (unsigned int i = 0; i < 5; i++)
		ack_after(RTT_US, 5);
	assert_int_equal(h.counters.agent_fallbacks, 0);
	assert_int_equal(h.c.ssthresh, 1000 * MSS);
	late = told.seq;
	h.c.cwnd = 900 * MSS; /* it never was in flight */
	ack_after(TCP_AGENT_PATIENCE_MIN_US, 1);
	assert_int_equal(h.counters.agent_fallbacks, 1);
	assert_int_equal(told.events, TCP_AGENT_SILENCE);
	assert_false(told.governed);
	assert_true(h.c.cwnd < 100 * MSS);
	assert_true(h.c.ssthresh <= h.c.cwnd);
	order_of(late, 500 * MSS, 0, 0);
	assert_int_equal(h.counters.agent_orders_late, 1);
	order(50 * MSS);
	assert_int_equal(h.c.ssthresh, 50 * MSS);
	ack_after(SEC_US, 1);
	assert_true(told.governed);
	assert_int_equal(h.counters.agent_fallbacks, 1);
}

static void test_agent_given_pause_of_the_connection_is_not_blamed(void **state)
{
	(void)state;
	govern(20 * MSS);
	ack_after(RTT_US, 10);
	order(20 * MSS);
	h.c.send_at = 0; /* no time-out meanwhile */
	ack_after(10 * SEC_US, 1);
	assert_int_equal(h.counters.agent_fallbacks, 0);
	assert_true(told.governed);
}

static void test_agent_given_another_agent_begins_anew(void **state)
{
	(void)state;
	govern(20 * MSS);
	h.ctx.agent_epoch = 0;
	ack_after(RTT_US, 2);
	assert_int_equal(h.counters.agent_fallbacks, 1);
	assert_int_equal(reports, 1);
	order_of(1, 30 * MSS, 0, 0);
	assert_int_equal(h.counters.agent_orders_late, 1);
	h.ctx.agent_epoch = 8;
	order_of(1, 30 * MSS, 0, 0); /* it has not been told of us */
	assert_int_equal(h.counters.agent_orders_late, 2);
	ack_after(RTT_US, 2);
	assert_int_equal(told.events, TCP_AGENT_NEW);
	assert_int_equal(told.seq, 1);
	order(5 * MSS);
	assert_int_equal(h.c.cwnd, 5 * MSS);
}

static void test_agent_given_full_queue_is_told_all_later(void **state)
{
	(void)state;
	govern(20 * MSS);
	refuse = true;
	tcp_cc_backoff(&h.ctx, &h.c, 10 * MSS, TCP_CC_LOSS);
	ack_after(RTT_US, 1);
	ack_after(RTT_US, 1);
	assert_int_equal(h.counters.agent_reports_dropped, 2);
	refuse = false;
	ack_after(RTT_US, 1);
	assert_int_equal(told.seq, 2);
	assert_int_equal(told.events, TCP_AGENT_LOSS);
	assert_int_equal(told.acked_bytes, 3 * MSS);
}

static void test_agent_given_no_block_is_cubic(void **state)
{
	(void)state;
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_CUBIC), 0);
	h.cc_refuse = true;
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_AGENT), 0);
	assert_int_equal(h.c.cc, TCP_CC_CUBIC);
	assert_int_equal(h.counters.cc_no_memory, 1);
	h.cfg.cc_agent[0] = '\0';
	assert_null(tcp_cc_name_in(&h.cfg, TCP_CC_AGENT));
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_AGENT), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_agent_given_first_data_is_told_and_obeyed),
		T(test_agent_given_many_acks_is_told_once_a_round_trip),
		T(test_agent_given_none_attached_cubic_governs),
		T(test_agent_given_absurd_orders_stays_in_bounds),
		T(test_agent_given_loss_cubic_backs_off_and_older_orders_are_late),
		T(test_agent_given_keep_backs_off_itself),
		T(test_agent_given_timeout_cubic_governs_until_the_next_order),
		T(test_agent_given_silence_is_done_without_until_it_speaks),
		T(test_agent_given_pause_of_the_connection_is_not_blamed),
		T(test_agent_given_another_agent_begins_anew),
		T(test_agent_given_full_queue_is_told_all_later),
		T(test_agent_given_no_block_is_cubic),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
