/* A daemon in a thread of the test: real segments, real rings, no network.
 *
 * It answers the control socket, takes submissions, checks each as the gate does (an assertion
 * here is a condemned session there), moves bytes between sockets and publishes level state.
 * What a connection leads to depends on its port:
 *
 *	FAKE_ECHO     to itself                    FAKE_DISCARD  acknowledged, thrown away
 *	FAKE_REFUSED  ECONNREFUSED                 FAKE_SILENT   stays in SYN-SENT
 *	FAKE_HOLD     nothing is acknowledged until `release` is set
 *	FAKE_NO_ROUTE no connection at all: CONNECT is answered with ENETUNREACH
 *	a port that is listened on: to a socket that waits to be accepted
 *
 * Receive chunks have random sizes, are freed as soon as the protocol allows, and are filled
 * with garbage then, so that a client which reads what it gave back is found out.
 */
#ifndef FAKE_DAEMON_H
#define FAKE_DAEMON_H

#include <libclient/internal.h>
#include <proto/attach.h>
#include <proto/decode.h>
#include <proto/layout.h>
#include <proto/slot.h>
#include <shm/doorbell.h>
#include <shm/segment.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	FAKE_ECHO = 7,
	FAKE_DISCARD = 9,
	FAKE_REFUSED = 1,
	FAKE_SILENT = 2,
	FAKE_HOLD = 3,
	FAKE_NO_ROUTE = 4,
	FAKE_SOCKS = 4096,
	FAKE_UNIT = 4096, /* of receive memory */
	FAKE_IDLE_TURNS = 50,
	FAKE_INFO_NOTSENT = 144, /* tcpi_notsent_bytes, which netinet/tcp.h does not have */
};

struct fake_piece {
	uint64_t pos;
	proto_ref ref;
	uint32_t len;
	struct fake_piece *next;
};

struct fake_chunk {
	struct proto_chunk *header;
	proto_ref ref;
	uint64_t start;
	uint32_t len, cap;
	struct fake_chunk *next;
};

struct fake_sock {
	bool used, dirty, closed, shut, fin_sent, pending;
	uint32_t gen, cookie, ctx, engine, flags, error;
	uint16_t port;
	uint16_t lport;
	struct fake_sock *peer; /* who gets what this one sends; NULL: nobody */
	struct fake_piece *tx, **tx_end;
	uint64_t acked, snd_end;
	struct fake_chunk *rx;
	uint64_t received, told, consumed, rcvbuf;
	uint32_t sndbuf, lowat;
	struct fake_sock *queue_next;
};

struct fake_listener {
	bool used;
	uint32_t gen, cookie, ctx;
	uint16_t port;
	struct fake_sock *queue[64]; /* one queue per engine */
	uint32_t count[64], told[64], seq[64];
	uint32_t kept_count[64]; /* ACCEPTs that wait for a connection */
	struct {
		uint32_t ctx;
		struct proto_slot slot;
	} kept[64][PROTO_ACCEPTS_KEPT];
};

struct fake {
	uint32_t contexts, engines, ring_order_log2;
	uint32_t down_bytes, down_max_bytes;
	uint32_t sndbuf_bytes, rcvbuf_bytes;
	/* knobs */
	_Atomic bool release, pause, stop, answer_late, refuse_accept;
	_Atomic bool paused;	 /* the thread has seen `pause` */
	_Atomic bool hold_gone;	 /* closed connections do not end, as if their peers did not */
	_Atomic uint32_t budget; /* most bytes moved per socket and turn */
	_Atomic uint32_t window_bytes; /* to be told; 0: the receive buffer */
	_Atomic uint32_t told_by_send; /* how often SEND told what was consumed */
	_Atomic uint32_t consumed_slots, operations[PROTO_OP_COUNT], setopts;
	_Atomic uint32_t connect_options;
	_Atomic uint32_t congestion;		  /* of the last connect or setopt: number + 1 */
	_Atomic uint64_t option[PROTO_SET_COUNT]; /* as last set, on any socket */
	_Atomic uint32_t socks_used, chunks_used, pieces_used;
	/* the rest belongs to the thread */
	pthread_t thread;
	int control, eventfd[PROTO_ENGINES_MAX], pipe[PROTO_CONTEXTS_MAX];
	struct proto_layout layout;
	struct shm_segment seg[2][4];
	uint32_t segs[2];
	struct shm_ring_cons sub[PROTO_CONTEXTS_MAX][PROTO_ENGINES_MAX];
	struct shm_ring_prod comp[PROTO_CONTEXTS_MAX][PROTO_ENGINES_MAX];
	bool pushed[PROTO_CONTEXTS_MAX];
	struct fake_sock sock[FAKE_SOCKS];
	struct fake_listener listener[16];
	uint32_t next_gen, next_port, up_bump, seed;
	proto_ref up_free[65536];
	uint32_t up_free_count;
	struct proto_up_header *header;
};

