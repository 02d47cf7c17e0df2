/* How threads sleep, and who wakes them.
 *
 * The daemon rings one pipe per context; any thread's event may come through any of them (of the
 * contexts that threads have been given so far: a process with one thread has one pipe to poll). If
 * every sleeper polled every pipe, each ring would wake them all; if each slept on its own
 * socket only, nobody would read the rings. So one sleeper, the leader, polls the pipes and the
 * control socket for all. The others, the followers, poll an eventfd of their own. Whoever
 * takes an event from a ring (the leader, or any thread on its way through a call) wakes the
 * threads that wait for that socket, and nobody else. A leader that leaves hands over to the
 * first follower. With one waiting thread there is no follower, no eventfd and no handover.
 *
 * Nothing is lost because
 *  - a waiter enters the lists of what it waits for (under their locks) before it looks at its
 *    predicate, and an event changes the predicate before it walks the list (under the lock);
 *  - `state` remembers a wake that comes before the sleep: EVENT is cleared only by
 *    waiter_arm(), which precedes the look;
 *  - the leader announces sleep to the daemon, then takes in every ring once more, waiting for
 *    each consumer lock: what another thread is just taking in is applied by then;
 *  - while a follower exists there is a leader, or a follower that was told to become it.
 *
 * A signal that comes once a waiter has made up its mind to sleep ends the sleep, as in the kernel:
 * signals are held back while the waiter looks for the last time, and ppoll() lets them in. One
 * that came before that is as one that came before the call.
 *
 * Before it sleeps a waiter may spin for a bounded time (MTCP_SPIN_US). By default it does only
 * where there are over twice as many CPUs as engines: spinning on a core that the daemon needs
 * costs milliseconds. A gap between two looks at the clock tells that the core is contended
 * after all: then this thread stops spinning for a while.
 */
#include <libclient/client.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	SLEEPING = 1 << 0,
	EVENT = 1 << 1,
	PROMOTE = 1 << 2, /* become the leader */
};

enum {
	SPIN_DEFAULT_US = 20,
	SPIN_US_MAX = 10000,
	SPIN_GAP_US = 50,     /* between two looks: somebody else had the core */
	SPIN_PENALTY = -1000, /* sleeps without spinning after that */
	FDS_ON_STACK = 32,
};

static pthread_mutex_t lead_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, waiter) followers = TAILQ_HEAD_INITIALIZER(followers);
static struct waiter *leader;

static pthread_mutex_t any_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, waiter) any_waiters = TAILQ_HEAD_INITIALIZER(any_waiters);
static _Atomic uint32_t any_count;

static pthread_key_t waiter_key;
static pthread_once_t waiter_once = PTHREAD_ONCE_INIT;
static __thread struct waiter *self __attribute__((tls_model("initial-exec")));
static _Atomic uint32_t next_ctx;
static sigset_t held_back; /* while about to sleep: all but those of a fault of our own */
static int spin_us = -1;   /* what the environment says; -1: nothing */

/* -- time ---------------------------------------------------------------------------------- */

uint64_t wait_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t wait_deadline_ms(int timeout_ms)
{
	return timeout_ms < 0 ? MTCPI_FOREVER : wait_now_ns() + (uint64_t)timeout_ms * 1000000u;
}

