/* Arenas: a memfd mapped once for its greatest length and given memory step by step.
 *
 * The mapping reaches past the file's end from the start, so growing never moves it. Only
 * fallocate makes the file longer: it allocates the pages or fails with an error code, where
 * touching memory that cannot be had would raise SIGBUS. Pages come from one NUMA node where
 * asked for: a policy on a shared mapping belongs to the file, so fallocate obeys it.
 *
 * The free list is a last-in-first-out stack of indices in private memory. An object is
 * cleared when it is freed, not when it is allocated: all memory that is not an object's
 * reads as zeroes, which is how a scan tells the two apart.
 */
#include <shm/arena.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_STEP_MIN_BYTES ((size_t)32 << 10)	 /* doubled with each step up to ... */
#define ARENA_STEP_MAX_BYTES ((size_t)256 << 10) /* about 100 us of allocation at a time */

static size_t page_round(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

static size_t arena_bytes(const struct shm_arena *a)
{
	return page_round(a->stride_bytes * a->max);
}

static int make_memfd(const char *name)
{
	char full[64];
	int fd;

	snprintf(full, sizeof(full), "mtcpd-arena-%s", name);
	fd = memfd_create(full, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

/* Prefers the node; memory elsewhere is better than none. */
static int bind_node(void *base, size_t len_bytes, int node)
{
	struct bitmask *nodes;
	long err;

	if (node < 0 || numa_available() < 0)
		return 0;
	if (node > numa_max_node())
		return -EINVAL;
	nodes = numa_allocate_nodemask();
	numa_bitmask_setbit(nodes, (unsigned int)node);
	err = mbind(base, len_bytes, MPOL_PREFERRED, nodes->maskp, nodes->size + 1, 0);
	err = err ? -errno : 0;
	numa_free_nodemask(nodes);
	return (int)err;
}

static void *reserve(size_t len_bytes, int flags, int fd)
{
	void *base = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);

	return base == MAP_FAILED ? NULL : base;
}

int shm_arena_init(
	struct shm_arena *a, const char *name, size_t stride_bytes, uint32_t max, int numa_node)
{
	int err;

	if (stride_bytes == 0 || max == 0 || max >= SHM_ARENA_IN_USE ||
		stride_bytes > SIZE_MAX / 2 / max)
		return -EINVAL;
	*a = (struct shm_arena){.stride_bytes = stride_bytes,
		.max = max,
		.free_head = SHM_ARENA_NONE,
		.numa_node = numa_node,
		.fd = make_memfd(name)};
	if (a->fd < 0)
		return a->fd;
	a->base = reserve(arena_bytes(a), MAP_SHARED, a->fd);
	a->free_next = reserve(max * sizeof(uint32_t), MAP_PRIVATE | MAP_ANONYMOUS, -1);
	err = a->base && a->free_next ? bind_node(a->base, arena_bytes(a), numa_node) : -ENOMEM;
	if (err)
		shm_arena_fini(a);
	return err;
}

void shm_arena_fini(struct shm_arena *a)
{
	if (a->base)
		munmap(a->base, arena_bytes(a));
	if (a->free_next)
		munmap(a->free_next, a->max * sizeof(uint32_t));
	if (a->fd >= 0)
		close(a->fd);
	*a = (struct shm_arena){.fd = -1, .free_head = SHM_ARENA_NONE};
}

/* Puts the objects that have memory now, and had none before, on the free list: lowest first. */
static void link_grown(struct shm_arena *a)
{
	size_t objects = a->mapped_bytes / a->stride_bytes;
	uint32_t grown = objects < a->max ? (uint32_t)objects : a->max;

	for (uint32_t i = grown; i > a->grown; i--) {
		a->free_next[i - 1] = a->free_head;
		a->free_head = i - 1;
	}
	a->grown = grown;
}

static size_t next_step(const struct shm_arena *a)
{
	size_t step = a->mapped_bytes;

	if (step < ARENA_STEP_MIN_BYTES)
		step = ARENA_STEP_MIN_BYTES;
	if (step > ARENA_STEP_MAX_BYTES)
		step = ARENA_STEP_MAX_BYTES;
	return page_round(a->stride_bytes > step ? a->stride_bytes : step);
}

int shm_arena_grow(struct shm_arena *a)
{
	size_t step = next_step(a);
	size_t left = arena_bytes(a) - a->mapped_bytes;

	if (step > left)
		step = left;
	if (step == 0)
		return -ENOSPC;
	while (fallocate(a->fd, 0, (off_t)a->mapped_bytes, (off_t)step)) {
		if (errno != EINTR)
			return -errno;
	}
	a->mapped_bytes += step;
	link_grown(a);
	return 0;
}

void shm_arena_free(struct shm_arena *a, uint32_t idx)
{
	assert(shm_arena_is_used(a, idx));
	memset(shm_arena_at(a, idx), 0, a->stride_bytes);
	shm_arena_put_back(a, idx);
}
