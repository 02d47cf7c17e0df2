/* Where things lie in the first pair of segments of a session.
 *
 * Both sides compute the layout from the same numbers with proto_layout_init(). Later
 * segments (index >= 1) are payload from end to end.
 *
 * down: [ctx lines][completion consumer indices][submission slots][payload ...]
 * up:   [header][submission consumer lines][completion slots][payload ...]
 */
#ifndef PROTO_LAYOUT_H
#define PROTO_LAYOUT_H

#include <shm/ring.h>

#include <stddef.h>
#include <stdint.h>

enum {
	PROTO_CONTEXTS_MAX = 64,
	PROTO_ENGINES_MAX = 64,
	PROTO_SEGMENTS_MAX = 64, /* a direction */
	PROTO_RING_ORDER_MIN = 4,
	PROTO_RING_ORDER_MAX = 14,
};

/* down: one per context, written by the client. */
struct proto_ctx_line {
	/* Odd: a waiter of this context blocks; counts as shm/doorbell.h says. */
	_Alignas(SHM_CACHE_LINE) _Atomic uint32_t sleeping;
};

/* An index on a line of its own. */
struct proto_index_line {
	_Alignas(SHM_CACHE_LINE) _Atomic uint32_t idx;
};

/* up: one per (context, engine), written by the engine. */
struct proto_submission_line {
	_Alignas(SHM_CACHE_LINE) _Atomic uint32_t cons_idx;
	/* Odd: the engine does not poll this ring, ring the doorbell (shm/doorbell.h). */
	_Atomic uint32_t unwatched;
};

/* up: one per session. */
struct proto_up_header {
	_Alignas(SHM_CACHE_LINE) uint32_t version;
	uint32_t session;
	_Atomic uint64_t epoch;	       /* of the daemon: start time, us */
	_Atomic uint64_t heartbeat_us; /* CLOCK_MONOTONIC, at least every 100 ms */
	_Atomic uint32_t condemned;    /* 0, or an enum proto_condemned: the session is over */
};

struct proto_layout {
	uint32_t contexts;
	uint32_t engines;
	uint32_t ring_order_log2;
	/* down */
	size_t ctx_lines;
	size_t completion_indices;
	size_t submission_slots;
	size_t down_payload;
	/* up */
	size_t submission_lines;
	size_t completion_slots;
	size_t up_payload;
};

/* 0, or -EINVAL if a number is out of bounds. Payload begins on a 4 KiB boundary. */
int proto_layout_init(
	struct proto_layout *l, uint32_t contexts, uint32_t engines, uint32_t ring_order_log2);

/* Index of (ctx, engine) in every per-pair array. */
static inline size_t proto_layout_pair(const struct proto_layout *l, uint32_t ctx, uint32_t engine)
{
	return (size_t)ctx * l->engines + engine;
}

struct proto_ctx_line *proto_layout_ctx_line(
	const struct proto_layout *l, uint8_t *down, uint32_t ctx);
_Atomic uint32_t *proto_layout_completion_idx(
	const struct proto_layout *l, uint8_t *down, uint32_t ctx, uint32_t engine);
struct shm_slot *proto_layout_submission_slots(
	const struct proto_layout *l, uint8_t *down, uint32_t ctx, uint32_t engine);
struct proto_submission_line *proto_layout_submission_line(
	const struct proto_layout *l, uint8_t *up, uint32_t ctx, uint32_t engine);
struct shm_slot *proto_layout_completion_slots(
	const struct proto_layout *l, uint8_t *up, uint32_t ctx, uint32_t engine);

#endif
