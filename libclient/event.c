/* What an event does to a socket.
 *
 * Called by whoever drains, with the consumer lock of the context, never with a socket's lock:
 * a call may hold that one through a long copy. State goes into sock.ev under ev_lock, waiters
 * are woken, and work that needs the socket's lock (freeing transmit memory, ending a zombie)
 * is done by trylock or left in `todo` for the holder (sock_do()).
 *
 * Events of one socket all come through one ring, in order, and each replaces the one before;
 * positions only grow (the last one, GONE, carries 0 for acked_pos).
 */
#include <libclient/client.h>

#include <string.h>

static void stale(struct ctx *c)
{
	c->stale++;
}

/* -- connections --------------------------------------------------------------------------- */

/* Of two low halves of positions. */
static bool is_past(uint32_t a_low, uint32_t b_low)
{
	return (int32_t)(a_low - b_low) > 0;
}

static uint32_t take_received(struct sock *s, const struct proto_flow *f)
{
	struct sock_event *ev = &s->ev;

	uint32_t low = atomic_load_explicit(&ev->received_low, memory_order_relaxed);

	if (!is_past((uint32_t)f->received_pos, low))
		return 0;
	if (atomic_load_explicit(&ev->chunk, memory_order_relaxed) == PROTO_REF_NONE)
		atomic_store_explicit(&ev->chunk, f->chunk, memory_order_relaxed);
	atomic_store_explicit(&s->window_bytes, f->window_bytes, memory_order_relaxed);
	/* pairs with the acquire in rx.c: chunks are linked before this is told */
	atomic_store_explicit(&ev->received_low, (uint32_t)f->received_pos, memory_order_release);
	return POLLIN | POLLRDNORM;
}

static uint32_t take_flags(struct sock_event *ev, const struct proto_flow *f)
{
	uint32_t now = atomic_load_explicit(&ev->flags, memory_order_relaxed);
	uint32_t old = now & ~(uint32_t)PROTO_FLOW_ANY_ROOM;
	uint32_t fresh = f->flags & ~old;
	uint32_t bits = 0;

	if (f->flags == now && !f->error)
		return 0;
	if (fresh & PROTO_FLOW_ESTABLISHED)
		bits |= POLLOUT | POLLWRNORM;
	if (fresh & PROTO_FLOW_FIN)
		bits |= POLLIN | POLLRDNORM | POLLRDHUP;
	if (fresh & PROTO_FLOW_CLOSED)
		bits |= POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP;
	if (fresh & PROTO_FLOW_GONE)
		bits |= WAKE_GONE | POLLHUP;
	if (f->error && f->error != ev->error_seen) {
		ev->error_seen = (uint16_t)f->error;
		atomic_store(&ev->error, (uint16_t)f->error);
		bits |= POLLERR | POLLIN | POLLOUT;
	}
	if ((old | f->flags) != now)
		atomic_store(&ev->flags, old | f->flags);
	return bits;
}

/* Room: the flag and the position are seq_cst on both sides, so that one sees the other. */
static uint32_t take_acked(struct sock *s, const struct proto_flow *f, uint32_t *todo)
{
	struct sock_event *ev = &s->ev;
	bool any_room = f->flags & PROTO_FLOW_ANY_ROOM;
	uint32_t low = (uint32_t)f->acked_pos;
	bool more = is_past(low, atomic_load_explicit(&ev->acked_low, memory_order_relaxed)) &&
		    !(f->flags & PROTO_FLOW_GONE);
	bool resized = f->sndbuf_bytes && f->sndbuf_bytes != atomic_load_explicit(&ev->sndbuf_bytes,
								     memory_order_relaxed);
	uint32_t bits = 0;

	/* first: it may shrink by what is acknowledged, and who sees that must see this */
	if (resized)
		atomic_store(&ev->sndbuf_bytes, f->sndbuf_bytes);
	if (more) {
		atomic_store(&ev->acked_low, low);
		*todo |= TODO_REAP;
		if ((uint32_t)atomic_load_explicit(&s->snd_pos, memory_order_relaxed) == low)
			bits = WAKE_ACKED;
	}
	if (any_room != event_any_room(ev))
		atomic_fetch_xor(&ev->flags, PROTO_FLOW_ANY_ROOM);
	if (!(more || resized) || !atomic_load(&s->nospace) || !sock_writable(s))
		return bits;
	atomic_store(&s->nospace, false);
	return bits | POLLOUT | POLLWRNORM;
}

