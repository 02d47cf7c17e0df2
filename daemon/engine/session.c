/* Sessions as an engine knows them: a process's memory and rings, and the end of both.
 *
 * The main thread owns a session's life. It adds one, and when the process is gone (or has
 * been condemned) it says so with ENGINE_CMD_SESSION_DEL: the engine drains the submission
 * rings once more and forgets them in that turn, and closes the session's sockets as Linux
 * would, which frees their receive chunks, a bounded number at a time, and no more than 320,000 a
 * second: each FIN waits among what others send, and each is answered, so that a million at once
 * would be a queue before everybody else's data, going out and coming in. Connections with unsent
 * bytes become orphans: their socks stay and pin `down` until the bytes are acknowledged or time is
 * over. When nothing is pinned, ENGINE_NOTE_SESSION_GONE tells the main thread that the memory may
 * be unmapped.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

static struct session **bucket_of(struct engine *e, uint32_t id)
{
	return &e->session_bucket[id % SESSION_BUCKETS];
}

struct session *session_find(struct engine *e, uint32_t id)
{
	struct session *s = *bucket_of(e, id);

	while (s && s->desc.session != id)
		s = s->bucket_next;
	return s;
}

static void ring_init(struct engine *e, struct session *s, uint16_t ctx)
{
	const struct proto_layout *l = &s->desc.layout;
	/* The decoders of layout take the client's side, which writes `down`; here it is only
	 * ever read. */
	uint8_t *down = (uint8_t *)(uintptr_t)s->desc.down_base;
	struct ring *r = &s->rings[ctx];
	uint16_t id = e->cfg.id;

	*r = (struct ring){
		.line = proto_layout_submission_line(l, s->desc.up_base, ctx, id),
		.ctx_line = proto_layout_ctx_line(l, down, ctx),
		.session = s,
		.ctx = ctx,
		.dirty_head = NONE,
		.dirty_tail = NONE,
		.doorbell_fd = s->desc.doorbell_fds[ctx],
	};
	shm_ring_cons_init(&r->submissions, proto_layout_submission_slots(l, down, ctx, id),
		&r->line->cons_idx, l->ring_order_log2);
	shm_ring_prod_init(&r->completions,
		proto_layout_completion_slots(l, s->desc.up_base, ctx, id),
		proto_layout_completion_idx(l, down, ctx, id), l->ring_order_log2);
	shm_sleep_set(&r->line->unwatched);
}

static int take_index(struct engine *e, struct session *s)
{
	for (uint32_t n = 0; n < e->session_capacity; n++) {
		uint32_t i = (e->session_hint + n) % e->session_capacity;

		if (e->sessions[i])
			continue;
		e->sessions[i] = s;
		e->session_hint = i + 1;
		s->idx = i;
		return 0;
	}
	return -EMFILE;
}

/* What the session may still grow by, asked for or not. */
static uint64_t growth_left(const struct session *s)
{
	return s->up_bytes < s->desc.up_max_bytes ? s->desc.up_max_bytes - s->up_bytes : 0;
}

/* 0, -EEXIST, -EMFILE or -ENOMEM. */
int session_add(struct engine *e, const struct engine_session_desc *d)
{
	struct session *s;
	int rc = -ENOMEM;

	if (session_find(e, d->session))
		return -EEXIST;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->desc = *d;
	s->bell_slow_until_us = bell_slow_until_us(e, d->uid);
	s->socks_head = NONE;
	s->closing = NONE;
	s->up_bytes = d->up_bytes;
	s->growth_bytes = growth_left(s);
	s->segments_up = 1;
	s->down[0] = (struct segment_map){
		.base = d->down_base, .first = d->layout.down_payload, .bytes = d->down_bytes};
	s->rings = aligned_alloc(_Alignof(struct ring), d->layout.contexts * sizeof(*s->rings));
	if (!s->rings)
		goto out_session;
	rc = chunk_pool_add(&s->chunks, 0, d->up_base, d->up_part_first, d->up_part_bytes);
	if (!rc)
		rc = take_index(e, s);
	if (rc)
		goto out_pool;
	for (uint16_t i = 0; i < d->layout.contexts; i++)
		ring_init(e, s, i);
	s->bucket_next = *bucket_of(e, d->session);
	*bucket_of(e, d->session) = s;
	e->session_count++;
	return 0;
out_pool:
	chunk_pool_fini(&s->chunks);
	free(s->rings);
out_session:
	free(s);
	return rc;
}

/* A further segment. 0, -ENOENT or -ENOMEM. */
int session_segment(struct engine *e, const struct engine_segment_desc *d)
{
	struct session *s = session_find(e, d->session);
	int rc;

	if (!s || s->dying || d->index >= PROTO_SEGMENTS_MAX)
		return -ENOENT;
	if (d->direction == SHM_DOWN) {
		s->down[d->index] = (struct segment_map){.base = d->base, .bytes = d->bytes};
		return 0;
	}
	s->need_up_us = 0;
	s->segments_up++;
	s->up_bytes += d->bytes;
	s->growth_bytes = growth_left(s);
	rc = chunk_pool_add(&s->chunks, d->index, d->base, 0, d->bytes);
	session_fed(e, s);
	return rc;
}

