/* The flow table against a naive model: an array that says which keys are in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/table.h>

#include "rng.h"

#include <errno.h>
#include <stdlib.h>

enum {
	ENTRIES = 20000,
	LARGE_ENTRIES = 36000, /* in more than 8192 buckets */
	NONE = -1,
};

static const uint8_t hash_key[16] = {7, 1, 3};

/* Memory that counts what is out and can be made to fail. */
struct pool {
	uint64_t bytes_out;
	uint64_t bytes_max;
	unsigned int fail_percent;
	struct rng rng;
};

static void *pool_alloc(void *arg, size_t size)
{
	struct pool *p = arg;
	void *mem;

	if (p->fail_percent && rng_below(&p->rng, 100) < p->fail_percent)
		return NULL;
	mem = aligned_alloc(64, size);
	assert_non_null(mem);
	memset(mem, 0xa5, size);
	p->bytes_out += size;
	if (p->bytes_out > p->bytes_max)
		p->bytes_max = p->bytes_out;
	return mem;
}

static void pool_free(void *arg, void *mem, size_t size)
{
	struct pool *p = arg;

	assert_true(p->bytes_out >= size);
	p->bytes_out -= size;
	free(mem);
}

struct fixture {
	struct tcp_entry *entries; /* the same keys for conn and for half: replace() swaps them */
	struct tcp_space space;
	struct pool pool;
	struct tcp_table table;
};

static struct net_tuple key_of(uint32_t i)
{
	return (struct net_tuple){
		.local = net_addr_from_ip4(1),
		.remote = net_addr_from_ip4(0x0a000000 + i / 100),
		.lport = 80,
		.rport = (uint16_t)(1024 + i % 100),
	};
}

static void fixture_init(struct fixture *f, uint32_t entries_max)
{
	struct tcp_table_mem mem = {pool_alloc, pool_free, &f->pool};

	memset(f, 0, sizeof(*f));
	f->entries = calloc(entries_max + ENTRIES, sizeof(*f->entries));
	assert_non_null(f->entries);
	for (uint32_t i = 0; i < entries_max + ENTRIES; i++)
		f->entries[i].key = key_of(i);
	for (int k = 0; k < TCP_KIND_COUNT; k++) {
		f->space.base[k] = (uint8_t *)f->entries;
		f->space.stride[k] = sizeof(*f->entries);
	}
	assert_int_equal(tcp_table_init(&f->table, &f->space, entries_max, hash_key, &mem), 0);
}

static void fixture_fini(struct fixture *f)
{
	tcp_table_fini(&f->table);
	assert_int_equal(f->pool.bytes_out, 0);
	free(f->entries);
}

static uint64_t hash_of(struct fixture *f, uint32_t i)
{
	return tcp_table_hash(&f->table, &f->entries[i].key);
}

static tcp_ref lookup(struct fixture *f, uint32_t i)
{
	struct net_tuple key = key_of(i);

	tcp_table_prefetch(&f->table, hash_of(f, i));
	return tcp_table_lookup(&f->table, hash_of(f, i), &key);
}

static void test_table_init_bounds_refused(void **state)
{
	struct tcp_table t;
	struct tcp_space space = {0};
	struct pool pool = {.fail_percent = 100};
	struct tcp_table_mem mem = {pool_alloc, pool_free, &pool};

	(void)state;
	assert_int_equal(tcp_table_init(&t, &space, 0, hash_key, &mem), -EINVAL);
	assert_int_equal(tcp_table_init(&t, &space, UINT32_MAX, hash_key, &mem), -EINVAL);
	assert_int_equal(tcp_table_init(&t, &space, 100, hash_key, &mem), -ENOMEM);
}

