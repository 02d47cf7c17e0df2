/* TIME-WAIT without a socket: what is left of a connection for 2 MSL.
 *
 * It answers a repeated FIN (whose ACK was lost) and keeps old segments out of a new
 * connection of the same tuple. It lets a new SYN in early where RFC 6191 proves it new, and
 * is deaf to RST (RFC 1337). `entry.deadline_us` ends it: the engine just releases it.
 */
#ifndef TCP_TIMEWAIT_H
#define TCP_TIMEWAIT_H

#include <tcp/tcp.h>

enum tcp_tw_flag {
	TCP_TW_TS = 1 << 0, /* the connection used timestamps */
};

struct tcp_tw {
	struct tcp_entry entry;

	/* Written by tcp/ alone. */
	uint32_t snd_nxt; /* behind our FIN */
	uint32_t rcv_nxt; /* behind the peer's FIN */
	uint32_t rcv_wnd; /* last promised, bytes: what counts as in the window */
	uint32_t ts_recent;
	uint32_t ts_offset;
	uint16_t wnd;  /* the same as it goes on the wire, scaled */
	uint8_t flags; /* enum tcp_tw_flag */
	uint8_t pad0;

	/* Owned by the engine; tcp/ neither reads nor writes them. */
	uint32_t gen;
	uint32_t pad1;
};
static_assert(sizeof(struct tcp_tw) == 88, "no padding, at most two cache lines");

/* A connection in TIME-WAIT may owe an ACK still. Whether it is one as the entry makes it, so that
 * the entry may take over at once; and that ACK, from the entry. */
bool tcp_tw_can_ack(const struct tcp_conn *c);
uint32_t tcp_tw_ack(
	struct tcp_ctx *ctx, const struct tcp_tw *tw, uint64_t now_us, struct tcp_out *reply);

#endif
