/* Builds the answers of reply.h and counts them. */
#include <tcp/reply.h>

#include <tcp/counters.h>
#include <tcp/options.h>
#include <tcp/siphash.h>

enum {
	CHALLENGE_PERIOD_US = 1000000,
};

void tcp_reply_init(
	struct tcp_out *out, const struct net_tuple *key, uint32_t seq, uint32_t ack, uint8_t flags)
{
	memset(out, 0, sizeof(*out));
	out->key = *key;
	out->seq = seq;
	out->ack = ack;
	out->flags = flags;
}

void tcp_reply_rst(struct tcp_ctx *ctx, const struct tcp_segment *seg, struct tcp_out *out)
{
	assert(!(seg->flags & TCP_RST)); /* LISTEN, SYN-RECEIVED and CLOSED drop these first */
	if (seg->flags & TCP_ACK)
		tcp_reply_init(out, &seg->key, seg->ack, 0, TCP_RST);
	else
		tcp_reply_init(
			out, &seg->key, 0, seg->seq + tcp_reply_seg_len(seg), TCP_RST | TCP_ACK);
	ctx->counters->reset_out++;
}

void tcp_reply_add_ts(struct tcp_out *out, uint32_t ts_val, uint32_t ts_ecr)
{
	struct tcp_options opt = {.has_ts = true, .ts_val = ts_val, .ts_ecr = ts_ecr};

	out->opt_len = (uint8_t)tcp_options_encode(&opt, out->opt);
}

bool tcp_reply_challenge(struct tcp_ctx *ctx, uint64_t now_us)
{
	uint64_t limit = ctx->cfg->challenge_ack_per_s;

	if (ctx->challenge_window_us == 0 ||
		now_us - ctx->challenge_window_us >= CHALLENGE_PERIOD_US) {
		ctx->challenge_window_us = now_us ? now_us : 1;
		ctx->challenge_count = (uint32_t)(limit / 2 + tcp_siphash24(ctx->isn_key, &now_us,
								      sizeof(now_us)) %
								      (limit + 1));
	}
	if (ctx->challenge_count == 0) {
		ctx->counters->challenge_acks_limited++;
		return false;
	}
	ctx->challenge_count--;
	ctx->counters->challenge_acks++;
	return true;
}
