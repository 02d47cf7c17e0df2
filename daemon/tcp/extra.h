/* What a connection needs only once it is in trouble, in bulk or set up in a special way.
 *
 * A connection that exchanges requests and responses, or is idle, has none of this and pays four
 * bytes. The block is allocated at the first use of anything in it and lives until the
 * connection closes:
 *
 *   - congestion control, once cwnd has limited the sender or was reduced;
 *   - loss recovery: probes, reordering, duplicates, and the counts of what was lost;
 *   - the engine's numbers of the scoreboard, the reassembly and the congestion control's block;
 *   - what a round trip delivers, and how much of the window that uses;
 *   - pacing; socket options that are not the configuration's.
 *
 * Reading needs no block: tcp_extra() of a connection without one gives the values that
 * all begin with. Writing does: tcp_extra_make() gives NULL, and counts it, when memory is out.
 * Then the connection goes on with less: congestion control is NewReno's, SACK and DSACK are not
 * used, pacing is off, an option is refused, a loss is not counted.
 */
#ifndef TCP_EXTRA_H
#define TCP_EXTRA_H

#include <tcp/conn.h>

/* What congestion control remembers; only the algorithm in force makes sense of it. */
struct tcp_hystart {	    /* cc_hystart.c */
	uint32_t round_end; /* low bits of the position that ends the round */
	uint32_t last_min_rtt_us, curr_min_rtt_us;
	uint32_t css_baseline_us;
	uint8_t samples;    /* of this round */
	uint8_t css_rounds; /* 0: not in conservative slow start */
	uint16_t pad;
};
struct tcp_cubic_avoid {
	uint32_t w_max;	   /* bytes: the plateau */
	uint32_t epoch_ms; /* our clock; 0: to be begun */
	uint32_t k_ms;
	uint32_t w_est; /* bytes: what Reno would have */
};
struct tcp_cubic { /* cc_cubic.c */
	union {
		struct tcp_hystart first; /* until the first slow start is over */
		struct {
			struct tcp_cubic_avoid avoid, undo;
			uint32_t cwnd_prior; /* bytes, before the last back-off */
			uint32_t est_acked;  /* bytes acknowledged towards the next step of w_est */
		};
	};
};
struct tcp_dctcp { /* cc_dctcp.c; the first two are the receiver's, ecn.c */
	uint64_t old_ack_pos;
	uint32_t old_ack_ece;
	uint32_t alpha;
	uint32_t window_end; /* low bits of the position that ends the observation */
	uint32_t acked_bytes, marked_bytes;
};
union tcp_cc_state {
	struct tcp_cubic cubic;
	struct tcp_dctcp dctcp;
	uint64_t word[5];
};
static_assert(sizeof(union tcp_cc_state) == 40, "fits the block");

/* trip.c: what the network delivers in a round trip; low bits of positions, bytes. */
enum tcp_trip_flag {
	TCP_TRIP_RUNS = 1 << 0,
	TCP_TRIP_OPEN = 1 << 1,		/* it began with nothing in flight; no ACK has come since */
	TCP_TRIP_LIMITED = 1 << 2,	/* by the application, when it began or in the one before */
	TCP_TRIP_NEXT_LIMITED = 1 << 3, /* so will the next be */
	TCP_TRIP_RATE_LIMITED = 1 << 4, /* so was the one whose rate is kept */
};
struct tcp_trip {
	uint32_t end_low;	/* an ACK of it or more ends the trip */
	uint32_t since_us;	/* low 32 bits of the clock */
	uint32_t delivered_low; /* by then */
	uint32_t flags;		/* enum tcp_trip_flag */
	uint32_t rate_bytes;	/* delivered in ... */
	uint32_t rate_us;	/* 0: no sample yet */
};

/* validate.c: RFC 7661. */
enum {
	TCP_PIPE_PARTS = 4,
};
enum tcp_validate_flag {
	TCP_VALIDATE_KNOWN = 1 << 0, /* there is a pipeACK */
	TCP_VALIDATE_NOT = 1 << 1,   /* it is less than half of cwnd */
	TCP_VALIDATE_PACED = 1 << 2, /* TCP_F_PACED is because of that */
};
struct tcp_validate {
	uint32_t pipe[TCP_PIPE_PARTS]; /* largest samples of parts of the period, latest first */
	uint32_t part_ms;	       /* when the latest began */
	uint32_t valid_ms;	       /* pipeACK was last enough, or the window was halved */
	uint32_t loss_bytes;   /* max(pipeACK, LossFlightSize) of this recovery; 0: validated */
	uint32_t resent_bytes; /* R */
	uint32_t flags;	       /* enum tcp_validate_flag */
	uint32_t pad;
};

