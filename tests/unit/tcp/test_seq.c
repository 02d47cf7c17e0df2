#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/seq.h>

static void test_seq_order_holds_across_the_wrap(void **state)
{
	(void)state;
	assert_true(tcp_seq_lt(0xffffffff, 0));
	assert_true(tcp_seq_gt(5, 0xfffffff0));
	assert_false(tcp_seq_lt(7, 7));
	assert_true(tcp_seq_leq(7, 7));
	assert_true(tcp_seq_geq(7, 7));
	assert_false(tcp_seq_geq(0xffffffff, 0));
	assert_int_equal(tcp_seq_diff(2, 0xfffffffe), 4);
	assert_int_equal(tcp_seq_diff(0xfffffffe, 2), -4);
	assert_int_equal(tcp_seq_max(0xfffffff0, 3), 3);
	assert_int_equal(tcp_seq_min(0xfffffff0, 3), 0xfffffff0);
}

static void test_seq_within_half_open_range(void **state)
{
	(void)state;
	assert_true(tcp_seq_within(0xfffffffe, 0xfffffffe, 4));
	assert_true(tcp_seq_within(1, 0xfffffffe, 4));
	assert_false(tcp_seq_within(2, 0xfffffffe, 4));
	assert_false(tcp_seq_within(0xfffffffd, 0xfffffffe, 4));
	assert_false(tcp_seq_within(9, 9, 0));
}

/* RFC 9293 section 3.10.7.4, table 6, one line per case. */
static void test_seq_acceptable_four_cases_of_rfc9293(void **state)
{
	(void)state;
	/* Length 0, window 0: exactly RCV.NXT. */
	assert_true(tcp_seq_acceptable(100, 0, 100, 0));
	assert_false(tcp_seq_acceptable(101, 0, 100, 0));
	assert_false(tcp_seq_acceptable(99, 0, 100, 0));
	/* Length 0, window > 0: inside the window. */
	assert_true(tcp_seq_acceptable(100, 0, 100, 10));
	assert_true(tcp_seq_acceptable(109, 0, 100, 10));
	assert_false(tcp_seq_acceptable(110, 0, 100, 10));
	assert_false(tcp_seq_acceptable(99, 0, 100, 10));
	/* Length > 0, window 0: never. */
	assert_false(tcp_seq_acceptable(100, 1, 100, 0));
	assert_false(tcp_seq_acceptable(99, 2, 100, 0));
	/* Length > 0, window > 0: the first or the last byte inside. */
	assert_true(tcp_seq_acceptable(95, 6, 100, 10));
	assert_false(tcp_seq_acceptable(95, 5, 100, 10));
	assert_true(tcp_seq_acceptable(109, 500, 100, 10));
	assert_false(tcp_seq_acceptable(110, 1, 100, 10));
	assert_true(tcp_seq_acceptable(0xfffffffd, 4, 0, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seq_order_holds_across_the_wrap),
		cmocka_unit_test(test_seq_within_half_open_range),
		cmocka_unit_test(test_seq_acceptable_four_cases_of_rfc9293),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
