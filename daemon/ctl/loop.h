/* The main thread's dispatcher: descriptors and timers, one thread.
 *
 * Watches and timers are embedded in the caller's objects, so nothing is allocated after
 * loop_create(). A callback may add, change or remove any watch or timer, its own included,
 * and may free the object they lie in once they are removed: events of the same batch that
 * belong to a removed watch are not delivered.
 *
 * Timers are one-shot, kept sorted by due time; setting one that is later than all others
 * (the common case: equal periods) costs O(1).
 */
#ifndef CTL_LOOP_H
#define CTL_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

struct loop;

/* `events` are EPOLL* bits. */
typedef void (*loop_fd_fn)(void *arg, uint32_t events);
typedef void (*loop_timer_fn)(void *arg, uint64_t now_us);

/* Zero it before first use. */
struct loop_watch {
	int fd;
	bool active;
	loop_fd_fn fn;
	void *arg;
};

/* Zero it before first use. */
struct loop_timer {
	TAILQ_ENTRY(loop_timer) entry;
	uint64_t due_us; /* CLOCK_MONOTONIC */
	bool active;
	loop_timer_fn fn;
	void *arg;
};

/* 0 or -errno (epoll_create1, malloc). */
int loop_create(struct loop **loop);
/* Watches and timers still there are forgotten; their descriptors stay open. */
void loop_destroy(struct loop *loop);

/* Watches fd, which stays the caller's. 0 or -errno (epoll_ctl). w must not be active. */
int loop_watch_add(
	struct loop *loop, struct loop_watch *w, int fd, uint32_t events, loop_fd_fn fn, void *arg);
/* Changes the events of an active watch. 0 or -errno. */
int loop_watch_modify(struct loop *loop, struct loop_watch *w, uint32_t events);
/* Stops watching; no-op when not active. Before the descriptor is closed. */
void loop_watch_remove(struct loop *loop, struct loop_watch *w);

/* Fires once at due_us; moves the timer if it is set already. */
void loop_timer_set(
	struct loop *loop, struct loop_timer *t, uint64_t due_us, loop_timer_fn fn, void *arg);
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);

/* Dispatches until loop_stop(). 0 or -errno (epoll_wait, other than EINTR). */
int loop_run(struct loop *loop);
/* Waits at most timeout_us (0: not at all) and dispatches once. 0 or -errno. */
int loop_run_once(struct loop *loop, uint64_t timeout_us);
void loop_stop(struct loop *loop);

/* CLOCK_MONOTONIC in microseconds. */
uint64_t loop_now_us(void);

#endif
