/* Socket options of tcp(7), as far as TCP itself must know them. */
#include "single.h"

static void set(enum tcp_option_name name, uint32_t value)
{
	assert_true(tcp_setopt_room(&h.ctx, &h.c, name));
	host_note(&h, tcp_setopt(&h.ctx, &h.c, name, value, h.now_us));
}

/* Fires timers and throws away what is sent until the connection is closed; how long it took. */
static uint64_t silence_us(void)
{
	uint64_t start_us = h.now_us;

	for (unsigned int n = 0; h.c.state != TCP_CLOSED; n++) {
		assert_true(n < 1000);
		host_output(&h);
		if (h.c.state != TCP_CLOSED)
			host_fire(&h);
	}
	return h.now_us - start_us;
}

/* -- keepalive ----------------------------------------------------------------------------------
 */

static void test_setopt_given_keepalive_numbers_obeys_them(void **state)
{
	(void)state;
	set(TCP_OPT_KEEPALIVE, 1);
	set(TCP_OPT_KEEPIDLE_S, 10);
	set(TCP_OPT_KEEPINTVL_S, 3);
	set(TCP_OPT_KEEPCNT, 2);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 10 * SEC_US);
	assert_int_equal(silence_us(), 16 * SEC_US);
	assert_int_equal(h.counters.keepalive_probes, 2);
	assert_int_equal(h.c.error, ETIMEDOUT);
}

static void test_setopt_given_keepidle_alone_does_not_probe(void **state)
{
	(void)state;
	set(TCP_OPT_KEEPIDLE_S, 10);
	assert_int_equal(h.c.entry.deadline_us, TCP_NEVER);
}

/* -- patience -----------------------------------------------------------------------------------
 */

static void test_setopt_given_syncnt_gives_up_sooner(void **state)
{
	(void)state;
	host_connect(&h);
	set(TCP_OPT_SYNCNT, 2);
	assert_int_equal(silence_us(), 7 * SEC_US); /* 1 + 2 + 4 */
	assert_int_equal(h.counters.syn_retransmits, 2);
}

static void test_setopt_given_user_timeout_ends_silent_flight(void **state)
{
	(void)state;
	set(TCP_OPT_USER_TIMEOUT_MS, 5000);
	host_send(&h, 100);
	assert_in_range(silence_us(), 5 * SEC_US, 5 * SEC_US + 250 * MS_US);
	assert_int_equal(h.c.error, ETIMEDOUT);
}

static void test_setopt_given_user_timeout_and_progress_waits_on(void **state)
{
	(void)state;
	set(TCP_OPT_USER_TIMEOUT_MS, 1000);
	for (uint32_t i = 0; i < 10; i++) {
		host_send(&h, 100);
		host_output(&h);
		host_fire(&h); /* lost: 200 ms and more */
		host_output(&h);
		host_wait(&h, 100 * MS_US);
		host_input(&h, TCP_ACK, 1, 1 + 100 * (i + 1), 60000, 0);
		host_output(&h);
		assert_int_equal(h.c.state, TCP_ESTABLISHED);
		assert_int_equal(h.extra.stalled_ms, 0);
	}
}

/* RFC 9293 section 3.8.6.1 probes for ever; the user's patience ends all the same. */
static void test_setopt_given_user_timeout_ends_closed_window(void **state)
{
	uint64_t start_us;

	(void)state;
	set(TCP_OPT_USER_TIMEOUT_MS, 30000);
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	host_send(&h, 100);
	start_us = h.now_us;
	for (unsigned int n = 0; h.c.state != TCP_CLOSED; n++) {
		assert_true(n < 100);
		host_output(&h);
		host_fire(&h);
		if (h.c.state != TCP_CLOSED)
			host_input(&h, TCP_ACK, 1, 1, 0, 0);
	}
	assert_in_range(h.now_us - start_us, 30 * SEC_US, 31 * SEC_US);
}

