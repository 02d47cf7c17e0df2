#include "sim_app.h"

#include "sim_fail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PATTERN_PERIOD = 65521, /* a prime: no power of two is a multiple */
	PATTERN_BYTES = PATTERN_PERIOD + SIM_BLOCK_BYTES,
	GIVE_UP_S = 60,
	OPS_PER_DRIVE = 16,
	INFO_PPM = 2000,
};

/* The same in every run: what is at a position is of no importance, only that it differs. */
static uint8_t pattern[PATTERN_BYTES];

/* Up to SIM_BLOCK_BYTES bytes that end `end` of flow i sends at pos. */
static const uint8_t *pattern_at(uint32_t i, int end, uint64_t pos)
{
	return pattern + ((uint32_t)pos + (2 * i + (uint32_t)end) * 7919) % PATTERN_PERIOD;
}

struct sim_flow *sim_app_flow(struct sim_app *a, const struct sim_flow_spec *spec,
	struct sim_client *from, struct sim_client *to)
{
	struct sim_flow *f = &a->flows[a->flow_count];

	SIM_CHECK(a->flow_count++ < SIM_APP_FLOWS_MAX, "too many flows");
	a->live[a->live_count++] = (uint8_t)(f - a->flows);
	*f = (struct sim_flow){.spec = *spec};
	f->end[0] = (struct sim_end){.spec = spec->end[0], .client = from};
	f->end[1] = (struct sim_end){.spec = spec->end[1], .client = to};
	return f;
}

static void taint(struct sim_app *a, struct sim_flow *f)
{
	if (f->tainted)
		return;
	f->tainted = true;
	f->tainted_us = a->world->now_us;
}

void sim_app_taint(struct sim_app *a)
{
	for (uint32_t i = 0; i < a->flow_count; i++)
		taint(a, &a->flows[i]);
}

void sim_app_crash(struct sim_app *a, struct sim_client *c)
{
	sim_client_crash(c);
	for (uint32_t i = 0; i < a->flow_count; i++) {
		struct sim_flow *f = &a->flows[i];

		for (int end = 0; end < 2; end++) {
			if (f->end[end].client != c || f->end[end].phase >= SIM_END_DONE)
				continue;
			f->end[end].phase = SIM_END_CRASHED;
			taint(a, f);
		}
	}
}

/* -- opening --------------------------------------------------------------------------------------
 */

static unsigned int open_end(struct sim_app *a, struct sim_flow *f, int end)
{
	struct sim_end *x = &f->end[end];
	int other = f->spec.side ^ end ^ 1;
	uint32_t ctx = (uint32_t)sim_rng_below(&a->rng, x->client->cfg.contexts);
	uint16_t port = f->spec.port;
	struct net_addr addr = f->spec.ip6 ? sim_ip6(other) : net_addr_from_ip4(sim_ip_be(other));

	if (a->world->now_us < SIM_START_US + f->spec.start_us || !x->client->attached)
		return 0;
	if (f->spec.simultaneous)
		x->sk = sim_client_connect_to(
			x->client, ctx, &addr, (uint16_t)(port + !end), (uint16_t)(port + end));
	else if (end == 0)
		x->sk = sim_client_connect_to(x->client, ctx, &addr, port, 0);
	if (!x->sk)
		return 0;
	x->sk->app = x;
	x->phase = SIM_END_OPEN;
	return 1;
}

static bool fits(const struct sim_flow *f, const struct sim_sock *sk)
{
	const struct sim_sock *peer = f->end[0].sk;

	return !f->spec.simultaneous && f->end[1].phase == SIM_END_WAIT && peer &&
	       f->end[1].client == sk->client && peer->key.lport == sk->key.rport &&
	       peer->key.rport == sk->key.lport &&
	       net_addr_equal(&peer->key.remote, &sk->key.local);
}

/* The flow that a socket got by accept belongs to. A port may have been used before, by a flow
 * that was aborted and never accepted: one that lives goes first. */
static void match(struct sim_app *a, struct sim_sock *sk)
{
	struct sim_flow *found = NULL;

	for (uint32_t i = 0; i < a->flow_count; i++) {
		struct sim_flow *f = &a->flows[i];

		if (fits(f, sk) && (!found || f->end[0].phase == SIM_END_OPEN))
			found = f;
	}
	if (!found)
		return;
	sk->app = &found->end[1];
	found->end[1].sk = sk;
	found->end[1].phase = SIM_END_OPEN;
}