/* The bytes at ref, NULL if they do not lie inside the payload of a `down` segment. */
const uint8_t *session_down(const struct session *s, proto_ref ref, uint32_t len)
{
	uint32_t i = proto_ref_segment(ref);
	uint64_t off = proto_ref_offset(ref);
	const struct segment_map *m;

	if (i >= PROTO_SEGMENTS_MAX)
		return NULL;
	m = &s->down[i];
	if (off < m->first || off > m->bytes || len > m->bytes - off)
		return NULL;
	return m->base + off;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Slabs that are kept so that each connection can hold the least window there is: a program may
 * read its connections in any order, and what one of them holds may be freed only after another
 * has received. While there is more memory to be had a few will do; while the answer to a request
 * for more is awaited an eighth of it all, for connections that are still to come; at the limit
 * more if so many are here, up to half. */
static uint32_t reserve_slabs(const struct engine *e, const struct session *s)
{
	uint32_t all = s->chunks.slab_count;
	uint64_t each_bytes, want;

	if (s->growth_bytes)
		return CHUNK_LOW_SLABS;
	if (e->now_us < s->need_up_us && s->up_bytes < s->desc.up_max_bytes)
		return max_u32(CHUNK_LOW_SLABS, all / 8);
	each_bytes = rxq_least_window(e) + 2 * CHUNK_SMALL_BYTES;
	want = s->conns * each_bytes / SLAB_BYTES;
	if (want > all / 2)
		want = all / 2;
	return max_u32(CHUNK_LOW_SLABS, max_u32(all / 8, (uint32_t)want));
}

/* Nothing is kept back as long as there is room for all that was promised. */
bool session_chunks_scarce(const struct engine *e, const struct session *s)
{
	uint64_t room;

	if (session_spare_least_bytes(s) || s->chunks.free_count >= reserve_slabs(e, s))
		return false;
	room = (uint64_t)s->chunks.free_count * SLAB_BYTES;
	return s->promised_bytes > room + growth_left(s);
}

/* Time to ask for more: a quarter is left for what comes until the answer does. */
static bool chunks_few(const struct session *s)
{
	return s->chunks.free_count < max_u32(CHUNK_LOW_SLABS, s->chunks.slab_count / 4);
}

/* What the session may still fill beyond the reserve, as far as this engine knows. */
uint64_t session_spare_bytes(const struct engine *e, const struct session *s)
{
	uint32_t reserve = reserve_slabs(e, s);
	uint64_t spare = 0;

	if (s->chunks.free_count > reserve)
		spare = (uint64_t)(s->chunks.free_count - reserve) * SLAB_BYTES;
	return spare + s->growth_bytes;
}

void session_need_up(struct engine *e, struct session *s)
{
	if (e->now_us < s->need_up_us || s->dying || s->up_bytes >= s->desc.up_max_bytes)
		return;
	s->need_up_us = e->now_us + NEED_UP_AGAIN_US;
	s->growth_bytes = 0;
	command_note(e, ENGINE_NOTE_NEED_UP, s->desc.session, (uint32_t)s->up_bytes);
}

/* So much of what was promised has come. */
void session_filled(struct engine *e, struct session *s, uint32_t bytes)
{
	s->promised_bytes -= bytes;
	if (chunks_few(s))
		session_need_up(e, s);
}

/* An accept found no room for the connection's early data. */
void session_starve(struct engine *e, struct session *s, struct listener *l)
{
	s->starved = true;
	listener_starve(l);
	session_need_up(e, s);
}

/* Receive chunks came back, or new ones came. */
void session_fed(struct engine *e, struct session *s)
{
	if (!s->starved || s->dying)
		return;
	s->starved = false;
	listener_fed(e, s->idx);
}

/* The client broke the protocol: it is heard no more; the main thread ends it. */
void session_condemn(struct engine *e, struct session *s, enum proto_condemned reason)
{
	if (s->condemned || s->dying)
		return;
	s->condemned = true;
	e->counters.sessions_condemned++;
	command_note(e, ENGINE_NOTE_CONDEMNED, s->desc.session, reason);
}

static void session_free(struct engine *e, struct session *s)
{
	struct session **p = bucket_of(e, s->desc.session);

	while (*p != s)
		p = &(*p)->bucket_next;
	*p = s->bucket_next;
	e->sessions[s->idx] = NULL;
	e->session_count--;
	command_note(e, ENGINE_NOTE_SESSION_GONE, s->desc.session, 0);
	chunk_pool_fini(&s->chunks);
	free(s->rings);
	free(s);
}

void session_unpin(struct engine *e, struct session *s)
{
	assert(s->orphans && e->orphans);
	s->orphans--;
	e->orphans--;
	if (!s->orphans && s->socks_head == NONE)
		session_free(e, s);
}

static uint32_t uid_orphans(const struct engine *e, uint32_t uid)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < e->session_capacity; i++)
		if (e->sessions[i] && e->sessions[i]->desc.uid == uid)
			n += e->sessions[i]->orphans;
	return n;
}

