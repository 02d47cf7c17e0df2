#include <engine/engine.h>

#include "internal.h"

#include <tcp/cc.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tcp/cc.h>

enum {
	NEIGH_TICK_US = 100000,
	ORPHANS_TICK_US = 100000,
	NEIGH_WAIT_POLL_US = 1000,
	SOCKS_PER_CONN = 2, /* a sock may outlive its connection until GONE is published */
	CHUNKS_MAX = 1 << 24,
	DESCS_MAX = 1 << 24, /* beside those that each connection may have */
	ICMP_ECHO_PER_S = 1000,
};

/* xorshift64*: for port choice only, where guessing right gains nothing more than a
 * collision; sequence numbers and cookies use keyed hashes. */
uint64_t engine_random(struct engine *e)
{
	e->rng ^= e->rng >> 12;
	e->rng ^= e->rng << 25;
	e->rng ^= e->rng >> 27;
	return e->rng * UINT64_C(0x2545f4914f6cdd1d);
}

/* -- lists of connections ------------------------------------------------------------------- */

void conn_list_push(struct engine *e, struct conn_list *l, struct tcp_conn *c)
{
	uint32_t idx = conn_idx(e, c);

	c->due_next = NONE;
	if (l->tail == NONE)
		l->head = idx;
	else
		conn_at(e, l->tail)->due_next = idx;
	l->tail = idx;
}

struct tcp_conn *conn_list_pop(struct engine *e, struct conn_list *l)
{
	struct tcp_conn *c;

	if (l->head == NONE)
		return NULL;
	c = conn_at(e, l->head);
	l->head = c->due_next;
	if (l->head == NONE)
		l->tail = NONE;
	return c;
}

/* -- what tcp/ borrows ---------------------------------------------------------------------------
 */

static struct tcp_extra *extra_of(struct engine *e, const struct tcp_conn *c)
{
	return shm_arena_at(&e->extras, c->extra_idx);
}

static struct tcp_extra *ops_extra_alloc(void *arg, struct tcp_conn *c)
{
	struct engine *e = arg;

	uint32_t idx = shm_arena_alloc(&e->extras);

	if (idx == NONE)
		return NULL;
	c->extra_idx = idx;
	return extra_of(e, c);
}

static struct tcp_extra *ops_extra_get(void *arg, const struct tcp_conn *c)
{
	return extra_of(arg, c);
}

/* An object of arena `a` for the connection, whose number is kept in *idx. */
static void *block_alloc(struct shm_arena *a, uint32_t *idx)
{
	*idx = shm_arena_alloc(a);
	return *idx == NONE ? NULL : shm_arena_at(a, *idx);
}

static void block_free(struct shm_arena *a, uint32_t *idx)
{
	if (*idx != NONE)
		shm_arena_free(a, *idx);
	*idx = NONE;
}

static struct tcp_reasm *ops_reasm_alloc(void *arg, struct tcp_conn *c)
{
	struct engine *e = arg;
	struct tcp_reasm *r = block_alloc(&e->reasms, &extra_of(e, c)->reasm_idx);

	if (!r)
		e->counters.reasm_full++;
	return r;
}

static struct tcp_reasm *ops_reasm_get(void *arg, const struct tcp_conn *c)
{
	struct engine *e = arg;

	return shm_arena_at(&e->reasms, extra_of(e, c)->reasm_idx);
}

static void ops_reasm_free(void *arg, struct tcp_conn *c)
{
	struct engine *e = arg;

	block_free(&e->reasms, &extra_of(e, c)->reasm_idx);
}

static struct tcp_score *ops_score_alloc(void *arg, struct tcp_conn *c)
{
	struct engine *e = arg;

	return block_alloc(&e->scores, &extra_of(e, c)->score_idx);
}

static struct tcp_score *ops_score_get(void *arg, const struct tcp_conn *c)
{
	struct engine *e = arg;

	return shm_arena_at(&e->scores, extra_of(e, c)->score_idx);
}

static void ops_score_free(void *arg, struct tcp_conn *c)
{
	struct engine *e = arg;

	block_free(&e->scores, &extra_of(e, c)->score_idx);
}

