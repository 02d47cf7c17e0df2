/* Segments to our own addresses, which no wire brings back.
 *
 * They are received by the engine that sends them: it has the flow that was opened there, and
 * makes the one that answers (handover.c tells what a listener does not take). So both ends of such
 * a connection live on one engine, and what it sends is copied once, into a queue of its own that
 * the next turn takes from; never the same turn, so that two ends that answer each other do not
 * keep it for ever. The queue is bounded; TCP repeats what finds it full.
 *
 * Nothing was on a wire: checksums are neither made nor looked at. Only frames from here may have
 * one of our own addresses as their source.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum {
	OWN_FRAMES_MAX = 4096,
	OWN_BYTES_MAX = 32 << 20,
	OWN_PER_TURN = 64,
};

struct looped {
	struct looped *next;
	struct nic_frame frame; /* of `data` */
	uint8_t data[];
};

static struct looped *copy(const struct engine *e, const struct nic_tx_frame *f)
{
	uint32_t len = f->headers_len + f->payload_len, at = f->headers_len;
	struct looped *l = malloc(sizeof(*l) + len);

	if (!l)
		return NULL;
	l->next = NULL;
	l->frame = (struct nic_frame){
		.data = l->data,
		.len_bytes = len,
		.checksum = NIC_CHECKSUM_GOOD,
		.vlan_stripped = true,
		.vlan_tci = e->cfg.iface->vlan_id,
		.origin = NIC_LOOPED,
	};
	memcpy(l->data, f->headers, f->headers_len);
	for (uint16_t i = 0; i < f->gather_count; i++) {
		memcpy(l->data + at, f->gather[i].data, f->gather[i].len_bytes);
		at += f->gather[i].len_bytes;
	}
	return l;
}

/* Takes a frame whose destination is ours. False: there is no room, it is counted. */
bool own_send(struct engine *e, const struct nic_tx_frame *f)
{
	bool room = e->own.count < OWN_FRAMES_MAX && e->own.bytes < OWN_BYTES_MAX;
	struct looped *l = room ? copy(e, f) : NULL;

	if (!l) {
		e->counters.loop_full++;
		return false;
	}
	if (e->own.tail)
		e->own.tail->next = l;
	else
		e->own.head = l;
	e->own.tail = l;
	e->own.count++;
	e->own.bytes += l->frame.len_bytes;
	e->counters.looped++;
	return true;
}

static struct looped *take(struct engine *e)
{
	struct looped *l = e->own.head;

	if (!l)
		return NULL;
	e->own.head = l->next;
	if (!l->next)
		e->own.tail = NULL;
	e->own.count--;
	e->own.bytes -= l->frame.len_bytes;
	return l;
}

/* Receives what was sent in turns before this one, a bounded number; returns how many. */
unsigned int own_run(struct engine *e)
{
	unsigned int n = e->own.count < OWN_PER_TURN ? e->own.count : OWN_PER_TURN;

	for (unsigned int i = 0; i < n; i++) {
		struct looped *l = take(e);

		rx_frame(e, &l->frame);
		free(l);
	}
	return n;
}

bool own_empty(const struct engine *e)
{
	return e->own.count == 0;
}

void own_fini(struct engine *e)
{
	struct looped *l;

	while ((l = take(e)))
		free(l);
}
