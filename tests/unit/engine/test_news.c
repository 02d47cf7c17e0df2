/* What a sender is told of acknowledgements: the end of them, and every quarter of its buffer. */
#include "fixture.h"

static uint64_t events_while_sending(struct pair p, uint32_t bytes)
{
	uint64_t before = f.here->events;

	send_bytes(p.here, 0x41, bytes);
	for (int i = 0; i < 100; i++) {
		run_ms(20);
		read_bytes(p.there, 0x41);
	}
	assert_int_equal(p.here->acked_pos, p.here->sent_pos);
	return f.here->events - before;
}

static void test_news_given_one_segment_acked_tells(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	assert_int_equal(events_while_sending(p, 100), 1);
	assert_int_equal(p.here->acked_pos, 100);
}

static void test_news_given_many_segments_tells_by_quarters(void **state)
{
	struct pair p = open_pair(f.here);
	uint32_t quarter = p.here->sndbuf_bytes / 4;
	uint32_t bytes = p.here->sndbuf_bytes - 1;
	uint64_t acks = engine_tcp_counters(engine_of(0))->segs_in;
	uint64_t events = events_while_sending(p, bytes);

	(void)state;
	acks = engine_tcp_counters(engine_of(0))->segs_in - acks;
	assert_in_range(events, 1, bytes / quarter + 1);
	assert_true(acks > events); /* or this would prove nothing */
}

/* Whatever the last acknowledgement leaves open, a quarter or less is not told of. */
static void test_news_given_peer_that_stops_reading_lags_less_than_a_quarter(void **state)
{
	struct pair p = open_pair(f.here);
	struct tcp_conn *c = conn_at(engine_of(0), sock_at(engine_of(0), p.here->handle.idx)->conn);
	uint32_t quarter = p.here->sndbuf_bytes / 4;

	(void)state;
	for (int i = 0; i < 200; i++) {
		sim_sock_send(p.here, (const uint8_t[512]){0}, 512, false);
		run_ms(5);
		assert_true(c->snd_una_pos - p.here->acked_pos < quarter);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(test_news_given_one_segment_acked_tells),
		T(test_news_given_many_segments_tells_by_quarters),
		T(test_news_given_peer_that_stops_reading_lags_less_than_a_quarter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
