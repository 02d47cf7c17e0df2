/* What a slot says: operations from the client, events from the engine.
 *
 * Word 0 is the head: bits 0-7 operation, bit 8 phase (the ring's), bits 16-31 flags of the
 * operation, bits 32-63 request id. The other 56 bytes are the body. All fields are host
 * order (both sides are on one machine), fixed width, without padding.
 *
 * Progress is absolute: positions, never deltas, so that repeating an operation is a no-op.
 * The engine copies a slot before it validates it, and trusts nothing in it (engine/gate.c).
 */
#ifndef PROTO_SLOT_H
#define PROTO_SLOT_H

#include <shm/ring.h>

#include <assert.h>
#include <stdint.h>

enum {
	PROTO_VERSION = 5,
};

/* A socket in the daemon, as its clients name it. gen is never 0. */
struct proto_handle {
	uint32_t idx;
	uint32_t gen;
};

/* A place in a payload segment: segment number above, byte offset below. */
typedef uint64_t proto_ref;
#define PROTO_REF_SHIFT 40
#define PROTO_REF_NONE	UINT64_MAX
static inline proto_ref proto_ref_make(uint32_t segment, uint64_t offset)
{
	return (uint64_t)segment << PROTO_REF_SHIFT | offset;
}
static inline uint32_t proto_ref_segment(proto_ref ref)
{
	return (uint32_t)(ref >> PROTO_REF_SHIFT);
}
static inline uint64_t proto_ref_offset(proto_ref ref)
{
	return ref & ((UINT64_C(1) << PROTO_REF_SHIFT) - 1);
}

/* -- client to engine ---------------------------------------------------------------------- */

enum proto_op {
	PROTO_OP_INVALID,
	PROTO_OP_CONNECT, /* body connect; answered: RESULT with the handle, at once */
	PROTO_OP_ACCEPT, /* body accept;  answered: ACCEPTED, or RESULT with -EAGAIN, unless kept */
	PROTO_OP_SEND,	 /* body send;    not answered: acked_pos moves */
	PROTO_OP_CONSUMED, /* body consumed; not answered */
	PROTO_OP_SHUTDOWN, /* body shutdown: no data after pos; not answered */
	PROTO_OP_CLOSE,	   /* body close; not answered: an event with GONE ends the handle */
	PROTO_OP_SETOPT,   /* body setopt;  answered: RESULT */
	PROTO_OP_INFO,	   /* body info;    answered: INFO slots, then RESULT with their number */
	PROTO_OP_COUNT
};

struct proto_connect {
	uint8_t laddr[16]; /* all zero, or that of IPv4: the daemon chooses */
	uint8_t raddr[16];
	uint16_t lport; /* 0: the daemon chooses; else bound by this session (PROTO_MSG_BIND), and
			 * sent to engine `lport mod engines`, which is where answers are handed */
	uint16_t rport;
	uint32_t cookie;       /* comes back in every event of this socket */
	uint32_t options;      /* enum proto_option_bit */
	uint32_t sndbuf_bytes; /* 0: default */
	uint32_t rcvbuf_bytes;
	uint32_t congestion; /* number of the congestion control plus one; 0: default */
};
enum proto_option_bit {
	PROTO_OPTION_NODELAY = 1 << 0,
	PROTO_OPTION_KEEPALIVE = 1 << 1,
	PROTO_OPTION_RCVBUF_CLAMP = 1 << 2, /* rcvbuf_bytes is no SO_RCVBUF: it may grow */
	PROTO_OPTION_FASTOPEN = 1 << 3, /* the SYN may wait a moment for data to carry (RFC 7413) */
};

struct proto_accept {
	struct proto_handle listener;
	uint32_t cookie; /* of the socket to be */
	uint32_t flags;	 /* enum proto_accept_flag */
	uint32_t reserved[10];
};
enum proto_accept_flag {
	PROTO_ACCEPT_KEEP = 1 << 0,   /* if nothing waits, the request does, and is answered when a
				       * connection comes. Of each listener an engine keeps
				       * PROTO_ACCEPTS_KEPT; one more is answered at once */
	PROTO_ACCEPT_CANCEL = 1 << 1, /* the request of this number, if it is kept, is no more;
				       * answered: RESULT with -EAGAIN or -EBADF in any case. Those
				       * of a listener that ends go without an answer */
};
enum {
	PROTO_ACCEPTS_KEPT = 32,
};

