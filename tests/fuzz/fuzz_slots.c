/* Fuzzes the trust boundary to clients: a session that says and writes what it likes.
 *
 * Two hosts of the simulator on a clean link. On host 0 live a hostile session, which the input
 * plays, and an honest one, which all the while exchanges data with an honest client of
 * host 1; that client also connects to the hostile session's listener and sends it data. The
 * input is a sequence of operations: submission slots, near-valid (real handles, positions and
 * references at or near the real ones) and then perhaps mutated; words written anywhere into
 * the hostile `down`, so into slots, indices and flags; lies about the consumer's index; reading
 * of completions; turns and time. A condemned session is replaced by a fresh one.
 *
 * After each turn the engine is audited (fuzz_support.h). The honest bytes must be equal at the
 * end and arrive in bounded time, the honest session must not be condemned, and when all are gone
 * nothing may be left on either host.
 */
#include "fuzz_support.h"

#include <engine/internal.h>
#include <sim/sim_check.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	START_US = 1000000000,
	OPS_MAX = 300,
	TURNS_PER_STEP_MAX = 4000,
	STEPS_MAX = 40000,
	SESSIONS_MAX = 6, /* hostile ones, one after the other */
	HANDLES_MAX = 16,
	HOSTILE_PORT = 66,
	HONEST_PORT = 77,
	STREAM_BYTES = 14 << 10, /* each way, of the honest connection */
	PIECE_BYTES = 700,
	HONEST_US = 20 * 1000000, /* in which the honest stream must be through */
};

struct known {
	struct proto_handle handle;
	uint64_t sent, told, acked;
};

/* One end of the honest connection. */
struct end {
	struct sim_sock *sk;
	uint32_t salt_out, salt_in;
	uint64_t checked;
};

struct world {
	struct sim_link link;
	struct sim_host host[2];
	struct sim_client *honest, *peer;
	struct sim_client *hostile;
	uint32_t sessions;
	struct sim_listener *listener;	  /* of the honest peer, on host 1 */
	struct proto_handle hostile_port; /* of the hostile session */
	struct known known[HANDLES_MAX];
	uint32_t known_count;
	struct end end[2];
	uint64_t now_us;
};

/* -- the honest connection ----------------------------------------------------------------------
 */

static void end_send(struct end *t)
{
	uint8_t data[PIECE_BYTES];
	uint64_t left = STREAM_BYTES - t->sk->sent_pos;
	uint32_t n = left < sizeof(data) ? (uint32_t)left : sizeof(data);

	for (uint32_t i = 0; i < n; i++)
		data[i] = fuzz_pattern(t->salt_out, t->sk->sent_pos + i);
	if (n)
		sim_sock_send(t->sk, data, n, false);
}

static void end_receive(struct end *t)
{
	const uint8_t *data;
	uint32_t n;

	while ((n = sim_sock_peek(t->sk, &data))) {
		for (uint32_t i = 0; i < n; i++)
			SIM_CHECK(data[i] == fuzz_pattern(t->salt_in, t->sk->read_pos + i),
				"an honest byte is wrong at %llu",
				(unsigned long long)(t->sk->read_pos + i));
		sim_sock_take(t->sk, n);
	}
	sim_sock_consumed(t->sk);
}

static void drive_honest(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		struct end *t = &w->end[i];

		if (!t->sk || t->sk->closed || t->sk->state != SIM_SOCK_OPEN)
			continue;
		SIM_CHECK(!t->sk->error, "an honest connection failed: %u", t->sk->error);
		if (!(t->sk->flags & PROTO_FLOW_ESTABLISHED))
			continue;
		end_send(t);
		end_receive(t);
	}
}

static bool is_through(const struct world *w)
{
	for (int i = 0; i < 2; i++)
		if (!w->end[i].sk || w->end[i].sk->read_pos < STREAM_BYTES ||
			w->end[i].sk->acked_pos < STREAM_BYTES)
			return false;
	return true;
}

/* -- turns
 * ----------------------------------------------------------------------------------------- */

