#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/options.h>

#include "rng.h"

#include <errno.h>
#include <stdlib.h>

#define PARSE(opt, flags, ...)                                                                     \
	parse(opt, flags, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* In an exact heap block, so that a read past the end shows under ASan. */
static int parse(struct tcp_options *opt, uint8_t flags, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	rc = tcp_options_parse(opt, copy, (unsigned int)len, flags);
	free(copy);
	return rc;
}

static void test_options_parse_linux_syn_all_read(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_int_equal(PARSE(&o, TCP_SYN, 2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0,
				 1, 3, 3, 7),
		0);
	assert_true(o.has_mss && o.has_ts && o.has_wscale && o.sack_permitted);
	assert_int_equal(o.mss, 1460);
	assert_int_equal(o.ts_val, 0x102);
	assert_int_equal(o.ts_ecr, 0);
	assert_int_equal(o.wscale, 7);
	assert_int_equal(o.sack_count, 0);
}

static void test_options_parse_bad_length_refused(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_int_equal(PARSE(&o, TCP_SYN, 2, 0, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(&o, TCP_SYN, 2, 1, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(&o, TCP_SYN, 99, 0, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(&o, TCP_SYN, 2, 5, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(&o, TCP_SYN, 99, 255, 0, 0), -EBADMSG);
	assert_int_equal(PARSE(&o, TCP_SYN, 1, 1, 1, 2), -EBADMSG);
	assert_int_equal(PARSE(&o, TCP_ACK, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0), -EBADMSG);
}

static void test_options_parse_unknown_and_odd_sizes_skipped(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_int_equal(PARSE(&o, TCP_SYN, 254, 4, 1, 2, 2, 3, 9, 3, 4, 1, 1, 2, 4, 1, 0), 0);
	assert_int_equal(o.mss, 256);
	assert_false(o.has_wscale);
	/* SACK of 9 bytes: no whole number of blocks. */
	assert_int_equal(PARSE(&o, TCP_ACK, 5, 9, 0, 0, 0, 1, 0, 0, 0), 0);
	assert_int_equal(o.sack_count, 0);
	assert_int_equal(PARSE(&o, TCP_ACK, 5, 2), 0);
	assert_int_equal(o.sack_count, 0);
}

static void test_options_parse_end_hides_what_follows(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_int_equal(PARSE(&o, TCP_SYN, 0, 2, 0, 0), 0);
	assert_int_equal(PARSE(&o, TCP_SYN, 0, 2, 4, 1, 1), 0);
	assert_false(o.has_mss);
	assert_int_equal(tcp_options_parse(&o, NULL, 0, TCP_SYN), 0);
}

static void test_options_parse_repeated_last_counts(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_int_equal(PARSE(&o, TCP_SYN, 2, 4, 0, 1, 2, 4, 0, 2), 0);
	assert_int_equal(o.mss, 2);
	assert_int_equal(PARSE(&o, TCP_ACK, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4,
				 5, 10, 0, 0, 0, 5, 0, 0, 0, 6),
		0);
	assert_int_equal(o.sack_count, 1);
	assert_int_equal(o.sack[0].start, 5);
	assert_int_equal(o.sack[1].start | o.sack[1].end, 0);
}

static void test_options_parse_out_of_place_ignored(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_int_equal(PARSE(&o, TCP_ACK, 2, 4, 5, 5, 3, 3, 7, 4, 2), 0);
	assert_false(o.has_mss || o.has_wscale || o.sack_permitted);
	assert_int_equal(PARSE(&o, TCP_SYN | TCP_ACK, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2), 0);
	assert_int_equal(o.sack_count, 0);
	assert_int_equal(PARSE(&o, TCP_RST, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2), 0);
	assert_false(o.has_ts);
	assert_int_equal(PARSE(&o, TCP_ACK, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2), 0);
	assert_int_equal(o.sack_count, 1);
	assert_int_equal(o.sack[0].start, 1);
	assert_int_equal(o.sack[0].end, 2);
}

/* RFC 7323 section 2.3: a shift above 14 is taken as 14. */
static void test_options_parse_wscale_255_clamped(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_int_equal(PARSE(&o, TCP_SYN, 3, 3, 255), 0);
	assert_int_equal(o.wscale, 14);
}

static struct tcp_options random_options(struct rng *r, uint8_t flags)
{
	struct tcp_options o;
	bool syn = flags & TCP_SYN;

	memset(&o, 0, sizeof(o));
	o.has_mss = syn && rng_below(r, 2);
	o.mss = o.has_mss ? (uint16_t)rng_next(r) : 0;
	o.has_wscale = syn && rng_below(r, 2);
	o.wscale = o.has_wscale ? (uint8_t)rng_below(r, 15) : 0;
	o.sack_permitted = syn && rng_below(r, 2);
	o.has_ts = rng_below(r, 2);
	o.ts_val = o.has_ts ? (uint32_t)rng_next(r) : 0;
	o.ts_ecr = o.has_ts ? (uint32_t)rng_next(r) : 0;
	o.has_fastopen = syn && rng_below(r, 2);
	o.fastopen_len = o.has_fastopen && rng_below(r, 3) ? (uint8_t)(4 + 2 * rng_below(r, 7)) : 0;
	for (int i = 0; i < o.fastopen_len; i++)
		o.fastopen[i] = (uint8_t)rng_next(r);
	o.sack_count = syn ? 0 : (uint8_t)rng_below(r, o.has_ts ? 4 : 5);
	for (unsigned int i = 0; i < o.sack_count; i++) {
		o.sack[i].start = (uint32_t)rng_next(r);
		o.sack[i].end = (uint32_t)rng_next(r);
	}
	return o;
}

static void test_options_encode_random_sets_parse_back_equal(void **state)
{
	struct rng r = {1};

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint8_t flags = rng_below(&r, 2) ? TCP_SYN : TCP_ACK;
		struct tcp_options in = random_options(&r, flags);
		struct tcp_options out;
		uint8_t bytes[TCP_OPTIONS_MAX];
		unsigned int len = tcp_options_encode(&in, bytes);

		assert_true(len <= TCP_OPTIONS_MAX && len % 4 == 0);
		assert_int_equal(parse(&out, flags, bytes, len), 0);
		assert_memory_equal(&in, &out, sizeof(in));
	}
}

/* RFC 7413 section 2.1: a request, or an even number of bytes from 4 to 16; in SYNs alone. */
static void test_options_fast_open_lengths_that_count(void **state)
{
	uint8_t bytes[TCP_OPTIONS_MAX] = {34};
	struct tcp_options out;

	(void)state;
	for (unsigned int n = 0; n <= 38; n++) {
		bool good = n == 0 || (n >= 4 && n <= 16 && n % 2 == 0);

		bytes[1] = (uint8_t)(2 + n);
		assert_int_equal(parse(&out, TCP_SYN, bytes, 2 + n), 0);
		assert_int_equal(out.has_fastopen, good);
		assert_int_equal(out.fastopen_len, good ? n : 0);
		assert_int_equal(parse(&out, TCP_ACK, bytes, 2 + n), 0);
		assert_false(out.has_fastopen);
	}
}

static void test_options_given_two_fast_open_keeps_nothing_of_the_first(void **state)
{
	const uint8_t bytes[] = {34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 34, 6, 9, 9, 9, 9};
	const uint8_t cookie[TCP_FASTOPEN_COOKIE_MAX] = {9, 9, 9, 9};
	struct tcp_options out;

	(void)state;
	assert_int_equal(tcp_options_parse(&out, bytes, sizeof(bytes), TCP_SYN), 0);
	assert_int_equal(out.fastopen_len, 4);
	assert_memory_equal(out.fastopen, cookie, sizeof(cookie));
}

static void test_options_encode_sack_beyond_space_keeps_first(void **state)
{
	struct tcp_options in = {.has_ts = true, .sack_count = 4};
	struct tcp_options out;
	uint8_t bytes[TCP_OPTIONS_MAX];

	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		in.sack[i].start = i + 1;
	assert_int_equal(tcp_options_encode(&in, bytes), 40);
	assert_int_equal(parse(&out, TCP_ACK, bytes, 40), 0);
	assert_int_equal(out.sack_count, 3);
	assert_int_equal(out.sack[2].start, 3);
}

static const struct net_addr peer4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}};
static const struct net_addr peer6 = {{0x20, 1, 0xd, 0xb8}};

/* RFC 9293 section 3.7.1: 20 bytes of header more, and another default. */
static void test_options_mss_of_ip6_is_smaller(void **state)
{
	struct tcp_options o = {0};
	struct tcp_config cfg;

	(void)state;
	tcp_config_default(&cfg);
	assert_int_equal(tcp_mss_max(&cfg, &peer4), 1460);
	assert_int_equal(tcp_mss_max(&cfg, &peer6), 1440);
	assert_int_equal(tcp_options_peer_mss(&cfg, &peer6, &o), 1220);
	o.has_mss = true;
	o.mss = 9000;
	assert_int_equal(tcp_options_peer_mss(&cfg, &peer6, &o), 1440);
	cfg.mss_max_bytes = cfg.mss6_max_bytes = 100000;
	assert_int_equal(tcp_mss_max(&cfg, &peer6), UINT16_MAX);
}

static void test_options_peer_mss_any_value_clamped(void **state)
{
	struct tcp_config cfg;
	struct tcp_options o = {0};
	static const struct {
		uint16_t wire;
		uint16_t use;
	} cases[] = {{0, 48}, {1, 48}, {47, 48}, {48, 48}, {1000, 1000}, {1460, 1460}, {9000, 1460},
		{65535, 1460}};

	(void)state;
	tcp_config_default(&cfg);
	assert_int_equal(tcp_options_peer_mss(&cfg, &peer4, &o), 536);
	o.has_mss = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		o.mss = cases[i].wire;
		assert_int_equal(tcp_options_peer_mss(&cfg, &peer4, &o), cases[i].use);
	}
}

static void test_options_rcv_wscale_just_covers_the_buffer(void **state)
{
	struct tcp_config cfg;

	(void)state;
	tcp_config_default(&cfg);
	cfg.rcvbuf_max_bytes = 65535;
	assert_int_equal(tcp_options_rcv_wscale(&cfg), 0);
	cfg.rcvbuf_max_bytes = 65536;
	assert_int_equal(tcp_options_rcv_wscale(&cfg), 1);
	cfg.rcvbuf_max_bytes = UINT32_MAX;
	assert_int_equal(tcp_options_rcv_wscale(&cfg), 14);
	cfg.window_scale = false;
	assert_int_equal(tcp_options_rcv_wscale(&cfg), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_parse_linux_syn_all_read),
		cmocka_unit_test(test_options_parse_bad_length_refused),
		cmocka_unit_test(test_options_parse_unknown_and_odd_sizes_skipped),
		cmocka_unit_test(test_options_parse_end_hides_what_follows),
		cmocka_unit_test(test_options_parse_repeated_last_counts),
		cmocka_unit_test(test_options_parse_out_of_place_ignored),
		cmocka_unit_test(test_options_parse_wscale_255_clamped),
		cmocka_unit_test(test_options_encode_random_sets_parse_back_equal),
		cmocka_unit_test(test_options_encode_sack_beyond_space_keeps_first),
		cmocka_unit_test(test_options_fast_open_lengths_that_count),
		cmocka_unit_test(test_options_given_two_fast_open_keeps_nothing_of_the_first),
		cmocka_unit_test(test_options_mss_of_ip6_is_smaller),
		cmocka_unit_test(test_options_peer_mss_any_value_clamped),
		cmocka_unit_test(test_options_rcv_wscale_just_covers_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
