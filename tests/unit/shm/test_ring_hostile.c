/* The ring against another process that writes what it likes into its own memory. */
#include "support.h"

#include <shm/ring.h>

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

enum {
	ORDER = 4,
	SIZE = 1 << ORDER,
	ROUNDS = 100000,
};

struct shared {
	struct shm_slot slots[SIZE];
	_Atomic uint32_t cons_idx;
	_Atomic uint32_t head; /* of the producer, to lie about well */
	_Atomic uint32_t ready;
};

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static struct shared *share(void)
{
	struct shared *m =
		mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(m, MAP_FAILED);
	return m;
}

/* Runs the liar until this process kills it, or ends. */
static pid_t start_liar(void (*lie)(struct shared *m, uint64_t *seed), struct shared *m)
{
	uint64_t seed = 0x243f6a8885a308d3;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			lie(m, &seed);
			atomic_store(&m->ready, 1);
		}
	}
	while (!atomic_load(&m->ready))
		usleep(100);
	return pid;
}

static void stop_liar(pid_t pid, struct shared *m)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	munmap(m, sizeof(*m));
}

/* Mostly what an honest consumer might publish, else just outside of it, else anything. */
static void lie_index(struct shared *m, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	uint32_t head = atomic_load(&m->head), noise = (uint32_t)(r >> 32);

	switch (r % 8) {
	case 0:
		head = noise;
		break;
	case 1:
		head += 1 + noise % 3;
		break;
	case 2:
		head -= SIZE + 1 + noise % 3;
		break;
	default:
		head -= noise % (SIZE + 1);
	}
	atomic_store(&m->cons_idx, head);
}

static void test_ring_random_consumer_index_never_overfills(void **state)
{
	struct shared *m = share();
	struct shm_slot_copy s = {{0}};
	struct shm_ring_prod p;
	pid_t pid = start_liar(lie_index, m);
	unsigned int pushed = 0, refused = 0;

	(void)state;
	shm_ring_prod_init(&p, m->slots, &m->cons_idx, ORDER);
	for (int i = 0; i < ROUNDS || pushed < ROUNDS / 100 || refused == 0; i++) {
		uint32_t head = p.head, believed = p.cons_cached;
		int err = shm_ring_prod_push(&p, &s);

		assert_true(err == 0 || err == -EAGAIN || err == -EPROTO);
		assert_true(p.head - head == (err == 0));
		assert_true(p.head - p.cons_cached <= SIZE);
		assert_true(p.cons_cached - believed <= SIZE);
		atomic_store(&m->head, p.head);
		pushed += err == 0;
		refused += err == -EPROTO;
		if (err)
			sched_yield(); /* the liar may need this CPU */
	}
	stop_liar(pid, m);
}

static void lie_slots(struct shared *m, uint64_t *seed)
{
	uint64_t r = next_random(seed);

	atomic_store_explicit(&m->slots[r % SIZE].word[(r >> 8) % SHM_SLOT_WORDS],
		next_random(seed), memory_order_relaxed);
}

static void test_ring_random_slots_are_taken_once_checked(void **state)
{
	struct shared *m = share();
	struct shm_slot_copy out;
	struct shm_ring_cons c;
	_Atomic uint32_t cons_idx = 0;
	pid_t pid = start_liar(lie_slots, m);
	unsigned int taken = 0;

	(void)state;
	shm_ring_cons_init(&c, m->slots, &cons_idx, ORDER);
	for (int i = 0; i < ROUNDS || taken < ROUNDS / 100; i++) {
		uint32_t tail = c.tail;
		bool got = shm_ring_cons_pop(&c, &out);

		assert_true(c.tail - tail == got);
		/* the copy carries the head that was judged, whatever the slot holds by now */
		if (got)
			assert_true((out.word[0] & SHM_SLOT_PHASE) == shm_ring_phase(tail, c.mask));
		taken += got;
		if (!got)
			sched_yield();
		shm_ring_cons_publish(&c);
		assert_int_equal(atomic_load(&cons_idx), c.tail);
	}
	stop_liar(pid, m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_random_consumer_index_never_overfills),
		cmocka_unit_test(test_ring_random_slots_are_taken_once_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
