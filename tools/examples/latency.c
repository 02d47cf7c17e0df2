/* Theory of operation: latency.h. Values below 16 have a bucket each; above, the bucket is made
 * of the exponent and the four bits below the leading one. */
#include "latency.h"

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t shift;

	if (ns < 1u << LATENCY_SUB_LOG2)
		return (uint32_t)ns;
	shift = 63 - LATENCY_SUB_LOG2 - (uint32_t)__builtin_clzll(ns);
	return ((shift + 1) << LATENCY_SUB_LOG2) + (uint32_t)(ns >> shift) -
	       (1u << LATENCY_SUB_LOG2);
}

/* The least value of the next bucket. */
static uint64_t bucket_end(uint32_t i)
{
	uint32_t shift = (i >> LATENCY_SUB_LOG2) - 1;
	uint64_t mantissa = (i & ((1u << LATENCY_SUB_LOG2) - 1)) + (1u << LATENCY_SUB_LOG2);

	return i < 1u << LATENCY_SUB_LOG2 ? i + 1 : (mantissa + 1) << shift;
}

void latency_add(struct latency *l, uint64_t ns)
{
	l->count++;
	l->bucket[bucket_of(ns)]++;
	if (ns > l->max_ns)
		l->max_ns = ns;
}

void latency_merge(struct latency *to, const struct latency *from)
{
	to->count += from->count;
	if (from->max_ns > to->max_ns)
		to->max_ns = from->max_ns;
	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
}

double latency_percentile_us(const struct latency *l, double percent)
{
	uint64_t below = 0;

	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
		uint64_t end = bucket_end(i);

		below += l->bucket[i];
		if (l->count && (double)below >= (double)l->count * percent / 100)
			return (double)(end < l->max_ns ? end : l->max_ns) / 1000;
	}
	return 0;
}
