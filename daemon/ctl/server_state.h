/* The server as the files of the control plane see it; nobody else includes this. */
#ifndef CTL_SERVER_STATE_H
#define CTL_SERVER_STATE_H

#include <ctl/agent.h>
#include <ctl/attach.h>
#include <ctl/config.h>
#include <ctl/control.h>
#include <ctl/counters.h>
#include <ctl/loop.h>
#include <ctl/names.h>
#include <ctl/runtime.h>
#include <ctl/server.h>
#include <ctl/session.h>
#include <ctl/uid.h>

#include <errno.h>
#include <net/route.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	SERVER_TICK_US = 50000,
	SERVER_IDLE_TICK_US = 5000000, /* while there is no session */
	SERVER_FDS_RESERVE = 256,      /* for files of a moment: exports, /proc, logs, libraries */
};

struct server {
	struct server_params p;
	struct runtime runtime;
	struct uid_table *uids;
	struct names *names;
	struct ctl_session_table sessions;
	struct attach attach;
	struct control_set controls;
	struct agent_link agent;
	struct loop_timer tick;
	uint64_t epoch_us; /* CLOCK_REALTIME at start */
	uint64_t started_us;
	uint64_t swept_us;
	uint32_t fds_max, fds_used;
	uint32_t contexts_max;
	bool has_uffd;
	struct ctl_counters counters;
};

/* Ticks at SERVER_TICK_US from now on; there is a session. */
void server_tick_soon(struct server *s);

/* A copy of the interface as it is now. */
void server_iface(const struct server *s, struct net_iface *iface);

/* Takes n descriptors of the budget. 0 or -EMFILE. */
static inline int server_fds_take(struct server *s, uint32_t n)
{
	if (n > s->fds_max - s->fds_used)
		return -EMFILE;
	s->fds_used += n;
	return 0;
}
static inline void server_fds_give(struct server *s, uint32_t n)
{
	s->fds_used -= n;
}

#endif
