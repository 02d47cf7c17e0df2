/* The whole of mtcpctl: one request, its answer as text or JSON.
 *
 * Items are printed as they come, so 100,000 flows take no memory here; only `listen` and
 * `client`, of which each engine tells a part, are gathered and merged first (merge.h).
 */
#ifndef MTCPCTL_RUN_H
#define MTCPCTL_RUN_H

#include <stdio.h>

enum mtcpctl_exit {
	MTCPCTL_OK,
	MTCPCTL_FAILED, /* the daemon says error, or does not finish its answer */
	MTCPCTL_USAGE,
	MTCPCTL_NO_DAEMON, /* cannot connect */
};

/* main(), with its streams as arguments. Returns an enum mtcpctl_exit. */
int mtcpctl_run(int argc, char **argv, FILE *out, FILE *err);

#endif
