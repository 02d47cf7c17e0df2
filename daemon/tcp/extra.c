#include <tcp/extra.h>

#include <tcp/counters.h>

const struct tcp_extra tcp_extra_none = {
	.reo_mult = 1,
	.reasm_idx = UINT32_MAX,
	.score_idx = UINT32_MAX,
	.cc_idx = UINT32_MAX,
};

struct tcp_extra *tcp_extra_make(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	uint16_t in = c->data_segs.in, out = c->data_segs.out;

	if (x)
		return x;
	x = ctx->ops->extra_alloc(ctx->ops_arg, c);
	if (!x) {
		ctx->counters->extra_no_memory++;
		return NULL;
	}
	*x = tcp_extra_none;
	x->data_segs_in = in;
	x->data_segs_out = out;
	c->flags |= TCP_F_EXTRA;
	return x;
}

void tcp_data_segs_many(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t in, uint32_t out)
{
	struct tcp_extra *x = tcp_extra_make(ctx, c);

	if (!x)
		return;
	x->data_segs_in += in;
	x->data_segs_out += out;
}