static void test_table_grown_and_shrunk_keeps_every_entry(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, ENTRIES);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		assert_int_equal(lookup(&f, i), (tcp_ref)TCP_REF_NONE);
		assert_int_equal(tcp_table_insert(&f.table, hash_of(&f, i), tcp_ref_make(0, i)), 0);
	}
	assert_int_equal(tcp_table_count(&f.table), ENTRIES);
	/* At most 16 bytes a flow in buckets, and some overflow and rounding. */
	assert_true(f.pool.bytes_max < ENTRIES * 24 + 2 * 65536);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(lookup(&f, i), i);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		tcp_table_remove(&f.table, hash_of(&f, i), i);
		assert_int_equal(lookup(&f, i), (tcp_ref)TCP_REF_NONE);
		if (i + 1 < ENTRIES)
			assert_int_equal(lookup(&f, ENTRIES - 1), ENTRIES - 1);
	}
	/* Shrunk to the first segment and the directory. */
	assert_true(f.pool.bytes_out <= 65536 + 1024);
	fixture_fini(&f);
}

static void test_table_insert_full_or_twice_refused(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(tcp_table_insert(&f.table, hash_of(&f, i), i), 0);
	assert_int_equal(tcp_table_insert(&f.table, hash_of(&f, 3), 3), -ENOMEM);
	tcp_table_remove(&f.table, hash_of(&f, 2), 2);
	assert_int_equal(
		tcp_table_insert(&f.table, hash_of(&f, 0), tcp_ref_make(TCP_KIND_TW, 0)), -EEXIST);
	assert_int_equal(tcp_table_count(&f.table), 2);
	fixture_fini(&f);
}

static void test_table_replace_finds_the_new_kind(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, ENTRIES);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(
			tcp_table_insert(&f.table, hash_of(&f, i), tcp_ref_make(TCP_KIND_HALF, i)),
			0);
	tcp_table_replace(&f.table, hash_of(&f, 50), tcp_ref_make(TCP_KIND_HALF, 50),
		tcp_ref_make(TCP_KIND_CONN, 50));
	assert_int_equal(lookup(&f, 50), tcp_ref_make(TCP_KIND_CONN, 50));
	assert_int_equal(tcp_table_count(&f.table), 100);
	fixture_fini(&f);
}

/* What is in a large table is not looked at when buckets split and merge: it may be anything. */
static void test_table_large_splits_and_merges_without_keys(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 3 * LARGE_ENTRIES);
	for (uint32_t i = 0; i < LARGE_ENTRIES; i++)
		assert_int_equal(tcp_table_insert(&f.table, hash_of(&f, i), i), 0);
	for (uint32_t i = 0; i < LARGE_ENTRIES; i++)
		f.entries[i].key = (struct net_tuple){.lport = 1};
	for (uint32_t i = LARGE_ENTRIES; i < 3 * LARGE_ENTRIES; i++)
		assert_int_equal(tcp_table_insert(&f.table, hash_of(&f, i), i), 0);
	for (uint32_t i = LARGE_ENTRIES; i < 3 * LARGE_ENTRIES; i++)
		tcp_table_remove(&f.table, hash_of(&f, i), i);
	for (uint32_t i = 0; i < LARGE_ENTRIES; i++)
		f.entries[i].key = key_of(i);
	for (uint32_t i = 0; i < 3 * LARGE_ENTRIES; i++)
		assert_int_equal(lookup(&f, i), i < LARGE_ENTRIES ? i : (tcp_ref)TCP_REF_NONE);
	fixture_fini(&f);
}

