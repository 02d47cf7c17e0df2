/* Cases that lie inside slots: operations, references, positions, handles. */
#include "hostile.h"

#include <string.h>
#include <unistd.h>

struct variant {
	const char *what;
	struct proto_slot slot;
};

/* Each variant in a session of its own, with a connection if the slot is to name one. */
static int try_variants(const struct variant *v, size_t n, enum proto_condemned reason)
{
	int failed = 0;

	for (size_t i = 0; i < n; i++) {
		struct proto_slot s = v[i].slot;
		struct hostile h;

		hostile_attach(&h);
		if (proto_head_op(s.head) == PROTO_OP_SEND)
			s.body.send.handle = hostile_connect(&h);
		hostile_push(&h, &s);
		failed += hostile_expect(&h, reason, v[i].what);
	}
	return failed ? 1 : 0;
}

#define HEAD(op) .head = (UINT64_C(1) << 32 | (op))
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

int case_operations(void)
{
	static const struct variant v[] = {
		{"operation 0", {HEAD(0)}},
		{"the operation behind the last", {HEAD(PROTO_OP_COUNT)}},
		{"operation 255", {HEAD(255)}},
		{"a flag of the head", {HEAD(PROTO_OP_INFO) | 1u << 16}},
		{"a reserved bit of the head", {HEAD(PROTO_OP_INFO) | 1u << 9}},
		{"reserved bytes", {HEAD(PROTO_OP_INFO), .body.info.reserved = {[5] = 1}}},
		{"a flag of close", {HEAD(PROTO_OP_CLOSE), .body.close.flags = 2}},
		{"an option of connect",
			{HEAD(PROTO_OP_CONNECT), .body.connect.options = 1u << 31}},
	};

	return try_variants(v, COUNT(v), PROTO_CONDEMNED_OP);
}

#define SEND(r, l)                                                                                 \
	{                                                                                          \
		HEAD(PROTO_OP_SEND), .body.send = {.ref = (r), .len_bytes = (l) }                  \
	}
#define OFFSET(o) ((uint64_t)0 << PROTO_REF_SHIFT | (uint64_t)(o))

int case_references(void)
{
	static const struct variant v[] = {
		{"length 0", SEND(OFFSET(1 << 20), 0)},
		{"length 2^32 - 1", SEND(OFFSET(1 << 20), UINT32_MAX)},
		{"length 2^30", SEND(OFFSET(1 << 20), 1 << 30)},
		{"the rings as payload", SEND(OFFSET(0), 64)},
		{"offset 2^40 - 1", SEND(OFFSET((UINT64_C(1) << 40) - 1), 1)},
		{"offset 2^40 - 64, past its wrap", SEND(OFFSET((UINT64_C(1) << 40) - 64), 4096)},
		{"a byte past the end", SEND(OFFSET((2 << 20) - 63), 64)},
		{"a segment that is not there", SEND(UINT64_C(1) << 40, 64)},
		{"segment 63", SEND(UINT64_C(63) << 40, 64)},
		{"segment 64", SEND(UINT64_C(64) << 40, 64)},
		{"no reference", SEND(PROTO_REF_NONE, 64)},
	};

	return try_variants(v, COUNT(v), PROTO_CONDEMNED_RANGE);
}

/* -- positions
 * -------------------------------------------------------------------------------------- */

static void push_send(struct hostile *h, struct proto_handle sk, uint64_t pos)
{
	hostile_send(h, sk, pos, 64);
}

static void push_consumed(struct hostile *h, struct proto_handle sk, uint64_t pos)
{
	struct proto_slot s = {HEAD(PROTO_OP_CONSUMED)};

	s.body.consumed.handle = sk;
	s.body.consumed.pos = pos;
	hostile_push(h, &s);
}

static void push_shutdown(struct hostile *h, struct proto_handle sk, uint64_t pos)
{
	struct proto_slot s = {HEAD(PROTO_OP_SHUTDOWN)};

	s.body.shutdown.handle = sk;
	s.body.shutdown.pos = pos;
	hostile_push(h, &s);
}

/* Honest at first, so that only the last position is wrong. */
static void push_after_shutdown(struct hostile *h, struct proto_handle sk, uint64_t pos)
{
	push_shutdown(h, sk, 0);
	push_send(h, sk, pos);
}

int case_positions(void)
{
	static const struct {
		const char *what;
		void (*push)(struct hostile *, struct proto_handle, uint64_t);
		uint64_t pos;
	} v[] = {
		{"sends past the end of its stream", push_send, 1},
		{"sends at 2^63", push_send, UINT64_C(1) << 63},
		{"sends where positions wrap", push_send, UINT64_MAX - 10},
		{"consumes what never came", push_consumed, 1},
		{"consumes 2^64 - 1", push_consumed, UINT64_MAX},
		{"shuts down elsewhere", push_shutdown, 5},
		{"sends after shutdown", push_after_shutdown, 0},
	};
	int failed = 0;

	for (size_t i = 0; i < COUNT(v); i++) {
		struct hostile h;

		hostile_attach(&h);
		v[i].push(&h, hostile_connect(&h), v[i].pos);
		failed += hostile_expect(&h, PROTO_CONDEMNED_POSITION, v[i].what);
	}
	return failed ? 1 : 0;
}

/* -- handles
 * ------------------------------------------------------------------------------------------ */

static void drain(struct hostile *h)
{
	struct proto_slot s;

	while (hostile_pop(h, &s, 0))
		;
}

