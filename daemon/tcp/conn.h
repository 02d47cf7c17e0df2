/* The control block of a connection.
 *
 * Pointer-free and fixed width, so that it can live in an arena that outlives the process.
 * Only tcp/ writes it, except the group at the end, which is the engine's alone, but for the last
 * field: it is set up after tcp_connect() or tcp_promote(), which leave it as it is.
 *
 * What only few connections need is in struct tcp_extra (extra.h), so that an idle connection
 * and one that asks and answers pay four cache lines.
 *
 * Send side. Positions count data bytes; the SYN has none and the FIN takes the position
 * behind the last byte:
 *
 *       0 ....... snd_una_pos ....... snd_nxt ......... snd_max ......... snd_end_pos
 *       acknowledged |   in flight        |  sent once, to be  |  not yet sent  |
 *                    |                    |  sent again        |                |
 *
 *   - snd_una_pos <= snd_end_pos always: it counts data only. That the FIN was acknowledged
 *     is TCP_F_FIN_ACKED. tcp_conn_una() is the sum.
 *   - snd_nxt and snd_max are snd_end_pos + 1 when the FIN was sent.
 *   - snd_nxt goes back to una at a time-out; snd_max never goes back.
 *   - sequence number = iss + 1 + (uint32_t)position.
 *
 * Receive side:
 *
 *       0 ............ rcv_nxt_pos ................. rcv_edge
 *          received         |      window promised       |  not yet
 *
 *   - rcv_nxt_pos counts data only; that the peer's FIN was reached is TCP_F_FIN_RCVD.
 *   - rcv_edge is the edge as the peer computes it from the scaled window of our last
 *     segment; it never goes back.
 *
 * snd_nxt, snd_max and rcv_edge lie less than 2^32 past una or rcv_nxt: their low halves are kept
 * (`_low`), and tcp_conn_snd_nxt() and its likes tell the positions.
 *
 * There is one deadline in the entry, the earliest of three (conn_timer.c): `send_at`
 * (retransmission and what comes before it, or probing a closed window, or a withheld tail),
 * `ack_at` (delayed ACK) and `life_at_ms` (keepalive, FIN-WAIT-2 of an orphan, 2 MSL). 0 is
 * "not running"; the first two are low halves of the clock in microseconds.
 */
#ifndef TCP_CONN_H
#define TCP_CONN_H

#include <tcp/seq.h>
#include <tcp/tcp.h>

#define TCP_NEVER UINT64_MAX

/* What the next tcp_output() must send, other than data the window allows. */
enum tcp_owe {
	TCP_OWE_ACK = 1 << 0,
	TCP_OWE_SYN = 1 << 1,	    /* SYN or SYN|ACK, by state */
	TCP_OWE_RST = 1 << 2,	    /* the connection is CLOSED already; its last segment */
	TCP_OWE_STRAY_RST = 1 << 3, /* RST at stray_rst_seq; the connection stays */
	TCP_OWE_REXMIT = 1 << 4,    /* one segment at una (fast retransmission, partial ACK) */
	TCP_OWE_PROBE = 1 << 5,	    /* one byte, or the FIN, past a closed window */
	TCP_OWE_KEEPALIVE = 1 << 6,
	TCP_OWE_TAIL = 1 << 7,	   /* what Nagle, cork or a small window held back */
	TCP_OWE_TLP = 1 << 8,	   /* a tail loss probe */
	TCP_OWE_OLD_ACK = 1 << 12, /* of what came before the mark changed (ecn.c) */
};

