/* The memory of sessions: two mappings of it, of which one can only be read, as between processes.
 *
 * A segment that is given back cannot be touched by the engine: if it still does it meets a fault.
 * That lasts until sim_mem_recycle(); then it may be handed out again, with what was in it. To make
 * and to unmake one costs more than most runs have to do, so a process keeps them. To change the
 * protection of pages is dear, too: the client's mapping, which is the simulator's own, is as it is
 * for good.
 */
#ifndef SIM_MEM_H
#define SIM_MEM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_mem {
	uint8_t *engine; /* the engine's mapping */
	uint8_t *client;
	uint64_t bytes;
	bool up;
	uint8_t order; /* log2 of what is mapped; behind `bytes` the engine meets a fault */
};

/* `up`: the engine writes and the client reads; else the other way round. The first zero_bytes are
 * zeroes. */
struct sim_mem sim_mem_new(uint64_t bytes, bool up, uint64_t zero_bytes);
/* *m is all zero afterwards; nothing happens to one that is. */
void sim_mem_free(struct sim_mem *m);
/* Nobody refers to what was freed until now. */
void sim_mem_recycle(void);

#endif
