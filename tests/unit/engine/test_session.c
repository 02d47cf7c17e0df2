/* The end of a session: what is freed at once, what becomes an orphan, and for how long. */
#include "fixture.h"

static void cut_link(bool cut)
{
	f.w.link.way[0].cut = cut;
	f.w.link.way[1].cut = cut;
}

static void test_session_given_death_at_rest_frees_all_at_once(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	sim_client_crash(f.here);
	sim_world_settle(&f.w);
	assert_true(f.here->gone);
	assert_int_equal(gauges(0).sessions, 0);
	assert_int_equal(gauges(0).socks, 0);
	run_ms(100);
	assert_true(p.there->flags & PROTO_FLOW_FIN);
	assert_int_equal(p.there->error, 0);
}

static void test_session_given_death_with_unread_data_resets(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.there, 1, 100);
	run_ms(50);
	sim_client_crash(f.here);
	run_ms(50);
	assert_int_equal(p.there->error, ECONNRESET);
	assert_true(f.here->gone);
	assert_int_equal(gauges(0).conns, 0);
}

/* What was submitted last is drained, sent, and pins the memory until it is acknowledged. */
static void test_session_given_death_with_unsent_bytes_delivers_them(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 0x41, 50000);
	sim_client_crash(f.here);
	sim_world_settle(&f.w);
	assert_false(f.here->gone);
	assert_int_equal(gauges(0).orphans, 1);
	run_ms(200);
	assert_int_equal(read_bytes(p.there, 0x41), 50000);
	assert_true(p.there->flags & PROTO_FLOW_FIN);
	assert_true(f.here->gone);
	assert_int_equal(gauges(0).orphans, 0);
}

static void test_session_given_orphan_unheard_times_out(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 0x42, 1000);
	sim_world_settle(&f.w);
	cut_link(true);
	sim_client_crash(f.here);
	run_ms(30000);
	assert_false(f.here->gone);
	run_ms(31000);
	assert_true(f.here->gone);
	assert_int_equal(engine_counters(engine_of(0))->orphans_timed_out, 1);
	assert_int_equal(gauges(0).conns, 0);
	assert_int_equal(engine_of(0)->descs.used, 0);
}

static int setup_no_orphans(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.host[0].limits.uid_orphans_max = 1;
	fixture_start();
	return 0;
}

static void test_session_given_too_many_orphans_resets_the_rest(void **state)
{
	struct pair p[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		p[i] = open_pair(f.here);
	for (int i = 0; i < 3; i++)
		send_bytes(p[i].here, 0x43, 20000);
	sim_client_crash(f.here);
	sim_world_settle(&f.w);
	assert_int_equal(gauges(0).orphans, 1);
	assert_int_equal(engine_counters(engine_of(0))->orphans_refused, 2);
	run_ms(1000);
	assert_true(f.here->gone);
}

static void test_session_given_death_of_listener_returns_the_queue(void **state)
{
	struct sim_sock *c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);

	(void)state;
	run_ms(50);
	assert_int_equal(f.listener->pending, 1);
	sim_client_crash(f.there);
	run_ms(50);
	assert_true(f.there->gone);
	assert_int_equal(c->error, ECONNRESET);
	assert_int_equal(engine_counters(engine_of(1))->accept_returned, 1);
	assert_int_equal(gauges(1).listeners, 0);
	assert_int_equal(gauges(1).conns, 0);
}

/* A completion ring that nobody read is no reason to forget what was submitted. */
static void test_session_given_death_with_full_completions_still_drains(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	f.here->deaf = true;
	for (int i = 0; i < 55; i++)
		sim_sock_setopt(p.here, PROTO_SET_NODELAY, 1);
	run_ms(2);
	while (sim_sock_setopt(p.here, PROTO_SET_NODELAY, 1))
		if (shm_ring_prod_cached_room(&f.here->ring[0].submissions) < 8)
			break;
	send_bytes(p.here, 0x44, 700);
	sim_client_crash(f.here);
	run_ms(100);
	assert_int_equal(read_bytes(p.there, 0x44), 700);
	assert_true(p.there->flags & PROTO_FLOW_FIN);
	assert_true(f.here->gone);
}

static void close_accepted(void)
{
	for (uint32_t i = 0; i < f.there->sock_count; i++)
		if (f.there->socks[i]->state == SIM_SOCK_OPEN && !f.there->socks[i]->closed)
			assert_true(sim_sock_close(f.there->socks[i], true));
	run_ms(1);
}

static void test_session_given_hundreds_of_deaths_leaks_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		struct sim_client *c = sim_client_new(&f.w.host[0], &f.client_cfg);

		run_ms(1);
		sim_client_connect(c, 0, sim_ip_be(1), PORT, 0);
		run_ms(i % 5);
		sim_client_crash(c);
		run_ms(5);
		assert_true(c->gone);
		sim_client_free(c);
		while (f.listener->pending > f.listener->accepting)
			sim_client_accept(f.listener, 0);
		run_ms(1);
		close_accepted();
	}
	run_ms(200);
	assert_int_equal(gauges(0).sessions, 1);
	assert_int_equal(gauges(0).socks, 0);
	assert_works(f.here);
}

static int setup_many(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.host[0].limits.conns_max = CLOSES_PER_TURN * 2;
	f.cfg.host[0].limits.session_conns_max = CLOSES_PER_TURN * 2;
	fixture_start();
	return 0;
}

/* More connections than one turn closes: the engine turns in between. */
static void test_session_given_death_with_many_sockets_closes_some_at_a_time(void **state)
{
	struct engine *e = engine_of(0);
	uint32_t socks;

	(void)state;
	for (uint32_t i = 0; i < CLOSES_PER_TURN + 10; i++) {
		sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
		run_ms(1);
	}
	socks = gauges(0).socks;
	assert_int_equal(socks, CLOSES_PER_TURN + 10);
	sim_client_crash(f.here);
	assert_int_equal(command_run(e), 1);
	assert_int_equal(gauges(0).socks, socks);
	assert_int_equal(session_close_some(e), CLOSES_PER_TURN);
	assert_int_equal(gauges(0).socks, 10);
	assert_true(engine_next_us(e) <= e->now_us + CLOSES_EVERY_US);
	assert_int_equal(session_close_some(e), 0); /* not before it is time */
	assert_int_equal(gauges(0).socks, 10);
	e->now_us += CLOSES_EVERY_US;
	assert_int_equal(session_close_some(e), 10);
	assert_int_equal(gauges(0).socks, 0);
	assert_int_equal(gauges(0).sessions, 0);
}

#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_session_given_death_at_rest_frees_all_at_once),
		T(test_session_given_death_with_unread_data_resets),
		T(test_session_given_death_with_unsent_bytes_delivers_them),
		T(test_session_given_orphan_unheard_times_out),
		S(test_session_given_too_many_orphans_resets_the_rest, setup_no_orphans),
		T(test_session_given_death_of_listener_returns_the_queue),
		T(test_session_given_death_with_full_completions_still_drains),
		S(test_session_given_death_with_many_sockets_closes_some_at_a_time, setup_many),
		T(test_session_given_hundreds_of_deaths_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
