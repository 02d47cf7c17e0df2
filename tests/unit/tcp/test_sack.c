/* RFC 2018 and RFC 2883, the receiver's side: which blocks an ACK carries. */
#include "single.h"

enum {
	MSS = 1460,
};

static int setup(void **state)
{
	(void)state;
	host_init(&h);
	host_establish(&h, (struct host_open){.wnd = 60000, .sack = true});
	return 0;
}

static void data(uint32_t seq, uint32_t len)
{
	host_input(&h, TCP_ACK, seq, 1, 60000, len);
}

static struct tcp_options options(const struct tcp_out *o)
{
	struct tcp_options opt;

	assert_int_equal(tcp_options_parse(&opt, o->opt, o->opt_len, o->flags), 0);
	return opt;
}

/* The blocks of a segment, relative to the peer's initial number. */
#define assert_blocks(o, ...)                                                                      \
	do {                                                                                       \
		const uint32_t want_[] = {__VA_ARGS__};                                            \
		struct tcp_options opt_ = options(o);                                              \
		assert_int_equal(opt_.sack_count, sizeof(want_) / sizeof(want_[0]) / 2);           \
		for (unsigned int i_ = 0; i_ < opt_.sack_count; i_++) {                            \
			assert_int_equal(opt_.sack[i_].start - PEER_ISS, want_[2 * i_]);           \
			assert_int_equal(opt_.sack[i_].end - PEER_ISS, want_[2 * i_ + 1]);         \
		}                                                                                  \
	} while (0)

static void test_sack_given_gap_reports_range(void **state)
{
	(void)state;
	data(101, 100);
	assert_blocks(host_output_one(&h), 101, 201);
	data(201, 100);
	assert_blocks(host_output_one(&h), 101, 301);
	data(1, 100); /* fills the gap: nothing is left to report */
	host_output_one(&h);
	assert_int_equal(h.out[0].opt_len, 0);
	assert_int_equal(h.extra.rcv_ooo_segs, 2);
}

/* RFC 2018 section 4: the first block holds the segment that provoked the ACK, then the
 * most recent ones before. */
static void test_sack_given_many_gaps_reports_latest_first(void **state)
{
	(void)state;
	data(101, 100);
	data(301, 100);
	data(501, 100);
	data(701, 100);
	host_output(&h);
	data(901, 100);
	assert_blocks(host_output_one(&h), 901, 1001, 701, 801, 501, 601, 301, 401);
	data(401, 50);
	assert_blocks(host_output_one(&h), 301, 451, 901, 1001, 701, 801, 501, 601);
	data(201, 100); /* joins two */
	assert_blocks(host_output_one(&h), 101, 451, 901, 1001, 701, 801, 501, 601);
	data(1, 100);
	assert_blocks(host_output_one(&h), 901, 1001, 701, 801, 501, 601);
}

static void test_sack_given_timestamps_reports_three(void **state)
{
	(void)state;
	host_fini(&h);
	host_init(&h);
	host_establish(&h, (struct host_open){.wnd = 60000, .sack = true, .ts = true});
	for (uint32_t i = 0; i < 4; i++)
		data(101 + 200 * i, 100);
	host_output(&h);
	assert_blocks(&h.out[0], 701, 801, 501, 601, 301, 401);
}

static void test_sack_given_refused_data_reports_what_is_kept(void **state)
{
	(void)state;
	h.store_budget = 30;
	data(101, 100);
	assert_blocks(host_output_one(&h), 101, 131);
	data(301, 100);
	assert_blocks(host_output_one(&h), 101, 131);
}

static void test_sack_given_not_permitted_reports_nothing(void **state)
{
	(void)state;
	host_fini(&h);
	host_init(&h);
	host_establish(&h, (struct host_open){.wnd = 60000});
	data(101, 100);
	host_output_one(&h);
	assert_int_equal(h.out[0].opt_len, 0);
	data(101, 100);
	host_output_one(&h);
	assert_int_equal(h.out[0].opt_len, 0);
	assert_int_equal(h.counters.dsacks_sent, 0);
}

