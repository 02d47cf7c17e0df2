#include "sim_wire.h"

#include "sim_fail.h"
#include "sim_pcapng.h"

#include <net/bytes.h>
#include <tcp/options.h>
#include <tcp/seq.h>
#include <tcp/tcp.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	ETH_HLEN = 14,
	IP4_HLEN = 20,
	IP6_HLEN = 40,
	IP_TCP = 6,
	TCP_HLEN = 20,
	MSS4_DEFAULT = 536, /* RFC 9293 section 3.7.1 */
	MSS6_DEFAULT = 1220,
};

/* A TCP frame as read from its bytes. */
struct view {
	uint16_t sport, dport;
	uint32_t seq, ack, wnd, len;
	uint8_t flags, ecn;
	bool ip6, has_ts;
	uint32_t ts, opt_len;
	uint16_t mss; /* 0: no option */
	int8_t wscale;
	uint8_t sack_count;
	const uint8_t *sack; /* blocks of eight bytes */
};

/* -- files ---------------------------------------------------------------------------------------
 */

void sim_wire_init(struct sim_wire *w)
{
	*w = (struct sim_wire){.judge = true, .pcapng = -1};
	w->flows = calloc(SIM_WIRE_FLOWS, sizeof(*w->flows));
	SIM_CHECK(w->flows, "no memory");
}

void sim_wire_fini(struct sim_wire *w)
{
	if (w->pcapng >= 0)
		close(w->pcapng);
	for (uint32_t i = 0; i < SIM_WIRE_FLOWS; i++)
		for (int side = 0; side < 2 && w->flows[i].ports; side++) {
			sim_ranges_fini(&w->flows[i].way[side].arrived);
			sim_ranges_fini(&w->flows[i].way[side].sacked);
		}
	free(w->flows);
}

int sim_wire_pcapng(struct sim_wire *w, const char *path, const char *comment)
{
	int fd = sim_pcapng_open(path, comment);

	if (fd < 0)
		return fd;
	w->pcapng = fd;
	return 0;
}

/* -- reading --------------------------------------------------------------------------------------
 */

/* Where an option of that kind begins; NULL if there is none. */
static const uint8_t *find_option(const uint8_t *opt, const uint8_t *end, uint8_t kind)
{
	while (opt < end && *opt) {
		if (*opt == 1) {
			opt++;
			continue;
		}
		if (end - opt < 2 || opt[1] < 2 || opt[1] > end - opt)
			return NULL;
		if (*opt == kind)
			return opt;
		opt += opt[1];
	}
	return NULL;
}

static void read_options(struct view *v, const uint8_t *opt, const uint8_t *end)
{
	const uint8_t *wscale = find_option(opt, end, 3), *sack = find_option(opt, end, 5);
	const uint8_t *mss = find_option(opt, end, 2), *ts = find_option(opt, end, 8);

	v->opt_len = (uint32_t)(end - opt);
	v->mss = mss && mss[1] == 4 ? net_get16(mss + 2) : 0;
	v->has_ts = ts && ts[1] == 10;
	v->ts = v->has_ts ? net_get32(ts + 2) : 0;
	v->wscale = wscale && wscale[1] == 3 ? (int8_t)wscale[2] : -1;
	v->sack_count = sack ? (uint8_t)((sack[1] - 2) / 8) : 0;
	v->sack = sack ? sack + 2 : NULL;
}

/* Where the segment begins, and its length; NULL: this is no TCP. */
static const uint8_t *find_segment(
	struct view *v, const uint8_t *frame, uint32_t len, uint32_t *segment_len)
{
	const uint8_t *ip = frame + ETH_HLEN;
	uint32_t hlen, total;

	if (len < ETH_HLEN + IP4_HLEN + TCP_HLEN)
		return NULL;
	v->ip6 = net_get16(frame + 12) == 0x86dd;
	if (v->ip6) {
		hlen = IP6_HLEN;
		total = IP6_HLEN + net_get16(ip + 4);
		v->ecn = ip[1] >> 4 & 3;
	} else {
		hlen = (uint32_t)(ip[0] & 15) * 4;
		total = net_get16(ip + 2);
		v->ecn = ip[1] & 3;
	}
	if ((!v->ip6 && net_get16(frame + 12) != 0x0800) || ip[v->ip6 ? 6 : 9] != IP_TCP ||
		total > len - ETH_HLEN || hlen + TCP_HLEN > total)
		return NULL;
	*segment_len = total - hlen;
	return ip + hlen;
}

