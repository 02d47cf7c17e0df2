/* mtcp_client.h: sockets served by mtcpd.
 *
 * The calls are shaped like POSIX: the same arguments, the same results, -1 and errno on
 * failure, and for TCP the same errno that Linux gives. What is said below is what differs or
 * what POSIX leaves open. Any thread may make any call at any time.
 *
 * A descriptor here is a small integer of this library, not a kernel descriptor: read(2) or
 * close(2) on it is an error. A process may have as many as the daemon's limits allow, at no
 * cost in kernel descriptors. Sockets and epoll instances share one number space.
 *
 * The process attaches to the daemon with the first mtcp_socket(), or with mtcp_attach(). If
 * there is no daemon both fail at once (ENOENT, ECONNREFUSED, EACCES...), nothing hangs. When
 * the daemon dies or ends the session, every call on a socket of that session fails with
 * ENETDOWN and poll reports POLLERR | POLLHUP; once those sockets are closed, the next
 * mtcp_socket() attaches anew. A child made by fork() has no session: descriptors made before
 * the fork give EBADF in it, and it may attach for itself.
 *
 * Signals: a blocking call that sleeps returns EINTR when a handler ran, also if the handler was
 * installed with SA_RESTART.
 *
 * Environment: MTCPD_SOCKET (path of the daemon's socket), MTCP_SPIN_US (how long a waiter spins
 * before it sleeps, 0 to 10000; chosen from the number of CPUs if unset).
 */
#ifndef MTCP_CLIENT_H
#define MTCP_CLIENT_H

#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MTCP_API __attribute__((visibility("default")))

/* Attaches the process. path NULL: $MTCPD_SOCKET or /run/mtcpd/mtcpd.sock. No-op when attached.
 * ENOENT or ECONNREFUSED: no daemon there; EACCES: not allowed (group mtcp); EAGAIN or ENOSPC:
 * the daemon takes no more sessions; EPROTO: it speaks another version; ETIMEDOUT: no answer
 * within 5 s; ENAMETOOLONG; ENOMEM. */
MTCP_API int mtcp_attach(const char *path);

/* Ends the session: closes every socket as mtcp_close() does and lets go of the daemon. No other
 * thread may be inside a call on a socket. Implied by exit(). Epoll instances stay. 0 always. */
MTCP_API int mtcp_detach(void);

/* AF_INET or AF_INET6, SOCK_STREAM with SOCK_NONBLOCK and SOCK_CLOEXEC, protocol 0 or IPPROTO_TCP.
 * Besides socket(2): EMFILE when the session has as many sockets as the daemon allows it, and the
 * errors of mtcp_attach(). */
MTCP_API int mtcp_socket(int domain, int type, int protocol);

/* The address must be one of the daemon's or a wildcard: EADDRNOTAVAIL else. In6addr_any takes
 * connections of both families, unless IPV6_V6ONLY was set. EACCES: port below the unprivileged
 * ones. */
MTCP_API int mtcp_bind(int sd, const struct sockaddr *addr, socklen_t len);
MTCP_API int mtcp_listen(int sd, int backlog);
MTCP_API int mtcp_accept(int sd, struct sockaddr *addr, socklen_t *len);
MTCP_API int mtcp_accept4(int sd, struct sockaddr *addr, socklen_t *len, int flags);
/* A socket that does not block may get EINPROGRESS where Linux would know at once that it cannot be
 * (EADDRNOTAVAIL, ENETUNREACH, EMFILE...): the error comes as that of any attempt that fails. */
MTCP_API int mtcp_connect(int sd, const struct sockaddr *addr, socklen_t len);

MTCP_API ssize_t mtcp_read(int sd, void *buf, size_t len);
MTCP_API ssize_t mtcp_write(int sd, const void *buf, size_t len);
MTCP_API ssize_t mtcp_readv(int sd, const struct iovec *iov, int iovcnt);
MTCP_API ssize_t mtcp_writev(int sd, const struct iovec *iov, int iovcnt);

/* flags: MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, MSG_TRUNC (the bytes are discarded, buf may be
 * NULL), MSG_NOSIGNAL, MSG_CMSG_CLOEXEC. MSG_OOB: EINVAL. MSG_ERRQUEUE: EAGAIN. */
MTCP_API ssize_t mtcp_recv(int sd, void *buf, size_t len, int flags);
/* flags: MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE; MSG_OOB, and MSG_FASTOPEN without an address:
 * EOPNOTSUPP. Writing to a connection that is over gives EPIPE, and SIGPIPE unless MSG_NOSIGNAL. */
