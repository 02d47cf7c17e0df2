/* `flow` and `listen`: what engines know of connections, filtered here. */
#include <ctl/show_state.h>

#include <ctl/server_state.h>
#include <tcp/cc.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* -- the filter ------------------------------------------------------------------------------ */

/* "10.0.0.0/8", "::1", "10.0.0.1". */
static bool parse_prefix(const char *text, struct show_prefix *p)
{
	char addr[64];
	const char *slash = strchrnul(text, '/');
	size_t len = (size_t)(slash - text);
	uint32_t ip_be;
	unsigned long bits, bits_max = 128;
	char *end;

	if (len >= sizeof(addr))
		return false;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (inet_pton(AF_INET, addr, &ip_be) == 1) {
		p->addr = net_addr_from_ip4(ip_be);
		bits_max = 32;
	} else if (inet_pton(AF_INET6, addr, p->addr.b) != 1) {
		return false;
	}
	bits = bits_max;
	if (*slash) {
		bits = strtoul(slash + 1, &end, 10);
		if (end == slash + 1 || *end || bits > bits_max)
			return false;
	}
	p->bits = (uint8_t)(128 - bits_max + bits);
	return true;
}

static bool in_prefix(const struct show_prefix *p, const struct net_addr *a)
{
	unsigned int bytes = p->bits / 8, rest = p->bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);

	return memcmp(p->addr.b, a->b, bytes) == 0 &&
	       (rest == 0 || ((p->addr.b[bytes] ^ a->b[bytes]) & mask) == 0);
}

/* A state as ss names it ("established" too), or one of its groups. 0: no such. */
static uint32_t parse_state(const char *name)
{
	const uint32_t all = (1u << TCP_STATE_COUNT) - 1;
	const uint32_t synchronized = all & ~(1u << TCP_CLOSED | 1u << TCP_LISTEN |
						    1u << TCP_SYN_SENT | 1u << TCP_SYN_RECEIVED);

	if (strcasecmp(name, "all") == 0)
		return all;
	if (strcasecmp(name, "established") == 0)
		return 1u << TCP_ESTABLISHED;
	if (strcasecmp(name, "connected") == 0)
		return all & ~(1u << TCP_CLOSED | 1u << TCP_LISTEN);
	if (strcasecmp(name, "synchronized") == 0)
		return synchronized;
	for (uint32_t i = 0; i < TCP_STATE_COUNT; i++) {
		if (strcasecmp(name, tcp_state_name((enum tcp_state)i)) == 0)
			return 1u << i;
	}
	return 0;
}

/* "estab,close-wait". 0: one of them does not exist. */
static uint32_t parse_states(const char *text)
{
	char names[256], *rest = names, *name;
	uint32_t states = 0;

	if ((size_t)snprintf(names, sizeof(names), "%s", text) >= sizeof(names))
		return 0;
	while ((name = strsep(&rest, ","))) {
		uint32_t state = parse_state(name);

		if (!state)
			return 0;
		states |= state;
	}
	return states;
}

static bool parse_int(const json_t *v, json_int_t max, json_int_t *out)
{
	*out = json_integer_value(v);
	return json_is_integer(v) && *out >= 1 && *out <= max;
}

static struct show_prefix *prefix_of(struct show_filter *f, const char *key)
{
	return strcmp(key, "src") == 0	  ? &f->src
	       : strcmp(key, "dst") == 0  ? &f->dst
	       : strcmp(key, "addr") == 0 ? &f->addr
					  : NULL;
}

static uint16_t *port_of(struct show_filter *f, const char *key)
{
	return strcmp(key, "sport") == 0   ? &f->sport
	       : strcmp(key, "dport") == 0 ? &f->dport
	       : strcmp(key, "port") == 0  ? &f->port
					   : NULL;
}

