/* How connections begin: connect and accept.
 *
 * connect asks an engine, by turns, which answers at once with the handle or an error; whether the
 * peer answers comes later, as an event. A socket that does not block does not wait for the engine
 * either, so that many connects go to it as one batch: the answer is taken when it comes, by
 * whoever has the lock then (connect_answered()), and an error in it is that of an attempt that
 * failed. Any call that needs the handle waits for it first (sock_get()). What Linux does decides
 * the rest: a failed attempt is told once and leaves a fresh socket.
 *
 * accept is a request to one of the engines that said that connections wait. A few are asked for
 * at once when several wait: each answer is a socket of its own, made beforehand and named in the
 * request, which the drainer puts into the listener's queue. accept takes from that queue.
 * `pending` is the engine's word; what is already asked for is subtracted from it. Where some were
 * accepted there are requests at every engine that wait for connections to come
 * (PROTO_ACCEPT_KEEP), which spares a server the question and the sleep until it is answered.
 */
#include <libclient/client.h>

#include <string.h>

enum {
	ACCEPT_BATCH = 32,
};

/* -- connect ------------------------------------------------------------------------------- */

static uint32_t next_engine(void)
{
	static _Atomic uint32_t turn;

	return atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % ses.engines;
}

static void connect_slot(struct proto_slot *slot, const struct sock *s, const uint8_t addr[16],
	uint16_t port, bool fast)
{
	struct proto_connect *m = &slot->body.connect;

	*slot = (struct proto_slot){.head = proto_head_make(PROTO_OP_CONNECT, 0)};
	if (s->bound) {
		sock_name(s, SOCK_LOCAL, m->laddr);
		m->lport = sock_cold(s)->lport;
	}
	memcpy(m->raddr, addr, 16);
	m->rport = port;
	m->cookie = sock_idx(s);
	m->options = (s->nodelay ? PROTO_OPTION_NODELAY : 0) |
		     (s->keepalive ? PROTO_OPTION_KEEPALIVE : 0) |
		     (fast ? PROTO_OPTION_FASTOPEN : 0) |
		     (sock_rare(s)->rcvbuf_bytes ? 0 : PROTO_OPTION_RCVBUF_CLAMP);
	m->sndbuf_bytes = sock_rare(s)->sndbuf_bytes;
	m->rcvbuf_bytes = opt_rcvbuf(s);
	m->congestion = sock_rare(s)->congestion;
}

/* Pushes the request; the answer is taken by connect_answered(). 0, -ENETDOWN. */
static int connect_push(struct sock *s, const uint8_t addr[16], uint16_t port, bool fast)
{
	struct proto_slot slot;
	uint32_t id;
	int err;

	connect_slot(&slot, s, addr, port, fast);
	lock_take(&s->ev_lock);
	id = sock_request_new(s, s->bound ? REQUEST_CONNECT_BOUND : REQUEST_CONNECT);
	slot.head = proto_head_make(PROTO_OP_CONNECT, id);
	lock_drop(&s->ev_lock);
	s->answering = true;
	err = ctx_push(s->ctx, s->engine, &slot);
	if (!err)
		return 0;
	s->answering = false;
	atomic_store(&s->state, STATE_NEW);
	return err;
}

/* 0: under way, and perhaps not yet known to the engine. The lock may be dropped meanwhile. */
static int connect_start(struct sock *s, const uint8_t addr[16], uint16_t port, bool fast)
{
	int err;

	sock_request_begin(s);
	if (s->kind != KIND_TCP)
		err = -EBADF;
	else if (s->state != STATE_NEW)
		err = -EALREADY; /* another thread was faster */
	else if (!listener_drop(s))
		err = -EADDRINUSE; /* as in listener_open() */
	else
		err = 0;
	if (!err) {
		sock_reset_flow(s);
		/* A bound port belongs to the engine of its number, see PROTO_OP_CONNECT. */
		s->engine = (uint8_t)(s->bound ? sock_cold(s)->lport % ses.engines : next_engine());
		sock_name_set(s, SOCK_PEER, addr);
		sock_cold(s)->rport = port;
		atomic_store(&s->ev.error, 0);
		atomic_store(&s->shut, 0);
		atomic_store(&s->state, STATE_CONNECTING);
		err = connect_push(s, addr, port, fast);
	}
	lock_drop(&sock_cold(s)->request_lock);
	return err;
}

