/* The sleeping part of lock.h. errno is left as it was: a lock is no call of the program's. */
#include <libclient/lock.h>

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

static void futex(struct lock *l, int op, uint32_t value)
{
	int saved = errno;

	syscall(SYS_futex, &l->word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
	errno = saved;
}

void lock_wait(struct lock *l)
{
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire))
		futex(l, FUTEX_WAIT, 2);
}

void lock_wake(struct lock *l)
{
	futex(l, FUTEX_WAKE, 1);
}
