/* RFC 7661 beside algorithms that come, go and pace; the rest is in tests/script/rfc7661. */
#include "single.h"

#include <tcp/cc_agent.h>
#include <tcp/mtcp_cc_plugin.h>

enum {
	MSS = 1460,
	RTT_US = 10000,
	RATE = 2000000,
};

static uint32_t plugin_rate;
static struct tcp_agent_report told;

static void plugin_init(struct mtcp_cc_view *v)
{
	v->pacing_rate = plugin_rate;
}

static void plugin_acked(struct mtcp_cc_view *v, uint32_t bytes, uint32_t rtt_us, uint64_t now_us)
{
	(void)bytes;
	(void)rtt_us;
	(void)now_us;
	v->pacing_rate = plugin_rate;
}

static uint32_t plugin_ssthresh(struct mtcp_cc_view *v, enum mtcp_cc_why why)
{
	(void)why;
	return v->cwnd / 2;
}

static const struct mtcp_cc_plugin plugin = {
	.abi = MTCP_CC_PLUGIN_ABI,
	.size = sizeof(plugin),
	.name = "test",
	.init = plugin_init,
	.acked = plugin_acked,
	.ssthresh = plugin_ssthresh,
};

static bool take_report(void *arg, struct tcp_conn *c, const struct tcp_agent_report *r)
{
	(void)arg;
	(void)c;
	told = *r;
	return true;
}

static void open_with(enum tcp_cc_id cc)
{
	h.cfg.cc = cc;
	host_establish(&h, (struct host_open){.wnd = 65535, .wscale = true, .rtt_us = RTT_US});
}

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	h.cfg.cc_plugin = &plugin;
	strcpy(h.cfg.cc_agent, "test");
	h.ops.agent_report = take_report;
	h.ctx.agent_epoch = 7;
	plugin_rate = 0;
	return 0;
}

/* All that may leave does, at its time. */
static void output_all(void)
{
	host_output(&h);
	while (tcp_output_due(&h.ctx, &h.c) || tcp_conn_has(&h.c, TCP_F_PACE_HOLD)) {
		if (tcp_conn_has(&h.c, TCP_F_PACE_HOLD))
			host_fire(&h);
		host_output(&h);
	}
}

/* So much goes out, and what may leave at once is acknowledged together. */
static void exchange(uint32_t bytes)
{
	host_send(&h, bytes);
	while (h.c.snd_una_pos < h.c.snd_end_pos) {
		output_all();
		h.now_us += RTT_US;
		host_input(&h, TCP_ACK, 1, 1 + (uint32_t)tcp_conn_snd_max(&h.c), 65535, 0);
	}
}

static void pause_s(unsigned int s)
{
	h.now_us += s * SEC_US;
}

/* Before there is a pipeACK the window counts as validated: five minutes begin then. */
static void test_validate_given_another_algorithm_keeps_the_window_for_five_minutes(void **state)
{
	(void)state;
	open_with(TCP_CC_NEWRENO);
	assert_non_null(tcp_extra_make(&h.ctx, &h.c));
	h.c.cwnd = 100 * MSS;
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_CUBIC), 0);
	exchange(MSS);
	assert_int_equal(h.c.cwnd, 100 * MSS);
	pause_s(290);
	exchange(MSS);
	assert_int_equal(h.c.cwnd, 100 * MSS);
	pause_s(20);
	exchange(MSS);
	assert_int_equal(h.c.cwnd, 50 * MSS);
}

/* After a pause bursts are paced, and no more once the window is in use. */
static void pause_and_use(void)
{
	h.c.cwnd = 40 * MSS;
	h.c.ssthresh = 40 * MSS;
	pause_s(5);
	exchange(MSS);
	assert_true(tcp_conn_has(&h.c, TCP_F_PACED));
}

static void use_all(void)
{
	for (int i = 0; i < 3; i++)
		exchange(h.c.cwnd);
	assert_false(h.extra.validate.flags & TCP_VALIDATE_NOT);
}

static void test_validate_given_use_ends_its_pacing(void **state)
{
	(void)state;
	open_with(TCP_CC_CUBIC);
	assert_non_null(tcp_extra_make(&h.ctx, &h.c));
	pause_and_use();
	use_all();
	assert_false(tcp_conn_has(&h.c, TCP_F_PACED));
}

