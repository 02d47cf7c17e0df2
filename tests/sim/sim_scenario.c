/* Draws a scenario from a seed and runs it to its end.
 *
 * A run has four acts: connections come, send, stall, close or crash until each is over; then
 * silence until the last TIME-WAIT is gone; then what the engines hold must be nothing; then
 * the sessions end, and their memory must be let go of within 100 ms.
 */
#include "sim_scenario.h"

#include "sim_app.h"
#include "sim_fail.h"

#include <net/route.h>
#include <tcp/cc.h>
#include <tcp/counters.h>
#include <tcp/mtcp_cc_plugin.h>

#include <stdio.h>
#include <string.h>

enum {
	STANDSTILL_S = 3600, /* of virtual time without a byte read: no progress */
	QUIET_S = 600,	     /* to the end of the last TIME-WAIT */
	MSS_LESS_MAX = 100,  /* than the MTU has room for */
	NARROW_MIN_BYTES = 552,
	RECLAIM_US = 100000, /* in which all of a dead session is let go of */
	PORT_FIRST = 5000,
	EVENTS_MAX = 6,
	CLIENTS_MAX = 3 + EVENTS_MAX,
	NAP_MIN_US = 10,
	NAP_MAX_US = 1000,
	FEW_BYTES = 1 << 19, /* of more there are only a few: they take all the time */
};

/* What befalls a host beside its traffic. */
enum event_kind {
	EVENT_CRASH,  /* a client's process ends */
	EVENT_DEAF,   /* a client does not read its completions for a while */
	EVENT_REFUSE, /* the port takes no frames for a while */
	EVENT_CUT,    /* the link loses everything for a while */
	EVENT_LIST,   /* mtcpctl asks for everything */
	EVENT_PATH,   /* another path: delay, rate and loss */
	EVENT_HOLE,   /* the path drops long packets and says nothing, for a while */
	EVENT_NARROW, /* it drops them for good, and says so; or says nothing (mtu_told) */
	EVENT_KINDS
};
struct event {
	enum event_kind kind;
	int side;
	struct sim_client *client;
	struct sim_profile path;
	uint16_t mtu_bytes;
	bool mtu_told;
	uint64_t at_us, until_us; /* until_us 0: over at once */
	bool begun, ended;
};

struct scenario {
	uint64_t seed;
	struct sim_rng rng;
	struct sim_world_config cfg;
	struct sim_client_config client;
	struct sim_client *clients[2][CLIENTS_MAX]; /* all there ever were */
	uint32_t client_count[2];
	struct sim_client *server[2]; /* who listens */
	uint32_t flow_count;
	struct event event[EVENTS_MAX];
	uint32_t event_count;
	uint64_t size_max;
	bool ip4, ip6, probe6;
	bool simultaneous; /* there is such a flow */
	bool black_hole;   /* the path has become narrow, and does not say so */
	/* all zero up to here at first; these have an init of their own */
	struct sim_world world;
	struct sim_app app;
};

static uint64_t below(struct scenario *s, uint64_t n)
{
	return sim_rng_below(&s->rng, n);
}

static bool one_in(struct scenario *s, uint64_t n)
{
	return below(s, n) == 0;
}

/* -- drawing --------------------------------------------------------------------------------------
 */

static void draw_loss(struct scenario *s, struct sim_profile *p)
{
	p->loss_ppm = one_in(s, 3) ? 0 : (uint32_t)below(s, 100001);
	if (one_in(s, 4)) { /* in bursts, as often as single losses */
		p->burst_max = (uint32_t)sim_rng_range(&s->rng, 1, 20);
		p->loss_ppm /= p->burst_max;
	}
	if (!one_in(s, 4))
		return;
	p->loss_ppm /= 10;
	p->bad_enter_ppm = (uint32_t)below(s, 20001);
	p->bad_leave_ppm = (uint32_t)sim_rng_range(&s->rng, 50000, 500000);
	p->bad_loss_ppm = (uint32_t)sim_rng_range(&s->rng, 300000, 1000000);
}

