/* Placeholders that are used again: an ordinary program must not notice.
 *
 * As test_preload.c it runs twice, over loopback and over the fake native library. A socket's
 * inode tells whether it is the placeholder of an earlier one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	MANY = 100, /* more than are kept */
	OWN_FLOOR = 512,
	OWN_END = 580,
};

static bool native;
static const char *served_text = "127.0.0.1";
static struct sockaddr_in served, loopback;

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	return st.st_ino;
}

static int listener(const char *text, struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET};
	assert_int_equal(inet_pton(AF_INET, text, &at->sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof(*at)), 0);
	assert_int_equal(listen(fd, MANY), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
	return fd;
}

static int served_listener = -1, loopback_listener = -1;

static void connect_to(int fd, const struct sockaddr_in *at)
{
	assert_true(
		connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 || errno == EINPROGRESS);
}

/* Connects fd to where mtcpd serves; the accepted end. */
static int serve(int fd)
{
	int end;

	connect_to(fd, &served);
	end = accept(served_listener, NULL, NULL);
	assert_true(end >= 0);
	return end;
}

static void live(int fd)
{
	assert_int_equal(close(serve(fd)), 0);
	assert_int_equal(close(fd), 0);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* As socket() made it, and good for a connection of the kernel's. */
static void expect_new(int fd, int flags)
{
	struct pollfd p = {fd, POLLIN | POLLRDHUP, 0};
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	int end;
	char c;

	assert_int_equal(fcntl(fd, F_GETFL), O_RDWR | (flags & SOCK_NONBLOCK ? O_NONBLOCK : 0));
	assert_int_equal(fcntl(fd, F_GETFD), flags & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
	assert_int_equal(fcntl(fd, F_GETOWN), 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_PRIORITY), 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_ERROR), 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
	assert_int_equal(option(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	assert_int_equal(name.sin_port, 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLHUP);
	connect_to(fd, &loopback);
	end = accept(loopback_listener, NULL, NULL);
	assert_int_equal(write(end, "x", 1), 1);
	p.events = POLLIN;
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(fd, &c, 1), 1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(read(end, &c, 1), 0);
	close(end);
}

static int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	return fd;
}

/* Takes what spares there are. */
static void take_all(int fds[MANY])
{
	for (int i = 0; i < MANY; i++)
		fds[i] = new_socket();
}

static void close_all(const int fds[MANY])
{
	for (int i = 0; i < MANY; i++)
		assert_int_equal(close(fds[i]), 0);
}

/* Leaves as many spares as are kept. */
static void fill(void)
{
	int fds[MANY], ends[MANY];

	take_all(fds);
	for (int i = 0; i < MANY; i++)
		ends[i] = serve(fds[i]);
	close_all(fds);
	close_all(ends);
}

static bool is_open(int fd)
{
	return syscall(SYS_fcntl, fd, F_GETFD) >= 0;
}

/* A number of the library's own, which has a spare, or a free one. */
static int own_number(void)
{
	int fd = OWN_FLOOR;

	fill();
	while (native && fd < OWN_END && !is_open(fd))
		fd++;
	return fd;
}

static void expect_inode_gone(ino_t gone)
{
	int fds[MANY];

	take_all(fds);
	for (int i = 0; i < MANY; i++)
		assert_true(inode(fds[i]) != gone);
	close_all(fds);
}

/* Nothing of the spares' own numbers may be taken for them, so they are emptied before. */
static int setup(void **state)
{
	int fds[MANY];

	(void)state;
	take_all(fds);
	close_all(fds); /* never connected: not kept */
	return 0;
}

static void test_socket_given_closed_ones_expected_their_placeholders(void **state)
{
	int fd = new_socket(), end = serve(fd), number = fd;
	ino_t first = inode(fd), second = inode(end);

	(void)state;
	close(fd);
	close(end);
	fd = new_socket();
	assert_int_equal(fd, number);
	if (native)
		assert_true(inode(fd) == first || inode(fd) == second);
	end = serve(fd); /* the accepted one gets the other */
	if (native)
		assert_true(inode(end) == first || inode(end) == second);
	assert_true(inode(end) != inode(fd));
	close(fd);
	close(end);
}

static void test_socket_given_flags_of_before_expected_own_flags(void **state)
{
	static const int flags[] = {0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC};
	int on = 1;

	(void)state;
	for (int i = 0; i < 16; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | flags[i / 4], 0);

		if (i % 3 == 1)
			assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		live(fd);
		fd = socket(AF_INET, SOCK_STREAM | flags[i % 4], 0);
		if (i % 3 == 2)
			assert_int_equal(ioctl(fd, FIONBIO, &on), 0);
		live(fd);
		fd = socket(AF_INET, SOCK_STREAM | flags[i % 4], 0);
		expect_new(fd, flags[i % 4]);
	}
}

static void soil_option(int fd)
{
	int on = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &on, sizeof(on)), 0);
}

