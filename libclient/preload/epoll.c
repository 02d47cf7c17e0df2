/* Epoll sets that hold sockets of mtcpd and descriptors of the kernel.
 *
 * The program's epoll descriptor is a kernel one and keeps the kernel members. Its mtcp members
 * live in a native epoll instance beside it, made when the first one is added; the native
 * library implements level, edge and one-shot, and hands the program's data back. A wait takes
 * events of both, and sleeps on the native instance with the kernel's epoll descriptor as an
 * additional thing to wake for. A set without mtcp members is the kernel's alone.
 *
 * Asking the kernel costs a system call, so while the native side has events it is asked only
 * every KERNEL_LOOK_NS, but then first, so that neither side starves the other. Who is about to
 * sleep does not ask before: the sleep does.
 *
 * A thread may sleep in the kernel's wait when another thread adds the set's first mtcp member.
 * Threads announce themselves in `sleepers` before they look whether the set is still the
 * kernel's; who converts it then sees them and adds an eventfd that is always readable, which
 * ends their wait. Its data is an address of ours, so it is recognised and never handed on; the
 * last sleeper takes it out.
 *
 * Members that are not yet decided (place.h) stay in the kernel's set and are remembered here, to
 * be moved. They are few: programs connect or listen first.
 */
#include "epoll.h"

#include "deadline.h"
#include "real.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <libclient/internal.h>

enum {
	KERNEL_LOOK_NS = 50 * 1000,
};

/* A wait's arguments; ts counts if there is one, else ms. */
struct wait {
	struct epoll_event *events;
	int max;
	int ms;
	const struct timespec *ts;
	const sigset_t *mask;
};

struct interest {
	struct pl_file *set;
	int epfd;
	struct pl_file *file;
	int fd;
	struct epoll_event event;
	struct interest *next;
};

static struct interest *interests; /* pl_lock */
static char kick_mark;		   /* its address marks the kick's event */

static struct interest **interest_find(struct pl_file *set, struct pl_file *file)
{
	struct interest **at = &interests;

	while (*at && ((*at)->set != set || (*at)->file != file))
		at = &(*at)->next;
	return at;
}

static void interest_drop(struct interest **at)
{
	struct interest *i = *at;

	*at = i->next;
	free(i);
}

/* Remembers what epoll_ctl just did. False if there is no memory for it. */
static bool interest_note(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct pl_file *set = pl_fd_file(epfd);
	struct pl_file *file = pl_fd_file(fd);
	struct interest **at = interest_find(set, file);

	if (op == EPOLL_CTL_DEL) {
		if (*at)
			interest_drop(at);
		return true;
	}
	if (!*at && !(*at = calloc(1, sizeof(**at))))
		return false;
	(*at)->set = set;
	(*at)->epfd = epfd;
	(*at)->file = file;
	(*at)->fd = fd;
	(*at)->event = *event;
	return true;
}

static struct epoll_event kick_event(void)
{
	return (struct epoll_event){.events = EPOLLIN, .data.ptr = &kick_mark};
}

static void kick(int epfd, struct pl_file *set)
{
	struct epoll_event event = kick_event();
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0 || pl_real()->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0) {
		if (fd >= 0)
			pl_real()->close(fd);
		return; /* out of descriptors: the sleepers look at their next event */
	}
	atomic_store_explicit(&set->kick_fd, fd, memory_order_relaxed);
}

/* The set's native instance, made if there is none. -1 and errno. pl_lock held. */
static int set_convert(int epfd, struct pl_file *set)
{
	int nep = pl_fd_native_epoll(epfd);

	if (nep >= 0)
		return nep;
	nep = mtcp_epoll_create1(0);
	if (nep < 0)
		return -1;
	/* seq_cst, as in wait_kernel(): one of us sees the other */
	atomic_store(&set->state, (uint64_t)PL_EPOLL << 32 | (uint32_t)nep);
	if (atomic_load(&set->sleepers))
		kick(epfd, set);
	return nep;
}

/* pl_lock held. */
static int ctl_native(int epfd, int op, int fd, struct epoll_event *event)
{
	struct pl_file *file = pl_fd_file(fd);
	int sd = file ? pl_file_native(file) : -1;
	int nep = set_convert(epfd, pl_fd_file(epfd));
	int rc = nep < 0 || sd < 0 ? -1 : mtcp_epoll_ctl(nep, op, sd, event);

	if (rc == 0 && file->tentative && !interest_note(epfd, op, fd, event)) {
		errno = ENOMEM;
		rc = -1;
	}
	return rc;
}

/* pl_lock held. */
static int ctl_pending(int epfd, int op, int fd, struct epoll_event *event)
{
	int rc = pl_real()->epoll_ctl(epfd, op, fd, event);

	if (rc == 0 && !interest_note(epfd, op, fd, event)) {
		pl_real()->epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
		errno = ENOMEM;
		rc = -1;
	}
	return rc;
}

