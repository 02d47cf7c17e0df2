/* Flows: connections and compact entries from birth to death.
 *
 * A segment finds its entry in the flow table, or a listener, or nobody. What tcp/ answers
 * comes back as events, and flow_events() is the one place that acts on them: it frees
 * acknowledged send descriptors, marks the sock for publishing, queues the connection for
 * output, hands it to its listener, turns it into a compact TIME-WAIT entry or releases it.
 * After flow_events() the connection may be gone.
 *
 * A connection that its client still holds is kept in state CLOSED, out of table and wheel,
 * until the client closes it: what was received before stays readable.
 */
#include "internal.h"

#include <engine/claims.h>

#include <tcp/reply.h>

#include <errno.h>
#include <string.h>

enum {
	PORT_PROBES_MAX = 1024,
};

static uint64_t hash_of(const struct engine *e, const struct net_tuple *key)
{
	return tcp_table_hash(&e->table, key);
}

static tcp_ref conn_ref(const struct engine *e, const struct tcp_conn *c)
{
	return tcp_ref_make(TCP_KIND_CONN, conn_idx(e, c));
}

static void wheel_update(struct engine *e, struct tcp_conn *c)
{
	if (!tcp_wheel_holds(&e->wheel, &c->entry))
		tcp_wheel_update(&e->wheel, conn_ref(e, c));
}

static struct tcp_half *half_at(struct engine *e, uint32_t idx)
{
	return (struct tcp_half *)(void *)e->halves.base + idx;
}

static tcp_ref half_ref(const struct engine *e, const struct tcp_half *h)
{
	const struct tcp_half *all = (const struct tcp_half *)(const void *)e->halves.base;

	return tcp_ref_make(TCP_KIND_HALF, (uint32_t)(h - all));
}

static void init_engine_fields(struct tcp_conn *c)
{
	c->owner = NONE;
	c->rxq_head = c->rxq_tail = NONE;
	c->txq_head = c->txq_tail = NONE;
	c->due_next = NONE;
	c->due_flags = 0;
	c->entry.slot = TCP_SLOT_NONE;
	c->entry.deadline_us = UINT64_MAX;
}

static struct tcp_conn *conn_new(struct engine *e)
{
	uint32_t idx = shm_arena_alloc(&e->conns);

	if (idx == NONE) {
		e->counters.conns_full++;
		return NULL;
	}
	init_engine_fields(conn_at(e, idx));
	return conn_at(e, idx);
}

/* -- the due list ---------------------------------------------------------------------------- */

void flow_due(struct engine *e, struct tcp_conn *c)
{
	if (c->due_flags & (CONN_DUE | CONN_WAITS_NEIGH))
		return;
	c->due_flags |= CONN_DUE;
	conn_list_push(e, &e->due, c);
}

/* -- death ------------------------------------------------------------------------------------- */

/* Out of table and wheel: no segment and no timer finds it any more. */
static void unhook(struct engine *e, struct tcp_conn *c)
{
	tcp_wheel_remove(&e->wheel, conn_ref(e, c));
	if (!(c->due_flags & CONN_IN_TABLE))
		return;
	tcp_table_remove(&e->table, hash_of(e, &c->entry.key), conn_ref(e, c));
	c->due_flags &= (uint16_t)~CONN_IN_TABLE;
}

/* The due list is linked one way, and the next output comes by what is in it. */
static void free_conn(struct engine *e, struct tcp_conn *c)
{
	uint32_t next = c->due_next;

	if (c->due_flags & CONN_WAITS_NEIGH)
		engine_neigh_unwait(e, c);
	engine_extra_free(e, c);
	if (!(c->due_flags & CONN_DUE)) {
		shm_arena_free(&e->conns, conn_idx(e, c));
		return;
	}
	memset(c, 0, sizeof(*c));
	init_engine_fields(c);
	c->due_flags = CONN_DUE | CONN_RELEASED;
	c->due_next = next;
}

/* Frees the connection and tells its sock. */
static void release(struct engine *e, struct tcp_conn *c)
{
	struct sock *sk = conn_sock(e, c);

	if (c->due_flags & CONN_FASTOPEN)
		listener_fastopen_end(e, c);
	unhook(e, c);
	rxq_free(e, c);
	if (sk) {
		txq_free(e, c, sk);
		sock_conn_gone(e, sk);
	}
	free_conn(e, c);
}

static bool is_held(struct engine *e, const struct tcp_conn *c)
{
	struct sock *sk = conn_sock(e, c);

	return sk && !(sk->flags & (SOCK_CLOSED | SOCK_ORPHAN));
}

