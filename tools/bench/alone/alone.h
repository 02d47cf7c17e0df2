/* An engine, its client and its peer on one thread: what bench-engine's files share.
 *
 *	peer.c  <-- two rte_rings: net_ring -->  daemon/nic  daemon/engine  <-- shared rings -->
 *	libmtcp-client  <--  app.c
 *
 * The port, the engine and the client library are the ones of the daemon and of programs; the
 * peer stands for the other end of the wire and is not counted. A step is: the peer (not
 * counted), a turn of the engine, then the program's answer to its events. So what the program
 * submits in one step the engine takes in the next, as it does across two cores, but nothing
 * waits, sleeps or enters the kernel. With several engines each has a turn in a step; the peer
 * spreads connections over their queues as the hash of a port would.
 *
 * What is counted is counted between meter_start() and meter_stop(): TSC cycles; under callgrind
 * instructions, which it collects in between and nowhere else. Stages (stage.c) are cut out by
 * the linker's --wrap around calls from one file to another, in bench-engine-stages.
 */
#ifndef ALONE_H
#define ALONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

enum {
	ALONE_PORT = 80,
	ALONE_ENGINES_MAX = 8,
	ALONE_RING_FRAMES = 4096,
	ALONE_MBUFS = 8192,
	ALONE_MESSAGE_BYTES_MAX = 65536,
};

enum alone_work {
	WORK_RPC,  /* requests and responses on established connections */
	WORK_CONN, /* accept, request, response, close */
	WORK_IN,   /* one stream to us */
	WORK_OUT,  /* one stream from us */
	WORK_COUNT
};

struct alone_config {
	enum alone_work work;
	uint32_t conns; /* established before the measurement */
	uint32_t engines;
	uint32_t batch;		/* requests (connections being made) in flight */
	uint32_t request_bytes; /* and of the response */
	uint32_t waiting;	/* WORK_CONN: in TIME-WAIT, all the while */
	uint32_t fresh_max;	/* WORK_CONN: names of connections, used again */
	uint16_t mtu_bytes;
	uint32_t gso_max_bytes; /* as [port] gso_max */
	bool timestamps;
	bool pure_acks; /* the peer acknowledges each response with a frame of its own */
	bool edge;	/* EPOLLET rather than level-triggered */
	bool huge;	/* use huge pages where there are any */
	bool verbose;
};

void alone_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* -- host.c: the port, the engine, the daemon's main thread ----------------------------------- */

struct host;
struct rte_ring;
struct rte_mempool;

struct host *host_new(const struct alone_config *cfg);
/* A turn of every engine at the present time, as the daemon's threads take it. */
unsigned int host_turn(struct host *h);
/* What the main thread does now and then; not counted. */
void host_messages(struct host *h);
uint64_t host_now_us(const struct host *h); /* of the last turn */
/* So many connections were closed: lets so much time pass as a server takes that has cfg.waiting of
 * them in TIME-WAIT. */
void host_closed(struct host *h, uint64_t conns);
uint32_t host_waiting(const struct host *h); /* in TIME-WAIT */
struct rte_ring *host_ring_to(struct host *h, uint32_t engine);
struct rte_ring *host_ring_from(struct host *h, uint32_t engine);
const uint8_t *host_mac(const struct host *h);
const char *host_socket_path(const struct host *h);
bool host_huge(const struct host *h);
/* The sum of all counters that name something dropped or refused; 0 in a sound run. */
uint64_t host_drops(const struct host *h, const char **first);

/* control.c: serves one client's control socket in a thread of its own, which sleeps while
 * anything is measured. */
struct control;
struct engine;
struct control *control_new(struct engine *const *e, const struct alone_config *cfg);
const char *control_path(const struct control *c);

/* -- peer.c ------------------------------------------------------------------------------------ */

struct peer;
struct peer *peer_new(const struct alone_config *cfg, struct host *h);
/* Takes every frame that the engine has sent and answers; true if there was one. */
bool peer_poll(struct peer *p);
void peer_connect(struct peer *p, uint32_t conn);
/* conn: begin with this request as soon as the handshake is over, close after the answer. */
void peer_connect_and_ask(struct peer *p, uint32_t conn);
void peer_request(struct peer *p, uint32_t conn);
/* Sends as much of a stream as the window and max_frames allow. */
void peer_stream(struct peer *p, uint32_t conn, uint32_t max_frames);

