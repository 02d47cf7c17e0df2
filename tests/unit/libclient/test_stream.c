/* One connection: connect, bytes both ways, ends, errors. */
#include "fake_daemon.h"

#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

static void test_echo_random_sizes_given_stream_expected_same_bytes(void **state)
{
	enum { TOTAL = 3 << 20 };
	int sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
	uint8_t buf[70000];
	uint64_t sent = 0, got = 0;
	unsigned int seed = 7;

	(void)state;
	fake->budget = 20000;
	while (got < TOTAL) {
		struct pollfd p = {.fd = sd, .events = POLLIN | (sent < TOTAL ? POLLOUT : 0)};
		size_t n = 1 + (size_t)rand_r(&seed) % sizeof(buf);
		ssize_t rc;

		assert_int_equal(mtcp_poll(&p, 1, 10000), 1);
		if (n > TOTAL - sent)
			n = TOTAL - sent;
		for (size_t i = 0; i < n; i++)
			buf[i] = fake_byte(sent + i);
		rc = n ? mtcp_send(sd, buf, n, MSG_NOSIGNAL) : 0;
		assert_true(rc >= 0 || errno == EAGAIN);
		sent += rc > 0 ? (uint64_t)rc : 0;
		rc = mtcp_recv(sd, buf, 1 + (size_t)rand_r(&seed) % sizeof(buf), 0);
		assert_true(rc > 0 || (rc < 0 && errno == EAGAIN));
		for (ssize_t i = 0; i < rc; i++)
			assert_int_equal(buf[i], fake_byte(got + (uint64_t)i));
		got += rc > 0 ? (uint64_t)rc : 0;
	}
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

static void *blocking_writer(void *arg)
{
	int sd = *(int *)arg;
	uint8_t buf[8192];

	for (uint64_t pos = 0; pos < 2 << 20; pos += sizeof(buf)) {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = fake_byte(pos + i);
		if (mtcp_write(sd, buf, sizeof(buf)) != (ssize_t)sizeof(buf))
			return arg;
	}
	return mtcp_shutdown(sd, SHUT_WR) ? arg : NULL;
}

static void test_blocking_halves_given_two_threads_expected_all_then_eof(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	uint8_t buf[5000];
	uint64_t got = 0;
	pthread_t t;
	void *failed;
	ssize_t n;

	(void)state;
	fake->budget = 30000;
	pthread_create(&t, NULL, blocking_writer, &sd);
	while ((n = mtcp_read(sd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], fake_byte(got + (uint64_t)i));
		got += (uint64_t)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(got, 2 << 20);
	pthread_join(t, &failed);
	assert_null(failed);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

static void test_idle_connection_given_all_read_expected_no_chunk_and_no_block(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0), left = 1;
	char buf[10];

	(void)state;
	assert_int_equal(mtcp_send(sd, "0123456789", 10, 0), 10);
	assert_int_equal(mtcp_recv(sd, buf, 10, MSG_WAITALL), 10);
	assert_memory_equal(buf, "0123456789", 10);
	for (int i = 0; i < 60000 && fake->chunks_used; i++)
		usleep(1000);
	assert_int_equal(fake->chunks_used, 0);
	assert_int_equal(mtcp_ioctl(sd, TIOCOUTQ, &left), 0);
	assert_int_equal(left, 0);
	mtcp_close(sd);
}

static void test_flags_given_peek_waitall_trunc_expected_linux_results(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0), n = 0;
	struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cdef", 4}};
	char a[3], b[9];
	struct iovec in[2] = {{a, 3}, {b, 9}};

	(void)state;
	assert_int_equal(mtcp_writev(sd, out, 3), 6);
	assert_int_equal(mtcp_send(sd, "ghij", 4, MSG_MORE), 4);
	assert_int_equal(mtcp_recv(sd, b, 1, MSG_PEEK), 1);
	assert_int_equal(b[0], 'a');
	while (n < 10)
		assert_int_equal(mtcp_ioctl(sd, FIONREAD, &n), 0);
	assert_int_equal(mtcp_recv(sd, NULL, 2, MSG_TRUNC), 2);
	assert_int_equal(mtcp_readv(sd, in, 2), 8);
	assert_memory_equal(a, "cde", 3);
	assert_memory_equal(b, "fghij", 5);
	assert_errno(mtcp_recv(sd, b, 1, MSG_DONTWAIT), EAGAIN);
	assert_errno(mtcp_recv(sd, b, 1, MSG_OOB), EINVAL);
	assert_errno(mtcp_send(sd, b, 1, MSG_OOB), EOPNOTSUPP);
	mtcp_close(sd);
}

static void test_messages_given_sendmsg_recvmsg_expected_bytes_and_empty_name(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	char buf[8], name[16], control[64];
	struct iovec out = {"message", 7}, in = {buf, 8};
	struct msghdr m = {.msg_iov = &out, .msg_iovlen = 1};

	(void)state;
	assert_int_equal(mtcp_sendmsg(sd, &m, 0), 7);
	m = (struct msghdr){.msg_iov = &in,
		.msg_iovlen = 1,
		.msg_name = name,
		.msg_namelen = 16,
		.msg_control = control,
		.msg_controllen = 64};
	assert_int_equal(mtcp_recvmsg(sd, &m, 0), 7);
	assert_memory_equal(buf, "message", 7);
	assert_int_equal(m.msg_namelen, 0);
	assert_int_equal(m.msg_controllen, 0);
	mtcp_close(sd);
}

static void test_connect_given_refused_expected_error_then_fresh_socket(void **state)
{
	struct sockaddr_in sa = fake_addr(FAKE_REFUSED);
	int sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), ECONNREFUSED);
	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), ECONNREFUSED);
	sa = fake_addr(FAKE_ECHO);
	assert_int_equal(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), EISCONN);
	assert_int_equal(mtcp_send(sd, "x", 1, 0), 1);
	mtcp_close(sd);
	assert_true(fake_is_clean(fake));
}

