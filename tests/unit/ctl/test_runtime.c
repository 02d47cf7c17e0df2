/* The runtime directory and its sockets, where others were before us or mean us harm. */
#include <ctl/runtime.h>

#include <ctl/log.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../faults.h"

static char base[64], dir[80];
static struct runtime rt;

static int setup(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/mtcpd-test-XXXXXX");
	assert_non_null(mkdtemp(base));
	snprintf(dir, sizeof(dir), "%s/run", base);
	log_fd_set(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return runtime_open(&rt, dir, "");
}

static int teardown(void **state)
{
	(void)state;
	runtime_close(&rt);
	log_fd_set(2);
	assert_int_not_equal(access(dir, F_OK), 0); /* made here: gone again */
	assert_int_equal(rmdir(base), 0);
	return 0;
}

static int mode_of(const char *name)
{
	struct stat st;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return lstat(path, &st) ? -1 : (int)(st.st_mode & 07777);
}

static void test_listen_given_no_group_admits_only_us(void **state)
{
	int fd = runtime_listen(&rt, "a.sock", SOCK_STREAM);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(mode_of("a.sock"), 0600);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	runtime_unlink(&rt, "a.sock");
	assert_int_equal(mode_of("a.sock"), -1);
}

static void test_listen_given_group_admits_it(void **state)
{
	struct group *g = getgrgid(getgid());
	int fd;

	(void)state;
	assert_non_null(g);
	runtime_close(&rt);
	assert_int_equal(runtime_open(&rt, dir, g->gr_name), 0);
	fd = runtime_listen(&rt, "a.sock", SOCK_STREAM);
	assert_true(fd >= 0);
	assert_int_equal(mode_of("a.sock"), 0660);
	close(fd);
	runtime_unlink(&rt, "a.sock");
}

/* A group that does not exist must not open the door to others. */
static void test_open_given_unknown_group_admits_only_us(void **state)
{
	int fd;

	(void)state;
	runtime_close(&rt);
	assert_int_equal(runtime_open(&rt, dir, "no-such-group-here"), 0);
	assert_int_equal(rt.gid, (gid_t)-1);
	fd = runtime_listen(&rt, "a.sock", SOCK_STREAM);
	assert_int_equal(mode_of("a.sock"), 0600);
	close(fd);
	runtime_unlink(&rt, "a.sock");
}

static void test_open_given_unusable_path_refuses(void **state)
{
	char file[80], long_dir[300];
	struct runtime other;
	int fd;

	(void)state;
	snprintf(file, sizeof(file), "%s/file", base);
	fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(runtime_open(&other, file, ""), -ENOTDIR);
	assert_int_equal(other.dir_fd, -1);
	assert_int_equal(unlink(file), 0);
	snprintf(file, sizeof(file), "%s/no/such", base);
	assert_int_equal(runtime_open(&other, file, ""), -ENOENT);
	memset(long_dir, 'x', sizeof(long_dir));
	long_dir[sizeof(long_dir) - 1] = '\0';
	assert_int_equal(runtime_open(&other, long_dir, ""), -ENAMETOOLONG);
	runtime_close(&other);
}

static void test_open_given_another_daemon_refuses_and_leaves_it_alone(void **state)
{
	struct runtime other;

	(void)state;
	assert_int_equal(runtime_open(&other, dir, ""), -EADDRINUSE);
	assert_int_equal(other.dir_fd, -1);
	runtime_close(&other);
	assert_int_equal(access(dir, F_OK), 0);
}

static void test_listen_given_name_taken_does_as_the_owner_deserves(void **state)
{
	char path[128], name[120];
	int served, fd;

	(void)state;
	served = runtime_listen(&rt, "a.sock", SOCK_STREAM);
	assert_int_equal(runtime_listen(&rt, "a.sock", SOCK_STREAM), -EADDRINUSE); /* answers */
	close(served);
	fd = runtime_listen(&rt, "a.sock", SOCK_STREAM); /* answers no more: replaced */
	assert_true(fd >= 0);
	close(fd);
	runtime_unlink(&rt, "a.sock");

	snprintf(path, sizeof(path), "%s/a.sock", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0); /* not followed, not removed */
	assert_int_equal(runtime_listen(&rt, "a.sock", SOCK_STREAM), -EEXIST);
	assert_int_equal(unlink(path), 0);

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(runtime_listen(&rt, name, SOCK_STREAM), -ENAMETOOLONG);
	runtime_unlink(&rt, name);
}

static void test_listen_given_any_call_failing_leaves_no_file(void **state)
{
	int before = dup(2), after, fd;
	unsigned int n = 1;

	(void)state;
	close(before);
	for (;; n++) {
		fault_arm(n);
		fd = runtime_listen(&rt, "a.sock", SOCK_STREAM);
		if (!fault_end())
			break;
		assert_true(fd < 0 && n < 20);
		assert_int_equal(mode_of("a.sock"), -1);
	}
	assert_true(n > 2);
	close(fd);
	runtime_unlink(&rt, "a.sock");
	after = dup(2);
	assert_int_equal(before, after); /* no descriptor was lost */
	close(after);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_listen_given_no_group_admits_only_us),
		T(test_listen_given_group_admits_it),
		T(test_open_given_unknown_group_admits_only_us),
		T(test_open_given_unusable_path_refuses),
		T(test_open_given_another_daemon_refuses_and_leaves_it_alone),
		T(test_listen_given_name_taken_does_as_the_owner_deserves),
		T(test_listen_given_any_call_failing_leaves_no_file),
	};

	return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