static bool waits_for_accept(const struct tcp_conn *c)
{
	return (c->due_flags & (CONN_PENDING | CONN_FRESH)) == CONN_PENDING;
}

/* CLOSED: nothing finds the connection any more. It stays while a client holds it, or will, since
 * accept hands it over and tells how it ended, as in Linux; and while its last segment, an RST,
 * waits to be sent. */
static void bury(struct engine *e, struct tcp_conn *c)
{
	if (is_held(e, c) || waits_for_accept(c) ||
		(c->due_flags & CONN_DUE && c->owe & TCP_OWE_RST))
		unhook(e, c);
	else
		release(e, c);
}

/* The compact entry idx takes the connection's place. */
static void tw_enter(struct engine *e, struct tcp_conn *c, uint32_t idx, uint64_t hash)
{
	tcp_ref ref = tcp_ref_make(TCP_KIND_TW, idx);
	struct tcp_tw *tw = shm_arena_at(&e->tws, idx);

	tw->gen = engine_gen(e);
	tcp_wheel_remove(&e->wheel, conn_ref(e, c));
	tcp_table_replace(&e->table, hash, conn_ref(e, c), ref);
	c->due_flags &= (uint16_t)~CONN_IN_TABLE;
	tcp_wheel_update(&e->wheel, ref);
}

/* TIME-WAIT of a connection that nobody holds: what is left is a compact entry, and, if `ack`, an
 * ACK that is owed. */
static void become_timewait(struct engine *e, struct tcp_conn *c, uint64_t hash, bool ack)
{
	uint32_t idx = shm_arena_alloc(&e->tws);
	struct tcp_tw none, *tw = idx == NONE ? &none : shm_arena_at(&e->tws, idx);
	struct tcp_out out;

	tcp_tw_init(&e->tcp, tw, c, e->now_us);
	if (ack)
		tcp_tw_ack(&e->tcp, tw, e->now_us, &out);
	if (idx == NONE)
		e->counters.timewait_full++;
	else
		tw_enter(e, c, idx, hash);
	release(e, c);
	if (ack)
		engine_tx_reply(e, &out);
}

static bool may_shrink(struct engine *e, const struct tcp_conn *c)
{
	return !is_held(e, c) && !(c->due_flags & CONN_PENDING);
}

/* The same before output, that is, if an entry can send what is to be sent. */
static bool may_shrink_now(struct engine *e, const struct tcp_conn *c, uint32_t events)
{
	return !(c->due_flags & (CONN_DUE | CONN_WAITS_NEIGH)) && may_shrink(e, c) &&
	       (!(events & TCP_EV_OUTPUT) || tcp_tw_can_ack(c));
}

static void release_tw(struct engine *e, tcp_ref ref)
{
	struct tcp_entry *t = tcp_space_entry(&e->space, ref);

	tcp_wheel_remove(&e->wheel, ref);
	tcp_table_remove(&e->table, hash_of(e, &t->key), ref);
	shm_arena_free(&e->tws, tcp_ref_idx(ref));
}

/* `replaced`: a connection has taken its place in the table. */
static void release_half(struct engine *e, struct tcp_half *h, bool replaced)
{
	struct listener *l = e->listeners[h->listener_idx];
	tcp_ref ref = half_ref(e, h);

	if (l && l->desc.handle.gen == h->listener_gen)
		l->halves--;
	tcp_wheel_remove(&e->wheel, ref);
	if (!replaced)
		tcp_table_remove(&e->table, hash_of(e, &h->entry.key), ref);
	shm_arena_free(&e->halves, tcp_ref_idx(ref));
}

/* -- events --------------------------------------------------------------------------------------
 */

/* An acknowledgement is news for a client when nothing is left to acknowledge or a quarter of
 * the send buffer came free: whoever waits for room is not woken for every segment's worth. */
static bool acked_is_news(const struct tcp_conn *c, const struct sock *sk)
{
	return c->snd_una_pos >= c->snd_end_pos ||
	       (uint32_t)c->snd_una_pos - sk->told_acked_low >= sk->sndbuf_bytes / 4;
}

/* What is rarely among the events: the connection comes, or goes. */
static __attribute__((noinline)) void tell_sock_life(
	struct engine *e, struct tcp_conn *c, struct sock *sk, uint32_t events)
{
	if (events & (TCP_EV_FIN | TCP_EV_ERROR | TCP_EV_CLOSED))
		rxq_promise_void(e, c, sk);
	if (events & TCP_EV_ESTABLISHED)
		sk->flow_flags |= PROTO_FLOW_ESTABLISHED;
	if (events & TCP_EV_FIN)
		sk->flow_flags |= PROTO_FLOW_FIN;
	if (events & TCP_EV_TIME_WAIT)
		sk->flow_flags |= PROTO_FLOW_ENDED;
	if (events & TCP_EV_ERROR)
		sk->error = c->error;
	if (events & (TCP_EV_CLOSED | TCP_EV_ERROR))
		sk->flow_flags |= PROTO_FLOW_CLOSED;
}

