/* Deciding who serves a socket: see place.h. */
#include "place.h"

#include "epoll.h"
#include "real.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libclient/internal.h>

enum {
	REVIVE_TRIES_MAX = 100,
	REVIVE_PAUSE_NS = 10 * 1000 * 1000,
	KERNEL_ADDR_TTL_S = 1,
	SIN6_LEN_MIN = 24, /* without the scope: Linux takes it */
};

static bool fallback; /* MTCP_FALLBACK */
static bool own_too;  /* MTCP_OWN */

static bool wanted(const char *variable)
{
	const char *v = getenv(variable);

	return v && *v && strcmp(v, "0");
}

/* Read once: the program may change its environment while other threads connect. */
__attribute__((constructor)) static void place_init(void)
{
	fallback = wanted("MTCP_FALLBACK");
	own_too = wanted("MTCP_OWN");
}

static void complain(int err)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	const char *path = getenv("MTCPD_SOCKET");

	if (!atomic_flag_test_and_set(&told))
		fprintf(stderr,
			"libmtcp-preload: no mtcpd at %s: %s (mtcp-run --fallback uses the "
			"kernel)\n",
			path ? path : "its default socket", strerror(err));
}

/* Whether the kernel has this address; the last answer is kept for a second. pl_lock held. */
static bool kernel_owns(const struct in6_addr *addr)
{
	static struct in6_addr last;
	static bool last_answer;
	static time_t last_s = -1;
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_addr = *addr};
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = addr->s6_addr32[3]};
	bool ip4 = IN6_IS_ADDR_V4MAPPED(addr);
	struct timespec now;
	int probe;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (IN6_ARE_ADDR_EQUAL(&last, addr) && last_s >= 0 &&
		now.tv_sec - last_s < KERNEL_ADDR_TTL_S)
		return last_answer;
	probe = pl_real()->socket(ip4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return false;
	last_answer = ip4 ? pl_real()->bind(probe, (struct sockaddr *)&sin, sizeof(sin)) == 0
			  : pl_real()->bind(probe, (struct sockaddr *)&sin6, sizeof(sin6)) == 0;
	pl_real()->close(probe);
	last = *addr;
	last_s = now.tv_sec;
	return last_answer;
}

static bool is_loopback_or_group(const struct in6_addr *addr)
{
	uint32_t a = ntohl(addr->s6_addr32[3]);

	if (!IN6_IS_ADDR_V4MAPPED(addr))
		return IN6_IS_ADDR_LOOPBACK(addr) || IN6_IS_ADDR_MULTICAST(addr);
	return a >> 24 == IN_LOOPBACKNET || IN_MULTICAST(a);
}

static bool is_any(const struct in6_addr *addr)
{
	return IN6_IS_ADDR_UNSPECIFIED(addr) ||
	       (IN6_IS_ADDR_V4MAPPED(addr) && addr->s6_addr32[3] == 0);
}

enum pl_place pl_place_judge(const struct in6_addr *addr, bool for_bind)
{
	bool any = is_any(addr);
	bool kernels;

	if (is_loopback_or_group(addr) || (any && !for_bind))
		return PL_PLACE_KERNEL;
	kernels = !any && kernel_owns(addr);
	if (mtcp_attach(NULL) != 0) {
		if (kernels || fallback)
			return PL_PLACE_KERNEL;
		complain(errno);
		return PL_PLACE_DOWN;
	}
	/* The kernel's twin interface may hold mtcpd's own addresses: those are mtcpd's. */
	if (any || mtcpi_local_addr(addr))
		return PL_PLACE_MTCPD;
	if (for_bind || (kernels && !own_too))
		return PL_PLACE_KERNEL;
	return mtcpi_routes(addr) ? PL_PLACE_MTCPD : PL_PLACE_KERNEL;
}

static bool is_v6only(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return !pl_real()->getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len) && on;
}

static int native_socket(struct pl_file *f)
{
	bool nonblock = atomic_load_explicit(&f->nonblock, memory_order_relaxed);
	int sd = mtcp_socket(f->family, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0), 0);

	for (uint32_t i = 0; sd >= 0 && i < f->opt_count; i++) {
		const struct pl_opt *o = &f->opts[i];

		/* The kernel took it when it was set; what mtcpd lacks it counts and refuses. */
		mtcp_setsockopt(sd, o->level, o->name, o->value, o->len_bytes);
	}
	return sd;
}

static int to_native(struct pl_file *f, bool tentative)
{
	int sd;

	f->tentative = tentative;
	if (pl_file_kind(f) == PL_NATIVE) {
		if (!tentative)
			pl_epoll_file_gone(f);
		return 0;
	}
	sd = native_socket(f);
	if (sd < 0)
		return -1;
	pl_file_set(f, PL_NATIVE, sd);
	pl_epoll_file_native(f, sd);
	return 0;
}

static socklen_t name_len(const union pl_name *name)
{
	return name->sa.sa_family == AF_INET6 ? sizeof(name->in6) : sizeof(name->in);
}

