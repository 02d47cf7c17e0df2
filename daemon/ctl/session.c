/* The session table, and the life of a session; the picture is in session.h. */
#include <ctl/session.h>

#include <ctl/engine_thread.h>
#include <ctl/log.h>
#include <ctl/memory.h>
#include <ctl/msg.h>
#include <ctl/request.h>
#include <ctl/server_state.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *ctl_session_state_name(enum ctl_session_state state)
{
	static const char *const names[] = {
		[SESSION_JOINING] = "joining",
		[SESSION_LIVE] = "live",
		[SESSION_LEAVING] = "leaving",
		[SESSION_PINNED] = "pinned",
	};

	static_assert(sizeof(names) / sizeof(*names) == SESSION_STATE_COUNT, "one name each");
	return names[state];
}

/* -- the table ------------------------------------------------------------------------------- */

int ctl_session_table_init(struct ctl_session_table *t, uint32_t capacity)
{
	*t = (struct ctl_session_table){.capacity = capacity, .free_count = capacity};
	t->at = calloc(capacity, sizeof(struct ctl_session *));
	t->gen = calloc(capacity, sizeof(*t->gen));
	t->free_ring = calloc(capacity, sizeof(*t->free_ring));
	if (!t->at || !t->gen || !t->free_ring) {
		ctl_session_table_fini(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < capacity; i++)
		t->free_ring[i] = i;
	return 0;
}

void ctl_session_table_fini(struct ctl_session_table *t)
{
	assert(t->count == 0);
	free(t->at);
	free(t->gen);
	free(t->free_ring);
	*t = (struct ctl_session_table){0};
}

void ctl_session_table_put(struct ctl_session_table *t, struct ctl_session *c)
{
	uint32_t idx = t->free_ring[t->free_first];

	assert(t->free_count > 0 && !t->at[idx]);
	t->free_first = (t->free_first + 1) % t->capacity;
	t->free_count--;
	if (++t->gen[idx] == 0)
		t->gen[idx] = 1;
	t->at[idx] = c;
	t->count++;
	c->id = (uint32_t)t->gen[idx] << SESSION_IDX_BITS | idx;
}

static void table_take(struct ctl_session_table *t, const struct ctl_session *c)
{
	uint32_t idx = c->id & ((1u << SESSION_IDX_BITS) - 1);

	assert(t->at[idx] == c);
	t->at[idx] = NULL;
	t->free_ring[(t->free_first + t->free_count) % t->capacity] = idx;
	t->free_count++;
	t->count--;
}

struct ctl_session *ctl_session_find(struct ctl_session_table *t, uint32_t id)
{
	uint32_t idx = id & ((1u << SESSION_IDX_BITS) - 1);

	return idx < t->capacity && t->at[idx] && t->at[idx]->id == id ? t->at[idx] : NULL;
}

struct ctl_session *ctl_session_next(struct ctl_session_table *t, uint32_t *cursor)
{
	while (*cursor < t->capacity) {
		struct ctl_session *c = t->at[(*cursor)++];

		if (c)
			return c;
	}
	return NULL;
}

/* -- the end ----------------------------------------------------------------------------------- */

void ctl_session_release(struct ctl_session *c)
{
	struct server *s = c->server;

	loop_watch_remove(s->p.loop, &c->sock_watch);
	loop_watch_remove(s->p.loop, &c->pid_watch);
	if (c->fd >= 0)
		close(c->fd);
	if (c->pidfd >= 0)
		close(c->pidfd);
	names_drop(s->names, &c->names);
	memory_release(c);
	server_fds_give(s, c->fds_held);
	uid_session_end(s->uids, c->peer.uid);
	table_take(&s->sessions, c);
	free(c);
}

void ctl_session_unwatch_doorbells(struct ctl_session *c)
{
	for (uint32_t e = 0; e < c->server->p.engine_count; e++)
		engine_thread_unwatch(c->server->p.threads[e], c->id);
}

/* Posts ENGINE_CMD_SESSION_DEL; what cannot be made now is tried again at the next tick. */
static void post_deletes(struct ctl_session *c)
{
	for (uint32_t e = 0; e < c->server->p.engine_count; e++) {
		struct engine_msg *m;

		if (!(c->del_unsent & (UINT64_C(1) << e)))
			continue;
		m = msg_new(ENGINE_CMD_SESSION_DEL);
		if (!m)
			return;
		m->id.session = c->id;
		c->del_unsent &= ~(UINT64_C(1) << e);
		msg_post(c->server, e, m);
	}
}

/* Goes as far through LEAVING and PINNED as the engines' answers allow. May free c. */
static void leave(struct ctl_session *c)
{
	if (c->state == SESSION_LEAVING && c->add_wait == 0 && c->del_wait == 0) {
		ctl_session_unwatch_doorbells(c);
		memory_retire(c);
		c->state = SESSION_PINNED;
	}
	if (c->state == SESSION_PINNED && c->gone_wait == 0)
		ctl_session_release(c);
}

void ctl_session_begin_leaving(struct ctl_session *c)
{
	c->del_unsent = c->del_wait = c->gone_wait = c->added;
	post_deletes(c);
	leave(c);
}

void ctl_session_end(struct ctl_session *c, enum proto_condemned reason, const char *why)
{
	struct server *s = c->server;
	struct proto_up_header *up = (struct proto_up_header *)c->up[0].base;

	if (c->state != SESSION_JOINING && c->state != SESSION_LIVE)
		return;
	if (reason == PROTO_OK) {
		s->counters.sessions_exited++;
		log_debug("session %u of %s[%d] (uid %u): %s", c->id, c->name, c->peer.pid,
			c->peer.uid, why);
	} else {
		s->counters.sessions_condemned++;
		log_warning("session %u of %s[%d] (uid %u) ended: %s", c->id, c->name, c->peer.pid,
			c->peer.uid, why);
	}
	/* release: a client that sees it sees all that was written before */
	atomic_store_explicit(&up->condemned, reason, memory_order_release);
	c->state = SESSION_LEAVING;
	loop_watch_remove(s->p.loop, &c->sock_watch);
	loop_watch_remove(s->p.loop, &c->pid_watch);
	close(c->fd);
	close(c->pidfd);
	c->fd = c->pidfd = -1;
	names_drop(s->names, &c->names);
	if (c->add_wait == 0)
		ctl_session_begin_leaving(c); /* else when the engines have told who has it */
}

void ctl_session_on_deleted(struct server *s, const struct engine_msg *m)
{
	struct ctl_session *c = ctl_session_find(&s->sessions, m->id.session);

	if (!c)
		return;
	c->del_wait &= ~(UINT64_C(1) << m->engine);
	leave(c);
}

void ctl_session_on_gone(struct server *s, const struct engine_msg *m)
{
	struct ctl_session *c = ctl_session_find(&s->sessions, m->id.session);

	if (!c)
		return;
	c->gone_wait &= ~(UINT64_C(1) << m->engine);
	leave(c);
}

void ctl_session_on_pidfd(void *arg, uint32_t events)
{
	(void)events;
	ctl_session_end(arg, PROTO_OK, "process exited");
}

void ctl_session_on_socket(void *arg, uint32_t events)
{
	struct ctl_session *c = arg;

	if (c->state == SESSION_LIVE && !c->busy && (events & EPOLLIN))
		request_receive(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		ctl_session_end(c, PROTO_OK, "socket closed");
}

/* -- talking to the client ----------------------------------------------------------------------
 */

static int send_with_fds(int sock, const void *msg, size_t len, const int *fds, uint32_t nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MEMORY_EXPORT_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)msg, .iov_len = len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds) {
		struct cmsghdr *cm;

		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cm = CMSG_FIRSTHDR(&h);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, nfds * sizeof(int));
	}
	return sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