static void *ops_cc_alloc(void *arg, struct tcp_conn *c)
{
	struct engine *e = arg;

	void *block = block_alloc(&e->ccs, &extra_of(e, c)->cc_idx);

	if (block && e->agent && c->cc == TCP_CC_AGENT)
		agent_flow_begin(e, c);
	return block;
}

static void *ops_cc_get(void *arg, const struct tcp_conn *c)
{
	struct engine *e = arg;

	return shm_arena_at(&e->ccs, extra_of(e, c)->cc_idx);
}

static void ops_cc_free(void *arg, struct tcp_conn *c)
{
	struct engine *e = arg;
	uint32_t *idx = &extra_of(e, c)->cc_idx;

	if (e->agent && *idx != NONE)
		agent_flow_end(e, *idx);
	block_free(&e->ccs, idx);
}

void engine_extra_free(struct engine *e, struct tcp_conn *c)
{
	if (!(c->flags & TCP_F_EXTRA))
		return;
	ops_reasm_free(e, c);
	ops_score_free(e, c);
	ops_cc_free(e, c);
	block_free(&e->extras, &c->extra_idx);
}

static void *table_alloc(void *arg, size_t size_bytes)
{
	void *mem = NULL;

	(void)arg;
	return posix_memalign(&mem, 64, size_bytes) ? NULL : mem;
}

static void table_free(void *arg, void *mem, size_t size_bytes)
{
	(void)arg;
	(void)size_bytes;
	free(mem);
}

/* -- life
 * -------------------------------------------------------------------------------------------- */

static int init_arenas(struct engine *e)
{
	const struct engine_limits *lim = &e->cfg.limits;
	const struct {
		struct shm_arena *arena;
		const char *name;
		size_t stride;
		uint32_t max;
	} row[] = {
		{&e->conns, "conns", sizeof(struct tcp_conn), lim->conns_max},
		{&e->halves, "halves", sizeof(struct tcp_half), lim->halves_max},
		{&e->tws, "tws", sizeof(struct tcp_tw), lim->tws_max},
		{&e->socks, "socks", sizeof(struct sock), lim->conns_max * SOCKS_PER_CONN},
		{&e->chunks, "chunks", sizeof(struct rx_chunk), CHUNKS_MAX},
		{&e->descs, "descs", sizeof(struct tx_desc),
			DESCS_MAX + lim->conns_max * TXQ_DESCRIPTORS_PER_CONN},
		{&e->extras, "extras", sizeof(struct tcp_extra), lim->conns_max},
		{&e->reasms, "reasms", sizeof(struct tcp_reasm), lim->conns_max},
		{&e->scores, "scores", sizeof(struct tcp_score), lim->conns_max},
		{&e->ccs, "ccs", TCP_CC_BLOCK_BYTES,
			lim->conns_max < CC_BLOCKS_MAX ? lim->conns_max : CC_BLOCKS_MAX},
		{&e->tunes, "tunes", sizeof(struct tune),
			lim->conns_max < TUNES_MAX ? lim->conns_max : TUNES_MAX},
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		*row[i].arena = (struct shm_arena){.fd = -1}; /* what engine_destroy() may meet */
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		int rc = shm_arena_init(
			row[i].arena, row[i].name, row[i].stride, row[i].max, e->cfg.numa_node);

		if (rc)
			return rc;
	}
	e->space = (struct tcp_space){
		.base = {e->conns.base, e->halves.base, e->tws.base},
		.stride = {sizeof(struct tcp_conn), sizeof(struct tcp_half), sizeof(struct tcp_tw)},
	};
	return 0;
}

