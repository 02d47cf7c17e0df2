/* sockopts: what a program sees of socket options and of the ends of connections, a line each, to
 * be compared between the kernel and mtcpd.
 *
 *	sockopts serve PORT         the peer, on the kernel; see below
 *	sockopts table ADDRESS PORT options: a fresh socket, a connected one, a listener
 *	sockopts ends ADDRESS PORT  calls on connections that end in one way or another
 *
 * The peer takes one connection at a time. Its first byte says what to do: 'd' read all until it
 * ends and remember how, '?' tell what was remembered, 'r' reset at once, 'c' close at once, 'w'
 * wait for a while and then as 'd'.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	PATIENCE_MS = 30000, /* with a busy machine */
	LINGER_S = 50,
};

static struct sockaddr_in peer = {.sin_family = AF_INET};

static const char *name_of(int error)
{
	return error ? strerrorname_np(error) : "0";
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void say(const char *what, long rc)
{
	printf("%s: %ld %s\n", what, rc, rc < 0 ? name_of(errno) : "");
}

/* -- the peer ---------------------------------------------------------------------------------- */

static void serve_one(int sd)
{
	static char remembered[64] = "nothing";
	char buf[65536], command = 0;
	long total = 0, n;

	if (read(sd, &command, 1) != 1)
		return;
	if (command == '?') {
		(void)!write(sd, remembered, strlen(remembered));
		return;
	}
	if (command == 'r')
		setsockopt(
			sd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	if (command == 'r' || command == 'c')
		return;
	if (command == 'w')
		usleep(500000);
	while ((n = read(sd, buf, sizeof(buf))) > 0)
		total += n;
	snprintf(remembered, sizeof(remembered), "%ld bytes, then %s", total,
		n ? name_of(errno) : "end");
}

static int serve(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int ls = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(ls, (struct sockaddr *)&any, sizeof(any)) || listen(ls, 16))
		return 1;
	for (;;) {
		int sd = accept(ls, NULL, NULL);

		serve_one(sd);
		close(sd);
	}
}

static int connected(void)
{
	int sd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(sd, (struct sockaddr *)&peer, sizeof(peer))) {
		perror("connect");
		exit(2);
	}
	return sd;
}

static int connected_with(char command)
{
	int sd = connected();

	(void)!write(sd, &command, 1);
	return sd;
}

static void peer_saw(const char *what)
{
	int sd = connected_with('?');
	char buf[64] = "";

	(void)!read(sd, buf, sizeof(buf) - 1);
	close(sd);
	printf("%s: the peer saw %s\n", what, buf);
}

/* -- options ----------------------------------------------------------------------------------- */

#define O(level, name)                                                                             \
	{                                                                                          \
		level, name, #name                                                                 \
	}
static const struct option {
	int level, name;
	const char *text;
} options[] = {
	O(SOL_SOCKET, SO_KEEPALIVE),
	O(SOL_SOCKET, SO_REUSEADDR),
	O(SOL_SOCKET, SO_REUSEPORT),
	O(SOL_SOCKET, SO_BROADCAST),
	O(SOL_SOCKET, SO_OOBINLINE),
	O(SOL_SOCKET, SO_DONTROUTE),
	O(SOL_SOCKET, SO_RCVLOWAT),
	O(SOL_SOCKET, SO_PRIORITY),
	O(SOL_SOCKET, SO_ERROR),
	O(SOL_SOCKET, SO_TYPE),
	O(SOL_SOCKET, SO_DOMAIN),
	O(SOL_SOCKET, SO_PROTOCOL),
	O(SOL_SOCKET, SO_ACCEPTCONN),
	O(IPPROTO_TCP, TCP_NODELAY),
	O(IPPROTO_TCP, TCP_CORK),
	O(IPPROTO_TCP, TCP_QUICKACK),
	O(IPPROTO_TCP, TCP_KEEPIDLE),
	O(IPPROTO_TCP, TCP_KEEPINTVL),
	O(IPPROTO_TCP, TCP_KEEPCNT),
	O(IPPROTO_TCP, TCP_SYNCNT),
	O(IPPROTO_TCP, TCP_LINGER2),
	O(IPPROTO_TCP, TCP_USER_TIMEOUT),
	O(IPPROTO_TCP, TCP_DEFER_ACCEPT),
	O(IPPROTO_TCP, TCP_WINDOW_CLAMP),
	O(IPPROTO_TCP, TCP_NOTSENT_LOWAT),
	O(IPPROTO_TCP, TCP_MAXSEG),
	O(IPPROTO_IP, IP_TOS),
	O(IPPROTO_IP, IP_TTL),
	O(IPPROTO_TCP, 9999),
	O(SOL_SOCKET, 9999),
};
static const int values[] = {
	-1, 0, 1, 2, 7, 60, 120, 127, 128, 255, 256, 1000, 32767, 32768, 100000, 2147483647};

