/* Path MTU discovery without ICMP: RFC 4821, with the phases of RFC 8899 section 5.2.
 *
 *	disabled --- black hole ---> search <--- 10 minutes --- complete
 *	                               |  ^                       ^
 *	            a probe, acknowledged or lost three times     | nothing left to try
 *	                               `--'-----------------------'
 *
 * A black hole is a path that swallows large packets and says nothing. The sign is that a large
 * segment times out again and again (section 7.7 of RFC 4821); then segments shrink to a base
 * that hardly any path refuses, and to the least one if that does not help either.
 *
 * The search sends more of the data than a segment as one packet now and then: a probe. The first
 * has the size that failed, since an outage looks the same as a black hole and is more likely; if
 * that is lost, the range is halved. The probe is ordinary data: when it is acknowledged, its
 * size passes and is the segment size from then on. If it is all that was lost then its size was
 * the cause, and it is sent again in segments without a back-off. If more was lost, or
 * the timer expires, it has told nothing.
 *
 * Without SACK there is no search: what a lost probe leaves is no different from any other loss.
 */
#include <tcp/internal.h>

enum {
	BASE_MTU_BYTES = 1200, /* RFC 8899 section 5.1.2 BASE_PLPMTU; of IPv6 the least is base */
	BLACK_HOLE_TIMEOUTS = 2,
	PROBES_MAX = 3,		   /* of one size: RFC 8899 section 5.1.2 */
	COMPLETE = PROBES_MAX + 1, /* in `mtu_fails` */
	RANGE_MIN_BYTES = 16,	   /* a search ends there */
	BEHIND_SEGMENTS = 3,	   /* so many must follow a probe, so that its loss is seen */
	AGAIN_MS = 600 * 1000,	   /* RFC 8899 section 5.1.1 PMTU_RAISE_TIMER */
};

uint32_t tcp_mtu_overhead(const struct tcp_conn *c)
{
	uint32_t options = tcp_conn_has(c, TCP_F_TS) ? TCP_OPTIONS_TS_BYTES : 0;

	return (net_addr_is_ip4(&c->entry.key.local) ? 40 : 60) + options;
}

static uint32_t base_mss(const struct tcp_conn *c)
{
	bool ip4 = net_addr_is_ip4(&c->entry.key.local);

	return (ip4 ? BASE_MTU_BYTES : TCP_MTU6_MIN_BYTES) - tcp_mtu_overhead(c);
}

static uint32_t least_mss(const struct tcp_conn *c)
{
	bool ip4 = net_addr_is_ip4(&c->entry.key.local);

	return (ip4 ? TCP_MTU_MIN_BYTES : TCP_MTU6_MIN_BYTES) - tcp_mtu_overhead(c);
}

/* Segments become `mss`, and up to what they are now is to be searched. */
static void begin_search(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t mss)
{
	struct tcp_extra *x = tcp_extra_make(ctx, c);

	if (!x || mss >= c->snd_mss_bytes)
		return;
	if (x->mtu_top == 0)
		x->mtu_top = c->snd_mss_bytes;
	x->mtu_high = x->mtu_top;
	x->mtu_fails = 0;
	c->snd_mss_bytes = (uint16_t)mss;
	c->loss = (uint16_t)((c->loss & ~TCP_L_MTU_OUT) | TCP_L_MTU);
}

void tcp_mtu_established(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	if (ctx->cfg->mtu_probing == TCP_MTU_ALWAYS && tcp_conn_has(c, TCP_F_SACK))
		begin_search(ctx, c, base_mss(c));
}

/* What goes out again now is one segment, of `len` bytes. */
void tcp_mtu_timed_out(struct tcp_ctx *ctx, struct tcp_conn *c)
{
	uint64_t flight = tcp_conn_snd_max(c) - tcp_conn_una(c);
	uint32_t len = flight < c->snd_mss_bytes ? (uint32_t)flight : c->snd_mss_bytes;
	uint32_t mss = c->retries > BLACK_HOLE_TIMEOUTS ? least_mss(c) : base_mss(c);

	c->loss &= (uint16_t)~TCP_L_MTU_OUT;
	if (ctx->cfg->mtu_probing == TCP_MTU_OFF || len <= mss || c->retries == 0 ||
		c->retries % BLACK_HOLE_TIMEOUTS != 0)
		return;
	ctx->counters->mtu_black_holes++;
	begin_search(ctx, c, mss);
}

