/* The TCP library: what the engine may call.
 *
 * The library is pure. It includes no clock, no socket, no DPDK and no allocator: the time
 * comes in as `now_us` (CLOCK_MONOTONIC, microseconds), memory and receive storage through
 * `struct tcp_ops`, and what it decides comes out as values: segments to send
 * (`struct tcp_out`), events (`enum tcp_event` bits) and one deadline per entry.
 *
 * Input never transmits. tcp_input(), tcp_timer() and the user calls mark what is owed in
 * the control block; the engine then calls tcp_output() once for each connection that
 * reported TCP_EV_OUTPUT. The one exception are answers that belong to no connection
 * (RST to a stray segment, SYN|ACK of a half-open entry, ACK from TIME-WAIT): these come
 * out of the input call itself as one `struct tcp_out`, since no block exists to mark.
 *
 * Stream positions (`_pos`) are absolute 64-bit byte counts from the start of the data of
 * that direction; the SYN occupies no position. Sequence numbers (`_seq`) are the 32-bit
 * numbers on the wire and are compared only by the tcp_seq_* functions.
 *
 * Three kinds of entry share the flow table and the timer wheel. Each begins with a
 * `struct tcp_entry`. A full connection (`tcp_conn`) exists from our SYN or from the third
 * segment of a passive open until TIME-WAIT; SYN-RECEIVED of a passive open is a compact
 * `tcp_half` or, when these run out, nothing but a cookie; TIME-WAIT without a socket is a
 * compact `tcp_tw`. All of them are pointer-free and live in the engine's arenas.
 */
#ifndef TCP_TCP_H
#define TCP_TCP_H

#include <net/addr.h>

#include <stddef.h>
#include <stdint.h>

/* RFC 9293 section 3.3.2. */
enum tcp_state {
	TCP_CLOSED,
	TCP_LISTEN,
	TCP_SYN_SENT,
	TCP_SYN_RECEIVED,
	TCP_ESTABLISHED,
	TCP_FIN_WAIT_1,
	TCP_FIN_WAIT_2,
	TCP_CLOSE_WAIT,
	TCP_CLOSING,
	TCP_LAST_ACK,
	TCP_TIME_WAIT,
	TCP_STATE_COUNT
};
const char *tcp_state_name(enum tcp_state state); /* as ss prints it: "ESTAB", "SYN-SENT", ... */

/* Header bits, RFC 9293 section 3.1. */
enum tcp_flag {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,
	TCP_ECE = 0x40,
	TCP_CWR = 0x80,
};

/* -- entries ----------------------------------------------------------------------------- */

enum tcp_kind { TCP_KIND_CONN, TCP_KIND_HALF, TCP_KIND_TW, TCP_KIND_COUNT };

/* A reference to an entry: kind in the top two bits, arena index below. Never 0xffffffff. */
typedef uint32_t tcp_ref;
enum { TCP_REF_NONE = -1 };
#define TCP_REF_IDX_MASK 0x3fffffffu
static inline tcp_ref tcp_ref_make(enum tcp_kind kind, uint32_t idx)
{
	return (uint32_t)kind << 30 | idx;
}
static inline enum tcp_kind tcp_ref_kind(tcp_ref ref)
{
	return (enum tcp_kind)(ref >> 30);
}
static inline uint32_t tcp_ref_idx(tcp_ref ref)
{
	return ref & TCP_REF_IDX_MASK;
}

/* Head of every kind of entry. The wheel owns `next`, `prev`, `slot`; whoever owns the entry
 * sets `deadline_us` and calls tcp_wheel_update(). */
struct tcp_entry {
	struct net_tuple key;
	uint32_t next;
	uint32_t prev;
	uint16_t slot; /* in which the wheel will look at it; TCP_SLOT_NONE: in none */
	uint16_t pad;
	uint64_t deadline_us; /* when it has something to do; UINT64_MAX for never */
};
static_assert(sizeof(struct tcp_entry) == 56, "leaves eight bytes of a cache line");
enum { TCP_SLOT_NONE = UINT16_MAX };

