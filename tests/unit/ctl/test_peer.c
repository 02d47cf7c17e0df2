/* Who is at the other end, and whether that process is still there. */
#include <ctl/peer.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults.h"

static int pair[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int teardown(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void test_get_given_own_socket_tells_of_us(void **state)
{
	struct peer p;

	(void)state;
	assert_int_equal(peer_get(pair[0], &p), 0);
	assert_int_equal(p.pid, getpid());
	assert_int_equal(p.uid, getuid());
	assert_int_equal(p.gid, getgid());
	assert_int_equal(peer_get(-1, &p), -EBADF);
	fault_arm(1);
	assert_true(peer_get(pair[0], &p) < 0);
	fault_end();
}

static void test_pidfd_given_living_process_stays_silent(void **state)
{
	struct peer p;
	int fd;

	(void)state;
	assert_int_equal(peer_get(pair[0], &p), 0);
	fd = peer_pidfd(pair[0], &p);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_false(peer_exited(fd));
	close(fd);
}

/* Linux says ENODATA or EINVAL of a process that was reaped: ESRCH here, and no descriptor. */
static void test_pidfd_given_process_gone_says_so(void **state)
{
	struct peer p = {.pid = getpid()};

	(void)state;
	fault_arm_only("getsockopt", 1);
	assert_int_equal(peer_pidfd(pair[0], &p), -ESRCH);
	assert_string_equal(fault_end(), "getsockopt");
	assert_int_equal(peer_pidfd(-1, &p), -EBADF);
}

static void test_reserved_given_no_root_takes_a_living_process_with_the_capability(void **state)
{
	struct peer p = {.pid = getpid(), .uid = 1};
	int fds[2];
	pid_t child;

	(void)state;
	if (getuid()) {
		print_message("skipped: needs root, whose capability is looked for\n");
		return;
	}
	assert_true(peer_may_bind_reserved(&(struct peer){.uid = 0}, -1));
	assert_int_equal(pipe(fds), 0); /* a pipe nobody wrote to: as a pidfd of the living */
	assert_true(peer_may_bind_reserved(&p, fds[0]));
	close(fds[1]);
	assert_true(peer_exited(fds[0]));
	assert_false(peer_may_bind_reserved(&p, fds[0])); /* believed of the living alone */
	close(fds[0]);
	assert_int_equal(pipe(fds), 0);
	child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	p.pid = child; /* no /proc/PID to look at any more */
	assert_false(peer_may_bind_reserved(&p, fds[0]));
	close(fds[0]);
	close(fds[1]);
}

/* Without privilege, by a process that has given it up. */
static void test_reserved_given_no_capability_refuses(void **state)
{
	int status = -1, life[2];
	pid_t child;

	(void)state;
	if (getuid()) {
		print_message("skipped: needs root, to become somebody else\n");
		return;
	}
	assert_int_equal(pipe(life), 0);
	child = fork();
	if (child == 0) {
		struct peer p = {.pid = getpid(), .uid = 65534};

		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(peer_may_bind_reserved(&p, life[0]) ? 1 : 0);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(life[0]);
	close(life[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_get_given_own_socket_tells_of_us),
		T(test_pidfd_given_living_process_stays_silent),
		T(test_pidfd_given_process_gone_says_so),
		T(test_reserved_given_no_root_takes_a_living_process_with_the_capability),
		T(test_reserved_given_no_capability_refuses),
	};

	return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
