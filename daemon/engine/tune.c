/* Buffers that tune themselves, and what a program says about them.
 *
 * Receiving (dynamic right-sizing: Fisk and Feng, 2001; as Linux does it): what the program took
 * in a round trip is what the sender could have had in flight; the buffer is made twice that, and
 * more while that grows, so that the window is never what limits a sender that doubles. The round
 * trip is the receiver's: the age of the timestamp that comes back with a full segment, or without
 * timestamps the least time in which a window was used up. A buffer grows no further than its
 * share of the chunks that are there; for more the session is asked to grow first, so that what
 * is promised can be kept (rxq_limit() has the last word, and the edge never retreats).
 *
 * Sending: the buffer holds two congestion windows: what is in flight, and as much again for the
 * time in which the program is woken. The client learns of it with the next event.
 *
 * SO_RCVBUF and SO_SNDBUF end either. Both only ever grow, up to the configured most.
 *
 * TCP_NOTSENT_LOWAT: what the client is told of its send buffer ends so far behind what was sent
 * once. The client goes on deriving writability from that and acked_pos alone, but takes any room
 * for writable (PROTO_FLOW_ANY_ROOM).
 *
 * All of it lives in a block that a sock has only while it is of use: a connection that never
 * moved TUNE_EVERY_BYTES has none, and one that is found to move little in a round trip, or
 * nothing for a while when blocks are short, gives it back.
 */
#include "internal.h"

#include <tcp/isn.h>

#include <errno.h>

enum {
	TUNE_EVERY_BYTES = 128 << 10, /* received, between two looks at who has no block */
	TUNE_LEAST_BYTES = 8 << 10,   /* in a round trip: less is no stream */
	TUNE_SEGMENTS = 16,	      /* beyond twice what was taken, for what is not payload */
	TUNE_IDLE_US = 1000000,	      /* such a block may be taken for another sock */
	TUNE_STEAL_TRIES = 16,
	RTT_BELOW_CLOCK_US = 500, /* the timestamp's millisecond has not passed */
	RTT_MAX_US = 10 * 1000000,
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* -- the block ------------------------------------------------------------------------------- */

struct tune *tune_of(const struct engine *e, const struct sock *sk)
{
	return sk->tune ? shm_arena_at(&e->tunes, sk->tune - 1u) : NULL;
}

void tune_free(struct engine *e, struct sock *sk)
{
	if (!sk->tune)
		return;
	shm_arena_free(&e->tunes, sk->tune - 1u);
	sk->tune = 0;
}

static bool is_idle(const struct engine *e, const struct tune *t)
{
	return !t->lowat_bytes && !t->clamp_bytes && e->now_us - t->from_us > TUNE_IDLE_US;
}

/* Takes the block of a sock that has not used it for a while. */
static uint32_t steal(struct engine *e)
{
	for (int i = 0; i < TUNE_STEAL_TRIES && e->tunes.grown; i++) {
		uint32_t at = e->tune_hand++ % e->tunes.grown;
		const struct tune *t = shm_arena_at(&e->tunes, at);

		if (!shm_arena_is_used(&e->tunes, at) || !is_idle(e, t))
			continue;
		tune_free(e, sock_at(e, t->sock));
		return shm_arena_alloc(&e->tunes);
	}
	return NONE;
}

static struct tune *tune_make(struct engine *e, struct sock *sk)
{
	uint32_t idx;
	struct tune *t;

