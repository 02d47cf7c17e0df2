#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/counters.h>
#include <tcp/tcp.h>

#include "rng.h"

#include <errno.h>
#include <stdlib.h>

/* Port 0x1234 to 80, seq 0x01020304, ack 0x05060708, ACK|PSH, window 0x0a0b, urgent 0x0c0d. */
static const uint8_t plain[] = {0x12, 0x34, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0x0a, 0x0b,
	0, 0, 0x0c, 0x0d, 'h', 'i'};

/* Parses from an exact heap block, so that a read past the end shows under ASan. */
static int parse(struct tcp_segment *seg, const uint8_t *bytes, size_t len, enum tcp_drop *reason)
{
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	memset(seg, 0, sizeof(*seg));
	rc = tcp_segment_parse(seg, copy, len, reason);
	if (rc == 0) {
		assert_true(seg->payload >= copy + 20);
		assert_true(seg->payload + seg->len == copy + len);
	}
	free(copy);
	return rc;
}

static void expect_drop(const uint8_t *bytes, size_t len, enum tcp_drop want)
{
	struct tcp_segment seg;
	enum tcp_drop reason;

	assert_int_equal(parse(&seg, bytes, len, &reason), -EBADMSG);
	assert_int_equal(reason, want);
}

static void test_segment_parse_plain_all_fields_in_host_order(void **state)
{
	struct tcp_segment seg;
	enum tcp_drop reason;

	(void)state;
	assert_int_equal(tcp_segment_parse(&seg, plain, sizeof(plain), &reason), 0);
	assert_int_equal(reason, TCP_DROP_NONE);
	assert_int_equal(seg.seq, 0x01020304);
	assert_int_equal(seg.ack, 0x05060708);
	assert_int_equal(seg.flags, TCP_ACK | TCP_PSH);
	assert_int_equal(seg.wnd, 0x0a0b);
	assert_int_equal(seg.urg, 0x0c0d);
	assert_int_equal(seg.len, 2);
	assert_memory_equal(seg.payload, "hi", 2);
	assert_false(seg.opt.has_ts || seg.opt.has_mss);
}

static void test_segment_parse_leaves_the_key(void **state)
{
	struct tcp_segment seg = {.key.lport = 77};
	enum tcp_drop reason;

	(void)state;
	assert_int_equal(tcp_segment_parse(&seg, plain, sizeof(plain), &reason), 0);
	assert_int_equal(seg.key.lport, 77);
}

static void test_segment_parse_short_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < 20; len++)
		expect_drop(plain, len, TCP_DROP_seg_short);
}

static void test_segment_parse_offset_below_5_or_past_end_refused(void **state)
{
	uint8_t b[sizeof(plain)];

	(void)state;
	memcpy(b, plain, sizeof(b));
	for (uint8_t offset = 0; offset < 16; offset++) {
		b[12] = (uint8_t)(offset << 4);
		if (offset != 5)
			expect_drop(b, sizeof(b), TCP_DROP_seg_bad_offset);
	}
}

static void test_segment_parse_bad_option_refused(void **state)
{
	uint8_t b[24] = {0};
	uint8_t bad_lengths[] = {0, 1, 5, 255};

	(void)state;
	memcpy(b, plain, 20);
	b[12] = 0x60;
	b[20] = 2;
	for (size_t i = 0; i < sizeof(bad_lengths); i++) {
		b[21] = bad_lengths[i];
		expect_drop(b, sizeof(b), TCP_DROP_seg_bad_option);
	}
}

static void test_segment_parse_senseless_flags_refused(void **state)
{
	static const uint8_t bad[] = {0, TCP_PSH, TCP_URG | TCP_ECE, TCP_SYN | TCP_FIN,
		TCP_SYN | TCP_RST, TCP_SYN | TCP_FIN | TCP_ACK, 0xff};
	static const uint8_t good[] = {TCP_SYN, TCP_SYN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK,
		TCP_ACK, TCP_FIN | TCP_ACK, TCP_FIN, TCP_SYN | TCP_ECE | TCP_CWR};
	uint8_t b[sizeof(plain)];
	struct tcp_segment seg;
	enum tcp_drop reason;

	(void)state;
	memcpy(b, plain, sizeof(b));
	for (size_t i = 0; i < sizeof(bad); i++) {
		b[13] = bad[i];
		expect_drop(b, sizeof(b), TCP_DROP_seg_bad_flags);
	}
	for (size_t i = 0; i < sizeof(good); i++) {
		b[13] = good[i];
		assert_int_equal(parse(&seg, b, sizeof(b), &reason), 0);
	}
}

/* No byte string makes the parser read outside of it or answer without a reason. */
static void test_segment_parse_random_bytes_survived(void **state)
{
	struct rng r = {42};
	unsigned int accepted = 0;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		uint8_t b[80];
		size_t len = rng_below(&r, sizeof(b) + 1);
		struct tcp_segment seg;
		enum tcp_drop reason;
		int rc;

		for (size_t j = 0; j < sizeof(b); j++)
			b[j] = (uint8_t)rng_next(&r) >> rng_below(&r, 8);
		b[12] |= 0x50;
		rc = parse(&seg, b, len, &reason);
		assert_true((rc == 0) == (reason == TCP_DROP_NONE));
		accepted += rc == 0;
	}
	assert_true(accepted > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segment_parse_plain_all_fields_in_host_order),
		cmocka_unit_test(test_segment_parse_leaves_the_key),
		cmocka_unit_test(test_segment_parse_short_refused),
		cmocka_unit_test(test_segment_parse_offset_below_5_or_past_end_refused),
		cmocka_unit_test(test_segment_parse_bad_option_refused),
		cmocka_unit_test(test_segment_parse_senseless_flags_refused),
		cmocka_unit_test(test_segment_parse_random_bytes_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