/* Nothing is left to try, or for a time: or everything is as it was. */
static void check_range(struct tcp_conn *c, struct tcp_extra *x, uint64_t now_us)
{
	if (c->snd_mss_bytes >= x->mtu_top) {
		x->mtu_top = 0;
		c->loss &= (uint16_t)~TCP_L_MTU;
	} else if (c->snd_mss_bytes + RANGE_MIN_BYTES > x->mtu_high) {
		x->mtu_fails = COMPLETE;
		x->mtu_again_ms = tcp_ms(now_us) + AGAIN_MS;
	}
}

/* -- probes ---------------------------------------------------------------------------------- */

static uint32_t probe_bytes(const struct tcp_conn *c, const struct tcp_extra *x)
{
	if (x->mtu_high == x->mtu_top)
		return x->mtu_top;
	return (c->snd_mss_bytes + x->mtu_high + 1u) / 2;
}

static bool search_again(struct tcp_extra *x, uint64_t now_us)
{
	if ((int32_t)(tcp_ms(now_us) - x->mtu_again_ms) < 0)
		return false;
	x->mtu_high = x->mtu_top;
	x->mtu_fails = 0;
	return true;
}

/* RFC 4821 section 7.4: data for the probe and what must follow, room for both, and no loss. */
static bool may_probe(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint32_t bytes)
{
	uint64_t end = tcp_conn_snd_nxt(c) + bytes + BEHIND_SEGMENTS * c->snd_mss_bytes;
	uint64_t una = tcp_conn_una(c);

	return tcp_conn_has(c, TCP_F_SACK) && c->snd_nxt_low == c->snd_max_low &&
	       !tcp_conn_in_episode(c) && !(c->loss & (TCP_L_MTU_OUT | TCP_L_FRTO)) &&
	       c->retries == 0 && !tcp_conn_has(c, TCP_F_PACE_HOLD) &&
	       tcp_conn_pipe(ctx, c) == tcp_conn_flight(c) && end <= c->snd_end_pos &&
	       end <= una + c->cwnd && end <= una + c->snd_wnd;
}

uint32_t tcp_mtu_probe(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	uint32_t bytes;

	if (x->mtu_fails == COMPLETE && !search_again(x, now_us))
		return 0;
	bytes = probe_bytes(c, x);
	if (!may_probe(ctx, c, bytes))
		return 0;
	x->mtu_seq = tcp_conn_snd_seq(c, tcp_conn_snd_nxt(c));
	c->loss |= TCP_L_MTU_OUT;
	ctx->counters->mtu_probes++;
	return bytes;
}

void tcp_mtu_acked(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	uint32_t bytes = probe_bytes(c, x);

	if (tcp_seq_lt(tcp_conn_una_seq(c), x->mtu_seq + bytes))
		return;
	c->loss &= (uint16_t)~TCP_L_MTU_OUT;
	c->snd_mss_bytes = (uint16_t)bytes;
	/* RFC 5681's least of both; of less than a segment none would ever be sent. */
	if (c->cwnd < bytes)
		c->cwnd = bytes;
	if (c->ssthresh < 2 * bytes)
		c->ssthresh = 2 * bytes;
	x->mtu_fails = 0;
	ctx->counters->mtu_raised++;
	check_range(c, x, now_us);
}

bool tcp_mtu_lost(
	struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t start_pos, uint32_t len, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	uint32_t bytes;

	if (!tcp_conn_loss(c, TCP_L_MTU_OUT))
		return false;
	bytes = probe_bytes(c, x);
	c->loss &= (uint16_t)~TCP_L_MTU_OUT;
	if (tcp_conn_snd_seq(c, start_pos) != x->mtu_seq || len != bytes)
		return false;
	ctx->counters->mtu_probes_lost++;
	if (++x->mtu_fails == PROBES_MAX) {
		x->mtu_fails = 0;
		x->mtu_high = (uint16_t)(bytes - 1);
		check_range(c, x, now_us);
	}
	return true;
}

/* What a router says ends a search above it (RFC 4821 section 7.6.2). */
bool tcp_mtu_bounded(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t mss)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);

	if (!tcp_conn_loss(c, TCP_L_MTU) || mss >= x->mtu_high)
		return false;
	c->loss &= (uint16_t)~TCP_L_MTU_OUT;
	x->mtu_high = (uint16_t)mss;
	return true;
}
