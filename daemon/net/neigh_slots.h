/* Storage of the neighbour table: a keyed hash of slots, each a seqlock. Private to neigh*.c.
 *
 * There are at least twice as many slots as entries. An address may live in any of the
 * NEIGH_WINDOW slots that start at its hash, so every search is bounded and nothing ever
 * moves: a slot is found, or is not there.
 *
 * Reading needs no lock. A writer holds the table's lock, makes `seq` odd, stores the fields,
 * makes it even. All fields are atomics, stored with release and loaded with acquire: whoever
 * sees one new field also sees the odd `seq` before it, and so retries. (No fences: thread
 * sanitizers do not know them.) `used_us` stands outside: readers write it, at most once a
 * second per entry, so that a busy entry's line stays shared between cores.
 *
 * net_neigh_slot_write() is the only way to change a slot. It keeps the counts by state and
 * moves the generation, so the rules in neigh.c need not.
 */
#ifndef NET_NEIGH_SLOTS_H
#define NET_NEIGH_SLOTS_H

#include <net/neigh.h>

#include <stdatomic.h>

enum {
	NEIGH_WINDOW = 32,
	NEIGH_READ_TRIES = 64,	   /* then a reader takes the slot for unreadable */
	NEIGH_USED_US = 1000000,   /* granularity of used_us */
	NEIGH_EVICT_US = 60000000, /* a STALE entry unused that long may go when room is needed */
};

/* The value of an entry. addr all zero: none. */
struct neigh_entry {
	struct net_addr addr;
	struct net_mac mac;
	uint8_t state;	     /* enum net_neigh_state */
	uint8_t requests;    /* sent in INCOMPLETE or PROBE */
	bool learned;	     /* made by a request for our address, never confirmed */
	uint64_t since_us;   /* in this state; in INCOMPLETE and PROBE, since the last request */
	uint64_t changed_us; /* when it began or got its MAC */
};

struct neigh_slot {
	_Alignas(NET_NEIGH_ALIGN) _Atomic uint32_t seq;
	_Atomic uint64_t addr[2]; /* as in memory */
	_Atomic uint64_t word;	  /* mac, state, requests, learned */
	_Atomic uint64_t since_us;
	_Atomic uint64_t changed_us;
	_Atomic uint64_t used_us; /* 0: never */
};
static_assert(sizeof(struct neigh_slot) == NET_NEIGH_ALIGN, "one cache line");

struct net_neigh_table {
	/* read-mostly */
	_Alignas(NET_NEIGH_ALIGN) uint64_t hash_key;
	uint32_t slot_mask;
	uint32_t capacity;
	uint32_t incomplete_max;
	uint32_t learned_max;
	/* read by every engine, written when something happened to an entry in use */
	_Alignas(NET_NEIGH_ALIGN) _Atomic uint64_t generation;
	/* under the lock */
	_Alignas(NET_NEIGH_ALIGN) _Atomic uint32_t lock;
	uint32_t count;
	uint32_t incomplete;
	uint32_t learned;
	uint32_t cursor; /* where the next tick begins; belongs to whoever ticks */
	struct neigh_slot slot[];
};

void net_neigh_lock(struct net_neigh_table *t);
void net_neigh_unlock(struct net_neigh_table *t);

/* Free at the moment of the look. For who passes over many. */
static inline bool neigh_slot_is_free(const struct neigh_slot *s)
{
	return !(atomic_load_explicit(&s->addr[1], memory_order_relaxed) |
		 atomic_load_explicit(&s->addr[0], memory_order_relaxed));
}

/* Reads a slot consistently. False if it is free, or a writer was in the way NEIGH_READ_TRIES
 * times, which cannot happen while holding the lock. */
bool net_neigh_slot_read(const struct neigh_slot *s, struct neigh_entry *e);

/* The slot of an address and its value, or NULL. */
struct neigh_slot *net_neigh_slot_find(
	struct net_neigh_table *t, const struct net_addr *addr, struct neigh_entry *e);

/* A slot to put addr into; NULL if there is none. It may hold another entry, the least
 * valuable of its window, which the write replaces. With `learned`, only unused learned
 * entries are given up, and no more than learned_max of them exist. Under the lock. */
struct neigh_slot *net_neigh_slot_pick(
	struct net_neigh_table *t, const struct net_addr *addr, bool learned, uint64_t now_us);

/* Stores a value; e->addr all zero frees the slot. Under the lock. */
void net_neigh_slot_write(
	struct net_neigh_table *t, struct neigh_slot *s, const struct neigh_entry *e);

static inline uint64_t neigh_used_us(const struct neigh_slot *s)
{
	return atomic_load_explicit(&s->used_us, memory_order_relaxed);
}

/* Engines' clocks differ by a little: an age is never negative. */
static inline uint64_t neigh_age_us(uint64_t now_us, uint64_t then_us)
{
	return now_us > then_us ? now_us - then_us : 0;
}

/* Does the entry have a MAC that may be sent to? */
static inline bool neigh_usable(const struct neigh_entry *e)
{
	return e->state == NET_NEIGH_STATE_REACHABLE || e->state == NET_NEIGH_STATE_STALE ||
	       e->state == NET_NEIGH_STATE_PROBE || e->state == NET_NEIGH_STATE_STATIC;
}

#endif
