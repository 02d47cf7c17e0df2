/* SIGBUS survival: a lock-free table of ranges, and a handler that maps zeroes.
 *
 * A range is one 64-bit word, base and length in pages, so that a handler on another thread
 * sees either a whole range or none; a torn pair could match an address that belongs to a
 * neighbour. Writers are the main thread alone. A range may be removed only when no thread
 * can touch it any more (the engines have gone through a grace period), so a range that
 * matches a faulting address is live, and its flag's pointer, stored before the word, is
 * valid.
 *
 * The handler looks at no more words than were ever in use at once (the high-water mark;
 * new ranges take the lowest free place), 8 bytes each. Several threads may fault in the
 * same range: each maps zeroes, the last one wins, all see zeroes.
 *
 * The userfaultfd is opened with UFFD_USER_MODE_ONLY, which needs no privilege: with
 * UFFD_FEATURE_SIGBUS nothing ever reads it, and a fault inside a system call gives EFAULT
 * either way. Its registration covers pages missing from the file, not those that merely
 * lack a page-table entry.
 *
 * Threads that touch guarded memory must not block SIGBUS: the kernel kills a process that
 * blocks a signal which a fault raises.
 */
#include <shm/guard.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	GUARD_PAGE_SHIFT = 12,
	GUARD_LEN_BITS = 28, /* pages: 1 TiB */
	GUARD_BASE_BITS = 64 - GUARD_LEN_BITS,
};

static struct {
	_Atomic uint64_t range[SHM_GUARD_RANGES_MAX];
	_Atomic(_Atomic bool *) condemned[SHM_GUARD_RANGES_MAX];
	_Atomic uint32_t high; /* places at or above it are free */
	struct sigaction previous;
	int uffd;
	bool installed;
} guard = {.uffd = -1};

static uint64_t range_make(uintptr_t base, size_t len_bytes)
{
	return (uint64_t)(base >> GUARD_PAGE_SHIFT) << GUARD_LEN_BITS |
	       len_bytes >> GUARD_PAGE_SHIFT;
}

static uintptr_t range_base(uint64_t range)
{
	return (uintptr_t)(range >> GUARD_LEN_BITS) << GUARD_PAGE_SHIFT;
}

static size_t range_len(uint64_t range)
{
	return (size_t)(range & ((UINT64_C(1) << GUARD_LEN_BITS) - 1)) << GUARD_PAGE_SHIFT;
}

/* The bare system call: safe in a handler, and a sanitizer must not take it for a write to
 * memory that other threads are reading, for that is its purpose. */
static bool map_zeroes(uintptr_t base, size_t len_bytes)
{
	return syscall(SYS_mmap, base, len_bytes, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) >= 0;
}

/* Replaces the range that holds addr by zeroes; false if there is none. Signal context. */
static bool condemn(uintptr_t addr)
{
	/* pairs with the release in shm_guard_add */
	uint32_t high = atomic_load_explicit(&guard.high, memory_order_acquire);

	for (uint32_t i = 0; i < high; i++) {
		/* pairs with the release in shm_guard_add */
		uint64_t r = atomic_load_explicit(&guard.range[i], memory_order_acquire);
		_Atomic bool *flag;

		if (addr - range_base(r) >= range_len(r))
			continue;
		if (!map_zeroes(range_base(r), range_len(r)))
			return false;
		flag = atomic_load_explicit(&guard.condemned[i], memory_order_relaxed);
		atomic_store_explicit(flag, true, memory_order_release);
		return true;
	}
	return false;
}

/* Not ours: as if this handler had never been there. */
static void forward(int sig, siginfo_t *info, void *context, bool fault)
{
	if (guard.previous.sa_flags & SA_SIGINFO) {
		guard.previous.sa_sigaction(sig, info, context);
		return;
	}
	if (guard.previous.sa_handler != SIG_DFL && guard.previous.sa_handler != SIG_IGN) {
		guard.previous.sa_handler(sig);
		return;
	}
	sigaction(SIGBUS, &guard.previous, NULL);
	if (!fault)
		raise(SIGBUS); /* delivered on return; a fault comes back by itself */
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	bool fault = info->si_code == BUS_ADRERR || info->si_code == BUS_ADRALN ||
		     info->si_code == BUS_MCEERR_AR;
	int saved = errno;

	if (!fault || !condemn((uintptr_t)info->si_addr))
		forward(sig, info, context, fault);
	errno = saved;
}

static int open_uffd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM |
			    UFFD_FEATURE_MISSING_HUGETLBFS,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return -1;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

int shm_guard_init(bool *has_uffd)
{
	struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

	if (guard.installed)
		return -EALREADY;
	sa.sa_sigaction = on_sigbus;
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGBUS, &sa, &guard.previous))
		return -errno;
	guard.installed = true;
	guard.uffd = open_uffd();
	*has_uffd = guard.uffd >= 0;
	return 0;
}

static int find_place(uint64_t range)
{
	for (int i = 0; i < SHM_GUARD_RANGES_MAX; i++) {
		if (atomic_load_explicit(&guard.range[i], memory_order_relaxed) == range)
			return i;
	}
	return -ENOSPC;
}

static int check_range(uintptr_t base, size_t len_bytes)
{
	const size_t page_mask = (1u << GUARD_PAGE_SHIFT) - 1;

	if (base == 0 || (base & page_mask) || len_bytes == 0 || (len_bytes & page_mask))
		return -EINVAL;
	if ((uint64_t)base >> GUARD_PAGE_SHIFT >> GUARD_BASE_BITS ||
		(uint64_t)len_bytes >> GUARD_PAGE_SHIFT >> GUARD_LEN_BITS)
		return -EINVAL;
	return 0;
}

int shm_guard_add(void *base, size_t len_bytes, _Atomic bool *condemned)
{
	struct uffdio_register reg = {
		.range = {.start = (uintptr_t)base, .len = len_bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int err = check_range((uintptr_t)base, len_bytes);
	int i;

	if (err)
		return err;
	i = find_place(0);
	if (i < 0)
		return i;
	if (guard.uffd >= 0 && ioctl(guard.uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	atomic_store_explicit(&guard.condemned[i], condemned, memory_order_relaxed);
	/* both pair with the acquires in condemn() */
	atomic_store_explicit(
		&guard.range[i], range_make((uintptr_t)base, len_bytes), memory_order_release);
	if ((uint32_t)i >= atomic_load_explicit(&guard.high, memory_order_relaxed))
		atomic_store_explicit(&guard.high, (uint32_t)i + 1, memory_order_release);
	return 0;
}

static int find_base(uintptr_t base, uint32_t high)
{
	for (uint32_t i = 0; i < high; i++) {
		uint64_t r = atomic_load_explicit(&guard.range[i], memory_order_relaxed);

		if (r && range_base(r) == base)
			return (int)i;
	}
	return -ENOENT;
}

void shm_guard_remove(void *base)
{
	uint32_t high = atomic_load_explicit(&guard.high, memory_order_relaxed);
	int i = find_base((uintptr_t)base, high);
	struct uffdio_range range;

	if (i < 0)
		return;
	range.start = (uintptr_t)base;
	range.len = range_len(atomic_load_explicit(&guard.range[i], memory_order_relaxed));
	if (guard.uffd >= 0)
		(void)ioctl(guard.uffd, UFFDIO_UNREGISTER, &range); /* zeroes were never in it */
	atomic_store_explicit(&guard.range[i], 0, memory_order_relaxed);
	while (high > 0 && !atomic_load_explicit(&guard.range[high - 1], memory_order_relaxed))
		high--;
	atomic_store_explicit(&guard.high, high, memory_order_relaxed);
}
