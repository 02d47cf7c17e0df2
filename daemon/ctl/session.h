/* Sessions: one per attached process.
 *
 *	JOINING --all engines have it, reply sent--> LIVE
 *	   |                                          |
 *	   +---- process gone, condemned, refused ----+
 *	                       v
 *	                   LEAVING   socket, pidfd and names are gone; engines are told
 *	                       |     all engines have done ENGINE_CMD_SESSION_DEL:
 *	                       v     doorbells closed, `up` released
 *	                    PINNED   orphans may still send from `down`
 *	                       |     all engines have said ENGINE_NOTE_SESSION_GONE
 *	                       v
 *	                     FREE
 *
 * An id is (generation << SESSION_IDX_BITS) + index, and free indices are taken in the order
 * in which they became free, so an id does not come back for a long time.
 *
 * Doorbells stay open until the engines have let go: a number closed earlier could be given to
 * another file while an engine still writes to it. Everything that a session holds is counted
 * against the descriptors' budget and its user until it is FREE.
 */
#ifndef CTL_SESSION_H
#define CTL_SESSION_H

#include <ctl/loop.h>
#include <ctl/names.h>
#include <ctl/peer.h>
#include <proto/attach.h>
#include <proto/layout.h>
#include <shm/segment.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	SESSION_IDX_BITS = 16,
	SESSIONS_MAX = 16000, /* each takes a guarded range of SHM_GUARD_RANGES_MAX at least */
};

struct bell;
struct server;
struct engine_msg;

enum ctl_session_state {
	SESSION_JOINING,
	SESSION_LIVE,
	SESSION_LEAVING,
	SESSION_PINNED,
	SESSION_STATE_COUNT
};
const char *ctl_session_state_name(enum ctl_session_state state); /* "live", ... */

struct ctl_session {
	struct server *server;
	uint32_t id;
	enum ctl_session_state state;
	struct peer peer;
	char name[32];
	uint64_t attached_us;

	int fd, pidfd; /* -1 from LEAVING on */
	struct loop_watch sock_watch, pid_watch;
	uint32_t attach_request_id;
	bool busy; /* a request waits for engines: nothing is read meanwhile */
	struct names_holder names;

	/* memory.h */
	struct proto_layout layout;
	struct shm_segment up[PROTO_SEGMENTS_MAX], down[PROTO_SEGMENTS_MAX];
	uint32_t up_count, down_count;
	uint64_t up_bytes, down_bytes;
	int ring_fds[PROTO_CONTEXTS_MAX]; /* pipe read ends, until they were sent */
	int bell_fds[PROTO_CONTEXTS_MAX]; /* pipe write ends, owned by: */
	struct bell *bells[PROTO_CONTEXTS_MAX];
	int event_fds[PROTO_ENGINES_MAX]; /* eventfds */
	_Atomic bool holed;		  /* set by the SIGBUS guard, any thread */
	uint32_t fds_held;		  /* of the server's budget */

	/* One bit per engine. */
	uint64_t add_wait, added;
	uint64_t del_unsent, del_wait, gone_wait;
	int add_result;
};

struct ctl_session_table {
	struct ctl_session **at; /* by index */
	uint16_t *gen;		 /* by index */
	uint32_t *free_ring;	 /* indices, in the order in which they became free */
	uint32_t capacity;
	uint32_t free_first, free_count;
	uint32_t count;
};

/* 0 or -ENOMEM. */
int ctl_session_table_init(struct ctl_session_table *t, uint32_t capacity);
void ctl_session_table_fini(struct ctl_session_table *t); /* empty by then */

/* The session of this id in any state, or NULL. */
struct ctl_session *ctl_session_find(struct ctl_session_table *t, uint32_t id);

/* Iterates: *cursor starts at 0; NULL at the end. */
struct ctl_session *ctl_session_next(struct ctl_session_table *t, uint32_t *cursor);

/* Ends a session that is JOINING or LIVE; else does nothing. PROTO_OK: its process is gone. */
void ctl_session_end(struct ctl_session *c, enum proto_condemned reason, const char *why);

/* Sends a message and descriptors, which stay the caller's; a client that does not read its
 * socket is ended. False if it was. */
bool ctl_session_send(
	struct ctl_session *c, const void *msg, size_t len, const int *fds, uint32_t nfds);

/* While a request waits for the engines nothing more is read. */
void ctl_session_set_busy(struct ctl_session *c, bool busy);

/* A finished ENGINE_CMD_SESSION_DEL, and the note that follows it. */
void ctl_session_on_deleted(struct server *s, const struct engine_msg *m);
void ctl_session_on_gone(struct server *s, const struct engine_msg *m);

/* Heartbeats, holes, and what could not be posted before: every 50 ms. */
void ctl_session_tick(struct server *s, uint64_t now_us);

/* For join.c: gives the session a place and an id (there is a free one); the callbacks of its
 * watches; goes on with the end of one that ended while it joined. */
void ctl_session_table_put(struct ctl_session_table *t, struct ctl_session *c);
void ctl_session_on_pidfd(void *arg, uint32_t events);
void ctl_session_on_socket(void *arg, uint32_t events);
void ctl_session_begin_leaving(struct ctl_session *c);
void ctl_session_unwatch_doorbells(struct ctl_session *c);

/* Releases everything at once; the engines have stopped. */
void ctl_session_release(struct ctl_session *c);

#endif