static void connect_refused(struct sock *s, int error)
{
	lock_take(&s->ev_lock);
	atomic_store(&s->ev.error, (uint16_t)error);
	atomic_fetch_or(&s->ev.flags, PROTO_FLOW_CLOSED);
	sock_wake(s, UINT32_MAX);
	lock_drop(&s->ev_lock);
}

/* The answer to CONNECT, if it has come and was not taken yet: the handle, or the error, which is
 * told as that of an attempt that failed. A socket that was closed meanwhile could not name the
 * handle; now it can. */
void connect_answered(struct sock *s)
{
	int32_t result;

	if (!s->answering || !sock_answered(s))
		return;
	s->answering = false;
	result = sock_cold(s)->result;
	if (result < 0) {
		connect_refused(s, -result);
		return;
	}
	lock_take(&s->ev_lock);
	s->handle = (struct proto_handle){(uint32_t)result, s->ev.gen};
	lock_drop(&s->ev_lock);
	if (s->nodelay) /* perhaps since CONNECT was pushed */
		opt_push(s, PROTO_SET_NODELAY, 1);
	number_push_all(s);
	if (s->kind == KIND_ZOMBIE && sock_push_close(s, true))
		s->handle.gen = 0;
}

/* After the attempt has ended, one way or the other. */
static int connect_finish(struct sock *s)
{
	uint32_t flags = atomic_load(&s->ev.flags);
	int err;

	if (flags & PROTO_FLOW_ESTABLISHED) {
		atomic_store(&s->state, STATE_CONNECTED);
		return 0;
	}
	err = sock_take_error(s);
	sock_push_close(s, true);
	sock_reset_flow(s);
	atomic_store(&s->state, STATE_NEW);
	return err ? -err : -ECONNABORTED;
}

static bool attempt_over(struct sock *s)
{
	return atomic_load(&s->ev.flags) & (PROTO_FLOW_ESTABLISHED | PROTO_FLOW_CLOSED) ||
	       atomic_load(&s->ev.error);
}

static int connect_check(struct sock *s, const uint8_t addr[16])
{
	if (s->state == STATE_LISTEN)
		return -EISCONN;
	if (s->state == STATE_CONNECTED)
		return -EISCONN;
	if (s->state == STATE_NEW && addr_is_any(addr))
		return -ECONNREFUSED; /* 0.0.0.0 and :: are loopback to Linux */
	if (s->v6only && addr_is_ip4(addr))
		return -ENETUNREACH;
	return 0;
}

/* A socket that waited for the handshake would have nothing to send with the SYN: it counts as
 * connected as soon as the engine knows of it, and how the attempt ends is told to whoever reads
 * or writes. (Linux does so only if it has a cookie, which is not for us to know.) */
int connect_fast(struct sock *s, const uint8_t addr[16], uint16_t port)
{
	int err = connect_check(s, addr);

	if (!err)
		err = connect_start(s, addr, port, true);
	if (err)
		return err;
	sock_settle(s);
	if (s->kind != KIND_TCP)
		return -EBADF;
	if (sock_dead(s))
		return -ENETDOWN;
	if (attempt_over(s))
		return connect_finish(s);
	atomic_store(&s->state, STATE_CONNECTED);
	return 0;
}

/* Gives the lock back in every case. */
static int connect_locked(struct sock *s, const uint8_t addr[16], uint16_t port)
{
	uint64_t deadline = sock_deadline(s, 0, &sock_rare(s)->sndtimeo);
	bool fresh = s->state == STATE_NEW;
	int err;

	if (fresh && number_get(s, NUMBER_FASTOPEN_CONNECT)) {
		err = connect_fast(s, addr, port);
		sock_put(s);
		return err;
	}
	err = connect_check(s, addr);
	if (!err && fresh)
		err = connect_start(s, addr, port, false);
	if (!err && deadline)
		sock_settle(s);
	if (s->kind != KIND_TCP) {
		sock_put(s);
		return -EBADF;
	}
	ctx_drain(&ses.ctx[s->ctx], false);
	if (!err && !attempt_over(s)) {
		if (!deadline)
			err = fresh ? -EINPROGRESS : -EALREADY;
		else
			err = sock_wait(s, POLLOUT, deadline);
		if (err == -EBADF)
			return err;
		if (err == -EAGAIN)
			err = fresh ? -EINPROGRESS : -EALREADY;
	}
	if (!err && sock_dead(s))
		err = -ENETDOWN;
	if (!err)
		err = connect_finish(s);
	sock_put(s);
	return err;
}