static int to_kernel(int fd, struct pl_file *f)
{
	bool was_native = pl_file_kind(f) == PL_NATIVE;
	int sd = was_native ? pl_file_native(f) : -1;

	f->tentative = false;
	if (!was_native)
		pl_epoll_file_gone(f); /* the kernel's sets have it already */
	else
		pl_epoll_file_kernel(f, fd);
	pl_file_set(f, PL_KERNEL, -1);
	if (sd >= 0)
		mtcp_close(sd);
	if (f->bound.sa.sa_family)
		return pl_real()->bind(fd, &f->bound.sa, name_len(&f->bound));
	return 0;
}

static bool undecided(struct pl_file *f)
{
	return pl_file_kind(f) == PL_PENDING || (pl_file_kind(f) == PL_NATIVE && f->tentative);
}

/* The address that a socket of `family` is asked to go to, IPv4 mapped, and whether it names an
 * interface of the kernel's. False: none that it could. */
static bool take_name(
	const struct sockaddr *sa, socklen_t len, int family, struct in6_addr *addr, bool *kernels)
{
	union pl_name name = {.in6 = {.sin6_family = AF_UNSPEC}};

	if (!sa || len < sizeof(name.in))
		return false;
	memcpy(&name, sa, len < sizeof(name) ? len : sizeof(name));
	*kernels = false;
	if (name.sa.sa_family != family || (family == AF_INET6 && len < SIN6_LEN_MIN))
		return false;
	if (family == AF_INET6) {
		*addr = name.in6.sin6_addr;
		*kernels = name.in6.sin6_scope_id != 0;
		return true;
	}
	*addr = (struct in6_addr)IN6ADDR_ANY_INIT;
	addr->s6_addr[10] = addr->s6_addr[11] = 0xff;
	addr->s6_addr32[3] = name.in.sin_addr.s_addr;
	return true;
}

/* A wildcard for IPv6 alone is of no use to mtcpd without any. */
static enum pl_place judge(int fd, const struct in6_addr *addr, bool for_bind)
{
	enum pl_place place = pl_place_judge(addr, for_bind);

	if (place == PL_PLACE_MTCPD && IN6_IS_ADDR_UNSPECIFIED(addr) && is_v6only(fd) &&
		!mtcpi_serves_ip6())
		return PL_PLACE_KERNEL;
	return place;
}

/* Decides f by an address. 0: go on with whoever has it now; -1: errno says. */
static int decide(
	int fd, struct pl_file *f, const struct sockaddr *sa, socklen_t len, bool for_bind)
{
	struct in6_addr addr;
	bool kernels;
	int rc = 0;

	if (!take_name(sa, len, f->family, &addr, &kernels)) {
		pl_spare_spoil(f); /* it goes on to the placeholder, if there is one */
		return 0;
	}
	pthread_mutex_lock(&pl_lock);
	if (undecided(f)) {
		switch (kernels ? PL_PLACE_KERNEL : judge(fd, &addr, for_bind)) {
		case PL_PLACE_KERNEL:
			rc = to_kernel(fd, f);
			break;
		case PL_PLACE_MTCPD:
			rc = to_native(f, for_bind && is_any(&addr));
			break;
		case PL_PLACE_DOWN:
			errno = ENETDOWN;
			rc = -1;
		}
	}
	pthread_mutex_unlock(&pl_lock);
	return rc;
}

int pl_place_revive(struct pl_file *f)
{
	struct timespec pause = {.tv_nsec = REVIVE_PAUSE_NS};
	int saved = errno;
	int sd = -1;

	pthread_mutex_lock(&pl_lock);
	if (pl_file_kind(f) == PL_DEAD && f->backlog >= 0 && mtcp_attach(NULL) == 0)
		sd = native_socket(f);
	for (int i = 0; sd >= 0; i++) {
		if (!mtcp_bind(sd, &f->bound.sa, name_len(&f->bound)) &&
			!mtcp_listen(sd, f->backlog)) {
			pl_file_set(f, PL_NATIVE, sd);
			break;
		}
		if (errno != EADDRINUSE || i == REVIVE_TRIES_MAX) {
			mtcp_close(sd);
			f->backlog = -1; /* not ours to listen on: do not ask again */
			sd = -1;
		}
		nanosleep(&pause, NULL);
	}
	pthread_mutex_unlock(&pl_lock);
	errno = saved;
	return sd;
}

