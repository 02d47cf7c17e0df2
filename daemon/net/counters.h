/* Counters of daemon/net: why a frame was dropped, and what else happened.
 *
 * A parse function returns an `enum net_drop`: NET_DROP_NONE to go on, otherwise the reason.
 * It counts nothing itself; the engine hands the verdict to net_drop_count() with the
 * counters that it alone writes. The list is counters.def.
 */
#ifndef NET_COUNTERS_H
#define NET_COUNTERS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum net_drop {
	NET_DROP_NONE,
#define X(name, help) NET_DROP_##name,
#include "counters.def"
#undef X
	NET_DROP_COUNT
};

/* One writer: an engine. Fields in the order of counters.def. */
struct net_counters {
#define X(name, help) uint64_t name;
#include "counters.def"
#undef X
};
static_assert(sizeof(struct net_counters) == (NET_DROP_COUNT - 1) * sizeof(uint64_t),
	"a field for each reason but NONE");

/* A row of the table: names match the fields; `help` is one sentence without a full stop. */
struct net_counter_info {
	const char *name;
	const char *help;
	size_t offset_bytes; /* of the field in struct net_counters */
};

enum { NET_COUNTER_COUNT = NET_DROP_COUNT - 1 };
extern const struct net_counter_info net_counter_table[NET_COUNTER_COUNT];

/* Counts a verdict; NET_DROP_NONE counts nothing. */
static inline void net_drop_count(struct net_counters *c, enum net_drop why)
{
	if (why != NET_DROP_NONE)
		((uint64_t *)c)[why - 1]++;
}

/* The name of a verdict, "none" for NET_DROP_NONE. Static storage. */
const char *net_drop_name(enum net_drop why);

#endif
