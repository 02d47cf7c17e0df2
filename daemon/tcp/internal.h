/* What the connection's files share. Nothing outside daemon/tcp includes this.
 *
 *     tcp_input ----> input_syn_sent                      (SYN-SENT)
 *        |      `---> input_check, input_ack, input_text  (all later states)
 *        |                 |            |
 *        |                 |            `-> loss or recovery, rtt, cc
 *        v                 v
 *     tcp_conn_settle: timers, and is there something to send?   <---- tcp_timer, user calls
 *        |
 *        `-- TCP_EV_OUTPUT --> engine --> tcp_output --> timers again
 *
 * Every entry point ends in tcp_conn_settle() (or in tcp_conn_close()), so that the deadline
 * in the entry is right whenever the engine sees it, unless there is something to send: then it
 * is when that is done, and not set twice.
 */
#ifndef TCP_INTERNAL_H
#define TCP_INTERNAL_H

#include <tcp/conn.h>
#include <tcp/counters.h>
#include <tcp/extra.h>
#include <tcp/isn.h>
#include <tcp/options.h>
#include <tcp/reasm.h>
#include <tcp/score.h>

enum {
	TCP_OPTIONS_TS_BYTES = 12, /* timestamps, padded */
	TCP_TAIL_HOLD_US = 200000, /* RFC 9293 3.8.6.2.1 override: 0.1 to 1 s; Linux's cork limit */
	TCP_QUICK_ACKS = 16,
	TCP_DUPACK_THRESHOLD = 3, /* RFC 5681 section 3.2 */
	/* Below, who says so is likelier to forge: Linux's min_pmtu, and RFC 8201 section 4. */
	TCP_MTU_MIN_BYTES = 552,
	TCP_MTU6_MIN_BYTES = 1280,
	TCP_CHALLENGE_GAP_MS = 500, /* per connection, between ACKs that a bare segment provokes */
};

static inline uint32_t tcp_ms(uint64_t now_us)
{
	return (uint32_t)(now_us / 1000);
}

/* A timer of up to 35 minutes in 32 bits: low bits of the clock; 0: not running. The engine must
 * not be later than that. */
static inline uint32_t tcp_timer_in(uint64_t now_us, uint64_t delay_us)
{
	uint32_t at = (uint32_t)(now_us + (delay_us < INT32_MAX ? delay_us : INT32_MAX));

	return at ? at : 1;
}
static inline uint64_t tcp_timer_us(uint32_t at, uint64_t now_us)
{
	return at ? now_us + (uint64_t)(int64_t)(int32_t)(at - (uint32_t)now_us) : TCP_NEVER;
}

/* -- state.c ------------------------------------------------------------------------------ */

/* RFC 9293 figure 5: may a connection go from one to the other? */
bool tcp_state_legal(enum tcp_state from, enum tcp_state to);

/* The one place where `state` changes after birth. Asserts that the change is legal. */
void tcp_conn_set_state(struct tcp_conn *c, enum tcp_state state);

/* States in which the peer's data is still expected. */
static inline bool tcp_conn_receives(const struct tcp_conn *c)
{
	return 1u << c->state &
	       (1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT_1 | 1u << TCP_FIN_WAIT_2);
}

/* States in which data or the FIN may still have to be sent. */
static inline bool tcp_conn_sends(const struct tcp_conn *c)
{
	unsigned int states = 1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT | 1u << TCP_FIN_WAIT_1 |
			      1u << TCP_CLOSING | 1u << TCP_LAST_ACK;

	return (1u << c->state & states) || tcp_conn_early(c);
}

/* Everything but the engine's group, for a connection in `state`. */
void tcp_conn_init(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct net_tuple *key, enum tcp_state state);

/* Sets what follows from the options of the peer's SYN. */
void tcp_conn_negotiated(
	const struct tcp_ctx *ctx, struct tcp_conn *c, uint16_t mss_bytes, uint64_t now_us);

/* Our SYN was acknowledged: ESTABLISHED, or FIN-WAIT-1 if the user has closed meanwhile.
 * Returns events. */