static const char *parse_key(struct show *w, const char *key, const json_t *v)
{
	struct show_filter *f = &w->filter;
	const char *text = json_string_value(v);
	struct show_prefix *prefix;
	uint16_t *port;
	json_int_t n;

	if (strcmp(key, "cmd") == 0)
		return NULL;
	if ((prefix = prefix_of(f, key)))
		return text && parse_prefix(text, prefix)
			       ? NULL
			       : "src, dst, addr: an address, or address/bits";
	if (strcmp(key, "state") == 0) {
		f->states = text ? parse_states(text) : 0;
		return f->states ? NULL : "state: no such state";
	}
	if ((port = port_of(f, key))) {
		*port = parse_int(v, 65535, &n) ? (uint16_t)n : 0;
		return *port ? NULL : "sport, dport, port: a port";
	}
	if (strcmp(key, "pid") == 0) {
		f->pid = parse_int(v, INT32_MAX, &n) ? (int32_t)n : 0;
		return f->pid ? NULL : "pid: a process id";
	}
	if (strcmp(key, "session") == 0) {
		f->session = parse_int(v, UINT32_MAX, &n) ? (uint32_t)n : 0;
		return f->session ? NULL : "session: a session's number";
	}
	if (strcmp(key, "max") == 0) {
		if (!parse_int(v, INT64_MAX, &n))
			return "max: a number above 0";
		w->count_max = (uint64_t)n;
		return NULL;
	}
	if (strcmp(key, "brief") == 0) {
		w->brief = json_is_true(v);
		return json_is_boolean(v) ? NULL : "brief: true or false";
	}
	return "unknown key";
}

const char *show_filter_parse(struct show *w, const json_t *request)
{
	/* jansson's iteration takes a plain pointer but changes nothing */
	json_t *object = (json_t *)(uintptr_t)request;
	const char *key, *error;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		error = parse_key(w, key, value);
		if (error)
			return error;
	}
	return NULL;
}

bool show_filter_match(const struct show_filter *f, const struct engine_flow_info *flow)
{
	return in_prefix(&f->src, &flow->key.local) && in_prefix(&f->dst, &flow->key.remote) &&
	       (in_prefix(&f->addr, &flow->key.local) || in_prefix(&f->addr, &flow->key.remote)) &&
	       (!f->port || f->port == flow->key.lport || f->port == flow->key.rport) &&
	       (!f->sport || f->sport == flow->key.lport) &&
	       (!f->dport || f->dport == flow->key.rport) &&
	       (!f->states || f->states & (1u << flow->state)) &&
	       (!f->session || f->session == flow->session) && (!f->pid || f->pid == flow->pid);
}

/* -- flow ------------------------------------------------------------------------------------- */

/* The process that holds it; nothing if none does. */
static void add_process(struct show *w, json_t *obj, uint32_t session, int32_t pid)
{
	const struct ctl_session *c = ctl_session_find(&w->s->sessions, session);

	if (!session)
		return;
	json_object_set_new(obj, "session", json_integer(session));
	json_object_set_new(obj, "pid", json_integer(pid));
	if (c)
		json_object_set_new(obj, "process", json_string(c->name));
}

static void add_int(json_t *obj, const char *key, uint64_t value)
{
	json_object_set_new(obj, key, json_integer((json_int_t)value));
}

