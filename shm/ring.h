/* One-way ring of 64-byte slots between two processes that do not trust each other.
 *
 * The slots live in the producer's segment, the consumer's index in the consumer's: each
 * side writes only its own memory. There is no shared tail. A slot is full when the phase
 * bit in its head word equals the phase of the lap that the consumer is on; the phase flips
 * each lap and starts at 1, so that zeroed memory is an empty ring. The producer writes the
 * words 1..7, then the head with release order; the consumer loads the head with acquire
 * order, copies the slot, checks nothing before it has the copy, and goes on.
 *
 * The consumer publishes its index lazily (shm_ring_cons_publish, once per batch). The
 * producer caches it and looks again only when the ring seems full. An index that does not
 * lie between the last one seen and the producer's own is a lie: -EPROTO.
 *
 * Indices run free and wrap at 2^32; order_log2 <= 16.
 */
#ifndef SHM_RING_H
#define SHM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	SHM_CACHE_LINE = 64,
	SHM_SLOT_WORDS = 8,
};
#define SHM_SLOT_PHASE (UINT64_C(1) << 8) /* in the head word; owned by the ring */

/* As it lies in memory. */
struct shm_slot {
	_Alignas(SHM_CACHE_LINE) _Atomic uint64_t word[SHM_SLOT_WORDS];
};

/* A private copy of a slot. */
struct shm_slot_copy {
	_Alignas(SHM_CACHE_LINE) uint64_t word[SHM_SLOT_WORDS];
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

void shm_ring_prod_init(struct shm_ring_prod *p, struct shm_slot *slots,
	const _Atomic uint32_t *cons_idx, unsigned int order_log2);
void shm_ring_cons_init(struct shm_ring_cons *c, const struct shm_slot *slots,
	_Atomic uint32_t *cons_idx, unsigned int order_log2);

/* Slots that can be pushed now (re-reading the consumer's index if fewer than `want`), or
 * -EPROTO if the consumer's index is impossible. */
int shm_ring_prod_room(struct shm_ring_prod *p, uint32_t want);

/* Pushes a slot; its phase bit is filled in. 0, -EAGAIN (full) or -EPROTO. */
int shm_ring_prod_push(struct shm_ring_prod *p, const struct shm_slot_copy *s);

/* Takes the next slot into *out (phase bit as it was). False if there is none. */
bool shm_ring_cons_pop(struct shm_ring_cons *c, struct shm_slot_copy *out);

/* Whether a slot waits, without taking it. */
bool shm_ring_cons_ready(const struct shm_ring_cons *c);

/* Lets the producer reuse the slots taken so far. */
void shm_ring_cons_publish(struct shm_ring_cons *c);

#endif
