/* SYN cookies (RFC 4987 section 3.6): the half-open entry lies in our sequence number.
 *
 *     31    27 26 24 23                    0
 *    | tick   | mss | MAC                   |
 *
 * tick: the low 5 bits of a counter of 64 s; mss: index of the table below; MAC: 24 bits of
 * SipHash-2-4 over the tuple, the peer's number, the whole counter and the index. A guess
 * hits with 2^-27.4, so that a flood of ACKs does not pay. What the SYN offered beside the
 * MSS is lost: no scaling, no timestamps, no SACK. A cookie lives for its own tick and two
 * more, 128 to 192 s.
 *
 * An engine should ask tcp_cookie_input() only while it gave out cookies recently: each
 * ACK that meets no entry is one more chance to guess.
 */
#include <tcp/counters.h>
#include <tcp/half.h>
#include <tcp/options.h>
#include <tcp/reply.h>
#include <tcp/siphash.h>

enum {
	TICK_US = 64 * 1000 * 1000,
	TICKS_MAX = 2,
	TICK_SHIFT = 27,
	TICK_MASK = 31,
	MSS_SHIFT = 24,
	MSS_MASK = 7,
	MAC_MASK = 0xffffff,
};

/* Least of all; the RFC's default; IPv6 minimum less headers; tunnels; PPPoE; Ethernet with and
 * without IPv6; jumbo. The first must be <= any cfg->mss_min_bytes. */
static const uint16_t mss_table[MSS_MASK + 1] = {48, 536, 1220, 1360, 1440, 1452, 1460, 8960};

static uint32_t make_cookie(const struct tcp_ctx *ctx, const struct net_tuple *key, uint32_t irs,
	uint64_t tick, uint32_t mss_idx)
{
	struct {
		struct net_tuple key;
		uint32_t irs;
		uint64_t tick;
		uint64_t mss_idx;
	} in = {*key, irs, tick, mss_idx};
	static_assert(sizeof(in) == 56, "no padding is hashed");
	uint32_t mac = tcp_siphash24(ctx->cookie_key, &in, sizeof(in)) & MAC_MASK;

	return (uint32_t)(tick & TICK_MASK) << TICK_SHIFT | mss_idx << MSS_SHIFT | mac;
}

/* The largest entry that the peer can take. */
static uint32_t mss_index(uint16_t mss)
{
	uint32_t i = MSS_MASK;

	while (i > 0 && mss_table[i] > mss)
		i--;
	return i;
}

/* The SYN as the cookie remembers it. */
static struct tcp_segment plain_syn(
	const struct net_tuple *key, uint32_t irs, uint32_t wnd, uint16_t mss)
{
	return (struct tcp_segment){
		.key = *key,
		.seq = irs,
		.wnd = wnd,
		.flags = TCP_SYN,
		.opt = {.has_mss = true, .mss = mss},
	};
}

uint32_t tcp_cookie_reply(
	struct tcp_ctx *ctx, const struct tcp_segment *seg, uint64_t now_us, struct tcp_out *reply)
{
	struct tcp_half h = {0};
	struct tcp_segment syn;
	uint32_t mss_idx;

	assert((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN);
	if (tcp_reply_is_land(seg)) {
		ctx->counters->seg_land++;
		return 0;
	}
	mss_idx = mss_index(tcp_options_peer_mss(ctx->cfg, &seg->key.remote, &seg->opt));
	syn = plain_syn(&seg->key, seg->seq, seg->wnd, mss_table[mss_idx]);
	tcp_half_init(ctx, &h, &syn,
		make_cookie(ctx, &seg->key, seg->seq, now_us / TICK_US, mss_idx), now_us);
	tcp_half_synack(ctx, &h, now_us, reply);
	ctx->counters->cookies_sent++;
	return TCP_EV_REPLY;
}

uint32_t tcp_cookie_input(
	struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg, uint64_t now_us)
{
	uint32_t cookie = seg->ack - 1;
	uint32_t irs = seg->seq - 1;
	uint32_t mss_idx = cookie >> MSS_SHIFT & MSS_MASK;
	uint64_t now_tick = now_us / TICK_US;
	uint64_t age_ticks = (now_tick - (cookie >> TICK_SHIFT)) & TICK_MASK;
	struct tcp_segment syn;

	if ((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_ACK)
		return 0;
	if (make_cookie(ctx, &seg->key, irs, now_tick - age_ticks, mss_idx) != cookie) {
		ctx->counters->cookie_invalid++;
		return 0;
	}
	if (age_ticks > TICKS_MAX) {
		ctx->counters->cookie_expired++;
		return 0;
	}
	syn = plain_syn(&seg->key, irs, seg->wnd, mss_table[mss_idx]);
	tcp_half_init(ctx, h, &syn, cookie, now_us);
	h->flags |= TCP_HALF_COOKIE;
	ctx->counters->cookies_accepted++;
	return TCP_EV_PROMOTE;
}