void pl_epoll_file_native(struct pl_file *f, int sd)
{
	for (struct interest **at = &interests; *at;) {
		struct interest *i = *at;
		int nep;

		if (i->file != f) {
			at = &i->next;
			continue;
		}
		pl_real()->epoll_ctl(i->epfd, EPOLL_CTL_DEL, i->fd, NULL);
		nep = set_convert(i->epfd, i->set);
		if (nep >= 0)
			mtcp_epoll_ctl(nep, EPOLL_CTL_ADD, sd, &i->event);
		if (f->tentative)
			at = &i->next;
		else
			interest_drop(at);
	}
}

void pl_epoll_file_kernel(struct pl_file *f, int fd)
{
	for (struct interest *i = interests; i; i = i->next) {
		if (i->file == f)
			pl_real()->epoll_ctl(i->epfd, EPOLL_CTL_ADD, fd, &i->event);
	}
	pl_epoll_file_gone(f);
}

void pl_epoll_file_gone(struct pl_file *f)
{
	for (struct interest **at = &interests; *at;) {
		if ((*at)->file == f || (*at)->set == f)
			interest_drop(at);
		else
			at = &(*at)->next;
	}
}

/* Takes the kick's event out of n events. */
static int kick_strip(struct epoll_event *events, int n, bool *kicked)
{
	int kept = 0;

	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr == &kick_mark)
			*kicked = true;
		else
			events[kept++] = events[i];
	}
	return n < 0 ? n : kept;
}

/* The last sleeper of a converted set takes the kick out. */
static void sleeper_leaves(int epfd, struct pl_file *set)
{
	int fd, saved = errno;

	if (atomic_fetch_sub(&set->sleepers, 1) != 1 ||
		atomic_load_explicit(&set->kick_fd, memory_order_relaxed) < 0)
		return;
	pthread_mutex_lock(&pl_lock);
	if (atomic_load(&set->sleepers) == 0) {
		fd = atomic_exchange(&set->kick_fd, -1);
		if (fd >= 0) {
			pl_real()->epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
			pl_real()->close(fd);
		}
	}
	pthread_mutex_unlock(&pl_lock);
	errno = saved;
}

static int kernel_wait(int epfd, const struct wait *w)
{
	if (w->ts)
		return pl_real()->epoll_pwait2(epfd, w->events, w->max, w->ts, w->mask);
	return pl_real()->epoll_pwait(epfd, w->events, w->max, w->ms, w->mask);
}

/* The kernel's wait on a set without mtcp members; *converted if it got one meanwhile and there
 * is nothing to report. */
static int wait_kernel(int epfd, struct pl_file *set, const struct wait *w, bool *converted)
{
	bool kicked = false;
	int n = 0;

	/* seq_cst, as in set_convert(): one of us sees the other */
	atomic_fetch_add(&set->sleepers, 1);
	if ((int)(uint32_t)atomic_load(&set->state) >= 0)
		kicked = true;
	else
		n = kick_strip(w->events, kernel_wait(epfd, w), &kicked);
	sleeper_leaves(epfd, set);
	*converted = n == 0 && kicked;
	return n;
}

static void note_kernel_looked(struct pl_file *set, uint64_t ns)
{
	atomic_store_explicit(&set->kernel_looked_ns, ns, memory_order_relaxed);
}

static int take_kernel(int epfd, struct pl_file *set, struct epoll_event *events, int max)
{
	bool kicked;
	int n = pl_real()->epoll_pwait(epfd, events, max, 0, NULL);

	note_kernel_looked(set, pl_time_now_ns());
	return kick_strip(events, n, &kicked);
}

/* Whether the wait may sleep. */
static bool may_sleep(const struct wait *w)
{
	return w->ts ? w->ts->tv_sec || w->ts->tv_nsec : w->ms != 0;
}

static bool kernel_due(const struct pl_file *set)
{
	uint64_t looked = atomic_load_explicit(&set->kernel_looked_ns, memory_order_relaxed);

	return pl_time_now_ns() - looked > KERNEL_LOOK_NS;
}

/* What both sides have now, or -1. kernel_ready: a sleep has said so; else a wait that may sleep
 * leaves the kernel's members to the sleep if there are no native events. */
