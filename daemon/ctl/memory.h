/* A session's memory and descriptors: segments, doorbells, growth. */
#ifndef CTL_MEMORY_H
#define CTL_MEMORY_H

#include <ctl/session.h>

#include <stdint.h>

enum {
	MEMORY_GROW_MAX_BYTES = 16 << 20, /* at once: bounds how long the main thread populates */
};

/* Descriptors that a session of this layout holds. */
uint32_t memory_fds(const struct proto_layout *l);

/* Nothing is there yet: from now on memory_release() may come at any time. */
void memory_init(struct ctl_session *c);

/* Makes the first pair of segments and the doorbells for c->layout. On error the caller
 * releases what was made by memory_release(). 0 or -errno. */
int memory_create(struct ctl_session *c);

/* Fills fds[] in the order of struct proto_msg_attached; returns how many, or -errno. The
 * caller closes the first two; the others are the session's (memory_close_sent()). */
int memory_export(struct ctl_session *c, int *fds);
enum { MEMORY_EXPORT_MAX = 2 + PROTO_CONTEXTS_MAX + PROTO_ENGINES_MAX };

/* Closes what only the client needs, once it was sent. */
void memory_close_sent(struct ctl_session *c);

/* Adds a segment of about `bytes` (bounded by MEMORY_GROW_MAX_BYTES and the session's limit,
 * rounded up to 2 MiB). Returns it, with *index, or NULL: limit or memory is exhausted. */
struct shm_segment *memory_grow(
	struct ctl_session *c, enum shm_direction direction, uint64_t bytes, uint32_t *index);

/* No engine rings or writes any more: closes the doorbells, and gives the pages of `up` back,
 * though its addresses stay mapped (to private zeroes) until memory_release(). */
void memory_retire(struct ctl_session *c);

/* Unmaps and closes all that is left. */
void memory_release(struct ctl_session *c);

#endif
