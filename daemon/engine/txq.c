/* Send descriptors: which bytes of `down` make up the unacknowledged stream.
 *
 * A connection's descriptors are a list by position without gaps, from the byte last
 * acknowledged to the end of what the client has submitted. The payload stays where the
 * client wrote it; the engine only ever reads it while it copies it into a frame.
 */
#include "internal.h"

#include <errno.h>

static struct tx_desc *desc_at(struct engine *e, uint32_t idx)
{
	return shm_arena_at(&e->descs, idx);
}

static bool extends(const struct tx_desc *d, uint64_t pos, proto_ref ref)
{
	return d->pos + d->len == pos && d->ref + d->len == ref;
}

/* A session that fills the arena would leave the others none. */
static bool may_take(const struct session *s, const struct sock *sk)
{
	return sk->tx_descs < TXQ_DESCRIPTORS_MAX &&
	       s->tx_descs <
		       TXQ_DESCRIPTORS_SESSION + (uint64_t)s->conns * TXQ_DESCRIPTORS_PER_CONN;
}

/* Appends len bytes at ref, which lie inside the session's `down`. 0; -ENOBUFS: the session has
 * taken more than its share; -ENOMEM: it has not, but no descriptor is left. */
int txq_append(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t pos, proto_ref ref,
	uint32_t len)
{
	struct tx_desc *tail = c->txq_tail == NONE ? NULL : desc_at(e, c->txq_tail);
	struct session *s = e->sessions[sk->session];
	uint32_t idx;

	if (tail && extends(tail, pos, ref) && tail->len + (uint64_t)len <= UINT32_MAX) {
		tail->len += len;
		return 0;
	}
	if (!may_take(s, sk))
		return -ENOBUFS;
	idx = shm_arena_alloc(&e->descs);
	if (idx == NONE)
		return -ENOMEM;
	*desc_at(e, idx) = (struct tx_desc){.pos = pos, .ref = ref, .len = len, .next = NONE};
	if (tail)
		tail->next = idx;
	else
		c->txq_head = idx;
	c->txq_tail = idx;
	sk->tx_descs++;
	s->tx_descs++;
	return 0;
}

static void drop_head(struct engine *e, struct tcp_conn *c, struct sock *sk)
{
	uint32_t idx = c->txq_head;
	struct tx_desc *d = desc_at(e, idx);

	c->txq_head = d->next;
	if (c->txq_head == NONE)
		c->txq_tail = NONE;
	*d = (struct tx_desc){0};
	shm_arena_put_back(&e->descs, idx);
	sk->tx_descs--;
	e->sessions[sk->session]->tx_descs--;
}

void txq_acked(struct engine *e, struct tcp_conn *c, struct sock *sk, uint64_t pos)
{
	while (c->txq_head != NONE) {
		const struct tx_desc *d = desc_at(e, c->txq_head);

		if (d->pos + d->len > pos)
			return;
		drop_head(e, c, sk);
	}
}

void txq_free(struct engine *e, struct tcp_conn *c, struct sock *sk)
{
	while (c->txq_head != NONE)
		drop_head(e, c, sk);
}

/* The pieces that hold [pos, pos + len): fills at most max, returns how many, or 0 if they are
 * not all there. */
unsigned int txq_gather(struct engine *e, struct tcp_conn *c, uint64_t pos, uint32_t len,
	struct nic_gather *gather, unsigned int max)
{
	struct sock *sk = conn_sock(e, c);
	unsigned int n = 0;

	if (!sk)
		return 0;
	for (uint32_t i = c->txq_head; i != NONE && len; i = desc_at(e, i)->next) {
		const struct tx_desc *d = desc_at(e, i);
		uint64_t skip;
		uint32_t take;

		if (d->pos + d->len <= pos)
			continue;
		if (d->pos > pos || n == max)
			return 0;
		skip = pos - d->pos;
		take = d->len - (uint32_t)skip < len ? d->len - (uint32_t)skip : len;
		gather[n].data = session_down(e->sessions[sk->session], d->ref + skip, take);
		gather[n].len_bytes = take;
		if (!gather[n].data)
			return 0;
		n++;
		pos += take;
		len -= take;
	}
	return len ? 0 : n;
}
