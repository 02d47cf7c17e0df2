/* What the engine's files share. Nothing outside daemon/engine includes this.
 *
 * Who owns what, from a packet upwards:
 *
 *	tcp_conn   the flow: key, state machine, receive chain (rxq), send descriptors (txq)
 *	sock       the daemon's socket object: handle, holder, what was last published of it
 *	session    one attached process: its memory, its rings, the sockets that it holds
 *
 * A connection made by connect has a sock from the start; one made by a listener has none
 * until it is accepted (`due_flags` CONN_PENDING, `owner` then names the listener) and keeps
 * early data in chunks of the engine's own pool. A sock outlives its connection until the
 * client has been told GONE; a connection outlives its sock as FIN-WAIT and the like, or,
 * with unsent bytes of a dead session, as an orphan that keeps its sock and thereby pins the
 * session's `down`.
 *
 * All socks, connections, chunks and descriptors are arena objects named by index.
 */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include <engine/counters.h>
#include <engine/engine.h>

#include <net/ip6.h>
#include <net/neigh.h>
#include <net/packet.h>
#include <net/ratelimit.h>
#include <net/route.h>
#include <shm/arena.h>
#include <shm/doorbell.h>
#include <shm/ring.h>
#include <shm/segment.h>
#include <tcp/conn.h>
#include <tcp/counters.h>
#include <tcp/extra.h>
#include <tcp/fastopen.h>
#include <tcp/half.h>
#include <tcp/reasm.h>
#include <tcp/score.h>
#include <tcp/table.h>
#include <tcp/timer.h>
#include <tcp/timewait.h>

#define NONE SHM_ARENA_NONE

enum {
	RX_FRAMES_PER_TURN = 64,
	TIMERS_PER_TURN = 256,
	CLOSES_EVERY_US = 100, /* of dead sessions: so many for each time that passed ... */
	CLOSES_EACH = 32,      /* (fewer than a turn takes answers to FINs) */
	CLOSES_PER_TURN = 256, /* ... and no more at once */
	OUTPUTS_PER_TURN = 256,
	SEGMENTS_PER_OUTPUT = 16,
	TXQ_DESCRIPTORS_MAX = 4096,	 /* of one connection */
	TXQ_DESCRIPTORS_SESSION = 65536, /* of one session, and for each of its sockets */
	TXQ_DESCRIPTORS_PER_CONN = 4,
	RING_IDLE_TURNS_MAX = 256, /* empty polls before a ring is no longer watched */
	CC_BLOCKS_MAX = 65536,	   /* connections with BBR or an agent; beyond, CUBIC */
	LISTENERS_MAX = 4096,
	LISTENER_BUCKETS = 256,
	BACKLOG_MAX = 4096,
	SESSION_BUCKETS = 1024,
	SOCK_BUFFER_MIN_BYTES = 4096, /* a receive window below 536 bytes would never reopen */
	PENDING_RCVBUF_BYTES = 65535, /* window of a connection not yet accepted */
	PENDING_POOL_BYTES = 64 << 20,
	COOKIE_LIFE_US = 128 * 1000000,
	NEED_UP_AGAIN_US = 1000000, /* the main thread may have refused */
	PUBLISH_RETRY_MIN_US = 200,
	PUBLISH_RETRY_MAX_US = 50000,
	SLOW_USERS_MAX = 64,
	HELD_REPLIES_MAX = 64,
	HELD_REPLIES_PER_NEIGH = 4,
	HELD_REPLY_LIFE_US = 1000000, /* then its recipient asks again */
	TUNES_MAX = 65535,	      /* struct sock's number of one has 16 bits */
	FASTOPEN_PENDING_MAX = 4096,
	FASTOPEN_RESET_US = 60000000, /* how long a reset one still counts as pending */
};

/* -- receive chunks (chunk.c, rxq.c) -------------------------------------------------------- */

