/* Sequence number arithmetic (RFC 9293 section 3.4): 32 bits, modulo 2^32.
 *
 * An order exists only between numbers less than 2^31 apart, which the window (at most
 * 2^30, RFC 7323 section 2.3) guarantees for numbers of one connection. Timestamps compare
 * in the same way (RFC 7323 section 5.2). No other code compares them with < or >.
 */
#ifndef TCP_SEQ_H
#define TCP_SEQ_H

#include <stdbool.h>
#include <stdint.h>

/* a - b, positive when a lies after b. */
static inline int32_t tcp_seq_diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

static inline bool tcp_seq_lt(uint32_t a, uint32_t b)
{
	return tcp_seq_diff(a, b) < 0;
}

static inline bool tcp_seq_leq(uint32_t a, uint32_t b)
{
	return tcp_seq_diff(a, b) <= 0;
}

static inline bool tcp_seq_gt(uint32_t a, uint32_t b)
{
	return tcp_seq_diff(a, b) > 0;
}

static inline bool tcp_seq_geq(uint32_t a, uint32_t b)
{
	return tcp_seq_diff(a, b) >= 0;
}

static inline uint32_t tcp_seq_max(uint32_t a, uint32_t b)
{
	return tcp_seq_geq(a, b) ? a : b;
}

static inline uint32_t tcp_seq_min(uint32_t a, uint32_t b)
{
	return tcp_seq_leq(a, b) ? a : b;
}

/* first <= x < first + len. An empty range holds nothing. */
static inline bool tcp_seq_within(uint32_t x, uint32_t first, uint32_t len)
{
	return x - first < len;
}

/* The four cases of RFC 9293 section 3.10.7.4, first step: does a segment that occupies
 * [seq, seq + seg_len) touch the window [rcv_nxt, rcv_nxt + rcv_wnd)? seg_len counts SYN
 * and FIN. */
static inline bool tcp_seq_acceptable(
	uint32_t seq, uint32_t seg_len, uint32_t rcv_nxt, uint32_t rcv_wnd)
{
	if (seg_len == 0 && rcv_wnd == 0)
		return seq == rcv_nxt;
	if (tcp_seq_within(seq, rcv_nxt, rcv_wnd))
		return true;
	return seg_len > 0 && tcp_seq_within(seq + seg_len - 1, rcv_nxt, rcv_wnd);
}

#endif
