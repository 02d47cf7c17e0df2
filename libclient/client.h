/* What the files of libclient share. Nothing outside libclient includes this.
 *
 *	session.c  attach, detach, death, fork       control.c  requests on the control socket
 *	ctx.c      rings: push and drain             event.c    what an event does to a socket
 *	wait.c     how threads sleep and are woken   sock.c     descriptors, from birth to GONE
 *	name.c     bind, listen, names               open.c     connect, accept
 *	pool.c     transmit memory                   tx.c rx.c  send and receive
 *	opt.c      options, fcntl, ioctl             epoll.c poll.c
 *
 * One process has one session, in `ses`. Sockets live in a table that never moves, so a pointer
 * to one is always safe to follow; whether it is still the same socket is known under its lock.
 *
 * Locks, outermost first. None is held while sleeping for another process, except `attach_lock`,
 * `rpc_lock` (bounded by a time-out) and what ctx_push() waits with when a ring is full.
 *
 *	attach_lock > ctx.cons_lock > sock.lock > { rpc_lock, ctx.prod_lock, pool_lock }
 *	                              sock.lock > sock.ev_lock > epoll.lock
 *	ctx.cons_lock > sock.ev_lock;  lead_lock, any_lock, table_lock: innermost
 *
 * Whoever holds cons_lock takes sock.lock only by trylock: a call may hold it for long.
 */
#ifndef LIBCLIENT_CLIENT_H
#define LIBCLIENT_CLIENT_H

#include <libclient/internal.h>
#include <libclient/lock.h>

#include <proto/attach.h>
#include <proto/layout.h>
#include <proto/slot.h>
#include <shm/doorbell.h>
#include <shm/ring.h>
#include <shm/segment.h>

#include <assert.h>
#include <errno.h>
#include <linux/tcp.h> /* all of struct tcp_info; the C library knows its first 104 bytes */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#define MTCPI_FOREVER UINT64_MAX

enum {
	SOCKS_MAX = 1 << 22, /* descriptors of a process */
	FD_NONE = -1,
	REQUEST_SEQ_MAX = UINT32_MAX / SOCKS_MAX - 1,
	TX_BLOCKS_MAX = 2048, /* of a socket: the daemon bounds its descriptors, too */
};

/* -- waiting (wait.c) ----------------------------------------------------------------------- */

/* A thread that waits; one per thread, made when it first sleeps or calls. */
struct waiter {
	_Atomic uint32_t state; /* enum in wait.c */
	int fd;			/* eventfd that wakes it */
	uint32_t ctx;		/* where this thread's sockets live */
	bool following;
	TAILQ_ENTRY(waiter) follow_link; /* lead_lock */
	TAILQ_ENTRY(waiter) any_link;	 /* any_lock */
	int spin_credit;
	uint32_t seen_low; /* WAKE_MORE: how much was received at the last look, its low half */
};

/* A waiter's interest in one socket or epoll instance. On the stack of the waiting call. */
struct wait_entry {
	struct waiter *w;
	uint32_t bits; /* POLL* and WAKE_* that wake it */
	LIST_ENTRY(wait_entry) link;
};
LIST_HEAD(wait_list, wait_entry);

enum {
	WAKE_RESULT = 1 << 16, /* the answer to a request has come */
	WAKE_GONE = 1 << 17,   /* the daemon has let go of the handle */
	WAKE_ACKED = 1 << 18,  /* everything sent was acknowledged */
	WAKE_MORE = 1 << 19,   /* with POLLIN: received since the last look, read or not */
	WAKE_ALWAYS = POLLERR | POLLHUP | POLLNVAL,
};

struct waiter *waiter_self(void); /* NULL: ENOMEM or EMFILE */
void waiter_arm(struct waiter *w);
void waiter_wake(struct waiter *w);
bool waiter_woken(const struct waiter *w);
void waiter_any_add(struct waiter *w);
void waiter_any_remove(struct waiter *w);
void wait_wake_any(void);
void wait_wake_list(struct wait_list *l, uint32_t bits);
void wait_fork_child(void);

