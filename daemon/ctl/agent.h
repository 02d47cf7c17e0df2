/* The socket of the agent of off-path congestion control (proto/mtcp_agent.h).
 *
 * The main thread carries reports from the engines' rings to the agent's socket and orders the
 * other way, and waits for neither: what the socket does not take stays in the rings, which then
 * refuse more, and what an engine's ring does not take is dropped and counted. One agent at a
 * time, of a user who may: root, the daemon's own, or congestion_agent_user. One that breaks the
 * protocol is shut out; it may come again, no oftener than any client.
 *
 * Each agent has an epoch, a number that none had before it; engines know by it which reports and
 * orders are still of interest. 0 tells them that there is none.
 */
#ifndef CTL_AGENT_H
#define CTL_AGENT_H

#include <ctl/loop.h>
#include <ctl/peer.h>
#include <proto/mtcp_agent.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	AGENT_DEADLINE_US = 5000000, /* to say hello */
	AGENT_PACKETS_MAX = 16,	     /* each way, of one turn of the loop */
};

struct server;

struct agent_link {
	int listen_fd; /* -1: not configured */
	struct loop_watch listen_watch;
	uint32_t uid;	 /* that may attach beside root and our own */
	uint32_t epochs; /* of the last agent */

	int fd; /* -1: none */
	struct peer peer;
	uint64_t since_us;
	bool attached; /* has said hello */
	struct loop_watch watch;
	struct loop_timer deadline;
	/* A packet that the socket did not take yet. */
	struct mtcp_agent_report batch[MTCP_AGENT_BATCH];
	uint32_t batch_count;
	uint32_t next_engine; /* whose reports come first, in turn */
	uint64_t reports, orders;
};

/* Begins to accept on the listening socket fd, which becomes ours. 0 or -errno. */
int agent_start(struct server *s, int fd);
/* Closes the listening socket; an agent that is attached goes on. */
void agent_stop_accepting(struct server *s);
/* Closes everything; engines are gone by then. */
void agent_stop(struct server *s);

/* Engines have posted: there may be reports. */
void agent_pump(struct server *s);

/* For mtcpctl; NULL: memory is out. */
json_t *agent_json(const struct server *s);

#endif