static void test_validate_given_plugin_that_begins_to_pace_leaves_that_alone(void **state)
{
	(void)state;
	open_with(TCP_CC_PLUGIN);
	pause_and_use();
	plugin_rate = RATE;
	use_all();
	assert_true(tcp_conn_has(&h.c, TCP_F_PACED));
	assert_int_equal(h.extra.pacing_rate, RATE);
}

static void test_validate_given_plugin_without_a_rate_goes_on_pacing(void **state)
{
	uint32_t at_us;

	(void)state;
	open_with(TCP_CC_PLUGIN);
	pause_and_use();
	at_us = h.extra.pace_at_us;
	tcp_cc_acked(&h.ctx, &h.c, true, MSS, h.now_us);
	assert_true(tcp_conn_has(&h.c, TCP_F_PACED));
	assert_int_equal(h.extra.pace_at_us, at_us);
}

static void test_validate_given_agent_that_begins_to_pace_leaves_that_alone(void **state)
{
	struct tcp_agent_order o = {.cwnd = 40 * MSS};

	(void)state;
	open_with(TCP_CC_AGENT);
	exchange(MSS);
	o.seq = told.seq;
	host_note(&h, tcp_agent_order(&h.ctx, &h.c, &o, h.now_us));
	pause_and_use();
	o.seq = told.seq;
	o.pacing_rate = RATE;
	host_note(&h, tcp_agent_order(&h.ctx, &h.c, &o, h.now_us));
	use_all();
	assert_true(tcp_conn_has(&h.c, TCP_F_PACED));
	assert_int_equal(h.extra.pacing_rate, RATE);
	o.seq = told.seq;
	o.pacing_rate = 0;
	host_note(&h, tcp_agent_order(&h.ctx, &h.c, &o, h.now_us));
	assert_false(tcp_conn_has(&h.c, TCP_F_PACED));
}

static void agent_orders(uint32_t cwnd, uint32_t flags)
{
	struct tcp_agent_order o = {.seq = told.seq, .cwnd = cwnd, .flags = flags};

	host_note(&h, tcp_agent_order(&h.ctx, &h.c, &o, h.now_us));
	assert_int_equal(h.counters.agent_orders_late, 0);
}

/* A window that is not validated, of an agent that governs. */
static void govern_unused(uint32_t flags)
{
	open_with(TCP_CC_AGENT);
	exchange(MSS);
	agent_orders(40 * MSS, flags);
	pause_and_use();
	agent_orders(40 * MSS, flags);
	assert_true(h.extra.validate.flags & TCP_VALIDATE_NOT);
}

static void test_validate_given_agent_that_backs_off_itself_does_not(void **state)
{
	(void)state;
	govern_unused(TCP_AGENT_KEEP);
	tcp_cc_backoff(&h.ctx, &h.c, 6 * MSS, TCP_CC_LOSS);
	tcp_validate_recovered(&h.ctx, &h.c);
	assert_int_equal(h.c.ssthresh, 40 * MSS);
}

static void test_validate_given_order_during_recovery_corrects_nothing(void **state)
{
	(void)state;
	govern_unused(0);
	tcp_cc_backoff(&h.ctx, &h.c, 6 * MSS, TCP_CC_LOSS);
	assert_int_equal(h.c.ssthresh, 3 * MSS);
	exchange(MSS);
	agent_orders(30 * MSS, 0);
	tcp_validate_recovered(&h.ctx, &h.c);
	assert_int_equal(h.c.ssthresh, 30 * MSS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
		T(test_validate_given_another_algorithm_keeps_the_window_for_five_minutes),
		T(test_validate_given_use_ends_its_pacing),
		T(test_validate_given_plugin_that_begins_to_pace_leaves_that_alone),
		T(test_validate_given_plugin_without_a_rate_goes_on_pacing),
		T(test_validate_given_agent_that_begins_to_pace_leaves_that_alone),
		T(test_validate_given_agent_that_backs_off_itself_does_not),
		T(test_validate_given_order_during_recovery_corrects_nothing),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
