/* Streams over mtcp sockets.
 *
 * The C library's streams read, write and close through internal calls that cannot be
 * interposed. fdopen() of an mtcp socket therefore makes a stream with functions of ours.
 * Limits: fileno() of such a stream is -1, and a socket that is fdopen()ed before it is
 * connected, or made the process's standard output, stays the placeholder's.
 */
#include "fd.h"
#include "real.h"

#include <string.h>
#include <unistd.h>

#include <libclient/internal.h>

static int cookie_fd(void *cookie)
{
	return (int)(intptr_t)cookie;
}

static ssize_t cookie_read(void *cookie, char *buf, size_t n)
{
	int sd = pl_fd_native(cookie_fd(cookie));

	return sd < 0 ? pl_real()->read(cookie_fd(cookie), buf, n) : mtcp_read(sd, buf, n);
}

static ssize_t cookie_write(void *cookie, const char *buf, size_t n)
{
	int sd = pl_fd_native(cookie_fd(cookie));
	ssize_t sent =
		sd < 0 ? pl_real()->write(cookie_fd(cookie), buf, n) : mtcp_write(sd, buf, n);

	return sent < 0 ? 0 : sent; /* fopencookie(3): 0 is the error here */
}

static int cookie_close(void *cookie)
{
	pl_fd_forget(cookie_fd(cookie));
	return pl_real()->close(cookie_fd(cookie));
}

PL_EXPORT FILE *fdopen(int fd, const char *mode)
{
	static const cookie_io_functions_t functions = {
		.read = cookie_read,
		.write = cookie_write,
		.close = cookie_close,
	};

	if (pl_fd_native(fd) < 0)
		return pl_real()->fdopen(fd, mode);
	return fopencookie((void *)(intptr_t)fd, mode, functions);
}
