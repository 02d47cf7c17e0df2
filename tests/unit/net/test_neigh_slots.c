/* The seqlock of one slot under a writer that never rests: every field of what is read belongs
 * to the same write. */
#include "frames.h"

#include <net/neigh_slots.h>

#include <pthread.h>

enum {
	WRITES = 1000000,
	READERS = 2,
};

static struct net_neigh_table *table;
static _Atomic bool writer_done;
static _Atomic uint64_t torn, whole;

static int setup(void **state)
{
	void *mem = aligned_alloc(NET_NEIGH_ALIGN, net_neigh_size(NET_NEIGH_CAPACITY_MIN));

	(void)state;
	assert_non_null(mem);
	table = net_neigh_init(mem, NET_NEIGH_CAPACITY_MIN, 99);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(table);
	return 0;
}

/* All fields follow from one number. */
static struct neigh_entry entry_of(uint32_t n)
{
	struct neigh_entry e = {
		.addr = {{0x20, 1}},
		.state = (uint8_t)(1 + n % (NET_NEIGH_STATE_COUNT - 1)),
		.requests = n % 100,
		.learned = n & 1,
		.since_us = (uint64_t)n * 3,
		.changed_us = (uint64_t)n << 32,
	};

	memcpy(e.addr.b + 4, &n, sizeof(n));
	memcpy(e.addr.b + 12, &n, sizeof(n));
	memcpy(e.mac.b, &n, sizeof(n));
	return e;
}

static bool same(const struct neigh_entry *a, const struct neigh_entry *b)
{
	return net_addr_equal(&a->addr, &b->addr) && net_mac_equal(&a->mac, &b->mac) &&
	       a->state == b->state && a->requests == b->requests && a->learned == b->learned &&
	       a->since_us == b->since_us && a->changed_us == b->changed_us;
}

static void write_slot(const struct neigh_entry *e)
{
	net_neigh_lock(table);
	net_neigh_slot_write(table, &table->slot[3], e);
	net_neigh_unlock(table);
}

static void *reader(void *arg)
{
	(void)arg;
	while (!atomic_load(&writer_done)) {
		struct neigh_entry got, want;
		uint32_t n;

		if (!net_neigh_slot_read(&table->slot[3], &got))
			continue;
		memcpy(&n, got.addr.b + 4, sizeof(n));
		want = entry_of(n);
		atomic_fetch_add_explicit(
			same(&got, &want) ? &whole : &torn, 1, memory_order_relaxed);
	}
	return NULL;
}

static void test_neigh_slot_read_is_never_torn(void **state)
{
	pthread_t thread[READERS];

	(void)state;
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, reader, NULL), 0);
	for (uint32_t n = 1; n <= WRITES; n++) {
		struct neigh_entry e = entry_of(n);

		write_slot(&e);
	}
	atomic_store(&writer_done, true);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(atomic_load(&torn), 0);
	assert_true(atomic_load(&whole) > 0);
}

static void test_neigh_slot_read_gives_what_was_written(void **state)
{
	struct neigh_entry got, want = entry_of(0xfedcba98);

	(void)state;
	assert_false(net_neigh_slot_read(&table->slot[3], &got));
	write_slot(&want);
	assert_true(net_neigh_slot_read(&table->slot[3], &got));
	assert_true(same(&got, &want));
}

/* A writer that died or lost its core in the middle of a change must not hang readers. */
static void test_neigh_slot_read_under_stuck_writer_gives_up(void **state)
{
	struct neigh_entry got, e = entry_of(8);

	(void)state;
	write_slot(&e);
	atomic_fetch_add(&table->slot[3].seq, 1);
	assert_false(net_neigh_slot_read(&table->slot[3], &got));
}

static void test_neigh_slot_write_keeps_accounts(void **state)
{
	static const struct neigh_entry none;
	struct neigh_entry e = entry_of(8);

	(void)state;
	e.state = NET_NEIGH_STATE_INCOMPLETE;
	e.learned = false;
	write_slot(&e);
	assert_int_equal(table->count, 1);
	assert_int_equal(table->incomplete, 1);
	e.state = NET_NEIGH_STATE_STALE;
	e.learned = true;
	write_slot(&e);
	assert_int_equal(table->count, 1);
	assert_int_equal(table->incomplete, 0);
	assert_int_equal(table->learned, 1);
	write_slot(&none);
	assert_int_equal(table->count, 0);
	assert_int_equal(table->learned, 0);
}

#define SLOT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SLOT_TEST(test_neigh_slot_read_gives_what_was_written),
		SLOT_TEST(test_neigh_slot_read_under_stuck_writer_gives_up),
		SLOT_TEST(test_neigh_slot_write_keeps_accounts),
		SLOT_TEST(test_neigh_slot_read_is_never_torn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