struct peer_counts {
	uint64_t established; /* handshakes finished */
	uint64_t responses;   /* complete ones */
	uint64_t closed;      /* connections over, both ways */
	uint64_t bytes_in;    /* payload received */
	uint64_t bytes_acked; /* of the stream that we send */
	uint64_t resets, strange;
	uint64_t frames_in, frames_out;
};
const struct peer_counts *peer_counts(const struct peer *p);

/* -- app.c: the program -------------------------------------------------------------------------
 */

struct app;
struct app *app_new(const struct alone_config *cfg, struct host *h);
/* Serves what epoll reports; true if there was something. */
bool app_poll(struct app *a);
struct app_counts {
	uint64_t accepted, requests, closed, bytes_in, bytes_out;
};
const struct app_counts *app_counts(const struct app *a);

/* -- stage.c -------------------------------------------------------------------------------------
 */

enum stage {
	STAGE_NONE,    /* the loop itself, and the turn's own */
	STAGE_RX,      /* frames in: port, Ethernet, IP, TCP header */
	STAGE_LOOKUP,  /* hash and table */
	STAGE_TCP_IN,  /* input, events, receive chunks */
	STAGE_SUBMIT,  /* slots from the client */
	STAGE_TIMERS,  /* the wheel */
	STAGE_TCP_OUT, /* output, headers */
	STAGE_TX,      /* frames out: port, copy, checksum */
	STAGE_PUBLISH, /* events to the client, doorbells */
	STAGE_LIBRARY, /* libmtcp-client and the program */
	STAGE_COUNT
};
extern bool stages_on;
extern const bool stages_compiled; /* in bench-engine-stages only */
extern const char *const stage_name[STAGE_COUNT];
void stages_calibrate(void);
void stages_reset(void);
/* Ends a chunk of so many units of work: it counts, or is left out. */
void stages_chunk(bool keep, double units);
/* Cycles of each stage for a unit of work, what taking them costs taken off. */
void stages_get(double cycles[STAGE_COUNT]);
void stages_begin(void);
void stages_end(void);
enum stage stage_enter(enum stage s);
void stage_leave(enum stage before);

/* -- meter.c: what a measurement is ---------------------------------------------------------------
 */

enum {
	METER_CHUNKS_MAX = 4096,
};
struct meter {
	uint64_t cycles; /* of the present chunk */
	uint64_t started;
	uint64_t preempted; /* as getrusage() told at the chunk's begin */
	uint32_t chunks, disturbed;
	double sum_disturbed;
	double chunk[METER_CHUNKS_MAX]; /* cycles per unit of work */
};
void meter_reset(struct meter *m);
static inline void meter_start(struct meter *m)
{
	m->started = __rdtsc();
}
static inline void meter_stop(struct meter *m)
{
	m->cycles += __rdtsc() - m->started;
}
void meter_begin(struct meter *m);
/* Ends a chunk in which `units` were done. It does not count if somebody else had the core. */
void meter_chunk(struct meter *m, double units);
void meter_summary(struct meter *m, double *median, double *min, double *max, double *mean);

/* Callgrind is to be run with --instr-atstart=no --collect-atstart=no. It simulates a cache that is
 * empty when it begins. */
bool callgrind_running(void);
void callgrind_begin(void);
void callgrind_toggle(void);
void callgrind_end(const char *label);

/* -- work.c
 * ----------------------------------------------------------------------------------------- */

struct bench {
	struct alone_config cfg;
	struct host *host;
	struct peer *peer;
	struct app *app;
	struct meter meter;
	uint32_t *order; /* connections in the order in which they are asked */
	uint32_t next;
	uint64_t units; /* work done in all chunks */
};
/* Establishes cfg.conns connections. */
void work_connect(struct bench *b);
/* Measures at least `units` of work in `chunks` chunks. */
void work_run(struct bench *b, uint64_t units, uint32_t chunks);
/* One request-response at a time from an empty simulated cache, for counting lines. */
void work_cold(struct bench *b);

#endif
