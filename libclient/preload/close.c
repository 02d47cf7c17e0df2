/* Letting go of numbers: close and its relatives, and fork.
 *
 * The entry goes before the number does, so that a number that the kernel hands out again at
 * once is never mistaken for the old socket. The library's own descriptors cannot be closed by
 * the program: a daemon that closes 3 to 1023 would otherwise cut the session.
 */
#include "fd.h"
#include "real.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>
#include <linux/close_range.h>

#include <libclient/internal.h>

PL_EXPORT int close(int fd)
{
	struct pl_tag tag;
	int family;

	if (pl_fd_file(fd)) {
		if (pl_fd_forget_spare(fd, &family, &tag))
			return pl_spare_put(fd, family, &tag);
	} else if (mtcpi_owns_fd(fd)) {
		errno = EBADF;
		return -1;
	}
	return pl_real()->close(fd);
}

/* One past the highest number that may be the native library's. */
static unsigned int own_end(void)
{
	long end = sysconf(_SC_OPEN_MAX);

	return end < 0 || end > PL_FDS_MAX ? PL_FDS_MAX : (unsigned int)end;
}

static int close_around_own(unsigned int first, unsigned int last, int flags)
{
	unsigned int start = first;
	unsigned int end = own_end();
	int rc = 0;

	for (unsigned int fd = first; fd <= last && fd < end && !rc; fd++) {
		if (!mtcpi_owns_fd((int)fd))
			continue;
		if (fd > start)
			rc = pl_real()->close_range(start, fd - 1, flags);
		start = fd + 1;
	}
	return rc || start > last ? rc : pl_real()->close_range(start, last, flags);
}

PL_EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	if (flags & (int)CLOSE_RANGE_CLOEXEC || first > last)
		return pl_real()->close_range(first, last, flags);
	for (unsigned int fd = first; fd <= last && fd < (unsigned int)pl_fd_top(); fd++) {
		if (pl_fd_file((int)fd))
			pl_fd_forget((int)fd);
	}
	return close_around_own(first, last, flags);
}

PL_EXPORT void closefrom(int low)
{
	int saved = errno;

	close_range(low < 0 ? 0 : (unsigned int)low, UINT_MAX, 0);
	errno = saved;
}

/* A vfork child shares our memory: closing or duplicating there would change the parent's table.
 * POSIX lets vfork be fork. (posix_spawn, system and popen never come by here.) */
PL_EXPORT pid_t vfork(void)
{
	return fork();
}