static inline uint32_t fake_random(struct fake *f)
{
	f->seed = f->seed * 1664525u + 1013904223u;
	return f->seed >> 8;
}

/* -- receive memory ------------------------------------------------------------------------ */

static uint8_t *fake_at(struct fake *f, enum shm_direction dir, proto_ref ref, uint32_t len)
{
	uint32_t seg = proto_ref_segment(ref);

	assert(seg < f->segs[dir]);
	assert(proto_ref_offset(ref) + len <= f->seg[dir][seg].len_bytes);
	return f->seg[dir][seg].base + proto_ref_offset(ref);
}

static void fake_add_units(struct fake *f, uint32_t seg, uint64_t first)
{
	for (uint64_t at = first; at + FAKE_UNIT <= f->seg[SHM_UP][seg].len_bytes; at += FAKE_UNIT)
		f->up_free[f->up_free_count++] = proto_ref_make(seg, at);
}

static struct fake_chunk *fake_chunk_new(struct fake *f, uint64_t pos)
{
	struct fake_chunk *c;

	if (!f->up_free_count)
		return NULL;
	c = calloc(1, sizeof(*c));
	c->ref = f->up_free[--f->up_free_count];
	c->header = (void *)fake_at(f, SHM_UP, c->ref, FAKE_UNIT);
	c->start = pos;
	c->cap = 1 + fake_random(f) % (FAKE_UNIT - sizeof(*c->header));
	c->header->start_pos = pos;
	atomic_store(&c->header->next, PROTO_REF_NONE);
	c->header->data_offset = sizeof(*c->header);
	f->chunks_used++;
	return c;
}

static void fake_chunk_free(struct fake *f, struct fake_sock *s)
{
	struct fake_chunk *c = s->rx;

	s->rx = c->next;
	memset(c->header, 0xdd, FAKE_UNIT);
	f->up_free[f->up_free_count++] = c->ref;
	f->chunks_used--;
	free(c);
}

static void fake_consume(struct fake *f, struct fake_sock *s, uint64_t pos)
{
	while (s->rx && s->rx->len && s->rx->start + s->rx->len <= pos)
		fake_chunk_free(f, s);
}

/* Appends up to n bytes to what s receives; how many. */
static uint32_t fake_store(struct fake *f, struct fake_sock *s, const uint8_t *from, uint32_t n)
{
	struct fake_chunk *c = s->rx, *fresh;

	if (s->received + n > s->consumed + s->rcvbuf)
		n = (uint32_t)(s->consumed + s->rcvbuf - s->received);
	while (c && c->next)
		c = c->next;
	if (!n)
		return 0;
	if (!c || c->len == c->cap) {
		fresh = fake_chunk_new(f, s->received);
		if (!fresh)
			return 0;
		if (c) {
			c->next = fresh;
			atomic_store_explicit(&c->header->next, fresh->ref, memory_order_release);
		} else {
			s->rx = fresh;
		}
		c = fresh;
	}
	n = n < c->cap - c->len ? n : c->cap - c->len;
	memcpy((uint8_t *)c->header + sizeof(*c->header) + c->len, from, n);
	c->len += n;
	s->received += n;
	s->dirty = true;
	return n;
}

static proto_ref fake_told_chunk(struct fake_sock *s)
{
	if (s->received == s->told)
		return PROTO_REF_NONE;
	for (struct fake_chunk *c = s->rx; c; c = c->next)
		if (c->start <= s->told && s->told < c->start + c->len)
			return c->ref;
	abort(); /* a byte not told of was freed */
}

/* -- slots --------------------------------------------------------------------------------- */

static bool fake_push(struct fake *f, uint32_t ctx, uint32_t engine, const struct proto_slot *slot)
{
	int rc = shm_ring_prod_push(&f->comp[ctx][engine], &slot->copy);

	assert(rc == 0 || rc == -EAGAIN);
	f->pushed[ctx] |= rc == 0;
	return rc == 0;
}

static void fake_answer(
	struct fake *f, uint32_t ctx, uint32_t engine, uint64_t head, const struct proto_result *r)
{
	struct proto_slot slot = {
		.head = proto_head_make(PROTO_EV_RESULT, proto_head_request(head))};
	bool ok;

	slot.body.result = *r;
	ok = fake_push(f, ctx, engine, &slot);
	assert(ok);
}

static struct fake_sock *fake_sock_new(struct fake *f, uint32_t ctx, uint32_t engine)
{
	for (uint32_t i = 0; i < FAKE_SOCKS; i++) {
		struct fake_sock *s = &f->sock[i];

		if (s->used)
			continue;
		*s = (struct fake_sock){.used = true,
			.gen = ++f->next_gen,
			.ctx = ctx,
			.engine = engine,
			.sndbuf = f->sndbuf_bytes,
			.rcvbuf = f->rcvbuf_bytes};
		s->tx_end = &s->tx;
		f->socks_used++;
		return s;
	}
	return NULL;
}