/* What wait_block() and those above it return besides -errno. */
enum wait_result {
	WAIT_TIMEOUT,
	WAIT_WOKEN, /* look again */
	WAIT_FDS,   /* one of fds has revents */
};
/* Blocks an armed waiter; see wait.c. Nothing may be locked. -EINTR, -ENOMEM. */
int wait_block(struct waiter *w, struct pollfd *fds, nfds_t n, uint64_t deadline_ns,
	const sigset_t *sigmask);
/* Contexts that can have sockets, and so events: those below it. It grows with new threads. */
uint32_t wait_contexts(void);
uint64_t wait_now_ns(void);
uint64_t wait_deadline_ms(int timeout_ms); /* negative: for ever */
uint64_t wait_deadline_ts(const struct timespec *ts);

/* -- session and contexts ------------------------------------------------------------------- */

struct ring_pair {
	struct shm_ring_prod sub;  /* prod_lock */
	struct shm_ring_cons comp; /* cons_lock */
	const struct proto_submission_line *line;
	uint32_t rung; /* prod_lock; the engine's sleep that was last rung for */
};

/* A completion that was taken and is not applied yet. */
struct stashed {
	uint32_t engine;
	struct proto_slot slot;
};

struct ctx {
	_Alignas(SHM_CACHE_LINE) struct lock cons_lock;
	bool live; /* cons_lock and prod_lock to change, either to read */
	uint32_t idx;
	uint32_t empty_drains; /* cons_lock */
	uint64_t events, stale;
	_Atomic(const void *) drainer; /* the thread that applies completions; NULL: none */
	struct stashed *stash;	       /* cons_lock, as the next two */
	uint32_t stashed, stash_room;
	int pipe_fd;
	struct proto_ctx_line *line;
	struct ring_pair *pair; /* one per engine */
	_Alignas(SHM_CACHE_LINE) struct lock prod_lock;
	uint64_t operations;
	_Atomic uint64_t owed; /* engines, as bits, with operations that were not rung for */
};

enum session_state {
	SESSION_NONE,
	SESSION_LIVE,
	SESSION_DEAD, /* daemon lost or session condemned; memory still mapped */
};

struct segment_map {
	_Atomic(uint8_t *) base;
	size_t bytes;
};

struct session {
	_Atomic uint32_t state;
	uint16_t generation; /* of the session within this process; a socket knows its own. It may
			      * wrap: no open socket outlives the next session's beginning */
	int control_fd;
	uint32_t contexts, engines;
	struct ctx ctx[PROTO_CONTEXTS_MAX];
	int engine_fd[PROTO_ENGINES_MAX];
	struct proto_layout layout;
	struct segment_map seg[2][PROTO_SEGMENTS_MAX]; /* enum shm_direction */
	struct proto_msg_attached info;
	const struct proto_up_header *up_header;
};
extern struct session ses;

