/* The guard: holes read as zeroes and condemn; everything else still kills.
 *
 * Each test runs in a child of its own, which plays the daemon: the handler is installed once
 * per process. The hostile client is a child of that child, of another uid.
 */
#include "support.h"

#include <shm/guard.h>
#include <shm/segment.h>

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define HUGE_PAGE ((size_t)2 << 20)

struct victim {
	struct shm_segment segment;
	_Atomic bool condemned;
};

static bool has_uffd;

static void start_guard(void)
{
	CHILD_CHECK(shm_guard_init(&has_uffd) == 0);
	if (!has_uffd)
		fprintf(stderr, "no userfaultfd here: plain holes allocate instead of faulting\n");
}

static void make_victim(struct victim *v, size_t len_bytes, bool huge)
{
	CHILD_CHECK(shm_segment_create(&v->segment, SHM_DOWN, len_bytes, huge) == 0);
	CHILD_CHECK(v->segment.huge == huge);
	atomic_init(&v->condemned, false);
	CHILD_CHECK(shm_guard_add(v->segment.base, len_bytes, &v->condemned) == 0);
}

/* What the client does to its own segment: fill, or punch. */
enum attack { FILL, PUNCH };

static void attack(struct victim *v, enum attack what, size_t offset, size_t len)
{
	int fd = shm_segment_export(&v->segment);
	pid_t pid = fork();
	int status;

	CHILD_CHECK(fd >= 0 && pid >= 0);
	if (pid == 0) {
		uint8_t *p =
			mmap(NULL, v->segment.len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (geteuid() == 0)
			child_become_client();
		CHILD_CHECK(p != MAP_FAILED);
		if (what == FILL)
			memset(p + offset, 0x5a, len);
		else
			CHILD_CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    (off_t)offset, (off_t)len) == 0);
		_exit(0);
	}
	CHILD_CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(fd);
}

static uint8_t look(const struct victim *v, size_t offset)
{
	return *(volatile uint8_t *)(v->segment.base + offset);
}

static void hole(bool huge)
{
	const size_t len = 4 * HUGE_PAGE;
	struct victim bad, good;

	start_guard();
	make_victim(&bad, len, huge);
	make_victim(&good, len, huge);
	attack(&bad, FILL, 0, len);
	attack(&good, FILL, 0, len);
	CHILD_CHECK(look(&bad, len - 1) == 0x5a && look(&good, len - 1) == 0x5a);
	attack(&bad, PUNCH, HUGE_PAGE, HUGE_PAGE);

	CHILD_CHECK(look(&bad, 0) == 0x5a && !bad.condemned); /* not in the hole */
	CHILD_CHECK(look(&bad, HUGE_PAGE + 5000) == 0);
	CHILD_CHECK(bad.condemned == has_uffd || huge);
	if (bad.condemned)
		CHILD_CHECK(look(&bad, 0) == 0 && look(&bad, len - 1) == 0);
	for (size_t i = 0; i < len; i += 4096)
		CHILD_CHECK(look(&good, i) == 0x5a);
	CHILD_CHECK(!good.condemned);
	shm_guard_remove(bad.segment.base);
	shm_guard_remove(good.segment.base);
	shm_segment_destroy(&bad.segment);
	shm_segment_destroy(&good.segment);
}

static void plain_hole_child(void *arg)
{
	(void)arg;
	hole(false);
}

static void huge_hole_child(void *arg)
{
	(void)arg;
	hole(true);
}

static void test_guard_plain_hole_is_zeroes(void **state)
{
	(void)state;
	assert_int_equal(in_child(plain_hole_child, NULL), 0);
}

static void test_guard_huge_hole_is_zeroes(void **state)
{
	int lock = hugepages_borrow(8), status;

	(void)state;
	if (lock < 0)
		skip();
	status = in_child(huge_hole_child, NULL);
	hugepages_return(lock, 8);
	assert_int_equal(status, 0);
}

