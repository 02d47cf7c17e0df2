#include "pkt_wire.h"

#include <net/checksum.h>
#include <net/ip4.h>
#include <net/ip6.h>
#include <net/wire.h>
#include <sim/sim_host.h>

#include <string.h>

enum {
	TCP_HLEN = 20,
	EXT_LEN = 8,
	PAD_N = 1, /* RFC 8200 section 4.2 */
	ICMP_HLEN = 8,
	ICMP_QUOTED = 8, /* bytes of TCP: RFC 792 */
	LOCAL = 0,
	REMOTE = 1,
	ICMP_FRAG_NEEDED = 4,
	DEFAULT_WND = 65535,
};

/* -- numbers inside options
 * --------------------------------------------------------------------------- */

void pkt_wire_numbers(uint8_t *opt, uint32_t len, pkt_number_fn *fn, void *arg)
{
	uint32_t at = 0, n;

	while (at < len) {
		if (opt[at] == PKT_OPT_EOL)
			return;
		if (opt[at] == PKT_OPT_NOP) {
			at++;
			continue;
		}
		if (len - at < 2 || opt[at + 1] < 2 || opt[at + 1] > len - at)
			return;
		n = opt[at + 1];
		if (opt[at] == PKT_OPT_TS && n == 10) {
			fn(arg, opt + at + 2, PKT_NUMBER_TS_VAL);
			fn(arg, opt + at + 6, PKT_NUMBER_TS_ECR);
		} else if (opt[at] == PKT_OPT_SACK) {
			for (uint32_t i = 2; i + 4 <= n; i += 4)
				fn(arg, opt + at + i, PKT_NUMBER_SACK);
		}
		at += n;
	}
}

/* A zero echo is no echo. */
static void to_live(void *arg, uint8_t *at, enum pkt_number what)
{
	const struct pkt_map *m = arg;
	uint32_t n = net_get32(at);

	if (what == PKT_NUMBER_SACK)
		net_put32(at, n + m->local_off);
	else if (what == PKT_NUMBER_TS_ECR && n)
		net_put32(at, n + m->ts_off);
}

static void to_script_from_host(void *arg, uint8_t *at, enum pkt_number what)
{
	const struct pkt_map *m = arg;
	uint32_t n = net_get32(at);

	if (what == PKT_NUMBER_SACK)
		net_put32(at, n - m->remote_off);
	else if (what == PKT_NUMBER_TS_VAL)
		net_put32(at, n - m->ts_off);
}

static void to_script_from_script(void *arg, uint8_t *at, enum pkt_number what)
{
	const struct pkt_map *m = arg;
	uint32_t n = net_get32(at);

	if (what == PKT_NUMBER_SACK)
		net_put32(at, n - m->local_off);
	else if (what == PKT_NUMBER_TS_ECR && n)
		net_put32(at, n - m->ts_off);
}

/* -- building
 * ------------------------------------------------------------------------------------------ */

/* Headers of Ethernet, IP and its extensions; returns where what follows begins. */
static uint8_t *put_eth_ip4(uint8_t *frame, int from, const struct net_ip4_out *out)
{
	const struct net_mac src = {{2, 0, 0, 0, 0, (uint8_t)(from + 1)}};
	const struct net_mac dst = {{2, 0, 0, 0, 0, (uint8_t)(!from + 1)}};
	struct net_ip4_out ip = *out;

	ip.src_be = sim_ip_be(from);
	ip.dst_be = sim_ip_be(!from);
	net_eth_build(frame, &dst, &src, NET_ETHERTYPE_IP4);
	net_ip4_build(frame + NET_ETH_HLEN, &ip);
	return frame + NET_ETH_HLEN + NET_IP4_HLEN;
}

/* Eight bytes each. Options headers hold a PadN; a routing header of type 0 has arrived; a
 * fragment header says that nothing follows. */
static uint8_t *put_extensions(uint8_t *at, const struct pkt_packet *p, uint8_t proto)
{
	for (uint32_t i = 0; i < p->ext_count; i++, at += EXT_LEN) {
		memset(at, 0, EXT_LEN);
		at[0] = i + 1 < p->ext_count ? p->ext[i + 1] : proto;
		if (p->ext[i] == NET_PROTO_HOP_BY_HOP || p->ext[i] == NET_PROTO_DEST_OPTIONS) {
			at[2] = PAD_N;
			at[3] = EXT_LEN - 4;
		}
	}
	return at;
}

