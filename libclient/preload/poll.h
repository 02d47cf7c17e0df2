/* poll() over both sides, for select.c. */
#ifndef PRELOAD_POLL_H
#define PRELOAD_POLL_H

#include <poll.h>
#include <signal.h>
#include <time.h>

/* As ppoll(2), with a point on CLOCK_MONOTONIC instead of a duration; NULL: for ever. */
int pl_poll_until(
	struct pollfd *fds, nfds_t n, const struct timespec *deadline, const sigset_t *mask);

#endif
