/* Moving bytes: each call is the native one for an mtcp socket and the kernel's for all else.
 *
 * The native library keeps POSIX results, errno and SIGPIPE, so there is nothing to translate.
 * sendfile() is the exception: the file is read into a bounce buffer, no further than the
 * socket has room, and the file's position moves by what was sent.
 */
#include "fd.h"
#include "place.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <libclient/internal.h>

enum {
	SENDFILE_BOUNCE_BYTES = 64 * 1024,
	SENDFILE_NO_ROOM_BYTES = 4096,
};

ssize_t __read_chk(int fd, void *buf, size_t n, size_t buflen);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t buflen, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t buflen, int flags, __SOCKADDR_ARG addr,
	socklen_t *restrict len);
void __chk_fail(void) __attribute__((noreturn)); /* of the C library: reports and aborts */

PL_EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	int sd = pl_fd_native(fd);

	return sd < 0 ? pl_real()->read(fd, buf, n) : mtcp_read(sd, buf, n);
}

PL_EXPORT ssize_t readv(int fd, const struct iovec *iov, int count)
{
	int sd = pl_fd_native(fd);

	return sd < 0 ? pl_real()->readv(fd, iov, count) : mtcp_readv(sd, iov, count);
}

PL_EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	int sd = pl_fd_native(fd);

	return sd < 0 ? pl_real()->recv(fd, buf, n, flags) : mtcp_recv(sd, buf, n, flags);
}

PL_EXPORT ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags, __SOCKADDR_ARG addr,
	socklen_t *restrict len)
{
	int sd = pl_fd_native(fd);

	if (sd < 0)
		return pl_real()->recvfrom(fd, buf, n, flags, addr.__sockaddr__, len);
	if (addr.__sockaddr__ && len)
		*len = 0; /* a stream names no sender, as in Linux */
	return mtcp_recv(sd, buf, n, flags);
}

PL_EXPORT ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	int sd = pl_fd_native(fd);

	return sd < 0 ? pl_real()->recvmsg(fd, msg, flags) : mtcp_recvmsg(sd, msg, flags);
}

PL_EXPORT int recvmmsg(
	int fd, struct mmsghdr *msgs, unsigned int count, int flags, struct timespec *timeout)
{
	int sd = pl_fd_native(fd);
	unsigned int i;

	if (sd < 0)
		return pl_real()->recvmmsg(fd, msgs, count, flags, timeout);
	for (i = 0; i < count; i++) {
		ssize_t got = mtcp_recvmsg(sd, &msgs[i].msg_hdr, flags & ~MSG_WAITFORONE);

		if (got < 0)
			break;
		msgs[i].msg_len = (unsigned int)got;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (!got)
			return (int)i + 1; /* the end of the stream is one message */
	}
	return i ? (int)i : -1;
}

PL_EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	int sd = pl_fd_native(fd);

	return sd < 0 ? pl_real()->write(fd, buf, n) : mtcp_write(sd, buf, n);
}

PL_EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
	int sd = pl_fd_native(fd);

	return sd < 0 ? pl_real()->writev(fd, iov, count) : mtcp_writev(sd, iov, count);
}

PL_EXPORT ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	int sd = pl_fd_native(fd);

	return sd < 0 ? pl_real()->send(fd, buf, n, flags) : mtcp_send(sd, buf, n, flags);
}

PL_EXPORT ssize_t sendto(
	int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG addr, socklen_t len)
{
	union {
		const void *in;
		void *out;
	} data = {buf}, name = {addr.__sockaddr__};
	struct iovec iov = {data.out, n};
	struct msghdr msg = {
		.msg_name = name.out, .msg_namelen = len, .msg_iov = &iov, .msg_iovlen = 1};
	int sd;

	if (flags & MSG_FASTOPEN && name.in)
		return sendmsg(fd, &msg, flags);
	sd = pl_fd_native(fd);
	if (sd < 0)
		return pl_real()->sendto(fd, buf, n, flags, addr.__sockaddr__, len);
	return mtcp_send(sd, buf, n, flags); /* a stream ignores the address, as in Linux */
}

/* Descriptors that are sent along: another process may have their placeholders. */
static void spoil_passed(const struct msghdr *msg)
{
	union {
		const struct msghdr *in;
		struct msghdr *out;
	} m = {msg};
	struct cmsghdr *c = msg && msg->msg_control ? CMSG_FIRSTHDR(msg) : NULL;

	for (; c; c = CMSG_NXTHDR(m.out, c)) {
		size_t at = (size_t)((char *)c - (char *)msg->msg_control);
		int passed;

		if (c->cmsg_len > msg->msg_controllen - at)
			return; /* nor does the kernel take it */
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (at = CMSG_LEN(0); at + sizeof(passed) <= c->cmsg_len; at += sizeof(passed)) {
			memcpy(&passed, (char *)c + at, sizeof(passed));
			pl_spare_spoil(pl_fd_file(passed));
		}
	}
}

