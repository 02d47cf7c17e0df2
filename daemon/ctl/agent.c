/* See agent.h. */
#include <ctl/agent.h>

#include <ctl/engine_thread.h>
#include <ctl/log.h>
#include <ctl/server_state.h>
#include <engine/engine.h>

#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void engines_set(struct server *s, uint32_t epoch)
{
	for (uint32_t e = 0; e < s->p.engine_count; e++)
		engine_agent_set(s->p.engines[e], epoch);
}

static void close_socket(struct server *s)
{
	struct agent_link *a = &s->agent;

	loop_watch_remove(s->p.loop, &a->watch);
	loop_timer_cancel(s->p.loop, &a->deadline);
	close(a->fd);
	server_fds_give(s, 1);
	a->fd = -1;
	a->attached = false;
	a->batch_count = 0;
}

static void detach(struct server *s, const char *why)
{
	struct agent_link *a = &s->agent;

	engines_set(s, 0);
	log_notice("agent %d (uid %u) is gone: %s", a->peer.pid, a->peer.uid, why);
	close_socket(s);
}

static void protocol_broken(struct server *s)
{
	s->counters.agent_malformed++;
	detach(s, "it broke the protocol");
}

/* -- reports ------------------------------------------------------------------------------------
 */

/* The next packet, from each engine in turn. False: there is nothing to report. */
static bool fill_batch(struct server *s)
{
	struct agent_link *a = &s->agent;

	for (uint32_t i = 0; i < s->p.engine_count && a->batch_count < MTCP_AGENT_BATCH; i++) {
		a->next_engine = (a->next_engine + 1) % s->p.engine_count;
		a->batch_count += engine_agent_reports(s->p.engines[a->next_engine], a->epochs,
			a->batch + a->batch_count, MTCP_AGENT_BATCH - a->batch_count);
	}
	return a->batch_count > 0;
}

/* Sends what there is, a bounded number of packets; then waits for the socket if that is full or
 * more is left. */
void agent_pump(struct server *s)
{
	struct agent_link *a = &s->agent;
	uint32_t events = EPOLLIN;

	if (a->fd < 0 || !a->attached)
		return;
	for (unsigned int i = 0; a->batch_count || fill_batch(s); i++) {
		if (i == AGENT_PACKETS_MAX) {
			events |= EPOLLOUT;
			break;
		}
		if (send(a->fd, a->batch, a->batch_count * sizeof(a->batch[0]),
			    MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
				detach(s, strerror(errno));
				return;
			}
			events |= EPOLLOUT;
			break;
		}
		a->reports += a->batch_count;
		a->batch_count = 0;
	}
	loop_watch_modify(s->p.loop, &a->watch, events);
}

/* -- orders -------------------------------------------------------------------------------------
 */

union packet {
	struct mtcp_agent_hello hello;
	struct mtcp_agent_order order[MTCP_AGENT_BATCH];
};

/* What is not an order for one of our engines is not this protocol. That there is such a flow, and
 * that its numbers make sense, the engine finds out. */
static bool order_is_sound(const struct server *s, const struct mtcp_agent_order *o)
{
	return o->type == MTCP_AGENT_ORDER && !o->reserved && !(o->flags & ~MTCP_AGENT_KEEP) &&
	       mtcp_agent_engine(o->flow) < s->p.engine_count;
}

static void take_orders(struct server *s, const union packet *p, size_t len)
{
	size_t n = len / sizeof(p->order[0]);
	uint64_t wake = 0;

	if (len % sizeof(p->order[0])) {
		protocol_broken(s);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct mtcp_agent_order *o = &p->order[i];
		uint32_t e = mtcp_agent_engine(o->flow);

		if (!order_is_sound(s, o)) {
			protocol_broken(s);
			break;
		}
		s->agent.orders++;
		if (engine_agent_order(s->p.engines[e], s->agent.epochs, o))
			wake |= UINT64_C(1) << e;
		else
			s->counters.agent_orders_dropped++;
	}
	for (uint32_t e = 0; e < s->p.engine_count; e++)
		if (wake & UINT64_C(1) << e)
			engine_thread_wake(s->p.threads[e]);
}

static_assert(CONFIG_ENGINES_MAX <= 64, "a bit for each engine");

/* -- coming and going ---------------------------------------------------------------------------
 */

static bool hello_is_sound(const struct mtcp_agent_hello *h, size_t len)
{
	const struct mtcp_agent_hello want = {
		.type = MTCP_AGENT_HELLO, .version = MTCP_AGENT_VERSION, .magic = MTCP_AGENT_MAGIC};

	return len == sizeof(*h) && memcmp(h, &want, sizeof(want)) == 0;
}

