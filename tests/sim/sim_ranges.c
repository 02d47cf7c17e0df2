#include "sim_ranges.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void sim_ranges_fini(struct sim_ranges *s)
{
	free(s->range);
	*s = (struct sim_ranges){0};
}

/* Index of the first range that ends at or behind `at`. */
static uint32_t find(const struct sim_ranges *s, uint64_t at)
{
	uint32_t lo = 0, hi = s->count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (s->range[mid].end < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Ranges [from, to) become one range. */
static void replace(struct sim_ranges *s, uint32_t from, uint32_t to, struct sim_range r)
{
	if (s->count + 1 > s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 16;
		s->range = realloc(s->range, s->capacity * sizeof(*s->range));
		assert(s->range);
	}
	memmove(&s->range[from + 1], &s->range[to], (s->count - to) * sizeof(*s->range));
	s->range[from] = r;
	s->count += 1 - (to - from);
}

void sim_ranges_add(struct sim_ranges *s, uint64_t start, uint64_t end)
{
	uint32_t from = find(s, start), to = from;
	struct sim_range r = {start, end};

	if (start >= end)
		return;
	for (; to < s->count && s->range[to].start <= end; to++) {
		if (s->range[to].start < r.start)
			r.start = s->range[to].start;
		if (s->range[to].end > r.end)
			r.end = s->range[to].end;
	}
	replace(s, from, to, r);
}

bool sim_ranges_contain(const struct sim_ranges *s, uint64_t start, uint64_t end)
{
	uint32_t i = find(s, end);

	return i < s->count && s->range[i].start <= start;
}

void sim_ranges_drop_below(struct sim_ranges *s, uint64_t start)
{
	uint32_t n = find(s, start);

	if (n < s->count && s->range[n].end == start)
		n++;
	s->count -= n;
	if (n > 0)
		memmove(s->range, s->range + n, s->count * sizeof(*s->range));
	if (s->count && s->range[0].start < start)
		s->range[0].start = start;
}