static int take_both(
	int epfd, struct pl_file *set, int nep, const struct wait *w, bool kernel_ready)
{
	bool due = kernel_ready || kernel_due(set);
	int from_kernel = 0, from_native = 0;

	if (due && !kernel_ready && may_sleep(w) && !mtcpi_epoll_ready(nep))
		return 0;
	if (due)
		from_kernel = take_kernel(epfd, set, w->events, w->max);
	if (from_kernel < 0)
		return -1;
	if (from_kernel < w->max)
		from_native =
			mtcp_epoll_wait(nep, w->events + from_kernel, w->max - from_kernel, 0);
	if (from_native < 0)
		return from_kernel ? from_kernel : -1;
	if (!due && !from_native && !may_sleep(w))
		return take_kernel(epfd, set, w->events, w->max);
	return from_kernel + from_native;
}

/* After a wait that came to n native events without asking the kernel: adds what it has. */
static int add_kernel(int epfd, struct pl_file *set, const struct wait *w, int n)
{
	int more = n < w->max && kernel_due(set) ? take_kernel(epfd, set, w->events + n, w->max - n)
						 : 0;

	return more > 0 ? n + more : n;
}

static int wait_mixed(
	int epfd, struct pl_file *set, const struct wait *w, const struct timespec *deadline)
{
	bool kernel_ready = false;

	for (;;) {
		struct pollfd kernel = {.fd = epfd, .events = POLLIN};
		int nep = pl_fd_native_epoll(epfd);
		int n = nep < 0 ? 0 : take_both(epfd, set, nep, w, kernel_ready);

		if (n || nep < 0 || !may_sleep(w))
			return n;
		n = mtcpi_epoll_wait(nep, w->events, w->max, &kernel, 1, deadline, w->mask);
		if (kernel.revents == 0)
			note_kernel_looked(set, pl_time_now_ns());
		kernel_ready = kernel.revents != 0 && kernel.revents != MTCPI_NOT_ASKED;
		if (n > 0 && kernel.revents == MTCPI_NOT_ASKED)
			return add_kernel(epfd, set, w, n);
		if (n || !kernel_ready)
			return n;
	}
}

static int wait_any(int epfd, const struct wait *w)
{
	struct pl_file *set = pl_fd_file(epfd);
	struct timespec relative = w->ts ? *w->ts : pl_time_of_ms(w->ms);
	bool forever = !w->ts && w->ms < 0;
	struct timespec deadline;
	bool converted = true;
	int n = 0;

	if (!set || pl_file_kind(set) != PL_EPOLL || w->max <= 0)
		return kernel_wait(epfd, w);
	if (!forever && !pl_time_after(&deadline, &relative)) {
		errno = EINVAL;
		return -1;
	}
	if (pl_fd_native_epoll(epfd) < 0)
		n = wait_kernel(epfd, set, w, &converted);
	return converted ? wait_mixed(epfd, set, w, forever ? NULL : &deadline) : n;
}

static int epoll_installed(int epfd)
{
	struct pl_file *f;

	if (epfd < 0)
		return -1;
	pthread_mutex_lock(&pl_lock);
	f = pl_file_new(PL_EPOLL, -1);
	if (f)
		pl_fd_install(epfd, f);
	pthread_mutex_unlock(&pl_lock);
	return epfd;
}

PL_EXPORT int epoll_create1(int flags)
{
	return epoll_installed(pl_real()->epoll_create1(flags));
}

PL_EXPORT int epoll_create(int size)
{
	if (size <= 0) {
		errno = EINVAL;
		return -1;
	}
	return epoll_create1(0);
}

PL_EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct pl_file *set = pl_fd_file(epfd);
	struct pl_file *file = pl_fd_file(fd);
	int rc;

	if (!set || !file || pl_file_kind(set) != PL_EPOLL || (!event && op != EPOLL_CTL_DEL))
		return pl_real()->epoll_ctl(epfd, op, fd, event);
	pl_file_native(file); /* sets a listener of before a fork up anew, without the lock */
	pthread_mutex_lock(&pl_lock);
	switch (pl_file_kind(file)) {
	case PL_NATIVE:
		rc = ctl_native(epfd, op, fd, event);
		break;
	case PL_PENDING:
		pl_spare_spoil(file);
		rc = ctl_pending(epfd, op, fd, event);
		break;
	default:
		rc = pl_real()->epoll_ctl(epfd, op, fd, event);
	}
	pthread_mutex_unlock(&pl_lock);
	return rc;
}

PL_EXPORT int epoll_pwait(
	int epfd, struct epoll_event *events, int max, int ms, const sigset_t *mask)
{
	return wait_any(epfd, &(struct wait){.events = events, .max = max, .ms = ms, .mask = mask});
}

PL_EXPORT int epoll_wait(int epfd, struct epoll_event *events, int max, int ms)
{
	return epoll_pwait(epfd, events, max, ms, NULL);
}

PL_EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max,
	const struct timespec *timeout, const sigset_t *mask)
{
	return wait_any(
		epfd, &(struct wait){
			      .events = events, .max = max, .ms = -1, .ts = timeout, .mask = mask});
}