static void get(const char *where, int sd, const struct option *o, const char *after)
{
	int value = -7777;
	socklen_t len = sizeof(value);
	int rc = getsockopt(sd, o->level, o->name, &value, &len);

	if (rc)
		printf("%s %s %s: %s\n", where, o->text, after, name_of(errno));
	else
		printf("%s %s %s: %d, %u bytes\n", where, o->text, after, value, len);
}

static void get_short(const char *where, int sd, const struct option *o)
{
	for (socklen_t have = 0; have <= 9; have += 3) {
		unsigned char buf[16];
		socklen_t len = have;
		int rc;

		memset(buf, 0xee, sizeof(buf));
		rc = getsockopt(sd, o->level, o->name, buf, &len);
		printf("%s %s got with room for %u: %s, %u bytes\n", where, o->text, have,
			rc ? name_of(errno) : "0", len);
	}
}

static void set_short(const char *where, int sd, const struct option *o)
{
	for (socklen_t len = 0; len <= 9; len += 3) {
		unsigned char buf[16] = {1};
		int rc = setsockopt(sd, o->level, o->name, buf, len);

		printf("%s %s set with %u bytes: %s\n", where, o->text, len,
			rc ? name_of(errno) : "0");
	}
}

static void table_of(const char *where, int (*make)(void), bool defaults)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		int sd = make();

		/* What a path or a configuration makes of them is not compared. */
		if (defaults && options[i].name != TCP_MAXSEG &&
			options[i].name != TCP_WINDOW_CLAMP)
			get(where, sd, &options[i], "at first");
		for (size_t v = 0; v < COUNT(values); v++) {
			char after[32];
			int rc = setsockopt(sd, options[i].level, options[i].name, &values[v],
				sizeof(values[v]));

			snprintf(after, sizeof(after), "= %d is %s,", values[v],
				rc ? name_of(errno) : "0");
			get(where, sd, &options[i], after);
		}
		get_short(where, sd, &options[i]);
		set_short(where, sd, &options[i]);
		close(sd);
	}
}