static unsigned int turn(struct world *w)
{
	unsigned int work = 0;

	for (int side = 0; side < 2; side++) {
		work += engine_turn(w->host[side].engine, w->now_us);
		work += sim_host_messages(&w->host[side]);
		fuzz_audit(w->host[side].engine);
		sim_check_turn(&w->host[side], w->now_us);
	}
	work += sim_client_poll(w->honest);
	work += sim_client_poll(w->peer);
	return work;
}

static void settle(struct world *w)
{
	unsigned int n = 0;

	while (turn(w))
		SIM_CHECK(n++ < TURNS_PER_STEP_MAX, "the engines find work for ever");
	for (int side = 0; side < 2; side++)
		engine_sleep_prepare(w->host[side].engine);
}

static void step(struct world *w, uint64_t max_us)
{
	uint64_t next = w->now_us + max_us;
	uint64_t at;

	settle(w);
	drive_honest(w);
	for (int side = 0; side < 2; side++) {
		at = engine_next_us(w->host[side].engine);
		next = at < next ? at : next;
	}
	at = sim_link_next_us(&w->link);
	next = at < next ? at : next;
	w->now_us = next > w->now_us ? next : w->now_us + 1;
	w->link.now_us = w->now_us;
}

/* -- the hostile session --------------------------------------------------------------------------
 */

static bool is_usable(const struct world *w)
{
	return w->hostile && !w->hostile->dead;
}

static void listen_for(struct world *w, struct sim_client *c)
{
	struct sim_listener *l = sim_client_listen(c, 0, HOSTILE_PORT, 4);

	w->hostile_port = l->handle;
}

/* A fresh session in the place of one that is gone. */
static void replace_hostile(struct world *w)
{
	struct sim_client_config cfg;

	if (is_usable(w) || w->sessions >= SESSIONS_MAX)
		return;
	sim_client_config_default(&cfg);
	cfg.contexts = 2;
	cfg.ring_order_log2 = 4;
	cfg.up_bytes = cfg.down_bytes = 160 << 10;
	cfg.up_max_bytes = cfg.down_max_bytes = 400 << 10;
	cfg.uid = 2000;
	w->hostile = sim_client_new(&w->host[0], &cfg);
	w->hostile->deaf = true; /* its completions are read here */
	w->sessions++;
	w->known_count = 0;
	listen_for(w, w->hostile);
	turn(w);
}

static void learn(struct world *w, struct proto_handle h)
{
	if (w->known_count < HANDLES_MAX)
		w->known[w->known_count++] = (struct known){.handle = h};
	else
		w->known[h.idx % HANDLES_MAX] = (struct known){.handle = h};
}

static void learn_flow(struct world *w, const struct proto_flow *f)
{
	for (uint32_t i = 0; i < w->known_count; i++) {
		if (w->known[i].handle.gen != f->gen)
			continue;
		w->known[i].told = f->received_pos;
		w->known[i].acked = f->acked_pos;
	}
}

static void hostile_read(struct world *w, uint32_t ctx, uint32_t max)
{
	struct shm_ring_cons *ring = &w->hostile->ring[ctx].completions;
	struct shm_slot_copy raw;
	struct proto_slot slot;

	while (max-- > 0 && shm_ring_cons_pop(ring, &raw)) {
		memcpy(&slot, raw.word, sizeof(slot));
		if (proto_head_op(slot.head) == PROTO_EV_RESULT && slot.body.result.handle.gen)
			learn(w, slot.body.result.handle);
		else if (proto_head_op(slot.head) == PROTO_EV_ACCEPTED)
			learn(w, slot.body.accepted.handle);
		else if (proto_head_op(slot.head) == PROTO_EV_FLOW)
			learn_flow(w, &slot.body.flow);
	}
	shm_ring_cons_publish(ring);
}

/* -- slots
 * ------------------------------------------------------------------------------------------ */

static struct known *pick(struct world *w, uint8_t which)
{
	static struct known nobody;

	nobody = (struct known){0};
	return w->known_count ? &w->known[which % w->known_count] : &nobody;
}

static struct proto_handle near_handle(
	struct world *w, struct fuzz_input *in, const struct known *k)
{
	uint8_t how = fuzz_u8(in);
	struct proto_handle h = k->handle;

