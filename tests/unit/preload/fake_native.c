/* A native library for testing the adapter without a daemon.
 *
 * "mtcpd" owns 198.18.0.1 and routes 198.18.0.0/24. Its sockets are kernel sockets on
 * 127.18.0.x, kept at high numbers and behind descriptors of another number space, so that the
 * adapter cannot take one for the other by luck. All but the mixed wait through raw system calls,
 * past the interposed names. FAKE_DOWN in the environment: there is no daemon.
 */
#include <libclient/internal.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	OWN_MIN = 600,
	OWN_MAX = 8000,
	SD_BASE = 1000000, /* a generation: sd = generation * SD_BASE + kernel descriptor */
	SERVED_NET = 198 << 24 | 18 << 16,
	HIDDEN_NET = 127 << 24 | 18 << 16,
};

static _Atomic int generation; /* 0: not attached */
static _Atomic bool own[OWN_MAX];

static void child(void)
{
	for (int fd = 0; fd < OWN_MAX; fd++) {
		if (own[fd])
			syscall(SYS_close, fd);
		own[fd] = false;
	}
	generation = -generation;
}

__attribute__((constructor)) static void init(void)
{
	pthread_atfork(NULL, NULL, child);
}

int mtcp_attach(const char *path)
{
	(void)path;
	if (getenv("FAKE_DOWN")) {
		errno = ECONNREFUSED;
		return -1;
	}
	if (generation <= 0)
		generation = 1 - generation;
	return 0;
}

/* The kernel descriptor behind sd, or -1. */
static int kfd(int sd)
{
	int fd = sd % SD_BASE;

	if (sd / SD_BASE == generation && fd >= OWN_MIN && fd < OWN_MAX && own[fd])
		return fd;
	errno = EBADF;
	return -1;
}

static int adopt(int fd)
{
	int high = fd < 0 ? -1 : (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OWN_MIN);

	if (fd >= 0)
		syscall(SYS_close, fd);
	if (high < 0 || high >= OWN_MAX)
		return -1;
	own[high] = true;
	return generation * SD_BASE + high;
}

static struct sockaddr_in hidden(const struct sockaddr *sa)
{
	struct sockaddr_in sin;
	uint32_t a;

	memcpy(&sin, sa, sizeof(sin));
	a = ntohl(sin.sin_addr.s_addr);
	if (a == INADDR_ANY)
		sin.sin_addr.s_addr = htonl(HIDDEN_NET | 1);
	else
		sin.sin_addr.s_addr = htonl((a & 0xffff) | HIDDEN_NET);
	return sin;
}

static void shown(struct sockaddr *sa)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)sa;

	if (sa)
		sin->sin_addr.s_addr =
			htonl((ntohl(sin->sin_addr.s_addr) & 0xffff) | (uint32_t)SERVED_NET);
}

bool mtcpi_serves_ip6(void)
{
	return false;
}

enum mtcpi_addr mtcpi_classify(const struct in6_addr *addr)
{
	uint32_t a = ntohl(addr->s6_addr32[3]);

	if (generation <= 0 || !IN6_IS_ADDR_V4MAPPED(addr) || a >> 8 != (uint32_t)SERVED_NET >> 8)
		return MTCPI_ADDR_NONE;
	return (a & 0xff) == 1 ? MTCPI_ADDR_LOCAL : MTCPI_ADDR_ONLINK;
}

int mtcp_socket(int domain, int type, int protocol)
{
	if (mtcp_attach(NULL))
		return -1;
	return adopt((int)syscall(SYS_socket, domain, type, protocol));
}

int mtcp_bind(int sd, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in sin = hidden(addr);

	return (int)syscall(SYS_bind, kfd(sd), &sin, len);
}

int mtcp_listen(int sd, int backlog)
{
	return (int)syscall(SYS_listen, kfd(sd), backlog);
}

int mtcp_connect(int sd, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in sin = hidden(addr);

	return (int)syscall(SYS_connect, kfd(sd), &sin, len);
}

int mtcp_accept4(int sd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int fd = (int)syscall(SYS_accept4, kfd(sd), addr, len, flags);

	if (fd >= 0)
		shown(addr);
	return fd < 0 ? -1 : adopt(fd);
}

ssize_t mtcp_read(int sd, void *buf, size_t n)
{
	return syscall(SYS_read, kfd(sd), buf, n);
}

ssize_t mtcp_write(int sd, const void *buf, size_t n)
{
	return syscall(SYS_write, kfd(sd), buf, n);
}

ssize_t mtcp_readv(int sd, const struct iovec *iov, int count)
{
	return syscall(SYS_readv, kfd(sd), iov, count);
}

ssize_t mtcp_writev(int sd, const struct iovec *iov, int count)
{
	return syscall(SYS_writev, kfd(sd), iov, count);
}

ssize_t mtcp_recv(int sd, void *buf, size_t n, int flags)
{
	return syscall(SYS_recvfrom, kfd(sd), buf, n, flags, NULL, NULL);
}

ssize_t mtcp_send(int sd, const void *buf, size_t n, int flags)
{
	return syscall(SYS_sendto, kfd(sd), buf, n, flags, NULL, 0);
}

ssize_t mtcp_recvmsg(int sd, struct msghdr *msg, int flags)
{
	return syscall(SYS_recvmsg, kfd(sd), msg, flags);
}

