/* Goodput over links that lose, with SACK and without. */
#ifndef SIM_GOODPUT_H
#define SIM_GOODPUT_H

#include <stdint.h>

/* Prints a table, each figure the mean over the seeds. Returns an exit status. */
int sim_goodput_table(uint64_t first_seed, uint64_t last_seed);

#endif
