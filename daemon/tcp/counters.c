#include <tcp/counters.h>

const struct tcp_counter_info tcp_counter_table[TCP_COUNTER_COUNT] = {
#define X(name, help) {#name, help, offsetof(struct tcp_counters, name)},
#include "counters.def"
#undef X
};
