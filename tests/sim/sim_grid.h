/* Throughput of each congestion control over loss, round trip and buffer, against theory. */
#ifndef SIM_GRID_H
#define SIM_GRID_H

#include <stdint.h>

/* Prints tables; with json_path also writes the figures there. `seconds` of virtual time a cell.
 * Returns an exit status. */
int sim_grid_run(uint64_t seed, uint32_t seconds, const char *json_path);

#endif
