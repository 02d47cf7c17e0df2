/* Theory of operation: loop.h. Events of one epoll_wait lie in loop->batch while they are
 * dispatched; removing a watch blanks its events there, so a callback may free its object. */
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	LOOP_BATCH = 64,
};

struct loop {
	int epoll_fd;
	bool running;
	int batch_count;
	struct epoll_event batch[LOOP_BATCH];
	TAILQ_HEAD(loop_timers, loop_timer) timers;
};

uint64_t loop_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int loop_create(struct loop **loop)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		int err = -errno;

		free(l);
		return err;
	}
	TAILQ_INIT(&l->timers);
	*loop = l;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	if (loop == NULL)
		return;
	close(loop->epoll_fd);
	free(loop);
}

int loop_watch_add(
	struct loop *loop, struct loop_watch *w, int fd, uint32_t events, loop_fd_fn fn, void *arg)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	assert(!w->active);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	*w = (struct loop_watch){.fd = fd, .active = true, .fn = fn, .arg = arg};
	return 0;
}

int loop_watch_modify(struct loop *loop, struct loop_watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	assert(w->active);
	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? -errno : 0;
}

void loop_watch_remove(struct loop *loop, struct loop_watch *w)
{
	if (!w->active)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->active = false;
	for (int i = 0; i < loop->batch_count; i++) {
		if (loop->batch[i].data.ptr == w)
			loop->batch[i].data.ptr = NULL;
	}
}

void loop_timer_set(
	struct loop *loop, struct loop_timer *t, uint64_t due_us, loop_timer_fn fn, void *arg)
{
	struct loop_timer *before;

	loop_timer_cancel(loop, t);
	t->due_us = due_us;
	t->fn = fn;
	t->arg = arg;
	t->active = true;
	TAILQ_FOREACH_REVERSE(before, &loop->timers, loop_timers, entry)
	{
		if (before->due_us <= due_us)
			break;
	}
	if (before != NULL)
		TAILQ_INSERT_AFTER(&loop->timers, before, t, entry);
	else
		TAILQ_INSERT_HEAD(&loop->timers, t, entry);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *t)
{
	if (!t->active)
		return;
	TAILQ_REMOVE(&loop->timers, t, entry);
	t->active = false;
}

/* Runs the timers that are due on entry. One that a callback sets for the past waits for the
 * next round, so that descriptors get their turn. */
static void run_timers(struct loop *loop)
{
	uint64_t now_us = loop_now_us();
	unsigned int due_count = 0;
	struct loop_timer *t;

	TAILQ_FOREACH(t, &loop->timers, entry)
	{
		if (t->due_us > now_us)
			break;
		due_count++;
	}
	while (due_count-- > 0) {
		t = TAILQ_FIRST(&loop->timers);
		if (t == NULL || t->due_us > now_us)
			break;
		loop_timer_cancel(loop, t);
		t->fn(t->arg, now_us);
	}
}

/* Milliseconds until the first timer or the given timeout, rounded up; -1: for ever. */
static int wait_ms(const struct loop *loop, uint64_t timeout_us)
{
	const struct loop_timer *first = TAILQ_FIRST(&loop->timers);
	uint64_t now_us = loop_now_us();
	uint64_t wait_us = timeout_us;

	if (first != NULL) {
		uint64_t due_in_us = first->due_us > now_us ? first->due_us - now_us : 0;

		if (due_in_us < wait_us)
			wait_us = due_in_us;
	}
	if (wait_us == UINT64_MAX)
		return -1;
	if (wait_us > 3600 * UINT64_C(1000000))
		wait_us = 3600 * UINT64_C(1000000);
	return (int)((wait_us + 999) / 1000);
}

int loop_run_once(struct loop *loop, uint64_t timeout_us)
{
	int count = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, wait_ms(loop, timeout_us));

	if (count < 0) {
		if (errno != EINTR)
			return -errno;
		count = 0;
	}
	loop->batch_count = count;
	for (int i = 0; i < count; i++) {
		struct loop_watch *w = loop->batch[i].data.ptr;

		if (w != NULL)
			w->fn(w->arg, loop->batch[i].events);
	}
	loop->batch_count = 0;
	run_timers(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	int err = 0;

	loop->running = true;
	while (loop->running && err == 0)
		err = loop_run_once(loop, UINT64_MAX);
	return err;
}

void loop_stop(struct loop *loop)
{
	loop->running = false;
}
