/* Who is at the other end of a UNIX socket, as the kernel vouches for it. */
#ifndef CTL_PEER_H
#define CTL_PEER_H

#include <stdbool.h>
#include <stdint.h>

struct peer {
	int32_t pid; /* of the process that connected; in our pid namespace */
	uint32_t uid;
	uint32_t gid;
};

/* 0 or -errno; -ESRCH if the process is not visible from here. */
int peer_get(int fd, struct peer *p);

/* A pidfd of the process that connected, CLOEXEC: readable when it has exited. Where the kernel
 * lacks SO_PEERPIDFD it comes from the pid. fd or -errno, -ESRCH if the process is gone. */
int peer_pidfd(int fd, const struct peer *p);

/* Whether the process has exited. */
bool peer_exited(int pidfd);

/* Whether it may bind ports that are reserved: uid 0, or CAP_NET_BIND_SERVICE in our own user
 * namespace (a namespace of one's own gives anybody that capability, so it does not count). */
bool peer_may_bind_reserved(const struct peer *p, int pidfd);

#endif
