/* A seed's scenario: drawn, run, verified. Any violation aborts (sim_fail.h). */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

struct sim_scenario_options {
	bool trace;	  /* one line per frame to stdout */
	const char *pcap; /* file to write, or NULL */
	bool describe;	  /* print what was drawn and what came of it */
};

void sim_scenario_run(uint64_t seed, const struct sim_scenario_options *options);

#endif
