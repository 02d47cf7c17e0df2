/* Snapshots for mtcpctl: a bounded number of entries per command, from a cursor, so that
 * listing 100,000 flows never holds the engine for longer than a batch.
 *
 * The cursor of flows is kind << 32 | arena index. Entries that come and go between batches
 * may be missed; none is listed twice.
 */
#include "internal.h"

#include <string.h>

enum {
	SCAN_MAX = 2048, /* arena slots looked at per command */
};

static void list_owner(struct engine *e, const struct tcp_conn *c, struct engine_flow_info *f)
{
	const struct sock *sk = conn_sock(e, c);

	if (!sk) {
		f->orphan = c->flags & TCP_F_ORPHAN;
		return;
	}
	f->session = e->sessions[sk->session]->desc.session;
	f->pid = e->sessions[sk->session]->desc.pid;
	f->orphan = sk->flags & (SOCK_ORPHAN | SOCK_CLOSED);
	f->rcv_queued_bytes = c->rcv_nxt_pos - sk->consumed_pos;
}

static uint32_t count_chunks(struct engine *e, const struct tcp_conn *c)
{
	uint32_t n = 0;

	for (uint32_t i = c->rxq_head; i != NONE;
		i = ((struct rx_chunk *)shm_arena_at(&e->chunks, i))->next)
		n++;
	return n;
}

static uint32_t list_segs(const struct tcp_conn *c, uint64_t bytes)
{
	uint32_t mss = c->snd_mss_bytes;

	return mss ? (uint32_t)((bytes + mss - 1) / mss) : 0;
}

static void list_conn(struct engine *e, const struct tcp_conn *c, struct engine_flow_info *f)
{
	const struct tcp_extra *x = tcp_extra(&e->tcp, c);

	f->state = c->state;
	f->rcv_queued_bytes = c->rcv_nxt_pos;
	f->snd_queued_bytes = c->snd_end_pos - c->snd_una_pos;
	f->srtt_us = c->srtt_us;
	f->rttvar_us = c->rttvar_us;
	f->rto_us = (uint32_t)tcp_conn_rto_us(&e->tcp, c);
	f->cc = c->cc;
	f->ecn = c->flags & TCP_F_ECN;
	f->cwnd_bytes = c->cwnd;
	f->ssthresh_bytes = c->ssthresh;
	f->mss_bytes = c->snd_mss_bytes;
	f->snd_wnd_bytes = c->snd_wnd;
	f->rcv_wnd_bytes = tcp_conn_rcv_wnd(c);
	f->snd_wscale = c->snd_wscale;
	f->rcv_wscale = c->rcv_wscale;
	f->bytes_acked = c->snd_una_pos;
	f->bytes_received = c->rcv_nxt_pos;
	f->segs_in = c->segs_in;
	f->segs_out = c->segs_out;
	f->retrans_total = x->retrans_segs;
	f->unacked_segs = list_segs(c, tcp_conn_flight(c));
	f->resent_segs = info_resent_segs(e, c);
	f->lost_segs = list_segs(c, tcp_conn_lost(&e->tcp, c));
	f->sacked_segs = list_segs(c, tcp_conn_sacked(&e->tcp, c));
	f->dsack_dups = x->dsack_dups;
	f->reord_seen = x->reord_seen;
	f->rcv_ooo_segs = x->rcv_ooo_segs;
	f->timestamps = c->flags & TCP_F_TS;
	f->sack = c->flags & TCP_F_SACK;
	f->chunks = count_chunks(e, c);
	list_owner(e, c, f);
}

static void list_entry(struct engine *e, tcp_ref ref, struct engine_flow_info *f)
{
	const struct tcp_entry *t = tcp_space_entry(&e->space, ref);

	memset(f, 0, sizeof(*f));
	f->key = t->key;
	f->kind = (uint8_t)tcp_ref_kind(ref);
	f->deadline_in_us = t->deadline_us == UINT64_MAX ? -1
			    : t->deadline_us > e->now_us ? (int64_t)(t->deadline_us - e->now_us)
							 : 0;
	if (tcp_ref_kind(ref) == TCP_KIND_CONN)
		list_conn(e, (const struct tcp_conn *)(const void *)t, f);
	else
		f->state = tcp_ref_kind(ref) == TCP_KIND_HALF ? TCP_SYN_RECEIVED : TCP_TIME_WAIT;
}

void list_flows(struct engine *e, struct engine_msg *m)
{
	const struct shm_arena *arena[] = {&e->conns, &e->halves, &e->tws};
	uint64_t kind = m->list.cursor >> 32;
	uint32_t i = (uint32_t)m->list.cursor;

	m->list.count = 0;
	for (unsigned int scanned = 0; kind < TCP_KIND_COUNT; i = 0, kind++) {
		for (; i < arena[kind]->grown; i++) {
			if (scanned++ == SCAN_MAX || m->list.count == ENGINE_LIST_BATCH) {
				m->list.cursor = kind << 32 | i;
				return;
			}
			if (kind == TCP_KIND_CONN ? conn_is_used(e, i)
						  : shm_arena_is_used(arena[kind], i))
				list_entry(e, tcp_ref_make((enum tcp_kind)kind, i),
					&m->list.flow[m->list.count++]);
		}
	}
	m->list.cursor = UINT64_MAX;
}

void list_listeners(struct engine *e, struct engine_msg *m)
{
	m->list.count = 0;
	for (uint64_t i = m->list.cursor; i < LISTENERS_MAX; i++) {
		const struct listener *l = e->listeners[i];

		if (!l)
			continue;
		if (m->list.count == ENGINE_LIST_BATCH) {
			m->list.cursor = i;
			return;
		}
		m->list.listener[m->list.count++] = (struct engine_listener_info){
			.addr = l->desc.addr,
			.port = l->desc.port,
			.session = l->desc.session,
			.pid = e->sessions[l->session]->desc.pid,
			.backlog = l->capacity,
			.pending = l->count,
			.half_open = l->halves,
		};
	}
	m->list.cursor = UINT64_MAX;
}

void list_sessions(struct engine *e, struct engine_msg *m)
{
	m->list.count = 0;
	for (uint64_t i = m->list.cursor; i < e->session_capacity; i++) {
		const struct session *s = e->sessions[i];

		if (!s)
			continue;
		if (m->list.count == ENGINE_LIST_BATCH) {
			m->list.cursor = i;
			return;
		}
		m->list.session[m->list.count++] = (struct engine_session_info){
			.session = s->desc.session,
			.conns = s->conns,
			.orphans = s->orphans,
			.chunks_used = s->chunks.chunks_used,
			.chunks_free = s->chunks.free_count,
			.up_bytes = s->up_bytes,
			.slots = s->slots,
			.events = s->events,
			.doorbells = s->doorbells,
		};
	}
	m->list.cursor = UINT64_MAX;
}
