/* The scoreboard against a model with a cell for each byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/score.h>

#include <stdlib.h>
#include <string.h>

enum {
	BYTES = 4000,
};

/* What is known of a byte. A time may be told later than it was, where records were joined. */
struct cell {
	uint32_t sent_us;
	uint32_t flags;
};

struct model {
	struct cell at[BYTES];
	uint64_t una, end;
};

static void check(struct tcp_score *s, const struct model *m)
{
	uint64_t pos = m->una;

	assert_int_equal(tcp_score_start(s, 0), m->una);
	for (uint32_t i = 0; i < s->count; i++) {
		const struct tcp_record *r = tcp_score_at(s, i);

		assert_true(r->end_pos > pos);
		for (; pos < r->end_pos; pos++) {
			assert_int_equal(r->flags, m->at[pos].flags);
			if (r->flags == 0)
				assert_true(r->sent_us >= m->at[pos].sent_us);
		}
	}
	assert_int_equal(pos, m->end);
	assert_true(s->count <= TCP_SCORE_RECORDS);
}

static void append(struct tcp_score *s, struct model *m, uint64_t n, uint32_t now_us)
{
	if (m->end + n > BYTES)
		return;
	if (!tcp_score_append(s, m->end + n, now_us))
		fail_msg("no room to append");
	for (; n > 0; n--)
		m->at[m->end++] = (struct cell){.sent_us = now_us};
}

static void acked(struct tcp_score *s, struct model *m, uint64_t n)
{
	uint64_t una = m->una + n < m->end ? m->una + n : m->end - 1;
	struct tcp_piece p;

	while (tcp_score_pop(s, una, &p)) {
		assert_int_equal(p.start_pos, m->una);
		assert_true(p.end_pos <= una);
		for (; m->una < p.end_pos; m->una++)
			assert_int_equal(p.flags, m->at[m->una].flags);
	}
	assert_int_equal(m->una, una);
}

/* SACKs that are refused leave the rest as it was. */
static bool sacked(struct tcp_score *s, struct model *m, uint64_t start, uint64_t end)
{
	uint64_t at = start, pos = start;
	struct tcp_piece p;
	bool full = false;

	while (tcp_score_sack(s, &at, end, &p, &full)) {
		assert_true(p.start_pos >= pos && p.end_pos <= end && p.start_pos < p.end_pos);
		for (; pos < p.start_pos; pos++)
			assert_int_equal(m->at[pos].flags, TCP_PIECE_SACKED);
		for (; pos < p.end_pos; pos++) {
			assert_int_equal(p.flags, m->at[pos].flags);
			m->at[pos].flags = TCP_PIECE_SACKED;
		}
	}
	for (; !full && pos < end; pos++)
		assert_int_equal(m->at[pos].flags, TCP_PIECE_SACKED);
	return !full;
}

static void lose(struct tcp_score *s, struct model *m, uint32_t before_us)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct tcp_record *r = tcp_score_at(s, i);

		if (r->flags & (TCP_PIECE_SACKED | TCP_PIECE_LOST) || r->sent_us >= before_us)
			continue;
		for (uint64_t pos = tcp_score_start(s, i); pos < r->end_pos; pos++)
			m->at[pos].flags |= TCP_PIECE_LOST;
		r->flags |= TCP_PIECE_LOST;
	}
	tcp_score_tidy(s);
}

static void resend(struct tcp_score *s, struct model *m, uint64_t most, uint32_t now_us)
{
	struct tcp_piece p;
	uint64_t end;

	if (!tcp_score_first_lost(s, &p))
		return;
	end = p.end_pos - p.start_pos > most ? p.start_pos + most : p.end_pos;
	assert_true(tcp_score_resend(s, p.start_pos, end, now_us));
	for (uint64_t pos = p.start_pos; pos < end; pos++) {
		assert_true(m->at[pos].flags & TCP_PIECE_LOST);
		m->at[pos] = (struct cell){now_us, TCP_PIECE_RESENT};
	}
}

