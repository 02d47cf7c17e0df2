/* Many threads over few contexts: every byte comes back, every sleeper is woken. */
#include <libclient/client.h>

#include "fake_daemon.h"

enum {
	THREADS = 4,
};

/* Connects, which takes a context that no thread had before, and then wakes the sleeper. */
static void *late_comer(void *arg)
{
	char c = 'x';
	int sd;

	usleep(50000);
	sd = fake_connected(FAKE_ECHO, 0);
	assert_int_equal(mtcp_send(sd, &c, 1, 0), 1);
	assert_int_equal(mtcp_recv(sd, &c, 1, 0), 1);
	assert_int_equal(mtcp_close(sd), 0);
	assert_int_equal(mtcp_send(*(int *)arg, &c, 1, 0), 1);
	return NULL;
}

/* The first test: later, threads have had every context. */
static void test_leader_given_further_context_while_asleep_expected_its_events(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	pthread_t t;
	char c;

	(void)state;
	assert_int_equal(wait_contexts(), 1);
	pthread_create(&t, NULL, late_comer, &sd);
	assert_int_equal(mtcp_recv(sd, &c, 1, 0), 1);
	pthread_join(t, NULL);
	assert_int_equal(wait_contexts(), 2);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

static int rounds = 3000;
static uint32_t max_bytes = 3000;

/* Blocking request and response on a socket of its own. */
static void *echo_blocking(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	int sd = fake_connected(FAKE_ECHO, 0);
	static __thread uint8_t out[65536], in[65536];

	for (int i = 0; i < rounds; i++) {
		size_t n = 1 + (size_t)rand_r(&seed) % max_bytes;

		for (size_t k = 0; k < n; k++)
			out[k] = fake_byte((uint64_t)i * 977 + k * seed);
		if (mtcp_send(sd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
			return "send";
		if (mtcp_recv(sd, in, n, MSG_WAITALL) != (ssize_t)n)
			return "recv";
		if (memcmp(out, in, n))
			return "bytes differ";
	}
	return mtcp_close(sd) ? "close" : NULL;
}

static void run(void *(*fn)(void *), int threads)
{
	pthread_t t[16];
	void *failed;

	for (int i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, fn, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < threads; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	assert_true(fake_is_clean(fake));
}

static void test_blocking_echo_given_four_threads_expected_all_bytes(void **state)
{
	(void)state;
	run(echo_blocking, THREADS);
}

static void test_blocking_echo_given_tiny_rings_expected_all_bytes(void **state)
{
	(void)state;
	mtcp_detach();
	fake_free(fake);
	fake = fake_new();
	fake->ring_order_log2 = PROTO_RING_ORDER_MIN;
	fake->budget = 500;
	assert_int_equal(fake_start(fake), 0);
	run(echo_blocking, 8);
}

static int shared_epoll;
static _Atomic int left;

/* Several threads wait on one instance; each socket is one-shot, so one thread has it. */
static void *epoll_worker(void *arg)
{
	struct epoll_event ev;
	char buf[256];

	(void)arg;
	while (atomic_load(&left) > 0) {
		int n = mtcp_epoll_wait(shared_epoll, &ev, 1, 2000);
		ssize_t got;

		if (n < 0)
			return "epoll_wait";
		if (!n && atomic_load(&left) > 0)
			return "a wake was lost";
		if (!n)
			break;
		while ((got = mtcp_recv(ev.data.fd, buf, sizeof(buf), 0)) > 0) {
			if (mtcp_send(ev.data.fd, buf, (size_t)got, MSG_NOSIGNAL) != got)
				return "send";
			atomic_fetch_sub(&left, 1);
		}
		ev.events = EPOLLIN | EPOLLONESHOT;
		if (mtcp_epoll_ctl(shared_epoll, EPOLL_CTL_MOD, ev.data.fd, &ev))
			return "ctl";
	}
	return NULL;
}

static void test_shared_epoll_given_four_workers_expected_no_lost_wake(void **state)
{
	int sd[32];

	(void)state;
	shared_epoll = mtcp_epoll_create1(0);
	atomic_store(&left, 20000);
	for (int i = 0; i < 32; i++) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT};

		sd[i] = fake_connected(FAKE_ECHO, SOCK_NONBLOCK);
		ev.data.fd = sd[i];
		assert_int_equal(mtcp_epoll_ctl(shared_epoll, EPOLL_CTL_ADD, sd[i], &ev), 0);
		assert_int_equal(mtcp_send(sd[i], "x", 1, 0), 1);
	}
	{
		pthread_t t[THREADS];
		void *failed;

		for (int i = 0; i < THREADS; i++)
			pthread_create(&t[i], NULL, epoll_worker, NULL);
		for (int i = 0; i < THREADS; i++) {
			pthread_join(t[i], &failed);
			assert_null(failed);
		}
	}
	for (int i = 0; i < 32; i++)
		mtcp_close(sd[i]);
	mtcp_close(shared_epoll);
}

/* Short connections to a listener of the same process. */
static int listener;

static void *serve(void *arg)
{
	char buf[64];
	int s;

	while ((s = mtcp_accept(listener, NULL, NULL)) >= 0) {
		ssize_t n = mtcp_recv(s, buf, sizeof(buf), 0);

		if (n <= 0 || mtcp_send(s, buf, (size_t)n, MSG_NOSIGNAL) != n)
			return "serve";
		mtcp_close(s);
	}
	(void)arg;
	return errno == EINVAL ? NULL : "accept";
}

static void *call(void *arg)
{
	char buf[64];

	(void)arg;
	for (int i = 0; i < 300; i++) {
		int sd = fake_connected(8080, 0);

		if (mtcp_send(sd, "hello", 5, 0) != 5)
			return "send";
		if (mtcp_recv(sd, buf, sizeof(buf), 0) != 5 || memcmp(buf, "hello", 5))
			return "recv";
		if (mtcp_recv(sd, buf, sizeof(buf), 0) != 0)
			return "eof";
		mtcp_close(sd);
	}
	return NULL;
}

static void test_short_connections_given_servers_and_callers_expected_clean_end(void **state)
{
	pthread_t server[THREADS];
	void *failed;

	(void)state;
	listener = fake_listening(8080, 0);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&server[i], NULL, serve, NULL);
	run(call, THREADS);
	mtcp_shutdown(listener, SHUT_RDWR);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(server[i], &failed);
		assert_null(failed);
	}
	mtcp_close(listener);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		T(test_leader_given_further_context_while_asleep_expected_its_events),
		T(test_blocking_echo_given_four_threads_expected_all_bytes),
		T(test_blocking_echo_given_tiny_rings_expected_all_bytes),
		T(test_shared_epoll_given_four_workers_expected_no_lost_wake),
		T(test_short_connections_given_servers_and_callers_expected_clean_end),
	};

	if (getenv("MTCP_TEST_ROUNDS"))
		rounds = atoi(getenv("MTCP_TEST_ROUNDS"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
