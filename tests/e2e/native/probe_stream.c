/* Probes of what flows: reading and writing in all ways, and waiting for both. */
#include "probe.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/ioctl.h>

enum {
	BULK_BYTES = 1 << 20,
	SEED = 42,
};

static void *write_bulk(void *arg)
{
	int sd = *(int *)arg;

	send_pattern(sd, SEED, 0, BULK_BYTES);
	need_equal(mtcp_shutdown(sd, SHUT_WR), 0);
	return NULL;
}

/* One thread writes, another reads, both blocking, on the same connection. */
static void probe_two_threads(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0);
	pthread_t thread;
	uint8_t byte;

	need_equal(pthread_create(&thread, NULL, write_bulk, &sd), 0);
	recv_pattern(sd, SEED, 0, BULK_BYTES);
	need_equal(mtcp_read(sd, &byte, 1), 0);
	need_equal(mtcp_read(sd, &byte, 1), 0); /* the end stays the end */
	need_equal(pthread_join(thread, NULL), 0);
	need_equal(mtcp_close(sd), 0);
}

static void *echo_once(void *arg)
{
	uint32_t seed = *(uint32_t *)arg;

	for (int round = 0; round < 20; round++) {
		int sd = ask(MODE_ECHO, 0, 0, 0);

		send_pattern(sd, seed, 0, 3000);
		recv_pattern(sd, seed, 0, 3000);
		need_equal(mtcp_close(sd), 0);
	}
	return NULL;
}

static void probe_many_threads(void)
{
	pthread_t thread[16];
	uint32_t seed[16];

	for (uint32_t i = 0; i < 16; i++) {
		seed[i] = i;
		need_equal(pthread_create(&thread[i], NULL, echo_once, &seed[i]), 0);
	}
	for (uint32_t i = 0; i < 16; i++)
		need_equal(pthread_join(thread[i], NULL), 0);
}

static void probe_nonblocking(void)
{
	struct request r = {.mode = MODE_ECHO};
	int sd = open_socket(SOCK_NONBLOCK), error;
	char buf[8];

	if (mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr))) /* may be done already */
		need_equal(errno, EINPROGRESS);
	need(poll_one(sd, POLLOUT, PATIENCE_MS) == POLLOUT);
	error = so_error(sd);
	need_equal(error, 0);
	need_equal(mtcp_fcntl(sd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	need_errno(mtcp_read(sd, buf, sizeof(buf)), EAGAIN);
	need_equal(poll_one(sd, POLLIN, 0), 0);
	need_equal(mtcp_send(sd, &r, sizeof(r), MSG_NOSIGNAL), sizeof(r));
	need_equal(mtcp_write(sd, "abc", 3), 3);
	need_equal(poll_one(sd, POLLIN, PATIENCE_MS), POLLIN);
	need_equal(mtcp_read(sd, buf, sizeof(buf)), 3);
	need_equal(memcmp(buf, "abc", 3), 0);
	need_equal(mtcp_fcntl(sd, F_SETFL, 0), 0);
	need_equal(mtcp_recv(sd, buf, 1, MSG_DONTWAIT), -1);
	need_equal(errno, EAGAIN);
	need_equal(mtcp_close(sd), 0);
}

/* A sender that does not block stops when the peer does not read, and goes on when it does. */
static void probe_full(void)
{
	int sd = ask(MODE_SINK, SEED, 0, GATE);
	uint64_t sent = 0, seen = 0;
	uint8_t buf[4096];
	ssize_t n;

	need_equal(mtcp_fcntl(sd, F_SETFL, O_NONBLOCK), 0);
	do {
		pattern_fill(SEED, sent, buf, sizeof(buf));
		n = mtcp_send(sd, buf, sizeof(buf), MSG_NOSIGNAL);
		if (n > 0)
			sent += (uint64_t)n;
		need(sent < UINT64_C(64) << 20);
	} while (n > 0);
	need_equal(errno, EAGAIN);
	need(!(poll_one(sd, POLLOUT, 0) & POLLOUT));
	open_gate(1, 0);
	need_equal(poll_one(sd, POLLOUT, PATIENCE_MS), POLLOUT);
	need_equal(mtcp_fcntl(sd, F_SETFL, 0), 0);
	send_pattern(sd, SEED, sent, BULK_BYTES);
	need_equal(mtcp_shutdown(sd, SHUT_WR), 0);
	recv_exactly(sd, &seen, sizeof(seen));
	need_equal(seen, sent + BULK_BYTES);
	need_equal(mtcp_close(sd), 0);
}

static void *send_more(void *arg)
{
	usleep(50000);
	send_exactly(*(int *)arg, "defgh", 5);
	return NULL;
}

/* Who peeks for all of it waits, for more than there is and for no more than there will be. */
static void probe_peek_all(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0);
	struct timeval tv = {0, 50000};
	char buf[16];
	pthread_t t;

	send_exactly(sd, "abc", 3);
	need_equal(pthread_create(&t, NULL, send_more, &sd), 0);
	need_equal(mtcp_recv(sd, buf, 8, MSG_PEEK | MSG_WAITALL), 8);
	need_equal(memcmp(buf, "abcdefgh", 8), 0);
	need_equal(pthread_join(t, NULL), 0);
	need_equal(mtcp_recv(sd, buf, 9, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT), 8);
	need_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	need_equal(mtcp_recv(sd, buf, 9, MSG_PEEK | MSG_WAITALL), 8);
	tv.tv_sec = 10;
	need_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	need_equal(mtcp_shutdown(sd, SHUT_WR), 0);
	need_equal(mtcp_recv(sd, buf, 9, MSG_PEEK | MSG_WAITALL), 8);
	need_equal(mtcp_recv(sd, buf, 9, MSG_WAITALL), 8);
	need_equal(mtcp_recv(sd, buf, 1, MSG_PEEK | MSG_WAITALL), 0);
	need_equal(mtcp_close(sd), 0);
}