/* The client frees its huge pages and takes them, and all others, away. */
static void drained_child(void *arg)
{
	struct victim bad;
	uint8_t *rest = NULL;
	long free_pages;
	size_t len;

	(void)arg;
	start_guard();
	make_victim(&bad, 2 * HUGE_PAGE, true);
	attack(&bad, FILL, 0, 2 * HUGE_PAGE);
	attack(&bad, PUNCH, 0, 2 * HUGE_PAGE);
	free_pages = read_number(HUGEPAGES_FREE);
	len = (size_t)free_pages * HUGE_PAGE;
	if (len > 0)
		rest = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE | MAP_POPULATE,
			-1, 0);
	CHILD_CHECK(rest != MAP_FAILED);
	CHILD_CHECK(look(&bad, 0) == 0 && look(&bad, HUGE_PAGE) == 0);
	CHILD_CHECK(bad.condemned);
}

static void test_guard_drained_pool_is_survived(void **state)
{
	int lock = hugepages_borrow(2), status;

	(void)state;
	if (lock < 0)
		skip();
	status = in_child(drained_child, NULL);
	hugepages_return(lock, 2);
	assert_int_equal(status, 0);
}

static void system_call_child(void *arg)
{
	struct victim bad;
	int fds[2];

	(void)arg;
	start_guard();
	make_victim(&bad, HUGE_PAGE, false);
	attack(&bad, PUNCH, 0, HUGE_PAGE);
	CHILD_CHECK(pipe(fds) == 0);
	if (has_uffd)
		CHILD_CHECK(write(fds[1], bad.segment.base, 64) == -1 && errno == EFAULT);
}

static void test_guard_hole_in_system_call_is_efault(void **state)
{
	(void)state;
	assert_int_equal(in_child(system_call_child, NULL), 0);
}

/* A file whose end moves away raises SIGBUS on any kernel, without userfaultfd. */
static uint8_t *truncated_mapping(size_t len_bytes)
{
	int fd = memfd_create("t", MFD_CLOEXEC);
	uint8_t *p;

	CHILD_CHECK(fd >= 0 && ftruncate(fd, (off_t)len_bytes) == 0);
	p = mmap(NULL, len_bytes, PROT_READ, MAP_SHARED, fd, 0);
	CHILD_CHECK(p != MAP_FAILED && ftruncate(fd, 0) == 0);
	close(fd);
	return p;
}

static void *read_all(void *arg)
{
	volatile uint8_t *p = arg;
	unsigned int sum = 0;

	for (size_t i = 0; i < 64 * 4096; i += 64)
		sum |= p[i];
	return sum ? arg : NULL;
}

static void threads_child(void *arg)
{
	enum { ROUNDS = 50, LEN = 64 * 4096 };
	_Atomic bool condemned;
	pthread_t thread[2];
	void *wrong;

	(void)arg;
	start_guard();
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t *p = truncated_mapping(LEN);

		atomic_init(&condemned, false);
		CHILD_CHECK(shm_guard_add(p, LEN, &condemned) == 0);
		for (int t = 0; t < 2; t++)
			CHILD_CHECK(pthread_create(&thread[t], NULL, read_all, p) == 0);
		for (int t = 0; t < 2; t++)
			CHILD_CHECK(pthread_join(thread[t], &wrong) == 0 && !wrong);
		CHILD_CHECK(condemned);
		shm_guard_remove(p);
		munmap(p, LEN);
	}
}

static void test_guard_two_threads_in_one_hole_survive(void **state)
{
	(void)state;
	assert_int_equal(in_child(threads_child, NULL), 0);
}

static void fault_elsewhere_child(void *arg)
{
	const struct rlimit no_core = {0, 0};
	struct victim v;
	volatile uint8_t *p;

	(void)arg;
	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGBUS, SIG_DFL); /* a sanitizer may have put its own there */
	start_guard();
	make_victim(&v, HUGE_PAGE, false);
	p = truncated_mapping(4096);
	(void)*p;
}

static void removed_child(void *arg)
{
	struct victim v;

	signal(SIGBUS, SIG_DFL);
	start_guard();
	(void)arg;
	make_victim(&v, HUGE_PAGE, false);
	shm_guard_remove(v.segment.base);
	shm_guard_remove(v.segment.base); /* unknown: ignored */
	CHILD_CHECK(mmap(v.segment.base, HUGE_PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
			    memfd_create("empty", 0), 0) == v.segment.base);
	(void)look(&v, 0);
}

static void killed_child(void *arg)
{
	(void)arg;
	signal(SIGBUS, SIG_DFL);
	start_guard();
	raise(SIGBUS);
}

