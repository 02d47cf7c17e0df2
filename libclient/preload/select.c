/* select and pselect, as poll: see poll.c.
 *
 * Sets may be longer than FD_SETSIZE if the program made them so, hence the words are addressed
 * here and not through FD_ISSET.
 */
#include "deadline.h"
#include "fd.h"
#include "poll.h"
#include "real.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <libclient/internal.h>

enum {
	WORD_BITS = sizeof(unsigned long) * CHAR_BIT,
	SET_IN = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
	SET_OUT = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
	SET_EXCEPT = POLLPRI,
};

struct sets {
	unsigned long *word[3]; /* in, out, except: NULL or nfds bits */
};

static const short set_wants[3] = {POLLIN, POLLOUT, POLLPRI};
static const short set_means[3] = {SET_IN, SET_OUT, SET_EXCEPT};

static struct sets sets_of(fd_set *in, fd_set *out, fd_set *except)
{
	return (struct sets){{(unsigned long *)in, (unsigned long *)out, (unsigned long *)except}};
}

static bool set_has(const unsigned long *word, int fd)
{
	return word && word[fd / WORD_BITS] >> fd % WORD_BITS & 1;
}

static short sets_events(const struct sets *s, int fd)
{
	int events = 0;

	for (int k = 0; k < 3; k++)
		events |= set_has(s->word[k], fd) ? set_wants[k] : 0;
	return (short)events;
}

/* How many descriptors the sets name; *mixed if one is mtcpd's. */
static int sets_count(const struct sets *s, int nfds, bool *mixed)
{
	int count = 0;

	for (int fd = 0; fd < nfds; fd++) {
		if (!sets_events(s, fd))
			continue;
		count++;
		*mixed |= pl_fd_native(fd) >= 0 || pl_fd_native_epoll(fd) >= 0;
	}
	return count;
}

static void sets_to_poll(const struct sets *s, int nfds, struct pollfd *fds)
{
	int at = 0;

	for (int fd = 0; fd < nfds; fd++) {
		short events = sets_events(s, fd);

		if (events)
			fds[at++] = (struct pollfd){.fd = fd, .events = events};
	}
}

/* Descriptors that woke poll for something that select does not know (POLLHUP for writing) are
 * waited for no more: poll skips negative numbers. */
static int fd_skipped(int fd)
{
	return -1 - fd;
}

static int poll_fd(const struct pollfd *p)
{
	return p->fd < 0 ? fd_skipped(p->fd) : p->fd;
}

/* How many bits of the sets are ready; -1 and EBADF if a descriptor is none. */
static int sets_ready(const struct sets *s, struct pollfd *fds, int n)
{
	int bits = 0;

	for (int i = 0; i < n; i++) {
		int fd = poll_fd(&fds[i]);
		int before = bits;

		if (fds[i].revents & POLLNVAL) {
			errno = EBADF;
			return -1;
		}
		for (int k = 0; k < 3; k++)
			bits += set_has(s->word[k], fd) && fds[i].revents & set_means[k];
		if (fds[i].revents && bits == before)
			fds[i].fd = fd_skipped(fd);
	}
	return bits;
}

/* Leaves in the sets what is ready. */
static void sets_from_poll(struct sets *s, const struct pollfd *fds, int n)
{
	for (int i = 0; i < n; i++) {
		int fd = poll_fd(&fds[i]);

		for (int k = 0; k < 3; k++) {
			if (s->word[k] && !(fds[i].revents & set_means[k]))
				s->word[k][fd / WORD_BITS] &= ~(1UL << fd % WORD_BITS);
		}
	}
}

/* nfds beyond what the process may have open names nothing, as in the kernel. */
static int nfds_bounded(int nfds)
{
	struct rlimit limit;

	if (nfds > FD_SETSIZE && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
		(rlim_t)nfds > limit.rlim_cur)
		return (int)limit.rlim_cur;
	return nfds;
}

/* deadline NULL: for ever. */
static int select_until(
	struct sets *s, int nfds, int count, const struct timespec *deadline, const sigset_t *mask)
{
	struct pollfd *fds = calloc((size_t)count, sizeof(*fds));
	int rc, saved;

	if (!fds)
		return -1;
	sets_to_poll(s, nfds, fds);
	do {
		rc = pl_poll_until(fds, (nfds_t)count, deadline, mask);
		if (rc > 0)
			rc = sets_ready(s, fds, count);
	} while (rc == 0 && !(deadline && pl_time_passed(deadline)));
	if (rc >= 0)
		sets_from_poll(s, fds, count);
	saved = errno;
	free(fds);
	errno = saved;
	return rc;
}

PL_EXPORT int pselect(int nfds, fd_set *restrict in, fd_set *restrict out, fd_set *restrict except,
	const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
	struct sets s = sets_of(in, out, except);
	struct timespec deadline;
	bool mixed = false;
	int count;

	nfds = nfds_bounded(nfds);
	count = sets_count(&s, nfds, &mixed);
	if (!mixed)
		return pl_real()->pselect(nfds, in, out, except, timeout, mask);
	if (timeout && !pl_time_after(&deadline, timeout)) {
		errno = EINVAL;
		return -1;
	}
	return select_until(&s, nfds, count, timeout ? &deadline : NULL, mask);
}

/* Linux takes any number of microseconds that is not negative, and tells what was left. */
PL_EXPORT int select(int nfds, fd_set *restrict in, fd_set *restrict out, fd_set *restrict except,
	struct timeval *restrict timeout)
{
	struct sets s = sets_of(in, out, except);
	struct timespec relative, deadline, left;
	bool mixed = false;
	int count, rc;

	nfds = nfds_bounded(nfds);
	count = sets_count(&s, nfds, &mixed);
	if (!mixed)
		return pl_real()->select(nfds, in, out, except, timeout);
	if (!timeout)
		return select_until(&s, nfds, count, NULL, NULL);
	relative.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
	relative.tv_nsec = timeout->tv_usec % 1000000 * 1000;
	if (!pl_time_after(&deadline, &relative)) {
		errno = EINVAL;
		return -1;
	}
	rc = select_until(&s, nfds, count, &deadline, NULL);
	left = pl_time_left(&deadline);
	timeout->tv_sec = left.tv_sec;
	timeout->tv_usec = left.tv_nsec / 1000;
	return rc;
}