int mtcp_connect(int sd, const struct sockaddr *sa, socklen_t len)
{
	uint8_t addr[16];
	uint16_t port;
	struct sock *s;
	int err = sock_get(sd, &s);

	if (err)
		return ret_errno(err);
	err = addr_from_sockaddr(s->ip6, sa, len, addr, &port);
	if (!err)
		return ret_errno(connect_locked(s, addr, port));
	sock_put(s);
	return ret_errno(err);
}

/* -- accept -------------------------------------------------------------------------------- */

/* The engine with the most connections that nobody has asked for yet. ev_lock held. */
static uint32_t best_engine(const struct listener *l, uint32_t *credit)
{
	uint32_t best = 0;

	*credit = 0;
	for (uint32_t e = 0; e < l->engines; e++) {
		uint32_t pending = l->engine[e].pending, asked = l->engine[e].outstanding;

		if (pending > asked && pending - asked > *credit) {
			*credit = pending - asked;
			best = e;
		}
	}
	return best;
}

/* A socket for a connection to come, waiting for the answer to request *id; it belongs to nobody.
 */
static int make_pending(
	struct sock *l, uint32_t ctx, uint32_t engine, struct sock **out, uint32_t *id)
{
	struct sock *s;
	int err = sock_alloc(KIND_PENDING, &s);

	if (err)
		return err;
	s->ctx = (uint8_t)ctx;
	s->engine = (uint8_t)engine;
	s->ip6 = l->ip6;
	s->v6only = l->v6only;
	err = sock_names_make(s);
	if (err) {
		lock_take(&s->lock);
		sock_free(s);
		return err;
	}
	sock_cold(s)->pending_of = sock_idx(l);
	lock_take(&s->ev_lock); /* pairs with claim_pending(): what it reads is above */
	*id = sock_request_new(s, REQUEST_ACCEPT);
	sock_become(s, KIND_PENDING);
	lock_drop(&s->ev_lock);
	*out = s;
	return 0;
}

static void ask_undo(struct sock *l, struct sock *s)
{
	lock_take(&l->ev_lock);
	l->listener->outstanding--;
	l->listener->engine[s->engine].outstanding--;
	listener_kept_drop(l, s);
	listener_count(l);
	lock_drop(&l->ev_lock);
	lock_take(&s->lock);
	sock_become(s, KIND_ZOMBIE);
	sock_put(s);
}

/* Asks an engine for one connection; if `keep`, for one that is yet to come. 0, -EMFILE,
 * -ENETDOWN... */
static int ask(struct sock *l, uint32_t ctx, uint32_t engine, bool keep)
{
	struct proto_slot slot = {0};
	struct listener *x = l->listener;
	struct sock *s;
	uint32_t id;
	int err = make_pending(l, ctx, engine, &s, &id);

	if (err)
		return err;
	lock_take(&l->ev_lock);
	x->outstanding++;
	x->engine[engine].outstanding++;
	if (keep)
		listener_kept_add(l, s);
	lock_drop(&l->ev_lock);
	slot.head = proto_head_make(PROTO_OP_ACCEPT, id);
	slot.body.accept.listener = x->handle;
	slot.body.accept.cookie = sock_idx(s);
	slot.body.accept.flags = keep ? PROTO_ACCEPT_KEEP : 0;
	err = keep ? ctx_push_quiet(ctx, engine, &slot) : ctx_push(ctx, engine, &slot);
	if (err)
		ask_undo(l, s);
	return err;
}

/* Asks for one of those that wait. 0, or -EAGAIN (none to be had), or as ask(). */
static int ask_one(struct sock *l, uint32_t ctx)
{
	uint32_t credit, engine;

	lock_take(&l->ev_lock);
	engine = best_engine(l->listener, &credit);
	lock_drop(&l->ev_lock);
	return credit ? ask(l, ctx, engine, false) : -EAGAIN;
}