/* What nobody waits for any more, because the other end crashed before it was known. */
static void close_stray(struct sim_app *a, struct sim_sock *sk)
{
	for (uint32_t i = 0; i < a->flow_count; i++)
		if (!a->flows[i].spec.simultaneous && a->flows[i].end[1].phase == SIM_END_WAIT &&
			a->flows[i].end[0].phase <= SIM_END_OPEN)
			return;
	sim_sock_close(sk, true);
}

static bool may_accept(const struct sim_client *c)
{
	return c->attached && !c->dead && !c->deaf;
}

static unsigned int accept_all(struct sim_app *a, struct sim_client *c)
{
	unsigned int work = 0;

	for (uint32_t i = 0; i < c->listener_count; i++) {
		struct sim_listener *l = c->listeners[i];

		while (l->accepting < l->pending &&
			sim_client_accept(l, (uint32_t)sim_rng_below(&a->rng, c->cfg.contexts)))
			work++;
		while (l->handle.gen && !l->refused && l->accepting < a->accept_ahead &&
			sim_client_accept_ahead(l, l->accepting % c->cfg.contexts))
			work++;
	}
	for (uint32_t i = 0; c->unclaimed && i < c->sock_count; i++) {
		struct sim_sock *sk = c->socks[i];

		if (sk->state != SIM_SOCK_OPEN || sk->app || sk->closed)
			continue;
		match(a, sk);
		if (!sk->app)
			close_stray(a, sk);
		c->unclaimed -= sk->app || sk->closed;
	}
	return work;
}

/* -- reading
 * ---------------------------------------------------------------------------------------- */

static bool is_stalled(struct sim_app *a, struct sim_end *x)
{
	uint64_t now_us = a->world->now_us;

	if (x->spec.stall_us && !x->stalled && x->sk->read_pos >= x->spec.stall_at_pos) {
		x->stalled = true;
		x->stalled_until_us = now_us + x->spec.stall_us;
	}
	return x->stalled && now_us < x->stalled_until_us;
}

static unsigned int read_some(struct sim_app *a, uint32_t i, int end)
{
	struct sim_end *x = &a->flows[i].end[end];
	struct sim_sock *sk = x->sk;
	const uint8_t *data;
	uint32_t n, max;

	if (sk->consumed_pos == sk->received_pos || is_stalled(a, x))
		return 0;
	max = (uint32_t)sim_rng_range(&a->rng, 1, x->spec.read_max_bytes);
	n = sim_sock_peek(sk, &data);
	n = n < max ? n : max;
	n = n < SIM_BLOCK_BYTES ? n : SIM_BLOCK_BYTES;
	if (n) {
		SIM_INVARIANT("delivered-bytes",
			!memcmp(data, pattern_at(i, !end, sk->read_pos), n),
			"flow %u: not those that were sent, for end %d in [%llu, %llu)", i, end,
			(unsigned long long)sk->read_pos, (unsigned long long)sk->read_pos + n);
		sim_sock_take(sk, n);
		a->bytes += n;
	}
	if (sk->read_pos == sk->consumed_pos ||
		(sk->read_pos != sk->received_pos &&
			sk->read_pos - sk->consumed_pos < x->spec.consume_step_bytes))
		return n != 0;
	return sim_sock_consumed(sk) || n;
}

/* -- writing
 * ---------------------------------------------------------------------------------------- */

static unsigned int write_some(struct sim_app *a, uint32_t i, int end)
{
	struct sim_end *x = &a->flows[i].end[end];
	struct sim_sock *sk = x->sk;
	uint64_t left = x->spec.tx_bytes - sk->sent_pos;
	uint32_t max;

	if (!left || sk->shut || sk->flags & PROTO_FLOW_CLOSED || !sim_sock_writable(sk))
		return 0;
	max = (uint32_t)sim_rng_range(&a->rng, 1, x->spec.write_max_bytes);
	max = max < left ? max : (uint32_t)left;
	return sim_sock_send(
		       sk, pattern_at(i, end, sk->sent_pos), max, x->spec.more && max < left) != 0;
}

/* -- leaving
 * ------------------------------------------------------------------------------------------ */

static bool has_read_all(const struct sim_sock *sk)
{
	return sk->read_pos == sk->received_pos && sk->consumed_pos == sk->read_pos;
}

static bool may_close(const struct sim_flow *f, const struct sim_end *x, const struct sim_end *peer)
{
	const struct sim_sock *sk = x->sk;

	if (!has_read_all(sk))
		return false;
	if (sk->flags & PROTO_FLOW_CLOSED)
		return true;
	if (!(sk->flags & PROTO_FLOW_ESTABLISHED) || sk->sent_pos < x->spec.tx_bytes)
		return false;
	if (x->spec.shutdown && !sk->shut)
		return false;
	return sk->flags & PROTO_FLOW_FIN ||
	       (!x->spec.shutdown && !peer->spec.tx_bytes && !f->tainted);
}