static void tell_sock(struct engine *e, struct tcp_conn *c, struct sock *sk, uint32_t events)
{
	const uint32_t life = TCP_EV_ESTABLISHED | TCP_EV_FIN | TCP_EV_ERROR | TCP_EV_CLOSED;
	bool news = events & (life | TCP_EV_RECEIVED | TCP_EV_TIME_WAIT);

	if (events & life)
		tell_sock_life(e, c, sk, events);
	if (events & TCP_EV_ACKED) {
		txq_acked(e, c, sk, c->snd_una_pos);
		if (c->flags & TCP_F_EXTRA)
			info_limit(e, c);
		news |= tune_acked(e, c, sk) || acked_is_news(c, sk);
	}
	if (news)
		sock_mark(e, sk);
	if (sk->flags & SOCK_ORPHAN && c->txq_head == NONE)
		session_orphan_done(e, sk);
}

/* It cannot be sent now; the timers run on. */
void flow_output_waits(struct engine *e, struct tcp_conn *c)
{
	tcp_output_waits(&e->tcp, c, e->now_us);
	wheel_update(e, c);
}

/* flow_events() where the hash of the key may be known; 0: it is not. */
static __attribute__((noinline)) void act(
	struct engine *e, struct tcp_conn *c, uint32_t events, uint64_t hash)
{
	struct sock *sk = conn_sock(e, c);

	if (sk)
		tell_sock(e, c, sk, events);
	if (events & TCP_EV_ESTABLISHED && c->due_flags & CONN_FRESH) {
		c->due_flags &= (uint16_t)~CONN_FRESH;
		listener_push(e, e->listeners[c->owner], c);
	}
	if (c->due_flags & CONN_FASTOPEN && c->state != TCP_SYN_RECEIVED)
		listener_fastopen_end(e, c);
	if (events & TCP_EV_TIME_WAIT && may_shrink_now(e, c, events)) {
		become_timewait(
			e, c, hash ? hash : hash_of(e, &c->entry.key), events & TCP_EV_OUTPUT);
		return;
	}
	if (events & TCP_EV_OUTPUT)
		flow_due(e, c);
	if (c->state == TCP_CLOSED)
		bury(e, c);
	else if (c->due_flags & CONN_WAITS_NEIGH && events & TCP_EV_OUTPUT)
		flow_output_waits(e, c);
	else if (!(c->due_flags & CONN_DUE)) /* output will move the deadline, and tell the wheel */
		wheel_update(e, c);
}

/* Acts on what tcp/ has decided. The connection may be gone afterwards. */
void flow_events(struct engine *e, struct tcp_conn *c, uint32_t events)
{
	if (events == TCP_EV_OUTPUT && c->state == TCP_ESTABLISHED &&
		!(c->due_flags & (CONN_FASTOPEN | CONN_WAITS_NEIGH)))
		flow_due(e, c); /* no news for anybody else, as when a client sends */
	else
		act(e, c, events, 0);
}

/* After output: what was owed is sent. */
void flow_after_output(struct engine *e, struct tcp_conn *c)
{
	if (c->due_flags & CONN_LOWAT)
		tune_sent(e, c, conn_sock(e, c));
	if (c->flags & TCP_F_EXTRA || c->snd_end_pos > tcp_conn_snd_nxt(c))
		info_limit(e, c);
	if (c->state == TCP_CLOSED)
		bury(e, c);
	else if (c->state == TCP_TIME_WAIT && may_shrink(e, c))
		become_timewait(e, c, hash_of(e, &c->entry.key), false);
	else
		wheel_update(e, c);
}

/* -- birth: active
 * --------------------------------------------------------------------------------- */

/* Linux lets a socket be both ends of a connection; whoever gets that meant something else. */
static bool is_to_itself(const struct net_tuple *key, uint16_t lport)
{
	return lport == key->rport && net_addr_equal(&key->local, &key->remote);
}

/* An ephemeral port of this engine's (handover.c) that is free for the tuple, from a random
 * start (RFC 6056 section 3.3.1). 0 if none is found among a bounded number: while one in
 * fifty is free, that is less likely than one in a million. */
