/* mtcpctl from its command line to its exit code, against a daemon of canned answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <options.h>
#include <run.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64], path[108];
static int listen_fd;
static char *out_text, *err_text;
static size_t out_len, err_len;

/* The daemon of one connection: keeps the request, sends the answer and closes. */
static const char *answer;
static unsigned int answer_times;
static char request[4096];

static void *serve(void *arg)
{
	int fd = accept(listen_fd, NULL, NULL);
	ssize_t n = recv(fd, request, sizeof(request) - 1, 0);

	request[n > 0 ? n : 0] = '\0';
	for (unsigned int i = 0; i < answer_times; i++) {
		if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
			break;
	}
	if (answer_times > 1)
		(void)!send(fd, "{\"done\":true}\n", 14, MSG_NOSIGNAL);
	close(fd);
	return arg;
}

static int setup(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/mtcpctl-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/" MTCPCTL_SOCKET_NAME, dir);
	strcpy(sun.sun_path, path);
	listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(listen_fd, (struct sockaddr *)&sun, sizeof(sun)) || listen(listen_fd, 5))
		return -1;
	unsetenv(MTCPCTL_SOCKET_ENV);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(listen_fd);
	unlink(path);
	rmdir(dir);
	free(out_text);
	free(err_text);
	out_text = err_text = NULL;
	return 0;
}

/* Runs `mtcpctl WORDS`; out_text and err_text are what it printed. */
static int run(const char *words)
{
	char copy[512], *argv[32], *rest = copy, *word;
	FILE *out, *err;
	int argc = 0, r;

	free(out_text);
	free(err_text);
	out = open_memstream(&out_text, &out_len);
	err = open_memstream(&err_text, &err_len);
	snprintf(copy, sizeof(copy), "mtcpctl %s", words);
	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc] = NULL;
	r = mtcpctl_run(argc, argv, out, err);
	fclose(out);
	fclose(err);
	return r;
}

/* The same with -d DIR and the daemon answering. */
static int run_with(const char *words, const char *text)
{
	char line[512];
	pthread_t thread;
	int r;

	answer = text;
	answer_times = 1;
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	snprintf(line, sizeof(line), "%s -d %s", words, dir);
	r = run(line);
	pthread_join(thread, NULL);
	return r;
}

#define FLOW                                                                                       \
	"{\"state\":\"ESTAB\",\"local\":\"10.0.0.1\",\"lport\":80,\"remote\":\"192.0.2.1\","       \
	"\"rport\":40000,\"recv_q\":5,\"send_q\":7,\"engine\":0,\"kind\":\"conn\","                \
	"\"session\":65536,\"pid\":42,\"process\":\"lighttpd\",\"timer_us\":200500,"               \
	"\"rto_us\":204000,\"rtt_us\":1500,\"rttvar_us\":750,\"mss\":1448,\"cwnd_bytes\":14480,"   \
	"\"ssthresh_bytes\":28960,\"snd_wscale\":7,\"rcv_wscale\":8,\"bytes_acked\":1000,"         \
	"\"bytes_received\":2000,\"segs_out\":3,\"segs_in\":4,\"retrans\":2,\"unacked\":1,"        \
	"\"retrans_now\":1,\"lost\":3,\"sacked\":4,\"dsack_dups\":5,\"reord_seen\":6,"             \
	"\"rcv_ooopack\":7,\"ts\":true,\"sack\":true,\"cc\":\"cubic\"}\n"
#define TIME_WAIT                                                                                  \
	"{\"state\":\"TIME-WAIT\",\"local\":\"10.0.0.1\",\"lport\":80,\"remote\":\"192.0.2.1\","   \
	"\"rport\":40001,\"recv_q\":0,\"send_q\":0,\"engine\":0,\"kind\":\"time-wait\"}\n"
#define IDLE                                                                                       \
	"{\"state\":\"ESTAB\",\"kind\":\"conn\",\"mss\":1448,\"rto_us\":200000,\"timer_us\":"      \
	"7198930123}\n"
