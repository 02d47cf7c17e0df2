/* TCP fast open (RFC 7413): data in the SYN.
 *
 * A server gives each client address a cookie, which proves in a later SYN that the address is
 * the client's own; the data of such a SYN is delivered, and may be answered, before the handshake
 * has ended. A SYN that was duplicated may then be read twice, by two connections: only requests
 * that may be repeated belong in one (section 2.1), so both sides are off unless asked for.
 *
 *   client                                    server
 *     | SYN, request ------------------------> |   tcp_fastopen_offer(): half-open as ever
 *     | <------------------- SYN|ACK, cookie   |
 *   tcp_fastopen_learn()
 *     | SYN, cookie, data -------------------> |   tcp_fastopen_valid(), tcp_fastopen_accept():
 *     | <-------- SYN|ACK of SYN and data      |   SYN-RECEIVED with a control block, in the accept
 *     | <--------------------------- data      |   queue
 *     | ACK ---------------------------------> |   ESTABLISHED
 *
 * What is lost is repeated without the option and without data on either side (sections 4.1.3.1
 * and 4.2.2), since there are boxes that drop what they do not know.
 *
 * The server's cookie is SipHash-2-4 of both addresses, with a key that changes every four hours;
 * the one before counts too. All engines make the same, for the client's next port may be
 * another's.
 *
 * The client's cache has a fixed number of places, four to a bucket; the one not used for longest
 * makes room. It is keyed, so that a server that leads us to addresses of its choice cannot aim at
 * a bucket. A path that swallowed a SYN with the option is not tried again for a minute, and each
 * time that it happens again for twice as long, up to an hour.
 */
#ifndef TCP_FASTOPEN_H
#define TCP_FASTOPEN_H

#include <tcp/conn.h>
#include <tcp/half.h>

enum {
	TCP_FASTOPEN_COOKIE_BYTES = 8, /* of those we make */
	TCP_FASTOPEN_BUCKETS = 64,
	TCP_FASTOPEN_WAYS = 4,
	TCP_FASTOPEN_KEY_US_LOG2 = 34, /* a key's time: 4.8 hours */
	TCP_FASTOPEN_BLOCK_S = 60,
	TCP_FASTOPEN_BLOCK_MAX_S = 3600,
	TCP_FASTOPEN_HOLD_US = 200000, /* a SYN waits that long for data to carry */
};

/* What a client remembers of a server (section 4.1.3). */
struct tcp_fastopen_peer {
	struct net_addr local; /* all zero: a free place */
	struct net_addr remote;
	uint8_t cookie[TCP_FASTOPEN_COOKIE_MAX];
	uint8_t cookie_len; /* 0: none known */
	uint8_t drops;	    /* SYNs with the option lost, since the last that was not */
	uint16_t mss_bytes;
	uint32_t used_s;
	uint32_t blocked_until_s; /* 0: not blocked */
};

struct tcp_fastopen_cache {
	struct tcp_fastopen_peer peer[TCP_FASTOPEN_BUCKETS][TCP_FASTOPEN_WAYS];
};

/* -- server ------------------------------------------------------------------------------- */

/* Does the SYN carry a cookie of ours for its address, of the present key or the one before? */
bool tcp_fastopen_valid(const struct tcp_ctx *ctx, const struct tcp_segment *syn, uint64_t now_us);

/* The present cookie of key->remote. */
void tcp_fastopen_make(const struct tcp_ctx *ctx, const struct net_tuple *key, uint64_t now_us,
	uint8_t cookie[TCP_FASTOPEN_COOKIE_BYTES]);

/* *h, just made by tcp_listen_input(), answers with a cookie: fills *reply again. */
void tcp_fastopen_offer(
	struct tcp_ctx *ctx, struct tcp_half *h, uint64_t now_us, struct tcp_out *reply);

/* Makes *c a connection in SYN-RECEIVED from a SYN with a valid cookie. The engine then sets its
 * fields and calls tcp_fastopen_text(), which takes the SYN's data. Returns events. */
void tcp_fastopen_accept(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *syn, uint64_t now_us);
uint32_t tcp_fastopen_text(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *syn, uint64_t now_us);

/* -- client ------------------------------------------------------------------------------- */

/* After tcp_connect(): ask for a cookie, or wait a moment for data if there is one. Returns events.
 */
uint32_t tcp_fastopen_connect(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us);

/* The SYN waits for data. */
static inline bool tcp_fastopen_waits(const struct tcp_conn *c)
{
	return c->state == TCP_SYN_SENT && tcp_conn_has(c, TCP_F_FASTOPEN) &&
	       !tcp_conn_has(c, TCP_F_RTT_TIMED) && c->backoff == 0 && !(c->owe & TCP_OWE_SYN);
}

/* The option of c's SYN or SYN|ACK, if it has one. */
void tcp_fastopen_option(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t now_us,
	struct tcp_options *opt);

/* How much data c's first SYN may carry, beside opt_len bytes of options. */
uint32_t tcp_fastopen_syn_room(
	const struct tcp_ctx *ctx, const struct tcp_conn *c, uint32_t opt_len, uint64_t now_us);

/* The SYN|ACK is there: what it says of fast open. */
void tcp_fastopen_synack(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, uint64_t now_us);

#endif
