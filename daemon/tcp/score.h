/* What is in flight, piece by piece: which bytes were sent when, SACKed, given up for lost, sent
 * again. RFC 6675 calls it scoreboard; RFC 8985 needs the times.
 *
 *     una0                                                        end
 *      | rec 0: sent at t0 | rec 1: SACKed | rec 2: lost | rec 3 .. |
 *
 * A record is a run of positions with the same story, and begins where the one before it ends; the
 * FIN counts as the position behind the data. What was sent in one turn of the engine is one
 * record. Neighbours that are SACKed, or lost, need no times and become one. So a block of fixed
 * size goes a long way, and when it is full, neighbours that were sent at nearly the same time
 * become one with the later of their times: a loss is then found a little later, never wrongly.
 * SACKs that would need the last few records are refused (the peer repeats them), since what
 * we send ourselves has to be noted. Every loop is bounded by TCP_SCORE_RECORDS.
 *
 * The block exists while sends of more than one moment are in flight, or after the first SACK or
 * time-out (recovery.c); a connection without such pays four bytes. It also holds what only
 * a connection in trouble needs to remember: RACK's latest delivery, PRR's sums, what undoing a
 * false alarm restores. Pointer-free; times are the low 32 bits of the clock.
 */
#ifndef TCP_SCORE_H
#define TCP_SCORE_H

#include <tcp/conn.h>

enum {
	TCP_SCORE_RECORDS = 120,
	TCP_SCORE_RESERVE = 4, /* records that SACKs may not use up */
};

enum tcp_piece_flag {
	TCP_PIECE_SACKED = 1 << 0, /* stands alone */
	TCP_PIECE_LOST = 1 << 1,   /* and not sent again since */
	TCP_PIECE_RESENT = 1 << 2, /* sent more than once; sent_us is of the last time */
};

struct tcp_record {
	uint64_t end_pos; /* exclusive */
	uint32_t sent_us;
	uint32_t flags; /* enum tcp_piece_flag */
};

/* A part of a record, by value. */
struct tcp_piece {
	uint64_t start_pos;
	uint64_t end_pos;
	uint32_t sent_us;
	uint32_t flags;
};

struct tcp_score {
	uint64_t start_pos; /* of the first record */
	uint32_t first;	    /* index of the first record */
	uint32_t count;
	uint32_t sacked_bytes; /* in flight, but delivered */
	uint32_t lost_bytes;   /* in flight, but given up and not sent again */

	/* RACK (RFC 8985 section 5.2): what was delivered of all that was sent last. */
	uint64_t rack_end_pos;
	uint64_t fack_pos; /* highest position ever delivered */
	uint32_t rack_sent_us;
	uint32_t rack_rtt_us; /* 0: nothing was delivered yet */

	/* PRR (RFC 9937 section 6), bytes. */
	uint32_t recover_fs;
	uint32_t prr_delivered;
	uint32_t prr_out;
	uint32_t burst_us;    /* when ... */
	uint32_t burst_bytes; /* ... so much was delivered before anything could be sent for it */

	/* Undo (RFC 4015, RFC 3708): valid while `undo`. */
	uint32_t prior_cwnd;
	uint32_t prior_ssthresh;
	uint32_t undo_resent;	  /* bytes sent again that no DSACK has covered */
	uint64_t undo_pos;	  /* una when the episode began */
	uint64_t resent_end_pos;  /* nothing behind was sent again in it */
	uint32_t first_resent_us; /* of the episode; valid with any_resent */
	uint8_t undo;
	uint8_t any_resent;
	uint8_t frto; /* the step of RFC 5682 section 3.1 whose ACK is awaited; 0: none */
	uint8_t pad;

	struct tcp_record rec[TCP_SCORE_RECORDS];
};
static_assert(sizeof(struct tcp_score) == 104 + 16 * TCP_SCORE_RECORDS, "no padding");

/* The connection's; NULL if it has none. */
static inline struct tcp_score *tcp_conn_score(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_loss(c, TCP_L_SCORE) ? ctx->ops->score_get(ctx->ops_arg, c) : NULL;
}

static inline uint32_t tcp_conn_sacked(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	const struct tcp_score *s = tcp_conn_score(ctx, c);

	return s ? s->sacked_bytes : 0;
}

static inline uint32_t tcp_conn_lost(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	const struct tcp_score *s = tcp_conn_score(ctx, c);

	return s ? s->lost_bytes : 0;
}

/* RFC 6675 section 2 pipe: what is in the network, as far as we know. */
static inline uint64_t tcp_conn_pipe(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_flight(c) - tcp_conn_sacked(ctx, c) - tcp_conn_lost(ctx, c);
}

/* One record, [start, end), sent at sent_us; all else zero. */
void tcp_score_init(struct tcp_score *s, uint64_t start_pos, uint64_t end_pos, uint32_t sent_us);

static inline struct tcp_record *tcp_score_at(struct tcp_score *s, uint32_t i)
{
	assert(i < s->count);
	return &s->rec[s->first + i];
}

static inline uint64_t tcp_score_start(const struct tcp_score *s, uint32_t i)
{
	return i ? s->rec[s->first + i - 1].end_pos : s->start_pos;
}

static inline uint64_t tcp_score_end(const struct tcp_score *s)
{
	return tcp_score_start(s, s->count);
}

/* New data up to end_pos was sent. False: there is no room, and the block is of no use any more. */
bool tcp_score_append(struct tcp_score *s, uint64_t end_pos, uint32_t sent_us);

/* Takes the front piece out if it begins before una_pos, cut there. Call until false. */
bool tcp_score_pop(struct tcp_score *s, uint64_t una_pos, struct tcp_piece *piece);

/* Marks the first piece of [*at_pos, end_pos) that is not SACKed; *piece is what it was before,
 * and *at_pos moves behind it. False: there is none, or no room for it (*full is set). */
bool tcp_score_sack(struct tcp_score *s, uint64_t *at_pos, uint64_t end_pos,
	struct tcp_piece *piece, bool *full);

/* The first lost piece. False: none. */
bool tcp_score_first_lost(const struct tcp_score *s, struct tcp_piece *piece);

/* [start, end), which lies in one record, was sent again. False as for append. */
bool tcp_score_resend(struct tcp_score *s, uint64_t start_pos, uint64_t end_pos, uint32_t sent_us);

/* Joins neighbours that have become equal; after flags were changed through tcp_score_at(). */
void tcp_score_tidy(struct tcp_score *s);

/* Bytes of records with any of `flags`; for checks. */
uint64_t tcp_score_bytes(const struct tcp_score *s, uint32_t flags);

/* Bytes that were sent again and are in flight; for TCP_INFO. */
uint64_t tcp_score_resent_bytes(const struct tcp_score *s);

#endif
