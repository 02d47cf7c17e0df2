/* The control protocol: what mtcpctl speaks.
 *
 * A SOCK_STREAM socket; a request is one line of JSON, {"cmd": "flow", ...}, of at most
 * CONTROL_LINE_MAX bytes; the answer is a line of JSON for each item and a last one, either
 * {"done": true, "count": N} or {"error": "..."}. All commands only read (show.h).
 *
 * Nothing here waits for a reader: an answer is made in batches, the next one only when the
 * socket has taken the last, so neither a slow reader nor 100,000 flows cost memory or time of
 * the main thread. A connection that is idle or stalled for CONTROL_IDLE_US is closed; their
 * number is bounded, per user too.
 */
#ifndef CTL_CONTROL_H
#define CTL_CONTROL_H

#include <ctl/loop.h>

#include <stdint.h>

enum {
	CONTROL_LINE_MAX = 65536,
	CONTROL_MAX = 64,
	CONTROL_PER_UID_MAX = 32,
	CONTROL_IDLE_US = 30000000,
	CONTROL_BATCHES_MAX = 4, /* of one connection per turn of the loop */
};

struct server;
struct control;
struct engine_msg;

struct control_set {
	int fd; /* listening; -1 */
	struct loop_watch watch;
	struct control *first;
	uint32_t count;
};

/* Begins to accept on the listening socket fd, which becomes ours. 0 or -errno. */
int control_start(struct server *s, int fd);
/* Closes the listening socket; connections that exist go on. */
void control_stop_accepting(struct server *s);
/* Closes everything. */
void control_stop(struct server *s);

/* Closes what was idle too long; every second or so. */
void control_tick(struct server *s, uint64_t now_us);

/* What the connection waited for has come: goes on with its answer. */
void control_resume(struct control *c);

#endif
