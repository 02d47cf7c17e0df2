#include "pkt_expr.h"

#include "pkt_const.h"

#include <tcp/counters.h>

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	NAME_MAX_CHARS = 63,
	DEPTH_MAX = 32,
};

struct expr {
	const char *at;
	const struct pkt_expr_env *env; /* NULL: only check */
	const char *why;		/* the first error */
	int depth;
	bool used_info;
};

static int64_t parse_or(struct expr *x);

static int64_t error(struct expr *x, const char *why)
{
	if (!x->why)
		x->why = why;
	x->at += strlen(x->at);
	return 0;
}

/* -- words
 * --------------------------------------------------------------------------------------------- */

static void skip(struct expr *x)
{
	for (;;) {
		x->at += strspn(x->at, " \t\r\n");
		if (*x->at != '#')
			return;
		x->at += strcspn(x->at, "\n");
	}
}

static bool accept(struct expr *x, const char *what)
{
	size_t n = strlen(what);

	skip(x);
	if (strncmp(x->at, what, n) != 0)
		return false;
	if (isalpha((unsigned char)*what) && (isalnum((unsigned char)x->at[n]) || x->at[n] == '_'))
		return false;
	x->at += n;
	return true;
}

static bool name_of(struct expr *x, char name[NAME_MAX_CHARS + 1])
{
	size_t n = 0;

	skip(x);
	while (isalnum((unsigned char)x->at[n]) || x->at[n] == '_')
		n++;
	if (n == 0 || n > NAME_MAX_CHARS || isdigit((unsigned char)x->at[0]))
		return false;
	memcpy(name, x->at, n);
	name[n] = '\0';
	x->at += n;
	return true;
}

/* -- names
 * ------------------------------------------------------------------------------------------------
 */

#define F(field)                                                                                   \
	{                                                                                          \
#field, offsetof(struct tcp_info, field), sizeof(((struct tcp_info *)0)->field)    \
	}

static const struct {
	const char *name;
	size_t offset, bytes;
} fields[] = {
	F(tcpi_state),
	F(tcpi_ca_state),
	F(tcpi_retransmits),
	F(tcpi_probes),
	F(tcpi_backoff),
	F(tcpi_options),
	F(tcpi_rto),
	F(tcpi_ato),
	F(tcpi_snd_mss),
	F(tcpi_rcv_mss),
	F(tcpi_unacked),
	F(tcpi_sacked),
	F(tcpi_lost),
	F(tcpi_retrans),
	F(tcpi_fackets),
	F(tcpi_last_data_sent),
	F(tcpi_last_ack_sent),
	F(tcpi_last_data_recv),
	F(tcpi_last_ack_recv),
	F(tcpi_pmtu),
	F(tcpi_rcv_ssthresh),
	F(tcpi_rtt),
	F(tcpi_rttvar),
	F(tcpi_snd_ssthresh),
	F(tcpi_snd_cwnd),
	F(tcpi_advmss),
	F(tcpi_reordering),
	F(tcpi_rcv_rtt),
	F(tcpi_rcv_space),
	F(tcpi_total_retrans),
	F(tcpi_pacing_rate),
	F(tcpi_max_pacing_rate),
	F(tcpi_bytes_acked),
	F(tcpi_bytes_received),
	F(tcpi_segs_out),
	F(tcpi_segs_in),
	F(tcpi_notsent_bytes),
	F(tcpi_min_rtt),
	F(tcpi_data_segs_in),
	F(tcpi_data_segs_out),
	F(tcpi_delivery_rate),
	F(tcpi_busy_time),
	F(tcpi_rwnd_limited),
	F(tcpi_sndbuf_limited),
	F(tcpi_delivered),
	F(tcpi_delivered_ce),
	F(tcpi_bytes_sent),
	F(tcpi_bytes_retrans),
	F(tcpi_dsack_dups),
	F(tcpi_reord_seen),
	F(tcpi_rcv_ooopack),
	F(tcpi_snd_wnd),
};

