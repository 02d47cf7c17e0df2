/* Users' quotas: sessions, pending connections, attach rate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctl/uid.h>

#include <errno.h>

static const struct uid_limits limits = {.sessions_max = 2,
	.pending_max = 3,
	.attach_rate_per_s = 4,
	.memory_max_bytes = 100,
	.memory_all_max_bytes = 150};

static int setup(void **state)
{
	return uid_table_create((struct uid_table **)state, &limits);
}

static int teardown(void **state)
{
	uid_table_destroy(*state);
	return 0;
}

static void test_uid_session_at_limit_refuses_that_user_alone(void **state)
{
	struct uid_table *t = *state;

	assert_int_equal(uid_session_begin(t, 1, 0), 0);
	assert_int_equal(uid_session_begin(t, 1, 0), 0);
	assert_int_equal(uid_session_begin(t, 1, 0), -EDQUOT);
	assert_int_equal(uid_session_begin(t, 2, 0), 0);
	uid_session_end(t, 1);
	assert_int_equal(uid_sessions(t, 1), 1);
	assert_int_equal(uid_session_begin(t, 1, 0), 0);
}

static void test_uid_memory_is_bounded_for_one_and_for_all(void **state)
{
	struct uid_table *t = *state;

	assert_int_equal(uid_session_begin(t, 1, 0), 0);
	assert_int_equal(uid_session_begin(t, 2, 0), 0);
	assert_int_equal(uid_memory_take(t, 1, 60), 0);
	assert_int_equal(uid_memory_take(t, 1, 41), -ENOMEM);
	assert_int_equal(uid_memory_take(t, 1, UINT64_MAX), -ENOMEM);
	assert_int_equal(uid_memory_take(t, 1, 40), 0);
	assert_int_equal(uid_memory_take(t, 2, 51), -ENOMEM);
	assert_int_equal(uid_memory_take(t, 2, 50), 0);
	uid_memory_give(t, 1, 100);
	assert_int_equal(uid_memory_take(t, 2, 50), 0);
	uid_memory_give(t, 2, 100);
}

static void test_uid_pending_at_limit_refuses(void **state)
{
	struct uid_table *t = *state;

	for (int i = 0; i < 3; i++)
		assert_int_equal(uid_pending_begin(t, 5, 0), 0);
	assert_int_equal(uid_pending_begin(t, 5, 0), -EAGAIN);
	uid_pending_end(t, 5);
	assert_int_equal(uid_pending_begin(t, 5, 0), 0);
}

static void test_uid_rate_spent_comes_back_with_time(void **state)
{
	struct uid_table *t = *state;

	for (int i = 0; i < 4; i++)
		assert_int_equal(uid_rate_take(t, 7, 1000), 0);
	assert_int_equal(uid_rate_take(t, 7, 1000), -EAGAIN);
	assert_int_equal(uid_rate_take(t, 7, 1000 + 249999), -EAGAIN);
	assert_int_equal(uid_rate_take(t, 7, 1000 + 250001), 0);
	assert_int_equal(uid_rate_take(t, 7, 1000 + 250001), -EAGAIN);
	/* a long time gives no more than one second's worth */
	for (int i = 0; i < 4; i++)
		assert_int_equal(uid_rate_take(t, 7, UINT64_C(1) << 60), 0);
	assert_int_equal(uid_rate_take(t, 7, UINT64_C(1) << 60), -EAGAIN);
}

static void test_uid_table_full_refuses_strangers_until_swept(void **state)
{
	struct uid_table *t = *state;

	for (uint32_t uid = 0; uid < UID_ENTRIES_MAX; uid++)
		assert_int_equal(uid_rate_take(t, uid, 0), 0);
	assert_int_equal(uid_rate_take(t, 99999, 0), -ENOMEM);
	assert_int_equal(uid_session_begin(t, 3, 0), 0);
	assert_int_equal(uid_table_sweep(t, 100), UID_ENTRIES_MAX); /* tokens are still out */
	assert_int_equal(uid_table_sweep(t, 2000000), 1);	    /* but the session */
	assert_int_equal(uid_sessions(t, 3), 1);
	assert_int_equal(uid_rate_take(t, 99999, 2000000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_uid_session_at_limit_refuses_that_user_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_uid_memory_is_bounded_for_one_and_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_uid_pending_at_limit_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_uid_rate_spent_comes_back_with_time, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_uid_table_full_refuses_strangers_until_swept, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
