/* Attach, options, memory limits, the daemon's death, fork. */
#include <stdio.h>
#include "fake_daemon.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <sys/wait.h>

static void test_attach_given_no_daemon_expected_error_at_once(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char path[] = "/tmp/client-XXXXXX/sock", longpath[200];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	(void)state;
	assert_errno(mtcp_attach("/nonexistent/mtcpd.sock"), ENOENT);
	memset(longpath, 'x', sizeof(longpath) - 1);
	longpath[sizeof(longpath) - 1] = 0;
	assert_errno(mtcp_attach(longpath), ENAMETOOLONG);
	path[sizeof("/tmp/client-XXXXXX") - 1] = 0;
	assert_non_null(mkdtemp(path));
	path[sizeof("/tmp/client-XXXXXX") - 1] = '/';
	strcpy(sa.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_errno(mtcp_attach(path), ECONNREFUSED);
	setenv("MTCPD_SOCKET", path, 1);
	assert_errno(mtcp_socket(AF_INET, SOCK_STREAM, 0), ECONNREFUSED);
	unsetenv("MTCPD_SOCKET");
	close(fd);
	unlink(path);
	path[sizeof("/tmp/client-XXXXXX") - 1] = 0;
	rmdir(path);
	assert_false(mtcpi_attached());
}

static void *garbage_daemon(void *arg)
{
	struct proto_msg_attached a = {.h = {PROTO_MAGIC, PROTO_VERSION, PROTO_MSG_ATTACH, 0, 0}};
	union proto_msg q;
	int fd = *(int *)arg;

	if (recv(fd, &q, sizeof(q), 0) > 0) {
		a.h.request_id = q.h.request_id;
		a.contexts = 9999;
		send(fd, &a, sizeof(a), MSG_NOSIGNAL);
	}
	close(fd);
	return NULL;
}

static void test_attach_given_nonsense_answer_expected_eproto(void **state)
{
	int fds[2];
	pthread_t t;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	pthread_create(&t, NULL, garbage_daemon, &fds[0]);
	assert_errno(mtcpi_attach_fd(fds[1]), EPROTO);
	pthread_join(t, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	close(fds[0]);
	assert_int_equal(mtcpi_attach_fd(fds[1]), -1);
	assert_false(mtcpi_attached());
}

static void test_socket_given_wrong_kind_expected_linux_errors(void **state)
{
	(void)state;
	assert_errno(mtcp_socket(AF_UNIX, SOCK_STREAM, 0), EAFNOSUPPORT);
	assert_errno(mtcp_socket(AF_INET, SOCK_DGRAM, 0), ESOCKTNOSUPPORT);
	assert_errno(mtcp_socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	assert_errno(mtcp_close(12345), EBADF);
	assert_errno(mtcp_close(-1), EBADF);
	assert_errno(mtcp_read(7, NULL, 0), EBADF);
	for (int i = 0; i < 1000; i++)
		assert_true(mtcp_socket(AF_INET, SOCK_STREAM, 0) >= 0);
	assert_errno(mtcp_socket(AF_INET, SOCK_STREAM, 0), EMFILE);
}

static int get_int(int sd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return mtcp_getsockopt(sd, level, name, &value, &len) ? -errno : value;
}

static int set_int(int sd, int level, int name, int value)
{
	return mtcp_setsockopt(sd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/* What the daemon was told last: a number plus one. */
static void await_congestion(uint32_t want)
{
	for (int i = 0; i < 60000 && fake->congestion != want; i++)
		usleep(1000);
	assert_int_equal(fake->congestion, want);
}

static void test_options_given_congestion_expected_name_and_number(void **state)
{
	struct sockaddr_in sa = fake_addr(FAKE_ECHO);
	int sd = fake_connected(FAKE_ECHO, 0), early = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	char name[32] = "";
	socklen_t len = sizeof(name);

	(void)state;
	assert_int_equal(mtcp_getsockopt(sd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	assert_int_equal(len, 16);
	assert_string_equal(name, "cubic");
	assert_int_equal(mtcp_setsockopt(sd, IPPROTO_TCP, TCP_CONGESTION, "newreno", 7), 0);
	await_congestion(1);
	assert_int_equal(mtcp_getsockopt(sd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	assert_string_equal(name, "newreno");
	assert_int_equal(mtcp_setsockopt(sd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 6), 0);
	await_congestion(2);
	assert_int_equal(mtcp_setsockopt(early, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
	assert_int_equal(mtcp_connect(early, (struct sockaddr *)&sa, sizeof(sa)), 0);
	await_congestion(1);
	assert_errno(mtcp_setsockopt(sd, IPPROTO_TCP, TCP_CONGESTION, "nobody", 6), ENOENT);
	assert_errno(mtcp_setsockopt(sd, IPPROTO_TCP, TCP_CONGESTION, "cubi", 4), ENOENT);
	assert_errno(mtcp_setsockopt(sd, IPPROTO_TCP, TCP_CONGESTION,
			     "a name that is longer than sixteen", 34),
		ENOENT);
	assert_errno(mtcp_setsockopt(sd, IPPROTO_TCP, TCP_CONGESTION, "", 0), EINVAL);
	mtcp_close(early);
	mtcp_close(sd);
}

static void test_options_given_known_and_unknown_expected_values_and_counted(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0), l = fake_listening(8080, 0);
	struct mtcp_stats before, after;
	struct timeval tv = {3, 5}, got;
	struct tcp_info info;
	socklen_t len = sizeof(info);
	uint32_t pushed = fake->operations[PROTO_OP_SETOPT];

	(void)state;
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_DOMAIN), AF_INET);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_ACCEPTCONN), 0);
	assert_int_equal(get_int(l, SOL_SOCKET, SO_ACCEPTCONN), 1);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_ERROR), 0);
	assert_int_equal(set_int(sd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(set_int(sd, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	assert_int_equal(get_int(sd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(set_int(sd, SOL_SOCKET, SO_SNDBUF, 10000), 0);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_SNDBUF), 20000);
	assert_int_equal(set_int(sd, SOL_SOCKET, SO_RCVBUF, 1), 0);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_RCVBUF), 4096);
	assert_int_equal(set_int(sd, SOL_SOCKET, SO_TYPE, 1), -ENOPROTOOPT);
	assert_int_equal(set_int(sd, IPPROTO_TCP, TCP_KEEPIDLE, 10), 0);
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	len = sizeof(got);
	assert_int_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &got, &len), 0);
	assert_int_equal(got.tv_sec, 3);
	assert_errno(mtcp_setsockopt(sd, SOL_SOCKET, SO_RCVTIMEO, &tv, 1), EINVAL);
	len = sizeof(info);
	assert_int_equal(mtcp_getsockopt(sd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	assert_int_equal(len, sizeof(info));
	assert_int_equal(((uint8_t *)&info)[47], 1);
	assert_int_equal(((uint8_t *)&info)[95], 2);
	assert_int_equal(((uint8_t *)&info)[96], 0);
	assert_int_equal(get_int(l, IPPROTO_TCP, TCP_MAXSEG), 1460);
	assert_true(fake->operations[PROTO_OP_SETOPT] >= pushed + 4);
	mtcp_stats(&before);
	assert_int_equal(set_int(sd, IPPROTO_IP, 1, 16), -ENOPROTOOPT);
	assert_int_equal(get_int(sd, IPPROTO_TCP, 9999), -ENOPROTOOPT);
	mtcp_stats(&after);
	assert_int_equal(after.sockopt_unknown, before.sockopt_unknown + 2);
	mtcp_close(sd);
	mtcp_close(l);
}

/* What was pushed before the answer to this came has arrived. */
static void await_pushed(int sd)
{
	assert_true(get_int(sd, IPPROTO_TCP, TCP_MAXSEG) > 0);
}

/* The numbers of tcp(7): what the engine is told, when, and what accept hands down. */
static void test_numbers_given_each_expected_bounds_values_and_pushed(void **state)
{
	static const struct {
		int name, unset, good, bad; /* bad = good: none is */
		enum proto_option option;   /* 0: the engine is not told */
	} numbers[] = {
		{TCP_KEEPIDLE, 7200, 10, 0, PROTO_SET_KEEPIDLE_S},
		{TCP_KEEPINTVL, 75, 5, 32768, PROTO_SET_KEEPINTVL_S},
		{TCP_KEEPCNT, 9, 3, 128, PROTO_SET_KEEPCNT},
		{TCP_SYNCNT, 6, 2, 0, PROTO_SET_SYNCNT},
		{TCP_USER_TIMEOUT, 0, 30000, -1, PROTO_SET_USER_TIMEOUT_MS},
		{TCP_LINGER2, 60, 7, 7, PROTO_SET_LINGER2_S},
		{TCP_MAXSEG, 1460, 700, 87, PROTO_SET_MAXSEG},
		{TCP_WINDOW_CLAMP, 0, 20000, 20000, PROTO_SET_WINDOW_CLAMP},
		{TCP_DEFER_ACCEPT, 0, 7, INT32_MIN, 0},
		{TCP_FASTOPEN, 0, 16, -1, 0},
	};
	static const struct {
		int name, said, seen;
	} bent[] = {
		{TCP_DEFER_ACCEPT, 1, 1},
		{TCP_DEFER_ACCEPT, 5, 7},
		{TCP_DEFER_ACCEPT, 128, 247},
		{TCP_DEFER_ACCEPT, INT32_MAX, 127 + 248 * 120},
		{TCP_DEFER_ACCEPT, -1, 0},
		{TCP_WINDOW_CLAMP, -1, 1152},
		{TCP_WINDOW_CLAMP, 20000, 20000},
	};
	struct sockaddr_in sa = fake_addr(FAKE_ECHO);
	int l, peer, sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		assert_int_equal(get_int(sd, IPPROTO_TCP, numbers[i].name), numbers[i].unset);
		if (numbers[i].option && numbers[i].bad != numbers[i].good)
			assert_int_equal(
				set_int(sd, IPPROTO_TCP, numbers[i].name, numbers[i].bad), -EINVAL);
		assert_int_equal(set_int(sd, IPPROTO_TCP, numbers[i].name, numbers[i].good), 0);
		if (numbers[i].name !=
			TCP_MAXSEG) /* which is the connection's, as TCP_INFO has it */
			assert_int_equal(
				get_int(sd, IPPROTO_TCP, numbers[i].name), numbers[i].good);
		if (numbers[i].option)
			assert_int_equal(fake->option[numbers[i].option], 0);
	}
	/* What Linux bends: times to retransmissions, and windows of less than 1152. */
	for (size_t i = 0; i < sizeof(bent) / sizeof(bent[0]); i++) {
		assert_int_equal(set_int(sd, IPPROTO_TCP, bent[i].name, bent[i].said), 0);
		assert_int_equal(get_int(sd, IPPROTO_TCP, bent[i].name), bent[i].seen);
	}
	assert_int_equal(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(set_int(sd, IPPROTO_TCP, TCP_QUICKACK, 5), 0);
	assert_int_equal(get_int(sd, IPPROTO_TCP, TCP_QUICKACK), 1);
	await_pushed(sd);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].option)
			assert_int_equal(fake->option[numbers[i].option], numbers[i].good);
	assert_int_equal(fake->option[PROTO_SET_QUICKACK], 1);
	mtcp_close(sd);

	l = fake_listening(8080, 0);
	assert_int_equal(set_int(l, IPPROTO_TCP, TCP_KEEPCNT, 4), 0);
	peer = fake_connected(8080, 0);
	sd = mtcp_accept(l, NULL, NULL);
	assert_int_equal(get_int(sd, IPPROTO_TCP, TCP_KEEPCNT), 4);
	await_pushed(sd);
	assert_int_equal(fake->option[PROTO_SET_KEEPCNT], 4);
	mtcp_close(peer);
	mtcp_close(sd);
	mtcp_close(l);
}

/* What Linux bends instead of refusing it. */
static void test_numbers_given_odd_values_expected_bent_as_in_linux(void **state)
{
	static const struct {
		int level, name, set, get;
	} bent[] = {
		{IPPROTO_TCP, TCP_LINGER2, 1000, 120},
		{IPPROTO_TCP, TCP_LINGER2, -7, -1},
		{IPPROTO_TCP, TCP_LINGER2, 0, 60},
		{IPPROTO_TCP, TCP_MAXSEG, 0, 1460},
		{SOL_SOCKET, SO_RCVLOWAT, 0, 1},
		{SOL_SOCKET, SO_BROADCAST, 7, 1},
		{SOL_SOCKET, SO_OOBINLINE, -1, 1},
	};
	struct linger l = {.l_onoff = 7, .l_linger = 3};
	socklen_t len = sizeof(l);
	int sd = mtcp_socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(bent) / sizeof(bent[0]); i++) {
		assert_int_equal(set_int(sd, bent[i].level, bent[i].name, bent[i].set), 0);
		assert_int_equal(get_int(sd, bent[i].level, bent[i].name), bent[i].get);
	}
	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	assert_int_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_LINGER, &l, &len), 0);
	assert_int_equal(l.l_onoff, 1);
	assert_errno(mtcp_setsockopt(sd, SOL_SOCKET, SO_TYPE, &l, 3), EINVAL);
	mtcp_close(sd);
}

/* TCP_NOTSENT_LOWAT of a connection that is full: there is no room until the rest has been sent. */
static void test_lowat_given_more_unsent_expected_no_room_until_sent(void **state)
{
	int lowat = 64 << 10, full = 100 << 10, unsent = 0;
	int sd = fake_connected(FAKE_HOLD, SOCK_NONBLOCK), l = fake_listening(8080, 0);
	struct pollfd p = {sd, POLLOUT, 0};
	static char bytes[200 << 10];

	(void)state;
	assert_int_equal(mtcp_send(sd, bytes, (size_t)full, 0), full);
	assert_int_equal(mtcp_ioctl(sd, SIOCOUTQNSD, &unsent), 0);
	assert_int_equal(unsent, full);
	assert_int_equal(mtcp_poll(&p, 1, 0), 1);
	assert_int_equal(set_int(sd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, lowat), 0);
	assert_int_equal(mtcp_poll(&p, 1, 0), 0);
	assert_errno(mtcp_send(sd, bytes, 1, 0), EAGAIN);
	assert_int_equal(mtcp_poll(&p, 1, 20), 0); /* nor once the daemon knows */
	fake->release = true;
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	assert_int_equal(mtcp_ioctl(sd, SIOCOUTQNSD, &unsent), 0);
	assert_int_equal(unsent, 0);
	fake->release = false;
	assert_int_equal(mtcp_send(sd, bytes, sizeof(bytes), 0), lowat);
	assert_errno(mtcp_ioctl(l, SIOCOUTQNSD, &unsent), EINVAL);
	mtcp_close(sd);
	mtcp_close(l);
}

static void test_fcntl_given_flags_expected_kept(void **state)
{
	int sd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	(void)state;
	assert_int_equal(mtcp_fcntl(sd, F_GETFL), O_RDWR);
	assert_int_equal(mtcp_fcntl(sd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(mtcp_ioctl(sd, FIONBIO, &on), 0);
	assert_int_equal(mtcp_fcntl(sd, F_GETFL), O_RDWR | O_NONBLOCK);
	assert_int_equal(mtcp_fcntl(sd, F_SETFL, 0), 0);
	assert_int_equal(mtcp_fcntl(sd, F_GETFL), O_RDWR);
	assert_errno(mtcp_fcntl(sd, F_GETOWN), EINVAL);
	assert_errno(mtcp_ioctl(sd, 0x1234, &on), ENOTTY);
	mtcp_close(sd);
}

static void test_pool_given_more_in_flight_than_down_expected_grows_then_waits(void **state)
{
	enum { CONNECTIONS = 100 };
	int sd[CONNECTIONS], ep = mtcp_epoll_create1(0);
	struct epoll_event ev;
	struct mtcp_stats stats;
	static char big[256 << 10];
	uint64_t sent = 0;

	(void)state;
	for (int i = 0; i < CONNECTIONS; i++) {
		ssize_t n;

		sd[i] = fake_connected(FAKE_HOLD, SOCK_NONBLOCK);
		n = mtcp_send(sd[i], big, sizeof(big), 0);
		assert_true(n > 0 || errno == EAGAIN);
		sent += n > 0 ? (uint64_t)n : 0;
		ev = (struct epoll_event){.events = EPOLLOUT | EPOLLET};
		assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, sd[i], &ev), 0);
	}
	mtcp_stats(&stats);
	assert_true(stats.pool_empty > 0);
	assert_true(sent > 12 << 20 && sent <= 16 << 20);
	assert_errno(mtcp_send(sd[CONNECTIONS - 1], big, 1, 0), EAGAIN);
	while (mtcp_epoll_wait(ep, &ev, 1, 10) > 0)
		;
	fake->release = true;
	assert_int_equal(mtcp_epoll_wait(ep, &ev, 1, 5000), 1);
	for (int i = 0; i < 2000 && mtcp_send(sd[CONNECTIONS - 1], big, 1, 0) < 0; i++)
		mtcp_epoll_wait(ep, &ev, 1, 10);
	assert_int_equal(mtcp_send(sd[CONNECTIONS - 1], big, 1, 0), 1);
	for (int i = 0; i < CONNECTIONS; i++)
		mtcp_close(sd[i]);
	mtcp_close(ep);
	assert_true(fake_is_clean(fake));
}

static void test_segment_given_chunks_in_a_new_one_expected_mapped_when_met(void **state)
{
	int sd;
	char buf[20000], got[20000];

	(void)state;
	fake_pause(fake);
	fake->up_free_count = 0;
	fake_add_segment(fake, SHM_UP, 2 << 20);
	fake_add_units(fake, 1, 0);
	fake->pause = false;
	sd = fake_connected(FAKE_ECHO, 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)fake_byte(i);
	assert_int_equal(mtcp_send(sd, buf, sizeof(buf), 0), sizeof(buf));
	assert_int_equal(mtcp_recv(sd, got, sizeof(got), MSG_WAITALL), sizeof(got));
	assert_memory_equal(buf, got, sizeof(buf));
	mtcp_close(sd);
}

/* When a send has waited for room. */
static void *unpause_when_full(void *arg)
{
	struct mtcp_stats stats;

	do {
		usleep(1000);
		mtcp_stats(&stats);
	} while (!stats.ring_full_waits);
	fake->pause = false;
	return arg;
}

static void test_ring_given_full_expected_no_operation_lost(void **state)
{
	int sd = fake_connected(FAKE_DISCARD, 0);
	struct mtcp_stats stats;
	pthread_t t;

	(void)state;
	fake_pause(fake);
	pthread_create(&t, NULL, unpause_when_full, NULL);
	for (int i = 0; i < 2000; i++) /* rings hold 256 */
		assert_int_equal(mtcp_send(sd, "x", 1, 0), 1);
	pthread_join(t, NULL);
	mtcp_stats(&stats);
	assert_true(stats.ring_full_waits > 0);
	assert_int_equal(mtcp_shutdown(sd, SHUT_WR), 0); /* asserts the position there */
	mtcp_close(sd);
	assert_true(fake_is_clean(fake));
}

static void *killer(void *arg)
{
	usleep(50000);
	fake_kill(fake);
	return arg;
}

static void test_daemon_death_given_sleepers_expected_all_fail_and_can_attach_anew(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0), ep = mtcp_epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	struct pollfd p = {.fd = sd, .events = POLLIN};
	pthread_t t;
	char c;

	(void)state;
	assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, sd, &ev), 0);
	pthread_create(&t, NULL, killer, NULL);
	assert_errno(mtcp_recv(sd, &c, 1, 0), ENETDOWN);
	pthread_join(t, NULL);
	assert_errno(mtcp_send(sd, &c, 1, 0), ENETDOWN);
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	assert_true(p.revents & POLLERR && p.revents & POLLHUP);
	assert_int_equal(mtcp_epoll_wait(ep, &ev, 1, 60000), 1);
	assert_true(ev.events & EPOLLERR);
	assert_int_equal(get_int(sd, SOL_SOCKET, SO_ERROR), ENETDOWN);
	assert_errno(mtcp_socket(AF_INET, SOCK_STREAM, 0), ENETDOWN);
	assert_int_equal(mtcp_close(sd), 0);
	fake_free(fake);
	fake = fake_new();
	assert_int_equal(fake_start(fake), 0);
	sd = fake_connected(FAKE_ECHO, 0);
	assert_int_equal(mtcp_send(sd, "a", 1, 0), 1);
	assert_int_equal(mtcp_recv(sd, &c, 1, 0), 1);
	mtcp_close(sd);
	mtcp_close(ep);
}

