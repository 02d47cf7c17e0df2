/* The agent's rings in the engine: reports, orders, and whose they are. */
#include "fixture.h"

#include <tcp/cc_agent.h>

enum {
	EPOCH = 5,
	MSS = 1448,
};

static struct mtcp_agent_report got[2048];

static int setup(void **state)
{
	(void)state;
	fixture_prepare();
	strcpy(f.cfg.host[0].tcp.cc_agent, "test");
	f.cfg.host[0].tcp.cc = TCP_CC_AGENT;
	fixture_start();
	engine_agent_set(engine_of(0), EPOCH);
	return 0;
}

static uint32_t take(void)
{
	return engine_agent_reports(engine_of(0), EPOCH, got, 2048);
}

static struct mtcp_agent_order order_for(const struct mtcp_agent_report *r, uint32_t cwnd)
{
	return (struct mtcp_agent_order){
		.type = MTCP_AGENT_ORDER, .seq = r->seq, .flow = r->flow, .cwnd_bytes = cwnd};
}

static void post(uint32_t epoch, struct mtcp_agent_order o)
{
	assert_true(engine_agent_order(engine_of(0), epoch, &o));
	run_ms(1);
}

static const struct tcp_conn *conn(const struct pair *p)
{
	const struct sock *sk = sock_at(engine_of(0), p->here->handle.idx);

	return conn_at(engine_of(0), sk->conn);
}

/* A connection that the agent has heard of: got[0]. */
static struct pair open_told(void)
{
	struct pair p = open_pair(f.here);

	send_bytes(p.here, 1, 1000);
	run_ms(50);
	assert_true(take() > 0);
	assert_int_equal(got[0].type, MTCP_AGENT_REPORT);
	assert_true(got[0].events & MTCP_AGENT_NEW);
	return p;
}

static void test_agent_given_connection_reports_what_it_is(void **state)
{
	struct pair p = open_told();
	const struct tcp_conn *c = conn(&p);

	(void)state;
	assert_int_equal(got[0].seq, 1);
	assert_int_equal(mtcp_agent_engine(got[0].flow), 0);
	assert_true(mtcp_agent_slot(got[0].flow) < engine_agent_slots(engine_of(0)));
	assert_memory_equal(got[0].remote, c->entry.key.remote.b, 16);
	assert_memory_equal(got[0].local, c->entry.key.local.b, 16);
	assert_int_equal(got[0].remote_port, PORT);
	assert_int_equal(got[0].local_port, c->entry.key.lport);
	assert_int_equal(got[0].mss_bytes, MSS);
	assert_int_equal(got[0].cwnd_bytes, 10 * MSS);
	assert_false(got[0].flags & MTCP_AGENT_GOVERNED);
	close_pair(p);
	assert_true(take() > 0);
}

static void test_agent_given_order_sets_the_window(void **state)
{
	struct pair p = open_told();

	(void)state;
	post(EPOCH, order_for(&got[0], 3 * MSS));
	assert_int_equal(conn(&p)->cwnd, 3 * MSS);
	assert_int_equal(conn(&p)->ssthresh, 3 * MSS);
	post(EPOCH - 1, order_for(&got[0], 9 * MSS)); /* of an agent that is gone */
	assert_int_equal(conn(&p)->ssthresh, 3 * MSS);
	send_bytes(p.here, 1, 100000);
	run_ms(500);
	assert_true(take() > 0);
	assert_true(got[0].flags & MTCP_AGENT_GOVERNED);
	close_pair(p);
}

static void test_agent_given_wrong_flows_counts_them(void **state)
{
	struct pair p = open_told();
	struct mtcp_agent_order o = order_for(&got[0], 3 * MSS);
	const uint64_t wrong[] = {
		0, UINT64_MAX, o.flow + 1, o.flow | 0xffffff, o.flow | 1 << 24,
		o.flow + (UINT64_C(1) << 32), o.flow & 0xffffffff, /* no generation */
	};
	const struct engine_counters *n = engine_counters(engine_of(0));

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct mtcp_agent_order bad = o;

		bad.flow = wrong[i];
		post(EPOCH, bad);
		assert_int_equal(n->agent_orders_unknown, i + 1);
	}
	assert_int_equal(conn(&p)->cwnd, 10 * MSS);
	close_pair(p);
	post(EPOCH, o); /* it was right once */
	assert_int_equal(n->agent_orders_unknown, 1 + sizeof(wrong) / sizeof(wrong[0]));
}

