/* The rules of the neighbour table: see neigh.h for the life of an entry and neigh_slots.h for
 * how entries are kept. Each writer here has one shape: find without the lock and return if
 * there is nothing to do, which is the common case; otherwise take the lock, find again, and
 * decide on what is there then.
 */
#include "neigh_slots.h"

#include <errno.h>

#include <net/packet.h>

static const char *const state_names[] = {
	[NET_NEIGH_STATE_FREE] = "NONE",
	[NET_NEIGH_STATE_INCOMPLETE] = "INCOMPLETE",
	[NET_NEIGH_STATE_REACHABLE] = "REACHABLE",
	[NET_NEIGH_STATE_STALE] = "STALE",
	[NET_NEIGH_STATE_PROBE] = "PROBE",
	[NET_NEIGH_STATE_FAILED] = "FAILED",
	[NET_NEIGH_STATE_STATIC] = "PERMANENT",
};
static_assert(sizeof(state_names) / sizeof(state_names[0]) == NET_NEIGH_STATE_COUNT,
	"a name for each state");

const char *net_neigh_state_name(enum net_neigh_state state)
{
	return state < NET_NEIGH_STATE_COUNT ? state_names[state] : "?";
}

/* -- making -------------------------------------------------------------------------------- */

static uint32_t slots_for(uint32_t capacity)
{
	uint32_t slots = 1;

	while (slots < 2 * capacity)
		slots *= 2;
	return slots;
}

size_t net_neigh_size(uint32_t capacity)
{
	if (capacity < NET_NEIGH_CAPACITY_MIN || capacity > NET_NEIGH_CAPACITY_MAX)
		return 0;
	return sizeof(struct net_neigh_table) + slots_for(capacity) * sizeof(struct neigh_slot);
}

struct net_neigh_table *net_neigh_init(void *mem, uint32_t capacity, uint64_t hash_key)
{
	struct net_neigh_table *t = mem;

	assert(net_neigh_size(capacity) != 0);
	assert((uintptr_t)mem % NET_NEIGH_ALIGN == 0);
	memset(mem, 0, net_neigh_size(capacity));
	t->hash_key = hash_key;
	t->slot_mask = slots_for(capacity) - 1;
	t->capacity = capacity;
	t->incomplete_max = capacity / 8;
	t->learned_max = capacity / 8;
	return t;
}

uint64_t net_neigh_generation(const struct net_neigh_table *t)
{
	return atomic_load_explicit(&t->generation, memory_order_acquire);
}

/* -- looking up and resolving ------------------------------------------------------------------ */

static void note_use(struct neigh_slot *s, uint64_t now_us)
{
	uint64_t used_us = neigh_used_us(s);

	if (used_us == 0 || neigh_age_us(now_us, used_us) >= NEIGH_USED_US)
		atomic_store_explicit(&s->used_us, now_us ? now_us : 1, memory_order_relaxed);
}

static bool failed_lately(const struct neigh_entry *e, uint64_t now_us)
{
	return e->state == NET_NEIGH_STATE_FAILED &&
	       neigh_age_us(now_us, e->since_us) < NET_NEIGH_FAILED_US;
}

/* A miss is confirmed under the lock: if a reader that a writer kept waiting took a neighbour
 * that is known for unknown, nothing would ever wake what it parked. */
static struct neigh_slot *find_locked(
	struct net_neigh_table *t, const struct net_addr *addr, struct neigh_entry *e)
{
	struct neigh_slot *s;

	net_neigh_lock(t);
	s = net_neigh_slot_find(t, addr, e);
	net_neigh_unlock(t);
	return s;
}

enum net_neigh_result net_neigh_lookup(struct net_neigh_table *t, const struct net_addr *addr,
	uint64_t now_us, struct net_mac *mac)
{
	struct neigh_entry e;
	struct neigh_slot *s = net_neigh_slot_find(t, addr, &e);

	if (!s)
		s = find_locked(t, addr, &e);
	if (!s)
		return NET_NEIGH_NEED_RESOLVE;
	if (!neigh_usable(&e))
		return failed_lately(&e, now_us) ? NET_NEIGH_FAILED : NET_NEIGH_NEED_RESOLVE;
	note_use(s, now_us);
	*mac = e.mac;
	return NET_NEIGH_FOUND;
}

bool net_neigh_has_failed(struct net_neigh_table *t, const struct net_addr *addr, uint64_t now_us)
{
	struct neigh_entry e;

	return net_neigh_slot_find(t, addr, &e) && failed_lately(&e, now_us);
}

