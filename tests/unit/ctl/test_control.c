/* The control protocol: answers, filters, bounds; that 100,000 flows flow only as fast as they
 * are read; and that a connection that goes in the middle takes nothing along. */
#include "server_fixture.h"

#include <jansson.h>

static char answer_text[1 << 20];

static int ctl_connect(void)
{
	int fd = client_connect("mtcpctl.sock", SOCK_STREAM);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* Reads the next line, serving meanwhile; NULL at the end of the connection. */
static json_t *ctl_line(int fd)
{
	uint64_t end_us = loop_now_us() + PATIENCE_US;
	size_t len = 0;
	json_t *obj;

	while (loop_now_us() < end_us) {
		ssize_t n = recv(fd, answer_text + len, 1, 0);

		if (n == 0)
			return NULL;
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			turn();
			continue;
		}
		if (answer_text[len++] == '\n')
			break;
		assert_true(len < sizeof(answer_text));
	}
	obj = json_loadb(answer_text, len, 0, NULL);
	assert_non_null(obj);
	return obj;
}

static void ctl_send(int fd, const char *request)
{
	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
}

/* Sends a request and returns all items in an array; *last is the final line. */
static json_t *ctl_ask(int fd, const char *request, json_t **last)
{
	json_t *items = json_array();

	ctl_send(fd, request);
	for (;;) {
		json_t *obj = ctl_line(fd);

		assert_non_null(obj);
		if (json_object_get(obj, "done") || json_object_get(obj, "error")) {
			*last = obj;
			return items;
		}
		json_array_append_new(items, obj);
	}
}

static json_int_t get_int(const json_t *obj, const char *key)
{
	assert_true(json_is_integer(json_object_get(obj, key)));
	return json_integer_value(json_object_get(obj, key));
}

static const char *get_text(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	assert_non_null(text);
	return text;
}

static size_t count_of(int fd, const char *request)
{
	json_t *last, *items = ctl_ask(fd, request, &last);
	size_t n = json_array_size(items);

	assert_non_null(json_object_get(last, "done"));
	assert_int_equal(get_int(last, "count"), n);
	json_decref(last);
	json_decref(items);
	return n;
}

static void expect_error(int fd, const char *request, const char *error)
{
	json_t *last, *items = ctl_ask(fd, request, &last);

	assert_int_equal(json_array_size(items), 0);
	assert_string_equal(get_text(last, "error"), error);
	json_decref(last);
	json_decref(items);
}

static void test_control_bad_requests_are_answered_with_errors(void **state)
{
	int fd = ctl_connect();

	(void)state;
	expect_error(fd, "nonsense\n", "not a line of JSON");
	expect_error(fd, "\n", "not a line of JSON");
	expect_error(fd, "[1]\n", "a request is an object with \"cmd\"");
	expect_error(fd, "{\"cmd\": 3}\n", "a request is an object with \"cmd\"");
	expect_error(fd, "{\"cmd\": \"reboot\"}\n", "unknown command");
	expect_error(fd, "{\"cmd\": \"port\", \"x\": 1}\n", "unknown key");
	expect_error(fd, "{\"cmd\": \"flow\", \"x\": 1}\n", "unknown key");
	expect_error(fd, "{\"cmd\": \"flow\", \"sport\": 65536}\n", "sport, dport, port: a port");
	expect_error(fd, "{\"cmd\": \"flow\", \"state\": \"GONE\"}\n", "state: no such state");
	expect_error(fd, "{\"cmd\": \"flow\", \"src\": \"10.0.0.0/33\"}\n",
		"src, dst, addr: an address, or address/bits");
	expect_error(fd, "{\"cmd\": \"flow\", \"max\": 0}\n", "max: a number above 0");
	assert_int_equal(fx.server->counters.control_errors, 11);
	assert_int_equal(count_of(fd, "{\"cmd\": \"version\"}\n"), 1); /* it goes on serving */
	close(fd);
}

