/* From an attach message to a live session; see join.h. */
#include <ctl/join.h>

#include <ctl/engine_thread.h>
#include <ctl/log.h>
#include <ctl/memory.h>
#include <ctl/msg.h>
#include <ctl/server_state.h>
#include <net/route.h>
#include <tcp/cc.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static_assert((int)PROTO_ADDRS_MAX >= (int)NET_IFACE_ADDRS_MAX + (int)NET_IFACE_ADDRS6_MAX +
					      (int)NET_IFACE_PREFIXES6_MAX,
	"all fit");

static void add_address(
	struct proto_msg_attached *a, const struct net_addr *addr, uint32_t bits, uint32_t flags)
{
	struct proto_local_addr *to = &a->addr[a->addr_count++];

	memcpy(to->addr, addr->b, sizeof(addr->b));
	to->prefix_bits = bits;
	to->flags = flags;
}

static void fill_addresses(struct proto_msg_attached *a, const struct net_iface *iface)
{
	a->mtu_bytes = iface->mtu_bytes;
	a->default_routes = (iface->gateway_be ? PROTO_DEFAULT_ROUTE_IP4 : 0) |
			    (net_addr_is_any(&iface->gateway6) ? 0 : PROTO_DEFAULT_ROUTE_IP6);
	for (uint32_t i = 0; i < iface->addr_count; i++) {
		struct net_addr addr = net_addr_from_ip4(iface->addr[i].ip_be);

		add_address(a, &addr, 96u + iface->addr[i].prefix_len, 0);
	}
	for (uint32_t i = 0; i < iface->addr6_count; i++) {
		const struct net_prefix6 *px = &iface->addr6[i];

		add_address(a, &px->addr, px->prefix_len,
			net_iface_is_local6(iface, &px->addr) ? 0 : PROTO_ADDR_PREFIX);
	}
	for (uint32_t i = 0; i < iface->prefix6_count; i++)
		add_address(a, &iface->prefix6[i].addr, iface->prefix6[i].prefix_len,
			PROTO_ADDR_PREFIX);
}

static void fill_congestion(struct proto_msg_attached *a, const struct tcp_config *cfg)
{
	static_assert((int)TCP_CC_COUNT <= (int)PROTO_CONGESTION_MAX, "room for every name");

	a->congestion = cfg->cc;
	for (unsigned int i = 0; i < TCP_CC_COUNT; i++) {
		if (!tcp_cc_name_in(cfg, i))
			continue; /* its name stays empty, which is nobody's */
		strlcpy(a->congestion_name[i], tcp_cc_name_in(cfg, i),
			sizeof(a->congestion_name[i]));
		a->congestion_count = i + 1;
	}
}

static void fill_attached(const struct ctl_session *c, struct proto_msg_attached *a)
{
	const struct config_limits *limits = &c->server->p.cfg->limits;
	struct net_iface iface;

	*a = (struct proto_msg_attached){
		.h = {.magic = PROTO_MAGIC,
			.version = PROTO_VERSION,
			.type = PROTO_MSG_ATTACH,
			.request_id = c->attach_request_id},
		.session = c->id,
		.contexts = c->layout.contexts,
		.engines = c->layout.engines,
		.ring_order_log2 = c->layout.ring_order_log2,
		.down_bytes = c->down[0].len_bytes,
		.up_bytes = c->up[0].len_bytes,
		.down_max_bytes = limits->session_down_bytes,
		.sndbuf_bytes = limits->sndbuf_bytes,
		.rcvbuf_bytes = limits->rcvbuf_bytes,
		.sockets_max = limits->connections_per_session,
	};
	server_iface(c->server, &iface);
	fill_addresses(a, &iface);
	fill_congestion(a, &c->server->p.cfg->tcp);
}

static void refuse(struct ctl_session *c, int error)
{
	struct proto_msg_header h = {.magic = PROTO_MAGIC,
		.version = PROTO_VERSION,
		.type = PROTO_MSG_ATTACH,
		.request_id = c->attach_request_id,
		.result = error};

	c->server->counters.attach_refused_failed++;
	log_warning("attach of %s[%d] (uid %u) failed: %s", c->name, c->peer.pid, c->peer.uid,
		strerror(-error));
	if (ctl_session_send(c, &h, sizeof(h), NULL, 0))
		ctl_session_end(c, PROTO_OK, "attach failed");
}

/* Every engine has the session: the client gets its descriptors. */
static void go_live(struct ctl_session *c)
{
	struct proto_msg_attached a;
	int fds[MEMORY_EXPORT_MAX];
	int n = memory_export(c, fds);
	bool sent;

	if (n < 0) {
		refuse(c, n);
		return;
	}
	fill_attached(c, &a);
	c->state = SESSION_LIVE;
	sent = ctl_session_send(c, &a, sizeof(a), fds, (uint32_t)n);
	close(fds[0]);
	close(fds[1]);
	if (!sent)
		return;
	memory_close_sent(c);
	c->server->counters.attaches++;
	ctl_session_set_busy(c, false);
}

void join_on_added(struct server *s, const struct engine_msg *m)
{
	struct ctl_session *c = ctl_session_find(&s->sessions, m->session.session);
	uint64_t bit = UINT64_C(1) << m->engine;

	if (!c)
		return;
	c->add_wait &= ~bit;
	if (m->result < 0)
		c->add_result = m->result;
	else
		c->added |= bit;
	if (c->add_wait)
		return;
	if (c->state == SESSION_LEAVING)
		ctl_session_begin_leaving(c);
	else if (c->add_result < 0)
		refuse(c, c->add_result);
	else
		go_live(c);
}

