/* A seed's scenario: drawn, run, verified. Any violation aborts (sim_fail.h). */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "sim_link.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_scenario_options {
	bool trace;	  /* one line per frame to stdout */
	const char *pcap; /* pcapng file to write, or NULL */
	bool describe;	  /* print what was drawn and what came of it */
};

struct sim_scenario_result {
	uint64_t virtual_us;
	struct sim_link_stats link;
};

void sim_scenario_run(uint64_t seed, const struct sim_scenario_options *options,
	struct sim_scenario_result *result);

#endif
