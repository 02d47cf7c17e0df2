/* Packets.
 *
 *	packet  = [conn] { "[" word "]" } ( tcp | icmp )
 *	tcp     = ["sport" port] flags seq [ack] [win] [urg] [ "<" options ">" ]
 *	icmp    = [ "[" seq "]" ] "icmp" type [code] ["mtu" n] [ "[" seq "]" ]
 *	seq     = first ":" next "(" length ")"
 *
 * Without "<...>" the expected segment has no options; "<...>" stands for any.
 */
#include "pkt_parse.h"
#include "pkt_wire.h"

#include <stdlib.h>
#include <string.h>

enum {
	ICMP_UNREACHABLE = 3,
	ICMP6_UNREACHABLE = 1,
};

/* -- TCP options
 * -------------------------------------------------------------------------------------- */

static bool put_bytes(struct pkt_lex *x, struct pkt_packet *p, const uint8_t *bytes, size_t n)
{
	if (p->opt_len + n > PKT_OPTIONS_MAX)
		return pkt_lex_error(x, "more than 40 bytes of options");
	memcpy(p->opt + p->opt_len, bytes, n);
	p->opt_len += (uint8_t)n;
	return true;
}

static bool put_number(struct pkt_lex *x, struct pkt_packet *p, uint64_t n, int bytes)
{
	uint8_t b[4];

	for (int i = 0; i < bytes; i++)
		b[i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
	return put_bytes(x, p, b, (size_t)bytes);
}

/* Kind, length, and one number of length - 2 bytes. */
static bool put_option(struct pkt_lex *x, struct pkt_packet *p, uint8_t kind, int len, uint64_t n)
{
	return put_number(x, p, kind, 1) && put_number(x, p, (uint64_t)len, 1) &&
	       put_number(x, p, n, len - 2);
}

static bool parse_small(struct pkt_lex *x, struct pkt_packet *p, uint8_t kind, int len)
{
	uint64_t n, max = (UINT64_C(1) << 8 * (len - 2)) - 1;

	return pkt_lex_uint(x, max, &n) && put_option(x, p, kind, len, n);
}

static bool parse_ts(struct pkt_lex *x, struct pkt_packet *p)
{
	uint64_t val = 0, ecr;

	if (!pkt_lex_expect(x, "val"))
		return false;
	p->any_ts_val = p->out && pkt_lex_accept(x, "*");
	if (!p->any_ts_val && !pkt_lex_uint(x, UINT32_MAX, &val))
		return false;
	return pkt_lex_expect(x, "ecr") && pkt_lex_uint(x, UINT32_MAX, &ecr) &&
	       put_number(x, p, PKT_OPT_TS << 8 | 10, 2) && put_number(x, p, val, 4) &&
	       put_number(x, p, ecr, 4);
}

/* sack 1:1001 2001:3001 */
static bool parse_sack(struct pkt_lex *x, struct pkt_packet *p)
{
	uint8_t at = p->opt_len;
	uint64_t start, end;

	if (!put_number(x, p, PKT_OPT_SACK << 8, 2))
		return false;
	do {
		if (!pkt_lex_uint(x, UINT32_MAX, &start) || !pkt_lex_expect(x, ":") ||
			!pkt_lex_uint(x, UINT32_MAX, &end) || !put_number(x, p, start, 4) ||
			!put_number(x, p, end, 4))
			return false;
	} while (!pkt_lex_sees(x, ",") && !pkt_lex_sees(x, ">"));
	p->opt[at + 1] = (uint8_t)(p->opt_len - at);
	return true;
}

static bool parse_hex(struct pkt_lex *x, struct pkt_packet *p)
{
	char digits[3] = "";
	bool any = false;

	for (; x->at[0] == ' '; x->at++)
		;
	for (; strspn(x->at, "0123456789abcdefABCDEF") >= 2; x->at += 2, any = true) {
		memcpy(digits, x->at, 2);
		if (!put_number(x, p, strtoul(digits, NULL, 16), 1))
			return false;
	}
	return any || pkt_lex_error(x, "expected bytes in hexadecimal");
}

/* FO 0123456789abcdef, or FO alone: a request for a cookie. */
static bool parse_fast_open(struct pkt_lex *x, struct pkt_packet *p)
{
	uint8_t at = p->opt_len;

	if (!put_number(x, p, PKT_OPT_FAST_OPEN << 8, 2))
		return false;
	if (!pkt_lex_sees(x, ",") && !pkt_lex_sees(x, ">") && !parse_hex(x, p))
		return false;
	p->opt[at + 1] = (uint8_t)(p->opt_len - at);
	return true;
}

static bool parse_tcp_option(struct pkt_lex *x, struct pkt_packet *p)
{
	if (pkt_lex_accept_word(x, "nop"))
		return put_number(x, p, PKT_OPT_NOP, 1);
	if (pkt_lex_accept_word(x, "eol"))
		return put_number(x, p, PKT_OPT_EOL, 1);
	if (pkt_lex_accept_word(x, "mss"))
		return parse_small(x, p, PKT_OPT_MSS, 4);
	if (pkt_lex_accept_word(x, "wscale"))
		return parse_small(x, p, PKT_OPT_WSCALE, 3);
	if (pkt_lex_accept_word(x, "sackOK"))
		return put_number(x, p, PKT_OPT_SACK_OK << 8 | 2, 2);
	if (pkt_lex_accept_word(x, "TS"))
		return parse_ts(x, p);
	if (pkt_lex_accept_word(x, "sack"))
		return parse_sack(x, p);
	if (pkt_lex_accept_word(x, "FO"))
		return parse_fast_open(x, p);
	if (pkt_lex_accept_word(x, "hex"))
		return parse_hex(x, p);
	return pkt_lex_error(x, "unknown TCP option '%.12s'", x->at);
}

static bool parse_options(struct pkt_lex *x, struct pkt_packet *p)
{
	p->has_opts = true;
	if (!pkt_lex_accept(x, "<"))
		return true;
	if (pkt_lex_accept(x, "...")) {
		p->has_opts = false;
		return pkt_lex_expect(x, ">");
	}
	do {
		if (!parse_tcp_option(x, p))
			return false;
	} while (pkt_lex_accept(x, ","));
	if (!pkt_lex_expect(x, ">"))
		return false;
	while (p->opt_len % 4) /* packetdrill wants them whole; here the rest is zero: EOL */
		p->opt[p->opt_len++] = PKT_OPT_EOL;
	return true;
}

/* -- TCP
 * -----------------------------------------------------------------------------------------------
 */

static bool parse_flags(struct pkt_lex *x, struct pkt_packet *p)
{
	const char *all = PKT_FLAG_LETTERS;
	const char *f = pkt_lex_token(x);

	if (strcmp(f, "-") == 0)
		return true;
	if (!*f)
		return pkt_lex_error(x, "expected flags");
	for (; *f; f++) {
		const char *bit = strchr(all, *f);

		if (!bit)
			return pkt_lex_error(x, "unknown flag '%c'", *f);
		p->flags |= (uint8_t)(1 << (bit - all));
	}
	return true;
}

static bool parse_seq(struct pkt_lex *x, uint32_t *seq, uint32_t *len)
{
	uint64_t first, next, n;

	if (!pkt_lex_uint(x, UINT32_MAX, &first) || !pkt_lex_expect(x, ":") ||
		!pkt_lex_uint(x, UINT32_MAX, &next) || !pkt_lex_expect(x, "(") ||
		!pkt_lex_uint(x, PKT_PAYLOAD_MAX, &n) || !pkt_lex_expect(x, ")"))
		return false;
	if ((uint32_t)(next - first) != n)
		return pkt_lex_error(x, "from %u to %u it is %u, not %u", (uint32_t)first,
			(uint32_t)next, (uint32_t)(next - first), (uint32_t)n);
	*seq = (uint32_t)first;
	*len = (uint32_t)n;
	return true;
}

static bool parse_tcp(struct pkt_lex *x, struct pkt_packet *p)
{
	uint64_t n;

	if (pkt_lex_accept_word(x, "sport")) {
		if (!pkt_lex_uint(x, UINT16_MAX, &n))
			return false;
		p->sport = (uint16_t)n;
	}
	if (!parse_flags(x, p) || !parse_seq(x, &p->seq, &p->len))
		return false;
	p->has_ack = pkt_lex_accept_word(x, "ack");
	if (p->has_ack) {
		if (!pkt_lex_uint(x, UINT32_MAX, &n))
			return false;
		p->ack = (uint32_t)n;
	}
	p->has_wnd = pkt_lex_accept_word(x, "win");
	if (p->has_wnd) {
		if (!pkt_lex_uint(x, UINT16_MAX, &n))
			return false;
		p->wnd = (uint16_t)n;
	}
	p->has_urg = pkt_lex_accept_word(x, "urg");
	if (p->has_urg) {
		if (!pkt_lex_uint(x, UINT16_MAX, &n))
			return false;
		p->urg = (uint16_t)n;
	}
	return parse_options(x, p);
}

/* -- ICMP
 * ------------------------------------------------------------------------------------------------
 */

struct icmp_name {
	const char *name;
	uint8_t number;
};

static const struct icmp_name icmp_types[] =
	{
		{"unreachable", 3},
		{"source_quench", 4},
		{"redirect", 5},
		{"time_exceeded", 11},
		{"parameter_problem", 12},
		{0},
},
			      icmp6_types[] =
				      {
					      {"unreachable", 1},
					      {"packet_too_big", 2},
					      {"time_exceeded", 3},
					      {"parameter_problem", 4},
					      {0},
},
			      icmp6_codes[] =
				      {
					      {"no_route", 0},
					      {"admin_prohibited", 1},
					      {"not_neighbour", 2},
					      {"addr_unreachable", 3},
					      {"port_unreachable", 4},
					      {0},
},
			      icmp_codes[] = {
				      {"net_unreachable", 0},
				      {"host_unreachable", 1},
				      {"protocol_unreachable", 2},
				      {"port_unreachable", 3},
				      {"frag_needed", 4},
				      {"source_route_failed", 5},
				      {"net_unknown", 6},
				      {"host_unknown", 7},
				      {"source_host_isolated", 8},
				      {"net_prohibited", 9},
				      {"host_prohibited", 10},
				      {"net_unreachable_for_tos", 11},
				      {"host_unreachable_for_tos", 12},
				      {"communication_prohibited", 13},
				      {"host_precedence_violation", 14},
				      {"precedence_cutoff", 15},
				      {0},
};

static bool parse_icmp_name(struct pkt_lex *x, const struct icmp_name *n, uint8_t *number)
{
	for (; n->name; n++)
		if (pkt_lex_accept_word(x, n->name)) {
			*number = n->number;
			return true;
		}
	return false;
}

static bool parse_icmp_code(struct pkt_lex *x, struct pkt_icmp *m)
{
	bool ip6 = x->script->family == PKT_IP6;
	uint64_t n;

	if (m->type == (ip6 ? ICMP6_UNREACHABLE : ICMP_UNREACHABLE) &&
		parse_icmp_name(x, ip6 ? icmp6_codes : icmp_codes, &m->code))
		return true;
	if (!pkt_lex_accept_word(x, "code"))
		return true;
	if (!pkt_lex_uint(x, UINT8_MAX, &n))
		return false;
	m->code = (uint8_t)n;
	return true;
}

static bool parse_quoted(struct pkt_lex *x, struct pkt_packet *p)
{
	if (!pkt_lex_accept(x, "["))
		return true;
	p->icmp.has_seq = true;
	return parse_seq(x, &p->icmp.seq, &p->len) && pkt_lex_expect(x, "]");
}

static bool parse_icmp(struct pkt_lex *x, struct pkt_packet *p)
{
	struct pkt_icmp *m = &p->icmp;
	bool ip6 = x->script->family == PKT_IP6;
	uint64_t n;

	p->is_icmp = true;
	if (!parse_icmp_name(x, ip6 ? icmp6_types : icmp_types, &m->type))
		return pkt_lex_error(x, "unknown ICMP type '%.12s'", x->at);
	if (!parse_icmp_code(x, m))
		return false;
	if (pkt_lex_accept_word(x, "mtu")) {
		if (!pkt_lex_uint(x, UINT32_MAX, &n))
			return false;
		m->mtu = (uint32_t)n;
	}
	return parse_quoted(x, p);
}

/* -- the whole
 * --------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int8_t ecn;
} ecn_words[] = {
	{"noecn", PKT_ECN_NOT_ECT},
	{"ect0", PKT_ECN_ECT0},
	{"ect1", PKT_ECN_ECT1},
	{"ce", PKT_ECN_CE},
};

static const struct {
	const char *name;
	uint8_t proto;
} ext_words[] = {
	{"hopopts", 0},
	{"routing", 43},
	{"atomic", 44},
	{"dstopts", 60},
};

static bool parse_ext(struct pkt_lex *x, struct pkt_packet *p)
{
	for (size_t i = 0; i < sizeof(ext_words) / sizeof(ext_words[0]); i++) {
		if (!pkt_lex_accept_word(x, ext_words[i].name))
			continue;
		if (p->ext_count == PKT_EXT_MAX || x->script->family != PKT_IP6)
			return pkt_lex_error(x, "an extension header too many");
		p->ext[p->ext_count++] = ext_words[i].proto;
		return true;
	}
	return false;
}

static bool parse_bracket(struct pkt_lex *x, struct pkt_packet *p)
{
	if (parse_ext(x, p))
		return pkt_lex_expect(x, "]");
	if (x->failed)
		return false;
	if (*x->at >= '0' && *x->at <= '9') {
		p->icmp.has_seq = true;
		return parse_seq(x, &p->icmp.seq, &p->len) && pkt_lex_expect(x, "]");
	}
	if (pkt_lex_accept_word(x, "badsum")) {
		p->bad_sum = true;
		return pkt_lex_expect(x, "]");
	}
	for (size_t i = 0; i < sizeof(ecn_words) / sizeof(ecn_words[0]); i++)
		if (pkt_lex_accept_word(x, ecn_words[i].name)) {
			p->ecn = ecn_words[i].ecn;
			return pkt_lex_expect(x, "]");
		}
	return pkt_lex_error(x, "unknown word in brackets: '%.12s'", x->at);
}

bool pkt_parse_packet(struct pkt_lex *x, bool out, struct pkt_packet *p)
{
	uint64_t n;

	*p = (struct pkt_packet){.out = out, .ecn = PKT_ECN_ANY};
	if (*x->at >= '0' && *x->at <= '9') {
		if (!pkt_lex_uint(x, PKT_CONNS_MAX, &n) || n == 0)
			return pkt_lex_error(
				x, "connections are numbered from 1 to %d", PKT_CONNS_MAX);
		p->conn = (uint8_t)(n - 1);
	}
	while (pkt_lex_accept(x, "["))
		if (!parse_bracket(x, p))
			return false;
	if (!pkt_lex_accept_word(x, "icmp"))
		return parse_tcp(x, p);
	if (out)
		return pkt_lex_error(x, "the host sends no ICMP");
	return parse_icmp(x, p);
}