static int fresh(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int connected_quiet(void)
{
	return connected_with('d');
}

static void structs_of(const char *where, int sd)
{
	static const struct linger lingers[] = {{0, 0}, {1, 0}, {1, 5}, {0, 5}, {7, 3}};
	static const struct timeval times[] = {
		{0, 0}, {1, 0}, {0, 500000}, {0, 1000000}, {0, -1}, {-1, 0}, {5, 1}};
	static const int names[] = {SO_RCVTIMEO, SO_SNDTIMEO};

	for (size_t i = 0; i < COUNT(lingers); i++) {
		struct linger l = {-1, -1};
		socklen_t len = sizeof(l);
		int rc = setsockopt(sd, SOL_SOCKET, SO_LINGER, &lingers[i], sizeof(l));

		printf("%s SO_LINGER {%d, %d}: %s", where, lingers[i].l_onoff, lingers[i].l_linger,
			rc ? name_of(errno) : "0");
		rc = getsockopt(sd, SOL_SOCKET, SO_LINGER, &l, &len);
		printf(", then {%d, %d} %u\n", l.l_onoff, l.l_linger, len);
	}
	for (size_t n = 0; n < COUNT(names); n++)
		for (size_t i = 0; i < COUNT(times); i++) {
			struct timeval t = {-1, -1};
			socklen_t len = sizeof(t);
			int rc = setsockopt(sd, SOL_SOCKET, names[n], &times[i], sizeof(t));

			printf("%s timeout %zu {%ld, %ld}: %s", where, n, (long)times[i].tv_sec,
				(long)times[i].tv_usec, rc ? name_of(errno) : "0");
			rc = getsockopt(sd, SOL_SOCKET, names[n], &t, &len);
			/* The kernel keeps ticks. */
			printf(", then {%ld, %ld} %u\n", (long)t.tv_sec,
				((long)t.tv_usec + 9999) / 10000, len);
		}
}

/* At the address that reaches the peer: until it is bound, a socket might be anybody's. */
static int listening(void)
{
	struct sockaddr_in own;
	socklen_t len = sizeof(own);
	int sd = connected_quiet(), ls = fresh();

	getsockname(sd, (struct sockaddr *)&own, &len);
	close(sd);
	own.sin_port = 0;
	if (bind(ls, (struct sockaddr *)&own, sizeof(own)) || listen(ls, 1)) {
		perror("listen");
		exit(2);
	}
	return ls;
}

/* What would let a program make TCP's fast open cookies, or do without. */
static void cookies_of(const char *where, int sd)
{
	static const struct option cookies[] = {
		O(IPPROTO_TCP, TCP_FASTOPEN_KEY), O(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE)};

	for (size_t i = 0; i < COUNT(cookies); i++)
		for (socklen_t size = 4; size <= 32; size *= 2) {
			unsigned char buf[32] = {1};
			socklen_t len = size;
			int rc = setsockopt(sd, cookies[i].level, cookies[i].name, buf, len);

			printf("%s %s set with %u bytes: %s\n", where, cookies[i].text, len,
				rc ? name_of(errno) : "0");
			rc = getsockopt(sd, cookies[i].level, cookies[i].name, buf, &len);
			printf("%s %s got: %s\n", where, cookies[i].text,
				rc ? name_of(errno) : "0");
		}
}

static int table(void)
{
	int sd;

	table_of("fresh", fresh, true);
	table_of("connected", connected_quiet, true);
	sd = connected_quiet();
	structs_of("connected", sd);
	close(sd);
	sd = listening();
	cookies_of("listening", sd);
	close(sd);
	return 0;
}

/* -- ends -------------------------------------------------------------------------------------- */

static short events_of(int sd)
{
	struct pollfd p = {.fd = sd, .events = POLLIN | POLLOUT | POLLRDHUP};

	poll(&p, 1, 1000);
	return p.revents;
}

/* Until all of these have come; what is missing at the deadline shows in what is printed. */
static void await_events(int sd, short events)
{
	struct pollfd p = {.fd = sd, .events = events};

	for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end; usleep(1000))
		if (poll(&p, 1, 0) > 0 && (p.revents & events) == events)
			return;
}

/* Until the peer has acknowledged all. */
static void await_acknowledged(int sd)
{
	int n = 1;

	for (uint64_t end = now_ms() + PATIENCE_MS; n && now_ms() < end; usleep(1000))
		if (ioctl(sd, TIOCOUTQ, &n))
			return;
}

static void numbers_of(const char *what, int sd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int n = -1;

	say(what, ioctl(sd, FIONREAD, &n));
	printf("%s FIONREAD %d\n", what, n);
	n = -1;
	say(what, ioctl(sd, TIOCOUTQ, &n));
	printf("%s TIOCOUTQ %d\n", what, n);
	say(what, getpeername(sd, (struct sockaddr *)&a, &len));
	n = -1;
	len = sizeof(n);
	say(what, getsockopt(sd, SOL_SOCKET, SO_ERROR, &n, &len));
	printf("%s SO_ERROR %s\n", what, name_of(n));
}

static void after_reset(void)
{
	int sd = connected_with('r');
	char buf[10];

	await_events(sd, POLLERR | POLLHUP);
	printf("reset: events %#x\n", events_of(sd));
	say("reset: read", read(sd, buf, sizeof(buf)));
	say("reset: read again", read(sd, buf, sizeof(buf)));
	say("reset: write", send(sd, "x", 1, MSG_NOSIGNAL));
	numbers_of("reset:", sd);
	say("reset: shutdown", shutdown(sd, SHUT_WR));
	close(sd);
	sd = connected_with('r');
	await_events(sd, POLLERR | POLLHUP);
	numbers_of("reset, unread:", sd);
	say("reset, error taken: read", read(sd, buf, sizeof(buf)));
	close(sd);
	sd = connected_with('r');
	await_events(sd, POLLERR | POLLHUP);
	say("reset: write first", send(sd, "x", 1, MSG_NOSIGNAL));
	say("reset: write second", send(sd, "x", 1, MSG_NOSIGNAL));
	say("reset: then read", read(sd, buf, sizeof(buf)));
	close(sd);
}

