#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/siphash.h>

#include <string.h>

static void counting_bytes(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)i;
}

/* The reference implementation's vectors: key and data count up from 0. Length 15 is the
 * example of the paper's appendix A. */
static void test_siphash24_reference_vectors_match(void **state)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vectors[] = {
		{0, 0x726fdb47dd0e0e31},
		{1, 0x74f839c593dc67fd},
		{2, 0x0d6c8009d9a94f5a},
		{3, 0x85676696d7fb7e2d},
		{7, 0xab0200f58b01d137},
		{8, 0x93f5f5799a932462},
		{15, 0xa129ca6149be45e5},
		{16, 0x3f2acc7f57c29bdb},
		{63, 0x958a324ceb064572},
	};
	uint8_t key[16];
	uint8_t data[64];

	(void)state;
	counting_bytes(key, sizeof(key));
	counting_bytes(data, sizeof(data));
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_true(tcp_siphash24(key, data, vectors[i].len) == vectors[i].hash);
}

/* From CPython 3.11, which hashes bytes with SipHash-1-3 and, under PYTHONHASHSEED=0, with
 * a key of zeroes: hash(bytes(range(n))). */
static void test_siphash13_cpython_values_match(void **state)
{
	static const uint8_t key[16];
	uint8_t data[36];
	uint64_t first;
	uint32_t rest;

	(void)state;
	counting_bytes(data, sizeof(data));
	assert_true(tcp_siphash13(key, data, 7) == 0x2f098ab0c751325a);
	assert_true(tcp_siphash13(key, data, 8) == 0xead411e67ebe2eea);
	assert_true(tcp_siphash13(key, data, 36) == 0xac77921fcc642bd3);
	memcpy(&first, data, sizeof(first));
	memcpy(&rest, data + 8, sizeof(rest));
	assert_true(tcp_siphash13_twelve(key, first, rest) == tcp_siphash13(key, data, 12));
}

static void test_siphash_unaligned_data_hashes_the_same(void **state)
{
	static const uint8_t key[16] = {1};
	uint8_t data[48];

	(void)state;
	counting_bytes(data, sizeof(data));
	for (size_t at = 1; at < 8; at++) {
		uint8_t moved[56];

		for (size_t i = 0; i < sizeof(data); i++)
			moved[at + i] = data[i];
		assert_true(tcp_siphash24(key, moved + at, 48) == tcp_siphash24(key, data, 48));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash24_reference_vectors_match),
		cmocka_unit_test(test_siphash13_cpython_values_match),
		cmocka_unit_test(test_siphash_unaligned_data_hashes_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
