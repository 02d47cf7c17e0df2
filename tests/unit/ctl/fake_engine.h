/* Stands in for the engine, its thread and the port under the control plane's tests.
 *
 * engine_post() executes nothing: commands wait in `inbox` until fake_turn() answers them, in
 * order, as an engine does at the start of a turn. Everything that was posted is recorded.
 * Included by one file of each test program, since it defines the functions. */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include <ctl/engine_thread.h>
#include <engine/counters.h>
#include <engine/engine.h>
#include <net/counters.h>
#include <nic/nic.h>
#include <tcp/counters.h>

#include <stdlib.h>
#include <string.h>

enum {
	FAKE_ENGINES = 2,
	FAKE_SESSIONS = 2048,
};

struct fake_queue {
	struct engine_msg *msg[4096];
	unsigned int first, last;
};

struct engine {
	struct fake_queue inbox, outbox;
	struct engine_session_desc session[FAKE_SESSIONS];
	uint32_t sessions;
	uint32_t listeners;
	struct engine_listen_desc last_listen;
	struct engine_segment_desc last_segment;
	uint32_t flows; /* how many LIST_FLOWS tells of */
	uint32_t lists; /* commands answered */
	int add_result, listen_result, segment_result;
	bool hold_gone; /* orphans pin: GONE waits for fake_gone() */
	struct engine_counters counters;
	struct tcp_counters tcp;
	struct net_counters net;
	/* the agent's */
	uint32_t agent_epoch;
	struct mtcp_agent_report reports[2048]; /* to be told */
	uint32_t report_first, report_count;
	struct mtcp_agent_order last_order;
	uint32_t orders, orders_max;
};

struct engine_thread {
	uint32_t watched;
	uint32_t wakes;
};

static struct engine fake_engine[FAKE_ENGINES];
static struct engine_thread fake_thread[FAKE_ENGINES];

static void fake_push(struct fake_queue *q, struct engine_msg *m)
{
	q->msg[q->last++ % 4096] = m;
	if (q->last - q->first > 4096)
		abort();
}

static struct engine_msg *fake_pop(struct fake_queue *q)
{
	return q->first == q->last ? NULL : q->msg[q->first++ % 4096];
}

void engine_post(struct engine *e, struct engine_msg *m)
{
	fake_push(&e->inbox, m);
}

struct engine_msg *engine_take(struct engine *e)
{
	return fake_pop(&e->outbox);
}

static void fake_note(struct engine *e, enum engine_msg_type type, uint32_t session, uint32_t value)
{
	struct engine_msg *m = calloc(1, sizeof(*m));

	m->type = type;
	m->engine = (uint16_t)(e - fake_engine);
	m->free_after = true;
	m->id.session = session;
	m->id.value = value;
	fake_push(&e->outbox, m);
}

static struct engine_session_desc *fake_session(struct engine *e, uint32_t id)
{
	for (uint32_t i = 0; i < FAKE_SESSIONS; i++) {
		if (e->session[i].session == id)
			return &e->session[i];
	}
	return NULL;
}

static int fake_add(struct engine *e, const struct engine_session_desc *d)
{
	if (e->add_result < 0)
		return e->add_result;
	*fake_session(e, 0) = *d;
	e->sessions++;
	return 0;
}

static void fake_gone(struct engine *e, uint32_t id)
{
	fake_session(e, id)->session = 0;
	e->sessions--;
	fake_note(e, ENGINE_NOTE_SESSION_GONE, id, 0);
}

/* 10.x.y.z:1000 <- 192.0.2.1:40000+, states in turn; every other one belongs to session 1. */
static void fake_flow(struct engine *e, uint32_t i, struct engine_flow_info *f)
{
	*f = (struct engine_flow_info){
		.key = {.local = net_addr_from_ip4(__builtin_bswap32(0x0a000000u + i)),
			.remote = net_addr_from_ip4(__builtin_bswap32(0xc0000201u)),
			.lport = 1000,
			.rport = (uint16_t)(40000 + i % 1000)},
		.state = i % 2 ? TCP_ESTABLISHED : TCP_CLOSE_WAIT,
		.kind = TCP_KIND_CONN,
		.session = i % 2 ? e->session[0].session : 0,
		.pid = i % 2 ? e->session[0].pid : 0,
		.snd_queued_bytes = i,
		.srtt_us = 1500,
		.deadline_in_us = -1,
	};
}

static void fake_list_flows(struct engine *e, struct engine_msg *m)
{
	uint64_t i = m->list.cursor;

	m->list.count = 0;
	while (i < e->flows && m->list.count < ENGINE_LIST_BATCH)
		fake_flow(e, (uint32_t)i++, &m->list.flow[m->list.count++]);
	m->list.cursor = i < e->flows ? i : UINT64_MAX;
	e->lists++;
}

static void fake_list_sessions(struct engine *e, struct engine_msg *m)
{
	m->list.count = 0;
	for (uint32_t i = 0; i < FAKE_SESSIONS && m->list.count < ENGINE_LIST_BATCH; i++) {
		if (e->session[i].session)
			m->list.session[m->list.count++] = (struct engine_session_info){
				.session = e->session[i].session, .conns = 3, .slots = 7};
	}
	m->list.cursor = UINT64_MAX;
	e->lists++;
}

