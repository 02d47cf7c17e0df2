/* What each user has and may have: sessions and their memory, connections not yet attached,
 * attach rate.
 *
 * An entry exists while its user holds something or has spent tokens that have not come back;
 * uid_table_sweep() drops the others. The number of entries is bounded: a user with a range of
 * subordinate uids can make many, and then only strangers to the table are refused.
 */
#ifndef CTL_UID_H
#define CTL_UID_H

#include <stdint.h>

enum {
	UID_ENTRIES_MAX = 16384,
};

struct uid_limits {
	uint32_t sessions_max;
	uint32_t pending_max;
	uint32_t attach_rate_per_s;    /* also how many may come at once */
	uint64_t memory_max_bytes;     /* of segments, of one user */
	uint64_t memory_all_max_bytes; /* of all users */
};

struct uid_table;

/* 0 or -ENOMEM. */
int uid_table_create(struct uid_table **t, const struct uid_limits *limits);
void uid_table_destroy(struct uid_table *t); /* NULL is fine */

/* A connection that has not attached. 0, -EAGAIN (as many as it may), -ENOMEM. */
int uid_pending_begin(struct uid_table *t, uint32_t uid, uint64_t now_us);
void uid_pending_end(struct uid_table *t, uint32_t uid);

/* Takes one attach from the user's bucket. 0, -EAGAIN (too fast), -ENOMEM. */
int uid_rate_take(struct uid_table *t, uint32_t uid, uint64_t now_us);

/* A session, from attach until its memory is released. 0, -EDQUOT, -ENOMEM. */
int uid_session_begin(struct uid_table *t, uint32_t uid, uint64_t now_us);
void uid_session_end(struct uid_table *t, uint32_t uid);

/* Segments of a user that has a session. 0, or -ENOMEM: it, or all together, have enough. */
int uid_memory_take(struct uid_table *t, uint32_t uid, uint64_t bytes);
void uid_memory_give(struct uid_table *t, uint32_t uid, uint64_t bytes);

uint32_t uid_sessions(const struct uid_table *t, uint32_t uid);

/* Drops entries that say nothing; call every few seconds. Returns how many are left. */
uint32_t uid_table_sweep(struct uid_table *t, uint64_t now_us);

#endif
