/* The engine: one per core, shares nothing with its siblings.
 *
 * A turn (engine_turn) is: commands from the main thread -> receive burst -> client
 * submissions -> due timers -> output -> transmit flush -> publish events -> doorbells.
 * Each step is bounded, so a turn is. The caller owns the loop and the clock: the daemon
 * (ctl/engine_thread.c) sleeps between turns, the simulator moves a virtual clock.
 *
 * The main thread talks to an engine only through messages (struct engine_msg): it posts a
 * command, the engine executes it at the start of a turn and posts the same message back
 * as done. Notes, which the engine starts, travel the same way. Nothing else is shared but
 * the neighbour table (lock-free for readers) and counters (one writer, read relaxed).
 *
 * Files: engine.c the turn; rx.c and rx6.c frames in; rx_frag.c fragments; own.c what is for
 * ourselves; tx.c frames out; flow.c connections and compact entries from birth to death;
 * listener.c; sock.c the daemon's socket objects and their published state; gate.c the trust
 * boundary to clients; rxq.c receive chunks; txq.c send descriptors; command.c messages; handover.c
 * frames for another engine's flows; bell.c and ringer.c doorbells.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <engine/ringer.h>
#include <net/addr.h>
#include <nic/nic.h>
#include <proto/attach.h>
#include <proto/layout.h>
#include <proto/mtcp_agent.h>
#include <proto/slot.h>
#include <tcp/tcp.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <urcu/wfcqueue.h>

struct engine;
struct net_iface;	/* net/route.h: addresses, gateway, MTU */
struct net_neigh_table; /* net/neigh.h: shared by all engines */
struct net_prefix_rule; /* net/route.h */
struct net_nd_host;	/* net/nd_host.h: shared by all engines */

struct engine_limits {
	uint32_t conns_max; /* per engine */
	uint32_t halves_max;
	uint32_t tws_max;
	uint32_t sessions_max;
	uint32_t session_conns_max; /* per session and engine */
	uint32_t uid_orphans_max;
	uint32_t orphan_timeout_s;
	uint32_t sndbuf_bytes, sndbuf_max_bytes;
	uint32_t rcvbuf_bytes, rcvbuf_max_bytes;
	bool tune_buffers;	 /* those that no option has set grow as they are used (tune.c) */
	uint32_t slots_per_turn; /* submissions taken from a session in one turn, by its rings in
				  * equal parts of at least 4 */
};

struct engine_config {
	uint16_t id;	/* 0.. ; also the queue number */
	uint16_t count; /* how many engines there are */
	int numa_node;
	struct nic_port *port;
	const struct net_iface *iface;
	struct net_neigh_table *neigh;
	struct net_nd_host *nd; /* publishes the interface; NULL: `iface` it is and stays */
	bool reassembly;	/* of fragments; else they are dropped */
	/* Congestion control by destination, for sockets that name none; then tcp.cc. */
	const struct net_prefix_rule *cc_rules;
	uint32_t cc_rule_count;
	struct tcp_config tcp;
	struct engine_limits limits;
	/* All engines, by id, and how to wake one; NULL where there is only this one. */
	struct engine *const *peers;
	void (*wake)(void *arg, uint16_t engine);
	void *wake_arg;
	struct ringer *ringer;		/* of all engines; NULL: doorbells are never handed over */
	uint16_t port_first, port_last; /* ephemeral ports of all engines: each takes those
					 * whose number mod `count` is its id (handover.c) */
	/* [65536]: session that bound the port, 0 none, CLAIMS_SHARED several, which the claims
	 * tell apart (NULL: there are none); written by the main thread. */
	const _Atomic uint32_t *port_owner;
	const struct claims *claims;
	uint8_t secret[64]; /* isn, cookie, timestamp and fast open keys; the
			     * last is the same in all engines */
	uint64_t rng_seed;  /* of engine_random(), whose results peers see: no part of a key */
	uint8_t hash_key[16];
	uint8_t label_key[16]; /* of flow labels and identifications, IPv6 */
	bool flow_labels;      /* else they are zero */
};