static void after_close(void)
{
	int sd = connected_with('c');
	char buf[10];

	await_events(sd, POLLIN | POLLRDHUP);
	printf("closed: events %#x\n", events_of(sd));
	numbers_of("closed:", sd);
	say("closed: read", read(sd, buf, sizeof(buf)));
	say("closed: read again", read(sd, buf, sizeof(buf)));
	say("closed: write", send(sd, "x", 1, MSG_NOSIGNAL));
	await_events(sd, POLLHUP);
	printf("closed, written to: events %#x\n", events_of(sd));
	say("closed: write second", send(sd, "x", 1, MSG_NOSIGNAL));
	say("closed: read third", read(sd, buf, sizeof(buf)));
	close(sd);
}

static void after_shutdown(void)
{
	int sd = connected_with('d');
	char buf[10];

	say("shutdown write", shutdown(sd, SHUT_WR));
	say("shutdown: write", send(sd, "x", 1, MSG_NOSIGNAL));
	say("shutdown: send nothing", send(sd, "x", 0, MSG_NOSIGNAL));
	say("shutdown: read", read(sd, buf, sizeof(buf)));
	say("shutdown again", shutdown(sd, SHUT_WR));
	printf("shutdown: events %#x\n", events_of(sd));
	close(sd);
	sd = connected_with('d');
	say("shutdown read", shutdown(sd, SHUT_RD));
	say("shutdown read: read", read(sd, buf, sizeof(buf)));
	printf("shutdown read: events %#x\n", events_of(sd));
	say("shutdown with nonsense", shutdown(sd, 7));
	say("connect again", connect(sd, (struct sockaddr *)&peer, sizeof(peer)));
	say("listen when connected", listen(sd, 1));
	say("accept when connected", accept(sd, NULL, NULL));
	close(sd);
	sd = fresh();
	say("fresh: shutdown", shutdown(sd, SHUT_WR));
	say("fresh: send", send(sd, "x", 1, MSG_NOSIGNAL));
	say("fresh: read", read(sd, buf, sizeof(buf)));
	close(sd);
}

static void lingering(void)
{
	static char data[100000];
	uint64_t start;
	int sd = connected_with('d');

	setsockopt(sd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	await_acknowledged(sd); /* what is not sent yet would be discarded */
	say("linger 0: close", close(sd));
	peer_saw("linger 0");
	sd = connected_with('d');
	say("close: write", write(sd, data, sizeof(data)));
	say("close", close(sd));
	peer_saw("close");
	sd = connected_with('w');
	setsockopt(sd, SOL_SOCKET, SO_LINGER, &(struct linger){1, LINGER_S}, sizeof(struct linger));
	say("long linger: write", write(sd, data, sizeof(data)));
	start = now_ms();
	say("long linger: close", close(sd));
	printf("long linger: before that is over: %d\n", now_ms() - start < LINGER_S * 1000);
	peer_saw("long linger");
	sd = connected_with('d');
	setsockopt(sd, IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int));
	say("cork: write", write(sd, data, 100));
	usleep(50000);
	say("cork: close", close(sd));
	peer_saw("cork");
}

static void flags_of_calls(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int sd = connected_with('d');
	char buf[10];

	say("MSG_DONTWAIT read", recv(sd, buf, sizeof(buf), MSG_DONTWAIT));
	say("MSG_OOB read", recv(sd, buf, sizeof(buf), MSG_OOB));
	say("read of nothing", read(sd, buf, 0));
	say("write of nothing", write(sd, buf, 0));
	say("MSG_PEEK", recv(sd, buf, sizeof(buf), MSG_DONTWAIT | MSG_PEEK));
	setsockopt(
		sd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 100000}, sizeof(struct timeval));
	say("SO_RCVTIMEO read", read(sd, buf, sizeof(buf)));
	say("sendto elsewhere",
		sendto(sd, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&peer, sizeof(peer)));
	say("fcntl", fcntl(sd, F_SETFL, O_NONBLOCK));
	printf("flags %#x\n", fcntl(sd, F_GETFL) & (O_NONBLOCK | O_ACCMODE));
	say("nonblocking read", read(sd, buf, sizeof(buf)));
	say("bind when connected", bind(sd, (struct sockaddr *)&any, sizeof(any)));
	close(sd);
}

static int ends(void)
{
	after_reset();
	after_close();
	after_shutdown();
	lingering();
	flags_of_calls();
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve((uint16_t)atoi(argv[2]));
	if (argc != 4 || inet_pton(AF_INET, argv[2], &peer.sin_addr) != 1)
		return 2;
	peer.sin_port = htons((uint16_t)atoi(argv[3]));
	if (strcmp(argv[1], "table") == 0)
		return table();
	return strcmp(argv[1], "ends") == 0 ? ends() : 2;
}
