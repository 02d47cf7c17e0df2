/* Sockets: descriptors, locks, readiness and waiting, from birth to GONE.
 *
 *	FREE -> TCP ---------------------> ZOMBIE -> FREE
 *	FREE -> PENDING -> TCP (accepted)    ^
 *	            '-------(refused)--------'
 *
 * A descriptor is the index in a table that is reserved once and never moves; it is also the
 * cookie by which events find the socket. After close the entry stays as a zombie until the
 * daemon has let go of its handle (GONE) and no thread sleeps in a call on it, so that neither
 * an event nor a waking thread can take a stranger for it. Transmit memory stays lent until then.
 *
 * Every call finds its socket and locks it (sock_get). A call that must sleep counts itself in
 * `users`, drops the lock, and learns after waking whether the socket was closed meanwhile.
 */
#include <libclient/client.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	HUGE_FROM = 32768,
	HUGE_BYTES = 2 << 20,
};

static struct lock table_lock;
struct sock_table sock_table;
static uint32_t free_first = SOCK_IDX_NONE;
static uint32_t taken; /* places: `counted` */

/* -- the table ----------------------------------------------------------------------------- */

void sock_fetch(uint32_t idx)
{
	const struct sock *s = sock_at(idx);

	if (!s)
		return;
	for (size_t i = 0; i < sizeof(*s); i += SHM_CACHE_LINE)
		__builtin_prefetch((const uint8_t *)s + i);
	__builtin_prefetch(&sock_table.items[idx]);
}

/* The arrays one behind the other, each at a border of cache lines. */
enum {
	COLD_AT = SOCKS_MAX * sizeof(struct sock),
	ITEMS_AT = COLD_AT + SOCKS_MAX * sizeof(struct sock_cold),
	TABLE_BYTES = ITEMS_AT + SOCKS_MAX * sizeof(struct epoll_item),
};

