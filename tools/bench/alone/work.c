/* The workloads: what the peer asks for in each step, and when a chunk is full. */
#include "alone.h"

#include <engine/engine.h>

#include <stdlib.h>

enum {
	CONNECT_BATCH = 128,
	STEPS_MAX = 100000, /* without progress */
	FRAMES_PER_STEP = 64,
	MIB = 1 << 20,
	COLD_ROUNDS = 16,
	WARM_REQUESTS = 4000,
	WARM_PART = 16,	      /* of what is measured is spent on warming up */
	FLIGHT_PER_BATCH = 4, /* of connections */
};

/* One step: the peer, the engine's turn, the program. */
static void step(struct bench *b)
{
	enum stage before;

	peer_poll(b->peer);
	callgrind_toggle();
	meter_start(&b->meter);
	stages_begin();
	host_turn(b->host);
	before = stages_on ? stage_enter(STAGE_LIBRARY) : STAGE_NONE;
	app_poll(b->app);
	if (stages_on)
		stage_leave(before);
	stages_end();
	meter_stop(&b->meter);
	callgrind_toggle();
}

/* -- set-up ------------------------------------------------------------------------------------ */

static void shuffle(uint32_t *order, uint32_t n)
{
	uint64_t rng = 88172645463325252u;

	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t i = n; i > 1; i--) {
		uint32_t k, other;

		rng ^= rng << 13;
		rng ^= rng >> 7;
		rng ^= rng << 17;
		k = (uint32_t)(rng % i);
		other = order[i - 1];
		order[i - 1] = order[k];
		order[k] = other;
	}
}

void work_connect(struct bench *b)
{
	const struct peer_counts *peer = peer_counts(b->peer);
	const struct app_counts *app = app_counts(b->app);
	uint64_t last = 0;
	uint32_t asked = 0, idle = 0;

	while (app->accepted < b->cfg.conns) {
		while (asked < b->cfg.conns && asked - app->accepted < CONNECT_BATCH)
			peer_connect(b->peer, asked++);
		step(b);
		idle = app->accepted == last ? idle + 1 : 0;
		last = app->accepted;
		if (idle == STEPS_MAX)
			alone_fail("%llu of %u connections, then nothing",
				(unsigned long long)peer->established, b->cfg.conns);
		if (idle == 0)
			host_messages(b->host);
	}
	b->order = malloc((b->cfg.conns + 1) * sizeof(*b->order));
	if (!b->order)
		alone_fail("no memory");
	shuffle(b->order, b->cfg.conns);
}

/* -- one chunk --------------------------------------------------------------------------------- */

static uint32_t next_conn(struct bench *b)
{
	uint32_t conn = b->order[b->next];

	b->next = b->next + 1 < b->cfg.conns ? b->next + 1 : 0;
	return conn;
}

static uint64_t done(const struct bench *b)
{
	const struct peer_counts *peer = peer_counts(b->peer);

	switch (b->cfg.work) {
	case WORK_RPC:
		return peer->responses;
	case WORK_CONN:
		return peer->closed;
	case WORK_IN:
		return app_counts(b->app)->bytes_in / MIB;
	default:
		return peer->bytes_in / MIB;
	}
}

/* What the peer begins before a step: so much that as much again is under way in the engine. */
static void begin(struct bench *b, uint64_t *begun)
{
	uint32_t flight = 2 * b->cfg.batch;

	if (b->cfg.work == WORK_RPC && flight > b->cfg.conns)
		flight = b->cfg.conns;
	switch (b->cfg.work) {
	case WORK_RPC:
		for (uint32_t n = 0; n < b->cfg.batch && *begun - done(b) < flight; n++, ++*begun)
			peer_request(b->peer, next_conn(b));
		break;
	case WORK_CONN:
		for (uint32_t n = 0;
			n < b->cfg.batch && *begun - done(b) < FLIGHT_PER_BATCH * b->cfg.batch;
			n++, ++*begun)
			peer_connect_and_ask(
				b->peer, b->cfg.conns + (uint32_t)(*begun % b->cfg.fresh_max));
		break;
	case WORK_IN:
		peer_stream(b->peer, 0, FRAMES_PER_STEP);
		break;
	default:
		break;
	}
}

/* Until no request is under way. */
static void settle(struct bench *b, uint64_t begun)
{
	bool counts = b->cfg.work == WORK_RPC || b->cfg.work == WORK_CONN;

	for (uint32_t i = 0; counts && done(b) < begun; i++) {
		step(b);
		if (i == STEPS_MAX)
			alone_fail(
				"%llu answers are missing", (unsigned long long)(begun - done(b)));
	}
}

static uint64_t chunk(struct bench *b, uint64_t units, uint64_t *begun)
{
	uint64_t from = done(b), last = from;
	uint32_t idle = 0;

	while (done(b) - from < units) {
		begin(b, begun);
		step(b);
		idle = done(b) == last ? idle + 1 : 0;
		if (b->cfg.work == WORK_CONN)
			host_closed(b->host, done(b) - last);
		last = done(b);
		if (idle == STEPS_MAX)
			alone_fail("no progress after %llu units", (unsigned long long)last);
	}
	return done(b) - from;
}

/* Caches, rings, memory first touched; and what waits for its end, for as many end then as begin.
 */
static uint64_t warming(const struct bench *b, uint64_t units)
{
	return units / WARM_PART + 1 + b->cfg.waiting;
}

/* What is begun in a step ends some steps later, and not as much in each: a part of connections is
 * as long as many of them take. */
static uint64_t least_part(const struct bench *b)
{
	return b->cfg.work == WORK_CONN ? FLIGHT_PER_BATCH * b->cfg.batch : 1;
}

void work_run(struct bench *b, uint64_t units, uint32_t chunks)
{
	uint64_t begun = done(b), each = units / chunks;

	if (each < least_part(b)) {
		each = least_part(b);
		chunks = (uint32_t)((units + each - 1) / each);
	}
	chunk(b, warming(b, units), &begun);
	stages_reset();
	meter_reset(&b->meter);
	callgrind_begin();
	for (uint32_t i = 0; i < chunks; i++) {
		uint64_t n;

		meter_begin(&b->meter);
		n = chunk(b, each, &begun);
		meter_chunk(&b->meter, (double)n);
		b->units += n;
	}
	callgrind_end("bench");
	settle(b, begun);
	host_messages(b->host);
}

/* -- cold -------------------------------------------------------------------------------------- */

/* One request at a time; callgrind simulates a cache that is empty at its start and never full, so
 * that its misses are the lines that were touched. The peer runs before and after. */
void work_cold(struct bench *b)
{
	uint64_t begun = done(b);

	chunk(b, WARM_REQUESTS, &begun);
	settle(b, begun);
	for (int i = 0; i < COLD_ROUNDS; i++) {
		begun++;
		peer_request(b->peer, next_conn(b));
		callgrind_begin();
		callgrind_toggle();
		host_turn(b->host);
		app_poll(b->app);
		host_turn(b->host);
		callgrind_toggle();
		callgrind_end("bench");
		peer_poll(b->peer);
		settle(b, begun);
		b->units++;
	}
}
