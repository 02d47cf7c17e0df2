/* Two connections over a bad link: whatever the link does, the bytes arrive, equal and in order,
 * and both ends come to their end. Each seed is one case; a seed that fails names itself. */
#include "pair.h"

static int running = -1; /* the seed being run */

static int name_seed(void **state)
{
	(void)state;
	if (running >= 0)
		print_error("failed with PAIR_SEED=%d\n", running);
	running = -1;
	return 0;
}

static struct pair *pair_new(unsigned int seed, struct pair_link link)
{
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	pair_init(p, seed, link);
	return p;
}

static void pair_free(struct pair *p)
{
	pair_fini(p);
	free(p);
}

static void check_ends(const struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		const struct tcp_conn *c = &p->end[i].h.c;

		assert_int_equal(c->error, 0);
		assert_true(c->state == TCP_TIME_WAIT || c->state == TCP_CLOSED);
		assert_false(p->end[i].h.reasm_used);
		assert_false(p->end[i].h.score_used);
		assert_int_equal(p->end[i].checked_pos, p->end[!i].total_bytes);
	}
}

static struct pair_link random_link(unsigned int seed)
{
	unsigned int rng = seed * 7919 + 1;

	return (struct pair_link){
		.loss_percent = (unsigned int)rand_r(&rng) % 11,
		.dup_percent = (unsigned int)rand_r(&rng) % 11,
		.reorder_percent = (unsigned int)rand_r(&rng) % 31,
		.delay_us = 50 + (unsigned int)rand_r(&rng) % 40000,
		.jitter_us = 1 + (unsigned int)rand_r(&rng) % 60000,
	};
}

/* Everything that a configuration can change, drawn from the seed. */
static void randomise(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		struct host *h = &p->end[i].h;

		h->cfg.timestamps = pair_random(p, 4) != 0;
		h->cfg.window_scale = pair_random(p, 4) != 0;
		h->cfg.sack = pair_random(p, 4) != 0;
		h->cfg.tso_max_bytes = pair_random(p, 2) ? 65536 : 0;
		h->cfg.rcvbuf_max_bytes = 65536u << pair_random(p, 8);
		h->rcvbuf_bytes = 3000 + pair_random(p, 100000);
		h->cfg.rcvbuf_bytes = (uint32_t)h->rcvbuf_bytes;
		h->cfg.mss_max_bytes = pair_random(p, 3) ? 1460 : 100 + pair_random(p, 1300);
		p->end[i].total_bytes = pair_random(p, 5) ? pair_random(p, 120000) : 0;
		p->end[i].chunk_max = pair_random(p, 2) ? 20000 : 200;
		h->refuse_percent = pair_random(p, 4) ? 0 : pair_random(p, 10);
		h->rng = p->rng;
		p->end[i].lazy_reader = pair_random(p, 3) == 0;
	}
}

static void run_seed(unsigned int seed, bool both_open)
{
	struct pair *p = pair_new(seed, random_link(seed));

	running = (int)seed;
	randomise(p);
	if (both_open)
		pair_connect_both(p);
	else
		pair_connect(p);
	pair_run(p);
	pair_check_received(p, 0);
	pair_check_received(p, 1);
	check_ends(p);
	pair_free(p);
	running = -1;
}

static void test_pair_given_bad_link_delivers_all(void **state)
{
	const char *only = getenv("PAIR_SEED"), *count = getenv("PAIR_SEEDS");
	unsigned int seeds = count ? (unsigned int)atoi(count) : 400;

	(void)state;
	if (only) { /* one seed again, to look at it */
		run_seed((unsigned int)atoi(only), atoi(only) >= 1000000);
		return;
	}
	for (unsigned int seed = 0; seed < seeds; seed++)
		run_seed(seed, false);
}

static void test_pair_given_simultaneous_open_delivers_all(void **state)
{
	(void)state;
	for (unsigned int seed = 1000000; seed < 1000100; seed++)
		run_seed(seed, true);
}

static void test_pair_given_good_link_loses_and_repeats_nothing(void **state)
{
	struct pair *p = pair_new(1, (struct pair_link){.delay_us = 100});

	(void)state;
	p->end[0].total_bytes = 2000000;
	p->end[1].total_bytes = 1000000;
	for (int i = 0; i < 2; i++) {
		p->end[i].h.rcvbuf_bytes = 400000;
		p->end[i].h.cfg.rcvbuf_bytes = 400000;
	}
	pair_connect(p);
	pair_run(p);
	check_ends(p);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(p->end[i].h.counters.retransmitted_segs, 0);
		assert_int_equal(p->end[i].h.counters.rto_timeouts, 0);
		assert_int_equal(p->end[i].h.counters.dup_acks, 0);
		assert_true(p->end[i].h.c.srtt_us >= 200 && p->end[i].h.c.srtt_us < 50000);
	}
	pair_free(p);
}

/* Ten losses in a hundred and a megabyte: recovery, not time-outs alone, carries it. */
static void test_pair_given_loss_uses_fast_retransmit(void **state)
{
	struct pair *p = pair_new(3, (struct pair_link){.loss_percent = 2, .delay_us = 5000});

	(void)state;
	p->end[0].total_bytes = 2000000;
	p->end[1].h.rcvbuf_bytes = 400000;
	pair_connect(p);
	pair_run(p);
	check_ends(p);
	assert_true(p->end[0].h.counters.fast_retransmits > 5);
	assert_true(p->end[0].h.counters.rto_timeouts < p->end[0].h.counters.fast_retransmits);
	pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_pair_given_bad_link_delivers_all, name_seed),
		cmocka_unit_test_teardown(
			test_pair_given_simultaneous_open_delivers_all, name_seed),
		cmocka_unit_test(test_pair_given_good_link_loses_and_repeats_nothing),
		cmocka_unit_test(test_pair_given_loss_uses_fast_retransmit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
