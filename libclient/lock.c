/* The sleeping part of lock.h. errno is left as it was: a lock is no call of the program's. */
#include <libclient/lock.h>

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SPINS_MAX = 100, /* what most holders do takes less than a sleep */
};

static void futex(struct lock *l, int op, uint32_t value)
{
	int saved = errno;

	syscall(SYS_futex, &l->word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
	errno = saved;
}

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

void lock_wait(struct lock *l)
{
	for (int i = 0; i < SPINS_MAX; i++) {
		if (!atomic_load_explicit(&l->word, memory_order_relaxed) && lock_try(l))
			return;
		relax();
	}
	while (atomic_exchange(&l->word, 2))
		futex(l, FUTEX_WAIT, 2);
}

void lock_wake(struct lock *l)
{
	futex(l, FUTEX_WAKE, 1);
}