static void test_connect_given_nonblocking_expected_einprogress_then_writable(void **state)
{
	struct sockaddr_in sa = fake_addr(FAKE_SILENT);
	int sd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), err = -1;
	socklen_t len = sizeof(err);
	struct pollfd p = {.fd = sd, .events = POLLOUT};
	char c;

	(void)state;
	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), EINPROGRESS);
	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), EALREADY);
	assert_errno(mtcp_recv(sd, &c, 1, 0), EAGAIN);
	assert_errno(mtcp_send(sd, &c, 1, 0), EAGAIN);
	assert_int_equal(mtcp_poll(&p, 1, 20), 0);
	mtcp_close(sd);

	sd = p.fd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	sa = fake_addr(FAKE_REFUSED);
	if (mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno == EINPROGRESS) {
		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		assert_true(p.revents & POLLERR && p.revents & POLLOUT && p.revents & POLLHUP);
		assert_int_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
		assert_int_equal(err, ECONNREFUSED);
		assert_int_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
		assert_int_equal(err, 0);
	}
	mtcp_close(sd);

	sd = p.fd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	sa = fake_addr(FAKE_ECHO);
	if (mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		assert_int_equal(errno, EINPROGRESS);
		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		assert_int_equal(p.revents, POLLOUT);
		assert_int_equal(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	}
	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), EISCONN);
	mtcp_close(sd);
	assert_true(fake_is_clean(fake));
}

static ssize_t send_fast(int sd, uint16_t port, const char *text)
{
	struct sockaddr_in sa = fake_addr(port);
	char data[32];
	struct iovec iov = {data, strlen(text)};
	struct msghdr m = {
		.msg_name = &sa, .msg_namelen = sizeof(sa), .msg_iov = &iov, .msg_iovlen = 1};

	memcpy(data, text, iov.iov_len);
	return mtcp_sendmsg(sd, &m, MSG_FASTOPEN);
}

/* Nothing waits for the handshake, or it could not carry data; a peer that refuses is told of
 * later. */