/* Growth that fails only makes chains longer: all that was accepted is found. */
static void test_table_no_memory_to_grow_still_serves(void **state)
{
	struct fixture f;
	uint32_t refused = 0;

	(void)state;
	fixture_init(&f, ENTRIES);
	f.pool.fail_percent = 100;
	for (uint32_t i = 0; i < ENTRIES; i++) {
		int rc = tcp_table_insert(&f.table, hash_of(&f, i), i);

		assert_true(rc == 0 || rc == -ENOMEM);
		refused += rc != 0;
		assert_int_equal(lookup(&f, i), rc ? (tcp_ref)TCP_REF_NONE : i);
	}
	assert_true(refused > 0 && tcp_table_count(&f.table) == ENTRIES - refused);
	assert_true(tcp_table_count(&f.table) > 4000); /* one segment holds 1024 * 4 */
	f.pool.fail_percent = 0;
	for (uint32_t i = 0; i < ENTRIES; i++)
		if (lookup(&f, i) == (tcp_ref)TCP_REF_NONE)
			assert_int_equal(tcp_table_insert(&f.table, hash_of(&f, i), i), 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(lookup(&f, i), i);
	fixture_fini(&f);
}

/* A merge that would need a line and gets none is put off: nothing is lost. */
static void test_table_no_memory_to_shrink_still_serves(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, ENTRIES);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(tcp_table_insert(&f.table, hash_of(&f, i), i), 0);
	f.pool.fail_percent = 100;
	for (uint32_t i = 0; i < ENTRIES; i++) {
		tcp_table_remove(&f.table, hash_of(&f, i), i);
		if (i % 1000 == 0)
			for (uint32_t j = 0; j < ENTRIES; j++)
				assert_int_equal(lookup(&f, j), j > i ? j : (tcp_ref)TCP_REF_NONE);
	}
	assert_int_equal(tcp_table_count(&f.table), 0);
	fixture_fini(&f);
}

/* One random step on both table and model. `drift` pulls the size up or down. */
static void random_step(struct fixture *f, int64_t *model, struct rng *r, bool up, uint32_t range)
{
	uint32_t i = (uint32_t)rng_below(r, range);
	tcp_ref ref = tcp_ref_make((enum tcp_kind)rng_below(r, TCP_KIND_COUNT), i);

	assert_int_equal(
		lookup(f, i), model[i] == NONE ? (tcp_ref)TCP_REF_NONE : (tcp_ref)model[i]);
	if (model[i] == NONE) {
		if (!up && rng_below(r, 4))
			return;
		if (tcp_table_insert(&f->table, hash_of(f, i), ref) == 0)
			model[i] = ref;
		else
			assert_true(f->pool.fail_percent > 0);
	} else if (rng_below(r, 4) == 0) {
		tcp_table_replace(&f->table, hash_of(f, i), (tcp_ref)model[i], ref);
		model[i] = ref;
	} else if (!up || rng_below(r, 4) == 0) {
		tcp_table_remove(&f->table, hash_of(f, i), (tcp_ref)model[i]);
		model[i] = NONE;
	}
}

static void test_table_random_operations_match_the_model(void **state)
{
	static int64_t model[ENTRIES];

	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct rng r = {seed};
		uint32_t range = seed % 3 ? ENTRIES : 40;
		uint32_t count = 0;
		struct fixture f;

		fixture_init(&f, ENTRIES);
		f.pool.fail_percent = seed % 2 ? 0 : 30;
		for (uint32_t i = 0; i < ENTRIES; i++)
			model[i] = NONE;
		for (uint32_t step = 0; step < 60000; step++)
			random_step(&f, model, &r, step / 15000 % 2 == 0, range);
		for (uint32_t i = 0; i < ENTRIES; i++) {
			count += model[i] != NONE;
			assert_int_equal(lookup(&f, i),
				model[i] == NONE ? (tcp_ref)TCP_REF_NONE : (tcp_ref)model[i]);
		}
		assert_int_equal(tcp_table_count(&f.table), count);
		fixture_fini(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_init_bounds_refused),
		cmocka_unit_test(test_table_grown_and_shrunk_keeps_every_entry),
		cmocka_unit_test(test_table_insert_full_or_twice_refused),
		cmocka_unit_test(test_table_replace_finds_the_new_kind),
		cmocka_unit_test(test_table_large_splits_and_merges_without_keys),
		cmocka_unit_test(test_table_no_memory_to_grow_still_serves),
		cmocka_unit_test(test_table_no_memory_to_shrink_still_serves),
		cmocka_unit_test(test_table_random_operations_match_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
