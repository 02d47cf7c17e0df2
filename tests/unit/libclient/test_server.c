/* Listening and accepting; names. */
#include "fake_daemon.h"

#include <netinet/tcp.h>

static void test_accept_given_connections_on_two_engines_expected_each_once(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK), c[40], s[40], n = 0;
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	struct pollfd p = {.fd = l, .events = POLLIN};
	char byte;

	(void)state;
	assert_errno(mtcp_accept(l, NULL, NULL), EAGAIN);
	assert_int_equal(mtcp_poll(&p, 1, 10), 0);
	for (int i = 0; i < 40; i++)
		c[i] = fake_connected(8080, 0);
	while (n < 40) {
		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		s[n] = mtcp_accept4(l, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK);
		assert_true(s[n] >= 0 || errno == EAGAIN);
		n += s[n] >= 0;
	}
	assert_int_equal(len, sizeof(sa));
	assert_int_equal(sa.sin_addr.s_addr, inet_addr("10.0.0.2"));
	assert_errno(mtcp_accept(l, NULL, NULL), EAGAIN);
	assert_int_equal(mtcp_fcntl(s[0], F_GETFL), O_RDWR | O_NONBLOCK);
	for (int i = 0; i < 40; i++) {
		byte = (char)i;
		assert_int_equal(mtcp_send(c[i], &byte, 1, 0), 1);
	}
	for (uint64_t seen = 0; seen != (UINT64_C(1) << 40) - 1;)
		for (int i = 0; i < 40; i++)
			if (mtcp_recv(s[i], &byte, 1, 0) == 1)
				seen |= UINT64_C(1) << byte;
	for (int i = 0; i < 40; i++) {
		mtcp_close(c[i]);
		mtcp_close(s[i]);
	}
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

/* Who asks again and again and never waits: its accepts of connections to come are heard of. */
static void test_accept_given_none_left_expected_engines_rung_for_those_ahead(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK), c[2], s[2];
	struct pollfd p = {.fd = l, .events = POLLIN}, bells[PROTO_ENGINES_MAX];
	uint64_t rings;

	(void)state;
	for (int i = 0; i < 2; i++) {
		c[i] = fake_connected(8080, 0);
		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		if (i == 1)
			break;
		s[i] = mtcp_accept(l, NULL, NULL);
		assert_true(s[i] >= 0);
	}
	fake_pause(fake);
	fake_watch(fake, false);
	for (uint32_t e = 0; e < fake->engines; e++) {
		bells[e] = (struct pollfd){.fd = fake->eventfd[e], .events = POLLIN};
		while (read(bells[e].fd, &rings, sizeof(rings)) > 0)
			;
	}
	s[1] = mtcp_accept(l, NULL, NULL); /* its answer is here already */
	assert_true(s[1] >= 0);
	assert_errno(mtcp_accept(l, NULL, NULL), EAGAIN);
	assert_int_equal(poll(bells, fake->engines, 0), fake->engines);
	fake->pause = false;
	for (int i = 0; i < 2; i++) {
		mtcp_close(c[i]);
		mtcp_close(s[i]);
	}
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

static void *connect_later(void *arg)
{
	usleep(30000);
	*(int *)arg = fake_connected(8080, 0);
	return NULL;
}

static void test_accept_given_blocking_expected_wakes_for_connection(void **state)
{
	int l = fake_listening(8080, 0), c = -1, s;
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, connect_later, &c);
	s = mtcp_accept(l, NULL, NULL);
	assert_true(s >= 0);
	pthread_join(t, NULL);
	mtcp_close(s);
	mtcp_close(c);
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

static void *accept_loop(void *arg)
{
	int l = *(int *)arg, s;
	intptr_t n = 0;

	while ((s = mtcp_accept(l, NULL, NULL)) >= 0) {
		n++;
		mtcp_close(s);
	}
	return (void *)(errno == EINVAL ? n : -1);
}

static void test_accept_given_four_threads_expected_none_lost(void **state)
{
	enum { CONNECTIONS = 200 };
	int l = fake_listening(8080, 0);
	pthread_t t[4];
	intptr_t total = 0;
	void *n;
	char c;

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, accept_loop, &l);
	for (int i = 0; i < CONNECTIONS; i++) {
		int sd = fake_connected(8080, 0);

		assert_int_equal(mtcp_recv(sd, &c, 1, 0), 0);
		mtcp_close(sd);
	}
	assert_int_equal(mtcp_shutdown(l, SHUT_RD), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &n);
		assert_true((intptr_t)n >= 0);
		total += (intptr_t)n;
	}
	assert_int_equal(total, CONNECTIONS);
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

