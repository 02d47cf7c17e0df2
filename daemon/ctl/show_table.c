/* `client`, `engine`, `port`, `neigh`, `counters`, `agent`, `version`: what the main thread knows
 * or can read without asking. Counters have one writer each, an engine; they are read relaxed. */
#include <ctl/show_state.h>

#include <ctl/engine_thread.h>
#include <ctl/server_state.h>
#include <engine/counters.h>
#include <net/counters.h>
#include <net/neigh.h>
#include <nic/nic.h>
#include <tcp/counters.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void add_int(json_t *obj, const char *key, uint64_t value)
{
	json_object_set_new(obj, key, json_integer((json_int_t)value));
}

/* -- client -------------------------------------------------------------------------------------
 */

static json_t *session_json(const struct ctl_session *c, uint64_t now_us)
{
	json_t *obj = json_pack("{s:I, s:i, s:I, s:s, s:s}", "session", (json_int_t)c->id, "pid",
		c->peer.pid, "uid", (json_int_t)c->peer.uid, "process", c->name, "state",
		ctl_session_state_name(c->state));

	if (!obj)
		return NULL;
	add_int(obj, "age_us", now_us - c->attached_us);
	add_int(obj, "contexts", c->layout.contexts);
	add_int(obj, "up_bytes", c->up_bytes);
	add_int(obj, "down_bytes", c->down_bytes);
	add_int(obj, "names", c->names.names);
	add_int(obj, "listeners", c->names.listeners);
	add_int(obj, "fds", c->fds_held);
	return obj;
}

static void emit_session(struct show *w, struct out *o, const struct engine_msg *m, uint32_t i)
{
	const struct engine_session_info *e = &m->list.session[i];
	json_t *obj =
		json_pack("{s:I, s:i, s:b}", "session", (json_int_t)e->session, "engine", m->engine,
			"polled", engine_thread_is_polled(w->s->p.threads[m->engine], e->session));

	if (obj) {
		add_int(obj, "conns", e->conns);
		add_int(obj, "orphans", e->orphans);
		add_int(obj, "chunks_used", e->chunks_used);
		add_int(obj, "slabs_free", e->chunks_free);
		add_int(obj, "slots", e->slots);
		add_int(obj, "events", e->events);
		add_int(obj, "doorbells", e->doorbells);
	}
	out_line(o, obj);
}

/* First a line for each session, then one for each session and engine. */
enum show_result show_client(struct show *w, struct out *o)
{
	uint64_t now_us = loop_now_us();
	struct ctl_session *c;

	if (w->stage == 1)
		return show_from_engines(w, o, ENGINE_CMD_LIST_SESSIONS, emit_session);
	for (uint32_t i = 0; i < SHOW_BATCH; i++) {
		c = ctl_session_next(&w->s->sessions, &w->table_cursor);
		if (!c) {
			w->stage = 1;
			break;
		}
		show_item(w, o, session_json(c, now_us));
	}
	return SHOW_MORE;
}

/* -- engine ---------------------------------------------------------------------------------------
 */

static void add_thread(json_t *obj, struct engine_thread *t)
{
	struct engine_thread_stats st;

	engine_thread_stats(t, &st);
	add_int(obj, "sleeps", st.sleeps);
	add_int(obj, "wakes_queue", st.wakes_queue);
	add_int(obj, "wakes_session", st.wakes_session);
	add_int(obj, "wakes_command", st.wakes_command);
	add_int(obj, "timeouts", st.timeouts);
	add_int(obj, "contended", st.contended);
	add_int(obj, "sessions_watched", st.sessions_watched);
	add_int(obj, "sessions_polled", st.sessions_polled);
	add_int(obj, "floods", st.floods);
}

static json_t *engine_json(struct server *s, uint32_t e)
{
	struct engine_gauges g;
	json_t *obj = json_object();

	if (!obj)
		return NULL;
	engine_gauges(s->p.engines[e], &g);
	add_int(obj, "engine", e);
	json_object_set_new(obj, "core", json_integer(s->p.cfg->cores[e]));
	add_int(obj, "conns", g.conns);
	add_int(obj, "half_open", g.halves);
	add_int(obj, "time_wait", g.tws);
	add_int(obj, "sockets", g.socks);
	add_int(obj, "orphans", g.orphans);
	add_int(obj, "sessions", g.sessions);
	add_int(obj, "listeners", g.listeners);
	add_int(obj, "chunks_used", g.chunks_used);
	add_int(obj, "turns", g.turns);
	add_int(obj, "busy_turns", g.busy_turns);
	add_thread(obj, s->p.threads[e]);
	return obj;
}