static bool info_value(const struct tcp_info *t, const char *name, int64_t *out)
{
	*out = 0;
	if (strcmp(name, "tcpi_snd_wscale") == 0) {
		*out = t->tcpi_snd_wscale;
		return true;
	}
	if (strcmp(name, "tcpi_rcv_wscale") == 0) {
		*out = t->tcpi_rcv_wscale;
		return true;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcmp(fields[i].name, name) == 0) {
			memcpy(out, (const char *)t + fields[i].offset, fields[i].bytes);
			return true;
		}
	return false;
}

static bool counter_value(const struct tcp_counters *c, const char *name, int64_t *out)
{
	for (int i = 0; i < TCP_COUNTER_COUNT; i++)
		if (strcmp(tcp_counter_table[i].name, name) == 0) {
			memcpy(out, (const char *)c + tcp_counter_table[i].offset_bytes,
				sizeof(*out));
			return true;
		}
	return false;
}

static int64_t value_of(struct expr *x, const char *name)
{
	static const struct tcp_counters no_counters;
	static const struct pkt_expr_env no_env = {.has_info = true, .tcp = &no_counters};
	const struct pkt_expr_env *env = x->env ? x->env : &no_env;
	int64_t v;

	if (strcmp(name, "isn") == 0)
		return env->isn;
	if (strcmp(name, "isn_before") == 0)
		return env->isn_before;
	if (strcmp(name, "now_us") == 0)
		return (int64_t)env->now_us;
	if (strncmp(name, "counter_", 8) == 0 && counter_value(env->tcp, name + 8, &v))
		return v;
	if (info_value(&env->info, name, &v)) {
		x->used_info = true;
		return env->has_info ? v : error(x, "there is no connection to ask");
	}
	if (pkt_const(name, &v))
		return v;
	return error(x, "unknown name in an expression");
}

/* -- the grammar, from the leaves up
 * ---------------------------------------------------------------------- */

static int64_t parse_function(struct expr *x, const char *name)
{
	int64_t v = parse_or(x), w;

	if (strcmp(name, "abs") == 0)
		v = v < 0 ? -v : v;
	while (accept(x, ",")) {
		w = parse_or(x);
		if (name[1] == 'i' ? w < v : w > v)
			v = w;
	}
	return accept(x, ")") ? v : error(x, "expected ')'");
}

static int64_t parse_number(struct expr *x)
{
	char *end;
	int64_t v = strtoll(x->at, &end, 0);

	if (end == x->at)
		return error(x, "expected a value");
	x->at = end;
	return v;
}

static int64_t parse_leaf(struct expr *x)
{
	char name[NAME_MAX_CHARS + 1];
	int64_t v;

	if (accept(x, "(")) {
		v = parse_or(x);
		return accept(x, ")") ? v : error(x, "expected ')'");
	}
	if (!name_of(x, name))
		return parse_number(x);
	if (strcmp(name, "abs") && strcmp(name, "min") && strcmp(name, "max"))
		return value_of(x, name);
	return accept(x, "(") ? parse_function(x, name) : error(x, "expected '('");
}

static int64_t parse_unary(struct expr *x)
{
	int64_t v;

	if (++x->depth > DEPTH_MAX)
		return error(x, "an expression too deep");
	v = accept(x, "-") ? -parse_unary(x) : parse_leaf(x);
	x->depth--;
	return v;
}

static int64_t parse_term(struct expr *x)
{
	int64_t v = parse_unary(x), w;

	for (;;) {
		if (accept(x, "*")) {
			v *= parse_unary(x);
		} else if (accept(x, "&")) {
			v &= parse_unary(x);
		} else if (accept(x, "//") || accept(x, "/")) {
			w = parse_unary(x);
			v = w ? v / w : x->env ? error(x, "division by zero") : 0;
		} else if (accept(x, "%")) {
			w = parse_unary(x);
			v = w ? v % w : x->env ? error(x, "division by zero") : 0;
		} else {
			return v;
		}
	}
}

static int64_t parse_sum(struct expr *x)
{
	int64_t v = parse_term(x);

	for (;;) {
		if (accept(x, "+"))
			v += parse_term(x);
		else if (accept(x, "-"))
			v -= parse_term(x);
		else
			return v;
	}
}

