#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <tcp/isn.h>

static struct tcp_ctx ctx_with_keys(uint8_t isn, uint8_t ts)
{
	struct tcp_ctx ctx = {0};

	ctx.isn_key[0] = isn;
	ctx.ts_key[0] = ts;
	return ctx;
}

static struct net_tuple tuple(uint16_t lport, uint16_t rport)
{
	return (struct net_tuple){
		.local = net_addr_from_ip4(0x0100000a),
		.remote = net_addr_from_ip4(0x0200000a),
		.lport = lport,
		.rport = rport,
	};
}

/* RFC 6528 section 3: M advances every 4 us. */
static void test_isn_same_tuple_advances_one_per_4us(void **state)
{
	struct tcp_ctx ctx = ctx_with_keys(1, 2);
	struct net_tuple t = tuple(80, 1024);
	uint32_t first = tcp_isn(&ctx, &t, 4000);

	(void)state;
	assert_int_equal(tcp_isn(&ctx, &t, 4003) - first, 0);
	assert_int_equal(tcp_isn(&ctx, &t, 4004) - first, 1);
	assert_int_equal(tcp_isn(&ctx, &t, 4000 + 4 * UINT64_C(250000)) - first, 250000);
}

static void test_isn_other_tuple_or_key_is_unrelated(void **state)
{
	struct tcp_ctx ctx = ctx_with_keys(1, 2);
	struct tcp_ctx other = ctx_with_keys(3, 2);
	struct net_tuple a = tuple(80, 1024);
	struct net_tuple b = tuple(80, 1025);
	struct net_tuple swapped = tuple(1024, 80);

	(void)state;
	assert_int_not_equal(tcp_isn(&ctx, &a, 0), tcp_isn(&ctx, &b, 0));
	assert_int_not_equal(tcp_isn(&ctx, &a, 0), tcp_isn(&ctx, &swapped, 0));
	assert_int_not_equal(tcp_isn(&ctx, &a, 0), tcp_isn(&other, &a, 0));
}

static void test_ts_offset_per_flow_stable_over_time(void **state)
{
	struct tcp_ctx ctx = ctx_with_keys(1, 2);
	struct tcp_ctx other = ctx_with_keys(1, 3);
	struct net_tuple a = tuple(80, 1024);
	struct net_tuple b = tuple(80, 1025);
	uint32_t offset = tcp_ts_offset(&ctx, &a);

	(void)state;
	assert_int_equal(tcp_ts_offset(&ctx, &a), offset);
	assert_int_not_equal(tcp_ts_offset(&ctx, &b), offset);
	assert_int_not_equal(tcp_ts_offset(&other, &a), offset);
}

/* RFC 7323 section 5.4: a tick between 1 ms and 1 s; ours is 1 ms and wraps. */
static void test_ts_val_ticks_each_ms_and_wraps(void **state)
{
	(void)state;
	assert_int_equal(tcp_ts_val(1999, 10), 11);
	assert_int_equal(tcp_ts_val(2000, 10), 12);
	assert_int_equal(tcp_ts_val(1000, 0xffffffff), 0);
	assert_int_equal(tcp_ts_val((UINT64_C(1) << 32) * 1000, 7), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_isn_same_tuple_advances_one_per_4us),
		cmocka_unit_test(test_isn_other_tuple_or_key_is_unrelated),
		cmocka_unit_test(test_ts_offset_per_flow_stable_over_time),
		cmocka_unit_test(test_ts_val_ticks_each_ms_and_wraps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
