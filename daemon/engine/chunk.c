/* Receive chunks: cut from the payload of a session's `up` segments.
 *
 * A segment is cut into slabs of SLAB_BYTES. A slab is free, or one large chunk, or 16 small
 * ones with a bit each. All bookkeeping is the engine's own; the client sees only chunk
 * headers. Partial slabs are kept in a list so that taking and giving are O(1).
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

static struct slab *slab_at(const struct chunk_pool *p, uint32_t i)
{
	return &p->slabs[i];
}

static int pool_reserve(struct chunk_pool *p, uint32_t more)
{
	uint32_t want = p->slab_count + more;
	struct slab *slabs;

	if (want <= p->slab_capacity)
		return 0;
	slabs = realloc(p->slabs, want * sizeof(*slabs));
	if (!slabs)
		return -ENOMEM;
	p->slabs = slabs;
	p->slab_capacity = want;
	return 0;
}

static void slab_push_free(struct chunk_pool *p, uint32_t i)
{
	slab_at(p, i)->next = p->free_head;
	p->free_head = i;
	p->free_count++;
}

int chunk_pool_add(
	struct chunk_pool *p, uint32_t segment, uint8_t *base, uint64_t first, uint64_t bytes)
{
	uint32_t n = (uint32_t)(bytes / SLAB_BYTES);
	int rc = pool_reserve(p, n);

	if (rc)
		return rc;
	if (!p->slab_count) {
		p->free_head = NONE;
		p->partial_head = NONE;
	}
	for (uint32_t i = n; i-- > 0;) {
		uint32_t idx = p->slab_count + i;

		*slab_at(p, idx) = (struct slab){
			.ref = proto_ref_make(segment, first + (uint64_t)i * SLAB_BYTES),
			.base = base + first + (uint64_t)i * SLAB_BYTES,
		};
		slab_push_free(p, idx);
	}
	p->slab_count += n;
	return 0;
}

void chunk_pool_fini(struct chunk_pool *p)
{
	free(p->slabs);
	*p = (struct chunk_pool){.free_head = NONE, .partial_head = NONE};
}

static uint32_t take_slab(struct chunk_pool *p)
{
	uint32_t i = p->free_head;

	p->free_head = slab_at(p, i)->next;
	p->free_count--;
	return i;
}

static bool take_large(struct chunk_pool *p, struct rx_chunk *c)
{
	if (!p->free_count)
		return false;
	c->slab = take_slab(p);
	slab_at(p, c->slab)->large = true;
	c->piece = 0;
	c->cap = SLAB_BYTES - sizeof(struct proto_chunk);
	return true;
}

static void list_partial(struct chunk_pool *p, uint32_t idx)
{
	struct slab *s = slab_at(p, idx);

	s->prev = NONE;
	s->next = p->partial_head;
	if (s->next != NONE)
		slab_at(p, s->next)->prev = idx;
	p->partial_head = idx;
}

static void unlist_partial(struct chunk_pool *p, uint32_t idx)
{
	const struct slab *s = slab_at(p, idx);

	if (s->prev != NONE)
		slab_at(p, s->prev)->next = s->next;
	else
		p->partial_head = s->next;
	if (s->next != NONE)
		slab_at(p, s->next)->prev = s->prev;
}

static bool take_small(struct chunk_pool *p, struct rx_chunk *c)
{
	struct slab *s;

	if (p->partial_head == NONE) {
		uint32_t i;

		if (!p->free_count)
			return false;
		i = take_slab(p);
		slab_at(p, i)->large = false;
		slab_at(p, i)->free_mask = UINT16_MAX;
		list_partial(p, i);
	}
	c->slab = p->partial_head;
	s = slab_at(p, c->slab);
	c->piece = (uint16_t)__builtin_ctz(s->free_mask);
	c->cap = CHUNK_SMALL_BYTES - sizeof(struct proto_chunk);
	s->free_mask &= (uint16_t)(s->free_mask - 1);
	if (!s->free_mask)
		unlist_partial(p, c->slab);
	return true;
}

/* Fills slab, piece, cap and large of *c. False when the pool is empty. */
bool chunk_pool_take(struct chunk_pool *p, struct rx_chunk *c, bool large)
{
	if (!p->slab_count || !(large ? take_large(p, c) : take_small(p, c)))
		return false;
	c->large = large;
	p->chunks_used++;
	return true;
}

/* A slab that became all free is free for any use at once. */
static void give_small(struct chunk_pool *p, uint32_t idx, uint16_t piece)
{
	struct slab *s = slab_at(p, idx);

	assert(!(s->free_mask & 1u << piece));
	if (!s->free_mask)
		list_partial(p, idx);
	s->free_mask |= (uint16_t)(1u << piece);
	if (s->free_mask != UINT16_MAX)
		return;
	unlist_partial(p, idx);
	slab_push_free(p, idx);
}

void chunk_pool_give(struct chunk_pool *p, const struct rx_chunk *c)
{
	assert(c->slab < p->slab_count && p->chunks_used);
	p->chunks_used--;
	if (c->large)
		slab_push_free(p, c->slab);
	else
		give_small(p, c->slab, c->piece);
}

uint8_t *chunk_pool_base(const struct chunk_pool *p, const struct rx_chunk *c)
{
	return slab_at(p, c->slab)->base + (size_t)c->piece * CHUNK_SMALL_BYTES;
}

proto_ref chunk_pool_ref(const struct chunk_pool *p, const struct rx_chunk *c)
{
	return slab_at(p, c->slab)->ref + (uint64_t)c->piece * CHUNK_SMALL_BYTES;
}
