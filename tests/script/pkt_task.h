/* Threads that make the script's system calls, one at a time and on virtual time.
 *
 * The client library blocks in poll(2). Here it must not: whoever would sleep hands the baton
 * back to the world, which moves the clock. So a call runs on a thread of its own, and of all
 * threads exactly one runs at any moment: the world while it holds the baton, else the task
 * that it was handed to. poll, ppoll, nanosleep, sched_yield and clock_gettime are this
 * program's own, in the place of the C library's: for a task they sleep on the virtual clock,
 * for the world they are what they were, but for the time of day.
 *
 * A task that sleeps is ready again when one of its descriptors is, or when its time has come.
 */
#ifndef PKT_TASK_H
#define PKT_TASK_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PKT_TASKS_MAX = 16, /* calls that block at the same time */
};

typedef void pkt_task_fn(void *arg);

struct pkt_task;

/* The virtual clock that wrapped calls read. */
void pkt_clock_set(uint64_t now_us);
uint64_t pkt_clock_us(void);

/* Runs fn(arg) on an idle task until it ends or sleeps. NULL: all tasks are busy. */
struct pkt_task *pkt_task_start(pkt_task_fn *fn, void *arg);
/* True if the function has returned; the task is idle again then. */
bool pkt_task_done(const struct pkt_task *t);
/* Lets every sleeping task that is ready run; how many did. */
unsigned int pkt_task_turn(void);
/* True while a task sleeps. */
bool pkt_task_asleep(void);
/* When the first sleeping task wants to go on by itself; UINT64_MAX: none does. */
uint64_t pkt_task_next_us(void);

#endif
