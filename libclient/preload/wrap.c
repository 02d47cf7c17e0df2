/* The native library's way to the C library.
 *
 * It is linked into this object and would reach the interposed names: a sleep in ppoll() on the
 * program's epoll descriptor would come back to us as the program's own poll, and so for ever.
 * The linker's --wrap (CMakeLists.txt) sends its calls here instead, and straight on. It sends
 * the adapter's files here too, which therefore never call these names to mean their own: they
 * name pl_real() or mtcp_*().
 */
#include "real.h"

#include <stdarg.h>

ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
ssize_t __wrap_recv(int fd, void *buf, size_t n, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t n, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *val, socklen_t len);
int __wrap_getsockopt(int fd, int level, int name, void *val, socklen_t *len);
int __wrap_shutdown(int fd, int how);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_ppoll(
	struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
int __wrap_close(int fd);
int __wrap_fcntl(int fd, int cmd, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	return pl_real()->read(fd, buf, n);
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	return pl_real()->write(fd, buf, n);
}

ssize_t __wrap_recv(int fd, void *buf, size_t n, int flags)
{
	return pl_real()->recv(fd, buf, n, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return pl_real()->recvmsg(fd, msg, flags);
}

ssize_t __wrap_send(int fd, const void *buf, size_t n, int flags)
{
	return pl_real()->send(fd, buf, n, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return pl_real()->sendmsg(fd, msg, flags);
}

int __wrap_socket(int domain, int type, int protocol)
{
	return pl_real()->socket(domain, type, protocol);
}

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return pl_real()->connect(fd, addr, len);
}

int __wrap_setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	return pl_real()->setsockopt(fd, level, name, val, len);
}

int __wrap_getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	return pl_real()->getsockopt(fd, level, name, val, len);
}

int __wrap_shutdown(int fd, int how)
{
	return pl_real()->shutdown(fd, how);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	return pl_real()->poll(fds, n, timeout_ms);
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	return pl_real()->ppoll(fds, n, timeout, mask);
}

int __wrap_close(int fd)
{
	return pl_real()->close(fd);
}

int __wrap_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return pl_real()->fcntl(fd, cmd, arg);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return pl_real()->ioctl(fd, request, arg);
}
