/* Connections to the client socket until they have attached.
 *
 * A connection has ATTACH_DEADLINE_US to send its one attach message. How many may wait is
 * bounded, per user and in all, so that none can starve the others of descriptors; the rate
 * of attaches is bounded per user. A refused client gets an answer that says why, if its socket
 * takes one.
 */
#ifndef CTL_ATTACH_H
#define CTL_ATTACH_H

#include <ctl/loop.h>

#include <stdint.h>

enum {
	ATTACH_DEADLINE_US = 1000000,
	ATTACH_PENDING_MAX = 512,
	ATTACH_PENDING_PER_UID_MAX = 64,
	ATTACH_ACCEPTS_MAX = 32, /* per turn of the loop */
	ATTACH_PAUSE_US = 100000,
};

struct server;
struct attach_pending;

struct attach {
	int fd; /* listening; -1 */
	struct loop_watch watch;
	struct loop_timer pause;
	struct attach_pending *pending;
	uint32_t pending_count;
};

/* Begins to accept on the listening socket fd, which becomes ours. 0 or -errno. */
int attach_start(struct server *s, int fd);
/* Closes the listening socket and every pending connection. */
void attach_stop(struct server *s);

#endif
