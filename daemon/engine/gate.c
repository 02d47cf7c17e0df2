/* The gate: the trust boundary between clients and the engine.
 *
 * A submission slot is copied once (ring), judged in the copy (proto/decode.h: known
 * operation, known flags, reserved fields zero) and then checked against what only the
 * engine knows: that the handle is this session's, that references lie inside its payload,
 * that positions are possible. What a correct client may do at a wrong moment (a stale
 * handle, a closed connection) is answered or ignored and counted; what no correct client
 * does condemns the session, and nothing else.
 *
 * Answers go out at once: a slot that has one is executed only while the completion ring has
 * room for it; until then it stays in the ring's stash, and a client that does not
 * read its completions is not heard either. Slots without an answer never wait, so that a
 * client may wait for room to submit. Events wait in the dirty list of their ring. The engine
 * never waits for a client: a full ring is tried again later, at growing intervals.
 *
 * Watched rings are polled each turn. Whoever is told something is likely to say something: its
 * ring is watched, so that it need not ring. A ring that stays empty is unwatched: the flag is set,
 * a fence passed, the ring looked at once more (shm/doorbell.h); from then on the client
 * rings its eventfd, and engine_session_woken() watches all rings of that session again.
 */
#include "internal.h"

#include <proto/decode.h>

#include <errno.h>
#include <string.h>

enum {
	INFO_PARTS_MAX = 7, /* struct tcp_info in pieces */
	SLOTS_PER_RING_MIN = 4,
};

/* -- lists of rings ------------------------------------------------------------------------ */

#define RING_LIST(name)                                                                            \
	static void name##_add(struct ring **head, struct ring *r)                                 \
	{                                                                                          \
		r->name##_prev = NULL;                                                             \
		r->name##_next = *head;                                                            \
		if (*head)                                                                         \
			(*head)->name##_prev = r;                                                  \
		*head = r;                                                                         \
	}                                                                                          \
	static void name##_del(struct ring **head, struct ring *r)                                 \
	{                                                                                          \
		if (r->name##_prev)                                                                \
			r->name##_prev->name##_next = r->name##_next;                              \
		else                                                                               \
			*head = r->name##_next;                                                    \
		if (r->name##_next)                                                                \
			r->name##_next->name##_prev = r->name##_prev;                              \
	}
RING_LIST(active)
RING_LIST(publish)

void gate_watch(struct engine *e, struct ring *r)
{
	if (r->active || r->session->condemned || r->session->dying)
		return;
	shm_sleep_cancel(&r->line->unwatched);
	r->active = true;
	r->idle_turns = 0;
	r->session->watched++;
	active_add(&e->active, r);
}

void gate_unwatch(struct engine *e, struct ring *r)
{
	if (!r->active)
		return;
	r->active = false;
	r->session->watched--;
	active_del(&e->active, r);
	shm_sleep_set(&r->line->unwatched);
}

/* Unwatches a ring for the engine's sleep; the caller fences and looks at it once more. */
void gate_sleep(struct engine *e, struct ring *r)
{
	gate_unwatch(e, r);
	r->slept_next = e->slept;
	e->slept = r;
}

void gate_publish_later(struct engine *e, struct ring *r)
{
	if (r->publishing || r->session->dying)
		return;
	r->publishing = true;
	r->retry_at_us = 0;
	publish_add(&e->publish, r);
}

static void publish_done(struct engine *e, struct ring *r)
{
	r->publishing = false;
	r->retry_us = 0;
	publish_del(&e->publish, r);
}

void gate_forget(struct engine *e, struct ring *r)
{
	gate_unwatch(e, r);
	if (r->publishing)
		publish_done(e, r);
}

/* Pushes one slot; false if the ring is full or the client lies about its index. */
bool gate_push(struct engine *e, struct ring *r, const struct proto_slot *slot)
{
	int rc = shm_ring_prod_push(&r->completions, &slot->copy);

	if (rc == -EPROTO)
		session_condemn(e, r->session, PROTO_CONDEMNED_INDEX);
	if (rc)
		return false;
	r->pushed = true;
	gate_publish_later(e, r);
	return true;
}

/* -- operations ----------------------------------------------------------------------------- */

static void answer(struct engine *e, struct ring *r, uint32_t request, struct proto_result result)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_EV_RESULT, request)};

	slot.body.result = result;
	gate_push(e, r, &slot);
}

