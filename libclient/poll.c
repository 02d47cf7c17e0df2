/* poll over native descriptors, with kernel ones beside.
 *
 * First a look without any preparation: a busy program finds something. Only a call that will
 * sleep enters the lists of all its sockets. A descriptor stays usable (`users`) meanwhile; if
 * another thread closes it the sleeper wakes and reports POLLNVAL.
 */
#include <libclient/client.h>

#include <stdlib.h>
#include <string.h>

enum {
	ON_STACK = 32,
};

struct member {
	struct sock *s; /* NULL: negative or invalid descriptor */
	struct epoll *ep;
	struct wait_entry e;
};

struct poll_call {
	struct pollfd *fds;
	nfds_t n;
	struct pollfd *kfds;
	nfds_t kn;
	uint64_t deadline_ns;
	const sigset_t *sigmask;
};

/* Whatever the descriptor is: its bits now. */
static uint32_t bits_of(int sd, uint32_t wanted)
{
	struct sock *s = sd < 0 ? NULL : sock_at((uint32_t)sd);
	uint8_t kind = s ? s->kind : KIND_FREE;

	if (kind == KIND_TCP)
		return sock_poll(s, wanted);
	if (kind == KIND_EPOLL)
		return mtcpi_epoll_ready(sd) ? POLLIN | POLLRDNORM : 0;
	return POLLNVAL;
}

short mtcpi_poll_bits(int sd)
{
	ctx_drain_all(false);
	return (short)bits_of(sd, UINT32_MAX);
}

static int look(struct pollfd *fds, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		uint32_t wanted = (uint32_t)(unsigned short)fds[i].events | WAKE_ALWAYS;

		fds[i].revents = fds[i].fd < 0 ? 0 : (short)(bits_of(fds[i].fd, wanted) & wanted);
		ready += fds[i].revents != 0;
	}
	return ready;
}

static void join(struct member *m, const struct pollfd *p, struct waiter *w)
{
	struct sock *s = p->fd < 0 ? NULL : sock_at((uint32_t)p->fd);

	*m = (struct member){.e = {.w = w}};
	m->e.bits = (uint32_t)(unsigned short)p->events | WAKE_ALWAYS;
	if (!s)
		return;
	lock_take(&s->lock);
	if (s->kind == KIND_TCP || s->kind == KIND_EPOLL) {
		m->s = s;
		m->ep = s->kind == KIND_EPOLL ? s->epoll : NULL;
		sock_cold(s)->users++;
	}
	lock_drop(&s->lock);
	if (m->ep) {
		epoll_wait_begin(m->ep, &m->e);
	} else if (m->s) {
		lock_take(&s->ev_lock);
		LIST_INSERT_HEAD(&s->waiters, &m->e, link);
		lock_drop(&s->ev_lock);
	}
}

static void leave(struct member *m)
{
	struct sock *s = m->s;

	if (!s)
		return;
	if (m->ep) {
		epoll_wait_end(m->ep, &m->e);
		epoll_put(s);
		return;
	}
	lock_take(&s->lock);
	lock_take(&s->ev_lock);
	LIST_REMOVE(&m->e, link);
	lock_drop(&s->ev_lock);
	sock_cold(s)->users--;
	sock_put(s);
}

static int wait_joined(const struct poll_call *c, struct waiter *w)
{
	int ready, rc;

	do {
		waiter_arm(w);
		ctx_drain_all(false);
		ready = look(c->fds, c->n);
		if (ready)
			return ready;
		rc = wait_block(w, c->kfds, c->kn, c->deadline_ns, c->sigmask);
	} while (rc == WAIT_WOKEN);
	ready = look(c->fds, c->n);
	for (nfds_t i = 0; rc == WAIT_FDS && i < c->kn; i++)
		ready += c->kfds[i].revents != 0;
	return ready || rc == WAIT_TIMEOUT ? ready : rc;
}

static int poll_until(const struct poll_call *c)
{
	struct member on_stack[ON_STACK], *m = on_stack;
	struct waiter *w = waiter_self();
	int rc;

	for (nfds_t i = 0; i < c->kn; i++)
		c->kfds[i].revents = 0;
	ctx_drain_all(false);
	rc = look(c->fds, c->n);
	if (rc || (!c->deadline_ns && !c->kn))
		return rc;
	if (c->n > ON_STACK)
		m = malloc(c->n * sizeof(*m));
	if (!w || !m)
		rc = -ENOMEM;
	for (nfds_t i = 0; !rc && i < c->n; i++)
		join(&m[i], &c->fds[i], w);
	if (!rc) {
		rc = wait_joined(c, w);
		for (nfds_t i = 0; i < c->n; i++)
			leave(&m[i]);
	}
	if (m != on_stack)
		free(m);
	return rc;
}

int mtcp_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct poll_call c = {.fds = fds, .n = n};

	if (n > SOCKS_MAX)
		return ret_errno(-EINVAL);
	c.deadline_ns = timeout_ms ? wait_deadline_ms(timeout_ms) : 0;
	return ret_errno(poll_until(&c));
}

int mtcpi_poll(struct pollfd *fds, nfds_t n, struct pollfd *kfds, nfds_t kn,
	const struct timespec *deadline, const sigset_t *sigmask)
{
	struct poll_call c = {fds, n, kfds, kn, wait_deadline_ts(deadline), sigmask};

	if (n > SOCKS_MAX)
		return ret_errno(-EINVAL);
	return ret_errno(poll_until(&c));
}
