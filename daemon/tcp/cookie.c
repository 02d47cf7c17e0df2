/* SYN cookies (RFC 4987 section 3.6): the half-open entry lies in our sequence number.
 *
 *     31    27 26 24 23                    0
 *    | tick   | mss | MAC                   |
 *
 * tick: the low 5 bits of a counter of 64 s; mss: index of the table below; MAC: 24 bits of
 * SipHash-2-4 over the tuple, the peer's number, the whole counter, the index and what follows.
 * A guess hits with 2^-27.4, so that a flood of ACKs does not pay. A cookie lives for its own tick
 * and two more, 128 to 192 s. Its key is another one every 64 ticks, made from the one that the
 * engine was given, so that nobody collects more than 68 minutes' worth of any.
 *
 * The rest of what the SYN offered comes back to us in the echo of our timestamp, if the peer has
 * timestamps: the SYN|ACK's is the latest one, not later than now, that ends in
 *
 *       5    4      3        0
 *    | ECN | SACK | wscale     |     wscale 15: the SYN had none
 *
 * It is up to 63 ms behind the clock, never ahead, so that those that follow do not go back; its
 * echo times no round trip. The MAC covers these bits: a box that rewrites timestamps, or a peer
 * that makes its own, must not leave the two ends with different ideas of the scales. Without
 * timestamps only the MSS is kept.
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
	TICKS_PER_KEY = 64,
};

/* Low bits of the SYN|ACK's timestamp. */
enum {
	TS_WSCALE_MASK = 15,
	TS_WSCALE_NONE = 15,
	TS_SACK = 1 << 4,
	TS_ECN = 1 << 5,
	TS_MASK = 63,
	TS_NONE = 64, /* for the MAC: no timestamps, and so none of it */
};
static_assert((int)TCP_WSCALE_MAX < (int)TS_WSCALE_NONE, "a value that no scale has");

/* Least of all; the RFC's default; IPv6 minimum less headers; tunnels; PPPoE; Ethernet with and
 * without IPv6; jumbo. The first must be <= any cfg->mss_min_bytes. */
static const uint16_t mss_table[MSS_MASK + 1] = {48, 536, 1220, 1360, 1440, 1452, 1460, 8960};

/* What a cookie says beside its tick. */
struct content {
	uint32_t irs;
	uint32_t mss_idx;
	uint32_t ts_bits; /* TS_NONE, or the low bits of our timestamp */
};

static uint32_t make_cookie(const struct tcp_ctx *ctx, const struct net_tuple *key,
	const struct content *content, uint64_t tick)
{
	struct {
		struct net_tuple key;
		struct content content;
		uint64_t tick;
	} in = {*key, *content, tick};
	static_assert(sizeof(in) == 56, "no padding is hashed");
	uint8_t secret[16];
	uint32_t mac;

	tcp_siphash_key(ctx->cookie_key, tick / TICKS_PER_KEY, secret);
	mac = tcp_siphash24(secret, &in, sizeof(in)) & MAC_MASK;
	return (uint32_t)(tick & TICK_MASK) << TICK_SHIFT | content->mss_idx << MSS_SHIFT | mac;
}

/* The largest entry that the peer can take. */
static uint32_t mss_index(uint16_t mss)
{
	uint32_t i = MSS_MASK;

	while (i > 0 && mss_table[i] > mss)
		i--;
	return i;
}

static uint32_t ts_bits_of(const struct tcp_half *h)
{
	if (!(h->flags & TCP_HALF_TS))
		return TS_NONE;
	return (h->flags & TCP_HALF_WSCALE ? h->snd_wscale : TS_WSCALE_NONE) |
	       (h->flags & TCP_HALF_SACK ? TS_SACK : 0) | (h->flags & TCP_HALF_ECN ? TS_ECN : 0);
}

uint32_t tcp_cookie_ts_val(const struct tcp_half *h, uint32_t ts_now)
{
	return ts_now - ((ts_now - ts_bits_of(h)) & TS_MASK);
}

