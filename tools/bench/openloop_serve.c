/* The echo server: one thread, one epoll set. What a connection sent comes back before more is
 * read of it, so that a peer that does not read is not read either. */
#include "openloop.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS = 256,
	BACKLOG = 1024,
	BUFFER_BYTES = 65536,
};

struct conn {
	int fd;
	bool waits; /* for room to send: EPOLLOUT is asked for */
	size_t begin, end;
	char buffer[BUFFER_BYTES];
};

static int epoll_fd;

static void ask(struct conn *c, int operation)
{
	struct epoll_event ev = {.events = c->waits ? EPOLLOUT : EPOLLIN, .data.ptr = c};

	epoll_ctl(epoll_fd, operation, c->fd, &ev);
}

static void drop(struct conn *c)
{
	close(c->fd);
	free(c);
}

/* False: the connection is over. */
static bool flush(struct conn *c)
{
	while (c->begin < c->end) {
		ssize_t n = send(c->fd, c->buffer + c->begin, c->end - c->begin, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN;
		c->begin += (size_t)n;
	}
	return true;
}

static void serve(struct conn *c)
{
	bool waited = c->waits, alive = true;
	ssize_t n;

	if (!waited) {
		n = recv(c->fd, c->buffer, sizeof(c->buffer), 0);
		alive = n > 0 || (n < 0 && errno == EAGAIN);
		c->begin = 0;
		c->end = n > 0 ? (size_t)n : 0;
	}
	if (!alive || !flush(c)) {
		drop(c);
		return;
	}
	c->waits = c->begin < c->end;
	if (c->waits != waited)
		ask(c, EPOLL_CTL_MOD);
}

/* 0, or -errno when the listener is of no use any more. */
static int accept_all(int listen_fd)
{
	int fd, one = 1;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = malloc(sizeof(*c));

		if (c == NULL) {
			close(fd);
			return -ENOMEM;
		}
		c->fd = fd;
		c->waits = false;
		c->begin = c->end = 0;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		ask(c, EPOLL_CTL_ADD);
	}
	return errno == EAGAIN || errno == ECONNABORTED || errno == EMFILE ? 0 : -errno;
}

static int open_listener(const struct openloop_options *o)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&o->address, sizeof(o->address)) < 0 ||
		listen(fd, BACKLOG) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	return fd;
}

int openloop_serve(const struct openloop_options *o)
{
	struct epoll_event events[EVENTS];
	int listen_fd, n, err = 0;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return -errno;
	listen_fd = open_listener(o);
	if (listen_fd < 0)
		return listen_fd;
	while (err == 0) {
		n = epoll_wait(epoll_fd, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; err == 0 && i < n; i++) {
			if (events[i].data.ptr == NULL)
				err = accept_all(listen_fd);
			else
				serve(events[i].data.ptr);
		}
	}
	return err;
}
