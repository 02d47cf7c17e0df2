/* Listings: bounded batches that, taken together, name every flow once. */
#include "fixture.h"

enum {
	FLOWS = 3000,
};

static int setup(void **state)
{
	(void)state;
	fixture_prepare();
	for (int side = 0; side < 2; side++) {
		f.cfg.host[side].limits.conns_max = FLOWS + 100;
		f.cfg.host[side].limits.session_conns_max = FLOWS + 100;
	}
	f.client_cfg.ring_order_log2 = 10;
	fixture_start();
	f.w.check = false; /* thousands, after each turn */
	return 0;
}

/* One batch; the message is the test's. */
static struct engine_msg *list(int side, enum engine_msg_type type, uint64_t cursor)
{
	struct engine_msg *m = sim_host_msg(type);

	m->tag = m;
	m->list.cursor = cursor;
	sim_host_post(&f.w.host[side], m);
	engine_turn(engine_of(side), f.w.now_us);
	sim_host_messages(&f.w.host[side]);
	assert_ptr_equal(f.w.host[side].done, m);
	f.w.host[side].done = NULL;
	return m;
}

static void open_many(void)
{
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct sim_sock *c;

		while (!(c = sim_client_connect(
				 f.here, 0, sim_ip_be(1), PORT, (uint16_t)(10000 + i))))
			sim_world_settle(&f.w);
		if (i % 8 != 7)
			continue;
		run_ms(5);
		while (f.listener->accepting < f.listener->pending)
			if (!sim_client_accept(f.listener, 0))
				break;
	}
	run_ms(20);
	while (f.listener->accepting < f.listener->pending)
		sim_client_accept(f.listener, 0);
	run_ms(20);
}

static void test_list_given_thousands_names_each_once(void **state)
{
	static uint8_t seen[65536];
	uint64_t cursor = 0;
	uint32_t total = 0, batches = 0;

	(void)state;
	memset(seen, 0, sizeof(seen));
	open_many();
	assert_int_equal(gauges(1).socks, FLOWS);
	while (cursor != UINT64_MAX) {
		struct engine_msg *m = list(1, ENGINE_CMD_LIST_FLOWS, cursor);

		assert_true(m->list.count <= ENGINE_LIST_BATCH);
		for (uint32_t i = 0; i < m->list.count; i++) {
			const struct engine_flow_info *x = &m->list.flow[i];

			assert_int_equal(x->state, TCP_ESTABLISHED);
			assert_int_equal(x->session, f.there->session);
			assert_int_equal(seen[x->key.rport]++, 0);
		}
		total += m->list.count;
		cursor = m->list.cursor;
		free(m);
		assert_true(++batches < 1000);
	}
	assert_int_equal(total, FLOWS);
}

static void test_list_given_wild_cursor_ends(void **state)
{
	const uint64_t wild[] = {UINT64_MAX, UINT64_MAX - 1, 1ull << 32 | UINT32_MAX, 7ull << 32};

	(void)state;
	for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		struct engine_msg *m = list(0, ENGINE_CMD_LIST_FLOWS, wild[i]);

		assert_int_equal(m->list.count, 0);
		assert_true(m->list.cursor == UINT64_MAX);
		free(m);
	}
}

static void test_list_given_sessions_and_listeners_names_them(void **state)
{
	struct engine_msg *m;

	(void)state;
	open_pair(f.here);
	m = list(1, ENGINE_CMD_LIST_SESSIONS, 0);
	assert_int_equal(m->list.count, 1);
	assert_int_equal(m->list.session[0].session, f.there->session);
	assert_int_equal(m->list.session[0].conns, 1);
	free(m);
	m = list(1, ENGINE_CMD_LIST_LISTENERS, 0);
	assert_int_equal(m->list.count, 1);
	assert_int_equal(m->list.listener[0].port, PORT);
	assert_int_equal(m->list.listener[0].backlog, 16);
	free(m);
}

#define S(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(test_list_given_thousands_names_each_once),
		S(test_list_given_wild_cursor_ends),
		S(test_list_given_sessions_and_listeners_names_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