static void draw_path(struct scenario *s, struct sim_profile *p)
{
	p->delay_us = (uint32_t)sim_rng_log(&s->rng, 10, 100000);
	if (one_in(s, 4))
		return; /* a perfect link, now and then */
	draw_loss(s, p);
	p->duplicate_ppm = one_in(s, 2) ? 0 : (uint32_t)below(s, 50001);
	p->duplicate_us = one_in(s, 2) ? 0 : (uint32_t)below(s, 2 * (uint64_t)p->delay_us);
	p->corrupt_ppm = one_in(s, 2) ? 0 : (uint32_t)below(s, 30001);
	p->reorder_ppm = one_in(s, 2) ? 0 : (uint32_t)below(s, 200001);
	p->reorder_us = (uint32_t)sim_rng_range(&s->rng, 1, 4 * (uint64_t)p->delay_us);
	if (one_in(s, 2))
		p->rate_bytes_s = sim_rng_log(&s->rng, 125000, 1250000000);
	if (one_in(s, 3))
		p->mark_ppm = (uint32_t)below(s, 200001);
	if (p->rate_bytes_s && one_in(s, 3))
		p->mark_bytes = sim_rng_range(&s->rng, 5000, 100000);
	if (p->rate_bytes_s && one_in(s, 3))
		p->buffer_bytes = sim_rng_range(&s->rng, 20000, 500000);
	if (p->rate_bytes_s && one_in(s, 2))
		p->queue_max_bytes = sim_rng_range(&s->rng, 20000, 500000);
}

/* A plug-in that does as it likes; what it gives back is held in bounds. */
static void erratic_init(struct mtcp_cc_view *v)
{
	v->cwnd = 0;
}
static void erratic_acked(
	struct mtcp_cc_view *v, uint32_t acked_bytes, uint32_t rtt_us, uint64_t now_us)
{
	v->state[0] = v->state[0] * 6364136223846793005u + now_us + acked_bytes + rtt_us;
	v->cwnd = v->state[0] >> 62 == 0 ? 0 : (uint32_t)(v->state[0] >> (33 + v->state[0] % 20));
	v->ssthresh = (uint32_t)(v->state[0] >> 20);
	v->pacing_rate = v->state[0] >> 61 == 1 ? UINT32_MAX >> v->state[0] % 16 : 0;
}
static uint32_t erratic_ssthresh(struct mtcp_cc_view *v, enum mtcp_cc_why why)
{
	v->state[1] += why;
	return v->state[1] % 3 == 0 ? 0 : UINT32_MAX;
}
static void erratic_undo(struct mtcp_cc_view *v)
{
	v->state[0]++;
}
static const struct mtcp_cc_plugin erratic = {
	.abi = MTCP_CC_PLUGIN_ABI,
	.size = sizeof(struct mtcp_cc_plugin),
	.name = "erratic",
	.init = erratic_init,
	.acked = erratic_acked,
	.ssthresh = erratic_ssthresh,
	.undo = erratic_undo,
};

static void draw_host(struct scenario *s, struct sim_host_config *h, uint16_t mtu)
{
	uint32_t less;

	h->mtu_bytes = mtu;
	h->ip4 = s->ip4;
	h->ip6 = s->ip6;
	h->probe6 = s->probe6;
	less = one_in(s, 4) ? (uint32_t)below(s, MSS_LESS_MAX + 1) : 0;
	h->tcp.mss_max_bytes = mtu - 40u - less;
	h->tcp.mss6_max_bytes = mtu - 60u - less;
	h->tcp.tso_max_bytes = one_in(s, 2) ? 0 : (uint32_t)sim_rng_range(&s->rng, mtu, 65535);
	h->tcp.timestamps = !one_in(s, 4);
	h->tcp.cc_plugin = &erratic;
	h->tcp.cc = (uint32_t)below(s, TCP_CC_PLUGIN + 1);
	h->tcp.pacing = one_in(s, 3);
	h->tcp.ecn = (uint32_t)below(s, TCP_ECN_ON + 1);
	h->tcp.window_scale = !one_in(s, 4);
	h->tcp.sack = !one_in(s, 5);
	h->tcp.mtu_probing = (uint32_t)below(s, TCP_MTU_ALWAYS + 1);
	h->tcp.syn_retries = 12; /* ten per cent of loss are no reason to fail */
	h->tcp.synack_retries = 12;
	h->limits.rcvbuf_bytes = (uint32_t)sim_rng_log(&s->rng, 4096, 1 << 20);
	h->limits.sndbuf_bytes = (uint32_t)sim_rng_log(&s->rng, 4096, 1 << 20);
	h->tcp.rcvbuf_bytes = h->limits.rcvbuf_bytes;
	h->limits.slots_per_turn = (uint32_t)sim_rng_range(&s->rng, 1, 64);
	h->limits.halves_max = one_in(s, 4) ? 1 : 64; /* 1: cookies */
	h->limits.orphan_timeout_s = (uint32_t)sim_rng_range(&s->rng, 1, 120);
	h->limits.uid_orphans_max = (uint32_t)sim_rng_range(&s->rng, 0, 8);
}