static void run(unsigned int seed)
{
	static struct tcp_score s;
	static struct model m;
	uint32_t now_us = 1000;

	memset(&m, 0, sizeof(m));
	m.end = 100;
	for (uint64_t i = 0; i < m.end; i++)
		m.at[i].sent_us = now_us;
	tcp_score_init(&s, 0, m.end, now_us);
	for (unsigned int i = 0; i < 400; i++) {
		uint64_t flight = m.end - m.una, at;
		unsigned int what = (unsigned int)rand_r(&seed) % 16;

		now_us += (unsigned int)rand_r(&seed) % 20;
		at = m.una + (unsigned int)rand_r(&seed) % (unsigned int)flight;
		if (what < 8)
			append(&s, &m, 1 + (unsigned int)rand_r(&seed) % 20, now_us);
		else if (what < 9)
			acked(&s, &m, (unsigned int)rand_r(&seed) % 30);
		else if (what < 12)
			sacked(&s, &m, at, at + 1 + (m.end - at - 1) % 17);
		else if (what < 14)
			resend(&s, &m, 1 + (unsigned int)rand_r(&seed) % 10, now_us);
		else
			lose(&s, &m, now_us - (unsigned int)rand_r(&seed) % 100);
		check(&s, &m);
	}
}

static void test_score_given_random_steps_equals_model(void **state)
{
	(void)state;
	for (unsigned int seed = 0; seed < 300; seed++)
		run(seed);
}

static void test_score_given_more_bursts_than_records_joins_nearest(void **state)
{
	static struct tcp_score s;

	(void)state;
	tcp_score_init(&s, 0, 10, 0);
	for (uint32_t i = 1; i < TCP_SCORE_RECORDS; i++)
		assert_true(tcp_score_append(&s, 10 * (i + 1), 100 * i + (i == 50 ? 95 : 0)));
	assert_int_equal(s.count, TCP_SCORE_RECORDS);
	assert_true(tcp_score_append(&s, 10 * (TCP_SCORE_RECORDS + 1), 1000000));
	assert_int_equal(s.count, TCP_SCORE_RECORDS);
	assert_int_equal(tcp_score_at(&s, 50)->sent_us, 5100); /* 5095 went into it */
	assert_int_equal(tcp_score_start(&s, 50), 500);
	assert_int_equal(tcp_score_at(&s, 50)->end_pos, 520);
}

/* A peer that SACKs every other byte gets no further than the reserve. */
static void test_score_given_hostile_sacks_keeps_a_reserve(void **state)
{
	static struct tcp_score s;
	struct tcp_piece p;
	bool full = false;
	uint64_t pos = 1;

	(void)state;
	tcp_score_init(&s, 0, 100000, 0);
	for (; !full; pos += 2) {
		uint64_t at = pos;

		assert_true(tcp_score_sack(&s, &at, pos + 1, &p, &full) || full);
	}
	assert_true(s.count <= TCP_SCORE_RECORDS - TCP_SCORE_RESERVE);
	assert_true(tcp_score_append(&s, 100010, 5));
	for (uint32_t i = 0; i < s.count; i++)
		if (!(tcp_score_at(&s, i)->flags & TCP_PIECE_SACKED))
			tcp_score_at(&s, i)->flags |= TCP_PIECE_LOST;
	assert_true(tcp_score_resend(&s, 0, 1, 9));
	assert_int_equal(tcp_score_resent_bytes(&s), 1);
	assert_true(tcp_score_bytes(&s, TCP_PIECE_SACKED) > 50);
}

static void test_score_given_growing_block_needs_no_record(void **state)
{
	static struct tcp_score s;
	struct tcp_piece p;
	bool full = false;
	uint64_t at;

	(void)state;
	tcp_score_init(&s, 0, 1000, 0);
	for (uint64_t pos = 100; pos < 900; pos += 10) {
		at = 100;
		assert_true(tcp_score_sack(&s, &at, pos + 10, &p, &full));
		assert_int_equal(p.start_pos, pos);
		assert_int_equal(s.count, 3);
	}
	at = 50;
	assert_true(tcp_score_sack(&s, &at, 1000, &p, &full));
	assert_int_equal(p.end_pos, 100);
	assert_true(tcp_score_sack(&s, &at, 1000, &p, &full));
	assert_int_equal(p.start_pos, 900);
	assert_false(tcp_score_sack(&s, &at, 1000, &p, &full));
	assert_false(full);
	assert_int_equal(s.count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_score_given_random_steps_equals_model),
		cmocka_unit_test(test_score_given_more_bursts_than_records_joins_nearest),
		cmocka_unit_test(test_score_given_hostile_sacks_keeps_a_reserve),
		cmocka_unit_test(test_score_given_growing_block_needs_no_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
