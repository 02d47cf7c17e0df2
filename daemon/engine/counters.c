#include <engine/counters.h>

const struct engine_counter_info engine_counter_table[ENGINE_COUNTER_COUNT] = {
#define X(name, help) {#name, help, offsetof(struct engine_counters, name)},
#include "counters.def"
#undef X
};