static void soil_owner(int fd)
{
	assert_int_equal(fcntl(fd, F_SETOWN, getpid()), 0);
}

static void soil_owner_by_ioctl(int fd)
{
	int pid = getpid();

	assert_int_equal(ioctl(fd, FIOSETOWN, &pid), 0);
}

static void soil_async(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, O_ASYNC), 0);
}

static void soil_shutdown(int fd)
{
	assert_int_equal(shutdown(fd, SHUT_RD), -1);
}

static void soil_bind(int fd)
{
	struct sockaddr_in any = {.sin_family = AF_UNSPEC}; /* Linux takes it for AF_INET */

	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
}

static void soil_epoll(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	int ep = epoll_create1(0);

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event), 0);
	close(ep);
}

static void test_socket_given_touched_one_closed_expected_as_new(void **state)
{
	static void (*const soil[])(int) = {soil_option, soil_owner, soil_owner_by_ioctl,
		soil_async, soil_shutdown, soil_bind, soil_epoll};

	(void)state;
	for (size_t i = 0; i < sizeof(soil) / sizeof(soil[0]); i++) {
		int fds[MANY], fd = new_socket();
		ino_t touched = inode(fd);

		soil[i](fd);
		live(fd);
		take_all(fds);
		for (int j = 0; j < MANY; j++) {
			assert_true(inode(fds[j]) != touched);
			expect_new(fds[j], 0);
		}
	}
}

/* -- whom else a placeholder may belong to ----------------------------------------------------- */

static int pass(int through[2], int fd, bool many)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	char c = 'x';
	struct iovec iov = {&c, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control.bytes,
				    .msg_controllen = sizeof(control)}};
	int got;

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (many)
		assert_int_equal(sendmmsg(through[0], &m, 1, 0), 1);
	else
		assert_int_equal(sendmsg(through[0], &m.msg_hdr, 0), 1);
	assert_int_equal(recvmsg(through[1], &m.msg_hdr, 0), 1);
	memcpy(&got, CMSG_DATA(&control.header), sizeof(got));
	return got;
}

static void test_socket_given_one_passed_on_expected_another(void **state)
{
	int through[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, through), 0);
	for (int i = 0; i < 2; i++) {
		int fd = new_socket(), end = serve(fd);
		int got = pass(through, fd, i);
		ino_t passed = inode(got);

		close(fd);
		close(end);
		expect_inode_gone(passed);
		close(got);
	}
	close(through[0]);
	close(through[1]);
}

static void test_socket_given_one_with_two_numbers_expected_another(void **state)
{
	int fd = new_socket(), end = serve(fd), other = dup(fd);
	ino_t held = inode(fd);
	char c = 'x';

	(void)state;
	close(fd);
	expect_inode_gone(held);
	assert_int_equal(write(other, &c, 1), 1);
	assert_int_equal(read(end, &c, 1), 1);
	close(other);
	close(end);
}

static pid_t child_by_fork(int until)
{
	pid_t pid = fork();
	char c;

	if (pid == 0)
		_exit(read(until, &c, 1) != 0);
	return pid;
}

static int wait_for_end(void *arg)
{
	char c;

	return syscall(SYS_read, *(int *)arg, &c, 1) != 0;
}

static pid_t child_by_clone(int until)
{
	static _Alignas(16) char stack[64 << 10];

	return clone(wait_for_end, stack + sizeof(stack), SIGCHLD, &until);
}

/* No handlers of fork() run. */
static pid_t child_by_bare_fork(int until)
{
	pid_t pid = _Fork();

	if (pid == 0)
		_exit(wait_for_end(&until));
	return pid;
}