static void apply_flow(struct ctx *c, const struct proto_flow *f)
{
	struct sock *s = sock_at(f->cookie);
	uint32_t bits, todo = 0;

	if (!s) {
		stale(c);
		return;
	}
	lock_take(&s->ev_lock);
	if (!f->gen || s->ev.gen != f->gen) {
		lock_drop(&s->ev_lock);
		stale(c);
		return;
	}
	bits = take_received(s, f);
	bits |= take_acked(s, f, &todo);
	bits |= take_flags(&s->ev, f);
	if (bits & WAKE_GONE) {
		s->ev.gen = 0;
		todo |= TODO_GONE;
	}
	if (bits)
		sock_wake(s, bits);
	lock_drop(&s->ev_lock);
	if (todo)
		sock_do(s, todo);
}

/* -- listeners ----------------------------------------------------------------------------- */

/* What waits at an engine and will come for a kept ACCEPT is not there before it has come. */
void listener_count(struct sock *s)
{
	struct listener *l = s->listener;
	uint32_t n = l->queued;

	for (uint32_t e = 0; e < l->engines; e++)
		if (l->engine[e].pending > l->engine[e].kept)
			n += l->engine[e].pending - l->engine[e].kept;
	atomic_store_explicit(&s->acceptable, n, memory_order_relaxed); /* ev_lock held */
}

/* Events may overtake the answer to LISTEN, so an unknown generation is believed: the worst is
 * one question in vain. */
static bool listens(const struct listener *l, uint32_t gen)
{
	return !l->handle.gen || l->handle.gen == gen;
}

/* Tellings come through several rings; the one with the later number holds. ev_lock of the
 * listener. */
static void take_pending(struct listener *l, uint32_t engine, uint32_t pending, uint32_t seq)
{
	if ((int32_t)(seq - l->engine[engine].listen_seq) < 0)
		return;
	l->engine[engine].pending = pending;
	l->engine[engine].listen_seq = seq;
}

static void apply_listen(struct ctx *c, uint32_t engine, const struct proto_listen_state *m)
{
	struct sock *s = sock_at(m->cookie);

	if (!s) {
		stale(c);
		return;
	}
	lock_take(&s->ev_lock);
	if (sock_listener(s) && listens(s->listener, m->gen) && engine < s->listener->engines) {
		/* an unknown generation may be the last one, whose numbers mean nothing here */
		take_pending(s->listener, engine, m->pending,
			s->listener->handle.gen ? m->listen_seq : 0);
		listener_count(s);
		if (atomic_load(&s->acceptable))
			sock_wake(s, POLLIN | POLLRDNORM);
	} else {
		stale(c);
	}
	lock_drop(&s->ev_lock);
}

/* An ACCEPT was answered. Was it one that waited? ev_lock of l. */
static bool settle(struct sock *l, struct sock *s)
{
	struct listener *x = l->listener;
	bool kept = listener_kept_drop(l, s);

	x->outstanding--;
	x->engine[s->engine].outstanding--;
	atomic_store_explicit(&l->request, REQUEST_DONE, memory_order_relaxed); /* likewise */
	return kept;
}

/* Whether id is the ACCEPT that s waits for; then s is the caller's, and nobody else's yet, with
 * its ev_lock held. */
static bool claim_pending(struct sock *s, uint32_t id)
{
	if (!s || s->kind != KIND_PENDING)
		return false;
	lock_take(&s->ev_lock);
	if (sock_request_is(s, id)) {
		atomic_store_explicit(&s->request, REQUEST_NONE, memory_order_relaxed);
		return true;
	}
	lock_drop(&s->ev_lock);
	return false;
}

static void apply_accepted(struct ctx *c, uint32_t id, const struct proto_accepted *m)
{
	struct sock *s = sock_at(id % SOCKS_MAX), *l;

	if (!claim_pending(s, id)) {
		stale(c);
		return;
	}
	s->handle = m->handle;
	sock_name_set(s, SOCK_LOCAL, m->laddr);
	sock_name_set(s, SOCK_PEER, m->raddr);
	sock_cold(s)->lport = m->lport;
	sock_cold(s)->rport = m->rport;
	s->ev.gen = m->handle.gen;
	atomic_store_explicit(&s->ev.flags, PROTO_FLOW_ESTABLISHED, memory_order_relaxed);
	lock_drop(&s->ev_lock);

	l = sock_at(sock_cold(s)->pending_of);
	lock_take(&l->ev_lock);
	settle(l, s);
	take_pending(l->listener, s->engine, m->pending, m->listen_seq);
	listener_push(l, s);
	listener_count(l);
	sock_wake(l, POLLIN | POLLRDNORM | WAKE_RESULT);
	lock_drop(&l->ev_lock);
	sock_do(l, TODO_GONE); /* a closed listener waits for this */
}