enum tcp_conn_flag {
	TCP_F_NODELAY = 1 << 0,
	TCP_F_CORK = 1 << 1,
	TCP_F_KEEPALIVE = 1 << 2,
	TCP_F_MORE = 1 << 3,	  /* the last tcp_send() said that more follows */
	TCP_F_SHUT = 1 << 4,	  /* a FIN belongs behind snd_end_pos */
	TCP_F_FIN_ACKED = 1 << 5, /* our FIN was acknowledged */
	TCP_F_FIN_RCVD = 1 << 6,  /* the peer's FIN was reached in order */
	TCP_F_ORPHAN = 1 << 7,
	TCP_F_TS = 1 << 8,	      /* timestamps on, both ways */
	TCP_F_WSCALE = 1 << 9,	      /* window scaling on, both ways */
	TCP_F_PASSIVE = 1 << 10,      /* made from a half-open entry */
	TCP_F_RECOVERY = 1 << 11,     /* fast recovery (RFC 6582) */
	TCP_F_RECOVER_SET = 1 << 12,  /* recover_seq means something: una has not passed it */
	TCP_F_PARTIAL_ACK = 1 << 13,  /* the first partial ACK of this recovery has come */
	TCP_F_RTT_TIMED = 1 << 14,    /* rtt_seq, rtt_sent_us are in use (Karn) */
	TCP_F_CWND_LIMITED = 1 << 15, /* the last output stopped at cwnd */
	TCP_F_SACK = 1 << 16,	      /* SACK permitted, both ways */
	TCP_F_REASM = 1 << 17,	      /* there is a reassembly block */
	TCP_F_DSACK = 1 << 18,	      /* dsack_start_seq, dsack_end_seq are to be reported */
	TCP_F_COOKIE = 1 << 19,	      /* made from a cookie, whose timestamp is not exact */
	TCP_F_EXTRA = 1 << 20,	      /* there is a struct tcp_extra */
	TCP_F_FASTOPEN = 1u << 31,    /* before ESTABLISHED: RFC 7413, fastopen.h */
	TCP_F_CC_BLOCK = 1 << 21,     /* the congestion control has a block of its own */
	TCP_F_PACED = 1 << 22,	      /* pace.c */
	TCP_F_PACE_HOLD = 1 << 23,    /* no new data before pace_at_us */
	TCP_F_CC_WATCH = 1 << 24,     /* the congestion control wants to see every ACK */
	TCP_F_ECE_NOW = 1 << 25,      /* the last ACK had ECE */
	TCP_F_CWR_WINDOW = 1 << 26,   /* we have answered a mark; nothing behind cwr_seq is acked */
	TCP_F_CWR_OWED = 1 << 27,     /* the next new segment says CWR */
	TCP_F_ECN_ECHO = 1 << 28,     /* our ACKs say ECE */
	TCP_F_ECN = 1 << 29,	      /* agreed upon: RFC 3168 */
	TCP_F_CC_UNUSED = 1 << 30,    /* cwnd was not what limited us since cc was last told */
};

/* Where SACK-based loss recovery stands (recovery.c); in `loss`. */
enum tcp_loss_flag {
	TCP_L_SCORE = 1 << 0,	   /* there is a scoreboard */
	TCP_L_BLIND = 1 << 1,	   /* there is none, and when the flight was sent is not known */
	TCP_L_RTO = 1 << 2,	   /* after a time-out, until recover_seq; with the board only */
	TCP_L_FRTO = 1 << 3,	   /* new data goes first: RFC 5682 section 3.1 step 2b */
	TCP_L_PTO = 1 << 4,	   /* send_at is the probe time-out: RFC 8985 section 7 */
	TCP_L_REO = 1 << 5,	   /* send_at ends the reordering window: section 6 */
	TCP_L_REORDERING = 1 << 6, /* the path reorders: section 6.2 step 3 */
	TCP_L_TLP_OUT = 1 << 7,	   /* a probe is out, up to tlp_seq */
	TCP_L_TLP_NEW = 1 << 8,	   /* and it was new data */
	TCP_L_MTU = 1 << 9,	   /* segments are smaller than they might be (mtu.c) */
	TCP_L_MTU_OUT = 1 << 10,   /* a probe of the path MTU is out, from mtu_seq on */
	TCP_L_MTU_ALONE = 1 << 15, /* and less than a segment was there to follow it */

	/* Of nothing but interest to TCP_INFO; there is room for them here. */
	TCP_L_SEEN_ECT = 1 << 11,	/* a segment with data was ECN-capable */
	TCP_L_SYN_DATA = 1 << 12,	/* a SYN's data was taken, the peer's or ours */
	TCP_L_FASTOPEN_FAIL_SHIFT = 13, /* two bits: Linux's enum tcp_fastopen_client_fail */
};

struct tcp_conn {
	struct tcp_entry entry;
	uint64_t snd_una_pos;

