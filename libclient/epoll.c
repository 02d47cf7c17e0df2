/* epoll over native sockets, in the manner of the kernel's.
 *
 * An item joins a socket and an instance. When something happens to the socket, its items are
 * put into the ready list of their instance and one waiter of it is woken (epoll_wake(), under
 * the socket's ev_lock). epoll_wait goes through the ready list and asks each socket for its
 * state (sock_poll(), which needs no lock): what has nothing to say is dropped, edge-triggered
 * items are reported once, level-triggered ones are put back at the end, so that the next wait
 * asks again and none is starved.
 *
 * An item is found through its socket's list and guarded by ev_lock; the ready list and the
 * list of all items of an instance are guarded by the instance's lock, taken inside. So closing
 * an instance takes its items one by one from the socket's side.
 */
#include <libclient/client.h>

#include <stdlib.h>

#define EVENT_BITS     0xffffu /* those that tell of readiness */
#define EVENT_ALWAYS   ((uint32_t)(EPOLLERR | EPOLLHUP))
#define EVENT_BEHAVIOR (EPOLLET | EPOLLONESHOT)

enum {				 /* bits of epoll_item.event.events that are nobody's */
	ITEM_QUEUED = 1 << 16,	 /* in the ready list */
	ITEM_DISABLED = 1 << 17, /* EPOLLONESHOT, and it has been reported */
};

TAILQ_HEAD(item_list, epoll_item);

struct epoll {
	struct lock lock;
	struct item_list ready, all;
	struct wait_list waiters;
};

/* -- instances ----------------------------------------------------------------------------- */

int mtcp_epoll_create1(int flags)
{
	struct epoll *ep;
	struct sock *s;
	int err;

	if (flags & ~EPOLL_CLOEXEC)
		return ret_errno(-EINVAL);
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return ret_errno(-ENOMEM);
	err = sock_alloc(KIND_EPOLL, &s);
	if (err) {
		free(ep);
		return ret_errno(err);
	}
	TAILQ_INIT(&ep->ready);
	TAILQ_INIT(&ep->all);
	LIST_INIT(&ep->waiters);
	s->is_epoll = true;
	s->epoll = ep;
	s->kind = KIND_EPOLL;
	return (int)sock_idx(s);
}

/* Keeps the instance from being freed until epoll_put(). 0, -EBADF, -EINVAL (a socket). */
static int ep_get(int epd, struct sock **out)
{
	struct sock *s = epd < 0 ? NULL : sock_at((uint32_t)epd);
	int err = 0;

	if (!s)
		return -EBADF;
	lock_take(&s->lock);
	if (s->kind == KIND_EPOLL)
		sock_cold(s)->users++;
	else
		err = s->kind == KIND_TCP ? -EINVAL : -EBADF;
	lock_drop(&s->lock);
	*out = s;
	return err;
}

/* Unlocks; frees what is closed and used by nobody. */
static void ep_settle(struct sock *s)
{
	struct epoll *ep = s->epoll;

	if (s->kind == KIND_EPOLL || sock_cold(s)->users) {
		lock_drop(&s->lock);
		return;
	}
	sock_free(s);
	free(ep);
}

void epoll_put(struct sock *s)
{
	lock_take(&s->lock);
	sock_cold(s)->users--;
	ep_settle(s);
}

/* -- items --------------------------------------------------------------------------------- */

/* ev_lock held. */
static struct epoll_item *item_find(struct sock *s, const struct epoll *ep)
{
	struct epoll_item *i = s->items;

	while (i && i->ep != ep)
		i = i->next;
	return i;
}

/* A place for one more of s. ev_lock held. NULL: ENOMEM. */
static struct epoll_item *item_new(struct sock *s)
{
	struct epoll_item *i = &sock_table.items[sock_idx(s)];

	if (i->ep) {
		i = aligned_alloc(sizeof(*i), sizeof(*i));
		if (!i)
			return NULL;
	}
	*i = (struct epoll_item){.next = s->items, .sock = sock_idx(s)};
	return i;
}

static void item_free(struct epoll_item *i)
{
	if (i == &sock_table.items[i->sock])
		i->ep = NULL;
	else
		free(i);
}

/* ep->lock held, and with it the sockets of all items stay. */
static struct sock *item_sock(const struct epoll_item *i)
{
	return &sock_table.base[i->sock];
}

/* ep->lock held. */
static void item_enqueue(struct epoll_item *i)
{
	struct wait_entry *e;

	if (!(i->event.events & ITEM_QUEUED)) {
		TAILQ_INSERT_TAIL(&i->ep->ready, i, ready_link);
		i->event.events |= ITEM_QUEUED;
	}
	LIST_FOREACH(e, &i->ep->waiters, link)
	{
		if (waiter_woken(e->w))
			continue;
		waiter_wake(e->w);
		return;
	}
}