/* The engine had nothing; or has, but does not give it: then they wait on, as in Linux. */
static void apply_refused(struct sock *s, int32_t result, uint32_t listen_seq)
{
	struct sock *l = sock_at(sock_cold(s)->pending_of);
	bool kept;

	s->kind = KIND_ZOMBIE;
	lock_take(&l->ev_lock);
	kept = settle(l, s);
	if (result == -EAGAIN)
		take_pending(l->listener, s->engine, 0, listen_seq);
	else if (!kept) /* if it is, who accepts next asks, and is told */
		sock_cold(l)->result = result;
	listener_count(l);
	sock_wake(l, WAKE_RESULT | (atomic_load(&l->acceptable) ? POLLIN | POLLRDNORM : 0));
	lock_drop(&l->ev_lock);
	sock_do(s, TODO_GONE);
	sock_do(l, TODO_GONE);
}

/* -- answers ------------------------------------------------------------------------------- */

static void take_connected(struct sock *s, const struct proto_result *m, bool bound)
{
	if (m->result < 0)
		return;
	sock_cold(s)->result = (int32_t)m->handle.idx;
	s->ev.gen = m->handle.gen;
	if (!bound)
		sock_name_set(s, SOCK_LOCAL, m->laddr);
	sock_cold(s)->lport = m->lport;
}

static void apply_result(struct ctx *c, uint32_t id, const struct proto_result *m)
{
	struct sock *s = sock_at(id % SOCKS_MAX);
	uint32_t todo = 0;

	if (claim_pending(s, id)) {
		lock_drop(&s->ev_lock);
		apply_refused(s, m->result, m->listen_seq);
		return;
	}
	if (!s) {
		stale(c);
		return;
	}
	lock_take(&s->ev_lock);
	if (sock_request_is(s, id)) {
		uint8_t request = atomic_load(&s->request);

		sock_cold(s)->result = m->result;
		if (request == REQUEST_CONNECT || request == REQUEST_CONNECT_BOUND) {
			take_connected(s, m, request == REQUEST_CONNECT_BOUND);
			todo = TODO_ANSWER;
		}
		atomic_store(&s->request, REQUEST_DONE);
		sock_wake(s, WAKE_RESULT);
	}
	lock_drop(&s->ev_lock);
	if (todo)
		sock_do(s, todo);
}

static void apply_info(struct ctx *c, uint32_t id, const struct proto_info_part *m)
{
	struct sock *s = sock_at(id % SOCKS_MAX);
	size_t room;

	if (!s) {
		stale(c);
		return;
	}
	lock_take(&s->ev_lock);
	if (sock_request_is(s, id) && atomic_load(&s->request) == REQUEST_INFO &&
		m->offset < sizeof(s->rare->info) && m->len_bytes <= sizeof(m->bytes)) {
		room = sizeof(s->rare->info) - m->offset;
		memcpy((uint8_t *)&s->rare->info + m->offset, m->bytes,
			m->len_bytes < room ? m->len_bytes : room);
	}
	lock_drop(&s->ev_lock);
}

void event_apply(struct ctx *c, uint32_t engine, const struct proto_slot *slot)
{
	uint32_t id = proto_head_request(slot->head);

	switch (proto_head_op(slot->head)) {
	case PROTO_EV_FLOW:
		apply_flow(c, &slot->body.flow);
		break;
	case PROTO_EV_LISTEN:
		apply_listen(c, engine, &slot->body.listen_state);
		break;
	case PROTO_EV_ACCEPTED:
		apply_accepted(c, id, &slot->body.accepted);
		break;
	case PROTO_EV_RESULT:
		apply_result(c, id, &slot->body.result);
		break;
	case PROTO_EV_INFO:
		apply_info(c, id, &slot->body.info_part);
		break;
	default: /* of a later version */
		stale(c);
		break;
	}
}
