/* The receive queue of a connection: a list of chunks by stream position.
 *
 * Payload is copied once, from the frame into a chunk of the session (or, before accept, of
 * the engine's own pool). A chunk holds contiguous bytes from its start position; between
 * two chunks there may be a hole that out-of-order data has left. A hole is filled by
 * appending to the chunk before it or by new chunks, never past the start of the next, so
 * that no byte is stored twice. In `up` each chunk's header links to the next one once no
 * hole lies between (rxq_told), which is all that the client needs to walk the stream.
 *
 *	descriptors:  [0..2000) -> [2000..34000) -> hole -> [36000..37448)
 *	headers:       next -----> next = none               (not linked yet)
 *
 * A chunk is freed when the client has consumed past it. The tail chunk too: an idle
 * connection holds no chunk.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static struct rx_chunk *chunk_at(struct engine *e, uint32_t idx)
{
	return shm_arena_at(&e->chunks, idx);
}

/* Here and below `sk` is the connection's, NULL if it has none. */
static struct chunk_pool *pool_of(struct engine *e, const struct sock *sk)
{
	return sk ? &e->sessions[sk->session]->chunks : &e->pending_chunks;
}

/* Whether anybody is there to read: not after the session's death. */
static bool has_reader(struct engine *e, const struct tcp_conn *c, const struct sock *sk)
{
	return sk ? !e->sessions[sk->session]->dying : c->due_flags & CONN_PENDING;
}

static uint64_t consumed_pos(const struct sock *sk)
{
	return sk ? sk->consumed_pos : 0;
}

static uint64_t end_pos(const struct rx_chunk *k)
{
	return k->start_pos + k->len;
}

static struct proto_chunk *header_of(const struct chunk_pool *p, const struct rx_chunk *k)
{
	return (struct proto_chunk *)(void *)chunk_pool_base(p, k);
}

/* The last chunk that starts at or below pos, NONE if there is none. */
static uint32_t find_before(struct engine *e, const struct tcp_conn *c, uint64_t pos)
{
	uint32_t found = NONE;

	if (c->rxq_tail != NONE && chunk_at(e, c->rxq_tail)->start_pos <= pos)
		return c->rxq_tail;
	for (uint32_t i = c->rxq_head; i != NONE && chunk_at(e, i)->start_pos <= pos;
		i = chunk_at(e, i)->next)
		found = i;
	return found;
}

/* How many bytes at pos fit behind chunk k, which ends there. */
static uint32_t room_behind(struct engine *e, const struct rx_chunk *k)
{
	uint32_t room = k->cap - k->len;
	uint64_t gap;

	if (k->next == NONE)
		return room;
	gap = chunk_at(e, k->next)->start_pos - end_pos(k);
	return gap < room ? (uint32_t)gap : room;
}

/* What the window never goes below, in bytes from what was consumed. With less than two segments
 * a closed window would never open again: tcp/window.c moves the edge by whole segments only. */
uint32_t rxq_least_window(const struct engine *e)
{
	return 2u * e->cfg.tcp.mss_max_bytes;
}

/* Whether chunks are scarce: out-of-order data gets nothing, data in order a small chunk as long
 * as the connection holds less than the least window, or if that fulfils what it was promised:
 * its window is then shut, and the peer does not have to find out by retransmitting. */
static bool scarce(struct engine *e, const struct sock *sk)
{
	return sk ? session_chunks_scarce(e, e->sessions[sk->session])
		  : e->pending_chunks.free_count < e->pending_chunks.slab_count / 2;
}

static bool may_take(struct engine *e, const struct tcp_conn *c, const struct sock *sk,
	uint64_t pos, bool in_order)
{
	if (!in_order) {
		e->counters.rx_ooo_refused++;
		return false;
	}
	return pos - consumed_pos(sk) < rxq_least_window(e) ||
	       tcp_conn_rcv_edge(c) - pos <= CHUNK_SMALL_BYTES;
}