static struct sock *take_queued(struct sock *l)
{
	struct sock *s;

	lock_take(&l->ev_lock);
	s = listener_pop(l);
	if (s)
		listener_count(l);
	lock_drop(&l->ev_lock);
	return s;
}

/* Whether no answer is to come at once. ev_lock held. */
static bool none_due(const struct listener *x)
{
	uint32_t kept = 0;

	for (uint32_t e = 0; e < x->engines; e++)
		kept += x->engine[e].kept;
	return x->outstanding == kept;
}

static bool nothing_due(struct sock *l)
{
	bool none;

	lock_take(&l->ev_lock);
	none = none_due(l->listener);
	lock_drop(&l->ev_lock);
	return none;
}

/* Sleeps until an answer has come that is to come at once; other threads may have taken what it
 * brought. It is not REQUEST_DONE only while answers are due, so that nobody sleeps for one that
 * somebody else has seen. The listener's lock is dropped meanwhile. */
static int await_answer(struct sock *l)
{
	bool none, any;

	lock_take(&l->ev_lock);
	none = none_due(l->listener);
	any = l->listener->queued;
	atomic_store(&l->request, none || any ? REQUEST_DONE : REQUEST_NONE);
	lock_drop(&l->ev_lock);
	if (any)
		return 0;
	return none ? -EAGAIN : sock_wait(l, WAKE_RESULT, MTCPI_FOREVER);
}

/* Why an engine refused, told once. -EBADF means to our callers that the lock is gone. */
static int refusal(struct sock *l)
{
	int err;

	if (sock_dead(l))
		return -ENETDOWN;
	if (l->state != STATE_LISTEN)
		return -EINVAL;
	lock_take(&l->ev_lock);
	err = sock_cold(l)->result;
	sock_cold(l)->result = 0;
	lock_drop(&l->ev_lock);
	return err == -EBADF ? -EINVAL : err;
}

/* Who has accepted one is likely to accept the next: the more were, the more ACCEPTs wait for
 * connections to come. */
static void ask_ahead(struct sock *l, uint32_t ctx)
{
	struct listener *x = l->listener;

	if (x->appetite < PROTO_ACCEPTS_KEPT)
		x->appetite++;
	for (uint32_t e = 0; e < x->engines; e++) {
		uint32_t kept;

		lock_take(&l->ev_lock);
		kept = x->engine[e].kept;
		lock_drop(&l->ev_lock);
		if (kept > x->appetite / 2)
			continue;
		for (; kept < x->appetite; kept++)
			if (ask(l, ctx, e, true))
				return;
	}
}

/* What is set of the listener when the connection is given to the program, as nearly as in Linux:
 * s may have waited for it long. Both are locked. 0 or -ENOMEM. */
static int inherit(const struct sock *l, struct sock *s)
{
	const struct sock_rare *from = sock_rare(l);
	struct sock_rare *to;

	s->nodelay = l->nodelay;
	s->keepalive = l->keepalive;
	if (from == &sock_rare_none)
		return 0;
	to = sock_rare_make(s);
	if (!to)
		return -ENOMEM;
	to->sndbuf_bytes = from->sndbuf_bytes;
	to->rcvbuf_bytes = from->rcvbuf_bytes;
	to->congestion = from->congestion;
	to->linger = from->linger;
	return number_inherit(s, l);
}

static void push_options(struct sock *s)
{
	if (s->nodelay)
		opt_push(s, PROTO_SET_NODELAY, 1);
	if (s->keepalive)
		opt_push(s, PROTO_SET_KEEPALIVE, 1);
	if (sock_rare(s)->sndbuf_bytes)
		opt_push(s, PROTO_SET_SNDBUF, sock_rare(s)->sndbuf_bytes);
	if (sock_rare(s)->rcvbuf_bytes)
		opt_push(s, PROTO_SET_RCVBUF, sock_rare(s)->rcvbuf_bytes);
	number_push_all(s);
	if (sock_rare(s)->congestion)
		opt_push(s, PROTO_SET_CONGESTION, sock_rare(s)->congestion - 1);
}

/* What the program asks for with the connection. */
struct accept_call {
	struct sockaddr *sa; /* NULL: nothing */
	socklen_t *len;
	int flags;
};

