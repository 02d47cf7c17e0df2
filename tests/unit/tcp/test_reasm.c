#include "host.h"

/* A slow and obvious model: one byte a position. */
enum {
	SPACE = 256,
};

static unsigned int model_ranges(const uint8_t *m)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < SPACE; i++)
		n += m[i] && (i == 0 || !m[i - 1]);
	return n;
}

static void check_equal(const struct tcp_reasm *r, const uint8_t *m)
{
	uint8_t got[SPACE] = {0};

	assert_int_equal(r->count, model_ranges(m));
	for (uint32_t i = 0; i < r->count; i++) {
		assert_true(r->range[i].start_pos < r->range[i].end_pos);
		if (i > 0)
			assert_true(r->range[i - 1].end_pos < r->range[i].start_pos);
		for (uint64_t p = r->range[i].start_pos; p < r->range[i].end_pos; p++)
			got[p] = 1;
	}
	assert_memory_equal(got, m, SPACE);
}

static void fill(struct tcp_reasm *r, uint8_t *m, uint64_t start, uint64_t end)
{
	struct tcp_reasm_range gap;

	while (tcp_reasm_gap(r, start, end, &gap)) {
		for (uint64_t p = start; p < gap.start_pos; p++)
			assert_true(m[p]);
		for (uint64_t p = gap.start_pos; p < gap.end_pos; p++)
			assert_false(m[p]);
		if (!tcp_reasm_has_room(r, gap.start_pos)) {
			assert_int_equal(r->count, TCP_REASM_RANGES);
			assert_false(gap.start_pos > 0 && m[gap.start_pos - 1]);
			return;
		}
		tcp_reasm_add(r, gap.start_pos, gap.end_pos);
		memset(m + gap.start_pos, 1, gap.end_pos - gap.start_pos);
		check_equal(r, m);
		start = gap.end_pos;
	}
	for (uint64_t p = start; p < end; p++)
		assert_true(m[p]);
}

static void test_reasm_given_random_ranges_equals_model(void **state)
{
	unsigned int full = 0;

	(void)state;
	for (unsigned int seed = 0; seed < 400; seed++) {
		struct tcp_reasm r;
		uint8_t m[SPACE] = {0};
		unsigned int rng = seed;

		tcp_reasm_init(&r);
		for (unsigned int i = 0; i < 200; i++) {
			uint64_t start = (unsigned int)rand_r(&rng) % SPACE;
			uint64_t len = 1 + (unsigned int)rand_r(&rng) % (seed % 2 ? 3 : 12);
			uint64_t end = start + len < SPACE ? start + len : SPACE;

			fill(&r, m, start, end);
			full += r.count == TCP_REASM_RANGES;
		}
	}
	assert_true(full > 0);
}

static void test_reasm_given_touching_ranges_merges(void **state)
{
	struct tcp_reasm r;

	(void)state;
	tcp_reasm_init(&r);
	tcp_reasm_add(&r, 10, 20);
	tcp_reasm_add(&r, 30, 40);
	tcp_reasm_add(&r, 20, 30);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.range[0].start_pos, 10);
	assert_int_equal(r.range[0].end_pos, 40);
	tcp_reasm_add(&r, 5, 10);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.range[0].start_pos, 5);
}

static void test_reasm_given_advance_drops_touched_range(void **state)
{
	struct tcp_reasm r;

	(void)state;
	tcp_reasm_init(&r);
	assert_int_equal(tcp_reasm_advance(&r, 7), 7);
	tcp_reasm_add(&r, 10, 20);
	tcp_reasm_add(&r, 30, 40);
	assert_int_equal(tcp_reasm_advance(&r, 9), 9);
	assert_int_equal(tcp_reasm_advance(&r, 10), 20);
	assert_int_equal(r.count, 1);
	assert_int_equal(tcp_reasm_advance(&r, 30), 40);
	assert_int_equal(r.count, 0);
}

static void test_reasm_given_32_ranges_refuses_another(void **state)
{
	struct tcp_reasm r;

	(void)state;
	tcp_reasm_init(&r);
	for (uint64_t i = 0; i < TCP_REASM_RANGES; i++) {
		assert_true(tcp_reasm_has_room(&r, 10 * i));
		tcp_reasm_add(&r, 10 * i, 10 * i + 5);
	}
	assert_false(tcp_reasm_has_room(&r, 1000));
	assert_false(tcp_reasm_has_room(&r, 7));
	assert_true(tcp_reasm_has_room(&r, 5));
	tcp_reasm_add(&r, 5, 10);
	assert_int_equal(r.count, TCP_REASM_RANGES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reasm_given_random_ranges_equals_model),
		cmocka_unit_test(test_reasm_given_touching_ranges_merges),
		cmocka_unit_test(test_reasm_given_advance_drops_touched_range),
		cmocka_unit_test(test_reasm_given_32_ranges_refuses_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