/* Is the answer of net_neigh_resolve() already known from the entry? */
static bool resolve_settled(const struct neigh_entry *e, uint64_t now_us, int *result)
{
	*result = failed_lately(e, now_us) ? -EHOSTUNREACH : 0;
	return *result != 0 || e->state != NET_NEIGH_STATE_FAILED;
}

static int resolve_locked(struct net_neigh_table *t, const struct net_addr *addr,
	uint32_t incomplete_max, uint64_t now_us)
{
	struct neigh_entry e;
	struct neigh_slot *s = net_neigh_slot_find(t, addr, &e);
	int result;

	if (s && resolve_settled(&e, now_us, &result))
		return result;
	if (t->incomplete >= incomplete_max)
		return -ENOBUFS;
	if (!s)
		s = net_neigh_slot_pick(t, addr, false, now_us);
	if (!s)
		return -ENOBUFS;
	e = (struct neigh_entry){
		.addr = *addr,
		.state = NET_NEIGH_STATE_INCOMPLETE,
		.requests = 1,
		.since_us = now_us ? now_us : 1,
		.changed_us = now_us,
	};
	net_neigh_slot_write(t, s, &e);
	return 1;
}

static int resolve(struct net_neigh_table *t, const struct net_addr *addr, uint32_t incomplete_max,
	uint64_t now_us)
{
	struct neigh_entry e;
	int result;

	if (net_addr_is_any(addr))
		return -EHOSTUNREACH;
	if (net_neigh_slot_find(t, addr, &e) && resolve_settled(&e, now_us, &result))
		return result;
	net_neigh_lock(t);
	result = resolve_locked(t, addr, incomplete_max, now_us);
	net_neigh_unlock(t);
	return result;
}

int net_neigh_resolve(struct net_neigh_table *t, const struct net_addr *addr, uint64_t now_us)
{
	return resolve(t, addr, t->incomplete_max, now_us);
}

int net_neigh_resolve_stranger(
	struct net_neigh_table *t, const struct net_addr *addr, uint64_t now_us)
{
	return resolve(t, addr, t->incomplete_max / 2, now_us);
}

/* -- learning -------------------------------------------------------------------------------- */

/* Why news about an address that nobody asked for teaches nothing. */
static enum net_drop unasked(const struct net_addr *addr, enum net_neigh_source source)
{
	bool reply = source == NET_NEIGH_FROM_REPLY || source == NET_NEIGH_FROM_WEAK_REPLY;

	if (net_addr_is_ip4(addr))
		return reply ? NET_DROP_arp_unsolicited : NET_DROP_arp_not_ours;
	return reply ? NET_DROP_nd_unsolicited : NET_DROP_nd_not_ours;
}

/* Was there a request that this reply answers? */
static bool is_solicited(const struct neigh_entry *e, enum net_neigh_source source)
{
	return (source == NET_NEIGH_FROM_REPLY || source == NET_NEIGH_FROM_WEAK_REPLY) &&
	       (e->state == NET_NEIGH_STATE_INCOMPLETE || e->state == NET_NEIGH_STATE_PROBE);
}

static bool is_weak(enum net_neigh_source source)
{
	return source == NET_NEIGH_FROM_WEAK_REPLY || source == NET_NEIGH_FROM_WEAK_OTHER;
}

/* Another MAC without Override: the one known stays, but is to be confirmed at the next use. */
static enum net_drop doubt(struct neigh_entry *e, uint64_t now_us, bool *changed)
{
	if (e->state == NET_NEIGH_STATE_REACHABLE) {
		e->state = NET_NEIGH_STATE_STALE;
		e->since_us = now_us;
		*changed = true;
	}
	return NET_DROP_neigh_weak;
}

/* What the news makes of an existing entry. Sets *changed. As in Linux with arp_accept=0: any
 * packet may move an entry to another MAC, once a second; unlike there, only an answer to a
 * request confirms that the neighbour hears us (RFC 4861 section 7.2.5). */
static enum net_drop learn(struct neigh_entry *e, const struct net_mac *mac,
	enum net_neigh_source source, uint64_t now_us, bool *changed)
{
	bool known = neigh_usable(e);
	bool same = known && net_mac_equal(&e->mac, mac);

	*changed = false;
	if (e->state == NET_NEIGH_STATE_STATIC)
		return same ? NET_DROP_NONE : NET_DROP_neigh_static;
	if (known && !same && is_weak(source))
		return doubt(e, now_us, changed);
	if (known && !same && neigh_age_us(now_us, e->changed_us) < NET_NEIGH_LOCK_US)
		return NET_DROP_neigh_locked;
	if (same && !is_solicited(e, source))
		return NET_DROP_NONE;
	if (is_solicited(e, source)) {
		e->state = NET_NEIGH_STATE_REACHABLE;
		e->learned = false;
	} else {
		e->state = NET_NEIGH_STATE_STALE;
	}
	e->requests = 0;
	e->since_us = now_us;
	if (!same)
		e->changed_us = now_us;
	e->mac = *mac;
	*changed = true;
	return NET_DROP_NONE;
}

