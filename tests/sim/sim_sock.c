/* A client's sockets: requests made, send data handed over, chunks walked. */
#include "sim_client.h"
#include "sim_fail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t request_id(enum sim_request kind, uint32_t listener, uint32_t sock)
{
	SIM_CHECK(sock <= 0xfffff, "too many sockets");
	return (uint32_t)kind << 28 | listener << 20 | sock;
}

static struct sim_sock *sock_new(struct sim_client *c, uint32_t ctx, enum sim_sock_state state)
{
	struct sim_sock *sk = calloc(1, sizeof(*sk));

	if (c->sock_count == c->sock_capacity) {
		c->sock_capacity = c->sock_capacity ? c->sock_capacity * 2 : 16;
		c->socks = realloc(c->socks, c->sock_capacity * sizeof(struct sim_sock *));
	}
	SIM_CHECK(sk && c->socks, "no memory");
	sk->client = c;
	sk->cookie = c->sock_count;
	sk->ctx = ctx;
	sk->state = state;
	sk->chunk = PROTO_REF_NONE;
	sk->sndbuf_bytes = 65536; /* until told */
	c->socks[c->sock_count++] = sk;
	return sk;
}

static void sock_drop_last(struct sim_client *c)
{
	free(c->socks[--c->sock_count]);
}

struct sim_listener *sim_client_listen(
	struct sim_client *c, uint32_t ctx, uint16_t port, uint32_t backlog)
{
	struct engine_msg *m = sim_host_msg(ENGINE_CMD_LISTEN_ADD);
	struct sim_listener *l = calloc(1, sizeof(*l));

	SIM_CHECK(l && c->listener_count < 16, "too many listeners");
	l->client = c;
	l->cookie = c->listener_count;
	l->ctx = ctx;
	l->handle.idx = c->host->last_listener++;
	l->handle.gen = l->handle.idx + 1;
	c->listeners[c->listener_count++] = l;
	m->listen = (struct engine_listen_desc){
		.session = c->session,
		.handle = l->handle,
		.port = port,
		.backlog = backlog,
		.cookie = l->cookie,
		.context = ctx,
		.fastopen_max = c->cfg.fastopen_max,
	};
	sim_host_post(c->host, m);
	return l;
}

void sim_client_unlisten(struct sim_listener *l)
{
	struct engine_msg *m = sim_host_msg(ENGINE_CMD_LISTEN_DEL);

	m->id.session = l->client->session;
	m->id.handle = l->handle;
	l->handle.gen = 0;
	sim_host_post(l->client->host, m);
}

struct sim_sock *sim_client_connect_to(struct sim_client *c, uint32_t ctx,
	const struct net_addr *remote, uint16_t rport, uint16_t lport)
{
	struct sim_sock *sk = sock_new(c, ctx, SIM_SOCK_CONNECTING);
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_CONNECT,
					  request_id(SIM_REQUEST_CONNECT, 0, sk->cookie))};

	sk->key.remote = *remote;
	sk->key.rport = rport;
	memcpy(slot.body.connect.raddr, sk->key.remote.b, 16);
	slot.body.connect.rport = rport;
	slot.body.connect.lport = lport;
	slot.body.connect.cookie = sk->cookie;
	slot.body.connect.options = c->cfg.fastopen ? PROTO_OPTION_FASTOPEN : 0;
	if (lport)
		c->host->port_owner[lport] = c->session;
	if (!sim_client_submit(c, ctx, &slot))
		return sk;
	sock_drop_last(c);
	return NULL;
}

struct sim_sock *sim_client_connect(
	struct sim_client *c, uint32_t ctx, uint32_t ip_be, uint16_t rport, uint16_t lport)
{
	struct net_addr remote = net_addr_from_ip4(ip_be);

	return sim_client_connect_to(c, ctx, &remote, rport, lport);
}

static int submit_accept(struct sim_listener *l, const struct sim_sock *sk, uint32_t flags)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_ACCEPT,
					  request_id(SIM_REQUEST_ACCEPT, l->cookie, sk->cookie))};

	slot.body.accept.listener = l->handle;
	slot.body.accept.cookie = sk->cookie;
	slot.body.accept.flags = flags;
	return sim_client_submit(l->client, sk->ctx, &slot);
}

