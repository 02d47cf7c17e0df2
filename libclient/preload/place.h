/* Who serves a socket: mtcpd or the kernel.
 *
 * A stream socket over IPv4 or IPv6 is nobody's until the program says where it is to go:
 *
 *   destination or own address           bind, listen           connect
 *   loopback                             kernel                 kernel
 *   one of mtcpd's addresses             mtcpd                  mtcpd
 *   one of this machine's kernel         kernel                 kernel, with MTCP_OWN=1 mtcpd
 *   0.0.0.0, ::                          mtcpd, tentatively     kernel (it means loopback)
 *   :: with IPV6_V6ONLY, no IPv6 here    kernel                 -
 *   an address with a scope (%eth0)      kernel                 kernel
 *   anything mtcpd routes                kernel (EADDRNOTAVAIL) mtcpd
 *   all else (multicast, no route)       kernel                 kernel
 *
 * listen() on an unbound socket or on a wildcard is mtcpd's alone: the kernel does not listen too.
 * A tentative socket that connects to a destination of the kernel's moves there with its port.
 *
 * The process attaches to the daemon at the first decision that needs it, never before, and
 * never for loopback. If that fails, the call fails with ENETDOWN and one line on stderr tells
 * why; with MTCP_FALLBACK=1 in the environment the kernel serves the socket instead.
 */
#ifndef PRELOAD_PLACE_H
#define PRELOAD_PLACE_H

#include "fd.h"

#include <sys/socket.h>

enum pl_place {
	PL_PLACE_KERNEL,
	PL_PLACE_MTCPD,
	PL_PLACE_DOWN, /* mtcpd's, but there is no daemon */
};

/* Judges addr, IPv6 or mapped; for_bind: as an address of our own, else as a destination. May
 * attach. */
enum pl_place pl_place_judge(const struct in6_addr *addr, bool for_bind);

/* Sets up, in a forked child, a listener of the parent's: its native descriptor, or -1 if f is no
 * listener or its address stays taken (the parent still listens; tried for up to a second,
 * since a daemon's parent exits just after the fork). Preserves errno. */
int pl_place_revive(struct pl_file *f);

/* MSG_FASTOPEN connects, too: decides fd by the address. 0, -1 (errno). */
int pl_place_fastopen(int fd, const struct sockaddr *sa, socklen_t len);

#endif