/* The arenas, so that the table and the wheel can turn a ref into an entry. */
struct tcp_space {
	uint8_t *base[TCP_KIND_COUNT];
	uint32_t stride[TCP_KIND_COUNT];
};
static inline struct tcp_entry *tcp_space_entry(const struct tcp_space *sp, tcp_ref ref)
{
	enum tcp_kind k = tcp_ref_kind(ref);

	return (struct tcp_entry *)(sp->base[k] + (size_t)tcp_ref_idx(ref) * sp->stride[k]);
}

struct tcp_conn; /* tcp/conn.h; the engine reads fields, only tcp/ writes them */
struct tcp_half; /* tcp/half.h */
struct tcp_tw;	 /* tcp/timewait.h */

/* -- segments ---------------------------------------------------------------------------- */

enum {
	TCP_SACK_BLOCKS_MAX = 4,
	TCP_OPTIONS_MAX = 40,
	TCP_FASTOPEN_COOKIE_MAX = 16, /* RFC 7413 section 2.1: 4 to 16 bytes, an even number */
};

struct tcp_options {
	uint16_t mss;	/* as on the wire; 0 if absent */
	uint8_t wscale; /* as on the wire, clamped to 14 (RFC 7323 section 2.3) */
	bool has_mss;
	bool has_wscale;
	bool has_ts;
	bool sack_permitted;
	uint8_t sack_count;
	bool has_fastopen;
	uint8_t fastopen_len; /* bytes of cookie; 0: a request for one */
	uint32_t ts_val;
	uint32_t ts_ecr;
	struct {
		uint32_t start;
		uint32_t end;
	} sack[TCP_SACK_BLOCKS_MAX];
	uint8_t fastopen[TCP_FASTOPEN_COOKIE_MAX];
};

/* A received segment after validation, in host order. Lives as long as the frame. */
struct tcp_segment {
	struct net_tuple key; /* local = us */
	uint32_t seq;
	uint32_t ack;
	uint32_t wnd; /* as on the wire, not scaled */
	uint16_t urg;
	uint8_t flags;
	uint8_t ecn;		/* enum tcp_ecn_mark of its IP header */
	uint32_t len;		/* payload bytes; SYN and FIN not counted */
	const uint8_t *payload; /* tcp/ never reads through it, it hands it to rx_store */
	struct tcp_options opt;
};

/* Fills *seg from the TCP header at `tcp` with `len_bytes` of header and payload (IP length
 * already checked, checksum already verified); `key` is filled in by the caller.
 * Returns 0 or -EBADMSG with *reason set: data offset below 5 or past the segment, or an
 * option whose length is below 2 or past the header (RFC 9293 section 3.1, 3.2). */
enum tcp_drop;
int tcp_segment_parse(
	struct tcp_segment *seg, const uint8_t *tcp, size_t len_bytes, enum tcp_drop *reason);

/* A segment to send. The engine adds ports and addresses from `key`, checksums and below. */
struct tcp_out {
	struct net_tuple key; /* local = us */
	uint32_t seq;
	uint32_t ack;
	uint16_t wnd; /* as on the wire: already scaled */
	uint8_t flags;
	uint8_t opt_len;    /* bytes, multiple of 4 */
	uint8_t ecn;	    /* enum tcp_ecn_mark for the IP header */
	uint64_t pos;	    /* stream position of the payload */
	uint32_t len;	    /* payload bytes; may exceed mss_bytes when tso_max_bytes allows */
	uint16_t mss_bytes; /* payload bytes per frame if the engine must cut (TSO) */
	uint8_t opt[TCP_OPTIONS_MAX];
};

/* -- what the engine lends ---------------------------------------------------------------- */

/* Out-of-order ranges of one connection, allocated while there are any. */
struct tcp_reasm;
/* What is in flight, piece by piece, while that is of interest (tcp/score.h). */
struct tcp_score;

/* What only some connections need (tcp/extra.h). */
struct tcp_extra;