static bool read_tcp(struct view *v, const uint8_t *frame, uint32_t len)
{
	uint32_t segment_len = 0, hlen;
	const uint8_t *tcp;

	*v = (struct view){0};
	tcp = find_segment(v, frame, len, &segment_len);
	if (!tcp)
		return false;
	hlen = (uint32_t)(tcp[12] >> 4) * 4;
	if (hlen < TCP_HLEN || hlen > segment_len)
		return false;
	v->sport = net_get16(tcp);
	v->dport = net_get16(tcp + 2);
	v->seq = net_get32(tcp + 4);
	v->ack = net_get32(tcp + 8);
	v->flags = tcp[13];
	v->wnd = net_get16(tcp + 14);
	v->len = segment_len - hlen;
	read_options(v, tcp + TCP_HLEN, tcp + hlen);
	return true;
}

/* -- judging
 * --------------------------------------------------------------------------------------- */

static struct sim_wire_flow *find_flow(struct sim_wire *w, int side, const struct view *v)
{
	uint32_t ports =
		side ? (uint32_t)v->dport << 16 | v->sport : (uint32_t)v->sport << 16 | v->dport;
	uint32_t i = (uint32_t)((ports + v->ip6) * UINT32_C(2654435761)) % SIM_WIRE_FLOWS;

	if (!ports)
		return NULL;
	while (w->flows[i].ports && (w->flows[i].ports != ports || w->flows[i].ip6 != v->ip6))
		i = (i + 1) % SIM_WIRE_FLOWS;
	if (w->flows[i].ports)
		return &w->flows[i];
	if (w->flow_count + 1 == SIM_WIRE_FLOWS)
		return NULL;
	w->flow_count++;
	w->flows[i].ports = ports;
	w->flows[i].ip6 = v->ip6;
	return &w->flows[i];
}

static void take_syn(struct sim_wire_way *mine, const struct sim_wire_syn *syn)
{
	mine->syn = true;
	mine->isn = syn->isn;
	mine->seq_end = syn->isn + 1;
	mine->wscale = syn->wscale;
	mine->ts = syn->ts;
	mine->mss = syn->mss;
}

static bool is_silent(const struct sim_wire_way *way)
{
	return way->seq_end == way->isn + 1;
}

static void note_syn(struct sim_wire_way *mine, struct sim_wire_way *other, const struct view *v)
{
	bool another = mine->syn && v->flags & TCP_ACK && v->ack == mine->said_ack &&
		       mine->said_count < SIM_WIRE_SYNS;

	for (uint32_t i = 0; i < mine->said_count; i++)
		if (mine->said[i].isn == v->seq)
			return;
	if (!another) {
		sim_ranges_fini(&mine->arrived);
		sim_ranges_fini(&mine->sacked);
		*mine = (struct sim_wire_way){.said_ack = v->ack};
		other->edge_valid = false;
	}
	mine->edge_valid = false; /* what both say of the window need not agree */
	mine->said[mine->said_count++] = (struct sim_wire_syn){
		.isn = v->seq,
		.wscale = v->wscale,
		.ts = v->has_ts,
		.mss = v->mss	? v->mss
		       : v->ip6 ? MSS6_DEFAULT
				: MSS4_DEFAULT,
	};
	if (!another || (is_silent(mine) && !mine->chosen))
		take_syn(mine, &mine->said[mine->said_count - 1]);
}

static void choose_syn(struct sim_wire_way *other, const struct view *v)
{
	for (uint32_t i = 0; i < other->said_count && is_silent(other); i++)
		if (v->ack == other->said[i].isn + 1) {
			take_syn(other, &other->said[i]);
			other->chosen = true;
		}
}

/* The edge counts only from an ACK of this connection: one that acknowledges what the other
 * side has sent of it. (An old TIME-WAIT may answer a new SYN with numbers of its own.) */
