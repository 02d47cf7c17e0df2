/* bench-client: one process with very many connections, on the public interface of libmtcp-client.
 *
 * Reads commands from stdin, one a line, and answers each with one line of JSON. Whoever drives
 * it (tools/bench/scale, tools/bench/wake) looks at memory and CPU time between them.
 *
 *	open N              N more connections, BATCH at a time without waiting for each other
 *	accept N            N connections that the peer opens
 *	watch               every connection into one epoll set, for reading
 *	echo C RATE SECONDS C connections, spread evenly over all, ask 64 bytes in turn, RATE times
 *a second in all, and wait for nothing before the next: what an answer takes is told from its send,
 *and no slow answer delays another request close               all of them; the answer comes when
 *the last call has returned
 *
 * Remote addresses are counted up from -a, PER_ADDRESS connections each.
 */
#include <mtcp_client.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 512,
	PER_ADDRESS = 20000,
	MESSAGE_BYTES = 64,
	OUTSTANDING_MAX = 256, /* of a connection */
	EVENTS = 256,
	TICK_MS = 1,
	OPEN_WAIT_MS = 30000,
	LAST_ANSWERS_S = 2,
	BACKLOG = 4096,
};

struct active {
	int sd;
	uint32_t sent, answered;
	uint32_t got_bytes; /* of the next answer */
	uint64_t sent_ns[OUTSTANDING_MAX];
};

static struct in_addr first_addr;
static uint16_t port = 80;
static int *sds;
static uint32_t count, capacity;
static int watch_set = -1;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double seconds_since(uint64_t start_ns)
{
	return (double)(now_ns() - start_ns) / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "bench-client: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Grown by doubling, not reserved: its memory is the bench's, and known: 4 bytes a connection. */
static void keep(int sd)
{
	if (count == capacity) {
		capacity = capacity ? capacity * 2 : 1024;
		sds = realloc(sds, capacity * sizeof(*sds));
		if (!sds)
			die("realloc");
	}
	sds[count++] = sd;
}

/* -- opening --------------------------------------------------------------------------------- */

static int open_one(uint32_t number)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int sd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	to.sin_addr.s_addr = htonl(ntohl(first_addr.s_addr) + number / PER_ADDRESS);
	if (sd < 0)
		return -1;
	if (!mtcp_connect(sd, (struct sockaddr *)&to, sizeof(to)) || errno == EINPROGRESS)
		return sd;
	mtcp_close(sd);
	return -1;
}

/* Waits until each of the batch is connected or has failed; keeps the good ones. */
static uint32_t await_batch(struct pollfd *p, uint32_t n)
{
	uint32_t failed = 0;

	while (n) {
		uint32_t left = 0;

		if (mtcp_poll(p, n, OPEN_WAIT_MS) <= 0)
			die("connections do not come about");
		for (uint32_t i = 0; i < n; i++) {
			if (!p[i].revents) {
				p[left++].fd = p[i].fd;
			} else if (p[i].revents & (POLLERR | POLLHUP)) {
				mtcp_close(p[i].fd);
				failed++;
			} else {
				keep(p[i].fd);
			}
		}
		n = left;
	}
	return failed;
}

static uint32_t open_batch(uint32_t n, const char **error)
{
	struct pollfd p[BATCH];
	uint32_t begun = 0, failed = 0;

	for (uint32_t i = 0; i < n; i++) {
		int sd = open_one(count + i);

		if (sd < 0) {
			failed++;
			*error = strerror(errno);
			continue;
		}
		p[begun++] = (struct pollfd){.fd = sd, .events = POLLOUT};
	}
	return failed + await_batch(p, begun);
}

static void do_open(uint32_t n)
{
	uint64_t start = now_ns();
	const char *error = "";
	uint32_t before = count, failed = 0;

	for (uint32_t done = 0; done < n && failed < BATCH; done += BATCH)
		failed += open_batch(n - done < BATCH ? n - done : BATCH, &error);
	printf("{\"opened\": %u, \"failed\": %u, \"seconds\": %.6f, \"error\": \"%s\"}\n",
		count - before, failed, seconds_since(start), error);
}

/* -- accepting ------------------------------------------------------------------------------- */

static int listen_on_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int l = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (l < 0 || mtcp_bind(l, (struct sockaddr *)&at, sizeof(at)) || mtcp_listen(l, BACKLOG))
		die("listen");
	puts("{\"listening\": true}");
	fflush(stdout);
	return l;
}

/* Time runs from the first connection on, so that the peer's start is not counted. */
static void do_accept(uint32_t n)
{
	uint32_t before = count;
	int l = listen_on_port();
	struct pollfd p = {.fd = l, .events = POLLIN};
	uint64_t start = 0, last = 0;

	while (count - before < n) {
		int sd = mtcp_accept4(l, NULL, NULL, SOCK_NONBLOCK);

		if (sd >= 0) {
			keep(sd);
			continue;
		}
		if (errno != EAGAIN)
			die("accept");
		last = now_ns();
		if (!start && count > before)
			start = last;
		if (mtcp_poll(&p, 1, OPEN_WAIT_MS) <= 0)
			break;
	}
	mtcp_close(l);
	printf("{\"opened\": %u, \"failed\": %u, \"seconds\": %.6f, \"error\": \"\"}\n",
		count - before, n - (count - before), seconds_since(start ? start : last));
}

static void do_watch(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	uint64_t start = now_ns();

	if (watch_set < 0)
		watch_set = mtcp_epoll_create1(0);
	if (watch_set < 0)
		die("epoll_create1");
	for (uint32_t i = 0; i < count; i++) {
		ev.data.u32 = i;
		if (mtcp_epoll_ctl(watch_set, EPOLL_CTL_ADD, sds[i], &ev))
			die("epoll_ctl");
	}
	printf("{\"watched\": %u, \"seconds\": %.6f}\n", count, seconds_since(start));
}

