/* A set of numbers as sorted, disjoint, non-adjacent ranges. All zero is the empty set. */
#ifndef SIM_RANGES_H
#define SIM_RANGES_H

#include <stdbool.h>
#include <stdint.h>

struct sim_range {
	uint64_t start, end; /* end is exclusive */
};
struct sim_ranges {
	struct sim_range *range;
	uint32_t count, capacity;
};

void sim_ranges_fini(struct sim_ranges *s);
void sim_ranges_add(struct sim_ranges *s, uint64_t start, uint64_t end);
/* Whether all of [start, end) is in the set. */
bool sim_ranges_contain(const struct sim_ranges *s, uint64_t start, uint64_t end);
void sim_ranges_drop_below(struct sim_ranges *s, uint64_t start);

#endif