static void test_close_given_unaccepted_connections_expected_reset(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK), c[20], s = -1;
	char byte;

	(void)state;
	for (int i = 0; i < 20; i++)
		c[i] = fake_connected(8080, 0);
	while (s < 0) /* the batch asks for more than one */
		s = mtcp_accept(l, NULL, NULL);
	mtcp_close(s);
	mtcp_close(l);
	for (int i = 0; i < 20; i++) {
		ssize_t n = mtcp_recv(c[i], &byte, 1, 0);

		assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
		mtcp_close(c[i]);
	}
	assert_true(fake_is_clean(fake));
}

static void test_accept_given_daemon_refuses_expected_emfile_then_recovers(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK), c = fake_connected(8080, 0), s;
	struct pollfd p = {.fd = l, .events = POLLIN};

	(void)state;
	fake->refuse_accept = true;
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	assert_errno(mtcp_accept(l, NULL, NULL), EMFILE);
	fake->refuse_accept = false;
	assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
	s = mtcp_accept(l, NULL, NULL);
	assert_true(s >= 0);
	mtcp_close(s);
	mtcp_close(c);
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

static void test_names_given_bind_expected_linux_results(void **state)
{
	struct sockaddr_in sa = fake_addr(8080), got = {0};
	socklen_t len = sizeof(got);
	int l = fake_listening(8080, 0), s = mtcp_socket(AF_INET, SOCK_STREAM, 0), c;

	(void)state;
	assert_errno(mtcp_bind(s, (struct sockaddr *)&sa, sizeof(sa)), EADDRINUSE);
	assert_errno(mtcp_bind(s, (struct sockaddr *)&sa, 4), EINVAL);
	sa.sin_family = AF_INET6;
	assert_errno(mtcp_bind(s, (struct sockaddr *)&sa, sizeof(sa)), EAFNOSUPPORT);
	assert_int_equal(mtcp_listen(s, 1), 0); /* a name of its own */
	assert_int_equal(mtcp_getsockname(s, (struct sockaddr *)&got, &len), 0);
	assert_true(ntohs(got.sin_port) >= 50000);
	assert_errno(mtcp_getpeername(s, (struct sockaddr *)&got, &len), ENOTCONN);
	c = fake_connected(8080, 0);
	assert_int_equal(mtcp_getpeername(c, (struct sockaddr *)&got, &len), 0);
	assert_int_equal(ntohs(got.sin_port), 8080);
	assert_int_equal(got.sin_addr.s_addr, inet_addr("10.0.0.2"));
	assert_int_equal(mtcp_getsockname(c, (struct sockaddr *)&got, &len), 0);
	assert_int_equal(got.sin_addr.s_addr, inet_addr("10.0.0.1"));
	assert_errno(mtcp_accept(c, NULL, NULL), EINVAL);
	mtcp_close(c);
	mtcp_close(s);
	mtcp_close(l);
}

static void test_listener_given_closed_and_reopened_expected_works(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		int l = fake_listening(8080, 0), c = fake_connected(8080, 0);
		int s = mtcp_accept(l, NULL, NULL);

		assert_true(s >= 0);
		mtcp_close(l);
		mtcp_close(c);
		mtcp_close(s);
	}
	assert_true(fake_is_clean(fake));
}

/* What an ACCEPT remembers of its listener is nothing to the connection that comes of it. */
static void test_accept_given_thousands_on_one_listener_expected_the_last_can_send(void **state)
{
	int l = fake_listening(8080, 0);

	(void)state;
	for (int i = 0; i < 4500; i++) { /* more than a socket may have blocks, on two engines */
		int c = fake_connected(8080, 0), s = mtcp_accept(l, NULL, NULL);

		assert_true(s >= 0);
		assert_int_equal(mtcp_send(s, "x", 1, MSG_DONTWAIT), 1);
		mtcp_close(c);
		mtcp_close(s);
	}
	mtcp_close(l);
}