static struct fake_sock *fake_find(struct fake *f, struct proto_handle h)
{
	assert(h.idx < FAKE_SOCKS);
	return f->sock[h.idx].used && f->sock[h.idx].gen == h.gen && !f->sock[h.idx].closed
		       ? &f->sock[h.idx]
		       : NULL;
}

static struct fake_listener *fake_listener_at(struct fake *f, uint16_t port)
{
	for (int i = 0; i < 16; i++)
		if (f->listener[i].used && f->listener[i].port == port)
			return &f->listener[i];
	return NULL;
}

/* The other end of a connection to a listener; waits to be accepted. */
static void fake_enqueue(struct fake *f, struct fake_listener *l, struct fake_sock *s)
{
	struct fake_sock *p = fake_sock_new(f, 0, s->engine), **end = &l->queue[s->engine];

	p->pending = true;
	p->flags = PROTO_FLOW_ESTABLISHED;
	p->lport = l->port;
	p->port = s->lport;
	p->peer = s;
	s->peer = p;
	while (*end)
		end = &(*end)->queue_next;
	*end = p;
	l->count[s->engine]++;
	l->seq[s->engine]++;
}

static void fake_connect(struct fake *f, uint32_t ctx, uint32_t engine, const struct proto_slot *q)
{
	const struct proto_connect *m = &q->body.connect;
	struct fake_listener *l = fake_listener_at(f, m->rport);
	struct proto_result r = {.cookie = m->cookie};
	struct fake_sock *s;

	if (m->rport == FAKE_NO_ROUTE) {
		r.result = -ENETUNREACH;
		fake_answer(f, ctx, engine, q->head, &r);
		return;
	}
	s = fake_sock_new(f, ctx, engine);
	s->cookie = m->cookie;
	s->port = m->rport;
	s->lport = r.lport = m->lport ? m->lport : (uint16_t)(30000 + f->next_port++ % 20000);
	s->sndbuf = m->sndbuf_bytes ? m->sndbuf_bytes : s->sndbuf;
	f->congestion = m->congestion;
	f->connect_options = m->options;
	s->rcvbuf = m->rcvbuf_bytes ? m->rcvbuf_bytes : s->rcvbuf;
	memcpy(r.laddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	r.handle = (struct proto_handle){(uint32_t)(s - f->sock), s->gen};
	fake_answer(f, ctx, engine, q->head, &r);
	s->dirty = true;
	if (m->rport == FAKE_SILENT)
		return;
	if (m->rport == FAKE_REFUSED) {
		s->error = ECONNREFUSED;
		s->flags = PROTO_FLOW_CLOSED;
		return;
	}
	s->flags = PROTO_FLOW_ESTABLISHED;
	if (l)
		fake_enqueue(f, l, s);
	else if (m->rport == FAKE_ECHO)
		s->peer = s;
}

static void fake_unkeep(struct fake_listener *l, uint32_t ctx, uint32_t engine, uint32_t request)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < l->kept_count[engine]; i++)
		if (l->kept[engine][i].ctx != ctx ||
			proto_head_request(l->kept[engine][i].slot.head) != request)
			l->kept[engine][left++] = l->kept[engine][i];
	l->kept_count[engine] = left;
}