static void draw_clients(struct scenario *s)
{
	struct sim_client_config *c = &s->client;

	sim_client_config_default(c);
	c->contexts = (uint32_t)sim_rng_range(&s->rng, 1, 3);
	c->ring_order_log2 = (uint32_t)sim_rng_range(&s->rng, 4, 8);
	c->up_bytes = (one_in(s, 3) ? 5 : sim_rng_range(&s->rng, 8, 64)) * 32768;
	c->up_max_bytes = c->up_bytes * sim_rng_range(&s->rng, 1, 8) + 65536;
	c->down_bytes = sim_rng_range(&s->rng, 4, 128) * SIM_BLOCK_BYTES;
	c->down_max_bytes = c->down_bytes * sim_rng_range(&s->rng, 1, 4) + 65536;
}

/* Of a generator of its own: what other seeds draw stays as it was. */
static void draw_fastopen(struct scenario *s)
{
	struct sim_rng rng = {s->seed ^ 7413};

	for (int side = 0; side < 2; side++)
		s->cfg.host[side].tcp.fastopen = (uint32_t)sim_rng_below(&rng, 4);
	s->client.fastopen = sim_rng_below(&rng, 2);
	s->client.fastopen_max =
		(uint32_t)sim_rng_below(&rng, 2) * (uint32_t)sim_rng_log(&rng, 1, 16);
}

/* Likewise. */
static void draw_agent(struct scenario *s)
{
	struct sim_rng rng = {s->seed ^ 0xa6e47};

	for (int side = 0; side < 2; side++) {
		struct sim_host_config *h = &s->cfg.host[side];

		if (sim_rng_below(&rng, 4))
			continue;
		h->agent = (enum sim_agent_kind)sim_rng_range(&rng, 1, SIM_AGENT_KINDS - 1);
		strcpy(h->tcp.cc_agent, "sim");
		h->tcp.cc = TCP_CC_AGENT;
		h->tcp.cc_agent_interval_us = (uint32_t)sim_rng_log(&rng, 100, 100000);
	}
}

/* An engine that is away for a while finds in one burst what comes one by one to one that always
 * looks. */
static void draw_naps(struct scenario *s)
{
	struct sim_rng rng = {s->seed ^ 3042};

	for (int side = 0; side < 2; side++)
		if (sim_rng_below(&rng, 4) == 0)
			s->cfg.nap_us[side] = (uint32_t)sim_rng_log(&rng, NAP_MIN_US, NAP_MAX_US);
}

static void draw(struct scenario *s)
{
	static const uint16_t mtus[] = {1500, 1500, 1500, 576, 9000};
	uint16_t mtu = mtus[below(s, sizeof(mtus) / sizeof(mtus[0]))];

	sim_world_config_default(&s->cfg, s->seed);
	draw_path(s, &s->cfg.profile);
	s->ip6 = mtu >= NET_IP6_MTU_MIN && one_in(s, 2);
	s->ip4 = !s->ip6 || one_in(s, 2);
	s->probe6 = s->ip6 && one_in(s, 4);
	for (int side = 0; side < 2; side++)
		draw_host(s, &s->cfg.host[side], mtu);
	draw_clients(s);
	draw_fastopen(s);
	draw_agent(s);
	draw_naps(s);
	if (s->cfg.host[0].limits.halves_max == 1 || s->cfg.host[1].limits.halves_max == 1)
		s->client.down_max_bytes += 32 << 20; /* who waits long to speak loses its cookie */
	s->size_max = one_in(s, 30) ? 4 << 20 : one_in(s, 6) ? 1 << 19 : 1 << 16;
}

