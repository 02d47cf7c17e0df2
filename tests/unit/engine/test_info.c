/* TCP_INFO against traffic whose numbers are known. docs/tcp_info.md says what each field is. */
#include "fixture.h"

#include <linux/tcp.h>

enum {
	MSS = 1448,
	FAR_US = 50000, /* one way */
};

static struct sock *sock_of(int side, const struct sim_sock *sk)
{
	return sock_at(engine_of(side), sk->handle.idx);
}

static uint8_t raw[512];

static struct tcp_info info_of(int side, const struct sim_sock *sk)
{
	struct engine *e = engine_of(side);
	struct tcp_info t;

	assert_int_equal(info_tcp(e, conn_at(e, sock_of(side, sk)->conn), raw, sizeof(raw)),
		PROTO_INFO_ALL_BYTES);
	memcpy(&t, raw, sizeof(t));
	return t;
}

static uint32_t raw32(uint32_t at)
{
	uint32_t v;

	memcpy(&v, raw + at, sizeof(v));
	return v;
}

static uint16_t raw16(uint32_t at)
{
	uint16_t v;

	memcpy(&v, raw + at, sizeof(v));
	return v;
}

static int setup_far(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.profile.delay_us = FAR_US;
	f.cfg.profile.rate_bytes_s = 12500000;
	f.client_cfg.up_bytes = f.client_cfg.down_bytes = 16 << 20;
	f.client_cfg.up_max_bytes = f.client_cfg.down_max_bytes = 64 << 20;
	fixture_start();
	return 0;
}

static struct pair open_far(void)
{
	struct pair p = {.here = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0)};

	run_ms(400);
	p.there = sim_client_accept(f.listener, 0);
	run_ms(400);
	return p;
}

static void stream(struct pair p, int ms)
{
	static const uint8_t data[SIM_BLOCK_BYTES];

	while (ms-- > 0) {
		while (sim_sock_send(p.here, data, sizeof(data), false))
			;
		run_ms(1);
		read_bytes(p.there, 0);
	}
}

static void test_info_given_exchange_counts_it(void **state)
{
	struct pair p = open_pair(f.here);
	struct tcp_info here, there;

	(void)state;
	send_bytes(p.here, 0x11, 10 * MSS);
	run_ms(20);
	assert_int_equal(read_bytes(p.there, 0x11), 10 * MSS);
	send_bytes(p.there, 0x22, 500);
	run_ms(200);
	assert_int_equal(read_bytes(p.here, 0x22), 500);
	here = info_of(0, p.here);
	assert_int_equal(raw32(PROTO_INFO_RCV_WND) >> 16, 0);
	there = info_of(1, p.there);
	assert_int_equal(here.tcpi_state, 1);
	assert_int_equal(here.tcpi_ca_state, 0);
	assert_int_equal(here.tcpi_bytes_sent, 10 * MSS);
	assert_int_equal(here.tcpi_bytes_acked, 10 * MSS);
	assert_int_equal(here.tcpi_delivered, 10);
	assert_int_equal(here.tcpi_bytes_received, 500);
	assert_int_equal(there.tcpi_bytes_sent, 500);
	assert_int_equal(there.tcpi_bytes_received, 10 * MSS);
	assert_int_equal(here.tcpi_bytes_retrans + here.tcpi_total_retrans + here.tcpi_lost, 0);
	assert_int_equal(here.tcpi_notsent_bytes + here.tcpi_unacked + here.tcpi_sacked, 0);
	assert_int_equal(here.tcpi_segs_out, there.tcpi_segs_in + 1); /* the SYN met a listener */
	assert_int_equal(here.tcpi_data_segs_out, 10);
	assert_int_equal(there.tcpi_data_segs_in, 10);
	assert_int_equal(here.tcpi_data_segs_in, 1);
	assert_int_equal(there.tcpi_data_segs_out, 1);
	assert_in_range(here.tcpi_last_data_recv, 190, 210);
	assert_int_equal(here.tcpi_snd_mss, MSS);
	assert_int_equal(there.tcpi_rcv_mss, MSS);
	assert_int_equal(here.tcpi_pmtu, 1500);
	assert_int_equal(here.tcpi_advmss, 1460);
	assert_int_equal(here.tcpi_snd_wnd, raw32(PROTO_INFO_RCV_WND));
	assert_in_range(here.tcpi_min_rtt, 2000, 3000);
	assert_in_range(here.tcpi_last_data_sent, 200, 240);
	assert_in_range(here.tcpi_last_ack_recv, 100, 220);
	assert_int_equal(here.tcpi_snd_ssthresh, INT32_MAX);
	assert_int_equal(here.tcpi_max_pacing_rate, UINT64_MAX);
	assert_int_equal(here.tcpi_ato, 40000);
	assert_int_equal(there.tcpi_rcv_ssthresh, (32 << 10) + 2 * 10 * MSS);
}

