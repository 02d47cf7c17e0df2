/* Out-of-order ranges. The theory is in reasm.h; 32 ranges are searched one by one, since a list
 * that short fits a few cache lines and is nearly always empty. */
#include <tcp/reasm.h>

#include <string.h>

void tcp_reasm_init(struct tcp_reasm *r)
{
	r->fin_pos = UINT64_MAX;
	r->count = 0;
	r->recent_count = 0;
}

/* Index of the first range that ends at or behind pos; count if there is none. */
static uint32_t reasm_find(const struct tcp_reasm *r, uint64_t pos)
{
	uint32_t i = 0;

	while (i < r->count && r->range[i].end_pos < pos)
		i++;
	return i;
}

bool tcp_reasm_gap(const struct tcp_reasm *r, uint64_t start_pos, uint64_t end_pos,
	struct tcp_reasm_range *gap)
{
	uint32_t i = reasm_find(r, start_pos);

	while (i < r->count && r->range[i].start_pos <= start_pos) {
		if (r->range[i].end_pos > start_pos)
			start_pos = r->range[i].end_pos;
		i++;
	}
	if (start_pos >= end_pos)
		return false;
	gap->start_pos = start_pos;
	gap->end_pos = end_pos;
	if (i < r->count && r->range[i].start_pos < end_pos)
		gap->end_pos = r->range[i].start_pos;
	return true;
}

bool tcp_reasm_has_room(const struct tcp_reasm *r, uint64_t start_pos)
{
	uint32_t i;

	if (r->count < TCP_REASM_RANGES)
		return true;
	i = reasm_find(r, start_pos);
	return i < r->count && r->range[i].end_pos == start_pos;
}

static void reasm_remove(struct tcp_reasm *r, uint32_t i)
{
	r->count--;
	memmove(&r->range[i], &r->range[i + 1], (r->count - i) * sizeof(r->range[0]));
}

void tcp_reasm_add(struct tcp_reasm *r, uint64_t start_pos, uint64_t end_pos)
{
	uint32_t i = reasm_find(r, start_pos);

	/* What is added filled a gap, or its beginning: it neither is empty nor reaches into a
	 * range, and tcp_reasm_has_room() was asked. All this text_fill() sees to, whatever the
	 * segment. */
	assert(start_pos < end_pos);
	if (i < r->count && r->range[i].end_pos == start_pos) {
		r->range[i].end_pos = end_pos;
		if (i + 1 < r->count && r->range[i + 1].start_pos == end_pos) {
			r->range[i].end_pos = r->range[i + 1].end_pos;
			reasm_remove(r, i + 1);
		}
		assert(i + 1 >= r->count || r->range[i + 1].start_pos > r->range[i].end_pos);
		return;
	}
	if (i < r->count && r->range[i].start_pos == end_pos) {
		r->range[i].start_pos = start_pos;
		return;
	}
	assert(r->count < TCP_REASM_RANGES);
	assert(i == r->count || r->range[i].start_pos > end_pos);
	memmove(&r->range[i + 1], &r->range[i], (r->count - i) * sizeof(r->range[0]));
	r->range[i].start_pos = start_pos;
	r->range[i].end_pos = end_pos;
	r->count++;
}

uint64_t tcp_reasm_advance(struct tcp_reasm *r, uint64_t pos)
{
	uint64_t end_pos;

	assert(r->count == 0 ||
		r->range[0].start_pos >= pos); /* RCV.NXT moves through gaps alone */
	if (r->count == 0 || r->range[0].start_pos > pos)
		return pos;
	end_pos = r->range[0].end_pos;
	reasm_remove(r, 0);
	return end_pos;
}

/* -- what the peer is told ------------------------------------------------------------------ */

/* The range that covers pos; count if there is none. */
static uint32_t reasm_covering(const struct tcp_reasm *r, uint64_t pos)
{
	uint32_t i = reasm_find(r, pos + 1);

	return i < r->count && r->range[i].start_pos <= pos ? i : r->count;
}

/* Of one range the latest position is enough. */
void tcp_reasm_note(struct tcp_reasm *r, uint64_t pos)
{
	uint32_t range = reasm_covering(r, pos), n = 0;
	uint64_t kept[TCP_REASM_RECENT];

	if (range == r->count)
		return;
	for (uint32_t i = 0; i < r->recent_count && n < TCP_REASM_RECENT - 1; i++) {
		uint32_t other = reasm_covering(r, r->recent_pos[i]);

		if (other != range && other != r->count)
			kept[n++] = r->recent_pos[i];
	}
	r->recent_pos[0] = pos;
	memcpy(&r->recent_pos[1], kept, n * sizeof(kept[0]));
	r->recent_count = n + 1;
}

static bool reasm_is_in(
	const struct tcp_reasm_range *out, uint32_t n, const struct tcp_reasm_range *range)
{
	for (uint32_t i = 0; i < n; i++)
		if (out[i].start_pos == range->start_pos)
			return true;
	return false;
}

uint32_t tcp_reasm_report(const struct tcp_reasm *r, struct tcp_reasm_range *out, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->recent_count && n < max; i++) {
		uint32_t range = reasm_covering(r, r->recent_pos[i]);

		if (range < r->count && !reasm_is_in(out, n, &r->range[range]))
			out[n++] = r->range[range];
	}
	for (uint32_t i = 0; i < r->count && n < max; i++)
		if (!reasm_is_in(out, n, &r->range[i]))
			out[n++] = r->range[i];
	return n;
}

bool tcp_reasm_overlap(const struct tcp_reasm *r, uint64_t start_pos, uint64_t end_pos,
	struct tcp_reasm_range *part)
{
	uint32_t i = reasm_find(r, start_pos + 1);

	if (i == r->count || r->range[i].start_pos >= end_pos)
		return false;
	*part = r->range[i];
	if (part->start_pos < start_pos)
		part->start_pos = start_pos;
	if (part->end_pos > end_pos)
		part->end_pos = end_pos;
	return true;
}
