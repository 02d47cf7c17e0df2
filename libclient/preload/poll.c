/* poll and select over descriptors of both sides.
 *
 * A call that names no mtcp socket goes to the kernel as it is. Else its descriptors are split
 * in two arrays, native and kernel, and the native library waits on both. An epoll descriptor
 * with mtcp members is in both: readable if either part of it is. select is poll with its sets
 * translated, since the kernel's bit for a placeholder means nothing.
 */
#include "poll.h"

#include "deadline.h"
#include "fd.h"
#include "real.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <libclient/internal.h>

enum {
	POLL_ON_STACK = 64,
	ALWAYS = POLLERR | POLLHUP | POLLNVAL,
};

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t fdslen);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
	size_t fdslen);
void __chk_fail(void) __attribute__((noreturn)); /* of the C library: reports and aborts */

/* A poll call, split. native[i] stands for fds[home[i]]; kernel[] is parallel to fds[]. */
struct split {
	struct pollfd *native;
	struct pollfd *kernel;
	nfds_t *home;
	nfds_t native_n;
	bool any_kernel;
};

/* The native descriptor to poll for fd, or -1. */
static int native_pollable(int fd)
{
	int sd = pl_fd_native(fd);

	return sd >= 0 ? sd : pl_fd_native_epoll(fd);
}

static bool any_native(const struct pollfd *fds, nfds_t n)
{
	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].fd >= 0 && native_pollable(fds[i].fd) >= 0)
			return true;
	}
	return false;
}

/* The native library knows POLLIN and POLLOUT, of which the NORM bits are twins. */
static short bits_to_native(short events)
{
	return (short)(events | (events & POLLRDNORM ? POLLIN : 0) |
		       (events & POLLWRNORM ? POLLOUT : 0));
}

static short bits_from_native(short revents, short events)
{
	int bits = revents;

	bits |= revents & POLLIN ? POLLRDNORM : 0;
	bits |= revents & POLLOUT ? POLLWRNORM : 0;
	return (short)(bits & (events | ALWAYS));
}

static void split_fill(struct split *s, const struct pollfd *fds, nfds_t n)
{
	s->native_n = 0;
	s->any_kernel = false;
	for (nfds_t i = 0; i < n; i++) {
		int sd = fds[i].fd < 0 ? -1 : native_pollable(fds[i].fd);
		bool socket = sd >= 0 && pl_fd_native_epoll(fds[i].fd) < 0;

		s->kernel[i] =
			(struct pollfd){.fd = socket ? -1 : fds[i].fd, .events = fds[i].events};
		s->any_kernel |= s->kernel[i].fd >= 0;
		if (sd < 0)
			continue;
		s->native[s->native_n] =
			(struct pollfd){.fd = sd, .events = bits_to_native(fds[i].events)};
		s->home[s->native_n++] = i;
	}
}

static int split_merge(const struct split *s, struct pollfd *fds, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = s->kernel[i].revents;
	for (nfds_t i = 0; i < s->native_n; i++) {
		struct pollfd *home = &fds[s->home[i]];

		home->revents |= bits_from_native(s->native[i].revents, home->events);
	}
	for (nfds_t i = 0; i < n; i++)
		ready += fds[i].revents != 0;
	return ready;
}

static int split_wait(struct split *s, struct pollfd *fds, nfds_t n,
	const struct timespec *deadline, const sigset_t *mask)
{
	struct timespec now = {0};
	int rc;

	for (;;) {
		split_fill(s, fds, n);
		rc = mtcpi_poll(
			s->native, s->native_n, s->kernel, s->any_kernel ? n : 0, deadline, mask);
		if (rc < 0)
			return -1;
		/* With native events at hand nobody may have asked the kernel. */
		if (rc && s->any_kernel && pl_real()->ppoll(s->kernel, n, &now, NULL) < 0)
			return -1;
		rc = split_merge(s, fds, n);
		if (rc || (deadline && pl_time_passed(deadline)))
			return rc;
	}
}

int pl_poll_until(
	struct pollfd *fds, nfds_t n, const struct timespec *deadline, const sigset_t *mask)
{
	struct pollfd native[POLL_ON_STACK], kernel[POLL_ON_STACK];
	nfds_t home[POLL_ON_STACK];
	struct split s = {native, kernel, home, 0, false};
	struct rlimit limit;
	void *memory = NULL;
	int rc, saved;

	if (n > POLL_ON_STACK) {
		if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && n > limit.rlim_cur) {
			errno = EINVAL;
			return -1;
		}
		memory = calloc(n, 2 * sizeof(*native) + sizeof(*home));
		if (!memory)
			return -1;
		s.home = memory;
		s.native = (struct pollfd *)(s.home + n);
		s.kernel = s.native + n;
	}
	rc = split_wait(&s, fds, n, deadline, mask);
	saved = errno;
	free(memory);
	errno = saved;
	return rc;
}

PL_EXPORT int ppoll(
	struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec deadline;

	if (!any_native(fds, n))
		return pl_real()->ppoll(fds, n, timeout, mask);
	if (timeout && !pl_time_after(&deadline, timeout)) {
		errno = EINVAL;
		return -1;
	}
	return pl_poll_until(fds, n, timeout ? &deadline : NULL, mask);
}

PL_EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct timespec deadline;
	struct timespec relative = pl_time_of_ms(timeout_ms);

	if (!any_native(fds, n))
		return pl_real()->poll(fds, n, timeout_ms);
	if (timeout_ms >= 0)
		pl_time_after(&deadline, &relative);
	return pl_poll_until(fds, n, timeout_ms >= 0 ? &deadline : NULL, NULL);
}

PL_EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t fdslen)
{
	if (fdslen / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout_ms);
}

PL_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
	const sigset_t *mask, size_t fdslen)
{
	if (fdslen / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, timeout, mask);
}
