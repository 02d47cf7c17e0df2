/* Opening and closing descriptors, shutdown, and the end of a session's sockets. */
#include <libclient/client.h>

#include <netinet/in.h>
#include <string.h>

int mtcp_socket(int domain, int type, int protocol)
{
	struct waiter *w;
	struct sock *s;
	int err, kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (domain != AF_INET && domain != AF_INET6)
		return ret_errno(-EAFNOSUPPORT);
	if (kind != SOCK_STREAM)
		return ret_errno(-ESOCKTNOSUPPORT);
	if (protocol && protocol != IPPROTO_TCP)
		return ret_errno(-EPROTONOSUPPORT);
	w = waiter_self();
	err = w ? session_ensure() : -ENOMEM;
	if (!err)
		err = sock_alloc(KIND_TCP, &s);
	if (err)
		return ret_errno(err);
	s->nonblock = type & SOCK_NONBLOCK;
	s->cloexec = type & SOCK_CLOEXEC;
	s->ip6 = domain == AF_INET6;
	err = sock_names_make(s);
	if (err) {
		lock_take(&s->lock);
		sock_free(s);
		return ret_errno(err);
	}
	s->ctx = (uint8_t)(ses.contexts ? w->ctx % ses.contexts : 0);
	sock_become(s, KIND_TCP);
	return (int)sock_idx(s);
}

/* -- shutdown ------------------------------------------------------------------------------ */

/* Linux: reading from a listener is what makes it one. */
static int shutdown_listener(struct sock *s, int how)
{
	if (how == SHUT_WR)
		return 0;
	listener_close(s);
	atomic_store(&s->state, STATE_NEW);
	sock_wake_unlocked(s, UINT32_MAX);
	if (!listener_settle(s))
		return -EBADF;
	if (sock_listener(s) && s->state != STATE_LISTEN) /* else another thread has made it one */
		listener_close(s);			  /* what came meanwhile */
	return 0;
}

/* -EBADF: closed meanwhile, and the lock is gone. */
static int shutdown_locked(struct sock *s, int how)
{
	uint8_t bits = how == SHUT_RD	? SHUT_LOCAL_RD
		       : how == SHUT_WR ? SHUT_LOCAL_WR
					: SHUT_LOCAL_RD | SHUT_LOCAL_WR;
	uint8_t old;
	int err = 0;

	if (s->state == STATE_LISTEN)
		return shutdown_listener(s, how);
	if (s->state == STATE_NEW ||
		(s->state == STATE_CONNECTED &&
			atomic_load(&s->ev.flags) & (PROTO_FLOW_CLOSED | PROTO_FLOW_ENDED)))
		return -ENOTCONN;
	old = atomic_fetch_or(&s->shut, bits);
	if (bits & ~old & SHUT_LOCAL_WR)
		err = tx_shutdown(s);
	sock_wake_unlocked(s, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
	return err;
}

int mtcp_shutdown(int sd, int how)
{
	struct sock *s;
	int err;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return ret_errno(-EINVAL);
	err = sock_get(sd, &s);
	if (err)
		return ret_errno(err);
	err = shutdown_locked(s, how);
	if (err != -EBADF)
		sock_put(s);
	return ret_errno(err);
}

/* -- close --------------------------------------------------------------------------------- */

/* Tells the engine that the handle is not wanted any more. GONE will answer. */
int sock_push_close(struct sock *s, bool abort_it)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_CLOSE, 0)};

	if (!s->handle.gen)
		return 0;
	rx_flush(s);
	slot.body.close.handle = s->handle;
	slot.body.close.flags = abort_it ? PROTO_CLOSE_ABORT : 0;
	return ctx_push(s->ctx, s->engine, &slot);
}

/* The descriptor is gone at once, the rest follows when the daemon says GONE. */
void sock_close_locked(struct sock *s, bool abort_it)
{
	bool listening = s->state == STATE_LISTEN;

	sock_become(s, KIND_ZOMBIE);
	epoll_forget(s);
	pool_unwait(s);
	if (listening)
		listener_close(s);
	if (sock_push_close(s, abort_it))
		s->handle.gen = 0; /* nobody to answer */
	name_unbind(s);
	sock_wake_unlocked(s, UINT32_MAX);
}

/* SO_LINGER with a time: waits until everything was acknowledged or the time is over, whether or
 * not the socket blocks else, and a negative time is a very long one, as on Linux. */
static void linger(struct sock *s)
{
	uint64_t seconds = (uint32_t)sock_rare(s)->linger.l_linger;

	/* a zombie: the lock is gone after this */
	(void)sock_wait(s, WAKE_GONE | WAKE_ACKED, wait_now_ns() + seconds * 1000000000u);
}

int mtcp_close(int sd)
{
	struct sock *s;
	int err = sock_get_any(sd, &s);
	const struct linger *l;
	bool wait;

	if (err == -ENOTSOCK)
		return epoll_close(sd);
	if (err)
		return ret_errno(err);
	l = &sock_rare(s)->linger;
	wait = l->l_onoff && l->l_linger && s->handle.gen;
	sock_close_locked(s, l->l_onoff && !l->l_linger);
	if (wait)
		linger(s);
	else
		sock_put(s);
	return 0;
}

/* Before the session's memory goes: closes what is open, frees every entry. */
void sock_discard_all(void)
{
	const struct linger *l;
	struct sock *s;

	for (uint32_t i = 0; (s = sock_at(i)); i++) {
		lock_take(&s->lock);
		if (s->kind == KIND_FREE || s->is_epoll) {
			lock_drop(&s->lock);
			continue;
		}
		epoll_forget(s);
		l = &sock_rare(s)->linger;
		sock_push_close(s, l->l_onoff && !l->l_linger);
		tx_drop(s);
		pool_unwait(s);
		sock_free(s);
	}
}