#define DONE "{\"done\":true,\"count\":2}\n"

static void test_flow_text_is_that_of_ss(void **state)
{
	(void)state;
	assert_int_equal(run_with("flow", FLOW TIME_WAIT DONE), MTCPCTL_OK);
	assert_string_equal(out_text,
		"State      Recv-Q Send-Q        Local Address:Port           Peer Address:Port   "
		"Process\n"
		"ESTAB      5      7                  10.0.0.1:80                192.0.2.1:40000  "
		"users:((\"lighttpd\",pid=42,session=65536))\n"
		"\t cubic ts sack wscale:7,8 rto:204 rtt:1.5/0.75 mss:1448 cwnd:10 ssthresh:20 "
		"bytes_acked:1000 bytes_received:2000 segs_out:3 segs_in:4 unacked:1 retrans:1/2 "
		"lost:3 sacked:4 dsack_dups:5 reord_seen:6 rcv_ooopack:7 "
		"timer:200.5ms\n"
		"TIME-WAIT  0      0                  10.0.0.1:80                192.0.2.1:40001 "
		"\n");
	assert_string_equal(request, "{\"cmd\":\"flow\"}\n");
	assert_int_equal(run_with("flow", IDLE DONE), MTCPCTL_OK);
	assert_non_null(strstr(out_text, " timer:7198930.123ms\n"));
	assert_int_equal(run_with("-b flow", FLOW DONE), MTCPCTL_OK);
	assert_null(strstr(out_text, "rto:"));
	assert_string_equal(request, "{\"cmd\":\"flow\",\"brief\":true}\n");
}

static void test_flow_filters_become_the_request(void **state)
{
	json_t *got;

	(void)state;
	assert_int_equal(run_with("flow -n 9 src 10.0.0.0/8 dst 1.2.3.4 sport 80 dport 81 pid 7 "
				  "session 65536 state estab,time-wait",
				 DONE),
		MTCPCTL_OK);
	got = json_loads(request, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(got, "src")), "10.0.0.0/8");
	assert_string_equal(json_string_value(json_object_get(got, "dst")), "1.2.3.4");
	assert_string_equal(json_string_value(json_object_get(got, "state")), "estab,time-wait");
	assert_int_equal(json_integer_value(json_object_get(got, "max")), 9);
	assert_int_equal(json_integer_value(json_object_get(got, "sport")), 80);
	assert_int_equal(json_integer_value(json_object_get(got, "dport")), 81);
	assert_int_equal(json_integer_value(json_object_get(got, "pid")), 7);
	assert_int_equal(json_integer_value(json_object_get(got, "session")), 65536);
	assert_int_equal(json_object_size(got), 9);
	json_decref(got);
}

static void test_json_is_one_array_whatever_the_number(void **state)
{
	json_t *got;

	(void)state;
	assert_int_equal(run_with("flow -j", FLOW TIME_WAIT DONE), MTCPCTL_OK);
	got = json_loads(out_text, 0, NULL);
	assert_int_equal(json_array_size(got), 2);
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(got, 0), "cwnd_bytes")), 14480);
	json_decref(got);
	assert_int_equal(run_with("--json flow", DONE), MTCPCTL_OK);
	got = json_loads(out_text, 0, NULL);
	assert_true(json_is_array(got));
	assert_int_equal(json_array_size(got), 0);
	json_decref(got);
}

#define LISTEN(engine, pending)                                                                    \
	"{\"state\":\"LISTEN\",\"local\":\"*\",\"lport\":8080,\"backlog\":128,"                    \
	"\"pending\":" pending ",\"half_open\":1,\"engine\":" engine                               \
	",\"session\":65537,\"pid\":9,\"process\":\"redis\"}\n"