static void test_condemned_given_busy_caller_expected_enetdown(void **state)
{
	int sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK), i;
	char c;

	(void)state;
	fake->header->condemned = PROTO_CONDEMNED_RANGE;
	for (i = 0; i < 100000; i++)
		if (mtcp_recv(sd, &c, 1, 0) < 0 && errno == ENETDOWN)
			break;
	assert_true(i < 100000);
	assert_false(mtcpi_attached());
	mtcp_close(sd);
}

static void test_fork_given_child_expected_dead_there_alive_here(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0), status;
	char c;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		if (mtcp_send(sd, "x", 1, MSG_NOSIGNAL) != -1 || errno != EBADF)
			_exit(1);
		if (mtcp_close(sd) != -1 || errno != EBADF || mtcpi_attached())
			_exit(2);
		if (mtcp_attach("/nonexistent/sock") != -1 || errno != ENOENT)
			_exit(3);
		if (mtcp_detach() || mtcp_epoll_create1(0) < 0)
			_exit(4);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(mtcp_send(sd, "x", 1, 0), 1);
	assert_int_equal(mtcp_recv(sd, &c, 1, 0), 1);
	mtcp_close(sd);
}

static void test_classify_given_addresses_expected_only_served_ones(void **state)
{
	static const struct {
		const char *ip;
		enum mtcpi_addr expected;
	} row[] = {
		{"10.0.0.1", MTCPI_ADDR_LOCAL},
		{"10.0.0.77", MTCPI_ADDR_ONLINK},
		{"10.0.1.1", MTCPI_ADDR_NONE},
		{"127.0.0.1", MTCPI_ADDR_NONE},
		{"0.0.0.0", MTCPI_ADDR_NONE},
		{"224.0.0.1", MTCPI_ADDR_NONE},
		{"255.255.255.255", MTCPI_ADDR_NONE},
		{"2001:db8::1", MTCPI_ADDR_LOCAL},
		{"2001:db8::77", MTCPI_ADDR_ONLINK},
		{"2001:db8:1::1", MTCPI_ADDR_NONE},
		{"2001:db8:2::", MTCPI_ADDR_ONLINK}, /* a prefix's address is nobody's */
		{"::1", MTCPI_ADDR_NONE},
		{"::", MTCPI_ADDR_NONE},
		{"ff02::1", MTCPI_ADDR_NONE},
	};
	struct in6_addr a;
	char mapped[64];

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		snprintf(mapped, sizeof(mapped), strchr(row[i].ip, ':') ? "%s" : "::ffff:%s",
			row[i].ip);
		assert_int_equal(inet_pton(AF_INET6, mapped, &a), 1);
		assert_int_equal(mtcpi_classify(&a), row[i].expected);
	}
}

