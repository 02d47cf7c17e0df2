/* Handing a frame to the engine that owns its flow.
 *
 * The port spreads frames over queues by its own hash, which engines cannot predict for what
 * they send. A flow that a peer opens stays where its SYN arrived: the hash is the same for
 * every frame of it. A flow that we open belongs to the engine `local port mod engines`: that
 * engine chose the port, or was chosen for it. So a segment that finds neither entry nor
 * listener here, and whose port names another engine, is copied to that engine's inbox, a
 * wait-free queue of bounded length. Correct on any port, fast on those that hash alike.
 *
 * Fragments are hashed otherwise than whole packets: rx_frag.c.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum {
	HANDOVER_DEPTH_MAX = 4096,
	HANDOVERS_PER_TURN = 64,
};

struct handover {
	struct cds_wfcq_node node;
	struct nic_frame frame; /* of `data` */
	uint8_t data[];
};

uint16_t handover_owner(const struct engine *e, uint16_t lport)
{
	return (uint16_t)(lport % e->cfg.count);
}

/* Copies the frame at hand to another engine; false if there is no frame or no such engine. */
bool handover_send(struct engine *e, uint16_t owner)
{
	const struct nic_frame *f = e->frame;
	struct engine *to = e->cfg.peers ? e->cfg.peers[owner] : NULL;
	struct handover *h;

	if (!f || !to)
		return false;
	if (atomic_fetch_add_explicit(&to->handover_depth, 1, memory_order_relaxed) >=
		HANDOVER_DEPTH_MAX)
		goto out_full;
	h = malloc(sizeof(*h) + f->len_bytes);
	if (!h)
		goto out_full;
	h->frame = *f;
	h->frame.data = h->data;
	h->frame.opaque = NULL;
	h->frame.hops++;
	memcpy(h->data, f->data, f->len_bytes);
	cds_wfcq_node_init(&h->node);
	cds_wfcq_enqueue(&to->handover.head, &to->handover.tail, &h->node);
	e->counters.handed_over++;
	e->cfg.wake(e->cfg.wake_arg, owner);
	return true;
out_full:
	atomic_fetch_sub_explicit(&to->handover_depth, 1, memory_order_relaxed);
	e->counters.handover_full++;
	return true;
}

/* A packet that came in fragments, and whose flow is not here: it may be at any other engine, for
 * the port spread the fragments otherwise than the rest. True: the next one looks. */
bool handover_pass(struct engine *e)
{
	const struct nic_frame *f = e->frame;

	/* The fragments themselves may have been handed over, but that was the hash's choice: the
	 * whole begins at 0. */
	return f && f->origin == NIC_REASSEMBLED && f->hops + 1 < e->cfg.count &&
	       handover_send(e, (uint16_t)((e->cfg.id + 1) % e->cfg.count));
}

static struct handover *take(struct engine *e)
{
	struct cds_wfcq_node *node = queue_take(&e->handover.head, &e->handover.tail);

	if (!node)
		return NULL;
	atomic_fetch_sub_explicit(&e->handover_depth, 1, memory_order_relaxed);
	return (struct handover *)(void *)((uint8_t *)node - offsetof(struct handover, node));
}

/* Receives what other engines have handed over, a bounded number; returns how many. */
unsigned int handover_run(struct engine *e)
{
	unsigned int n = 0;
	struct handover *h;

	while (n < HANDOVERS_PER_TURN && (h = take(e))) {
		rx_frame(e, &h->frame);
		free(h);
		n++;
	}
	return n;
}

bool handover_empty(struct engine *e)
{
	return cds_wfcq_empty(&e->handover.head, &e->handover.tail);
}

void handover_fini(struct engine *e)
{
	struct handover *h;

	while ((h = take(e)))
		free(h);
}
