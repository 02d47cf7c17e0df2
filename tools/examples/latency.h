/* Latencies in a histogram of constant size: 16 buckets for each power of two of nanoseconds, so
 * a percentile is right to about 6%. One writer; add them up with latency_merge(). */
#ifndef EXAMPLES_LATENCY_H
#define EXAMPLES_LATENCY_H

#include <stdint.h>

enum {
	LATENCY_SUB_LOG2 = 4,
	LATENCY_BUCKETS = (64 - LATENCY_SUB_LOG2 + 1) << LATENCY_SUB_LOG2,
};

struct latency {
	uint64_t count, max_ns;
	uint64_t bucket[LATENCY_BUCKETS];
};

void latency_add(struct latency *l, uint64_t ns);
void latency_merge(struct latency *to, const struct latency *from);

/* The value that `percent` of all do not exceed, in microseconds; 0 if there are none. */
double latency_percentile_us(const struct latency *l, double percent);

#endif