PL_EXPORT int socket(int domain, int type, int protocol)
{
	struct pl_tag tag;
	struct pl_file *f;
	int fd;

	if ((domain != AF_INET && domain != AF_INET6) ||
		(type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM ||
		(protocol != 0 && protocol != IPPROTO_TCP))
		return pl_real()->socket(domain, type, protocol);
	fd = pl_spare_take(domain, type & ~SOCK_STREAM, &tag);
	if (fd < 0)
		return -1;
	pthread_mutex_lock(&pl_lock);
	f = pl_file_new_socket(PL_PENDING, -1, domain, &tag);
	if (f)
		pl_fd_install(fd, f); /* beyond the table: the kernel serves it */
	pthread_mutex_unlock(&pl_lock);
	return fd;
}

/* Remembers what a native socket is bound to: the address as asked for, the port as given. */
static void bound_note(struct pl_file *f, int sd, const union pl_name *asked)
{
	socklen_t len = sizeof(f->bound);

	if (mtcp_getsockname(sd, &f->bound.sa, &len) < 0)
		memset(&f->bound, 0, sizeof(f->bound));
	else if (f->bound.sa.sa_family == AF_INET6)
		f->bound.in6.sin6_addr = asked->in6.sin6_addr;
	else
		f->bound.in.sin_addr = asked->in.sin_addr;
}

PL_EXPORT int bind(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	const struct sockaddr *sa = addr.__sockaddr__;
	struct pl_file *f = pl_fd_file(fd);
	union pl_name name = {.in6 = {.sin6_family = AF_UNSPEC}};
	int sd;

	if (f && decide(fd, f, sa, len, true) < 0)
		return -1;
	sd = pl_fd_native(fd);
	if (sd < 0)
		return pl_real()->bind(fd, sa, len);
	if (mtcp_bind(sd, sa, len) < 0)
		return -1;
	memcpy(&name, sa, len < sizeof(name) ? len : sizeof(name));
	pthread_mutex_lock(&pl_lock);
	bound_note(f, sd, &name);
	pthread_mutex_unlock(&pl_lock);
	return 0;
}

PL_EXPORT int listen(int fd, int backlog)
{
	union pl_name any = {.in6 = {.sin6_family = AF_UNSPEC}};
	struct pl_file *f = pl_fd_file(fd);
	int sd;

	if (f)
		any.sa.sa_family = (sa_family_t)f->family;
	if (f && decide(fd, f, &any.sa, name_len(&any), true) < 0)
		return -1;
	sd = pl_fd_native(fd);
	if (sd < 0)
		return pl_real()->listen(fd, backlog);
	if (mtcp_listen(sd, backlog) < 0)
		return -1;
	pthread_mutex_lock(&pl_lock);
	if (!f->bound.sa.sa_family)
		bound_note(f, sd, &any);
	f->backlog = backlog < 0 ? 0 : backlog;
	f->tentative = false;
	pl_epoll_file_gone(f);
	pthread_mutex_unlock(&pl_lock);
	return 0;
}

PL_EXPORT int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	const struct sockaddr *sa = addr.__sockaddr__;
	struct pl_file *f = pl_fd_file(fd);
	int sd;

	if (f && decide(fd, f, sa, len, false) < 0)
		return -1;
	sd = pl_fd_native(fd);
	return sd < 0 ? pl_real()->connect(fd, sa, len) : mtcp_connect(sd, sa, len);
}

int pl_place_fastopen(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct pl_file *f = pl_fd_file(fd);

	return f && decide(fd, f, sa, len, false) < 0 ? -1 : 0;
}

/* Gives an accepted connection a number. Owns sd. The number, or -1. */
static int accept_install(int fd, int sd, const struct pl_tag *tag)
{
	struct pl_file *f;
	bool done;

	pthread_mutex_lock(&pl_lock);
	f = pl_file_new_socket(PL_NATIVE, sd, AF_INET, tag);
	done = f && pl_fd_install(fd, f);
	pthread_mutex_unlock(&pl_lock);
	if (done)
		return fd;
	mtcp_close(sd);
	pl_real()->close(fd);
	errno = f ? EMFILE : ENOMEM;
	return -1;
}

/* As in Linux the number is allocated first, so that running out of them loses no connection. */
static int accept_native(int lsd, struct sockaddr *sa, socklen_t *len, int flags)
{
	struct pl_tag tag;
	int fd, sd, saved;

	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) {
		errno = EINVAL;
		return -1;
	}
	if (mtcp_fcntl(lsd, F_GETFL, 0) & O_NONBLOCK && !mtcpi_poll_bits(lsd)) {
		errno = EAGAIN;
		return -1;
	}
	fd = pl_spare_take(AF_INET, flags, &tag);
	if (fd < 0)
		return -1;
	sd = mtcp_accept4(lsd, sa, len, flags & SOCK_NONBLOCK);
	if (sd >= 0)
		return accept_install(fd, sd, &tag);
	saved = errno;
	pl_spare_put(fd, AF_INET, &tag);
	errno = saved;
	return -1;
}

PL_EXPORT int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len, int flags)
{
	int sd = pl_fd_native(fd);

	if (sd < 0)
		return pl_real()->accept4(fd, addr.__sockaddr__, len, flags);
	return accept_native(sd, addr.__sockaddr__, len, flags);
}

PL_EXPORT int accept(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	return accept4(fd, addr, len, 0);
}