static void fake_accept(struct fake *f, uint32_t ctx, uint32_t engine, const struct proto_slot *q)
{
	struct proto_slot slot = {
		.head = proto_head_make(PROTO_EV_ACCEPTED, proto_head_request(q->head))};
	struct fake_listener *l = &f->listener[q->body.accept.listener.idx];
	bool listens = l->used && l->gen == q->body.accept.listener.gen;
	struct fake_sock *s = listens ? l->queue[engine] : NULL;
	uint32_t flags = q->body.accept.flags;
	int err = !listens ? -EBADF : f->refuse_accept ? -EMFILE : s ? 0 : -EAGAIN;
	bool ok;

	if (listens && flags & PROTO_ACCEPT_CANCEL) {
		fake_unkeep(l, ctx, engine, proto_head_request(q->head));
		err = -EAGAIN;
	}
	if (listens && !s && flags == PROTO_ACCEPT_KEEP &&
		l->kept_count[engine] < PROTO_ACCEPTS_KEPT) {
		l->kept[engine][l->kept_count[engine]].ctx = ctx;
		l->kept[engine][l->kept_count[engine]++].slot = *q;
		return;
	}
	if (err) {
		fake_answer(f, ctx, engine, q->head,
			&(struct proto_result){
				.result = err, .listen_seq = err == -EAGAIN ? l->seq[engine] : 0});
		return;
	}
	l->queue[engine] = s->queue_next;
	l->count[engine]--;
	l->seq[engine]++;
	l->told[engine] = l->count[engine];
	s->pending = false;
	s->ctx = ctx;
	s->cookie = q->body.accept.cookie;
	s->dirty = true;
	slot.body.accepted.handle = (struct proto_handle){(uint32_t)(s - f->sock), s->gen};
	slot.body.accepted.cookie = s->cookie;
	slot.body.accepted.lport = s->lport;
	slot.body.accepted.rport = s->port;
	memcpy(slot.body.accepted.laddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	memcpy(slot.body.accepted.raddr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x02", 16);
	slot.body.accepted.pending = l->count[engine];
	slot.body.accepted.listen_seq = l->seq[engine];
	ok = fake_push(f, ctx, engine, &slot);
	assert(ok);
}

static void fake_consumed(struct fake *f, struct fake_sock *s, uint64_t pos)
{
	assert(pos <= s->told && pos >= s->consumed);
	s->consumed = pos;
	fake_consume(f, s, pos);
}

static void fake_send(struct fake *f, const struct proto_send *m)
{
	struct fake_sock *s = fake_find(f, m->handle);
	struct fake_piece *p;

	if (s && m->consumed_pos) {
		f->told_by_send++;
		fake_consumed(f, s, m->consumed_pos);
	}
	fake_at(f, SHM_DOWN, m->ref, m->len_bytes);
	if (!s || s->flags & PROTO_FLOW_CLOSED)
		return;
	assert(m->pos == s->snd_end && !s->shut);
	assert(m->pos + m->len_bytes - s->acked <= s->sndbuf);
	p = calloc(1, sizeof(*p));
	*p = (struct fake_piece){m->pos, m->ref, m->len_bytes, NULL};
	*s->tx_end = p;
	s->tx_end = &p->next;
	s->snd_end += m->len_bytes;
	f->pieces_used++;
}

static void fake_drop(struct fake *f, struct fake_sock *s)
{
	while (s->tx) {
		struct fake_piece *p = s->tx;

		s->tx = p->next;
		f->pieces_used--;
		free(p);
	}
	s->tx_end = &s->tx;
	while (s->rx)
		fake_chunk_free(f, s);
}

static void fake_reset(struct fake *f, struct fake_sock *s, int error)
{
	(void)f;
	if (!s || s->flags & PROTO_FLOW_CLOSED)
		return;
	s->error = (uint32_t)error;
	s->flags |= PROTO_FLOW_CLOSED;
	s->peer = NULL;
	s->dirty = true;
}

static void fake_close(struct fake *f, const struct proto_close *m)
{
	struct fake_sock *s = fake_find(f, m->handle);

	if (!s)
		return;
	s->closed = true;
	if (m->flags & PROTO_CLOSE_ABORT || s->consumed != s->received) {
		if (s->peer && s->peer != s)
			fake_reset(f, s->peer, ECONNRESET);
		s->peer = NULL;
		s->acked = s->snd_end;
	}
	s->dirty = true;
}

static void fake_operation(
	struct fake *f, uint32_t ctx, uint32_t engine, const struct proto_slot *q)
{
	struct fake_sock *s;
	struct proto_result r = {0};
	uint32_t unsent;
	struct proto_slot slot = {
		.head = proto_head_make(PROTO_EV_INFO, proto_head_request(q->head))};

	f->operations[proto_head_op(q->head)]++;
	switch (proto_head_op(q->head)) {
	case PROTO_OP_CONNECT:
		fake_connect(f, ctx, engine, q);
		break;
	case PROTO_OP_ACCEPT:
		fake_accept(f, ctx, engine, q);
		break;
	case PROTO_OP_SEND:
		fake_send(f, &q->body.send);
		break;
	case PROTO_OP_CONSUMED:
		s = fake_find(f, q->body.consumed.handle);
		if (s)
			fake_consumed(f, s, q->body.consumed.pos);
		break;
	case PROTO_OP_SHUTDOWN:
		s = fake_find(f, q->body.shutdown.handle);
		if (s && !(s->flags & PROTO_FLOW_CLOSED)) {
			assert(q->body.shutdown.pos == s->snd_end);
			s->shut = true;
		}
		break;
	case PROTO_OP_CLOSE:
		fake_close(f, &q->body.close);
		break;
	case PROTO_OP_SETOPT:
		s = fake_find(f, q->body.setopt.handle);
		if (s && q->body.setopt.option == PROTO_SET_SNDBUF) {
			s->sndbuf = (uint32_t)q->body.setopt.value;
			s->dirty = true;
		}
		if (s && q->body.setopt.option == PROTO_SET_NOTSENT_LOWAT) {
			s->lowat = (uint32_t)q->body.setopt.value;
			s->dirty = true;
		}
		if (s && q->body.setopt.option == PROTO_SET_CONGESTION)
			f->congestion = (uint32_t)q->body.setopt.value + 1;
		assert(q->body.setopt.option < PROTO_SET_COUNT);
		f->option[q->body.setopt.option] = q->body.setopt.value;
		fake_answer(f, ctx, engine, q->head, &r);
		break;
	case PROTO_OP_INFO:
		slot.body.info_part.total_bytes = 96;
		slot.body.info_part.len_bytes = 48;
		memset(slot.body.info_part.bytes, 1, 48);
		fake_push(f, ctx, engine, &slot);
		slot.body.info_part.offset = 48;
		memset(slot.body.info_part.bytes, 2, 48);
		fake_push(f, ctx, engine, &slot);
		slot.body.info_part.offset = PROTO_INFO_CONGESTION;
		slot.body.info_part.len_bytes = sizeof(uint32_t);
		memset(slot.body.info_part.bytes, 0, 4);
		slot.body.info_part.bytes[0] = (uint8_t)(f->congestion ? f->congestion - 1 : 1);
		fake_push(f, ctx, engine, &slot);
		s = fake_find(f, q->body.info.handle);
		unsent = s ? (uint32_t)(s->snd_end - s->acked)
			   : 0; /* sent is what is acknowledged */
		slot.body.info_part.offset = FAKE_INFO_NOTSENT;
		memcpy(slot.body.info_part.bytes, &unsent, sizeof(unsent));
		fake_push(f, ctx, engine, &slot);
		r.result = 4;
		fake_answer(f, ctx, engine, q->head, &r);
		break;
	}
}

static unsigned int fake_submissions(struct fake *f)
{
	unsigned int n = 0;

	for (uint32_t c = 0; c < f->contexts; c++) {
		for (uint32_t e = 0; e < f->engines; e++) {
			struct proto_slot q;

			for (int i = 0; i < 32 && shm_ring_prod_room(&f->comp[c][e], 8) >= 8 &&
					shm_ring_cons_pop(&f->sub[c][e], &q.copy);
				i++, n++) {
				int reason = proto_op_judge(&q);

				assert(reason == PROTO_OK);
				fake_operation(f, c, e, &q);
			}
			shm_ring_cons_publish(&f->sub[c][e]);
		}
	}
	return n;
}

/* -- moving bytes, telling of it ----------------------------------------------------------- */

static unsigned int fake_move(struct fake *f, struct fake_sock *s)
{
	uint32_t budget = f->budget ? 1 + fake_random(f) % f->budget : UINT32_MAX;
	unsigned int work = 0;

	if (s->port == FAKE_HOLD && !f->release)
		return 0;
	while (s->tx && budget && (!s->peer || s->peer->used)) {
		struct fake_piece *p = s->tx;
		uint32_t skip = (uint32_t)(s->acked - p->pos);
		uint32_t n = p->len - skip < budget ? p->len - skip : budget;

		if (s->peer)
			n = fake_store(f, s->peer, fake_at(f, SHM_DOWN, p->ref + skip, n), n);
		if (!n)
			break;
		work++;
		budget -= n;
		s->acked += n;
		s->dirty = true;
		if (s->acked == p->pos + p->len) {
			s->tx = p->next;
			if (!s->tx)
				s->tx_end = &s->tx;
			f->pieces_used--;
			free(p);
		}
	}
	if (!s->tx && (s->shut || s->closed) && !s->fin_sent) {
		s->fin_sent = true;
		work++;
		if (s->peer) {
			s->peer->flags |= PROTO_FLOW_FIN;
			s->peer->dirty = true;
		}
	}
	return work;
}

static void fake_tell(struct fake *f, struct fake_sock *s)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_EV_FLOW, 0)};
	bool ended = s->fin_sent || !s->peer || s->flags & PROTO_FLOW_CLOSED;
	bool gone = s->closed && ended && !f->hold_gone;

	if (s->pending || shm_ring_prod_room(&f->comp[s->ctx][s->engine], 1) < 1)
		return;
	slot.body.flow = (struct proto_flow){
		.cookie = s->cookie,
		.gen = s->gen,
		.acked_pos = gone ? 0 : s->acked,
		.received_pos = s->received,
		.chunk = fake_told_chunk(s),
		.flags = s->flags | (s->lowat ? PROTO_FLOW_ANY_ROOM : 0) |
			 (gone ? PROTO_FLOW_CLOSED | PROTO_FLOW_GONE : 0),
		.error = s->error,
		.sndbuf_bytes = s->lowat && s->lowat < s->sndbuf ? s->lowat : s->sndbuf,
		.window_bytes = f->window_bytes ? f->window_bytes : (uint32_t)s->rcvbuf,
	};
	if (gone)
		slot.body.flow.chunk = PROTO_REF_NONE;
	fake_push(f, s->ctx, s->engine, &slot);
	s->told = s->received;
	s->dirty = false;
	if (!gone)
		return;
	fake_drop(f, s);
	if (s->peer && s->peer->peer == s)
		s->peer->peer = NULL;
	s->used = false;
	f->socks_used--;
}