struct proto_send {
	struct proto_handle handle;
	uint64_t pos; /* stream position of the first byte; at most the end of what was sent */
	proto_ref ref;
	uint32_t len_bytes;
	uint32_t flags;	       /* PROTO_SEND_MORE */
	uint64_t consumed_pos; /* as PROTO_OP_CONSUMED would say first; 0 says nothing */
	uint64_t reserved[2];
};
enum proto_send_flag {
	PROTO_SEND_MORE = 1 << 0, /* MSG_MORE: do not send a short segment yet */
};

struct proto_consumed {
	struct proto_handle handle;
	uint64_t pos; /* every byte below was taken; the client holds no chunk that ends at or
		       * below pos, and none at all if pos is all it was told was received */
	uint64_t reserved[5];
};

struct proto_shutdown {
	struct proto_handle handle;
	uint64_t pos; /* must equal the end of what was sent */
	uint64_t reserved[5];
};

struct proto_close {
	struct proto_handle handle;
	uint32_t flags; /* PROTO_CLOSE_ABORT */
	uint32_t reserved32;
	uint64_t reserved[5];
};
enum proto_close_flag {
	PROTO_CLOSE_ABORT = 1 << 0, /* RST (SO_LINGER with 0 s) */
};

struct proto_setopt {
	struct proto_handle handle;
	uint32_t option; /* enum proto_option */
	uint32_t reserved32;
	uint64_t value;
	uint64_t reserved[4];
};
enum proto_option {
	PROTO_SET_NODELAY = 1,
	PROTO_SET_KEEPALIVE,
	PROTO_SET_SNDBUF,
	PROTO_SET_RCVBUF,
	PROTO_SET_CORK,
	PROTO_SET_KEEPIDLE_S, /* this and what follows: numbers of tcp(7), out of bounds -EINVAL */
	PROTO_SET_KEEPINTVL_S,
	PROTO_SET_KEEPCNT,
	PROTO_SET_SYNCNT,
	PROTO_SET_USER_TIMEOUT_MS,
	PROTO_SET_LINGER2_S,
	PROTO_SET_QUICKACK,
	PROTO_SET_MAXSEG,
	PROTO_SET_CONGESTION,	 /* its number (proto_msg_attached); -ENOENT if there is none */
	PROTO_SET_NOTSENT_LOWAT, /* bytes; 0: none */
	PROTO_SET_WINDOW_CLAMP,	 /* bytes; 0: none */
	PROTO_SET_COUNT
};

struct proto_info {
	struct proto_handle handle;
	uint64_t reserved[6];
};

/* -- engine to client ---------------------------------------------------------------------- */

enum proto_event {
	PROTO_EV_INVALID,
	PROTO_EV_RESULT,   /* body result, request id in the head */
	PROTO_EV_ACCEPTED, /* body accepted, request id in the head */
	PROTO_EV_FLOW,	   /* body flow: the level state of a connection */
	PROTO_EV_LISTEN,   /* body listen_state: connections wait on a listener */
	PROTO_EV_INFO,	   /* body info_part, request id in the head */
	PROTO_EV_COUNT
};

struct proto_result {
	struct proto_handle handle; /* CONNECT: the new socket */
	int32_t result;		    /* >= 0 or -errno */
	uint32_t cookie;
	uint8_t laddr[16]; /* CONNECT: the address and port chosen */
	uint16_t lport;
	uint16_t reserved16;
	uint32_t
		listen_seq; /* ACCEPT with -EAGAIN: nothing waits as of this (proto_listen_state) */
	uint64_t reserved[2];
};

struct proto_accepted {
	struct proto_handle handle;
	uint32_t cookie;
	uint16_t lport;
	uint16_t rport;
	uint8_t laddr[16];
	uint8_t raddr[16];
	uint32_t pending; /* as in proto_listen_state, after this accept */
	uint32_t listen_seq;
};

