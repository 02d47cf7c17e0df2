/* Calls.
 *
 *	call    = name "(" [ value { "," value } ] ")" "=" ( "?" | value ) [ errno ] [ "(" note ")"
 *] value   = "..." | string | list | struct | term { "|" term } term    = number | constant |
 *"htons" "(" n ")" | "inet_addr" "(" string ")" list    = "[" [ value { "," value } ] "]" struct  =
 *"{" [ [ member "=" ] value { "," ... } ] "}"
 */
#include "pkt_parse.h"

#include "pkt_const.h"

#include <arpa/inet.h>
#include <string.h>

enum {
	DEPTH_MAX = 6,
};

static bool parse_value(struct pkt_lex *x, struct pkt_value *v, int depth);

/* -- numbers
 * -------------------------------------------------------------------------------------------- */

static bool parse_inet_addr(struct pkt_lex *x, int64_t *out)
{
	const char *text;
	struct in_addr a;

	if (!pkt_lex_expect(x, "(") || !(text = pkt_lex_string(x)) || !pkt_lex_expect(x, ")"))
		return false;
	if (inet_pton(AF_INET, text, &a) != 1)
		return pkt_lex_error(x, "'%s' is no address", text);
	*out = a.s_addr;
	return true;
}

static bool parse_term(struct pkt_lex *x, int64_t *out)
{
	const char *name = pkt_lex_name(x);

	if (!name)
		return pkt_lex_number(x, out);
	if (strcmp(name, "htons") == 0 || strcmp(name, "htonl") == 0)
		return pkt_lex_expect(x, "(") && pkt_lex_number(x, out) && pkt_lex_expect(x, ")");
	if (strcmp(name, "inet_addr") == 0)
		return parse_inet_addr(x, out);
	if (!pkt_const(name, out))
		return pkt_lex_error(x, "unknown constant '%s'", name);
	return true;
}

static bool parse_int(struct pkt_lex *x, struct pkt_value *v)
{
	int64_t n;

	v->kind = PKT_VALUE_INT;
	do {
		if (!parse_term(x, &n))
			return false;
		v->number |= n;
	} while (pkt_lex_accept(x, "|"));
	return true;
}

/* -- aggregates
 * -------------------------------------------------------------------------------------------- */

/* "name =" or "name(...) =", if the text goes on so. */
static bool parse_member_name(struct pkt_lex *x, const char **name)
{
	struct pkt_lex before = *x;

	*name = pkt_lex_name(x);
	if (*name && pkt_lex_accept(x, "("))
		pkt_lex_until(x, ")");
	if (*name && pkt_lex_accept(x, "="))
		return true;
	if (x->failed)
		return false;
	*x = before;
	*name = NULL;
	return true;
}

static bool parse_items(struct pkt_lex *x, struct pkt_value *v, const char *end, int depth)
{
	bool named = v->kind == PKT_VALUE_STRUCT;

	v->item = pkt_script_alloc(x->script, PKT_ITEMS_MAX * sizeof(*v->item));
	if (pkt_lex_accept(x, end))
		return true;
	do {
		const char *name = NULL;

		if (v->count == PKT_ITEMS_MAX)
			return pkt_lex_error(x, "more than %d items", PKT_ITEMS_MAX);
		if (named && !parse_member_name(x, &name))
			return false;
		if (!parse_value(x, &v->item[v->count], depth + 1))
			return false;
		v->item[v->count++].name = name;
	} while (pkt_lex_accept(x, ","));
	return pkt_lex_expect(x, end);
}

static bool parse_value(struct pkt_lex *x, struct pkt_value *v, int depth)
{
	*v = (struct pkt_value){.kind = PKT_VALUE_ANY};
	if (depth > DEPTH_MAX)
		return pkt_lex_error(x, "too many brackets in each other");
	if (pkt_lex_accept(x, "...") || pkt_lex_accept(x, "?"))
		return true;
	if (pkt_lex_sees(x, "\"")) {
		v->kind = PKT_VALUE_STRING;
		v->string = pkt_lex_string(x);
		return v->string != NULL;
	}
	if (pkt_lex_accept(x, "[")) {
		v->kind = PKT_VALUE_LIST;
		return parse_items(x, v, "]", depth);
	}
	if (pkt_lex_accept(x, "{")) {
		v->kind = PKT_VALUE_STRUCT;
		return parse_items(x, v, "}", depth);
	}
	return parse_int(x, v);
}

/* -- the whole
 * --------------------------------------------------------------------------------------------- */

static bool parse_result(struct pkt_lex *x, struct pkt_call *c)
{
	struct pkt_value v;
	const char *name;
	int64_t err;

	if (!pkt_lex_expect(x, "=") || !parse_value(x, &v, 0))
		return false;
	c->any_result = v.kind == PKT_VALUE_ANY;
	c->result = v.number;
	if (c->result >= 0 || c->any_result)
		goto note;
	name = pkt_lex_name(x);
	if (!name || !pkt_errno(name, &err))
		return pkt_lex_error(
			x, "expected the name of an error after %lld", (long long)c->result);
	c->err = (int)err;
note:
	return !pkt_lex_accept(x, "(") || pkt_lex_until(x, ")") != NULL;
}

bool pkt_parse_call(struct pkt_lex *x, struct pkt_call *c)
{
	c->name = pkt_lex_name(x);
	if (!c->name)
		return pkt_lex_error(x, "expected a packet, a call or code before '%.12s'", x->at);
	if (!pkt_lex_expect(x, "("))
		return false;
	if (pkt_lex_accept(x, ")"))
		return parse_result(x, c);
	do {
		if (c->arg_count == PKT_ARGS_MAX)
			return pkt_lex_error(x, "more than %d arguments", PKT_ARGS_MAX);
		if (!parse_value(x, &c->arg[c->arg_count++], 0))
			return false;
	} while (pkt_lex_accept(x, ","));
	return pkt_lex_expect(x, ")") && parse_result(x, c);
}