static uint8_t *put_eth_ip6(uint8_t *frame, int from, const struct pkt_packet *p, uint8_t proto,
	uint32_t len, uint8_t tclass)
{
	const struct net_mac src_mac = {{2, 0, 0, 0, 0, (uint8_t)(from + 1)}};
	const struct net_mac dst_mac = {{2, 0, 0, 0, 0, (uint8_t)(!from + 1)}};
	struct net_addr src = sim_ip6(from), dst = sim_ip6(!from);
	struct net_ip6_out ip = {
		.src = &src,
		.dst = &dst,
		.payload_len_bytes = (uint16_t)(p->ext_count * EXT_LEN + len),
		.proto = p->ext_count ? p->ext[0] : proto,
		.hop_limit = NET_IP6_HOP_LIMIT,
		.tclass = tclass,
	};

	net_eth_build(frame, &dst_mac, &src_mac, NET_ETHERTYPE_IP6);
	net_ip6_build(frame + NET_ETH_HLEN, &ip);
	return put_extensions(frame + NET_ETH_HLEN + NET_IP6_HLEN, p, proto);
}

static uint8_t *put_headers(
	uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m, uint32_t len)
{
	uint8_t tos = (uint8_t)(p->ecn < 0 ? 0 : p->ecn);
	struct net_ip4_out ip4 = {
		.payload_len_bytes = (uint16_t)len, .proto = NET_PROTO_TCP, .tos = tos};

	return m->ip6 ? put_eth_ip6(frame, REMOTE, p, NET_PROTO_TCP, len, tos)
		      : put_eth_ip4(frame, REMOTE, &ip4);
}

/* Of what the script's end sends. */
static uint32_t pseudo_sum(bool ip6, uint8_t proto, uint32_t len)
{
	struct net_addr src = sim_ip6(REMOTE), dst = sim_ip6(LOCAL);

	return ip6 ? net_checksum_pseudo6(src.b, dst.b, proto, len)
		   : net_checksum_pseudo4(sim_ip_be(REMOTE), sim_ip_be(LOCAL), proto, len);
}

static uint32_t padded(uint8_t *frame, uint32_t len)
{
	if (len >= NET_ETH_MIN_LEN)
		return len;
	memset(frame + len, 0, NET_ETH_MIN_LEN - len);
	return NET_ETH_MIN_LEN;
}

static void put_payload(uint8_t *at, const struct pkt_packet *p, const struct pkt_map *m)
{
	uint32_t first = p->seq + (p->flags & 2 ? 1 : 0) - m->remote_first - 1;

	for (uint32_t i = 0; i < p->len; i++)
		at[i] = pkt_pattern((uint32_t)(first + i));
}

static uint32_t build_tcp(uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m)
{
	uint32_t hlen = TCP_HLEN + p->opt_len;
	uint32_t total = hlen + p->len;
	uint8_t *tcp = put_headers(frame, p, m, total);
	struct pkt_map map = *m;
	uint16_t sum;

	net_put16(tcp, m->rport);
	net_put16(tcp + 2, m->lport);
	net_put32(tcp + 4, p->seq + m->remote_off);
	net_put32(tcp + 8, p->has_ack ? p->ack + m->local_off : 0);
	tcp[12] = (uint8_t)(hlen / 4 << 4);
	tcp[13] = p->flags;
	net_put16(tcp + 14, p->has_wnd ? p->wnd : DEFAULT_WND);
	net_put16(tcp + 16, 0);
	net_put16(tcp + 18, p->urg);
	memcpy(tcp + TCP_HLEN, p->opt, p->opt_len);
	pkt_wire_numbers(tcp + TCP_HLEN, p->opt_len, to_live, &map);
	put_payload(tcp + hlen, p, m);
	sum = net_checksum_fold(
		net_checksum_add(pseudo_sum(m->ip6, NET_PROTO_TCP, total), tcp, total));
	sum ^= p->bad_sum ? 1 : 0;
	memcpy(tcp + 16, &sum, sizeof(sum));
	return padded(frame, (uint32_t)(tcp - frame) + total);
}

/* The start of a segment that the host has sent. */
static void put_quoted_tcp(uint8_t *tcp, const struct pkt_packet *p, const struct pkt_map *m)
{
	net_put16(tcp, m->lport);
	net_put16(tcp + 2, m->rport);
	net_put32(tcp + 4, p->icmp.seq + m->local_off);
}

static uint32_t build_icmp4(uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m)
{
	uint8_t quoted[NET_ETH_HLEN + NET_IP4_HLEN];
	uint32_t total = ICMP_HLEN + NET_IP4_HLEN + ICMP_QUOTED;
	uint8_t *icmp = put_eth_ip4(frame, REMOTE,
		&(struct net_ip4_out){
			.payload_len_bytes = (uint16_t)total, .proto = NET_PROTO_ICMP});
	uint16_t sum;

	put_eth_ip4(quoted, LOCAL,
		&(struct net_ip4_out){.payload_len_bytes = (uint16_t)(TCP_HLEN + p->len),
			.proto = NET_PROTO_TCP});
	memset(icmp, 0, total);
	icmp[0] = p->icmp.type;
	icmp[1] = p->icmp.code;
	net_put16(icmp + 6, (uint16_t)p->icmp.mtu);
	memcpy(icmp + ICMP_HLEN, quoted + NET_ETH_HLEN, NET_IP4_HLEN);
	put_quoted_tcp(icmp + ICMP_HLEN + NET_IP4_HLEN, p, m);
	sum = net_checksum_fold(net_checksum_add(0, icmp, total));
	memcpy(icmp + 2, &sum, sizeof(sum));
	return padded(frame, NET_ETH_HLEN + NET_IP4_HLEN + total);
}

