/* The agent's socket: who may come, what passes each way, and what is done about the rest. */
#include "server_fixture.h"

static struct agent_link *agent_link(void)
{
	return &fx.server->agent;
}

static struct mtcp_agent_hello hello(void)
{
	return (struct mtcp_agent_hello){
		.type = MTCP_AGENT_HELLO, .version = MTCP_AGENT_VERSION, .magic = MTCP_AGENT_MAGIC};
}

static struct mtcp_agent_order order(uint32_t engine)
{
	return (struct mtcp_agent_order){.type = MTCP_AGENT_ORDER,
		.seq = 3,
		.flow = UINT64_C(9) << 32 | engine << 24 | 7,
		.cwnd_bytes = 5000};
}

/* Sends and serves for a moment. */
static void say(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
	run_us(5000);
}

/* A packet, 0 at the end of the connection, -EAGAIN if there is none. */
static ssize_t hear(int fd, void *data, size_t size)
{
	ssize_t n = recv(fd, data, size, MSG_DONTWAIT);

	return n < 0 && errno == ECONNRESET ? 0 : n < 0 ? -errno : n;
}

static bool is_shut_out(int fd)
{
	char byte;

	return hear(fd, &byte, 1) == 0;
}

static int connect_agent(void)
{
	int fd = client_connect(MTCP_AGENT_SOCKET, SOCK_SEQPACKET);

	assert_true(fd >= 0);
	run_us(5000);
	return fd;
}

static int attach_agent(void)
{
	struct mtcp_agent_hello h = hello();
	int fd = connect_agent();

	say(fd, &h, sizeof(h));
	assert_int_equal(hear(fd, &h, sizeof(h)), sizeof(h));
	assert_int_equal(h.type, MTCP_AGENT_HELLO);
	assert_int_equal(h.version, MTCP_AGENT_VERSION);
	assert_int_equal(h.engines, FAKE_ENGINES);
	assert_int_equal(h.slots, 1000);
	assert_int_equal(h.interval_us, 1000);
	assert_string_equal(h.name, "test");
	return fd;
}

static int agent_setup(void **state)
{
	int r;

	fixture_agent = "test";
	r = setup(state);
	for (unsigned int i = 0; i < FAKE_ENGINES; i++)
		fake_engine[i].orders_max = 100;
	return r;
}

static void test_agent_given_hello_is_made_known_to_engines(void **state)
{
	int fd;

	(void)state;
	for (uint32_t round = 1; round <= 2; round++) {
		fd = attach_agent();
		assert_true(agent_link()->attached);
		assert_int_equal(fx.server->counters.agents, round);
		for (unsigned int i = 0; i < FAKE_ENGINES; i++)
			assert_int_equal(fake_engine[i].agent_epoch, round);
		close(fd);
		run_us(5000);
		for (unsigned int i = 0; i < FAKE_ENGINES; i++)
			assert_int_equal(fake_engine[i].agent_epoch, 0);
		assert_false(agent_link()->attached);
	}
	assert_int_equal(fx.server->fds_used, 0);
}

static void test_agent_given_reports_gets_them_in_packets(void **state)
{
	struct mtcp_agent_report r[MTCP_AGENT_BATCH + 1];
	uint32_t count = 0, from[FAKE_ENGINES] = {0};
	int fd = attach_agent();
	ssize_t n;

	(void)state;
	for (uint32_t e = 0; e < FAKE_ENGINES; e++) {
		fake_engine[e].report_count = 100;
		for (uint32_t i = 0; i < 100; i++)
			fake_engine[e].reports[i] = (struct mtcp_agent_report){
				.type = MTCP_AGENT_REPORT, .seq = i, .flow = e << 24};
	}
	run_us(5000);
	while ((n = hear(fd, r, sizeof(r))) > 0) {
		assert_int_equal(n % (ssize_t)sizeof(r[0]), 0);
		assert_true(n <= (ssize_t)sizeof(r) - (ssize_t)sizeof(r[0]));
		for (uint32_t i = 0; i < (uint32_t)n / sizeof(r[0]); i++, count++)
			assert_int_equal(r[i].seq, from[mtcp_agent_engine(r[i].flow)]++);
	}
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(count, 200);
	assert_int_equal(agent_link()->reports, 200);
	close(fd);
}

