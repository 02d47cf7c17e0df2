#include "histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct histogram h;

static int begin(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	return 0;
}

static void test_histogram_empty_zero(void **state)
{
	(void)state;
	assert_int_equal(histogram_quantile(&h, 0), 0);
	assert_int_equal(histogram_quantile(&h, 0.5), 0);
	assert_int_equal(histogram_quantile(&h, 1), 0);
}

static void test_histogram_small_values_exact(void **state)
{
	(void)state;
	for (uint64_t v = 1; v <= 100; v++)
		histogram_add(&h, v);
	assert_int_equal(h.count, 100);
	assert_int_equal(histogram_quantile(&h, 0), 1);
	assert_int_equal(histogram_quantile(&h, 0.01), 1);
	assert_int_equal(histogram_quantile(&h, 0.5), 50);
	assert_int_equal(histogram_quantile(&h, 0.99), 99);
	assert_int_equal(histogram_quantile(&h, 1), 100);
}

static void test_histogram_any_value_told_at_most_a_64th_too_high(void **state)
{
	uint64_t told;

	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		for (uint64_t part = 0; part < 16; part++) {
			uint64_t v = (UINT64_C(1) << bit) + part * ((UINT64_C(1) << bit) / 16);

			memset(&h, 0, sizeof(h));
			histogram_add(&h, v);
			histogram_add(&h, UINT64_MAX); /* so that the maximum does not help */
			told = histogram_quantile(&h, 0.5);
			assert_true(told >= v);
			assert_true(told - v <= v / 64);
		}
	}
}

static void test_histogram_largest_value_kept(void **state)
{
	(void)state;
	histogram_add(&h, UINT64_MAX);
	assert_int_equal(h.max, UINT64_MAX);
	assert_true(histogram_quantile(&h, 1) == UINT64_MAX);
}

static void test_histogram_a_slow_thousandth_shows_at_999(void **state)
{
	(void)state;
	for (int i = 0; i < 9989; i++)
		histogram_add(&h, 30000);
	for (int i = 0; i < 11; i++)
		histogram_add(&h, 4000000);
	assert_in_range(histogram_quantile(&h, 0.5), 30000, 30500);
	assert_in_range(histogram_quantile(&h, 0.99), 30000, 30500);
	assert_int_equal(histogram_quantile(&h, 0.999), 4000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_histogram_empty_zero, begin),
		cmocka_unit_test_setup(test_histogram_small_values_exact, begin),
		cmocka_unit_test_setup(
			test_histogram_any_value_told_at_most_a_64th_too_high, begin),
		cmocka_unit_test_setup(test_histogram_largest_value_kept, begin),
		cmocka_unit_test_setup(test_histogram_a_slow_thousandth_shows_at_999, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
