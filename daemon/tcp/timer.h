/* The timing wheel: when each entry wants to be looked at.
 *
 * Every entry has one deadline, the earliest thing it waits for (retransmission, delayed
 * ACK, keepalive, 2 MSL ...). On a busy connection that deadline moves outward with every
 * acknowledgement and hardly ever comes. So the wheel is lazy: a deadline that moves out
 * costs one comparison, the entry stays armed for the old time, and when that comes the
 * wheel finds the newer deadline and arms it again. Only a deadline that moves in relinks.
 *
 * Time is cut into ticks of 1024 us. Level 0 has a slot for each of the next 64 ticks,
 * level 1 for each 64 ticks, and so on; nine levels hold every 64-bit time, so that nothing
 * has to be clamped. An entry due at tick T lies at the level of the highest group of six
 * bits in which T differs from the wheel's own tick, in the slot that this group of T names.
 * A slot of a higher level is due when its first tick comes; its entries then either expire
 * or fall to a lower level. From this placement follow the invariants that expiry rests on:
 *
 *   - in each level every used slot lies at or behind the group of the current tick, so the
 *     next slot of a level is a find-first-set;
 *   - the earliest of these nine is the next time anything can happen: the wheel jumps there
 *     and never walks through empty slots;
 *   - the wheel's tick passes a slot only when it is empty: expiry may stop anywhere (a full
 *     array, a spent budget) and go on later.
 *
 * A slot has several lists, which expiry takes an entry of in turn: those behind are mostly out of
 * the cache by then, and come side by side rather than each when the one before it has.
 *
 * An entry never expires early, and at most one tick after its deadline once expiry has
 * caught up. Lists are intrusive and pointer-free: `next`, `prev` and `slot` of struct
 * tcp_entry are the wheel's; `slot` is TCP_SLOT_NONE in an entry that is in none, which is how
 * an entry must come to its first tcp_wheel_update(). After a restart the wheel is rebuilt: set
 * slot to TCP_SLOT_NONE and update, for each live entry.
 */
#ifndef TCP_TIMER_H
#define TCP_TIMER_H

#include <tcp/tcp.h>

enum {
	TCP_WHEEL_TICK_US = 1024,
	TCP_WHEEL_LEVELS = 9, /* 9 * 6 bits of ticks, 10 bits of microseconds: all 64 */
	TCP_WHEEL_SLOTS = 64,
	TCP_WHEEL_GROUP_BITS = 6,
	TCP_WHEEL_LANES = 8, /* lists of a slot */
};

struct tcp_wheel_slot {
	tcp_ref head[TCP_WHEEL_LANES];
};

/* Fields belong to timer.c; the type is public for embedding only. */
struct tcp_wheel {
	const struct tcp_space *space;
	uint64_t now_tick;
	uint64_t used[TCP_WHEEL_LEVELS]; /* bit per slot that has entries */
	struct tcp_wheel_slot slots[TCP_WHEEL_LEVELS * TCP_WHEEL_SLOTS];
	unsigned int lane; /* that expiry took from last */
};

/* An empty wheel that stands at now_us. *space must outlive it. */
void tcp_wheel_init(struct tcp_wheel *w, const struct tcp_space *space, uint64_t now_us);

/* The first tick of a used slot: it lies in the same group of the next level as the wheel. */
static inline uint64_t tcp_wheel_slot_tick(const struct tcp_wheel *w, unsigned int slot)
{
	unsigned int shift = slot / TCP_WHEEL_SLOTS * TCP_WHEEL_GROUP_BITS;
	uint64_t here = w->now_tick >> shift;

	return (here - here % TCP_WHEEL_SLOTS + slot % TCP_WHEEL_SLOTS) << shift;
}

/* Nothing to do for tcp_wheel_update(), as nearly always: the wheel looks at the entry in time. */
static inline bool tcp_wheel_holds(const struct tcp_wheel *w, const struct tcp_entry *e)
{
	uint64_t tick = e->deadline_us / TCP_WHEEL_TICK_US + !!(e->deadline_us % TCP_WHEEL_TICK_US);

	if (e->deadline_us == UINT64_MAX)
		return true;
	return e->slot != TCP_SLOT_NONE && (tcp_wheel_slot_tick(w, e->slot) <= tick ||
						   tcp_wheel_slot_tick(w, e->slot) <= w->now_tick);
}

/* Heeds entry->deadline_us, whatever it was before. UINT64_MAX (never) leaves an armed entry
 * where it is, to be dropped when its time comes. O(1). */
void tcp_wheel_update(struct tcp_wheel *w, tcp_ref ref);

/* Takes the entry out if it is in; must precede its release. O(1). */
void tcp_wheel_remove(struct tcp_wheel *w, tcp_ref ref);

/* Moves time to now_us (never back) and takes out up to `max` entries whose deadline has
 * passed, in refs[]; returns how many. The caller serves each one and calls
 * tcp_wheel_update() or releases it; serving one may release others that are still in
 * refs[], which the caller must check for. Looks at 4 * max + 64 entries at most: there may be
 * more to do even when it returns less than max, and then tcp_wheel_next_us() <= now_us. */
unsigned int tcp_wheel_expire(
	struct tcp_wheel *w, uint64_t now_us, tcp_ref *refs, unsigned int max);

/* When the wheel will look at the entry; UINT64_MAX: it is in no slot. For checks. */
uint64_t tcp_wheel_armed_us(const struct tcp_wheel *w, const struct tcp_entry *e);

/* How long nothing can expire: sleep until then and call tcp_wheel_expire(). Never later
 * than the tick that the earliest deadline falls into ends, often earlier; UINT64_MAX when
 * the wheel is empty. O(1). */
uint64_t tcp_wheel_next_us(const struct tcp_wheel *w);

#endif