/* ev_lock held. */
static void item_remove(struct sock *s, struct epoll_item *i)
{
	struct epoll_item **at = &s->items;
	struct epoll *ep = i->ep;

	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
	lock_take(&ep->lock);
	TAILQ_REMOVE(&ep->all, i, all_link);
	if (i->event.events & ITEM_QUEUED)
		TAILQ_REMOVE(&ep->ready, i, ready_link);
	lock_drop(&ep->lock);
	item_free(i);
}

void epoll_wake(struct epoll_item *items, uint32_t bits)
{
	for (struct epoll_item *i = items; i; i = i->next) {
		lock_take(&i->ep->lock);
		if (!(i->event.events & ITEM_DISABLED) && i->event.events & EVENT_BITS & bits)
			item_enqueue(i);
		lock_drop(&i->ep->lock);
	}
}

void epoll_forget(struct sock *s)
{
	lock_take(&s->ev_lock);
	while (s->items)
		item_remove(s, s->items);
	lock_drop(&s->ev_lock);
}

static struct sock *first_member(struct epoll *ep)
{
	struct epoll_item *i;
	struct sock *s;

	lock_take(&ep->lock);
	i = TAILQ_FIRST(&ep->all);
	s = i ? item_sock(i) : NULL;
	lock_drop(&ep->lock);
	return s;
}

int epoll_close(int epd)
{
	struct wait_entry *e;
	struct epoll_item *i;
	struct sock *s, *member;
	int err = ep_get(epd, &s);

	if (err)
		return ret_errno(err);
	lock_take(&s->lock);
	s->kind = KIND_ZOMBIE;
	lock_drop(&s->lock);
	while ((member = first_member(s->epoll))) {
		lock_take(&member->ev_lock);
		i = item_find(member, s->epoll);
		if (i)
			item_remove(member, i);
		lock_drop(&member->ev_lock);
	}
	lock_take(&s->epoll->lock);
	LIST_FOREACH(e, &s->epoll->waiters, link)
	waiter_wake(e->w);
	lock_drop(&s->epoll->lock);
	epoll_put(s);
	return 0;
}

/* -- control ------------------------------------------------------------------------------- */

/* Takes over the interest, and looks whether it is satisfied already. ev_lock held. */
static void item_set(struct epoll_item *i, const struct epoll_event *event)
{
	const uint32_t known = EVENT_BITS | EVENT_BEHAVIOR;
	struct epoll *ep = i->ep;
	uint32_t queued;

	lock_take(&ep->lock);
	queued = i->event.events & ITEM_QUEUED;
	i->event = *event;
	i->event.events = (event->events & known) | EVENT_ALWAYS | queued;
	if (sock_poll(item_sock(i), i->event.events) & i->event.events & EVENT_BITS)
		item_enqueue(i);
	lock_drop(&ep->lock);
}

static int item_add(struct sock *s, struct epoll *ep, const struct epoll_event *event)
{
	struct epoll_item *i;

	if (item_find(s, ep))
		return -EEXIST;
	i = item_new(s);
	if (!i)
		return -ENOMEM;
	i->ep = ep;
	s->items = i;
	lock_take(&ep->lock);
	TAILQ_INSERT_TAIL(&ep->all, i, all_link);
	lock_drop(&ep->lock);
	item_set(i, event);
	return 0;
}

/* ev_lock held. */
static int control(struct sock *s, struct epoll *ep, int op, const struct epoll_event *event)
{
	struct epoll_item *i = item_find(s, ep);

	if (op == EPOLL_CTL_ADD)
		return item_add(s, ep, event);
	if (!i)
		return -ENOENT;
	if (op == EPOLL_CTL_DEL)
		item_remove(s, i);
	else
		item_set(i, event);
	return 0;
}

int mtcp_epoll_ctl(int epd, int op, int sd, struct epoll_event *event)
{
	struct sock *e, *s;
	int err;

	if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		return ret_errno(-EINVAL);
	if (op != EPOLL_CTL_DEL && !event)
		return ret_errno(-EFAULT);
	err = ep_get(epd, &e);
	if (err)
		return ret_errno(err);
	err = sock_get_any(sd, &s);
	if (!err) {
		lock_take(&s->ev_lock);
		err = control(s, e->epoll, op, event);
		lock_drop(&s->ev_lock);
		sock_put(s);
	}
	epoll_put(e);
	wait_wake_any();
	return ret_errno(err == -ENOTSOCK ? -EINVAL : err);
}

/* -- waiting ------------------------------------------------------------------------------- */

static void item_dequeue(struct epoll_item *i)
{
	TAILQ_REMOVE(&i->ep->ready, i, ready_link);
	i->event.events &= ~(uint32_t)ITEM_QUEUED;
}

/* What an item of the ready list has to say now; it stays there if it may have to say it again.
 * ep->lock held. */
