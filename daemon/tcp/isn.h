/* Initial sequence numbers and the timestamp clock, both hidden behind keyed hashes.
 *
 * tcp_isn() is declared in tcp.h. TSval is a 1 ms clock (RFC 7323 section 5.4 asks for 1 ms
 * to 1 s a tick) plus an offset per flow, so that it neither tells the uptime nor links
 * flows of one host. The offset depends on the four-tuple and the key alone: it need not be
 * stored, and it stays monotonic over successive connections of one tuple, on which a peer
 * that reuses its TIME-WAIT entry relies (RFC 6191).
 */
#ifndef TCP_ISN_H
#define TCP_ISN_H

#include <tcp/tcp.h>

uint32_t tcp_ts_offset(const struct tcp_ctx *ctx, const struct net_tuple *key);

/* The TSval to send at now_us with the flow's offset. */
static inline uint32_t tcp_ts_val(uint64_t now_us, uint32_t offset)
{
	return (uint32_t)(now_us / 1000) + offset;
}

#endif
