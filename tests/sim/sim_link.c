#include "sim_link.h"

#include "sim_router.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	ETHERTYPE_AT = 12,
	ETH_HLEN = 14,
	IP6_LENGTH_AT = ETH_HLEN + 4,
	BURST_US = 50000, /* longer ones would take all retransmissions of a lone segment */
};

void sim_link_init(struct sim_link *l, uint64_t seed, const struct sim_profile *profile)
{
	*l = (struct sim_link){.rng = {.state = seed}};
	l->way[0].profile = l->way[1].profile = *profile;
}

void sim_link_fini(struct sim_link *l)
{
	for (int side = 0; side < 2; side++) {
		for (uint32_t i = 0; i < l->way[side].count; i++)
			free(l->way[side].heap[i]);
		free(l->way[side].heap);
	}
}

/* -- a heap by arrival ----------------------------------------------------------------------- */

static bool is_before(const struct sim_frame *a, const struct sim_frame *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct sim_way *w, struct sim_frame *f)
{
	uint32_t i = w->count++;

	if (w->count > w->capacity) {
		w->capacity = w->capacity ? w->capacity * 2 : 64;
		w->heap = realloc(w->heap, w->capacity * sizeof(struct sim_frame *));
		assert(w->heap);
	}
	for (; i && is_before(f, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = f;
}

static struct sim_frame *heap_pop(struct sim_way *w)
{
	struct sim_frame *top = w->heap[0];
	struct sim_frame *last = w->heap[--w->count];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < w->count && is_before(w->heap[child + 1], w->heap[child]))
			child++;
		if (child >= w->count || !is_before(w->heap[child], last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return top;
}

/* -- what happens to a frame --------------------------------------------------------------------
 */

/* IPv6: no checksum covers the length alone; that of TCP may fit what is left by accident. */
static bool has_bare_length(const struct sim_frame *f)
{
	return f->len_bytes > IP6_LENGTH_AT && f->data[ETHERTYPE_AT] == 0x86 &&
	       f->data[ETHERTYPE_AT + 1] == 0xdd;
}

static void corrupt(struct sim_link *l, struct sim_frame *f)
{
	uint32_t at;

	l->stats.corrupted++;
	if (sim_rng_below(&l->rng, 8) == 0) {
		f->len_bytes = (uint32_t)sim_rng_below(&l->rng, f->len_bytes);
		return;
	}
	at = (uint32_t)sim_rng_below(&l->rng, f->len_bytes);
	if (has_bare_length(f) && (at & ~1u) == IP6_LENGTH_AT)
		at -= 2; /* the flow label */
	f->data[at] ^= (uint8_t)(1u << sim_rng_below(&l->rng, 8));
}

static struct sim_frame *copy(struct sim_link *l, const uint8_t *frame, uint32_t len)
{
	struct sim_frame *f = malloc(sizeof(*f) + len);

	assert(f);
	f->order = l->next_order++;
	f->len_bytes = len;
	memcpy(f->data, frame, len);
	return f;
}

/* A truncated frame gets a block of its new size, for the sanitizer's sake. */
static struct sim_frame *damaged_copy(struct sim_link *l, const uint8_t *frame, uint32_t len)
{
	struct sim_frame *f = copy(l, frame, len);
	struct sim_frame *shorter;

	corrupt(l, f);
	if (f->len_bytes == len)
		return f;
	shorter = copy(l, f->data, f->len_bytes);
	free(f);
	return shorter;
}

/* How much waits at the sender. */
static uint64_t backlog(const struct sim_link *l, const struct sim_way *w)
{
	if (w->busy_until_us <= l->now_us)
		return 0;
	return (w->busy_until_us - l->now_us) * w->profile.rate_bytes_s / 1000000;
}

static void mark(struct sim_link *l, struct sim_way *w, uint64_t waiting, struct sim_frame *f)
{
	const struct sim_profile *p = &w->profile;

	if ((p->mark_bytes && waiting > p->mark_bytes) ||
		(p->mark_ppm && sim_rng_chance(&l->rng, p->mark_ppm)))
		l->stats.marked += sim_router_mark(f->data, f->len_bytes);
}

/* When a frame handed over now has left the sender. */
static uint64_t serialise(struct sim_link *l, struct sim_way *w, uint32_t len)
{
	uint64_t start = w->busy_until_us > l->now_us ? w->busy_until_us : l->now_us;

	if (w->profile.rate_bytes_s)
		start += (uint64_t)len * 1000000 / w->profile.rate_bytes_s;
	w->busy_until_us = start;
	return start;
}

static void deliver(struct sim_link *l, struct sim_way *w, const uint8_t *frame, uint32_t len,
	bool spared, uint64_t waiting, uint64_t later_us)
{
	const struct sim_profile *p = &w->profile;
	bool damage = !spared && sim_rng_chance(&l->rng, p->corrupt_ppm);
	struct sim_frame *f = damage ? damaged_copy(l, frame, len) : copy(l, frame, len);

	if (!damage)
		mark(l, w, waiting, f);
	f->at_us = w->busy_until_us + p->delay_us + later_us;
	if (!spared && p->reorder_us && sim_rng_chance(&l->rng, p->reorder_ppm)) {
		l->stats.reordered++;
		f->at_us += sim_rng_range(&l->rng, 1, p->reorder_us);
	}
	w->queued_bytes += f->len_bytes;
	heap_push(w, f);
}

/* Moves between the good and the bad state, and says whether the bad one takes the frame. */
static bool is_lost_in_bad(struct sim_link *l, struct sim_way *w)
{
	const struct sim_profile *p = &w->profile;

	if (l->now_us < w->bad_until_us && sim_rng_chance(&l->rng, p->bad_leave_ppm))
		w->bad_until_us = 0;
	else if (l->now_us >= w->bad_until_us && sim_rng_chance(&l->rng, p->bad_enter_ppm))
		w->bad_until_us = l->now_us + BURST_US;
	return l->now_us < w->bad_until_us && sim_rng_chance(&l->rng, p->bad_loss_ppm);
}

/* A loss may be the first of a burst. */
static bool is_lost(struct sim_link *l, struct sim_way *w)
{
	if (w->cut || is_lost_in_bad(l, w))
		return true;
	if (w->losing > 0 && l->now_us < w->losing_until_us) {
		w->losing--;
		return true;
	}
	w->losing = 0;
	if (!sim_rng_chance(&l->rng, w->profile.loss_ppm))
		return false;
	if (w->profile.burst_max)
		w->losing = sim_rng_below(&l->rng, w->profile.burst_max + 1);
	w->losing_until_us = l->now_us + BURST_US;
	return true;
}

/* The error travels back as fast as a frame would, and may be lost as one. */
static void tell_too_big(struct sim_link *l, int side, const uint8_t *frame, uint32_t len)
{
	struct sim_way *back = &l->way[!side];
	uint8_t error[SIM_ROUTER_ERROR_MAX];
	uint32_t n;

	if (!l->way[side].profile.mtu_told || is_lost(l, back))
		return;
	n = sim_router_too_big(error, frame, len, l->way[side].profile.mtu_bytes);
	serialise(l, back, n);
	deliver(l, back, error, n, true, 0, 0);
}

static bool is_too_big(const struct sim_way *w, const uint8_t *frame, uint32_t len)
{
	return w->profile.mtu_bytes && sim_router_packet_len(frame, len) > w->profile.mtu_bytes;
}

void sim_link_send(struct sim_link *l, int side, const uint8_t *frame, uint32_t len)
{
	struct sim_way *w = &l->way[side];
	bool spared = w->profile.spare_arp && sim_router_is_neighbour(frame, len);
	uint64_t waiting = backlog(l, w);

	if (l->tap)
		l->tap(l->tap_arg, l->now_us, side, frame, len);
	l->stats.sent++;
	if (w->profile.buffer_bytes && waiting + len > w->profile.buffer_bytes && !spared) {
		l->stats.overflowed++;
		return;
	}
	if (w->profile.queue_max_bytes && w->queued_bytes + len > w->profile.queue_max_bytes &&
		!spared) {
		l->stats.overflowed++;
		return;
	}
	serialise(l, w, len);
	if (!spared && is_lost(l, w)) {
		l->stats.lost++;
		return;
	}
	if (is_too_big(w, frame, len)) {
		l->stats.too_big++;
		tell_too_big(l, side, frame, len);
		return;
	}
	deliver(l, w, frame, len, spared, waiting, 0);
	if (!spared && sim_rng_chance(&l->rng, w->profile.duplicate_ppm)) {
		l->stats.duplicated++;
		deliver(l, w, frame, len, spared, waiting,
			sim_rng_below(&l->rng, (uint64_t)w->profile.duplicate_us + 1));
	}
}

struct sim_frame *sim_link_receive(struct sim_link *l, int side)
{
	struct sim_way *w = &l->way[!side];
	struct sim_frame *f;

	if (!w->count || w->heap[0]->at_us > l->now_us)
		return NULL;
	f = heap_pop(w);
	w->queued_bytes -= f->len_bytes;
	l->stats.delivered++;
	if (l->arrival)
		l->arrival(l->tap_arg, l->now_us, !side, f->data, f->len_bytes);
	return f;
}

uint64_t sim_link_arrives_us(const struct sim_link *l, int side)
{
	const struct sim_way *w = &l->way[!side];

	return w->count ? w->heap[0]->at_us : UINT64_MAX;
}

uint64_t sim_link_next_us(const struct sim_link *l)
{
	uint64_t a = sim_link_arrives_us(l, 0), b = sim_link_arrives_us(l, 1);

	return a < b ? a : b;
}
