/* Arenas: indices, zeroes, growth, and what happens when memory ends. */
#include "support.h"

#include <shm/arena.h>

#include <numa.h>
#include <signal.h>
#include <sys/resource.h>

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static void test_arena_bad_numbers_are_einval(void **state)
{
	struct shm_arena a;

	(void)state;
	assert_int_equal(shm_arena_init(&a, "t", 0, 1, -1), -EINVAL);
	assert_int_equal(shm_arena_init(&a, "t", 64, 0, -1), -EINVAL);
	assert_int_equal(shm_arena_init(&a, "t", 64, SHM_ARENA_NONE, -1), -EINVAL);
	assert_int_equal(shm_arena_init(&a, "t", SIZE_MAX / 2, 2, -1), -EINVAL);
}

static void test_arena_grows_to_max_in_place(void **state)
{
	enum { STRIDE = 1000, MAX = 5000 }; /* objects straddle pages and steps */
	struct shm_arena a;
	uint8_t *base;

	(void)state;
	assert_int_equal(shm_arena_init(&a, "t", STRIDE, MAX, -1), 0);
	base = a.base;
	assert_int_equal(a.grown, 0);
	for (uint32_t i = 0; i < MAX; i++) {
		assert_false(shm_arena_is_used(&a, i));
		assert_int_equal(shm_arena_alloc(&a), i);
		assert_true(shm_arena_is_used(&a, i));
		assert_true(is_zero(shm_arena_at(&a, i), STRIDE));
		memset(shm_arena_at(&a, i), 0xa5, STRIDE);
	}
	assert_ptr_equal(a.base, base);
	assert_int_equal(a.used, MAX);
	assert_int_equal(shm_arena_alloc(&a), SHM_ARENA_NONE);
	assert_false(shm_arena_is_used(&a, MAX));
	assert_false(shm_arena_is_used(&a, SHM_ARENA_NONE));
	shm_arena_fini(&a);
	assert_int_equal(a.fd, -1);
	shm_arena_fini(&a);
}

static void test_arena_idle_takes_little_memory(void **state)
{
	struct shm_arena a;

	(void)state;
	assert_int_equal(shm_arena_init(&a, "t", 512, 4000000, -1), 0);
	assert_int_equal(a.mapped_bytes, 0);
	assert_int_equal(shm_arena_alloc(&a), 0);
	assert_true(a.mapped_bytes <= 1 << 20);
	shm_arena_fini(&a);
}

static void test_arena_freed_is_zeroed_and_reused(void **state)
{
	struct shm_arena a;

	(void)state;
	assert_int_equal(shm_arena_init(&a, "t", 192, 100, -1), 0);
	for (uint32_t i = 0; i < 10; i++)
		memset(shm_arena_at(&a, shm_arena_alloc(&a)), 0xff, 192);
	shm_arena_free(&a, 3);
	shm_arena_free(&a, 7);
	assert_false(shm_arena_is_used(&a, 3));
	assert_true(shm_arena_is_used(&a, 4));
	assert_true(is_zero(shm_arena_at(&a, 3), 192)); /* a scan sees it as free */
	assert_int_equal(shm_arena_alloc(&a), 7);
	assert_int_equal(shm_arena_alloc(&a), 3);
	assert_true(is_zero(shm_arena_at(&a, 3), 192));
	assert_true(is_zero(shm_arena_at(&a, 7), 192));
	assert_int_equal(((uint8_t *)shm_arena_at(&a, 4))[0], 0xff);
	assert_int_equal(a.used, 10);
	shm_arena_fini(&a);
}

static void test_arena_random_use_never_doubles(void **state)
{
	enum { MAX = 300 };
	bool held[MAX] = {false};
	struct shm_arena a;
	uint32_t used = 0, seed = 1;

	(void)state;
	assert_int_equal(shm_arena_init(&a, "t", 4096, MAX, -1), 0);
	for (int i = 0; i < 20000; i++) {
		uint32_t idx;

		seed = seed * 1664525 + 1013904223;
		idx = (seed >> 8) % MAX;
		if (held[idx]) {
			shm_arena_free(&a, idx);
			held[idx] = false;
			used--;
		} else {
			idx = shm_arena_alloc(&a);
			assert_true(idx < MAX && !held[idx]);
			held[idx] = true;
			used++;
		}
		assert_int_equal(a.used, used);
	}
	shm_arena_fini(&a);
}

static void out_of_memory_child(void *arg)
{
	const struct rlimit limit = {1 << 20, 1 << 20}; /* of the file: growth fails past it */
	struct shm_arena a;
	uint32_t n = 0;

	(void)arg;
	signal(SIGXFSZ, SIG_IGN);
	CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHILD_CHECK(shm_arena_init(&a, "t", 4096, 1000, -1) == 0);
	while (shm_arena_alloc(&a) != SHM_ARENA_NONE)
		((uint8_t *)shm_arena_at(&a, n++))[4095] = 1;
	CHILD_CHECK(n == 256 && a.used == 256);
	CHILD_CHECK(shm_arena_alloc(&a) == SHM_ARENA_NONE);
	shm_arena_free(&a, 77);
	CHILD_CHECK(shm_arena_alloc(&a) == 77);
}

static void test_arena_out_of_memory_is_none_not_a_signal(void **state)
{
	(void)state;
	assert_int_equal(in_child(out_of_memory_child, NULL), 0);
}

static void test_arena_on_node_is_bound(void **state)
{
	struct shm_arena a;

	(void)state;
	assert_int_equal(shm_arena_init(&a, "t", 64, 100, 0), 0);
	assert_int_equal(shm_arena_alloc(&a), 0);
	assert_true(is_zero(shm_arena_at(&a, 0), 64));
	shm_arena_fini(&a);
	if (numa_available() < 0) {
		print_message("no NUMA here: a node is ignored\n");
		return;
	}
	assert_int_equal(shm_arena_init(&a, "t", 64, 100, numa_max_node() + 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena_bad_numbers_are_einval),
		cmocka_unit_test(test_arena_grows_to_max_in_place),
		cmocka_unit_test(test_arena_idle_takes_little_memory),
		cmocka_unit_test(test_arena_freed_is_zeroed_and_reused),
		cmocka_unit_test(test_arena_random_use_never_doubles),
		cmocka_unit_test(test_arena_out_of_memory_is_none_not_a_signal),
		cmocka_unit_test(test_arena_on_node_is_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