static unsigned int fake_publish(struct fake *f)
{
	unsigned int work = 0;

	for (uint32_t i = 0; i < FAKE_SOCKS; i++) {
		struct fake_sock *s = &f->sock[i];

		if (!s->used)
			continue;
		work += fake_move(f, s);
	}
	for (uint32_t i = 0; i < FAKE_SOCKS; i++) {
		if (f->sock[i].used && f->sock[i].dirty && !f->sock[i].pending) {
			fake_tell(f, &f->sock[i]);
			work++;
		}
	}
	for (int i = 0; i < 16; i++) {
		struct fake_listener *l = &f->listener[i];

		for (uint32_t e = 0; l->used && e < f->engines; e++) {
			struct proto_slot slot = {.head = proto_head_make(PROTO_EV_LISTEN, 0)};

			while (l->queue[e] && l->kept_count[e]) {
				struct proto_slot q = l->kept[e][0].slot;
				uint32_t ctx = l->kept[e][0].ctx;

				fake_unkeep(l, ctx, e, proto_head_request(q.head));
				fake_accept(f, ctx, e, &q);
				work++;
			}
			if (l->count[e] == l->told[e])
				continue;
			slot.body.listen_state = (struct proto_listen_state){.cookie = l->cookie,
				.gen = l->gen,
				.pending = l->count[e],
				.listen_seq = l->seq[e]};
			if (fake_push(f, l->ctx, e, &slot))
				l->told[e] = l->count[e];
			work++;
		}
	}
	for (uint32_t c = 0; c < f->contexts; c++) {
		if (f->pushed[c] && shm_sleep_check(&proto_layout_ctx_line(
					    &f->layout, f->seg[SHM_DOWN][0].base, c)
							     ->sleeping))
			shm_doorbell_pipe_ring(f->pipe[c]);
		f->pushed[c] = false;
	}
	return work;
}

