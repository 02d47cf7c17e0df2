/* The daemon's socket objects: what a client names by a handle.
 *
 * A sock is published as level state: whatever changed, it is marked once and waits in its
 * ring's dirty list until the completion ring has room for one slot that tells everything.
 * It is freed after GONE was published, or at once when there is nobody left to tell.
 */
#include "internal.h"

struct sock *sock_new(struct engine *e, struct session *s, uint16_t ctx, uint32_t cookie)
{
	uint32_t idx = shm_arena_alloc(&e->socks);
	struct sock *sk;

	if (idx == NONE)
		return NULL;
	assert(s->idx <= UINT16_MAX); /* limits.sessions is at most 16384 */
	sk = sock_at(e, idx);
	*sk = (struct sock){
		.gen = engine_gen(e),
		.conn = NONE,
		.session = (uint16_t)s->idx,
		.cookie = cookie,
		.ctx = (uint8_t)ctx,
		.dirty_next = NONE,
		.session_next = s->socks_head,
		.session_prev = NONE,
		.sndbuf_bytes = e->cfg.limits.sndbuf_bytes,
		.rcvbuf_bytes = e->cfg.limits.rcvbuf_bytes,
		.told_chunk = NONE,
	};
	if (s->socks_head != NONE)
		sock_at(e, s->socks_head)->session_prev = idx;
	s->socks_head = idx;
	s->conns++;
	return sk;
}

/* The sock that a client's handle names, NULL if it is not (or no longer) one of the
 * session's: stale generation, another session's, closed. */
struct sock *sock_lookup(struct engine *e, const struct session *s, struct proto_handle h)
{
	struct sock *sk;

	/* What is free is all zeroes, generation included: no need to look beside it. */
	if (h.idx >= e->socks.grown || h.gen == 0)
		return NULL;
	sk = sock_at(e, h.idx);
	if (sk->gen != h.gen || sk->session != s->idx || sk->flags & (SOCK_CLOSED | SOCK_ORPHAN))
		return NULL;
	return sk;
}

static void unlink_from_session(struct engine *e, struct sock *sk)
{
	struct session *s = e->sessions[sk->session];

	if (s->closing == sock_idx(e, sk))
		s->closing = sk->session_next;
	if (sk->session_prev != NONE)
		sock_at(e, sk->session_prev)->session_next = sk->session_next;
	else
		s->socks_head = sk->session_next;
	if (sk->session_next != NONE)
		sock_at(e, sk->session_next)->session_prev = sk->session_prev;
	s->conns--;
}

void sock_free(struct engine *e, struct sock *sk)
{
	assert(sk->conn == NONE && !(sk->flags & SOCK_DIRTY));
	unlink_from_session(e, sk);
	tune_free(e, sk);
	sk->gen = 0;
	shm_arena_free(&e->socks, sock_idx(e, sk));
}

void sock_mark(struct engine *e, struct sock *sk)
{
	struct session *s = e->sessions[sk->session];
	struct ring *r;

	if (s->dying || sk->flags & SOCK_DIRTY)
		return;
	r = &s->rings[sk->ctx];
	sk->flags |= SOCK_DIRTY;
	sk->dirty_next = NONE;
	if (r->dirty_tail == NONE)
		r->dirty_head = sock_idx(e, sk);
	else
		sock_at(e, r->dirty_tail)->dirty_next = sock_idx(e, sk);
	r->dirty_tail = sock_idx(e, sk);
	gate_publish_later(e, r);
}

/* The connection was released: after the client's close there is nothing left but GONE. */
void sock_conn_gone(struct engine *e, struct sock *sk)
{
	struct session *s = e->sessions[sk->session];

	sk->conn = NONE;
	if (s->dying) {
		bool orphan = sk->flags & SOCK_ORPHAN;

		sk->flags &= (uint8_t)~SOCK_DIRTY;
		sock_free(e, sk);
		if (orphan)
			session_unpin(e, s);
		return;
	}
	sk->flags |= SOCK_GONE;
	sk->flow_flags |= PROTO_FLOW_CLOSED | PROTO_FLOW_GONE;
	sock_mark(e, sk);
}

/* Pushes the sock's level state; false if the ring is full. Frees it after GONE. The caller has
 * taken it out of the dirty list. */
bool sock_publish(struct engine *e, struct ring *r, struct sock *sk)
{
	struct tcp_conn *c = sk->conn == NONE ? NULL : conn_at(e, sk->conn);
	struct proto_slot slot = {.head = proto_head_make(PROTO_EV_FLOW, 0)};

	int room = shm_ring_prod_room(&r->completions, 1);
	proto_ref told;

	if (room < 0)
		session_condemn(e, r->session, PROTO_CONDEMNED_INDEX);
	if (room < 1)
		return false;
	told = c ? rxq_told(e, c, sk) : PROTO_REF_NONE; /* moves sock_told_pos() */
	slot.body.flow = (struct proto_flow){
		.cookie = sk->cookie,
		.gen = sk->gen,
		.acked_pos = c ? c->snd_una_pos : 0,
		.chunk = told,
		.received_pos = sock_told_pos(sk),
		.flags = sk->flow_flags,
		.error = sk->error,
		.sndbuf_bytes = c ? tune_told_sndbuf(e, c, sk) : sk->sndbuf_bytes,
		.window_bytes = c ? c->rcv_edge_low - (uint32_t)sk->consumed_pos : 0,
	};
	if (!gate_push(e, r, &slot))
		return false;
	sk->told_acked_low = (uint32_t)slot.body.flow.acked_pos;
	sk->flags &= (uint8_t)~SOCK_DIRTY;
	r->session->events++;
	e->counters.events++;
	if (sk->flags & SOCK_GONE)
		sock_free(e, sk);
	return true;
}
