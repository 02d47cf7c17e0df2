/* epoll, poll and the adapter's mixed waits. */
#include "fake_daemon.h"

#include <sys/eventfd.h>

static void add(int ep, int sd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)sd << 32 | 1};

	assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, sd, &ev), 0);
}

static void modify(int ep, int sd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)sd << 32 | 1};

	assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_MOD, sd, &ev), 0);
}

/* One wait: the events of the only member, or 0. */
static uint32_t wait_one(int ep, int timeout_ms)
{
	struct epoll_event ev[4];
	int n = mtcp_epoll_wait(ep, ev, 4, timeout_ms);

	assert_true(n == 0 || n == 1);
	return n ? ev[0].events : 0;
}

static void test_level_given_unread_bytes_expected_told_until_read(void **state)
{
	int ep = mtcp_epoll_create1(0), sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
	char buf[4];

	(void)state;
	add(ep, sd, EPOLLIN);
	assert_int_equal(wait_one(ep, 0), 0);
	mtcp_send(sd, "ab", 2, 0);
	assert_int_equal(wait_one(ep, 60000), EPOLLIN);
	assert_int_equal(wait_one(ep, 0), EPOLLIN);
	assert_int_equal(mtcp_recv(sd, buf, 1, 0), 1);
	assert_int_equal(wait_one(ep, 0), EPOLLIN);
	while (mtcp_recv(sd, buf, 4, 0) > 0)
		;
	assert_int_equal(wait_one(ep, 10), 0);
	modify(ep, sd, EPOLLIN | EPOLLOUT);
	assert_int_equal(wait_one(ep, 0), EPOLLOUT);
	mtcp_close(sd);
	assert_int_equal(wait_one(ep, 0), 0);
	assert_int_equal(mtcp_close(ep), 0);
	assert_errno(mtcp_epoll_wait(ep, NULL, 1, 0), EBADF);
}

static void test_edge_given_bytes_expected_told_once_per_arrival(void **state)
{
	int ep = mtcp_epoll_create1(EPOLL_CLOEXEC), sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
	char c;

	(void)state;
	add(ep, sd, EPOLLIN | EPOLLOUT | EPOLLET);
	assert_int_equal(wait_one(ep, 60000), EPOLLOUT);
	assert_int_equal(wait_one(ep, 10), 0);
	mtcp_send(sd, "ab", 2, 0);
	assert_true(wait_one(ep, 60000) & EPOLLIN);
	while (mtcp_recv(sd, &c, 1, MSG_PEEK) != 1)
		;
	wait_one(ep, 20); /* the second byte may have been an arrival of its own */
	assert_int_equal(wait_one(ep, 20), 0);
	mtcp_send(sd, "c", 1, 0);
	assert_true(wait_one(ep, 60000) & EPOLLIN);
	mtcp_close(sd);
	mtcp_close(ep);
}

static void test_edge_given_full_buffer_expected_one_epollout_when_a_third_is_free(void **state)
{
	int ep = mtcp_epoll_create1(0), sd = fake_connected(FAKE_HOLD, SOCK_NONBLOCK);
	static char big[1 << 20];

	(void)state;
	add(ep, sd, EPOLLOUT | EPOLLET);
	assert_int_equal(wait_one(ep, 60000), EPOLLOUT);
	assert_int_equal(mtcp_send(sd, big, sizeof(big), 0), 256 << 10);
	assert_errno(mtcp_send(sd, big, 1, 0), EAGAIN);
	assert_int_equal(wait_one(ep, 20), 0);
	fake->release = true;
	assert_int_equal(wait_one(ep, 60000), EPOLLOUT);
	assert_true(mtcp_send(sd, big, sizeof(big), 0) > 0);
	mtcp_close(sd);
	mtcp_close(ep);
	assert_true(fake_is_clean(fake));
}

static void test_oneshot_given_event_expected_silent_until_rearmed(void **state)
{
	int ep = mtcp_epoll_create1(0), sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);

	(void)state;
	add(ep, sd, EPOLLIN | EPOLLONESHOT);
	mtcp_send(sd, "ab", 2, 0);
	assert_int_equal(wait_one(ep, 60000), EPOLLIN);
	mtcp_send(sd, "ab", 2, 0);
	assert_int_equal(wait_one(ep, 20), 0);
	modify(ep, sd, EPOLLIN | EPOLLONESHOT);
	assert_int_equal(wait_one(ep, 60000), EPOLLIN);
	mtcp_close(sd);
	mtcp_close(ep);
}