/* Chunks are cut from slabs of 32 KiB; a slab holds 16 small chunks or one large one. */
enum {
	SLAB_BYTES = 32768,
	CHUNK_SMALL_BYTES = 2048,
	CHUNK_SMALL_PER_SLAB = SLAB_BYTES / CHUNK_SMALL_BYTES,
	CHUNK_LOW_SLABS = 4, /* least reserve, below which chunks are scarce (session.c) */
	OVERCOMMIT = 16,     /* rxq_limit(): this part may be promised though all is promised */
	INITIAL_WINDOW_BYTES = TCP_FIRST_WINDOW_BYTES, /* promised before anything has come */
};
struct slab {
	proto_ref ref;
	uint8_t *base;
	uint32_t next;	    /* in the free or the partial list */
	uint32_t prev;	    /* in the partial list: slabs with small chunks both free and in use */
	uint16_t free_mask; /* small chunks not in use; unused when `large` */
	bool large;
};
struct chunk_pool {
	struct slab *slabs;
	uint32_t slab_count, slab_capacity;
	uint32_t free_head, free_count;
	uint32_t partial_head;
	uint32_t chunks_used;
	uint32_t holders; /* connections that hold chunks */
};

/* Descriptor of a chunk, the engine's own; the header in `up` is only ever written. */
struct rx_chunk {
	uint64_t start_pos;
	uint32_t len; /* bytes stored, contiguous from start_pos */
	uint32_t cap;
	uint32_t next; /* by position; gaps between are out-of-order holes */
	uint32_t slab;
	uint16_t piece; /* small chunk's number in the slab */
	bool large;
	bool linked; /* the previous chunk's header points here */
	uint32_t pad;
};
static_assert(sizeof(struct rx_chunk) == 32, "byte budget, docs/architecture.md");

int chunk_pool_add(
	struct chunk_pool *p, uint32_t segment, uint8_t *base, uint64_t first, uint64_t bytes);
void chunk_pool_fini(struct chunk_pool *p);
bool chunk_pool_take(struct chunk_pool *p, struct rx_chunk *c, bool large);
void chunk_pool_give(struct chunk_pool *p, const struct rx_chunk *c);
uint8_t *chunk_pool_base(const struct chunk_pool *p, const struct rx_chunk *c);
proto_ref chunk_pool_ref(const struct chunk_pool *p, const struct rx_chunk *c);

/* -- send descriptors (txq.c) ------------------------------------------------------------------ */

struct tx_desc {
	uint64_t pos;
	proto_ref ref;
	uint32_t len;
	uint32_t next;
};
static_assert(sizeof(struct tx_desc) == 24, "byte budget, docs/architecture.md");

/* -- sockets (sock.c) ----------------------------------------------------------------------------
 */

enum sock_flag {
	SOCK_DIRTY = 1 << 0,	  /* is in its ring's dirty list */
	SOCK_CLOSED = 1 << 1,	  /* the client has closed it: GONE follows the connection's end */
	SOCK_ORPHAN = 1 << 2,	  /* the session is dead; pins `down` while bytes are unsent */
	SOCK_GONE = 1 << 3,	  /* nothing is left but to publish GONE */
	SOCK_RCVBUF_SET = 1 << 4, /* SO_RCVBUF: it does not tune itself */
	SOCK_SNDBUF_SET = 1 << 5,
	SOCK_PROMISED = 1 << 6, /* what its peer may send is part of session.promised_bytes */
};
/* One line, since there is one for each connection. */
struct sock {
	uint32_t gen;
	uint32_t conn; /* NONE: released */
	uint32_t cookie;
	uint16_t session; /* index in engine.sessions */
	uint8_t ctx;
	uint8_t flags;	    /* enum sock_flag */
	uint8_t flow_flags; /* enum proto_flow_flag as to be published */
	bool flow_shut;	    /* the client has said SHUTDOWN */
	uint16_t error;
	uint16_t tx_descs;
	uint16_t tune; /* number of its struct tune plus one; 0: none */
	uint32_t dirty_next;
	uint32_t session_next, session_prev; /* the session's socks */
	uint32_t sndbuf_bytes, rcvbuf_bytes;
	uint32_t told_chunk; /* descriptor of the chunk that held the last byte told of */
	uint32_t told_low;   /* received_pos of the last event, its low half: sock_told_pos() */
	union {
		uint32_t told_acked_low;    /* acked_pos of it, its low half */
		uint32_t orphan_deadline_s; /* SOCK_ORPHAN, which is told nothing */
	};
	uint64_t consumed_pos;
};
static_assert(sizeof(struct sock) == 64, "size is part of the arena's layout");
static_assert(TXQ_DESCRIPTORS_MAX <= UINT16_MAX && PROTO_CONTEXTS_MAX <= UINT8_MAX,
	"fields of struct sock");

