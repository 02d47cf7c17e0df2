/* Probes of how connections end, and of those that never begin. */
#include "probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	SEED = 7,
	HALF_BYTES = 100000,
	LINGER_S = 1,
	LONG_LINGER_S = 100, /* longer than a busy machine takes */
	FULL_MS = 500,	     /* nothing goes out for so long: all buffers are full */
};

/* What the peer saw of the last RECORD connection, once `count` are over. */
static struct record recall(uint64_t count)
{
	struct record r = {0};
	uint64_t end = now_ms() + PATIENCE_MS;

	while (now_ms() < end) {
		int sd = ask(MODE_RECALL, 0, 0, 0);

		recv_exactly(sd, &r, sizeof(r));
		need_equal(mtcp_close(sd), 0);
		if (r.count >= count)
			return r;
		usleep(20000);
	}
	need(!"the peer saw the end");
	return r;
}

static void probe_half_close(void)
{
	int sd = ask(MODE_SINK, SEED, 0, 0);
	uint64_t seen = 0;
	char byte;

	send_pattern(sd, SEED, 0, HALF_BYTES);
	need_equal(mtcp_shutdown(sd, SHUT_WR), 0);
	need_errno(mtcp_send(sd, "x", 1, MSG_NOSIGNAL), EPIPE);
	recv_exactly(sd, &seen, sizeof(seen));
	need_equal(seen, HALF_BYTES);
	need_equal(mtcp_read(sd, &byte, 1), 0);
	need_equal(mtcp_close(sd), 0);
}

/* Until the peer has acknowledged all that was sent. */
static void wait_acknowledged(int sd)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	int unacknowledged = 1;

	while (unacknowledged && now_ms() < end) {
		need_equal(mtcp_ioctl(sd, TIOCOUTQ, &unacknowledged), 0);
		usleep(1000);
	}
	need_equal(unacknowledged, 0);
}

/* SO_LINGER with 0 s: the peer sees a reset. */
static void probe_linger_zero(void)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0}, got = {0};
	uint64_t before = recall(0).count;
	int sd = ask(MODE_RECORD, SEED, 0, 0);
	socklen_t len = sizeof(got);
	struct record r;

	send_pattern(sd, SEED, 0, 1000);
	wait_acknowledged(sd);
	recall(0); /* is accepted after ours: what is reset before that, mtcpd tells nobody of */
	need_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	need_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_LINGER, &got, &len), 0);
	need_equal(got.l_onoff, 1);
	need_equal(mtcp_close(sd), 0);
	r = recall(before + 1);
	need_equal(r.error, ECONNRESET);
	need_equal(r.bytes, 1000);
}

/* Sends to a peer that waits at the gate, until neither its window nor our buffer takes
 * more; how much that is. */
static uint64_t fill(int sd)
{
	uint64_t sent = 0, idle_since = now_ms();
	uint8_t buf[4096];

	need_equal(mtcp_fcntl(sd, F_SETFL, O_NONBLOCK), 0);
	while (now_ms() - idle_since < FULL_MS) { /* buffers may still grow */
		ssize_t n;

		pattern_fill(SEED, sent, buf, sizeof(buf));
		n = mtcp_send(sd, buf, sizeof(buf), MSG_NOSIGNAL);
		if (n < 0) {
			need_equal(errno, EAGAIN);
			usleep(PATIENCE_MS);
			continue;
		}
		sent += (uint64_t)n;
		idle_since = now_ms();
		need(sent < UINT64_C(64) << 20);
	}
	need_equal(mtcp_fcntl(sd, F_SETFL, 0), 0);
	return sent;
}

static void set_linger(int sd, int seconds)
{
	struct linger linger = {.l_onoff = 1, .l_linger = seconds};

	need_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
}

/* SO_LINGER with a time: close returns when all is acknowledged, which is when the peer has begun
 * to read; how long that took. */
static uint64_t close_with_linger(int sd, int seconds)
{
	uint64_t start = now_ms();

	set_linger(sd, seconds);
	need_equal(mtcp_close(sd), 0);
	need_errno(mtcp_close(sd), EBADF);
	return now_ms() - start;
}