struct tcp_agent_report; /* tcp/cc_agent.h */

struct tcp_rx_room {
	uint64_t limit_pos; /* consumed + buffer limit, or less when the pool is short */
	uint64_t *
		promised; /* bytes; by how far the edge moves is added to it. NULL: nobody counts */
};

struct tcp_ops {
	/* Stores payload bytes seg->payload[off, off+len) at receive position pos. Called only
	 * for bytes inside the advertised window that were not stored before. `in_order` says
	 * that pos is the next byte to deliver. Returns how many bytes were stored from the
	 * front (0 when memory is out); bytes not stored are neither acknowledged nor SACKed. */
	uint32_t (*rx_store)(void *arg, struct tcp_conn *c, uint64_t pos,
		const struct tcp_segment *seg, uint32_t off, uint32_t len, bool in_order);
	/* How far the receive edge may be promised. tcp/ never lets the edge retreat, and moves it
	 * only by a full segment: a buffer limit below cfg->mss_max_bytes may never open. */
	struct tcp_rx_room (*rx_limit)(void *arg, const struct tcp_conn *c);
	/* The connection's block of what it rarely needs: allocate (NULL when out), and look up
	 * once there is one. It is released with the connection, by the engine. The other blocks
	 * are asked for only when this one is there. */
	struct tcp_extra *(*extra_alloc)(void *arg, struct tcp_conn *c);
	struct tcp_extra *(*extra_get)(void *arg, const struct tcp_conn *c);
	/* Its reassembly block: allocate (NULL when out), look up, release. */
	struct tcp_reasm *(*reasm_alloc)(void *arg, struct tcp_conn *c);
	struct tcp_reasm *(*reasm_get)(void *arg, const struct tcp_conn *c);
	void (*reasm_free)(void *arg, struct tcp_conn *c);
	/* Its scoreboard, likewise; get and free are called only while there is one. */
	struct tcp_score *(*score_alloc)(void *arg, struct tcp_conn *c);
	struct tcp_score *(*score_get)(void *arg, const struct tcp_conn *c);
	void (*score_free)(void *arg, struct tcp_conn *c);
	/* A block of TCP_CC_BLOCK_BYTES for a congestion control that needs one (tcp/cc.h): NULL
	 * when out or when there is no such pool (cc_alloc NULL); get only after alloc. */
	void *(*cc_alloc)(void *arg, struct tcp_conn *c);
	void *(*cc_get)(void *arg, const struct tcp_conn *c);
	void (*cc_free)(void *arg, struct tcp_conn *c);
	/* To the agent that sets its window; false if it must be told later. Called only while
	 * tcp_ctx.agent_epoch is not 0. */
	bool (*agent_report)(void *arg, struct tcp_conn *c, const struct tcp_agent_report *r);
};

/* RFC 3168 section 5: the low two bits of TOS or traffic class. */
enum tcp_ecn_mark {
	TCP_ECN_NOT_ECT,
	TCP_ECN_ECT1,
	TCP_ECN_ECT0,
	TCP_ECN_CE,
};

enum tcp_ecn_mode {
	TCP_ECN_OFF,
	TCP_ECN_PASSIVE, /* if the peer asks */
	TCP_ECN_ON,	 /* ask */
};

/* RFC 7413; in tcp_config.fastopen. */
enum tcp_fastopen_side {
	TCP_FASTOPEN_CLIENT = 1 << 0,
	TCP_FASTOPEN_SERVER = 1 << 1,
};

/* What a passive open promises before anybody has asked how much room there is. */
enum {
	TCP_FIRST_WINDOW_BYTES = 32768,
};

enum tcp_mtu_mode {
	TCP_MTU_OFF,
	TCP_MTU_BLACK_HOLE, /* once large segments seem to be swallowed */
	TCP_MTU_ALWAYS,	    /* begin small */
};

struct mtcp_cc_plugin;

