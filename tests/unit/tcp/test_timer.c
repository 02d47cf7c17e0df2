/* The wheel against a naive model: the deadlines themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/timer.h>

#include "rng.h"

enum {
	ENTRIES = 300,
	TICK = TCP_WHEEL_TICK_US,
};

struct fixture {
	struct tcp_entry entries[ENTRIES];
	struct tcp_space space;
	struct tcp_wheel wheel;
};

static void fixture_init(struct fixture *f, uint64_t now_us)
{
	memset(f, 0, sizeof(*f));
	for (int i = 0; i < ENTRIES; i++)
		f->entries[i].slot = TCP_SLOT_NONE, f->entries[i].deadline_us = UINT64_MAX;
	for (int k = 0; k < TCP_KIND_COUNT; k++) {
		f->space.base[k] = (uint8_t *)f->entries;
		f->space.stride[k] = sizeof(f->entries[0]);
	}
	tcp_wheel_init(&f->wheel, &f->space, now_us);
}

static void arm(struct fixture *f, uint32_t i, uint64_t deadline_us)
{
	f->entries[i].deadline_us = deadline_us;
	tcp_wheel_update(&f->wheel, i);
}

static unsigned int expire(struct fixture *f, uint64_t now_us, tcp_ref *refs)
{
	return tcp_wheel_expire(&f->wheel, now_us, refs, ENTRIES);
}

static void test_wheel_empty_sleeps_for_ever(void **state)
{
	struct fixture f;
	tcp_ref refs[ENTRIES];

	(void)state;
	fixture_init(&f, 5000);
	assert_true(tcp_wheel_next_us(&f.wheel) == UINT64_MAX);
	assert_int_equal(expire(&f, UINT64_MAX / 2, refs), 0);
}

static void test_wheel_deadline_fires_once_within_a_tick(void **state)
{
	static const uint64_t delays[] = {
		1, 1000, 40000, 200000, 1000000, 7200000000, UINT64_C(86400) * 1000000 * 365 * 100};
	tcp_ref refs[ENTRIES];

	(void)state;
	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
		struct fixture f;
		uint64_t deadline = 123456789 + delays[i];

		fixture_init(&f, 123456789);
		arm(&f, 7, deadline);
		assert_int_equal(expire(&f, deadline - 1, refs), 0);
		assert_true(tcp_wheel_next_us(&f.wheel) < deadline + TICK);
		assert_int_equal(expire(&f, deadline + TICK, refs), 1);
		assert_int_equal(refs[0], 7);
		assert_true(f.entries[7].slot == TCP_SLOT_NONE);
		assert_int_equal(expire(&f, deadline + 10 * TICK, refs), 0);
	}
}

/* Awake in the middle of the tick, just before the deadline: nothing expires, and the time to
 * sleep until is not now, or the engine would spin. */
static void test_wheel_deadline_later_in_this_tick_lets_sleep(void **state)
{
	struct fixture f;
	tcp_ref refs[ENTRIES];
	uint64_t now_us = 10 * TICK + 100;

	(void)state;
	fixture_init(&f, 0);
	arm(&f, 1, 10 * TICK + 500);
	assert_int_equal(expire(&f, now_us, refs), 0);
	assert_true(tcp_wheel_next_us(&f.wheel) > now_us);
	arm(&f, 2, now_us + 1);
	assert_int_equal(expire(&f, now_us, refs), 0);
	assert_true(tcp_wheel_next_us(&f.wheel) > now_us);
	assert_int_equal(expire(&f, 11 * TICK, refs), 2);
}

static void test_wheel_later_deadline_does_not_relink(void **state)
{
	struct fixture f;
	tcp_ref refs[ENTRIES];
	uint32_t slot;

	(void)state;
	fixture_init(&f, 0);
	arm(&f, 1, 10 * TICK);
	slot = f.entries[1].slot;
	arm(&f, 1, 50 * TICK);
	assert_int_equal(f.entries[1].slot, slot);
	assert_int_equal(expire(&f, 10 * TICK, refs), 0);
	assert_true(tcp_wheel_next_us(&f.wheel) <= 50 * TICK);
	assert_int_equal(expire(&f, 49 * TICK, refs), 0);
	assert_int_equal(expire(&f, 50 * TICK, refs), 1);
}

static void test_wheel_earlier_deadline_relinks(void **state)
{
	struct fixture f;
	tcp_ref refs[ENTRIES];

	(void)state;
	fixture_init(&f, 0);
	arm(&f, 1, 5000 * TICK);
	arm(&f, 1, 3 * TICK);
	assert_true(tcp_wheel_next_us(&f.wheel) == 3 * TICK);
	assert_int_equal(expire(&f, 3 * TICK, refs), 1);
}

static void test_wheel_never_and_removed_do_not_fire(void **state)
{
	struct fixture f;
	tcp_ref refs[ENTRIES];

	(void)state;
	fixture_init(&f, 0);
	for (uint32_t i = 0; i < 6; i++)
		arm(&f, i, 5 * TICK);
	arm(&f, 2, UINT64_MAX);
	tcp_wheel_remove(&f.wheel, 0);
	tcp_wheel_remove(&f.wheel, 3);
	tcp_wheel_remove(&f.wheel, 3);
	tcp_wheel_remove(&f.wheel, 5);
	assert_int_equal(expire(&f, 100 * TICK, refs), 2);
	assert_int_equal(refs[0] + refs[1], 1 + 4);
	assert_true(tcp_wheel_next_us(&f.wheel) == UINT64_MAX);
	assert_true(f.entries[2].slot == TCP_SLOT_NONE);
}