static int64_t parse_cmp(struct expr *x)
{
	int64_t a = parse_sum(x), b;
	bool compared = false, holds = true;

	for (;; a = b, compared = true) {
		if (accept(x, "=="))
			holds &= a == (b = parse_sum(x));
		else if (accept(x, "!="))
			holds &= a != (b = parse_sum(x));
		else if (accept(x, "<="))
			holds &= a <= (b = parse_sum(x));
		else if (accept(x, ">="))
			holds &= a >= (b = parse_sum(x));
		else if (accept(x, "<"))
			holds &= a < (b = parse_sum(x));
		else if (accept(x, ">"))
			holds &= a > (b = parse_sum(x));
		else
			return compared ? holds : a;
	}
}

static int64_t parse_not(struct expr *x)
{
	if (++x->depth > DEPTH_MAX)
		return error(x, "an expression too deep");
	int64_t v = accept(x, "not") ? !parse_not(x) : parse_cmp(x);

	x->depth--;
	return v;
}

static int64_t parse_and(struct expr *x)
{
	int64_t v = parse_not(x);

	while (accept(x, "and")) {
		int64_t w = parse_not(x);

		v = v && w;
	}
	return v;
}

static int64_t parse_or(struct expr *x)
{
	int64_t v = parse_and(x);

	while (accept(x, "or")) {
		int64_t w = parse_and(x);

		v = v || w;
	}
	return v;
}

/* -- statements
 * ---------------------------------------------------------------------------------------------- */

static bool skip_text(struct expr *x)
{
	const char *end;

	skip(x);
	if (*x->at != '\'' && *x->at != '"')
		return false;
	end = strchr(x->at + 1, *x->at);
	if (!end)
		return error(x, "a text without end");
	x->at = end + 1;
	return true;
}

/* Each value of a list of names and expressions, for whoever reads the failure. Of Python's
 * 'text' % (values) only the values are told. */
static void parse_told(struct expr *x, FILE *out)
{
	do {
		const char *from;
		int64_t v;

		if (skip_text(x) && !accept(x, "%"))
			continue;
		if (accept(x, "(")) {
			parse_told(x, out);
			if (!accept(x, ")"))
				error(x, "expected ')'");
			continue;
		}
		skip(x);
		from = x->at;
		v = parse_or(x);
		if (out)
			fprintf(out, "    %.*s = %lld\n", (int)(x->at - from), from, (long long)v);
	} while (accept(x, ","));
}

static bool parse_assert(struct expr *x, FILE *out)
{
	const char *from;
	bool holds;

	skip(x);
	from = x->at;
	holds = parse_or(x);
	if (!holds && x->env && !x->why)
		fprintf(out, "    assert %.*s\n", (int)(x->at - from), from);
	if (accept(x, ","))
		parse_told(x, holds || !x->env ? NULL : out);
	return holds;
}

static bool run(struct expr *x, FILE *out)
{
	bool holds = true;

	for (;;) {
		while (accept(x, ";"))
			;
		skip(x);
		if (!*x->at)
			break;
		if (accept(x, "assert")) {
			holds &= parse_assert(x, out);
		} else if (accept(x, "print") && accept(x, "(")) {
			parse_told(x, x->env ? out : NULL);
			if (!accept(x, ")"))
				error(x, "expected ')'");
		} else {
			error(x, "only assert and print() are understood between %{ and }%");
		}
	}
	if (x->why && x->env)
		fprintf(out, "    %s\n", x->why);
	return holds && !x->why;
}

bool pkt_expr_check(const char *code, const char **why)
{
	struct expr x = {.at = code};

	run(&x, NULL);
	*why = x.why;
	return !x.why;
}

bool pkt_expr_needs_info(const char *code)
{
	struct expr x = {.at = code};

	run(&x, NULL);
	return x.used_info;
}

bool pkt_expr_run(const char *code, const struct pkt_expr_env *env, FILE *out)
{
	struct expr x = {.at = code, .env = env};

	return run(&x, out);
}