/* Whether an answer is not a refusal. */
static unsigned int count_successes(struct hostile *h)
{
	struct proto_slot s;
	unsigned int n = 0;

	while (hostile_pop(h, &s, 0)) {
		uint8_t ev = proto_head_op(s.head);

		n += ev == PROTO_EV_ACCEPTED || ev == PROTO_EV_INFO ||
		     (ev == PROTO_EV_RESULT && s.body.result.result >= 0);
	}
	return n;
}

static void name_handle(struct proto_slot *s, struct proto_handle sk)
{
	if (proto_head_op(s->head) == PROTO_OP_ACCEPT)
		s->body.accept.listener = sk;
	else
		s->body.info.handle = sk; /* first in all the others */
	if (proto_head_op(s->head) == PROTO_OP_SEND)
		s->body.send.ref = OFFSET(1 << 20);
}

/* Everything one can do to a handle, the worst last. */
static const struct proto_slot on_handle[] = {
	{HEAD(PROTO_OP_INFO)},
	{HEAD(PROTO_OP_ACCEPT)},
	{HEAD(PROTO_OP_SETOPT), .body.setopt = {.option = PROTO_SET_CORK, .value = 1}},
	{HEAD(PROTO_OP_SEND), .body.send = {.len_bytes = 4}},
	{HEAD(PROTO_OP_CONSUMED)},
	{HEAD(PROTO_OP_SHUTDOWN)},
	{HEAD(PROTO_OP_CLOSE), .body.close.flags = PROTO_CLOSE_ABORT},
};

/* Guesses: generations are a counter, indices are small. */
int case_handles(void)
{
	enum { INDICES = 48, GENERATIONS = 160 };
	uint64_t end_us = hostile_now_us() + 2 * HOSTILE_RUN_MS * UINT64_C(1000);
	unsigned int successes = 0, tried = 0;
	struct hostile h;

	hostile_attach(&h);
	for (uint32_t gen = 1; gen < GENERATIONS && hostile_now_us() < end_us; gen++) {
		for (uint32_t idx = 0; idx < INDICES; idx++) {
			for (size_t op = 0; op < COUNT(on_handle); op++) {
				struct proto_slot s = on_handle[op];

				name_handle(&s, (struct proto_handle){idx, gen});
				if (!hostile_push(&h, &s))
					return hostile_expect_alive(&h, "others' handles");
				tried++;
				successes += count_successes(&h);
			}
		}
	}
	usleep(10000);
	successes += count_successes(&h);
	printf("%u operations on others' handles, %u successful\n", tried, successes);
	return hostile_expect_alive(&h, "others' handles") || successes;
}

static bool echo_works(struct hostile *h, struct proto_handle sk)
{
	struct proto_slot s;

	hostile_send(h, sk, 0, 64);
	while (hostile_await(h, PROTO_EV_FLOW, &s))
		if (s.body.flow.gen == sk.gen && s.body.flow.received_pos == 64)
			return true;
	return false;
}

/* The index is the same, the generation that of a connection closed before. */
int case_generations(void)
{
	struct proto_handle old, fresh;
	struct proto_slot s = {HEAD(PROTO_OP_CLOSE), .body.close.flags = PROTO_CLOSE_ABORT};
	struct hostile h;
	bool works;

	hostile_attach(&h);
	old = hostile_connect(&h);
	s.body.close.handle = old;
	hostile_push(&h, &s);
	do {
		if (!hostile_await(&h, PROTO_EV_FLOW, &s))
			return hostile_expect_alive(&h, "no GONE");
	} while (!(s.body.flow.flags & PROTO_FLOW_GONE));
	fresh = hostile_connect(&h);
	for (size_t op = 0; op < COUNT(on_handle); op++) {
		s = on_handle[op];
		name_handle(&s, old);
		hostile_push(&h, &s);
	}
	works = echo_works(&h, fresh);
	printf("old %u.%u, new %u.%u, which %s\n", old.idx, old.gen, fresh.idx, fresh.gen,
		works ? "works" : "does not work");
	return hostile_expect_alive(&h, "stale generations") || !works;
}

/* -- too much of it
 * -------------------------------------------------------------------------------- */

/* Legal operations as fast as they are taken, answers read. */
int case_slots(void)
{
	uint64_t end_us = hostile_now_us() + HOSTILE_RUN_MS * UINT64_C(1000);
	struct proto_slot s = {HEAD(PROTO_OP_INFO)};
	struct hostile h;
	unsigned int n = 0;

	hostile_attach(&h);
	s.body.info.handle = hostile_connect(&h);
	while (hostile_now_us() < end_us) {
		n += hostile_try_push(&h, &s);
		drain(&h);
	}
	printf("%u slots\n", n);
	return hostile_expect_alive(&h, "slots without end");
}

/* Sends of one byte, none next to the other, to a peer that never reads: more descriptors than a
 * connection may have, which no correct client needs. */
int case_descriptors(void)
{
	struct proto_slot s = {HEAD(PROTO_OP_SEND), .body.send = {.len_bytes = 1}};
	struct hostile h;

	hostile_args.target_port++; /* where nobody accepts */
	hostile_attach(&h);
	s.body.send.handle = hostile_connect(&h);
	for (uint64_t i = 0; i < 2000000; i++) {
		s.body.send.pos = i;
		s.body.send.ref = OFFSET((1 << 20) + i * 2 % 900000);
		if (!hostile_push(&h, &s))
			break;
	}
	return hostile_expect(&h, PROTO_CONDEMNED_LIMIT, "descriptors of one byte");
}