static void init_chunk(const struct chunk_pool *p, struct rx_chunk *k, uint64_t pos)
{
	k->start_pos = pos;
	*header_of(p, k) = (struct proto_chunk){
		.start_pos = pos,
		.next = PROTO_REF_NONE,
		.data_offset = sizeof(struct proto_chunk),
	};
}

/* A new chunk for bytes at pos, inserted behind chunk `before`. */
static uint32_t insert_chunk(struct engine *e, struct tcp_conn *c, struct chunk_pool *p,
	uint32_t before, uint64_t pos, bool large)
{
	uint32_t idx = shm_arena_alloc(&e->chunks);
	struct rx_chunk *k;

	if (idx == NONE) {
		e->counters.rx_descriptors_empty++;
		return NONE;
	}
	k = chunk_at(e, idx);
	if (!chunk_pool_take(p, k, large) && !(large && chunk_pool_take(p, k, false))) {
		shm_arena_free(&e->chunks, idx);
		return NONE;
	}
	if (c->rxq_head == NONE)
		p->holders++;
	k->next = before == NONE ? c->rxq_head : chunk_at(e, before)->next;
	if (before == NONE)
		c->rxq_head = idx;
	else
		chunk_at(e, before)->next = idx;
	if (k->next == NONE)
		c->rxq_tail = idx;
	init_chunk(p, k, pos);
	return idx;
}

/* -- what is promised -------------------------------------------------------------------- */

/* What the peer may still send of what it was promised: not what came out of order. */
static uint64_t unfilled_bytes(struct engine *e, const struct tcp_conn *c)
{
	uint64_t bytes = tcp_conn_rcv_wnd(c);

	for (uint32_t i = c->rxq_head; i != NONE; i = chunk_at(e, i)->next)
		if (chunk_at(e, i)->start_pos >= c->rcv_nxt_pos)
			bytes -= chunk_at(e, i)->len;
	return bytes;
}

/* At accept: from now on the session has to find room. */
void rxq_promise(struct engine *e, struct tcp_conn *c, struct sock *sk)
{
	if (c->state == TCP_CLOSED || c->flags & TCP_F_FIN_RCVD)
		return;
	sk->flags |= SOCK_PROMISED;
	e->sessions[sk->session]->promised_bytes += unfilled_bytes(e, c);
}

/* Nothing more will come, or nobody wants it. */
void rxq_promise_void(struct engine *e, struct tcp_conn *c, struct sock *sk)
{
	struct session *s = e->sessions[sk->session];
	uint64_t bytes;

	if (!(sk->flags & SOCK_PROMISED))
		return;
	sk->flags &= (uint8_t)~SOCK_PROMISED;
	bytes = unfilled_bytes(e, c);
	assert(s->promised_bytes >= bytes);
	s->promised_bytes -= bytes;
}

static uint64_t promised_to_others(const struct session *s, const struct tcp_conn *c)
{
	uint64_t own = tcp_conn_rcv_wnd(c);

	return s->promised_bytes > own ? s->promised_bytes - own : 0;
}

/* What one connection of the session may hold and be promised; see rxq_limit(). */
static uint64_t share_bytes(
	const struct engine *e, const struct session *s, const struct tcp_conn *c)
{
	uint64_t spare = session_spare_bytes(e, s), least = 0;
	uint64_t others = promised_to_others(s, c);

	if (c->rcv_nxt_pos)
		least = spare / OVERCOMMIT;
	else
		spare /= 2;
	spare = spare > others + least ? spare - others : least;
	return spare * 2 / (2 + s->chunks.holders);
}

/* Is the share that large? Mostly, and then without a division: that is asked for every segment.
 */
