/* Names: which session has which local port, and who listens.
 *
 * The main thread owns every name, so a bind needs no engine's agreement: engines read
 * port_owner, which this writes, when a client connects from a bound port and when they choose
 * an ephemeral one, and the claims where several sessions have names of one port. The rules
 * are those of Linux, whosesoever the names are:
 *
 *	bind	conflicts with a name of the same port whose address overlaps (equal, or one of
 *		them any), unless both have REUSEADDR and the other does not listen, or both
 *		have REUSEPORT and belong to one user
 *	listen	conflicts with a listener of the same port whose address overlaps, unless both
 *		have REUSEPORT and belong to one user
 *
 * A name made by bind lives until unbind; one made by listen alone lives until unlisten. All
 * names of a session go when it ends. Everything is bounded: names in all and per session,
 * listeners in all (as many as an engine has) and per session.
 */
#ifndef CTL_NAMES_H
#define CTL_NAMES_H

#include <engine/claims.h>
#include <net/addr.h>
#include <proto/slot.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	NAMES_MAX = 65536,
	NAMES_PER_SESSION_MAX = 4096,
	NAMES_LISTENERS_MAX = 4096,
};

/* A session's part; embedded in it. Zero it, set `session` and `uid`. */
struct names_holder {
	uint32_t session; /* id, > 0 */
	uint32_t uid;
	uint32_t head; /* 1 + index of the first name; 0: none */
	uint32_t names;
	uint32_t listeners;
};

struct names_config {
	_Atomic uint32_t *port_owner; /* [65536], written by names alone, as are the claims */
	struct claims *claims;
	uint16_t port_first, port_last; /* for bind(0) */
	uint32_t listeners_per_session;
};

struct names;

int names_create(struct names **n, const struct names_config *cfg); /* 0 or -ENOMEM */
void names_destroy(struct names *n);				    /* NULL is fine */

/* Reserves *port (0: chosen, and returned) at addr: one of ours, 0.0.0.0 mapped (any of IPv4), or
 * all zero (any, with PROTO_NAME_V6ONLY any of IPv6: the two families' names are then apart).
 * `flags`: enum proto_name_flag. The caller has checked that the address is ours and that the
 * session may have the port.
 * 0; -EADDRINUSE (also: no port left to choose); -ENOBUFS, the session or all have too many
 * names; -ENOMEM. */
int names_bind(struct names *n, struct names_holder *h, const struct net_addr *addr, uint16_t *port,
	uint32_t flags);

/* 0; -ENOENT, this session has no such name; -EBUSY, it listens. */
int names_unbind(
	struct names *n, struct names_holder *h, const struct net_addr *addr, uint16_t port);

/* Makes a listener of a bound name, binding it first where there is none; fills *handle.
 * Errors as names_bind(). */
int names_listen(struct names *n, struct names_holder *h, const struct net_addr *addr,
	uint16_t *port, struct proto_handle *handle);

/* Is the listener's name for IPv6 only, or shared? False if there is no such listener. */
bool names_reuseport(const struct names *n, struct proto_handle handle);
bool names_v6only(const struct names *n, struct proto_handle handle);

/* 0, or -ENOENT: no such listener, or another session's. */
int names_unlisten(struct names *n, struct names_holder *h, struct proto_handle handle);

/* The session has ended. */
void names_drop(struct names *n, struct names_holder *h);

#endif