static void draw_end(struct scenario *s, struct sim_end_spec *x)
{
	*x = (struct sim_end_spec){
		.tx_bytes = one_in(s, 6)   ? 0
			    : one_in(s, 2) ? sim_rng_log(&s->rng, 1, s->size_max)
					   : below(s, s->size_max),
		.abort_at_pos = SIM_APP_NEVER,
		.write_max_bytes = (uint32_t)sim_rng_log(&s->rng, 64, SIM_BLOCK_BYTES),
		.read_max_bytes = (uint32_t)sim_rng_log(&s->rng, 512, SIM_BLOCK_BYTES),
		.consume_step_bytes = (uint32_t)sim_rng_log(&s->rng, 1, 4096),
		.shutdown = !one_in(s, 3),
		.nodelay = one_in(s, 3),
		.more = one_in(s, 4),
	};
	if (one_in(s, 6)) {
		x->stall_us = sim_rng_log(&s->rng, 1000, 10 * SIM_SECOND);
		x->stall_at_pos = below(s, s->size_max);
	}
	if (one_in(s, 30))
		x->abort_at_pos = below(s, x->tx_bytes + 1);
}

/* One of the two ends must begin to close. With cookies, or a full accept queue, the one that
 * connects must say something, or the other may never hear that it is connected. */
static void draw_leaving(struct scenario *s, struct sim_flow_spec *f)
{
	(void)s;
	if (f->end[0].tx_bytes == 0)
		f->end[0].shutdown = true;
	if (!f->end[0].shutdown && f->end[1].tx_bytes)
		f->end[1].shutdown = true;
	if (!f->end[1].shutdown && f->end[0].tx_bytes && !f->end[0].shutdown)
		f->end[0].shutdown = true;
}

/* From `from`, or whoever comes, after `start_us` from now. */
static void add_flow(struct scenario *s, struct sim_client *from, uint64_t start_us)
{
	struct sim_flow_spec f = {
		.side = from ? from->host == &s->world.host[1] : (int)below(s, 2),
		.port = (uint16_t)(PORT_FIRST + below(s, 2)),
		.simultaneous = one_in(s, 20),
		.ip6 = s->ip6 && (!s->ip4 || one_in(s, 2)),
	};

	if (!from)
		from = s->clients[f.side][below(s, s->client_count[f.side])];
	f.start_us = s->world.now_us - SIM_START_US + start_us;
	if (f.ip6 && s->probe6 && f.start_us < SIM_PROBE6_US)
		f.start_us += SIM_PROBE6_US;
	draw_end(s, &f.end[0]);
	draw_end(s, &f.end[1]);
	draw_leaving(s, &f);
	s->simultaneous |= f.simultaneous;
	if (f.simultaneous)
		f.port = (uint16_t)(6000 + 2 * s->flow_count);
	s->flow_count++;
	sim_app_flow(&s->app, &f, from, s->server[!f.side]);
}

/* The least packet that a path may be reduced to. */
static uint16_t narrowest(const struct scenario *s)
{
	return s->ip6 ? NET_IP6_MTU_MIN : NARROW_MIN_BYTES;
}

static void draw_event(struct scenario *s, struct event *v)
{
	v->kind = (enum event_kind)below(s, EVENT_KINDS);
	/* Who is deaf connects later than he should: the other's SYN is refused. */
	if (v->kind == EVENT_DEAF && s->simultaneous)
		v->kind = EVENT_LIST;
	v->side = (int)below(s, 2);
	v->client = s->clients[v->side][below(s, s->client_count[v->side])];
	v->at_us = SIM_START_US + sim_rng_log(&s->rng, 100, 5 * SIM_SECOND);
	v->until_us = v->at_us + sim_rng_log(&s->rng, 1000, 3 * SIM_SECOND);
	if (v->kind == EVENT_LIST || v->kind == EVENT_PATH || v->kind == EVENT_NARROW ||
		(v->kind == EVENT_CRASH && one_in(s, 2)))
		v->until_us = 0;
	if (v->kind == EVENT_PATH) {
		v->path.spare_arp = true;
		draw_path(s, &v->path);
	}
	v->mtu_bytes = (uint16_t)sim_rng_range(&s->rng, narrowest(s), s->cfg.host[0].mtu_bytes);
	v->mtu_told = !one_in(s, 4);
}

