/* Fuzzes the boundary where a TCP header becomes a struct tcp_segment, and the answers that
 * need no connection.
 *
 * The input is a TCP header with options and payload, as it follows the IP header. Whatever
 * it is, the parser must stay inside of it; what it accepts must survive being encoded and
 * parsed again; and every reply to it must be a segment that we would accept ourselves.
 */
#include <net/wire.h>
#include <tcp/counters.h>
#include <tcp/half.h>
#include <tcp/options.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	NOW_US = 1000000000,
};

/* Not assert(): a fuzzer must notice in every kind of build. */
static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_round_trip(const struct tcp_segment *seg)
{
	struct tcp_options again;
	uint8_t bytes[TCP_OPTIONS_MAX];
	unsigned int len = tcp_options_encode(&seg->opt, bytes);

	require(len <= TCP_OPTIONS_MAX && len % 4 == 0);
	require(tcp_options_parse(&again, bytes, len, seg->flags) == 0);
	require(memcmp(&again, &seg->opt, sizeof(again)) == 0);
}

/* The reply, put on the wire and parsed as its receiver would. */
static void check_reply(uint32_t events, const struct tcp_out *out)
{
	uint8_t header[20 + TCP_OPTIONS_MAX] = {0};
	struct tcp_segment seg;
	enum tcp_drop reason;

	if (!(events & TCP_EV_REPLY))
		return;
	require(out->opt_len <= TCP_OPTIONS_MAX && out->opt_len % 4 == 0 && out->len == 0);
	net_put32(header + 4, out->seq);
	net_put32(header + 8, out->ack);
	header[12] = (uint8_t)((5 + out->opt_len / 4) << 4);
	header[13] = out->flags;
	net_put16(header + 14, out->wnd);
	memcpy(header + 20, out->opt, out->opt_len);
	require(tcp_segment_parse(&seg, header, 20u + out->opt_len, &reason) == 0);
	require(seg.seq == out->seq && seg.flags == out->flags && seg.len == 0);
}

/* Closed port, listening port, the half-open entry that follows, cookies. */
static void check_answers(struct tcp_ctx *ctx, const struct tcp_segment *seg)
{
	struct tcp_half h = {0};
	struct tcp_out out;
	uint32_t events;

	events = tcp_closed_input(ctx, seg, &out);
	require(!(seg->flags & TCP_RST) || events == 0);
	check_reply(events, &out);
	events = tcp_listen_input(ctx, &h, seg, NOW_US, &out);
	check_reply(events, &out);
	if (events && (out.flags & TCP_SYN)) {
		require(h.mss >= ctx->cfg->mss_min_bytes && h.mss <= ctx->cfg->mss_max_bytes);
		require(h.snd_wscale <= 14 && h.rcv_wscale <= 14);
		check_reply(tcp_half_input(ctx, &h, seg, NOW_US, &out), &out);
		check_reply(tcp_half_timer(ctx, &h, h.entry.deadline_us, &out), &out);
		check_reply(tcp_cookie_reply(ctx, seg, NOW_US, &out), &out);
	}
	events = tcp_cookie_input(ctx, &h, seg, NOW_US);
	require(events == 0 || events == TCP_EV_PROMOTE);
}

/* Any segment to a half-open entry whose numbers it can hit: our side of them is taken from
 * the segment itself. */
static void check_half(struct tcp_ctx *ctx, const struct tcp_segment *seg, const uint8_t *shift)
{
	struct tcp_segment syn = {.key = seg->key, .flags = TCP_SYN, .opt = seg->opt};
	struct tcp_half h = {0};
	struct tcp_out out;
	uint32_t events;

	syn.seq = seg->seq - 1 + shift[0];
	syn.opt.ts_val += shift[1];
	tcp_half_init(ctx, &h, &syn, seg->ack - 1 + (shift[2] & 3), NOW_US);
	events = tcp_half_input(ctx, &h, seg, NOW_US, &out);
	require(events == 0 || events == TCP_EV_REPLY || events == TCP_EV_CLOSED ||
		events == TCP_EV_PROMOTE);
	if (events == TCP_EV_PROMOTE)
		require((seg->flags & (TCP_ACK | TCP_SYN | TCP_RST)) == TCP_ACK &&
			seg->ack == h.iss + 1);
	check_reply(events, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tcp_config cfg;
	struct tcp_counters counters = {0};
	struct tcp_ctx ctx = {.cfg = &cfg, .counters = &counters};
	struct tcp_segment seg;
	enum tcp_drop reason;
	uint8_t *copy = malloc(size ? size : 1); /* exact: a sanitizer sees reads past it */

	require(copy != NULL);
	if (size)
		memcpy(copy, data, size);
	tcp_config_default(&cfg);
	memset(&seg, 0, sizeof(seg));
	if (tcp_segment_parse(&seg, copy, size, &reason) == 0) {
		require(reason == TCP_DROP_NONE);
		require(seg.payload + seg.len == copy + size && seg.payload >= copy + 20);
		seg.key.lport = net_get16(copy + 2);
		seg.key.rport = net_get16(copy);
		check_round_trip(&seg);
		check_answers(&ctx, &seg);
		check_half(&ctx, &seg, copy + 16); /* checksum and urgent pointer steer */
	} else {
		require(reason > TCP_DROP_NONE && reason < TCP_DROP_COUNT);
	}
	free(copy);
	return 0;
}