static void test_rdhup_given_peer_shutdown_expected_told(void **state)
{
	int ep = mtcp_epoll_create1(0), l = fake_listening(8080, 0);
	int c = fake_connected(8080, SOCK_NONBLOCK), s = mtcp_accept(l, NULL, NULL);
	uint32_t bits;

	(void)state;
	add(ep, c, EPOLLRDHUP);
	assert_int_equal(wait_one(ep, 10), 0);
	assert_int_equal(mtcp_shutdown(s, SHUT_WR), 0);
	assert_int_equal(wait_one(ep, 60000), EPOLLRDHUP);
	assert_int_equal(mtcp_shutdown(c, SHUT_WR), 0);
	bits = wait_one(ep, 60000);
	assert_int_equal(bits, EPOLLRDHUP | EPOLLHUP);
	mtcp_close(c);
	mtcp_close(s);
	mtcp_close(l);
	mtcp_close(ep);
}

static void test_ctl_given_wrong_use_expected_kernel_errors(void **state)
{
	int ep = mtcp_epoll_create1(0), sd = fake_connected(FAKE_ECHO, 0);
	struct epoll_event ev = {.events = EPOLLIN};

	(void)state;
	assert_errno(mtcp_epoll_create1(1), EINVAL);
	assert_errno(mtcp_epoll_ctl(ep, EPOLL_CTL_MOD, sd, &ev), ENOENT);
	assert_errno(mtcp_epoll_ctl(ep, EPOLL_CTL_DEL, sd, NULL), ENOENT);
	add(ep, sd, EPOLLIN);
	assert_errno(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, sd, &ev), EEXIST);
	assert_errno(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev), EINVAL);
	assert_errno(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, 99999, &ev), EBADF);
	assert_errno(mtcp_epoll_ctl(sd, EPOLL_CTL_ADD, sd, &ev), EINVAL);
	assert_errno(mtcp_epoll_ctl(ep, 77, sd, &ev), EINVAL);
	assert_errno(mtcp_epoll_wait(ep, &ev, 0, 0), EINVAL);
	assert_errno(mtcp_recv(ep, &ev, 1, 0), ENOTSOCK);
	assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_DEL, sd, NULL), 0);
	mtcp_close(ep);
	mtcp_close(sd);
}

static void test_wait_given_many_ready_expected_none_starved(void **state)
{
	enum { N = 30 };
	int ep = mtcp_epoll_create1(0), sd[N];
	uint32_t seen = 0;
	struct epoll_event ev[4];

	(void)state;
	for (int i = 0; i < N; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};

		sd[i] = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
		assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, sd[i], &e), 0);
		mtcp_send(sd[i], "x", 1, 0);
	}
	for (int i = 0; i < N; i++)
		while (!(mtcpi_poll_bits(sd[i]) & POLLIN))
			usleep(100);
	for (int round = 0; round < 20 && seen != (1u << N) - 1; round++) {
		int n = mtcp_epoll_wait(ep, ev, 4, 60000); /* nothing is read: all stay ready */

		assert_true(n > 0 && n <= 4);
		while (n--)
			seen |= 1u << ev[n].data.u32;
	}
	assert_int_equal(seen, (1u << N) - 1);
	for (int i = 0; i < N; i++)
		mtcp_close(sd[i]);
	mtcp_close(ep);
}

static void *epoll_waiter(void *arg)
{
	struct epoll_event ev;
	intptr_t n = mtcp_epoll_wait(*(int *)arg, &ev, 1, 60000);

	return (void *)(n < 0 ? -(intptr_t)errno : n);
}

static void test_ctl_given_sleeping_waiter_expected_woken_by_add_and_by_close(void **state)
{
	int ep = mtcp_epoll_create1(0), sd = fake_connected(FAKE_ECHO, 0);
	pthread_t t;
	void *n;

	(void)state;
	pthread_create(&t, NULL, epoll_waiter, &ep);
	usleep(30000);
	add(ep, sd, EPOLLOUT);
	pthread_join(t, &n);
	assert_int_equal((intptr_t)n, 1);
	modify(ep, sd, EPOLLIN);
	pthread_create(&t, NULL, epoll_waiter, &ep);
	usleep(30000);
	mtcp_close(ep);
	pthread_join(t, &n);
	assert_int_equal((intptr_t)n, -EBADF);
	mtcp_close(sd);
}