static bool share_surely_covers(const struct session *s, const struct tcp_conn *c, uint64_t bytes)
{
	uint64_t spare = (session_spare_least_bytes(s) + s->growth_bytes) * 2;
	uint64_t need = bytes * (2 + s->chunks.holders);

	if (!c->rcv_nxt_pos)
		return spare / 2 >= need + promised_to_others(s, c) * 2;
	return spare >= need * OVERCOMMIT || spare >= need + promised_to_others(s, c) * 2;
}

/* A large chunk is for those who have much queued, and may cost no more than a share. */
static bool wants_large(
	struct engine *e, const struct tcp_conn *c, const struct sock *sk, uint64_t end)
{
	if (end - consumed_pos(sk) <= CHUNK_SMALL_BYTES * 4)
		return false;
	return !sk || share_bytes(e, e->sessions[sk->session], c) >= SLAB_BYTES;
}

/* What chunk to take for the byte at pos. */
struct want {
	struct sock *sk;
	uint32_t before;
	uint64_t pos;
	bool large;
	bool in_order;
};

static uint32_t take_chunk(struct engine *e, struct tcp_conn *c, const struct want *w)
{
	struct chunk_pool *p = pool_of(e, w->sk);

	if (!scarce(e, w->sk))
		return insert_chunk(e, c, p, w->before, w->pos, w->large);
	if (!may_take(e, c, w->sk, w->pos, w->in_order))
		return NONE;
	return insert_chunk(e, c, p, w->before, w->pos, false);
}

static void note_no_memory(struct engine *e, const struct sock *sk)
{
	if (!sk) {
		e->counters.rx_unaccepted_full++;
		return;
	}
	e->counters.rx_chunks_empty++;
	session_need_up(e, e->sessions[sk->session]);
}

/* tcp_ops.rx_store */
uint32_t rxq_store(void *arg, struct tcp_conn *c, uint64_t pos, const struct tcp_segment *seg,
	uint32_t off, uint32_t len, bool in_order)
{
	struct engine *e = arg;
	struct sock *sk = conn_sock(e, c);
	struct chunk_pool *p = pool_of(e, sk);
	bool large = wants_large(e, c, sk, pos + len);
	uint32_t stored = 0;
	uint32_t idx = find_before(e, c, pos);

	if (!has_reader(e, c, sk))
		return 0;
	if (sk && sk->tune)
		tune_received(e, c, sk, seg);
	while (stored < len) {
		struct rx_chunk *k = idx == NONE ? NULL : chunk_at(e, idx);
		uint32_t n = 0;

		if (k && end_pos(k) == pos)
			n = room_behind(e, k);
		if (!n) {
			idx = take_chunk(e, c, &(struct want){sk, idx, pos, large, in_order});
			if (idx == NONE) {
				note_no_memory(e, sk);
				break;
			}
			k = chunk_at(e, idx);
			n = room_behind(e, k);
		}
		n = n < len - stored ? n : len - stored;
		memcpy(chunk_pool_base(p, k) + sizeof(struct proto_chunk) + k->len,
			seg->payload + off + stored, n);
		k->len += n;
		pos += n;
		stored += n;
	}
	if (sk)
		session_filled(e, e->sessions[sk->session], stored);
	return stored;
}

/* TCP_WINDOW_CLAMP: the window is no larger, whatever was consumed. */
static uint64_t clamped_limit(
	const struct engine *e, const struct tcp_conn *c, const struct sock *sk, uint64_t limit_pos)
{
	uint64_t clamp = tune_of(e, sk)->clamp_bytes, least = rxq_least_window(e);

	if (!clamp)
		return limit_pos;
	clamp = c->rcv_nxt_pos + (clamp > least ? clamp : least);
	return clamp < limit_pos ? clamp : limit_pos;
}