struct tcp_config {
	uint32_t mss_max_bytes;	      /* IPv4, from the port's MTU: MTU - 40 */
	uint32_t mss6_max_bytes;      /* IPv6: MTU - 60; never above mss_max_bytes */
	uint32_t mss_min_bytes;	      /* lower clamp of a peer's MSS: 48 */
	uint32_t tso_max_bytes;	      /* largest payload of one tcp_out; 0: one MSS */
	uint32_t rto_min_us;	      /* 200 ms */
	uint32_t rto_max_us;	      /* 60 s (RFC 6298 2.5 allows a bound of at least 60 s) */
	uint32_t rto_initial_us;      /* 1 s */
	uint32_t delack_us;	      /* 40 ms; RFC 9293 3.8.6.3 bound is 500 ms */
	uint32_t msl_us;	      /* TIME-WAIT lasts 2 * msl_us; 30 s */
	uint32_t fin_wait_2_us;	      /* orphaned FIN-WAIT-2; 60 s */
	uint64_t keepalive_idle_us;   /* 7200 s */
	uint32_t keepalive_intvl_us;  /* 75 s */
	uint32_t keepalive_probes;    /* 9 */
	uint32_t syn_retries;	      /* 6 */
	uint32_t synack_retries;      /* 5 */
	uint32_t data_retries;	      /* 15 */
	uint32_t orphan_retries;      /* 8 */
	uint32_t rcvbuf_bytes;	      /* default SO_RCVBUF, for the SYN's window scale */
	uint32_t rcvbuf_max_bytes;    /* decides our window scale */
	uint32_t challenge_ack_per_s; /* RFC 5961 section 7, per engine */
	uint32_t ecn;		      /* enum tcp_ecn_mode */
	uint32_t fastopen;	      /* of enum tcp_fastopen_side */
	uint32_t mtu_probing;	      /* enum tcp_mtu_mode: RFC 4821 */
	bool pacing;		      /* pace.c, whatever the congestion control */
	const struct mtcp_cc_plugin *cc_plugin; /* tcp/mtcp_cc_plugin.h; NULL: none */
	char cc_agent[16]; /* name of congestion control by an agent (tcp/cc_agent.h); "": none */
	uint32_t cc_agent_interval_us; /* of reports to it, at least; 1 ms */
	uint32_t cc;		       /* enum tcp_cc_id: the congestion control of new ones */
	bool timestamps;
	bool window_scale;
	bool sack;
};
void tcp_config_default(struct tcp_config *cfg);

/* The largest segment, options included, that we take from or send to an address of this family:
 * what our MSS option says (RFC 9293 section 3.7.1; RFC 8200 section 8.3). */
uint16_t tcp_mss_max(const struct tcp_config *cfg, const struct net_addr *peer);

struct tcp_fastopen_cache; /* tcp/fastopen.h */
struct tcp_counters;	   /* tcp/counters.h, made from tcp/counters.def: name + a sentence each */

/* Everything the library knows beside the entry at hand: one per engine. */
struct tcp_ctx {
	const struct tcp_config *cfg;
	const struct tcp_ops *ops;
	void *ops_arg;
	struct tcp_counters *counters;
	uint8_t isn_key[16];		     /* RFC 6528 */
	uint8_t cookie_key[16];		     /* RFC 4987 section 3.6 */
	uint8_t ts_key[16];		     /* per-flow timestamp offset */
	uint8_t fastopen_key[16];	     /* RFC 7413 section 4.1.2; the same in all engines */
	struct tcp_fastopen_cache *fastopen; /* the client's, zeroed at first; NULL: no client */
	uint64_t challenge_window_us;
	uint32_t challenge_count;
	uint32_t rtt_last_us; /* sample of the ACK at hand; 0: none */
	uint32_t agent_epoch; /* of the agent that listens; 0: none does (tcp/cc_agent.h) */
};

/* -- events ------------------------------------------------------------------------------- */

