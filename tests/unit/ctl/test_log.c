/* Messages: priorities, levels, buckets, and nothing that could forge a line; and what the
 * service manager is told. */
#include <ctl/log.h>
#include <ctl/notify.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fds[2];
static char text[65536];

static int setup(void **state)
{
	(void)state;
	if (pipe(fds) < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		return -1;
	log_fd_set(fds[1]);
	log_level_set(LOG_LEVEL_INFO);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	log_fd_set(STDERR_FILENO);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static const char *written(void)
{
	ssize_t len = read(fds[0], text, sizeof(text) - 1);

	text[len > 0 ? len : 0] = '\0';
	return text;
}

static void test_log_given_levels_filters_and_prefixes(void **state)
{
	(void)state;
	log_error("one %d", 1);
	log_info("two");
	log_debug("three");
	assert_string_equal(written(), "<3>one 1\n<6>two\n");
	log_level_set(LOG_LEVEL_ERROR);
	log_warning("four");
	assert_string_equal(written(), "");
}

static void test_log_given_hostile_text_stays_one_line(void **state)
{
	char longer[4096];

	(void)state;
	log_error("name %s", "x\n<0>forged\x1b[2J\x7f");
	assert_string_equal(written(), "<3>name x?<0>forged?[2J?\n");
	memset(longer, 'y', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_error("%s", longer);
	assert_true(strlen(written()) <= LOG_LINE_MAX);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void test_log_given_burst_suppresses_and_tells(void **state)
{
	unsigned int lines = 0;

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < (round == 0 ? 1000 : 1); i++)
			log_error("again");
		for (const char *p = written(); (p = strchr(p, '\n')) != NULL; p++)
			lines++;
		if (round == 0)
			assert_in_range(lines, LOG_SITE_BURST, LOG_SITE_BURST + 1);
	}
}

static void test_log_site_given_time_refills(void **state)
{
	struct log_site site = {0};
	uint32_t suppressed = 0;
	uint64_t now_us = 5000000;

	(void)state;
	for (int i = 0; i < LOG_SITE_BURST; i++)
		assert_true(log_site_allow(&site, now_us, &suppressed));
	for (int i = 0; i < 7; i++)
		assert_false(log_site_allow(&site, now_us, &suppressed));
	now_us += 1000000 / LOG_SITE_PER_S;
	assert_true(log_site_allow(&site, now_us, &suppressed));
	assert_int_equal(suppressed, 7);
	assert_false(log_site_allow(&site, now_us, &suppressed));
	now_us += UINT64_C(3600) * 1000000; /* no more than the burst, however long */
	for (int i = 0; i < LOG_SITE_BURST; i++)
		assert_true(log_site_allow(&site, now_us, &suppressed));
	assert_false(log_site_allow(&site, now_us, &suppressed));
}

static void test_notify_given_socket_sends(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char buf[64] = "";
	socklen_t len;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)state;
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			  (size_t)snprintf(sun.sun_path + 1, 64, "mtcpd-test-%d", (int)getpid()));
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, len), 0);
	sun.sun_path[0] = '@';
	setenv("NOTIFY_SOCKET", sun.sun_path, 1);
	assert_int_equal(notify_send("READY=1"), 0);
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 7);
	assert_string_equal(buf, "READY=1");
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(notify_send("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	assert_int_equal(notify_send("READY=1"), -ENOENT);
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_send("READY=1"), 0);
	close(fd);
}

static void test_notify_watchdog_given_environment_reads_it(void **state)
{
	char pid[32];

	(void)state;
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	assert_int_equal(notify_watchdog_us(), 0);
	setenv("WATCHDOG_USEC", "3000000", 1);
	assert_int_equal(notify_watchdog_us(), 3000000);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(notify_watchdog_us(), 3000000);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(notify_watchdog_us(), 0);
	setenv("WATCHDOG_PID", "", 1);
	setenv("WATCHDOG_USEC", "12x", 1);
	assert_int_equal(notify_watchdog_us(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_log_given_levels_filters_and_prefixes),
		TEST(test_log_given_hostile_text_stays_one_line),
		TEST(test_log_given_burst_suppresses_and_tells),
		TEST(test_log_site_given_time_refills),
		TEST(test_notify_given_socket_sends),
		TEST(test_notify_watchdog_given_environment_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
