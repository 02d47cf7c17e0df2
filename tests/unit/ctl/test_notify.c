/* What the service manager is told, whatever stands in the environment. */
#include <ctl/notify.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "../faults.h"

static int manager(struct sockaddr_un *sun, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)sun, len), 0);
	return fd;
}

static void assert_told(int fd, const char *expected)
{
	char text[64] = "";

	assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), strlen(expected));
	assert_string_equal(text, expected);
}

static void test_send_given_abstract_name_reaches_it(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@mtcpd-test-%d", getpid());
	memcpy(sun.sun_path, name, strlen(name));
	sun.sun_path[0] = '\0';
	fd = manager(&sun, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)));
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_send("READY=1"), 0);
	assert_told(fd, "READY=1");
	close(fd);
	assert_int_equal(notify_send("READY=1"), -ECONNREFUSED);
}

static void test_send_given_path_reaches_it(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd;

	(void)state;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/tmp/mtcpd-test-%d.sock", getpid());
	fd = manager(&sun, sizeof(sun));
	setenv("NOTIFY_SOCKET", sun.sun_path, 1);
	assert_int_equal(notify_send("STOPPING=1"), 0);
	assert_told(fd, "STOPPING=1");
	fault_arm_only("socket", 1);
	assert_int_equal(notify_send("STOPPING=1"), -EMFILE);
	assert_string_equal(fault_end(), "socket");
	while (notify_send("WATCHDOG=1") == 0) /* a manager that does not read makes nobody wait */
		;
	assert_int_equal(notify_send("WATCHDOG=1"), -EAGAIN);
	close(fd);
	unlink(sun.sun_path);
}

static void test_send_given_no_or_bad_name_says_so(void **state)
{
	char name[200];

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_send("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_send("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(notify_send("READY=1"), -EINVAL);
	memset(name, '/', sizeof(name));
	name[108] = '\0'; /* one more than sun_path takes with its end */
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_send("READY=1"), -EINVAL);
}

static uint64_t watchdog_of(const char *usec, const char *pid)
{
	if (usec)
		setenv("WATCHDOG_USEC", usec, 1);
	else
		unsetenv("WATCHDOG_USEC");
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	else
		unsetenv("WATCHDOG_PID");
	return notify_watchdog_us();
}

static void test_watchdog_given_environment_believes_numbers_for_us_alone(void **state)
{
	char self[16];

	(void)state;
	snprintf(self, sizeof(self), "%d", getpid());
	assert_int_equal(watchdog_of("3000000", NULL), 3000000);
	assert_int_equal(watchdog_of("3000000", self), 3000000);
	assert_int_equal(watchdog_of("3000000", "1"), 0);
	assert_int_equal(watchdog_of(NULL, self), 0);
	assert_int_equal(watchdog_of("3s", NULL), 0);
	assert_int_equal(watchdog_of("-1", NULL), 0);
	assert_int_equal(watchdog_of("99999999999999999999999", NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_send_given_abstract_name_reaches_it),
		cmocka_unit_test(test_send_given_path_reaches_it),
		cmocka_unit_test(test_send_given_no_or_bad_name_says_so),
		cmocka_unit_test(test_watchdog_given_environment_believes_numbers_for_us_alone),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
