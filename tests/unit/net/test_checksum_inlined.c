/* The checksum of bytes that the compiler knows, as where it is inlined across files: words that it
 * knows to be equal are in one register, which the sum must not be. With clang at -O1 it was. */
#include "../../../daemon/net/checksum.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const uint64_t known[8] = {5, 0, 0, 0, 7, 0, 0, 12};

static void test_checksum_given_known_words_expected_their_sum(void **state)
{
	uint8_t copy[sizeof(known)];

	(void)state;
	assert_int_equal(net_checksum_add(0, known, 32), 5);
	assert_int_equal(net_checksum_copy(copy, known, 32), 5);
	assert_int_equal(net_checksum_add(0, known, 64), 24);
	assert_int_equal(net_checksum_add(5, known, 32), 10);
	assert_int_equal(net_checksum_copy(copy, known, 64), 24);
	assert_memory_equal(copy, known, sizeof(known));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum_given_known_words_expected_their_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
