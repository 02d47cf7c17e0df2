/* Names: bind and listen, which the daemon's main thread keeps (control socket). */
#include <libclient/client.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static int bind_locked(struct sock *s, const uint8_t addr[16], uint16_t port)
{
	struct proto_msg_name m = {
		.port = port,
		.flags = (s->reuseaddr ? PROTO_NAME_REUSEADDR : 0) |
			 (s->v6only ? PROTO_NAME_V6ONLY : 0) |
			 (s->reuseport ? PROTO_NAME_REUSEPORT : 0),
	};
	int err;

	if (s->bound || s->state != STATE_NEW || (s->v6only && addr_is_ip4(addr)))
		return -EINVAL;
	memcpy(m.addr, addr, 16);
	err = control_name(&m, PROTO_MSG_BIND);
	if (err)
		return err;
	sock_name_set(s, SOCK_LOCAL, addr);
	sock_cold(s)->lport = m.port;
	s->bound = true;
	return 0;
}

/* Gives the name back; the daemon keeps it busy while a connection has it. */
void name_unbind(struct sock *s)
{
	struct proto_msg_name m = {.port = sock_cold(s)->lport};

	if (!s->bound)
		return;
	s->bound = false;
	sock_name(s, SOCK_LOCAL, m.addr);
	control_name(&m, PROTO_MSG_UNBIND);
}

int mtcp_bind(int sd, const struct sockaddr *sa, socklen_t len)
{
	uint8_t addr[16];
	uint16_t port;
	struct sock *s;
	int err = sock_get(sd, &s);

	if (err)
		return ret_errno(err);
	err = addr_from_sockaddr(s->ip6, sa, len, addr, &port);
	if (!err)
		err = bind_locked(s, addr, port);
	sock_put(s);
	return ret_errno(err);
}

int listener_open(struct sock *s, int backlog)
{
	struct proto_msg_name m = {
		.port = sock_cold(s)->lport,
		.cookie = sock_idx(s),
		.backlog = backlog < 0 ? SOMAXCONN : (uint32_t)backlog,
		.context = s->ctx,
		.flags = s->reuseaddr ? PROTO_NAME_REUSEADDR : 0,
		.defer_accept_s = opt_defer_accept_s(s),
		.fastopen_max = (uint16_t)number_get(s, NUMBER_FASTOPEN),
	};
	struct listener *l;
	int err;

	if (!listener_drop(s))
		return -EADDRINUSE; /* the last of a shutdown one are not answered yet */
	l = calloc(1, sizeof(*l) + ses.engines * sizeof(l->engine[0]));
	if (!l)
		return -ENOMEM;
	l->first = l->last = l->kept_first = l->kept_last = SOCK_IDX_NONE;
	l->engines = ses.engines;
	sock_name(s, SOCK_LOCAL, m.addr);
	lock_take(&s->ev_lock);
	s->listener = l;
	s->is_listener = true;
	lock_drop(&s->ev_lock);
	err = control_name(&m, PROTO_MSG_LISTEN);
	if (err)
		return err;
	lock_take(&s->ev_lock);
	l->handle = m.listener;
	lock_drop(&s->ev_lock);
	atomic_store(&s->state, STATE_LISTEN);
	return 0;
}

/* Engines that know the listener already are told what has changed of its options. */
int listener_set(struct sock *s)
{
	struct listener *l = s->listener;
	struct proto_msg_name m = {
		.listener = l->handle,
		.defer_accept_s = opt_defer_accept_s(s),
		.fastopen_max = (uint16_t)number_get(s, NUMBER_FASTOPEN),
	};

	return m.listener.gen ? control_name(&m, PROTO_MSG_RELISTEN) : 0;
}

void listener_push(struct sock *l, struct sock *s)
{
	struct listener *x = l->listener;

	sock_append(&x->first, &x->last, s);
	x->queued++;
}

struct sock *listener_pop(struct sock *l)
{
	struct listener *x = l->listener;
	struct sock *s;

	if (x->first == SOCK_IDX_NONE)
		return NULL;
	s = sock_at(x->first);
	x->first = sock_cold(s)->next;
	if (x->first == SOCK_IDX_NONE)
		x->last = SOCK_IDX_NONE;
	x->queued--;
	return s;
}

void listener_kept_add(struct sock *l, struct sock *s)
{
	struct listener *x = l->listener;

	sock_append(&x->kept_first, &x->kept_last, s);
	x->engine[s->engine].kept++;
	listener_count(l);
}