/* tcp_ops.rx_limit: what was consumed, and the buffer beyond: no more than a share of what the
 * session's connections may still fill, and than twice what has come so far.
 *
 * The share is a dynamic threshold (Choudhury and Hahne, 1998): the more connections hold unread
 * data and the less memory is left, the less is promised. Left is what neither is filled nor
 * promised to others, so that however many begin at once there is room for what they may send:
 * windows close before memory is used up. Their peers go on at once when a window opens, but not
 * for long when segments that they were promised room for were dropped. Twice what has come keeps
 * ahead of slow start.
 *
 * Not all that is promised is used: a million idle connections may hold promises of a hundred
 * times the memory, and a peer can collect them. Therefore
 *  - those from whom nothing has come get no more than half of it together (beyond the least
 *    window), the other half is for those who send;
 *  - who sends gets a sixteenth of the share that he had if nothing were promised, though all is.
 */
struct tcp_rx_room rxq_limit(void *arg, const struct tcp_conn *c)
{
	struct engine *e = arg;
	struct sock *sk = conn_sock(e, c);
	uint32_t least = rxq_least_window(e);
	struct session *s;
	uint64_t bytes, limit_pos;

	if (!sk)
		return (struct tcp_rx_room){PENDING_RCVBUF_BYTES, NULL};
	s = e->sessions[sk->session];
	bytes = min_u64(INITIAL_WINDOW_BYTES + 2 * c->rcv_nxt_pos, sk->rcvbuf_bytes);
	if (!share_surely_covers(s, c, bytes))
		bytes = min_u64(bytes, share_bytes(e, s, c));
	limit_pos = sk->consumed_pos + (bytes > least ? bytes : least);
	if (sk->tune)
		limit_pos = clamped_limit(e, c, sk, limit_pos);
	return (struct tcp_rx_room){
		limit_pos, sk->flags & SOCK_PROMISED ? &s->promised_bytes : NULL};
}

static void free_head(struct engine *e, struct tcp_conn *c, struct sock *sk)
{
	struct chunk_pool *p = pool_of(e, sk);
	uint32_t idx = c->rxq_head;
	struct rx_chunk *k = chunk_at(e, idx);

	if (sk && sk->told_chunk == idx)
		sk->told_chunk = NONE;
	chunk_pool_give(p, k);
	c->rxq_head = k->next;
	if (c->rxq_head == NONE) {
		c->rxq_tail = NONE;
		p->holders--;
	}
	*k = (struct rx_chunk){0};
	shm_arena_put_back(&e->chunks, idx);
}

/* The client has taken every byte below pos (checked: not past rcv_nxt_pos). */
void rxq_consumed(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t pos)
{
	while (c->rxq_head != NONE && chunk_at(e, c->rxq_head)->len &&
		end_pos(chunk_at(e, c->rxq_head)) <= pos)
		free_head(e, c, sk);
	session_fed(e, e->sessions[sk->session]);
}

void rxq_free(struct engine *e, struct tcp_conn *c)
{
	struct sock *sk = conn_sock(e, c);

	if (sk)
		rxq_promise_void(e, c, sk);
	while (c->rxq_head != NONE)
		free_head(e, c, sk);
	if (sk)
		session_fed(e, e->sessions[sk->session]);
}

/* What is being adopted, as a list of the session's chunks. */
struct adopted {
	uint32_t head, tail;
};

static bool adopt_chunk(
	struct engine *e, struct session *s, struct adopted *a, uint64_t pos, bool large)
{
	uint32_t idx = shm_arena_alloc(&e->chunks);
	struct rx_chunk *k;

	if (idx == NONE)
		return false;
	k = chunk_at(e, idx);
	if (!chunk_pool_take(&s->chunks, k, large) &&
		!(large && chunk_pool_take(&s->chunks, k, false))) {
		shm_arena_free(&e->chunks, idx);
		return false;
	}
	init_chunk(&s->chunks, k, pos);
	k->next = NONE;
	if (a->tail == NONE)
		a->head = idx;
	else
		chunk_at(e, a->tail)->next = idx;
	a->tail = idx;
	return true;
}

/* Copies a chunk of the engine's own pool. What lies together comes to lie in one chunk: pieces
 * that came out of order had one each, and might not fit into all that the session has. */