static uint16_t choose_port(struct engine *e, struct net_tuple *key)
{
	uint32_t step = e->cfg.count;
	uint32_t first = e->cfg.port_first + (e->cfg.id + step - e->cfg.port_first % step) % step;
	uint32_t n = first > e->cfg.port_last ? 0 : (e->cfg.port_last - first) / step + 1;
	uint32_t start = n ? (uint32_t)(engine_random(e) % n) : 0;

	for (uint32_t i = 0; i < n && i < PORT_PROBES_MAX; i++) {
		uint16_t port = (uint16_t)(first + (start + i) % n * step);

		if (atomic_load_explicit(&e->cfg.port_owner[port], memory_order_relaxed))
			continue;
		if (is_to_itself(key, port))
			continue;
		key->lport = port;
		if (tcp_table_lookup(&e->table, hash_of(e, key), key) == (tcp_ref)TCP_REF_NONE)
			return port;
	}
	return 0;
}

/* Has the session bound the name from which it connects, be it as any address? */
static bool has_bound(const struct engine *e, const struct session *s, const struct net_tuple *key)
{
	static const struct net_addr any, any4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
	uint32_t id = s->desc.session;
	uint32_t owner = atomic_load_explicit(&e->cfg.port_owner[key->lport], memory_order_relaxed);
	const struct net_addr *family = net_addr_is_ip4(&key->local) ? &any4 : &claims_any6;
	const struct claims *c = e->cfg.claims;

	if (owner != CLAIMS_SHARED || !c)
		return owner == id;
	return claims_has(c, &key->local, key->lport, id) ||
	       claims_has(c, family, key->lport, id) || claims_has(c, &any, key->lport, id);
}

/* Fills the key from a client's request: 0 or -errno. */
static int connect_key(struct engine *e, const struct session *s, const struct proto_connect *req,
	struct net_tuple *key)
{
	struct net_hop hop;
	int rc;

	memcpy(key->remote.b, req->raddr, sizeof(key->remote.b));
	memcpy(key->local.b, req->laddr, sizeof(key->local.b));
	key->rport = req->rport;
	key->lport = req->lport;
	if (!key->rport)
		return -EADDRNOTAVAIL;
	rc = net_route_find(e->cfg.iface, &key->remote, &hop);
	if (rc)
		return rc;
	if (net_addr_is_any(&key->local) || net_addr_is_any4(&key->local))
		key->local = hop.src;
	else if (net_addr_is_ip4(&key->local) != net_addr_is_ip4(&key->remote) ||
		 !net_iface_has(e->cfg.iface, &key->local))
		return -EADDRNOTAVAIL;
	if (!key->lport) {
		if (choose_port(e, key))
			return 0;
		e->counters.ports_exhausted++;
		return -EADDRNOTAVAIL;
	}
	if (is_to_itself(key, key->lport) || handover_owner(e, key->lport) != e->cfg.id ||
		!has_bound(e, s, key))
		return -EADDRNOTAVAIL;
	return 0;
}

/* What the route says goes before the configured default, and a socket's own choice before both:
 * that is set later. */
static void route_congestion(struct engine *e, struct tcp_conn *c)
{
	const struct net_prefix_rule *rule =
		net_prefix_rule_find(e->cfg.cc_rules, e->cfg.cc_rule_count, &c->entry.key.remote);

	if (rule)
		tcp_set_congestion(&e->tcp, c, rule->value);
}

static void connect_options(
	struct engine *e, struct tcp_conn *c, struct sock *sk, const struct proto_connect *req)
{
	const struct engine_limits *lim = &e->cfg.limits;

	if (req->options & PROTO_OPTION_NODELAY)
		tcp_setopt(&e->tcp, c, TCP_OPT_NODELAY, true, e->now_us);
	if (req->options & PROTO_OPTION_KEEPALIVE)
		tcp_setopt(&e->tcp, c, TCP_OPT_KEEPALIVE, true, e->now_us);
	route_congestion(e, c);
	if (req->congestion) /* one that does not exist leaves the default */
		tcp_set_congestion(&e->tcp, c, req->congestion - 1);
	if (req->sndbuf_bytes)
		sock_set_sndbuf(sk, req->sndbuf_bytes, lim);
	if (req->rcvbuf_bytes)
		sock_set_rcvbuf(sk, req->rcvbuf_bytes, lim);
	if (req->options & PROTO_OPTION_RCVBUF_CLAMP)
		sk->flags &= (uint8_t)~SOCK_RCVBUF_SET;
}

/* A client's connect. 0 and *out, or -errno: as connect(2) would report it. */
int flow_connect(struct engine *e, struct session *s, uint16_t ctx, const struct proto_connect *req,
	struct sock **out)
{
	struct net_tuple key;
	struct tcp_conn *c;
	struct sock *sk;
	uint32_t events;
	int rc = connect_key(e, s, req, &key);