/* What a sock has only while it is of use (tune.c). */
struct tune {
	uint64_t from_pos;     /* consumed when the measurement began ... */
	uint64_t from_us;      /* ... at this time */
	uint64_t window_pos;   /* without timestamps: the edge as promised ... */
	uint64_t window_us;    /* ... at this time; 0: none yet */
	uint64_t told_end_pos; /* how far the client was told that it may send, with a lowat */
	uint32_t sock;
	uint32_t rtt_us;      /* as the receiver sees it; 0: not known */
	uint32_t space_bytes; /* most that was taken in a round trip */
	uint32_t lowat_bytes; /* TCP_NOTSENT_LOWAT; 0: none */
	uint32_t clamp_bytes; /* TCP_WINDOW_CLAMP; 0: none */
	uint32_t pad;
};
static_assert(sizeof(struct tune) == 64, "byte budget, docs/architecture.md");

/* What was told lies less than a receive buffer, and so less than 2^32, past what was consumed. */
static inline uint64_t sock_told_pos(const struct sock *sk)
{
	return sk->consumed_pos + (uint32_t)(sk->told_low - (uint32_t)sk->consumed_pos);
}

/* -- segments of a burst (rx.c) -------------------------------------------------------------- */

struct rx_item {
	struct tcp_segment seg;
	uint64_t hash; /* of its key */
	tcp_ref guess; /* what has probably that key; (tcp_ref)TCP_REF_NONE: not looked for */
	const struct nic_frame *frame;
};

/* -- sessions (session.c, gate.c)
 * ------------------------------------------------------------------ */

/* The ring pair of one (context, engine). */
struct ring {
	struct shm_ring_cons submissions;
	struct shm_ring_prod completions;
	struct proto_submission_line *line;    /* in up */
	const struct proto_ctx_line *ctx_line; /* in down */
	struct session *session;
	struct ring *active_next, *active_prev; /* watched rings */
	struct ring *slept_next;
	struct ring *publish_next, *publish_prev; /* rings with something to tell */
	struct proto_slot stash;		  /* taken, but its answer has no room yet */
	bool stashed;
	uint32_t dirty_head, dirty_tail; /* socks */
	uint32_t idle_turns;
	uint32_t retry_us;
	uint64_t retry_at_us; /* the completion ring was full: look again then */
	uint16_t ctx;
	bool active;
	bool publishing;
	bool pushed;	      /* something was pushed since the last doorbell check */
	uint32_t rung;	      /* the sleep of the client that was last rung for */
	uint8_t bell_suspect; /* how many more of its rings are timed by CPU time (bell.c) */
	uint8_t bell_strikes; /* how many of these were slow */
	int doorbell_fd;
};

struct segment_map {
	const uint8_t *base;
	uint64_t first; /* byte of payload; before it are rings, in the first segment */
	uint64_t bytes;
};

struct session {
	struct engine_session_desc desc;
	struct session *bucket_next;
	uint32_t idx;
	bool dying;   /* ENGINE_CMD_SESSION_DEL has come */
	bool starved; /* an accept waits for receive chunks */
	bool condemned;
	uint64_t need_up_us; /* not to ask for memory again before; 0: no answer is awaited */
	uint32_t segments_up;
	struct segment_map down[PROTO_SEGMENTS_MAX];
	struct chunk_pool chunks;
	struct ring *rings; /* desc.layout.contexts of them */
	uint32_t socks_head;
	uint32_t closing;	/* after death: the next sock to close */
	uint32_t orphan_budget; /* after death: how many orphans its user may still have */
	struct session *closing_next;
	uint32_t conns;
	uint32_t tx_descs;
	uint32_t watched; /* rings in the active list */
	uint32_t orphans; /* socks that pin `down` after death */
	uint64_t up_bytes;
	uint64_t growth_bytes;	 /* what may still be asked for, and no answer is awaited */
	uint64_t promised_bytes; /* of windows, and not yet filled: rxq.c */
	uint64_t slots, events, doorbells;
	uint64_t bell_slow_until_us; /* until then the ringer rings (bell.c) */
};