static bool item_report(struct epoll_item *i, struct epoll_event *out)
{
	uint32_t events = i->event.events, wanted = events & EVENT_BITS;
	uint32_t bits = sock_poll(item_sock(i), wanted) & wanted;

	if (!bits || events & ITEM_DISABLED) {
		item_dequeue(i);
		return false;
	}
	out->events = bits;
	out->data = i->event.data;
	if (events & (EPOLLONESHOT | EPOLLET))
		item_dequeue(i);
	if (events & EPOLLONESHOT)
		i->event.events |= ITEM_DISABLED;
	return true;
}

static int collect(struct epoll *ep, struct epoll_event *events, int max)
{
	struct epoll_item *i, *next;
	int n = 0;

	lock_take(&ep->lock);
	for (i = TAILQ_FIRST(&ep->ready); i && n < max; i = next) {
		next = TAILQ_NEXT(i, ready_link);
		n += item_report(i, &events[n]);
	}
	/* what was not asked comes first */
	while (i && (next = TAILQ_FIRST(&ep->ready)) != i) {
		TAILQ_REMOVE(&ep->ready, next, ready_link);
		TAILQ_INSERT_TAIL(&ep->ready, next, ready_link);
	}
	lock_drop(&ep->lock);
	return n;
}

bool epoll_has_event(struct epoll *ep)
{
	struct epoll_item *i;
	bool found = false;

	lock_take(&ep->lock);
	TAILQ_FOREACH(i, &ep->ready, ready_link)
	{
		uint32_t wanted = i->event.events & EVENT_BITS;

		found = !(i->event.events & ITEM_DISABLED) &&
			sock_poll(item_sock(i), wanted) & wanted;
		if (found)
			break;
	}
	lock_drop(&ep->lock);
	return found;
}

void epoll_wait_begin(struct epoll *ep, struct wait_entry *e)
{
	lock_take(&ep->lock);
	LIST_INSERT_HEAD(&ep->waiters, e, link);
	lock_drop(&ep->lock);
}

/* A waiter that was woken may leave without taking what woke it: the next one may. */
void epoll_wait_end(struct epoll *ep, struct wait_entry *e)
{
	lock_take(&ep->lock);
	LIST_REMOVE(e, link);
	e = LIST_FIRST(&ep->waiters);
	if (e && !TAILQ_EMPTY(&ep->ready))
		waiter_wake(e->w);
	lock_drop(&ep->lock);
}

struct epoll_call {
	struct epoll_event *events;
	int max;
	struct pollfd *fds;
	nfds_t n;
	uint64_t deadline_ns;
	const sigset_t *sigmask;
};

static int sleep_for_events(struct sock *s, const struct epoll_call *c)
{
	struct wait_entry e = {.w = waiter_self()};
	int n, rc;

	if (!e.w)
		return -ENOMEM;
	epoll_wait_begin(s->epoll, &e);
	do {
		waiter_arm(e.w);
		ctx_drain_all(false);
		n = collect(s->epoll, c->events, c->max);
		if (n || s->kind != KIND_EPOLL)
			break;
		rc = wait_block(e.w, c->fds, c->n, c->deadline_ns, c->sigmask);
		if (rc != WAIT_WOKEN) {
			n = collect(s->epoll, c->events, c->max);
			n = n ? n : rc == -EINTR || rc == -ENOMEM ? rc : 0;
		}
	} while (rc == WAIT_WOKEN);
	epoll_wait_end(s->epoll, &e);
	return n || s->kind == KIND_EPOLL ? n : -EBADF;
}

static int epoll_wait_until(int epd, const struct epoll_call *c)
{
	struct sock *s;
	int n, err;

	if (c->max <= 0)
		return ret_errno(-EINVAL);
	err = ep_get(epd, &s);
	if (err)
		return ret_errno(err);
	for (nfds_t i = 0; i < c->n; i++)
		c->fds[i].revents = MTCPI_NOT_ASKED;
	ctx_drain_all(false);
	n = collect(s->epoll, c->events, c->max);
	if (!n && (c->deadline_ns || c->n))
		n = sleep_for_events(s, c);
	epoll_put(s);
	return ret_errno(n);
}

int mtcp_epoll_wait(int epd, struct epoll_event *events, int max, int timeout_ms)
{
	struct epoll_call c = {.events = events, .max = max};

	c.deadline_ns = timeout_ms ? wait_deadline_ms(timeout_ms) : 0;
	return epoll_wait_until(epd, &c);
}

int mtcpi_epoll_wait(int epd, struct epoll_event *events, int max, struct pollfd *fds, nfds_t n,
	const struct timespec *deadline, const sigset_t *sigmask)
{
	struct epoll_call c = {events, max, fds, n, wait_deadline_ts(deadline), sigmask};

	return epoll_wait_until(epd, &c);
}

bool mtcpi_epoll_ready(int epd)
{
	struct sock *s;
	bool ready;

	if (ep_get(epd, &s))
		return false;
	ctx_drain_all(false);
	ready = epoll_has_event(s->epoll);
	epoll_put(s);
	return ready;
}
