/* When the client rings a sleeping engine: once a sleep, at once for what cannot wait, and for the
 * rest at the latest when it waits itself. And that two full rings wait for each other never. */
#include "fake_daemon.h"

#include <netinet/tcp.h>

/* Stops the fake daemon's thread and takes its bells; the engines then sleep until
 * resume_and_close(). */
static void put_to_sleep(void)
{
	fake_pause(fake);
	fake_watch(fake, false);
}

static void resume_and_close(int sd)
{
	fake_watch(fake, true);
	fake->pause = false;
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

/* Rings since the last call, of all engines. */
static uint64_t rings(void)
{
	uint64_t total = 0;

	for (uint32_t e = 0; e < fake->engines; e++) {
		struct pollfd p = {.fd = fake->eventfd[e], .events = POLLIN};
		uint64_t n;

		if (poll(&p, 1, 0) == 1 && read(p.fd, &n, sizeof(n)) == sizeof(n))
			total += n;
	}
	return total;
}

/* A connection with n echoed bytes to read, all told of, and the engines asleep. */
static int connection_with(size_t n)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	static uint8_t buf[1 << 20];

	assert_true(n <= sizeof(buf));
	assert_int_equal(mtcp_write(sd, buf, n), n);
	while (mtcp_recv(sd, buf, sizeof(buf), MSG_PEEK) < (ssize_t)n)
		usleep(1000);
	put_to_sleep();
	rings();
	return sd;
}

static void test_ring_given_small_read_expected_none_until_a_wait(void **state)
{
	int sd = connection_with(100);
	struct pollfd p = {.fd = sd, .events = POLLIN};
	uint8_t buf[200];

	(void)state;
	assert_int_equal(mtcp_read(sd, buf, sizeof(buf)), 100);
	assert_int_equal(rings(), 0);
	assert_int_equal(mtcp_poll(&p, 1, 0), 0);
	assert_int_equal(rings(), 1);
	assert_int_equal(mtcp_poll(&p, 1, 0), 0);
	assert_int_equal(rings(), 0);
	resume_and_close(sd);
}

static void test_ring_given_read_and_answer_expected_one_for_both(void **state)
{
	int sd = connection_with(100);
	struct pollfd p = {.fd = sd, .events = POLLIN};
	uint8_t buf[200];

	(void)state;
	assert_int_equal(mtcp_read(sd, buf, sizeof(buf)), 100);
	assert_int_equal(mtcp_write(sd, buf, 10), 10);
	assert_int_equal(mtcp_write(sd, buf, 10), 10);
	assert_int_equal(rings(), 1);
	assert_int_equal(mtcp_poll(&p, 1, 0), 0);
	assert_int_equal(rings(), 0);
	resume_and_close(sd);
}

static void test_ring_given_read_of_a_quarter_buffer_expected_at_once(void **state)
{
	size_t n = fake->rcvbuf_bytes / 4;
	int sd = connection_with(n);
	static uint8_t buf[1 << 20];

	(void)state;
	assert_true(n > 0);
	assert_int_equal(mtcp_recv(sd, buf, n, MSG_WAITALL), n);
	assert_int_equal(rings(), 1);
	resume_and_close(sd);
}

/* Reads that leave nothing to be read, each of which is small, by who never waits: they must wake
 * the engine all the same before the peer has used up its window. */
static void test_ring_given_many_small_reads_expected_one_a_quarter_window(void **state)
{
	enum { STEP = 100, WINDOW = 40 * STEP };
	uint8_t buf[STEP];
	int sd;

	(void)state;
	fake->window_bytes = WINDOW;
	sd = connection_with(WINDOW);
	for (int i = 1; i <= 40; i++) {
		assert_int_equal(mtcp_read(sd, buf, STEP), STEP);
		assert_int_equal(rings(), i % 10 == 0);
		fake_watch(fake, true); /* the next ring is one of another sleep */
		fake_watch(fake, false);
	}
	resume_and_close(sd);
}