/* -- listeners (listener.c)
 * --------------------------------------------------------------------------- */

/* An accept that came when nothing waited (PROTO_ACCEPT_KEEP). */
struct kept_accept {
	uint32_t request, cookie;
	uint32_t ctx;
};

struct listener {
	struct engine_listen_desc desc;
	struct listener *bucket_next;
	uint32_t idx; /* in engine.listeners */
	uint32_t session;
	uint32_t *queue; /* connections established, not accepted; a ring of `capacity` */
	uint32_t capacity;
	uint32_t head, count;
	uint32_t halves;
	uint32_t seq;  /* changes whenever count does */
	uint32_t told; /* seq last published */
	bool dirty;
	bool starved; /* said -EAGAIN though connections wait: for want of receive chunks */
	uint32_t fastopen_pending;
	uint32_t *fastopen_reset_s; /* when those that were reset no longer count; a ring of
				     * FASTOPEN_PENDING_MAX, made when it is needed */
	uint32_t fastopen_reset_head, fastopen_reset_count;
	uint32_t kept_head,
		kept_count; /* a ring; unless being answered, empty if something waits */
	struct kept_accept kept[PROTO_ACCEPTS_KEPT];
	struct listener *dirty_next;
};

/* -- the engine
 * -------------------------------------------------------------------------------------------- */

enum conn_flag {		   /* tcp_conn.due_flags */
	CONN_DUE = 1 << 0,	   /* is in the due list */
	CONN_WAITS_NEIGH = 1 << 1, /* is in the list of those that wait for a neighbour */
	CONN_PENDING = 1 << 2,	   /* waits in an accept queue; owner is the listener */
	CONN_IN_TABLE = 1 << 3,
	CONN_FRESH = 1 << 4,	/* promoted, not yet in its listener's queue */
	CONN_LOWAT = 1 << 5,	/* its sock has a TCP_NOTSENT_LOWAT */
	CONN_FASTOPEN = 1 << 6, /* counts as pending: delivered before its handshake has ended */
	CONN_RELEASED = 1 << 7, /* nothing but its place in the due list, which frees it there */
};

/* A user whose doorbells are slow (bell.c). */
struct slow_user {
	uint64_t until_us; /* 0: none */
	uint32_t uid;
};

struct conn_list {
	uint32_t head, tail;
};

/* The next hop's MAC for an address, as last found (tx.c). */
enum {
	HOPS_LOG2 = 8,
};
struct hop {
	struct net_addr remote;
	uint64_t generation; /* of the neighbour table, read before the look */
	uint64_t until_us;
	struct net_mac mac;
};

/* An answer that waits for its neighbour to be resolved (tx.c). */
struct held_reply {
	struct tcp_out out;
	struct net_addr via;
	uint64_t until_us; /* a free place if that is over */
};

struct engine {
	struct engine_config cfg;
	uint64_t now_us;
	uint64_t rng;

	struct tcp_ctx tcp;
	struct tcp_ops ops;
	struct tcp_fastopen_cache fastopen;
	struct tcp_space space;
	struct tcp_table table;
	struct tcp_wheel wheel;
	struct shm_arena conns, halves, tws, socks, chunks, descs, extras, reasms, scores, ccs;
	struct shm_arena tunes;
	uint32_t tune_hand; /* where to look for an idle one next */
	uint32_t next_gen;

	struct conn_list due;
	struct conn_list neigh_waiters;
	uint32_t *
		waiter_prev; /* of each connection in neigh_waiters; rebuilt, so not in its arena */
	uint64_t neigh_generation;
	struct hop hops[1 << HOPS_LOG2];
	struct held_reply held[HELD_REPLIES_MAX];
	uint64_t held_until_us; /* none is held after that */
	uint64_t neigh_tick_us;
	uint64_t orphans_tick_us;

