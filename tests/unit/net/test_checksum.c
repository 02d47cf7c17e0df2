#include "frames.h"

#include <net/checksum.h>

enum {
	LEN_MAX = 2100,
	ROUNDS = 20000,
};

static uint8_t data[LEN_MAX + 64];

static void fill_random(uint64_t *x)
{
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(next_random(x) >> 24);
}

/* The finished checksum as it would lie in a frame, read in network order. */
static uint16_t finish(uint32_t sum)
{
	uint16_t folded = net_checksum_fold(sum);
	uint8_t b[2];

	memcpy(b, &folded, 2);
	return (uint16_t)(b[0] << 8 | b[1]);
}

/* 0 and 0xffff are the same number in one's complement. */
static void assert_same_sum(uint16_t a, uint16_t b)
{
	assert_int_equal(a % 0xffff, b % 0xffff);
}

static void test_checksum_rfc1071_example_matches(void **state)
{
	static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	(void)state;
	assert_int_equal(finish(net_checksum_add(0, example, sizeof(example))), 0xffff - 0xddf2);
}

static void test_checksum_every_length_and_alignment_matches_naive(void **state)
{
	uint64_t x = 1;

	(void)state;
	fill_random(&x);
	for (size_t len = 0; len < 300; len++)
		for (size_t at = 0; at < 9; at++)
			assert_same_sum(finish(net_checksum_add(0, data + at, len)),
				naive_checksum(0, data + at, len));
}

static void test_checksum_random_matches_naive(void **state)
{
	uint64_t x = 2;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		size_t len = next_random(&x) % LEN_MAX;
		size_t at = next_random(&x) % 64;

		if (i % 64 == 0)
			fill_random(&x);
		assert_same_sum(finish(net_checksum_add(0, data + at, len)),
			naive_checksum(0, data + at, len));
	}
}

static void test_checksum_all_ones_does_not_overflow(void **state)
{
	static uint8_t ones[1 << 20];

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(finish(net_checksum_add(0, ones, sizeof(ones))), 0);
	assert_int_equal(finish(net_checksum_add(0xffffffff, ones, sizeof(ones))), 0);
}

static void test_checksum_zeroes_give_ones(void **state)
{
	static const uint8_t zero[40];

	(void)state;
	assert_int_equal(net_checksum_fold(net_checksum_add(0, zero, sizeof(zero))), 0xffff);
	assert_int_equal(net_checksum_reduce(net_checksum_add(0, zero, 0)), 0);
}

/* What transmission does: headers, then pieces of any length, copied where they go. */
static void test_checksum_copy_of_odd_pieces_matches_whole(void **state)
{
	static uint8_t copy[LEN_MAX];
	uint64_t x = 3;

	(void)state;
	for (int i = 0; i < ROUNDS / 10; i++) {
		size_t len = next_random(&x) % LEN_MAX, off = 0;
		uint32_t sum = 0;

		fill_random(&x);
		memset(copy, 0, sizeof(copy));
		while (off < len) {
			size_t n = 1 + next_random(&x) % 97;

			n = n < len - off ? n : len - off;
			sum = net_checksum_append(
				sum, net_checksum_copy(copy + off, data + off, n), off);
			off += n;
		}
		assert_memory_equal(copy, data, len);
		assert_same_sum(finish(sum), naive_checksum(0, data, len));
	}
}

static void test_checksum_copy_writes_only_its_bytes(void **state)
{
	uint8_t copy[128];
	uint64_t x = 4;

	(void)state;
	fill_random(&x);
	for (size_t len = 0; len < 100; len++) {
		memset(copy, 0xa5, sizeof(copy));
		net_checksum_copy(copy + 8, data, len);
		for (size_t i = 0; i < 8; i++)
			assert_int_equal(copy[i], 0xa5);
		for (size_t i = 8 + len; i < sizeof(copy); i++)
			assert_int_equal(copy[i], 0xa5);
	}
}

static void test_checksum_pseudo4_matches_naive(void **state)
{
	uint8_t pseudo[12] = {10, 1, 2, 3, 192, 168, 255, 254, 0, 6, 0xfe, 0xdc};

	(void)state;
	assert_same_sum(
		finish(net_checksum_pseudo4(ip4(10, 1, 2, 3), ip4(192, 168, 255, 254), 6, 0xfedc)),
		naive_checksum(0, pseudo, sizeof(pseudo)));
}

static void test_checksum_stored_makes_whole_zero(void **state)
{
	uint64_t x = 5;

	(void)state;
	fill_random(&x);
	for (size_t len = 2; len < 200; len++) {
		uint16_t check;

		memset(data, 0, 2);
		check = net_checksum_fold(net_checksum_add(0, data, len));
		memcpy(data, &check, 2);
		assert_int_equal(net_checksum_fold(net_checksum_add(0, data, len)), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum_rfc1071_example_matches),
		cmocka_unit_test(test_checksum_every_length_and_alignment_matches_naive),
		cmocka_unit_test(test_checksum_random_matches_naive),
		cmocka_unit_test(test_checksum_all_ones_does_not_overflow),
		cmocka_unit_test(test_checksum_zeroes_give_ones),
		cmocka_unit_test(test_checksum_copy_of_odd_pieces_matches_whole),
		cmocka_unit_test(test_checksum_copy_writes_only_its_bytes),
		cmocka_unit_test(test_checksum_pseudo4_matches_naive),
		cmocka_unit_test(test_checksum_stored_makes_whole_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
