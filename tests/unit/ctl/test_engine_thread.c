/* The engine's thread with an engine made of counters: when it turns, when it sleeps, what
 * wakes it, and what becomes of a session that floods. */
#include <ctl/engine_thread.h>
#include <engine/counters.h>
#include <engine/engine.h>
#include <shm/doorbell.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	SESSIONS = 8,
};

/* The engine under the thread. */
struct engine {
	_Atomic unsigned int work; /* of the next turns, one each */
	_Atomic unsigned int woken[SESSIONS];
	_Atomic bool post, work_when_woken, entered, left, draining;
	_Atomic unsigned int drained, armed, disarmed;
	_Atomic bool wakes; /* what arming answers */
	_Atomic bool rings; /* a doorbell each turn with work */
	struct engine_counters counters;
};

unsigned int engine_turn(struct engine *e, uint64_t now_us)
{
	unsigned int work = atomic_load(&e->work);

	(void)now_us;
	if (work > 0) {
		atomic_fetch_sub(&e->work, 1);
		e->counters.doorbells += atomic_load(&e->rings);
	}
	return work > 0;
}

const struct engine_counters *engine_counters(const struct engine *e)
{
	return &e->counters;
}

uint64_t engine_next_us(const struct engine *e)
{
	(void)e;
	return UINT64_MAX;
}

bool engine_sleep_prepare(struct engine *e)
{
	return atomic_load(&e->work) == 0;
}

void engine_session_woken(struct engine *e, uint32_t session)
{
	atomic_fetch_add(&e->woken[session], 1);
	if (atomic_load(&e->work_when_woken))
		atomic_fetch_add(&e->work, 1);
}

bool engine_posted(struct engine *e)
{
	return atomic_exchange(&e->post, false);
}

static struct engine fake;

static int on_enter(void)
{
	atomic_store(&fake.entered, true);
	return 0;
}

static int on_enter_failing(void)
{
	return -EPERM;
}

static void on_leave(void)
{
	atomic_store(&fake.left, true);
}

static bool on_drain(void *arg)
{
	struct engine *e = arg;

	atomic_fetch_add(&e->drained, 1);
	return atomic_load(&e->draining);
}

static struct engine_thread_config make_config(void)
{
	memset(&fake, 0, sizeof(fake));
	return (struct engine_thread_config){.engine = &fake,
		.queue_fd = -1,
		.core = -1,
		.poll_us = 10000000,
		.main_fd = -1,
		.enter = on_enter,
		.leave = on_leave};
}

static void sleep_us(unsigned int us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&ts, NULL);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Waits up to 60 s for the condition. */
#define WAIT_FOR(condition)                                                                        \
	do {                                                                                       \
		for (int tries_ = 0; tries_ < 60000 && !(condition); tries_++)                     \
			sleep_us(1000);                                                            \
		assert_true(condition);                                                            \
	} while (0)

/* Until no turn happens for 20 ms. */
static uint64_t wait_asleep(struct engine_thread *t)
{
	uint64_t before;

	for (int tries = 0; tries < 3000; tries++) {
		before = engine_thread_progress(t);
		sleep_us(20000);
		if (engine_thread_progress(t) == before)
			return before;
	}
	fail_msg("the thread does not sleep");
	return 0;
}

static void test_thread_given_no_work_sleeps_until_woken(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	struct engine_thread_stats stats;
	uint64_t before;

	(void)state;
	cfg.spin_us = 20;
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	assert_true(fake.entered);
	before = wait_asleep(t);
	engine_thread_wake(t);
	WAIT_FOR(engine_thread_progress(t) > before);
	atomic_store(&fake.work, 1000);
	engine_thread_wake(t);
	WAIT_FOR(atomic_load(&fake.work) == 0);
	wait_asleep(t);
	engine_thread_stats(t, &stats);
	assert_true(stats.wakes_command >= 2);
	assert_true(stats.sleeps >= 2);
	engine_thread_stop(t);
	assert_true(fake.left);
}

static _Atomic bool hog_stop;

static void *hog(void *arg)
{
	while (!atomic_load(&hog_stop))
		;
	return arg;
}

static void pin_to_core_0(pthread_attr_t *attr)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	pthread_attr_init(attr);
	assert_int_equal(pthread_attr_setaffinity_np(attr, sizeof(one), &one), 0);
}