static int connection_that_has_read(size_t n)
{
	uint8_t buf[1000];
	int sd = connection_with(n);

	assert_int_equal(mtcp_fcntl(sd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(mtcp_read(sd, buf, sizeof(buf)), n);
	fake->operations[PROTO_OP_CONSUMED] = 0;
	return sd;
}

static void wait_for(const _Atomic uint32_t *what, uint32_t value)
{
	for (int i = 0; i < 60000 && *what != value; i++)
		usleep(1000);
	assert_int_equal(*what, value);
}

static void test_read_given_answer_expected_told_by_it(void **state)
{
	int sd = connection_that_has_read(100);

	(void)state;
	assert_int_equal(mtcp_write(sd, "answer", 6), 6);
	fake_watch(fake, true);
	fake->pause = false;
	wait_for(&fake->told_by_send, 1);
	assert_int_equal(fake->operations[PROTO_OP_CONSUMED], 0);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

static void test_read_given_wait_expected_told_before(void **state)
{
	int sd = connection_that_has_read(100);
	struct pollfd p = {.fd = sd, .events = POLLIN};

	(void)state;
	assert_int_equal(rings(), 0);
	assert_int_equal(mtcp_poll(&p, 1, 0), 0);
	assert_int_equal(rings(), 1);
	fake_watch(fake, true);
	fake->pause = false;
	wait_for(&fake->operations[PROTO_OP_CONSUMED], 1);
	wait_for(&fake->chunks_used, 0);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

static void test_read_given_read_of_another_expected_told_before(void **state)
{
	int other = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
	int sd = connection_that_has_read(100);
	char byte;

	(void)state;
	assert_errno(mtcp_read(sd, &byte, 1), EAGAIN); /* the same: nothing new */
	assert_errno(mtcp_read(other, &byte, 1), EAGAIN);
	fake_watch(fake, true);
	fake->pause = false;
	wait_for(&fake->operations[PROTO_OP_CONSUMED], 1);
	mtcp_close(other);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

static void test_read_given_close_expected_no_reset(void **state)
{
	int sd = connection_that_has_read(100);

	(void)state;
	assert_int_equal(mtcp_close(sd), 0);
	fake_watch(fake, true);
	fake->pause = false;
	assert_true(fake_is_clean(fake));
	assert_int_equal(fake->operations[PROTO_OP_CONSUMED], 1);
}

static void test_ring_given_each_sleep_expected_one(void **state)
{
	int sd = connection_with(1);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mtcp_write(sd, "ab", 2), 2);
		assert_int_equal(mtcp_write(sd, "cd", 2), 2);
		assert_int_equal(rings(), 1);
		fake_watch(fake, true);
		assert_int_equal(mtcp_write(sd, "ef", 2), 2);
		assert_int_equal(rings(), 0);
		fake_watch(fake, false);
	}
	resume_and_close(sd);
}

static int connecting_with_options(void)
{
	static const int name[] = {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT};
	struct sockaddr_in sa = fake_addr(FAKE_ECHO);
	int sd = mtcp_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), value = 100;

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		assert_int_equal(
			mtcp_setsockopt(sd, IPPROTO_TCP, name[i], &value, sizeof(value)), 0);
	if (mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa)))
		assert_int_equal(errno, EINPROGRESS);
	return sd;
}

/* Each answer to a connect is followed by four submissions, made by who drains, each of which is
 * answered, too: far more than rings of 16 slots hold. */
static void test_ring_given_both_full_and_drainer_submits_expected_all_done(void **state)
{
	enum { N = 300 };
	struct pollfd p = {.events = POLLOUT};
	int sd[N];

	(void)state;
	mtcp_detach();
	fake_free(fake);
	fake = fake_new();
	fake->ring_order_log2 = PROTO_RING_ORDER_MIN;
	assert_int_equal(fake_start(fake), 0);
	for (int i = 0; i < N; i++)
		sd[i] = connecting_with_options();
	for (int i = 0; i < N; i++) {
		p.fd = sd[i];
		assert_int_equal(mtcp_poll(&p, 1, 60000), 1);
		assert_int_equal(p.revents, POLLOUT);
		mtcp_close(sd[i]);
	}
	for (int i = 0; i < 5000 && fake->socks_used; i++) {
		mtcpi_poll_bits(sd[0]); /* takes in GONE: the rings hold few of them */
		usleep(1000);
	}
	assert_true(fake_is_clean(fake));
	assert_int_equal(fake->operations[PROTO_OP_SETOPT], 4 * N);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		T(test_ring_given_small_read_expected_none_until_a_wait),
		T(test_ring_given_read_and_answer_expected_one_for_both),
		T(test_ring_given_read_of_a_quarter_buffer_expected_at_once),
		T(test_ring_given_many_small_reads_expected_one_a_quarter_window),
		T(test_read_given_answer_expected_told_by_it),
		T(test_read_given_wait_expected_told_before),
		T(test_read_given_read_of_another_expected_told_before),
		T(test_read_given_close_expected_no_reset),
		T(test_ring_given_each_sleep_expected_one),
		T(test_ring_given_both_full_and_drainer_submits_expected_all_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