static void init_tcp(struct engine *e)
{
	e->ops = (struct tcp_ops){
		.rx_store = rxq_store,
		.rx_limit = rxq_limit,
		.extra_alloc = ops_extra_alloc,
		.extra_get = ops_extra_get,
		.reasm_alloc = ops_reasm_alloc,
		.reasm_get = ops_reasm_get,
		.reasm_free = ops_reasm_free,
		.score_alloc = ops_score_alloc,
		.score_get = ops_score_get,
		.score_free = ops_score_free,
		.cc_alloc = ops_cc_alloc,
		.cc_get = ops_cc_get,
		.cc_free = ops_cc_free,
		.agent_report = agent_report,
	};
	e->tcp = (struct tcp_ctx){
		.cfg = &e->cfg.tcp,
		.ops = &e->ops,
		.ops_arg = e,
		.counters = &e->tcp_counters,
	};
	e->segments_per_output = engine_segments_per_output(e);
	memcpy(e->tcp.isn_key, e->cfg.secret, 16);
	memcpy(e->tcp.cookie_key, e->cfg.secret + 16, 16);
	memcpy(e->tcp.ts_key, e->cfg.secret + 32, 16);
	memcpy(e->tcp.fastopen_key, e->cfg.secret + 48, 16);
	e->tcp.fastopen = &e->fastopen;
}

