#include "sim_check.h"

#include "sim_client.h"
#include "sim_fail.h"

#include <engine/internal.h>

static const struct tcp_conn *conn_of(const struct engine *e, uint32_t i)
{
	return shm_arena_at(&e->conns, i);
}

/* A window has room for two segments, however small the buffer. */
static uint64_t window_max(const struct engine *e)
{
	const struct engine_limits *l = &e->cfg.limits;
	uint64_t bytes =
		l->rcvbuf_bytes > l->rcvbuf_max_bytes ? l->rcvbuf_bytes : l->rcvbuf_max_bytes;

	return bytes + 2 * (uint64_t)e->cfg.tcp.mss_max_bytes;
}

static void check_send_order(const struct tcp_conn *c, uint32_t i)
{
	SIM_INVARIANT("send-order",
		c->snd_una_pos <= c->snd_end_pos && tcp_conn_una(c) <= tcp_conn_snd_nxt(c) &&
			tcp_conn_snd_nxt(c) <= tcp_conn_snd_max(c) &&
			tcp_conn_snd_max(c) <= tcp_conn_end(c),
		"conn %u (%s): una %llu nxt %llu max %llu end %llu", i,
		tcp_state_name((enum tcp_state)c->state), (unsigned long long)tcp_conn_una(c),
		(unsigned long long)tcp_conn_snd_nxt(c), (unsigned long long)tcp_conn_snd_max(c),
		(unsigned long long)tcp_conn_end(c));
}

static void check_receive_window(const struct engine *e, const struct tcp_conn *c, uint32_t i)
{
	SIM_INVARIANT("receive-window", tcp_conn_rcv_wnd(c) <= window_max(e),
		"conn %u: rcv_nxt %llu, window %u", i, (unsigned long long)c->rcv_nxt_pos,
		tcp_conn_rcv_wnd(c));
}

/* The scoreboard is the flight, piece by piece. */
static void check_scoreboard(const struct tcp_conn *c, const struct tcp_score *s, uint32_t i)
{
	uint64_t pos = s->start_pos;

	SIM_INVARIANT("scoreboard",
		pos == tcp_conn_una(c) && tcp_score_end(s) == tcp_conn_snd_nxt(c),
		"conn %u: it is not the flight", i);
	for (uint32_t k = 0; k < s->count; k++) {
		const struct tcp_record *r = &s->rec[s->first + k];

		SIM_INVARIANT("scoreboard",
			r->end_pos > pos &&
				(!(r->flags & TCP_PIECE_SACKED) || r->flags == TCP_PIECE_SACKED),
			"conn %u: record %u to %llu has flags %x", i, k,
			(unsigned long long)r->end_pos, r->flags);
		pos = r->end_pos;
	}
}

/* RFC 6675 SetPipe(): what is in the network is what was neither SACKed nor given up. */
static uint64_t count_pipe(const struct tcp_score *s)
{
	uint64_t pos = s->start_pos, pipe = 0;

	for (uint32_t k = 0; k < s->count; k++) {
		const struct tcp_record *r = &s->rec[s->first + k];

		if (!(r->flags & (TCP_PIECE_SACKED | TCP_PIECE_LOST)))
			pipe += r->end_pos - pos;
		pos = r->end_pos;
	}
	return pipe;
}

static void check_pipe(const struct engine *e, const struct tcp_conn *c, uint32_t i)
{
	const struct tcp_score *s = tcp_conn_score(&e->tcp, c);
	uint64_t pipe = tcp_conn_pipe(&e->tcp, c);

	if (!s) {
		SIM_INVARIANT("pipe", pipe == tcp_conn_flight(c), "conn %u: not the flight", i);
		return;
	}
	check_scoreboard(c, s, i);
	SIM_INVARIANT("pipe",
		pipe == count_pipe(s) && tcp_score_bytes(s, TCP_PIECE_SACKED) == s->sacked_bytes,
		"conn %u: %llu, %llu by the scoreboard; sacked %u lost %u", i,
		(unsigned long long)pipe, (unsigned long long)count_pipe(s), s->sacked_bytes,
		s->lost_bytes);
}

