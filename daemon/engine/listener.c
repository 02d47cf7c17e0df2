/* Listeners: a port, and the connections that wait on it to be accepted.
 *
 * Names are the main thread's: it has checked and announced a listener to every engine, each
 * of which keeps its own and queues what it has established itself. The queue is a bounded
 * ring; while it is full a handshake is held back (its half-open entry stays and the peer
 * repeats), so that a connection is never established and then dropped. Accept is a request
 * against this queue: nothing is handed to a client that did not ask, so a stalled worker
 * strands nobody. A request may wait here for its connection: a server that accepts one after
 * another then hears of each once, with its first data, and need not ask when it is awake.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

static struct listener **bucket_of(struct engine *e, uint16_t port)
{
	return &e->listener_bucket[port % LISTENER_BUCKETS];
}

/* The first of that name at or behind l; `mapped`: that serves IPv4, too. */
static struct listener *find_from(
	struct listener *l, const struct net_addr *addr, uint16_t port, bool mapped)
{
	while (l && (l->desc.port != port || !net_addr_equal(&l->desc.addr, addr) ||
			    (mapped && l->desc.v6only)))
		l = l->bucket_next;
	return l;
}

static struct listener *find_exact(struct engine *e, const struct net_addr *addr, uint16_t port)
{
	return find_from(*bucket_of(e, port), addr, port, false);
}

/* Of several that share a name (SO_REUSEPORT) each peer has its own, as long as they stay. */
static struct listener *pick(
	struct engine *e, struct listener *first, const struct net_tuple *key, bool mapped)
{
	const struct engine_listen_desc *d = &first->desc;
	struct listener *l;
	uint32_t n = 0, at;

	if (!d->reuseport)
		return first;
	for (l = first; l; l = find_from(l->bucket_next, &d->addr, d->port, mapped))
		n++;
	at = (uint32_t)((tcp_table_hash(&e->table, key) >> 32) * n >> 32);
	for (l = first; at > 0; at--)
		l = find_from(l->bucket_next, &d->addr, d->port, mapped);
	return l;
}

/* The listener for a segment's key: the one of that address, else the one of any address of its
 * family, else the one of any address at all, unless that is for IPv6 only. */
struct listener *listener_lookup(struct engine *e, const struct net_tuple *key)
{
	static const struct net_addr any, any4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
	struct listener *l = find_exact(e, &key->local, key->lport);
	bool ip4 = net_addr_is_ip4(&key->local), mapped = false;

	if (!l && ip4)
		l = find_exact(e, &any4, key->lport);
	if (!l) {
		mapped = ip4;
		l = find_from(*bucket_of(e, key->lport), &any, key->lport, mapped);
	}
	return l ? pick(e, l, key, mapped) : NULL;
}

struct listener *listener_by_handle(struct engine *e, struct proto_handle h)
{
	struct listener *l = h.idx < LISTENERS_MAX ? e->listeners[h.idx] : NULL;

	return l && l->desc.handle.gen == h.gen ? l : NULL;
}

bool listener_full(const struct listener *l)
{
	return l->count == l->capacity;
}

/* 0, -EADDRINUSE, -EINVAL, -ENOENT (no such session) or -ENOMEM. */
int listener_add(struct engine *e, const struct engine_listen_desc *d)
{
	struct session *s = session_find(e, d->session);
	const struct listener *other = find_exact(e, &d->addr, d->port);
	struct listener *l;

	if (!s || s->dying)
		return -ENOENT;
	if (d->handle.idx >= LISTENERS_MAX || d->context >= s->desc.layout.contexts)
		return -EINVAL;
	if (e->listeners[d->handle.idx] || (other && !(other->desc.reuseport && d->reuseport)))
		return -EADDRINUSE;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->desc = *d;
	l->idx = d->handle.idx;
	l->session = s->idx;
	l->capacity = d->backlog < 1 ? 1 : d->backlog > BACKLOG_MAX ? BACKLOG_MAX : d->backlog;
	l->queue = calloc(l->capacity, sizeof(*l->queue));
	if (!l->queue) {
		free(l);
		return -ENOMEM;
	}
	l->bucket_next = *bucket_of(e, d->port);
	*bucket_of(e, d->port) = l;
	e->listeners[l->idx] = l;
	e->listener_count++;
	return 0;
}

