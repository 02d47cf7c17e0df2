/* Counters of daemon/tcp: why a segment was dropped, and what else happened.
 *
 * One writer, the engine that owns the tcp_ctx; others read relaxed. The list is counters.def.
 * A function that judges a segment before it belongs to anybody (tcp_segment_parse) returns an
 * `enum tcp_drop` and counts nothing; its caller hands the verdict to tcp_drop_count().
 */
#ifndef TCP_COUNTERS_H
#define TCP_COUNTERS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum tcp_drop {
	TCP_DROP_NONE,
#define X(name, help) TCP_DROP_##name,
#include "counters.def"
#undef X
	TCP_DROP_COUNT
};

struct tcp_counters {
#define X(name, help) uint64_t name;
#include "counters.def"
#undef X
};
static_assert(sizeof(struct tcp_counters) == (TCP_DROP_COUNT - 1) * sizeof(uint64_t),
	"a field for each value but NONE");

/* A row of the table: `help` is one sentence without a full stop. */
struct tcp_counter_info {
	const char *name;
	const char *help;
	size_t offset_bytes; /* of the field in struct tcp_counters */
};

enum { TCP_COUNTER_COUNT = TCP_DROP_COUNT - 1 };
extern const struct tcp_counter_info tcp_counter_table[TCP_COUNTER_COUNT];

/* Counts a verdict; TCP_DROP_NONE counts nothing. */
static inline void tcp_drop_count(struct tcp_counters *c, enum tcp_drop why)
{
	if (why != TCP_DROP_NONE)
		((uint64_t *)c)[why - 1]++;
}

#endif
