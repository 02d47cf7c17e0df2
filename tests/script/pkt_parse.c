/* Events and option lines; packets and calls have files of their own.
 *
 *	script  = { "--" option "\n" } { event }
 *	event   = [ time ] ( ("<" | ">") packet | call | "%{" code "}%" | "`" shell "`" )
 *	time    = "*" | ["+"] seconds [ "~" ["+"] seconds ] [ "..." ["+"] seconds ]
 */
#include "pkt_parse.h"

#include "pkt_config.h"
#include "pkt_expr.h"

#include <string.h>

/* -- options
 * ---------------------------------------------------------------------------------------- */

static bool parse_set(struct pkt_lex *x)
{
	struct pkt_setting *s = pkt_script_alloc(x->script, sizeof(*s));

	s->line = x->line;
	s->name = pkt_lex_name(x);
	if (!s->name || !pkt_config_knows(s->name))
		return pkt_lex_error(x, "there is no setting '%s'", s->name ? s->name : "");
	if (!pkt_lex_expect(x, "=") || !pkt_lex_number(x, &s->value))
		return false;
	s->next = x->script->settings;
	x->script->settings = s;
	return true;
}

static bool parse_ip_version(struct pkt_lex *x)
{
	if (pkt_lex_accept_word(x, "ipv6"))
		x->script->family = PKT_IP6;
	else if (pkt_lex_accept_word(x, "ipv4_mapped_ipv6"))
		x->script->family = PKT_IP4_MAPPED;
	else if (!pkt_lex_accept_word(x, "ipv4"))
		return pkt_lex_error(x, "expected ipv4, ipv6 or ipv4_mapped_ipv6");
	return true;
}

/* Others belong to packetdrill's own set-up of addresses and devices. */
static bool parse_option(struct pkt_lex *x)
{
	if (pkt_lex_accept_word(x, "set"))
		return parse_set(x);
	if (pkt_lex_accept(x, "tolerance_usecs="))
		return pkt_lex_number(x, &x->script->tolerance_us);
	if (pkt_lex_accept(x, "ip_version="))
		return parse_ip_version(x);
	return pkt_lex_line(x) != NULL;
}

/* -- events
 * ------------------------------------------------------------------------------------------- */

/* The end of a range: of the same kind as its beginning. */
static bool parse_range_end(struct pkt_lex *x, const struct pkt_event *e, int64_t *us)
{
	bool relative = pkt_lex_accept(x, "+");

	if (relative != (e->time_kind == PKT_TIME_RELATIVE))
		return pkt_lex_error(x, "both ends of a range must be absolute or relative");
	return pkt_lex_time(x, us);
}

struct end {
	bool blocks;
	int64_t us;
};

static bool parse_time(struct pkt_lex *x, struct pkt_event *e, struct end *end)
{
	e->time_kind = PKT_TIME_RELATIVE;
	if (pkt_lex_accept(x, "*")) {
		e->time_kind = PKT_TIME_ANY;
		return true;
	}
	if (!pkt_lex_accept(x, "+")) {
		if (!(*x->at == '.' || (*x->at >= '0' && *x->at <= '9')))
			return true; /* none: with the event before */
		e->time_kind = PKT_TIME_ABSOLUTE;
	}
	if (!pkt_lex_time(x, &e->time_us))
		return false;
	if (pkt_lex_accept(x, "~")) {
		e->has_range = true;
		return parse_range_end(x, e, &e->range_us);
	}
	if (pkt_lex_accept(x, "...")) {
		end->blocks = true;
		pkt_lex_accept(x, "+");
		return pkt_lex_time(x, &end->us);
	}
	return true;
}

static bool parse_packet_event(struct pkt_lex *x, struct pkt_event *e, bool out)
{
	e->kind = PKT_EVENT_PACKET;
	e->packet = pkt_script_alloc(x->script, sizeof(*e->packet));
	if (!out && (e->has_range || e->time_kind == PKT_TIME_ANY))
		return pkt_lex_error(x, "a packet that arrives does so at one time");
	return pkt_parse_packet(x, out, e->packet);
}

static bool parse_code_event(struct pkt_lex *x, struct pkt_event *e)
{
	const char *why = NULL;

	e->kind = PKT_EVENT_CODE;
	e->code = pkt_lex_until(x, "}%");
	if (!e->code)
		return false;
	if (pkt_expr_check(e->code, &why))
		return true;
	return pkt_lex_error(x, "%s", why);
}

static bool parse_call_event(struct pkt_lex *x, struct pkt_event *e, const struct end *end)
{
	e->kind = PKT_EVENT_CALL;
	e->call = pkt_script_alloc(x->script, sizeof(*e->call));
	e->call->blocks = end->blocks;
	e->call->end_us = end->us;
	e->call->end_relative = e->time_kind == PKT_TIME_RELATIVE;
	return pkt_parse_call(x, e->call);
}

static bool parse_event(struct pkt_lex *x, struct pkt_event *e)
{
	struct end end = {0};

	pkt_lex_end(x); /* skips to the event, so that its line is right */
	e->line = x->line;
	if (!parse_time(x, e, &end))
		return false;
	if (pkt_lex_accept(x, "%{"))
		return parse_code_event(x, e);
	if (pkt_lex_accept(x, "`")) {
		e->kind = PKT_EVENT_NOTHING;
		return pkt_lex_until(x, "`") != NULL;
	}
	if (pkt_lex_accept(x, "<"))
		return parse_packet_event(x, e, false);
	if (pkt_lex_accept(x, ">"))
		return parse_packet_event(x, e, true);
	return parse_call_event(x, e, &end);
}

int pkt_parse(struct pkt_script *s)
{
	struct pkt_event **end = &s->events;
	struct pkt_lex x;

	pkt_lex_init(&x, s);
	while (pkt_lex_accept(&x, "--"))
		if (!parse_option(&x))
			return -1;
	while (!pkt_lex_end(&x)) {
		struct pkt_event *e = pkt_script_alloc(s, sizeof(*e));

		if (!parse_event(&x, e))
			return -1;
		*end = e;
		end = &e->next;
	}
	return x.failed ? -1 : 0;
}