static void test_info_given_unread_data_is_limited_by_the_window(void **state)
{
	struct pair p = open_pair(f.here);
	struct tcp_info t;

	(void)state;
	send_bytes(p.here, 0, 200000);
	run_ms(1000);
	t = info_of(0, p.here);
	assert_true(t.tcpi_notsent_bytes > 0);
	/* what went again are probes of the window */
	assert_int_equal(t.tcpi_bytes_sent - t.tcpi_bytes_retrans + t.tcpi_notsent_bytes, 200000);
	assert_in_range(t.tcpi_rwnd_limited, 900000, 1000000);
	assert_in_range(t.tcpi_busy_time, t.tcpi_rwnd_limited, 1010000);
	assert_int_equal(t.tcpi_sndbuf_limited, 0);
	assert_true(t.tcpi_probes > 0 || t.tcpi_backoff > 0);
	for (int i = 0; i < 50; i++) {
		read_bytes(p.there, 0);
		run_ms(20);
	}
	t = info_of(0, p.here);
	assert_int_equal(t.tcpi_bytes_acked, 200000);
	run_ms(1000); /* and idle time is not busy time */
	assert_int_equal(info_of(0, p.here).tcpi_busy_time, t.tcpi_busy_time);
}

static void test_info_given_small_sndbuf_is_limited_by_it(void **state)
{
	struct pair p = open_far();
	struct tcp_info t;

	(void)state;
	stream(p, 3000); /* cwnd is large by then */
	assert_true(sim_sock_setopt(p.here, PROTO_SET_SNDBUF, 20000));
	stream(p, 1000);
	t = info_of(0, p.here);
	stream(p, 2000);
	assert_in_range(
		info_of(0, p.here).tcpi_sndbuf_limited - t.tcpi_sndbuf_limited, 1500000, 2000000);
	assert_int_equal(info_of(0, p.here).tcpi_rwnd_limited, t.tcpi_rwnd_limited);
}

static void test_info_given_outage_counts_timeouts(void **state)
{
	struct pair p = open_pair(f.here);
	struct tcp_info t;

	(void)state;
	f.w.link.way[0].cut = true;
	send_bytes(p.here, 0, 1000);
	run_ms(1000);
	t = info_of(0, p.here);
	assert_int_equal(t.tcpi_ca_state, 4);
	assert_int_equal(t.tcpi_retransmits, raw16(PROTO_INFO_TOTAL_RTO));
	assert_in_range(raw16(PROTO_INFO_TOTAL_RTO), 2, 4);
	assert_int_equal(raw16(PROTO_INFO_TOTAL_RTO_RECOVERIES), 0);
	f.w.link.way[0].cut = false;
	run_ms(4000);
	t = info_of(0, p.here);
	assert_int_equal(t.tcpi_retransmits, 0);
	assert_int_equal(raw16(PROTO_INFO_TOTAL_RTO_RECOVERIES), 1);
	assert_in_range(raw32(PROTO_INFO_TOTAL_RTO_TIME), 800, 2000);
	assert_int_equal(t.tcpi_bytes_retrans, 1000 * t.tcpi_total_retrans);
	assert_int_equal(t.tcpi_bytes_sent, 1000 + t.tcpi_bytes_retrans);
	assert_int_equal(t.tcpi_delivered, 1);
}

static void test_info_given_stream_knows_the_receivers_round_trip(void **state)
{
	struct pair p = open_far();
	struct tcp_info t;

	(void)state;
	stream(p, 3000);
	t = info_of(1, p.there);
	assert_in_range(t.tcpi_rcv_rtt, 90000, 500000);
	assert_true(t.tcpi_rcv_space > 500000);
	assert_true(t.tcpi_rcv_ssthresh > 1000000);
	t = info_of(0, p.here);
	assert_true(t.tcpi_busy_time > 2500000);
}

