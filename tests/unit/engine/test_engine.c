/* Birth and death of an engine, and its sleep. */
#include "fixture.h"

#include <fcntl.h>
#include <unistd.h>

static void test_engine_given_bad_limits_refuses_cleanly(void **state)
{
	struct engine_config cfg;
	struct engine *e = NULL;
	int before = dup(STDERR_FILENO);

	(void)state;
	close(before);
	for (int which = 0; which < 3; which++) {
		cfg = engine_of(0)->cfg;
		*(which == 0	     ? &cfg.limits.conns_max
			: which == 1 ? &cfg.limits.tws_max
				     : &cfg.limits.halves_max) = 0;
		assert_int_equal(engine_create(&e, &cfg, f.w.now_us), -EINVAL);
		assert_null(e);
	}
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
	assert_int_equal(dup(STDERR_FILENO), before); /* nothing leaked, nothing closed */
	close(before);
}

static void test_engine_given_no_work_sleeps_until_submission(void **state)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_CLOSE, 0)};
	struct engine *e = engine_of(0);
	const struct sim_ring *r = &f.here->ring[0];
	struct shm_slot_copy raw;

	(void)state;
	engine_session_woken(e, f.here->session);
	assert_true(engine_sleep_prepare(e));
	assert_true(shm_sleep_check(&r->line->unwatched));
	memcpy(raw.word, &s, sizeof(s));
	assert_int_equal(shm_ring_prod_push(&f.here->ring[0].submissions, &raw), 0);
	assert_int_equal(engine_turn(e, f.w.now_us), 0); /* not rung, not looked at */
	engine_session_woken(e, f.here->session);
	assert_false(engine_sleep_prepare(e)); /* there is a slot */
	assert_true(engine_turn(e, f.w.now_us) > 0);
	assert_true(engine_sleep_prepare(e));
	run_ms(5);
}

static void test_engine_given_live_sessions_dies_cleanly(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 1, 50000); /* the teardown finds it under way */
	sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	sim_world_step(&f.w, f.w.now_us + 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_engine_given_bad_limits_refuses_cleanly),
		T(test_engine_given_no_work_sleeps_until_submission),
		T(test_engine_given_live_sessions_dies_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