/* What a listener keeps lies where a connection has its transmit memory. */
static void test_listener_given_shutdown_and_connect_expected_a_connection(void **state)
{
	struct sockaddr_in sa = fake_addr(FAKE_ECHO);
	int sd = fake_listening(8080, 0);
	char buf[3];

	(void)state;
	assert_int_equal(mtcp_shutdown(sd, SHUT_RDWR), 0);
	assert_errno(mtcp_send(sd, "abc", 3, MSG_NOSIGNAL), EPIPE);
	assert_int_equal(mtcpi_send_space(sd), 0);
	assert_int_equal(mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(mtcp_send(sd, "abc", 3, 0), 3);
	assert_int_equal(mtcp_recv(sd, buf, 3, MSG_WAITALL), 3);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

/* Each sleep for an answer is one of the program's, and of the engine's, too. */
static void test_accept_given_many_waiting_expected_few_sleeps(void **state)
{
	enum { N = 120 };
	int l = fake_listening(8080, 0), c[N], s[N];
	struct mtcp_stats before, after;

	(void)state;
	for (int i = 0; i < N; i++)
		c[i] = fake_connected(8080, 0);
	mtcp_stats(&before);
	for (int i = 0; i < N; i++) {
		s[i] = mtcp_accept(l, NULL, NULL);
		assert_true(s[i] >= 0);
	}
	mtcp_stats(&after);
	assert_true(after.sleeps - before.sleeps < N / 4);
	for (int i = 0; i < N; i++) {
		mtcp_close(c[i]);
		mtcp_close(s[i]);
	}
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

/* A server that accepted some has asked for the next before they come: each costs it one sleep, the
 * one in poll. */
static void test_accept_given_one_after_another_expected_no_sleep_for_answers(void **state)
{
	enum { N = 64 };
	int l = fake_listening(8080, SOCK_NONBLOCK), c, s;
	struct pollfd p = {.fd = l, .events = POLLIN};
	struct mtcp_stats before, after;

	(void)state;
	for (int i = 0; i < N; i++) {
		if (i == N / 2)
			mtcp_stats(&before);
		c = fake_connected(8080, 0);
		assert_int_equal(mtcp_poll(&p, 1, 5000), 1);
		s = mtcp_accept(l, NULL, NULL);
		assert_true(s >= 0);
		mtcp_close(c);
		mtcp_close(s);
	}
	mtcp_stats(&after);
	/* two for each connect and at most one for each poll: none for accept */
	assert_true(after.sleeps - before.sleeps <= 3 * N / 2);
	assert_errno(mtcp_accept(l, NULL, NULL), EAGAIN);
	assert_int_equal(mtcp_poll(&p, 1, 10), 0);
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

/* What waits at the daemon for a connection is answered when the listener ends, and it may be
 * one again at once. */
static void test_shutdown_given_accepts_that_wait_expected_may_listen_again(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK);
	struct pollfd p = {.fd = l, .events = POLLIN};

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 40; i++) {
			int c = fake_connected(8080, 0), s;

			assert_int_equal(mtcp_poll(&p, 1, 5000), 1);
			s = mtcp_accept(l, NULL, NULL);
			assert_true(s >= 0);
			mtcp_close(c);
			mtcp_close(s);
		}
		assert_int_equal(mtcp_shutdown(l, SHUT_RD), 0);
		assert_errno(mtcp_accept(l, NULL, NULL), EINVAL);
		assert_int_equal(mtcp_listen(l, 5), 0);
	}
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

/* Refusals of ACCEPTs that waited are nobody's error; who accepts then asks, and is told. */
static void test_accept_given_waiting_ones_refused_expected_error_while_it_lasts(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK), c[3], s;
	struct pollfd p = {.fd = l, .events = POLLIN};

	(void)state;
	c[0] = fake_connected(8080, 0);
	assert_int_equal(mtcp_poll(&p, 1, 5000), 1);
	s = mtcp_accept(l, NULL, NULL);
	assert_true(s >= 0);
	fake->refuse_accept = true;
	c[1] = fake_connected(8080, 0);
	c[2] = fake_connected(8080, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mtcp_poll(&p, 1, 5000), 1);
		assert_errno(mtcp_accept(l, NULL, NULL), EMFILE);
	}
	fake->refuse_accept = false;
	mtcp_close(s);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(mtcp_poll(&p, 1, 5000), 1);
		s = mtcp_accept(l, NULL, NULL);
		assert_true(s >= 0);
		mtcp_close(s);
	}
	assert_errno(mtcp_accept(l, NULL, NULL), EAGAIN);
	for (int i = 0; i < 3; i++)
		mtcp_close(c[i]);
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