/* Rounded down; 32 bits of it are 136 years. */
static uint32_t now_s(const struct engine *e)
{
	return (uint32_t)(e->now_us / 1000000);
}

static void make_orphan(struct engine *e, struct session *s, struct sock *sk)
{
	sk->flags |= SOCK_ORPHAN;
	sk->orphan_deadline_s = now_s(e) + e->cfg.limits.orphan_timeout_s + 1;
	s->orphans++;
	e->orphans++;
	e->counters.orphans++;
}

/* Hands an unfinished connection over to itself: no sock, no session. */
static void detach(struct engine *e, struct sock *sk, struct tcp_conn *c)
{
	txq_free(e, c, sk);
	sk->conn = NONE;
	c->owner = NONE;
	sock_free(e, sk);
}

/* Closes one socket of a dead session as Linux would: unread data means RST. */
static void close_sock(struct engine *e, struct session *s, struct sock *sk)
{
	struct tcp_conn *c;
	bool closed = sk->flags & SOCK_CLOSED;
	bool abort;

	sk->flags &= (uint8_t)~SOCK_DIRTY;
	if (sk->conn == NONE) {
		sock_free(e, sk);
		return;
	}
	c = conn_at(e, sk->conn);
	abort = s->condemned || (!closed && c->rcv_nxt_pos > sk->consumed_pos);
	rxq_free(e, c);
	if (!abort && c->txq_head != NONE && c->state != TCP_CLOSED) {
		if (s->orphan_budget) {
			s->orphan_budget--;
			make_orphan(e, s, sk);
			if (!closed)
				flow_close(e, c, false);
			return;
		}
		e->counters.orphans_refused++;
		abort = true;
	}
	detach(e, sk, c);
	if (!closed || abort)
		flow_close(e, c, abort);
}

/* Closes sockets of dead sessions, a bounded number in so much time; returns how many. */
unsigned int session_close_some(struct engine *e)
{
	uint64_t steps = (e->now_us - e->closed_us) / CLOSES_EVERY_US;
	uint64_t max = steps * CLOSES_EACH;
	unsigned int n = 0;

	if (!e->closing || !steps)
		return 0;
	if (max > CLOSES_PER_TURN)
		max = CLOSES_PER_TURN;
	e->closed_us = e->now_us;
	while (e->closing && n < max) {
		struct session *s = e->closing;

		if (s->closing == NONE) {
			e->closing = s->closing_next;
			session_unpin(e, s);
		} else {
			struct sock *sk = sock_at(e, s->closing);

			s->closing = sk->session_next;
			close_sock(e, s, sk);
			n++;
		}
	}
	return n;
}

/* The process is gone. Its sockets are closed over this and the next turns. */
void session_del(struct engine *e, uint32_t id)
{
	struct session *s = session_find(e, id);
	uint32_t used;

	if (!s || s->dying)
		return;
	if (!s->condemned)
		gate_drain(e, s);
	s->dying = true;
	for (uint16_t i = 0; i < s->desc.layout.contexts; i++)
		gate_forget(e, &s->rings[i]);
	listener_del_session(e, s->idx);
	used = uid_orphans(e, s->desc.uid);
	s->orphan_budget =
		used < e->cfg.limits.uid_orphans_max ? e->cfg.limits.uid_orphans_max - used : 0;
	s->orphans++; /* keeps *s while its socks go; taken back by session_close_some() */
	e->orphans++;
	s->closing = s->socks_head;
	s->closing_next = e->closing;
	e->closing = s;
}

/* The orphan's bytes are all acknowledged: nothing refers to the session any more. */
void session_orphan_done(struct engine *e, struct sock *sk)
{
	struct session *s = e->sessions[sk->session];

	detach(e, sk, conn_at(e, sk->conn));
	session_unpin(e, s);
}

/* Resets orphans whose time is over. */
void session_orphans_tick(struct engine *e)
{
	for (uint32_t i = 0; e->orphans && i < e->session_capacity; i++) {
		struct session *s = e->sessions[i];

		if (!s || !s->dying || s->closing != NONE)
			continue; /* of those still to be closed there may be a million */
		for (uint32_t k = s->socks_head, next; k != NONE; k = next) {
			struct sock *sk = sock_at(e, k);
			bool last = sk->session_next == NONE;

			next = sk->session_next;
			if (!(sk->flags & SOCK_ORPHAN) || sk->orphan_deadline_s > now_s(e))
				continue;
			e->counters.orphans_timed_out++;
			sk->orphan_deadline_s = UINT32_MAX;
			flow_close(e, conn_at(e, sk->conn), true);
			if (last)
				break;
		}
	}
}

/* At the engine's end: the socks of orphans go with the arenas. */
void session_destroy(struct engine *e, uint32_t idx)
{
	struct session *s = e->sessions[idx];

	if (!s)
		return;
	chunk_pool_fini(&s->chunks);
	free(s->rings);
	free(s);
	e->sessions[idx] = NULL;
}