static void check_owner(const struct engine *e, const struct tcp_conn *c, uint32_t i)
{
	SIM_INVARIANT("owner",
		c->state == TCP_CLOSED || !(c->due_flags & CONN_PENDING) || e->listeners[c->owner],
		"conn %u waits for a listener that is gone", i);
}

/* Whether the connection will do something by itself sooner or later, and so needs a timer. */
static bool must_act(const struct tcp_conn *c)
{
	switch (c->state) {
	case TCP_CLOSED:
	case TCP_LISTEN:
		return false;
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		return tcp_conn_una(c) < tcp_conn_end(c);
	case TCP_FIN_WAIT_2:
		return tcp_conn_has(c, TCP_F_ORPHAN);
	default:
		return true;
	}
}

static void check_owed(const struct tcp_conn *c, uint32_t i)
{
	SIM_INVARIANT("owed", !(c->owe & ~TCP_OWE_TAIL) || c->state == TCP_CLOSED,
		"conn %u (%s) owes %x and is not due", i, tcp_state_name((enum tcp_state)c->state),
		c->owe);
}

static void check_deadline(
	const struct engine *e, const struct tcp_conn *c, uint32_t i, uint64_t now_us)
{
	const struct tcp_entry *t = &c->entry;
	uint64_t armed_us = tcp_wheel_armed_us(&e->wheel, t);

	SIM_INVARIANT("deadline", !must_act(c) || t->deadline_us != UINT64_MAX,
		"conn %u (%s) has none", i, tcp_state_name((enum tcp_state)c->state));
	if (c->state == TCP_CLOSED || t->deadline_us == UINT64_MAX)
		return;
	SIM_INVARIANT("deadline", armed_us <= t->deadline_us + TCP_WHEEL_TICK_US,
		"conn %u: armed for %llu, due at %llu", i, (unsigned long long)armed_us,
		(unsigned long long)t->deadline_us);
	SIM_INVARIANT("deadline", t->deadline_us + 2 * TCP_WHEEL_TICK_US > now_us,
		"conn %u: passed %llu us ago", i, (unsigned long long)(now_us - t->deadline_us));
}

/* What the peer of a connection that counts may still send. */
static uint64_t unfilled(const struct engine *e, const struct tcp_conn *c)
{
	const struct sock *sk = c->due_flags & CONN_PENDING || c->owner == NONE
					? NULL
					: (const struct sock *)shm_arena_at(&e->socks, c->owner);
	uint64_t bytes = tcp_conn_rcv_wnd(c);

	if (!sk || !(sk->flags & SOCK_PROMISED))
		return 0;
	for (uint32_t k = c->rxq_head; k != NONE;) {
		const struct rx_chunk *chunk = shm_arena_at(&e->chunks, k);

		if (chunk->start_pos >= c->rcv_nxt_pos)
			bytes -= chunk->len;
		k = chunk->next;
	}
	return bytes;
}

static void check_promised(const struct engine *e, uint64_t unfilled_bytes)
{
	uint64_t promised = 0;

	for (uint32_t i = 0; i < e->session_capacity; i++)
		if (e->sessions[i])
			promised += e->sessions[i]->promised_bytes;
	SIM_INVARIANT("promised", promised == unfilled_bytes,
		"sessions count %llu bytes, windows have %llu", (unsigned long long)promised,
		(unsigned long long)unfilled_bytes);
}

static void check_session_memory(const struct sim_host *h)
{
	for (uint32_t i = 1; i <= h->last_session; i++)
		SIM_INVARIANT("session-memory",
			!h->clients[i] ||
				h->clients[i]->up_bytes <= h->clients[i]->cfg.up_max_bytes +
								   h->clients[i]->layout.up_payload,
			"session %u has too much", i);
}

