/* Serving requests; see request.h. An operation remembers the session by id: it may end before
 * the engines answer. */
#include <ctl/request.h>

#include <ctl/log.h>
#include <ctl/memory.h>
#include <ctl/msg.h>
#include <ctl/server_state.h>
#include <net/route.h>
#include <proto/attach.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request_op {
	struct op op;
	uint32_t session;
	union proto_msg answer;
	uint32_t index; /* GROW: of the new segment */
};

static struct request_op *op_of(struct op *op)
{
	return (struct request_op *)((char *)op - offsetof(struct request_op, op));
}

/* Sends a name or grow request back as its answer. */
static void answer(struct ctl_session *c, union proto_msg *m, int result)
{
	m->h.result = result;
	ctl_session_send(c, m, proto_msg_request_size(m->h.type), NULL, 0);
}

static struct request_op *op_begin(
	struct ctl_session *c, const union proto_msg *m, void (*done)(struct server *, struct op *))
{
	struct request_op *ro = calloc(1, sizeof(*ro));

	if (!ro)
		return NULL;
	ro->op.done = done;
	ro->session = c->id;
	ro->answer = *m;
	ctl_session_set_busy(c, true);
	return ro;
}

/* The session of a finished operation, no longer busy; NULL if it has ended. */
static struct ctl_session *op_end(struct server *s, const struct request_op *ro)
{
	struct ctl_session *c = ctl_session_find(&s->sessions, ro->session);

	if (!c || c->state != SESSION_LIVE)
		return NULL;
	ctl_session_set_busy(c, false);
	return c;
}

/* -- names ---------------------------------------------------------------------------------- */

/* Any: all zero, or IPv4's. Others must be ours. */
static int check_addr(const struct server *s, const uint8_t addr[16], struct net_addr *out)
{
	struct net_iface iface;

	memcpy(out->b, addr, sizeof(out->b));
	if (net_addr_is_any(out) || net_addr_is_any4(out))
		return 0;
	server_iface(s, &iface);
	return net_iface_has(&iface, out) ? 0 : -EADDRNOTAVAIL;
}

static int check_name(struct ctl_session *c, const struct proto_msg_name *m, struct net_addr *addr)
{
	int r = check_addr(c->server, m->addr, addr);

	if (r < 0)
		return r;
	if (m->port && m->port < c->server->p.cfg->port_unprivileged_first &&
		!peer_may_bind_reserved(&c->peer, c->pidfd))
		return -EACCES;
	return 0;
}

static int serve_bind(struct ctl_session *c, union proto_msg *m)
{
	struct net_addr addr;
	int r = check_name(c, &m->name, &addr);

	if (r == 0)
		r = names_bind(c->server->names, &c->names, &addr, &m->name.port, m->name.flags);
	if (r < 0)
		c->server->counters.binds_refused++;
	return r;
}

static int serve_unbind(struct ctl_session *c, union proto_msg *m)
{
	struct net_addr addr;
	int r = check_addr(c->server, m->name.addr, &addr);

	return r < 0 ? r : names_unbind(c->server->names, &c->names, &addr, m->name.port);
}

static struct engine_msg *listen_del(uint32_t session, struct proto_handle h)
{
	struct engine_msg *m = msg_new(ENGINE_CMD_LISTEN_DEL);

	if (m) {
		m->id.session = session;
		m->id.handle = h;
	}
	return m;
}

static void on_unlistened(struct server *s, struct op *op)
{
	struct request_op *ro = op_of(op);
	struct ctl_session *c = op_end(s, ro);

	if (c && ro->answer.h.type == PROTO_MSG_LISTEN) /* the undoing of a failed one */
		answer(c, &ro->answer, ro->answer.h.result);
	else if (c)
		answer(c, &ro->answer, op->result);
	free(ro);
}

/* Takes the listener back from the engines, which may or may not have it; then answers. */
static void unlisten(struct server *s, struct request_op *ro)
{
	struct engine_msg *msg = listen_del(ro->session, ro->answer.name.listener);

	ro->op.done = on_unlistened;
	ro->op.result = msg ? 0 : -ENOMEM;
	if (msg)
		op_broadcast(s, &ro->op, msg, msg_all_engines(s));
	else
		on_unlistened(s, &ro->op);
}

