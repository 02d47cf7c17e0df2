/* Invariants of an engine's own state.
 *
 * The one place outside daemon/engine that looks inside it (engine/internal.h): what these
 * checks protect cannot be seen from outside until much later.
 */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "sim_host.h"

/* After every turn: the control blocks' numbers are in order; whoever waits for something
 * has a deadline or is due; memory is within its limits. */
void sim_check_turn(const struct sim_host *h, uint64_t now_us);
/* Less often: what the pools have lent out is what the connections hold. */
void sim_check_memory(const struct sim_host *h);
/* Nothing is left of any connection: arenas empty, pools whole. */
void sim_check_clean(const struct sim_host *h);
/* No connection, half-open entry, TIME-WAIT or socket is left. */
bool sim_check_is_quiet(const struct sim_host *h);

#endif
