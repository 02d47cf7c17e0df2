/* The pool of receive chunks: no piece twice, and every slab comes back. */
#include "fixture.h"

enum {
	SLABS = 4,
};

static struct chunk_pool pool;
static uint8_t memory[SLABS * SLAB_BYTES];

static int setup(void **state)
{
	(void)state;
	pool = (struct chunk_pool){0};
	return chunk_pool_add(&pool, 0, memory, 0, sizeof(memory));
}

static int teardown(void **state)
{
	(void)state;
	chunk_pool_fini(&pool);
	return 0;
}

static void test_chunk_given_mixed_sizes_lends_each_byte_once(void **state)
{
	static uint8_t owner[sizeof(memory)];
	struct rx_chunk c;
	uint8_t n = 0;

	(void)state;
	memset(owner, 0, sizeof(owner));
	while (chunk_pool_take(&pool, &c, ++n % 8 == 0)) {
		uint8_t *at = owner + (chunk_pool_base(&pool, &c) - memory);

		for (uint32_t i = 0; i < c.cap + sizeof(struct proto_chunk); i++) {
			assert_int_equal(at[i], 0);
			at[i] = n;
		}
		assert_int_equal(proto_ref_offset(chunk_pool_ref(&pool, &c)), at - owner);
	}
	assert_int_equal(pool.chunks_used, n - 1);
}

/* Whichever slab is free first is free for others at once. */
static void test_chunk_given_any_order_frees_whole_slabs(void **state)
{
	struct rx_chunk c[SLABS][CHUNK_SMALL_PER_SLAB];

	(void)state;
	for (int i = 0; i < SLABS; i++)
		for (int k = 0; k < CHUNK_SMALL_PER_SLAB; k++)
			assert_true(chunk_pool_take(&pool, &c[i][k], false));
	assert_int_equal(pool.free_count, 0);
	for (int i = 0; i < SLABS; i++)
		chunk_pool_give(&pool, &c[i][0]); /* all are partial now, the last in front */
	for (int i = 0; i < SLABS; i++) {
		for (int k = 1; k < CHUNK_SMALL_PER_SLAB; k++)
			chunk_pool_give(&pool, &c[i][k]);
		assert_int_equal(pool.free_count, i + 1);
	}
	assert_int_equal(pool.chunks_used, 0);
	assert_true(chunk_pool_take(&pool, &c[0][0], true));
}

static void test_chunk_given_segment_added_goes_on(void **state)
{
	static uint8_t more[2 * SLAB_BYTES];
	struct rx_chunk c;

	(void)state;
	while (chunk_pool_take(&pool, &c, true))
		;
	assert_int_equal(chunk_pool_add(&pool, 3, more, 0, sizeof(more)), 0);
	assert_true(chunk_pool_take(&pool, &c, false));
	assert_int_equal(proto_ref_segment(chunk_pool_ref(&pool, &c)), 3);
}

#define C(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		C(test_chunk_given_mixed_sizes_lends_each_byte_once),
		C(test_chunk_given_any_order_frees_whole_slabs),
		C(test_chunk_given_segment_added_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
