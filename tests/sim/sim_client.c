#include "sim_client.h"

#include "sim_bell.h"
#include "sim_fail.h"

#include <linux/tcp.h>

#include <shm/doorbell.h>
#include <shm/segment.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	COMPLETIONS_PER_POLL = 64,
};

void sim_client_config_default(struct sim_client_config *cfg)
{
	*cfg = (struct sim_client_config){
		.contexts = 1,
		.ring_order_log2 = 6,
		.up_bytes = 1 << 20,
		.up_max_bytes = 8 << 20,
		.down_bytes = 1 << 20,
		.down_max_bytes = 8 << 20,
		.uid = 1000,
	};
}

/* -- memory ---------------------------------------------------------------------------------------
 */

static void add_blocks(struct sim_client *c, uint32_t segment, uint64_t first, uint64_t bytes)
{
	uint64_t n = bytes / SIM_BLOCK_BYTES;

	c->block_total += (uint32_t)n;
	c->free_blocks = realloc(c->free_blocks, c->block_total * sizeof(proto_ref));
	SIM_CHECK(c->free_blocks, "no memory");
	while (n-- > 0)
		c->free_blocks[c->free_count++] =
			proto_ref_make(segment, first + n * SIM_BLOCK_BYTES);
}

static void post_segment(
	struct sim_client *c, enum shm_direction direction, uint32_t index, const struct sim_mem *m)
{
	struct engine_msg *msg = sim_host_msg(ENGINE_CMD_SEGMENT_ADD);

	msg->segment = (struct engine_segment_desc){
		.session = c->session,
		.direction = direction,
		.index = index,
		.base = m->engine,
		.bytes = m->bytes,
	};
	sim_host_post(c->host, msg);
}

void sim_client_grow_up(struct sim_client *c)
{
	if (c->dead || c->up_count == PROTO_SEGMENTS_MAX ||
		c->up_bytes + c->cfg.up_bytes > c->cfg.up_max_bytes)
		return;
	c->up[c->up_count] = sim_mem_new(c->cfg.up_bytes, true, 0);
	c->up_bytes += c->cfg.up_bytes;
	post_segment(c, SHM_UP, c->up_count, &c->up[c->up_count]);
	c->up_count++;
}

int sim_client_grow_down(struct sim_client *c)
{
	if (c->growing)
		return -EAGAIN;
	if (c->down_count == PROTO_SEGMENTS_MAX ||
		c->down_bytes + c->cfg.down_bytes > c->cfg.down_max_bytes)
		return -ENOMEM;
	c->down[c->down_count] = sim_mem_new(c->cfg.down_bytes, false, 0);
	c->down_bytes += c->cfg.down_bytes;
	post_segment(c, SHM_DOWN, c->down_count, &c->down[c->down_count]);
	c->growing = true;
	return -EAGAIN;
}

void sim_client_grown_down(struct sim_client *c)
{
	c->growing = false;
	if (!c->dead)
		add_blocks(c, c->down_count++, 0, c->cfg.down_bytes);
}

/* -- birth and death
 * -------------------------------------------------------------------------------- */

static void ring_init(struct sim_client *c, uint32_t ctx)
{
	const struct proto_layout *l = &c->layout;
	struct sim_ring *r = &c->ring[ctx];
	uint8_t *down = c->down[0].client;
	uint8_t *up = c->up[0].client;

	r->line = proto_layout_submission_line(l, up, ctx, 0);
	r->ctx_line = proto_layout_ctx_line(l, down, ctx);
	shm_ring_prod_init(&r->submissions, proto_layout_submission_slots(l, down, ctx, 0),
		&r->line->cons_idx, l->ring_order_log2);
	shm_ring_cons_init(&r->completions, proto_layout_completion_slots(l, up, ctx, 0),
		proto_layout_completion_idx(l, down, ctx, 0), l->ring_order_log2);
	r->bell = sim_bell_new();
}

static void announce(struct sim_client *c)
{
	struct engine_msg *m = sim_host_msg(ENGINE_CMD_SESSION_ADD);

	m->session = (struct engine_session_desc){
		.session = c->session,
		.uid = c->cfg.uid,
		.pid = (int32_t)c->session,
		.name = "sim",
		.layout = c->layout,
		.up_base = c->up[0].engine,
		.down_base = c->down[0].engine,
		.up_bytes = c->up[0].bytes,
		.down_bytes = c->down[0].bytes,
		.up_part_first = c->layout.up_payload,
		.up_part_bytes = c->cfg.up_bytes,
		.down_max_bytes = c->cfg.down_max_bytes,
		.up_max_bytes = c->cfg.up_max_bytes,
		.condemned = &c->hole,
	};
	for (uint32_t i = 0; i < c->cfg.contexts; i++)
		m->session.doorbell_fds[i] = c->ring[i].bell;
	sim_host_post(c->host, m);
}