/* The SYN as the cookie remembers it, from the segment that brings the cookie back. */
static struct tcp_segment remembered_syn(
	const struct tcp_segment *seg, const struct content *content)
{
	uint32_t bits = content->ts_bits;
	bool has_ts = bits != TS_NONE;

	return (struct tcp_segment){
		.key = seg->key,
		.seq = content->irs,
		.wnd = seg->wnd,
		.flags = TCP_SYN | (has_ts && bits & TS_ECN ? TCP_ECE | TCP_CWR : 0),
		.opt = {.has_mss = true,
			.mss = mss_table[content->mss_idx],
			.has_ts = has_ts,
			.ts_val = seg->opt.ts_val,
			.has_wscale = has_ts && (bits & TS_WSCALE_MASK) != TS_WSCALE_NONE,
			.wscale = bits & TS_WSCALE_MASK,
			.sack_permitted = has_ts && bits & TS_SACK},
	};
}

/* What a SYN without timestamps offers is not remembered, and so not agreed upon. */
static struct tcp_segment offered_syn(const struct tcp_ctx *ctx, const struct tcp_segment *seg)
{
	struct tcp_segment syn = *seg;

	if (seg->opt.has_ts && ctx->cfg->timestamps)
		return syn;
	syn.opt.has_wscale = false;
	syn.opt.sack_permitted = false;
	syn.flags = TCP_SYN;
	return syn;
}

uint32_t tcp_cookie_reply(
	struct tcp_ctx *ctx, const struct tcp_segment *seg, uint64_t now_us, struct tcp_out *reply)
{
	struct tcp_half h = {0};
	struct tcp_segment syn;
	struct content content = {.irs = seg->seq};

	/* The caller has told a SYN from all else: listen_segment(). */
	assert((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN);
	if (tcp_reply_is_land(seg)) {
		ctx->counters->seg_land++;
		return 0;
	}
	syn = offered_syn(ctx, seg);
	tcp_half_init(ctx, &h, &syn, 0, now_us);
	h.flags |= TCP_HALF_COOKIE;
	content.mss_idx = mss_index(h.mss);
	content.ts_bits = ts_bits_of(&h);
	h.iss = make_cookie(ctx, &seg->key, &content, now_us / TICK_US);
	tcp_half_synack(ctx, &h, now_us, reply);
	ctx->counters->cookies_sent++;
	return TCP_EV_REPLY;
}

uint32_t tcp_cookie_input(
	struct tcp_ctx *ctx, struct tcp_half *h, const struct tcp_segment *seg, uint64_t now_us)
{
	uint32_t cookie = seg->ack - 1;
	uint64_t now_tick = now_us / TICK_US;
	uint64_t age_ticks = (now_tick - (cookie >> TICK_SHIFT)) & TICK_MASK;
	struct content content = {
		.irs = seg->seq - 1,
		.mss_idx = cookie >> MSS_SHIFT & MSS_MASK,
		.ts_bits = TS_NONE,
	};
	struct tcp_segment syn;

	if ((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_ACK)
		return 0;
	if (seg->opt.has_ts && ctx->cfg->timestamps)
		content.ts_bits = seg->opt.ts_ecr & TS_MASK;
	if (make_cookie(ctx, &seg->key, &content, now_tick - age_ticks) != cookie) {
		ctx->counters->cookie_invalid++;
		return 0;
	}
	if (age_ticks > TICKS_MAX) {
		ctx->counters->cookie_expired++;
		return 0;
	}
	syn = remembered_syn(seg, &content);
	tcp_half_init(ctx, h, &syn, cookie, now_us);
	h->flags |= TCP_HALF_COOKIE;
	ctx->counters->cookies_accepted++;
	if (content.ts_bits != TS_NONE)
		ctx->counters->cookies_kept_options++;
	return TCP_EV_PROMOTE;
}
