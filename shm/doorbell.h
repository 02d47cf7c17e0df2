/* Doorbells: how one side wakes the other.
 *
 * Daemon to client: a pipe per context; only the daemon holds the write end, which is
 * O_NONBLOCK; a full pipe means that the reader is already awake or does not care. Client
 * to engine: an eventfd per (session, engine) that the engine watches with EPOLLET and
 * never reads or writes, so a client that fills it or makes it blocking jams only itself.
 *
 * Sleeping: the sleeper stores 1 into its flag, issues a full fence, looks once more for
 * work, and only then blocks. The waker publishes work, issues a full fence, reads the flag
 * and rings if it is set. One of the two always sees the other (store-buffering litmus test,
 * modelled in tests/model/doorbell.pml).
 */
#ifndef SHM_DOORBELL_H
#define SHM_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* fds[0]: read end for the client, fds[1]: write end, O_NONBLOCK, both CLOEXEC. 0 or -errno. */
int shm_doorbell_pipe(int fds[2]);
void shm_doorbell_pipe_ring(int write_fd); /* never blocks, never raises SIGPIPE */
void shm_doorbell_pipe_drain(int read_fd); /* reads what is there; tolerates a blocking fd */

int shm_doorbell_event(void); /* eventfd, CLOEXEC|NONBLOCK. fd or -errno */
void shm_doorbell_event_ring(int fd);

/* Sleeper, step 1: announce. Then look for work again; if there is some, cancel. */
static inline void shm_sleep_announce(_Atomic uint32_t *flag)
{
	atomic_store_explicit(flag, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with shm_sleep_check */
}
static inline void shm_sleep_cancel(_Atomic uint32_t *flag)
{
	atomic_store_explicit(flag, 0, memory_order_relaxed);
}
/* Waker, after publishing: whether the other side must be rung. Once per batch. */
static inline bool shm_sleep_check(const _Atomic uint32_t *flag)
{
	atomic_thread_fence(memory_order_seq_cst); /* pairs with shm_sleep_announce */
	return atomic_load_explicit(flag, memory_order_relaxed) != 0;
}

#endif
