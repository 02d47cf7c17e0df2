/* Frames of the host: taken in order, put into the script's numbers, compared.
 *
 * What the host's numbers are in the script is learned from its first SYN and its first
 * timestamp. A later SYN of a tuple that the script has opened anew starts another incarnation.
 *
 * A foreign script was written for Linux, where a segment is seen before it is cut, PSH ends each
 * write, and options have another order. So one that is longer stands for several, back to
 * back; PSH is not compared, and of options only which there are, and what they say, but for how
 * far the window is scaled.
 */
#include "pkt_state.h"

#include <net/wire.h>

#include <stdlib.h>
#include <string.h>

enum {
	LOOK_FURTHER_US = 150 * 1000 * 1000, /* for a packet that did not come */
};

/* The script's first byte lies here, so that sequence numbers wrap in most scripts. */
#define REMOTE_OFFSET 0xfffffc00u

static void print_expected(const struct pkt_run *r, int64_t at_us, const struct pkt_packet *p)
{
	(void)r;
	fprintf(stderr, "    expected ");
	if (r->event->time_kind == PKT_TIME_ANY) {
		fputs("* ", stderr);
		pkt_wire_print(stderr, p);
		fputc('\n', stderr);
	} else {
		pkt_print_at(stderr, at_us, p);
	}
}

struct pkt_map *pkt_map_new(struct pkt_run *r, uint8_t conn, uint16_t lport, uint16_t rport)
{
	struct pkt_map *m = &r->map[conn];

	*m = (struct pkt_map){
		.used = true,
		.ip6 = r->script.family == PKT_IP6,
		.lport = lport,
		.rport = rport,
		.remote_off = REMOTE_OFFSET,
	};
	return m;
}

/* -- packets of the host
 * ----------------------------------------------------------------------------------- */

static int conn_of(struct pkt_run *r, const struct pkt_frame *f)
{
	for (int i = 0; i < PKT_CONNS_MAX; i++)
		if (r->map[i].used && r->map[i].lport == f->sport && r->map[i].rport == f->dport)
			return i;
	for (uint8_t i = 0; i < PKT_CONNS_MAX; i++)
		if (!r->map[i].used) {
			pkt_map_new(r, i, f->sport, f->dport);
			return i;
		}
	return -1;
}

static void note_ts_val(void *arg, uint8_t *at, enum pkt_number what)
{
	if (what == PKT_NUMBER_TS_VAL)
		*(uint32_t **)arg = (uint32_t *)(void *)at;
}

static bool ts_val_of(uint8_t *opt, uint32_t len, uint32_t *out)
{
	uint8_t *at = NULL;

	pkt_wire_numbers(opt, len, note_ts_val, &at);
	if (at)
		*out = net_get32(at);
	return at != NULL;
}

/* From the first SYN and the first timestamp follows what the host's numbers are in the script. */
static void learn(struct pkt_run *r, struct pkt_map *m, const struct pkt_frame *f,
	const struct pkt_packet *want)
{
	uint8_t opt[PKT_OPTIONS_MAX], want_opt[PKT_OPTIONS_MAX];
	uint32_t live, script = 0;

	if (f->flags & 2 && (!m->local_known || (m->local_may_change && f->seq != m->isn))) {
		if (m->local_may_change)
			m->remote_first = r->pending_first[m - r->map];
		m->isn_before = m->isn;
		m->isn = f->seq;
		m->local_first = want ? want->seq : 0;
		m->local_off = f->seq - m->local_first;
		m->local_known = true;
		m->local_may_change = false;
	}
	memcpy(opt, f->opt, f->opt_len);
	if (m->ts_known || !ts_val_of(opt, f->opt_len, &live))
		return;
	if (want && want->any_ts_val)
		return;
	if (want) {
		memcpy(want_opt, want->opt, want->opt_len);
		ts_val_of(want_opt, want->opt_len, &script);
	}
	m->ts_off = live - script;
	m->ts_known = want != NULL;
}

static int64_t number_distance(const uint8_t *a, const uint8_t *b)
{
	return (int32_t)(net_get32(a) - net_get32(b));
}

struct ts_compare {
	struct pkt_packet *seen;
	const struct pkt_packet *want;
	int64_t tolerance;
};

/* A timestamp that is close enough becomes the expected one. */
static void forgive_ts(void *arg, uint8_t *at, enum pkt_number what)
{
	struct ts_compare *c = arg;
	const uint8_t *want = c->want->opt + (at - c->seen->opt);
	int64_t d = number_distance(at, want);

	if (what == PKT_NUMBER_TS_VAL &&
		(c->want->any_ts_val || (d >= -c->tolerance && d <= c->tolerance)))
		memcpy(at, want, 4);
}