static void answer_code(struct engine *e, struct ring *r, const struct proto_slot *req, int code)
{
	answer(e, r, proto_head_request(req->head), (struct proto_result){.result = code});
}

/* The connection behind a handle, NULL (counted) if it is stale. */
static struct tcp_conn *find(
	struct engine *e, struct ring *r, struct proto_handle h, struct sock **sk)
{
	*sk = sock_lookup(e, r->session, h);
	if (!*sk || (*sk)->conn == NONE) {
		e->counters.stale_handles++;
		return NULL;
	}
	return conn_at(e, (*sk)->conn);
}

static enum proto_condemned op_connect(
	struct engine *e, struct ring *r, const struct proto_slot *req)
{
	struct sock *sk = NULL;
	struct proto_result res = {0};

	res.cookie = req->body.connect.cookie;
	res.result = flow_connect(e, r->session, r->ctx, &req->body.connect, &sk);
	if (!res.result) {
		const struct tcp_conn *c = conn_at(e, sk->conn);

		res.handle = (struct proto_handle){.idx = sock_idx(e, sk), .gen = sk->gen};
		memcpy(res.laddr, c->entry.key.local.b, sizeof(res.laddr));
		res.lport = c->entry.key.lport;
	}
	answer(e, r, proto_head_request(req->head), res);
	return PROTO_OK;
}

/* 0 and *out, or -errno as accept(2) would report it. */
static int accept_one(
	struct engine *e, struct ring *r, struct listener *l, uint32_t cookie, struct sock **out)
{
	struct session *s = r->session;
	int rc;

	if (!l)
		return -EBADF;
	if (!l->count)
		return -EAGAIN;
	if (s->conns >= e->cfg.limits.session_conns_max) {
		e->counters.session_conns_full++;
		return -EMFILE;
	}
	*out = sock_new(e, s, r->ctx, cookie);
	if (!*out)
		return -ENFILE;
	rc = flow_accept(e, l, *out);
	if (rc)
		sock_free(e, *out);
	return rc;
}

static void accept_failed(
	struct engine *e, struct ring *r, struct listener *l, uint32_t request, int rc)
{
	struct proto_result res = {.result = rc};

	if (rc == -EAGAIN) {
		res.listen_seq = l->seq;
		listener_told(l);
	}
	answer(e, r, request, res);
}

/* Gives the next connection of l (NULL: there is no such listener) as the answer to `request`, or
 * says why not. */
static void accept_answer(
	struct engine *e, struct ring *r, struct listener *l, uint32_t request, uint32_t cookie)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_EV_ACCEPTED, request)};
	struct sock *sk = NULL;
	int rc = accept_one(e, r, l, cookie, &sk);
	const struct tcp_conn *c;

	if (rc) {
		accept_failed(e, r, l, request, rc);
		return;
	}
	c = conn_at(e, sk->conn);
	slot.body.accepted = (struct proto_accepted){
		.handle = {.idx = sock_idx(e, sk), .gen = sk->gen},
		.cookie = sk->cookie,
		.lport = c->entry.key.lport,
		.rport = c->entry.key.rport,
		.pending = l->count,
		.listen_seq = l->seq,
	};
	memcpy(slot.body.accepted.laddr, c->entry.key.local.b, 16);
	memcpy(slot.body.accepted.raddr, c->entry.key.remote.b, 16);
	gate_push(e, r, &slot);
	listener_told(l);
	e->counters.accepted++;
	sock_mark(e, sk);
}

static enum proto_condemned op_accept(
	struct engine *e, struct ring *r, const struct proto_slot *req)
{
	const struct proto_accept *m = &req->body.accept;
	const struct kept_accept k = {proto_head_request(req->head), m->cookie, r->ctx};
	struct listener *l = listener_by_handle(e, m->listener);

	if (l && l->session != r->session->idx)
		l = NULL;
	if (m->flags & PROTO_ACCEPT_CANCEL) {
		if (l)
			listener_unkeep(l, k.ctx, k.request);
		answer_code(e, r, req, l ? -EAGAIN : -EBADF);
	} else if (l && !l->count && m->flags & PROTO_ACCEPT_KEEP && listener_keep(l, &k)) {
		e->counters.accepts_kept++;
	} else {
		accept_answer(e, r, l, k.request, k.cookie);
	}
	return PROTO_OK;
}

