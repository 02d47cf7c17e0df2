/* The control socket between client and daemon (SOCK_SEQPACKET, one message a packet).
 *
 * What is rare and global goes this way: attaching, naming (bind, listen) and growing. The
 * daemon's main thread owns every name, so no engine needs another's agreement. The client
 * sends a request and waits for the answer with the same id; SEGMENT messages may come in
 * between. The daemon never blocks on this socket and takes no descriptors from it.
 */
#ifndef PROTO_ATTACH_H
#define PROTO_ATTACH_H

#include <proto/slot.h>

#include <stddef.h>
#include <stdint.h>

#define PROTO_SOCKET_DEFAULT "/run/mtcpd/mtcpd.sock"
#define PROTO_SOCKET_ENV     "MTCPD_SOCKET"
#define PROTO_MAGIC	     0x6d746370u /* "mtcp" */

enum proto_msg_type {
	PROTO_MSG_INVALID,
	PROTO_MSG_ATTACH, /* client: first message; daemon: answer, with descriptors */
	PROTO_MSG_BIND,	  /* reserve a local port; answer carries the port */
	PROTO_MSG_UNBIND,
	PROTO_MSG_LISTEN, /* answer carries the listener's handle */
	PROTO_MSG_UNLISTEN,
	PROTO_MSG_GROW,	    /* more `down`; answered after a SEGMENT message */
	PROTO_MSG_SEGMENT,  /* daemon only: a new segment, with its descriptor */
	PROTO_MSG_RELISTEN, /* the options of a listener that is there */
	PROTO_MSG_COUNT
};

struct proto_msg_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t request_id;
	int32_t result; /* answers: >= 0 or -errno; requests: 0 */
};

struct proto_msg_attach {
	struct proto_msg_header h;
	uint32_t contexts; /* wanted; the daemon may give fewer */
	uint32_t reserved;
	char name[32]; /* of the program, for the operator; NUL-terminated, no control characters */
};

enum {
	PROTO_ADDRS_MAX = 40, /* addresses of both families, and prefixes */
	PROTO_CONGESTION_MAX = 8,
	PROTO_CONGESTION_NAME_BYTES = 16, /* TCP_CA_NAME_MAX of Linux, the NUL counted */
};
struct proto_local_addr {
	uint8_t addr[16];
	uint32_t prefix_bits; /* of 128: what is on link with it */
	uint32_t flags;	      /* enum proto_addr_flag */
};
enum proto_addr_flag {
	PROTO_ADDR_PREFIX = 1 << 0, /* only what is on link: no address of the daemon's */
};
enum proto_default_route {
	PROTO_DEFAULT_ROUTE_IP4 = 1 << 0,
	PROTO_DEFAULT_ROUTE_IP6 = 1 << 1,
};

/* Descriptors, in this order: down, up, a doorbell's read end per context (shm_doorbell_pipe), an
 * eventfd per engine. */
struct proto_msg_attached {
	struct proto_msg_header h;
	uint32_t session;
	uint32_t contexts;
	uint32_t engines;
	uint32_t ring_order_log2;
	uint64_t down_bytes;
	uint64_t up_bytes;
	uint64_t down_max_bytes; /* limit of the session over all its segments */
	uint32_t sndbuf_bytes;	 /* defaults */
	uint32_t rcvbuf_bytes;
	uint32_t sockets_max;
	uint32_t default_routes; /* enum proto_default_route */
	uint32_t addr_count;
	uint32_t mtu_bytes;
	struct proto_local_addr addr[PROTO_ADDRS_MAX];
	/* Congestion controls by number, for TCP_CONGESTION; `congestion` is the default's. */
	uint32_t congestion_count;
	uint32_t congestion;
	char congestion_name[PROTO_CONGESTION_MAX][PROTO_CONGESTION_NAME_BYTES];
};

/* BIND, UNBIND, LISTEN, UNLISTEN, RELISTEN and their answers. */
struct proto_msg_name {
	struct proto_msg_header h;
	uint8_t addr[16];	 /* all zero: any; ::ffff:0.0.0.0: any of IPv4 */
	uint16_t port;		 /* BIND: 0 for any */
	uint16_t fastopen_max;	 /* LISTEN, RELISTEN: TCP_FASTOPEN; 0: no fast open */
	uint32_t cookie;	 /* LISTEN: comes back in PROTO_EV_LISTEN */
	uint32_t backlog;	 /* LISTEN */
	uint32_t context;	 /* LISTEN: which context hears of waiting connections */
	uint32_t flags;		 /* enum proto_name_flag */
	uint32_t defer_accept_s; /* LISTEN, RELISTEN: how long a connection waits for its first data
				  * before it is told of, at most PROTO_DEFER_ACCEPT_MAX_S */
	struct proto_handle listener; /* LISTEN answer; UNLISTEN, RELISTEN */
};
enum {
	PROTO_DEFER_ACCEPT_MAX_S = 300,
};
enum proto_name_flag {
	PROTO_NAME_REUSEADDR = 1 << 0,
	PROTO_NAME_V6ONLY = 1 << 1,    /* BIND: all zero means any of IPv6 */
	PROTO_NAME_REUSEPORT = 1 << 2, /* BIND: shared by all of one user's that say so */
};

struct proto_msg_grow {
	struct proto_msg_header h;
	uint64_t bytes; /* wanted */
};

struct proto_msg_segment {
	struct proto_msg_header h;
	uint32_t direction; /* enum shm_direction */
	uint32_t index;	    /* 1.. */
	uint64_t bytes;
};

union proto_msg {
	struct proto_msg_header h;
	struct proto_msg_attach attach;
	struct proto_msg_attached attached;
	struct proto_msg_name name;
	struct proto_msg_grow grow;
	struct proto_msg_segment segment;
};

/* The size that a client's request of this type must have exactly, or 0 if a client may not
 * send it. */
size_t proto_msg_request_size(uint16_t type);

/* Checks a received request of len bytes: magic, version, type, exact size, termination of
 * strings, bounds of numbers. 0 or -EPROTO. Call on a copy. */
int proto_msg_request_check(const union proto_msg *m, size_t len);

/* Why a session was ended by the daemon. */
enum proto_condemned {
	PROTO_OK,
	PROTO_CONDEMNED_OP,	  /* unknown operation, or flags that do not exist */
	PROTO_CONDEMNED_INDEX,	  /* consumer index out of range */
	PROTO_CONDEMNED_RANGE,	  /* reference or length outside the payload */
	PROTO_CONDEMNED_POSITION, /* stream position that cannot be */
	PROTO_CONDEMNED_HOLE,	  /* a hole in `down` */
	PROTO_CONDEMNED_CONTROL,  /* malformed control message */
	PROTO_CONDEMNED_LIMIT,	  /* a limit that a correct client cannot pass */
	PROTO_CONDEMNED_COUNT
};
const char *proto_condemned_name(enum proto_condemned reason);

#endif