static void draw_events(struct scenario *s)
{
	s->event_count = one_in(s, 3) ? (uint32_t)sim_rng_range(&s->rng, 1, EVENTS_MAX) : 0;
	for (uint32_t i = 0; i < s->event_count; i++)
		draw_event(s, &s->event[i]);
}

static struct sim_client *new_client(struct scenario *s, int side)
{
	struct sim_client *c = sim_client_new(&s->world.host[side], &s->client);

	SIM_CHECK(s->client_count[side] < CLIENTS_MAX, "too many clients");
	s->clients[side][s->client_count[side]++] = c;
	return c;
}

static void serve(struct scenario *s, int side, struct sim_client *c)
{
	s->server[side] = c;
	for (uint16_t i = 0; i < 2; i++)
		sim_client_listen(c, (uint32_t)below(s, s->client.contexts), PORT_FIRST + i,
			(uint32_t)sim_rng_range(&s->rng, 1, 16));
}

static void begin(struct scenario *s)
{
	bool few = s->size_max > FEW_BYTES || one_in(s, 2);
	uint32_t flows = (uint32_t)sim_rng_range(&s->rng, 1, few ? 3 : 20);

	for (int side = 0; side < 2; side++) {
		uint32_t clients = 1u + one_in(s, 3) + one_in(s, 3);

		serve(s, side, new_client(s, side));
		while (s->client_count[side] < clients)
			new_client(s, side);
	}
	for (uint32_t i = 0; i < flows; i++)
		add_flow(s, NULL, one_in(s, 3) ? 0 : below(s, 2 * SIM_SECOND));
	draw_events(s);
}

/* -- running --------------------------------------------------------------------------------------
 */

static void post_lists(struct sim_host *h)
{
	sim_host_post(h, sim_host_msg(ENGINE_CMD_LIST_FLOWS));
	sim_host_post(h, sim_host_msg(ENGINE_CMD_LIST_LISTENERS));
	sim_host_post(h, sim_host_msg(ENGINE_CMD_LIST_SESSIONS));
}

/* Packets of more than that are lost, in both directions; 0: none are. */
static void set_mtu(struct scenario *s, uint16_t mtu_bytes, bool told)
{
	for (int side = 0; side < 2; side++) {
		s->world.link.way[side].profile.mtu_bytes = mtu_bytes;
		s->world.link.way[side].profile.mtu_told = told;
	}
}

static void change_path(struct scenario *s, const struct sim_profile *path)
{
	for (int side = 0; side < 2; side++) {
		struct sim_profile *p = &s->world.link.way[side].profile;
		uint32_t mtu_bytes = p->mtu_bytes;
		bool mtu_told = p->mtu_told;

		*p = *path;
		p->mtu_bytes = mtu_bytes;
		p->mtu_told = mtu_told;
	}
}

static bool searches(const struct scenario *s, int side)
{
	return s->cfg.host[side].tcp.mtu_probing != TCP_MTU_OFF;
}

/* Who does not find out by itself how long packets may be (RFC 4821) may fail. */
static void narrow(struct scenario *s, const struct event *v)
{
	set_mtu(s, v->mtu_bytes, v->mtu_told);
	s->black_hole |= !v->mtu_told && !(searches(s, 0) && searches(s, 1));
	if (s->black_hole)
		sim_app_taint(&s->app);
}

/* Somebody starts the program again: it listens as before, and has something to say. */
static void come_back(struct scenario *s, const struct event *v)
{
	struct sim_client *c = new_client(s, v->side);

	if (v->client == s->server[v->side])
		serve(s, v->side, c);
	for (uint64_t i = below(s, 3) + 1; i > 0; i--)
		add_flow(s, c, below(s, SIM_SECOND));
	add_flow(s, s->server[!v->side], below(s, SIM_SECOND));
	if (s->black_hole)
		sim_app_taint(&s->app);
}

