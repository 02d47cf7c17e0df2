#include "pkt_task.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NEVER UINT64_MAX

enum task_state {
	TASK_IDLE,
	TASK_RUNNING,
	TASK_ASLEEP,
};

struct pkt_task {
	pthread_t thread;
	sem_t go; /* posted: the baton is this task's */
	enum task_state state;
	pkt_task_fn *fn;
	void *arg;
	/* while asleep */
	struct pollfd *fds;
	nfds_t nfds;
	uint64_t until_us;
};

static struct pkt_task *tasks[PKT_TASKS_MAX];
static unsigned int task_count;
static sem_t world_go; /* posted: the baton is the world's */
static uint64_t clock_us;
static __thread struct pkt_task *self;

void pkt_clock_set(uint64_t now_us)
{
	clock_us = now_us;
}

uint64_t pkt_clock_us(void)
{
	return clock_us;
}

/* -- the baton -------------------------------------------------------------------------------- */

static void wait_for(sem_t *s)
{
	while (sem_wait(s) && errno == EINTR)
		;
}

static void run(struct pkt_task *t)
{
	t->state = TASK_RUNNING;
	sem_post(&t->go);
	wait_for(&world_go);
}

static void *task_main(void *arg)
{
	self = arg;
	for (;;) {
		wait_for(&self->go);
		self->fn(self->arg);
		self->state = TASK_IDLE;
		sem_post(&world_go);
	}
	return NULL;
}

static struct pkt_task *idle_task(void)
{
	struct pkt_task *t;

	for (unsigned int i = 0; i < task_count; i++)
		if (tasks[i]->state == TASK_IDLE)
			return tasks[i];
	if (task_count == PKT_TASKS_MAX)
		return NULL;
	if (task_count == 0)
		sem_init(&world_go, 0, 0);
	t = calloc(1, sizeof(*t));
	if (!t || sem_init(&t->go, 0, 0) || pthread_create(&t->thread, NULL, task_main, t)) {
		free(t);
		return NULL;
	}
	return tasks[task_count++] = t;
}

struct pkt_task *pkt_task_start(pkt_task_fn *fn, void *arg)
{
	struct pkt_task *t = idle_task();

	if (!t)
		return NULL;
	t->fn = fn;
	t->arg = arg;
	run(t);
	return t;
}

bool pkt_task_done(const struct pkt_task *t)
{
	return t->state == TASK_IDLE;
}

/* -- sleep ------------------------------------------------------------------------------------ */

static int poll_now(struct pollfd *fds, nfds_t n)
{
	const struct timespec none = {0};

	return (int)syscall(SYS_ppoll, fds, n, &none, NULL, 0);
}

static bool is_ready(const struct pkt_task *t)
{
	return t->until_us <= clock_us || (t->nfds && poll_now(t->fds, t->nfds) > 0);
}

unsigned int pkt_task_turn(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < task_count; i++) {
		if (tasks[i]->state != TASK_ASLEEP || !is_ready(tasks[i]))
			continue;
		run(tasks[i]);
		n++;
	}
	return n;
}

bool pkt_task_asleep(void)
{
	for (unsigned int i = 0; i < task_count; i++)
		if (tasks[i]->state == TASK_ASLEEP)
			return true;
	return false;
}

uint64_t pkt_task_next_us(void)
{
	uint64_t next = NEVER;

	for (unsigned int i = 0; i < task_count; i++)
		if (tasks[i]->state == TASK_ASLEEP && tasks[i]->until_us < next)
			next = tasks[i]->until_us;
	return next;
}

static void sleep_until(struct pollfd *fds, nfds_t n, uint64_t until_us)
{
	self->fds = fds;
	self->nfds = n;
	self->until_us = until_us;
	self->state = TASK_ASLEEP;
	sem_post(&world_go);
	wait_for(&self->go);
}

static int poll_until(struct pollfd *fds, nfds_t n, uint64_t until_us)
{
	int rc;

	for (;;) {
		rc = poll_now(fds, n);
		if (rc != 0 || until_us <= clock_us)
			return rc;
		sleep_until(fds, n, until_us);
	}
}

static uint64_t in_us(uint64_t us)
{
	return us < NEVER - clock_us ? clock_us + us : NEVER;
}

static uint64_t us_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * 1000000 + ((uint64_t)ts->tv_nsec + 999) / 1000;
}

/* -- what the C library's are replaced by
 * ---------------------------------------------------------- */

#define REPLACES __attribute__((visibility("default")))

REPLACES int ppoll(
	struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec ts = timeout ? *timeout : (struct timespec){0};

	if (!self)
		return (int)syscall(SYS_ppoll, fds, n, timeout ? &ts : NULL, mask, NSIG / 8);
	return poll_until(fds, n, timeout ? in_us(us_of(timeout)) : NEVER);
}

REPLACES int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct timespec ts = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

	return ppoll(fds, n, timeout_ms < 0 ? NULL : &ts, NULL);
}

REPLACES int nanosleep(const struct timespec *want, struct timespec *left)
{
	if (!self)
		return (int)syscall(SYS_nanosleep, want, left);
	sleep_until(NULL, 0, in_us(us_of(want)));
	return 0;
}

REPLACES int sched_yield(void)
{
	if (!self)
		return (int)syscall(SYS_sched_yield);
	sleep_until(NULL, 0, clock_us);
	return 0;
}

REPLACES int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME && clock != CLOCK_BOOTTIME)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ts->tv_sec = (time_t)(clock_us / 1000000);
	ts->tv_nsec = (long)(clock_us % 1000000) * 1000;
	return 0;
}