static void test_agent_given_end_of_connection_tells_once(void **state)
{
	struct pair p = open_told();
	uint64_t flow = got[0].flow;
	uint32_t n, closes = 0;

	(void)state;
	take();
	close_pair(p);
	n = take();
	for (uint32_t i = 0; i < n; i++) {
		closes += got[i].type == MTCP_AGENT_CLOSE;
		assert_int_equal(got[i].flow, flow);
	}
	assert_int_equal(closes, 1);
	p = open_told(); /* in the same place, but another flow */
	assert_int_equal(mtcp_agent_slot(got[0].flow), mtcp_agent_slot(flow));
	assert_int_not_equal(got[0].flow, flow);
	close_pair(p);
}

static void test_agent_given_another_epoch_forgets_old_reports(void **state)
{
	struct pair p = open_told();

	(void)state;
	send_bytes(p.here, 1, 10000);
	run_ms(50);
	engine_agent_set(engine_of(0), EPOCH + 1);
	assert_int_equal(engine_agent_reports(engine_of(0), EPOCH + 1, got, 2048), 0);
	send_bytes(p.here, 1, 10000);
	run_ms(50);
	assert_true(engine_agent_reports(engine_of(0), EPOCH + 1, got, 2048) > 0);
	assert_int_equal(got[0].events, MTCP_AGENT_NEW);
	close_pair(p);
}

static void test_agent_given_full_rings_drops_and_goes_on(void **state)
{
	struct pair p = open_told();
	struct mtcp_agent_order o = order_for(&got[0], 20 * MSS);
	struct pair q;
	uint32_t n = 0;

	(void)state;
	while (engine_agent_order(engine_of(0), EPOCH, &o))
		assert_true(++n < 100000);
	assert_true(n >= 64);
	assert_false(engine_sleep_prepare(engine_of(0)));
	run_ms(10);
	assert_true(engine_sleep_prepare(engine_of(0)));
	assert_true(engine_agent_order(engine_of(0), EPOCH, &o));
	for (unsigned int i = 0; i < 1500; i++) { /* nobody takes the reports */
		send_bytes(p.here, 1, 100);
		run_ms(50);
		assert_int_equal(read_bytes(p.there, 1), i ? 100 : 1100);
	}
	assert_true(engine_tcp_counters(engine_of(0))->agent_reports_dropped > 0);
	q = open_pair(f.here);
	close_pair(q);
	close_pair(p); /* for which there is room */
	assert_int_equal(engine_counters(engine_of(0))->agent_closes_lost, 0);
	n = take();
	assert_int_equal(got[n - 1].type, MTCP_AGENT_CLOSE);
}

static void test_agent_given_none_configured_has_no_rings(void **state)
{
	struct mtcp_agent_order o = {.type = MTCP_AGENT_ORDER};

	(void)state;
	engine_agent_set(engine_of(1), EPOCH);
	assert_int_equal(engine_agent_slots(engine_of(1)), 0);
	assert_int_equal(engine_agent_reports(engine_of(1), EPOCH, got, 1), 0);
	assert_false(engine_agent_order(engine_of(1), EPOCH, &o));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#undef T
#define T(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
		T(test_agent_given_connection_reports_what_it_is),
		T(test_agent_given_order_sets_the_window),
		T(test_agent_given_wrong_flows_counts_them),
		T(test_agent_given_end_of_connection_tells_once),
		T(test_agent_given_another_epoch_forgets_old_reports),
		T(test_agent_given_full_rings_drops_and_goes_on),
		T(test_agent_given_none_configured_has_no_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