static void judge_edge(
	struct sim_wire_way *mine, const struct sim_wire_way *other, const struct view *v, int side)
{
	bool scaled = !(v->flags & TCP_SYN) && mine->wscale >= 0 && other->wscale >= 0;
	uint32_t edge = v->ack + (v->wnd << (scaled ? mine->wscale : 0));

	if (!mine->syn || !other->syn || !tcp_seq_gt(v->ack, other->isn) ||
		tcp_seq_gt(v->ack, other->seq_end))
		return;
	SIM_INVARIANT("right-edge", !mine->edge_valid || tcp_seq_geq(edge, mine->edge),
		"side %d, port %u to %u: moved left by %u", side, v->sport, v->dport,
		mine->edge - edge);
	mine->edge = edge;
	mine->edge_valid = true;
}

static void judge_data(
	struct sim_wire_way *mine, const struct sim_wire_way *other, const struct view *v, int side)
{
	uint32_t end = v->seq + v->len;

	SIM_INVARIANT("ect-new-data", !v->ecn || (v->len && tcp_seq_geq(v->seq, mine->seq_end)),
		"side %d, port %u to %u: ECT on other data", side, v->sport, v->dport);
	SIM_INVARIANT("segment-size", !v->len || !other->syn || v->len + v->opt_len <= other->mss,
		"side %d, port %u to %u: %u bytes and %u of options for an MSS of %u", side,
		v->sport, v->dport, v->len, v->opt_len, other->mss);
	SIM_INVARIANT("within-window",
		!v->len || !other->edge_valid || tcp_seq_leq(end, other->edge + 1),
		"side %d, port %u to %u: %u bytes past the window", side, v->sport, v->dport,
		end - other->edge);
	if (v->flags & TCP_FIN) {
		mine->fin = true;
		mine->fin_seq = end++;
	}
	if (tcp_seq_gt(end, mine->seq_end))
		mine->seq_end = end;
}

static void judge_ack(const struct sim_wire_way *other, const struct view *v, int side)
{
	uint32_t end = v->ack - other->isn;

	if (!other->syn || !tcp_seq_gt(v->ack, other->isn) || tcp_seq_gt(v->ack, other->seq_end))
		return;
	if (other->fin && v->ack == other->fin_seq + 1)
		end--;
	SIM_INVARIANT("ack-arrived", end <= 1 || sim_ranges_contain(&other->arrived, 1, end),
		"side %d, port %u to %u: acknowledges %u bytes", side, v->sport, v->dport, end - 1);
}

static void judge_timestamp(
	struct sim_wire_way *mine, const struct sim_wire_way *other, const struct view *v, int side)
{
	if (v->flags & TCP_SYN || !mine->syn || !other->syn || !mine->ts || !other->ts)
		return;
	SIM_INVARIANT(
		"timestamps", v->has_ts, "side %d, port %u to %u: none", side, v->sport, v->dport);
	SIM_INVARIANT("timestamps", !mine->ts_valid || (int32_t)(v->ts - mine->ts_last) >= 0,
		"side %d, port %u to %u: went back by %u", side, v->sport, v->dport,
		mine->ts_last - v->ts);
	mine->ts_valid = true;
	mine->ts_last = v->ts;
}

static void judge_sack(
	struct sim_wire *w, struct sim_wire_way *other, const struct view *v, int side)
{
	uint32_t ack = v->ack - other->isn;

	if (!other->syn || !tcp_seq_gt(v->ack, other->isn) || tcp_seq_gt(v->ack, other->seq_end))
		return;
	SIM_INVARIANT("no-reneging", !sim_ranges_contain(&other->sacked, ack, ack + 1),
		"side %d, port %u to %u: stops at %u, which it has SACKed", side, v->sport,
		v->dport, ack);
	sim_ranges_drop_below(&other->sacked, ack);
	for (uint32_t i = 0; i < v->sack_count; i++) {
		uint32_t start = net_get32(v->sack + 8 * i) - other->isn;
		uint32_t end = net_get32(v->sack + 8 * i + 4) - other->isn;

		w->sack_blocks++;
		SIM_INVARIANT("sack-arrived",
			start < end && sim_ranges_contain(&other->arrived, start, end),
			"side %d, port %u to %u: %u-%u", side, v->sport, v->dport, start, end);
		SIM_CHECK(start > ack || i == 0, "block %u lies below the acknowledgement", i);
		if (start > ack)
			sim_ranges_add(&other->sacked, start, end);
	}
}

