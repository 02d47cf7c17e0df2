/* What the tests of shm/ share: cmocka, a client of another uid, and huge pages on loan. */
#ifndef TEST_SHM_SUPPORT_H
#define TEST_SHM_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TEST_CLIENT_UID = 65534,
	CHILD_HANG_S = 300,
	LOCK_PATIENCE_S = 60,
};

/* In a child process: what must hold, or the child ends with an error that names the line. */
#define CHILD_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #cond,             \
				strerror(errno));                                                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* Becomes an unprivileged client. /proc/self stays usable, as it is for a program that was
 * started under that uid. */
static inline void child_become_client(void)
{
	CHILD_CHECK(setgroups(0, NULL) == 0);
	CHILD_CHECK(setresgid(TEST_CLIENT_UID, TEST_CLIENT_UID, TEST_CLIENT_UID) == 0);
	CHILD_CHECK(setresuid(TEST_CLIENT_UID, TEST_CLIENT_UID, TEST_CLIENT_UID) == 0);
	CHILD_CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static inline bool can_become_client(void)
{
	if (geteuid() == 0)
		return true;
	print_message("needs root to run a client of another uid\n");
	return false;
}

/* Runs fn(arg) in a child and returns its wait status. A child that hangs is ended, and does not
 * outlive its parent: it would keep the lock on huge pages. */
static inline int in_child(void (*fn)(void *arg), void *arg)
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(CHILD_HANG_S);
		fn(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define HUGEPAGES_FILE "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define HUGEPAGES_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define HUGEPAGES_MORE "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages"

static inline long read_number(const char *path)
{
	long n = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

/* The pool's size, as an open and locked file: tests run side by side. -1 if there is none, or
 * others do not let go of it. */
static inline int hugepages_lock(void)
{
	int fd = open(HUGEPAGES_FILE, O_RDWR | O_CLOEXEC);

	for (int tries = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB); tries++) {
		if (tries == LOCK_PATIENCE_S * 100) {
			close(fd);
			return -1;
		}
		usleep(10000);
	}
	return fd;
}

/* Adds n huge pages to the machine's pool, negative: takes them back. */
static inline void hugepages_add(int lock_fd, long n)
{
	dprintf(lock_fd, "%ld\n", read_number(HUGEPAGES_FILE) + n);
}

/* Borrows n huge pages: a descriptor for hugepages_return(), or -1 if there are none. */
static inline int hugepages_borrow(long n)
{
	int fd = hugepages_lock();

	if (fd >= 0) {
		hugepages_add(fd, n);
		if (read_number(HUGEPAGES_FREE) >= n)
			return fd;
		hugepages_add(fd, -n);
		close(fd);
	}
	print_message("no huge pages to be had here\n");
	return -1;
}

static inline void hugepages_return(int lock_fd, long n)
{
	hugepages_add(lock_fd, -n);
	close(lock_fd);
}

#endif
