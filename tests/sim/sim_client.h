/* A client: one session, speaking the protocol of proto/slot.h over the shared rings.
 *
 * It is written from the comments of proto/slot.h and layout.h alone, and is stricter than a
 * real client has to be: it checks that level state never goes back, that chunks follow each
 * other without a gap, and it scribbles over send data as soon as the engine says that it
 * may be reused, so that an engine which reads it later sends wrong bytes.
 *
 * It blocks as a real one does: a context that found nothing announces its sleep, and then
 * only the doorbell wakes it. An event that lies in a sleeping context's ring without a ring
 * of the bell is a lost wake-up and fails the run.
 */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "sim_host.h"
#include "sim_mem.h"

#include <proto/layout.h>
#include <proto/slot.h>

enum {
	SIM_BLOCK_BYTES = 4096, /* send data is cut into these */
	SIM_BLOCKS_MAX = 2048,	/* of a socket in flight: the engine ends who scatters more */
};

struct sim_client_config {
	uint32_t contexts;
	uint32_t ring_order_log2;
	uint64_t up_bytes; /* payload of the first segment, and of each further one */
	uint64_t up_max_bytes;
	uint64_t down_bytes;
	uint64_t down_max_bytes;
	uint32_t uid;
	bool fastopen;	       /* connect with it */
	uint32_t fastopen_max; /* of its listeners */
};
void sim_client_config_default(struct sim_client_config *cfg);

struct sim_ring {
	struct shm_ring_prod submissions;
	struct shm_ring_cons completions;
	struct proto_submission_line *line;
	struct proto_ctx_line *ctx_line;
	int bell;      /* sim_bell.h */
	uint32_t rung; /* the engine's sleep that we last rang */
	bool asleep;
};

/* Send data handed over and not yet acknowledged. */
struct sim_block {
	proto_ref ref;
	uint64_t end_pos;
	uint32_t len_bytes;
};

/* Request ids carry kind << 28 | listener << 20 | socket. */
enum sim_request {
	SIM_REQUEST_CONNECT = 1,
	SIM_REQUEST_ACCEPT,
	SIM_REQUEST_SETOPT,
	SIM_REQUEST_INFO,
};

enum sim_sock_state {
	SIM_SOCK_FREE,
	SIM_SOCK_CONNECTING, /* CONNECT is submitted, no RESULT yet */
	SIM_SOCK_ACCEPTING,  /* ACCEPT is submitted */
	SIM_SOCK_OPEN,	     /* has a handle */
	SIM_SOCK_FAILED,     /* CONNECT or ACCEPT was refused: `error` */
	SIM_SOCK_GONE,
};

struct sim_sock {
	struct sim_client *client;
	uint32_t cookie;
	uint32_t ctx;
	enum sim_sock_state state;
	struct proto_handle handle;
	struct net_tuple key;
	/* as told by the engine */
	uint32_t flags, error, sndbuf_bytes;
	uint64_t acked_pos, received_pos;
	proto_ref chunk; /* held, NONE if none */
	/* ours */
	uint64_t read_pos, consumed_pos; /* consumed as told to the engine */
	uint64_t sent_pos;
	struct sim_block *blocks;
	uint32_t block_count, block_capacity;
	bool shut, closed;
	int info_result; /* of the last INFO: parts, or -errno; INT32_MIN while it runs */
	uint32_t info_parts;
	uint8_t info_state; /* tcpi_state */
	void *app;
};

struct sim_listener {
	struct sim_client *client;
	uint32_t cookie;
	uint32_t ctx;
	struct proto_handle handle;
	uint32_t pending, seq;
	bool refused; /* the last ACCEPT: those that are ahead of their connection wait with it */
	uint32_t accepting; /* ACCEPTs under way */
	void *app;
};