void sim_check_turn(const struct sim_host *h, uint64_t now_us)
{
	const struct engine *e = h->engine;
	uint64_t unfilled_bytes = 0;

	for (uint32_t i = 0, left = e->conns.used; left; i++) {
		const struct tcp_conn *c = conn_of(e, i);

		if (!shm_arena_is_used(&e->conns, i))
			continue;
		left--;
		if (c->due_flags & CONN_RELEASED)
			continue;
		unfilled_bytes += unfilled(e, c);
		check_send_order(c, i);
		check_receive_window(e, c, i);
		check_pipe(e, c, i);
		check_owner(e, c, i);
		if (c->due_flags & (CONN_DUE | CONN_WAITS_NEIGH))
			continue;
		check_owed(c, i);
		check_deadline(e, c, i, now_us);
	}
	check_promised(e, unfilled_bytes);
	check_session_memory(h);
}

static void check_lent(const struct engine *e)
{
	uint32_t chunks = e->pending_chunks.chunks_used, descs = 0;

	for (uint32_t i = 0; i < e->session_capacity; i++) {
		if (!e->sessions[i])
			continue;
		chunks += e->sessions[i]->chunks.chunks_used;
		descs += e->sessions[i]->tx_descs;
	}
	SIM_INVARIANT("lent", chunks == e->chunks.used && descs == e->descs.used,
		"%u chunks of %u, %u send descriptors of %u", chunks, e->chunks.used, descs,
		e->descs.used);
}

/* What is made for a connection in need ends with it, and there are no more than may be. */
static void check_engine_memory(const struct engine *e)
{
	const struct engine_limits *l = &e->cfg.limits;
	uint32_t conns = e->conns.used;

	SIM_INVARIANT("engine-memory",
		conns <= l->conns_max && e->halves.used <= l->halves_max &&
			e->tws.used <= l->tws_max && e->session_count <= l->sessions_max,
		"%u conns, %u halves, %u tws, %u sessions", conns, e->halves.used, e->tws.used,
		e->session_count);
	SIM_INVARIANT("engine-memory",
		e->extras.used <= conns && e->reasms.used <= conns && e->scores.used <= conns &&
			e->ccs.used <= conns,
		"%u extras, %u reassembly blocks, %u scoreboards, %u ccs of %u conns",
		e->extras.used, e->reasms.used, e->scores.used, e->ccs.used, conns);
}

void sim_check_memory(const struct sim_host *h)
{
	check_lent(h->engine);
	check_engine_memory(h->engine);
}

static void check_pool(const struct chunk_pool *p, const char *whose)
{
	SIM_CHECK(p->chunks_used == 0, "%s: %u chunks leaked", whose, p->chunks_used);
	SIM_CHECK(p->free_count == p->slab_count, "%s: %u of %u slabs are back", whose,
		p->free_count, p->slab_count);
}

bool sim_check_is_quiet(const struct sim_host *h)
{
	struct engine_gauges g;

	engine_gauges(h->engine, &g);
	return !g.conns && !g.halves && !g.tws && !g.socks && !g.orphans;
}

void sim_check_clean(const struct sim_host *h)
{
	const struct engine *e = h->engine;
	struct engine_gauges g;

	engine_gauges(e, &g);
	SIM_CHECK(sim_check_is_quiet(h), "left: %u conns, %u halves, %u tws, %u socks, %u orphans",
		g.conns, g.halves, g.tws, g.socks, g.orphans);
	SIM_CHECK(!g.chunks_used, "%u chunk descriptors leaked", g.chunks_used);
	SIM_CHECK(!e->descs.used, "%u send descriptors leaked", e->descs.used);
	SIM_CHECK(!e->reasms.used, "%u reassembly blocks leaked", e->reasms.used);
	SIM_CHECK(!e->scores.used, "%u scoreboards leaked", e->scores.used);
	SIM_CHECK(!e->extras.used, "%u blocks of struct tcp_extra leaked", e->extras.used);
	SIM_CHECK(!e->tunes.used, "%u blocks of tuning leaked", e->tunes.used);
	SIM_CHECK(!e->ccs.used, "%u congestion control blocks leaked", e->ccs.used);
	SIM_CHECK(e->due.head == NONE && e->neigh_waiters.head == NONE, "a list is not empty");
	check_pool(&e->pending_chunks, "pending pool");
	for (uint32_t i = 0; i < e->session_capacity; i++)
		if (e->sessions[i])
			check_pool(&e->sessions[i]->chunks, "session");
}