static void probe_linger_acknowledged(void)
{
	uint64_t before = recall(0).count, start, sent;
	int sd = ask(MODE_RECORD, SEED, 0, GATE);
	struct record r;

	sent = fill(sd);
	start = now_ms();
	open_gate(1, 500);
	close_with_linger(sd, LONG_LINGER_S);
	need(now_ms() - start >= 480); /* not before the peer read */
	need(now_ms() - start < LONG_LINGER_S * 1000);
	r = recall(before + 1);
	need_equal(r.bytes, sent);
	need_equal(r.error, 0);
	need_equal(r.differs, 0);
}

/* The window stays shut until close has returned: that returns 0 when the time is over, and what is
 * unsent is still sent, as on Linux. */
static void probe_linger_timeout(void)
{
	uint64_t before = recall(0).count, sent;
	int sd = ask(MODE_RECORD, SEED, 0, GATE);
	struct record r;

	sent = fill(sd);
	need(close_with_linger(sd, LINGER_S) >= LINGER_S * 1000 - 20);
	open_gate(1, 0);
	r = recall(before + 1);
	need_equal(r.bytes, sent);
	need_equal(r.error, 0);
	need_equal(r.differs, 0);
}

/* Linux waits for a socket that does not block, too. */
static void probe_linger_nonblocking(void)
{
	uint64_t before = recall(0).count, sent;
	int sd = ask(MODE_RECORD, SEED, 0, GATE);

	sent = fill(sd);
	need_equal(mtcp_fcntl(sd, F_SETFL, O_NONBLOCK), 0);
	need(close_with_linger(sd, LINGER_S) >= LINGER_S * 1000 - 20);
	open_gate(1, 0);
	need_equal(recall(before + 1).bytes, sent);
}

/* A peer that does not close: acknowledged is enough. Its end comes when all was sent. */
static void probe_linger_half_open(void)
{
	int sd = ask(MODE_HOLD, SEED, 0, GATE);

	send_pattern(sd, SEED, 0, 1000);
	need(close_with_linger(sd, LONG_LINGER_S) < LONG_LINGER_S * 1000);
	open_gate(1, 0);
}

/* Nothing to wait for. */
static void probe_linger_idle(void)
{
	uint64_t before = recall(0).count;
	int sd = ask(MODE_RECORD, SEED, 0, 0);

	send_pattern(sd, SEED, 0, 1000);
	need(close_with_linger(sd, LONG_LINGER_S) < LONG_LINGER_S * 1000);
	need_equal(recall(before + 1).bytes, 1000);
}

/* Closed in order: the peer sees all bytes and the end. */
static void probe_close_in_order(void)
{
	uint64_t before = recall(0).count;
	int sd = ask(MODE_RECORD, SEED, 0, 100);
	struct record r;

	send_pattern(sd, SEED, 0, HALF_BYTES);
	need_equal(mtcp_close(sd), 0);
	need_errno(mtcp_close(sd), EBADF);
	r = recall(before + 1);
	need_equal(r.error, 0);
	need_equal(r.differs, 0);
	need_equal(r.bytes, HALF_BYTES);
}

/* Closed with unread data: a reset, as RFC 1122 4.2.2.13 and Linux have it. */
static void probe_close_unread(void)
{
	int sd = ask(MODE_SOURCE, SEED, 1000, 0);

	need(poll_one(sd, POLLIN, PATIENCE_MS) & POLLIN);
	need_equal(mtcp_close(sd), 0);
}

static void probe_reset_by_peer(void)
{
	int sd = ask(MODE_RESET, 0, 0, 0);
	char byte;
	short seen = poll_one(sd, POLLIN | POLLOUT, PATIENCE_MS);

	while (!(seen & POLLHUP)) /* POLLOUT alone, before the reset is here */
		seen = poll_one(sd, POLLIN, PATIENCE_MS);
	need_equal(seen & (POLLERR | POLLHUP | POLLIN), POLLERR | POLLHUP | POLLIN);
	need_errno(mtcp_read(sd, &byte, 1), ECONNRESET);
	need_equal(mtcp_read(sd, &byte, 1), 0); /* the error is told once */
	need_errno(mtcp_send(sd, "x", 1, MSG_NOSIGNAL), EPIPE);
	need_equal(mtcp_close(sd), 0);
}

