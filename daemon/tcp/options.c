/* Reads and writes options; options.h says which are legal where. Reading is one loop that
 * advances by at least one byte a turn and checks each length before it looks further;
 * writing aligns every option to four bytes, in the order that all stacks use.
 */
#include <tcp/options.h>

#include <net/wire.h>

#include <errno.h>

enum {
	KIND_END = 0,
	KIND_NOP = 1,
	KIND_MSS = 2,
	KIND_WSCALE = 3,
	KIND_SACK_PERMITTED = 4,
	KIND_SACK = 5,
	KIND_TS = 8,
	KIND_FASTOPEN = 34,
};

enum {
	LEN_MSS = 4,
	LEN_WSCALE = 3,
	LEN_SACK_PERMITTED = 2,
	LEN_SACK_HEAD = 2,
	LEN_SACK_BLOCK = 8,
	LEN_TS = 10,
	LEN_FASTOPEN_HEAD = 2,
	FASTOPEN_COOKIE_MIN = 4,
};

static void take_sack(struct tcp_options *opt, const uint8_t *p, unsigned int len)
{
	unsigned int count = (len - LEN_SACK_HEAD) / LEN_SACK_BLOCK;

	if (count == 0 || count > TCP_SACK_BLOCKS_MAX ||
		len != LEN_SACK_HEAD + count * LEN_SACK_BLOCK)
		return;
	memset(opt->sack, 0, sizeof(opt->sack)); /* nothing of an earlier SACK option stays */
	opt->sack_count = (uint8_t)count;
	for (unsigned int i = 0; i < count; i++) {
		opt->sack[i].start = net_get32(p + 2 + 8 * i);
		opt->sack[i].end = net_get32(p + 6 + 8 * i);
	}
}

/* A request, or a cookie of an even length from 4 to 16. */
static void take_fastopen(struct tcp_options *opt, const uint8_t *p, unsigned int len)
{
	unsigned int cookie = len - LEN_FASTOPEN_HEAD;

	if (cookie % 2 || cookie > TCP_FASTOPEN_COOKIE_MAX ||
		(cookie > 0 && cookie < FASTOPEN_COOKIE_MIN))
		return;
	memset(opt->fastopen, 0, sizeof(opt->fastopen)); /* nothing of an earlier option stays */
	opt->has_fastopen = true;
	opt->fastopen_len = (uint8_t)cookie;
	memcpy(opt->fastopen, p + LEN_FASTOPEN_HEAD, cookie);
}

static void take_ts(struct tcp_options *opt, const uint8_t *p, uint8_t flags)
{
	if (flags & TCP_RST)
		return;
	opt->has_ts = true;
	opt->ts_val = net_get32(p + 2);
	opt->ts_ecr = net_get32(p + 6);
}

/* One option of `len` >= 2 bytes, all of them there. The table in options.h. */
static void take(struct tcp_options *opt, const uint8_t *p, unsigned int len, uint8_t flags)
{
	bool syn = flags & TCP_SYN;

	if (p[0] == KIND_MSS && len == LEN_MSS && syn) {
		opt->has_mss = true;
		opt->mss = net_get16(p + 2);
	} else if (p[0] == KIND_WSCALE && len == LEN_WSCALE && syn) {
		opt->has_wscale = true;
		opt->wscale = p[2] < TCP_WSCALE_MAX ? p[2] : TCP_WSCALE_MAX;
	} else if (p[0] == KIND_SACK_PERMITTED && len == LEN_SACK_PERMITTED && syn) {
		opt->sack_permitted = true;
	} else if (p[0] == KIND_SACK && !syn && (flags & TCP_ACK)) {
		take_sack(opt, p, len);
	} else if (p[0] == KIND_TS && len == LEN_TS) {
		take_ts(opt, p, flags);
	} else if (p[0] == KIND_FASTOPEN && syn) {
		take_fastopen(opt, p, len);
	}
}

/* As RFC 7323 appendix A recommends it, and nearly every segment has it. */
static bool is_ts_alone(const uint8_t *bytes)
{
	return net_get32(bytes) == (KIND_NOP << 24 | KIND_NOP << 16 | KIND_TS << 8 | LEN_TS);
}

int tcp_options_parse(
	struct tcp_options *opt, const uint8_t *bytes, unsigned int len_bytes, uint8_t flags)
{
	unsigned int at = 0;

	memset(opt, 0, sizeof(*opt));
	if (len_bytes == 2 + LEN_TS && is_ts_alone(bytes)) {
		take_ts(opt, bytes + 2, flags);
		return 0;
	}
	while (at < len_bytes && bytes[at] != KIND_END) {
		unsigned int len;

		if (bytes[at] == KIND_NOP) {
			at++;
			continue;
		}
		if (len_bytes - at < 2)
			return -EBADMSG;
		len = bytes[at + 1];
		if (len < 2 || len > len_bytes - at)
			return -EBADMSG;
		take(opt, bytes + at, len, flags);
		at += len;
	}
	return 0;
}

