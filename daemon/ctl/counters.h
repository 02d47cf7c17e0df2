/* Counters of the control plane: main thread only. The list is counters.def. */
#ifndef CTL_COUNTERS_H
#define CTL_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

struct ctl_counters {
#define X(name, help) uint64_t name;
#include "counters.def"
#undef X
};

/* A row of the table: `help` is one sentence without a full stop. */
struct ctl_counter_info {
	const char *name;
	const char *help;
	size_t offset_bytes;
};

enum { CTL_COUNTER_COUNT = sizeof(struct ctl_counters) / sizeof(uint64_t) };
extern const struct ctl_counter_info ctl_counter_table[CTL_COUNTER_COUNT];

#endif
