/* The eventfds that an engine's thread watches, and what it makes of sessions that flood.
 *
 * Each is in the engine's epoll set, edge-triggered, and never read. A session is judged by
 * its wakes in a second: too many after which a turn found no work, or too many at all, and
 * its eventfd leaves epoll for good; its rings are then looked at once a millisecond.
 *
 * The main thread adds and removes, the engine's thread takes events: a mutex guards all. An
 * event names its watch by slot and generation, so one that was under way when its watch was
 * removed names nothing.
 */
#ifndef CTL_WATCH_H
#define CTL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct watch_set;

enum {
	WATCH_MAX = 65536,
};

/* epoll_fd stays the caller's. 0 or -errno. */
int watch_set_create(struct watch_set **w, int epoll_fd);
void watch_set_destroy(struct watch_set *w);

/* Main thread. 0, -EEXIST, -ENOSPC, -ENOMEM or epoll_ctl's. */
int watch_add(struct watch_set *w, uint32_t session, int fd);
void watch_remove(struct watch_set *w, uint32_t session);

/* Engine's thread: an event with this epoll data has come; the session's id, 0 if it is gone. */
uint32_t watch_fired(struct watch_set *w, uint64_t epoll_data, uint64_t now_us);
/* The turn after that event found no work at all. */
void watch_spurious(struct watch_set *w, uint64_t epoll_data);
/* Fills in the polled sessions from *cursor (0 at first) on; how many, 0 at the end. */
uint32_t watch_polled_next(struct watch_set *w, uint32_t *cursor, uint32_t *sessions, uint32_t max);

/* Any thread. */
bool watch_is_polled(struct watch_set *w, uint32_t session);
struct watch_stats {
	uint32_t watched, polled;
	uint64_t floods;
};
void watch_stats_get(struct watch_set *w, struct watch_stats *out);

#endif
