/* The main thread's dispatcher: order of timers, and callbacks that pull the rug away. */
#include <ctl/loop.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
	struct loop *loop;
	int pipes[2][2];
	struct loop_watch *watches[2];
	unsigned int fired[2];
	char order[8];
	struct loop_timer timers[4];
	unsigned int again;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	for (int i = 0; i < 2; i++) {
		f->watches[i] = calloc(1, sizeof(struct loop_watch));
		if (pipe(f->pipes[i]) < 0 || write(f->pipes[i][1], "x", 1) != 1)
			return -1;
	}
	*state = f;
	return loop_create(&f->loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_destroy(f->loop);
	for (int i = 0; i < 2; i++) {
		close(f->pipes[i][0]);
		close(f->pipes[i][1]);
		free(f->watches[i]);
	}
	free(f);
	return 0;
}

/* Whichever comes first removes and frees the other. */
static void kill_other(struct fixture *f, int self)
{
	f->fired[self]++;
	if (f->watches[1 - self] == NULL)
		return;
	loop_watch_remove(f->loop, f->watches[1 - self]);
	free(f->watches[1 - self]);
	f->watches[1 - self] = NULL;
}

static void on_first(void *arg, uint32_t events)
{
	assert_int_equal(events, EPOLLIN);
	kill_other(arg, 0);
}

static void on_second(void *arg, uint32_t events)
{
	assert_int_equal(events, EPOLLIN);
	kill_other(arg, 1);
}

static void test_loop_given_removed_watch_does_not_fire_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		loop_watch_add(f->loop, f->watches[0], f->pipes[0][0], EPOLLIN, on_first, f), 0);
	assert_int_equal(
		loop_watch_add(f->loop, f->watches[1], f->pipes[1][0], EPOLLIN, on_second, f), 0);
	assert_int_equal(loop_run_once(f->loop, 1000000), 0);
	assert_int_equal(f->fired[0] + f->fired[1], 1);
}

static void test_loop_given_bad_fd_reports_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_watch_add(f->loop, f->watches[0], -1, EPOLLIN, on_first, f), -EBADF);
	assert_false(f->watches[0]->active);
	loop_watch_remove(f->loop, f->watches[0]); /* no-op */
}

static void test_loop_given_modified_events_obeys(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_watch_add(f->loop, f->watches[0], f->pipes[0][0], 0, on_first, f), 0);
	assert_int_equal(loop_run_once(f->loop, 1000), 0);
	assert_int_equal(f->fired[0], 0);
	assert_int_equal(loop_watch_modify(f->loop, f->watches[0], EPOLLIN), 0);
	assert_int_equal(loop_run_once(f->loop, 1000), 0);
	assert_int_equal(f->fired[0], 1);
	loop_watch_remove(f->loop, f->watches[0]);
	assert_int_equal(loop_run_once(f->loop, 1000), 0);
	assert_int_equal(f->fired[0], 1);
}

static struct fixture *timers_of;

static void note(char c)
{
	size_t len = strlen(timers_of->order);

	assert_true(len + 1 < sizeof(timers_of->order));
	timers_of->order[len] = c;
}

static void on_timer(void *arg, uint64_t now_us)
{
	const struct loop_timer *t = arg;

	assert_true(now_us >= t->due_us);
	assert_false(t->active);
	note((char)('a' + (t - timers_of->timers)));
	if (strlen(timers_of->order) == 3)
		loop_stop(timers_of->loop);
}

static void test_timers_given_any_order_fire_when_due(void **state)
{
	struct fixture *f = *state;
	uint64_t now_us = loop_now_us();

	timers_of = f;
	loop_timer_set(f->loop, &f->timers[0], now_us + 30000, on_timer, &f->timers[0]);
	loop_timer_set(f->loop, &f->timers[1], now_us + 10000, on_timer, &f->timers[1]);
	loop_timer_set(f->loop, &f->timers[2], now_us + 40000, on_timer, &f->timers[2]);
	loop_timer_set(f->loop, &f->timers[3], now_us + 15000, on_timer, &f->timers[3]);
	loop_timer_set(f->loop, &f->timers[2], now_us + 20000, on_timer, &f->timers[2]); /* moved */
	loop_timer_cancel(f->loop, &f->timers[3]);
	loop_timer_cancel(f->loop, &f->timers[3]);
	assert_int_equal(loop_run(f->loop), 0);
	assert_string_equal(f->order, "bca");
	assert_true(loop_now_us() >= now_us + 30000);
}

static void on_again(void *arg, uint64_t now_us)
{
	struct fixture *f = arg;

	f->again++;
	loop_timer_set(f->loop, &f->timers[0], now_us, on_again, f);
}

static void test_timer_given_past_due_lets_descriptors_run(void **state)
{
	struct fixture *f = *state;

	loop_timer_set(f->loop, &f->timers[0], 0, on_again, f);
	assert_int_equal(
		loop_watch_add(f->loop, f->watches[0], f->pipes[0][0], EPOLLIN, on_first, f), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(f->again, 3);
	assert_int_equal(f->fired[0], 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_loop_given_removed_watch_does_not_fire_it),
		TEST(test_loop_given_bad_fd_reports_it),
		TEST(test_loop_given_modified_events_obeys),
		TEST(test_timers_given_any_order_fire_when_due),
		TEST(test_timer_given_past_due_lets_descriptors_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