	struct session *session_bucket[SESSION_BUCKETS];
	struct session **sessions; /* by index */
	struct session *closing;   /* dead, with sockets still to close */
	uint64_t closed_us;	   /* when some were closed last */
	uint32_t session_count, session_capacity, session_hint;
	struct ring *active; /* circular lists */
	struct ring *publish;
	struct ring
		*slept; /* while engine_sleep_prepare() runs: unwatched, to be looked at again */
	struct listener *listener_bucket[LISTENER_BUCKETS];
	struct listener *listeners[LISTENERS_MAX];
	struct listener *listeners_dirty;
	uint32_t listener_count;
	struct slow_user slow_users[SLOW_USERS_MAX];
	struct chunk_pool pending_chunks; /* of connections not yet accepted */
	uint8_t *pending_base;

	struct net_iface iface; /* our copy of what cfg.nd publishes; cfg.iface points to it */
	uint64_t iface_generation;

	struct {
		struct looped *head, *tail;
		uint32_t count;
		uint32_t bytes;
	} own; /* own.c */

	struct agent *agent; /* agent.c; NULL: there is none */

	struct net_frag_table *frags; /* NULL: fragments are dropped */
	uint64_t frags_tick_us;
	uint64_t ip6_id; /* of what we send in fragments, before it is hashed */

	unsigned int segments_per_output;
	struct net_ratelimit icmp_limit;
	uint64_t cookie_us; /* when a SYN was last answered by a cookie; 0: never */
	uint16_t ip_id;
	bool announced;
	bool draining;
	bool posted;
	struct {
		struct cds_wfcq_head head;
		struct cds_wfcq_tail tail;
	} inbox, outbox, handover;
	_Atomic uint32_t handover_depth;
	const struct nic_frame *frame; /* being received */
	uint64_t rx_hash;	       /* of the key of its segment */

	struct nic_frame frames[NIC_BURST_MAX];
	struct rx_item rx_items[NIC_BURST_MAX]; /* of the present burst, validated */
	uint32_t rx_count;
	struct tcp_counters tcp_counters;
	struct net_counters net_counters;
	struct engine_counters counters;
	uint32_t orphans;
	uint64_t turns, busy_turns;
	uint8_t scratch[65600]; /* a frame of the longest IPv6 packet */
};

/* By the type's size, which is the arena's stride: a division by a constant, and no load of it. */
static inline struct tcp_conn *conn_at(struct engine *e, uint32_t idx)
{
	return (struct tcp_conn *)(void *)e->conns.base + idx;
}
static inline uint32_t conn_idx(const struct engine *e, const struct tcp_conn *c)
{
	return (uint32_t)(c - (const struct tcp_conn *)(const void *)e->conns.base);
}
/* Whether there is one of that number; any value may be asked. */
static inline bool conn_is_used(const struct engine *e, uint32_t idx)
{
	const struct tcp_conn *all = (const struct tcp_conn *)(const void *)e->conns.base;

	return shm_arena_is_used(&e->conns, idx) && !(all[idx].due_flags & CONN_RELEASED);
}
static inline struct sock *sock_at(struct engine *e, uint32_t idx)
{
	return (struct sock *)(void *)e->socks.base + idx;
}
static inline uint32_t sock_idx(const struct engine *e, const struct sock *s)
{
	return (uint32_t)(s - (const struct sock *)(const void *)e->socks.base);
}
/* The sock of a connection, NULL if it has none. */
static inline struct sock *conn_sock(struct engine *e, const struct tcp_conn *c)
{
	return (c->due_flags & CONN_PENDING) || c->owner == NONE ? NULL : sock_at(e, c->owner);
}
uint64_t engine_random(struct engine *e);
/* The connection is about to be freed: its block, and what it names. */
void engine_extra_free(struct engine *e, struct tcp_conn *c);
void conn_list_push(struct engine *e, struct conn_list *l, struct tcp_conn *c);
struct tcp_conn *conn_list_pop(struct engine *e, struct conn_list *l); /* NULL: empty */
static inline uint32_t engine_gen(struct engine *e)
{
	if (++e->next_gen == 0)
		e->next_gen = 1;
	return e->next_gen;
}

/* The next node of a queue that only this thread takes from; NULL if there is none, or if its
 * sender is just between the two steps of adding it. */
static inline struct cds_wfcq_node *queue_take(
	struct cds_wfcq_head *head, struct cds_wfcq_tail *tail)
{
	struct cds_wfcq_node *node = __cds_wfcq_dequeue_nonblocking(head, tail);

