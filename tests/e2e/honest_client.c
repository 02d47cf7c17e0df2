/* honest_client: somebody who does nothing wrong, and measures what others make him suffer.
 *
 *	honest_client serve ADDR PORT             echoes
 *	honest_client mute ADDR PORT              listens, but accepts nothing
 *	honest_client ask ADDR PORT PERIOD_US     one connection, a request of 64 bytes a period
 *	honest_client open ADDR PORT PERIOD_US    the same, with a new connection each
 *
 * An ordinary program, for the kernel and for mtcp-run. On SIGUSR1 the last two print a line with
 * what they saw since the last one, and begin a new window:
 *
 *	REQUESTS ERRORS P50 P99 P999 MAX BOUND OVER
 *
 * Times are in microseconds. BOUND is twice the P99 of the first window plus 1 ms, OVER counts the
 * requests that took longer. SIGTERM ends the program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUEST_BYTES = 64,
	SAMPLES_MAX = 1 << 20,
	EVENTS = 64,
	BACKLOG = 1024,
	PATIENCE_S = 20,
};

static volatile sig_atomic_t window_over, done;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		window_over = 1;
	else
		done = 1;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static struct sockaddr_in address(char **argv)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};

	if (inet_pton(AF_INET, argv[0], &sa.sin_addr) != 1)
		die(argv[0]);
	return sa;
}

/* -- the server ----------------------------------------------------------------------------------
 */

static void echo(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0 && write(fd, buf, (size_t)n) == n)
		return;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	close(fd);
}

static void accept_all(int ep, int lfd)
{
	for (;;) {
		struct epoll_event ev = {.events = EPOLLIN};
		int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK), on = 1;

		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		ev.data.fd = fd;
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
			close(fd);
	}
}

static int serve(char **argv, bool mute)
{
	struct sockaddr_in sa = address(argv);
	int lfd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0), on = 1;
	struct epoll_event ev[EVENTS] = {{.events = EPOLLIN, .data.fd = lfd}};

	setsockopt(lfd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(lfd, (struct sockaddr *)&sa, sizeof(sa)) || listen(lfd, BACKLOG) ||
		epoll_ctl(ep, EPOLL_CTL_ADD, lfd, ev))
		die("listen");
	while (!done && mute)
		poll(NULL, 0, 200);
	while (!done) {
		int n = epoll_wait(ep, ev, EVENTS, 200); /* a signal may come just before */

		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == lfd)
				accept_all(ep, lfd);
			else
				echo(ev[i].data.fd);
		}
	}
	return 0;
}

/* -- the client ----------------------------------------------------------------------------------
 */

struct window {
	uint32_t *us;
	uint32_t requests, errors;
	uint64_t bound_us; /* 0 in the first window */
};

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t quantile(const struct window *w, uint32_t per_mille)
{
	return w->requests ? w->us[(uint64_t)(w->requests - 1) * per_mille / 1000] : 0;
}

static void window_print(struct window *w)
{
	uint32_t over = 0;

	qsort(w->us, w->requests, sizeof(*w->us), compare);
	if (!w->bound_us)
		w->bound_us = 2 * quantile(w, 990) + 1000;
	while (over < w->requests && w->us[w->requests - 1 - over] > w->bound_us)
		over++;
	printf("%u %u %u %u %u %u %llu %u\n", w->requests, w->errors, quantile(w, 500),
		quantile(w, 990), quantile(w, 999), quantile(w, 1000),
		(unsigned long long)w->bound_us, over);
	fflush(stdout);
	w->requests = w->errors = 0;
	window_over = 0;
}

/* A connected socket, -1 with errno. */
static int dial(const struct sockaddr_in *sa)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0)
		return fd;
	if (errno == EINTR) { /* goes on by itself */
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		int error = 0;
		socklen_t len = sizeof(error);

		while (poll(&p, 1, PATIENCE_S * 1000) < 0 && errno == EINTR)
			;
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (!error)
			return fd;
		errno = error;
	}
	close(fd);
	return -1;
}

/* One request on fd: true if the same bytes came back. */
static bool ask(int fd, uint32_t number)
{
	char out[REQUEST_BYTES], in[REQUEST_BYTES];
	size_t got = 0;
	ssize_t n;

	memset(out, (int)number, sizeof(out));
	while ((n = write(fd, out, sizeof(out))) < 0 && errno == EINTR)
		;
	if (n != sizeof(out))
		return false;
	while (got < sizeof(in)) {
		n = read(fd, in + got, sizeof(in) - got);
		if (n == 0)
			errno = ECONNRESET;
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		got += n > 0 ? (size_t)n : 0;
	}
	return memcmp(in, out, sizeof(in)) == 0;
}

static void failed(struct window *w, const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	w->errors++;
}

/* Until it is time for the next request; a window that ends now is printed now. */
static void pause_until(uint64_t at_us, struct window *w)
{
	do {
		uint64_t t = now_us(), wait_us = at_us > t ? at_us - t : 0;
		const struct timespec ts = {
			(time_t)(wait_us / 1000000), (long)(wait_us % 1000000) * 1000};

		if (wait_us)
			nanosleep(&ts, NULL);
		if (window_over)
			window_print(w);
	} while (!done && now_us() < at_us);
}

static int measure(char **argv, bool anew)
{
	struct sockaddr_in sa = address(argv);
	uint64_t period_us = (uint64_t)atoi(argv[2]);
	struct window w = {.us = malloc(SAMPLES_MAX * sizeof(*w.us))};
	uint32_t number = 0;
	int fd = -1;

	prctl(PR_SET_TIMERSLACK, 1000UL);
	while (!done) {
		uint64_t start_us = now_us();
		bool ok = false;

		if (fd < 0)
			fd = dial(&sa);
		if (fd < 0)
			failed(&w, "connect");
		else if (!(ok = ask(fd, number++)))
			failed(&w, "request");
		if (ok && w.requests < SAMPLES_MAX)
			w.us[w.requests++] = (uint32_t)(now_us() - start_us);
		if (fd >= 0 && (anew || !ok)) {
			close(fd);
			fd = -1;
		}
		pause_until(start_us + period_us, &w);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		return serve(argv + 2, false);
	if (argc == 4 && strcmp(argv[1], "mute") == 0)
		return serve(argv + 2, true);
	if (argc == 5 && strcmp(argv[1], "ask") == 0)
		return measure(argv + 2, false);
	if (argc == 5 && strcmp(argv[1], "open") == 0)
		return measure(argv + 2, true);
	fprintf(stderr, "usage: honest_client serve|mute|ask|open ADDR PORT [PERIOD_US]\n");
	return 2;
}