/* Everything there is to know of a connection, coalesced: a later one replaces an earlier. */
struct proto_flow {
	uint32_t cookie;
	uint32_t gen;	       /* of the handle */
	uint64_t acked_pos;    /* send data below it may be reused */
	uint64_t received_pos; /* bytes below it may be read */
	proto_ref chunk; /* the chunk (struct proto_chunk) with the byte at the received_pos of
			  * the previous event of this handle (0 before the first): where a
			  * client that holds no chunk goes on; one that holds a chunk follows
			  * its `next` and ignores this. PROTO_REF_NONE if nothing is new */
	uint32_t flags;	 /* enum proto_flow_flag */
	uint32_t error;	 /* positive errno, 0 for none; sticks */
	uint32_t sndbuf_bytes; /* how far send may run ahead of acked_pos, as things are */
	uint32_t window_bytes; /* how far past what was consumed the peer may send now: who has
				* consumed a good part of it should wake the engine to tell */
	uint64_t reserved;
};
enum proto_flow_flag {
	PROTO_FLOW_ESTABLISHED = 1 << 0, /* was reached */
	PROTO_FLOW_FIN = 1 << 1,	 /* the peer sends nothing after received_pos */
	PROTO_FLOW_CLOSED = 1 << 2,	 /* the connection is over, both ways */
	PROTO_FLOW_ANY_ROOM = 1 << 4,	 /* any room counts as writable: TCP_NOTSENT_LOWAT has made
					  * sndbuf_bytes small. Comes and goes */
	PROTO_FLOW_ENDED = 1 << 5, /* both FINs are acknowledged: TIME-WAIT, where no call does
				    * anything any more; CLOSED comes later */
	PROTO_FLOW_GONE = 1 << 3,  /* last event of this handle: it is free, and so is every
				    * byte that was lent to it */
};

/* How many connections wait on this listener and engine. The same is told in the answers to
 * ACCEPT, which may travel in another ring: of two tellings the one with the later listen_seq
 * (compared as a signed difference) holds. Each engine has its own. */
struct proto_listen_state {
	uint32_t cookie;
	uint32_t gen;
	uint32_t pending;
	uint32_t listen_seq;
	uint64_t reserved[5];
};

/* TCP_INFO in pieces: bytes [offset, offset + len) of struct tcp_info, as of Linux 6.7: up to
 * tcpi_snd_wnd it has been the same since 5.4, and what came since is behind, at these offsets; and
 * behind that what other options ask for. */
enum proto_info_offset {
	PROTO_INFO_RCV_WND = 232,	       /* u32 */
	PROTO_INFO_REHASH = 236,	       /* u32 */
	PROTO_INFO_TOTAL_RTO = 240,	       /* u16 */
	PROTO_INFO_TOTAL_RTO_RECOVERIES = 242, /* u16 */
	PROTO_INFO_TOTAL_RTO_TIME = 244,       /* u32, ms */
	PROTO_INFO_BYTES = 248,
	PROTO_INFO_CONGESTION = 248, /* u32: number of the congestion control in use */
	PROTO_INFO_ALL_BYTES = 252,
};
struct proto_info_part {
	uint16_t offset;
	uint16_t len_bytes;
	uint32_t total_bytes;
	uint8_t bytes[48];
};

/* Head of each receive chunk in `up`; payload follows it at data_offset from the chunk's ref.
 * Bytes [start_pos, min(received_pos, next chunk's start_pos)) of the stream are here. */
struct proto_chunk {
	uint64_t start_pos;
	_Atomic uint64_t next; /* proto_ref of the next chunk, PROTO_REF_NONE while there is none;
				* set before received_pos passes this chunk's last byte */
	uint32_t data_offset;
	uint32_t reserved;
	uint64_t reserved64;
};
static_assert(sizeof(struct proto_chunk) == 32, "chunk header");

/* -- one slot ------------------------------------------------------------------------------- */

union proto_body {
	uint64_t word[7];
	struct proto_connect connect;
	struct proto_accept accept;
	struct proto_send send;
	struct proto_consumed consumed;
	struct proto_shutdown shutdown;
	struct proto_close close;
	struct proto_setopt setopt;
	struct proto_info info;
	struct proto_result result;
	struct proto_accepted accepted;
	struct proto_flow flow;
	struct proto_listen_state listen_state;
	struct proto_info_part info_part;
};
static_assert(sizeof(union proto_body) == 56, "a slot is one cache line");

/* `copy` is the same words as rings carry them. */
struct proto_slot {
	union {
		struct {
			uint64_t head;
			union proto_body body;
		};
		struct shm_slot_copy copy;
	};
};
static_assert(sizeof(struct proto_slot) == 64, "a slot is one cache line");

static inline uint64_t proto_head_make(uint8_t op, uint32_t request_id)
{
	return (uint64_t)request_id << 32 | op;
}
static inline uint8_t proto_head_op(uint64_t head)
{
	return (uint8_t)head;
}
static inline uint32_t proto_head_request(uint64_t head)
{
	return (uint32_t)(head >> 32);
}

#endif