static void probe_peek(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0), queued = -1;
	char buf[16] = {0};

	need_equal(mtcp_ioctl(sd, FIONREAD, &queued), 0);
	need_equal(queued, 0);
	send_exactly(sd, "abcdefgh", 8);
	need_equal(mtcp_recv(sd, buf, 8, MSG_PEEK | MSG_WAITALL), 8);
	need_equal(memcmp(buf, "abcdefgh", 8), 0);
	need_equal(mtcp_ioctl(sd, FIONREAD, &queued), 0);
	need_equal(queued, 8);
	need_equal(mtcp_recv(sd, buf, 3, MSG_PEEK), 3);
	need_equal(mtcp_read(sd, buf, 3), 3);
	need_equal(mtcp_ioctl(sd, FIONREAD, &queued), 0);
	need_equal(queued, 5);
	need_equal(mtcp_recv(sd, buf, sizeof(buf), MSG_PEEK), 5);
	need_equal(memcmp(buf, "defgh", 5), 0);
	need_equal(mtcp_recv(sd, NULL, 2, MSG_TRUNC), 2); /* thrown away */
	need_equal(mtcp_recv(sd, buf, sizeof(buf), 0), 3);
	need_equal(memcmp(buf, "fgh", 3), 0);
	need_equal(mtcp_close(sd), 0);
}

static void probe_vectors(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0);
	char a[2], b[3], c[8];
	struct iovec out[] = {{"ab", 2}, {"", 0}, {"cdefg", 5}};
	struct iovec in[] = {{a, sizeof(a)}, {b, sizeof(b)}, {c, sizeof(c)}};
	struct msghdr m = {.msg_iov = out, .msg_iovlen = 3};

	need_equal(mtcp_writev(sd, out, 3), 7);
	need_equal(mtcp_recv(sd, c, 7, MSG_PEEK | MSG_WAITALL), 7);
	need_equal(mtcp_readv(sd, in, 3), 7);
	need_equal(memcmp(a, "ab", 2) || memcmp(b, "cde", 3) || memcmp(c, "fg", 2), 0);
	need_equal(mtcp_sendmsg(sd, &m, MSG_NOSIGNAL), 7);
	m.msg_iov = in;
	in[2].iov_len = 2;
	memset(b, 0, sizeof(b));
	need_equal(mtcp_recvmsg(sd, &m, MSG_WAITALL), 7);
	need_equal(memcmp(a, "ab", 2) || memcmp(b, "cde", 3) || memcmp(c, "fg", 2), 0);
	need_equal(mtcp_close(sd), 0);
}

static void probe_timeouts(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0);
	struct timeval tv = {.tv_usec = 100000};
	uint64_t start;
	char byte;

	need_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	start = now_ms();
	need_errno(mtcp_read(sd, &byte, 1), EAGAIN);
	need(now_ms() - start >= 95);
	start = now_ms();
	need_equal(poll_one(sd, POLLIN, 80), 0);
	need(now_ms() - start >= 75);
	need_equal(mtcp_close(sd), 0);
}

