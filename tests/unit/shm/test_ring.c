/* The ring within one process: laps, wrap-around, lying consumers, two threads. */
#include "support.h"

#include <shm/ring.h>

#include <pthread.h>
#include <sched.h>

enum {
	SLOTS_MAX = 64,
	STRESS_SLOTS = 200000,
};

static struct shm_slot slots[SLOTS_MAX];
static _Atomic uint32_t cons_idx;

static void start(struct shm_ring_prod *p, struct shm_ring_cons *c, unsigned int order)
{
	memset(slots, 0, sizeof(slots));
	atomic_store(&cons_idx, 0);
	shm_ring_prod_init(p, slots, &cons_idx, order);
	shm_ring_cons_init(c, slots, &cons_idx, order);
}

static struct shm_slot_copy make(uint64_t seq)
{
	struct shm_slot_copy s = {.word[0] = seq << 32 | (seq & 0xff)};

	for (uint64_t i = 1; i < SHM_SLOT_WORDS; i++)
		s.word[i] = seq * 0x9e3779b97f4a7c15 + i;
	return s;
}

static bool is_made(const struct shm_slot_copy *s, uint64_t seq)
{
	struct shm_slot_copy want = make(seq);

	want.word[0] |= s->word[0] & SHM_SLOT_PHASE;
	return memcmp(&want, s, sizeof(want)) == 0;
}

static void test_ring_zeroed_is_empty(void **state)
{
	struct shm_ring_prod p;
	struct shm_ring_cons c;
	struct shm_slot_copy out;

	(void)state;
	start(&p, &c, 4);
	assert_false(shm_ring_cons_ready(&c));
	assert_false(shm_ring_cons_pop(&c, &out));
	assert_int_equal(shm_ring_prod_room(&p, 16), 16);
}

/* Fills and empties a ring by batches over several laps, from any starting index. */
static void run_laps(unsigned int order, uint32_t first_idx)
{
	struct shm_ring_prod p;
	struct shm_ring_cons c;
	struct shm_slot_copy s, out;
	uint32_t size = UINT32_C(1) << order;
	uint64_t in = 0, taken = 0;

	start(&p, &c, order);
	p.head = p.cons_cached = c.tail = c.published = first_idx;
	atomic_store(&cons_idx, first_idx);
	for (uint32_t batch = 0; batch < 10 * size + 5; batch++) {
		for (uint32_t i = 0; i <= batch % size; i++) {
			s = make(in);
			assert_int_equal(shm_ring_prod_push(&p, &s), 0);
			in++;
		}
		while (shm_ring_cons_ready(&c)) {
			assert_true(shm_ring_cons_pop(&c, &out));
			assert_true(is_made(&out, taken));
			taken++;
		}
		assert_true(taken == in);
		assert_false(shm_ring_cons_pop(&c, &out));
		shm_ring_cons_publish(&c);
	}
}

static void test_ring_many_laps_keep_order(void **state)
{
	(void)state;
	for (unsigned int order = 0; order <= 6; order++)
		run_laps(order, 0);
}

static void test_ring_indices_past_2_32_wrap(void **state)
{
	(void)state;
	run_laps(0, 0xfffffffe);
	run_laps(4, 0xffffffe0);
	run_laps(6, 0xffffff80);
}

