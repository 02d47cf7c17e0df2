/* Counters of daemon/engine: one writer (the engine), read relaxed by the main thread. */
#ifndef ENGINE_COUNTERS_H
#define ENGINE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

struct engine_counters {
#define X(name, help) uint64_t name;
#include "counters.def"
#undef X
};

/* A row of the table: `help` is one sentence without a full stop. */
struct engine_counter_info {
	const char *name;
	const char *help;
	size_t offset_bytes;
};

enum { ENGINE_COUNTER_COUNT = sizeof(struct engine_counters) / sizeof(uint64_t) };
extern const struct engine_counter_info engine_counter_table[ENGINE_COUNTER_COUNT];

#endif