static void test_listen_of_all_engines_is_one_line(void **state)
{
	json_t *got;

	(void)state;
	assert_int_equal(run_with("listen", LISTEN("0", "2") LISTEN("1", "3") DONE), MTCPCTL_OK);
	assert_non_null(strstr(out_text, "\nLISTEN     5      128                       *:8080 "
					 "                     *:*      users:((\"redis\",pid=9,"
					 "session=65537)) half-open:2\n"));
	assert_null(strstr(strstr(out_text, "LISTEN") + 1, "LISTEN"));
	assert_int_equal(run_with("-j listen", LISTEN("0", "2") LISTEN("1", "3") DONE), MTCPCTL_OK);
	got = json_loads(out_text, 0, NULL);
	assert_int_equal(json_array_size(got), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(got, 0), "pending")), 5);
	assert_null(json_object_get(json_array_get(got, 0), "engine"));
	json_decref(got);
}

static void test_client_is_merged_from_daemon_and_engines(void **state)
{
	(void)state;
	assert_int_equal(
		run_with("client",
			"{\"session\":65536,\"pid\":42,\"uid\":33,\"process\":\"lighttpd\","
			"\"state\":\"live\",\"up_bytes\":2097152,\"down_bytes\":4194304,"
			"\"names\":1,\"listeners\":1}\n"
			"{\"session\":65536,\"engine\":0,\"polled\":false,\"conns\":3,"
			"\"doorbells\":10}\n"
			"{\"session\":65536,\"engine\":1,\"polled\":true,\"conns\":4,"
			"\"doorbells\":20}\n" DONE),
		MTCPCTL_OK);
	assert_non_null(strstr(out_text, "     65536      42     33 live          7       0       "
					 "2.0M       4.0M      1      1       30 lighttpd "
					 "(polled: floods its doorbell)\n"));
}

static void test_counters_zero_ones_only_when_asked(void **state)
{
	static const char text[] =
		"{\"group\":\"tcp\",\"name\":\"a\",\"value\":0,\"help\":\"Zero\"}\n"
		"{\"group\":\"tcp\",\"name\":\"b\",\"value\":3,\"help\":\"Three\"}\n" DONE;

	(void)state;
	assert_int_equal(run_with("counters", text), MTCPCTL_OK);
	assert_string_equal(out_text, "tcp    b                                       3\n");
	assert_int_equal(run_with("counters -a -v", text), MTCPCTL_OK);
	assert_string_equal(out_text, "tcp    a                                       0  Zero\n"
				      "tcp    b                                       3  Three\n");
}

static void test_other_views_print_what_they_are_given(void **state)
{
	(void)state;
	assert_int_equal(
		run_with("port",
			"{\"port\":\"net_tap0\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500,"
			"\"addresses\":[\"10.0.0.1/24\"],\"rx_packets\":11,\"mbufs_total\":100,"
			"\"mbufs_free\":90,\"rx_checksum\":true,\"tso_max_bytes\":65535}\n" DONE),
		MTCPCTL_OK);
	assert_non_null(strstr(out_text, "net_tap0: mac 02:00:00:00:00:01 mtu 1500\n"));
	assert_non_null(strstr(out_text, "address 10.0.0.1/24\n"));
	assert_non_null(strstr(out_text, "rx      packets 11 bytes 0"));
	assert_non_null(strstr(out_text, "mbufs   total 100 free 90 ring 0\n"));
	assert_non_null(strstr(out_text, "offload rx_checksum tso 65535\n"));
	assert_int_equal(run_with("port", "{\"port\":\"net_ring0\"}\n" DONE), MTCPCTL_OK);
	assert_non_null(strstr(out_text, "offload none\n"));
	assert_int_equal(
		run_with("neigh",
			"{\"address\":\"10.0.0.9\",\"mac\":\"02:00:00:00:00:09\",\"used_us\":"
			"3000000,\"changed_us\":5000000,\"state\":\"REACHABLE\"}\n" DONE),
		MTCPCTL_OK);
	assert_string_equal(
		out_text, "10.0.0.9 lladdr 02:00:00:00:00:09 used 3 changed 5 REACHABLE\n");
	assert_int_equal(run_with("engine", "{\"engine\":1,\"core\":-1,\"conns\":5,\"turns\":200,"
					    "\"busy_turns\":50}\n" DONE),
		MTCPCTL_OK);
	assert_non_null(strstr(out_text, "     1  any        5 "));
	assert_non_null(strstr(out_text, "     25.0 "));
	assert_int_equal(
		run_with("version", "{\"version\":\"0.1.0\",\"protocol\":1,\"pid\":4}\n" DONE),
		MTCPCTL_OK);
	assert_non_null(strstr(out_text, "mtcpd 0.1.0, protocol 1, pid 4"));
}