/* RFC 2883 section 4.1: below the cumulative acknowledgement. Reported once. */
static void test_dsack_given_old_data_reports_it_once(void **state)
{
	(void)state;
	data(1, 300);
	host_output(&h);
	data(101, 100);
	assert_blocks(host_output_one(&h), 101, 201);
	h.c.owe |= TCP_OWE_ACK;
	host_output_one(&h);
	assert_int_equal(h.out[0].opt_len, 0);
	data(201, 200); /* the front half is old */
	h.c.owe |= TCP_OWE_ACK;
	assert_blocks(host_output_one(&h), 201, 301);
	assert_int_equal(h.counters.dsacks_sent, 2);
}

/* RFC 2883 section 4.2: within the out-of-order data; its range follows as second block. */
static void test_dsack_given_overlap_reports_it_and_its_range(void **state)
{
	(void)state;
	data(101, 100);
	data(201, 100);
	data(501, 100);
	host_output(&h);
	data(201, 50);
	assert_blocks(host_output_one(&h), 201, 251, 101, 301, 501, 601);
	data(401, 150); /* partly new */
	assert_blocks(host_output_one(&h), 501, 551, 401, 601, 101, 301);
}

/* Data from before the stream is nobody's: a forger's, or a keepalive's. */
static void test_dsack_given_data_before_the_stream_reports_nothing(void **state)
{
	struct tcp_segment s = host_segment(&h, TCP_ACK, 1, 1, 60000, 50);

	(void)state;
	s.seq = PEER_ISS - 60;
	host_deliver(&h, &s);
	host_output_one(&h);
	assert_int_equal(h.out[0].opt_len, 0);
	s.seq = PEER_ISS; /* the SYN's number */
	s.len = 1;
	host_deliver(&h, &s);
	host_output_one(&h);
	assert_int_equal(h.out[0].opt_len, 0);
}

static void test_dsack_given_data_with_fin_again_leaves_the_fin_out(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK | TCP_FIN, 1, 1, 60000, 100);
	host_output(&h);
	data(51, 51); /* the FIN's number taken for data */
	assert_blocks(host_output_one(&h), 51, 101);
}

/* A full segment has no room for blocks: a bare ACK carries them. */
static void test_sack_given_data_to_send_reports_beside_it(void **state)
{
	(void)state;
	data(101, 100);
	host_send(&h, MSS);
	assert_int_equal(host_output(&h), 2);
	assert_blocks(&h.out[0], 101, 201);
	assert_int_equal(h.out[0].len, 0); /* the duplicate ACK goes first */
	assert_int_equal(h.out[1].len, MSS);
	assert_int_equal(h.out[1].opt_len, 0);
	host_input(&h, TCP_ACK, 301, 1 + MSS, 60000, 100);
	h.c.dup_acks_owed = 0;
	host_send(&h, 100);
	host_output_one(&h);
	assert_int_equal(h.out[0].len, 100);
	assert_blocks(&h.out[0], 301, 401, 101, 201);
	host_input(&h, TCP_ACK, 301, 1 + MSS + 100, 60000, 100);
	h.c.dup_acks_owed = 0;
	host_send(&h, MSS);
	assert_int_equal(host_output(&h), 2);
	assert_int_equal(h.out[0].len, MSS);
	assert_blocks(&h.out[1], 301, 401, 301, 401, 101, 201);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_sack_given_gap_reports_range),
		T(test_sack_given_many_gaps_reports_latest_first),
		T(test_sack_given_timestamps_reports_three),
		T(test_sack_given_refused_data_reports_what_is_kept),
		T(test_sack_given_not_permitted_reports_nothing),
		T(test_dsack_given_old_data_reports_it_once),
		T(test_dsack_given_overlap_reports_it_and_its_range),
		T(test_dsack_given_data_before_the_stream_reports_nothing),
		T(test_dsack_given_data_with_fin_again_leaves_the_fin_out),
		T(test_sack_given_data_to_send_reports_beside_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
