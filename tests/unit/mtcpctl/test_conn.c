/* A daemon that answers nonsense, too much, or nothing more. */
#include "conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct conn conn;
static int daemon_fd;

static int setup(void **state)
{
	int fds[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
		return -1;
	conn = (struct conn){.fd = fds[0]};
	daemon_fd = fds[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	conn_close(&conn);
	assert_int_equal(conn.fd, -1);
	conn_close(&conn); /* twice is fine */
	close(daemon_fd);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(write(daemon_fd, text, strlen(text)), strlen(text));
}

static int received(json_int_t expected)
{
	int err = 1;
	json_t *obj = conn_receive(&conn, &err);

	if (obj)
		assert_int_equal(json_integer_value(json_object_get(obj, "n")), expected);
	json_decref(obj);
	return err;
}

static void test_receive_given_pieces_and_several_lines_tells_each(void **state)
{
	(void)state;
	say("{\"n\": 1}\n{\"n\": 2}\n{\"n\"");
	assert_int_equal(received(1), 0);
	assert_int_equal(received(2), 0);
	say(": 3}\n");
	assert_int_equal(received(3), 0);
}

static void test_receive_given_no_json_says_so_and_goes_on(void **state)
{
	(void)state;
	say("what?\n\n{\"n\": 4}\n");
	assert_int_equal(received(0), -EBADMSG);
	assert_int_equal(received(0), -EBADMSG); /* an empty line is none either */
	assert_int_equal(received(4), 0);
}

static void test_receive_given_end_in_the_middle_of_a_line_ends(void **state)
{
	int err = 1;

	(void)state;
	say("{\"n\": 5");
	shutdown(daemon_fd, SHUT_WR);
	assert_null(conn_receive(&conn, &err));
	assert_int_equal(err, 0);
}

static void *talk_for_ever(void *arg)
{
	static char much[65536];

	(void)arg;
	memset(much, ' ', sizeof(much));
	while (send(daemon_fd, much, sizeof(much), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

static void test_receive_given_endless_line_gives_up(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, talk_for_ever, NULL), 0);
	assert_int_equal(received(0), -EBADMSG);
	assert_true(conn.capacity <= CONN_LINE_MAX);
	shutdown(conn.fd, SHUT_RDWR);
	pthread_join(thread, NULL);
}

static void test_receive_given_silence_times_out(void **state)
{
	const struct timeval soon = {.tv_usec = 50000};

	(void)state;
	assert_int_equal(setsockopt(conn.fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
	assert_int_equal(received(0), -ETIMEDOUT);
	say("{\"n\": 6}\n");
	assert_int_equal(received(6), 0);
}

static void test_send_given_daemon_that_takes_nothing_times_out(void **state)
{
	const struct timeval soon = {.tv_usec = 50000};
	json_t *request = json_object();
	char *much = malloc(4 << 20);

	(void)state;
	memset(much, 'x', 4 << 20);
	much[(4 << 20) - 1] = '\0';
	json_object_set_new(request, "request", json_string(much));
	assert_int_equal(setsockopt(conn.fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)), 0);
	assert_int_equal(conn_send(&conn, request), -ETIMEDOUT);
	close(daemon_fd);
	daemon_fd = -1;
	assert_int_equal(conn_send(&conn, request), -EPIPE);
	json_decref(request);
	free(much);
}

static void test_open_given_unusable_path_says_why(void **state)
{
	struct conn other;
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	assert_int_equal(conn_open(&other, path), -ENAMETOOLONG);
	assert_int_equal(conn_open(&other, "/no/such/socket"), -ENOENT);
	assert_int_equal(other.fd, -1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_receive_given_pieces_and_several_lines_tells_each),
		T(test_receive_given_no_json_says_so_and_goes_on),
		T(test_receive_given_end_in_the_middle_of_a_line_ends),
		T(test_receive_given_endless_line_gives_up),
		T(test_receive_given_silence_times_out),
		T(test_send_given_daemon_that_takes_nothing_times_out),
		T(test_open_given_unusable_path_says_why),
	};

	return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