static enum net_drop make_learned(struct net_neigh_table *t, const struct net_addr *addr,
	const struct net_mac *mac, uint64_t now_us)
{
	struct neigh_slot *s = net_neigh_slot_pick(t, addr, true, now_us);
	struct neigh_entry e = {
		.addr = *addr,
		.mac = *mac,
		.state = NET_NEIGH_STATE_STALE,
		.learned = true,
		.since_us = now_us,
		.changed_us = now_us,
	};

	if (!s)
		return NET_DROP_neigh_full;
	net_neigh_slot_write(t, s, &e);
	return NET_DROP_NONE;
}

static enum net_drop update_locked(struct net_neigh_table *t, const struct net_addr *addr,
	const struct net_mac *mac, enum net_neigh_source source, uint64_t now_us)
{
	struct neigh_entry e;
	struct neigh_slot *s = net_neigh_slot_find(t, addr, &e);
	enum net_drop why;
	bool changed;

	if (!s && source == NET_NEIGH_FROM_REQUEST)
		return make_learned(t, addr, mac, now_us);
	if (!s)
		return unasked(addr, source); /* it went since we looked */
	why = learn(&e, mac, source, now_us, &changed);
	if (changed)
		net_neigh_slot_write(t, s, &e);
	return why;
}

enum net_drop net_neigh_update(struct net_neigh_table *t, const struct net_addr *addr,
	const struct net_mac *mac, enum net_neigh_source source, uint64_t now_us)
{
	struct neigh_entry e;
	struct neigh_slot *s = net_neigh_slot_find(t, addr, &e);
	enum net_drop why = NET_DROP_NONE;
	bool changed;

	if (net_addr_is_any(addr))
		return NET_DROP_arp_bad_ip;
	if (!s && source != NET_NEIGH_FROM_REQUEST)
		return unasked(addr, source);
	if (s) {
		why = learn(&e, mac, source, now_us, &changed);
		if (!changed)
			return why;
	}
	net_neigh_lock(t);
	why = update_locked(t, addr, mac, source, now_us);
	net_neigh_unlock(t);
	return why;
}

/* -- the administrator ------------------------------------------------------------------------ */

int net_neigh_set_static(struct net_neigh_table *t, const struct net_addr *addr,
	const struct net_mac *mac, uint64_t now_us)
{
	struct neigh_entry old, e = {
					.addr = *addr,
					.mac = *mac,
					.state = NET_NEIGH_STATE_STATIC,
					.since_us = now_us,
					.changed_us = now_us,
				};
	struct neigh_slot *s;

	if (net_addr_is_any(addr) || net_mac_is_group(mac) || net_mac_is_zero(mac))
		return -EINVAL;
	net_neigh_lock(t);
	s = net_neigh_slot_find(t, addr, &old);
	if (!s)
		s = net_neigh_slot_pick(t, addr, false, now_us);
	if (s)
		net_neigh_slot_write(t, s, &e);
	net_neigh_unlock(t);
	return s ? 0 : -ENOBUFS;
}

int net_neigh_delete(struct net_neigh_table *t, const struct net_addr *addr)
{
	static const struct neigh_entry none;
	struct neigh_entry e;
	struct neigh_slot *s;

	net_neigh_lock(t);
	s = net_neigh_slot_find(t, addr, &e);
	if (s)
		net_neigh_slot_write(t, s, &none);
	net_neigh_unlock(t);
	return s ? 0 : -ENOENT;
}

/* -- time ------------------------------------------------------------------------------------ */

enum turn {
	TURN_NOTHING,
	TURN_CHANGE,
	TURN_CHANGE_AND_REQUEST,
};

/* Another request, or the end of patience. */
static enum turn age_waiting(struct neigh_entry *e, uint64_t now_us)
{
	unsigned int max = NET_NEIGH_REQUESTS_MAX;

	if (e->state == NET_NEIGH_STATE_PROBE)
		max *= 2; /* unicast, then broadcast */
	if (neigh_age_us(now_us, e->since_us) < NET_NEIGH_RETRANS_US)
		return TURN_NOTHING;
	e->since_us = now_us;
	if (e->requests < max) {
		e->requests++;
		return TURN_CHANGE_AND_REQUEST;
	}
	e->requests = 0;
	e->mac = (struct net_mac){{0}};
	e->state = NET_NEIGH_STATE_FAILED;
	return TURN_CHANGE;
}

