/* Socket options, as tcp(7) has them.
 *
 * Most are a number that a timer asks for when it is set (tcp_conn_syn_retries() and those beside
 * it): 0 there means what the configuration says. The rest acts at once.
 */
#include <tcp/internal.h>

static const struct option {
	uint32_t min, max; /* as Linux bounds them */
} bounds[TCP_OPT_COUNT] = {
	[TCP_OPT_NODELAY] = {0, 1},
	[TCP_OPT_KEEPALIVE] = {0, 1},
	[TCP_OPT_CORK] = {0, 1},
	[TCP_OPT_KEEPIDLE_S] = {1, 32767},
	[TCP_OPT_KEEPINTVL_S] = {1, 32767},
	[TCP_OPT_KEEPCNT] = {1, 127},
	[TCP_OPT_SYNCNT] = {1, 127},
	[TCP_OPT_USER_TIMEOUT_MS] = {0, INT32_MAX},
	[TCP_OPT_LINGER2_S] = {0, 120},
	[TCP_OPT_QUICKACK] = {0, 1},
	[TCP_OPT_MAXSEG] = {TCP_MAXSEG_MIN_BYTES, 32767},
};

uint32_t tcp_option_min(enum tcp_option_name name)
{
	return bounds[name].min;
}

uint32_t tcp_option_max(enum tcp_option_name name)
{
	return bounds[name].max;
}

/* -- what the timers ask ---------------------------------------------------------------------- */

uint32_t tcp_conn_syn_retries(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint8_t syncnt = tcp_extra(ctx, c)->syncnt;

	if (tcp_conn_has(c, TCP_F_PASSIVE)) /* a fast open whose handshake does not end */
		return ctx->cfg->synack_retries;
	return syncnt ? syncnt : ctx->cfg->syn_retries;
}

uint64_t tcp_conn_fin_wait_2_us(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint8_t linger2_s = tcp_extra(ctx, c)->linger2_s;

	return linger2_s ? linger2_s * UINT64_C(1000000) : ctx->cfg->fin_wait_2_us;
}

uint64_t tcp_conn_keepidle_us(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint64_t most = UINT64_C(1) << 40; /* 12 days: life_at_ms can tell 24 */
	uint16_t keepidle_s = tcp_extra(ctx, c)->keepidle_s;

	if (keepidle_s)
		return keepidle_s * UINT64_C(1000000);
	return ctx->cfg->keepalive_idle_us < most ? ctx->cfg->keepalive_idle_us : most;
}

uint64_t tcp_conn_keepintvl_us(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint16_t keepintvl_s = tcp_extra(ctx, c)->keepintvl_s;

	return keepintvl_s ? keepintvl_s * UINT64_C(1000000) : ctx->cfg->keepalive_intvl_us;
}

uint32_t tcp_conn_keepcnt(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	uint8_t keepcnt = tcp_extra(ctx, c)->keepcnt;

	return keepcnt ? keepcnt : ctx->cfg->keepalive_probes;
}

/* -- setting ---------------------------------------------------------------------------------- */

static void set_flag(struct tcp_conn *c, uint32_t flag, uint32_t on)
{
	if (on)
		c->flags |= flag;
	else
		c->flags &= ~flag;
}

static void set_nodelay(struct tcp_conn *c, uint32_t on)
{
	set_flag(c, TCP_F_NODELAY, on);
	if (on && !tcp_conn_has(c, TCP_F_CORK))
		c->owe |= TCP_OWE_TAIL; /* as Linux: switching it on pushes what waits */
}

static void set_cork(struct tcp_conn *c, uint32_t on)
{
	set_flag(c, TCP_F_CORK, on);
	if (!on)
		c->flags &= ~TCP_F_MORE;
}

/* Not for good, as in Linux: a dialogue goes back to delaying. */
static void set_quickack(struct tcp_conn *c, uint32_t on)
{
	c->quick_acks = on ? TCP_QUICK_ACKS : 0;
	if (on && c->ack_at)
		c->owe |= TCP_OWE_ACK;
}

static void set_maxseg(struct tcp_conn *c, struct tcp_extra *x, uint16_t bytes)
{
	uint16_t options = tcp_conn_has(c, TCP_F_TS) ? TCP_OPTIONS_TS_BYTES : 0;

	x->maxseg = bytes;
	if (c->snd_mss_bytes > bytes - options)
		c->snd_mss_bytes = (uint16_t)(bytes - options);
}

/* What acts at once and is not kept anywhere but in the flags. */
static bool is_flag(enum tcp_option_name name)
{
	return name == TCP_OPT_NODELAY || name == TCP_OPT_KEEPALIVE || name == TCP_OPT_CORK ||
	       name == TCP_OPT_QUICKACK;
}

static void set_flags(struct tcp_conn *c, enum tcp_option_name name, uint32_t on)
{
	if (name == TCP_OPT_NODELAY)
		set_nodelay(c, on);
	else if (name == TCP_OPT_KEEPALIVE)
		set_flag(c, TCP_F_KEEPALIVE, on);
	else if (name == TCP_OPT_CORK)
		set_cork(c, on);
	else
		set_quickack(c, on);
}

static void set_value(
	struct tcp_conn *c, struct tcp_extra *x, enum tcp_option_name name, uint32_t value)
{
	switch (name) {
	case TCP_OPT_KEEPIDLE_S:
		x->keepidle_s = (uint16_t)value;
		break;
	case TCP_OPT_KEEPINTVL_S:
		x->keepintvl_s = (uint16_t)value;
		break;
	case TCP_OPT_KEEPCNT:
		x->keepcnt = (uint8_t)value;
		break;
	case TCP_OPT_SYNCNT:
		x->syncnt = (uint8_t)value;
		break;
	case TCP_OPT_USER_TIMEOUT_MS:
		x->user_timeout_ms = value;
		break;
	case TCP_OPT_LINGER2_S:
		x->linger2_s = (uint8_t)value;
		break;
	case TCP_OPT_MAXSEG:
		set_maxseg(c, x, (uint16_t)value);
		break;
	default:
		break;
	}
}

bool tcp_setopt_room(struct tcp_ctx *ctx, struct tcp_conn *c, enum tcp_option_name name)
{
	return is_flag(name) || tcp_extra_make(ctx, c);
}

uint32_t tcp_setopt(struct tcp_ctx *ctx, struct tcp_conn *c, enum tcp_option_name name,
	uint32_t value, uint64_t now_us)
{
	bool keepalive = name == TCP_OPT_KEEPALIVE || name == TCP_OPT_KEEPIDLE_S;

	/* The gate has refused what a client may not say: set_option(). */
	assert(name < TCP_OPT_COUNT && value >= bounds[name].min && value <= bounds[name].max);
	if (is_flag(name))
		set_flags(c, name, value);
	else if (tcp_conn_has(c, TCP_F_EXTRA))
		set_value(c, tcp_extra_have(ctx, c), name, value);
	if (c->state == TCP_CLOSED)
		return 0;
	if (keepalive && c->state != TCP_SYN_SENT && c->state != TCP_SYN_RECEIVED)
		tcp_keepalive_arm(ctx, c, now_us);
	return tcp_conn_settle(ctx, c, now_us);
}