enum tcp_event {
	TCP_EV_OUTPUT = 1 << 0,	     /* call tcp_output(), or tcp_output_waits(), before this
				      * turn ends: only then deadline_us is right */
	TCP_EV_ESTABLISHED = 1 << 1, /* reached ESTABLISHED */
	TCP_EV_ACKED = 1 << 2,	     /* snd_una_pos advanced: free send data below it */
	TCP_EV_RECEIVED = 1 << 3,    /* rcv_nxt_pos advanced: bytes may be delivered */
	TCP_EV_FIN = 1 << 4,	     /* the peer's FIN was reached in order */
	TCP_EV_ERROR = 1 << 5,	     /* conn->error is set (positive errno); state is CLOSED */
	TCP_EV_CLOSED = 1 << 6,	     /* reached CLOSED: release the entry; with TCP_EV_OUTPUT an
				      * RST is owed (TCP_OWE_RST): call tcp_output() first */
	TCP_EV_TIME_WAIT = 1 << 7,   /* reached TIME-WAIT: may become a tcp_tw, after tcp_output()
				      * if TCP_EV_OUTPUT is there too */
	TCP_EV_FIN_ACKED = 1 << 8,   /* our FIN was acknowledged */
	TCP_EV_NEW_SYN = 1 << 9,     /* tcp_tw_input: the segment is a SYN that may reuse the tuple:
				      * release the entry and treat it as for a listener */
	TCP_EV_PROMOTE = 1 << 10,    /* tcp_half_input/tcp_cookie_input: become a connection, then
				      * pass the same segment to tcp_input() */
	TCP_EV_REPLY = 1 << 11,	     /* *reply was filled: send it */
};

/* -- connections --------------------------------------------------------------------------- */

/* RFC 6528 initial sequence number; also used by tcp_half. */
uint32_t tcp_isn(const struct tcp_ctx *ctx, const struct net_tuple *key, uint64_t now_us);

/* Each call below may change entry.deadline_us: tcp_wheel_update() follows it. A connection with
 * something unsent or unacknowledged, or in a state that must pass, always has a deadline. */

/* Starts an active open (RFC 9293 3.10.1): fills *c, state SYN-SENT, SYN owed. Returns events. */
uint32_t tcp_connect(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct net_tuple *key, uint64_t now_us);

/* Makes *c a connection from a half-open entry that reported TCP_EV_PROMOTE. The caller then
 * passes the same segment to tcp_input(), which brings it to ESTABLISHED and sets its deadline. */
void tcp_promote(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_half *h, uint64_t now_us);

/* RFC 9293 3.10.7: the segment arrives. Returns events. */
uint32_t tcp_input(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, uint64_t now_us);

