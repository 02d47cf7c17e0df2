/* RFC 9293 section 3.10.7.2: a segment arrives for a port that listens. */
#include <tcp/counters.h>
#include <tcp/half.h>
#include <tcp/isn.h>
#include <tcp/reply.h>

uint32_t tcp_listen_input(struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg,
	uint64_t now_us, struct tcp_out *reply)
{
	/* First, an RST. */
	if (seg->flags & TCP_RST) {
		ctx->counters->listen_rst++;
		return 0;
	}
	if (tcp_reply_is_land(seg)) {
		ctx->counters->seg_land++;
		return 0;
	}
	/* Second, an ACK. */
	if (seg->flags & TCP_ACK) {
		ctx->counters->listen_stray_ack++;
		tcp_reply_rst(ctx, seg, reply);
		return TCP_EV_REPLY;
	}
	/* Fourth, other data or control without a SYN. */
	if (!(seg->flags & TCP_SYN)) {
		ctx->counters->listen_no_syn++;
		return 0;
	}
	/* Third, a SYN. Its data would be queued until ESTABLISHED; it is not, and is not
	 * acknowledged either, so that the peer sends it again. */
	if (seg->len)
		ctx->counters->half_syn_data++;
	tcp_half_init(ctx, h, seg, tcp_isn(ctx, &seg->key, now_us), now_us);
	tcp_half_synack(ctx, h, now_us, reply);
	return TCP_EV_REPLY;
}