/* Gives what waits to who waited for it. False if an answer has no room now. */
bool gate_accept_kept(struct engine *e, struct listener *l)
{
	struct session *s = e->sessions[l->session];

	while (l->count && l->kept_count) {
		struct ring *r = &s->rings[l->kept[l->kept_head].ctx];
		int room = shm_ring_prod_room(&r->completions, 1);
		struct kept_accept k;

		if (room < 0)
			session_condemn(e, s, PROTO_CONDEMNED_INDEX);
		if (room < 1)
			return false;
		k = listener_kept_pop(l);
		accept_answer(e, r, l, k.request, k.cookie);
	}
	return true;
}

/* The daemon is going down and has closed the connection for its client, who cannot know: what
 * it still sends has no place, and its positions run ahead of ours. */
static bool shut_by_us(const struct tcp_conn *c, const struct sock *sk)
{
	return c->flags & TCP_F_SHUT && !sk->flow_shut;
}

/* Bytes that found no place: a crime only of a session that took more than its share. */
static enum proto_condemned send_failed(
	struct engine *e, struct tcp_conn *c, int error, uint32_t *events)
{
	if (error == -ENOBUFS) {
		e->counters.send_descriptors_full++;
		return PROTO_CONDEMNED_LIMIT;
	}
	e->counters.send_descriptors_empty++;
	*events |= tcp_abort(&e->tcp, c, e->now_us);
	return PROTO_OK;
}

/* What the client has taken; repeating it is no news. */
static bool consume(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t pos)
{
	uint64_t before_pos = sk->consumed_pos;

	if (pos <= before_pos)
		return false;
	sk->consumed_pos = pos;
	rxq_consumed(e, c, sk, pos);
	tune_consumed(e, sk, before_pos);
	return true;
}

static enum proto_condemned send_bytes(struct engine *e, struct tcp_conn *c, struct sock *sk,
	const struct proto_send *m, uint32_t *events)
{
	uint64_t end = m->pos + m->len_bytes;
	uint64_t skip;
	int rc;

	if (c->state == TCP_CLOSED || shut_by_us(c, sk))
		return PROTO_OK;
	if (end < m->pos || m->pos > c->snd_end_pos)
		return PROTO_CONDEMNED_POSITION;
	if (end <= c->snd_end_pos)
		return PROTO_OK; /* repeated */
	if (sk->flow_shut)
		return PROTO_CONDEMNED_POSITION;
	if (end - c->snd_una_pos > (uint64_t)e->cfg.limits.sndbuf_max_bytes * 2)
		return PROTO_CONDEMNED_LIMIT;
	skip = c->snd_end_pos - m->pos;
	rc = txq_append(e, c, sk, c->snd_end_pos, m->ref + skip, (uint32_t)(m->len_bytes - skip));
	if (rc)
		return send_failed(e, c, rc, events);
	*events |= tcp_send(&e->tcp, c, end, m->flags & PROTO_SEND_MORE, e->now_us);
	return PROTO_OK;
}

static enum proto_condemned op_send(struct engine *e, struct ring *r, const struct proto_slot *req)
{
	const struct proto_send *m = &req->body.send;
	enum proto_condemned reason;
	struct sock *sk;
	struct tcp_conn *c = find(e, r, m->handle, &sk);
	uint32_t events = 0;
	bool room;

	if (!session_down(r->session, m->ref, m->len_bytes))
		return PROTO_CONDEMNED_RANGE;
	if (!c)
		return PROTO_OK;
	if (m->consumed_pos > sock_told_pos(sk))
		return PROTO_CONDEMNED_POSITION;
	room = consume(e, c, sk, m->consumed_pos);
	reason = send_bytes(e, c, sk, m, &events);
	if (room && !(events & TCP_EV_OUTPUT)) /* else the window goes with the bytes */
		events |= tcp_consumed(&e->tcp, c, e->now_us);
	flow_events(e, c, events); /* though there be none: a deadline may have moved */
	return reason;
}

static enum proto_condemned op_consumed(
	struct engine *e, struct ring *r, const struct proto_slot *req)
{
	const struct proto_consumed *m = &req->body.consumed;
	struct sock *sk;
	struct tcp_conn *c = find(e, r, m->handle, &sk);
	uint32_t events;

