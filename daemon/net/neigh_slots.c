#include "neigh_slots.h"

#include <net/lock.h>

/* -- lock ---------------------------------------------------------------------------------- */

/* Held for one window's scan and one store at most. */
void net_neigh_lock(struct net_neigh_table *t)
{
	net_lock(&t->lock);
}

void net_neigh_unlock(struct net_neigh_table *t)
{
	net_unlock(&t->lock);
}

/* -- packing ------------------------------------------------------------------------------- */

static uint64_t pack(const struct neigh_entry *e)
{
	uint64_t word = 0;

	memcpy(&word, e->mac.b, sizeof(e->mac.b));
	return word << 16 | (uint64_t)e->state << 8 | (uint64_t)e->requests << 1 | e->learned;
}

static void unpack(struct neigh_entry *e, uint64_t word)
{
	uint64_t mac = word >> 16;

	memcpy(e->mac.b, &mac, sizeof(e->mac.b));
	e->state = (uint8_t)(word >> 8);
	e->requests = (uint8_t)word >> 1;
	e->learned = word & 1;
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first six bytes are the low ones");

/* -- seqlock ------------------------------------------------------------------------------- */

bool net_neigh_slot_read(const struct neigh_slot *s, struct neigh_entry *e)
{
	for (unsigned int i = 0; i < NEIGH_READ_TRIES; i++) {
		/* pairs with the final release in store() */
		uint32_t seq = atomic_load_explicit(&s->seq, memory_order_acquire);
		uint64_t addr[2];

		if (seq & 1)
			continue;
		/* each pairs with the release of its field in store(): see the head */
		addr[0] = atomic_load_explicit(&s->addr[0], memory_order_acquire);
		addr[1] = atomic_load_explicit(&s->addr[1], memory_order_acquire);
		memcpy(e->addr.b, addr, sizeof(addr));
		unpack(e, atomic_load_explicit(&s->word, memory_order_acquire));
		e->since_us = atomic_load_explicit(&s->since_us, memory_order_acquire);
		e->changed_us = atomic_load_explicit(&s->changed_us, memory_order_acquire);
		if (atomic_load_explicit(&s->seq, memory_order_relaxed) == seq)
			return (addr[0] | addr[1]) != 0;
	}
	return false;
}

static void store(struct neigh_slot *s, const struct neigh_entry *e)
{
	uint32_t seq = atomic_load_explicit(&s->seq, memory_order_relaxed);
	uint64_t addr[2];

	memcpy(addr, e->addr.b, sizeof(addr));
	assert((seq & 1) == 0);
	atomic_store_explicit(&s->seq, seq + 1, memory_order_relaxed);
	atomic_store_explicit(&s->addr[0], addr[0], memory_order_release);
	atomic_store_explicit(&s->addr[1], addr[1], memory_order_release);
	atomic_store_explicit(&s->word, pack(e), memory_order_release);
	atomic_store_explicit(&s->since_us, e->since_us, memory_order_release);
	atomic_store_explicit(&s->changed_us, e->changed_us, memory_order_release);
	atomic_store_explicit(&s->seq, seq + 2, memory_order_release);
}

/* -- writing ------------------------------------------------------------------------------- */

static void account(struct net_neigh_table *t, const struct neigh_entry *e, uint32_t delta)
{
	t->count += delta;
	if (e->state == NET_NEIGH_STATE_INCOMPLETE)
		t->incomplete += delta;
	if (e->learned)
		t->learned += delta;
}

/* Would an engine that knows `from` act otherwise on `to`? Entries that nobody used are
 * nobody's news: a flood cannot make engines look again. */
static bool is_news(const struct neigh_entry *from, const struct neigh_entry *to, bool used)
{
	if (!net_addr_is_any(&to->addr) && to->state == NET_NEIGH_STATE_STATIC)
		return true;
	if (net_addr_is_any(&from->addr) || !used)
		return false;
	return !net_addr_equal(&from->addr, &to->addr) || neigh_usable(from) != neigh_usable(to) ||
	       !net_mac_equal(&from->mac, &to->mac) ||
	       (to->state == NET_NEIGH_STATE_FAILED && from->state != to->state);
}

void net_neigh_slot_write(
	struct net_neigh_table *t, struct neigh_slot *s, const struct neigh_entry *e)
{
	struct neigh_entry old = {0};
	bool news;

	if (net_neigh_slot_read(s, &old))
		account(t, &old, (uint32_t)-1);
	news = is_news(&old, e, neigh_used_us(s) != 0);
	if (!net_addr_equal(&old.addr, &e->addr)) {
		bool wanted = e->state == NET_NEIGH_STATE_INCOMPLETE;

		atomic_store_explicit(&s->used_us, wanted ? e->since_us : 0, memory_order_relaxed);
	}
	store(s, e);
	if (!net_addr_is_any(&e->addr))
		account(t, e, 1);
	/* pairs with the acquire in net_neigh_generation(): who sees it finds the entry */
	if (news)
		atomic_fetch_add_explicit(&t->generation, 1, memory_order_release);
}

/* -- searching ----------------------------------------------------------------------------- */

/* The finaliser of MurmurHash3. */
static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

/* Both halves of the address pass the mixer on their own, the second after the keyed first:
 * no two addresses can be chosen to cancel each other without the key. */
static uint32_t hash(const struct net_neigh_table *t, const struct net_addr *addr)
{
	uint64_t half[2];

	memcpy(half, addr->b, sizeof(half));
	return (uint32_t)mix(mix(half[0] ^ t->hash_key) ^ half[1]);
}

static bool slot_has(const struct neigh_slot *s, const struct net_addr *addr)
{
	uint64_t half[2];

	memcpy(half, addr->b, sizeof(half));
	return atomic_load_explicit(&s->addr[1], memory_order_relaxed) == half[1] &&
	       atomic_load_explicit(&s->addr[0], memory_order_relaxed) == half[0];
}

static struct neigh_slot *window_slot(struct net_neigh_table *t, uint32_t start, uint32_t i)
{
	return &t->slot[(start + i) & t->slot_mask];
}

struct neigh_slot *net_neigh_slot_find(
	struct net_neigh_table *t, const struct net_addr *addr, struct neigh_entry *e)
{
	uint32_t start = hash(t, addr);

	if (net_addr_is_any(addr))
		return NULL;
	for (uint32_t i = 0; i < NEIGH_WINDOW; i++) {
		struct neigh_slot *s = window_slot(t, start, i);

		if (!slot_has(s, addr))
			continue;
		if (net_neigh_slot_read(s, e) && net_addr_equal(&e->addr, addr))
			return s;
	}
	return NULL;
}

enum neigh_worth {
	WORTH_NOTHING, /* learned, never used */
	WORTH_FAILED,
	WORTH_UNUSED,
	WORTH_KEEPING,
};

static enum neigh_worth worth(const struct neigh_entry *e, uint64_t used_us, uint64_t now_us)
{
	if (e->learned && used_us == 0)
		return WORTH_NOTHING;
	if (e->state == NET_NEIGH_STATE_FAILED)
		return WORTH_FAILED;
	if (e->state == NET_NEIGH_STATE_STALE && neigh_age_us(now_us, used_us) >= NEIGH_EVICT_US &&
		neigh_age_us(now_us, e->since_us) >= NEIGH_EVICT_US)
		return WORTH_UNUSED;
	return WORTH_KEEPING;
}

/* The least valuable entry of the window that is below `limit`, the oldest among equals. */
static struct neigh_slot *pick_victim(
	struct net_neigh_table *t, uint32_t start, enum neigh_worth limit, uint64_t now_us)
{
	enum neigh_worth best_worth = limit;
	struct neigh_slot *best = NULL;
	uint64_t best_since_us = 0;

	for (uint32_t i = 0; i < NEIGH_WINDOW; i++) {
		struct neigh_slot *s = window_slot(t, start, i);
		struct neigh_entry e;
		enum neigh_worth w;

		if (!net_neigh_slot_read(s, &e))
			continue;
		w = worth(&e, neigh_used_us(s), now_us);
		if (w > best_worth || (w == best_worth && (!best || e.since_us >= best_since_us)))
			continue;
		best = s;
		best_worth = w;
		best_since_us = e.since_us;
	}
	return best;
}

struct neigh_slot *net_neigh_slot_pick(
	struct net_neigh_table *t, const struct net_addr *addr, bool learned, uint64_t now_us)
{
	bool room = t->count < t->capacity && !(learned && t->learned >= t->learned_max);
	uint32_t start = hash(t, addr);

	assert(!net_addr_is_any(
		addr)); /* it marks free slots; neigh.c refuses it at each entrance */
	for (uint32_t i = 0; room && i < NEIGH_WINDOW; i++) {
		struct neigh_slot *s = window_slot(t, start, i);

		if (neigh_slot_is_free(s))
			return s;
	}
	return pick_victim(t, start, learned ? WORTH_FAILED : WORTH_KEEPING, now_us);
}