static void test_setopt_given_user_timeout_takes_the_place_of_keepcnt(void **state)
{
	(void)state;
	set(TCP_OPT_KEEPALIVE, 1);
	set(TCP_OPT_KEEPIDLE_S, 10);
	set(TCP_OPT_KEEPINTVL_S, 1);
	set(TCP_OPT_KEEPCNT, 1);
	set(TCP_OPT_USER_TIMEOUT_MS, 15000);
	assert_int_equal(silence_us(), 15 * SEC_US);
	assert_int_equal(h.counters.keepalive_probes, 5);
}

static void test_setopt_given_linger2_ends_orphan(void **state)
{
	(void)state;
	set(TCP_OPT_LINGER2_S, 3);
	host_shutdown(&h);
	host_output(&h);
	host_note(&h, tcp_close(&h.ctx, &h.c, h.now_us));
	host_input(&h, TCP_ACK, 1, 2, 60000, 0);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_2);
	assert_int_equal(silence_us(), 3 * SEC_US);
}

/* -- segments -----------------------------------------------------------------------------------
 */

static void test_setopt_given_quickack_acks_at_once(void **state)
{
	(void)state;
	host_input(&h, TCP_ACK, 1, 1, 60000, 10);
	assert_int_equal(host_output(&h), 0); /* delayed */
	set(TCP_OPT_QUICKACK, 1);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 11, 0);
	host_input(&h, TCP_ACK, 11, 1, 60000, 10);
	assert_segment(&h, host_output_one(&h), TCP_ACK, 1, 21, 0);
	set(TCP_OPT_QUICKACK, 0);
	host_input(&h, TCP_ACK, 21, 1, 60000, 10);
	assert_int_equal(host_output(&h), 0);
}

static void test_setopt_given_maxseg_cuts_smaller(void **state)
{
	(void)state;
	set(TCP_OPT_MAXSEG, 500);
	host_send(&h, 1000);
	assert_int_equal(host_output(&h), 2);
	assert_int_equal(h.out[0].len, 500);
	set(TCP_OPT_MAXSEG, 1000); /* never up */
	host_send(&h, 500);
	assert_int_equal(host_output_one(&h)->len, 500);
}

static void test_setopt_given_maxseg_before_open_offers_and_obeys_it(void **state)
{
	struct tcp_segment s;
	struct tcp_options o;

	(void)state;
	host_connect(&h);
	set(TCP_OPT_MAXSEG, 600);
	host_output_one(&h);
	assert_int_equal(h.out[0].opt[0], 2); /* MSS */
	assert_int_equal(h.out[0].opt[2] << 8 | h.out[0].opt[3], 600);
	s = host_segment(&h, TCP_SYN | TCP_ACK, 0, 1, 60000, 0);
	o = (struct tcp_options){.has_mss = true, .mss = 1460};
	s.opt = o;
	host_deliver(&h, &s);
	host_output(&h);
	host_send(&h, 1200);
	assert_int_equal(host_output(&h), 2);
	assert_int_equal(h.out[0].len, 600);
}

/* -- bounds -------------------------------------------------------------------------------------
 */

static void test_setopt_given_any_option_has_bounds(void **state)
{
	(void)state;
	for (int i = 0; i < TCP_OPT_COUNT; i++) {
		enum tcp_option_name name = (enum tcp_option_name)i;

		assert_true(tcp_option_max(name) > tcp_option_min(name));
		set(name, tcp_option_max(name));
		set(name, tcp_option_min(name));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_setopt_given_keepalive_numbers_obeys_them),
		T(test_setopt_given_keepidle_alone_does_not_probe),
		T(test_setopt_given_syncnt_gives_up_sooner),
		T(test_setopt_given_user_timeout_ends_silent_flight),
		T(test_setopt_given_user_timeout_and_progress_waits_on),
		T(test_setopt_given_user_timeout_ends_closed_window),
		T(test_setopt_given_user_timeout_takes_the_place_of_keepcnt),
		T(test_setopt_given_linger2_ends_orphan),
		T(test_setopt_given_quickack_acks_at_once),
		T(test_setopt_given_maxseg_cuts_smaller),
		T(test_setopt_given_maxseg_before_open_offers_and_obeys_it),
		T(test_setopt_given_any_option_has_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