uint64_t wait_deadline_ts(const struct timespec *ts)
{
	if (!ts || ts->tv_sec < 0 || (uint64_t)ts->tv_sec >= UINT64_MAX / 2000000000u)
		return MTCPI_FOREVER;
	return (uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec;
}

static struct timespec until(uint64_t deadline_ns)
{
	uint64_t now = wait_now_ns();
	uint64_t left = deadline_ns > now ? deadline_ns - now : 0;

	return (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
}

/* -- waiters ------------------------------------------------------------------------------- */

static void waiter_end(void *arg)
{
	struct waiter *w = arg;

	session_forget_fd(w->fd);
	free(w);
	self = NULL;
}

static void waiter_setup(void)
{
	const char *spin = getenv("MTCP_SPIN_US");

	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

	pthread_key_create(&waiter_key, waiter_end);
	sigfillset(&held_back);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&held_back, faults[i]);
	if (spin && *spin) {
		long us = strtol(spin, NULL, 10);

		spin_us = us < 0 ? 0 : us > SPIN_US_MAX ? SPIN_US_MAX : (int)us;
	}
}

static void waiter_signal(struct waiter *w, uint32_t bit)
{
	uint32_t old = atomic_fetch_or(&w->state, bit);
	const uint64_t one = 1;

	if (!(old & SLEEPING) || old & (EVENT | PROMOTE))
		return;
	count(&counters.handovers);
	while (write(w->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* To poll the pipe of a further context: it goes to sleep anew. */
static void wake_leader(void)
{
	pthread_mutex_lock(&lead_lock);
	if (leader)
		waiter_signal(leader, PROMOTE);
	pthread_mutex_unlock(&lead_lock);
}

struct waiter *waiter_self(void)
{
	struct waiter *w = self;

	if (w)
		return w;
	pthread_once(&waiter_once, waiter_setup);
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->fd = session_keep_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (w->fd < 0) {
		free(w);
		return NULL;
	}
	w->ctx = atomic_fetch_add(&next_ctx, 1);
	pthread_setspecific(waiter_key, w);
	self = w;
	if (w->ctx)
		wake_leader();
	return w;
}

uint32_t wait_contexts(void)
{
	uint32_t n = atomic_load(&next_ctx);

	return n < ses.contexts ? n : ses.contexts;
}

/* Forgets earlier wakes; whatever is looked at afterwards is not missed. */
void waiter_arm(struct waiter *w)
{
	atomic_store(&w->state, 0);
}

bool waiter_woken(const struct waiter *w)
{
	return atomic_load(&w->state) & EVENT;
}

void waiter_wake(struct waiter *w)
{
	waiter_signal(w, EVENT);
}

void wait_wake_list(struct wait_list *l, uint32_t bits)
{
	struct wait_entry *e;

	LIST_FOREACH(e, l, link)
	if (e->bits & bits)
		waiter_wake(e->w);
}

/* Waiters with a predicate that only they know. */
void waiter_any_add(struct waiter *w)
{
	pthread_mutex_lock(&any_lock);
	TAILQ_INSERT_TAIL(&any_waiters, w, any_link);
	atomic_fetch_add(&any_count, 1);
	pthread_mutex_unlock(&any_lock);
}

void waiter_any_remove(struct waiter *w)
{
	pthread_mutex_lock(&any_lock);
	TAILQ_REMOVE(&any_waiters, w, any_link);
	atomic_fetch_sub(&any_count, 1);
	pthread_mutex_unlock(&any_lock);
}

/* No fence before the count is read: such a waiter takes each consumer lock between entering
 * the list and its last look (lead()), so either it sees what we took in or we see it. */
void wait_wake_any(void)
{
	struct waiter *w;

	if (!atomic_load(&any_count))
		return;
	pthread_mutex_lock(&any_lock);
	TAILQ_FOREACH(w, &any_waiters, any_link)
	waiter_wake(w);
	pthread_mutex_unlock(&any_lock);
}

void mtcpi_wake_all(void)
{
	struct waiter *w;

	pthread_mutex_lock(&lead_lock);
	if (leader)
		waiter_wake(leader);
	TAILQ_FOREACH(w, &followers, follow_link)
	waiter_wake(w);
	pthread_mutex_unlock(&lead_lock);
	wait_wake_any();
}

void wait_fork_child(void)
{
	pthread_mutex_init(&lead_lock, NULL);
	pthread_mutex_init(&any_lock, NULL);
	TAILQ_INIT(&followers);
	TAILQ_INIT(&any_waiters);
	atomic_store(&any_count, 0);
	leader = NULL;
	if (!self)
		return;
	pthread_setspecific(waiter_key, NULL);
	self = NULL; /* leaked: free() is not safe here */
}

/* -- leading and following ----------------------------------------------------------------- */

/* True if w leads now; else it is in the list of followers. */
static bool take_role(struct waiter *w)
{
	bool lead;

	pthread_mutex_lock(&lead_lock);
	lead = leader == w || (!leader && session_live());
	if (lead) {
		leader = w;
		if (w->following)
			TAILQ_REMOVE(&followers, w, follow_link);
		w->following = false;
	} else if (!w->following) {
		TAILQ_INSERT_TAIL(&followers, w, follow_link);
		w->following = true;
	}
	pthread_mutex_unlock(&lead_lock);
	return lead;
}

static void leave_role(struct waiter *w)
{
	struct waiter *next;

	pthread_mutex_lock(&lead_lock);
	if (leader == w)
		leader = NULL;
	if (w->following)
		TAILQ_REMOVE(&followers, w, follow_link);
	w->following = false;
	next = TAILQ_FIRST(&followers);
	if (!leader && next)
		waiter_signal(next, PROMOTE);
	pthread_mutex_unlock(&lead_lock);
}

/* Of n contexts; the caller looks for events once more. */
static void announce(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		shm_sleep_set(&ses.ctx[i].line->sleeping);
	shm_fence_full(); /* pairs with shm_sleep_check_once() */
}

static void cancel(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		shm_sleep_cancel(&ses.ctx[i].line->sleeping);
}

/* What a sleep polls: the caller's descriptors first, then ours. */
struct poll_set {
	struct pollfd *fds;
	nfds_t n, count;
	bool led;
	struct pollfd on_stack[FDS_ON_STACK];
};

static int poll_set_make(struct poll_set *p, const struct pollfd *fds, nfds_t n)
{
	nfds_t max = n + 2 + PROTO_CONTEXTS_MAX;

	p->fds = p->on_stack;
	p->n = n;
	if (max > FDS_ON_STACK) {
		p->fds = malloc(max * sizeof(*p->fds));
		if (!p->fds)
			return -ENOMEM;
	}
	if (n)
		memcpy(p->fds, fds, n * sizeof(*fds));
	return 0;
}

static void poll_set_free(struct poll_set *p)
{
	if (p->fds != p->on_stack)
		free(p->fds);
}

/* contexts: those to hear of, if w leads. */
static void poll_set_fill(struct poll_set *p, const struct waiter *w, bool lead, uint32_t contexts)
{
	p->led = lead;
	p->count = p->n;
	p->fds[p->count++] = (struct pollfd){.fd = w->fd, .events = POLLIN};
	if (!lead)
		return;
	/* Only the end of it: messages are read by whoever expects them. */
	p->fds[p->count++] = (struct pollfd){.fd = ses.control_fd, .events = POLLRDHUP};
	for (uint32_t i = 0; i < contexts; i++)
		p->fds[p->count++] = (struct pollfd){.fd = ses.ctx[i].pipe_fd, .events = POLLIN};
}

/* After ppoll: empties what rang. True if one of the caller's descriptors is ready. */
static bool poll_set_take(struct poll_set *p, struct pollfd *fds)
{
	bool ready = false;

	for (nfds_t i = 0; i < p->n; i++) {
		fds[i].revents = p->fds[i].revents;
		ready |= fds[i].revents != 0;
	}
	if (p->fds[p->n].revents) {
		uint64_t rings;

		if (read(p->fds[p->n].fd, &rings, sizeof(rings)) < 0)
			(void)0; /* somebody's earlier ring: a spurious wake */
	}
	if (!p->led)
		return ready;
	if (p->fds[p->n + 1].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
		session_lost();
	for (nfds_t i = p->n + 2; i < p->count; i++)
		if (p->fds[i].revents)
			shm_doorbell_pipe_drain(p->fds[i].fd);
	return ready;
}

/* One sleep in either role. A leader takes in the rings before and after. */
static int sleep_once(struct waiter *w, struct poll_set *p, struct pollfd *fds,
	uint64_t deadline_ns, const sigset_t *sigmask)
{
	bool lead = take_role(w);
	uint32_t contexts = wait_contexts();
	struct timespec ts = until(deadline_ns);
	int rc = 0, err = 0;
	bool ready;

	if (lead) {
		announce(contexts);
		ctx_drain_all(true);
	}
	poll_set_fill(p, w, lead && session_live(), contexts);
	if (!(atomic_fetch_or(&w->state, SLEEPING) & (EVENT | PROMOTE))) {
		count(&counters.sleeps);
		rc = ppoll(p->fds, p->count, deadline_ns == MTCPI_FOREVER ? NULL : &ts, sigmask);
		err = errno;
	} else {
		struct timespec none = {0, 0}; /* still look at the caller's descriptors */

		rc = p->n ? ppoll(p->fds, p->count, &none, sigmask) : 0;
		err = errno;
		for (nfds_t i = 0; rc <= 0 && i < p->count; i++)
			p->fds[i].revents = 0;
		rc = rc < 0 ? rc : 1;
	}
	atomic_fetch_and(&w->state, ~(uint32_t)(SLEEPING | PROMOTE));
	ready = rc > 0 && poll_set_take(p, fds);
	if (lead) {
		cancel(contexts);
		ctx_drain_all(true);
	}
	if (rc < 0)
		return -err;
	return ready ? WAIT_FDS : rc == 0 ? WAIT_TIMEOUT : WAIT_WOKEN;
}

/* -- spinning ------------------------------------------------------------------------------ */

static uint64_t spin_ns(void)
{
	static _Atomic int chosen_us = -1;
	int us = atomic_load_explicit(&chosen_us, memory_order_relaxed);

	if (us < 0) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);

		us = spin_us >= 0 ? spin_us : cpus > 2 * (long)ses.engines ? SPIN_DEFAULT_US : 0;
		atomic_store_explicit(&chosen_us, us, memory_order_relaxed);
	}
	return (uint64_t)us * 1000;
}

/* True if an event came. */
static bool spin(struct waiter *w, uint64_t deadline_ns)
{
	uint64_t budget = session_live() ? spin_ns() : 0;
	uint64_t start, last, now;

	if (!budget || deadline_ns == 0)
		return false;
	if (w->spin_credit < 0) {
		w->spin_credit++;
		return false;
	}
	start = last = wait_now_ns();
	do {
		ctx_drain_all(false);
		if (waiter_woken(w))
			return true;
		now = wait_now_ns();
		if (now - last > SPIN_GAP_US * 1000u) {
			w->spin_credit = SPIN_PENALTY;
			return false;
		}
		last = now;
	} while (now - start < budget && now < deadline_ns);
	return false;
}

/* Blocks the calling thread, whose waiter is armed and in the lists of what it waits for, until
 * it is woken, one of fds is ready, the deadline passes (0: just looks) or a signal comes. */
int wait_block(struct waiter *w, struct pollfd *fds, nfds_t n, uint64_t deadline_ns,
	const sigset_t *sigmask)
{
	struct poll_set p;
	sigset_t before;
	int rc;

	ctx_settle();
	if (!n && spin(w, deadline_ns))
		return WAIT_WOKEN;
	rc = poll_set_make(&p, fds, n);
	if (rc)
		return rc;
	pthread_sigmask(SIG_BLOCK, &held_back, &before);
	do {
		rc = sleep_once(w, &p, fds, deadline_ns, sigmask ? sigmask : &before);
	} while (rc == WAIT_WOKEN && !waiter_woken(w));
	leave_role(w);
	poll_set_free(&p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int mtcpi_wait(struct pollfd *fds, nfds_t n, const struct timespec *deadline,
	const sigset_t *sigmask, bool (*ready)(void *arg), void *arg)
{
	uint64_t deadline_ns = wait_deadline_ts(deadline);
	struct waiter *w = waiter_self();
	int rc;

	if (!w)
		return ret_errno(-ENOMEM);
	waiter_any_add(w);
	do {
		waiter_arm(w);
		ctx_drain_all(false);
		rc = ready(arg) ? WAIT_FDS : wait_block(w, fds, n, deadline_ns, sigmask);
	} while (rc == WAIT_WOKEN);
	waiter_any_remove(w);
	return rc == WAIT_FDS ? 1 : ret_errno(rc);
}