static void *ring_eventfd(void *arg)
{
	uint64_t one = 1;

	usleep(30000);
	return write(*(int *)arg, &one, sizeof(one)) == sizeof(one) ? NULL : arg;
}

static void test_mixed_wait_given_kernel_fd_expected_both_kinds_wake(void **state)
{
	int efd = eventfd(0, EFD_NONBLOCK), ep = mtcp_epoll_create1(0);
	int sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
	struct pollfd k = {.fd = efd, .events = POLLIN}, p = {.fd = sd, .events = POLLIN};
	struct timespec deadline;
	struct epoll_event ev;
	pthread_t t;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += 60;
	add(ep, sd, EPOLLIN);
	pthread_create(&t, NULL, ring_eventfd, &efd);
	assert_int_equal(mtcpi_epoll_wait(ep, &ev, 1, &k, 1, &deadline, NULL), 0);
	assert_int_equal(k.revents, POLLIN);
	pthread_join(t, NULL);
	assert_int_equal(mtcpi_poll(&p, 1, &k, 1, &deadline, NULL), 1);
	assert_int_equal(k.revents, POLLIN);
	assert_int_equal(read(efd, &deadline, 8), 8);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += 60;
	mtcp_send(sd, "x", 1, 0);
	assert_int_equal(mtcpi_epoll_wait(ep, &ev, 1, &k, 1, &deadline, NULL), 1);
	assert_int_equal(ev.events, EPOLLIN);
	assert_int_equal(mtcpi_poll(&p, 1, &k, 1, &deadline, NULL), 1);
	assert_int_equal(p.revents, POLLIN);
	assert_int_equal(k.revents, 0);
	close(efd);
	mtcp_close(sd);
	mtcp_close(ep);
}

static bool readable(void *arg)
{
	return mtcpi_poll_bits(*(int *)arg) & POLLIN;
}

static void *send_later(void *arg)
{
	usleep(30000);
	return mtcp_send(*(int *)arg, "x", 1, 0) == 1 ? NULL : arg;
}

static void test_generic_wait_given_predicate_expected_asked_after_each_change(void **state)
{
	int sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
	struct timespec past = {0, 1};
	pthread_t t;

	(void)state;
	assert_int_equal(mtcpi_wait(NULL, 0, &past, NULL, readable, &sd), 0);
	pthread_create(&t, NULL, send_later, &sd);
	assert_int_equal(mtcpi_wait(NULL, 0, NULL, NULL, readable, &sd), 1);
	pthread_join(t, NULL);
	mtcp_close(sd);
}

static void test_poll_given_invalid_and_negative_expected_pollnval_and_nothing(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0), fresh = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	struct pollfd p[4] = {{.fd = sd, .events = POLLIN | POLLOUT},
		{.fd = 4242, .events = POLLIN}, {.fd = -1, .events = POLLIN, .revents = 5},
		{.fd = fresh, .events = POLLOUT}};

	(void)state;
	assert_int_equal(mtcp_poll(p, 4, 60000), 3);
	assert_int_equal(p[0].revents, POLLOUT);
	assert_int_equal(p[1].revents, POLLNVAL);
	assert_int_equal(p[2].revents, 0);
	assert_int_equal(p[3].revents, POLLOUT | POLLHUP);
	mtcp_close(sd);
	mtcp_close(fresh);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		T(test_level_given_unread_bytes_expected_told_until_read),
		T(test_edge_given_bytes_expected_told_once_per_arrival),
		T(test_edge_given_full_buffer_expected_one_epollout_when_a_third_is_free),
		T(test_oneshot_given_event_expected_silent_until_rearmed),
		T(test_rdhup_given_peer_shutdown_expected_told),
		T(test_ctl_given_wrong_use_expected_kernel_errors),
		T(test_wait_given_many_ready_expected_none_starved),
		T(test_ctl_given_sleeping_waiter_expected_woken_by_add_and_by_close),
		T(test_mixed_wait_given_kernel_fd_expected_both_kinds_wake),
		T(test_generic_wait_given_predicate_expected_asked_after_each_change),
		T(test_poll_given_invalid_and_negative_expected_pollnval_and_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
