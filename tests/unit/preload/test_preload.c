/* An ordinary program that knows nothing of mtcpd, run under libmtcp-preload.so.
 *
 * It runs twice: over loopback, where every call must keep the kernel's semantics, and over an
 * address that the fake native library (fake_native.c) serves, where the same assertions must
 * hold. TEST_ADDR says which, TEST_NATIVE=1 that it must have been served by mtcpd.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static bool native;

static struct sockaddr_in address(uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	const char *text = getenv("TEST_ADDR");

	assert_int_equal(inet_pton(AF_INET, text ? text : "127.0.0.1", &sin.sin_addr), 1);
	return sin;
}

/* What the kernel thinks of the number, past all interposed names. */
static bool kernel_connected(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return syscall(SYS_getpeername, fd, &ss, &len) == 0;
}

static int listener(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	*at = address(0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof(*at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
	assert_int_not_equal(at->sin_port, 0);
	return fd;
}

/* fds[0]: the active end, fds[1]: the accepted one. */
static void pair(int fds[2])
{
	struct sockaddr_in at, peer;
	socklen_t len = sizeof(peer);
	int l = listener(&at);

	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	assert_true(fds[0] >= 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&at, sizeof(at)), 0);
	fds[1] = accept(l, (struct sockaddr *)&peer, &len);
	assert_true(fds[1] >= 0);
	assert_int_equal(close(l), 0);
	assert_int_equal(kernel_connected(fds[0]), !native);
	assert_int_equal(kernel_connected(fds[1]), !native);
}

static void pair_close(int fds[2])
{
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

static void nonblock(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -- sockets and bytes ------------------------------------------------------------------- */

static void test_echo_given_all_calls_expected_equal_bytes(void **state)
{
	char buf[64];
	struct iovec iov[2] = {{buf, 3}, {buf + 3, 5}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	struct mmsghdr mm = {.msg_hdr = {.msg_iov = iov, .msg_iovlen = 1}};
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fds[2];

	(void)state;
	pair(fds);
	assert_int_equal(write(fds[0], "abcdefgh", 8), 8);
	assert_int_equal(readv(fds[1], iov, 2), 8);
	assert_memory_equal(buf, "abcdefgh", 8);
	assert_int_equal(writev(fds[1], iov, 2), 8);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(recv(fds[0], buf, 4, MSG_PEEK), 4);
	assert_int_equal(recvfrom(fds[0], buf, 8, MSG_WAITALL, (struct sockaddr *)&from, &len), 8);
	assert_memory_equal(buf, "abcdefgh", 8);
	assert_int_equal(sendmsg(fds[0], &msg, 0), 8);
	assert_int_equal(recvmsg(fds[1], &msg, MSG_WAITALL), 8);
	assert_int_equal(sendto(fds[0], "xyz", 3, MSG_NOSIGNAL, NULL, 0), 3);
	assert_int_equal(recvmmsg(fds[1], &mm, 1, 0, NULL), 1);
	assert_int_equal(mm.msg_len, 3);
	assert_memory_equal(buf, "xyz", 3);
	assert_int_equal(sendmmsg(fds[1], &mm, 1, 0), 1);
	assert_int_equal(read(fds[0], buf, sizeof(buf)), 3);
	pair_close(fds);
}

static void test_shutdown_given_half_close_expected_end_of_stream(void **state)
{
	int fds[2];
	char c;

	(void)state;
	pair(fds);
	assert_int_equal(send(fds[0], "z", 1, 0), 1);
	assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
	assert_int_equal(read(fds[1], &c, 1), 1);
	assert_int_equal(read(fds[1], &c, 1), 0);
	assert_int_equal(write(fds[1], "y", 1), 1);
	assert_int_equal(read(fds[0], &c, 1), 1);
	pair_close(fds);
}

static void test_names_and_options_given_connection_expected_as_set(void **state)
{
	struct sockaddr_in a, b;
	socklen_t len = sizeof(a);
	int fds[2], value = 0;
	int one = 1;

	(void)state;
	pair(fds);
	assert_int_equal(getpeername(fds[0], (struct sockaddr *)&a, &len), 0);
	len = sizeof(b);
	assert_int_equal(getsockname(fds[1], (struct sockaddr *)&b, &len), 0);
	assert_int_equal(a.sin_port, b.sin_port);
	assert_int_equal(a.sin_addr.s_addr, address(0).sin_addr.s_addr);
	assert_int_equal(setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	len = sizeof(value);
	assert_int_equal(getsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	assert_int_equal(value, 1);
	assert_int_equal(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &value, &len), 0);
	assert_int_equal(value, SOCK_STREAM);
	assert_int_equal(write(fds[1], "12345", 5), 5);
	assert_int_equal(recv(fds[0], &value, 1, MSG_PEEK), 1);
	assert_int_equal(ioctl(fds[0], FIONREAD, &value), 0);
	assert_int_equal(value, 5);
	pair_close(fds);
}

/* The placeholder's kernel judges names, but mtcpd may know more of them. */
static void test_options_given_congestion_before_connect_expected_known_to_either(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	if (!getenv("MTCPD_SOCKET")) /* else there is no daemon to know more */
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "ours", 4), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nobody", 6), -1);
	assert_int_equal(errno, ENOENT);
	close(fd);
}

static void test_options_given_before_connect_expected_carried_over(void **state)
{
	struct sockaddr_in at;
	struct linger linger = {1, 3}, got = {0};
	socklen_t len = sizeof(int);
	int l = listener(&at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int one = 1, value = 0, err;

	(void)state;
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	err = connect(fd, (struct sockaddr *)&at, sizeof(at));
	assert_true(err == 0 || errno == EINPROGRESS);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	assert_int_equal(value, 1);
	len = sizeof(got);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &len), 0);
	assert_int_equal(got.l_linger, 3);
	assert_int_equal(recv(fd, &value, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	close(l);
}

static void test_nonblock_given_each_way_expected_eagain(void **state)
{
	int fds[2], on = 1, off = 0;
	char c;

	(void)state;
	pair(fds);
	assert_int_equal(ioctl(fds[0], FIONBIO, &on), 0);
	assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(read(fds[0], &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(ioctl(fds[0], FIONBIO, &off), 0);
	assert_false(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	nonblock(fds[1]);
	assert_int_equal(read(fds[1], &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(recv(fds[0], &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	pair_close(fds);
}

static void test_accept4_given_flags_expected_flags(void **state)
{
	struct sockaddr_in at;
	int l = listener(&at);
	int c = socket(AF_INET, SOCK_STREAM, 0);
	int fd;

	(void)state;
	nonblock(l);
	assert_int_equal(accept4(l, NULL, NULL, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(connect(c, (struct sockaddr *)&at, sizeof(at)), 0);
	fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	close(c);
	close(l);
}

static void test_connect_given_no_listener_expected_refused(void **state)
{
	struct sockaddr_in at;
	int l = listener(&at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	close(l);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(fd);
}

static void test_sendfile_given_file_expected_bytes_and_position(void **state)
{
	enum { SIZE = 100000 };
	static char want[SIZE], got[SIZE];
	char path[] = "/tmp/mtcp-preload-XXXXXX";
	int fds[2], file = mkstemp(path);
	off_t off = 10;
	size_t have = 0;

	(void)state;
	for (int i = 0; i < SIZE; i++)
		want[i] = (char)(i * 31 % 251);
	assert_int_equal(write(file, want, SIZE), SIZE);
	unlink(path);
	pair(fds);
	assert_int_equal(sendfile(fds[0], file, &off, 90), 90);
	assert_int_equal(off, 100);
	assert_int_equal(lseek(file, 100, SEEK_SET), 100);
	assert_int_equal(sendfile(fds[0], file, NULL, 1000), 1000);
	assert_int_equal(lseek(file, 0, SEEK_CUR), 1100);
	off = SIZE - 5;
	assert_int_equal(sendfile(fds[0], file, &off, 1000), 5);
	assert_int_equal(sendfile(fds[0], file, &off, 1000), 0);
	while (have < 1095) {
		ssize_t n = read(fds[1], got + have, SIZE - have);

		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_memory_equal(got, want + 10, 1090);
	assert_memory_equal(got + 1090, want + SIZE - 5, 5);
	pair_close(fds);
	close(file);
}

static void test_fdopen_given_connection_expected_lines(void **state)
{
	char line[32];
	int fds[2];
	FILE *in, *out;

	(void)state;
	pair(fds);
	in = fdopen(fds[0], "r");
	out = fdopen(dup(fds[0]), "w");
	assert_true(in && out);
	assert_int_equal(write(fds[1], "one\ntwo\n", 8), 8);
	assert_non_null(fgets(line, sizeof(line), in));
	assert_string_equal(line, "one\n");
	fprintf(out, "three %d\n", 3);
	assert_int_equal(fflush(out), 0);
	assert_int_equal(read(fds[1], line, sizeof(line)), 8);
	assert_memory_equal(line, "three 3\n", 8);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(fclose(in), 0);
	assert_int_equal(read(fds[1], line, 1), 0);
	close(fds[1]);
}

/* -- numbers ------------------------------------------------------------------------------ */

static void test_dup_given_every_way_expected_one_socket(void **state)
{
	int fds[2], d[4];
	char c;

	(void)state;
	pair(fds);
	d[0] = dup(fds[0]);
	d[1] = dup2(fds[0], 200);
	d[2] = dup3(fds[0], 201, O_CLOEXEC);
	d[3] = fcntl(fds[0], F_DUPFD, 202);
	assert_int_equal(d[1], 200);
	assert_int_equal(d[2], 201);
	assert_true(d[3] >= 202);
	assert_int_equal(close(fds[0]), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(write(d[i], "k", 1), 1);
		assert_int_equal(read(fds[1], &c, 1), 1);
		assert_int_equal(close(d[i]), 0);
	}
	assert_int_equal(read(fds[1], &c, 1), 0); /* the last number ended the connection */
	close(fds[1]);
}

static void test_dup2_given_socket_as_target_expected_it_closed(void **state)
{
	int fds[2], file = open("/dev/zero", O_RDONLY);
	char c = 'x';

	(void)state;
	pair(fds);
	assert_int_equal(dup2(file, fds[0]), fds[0]);
	assert_int_equal(read(fds[1], &c, 1), 0);
	assert_int_equal(read(fds[0], &c, 1), 1); /* it is the file now */
	assert_int_equal(c, 0);
	assert_int_equal(dup2(fds[1], fds[1]), fds[1]);
	pair_close(fds);
	close(file);
}

static void test_close_range_given_sockets_expected_closed(void **state)
{
	struct sockaddr_in at;
	int fds[2], other, l;
	char c;

	(void)state;
	pair(fds);
	other = dup2(fds[0], 300);
	close(fds[0]);
	assert_int_equal(close_range(300, ~0U, 0), 0);
	assert_int_equal(write(other, "k", 1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(read(fds[1], &c, 1), 0);
	close(fds[1]);
	l = listener(&at); /* the library's own descriptors have survived */
	close(l);
}

static void test_close_given_number_used_again_expected_new_meaning(void **state)
{
	int fds[2], file = open("/dev/zero", O_RDONLY);
	char c = 'x';

	(void)state;
	pair(fds);
	close(fds[0]);
	assert_int_equal(fcntl(file, F_DUPFD, fds[0]), fds[0]);
	close(file);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(c, 0);
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[0]), -1);
	assert_int_equal(errno, EBADF);
	close(fds[1]);
}

/* -- poll and select ----------------------------------------------------------------------- */

static void test_poll_given_mixed_set_expected_each_bit(void **state)
{
	int fds[2], p[2];
	char c;

	(void)state;
	pair(fds);
	assert_int_equal(pipe(p), 0);
	struct pollfd set[4] = {{fds[0], POLLIN, 0}, {p[0], POLLIN, 0},
		{fds[1], POLLOUT | POLLWRNORM, 0}, {-1, POLLIN, 7}};

	assert_int_equal(poll(set, 2, 0), 0);
	assert_int_equal(poll(set, 2, 20), 0);
	assert_int_equal(poll(set, 4, -1), 1);
	assert_int_equal(set[2].revents, POLLOUT | POLLWRNORM);
	assert_int_equal(set[3].revents, 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(poll(set, 2, -1), 1);
	assert_int_equal(set[1].revents, POLLIN);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(poll(set, 1, -1), 1);
	assert_int_equal(poll(set, 2, 1000), 2);
	assert_int_equal(set[0].revents, POLLIN);
	assert_int_equal(read(fds[0], &c, 1), 1);
	close(fds[1]);
	set[0].events = POLLIN | POLLRDHUP;
	assert_int_equal(poll(set, 1, 1000), 1);
	assert_true(set[0].revents & POLLRDHUP);
	close(fds[0]);
	close(p[0]);
	close(p[1]);
}

static void test_select_given_mixed_sets_expected_each_bit(void **state)
{
	struct timeval tv = {0, 30000};
	fd_set in, out;
	int fds[2], p[2];
	int top;
	double start;

	(void)state;
	pair(fds);
	assert_int_equal(pipe(p), 0);
	top = (p[1] > fds[1] ? p[1] : fds[1]) + 1;
	FD_ZERO(&in);
	FD_SET(fds[0], &in);
	FD_SET(p[0], &in);
	start = now_s();
	assert_int_equal(select(top, &in, NULL, NULL, &tv), 0);
	assert_true(now_s() - start > 0.028);
	assert_false(FD_ISSET(fds[0], &in));
	assert_int_equal(tv.tv_sec + tv.tv_usec, 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	FD_SET(fds[0], &in);
	FD_SET(p[0], &in);
	FD_ZERO(&out);
	FD_SET(fds[1], &out);
	assert_int_equal(select(top, &in, &out, NULL, NULL), 2);
	assert_true(FD_ISSET(p[0], &in) && FD_ISSET(fds[1], &out) && !FD_ISSET(fds[0], &in));
	assert_int_equal(write(fds[1], "x", 1), 1);
	FD_ZERO(&in);
	FD_SET(fds[0], &in);
	struct timespec ts = {5, 0};

	assert_int_equal(pselect(top, &in, NULL, NULL, &ts, NULL), 1);
	assert_true(FD_ISSET(fds[0], &in));
	close(p[0]);
	close(p[1]);
	FD_ZERO(&in);
	FD_SET(fds[0], &in);
	FD_SET(p[0], &in);
	assert_int_equal(select(top, &in, NULL, NULL, NULL), -1);
	assert_int_equal(errno, EBADF);
	pair_close(fds);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void alarm_in(int ms)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	struct itimerval it = {.it_value = {0, ms * 1000}};

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

static void test_waits_given_signal_expected_eintr(void **state)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fds[2], ep = epoll_create1(0);
	char c;

	(void)state;
	pair(fds);
	struct pollfd p = {fds[0], POLLIN, 0};

	alarm_in(20);
	assert_int_equal(poll(&p, 1, 5000), -1);
	assert_int_equal(errno, EINTR);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &ev), 0);
	alarm_in(20);
	assert_int_equal(epoll_wait(ep, &ev, 1, 5000), -1);
	assert_int_equal(errno, EINTR);
	alarm_in(20);
	assert_int_equal(read(fds[0], &c, 1), -1);
	assert_int_equal(errno, EINTR);
	close(ep);
	pair_close(fds);
}

/* -- epoll ---------------------------------------------------------------------------------- */

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
}

static void test_epoll_given_mixed_set_expected_data_intact(void **state)
{
	struct epoll_event ev[8];
	int fds[2], event = eventfd(0, EFD_NONBLOCK), ep = epoll_create1(EPOLL_CLOEXEC);
	uint64_t one = 1;
	char c;

	(void)state;
	pair(fds);
	add(ep, event, EPOLLIN, 0xdeadbeefcafef00d);
	add(ep, fds[0], EPOLLIN, 0x0123456789abcdef);
	assert_int_equal(epoll_wait(ep, ev, 8, 0), 0);
	assert_int_equal(epoll_wait(ep, ev, 8, 10), 0);
	assert_int_equal(write(event, &one, 8), 8);
	assert_int_equal(epoll_wait(ep, ev, 8, -1), 1);
	assert_true(ev[0].data.u64 == 0xdeadbeefcafef00d);
	assert_int_equal(write(fds[1], "x", 1), 1);
	usleep(1000);
	assert_int_equal(epoll_wait(ep, ev, 8, -1), 2);
	assert_int_equal(read(event, &one, 8), 8);
	assert_int_equal(epoll_wait(ep, ev, 8, -1), 1);
	assert_true(ev[0].data.u64 == 0x0123456789abcdef);
	assert_int_equal(ev[0].events, EPOLLIN);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(epoll_wait(ep, ev, 8, 0), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], ev), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(epoll_wait(ep, ev, 8, 5), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(epoll_wait(ep, ev, 0, 5), -1);
	assert_int_equal(errno, EINVAL);
	close(event);
	close(ep);
	pair_close(fds);
}

static void test_epoll_given_edge_and_oneshot_expected_once(void **state)
{
	struct epoll_event ev[4] = {0};
	int fds[2], ep = epoll_create(1);
	char c;

	(void)state;
	pair(fds);
	add(ep, fds[0], EPOLLIN | EPOLLET | EPOLLRDHUP, 1);
	assert_int_equal(write(fds[1], "ab", 2), 2);
	assert_int_equal(epoll_wait(ep, ev, 4, 1000), 1);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(epoll_wait(ep, ev, 4, 10), 0);
	ev[0].events = EPOLLIN | EPOLLONESHOT;
	ev[0].data.u64 = 2;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], ev), 0);
	assert_int_equal(epoll_wait(ep, ev, 4, 1000), 1);
	assert_true(ev[0].data.u64 == 2);
	assert_int_equal(epoll_wait(ep, ev, 4, 10), 0);
	ev[0].events = EPOLLRDHUP;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], ev), 0);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	assert_int_equal(epoll_wait(ep, ev, 4, 1000), 1);
	assert_int_equal(ev[0].events, EPOLLRDHUP);
	close(ep);
	pair_close(fds);
}

static void test_epoll_given_member_before_connect_expected_moved(void **state)
{
	struct epoll_event ev[4];
	struct sockaddr_in at;
	int ep = epoll_create1(0), l = listener(&at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), a;

	(void)state;
	add(ep, fd, EPOLLIN | EPOLLOUT, 5);
	assert_true(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 || errno == EINPROGRESS);
	a = accept(l, NULL, NULL);
	assert_int_equal(write(a, "x", 1), 1);
	usleep(1000);
	assert_int_equal(epoll_wait(ep, ev, 4, 1000), 1);
	assert_int_equal(ev[0].events, EPOLLIN | EPOLLOUT);
	assert_true(ev[0].data.u64 == 5);
	close(fd);
	assert_int_equal(epoll_wait(ep, ev, 4, 5), 0);
	close(a);
	close(l);
	close(ep);
}

static void test_epoll_given_close_expected_member_gone(void **state)
{
	struct epoll_event ev[4];
	int fds[2], ep = epoll_create1(0);

	(void)state;
	pair(fds);
	add(ep, fds[0], EPOLLIN | EPOLLOUT, 1);
	assert_int_equal(epoll_wait(ep, ev, 4, 1000), 1);
	close(fds[0]);
	assert_int_equal(epoll_wait(ep, ev, 4, 5), 0);
	close(fds[1]);
	close(ep);
}

struct sleeper {
	int ep;
	int result;
	uint64_t data;
	double woke_s;
	pthread_t thread;
};

static void *sleeper_run(void *arg)
{
	struct sleeper *s = arg;
	struct epoll_event ev = {0};

	s->result = epoll_wait(s->ep, &ev, 1, 5000);
	s->data = ev.data.u64;
	s->woke_s = now_s();
	return NULL;
}

static void sleeper_start(struct sleeper *s, int ep)
{
	s->ep = ep;
	pthread_create(&s->thread, NULL, sleeper_run, s);
	usleep(30000);
}

static void sleeper_expect(struct sleeper *s, double since, uint64_t data)
{
	pthread_join(s->thread, NULL);
	assert_int_equal(s->result, 1);
	assert_true(s->data == data);
	assert_true(s->woke_s - since < 1.0);
}

static void test_epoll_given_other_thread_expected_woken(void **state)
{
	int fds[2], event = eventfd(0, 0), ep = epoll_create1(0);
	struct sleeper s[2];
	uint64_t one = 1;
	double t;

	(void)state;
	pair(fds);
	/* The set is empty and the kernel's when the threads fall asleep. */
	sleeper_start(&s[0], ep);
	sleeper_start(&s[1], ep);
	t = now_s();
	add(ep, fds[0], EPOLLOUT, 77);
	sleeper_expect(&s[0], t, 77);
	sleeper_expect(&s[1], t, 77);
	/* It has a quiet mtcp member, and the kernel's side wakes. */
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL), 0);
	add(ep, fds[0], EPOLLIN, 78);
	add(ep, event, EPOLLIN, 79);
	sleeper_start(&s[0], ep);
	t = now_s();
	assert_int_equal(write(event, &one, 8), 8);
	sleeper_expect(&s[0], t, 79);
	assert_int_equal(read(event, &one, 8), 8);
	/* Another member is added while a thread sleeps in both. */
	sleeper_start(&s[0], ep);
	t = now_s();
	add(ep, fds[1], EPOLLOUT, 80);
	sleeper_expect(&s[0], t, 80);
	close(event);
	close(ep);
	pair_close(fds);
}

static void test_epoll_given_nested_in_poll_expected_readable(void **state)
{
	int fds[2], ep = epoll_create1(0);

	(void)state;
	pair(fds);
	add(ep, fds[0], EPOLLIN, 1);
	struct pollfd p = {ep, POLLIN, 0};

	assert_int_equal(poll(&p, 1, 10), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(p.revents, POLLIN);
	close(ep);
	pair_close(fds);
}

static void test_epoll_pwait2_given_time_out_expected_slept(void **state)
{
	struct timespec ts = {0, 20 * 1000 * 1000};
	struct epoll_event ev;
	int fds[2], ep = epoll_create1(0);
	double start = now_s();

	(void)state;
	pair(fds);
	assert_int_equal(epoll_pwait2(ep, &ev, 1, &ts, NULL), 0);
	add(ep, fds[0], EPOLLIN, 1);
	assert_int_equal(epoll_pwait2(ep, &ev, 1, &ts, NULL), 0);
	assert_true(now_s() - start >= 0.04);
	close(ep);
	pair_close(fds);
}

enum {
	CHURN_CLIENTS = 4,
	CHURN_CONNECTIONS = 50,
	CHURN_BYTES = 3000,
};

struct churn {
	struct sockaddr_in at;
	int listener;
	int stop;
	int served;
};

static bool churn_echo(int fd)
{
	char buf[512];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (write(fd, buf, (size_t)n) != n)
			return false;
	}
	return n < 0 && errno == EAGAIN;
}

static void *churn_serve(void *arg)
{
	struct churn *c = arg;
	struct epoll_event ev[16];
	int ep = epoll_create1(0);

	add(ep, c->listener, EPOLLIN, (uint64_t)c->listener);
	add(ep, c->stop, EPOLLIN, (uint64_t)c->stop);
	for (;;) {
		int n = epoll_wait(ep, ev, 16, -1);

		for (int i = 0; i < n; i++) {
			int fd = (int)ev[i].data.u64;

			if (fd == c->stop) {
				close(ep);
				return NULL;
			}
			if (fd == c->listener) {
				while ((fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					add(ep, fd, EPOLLIN | EPOLLET, (uint64_t)fd);
			} else if (!churn_echo(fd)) {
				close(fd);
				c->served++;
			}
		}
	}
}

static void *churn_client(void *arg)
{
	struct churn *c = arg;
	static _Thread_local char out[CHURN_BYTES], in[CHURN_BYTES];

	for (int i = 0; i < CHURN_CONNECTIONS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		memset(out, (int)(pthread_self() >> 8) + i, sizeof(out));
		if (connect(fd, (struct sockaddr *)&c->at, sizeof(c->at)) ||
			write(fd, out, sizeof(out)) != sizeof(out) ||
			recv(fd, in, sizeof(in), MSG_WAITALL) != sizeof(in) ||
			memcmp(out, in, sizeof(in)) || close(fd))
			return c;
	}
	return NULL;
}

static void test_threads_given_churn_expected_own_bytes(void **state)
{
	struct churn c = {.stop = eventfd(0, 0)};
	pthread_t server, client[CHURN_CLIENTS];
	uint64_t one = 1;
	void *failed;

	(void)state;
	c.listener = listener(&c.at);
	nonblock(c.listener);
	pthread_create(&server, NULL, churn_serve, &c);
	for (int i = 0; i < CHURN_CLIENTS; i++)
		pthread_create(&client[i], NULL, churn_client, &c);
	for (int i = 0; i < CHURN_CLIENTS; i++) {
		pthread_join(client[i], &failed);
		assert_null(failed);
	}
	usleep(20000);
	assert_int_equal(write(c.stop, &one, 8), 8);
	pthread_join(server, NULL);
	assert_int_equal(c.served, CHURN_CLIENTS * CHURN_CONNECTIONS);
	close(c.listener);
	close(c.stop);
}

/* -- fork ------------------------------------------------------------------------------------ */

static void test_fork_given_child_closes_expected_parent_unharmed(void **state)
{
	int fds[2], status;
	char c;
	pid_t pid;

	(void)state;
	pair(fds);
	pid = fork();
	if (pid == 0) {
		int bad = close(fds[0]) != 0 || close(fds[1]) != 0;

		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(write(fds[0], "x", 1), 1);
	assert_int_equal(read(fds[1], &c, 1), 1);
	pair_close(fds);
}

static int child_serves(int l)
{
	struct pollfd p = {l, POLLIN, 0};
	int fd;

	if (poll(&p, 1, 5000) != 1)
		return 2;
	fd = accept(l, NULL, NULL);
	return fd < 0 || write(fd, "child", 5) != 5;
}

static void test_fork_given_daemonised_listener_expected_served(void **state)
{
	struct sockaddr_in at;
	char buf[8];
	int l = listener(&at);
	int status, fd, got = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(child_serves(l));
	close(l); /* as the parent of a daemon, that exits */
	for (int tries = 0; got != 5 && tries < 300; tries++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
			got = (int)read(fd, buf, sizeof(buf));
		close(fd);
		usleep(10000);
	}
	assert_int_equal(got, 5);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Nobody connects: who blocks is killed by the alarm. */
static int child_accepts_nothing(int l, int parent_closed)
{
	char c;

	signal(SIGALRM, SIG_DFL);
	alarm(30);
	if (read(parent_closed, &c, 1) != 1 || !(fcntl(l, F_GETFL) & O_NONBLOCK))
		return 2;
	return accept(l, NULL, NULL) != -1 || errno != EAGAIN;
}

static void test_fork_given_nonblocking_listener_expected_still_nonblocking(void **state)
{
	struct sockaddr_in at;
	int l = listener(&at), on = 1, status, p[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(ioctl(l, FIONBIO, &on), 0);
	pid = fork();
	if (pid == 0)
		_exit(child_accepts_nothing(l, p[0]));
	close(l);
	assert_int_equal(write(p[1], "c", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pair_close(p);
}

static void test_vfork_given_exec_expected_parent_unharmed(void **state)
{
	int fds[2], status;
	char c;
	pid_t pid;

	(void)state;
	pair(fds);
	pid = vfork();
	if (pid == 0) {
		close(fds[0]);
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(write(fds[0], "x", 1), 1);
	assert_int_equal(read(fds[1], &c, 1), 1);
	pair_close(fds);
}

/* -- who serves ------------------------------------------------------------------------------- */

static void test_kernel_given_loopback_and_unix_expected_untouched(void **state)
{
	struct sockaddr_in lo = {.sin_family = AF_INET};
	socklen_t len = sizeof(lo);
	int u[2], l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
	char b;

	(void)state;
	lo.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(l, (struct sockaddr *)&lo, sizeof(lo)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&lo, &len), 0);
	assert_int_equal(connect(c, (struct sockaddr *)&lo, sizeof(lo)), 0);
	assert_true(kernel_connected(c));
	close(c);
	close(l);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, u), 0);
	assert_int_equal(write(u[0], "u", 1), 1);
	assert_int_equal(read(u[1], &b, 1), 1);
	pair_close(u);
}

/* Bound to any address, a socket is mtcpd's until it connects to the kernel's. */
static void test_bind_any_given_connect_to_loopback_expected_kernel_and_port(void **state)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, lo = any, at = any;
	struct epoll_event ev;
	socklen_t len = sizeof(lo);
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
	int ep = epoll_create1(0);

	(void)state;
	lo.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(l, (struct sockaddr *)&lo, sizeof(lo)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&lo, &len), 0);
	assert_int_equal(bind(c, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(getsockname(c, (struct sockaddr *)&any, &len), 0);
	assert_int_not_equal(any.sin_port, 0);
	add(ep, c, EPOLLOUT, 9);
	assert_int_equal(connect(c, (struct sockaddr *)&lo, sizeof(lo)), 0);
	assert_true(kernel_connected(c));
	assert_int_equal(getsockname(c, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(at.sin_port, any.sin_port);
	assert_int_equal(epoll_wait(ep, &ev, 1, 1000), 1);
	assert_true(ev.data.u64 == 9);
	close(ep);
	close(c);
	close(l);
}

static void test_listen_given_any_address_expected_served(void **state)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, to;
	socklen_t len = sizeof(any);
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), a;

	(void)state;
	assert_int_equal(bind(l, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(l, 4), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&any, &len), 0);
	to = address(ntohs(any.sin_port));
	assert_int_equal(connect(c, (struct sockaddr *)&to, sizeof(to)), 0);
	a = accept(l, NULL, NULL);
	assert_true(a >= 0);
	assert_int_equal(kernel_connected(a), !native);
	close(a);
	close(c);
	close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo_given_all_calls_expected_equal_bytes),
		cmocka_unit_test(test_shutdown_given_half_close_expected_end_of_stream),
		cmocka_unit_test(test_names_and_options_given_connection_expected_as_set),
		cmocka_unit_test(
			test_options_given_congestion_before_connect_expected_known_to_either),
		cmocka_unit_test(test_options_given_before_connect_expected_carried_over),
		cmocka_unit_test(test_nonblock_given_each_way_expected_eagain),
		cmocka_unit_test(test_accept4_given_flags_expected_flags),
		cmocka_unit_test(test_connect_given_no_listener_expected_refused),
		cmocka_unit_test(test_sendfile_given_file_expected_bytes_and_position),
		cmocka_unit_test(test_fdopen_given_connection_expected_lines),
		cmocka_unit_test(test_dup_given_every_way_expected_one_socket),
		cmocka_unit_test(test_dup2_given_socket_as_target_expected_it_closed),
		cmocka_unit_test(test_close_range_given_sockets_expected_closed),
		cmocka_unit_test(test_close_given_number_used_again_expected_new_meaning),
		cmocka_unit_test(test_poll_given_mixed_set_expected_each_bit),
		cmocka_unit_test(test_select_given_mixed_sets_expected_each_bit),
		cmocka_unit_test(test_waits_given_signal_expected_eintr),
		cmocka_unit_test(test_epoll_given_mixed_set_expected_data_intact),
		cmocka_unit_test(test_epoll_given_edge_and_oneshot_expected_once),
		cmocka_unit_test(test_epoll_given_member_before_connect_expected_moved),
		cmocka_unit_test(test_epoll_given_close_expected_member_gone),
		cmocka_unit_test(test_epoll_given_other_thread_expected_woken),
		cmocka_unit_test(test_epoll_given_nested_in_poll_expected_readable),
		cmocka_unit_test(test_epoll_pwait2_given_time_out_expected_slept),
		cmocka_unit_test(test_threads_given_churn_expected_own_bytes),
		cmocka_unit_test(test_fork_given_child_closes_expected_parent_unharmed),
		cmocka_unit_test(test_fork_given_daemonised_listener_expected_served),
		cmocka_unit_test(test_fork_given_nonblocking_listener_expected_still_nonblocking),
		cmocka_unit_test(test_vfork_given_exec_expected_parent_unharmed),
		cmocka_unit_test(test_kernel_given_loopback_and_unix_expected_untouched),
		cmocka_unit_test(test_bind_any_given_connect_to_loopback_expected_kernel_and_port),
		cmocka_unit_test(test_listen_given_any_address_expected_served),
	};

	native = getenv("TEST_NATIVE") != NULL;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
