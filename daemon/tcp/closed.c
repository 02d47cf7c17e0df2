/* RFC 9293 section 3.10.7.1: the fictional state CLOSED. */
#include <tcp/counters.h>
#include <tcp/reply.h>

uint32_t tcp_closed_input(struct tcp_ctx *ctx, const struct tcp_segment *seg, struct tcp_out *reply)
{
	if (seg->flags & TCP_RST) {
		ctx->counters->closed_rst++;
		return 0;
	}
	if (tcp_reply_is_land(seg)) {
		ctx->counters->seg_land++;
		return 0;
	}
	ctx->counters->closed_stray++;
	tcp_reply_rst(ctx, seg, reply);
	return TCP_EV_REPLY;
}
