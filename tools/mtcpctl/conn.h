/* The connection to the daemon: a request out, lines of JSON in. */
#ifndef MTCPCTL_CONN_H
#define MTCPCTL_CONN_H

#include <jansson.h>
#include <stddef.h>

enum {
	CONN_TIMEOUT_S = 10,
	CONN_LINE_MAX = 1 << 20,
};

struct conn {
	int fd;
	char *buf;
	size_t len, used, capacity;
};

/* 0 or -errno. */
int conn_open(struct conn *c, const char *path);
void conn_close(struct conn *c);

/* 0 or -errno. */
int conn_send(struct conn *c, const json_t *request);

/* The next line; the caller owns it. NULL and *err: 0 at the end of the connection, or -errno:
 * -ETIMEDOUT, -EBADMSG (not JSON, or too long). */
json_t *conn_receive(struct conn *c, int *err);

#endif