struct sim_client *sim_client_new(struct sim_host *h, const struct sim_client_config *cfg)
{
	struct sim_client *c = calloc(1, sizeof(*c));

	SIM_CHECK(c && h->last_session + 1 < SIM_SESSIONS_MAX, "too many sessions");
	c->host = h;
	c->cfg = *cfg;
	c->session = ++h->last_session;
	h->clients[c->session] = c;
	SIM_CHECK(!proto_layout_init(&c->layout, cfg->contexts, 1, cfg->ring_order_log2), "layout");
	c->up[0] = sim_mem_new(c->layout.up_payload + cfg->up_bytes, true, c->layout.up_payload);
	c->down[0] = sim_mem_new(
		c->layout.down_payload + cfg->down_bytes, false, c->layout.down_payload);
	c->up_count = c->down_count = 1;
	c->up_bytes = c->up[0].bytes;
	c->down_bytes = c->down[0].bytes;
	add_blocks(c, 0, c->layout.down_payload, cfg->down_bytes);
	for (uint32_t i = 0; i < cfg->contexts; i++)
		ring_init(c, i);
	announce(c);
	return c;
}

static void unmap(struct sim_client *c)
{
	for (uint32_t i = 0; i < PROTO_SEGMENTS_MAX; i++) {
		sim_mem_free(&c->up[i]);
		sim_mem_free(&c->down[i]);
	}
}

void sim_client_free(struct sim_client *c)
{
	unmap(c);
	for (uint32_t i = 0; i < c->cfg.contexts; i++)
		sim_bell_free(c->ring[i].bell);
	for (uint32_t i = 0; i < c->sock_count; i++) {
		free(c->socks[i]->blocks);
		free(c->socks[i]);
	}
	for (uint32_t i = 0; i < c->listener_count; i++)
		free(c->listeners[i]);
	free(c->socks);
	free(c->free_blocks);
	c->host->clients[c->session] = NULL;
	free(c);
}

static void post_del(struct sim_client *c)
{
	struct engine_msg *m = sim_host_msg(ENGINE_CMD_SESSION_DEL);

	m->id.session = c->session;
	sim_host_post(c->host, m);
}

void sim_client_crash(struct sim_client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	post_del(c);
}

void sim_client_condemned(struct sim_client *c, int reason)
{
	c->condemned = reason;
	sim_client_crash(c);
}

/* The engine refers to the memory no more: a later use of it is a fault. */
void sim_client_gone(struct sim_client *c)
{
	SIM_CHECK(c->dead && !c->gone, "session %u: GONE out of place", c->session);
	c->gone = true;
	unmap(c);
}

/* -- submissions
 * -------------------------------------------------------------------------------------- */

int sim_client_submit(struct sim_client *c, uint32_t ctx, const struct proto_slot *slot)
{
	struct sim_ring *r = &c->ring[ctx];
	struct shm_slot_copy raw;
	int rc;

	memcpy(raw.word, slot, sizeof(*slot));
	rc = shm_ring_prod_push(&r->submissions, &raw);
	if (rc)
		return rc;
	if (shm_sleep_check_once(&r->line->unwatched, &r->rung))
		engine_session_woken(c->host->engine, c->session);
	return 0;
}

/* -- completions
 * -------------------------------------------------------------------------------------- */

static struct sim_sock *sock_of(struct sim_client *c, uint32_t cookie)
{
	SIM_CHECK(cookie < c->sock_count, "session %u: cookie %u unknown", c->session, cookie);
	return c->socks[cookie];
}

static void free_acked(struct sim_sock *sk, uint64_t pos)
{
	struct sim_client *c = sk->client;
	uint32_t n = 0;

	while (n < sk->block_count && sk->blocks[n].end_pos <= pos) {
		proto_ref ref = sk->blocks[n].ref;

		memset(c->down[proto_ref_segment(ref)].client + proto_ref_offset(ref), 0xdd,
			sk->blocks[n].len_bytes);
		c->free_blocks[c->free_count++] = ref;
		n++;
	}
	if (!n)
		return;
	sk->block_count -= n;
	memmove(sk->blocks, sk->blocks + n, sk->block_count * sizeof(*sk->blocks));
}