struct sim_client {
	struct sim_host *host;
	struct sim_client_config cfg;
	uint32_t session;
	struct proto_layout layout;
	struct sim_mem up[PROTO_SEGMENTS_MAX], down[PROTO_SEGMENTS_MAX];
	uint32_t up_count, down_count;
	bool growing; /* the engine has not yet heard of the next `down` segment */
	uint64_t up_bytes, down_bytes;
	struct sim_ring ring[PROTO_CONTEXTS_MAX];
	struct sim_sock **socks; /* by cookie */
	uint32_t sock_count, sock_capacity;
	uint32_t unclaimed; /* of them accepted, and not yet given a flow or closed */
	struct sim_listener *listeners[16];
	uint32_t listener_count;
	proto_ref *free_blocks;
	uint32_t free_count, block_total;
	bool attached;	   /* the engine has taken it in: until then it says nothing */
	bool dead;	   /* crashed or condemned: does nothing any more */
	bool gone;	   /* the engine has let go of its memory */
	bool deaf;	   /* does not read its completions for now */
	int condemned;	   /* enum proto_condemned */
	_Atomic bool hole; /* as the SIGBUS guard would set it */
	uint64_t wakeups, events;
};

/* Posts SESSION_ADD; the session exists from the engine's next turn on. */
struct sim_client *sim_client_new(struct sim_host *h, const struct sim_client_config *cfg);
void sim_client_free(struct sim_client *c);
/* The process is gone: SESSION_DEL. Nothing of the client may be used but `gone`. */
void sim_client_crash(struct sim_client *c);

/* Reads completions, a bounded number a context; returns how many. */
unsigned int sim_client_poll(struct sim_client *c);
/* Announces sleep on every context; false if there is something to read after all. */
bool sim_client_sleep(struct sim_client *c);

/* Submits a slot as it is. 0, or -EAGAIN: the ring is full. */
int sim_client_submit(struct sim_client *c, uint32_t ctx, const struct proto_slot *slot);

struct sim_listener *sim_client_listen(
	struct sim_client *c, uint32_t ctx, uint16_t port, uint32_t backlog);
void sim_client_unlisten(struct sim_listener *l);
/* NULL: the ring is full. `lport` 0: the engine chooses; else it is reserved first. */
struct sim_sock *sim_client_connect(
	struct sim_client *c, uint32_t ctx, uint32_t ip_be, uint16_t rport, uint16_t lport);
/* The same to an address of either family. */
struct sim_sock *sim_client_connect_to(struct sim_client *c, uint32_t ctx,
	const struct net_addr *remote, uint16_t rport, uint16_t lport);
struct sim_sock *sim_client_accept(struct sim_listener *l, uint32_t ctx);
/* The same, which waits at the engine if nothing else does (PROTO_ACCEPT_KEEP); and its end. */
struct sim_sock *sim_client_accept_ahead(struct sim_listener *l, uint32_t ctx);
void sim_client_accept_cancel(struct sim_listener *l, const struct sim_sock *sk);

/* Hands over up to max bytes from `data` (at most a block); returns how many, 0: no room. */
uint32_t sim_sock_send(struct sim_sock *sk, const uint8_t *data, uint32_t max, bool more);
/* How many bytes may be sent now without overrunning the send buffer. */
uint64_t sim_sock_writable(const struct sim_sock *sk);
/* Bytes at read_pos that lie together: *data and their number, 0 if there are none. */
uint32_t sim_sock_peek(struct sim_sock *sk, const uint8_t **data);
/* Takes n bytes that peek has shown. */
void sim_sock_take(struct sim_sock *sk, uint32_t n);
/* Tells the engine what was read. False: the ring is full, try again. */
bool sim_sock_consumed(struct sim_sock *sk);
bool sim_sock_shutdown(struct sim_sock *sk);
bool sim_sock_close(struct sim_sock *sk, bool abort);
bool sim_sock_setopt(struct sim_sock *sk, uint32_t option, uint64_t value);
bool sim_sock_info(struct sim_sock *sk);

/* For the host: what the engine's notes mean to the session. */
void sim_client_condemned(struct sim_client *c, int reason);
void sim_client_grow_up(struct sim_client *c);
void sim_client_gone(struct sim_client *c);
/* More send memory, which may be used when the engine has it: -EAGAIN; or -ENOMEM, the session's
 * limit is reached. */
int sim_client_grow_down(struct sim_client *c);
void sim_client_grown_down(struct sim_client *c);

#endif