static uint32_t build_icmp6(uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m)
{
	const struct pkt_packet plain = {0};
	uint8_t quoted[NET_ETH_HLEN + NET_IP6_HLEN];
	uint32_t total = ICMP_HLEN + NET_IP6_HLEN + ICMP_QUOTED;
	uint8_t *icmp = put_eth_ip6(frame, REMOTE, &plain, NET_PROTO_ICMP6, total, 0);
	uint16_t sum;

	put_eth_ip6(quoted, LOCAL, &plain, NET_PROTO_TCP, TCP_HLEN + p->len, 0);
	memset(icmp, 0, total);
	icmp[0] = p->icmp.type;
	icmp[1] = p->icmp.code;
	net_put32(icmp + 4, p->icmp.mtu);
	memcpy(icmp + ICMP_HLEN, quoted + NET_ETH_HLEN, NET_IP6_HLEN);
	put_quoted_tcp(icmp + ICMP_HLEN + NET_IP6_HLEN, p, m);
	sum = net_checksum_fold(
		net_checksum_add(pseudo_sum(true, NET_PROTO_ICMP6, total), icmp, total));
	memcpy(icmp + 2, &sum, sizeof(sum));
	return NET_ETH_HLEN + NET_IP6_HLEN + total;
}

uint32_t pkt_wire_build(uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m)
{
	if (!p->is_icmp)
		return build_tcp(frame, p, m);
	return m->ip6 ? build_icmp6(frame, p, m) : build_icmp4(frame, p, m);
}

/* -- reading
 * --------------------------------------------------------------------------------------------- */

/* Where TCP lies in a frame of the host, its length and the mark of its IP header. */
struct l4 {
	const uint8_t *at;
	uint32_t len;
	uint8_t ecn;
};

static bool find_tcp4(struct l4 *l4, const uint8_t *ip, uint32_t len)
{
	if (len < NET_IP4_HLEN || ip[0] != 0x45 || ip[9] != NET_PROTO_TCP ||
		net_get16(ip + 2) < NET_IP4_HLEN || net_get16(ip + 2) > len)
		return false;
	*l4 = (struct l4){ip + NET_IP4_HLEN, net_get16(ip + 2) - NET_IP4_HLEN, ip[1] & 3};
	return true;
}

static bool find_tcp6(struct l4 *l4, const uint8_t *ip, uint32_t len)
{
	if (len < NET_IP6_HLEN || ip[0] >> 4 != 6 || ip[6] != NET_PROTO_TCP ||
		net_get16(ip + 4) > len - NET_IP6_HLEN)
		return false;
	*l4 = (struct l4){ip + NET_IP6_HLEN, net_get16(ip + 4), ip[1] >> 4 & 3};
	return true;
}

static bool find_tcp(struct l4 *l4, const uint8_t *frame, uint32_t len)
{
	uint16_t type = len > NET_ETH_HLEN ? net_get16(frame + 12) : 0;

	if (type == NET_ETHERTYPE_IP4)
		return find_tcp4(l4, frame + NET_ETH_HLEN, len - NET_ETH_HLEN);
	return type == NET_ETHERTYPE_IP6 && find_tcp6(l4, frame + NET_ETH_HLEN, len - NET_ETH_HLEN);
}

bool pkt_wire_read(struct pkt_frame *f, const uint8_t *frame, uint32_t len)
{
	const uint8_t *tcp;
	struct l4 l4;
	uint32_t hlen;

	if (!find_tcp(&l4, frame, len) || l4.len < TCP_HLEN)
		return false;
	tcp = l4.at;
	hlen = (uint32_t)(tcp[12] >> 4) * 4;
	if (hlen < TCP_HLEN || hlen > l4.len)
		return false;
	*f = (struct pkt_frame){
		.sport = net_get16(tcp),
		.dport = net_get16(tcp + 2),
		.seq = net_get32(tcp + 4),
		.ack = net_get32(tcp + 8),
		.flags = tcp[13],
		.ecn = l4.ecn,
		.wnd = net_get16(tcp + 14),
		.urg = net_get16(tcp + 18),
		.opt = tcp + TCP_HLEN,
		.opt_len = hlen - TCP_HLEN,
		.payload = tcp + hlen,
		.len = l4.len - hlen,
	};
	return true;
}