	if (how < 200)
		return h;
	if (how < 215)
		return w->honest->socks[0]->handle; /* another's */
	if (how < 230)
		return w->hostile_port;
	h.idx += (uint32_t)fuzz_delta(in);
	h.gen += (uint32_t)fuzz_delta(in);
	return h;
}

static proto_ref near_ref(struct world *w, struct fuzz_input *in, uint32_t len)
{
	const struct sim_client *c = w->hostile;
	uint8_t how = fuzz_u8(in);
	uint32_t i = c->down_count - 1;
	uint64_t off;

	if (how < 200)
		off = c->down[0].bytes - 4096 * (1 + how % 8u), i = 0;
	else if (how < 220)
		off = c->layout.down_payload, i = 0;
	else if (how < 240)
		off = c->down[i].bytes - len;
	else
		off = 0;
	return proto_ref_make(i, off) + (uint64_t)fuzz_delta(in);
}

static void fill_connect(struct world *w, struct fuzz_input *in, struct proto_connect *m)
{
	uint8_t how = fuzz_u8(in);
	struct net_addr to = net_addr_from_ip4(sim_ip_be(how & 1 ? 0 : 1));

	if (how & 0x80)
		to.b[fuzz_u8(in) % 16] ^= fuzz_u8(in);
	memcpy(m->raddr, to.b, 16);
	m->rport = how & 2 ? fuzz_u16(in) : HONEST_PORT + 1;
	if (how & 4)
		m->lport = (uint16_t)(SIM_PORT_FIRST + fuzz_u8(in) % 4);
	if (how & 8)
		m->options = fuzz_u8(in) & 3;
	if (how & 16)
		m->sndbuf_bytes = m->rcvbuf_bytes = fuzz_u32(in);
	if (m->lport && how & 32)
		w->host[0].port_owner[m->lport] = w->hostile->session;
	m->cookie = how;
}

static void fill_send(struct world *w, struct fuzz_input *in, struct known *k, struct proto_send *m)
{
	uint8_t flags;

	m->handle = near_handle(w, in, k);
	m->len_bytes = 1 + fuzz_u16(in) % 4096 + (uint32_t)fuzz_delta(in);
	m->ref = near_ref(w, in, m->len_bytes);
	m->pos = k->sent + (uint64_t)fuzz_delta(in);
	flags = fuzz_u8(in);
	m->flags = flags > 200;
	if (flags & 1)
		m->consumed_pos = k->told + (uint64_t)fuzz_delta(in);
	if (m->pos == k->sent && m->len_bytes < 65536)
		k->sent += m->len_bytes;
}

static void fill_slot(struct world *w, struct fuzz_input *in, struct proto_slot *s)
{
	static const uint8_t ops[16] = {PROTO_OP_CONNECT, PROTO_OP_ACCEPT, PROTO_OP_SEND,
		PROTO_OP_CONSUMED, PROTO_OP_SHUTDOWN, PROTO_OP_CLOSE, PROTO_OP_SETOPT,
		PROTO_OP_INFO, PROTO_OP_SEND, PROTO_OP_SEND, PROTO_OP_ACCEPT, PROTO_OP_CONSUMED,
		PROTO_OP_CONNECT, PROTO_OP_SEND, PROTO_OP_INFO, PROTO_OP_SETOPT};
	uint8_t op = ops[fuzz_u8(in) % 16];
	struct known *k = pick(w, fuzz_u8(in));

	*s = (struct proto_slot){.head = proto_head_make(op, fuzz_u8(in))};
	switch (op) {
	case PROTO_OP_CONNECT:
		fill_connect(w, in, &s->body.connect);
		break;
	case PROTO_OP_ACCEPT:
		s->body.accept.listener = w->hostile_port;
		s->body.accept.flags = fuzz_u8(in) & (PROTO_ACCEPT_KEEP | PROTO_ACCEPT_CANCEL);
		break;
	case PROTO_OP_SEND:
		fill_send(w, in, k, &s->body.send);
		break;
	case PROTO_OP_CONSUMED:
		s->body.consumed.handle = near_handle(w, in, k);
		s->body.consumed.pos = k->told + (uint64_t)fuzz_delta(in);
		break;
	case PROTO_OP_SHUTDOWN:
		s->body.shutdown.handle = near_handle(w, in, k);
		s->body.shutdown.pos = k->sent + (uint64_t)fuzz_delta(in);
		break;
	case PROTO_OP_CLOSE:
		s->body.close.handle = near_handle(w, in, k);
		s->body.close.flags = fuzz_u8(in) & 1;
		break;
	case PROTO_OP_SETOPT:
		s->body.setopt.handle = near_handle(w, in, k);
		s->body.setopt.option = fuzz_u8(in) % 8;
		s->body.setopt.value = fuzz_u16(in) + (uint64_t)fuzz_delta(in);
		break;
	default:
		s->body.info.handle = near_handle(w, in, k);
		break;
	}
}

