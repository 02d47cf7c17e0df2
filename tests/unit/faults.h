/* Makes calls into libc fail, for the tests of what then happens.
 *
 * The linker sends the calls below, from the code under test and from the test alike, through
 * this file (--wrap; tests/unit/CMakeLists.txt does it for each test that includes it). Nothing
 * fails until fault_arm(n), after which the n-th call that this thread makes fails, once.
 *
 * A sweep fails the first call of an operation, then the second, and so on until the operation
 * ends before its fault comes: whatever can fail in it has failed once by then, and each time
 * the test looks whether the failure was told and everything taken back. Included by one file
 * of each test program.
 */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>

static _Thread_local struct {
	unsigned int left;	/* calls until the fault; 0: not armed */
	const char *only;	/* count these calls alone; NULL: all */
	const char *fired_name; /* the call that failed; NULL: none did */
} fault;

static inline void fault_arm(unsigned int nth)
{
	fault.left = nth;
	fault.only = NULL;
	fault.fired_name = NULL;
}

/* Only calls of this name count. */
static inline void fault_arm_only(const char *name, unsigned int nth)
{
	fault_arm(nth);
	fault.only = name;
}

/* Disarms; the name of the call that failed, NULL if it did not come so far. */
static inline const char *fault_end(void)
{
	fault.left = 0;
	return fault.fired_name;
}

static inline bool fault_now(const char *name)
{
	if (fault.left == 0 || (fault.only && strcmp(fault.only, name) != 0) || --fault.left)
		return false;
	fault.fired_name = name;
	return true;
}

#define FAULT_WRAP(type, name, failure, error, parameters, arguments)                              \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		if (fault_now(#name)) {                                                            \
			errno = error;                                                             \
			return failure;                                                            \
		}                                                                                  \
		return __real_##name arguments;                                                    \
	}

FAULT_WRAP(void *, malloc, NULL, ENOMEM, (size_t n), (n))
FAULT_WRAP(void *, calloc, NULL, ENOMEM, (size_t n, size_t size), (n, size))
FAULT_WRAP(void *, realloc, NULL, ENOMEM, (void *p, size_t n), (p, n))
FAULT_WRAP(void *, aligned_alloc, NULL, ENOMEM, (size_t align, size_t n), (align, n))
FAULT_WRAP(void *, mmap, MAP_FAILED, ENOMEM,
	(void *at, size_t n, int prot, int flags, int fd, off_t off), (at, n, prot, flags, fd, off))
FAULT_WRAP(int, madvise, -1, EINVAL, (void *at, size_t n, int advice), (at, n, advice))
FAULT_WRAP(int, memfd_create, -1, EMFILE, (const char *name, unsigned int flags), (name, flags))
FAULT_WRAP(int, ftruncate, -1, EPERM, (int fd, off_t n), (fd, n))
FAULT_WRAP(int, fallocate, -1, ENOSPC, (int fd, int mode, off_t off, off_t n), (fd, mode, off, n))
FAULT_WRAP(int, fchmod, -1, EPERM, (int fd, mode_t mode), (fd, mode))
FAULT_WRAP(int, socket, -1, EMFILE, (int family, int type, int proto), (family, type, proto))
FAULT_WRAP(int, socketpair, -1, EMFILE, (int family, int type, int proto, int *fds),
	(family, type, proto, fds))
FAULT_WRAP(int, accept4, -1, EMFILE, (int fd, struct sockaddr *sa, socklen_t *len, int flags),
	(fd, sa, len, flags))
FAULT_WRAP(int, eventfd, -1, EMFILE, (unsigned int count, int flags), (count, flags))
FAULT_WRAP(int, getsockopt, -1, ENODATA, (int fd, int level, int name, void *value, socklen_t *len),
	(fd, level, name, value, len))
FAULT_WRAP(int, setsockopt, -1, ENOBUFS,
	(int fd, int level, int name, const void *value, socklen_t len),
	(fd, level, name, value, len))

/* Only adding takes memory: changing and removing cannot fail but by a mistake of ours. */
int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	if (op == EPOLL_CTL_ADD && fault_now("epoll_ctl")) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epfd, op, fd, ev);
}

#endif
