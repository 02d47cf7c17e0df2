/* The echo server: every thread waits on the same listening sockets and keeps what it accepts.
 *
 * What was read is sent back at once from the thread's buffer. Only if the peer takes less than
 * that is the rest kept with the connection, which then is not read until the rest has gone:
 * so an idle connection holds no buffer, and a peer that does not read is not read either.
 */
#include "echo.h"

#include <mtcp_client.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	EVENTS = 256,
	BUFFER_BYTES = 65536,
	BACKLOG = 4096,
};

/* A listening socket or a connection. */
struct peer {
	int sd;
	bool listens;
	bool ended; /* the peer sends no more */
	char *rest; /* to be sent before more is read */
	size_t rest_bytes, rest_sent;
};

struct server {
	struct peer *listeners;
	uint32_t count;
};

struct worker {
	int epd;
	char buffer[BUFFER_BYTES];
};

static int watch(int epd, int op, struct peer *p, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = p};

	return mtcp_epoll_ctl(epd, op, p->sd, &ev);
}

static void end(struct peer *p)
{
	mtcp_close(p->sd);
	free(p->rest);
	free(p);
}

/* Sends as much as goes; the number of bytes, or -1. */
static ssize_t send_some(int sd, const char *data, size_t len)
{
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = mtcp_send(sd, data + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -1;
		sent += (size_t)n;
	}
	return (ssize_t)sent;
}

/* The rest of `len` bytes waits until the connection is writable. */
static int keep_rest(struct worker *w, struct peer *p, const char *data, size_t len)
{
	p->rest = malloc(len);
	if (!p->rest)
		return -1;
	memcpy(p->rest, data, len);
	p->rest_bytes = len;
	p->rest_sent = 0;
	return watch(w->epd, EPOLL_CTL_MOD, p, EPOLLOUT);
}

/* 0 when nothing is left to send, 1 when something is, -1 on failure. */
static int send_rest(struct worker *w, struct peer *p)
{
	ssize_t n = send_some(p->sd, p->rest + p->rest_sent, p->rest_bytes - p->rest_sent);

	if (n < 0)
		return -1;
	p->rest_sent += (size_t)n;
	if (p->rest_sent < p->rest_bytes)
		return 1;
	free(p->rest);
	p->rest = NULL;
	return watch(w->epd, EPOLL_CTL_MOD, p, EPOLLIN);
}

/* One read and its echo: 0 or -1 when the connection is to be closed. */
static int echo(struct worker *w, struct peer *p)
{
	ssize_t n = mtcp_read(p->sd, w->buffer, sizeof(w->buffer)), sent;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n == 0)
		return -1;
	sent = send_some(p->sd, w->buffer, (size_t)n);
	if (sent < 0 || sent == n)
		return sent < 0 ? -1 : 0;
	return keep_rest(w, p, w->buffer + sent, (size_t)(n - sent));
}

static void accept_all(struct worker *w, struct peer *listener)
{
	for (;;) {
		int sd = mtcp_accept4(listener->sd, NULL, NULL, SOCK_NONBLOCK);
		struct peer *p = sd < 0 ? NULL : calloc(1, sizeof(*p));

		if (sd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (sd < 0)
			return;
		if (!p) {
			mtcp_close(sd);
			return;
		}
		p->sd = sd;
		if (watch(w->epd, EPOLL_CTL_ADD, p, EPOLLIN))
			end(p);
	}
}

static void *serve(void *arg)
{
	struct worker *w = arg;
	struct epoll_event ev[EVENTS];
	int n;

	while ((n = mtcp_epoll_wait(w->epd, ev, EVENTS, -1)) >= 0 || errno == EINTR) {
		for (int i = 0; i < n; i++) {
			struct peer *p = ev[i].data.ptr;

			if (p->listens)
				accept_all(w, p);
			else if ((p->rest ? send_rest(w, p) : echo(w, p)) < 0)
				end(p);
		}
	}
	perror("mtcp-echo: the daemon is gone");
	exit(1);
}

static int open_listener(struct peer *p, struct in_addr address, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};

	sa.sin_addr = address;
	sa.sin_port = htons(port);
	p->listens = true;
	p->sd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (p->sd < 0 || mtcp_bind(p->sd, (struct sockaddr *)&sa, sizeof(sa)) ||
		mtcp_listen(p->sd, BACKLOG)) {
		fprintf(stderr, "mtcp-echo: port %u: %s\n", port, strerror(errno));
		return -1;
	}
	return 0;
}

static int start_worker(const struct server *s)
{
	struct worker *w = calloc(1, sizeof(*w));
	pthread_t thread;

	if (!w)
		return -1;
	w->epd = mtcp_epoll_create1(0);
	if (w->epd < 0)
		return -1;
	for (uint32_t i = 0; i < s->count; i++)
		if (watch(w->epd, EPOLL_CTL_ADD, &s->listeners[i], EPOLLIN))
			return -1;
	errno = pthread_create(&thread, NULL, serve, w);
	return errno ? -1 : 0;
}

int echo_server(const struct echo_options *o)
{
	static struct server s; /* the threads' as well */

	s.count = echo_ports(o);
	echo_block_signals();
	s.listeners = calloc(s.count, sizeof(*s.listeners));
	for (uint32_t i = 0; s.listeners && i < s.count; i++)
		if (open_listener(&s.listeners[i], o->address, (uint16_t)(o->port_first + i)))
			return 1;
	for (uint32_t i = 0; i < o->threads; i++) {
		if (!s.listeners || start_worker(&s)) {
			perror("mtcp-echo: no thread");
			return 1;
		}
	}
	printf("mtcp-echo: serving\n");
	fflush(stdout);
	echo_wait_signal();
	return 0; /* exit() closes what is open */
}