static void op_slot(struct world *w, struct fuzz_input *in, bool mutate)
{
	struct proto_slot slot;
	uint32_t ctx = fuzz_u8(in) % w->hostile->cfg.contexts;

	fill_slot(w, in, &slot);
	if (mutate)
		((uint8_t *)&slot)[fuzz_u8(in) % sizeof(slot)] ^= fuzz_u8(in);
	sim_client_submit(w->hostile, ctx, &slot);
}

/* A word anywhere before the payload: slots, consumer indices, sleep flags. */
static void op_scribble(struct world *w, struct fuzz_input *in)
{
	struct sim_mem *m = &w->hostile->down[0];
	uint64_t at = fuzz_u16(in) * 8u % w->hostile->layout.down_payload;
	uint64_t word = fuzz_u64(in);

	memcpy(m->client + at, &word, sizeof(word));
	engine_session_woken(w->host[0].engine, w->hostile->session);
}

static void op_index(struct world *w, struct fuzz_input *in)
{
	uint32_t ctx = fuzz_u8(in) % w->hostile->cfg.contexts;
	_Atomic uint32_t *idx = proto_layout_completion_idx(
		&w->hostile->layout, w->hostile->down[0].client, ctx, 0);

	*idx += (uint32_t)fuzz_delta(in);
}

/* -- the peer
 * ---------------------------------------------------------------------------------------- */

static void op_peer(struct world *w, struct fuzz_input *in)
{
	struct sim_client *p = w->peer;
	uint8_t what = fuzz_u8(in), which = fuzz_u8(in);
	uint8_t data[PIECE_BYTES] = {0};
	struct sim_sock *sk;

	if (what % 4 == 0) {
		if (p->sock_count < 40)
			sim_client_connect(p, 0, sim_ip_be(0), HOSTILE_PORT, 0);
		return;
	}
	sk = p->socks[which % p->sock_count];
	if (sk == w->end[1].sk || sk->state != SIM_SOCK_OPEN || sk->closed)
		return;
	if (what % 4 == 1 && !sk->shut && sk->flags & PROTO_FLOW_ESTABLISHED)
		sim_sock_send(sk, data, sizeof(data), false);
	else if (what % 4 == 2 && !sk->shut && sk->flags & PROTO_FLOW_ESTABLISHED)
		sim_sock_shutdown(sk);
	else if (what % 4 == 3)
		sim_sock_close(sk, what & 4);
}

static void run_op(struct world *w, struct fuzz_input *in)
{
	static const uint32_t step_us[4] = {1, 1000, 50000, 1000000};
	uint8_t what = fuzz_u8(in) % 16;

	replace_hostile(w);
	if (what < 3)
		op_peer(w, in);
	else if (what < 6)
		step(w, step_us[fuzz_u8(in) % 4]);
	else if (!is_usable(w))
		return;
	else if (what < 8)
		hostile_read(w, fuzz_u8(in) % w->hostile->cfg.contexts, 1 + fuzz_u8(in) % 64);
	else if (what == 8)
		op_index(w, in);
	else if (what == 9)
		op_scribble(w, in);
	else if (what == 10 && fuzz_u8(in) == 0xdd)
		sim_client_crash(w->hostile);
	else if (what == 10)
		sim_client_grow_down(w->hostile);
	else
		op_slot(w, in, what == 11);
}

