/* Path MTU discovery without ICMP: RFC 4821, with the phases of RFC 8899 section 5.2.
 *
 *	disabled --- black hole ---> search <--- 10 minutes --- complete <--- a router said so
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
 * Without SACK the loss of a probe is seen by duplicate ACKs or the timer, which answer it as
 * congestion (RFC 4821 section 7.6.1 allows that); that it was the first one lost counts all the
 *same.
 *
 * Who exchanges messages never has what must follow a probe. There a message that is longer than a
 * segment goes as one packet now and then, when nothing else is in flight: TCP_L_MTU_ALONE. Should
 * it not pass, that is a time-out, and so once in ten minutes is enough.
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

static void probe_failed(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);

	ctx->counters->mtu_probes_lost++;
	if (tcp_conn_loss(c, TCP_L_MTU_ALONE)) {
		x->mtu_fails = COMPLETE;
		x->mtu_again_ms = tcp_ms(now_us) + AGAIN_MS;
	} else if (++x->mtu_fails == PROBES_MAX) {
		x->mtu_fails = 0;
		x->mtu_high = (uint16_t)(x->mtu_bytes - 1);
		check_range(c, x, now_us);
	}
}

/* The oldest of what is in flight is lost, and no SACK tells what else is. */
void tcp_mtu_first_lost(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	bool probe = tcp_conn_loss(c, TCP_L_MTU_OUT) &&
		     tcp_conn_una_seq(c) == tcp_extra(ctx, c)->mtu_seq;

	c->loss &= (uint16_t)~TCP_L_MTU_OUT;
	if (probe && (tcp_conn_loss(c, TCP_L_MTU_ALONE) || !tcp_conn_has(c, TCP_F_SACK)))
		probe_failed(ctx, c, now_us);
}

/* What goes out again now is one segment, of `len` bytes. */
void tcp_mtu_timed_out(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	uint64_t flight = tcp_conn_snd_max(c) - tcp_conn_una(c);
	uint32_t len = flight < c->snd_mss_bytes ? (uint32_t)flight : c->snd_mss_bytes;
	uint32_t mss = c->retries > BLACK_HOLE_TIMEOUTS ? least_mss(c) : base_mss(c);

	tcp_mtu_first_lost(ctx, c, now_us);
	if (ctx->cfg->mtu_probing == TCP_MTU_OFF || len <= mss || c->retries == 0 ||
		c->retries % BLACK_HOLE_TIMEOUTS != 0)
		return;
	ctx->counters->mtu_black_holes++;
	begin_search(ctx, c, mss);
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

/* Nothing lost, nothing on trial, nothing that forbids to send. */
static bool is_quiet(const struct tcp_ctx *ctx, const struct tcp_conn *c)
{
	return c->snd_nxt_low == c->snd_max_low && !tcp_conn_in_episode(c) &&
	       !(c->loss & (TCP_L_MTU_OUT | TCP_L_FRTO)) && c->retries == 0 && c->dupacks == 0 &&
	       !tcp_conn_has(c, TCP_F_PACE_HOLD) && tcp_conn_pipe(ctx, c) == tcp_conn_flight(c);
}

static bool windows_hold(const struct tcp_conn *c, uint64_t end_pos)
{
	uint64_t una = tcp_conn_una(c);

	return end_pos <= una + c->cwnd && end_pos <= una + c->snd_wnd;
}

/* RFC 4821 section 7.4: data for the probe and what must follow, and room for both; or all there is
 * to send, with nothing else in flight. How long the probe will be; 0: not now. */
static uint32_t may_probe(const struct tcp_conn *c, uint32_t bytes)
{
	uint64_t nxt = tcp_conn_snd_nxt(c), left = c->snd_end_pos - nxt;
	uint32_t behind = BEHIND_SEGMENTS * (uint32_t)c->snd_mss_bytes;

	if (left >= bytes + behind)
		return windows_hold(c, nxt + bytes + behind) ? bytes : 0;
	if (left < bytes)
		bytes = (uint32_t)left;
	if (tcp_conn_flight(c) > 0 || bytes <= c->snd_mss_bytes ||
		(c->flags & (TCP_F_CORK | TCP_F_MORE)))
		return 0;
	return windows_hold(c, nxt + bytes) ? bytes : 0;
}

uint32_t tcp_mtu_probe(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	uint32_t bytes;

	if (tcp_conn_snd_nxt(c) >= c->snd_end_pos || !tcp_conn_sends(c) || !is_quiet(ctx, c))
		return 0;
	if (x->mtu_fails == COMPLETE && !search_again(x, now_us))
		return 0;
	bytes = may_probe(c, probe_bytes(c, x));
	if (bytes == 0)
		return 0;
	x->mtu_bytes = (uint16_t)bytes;
	x->mtu_seq = tcp_conn_snd_seq(c, tcp_conn_snd_nxt(c));
	c->loss &= (uint16_t)~TCP_L_MTU_ALONE;
	c->loss |= TCP_L_MTU_OUT;
	if (tcp_conn_snd_nxt(c) + bytes + c->snd_mss_bytes > c->snd_end_pos)
		c->loss |= TCP_L_MTU_ALONE;
	ctx->counters->mtu_probes++;
	return bytes;
}

void tcp_mtu_acked(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_extra *x = tcp_extra_have(ctx, c);
	uint32_t bytes = x->mtu_bytes;

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

	if (!tcp_conn_loss(c, TCP_L_MTU_OUT))
		return false;
	c->loss &= (uint16_t)~TCP_L_MTU_OUT;
	/* Of one that was alone the end is known to arrive, by the probe of the tail. */
	if (tcp_conn_snd_seq(c, start_pos) != x->mtu_seq ||
		(len != x->mtu_bytes && !tcp_conn_loss(c, TCP_L_MTU_ALONE)))
		return false;
	probe_failed(ctx, c, now_us);
	return len == x->mtu_bytes;
}

/* Segments become `mss` because a router says so. Another way there may be again: RFC 1191 section
 * 6.3 has it tried in ten minutes. */
void tcp_mtu_reduced(struct tcp_ctx *ctx, struct tcp_conn *c, uint32_t mss, uint64_t now_us)
{
	uint16_t before = c->snd_mss_bytes;
	struct tcp_extra *x;

	c->snd_mss_bytes = (uint16_t)mss;
	if (ctx->cfg->mtu_probing == TCP_MTU_OFF || tcp_mtu_bounded(ctx, c, mss) ||
		tcp_conn_loss(c, TCP_L_MTU))
		return;
	x = tcp_extra_make(ctx, c);
	if (!x)
		return;
	x->mtu_top = before;
	x->mtu_high = (uint16_t)mss;
	x->mtu_fails = COMPLETE;
	x->mtu_again_ms = tcp_ms(now_us) + AGAIN_MS;
	c->loss |= TCP_L_MTU;
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