static void on_listened(struct server *s, struct op *op)
{
	struct request_op *ro = op_of(op);
	struct ctl_session *c = ctl_session_find(&s->sessions, ro->session);

	if (!c || c->state != SESSION_LIVE) {
		free(ro);
		return;
	}
	if (op->result < 0) {
		s->counters.listens_refused++;
		names_unlisten(s->names, &c->names, ro->answer.name.listener);
		ro->answer.h.result = op->result;
		unlisten(s, ro);
		return;
	}
	ctl_session_set_busy(c, false);
	answer(c, &ro->answer, 0);
	free(ro);
}

static struct engine_msg *listen_add(
	const struct ctl_session *c, const struct proto_msg_name *m, const struct net_addr *addr)
{
	struct engine_msg *msg = msg_new(ENGINE_CMD_LISTEN_ADD);

	if (!msg)
		return NULL;
	msg->listen = (struct engine_listen_desc){
		.session = c->id,
		.handle = m->listener,
		.addr = *addr,
		.v6only = names_v6only(c->server->names, m->listener),
		.reuseport = names_reuseport(c->server->names, m->listener),
		.port = m->port,
		.backlog = m->backlog ? m->backlog : 1,
		.cookie = m->cookie,
		.context = m->context,
		.defer_accept_us = m->defer_accept_s * 1000000u,
		.fastopen_max = m->fastopen_max,
	};
	return msg;
}

/* 1: the answer comes later. */
static int serve_listen(struct ctl_session *c, union proto_msg *m)
{
	struct server *s = c->server;
	struct engine_msg *msg;
	struct request_op *ro;
	struct net_addr addr;
	int r = m->name.context < c->layout.contexts ? check_name(c, &m->name, &addr) : -EINVAL;

	if (r == 0)
		r = names_listen(s->names, &c->names, &addr, &m->name.port, &m->name.listener);
	if (r < 0) {
		s->counters.listens_refused++;
		return r;
	}
	msg = listen_add(c, &m->name, &addr);
	ro = msg ? op_begin(c, m, on_listened) : NULL;
	if (!ro) {
		names_unlisten(s->names, &c->names, m->name.listener);
		free(msg);
		return -ENOMEM;
	}
	op_broadcast(s, &ro->op, msg, msg_all_engines(s));
	return 1;
}

static void on_relistened(struct server *s, struct op *op)
{
	struct request_op *ro = op_of(op);
	struct ctl_session *c = op_end(s, ro);

	if (c)
		answer(c, &ro->answer, op->result);
	free(ro);
}

/* The engines know whose listener it is. */
static int serve_relisten(struct ctl_session *c, union proto_msg *m)
{
	struct engine_msg *msg = msg_new(ENGINE_CMD_LISTEN_SET);
	struct request_op *ro = msg ? op_begin(c, m, on_relistened) : NULL;

	if (!ro) {
		free(msg);
		return -ENOMEM;
	}
	msg->listen = (struct engine_listen_desc){
		.session = c->id,
		.handle = m->name.listener,
		.defer_accept_us = m->name.defer_accept_s * 1000000u,
		.fastopen_max = m->name.fastopen_max,
	};
	op_broadcast(c->server, &ro->op, msg, msg_all_engines(c->server));
	return 1;
}

/* What takes memory comes before the name is given up: until then it can be asked for again. */
static int serve_unlisten(struct ctl_session *c, union proto_msg *m)
{
	struct engine_msg *msg = listen_del(c->id, m->name.listener);
	struct request_op *ro = msg ? op_begin(c, m, on_unlistened) : NULL;
	int r = ro ? names_unlisten(c->server->names, &c->names, m->name.listener) : -ENOMEM;

	if (r == 0) {
		op_broadcast(c->server, &ro->op, msg, msg_all_engines(c->server));
		return 1;
	}
	if (ro)
		ctl_session_set_busy(c, false);
	free(ro);
	free(msg);
	return r;
}

/* -- memory ----------------------------------------------------------------------------------- */

static struct engine_msg *segment_add(
	const struct ctl_session *c, enum shm_direction direction, uint32_t index)
{
	const struct shm_segment *seg = direction == SHM_UP ? &c->up[index] : &c->down[index];
	struct engine_msg *msg = msg_new(ENGINE_CMD_SEGMENT_ADD);

	if (msg)
		msg->segment = (struct engine_segment_desc){
			.session = c->id,
			.direction = direction,
			.index = index,
			.base = seg->base,
			.bytes = seg->len_bytes,
		};
	return msg;
}