struct counters {
	_Atomic uint64_t doorbells, sleeps, handovers, ring_full_waits, pool_empty, sockopt_unknown;
};
extern struct counters counters;
static inline void count(_Atomic uint64_t *c)
{
	atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

static inline bool session_live(void)
{
	return atomic_load_explicit(&ses.state, memory_order_acquire) == SESSION_LIVE;
}
int session_ensure(void);	/* attaches if need be: 0 or -errno */
void session_lost(void);	/* the daemon is gone: fails every socket; any thread, any lock but
				 * sock.ev_lock */
bool session_check(void);	/* looks for death: false if the session is not live */
int session_keep_fd(int fd);	/* moves a descriptor of ours up and remembers it */
void session_forget_fd(int fd); /* and closes it */

/* control.c. All 0 or -errno. */
int control_connect(const char *path); /* fd */
int control_attach(int fd, uint32_t contexts, struct proto_msg_attached *out, int *fds,
	unsigned int fds_max, unsigned int *fd_count);
int control_name(struct proto_msg_name *m, uint16_t type); /* sends; *m becomes the answer */
int control_grow(uint64_t bytes);
int control_need_segment(enum shm_direction dir, uint32_t idx); /* waits for its arrival */
void control_fork_child(void);

/* ctx.c */
int ctx_open(struct ctx *c, uint32_t idx, int pipe_fd);
void ctx_close(struct ctx *c);
bool ctx_drain(struct ctx *c, bool block); /* whether events were taken in */
bool ctx_drain_all(bool block);
bool ctx_has_news(const struct ctx *c, uint32_t engine); /* of a live session; no lock needed */
/* Pushes and rings. Waits while the ring is full. 0, -ENETDOWN. */
int ctx_push(uint32_t ctx, uint32_t engine, const struct proto_slot *slot);
int ctx_push_quiet(uint32_t ctx, uint32_t engine, const struct proto_slot *slot);
void ctx_settle(void); /* before a wait, nothing being locked: what was put off is done */

/* Address of a reference into `up` or `down`; NULL if the daemon talks nonsense (then the
 * session is lost). May wait for a segment to arrive. */
uint8_t *session_at(enum shm_direction dir, proto_ref ref);

/* -- sockets -------------------------------------------------------------------------------- */

enum sock_kind {
	KIND_FREE,
	KIND_TCP,
	KIND_EPOLL,
	KIND_PENDING, /* named in an ACCEPT that is not answered, or in an accept queue */
	KIND_ZOMBIE,  /* closed by the program, not yet GONE, or still used by a waiter */
};

enum sock_state {
	STATE_NEW,
	STATE_LISTEN,
	STATE_CONNECTING,
	STATE_CONNECTED,
};

enum {
	SHUT_LOCAL_RD = 1,
	SHUT_LOCAL_WR = 2,
	SHUT_TOLD_DOWN = 4, /* a listener whose daemon is gone: accept() has said so */
};

struct tx_block {
	struct tx_block *next;
	struct tx_slab *slab;
	uint8_t *mem;
	proto_ref ref;
	uint32_t start_low; /* the low half of its position */
	uint32_t cap, used;
	uint8_t sub; /* which of the slab */
};

/* What the engine has told. Written under ev_lock by whoever drains; atomics are read without.
 * Positions are low halves: no buffer has 2^31 bytes. */
struct sock_event {
	_Atomic uint32_t acked_low;    /* at or below snd_pos */
	_Atomic uint32_t received_low; /* at or past rcv_pos */
	_Atomic proto_ref chunk;       /* in which the reader stands (`holds_chunk`: then the
					* reader changes it) or with which it begins; NONE: neither */
	_Atomic uint32_t flags;	       /* enum proto_flow_flag */
	_Atomic uint32_t sndbuf_bytes;
	uint32_t gen;		/* of the handle; 0: none */
	_Atomic uint16_t error; /* not yet reported to the program */
	uint16_t error_seen;	/* the sticky one */
};

static inline bool event_any_room(const struct sock_event *ev)
{
	return atomic_load_explicit(&ev->flags, memory_order_relaxed) & PROTO_FLOW_ANY_ROOM;
}

/* The one request of a socket that can be outstanding. The answer to CONNECT brings ev.gen and,
 * unless bound, the local name too, which nobody else writes meanwhile. */
enum sock_request {
	REQUEST_NONE,
	REQUEST_PLAIN,
	REQUEST_INFO,	       /* parts go to rare->info */
	REQUEST_ACCEPT,	       /* KIND_PENDING */
	REQUEST_CONNECT,       /* nobody need wait for the answer */
	REQUEST_CONNECT_BOUND, /* ... and it has its local name already */
	REQUEST_DONE,	       /* answered; of a listener: an ACCEPT, or none is due */
};

struct listener {
	uint32_t first, last; /* accepted by the engine, not yet by the program; ev_lock */
	uint32_t queued;
	uint32_t outstanding;		/* ACCEPT slots not answered */
	uint32_t kept_first, kept_last; /* those of them that wait for a connection to come */
	uint32_t appetite;		/* how many to have wait, by what was accepted */
	uint32_t engines;
	struct proto_handle handle;
	struct {
		uint32_t pending;     /* as told ... */
		uint32_t listen_seq;  /* ... last, by the engine's count */
		uint32_t outstanding; /* of this engine */
		uint32_t kept;	      /* of them */
	} engine[];
};

/* A socket in an epoll instance (epoll.c): a line, which lies in the table by the socket's index
 * if it is in no other. */
struct epoll_item {
	struct epoll_item *next;	    /* of the socket; its ev_lock */
	struct epoll *ep;		    /* NULL: a place in the table that is free; ev_lock */
	TAILQ_ENTRY(epoll_item) all_link;   /* this and the rest: ep->lock */
	TAILQ_ENTRY(epoll_item) ready_link; /* ITEM_QUEUED */
	struct epoll_event event;	    /* with ITEM_* among its events */
	uint32_t sock;
};
static_assert(sizeof(struct epoll_item) == SHM_CACHE_LINE, "byte budget, docs/architecture.md");

/* Beyond what the header that we are built with knows. */
union sock_info {
	struct tcp_info info;
	uint8_t bytes[PROTO_INFO_ALL_BYTES];
};

/* What few sockets have; made when first set. */
struct sock_rare {
	struct linger linger;
	struct timeval rcvtimeo, sndtimeo;
	uint32_t rcvbuf_bytes, sndbuf_bytes; /* 0: default */
	uint32_t congestion;		     /* its number plus one; 0: default */
	struct sock_numbers *numbers;	     /* NULL: none was set (number.c) */
	union sock_info info;
};

#define SOCK_IDX_NONE UINT32_MAX

/* Small, since a process may have a million, and what a message touches in two lines: the rest is
 * in struct sock_cold. What is not said to be another's is guarded by `lock`, what is atomic by
 * nothing. */
struct sock {
	struct lock lock;
	struct lock ev_lock;
	_Atomic uint8_t kind;  /* enum sock_kind */
	_Atomic uint8_t state; /* enum sock_state */
	_Atomic uint8_t shut;  /* SHUT_* */
	_Atomic uint8_t todo;  /* work left by a drainer that found `lock` taken */
	_Atomic bool nospace;  /* somebody wants to hear of room */
	_Atomic bool pool_wait;
	uint8_t ctx, engine;
	struct proto_handle handle; /* gen 0: none */
	bool is_listener;	    /* has `listener`; both locks to change, either to read */
	_Atomic uint8_t request;    /* enum sock_request; ev_lock to change */
	bool is_epoll : 1;	    /* for life: until it is free again */
	bool holds_chunk : 1;	    /* the reader stands in ev.chunk */
	bool nonblock : 1, cloexec : 1;
	bool answering : 1; /* CONNECT was pushed; its answer has not been taken (sock_settle()) */
	bool bound : 1, reuseaddr : 1, reuseport : 1, keepalive : 1, nodelay : 1, cork : 1;
	bool broadcast : 1, oobinline : 1; /* given back; urgent data is in line whatever it says */
	bool ip6 : 1, v6only : 1;	   /* AF_INET6; IPV6_V6ONLY */
	bool counted : 1;		   /* has a place, see sock_count_in() */
	union {
		_Atomic uint32_t tx_blocks;  /* of a connection */
		_Atomic uint32_t acceptable; /* of a listener: connections to be had */
	};

	/* sending */
	_Atomic uint64_t snd_pos;
	union {
		struct tx_block *tx_last;  /* its next is the first */
		struct listener *listener; /* is_listener */
		struct epoll *epoll;	   /* is_epoll */
	};

	/* receiving */
	_Atomic uint64_t rcv_pos;
	uint32_t consumed_low; /* as told to the engine, the low half: at or below rcv_pos */
	uint32_t quiet_bytes;  /* of them, told since it was last rung for */
	_Atomic uint32_t window_bytes; /* what the engine has told (proto_flow) */
	uint16_t session_generation;
	uint16_t request_seq; /* ev_lock */

	struct sock_event ev;
	struct wait_list waiters; /* ev_lock */
	struct epoll_item *items; /* ev_lock */
	struct sock_rare *rare;	  /* sock_rare(), sock_rare_make() */
};
static_assert(sizeof(struct sock) == 2 * SHM_CACHE_LINE, "byte budget, docs/architecture.md");

/* What no message touches; the same guards. */
struct sock_cold {
	struct lock request_lock; /* one request at a time */
	int32_t result; /* of a request; of CONNECT: the index of the handle, or -errno. ev_lock */
	uint32_t users; /* calls that sleep with `lock` dropped */
	union {
		uint32_t pending_of; /* KIND_PENDING: the listener */
		uint32_t pool_next;  /* KIND_TCP that waits for transmit memory; pool_lock */
	};
	union {
		uint32_t next;	    /* KIND_FREE, table_lock; in a listener's lists, its ev_lock */
		uint32_t pool_prev; /* as pool_next */
	};
	uint16_t lport, rport;
	union {
		uint8_t addr4[2][4];	  /* not ip6; enum sock_end */
		struct sock_names *names; /* ip6: made with the socket */
	};
};
static_assert(sizeof(struct sock_cold) == 32, "byte budget, docs/architecture.md");

/* All sockets, which never move: arrays by the same index, of which `base` is set last. */
struct sock_table {
	_Atomic(struct sock *) base;
	struct sock_cold *cold;
	struct epoll_item *items;
	_Atomic uint32_t used; /* entries ever used */
};
extern struct sock_table sock_table;
static inline struct sock *sock_at(uint32_t idx) /* NULL: never used */
{
	struct sock *base = atomic_load_explicit(&sock_table.base, memory_order_acquire);

	if (idx >= atomic_load_explicit(&sock_table.used, memory_order_acquire))
		return NULL;
	return &base[idx];
}

/* Of one that is in the table. */
static inline uint32_t sock_idx(const struct sock *s)
{
	return (uint32_t)(s - atomic_load_explicit(&sock_table.base, memory_order_relaxed));
}
/* With a lock held whose giving away tells it, or before anybody can look. */
static inline void sock_become(struct sock *s, uint8_t kind)
{
	atomic_store_explicit(&s->kind, kind, memory_order_relaxed);
}
static inline struct sock_cold *sock_cold(const struct sock *s)
{
	return &sock_table.cold[sock_idx(s)];
}

/* Sent, and not acknowledged as far as the engine has told. */
static inline uint32_t sock_unacked(const struct sock *s)
{
	uint32_t snd_low = (uint32_t)atomic_load_explicit(&s->snd_pos, memory_order_relaxed);

	/* sequentially consistent: room is looked for after `nospace` is set, see event.c */
	return snd_low - atomic_load(&s->ev.acked_low);
}
/* Received, and not read. */
static inline uint32_t sock_unread(const struct sock *s)
{
	/* pairs with the release in take_received() */
	return atomic_load_explicit(&s->ev.received_low, memory_order_acquire) -
	       (uint32_t)atomic_load_explicit(&s->rcv_pos, memory_order_relaxed);
}
static inline bool sock_answered(const struct sock *s)
{
	return atomic_load(&s->request) == REQUEST_DONE;
}

static inline struct listener *sock_listener(const struct sock *s)
{
	return s->is_listener ? s->listener : NULL;
}
extern const struct sock_rare sock_rare_none;
static inline const struct sock_rare *sock_rare(const struct sock *s)
{
	return s->rare ? s->rare : &sock_rare_none;
}
struct sock_rare *sock_rare_make(struct sock *s); /* NULL: ENOMEM */

/* The names of a socket, 16 bytes each as in addr.c; one of AF_INET has none but those of IPv4. */
enum sock_end {
	SOCK_LOCAL,
	SOCK_PEER,
};
struct sock_names {
	uint8_t addr[2][16];
};
int sock_names_make(struct sock *s); /* for a fresh one that is ip6: 0, -ENOMEM */
void sock_name(const struct sock *s, enum sock_end end, uint8_t addr[16]);
void sock_name_set(struct sock *s, enum sock_end end, const uint8_t addr[16]);

/* Finds and locks, and waits for the answer to a connect that did not. 0, -EBADF, -ENOTSOCK
 * (epoll), -ENETDOWN; sock_get_rare() is where it goes unless all is as nearly always;
 * sock_get_live does not wait, sock_get_settled does not mind a dead session, and
 * sock_get_any neither. */
int sock_get_rare(int sd, struct sock **out);
int sock_get_live(int sd, struct sock **out);
int sock_get_settled(int sd, struct sock **out);
int sock_get_any(int sd, struct sock **out);
void sock_fetch(uint32_t idx); /* into the cache */
/* A fresh entry, not locked; it comes to life when the caller sets its kind, last of all. 0,
 * -EMFILE, -ENOMEM. */
int sock_alloc(enum sock_kind kind, struct sock **out);
/* The session has so many places for the program's sockets: those that wait for a connection to
 * come have none before they are given to it. Locked; false: all are taken. */
bool sock_count_in(struct sock *s);
void sock_free(struct sock *s); /* locked by the caller; unlocks */
/* To the end of a list by number, whose links are `next`; the list's lock held. */
void sock_append(uint32_t *first, uint32_t *last, const struct sock *s);
void sock_reset_flow(struct sock *s);
static inline bool sock_dead(const struct sock *s)
{
	return !session_live() || s->session_generation != ses.generation;
}
static inline int sock_get(int sd, struct sock **out)
{
	struct sock *s = sd < 0 ? NULL : sock_at((uint32_t)sd);

	if (!s)
		return -EBADF;
	lock_take(&s->lock);
	if (s->kind == KIND_TCP && !s->answering && !sock_dead(s)) {
		*out = s;
		return 0;
	}
	lock_drop(&s->lock);
	return sock_get_rare(sd, out);
}
uint32_t sock_count(void);			       /* in use, epoll instances aside */
void sock_close_locked(struct sock *s, bool abort_it); /* unlocks */
int sock_push_close(struct sock *s, bool abort_it);
void sock_fail_all(void);
void sock_discard_all(void);
void sock_fork_child(void);

void sock_put_locked(struct sock *s); /* sock_put() for which there is work, or may be */
/* Unlocks and does what drainers left. */
static inline void sock_put(struct sock *s)
{
	if (!atomic_load_explicit(&s->todo, memory_order_relaxed) && s->kind != KIND_ZOMBIE) {
		lock_drop(&s->lock);
		/* Pairs with sock_do(), sequentially consistent all of it: it saw the lock free, or
		 * we see its errand. */
		if (!atomic_load(&s->todo) || !lock_try(&s->lock))
			return;
	}
	sock_put_locked(s);
}

/* A drainer's errand: done now if the lock is free, else by its holder. */
enum sock_todo {
	TODO_REAP = 1 << 0,   /* acknowledged transmit memory can be freed */
	TODO_GONE = 1 << 1,   /* the handle, or what a zombie waited for, is gone */
	TODO_ANSWER = 1 << 2, /* the answer to CONNECT has come */
};
void sock_do(struct sock *s, uint32_t todo);

uint32_t sock_poll(
	struct sock *s, uint32_t wanted); /* POLL* bits, at least those wanted; no lock */
bool sock_writable(struct sock *s);
bool sock_connecting(struct sock *s);			/* and not yet known how it ends */
int sock_take_error(struct sock *s);			/* >= 0 */
void sock_wake(struct sock *s, uint32_t bits);		/* ev_lock held */
void sock_wake_unlocked(struct sock *s, uint32_t bits); /* ev_lock not held */

bool sock_may_receive(const struct sock *s);
/* Sleeps until sock_poll() or a WAKE_ bit matches; called and returns with s->lock held.
 * 0, -EAGAIN (deadline), -EINTR, -EBADF (closed meanwhile: the lock is gone then). */
int sock_wait(struct sock *s, uint32_t bits, uint64_t deadline_ns);
/* The lock is dropped while it waits for the answer to CONNECT, and the socket may be a zombie
 * after. */
void sock_settle(struct sock *s);
/* Locks s->request_lock, with s->lock dropped meanwhile: no request of another thread is under way.
 */
void sock_request_begin(struct sock *s);
/* Begins one, ev_lock held: its id. */
uint32_t sock_request_new(struct sock *s, enum sock_request what);
uint32_t sock_request_id(const struct sock *s);		 /* of the last; ev_lock */
bool sock_request_is(const struct sock *s, uint32_t id); /* ev_lock: it waits for that answer */
int sock_request(struct sock *s, struct proto_slot *slot, bool info); /* sock.c */
uint64_t sock_deadline(const struct sock *s, int flags, const struct timeval *timeo);

/* -- the rest ------------------------------------------------------------------------------- */

void event_apply(struct ctx *c, uint32_t engine, const struct proto_slot *slot);

int pool_add(uint32_t segment, uint8_t *base, size_t bytes, size_t first);
void pool_fini(void);
struct tx_block *pool_alloc(struct sock *s, size_t want_bytes);
void pool_free(struct tx_block *b);
void pool_wait(struct sock *s);
void pool_unwait(struct sock *s);
void pool_fork_child(void);

void tx_reap(struct sock *s);
void tx_drop(struct sock *s);
int tx_shutdown(struct sock *s);
void opt_push(struct sock *s, enum proto_option option, uint64_t value); /* no answer wanted */
uint32_t opt_rcvbuf(const struct sock *s);	   /* as the engine is to have it; 0: its default */
uint32_t opt_defer_accept_s(const struct sock *s); /* for the daemon, which waits no longer */

enum sock_number {
	NUMBER_KEEPIDLE,
	NUMBER_KEEPINTVL,
	NUMBER_KEEPCNT,
	NUMBER_SYNCNT,
	NUMBER_USER_TIMEOUT,
	NUMBER_LINGER2,
	NUMBER_QUICKACK,
	NUMBER_MAXSEG,
	NUMBER_WINDOW_CLAMP,
	NUMBER_DEFER_ACCEPT,
	NUMBER_NOTSENT_LOWAT,
	NUMBER_FASTOPEN,
	NUMBER_FASTOPEN_CONNECT,
	NUMBER_COUNT
};
int number_find(int name); /* of level IPPROTO_TCP; -1: it is none */
int number_get(const struct sock *s, enum sock_number n);
int number_set(struct sock *s, enum sock_number n, int value); /* 0, -EINVAL, -ENOMEM */
void number_push_all(struct sock *s);			       /* there is a connection now */
int number_inherit(struct sock *s, const struct sock *from);
void number_free(struct sock *s);

int rx_flush(struct sock *s);	     /* tells the engine everything that was read */
uint64_t rx_to_tell(struct sock *s); /* what a send tells by the way; 0: nothing */
void rx_tell_late(void);	     /* nothing may be locked */
void rx_fork_child(void);

void connect_answered(struct sock *s);		    /* s->lock held */
void listener_push(struct sock *l, struct sock *s); /* ev_lock of l */
struct sock *listener_pop(struct sock *l);	    /* ev_lock of l; NULL: empty */
void listener_lock_queued(struct sock *c);	    /* with the lock of its listener held */
void listener_count(struct sock *l);		    /* what can be had at once; ev_lock of l */
/* The ACCEPTs that wait for a connection; ev_lock of l. */
void listener_kept_add(struct sock *l, struct sock *s);
bool listener_kept_drop(struct sock *l, struct sock *s); /* if it is one */
bool listener_settle(struct sock *s);			 /* false: as sock_wait()'s -EBADF */
void listener_close(struct sock *s);			 /* s->lock held */
bool listener_drop(struct sock *s); /* the same; false: answers are still due */
/* TCP fast open, with s->lock held, which may be dropped meanwhile: the engine has the request, and
 * what is sent next may go with the SYN. 0, or as connect(2). */
int connect_fast(struct sock *s, const uint8_t addr[16], uint16_t port);
int listener_open(struct sock *s, int backlog);
int listener_set(struct sock *s);
void name_unbind(struct sock *s);

void epoll_forget(struct sock *s);			  /* s is being closed */
void epoll_wake(struct epoll_item *items, uint32_t bits); /* ev_lock of their socket held */
bool epoll_has_event(struct epoll *ep);
void epoll_wait_begin(struct epoll *ep, struct wait_entry *e);
void epoll_wait_end(struct epoll *ep, struct wait_entry *e);
void epoll_put(struct sock *s); /* ends a use of an instance */
int epoll_close(int epd);

bool addr_is_ip4(const uint8_t addr[16]);
bool addr_is_any(const uint8_t addr[16]);
void addr_any(bool ip6, uint8_t addr[16]);
int addr_from_sockaddr(
	bool ip6, const struct sockaddr *sa, socklen_t len, uint8_t addr[16], uint16_t *port);
void addr_to_sockaddr(
	bool ip6, const uint8_t addr[16], uint16_t port, struct sockaddr *sa, socklen_t *len);

static inline int ret_errno(int err) /* 0 or -errno to 0 or -1 */
{
	if (err >= 0)
		return err;
	errno = -err;
	return -1;
}

#endif
