/* Congestion control: how much may be in flight.
 *
 * Loss recovery (loss.c) says when something was lost, was congested or was taken back, and
 * keeps cwnd during recovery; an algorithm says how far to back off and how to grow. An
 * algorithm is a constant table, named by an index in the control block, since pointers do not
 * live there. What it must remember lies in `cc_state` of struct tcp_extra, of which it alone
 * makes sense: from the start (`state`), or from when it first has something to remember. An
 * algorithm that finds no memory then does as NewReno does.
 *
 * cc.c holds what all share and is the only one to call through a table:
 *
 *   established ------------> tcp_cc_start      init
 *   ACK outside recovery ---> tcp_cc_acked      acked, if the window was in use
 *   loss, ECE, time-out ----> tcp_cc_backoff    ssthresh: the caller sets cwnd
 *   that was for nothing ---> tcp_cc_undo       undo: the caller restores cwnd and ssthresh
 *   silence ----------------> tcp_cc_idle
 */
#ifndef TCP_CC_H
#define TCP_CC_H

#include <tcp/extra.h>
#include <tcp/score.h>

/* Also the number in struct tcp_config.cc and in the flow list; TCP_CC_NEWRENO is 0. */
enum tcp_cc_id {
	TCP_CC_NEWRENO,
	TCP_CC_CUBIC,
	TCP_CC_DCTCP,
	TCP_CC_BBR,
	TCP_CC_PLUGIN,
	TCP_CC_AGENT, /* cc_agent.h */
	TCP_CC_COUNT
};

/* Why the window shrinks. */
enum tcp_cc_why {
	TCP_CC_LOSS,	/* RFC 5681 section 3.2, RFC 6582, RFC 8985 */
	TCP_CC_ECN,	/* RFC 3168 section 6.1.2 */
	TCP_CC_TIMEOUT, /* RFC 5681 section 3.1 */
};

struct tcp_cc_ack {
	uint64_t now_us;
	uint32_t acked_bytes; /* newly acknowledged, the FIN counted */
	uint32_t rtt_us;      /* the sample that this ACK gave; 0: none */
};

struct tcp_cc_ops {
	const char *name;
	/* Clears its own state; cwnd and ssthresh are set by the caller. */
	void (*init)(struct tcp_ctx *ctx, struct tcp_conn *c);
	/* The slow start threshold with `flight_bytes` in flight, bytes. */
	uint32_t (*ssthresh)(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes,
		enum tcp_cc_why why);
	/* Grows cwnd: something was acknowledged outside recovery while cwnd was in use. */
	void (*acked)(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a);
	/* The last ssthresh() was for nothing; NULL: nothing to restore. */
	void (*undo)(struct tcp_ctx *ctx, struct tcp_conn *c);
	/* Told of every ACK of something new, in recovery too, before `acked`; only while
	 * TCP_F_CC_WATCH is set, which init does. */
	void (*observe)(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a);
	/* Likewise: data up to end_pos leaves, for the first time or again. May be NULL. */
	void (*sent)(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, uint64_t now_us);
	bool paced; /* sets pacing_rate, and cwnd as it likes: restarts and recovery leave it */
	bool state; /* needs cc_state from the start */
	bool block; /* needs a block of TCP_CC_BLOCK_BYTES */
};
extern const struct tcp_cc_ops tcp_cc_newreno;
extern const struct tcp_cc_ops tcp_cc_cubic;
extern const struct tcp_cc_ops tcp_cc_dctcp;
extern const struct tcp_cc_ops tcp_cc_bbr;
extern const struct tcp_cc_ops tcp_cc_plugin;
extern const struct tcp_cc_ops tcp_cc_agent;

enum {
	TCP_CWND_MAX_BYTES = 1 << 30, /* the largest window there is (RFC 7323 section 2.3) */
	TCP_CC_BLOCK_BYTES = 4096,
	TCP_CC_BURST_SEGMENTS = 8, /* RFC 9406 section 4.3 L; RFC 3465 section 2.3 says 2 */
};

const struct tcp_cc_ops *tcp_cc_of(const struct tcp_conn *c);

/* The table's name by number, NULL if there is none; and the number by name, -1. */
const char *tcp_cc_name(unsigned int id);
/* The same, but a plug-in's and an agent's are their own; NULL also if there is none. */
const char *tcp_cc_name_in(const struct tcp_config *cfg, unsigned int id);
int tcp_cc_find(const char *name);

/* RFC 6928 section 2: ten segments; one after a SYN that was lost more than once. Bytes. */
uint32_t tcp_cc_initial_window(const struct tcp_conn *c);

/* The connection is about to be established: cwnd = initial window, no threshold. */
void tcp_cc_start(struct tcp_ctx *ctx, struct tcp_conn *c);

/* The connection ends: gives back its block. */
void tcp_cc_stop(struct tcp_ctx *ctx, struct tcp_conn *c);

/* Its block; NULL if it has none. */
void *tcp_cc_block(const struct tcp_ctx *ctx, const struct tcp_conn *c);

/* cwnd and ssthresh stay, what the algorithm remembered goes. Before the connection is
 * established it only says which one it will be. */
void tcp_cc_switch(struct tcp_ctx *ctx, struct tcp_conn *c, enum tcp_cc_id id);

/* Sets ssthresh for what has happened with `flight_bytes` in flight; cwnd stays. */
void tcp_cc_backoff(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why);

/* The last tcp_cc_backoff() was a mistake; the caller restores cwnd and ssthresh. */
void tcp_cc_undo(struct tcp_ctx *ctx, struct tcp_conn *c);

/* Something was acknowledged outside recovery; `used`: cwnd was what limited the sender. */
void tcp_cc_acked(
	struct tcp_ctx *ctx, struct tcp_conn *c, bool used, uint32_t acked_bytes, uint64_t now_us);

/* The same, of every ACK that acknowledges something new, if the algorithm asked for it. */
void tcp_cc_observe(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes, uint64_t now_us);

void tcp_cc_sent(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, uint64_t now_us);

/* Nothing was sent for longer than a time-out. */
void tcp_cc_idle(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* validate.c, with TCP_F_EXTRA: silence; ssthresh was set, and may be too high; it was for nothing,
 * or was set anew. */
void tcp_validate_idle(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
void tcp_validate_congested(
	const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why);
void tcp_validate_undone(const struct tcp_ctx *ctx, struct tcp_conn *c);

/* For algorithms, in slow start: cwnd grows by what was acknowledged, at most TCP_CC_BURST_SEGMENTS
 * an ACK, and not beyond ssthresh: with a small window that would be a good part of the back-off.
 */
static inline uint32_t tcp_cc_slow_start_bytes(const struct tcp_conn *c, uint32_t acked_bytes)
{
	uint32_t most = TCP_CC_BURST_SEGMENTS * (uint32_t)c->snd_mss_bytes;
	uint32_t left = c->ssthresh - c->cwnd;

	if (acked_bytes < most)
		most = acked_bytes;
	return most < left ? most : left;
}

#endif
