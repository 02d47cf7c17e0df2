#include "sim_check.h"

#include "sim_client.h"
#include "sim_fail.h"

#include <engine/internal.h>

static const struct tcp_conn *conn_of(const struct engine *e, uint32_t i)
{
	return shm_arena_at(&e->conns, i);
}

/* The scoreboard covers the flight, and its sums are right. */
static void check_score(const struct engine *e, const struct tcp_conn *c, uint32_t i)
{
	const struct tcp_score *s;
	uint64_t pos;

	SIM_CHECK(tcp_conn_pipe(&e->tcp, c) <= tcp_conn_flight(c), "conn %u: pipe past the flight",
		i);
	s = tcp_conn_score(&e->tcp, c);
	if (!s)
		return;
	pos = s->start_pos;
	SIM_CHECK(pos == tcp_conn_una(c) && tcp_score_end(s) == tcp_conn_snd_nxt(c),
		"conn %u: the scoreboard is not the flight", i);
	for (uint32_t k = 0; k < s->count; k++) {
		const struct tcp_record *r = &s->rec[s->first + k];

		SIM_CHECK(r->end_pos > pos, "conn %u: record %u is empty", i, k);
		SIM_CHECK(!(r->flags & TCP_PIECE_SACKED) || r->flags == TCP_PIECE_SACKED,
			"conn %u: record %u has flags %x", i, k, r->flags);
		pos = r->end_pos;
	}
	SIM_CHECK(tcp_score_bytes(s, TCP_PIECE_SACKED) == s->sacked_bytes &&
			  tcp_score_bytes(s, TCP_PIECE_LOST) == s->lost_bytes,
		"conn %u: sacked %u lost %u, the scoreboard disagrees", i, s->sacked_bytes,
		s->lost_bytes);
}

static void check_numbers(const struct sim_host *h, const struct tcp_conn *c, uint32_t i)
{
	SIM_CHECK(c->snd_una_pos <= c->snd_end_pos && tcp_conn_una(c) <= tcp_conn_snd_nxt(c) &&
			  tcp_conn_snd_nxt(c) <= tcp_conn_snd_max(c) &&
			  tcp_conn_snd_max(c) <= tcp_conn_end(c),
		"conn %u (%s): una %llu nxt %llu max %llu end %llu", i,
		tcp_state_name((enum tcp_state)c->state), (unsigned long long)tcp_conn_una(c),
		(unsigned long long)tcp_conn_snd_nxt(c), (unsigned long long)tcp_conn_snd_max(c),
		(unsigned long long)tcp_conn_end(c));
	check_score(h->engine, c, i);
	SIM_CHECK(tcp_conn_rcv_wnd(c) <= UINT32_MAX / 2, "conn %u: rcv_nxt past the edge", i);
	SIM_CHECK(c->state == TCP_CLOSED || !(c->due_flags & CONN_PENDING) ||
			  h->engine->listeners[c->owner],
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

static void check_deadline(
	const struct engine *e, const struct tcp_conn *c, uint32_t i, uint64_t now_us)
{
	const struct tcp_entry *t = &c->entry;
	uint64_t armed_us = tcp_wheel_armed_us(&e->wheel, t);

	if (c->due_flags & (CONN_DUE | CONN_WAITS_NEIGH))
		return;
	SIM_CHECK(!(c->owe & ~TCP_OWE_TAIL) || c->state == TCP_CLOSED,
		"conn %u (%s) owes %x and is not due", i, tcp_state_name((enum tcp_state)c->state),
		c->owe);
	SIM_CHECK(!must_act(c) || t->deadline_us != UINT64_MAX, "conn %u (%s) has no deadline", i,
		tcp_state_name((enum tcp_state)c->state));
	SIM_CHECK(c->state == TCP_CLOSED || t->deadline_us == UINT64_MAX ||
			  armed_us <= t->deadline_us + TCP_WHEEL_TICK_US,
		"conn %u: armed for %llu, deadline %llu", i, (unsigned long long)armed_us,
		(unsigned long long)t->deadline_us);
	SIM_CHECK(c->state == TCP_CLOSED || t->deadline_us == UINT64_MAX ||
			  t->deadline_us + 2 * TCP_WHEEL_TICK_US > now_us,
		"conn %u: its deadline passed %llu us ago", i,
		(unsigned long long)(now_us - t->deadline_us));
}

void sim_check_turn(const struct sim_host *h, uint64_t now_us)
{
	const struct engine *e = h->engine;

	for (uint32_t i = 0, left = e->conns.used; left; i++) {
		if (!shm_arena_is_used(&e->conns, i))
			continue;
		left--;
		check_numbers(h, conn_of(e, i), i);
		check_deadline(e, conn_of(e, i), i, now_us);
	}
	for (uint32_t i = 1; i <= h->last_session; i++)
		SIM_CHECK(!h->clients[i] || h->clients[i]->up_bytes <=
						    h->clients[i]->cfg.up_max_bytes +
							    h->clients[i]->layout.up_payload,
			"session %u has too much memory", i);
}

void sim_check_memory(const struct sim_host *h)
{
	const struct engine *e = h->engine;
	uint32_t lent = e->pending_chunks.chunks_used;

	for (uint32_t i = 0; i < e->session_capacity; i++)
		if (e->sessions[i])
			lent += e->sessions[i]->chunks.chunks_used;
	SIM_CHECK(lent == e->chunks.used, "%u chunks lent, %u descriptors", lent, e->chunks.used);
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
	SIM_CHECK(!e->extras.used, "%u blocks of struct tcp_extra leaked", e->extras.used);
	SIM_CHECK(!e->scores.used, "%u scoreboards leaked", e->scores.used);
	SIM_CHECK(!e->ccs.used, "%u congestion control blocks leaked", e->ccs.used);
	SIM_CHECK(e->due.head == NONE && e->neigh_waiters.head == NONE, "a list is not empty");
	check_pool(&e->pending_chunks, "pending pool");
	for (uint32_t i = 0; i < e->session_capacity; i++)
		if (e->sessions[i])
			check_pool(&e->sessions[i]->chunks, "session");
}
