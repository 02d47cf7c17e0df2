/* The eventfds an engine watches: limits, collisions, and events of what is gone. */
#include <ctl/watch.h>

#include <ctl/engine_thread.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "../faults.h"

static int epfd;
static struct watch_set *set;

static int setup(void **state)
{
	(void)state;
	epfd = epoll_create1(EPOLL_CLOEXEC);
	return watch_set_create(&set, epfd);
}

static int teardown(void **state)
{
	(void)state;
	watch_set_destroy(set);
	close(epfd);
	return 0;
}

static uint32_t watched(void)
{
	struct watch_stats stats;

	watch_stats_get(set, &stats);
	return stats.watched;
}

/* Rings fd and returns what epoll tells of it. */
static uint64_t ring(int fd)
{
	struct epoll_event ev = {.data.u64 = UINT64_MAX};

	assert_int_equal(eventfd_write(fd, 1), 0);
	assert_int_equal(epoll_wait(epfd, &ev, 1, 1000), 1);
	return ev.data.u64;
}

static void test_watch_given_ids_of_one_bucket_finds_each(void **state)
{
	int fd[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK);
		assert_int_equal(watch_add(set, 7 + 1024 * i, fd[i]), 0);
	}
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(watch_fired(set, ring(fd[i]), 0), 7 + 1024 * i);
	watch_remove(set, 7); /* the last of its chain */
	watch_remove(set, 7);
	assert_int_equal(watched(), 2);
	assert_int_equal(watch_add(set, 7 + 1024, fd[0]), -EEXIST);
	assert_int_equal(watch_fired(set, ring(fd[1]), 0), 7 + 1024);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
}

/* The slot is taken again, by a session that is not the one the event was for. */
static void test_fired_given_event_of_the_one_before_names_nobody(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK);
	uint64_t data;

	(void)state;
	assert_int_equal(watch_add(set, 1, fd), 0);
	data = ring(fd);
	watch_remove(set, 1);
	assert_int_equal(watch_fired(set, data, 0), 0);
	assert_int_equal(watch_add(set, 2, other), 0);
	assert_int_equal(watch_fired(set, data, 0), 0);
	for (int i = 0; i < ENGINE_THREAD_FLOOD_SPURIOUS; i++)
		watch_spurious(set, data);
	assert_false(watch_is_polled(set, 2)); /* not blamed for it */
	assert_int_equal(watch_fired(set, UINT32_MAX, 0), 0);
	assert_int_equal(watch_fired(set, ring(other), 0), 2);
	close(fd);
	close(other);
}

static void test_add_given_failures_leaves_no_trace(void **state)
{
	static const char *const calls[] = {"realloc", "epoll_ctl"};
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	assert_int_equal(watch_add(set, 0, fd), -EINVAL);
	for (size_t i = 0; i < 2; i++) { /* the first one grows the array */
		fault_arm_only(calls[i], 1);
		assert_true(watch_add(set, 5, fd) < 0);
		assert_string_equal(fault_end(), calls[i]);
		assert_int_equal(watched(), 0);
	}
	assert_int_equal(watch_add(set, 5, epfd), -EINVAL); /* epoll does not watch itself */
	assert_int_equal(watch_add(set, 5, fd), 0);
	assert_int_equal(watch_fired(set, ring(fd), 0), 5);
	close(fd);
}

static void test_set_given_no_memory_is_not_made(void **state)
{
	struct watch_set *other = NULL;

	(void)state;
	fault_arm(1);
	assert_int_equal(watch_set_create(&other, epfd), -ENOMEM);
	fault_end();
	watch_set_destroy(other); /* NULL is fine */
}

static void test_polled_given_more_than_fit_tells_all_by_and_by(void **state)
{
	uint32_t cursor = 0, ids[2], seen = 0, n;
	uint64_t data[3];
	int fd[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK);
		assert_int_equal(watch_add(set, i + 1, fd[i]), 0);
		data[i] = ring(fd[i]);
	}
	assert_int_equal(watch_polled_next(set, &cursor, ids, 2), 0);
	for (uint32_t i = 0; i < 3; i++)
		for (int k = 0; k < ENGINE_THREAD_FLOOD_WAKES; k++)
			watch_fired(set, data[i], 1);
	for (cursor = 0; (n = watch_polled_next(set, &cursor, ids, 2)) > 0;)
		while (n-- > 0)
			seen |= 1u << ids[n];
	assert_int_equal(seen, 1u << 1 | 1u << 2 | 1u << 3);
	watch_remove(set, 2); /* a polled one is not in epoll any more */
	assert_int_equal(watched(), 2);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_watch_given_ids_of_one_bucket_finds_each),
		T(test_fired_given_event_of_the_one_before_names_nobody),
		T(test_add_given_failures_leaves_no_trace),
		T(test_set_given_no_memory_is_not_made),
		T(test_polled_given_more_than_fit_tells_all_by_and_by),
	};

	return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
