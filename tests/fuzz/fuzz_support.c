#include "fuzz_support.h"

#include <engine/internal.h>

#include <string.h>

/* -- input ----------------------------------------------------------------------------------- */

static void take(struct fuzz_input *in, void *out, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(out, 0, len);
	if (n)
		memcpy(out, in->at, n);
	in->at += n;
	in->left -= n;
}

uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t v;

	take(in, &v, sizeof(v));
	return v;
}

uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t v;

	take(in, &v, sizeof(v));
	return v;
}

uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t v;

	take(in, &v, sizeof(v));
	return v;
}

uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t v;

	take(in, &v, sizeof(v));
	return v;
}

size_t fuzz_bytes(struct fuzz_input *in, size_t max, const uint8_t **out)
{
	size_t n = max < in->left ? max : in->left;

	*out = in->at;
	in->at += n;
	in->left -= n;
	return n;
}

int64_t fuzz_delta(struct fuzz_input *in)
{
	uint8_t kind = fuzz_u8(in);

	if (kind < 160)
		return 0;
	if (kind < 210)
		return (int8_t)fuzz_u8(in);
	if (kind < 240)
		return (int16_t)fuzz_u16(in);
	return (int64_t)fuzz_u64(in);
}

/* -- audit ----------------------------------------------------------------------------------- */

struct totals {
	uint32_t chunks, descs, extras, reasms, scores, due, waiting, pending;
};

static struct rx_chunk *chunk_at(const struct engine *e, uint32_t idx)
{
	SIM_CHECK(shm_arena_is_used(&e->chunks, idx), "chunk %u is free and in use", idx);
	return shm_arena_at(&e->chunks, idx);
}

static const struct sock *sock_of(const struct engine *e, const struct tcp_conn *c)
{
	if (c->due_flags & CONN_PENDING || c->owner == NONE)
		return NULL;
	SIM_CHECK(shm_arena_is_used(&e->socks, c->owner), "the sock of a connection is free");
	return shm_arena_at(&e->socks, c->owner);
}

/* Chunks in order, without overlap; every byte received and not consumed is there. */
static void audit_rxq(
	const struct engine *e, const struct tcp_conn *c, const struct sock *sk, struct totals *t)
{
	uint64_t end = sk ? sk->consumed_pos : 0;
	uint64_t last_end = 0;
	uint32_t last = NONE;

	for (uint32_t i = c->rxq_head; i != NONE; i = chunk_at(e, i)->next) {
		const struct rx_chunk *k = chunk_at(e, i);

		SIM_CHECK(k->len && k->len <= k->cap, "chunk of %u bytes in %u", k->len, k->cap);
		SIM_CHECK(k->start_pos >= last_end, "chunks overlap");
		last_end = k->start_pos + k->len;
		if (k->start_pos <= end && last_end > end)
			end = last_end;
		last = i;
		t->chunks++;
		SIM_CHECK(t->chunks <= e->chunks.used, "the receive chain is a circle");
	}
	SIM_CHECK(last == c->rxq_tail, "the tail of the receive chain is not its end");
	if (c->state == TCP_CLOSED || (!sk && !(c->due_flags & CONN_PENDING)) ||
		(sk && sk->flags & (SOCK_CLOSED | SOCK_ORPHAN)))
		return;
	SIM_CHECK(end >= c->rcv_nxt_pos, "received to %llu, stored to %llu",
		(unsigned long long)c->rcv_nxt_pos, (unsigned long long)end);
}

/* Descriptors without gaps from the first unacknowledged byte to the end of the stream. */
static void audit_txq(
	const struct engine *e, const struct tcp_conn *c, const struct sock *sk, struct totals *t)
{
	uint64_t end = c->snd_una_pos;
	uint32_t n = 0, last = NONE;

	SIM_CHECK(sk || c->txq_head == NONE, "send descriptors of nobody");
	for (uint32_t i = c->txq_head; i != NONE;) {
		const struct tx_desc *d = shm_arena_at(&e->descs, i);

		SIM_CHECK(shm_arena_is_used(&e->descs, i) && d->len, "send descriptor %u", i);
		SIM_CHECK(n ? d->pos == end : d->pos <= end, "gap in the send descriptors");
		end = d->pos + d->len;
		last = i;
		i = d->next;
		SIM_CHECK(++n <= e->descs.used, "the send chain is a circle");
	}
	SIM_CHECK(last == c->txq_tail && (!sk || sk->tx_descs == n), "send chain");
	SIM_CHECK(!n || end == c->snd_end_pos, "descriptors end at %llu of %llu",
		(unsigned long long)end, (unsigned long long)c->snd_end_pos);
	t->descs += n;
}

static void audit_conn(const struct engine *e, uint32_t i, struct totals *t)
{
	const struct tcp_conn *c = shm_arena_at(&e->conns, i);
	const struct tcp_extra *x = tcp_extra(&e->tcp, c);
	const struct sock *sk = sock_of(e, c);

	SIM_CHECK(!sk || sk->conn == i, "a sock has another connection");
	SIM_CHECK(!(c->due_flags & CONN_FRESH), "promoted and forgotten");
	audit_rxq(e, c, sk, t);
	audit_txq(e, c, sk, t);
	t->extras += tcp_conn_has(c, TCP_F_EXTRA);
	t->reasms += x->reasm_idx != NONE;
	t->scores += x->score_idx != NONE;
	SIM_CHECK(tcp_conn_has(c, TCP_F_REASM) == (x->reasm_idx != NONE) &&
			  tcp_conn_loss(c, TCP_L_SCORE) == (x->score_idx != NONE),
		"a connection is wrong about its blocks");
	t->due += !!(c->due_flags & CONN_DUE);
	t->waiting += !!(c->due_flags & CONN_WAITS_NEIGH);
	t->pending += !!(c->due_flags & CONN_PENDING);
}

