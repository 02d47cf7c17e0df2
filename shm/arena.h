/* An arena: fixed-size, pointer-free objects in a memfd of their own.
 *
 * Address space for `max` objects is reserved once, memory is added as the arena grows, so
 * an index stays valid and `base` never moves. The object's first use after allocation sees
 * zeroes. The free list is kept beside the objects, never inside them, so that a later
 * daemon can rebuild it by a scan. One thread uses an arena; nothing here locks.
 */
#ifndef SHM_ARENA_H
#define SHM_ARENA_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_ARENA_NONE UINT32_MAX

struct shm_arena {
	uint8_t *base;
	size_t stride_bytes;
	size_t mapped_bytes;
	uint32_t max;
	uint32_t grown; /* objects that have memory */
	uint32_t used;	/* objects allocated */
	uint32_t free_head;
	uint32_t *free_next; /* beside the objects; UINT32_MAX - 1 marks one in use */
	int fd;
	int numa_node;
};

/* numa_node -1: anywhere. 0 or -errno. */
int shm_arena_init(
	struct shm_arena *a, const char *name, size_t stride_bytes, uint32_t max, int numa_node);
void shm_arena_fini(struct shm_arena *a);

#define SHM_ARENA_IN_USE (SHM_ARENA_NONE - 1)

/* Adds objects to the free list: 0, -ENOSPC (there are `max`) or -errno. */
int shm_arena_grow(struct shm_arena *a);
/* A zeroed object's index, or SHM_ARENA_NONE when `max` is reached or memory is out. */
static inline uint32_t shm_arena_alloc(struct shm_arena *a)
{
	uint32_t idx = a->free_head;

	if (idx == SHM_ARENA_NONE) {
		if (shm_arena_grow(a))
			return SHM_ARENA_NONE;
		idx = a->free_head;
	}
	assert(idx < a->grown);
	a->free_head = a->free_next[idx];
	a->free_next[idx] = SHM_ARENA_IN_USE;
	a->used++;
	return idx;
}
static inline void *shm_arena_at(const struct shm_arena *a, uint32_t idx)
{
	return a->base + (size_t)idx * a->stride_bytes;
}
/* Whether idx is allocated; any value may be asked. */
static inline int shm_arena_is_used(const struct shm_arena *a, uint32_t idx)
{
	return idx < a->grown && a->free_next[idx] == SHM_ARENA_IN_USE;
}
/* Frees an object that the caller has zeroed: who knows its size does that with a few stores. */
static inline void shm_arena_put_back(struct shm_arena *a, uint32_t idx)
{
	assert(shm_arena_is_used(a, idx));
	a->free_next[idx] = a->free_head;
	a->free_head = idx;
	a->used--;
}
void shm_arena_free(struct shm_arena *a, uint32_t idx);

#endif