enum {
	OPTION_KINDS = 256,
	PSH = 1 << 3,
};

/* Where each kind of option lies, 0: nowhere, else one more. */
static void index_options(const struct pkt_packet *p, uint8_t at[OPTION_KINDS])
{
	memset(at, 0, OPTION_KINDS);
	for (uint8_t i = 0; i < p->opt_len && p->opt[i] != PKT_OPT_EOL;) {
		if (p->opt[i] == PKT_OPT_NOP) {
			i++;
			continue;
		}
		at[p->opt[i]] = (uint8_t)(i + 1);
		if (i + 1 >= p->opt_len || p->opt[i + 1] < 2)
			return;
		i = (uint8_t)(i + p->opt[i + 1]);
	}
}

static bool times_differ(const struct pkt_run *r, const uint8_t *x, const uint8_t *y)
{
	int64_t d = number_distance(x + 2, y + 2), most = r->script.tolerance_us / 1000;

	return d < -most || d > most || number_distance(x + 6, y + 6) != 0;
}

static bool foreign_options_differ(
	const struct pkt_run *r, const struct pkt_packet *seen, const struct pkt_packet *want)
{
	uint8_t a[OPTION_KINDS], b[OPTION_KINDS];

	index_options(seen, a);
	index_options(want, b);
	for (int kind = 0; kind < OPTION_KINDS; kind++) {
		const uint8_t *x, *y;

		if (!a[kind] != !b[kind])
			return true;
		if (!a[kind] || kind == PKT_OPT_WSCALE)
			continue;
		x = seen->opt + a[kind] - 1;
		y = want->opt + b[kind] - 1;
		if (x[1] != y[1] ||
			(kind == PKT_OPT_TS ? times_differ(r, x, y) : memcmp(x, y, x[1]) != 0))
			return true;
	}
	return false;
}

static bool options_differ(
	const struct pkt_run *r, struct pkt_packet *seen, const struct pkt_packet *want)
{
	struct pkt_packet like = *seen;
	struct ts_compare c = {&like, want, r->script.tolerance_us / 1000};

	if (!want->has_opts)
		return false;
	if (r->options->foreign)
		return foreign_options_differ(r, seen, want);
	if (seen->opt_len != want->opt_len)
		return true;
	pkt_wire_numbers(like.opt, like.opt_len, forgive_ts, &c);
	return memcmp(like.opt, want->opt, want->opt_len) != 0;
}

/* What differs, or NULL. */
static const char *difference(
	const struct pkt_run *r, struct pkt_packet *seen, const struct pkt_packet *want)
{
	if (seen->conn != want->conn)
		return "connection";
	if ((seen->flags ^ want->flags) & (r->options->foreign ? ~PSH : ~0))
		return "flags";
	if (seen->seq != want->seq || seen->len != want->len)
		return "sequence";
	if (seen->has_ack != want->has_ack || seen->ack != want->ack)
		return "acknowledgement";
	if (want->has_wnd && seen->wnd != want->wnd)
		return "window";
	if (want->has_urg && seen->urg != want->urg)
		return "urgent pointer";
	if (want->ecn >= 0 && seen->ecn != want->ecn)
		return "ECN";
	return options_differ(r, seen, want) ? "options" : NULL;
}

static bool payload_is_right(const struct pkt_frame *f, const struct pkt_map *m)
{
	uint32_t pos = f->seq + (f->flags & 2 ? 1 : 0) - m->local_off - m->local_first - 1;

	for (uint32_t i = 0; m->local_known && i < f->len; i++)
		if (f->payload[i] != pkt_pattern(pos + i))
			return false;
	return true;
}

static void tell_late(struct pkt_run *r, const struct pkt_packet *want, const struct pkt_span *s)
{
	const struct pkt_seen *f;
	struct pkt_packet seen;
	struct pkt_frame frame;
	int conn;
	uint64_t until = r->world.now_us + LOOK_FURTHER_US;

	while (!r->world.seen && pkt_world_step(&r->world, until))
		;
	print_expected(r, s->from_us, want);
	f = r->world.seen;
	if (!f || !pkt_wire_read(&frame, f->data, f->len_bytes)) {
		fprintf(stderr, "    seen     nothing\n");
		return;
	}
	conn = conn_of(r, &frame);
	if (conn < 0)
		return;
	learn(r, &r->map[conn], &frame, NULL);
	pkt_wire_relate(&seen, &frame, &r->map[conn], true);
	seen.conn = (uint8_t)conn;
	fprintf(stderr, "    seen     ");
	pkt_print_at(stderr, pkt_script_us(r, f->at_us), &seen);
}