/* The entry's deadline has come. Returns events. */
uint32_t tcp_timer(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* What is to be sent now: fills at most out_max segments, returns how many. Call again while
 * it returns out_max. Owed ACKs, SYN, data, FIN, probes and RSTs all come from here. Updates
 * deadline_us. */
unsigned int tcp_output(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us,
	struct tcp_out *out, unsigned int out_max);
/* It cannot be sent for now; time-outs run all the same. Updates deadline_us. Not for CLOSED. */
void tcp_output_waits(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* User calls (RFC 9293 3.10.2-3.10.6). Each returns events (mostly TCP_EV_OUTPUT). */
uint32_t tcp_send(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, bool more,
	uint64_t now_us); /* data up to end_pos is available */
uint32_t tcp_shutdown(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us); /* FIN after it */
uint32_t tcp_consumed(struct tcp_ctx *ctx, struct tcp_conn *c,
	uint64_t now_us); /* rx_limit moved:
			   * TCP_EV_OUTPUT if a window update is worth sending */
uint32_t tcp_abort(struct tcp_ctx *ctx, struct tcp_conn *c,
	uint64_t now_us); /* CLOSED at once;
			   * TCP_EV_OUTPUT if an RST is owed, which tcp_output() sends */
uint32_t tcp_close(struct tcp_ctx *ctx, struct tcp_conn *c,
	uint64_t now_us); /* the same, and nobody holds it:
			   * FIN-WAIT-2 time-out, orphan_retries; SYN-SENT: CLOSED at once */

/* Options as tcp(7) has them. Values are in the caller's bounds (tcp_option_max()). */
enum tcp_option_name {
	TCP_OPT_NODELAY, /* 0 or 1, and the next two */
	TCP_OPT_KEEPALIVE,
	TCP_OPT_CORK,
	TCP_OPT_KEEPIDLE_S, /* 0: the configuration's; and the next two */
	TCP_OPT_KEEPINTVL_S,
	TCP_OPT_KEEPCNT,	 /* probes */
	TCP_OPT_SYNCNT,		 /* SYNs sent again; 0: the configuration's */
	TCP_OPT_USER_TIMEOUT_MS, /* RFC 5482, the local one; 0: none */
	TCP_OPT_LINGER2_S,	 /* orphan in FIN-WAIT-2; 0: the configuration's */
	TCP_OPT_QUICKACK,	 /* 1: the next ACKs are not delayed; 0: they may be */
	TCP_OPT_MAXSEG,		 /* bytes; only ever makes segments smaller */
	TCP_OPT_COUNT
};
uint32_t tcp_option_min(enum tcp_option_name name);
uint32_t tcp_option_max(enum tcp_option_name name);
/* Is there memory to keep it? If not tcp_setopt() does nothing. */
bool tcp_setopt_room(struct tcp_ctx *ctx, struct tcp_conn *c, enum tcp_option_name name);
uint32_t tcp_setopt(struct tcp_ctx *ctx, struct tcp_conn *c, enum tcp_option_name name,
	uint32_t value, uint64_t now_us);

/* Another congestion control, by its number (tcp/cc.h): 0, or -ENOENT if there is none. */
int tcp_set_congestion(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t id);

/* ICMP errors for the flow (RFC 5927, RFC 1191): `seq` is the quoted sequence number, which
 * must lie in flight. A hard error is reported only in SYN-SENT; else remembered as soft. */
uint32_t tcp_icmp_error(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t seq, int error_errno, uint64_t now_us);
uint32_t tcp_icmp_too_big(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t seq, uint32_t mtu_bytes, uint64_t now_us);

/* -- passive open, compact ------------------------------------------------------------------ */

/* A segment for a listening port and no entry (RFC 9293 3.10.7.2). With a SYN: fills *h (key,
 * deadline) and *reply with the SYN|ACK, returns TCP_EV_REPLY. Otherwise RST or drop. */
uint32_t tcp_listen_input(struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg,
	uint64_t now_us, struct tcp_out *reply);
uint32_t tcp_half_input(struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg,
	uint64_t now_us, struct tcp_out *reply);
uint32_t tcp_half_timer(
	struct tcp_ctx *ctx, struct tcp_half *h, uint64_t now_us, struct tcp_out *reply);

/* Cookies (RFC 4987 3.6): answer a SYN without keeping anything; later recognise the ACK:
 * returns TCP_EV_PROMOTE with *h filled, or 0. */
uint32_t tcp_cookie_reply(
	struct tcp_ctx *ctx, const struct tcp_segment *seg, uint64_t now_us, struct tcp_out *reply);
uint32_t tcp_cookie_input(
	struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg, uint64_t now_us);

/* -- TIME-WAIT, compact ----------------------------------------------------------------------- */

void tcp_tw_init(struct tcp_ctx *ctx, struct tcp_tw *tw, const struct tcp_conn *c, uint64_t now_us);
uint32_t tcp_tw_input(struct tcp_ctx *ctx, struct tcp_tw *tw, const struct tcp_segment *seg,
	uint64_t now_us, struct tcp_out *reply);

/* -- no entry at all (RFC 9293 3.10.7.1) ------------------------------------------------------- */

/* Fills *reply with the RST a stray segment deserves; returns TCP_EV_REPLY, or 0 for an RST. */
uint32_t tcp_closed_input(
	struct tcp_ctx *ctx, const struct tcp_segment *seg, struct tcp_out *reply);

#endif
