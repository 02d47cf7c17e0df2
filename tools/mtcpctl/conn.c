/* Blocking, with a time-out: a daemon that hangs must not hang its operator too. */
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int conn_open(struct conn *c, const char *path)
{
	const struct timeval timeout = {.tv_sec = CONN_TIMEOUT_S};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	*c = (struct conn){.fd = -1};
	if ((size_t)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path) >=
		sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	if (setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
		setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
		connect(c->fd, (const struct sockaddr *)&sun, sizeof(sun))) {
		int err = -errno;

		conn_close(c);
		return err;
	}
	return 0;
}

void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	*c = (struct conn){.fd = -1};
}

int conn_send(struct conn *c, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t len, sent = 0;
	int err = 0;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len++] = '\n'; /* over the terminator: length is known */
	while (sent < len && !err) {
		ssize_t n = send(c->fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR)
			err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
	free(text);
	return err;
}

/* Reads more behind what is there: bytes read, 0 at the end, or -errno. */
static ssize_t fill(struct conn *c)
{
	ssize_t n;

	if (c->used) {
		memmove(c->buf, c->buf + c->used, c->len - c->used);
		c->len -= c->used;
		c->used = 0;
	}
	if (c->len == c->capacity) {
		size_t capacity = c->capacity ? c->capacity * 2 : 65536;
		char *bigger;

		if (capacity > CONN_LINE_MAX)
			return -EBADMSG;
		bigger = realloc(c->buf, capacity);
		if (!bigger)
			return -ENOMEM;
		c->buf = bigger;
		c->capacity = capacity;
	}
	do {
		n = recv(c->fd, c->buf + c->len, c->capacity - c->len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	c->len += (size_t)n;
	return n;
}

json_t *conn_receive(struct conn *c, int *err)
{
	size_t searched = 0;

	for (;;) {
		char *line = c->buf + c->used, *end = NULL;
		ssize_t n;

		if (c->len - c->used > searched)
			end = memchr(line + searched, '\n', c->len - c->used - searched);
		if (end) {
			json_t *obj = json_loadb(line, (size_t)(end - line), 0, NULL);

			c->used += (size_t)(end - line) + 1;
			*err = obj ? 0 : -EBADMSG;
			return obj;
		}
		searched = c->len - c->used;
		n = fill(c);
		if (n <= 0) {
			*err = (int)n;
			return NULL;
		}
	}
}