static void judge(struct sim_wire *w, int side, const struct view *v)
{
	struct sim_wire_flow *f = find_flow(w, side, v);
	struct sim_wire_way *mine, *other;

	if (!f || v->flags & TCP_RST)
		return;
	mine = &f->way[side];
	other = &f->way[!side];
	if (v->flags & TCP_SYN)
		note_syn(mine, other, v);
	else if (mine->syn)
		judge_data(mine, other, v, side);
	if ((v->flags & (TCP_SYN | TCP_ACK)) == TCP_ACK)
		choose_syn(other, v);
	judge_timestamp(mine, other, v, side);
	if (v->flags & TCP_ACK) {
		judge_ack(other, v, side);
		judge_edge(mine, other, v, side);
	}
	if (v->flags & TCP_ACK && !(v->flags & TCP_SYN))
		judge_sack(w, other, v, side);
}

void sim_wire_arrival(void *arg, uint64_t now_us, int side, const uint8_t *frame, uint32_t len)
{
	struct sim_wire *w = arg;
	struct sim_wire_way *way;
	struct sim_wire_flow *f;
	struct view v;

	if (w->pcapng >= 0)
		sim_pcapng_write(w->pcapng, now_us, !side, true, frame, len);
	if (!w->judge || !read_tcp(&v, frame, len) || v.len == 0)
		return;
	f = find_flow(w, side, &v);
	if (!f || !f->way[side].syn)
		return;
	way = &f->way[side];
	v.seq += (v.flags & TCP_SYN) != 0;
	sim_ranges_add(&way->arrived, v.seq - way->isn, v.seq - way->isn + (uint64_t)v.len);
}

static void print(struct sim_wire *w, uint64_t now_us, int side, const struct view *v)
{
	const struct sim_wire_flow *f = find_flow(w, side, v);
	uint32_t isn = f ? f->way[side].isn : 0;
	uint32_t other_isn = f ? f->way[!side].isn : 0;

	fprintf(w->trace, "%12.6f %s %5u %5u %s%s%s%s%s seq %u:%u ack %u wnd %u\n",
		(double)now_us / 1e6, side ? "<" : ">", side ? v->dport : v->sport,
		side ? v->sport : v->dport, v->flags & TCP_SYN ? "S" : "",
		v->flags & TCP_FIN ? "F" : "", v->flags & TCP_RST ? "R" : "",
		v->flags & TCP_PSH ? "P" : "", v->flags & TCP_ACK ? "A" : "", v->seq - isn,
		v->seq - isn + v->len, v->ack - other_isn, v->wnd);
}

/* Of each frame: when, whose, and every byte of it (FNV-1a, eight bytes at a time). */
static void digest(
	struct sim_wire *w, uint64_t now_us, int side, const uint8_t *frame, uint32_t len)
{
	uint64_t word = now_us << 1 | (uint64_t)side;

	for (;;) {
		uint32_t n = len < sizeof(word) ? len : (uint32_t)sizeof(word);

		w->digest = (w->digest ^ word) * UINT64_C(0x100000001b3);
		if (!n)
			return;
		word = n;
		memcpy(&word, frame, n);
		frame += n;
		len -= n;
	}
}

void sim_wire_tap(void *arg, uint64_t now_us, int side, const uint8_t *frame, uint32_t len)
{
	struct sim_wire *w = arg;
	struct view v;

	w->frames++;
	if (w->digests)
		digest(w, now_us, side, frame, len);
	if (w->pcapng >= 0)
		sim_pcapng_write(w->pcapng, now_us, side, false, frame, len);
	if (!read_tcp(&v, frame, len))
		return;
	w->data_bytes += v.len;
	if (w->judge)
		judge(w, side, &v);
	if (w->trace)
		print(w, now_us, side, &v);
}