bool ctl_session_send(
	struct ctl_session *c, const void *msg, size_t len, const int *fds, uint32_t nfds)
{
	int r = send_with_fds(c->fd, msg, len, fds, nfds);

	if (r == 0)
		return true;
	if (r == -EPIPE || r == -ECONNRESET) {
		ctl_session_end(c, PROTO_OK, "socket closed");
		return false;
	}
	c->server->counters.sessions_stalled++;
	ctl_session_end(c, PROTO_CONDEMNED_LIMIT, "does not read its control socket");
	return false;
}

void ctl_session_set_busy(struct ctl_session *c, bool busy)
{
	c->busy = busy;
	if (c->sock_watch.active)
		loop_watch_modify(c->server->p.loop, &c->sock_watch, busy ? 0 : EPOLLIN);
}

/* -- time
 * ------------------------------------------------------------------------------------------- */

static void tick_one(struct ctl_session *c, uint64_t now_us)
{
	struct proto_up_header *up = (struct proto_up_header *)c->up[0].base;

	if (c->del_unsent)
		post_deletes(c);
	if (c->state != SESSION_JOINING && c->state != SESSION_LIVE)
		return;
	atomic_store_explicit(&up->heartbeat_us, now_us, memory_order_relaxed);
	/* acquire pairs with the guard's release */
	if (atomic_load_explicit(&c->holed, memory_order_acquire)) {
		c->server->counters.sessions_holed++;
		ctl_session_end(
			c, PROTO_CONDEMNED_HOLE, proto_condemned_name(PROTO_CONDEMNED_HOLE));
	}
}

void ctl_session_tick(struct server *s, uint64_t now_us)
{
	struct ctl_session *c;
	uint32_t cursor = 0;

	if (s->sessions.count == 0)
		return;
	while ((c = ctl_session_next(&s->sessions, &cursor)))
		tick_one(c, now_us);
}