static uint32_t list_length(const struct engine *e, const struct conn_list *l, uint16_t flag)
{
	uint32_t n = 0, last = NONE;

	for (uint32_t i = l->head; i != NONE;) {
		const struct tcp_conn *c = shm_arena_at(&e->conns, i);

		SIM_CHECK(shm_arena_is_used(&e->conns, i) && c->due_flags & flag,
			"a list holds a connection that is not in it");
		last = i;
		i = c->due_next;
		SIM_CHECK(++n <= e->conns.used, "a list of connections is a circle");
	}
	SIM_CHECK(last == l->tail, "the tail of a list is not its end");
	return n;
}

static void audit_pool(const struct chunk_pool *p)
{
	uint32_t n = 0;

	for (uint32_t i = p->slab_count ? p->free_head : NONE; i != NONE; i = p->slabs[i].next)
		SIM_CHECK(i < p->slab_count && ++n <= p->free_count, "free slabs");
	SIM_CHECK(n == p->free_count, "%u slabs are free, %u in the list", p->free_count, n);
	SIM_CHECK(p->chunks_used || n == p->slab_count, "an unused pool lacks slabs");
}

/* Whether s is dead with sockets still to close: then it counts as an orphan of its own. */
static bool is_closing(const struct engine *e, const struct session *s)
{
	const struct session *c = e->closing;

	while (c && c != s)
		c = c->closing_next;
	return c;
}

static uint32_t audit_session(const struct engine *e, const struct session *s)
{
	uint32_t n = 0, orphans = is_closing(e, s);

	for (uint32_t i = s->socks_head; i != NONE;) {
		const struct sock *sk = shm_arena_at(&e->socks, i);

		SIM_CHECK(shm_arena_is_used(&e->socks, i) && sk->session == s->idx, "sock %u", i);
		SIM_CHECK(sk->consumed_pos <= sock_told_pos(sk), "consumed what was not told");
		orphans += !!(sk->flags & SOCK_ORPHAN);
		i = sk->session_next;
		SIM_CHECK(++n <= e->socks.used, "the socks of a session are a circle");
	}
	SIM_CHECK(n == s->conns && orphans == s->orphans, "a session's counts");
	SIM_CHECK(n <= e->cfg.limits.session_conns_max, "a session is over its limit");
	audit_pool(&s->chunks);
	return n;
}

static uint32_t audit_listener(const struct engine *e, const struct listener *l)
{
	SIM_CHECK(l->count <= l->capacity, "accept queue");
	for (uint32_t i = 0; i < l->count; i++) {
		uint32_t idx = l->queue[(l->head + i) % l->capacity];
		const struct tcp_conn *c = shm_arena_at(&e->conns, idx);

		SIM_CHECK(shm_arena_is_used(&e->conns, idx) && c->due_flags & CONN_PENDING &&
				  c->owner == l->idx,
			"the accept queue holds a stranger");
	}
	return l->count;
}

void fuzz_audit(const struct engine *e)
{
	const struct engine_limits *lim = &e->cfg.limits;
	struct totals t = {0};
	uint32_t socks = 0, pending = 0;

	for (uint32_t i = 0; i < e->conns.grown; i++)
		if (shm_arena_is_used(&e->conns, i)) {
			if (conn_is_used(e, i))
				audit_conn(e, i, &t);
			else
				t.due++;
		}
	for (uint32_t i = 0; i < e->session_capacity; i++)
		if (e->sessions[i])
			socks += audit_session(e, e->sessions[i]);
	for (uint32_t i = 0, left = e->listener_count; left && i < LISTENERS_MAX; i++) {
		if (!e->listeners[i])
			continue;
		pending += audit_listener(e, e->listeners[i]);
		left--;
	}
	SIM_CHECK(t.chunks == e->chunks.used && t.descs == e->descs.used &&
			  t.extras == e->extras.used && t.reasms == e->reasms.used &&
			  t.scores == e->scores.used && socks == e->socks.used &&
			  pending == t.pending,
		"an object has no owner: chunks %u of %u, descriptors %u of %u, reassembly %u of "
		"%u, socks %u of %u, pending %u of %u",
		t.chunks, e->chunks.used, t.descs, e->descs.used, t.reasms, e->reasms.used, socks,
		e->socks.used, pending, t.pending);
	SIM_CHECK(list_length(e, &e->due, CONN_DUE) == t.due, "due list");
	SIM_CHECK(list_length(e, &e->neigh_waiters, CONN_WAITS_NEIGH) == t.waiting, "waiters");
	SIM_CHECK(e->conns.used <= lim->conns_max && e->halves.used <= lim->halves_max &&
			  e->tws.used <= lim->tws_max,
		"over the limit");
}

void fuzz_expect_empty(const struct engine *e)
{
	SIM_CHECK(!e->conns.used && !e->halves.used && !e->tws.used && !e->socks.used &&
			  !e->orphans && !e->chunks.used && !e->descs.used && !e->extras.used &&
			  !e->reasms.used && !e->scores.used,
		"left: conns %u halves %u tws %u socks %u orphans %u chunks %u descs %u reasms %u",
		e->conns.used, e->halves.used, e->tws.used, e->socks.used, e->orphans,
		e->chunks.used, e->descs.used, e->reasms.used);
	SIM_CHECK(!e->pending_chunks.chunks_used, "the engine's own pool is not whole");
	audit_pool(&e->pending_chunks);
	SIM_CHECK(e->due.head == NONE && e->neigh_waiters.head == NONE, "a list is not empty");
}
