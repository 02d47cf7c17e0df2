/* Doorbells: how one side wakes the other.
 *
 * Daemon to client: a one-way channel per context, of which only the daemon holds the write
 * end. It is a stream socketpair and not a pipe: pipe_read() copies to the reader's memory
 * with the pipe's mutex held, so a client that reads into memory whose page fault never ends
 * (FUSE, userfaultfd) would block the daemon's next write, O_NONBLOCK or not (tested). A
 * socket's reader holds no lock that the sender takes. A full channel means that the reader
 * is already awake or does not care. The daemon's end refuses data, so the client cannot send
 * anything, descriptors included, into it.
 *
 * Client to engine: an eventfd per (session, engine) that the engine watches with EPOLLET and
 * never reads or writes, so a client that fills it or makes it blocking jams only itself.
 *
 * Sleeping: the sleeper stores into its flag that it sleeps, issues a full fence, looks once
 * more for work, and only then blocks. The waker publishes work, issues a full fence, reads the
 * flag and rings if the other sleeps. One of the two always sees the other (store-buffering
 * litmus test, modelled in tests/model/doorbell.pml).
 *
 * A ring is a system call, and a sleeper that was rung may not run for a while, on a shared core
 * not before the waker stops. So the flag counts: odd asleep, even awake, and each sleep has a
 * number of its own. A waker remembers which sleep it rang and does so once: that ring stays in
 * the channel until the sleeper has taken it, and who takes it looks for work afterwards. A flag
 * has one writer; one who keeps it at the same odd number is rung once and no more.
 */
#ifndef SHM_DOORBELL_H
#define SHM_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__)
#define SHM_TSAN 1 /* gcc */
#elif defined(__has_feature)
#define SHM_TSAN __has_feature(thread_sanitizer)
#else
#define SHM_TSAN 0
#endif

/* fds[0]: read end for the client (blocking; works with read, poll and epoll), fds[1]: write
 * end, both CLOEXEC. The caller closes both. 0 or -errno. */
int shm_doorbell_pipe(int fds[2]);
/* Never blocks, never raises SIGPIPE. A full channel or a reader that is gone is ignored. */
void shm_doorbell_pipe_ring(int write_fd);
/* The same; returns the microseconds that it took by that clock. */
uint32_t shm_doorbell_pipe_ring_timed(int write_fd, clockid_t clock);
void shm_doorbell_pipe_drain(int read_fd); /* reads what is there; tolerates a blocking fd */

int shm_doorbell_event(void); /* eventfd, CLOEXEC|NONBLOCK. fd or -errno */
void shm_doorbell_event_ring(int fd);

/* A full fence. ThreadSanitizer knows no fences; a locked operation on a private word orders
 * the machine alike, and nothing but atomics is ordered by it here. */
static inline void shm_fence_full(void)
{
#if SHM_TSAN
	_Atomic uint32_t word = 0;

	atomic_fetch_or_explicit(&word, 1, memory_order_seq_cst);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Sleeper, without the fence: for who announces several flags and fences once. */
static inline void shm_sleep_set(_Atomic uint32_t *flag)
{
	uint32_t nap = atomic_load_explicit(flag, memory_order_relaxed);

	atomic_store_explicit(flag, (nap + 1) | 1, memory_order_relaxed);
}
/* Sleeper, step 1: announce. Then look for work again; if there is some, cancel. */
static inline void shm_sleep_announce(_Atomic uint32_t *flag)
{
	shm_sleep_set(flag);
	shm_fence_full(); /* pairs with shm_sleep_check */
}
static inline void shm_sleep_cancel(_Atomic uint32_t *flag)
{
	uint32_t nap = atomic_load_explicit(flag, memory_order_relaxed);

	atomic_store_explicit(flag, (nap + 1) & ~UINT32_C(1), memory_order_relaxed);
}
/* Waker, after publishing: whether the other side must be rung. Once per batch. */
static inline bool shm_sleep_check(const _Atomic uint32_t *flag)
{
	shm_fence_full(); /* pairs with shm_sleep_announce */
	return atomic_load_explicit(flag, memory_order_relaxed) & 1;
}
/* The same, for a waker that rings each sleep once: *rung, its own memory, 0 at first, is the
 * sleep that it last rang. The caller rings if true. */
static inline bool shm_sleep_check_once(const _Atomic uint32_t *flag, uint32_t *rung)
{
	uint32_t nap;

	shm_fence_full(); /* pairs with shm_sleep_announce */
	nap = atomic_load_explicit(flag, memory_order_relaxed);
	if (!(nap & 1) || nap == *rung)
		return false;
	*rung = nap;
	return true;
}

#endif