static void test_descriptors_given_session_expected_high_owned_and_cloexec(void **state)
{
	int owned = 0;
	struct pollfd p = {.fd = fake_connected(FAKE_ECHO, 0), .events = POLLIN};

	(void)state;
	mtcp_poll(&p, 1, 1);
	for (int fd = 0; fd < 4096; fd++) {
		if (!mtcpi_owns_fd(fd))
			continue;
		owned++;
		assert_true(fd >= 512);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	}
	/* control, 2 pipes, 2 eventfds, this thread's eventfd */
	assert_int_equal(owned, 6);
	mtcp_close(p.fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attach_given_no_daemon_expected_error_at_once),
		cmocka_unit_test(test_attach_given_nonsense_answer_expected_eproto),
		T(test_socket_given_wrong_kind_expected_linux_errors),
		T(test_options_given_congestion_expected_name_and_number),
		T(test_options_given_known_and_unknown_expected_values_and_counted),
		T(test_numbers_given_each_expected_bounds_values_and_pushed),
		T(test_numbers_given_odd_values_expected_bent_as_in_linux),
		T(test_lowat_given_more_unsent_expected_no_room_until_sent),
		T(test_fcntl_given_flags_expected_kept),
		T(test_pool_given_more_in_flight_than_down_expected_grows_then_waits),
		T(test_segment_given_chunks_in_a_new_one_expected_mapped_when_met),
		T(test_ring_given_full_expected_no_operation_lost),
		T(test_daemon_death_given_sleepers_expected_all_fail_and_can_attach_anew),
		T(test_condemned_given_busy_caller_expected_enetdown),
		T(test_fork_given_child_expected_dead_there_alive_here),
		T(test_classify_given_addresses_expected_only_served_ones),
		T(test_descriptors_given_session_expected_high_owned_and_cloexec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
