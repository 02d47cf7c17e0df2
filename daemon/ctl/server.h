/* The control plane: the socket that clients attach to, and the one that mtcpctl reads.
 *
 * Everything here runs on the main thread, from callbacks of its loop; nothing blocks. The
 * server owns sessions (session.h), the names they bind (names.h), what each uid may have
 * (uid.h) and the control connections (control.h). It talks to engines by messages only and is
 * the one taker of what they post.
 *
 * Order of life: server_create() after the engines and their threads; whenever an engine has
 * posted, server_engines_posted(); at the end server_stop_accepting(), which leaves the sessions
 * that exist alone; then, when the threads have been stopped and the engines destroyed (they read
 * the sessions' memory until then), server_destroy().
 */
#ifndef CTL_SERVER_H
#define CTL_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

struct config;
struct loop;
struct engine;
struct engine_thread;
struct nic_port;
struct net_iface;
struct net_neigh_table;
struct net_nd_host;

struct server;

/* Everything is borrowed and must outlive the server. */
struct server_params {
	const struct config *cfg;
	struct loop *loop;
	struct engine *const *engines;
	struct engine_thread *const *threads;
	uint32_t engine_count;
	struct nic_port *port;
	const struct net_iface *iface; /* as configured */
	struct net_nd_host *nd;	       /* what has become of it; NULL: the same */
	struct net_neigh_table *neigh;
	/* [65536], zero at start; the engines got the same array as engine_config.port_owner. */
	_Atomic uint32_t *port_owner;
	struct claims *claims;		/* likewise, but for its key */
	uint16_t port_first, port_last; /* the main thread's ephemeral ports, for bind(0) */
	const char *version;		/* of the daemon, for `mtcpctl version` */
};

/* Makes the runtime directory and both sockets and begins to serve. Calls shm_guard_init().
 * 0 or -errno with the reason logged: -EADDRINUSE, another daemon answers on the socket. */
int server_create(struct server **s, const struct server_params *params);

/* Call when an engine has rung the main thread (engine_posted()): takes every message of every
 * engine. ENGINE_CMD_DRAIN and _ABORT that main() posted come back here too and are freed. */
void server_engines_posted(struct server *s);

/* Closes both listening sockets and removes their files: no new client, no new mtcpctl. */
void server_stop_accepting(struct server *s);

/* Ends every session and frees all; removes the runtime directory if server_create() made it.
 * Engines and threads are gone by then. NULL is fine. */
void server_destroy(struct server *s);

#endif
