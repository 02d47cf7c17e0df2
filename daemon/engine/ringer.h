/* Doorbells that are rung out of line.
 *
 * Ringing a client costs the ringer a walk over everybody who polls that doorbell, with
 * interrupts off and in the ringer's own time; and a client may poll its end from any number of
 * epoll instances (200,000 watchers: 20 to 50 ms a ring, measured). An engine therefore times
 * what it rings, and leaves the bells of users who make it slow to a thread of their own
 * (bell.c). There the walk costs nobody but those users; each of them could as well make the
 * kernel do it with a pipe of his own.
 *
 * Somebody may be taken for such a user who is not: while another keeps the kernel busy everybody's
 * rings are long. So there are two lanes, each a thread: bells whose last ring here was quick never
 * wait for those whose was not, nor for those that have not been rung here yet.
 *
 * A bell owns the daemon's end of a doorbell. It is counted, since the ringer may still be at it
 * when the session is gone: a descriptor closed too early could be another file by then.
 */
#ifndef ENGINE_RINGER_H
#define ENGINE_RINGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <urcu/wfcqueue.h>

struct bell {
	struct cds_wfcq_node node;
	_Atomic uint32_t refs;
	_Atomic bool queued; /* for the ringer, which clears it before it rings */
	_Atomic bool quick;  /* the ringer's last ring of it */
	int fd;
};

/* Takes fd over on success. NULL: no memory. One reference. */
struct bell *bell_new(int fd);
/* Any thread. The last one closes fd. NULL is let pass. */
void bell_unref(struct bell *b);

enum {
	RINGER_LONG_US = 200, /* a ring takes 2 to 5 us */
};

struct ringer;

/* 0 or -errno. Signals are blocked in its thread as in the caller's. */
int ringer_start(struct ringer **out);
/* After the last ringer_ring(). Bells in the queue are let go of. NULL is let pass. */
void ringer_stop(struct ringer *r);
/* Any thread, never waits: b will be rung after this call, once for any number of calls. */
void ringer_ring(struct ringer *r, struct bell *b);

#endif