	/* CDS_WFCQ_WOULDBLOCK is all ones; its macro casts away const. */
	return (uintptr_t)node == UINTPTR_MAX ? NULL : node;
}

/* rx.c: takes one burst; returns the number of frames. */
unsigned int engine_rx(struct engine *e);

void rx_frame(struct engine *e, const struct nic_frame *f);

/* A segment of either family, as the IP layer hands it up. */
struct rx_l4 {
	const uint8_t *data;
	uint32_t len_bytes;
	struct net_addr src;
	struct net_addr dst;
	uint8_t ecn; /* enum tcp_ecn_mark */
};
struct net_icmp;
void rx_segment(struct engine *e, const struct rx_l4 *l4);
void rx_icmp_error(struct engine *e, const struct net_icmp *icmp);

/* rx6.c */
void rx_ip6(struct engine *e, const struct net_packet *p);
void engine_iface_refresh(struct engine *e);
void engine_nd_tick(struct engine *e);
void engine_nd_solicit(struct engine *e, const struct net_addr *target, const struct net_mac *dst);

/* own.c */
bool own_send(struct engine *e, const struct nic_tx_frame *f);
unsigned int own_run(struct engine *e);
bool own_empty(const struct engine *e);
void own_fini(struct engine *e);

/* rx_frag.c */
struct net_frag_table;
int frags_init(struct engine *e);
void frags_fini(struct engine *e);
void frags_tick(struct engine *e);
uint64_t frags_next_us(const struct engine *e);
void rx_fragment4(struct engine *e, const struct net_packet *p, const struct net_ip4 *ip);
void rx_fragment6(struct engine *e, const struct net_packet *p, const struct net_ip6 *ip);
void engine_tx_answer(struct engine *e, const uint8_t *frame, size_t len);

/* handover.c */
uint16_t handover_owner(const struct engine *e, uint16_t lport);
bool handover_send(struct engine *e, uint16_t owner);
bool handover_pass(struct engine *e);
unsigned int handover_run(struct engine *e);
bool handover_empty(struct engine *e);
void handover_fini(struct engine *e);

/* tx.c */
void engine_tx_reply(struct engine *e, const struct tcp_out *out); /* no payload */
unsigned int engine_output(struct engine *e);			   /* the due list */
void engine_tx_frame(struct engine *e, const uint8_t *frame, size_t len);
unsigned int engine_segments_per_output(const struct engine *e);
void engine_neigh_unwait(struct engine *e, struct tcp_conn *c); /* CONN_WAITS_NEIGH */
void engine_tx_parts(struct engine *e, const uint8_t *head, size_t head_len, const uint8_t *rest,
	size_t rest_len);
void engine_neigh_tick(struct engine *e);
void engine_announce(struct engine *e);

/* flow.c */
/* A TCP segment, validated, and the hash of its key. */
void flow_segment(struct engine *e, const struct tcp_segment *seg, uint64_t hash, tcp_ref guess);
void flow_icmp(struct engine *e, const struct net_tuple *key, uint32_t seq, int error_errno,
	uint32_t mtu_bytes);
unsigned int flow_timers(struct engine *e);
void flow_due(struct engine *e, struct tcp_conn *c);
void flow_events(struct engine *e, struct tcp_conn *c, uint32_t events);
int flow_connect(struct engine *e, struct session *s, uint16_t ctx, const struct proto_connect *req,
	struct sock **out);
void flow_after_output(struct engine *e, struct tcp_conn *c);
void flow_output_waits(struct engine *e, struct tcp_conn *c);
int flow_accept(struct engine *e, struct listener *l, struct sock *sk);
void flow_close(struct engine *e, struct tcp_conn *c, bool abort); /* the user has closed it */
void flow_drain(struct engine *e, bool abort); /* at shutdown: every connection */

