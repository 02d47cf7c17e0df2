/* Records of what is in flight. The theory is in score.h. */
#include <tcp/score.h>

#include <stddef.h>
#include <string.h>

static uint32_t later(uint32_t a_us, uint32_t b_us)
{
	return (int32_t)(a_us - b_us) >= 0 ? a_us : b_us;
}

void tcp_score_init(struct tcp_score *s, uint64_t start_pos, uint64_t end_pos, uint32_t sent_us)
{
	assert(start_pos < end_pos); /* tcp_recovery_begin(): something is in flight */
	memset(s, 0, offsetof(struct tcp_score, rec));
	s->start_pos = start_pos;
	s->fack_pos = start_pos;
	s->rec[0] = (struct tcp_record){.end_pos = end_pos, .sent_us = sent_us};
	s->count = 1;
}

/* Of a SACKed or a lost piece it does not matter when it was sent. */
static bool records_alike(const struct tcp_record *a, const struct tcp_record *b)
{
	if (a->flags != b->flags)
		return false;
	return (a->flags & (TCP_PIECE_SACKED | TCP_PIECE_LOST)) || a->sent_us == b->sent_us;
}

static void score_remove(struct tcp_score *s, uint32_t i)
{
	s->count--;
	memmove(&s->rec[s->first + i], &s->rec[s->first + i + 1],
		(s->count - i) * sizeof(s->rec[0]));
}

/* Record i and the next become one. */
static void score_join(struct tcp_score *s, uint32_t i)
{
	struct tcp_record *a = tcp_score_at(s, i);
	struct tcp_record *b = tcp_score_at(s, i + 1);

	b->sent_us = later(a->sent_us, b->sent_us);
	score_remove(s, i);
}

/* Joins the two neighbours whose times differ least. False: no two are of one kind. */
static bool score_join_nearest(struct tcp_score *s)
{
	uint32_t best = UINT32_MAX, at = 0;

	for (uint32_t i = 0; i + 1 < s->count; i++) {
		const struct tcp_record *a = tcp_score_at(s, i);
		const struct tcp_record *b = tcp_score_at(s, i + 1);
		int32_t diff = (int32_t)(b->sent_us - a->sent_us);
		uint32_t cost = diff < 0 ? 0u - (uint32_t)diff : (uint32_t)diff;

		if (a->flags != b->flags || cost >= best)
			continue;
		best = cost;
		at = i;
	}
	if (best == UINT32_MAX)
		return false;
	score_join(s, at);
	return true;
}

/* Room for `n` records more behind those there are, in at most `most` altogether. */
static bool score_make_room(struct tcp_score *s, uint32_t n, uint32_t most)
{
	while (s->count + n > most)
		if (!score_join_nearest(s))
			return false;
	if (s->first + s->count + n > TCP_SCORE_RECORDS) {
		memmove(&s->rec[0], &s->rec[s->first], s->count * sizeof(s->rec[0]));
		s->first = 0;
	}
	return true;
}

/* Cuts record i in two at pos, which lies inside; there is room. */
static void score_split(struct tcp_score *s, uint32_t i, uint64_t pos)
{
	struct tcp_record *r = tcp_score_at(s, i);

	assert(tcp_score_start(s, i) < pos && pos < r->end_pos);
	memmove(r + 1, r, (s->count - i) * sizeof(*r));
	s->count++;
	r->end_pos = pos;
}