/* 0 or -errno. */
int engine_create(struct engine **e, const struct engine_config *cfg, uint64_t now_us);
void engine_destroy(struct engine *e);

/* One turn. Returns the amount of work done: 0 means that the caller may sleep until
 * engine_next_us(), provided that engine_sleep_prepare() says so. */
unsigned int engine_turn(struct engine *e, uint64_t now_us);

/* The time of the next deadline (UINT64_MAX: none). */
uint64_t engine_next_us(const struct engine *e);

/* Marks every ring unwatched and looks once more: true if the engine may now block on
 * {queue fd, session eventfds, command eventfd}; false if work has come meanwhile. */
bool engine_sleep_prepare(struct engine *e);

/* A session's eventfd has fired: its rings are watched again from the next turn on. */
void engine_session_woken(struct engine *e, uint32_t session);

/* -- messages ------------------------------------------------------------------------------ */

enum engine_msg_type {
	/* commands */
	ENGINE_CMD_SESSION_ADD,
	ENGINE_CMD_SESSION_DEL, /* the process is gone or condemned; done at once, GONE follows */
	ENGINE_CMD_SEGMENT_ADD,
	ENGINE_CMD_LISTEN_ADD,
	ENGINE_CMD_LISTEN_DEL,
	ENGINE_CMD_LISTEN_SET, /* the options of one that is there */
	ENGINE_CMD_LIST_FLOWS, /* a bounded batch from a cursor */
	ENGINE_CMD_LIST_LISTENERS,
	ENGINE_CMD_LIST_SESSIONS,
	ENGINE_CMD_DRAIN, /* close every connection in order, accept nothing new */
	ENGINE_CMD_ABORT, /* RST what is left */
	/* notes, engine to main */
	ENGINE_NOTE_CONDEMNED,	  /* this session broke the protocol */
	ENGINE_NOTE_SESSION_GONE, /* nothing refers to its memory any more */
	ENGINE_NOTE_NEED_UP,	  /* wants another `up` segment for this session */
	ENGINE_MSG_COUNT
};

/* Memory and rings of a session as the engine sees them; values the main thread made. */
struct engine_session_desc {
	uint32_t session; /* id, > 0 */
	uint32_t uid;
	int32_t pid;
	char name[32];
	struct proto_layout layout;
	uint8_t *up_base;
	const uint8_t *down_base;
	uint64_t up_bytes, down_bytes;
	uint64_t up_part_first, up_part_bytes; /* this engine's share of up segment 0's payload */
	uint64_t down_max_bytes, up_max_bytes;
	int doorbell_fds[PROTO_CONTEXTS_MAX]; /* pipe write ends */
	struct bell
		*bells[PROTO_CONTEXTS_MAX]; /* the same for the ringer; NULL: never handed to it */
	const _Atomic bool *condemned;	    /* set by the SIGBUS guard */
};

struct engine_segment_desc {
	uint32_t session;
	uint32_t direction; /* enum shm_direction */
	uint32_t index;
	uint8_t *base; /* down: only read */
	uint64_t bytes;
};

struct engine_listen_desc {
	uint32_t session;
	struct proto_handle handle; /* chosen by the main thread, same on every engine */
	struct net_addr addr;	    /* all zero: any; ::ffff:0.0.0.0: any of IPv4 */
	bool v6only;		    /* all zero means any of IPv6 */
	bool reuseport;		    /* one of several of this address and port */
	uint16_t port;
	uint32_t backlog;
	uint32_t cookie;
	uint32_t context;
	uint32_t defer_accept_us; /* wait that long for a connection's first data; 0: do not */
	uint32_t fastopen_max;	  /* connections at a time whose handshake has not ended, but whose
				   * data is delivered (RFC 7413); 0: none */
};