static void test_agent_given_reader_that_sleeps_leaves_reports_in_their_rings(void **state)
{
	struct mtcp_agent_report r[MTCP_AGENT_BATCH];
	uint32_t count = 0;
	int fd = attach_agent(), small = 16384;
	ssize_t n;

	(void)state;
	assert_int_equal(
		setsockopt(agent_link()->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	fake_engine[0].report_count = 2048;
	for (uint32_t i = 0; i < 2048; i++)
		fake_engine[0].reports[i].seq = i;
	run_us(20000);
	assert_true(fake_engine[0].report_first < 1024);
	assert_true(agent_link()->attached);
	for (uint64_t end_us = loop_now_us() + 5000000; count < 2048;) {
		assert_true(loop_now_us() < end_us);
		turn();
		while ((n = hear(fd, r, sizeof(r))) > 0)
			for (uint32_t i = 0; i < (uint32_t)n / sizeof(r[0]); i++)
				assert_int_equal(r[i].seq, count++);
	}
	close(fd);
}

static void test_agent_given_orders_hands_them_to_the_engine(void **state)
{
	struct mtcp_agent_order o[MTCP_AGENT_BATCH];
	int fd = attach_agent();

	(void)state;
	for (unsigned int i = 0; i < MTCP_AGENT_BATCH; i++)
		o[i] = order(1);
	say(fd, o, sizeof(o[0]));
	assert_int_equal(fake_engine[1].orders, 1);
	assert_memory_equal(&fake_engine[1].last_order, &o[0], sizeof(o[0]));
	assert_int_equal(fake_engine[0].orders, 0);
	assert_int_equal(fake_thread[1].wakes, 1);
	say(fd, o, sizeof(o));
	say(fd, o, sizeof(o));
	assert_int_equal(fake_engine[1].orders, 100);
	assert_int_equal(fx.server->counters.agent_orders_dropped, 29);
	assert_int_equal(fake_thread[1].wakes, 3);
	assert_int_equal(agent_link()->orders, 129);
	close(fd);
}

static void test_agent_given_bad_orders_is_shut_out(void **state)
{
	struct {
		struct mtcp_agent_order o[2];
		size_t len;
	} bad[7];
	const size_t size = sizeof(struct mtcp_agent_order);

	(void)state;
	for (size_t i = 0; i < 7; i++) {
		bad[i].o[0] = bad[i].o[1] = order(0);
		bad[i].len = 2 * size;
	}
	bad[0].len--;
	bad[1].o[1].type = MTCP_AGENT_REPORT;
	bad[2].o[1].flags = 2;
	bad[3].o[1].reserved = 1;
	bad[4].o[1].flow = FAKE_ENGINES << 24;
	bad[5].len = 1;
	bad[6].o[0].type = 0;
	for (size_t i = 0; i < 7; i++) {
		int fd = attach_agent();

		say(fd, bad[i].o, bad[i].len);
		assert_true(is_shut_out(fd));
		assert_int_equal(fx.server->counters.agent_malformed, i + 1);
		assert_int_equal(fake_engine[0].agent_epoch, 0);
		close(fd);
	}
	assert_int_equal(fake_engine[0].orders, 4); /* the good ones before the bad */
}

static void test_agent_given_bad_hello_is_shut_out(void **state)
{
	struct mtcp_agent_hello bad[4] = {hello(), hello(), hello(), hello()};
	struct mtcp_agent_order o = order(0);

	(void)state;
	bad[0].version++;
	bad[1].magic++;
	bad[2].reserved = 1;
	bad[3].name[15] = 'x';
	for (size_t i = 0; i < 4; i++) {
		int fd = connect_agent();

		say(fd, &bad[i], sizeof(bad[i]));
		assert_true(is_shut_out(fd));
		close(fd);
	}
	int fd = connect_agent();

	say(fd, &o, sizeof(o));
	assert_true(is_shut_out(fd));
	assert_int_equal(fx.server->counters.agent_malformed, 5);
	assert_int_equal(fx.server->counters.agents, 0);
	close(fd);
}

static void test_agent_given_second_one_refuses_it(void **state)
{
	int first = attach_agent(), second = connect_agent();

	(void)state;
	assert_true(is_shut_out(second));
	assert_int_equal(fx.server->counters.agents_refused, 1);
	assert_true(agent_link()->attached);
	close(second);
	close(first);
}

/* In the child: 0 if the daemon closes at once. */
static int try_as_stranger(void)
{
	struct mtcp_agent_hello h = hello();
	int fd;

	if (setgid(STRANGER) || setuid(STRANGER))
		return 2;
	fd = client_connect(MTCP_AGENT_SOCKET, SOCK_SEQPACKET);
	if (fd < 0)
		return 3;
	(void)!send(fd, &h, sizeof(h), MSG_NOSIGNAL);
	return recv(fd, &h, sizeof(h), 0) > 0;
}

static void test_agent_given_another_user_refuses_unless_configured(void **state)
{
	pid_t pid;

	(void)state;
	if (geteuid())
		skip();
	for (int may = 0; may < 2; may++) {
		if (may)
			agent_link()->uid = STRANGER;
		pid = fork();
		if (pid == 0)
			_exit(try_as_stranger());
		assert_int_equal(run_child(pid), may);
		run_us(5000);
	}
	assert_int_equal(fx.server->counters.agents_refused, 1);
	assert_int_equal(fx.server->counters.agents, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, agent_setup, teardown)
		T(test_agent_given_hello_is_made_known_to_engines),
		T(test_agent_given_reports_gets_them_in_packets),
		T(test_agent_given_reader_that_sleeps_leaves_reports_in_their_rings),
		T(test_agent_given_orders_hands_them_to_the_engine),
		T(test_agent_given_bad_orders_is_shut_out),
		T(test_agent_given_bad_hello_is_shut_out),
		T(test_agent_given_second_one_refuses_it),
		T(test_agent_given_another_user_refuses_unless_configured),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
