/* Theory of operation: histogram.h. */
#include "histogram.h"

enum {
	SUB = 1 << HISTOGRAM_SUB_BITS,
};

/* A value keeps its highest seven bits; `shift` tells how many it lost. */
static unsigned int bucket_of(uint64_t value)
{
	unsigned int shift =
		value < 2 * SUB ? 0
				: 63u - HISTOGRAM_SUB_BITS - (unsigned int)__builtin_clzll(value);

	return shift * SUB + (unsigned int)(value >> shift);
}

/* The largest value of a bucket. */
static uint64_t upper_edge(unsigned int bucket)
{
	unsigned int shift = bucket < 2 * SUB ? 0 : bucket / SUB - 1;

	return ((uint64_t)(bucket - shift * SUB) << shift) + ((UINT64_C(1) << shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->count++;
	h->buckets[bucket_of(value)]++;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
	double wanted = share * (double)h->count;
	uint64_t seen = 0;

	for (unsigned int b = 0; b < HISTOGRAM_BUCKETS; b++) {
		seen += h->buckets[b];
		if (h->buckets[b] > 0 && (double)seen >= wanted)
			return upper_edge(b) < h->max ? upper_edge(b) : h->max;
	}
	return h->max;
}