static void assert_died_of_sigbus(int status)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

static void test_guard_fault_elsewhere_still_kills(void **state)
{
	(void)state;
	assert_died_of_sigbus(in_child(fault_elsewhere_child, NULL));
}

static void test_guard_removed_range_is_not_guarded(void **state)
{
	(void)state;
	assert_died_of_sigbus(in_child(removed_child, NULL));
}

static void test_guard_sent_signal_still_kills(void **state)
{
	(void)state;
	assert_died_of_sigbus(in_child(killed_child, NULL));
}

static void on_previous(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	_exit(info->si_addr ? 55 : 56);
}

static void previous_child(void *arg)
{
	struct sigaction sa = {.sa_flags = SA_SIGINFO};

	(void)arg;
	sa.sa_sigaction = on_previous;
	sigaction(SIGBUS, &sa, NULL);
	start_guard();
	(void)*(volatile uint8_t *)truncated_mapping(4096);
}

static void test_guard_fault_elsewhere_reaches_previous_handler(void **state)
{
	int status = in_child(previous_child, NULL);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 55);
}

static void bad_arguments_child(void *arg)
{
	_Atomic bool condemned = false;
	bool again;

	(void)arg;
	start_guard();
	CHILD_CHECK(shm_guard_init(&again) == -EALREADY);
	CHILD_CHECK(shm_guard_add(NULL, 4096, &condemned) == -EINVAL);
	CHILD_CHECK(shm_guard_add((void *)4096, 0, &condemned) == -EINVAL);
	CHILD_CHECK(shm_guard_add((void *)4097, 4096, &condemned) == -EINVAL);
	CHILD_CHECK(shm_guard_add((void *)4096, 100, &condemned) == -EINVAL);
	CHILD_CHECK(shm_guard_add((void *)4096, (size_t)1 << 41, &condemned) == -EINVAL);
}

static void test_guard_bad_arguments_are_refused(void **state)
{
	(void)state;
	assert_int_equal(in_child(bad_arguments_child, NULL), 0);
}

static void full_table_child(void *arg)
{
	static _Atomic bool condemned[SHM_GUARD_RANGES_MAX + 1];
	const size_t page = 4096, last = SHM_GUARD_RANGES_MAX - 1;
	struct shm_segment s;

	(void)arg;
	start_guard();
	CHILD_CHECK(
		shm_segment_create(&s, SHM_DOWN, (SHM_GUARD_RANGES_MAX + 1) * page, false) == 0);
	for (size_t i = 0; i < SHM_GUARD_RANGES_MAX; i++)
		CHILD_CHECK(shm_guard_add(s.base + i * page, page, &condemned[i]) == 0);
	CHILD_CHECK(
		shm_guard_add(s.base + (last + 1) * page, page, &condemned[last + 1]) == -ENOSPC);
	if (!has_uffd)
		return;
	CHILD_CHECK(fallocate(s.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    (off_t)(last * page), (off_t)page) == 0);
	CHILD_CHECK(*(volatile uint8_t *)(s.base + last * page) == 0);
	for (size_t i = 0; i <= last; i++)
		CHILD_CHECK(condemned[i] == (i == last));
	shm_guard_remove(s.base + 5 * page);
	CHILD_CHECK(shm_guard_add(s.base + (last + 1) * page, page, &condemned[last + 1]) == 0);
}

static void test_guard_full_table_refuses_and_still_guards(void **state)
{
	(void)state;
	assert_int_equal(in_child(full_table_child, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guard_plain_hole_is_zeroes),
		cmocka_unit_test(test_guard_huge_hole_is_zeroes),
		cmocka_unit_test(test_guard_drained_pool_is_survived),
		cmocka_unit_test(test_guard_hole_in_system_call_is_efault),
		cmocka_unit_test(test_guard_two_threads_in_one_hole_survive),
		cmocka_unit_test(test_guard_fault_elsewhere_still_kills),
		cmocka_unit_test(test_guard_removed_range_is_not_guarded),
		cmocka_unit_test(test_guard_sent_signal_still_kills),
		cmocka_unit_test(test_guard_fault_elsewhere_reaches_previous_handler),
		cmocka_unit_test(test_guard_bad_arguments_are_refused),
		cmocka_unit_test(test_guard_full_table_refuses_and_still_guards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
