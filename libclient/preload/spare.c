/* Keeping placeholders, and noticing who else may have one: see spare.h. */
#include "spare.h"

#include "fd.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <libclient/internal.h>

enum {
	SPARES_MAX = 64, /* of a family */
	FD_FLOOR = 512,	 /* as the native library's own, out of the way */
};

struct spare {
	int fd;
	struct pl_tag tag;
};

struct stock {
	_Atomic int count; /* written with pl_lock held */
	struct spare at[SPARES_MAX];
};

static struct stock stock_ip4, stock_ip6;
static _Atomic uint32_t epoch = 1;
static _Atomic uint32_t sharing; /* calls under way that make a process */
static _Atomic bool stopped;

static struct stock *stock_of(int family)
{
	return family == AF_INET6 ? &stock_ip6 : &stock_ip4;
}

/* seq_cst, as in sharing_begin(): whoever is asked after the number was closed sees each process
 * that was begun while it was open. */
static bool exclusive(const struct pl_tag *tag)
{
	return !atomic_load(&stopped) && !atomic_load(&sharing) &&
	       tag->epoch == atomic_load(&epoch);
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	pl_real()->getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	return cookie;
}

static bool pop(struct stock *s, struct spare *spare)
{
	int left;

	if (!atomic_load_explicit(&s->count, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&pl_lock);
	left = s->count - 1;
	if (left >= 0) {
		s->count = left;
		*spare = s->at[left];
	}
	pthread_mutex_unlock(&pl_lock);
	return left >= 0;
}

static bool push(struct stock *s, int fd, const struct pl_tag *tag)
{
	bool room;

	pthread_mutex_lock(&pl_lock);
	room = s->count < SPARES_MAX && exclusive(tag);
	if (room) {
		s->at[s->count] = (struct spare){fd, *tag};
		s->count++;
	}
	pthread_mutex_unlock(&pl_lock);
	return room;
}

/* If not, the program has closed it past us, and may have the number for something else. */
static bool still_ours(int fd, const struct pl_tag *tag)
{
	return tag->cookie && cookie_of(fd) == tag->cookie;
}

static void drop(const struct spare *spare)
{
	mtcpi_own_fd(spare->fd, false);
	if (still_ours(spare->fd, &spare->tag))
		pl_real()->close(spare->fd);
}

static bool drop_all(void)
{
	struct spare spare;
	bool any = false;

	for (; pop(&stock_ip4, &spare) || pop(&stock_ip6, &spare); any = true)
		drop(&spare);
	return any;
}

/* The spare at a number of the program's, or -1. */
static int move_out(const struct spare *spare, int flags)
{
	int cmd = flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD;
	bool nonblock = flags & SOCK_NONBLOCK;
	int fd;

	if (!still_ours(spare->fd, &spare->tag)) {
		mtcpi_own_fd(spare->fd, false);
		return -1;
	}
	fd = pl_real()->fcntl(spare->fd, cmd, 0);
	mtcpi_own_fd(spare->fd, false);
	pl_real()->close(spare->fd);
	if (fd >= 0 && nonblock != spare->tag.nonblock)
		pl_real()->fcntl(fd, F_SETFL, nonblock ? O_RDWR | O_NONBLOCK : O_RDWR);
	return fd;
}

int pl_spare_take(int family, int flags, struct pl_tag *tag)
{
	struct spare spare;
	int fd = -1;

	tag->epoch = atomic_load(&epoch);
	tag->nonblock = flags & SOCK_NONBLOCK;
	while (fd < 0 && pop(stock_of(family), &spare)) {
		fd = move_out(&spare, flags);
		tag->cookie = spare.tag.cookie;
	}
	if (fd >= 0)
		return fd;
	fd = pl_real()->socket(family, SOCK_STREAM | flags, IPPROTO_TCP);
	if (fd < 0 && errno == EMFILE && drop_all())
		fd = pl_real()->socket(family, SOCK_STREAM | flags, IPPROTO_TCP);
	if (fd >= 0)
		tag->cookie = cookie_of(fd);
	return fd;
}

int pl_spare_put(int fd, int family, const struct pl_tag *tag)
{
	struct stock *s = stock_of(family);
	struct spare spare = {-1, *tag};
	int rc;

	if (exclusive(tag) && atomic_load_explicit(&s->count, memory_order_relaxed) < SPARES_MAX &&
		still_ours(fd, tag))
		spare.fd = pl_real()->fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);
	if (spare.fd < 0)
		return pl_real()->close(fd);
	mtcpi_own_fd(spare.fd, true);
	rc = pl_real()->close(fd);
	if (!push(s, spare.fd, tag))
		drop(&spare);
	return rc;
}