/* A thread that accepted has asked for more; the answers lie in its ring when it is gone, and who
 * only ever asks without waiting finds them there. */
static void *accept_one(void *arg)
{
	return (void *)(intptr_t)mtcp_accept(*(int *)arg, NULL, NULL);
}

static void accept_behind_a_thread(void)
{
	int l = fake_listening(8080, 0), c[2], s = -1;
	struct sockaddr_in sa = fake_addr(8080);
	pthread_t t;
	void *sd;

	c[0] = fake_connected(8080, 0);
	pthread_create(&t, NULL, accept_one, &l);
	pthread_join(t, &sd);
	assert_true((intptr_t)sd >= 0);
	mtcp_close((int)(intptr_t)sd);
	assert_int_equal(mtcp_fcntl(l, F_SETFL, O_NONBLOCK), 0);
	c[1] = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_errno(mtcp_connect(c[1], (struct sockaddr *)&sa, sizeof(sa)), EINPROGRESS);
	for (int i = 0; s < 0 && i < 60000; i++) {
		usleep(1000);
		s = mtcp_accept(l, NULL, NULL);
	}
	assert_true(s >= 0);
	mtcp_close(s);
	mtcp_close(c[0]);
	mtcp_close(c[1]);
	mtcp_close(l);
}

static void test_accept_given_asking_thread_ended_expected_found_without_a_wait(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) /* threads have contexts in turn, of which there are two */
		accept_behind_a_thread();
	assert_true(fake_is_clean(fake));
}

