#include "sim_mem.h"

#include "sim_fail.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	ORDER_MIN = 12,
	ORDERS = 64,
	KEPT_MAX = 128, /* of an order */
};

/* What may be handed out again lies below what was freed since sim_mem_recycle(). */
struct shelf {
	struct sim_mem mem[KEPT_MAX];
	uint32_t ready, count;
};
static struct shelf shelves[2][ORDERS]; /* of `down`, of `up` */

static uint64_t mapped_bytes(const struct sim_mem *m)
{
	return UINT64_C(1) << m->order;
}

static struct sim_mem map(bool up, uint8_t order)
{
	int client_prot = up ? PROT_READ : PROT_READ | PROT_WRITE;
	struct sim_mem m = {.up = up, .order = order};
	int fd = memfd_create("sim", MFD_CLOEXEC);

	SIM_CHECK(fd >= 0 && !ftruncate(fd, (off_t)mapped_bytes(&m)), "memfd: %m");
	m.engine = mmap(NULL, mapped_bytes(&m), PROT_NONE, MAP_SHARED, fd, 0);
	m.client = mmap(NULL, mapped_bytes(&m), client_prot, MAP_SHARED, fd, 0);
	SIM_CHECK(m.engine != MAP_FAILED && m.client != MAP_FAILED, "mmap: %m");
	close(fd);
	return m;
}

struct sim_mem sim_mem_new(uint64_t bytes, bool up, uint64_t zero_bytes)
{
	uint8_t order = ORDER_MIN;
	struct shelf *s;
	struct sim_mem m;

	while (UINT64_C(1) << order < bytes)
		order++;
	s = &shelves[up][order];
	if (s->ready) {
		m = s->mem[--s->ready];
		s->mem[s->ready] = s->mem[--s->count];
	} else {
		m = map(up, order);
	}
	m.bytes = bytes;
	SIM_CHECK(!mprotect(m.engine, bytes, up ? PROT_READ | PROT_WRITE : PROT_READ),
		"mprotect: %m");
	memset(up ? m.engine : m.client, 0, zero_bytes);
	return m;
}

void sim_mem_free(struct sim_mem *m)
{
	struct shelf *s = &shelves[m->up][m->order];

	if (!m->bytes)
		return;
	if (s->count == KEPT_MAX) {
		munmap(m->engine, mapped_bytes(m));
		munmap(m->client, mapped_bytes(m));
	} else {
		SIM_CHECK(!mprotect(m->engine, m->bytes, PROT_NONE), "mprotect: %m");
		s->mem[s->count++] = *m;
	}
	*m = (struct sim_mem){0};
}

void sim_mem_recycle(void)
{
	for (int i = 0; i < 2 * ORDERS; i++)
		shelves[i / ORDERS][i % ORDERS].ready = shelves[i / ORDERS][i % ORDERS].count;
}
