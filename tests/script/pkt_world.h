/* The host under test, the other end of its link, and the clock.
 *
 * One host: an engine on a simulated port, as in the simulator, with the control plane of the
 * daemon (ctl/server.h) in front of it and the client library in this very process, attached
 * through the daemon's socket and real rings. Everything but the port and the clock is what
 * runs in production. The other end of the link is the script: frames that the host sends are
 * kept in order with their times, frames that the script wants to arrive are put on the link.
 * The neighbour's ARP and neighbour discovery are answered here and not shown.
 */
#ifndef PKT_WORLD_H
#define PKT_WORLD_H

#include "pkt_task.h"

#include <sim/sim_host.h>
#include <sim/sim_wire.h>

#include <ctl/config.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	PKT_LOCAL = 0, /* sides of the link */
	PKT_REMOTE = 1,
};
#define PKT_START_US UINT64_C(1000000000)

/* A frame that the host has sent. */
struct pkt_seen {
	struct pkt_seen *next;
	uint64_t at_us;
	uint32_t len_bytes;
	uint8_t data[];
};

struct server;
struct loop;

struct pkt_world {
	struct sim_link link;
	struct sim_host host;
	struct sim_host_config host_cfg;
	struct sim_wire wire;
	struct config cfg;
	struct loop *loop;
	struct server *server;
	int bells; /* epoll of the sessions' eventfds */
	const char *dir;
	uint64_t now_us;
	struct pkt_seen *seen, **seen_end;
};

/* What a script may change before pkt_world_open(). The daemon's sockets are made below dir. */
void pkt_world_init(struct pkt_world *w, const char *dir);
/* 0 or -errno. */
int pkt_world_open(struct pkt_world *w);
/* Writes what has to be written. The rest ends with the process, calls that sleep included. */
void pkt_world_close(struct pkt_world *w);

/* Lets everybody work until nobody has anything to do at this moment. */
void pkt_world_settle(struct pkt_world *w);
/* Jumps to the next moment, at most until_us, and settles. False: it is that late already. */
bool pkt_world_step(struct pkt_world *w, uint64_t until_us);
void pkt_world_run_until(struct pkt_world *w, uint64_t until_us);

void pkt_world_inject(struct pkt_world *w, const uint8_t *frame, uint32_t len);
/* The oldest frame not taken yet, or NULL. The caller frees it. */
struct pkt_seen *pkt_world_take(struct pkt_world *w);

#endif