static enum turn age_stale(struct neigh_entry *e, uint64_t used_us, uint64_t now_us)
{
	uint64_t last_us = used_us > e->since_us ? used_us : e->since_us;

	if (used_us != 0 && used_us >= e->since_us) {
		e->state = NET_NEIGH_STATE_PROBE;
		e->requests = 1;
		e->since_us = now_us;
		return TURN_CHANGE_AND_REQUEST;
	}
	if (neigh_age_us(now_us, last_us) < NET_NEIGH_UNUSED_US)
		return TURN_NOTHING;
	*e = (struct neigh_entry){0};
	return TURN_CHANGE;
}

/* What time makes of an entry: changes *e and says whether a request is due. */
static enum turn age(struct neigh_entry *e, uint64_t used_us, uint64_t now_us)
{
	uint64_t in_state_us = neigh_age_us(now_us, e->since_us);

	switch ((enum net_neigh_state)e->state) {
	case NET_NEIGH_STATE_INCOMPLETE:
	case NET_NEIGH_STATE_PROBE:
		return age_waiting(e, now_us);
	case NET_NEIGH_STATE_STALE:
		return age_stale(e, used_us, now_us);
	case NET_NEIGH_STATE_REACHABLE:
		if (in_state_us < NET_NEIGH_REACHABLE_US)
			return TURN_NOTHING;
		e->state = NET_NEIGH_STATE_STALE;
		e->since_us = now_us;
		return TURN_CHANGE;
	case NET_NEIGH_STATE_FAILED:
		if (in_state_us < NET_NEIGH_FAILED_US)
			return TURN_NOTHING;
		*e = (struct neigh_entry){0};
		return TURN_CHANGE;
	default:
		return TURN_NOTHING;
	}
}

static struct net_neigh_request request_for(const struct neigh_entry *e)
{
	bool unicast = e->state == NET_NEIGH_STATE_PROBE && e->requests <= NET_NEIGH_REQUESTS_MAX;

	return (struct net_neigh_request){
		.addr = e->addr,
		.dst = unicast ? e->mac : net_mac_broadcast,
	};
}

/* Ages one slot, looking first without the lock. */
static enum turn tick_slot(struct net_neigh_table *t, struct neigh_slot *s, uint64_t now_us,
	struct net_neigh_request *request)
{
	enum turn turn = TURN_NOTHING;
	struct neigh_entry e;

	if (!net_neigh_slot_read(s, &e) || age(&e, neigh_used_us(s), now_us) == TURN_NOTHING)
		return TURN_NOTHING;
	net_neigh_lock(t);
	if (net_neigh_slot_read(s, &e))
		turn = age(&e, neigh_used_us(s), now_us);
	if (turn != TURN_NOTHING)
		net_neigh_slot_write(t, s, &e);
	net_neigh_unlock(t);
	if (turn == TURN_CHANGE_AND_REQUEST)
		*request = request_for(&e);
	return turn;
}

unsigned int net_neigh_tick(struct net_neigh_table *t, uint64_t now_us,
	struct net_neigh_request *out, unsigned int out_max)
{
	uint32_t first = t->cursor, i = 0;
	unsigned int out_count = 0;

	for (; i <= t->slot_mask && out_count < out_max; i++) {
		struct neigh_slot *s = &t->slot[(first + i) & t->slot_mask];

		if (!neigh_slot_is_free(s) &&
			tick_slot(t, s, now_us, &out[out_count]) == TURN_CHANGE_AND_REQUEST)
			out_count++;
	}
	t->cursor = (first + i) & t->slot_mask;
	return out_count;
}

/* -- showing --------------------------------------------------------------------------------- */

bool net_neigh_next(const struct net_neigh_table *t, uint32_t *cursor, struct net_neigh_info *info)
{
	while (*cursor <= t->slot_mask) {
		const struct neigh_slot *s = &t->slot[(*cursor)++];
		struct neigh_entry e;

		if (!net_neigh_slot_read(s, &e))
			continue;
		*info = (struct net_neigh_info){
			.addr = e.addr,
			.mac = e.mac,
			.state = (enum net_neigh_state)e.state,
			.used_us = neigh_used_us(s),
			.changed_us = e.changed_us,
		};
		return true;
	}
	return false;
}

void net_neigh_usage_get(struct net_neigh_table *t, struct net_neigh_usage *usage)
{
	net_neigh_lock(t);
	*usage = (struct net_neigh_usage){
		.capacity = t->capacity,
		.count = t->count,
		.incomplete = t->incomplete,
		.incomplete_max = t->incomplete_max,
		.learned = t->learned,
		.learned_max = t->learned_max,
	};
	net_neigh_unlock(t);
}
