#include "pkt_wire.h"

#include <net/checksum.h>
#include <net/ip4.h>
#include <net/wire.h>
#include <sim/sim_host.h>

#include <string.h>

enum {
	TCP_HLEN = 20,
	TCP_AT = NET_ETH_HLEN + NET_IP4_HLEN,
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

static void put_eth_ip(uint8_t *frame, int from, uint8_t proto, uint32_t len, uint8_t tos)
{
	const struct net_mac src = {{2, 0, 0, 0, 0, (uint8_t)(from + 1)}};
	const struct net_mac dst = {{2, 0, 0, 0, 0, (uint8_t)(!from + 1)}};
	struct net_ip4_out ip = {
		.src_be = sim_ip_be(from),
		.dst_be = sim_ip_be(!from),
		.payload_len_bytes = (uint16_t)len,
		.proto = proto,
		.tos = tos,
	};

	net_eth_build(frame, &dst, &src, NET_ETHERTYPE_IP4);
	net_ip4_build(frame + NET_ETH_HLEN, &ip);
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
	uint8_t *tcp = frame + TCP_AT;
	uint32_t hlen = TCP_HLEN + p->opt_len;
	uint32_t total = hlen + p->len;
	struct pkt_map map = *m;
	uint16_t sum;

	put_eth_ip(frame, REMOTE, NET_PROTO_TCP, total, (uint8_t)(p->ecn < 0 ? 0 : p->ecn));
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
	sum = net_checksum_fold(net_checksum_add(
		net_checksum_pseudo4(sim_ip_be(REMOTE), sim_ip_be(LOCAL), NET_PROTO_TCP, total),
		tcp, total));
	sum ^= p->bad_sum ? 1 : 0;
	memcpy(tcp + 16, &sum, sizeof(sum));
	return padded(frame, TCP_AT + total);
}

/* Quotes the start of a segment that the host has sent. */
static uint32_t build_icmp(uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m)
{
	uint8_t *icmp = frame + NET_ETH_HLEN + NET_IP4_HLEN;
	uint8_t quoted[NET_ETH_HLEN + NET_IP4_HLEN];
	uint8_t *tcp = icmp + ICMP_HLEN + NET_IP4_HLEN;
	uint32_t total = ICMP_HLEN + NET_IP4_HLEN + ICMP_QUOTED;
	uint16_t sum;

	put_eth_ip(quoted, LOCAL, NET_PROTO_TCP, TCP_HLEN + p->len, 0);
	put_eth_ip(frame, REMOTE, NET_PROTO_ICMP, total, 0);
	memset(icmp, 0, total);
	icmp[0] = p->icmp.type;
	icmp[1] = p->icmp.code;
	net_put16(icmp + 6, (uint16_t)p->icmp.mtu);
	memcpy(icmp + ICMP_HLEN, quoted + NET_ETH_HLEN, NET_IP4_HLEN);
	net_put16(tcp, m->lport);
	net_put16(tcp + 2, m->rport);
	net_put32(tcp + 4, p->icmp.seq + m->local_off);
	sum = net_checksum_fold(net_checksum_add(0, icmp, total));
	memcpy(icmp + 2, &sum, sizeof(sum));
	return padded(frame, NET_ETH_HLEN + NET_IP4_HLEN + total);
}

uint32_t pkt_wire_build(uint8_t *frame, const struct pkt_packet *p, const struct pkt_map *m)
{
	return p->is_icmp ? build_icmp(frame, p, m) : build_tcp(frame, p, m);
}

/* -- reading
 * --------------------------------------------------------------------------------------------- */

bool pkt_wire_read(struct pkt_frame *f, const uint8_t *frame, uint32_t len)
{
	const uint8_t *ip = frame + NET_ETH_HLEN;
	const uint8_t *tcp = frame + TCP_AT;
	uint32_t hlen;

	if (len < TCP_AT + TCP_HLEN || net_get16(frame + 12) != NET_ETHERTYPE_IP4 ||
		ip[0] != 0x45 || ip[9] != NET_PROTO_TCP)
		return false;
	hlen = (uint32_t)(tcp[12] >> 4) * 4;
	if (hlen < TCP_HLEN || net_get16(ip + 2) < NET_IP4_HLEN + hlen ||
		net_get16(ip + 2) > len - NET_ETH_HLEN)
		return false;
	*f = (struct pkt_frame){
		.src_be = net_get_ip4(ip + 12),
		.dst_be = net_get_ip4(ip + 16),
		.sport = net_get16(tcp),
		.dport = net_get16(tcp + 2),
		.seq = net_get32(tcp + 4),
		.ack = net_get32(tcp + 8),
		.flags = tcp[13],
		.ecn = ip[1] & 3,
		.wnd = net_get16(tcp + 14),
		.urg = net_get16(tcp + 18),
		.opt = tcp + TCP_HLEN,
		.opt_len = hlen - TCP_HLEN,
		.payload = tcp + hlen,
		.len = net_get16(ip + 2) - NET_IP4_HLEN - hlen,
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
