/* What the preload adapter (and tests) may use besides mtcp_client.h. Not exported.
 *
 * All calls here are thread-safe. Descriptors `sd` and `epd` are native ones.
 */
#ifndef LIBCLIENT_INTERNAL_H
#define LIBCLIENT_INTERNAL_H

#include <libclient/mtcp_client.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

/* Attaches over a connected SOCK_SEQPACKET descriptor, which becomes the library's. 0, or -1 and
 * errno as mtcp_attach(); EISCONN if attached already. */
int mtcpi_attach_fd(int fd);

/* Attached to a live daemon. */
bool mtcpi_attached(void);

/* What mtcpd has to do with an address, IPv6 or mapped; MTCPI_ADDR_NONE also when not attached.
 * Loopback, multicast, broadcast and the wildcards are never served. */
enum mtcpi_addr {
	MTCPI_ADDR_NONE,
	MTCPI_ADDR_LOCAL,  /* one of the daemon's own */
	MTCPI_ADDR_ONLINK, /* within the prefix of one of its own */
	MTCPI_ADDR_ROUTED, /* reached through its default route */
};
enum mtcpi_addr mtcpi_classify(const struct in6_addr *addr);
static inline bool mtcpi_local_addr(const struct in6_addr *addr)
{
	return mtcpi_classify(addr) == MTCPI_ADDR_LOCAL;
}
static inline bool mtcpi_routes(const struct in6_addr *addr)
{
	return mtcpi_classify(addr) != MTCPI_ADDR_NONE;
}

/* The number of the congestion control of that name (TCP_CONGESTION); -ENOENT, -EINVAL if empty. */
int mtcpi_congestion_find(const void *val, socklen_t len);

/* Has mtcpd any address of IPv6? False also when not attached. */
bool mtcpi_serves_ip6(void);

/* POLL* bits that are up now, completion rings taken in first. POLLNVAL: no such descriptor. A
 * socket that is not writable is marked so that the next change wakes. Epoll: POLLIN if it has
 * an event. */
short mtcpi_poll_bits(int sd);
/* The native epoll instance has at least one event now; consumes nothing. */
bool mtcpi_epoll_ready(int epd);

/* Bytes that a send would take now without blocking; 0 if none, or no such socket. */
size_t mtcpi_send_space(int sd);

/* Sleeps until ready(arg), or one of fds[0..n) has revents (filled in), or the deadline
 * (CLOCK_MONOTONIC, NULL: for ever), or a signal allowed by sigmask (NULL: as it is). ready is
 * asked after every change of any socket, from the calling thread, without locks held; it must
 * not block. Works also when not attached, and notices when another thread attaches or changes
 * an epoll set. 1: ready or fds; 0: deadline; -1: EINTR, ENOMEM. */
int mtcpi_wait(struct pollfd *fds, nfds_t n, const struct timespec *deadline,
	const sigset_t *sigmask, bool (*ready)(void *arg), void *arg);

/* The same for one native epoll set, without waking for the sockets of others: preferred.
 * Returns the number of native events stored (0 also if only kernel descriptors are ready: look
 * at revents), or -1 and errno. While native events are there the kernel descriptors are not
 * asked (their revents are MTCPI_NOT_ASKED): who must not starve them asks by itself now and
 * then. A deadline of {0, 0} polls. */
#define MTCPI_NOT_ASKED (-1)
int mtcpi_epoll_wait(int epd, struct epoll_event *events, int max, struct pollfd *fds, nfds_t n,
	const struct timespec *deadline, const sigset_t *sigmask);

/* The same for native descriptors `fds` with kernel ones `kfds` beside. Returns how many of both
 * have revents, or -1 and errno. */
int mtcpi_poll(struct pollfd *fds, nfds_t n, struct pollfd *kfds, nfds_t kn,
	const struct timespec *deadline, const sigset_t *sigmask);

/* Makes every sleeper look again. */
void mtcpi_wake_all(void);

/* fd is a kernel descriptor of the library's own (control socket, doorbell, eventfd): the
 * program must not close it. They are kept at numbers of 512 and above where the limit allows. */
bool mtcpi_owns_fd(int fd);
/* So is this one from now, or no longer. A forked child closes what is. */
void mtcpi_own_fd(int fd, bool yes);

#endif