/* How often the core was taken when offered, with a thread that wants it all the time. */
static uint64_t taken_beside_hog(bool rings)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread_stats stats;
	struct engine_thread *t;
	pthread_attr_t attr;
	pthread_t thread;

	pin_to_core_0(&attr);
	cfg.core = 0;
	cfg.spin_us = 50;
	atomic_store(&fake.rings, rings);
	atomic_store(&hog_stop, false);
	assert_int_equal(pthread_create(&thread, &attr, hog, NULL), 0);
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	for (int i = 0; i < 50; i++) {
		atomic_store(&fake.work, 1);
		engine_thread_wake(t);
		sleep_us(2000);
	}
	engine_thread_stats(t, &stats);
	atomic_store(&hog_stop, true);
	pthread_join(thread, NULL);
	engine_thread_stop(t);
	pthread_attr_destroy(&attr);
	return stats.taken;
}

static void test_thread_given_wanted_core_offers_it_after_doorbells_only(void **state)
{
	(void)state;
	assert_int_not_equal(taken_beside_hog(true), 0);
	assert_int_equal(taken_beside_hog(false), 0);
}

static void test_thread_given_bad_core_or_entry_refuses(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;

	(void)state;
	cfg.core = 1023;
	assert_int_equal(engine_thread_start(&t, &cfg), -EINVAL);
	cfg.core = 0;
	cfg.enter = on_enter_failing;
	assert_int_equal(engine_thread_start(&t, &cfg), -EPERM);
	assert_false(fake.left);
	engine_thread_stop(NULL);
}