/* Nearly always the first: an engine answers in order. */
bool listener_kept_drop(struct sock *l, struct sock *s)
{
	struct listener *x = l->listener;
	uint32_t *at = &x->kept_first, before = SOCK_IDX_NONE;

	while (*at != sock_idx(s) && *at != SOCK_IDX_NONE) {
		before = *at;
		at = &sock_cold(sock_at(before))->next;
	}
	if (*at == SOCK_IDX_NONE)
		return false;
	*at = sock_cold(s)->next;
	if (x->kept_last == sock_idx(s))
		x->kept_last = before;
	x->engine[s->engine].kept--;
	return true;
}

static struct sock *kept_pop(struct sock *l)
{
	struct sock *s = NULL;

	lock_take(&l->ev_lock);
	if (l->listener->kept_first != SOCK_IDX_NONE) {
		s = sock_at(l->listener->kept_first);
		listener_kept_drop(l, s);
	}
	lock_drop(&l->ev_lock);
	return s;
}

/* The number of the request that s waits for, if it still does; 0. ev_lock of s. */
static uint32_t kept_request(const struct sock *l, const struct sock *s)
{
	bool waits = s->kind == KIND_PENDING && sock_cold(s)->pending_of == sock_idx(l) &&
		     atomic_load(&s->request) == REQUEST_ACCEPT;

	return waits ? sock_request_id(s) : 0;
}

/* The daemon may not know the listener any more, and answers all the same. What was answered by now
 * is not asked for. */
static void kept_cancel(struct sock *l, struct proto_handle listener)
{
	struct proto_slot slot = {0};
	uint32_t id = 0;
	struct sock *s;

	slot.body.accept.listener = listener;
	slot.body.accept.flags = PROTO_ACCEPT_CANCEL;
	while ((s = kept_pop(l))) {
		lock_take(&s->ev_lock);
		id = kept_request(l, s);
		lock_drop(&s->ev_lock);
		slot.head = proto_head_make(PROTO_OP_ACCEPT, id);
		slot.body.accept.cookie = sock_idx(s);
		if (id)
			ctx_push(s->ctx, s->engine, &slot);
	}
}

/* Waits for the answers that are due, so that the socket may be another listener. */
bool listener_settle(struct sock *s)
{
	bool none;

	do {
		lock_take(&s->ev_lock);
		none = !sock_listener(s) || !s->listener->outstanding;
		atomic_store(&s->request, none ? REQUEST_DONE : REQUEST_NONE);
		sock_cold(s)->result =
			0; /* that they were cancelled is no news to who accepts later */
		lock_drop(&s->ev_lock);
		if (!none && sock_wait(s, WAKE_RESULT, MTCPI_FOREVER) == -EBADF)
			return false;
	} while (!none && !sock_dead(s));
	return true;
}

static struct sock *queue_pop(struct sock *s)
{
	struct sock *c;

	lock_take(&s->ev_lock);
	c = listener_pop(s);
	lock_drop(&s->ev_lock);
	return c;
}

/* Locks a socket of the queue. Only a drainer may hold it, briefly, and it waits for nobody; not
 * a plain lock, for the same two entries may have been listener and queued the other way round
 * in an earlier life. */
void listener_lock_queued(struct sock *c)
{
	while (!lock_try(&c->lock))
		sched_yield();
}

bool listener_drop(struct sock *s)
{
	struct listener *l;

	lock_take(&s->ev_lock);
	l = sock_listener(s);
	if (l && l->outstanding) {
		lock_drop(&s->ev_lock);
		return false;
	}
	if (l)
		s->tx_last = NULL; /* in the same place */
	s->is_listener = false;
	lock_drop(&s->ev_lock);
	free(l);
	return true;
}

/* Stops listening and resets what was not accepted. May be called again for what comes late. */
void listener_close(struct sock *s)
{
	struct proto_msg_name m = {.port = sock_cold(s)->lport, .listener = s->listener->handle};
	struct sock *c;

	if (m.listener.gen) {
		sock_name(s, SOCK_LOCAL, m.addr);
		control_name(&m, PROTO_MSG_UNLISTEN);
		lock_take(&s->ev_lock);
		s->listener->handle.gen = 0;
		lock_drop(&s->ev_lock);
		kept_cancel(s, m.listener);
	}
	while ((c = queue_pop(s))) {
		listener_lock_queued(c);
		sock_close_locked(c, true);
		sock_put(c);
	}
	atomic_store(&s->acceptable, 0);
}

int mtcp_listen(int sd, int backlog)
{
	uint8_t any[16];
	struct sock *s;
	int err = sock_get(sd, &s);

	if (err)
		return ret_errno(err);
	addr_any(s->ip6, any);
	if (s->state == STATE_LISTEN)
		err = 0; /* a new backlog is a hint that we do not pass on */
	else if (s->state != STATE_NEW)
		err = -EINVAL;
	else
		err = s->bound ? 0 : bind_locked(s, any, 0);
	if (!err && s->state == STATE_NEW)
		err = listener_open(s, backlog);
	sock_put(s);
	return ret_errno(err);
}
