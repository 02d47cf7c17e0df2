/* An attach that fails half-way, at each place where it can: told, and all of it taken back. */
#include "server_fixture.h"

#include "../faults.h"

#include <sys/stat.h>

enum {
	SWEEP_MAX = 400, /* more calls than an attach makes */
};

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Nothing of a session that failed may be left anywhere. */
static void assert_nothing_left(unsigned int fds)
{
	run_us(1000);
	assert_int_equal(fx.server->sessions.count, 0);
	assert_int_equal(fx.server->attach.pending_count, 0);
	assert_int_equal(fx.server->fds_used, 0);
	assert_int_equal(uid_sessions(fx.server->uids, getuid()), 0);
	for (unsigned int i = 0; i < FAKE_ENGINES; i++) {
		assert_int_equal(fake_engine[i].sessions, 0);
		assert_int_equal(fake_thread[i].watched, 0);
	}
	assert_int_equal(open_fds(), fds);
}

/* Attaches with the n-th call failing. The name of that call, NULL if there are not so many. */
static const char *attach_with_fault(unsigned int n)
{
	union proto_msg m = client_msg(PROTO_MSG_ATTACH);
	int fd = client_connect("mtcpd.sock", SOCK_SEQPACKET);
	const char *fired;
	struct received r;

	assert_true(fd >= 0);
	fault_arm(n);
	client_call(fd, &m, sizeof(m.attach), &r);
	fired = fault_end();
	assert_int_not_equal(r.len, -EAGAIN); /* an answer, or the end: no silence */
	if (!fired)
		assert_true(r.len == sizeof(r.m.attached) && r.m.h.result == 0);
	else if (r.len > 0)
		assert_true(r.m.h.result <= 0);
	client_close(&r);
	close(fd);
	return fired;
}

static void test_attach_given_any_call_failing_takes_all_back(void **state)
{
	unsigned int fds = open_fds(), n = 1, refused;
	struct stat before, after;
	const char *fired;

	(void)state;
	log_fd_set(open("/dev/null", O_WRONLY | O_CLOEXEC));
	fds++;
	assert_int_equal(fstat(STDIN_FILENO, &before), 0);
	do {
		fired = attach_with_fault(n);
		assert_nothing_left(fds);
		assert_int_equal(fstat(STDIN_FILENO, &after), 0);
		assert_true(same_file(&before, &after));
	} while (fired && ++n < SWEEP_MAX);
	assert_in_range(n, 20, SWEEP_MAX - 1); /* and one without a fault went through */
	refused = (unsigned int)(fx.server->counters.attach_refused_failed +
				 fx.server->counters.attach_refused_pending);
	assert_true(refused > 10);
	log_fd_set(2);
}

/* A client that is gone before it is judged has no pidfd to be had. What was not made yet must
 * not be closed: descriptor 0, for instance. */
static void test_attach_given_process_gone_closes_nothing_of_ours(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_ATTACH);
	int fd = client_connect("mtcpd.sock", SOCK_SEQPACKET);
	struct stat before, after;
	struct received r;

	(void)state;
	log_fd_set(open("/dev/null", O_WRONLY | O_CLOEXEC));
	assert_int_equal(fstat(STDIN_FILENO, &before), 0);
	turn(); /* accepted: its credentials are known */
	fault_arm_only("getsockopt", 1);
	client_call(fd, &m, sizeof(m.attach), &r);
	assert_string_equal(fault_end(), "getsockopt");
	assert_int_equal(r.m.h.result, -ESRCH);
	assert_int_equal(fstat(STDIN_FILENO, &after), 0);
	assert_true(same_file(&before, &after));
	assert_int_equal(fx.server->counters.attach_refused_failed, 1);
	close(fd);
	log_fd_set(2);
}

/* Out of descriptors: the daemon neither spins nor forgets the client that waits. */
static void test_accept_given_no_descriptor_pauses_and_goes_on(void **state)
{
	struct received r;
	int fd;

	(void)state;
	fault_arm_only("accept4", 1);
	assert_int_equal(client_attach(&fd, &r), 0);
	assert_string_equal(fault_end(), "accept4");
	assert_int_equal(fx.server->counters.accept_paused, 1);
	client_close(&r);
	close(fd);
}

/* Clients that leave in any order unlink themselves from the list of those that wait. */
static void test_pending_given_ends_in_any_order_stays_linked(void **state)
{
	static const int order[] = {2, 0, 3, 1};
	int fd[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		fd[i] = client_connect("mtcpd.sock", SOCK_SEQPACKET);
		assert_true(fd[i] >= 0);
	}
	run_us(2000);
	assert_int_equal(fx.server->attach.pending_count, 4);
	for (int i = 0; i < 3; i++) {
		close(fd[order[i]]);
		run_us(2000);
		assert_int_equal(fx.server->attach.pending_count, 3 - i);
	}
	server_stop_accepting(fx.server); /* also ends those that never said a word */
	assert_int_equal(fx.server->attach.pending_count, 0);
	assert_int_equal(fx.server->fds_used, 0);
	close(fd[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_attach_given_any_call_failing_takes_all_back),
		T(test_attach_given_process_gone_closes_nothing_of_ours),
		T(test_accept_given_no_descriptor_pauses_and_goes_on),
		T(test_pending_given_ends_in_any_order_stays_linked),
	};

	return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
