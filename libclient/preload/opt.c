/* Names, options and flags of sockets.
 *
 * Until a socket is decided the kernel's placeholder answers, and options are remembered to be
 * repeated on whatever serves it in the end (place.h). O_NONBLOCK lives in three: in the
 * placeholder, which answers F_GETFL, in the native socket, which obeys it, and in the file, for
 * native sockets made later.
 */
#include "fd.h"
#include "real.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>

#include <libclient/internal.h>

PL_EXPORT int shutdown(int fd, int how)
{
	int sd = pl_fd_native(fd);

	if (sd >= 0)
		return mtcp_shutdown(sd, how);
	pl_spare_spoil(pl_fd_file(fd));
	return pl_real()->shutdown(fd, how);
}

PL_EXPORT int getsockname(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	int sd = pl_fd_native(fd);

	if (sd < 0)
		return pl_real()->getsockname(fd, addr.__sockaddr__, len);
	return mtcp_getsockname(sd, addr.__sockaddr__, len);
}

PL_EXPORT int getpeername(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	int sd = pl_fd_native(fd);

	if (sd < 0)
		return pl_real()->getpeername(fd, addr.__sockaddr__, len);
	return mtcp_getpeername(sd, addr.__sockaddr__, len);
}

PL_EXPORT int getsockopt(int fd, int level, int name, void *restrict val, socklen_t *restrict len)
{
	int sd = pl_fd_native(fd);

	if (sd < 0)
		return pl_real()->getsockopt(fd, level, name, val, len);
	return mtcp_getsockopt(sd, level, name, val, len);
}

/* An option that may still have to be set elsewhere: a pending or tentative socket's, or that of
 * a listener, which a forked child may set up anew. */
static bool opt_outlives(struct pl_file *f)
{
	return pl_file_kind(f) == PL_PENDING || f->tentative || f->backlog >= 0;
}

/* A congestion control that the kernel's placeholder does not know but mtcpd does. */
static bool opt_only_ours(int level, int name, const void *val, socklen_t len)
{
	return errno == ENOENT && level == IPPROTO_TCP && name == TCP_CONGESTION &&
	       mtcpi_congestion_find(val, len) >= 0;
}

PL_EXPORT int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	struct pl_file *f = pl_fd_file(fd);
	int sd = f ? pl_file_native(f) : -1;
	int rc;

	if (sd < 0)
		pl_spare_spoil(f);
	rc = sd < 0 ? pl_real()->setsockopt(fd, level, name, val, len)
		    : mtcp_setsockopt(sd, level, name, val, len);
	if (rc < 0 && sd < 0 && f && opt_only_ours(level, name, val, len))
		rc = 0;
	if (rc == 0 && f && val) {
		pthread_mutex_lock(&pl_lock);
		if (opt_outlives(f))
			pl_file_opt_record(f, level, name, val, len);
		if (sd >= 0 && f->tentative) {
			pl_spare_spoil(f);
			pl_real()->setsockopt(fd, level, name, val, len);
		}
		pthread_mutex_unlock(&pl_lock);
	}
	return rc;
}

/* Has the number's own duplicate lead to the same file. */
static int dup_installed(int from, int to)
{
	struct pl_file *f = pl_fd_file(from);

	if (to < 0 || !f)
		return to;
	pthread_mutex_lock(&pl_lock);
	if (pl_fd_file(from) == f && !pl_fd_install(to, f)) {
		pl_real()->close(to);
		errno = EMFILE;
		to = -1;
	}
	pthread_mutex_unlock(&pl_lock);
	return to;
}

static void nonblock_note(int fd, bool on)
{
	struct pl_file *f = pl_fd_file(fd);

	if (f)
		atomic_store_explicit(&f->nonblock, on, memory_order_relaxed);
}

/* Whether the command leaves the placeholder as new, but for what is noted of it. */
static bool fcntl_harmless(int cmd, int arg)
{
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
		return true;
	case F_SETFL:
		return !(arg & (O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME));
	default:
		return false;
	}
}

PL_EXPORT int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;
	int sd, rc;

	/* Every command takes nothing, an int or a pointer: one register-sized argument. */
	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!fcntl_harmless(cmd, (int)(intptr_t)arg))
		pl_spare_spoil(pl_fd_file(fd));
	rc = pl_real()->fcntl(fd, cmd, arg);
	if (rc < 0)
		return rc;
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return dup_installed(fd, rc);
	if (cmd != F_SETFL)
		return rc;
	nonblock_note(fd, (int)(intptr_t)arg & O_NONBLOCK);
	sd = pl_fd_native(fd);
	return sd < 0 ? rc : mtcp_fcntl(sd, F_SETFL, (int)(intptr_t)arg);
}

PL_EXPORT int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fcntl(fd, cmd, arg);
}

static int ioctl_nonblock(int fd, int *on)
{
	int sd;

	if (pl_real()->ioctl(fd, FIONBIO, on) < 0)
		return -1;
	nonblock_note(fd, *on);
	sd = pl_fd_native(fd);
	return sd < 0 ? 0 : mtcp_ioctl(sd, FIONBIO, on);
}

PL_EXPORT int ioctl(int fd, unsigned long request, ...)
{
	int sd = pl_fd_native(fd);
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == FIONBIO)
		return ioctl_nonblock(fd, arg);
	if (sd >= 0 && (request == FIONREAD || request == SIOCOUTQ || request == SIOCOUTQNSD))
		return mtcp_ioctl(sd, request, arg);
	/* interfaces, owner, ...: of the machine, or refused by the placeholder */
	pl_spare_spoil(pl_fd_file(fd));
	return pl_real()->ioctl(fd, request, arg);
}

PL_EXPORT int dup(int fd)
{
	return dup_installed(fd, pl_real()->dup(fd));
}

/* Whether the program may replace `to`: not if it is the native library's own. */
static bool dup_allowed(int to)
{
	pl_spare_yield(to);
	if (mtcpi_owns_fd(to)) {
		errno = EBUSY;
		return false;
	}
	return true;
}

static int dup_replaced(int from, int to)
{
	if (to < 0 || from == to)
		return to;
	if (pl_fd_file(to))
		pl_fd_forget(to);
	return dup_installed(from, to);
}

PL_EXPORT int dup2(int from, int to)
{
	return dup_allowed(to) ? dup_replaced(from, pl_real()->dup2(from, to)) : -1;
}

PL_EXPORT int dup3(int from, int to, int flags)
{
	return dup_allowed(to) ? dup_replaced(from, pl_real()->dup3(from, to, flags)) : -1;
}
