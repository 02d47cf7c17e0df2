/* The agent of off-path congestion control, as an engine sees it (tcp/cc_agent.h has the theory).
 *
 * Reports go to the main thread, and orders come from it, through two rings of this process: one
 * writer and one reader each, fixed size, so that an agent that is slow or floods is felt by
 * nobody: what has no room is refused, and the writer counts it. A quarter of the reports' ring
 * is kept for the ends of connections, which are told once.
 *
 * An agent names a connection by the slot of its block and a generation that no two have in
 * common; nothing of a number is believed before both are found here.
 */
#include "internal.h"

#include <tcp/cc_agent.h>

#include <errno.h>
#include <stdlib.h>

enum {
	REPORTS_MAX = 1024,
	ORDERS_MAX = 1024,
	ORDERS_PER_TURN = 64,
	CLOSES_SPARE = REPORTS_MAX / 4,
};

struct report_item {
	uint32_t epoch;
	struct mtcp_agent_report report;
};
struct order_item {
	uint32_t epoch;
	struct mtcp_agent_order order;
};

/* Free-running; the writer's index and the reader's in lines of their own. */
struct ends {
	_Alignas(64) _Atomic uint32_t head; /* written by the writer: behind the last item */
	_Alignas(64) _Atomic uint32_t tail; /* written by the reader: the first item */
};

struct flow {
	uint32_t conn;
	uint32_t gen;	/* 0: none */
	uint32_t epoch; /* of the agent that was told of it */
};

struct agent {
	_Atomic uint32_t epoch; /* main thread's */
	uint32_t last_gen;
	uint32_t slots;
	struct ends report_ends, order_ends;
	struct report_item reports[REPORTS_MAX];
	struct order_item orders[ORDERS_MAX];
	struct flow flows[];
};
static_assert(CC_BLOCKS_MAX <= 1 << 24, "a slot fits a flow's number");

/* Items that a writer may add before `spare` are left. */
static uint32_t room(struct ends *x, uint32_t max, uint32_t spare)
{
	uint32_t head = atomic_load_explicit(&x->head, memory_order_relaxed);
	/* pairs with the release in taken(): the item was copied */
	uint32_t tail = atomic_load_explicit(&x->tail, memory_order_acquire);
	uint32_t left = max - (head - tail);

	return left > spare ? left - spare : 0;
}

static uint32_t next_free(struct ends *x)
{
	return atomic_load_explicit(&x->head, memory_order_relaxed);
}

static void added(struct ends *x)
{
	/* pairs with the acquire in ready() */
	atomic_store_explicit(&x->head, next_free(x) + 1, memory_order_release);
}

static bool ready(struct ends *x, uint32_t *i)
{
	*i = atomic_load_explicit(&x->tail, memory_order_relaxed);
	return atomic_load_explicit(&x->head, memory_order_acquire) != *i;
}

static void taken(struct ends *x, uint32_t i)
{
	atomic_store_explicit(&x->tail, i + 1, memory_order_release);
}

/* -- life ----------------------------------------------------------------------------------------
 */

int agent_init(struct engine *e)
{
	size_t bytes = sizeof(struct agent) + e->ccs.max * sizeof(struct flow);
	void *mem;

	if (!e->cfg.tcp.cc_agent[0])
		return 0;
	if (posix_memalign(&mem, _Alignof(struct agent), bytes))
		return -ENOMEM;
	memset(mem, 0, bytes);
	e->agent = mem;
	e->agent->slots = e->ccs.max;
	return 0;
}

void agent_fini(struct engine *e)
{
	free(e->agent);
	e->agent = NULL;
}

/* -- the main thread's part ------------------------------------------------------------------- */

void engine_agent_set(struct engine *e, uint32_t epoch)
{
	if (e->agent)
		atomic_store_explicit(&e->agent->epoch, epoch, memory_order_relaxed);
}

uint32_t engine_agent_slots(const struct engine *e)
{
	return e->agent ? e->agent->slots : 0;
}

uint32_t engine_agent_reports(
	struct engine *e, uint32_t epoch, struct mtcp_agent_report *out, uint32_t max)
{
	uint32_t n = 0, i;

	while (e->agent && n < max && ready(&e->agent->report_ends, &i)) {
		const struct report_item *item = &e->agent->reports[i % REPORTS_MAX];

		if (item->epoch == epoch)
			out[n++] = item->report;
		taken(&e->agent->report_ends, i);
	}
	return n;
}

bool engine_agent_order(struct engine *e, uint32_t epoch, const struct mtcp_agent_order *o)
{
	struct agent *a = e->agent;

	if (!a || !room(&a->order_ends, ORDERS_MAX, 0))
		return false;
	a->orders[next_free(&a->order_ends) % ORDERS_MAX] = (struct order_item){epoch, *o};
	added(&a->order_ends);
	return true;
}

/* -- reports ------------------------------------------------------------------------------------
 */

static uint64_t flow_number(const struct engine *e, uint32_t slot)
{
	return (uint64_t)e->agent->flows[slot].gen << 32 | (uint64_t)e->cfg.id << 24 | slot;
}

static bool push(struct engine *e, const struct mtcp_agent_report *r, uint32_t spare)
{
	struct agent *a = e->agent;

	if (!room(&a->report_ends, REPORTS_MAX, spare))
		return false;
	a->reports[next_free(&a->report_ends) % REPORTS_MAX] =
		(struct report_item){e->tcp.agent_epoch, *r};
	added(&a->report_ends);
	e->posted = true;
	return true;
}