static void test_ring_full_refuses_until_published(void **state)
{
	struct shm_ring_prod p;
	struct shm_ring_cons c;
	struct shm_slot_copy s = make(7), out;

	(void)state;
	start(&p, &c, 2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(shm_ring_prod_push(&p, &s), 0);
	assert_int_equal(shm_ring_prod_push(&p, &s), -EAGAIN);
	assert_int_equal(shm_ring_prod_room(&p, 1), 0);
	assert_true(shm_ring_cons_pop(&c, &out));
	assert_true(shm_ring_cons_pop(&c, &out));
	assert_int_equal(shm_ring_prod_push(&p, &s), -EAGAIN);
	shm_ring_cons_publish(&c);
	assert_int_equal(shm_ring_prod_room(&p, 1), 2);
	assert_int_equal(shm_ring_prod_push(&p, &s), 0);
}

static void test_ring_phase_in_pushed_head_is_ignored(void **state)
{
	struct shm_ring_prod p;
	struct shm_ring_cons c;
	struct shm_slot_copy s = {.word[0] = UINT64_MAX}, out = {0};

	(void)state;
	start(&p, &c, 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(shm_ring_prod_push(&p, &s), 0);
		assert_true(shm_ring_cons_pop(&c, &out));
		assert_true((out.word[0] | SHM_SLOT_PHASE) == UINT64_MAX);
		assert_false(shm_ring_cons_ready(&c));
		shm_ring_cons_publish(&c);
	}
}

static void test_ring_impossible_index_is_eproto(void **state)
{
	static const uint32_t lies[] = {5, 1, 0, 0x80000000, UINT32_MAX};
	struct shm_ring_prod p;
	struct shm_ring_cons c;
	struct shm_slot_copy s = make(1), out;

	(void)state;
	start(&p, &c, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(shm_ring_prod_push(&p, &s), 0);
		assert_true(shm_ring_cons_pop(&c, &out));
	}
	shm_ring_cons_publish(&c);
	assert_int_equal(shm_ring_prod_room(&p, 4), 4); /* believes 2 now */
	assert_int_equal(shm_ring_prod_push(&p, &s), 0);
	assert_int_equal(shm_ring_prod_push(&p, &s), 0); /* head is 4: 2..4 are possible */
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		atomic_store(&cons_idx, lies[i]);
		assert_int_equal(shm_ring_prod_room(&p, 4), -EPROTO);
		assert_int_equal(p.cons_cached, 2);
	}
	assert_int_equal(shm_ring_prod_push(&p, &s), 0); /* no need to look */
	assert_int_equal(shm_ring_prod_push(&p, &s), 0);
	assert_int_equal(shm_ring_prod_push(&p, &s), -EPROTO);
	atomic_store(&cons_idx, 3);
	assert_int_equal(shm_ring_prod_push(&p, &s), 0);
}

static void *stress_produce(void *arg)
{
	struct shm_ring_prod *p = arg;

	for (uint64_t seq = 0; seq < STRESS_SLOTS;) {
		struct shm_slot_copy s = make(seq);
		int err = shm_ring_prod_push(p, &s);

		if (err == 0)
			seq++;
		else if (err == -EAGAIN)
			sched_yield();
		else
			return (void *)"impossible index";
	}
	return NULL;
}

static void run_stress(unsigned int order)
{
	struct shm_ring_prod p;
	struct shm_ring_cons c;
	struct shm_slot_copy out;
	pthread_t thread;
	void *complaint;

	start(&p, &c, order);
	assert_int_equal(pthread_create(&thread, NULL, stress_produce, &p), 0);
	for (uint64_t seq = 0; seq < STRESS_SLOTS;) {
		if (!shm_ring_cons_pop(&c, &out)) {
			shm_ring_cons_publish(&c);
			sched_yield();
			continue;
		}
		assert_true(is_made(&out, seq));
		seq++;
		if (seq % 3 == 0)
			shm_ring_cons_publish(&c);
	}
	assert_int_equal(pthread_join(thread, &complaint), 0);
	assert_null(complaint);
	assert_false(shm_ring_cons_ready(&c));
}

static void test_ring_two_threads_lose_nothing(void **state)
{
	(void)state;
	run_stress(1);
	run_stress(6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_zeroed_is_empty),
		cmocka_unit_test(test_ring_many_laps_keep_order),
		cmocka_unit_test(test_ring_indices_past_2_32_wrap),
		cmocka_unit_test(test_ring_full_refuses_until_published),
		cmocka_unit_test(test_ring_phase_in_pushed_head_is_ignored),
		cmocka_unit_test(test_ring_impossible_index_is_eproto),
		cmocka_unit_test(test_ring_two_threads_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
