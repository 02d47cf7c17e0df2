/* peer ADDRESS PORT: serves the requests of native.h, each connection by a thread of its own with
 * blocking calls. Prints "serving" when it listens, and what it did not expect on stderr.
 */
#include "native.h"

#include <mtcp_client.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	BUFFER_BYTES = 16384,
	STACK_BYTES = 128 << 10,
	BACKLOG = 1024,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static uint64_t gate_waiting, gate_opened; /* connections there now; how often it was opened */
static struct record last;

static void wait_at_gate(void)
{
	uint64_t opened;

	pthread_mutex_lock(&lock);
	opened = gate_opened;
	gate_waiting++;
	pthread_cond_broadcast(&gate_moved);
	while (gate_opened == opened)
		pthread_cond_wait(&gate_moved, &lock);
	pthread_mutex_unlock(&lock);
}

static void pause_ms(uint32_t ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (ms == GATE)
		wait_at_gate();
	else
		nanosleep(&ts, NULL);
}

/* 0, or -1 when the connection has ended. */
static int send_all(int sd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = mtcp_send(sd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void serve_echo(int sd)
{
	uint8_t buf[BUFFER_BYTES];
	ssize_t n;

	while ((n = mtcp_read(sd, buf, sizeof(buf))) > 0)
		if (send_all(sd, buf, (size_t)n))
			return;
}

static void serve_source(int sd, const struct request *r)
{
	uint8_t buf[BUFFER_BYTES];
	uint64_t pos = 0;

	while (pos < r->bytes) {
		size_t n = r->bytes - pos < sizeof(buf) ? (size_t)(r->bytes - pos) : sizeof(buf);

		pattern_fill(r->seed, pos, buf, n);
		if (send_all(sd, buf, n))
			return;
		pos += n;
	}
}

/* Reads the pattern to its end; what was seen. */
static struct record drain(int sd, const struct request *r)
{
	struct record seen = {0};
	uint8_t buf[BUFFER_BYTES];
	ssize_t n;

	pause_ms(r->delay_ms);
	while ((n = mtcp_read(sd, buf, sizeof(buf))) > 0) {
		if (pattern_differs(r->seed, seen.bytes, buf, (size_t)n))
			seen.differs = 1;
		seen.bytes += (uint64_t)n;
	}
	seen.error = n < 0 ? (uint32_t)errno : 0;
	return seen;
}

static void serve_sink(int sd, const struct request *r)
{
	struct record seen = drain(sd, r);

	if (!seen.error && !seen.differs)
		send_all(sd, &seen.bytes, sizeof(seen.bytes));
}

static void serve_record(int sd, const struct request *r)
{
	struct record seen = drain(sd, r);

	pthread_mutex_lock(&lock);
	seen.count = last.count + 1;
	last = seen;
	pthread_mutex_unlock(&lock);
}

static void serve_recall(int sd)
{
	struct record copy;

	pthread_mutex_lock(&lock);
	copy = last;
	pthread_mutex_unlock(&lock);
	send_all(sd, &copy, sizeof(copy));
}

static void serve_open(const struct request *r)
{
	pause_ms(r->delay_ms);
	pthread_mutex_lock(&lock);
	while (gate_waiting < r->bytes)
		pthread_cond_wait(&gate_moved, &lock);
	gate_waiting = 0;
	gate_opened++;
	pthread_cond_broadcast(&gate_moved);
	pthread_mutex_unlock(&lock);
}

static void serve_reset(int sd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	mtcp_setsockopt(sd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void *serve(void *arg)
{
	int sd = (int)(intptr_t)arg;
	struct request r;
	ssize_t n = mtcp_recv(sd, &r, sizeof(r), MSG_WAITALL);

	if (n != (ssize_t)sizeof(r)) {
		mtcp_close(sd);
		return NULL;
	}
	switch (r.mode) {
	case MODE_ECHO:
		serve_echo(sd);
		break;
	case MODE_SOURCE:
		serve_source(sd, &r);
		break;
	case MODE_SINK:
		serve_sink(sd, &r);
		break;
	case MODE_RECORD:
		serve_record(sd, &r);
		break;
	case MODE_RECALL:
		serve_recall(sd);
		break;
	case MODE_HOLD:
		pause_ms(r.delay_ms);
		break;
	case MODE_OPEN:
		serve_open(&r);
		break;
	case MODE_RESET:
		serve_reset(sd);
		break;
	default:
		fprintf(stderr, "peer: mode %u\n", r.mode);
		break;
	}
	mtcp_close(sd);
	return NULL;
}

static int listen_on(const char *address, const char *port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int sd = mtcp_socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (sd < 0 || inet_pton(AF_INET, address, &sa.sin_addr) != 1 ||
		mtcp_setsockopt(sd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
		mtcp_bind(sd, (struct sockaddr *)&sa, sizeof(sa)) || mtcp_listen(sd, BACKLOG)) {
		perror("peer");
		exit(1);
	}
	return sd;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t thread;
	int sd;

	if (argc != 3)
		return 2;
	sd = listen_on(argv[1], argv[2]);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	puts("serving");
	fflush(stdout);
	for (;;) {
		int conn = mtcp_accept(sd, NULL, NULL);

		if (conn < 0) {
			perror("peer: accept");
			return 1;
		}
		if (pthread_create(&thread, &attr, serve, (void *)(intptr_t)conn)) {
			perror("peer: thread");
			mtcp_close(conn);
		}
	}
}
