/* The engines' arenas (shm/arena.h), kept from one seed to the next.
 *
 * To make an arena, and to fault its pages in, costs more than most runs do with it, and a run has
 * two dozen. So the linker hands shm_arena_init() and shm_arena_fini() to this file (--wrap): an
 * arena that an engine has done with waits here for the next engine, which gets it as new, all zero
 * and without an object. That it is zero is what an arena promises of all that is no object's, and
 * is looked at here.
 */
#include "sim_fail.h"

#include <shm/arena.h>

#include <stdbool.h>
#include <string.h>

enum {
	KEPT_MAX = 32,
};

static struct shm_arena kept[KEPT_MAX];
static uint32_t kept_count;

int __real_shm_arena_init(
	struct shm_arena *a, const char *name, size_t stride, uint32_t max, int node);
int __wrap_shm_arena_init(
	struct shm_arena *a, const char *name, size_t stride, uint32_t max, int node);
void __real_shm_arena_fini(struct shm_arena *a);
void __wrap_shm_arena_fini(struct shm_arena *a);

int __wrap_shm_arena_init(
	struct shm_arena *a, const char *name, size_t stride, uint32_t max, int node)
{
	for (uint32_t i = 0; i < kept_count; i++) {
		const struct shm_arena *k = &kept[i];

		if (k->stride_bytes != stride || k->max != max || k->numa_node != node)
			continue;
		*a = *k;
		kept[i] = kept[--kept_count];
		return 0;
	}
	return __real_shm_arena_init(a, name, stride, max, node);
}

static void clear_used(struct shm_arena *a)
{
	for (uint32_t i = 0; a->used; i++) {
		if (!shm_arena_is_used(a, i))
			continue;
		memset(shm_arena_at(a, i), 0, a->stride_bytes);
		a->used--;
	}
}

static bool is_zero(const uint8_t *p, size_t bytes)
{
	return !bytes || (!p[0] && !memcmp(p, p + 1, bytes - 1));
}

void __wrap_shm_arena_fini(struct shm_arena *a)
{
	if (a->fd < 0 || kept_count == KEPT_MAX) {
		__real_shm_arena_fini(a);
		return;
	}
	clear_used(a);
	SIM_CHECK(is_zero(a->base, a->mapped_bytes), "an arena holds more than its objects");
	a->mapped_bytes = 0;
	a->grown = 0;
	a->free_head = SHM_ARENA_NONE;
	kept[kept_count++] = *a;
	*a = (struct shm_arena){.fd = -1, .free_head = SHM_ARENA_NONE};
}
