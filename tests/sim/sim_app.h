/* Applications: what is sent over each connection, and whether it arrives.
 *
 * A flow is one connection with two ends. Bytes follow a pattern of their flow, direction and
 * position, so that each byte read is known to be the right one at the right place. Ends differ
 * in how much they send, in what pieces they read and write, when they stall, and how they
 * leave: shutdown then close, close at once, abort in the middle, or the crash of the process.
 *
 * A flow in which somebody aborts or crashes is tainted: what was read must still be a prefix
 * of what was sent, but either end may fail, and one that hears nothing any more gives up.
 */
#ifndef SIM_APP_H
#define SIM_APP_H

#include "sim_world.h"

enum {
	SIM_APP_FLOWS_MAX = 64,
};
#define SIM_APP_NEVER UINT64_MAX

struct sim_end_spec {
	uint64_t tx_bytes;
	uint64_t abort_at_pos; /* SIM_APP_NEVER, or: RST when so much was sent */
	uint64_t stall_us;     /* reads nothing ... */
	uint64_t stall_at_pos; /* ... once so much was read */
	uint32_t write_max_bytes;
	uint32_t read_max_bytes;
	uint32_t consume_step_bytes; /* tells the engine after so much */
	bool shutdown;		     /* before close */
	bool nodelay;
	bool more; /* writes with MORE, but for the last */
};
struct sim_flow_spec {
	struct sim_end_spec end[2]; /* 0: who connects; 1: who accepts, or connects too */
	int side;		    /* of end 0 */
	uint16_t port;
	uint64_t start_us; /* after the world's beginning */
	bool simultaneous; /* both connect, from bound ports */
	bool ip6;
};

enum sim_end_phase {
	SIM_END_WAIT, /* no socket yet */
	SIM_END_OPEN,
	SIM_END_CLOSED, /* closed by us, GONE has not come */
	SIM_END_DONE,
	SIM_END_FAILED, /* could not be opened */
	SIM_END_CRASHED,
};

struct sim_end {
	struct sim_end_spec spec;
	struct sim_client *client;
	struct sim_sock *sk;
	enum sim_end_phase phase;
	uint64_t stalled_until_us;
	bool stalled, fin_seen, reset;
	uint32_t told_error;
};
struct sim_flow {
	struct sim_end end[2];
	struct sim_flow_spec spec;
	bool tainted;
	uint64_t tainted_us;
};

struct sim_app {
	struct sim_world *world;
	struct sim_rng rng;
	struct sim_flow flows[SIM_APP_FLOWS_MAX];
	uint32_t flow_count;
	uint8_t live[SIM_APP_FLOWS_MAX]; /* those in which something may still happen */
	uint32_t live_count;
	uint64_t bytes;	       /* read in all */
	uint32_t accept_ahead; /* this many ACCEPTs wait at each listener; 0: as asked for */
};

/* Becomes the world's driver. */
void sim_app_init(struct sim_app *a, struct sim_world *w, uint64_t seed);
/* A flow between two clients, which listen themselves if they must. */
struct sim_flow *sim_app_flow(struct sim_app *a, const struct sim_flow_spec *spec,
	struct sim_client *from, struct sim_client *to);
/* The process dies in the middle of whatever it does. */
void sim_app_crash(struct sim_app *a, struct sim_client *c);
/* From now on any flow may fail, but none may bring wrong bytes. */
void sim_app_taint(struct sim_app *a);
/* Every end is done, failed or crashed. */
bool sim_app_is_done(void *app);
/* Where each flow stands that is not done, for whoever has to find out why. */
void sim_app_report(const struct sim_app *a);
/* Untainted flows: all bytes arrived, FINs seen, no error. */
void sim_app_verify(const struct sim_app *a);

#endif