/* The pool for data that comes before accept: anonymous memory, paid for as it is touched. */
static int init_pending_pool(struct engine *e)
{
	void *mem = mmap(NULL, PENDING_POOL_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return -ENOMEM;
	e->pending_base = mem;
	return chunk_pool_add(&e->pending_chunks, 0, mem, 0, PENDING_POOL_BYTES);
}

static void init_lists(struct engine *e, uint64_t now_us)
{
	e->due = e->neigh_waiters = (struct conn_list){.head = NONE, .tail = NONE};
	cds_wfcq_init(&e->inbox.head, &e->inbox.tail);
	cds_wfcq_init(&e->outbox.head, &e->outbox.tail);
	cds_wfcq_init(&e->handover.head, &e->handover.tail);
	net_ratelimit_init(&e->icmp_limit, ICMP_ECHO_PER_S, ICMP_ECHO_PER_S, now_us);
	e->rng = e->cfg.rng_seed | 1;
	e->now_us = now_us;
	e->neigh_tick_us = now_us;
	e->orphans_tick_us = now_us;
}

int engine_create(struct engine **out, const struct engine_config *cfg, uint64_t now_us)
{
	const struct tcp_table_mem mem = {.alloc = table_alloc, .free = table_free};
	const struct engine_limits *lim = &cfg->limits;
	struct engine *e = calloc(1, sizeof(*e));
	int rc = -ENOMEM;

	if (!e)
		return -ENOMEM;
	e->cfg = *cfg;
	engine_iface_refresh(e);
	init_lists(e, now_us);
	rc = init_arenas(e);
	if (rc)
		goto out_destroy;
	init_tcp(e);
	tcp_wheel_init(&e->wheel, &e->space, now_us);
	rc = tcp_table_init(&e->table, &e->space, lim->conns_max + lim->halves_max + lim->tws_max,
		cfg->hash_key, &mem);
	if (rc)
		goto out_destroy;
	rc = init_pending_pool(e);
	if (rc)
		goto out_destroy;
	rc = frags_init(e);
	if (rc)
		goto out_destroy;
	rc = agent_init(e);
	if (rc)
		goto out_destroy;
	e->session_capacity = lim->sessions_max;
	e->sessions = calloc(lim->sessions_max, sizeof(*e->sessions));
	e->waiter_prev = calloc(lim->conns_max, sizeof(*e->waiter_prev));
	if (!e->sessions || !e->waiter_prev) {
		rc = -ENOMEM;
		goto out_destroy;
	}
	*out = e;
	return 0;
out_destroy:
	engine_destroy(e);
	return rc;
}

void engine_destroy(struct engine *e)
{
	struct shm_arena *arenas[] = {&e->conns, &e->halves, &e->tws, &e->socks, &e->chunks,
		&e->descs, &e->extras, &e->reasms, &e->scores, &e->ccs, &e->tunes};

	for (uint32_t i = 0; e->sessions && i < e->session_capacity; i++)
		if (e->sessions[i])
			session_del(e, e->sessions[i]->desc.session);
	for (uint32_t i = 0; e->sessions && i < e->session_capacity; i++)
		session_destroy(e, i);
	command_fini(e);
	handover_fini(e);
	own_fini(e);
	if (e->table.segments)
		tcp_table_fini(&e->table);
	for (size_t i = 0; i < sizeof(arenas) / sizeof(arenas[0]); i++)
		shm_arena_fini(arenas[i]);
	chunk_pool_fini(&e->pending_chunks);
	if (e->pending_base)
		munmap(e->pending_base, PENDING_POOL_BYTES);
	frags_fini(e);
	agent_fini(e);
	free(e->sessions);
	free(e->waiter_prev);
	free(e);
}

/* -- the turn
 * ------------------------------------------------------------------------------------------ */

static void housekeeping(struct engine *e)
{
	if (!e->announced && e->cfg.id == 0) {
		e->announced = true;
		engine_announce(e);
	}
	if (e->cfg.id == 0 && e->now_us >= e->neigh_tick_us) {
		e->neigh_tick_us = e->now_us + NEIGH_TICK_US;
		engine_nd_tick(e);
		engine_neigh_tick(e);
	}
	if (e->orphans && e->now_us >= e->orphans_tick_us) {
		e->orphans_tick_us = e->now_us + ORPHANS_TICK_US;
		session_orphans_tick(e);
	}
	frags_tick(e);
}

unsigned int engine_turn(struct engine *e, uint64_t now_us)
{
	unsigned int work;

	if (now_us > e->now_us)
		e->now_us = now_us;
	engine_iface_refresh(e);
	work = command_run(e);
	work += agent_run(e);
	work += engine_rx(e);
	work += handover_run(e);
	work += own_run(e);
	work += gate_poll(e);
	work += flow_timers(e);
	work += session_close_some(e);
	housekeeping(e);
	work += engine_output(e);
	nic_tx_flush(e->cfg.port, e->cfg.id);
	work += gate_publish(e);
	e->turns++;
	if (work)
		e->busy_turns++;
	return work;
}

static uint64_t min_us(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t engine_next_us(const struct engine *e)
{
	uint64_t next = min_us(tcp_wheel_next_us(&e->wheel), gate_next_us(e));

	next = min_us(next, frags_next_us(e));
	if (e->cfg.id == 0)
		next = min_us(next, e->neigh_tick_us);
	if (e->orphans)
		next = min_us(next, e->orphans_tick_us);
	if (e->neigh_waiters.head != NONE || e->now_us < e->held_until_us)
		next = min_us(next, e->now_us + NEIGH_WAIT_POLL_US);
	if (e->closing)
		next = min_us(next, e->closed_us + CLOSES_EVERY_US);
	if (e->due.head != NONE || !own_empty(e))
		next = e->now_us;
	return next;
}

bool engine_sleep_prepare(struct engine *e)
{
	bool idle = true;

	if (e->due.head != NONE || !command_empty(e) || !agent_empty(e) || !handover_empty(e) ||
		!own_empty(e))
		return false;
	while (e->active)
		gate_sleep(e, e->active);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with shm_sleep_check */
	while (e->slept) {
		struct ring *r = e->slept;

		e->slept = r->slept_next;
		if (!r->stashed && !shm_ring_cons_ready(&r->submissions))
			continue;
		gate_watch(e, r);
		idle = false;
	}
	return idle;
}

void engine_session_woken(struct engine *e, uint32_t session)
{
	struct session *s = session_find(e, session);

	if (!s || s->dying)
		return;
	for (uint16_t i = 0; i < s->desc.layout.contexts; i++)
		gate_watch(e, &s->rings[i]);
}

/* -- what others may read
 * -------------------------------------------------------------------------------- */

const struct engine_counters *engine_counters(const struct engine *e)
{
	return &e->counters;
}

const struct tcp_counters *engine_tcp_counters(const struct engine *e)
{
	return &e->tcp_counters;
}

const struct net_counters *engine_net_counters(const struct engine *e)
{
	return &e->net_counters;
}

void engine_gauges(const struct engine *e, struct engine_gauges *out)
{
	*out = (struct engine_gauges){
		.conns = e->conns.used,
		.halves = e->halves.used,
		.tws = e->tws.used,
		.socks = e->socks.used,
		.sessions = e->session_count,
		.listeners = e->listener_count,
		.orphans = e->orphans,
		.chunks_used = e->chunks.used,
		.turns = e->turns,
		.busy_turns = e->busy_turns,
	};
}