	if (!c)
		return PROTO_OK;
	if (m->pos > sock_told_pos(sk))
		return PROTO_CONDEMNED_POSITION;
	if (!consume(e, c, sk, m->pos))
		return PROTO_OK;
	events = tcp_consumed(&e->tcp, c, e->now_us);
	if (events)
		flow_events(e, c, events);
	return PROTO_OK;
}

static enum proto_condemned op_shutdown(
	struct engine *e, struct ring *r, const struct proto_slot *req)
{
	const struct proto_shutdown *m = &req->body.shutdown;
	struct sock *sk;
	struct tcp_conn *c = find(e, r, m->handle, &sk);

	if (!c || c->state == TCP_CLOSED) /* what was sent since found no place: op_send() */
		return PROTO_OK;
	if (shut_by_us(c, sk))
		return PROTO_OK;
	if (m->pos != c->snd_end_pos)
		return PROTO_CONDEMNED_POSITION;
	if (sk->flow_shut)
		return PROTO_OK; /* repeated */
	sk->flow_shut = true;
	flow_events(e, c, tcp_shutdown(&e->tcp, c, e->now_us));
	return PROTO_OK;
}

static enum proto_condemned op_close(struct engine *e, struct ring *r, const struct proto_slot *req)
{
	struct sock *sk;
	struct tcp_conn *c = find(e, r, req->body.close.handle, &sk);
	bool abort;

	if (!c)
		return PROTO_OK;
	abort = req->body.close.flags & PROTO_CLOSE_ABORT || c->rcv_nxt_pos > sk->consumed_pos;
	sk->flags |= SOCK_CLOSED;
	rxq_free(e, c);
	if (abort)
		txq_free(e, c, sk);
	flow_close(e, c, abort);
	return PROTO_OK;
}

static int set_option(
	struct engine *e, struct tcp_conn *c, struct sock *sk, uint32_t option, uint64_t value)
{
	static const uint8_t tcp_name[PROTO_SET_COUNT] = {
		[PROTO_SET_NODELAY] = TCP_OPT_NODELAY,
		[PROTO_SET_KEEPALIVE] = TCP_OPT_KEEPALIVE,
		[PROTO_SET_CORK] = TCP_OPT_CORK,
		[PROTO_SET_KEEPIDLE_S] = TCP_OPT_KEEPIDLE_S,
		[PROTO_SET_KEEPINTVL_S] = TCP_OPT_KEEPINTVL_S,
		[PROTO_SET_KEEPCNT] = TCP_OPT_KEEPCNT,
		[PROTO_SET_SYNCNT] = TCP_OPT_SYNCNT,
		[PROTO_SET_USER_TIMEOUT_MS] = TCP_OPT_USER_TIMEOUT_MS,
		[PROTO_SET_LINGER2_S] = TCP_OPT_LINGER2_S,
		[PROTO_SET_QUICKACK] = TCP_OPT_QUICKACK,
		[PROTO_SET_MAXSEG] = TCP_OPT_MAXSEG,
	};
	enum tcp_option_name name;

	if (option == 0 || option >= PROTO_SET_COUNT)
		return -ENOPROTOOPT;
	if (option == PROTO_SET_SNDBUF) {
		sock_set_sndbuf(sk, value, &e->cfg.limits);
		sock_mark(e, sk);
		return 0;
	}
	if (option == PROTO_SET_CONGESTION)
		return tcp_set_congestion(&e->tcp, c, value);
	if (option == PROTO_SET_RCVBUF) {
		sock_set_rcvbuf(sk, value, &e->cfg.limits);
		return 0;
	}
	if (option == PROTO_SET_NOTSENT_LOWAT)
		return tune_set_lowat(e, c, sk, value);
	if (option == PROTO_SET_WINDOW_CLAMP)
		return tune_set_clamp(e, sk, value);
	name = (enum tcp_option_name)tcp_name[option];
	if (value < tcp_option_min(name) || value > tcp_option_max(name))
		return -EINVAL;
	if (!tcp_setopt_room(&e->tcp, c, name))
		return -ENOBUFS;
	flow_events(e, c, tcp_setopt(&e->tcp, c, name, (uint32_t)value, e->now_us));
	return 0;
}