static void fake_list_listeners(struct engine *e, struct engine_msg *m)
{
	m->list.count = e->listeners ? 1 : 0;
	m->list.listener[0] = (struct engine_listener_info){.addr = e->last_listen.addr,
		.port = e->last_listen.port,
		.session = e->last_listen.session,
		.backlog = e->last_listen.backlog,
		.pending = 2};
	m->list.cursor = UINT64_MAX;
	e->lists++;
}

static void fake_execute(struct engine *e, struct engine_msg *m)
{
	m->result = 0;
	switch (m->type) {
	case ENGINE_CMD_SESSION_ADD:
		m->result = fake_add(e, &m->session);
		break;
	case ENGINE_CMD_SESSION_DEL:
		if (fake_session(e, m->id.session) && !e->hold_gone)
			fake_gone(e, m->id.session);
		break;
	case ENGINE_CMD_SEGMENT_ADD:
		e->last_segment = m->segment;
		m->result = e->segment_result;
		break;
	case ENGINE_CMD_LISTEN_ADD:
		m->result = e->listen_result;
		e->last_listen = m->listen;
		e->listeners += m->result == 0;
		break;
	case ENGINE_CMD_LISTEN_SET:
		e->last_listen.defer_accept_us = m->listen.defer_accept_us;
		m->result = m->listen.handle.gen == e->last_listen.handle.gen ? 0 : -ENOENT;
		break;
	case ENGINE_CMD_LISTEN_DEL:
		e->listeners -= e->listeners > 0;
		break;
	case ENGINE_CMD_LIST_FLOWS:
		fake_list_flows(e, m);
		break;
	case ENGINE_CMD_LIST_SESSIONS:
		fake_list_sessions(e, m);
		break;
	case ENGINE_CMD_LIST_LISTENERS:
		fake_list_listeners(e, m);
		break;
	default:
		m->result = -EINVAL;
	}
}

/* Answers what was posted; true if there was something. */
static bool fake_turn(void)
{
	bool any = false;

	for (unsigned int i = 0; i < FAKE_ENGINES; i++) {
		struct engine_msg *m;

		while ((m = fake_pop(&fake_engine[i].inbox))) {
			fake_execute(&fake_engine[i], m);
			fake_push(&fake_engine[i].outbox, m);
			any = true;
		}
	}
	return any;
}

void engine_agent_set(struct engine *e, uint32_t epoch)
{
	e->agent_epoch = epoch;
}

uint32_t engine_agent_slots(const struct engine *e)
{
	(void)e;
	return 1000;
}

uint32_t engine_agent_reports(
	struct engine *e, uint32_t epoch, struct mtcp_agent_report *out, uint32_t max)
{
	uint32_t n = 0;

	while (epoch == e->agent_epoch && n < max && e->report_first < e->report_count)
		out[n++] = e->reports[e->report_first++];
	return n;
}

bool engine_agent_order(struct engine *e, uint32_t epoch, const struct mtcp_agent_order *o)
{
	if (epoch != e->agent_epoch || e->orders == e->orders_max)
		return false;
	e->orders++;
	e->last_order = *o;
	return true;
}

const struct engine_counters *engine_counters(const struct engine *e)
{
	return &e->counters;
}

const struct tcp_counters *engine_tcp_counters(const struct engine *e)
{
	return &e->tcp;
}

const struct net_counters *engine_net_counters(const struct engine *e)
{
	return &e->net;
}

void engine_gauges(const struct engine *e, struct engine_gauges *out)
{
	*out = (struct engine_gauges){.conns = e->flows, .sessions = e->sessions, .turns = 5};
}

int engine_thread_watch(struct engine_thread *t, uint32_t session, int fd)
{
	(void)session;
	(void)fd;
	t->watched++;
	return 0;
}

void engine_thread_unwatch(struct engine_thread *t, uint32_t session)
{
	(void)session;
	if (t->watched)
		t->watched--;
}

bool engine_thread_is_polled(struct engine_thread *t, uint32_t session)
{
	(void)t;
	(void)session;
	return false;
}

void engine_thread_wake(struct engine_thread *t)
{
	t->wakes++;
}

void engine_thread_stats(struct engine_thread *t, struct engine_thread_stats *out)
{
	*out = (struct engine_thread_stats){.wakes_command = t->wakes};
}

const struct nic_caps *nic_port_caps(const struct nic_port *port)
{
	static const struct nic_caps caps = {.mac = {2, 0, 0, 0, 0, 1}, .mtu_bytes = 1500};

	(void)port;
	return &caps;
}

void nic_port_stats(const struct nic_port *port, struct nic_stats *out)
{
	(void)port;
	*out = (struct nic_stats){.rx_packets = 11, .mbufs_total = 100, .mbufs_free = 90};
}

const char *nic_port_name(const struct nic_port *port)
{
	(void)port;
	return "net_fake0";
}

#endif