ssize_t mtcp_sendmsg(int sd, const struct msghdr *msg, int flags)
{
	return syscall(SYS_sendmsg, kfd(sd), msg, flags);
}

int mtcp_shutdown(int sd, int how)
{
	return (int)syscall(SYS_shutdown, kfd(sd), how);
}

int mtcp_close(int sd)
{
	int fd = kfd(sd);

	if (fd < 0)
		return -1;
	own[fd] = false;
	return (int)syscall(SYS_close, fd);
}

int mtcp_getsockname(int sd, struct sockaddr *addr, socklen_t *len)
{
	int rc = (int)syscall(SYS_getsockname, kfd(sd), addr, len);

	shown(addr);
	return rc;
}

int mtcp_getpeername(int sd, struct sockaddr *addr, socklen_t *len)
{
	int rc = (int)syscall(SYS_getpeername, kfd(sd), addr, len);

	shown(addr);
	return rc;
}

int mtcp_setsockopt(int sd, int level, int name, const void *val, socklen_t len)
{
	return (int)syscall(SYS_setsockopt, kfd(sd), level, name, val, len);
}

int mtcp_getsockopt(int sd, int level, int name, void *val, socklen_t *len)
{
	return (int)syscall(SYS_getsockopt, kfd(sd), level, name, val, len);
}

int mtcp_fcntl(int sd, int cmd, ...)
{
	va_list ap;
	int arg;

	va_start(ap, cmd);
	arg = va_arg(ap, int);
	va_end(ap);
	return (int)syscall(SYS_fcntl, kfd(sd), cmd, arg);
}

int mtcp_ioctl(int sd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return (int)syscall(SYS_ioctl, kfd(sd), request, arg);
}

int mtcp_epoll_create1(int flags)
{
	if (mtcp_attach(NULL))
		return -1;
	return adopt((int)syscall(SYS_epoll_create1, flags));
}

int mtcp_epoll_ctl(int epd, int op, int sd, struct epoll_event *event)
{
	return (int)syscall(SYS_epoll_ctl, kfd(epd), op, kfd(sd), event);
}

int mtcp_epoll_wait(int epd, struct epoll_event *events, int max, int timeout_ms)
{
	return (int)syscall(SYS_epoll_pwait, kfd(epd), events, max, timeout_ms, NULL, 8);
}

int mtcpi_congestion_find(const void *val, socklen_t len)
{
	return len == 4 && memcmp(val, "ours", 4) == 0 ? 0 : -ENOENT;
}

short mtcpi_poll_bits(int sd)
{
	struct pollfd p = {.fd = kfd(sd), .events = POLLIN | POLLOUT | POLLRDHUP};
	struct timespec now = {0};

	syscall(SYS_ppoll, &p, 1, &now, NULL, 8);
	return p.fd < 0 ? POLLNVAL : p.revents;
}

bool mtcpi_epoll_ready(int epd)
{
	return mtcpi_poll_bits(epd) & POLLIN;
}

size_t mtcpi_send_space(int sd)
{
	return mtcpi_poll_bits(sd) & POLLOUT ? 32768 : 0;
}

static struct timespec left(const struct timespec *deadline)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec = deadline->tv_sec - t.tv_sec;
	t.tv_nsec = deadline->tv_nsec - t.tv_nsec;
	if (t.tv_nsec < 0) {
		t.tv_nsec += 1000000000;
		t.tv_sec--;
	}
	return t.tv_sec < 0 ? (struct timespec){0} : t;
}

/* Native and kernel descriptors in one system call. */
int mtcpi_poll(struct pollfd *fds, nfds_t n, struct pollfd *kfds, nfds_t kn,
	const struct timespec *deadline, const sigset_t *sigmask)
{
	struct pollfd *all = calloc(n + kn + 1, sizeof(*all));
	struct timespec t = deadline ? left(deadline) : (struct timespec){0};
	int rc;

	for (nfds_t i = 0; i < n; i++)
		all[i] = (struct pollfd){.fd = kfd(fds[i].fd), .events = fds[i].events};
	for (nfds_t i = 0; i < kn; i++)
		all[n + i] = kfds[i];
	rc = ppoll(all, n + kn, deadline ? &t : NULL, sigmask); /* by name, as the real one */
	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = all[i].fd < 0 ? POLLNVAL : all[i].revents;
	for (nfds_t i = 0; i < kn; i++)
		kfds[i].revents = all[n + i].revents;
	free(all);
	return rc;
}

int mtcpi_epoll_wait(int epd, struct epoll_event *events, int max, struct pollfd *fds, nfds_t n,
	const struct timespec *deadline, const sigset_t *sigmask)
{
	struct pollfd p = {.fd = epd, .events = POLLIN};
	int rc = mtcpi_poll(&p, 1, fds, n, deadline, sigmask);

	return rc <= 0 ? rc : mtcp_epoll_wait(epd, events, max, 0);
}

bool mtcpi_owns_fd(int fd)
{
	return fd >= 0 && fd < OWN_MAX && own[fd];
}

void mtcpi_own_fd(int fd, bool yes)
{
	if (fd >= 0 && fd < OWN_MAX)
		own[fd] = yes;
}