/* -- control socket ------------------------------------------------------------------------ */

static void fake_reply(struct fake *f, const void *m, size_t len, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * 130)];
	} control = {0};
	struct iovec iov = {0};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	union {
		const void *in;
		void *out;
	} u = {m};

	iov = (struct iovec){u.out, len};
	if (n) {
		h.msg_control = control.buf;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		*CMSG_FIRSTHDR(&h) = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * n),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), fds, sizeof(int) * n);
	}
	sendmsg(f->control, &h, MSG_NOSIGNAL);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void fake_attach(struct fake *f, const union proto_msg *q)
{
	struct proto_msg_attached a = {.h = q->h,
		.session = 1,
		.engines = f->engines,
		.ring_order_log2 = f->ring_order_log2,
		.down_max_bytes = f->down_max_bytes,
		.sndbuf_bytes = f->sndbuf_bytes,
		.rcvbuf_bytes = f->rcvbuf_bytes,
		.sockets_max = 1000,
		.addr_count = 3,
		.mtu_bytes = 1500,
		.congestion_count = 2,
		.congestion = 1,
		.congestion_name = {"newreno", "cubic"}};
	int fds[2 + PROTO_CONTEXTS_MAX + PROTO_ENGINES_MAX], n = 0;

	a.contexts = f->contexts;
	memcpy(a.addr[0].addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	a.addr[0].prefix_bits = 96 + 24;
	memcpy(a.addr[1].addr, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	a.addr[1].prefix_bits = 64;
	memcpy(a.addr[2].addr, "\x20\x01\x0d\xb8\0\x02\0\0\0\0\0\0\0\0\0\0", 16);
	a.addr[2].prefix_bits = 48;
	a.addr[2].flags = PROTO_ADDR_PREFIX;
	a.down_bytes = f->seg[SHM_DOWN][0].len_bytes;
	a.up_bytes = f->seg[SHM_UP][0].len_bytes;
	fds[n++] = shm_segment_export(&f->seg[SHM_DOWN][0]);
	fds[n++] = shm_segment_export(&f->seg[SHM_UP][0]);
	for (uint32_t i = 0; i < f->contexts; i++) {
		int p[2];

		shm_doorbell_pipe(p);
		fds[n++] = p[0];
		f->pipe[i] = p[1];
	}
	for (uint32_t i = 0; i < f->engines; i++)
		fds[n++] = dup(f->eventfd[i]);
	fake_reply(f, &a, sizeof(a), fds, (size_t)n);
}

static void fake_add_segment(struct fake *f, enum shm_direction dir, uint64_t bytes)
{
	uint32_t idx = f->segs[dir];
	struct proto_msg_segment m = {
		.h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .type = PROTO_MSG_SEGMENT},
		.direction = dir,
		.index = idx};
	int fd, rc = shm_segment_create(&f->seg[dir][idx], dir, bytes, false);

	assert(!rc);
	f->segs[dir]++;
	m.bytes = f->seg[dir][idx].len_bytes;
	fd = shm_segment_export(&f->seg[dir][idx]);
	fake_reply(f, &m, sizeof(m), &fd, 1);
}

static void fake_listen(struct fake *f, union proto_msg *q)
{
	for (uint32_t i = 0; i < 16; i++) {
		struct fake_listener *l = &f->listener[i];

		if (l->used)
			continue;
		*l = (struct fake_listener){.used = true,
			.gen = ++f->next_gen,
			.cookie = q->name.cookie,
			.ctx = q->name.context,
			.port = q->name.port};
		q->name.listener = (struct proto_handle){i, l->gen};
		return;
	}
}

static void fake_unlisten(struct fake *f, const union proto_msg *q)
{
	struct fake_listener *l = &f->listener[q->name.listener.idx];

	assert(l->used && l->gen == q->name.listener.gen);
	l->used = false;
	for (uint32_t e = 0; e < f->engines; e++) {
		for (struct fake_sock *s = l->queue[e]; s; s = s->queue_next) {
			fake_reset(f, s->peer, ECONNRESET);
			fake_drop(f, s);
			s->used = false;
			f->socks_used--;
		}
	}
}

static unsigned int fake_control(struct fake *f)
{
	union proto_msg q;
	ssize_t n = recv(f->control, &q, sizeof(q), MSG_DONTWAIT);

	if (n <= 0)
		return 0;
	assert(!proto_msg_request_check(&q, (size_t)n));
	if (f->answer_late)
		return 1; /* never, to be exact */
	switch (q.h.type) {
	case PROTO_MSG_ATTACH:
		fake_attach(f, &q);
		return 1;
	case PROTO_MSG_BIND:
		if (!q.name.port)
			q.name.port = (uint16_t)(50000 + f->next_port++ % 10000);
		q.h.result = fake_listener_at(f, q.name.port) ? -EADDRINUSE : 0;
		break;
	case PROTO_MSG_LISTEN:
		fake_listen(f, &q);
		break;
	case PROTO_MSG_UNLISTEN:
		fake_unlisten(f, &q);
		break;
	case PROTO_MSG_GROW:
		fake_add_segment(f, SHM_DOWN, q.grow.bytes);
		break;
	}
	fake_reply(f, &q, (size_t)n, NULL, 0);
	return 1;
}

/* -- the thread ---------------------------------------------------------------------------- */

static void fake_watch(struct fake *f, bool watch)
{
	for (uint32_t c = 0; c < f->contexts; c++) {
		for (uint32_t e = 0; e < f->engines; e++) {
			struct proto_submission_line *line = proto_layout_submission_line(
				&f->layout, f->seg[SHM_UP][0].base, c, e);

			if (watch)
				shm_sleep_cancel(&line->unwatched);
			else
				shm_sleep_set(&line->unwatched);
		}
	}
	atomic_thread_fence(memory_order_seq_cst);
}

static bool fake_ready(struct fake *f)
{
	for (uint32_t c = 0; c < f->contexts; c++)
		for (uint32_t e = 0; e < f->engines; e++)
			if (shm_ring_cons_ready(&f->sub[c][e]))
				return true;
	return false;
}

static void fake_sleep(struct fake *f)
{
	struct pollfd p[1 + PROTO_ENGINES_MAX] = {{.fd = f->control, .events = POLLIN}};
	bool waiting = false;

	for (uint32_t i = 0; i < FAKE_SOCKS && !waiting; i++)
		waiting = f->sock[i].used && f->sock[i].tx; /* for the client to read, or a knob */
	fake_watch(f, false);
	if (!fake_ready(f)) {
		for (uint32_t e = 0; e < f->engines; e++)
			p[1 + e] = (struct pollfd){.fd = f->eventfd[e], .events = POLLIN};
		poll(p, 1 + f->engines, waiting ? 1 : 200);
		for (uint32_t e = 0; e < f->engines; e++) {
			uint64_t v;

			if (p[1 + e].revents && read(f->eventfd[e], &v, sizeof(v)) < 0)
				abort();
		}
	}
	fake_watch(f, true);
}

static void *fake_run(void *arg)
{
	struct fake *f = arg;
	unsigned int idle = 0;

	while (!f->stop) {
		unsigned int work;

		if (f->pause) {
			f->paused = true;
			usleep(200);
			continue;
		}
		work = fake_control(f) + fake_submissions(f) + fake_publish(f);
		idle = work ? 0 : idle + 1;
		if (idle > FAKE_IDLE_TURNS)
			fake_sleep(f);
	}
	return NULL;
}

static void fake_layout(struct fake *f)
{
	uint8_t *down, *up;
	int rc = proto_layout_init(&f->layout, f->contexts, f->engines, f->ring_order_log2);

	rc |= shm_segment_create(
		&f->seg[SHM_DOWN][0], SHM_DOWN, f->layout.down_payload + f->down_bytes, false);
	rc |= shm_segment_create(
		&f->seg[SHM_UP][0], SHM_UP, f->layout.up_payload + (8 << 20), false);
	assert(!rc);
	f->segs[SHM_DOWN] = f->segs[SHM_UP] = 1;
	down = f->seg[SHM_DOWN][0].base;
	up = f->seg[SHM_UP][0].base;
	f->header = (struct proto_up_header *)(void *)up;
	for (uint32_t c = 0; c < f->contexts; c++) {
		for (uint32_t e = 0; e < f->engines; e++) {
			const struct proto_layout *l = &f->layout;

			shm_ring_cons_init(&f->sub[c][e],
				proto_layout_submission_slots(l, down, c, e),
				&proto_layout_submission_line(l, up, c, e)->cons_idx,
				l->ring_order_log2);
			shm_ring_prod_init(&f->comp[c][e],
				proto_layout_completion_slots(l, up, c, e),
				proto_layout_completion_idx(l, down, c, e), l->ring_order_log2);
		}
	}
	fake_add_units(f, 0, f->layout.up_payload);
}

/* Defaults; change what you like before fake_start(). */
static struct fake *fake_new(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	f->contexts = 2;
	f->engines = 2;
	f->ring_order_log2 = 8;
	f->down_bytes = 4 << 20;
	f->down_max_bytes = 16 << 20;
	f->sndbuf_bytes = 256 << 10;
	f->rcvbuf_bytes = 256 << 10;
	f->seed = 1;
	return f;
}

/* Starts the daemon and attaches this process to it. */
static int fake_start(struct fake *f)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -1;
	f->control = fds[0];
	for (uint32_t e = 0; e < f->engines; e++)
		f->eventfd[e] = shm_doorbell_event();
	fake_layout(f);
	pthread_create(&f->thread, NULL, fake_run, f);
	return mtcpi_attach_fd(fds[1]);
}

