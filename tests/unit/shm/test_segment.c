/* Segments, and what a client of another uid can do to them: nothing but punch its own. */
#include "support.h"

#include <shm/segment.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define HUGE_PAGE	   ((size_t)2 << 20)
#define FALLBACK_PAGES_MAX 1024 /* more memory than that a test should not take */

struct offer {
	int fd;
	size_t len_bytes;
};

static struct shm_segment make(enum shm_direction direction, size_t len_bytes, bool huge)
{
	struct shm_segment s;

	assert_int_equal(shm_segment_create(&s, direction, len_bytes, huge), 0);
	return s;
}

static void test_segment_created_is_rounded_and_populated(void **state)
{
	struct shm_segment s = make(SHM_UP, HUGE_PAGE + 1, false);
	struct stat st;

	(void)state;
	assert_int_equal(s.len_bytes, 2 * HUGE_PAGE);
	assert_false(s.huge);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_true((size_t)st.st_size == s.len_bytes);
	assert_true((size_t)st.st_blocks * 512 >= s.len_bytes);
	assert_int_equal(fcntl(s.fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	assert_true(fcntl(s.fd, F_GETFD) & FD_CLOEXEC);
	s.base[0] = s.base[s.len_bytes - 1] = 1;
	shm_segment_destroy(&s);
	assert_int_equal(s.fd, -1);
	assert_null(s.base);
	shm_segment_destroy(&s);
}

static void test_segment_impossible_length_is_an_error(void **state)
{
	struct shm_segment s;

	(void)state;
	assert_int_equal(shm_segment_create(&s, SHM_UP, 0, false), -EINVAL);
	assert_int_equal(shm_segment_create(&s, SHM_UP, SIZE_MAX - 5, false), -EINVAL);
	assert_int_equal(shm_segment_create(&s, SHM_DOWN, SIZE_MAX / 4, true), -ENOMEM);
	assert_int_equal(s.fd, -1);
	assert_null(s.base);
}

static void no_room_child(void *arg)
{
	const struct rlimit limit = {HUGE_PAGE, HUGE_PAGE};
	struct shm_segment s;

	(void)arg;
	signal(SIGXFSZ, SIG_IGN);
	CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHILD_CHECK(shm_segment_create(&s, SHM_DOWN, 2 * HUGE_PAGE, false) == -EFBIG);
	CHILD_CHECK(shm_segment_create(&s, SHM_DOWN, HUGE_PAGE, false) == 0);
}

static void test_segment_without_room_is_an_error_not_a_signal(void **state)
{
	(void)state;
	assert_int_equal(in_child(no_room_child, NULL), 0);
}

/* More than the pool has, whoever gives back some of it meanwhile. */
static void test_segment_without_hugepages_falls_back(void **state)
{
	int lock = hugepages_lock();
	long pages = 0;
	struct shm_segment s;

	(void)state;
	if (lock >= 0)
		pages = read_number(HUGEPAGES_FILE) + read_number(HUGEPAGES_MORE);
	else if (access(HUGEPAGES_FILE, F_OK) == 0)
		skip();
	if (pages > FALLBACK_PAGES_MAX) {
		close(lock);
		skip();
	}
	s = make(SHM_DOWN, (size_t)(pages + 1) * HUGE_PAGE, true);
	assert_false(s.huge);
	assert_int_equal(s.base[s.len_bytes - 1], 0);
	shm_segment_destroy(&s);
	close(lock);
}

static void test_segment_pair_carries_bytes_both_ways(void **state)
{
	struct shm_segment up = make(SHM_UP, 1, false), down = make(SHM_DOWN, 1, false);
	struct shm_segment client_up, client_down;

	(void)state;
	assert_int_equal(
		shm_segment_map(&client_up, SHM_UP, shm_segment_export(&up), up.len_bytes), 0);
	assert_int_equal(
		shm_segment_map(&client_down, SHM_DOWN, shm_segment_export(&down), down.len_bytes),
		0);
	assert_int_equal(client_up.fd, -1);
	memcpy(up.base + 4096, "to client", 10);
	memcpy(client_down.base + HUGE_PAGE - 10, "to daemon", 10);
	assert_string_equal(client_up.base + 4096, "to client");
	assert_string_equal(down.base + HUGE_PAGE - 10, "to daemon");
	shm_segment_destroy(&client_up);
	shm_segment_destroy(&client_down);
	shm_segment_destroy(&up);
	shm_segment_destroy(&down);
}

static void test_segment_of_other_length_is_not_mapped(void **state)
{
	struct shm_segment up = make(SHM_UP, 1, false), client;
	int fd = shm_segment_export(&up);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(shm_segment_map(&client, SHM_UP, fd, 2 * HUGE_PAGE), -EINVAL);
	assert_null(client.base);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed all the same */
	assert_int_equal(shm_segment_map(&client, SHM_UP, shm_segment_export(&up), 4096), -EINVAL);
	shm_segment_destroy(&up);
}

/* Whether the mapping that starts at base is of a `down` segment. */
static bool is_down_mapping(const void *base)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], start[32];
	bool found = false;

	CHILD_CHECK(maps);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)base);
	while (fgets(line, sizeof(line), maps))
		found |= strncmp(line, start, strlen(start)) == 0 && strstr(line, "mtcpd-down");
	fclose(maps);
	return found;
}

static void check_not_inherited(void *arg)
{
	CHILD_CHECK(!is_down_mapping(arg));
}