/* `on`: it begins; else it ends. */
static void apply(struct scenario *s, struct event *v, bool on)
{
	switch (v->kind) {
	case EVENT_CRASH:
		if (on)
			sim_app_crash(&s->app, v->client);
		else
			come_back(s, v);
		break;
	case EVENT_DEAF:
		v->client->deaf = on;
		break;
	case EVENT_REFUSE:
		sim_nic_refuse(s->world.host[v->side].port, on);
		break;
	case EVENT_CUT:
		s->world.link.way[v->side].cut = on;
		break;
	case EVENT_PATH:
		change_path(s, &v->path);
		break;
	case EVENT_HOLE:
		set_mtu(s, on ? v->mtu_bytes : 0, false);
		break;
	case EVENT_NARROW:
		narrow(s, v);
		break;
	default:
		post_lists(&s->world.host[v->side]);
		break;
	}
}

static void run_events(struct scenario *s)
{
	for (uint32_t i = 0; i < s->event_count; i++) {
		struct event *v = &s->event[i];

		if (!v->begun && v->at_us <= s->world.now_us) {
			v->begun = true;
			v->ended = !v->until_us;
			apply(s, v, true);
		}
		if (v->begun && !v->ended && v->until_us <= s->world.now_us) {
			v->ended = true;
			apply(s, v, false);
		}
	}
}

static uint64_t next_event(const struct scenario *s, uint64_t until_us)
{
	for (uint32_t i = 0; i < s->event_count; i++) {
		const struct event *v = &s->event[i];
		uint64_t at_us = !v->begun ? v->at_us : v->until_us;

		if (!v->ended && at_us < until_us)
			until_us = at_us;
	}
	return until_us;
}

static bool events_are_over(const struct scenario *s)
{
	for (uint32_t i = 0; i < s->event_count; i++)
		if (!s->event[i].ended)
			return false;
	return true;
}

static bool is_quiet(void *arg)
{
	struct sim_world *w = arg;

	return sim_check_is_quiet(&w->host[0]) && sim_check_is_quiet(&w->host[1]);
}

_Noreturn static void no_progress(const struct scenario *s)
{
	sim_app_report(&s->app);
	sim_fail("invariant progress is broken: nothing was read for %d s", STANDSTILL_S);
}

static void check_honest(const struct scenario *s)
{
	for (int side = 0; side < 2; side++)
		for (uint32_t i = 0; i < s->client_count[side]; i++)
			SIM_CHECK(!s->clients[side][i]->condemned,
				"an honest session was condemned: %s",
				proto_condemned_name(
					(enum proto_condemned)s->clients[side][i]->condemned));
}

static void run_flows(struct scenario *s)
{
	uint64_t bytes = 0;
	uint64_t moved_us = s->world.now_us;

	for (;;) {
		uint64_t limit_us = moved_us + STANDSTILL_S * SIM_SECOND;

		run_events(s);
		sim_world_settle(&s->world);
		check_honest(s);
		if (sim_app_is_done(&s->app) && events_are_over(s))
			return;
		if (s->world.now_us >= limit_us)
			no_progress(s);
		sim_world_step(&s->world, next_event(s, limit_us));
		if (s->app.bytes == bytes)
			continue;
		bytes = s->app.bytes;
		moved_us = s->world.now_us;
	}
}

static void run_out(struct scenario *s)
{
	if (!sim_world_until(&s->world, QUIET_S * SIM_SECOND, is_quiet, &s->world)) {
		sim_app_report(&s->app);
		sim_fail("invariant progress is broken: something is left after %d s of silence",
			QUIET_S);
	}
	for (int side = 0; side < 2; side++) {
		struct sim_host *h = &s->world.host[side];

		sim_check_clean(h);
		sim_agent_check_over(&h->agent, h->engine);
	}
}