struct tcp_extra {
	union tcp_cc_state cc_state;

	/* Loss recovery. */
	uint32_t dsack_start_seq; /* received twice, for our next ACK (RFC 2883) */
	uint32_t dsack_end_seq;
	uint32_t tlp_seq;	/* SND.NXT behind the probe */
	uint32_t reo_round_seq; /* a DSACK counts again from here on */
	uint32_t cwr_seq;	/* end of what was sent when a mark was answered */
	uint8_t reo_mult;	/* reordering window, quarters of the least round trip */
	uint8_t reo_persist;	/* recoveries until it is one again */

	/* Socket options; 0: the configuration's, or none. */
	uint16_t maxseg;	  /* TCP_MAXSEG: bounds snd_mss_bytes and what our SYN says */
	uint32_t user_timeout_ms; /* RFC 5482 */
	uint32_t stalled_ms;	  /* of the first time-out or probe without an answer; 0: none */
	uint16_t keepidle_s;
	uint16_t keepintvl_s;
	uint8_t keepcnt; /* probes before it is given up */
	uint8_t syncnt;
	uint8_t linger2_s;
	uint8_t mtu_fails; /* of the probe's size, or that the search is over */

	/* What TCP_INFO tells. */
	uint32_t retrans_segs;
	uint32_t retrans_bytes;
	uint32_t rcv_ooo_segs; /* received out of order */
	uint32_t dsack_dups;   /* DSACKs received */
	uint32_t reord_seen;   /* times that reordering was seen */
	uint32_t marked_bytes; /* acknowledged with ECE */
	uint32_t
		rto_since_ms; /* the first time-out of a row, nothing acknowledged since; 0: none */
	uint32_t rto_total_ms; /* spent so */
	uint16_t rtos, rto_rows;
	uint32_t data_segs_in, data_segs_out; /* repetitions counted */

	struct tcp_trip trip;
	struct tcp_validate validate;

	/* pace.c */
	uint32_t pacing_rate; /* bytes a second; 0: not known, UINT32_MAX: no limit */
	uint32_t pace_at_us;  /* low 32 bits of the clock: until then is taken */

	/* mtu.c, with TCP_L_MTU; payload bytes */
	uint16_t mtu_top;  /* snd_mss_bytes before it had to shrink; 0: it did not */
	uint16_t mtu_high; /* what may still pass */
	union {
		uint32_t mtu_seq;      /* TCP_L_MTU_OUT */
		uint32_t mtu_again_ms; /* the search is over: when it begins again */
	};
	uint16_t mtu_bytes; /* TCP_L_MTU_OUT: size of the probe */
	uint16_t pad;

	/* The engine's: tcp/ neither reads nor writes them. */
	uint32_t reasm_idx;
	uint32_t score_idx;
	uint32_t cc_idx;
	uint32_t limit; /* what the sender waits for, info.c ... */
	uint64_t limit_since_us;
	uint64_t busy_us, rwnd_limited_us, sndbuf_limited_us;
};
static_assert(sizeof(struct tcp_extra) == 256, "four lines; size is part of the arena's layout");

extern const struct tcp_extra tcp_extra_none;

/* To read; the block of a connection that has none is tcp_extra_none. */
static inline const struct tcp_extra *tcp_extra(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_EXTRA) ? ctx->ops->extra_get(ctx->ops_arg, c)
					    : &tcp_extra_none;
}

/* To write what matters only if it is there: NULL if it is not. */
static inline struct tcp_extra *tcp_extra_have(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_EXTRA) ? ctx->ops->extra_get(ctx->ops_arg, c) : NULL;
}

/* To write; NULL: memory is out. */
struct tcp_extra *tcp_extra_make(struct tcp_ctx *ctx, struct tcp_conn *c);

/* -- segments with data ----------------------------------------------------------------------
 *
 * Few are counted where the number of the block would stand; the block takes them over. Who
 * sends or receives more than 65535 gets one for that; without memory the count stays there.
 */

/* What the two below leave. */
void tcp_data_segs_many(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t in, uint32_t out);

static inline void tcp_data_seg_in(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	if (!tcp_conn_has(c, TCP_F_EXTRA) && c->data_segs.in < UINT16_MAX)
		c->data_segs.in++;
	else
		tcp_data_segs_many(ctx, c, 1, 0);
}

static inline void tcp_data_segs_out(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t segs)
{
	if (!tcp_conn_has(c, TCP_F_EXTRA) && c->data_segs.out + segs <= UINT16_MAX)
		c->data_segs.out = (uint16_t)(c->data_segs.out + segs);
	else
		tcp_data_segs_many(ctx, c, 0, segs);
}

#endif