uint32_t tcp_conn_establish(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* To CLOSED with `error` (0: none), owing an RST if `rst`. Returns events. */
uint32_t tcp_conn_close(struct tcp_ctx *ctx, struct tcp_conn *c, int error, bool rst);

/* To TIME-WAIT, for 2 MSL. Returns events. */
uint32_t tcp_conn_time_wait(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* -- input*.c ------------------------------------------------------------------------------ */

enum tcp_step {
	TCP_CONTINUE,
	TCP_DONE,
};

/* A segment on its way through the steps. */
struct tcp_rx {
	struct tcp_ctx *ctx;
	struct tcp_conn *c;
	const struct tcp_segment *seg;
	uint64_t now_us;
	uint32_t events;
	bool text; /* the payload lies in the window, at least in part */
	bool fin;  /* the FIN counts: nothing before it was cut off */
};

/* The segment is acceptable: the peer lives, and its timestamp and marks count. */
void tcp_note_alive(struct tcp_rx *rx);
enum tcp_step tcp_check_paws(struct tcp_rx *rx);
enum tcp_step tcp_check_sequence(struct tcp_rx *rx);
enum tcp_step tcp_check_rst(struct tcp_rx *rx);
enum tcp_step tcp_check_syn(struct tcp_rx *rx);
enum tcp_step tcp_check_ack(struct tcp_rx *rx);
enum tcp_step tcp_check_urg(struct tcp_rx *rx);
enum tcp_step tcp_process_text(struct tcp_rx *rx);
/* The same of text that begins at RCV.NXT and lies in the window, with nothing out of order, in
 * ESTABLISHED. */
void tcp_process_next_text(struct tcp_rx *rx);
enum tcp_step tcp_check_fin(struct tcp_rx *rx);
void tcp_input_syn_sent(struct tcp_rx *rx);

/* An ACK that a segment without news provokes: limited, per connection and per engine
 * (RFC 5961 section 7), so that two confused ends cannot keep each other busy. */
void tcp_challenge_ack(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* The reassembly block, NULL if there is none. */
static inline struct tcp_reasm *tcp_conn_reasm(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return tcp_conn_has(c, TCP_F_REASM) ? ctx->ops->reasm_get(ctx->ops_arg, c) : NULL;
}

static inline void tcp_conn_free_reasm(const struct tcp_ctx *ctx, struct tcp_conn *c)
{
	if (tcp_conn_has(c, TCP_F_REASM))
		ctx->ops->reasm_free(ctx->ops_arg, c);
	c->flags &= ~TCP_F_REASM;
}

/* RFC 2883: [start, end) of the peer's stream was received twice; our next ACK says so. */
void tcp_sack_note_duplicate(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t start_seq, uint32_t end_seq);
/* The blocks that an ACK has to carry, at most `max`, into opt. */
void tcp_sack_report(
	const struct tcp_ctx *ctx, const struct tcp_conn *c, uint32_t max, struct tcp_options *opt);

/* -- output.c, window.c --------------------------------------------------------------------- */

/* Would tcp_output() send anything? */
bool tcp_output_due(const struct tcp_ctx *ctx, const struct tcp_conn *c);

/* Chooses the window to advertise, as it goes on the wire, and promises it. */
uint16_t tcp_window_select(const struct tcp_ctx *ctx, struct tcp_conn *c, bool syn);

/* The user has read: is it worth telling the peer that the window has opened? */
bool tcp_window_update_due(const struct tcp_ctx *ctx, const struct tcp_conn *c);

/* -- recovery.c: with SACK ------------------------------------------------------------------ */

/* Makes the scoreboard unless it is there; false if it cannot be had. */
bool tcp_recovery_begin(struct tcp_ctx *ctx, struct tcp_conn *c);
void tcp_recovery_end(struct tcp_ctx *ctx, struct tcp_conn *c);
/* Gives the scoreboard up while data is in flight: loss.c goes on without. */
void tcp_recovery_drop(struct tcp_ctx *ctx, struct tcp_conn *c);

/* Is there anything in this ACK that loss.c would not understand? */
static inline bool tcp_recovery_wants(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	return tcp_conn_loss(c, TCP_L_SCORE | TCP_L_TLP_OUT) ||
	       (seg->opt.sack_count > 0 && tcp_conn_has(c, TCP_F_SACK));
}
/* An ACK, after SND.UNA has moved by `acked`. False: loss.c has to deal with it. */
bool tcp_recovery_acked(struct tcp_rx *rx, uint32_t acked, uint64_t flight_bytes);
/* With TCP_L_SCORE: an ACK of less than what is acknowledged already, with SACK blocks. */
void tcp_recovery_overtaken(struct tcp_rx *rx);
/* The retransmission timer has expired. False: as above. */
bool tcp_recovery_timeout(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* The reordering window is over. */
void tcp_recovery_reordered(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* What may be sent again next; false: nothing. */
bool tcp_recovery_next(
	const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t *start_pos, uint32_t *len);
/* That was done, as far as `len`. */
void tcp_recovery_resent(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t start_pos, uint32_t len, uint64_t now_us);
/* New data was sent, up to end_pos. */
void tcp_recovery_sent(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t end_pos, uint64_t now_us);
uint32_t tcp_recovery_resend_tail(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* -- mtu.c ---------------------------------------------------------------------------------- */

void tcp_mtu_established(struct tcp_ctx *ctx, struct tcp_conn *c);
/* The retransmission timer has expired, and retries counts it. */
void tcp_mtu_timed_out(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* Duplicate ACKs say so, without SACK. */
void tcp_mtu_first_lost(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* With TCP_L_MTU: the length of a probe that is to be sent now, which must be; 0: none. */
uint32_t tcp_mtu_probe(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* With TCP_L_MTU_OUT: SND.UNA has moved. */
void tcp_mtu_acked(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* All that was just found lost is `len` bytes from start_pos: was it a probe, and no congestion? */
bool tcp_mtu_lost(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t start_pos, uint32_t len, uint64_t now_us);
/* A router says that no more than `mss` passes, which is less than what is sent. */
void tcp_mtu_reduced(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t mss, uint64_t now_us);
/* A router says that more than `mss` does not pass; true if that ends a search above it. */
bool tcp_mtu_bounded(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t mss);

/* -- tlp.c ---------------------------------------------------------------------------------- */

/* RFC 8985 section 7.2 PTO, us; TCP_NEVER: no probe. */
uint64_t tcp_tlp_timeout_us(const struct tcp_ctx *ctx, const struct tcp_conn *c);
void tcp_tlp_expired(struct tcp_ctx *ctx, struct tcp_conn *c);

/* -- pace.c ---------------------------------------------------------------------------------- */

/* An algorithm wants that rate, in bytes a second; 0: none. The connection has a struct
 * tcp_extra. */
void tcp_pace_at(const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t rate);
/* Pacing begins, with all the credit there is. */
void tcp_pace_begin(struct tcp_extra *x, uint64_t now_us);
/* With TCP_F_PACED: `len` bytes leave; and how large one piece may be, of `most`. */
void tcp_pace_sent(const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t len, uint64_t now_us);
uint32_t tcp_pace_piece_max(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint32_t most);
/* With TCP_F_PACE_HOLD: ends the hold if it is over, and says when it will be. */
uint64_t tcp_pace_settle(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* -- trip.c: with TCP_F_EXTRA ---------------------------------------------------------------- */

/* Data is about to leave, and nothing is in flight. */
void tcp_trip_leaves(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t now_us);
/* An ACK, after all else was done about it. */
void tcp_trip_acked(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* -- validate.c: with TCP_F_EXTRA ------------------------------------------------------------ */

/* A round trip has acknowledged so much. */
void tcp_validate_sample(
	const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t bytes, uint64_t now_us);
/* Recovery sends `len` bytes again, for the first time. */
void tcp_validate_resent(const struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t len);
/* Fast recovery is over: ssthresh is what cwnd is to be. */
void tcp_validate_recovered(const struct tcp_ctx *ctx, struct tcp_conn *c);

/* -- ecn.c ----------------------------------------------------------------------------------- */

/* Would our SYN ask for ECN? */
bool tcp_ecn_offers(const struct tcp_ctx *ctx, const struct tcp_conn *c);

/* Does a peer's SYN ask for ECN, and may it have it? */
static inline bool tcp_ecn_accepts(const struct tcp_config *cfg, uint8_t syn_flags)
{
	return cfg->ecn != TCP_ECN_OFF && (syn_flags & TCP_ECE) && (syn_flags & TCP_CWR);
}

void tcp_ecn_negotiate(const struct tcp_ctx *ctx, struct tcp_conn *c, uint8_t syn_flags);

/* With TCP_F_ECN: an acceptable segment came; its ACK is in range; new data is about to leave. */
void tcp_ecn_received(struct tcp_rx *rx);
void tcp_ecn_acked(struct tcp_rx *rx);
void tcp_ecn_mark(struct tcp_conn *c, struct tcp_out *out);

/* -- loss.c, rtt.c, conn_timer.c ------------------------------------------------------------ */

/* `acked_bytes` (FIN counted) were newly acknowledged, with `flight_bytes` in flight before. */
void tcp_loss_acked(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes,
	uint64_t flight_bytes, uint64_t now_us);
void tcp_loss_dupack(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* The retransmission timer has expired (RFC 6298 section 5.4 ff.). */
void tcp_loss_timeout(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* ssthresh comes down; `acked` bytes of the flight are just acknowledged. */
void tcp_loss_back_off(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes, bool timeout);
/* The last one was for nothing; the caller has restored cwnd and ssthresh. */
void tcp_loss_undo(struct tcp_ctx *ctx, struct tcp_conn *c);
/* Outside recovery cwnd grows, if it was in use. */
void tcp_loss_grow(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t acked_bytes,
	uint64_t flight_bytes, uint64_t now_us);

void tcp_rtt_init(const struct tcp_ctx *ctx, struct tcp_conn *c);
/* RFC 6298 section 2. `per_rtt` samples are expected in each round trip (RFC 7323 appendix G). */
void tcp_rtt_sample(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t rtt_us, uint32_t per_rtt);
/* seg acknowledges something new (or our SYN): takes the sample it yields, if any. True if so. */
bool tcp_rtt_acked(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, uint64_t now_us);

/* (Re)starts the send timer for what is in flight: probe or retransmission time-out. */
void tcp_send_timer_start(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
void tcp_keepalive_arm(const struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* The life timer: UINT64_MAX stops it. In whole milliseconds, never too early. */
void tcp_life_start(struct tcp_conn *c, uint64_t at_us);
uint64_t tcp_life_us(const struct tcp_conn *c, uint64_t now_us);
/* The peer has answered. */
void tcp_stall_end(const struct tcp_ctx *ctx, struct tcp_conn *c);
/* Puts the timers in order. */
void tcp_conn_settle_timers(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);
/* Returns TCP_EV_OUTPUT if there is something to send, which puts the timers in order; else that is
 * done here, and the result 0. */
uint32_t tcp_conn_settle(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* -- setopt.c: the socket's own value, or the configuration's ---------------------------------- */

enum {
	TCP_MAXSEG_MIN_BYTES = 88, /* Linux's bound of TCP_MAXSEG */
};
uint32_t tcp_conn_syn_retries(const struct tcp_ctx *ctx, const struct tcp_conn *c);
uint64_t tcp_conn_fin_wait_2_us(const struct tcp_ctx *ctx, const struct tcp_conn *c);
uint64_t tcp_conn_keepidle_us(const struct tcp_ctx *ctx, const struct tcp_conn *c);
uint64_t tcp_conn_keepintvl_us(const struct tcp_ctx *ctx, const struct tcp_conn *c);
uint32_t tcp_conn_keepcnt(const struct tcp_ctx *ctx, const struct tcp_conn *c);

#endif
