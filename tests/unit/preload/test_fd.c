/* The descriptor table by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <libclient/preload/fd.h>

static struct pl_file *file(enum pl_kind kind, int native)
{
	struct pl_file *f = pl_file_new(kind, native);

	assert_non_null(f);
	assert_int_equal(f->refs, 0);
	assert_int_equal(f->backlog, -1);
	return f;
}

static void test_fd_given_unknown_numbers_expected_kernel(void **state)
{
	(void)state;
	assert_null(pl_fd_file(-1));
	assert_null(pl_fd_file(5));
	assert_null(pl_fd_file(PL_FDS_MAX));
	assert_null(pl_fd_file(INT32_MAX));
	assert_int_equal(pl_fd_native(-1), -1);
	assert_int_equal(pl_fd_native(5), -1);
	assert_int_equal(pl_fd_native_epoll(5), -1);
	assert_int_equal(pl_fd_remove(5), -1);
}

static void test_fd_given_kinds_expected_native_only_for_native(void **state)
{
	(void)state;
	assert_true(pl_fd_install(10, file(PL_PENDING, -1)));
	assert_int_equal(pl_fd_native(10), -1);
	pl_file_set(pl_fd_file(10), PL_NATIVE, 4242);
	assert_int_equal(pl_fd_native(10), 4242);
	assert_int_equal(pl_fd_native_epoll(10), -1);
	pl_file_set(pl_fd_file(10), PL_KERNEL, -1);
	assert_int_equal(pl_fd_native(10), -1);
	pl_file_set(pl_fd_file(10), PL_DEAD, -1);
	assert_int_equal(pl_fd_native(10), -1);
	assert_int_equal(pl_fd_remove(10), -1);
	assert_true(pl_fd_install(11, file(PL_EPOLL, 77)));
	assert_int_equal(pl_fd_native(11), -1);
	assert_int_equal(pl_fd_native_epoll(11), 77);
	assert_int_equal(pl_fd_remove(11), 77);
}

static void test_fd_given_shared_file_expected_native_returned_once(void **state)
{
	struct pl_file *f = file(PL_NATIVE, 9);

	(void)state;
	assert_true(pl_fd_install(20, f));
	assert_true(pl_fd_install(21, f));
	assert_true(pl_fd_install(20, f)); /* onto itself: still two numbers */
	assert_int_equal(f->refs, 2);
	assert_int_equal(pl_fd_remove(20), -1);
	assert_int_equal(pl_fd_native(21), 9);
	assert_int_equal(pl_fd_remove(21), 9);
	assert_null(pl_fd_file(21));
}

static void test_fd_given_number_beyond_table_expected_refused(void **state)
{
	struct pl_file *f = file(PL_PENDING, -1);

	(void)state;
	assert_false(pl_fd_install(PL_FDS_MAX, f));
	assert_true(pl_fd_install(PL_FDS_MAX - 1, f));
	assert_int_equal(pl_fd_top(), PL_FDS_MAX);
	assert_int_equal(pl_fd_remove(PL_FDS_MAX - 1), -1);
}

static void test_file_given_many_expected_recycled(void **state)
{
	enum { MANY = 1000 };
	static struct pl_file *f[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		f[i] = file(PL_NATIVE, i);
		f[i]->backlog = 5;
		assert_true(pl_fd_install(1000 + i, f[i]));
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(pl_fd_remove(1000 + i), i);
	/* The last one freed is the next one used, and starts clean. */
	assert_ptr_equal(file(PL_PENDING, -1), f[MANY - 1]);
}

static void test_file_opt_given_repeats_and_too_many_expected_last_value_and_bound(void **state)
{
	struct pl_file *f = file(PL_PENDING, -1);
	uint8_t big[PL_OPT_BYTES_MAX + 1] = {0};

	(void)state;
	for (int value = 1; value <= 3; value++)
		pl_file_opt_record(f, 1, 2, &value, sizeof(value));
	assert_int_equal(f->opt_count, 1);
	assert_int_equal(f->opts[0].value[0], 3);
	pl_file_opt_record(f, 1, 3, big, sizeof(big));
	assert_int_equal(f->opt_count, 1);
	for (int name = 10; name < 100; name++)
		pl_file_opt_record(f, 1, name, &name, sizeof(name));
	assert_int_equal(f->opt_count, PL_OPTS_MAX);
	assert_int_equal(f->opts[PL_OPTS_MAX - 1].name, 10 + PL_OPTS_MAX - 2);
	assert_true(pl_fd_install(30, f));
	assert_int_equal(pl_fd_remove(30), -1); /* frees them: the sanitizer would tell */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fd_given_unknown_numbers_expected_kernel),
		cmocka_unit_test(test_fd_given_kinds_expected_native_only_for_native),
		cmocka_unit_test(test_fd_given_shared_file_expected_native_returned_once),
		cmocka_unit_test(test_fd_given_number_beyond_table_expected_refused),
		cmocka_unit_test(test_file_given_many_expected_recycled),
		cmocka_unit_test(
			test_file_opt_given_repeats_and_too_many_expected_last_value_and_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
