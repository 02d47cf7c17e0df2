/* The four-byte lock: exclusion, no lost wake-up, and what a try says. */
#include <libclient/lock.h>

#include <shm/doorbell.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	THREADS = 4,
	ROUNDS = 50000,
};

static struct lock lock;
static uint64_t shared;

static void *try_it(void *arg)
{
	return lock_try(arg) ? arg : NULL;
}

/* Must be the first: a process that had a second thread does not become single-threaded again. */
static void test_lock_given_second_thread_born_expected_held_against_it(void **state)
{
	struct lock held = {0}, unheld = {0};
	pthread_t t;
	void *got;

	(void)state;
#if !SHM_TSAN /* which has a thread of its own */
	assert_true(__libc_single_threaded);
#endif
	lock_take(&held);
	lock_take(&unheld);
	assert_false(lock_try(&held));
	lock_drop(&unheld);
	pthread_create(&t, NULL, try_it, &held);
	pthread_join(t, &got);
	assert_null(got);
	assert_false(__libc_single_threaded);
	pthread_create(&t, NULL, try_it, &unheld);
	pthread_join(t, &got);
	assert_ptr_equal(got, &unheld);
	lock_drop(&held);
	assert_true(lock_try(&held));
}

static void test_lock_given_zeroes_expected_free_and_held_after_take(void **state)
{
	struct lock l = {0};

	(void)state;
	assert_true(lock_try(&l));
	assert_false(lock_try(&l));
	lock_drop(&l);
	lock_take(&l);
	assert_false(lock_try(&l));
	lock_drop(&l);
	assert_int_equal(l.word, 0);
}

/* With pauses inside, so that others sleep in the kernel. */
static void *count(void *arg)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		lock_take(&lock);
		shared++;
		if (i % 5000 == 0)
			usleep(100);
		lock_drop(&lock);
	}
	return arg;
}

static void test_lock_given_threads_that_sleep_expected_every_increment(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, count, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(shared, (uint64_t)THREADS * ROUNDS);
	assert_int_equal(lock.word, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lock_given_second_thread_born_expected_held_against_it),
		cmocka_unit_test(test_lock_given_zeroes_expected_free_and_held_after_take),
		cmocka_unit_test(test_lock_given_threads_that_sleep_expected_every_increment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