void agent_flow_begin(struct engine *e, const struct tcp_conn *c)
{
	struct agent *a = e->agent;

	if (++a->last_gen == 0)
		a->last_gen = 1;
	a->flows[tcp_extra(&e->tcp, c)->cc_idx] =
		(struct flow){.conn = conn_idx(e, c), .gen = a->last_gen};
}

void agent_flow_end(struct engine *e, uint32_t idx)
{
	struct flow *f = &e->agent->flows[idx];
	struct mtcp_agent_report r = {.type = MTCP_AGENT_CLOSE, .flow = flow_number(e, idx)};

	if (f->gen && f->epoch && f->epoch == e->tcp.agent_epoch && !push(e, &r, 0))
		e->counters.agent_closes_lost++;
	*f = (struct flow){0};
}

static void fill_flow(struct mtcp_agent_report *r, struct engine *e, const struct tcp_conn *c)
{
	const struct net_tuple *key = &c->entry.key;
	uint64_t nxt = tcp_conn_snd_nxt(c);

	r->unsent_bytes = c->snd_end_pos > nxt ? c->snd_end_pos - nxt : 0;
	r->srtt_us = c->srtt_us;
	r->min_rtt_us = c->rtt_min_us == UINT32_MAX ? 0 : c->rtt_min_us;
	r->inflight_bytes = (uint32_t)tcp_conn_pipe(&e->tcp, c);
	r->sacked_bytes = (uint32_t)tcp_conn_sacked(&e->tcp, c);
	r->cwnd_bytes = c->cwnd;
	r->ssthresh_bytes = c->ssthresh;
	r->pacing_rate = tcp_conn_has(c, TCP_F_PACED) ? tcp_extra(&e->tcp, c)->pacing_rate : 0;
	r->mss_bytes = c->snd_mss_bytes;
	if (tcp_conn_in_episode(c))
		r->flags |= MTCP_AGENT_RECOVERY;
	r->local_port = key->lport;
	r->remote_port = key->rport;
	memcpy(r->local, key->local.b, sizeof(r->local));
	memcpy(r->remote, key->remote.b, sizeof(r->remote));
}

/* tcp_ops.agent_report. */
bool agent_report(void *arg, struct tcp_conn *c, const struct tcp_agent_report *t)
{
	struct engine *e = arg;
	uint32_t slot = tcp_extra(&e->tcp, c)->cc_idx;
	struct mtcp_agent_report r = {
		.type = MTCP_AGENT_REPORT,
		.events = (uint16_t)t->events,
		.seq = t->seq,
		.flow = flow_number(e, slot),
		.now_us = t->now_us,
		.acked_bytes = t->acked_bytes,
		.delivered_bytes = t->delivered_bytes,
		.lost_bytes = t->lost_bytes,
		.marked_bytes = t->marked_bytes,
		.delivery_rate = t->delivery_rate,
		.rtt_us = t->rtt_us,
		.rtt_least_us = t->rtt_least_us,
		.flags = t->governed ? MTCP_AGENT_GOVERNED : 0,
	};

	fill_flow(&r, e, c);
	if (!push(e, &r, CLOSES_SPARE))
		return false;
	e->agent->flows[slot].epoch = e->tcp.agent_epoch;
	return true;
}

static_assert((int)TCP_AGENT_NEW == MTCP_AGENT_NEW && (int)TCP_AGENT_LOSS == MTCP_AGENT_LOSS &&
		      (int)TCP_AGENT_ECN == MTCP_AGENT_ECN &&
		      (int)TCP_AGENT_TIMEOUT == MTCP_AGENT_TIMEOUT &&
		      (int)TCP_AGENT_UNDO == MTCP_AGENT_UNDO &&
		      (int)TCP_AGENT_SILENCE == MTCP_AGENT_SILENCE &&
		      (int)TCP_AGENT_KEEP == MTCP_AGENT_KEEP,
	"the same bits");

/* -- orders ---------------------------------------------------------------------------------------
 */

static struct tcp_conn *flow_conn(struct engine *e, uint64_t flow)
{
	uint32_t slot = mtcp_agent_slot(flow);
	const struct flow *f;

	if (slot >= e->agent->slots || mtcp_agent_engine(flow) != e->cfg.id)
		return NULL;
	f = &e->agent->flows[slot];
	return f->gen && f->gen == flow >> 32 ? conn_at(e, f->conn) : NULL;
}

static void obey(struct engine *e, const struct mtcp_agent_order *o)
{
	const struct tcp_agent_order order = {
		.seq = o->seq,
		.flags = o->flags,
		.cwnd = o->cwnd_bytes,
		.pacing_rate = o->pacing_rate,
	};
	struct tcp_conn *c = flow_conn(e, o->flow);

	if (!c) {
		e->counters.agent_orders_unknown++;
		return;
	}
	flow_events(e, c, tcp_agent_order(&e->tcp, c, &order, e->now_us));
}

unsigned int agent_run(struct engine *e)
{
	struct agent *a = e->agent;
	unsigned int n = 0;
	uint32_t i;

	if (!a)
		return 0;
	e->tcp.agent_epoch = atomic_load_explicit(&a->epoch, memory_order_relaxed);
	while (n < ORDERS_PER_TURN && ready(&a->order_ends, &i)) {
		const struct order_item item = a->orders[i % ORDERS_MAX];

		taken(&a->order_ends, i);
		n++;
		if (item.epoch == e->tcp.agent_epoch)
			obey(e, &item.order);
	}
	return n;
}

bool agent_empty(const struct engine *e)
{
	uint32_t i;

	return !e->agent || !ready(&e->agent->order_ends, &i);
}