static void on_gone(struct sim_sock *sk)
{
	SIM_CHECK(sk->closed, "GONE of a socket that was not closed");
	sk->state = SIM_SOCK_GONE;
	free_acked(sk, UINT64_MAX);
}

static void on_flow(struct sim_client *c, const struct proto_flow *f)
{
	struct sim_sock *sk = sock_of(c, f->cookie);

	SIM_CHECK(sk->state == SIM_SOCK_OPEN && f->gen == sk->handle.gen,
		"event for cookie %u in state %d", f->cookie, sk->state);
	SIM_CHECK(!(sk->flags & ~f->flags & ~(uint32_t)PROTO_FLOW_ANY_ROOM),
		"flags went from %x to %x", sk->flags, f->flags);
	SIM_CHECK(!sk->error || f->error == sk->error, "the error changed");
	SIM_CHECK(!(sk->flags & PROTO_FLOW_FIN) || f->received_pos == sk->received_pos,
		"data behind the FIN");
	sk->flags = f->flags;
	sk->error = f->error;
	sk->sndbuf_bytes = f->sndbuf_bytes;
	if (f->flags & PROTO_FLOW_GONE) {
		on_gone(sk);
		return;
	}
	SIM_CHECK(f->acked_pos >= sk->acked_pos && f->acked_pos <= sk->sent_pos,
		"acked %llu after %llu of %llu", (unsigned long long)f->acked_pos,
		(unsigned long long)sk->acked_pos, (unsigned long long)sk->sent_pos);
	SIM_CHECK(f->received_pos >= sk->received_pos, "received_pos went back");
	SIM_CHECK(
		(f->chunk != PROTO_REF_NONE) == (f->received_pos > sk->received_pos) || sk->closed,
		"a chunk without news, or news without a chunk");
	if (sk->chunk == PROTO_REF_NONE && !sk->closed)
		sk->chunk = f->chunk;
	sk->acked_pos = f->acked_pos;
	sk->received_pos = f->received_pos;
	free_acked(sk, f->acked_pos);
}

static void on_connected(struct sim_sock *sk, const struct proto_result *r)
{
	SIM_CHECK(sk->state == SIM_SOCK_CONNECTING, "RESULT for cookie %u", sk->cookie);
	if (r->result) {
		sk->state = SIM_SOCK_FAILED;
		sk->error = (uint32_t)-r->result;
		return;
	}
	sk->state = SIM_SOCK_OPEN;
	sk->handle = r->handle;
	memcpy(sk->key.local.b, r->laddr, sizeof(r->laddr));
	sk->key.lport = r->lport;
}

static void listen_news(struct sim_listener *l, uint32_t pending, uint32_t seq)
{
	if ((int32_t)(seq - l->seq) <= 0)
		return;
	l->seq = seq;
	l->pending = pending;
}

static struct sim_listener *listener_of(struct sim_client *c, uint32_t request)
{
	uint32_t i = request >> 20 & 0xff;

	SIM_CHECK(i < c->listener_count, "request %x", request);
	return c->listeners[i];
}

static void on_result(struct sim_client *c, uint32_t request, const struct proto_result *r)
{
	struct sim_sock *sk = sock_of(c, request & 0xfffff);

	switch (request >> 28) {
	case SIM_REQUEST_CONNECT:
		on_connected(sk, r);
		break;
	case SIM_REQUEST_ACCEPT:
		SIM_CHECK(sk->state == SIM_SOCK_ACCEPTING && r->result < 0, "ACCEPT refused");
		sk->state = SIM_SOCK_FAILED;
		sk->error = (uint32_t)-r->result;
		listener_of(c, request)->accepting--;
		listener_of(c, request)->refused = true;
		if (r->result == -EAGAIN)
			listen_news(listener_of(c, request), 0, r->listen_seq);
		break;
	case SIM_REQUEST_SETOPT:
		break;
	case SIM_REQUEST_INFO:
		SIM_CHECK(r->result < 0 || (uint32_t)r->result == sk->info_parts, "INFO parts");
		sk->info_result = r->result;
		break;
	default:
		sim_fail("RESULT of request %x", request);
	}
}