/* Tells the client of a segment. False if it had to be ended. */
static bool announce(struct ctl_session *c, enum shm_direction direction, uint32_t index)
{
	const struct shm_segment *seg = direction == SHM_UP ? &c->up[index] : &c->down[index];
	struct proto_msg_segment m = {
		.h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .type = PROTO_MSG_SEGMENT},
		.direction = direction,
		.index = index,
		.bytes = seg->len_bytes,
	};
	int fd = shm_segment_export(seg);
	bool sent;

	if (fd < 0) {
		log_error("session %u: cannot export a segment: %s", c->id, strerror(-fd));
		return false;
	}
	sent = ctl_session_send(c, &m, sizeof(m), &fd, 1);
	close(fd);
	return sent;
}

static void on_down_added(struct server *s, struct op *op)
{
	struct request_op *ro = op_of(op);
	struct ctl_session *c = op_end(s, ro);

	/* on failure some engines may know the segment: it stays, and nobody refers to it */
	if (c && op->result < 0)
		answer(c, &ro->answer, op->result);
	else if (c && announce(c, SHM_DOWN, ro->index))
		answer(c, &ro->answer, 0);
	free(ro);
}

static int serve_grow(struct ctl_session *c, union proto_msg *m)
{
	struct engine_msg *msg = NULL;
	struct request_op *ro = NULL;
	uint32_t index;

	if (!memory_grow(c, SHM_DOWN, m->grow.bytes, &index)) {
		c->server->counters.grows_refused++;
		return -ENOMEM;
	}
	msg = segment_add(c, SHM_DOWN, index);
	ro = msg ? op_begin(c, m, on_down_added) : NULL;
	if (!ro) {
		free(msg);
		return -ENOMEM;
	}
	c->server->counters.grows_down++;
	ro->index = index;
	op_broadcast(c->server, &ro->op, msg, msg_all_engines(c->server));
	return 1;
}

static void on_up_added(struct server *s, struct op *op)
{
	if (op->result < 0)
		log_warning("an engine refused a segment of session %u: %s", op_of(op)->session,
			strerror(-op->result));
	(void)s;
	free(op_of(op));
}

void request_need_up(struct server *s, const struct engine_msg *m)
{
	struct ctl_session *c = ctl_session_find(&s->sessions, m->id.session);
	struct engine_msg *msg;
	struct request_op *ro;
	uint32_t index;

	if (!c || c->state != SESSION_LIVE)
		return;
	if (!memory_grow(c, SHM_UP, m->id.value ? m->id.value : 1, &index)) {
		s->counters.grows_refused++;
		return;
	}
	if (!announce(c, SHM_UP, index))
		return;
	msg = segment_add(c, SHM_UP, index);
	ro = calloc(1, sizeof(*ro));
	if (!msg || !ro) {
		free(msg);
		free(ro);
		return;
	}
	s->counters.grows_up++;
	ro->op.done = on_up_added;
	ro->session = c->id;
	op_broadcast(s, &ro->op, msg, UINT64_C(1) << m->engine);
}

/* -- one message ------------------------------------------------------------------------------- */

static int serve(struct ctl_session *c, union proto_msg *m)
{
	switch (m->h.type) {
	case PROTO_MSG_BIND:
		return serve_bind(c, m);
	case PROTO_MSG_UNBIND:
		return serve_unbind(c, m);
	case PROTO_MSG_LISTEN:
		return serve_listen(c, m);
	case PROTO_MSG_UNLISTEN:
		return serve_unlisten(c, m);
	case PROTO_MSG_RELISTEN:
		return serve_relisten(c, m);
	case PROTO_MSG_GROW:
		return serve_grow(c, m);
	default:
		return -EPROTO; /* a second attach */
	}
}

/* True if another message may be read now. */
static bool receive_one(struct ctl_session *c)
{
	union proto_msg m;
	/* MSG_TRUNC: the length as it was sent. Descriptors sent along are dropped by the kernel,
	 * since there is no control buffer. */
	ssize_t n = recv(c->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		ctl_session_end(c, PROTO_OK, "socket closed");
		return false;
	}
	if ((size_t)n > sizeof(m) || proto_msg_request_check(&m, (size_t)n) ||
		m.h.type == PROTO_MSG_ATTACH) {
		c->server->counters.messages_malformed++;
		ctl_session_end(
			c, PROTO_CONDEMNED_CONTROL, proto_condemned_name(PROTO_CONDEMNED_CONTROL));
		return false;
	}
	c->server->counters.requests++;
	r = serve(c, &m);
	if (r <= 0)
		answer(c, &m, r);
	return c->state == SESSION_LIVE && !c->busy;
}

void request_receive(struct ctl_session *c)
{
	for (unsigned int i = 0; i < REQUESTS_MAX; i++) {
		if (!receive_one(c))
			return;
	}
}
