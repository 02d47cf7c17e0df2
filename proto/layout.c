/* Offsets of the arrays in a session's first two segments: each follows the one before. */
#include <proto/layout.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

#define PAYLOAD_ALIGN ((size_t)4096)

static_assert(sizeof(struct proto_ctx_line) == SHM_CACHE_LINE, "one writer per line");
static_assert(sizeof(struct proto_index_line) == SHM_CACHE_LINE, "one writer per line");
static_assert(sizeof(struct proto_submission_line) == SHM_CACHE_LINE, "one writer per line");
static_assert(sizeof(struct proto_up_header) == SHM_CACHE_LINE, "version 1");

static size_t payload_round(size_t offset)
{
	return (offset + PAYLOAD_ALIGN - 1) & ~(PAYLOAD_ALIGN - 1);
}

int proto_layout_init(
	struct proto_layout *l, uint32_t contexts, uint32_t engines, uint32_t ring_order_log2)
{
	size_t pairs = (size_t)contexts * engines;
	size_t slots_bytes;

	if (contexts < 1 || contexts > PROTO_CONTEXTS_MAX || engines < 1 ||
		engines > PROTO_ENGINES_MAX || ring_order_log2 < PROTO_RING_ORDER_MIN ||
		ring_order_log2 > PROTO_RING_ORDER_MAX)
		return -EINVAL;
	slots_bytes = (pairs << ring_order_log2) * sizeof(struct shm_slot);
	memset(l, 0, sizeof(*l));
	l->contexts = contexts;
	l->engines = engines;
	l->ring_order_log2 = ring_order_log2;

	l->ctx_lines = 0;
	l->completion_indices = l->ctx_lines + contexts * sizeof(struct proto_ctx_line);
	l->submission_slots = l->completion_indices + pairs * sizeof(struct proto_index_line);
	l->down_payload = payload_round(l->submission_slots + slots_bytes);

	l->submission_lines = sizeof(struct proto_up_header);
	l->completion_slots = l->submission_lines + pairs * sizeof(struct proto_submission_line);
	l->up_payload = payload_round(l->completion_slots + slots_bytes);
	return 0;
}

/* The pair's number; callers pass numbers of their own, never a client's. */
static size_t pair_of(const struct proto_layout *l, uint32_t ctx, uint32_t engine)
{
	assert(ctx < l->contexts && engine < l->engines);
	return proto_layout_pair(l, ctx, engine);
}

struct proto_ctx_line *proto_layout_ctx_line(
	const struct proto_layout *l, uint8_t *down, uint32_t ctx)
{
	assert(ctx < l->contexts);
	return (struct proto_ctx_line *)(down + l->ctx_lines) + ctx;
}

_Atomic uint32_t *proto_layout_completion_idx(
	const struct proto_layout *l, uint8_t *down, uint32_t ctx, uint32_t engine)
{
	struct proto_index_line *lines = (struct proto_index_line *)(down + l->completion_indices);

	return &lines[pair_of(l, ctx, engine)].idx;
}

struct shm_slot *proto_layout_submission_slots(
	const struct proto_layout *l, uint8_t *down, uint32_t ctx, uint32_t engine)
{
	struct shm_slot *slots = (struct shm_slot *)(down + l->submission_slots);

	return slots + (pair_of(l, ctx, engine) << l->ring_order_log2);
}

struct proto_submission_line *proto_layout_submission_line(
	const struct proto_layout *l, uint8_t *up, uint32_t ctx, uint32_t engine)
{
	struct proto_submission_line *lines =
		(struct proto_submission_line *)(up + l->submission_lines);

	return lines + pair_of(l, ctx, engine);
}

struct shm_slot *proto_layout_completion_slots(
	const struct proto_layout *l, uint8_t *up, uint32_t ctx, uint32_t engine)
{
	struct shm_slot *slots = (struct shm_slot *)(up + l->completion_slots);

	return slots + (pair_of(l, ctx, engine) << l->ring_order_log2);
}