static void probe_refused(void)
{
	struct sockaddr_in nobody = peer_addr;
	int sd = open_socket(0);
	int error;
	short seen;

	nobody.sin_port = htons(1);
	need_errno(mtcp_connect(sd, sa_of(&nobody), sizeof(nobody)), ECONNREFUSED);
	need_equal(mtcp_close(sd), 0);
	sd = open_socket(SOCK_NONBLOCK);
	need_equal(mtcp_connect(sd, sa_of(&nobody), sizeof(nobody)), -1);
	if (errno != ECONNREFUSED) { /* known at once, it is told at once */
		need_equal(errno, EINPROGRESS);
		seen = poll_one(sd, POLLOUT, PATIENCE_MS);
		need_equal(seen & (POLLERR | POLLHUP | POLLOUT), POLLERR | POLLHUP | POLLOUT);
		error = so_error(sd);
		need_equal(error, ECONNREFUSED);
	}
	need_equal(so_error(sd), 0);
	need_equal(mtcp_close(sd), 0);
}

/* Nobody has that address on the link: the neighbour's address is not found. */
static void probe_unreachable(void)
{
	struct sockaddr_in nobody = peer_addr;
	int sd = open_socket(0);

	nobody.sin_addr.s_addr = htonl((ntohl(nobody.sin_addr.s_addr) & 0xffffff00) | 250);
	need_errno(mtcp_connect(sd, sa_of(&nobody), sizeof(nobody)), EHOSTUNREACH);
	need_equal(mtcp_close(sd), 0);
}

/* A host that is there but does not answer: the test has an address for that. */
static void probe_silent(void)
{
	int sd = open_socket(0);

	need_errno(mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr)), ETIMEDOUT);
	need_equal(mtcp_close(sd), 0);
}

/* A connect is given up by closing: nothing may be left of it. */
static void probe_give_up(void)
{
	int sd = open_socket(SOCK_NONBLOCK);

	if (mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr)))
		need_equal(errno, EINPROGRESS);
	need_equal(mtcp_close(sd), 0);
}

/* Dies by SIGKILL with bytes that the peer has not taken: they still arrive. Number 0 is how
 * many; the gate is opened by "open", the peer asked by "recorded". */
static void probe_die(void)
{
	int sd = ask(MODE_RECORD, SEED, 0, GATE);

	send_pattern(sd, SEED, 0, arg_number[0]);
	kill(getpid(), SIGKILL);
}

static void probe_open(void)
{
	open_gate(1, 0);
}

/* Prints how many RECORD connections are over. */
static void probe_ended(void)
{
	printf("%llu\n", (unsigned long long)recall(0).count);
}

/* Number 0: bytes that the last RECORD connection must have got, in order, and its end. Number
 * 1: how many must be over. */
static void probe_recorded(void)
{
	struct record r = recall(arg_number[1]);

	need_equal(r.bytes, arg_number[0]);
	need_equal(r.differs, 0);
	need_equal(r.error, 0);
}

const struct probe probe_ends[] = {
	{"half_close", probe_half_close},
	{"linger_zero", probe_linger_zero},
	{"linger_acknowledged", probe_linger_acknowledged},
	{"linger_timeout", probe_linger_timeout},
	{"linger_nonblocking", probe_linger_nonblocking},
	{"linger_half_open", probe_linger_half_open},
	{"linger_idle", probe_linger_idle},
	{"close_in_order", probe_close_in_order},
	{"close_unread", probe_close_unread},
	{"reset_by_peer", probe_reset_by_peer},
	{"refused", probe_refused},
	{"unreachable", probe_unreachable},
	{"silent", probe_silent},
	{"give_up", probe_give_up},
	{"die", probe_die},
	{"open", probe_open},
	{"ended", probe_ended},
	{"recorded", probe_recorded},
	{0},
};