	if (rc)
		return rc;
	if (e->draining)
		return -ENETDOWN;
	if (s->conns >= e->cfg.limits.session_conns_max) {
		e->counters.session_conns_full++;
		return -EMFILE;
	}
	c = conn_new(e);
	if (!c)
		return -ENOBUFS;
	sk = sock_new(e, s, ctx, req->cookie);
	if (!sk) {
		free_conn(e, c);
		return -ENFILE;
	}
	sk->conn = conn_idx(e, c);
	c->owner = sock_idx(e, sk);
	sk->flags |= SOCK_PROMISED;
	events = tcp_connect(&e->tcp, c, &key, e->now_us);
	rc = tcp_table_insert(&e->table, hash_of(e, &key), conn_ref(e, c));
	if (rc) {
		sk->conn = NONE;
		sock_free(e, sk);
		free_conn(e, c);
		return rc == -EEXIST ? -EADDRNOTAVAIL : -ENOBUFS;
	}
	c->due_flags |= CONN_IN_TABLE;
	connect_options(e, c, sk, req);
	if (req->options & PROTO_OPTION_FASTOPEN)
		events = tcp_fastopen_connect(&e->tcp, c, e->now_us);
	e->counters.connects++;
	flow_events(e, c, events);
	*out = sk;
	return 0;
}

/* -- birth: passive
 * ----------------------------------------------------------------------------------- */

/* A connection that a segment for listener l has just made: it waits to be accepted. */
static void begin_pending(struct engine *e, const struct listener *l, struct tcp_conn *c)
{
	route_congestion(e, c);
	c->owner = l->idx;
	c->due_flags = CONN_PENDING | CONN_FRESH;
}

/* By the hash of the segment at hand. False: there is no room, and c is gone. */
static bool enter_table(struct engine *e, struct tcp_conn *c)
{
	if (tcp_table_insert(&e->table, e->rx_hash, conn_ref(e, c))) {
		e->counters.table_full++;
		free_conn(e, c);
		return false;
	}
	c->due_flags |= CONN_IN_TABLE;
	return true;
}

/* Third segment of a handshake: a connection takes the half-open entry's place, or, after a
 * cookie (`ref` none), a place of its own. */
static void promote(struct engine *e, struct listener *l, const struct tcp_half *h, tcp_ref ref,
	const struct tcp_segment *seg)
{
	struct tcp_conn *c;
	uint32_t events;

	if (listener_full(l) || e->draining) {
		e->counters.accept_queue_full++;
		return;
	}
	c = conn_new(e);
	if (!c)
		return;
	tcp_promote(&e->tcp, c, h, e->now_us);
	begin_pending(e, l, c);
	if (ref != (tcp_ref)TCP_REF_NONE) {
		tcp_table_replace(&e->table, e->rx_hash, ref, conn_ref(e, c));
		c->due_flags |= CONN_IN_TABLE;
		release_half(e, half_at(e, tcp_ref_idx(ref)), true);
	} else if (!enter_table(e, c)) {
		return;
	}
	events = tcp_input(&e->tcp, c, seg, e->now_us);
	if (c->due_flags & CONN_FRESH && !(events & TCP_EV_ESTABLISHED))
		release(e, c); /* not the ACK it seemed to be */
	else
		flow_events(e, c, events);
}

static void reply_if(struct engine *e, uint32_t events, const struct tcp_out *reply)
{
	if (events & TCP_EV_REPLY)
		engine_tx_reply(e, reply);
}

static bool cookies_valid(const struct engine *e)
{
	return e->cookie_us && e->now_us - e->cookie_us < COOKIE_LIFE_US;
}

/* While cookies are out, an ACK without one may be that of a connection whose first segments were
 * lost: only the very first proves the cookie, and a RST would forestall its repetition. */
static void listen_cookie(struct engine *e, struct listener *l, const struct tcp_segment *seg)
{
	struct tcp_out reply;
	struct tcp_half h;

	if (seg->flags & TCP_SYN) {
		e->counters.halves_full++;
		e->cookie_us = e->now_us;
		reply_if(e, tcp_cookie_reply(&e->tcp, seg, e->now_us, &reply), &reply);
	} else if (tcp_cookie_input(&e->tcp, &h, seg, e->now_us) & TCP_EV_PROMOTE) {
		promote(e, l, &h, (tcp_ref)TCP_REF_NONE, seg);
	} else if (!cookies_valid(e)) {
		reply_if(e, tcp_closed_input(&e->tcp, seg, &reply), &reply);
	}
}

