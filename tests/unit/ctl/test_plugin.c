/* Which shared objects are loaded as plug-ins, and which are not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ctl/plugin.h>
#include <tcp/mtcp_cc_plugin.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/mtcpd-plugin-XXXXXX";
static char file[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/plugin.so", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(dir);
}

/* A copy of `from` with that mode, owned by whoever we are. */
static void install(const char *from, mode_t mode)
{
	char buf[4096];
	FILE *in = fopen(from, "rb"), *out = fopen(file, "wb");
	size_t n;

	assert_non_null(in);
	assert_non_null(out);
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
		assert_int_equal(fwrite(buf, 1, n, out), n);
	fclose(in);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(file, mode), 0);
}

/* In a child: mtcpd loads one in its life, and the loader knows its objects by their names. */
static int load(void)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct mtcp_cc_plugin *p = NULL;
		const char *why = NULL;
		int rc = plugin_load(file, &p, &why);

		_exit(why && (rc == 0) == (p != NULL) ? -rc : 255);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

/* Nobody else's plug-in is loaded: who is not root sees that of their own. */
static int if_root(int rc)
{
	return geteuid() == 0 ? rc : -EPERM;
}

static void test_plugin_given_good_file_loads_it(void **state)
{
	const struct mtcp_cc_plugin *p = NULL;
	const char *why;

	(void)state;
	install(PLUGIN_GOOD, 0755);
	assert_int_equal(plugin_load(file, &p, &why), if_root(0));
	if (!p)
		return;
	assert_string_equal(p->name, "scalable");
	{ /* it works: one byte more for each hundred */
		struct mtcp_cc_view v = {.mss = 1000, .cwnd = 50000, .ssthresh = 1000};

		p->init(&v);
		for (int i = 0; i < 5; i++)
			p->acked(&v, 1050, 0, 0);
		assert_int_equal(v.cwnd, 50000 + 52);
		assert_int_equal(p->ssthresh(&v, MTCP_CC_LOSS), 50052 - 50052 / 8);
	}
}

static void test_plugin_given_file_others_may_write_refuses(void **state)
{
	(void)state;
	install(PLUGIN_GOOD, 0775);
	assert_int_equal(load(), -EPERM);
	install(PLUGIN_GOOD, 0757);
	assert_int_equal(load(), -EPERM);
	install(PLUGIN_GOOD, 0755);
	if (geteuid() == 0)
		assert_int_equal(chown(file, 12345, 0), 0);
	assert_int_equal(load(), -EPERM);
}

static void test_plugin_given_link_or_device_refuses(void **state)
{
	(void)state;
	assert_int_equal(symlink(PLUGIN_GOOD, file), 0);
	assert_int_equal(load(), -ELOOP);
	unlink(file);
	assert_int_equal(mkfifo(file, 0700), 0);
	assert_int_equal(load(), -EPERM);
	unlink(file);
	assert_int_equal(load(), -ENOENT);
	install(PLUGIN_GOOD, 0755);
}

static void test_plugin_given_other_version_or_no_object_refuses(void **state)
{
	(void)state;
	install(PLUGIN_OTHER, 0755);
	assert_int_equal(load(), if_root(-EPROTO));
	unlink(file);
	install("/etc/passwd", 0755);
	assert_int_equal(load(), if_root(-ENOEXEC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_plugin_given_file_others_may_write_refuses),
		T(test_plugin_given_link_or_device_refuses),
		T(test_plugin_given_other_version_or_no_object_refuses),
		T(test_plugin_given_good_file_loads_it),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