static void test_wheel_small_array_resumes(void **state)
{
	struct fixture f;
	bool seen[ENTRIES] = {false};
	tcp_ref refs[7];
	unsigned int total = 0;
	unsigned int n;

	(void)state;
	fixture_init(&f, 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		arm(&f, i, 100 * TICK + i);
	while (tcp_wheel_next_us(&f.wheel) <= 102 * TICK) {
		n = tcp_wheel_expire(&f.wheel, 102 * TICK, refs, 7);
		for (unsigned int i = 0; i < n; i++) {
			assert_false(seen[refs[i]]);
			seen[refs[i]] = true;
		}
		total += n;
	}
	assert_int_equal(total, ENTRIES);
}

/* The bound on work per call holds even when nothing expires, and no entry is lost. */
static void test_wheel_many_lazy_entries_bounded_per_call(void **state)
{
	struct fixture f;
	tcp_ref refs[ENTRIES];
	unsigned int moved = 0;

	(void)state;
	fixture_init(&f, 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		arm(&f, i, 10 * TICK);
	for (uint32_t i = 0; i < ENTRIES; i++)
		arm(&f, i, 5000 * TICK);
	assert_int_equal(tcp_wheel_expire(&f.wheel, 20 * TICK, refs, 1), 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		moved += tcp_wheel_armed_us(&f.wheel, &f.entries[i]) > 10 * TICK;
	assert_int_equal(moved, 4 + 64);
	assert_true(tcp_wheel_next_us(&f.wheel) <= 20 * TICK);
	assert_int_equal(expire(&f, 4999 * TICK, refs), 0);
	assert_int_equal(expire(&f, 5000 * TICK, refs), ENTRIES);
}

/* -- properties -------------------------------------------------------------------------- */

static uint64_t random_delay(struct rng *r)
{
	return rng_next(r) >> (18 + rng_below(r, 46));
}

/* Expires in small bites until caught up: each ref fires after its deadline, and then no
 * deadline older than one tick is left. */
static void check_expiry(struct fixture *f, struct rng *r, uint64_t now_us)
{
	tcp_ref refs[16];
	unsigned int rounds = 0;

	while (tcp_wheel_next_us(&f->wheel) <= now_us) {
		unsigned int max = 1 + (unsigned int)rng_below(r, 16);
		unsigned int n = tcp_wheel_expire(&f->wheel, now_us, refs, max);

		assert_true(n <= max && rounds++ < 10 * ENTRIES);
		for (unsigned int i = 0; i < n; i++) {
			struct tcp_entry *e = &f->entries[tcp_ref_idx(refs[i])];

			assert_true(e->deadline_us <= now_us && e->slot == TCP_SLOT_NONE);
			e->deadline_us = UINT64_MAX;
			if (rng_below(r, 2))
				arm(f, tcp_ref_idx(refs[i]), now_us + 1 + random_delay(r));
		}
		if (rng_below(r, 8) == 0) /* left unfinished: the next turn goes on */
			return;
	}
	for (int i = 0; i < ENTRIES; i++)
		assert_true(f->entries[i].deadline_us > now_us ||
			    now_us - f->entries[i].deadline_us < TICK);
}

/* next_us is never later than the end of the tick of the earliest deadline, or than now if
 * that has passed. */
static void check_next(const struct fixture *f, uint64_t now_us)
{
	uint64_t earliest = UINT64_MAX;

	for (int i = 0; i < ENTRIES; i++)
		if (f->entries[i].deadline_us < earliest)
			earliest = f->entries[i].deadline_us;
	if (earliest == UINT64_MAX)
		return;
	if (earliest < now_us)
		earliest = now_us;
	assert_true(tcp_wheel_next_us(&f->wheel) / TICK <= earliest / TICK + 1);
}

static void test_wheel_random_operations_match_the_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct rng r = {seed};
		uint64_t now_us = random_delay(&r);
		struct fixture f;

		fixture_init(&f, now_us);
		for (int step = 0; step < 3000; step++) {
			uint32_t i = (uint32_t)rng_below(&r, ENTRIES);

			switch (rng_below(&r, 8)) {
			case 0:
				tcp_wheel_remove(&f.wheel, i);
				f.entries[i].deadline_us = UINT64_MAX;
				break;
			case 1:
				arm(&f, i, UINT64_MAX);
				break;
			case 2:
				now_us += random_delay(&r);
				check_expiry(&f, &r, now_us);
				break;
			case 3:
				arm(&f, i, now_us - rng_below(&r, now_us + 1));
				break;
			default:
				arm(&f, i, now_us + random_delay(&r));
			}
			check_next(&f, now_us);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wheel_empty_sleeps_for_ever),
		cmocka_unit_test(test_wheel_deadline_fires_once_within_a_tick),
		cmocka_unit_test(test_wheel_deadline_later_in_this_tick_lets_sleep),
		cmocka_unit_test(test_wheel_later_deadline_does_not_relink),
		cmocka_unit_test(test_wheel_earlier_deadline_relinks),
		cmocka_unit_test(test_wheel_never_and_removed_do_not_fire),
		cmocka_unit_test(test_wheel_small_array_resumes),
		cmocka_unit_test(test_wheel_many_lazy_entries_bounded_per_call),
		cmocka_unit_test(test_wheel_random_operations_match_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