static void test_info_given_loss_counts_what_went_again(void **state)
{
	struct pair p;
	struct tcp_info t;

	(void)state;
	p = open_far();
	f.w.link.way[0].profile.loss_ppm = 10000;
	stream(p, 5000);
	t = info_of(0, p.here);
	assert_int_equal(
		t.tcpi_total_retrans, engine_tcp_counters(engine_of(0))->retransmitted_segs);
	assert_int_equal(
		t.tcpi_bytes_retrans, engine_tcp_counters(engine_of(0))->retransmitted_bytes);
	assert_true(t.tcpi_total_retrans > 0);
	assert_true(info_of(1, p.there).tcpi_rcv_ooopack > 0);
	assert_true(t.tcpi_snd_ssthresh < INT32_MAX);
}

static void test_info_given_requests_has_the_rate_of_a_segment(void **state)
{
	struct pair p = open_pair(f.here);
	struct tcp_info t;

	(void)state;
	assert_int_equal(info_of(0, p.here).tcpi_delivery_rate, 0);
	for (int i = 0; i < 5; i++) {
		send_bytes(p.here, 0, 100);
		run_ms(50);
		read_bytes(p.there, 0);
	}
	t = info_of(0, p.here);
	assert_int_equal(t.tcpi_delivery_rate, MSS * 1000000ull / t.tcpi_min_rtt);
	assert_int_equal(t.tcpi_delivery_rate_app_limited, 1);
}

/* As Linux: what the application has limited counts only if it is more. */
static void test_info_given_stream_knows_the_rate_of_the_link(void **state)
{
	struct pair p = open_far();
	struct tcp_info t;

	(void)state;
	f.w.link.way[0].profile.queue_max_bytes = 2
						  << 20; /* the window is what limits, no buffer */
	stream(p, 4000);
	t = info_of(0, p.here);
	assert_in_range(t.tcpi_delivery_rate, 10000000, 13000000);
	assert_int_equal(t.tcpi_delivery_rate_app_limited, 0);
	run_ms(2000);
	read_bytes(p.there, 0);
	t = info_of(0, p.here);
	for (int i = 0; i < 20; i++) {
		send_bytes(p.here, 0, 5000);
		run_ms(100);
		read_bytes(p.there, 0);
	}
	assert_int_equal(info_of(0, p.here).tcpi_delivery_rate, t.tcpi_delivery_rate);
	assert_int_equal(info_of(0, p.here).tcpi_delivery_rate_app_limited, 0);
}

/* Two windows of ten segments, 200 ms apart: all of a window is delivered in a round trip, and no
 * more than that is asked for. */
static void test_info_given_bursts_knows_that_they_limit_the_rate(void **state)
{
	struct pair p = open_far();
	struct tcp_info t;

	(void)state;
	for (int i = 0; i < 2; i++) {
		send_bytes(p.here, 0, 10 * MSS);
		run_ms(200);
		read_bytes(p.there, 0);
	}
	t = info_of(0, p.here);
	assert_in_range(t.tcpi_delivery_rate, 120000, 10 * MSS * 1000000ull / t.tcpi_min_rtt);
	assert_int_equal(t.tcpi_delivery_rate_app_limited, 1);
}

static void test_info_given_short_buffer_fills_no_more(void **state)
{
	struct pair p = open_pair(f.here);
	struct engine *e = engine_of(0);
	uint8_t out[16];

	(void)state;
	memset(out, 0xee, sizeof(out));
	assert_int_equal(info_tcp(e, conn_at(e, sock_of(0, p.here)->conn), out, 8), 8);
	assert_int_equal(out[0], 1);
	assert_int_equal(out[8], 0xee);
}

int main(void)
{
#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(test_info_given_exchange_counts_it),
		T(test_info_given_unread_data_is_limited_by_the_window),
		S(test_info_given_small_sndbuf_is_limited_by_it, setup_far),
		T(test_info_given_outage_counts_timeouts),
		S(test_info_given_stream_knows_the_receivers_round_trip, setup_far),
		S(test_info_given_loss_counts_what_went_again, setup_far),
		T(test_info_given_requests_has_the_rate_of_a_segment),
		S(test_info_given_stream_knows_the_rate_of_the_link, setup_far),
		S(test_info_given_bursts_knows_that_they_limit_the_rate, setup_far),
		T(test_info_given_short_buffer_fills_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