	/* Input: where the peer's stream stands. */
	uint64_t rcv_nxt_pos;
	uint64_t snd_end_pos;
	uint32_t rcv_edge_low; /* this and the next two: tcp_conn_rcv_edge() and so on */
	uint32_t snd_max_low;  /* highest ever sent, exclusive */
	uint32_t snd_nxt_low;
	uint32_t irs;
	uint32_t iss;
	uint32_t flags;		/* enum tcp_conn_flag */
	uint32_t snd_wnd;	/* bytes, already scaled */
	uint32_t snd_wl1;	/* seq of the segment of the last window update */
	uint32_t ts_recent;	/* RFC 7323 section 4.3 */
	uint32_t last_ack_sent; /* RFC 7323 Last.ACK.sent */
	uint8_t state;		/* enum tcp_state; written by tcp_conn_set_state() alone */
	uint8_t snd_wscale : 4; /* the peer's shift: windows we receive */
	uint8_t rcv_wscale : 4; /* ours: windows we send */
	uint8_t cc : 3;		/* index of the congestion control, cc.h */
	uint8_t quick_acks : 5; /* this many ACKs more are not delayed */
	uint8_t dupacks;
	uint8_t dup_acks_owed;	  /* for segments out of order, each its own (RFC 5681) */
	uint8_t backoff;	  /* doublings of the RTO or of the probe interval */
	uint8_t retries;	  /* time-outs or probes since the last sign of life */
	uint8_t keepalive_probes; /* unanswered */

	/* Output and timers. */
	uint16_t owe;		/* enum tcp_owe */
	uint16_t loss;		/* enum tcp_loss_flag */
	uint16_t rcv_mss_bytes; /* largest segment seen: what "full-sized" means */
	uint16_t snd_mss_bytes; /* payload per segment: the peer's MSS less our options */
	uint32_t cwnd;		/* bytes */
	uint32_t ssthresh;	/* bytes */
	uint32_t snd_wnd_max;	/* largest window the peer ever offered, bytes */
	uint32_t small_seq;	/* end of the last segment below the MSS (Minshall) */
	uint32_t rtt_seq;	/* an ACK at or past it ends the measurement */
	uint32_t rtt_sent_us;	/* low 32 bits of the clock */
	uint32_t srtt_us;
	uint32_t rttvar_us;
	uint32_t rto_us;     /* without back-off */
	uint32_t rtt_min_us; /* smallest sample; UINT32_MAX: none */
	uint32_t send_at;
	uint32_t ack_at;
	uint32_t life_at_ms;
	uint32_t ts_offset;

	/* Cold, most of it. */
	uint32_t last_rx_ms;
	uint32_t last_tx_ms; /* data only: RFC 5681 section 4.1 */
	uint32_t segs_in;
	uint32_t segs_out;
	uint32_t cwnd_acked;   /* bytes acknowledged towards the next increase */
	uint32_t challenge_ms; /* last challenge ACK; 0: none */
	union {
		uint32_t recover_seq;	/* RFC 6582 recover: snd_max at the last loss */
		uint32_t stray_rst_seq; /* TCP_OWE_STRAY_RST, before anything can be lost */
	};
	uint32_t last_data_ms; /* received, in order */
	union {
		uint8_t error;	    /* CLOSED: positive errno; 0: none */
		uint8_t soft_error; /* before: errno from ICMP, should the connection time out */
	};
	uint8_t cc_phase; /* the congestion control's own */

	/* The engine's: tcp/ neither reads nor writes them. */
	uint16_t due_flags;
	uint32_t owner;
	uint32_t rxq_head;
	uint32_t rxq_tail;
	uint32_t txq_head;
	uint32_t txq_tail;
	uint32_t due_next;
	union {
		uint32_t extra_idx; /* with TCP_F_EXTRA: struct tcp_extra */
		struct {
			uint16_t in, out; /* else: what tcp/ counts for it, extra.h */
		} data_segs;
	};
};
static_assert(sizeof(struct tcp_conn) == 256, "size is part of the arena's layout");
static_assert(offsetof(struct tcp_conn, rcv_nxt_pos) == 64 &&
		      offsetof(struct tcp_conn, owe) == 128 &&
		      offsetof(struct tcp_conn, last_rx_ms) == 192,
	"the groups are cache lines");