MTCP_API ssize_t mtcp_send(int sd, const void *buf, size_t len, int flags);
/* msg_name is ignored on sending and empty on receiving; there are no control messages. With
 * MSG_FASTOPEN mtcp_sendmsg() connects to msg_name first (RFC 7413): it does not wait for the
 * handshake, and errors of that are those of later calls. Without a cookie of that server, or with
 * fast open off in the daemon's configuration, the data goes when the handshake has ended. */
MTCP_API ssize_t mtcp_recvmsg(int sd, struct msghdr *msg, int flags);
MTCP_API ssize_t mtcp_sendmsg(int sd, const struct msghdr *msg, int flags);

MTCP_API int mtcp_shutdown(int sd, int how);
/* Also closes epoll instances. A thread asleep in a call on sd is woken and gets EBADF. */
MTCP_API int mtcp_close(int sd);

MTCP_API int mtcp_getsockname(int sd, struct sockaddr *addr, socklen_t *len);
MTCP_API int mtcp_getpeername(int sd, struct sockaddr *addr, socklen_t *len);

/* SOL_SOCKET: SO_REUSEADDR, SO_REUSEPORT, SO_RCVBUF, SO_SNDBUF
 * (doubled as Linux does; the buffer no longer grows by itself), SO_KEEPALIVE, SO_LINGER,
 * SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT (1 only); get only: SO_ERROR, SO_TYPE, SO_DOMAIN,
 * SO_PROTOCOL, SO_ACCEPTCONN. IPPROTO_TCP, as tcp(7) has them: TCP_NODELAY, TCP_CORK, TCP_KEEPIDLE,
 * TCP_KEEPINTVL, TCP_KEEPCNT (of a socket that has set none they give Linux's defaults; the
 * daemon's configuration holds), TCP_USER_TIMEOUT, TCP_SYNCNT, TCP_LINGER2 (0 to 120 s),
 * TCP_QUICKACK, TCP_MAXSEG (gives the connection's), TCP_WINDOW_CLAMP (two segments at least),
 * TCP_DEFER_ACCEPT (at most 300 s), TCP_FASTOPEN (of a listener: how many at a time),
 * TCP_FASTOPEN_CONNECT (connect succeeds at once, and what is written first goes with the SYN, as
 * with MSG_FASTOPEN), TCP_NOTSENT_LOWAT (who waits is woken once less than half is unsent); get
 * only: TCP_INFO. TCP_CONGESTION: a name; ENOENT if the daemon has none of that name. A socket that
 * is accepted has its listener's. Any other: ENOPROTOOPT, and counted. */
MTCP_API int mtcp_setsockopt(int sd, int level, int name, const void *val, socklen_t len);
MTCP_API int mtcp_getsockopt(int sd, int level, int name, void *val, socklen_t *len);

/* F_GETFL, F_SETFL (O_NONBLOCK), F_GETFD, F_SETFD (remembered). Else EINVAL. */
MTCP_API int mtcp_fcntl(int sd, int cmd, ... /* int arg */);
/* FIONREAD, FIONBIO, TIOCOUTQ, SIOCOUTQNSD (asks the daemon). Else ENOTTY. */
MTCP_API int mtcp_ioctl(int sd, unsigned long request, ... /* int *arg */);

/* Native sockets only. EPOLLET, EPOLLONESHOT, EPOLLRDHUP as in epoll(7); EPOLLEXCLUSIVE and
 * EPOLLWAKEUP are taken and ignored. An epoll instance in another one: EINVAL. */
MTCP_API int mtcp_epoll_create1(int flags);
MTCP_API int mtcp_epoll_ctl(int epd, int op, int sd, struct epoll_event *event);
/* Never blocks and takes no system call if timeout_ms is 0. */
MTCP_API int mtcp_epoll_wait(int epd, struct epoll_event *events, int max, int timeout_ms);

/* Native sockets and epoll instances. */
MTCP_API int mtcp_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

/* What this process did since it started. */
struct mtcp_stats {
	uint64_t events;	  /* slots taken from completion rings */
	uint64_t operations;	  /* slots pushed to submission rings */
	uint64_t doorbells;	  /* times an engine had to be woken */
	uint64_t sleeps;	  /* times a waiter blocked in the kernel */
	uint64_t handovers;	  /* wakes of one thread by another */
	uint64_t ring_full_waits; /* times a submission ring had no room */
	uint64_t pool_empty;	  /* times a send found no transmit memory */
	uint64_t sockopt_unknown; /* socket options that failed with ENOPROTOOPT */
	uint64_t events_stale;	  /* events of sockets that were gone */
};
MTCP_API void mtcp_stats(struct mtcp_stats *out);

#ifdef __cplusplus
}
#endif

#endif