enum show_result show_engine(struct show *w, struct out *o)
{
	for (uint32_t e = 0; e < w->s->p.engine_count; e++)
		show_item(w, o, engine_json(w->s, e));
	return SHOW_DONE;
}

/* -- port -----------------------------------------------------------------------------------------
 */

struct row {
	const char *name;
	const char *help;
	size_t offset_bytes;
};

static const struct row port_rows[] = {
#define X(name, help)                                                                              \
	{                                                                                          \
#name, help, offsetof(struct nic_stats, name)                                      \
	}
	X(rx_packets, "Frames that the port received"),
	X(rx_bytes, "Bytes that the port received"),
	X(tx_packets, "Frames that the port sent"),
	X(tx_bytes, "Bytes that the port sent"),
	X(rx_missed, "Frames lost by the port: the engine did not take them in time"),
	X(rx_errors, "Frames that the port found faulty"),
	X(rx_no_mbuf, "Frames lost by the port for want of a buffer"),
	X(tx_errors, "Frames that the port failed to send"),
	X(rx_too_long, "Frames longer than the linear buffer, dropped"),
	X(rx_bad_checksum, "Frames whose IP or TCP checksum the port found wrong"),
	X(rx_merged, "Frames longer than the MTU: several merged by the port"),
	X(tx_no_mbuf, "Frames not sent for want of a buffer"),
	X(tx_queue_full, "Frames that the port's queue did not take"),
	X(tx_bad, "Frames that were not fit to send"),
	X(tx_tso, "Frames left to the port to be cut (TSO)"),
	X(tx_cut, "Segments cut into frames here (GSO)"),
#undef X
};