static void end_sessions(struct scenario *s)
{
	for (int side = 0; side < 2; side++)
		for (uint32_t i = 0; i < s->client_count[side]; i++)
			sim_client_crash(s->clients[side][i]);
	sim_world_run(&s->world, RECLAIM_US);
	for (int side = 0; side < 2; side++) {
		struct engine_gauges g;

		for (uint32_t i = 0; i < s->client_count[side]; i++)
			SIM_CHECK(s->clients[side][i]->gone, "a session's memory is still held");
		engine_gauges(s->world.host[side].engine, &g);
		SIM_CHECK(!g.sessions && !g.listeners, "sessions or listeners are left");
		sim_check_clean(&s->world.host[side]);
	}
}

static void describe(const struct scenario *s)
{
	const struct sim_profile *p = &s->cfg.profile;

	printf("seed %llu: %u flows%s%s, delay %u us, loss %u (bursts of %u) reorder %u duplicate "
	       "%u "
	       "corrupt %u ppm, "
	       "rate %llu B/s, mtu %u; %llu frames, %llu bytes, %llu SACK blocks in %.3f s, "
	       "digest %016llx\n",
		(unsigned long long)s->seed, s->app.flow_count, s->ip4 ? " IPv4" : "",
		s->ip6 ? " IPv6" : "", p->delay_us, p->loss_ppm, p->burst_max, p->reorder_ppm,
		p->duplicate_ppm, p->corrupt_ppm, (unsigned long long)p->rate_bytes_s,
		s->cfg.host[0].mtu_bytes, (unsigned long long)s->world.wire.frames,
		(unsigned long long)s->app.bytes, (unsigned long long)s->world.wire.sack_blocks,
		(double)(s->world.now_us - SIM_START_US) / 1e6,
		(unsigned long long)(s->world.wire.digest ^ s->world.rng.state ^ s->app.rng.state));
	for (int side = 0; side < 2; side++) {
		const struct tcp_counters *n = engine_tcp_counters(s->world.host[side].engine);

		printf("  side %d: fast open: %llu SYNs with data, %llu acknowledged, %llu not, "
		       "%llu lost; %llu delivered\n",
			side, (unsigned long long)n->fastopen_syns_sent,
			(unsigned long long)n->fastopen_data_taken,
			(unsigned long long)n->fastopen_data_refused,
			(unsigned long long)n->fastopen_syn_lost,
			(unsigned long long)n->fastopen_accepted);
		printf("  side %d: agent %d: %llu reports, %llu not taken, %llu orders obeyed, "
		       "%llu "
		       "late; done without %llu times\n",
			side, (int)s->world.host[side].agent.kind,
			(unsigned long long)n->agent_reports,
			(unsigned long long)n->agent_reports_dropped,
			(unsigned long long)n->agent_orders,
			(unsigned long long)n->agent_orders_late,
			(unsigned long long)n->agent_fallbacks);
	}
}

static void write_pcapng(struct scenario *s, const char *path)
{
	char comment[64];
	int rc;

	snprintf(comment, sizeof(comment), "sim --seeds %llu", (unsigned long long)s->seed);
	rc = sim_wire_pcapng(&s->world.wire, path, comment);
	SIM_CHECK(!rc, "%s: %s", path, strerror(-rc));
}

void sim_scenario_run(uint64_t seed, const struct sim_scenario_options *options,
	struct sim_scenario_result *result)
{
	static struct scenario s;

	memset(&s, 0, offsetof(struct scenario, world));
	s.seed = seed;
	s.rng.state = seed;
	draw(&s);
	sim_world_init(&s.world, &s.cfg);
	s.world.wire.digests = options->describe;
	if (options->trace)
		s.world.wire.trace = stdout;
	if (options->pcap)
		write_pcapng(&s, options->pcap);
	sim_app_init(&s.app, &s.world, sim_rng_next(&s.rng));
	begin(&s);
	run_flows(&s);
	sim_app_verify(&s.app);
	run_out(&s);
	end_sessions(&s);
	if (options->describe)
		describe(&s);
	*result = (struct sim_scenario_result){
		.virtual_us = s.world.now_us - SIM_START_US,
		.link = s.world.link.stats,
	};
	sim_world_fini(&s.world);
}