static bool wants_fastopen(
	const struct engine *e, const struct listener *l, const struct tcp_segment *syn)
{
	return l->desc.fastopen_max && syn->opt.has_fastopen &&
	       e->cfg.tcp.fastopen & TCP_FASTOPEN_SERVER;
}

/* RFC 7413 section 4.2.2: does the SYN's data go to the listener at once? */
static bool may_fastopen(struct engine *e, struct listener *l, const struct tcp_segment *syn)
{
	if (!wants_fastopen(e, l, syn) || !syn->opt.fastopen_len)
		return false;
	if (!tcp_fastopen_valid(&e->tcp, syn, e->now_us)) {
		e->tcp_counters.fastopen_cookie_bad++;
		return false;
	}
	if (!syn->len || tcp_reply_is_land(syn))
		return false;
	if (!listener_fastopen_full(e, l))
		return true;
	e->counters.fastopen_full++;
	return false;
}

/* A connection in SYN-RECEIVED, waiting to be accepted. False: it must be an ordinary one. */
static bool fastopen(struct engine *e, struct listener *l, const struct tcp_segment *syn)
{
	struct tcp_conn *c = conn_new(e);
	uint32_t events;

	if (!c)
		return false;
	tcp_fastopen_accept(&e->tcp, c, syn, e->now_us);
	begin_pending(e, l, c);
	if (!enter_table(e, c))
		return false;
	events = tcp_fastopen_text(&e->tcp, c, syn, e->now_us);
	if (!(events & TCP_EV_RECEIVED)) { /* memory is out */
		release(e, c);
		return false;
	}
	c->due_flags &= (uint16_t)~CONN_FRESH;
	c->due_flags |= CONN_FASTOPEN;
	l->fastopen_pending++;
	listener_push(e, l, c);
	flow_events(e, c, events);
	return true;
}