enum {
	ENGINE_LIST_BATCH = 128,
};
struct engine_flow_info {
	struct net_tuple key;
	uint8_t state;	  /* enum tcp_state */
	uint8_t kind;	  /* enum tcp_kind */
	uint8_t cc;	  /* number of the congestion control, tcp/cc.h */
	uint32_t session; /* 0: none (orphan, half-open, TIME-WAIT) */
	int32_t pid;
	uint64_t rcv_queued_bytes, snd_queued_bytes;
	uint32_t srtt_us, rttvar_us, rto_us, cwnd_bytes, ssthresh_bytes, mss_bytes;
	uint32_t snd_wnd_bytes, rcv_wnd_bytes;
	uint8_t snd_wscale, rcv_wscale;
	uint64_t bytes_acked, bytes_received, segs_in, segs_out;
	uint32_t retrans_total, unacked_segs;
	uint32_t resent_segs, lost_segs, sacked_segs;  /* in flight */
	uint32_t dsack_dups, reord_seen, rcv_ooo_segs; /* ever */
	int64_t deadline_in_us;			       /* -1: none */
	bool timestamps, sack, ecn, orphan;
	uint32_t chunks; /* receive chunks held */
};
struct engine_listener_info {
	struct net_addr addr;
	uint16_t port;
	uint32_t session;
	int32_t pid;
	uint32_t backlog, pending, half_open;
};
struct engine_session_info {
	uint32_t session;
	uint32_t conns, orphans, chunks_used, chunks_free;
	uint64_t up_bytes, slots, events, doorbells;
	bool polled;
};

struct engine_msg {
	struct cds_wfcq_node node;
	enum engine_msg_type type;
	uint16_t engine;
	bool free_after; /* the receiver of the last hop frees it */
	int32_t result;
	void *tag; /* the sender's */
	union {
		struct engine_session_desc session;
		struct engine_segment_desc segment;
		struct engine_listen_desc listen;
		struct {
			uint32_t session;
			uint32_t value; /* CONDEMNED: reason; NEED_UP: bytes; LISTEN_DEL: unused */
			struct proto_handle handle; /* LISTEN_DEL */
		} id;
		struct {
			uint64_t cursor; /* in: 0 to begin; out: where to go on, UINT64_MAX: done */
			uint32_t count;	 /* out */
			union {
				struct engine_flow_info flow[ENGINE_LIST_BATCH];
				struct engine_listener_info listener[ENGINE_LIST_BATCH];
				struct engine_session_info session[ENGINE_LIST_BATCH];
			};
		} list;
	};
};

/* Main thread: posts a command; wakes nobody (the caller rings the engine's eventfd). */
void engine_post(struct engine *e, struct engine_msg *m);
/* Main thread: takes the next finished command or note, NULL if there is none. */
struct engine_msg *engine_take(struct engine *e);
/* True if engine_turn() has posted messages since the last call: ring the main thread. */
bool engine_posted(struct engine *e);

/* -- the agent (agent.c) -------------------------------------------------------------------
 *
 * Main thread, with a tcp.cc_agent in the configuration; else there are no reports, and orders are
 * refused. */

/* An agent has come, with a number that none before it had; 0: it is gone. */
void engine_agent_set(struct engine *e, uint32_t epoch);
/* Numbers of flows: their slots are below that. */
uint32_t engine_agent_slots(const struct engine *e);
/* Takes at most `max` reports to that agent, older ones are forgotten; returns how many.
 * engine_posted() is true when there may be some. */
uint32_t engine_agent_reports(
	struct engine *e, uint32_t epoch, struct mtcp_agent_report *out, uint32_t max);
/* An order of that agent, any values: carried out in a later turn, which the caller sees to.
 * False: too many wait. */
bool engine_agent_order(struct engine *e, uint32_t epoch, const struct mtcp_agent_order *o);

/* -- counters --------------------------------------------------------------------------------- */

struct engine_counters; /* engine/counters.h */
const struct engine_counters *engine_counters(const struct engine *e);
const struct tcp_counters *engine_tcp_counters(const struct engine *e);
struct net_counters;
const struct net_counters *engine_net_counters(const struct engine *e);

struct engine_gauges {
	uint32_t conns, halves, tws, socks, sessions, listeners, orphans;
	uint32_t chunks_used;
	uint64_t turns, busy_turns;
};
void engine_gauges(const struct engine *e, struct engine_gauges *out); /* any thread, relaxed */

#endif