/* The next frame of the host, in the script's numbers. */
static bool next_frame(struct pkt_run *r, const struct pkt_event *e, const struct pkt_span *s,
	struct pkt_seen **out, struct pkt_frame *frame, struct pkt_packet *seen)
{
	uint64_t until = r->start_us + (uint64_t)(s->to_us + r->script.tolerance_us);
	int conn;

	while (!r->world.seen && pkt_world_step(&r->world, until))
		;
	if (!r->world.seen) {
		pkt_fail(r, e->line, "no packet");
		tell_late(r, e->packet, s);
		return false;
	}
	*out = pkt_world_take(&r->world);
	if (!pkt_wire_read(frame, (*out)->data, (*out)->len_bytes))
		return pkt_fail(r, e->line, "the host sent a frame that is not TCP");
	conn = conn_of(r, frame);
	if (conn < 0)
		return pkt_fail(r, e->line, "more than %d connections", PKT_CONNS_MAX);
	learn(r, &r->map[conn], frame, conn == e->packet->conn ? e->packet : NULL);
	pkt_wire_relate(seen, frame, &r->map[conn], true);
	seen->conn = (uint8_t)conn;
	return true;
}

static bool judge(struct pkt_run *r, const struct pkt_event *e, const struct pkt_span *s,
	const struct pkt_seen *f, const struct pkt_frame *frame, struct pkt_packet *seen)
{
	int64_t at = pkt_script_us(r, f->at_us), tolerance = r->script.tolerance_us;
	const char *what = difference(r, seen, e->packet);

	if (!what && (at < s->from_us - tolerance || at > s->to_us + tolerance))
		what = "time";
	if (!what && !payload_is_right(frame, &r->map[seen->conn]))
		what = "payload";
	if (!what)
		return true;
	pkt_fail(r, e->line, "another packet: %s", what);
	print_expected(r, s->from_us, e->packet);
	fprintf(stderr, "    seen     ");
	pkt_print_at(stderr, at, seen);
	return false;
}

/* The rest of a longer segment, its first part being in *seen. */
static bool take_rest(struct pkt_run *r, const struct pkt_event *e, const struct pkt_span *s,
	struct pkt_packet *seen)
{
	const struct pkt_packet *want = e->packet;

	while (seen->len > 0 && seen->len < want->len && seen->seq == want->seq) {
		struct pkt_packet more;
		struct pkt_frame frame;
		struct pkt_seen *f = NULL;
		bool ok = next_frame(r, e, s, &f, &frame, &more) &&
			  payload_is_right(&frame, &r->map[more.conn]);

		free(f);
		if (!ok || more.conn != seen->conn || more.len == 0 ||
			more.seq != seen->seq + seen->len)
			return pkt_fail(
				r, e->line, "not the rest of a segment of %u bytes", want->len);
		if (r->options->trace)
			pkt_print_at(stdout, pkt_script_us(r, r->world.now_us), &more);
		seen->len += more.len;
		seen->flags |= more.flags;
	}
	return true;
}

bool pkt_expect(struct pkt_run *r, const struct pkt_event *e)
{
	struct pkt_span s = pkt_span_of(r, e);
	struct pkt_packet seen;
	struct pkt_frame frame;
	struct pkt_seen *f = NULL;
	bool ok = next_frame(r, e, &s, &f, &frame, &seen);

	if (ok && r->options->trace)
		pkt_print_at(stdout, pkt_script_us(r, f->at_us), &seen);
	if (ok && r->options->foreign)
		ok = take_rest(r, e, &s, &seen);
	ok = ok && judge(r, e, &s, f, &frame, &seen);
	if (ok)
		r->before_us = (uint64_t)(e->time_kind == PKT_TIME_ANY || e->has_range
						  ? pkt_script_us(r, f->at_us)
						  : s.from_us);
	free(f);
	return ok;
}

bool pkt_expect_nothing(struct pkt_run *r)
{
	const struct pkt_seen *f = r->world.seen;
	struct pkt_packet seen;
	struct pkt_frame frame;
	int conn;

	if (!f || r->options->lenient)
		return true;
	pkt_fail(r, r->event->line, "behind the last event: a packet that was not expected");
	if (!pkt_wire_read(&frame, f->data, f->len_bytes) || (conn = conn_of(r, &frame)) < 0)
		return false;
	learn(r, &r->map[conn], &frame, NULL);
	pkt_wire_relate(&seen, &frame, &r->map[conn], true);
	seen.conn = (uint8_t)conn;
	fprintf(stderr, "    seen     ");
	pkt_print_at(stderr, pkt_script_us(r, f->at_us), &seen);
	return false;
}
