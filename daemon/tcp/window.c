/* The receive window: what we promise.
 *
 * The promise is an edge, and an edge never retreats (RFC 9293 section 3.8.6). The wire
 * carries it as a number of units of 2^rcv_wscale bytes from RCV.NXT, so that the edge the
 * peer computes is RCV.NXT plus a multiple of the unit, and RCV.NXT is anything. Rounding
 * down would make that edge jitter to the left as data comes in; so what was promised is
 * rounded up, and only what is newly promised is rounded down. The edge may therefore pass
 * rx_limit by less than one unit for each segment shorter than a unit; rx_store has the last
 * word about memory.
 *
 * Silly window avoidance (RFC 9293 section 3.8.6.2.2): the edge moves by a full segment or
 * not at all. rx_limit must therefore lie a full segment or more beyond what was consumed
 * when nothing is queued.
 */
#include <tcp/internal.h>

enum {
	WINDOW_FIELD_MAX = 65535,
};

/* How much further than promised the edge might be; 0 if less than a full segment. */
static uint64_t window_gain(const struct tcp_conn *c, uint64_t limit_pos, uint32_t step_bytes)
{
	if (limit_pos < tcp_conn_rcv_edge(c) + step_bytes)
		return 0;
	return limit_pos - tcp_conn_rcv_edge(c);
}

static uint32_t window_step(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint32_t mss;

	if (c->rcv_mss_bytes && c->rcv_mss_bytes < ctx->cfg->mss6_max_bytes) /* the lesser one */
		return c->rcv_mss_bytes;
	mss = tcp_mss_max(ctx->cfg, &c->entry.key.remote);
	return c->rcv_mss_bytes && c->rcv_mss_bytes < mss ? c->rcv_mss_bytes : mss;
}

/* Until the handshake ends a SYN|ACK may have to say again what segments behind it have said (RFC
 * 7413), unscaled: no more than fits, and in their steps, which round up. */
static uint64_t window_fit(const struct tcp_conn *c, uint64_t wnd, bool syn)
{
	uint64_t most = WINDOW_FIELD_MAX;

	if (c->state == TCP_SYN_RECEIVED && !syn)
		most >>= c->rcv_wscale;
	wnd = wnd < most ? wnd : most;
	return c->state == TCP_SYN_RECEIVED && syn ? wnd >> c->rcv_wscale << c->rcv_wscale : wnd;
}

uint16_t tcp_window_select(const struct tcp_ctx *ctx, struct tcp_conn *c, bool syn)
{
	uint8_t shift = syn ? 0 : c->rcv_wscale; /* RFC 7323 section 2.2 */
	struct tcp_rx_room room = ctx->ops->rx_limit(ctx->ops_arg, c);
	uint64_t wnd = (tcp_conn_rcv_wnd(c) + (1ull << shift) - 1) >> shift;

	if (window_gain(c, room.limit_pos, window_step(ctx, c)) > 0 &&
		(room.limit_pos - c->rcv_nxt_pos) >> shift > wnd)
		wnd = (room.limit_pos - c->rcv_nxt_pos) >> shift;
	wnd = window_fit(c, wnd, syn);
	if ((wnd << shift) > tcp_conn_rcv_wnd(c)) {
		if (room.promised)
			*room.promised += (wnd << shift) - tcp_conn_rcv_wnd(c);
		c->rcv_edge_low = (uint32_t)(c->rcv_nxt_pos + (wnd << shift));
	}
	return (uint16_t)wnd;
}

/* As long as the peer has half of the window to use, the next ACK will do. */
bool tcp_window_update_due(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint64_t limit_pos = ctx->ops->rx_limit(ctx->ops_arg, c).limit_pos;
	uint64_t most = c->rcv_nxt_pos + ((uint64_t)WINDOW_FIELD_MAX << c->rcv_wscale);

	if (limit_pos > most)
		limit_pos = most;
	return window_gain(c, limit_pos, window_step(ctx, c)) > 0 &&
	       limit_pos - c->rcv_nxt_pos >= 2ull * tcp_conn_rcv_wnd(c);
}