/* -- requests -------------------------------------------------------------------------------- */

struct echo {
	struct active *a;
	uint32_t n;
	int set;
	uint32_t *sample_ns;
	uint32_t samples, samples_max;
	uint64_t sent, refused;
};

static void ask(struct echo *e, struct active *a)
{
	static const char message[MESSAGE_BYTES];

	if (a->sent - a->answered == OUTSTANDING_MAX) {
		e->refused++;
		return;
	}
	a->sent_ns[a->sent % OUTSTANDING_MAX] = now_ns();
	if (mtcp_send(a->sd, message, sizeof(message), MSG_NOSIGNAL) != sizeof(message))
		die("send");
	a->sent++;
	e->sent++;
}

static void take_answers(struct echo *e, struct active *a)
{
	char buf[MESSAGE_BYTES * 16];
	ssize_t n;

	while ((n = mtcp_recv(a->sd, buf, sizeof(buf), 0)) > 0) {
		uint64_t now = now_ns();

		a->got_bytes += (uint32_t)n;
		for (; a->got_bytes >= MESSAGE_BYTES; a->got_bytes -= MESSAGE_BYTES) {
			uint64_t sent = a->sent_ns[a->answered++ % OUTSTANDING_MAX];

			if (e->samples < e->samples_max)
				e->sample_ns[e->samples++] = (uint32_t)(now - sent);
		}
	}
	if (n == 0 || errno != EAGAIN)
		die("recv");
}

static void take_events(struct echo *e, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = mtcp_epoll_wait(e->set, events, EVENTS, timeout_ms);

	for (int i = 0; i < n; i++)
		take_answers(e, &e->a[events[i].data.u32]);
}

/* Requests that are due, and answers, until the time is over; then what is still to come. */
static void echo_run(struct echo *e, uint32_t rate, double for_s)
{
	uint64_t start = now_ns();
	uint32_t next = 0;
	double t;

	while ((t = seconds_since(start)) < for_s) {
		while (e->sent + e->refused < (uint64_t)(t * rate))
			ask(e, &e->a[next++ % e->n]);
		take_events(e, TICK_MS);
	}
	start = now_ns();
	while (e->samples < e->sent && seconds_since(start) < LAST_ANSWERS_S)
		take_events(e, TICK_MS);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(const struct echo *e, double p)
{
	return e->samples ? e->sample_ns[(uint32_t)(p * (e->samples - 1))] / 1000.0 : 0;
}

static void echo_begin(struct echo *e, uint32_t rate, double for_s)
{
	struct epoll_event ev = {.events = EPOLLIN};

	e->samples_max = (uint32_t)(rate * for_s) + 1;
	e->a = calloc(e->n, sizeof(*e->a));
	e->sample_ns = calloc(e->samples_max, sizeof(*e->sample_ns));
	e->set = mtcp_epoll_create1(0);
	if (!e->a || !e->sample_ns || e->set < 0)
		die("echo");
	for (uint32_t i = 0; i < e->n; i++) {
		e->a[i].sd = sds[(uint64_t)i * count / e->n];
		ev.data.u32 = i;
		if (mtcp_epoll_ctl(e->set, EPOLL_CTL_ADD, e->a[i].sd, &ev))
			die("epoll_ctl");
	}
}

static void do_echo(uint32_t n, uint32_t rate, double for_s)
{
	struct echo e = {.n = n < count ? n : count};

	if (!e.n || !rate || for_s <= 0) {
		puts("{\"error\": \"nothing to do\"}");
		return;
	}
	echo_begin(&e, rate, for_s);
	echo_run(&e, rate, for_s);
	qsort(e.sample_ns, e.samples, sizeof(*e.sample_ns), compare);
	printf("{\"connections\": %u, \"sent\": %lu, \"answered\": %u, \"refused\": %lu, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
		e.n, e.sent, e.samples, e.refused, percentile_us(&e, 0.5), percentile_us(&e, 0.99),
		percentile_us(&e, 0.999), percentile_us(&e, 1));
	mtcp_close(e.set);
	free(e.a);
	free(e.sample_ns);
}

static void do_close(void)
{
	uint64_t start = now_ns();
	uint32_t n = count;

	if (watch_set >= 0)
		mtcp_close(watch_set);
	watch_set = -1;
	while (count)
		mtcp_close(sds[--count]);
	printf("{\"closed\": %u, \"seconds\": %.6f}\n", n, seconds_since(start));
}

/* -- commands -------------------------------------------------------------------------------- */

static void command(const char *line)
{
	uint32_t n, rate;
	double s;

	if (sscanf(line, "open %u", &n) == 1)
		do_open(n);
	else if (sscanf(line, "accept %u", &n) == 1)
		do_accept(n);
	else if (sscanf(line, "echo %u %u %lf", &n, &rate, &s) == 3)
		do_echo(n, rate, s);
	else if (!strcmp(line, "watch\n"))
		do_watch();
	else if (!strcmp(line, "close\n"))
		do_close();
	else
		puts("{\"error\": \"no such command\"}");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[128];
	int c;

	while ((c = getopt(argc, argv, "a:p:")) != -1) {
		if (c == 'p')
			port = (uint16_t)atoi(optarg);
		else if (c != 'a' || !inet_aton(optarg, &first_addr)) {
			fputs("usage: bench-client -a FIRST_ADDRESS [-p PORT] <commands\n", stderr);
			return 2;
		}
	}
	if (mtcp_attach(NULL))
		die("mtcp_attach");
	puts("{\"attached\": true}");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		command(line);
	return 0;
}
