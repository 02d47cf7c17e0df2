#include "frames.h"

#include <net/ratelimit.h>

static unsigned int take_all(struct net_ratelimit *rl, uint64_t now_us, unsigned int max)
{
	unsigned int n = 0;

	while (n < max && net_ratelimit_take(rl, now_us))
		n++;
	return n;
}

static void test_ratelimit_burst_then_rate(void **state)
{
	struct net_ratelimit rl;

	(void)state;
	net_ratelimit_init(&rl, 100, 5, 1000);
	assert_int_equal(take_all(&rl, 1000, 100), 5);
	assert_int_equal(take_all(&rl, 1000 + 9999, 100), 0);
	assert_int_equal(take_all(&rl, 1000 + 10000, 100), 1);
	assert_int_equal(take_all(&rl, 1000 + 40000, 100), 3);
}

static void test_ratelimit_long_idle_caps_at_burst(void **state)
{
	struct net_ratelimit rl;

	(void)state;
	net_ratelimit_init(&rl, 100, 5, 0);
	assert_int_equal(take_all(&rl, UINT64_MAX, 100), 5);
}

static void test_ratelimit_long_run_holds_rate(void **state)
{
	struct net_ratelimit rl;
	unsigned int n = 0;

	(void)state;
	net_ratelimit_init(&rl, 1000, 10, 0);
	for (uint64_t now_us = 0; now_us < 10000000; now_us += 130)
		n += net_ratelimit_take(&rl, now_us);
	assert_in_range(n, 9990, 10010);
}

static void test_ratelimit_time_stepping_back_gives_nothing(void **state)
{
	struct net_ratelimit rl;

	(void)state;
	net_ratelimit_init(&rl, 10, 1, 5000000);
	assert_true(net_ratelimit_take(&rl, 5000000));
	assert_false(net_ratelimit_take(&rl, 1));
	assert_false(net_ratelimit_take(&rl, 5000000));
	assert_true(net_ratelimit_take(&rl, 5100000));
}

static void test_ratelimit_zero_is_no_limit(void **state)
{
	struct net_ratelimit rl;

	(void)state;
	net_ratelimit_init(&rl, 0, 0, 0);
	assert_int_equal(take_all(&rl, 0, 1000), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ratelimit_burst_then_rate),
		cmocka_unit_test(test_ratelimit_long_idle_caps_at_burst),
		cmocka_unit_test(test_ratelimit_long_run_holds_rate),
		cmocka_unit_test(test_ratelimit_time_stepping_back_gives_nothing),
		cmocka_unit_test(test_ratelimit_zero_is_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
