/* The table that names the control plane's counters. */
#include <ctl/counters.h>

const struct ctl_counter_info ctl_counter_table[CTL_COUNTER_COUNT] = {
#define X(name, help) {#name, help, offsetof(struct ctl_counters, name)},
#include "counters.def"
#undef X
};
