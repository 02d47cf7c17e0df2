/* %{ assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd }%
 *
 *	code    = { "assert" expr { "," expr } | "print" "(" expr { "," expr } ")" } [";"]
 *	expr    = or;  or = and { "or" and };  and = not { "and" not };  not = "not" not | cmp
 *	cmp     = sum { ("==" | "!=" | "<=" | ">=" | "<" | ">") sum }       chained, as in Python
 *	sum     = term { ("+" | "-") term };  term = unary { ("*" | "//" | "/" | "%" | "&") unary }
 *	unary   = "-" unary | number | name | "(" expr ")" | ("abs" | "min" | "max") "(" ... ")"
 *
 * Numbers are 64-bit integers. Names are the fields of struct tcp_info (of the connection that
 * was accepted or connected last), constants, counters of the host (counter_NAME), `isn` and
 * `isn_before` (live initial sequence numbers of the first connection), and `now_us`.
 */
#ifndef PKT_EXPR_H
#define PKT_EXPR_H

#include <linux/tcp.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct tcp_counters;

struct pkt_expr_env {
	bool has_info; /* else the names of its fields are errors */
	struct tcp_info info;
	const struct tcp_counters *tcp;
	uint32_t isn, isn_before;
	uint64_t now_us;
};

/* Whether the code is well-formed. */
bool pkt_expr_check(const char *code, const char **why);
/* Whether it uses struct tcp_info. */
bool pkt_expr_needs_info(const char *code);
/* Runs it. False: an assertion failed, which was written to `out`. */
bool pkt_expr_run(const char *code, const struct pkt_expr_env *env, FILE *out);

#endif