/* -- life
 * --------------------------------------------------------------------------------------------- */

static void init_hosts(struct world *w)
{
	const struct sim_profile profile = {.delay_us = 100};
	struct sim_host_config hc;

	w->now_us = START_US;
	sim_link_init(&w->link, 1, &profile);
	w->link.now_us = w->now_us;
	for (int side = 0; side < 2; side++) {
		sim_host_config_default(&hc, side);
		hc.limits.conns_max = 64;
		hc.limits.halves_max = 8;
		hc.limits.tws_max = 16;
		hc.limits.sessions_max = SESSIONS_MAX + 2;
		hc.limits.session_conns_max = side ? 50 : 12;
		hc.limits.uid_orphans_max = 3;
		hc.limits.sndbuf_max_bytes = 128 << 10;
		hc.limits.sndbuf_bytes = hc.limits.rcvbuf_bytes = 32 << 10;
		hc.seed = (uint64_t)side + 1;
		sim_host_init(&w->host[side], &hc, &w->link, w->now_us);
	}
}

static void init(struct world *w)
{
	struct sim_client_config cc;
	struct sim_sock *to, *from;

	init_hosts(w);
	sim_client_config_default(&cc);
	cc.up_bytes = cc.down_bytes = 256 << 10;
	cc.up_max_bytes = cc.down_max_bytes = 1 << 20;
	w->honest = sim_client_new(&w->host[0], &cc);
	w->peer = sim_client_new(&w->host[1], &cc);
	w->listener = sim_client_listen(w->peer, 0, HONEST_PORT, 8);
	turn(w);
	to = sim_client_connect(w->honest, 0, sim_ip_be(1), HONEST_PORT, 0);
	for (int n = 0; n < 20 && !w->listener->pending; n++)
		step(w, 1000);
	from = sim_client_accept(w->listener, 0);
	for (int n = 0; n < 20 && from->state != SIM_SOCK_OPEN; n++)
		step(w, 1000);
	w->end[0] = (struct end){.sk = to, .salt_out = 1, .salt_in = 2};
	w->end[1] = (struct end){.sk = from, .salt_out = 2, .salt_in = 1};
	SIM_CHECK(from->state == SIM_SOCK_OPEN && to->flags & PROTO_FLOW_ESTABLISHED, "set-up");
}

static bool is_empty(const struct engine *e)
{
	return !e->conns.used && !e->halves.used && !e->tws.used && !e->session_count;
}

static void finish(struct world *w)
{
	uint64_t until = w->now_us + HONEST_US;

	while (!is_through(w)) {
		SIM_CHECK(w->now_us < until, "the honest stream stalls");
		step(w, 1000000);
	}
	SIM_CHECK(!w->honest->condemned && !w->peer->condemned, "an honest session condemned");
	for (int i = 0; i < 2; i++)
		sim_sock_close(w->end[i].sk, false);
	step(w, 1000);
	if (is_usable(w))
		sim_client_crash(w->hostile);
	sim_client_crash(w->honest);
	sim_client_crash(w->peer);
	for (uint32_t n = 0; n < STEPS_MAX; n++) {
		if (is_empty(w->host[0].engine) && is_empty(w->host[1].engine))
			break;
		settle(w);
		w->now_us += n % 8 ? 1000 : 5000000; /* what is under way arrives; then time-outs */
		w->link.now_us = w->now_us;
	}
	for (int side = 0; side < 2; side++) {
		fuzz_expect_empty(w->host[side].engine);
		SIM_CHECK(!w->host[side].engine->session_count &&
				  !w->host[side].engine->listener_count,
			"a session is left");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};
	struct world w = {0};

	init(&w);
	for (uint32_t n = 0; in.left && n < OPS_MAX; n++)
		run_op(&w, &in);
	finish(&w);
	for (int side = 0; side < 2; side++)
		sim_host_fini(&w.host[side]);
	sim_link_fini(&w.link);
	return 0;
}