static void welcome(struct server *s, const union packet *p, size_t len)
{
	const struct tcp_config *cfg = &s->p.cfg->tcp;
	struct agent_link *a = &s->agent;
	struct mtcp_agent_hello h = {
		.type = MTCP_AGENT_HELLO,
		.version = MTCP_AGENT_VERSION,
		.magic = MTCP_AGENT_MAGIC,
		.engines = s->p.engine_count,
		.slots = engine_agent_slots(s->p.engines[0]),
		.interval_us = cfg->cc_agent_interval_us,
	};

	if (!hello_is_sound(&p->hello, len)) {
		protocol_broken(s);
		return;
	}
	memcpy(h.name, cfg->cc_agent, sizeof(h.name));
	if (send(a->fd, &h, sizeof(h), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(h)) {
		detach(s, "it took no answer");
		return;
	}
	loop_timer_cancel(s->p.loop, &a->deadline);
	a->attached = true;
	a->since_us = loop_now_us();
	if (++a->epochs == 0)
		a->epochs = 1;
	s->counters.agents++;
	log_notice("agent %d (uid %u) sets the window of '%s'", a->peer.pid, a->peer.uid,
		cfg->cc_agent);
	engines_set(s, a->epochs);
}

/* One packet. False: there is none, or the agent is gone. */
static bool receive(struct server *s)
{
	struct agent_link *a = &s->agent;
	union packet p;
	/* MSG_TRUNC: the length as it was sent, though only this much is taken. */
	ssize_t n = recv(a->fd, &p, sizeof(p), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
		detach(s, n ? strerror(errno) : "it closed its socket");
	else if ((size_t)n > sizeof(p))
		protocol_broken(s);
	else if (a->attached)
		take_orders(s, &p, (size_t)n);
	else
		welcome(s, &p, (size_t)n);
	return a->fd >= 0;
}

static void on_event(void *arg, uint32_t events)
{
	struct server *s = arg;

	if (events & EPOLLOUT)
		agent_pump(s);
	for (unsigned int i = 0; s->agent.fd >= 0 && i < AGENT_PACKETS_MAX; i++)
		if (!receive(s))
			return;
}

static void on_deadline(void *arg, uint64_t now_us)
{
	(void)now_us;
	detach(arg, "it did not say hello in time");
}

static bool may_attach(const struct server *s, const struct peer *p)
{
	return p->uid == 0 || p->uid == geteuid() || p->uid == s->agent.uid;
}

static int admit(struct server *s, int fd)
{
	struct agent_link *a = &s->agent;
	uint64_t now_us = loop_now_us();
	struct peer peer;
	int r = peer_get(fd, &peer);

	if (r == 0 && !may_attach(s, &peer))
		r = -EPERM;
	if (r == 0 && a->fd >= 0)
		r = -EBUSY;
	if (r == 0)
		r = uid_rate_take(s->uids, peer.uid, now_us);
	if (r == 0)
		r = server_fds_take(s, 1);
	if (r < 0)
		return r;
	r = loop_watch_add(s->p.loop, &a->watch, fd, EPOLLIN, on_event, s);
	if (r < 0) {
		server_fds_give(s, 1);
		return r;
	}
	a->fd = fd;
	a->peer = peer;
	a->reports = a->orders = 0;
	loop_timer_set(s->p.loop, &a->deadline, now_us + AGENT_DEADLINE_US, on_deadline, s);
	return 0;
}

static void on_accept(void *arg, uint32_t events)
{
	struct server *s = arg;
	int r, fd = accept4(s->agent.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			agent_stop_accepting(s); /* it would wake us for ever */
		return;
	}
	r = admit(s, fd);
	if (r < 0) {
		s->counters.agents_refused++;
		log_warning("an agent is refused: %s", strerror(-r));
		close(fd);
	}
}

static uint32_t user_find(const char *user)
{
	struct passwd *u = user[0] ? getpwnam(user) : NULL;

	if (user[0] && !u)
		log_warning(
			"user '%s' does not exist: only uid %u may be the agent", user, geteuid());
	return u ? u->pw_uid : geteuid();
}

int agent_start(struct server *s, int fd)
{
	s->agent.listen_fd = fd;
	s->agent.uid = user_find(s->p.cfg->congestion_agent_user);
	return loop_watch_add(s->p.loop, &s->agent.listen_watch, fd, EPOLLIN, on_accept, s);
}

void agent_stop_accepting(struct server *s)
{
	loop_watch_remove(s->p.loop, &s->agent.listen_watch);
	if (s->agent.listen_fd >= 0)
		close(s->agent.listen_fd);
	s->agent.listen_fd = -1;
}

void agent_stop(struct server *s)
{
	agent_stop_accepting(s);
	if (s->agent.fd >= 0)
		close_socket(s);
}

json_t *agent_json(const struct server *s)
{
	const struct agent_link *a = &s->agent;
	json_t *obj =
		json_pack("{s:s, s:b}", "agent", s->p.cfg->tcp.cc_agent, "attached", a->attached);

	if (obj && a->attached) {
		json_object_set_new(obj, "pid", json_integer(a->peer.pid));
		json_object_set_new(obj, "uid", json_integer(a->peer.uid));
		json_object_set_new(
			obj, "age_us", json_integer((json_int_t)(loop_now_us() - a->since_us)));
		json_object_set_new(obj, "reports", json_integer((json_int_t)a->reports));
		json_object_set_new(obj, "orders", json_integer((json_int_t)a->orders));
	}
	return obj;
}