static void test_control_request_too_long_is_refused(void **state)
{
	int fd = ctl_connect();
	char chunk[4096];
	json_t *obj;

	(void)state;
	memset(chunk, ' ', sizeof(chunk));
	for (int i = 0; i < CONTROL_LINE_MAX / 4096; i++) {
		while (send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL) < 0)
			turn();
	}
	obj = ctl_line(fd);
	assert_string_equal(get_text(obj, "error"), "request too long");
	json_decref(obj);
	assert_null(ctl_line(fd));
	close(fd);
	assert_int_equal(fx.server->controls.count, 0);
}

static void test_control_flow_fields_and_filters(void **state)
{
	struct received r;
	json_t *items, *last, *obj;
	char request[128];
	int client, fd = ctl_connect();

	(void)state;
	assert_int_equal(client_attach(&client, &r), 0);
	client_close(&r);
	fake_engine[0].flows = 1000;
	fake_engine[1].flows = 10;
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\"}\n"), 1010);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"state\": \"estab\"}\n"), 505);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"state\": \"time-wait\"}\n"), 0);
	assert_int_equal(
		count_of(fd, "{\"cmd\": \"flow\", \"state\": \"estab,CLOSE-WAIT\"}\n"), 1010);
	expect_error(fd, "{\"cmd\": \"flow\", \"state\": \"estab,x\"}\n", "state: no such state");
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"max\": 130}\n"), 130);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"src\": \"10.0.0.0/29\"}\n"), 16);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"src\": \"10.0.3.231\"}\n"), 1);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"dst\": \"192.0.2.2\"}\n"), 0);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"dport\": 40001}\n"), 2);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"port\": 40001}\n"), 2);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"port\": 1000}\n"), 1010);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"addr\": \"192.0.2.0/24\"}\n"), 1010);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"addr\": \"10.0.0.1\"}\n"), 2);
	assert_int_equal(count_of(fd, "{\"cmd\": \"flow\", \"sport\": 1000}\n"), 1010);
	snprintf(request, sizeof(request), "{\"cmd\": \"flow\", \"pid\": %d}\n", getpid());
	assert_int_equal(count_of(fd, request), 505);
	snprintf(request, sizeof(request), "{\"cmd\": \"flow\", \"session\": %u, \"max\": 1}\n",
		r.m.attached.session);
	items = ctl_ask(fd, request, &last);
	obj = json_array_get(items, 0);
	assert_string_equal(get_text(obj, "process"), "tester");
	assert_string_equal(get_text(obj, "local"), "10.0.0.1");
	assert_string_equal(get_text(obj, "remote"), "192.0.2.1");
	assert_int_equal(get_int(obj, "lport"), 1000);
	assert_int_equal(get_int(obj, "rport"), 40001);
	assert_int_equal(get_int(obj, "rtt_us"), 1500);
	json_decref(items);
	json_decref(last);
	items = ctl_ask(fd, "{\"cmd\": \"flow\", \"brief\": true, \"max\": 1}\n", &last);
	obj = json_array_get(items, 0);
	assert_int_equal(get_int(obj, "lport"), 1000);
	assert_null(json_object_get(obj, "rtt_us"));
	json_decref(items);
	json_decref(last);
	expect_error(fd, "{\"cmd\": \"flow\", \"brief\": 1}\n", "brief: true or false");
	close(fd);
	close(client);
}

static void test_control_many_flows_go_as_fast_as_they_are_read(void **state)
{
	uint32_t lists;
	size_t lines = 0;
	char buf[65536];
	int fd = ctl_connect();

	(void)state;
	fake_engine[0].flows = 100000;
	ctl_send(fd, "{\"cmd\": \"flow\"}\n");
	do {
		lists = fake_engine[0].lists;
		run_us(100000);
	} while (fake_engine[0].lists != lists);
	assert_in_range(lists, 1, 50); /* what the socket's buffer holds, and one batch */
	while (lines < 100001) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0) {
			turn();
			continue;
		}
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			lines += buf[i] == '\n';
	}
	assert_int_equal(lines, 100001);
	assert_int_equal(
		fake_engine[0].lists, (100000 + ENGINE_LIST_BATCH - 1) / ENGINE_LIST_BATCH);
	close(fd);
}

