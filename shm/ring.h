/* One-way ring of 64-byte slots between two processes that do not trust each other.
 *
 * The slots live in the producer's segment, the consumer's index in the consumer's: each
 * side writes only its own memory. There is no shared tail. A slot is full when the phase
 * bit in its head word equals the phase of the lap that the consumer is on; the phase flips
 * each lap and starts at 1, so that zeroed memory is an empty ring. The producer writes the
 * words 1..7, then the head with release order; the consumer loads the head with acquire
 * order, copies the slot, checks nothing before it has the copy, and goes on. (Modelled in
 * tests/model/ring.pml.)
 *
 * The consumer publishes its index lazily (shm_ring_cons_publish, once per batch). The
 * producer caches it and looks again only when the ring seems full. An index that does not
 * lie between the last one seen and the producer's own is a lie: -EPROTO. A producer that
 * lies about the phase feeds the consumer stale slots of its own for ever; the consumer
 * bounds its batch, and validates what it takes.
 *
 * Indices run free and wrap at 2^32; order_log2 <= SHM_RING_ORDER_MAX. One thread at a time
 * uses an end.
 */
#ifndef SHM_RING_H
#define SHM_RING_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	SHM_CACHE_LINE = 64,
	SHM_SLOT_WORDS = 8,
	SHM_RING_ORDER_MAX = 16,
};
#define SHM_SLOT_PHASE (UINT64_C(1) << 8) /* in the head word; owned by the ring */

/* As it lies in memory. */
struct shm_slot {
	_Alignas(SHM_CACHE_LINE) _Atomic uint64_t word[SHM_SLOT_WORDS];
};

/* A private copy of a slot: on a stack mostly, and no line of its own there. */
struct shm_slot_copy {
	uint64_t word[SHM_SLOT_WORDS];
};

struct shm_ring_prod {
	struct shm_slot *slots;
	const _Atomic uint32_t *cons_idx; /* in the consumer's segment */
	uint32_t mask;
	uint32_t head;	      /* next slot to fill */
	uint32_t cons_cached; /* last consumer index believed */
};

struct shm_ring_cons {
	const struct shm_slot *slots;
	_Atomic uint32_t *cons_idx; /* in our own segment */
	uint32_t mask;
	uint32_t tail;
	uint32_t published;
};

/* Both ends start on zeroed memory. Nothing here is owned. */
void shm_ring_prod_init(struct shm_ring_prod *p, struct shm_slot *slots,
	const _Atomic uint32_t *cons_idx, unsigned int order_log2);
void shm_ring_cons_init(struct shm_ring_cons *c, const struct shm_slot *slots,
	_Atomic uint32_t *cons_idx, unsigned int order_log2);

/* Reads the consumer's index once: 0, or -EPROTO if it is impossible (then nothing changed). */
int shm_ring_prod_refresh(struct shm_ring_prod *p);

/* The phase bit of a full slot on the lap of free-running index idx. */
static inline uint64_t shm_ring_phase(uint32_t idx, uint32_t mask)
{
	return idx & (mask + 1) ? 0 : SHM_SLOT_PHASE;
}

/* Slots that can be pushed without another look at the consumer's index. */
static inline uint32_t shm_ring_prod_cached_room(const struct shm_ring_prod *p)
{
	return p->mask + 1 - (p->head - p->cons_cached);
}

/* Slots that can be pushed now (re-reading the consumer's index if fewer than `want`), or
 * -EPROTO if the consumer's index is impossible. */
static inline int shm_ring_prod_room(struct shm_ring_prod *p, uint32_t want)
{
	if (shm_ring_prod_cached_room(p) < want) {
		int err = shm_ring_prod_refresh(p);

		if (err)
			return err;
	}
	return (int)shm_ring_prod_cached_room(p);
}

/* Words 1..7. Written out: the compiler leaves a loop of atomics a loop. */
#define SHM_SLOT_EACH(word) word(1) word(2) word(3) word(4) word(5) word(6) word(7)
static inline void shm_slot_put(struct shm_slot *slot, const struct shm_slot_copy *s)
{
#define SHM_SLOT_PUT(i) atomic_store_explicit(&slot->word[i], s->word[i], memory_order_relaxed);
	SHM_SLOT_EACH(SHM_SLOT_PUT)
#undef SHM_SLOT_PUT
}
static inline void shm_slot_get(const struct shm_slot *slot, struct shm_slot_copy *s)
{
#define SHM_SLOT_GET(i) s->word[i] = atomic_load_explicit(&slot->word[i], memory_order_relaxed);
	SHM_SLOT_EACH(SHM_SLOT_GET)
#undef SHM_SLOT_GET
}

/* Pushes a slot; its phase bit is filled in. 0, -EAGAIN (full) or -EPROTO. */
static inline int shm_ring_prod_push(struct shm_ring_prod *p, const struct shm_slot_copy *s)
{
	struct shm_slot *slot = &p->slots[p->head & p->mask];
	uint64_t head = (s->word[0] & ~SHM_SLOT_PHASE) | shm_ring_phase(p->head, p->mask);
	int room = shm_ring_prod_room(p, 1);

	if (room <= 0)
		return room ? room : -EAGAIN;
	shm_slot_put(slot, s);
	/* pairs with the acquire in shm_ring_cons_pop */
	atomic_store_explicit(&slot->word[0], head, memory_order_release);
	p->head++;
	return 0;
}

/* Takes the next slot into *out (phase bit as it was). False if there is none. */
static inline bool shm_ring_cons_pop(struct shm_ring_cons *c, struct shm_slot_copy *out)
{
	const struct shm_slot *slot = &c->slots[c->tail & c->mask];
	/* pairs with the release in shm_ring_prod_push */
	uint64_t head = atomic_load_explicit(&slot->word[0], memory_order_acquire);

	if ((head & SHM_SLOT_PHASE) != shm_ring_phase(c->tail, c->mask))
		return false;
	out->word[0] = head; /* the one that was checked: the slot may have changed since */
	shm_slot_get(slot, out);
	c->tail++;
	return true;
}

/* Whether a slot waits, without taking it. */
static inline bool shm_ring_cons_ready(const struct shm_ring_cons *c)
{
	/* No data is read on the strength of this load. */
	uint64_t head =
		atomic_load_explicit(&c->slots[c->tail & c->mask].word[0], memory_order_relaxed);

	return (head & SHM_SLOT_PHASE) == shm_ring_phase(c->tail, c->mask);
}

/* Lets the producer reuse the slots taken so far. */
static inline void shm_ring_cons_publish(struct shm_ring_cons *c)
{
	if (c->published == c->tail)
		return;
	c->published = c->tail;
	/* pairs with the acquire in shm_ring_prod_refresh: our copies are made before */
	atomic_store_explicit(c->cons_idx, c->tail, memory_order_release);
}

#endif
