/* DCTCP: RFC 8257. Backs off by how much of a window was marked, not by whether any was.
 *
 * For data centres, where switches mark at a low threshold: alpha is the moving average of the
 * share of bytes that met a mark, and once a window the window shrinks by alpha / 2. Growth,
 * and what is done about loss, are NewReno's. Without ECN it is NewReno.
 * The receiver's part is in ecn.c.
 */
#include <tcp/cc.h>

enum {
	ALPHA_SHIFT = 20, /* alpha in units of 2^-20 */
	GAIN_SHIFT = 4,	  /* section 3.3: g = 1/16 */
};

static struct tcp_dctcp *state(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return &tcp_extra_have(ctx, c)->cc_state.dctcp;
}

static void dctcp_init(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	struct tcp_dctcp *s = state(ctx, c);

	s->alpha = 1u << ALPHA_SHIFT; /* section 3.3, step 0 */
	s->window_end = (uint32_t)tcp_conn_snd_max(c);
	c->flags |= TCP_F_CC_WATCH;
}

/* Section 3.3, step 8: a window has passed. */
static void update_alpha(const struct tcp_conn *c, struct tcp_dctcp *s)
{
	uint64_t share = ((uint64_t)s->marked_bytes << ALPHA_SHIFT) / s->acked_bytes;

	s->alpha -= s->alpha >> GAIN_SHIFT;
	s->alpha += (uint32_t)(share >> GAIN_SHIFT);
	s->acked_bytes = 0;
	s->marked_bytes = 0;
	s->window_end = (uint32_t)tcp_conn_snd_max(c);
}

static void dctcp_observe(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	struct tcp_dctcp *s = state(ctx, c);

	if (a->acked_bytes == 0)
		return;
	s->acked_bytes += a->acked_bytes;
	if (tcp_conn_has(c, TCP_F_ECE_NOW))
		s->marked_bytes += a->acked_bytes;
	if ((int32_t)((uint32_t)tcp_conn_una(c) - s->window_end) > 0)
		update_alpha(c, s);
}

/* Section 3.4 for marks, section 3.5 for loss. */
static uint32_t dctcp_ssthresh(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t flight_bytes, enum tcp_cc_why why)
{
	uint32_t floor = 2u * c->snd_mss_bytes;
	uint64_t less;

	if (why != TCP_CC_ECN)
		return tcp_cc_newreno.ssthresh(ctx, c, flight_bytes, why);
	less = ((uint64_t)c->cwnd * state(ctx, c)->alpha) >> (ALPHA_SHIFT + 1);
	return c->cwnd > less + floor ? (uint32_t)(c->cwnd - less) : floor;
}

static void dctcp_acked(struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_cc_ack *a)
{
	tcp_cc_newreno.acked(ctx, c, a);
}

const struct tcp_cc_ops tcp_cc_dctcp = {
	.name = "dctcp",
	.init = dctcp_init,
	.ssthresh = dctcp_ssthresh,
	.acked = dctcp_acked,
	.observe = dctcp_observe,
	.state = true,
};
