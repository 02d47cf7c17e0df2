/* The placement rule and its invariants are told in timer.h. */
#include <tcp/timer.h>

enum {
	GROUP_BITS = TCP_WHEEL_GROUP_BITS,
	NO_SLOT = -1,
};

static uint64_t tick_of(uint64_t deadline_us)
{
	uint64_t tick = deadline_us / TCP_WHEEL_TICK_US;

	if (deadline_us % TCP_WHEEL_TICK_US && tick < UINT64_MAX / TCP_WHEEL_TICK_US)
		tick++;
	return tick;
}

static uint64_t group(uint64_t tick, unsigned int level)
{
	return tick >> (GROUP_BITS * level);
}

/* The list of a slot that an entry is in. */
static tcp_ref *lane_of(struct tcp_wheel *w, unsigned int slot, tcp_ref ref)
{
	return &w->slots[slot].head[tcp_ref_idx(ref) % TCP_WHEEL_LANES];
}

static bool is_empty(const struct tcp_wheel_slot *s)
{
	for (unsigned int i = 0; i < TCP_WHEEL_LANES; i++)
		if (s->head[i] != (tcp_ref)TCP_REF_NONE)
			return false;
	return true;
}

static void link_entry(struct tcp_wheel *w, tcp_ref ref, uint64_t tick)
{
	struct tcp_entry *e = tcp_space_entry(w->space, ref);
	uint64_t diff = tick ^ w->now_tick;
	unsigned int level = diff ? (63 - (unsigned int)__builtin_clzll(diff)) / GROUP_BITS : 0;
	unsigned int idx = group(tick, level) % TCP_WHEEL_SLOTS;
	tcp_ref *head = lane_of(w, level * TCP_WHEEL_SLOTS + idx, ref);

	assert(tick >= w->now_tick && level < TCP_WHEEL_LEVELS);
	e->slot = (uint16_t)(level * TCP_WHEEL_SLOTS + idx);
	e->prev = (tcp_ref)TCP_REF_NONE;
	e->next = *head;
	if (*head != (tcp_ref)TCP_REF_NONE)
		tcp_space_entry(w->space, *head)->prev = ref;
	*head = ref;
	w->used[level] |= UINT64_C(1) << idx;
}

static void unlink_entry(struct tcp_wheel *w, tcp_ref ref, struct tcp_entry *e)
{
	unsigned int level = e->slot / TCP_WHEEL_SLOTS;
	unsigned int idx = e->slot % TCP_WHEEL_SLOTS;

	assert(level < TCP_WHEEL_LEVELS);
	if (e->next != (tcp_ref)TCP_REF_NONE)
		tcp_space_entry(w->space, e->next)->prev = e->prev;
	if (e->prev != (tcp_ref)TCP_REF_NONE)
		tcp_space_entry(w->space, e->prev)->next = e->next;
	else
		*lane_of(w, e->slot, ref) = e->next;
	if (e->next == (tcp_ref)TCP_REF_NONE && is_empty(&w->slots[e->slot]))
		w->used[level] &= ~(UINT64_C(1) << idx);
	e->slot = TCP_SLOT_NONE;
}

/* The used slot that comes due first, and its first tick; NO_SLOT if the wheel is empty. */
static int next_slot(const struct tcp_wheel *w, uint64_t *first_tick)
{
	int slot = NO_SLOT;

	*first_tick = UINT64_MAX;
	for (unsigned int level = 0; level < TCP_WHEEL_LEVELS; level++) {
		unsigned int here = group(w->now_tick, level) % TCP_WHEEL_SLOTS;
		uint64_t ahead = w->used[level] >> here;
		unsigned int idx;
		uint64_t tick;

		assert(ahead << here == w->used[level]);
		if (!ahead)
			continue;
		idx = here + (unsigned int)__builtin_ctzll(ahead);
		tick = tcp_wheel_slot_tick(w, level * TCP_WHEEL_SLOTS + idx);
		if (tick < *first_tick) {
			*first_tick = tick;
			slot = (int)(level * TCP_WHEEL_SLOTS + idx);
		}
	}
	return slot;
}

void tcp_wheel_init(struct tcp_wheel *w, const struct tcp_space *space, uint64_t now_us)
{
	w->space = space;
	w->now_tick = now_us / TCP_WHEEL_TICK_US;
	w->lane = 0;
	memset(w->used, 0, sizeof(w->used));
	for (unsigned int slot = 0; slot < TCP_WHEEL_LEVELS * TCP_WHEEL_SLOTS; slot++)
		for (unsigned int i = 0; i < TCP_WHEEL_LANES; i++)
			w->slots[slot].head[i] = (tcp_ref)TCP_REF_NONE;
}

void tcp_wheel_update(struct tcp_wheel *w, tcp_ref ref)
{
	struct tcp_entry *e = tcp_space_entry(w->space, ref);
	uint64_t tick = tick_of(e->deadline_us);

	if (tcp_wheel_holds(w, e))
		return;
	if (e->slot != TCP_SLOT_NONE)
		unlink_entry(w, ref, e);
	link_entry(w, ref, tick < w->now_tick ? w->now_tick : tick);
}

void tcp_wheel_remove(struct tcp_wheel *w, tcp_ref ref)
{
	struct tcp_entry *e = tcp_space_entry(w->space, ref);

	if (e->slot != TCP_SLOT_NONE)
		unlink_entry(w, ref, e);
}

/* The first entry of the next list of a slot that is not empty. */
static tcp_ref next_entry(struct tcp_wheel *w, int slot)
{
	const struct tcp_wheel_slot *s = &w->slots[slot];

	do
		w->lane = (w->lane + 1) % TCP_WHEEL_LANES;
	while (s->head[w->lane] == (tcp_ref)TCP_REF_NONE);
	return s->head[w->lane];
}

unsigned int tcp_wheel_expire(struct tcp_wheel *w, uint64_t now_us, tcp_ref *refs, unsigned int max)
{
	uint64_t end_tick = now_us / TCP_WHEEL_TICK_US;
	uint64_t budget = (uint64_t)max * 4 + 64;
	unsigned int n = 0;

	while (n < max && budget--) {
		uint64_t tick;
		int slot = next_slot(w, &tick);
		struct tcp_entry *e;
		tcp_ref ref;

		if (slot == NO_SLOT || tick > end_tick) {
			if (end_tick > w->now_tick)
				w->now_tick = end_tick;
			break;
		}
		if (tick > w->now_tick)
			w->now_tick = tick;
		ref = next_entry(w, slot);
		e = tcp_space_entry(w->space, ref);
		unlink_entry(w, ref, e); /* which fetches the one behind it */
		if (e->deadline_us <= now_us)
			refs[n++] = ref;
		else
			tcp_wheel_update(w, ref);
	}
	return n;
}

uint64_t tcp_wheel_armed_us(const struct tcp_wheel *w, const struct tcp_entry *e)
{
	return e->slot == TCP_SLOT_NONE ? UINT64_MAX
					: tcp_wheel_slot_tick(w, e->slot) * TCP_WHEEL_TICK_US;
}

uint64_t tcp_wheel_next_us(const struct tcp_wheel *w)
{
	uint64_t tick;

	return next_slot(w, &tick) == NO_SLOT ? UINT64_MAX : tick * TCP_WHEEL_TICK_US;
}