static bool gives_up(struct sim_app *a, const struct sim_flow *f)
{
	return f->tainted && a->world->now_us > f->tainted_us + GIVE_UP_S * SIM_SECOND;
}

static void note_end(struct sim_end *x)
{
	x->fin_seen |= (x->sk->flags & PROTO_FLOW_FIN) != 0;
	x->told_error = x->sk->error;
}

static unsigned int leave(struct sim_app *a, struct sim_flow *f, int end)
{
	struct sim_end *x = &f->end[end];
	bool abort = x->sk->sent_pos >= x->spec.abort_at_pos || gives_up(a, f);

	note_end(x);
	if (abort || (f->spec.simultaneous && x->told_error == ECONNREFUSED))
		taint(a, f); /* refused: the other end came too late to cross it */
	if (abort || may_close(f, x, &f->end[!end])) {
		if (!sim_sock_close(x->sk, abort))
			return 0;
		x->phase = SIM_END_CLOSED;
		return 1;
	}
	if (x->spec.shutdown && !x->sk->shut && x->sk->sent_pos == x->spec.tx_bytes)
		return sim_sock_shutdown(x->sk);
	return 0;
}

/* -- one end
 * --------------------------------------------------------------------------------------------- */

static unsigned int drive_open(struct sim_app *a, uint32_t i, int end)
{
	struct sim_flow *f = &a->flows[i];
	struct sim_end *x = &f->end[end];
	unsigned int work = 0, moved = 1;

	if (x->sk->state == SIM_SOCK_FAILED) {
		x->phase = SIM_END_FAILED;
		x->told_error = x->sk->error;
		return 1;
	}
	if (x->sk->state != SIM_SOCK_OPEN)
		return 0;
	if (x->spec.nodelay && sim_sock_setopt(x->sk, PROTO_SET_NODELAY, 1))
		x->spec.nodelay = false;
	if (sim_rng_chance(&a->rng, INFO_PPM))
		sim_sock_info(x->sk);
	for (int n = 0; n < OPS_PER_DRIVE && moved; n++) {
		moved = read_some(a, i, end) + write_some(a, i, end);
		work += moved;
	}
	return work + leave(a, f, end);
}

static unsigned int drive_end(struct sim_app *a, uint32_t i, int end)
{
	struct sim_end *x = &a->flows[i].end[end];

	if (x->client->dead && x->phase < SIM_END_DONE) {
		x->phase = SIM_END_CRASHED;
		taint(a, &a->flows[i]);
	}
	switch (x->phase) {
	case SIM_END_WAIT:
		return open_end(a, &a->flows[i], end);
	case SIM_END_OPEN:
		return drive_open(a, i, end);
	case SIM_END_CLOSED:
		if (x->sk->state != SIM_SOCK_GONE)
			return 0;
		x->phase = SIM_END_DONE;
		return 1;
	default:
		return 0;
	}
}

static bool is_settled(const struct sim_flow *f)
{
	return f->end[0].phase >= SIM_END_DONE && f->end[1].phase >= SIM_END_DONE;
}

static unsigned int drive_flows(struct sim_app *a)
{
	unsigned int work = 0;
	uint32_t live = 0;

	for (uint32_t i = 0; i < a->live_count; i++) {
		uint8_t flow = a->live[i];

		for (int end = 0; end < 2; end++)
			work += drive_end(a, flow, end);
		if (!is_settled(&a->flows[flow]))
			a->live[live++] = flow;
	}
	a->live_count = live;
	return work;
}

static unsigned int drive(void *arg)
{
	struct sim_app *a = arg;
	unsigned int work = 0;

	for (int side = 0; side < 2; side++) {
		struct sim_host *h = &a->world->host[side];

		for (uint32_t i = 1; i <= h->last_session; i++)
			if (h->clients[i] && may_accept(h->clients[i]))
				work += accept_all(a, h->clients[i]);
	}
	return work + drive_flows(a);
}

/* -- the world's clock
 * ------------------------------------------------------------------------------- */

static void earlier(uint64_t *next, uint64_t now_us, uint64_t at_us)
{
	if (at_us > now_us && at_us < *next)
		*next = at_us;
}