static void test_fastopen_given_either_way_expected_connected_at_once(void **state)
{
	struct sockaddr_in sa = fake_addr(FAKE_SILENT);
	struct pollfd p = {.events = POLLOUT};
	int one = 1, two = 2, sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	char got[8];

	(void)state;
	assert_errno(
		mtcp_setsockopt(sd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &two, sizeof(two)), EINVAL);
	assert_int_equal(
		mtcp_setsockopt(sd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), 0);
	assert_int_equal(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_true(fake->connect_options & PROTO_OPTION_FASTOPEN);
	p.fd = sd;
	assert_int_equal(mtcp_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLOUT);
	assert_int_equal(mtcp_send(sd, "hello", 5, 0), 5);
	assert_errno(send_fast(sd, FAKE_SILENT, "more"), EISCONN);
	mtcp_close(sd);

	sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(send_fast(sd, FAKE_ECHO, "hello"), 5);
	assert_true(fake->connect_options & PROTO_OPTION_FASTOPEN);
	assert_int_equal(mtcp_recv(sd, got, sizeof(got), 0), 5);
	assert_memory_equal(got, "hello", 5);
	mtcp_close(sd);

	sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	assert_errno(send_fast(sd, FAKE_NO_ROUTE, "hello"), ENETUNREACH);
	assert_errno(mtcp_send(sd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL), EOPNOTSUPP);
	mtcp_close(sd);
	assert_true(fake_is_clean(fake));
}

/* A socket whose connect the daemon does not answer before `pause` is taken back. */
static int connecting(uint16_t port)
{
	struct sockaddr_in sa = fake_addr(port);
	int sd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), EINPROGRESS);
	return sd;
}

static void test_connect_given_nonblocking_and_no_answer_expected_no_wait(void **state)
{
	struct pollfd p = {.events = POLLOUT};
	int sd[100];

	(void)state;
	fake_pause(fake);
	for (int i = 0; i < 100; i++)
		sd[i] = connecting(FAKE_ECHO);
	p.fd = sd[99];
	assert_int_equal(mtcp_poll(&p, 1, 0), 0);
	fake->pause = false;
	for (int i = 0; i < 100; i++) {
		p.fd = sd[i];
		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		assert_int_equal(p.revents, POLLOUT);
		assert_int_equal(mtcp_send(sd[i], "x", 1, 0), 1);
		mtcp_close(sd[i]);
	}
	assert_true(fake_is_clean(fake));
}