/* What is set of the listener counts for who comes after, however early he was asked for. */
static void test_accept_given_options_set_since_it_was_asked_expected_inherited(void **state)
{
	int l = fake_listening(8080, 0), c[2], s[2], on = 1, got = 0;
	struct linger linger = {1, 7}, got_linger = {0};
	socklen_t len = sizeof(got);

	(void)state;
	for (int i = 0; i < 2; i++) {
		c[i] = fake_connected(8080, 0);
		s[i] = mtcp_accept(l, NULL, NULL);
		assert_true(s[i] >= 0);
		if (i > 0)
			break;
		assert_int_equal(mtcp_setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
		assert_int_equal(
			mtcp_setsockopt(l, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(mtcp_getsockopt(s[i], IPPROTO_TCP, TCP_NODELAY, &got, &len), 0);
		assert_int_equal(got, i);
		len = sizeof(got_linger);
		assert_int_equal(
			mtcp_getsockopt(s[i], SOL_SOCKET, SO_LINGER, &got_linger, &len), 0);
		assert_int_equal(got_linger.l_linger, i ? 7 : 0);
		len = sizeof(got);
		mtcp_close(c[i]);
		mtcp_close(s[i]);
	}
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

/* Those that wait for a connection to come take no place from the program's own. */
static void test_socket_given_accepts_that_wait_expected_all_places(void **state)
{
	enum { MAX = 1000 };
	int l = fake_listening(8080, SOCK_NONBLOCK), sd[MAX], s;
	struct pollfd p = {.fd = l, .events = POLLIN};

	(void)state;
	for (int i = 0; i < 80; i++) {
		int c = fake_connected(8080, 0);

		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		s = mtcp_accept(l, NULL, NULL);
		assert_true(s >= 0);
		mtcp_close(c);
		mtcp_close(s);
	}
	assert_true(fake_is_clean(fake)); /* closed, and their places free */
	mtcp_poll(&p, 1, 10);
	sd[0] = fake_connected(8080, 0);
	for (int i = 1; i < MAX - 1; i++) {
		sd[i] = mtcp_socket(AF_INET, SOCK_STREAM, 0);
		assert_true(sd[i] >= 0);
	}
	assert_errno(mtcp_socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		assert_errno(mtcp_accept(l, NULL, NULL), EMFILE);
	}
	mtcp_close(sd[MAX - 2]);
	s = mtcp_accept(l, NULL, NULL);
	assert_true(s >= 0);
	assert_errno(mtcp_accept(l, NULL, NULL), EAGAIN);
	assert_errno(mtcp_socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	mtcp_close(s);
	for (int i = 0; i < MAX - 2; i++)
		mtcp_close(sd[i]);
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

static void tell_pending(int sd, uint32_t pending, uint32_t seq)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_EV_LISTEN, 0)};
	const struct fake_listener *l = fake->listener;

	while (!l->used)
		l++;
	slot.body.listen_state = (struct proto_listen_state){
		.cookie = (uint32_t)sd, .gen = l->gen, .pending = pending, .listen_seq = seq};
	assert_true(fake_push(fake, l->ctx, 0, &slot));
}

/* The rings of several threads are not read in the order in which they were written. */
static void test_listener_given_tellings_out_of_order_expected_the_later_holds(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK);
	struct pollfd p = {.fd = l, .events = POLLIN};

	(void)state;
	fake_pause(fake);
	tell_pending(l, 1, UINT32_MAX);
	assert_int_equal(mtcp_poll(&p, 1, 10), 0); /* before 0 */
	tell_pending(l, 1, 5);
	tell_pending(l, 0, 4);
	assert_int_equal(mtcp_poll(&p, 1, 10), 1);
	tell_pending(l, 0, 6);
	tell_pending(l, 1, 5);
	assert_int_equal(mtcp_poll(&p, 1, 10), 0);
	fake->pause = false;
	mtcp_close(l);
	assert_true(fake_is_clean(fake));
}

static void *kill_later(void *arg)
{
	usleep(50000);
	fake_kill(fake);
	return arg;
}

/* A server goes on accepting whatever the error, so one that was told may not be told again. */
static void test_accept_given_daemon_gone_expected_one_error_then_silence(void **state)
{
	int l = fake_listening(8080, SOCK_NONBLOCK), ep = mtcp_epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	struct pollfd p = {.fd = l, .events = POLLIN};
	pthread_t t;

	(void)state;
	assert_int_equal(mtcp_epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev), 0);
	pthread_create(&t, NULL, kill_later, NULL);
	assert_int_equal(mtcp_epoll_wait(ep, &ev, 1, 60000), 1);
	pthread_join(t, NULL);
	assert_int_equal(ev.events, EPOLLIN);
	assert_errno(mtcp_accept(l, NULL, NULL), ENETDOWN);
	assert_int_equal(mtcp_epoll_wait(ep, &ev, 1, 10), 0);
	assert_int_equal(mtcp_poll(&p, 1, 10), 0);
	assert_errno(mtcp_accept(l, NULL, NULL), EAGAIN);
	mtcp_close(ep);
	assert_int_equal(mtcp_close(l), 0);
}

static void *close_later(void *arg)
{
	usleep(50000);
	mtcp_close(*(int *)arg);
	return NULL;
}

static void test_accept_given_daemon_gone_and_blocking_expected_one_error_then_sleep(void **state)
{
	int l = fake_listening(8080, 0);
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, kill_later, NULL);
	assert_errno(mtcp_accept(l, NULL, NULL), ENETDOWN);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, close_later, &l);
	assert_errno(mtcp_accept(l, NULL, NULL), EBADF);
	pthread_join(t, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		T(test_accept_given_connections_on_two_engines_expected_each_once),
		T(test_accept_given_none_left_expected_engines_rung_for_those_ahead),
		T(test_accept_given_blocking_expected_wakes_for_connection),
		T(test_accept_given_four_threads_expected_none_lost),
		T(test_close_given_unaccepted_connections_expected_reset),
		T(test_accept_given_daemon_refuses_expected_emfile_then_recovers),
		T(test_names_given_bind_expected_linux_results),
		T(test_listener_given_closed_and_reopened_expected_works),
		T(test_accept_given_thousands_on_one_listener_expected_the_last_can_send),
		T(test_listener_given_shutdown_and_connect_expected_a_connection),
		T(test_accept_given_many_waiting_expected_few_sleeps),
		T(test_accept_given_one_after_another_expected_no_sleep_for_answers),
		T(test_shutdown_given_accepts_that_wait_expected_may_listen_again),
		T(test_accept_given_waiting_ones_refused_expected_error_while_it_lasts),
		T(test_socket_given_accepts_that_wait_expected_all_places),
		T(test_listener_given_tellings_out_of_order_expected_the_later_holds),
		T(test_accept_given_asking_thread_ended_expected_found_without_a_wait),
		T(test_accept_given_options_set_since_it_was_asked_expected_inherited),
		T(test_accept_given_daemon_gone_expected_one_error_then_silence),
		T(test_accept_given_daemon_gone_and_blocking_expected_one_error_then_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