static enum proto_condemned op_setopt(
	struct engine *e, struct ring *r, const struct proto_slot *req)
{
	const struct proto_setopt *m = &req->body.setopt;
	struct sock *sk;
	struct tcp_conn *c = find(e, r, m->handle, &sk);

	answer_code(e, r, req, c ? set_option(e, c, sk, m->option, m->value) : -EBADF);
	return PROTO_OK;
}

static enum proto_condemned op_info(struct engine *e, struct ring *r, const struct proto_slot *req)
{
	struct proto_slot slot = {
		.head = proto_head_make(PROTO_EV_INFO, proto_head_request(req->head))};
	struct proto_info_part *part = &slot.body.info_part;
	uint8_t info[INFO_PARTS_MAX * sizeof(part->bytes)];
	struct sock *sk;
	struct tcp_conn *c = find(e, r, req->body.info.handle, &sk);
	uint32_t total, parts = 0;

	if (!c) {
		answer_code(e, r, req, -EBADF);
		return PROTO_OK;
	}
	total = info_tcp(e, c, info, sizeof(info));
	for (uint32_t off = 0; off < total; off += part->len_bytes) {
		part->offset = (uint16_t)off;
		part->total_bytes = total;
		part->len_bytes =
			(uint16_t)(total - off < sizeof(part->bytes) ? total - off
								     : sizeof(part->bytes));
		memcpy(part->bytes, info + off, part->len_bytes);
		gate_push(e, r, &slot);
		parts++;
	}
	answer_code(e, r, req, (int)parts);
	return PROTO_OK;
}

static enum proto_condemned (*const operation[PROTO_OP_COUNT])(
	struct engine *, struct ring *, const struct proto_slot *) = {
	[PROTO_OP_CONNECT] = op_connect,
	[PROTO_OP_ACCEPT] = op_accept,
	[PROTO_OP_SEND] = op_send,
	[PROTO_OP_CONSUMED] = op_consumed,
	[PROTO_OP_SHUTDOWN] = op_shutdown,
	[PROTO_OP_CLOSE] = op_close,
	[PROTO_OP_SETOPT] = op_setopt,
	[PROTO_OP_INFO] = op_info,
};

/* -- polling ----------------------------------------------------------------------------------- */

/* How many slots the answer to an operation takes. */
static int answer_slots(uint8_t op)
{
	static const uint8_t slots[PROTO_OP_COUNT] = {
		[PROTO_OP_CONNECT] = 1,
		[PROTO_OP_ACCEPT] = 1,
		[PROTO_OP_SETOPT] = 1,
		[PROTO_OP_INFO] = INFO_PARTS_MAX + 1,
	};

	return slots[op];
}

/* Whether the answer to the operation in the stash (of known kind) fits. */
static bool has_room(struct engine *e, struct ring *r)
{
	int want = answer_slots(proto_head_op(r->stash.head));
	int room;

	if (!want)
		return true;
	room = shm_ring_prod_room(&r->completions, (uint32_t)want);
	if (room < 0)
		session_condemn(e, r->session, PROTO_CONDEMNED_INDEX);
	return room >= want;
}

/* The next slot into r->stash, where it stays until it is executed. */
static bool fetch(struct engine *e, struct ring *r)
{
	if (r->stashed)
		return true;
	if (!shm_ring_cons_pop(&r->submissions, &r->stash.copy))
		return false;
	r->stashed = true;
	e->counters.slots++;
	r->session->slots++;
	return true;
}

/* Executes one slot, if there is one. False: there is none, or its answer must wait. */
static bool take_one(struct engine *e, struct ring *r)
{
	int reason;

	if (!fetch(e, r))
		return false;
	reason = proto_op_judge(&r->stash);
	if (reason == PROTO_OK && !has_room(e, r)) {
		gate_publish_later(e, r);
		return false;
	}
	r->stashed = false;
	if (reason == PROTO_OK)
		reason = operation[proto_head_op(r->stash.head)](e, r, &r->stash);
	if (reason == PROTO_OK)
		return true;
	session_condemn(e, r->session, reason);
	return false;
}

/* What may be taken from a ring in one turn: the rings of a session share what it may do. */
static unsigned int budget_of(const struct engine *e, const struct ring *r)
{
	unsigned int share = e->cfg.limits.slots_per_turn / r->session->watched;

	return share > SLOTS_PER_RING_MIN ? share : SLOTS_PER_RING_MIN;
}