static struct epoll_event wait_one(int epd, int timeout_ms)
{
	struct epoll_event ev = {0};
	int n = mtcp_epoll_wait(epd, &ev, 1, timeout_ms);

	need(n >= 0);
	return ev;
}

static void set_events(int epd, int op, int sd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = sd};

	need_equal(mtcp_epoll_ctl(epd, op, sd, &ev), 0);
}

static void probe_epoll(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0), epd = mtcp_epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	char buf[8];

	need(epd >= 0);
	set_events(epd, EPOLL_CTL_ADD, sd, EPOLLIN);
	need_errno(mtcp_epoll_ctl(epd, EPOLL_CTL_ADD, sd, &ev), EEXIST);
	need_equal(wait_one(epd, 0).events, 0);
	send_exactly(sd, "abcd", 4);
	ev = wait_one(epd, PATIENCE_MS);
	need_equal(ev.events, EPOLLIN);
	need_equal(ev.data.fd, sd);
	need_equal(mtcp_recv(sd, buf, 4, MSG_PEEK | MSG_WAITALL), 4);
	need_equal(wait_one(epd, 0).events, EPOLLIN); /* level: again */
	set_events(epd, EPOLL_CTL_MOD, sd, EPOLLIN | EPOLLET);
	need_equal(wait_one(epd, 0).events, EPOLLIN);
	need_equal(wait_one(epd, 0).events, 0); /* edge: once */
	set_events(epd, EPOLL_CTL_MOD, sd, EPOLLIN | EPOLLOUT | EPOLLONESHOT);
	need_equal(wait_one(epd, 0).events, EPOLLIN | EPOLLOUT);
	need_equal(wait_one(epd, 0).events, 0); /* one shot */
	set_events(epd, EPOLL_CTL_MOD, sd, EPOLLRDHUP);
	need_equal(mtcp_shutdown(sd, SHUT_WR), 0);
	need(wait_one(epd, PATIENCE_MS).events & EPOLLRDHUP);
	need_equal(mtcp_read(sd, buf, sizeof(buf)), 4);
	need_equal(mtcp_epoll_ctl(epd, EPOLL_CTL_DEL, sd, NULL), 0);
	need_equal(wait_one(epd, 0).events, 0);
	need_equal(mtcp_close(sd), 0);
	need_equal(mtcp_close(epd), 0);
}

static void probe_tcp_info(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0);
	struct tcp_info i;
	socklen_t len = sizeof(i);

	for (int n = 0; n < 16; n++) {
		send_pattern(sd, SEED, (uint64_t)n * 16384, 16384);
		recv_pattern(sd, SEED, (uint64_t)n * 16384, 16384);
	}
	memset(&i, 0xff, sizeof(i));
	need_equal(mtcp_getsockopt(sd, IPPROTO_TCP, TCP_INFO, &i, &len), 0);
	need(len >= offsetof(struct tcp_info, tcpi_total_retrans) + 4 && len <= sizeof(i));
	need_equal(i.tcpi_state, TCP_ESTABLISHED);
	need(i.tcpi_rtt > 0 && i.tcpi_rtt < 5000000);
	need(i.tcpi_rttvar > 0 && i.tcpi_rttvar < 5000000);
	need(i.tcpi_rto >= 1000 && i.tcpi_rto < 60000000);
	need(i.tcpi_snd_mss >= 536 && i.tcpi_snd_mss <= 9000);
	need(i.tcpi_snd_cwnd >= 1 && i.tcpi_snd_cwnd < 100000);
	need(i.tcpi_unacked < 100);
	need_equal(i.tcpi_options & TCPI_OPT_TIMESTAMPS, TCPI_OPT_TIMESTAMPS);
	need_equal(i.tcpi_options & TCPI_OPT_WSCALE, TCPI_OPT_WSCALE);
	need_equal(mtcp_close(sd), 0);
}

const struct probe probe_streams[] = {
	{"two_threads", probe_two_threads},
	{"many_threads", probe_many_threads},
	{"nonblocking", probe_nonblocking},
	{"full", probe_full},
	{"peek", probe_peek},
	{"peek_all", probe_peek_all},
	{"vectors", probe_vectors},
	{"timeouts", probe_timeouts},
	{"epoll", probe_epoll},
	{"tcp_info", probe_tcp_info},
	{0},
};