/* Index of the record that holds pos; count if it is past the end. */
static uint32_t score_find(const struct tcp_score *s, uint64_t pos)
{
	uint32_t lo = 0, hi = s->count;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (s->rec[s->first + mid].end_pos <= pos)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool tcp_score_append(struct tcp_score *s, uint64_t end_pos, uint32_t sent_us)
{
	struct tcp_record *last = tcp_score_at(s, s->count - 1);

	assert(last->end_pos <
		end_pos); /* the board ends at snd_nxt, and new data is never empty */
	if (last->flags == 0 && last->sent_us == sent_us) {
		last->end_pos = end_pos;
		return true;
	}
	if (!score_make_room(s, 1, TCP_SCORE_RECORDS))
		return false;
	s->rec[s->first + s->count] = (struct tcp_record){.end_pos = end_pos, .sent_us = sent_us};
	s->count++;
	return true;
}

bool tcp_score_pop(struct tcp_score *s, uint64_t una_pos, struct tcp_piece *piece)
{
	struct tcp_record *r;

	if (s->count == 0 || s->start_pos >= una_pos)
		return false;
	r = tcp_score_at(s, 0);
	*piece = (struct tcp_piece){s->start_pos, r->end_pos, r->sent_us, r->flags};
	if (r->end_pos > una_pos) {
		piece->end_pos = una_pos;
		s->start_pos = una_pos;
		return true;
	}
	s->start_pos = r->end_pos;
	s->first++;
	s->count--;
	return true;
}

/* SACKed neighbours of record i, which has just been SACKed, join it. */
static void score_join_sacked(struct tcp_score *s, uint32_t i)
{
	if (i + 1 < s->count && tcp_score_at(s, i + 1)->flags == TCP_PIECE_SACKED)
		score_join(s, i);
	if (i > 0 && tcp_score_at(s, i - 1)->flags == TCP_PIECE_SACKED)
		score_join(s, i - 1);
}

/* A part at the edge of a record whose neighbour there is SACKed moves over to it: that needs no
 * record, and is what a growing block looks like. */
static bool score_sack_edge(struct tcp_score *s, uint32_t i, const struct tcp_piece *piece)
{
	uint64_t start_pos = tcp_score_start(s, i);
	struct tcp_record *r = tcp_score_at(s, i);

	if (piece->start_pos == start_pos && piece->end_pos < r->end_pos && i > 0 &&
		tcp_score_at(s, i - 1)->flags == TCP_PIECE_SACKED) {
		tcp_score_at(s, i - 1)->end_pos = piece->end_pos;
		return true;
	}
	if (piece->end_pos == r->end_pos && piece->start_pos > start_pos && i + 1 < s->count &&
		tcp_score_at(s, i + 1)->flags == TCP_PIECE_SACKED) {
		r->end_pos = piece->start_pos;
		return true;
	}
	return false;
}

/* Makes [start, end) of record i a record of its own; there is room for two. Its index. */
static uint32_t score_cut_out(struct tcp_score *s, uint32_t i, uint64_t start_pos, uint64_t end_pos)
{
	if (end_pos < tcp_score_at(s, i)->end_pos)
		score_split(s, i, end_pos);
	if (start_pos == tcp_score_start(s, i))
		return i;
	score_split(s, i, start_pos);
	return i + 1;
}

bool tcp_score_sack(struct tcp_score *s, uint64_t *at_pos, uint64_t end_pos,
	struct tcp_piece *piece, bool *full)
{
	uint64_t at = *at_pos > s->start_pos ? *at_pos : s->start_pos;
	uint32_t i = score_find(s, at);
	const struct tcp_record *r;

	while (i < s->count && tcp_score_at(s, i)->flags == TCP_PIECE_SACKED)
		at = tcp_score_at(s, i++)->end_pos;
	if (i == s->count || at >= end_pos)
		return false;
	r = tcp_score_at(s, i);
	*piece = (struct tcp_piece){
		at, r->end_pos < end_pos ? r->end_pos : end_pos, r->sent_us, r->flags};
	*at_pos = piece->end_pos;
	if (score_sack_edge(s, i, piece))
		return true;
	if (!score_make_room(s, 2, TCP_SCORE_RECORDS - TCP_SCORE_RESERVE)) {
		*full = true;
		return false;
	}
	i = score_cut_out(s, score_find(s, at), at, piece->end_pos);
	tcp_score_at(s, i)->flags = TCP_PIECE_SACKED;
	score_join_sacked(s, i);
	return true;
}

bool tcp_score_first_lost(const struct tcp_score *s, struct tcp_piece *piece)
{
	for (uint32_t i = 0; i < s->count; i++) {
		const struct tcp_record *r = &s->rec[s->first + i];

		if (!(r->flags & TCP_PIECE_LOST))
			continue;
		*piece =
			(struct tcp_piece){tcp_score_start(s, i), r->end_pos, r->sent_us, r->flags};
		return true;
	}
	return false;
}

bool tcp_score_resend(struct tcp_score *s, uint64_t start_pos, uint64_t end_pos, uint32_t sent_us)
{
	struct tcp_record *r;
	uint32_t i;

	if (!score_make_room(s, 2, TCP_SCORE_RECORDS))
		return false;
	i = score_find(s, start_pos);
	/* It was found in the board in this turn; making room only joins records. */
	assert(i < s->count && end_pos <= tcp_score_at(s, i)->end_pos);
	i = score_cut_out(s, i, start_pos, end_pos);
	r = tcp_score_at(s, i);
	r->flags = TCP_PIECE_RESENT;
	r->sent_us = sent_us;
	if (i > 0 && records_alike(tcp_score_at(s, i - 1), r))
		score_join(s, i - 1);
	return true;
}

void tcp_score_tidy(struct tcp_score *s)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < s->count; i++) {
		struct tcp_record *into = tcp_score_at(s, n);
		const struct tcp_record *r = tcp_score_at(s, i);

		if (records_alike(into, r)) {
			into->end_pos = r->end_pos;
			into->sent_us = later(into->sent_us, r->sent_us);
		} else {
			*tcp_score_at(s, ++n) = *r;
		}
	}
	if (s->count > 0)
		s->count = n + 1;
}

uint64_t tcp_score_bytes(const struct tcp_score *s, uint32_t flags)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->count; i++)
		if (s->rec[s->first + i].flags & flags)
			n += s->rec[s->first + i].end_pos - tcp_score_start(s, i);
	return n;
}

uint64_t tcp_score_resent_bytes(const struct tcp_score *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < s->count; i++)
		if (s->rec[s->first + i].flags == TCP_PIECE_RESENT)
			n += s->rec[s->first + i].end_pos - tcp_score_start(s, i);
	return n;
}
