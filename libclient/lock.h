/* A lock of four bytes: there are three for each of a million sockets.
 *
 * The word is 0 (free), 1 (held) or 2 (held, and somebody may sleep for it). Who finds it held
 * sets 2 and sleeps in the kernel while it is 2; who lets go of a 2 wakes one, who takes it as a 2
 * again, since others may still sleep (Drepper, "Futexes Are Tricky", mutex 2). Zeroed memory is a
 * free lock, and a lock is given up by forgetting it. Not recursive, not shared with children.
 *
 * Both ends are sequentially consistent, which costs nothing where a locked instruction is needed
 * anyway: a store before lock_drop() and a load after it are not reordered (sock_put()).
 *
 * A process with one thread needs no locked instruction. The C library's flag turns in
 * pthread_create(), which orders what was done before: the word means the same to both kinds, and
 * a lock that is held while the second thread is born is held against it.
 */
#ifndef LIBCLIENT_LOCK_H
#define LIBCLIENT_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>

struct lock {
	_Atomic uint32_t word;
};

void lock_wait(struct lock *l); /* takes it, spinning a little and then sleeping */
void lock_wake(struct lock *l);

static inline bool lock_try(struct lock *l)
{
	uint32_t unheld = 0;

	if (__libc_single_threaded) {
		if (atomic_load_explicit(&l->word, memory_order_relaxed))
			return false;
		atomic_store_explicit(&l->word, 1, memory_order_relaxed);
		return true;
	}
	return atomic_compare_exchange_strong(&l->word, &unheld, 1);
}

static inline void lock_take(struct lock *l)
{
	if (!lock_try(l))
		lock_wait(l);
}

static inline void lock_drop(struct lock *l)
{
	if (__libc_single_threaded)
		atomic_store_explicit(&l->word, 0, memory_order_relaxed);
	else if (atomic_exchange(&l->word, 0) == 2)
		lock_wake(l);
}

#endif