static void test_thread_given_posted_messages_rings_main(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	uint64_t count = 0;

	(void)state;
	cfg.main_fd = shm_doorbell_event();
	assert_true(cfg.main_fd >= 0);
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	wait_asleep(t);
	assert_true(read(cfg.main_fd, &count, sizeof(count)) < 0);
	atomic_store(&fake.post, true);
	engine_thread_wake(t);
	WAIT_FOR(poll(&(struct pollfd){.fd = cfg.main_fd, .events = POLLIN}, 1, 0) == 1);
	assert_int_equal(read(cfg.main_fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	engine_thread_stop(t);
	close(cfg.main_fd);
}

static void test_thread_given_queue_fd_wakes_on_it(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	struct engine_thread_stats stats;
	uint64_t before;
	int fds[2];
	char c;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	cfg.queue_fd = fds[0];
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	before = wait_asleep(t);
	assert_int_equal(write(fds[1], "x", 1), 1);
	WAIT_FOR(engine_thread_progress(t) > before + 10); /* level: until it is read */
	assert_int_equal(read(fds[0], &c, 1), 1);
	wait_asleep(t);
	engine_thread_stats(t, &stats);
	assert_true(stats.wakes_queue >= 10);
	engine_thread_stop(t);
	close(fds[0]);
	close(fds[1]);
}

static void test_thread_given_no_queue_fd_polls(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	uint64_t before, start_us, turns;

	(void)state;
	cfg.poll_us = 1000;
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	before = engine_thread_progress(t);
	start_us = now_us();
	WAIT_FOR(engine_thread_progress(t) - before >= 20);
	turns = engine_thread_progress(t) - before;
	assert_true(turns <= 10 + (now_us() - start_us) / cfg.poll_us);
	engine_thread_stop(t);
}

static void test_thread_given_no_queue_fd_polls_soon_after_work(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	uint64_t before;

	(void)state;
	assert_true(cfg.poll_us >= 1000000);
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	before = wait_asleep(t);
	atomic_store(&fake.work, 1);
	engine_thread_wake(t);
	/* The turn with work, one without, and each 1.5 times as late as the one before: about 20
	 * in the first 50 ms */
	WAIT_FOR(engine_thread_progress(t) - before >= 6);
	wait_asleep(t);
	assert_true(engine_thread_progress(t) - before <= 60);
	engine_thread_stop(t);
}

static struct engine_thread_stats stats_of(struct engine_thread *t)
{
	struct engine_thread_stats stats;

	engine_thread_stats(t, &stats);
	return stats;
}

static bool on_arm(void *arg)
{
	struct engine *e = arg;

	atomic_fetch_add(&e->armed, 1);
	return atomic_load(&e->wakes);
}

static void on_disarm(void *arg)
{
	struct engine *e = arg;

	atomic_fetch_add(&e->disarmed, 1);
}

static struct engine_thread_config make_arming_config(int fd)
{
	struct engine_thread_config cfg = make_config();

	cfg.queue_fd = fd;
	cfg.arm = on_arm;
	cfg.disarm = on_disarm;
	cfg.queue_arg = &fake;
	return cfg;
}

static void test_thread_given_arming_queue_asks_before_each_sleep_and_never_reads(void **state)
{
	struct engine_thread_config cfg;
	struct engine_thread *t;
	uint64_t one = 1;
	int fd = shm_doorbell_event();

	(void)state;
	assert_true(fd >= 0);
	cfg = make_arming_config(fd);
	atomic_store(&fake.wakes, true);
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	WAIT_FOR(atomic_load(&fake.armed) > 0);
	for (unsigned int i = 1; i <= 10; i++) {
		uint64_t wakes = stats_of(t).wakes_queue;

		assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
		WAIT_FOR(stats_of(t).wakes_queue > wakes);
		WAIT_FOR(atomic_load(&fake.armed) > atomic_load(&fake.disarmed));
	}
	assert_true(stats_of(t).wakes_queue <= 10); /* edges: once a ring */
	assert_int_equal(read(fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(one, 10);
	engine_thread_stop(t);
	close(fd);
}

static void test_thread_given_queue_nobody_can_wake_polls_it(void **state)
{
	struct engine_thread_config cfg;
	struct engine_thread *t;
	int fd = shm_doorbell_event();

	(void)state;
	assert_true(fd >= 0);
	cfg = make_arming_config(fd);
	cfg.poll_us = 100;
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	WAIT_FOR(atomic_load(&fake.armed) > 20);
	assert_int_equal(atomic_load(&fake.disarmed), 0);
	engine_thread_stop(t);
	close(fd);
}

static void test_thread_given_kept_frames_drains_soon(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	unsigned int before;

	(void)state;
	cfg.drain = on_drain;
	cfg.queue_arg = &fake;
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	wait_asleep(t);
	atomic_store(&fake.draining, true);
	engine_thread_wake(t);
	before = atomic_load(&fake.drained);
	WAIT_FOR(atomic_load(&fake.drained) > before + 50);
	atomic_store(&fake.draining, false);
	wait_asleep(t);
	engine_thread_stop(t);
}

static void test_watch_given_eventfds_wakes_their_sessions(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	int a = shm_doorbell_event(), b = shm_doorbell_event();
	const uint64_t almost_full = UINT64_MAX - 1;

	(void)state;
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	assert_int_equal(engine_thread_watch(t, 1, a), 0);
	assert_int_equal(engine_thread_watch(t, 2, b), 0);
	assert_int_equal(engine_thread_watch(t, 2, b), -EEXIST);
	assert_true(engine_thread_watch(t, 3, -1) < 0);
	shm_doorbell_event_ring(a);
	WAIT_FOR(atomic_load(&fake.woken[1]) == 1);
	wait_asleep(t); /* edge-triggered: silent though nobody has read it */
	shm_doorbell_event_ring(a);
	WAIT_FOR(atomic_load(&fake.woken[1]) == 2);
	assert_int_equal(atomic_load(&fake.woken[2]), 0);
	assert_true(
		write(b, &almost_full, sizeof(almost_full)) == sizeof(almost_full)); /* jammed */
	WAIT_FOR(atomic_load(&fake.woken[2]) == 1);
	shm_doorbell_event_ring(a);
	WAIT_FOR(atomic_load(&fake.woken[1]) == 3);
	engine_thread_unwatch(t, 1);
	engine_thread_unwatch(t, 7); /* never watched */
	shm_doorbell_event_ring(a);
	wait_asleep(t);
	assert_int_equal(atomic_load(&fake.woken[1]), 3);
	assert_int_equal(engine_thread_watch(t, 4, a), 0); /* readable: fires once at once */
	WAIT_FOR(atomic_load(&fake.woken[4]) == 1);
	engine_thread_stop(t);
	close(a);
	close(b);
}

static _Atomic bool flooding;

static void *flood(void *arg)
{
	int fd = *(int *)arg;

	while (atomic_load(&flooding))
		shm_doorbell_event_ring(fd);
	return NULL;
}

static void test_watch_given_flood_polls_the_flooder_alone(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	struct engine_thread_stats stats;
	int bad = shm_doorbell_event(), good = shm_doorbell_event();
	unsigned int before, looks;
	pthread_t flooder;
	uint64_t start_us;

	(void)state;
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	assert_int_equal(engine_thread_watch(t, 1, bad), 0);
	assert_int_equal(engine_thread_watch(t, 2, good), 0);
	atomic_store(&flooding, true);
	assert_int_equal(pthread_create(&flooder, NULL, flood, &bad), 0);
	WAIT_FOR(engine_thread_is_polled(t, 1));
	engine_thread_stats(t, &stats);
	assert_int_equal(stats.sessions_watched, 2);
	assert_int_equal(stats.sessions_polled, 1);
	assert_int_equal(stats.floods, 1);
	assert_false(engine_thread_is_polled(t, 2));
	/* It still floods, and is looked at about once a millisecond. */
	before = atomic_load(&fake.woken[1]);
	start_us = now_us();
	WAIT_FOR(atomic_load(&fake.woken[1]) - before >= 30);
	looks = atomic_load(&fake.woken[1]) - before;
	assert_true(looks <= 10 + (now_us() - start_us) / ENGINE_THREAD_FLOOD_POLL_US);
	/* The other one is served as before. */
	shm_doorbell_event_ring(good);
	WAIT_FOR(atomic_load(&fake.woken[2]) == 1);
	atomic_store(&flooding, false);
	pthread_join(flooder, NULL);
	engine_thread_unwatch(t, 1);
	engine_thread_stats(t, &stats);
	assert_int_equal(stats.sessions_polled, 0);
	engine_thread_stop(t);
	close(bad);
	close(good);
}

static void test_watch_given_busy_but_useful_session_leaves_it(void **state)
{
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	int fd = shm_doorbell_event();

	(void)state;
	atomic_store(&fake.work_when_woken, true);
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	assert_int_equal(engine_thread_watch(t, 1, fd), 0);
	for (unsigned int i = 1; i <= 15000; i++) {
		shm_doorbell_event_ring(fd);
		for (int spins = 0; spins < 1000 && atomic_load(&fake.woken[1]) < i; spins++)
			sleep_us(1);
	}
	assert_false(engine_thread_is_polled(t, 1));
	engine_thread_stop(t);
	close(fd);
}

static void test_watch_given_many_sessions_grows_and_reuses(void **state)
{
	enum { MANY = 300 };
	struct engine_thread_config cfg = make_config();
	struct engine_thread *t;
	struct engine_thread_stats stats;
	int fds[MANY];

	(void)state;
	assert_int_equal(engine_thread_start(&t, &cfg), 0);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < MANY; i++) {
			fds[i] = shm_doorbell_event();
			assert_int_equal(engine_thread_watch(t, 5000 + i * 1024, fds[i]), 0);
		}
		engine_thread_stats(t, &stats);
		assert_int_equal(stats.sessions_watched, MANY);
		for (uint32_t i = 0; i < MANY; i++) {
			engine_thread_unwatch(t, 5000 + (MANY - 1 - i) * 1024);
			close(fds[i]);
		}
	}
	engine_thread_stats(t, &stats);
	assert_int_equal(stats.sessions_watched, 0);
	engine_thread_stop(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thread_given_no_work_sleeps_until_woken),
		cmocka_unit_test(test_thread_given_wanted_core_offers_it_after_doorbells_only),
		cmocka_unit_test(test_thread_given_bad_core_or_entry_refuses),
		cmocka_unit_test(test_thread_given_posted_messages_rings_main),
		cmocka_unit_test(test_thread_given_queue_fd_wakes_on_it),
		cmocka_unit_test(test_thread_given_no_queue_fd_polls),
		cmocka_unit_test(test_thread_given_no_queue_fd_polls_soon_after_work),
		cmocka_unit_test(
			test_thread_given_arming_queue_asks_before_each_sleep_and_never_reads),
		cmocka_unit_test(test_thread_given_queue_nobody_can_wake_polls_it),
		cmocka_unit_test(test_thread_given_kept_frames_drains_soon),
		cmocka_unit_test(test_watch_given_eventfds_wakes_their_sessions),
		cmocka_unit_test(test_watch_given_flood_polls_the_flooder_alone),
		cmocka_unit_test(test_watch_given_busy_but_useful_session_leaves_it),
		cmocka_unit_test(test_watch_given_many_sessions_grows_and_reuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
