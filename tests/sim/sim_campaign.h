/* Many seeds, in as many processes as there are jobs.
 *
 * A seed that fails, by an invariant, an assertion, a sanitizer, or because it does not end,
 * takes its process along: it is named together with the command that repeats it, run once more
 * to write down what was on its wire, and another process goes on behind it.
 */
#ifndef SIM_CAMPAIGN_H
#define SIM_CAMPAIGN_H

#include "sim_scenario.h"

struct sim_campaign {
	uint64_t first, last; /* seeds */
	uint32_t jobs;
	uint32_t failures_max; /* enough to see that it is no accident: then it stops */
	uint32_t speed_min;    /* virtual seconds that a second of a core must reach; 0: any */
	const char *keep;      /* directory for pcapng files of what failed; NULL: none */
	const char *program;   /* argv[0], for the command that repeats a seed */
	struct sim_scenario_options options;
};

/* 0: all held, 1: some did not, 2: it could not be run. */
int sim_campaign_run(const struct sim_campaign *c);

#endif
