/* An agent of congestion control, as the engine meets it: sober, mad, mute or asleep.
 *
 * It takes part in every turn in the main thread's place, answers reports at once or some turns
 * later, and comes and goes. Of what it is told it checks that it can be true: each connection is
 * introduced once, its reports are numbered without a gap, and when all is over each has been
 * closed, unless the engine counted that it could not say so.
 */
#ifndef SIM_AGENT_H
#define SIM_AGENT_H

#include "sim_rng.h"

#include <proto/mtcp_agent.h>

enum sim_agent_kind {
	SIM_AGENT_NONE,
	SIM_AGENT_SOBER,
	SIM_AGENT_MAD,	  /* orders of anything for anybody */
	SIM_AGENT_MUTE,	  /* reads, and never answers */
	SIM_AGENT_ASLEEP, /* does not read for long times */
	SIM_AGENT_KINDS
};

enum {
	SIM_AGENT_SLOTS = 4096,
	SIM_AGENT_WAITING = 64,
};

struct sim_agent {
	enum sim_agent_kind kind;
	struct sim_rng rng;
	uint32_t epochs;
	bool attached;
	bool asleep;
	struct mtcp_agent_report waiting[SIM_AGENT_WAITING]; /* to be answered later */
	uint32_t waiting_count;
	uint32_t open; /* connections introduced and not closed */
	struct sim_agent_flow {
		uint64_t number; /* 0: none */
		uint32_t seq;
	} * flow; /* SIM_AGENT_SLOTS; NULL if there is no agent */
};

struct engine;
void sim_agent_init(struct sim_agent *a, enum sim_agent_kind kind, uint64_t seed);
void sim_agent_fini(struct sim_agent *a);
/* One turn of the main thread; returns how many reports and orders. */
unsigned int sim_agent_turn(struct sim_agent *a, struct engine *e);
/* The engine has no connection left. */
void sim_agent_check_over(struct sim_agent *a, struct engine *e);

#endif