static void mac_text(const uint8_t mac[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
}

/* "192.0.2.2/24", "fe80::1/64", "2001:db8::1/64 tentative". */
static void add_addrs(json_t *obj, const struct net_iface *iface)
{
	json_t *list = json_array();
	char ip[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 20];

	for (uint32_t i = 0; i < iface->addr_count; i++) {
		inet_ntop(AF_INET, &iface->addr[i].ip_be, ip, sizeof(ip));
		snprintf(text, sizeof(text), "%s/%u", ip, iface->addr[i].prefix_len);
		json_array_append_new(list, json_string(text));
	}
	for (uint32_t i = 0; i < iface->addr6_count; i++) {
		const struct net_prefix6 *px = &iface->addr6[i];
		const char *state = net_addr6_state_name((enum net_addr6_state)px->state);

		inet_ntop(AF_INET6, px->addr.b, ip, sizeof(ip));
		snprintf(text, sizeof(text), "%s/%u%s%s", ip, px->prefix_len, *state ? " " : "",
			state);
		json_array_append_new(list, json_string(text));
	}
	json_object_set_new(obj, "addresses", list);
}

static void add_gateways(json_t *obj, const struct net_iface *iface)
{
	struct net_addr gateway = net_addr_from_ip4(iface->gateway_be);

	if (iface->gateway_be)
		json_object_set_new(obj, "gateway", show_addr(&gateway));
	if (!net_addr_is_any(&iface->gateway6))
		json_object_set_new(obj, "gateway6", show_addr(&iface->gateway6));
}

enum show_result show_port(struct show *w, struct out *o)
{
	const struct nic_caps *caps = nic_port_caps(w->s->p.port);
	struct net_iface iface;
	struct nic_stats st;
	char mac[18];
	json_t *obj;

	server_iface(w->s, &iface);
	nic_port_stats(w->s->p.port, &st);
	mac_text(caps->mac, mac);
	obj = json_pack("{s:s, s:s, s:i, s:I, s:b, s:b, s:b}", "port", nic_port_name(w->s->p.port),
		"mac", mac, "mtu", caps->mtu_bytes, "tso_max_bytes",
		(json_int_t)caps->tso_max_bytes, "rx_checksum", caps->rx_checksum, "tx_checksum",
		caps->tx_checksum, "rss", caps->rss);
	if (obj) {
		if (iface.vlan_id)
			add_int(obj, "vlan", iface.vlan_id);
		add_addrs(obj, &iface);
		add_gateways(obj, &iface);
		for (size_t i = 0; i < sizeof(port_rows) / sizeof(*port_rows); i++)
			add_int(obj, port_rows[i].name,
				*(const uint64_t *)(const void *)((const char *)&st +
								  port_rows[i].offset_bytes));
		add_int(obj, "mbufs_total", st.mbufs_total);
		add_int(obj, "mbufs_free", st.mbufs_free);
		add_int(obj, "mbufs_ring", st.mbufs_ring);
	}
	show_item(w, o, obj);
	return SHOW_DONE;
}

/* -- neigh
 * ----------------------------------------------------------------------------------------- */

enum show_result show_neigh(struct show *w, struct out *o)
{
	struct net_neigh_info n;

	for (uint32_t i = 0; i < SHOW_BATCH; i++) {
		char mac[18];
		json_t *obj;

		if (!net_neigh_next(w->s->p.neigh, &w->table_cursor, &n))
			return SHOW_DONE;
		mac_text(n.mac.b, mac);
		obj = json_pack("{s:o, s:s, s:s}", "address", show_addr(&n.addr), "mac", mac,
			"state", net_neigh_state_name(n.state));
		if (obj && n.used_us)
			add_int(obj, "used_us", loop_now_us() - n.used_us);
		if (obj)
			add_int(obj, "changed_us", loop_now_us() - n.changed_us);
		show_item(w, o, obj);
	}
	return SHOW_MORE;
}

/* -- counters
 * --------------------------------------------------------------------------------------- */

static uint64_t read_at(const void *counters, size_t offset_bytes)
{
	return __atomic_load_n(
		(const uint64_t *)(const void *)((const char *)counters + offset_bytes),
		__ATOMIC_RELAXED);
}

static void counter(
	struct show *w, struct out *o, const char *group, const struct row *r, uint64_t value)
{
	show_item(w, o,
		json_pack("{s:s, s:s, s:I, s:s}", "group", group, "name", r->name, "value",
			(json_int_t)value, "help", r->help));
}

/* One group of the engines' counters, summed over them. */
#define ENGINE_GROUP(w, o, group, table, count, get)                                               \
	for (size_t i_ = 0; i_ < (count); i_++) {                                                  \
		struct row r_ = {(table)[i_].name, (table)[i_].help, (table)[i_].offset_bytes};    \
		uint64_t sum_ = 0;                                                                 \
                                                                                                   \
		for (uint32_t e_ = 0; e_ < (w)->s->p.engine_count; e_++)                           \
			sum_ += read_at(get((w)->s->p.engines[e_]), r_.offset_bytes);              \
		counter(w, o, group, &r_, sum_);                                                   \
	}

static void nic_counters(struct show *w, struct out *o)
{
	struct nic_stats st;

	nic_port_stats(w->s->p.port, &st);
	for (size_t i = 0; i < sizeof(port_rows) / sizeof(*port_rows); i++)
		counter(w, o, "nic", &port_rows[i], read_at(&st, port_rows[i].offset_bytes));
}

static void ctl_counters(struct show *w, struct out *o)
{
	for (size_t i = 0; i < CTL_COUNTER_COUNT; i++) {
		struct row r = {ctl_counter_table[i].name, ctl_counter_table[i].help,
			ctl_counter_table[i].offset_bytes};

		counter(w, o, "ctl", &r, read_at(&w->s->counters, r.offset_bytes));
	}
}

enum show_result show_counters(struct show *w, struct out *o)
{
	nic_counters(w, o);
	ENGINE_GROUP(w, o, "net", net_counter_table, NET_COUNTER_COUNT, engine_net_counters);
	ENGINE_GROUP(w, o, "tcp", tcp_counter_table, TCP_COUNTER_COUNT, engine_tcp_counters);
	ENGINE_GROUP(w, o, "engine", engine_counter_table, ENGINE_COUNTER_COUNT, engine_counters);
	ctl_counters(w, o);
	return SHOW_DONE;
}

/* -- agent
 * ------------------------------------------------------------------------------------------ */

enum show_result show_agent(struct show *w, struct out *o)
{
	if (w->s->p.cfg->tcp.cc_agent[0])
		show_item(w, o, agent_json(w->s));
	return SHOW_DONE;
}

/* -- version
 * ------------------------------------------------------------------------------------------ */

enum show_result show_version(struct show *w, struct out *o)
{
	const struct server *s = w->s;

	show_item(w, o,
		json_pack("{s:s, s:i, s:i, s:I, s:I, s:i, s:i, s:i, s:i, s:b}", "version",
			s->p.version, "protocol", PROTO_VERSION, "pid", (int)getpid(), "uptime_us",
			(json_int_t)(loop_now_us() - s->started_us), "epoch_us",
			(json_int_t)s->epoch_us, "engines", (int)s->p.engine_count, "sessions",
			(int)s->sessions.count, "fds_used", (int)s->fds_used, "fds_max",
			(int)s->fds_max, "userfaultfd", s->has_uffd));
	return SHOW_DONE;
}
