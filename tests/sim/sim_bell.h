/* Doorbells that ring in memory, with no system call.
 *
 * The engine is given a bell's number in a descriptor's place, and the linker hands its rings
 * (shm/doorbell.h) to this file: whatever links the simulator's library has --wrap for it. Numbers
 * below SIM_BELL_FIRST are descriptors, and are rung as ever.
 */
#ifndef SIM_BELL_H
#define SIM_BELL_H

#include <stdbool.h>

enum {
	SIM_BELL_FIRST = 1 << 24,
};

int sim_bell_new(void);
void sim_bell_free(int bell);
/* Whether it was rung since the last look. */
bool sim_bell_take(int bell);

#endif