/* Kind and length of an option of `len` bytes at `at`; returns where the next one goes. */
static unsigned int put_head(uint8_t *out, unsigned int at, uint8_t kind, unsigned int len)
{
	out[at] = kind;
	out[at + 1] = (uint8_t)len;
	return at + len;
}

static unsigned int put_nops(uint8_t *out, unsigned int at, unsigned int count)
{
	memset(out + at, KIND_NOP, count);
	return at + count;
}

static unsigned int put_times(uint8_t *out, unsigned int at, uint32_t val, uint32_t ecr)
{
	net_put32(out + at + 2, val);
	net_put32(out + at + 6, ecr);
	return put_head(out, at, KIND_TS, LEN_TS);
}

/* SACK permitted fills the two bytes that align the timestamps, as everybody sends them. */
static unsigned int put_ts(const struct tcp_options *opt, uint8_t *out, unsigned int at)
{
	if (opt->sack_permitted)
		at = put_head(out, at, KIND_SACK_PERMITTED, LEN_SACK_PERMITTED);
	else
		at = put_nops(out, at, 2);
	if (!opt->has_ts)
		return put_nops(out, at, 2);
	return put_times(out, at, opt->ts_val, opt->ts_ecr);
}

static unsigned int put_fastopen(const struct tcp_options *opt, uint8_t *out, unsigned int at)
{
	unsigned int len = LEN_FASTOPEN_HEAD + opt->fastopen_len;

	at = put_nops(out, at, -len % 4);
	memcpy(out + at + LEN_FASTOPEN_HEAD, opt->fastopen, opt->fastopen_len);
	return put_head(out, at, KIND_FASTOPEN, len);
}

unsigned int tcp_options_encode_ts(uint32_t val, uint32_t ecr, uint8_t out[TCP_OPTIONS_MAX])
{
	return put_times(out, put_nops(out, 0, 2), val, ecr);
}

static unsigned int put_sack(const struct tcp_options *opt, uint8_t *out, unsigned int at)
{
	unsigned int fit = (TCP_OPTIONS_MAX - at - 2 - LEN_SACK_HEAD) / LEN_SACK_BLOCK;
	unsigned int count = opt->sack_count < fit ? opt->sack_count : fit;

	at = put_nops(out, at, 2);
	for (unsigned int i = 0; i < count; i++) {
		net_put32(out + at + 2 + 8 * i, opt->sack[i].start);
		net_put32(out + at + 6 + 8 * i, opt->sack[i].end);
	}
	return put_head(out, at, KIND_SACK, LEN_SACK_HEAD + count * LEN_SACK_BLOCK);
}

unsigned int tcp_options_encode(const struct tcp_options *opt, uint8_t out[TCP_OPTIONS_MAX])
{
	unsigned int at = 0;

	assert(opt->sack_count <= TCP_SACK_BLOCKS_MAX);
	if (opt->has_mss) {
		net_put16(out + 2, opt->mss);
		at = put_head(out, at, KIND_MSS, LEN_MSS);
	}
	if (opt->sack_permitted || opt->has_ts)
		at = put_ts(opt, out, at);
	if (opt->has_wscale) {
		at = put_nops(out, at, 1);
		out[at + 2] = opt->wscale;
		at = put_head(out, at, KIND_WSCALE, LEN_WSCALE);
	}
	if (opt->has_fastopen)
		at = put_fastopen(opt, out, at);
	if (opt->sack_count)
		at = put_sack(opt, out, at);
	/* The most there can be is 40: a SYN's MSS, SACK and timestamps, scale, and a cookie of 16
	 * bytes; SACK blocks are cut to what is left. */
	assert(at % 4 == 0 && at <= TCP_OPTIONS_MAX);
	return at;
}

uint16_t tcp_mss_max(const struct tcp_config *cfg, const struct net_addr *peer)
{
	uint32_t mss = net_addr_is_ip4(peer) ? cfg->mss_max_bytes : cfg->mss6_max_bytes;

	return (uint16_t)(mss < UINT16_MAX ? mss : UINT16_MAX);
}

uint16_t tcp_options_peer_mss(
	const struct tcp_config *cfg, const struct net_addr *peer, const struct tcp_options *opt)
{
	uint32_t unsaid = net_addr_is_ip4(peer) ? TCP_MSS_DEFAULT : TCP_MSS6_DEFAULT;
	uint32_t mss = opt->has_mss ? opt->mss : unsaid;
	uint32_t mss_max = tcp_mss_max(cfg, peer);

	if (mss > mss_max)
		mss = mss_max;
	if (mss < cfg->mss_min_bytes)
		mss = cfg->mss_min_bytes;
	return (uint16_t)mss;
}

uint8_t tcp_options_rcv_wscale(const struct tcp_config *cfg)
{
	uint8_t scale = 0;

	if (!cfg->window_scale)
		return 0;
	while (scale < TCP_WSCALE_MAX && cfg->rcvbuf_max_bytes >> scale > UINT16_MAX)
		scale++;
	return scale;
}
