#include <net/counters.h>

const struct net_counter_info net_counter_table[NET_COUNTER_COUNT] = {
#define X(name, help) {#name, help, offsetof(struct net_counters, name)},
#include "counters.def"
#undef X
};

const char *net_drop_name(enum net_drop why)
{
	if (why <= NET_DROP_NONE || why >= NET_DROP_COUNT)
		return "none";
	return net_counter_table[why - 1].name;
}