static void test_segment_of_client_is_not_forked(void **state)
{
	struct shm_segment down = make(SHM_DOWN, 1, false), client;

	(void)state;
	assert_int_equal(
		shm_segment_map(&client, SHM_DOWN, shm_segment_export(&down), down.len_bytes), 0);
	assert_true(is_down_mapping(client.base));
	assert_int_equal(in_child(check_not_inherited, client.base), 0);
	shm_segment_destroy(&client);
	shm_segment_destroy(&down);
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

#define CHILD_REFUSED(call, error)                                                                 \
	do {                                                                                       \
		errno = 0;                                                                         \
		CHILD_CHECK((call) == -1 && errno == (error));                                     \
	} while (0)

/* Proves that reopening through /proc works here for what is one's own. */
static void check_reopen_works(void)
{
	int own = memfd_create("own", 0);

	CHILD_CHECK(own >= 0 && reopen(own, O_RDWR) >= 0);
}

static void attack_up(void *arg)
{
	const struct offer *o = arg;
	uint8_t *map;

	child_become_client();
	check_reopen_works();
	errno = 0;
	CHILD_CHECK(mmap(NULL, o->len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0) ==
			    MAP_FAILED &&
		    errno == EACCES);
	map = mmap(NULL, o->len_bytes, PROT_READ, MAP_SHARED, o->fd, 0);
	CHILD_CHECK(map != MAP_FAILED && map[0] == 42);
	CHILD_REFUSED(mprotect(map, o->len_bytes, PROT_READ | PROT_WRITE), EACCES);
	errno = 0;
	CHILD_CHECK(madvise(map, o->len_bytes, MADV_REMOVE) == -1);
	CHILD_REFUSED(reopen(o->fd, O_RDWR), EACCES);
	CHILD_REFUSED(reopen(o->fd, O_WRONLY), EACCES);
	CHILD_REFUSED(fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			      (off_t)o->len_bytes),
		EBADF);
	CHILD_REFUSED((int)pwrite(o->fd, "x", 1, 0), EBADF);
	CHILD_CHECK(ftruncate(o->fd, 0) == -1);
	CHILD_REFUSED(fchmod(o->fd, 0666), EPERM);
	CHILD_REFUSED(fchown(o->fd, TEST_CLIENT_UID, TEST_CLIENT_UID), EPERM);
	CHILD_REFUSED(fcntl(o->fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	CHILD_CHECK(map[0] == 42);
}

static void run_up_attack(bool huge)
{
	struct shm_segment up = make(SHM_UP, HUGE_PAGE, huge);
	struct offer o = {shm_segment_export(&up), up.len_bytes};

	assert_int_equal(up.huge, huge);
	assert_true(o.fd >= 0);
	assert_int_equal(fcntl(o.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	up.base[0] = 42;
	assert_int_equal(in_child(attack_up, &o), 0);
	assert_int_equal(up.base[0], 42);
	close(o.fd);
	shm_segment_destroy(&up);
}

static void attack_down(void *arg)
{
	const struct offer *o = arg;
	uint8_t *map;

	child_become_client();
	check_reopen_works();
	map = mmap(NULL, o->len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0);
	CHILD_CHECK(map != MAP_FAILED);
	map[0] = 42;
	CHILD_REFUSED(ftruncate(o->fd, 0), EPERM);
	CHILD_REFUSED(ftruncate(o->fd, (off_t)(2 * o->len_bytes)), EPERM);
	CHILD_CHECK(fallocate(o->fd, FALLOC_FL_KEEP_SIZE, (off_t)o->len_bytes, HUGE_PAGE) == -1);
	CHILD_REFUSED(fcntl(o->fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	CHILD_REFUSED(fcntl(o->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
	CHILD_REFUSED(fchmod(o->fd, 0), EPERM);
	CHILD_CHECK(fcntl(o->fd, F_SETFL, O_APPEND | O_NONBLOCK) == 0);
}

static void run_down_attack(bool huge)
{
	struct shm_segment down = make(SHM_DOWN, HUGE_PAGE, huge);
	struct offer o = {shm_segment_export(&down), down.len_bytes};
	int flags = fcntl(down.fd, F_GETFL);

	assert_int_equal(down.huge, huge);
	assert_true(o.fd >= 0);
	assert_int_equal(in_child(attack_down, &o), 0);
	assert_int_equal(down.base[0], 42);
	assert_int_equal(fcntl(down.fd, F_GETFL), flags);
	assert_int_not_equal(fcntl(o.fd, F_GETFL), flags); /* it was the client's alone */
	close(o.fd);
	shm_segment_destroy(&down);
}

static void test_segment_up_resists_another_uid(void **state)
{
	(void)state;
	if (!can_become_client())
		skip();
	run_up_attack(false);
}

static void test_segment_down_resists_another_uid(void **state)
{
	(void)state;
	if (!can_become_client())
		skip();
	run_down_attack(false);
}

static void test_segment_huge_resists_another_uid(void **state)
{
	int lock;

	(void)state;
	if (!can_become_client())
		skip();
	lock = hugepages_borrow(2);
	if (lock < 0)
		skip();
	run_up_attack(true);
	run_down_attack(true);
	hugepages_return(lock, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segment_created_is_rounded_and_populated),
		cmocka_unit_test(test_segment_impossible_length_is_an_error),
		cmocka_unit_test(test_segment_without_room_is_an_error_not_a_signal),
		cmocka_unit_test(test_segment_without_hugepages_falls_back),
		cmocka_unit_test(test_segment_pair_carries_bytes_both_ways),
		cmocka_unit_test(test_segment_of_other_length_is_not_mapped),
		cmocka_unit_test(test_segment_of_client_is_not_forked),
		cmocka_unit_test(test_segment_up_resists_another_uid),
		cmocka_unit_test(test_segment_down_resists_another_uid),
		cmocka_unit_test(test_segment_huge_resists_another_uid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
