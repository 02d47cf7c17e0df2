/* Congestion control of mtcpd by another process, the agent.
 *
 * The agent connects to the Unix socket mtcpd-agent.sock (SOCK_SEQPACKET) in mtcpd's runtime
 * directory and sends a struct mtcp_agent_hello; mtcpd answers with one, or closes. From then on
 * mtcpd sends reports and the agent orders: each packet is an array of one to MTCP_AGENT_BATCH of
 * them. All numbers are the machine's own; reserved fields are 0.
 *
 * Every report wants an answer within eight round trips (and at least 100 ms), be it the order of
 * before: a connection whose agent is silent goes on with CUBIC until the agent is heard again. An
 * order names the report that it answers; one that answers a report of before the last back-off is
 * ignored. A packet that breaks these rules ends the connection to the agent. Reports that the
 * agent does not take are not queued without bound: they are summed up in the next one that it
 * does.
 *
 * This header needs nothing else.
 */
#ifndef MTCP_AGENT_H
#define MTCP_AGENT_H

#include <stdint.h>

#define MTCP_AGENT_SOCKET "mtcpd-agent.sock" /* in the runtime directory, /run/mtcpd */

enum {
	MTCP_AGENT_MAGIC = 0x6d746361, /* "mtca" */
	MTCP_AGENT_VERSION = 1,	       /* changes with any of this */
	MTCP_AGENT_BATCH = 64,
};

enum mtcp_agent_type {
	MTCP_AGENT_HELLO = 1,
	MTCP_AGENT_REPORT,
	MTCP_AGENT_CLOSE, /* a report of which only `flow` counts: it is no more */
	MTCP_AGENT_ORDER,
};

struct mtcp_agent_hello {
	uint16_t type; /* MTCP_AGENT_HELLO */
	uint16_t version;
	uint32_t magic;
	/* mtcpd's; the agent's are 0. */
	uint32_t engines;     /* flows live on engines 0 ... engines - 1 ... */
	uint32_t slots;	      /* ... in slots 0 ... slots - 1 of each */
	uint32_t interval_us; /* least time between two reports of a flow */
	uint32_t reserved;
	char name[16]; /* what programs call it with TCP_CONGESTION */
};

/* A flow's number is never used again, and no two flows have the same engine and slot at the same
 * time: what is known of an older flow in the same place is out of date. */
static inline uint32_t mtcp_agent_slot(uint64_t flow)
{
	return flow & 0xffffff;
}
static inline uint32_t mtcp_agent_engine(uint64_t flow)
{
	return flow >> 24 & 0xff;
}

enum mtcp_agent_event {
	MTCP_AGENT_NEW = 1 << 0,     /* the first report of this flow */
	MTCP_AGENT_LOSS = 1 << 1,    /* something was lost, fast recovery has begun */
	MTCP_AGENT_ECN = 1 << 2,     /* the network has marked something */
	MTCP_AGENT_TIMEOUT = 1 << 3, /* a retransmission time-out; CUBIC governs now */
	MTCP_AGENT_UNDO = 1 << 4,    /* the last of these was a mistake, the window is restored */
	MTCP_AGENT_SILENCE = 1 << 5, /* no order came in time; CUBIC governs now */
};

enum mtcp_agent_report_flag {
	MTCP_AGENT_GOVERNED = 1 << 0, /* by the agent's orders, not CUBIC */
	MTCP_AGENT_RECOVERY = 1 << 1, /* cwnd is loss recovery's for now */
};

/* What is counted is of the time since the flow's report before this one. */
struct mtcp_agent_report {
	uint16_t type;	 /* MTCP_AGENT_REPORT or _CLOSE */
	uint16_t events; /* enum mtcp_agent_event */
	uint32_t seq;	 /* of the flow: 1, 2, ... */
	uint64_t flow;
	uint64_t now_us; /* CLOCK_MONOTONIC */
	uint64_t acked_bytes;
	uint64_t delivered_bytes; /* acknowledged or SACKed for the first time */
	uint64_t lost_bytes;	  /* sent again */
	uint64_t marked_bytes;	  /* acknowledged with ECE */
	uint64_t delivery_rate;	  /* bytes a second, the highest seen; 0: not known */
	uint64_t unsent_bytes;	  /* waiting in the send buffer, now */
	uint32_t rtt_us;	  /* the last sample; 0: none */
	uint32_t rtt_least_us;	  /* the least; 0: none */
	uint32_t srtt_us;	  /* smoothed; 0: not known, and the next */
	uint32_t min_rtt_us;	  /* of the flow's life */
	uint32_t inflight_bytes;  /* neither SACKed nor given up, now */
	uint32_t sacked_bytes;	  /* beyond what is acknowledged, now */
	uint32_t cwnd_bytes;	  /* now */
	uint32_t ssthresh_bytes;  /* where ACKs will bring it: the last order, or less */
	uint32_t pacing_rate;	  /* bytes a second; 0: not paced */
	uint32_t mss_bytes;
	uint16_t flags; /* enum mtcp_agent_report_flag */
	uint16_t local_port;
	uint16_t remote_port;
	uint16_t reserved;
	uint8_t local[16], remote[16]; /* IPv6, or IPv4 as ::ffff:a.b.c.d */
};

enum mtcp_agent_order_flag {
	/* The agent backs off for loss and marks; else CUBIC does, and the agent may correct it. */
	MTCP_AGENT_KEEP = 1 << 0,
};

struct mtcp_agent_order {
	uint16_t type;	/* MTCP_AGENT_ORDER */
	uint16_t flags; /* enum mtcp_agent_order_flag */
	uint32_t seq;	/* of the report that it answers */
	uint64_t flow;
	uint64_t pacing_rate; /* bytes a second; 0: not paced */
	/* Bytes; at least two segments. Less than the window takes effect at once; more as ACKs
	 * come, which at most double the window in a round trip. In recovery it is where that ends.
	 */
	uint32_t cwnd_bytes;
	uint32_t reserved;
};

#ifndef __cplusplus
_Static_assert(sizeof(struct mtcp_agent_hello) == 40, "as on the socket");
_Static_assert(sizeof(struct mtcp_agent_report) == 152, "as on the socket");
_Static_assert(sizeof(struct mtcp_agent_order) == 32, "as on the socket");
#endif

#endif