static void fill_desc(const struct ctl_session *c, uint32_t engine, struct engine_session_desc *d)
{
	const struct config_limits *limits = &c->server->p.cfg->limits;
	uint64_t share = (c->up[0].len_bytes - c->layout.up_payload) / c->layout.engines;

	share &= ~UINT64_C(4095);
	*d = (struct engine_session_desc){
		.session = c->id,
		.uid = c->peer.uid,
		.pid = c->peer.pid,
		.layout = c->layout,
		.up_base = c->up[0].base,
		.down_base = c->down[0].base,
		.up_bytes = c->up[0].len_bytes,
		.down_bytes = c->down[0].len_bytes,
		.up_part_first = c->layout.up_payload + share * engine,
		.up_part_bytes = share,
		.down_max_bytes = limits->session_down_bytes,
		.up_max_bytes = limits->session_up_bytes,
		.condemned = &c->holed,
	};
	memcpy(d->name, c->name, sizeof(d->name));
	memcpy(d->doorbell_fds, c->bell_fds, sizeof(d->doorbell_fds));
	memcpy(d->bells, c->bells, sizeof(d->bells));
}

static int tell_engines(struct ctl_session *c)
{
	struct server *s = c->server;
	struct engine_msg *msgs[PROTO_ENGINES_MAX] = {NULL};
	int r = 0;

	for (uint32_t e = 0; e < s->p.engine_count && r == 0; e++) {
		msgs[e] = msg_new(ENGINE_CMD_SESSION_ADD);
		if (!msgs[e])
			r = -ENOMEM;
		else
			r = engine_thread_watch(s->p.threads[e], c->id, c->event_fds[e]);
	}
	for (uint32_t e = 0; e < s->p.engine_count; e++) {
		if (r < 0) {
			free(msgs[e]);
			continue;
		}
		fill_desc(c, e, &msgs[e]->session);
		msg_post(s, e, msgs[e]);
	}
	if (r < 0)
		ctl_session_unwatch_doorbells(c);
	else
		c->add_wait = msg_all_engines(s);
	return r;
}

static void write_up_header(struct ctl_session *c)
{
	struct proto_up_header *up = (struct proto_up_header *)c->up[0].base;

	up->version = PROTO_VERSION;
	up->session = c->id;
	atomic_store_explicit(&up->epoch, c->server->epoch_us, memory_order_relaxed);
	atomic_store_explicit(&up->heartbeat_us, loop_now_us(), memory_order_relaxed);
}

static int layout_choose(const struct server *s, uint32_t wanted, struct proto_layout *l)
{
	uint32_t contexts = wanted < s->contexts_max ? wanted : s->contexts_max;
	uint32_t order = PROTO_RING_ORDER_MIN;

	while (order < PROTO_RING_ORDER_MAX && (2u << order) <= s->p.cfg->limits.ring_slots)
		order++;
	return proto_layout_init(l, contexts, s->p.engine_count, order);
}

/* Takes what the session counts against: a place, its user's quota, descriptors. */
static int admit(struct server *s, struct ctl_session *c)
{
	uint32_t fds = 2 + memory_fds(&c->layout);
	int r;

	if (s->sessions.free_count == 0) {
		s->counters.attach_refused_sessions++;
		return -EMFILE;
	}
	r = server_fds_take(s, fds);
	if (r < 0) {
		s->counters.attach_refused_fds++;
		return r;
	}
	r = uid_session_begin(s->uids, c->peer.uid, loop_now_us());
	if (r < 0) {
		s->counters.attach_refused_uid++;
		server_fds_give(s, fds);
		return r;
	}
	c->fds_held = fds;
	if (s->sessions.count == 0)
		server_tick_soon(s);
	ctl_session_table_put(&s->sessions, c);
	return 0;
}

static int start(struct ctl_session *c)
{
	struct loop *loop = c->server->p.loop;
	int r;

	c->pidfd = peer_pidfd(c->fd, &c->peer);
	if (c->pidfd < 0)
		return c->pidfd;
	r = memory_create(c);
	if (r < 0)
		return r;
	write_up_header(c);
	r = loop_watch_add(loop, &c->pid_watch, c->pidfd, EPOLLIN, ctl_session_on_pidfd, c);
	if (r == 0)
		r = loop_watch_add(loop, &c->sock_watch, c->fd, 0, ctl_session_on_socket, c);
	if (r == 0)
		r = tell_engines(c);
	return r;
}

/* Terminated and without control characters by proto_msg_request_check(); made ASCII here, since
 * it goes into JSON, which takes no broken UTF-8. */
static void copy_name(char to[32], const char from[32])
{
	for (unsigned int i = 0; i < 32 && from[i]; i++)
		to[i] = (unsigned char)from[i] < 0x80 ? from[i] : '?';
}

int join_begin(struct server *s, int fd, const struct peer *peer, const struct proto_msg_attach *m)
{
	struct ctl_session *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->server = s;
	c->peer = *peer;
	c->fd = fd;
	c->pidfd = -1;
	memory_init(c);
	c->state = SESSION_JOINING;
	c->busy = true;
	c->attached_us = loop_now_us();
	c->attach_request_id = m->h.request_id;
	copy_name(c->name, m->name);
	r = layout_choose(s, m->contexts, &c->layout);
	if (r == 0)
		r = admit(s, c);
	if (r < 0) {
		free(c);
		return r;
	}
	c->names.session = c->id;
	c->names.uid = c->peer.uid;
	r = start(c);
	if (r < 0) {
		s->counters.attach_refused_failed++;
		loop_watch_remove(s->p.loop, &c->sock_watch);
		c->fd = -1; /* stays the caller's */
		ctl_session_release(c);
	}
	return r;
}