/* What only a full connection has. */
static void add_conn(struct show *w, json_t *obj, const struct engine_flow_info *f)
{
	add_int(obj, "rto_us", f->rto_us);
	add_int(obj, "rtt_us", f->srtt_us);
	add_int(obj, "rttvar_us", f->rttvar_us);
	add_int(obj, "mss", f->mss_bytes);
	add_int(obj, "cwnd_bytes", f->cwnd_bytes);
	add_int(obj, "ssthresh_bytes", f->ssthresh_bytes);
	add_int(obj, "snd_wnd", f->snd_wnd_bytes);
	add_int(obj, "rcv_wnd", f->rcv_wnd_bytes);
	add_int(obj, "snd_wscale", f->snd_wscale);
	add_int(obj, "rcv_wscale", f->rcv_wscale);
	add_int(obj, "bytes_acked", f->bytes_acked);
	add_int(obj, "bytes_received", f->bytes_received);
	add_int(obj, "segs_out", f->segs_out);
	add_int(obj, "segs_in", f->segs_in);
	add_int(obj, "retrans", f->retrans_total);
	add_int(obj, "unacked", f->unacked_segs);
	add_int(obj, "retrans_now", f->resent_segs);
	add_int(obj, "lost", f->lost_segs);
	add_int(obj, "sacked", f->sacked_segs);
	add_int(obj, "dsack_dups", f->dsack_dups);
	add_int(obj, "reord_seen", f->reord_seen);
	add_int(obj, "rcv_ooopack", f->rcv_ooo_segs);
	add_int(obj, "chunks", f->chunks);
	json_object_set_new(obj, "ecn", json_boolean(f->ecn));
	json_object_set_new(obj, "cc", json_string(tcp_cc_name_in(&w->s->p.cfg->tcp, f->cc)));
	json_object_set_new(obj, "ts", json_boolean(f->timestamps));
	json_object_set_new(obj, "sack", json_boolean(f->sack));
}

static const char *kind_name(uint8_t kind)
{
	static const char *const names[TCP_KIND_COUNT] = {
		[TCP_KIND_CONN] = "conn",
		[TCP_KIND_HALF] = "half-open",
		[TCP_KIND_TW] = "time-wait",
	};

	return kind < TCP_KIND_COUNT ? names[kind] : "?";
}

static void emit_flow(struct show *w, struct out *o, const struct engine_msg *m, uint32_t i)
{
	const struct engine_flow_info *f = &m->list.flow[i];
	json_t *obj;

	if (!show_filter_match(&w->filter, f))
		return;
	obj = json_pack("{s:s, s:o, s:i, s:o, s:i, s:I, s:I, s:i, s:s}", "state",
		tcp_state_name((enum tcp_state)f->state), "local", show_addr(&f->key.local),
		"lport", f->key.lport, "remote", show_addr(&f->key.remote), "rport", f->key.rport,
		"recv_q", (json_int_t)f->rcv_queued_bytes, "send_q",
		(json_int_t)f->snd_queued_bytes, "engine", m->engine, "kind", kind_name(f->kind));
	if (obj) {
		add_process(w, obj, f->session, f->pid);
		if (f->deadline_in_us >= 0 && !w->brief)
			add_int(obj, "timer_us", (uint64_t)f->deadline_in_us);
		if (f->kind == TCP_KIND_CONN && !w->brief)
			add_conn(w, obj, f);
		if (f->orphan)
			json_object_set_new(obj, "orphan", json_true());
	}
	show_item(w, o, obj);
}

enum show_result show_flow(struct show *w, struct out *o)
{
	return show_from_engines(w, o, ENGINE_CMD_LIST_FLOWS, emit_flow);
}

/* -- listen -------------------------------------------------------------------------------------
 */

static void emit_listener(struct show *w, struct out *o, const struct engine_msg *m, uint32_t i)
{
	const struct engine_listener_info *l = &m->list.listener[i];
	json_t *obj = json_pack("{s:s, s:o, s:i, s:I, s:I, s:I, s:i}", "state", "LISTEN", "local",
		show_addr(&l->addr), "lport", l->port, "backlog", (json_int_t)l->backlog, "pending",
		(json_int_t)l->pending, "half_open", (json_int_t)l->half_open, "engine", m->engine);

	if (obj)
		add_process(w, obj, l->session, l->pid);
	show_item(w, o, obj);
}

enum show_result show_listen(struct show *w, struct out *o)
{
	return show_from_engines(w, o, ENGINE_CMD_LIST_LISTENERS, emit_listener);
}