static struct sim_sock *accept_with(struct sim_listener *l, uint32_t ctx, uint32_t flags)
{
	struct sim_client *c = l->client;
	struct sim_sock *sk = sock_new(c, ctx, SIM_SOCK_ACCEPTING);

	if (submit_accept(l, sk, flags)) {
		sock_drop_last(c);
		return NULL;
	}
	l->accepting++;
	return sk;
}

struct sim_sock *sim_client_accept(struct sim_listener *l, uint32_t ctx)
{
	return accept_with(l, ctx, 0);
}

struct sim_sock *sim_client_accept_ahead(struct sim_listener *l, uint32_t ctx)
{
	return accept_with(l, ctx, PROTO_ACCEPT_KEEP);
}

void sim_client_accept_cancel(struct sim_listener *l, const struct sim_sock *sk)
{
	SIM_CHECK(!submit_accept(l, sk, PROTO_ACCEPT_CANCEL), "no room to cancel");
}

/* -- sending -------------------------------------------------------------------------------------
 */

uint64_t sim_sock_writable(const struct sim_sock *sk)
{
	uint64_t ahead = sk->sent_pos - sk->acked_pos;

	return ahead < sk->sndbuf_bytes ? sk->sndbuf_bytes - ahead : 0;
}

static void keep_block(struct sim_sock *sk, proto_ref ref, uint32_t len)
{
	if (sk->block_count == sk->block_capacity) {
		sk->block_capacity = sk->block_capacity ? sk->block_capacity * 2 : 16;
		sk->blocks = realloc(sk->blocks, sk->block_capacity * sizeof(*sk->blocks));
		SIM_CHECK(sk->blocks, "no memory");
	}
	sk->blocks[sk->block_count++] =
		(struct sim_block){.ref = ref, .end_pos = sk->sent_pos, .len_bytes = len};
}

static bool submit_send(struct sim_sock *sk, proto_ref ref, uint32_t len, bool more)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_SEND, 0)};

	slot.body.send = (struct proto_send){
		.handle = sk->handle,
		.pos = sk->sent_pos,
		.ref = ref,
		.len_bytes = len,
		.flags = more ? PROTO_SEND_MORE : 0,
		.consumed_pos = sk->read_pos,
	};
	return !sim_client_submit(sk->client, sk->ctx, &slot);
}

uint32_t sim_sock_send(struct sim_sock *sk, const uint8_t *data, uint32_t max, bool more)
{
	struct sim_client *c = sk->client;
	uint64_t room = sim_sock_writable(sk);
	uint32_t n = max < SIM_BLOCK_BYTES ? max : SIM_BLOCK_BYTES;
	proto_ref ref;

	n = n < room ? n : (uint32_t)room;
	if (!n || sk->block_count == SIM_BLOCKS_MAX || (!c->free_count && sim_client_grow_down(c)))
		return 0;
	ref = c->free_blocks[c->free_count - 1];
	memcpy(c->down[proto_ref_segment(ref)].client + proto_ref_offset(ref), data, n);
	if (!submit_send(sk, ref, n, more))
		return 0;
	c->free_count--;
	sk->consumed_pos = sk->read_pos;
	sk->sent_pos += n;
	keep_block(sk, ref, n);
	return n;
}

/* -- receiving
 * ------------------------------------------------------------------------------------- */

static const struct proto_chunk *chunk_at(struct sim_client *c, proto_ref ref)
{
	uint32_t i = proto_ref_segment(ref);

	SIM_CHECK(i < c->up_count &&
			  proto_ref_offset(ref) + sizeof(struct proto_chunk) <= c->up[i].bytes,
		"chunk %llx lies nowhere", (unsigned long long)ref);
	return (const struct proto_chunk *)(const void *)(c->up[i].client + proto_ref_offset(ref));
}

