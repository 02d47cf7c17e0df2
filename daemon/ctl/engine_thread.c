/* Theory of operation: engine_thread.h. */
#include "engine_thread.h"

#include "watch.h"

#include <engine/counters.h>
#include <engine/engine.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <shm/doorbell.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
};

/* epoll data of the thread's own descriptors: generations that no watch ever has. */
#define DATA_QUEUE   (UINT64_MAX)
#define DATA_COMMAND (UINT64_MAX - 1)

/* Written by the thread, read by others, relaxed. */
struct counters {
	_Atomic uint64_t progress, sleeps, wakes_queue, wakes_session, wakes_command, timeouts;
	_Atomic uint64_t contended, taken;
};

struct engine_thread {
	struct engine_thread_config cfg;
	int epoll_fd, command_fd;
	pthread_t thread;
	sem_t entered;
	int enter_result;
	_Atomic bool stop;
	struct watch_set *watches;
	/* the thread's own */
	bool armed;	       /* the queue's descriptor will fire */
	bool spinning;	       /* the last turn found no work and we did not sleep */
	uint64_t last_work_us; /* when a turn last found some */
	uint64_t last_turn_us;
	uint64_t peeked_us; /* when the descriptors were last looked at */
	uint64_t no_spin_until_us;
	uint64_t offered_us;	/* when the core was last offered to others */
	uint64_t rings;		/* doorbells rung until then */
	uint64_t flood_poll_us; /* when flooding sessions are looked at next */
	uint32_t fired_count;	/* sessions' events since the last turn */
	uint64_t fired[BATCH];
	struct counters counters;
};

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
		memory_order_relaxed);
}

/* -- descriptors ----------------------------------------------------------------------------- */

static void take_event(struct engine_thread *t, uint64_t data, uint64_t now_us)
{
	uint32_t session;

	if (data == DATA_QUEUE) {
		count(&t->counters.wakes_queue);
	} else if (data == DATA_COMMAND) {
		count(&t->counters.wakes_command);
	} else {
		count(&t->counters.wakes_session);
		session = watch_fired(t->watches, data, now_us);
		if (session == 0)
			return;
		engine_session_woken(t->cfg.engine, session);
		t->fired[t->fired_count++] = data;
	}
}

/* Waits for at most wait_us and takes a batch of events. Errors other than a signal cannot
 * happen to descriptors of ours. */
static void take_events(struct engine_thread *t, uint64_t wait_us)
{
	struct timespec wait = {
		.tv_sec = (time_t)(wait_us / 1000000), .tv_nsec = (long)(wait_us % 1000000) * 1000};
	struct epoll_event events[BATCH];
	int n = epoll_pwait2(
		t->epoll_fd, events, BATCH, wait_us == UINT64_MAX ? NULL : &wait, NULL);
	uint64_t now_us = clock_us();

	t->peeked_us = now_us;
	t->fired_count = 0;
	for (int i = 0; i < n; i++)
		take_event(t, events[i].data.u64, now_us);
	if (n == 0 && wait_us > 0)
		count(&t->counters.timeouts);
}

/* What was fired before a turn that found nothing to do was fired in vain. */
static void judge_fired(struct engine_thread *t, unsigned int work)
{
	for (uint32_t i = 0; work == 0 && i < t->fired_count; i++)
		watch_spurious(t->watches, t->fired[i]);
	t->fired_count = 0;
}

/* Sessions that flooded: their rings are looked at by the clock. */
static void poll_flooders(struct engine_thread *t, uint64_t now_us)
{
	uint32_t sessions[BATCH], cursor = 0, n;

	if (now_us < t->flood_poll_us)
		return;
	t->flood_poll_us = UINT64_MAX;
	while ((n = watch_polled_next(t->watches, &cursor, sessions, BATCH)) > 0) {
		t->flood_poll_us = now_us + ENGINE_THREAD_FLOOD_POLL_US;
		for (uint32_t i = 0; i < n; i++)
			engine_session_woken(t->cfg.engine, sessions[i]);
	}
	if (t->flood_poll_us == UINT64_MAX)
		t->flood_poll_us = now_us + 100 * ENGINE_THREAD_FLOOD_POLL_US;
}

/* -- idling ---------------------------------------------------------------------------------- */

static bool holds_off(const struct engine_thread *t, uint64_t now_us)
{
	return now_us < t->no_spin_until_us;
}

/* A client that we have rung may wait for this very core: offers it, always when it was taken a
 * short time ago and now and then else. True if it was taken: the client has had its turn, and
 * has probably submitted something. */
