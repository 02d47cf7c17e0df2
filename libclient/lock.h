/* A lock of four bytes: there are three for each of a million sockets.
 *
 * The word is 0 (free), 1 (held) or 2 (held, and somebody may sleep for it). Who finds it held
 * sets 2 and sleeps in the kernel while it is 2; who lets go of a 2 wakes one, who takes it as a 2
 * again, since others may still sleep (Drepper, "Futexes Are Tricky", mutex 2). Zeroed memory is a
 * free lock, and a lock is given up by forgetting it. Not recursive, not shared with children.
 */
#ifndef LIBCLIENT_LOCK_H
#define LIBCLIENT_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lock {
	_Atomic uint32_t word;
};

void lock_wait(struct lock *l); /* takes it, sleeping */
void lock_wake(struct lock *l);

static inline bool lock_try(struct lock *l)
{
	uint32_t unheld = 0;

	/* pairs with the release in lock_drop() */
	return atomic_compare_exchange_strong_explicit(
		&l->word, &unheld, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void lock_take(struct lock *l)
{
	if (!lock_try(l))
		lock_wait(l);
}

static inline void lock_drop(struct lock *l)
{
	if (atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2)
		lock_wake(l);
}

#endif
