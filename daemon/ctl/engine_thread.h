/* The thread that turns an engine, and how it sleeps.
 *
 * While there is work the thread turns the engine. When there is none it goes on for spin_us,
 * since work often follows work, and then blocks in epoll on the queue's descriptor, the
 * sessions' eventfds and its own command eventfd, until the engine's next deadline. It does
 * not spin where that steals time from others: on a machine with no more cores than engines,
 * and for a while after it finds that it lost its core while spinning.
 *
 * A queue without a descriptor is polled: soon after there was work, then less and less often, down
 * to every poll_us. A session's eventfd is watched
 * edge-triggered and never read. A client that rings it more often than makes sense is taken
 * out of epoll and polled every millisecond instead, for as long as it lives: it can no
 * longer wake the engine, and loses nothing but latency.
 *
 * The main thread starts and stops the thread, and tells it which eventfds to watch. A mutex
 * guards the watches; the engine's thread takes it only when an eventfd has fired.
 */
#ifndef CTL_ENGINE_THREAD_H
#define CTL_ENGINE_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct engine_thread;

struct engine_thread_config {
	struct engine *engine; /* not owned; destroyed by the caller after stop */
	uint16_t id;
	int queue_fd;	  /* readable when frames wait; -1: poll */
	int core;	  /* CPU to run on; -1: any */
	uint32_t spin_us; /* 0: never spin */
	uint32_t poll_us; /* longest period without a queue descriptor */
	int main_fd;	  /* eventfd of the main thread, rung when engine_posted() */
	/* Called by the new thread before its first turn and after its last (the port's library
	 * wants to know its threads). May be NULL. 0 or -errno. */
	int (*enter)(void);
	void (*leave)(void);
	/* Before sleeping: hands over what the port had no room for, true while some is left.
	 * The thread then sleeps no longer than ENGINE_THREAD_DRAIN_US. May be NULL. */
	bool (*drain)(void *arg);
	/* Given where queue_fd fires only when asked to, and then for edges. Before sleeping: asks;
	 * true if it will fire, else the queue is polled. The thread makes one more turn before it
	 * sleeps, and not for longer than ENGINE_THREAD_ARMED_US, after which it asks again: who
	 * was asked may be gone. Both may be NULL. */
	bool (*arm)(void *arg);
	void (*disarm)(void *arg);
	void *queue_arg; /* of these three */
};

enum {
	ENGINE_THREAD_DRAIN_US = 50,
	ENGINE_THREAD_ARMED_US = 50000,
	ENGINE_THREAD_POLL_MIN_US = 10,
	/* A busy engine looks at the eventfds this often. */
	ENGINE_THREAD_PEEK_US = 50,
	ENGINE_THREAD_FLOOD_POLL_US = 1000,
	/* Wakes of one session in a second, after which a turn found no work at all. An honest
	 * client causes a few: it rings just when the engine has seen the work by itself. */
	ENGINE_THREAD_FLOOD_SPURIOUS = 10000,
	/* Wakes of one session in a second, whatever they brought. */
	ENGINE_THREAD_FLOOD_WAKES = 100000,
	/* A turn without work that took this long means that the core was lost; then no spinning
	 * for a while. */
	ENGINE_THREAD_LOST_US = 200,
	ENGINE_THREAD_LOST_HOLD_US = 100000,
	/* Before it spins or sleeps, an engine that has rung somebody offers its core, this often
	 * at most. An offer that took this long was accepted; for a while it is then repeated for
	 * each ring, and there is no spinning. */
	ENGINE_THREAD_OFFER_US = 200,
	ENGINE_THREAD_TAKEN_US = 4,
	ENGINE_THREAD_TAKEN_HOLD_US = 10000,
};

struct engine_thread_stats {
	uint64_t sleeps, wakes_queue, wakes_session, wakes_command, timeouts;
	uint64_t contended; /* times that the core was lost while spinning */
	uint64_t taken;	    /* times that the core was offered after a ring, and taken */
	uint32_t sessions_watched;
	uint32_t sessions_polled; /* eventfd taken out of epoll for flooding */
	uint64_t floods;	  /* sessions ever moved to polling */
};

/* Starts the thread and waits until it has entered. 0 or -errno (pthread_create, epoll,
 * eventfd, enter, -EINVAL: no such core). */
int engine_thread_start(struct engine_thread **t, const struct engine_thread_config *cfg);
/* Ends the thread after its current turn, joins it and frees t. NULL is allowed. */
void engine_thread_stop(struct engine_thread *t);

/* Main thread: engine_session_woken(session) is called whenever fd fires. The descriptor
 * stays the caller's, who unwatches before closing it. 0, -EEXIST, -ENOSPC or -errno. */
int engine_thread_watch(struct engine_thread *t, uint32_t session, int fd);
void engine_thread_unwatch(struct engine_thread *t, uint32_t session);
bool engine_thread_is_polled(struct engine_thread *t, uint32_t session);

/* Main thread: a command was posted, turn now. */
void engine_thread_wake(struct engine_thread *t);

/* Any thread: a number that changes with every turn. A sleeping engine makes none: wake it
 * and look again later. */
uint64_t engine_thread_progress(const struct engine_thread *t);
void engine_thread_stats(struct engine_thread *t, struct engine_thread_stats *out);

#endif