/* A segment for a listening port that belongs to no entry. */
static void listen_segment(struct engine *e, struct listener *l, const struct tcp_segment *seg)
{
	bool syn = (seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	bool ack = (seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK;
	struct tcp_out reply;
	struct tcp_half *h;
	uint32_t idx, events;

	if (syn && (listener_full(l) || e->draining)) {
		e->counters.accept_queue_full++;
		return;
	}
	if (ack && cookies_valid(e)) {
		listen_cookie(e, l, seg);
		return;
	}
	if (!syn) { /* no entry comes of it */
		struct tcp_half none;

		reply_if(e, tcp_listen_input(&e->tcp, &none, seg, e->now_us, &reply), &reply);
		return;
	}
	if (may_fastopen(e, l, seg) && fastopen(e, l, seg))
		return;
	idx = shm_arena_alloc(&e->halves);
	if (idx == NONE) {
		listen_cookie(e, l, seg);
		return;
	}
	h = half_at(e, idx);
	events = tcp_listen_input(&e->tcp, h, seg, e->now_us, &reply);
	if (!(events & TCP_EV_REPLY)) {
		shm_arena_free(&e->halves, idx);
		return;
	}
	if (wants_fastopen(e, l, seg) && !tcp_fastopen_valid(&e->tcp, seg, e->now_us))
		tcp_fastopen_offer(&e->tcp, h, e->now_us, &reply);
	h->listener_idx = l->idx;
	h->listener_gen = l->desc.handle.gen;
	h->gen = engine_gen(e);
	h->entry.slot = TCP_SLOT_NONE;
	if (tcp_table_insert(&e->table, e->rx_hash, half_ref(e, h))) {
		e->counters.table_full++;
		shm_arena_free(&e->halves, idx);
		return;
	}
	l->halves++;
	tcp_wheel_update(&e->wheel, half_ref(e, h));
	engine_tx_reply(e, &reply);
}

/* -- segments
 * -------------------------------------------------------------------------------------------- */

static void nobody_segment(struct engine *e, const struct tcp_segment *seg)
{
	struct listener *l = listener_lookup(e, &seg->key);
	uint16_t owner = handover_owner(e, seg->key.lport);
	struct tcp_out reply;

	if (!(seg->flags & TCP_SYN) && handover_pass(e))
		return;
	if (l)
		listen_segment(e, l, seg);
	else if (owner == e->cfg.id || !handover_send(e, owner))
		reply_if(e, tcp_closed_input(&e->tcp, seg, &reply), &reply);
}

/* The first of two SYNs may have been answered by a cookie and the second by an entry. The peer
 * knows the cookie alone then, and the entry stands in its way. */
static bool half_is_passed_by(struct engine *e, const struct tcp_half *h,
	const struct tcp_segment *seg, struct tcp_half *cookie)
{
	return (seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK && seg->ack != h->iss + 1 &&
	       cookies_valid(e) &&
	       (tcp_cookie_input(&e->tcp, cookie, seg, e->now_us) & TCP_EV_PROMOTE);
}

static void half_segment(struct engine *e, tcp_ref ref, const struct tcp_segment *seg)
{
	struct tcp_half *h = half_at(e, tcp_ref_idx(ref));
	struct listener *l = e->listeners[h->listener_idx];
	struct tcp_half cookie;
	struct tcp_out reply;
	uint32_t events;

	if (!l || l->desc.handle.gen != h->listener_gen) {
		release_half(e, h, false);
		nobody_segment(e, seg);
		return;
	}
	if (half_is_passed_by(e, h, seg, &cookie)) {
		promote(e, l, &cookie, ref, seg);
		return;
	}
	events = tcp_half_input(&e->tcp, h, seg, e->now_us, &reply);
	reply_if(e, events, &reply);
	if (events & TCP_EV_PROMOTE &&
		tcp_half_defers(&e->tcp, h, seg, l->desc.defer_accept_us, e->now_us))
		return;
	if (events & TCP_EV_PROMOTE)
		promote(e, l, h, ref, seg);
	else if (events & TCP_EV_CLOSED)
		release_half(e, h, false);
	else
		tcp_wheel_update(&e->wheel, ref);
}

static void tw_segment(struct engine *e, tcp_ref ref, const struct tcp_segment *seg)
{
	struct tcp_tw *tw = shm_arena_at(&e->tws, tcp_ref_idx(ref));
	struct tcp_out reply;
	uint32_t events = tcp_tw_input(&e->tcp, tw, seg, e->now_us, &reply);

	reply_if(e, events, &reply);
	if (events & (TCP_EV_NEW_SYN | TCP_EV_CLOSED))
		release_tw(e, ref);
	else
		tcp_wheel_update(&e->wheel, ref);
	if (events & TCP_EV_NEW_SYN)
		nobody_segment(e, seg);
}

/* What was in the table when the burst was looked at, and still is. */
static bool is_found(struct engine *e, tcp_ref ref, const struct net_tuple *key)
{
	const struct tcp_conn *c;

	if (ref == (tcp_ref)TCP_REF_NONE || tcp_ref_kind(ref) != TCP_KIND_CONN)
		return false;
	c = conn_at(e, tcp_ref_idx(ref));
	return c->due_flags & CONN_IN_TABLE && net_tuple_equal(&c->entry.key, key);
}

void flow_segment(struct engine *e, const struct tcp_segment *seg, uint64_t hash, tcp_ref guess)
{
	struct tcp_conn *c;
	tcp_ref ref;

	e->rx_hash = hash;
	if (is_found(e, guess, &seg->key)) {
		c = conn_at(e, tcp_ref_idx(guess));
		act(e, c, tcp_input(&e->tcp, c, seg, e->now_us), hash);
		return;
	}
	ref = tcp_table_lookup(&e->table, hash, &seg->key);
	if (ref == (tcp_ref)TCP_REF_NONE) {
		nobody_segment(e, seg);
		return;
	}
	switch (tcp_ref_kind(ref)) {
	case TCP_KIND_CONN:
		c = conn_at(e, tcp_ref_idx(ref));
		act(e, c, tcp_input(&e->tcp, c, seg, e->now_us), hash);
		break;
	case TCP_KIND_HALF:
		half_segment(e, ref, seg);
		break;
	default:
		tw_segment(e, ref, seg);
		break;
	}
}

/* An ICMP error about a segment of ours; mtu_bytes nonzero: it was too big. Only connections
 * heed it. */
void flow_icmp(struct engine *e, const struct net_tuple *key, uint32_t seq, int error_errno,
	uint32_t mtu_bytes)
{
	tcp_ref ref = tcp_table_lookup(&e->table, hash_of(e, key), key);
	struct tcp_conn *c;

	if (ref == (tcp_ref)TCP_REF_NONE || tcp_ref_kind(ref) != TCP_KIND_CONN)
		return;
	c = conn_at(e, tcp_ref_idx(ref));
	flow_events(e, c,
		mtu_bytes ? tcp_icmp_too_big(&e->tcp, c, seq, mtu_bytes, e->now_us)
			  : tcp_icmp_error(&e->tcp, c, seq, error_errno, e->now_us));
}

/* -- timers
 * ------------------------------------------------------------------------------------------------
 */

static void half_timer(struct engine *e, tcp_ref ref)
{
	struct tcp_half *h = half_at(e, tcp_ref_idx(ref));
	struct tcp_out reply;
	uint32_t events = tcp_half_timer(&e->tcp, h, e->now_us, &reply);

	reply_if(e, events, &reply);
	if (events & TCP_EV_CLOSED)
		release_half(e, h, false);
	else
		tcp_wheel_update(&e->wheel, ref);
}

static bool is_alive(struct engine *e, tcp_ref ref)
{
	const struct shm_arena *arena[] = {&e->conns, &e->halves, &e->tws};

	uint32_t idx = tcp_ref_idx(ref);
	bool used = tcp_ref_kind(ref) == TCP_KIND_CONN
			    ? conn_is_used(e, idx)
			    : shm_arena_is_used(arena[tcp_ref_kind(ref)], idx);

	return used && tcp_space_entry(&e->space, ref)->slot == TCP_SLOT_NONE;
}

/* Serves due deadlines, a bounded number; returns how many. */
unsigned int flow_timers(struct engine *e)
{
	tcp_ref due[TIMERS_PER_TURN];
	unsigned int n = tcp_wheel_expire(&e->wheel, e->now_us, due, TIMERS_PER_TURN);

	for (unsigned int i = 0; i < n; i++) {
		if (!is_alive(e, due[i]))
			continue;
		switch (tcp_ref_kind(due[i])) {
		case TCP_KIND_CONN: {
			struct tcp_conn *c = conn_at(e, tcp_ref_idx(due[i]));

			flow_events(e, c, tcp_timer(&e->tcp, c, e->now_us));
			break;
		}
		case TCP_KIND_HALF:
			half_timer(e, due[i]);
			break;
		default:
			release_tw(e, due[i]);
			break;
		}
	}
	return n;
}

/* -- the user
 * -------------------------------------------------------------------------------------------------
 */

/* The connection that has waited longest becomes the client's. 0; or -EAGAIN if the session has
 * no room for its early data as long as other data is there to be read: it stays in the queue,
 * and the listener speaks up again when there may be room. If there is not enough in the whole
 * session it is reset, which the client sees as ECONNRESET. */
int flow_accept(struct engine *e, struct listener *l, struct sock *sk)
{
	struct session *s = e->sessions[sk->session];
	struct tcp_conn *c = listener_first(e, l);
	int rc = rxq_adopt(e, c, s);

	if (rc && s->chunks.chunks_used) {
		session_starve(e, s, l);
		return -EAGAIN;
	}
	if (rc)
		rxq_free(e, c); /* while it is known whose chunks these are */
	listener_pop(e, l);
	c->due_flags &= (uint16_t)~CONN_PENDING;
	c->owner = sock_idx(e, sk);
	sk->conn = conn_idx(e, c);
	sk->flow_flags |= PROTO_FLOW_ESTABLISHED;
	if (c->flags & TCP_F_FIN_RCVD)
		sk->flow_flags |= PROTO_FLOW_FIN;
	if (c->state == TCP_CLOSED) { /* only its RST waits to be sent */
		sk->error = c->error ? c->error : ECONNRESET;
		sk->flow_flags |= PROTO_FLOW_CLOSED;
	}
	if (rc) {
		sk->error = ECONNRESET;
		sk->flow_flags |= PROTO_FLOW_CLOSED;
		flow_events(e, c, tcp_abort(&e->tcp, c, e->now_us));
	} else {
		rxq_promise(e, c, sk);
		flow_events(e, c, tcp_consumed(&e->tcp, c, e->now_us)); /* the window may open */
	}
	return 0;
}

/* Nobody will use the connection again: FIN after what is unsent, or RST. */
void flow_close(struct engine *e, struct tcp_conn *c, bool abort)
{
	uint32_t events;

	if (c->state == TCP_CLOSED) {
		bury(e, c);
		return;
	}
	events = abort ? tcp_abort(&e->tcp, c, e->now_us) : tcp_close(&e->tcp, c, e->now_us);
	if (c->state == TCP_TIME_WAIT)
		events |= TCP_EV_TIME_WAIT;
	flow_events(e, c, events);
}

/* Shutdown of the daemon: FIN (or RST) on every connection. What a client still holds, it
 * sees as closed by the peer's side of the stack. */
void flow_drain(struct engine *e, bool abort)
{
	e->draining = true;
	for (uint32_t i = 0; i < e->conns.grown; i++) {
		struct tcp_conn *c;

		if (!conn_is_used(e, i))
			continue;
		c = conn_at(e, i);
		if (c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT)
			continue;
		flow_events(e, c,
			abort ? tcp_abort(&e->tcp, c, e->now_us)
			      : tcp_shutdown(&e->tcp, c, e->now_us));
	}
}