/* The daemon dies, as by kill -9. */
static void fake_kill(struct fake *f)
{
	if (f->stop)
		return;
	f->stop = true;
	pthread_join(f->thread, NULL);
	close(f->control);
	for (uint32_t c = 0; c < f->contexts; c++)
		close(f->pipe[c]);
	for (uint32_t e = 0; e < f->engines; e++)
		close(f->eventfd[e]);
}

/* The daemon does nothing until `pause` is taken back. */
static inline void fake_pause(struct fake *f)
{
	f->paused = false;
	f->pause = true;
	for (uint32_t e = 0; e < f->engines; e++)
		shm_doorbell_event_ring(f->eventfd[e]); /* it may sleep */
	while (!f->paused)
		usleep(200);
}

/* Waits until the daemon holds nothing of ours any more: no socket, no chunk. */
static inline bool fake_is_clean(struct fake *f)
{
	for (int i = 0; i < 60000; i++) {
		if (!f->socks_used && !f->chunks_used && !f->pieces_used)
			return true;
		usleep(1000);
	}
	return false;
}

static void fake_free(struct fake *f)
{
	fake_kill(f);
	for (uint32_t i = 0; i < FAKE_SOCKS; i++)
		fake_drop(f, &f->sock[i]);
	for (int dir = 0; dir < 2; dir++)
		for (uint32_t i = 0; i < f->segs[dir]; i++)
			shm_segment_destroy(&f->seg[dir][i]);
	free(f);
}

