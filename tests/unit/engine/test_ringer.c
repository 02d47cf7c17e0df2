/* The ringer, and when an engine leaves a bell to it. */
#include <engine/internal.h>
#include <engine/ringer.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	UID = 1000,
	EPOLLS = 150,
	DUPS = 150,
};

struct fixture {
	struct ringer *ringer;
	int fds[2];
	struct bell *bell;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(ringer_start(&f->ringer), 0);
	assert_int_equal(shm_doorbell_pipe(f->fds), 0);
	f->bell = bell_new(f->fds[1]);
	assert_non_null(f->bell);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ringer_stop(f->ringer);
	bell_unref(f->bell);
	close(f->fds[0]);
	free(f);
	return 0;
}

/* Waits for one ring. */
static void await_ring(const struct fixture *f)
{
	char byte;

	assert_int_equal(recv(f->fds[0], &byte, 1, 0), 1);
}

static void test_ringer_given_a_bell_rings_it_each_time(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100; i++) {
		ringer_ring(f->ringer, f->bell);
		await_ring(f);
	}
}

/* However many calls: one ring after the last of them, and not many more than the ringer had
 * time for. */
static void test_ringer_given_many_calls_rings_after_the_last(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100000; i++)
		ringer_ring(f->ringer, f->bell);
	await_ring(f);
	while (atomic_load(&f->bell->queued) || atomic_load(&f->bell->refs) > 1)
		usleep(1000);
	shm_doorbell_pipe_drain(f->fds[0]);
	ringer_ring(f->ringer, f->bell);
	await_ring(f);
}

static void test_bell_given_its_owner_gone_is_rung_and_then_closed(void **state)
{
	struct fixture *f = *state;
	char byte;

	ringer_ring(f->ringer, f->bell);
	bell_unref(f->bell);
	f->bell = NULL;
	await_ring(f);
	assert_int_equal(recv(f->fds[0], &byte, 1, 0), 0); /* end of file: the last reference */
}

static void test_ringer_given_a_queue_at_its_end_lets_go_of_it(void **state)
{
	struct fixture *f = *state;
	int fd = f->bell->fd;

	for (int i = 0; i < 1000; i++)
		ringer_ring(f->ringer, f->bell);
	ringer_stop(f->ringer);
	f->ringer = NULL;
	assert_int_equal(atomic_load(&f->bell->refs), 1);
	assert_true(fcntl(fd, F_GETFD) >= 0);
}

/* Who was quick does not wait for who has not been rung yet, or was slow. */
static void test_ringer_given_a_quick_bell_rings_it_in_a_lane_of_its_own(void **state)
{
	struct fixture *f = *state;

	assert_false(atomic_load(&f->bell->quick));
	for (int i = 0; i < 100 && !atomic_load(&f->bell->quick); i++) {
		ringer_ring(f->ringer, f->bell);
		await_ring(f);
		usleep(1000);
	}
	assert_true(atomic_load(&f->bell->quick));
	ringer_ring(f->ringer, f->bell);
	await_ring(f);
}

/* -- the engine ----------------------------------------------------------------------------------
 */

struct small_engine {
	struct engine e;
	struct session s, other, stranger;
	struct session *sessions[4];
	struct ring r;
};

static struct small_engine *small_engine(const struct fixture *f)
{
	struct small_engine *m = calloc(1, sizeof(*m));

	m->e.cfg.ringer = f->ringer;
	m->e.now_us = 1;
	m->e.sessions = m->sessions;
	m->e.session_capacity = 4;
	m->sessions[0] = &m->s;
	m->sessions[2] = &m->other;
	m->sessions[3] = &m->stranger;
	m->s.desc.uid = m->other.desc.uid = UID;
	m->stranger.desc.uid = UID + 1;
	m->s.desc.bells[0] = f->bell;
	m->r.session = &m->s;
	m->r.doorbell_fd = f->fds[1];
	return m;
}

static void test_bell_given_nobody_who_slows_it_is_rung_at_once(void **state)
{
	struct fixture *f = *state;
	struct small_engine *m = small_engine(f);

	for (int i = 0; i < 1000; i++) {
		bell_ring(&m->e, &m->r);
		shm_doorbell_pipe_drain(f->fds[0]);
	}
	assert_int_equal(m->e.counters.doorbells, 1000);
	assert_int_equal(m->e.counters.doorbells_slow, 0);
	assert_int_equal(m->e.counters.doorbells_handed, 0);
	assert_int_equal(bell_slow_until_us(&m->e, UID), 0);
	free(m);
}

/* Closes what it opens when the test process ends. */
static void watch_often(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int dups[DUPS];

	for (int i = 0; i < DUPS; i++)
		dups[i] = dup(fd);
	for (int k = 0; k < EPOLLS; k++) {
		int ep = epoll_create1(EPOLL_CLOEXEC);

		for (int i = 0; i < DUPS; i++)
			assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, dups[i], &ev), 0);
	}
}

static void test_bell_given_many_watchers_is_handed_over_for_that_user(void **state)
{
	struct fixture *f = *state;
	struct small_engine *m = small_engine(f);

	watch_often(f->fds[0]);
	bell_ring(&m->e, &m->r); /* suspect */
	await_ring(f);
	for (int i = 0; i < 10 && !m->e.counters.doorbells_slow; i++) {
		bell_ring(&m->e, &m->r);
		await_ring(f);
	}
	assert_int_equal(m->e.counters.doorbells_slow, 1);
	bell_ring(&m->e, &m->r);
	await_ring(f);
	assert_int_equal(m->e.counters.doorbells_handed, 1);
	assert_true(bell_slow_until_us(&m->e, UID) > m->e.now_us);
	assert_true(m->other.bell_slow_until_us > m->e.now_us);
	assert_int_equal(m->stranger.bell_slow_until_us, 0);
	assert_int_equal(bell_slow_until_us(&m->e, UID + 1), 0);
	m->e.now_us = bell_slow_until_us(&m->e, UID); /* the time is over */
	bell_ring(&m->e, &m->r);
	assert_int_equal(m->e.counters.doorbells_handed, 1);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_ringer_given_a_bell_rings_it_each_time, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_ringer_given_many_calls_rings_after_the_last, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_bell_given_its_owner_gone_is_rung_and_then_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_ringer_given_a_queue_at_its_end_lets_go_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_ringer_given_a_quick_bell_rings_it_in_a_lane_of_its_own, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_bell_given_nobody_who_slows_it_is_rung_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_bell_given_many_watchers_is_handed_over_for_that_user, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