/* Where the bytes of a chunk end for now, and the next one. */
static uint64_t chunk_end(struct sim_sock *sk, const struct proto_chunk *k, proto_ref *next)
{
	uint64_t start;

	*next = atomic_load_explicit(&k->next, memory_order_acquire);
	if (*next == PROTO_REF_NONE)
		return sk->received_pos;
	start = chunk_at(sk->client, *next)->start_pos;
	return start < sk->received_pos ? start : sk->received_pos;
}

uint32_t sim_sock_peek(struct sim_sock *sk, const uint8_t **data)
{
	struct sim_client *c = sk->client;
	const struct proto_chunk *k;
	proto_ref next;
	uint64_t end, at;

	if (sk->read_pos == sk->received_pos)
		return 0;
	SIM_CHECK(sk->chunk != PROTO_REF_NONE, "bytes to read, and no chunk");
	k = chunk_at(c, sk->chunk);
	end = chunk_end(sk, k, &next);
	SIM_CHECK(k->start_pos <= sk->read_pos && sk->read_pos < end,
		"chunk [%llu, %llu) does not hold %llu", (unsigned long long)k->start_pos,
		(unsigned long long)end, (unsigned long long)sk->read_pos);
	at = proto_ref_offset(sk->chunk) + k->data_offset + (sk->read_pos - k->start_pos);
	SIM_CHECK(at + (end - sk->read_pos) <= c->up[proto_ref_segment(sk->chunk)].bytes,
		"chunk runs out of its segment");
	*data = c->up[proto_ref_segment(sk->chunk)].client + at;
	return (uint32_t)(end - sk->read_pos);
}

void sim_sock_take(struct sim_sock *sk, uint32_t n)
{
	proto_ref next;
	uint64_t end = chunk_end(sk, chunk_at(sk->client, sk->chunk), &next);

	sk->read_pos += n;
	SIM_CHECK(sk->read_pos <= end, "took more than there is");
	if (sk->read_pos == sk->received_pos)
		sk->chunk = PROTO_REF_NONE;
	else if (sk->read_pos == end)
		sk->chunk = next;
}

/* -- the rest
 * --------------------------------------------------------------------------------------- */

bool sim_sock_consumed(struct sim_sock *sk)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_CONSUMED, 0)};

	if (sk->consumed_pos == sk->read_pos || sk->closed)
		return true;
	slot.body.consumed = (struct proto_consumed){.handle = sk->handle, .pos = sk->read_pos};
	if (sim_client_submit(sk->client, sk->ctx, &slot))
		return false;
	sk->consumed_pos = sk->read_pos;
	return true;
}

bool sim_sock_shutdown(struct sim_sock *sk)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_SHUTDOWN, 0)};

	slot.body.shutdown = (struct proto_shutdown){.handle = sk->handle, .pos = sk->sent_pos};
	if (sim_client_submit(sk->client, sk->ctx, &slot))
		return false;
	sk->shut = true;
	return true;
}

bool sim_sock_close(struct sim_sock *sk, bool abort)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_CLOSE, 0)};

	slot.body.close = (struct proto_close){
		.handle = sk->handle,
		.flags = abort ? PROTO_CLOSE_ABORT : 0,
	};
	if (sim_client_submit(sk->client, sk->ctx, &slot))
		return false;
	sk->closed = true;
	return true;
}

bool sim_sock_setopt(struct sim_sock *sk, uint32_t option, uint64_t value)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_SETOPT,
					  request_id(SIM_REQUEST_SETOPT, 0, sk->cookie))};

	slot.body.setopt = (struct proto_setopt){
		.handle = sk->handle,
		.option = option,
		.value = value,
	};
	return !sim_client_submit(sk->client, sk->ctx, &slot);
}

/* One at a time: parts are counted from the request on. */
bool sim_sock_info(struct sim_sock *sk)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_INFO,
					  request_id(SIM_REQUEST_INFO, 0, sk->cookie))};

	slot.body.info.handle = sk->handle;
	if (sk->info_result == INT32_MIN || sim_client_submit(sk->client, sk->ctx, &slot))
		return false;
	sk->info_parts = 0;
	sk->info_result = INT32_MIN;
	return true;
}
