#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fixture.h"

/* RFC 9293 section 3.10.7.1, clause by clause. */
static void test_closed_input_rst_discarded(void **state)
{
	struct fixture f;
	struct tcp_segment seg = segment(TCP_RST | TCP_ACK, 1, 2);

	(void)state;
	fixture_init(&f);
	assert_int_equal(tcp_closed_input(&f.ctx, &seg, &f.reply), 0);
	assert_int_equal(f.counters.closed_rst, 1);
}

static void test_closed_input_with_ack_rst_at_seg_ack(void **state)
{
	struct fixture f;
	struct tcp_segment seg = segment(TCP_ACK | TCP_FIN, 1000, 5000);

	(void)state;
	fixture_init(&f);
	seg.len = 10;
	assert_int_equal(tcp_closed_input(&f.ctx, &seg, &f.reply), TCP_EV_REPLY);
	assert_int_equal(f.reply.flags, TCP_RST);
	assert_int_equal(f.reply.seq, 5000);
	assert_int_equal(f.reply.wnd, 0);
	assert_int_equal(f.reply.opt_len, 0);
	assert_int_equal(f.reply.len, 0);
	assert_true(net_tuple_equal(&f.reply.key, &seg.key));
	assert_int_equal(f.counters.closed_stray, 1);
	assert_int_equal(f.counters.reset_out, 1);
}

static void test_closed_input_without_ack_rst_acks_all_of_it(void **state)
{
	struct fixture f;
	struct tcp_segment seg = segment(TCP_SYN, 0xffffffff, 0);

	(void)state;
	fixture_init(&f);
	seg.len = 3;
	assert_int_equal(tcp_closed_input(&f.ctx, &seg, &f.reply), TCP_EV_REPLY);
	assert_int_equal(f.reply.flags, TCP_RST | TCP_ACK);
	assert_int_equal(f.reply.seq, 0);
	assert_int_equal(f.reply.ack, 3);
}

static void test_closed_input_land_not_answered(void **state)
{
	struct fixture f;
	struct tcp_segment seg = segment(TCP_SYN, 1, 0);

	(void)state;
	fixture_init(&f);
	seg.key.remote = seg.key.local;
	seg.key.rport = seg.key.lport;
	assert_int_equal(tcp_closed_input(&f.ctx, &seg, &f.reply), 0);
	assert_int_equal(f.counters.seg_land, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closed_input_rst_discarded),
		cmocka_unit_test(test_closed_input_with_ack_rst_at_seg_ack),
		cmocka_unit_test(test_closed_input_without_ack_rst_acks_all_of_it),
		cmocka_unit_test(test_closed_input_land_not_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