static void on_accepted(struct sim_client *c, uint32_t request, const struct proto_accepted *a)
{
	struct sim_sock *sk = sock_of(c, a->cookie);
	struct sim_listener *l = listener_of(c, request);

	SIM_CHECK(
		sk->state == SIM_SOCK_ACCEPTING && request >> 28 == SIM_REQUEST_ACCEPT, "ACCEPTED");
	sk->state = SIM_SOCK_OPEN;
	sk->handle = a->handle;
	memcpy(sk->key.local.b, a->laddr, sizeof(a->laddr));
	memcpy(sk->key.remote.b, a->raddr, sizeof(a->raddr));
	sk->key.lport = a->lport;
	sk->key.rport = a->rport;
	c->unclaimed++;
	l->accepting--;
	l->refused = false;
	listen_news(l, a->pending, a->listen_seq);
}

static void on_listen(struct sim_client *c, const struct proto_listen_state *s)
{
	SIM_CHECK(s->cookie < c->listener_count, "LISTEN cookie %u", s->cookie);
	if (s->gen == c->listeners[s->cookie]->handle.gen)
		listen_news(c->listeners[s->cookie], s->pending, s->listen_seq);
}

static void on_info(struct sim_client *c, uint32_t request, const struct proto_info_part *p)
{
	struct sim_sock *sk = sock_of(c, request & 0xfffff);

	SIM_CHECK(p->offset + p->len_bytes <= (int)p->total_bytes &&
			  p->offset == sk->info_parts * sizeof(p->bytes),
		"INFO part at %u", p->offset);
	if (p->offset == 0)
		sk->info_state = p->bytes[offsetof(struct tcp_info, tcpi_state)];
	sk->info_parts++;
}

static void dispatch(struct sim_client *c, const struct proto_slot *slot)
{
	uint32_t request = proto_head_request(slot->head);

	switch (proto_head_op(slot->head)) {
	case PROTO_EV_RESULT:
		on_result(c, request, &slot->body.result);
		break;
	case PROTO_EV_ACCEPTED:
		on_accepted(c, request, &slot->body.accepted);
		break;
	case PROTO_EV_FLOW:
		on_flow(c, &slot->body.flow);
		break;
	case PROTO_EV_LISTEN:
		on_listen(c, &slot->body.listen_state);
		break;
	case PROTO_EV_INFO:
		on_info(c, request, &slot->body.info_part);
		break;
	default:
		sim_fail("event %u", proto_head_op(slot->head));
	}
}

/* A sleeping context looks only when its bell has rung. */
static bool wake(struct sim_client *c, struct sim_ring *r, uint32_t ctx)
{
	if (!r->asleep)
		return true;
	if (!shm_ring_cons_ready(&r->completions))
		return false;
	SIM_CHECK(sim_bell_take(r->bell), "session %u context %u: lost wake-up", c->session, ctx);
	shm_sleep_cancel(&r->ctx_line->sleeping);
	r->asleep = false;
	c->wakeups++;
	return true;
}

unsigned int sim_client_poll(struct sim_client *c)
{
	unsigned int total = 0;

	if (c->dead || c->deaf)
		return 0;
	for (uint32_t i = 0; i < c->cfg.contexts; i++) {
		struct sim_ring *r = &c->ring[i];
		struct shm_slot_copy raw;
		struct proto_slot slot;
		unsigned int n = 0;

		if (!wake(c, r, i))
			continue;
		for (; n < COMPLETIONS_PER_POLL && shm_ring_cons_pop(&r->completions, &raw); n++) {
			memcpy(&slot, raw.word, sizeof(slot));
			slot.head &= ~SHM_SLOT_PHASE;
			dispatch(c, &slot);
		}
		shm_ring_cons_publish(&r->completions);
		total += n;
	}
	c->events += total;
	return total;
}

bool sim_client_sleep(struct sim_client *c)
{
	if (c->dead || c->deaf)
		return true;
	for (uint32_t i = 0; i < c->cfg.contexts; i++) {
		struct sim_ring *r = &c->ring[i];

		if (r->asleep)
			continue;
		shm_sleep_announce(&r->ctx_line->sleeping);
		if (shm_ring_cons_ready(&r->completions)) {
			shm_sleep_cancel(&r->ctx_line->sleeping);
			return false;
		}
		r->asleep = true;
	}
	return true;
}