PL_EXPORT ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	int sd;

	if (flags & MSG_FASTOPEN && msg->msg_name &&
		pl_place_fastopen(fd, msg->msg_name, msg->msg_namelen) < 0)
		return -1;
	sd = pl_fd_native(fd);
	if (sd >= 0)
		return mtcp_sendmsg(sd, msg, flags);
	spoil_passed(msg);
	return pl_real()->sendmsg(fd, msg, flags);
}

PL_EXPORT int sendmmsg(int fd, struct mmsghdr *msgs, unsigned int count, int flags)
{
	int sd = pl_fd_native(fd);
	unsigned int i;

	if (sd < 0) {
		for (i = 0; i < count; i++)
			spoil_passed(&msgs[i].msg_hdr);
		return pl_real()->sendmmsg(fd, msgs, count, flags);
	}
	for (i = 0; i < count; i++) {
		ssize_t sent = mtcp_sendmsg(sd, &msgs[i].msg_hdr, flags);

		if (sent < 0)
			break;
		msgs[i].msg_len = (unsigned int)sent;
	}
	return i || !count ? (int)i : -1;
}

/* One round of sendfile: bytes sent, 0 at the end of the file, -1. */
static ssize_t sendfile_round(int sd, int in_fd, off_t pos, size_t n)
{
	char bounce[SENDFILE_BOUNCE_BYTES];
	size_t room = mtcpi_send_space(sd);
	size_t want = n;
	ssize_t got;

	if (!room) /* the send decides whether to wait or to fail */
		room = SENDFILE_NO_ROOM_BYTES;
	if (want > room)
		want = room;
	if (want > sizeof(bounce))
		want = sizeof(bounce);
	got = pread(in_fd, bounce, want, pos);
	if (got <= 0)
		return got;
	/* No short segment in the middle of the file, unless this is where the room ends. */
	return mtcp_send(sd, bounce, (size_t)got,
		(size_t)got == want && want < n && want < room ? MSG_MORE : 0);
}

static ssize_t sendfile_native(int sd, int in_fd, off_t *offset, size_t n)
{
	off_t pos = offset ? *offset : lseek(in_fd, 0, SEEK_CUR);
	size_t done = 0;
	ssize_t sent = 0;

	if (pos < 0) {
		if (offset || errno == ESPIPE)
			errno = EINVAL;
		return -1;
	}
	while (done < n) {
		sent = sendfile_round(sd, in_fd, pos + (off_t)done, n - done);
		if (sent <= 0)
			break;
		done += (size_t)sent;
	}
	if (offset)
		*offset = pos + (off_t)done;
	else if (done)
		lseek(in_fd, pos + (off_t)done, SEEK_SET);
	return done ? (ssize_t)done : sent;
}

PL_EXPORT ssize_t sendfile(int out_fd, int in_fd, off_t *offset, size_t n)
{
	int sd = pl_fd_native(out_fd);

	if (sd < 0)
		return pl_real()->sendfile(out_fd, in_fd, offset, n);
	return sendfile_native(sd, in_fd, offset, n);
}

PL_EXPORT ssize_t sendfile64(int out_fd, int in_fd, off64_t *offset, size_t n)
{
	return sendfile(out_fd, in_fd, offset, n);
}

/* Pages cannot move to or from an mtcp socket: programs fall back to copying on EINVAL. */
PL_EXPORT ssize_t splice(
	int in_fd, off64_t *in_off, int out_fd, off64_t *out_off, size_t n, unsigned int flags)
{
	if (pl_fd_native(in_fd) < 0 && pl_fd_native(out_fd) < 0)
		return pl_real()->splice(in_fd, in_off, out_fd, out_off, n, flags);
	errno = EINVAL;
	return -1;
}

/* The names that fortified programs call. */
PL_EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t buflen)
{
	if (n > buflen)
		__chk_fail();
	return read(fd, buf, n);
}

PL_EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t buflen, int flags)
{
	if (n > buflen)
		__chk_fail();
	return recv(fd, buf, n, flags);
}

PL_EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t buflen, int flags,
	__SOCKADDR_ARG addr, socklen_t *restrict len)
{
	if (n > buflen)
		__chk_fail();
	return recvfrom(fd, buf, n, flags, addr, len);
}