static_assert(offsetof(struct tcp_conn, due_flags) == 226, "the engine's group is last");

static inline bool tcp_conn_has(const struct tcp_conn *c, uint32_t flag)
{
	return c->flags & flag;
}

/* All data handed over, and the FIN if there is one to send. */
static inline uint64_t tcp_conn_end(const struct tcp_conn *c)
{
	return c->snd_end_pos + tcp_conn_has(c, TCP_F_SHUT);
}

static inline uint64_t tcp_conn_una(const struct tcp_conn *c)
{
	return c->snd_una_pos + tcp_conn_has(c, TCP_F_FIN_ACKED);
}

/* The position at or behind `base_pos` that has these low bits. */
static inline uint64_t tcp_pos_from(uint64_t base_pos, uint32_t low)
{
	return base_pos + (uint32_t)(low - (uint32_t)base_pos);
}

static inline uint64_t tcp_conn_snd_nxt(const struct tcp_conn *c)
{
	return tcp_pos_from(c->snd_una_pos, c->snd_nxt_low);
}

static inline uint64_t tcp_conn_snd_max(const struct tcp_conn *c)
{
	return tcp_pos_from(c->snd_una_pos, c->snd_max_low);
}

static inline uint64_t tcp_conn_rcv_edge(const struct tcp_conn *c)
{
	return tcp_pos_from(c->rcv_nxt_pos, c->rcv_edge_low);
}

/* How much of the data was sent at least once; the FIN's position does not count. */
static inline uint64_t tcp_conn_sent(const struct tcp_conn *c)
{
	uint64_t max = tcp_conn_snd_max(c);

	return max < c->snd_end_pos ? max : c->snd_end_pos;
}

/* RFC 5681 FlightSize, as far as it is not given up for lost. */
static inline uint64_t tcp_conn_flight(const struct tcp_conn *c)
{
	return tcp_conn_snd_nxt(c) - tcp_conn_una(c);
}

/* SYN-RECEIVED with data in it: what the user says may go before the handshake has ended, unless
 * it turns out to be a slow one (RFC 7413 section 4.2.2). */
static inline bool tcp_conn_early(const struct tcp_conn *c)
{
	return c->state == TCP_SYN_RECEIVED && tcp_conn_has(c, TCP_F_FASTOPEN) && c->backoff == 0;
}

static inline bool tcp_conn_loss(const struct tcp_conn *c, uint32_t flag)
{
	return c->loss & flag;
}

/* Fast recovery, or recovery after a time-out. */
static inline bool tcp_conn_in_episode(const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_RECOVERY) || tcp_conn_loss(c, TCP_L_RTO);
}

static inline uint32_t tcp_conn_snd_seq(const struct tcp_conn *c, uint64_t pos)
{
	return c->iss + 1 + (uint32_t)pos;
}

static inline uint32_t tcp_conn_una_seq(const struct tcp_conn *c)
{
	return tcp_conn_snd_seq(c, tcp_conn_una(c));
}

/* Does `ack` acknowledge our SYN, and no more than was sent with it? */
static inline bool tcp_conn_acks_syn(const struct tcp_conn *c, uint32_t ack)
{
	return ack - (c->iss + 1) <= tcp_conn_snd_max(c);
}

/* RFC 9293 RCV.NXT: what we acknowledge. */
static inline uint32_t tcp_conn_rcv_nxt(const struct tcp_conn *c)
{
	return c->irs + 1 + (uint32_t)c->rcv_nxt_pos + tcp_conn_has(c, TCP_F_FIN_RCVD);
}

/* RFC 9293 RCV.WND, bytes: what the peer may still send. */
static inline uint32_t tcp_conn_rcv_wnd(const struct tcp_conn *c)
{
	return c->rcv_edge_low - (uint32_t)c->rcv_nxt_pos;
}

/* The retransmission time-out in force, backed off (RFC 6298 section 5.5). */
uint64_t tcp_conn_rto_us(const struct tcp_ctx *ctx, const struct tcp_conn *c);

/* Headers of IP and TCP with our options: what a segment's payload lacks of a packet. */
uint32_t tcp_mtu_overhead(const struct tcp_conn *c);

#endif