static void test_error_of_the_daemon_is_exit_1(void **state)
{
	(void)state;
	assert_int_equal(
		run_with("flow", "{\"error\":\"state: no such state\"}\n"), MTCPCTL_FAILED);
	assert_string_equal(err_text, "mtcpctl: state: no such state\n");
	assert_int_equal(run_with("flow", FLOW), MTCPCTL_FAILED); /* ends without done */
	assert_int_equal(run_with("flow", "rubbish\n"), MTCPCTL_FAILED);
	assert_int_equal(run_with("flow", "{\"done\":true}"), MTCPCTL_FAILED); /* half a line */
}

static void test_usage_is_exit_2(void **state)
{
	static const char *const wrong[] = {"", "reboot", "flow src", "flow colour red",
		"flow sport x", "flow sport 80 sport 81", "flow -n 0", "flow -n", "-z flow",
		"listen src 1.2.3.4", "port -n 3"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(run(wrong[i]), MTCPCTL_USAGE);
		assert_non_null(strstr(err_text, "--help"));
		assert_int_equal(out_len, 0);
	}
	assert_int_equal(run("--help"), MTCPCTL_OK);
	assert_non_null(strstr(out_text, "EXIT STATUS"));
	assert_int_equal(run("-V"), MTCPCTL_OK);
	assert_non_null(strstr(out_text, "mtcpctl "));
}

static void test_no_daemon_is_exit_3(void **state)
{
	(void)state;
	assert_int_equal(run("version -d /nonexistent"), MTCPCTL_NO_DAEMON);
	assert_non_null(strstr(err_text, "/nonexistent/" MTCPCTL_SOCKET_NAME));
	setenv(MTCPCTL_SOCKET_ENV, "/nowhere/x.sock", 1);
	assert_int_equal(run("version"), MTCPCTL_NO_DAEMON);
	assert_non_null(strstr(err_text, "/nowhere/x.sock"));
	assert_int_equal(run("version -s /elsewhere"), MTCPCTL_NO_DAEMON);
	assert_non_null(strstr(err_text, "/elsewhere:"));
}

static void test_many_flows_pass_through(void **state)
{
	pthread_t thread;
	char line[128];
	size_t lines = 0;

	(void)state;
	answer = FLOW TIME_WAIT;
	answer_times = 50000;
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	snprintf(line, sizeof(line), "flow -b -d %s", dir);
	assert_int_equal(run(line), MTCPCTL_OK);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < out_len; i++)
		lines += out_text[i] == '\n';
	assert_int_equal(lines, 100001);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_flow_text_is_that_of_ss),
		T(test_flow_filters_become_the_request),
		T(test_json_is_one_array_whatever_the_number),
		T(test_listen_of_all_engines_is_one_line),
		T(test_client_is_merged_from_daemon_and_engines),
		T(test_counters_zero_ones_only_when_asked),
		T(test_other_views_print_what_they_are_given),
		T(test_error_of_the_daemon_is_exit_1),
		T(test_usage_is_exit_2),
		T(test_no_daemon_is_exit_3),
		T(test_many_flows_pass_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