/* -- what tests share ---------------------------------------------------------------------- */

static struct fake *fake; /* of the running test */

static int fake_setup(void **state)
{
	(void)state;
	fake = fake_new();
	return fake_start(fake);
}

static int fake_teardown(void **state)
{
	(void)state;
	mtcp_detach();
	fake_free(fake);
	return 0;
}

static struct sockaddr_in fake_addr(uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, "10.0.0.2", &sa.sin_addr);
	return sa;
}

static int fake_connected(uint16_t port, int type)
{
	struct sockaddr_in sa = fake_addr(port);
	int sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);

	assert_true(sd >= 0);
	assert_int_equal(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	if (type & SOCK_NONBLOCK)
		assert_int_equal(mtcp_fcntl(sd, F_SETFL, O_NONBLOCK), 0);
	return sd;
}

static inline int fake_listening(uint16_t port, int type)
{
	struct sockaddr_in sa = fake_addr(port);
	int sd = mtcp_socket(AF_INET, SOCK_STREAM | type, 0);

	sa.sin_addr.s_addr = INADDR_ANY;
	assert_true(sd >= 0);
	assert_int_equal(mtcp_bind(sd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(mtcp_listen(sd, 128), 0);
	return sd;
}

/* The byte at position pos of a test stream. */
static inline uint8_t fake_byte(uint64_t pos)
{
	return (uint8_t)(pos * 131 + (pos >> 8) * 17 + (pos >> 16));
}

#define assert_errno(expression, expected)                                                         \
	do {                                                                                       \
		errno = 0;                                                                         \
		assert_int_equal((expression), -1);                                                \
		assert_int_equal(errno, (expected));                                               \
	} while (0)

#endif
