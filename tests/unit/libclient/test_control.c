/* The control socket's other end talks nonsense, dies, or leaves its descriptors lying about. */
#include <libclient/client.h>

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int fds[2]; /* ours, the daemon's */

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}

static int teardown(void **state)
{
	(void)state;
	close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	return 0;
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Sends len bytes of *m with `count` copies of our standard input. */
static void say(const union proto_msg *m, size_t len, unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)m, len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *c;

		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		for (unsigned int i = 0; i < count; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &(int){STDIN_FILENO}, sizeof(int));
	}
	assert_int_equal(sendmsg(fds[1], &h, MSG_NOSIGNAL), len);
}

/* The id that the next request will carry: ids count up from the last. */
static uint32_t next_id(void)
{
	static uint32_t asked;

	return ++asked;
}

static union proto_msg answer(uint32_t id)
{
	union proto_msg m;

	memset(&m, 0, sizeof(m));
	m.h = (struct proto_msg_header){.magic = PROTO_MAGIC,
		.version = PROTO_VERSION,
		.type = PROTO_MSG_ATTACH,
		.request_id = id};
	return m;
}

/* The result of an attach whose answer lies in the socket already. */
static int attach(void)
{
	struct proto_msg_attached a;
	unsigned int count = 0;
	int got[4], err;

	err = control_attach(fds[0], 1, &a, got, 4, &count);
	while (count)
		close(got[--count]);
	return err;
}

static void test_attach_given_bad_answers_expected_error_and_no_descriptor_kept(void **state)
{
	enum { MAGIC, VERSION, SHORT, TYPE, TOO_MANY_FDS, CUT_OFF, REFUSED, CASES };
	unsigned int before = open_fds();

	(void)state;
	for (int which = 0; which < CASES; which++) {
		union proto_msg m = answer(next_id());
		size_t len = sizeof(m.attached);

		if (which == MAGIC)
			m.h.magic++;
		else if (which == VERSION)
			m.h.version++;
		else if (which == SHORT)
			len = sizeof(m.h) - 1;
		else if (which == TYPE)
			m.h.type = PROTO_MSG_GROW;
		else if (which == CUT_OFF)
			len = sizeof(m.h);
		else if (which == REFUSED)
			m.h.result = -EDQUOT;
		say(&m, len, which == TOO_MANY_FDS ? 8 : 2);
		assert_int_equal(attach(), which == REFUSED ? -EDQUOT : -EPROTO);
		assert_int_equal(open_fds(), before);
	}
}

/* Answers to requests that were given up come late, with what they carry: thrown away. */
static void test_attach_given_late_answers_before_its_own_expected_skips_them(void **state)
{
	unsigned int before = open_fds();
	uint32_t id = next_id();
	union proto_msg m;

	(void)state;
	m = answer(id + 1000);
	say(&m, sizeof(m.attached), 3);
	m = answer(id - 1);
	m.h.result = -EPERM;
	say(&m, sizeof(m.h), 0);
	m = answer(id);
	say(&m, sizeof(m.attached), 2);
	assert_int_equal(attach(), 0);
	assert_int_equal(open_fds(), before);
}

/* Segments that nobody can have: no index, no such direction, no descriptor or too many. */
static void test_segment_given_nonsense_expected_eproto_and_no_descriptor_kept(void **state)
{
	unsigned int before = open_fds();

	(void)state;
	for (int which = 0; which < 5; which++) {
		union proto_msg m = answer(0);

		(void)next_id();
		m.h.type = PROTO_MSG_SEGMENT;
		m.segment.direction = which == 0 ? 2 : SHM_UP;
		m.segment.index = which == 1 ? 0 : which == 2 ? PROTO_SEGMENTS_MAX : 1;
		m.segment.bytes = 2 << 20;
		say(&m, sizeof(m.segment), which == 3 ? 0 : which == 4 ? 2 : 1);
		assert_int_equal(attach(), -EPROTO);
		assert_int_equal(open_fds(), before);
	}
}

/* A descriptor that is not what it is said to be would be a fault later. */
static void test_segment_given_wrong_file_expected_refused(void **state)
{
	union proto_msg m = answer(0);
	unsigned int before = open_fds();

	(void)state;
	(void)next_id();
	m.h.type = PROTO_MSG_SEGMENT;
	m.segment.direction = SHM_UP;
	m.segment.index = 1;
	m.segment.bytes = 2 << 20; /* standard input is not so long */
	say(&m, sizeof(m.segment), 1);
	assert_int_equal(attach(), -EINVAL);
	assert_null(atomic_load(&ses.seg[SHM_UP][1].base));
	assert_int_equal(open_fds(), before);
}

static void test_attach_given_daemon_that_dies_expected_error_at_once(void **state)
{
	int err;

	(void)state;
	(void)next_id();
	shutdown(fds[1], SHUT_WR); /* takes the request, and is gone */
	assert_int_equal(attach(), -ECONNRESET);
	close(fds[1]);
	fds[1] = -1;
	(void)next_id();
	err = attach(); /* the request of before was not read: that is told first */
	assert_true(err == -ECONNRESET || err == -EPIPE);
}

static void test_requests_given_no_session_expected_enetdown(void **state)
{
	struct proto_msg_name name = {.port = 80};

	(void)state;
	assert_int_equal(control_name(&name, PROTO_MSG_BIND), -ENETDOWN);
	assert_int_equal(control_grow(4096), -ENETDOWN);
	assert_int_equal(control_need_segment(SHM_UP, 1), -ENETDOWN);
}

static void test_connect_given_path_too_long_expected_enametoolong(void **state)
{
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	assert_int_equal(control_connect(path), -ENAMETOOLONG);
	assert_int_equal(control_connect("/no/such/socket"), -ENOENT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_attach_given_bad_answers_expected_error_and_no_descriptor_kept),
		T(test_attach_given_late_answers_before_its_own_expected_skips_them),
		T(test_segment_given_nonsense_expected_eproto_and_no_descriptor_kept),
		T(test_segment_given_wrong_file_expected_refused),
		T(test_attach_given_daemon_that_dies_expected_error_at_once),
		T(test_requests_given_no_session_expected_enetdown),
		T(test_connect_given_path_too_long_expected_enametoolong),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