/* listener.c */
int listener_add(struct engine *e, const struct engine_listen_desc *d);
int listener_set(struct engine *e, const struct engine_listen_desc *d);
void listener_del(struct engine *e, struct proto_handle h);
void listener_del_session(struct engine *e, uint32_t session_idx);
struct listener *listener_lookup(struct engine *e, const struct net_tuple *key);
struct listener *listener_by_handle(struct engine *e, struct proto_handle h);
bool listener_full(const struct listener *l);
bool listener_keep(struct listener *l, const struct kept_accept *k);
void listener_unkeep(struct listener *l, uint32_t ctx, uint32_t request);
struct kept_accept listener_kept_pop(struct listener *l);
void listener_told(struct listener *l); /* an answer to the client has said it all */
void listener_push(struct engine *e, struct listener *l, struct tcp_conn *c);
struct tcp_conn *listener_first(struct engine *e, struct listener *l); /* NULL: none waits */
struct tcp_conn *listener_pop(struct engine *e, struct listener *l);
void listener_starve(struct listener *l);
void listener_fed(struct engine *e, uint32_t session_idx);
void listener_publish(struct engine *e);
bool listener_fastopen_full(struct engine *e, struct listener *l);
void listener_fastopen_end(struct engine *e, struct tcp_conn *c);

/* rxq.c, txq.c */
uint32_t rxq_store(void *arg, struct tcp_conn *c, uint64_t pos, const struct tcp_segment *seg,
	uint32_t off, uint32_t len, bool in_order);
struct tcp_rx_room rxq_limit(void *arg, const struct tcp_conn *c);
uint32_t rxq_least_window(const struct engine *e);
void rxq_promise(struct engine *e, struct tcp_conn *c, struct sock *sk);
void rxq_promise_void(struct engine *e, struct tcp_conn *c, struct sock *sk);
void rxq_consumed(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t pos);
void rxq_free(struct engine *e, struct tcp_conn *c);
int rxq_adopt(struct engine *e, struct tcp_conn *c, struct session *s);	   /* at accept */
proto_ref rxq_told(struct engine *e, struct tcp_conn *c, struct sock *sk); /* links chunks */
int txq_append(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t pos, proto_ref ref,
	uint32_t len);
void txq_acked(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t pos);
void txq_free(struct engine *e, struct tcp_conn *c, struct sock *sk);
unsigned int txq_gather(struct engine *e, struct tcp_conn *c, uint64_t pos, uint32_t len,
	struct nic_gather *gather, unsigned int max);

/* sock.c */
static inline uint32_t sock_clamp_buffer(uint64_t value, uint32_t max)
{
	return value < SOCK_BUFFER_MIN_BYTES ? SOCK_BUFFER_MIN_BYTES
	       : value > max		     ? max
					     : (uint32_t)value;
}
static inline void sock_set_sndbuf(struct sock *sk, uint64_t value, const struct engine_limits *lim)
{
	sk->sndbuf_bytes = sock_clamp_buffer(value, lim->sndbuf_max_bytes);
	sk->flags |= SOCK_SNDBUF_SET;
}
static inline void sock_set_rcvbuf(struct sock *sk, uint64_t value, const struct engine_limits *lim)
{
	sk->rcvbuf_bytes = sock_clamp_buffer(value, lim->rcvbuf_max_bytes);
	sk->flags |= SOCK_RCVBUF_SET;
}
struct sock *sock_new(struct engine *e, struct session *s, uint16_t ctx, uint32_t cookie);
struct sock *sock_lookup(struct engine *e, const struct session *s, struct proto_handle h);
void sock_mark(struct engine *e, struct sock *sk); /* something to publish has changed */
void sock_conn_gone(struct engine *e, struct sock *sk);
void sock_free(struct engine *e, struct sock *sk);
bool sock_publish(struct engine *e, struct ring *r, struct sock *sk);

/* tune.c */
struct tune *tune_of(const struct engine *e, const struct sock *sk); /* NULL: none */
void tune_free(struct engine *e, struct sock *sk);
/* A segment came, and sk->tune. */
void tune_received(struct engine *e, const struct tcp_conn *c, const struct sock *sk,
	const struct tcp_segment *seg);