static bool offer_core(struct engine_thread *t, uint64_t now_us)
{
	uint64_t rings = engine_counters(t->cfg.engine)->doorbells, before_us;

	if (rings == t->rings ||
		(!holds_off(t, now_us) && now_us - t->offered_us < ENGINE_THREAD_OFFER_US))
		return false;
	t->rings = rings;
	t->offered_us = now_us;
	before_us = clock_us();
	sched_yield();
	if (clock_us() - before_us < ENGINE_THREAD_TAKEN_US)
		return false;
	count(&t->counters.taken);
	t->no_spin_until_us = now_us + ENGINE_THREAD_TAKEN_HOLD_US;
	return true;
}

/* Whether to look for work once more rather than sleep: for a while after there was some. An
 * idle turn takes a few microseconds: when the last one seems to have taken far longer,
 * somebody else had the core. */
static bool should_spin(struct engine_thread *t, uint64_t now_us)
{
	if (t->spinning && now_us - t->last_turn_us > ENGINE_THREAD_LOST_US) {
		count(&t->counters.contended);
		t->no_spin_until_us = now_us + ENGINE_THREAD_LOST_HOLD_US;
	}
	return !holds_off(t, now_us) && now_us - t->last_work_us < t->cfg.spin_us;
}

static uint64_t min_us(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool polls_flooders(struct engine_thread *t)
{
	struct watch_stats stats;

	watch_stats_get(t->watches, &stats);
	return stats.polled > 0;
}

/* True if a frame may have come before the queue was asked to wake us: look once more. */
static bool arm(struct engine_thread *t)
{
	if (t->cfg.arm == NULL || t->armed)
		return false;
	t->armed = t->cfg.arm(t->cfg.queue_arg);
	return t->armed;
}

static void disarm(struct engine_thread *t)
{
	if (t->armed)
		t->cfg.disarm(t->cfg.queue_arg);
	t->armed = false;
}

/* A queue that cannot wake us is looked at the more often the less time has passed since there
 * was work: an answer that takes t is seen after at most 1.5 t, for a few looks more. */
static uint64_t poll_period_us(const struct engine_thread *t, uint64_t now_us)
{
	uint64_t period_us = (now_us - t->last_work_us) / 2;

	if (period_us < ENGINE_THREAD_POLL_MIN_US)
		period_us = ENGINE_THREAD_POLL_MIN_US;
	return min_us(period_us, t->cfg.poll_us);
}

/* How long at most, by what the queue can do: UINT64_MAX if it will wake us. */
static uint64_t queue_patience_us(const struct engine_thread *t, uint64_t now_us)
{
	if (t->armed)
		return ENGINE_THREAD_ARMED_US;
	return t->cfg.queue_fd < 0 || t->cfg.arm != NULL ? poll_period_us(t, now_us) : UINT64_MAX;
}

static void sleep_until_work(struct engine_thread *t)
{
	uint64_t due_us, now_us, patience_us;

	if (arm(t))
		return;
	if (!engine_sleep_prepare(t->cfg.engine)) {
		/* somebody has work, which may not be such that a turn can do it: hear the others,
		 * whose rings are no longer watched */
		take_events(t, 0);
		return;
	}
	due_us = engine_next_us(t->cfg.engine);
	now_us = clock_us();
	if (t->cfg.drain != NULL && t->cfg.drain(t->cfg.queue_arg))
		due_us = min_us(due_us, now_us + ENGINE_THREAD_DRAIN_US);
	patience_us = queue_patience_us(t, now_us);
	if (patience_us != UINT64_MAX)
		due_us = min_us(due_us, now_us + patience_us);
	if (polls_flooders(t)) {
		t->flood_poll_us = min_us(t->flood_poll_us, now_us + ENGINE_THREAD_FLOOD_POLL_US);
		due_us = min_us(due_us, t->flood_poll_us);
	}
	count(&t->counters.sleeps);
	if (due_us == UINT64_MAX)
		take_events(t, UINT64_MAX);
	else
		take_events(t, due_us > now_us ? due_us - now_us : 0);
	disarm(t);
}

/* One turn and what follows from it. */
static void turn(struct engine_thread *t)
{
	uint64_t now_us = clock_us();
	unsigned int work;

	poll_flooders(t, now_us);
	work = engine_turn(t->cfg.engine, now_us);
	count(&t->counters.progress);
	if (engine_posted(t->cfg.engine))
		shm_doorbell_event_ring(t->cfg.main_fd);
	judge_fired(t, work);
	if (work > 0) {
		disarm(t);
		t->last_work_us = now_us;
		t->spinning = false;
		if (now_us - t->peeked_us >= ENGINE_THREAD_PEEK_US)
			take_events(t, 0);
	} else if (offer_core(t, now_us)) {
		t->spinning = false; /* but look once more */
	} else {
		t->spinning = should_spin(t, now_us);
		if (!t->spinning)
			sleep_until_work(t);
	}
	t->last_turn_us = now_us;
}

static void *run(void *arg)
{
	struct engine_thread *t = arg;

	prctl(PR_SET_TIMERSLACK, 1000ul); /* ns; or each timed sleep is 50 us longer */
	t->enter_result = t->cfg.enter != NULL ? t->cfg.enter() : 0;
	sem_post(&t->entered);
	if (t->enter_result < 0)
		return NULL;
	while (!atomic_load_explicit(&t->stop, memory_order_acquire))
		turn(t);
	if (t->cfg.leave != NULL)
		t->cfg.leave();
	return NULL;
}

/* -- life ------------------------------------------------------------------------------------ */

static int watch_own(struct engine_thread *t, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	return epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int open_descriptors(struct engine_thread *t)
{
	int err;

	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (t->epoll_fd < 0)
		return -errno;
	t->command_fd = shm_doorbell_event();
	if (t->command_fd < 0)
		return t->command_fd;
	err = watch_own(t, t->command_fd, EPOLLIN | EPOLLET, DATA_COMMAND);
	if (err == 0 && t->cfg.queue_fd >= 0)
		err = watch_own(t, t->cfg.queue_fd,
			EPOLLIN | (t->cfg.arm != NULL ? (uint32_t)EPOLLET : 0), DATA_QUEUE);
	return err == 0 ? watch_set_create(&t->watches, t->epoll_fd) : err;
}

static void release(struct engine_thread *t)
{
	watch_set_destroy(t->watches);
	if (t->command_fd >= 0)
		close(t->command_fd);
	if (t->epoll_fd >= 0)
		close(t->epoll_fd);
	sem_destroy(&t->entered);
	free(t);
}

static int bind_core(pthread_attr_t *attr, int core)
{
	cpu_set_t allowed, one;

	if (core < 0)
		return 0;
	if (core >= CPU_SETSIZE || sched_getaffinity(0, sizeof(allowed), &allowed) < 0 ||
		!CPU_ISSET(core, &allowed))
		return -EINVAL;
	CPU_ZERO(&one);
	CPU_SET(core, &one);
	return -pthread_attr_setaffinity_np(attr, sizeof(one), &one);
}

static int launch(struct engine_thread *t)
{
	pthread_attr_t attr;
	char name[16];
	int err = -pthread_attr_init(&attr);

	if (err < 0)
		return err;
	err = bind_core(&attr, t->cfg.core);
	if (err == 0)
		err = -pthread_create(&t->thread, &attr, run, t);
	pthread_attr_destroy(&attr);
	if (err < 0)
		return err;
	snprintf(name, sizeof(name), "engine%u", t->cfg.id);
	pthread_setname_np(t->thread, name);
	while (sem_wait(&t->entered) < 0 && errno == EINTR)
		;
	if (t->enter_result < 0)
		pthread_join(t->thread, NULL);
	return t->enter_result;
}

int engine_thread_start(struct engine_thread **out, const struct engine_thread_config *cfg)
{
	struct engine_thread *t = calloc(1, sizeof(*t));
	int err;

	if (t == NULL)
		return -ENOMEM;
	t->cfg = *cfg;
	t->epoll_fd = t->command_fd = -1;
	sem_init(&t->entered, 0, 0);
	err = open_descriptors(t);
	if (err == 0)
		err = launch(t);
	if (err < 0) {
		release(t);
		return err;
	}
	*out = t;
	return 0;
}

void engine_thread_stop(struct engine_thread *t)
{
	if (t == NULL)
		return;
	atomic_store_explicit(&t->stop, true, memory_order_release); /* pairs with run() */
	engine_thread_wake(t);
	pthread_join(t->thread, NULL);
	release(t);
}

/* -- what others may ask --------------------------------------------------------------------- */

int engine_thread_watch(struct engine_thread *t, uint32_t session, int fd)
{
	return watch_add(t->watches, session, fd);
}

void engine_thread_unwatch(struct engine_thread *t, uint32_t session)
{
	watch_remove(t->watches, session);
}

bool engine_thread_is_polled(struct engine_thread *t, uint32_t session)
{
	return watch_is_polled(t->watches, session);
}

void engine_thread_wake(struct engine_thread *t)
{
	shm_doorbell_event_ring(t->command_fd);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t engine_thread_progress(const struct engine_thread *t)
{
	return load(&t->counters.progress);
}

void engine_thread_stats(struct engine_thread *t, struct engine_thread_stats *out)
{
	const struct counters *c = &t->counters;
	struct watch_stats watches;

	watch_stats_get(t->watches, &watches);
	*out = (struct engine_thread_stats){
		.sleeps = load(&c->sleeps),
		.wakes_queue = load(&c->wakes_queue),
		.wakes_session = load(&c->wakes_session),
		.wakes_command = load(&c->wakes_command),
		.timeouts = load(&c->timeouts),
		.contended = load(&c->contended),
		.taken = load(&c->taken),
		.sessions_watched = watches.watched,
		.sessions_polled = watches.polled,
		.floods = watches.floods,
	};
}
