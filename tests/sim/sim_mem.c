#include "sim_mem.h"

#include "sim_fail.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	ORDER_MIN = 12,
	ORDERS = 64,
	KEPT_MAX = 64, /* of an order */
};

/* What may be handed out again lies below what was freed since sim_mem_recycle(). */
struct shelf {
	struct sim_mem mem[KEPT_MAX];
	uint32_t ready, count;
};
static struct shelf shelves[ORDERS];

static uint64_t mapped_bytes(const struct sim_mem *m)
{
	return UINT64_C(1) << m->order;
}

static struct sim_mem map(uint8_t order)
{
	struct sim_mem m = {.order = order};
	int fd = memfd_create("sim", MFD_CLOEXEC);

	SIM_CHECK(fd >= 0 && !ftruncate(fd, (off_t)mapped_bytes(&m)), "memfd: %m");
	m.engine = mmap(NULL, mapped_bytes(&m), PROT_NONE, MAP_SHARED, fd, 0);
	m.client = mmap(NULL, mapped_bytes(&m), PROT_NONE, MAP_SHARED, fd, 0);
	SIM_CHECK(m.engine != MAP_FAILED && m.client != MAP_FAILED, "mmap: %m");
	close(fd);
	return m;
}

static void protect(uint8_t *base, uint64_t bytes, int prot)
{
	SIM_CHECK(!mprotect(base, bytes, prot), "mprotect: %m");
}

struct sim_mem sim_mem_new(uint64_t bytes, bool up, uint64_t zero_bytes)
{
	uint8_t order = ORDER_MIN;
	struct shelf *s;
	struct sim_mem m;

	while (UINT64_C(1) << order < bytes)
		order++;
	s = &shelves[order];
	if (s->ready) {
		m = s->mem[--s->ready];
		s->mem[s->ready] = s->mem[--s->count];
	} else {
		m = map(order);
	}
	m.bytes = bytes;
	protect(up ? m.engine : m.client, bytes, PROT_READ | PROT_WRITE);
	protect(up ? m.client : m.engine, bytes, PROT_READ);
	memset(up ? m.engine : m.client, 0, zero_bytes);
	return m;
}

void sim_mem_free(struct sim_mem *m)
{
	struct shelf *s = &shelves[m->order];

	if (!m->bytes)
		return;
	if (s->count == KEPT_MAX) {
		munmap(m->engine, mapped_bytes(m));
		munmap(m->client, mapped_bytes(m));
	} else {
		protect(m->engine, mapped_bytes(m), PROT_NONE);
		protect(m->client, mapped_bytes(m), PROT_NONE);
		s->mem[s->count++] = *m;
	}
	*m = (struct sim_mem){0};
}

void sim_mem_recycle(void)
{
	for (int i = 0; i < ORDERS; i++)
		shelves[i].ready = shelves[i].count;
}
