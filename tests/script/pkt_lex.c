#include "pkt_lex.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FRACTION_DIGITS = 6,
	SECONDS_MAX = 100000000, /* three years */
};

void pkt_lex_init(struct pkt_lex *x, struct pkt_script *s)
{
	*x = (struct pkt_lex){.script = s, .at = s->text, .line = 1};
}

bool pkt_lex_error(struct pkt_lex *x, const char *fmt, ...)
{
	char what[192];
	va_list args;

	if (x->failed)
		return false;
	x->failed = true;
	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	snprintf(x->script->error, sizeof(x->script->error), "%s:%u: %s", x->script->path, x->line,
		what);
	return false;
}

static void advance(struct pkt_lex *x, size_t n)
{
	while (n-- > 0)
		x->line += *x->at++ == '\n';
}

static void skip_to(struct pkt_lex *x, const char *end)
{
	const char *found = strstr(x->at, end);

	advance(x, found ? (size_t)(found - x->at) : strlen(x->at));
}

static void skip_space(struct pkt_lex *x)
{
	for (;;) {
		if (isspace((unsigned char)*x->at)) {
			advance(x, 1);
		} else if (*x->at == '#' || strncmp(x->at, "//", 2) == 0) {
			skip_to(x, "\n");
		} else if (strncmp(x->at, "/*", 2) == 0) {
			skip_to(x, "*/");
			advance(x, strnlen(x->at, 2));
		} else {
			return;
		}
	}
}

bool pkt_lex_end(struct pkt_lex *x)
{
	skip_space(x);
	return x->failed || !*x->at;
}

bool pkt_lex_sees(struct pkt_lex *x, const char *what)
{
	skip_space(x);
	return !x->failed && strncmp(x->at, what, strlen(what)) == 0;
}

bool pkt_lex_accept(struct pkt_lex *x, const char *what)
{
	if (!pkt_lex_sees(x, what))
		return false;
	advance(x, strlen(what));
	return true;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

bool pkt_lex_accept_word(struct pkt_lex *x, const char *word)
{
	if (!pkt_lex_sees(x, word) || is_name(x->at[strlen(word)]))
		return false;
	advance(x, strlen(word));
	return true;
}

bool pkt_lex_expect(struct pkt_lex *x, const char *what)
{
	if (pkt_lex_accept(x, what))
		return true;
	return pkt_lex_error(x, "expected '%s' before '%.12s'", what, x->at);
}

static const char *take(struct pkt_lex *x, size_t n)
{
	char *copy = pkt_script_alloc(x->script, n + 1);

	memcpy(copy, x->at, n);
	advance(x, n);
	return copy;
}

const char *pkt_lex_name(struct pkt_lex *x)
{
	size_t n = 0;

	skip_space(x);
	if (x->failed || !is_name(*x->at) || isdigit((unsigned char)*x->at))
		return NULL;
	while (is_name(x->at[n]))
		n++;
	return take(x, n);
}

bool pkt_lex_number(struct pkt_lex *x, int64_t *out)
{
	char *end;

	skip_space(x);
	if (x->failed)
		return false;
	errno = 0;
	*out = strtoll(x->at, &end, 0);
	if (end == x->at || errno)
		return pkt_lex_error(x, "expected a number before '%.12s'", x->at);
	x->at = end;
	return true;
}

bool pkt_lex_uint(struct pkt_lex *x, uint64_t max, uint64_t *out)
{
	int64_t n;

	if (!pkt_lex_number(x, &n))
		return false;
	if (n < 0 || (uint64_t)n > max)
		return pkt_lex_error(
			x, "%lld is not between 0 and %llu", (long long)n, (unsigned long long)max);
	*out = (uint64_t)n;
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool pkt_lex_time(struct pkt_lex *x, int64_t *out_us)
{
	int64_t seconds = 0, us = 0;
	int digits = 0;

	skip_space(x);
	if (x->failed || !(is_digit(x->at[0]) || (x->at[0] == '.' && is_digit(x->at[1]))))
		return pkt_lex_error(x, "expected a time before '%.12s'", x->at);
	for (; is_digit(*x->at); x->at++) {
		seconds = seconds * 10 + (*x->at - '0');
		if (seconds > SECONDS_MAX)
			return pkt_lex_error(x, "this time is too long");
	}
	if (x->at[0] == '.' && is_digit(x->at[1]))
		for (x->at++; is_digit(*x->at); x->at++)
			if (digits++ < FRACTION_DIGITS)
				us = us * 10 + (*x->at - '0');
	for (; digits < FRACTION_DIGITS; digits++)
		us *= 10;
	*out_us = seconds * 1000000 + us;
	return true;
}

const char *pkt_lex_until(struct pkt_lex *x, const char *end)
{
	const char *found = x->failed ? NULL : strstr(x->at, end);
	const char *text;

	if (!found) {
		pkt_lex_error(x, "there is no closing '%s'", end);
		return NULL;
	}
	text = take(x, (size_t)(found - x->at));
	advance(x, strlen(end));
	return text;
}

const char *pkt_lex_string(struct pkt_lex *x)
{
	return pkt_lex_expect(x, "\"") ? pkt_lex_until(x, "\"") : NULL;
}

const char *pkt_lex_token(struct pkt_lex *x)
{
	size_t n = 0;

	skip_space(x);
	while (x->at[n] && !isspace((unsigned char)x->at[n]))
		n++;
	return take(x, n);
}

const char *pkt_lex_line(struct pkt_lex *x)
{
	return take(x, strcspn(x->at, "\n"));
}