/* Address space only; pages come with use. `at` NULL: anywhere, else in place of what is there. */
static void *table_map(void *at)
{
	return mmap(at, TABLE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
}

/* table_lock held. */
static int table_reserve(void)
{
	uint8_t *t;

	if (sock_table.base)
		return 0;
	t = table_map(NULL);
	if (t == MAP_FAILED)
		return -ENOMEM;
	sock_table.cold = (struct sock_cold *)(void *)(t + COLD_AT);
	sock_table.items = (struct epoll_item *)(void *)(t + ITEMS_AT);
	atomic_store(&sock_table.base, (struct sock *)(void *)t);
	return 0;
}

/* From so many sockets on a huge page is filled before it is wasted, and each plain one would be
 * a miss of the TLB. Only advice. */
static void table_huge(void)
{
	uintptr_t from = (uintptr_t)&sock_table.base[HUGE_FROM];
	uintptr_t end = (uintptr_t)&sock_table.base[SOCKS_MAX];

	from = (from + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
	(void)madvise((void *)from, end - from, MADV_HUGEPAGE);
}

/* The entry that was freed last, whose lines are the warmest, or a new one. table_lock held. */
static struct sock *table_take(void)
{
	struct sock *s;
	uint32_t idx;

	if (free_first != SOCK_IDX_NONE) {
		s = &sock_table.base[free_first];
		free_first = sock_cold(s)->next;
		return s;
	}
	idx = atomic_load(&sock_table.used);
	if (idx == SOCKS_MAX)
		return NULL;
	if (idx == HUGE_FROM)
		table_huge();
	s = &sock_table.base[idx];
	atomic_store(&sock_table.used, idx + 1);
	return s;
}

/* Whoever else looks takes a lock after we have given it: no order of its own is needed, and none
 * of the locked instructions that it costs. */
#define store(at, value) atomic_store_explicit(at, value, memory_order_relaxed)

void sock_reset_flow(struct sock *s)
{
	uint32_t set = sock_rare(s)->sndbuf_bytes;

	lock_take(&s->ev_lock);
	store(&s->ev.acked_low, 0);
	store(&s->ev.received_low, 0);
	store(&s->ev.flags, 0);
	store(&s->ev.sndbuf_bytes, set ? set : ses.info.sndbuf_bytes);
	s->ev.gen = 0;
	s->ev.error_seen = 0;
	store(&s->ev.chunk, PROTO_REF_NONE);
	lock_drop(&s->ev_lock);
	s->handle = (struct proto_handle){0, 0};
	store(&s->snd_pos, 0);
	store(&s->rcv_pos, 0);
	s->consumed_low = 0;
	s->quiet_bytes = 0;
	s->holds_chunk = false;
	store(&s->nospace, false);
}

/* Nobody else looks at it while it is KIND_FREE; but drainers may, under ev_lock, for an answer
 * that comes too late, and request_seq goes on so that they do not take it for a new one. */
static void sock_init(struct sock *s)
{
	struct sock_cold *cold = sock_cold(s);

	s->nonblock = s->cloexec = s->answering = s->is_epoll = false;
	s->bound = s->reuseaddr = s->reuseport = s->keepalive = s->nodelay = s->cork = false;
	s->ip6 = s->v6only = false;
	s->session_generation = ses.generation;
	s->ctx = s->engine = 0;
	store(&s->todo, 0);
	store(&s->state, STATE_NEW);
	store(&s->shut, 0);
	store(&s->pool_wait, false);
	s->tx_last = NULL;
	store(&s->tx_blocks, 0);
	store(&s->request, REQUEST_NONE);
	LIST_INIT(&s->waiters);
	s->items = NULL;
	s->is_listener = false;
	s->rare = NULL;
	*cold = (struct sock_cold){.pending_of = SOCK_IDX_NONE, .next = SOCK_IDX_NONE};
	store(&s->ev.error, 0);
	sock_reset_flow(s);
}

#undef store

const struct sock_rare sock_rare_none;

struct sock_rare *sock_rare_make(struct sock *s)
{
	if (!s->rare)
		s->rare = calloc(1, sizeof(*s->rare));
	return s->rare;
}

int sock_names_make(struct sock *s)
{
	struct sock_names *names;

	if (!s->ip6)
		return 0;
	names = calloc(1, sizeof(*names));
	sock_cold(s)->names = names;
	return names ? 0 : -ENOMEM;
}

void sock_name(const struct sock *s, enum sock_end end, uint8_t addr[16])
{
	if (s->ip6) {
		memcpy(addr, sock_cold(s)->names->addr[end], 16);
		return;
	}
	addr_any(false, addr);
	memcpy(addr + 12, sock_cold(s)->addr4[end], 4);
}

void sock_name_set(struct sock *s, enum sock_end end, const uint8_t addr[16])
{
	if (s->ip6)
		memcpy(sock_cold(s)->names->addr[end], addr, 16);
	else
		memcpy(sock_cold(s)->addr4[end], addr + 12, 4);
}

/* table_lock held. */
static bool take_place(void)
{
	uint32_t max = ses.info.sockets_max;

	if (max && taken >= max)
		return false;
	taken++;
	return true;
}

int sock_alloc(enum sock_kind kind, struct sock **out)
{
	bool counted = kind == KIND_TCP;
	struct sock *s = NULL;
	int err;

	lock_take(&table_lock);
	err = table_reserve();
	if (!err && (!counted || take_place())) {
		s = table_take();
		taken -= !s && counted;
	}
	lock_drop(&table_lock);
	if (!s)
		return err ? err : -EMFILE;
	sock_init(s);
	s->counted = counted;
	*out = s;
	return 0;
}

bool sock_count_in(struct sock *s)
{
	lock_take(&table_lock);
	s->counted = take_place();
	lock_drop(&table_lock);
	return s->counted;
}

void sock_append(uint32_t *first, uint32_t *last, const struct sock *s)
{
	sock_cold(s)->next = SOCK_IDX_NONE;
	if (*last == SOCK_IDX_NONE)
		*first = sock_idx(s);
	else
		sock_table.cold[*last].next = sock_idx(s);
	*last = sock_idx(s);
}

void sock_free(struct sock *s)
{
	struct sock_cold *cold = sock_cold(s);
	bool counted = s->counted;

	lock_take(&s->ev_lock);
	free(sock_listener(s));
	s->is_listener = false;
	s->tx_last = NULL; /* in the same place */
	lock_drop(&s->ev_lock);
	number_free(s);
	free(s->rare);
	if (s->ip6)
		free(cold->names);
	s->rare = NULL;
	s->ip6 = false;
	sock_become(s, KIND_FREE);
	lock_drop(&s->lock);

	lock_take(&table_lock);
	cold->next = free_first;
	free_first = sock_idx(s);
	taken -= counted;
	lock_drop(&table_lock);
}

uint32_t sock_count(void)
{
	uint32_t n = 0;
	struct sock *s;

	for (uint32_t i = 0; (s = sock_at(i)); i++) {
		lock_take(&s->lock);
		n += s->kind == KIND_TCP || sock_cold(s)->users;
		lock_drop(&s->lock);
	}
	return n;
}

void sock_fork_child(void)
{
	void *t = sock_table.base;

	table_lock = (struct lock){0};
	/* Fresh zeroes in place; what entries pointed to is leaked. */
	if (t && table_map(t) != t)
		abort();
	atomic_store(&sock_table.used, 0);
	free_first = SOCK_IDX_NONE;
	taken = 0;
}

/* -- finding and locking ------------------------------------------------------------------- */

int sock_get_any(int sd, struct sock **out)
{
	struct sock *s = sd < 0 ? NULL : sock_at((uint32_t)sd);
	uint8_t kind;

	if (!s)
		return -EBADF;
	lock_take(&s->lock);
	if (s->kind == KIND_TCP) {
		*out = s;
		return 0;
	}
	kind = s->kind;
	lock_drop(&s->lock);
	return kind == KIND_EPOLL ? -ENOTSOCK : -EBADF;
}

int sock_get_settled(int sd, struct sock **out)
{
	int err = sock_get_any(sd, out);

	if (err || !(*out)->answering || sock_dead(*out))
		return err;
	sock_settle(*out);
	if ((*out)->kind == KIND_TCP)
		return 0;
	sock_put(*out);
	return -EBADF;
}

static int refuse_dead(int err, struct sock **found)
{
	if (err || !sock_dead(*found))
		return err;
	lock_drop(&(*found)->lock);
	return -ENETDOWN;
}

int sock_get_live(int sd, struct sock **out)
{
	return refuse_dead(sock_get_any(sd, out), out);
}

int sock_get_rare(int sd, struct sock **out)
{
	return refuse_dead(sock_get_settled(sd, out), out);
}

/* A zombie that nobody needs any more: no handle, no sleeper, no answer due. */
static bool can_free(const struct sock *s)
{
	return s->kind == KIND_ZOMBIE && !sock_cold(s)->users && !s->handle.gen && !s->answering &&
	       !(sock_listener(s) && s->listener->outstanding);
}

static void wake_if_writable(struct sock *s)
{
	if (!atomic_load(&s->nospace) || !sock_writable(s))
		return;
	atomic_store(&s->nospace, false);
	sock_wake_unlocked(s, POLLOUT | POLLWRNORM);
}

/* Runs the errand given and those that drainers left. True: the socket was freed and its lock is
 * gone. */
static bool run_todo(struct sock *s, uint32_t todo)
{
	/* A locked instruction less for nearly every call; what comes later finds the lock taken
	 * and is seen after it is given. */
	if (atomic_load_explicit(&s->todo, memory_order_relaxed))
		todo |= atomic_exchange(&s->todo, 0);
	if (todo & TODO_ANSWER)
		connect_answered(s);
	if (todo & TODO_REAP) {
		tx_reap(s);
		wake_if_writable(s); /* the number of blocks is a limit, too */
	}
	if (todo & TODO_GONE) {
		if (atomic_load(&s->ev.flags) & PROTO_FLOW_GONE && s->handle.gen) {
			s->handle.gen = 0;
			s->holds_chunk = false; /* whatever was lent is the daemon's again */
			tx_drop(s);
		}
		if (s->kind == KIND_ZOMBIE && sock_listener(s))
			listener_close(s);
	}
	if (!can_free(s))
		return false;
	tx_drop(s);
	sock_free(s);
	return true;
}

static void put(struct sock *s, uint32_t todo)
{
	for (;; todo = 0) {
		if (run_todo(s, todo))
			return;
		lock_drop(&s->lock);
		if (!atomic_load(&s->todo) || !lock_try(&s->lock)) /* as in sock_put() */
			return;
	}
}

void sock_put_locked(struct sock *s)
{
	put(s, 0);
}

void sock_do(struct sock *s, uint32_t todo)
{
	if (!lock_try(&s->lock)) {
		atomic_fetch_or(&s->todo, todo);
		if (!lock_try(&s->lock))
			return;
		todo = 0;
	}
	put(s, todo);
}

/* -- readiness ----------------------------------------------------------------------------- */

/* Whether an attempt to connect has ended, well or not. */
static bool connected(uint8_t state, uint32_t flags)
{
	return state == STATE_CONNECTED ||
	       (state == STATE_CONNECTING && flags & (PROTO_FLOW_ESTABLISHED | PROTO_FLOW_CLOSED));
}

bool sock_connecting(struct sock *s)
{
	return s->state == STATE_CONNECTING && !connected(s->state, atomic_load(&s->ev.flags));
}

/* Linux wakes writers when a third of the buffer is free (sk_stream_is_writeable). */
bool sock_writable(struct sock *s)
{
	uint64_t used = sock_unacked(s); /* before the size, see take_acked() in event.c */
	uint64_t buf = atomic_load(&s->ev.sndbuf_bytes);

	return !atomic_load_explicit(&s->pool_wait, memory_order_relaxed) &&
	       atomic_load_explicit(&s->tx_blocks, memory_order_relaxed) < TX_BLOCKS_MAX &&
	       used < buf && ((buf - used) * 3 >= buf || event_any_room(&s->ev));
}

static uint32_t poll_writable(struct sock *s)
{
	if (sock_writable(s))
		return POLLOUT | POLLWRNORM;
	atomic_store(&s->nospace, true); /* pairs with take_acked() in event.c */
	return sock_writable(s) ? POLLOUT | POLLWRNORM : 0;
}

static uint32_t poll_readable(struct sock *s)
{
	/* negative: somebody reads, and the two were not looked at in one moment */
	return (int32_t)sock_unread(s) > 0 ? POLLIN | POLLRDNORM : 0;
}

/* Nearly every look at nearly every socket: a connection with nothing out of the ordinary. */
static bool is_plain(const struct sock *s)
{
	return atomic_load(&s->state) == STATE_CONNECTED && !atomic_load(&s->shut) &&
	       !atomic_load(&s->ev.error) && !sock_dead(s) &&
	       !(atomic_load(&s->ev.flags) &
		       (PROTO_FLOW_FIN | PROTO_FLOW_CLOSED | PROTO_FLOW_GONE));
}

static uint32_t poll_plain(struct sock *s, uint32_t wanted)
{
	uint32_t out = wanted & (POLLOUT | POLLWRNORM) ? poll_writable(s) : 0;

	return out | poll_readable(s);
}

/* The daemon is gone. A connection is over, and every call on it fails. A listener, which nobody
 * closes for an error, would be asked for ever: it says so once and is then one whose network is
 * down, to which nobody connects. */
static uint32_t dead_bits(uint8_t state, uint8_t shut)
{
	if (state == STATE_LISTEN)
		return shut & SHUT_TOLD_DOWN ? 0 : POLLIN | POLLRDNORM;
	return POLLERR | POLLHUP | POLLIN | POLLOUT | POLLRDHUP;
}

/* As tcp_poll() in Linux. */
static uint32_t poll_any(struct sock *s, uint32_t wanted)
{
	uint8_t state = atomic_load(&s->state), shut = atomic_load(&s->shut);
	uint32_t flags = atomic_load(&s->ev.flags);
	uint32_t bits = atomic_load(&s->ev.error) ? POLLERR : 0;
	bool rd = shut & SHUT_LOCAL_RD || flags & (PROTO_FLOW_FIN | PROTO_FLOW_CLOSED);
	bool wr = shut & SHUT_LOCAL_WR || flags & PROTO_FLOW_CLOSED;

	if (sock_dead(s))
		return dead_bits(state, shut);
	if (state == STATE_LISTEN)
		return bits | (atomic_load(&s->acceptable) ? POLLIN | POLLRDNORM : 0);
	if (state == STATE_NEW)
		return bits | POLLOUT | POLLWRNORM | POLLHUP;
	if (rd && wr)
		bits |= POLLHUP;
	if (rd)
		bits |= POLLIN | POLLRDNORM | POLLRDHUP;
	if (!connected(state, flags))
		return bits;
	bits |= poll_readable(s);
	if (wr)
		return bits | POLLOUT | POLLWRNORM;
	return wanted & (POLLOUT | POLLWRNORM) ? bits | poll_writable(s) : bits;
}

/* No lock: every input is atomic. Whether there is room to write is found out only for who wants to
 * know. */
uint32_t sock_poll(struct sock *s, uint32_t wanted)
{
	return is_plain(s) ? poll_plain(s, wanted) : poll_any(s, wanted);
}

int sock_take_error(struct sock *s)
{
	if (!atomic_load_explicit(&s->ev.error, memory_order_relaxed))
		return 0;
	return (int)atomic_exchange(&s->ev.error, 0);
}

void sock_wake(struct sock *s, uint32_t bits)
{
	wait_wake_list(&s->waiters, bits);
	epoll_wake(s->items, bits);
}

/* For changes that do not come from a ring. */
void sock_wake_unlocked(struct sock *s, uint32_t bits)
{
	lock_take(&s->ev_lock);
	sock_wake(s, bits);
	lock_drop(&s->ev_lock);
	atomic_thread_fence(memory_order_seq_cst); /* the change, then who waits for any */
	wait_wake_any();
}

void sock_fail_all(void)
{
	struct sock *s;

	for (uint32_t i = 0; (s = sock_at(i)); i++) {
		lock_take(&s->ev_lock);
		if (s->kind == KIND_TCP || s->kind == KIND_ZOMBIE)
			sock_wake(s, UINT32_MAX);
		lock_drop(&s->ev_lock);
	}
}

/* -- sleeping in a call -------------------------------------------------------------------- */

/* Whether bytes may come that have not yet. */
bool sock_may_receive(const struct sock *s)
{
	const uint32_t over = PROTO_FLOW_FIN | PROTO_FLOW_CLOSED | PROTO_FLOW_GONE;

	return s->state != STATE_NEW && s->state != STATE_LISTEN && !sock_dead(s) &&
	       !(atomic_load(&s->ev.flags) & over) && !atomic_load(&s->ev.error) &&
	       !(atomic_load(&s->shut) & SHUT_LOCAL_RD);
}

static bool wait_over(struct sock *s, const struct waiter *w, uint32_t bits)
{
	if (s->kind != KIND_TCP && !(bits & (WAKE_GONE | WAKE_RESULT)))
		return true;
	if (sock_dead(s))
		return !(atomic_load(&s->shut) & SHUT_TOLD_DOWN);
	if (bits & WAKE_RESULT)
		return sock_answered(s);
	if (bits & WAKE_GONE && atomic_load(&s->ev.flags) & PROTO_FLOW_GONE)
		return true;
	if (bits & WAKE_ACKED && !sock_unacked(s))
		return true;
	if (bits & WAKE_MORE)
		return atomic_load(&s->ev.received_low) != w->seen_low || !sock_may_receive(s);
	return bits & 0xffff && sock_poll(s, bits) & (bits | WAKE_ALWAYS);
}

/* The sleep itself, without the socket's lock. */
static int wait_unlocked(struct sock *s, struct waiter *w, uint32_t bits, uint64_t deadline_ns)
{
	int rc;

	for (;;) {
		waiter_arm(w);
		if (wait_over(s, w, bits))
			return 0;
		if (ctx_drain_all(false) && wait_over(s, w, bits))
			return 0;
		rc = wait_block(w, NULL, 0, deadline_ns, NULL);
		if (rc == WAIT_WOKEN || (rc == -EINTR && bits & WAKE_RESULT))
			continue;
		if (wait_over(s, w, bits))
			return 0;
		return rc == WAIT_TIMEOUT ? -EAGAIN : rc;
	}
}

static int wait_on(struct sock *s, uint32_t bits, uint64_t deadline_ns)
{
	struct wait_entry e = {.w = waiter_self(), .bits = bits | WAKE_ALWAYS};
	int rc;

	if (!e.w)
		return -ENOMEM;
	sock_cold(s)->users++;
	lock_take(&s->ev_lock);
	LIST_INSERT_HEAD(&s->waiters, &e, link);
	lock_drop(&s->ev_lock);
	sock_put(s);

	rc = wait_unlocked(s, e.w, bits, deadline_ns);

	lock_take(&s->lock);
	lock_take(&s->ev_lock);
	LIST_REMOVE(&e, link);
	lock_drop(&s->ev_lock);
	sock_cold(s)->users--;
	return rc;
}

int sock_wait(struct sock *s, uint32_t bits, uint64_t deadline_ns)
{
	int rc = wait_on(s, bits, deadline_ns);

	if (s->kind != KIND_TCP) {
		sock_put(s); /* perhaps the last that knew of it */
		return -EBADF;
	}
	return rc;
}

uint64_t sock_deadline(const struct sock *s, int flags, const struct timeval *timeo)
{
	if (s->nonblock || flags & MSG_DONTWAIT)
		return 0;
	if (!timeo->tv_sec && !timeo->tv_usec)
		return MTCPI_FOREVER;
	return wait_now_ns() + (uint64_t)timeo->tv_sec * 1000000000u +
	       (uint64_t)timeo->tv_usec * 1000u;
}

/* -- requests ------------------------------------------------------------------------------ */

/* The index below, a number that tells it from the previous one above; never 0. */
uint32_t sock_request_id(const struct sock *s)
{
	return (uint32_t)s->request_seq * SOCKS_MAX + sock_idx(s);
}

uint32_t sock_request_new(struct sock *s, enum sock_request what)
{
	s->request_seq = (uint16_t)(s->request_seq % REQUEST_SEQ_MAX + 1);
	atomic_store_explicit(&s->request, what, memory_order_relaxed); /* ev_lock held */
	return sock_request_id(s);
}

bool sock_request_is(const struct sock *s, uint32_t id)
{
	uint8_t request = atomic_load_explicit(&s->request, memory_order_relaxed);

	return request != REQUEST_NONE && request != REQUEST_DONE &&
	       id / SOCKS_MAX == s->request_seq;
}

/* The engine answers at once, so this is short; not interruptible, as sock_request(). */
void sock_settle(struct sock *s)
{
	while (s->answering && !sock_dead(s)) {
		if (!sock_answered(s) && wait_on(s, WAKE_RESULT, MTCPI_FOREVER) == -ENOMEM)
			return;
		connect_answered(s);
	}
}

/* One request at a time: a thread that finds one under way waits for its end. */
void sock_request_begin(struct sock *s)
{
	struct sock_cold *cold = sock_cold(s);

	cold->users++;
	lock_drop(&s->lock);
	lock_take(&cold->request_lock);
	lock_take(&s->lock);
	cold->users--;
}

/* Pushes the request in *slot (its id is filled in) and waits for the answer; the socket's lock is
 * dropped meanwhile, and the socket may be a zombie after. Short, and not interruptible: engines
 * answer at once. The result, or -ENETDOWN. */
int sock_request(struct sock *s, struct proto_slot *slot, bool info)
{
	uint32_t id;
	int err;

	sock_request_begin(s);
	sock_settle(s); /* another thread may have begun to connect anew */
	lock_take(&s->ev_lock);
	id = sock_request_new(s, info ? REQUEST_INFO : REQUEST_PLAIN);
	lock_drop(&s->ev_lock);
	slot->head = proto_head_make(proto_head_op(slot->head), id);
	err = ctx_push(s->ctx, s->engine, slot);
	if (!err)
		err = wait_on(s, WAKE_RESULT, MTCPI_FOREVER);
	lock_take(&s->ev_lock);
	if (!err)
		err = sock_answered(s) ? sock_cold(s)->result : -ENETDOWN;
	atomic_store(&s->request, REQUEST_DONE); /* whatever: a late answer is nobody's */
	lock_drop(&s->ev_lock);
	lock_drop(&sock_cold(s)->request_lock);
	return err;
}
