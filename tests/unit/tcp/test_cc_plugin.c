/* Congestion control by a plug-in: what it sees, and what is taken back of it. */
#include "single.h"

#include <tcp/mtcp_cc_plugin.h>

enum {
	MSS = 1460,
};

static struct mtcp_cc_view seen, want; /* as shown; as the plug-in leaves it */
static uint32_t calls, want_ssthresh;
static enum mtcp_cc_why seen_why;

static void leave(struct mtcp_cc_view *v)
{
	calls++;
	seen = *v;
	v->cwnd = want.cwnd;
	v->ssthresh = want.ssthresh;
	v->pacing_rate = want.pacing_rate;
	v->mss = 0; /* not its business */
	v->state[3]++;
}

static void acked(struct mtcp_cc_view *v, uint32_t bytes, uint32_t rtt_us, uint64_t now_us)
{
	assert_int_equal(bytes, MSS);
	assert_int_equal(now_us, h.now_us);
	(void)rtt_us;
	leave(v);
}

static uint32_t ssthresh(struct mtcp_cc_view *v, enum mtcp_cc_why why)
{
	seen_why = why;
	leave(v);
	return want_ssthresh;
}

static const struct mtcp_cc_plugin plugin = {
	.abi = MTCP_CC_PLUGIN_ABI,
	.size = sizeof(plugin),
	.name = "test",
	.init = leave,
	.acked = acked,
	.ssthresh = ssthresh,
	.undo = leave,
};

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	h.cfg.cc_plugin = &plugin;
	h.cfg.cc = TCP_CC_PLUGIN;
	want = (struct mtcp_cc_view){.cwnd = 20 * MSS, .ssthresh = 1 << 30};
	calls = 0;
	host_establish(&h, (struct host_open){.wnd = 60000});
	return 0;
}

static void test_plugin_given_connection_is_asked_and_obeyed(void **state)
{
	(void)state;
	assert_int_equal(calls, 1);
	assert_int_equal(seen.cwnd, 10 * MSS); /* the initial window, to begin with */
	assert_int_equal(h.c.cwnd, 20 * MSS);
	host_send(&h, 60000);
	host_output(&h);
	want.cwnd = 30 * MSS;
	h.now_us += 10 * MS_US;
	host_input(&h, TCP_ACK, 1, 1 + MSS, 60000, 0);
	assert_int_equal(calls, 2);
	assert_int_equal(seen.mss, MSS);
	assert_int_equal(seen.state[3], 1);
	assert_int_equal(h.c.cwnd, 30 * MSS);
	want_ssthresh = 7 * MSS;
	tcp_cc_backoff(&h.ctx, &h.c, 15 * MSS, TCP_CC_ECN);
	assert_int_equal(seen_why, MTCP_CC_ECN);
	assert_int_equal(seen.flight, 15 * MSS);
	assert_int_equal(h.c.ssthresh, 7 * MSS);
	tcp_cc_undo(&h.ctx, &h.c);
	assert_int_equal(seen.state[3], 3);
}

static void test_plugin_given_absurd_values_takes_them_in_bounds(void **state)
{
	(void)state;
	host_send(&h, 60000);
	host_output(&h);
	want.cwnd = 0;
	want.ssthresh = 0;
	want.pacing_rate = 1;
	host_input(&h, TCP_ACK, 1, 1 + MSS, 60000, 0);
	assert_int_equal(h.c.cwnd, MSS);
	assert_int_equal(h.c.ssthresh, 2 * MSS);
	assert_int_equal(h.extra.pacing_rate, MSS);
	assert_int_equal(h.c.snd_mss_bytes, MSS);
	h.c.cwnd = 60000;
	h.c.flags |= TCP_F_CWND_LIMITED;
	want = (struct mtcp_cc_view){.cwnd = UINT32_MAX, .ssthresh = UINT32_MAX};
	host_input(&h, TCP_ACK, 1, 1 + 2 * MSS, 60000, 0);
	assert_int_equal(h.c.cwnd, TCP_CWND_MAX_BYTES);
	assert_int_equal(h.c.ssthresh, TCP_CWND_MAX_BYTES);
	assert_false(tcp_conn_has(&h.c, TCP_F_PACED));
	want_ssthresh = 0;
	tcp_cc_backoff(&h.ctx, &h.c, MSS, TCP_CC_LOSS);
	assert_int_equal(h.c.ssthresh, 2 * MSS);
}

static void test_plugin_given_none_loaded_does_not_exist(void **state)
{
	(void)state;
	assert_string_equal(tcp_cc_name_in(&h.cfg, TCP_CC_PLUGIN), "test");
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_CUBIC), 0);
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_PLUGIN), 0);
	h.cfg.cc_plugin = NULL;
	assert_null(tcp_cc_name_in(&h.cfg, TCP_CC_PLUGIN));
	h.c.cc = TCP_CC_CUBIC;
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_PLUGIN), -ENOENT);
	assert_int_equal(tcp_set_congestion(&h.ctx, &h.c, TCP_CC_COUNT), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
		T(test_plugin_given_connection_is_asked_and_obeyed),
		T(test_plugin_given_absurd_values_takes_them_in_bounds),
		T(test_plugin_given_none_loaded_does_not_exist),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