/* The options that may change while it listens: 0, or -ENOENT if the session has none such. */
int listener_set(struct engine *e, const struct engine_listen_desc *d)
{
	struct listener *l = listener_by_handle(e, d->handle);

	if (!l || l->desc.session != d->session)
		return -ENOENT;
	l->desc.defer_accept_us = d->defer_accept_us;
	l->desc.fastopen_max = d->fastopen_max;
	return 0;
}

void listener_told(struct listener *l)
{
	l->told = l->seq;
}

static void mark_dirty(struct engine *e, struct listener *l)
{
	l->seq++;
	if (l->dirty)
		return;
	l->dirty = true;
	l->dirty_next = e->listeners_dirty;
	e->listeners_dirty = l;
}

static void forget_dirty(struct engine *e, struct listener *l)
{
	for (struct listener **p = &e->listeners_dirty; *p; p = &(*p)->dirty_next) {
		if (*p != l)
			continue;
		*p = l->dirty_next;
		return;
	}
}

static void listener_free(struct engine *e, struct listener *l)
{
	struct listener **p = bucket_of(e, l->desc.port);
	struct tcp_conn *c;

	while ((c = listener_pop(e, l))) {
		e->counters.accept_returned++;
		rxq_free(e, c);
		c->due_flags &= (uint16_t)~CONN_PENDING;
		c->owner = NONE;
		flow_close(e, c, true);
	}
	while (*p != l)
		p = &(*p)->bucket_next;
	*p = l->bucket_next;
	forget_dirty(e, l);
	e->listeners[l->idx] = NULL;
	e->listener_count--;
	free(l->fastopen_reset_s);
	free(l->queue);
	free(l);
}

void listener_del(struct engine *e, struct proto_handle h)
{
	struct listener *l = listener_by_handle(e, h);

	if (l)
		listener_free(e, l);
}

void listener_del_session(struct engine *e, uint32_t session_idx)
{
	for (uint32_t i = 0; e->listener_count && i < LISTENERS_MAX; i++)
		if (e->listeners[i] && e->listeners[i]->session == session_idx)
			listener_free(e, e->listeners[i]);
}

/* The connection is established; the queue has room (checked before it was promoted). */
void listener_push(struct engine *e, struct listener *l, struct tcp_conn *c)
{
	assert(!listener_full(l));
	l->queue[(l->head + l->count) % l->capacity] = conn_idx(e, c);
	l->count++;
	mark_dirty(e, l);
}

/* The connection that has waited longest, NULL if there is none. */
struct tcp_conn *listener_first(struct engine *e, struct listener *l)
{
	return l->count ? conn_at(e, l->queue[l->head]) : NULL;
}

/* The same, taken out. */
struct tcp_conn *listener_pop(struct engine *e, struct listener *l)
{
	uint32_t idx;

	if (!l->count)
		return NULL;
	idx = l->queue[l->head];
	l->head = (l->head + 1) % l->capacity;
	l->count--;
	mark_dirty(e, l);
	return conn_at(e, idx);
}

/* The next answer says that nothing waits, as of a number of its own; listener_fed() says later
 * that it does after all. */
void listener_starve(struct listener *l)
{
	l->starved = true;
	l->seq++;
}

void listener_fed(struct engine *e, uint32_t session_idx)
{
	for (uint32_t i = 0; i < LISTENERS_MAX; i++) {
		struct listener *l = e->listeners[i];

		if (!l || l->session != session_idx || !l->starved)
			continue;
		l->starved = false;
		mark_dirty(e, l);
	}
}

/* -- fast open: RFC 7413 section 5.1, PendingFastOpenRequests ------------------------------------
 */

static uint32_t seconds(uint64_t us)
{
	return (uint32_t)(us / 1000000);
}

/* Those whose time is over count no longer. */
static void fastopen_expire(struct engine *e, struct listener *l)
{
	while (l->fastopen_reset_count &&
		l->fastopen_reset_s[l->fastopen_reset_head] <= seconds(e->now_us)) {
		l->fastopen_reset_head = (l->fastopen_reset_head + 1) % FASTOPEN_PENDING_MAX;
		l->fastopen_reset_count--;
		l->fastopen_pending--;
	}
}