static uint64_t next_us(void *arg)
{
	struct sim_app *a = arg;
	uint64_t now_us = a->world->now_us;
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < a->flow_count; i++) {
		const struct sim_flow *f = &a->flows[i];

		earlier(&next, now_us, SIM_START_US + f->spec.start_us);
		for (int end = 0; end < 2; end++)
			if (f->end[end].stalled)
				earlier(&next, now_us, f->end[end].stalled_until_us);
		if (f->tainted)
			earlier(&next, now_us, f->tainted_us + GIVE_UP_S * SIM_SECOND + 1);
	}
	return next;
}

static void fill_pattern(void)
{
	struct sim_rng rng = {0};

	if (pattern[PATTERN_PERIOD])
		return;
	for (uint32_t i = 0; i < PATTERN_PERIOD; i++)
		pattern[i] = (uint8_t)sim_rng_next(&rng);
	memcpy(pattern + PATTERN_PERIOD, pattern, SIM_BLOCK_BYTES);
}

void sim_app_init(struct sim_app *a, struct sim_world *w, uint64_t seed)
{
	*a = (struct sim_app){.world = w, .rng = {.state = seed}};
	a->accept_ahead = seed % 3 ? 0 : (uint32_t)(1 + seed / 3 % PROTO_ACCEPTS_KEPT);
	w->drive = drive;
	w->drive_next_us = next_us;
	w->drive_arg = a;
	fill_pattern();
}

static bool end_is_over(const struct sim_flow *f, const struct sim_end *x)
{
	return x->phase >= SIM_END_DONE || (x->phase == SIM_END_WAIT && f->tainted);
}

bool sim_app_is_done(void *app)
{
	struct sim_app *a = app;

	for (uint32_t i = 0; i < a->flow_count; i++)
		for (int end = 0; end < 2; end++)
			if (!end_is_over(&a->flows[i], &a->flows[i].end[end]))
				return false;
	return true;
}

static void report_end(const struct sim_end *x)
{
	const struct sim_sock *sk = x->sk;

	fprintf(stderr, "  phase %d", x->phase);
	if (!sk)
		return;
	fprintf(stderr,
		" ports %u %u flags %x error %u sent %llu of %llu acked %llu read %llu of %llu",
		sk->key.lport, sk->key.rport, sk->flags, sk->error,
		(unsigned long long)sk->sent_pos, (unsigned long long)x->spec.tx_bytes,
		(unsigned long long)sk->acked_pos, (unsigned long long)sk->read_pos,
		(unsigned long long)sk->received_pos);
}

static void report_listeners(const struct sim_host *h, int side)
{
	for (uint32_t i = 1; i <= h->last_session; i++)
		for (uint32_t k = 0; h->clients[i] && k < h->clients[i]->listener_count; k++) {
			const struct sim_listener *l = h->clients[i]->listeners[k];

			fprintf(stderr, "side %d listener %u: pending %u accepting %u seq %u\n",
				side, k, l->pending, l->accepting, l->seq);
		}
}

void sim_app_report(const struct sim_app *a)
{
	for (uint32_t i = 0; i < a->flow_count; i++) {
		const struct sim_flow *f = &a->flows[i];

		if (is_settled(f))
			continue;
		fprintf(stderr, "flow %u%s:\n", i, f->tainted ? " (tainted)" : "");
		report_end(&f->end[0]);
		fputc('\n', stderr);
		report_end(&f->end[1]);
		fputc('\n', stderr);
	}
	for (int side = 0; side < 2; side++)
		report_listeners(&a->world->host[side], side);
}

static void verify_end(const struct sim_flow *f, uint32_t i, int end)
{
	const struct sim_end *x = &f->end[end];
	const struct sim_end *peer = &f->end[!end];

	SIM_INVARIANT("completion", x->phase == SIM_END_DONE, "flow %u end %d: phase %d, error %u",
		i, end, x->phase, x->told_error);
	SIM_INVARIANT(
		"completion", !x->told_error, "flow %u end %d: error %u", i, end, x->told_error);
	SIM_INVARIANT("completion", x->sk->read_pos == peer->spec.tx_bytes,
		"flow %u end %d: read %llu of %llu bytes", i, end,
		(unsigned long long)x->sk->read_pos, (unsigned long long)peer->spec.tx_bytes);
	SIM_INVARIANT("completion", x->fin_seen || (!x->spec.shutdown && !peer->spec.tx_bytes),
		"flow %u end %d: closed without the peer's FIN", i, end);
}

void sim_app_verify(const struct sim_app *a)
{
	for (uint32_t i = 0; i < a->flow_count; i++) {
		if (a->flows[i].tainted)
			continue;
		for (int end = 0; end < 2; end++)
			verify_end(&a->flows[i], i, end);
	}
}
