/* A half-open connection: SYN-RECEIVED of a passive open, as small as it can be.
 *
 * A SYN to a listening port costs one of these and no buffer (tcp_listen_input); a SYN when
 * none is left costs nothing (tcp_cookie_reply). The segment that acknowledges our SYN|ACK
 * makes either of them a connection (tcp_promote), which therefore must be told all that the
 * SYN|ACK promised: `iss`, `irs`, `mss`, both window scales, the timestamps and `rcv_wnd`.
 *
 *   listen_input --SYN--> half --ACK of iss + 1--> TCP_EV_PROMOTE --> tcp_promote, tcp_input
 *                          | ^                                         with the same segment
 *              time out:   | +-- repeated SYN: the SYN|ACK again
 *              SYN|ACK     +-- RST at rcv_nxt, or retries used up --> TCP_EV_CLOSED
 *              again
 *
 * A half-open entry stays valid after TCP_EV_PROMOTE: an engine whose accept queue is full
 * ignores the event and keeps the entry, and the peer, told again by our next SYN|ACK, asks
 * again. Data that comes with the SYN is ignored (the peer repeats it, RFC 9293 section
 * 3.10.7.2 lets us queue it); data that comes with the ACK is the connection's to read.
 *
 * The offset of our timestamps, which is tcp_ts_offset() of the key, is kept only with TCP_HALF_TS.
 */
#ifndef TCP_HALF_H
#define TCP_HALF_H

#include <tcp/tcp.h>

enum tcp_half_flag {
	TCP_HALF_TS = 1 << 0,	    /* timestamps on: the SYN had them, the SYN|ACK has them */
	TCP_HALF_WSCALE = 1 << 1,   /* scaling on, both ways; else both scales are 0 */
	TCP_HALF_COOKIE = 1 << 2,   /* lives in a cookie: synack_us is not known later */
	TCP_HALF_SACK = 1 << 3,	    /* SACK permitted, both ways */
	TCP_HALF_ECN = 1 << 5,	    /* the peer asks for ECN and gets it */
	TCP_HALF_FASTOPEN = 1 << 6, /* the first SYN|ACK gives a fast open cookie */
	TCP_HALF_UNTIMED =
		1 << 4, /* the ACK may be of a later SYN|ACK than the first, or late by our will */
};

struct tcp_half {
	struct tcp_entry entry;

	/* Written by tcp/ alone. */
	uint32_t iss;
	uint32_t irs;	    /* rcv_nxt is irs + 1 */
	uint32_t ts_recent; /* with TCP_HALF_TS */
	uint16_t mss;	    /* what we may send, options included: tcp_options_peer_mss() */
	uint16_t rcv_wnd;   /* promised by the SYN|ACK: the right edge is irs + 1 + rcv_wnd */
	uint64_t synack_us; /* when the first SYN|ACK left; times the round trip if !retransmits */
	uint32_t snd_wnd;   /* the SYN's window, never scaled */
	uint8_t snd_wscale; /* the peer's shift: windows that we receive */
	uint8_t rcv_wscale; /* ours: windows that we send after the SYN|ACK */
	uint8_t flags;	    /* enum tcp_half_flag */
	uint8_t retransmits;
	uint32_t ts_offset; /* with TCP_HALF_TS */

	/* Owned by the engine; tcp/ neither reads nor writes them. */
	uint32_t listener_idx;
	uint32_t listener_gen;
	uint32_t gen;
};
static_assert(sizeof(struct tcp_half) == 104, "no padding, at most two cache lines");

/* Builds the SYN|ACK that *h stands for. */
void tcp_half_synack(const struct tcp_ctx *ctx, const struct tcp_half *h, uint64_t now_us,
	struct tcp_out *reply);

/* With TCP_HALF_COOKIE: the timestamp, at most ts_now, that makes the peer's echo say what *h
 * agreed to (cookie.c). */
uint32_t tcp_cookie_ts_val(const struct tcp_half *h, uint32_t ts_now);

/* Fills *h from an acceptable SYN, with our number `iss`, for a reply at now_us: everything
 * but the engine's fields; the deadline is set, the wheel not told. Shared by the listener
 * and the cookies, so that both promise the same. */
void tcp_half_init(const struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *syn,
	uint32_t iss, uint64_t now_us);

/* TCP_DEFER_ACCEPT: the segment would promote *h, but whoever accepts wants to hear of it only
 * when there is data, or after defer_us. True: do as if the segment had been lost. A peer that
 * has nothing to say keeps being told our SYN|ACK, and the last of these is believed. */
bool tcp_half_defers(const struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg,
	uint64_t defer_us, uint64_t now_us);

#endif