static unsigned int poll_ring(struct engine *e, struct ring *r)
{
	unsigned int budget = budget_of(e, r);
	unsigned int n = 0;

	while (n < budget && !r->session->condemned && take_one(e, r))
		n++;
	if (n) {
		shm_ring_cons_publish(&r->submissions);
		r->idle_turns = 0;
	} else if (r->stashed) {
		gate_unwatch(e, r); /* until there is room: gate_publish() */
	} else if (r->active && ++r->idle_turns > RING_IDLE_TURNS_MAX) {
		gate_unwatch(e, r);
		atomic_thread_fence(memory_order_seq_cst); /* pairs with shm_sleep_check */
		if (shm_ring_cons_ready(&r->submissions))
			gate_watch(e, r);
	}
	return n;
}

unsigned int gate_poll(struct engine *e)
{
	unsigned int work = 0;

	for (struct ring *r = e->active, *next; r; r = next) {
		next = r->active_next;
		work += poll_ring(e, r);
		if (r->session->desc.condemned &&
			atomic_load_explicit(r->session->desc.condemned, memory_order_relaxed))
			session_condemn(e, r->session, PROTO_CONDEMNED_HOLE);
	}
	return work;
}

void gate_drain(struct engine *e, struct session *s)
{
	for (uint16_t i = 0; i < s->desc.layout.contexts; i++) {
		struct ring *r = &s->rings[i];

		for (uint32_t n = 0; n <= r->submissions.mask && !s->condemned; n++)
			if (!take_one(e, r))
				break;
	}
}

/* -- publishing -----------------------------------------------------------------------------------
 */

/* The longer a client takes nothing the less often its full ring is tried; one that does take
 * events is served at once again, however long its backlog. */
static void publish_retry(struct engine *e, struct ring *r, bool progress)
{
	r->retry_us = r->retry_us && !progress ? r->retry_us * 2 : PUBLISH_RETRY_MIN_US;
	if (r->retry_us > PUBLISH_RETRY_MAX_US)
		r->retry_us = PUBLISH_RETRY_MAX_US;
	r->retry_at_us = e->now_us + r->retry_us;
	e->counters.events_delayed++;
}

static bool publish_dirty(struct engine *e, struct ring *r, unsigned int *work)
{
	while (r->dirty_head != NONE) {
		struct sock *sk = sock_at(e, r->dirty_head);
		uint32_t next = sk->dirty_next;

		if (!sock_publish(e, r, sk))
			return false;
		r->dirty_head = next;
		if (next == NONE)
			r->dirty_tail = NONE;
		(*work)++;
	}
	return true;
}

static void ring_doorbell(struct engine *e, struct ring *r)
{
	r->pushed = false;
	if (!shm_sleep_check_once(&r->ctx_line->sleeping, &r->rung))
		return;
	bell_ring(e, r);
}

static void publish_ring(struct engine *e, struct ring *r, unsigned int *work)
{
	unsigned int before = *work;

	if (!publish_dirty(e, r, work) || (r->stashed && !has_room(e, r))) {
		publish_retry(e, r, *work != before);
		return;
	}
	publish_done(e, r);
	if (r->stashed)
		gate_watch(e, r);
}

/* Publishes what changed; returns how many events went out. Answers may have gone out even
 * while events wait to be tried again: their reader is rung at once. */
unsigned int gate_publish(struct engine *e)
{
	unsigned int work = 0;

	listener_publish(e);
	for (struct ring *r = e->publish, *next; r; r = next) {
		next = r->publish_next;
		if (r->session->condemned) {
			publish_done(e, r);
			continue;
		}
		if (r->retry_at_us <= e->now_us)
			publish_ring(e, r, &work);
		if (!r->pushed)
			continue;
		if (!r->stashed)
			gate_watch(e, r);
		ring_doorbell(e, r);
	}
	return work;
}

/* When the next full ring is looked at again. A listener is dirty between turns only because
 * its ring was full. */
uint64_t gate_next_us(const struct engine *e)
{
	uint64_t next = e->listeners_dirty ? e->now_us + PUBLISH_RETRY_MAX_US : UINT64_MAX;

	for (const struct ring *r = e->publish; r; r = r->publish_next)
		if (r->retry_at_us < next)
			next = r->retry_at_us;
	return next;
}