static bool adopt_bytes(
	struct engine *e, struct session *s, struct adopted *a, const struct rx_chunk *from)
{
	const uint8_t *data =
		chunk_pool_base(&e->pending_chunks, from) + sizeof(struct proto_chunk);
	uint32_t done = 0;

	while (done < from->len) {
		struct rx_chunk *k = a->tail == NONE ? NULL : chunk_at(e, a->tail);
		uint32_t left = from->len - done;
		bool joins = k && end_pos(k) == from->start_pos + done;

		if (!joins || k->len == k->cap) {
			bool large = joins || left > CHUNK_SMALL_BYTES - sizeof(struct proto_chunk);

			if (!adopt_chunk(e, s, a, from->start_pos + done, large))
				return false;
			continue;
		}
		left = left < k->cap - k->len ? left : k->cap - k->len;
		memcpy(chunk_pool_base(&s->chunks, k) + sizeof(struct proto_chunk) + k->len,
			data + done, left);
		k->len += left;
		done += left;
	}
	return true;
}

static void free_chunks(struct engine *e, struct chunk_pool *p, uint32_t head)
{
	while (head != NONE) {
		uint32_t next = chunk_at(e, head)->next;

		chunk_pool_give(p, chunk_at(e, head));
		shm_arena_free(&e->chunks, head);
		head = next;
	}
}

/* At accept: copies what came early from the engine's pool into chunks of the session. The
 * connection has no sock yet. 0, or -ENOBUFS and nothing has changed. */
int rxq_adopt(struct engine *e, struct tcp_conn *c, struct session *s)
{
	struct adopted a = {NONE, NONE};

	for (uint32_t i = c->rxq_head; i != NONE; i = chunk_at(e, i)->next)
		if (!adopt_bytes(e, s, &a, chunk_at(e, i))) {
			free_chunks(e, &s->chunks, a.head);
			return -ENOBUFS;
		}
	if (a.head != NONE) {
		e->pending_chunks.holders--;
		s->chunks.holders++;
	}
	free_chunks(e, &e->pending_chunks, c->rxq_head);
	c->rxq_head = a.head;
	c->rxq_tail = a.tail;
	return 0;
}

/* Before an event with rcv_nxt_pos is published: links the headers of all chunks that became
 * contiguous, and returns the chunk that holds the byte at sock_told_pos(), from which a client
 * that holds no chunk goes on. */
proto_ref rxq_told(struct engine *e, struct tcp_conn *c, struct sock *sk)
{
	const struct chunk_pool *p = pool_of(e, sk);
	uint32_t i = sk->told_chunk != NONE ? sk->told_chunk : c->rxq_head;
	uint64_t told_pos = sock_told_pos(sk);
	proto_ref told = PROTO_REF_NONE;

	if (c->rcv_nxt_pos == told_pos)
		return PROTO_REF_NONE;
	for (; i != NONE && chunk_at(e, i)->start_pos < c->rcv_nxt_pos; i = chunk_at(e, i)->next) {
		struct rx_chunk *k = chunk_at(e, i);
		uint32_t next = k->next;

		if (told == PROTO_REF_NONE && end_pos(k) > told_pos)
			told = chunk_pool_ref(p, k);
		sk->told_chunk = i;
		if (next == NONE || chunk_at(e, next)->start_pos >= c->rcv_nxt_pos)
			break;
		if (!chunk_at(e, next)->linked) {
			chunk_at(e, next)->linked = true;
			atomic_store_explicit(&header_of(p, k)->next,
				chunk_pool_ref(p, chunk_at(e, next)),
				memory_order_release); /* pairs with the client's walk */
		}
	}
	if (told != PROTO_REF_NONE) /* else the chunks are freed: reset, or closed */
		sk->told_low = (uint32_t)c->rcv_nxt_pos;
	return told;
}