void pl_spare_spoil(struct pl_file *f)
{
	if (f)
		atomic_store_explicit(&f->spoilt, true, memory_order_relaxed);
}

void pl_spare_yield(int fd)
{
	if (mtcpi_owns_fd(fd))
		drop_all();
}

/* -- who else may have them ---------------------------------------------------------------- */

/* A process is about to be made, which gets all that is open now. */
static void sharing_begin(void)
{
	atomic_fetch_add(&sharing, 1);
	atomic_fetch_add(&epoch, 1);
}

/* It has been made, and got what was opened meanwhile, too. */
static void sharing_end(void)
{
	atomic_fetch_add(&epoch, 1);
	atomic_fetch_sub(&sharing, 1);
}

/* The native library closes the child's spares with what else it owns. */
static void fork_child(void)
{
	stock_ip4.count = stock_ip6.count = 0;
	atomic_fetch_add(&epoch, 1);
	atomic_store(&sharing, 0);
}

__attribute__((constructor)) static void spare_init(void)
{
	pthread_atfork(sharing_begin, sharing_end, fork_child);
}

/* None of our handlers runs in the child, so nobody would close its spares. */
static void bare_begin(void)
{
	sharing_begin();
	drop_all();
}

PL_EXPORT pid_t _Fork(void)
{
	pid_t pid;

	bare_begin();
	pid = pl_real()->_Fork();
	if (pid)
		sharing_end(); /* the child keeps nothing */
	return pid;
}

PL_EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	pid_t *parent, *child;
	va_list ap;
	void *tls;
	int pid;

	va_start(ap, arg);
	parent = va_arg(ap, pid_t *);
	tls = va_arg(ap, void *);
	child = va_arg(ap, pid_t *);
	va_end(ap);
	if (flags & CLONE_FILES) /* none but who has them now */
		return pl_real()->clone(fn, stack, flags, arg, parent, tls, child);
	bare_begin();
	pid = pl_real()->clone(fn, stack, flags, arg, parent, tls, child);
	sharing_end();
	return pid;
}

typedef int spawn_call(pid_t *, const char *, const posix_spawn_file_actions_t *,
	const posix_spawnattr_t *, char *const *, char *const *);

static int spawn(spawn_call *real, pid_t *pid, const char *path,
	const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
	char *const argv[], char *const envp[])
{
	int rc;

	sharing_begin();
	rc = real(pid, path, actions, attr, argv, envp);
	sharing_end();
	return rc;
}

PL_EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path,
	const posix_spawn_file_actions_t *restrict actions, const posix_spawnattr_t *restrict attr,
	char *const argv[restrict], char *const envp[restrict])
{
	return spawn(pl_real()->posix_spawn, pid, path, actions, attr, argv, envp);
}

PL_EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict file,
	const posix_spawn_file_actions_t *restrict actions, const posix_spawnattr_t *restrict attr,
	char *const argv[restrict], char *const envp[restrict])
{
	return spawn(pl_real()->posix_spawnp, pid, file, actions, attr, argv, envp);
}

PL_EXPORT int system(const char *command)
{
	int rc;

	sharing_begin();
	rc = pl_real()->system(command);
	sharing_end();
	return rc;
}

PL_EXPORT FILE *popen(const char *command, const char *mode)
{
	FILE *f;

	sharing_begin();
	f = pl_real()->popen(command, mode);
	sharing_end();
	return f;
}

static void stop(void)
{
	atomic_store(&stopped, true);
	drop_all();
}

PL_EXPORT int setns(int fd, int type)
{
	if (!type || type & CLONE_NEWNET)
		stop();
	return pl_real()->setns(fd, type);
}

PL_EXPORT int unshare(int flags)
{
	if (flags & CLONE_NEWNET)
		stop();
	return pl_real()->unshare(flags);
}
