/* A histogram of 64-bit values with 64 buckets for each power of two: what it tells is too high
 * by at most 1/64 and never too low, whatever the range, in 30 KB. Values below 128 are exact.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_SUB_BITS = 6,
	HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

/* All zero: empty. */
struct histogram {
	uint64_t count, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The smallest value known to be no less than the given share of all, from 0 to 1, of the values;
 * 0 if there are none. */
uint64_t histogram_quantile(const struct histogram *h, double share);

#endif