static pid_t child_by_spawn(int until)
{
	char path[] = "/bin/cat";
	char *argv[] = {path, NULL}, *envp[] = {NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, until, 0);
	assert_int_equal(posix_spawn(&pid, path, &actions, NULL, argv, envp), 0);
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static pid_t child_by_spawnp(int until)
{
	char path[] = "cat";
	char *argv[] = {path, NULL}, *envp[] = {NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, until, 0);
	assert_int_equal(posix_spawnp(&pid, path, &actions, NULL, argv, envp), 0);
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* What a child holds that was made while a socket was open is not the next socket's. */
static void test_socket_given_one_that_a_child_has_expected_another(void **state)
{
	static pid_t (*const child[])(int) = {
		child_by_fork, child_by_clone, child_by_bare_fork, child_by_spawn, child_by_spawnp};
	enum { FORKS = 3 }; /* they have the writing end, too */

	(void)state;
	for (size_t i = 0; i < sizeof(child) / sizeof(child[0]); i++) {
		int fd, end, until[2], status;
		pid_t pid;
		ino_t held;

		fill();
		fd = new_socket();
		end = serve(fd);
		held = inode(fd);
		assert_int_equal(pipe2(until, O_CLOEXEC), 0);
		pid = child[i](until[0]);
		close(until[0]);
		close(fd);
		close(end);
		if (i < FORKS)
			kill(pid, SIGKILL);
		close(until[1]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(i < FORKS || status == 0);
		expect_inode_gone(held);
	}
}

static void test_socket_given_one_that_a_command_has_expected_another(void **state)
{
	int fd = new_socket(), end = serve(fd);
	ino_t held = inode(fd);
	FILE *f = popen("cat", "w");

	(void)state;
	assert_non_null(f);
	close(fd);
	close(end);
	assert_int_equal(pclose(f), 0);
	expect_inode_gone(held);
	fd = new_socket();
	end = serve(fd);
	held = inode(fd);
	assert_int_equal(system("sleep 1 >/dev/null 2>&1 &"), 0);
	close(fd);
	close(end);
	expect_inode_gone(held);
}

/* Nobody closes a child's spares that no handler told: there are none. */
static void test_socket_given_spares_that_a_child_has_expected_others(void **state)
{
	static pid_t (*const child[])(int) = {child_by_clone, child_by_bare_fork};

	(void)state;
	for (size_t i = 0; i < sizeof(child) / sizeof(child[0]); i++) {
		int until[2], fd = own_number();
		ino_t held = native ? inode(fd) : 0;
		pid_t pid;

		assert_int_equal(pipe2(until, O_CLOEXEC), 0);
		pid = child[i](until[0]);
		expect_inode_gone(held);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(until[0]);
		close(until[1]);
	}
}

/* The child has none of the parent's spares, and makes its own. */
static void test_fork_given_spares_expected_child_without(void **state)
{
	int status, fds[MANY];
	ino_t spare[2];
	pid_t pid;

	(void)state;
	fds[0] = new_socket();
	fds[1] = serve(fds[0]);
	spare[0] = inode(fds[0]);
	spare[1] = inode(fds[1]);
	close(fds[0]);
	close(fds[1]);
	pid = fork();
	if (pid == 0) {
		take_all(fds);
		for (int i = 0; i < MANY; i++) {
			if (inode(fds[i]) == spare[0] || inode(fds[i]) == spare[1])
				_exit(1);
		}
		close_all(fds);
		expect_new(new_socket(), 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	expect_new(new_socket(), 0);
}

static void test_socket_given_other_network_expected_of_that(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		served_listener = listener(served_text, &served); /* the other is the parent's */
		fill();
		if (unshare(CLONE_NEWNET) != 0)
			_exit(2);
		/* its loopback is down */
		_exit(connect(new_socket(), (struct sockaddr *)&loopback, sizeof(loopback)) == 0 ||
			errno != ENETUNREACH);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 2)
		skip(); /* not root */
	assert_int_equal(status, 0);
}

/* -- numbers ------------------------------------------------------------------------------------
 */

static void test_dup2_given_number_of_spare_expected_made(void **state)
{
	int fd = own_number();

	(void)state;
	assert_int_equal(close(fd), -1); /* it is not the program's */
	assert_int_equal(errno, EBADF);
	assert_int_equal(is_open(fd), native);
	assert_int_equal(dup2(STDERR_FILENO, fd), fd);
	assert_int_equal(close(fd), 0);
	assert_false(is_open(fd));
	fd = own_number();
	assert_int_equal(dup3(STDERR_FILENO, fd, O_CLOEXEC), fd);
	assert_int_equal(close(fd), 0);
}

static void test_close_range_given_spares_expected_new_sockets(void **state)
{
	(void)state;
	fill();
	assert_int_equal(close_range(OWN_FLOOR, ~0U, 0), 0);
	for (int i = 0; i < MANY; i++)
		expect_new(new_socket(), 0);
}

/* As a program does that closes everything by raw system calls, and opens other things. */
static void test_socket_given_spares_closed_past_us_expected_sockets(void **state)
{
	int fds[MANY], zero = open("/dev/zero", O_RDONLY);
	char c = 'x';

	(void)state;
	fill();
	for (int fd = OWN_FLOOR; fd < OWN_END; fd++) {
		if (syscall(SYS_close, fd) == 0 && fd % 2)
			assert_int_equal(syscall(SYS_dup3, zero, fd, 0), fd);
	}
	take_all(fds);
	for (int i = 0; i < MANY; i++)
		inode(fds[i]); /* it is one */
	close_all(fds);
	for (int fd = OWN_FLOOR + 1; native && fd < OWN_FLOOR + 64; fd += 2) {
		assert_int_equal(syscall(SYS_read, fd, &c, 1), 1);
		assert_int_equal(syscall(SYS_close, fd), 0);
	}
	close(zero);
}

/* What has the number of a socket that was closed by a raw system call is closed, and not kept. */
static void test_close_given_number_of_socket_closed_past_us_expected_closed(void **state)
{
	int through[2], fd = new_socket(), end = serve(fd);
	struct pollfd p = {.events = POLLIN};

	(void)state;
	assert_int_equal(pipe(through), 0);
	assert_int_equal(syscall(SYS_close, fd), 0);
	assert_int_equal(syscall(SYS_dup3, through[1], fd, 0), fd);
	assert_int_equal(close(through[1]), 0);
	assert_int_equal(close(fd), 0);
	p.fd = through[0];
	assert_int_equal(poll(&p, 1, 0), 1); /* nobody writes any more */
	assert_int_equal(p.revents, POLLHUP);
	close(through[0]);
	close(end);
}

/* Numbers that run out: spares give theirs to sockets of either family. */
static void test_socket_given_no_number_left_expected_from_spares(void **state)
{
	int taken[2048], n = 0, four, six;
	struct rlimit before, tight;

	(void)state;
	fill();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = 1024;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	while (n < 2048 && (taken[n] = dup(STDERR_FILENO)) >= 0)
		n++;
	four = socket(AF_INET, SOCK_STREAM, 0);
	while (n < 2048 && (taken[n] = dup(STDERR_FILENO)) >= 0)
		n++;
	six = socket(AF_INET6, SOCK_STREAM, 0);
	assert_true(native ? four >= 0 && six >= 0 : four < 0 && six < 0);
	for (int i = 0; i < n; i++)
		close(taken[i]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	if (native) {
		expect_new(four, 0);
		assert_int_equal(option(six, SOL_SOCKET, SO_DOMAIN), AF_INET6);
		close(six);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			test_socket_given_closed_ones_expected_their_placeholders, setup),
		cmocka_unit_test_setup(test_socket_given_flags_of_before_expected_own_flags, setup),
		cmocka_unit_test_setup(test_socket_given_touched_one_closed_expected_as_new, setup),
		cmocka_unit_test_setup(test_socket_given_one_passed_on_expected_another, setup),
		cmocka_unit_test_setup(
			test_socket_given_one_with_two_numbers_expected_another, setup),
		cmocka_unit_test_setup(
			test_socket_given_one_that_a_child_has_expected_another, setup),
		cmocka_unit_test_setup(
			test_socket_given_one_that_a_command_has_expected_another, setup),
		cmocka_unit_test_setup(
			test_socket_given_spares_that_a_child_has_expected_others, setup),
		cmocka_unit_test_setup(test_fork_given_spares_expected_child_without, setup),
		cmocka_unit_test_setup(test_socket_given_other_network_expected_of_that, setup),
		cmocka_unit_test_setup(test_dup2_given_number_of_spare_expected_made, setup),
		cmocka_unit_test_setup(test_close_range_given_spares_expected_new_sockets, setup),
		cmocka_unit_test_setup(
			test_socket_given_spares_closed_past_us_expected_sockets, setup),
		cmocka_unit_test_setup(
			test_close_given_number_of_socket_closed_past_us_expected_closed, setup),
		cmocka_unit_test_setup(
			test_socket_given_no_number_left_expected_from_spares, setup),
	};

	if (getenv("TEST_ADDR"))
		served_text = getenv("TEST_ADDR");
	native = getenv("TEST_NATIVE") != NULL;
	served_listener = listener(served_text, &served);
	loopback_listener = listener("127.0.0.1", &loopback);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