void pkt_wire_relate(
	struct pkt_packet *p, const struct pkt_frame *f, const struct pkt_map *m, bool out)
{
	struct pkt_map map = *m;

	*p = (struct pkt_packet){
		.out = out,
		.flags = f->flags,
		.ecn = (int8_t)f->ecn,
		.has_ack = f->flags & 0x10,
		.has_wnd = true,
		.has_urg = f->urg != 0,
		.has_opts = true,
		.wnd = f->wnd,
		.urg = f->urg,
		.len = f->len,
		.opt_len = (uint8_t)f->opt_len,
	};
	p->seq = f->seq - (out ? m->local_off : m->remote_off);
	if (out && f->seq == 0 && p->has_ack && f->flags & 4)
		p->seq = 0; /* <SEQ=0>: a reset of what is no connection counts from nothing */
	if (p->has_ack)
		p->ack = f->ack - (out ? m->remote_off : m->local_off);
	memcpy(p->opt, f->opt, f->opt_len);
	pkt_wire_numbers(
		p->opt, p->opt_len, out ? to_script_from_host : to_script_from_script, &map);
}

/* -- printing
 * ---------------------------------------------------------------------------------------------- */

static void print_flags(FILE *out, uint8_t flags)
{
	if (!flags)
		fputc('-', out);
	for (int i = 7; i >= 0; i--) /* "." last but for E and W, as one writes them */
		if (i != 4 && flags & 1 << i)
			fputc(PKT_FLAG_LETTERS[i], out);
	if (flags & 0x10)
		fputc('.', out);
}

static uint32_t print_option(FILE *out, const uint8_t *o, uint32_t left, bool any_ts_val)
{
	uint32_t n = left >= 2 && o[1] >= 2 && o[1] <= left ? o[1] : left;

	if (o[0] <= PKT_OPT_NOP) {
		fputs(o[0] ? "nop" : "eol", out);
		return 1;
	}
	if (o[0] == PKT_OPT_MSS && n == 4) {
		fprintf(out, "mss %u", net_get16(o + 2));
	} else if (o[0] == PKT_OPT_WSCALE && n == 3) {
		fprintf(out, "wscale %u", o[2]);
	} else if (o[0] == PKT_OPT_SACK_OK && n == 2) {
		fputs("sackOK", out);
	} else if (o[0] == PKT_OPT_TS && n == 10) {
		if (any_ts_val)
			fprintf(out, "TS val * ecr %u", net_get32(o + 6));
		else
			fprintf(out, "TS val %u ecr %u", net_get32(o + 2), net_get32(o + 6));
	} else if (o[0] == PKT_OPT_SACK && n % 8 == 2) {
		fputs("sack", out);
		for (uint32_t i = 2; i < n; i += 8)
			fprintf(out, " %u:%u", net_get32(o + i), net_get32(o + i + 4));
	} else {
		fputs("hex ", out);
		for (uint32_t i = 0; i < n; i++)
			fprintf(out, "%02x", o[i]);
	}
	return n;
}

static void print_options(FILE *out, const struct pkt_packet *p)
{
	if (!p->has_opts) {
		fputs(" <...>", out);
		return;
	}
	for (uint32_t at = 0; at < p->opt_len;) {
		fputs(at ? "," : " <", out);
		at += print_option(out, p->opt + at, p->opt_len - at, p->any_ts_val);
	}
	if (p->opt_len)
		fputc('>', out);
}

static void print_icmp(FILE *out, const struct pkt_packet *p)
{
	fprintf(out, "[%u:%u(%u)] icmp type %u code %u", p->icmp.seq, p->icmp.seq + p->len, p->len,
		p->icmp.type, p->icmp.code);
	if (p->icmp.code == ICMP_FRAG_NEEDED)
		fprintf(out, " mtu %u", p->icmp.mtu);
}

void pkt_wire_print(FILE *out, const struct pkt_packet *p)
{
	static const char *const ecn[] = {"noecn", "ect1", "ect0", "ce"};

	fputc(p->out ? '>' : '<', out);
	if (p->conn)
		fprintf(out, "%u", p->conn + 1u);
	fputc(' ', out);
	if (p->is_icmp) {
		print_icmp(out, p);
		return;
	}
	if (p->ecn > 0)
		fprintf(out, "[%s] ", ecn[p->ecn]);
	print_flags(out, p->flags);
	fprintf(out, " %u:%u(%u)", p->seq, p->seq + p->len, p->len);
	if (p->has_ack)
		fprintf(out, " ack %u", p->ack);
	if (p->has_wnd)
		fprintf(out, " win %u", p->wnd);
	if (p->has_urg)
		fprintf(out, " urg %u", p->urg);
	print_options(out, p);
}