static void become_accepted(struct sock *s, const struct accept_call *call)
{
	uint8_t peer[16];

	sock_cold(s)->pending_of = SOCK_IDX_NONE;
	s->nonblock = call->flags & SOCK_NONBLOCK;
	s->cloexec = call->flags & SOCK_CLOEXEC;
	atomic_store_explicit(&s->state, STATE_CONNECTED, memory_order_relaxed); /* locked */
	sock_become(s, KIND_TCP);
	push_options(s);
	if (!call->sa || !call->len)
		return;
	sock_name(s, SOCK_PEER, peer);
	addr_to_sockaddr(s->ip6, peer, sock_cold(s)->rport, call->sa, call->len);
}

/* 0; or -ENOMEM or -EMFILE, and s waits on. */
static int give(struct sock *l, struct sock *s, const struct accept_call *call)
{
	int err;

	listener_lock_queued(s);
	err = inherit(l, s);
	if (!err && !sock_count_in(s))
		err = -EMFILE;
	if (!err)
		become_accepted(s, call);
	sock_put(s);
	if (!err)
		return 0;
	lock_take(&l->ev_lock);
	listener_push(l, s);
	listener_count(l);
	lock_drop(&l->ev_lock);
	return err;
}

/* ACCEPTs of other threads are answered in rings of theirs, and they may not look there again. */
static void drain_for(struct sock *l)
{
	ctx_drain(&ses.ctx[l->ctx], false);
	for (uint32_t i = 0, n = wait_contexts(); i < n && !atomic_load(&l->acceptable); i++)
		if (i != l->ctx)
			ctx_drain(&ses.ctx[i], false);
}

/* One connection, without waiting for the network. *out; 0, -EAGAIN, -EBADF (lock gone). */
static int accept_now(struct sock *l, struct sock **out, const struct accept_call *call)
{
	uint32_t ctx = waiter_self() ? waiter_self()->ctx % ses.contexts : l->ctx;

	*out = take_queued(l);
	if (!*out)
		drain_for(l);
	for (;;) {
		int err = 0;

		if (!*out)
			*out = take_queued(l);
		if (*out) {
			err = give(l, *out, call);
			if (!err)
				ask_ahead(l, ctx);
			return err;
		}
		for (int i = 0; i < ACCEPT_BATCH && !err; i++)
			err = ask_one(l, ctx);
		if (err && err != -EAGAIN && nothing_due(l))
			return err;
		err = await_answer(l);
		if (!err)
			err = refusal(l);
		if (err)
			return err;
	}
}

/* Once is an error, and then nobody connects: dead_bits() in sock.c. */
static int accept_dead(struct sock *l)
{
	if (atomic_fetch_or(&l->shut, SHUT_TOLD_DOWN) & SHUT_TOLD_DOWN)
		return -EAGAIN;
	return -ENETDOWN;
}

static int accept_locked(struct sock *l, struct sock **out, const struct accept_call *call)
{
	uint64_t deadline = sock_deadline(l, 0, &sock_rare(l)->rcvtimeo);
	int err;

	for (;;) {
		if (l->state != STATE_LISTEN)
			return -EINVAL;
		err = sock_dead(l) ? accept_dead(l) : accept_now(l, out, call);
		if (err != -EAGAIN || !deadline)
			return err;
		err = sock_wait(l, POLLIN, deadline);
		if (err)
			return err;
	}
}

int mtcp_accept4(int sd, struct sockaddr *sa, socklen_t *len, int flags)
{
	const struct accept_call call = {sa, len, flags};
	struct sock *l, *s = NULL;
	int err;

	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return ret_errno(-EINVAL);
	err = sock_get_settled(sd, &l);
	if (err)
		return ret_errno(err);
	err = accept_locked(l, &s, &call);
	if (err == -EBADF)
		return ret_errno(err); /* closed meanwhile: the lock is gone */
	sock_put(l);
	if (err == -EAGAIN)
		ctx_settle(); /* who only asks again never waits */
	return err ? ret_errno(err) : (int)sock_idx(s);
}

int mtcp_accept(int sd, struct sockaddr *sa, socklen_t *len)
{
	return mtcp_accept4(sd, sa, len, 0);
}