/* consumed_pos has moved from before_pos. */
void tune_consumed(struct engine *e, struct sock *sk, uint64_t before_pos);
/* Something was acknowledged; true if the send buffer has grown. */
bool tune_acked(struct engine *e, const struct tcp_conn *c, struct sock *sk);
/* What the client is told of its send buffer. */
uint32_t tune_told_sndbuf(struct engine *e, const struct tcp_conn *c, const struct sock *sk);
/* Something may have been sent, with CONN_LOWAT. */
void tune_sent(struct engine *e, struct tcp_conn *c, struct sock *sk);
/* TCP_NOTSENT_LOWAT, TCP_WINDOW_CLAMP; 0: none. 0, or -ENOBUFS: too many have one. */
int tune_set_lowat(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t value);
int tune_set_clamp(struct engine *e, struct sock *sk, uint64_t value);

/* session.c */
int session_add(struct engine *e, const struct engine_session_desc *d);
void session_del(struct engine *e, uint32_t id);
struct session *session_find(struct engine *e, uint32_t id);
int session_segment(struct engine *e, const struct engine_segment_desc *d);
void session_condemn(struct engine *e, struct session *s, enum proto_condemned reason);
void session_destroy(struct engine *e, uint32_t idx);
void session_unpin(struct engine *e, struct session *s);
void session_orphan_done(struct engine *e, struct sock *sk);
unsigned int session_close_some(struct engine *e);
void session_orphans_tick(struct engine *e);
void session_need_up(struct engine *e, struct session *s);
/* At least so much of what session_spare_bytes() counts is there, by a comparison: mostly enough.
 */
static inline uint64_t session_spare_least_bytes(const struct session *s)
{
	uint32_t reserve_max = s->chunks.slab_count / 2 + CHUNK_LOW_SLABS;
	uint32_t free_slabs = s->chunks.free_count;

	return free_slabs > reserve_max ? (uint64_t)(free_slabs - reserve_max) * SLAB_BYTES : 0;
}
bool session_chunks_scarce(const struct engine *e, const struct session *s);
void session_filled(struct engine *e, struct session *s, uint32_t bytes);
uint64_t session_spare_bytes(const struct engine *e, const struct session *s);
void session_starve(struct engine *e, struct session *s, struct listener *l);
void session_fed(struct engine *e, struct session *s);
const uint8_t *session_down(const struct session *s, proto_ref ref, uint32_t len);

/* gate.c */
unsigned int gate_poll(struct engine *e);
bool gate_accept_kept(struct engine *e, struct listener *l);
unsigned int gate_publish(struct engine *e);
void gate_publish_later(struct engine *e, struct ring *r);
void gate_watch(struct engine *e, struct ring *r);
void gate_unwatch(struct engine *e, struct ring *r);
bool gate_push(struct engine *e, struct ring *r, const struct proto_slot *slot);
void gate_drain(struct engine *e, struct session *s); /* what a dead client still submitted */
void gate_forget(struct engine *e, struct ring *r);
void gate_sleep(struct engine *e, struct ring *r);
uint64_t gate_next_us(const struct engine *e);

/* bell.c */
void bell_ring(struct engine *e, struct ring *r);
uint64_t bell_slow_until_us(struct engine *e, uint32_t uid);

/* info.c: struct tcp_info for a connection; returns its length. */
uint32_t info_tcp(struct engine *e, const struct tcp_conn *c, void *out, uint32_t max);
/* Something was sent or acknowledged: what does the sender wait for now? */
void info_limit(struct engine *e, struct tcp_conn *c);
uint32_t info_resent_segs(struct engine *e, const struct tcp_conn *c);

/* agent.c */
int agent_init(struct engine *e);
void agent_fini(struct engine *e);
unsigned int agent_run(struct engine *e);
bool agent_empty(const struct engine *e);
bool agent_report(void *arg, struct tcp_conn *c, const struct tcp_agent_report *r);
/* With e->agent: the connection has a block for an agent's use; block number idx is free again. */
void agent_flow_begin(struct engine *e, const struct tcp_conn *c);
void agent_flow_end(struct engine *e, uint32_t idx);

/* command.c, list.c */
unsigned int command_run(struct engine *e);
bool command_empty(struct engine *e);
void command_fini(struct engine *e);
void command_note(struct engine *e, enum engine_msg_type type, uint32_t session, uint32_t value);
void list_flows(struct engine *e, struct engine_msg *m);
void list_listeners(struct engine *e, struct engine_msg *m);
void list_sessions(struct engine *e, struct engine_msg *m);

#endif