static void test_control_connection_gone_while_an_engine_is_asked(void **state)
{
	int fd = ctl_connect();

	(void)state;
	fake_engine[0].flows = 1000;
	ctl_send(fd, "{\"cmd\": \"flow\"}\n");
	loop_run_once(fx.loop, 10000);
	loop_run_once(fx.loop, 10000);
	assert_int_equal(fake_engine[0].inbox.last - fake_engine[0].inbox.first, 1);
	close(fd);
	loop_run_once(fx.loop, 10000);
	assert_int_equal(fx.server->controls.count, 0);
	run_us(5000);
	assert_int_equal(fake_engine[0].lists, 1); /* answered to nobody, and freed */
}

static void test_control_half_closed_still_gets_its_answer(void **state)
{
	json_t *obj;
	int fd = ctl_connect();

	(void)state;
	ctl_send(fd, "{\"cmd\": \"version\"}\n{\"cmd\": \"engine\"}\n");
	shutdown(fd, SHUT_WR);
	obj = ctl_line(fd);
	assert_string_equal(get_text(obj, "version"), "1.2.3");
	assert_int_equal(get_int(obj, "engines"), FAKE_ENGINES);
	json_decref(obj);
	for (int i = 0; i < 1 + FAKE_ENGINES + 1; i++)
		json_decref(ctl_line(fd));
	assert_null(ctl_line(fd));
	close(fd);
}

static json_t *find_item(json_t *items, const char *key, const char *value)
{
	json_t *obj;
	size_t i;

	json_array_foreach(items, i, obj)
	{
		const char *text = json_string_value(json_object_get(obj, key));

		if (text && strcmp(text, value) == 0)
			return obj;
	}
	return NULL;
}

static void test_control_counters_are_summed_and_explained(void **state)
{
	json_t *items, *last, *obj;
	int fd = ctl_connect();

	(void)state;
	fake_engine[0].counters.rx_frames = 3;
	fake_engine[1].counters.rx_frames = 4;
	fake_engine[1].net.arp_short = 5;
	items = ctl_ask(fd, "{\"cmd\": \"counters\"}\n", &last);
	assert_int_equal(json_array_size(items), ENGINE_COUNTER_COUNT + NET_COUNTER_COUNT +
							 TCP_COUNTER_COUNT + CTL_COUNTER_COUNT +
							 16);
	obj = find_item(items, "name", "rx_frames");
	assert_int_equal(get_int(obj, "value"), 7);
	assert_string_equal(get_text(obj, "group"), "engine");
	assert_true(strlen(get_text(obj, "help")) > 5);
	assert_int_equal(get_int(find_item(items, "name", "arp_short"), "value"), 5);
	assert_int_equal(get_int(find_item(items, "name", "rx_packets"), "value"), 11);
	assert_int_equal(get_int(find_item(items, "name", "controls"), "value"), 1);
	json_decref(items);
	json_decref(last);
	close(fd);
}

