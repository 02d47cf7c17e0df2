#include "neigh_slots.h"

#include <sched.h>

/* -- lock ---------------------------------------------------------------------------------- */

/* Held for one window's scan and one store at most. A holder that lost its core is given time
 * to run rather than waited for. */
void net_neigh_lock(struct net_neigh_table *t)
{
	unsigned int spins = 0;

	/* pairs with the release in net_neigh_unlock() */
	while (atomic_exchange_explicit(&t->lock, 1, memory_order_acquire) != 0)
		if (++spins % 64 == 0)
			sched_yield();
}

void net_neigh_unlock(struct net_neigh_table *t)
{
	atomic_store_explicit(&t->lock, 0, memory_order_release);
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

		if (seq & 1)
			continue;
		/* each pairs with the release of its field in store(): see the head */
		e->ip_be = atomic_load_explicit(&s->ip_be, memory_order_acquire);
		unpack(e, atomic_load_explicit(&s->word, memory_order_acquire));
		e->since_us = atomic_load_explicit(&s->since_us, memory_order_acquire);
		e->changed_us = atomic_load_explicit(&s->changed_us, memory_order_acquire);
		if (atomic_load_explicit(&s->seq, memory_order_relaxed) == seq)
			return e->ip_be != 0;
	}
	return false;
}

static void store(struct neigh_slot *s, const struct neigh_entry *e)
{
	uint32_t seq = atomic_load_explicit(&s->seq, memory_order_relaxed);

	assert((seq & 1) == 0);
	atomic_store_explicit(&s->seq, seq + 1, memory_order_relaxed);
	atomic_store_explicit(&s->ip_be, e->ip_be, memory_order_release);
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
	if (to->ip_be && to->state == NET_NEIGH_STATE_STATIC)
		return true;
	if (!from->ip_be || !used)
		return false;
	return from->ip_be != to->ip_be || neigh_usable(from) != neigh_usable(to) ||
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
	if (old.ip_be != e->ip_be) {
		bool wanted = e->state == NET_NEIGH_STATE_INCOMPLETE;

		atomic_store_explicit(&s->used_us, wanted ? e->since_us : 0, memory_order_relaxed);
	}
	store(s, e);
	if (e->ip_be)
		account(t, e, 1);
	/* pairs with the acquire in net_neigh_generation(): who sees it finds the entry */
	if (news)
		atomic_fetch_add_explicit(&t->generation, 1, memory_order_release);
}

/* -- searching ----------------------------------------------------------------------------- */

/* The finaliser of MurmurHash3 over the keyed address. */
static uint32_t hash(const struct net_neigh_table *t, uint32_t ip_be)
{
	uint64_t h = ip_be ^ t->hash_key;

	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(h ^ h >> 33);
}

static struct neigh_slot *window_slot(struct net_neigh_table *t, uint32_t start, uint32_t i)
{
	return &t->slot[(start + i) & t->slot_mask];
}

struct neigh_slot *net_neigh_slot_find(
	struct net_neigh_table *t, uint32_t ip_be, struct neigh_entry *e)
{
	uint32_t start = hash(t, ip_be);

	if (ip_be == 0)
		return NULL;
	for (uint32_t i = 0; i < NEIGH_WINDOW; i++) {
		struct neigh_slot *s = window_slot(t, start, i);

		if (atomic_load_explicit(&s->ip_be, memory_order_relaxed) != ip_be)
			continue;
		if (net_neigh_slot_read(s, e) && e->ip_be == ip_be)
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
	struct net_neigh_table *t, uint32_t ip_be, bool learned, uint64_t now_us)
{
	bool room = t->count < t->capacity && !(learned && t->learned >= t->learned_max);
	uint32_t start = hash(t, ip_be);

	assert(ip_be != 0);
	for (uint32_t i = 0; room && i < NEIGH_WINDOW; i++) {
		struct neigh_slot *s = window_slot(t, start, i);

		if (atomic_load_explicit(&s->ip_be, memory_order_relaxed) == 0)
			return s;
	}
	return pick_victim(t, start, learned ? WORTH_FAILED : WORTH_KEEPING, now_us);
}
