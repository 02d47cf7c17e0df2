/* A lock for what is changed rarely and briefly: held for a bounded scan or copy, by threads
 * that have nothing else to wait for. A holder that lost its core is given time to run rather
 * than waited for. */
#ifndef NET_LOCK_H
#define NET_LOCK_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

static inline void net_lock(_Atomic uint32_t *lock)
{
	unsigned int spins = 0;

	/* pairs with the release in net_unlock() */
	while (atomic_exchange_explicit(lock, 1, memory_order_acquire) != 0)
		if (++spins % 64 == 0)
			sched_yield();
}

static inline void net_unlock(_Atomic uint32_t *lock)
{
	atomic_store_explicit(lock, 0, memory_order_release);
}

#endif