bool listener_fastopen_full(struct engine *e, struct listener *l)
{
	uint32_t max = l->desc.fastopen_max;

	fastopen_expire(e, l);
	return listener_full(l) ||
	       l->fastopen_pending >= (max < FASTOPEN_PENDING_MAX ? max : FASTOPEN_PENDING_MAX);
}

/* A reset may be forged like the SYN was, by somebody with a cookie that he got elsewhere: to
 * let go of the place at once would make the limit no limit. */
static bool fastopen_hold(struct engine *e, struct listener *l)
{
	if (!l->fastopen_reset_s)
		l->fastopen_reset_s = calloc(FASTOPEN_PENDING_MAX, sizeof(*l->fastopen_reset_s));
	if (!l->fastopen_reset_s || l->fastopen_reset_count == FASTOPEN_PENDING_MAX)
		return false;
	l->fastopen_reset_s[(l->fastopen_reset_head + l->fastopen_reset_count++) %
			    FASTOPEN_PENDING_MAX] = seconds(e->now_us + FASTOPEN_RESET_US);
	e->counters.fastopen_resets_held++;
	return true;
}

/* The handshake has ended, or the connection has. The listener may be another one by now. */
void listener_fastopen_end(struct engine *e, struct tcp_conn *c)
{
	struct listener *l = listener_lookup(e, &c->entry.key);
	bool reset = c->state == TCP_CLOSED && c->error == ECONNRESET;

	c->due_flags &= (uint16_t)~CONN_FASTOPEN;
	if (!l || l->fastopen_pending <= l->fastopen_reset_count)
		return;
	if (!reset || !fastopen_hold(e, l))
		l->fastopen_pending--;
}

/* -- accepts that wait for a connection -------------------------------------------------------- */

static struct kept_accept *kept_at(struct listener *l, uint32_t i)
{
	return &l->kept[(l->kept_head + i) % PROTO_ACCEPTS_KEPT];
}

/* False: too many are. */
bool listener_keep(struct listener *l, const struct kept_accept *k)
{
	if (l->kept_count == PROTO_ACCEPTS_KEPT)
		return false;
	*kept_at(l, l->kept_count++) = *k;
	return true;
}

void listener_unkeep(struct listener *l, uint32_t ctx, uint32_t request)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < l->kept_count; i++) {
		struct kept_accept k = *kept_at(l, i);

		if (k.ctx != ctx || k.request != request)
			*kept_at(l, left++) = k;
	}
	l->kept_count = left;
}

/* The one that has waited longest; some do. */
struct kept_accept listener_kept_pop(struct listener *l)
{
	struct kept_accept k = *kept_at(l, 0);

	assert(l->kept_count);
	l->kept_head = (l->kept_head + 1) % PROTO_ACCEPTS_KEPT;
	l->kept_count--;
	return k;
}

/* Answers the accepts that waited, and tells the listeners' contexts how many connections still do.
 * One that cannot be told now, the ring being full, stays dirty. */
void listener_publish(struct engine *e)
{
	struct listener *l = e->listeners_dirty;

	e->listeners_dirty = NULL;
	for (struct listener *next; l; l = next) {
		struct session *s = e->sessions[l->session];
		struct proto_slot slot = {.head = proto_head_make(PROTO_EV_LISTEN, 0)};
		bool answered = s->condemned || gate_accept_kept(e, l);

		next = l->dirty_next;
		slot.body.listen_state = (struct proto_listen_state){
			.cookie = l->desc.cookie,
			.gen = l->desc.handle.gen,
			.pending = l->count,
			.listen_seq = l->seq,
		};
		l->dirty = false;
		if (s->condemned || (answered && l->told == l->seq))
			continue;
		if (answered && gate_push(e, &s->rings[l->desc.context], &slot)) {
			listener_told(l);
			e->counters.events++;
		} else {
			l->dirty = true;
			l->dirty_next = e->listeners_dirty;
			e->listeners_dirty = l;
		}
	}
}