static void test_nodelay_given_no_answer_to_connect_expected_no_wait_and_told(void **state)
{
	struct pollfd p = {.events = POLLOUT};
	int on = 1;
	char c;

	(void)state;
	fake_pause(fake);
	p.fd = connecting(FAKE_ECHO);
	assert_int_equal(mtcp_setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	assert_int_equal(fake->operations[PROTO_OP_SETOPT], 0);
	fake->pause = false;
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	assert_int_equal(mtcp_send(p.fd, "x", 1, 0), 1);
	p.events = POLLIN;
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	assert_int_equal(mtcp_recv(p.fd, &c, 1, 0), 1); /* so what was told before is known, too */
	assert_int_equal(fake->operations[PROTO_OP_SETOPT], 1);
	mtcp_close(p.fd);
}

static void test_connect_given_no_answer_and_close_expected_nothing_left(void **state)
{
	int sd[100], again[100];

	(void)state;
	fake_pause(fake);
	for (int i = 0; i < 100; i++)
		sd[i] = connecting(i % 2 ? FAKE_ECHO : FAKE_NO_ROUTE);
	for (int i = 0; i < 100; i++)
		assert_int_equal(mtcp_close(sd[i]), 0);
	fake->pause = false;
	mtcpi_poll_bits(0);
	for (int i = 0; i < 60000 && fake->operations[PROTO_OP_CLOSE] < 50; i++) {
		usleep(1000);
		mtcpi_poll_bits(0);
	}
	assert_int_equal(fake->operations[PROTO_OP_CLOSE], 50);
	assert_true(fake_is_clean(fake));
	mtcpi_poll_bits(0); /* GONE: their descriptors can be had again */
	for (int i = 0; i < 100; i++)
		again[i] = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	for (int i = 0; i < 100; i++) {
		assert_in_range(again[i], 0, 199);
		mtcp_close(again[i]);
	}
}

static void *unpause_later(void *arg)
{
	usleep(20000);
	((struct fake *)arg)->pause = false;
	return NULL;
}

static void test_getsockname_given_no_answer_expected_wait_and_name(void **state)
{
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	pthread_t t;
	int sd;

	(void)state;
	fake_pause(fake);
	sd = connecting(FAKE_ECHO);
	pthread_create(&t, NULL, unpause_later, fake);
	assert_int_equal(mtcp_getsockname(sd, (struct sockaddr *)&name, &len), 0);
	assert_in_range(ntohs(name.sin_port), 30000, 50000);
	assert_int_equal(ntohl(name.sin_addr.s_addr), 0x0a000001);
	pthread_join(t, NULL);
	mtcp_close(sd);
	assert_true(fake_is_clean(fake));
}

static void test_connect_given_nonblocking_and_no_route_expected_error_then_fresh_socket(
	void **state)
{
	struct sockaddr_in sa = fake_addr(FAKE_ECHO);
	socklen_t len = sizeof(int);
	struct pollfd p = {.events = POLLOUT};
	int err = 0;

	(void)state;
	fake_pause(fake);
	p.fd = connecting(FAKE_NO_ROUTE);
	fake->pause = false;
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	assert_true(p.revents & POLLERR && p.revents & POLLOUT && p.revents & POLLHUP);
	assert_int_equal(mtcp_getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	assert_int_equal(err, ENETUNREACH);
	assert_errno(mtcp_connect(p.fd, (struct sockaddr *)&sa, sizeof(sa)), ECONNABORTED);
	assert_int_equal(mtcp_fcntl(p.fd, F_SETFL, 0), 0);
	assert_int_equal(mtcp_connect(p.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	mtcp_close(p.fd);
	assert_true(fake_is_clean(fake));
}

/* -- a signal just before the sleep ----------------------------------------------------------- */

static atomic_bool signal_first; /* the next ppoll() is preceded by one */
static atomic_uint handled;

static void on_counted(int sig)
{
	(void)sig;
	handled++;
}

/* What the library calls, in place of the C library's: what comes between its last look and its
 * sleep. */
int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec left = timeout ? *timeout : (struct timespec){0};

	if (gettid() == getpid() && atomic_exchange(&signal_first, false))
		raise(SIGUSR1);
	return (int)syscall(SYS_ppoll, fds, n, timeout ? &left : NULL, mask, _NSIG / 8);
}

/* Who peeks and is not content asks again, without a wait between. */
static void test_peek_given_unread_bytes_expected_those_that_came_since(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	char buf[8];
	ssize_t n = 0;

	(void)state;
	assert_int_equal(mtcp_send(sd, "abc", 3, 0), 3);
	assert_int_equal(mtcp_recv(sd, buf, 8, MSG_PEEK), 3);
	assert_int_equal(mtcp_send(sd, "def", 3, 0), 3);
	for (int i = 0; i < 60000 && n < 6; i++) {
		usleep(1000);
		n = mtcp_recv(sd, buf, 8, MSG_PEEK);
	}
	assert_int_equal(n, 6);
	assert_memory_equal(buf, "abcdef", 6);
	mtcp_close(sd);
	assert_true(fake_is_clean(fake));
}

static void *send_later(void *arg)
{
	usleep(20000);
	mtcp_send(*(int *)arg, "defgh", 5, 0);
	return NULL;
}

static void test_peek_given_waitall_expected_all_or_what_ended_it(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	struct timeval tv = {0, 20000};
	char buf[16];
	pthread_t t;

	(void)state;
	assert_int_equal(mtcp_send(sd, "abc", 3, 0), 3);
	assert_int_equal(pthread_create(&t, NULL, send_later, &sd), 0);
	assert_int_equal(mtcp_recv(sd, buf, 8, MSG_PEEK | MSG_WAITALL), 8);
	assert_memory_equal(buf, "abcdefgh", 8);
	pthread_join(t, NULL);
	assert_int_equal(mtcp_recv(sd, buf, 9, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT), 8);
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(mtcp_recv(sd, buf, 9, MSG_PEEK | MSG_WAITALL), 8);
	signal_first = true;
	tv = (struct timeval){10, 0};
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	signal(SIGUSR1, on_counted);
	assert_int_equal(mtcp_recv(sd, buf, 9, MSG_PEEK | MSG_WAITALL), 8);
	assert_int_equal(mtcp_shutdown(sd, SHUT_WR), 0); /* and the fake's end follows */
	assert_int_equal(mtcp_recv(sd, buf, 9, MSG_PEEK | MSG_WAITALL), 8);
	assert_int_equal(mtcp_recv(sd, buf, 8, MSG_WAITALL), 8);
	assert_int_equal(mtcp_recv(sd, buf, 1, MSG_PEEK | MSG_WAITALL), 0);
	mtcp_close(sd);
}

static void test_timeouts_given_rcvtimeo_sndtimeo_expected_eagain_in_time(void **state)
{
	struct timeval tv = {0, 300000};
	int sd = fake_connected(FAKE_HOLD, 0);
	struct sockaddr_in sa = fake_addr(FAKE_SILENT);
	static char big[1 << 20];
	char c;

	(void)state;
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	assert_errno(mtcp_recv(sd, &c, 1, 0), EAGAIN);
	assert_int_equal(mtcp_send(sd, big, sizeof(big), 0), 256 << 10);
	assert_errno(mtcp_send(sd, big, 1, 0), EAGAIN);
	mtcp_close(sd);
	sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	assert_errno(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), EINPROGRESS);
	mtcp_close(sd);
}

static volatile sig_atomic_t signals;
static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static void test_write_given_closed_for_writing_expected_epipe_and_sigpipe(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	int fresh = mtcp_socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	signals = 0;
	signal(SIGPIPE, on_signal);
	assert_int_equal(mtcp_shutdown(sd, SHUT_WR), 0);
	assert_errno(mtcp_send(sd, "x", 1, MSG_NOSIGNAL), EPIPE);
	assert_int_equal(signals, 0);
	assert_errno(mtcp_write(sd, "x", 1), EPIPE);
	assert_int_equal(signals, 1);
	assert_errno(mtcp_send(fresh, "x", 1, MSG_NOSIGNAL), EPIPE);
	assert_errno(mtcp_recv(fresh, &sd, 1, 0), ENOTCONN);
	assert_errno(mtcp_shutdown(fresh, SHUT_WR), ENOTCONN);
	signal(SIGPIPE, SIG_DFL);
	mtcp_close(sd);
	mtcp_close(fresh);
}

static void test_read_given_reset_expected_data_then_error_then_eof(void **state)
{
	int l = fake_listening(8080, 0), c = fake_connected(8080, 0), s;
	struct linger linger = {1, 0};
	struct pollfd p = {.fd = c, .events = POLLRDHUP};
	char buf[8];

	(void)state;
	s = mtcp_accept(l, NULL, NULL);
	assert_true(s >= 0);
	assert_int_equal(mtcp_send(s, "bye", 3, 0), 3);
	assert_int_equal(mtcp_recv(c, buf, 1, MSG_PEEK), 1);
	assert_int_equal(mtcp_setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	assert_int_equal(mtcp_close(s), 0);
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	assert_true(p.revents & POLLERR && p.revents & POLLHUP && p.revents & POLLRDHUP);
	assert_int_equal(mtcp_recv(c, buf, 8, 0), 3);
	assert_errno(mtcp_recv(c, buf, 8, 0), ECONNRESET);
	assert_int_equal(mtcp_recv(c, buf, 8, 0), 0);
	assert_errno(mtcp_send(c, buf, 1, MSG_NOSIGNAL), EPIPE);
	mtcp_close(c);
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

static void test_linger_given_unsent_bytes_expected_close_waits(void **state)
{
	int sd = fake_connected(FAKE_HOLD, 0);
	struct linger linger = {1, 60};
	struct timespec a, b;

	(void)state;
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	assert_int_equal(mtcp_send(sd, "abc", 3, 0), 3);
	/* The fake ends a held connection only when released; a peerless one goes at once. */
	fake->release = true;
	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(mtcp_close(sd), 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_true(b.tv_sec - a.tv_sec < 60);
	assert_errno(mtcp_close(sd), EBADF);
	assert_true(fake_is_clean(fake));
}

static void test_signal_given_blocked_read_expected_eintr(void **state)
{
	/* again and again: the first may come before the read has begun */
	const struct itimerval often = {{0, 100000}, {0, 100000}}, never = {0};
	struct sigaction sa = {.sa_handler = on_signal};
	int sd = fake_connected(FAKE_ECHO, 0);
	char c;

	(void)state;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_errno(mtcp_recv(sd, &c, 1, 0), EINTR);
	setitimer(ITIMER_REAL, &never, NULL);
	mtcp_close(sd);
}

static void test_signal_given_just_before_the_sleep_expected_eintr(void **state)
{
	struct sigaction sa = {.sa_handler = on_counted};
	struct timeval patience = {10, 0};
	int sd = fake_connected(FAKE_ECHO, 0), ep = mtcp_epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	struct pollfd p = {.fd = sd, .events = POLLIN};
	sigset_t now;
	char c;

	(void)state;
	handled = 0;
	sigaction(SIGUSR1, &sa, NULL);
	assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, sd, &ev), 0);
	assert_int_equal(
		mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	signal_first = true;
	assert_errno(mtcp_epoll_wait(ep, &ev, 1, 10000), EINTR);
	signal_first = true;
	assert_errno(mtcp_poll(&p, 1, 10000), EINTR);
	signal_first = true;
	assert_errno(mtcp_recv(sd, &c, 1, 0), EINTR);
	assert_int_equal(handled, 3);
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	for (int sig = 1; sig < __SIGRTMIN; sig++) /* nothing is held back any more */
		assert_false(sigismember(&now, sig));
	mtcp_close(ep);
	mtcp_close(sd);
}

/* It is held back no longer than that: work that came goes first, and the handler runs. */
static void test_signal_given_work_too_expected_work_and_handler(void **state)
{
	struct sigaction sa = {.sa_handler = on_counted};
	int sd = fake_connected(FAKE_ECHO, 0);
	char c;

	(void)state;
	handled = 0;
	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < 100; i++) {
		ssize_t n;

		assert_int_equal(mtcp_send(sd, "a", 1, 0), 1);
		signal_first = true;
		while ((n = mtcp_recv(sd, &c, 1, 0)) < 0)
			assert_int_equal(errno, EINTR);
		assert_int_equal(n, 1);
		if (!signal_first)
			assert_int_equal(handled--, 1);
		signal_first = false;
	}
	mtcp_close(sd);
}

static void *close_later(void *arg)
{
	usleep(50000);
	mtcp_close(*(int *)arg);
	return NULL;
}

static void test_close_given_blocked_read_expected_ebadf(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	pthread_t t;
	char c;

	(void)state;
	pthread_create(&t, NULL, close_later, &sd);
	assert_errno(mtcp_recv(sd, &c, 1, 0), EBADF);
	pthread_join(t, NULL);
	assert_true(fake_is_clean(fake));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		T(test_echo_random_sizes_given_stream_expected_same_bytes),
		T(test_blocking_halves_given_two_threads_expected_all_then_eof),
		T(test_idle_connection_given_all_read_expected_no_chunk_and_no_block),
		T(test_flags_given_peek_waitall_trunc_expected_linux_results),
		T(test_messages_given_sendmsg_recvmsg_expected_bytes_and_empty_name),
		T(test_connect_given_refused_expected_error_then_fresh_socket),
		T(test_connect_given_nonblocking_expected_einprogress_then_writable),
		T(test_connect_given_nonblocking_and_no_answer_expected_no_wait),
		T(test_nodelay_given_no_answer_to_connect_expected_no_wait_and_told),
		T(test_fastopen_given_either_way_expected_connected_at_once),
		T(test_connect_given_no_answer_and_close_expected_nothing_left),
		T(test_getsockname_given_no_answer_expected_wait_and_name),
		T(test_connect_given_nonblocking_and_no_route_expected_error_then_fresh_socket),
		T(test_peek_given_unread_bytes_expected_those_that_came_since),
		T(test_peek_given_waitall_expected_all_or_what_ended_it),
		T(test_timeouts_given_rcvtimeo_sndtimeo_expected_eagain_in_time),
		T(test_write_given_closed_for_writing_expected_epipe_and_sigpipe),
		T(test_read_given_reset_expected_data_then_error_then_eof),
		T(test_linger_given_unsent_bytes_expected_close_waits),
		T(test_signal_given_blocked_read_expected_eintr),
		T(test_signal_given_just_before_the_sleep_expected_eintr),
		T(test_signal_given_work_too_expected_work_and_handler),
		T(test_close_given_blocked_read_expected_ebadf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