static void test_control_other_commands_tell_what_there_is(void **state)
{
	const struct net_addr neighbour = net_addr_from_ip4(inet_addr("192.0.2.1"));
	const struct net_mac mac = {{2, 0, 0, 0, 0, 9}};
	union proto_msg m = client_msg(PROTO_MSG_LISTEN);
	json_t *items, *last;
	struct received r;
	int client, fd = ctl_connect();

	(void)state;
	assert_int_equal(client_attach(&client, &r), 0);
	client_close(&r);
	m.name.port = 8080;
	m.name.backlog = 9;
	assert_int_equal(client_request(client, &m, &r), 0);
	assert_int_equal(net_neigh_set_static(fx.neigh, &neighbour, &mac, loop_now_us()), 0);

	items = ctl_ask(fd, "{\"cmd\": \"listen\"}\n", &last);
	assert_int_equal(json_array_size(items), FAKE_ENGINES);
	assert_int_equal(get_int(json_array_get(items, 0), "lport"), 8080);
	assert_int_equal(get_int(json_array_get(items, 0), "pending"), 2);
	assert_string_equal(get_text(json_array_get(items, 0), "local"), "*");
	assert_string_equal(get_text(json_array_get(items, 0), "process"), "tester");
	json_decref(items);
	json_decref(last);

	items = ctl_ask(fd, "{\"cmd\": \"client\"}\n", &last);
	assert_int_equal(json_array_size(items), 1 + FAKE_ENGINES);
	assert_int_equal(get_int(json_array_get(items, 0), "pid"), getpid());
	assert_int_equal(get_int(json_array_get(items, 0), "listeners"), 1);
	assert_string_equal(get_text(json_array_get(items, 0), "state"), "live");
	assert_int_equal(get_int(json_array_get(items, 1), "conns"), 3);
	assert_int_equal(get_int(last, "count"), 1);
	json_decref(items);
	json_decref(last);

	items = ctl_ask(fd, "{\"cmd\": \"neigh\"}\n", &last);
	assert_int_equal(json_array_size(items), 1);
	assert_string_equal(get_text(json_array_get(items, 0), "mac"), "02:00:00:00:00:09");
	assert_string_equal(get_text(json_array_get(items, 0), "state"), "PERMANENT");
	json_decref(items);
	json_decref(last);

	items = ctl_ask(fd, "{\"cmd\": \"port\"}\n", &last);
	assert_int_equal(get_int(json_array_get(items, 0), "mbufs_free"), 90);
	assert_string_equal(get_text(json_array_get(items, 0), "port"), "net_fake0");
	json_decref(items);
	json_decref(last);

	items = ctl_ask(fd, "{\"cmd\": \"engine\"}\n", &last);
	assert_int_equal(json_array_size(items), FAKE_ENGINES);
	assert_int_equal(get_int(json_array_get(items, 1), "turns"), 5);
	assert_int_equal(get_int(json_array_get(items, 1), "sessions"), 1);
	json_decref(items);
	json_decref(last);
	close(client);
	close(fd);
}

static void test_control_client_name_in_broken_utf8_is_shown_in_ascii(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_ATTACH);
	int client = client_connect("mtcpd.sock", SOCK_SEQPACKET), fd = ctl_connect();
	json_t *items, *last;
	struct received r;

	(void)state;
	strcpy(m.attach.name, "a\xff\xfe\"b");
	client_call(client, &m, sizeof(m.attach), &r);
	assert_int_equal(r.m.h.result, 0);
	client_close(&r);
	items = ctl_ask(fd, "{\"cmd\": \"client\"}\n", &last);
	assert_string_equal(get_text(json_array_get(items, 0), "process"), "a??\"b");
	json_decref(items);
	json_decref(last);
	close(client);
	close(fd);
}

static void test_control_connections_are_bounded(void **state)
{
	int fd[CONTROL_PER_UID_MAX + 3];

	(void)state;
	for (int i = 0; i < CONTROL_PER_UID_MAX + 3; i++)
		fd[i] = ctl_connect();
	run_us(60000);
	assert_int_equal(fx.server->controls.count, CONTROL_PER_UID_MAX);
	assert_int_equal(fx.server->counters.controls_refused, 3);
	for (int i = 0; i < CONTROL_PER_UID_MAX + 3; i++)
		close(fd[i]);
	run_us(20000);
	assert_int_equal(fx.server->controls.count, 0);
	assert_int_equal(fx.server->fds_used, 0);
	fd[0] = ctl_connect();
	run_us(5000);
	control_tick(fx.server, loop_now_us() + CONTROL_IDLE_US / 2);
	assert_int_equal(fx.server->controls.count, 1);
	control_tick(fx.server, loop_now_us() + CONTROL_IDLE_US + 1000);
	assert_int_equal(fx.server->controls.count, 0);
	assert_int_equal(fx.server->counters.controls_stalled, 1);
	close(fd[0]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_control_bad_requests_are_answered_with_errors),
		T(test_control_request_too_long_is_refused),
		T(test_control_flow_fields_and_filters),
		T(test_control_many_flows_go_as_fast_as_they_are_read),
		T(test_control_connection_gone_while_an_engine_is_asked),
		T(test_control_half_closed_still_gets_its_answer),
		T(test_control_counters_are_summed_and_explained),
		T(test_control_other_commands_tell_what_there_is),
		T(test_control_client_name_in_broken_utf8_is_shown_in_ascii),
		T(test_control_connections_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
