/* Congestion control off the path: another process, the agent, sets the window.
 *
 * A connection sums up what happens to it and reports that once a round trip at most, and at once
 * when it backs off; the agent answers with an order: a window and, if it likes, a pacing rate.
 * Nothing here waits for an answer, and nothing an agent says can do more than change how fast
 * this connection sends:
 *
 *   - An order sets ssthresh, which is where acknowledgements bring cwnd to (at most doubling it in
 *     a round trip), and takes what cwnd has beyond. So idle restarts, PRR and time-outs, which
 *     make cwnd smaller, need not know of agents.
 *   - CUBIC says how far to back off, unless the agent has asked to be left to it
 *     (TCP_AGENT_KEEP); after a time-out always, and CUBIC governs until the next order.
 *   - An order names the report that it answers. One that answers a report of before the last
 *     back-off is too late to count.
 *   - An agent that has not answered for TCP_AGENT_PATIENCE_RTTS, or is gone, is done without:
 *     CUBIC goes on from what is in flight. Reports go on too (to the next agent, if there is
 *     another), and the first order that answers one of these brings the agent back.
 *
 *     CUBIC's -----order----> the agent's -----time-out, silence, another agent----> CUBIC's
 *
 * An agent is known by its epoch, a number that the caller sets in tcp_ctx.agent_epoch: 0 when
 * there is none. State lies in the block of congestion control, CUBIC's in cc_state as ever.
 */
#ifndef TCP_CC_AGENT_H
#define TCP_CC_AGENT_H

#include <tcp/cc.h>
#include <tcp/cc_rate.h>

enum {
	TCP_AGENT_PATIENCE_RTTS = 8,
	TCP_AGENT_PATIENCE_MIN_US = 100000, /* it may have to wait for a CPU */
};

/* Of a report. */
enum tcp_agent_event {
	TCP_AGENT_NEW = 1 << 0,	    /* the first report of this connection to this agent */
	TCP_AGENT_LOSS = 1 << 1,    /* fast recovery has begun */
	TCP_AGENT_ECN = 1 << 2,	    /* a congestion mark was answered */
	TCP_AGENT_TIMEOUT = 1 << 3, /* a retransmission time-out */
	TCP_AGENT_UNDO = 1 << 4,    /* the last of these was for nothing: cwnd is as it was */
	TCP_AGENT_SILENCE = 1 << 5, /* no order came in time: CUBIC governs */
};

struct tcp_agent_report {
	uint32_t seq;	 /* of this connection: 1, 2, ... */
	uint32_t events; /* enum tcp_agent_event, since the last report */
	uint64_t now_us;
	uint64_t acked_bytes, delivered_bytes, lost_bytes, marked_bytes; /* the same */
	uint64_t delivery_rate;	       /* bytes a second, the highest; 0: none known */
	uint32_t rtt_us, rtt_least_us; /* last and least sample; 0: none */
	bool governed;		       /* by the agent's last order */
};

/* Of an order. */
enum tcp_agent_flag {
	TCP_AGENT_KEEP = 1 << 0, /* do not back off for loss and marks: the agent will */
	TCP_AGENT_FLAGS = TCP_AGENT_KEEP,
};

struct tcp_agent_order {
	uint32_t seq;	      /* of the report that it answers */
	uint32_t flags;	      /* enum tcp_agent_flag */
	uint64_t cwnd;	      /* bytes; held between two segments and TCP_CWND_MAX_BYTES */
	uint64_t pacing_rate; /* bytes a second, at least a segment's; 0: the window alone */
};

/* For a connection whose congestion control this is; the order may be anything. Returns events. */
uint32_t tcp_agent_order(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_agent_order *o, uint64_t now_us);

/* Does the agent's order set the pacing rate? Is a back-off left to it? */
bool tcp_agent_paces(const struct tcp_ctx *ctx, const struct tcp_conn *c);
bool tcp_agent_keeps(const struct tcp_ctx *ctx, const struct tcp_conn *c);

#endif
