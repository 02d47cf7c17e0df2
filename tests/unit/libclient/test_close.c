/* close() and shutdown(): how long they wait, and what is told to whom. */
#include "fake_daemon.h"

#include <poll.h>
#include <time.h>

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void set_linger(int sd, int seconds)
{
	struct linger linger = {1, seconds};

	assert_int_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
}

/* A connection that holds three bytes, none of which is acknowledged until it is released. */
static int holding(int linger_s)
{
	int sd = fake_connected(FAKE_HOLD, 0);

	assert_int_equal(mtcp_send(sd, "abc", 3, 0), 3);
	set_linger(sd, linger_s);
	fake->hold_gone = true; /* nor does the peer close: that is not waited for */
	return sd;
}

static void *release_later(void *arg)
{
	usleep(300000);
	((struct fake *)arg)->release = true;
	return NULL;
}

static void test_close_given_linger_expected_waits_for_the_acknowledgement(void **state)
{
	/* 5000000 s in ms do not fit an int, and Linux takes a negative time for a long one */
	static const int seconds[] = {30, 5000000, -1};

	(void)state;
	for (int i = 0; i < 3; i++) {
		int sd = holding(seconds[i]);
		uint64_t start = now_ms();
		pthread_t t;

		fake->release = false;
		pthread_create(&t, NULL, release_later, fake);
		assert_int_equal(mtcp_close(sd), 0);
		assert_in_range(now_ms() - start, 250, 20000);
		pthread_join(t, NULL);
		assert_int_equal(fake->pieces_used, 0);
	}
}

static void test_close_given_linger_over_expected_returns_and_goes_on(void **state)
{
	int sd = holding(1);
	uint64_t start = now_ms();

	(void)state;
	assert_int_equal(mtcp_close(sd), 0);
	assert_in_range(now_ms() - start, 990, 10000);
	assert_errno(mtcp_send(sd, "d", 1, 0), EBADF);
	assert_int_equal(fake->pieces_used, 1); /* the daemon goes on without us */
}

/* As on Linux: O_NONBLOCK makes no difference to it. */
static void test_close_given_linger_and_nonblocking_expected_waits(void **state)
{
	int sd = holding(1);
	uint64_t start = now_ms();

	(void)state;
	assert_int_equal(mtcp_fcntl(sd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(mtcp_close(sd), 0);
	assert_in_range(now_ms() - start, 990, 10000);
}

static void test_close_given_linger_and_all_acknowledged_expected_no_wait(void **state)
{
	int sd = fake_connected(FAKE_DISCARD, 0), idle = fake_connected(FAKE_DISCARD, 0);
	uint64_t start;

	(void)state;
	fake->hold_gone = true;
	assert_int_equal(mtcp_send(sd, "abc", 3, 0), 3);
	set_linger(sd, 30);
	set_linger(idle, 30);
	start = now_ms();
	assert_int_equal(mtcp_close(sd), 0);
	assert_int_equal(mtcp_close(idle), 0);
	assert_true(now_ms() - start < 10000);
}

static void test_close_given_daemon_gone_while_lingering_expected_returns(void **state)
{
	int sd = holding(30);
	uint64_t start = now_ms();

	(void)state;
	fake_kill(fake);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(now_ms() - start < 10000);
}

static void test_shutdown_given_wrong_use_expected_linux_errors(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0), fresh = mtcp_socket(AF_INET, SOCK_STREAM, 0);
	int listening = fake_listening(8081, 0);

	(void)state;
	assert_errno(mtcp_shutdown(sd, 3), EINVAL);
	assert_errno(mtcp_shutdown(sd, -1), EINVAL);
	assert_errno(mtcp_shutdown(9999, SHUT_WR), EBADF);
	assert_errno(mtcp_shutdown(fresh, SHUT_RDWR), ENOTCONN);
	assert_int_equal(mtcp_shutdown(listening, SHUT_WR), 0); /* changes nothing */
	assert_int_equal(mtcp_listen(listening, 5), 0);
	assert_errno(mtcp_close(-1), EBADF);
	assert_errno(mtcp_close(9999), EBADF);
	mtcp_close(listening);
	mtcp_close(fresh);
	mtcp_close(sd);
	assert_true(fake_is_clean(fake));
}

/* The operations that reach the engine: one SHUTDOWN however often it is asked for. */
static void test_shutdown_given_repeated_expected_told_once(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	char c;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(mtcp_shutdown(sd, SHUT_WR), 0);
	assert_int_equal(mtcp_read(sd, &c, 1), 0); /* the echo of the end */
	assert_int_equal(fake->operations[PROTO_OP_SHUTDOWN], 1);
	assert_errno(mtcp_send(sd, "x", 1, MSG_NOSIGNAL), EPIPE);
	mtcp_close(sd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_close_given_linger_expected_waits_for_the_acknowledgement),
		T(test_close_given_linger_over_expected_returns_and_goes_on),
		T(test_close_given_linger_and_nonblocking_expected_waits),
		T(test_close_given_linger_and_all_acknowledged_expected_no_wait),
		T(test_close_given_daemon_gone_while_lingering_expected_returns),
		T(test_shutdown_given_wrong_use_expected_linux_errors),
		T(test_shutdown_given_repeated_expected_told_once),
	};

	return cmocka_run_group_tests_name("close", tests, NULL, NULL);
}