	if (sk->tune)
		return tune_of(e, sk);
	idx = shm_arena_alloc(&e->tunes);
	if (idx == NONE)
		idx = steal(e);
	if (idx == NONE) {
		e->counters.tunes_full++;
		return NULL;
	}
	sk->tune = (uint16_t)(idx + 1);
	t = tune_of(e, sk);
	*t = (struct tune){
		.sock = sock_idx(e, sk),
		.from_pos = sk->consumed_pos,
		.from_us = e->now_us,
		.space_bytes = INITIAL_WINDOW_BYTES,
	};
	return t;
}

/* -- receiving ------------------------------------------------------------------------------- */

static bool tunes_receiving(const struct engine *e, const struct sock *sk)
{
	return e->cfg.limits.tune_buffers && !(sk->flags & SOCK_RCVBUF_SET) &&
	       sk->rcvbuf_bytes < e->cfg.limits.rcvbuf_max_bytes;
}

/* The echo is of our newest segment when the peer sent this one, if that was ready to be sent. */
static void rtt_of_echo(struct tune *t, uint32_t age_ms)
{
	uint32_t sample_us = age_ms ? age_ms * 1000 : RTT_BELOW_CLOCK_US;

	if (age_ms > RTT_MAX_US / 1000)
		return;
	if (!t->rtt_us)
		t->rtt_us = sample_us;
	else
		t->rtt_us += ((int32_t)sample_us - (int32_t)t->rtt_us) / 8;
}

/* A window takes a round trip or more: the least counts. */
static void rtt_of_window(const struct engine *e, const struct tcp_conn *c, struct tune *t)
{
	uint64_t took_us = e->now_us - t->window_us;

	if (c->rcv_nxt_pos < t->window_pos)
		return;
	if (t->window_us && took_us <= RTT_MAX_US && (!t->rtt_us || took_us < t->rtt_us))
		t->rtt_us = took_us ? (uint32_t)took_us : 1;
	t->window_pos = tcp_conn_rcv_edge(c);
	t->window_us = e->now_us;
}

void tune_received(struct engine *e, const struct tcp_conn *c, const struct sock *sk,
	const struct tcp_segment *seg)
{
	struct tune *t = tune_of(e, sk);

	if (!tcp_conn_has(c, TCP_F_TS))
		rtt_of_window(e, c, t);
	else if (seg->opt.has_ts && seg->len >= c->rcv_mss_bytes)
		rtt_of_echo(t, tcp_ts_val(e->now_us, c->ts_offset) - seg->opt.ts_ecr);
}

/* What the session's chunks can hold of this connection as they are now. */
static uint64_t share_now(const struct session *s)
{
	return (uint64_t)s->chunks.free_count * SLAB_BYTES * 2 / (2 + s->chunks.holders);
}

/* `taken` bytes in a round trip were more than ever. */
static void rcvbuf_grow(struct engine *e, struct sock *sk, struct tune *t, uint64_t taken)
{
	struct session *s = e->sessions[sk->session];
	uint64_t want = 2 * taken + TUNE_SEGMENTS * e->cfg.tcp.mss_max_bytes;
	uint64_t share = share_now(s);

	want += 2 * want * (taken - t->space_bytes) / t->space_bytes;
	want = min_u64(want, e->cfg.limits.rcvbuf_max_bytes);
	if (want > share) { /* it is tried again when there may be more */
		session_need_up(e, s);
		want = share;
	} else {
		t->space_bytes = (uint32_t)taken;
	}
	if (want <= sk->rcvbuf_bytes)
		return;
	sk->rcvbuf_bytes = (uint32_t)want;
	e->counters.rcvbufs_grown++;
}

static void measure(struct engine *e, struct sock *sk, struct tune *t)
{
	uint64_t taken = min_u64(sk->consumed_pos - t->from_pos, INT32_MAX);

	if (!t->rtt_us || e->now_us - t->from_us < t->rtt_us)
		return;
	if (taken > t->space_bytes)
		rcvbuf_grow(e, sk, t, taken);
	t->from_pos = sk->consumed_pos;
	t->from_us = e->now_us;
	if (taken < TUNE_LEAST_BYTES && !t->lowat_bytes && !t->clamp_bytes)
		tune_free(e, sk);
}

void tune_consumed(struct engine *e, struct sock *sk, uint64_t before_pos)
{
	struct tune *t;

	if (!sk->tune && sk->consumed_pos / TUNE_EVERY_BYTES == before_pos / TUNE_EVERY_BYTES)
		return;
	if (!tunes_receiving(e, sk))
		return;
	t = tune_make(e, sk);
	if (t)
		measure(e, sk, t);
}

/* -- sending --------------------------------------------------------------------------------- */

/* Doubles rather than to follow every ACK, each of which would be news for the client. Only who
 * fills the buffer is limited by it. */
bool tune_acked(struct engine *e, const struct tcp_conn *c, struct sock *sk)
{
	uint32_t max = e->cfg.limits.sndbuf_max_bytes, now = sk->sndbuf_bytes;

	if (c->cwnd <= now / 2 || now >= max || sk->flags & SOCK_SNDBUF_SET ||
		!e->cfg.limits.tune_buffers || c->snd_end_pos - c->snd_una_pos < now / 2)
		return false;
	sk->sndbuf_bytes = now > max / 2 ? max : 2 * now;
	e->counters.sndbufs_grown++;
	return true;
}

uint32_t tune_told_sndbuf(struct engine *e, const struct tcp_conn *c, const struct sock *sk)
{
	uint64_t bytes;
	struct tune *t;

	if (!(c->due_flags & CONN_LOWAT))
		return sk->sndbuf_bytes;
	t = tune_of(e, sk);
	bytes = min_u64(tcp_conn_sent(c) - c->snd_una_pos + t->lowat_bytes, sk->sndbuf_bytes);
	t->told_end_pos = c->snd_una_pos + bytes;
	return (uint32_t)bytes;
}

/* Whoever waits is told once half of the mark is free, as in Linux, not for each segment. */
void tune_sent(struct engine *e, struct tcp_conn *c, struct sock *sk)
{
	const struct tune *t = sk ? tune_of(e, sk) : NULL;
	uint64_t half = t ? (t->lowat_bytes + 1) / 2 : 0;
	uint64_t unsent = c->snd_end_pos - tcp_conn_sent(c);

	if (unsent < half && t->told_end_pos < c->snd_end_pos + half)
		sock_mark(e, sk);
}

/* -- what a program says --------------------------------------------------------------------- */

int tune_set_lowat(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t value)
{
	struct tune *t = value ? tune_make(e, sk) : tune_of(e, sk);

	sock_mark(e, sk); /* in any case: the client makes do with the mark until it is told */
	if (value && !t)
		return -ENOBUFS;
	if (t)
		t->lowat_bytes = (uint32_t)min_u64(value, INT32_MAX);
	c->due_flags &= (uint16_t)~CONN_LOWAT;
	sk->flow_flags &= (uint8_t)~PROTO_FLOW_ANY_ROOM;
	if (value) {
		c->due_flags |= CONN_LOWAT;
		sk->flow_flags |= PROTO_FLOW_ANY_ROOM;
	}
	return 0;
}

int tune_set_clamp(struct engine *e, struct sock *sk, uint64_t value)
{
	struct tune *t = value ? tune_make(e, sk) : tune_of(e, sk);

	if (value && !t)
		return -ENOBUFS;
	if (t)
		t->clamp_bytes = (uint32_t)min_u64(value, INT32_MAX);
	return 0;
}
