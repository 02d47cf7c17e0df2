/* RFC 6675, 8985, 9937, 5682, 4015, 3708: what is done about loss when the peer has SACK. */
#include "single.h"

enum {
	MSS = 1460,
	RTT_US = 20000,
};

/* Round trips of 20 ms are known; 60,000 bytes of window, ten segments of cwnd. */
static void establish(bool ts)
{
	host_init(&h);
	host_establish(&h, (struct host_open){.wnd = 60000, .sack = true, .ts = ts});
	h.c.srtt_us = RTT_US;
	h.c.rttvar_us = 1000;
	h.c.rtt_min_us = RTT_US;
	h.c.rto_us = 200 * MS_US;
}

static int setup(void **state)
{
	(void)state;
	establish(false);
	return 0;
}

static int setup_ts(void **state)
{
	(void)state;
	establish(true);
	return 0;
}

static uint32_t mss(void)
{
	return h.c.snd_mss_bytes;
}

/* An ACK of `segments`, with SACK blocks [from, to) in segments: pairs, ended by 0, 0. */
static struct tcp_segment make_ack(uint32_t segments, const uint32_t *blocks)
{
	struct tcp_segment s = host_segment(&h, TCP_ACK, 1, 1 + segments * mss(), 60000, 0);

	for (unsigned int i = 0; blocks && blocks[2 * i + 1]; i++) {
		s.opt.sack[i].start = h.c.iss + 1 + blocks[2 * i] * mss();
		s.opt.sack[i].end = h.c.iss + 1 + blocks[2 * i + 1] * mss();
		s.opt.sack_count++;
	}
	return s;
}

static void ack_sack(uint32_t segments, const uint32_t *blocks)
{
	struct tcp_segment s = make_ack(segments, blocks);

	host_deliver(&h, &s);
}

#define ack(segments, ...)  ack_sack((segments), (const uint32_t[]){__VA_ARGS__, 0, 0})
#define plain_ack(segments) ack_sack((segments), NULL)

/* The ACK as if it answered what was sent at sent_us. */
static void ack_echo(uint32_t segments, uint64_t sent_us)
{
	struct tcp_segment s = make_ack(segments, NULL);

	s.opt.ts_ecr = tcp_ts_val(sent_us, h.c.ts_offset);
	host_deliver(&h, &s);
}

static void assert_sent(unsigned int i, uint32_t segment, uint32_t len)
{
	assert_true(i < h.out_n);
	assert_int_equal(host_rel_seq(&h, &h.out[i]), 1 + segment * mss());
	assert_int_equal(h.out[i].len, len);
}

static void send_ten(void)
{
	host_send(&h, 10 * mss());
	assert_int_equal(host_output(&h), 10);
}

/* -- the scoreboard's life -------------------------------------------------------------------- */

static void test_recovery_given_request_response_needs_no_scoreboard(void **state)
{
	(void)state;
	h.score_refuse = true;
	for (uint32_t i = 0; i < 5; i++) {
		h.now_us += RTT_US;
		host_send(&h, 3 * mss());
		assert_int_equal(host_output(&h), 3);
		h.now_us += RTT_US;
		plain_ack(3 * (i + 1));
	}
	assert_int_equal(h.counters.score_no_memory, 0); /* it never asked */
	assert_false(h.score_used);
	assert_false(tcp_conn_loss(&h.c, TCP_L_SCORE | TCP_L_BLIND));
}

static void test_recovery_given_second_burst_begins_and_ends_with_the_flight(void **state)
{
	(void)state;
	host_send(&h, 2 * mss());
	host_output(&h);
	assert_false(h.score_used);
	h.now_us += 1000;
	host_send(&h, 2 * mss());
	host_output(&h);
	assert_true(h.score_used);
	assert_int_equal(h.score.count, 2);
	h.now_us += RTT_US;
	plain_ack(3);
	assert_true(h.score_used);
	plain_ack(4);
	assert_false(h.score_used);
}

static void test_recovery_given_no_memory_falls_back_to_newreno(void **state)
{
	(void)state;
	send_ten();
	h.score_refuse = true;
	host_send(&h, 10 * mss());
	for (uint32_t i = 0; i < 3; i++) {
		ack(0, 1, 2 + i);
		host_output(&h);
	}
	assert_int_equal(h.counters.score_no_memory, 1);
	assert_true(tcp_conn_loss(&h.c, TCP_L_BLIND));
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	assert_sent(0, 0, mss());
	h.score_refuse = false;
	ack(0, 1, 5); /* not in the middle of a flight that it knows nothing of */
	assert_false(h.score_used);
	host_output(&h);
	plain_ack((uint32_t)(tcp_conn_snd_max(&h.c) / mss()));
	host_send(&h, mss());
	host_output(&h);
	assert_false(tcp_conn_loss(&h.c, TCP_L_BLIND));
}

/* -- detection and retransmission -------------------------------------------------------------- */

static void test_recovery_given_three_sacked_resends_the_hole_alone(void **state)
{
	(void)state;
	send_ten();
	h.now_us += RTT_US;
	ack(0, 1, 2);
	assert_int_equal(host_output(&h), 0);
	assert_true(tcp_conn_loss(&h.c, TCP_L_REO)); /* one SACK: reordering is possible */
	ack(0, 1, 3);
	assert_int_equal(host_output(&h), 0);
	ack(0, 1, 4);
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	host_output_one(&h);
	assert_sent(0, 0, mss());
	assert_int_equal(h.c.ssthresh, 5 * mss());
	assert_int_equal(tcp_conn_pipe(&h.ctx, &h.c), 7 * mss());
	ack(0, 1, 10);
	assert_int_equal(host_output(&h), 0); /* nothing to send */
	assert_int_equal(tcp_conn_pipe(&h.ctx, &h.c), mss());
	plain_ack(10);
	assert_false(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	assert_int_equal(h.c.cwnd, 5 * mss());
	assert_int_equal(h.extra.retrans_segs, 1);
	assert_int_equal(h.counters.fast_retransmits, 1);
	assert_false(h.score_used);
}

/* RFC 3042: what the SACKs free lets new data out before recovery begins. */
static void test_recovery_given_first_sacks_sends_new_data(void **state)
{
	(void)state;
	send_ten();
	host_send(&h, 10 * mss());
	h.now_us += RTT_US;
	ack(0, 1, 2);
	host_output_one(&h);
	assert_sent(0, 10, mss());
	ack(0, 1, 3);
	host_output_one(&h);
	assert_sent(0, 11, mss());
}

static void test_recovery_given_several_holes_resends_all_in_a_round(void **state)
{
	unsigned int sent = 0;

	(void)state;
	send_ten();
	h.now_us += RTT_US;
	ack(0, 1, 2, 3, 4, 5, 6, 7, 10);
	while (host_output(&h) > 0) {
		for (unsigned int i = 0; i < h.out_n; i++)
			assert_int_equal((host_rel_seq(&h, &h.out[i]) - 1) / mss(), 2 * (sent + i));
		sent += h.out_n;
		h.c.cwnd += mss(); /* room for the next, whatever PRR says */
		tcp_conn_settle(&h.ctx, &h.c, h.now_us);
	}
	assert_int_equal(sent, 4);
	assert_int_equal(tcp_conn_lost(&h.ctx, &h.c), 0);
}

/* RFC 8985: a retransmission has its time, too. */
static void test_rack_given_lost_retransmission_resends_it(void **state)
{
	(void)state;
	send_ten();
	host_send(&h, 10 * mss());
	h.now_us += RTT_US;
	ack(0, 1, 7);
	host_output(&h);
	assert_sent(0, 0, mss());
	assert_true(h.out_n > 1); /* and new data behind it */
	h.now_us += 1000;
	ack(0, 1, 10);
	host_output(&h);
	h.now_us += RTT_US;
	ack(0, 1, 12); /* what was sent after the retransmission has arrived */
	host_output(&h);
	assert_sent(0, 0, mss());
	assert_int_equal(h.extra.retrans_segs, 2);
}

static void reorder_once(void)
{
	send_ten();
	h.now_us += RTT_US;
	ack(0, 1, 2);
	h.now_us += 1000;
	plain_ack(10); /* the first one arrived a little later */
	assert_true(tcp_conn_loss(&h.c, TCP_L_REORDERING));
	assert_int_equal(h.extra.reord_seen, 1);
	h.c.rtt_min_us = RTT_US;
	h.c.srtt_us = RTT_US;
}

/* Section 6.2 steps 3 and 4, section 6.3. */
static void test_rack_given_reordering_waits_for_the_window(void **state)
{
	(void)state;
	reorder_once();
	host_send(&h, 10 * mss());
	host_output(&h);
	h.now_us += RTT_US;
	ack(10, 11, 20);
	assert_int_equal(host_output(&h), 0); /* nine SACKed, and yet no loss */
	assert_true(tcp_conn_loss(&h.c, TCP_L_REO));
	assert_int_equal(h.c.entry.deadline_us, h.now_us + RTT_US / 4);
	h.now_us += RTT_US / 8;
	plain_ack(20);
	assert_int_equal(h.extra.retrans_segs, 0);
	host_send(&h, 10 * mss());
	host_output(&h);
	h.now_us += RTT_US;
	h.c.rtt_min_us = RTT_US;
	h.c.srtt_us = RTT_US;
	ack(20, 21, 30);
	host_fire(&h); /* this time it was lost */
	assert_int_equal(h.counters.reo_timeouts, 1);
	host_output_one(&h);
	assert_sent(0, 20, mss());
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	assert_int_equal(h.c.entry.deadline_us, h.now_us + h.c.rto_us);
}

static void test_rack_given_dsacks_widens_the_window(void **state)
{
	(void)state;
	reorder_once();
	tcp_extra_make(&h.ctx, &h.c)->retrans_segs = 10;
	assert_int_equal(h.extra.reo_mult, 1);
	ack(10, 3, 4);
	assert_int_equal(h.extra.reo_mult, 2);
	assert_int_equal(h.extra.dsack_dups, 1);
	host_send(&h, 10 * mss());
	host_output(&h);
	ack(10, 4, 5);
	assert_int_equal(h.extra.reo_mult, 3);
	ack(10, 5, 6); /* once a round */
	assert_int_equal(h.extra.reo_mult, 3);
	assert_int_equal(h.extra.reo_persist, 16);
	h.now_us += RTT_US;
	ack(10, 11, 20);
	assert_true(tcp_conn_loss(&h.c, TCP_L_REO));
	assert_int_equal(h.c.entry.deadline_us, h.now_us + RTT_US / 4 * 3);
}

static void test_rack_given_sixteen_recoveries_forgets_dsacks(void **state)
{
	(void)state;
	tcp_extra_make(&h.ctx, &h.c)->reo_mult = 5;
	h.extra.reo_persist = 16;
	for (uint32_t i = 0; i < 16; i++) {
		assert_int_equal(h.extra.reo_mult, 5);
		host_send(&h, 10 * mss());
		h.c.cwnd = 10 * mss();
		host_output(&h);
		h.now_us += RTT_US;
		ack(10 * i, 10 * i + 1, 10 * i + 10);
		host_output(&h);
		plain_ack(10 * i + 10);
	}
	assert_int_equal(h.extra.reo_mult, 1);
}

/* -- blocks that are not believed ---------------------------------------------------------------
 */

static void test_sack_given_blocks_out_of_flight_ignores_them(void **state)
{
	(void)state;
	send_ten();
	ack(0, 5, 11); /* past what was sent */
	ack(0, 7, 7);  /* empty */
	ack(0, 8, 6);  /* backwards */
	assert_int_equal(h.counters.sack_invalid, 3);
	ack(0, 0, 2); /* begins at the acknowledgement, which would then have moved */
	assert_int_equal(h.counters.sack_invalid, 4);
	assert_int_equal(tcp_conn_sacked(&h.ctx, &h.c), 0);
	ack(4, 2, 6); /* begins below it, ends above */
	assert_int_equal(h.counters.sack_invalid, 5);
	assert_int_equal(tcp_conn_sacked(&h.ctx, &h.c), 0);
	assert_int_equal(h.extra.dsack_dups, 0);
}

/* RFC 3708 section 3: with more DSACKs than retransmissions the network duplicates. */
/* RFC 2018 says nothing of the order of ACKs: one that was overtaken may know of more. */
static void test_sack_given_overtaken_ack_believes_its_blocks(void **state)
{
	struct tcp_segment old;
	uint32_t cwnd;

	(void)state;
	send_ten();
	h.now_us += RTT_US;
	ack(0, 9, 10); /* a scoreboard */
	host_output(&h);
	old = make_ack(0, (const uint32_t[]){5, 7, 0, 0});
	plain_ack(2);
	host_output(&h);
	cwnd = h.c.cwnd;
	old.wnd = 10; /* its window is as old as it */
	host_deliver(&h, &old);
	assert_int_equal(tcp_conn_sacked(&h.ctx, &h.c), 3 * mss());
	assert_int_equal(h.counters.sacks_overtaken, 1);
	assert_int_equal(h.c.snd_wnd, 60000);
	assert_int_equal(tcp_conn_una(&h.c), 2 * mss());
	assert_true(h.c.cwnd <= cwnd);
}

static void test_sack_given_overtaken_ack_without_news_changes_nothing(void **state)
{
	struct tcp_segment old;
	uint8_t dupacks;

	(void)state;
	send_ten();
	h.now_us += RTT_US;
	ack(0, 9, 10);
	host_output(&h);
	old = make_ack(0, (const uint32_t[]){1, 2, 9, 10, 0, 0}); /* below una meanwhile; known */
	plain_ack(2);
	host_output(&h);
	dupacks = h.c.dupacks;
	for (int i = 0; i < 5; i++)
		host_deliver(&h, &old);
	assert_int_equal(tcp_conn_sacked(&h.ctx, &h.c), mss());
	assert_int_equal(h.counters.sacks_overtaken, 0);
	assert_int_equal(h.c.dupacks, dupacks);
	assert_false(tcp_conn_in_episode(&h.c));
	assert_int_equal(host_output(&h), 0);
}

static void test_sack_given_overtaken_ack_shows_loss_recovers(void **state)
{
	struct tcp_segment old;

	(void)state;
	send_ten();
	h.now_us += RTT_US;
	old = make_ack(1, (const uint32_t[]){5, 9, 0, 0});
	ack(2, 9, 10);
	host_output(&h);
	assert_false(tcp_conn_in_episode(&h.c));
	host_deliver(&h, &old);
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	host_output(&h);
	assert_sent(0, 2, mss());
}

static void test_dsack_given_more_than_retransmissions_believes_none(void **state)
{
	(void)state;
	reorder_once();
	ack(10, 3, 4);
	assert_int_equal(h.extra.dsack_dups, 1);
	assert_int_equal(h.extra.reo_mult, 1);
}

/* RFC 2018 section 8. */
static void test_recovery_given_reneging_peer_sends_all_again(void **state)
{
	(void)state;
	send_ten();
	h.now_us += RTT_US;
	ack(0, 1, 10);
	host_output(&h);
	plain_ack(1); /* and where are those behind it? */
	assert_int_equal(tcp_conn_sacked(&h.ctx, &h.c), 9 * mss());
	while (tcp_conn_sacked(&h.ctx, &h.c) > 0) {
		host_fire(&h);
		host_output(&h);
	}
	assert_int_equal(h.counters.sack_reneged, 1);
	assert_sent(0, 1, mss());
	plain_ack(2);
	host_output(&h);
	assert_sent(0, 2, mss());
}

/* -- PRR ----------------------------------------------------------------------------------------
 */

/* RFC 9937: twenty in flight, one lost; ten are sent for the nineteen that arrive. */
static void test_prr_given_one_loss_sends_in_proportion(void **state)
{
	unsigned int sent = 0;

	(void)state;
	h.c.cwnd = 20 * mss();
	host_send(&h, 100 * mss());
	assert_int_equal(host_output(&h), 20);
	h.now_us += RTT_US;
	for (uint32_t i = 2; i <= 20; i++) {
		ack(0, 1, i);
		sent += host_output(&h);
		if (tcp_conn_has(&h.c, TCP_F_RECOVERY))
			assert_true(tcp_conn_pipe(&h.ctx, &h.c) <= h.c.cwnd);
	}
	assert_int_equal(h.c.ssthresh, 10 * mss());
	assert_in_range(
		sent, 10, 13); /* two by limited transmit, then the hole, then in proportion */
	assert_in_range(tcp_conn_pipe(&h.ctx, &h.c), 9 * mss(), 11 * mss());
	plain_ack((uint32_t)((h.c.recover_seq - h.c.iss - 1) / mss()));
	assert_int_equal(h.c.cwnd, 10 * mss());
}

/* Section 6: below ssthresh it grows back, at most one segment more for each ACK. */
/* Three ACKs that come in one burst deliver as much as one that says all of it: something goes
 * behind the retransmission, so that its loss can be seen. */
static void test_prr_given_acks_in_a_burst_counts_all_they_deliver(void **state)
{
	(void)state;
	h.c.cwnd = 4 * mss();
	host_send(&h, 10 * mss());
	assert_int_equal(host_output(&h), 4);
	h.now_us += RTT_US;
	ack(0, 1, 2);
	ack(0, 1, 3);
	ack(0, 1, 4);
	assert_int_equal(h.c.ssthresh, 2 * mss());
	assert_int_equal(host_output(&h), 2);
	assert_sent(0, 0, mss());
	assert_sent(1, 4, mss());
}

static void test_prr_given_many_losses_grows_like_slow_start(void **state)
{
	uint64_t before;

	(void)state;
	h.c.cwnd = 20 * mss();
	host_send(&h, 100 * mss());
	host_output(&h);
	h.now_us += RTT_US;
	ack(0, 17, 20);
	assert_int_equal(host_output(&h), 3); /* 17 lost, pipe is 0: as many as were delivered */
	assert_sent(0, 0, mss());
	before = tcp_conn_pipe(&h.ctx, &h.c);
	assert_true(before <= 3ull * mss());
	h.now_us += RTT_US;
	ack(1, 17, 20);
	host_output(&h);
	assert_true(tcp_conn_pipe(&h.ctx, &h.c) <= before + mss());
	assert_true(tcp_conn_pipe(&h.ctx, &h.c) >= before);
}

/* -- tail loss probes -----------------------------------------------------------------------------
 */

static void test_tlp_given_silence_resends_the_last_segment(void **state)
{
	(void)state;
	host_send(&h, 3 * mss() + 100);
	h.c.flags |= TCP_F_NODELAY;
	tcp_conn_settle(&h.ctx, &h.c, h.now_us);
	assert_int_equal(host_output(&h), 4);
	assert_true(tcp_conn_loss(&h.c, TCP_L_PTO));
	assert_int_equal(h.c.entry.deadline_us, h.now_us + 2 * RTT_US + 2 * MS_US);
	host_fire(&h);
	host_output_one(&h);
	assert_int_equal(host_rel_seq(&h, &h.out[0]) + h.out[0].len, 1 + 3 * mss() + 100);
	assert_int_equal(h.counters.tlp_probes, 1);
	assert_int_equal(h.c.entry.deadline_us, h.now_us + h.c.rto_us); /* one probe, then RTO */
	assert_int_equal(h.c.cwnd, 10 * mss());
}

/* Its SACK shows RACK that the others are lost. */
static void test_tlp_given_probe_sacked_recovers_without_timeout(void **state)
{
	struct tcp_segment s;

	(void)state;
	host_send(&h, 3 * mss());
	host_output(&h);
	host_fire(&h);
	host_output_one(&h);
	assert_sent(0, 2, mss());
	h.now_us += RTT_US;
	s = make_ack(0, (const uint32_t[]){2, 3, 0, 0});
	host_deliver(&h, &s);
	if (!tcp_conn_has(&h.c, TCP_F_RECOVERY))
		host_fire(&h); /* the reordering window */
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	host_output_one(&h);
	assert_sent(0, 0, mss());
	assert_int_equal(h.counters.rto_timeouts, 0);
}

static void test_tlp_given_new_data_probes_with_it(void **state)
{
	(void)state;
	h.c.cwnd = 3 * mss();
	host_send(&h, 10 * mss());
	assert_int_equal(host_output(&h), 3);
	host_fire(&h);
	host_output_one(&h);
	assert_sent(0, 3, mss()); /* beyond cwnd */
	assert_true(tcp_conn_loss(&h.c, TCP_L_TLP_NEW));
	h.now_us += RTT_US;
	plain_ack(4);
	assert_false(tcp_conn_loss(&h.c, TCP_L_TLP_OUT));
	assert_int_equal(h.counters.tlp_recoveries, 0);
}

/* Section 7.4.2: no DSACK for the probe, so that the first copy was lost. */
static void test_tlp_given_repair_reduces_cwnd(void **state)
{
	(void)state;
	host_send(&h, 4 * mss());
	host_output(&h);
	host_fire(&h);
	host_output_one(&h);
	h.now_us += RTT_US;
	plain_ack(4);
	assert_int_equal(h.counters.tlp_recoveries, 0); /* not known yet */
	host_send(&h, mss());
	host_output(&h);
	h.now_us += RTT_US;
	plain_ack(5);
	assert_int_equal(h.counters.tlp_recoveries, 1);
	assert_int_equal(h.c.cwnd, h.c.ssthresh);
}

static void test_tlp_given_dsack_changes_nothing(void **state)
{
	uint32_t cwnd;

	(void)state;
	host_send(&h, 4 * mss());
	host_output(&h);
	host_fire(&h);
	host_output_one(&h);
	h.now_us += RTT_US;
	plain_ack(4);
	ack(4, 3, 4);
	assert_false(tcp_conn_loss(&h.c, TCP_L_TLP_OUT));
	cwnd = h.c.cwnd;
	host_send(&h, mss());
	host_output(&h);
	plain_ack(5);
	assert_true(h.c.cwnd >= cwnd);
	assert_int_equal(h.counters.tlp_recoveries, 0);
}

static void test_tlp_given_one_segment_leaves_it_to_the_timeout(void **state)
{
	(void)state;
	host_send(&h, 100);
	host_output_one(&h);
	assert_false(tcp_conn_loss(&h.c, TCP_L_PTO));
	assert_int_equal(h.c.entry.deadline_us, h.now_us + h.c.rto_us);
}

/* -- time-outs ------------------------------------------------------------------------------------
 */

/* To the time-out, past the probe. */
static void time_out(void)
{
	host_fire(&h);
	host_output(&h);
	if (h.counters.rto_timeouts == 0) {
		host_fire(&h);
		host_output(&h);
	}
	assert_int_equal(h.counters.rto_timeouts, 1);
}

static void test_recovery_given_timeout_slow_starts_over_what_is_lost(void **state)
{
	(void)state;
	send_ten();
	time_out();
	assert_int_equal(h.out_n, 1);
	assert_sent(0, 0, mss());
	assert_int_equal(tcp_conn_lost(&h.ctx, &h.c), 9 * mss());
	assert_int_equal(h.c.ssthresh, 5 * mss());
	assert_int_equal(h.c.cwnd, mss());
	h.now_us += RTT_US;
	ack(0, 4, 5);
	assert_int_equal(host_output(&h), 0);
	plain_ack(1); /* no new data: F-RTO has nothing to try with */
	assert_int_equal(host_output(&h), 2);
	assert_sent(0, 1, mss());
	h.now_us += RTT_US;
	ack(3, 4, 5);
	host_output(&h);
	assert_sent(0, 3, mss());
	assert_sent(1, 5, mss()); /* not the one that has arrived */
	h.now_us += RTT_US;
	plain_ack(10);
	assert_false(tcp_conn_loss(&h.c, TCP_L_RTO));
	assert_false(h.score_used);
}

/* RFC 5682 section 3.1: the originals were only late. */
static void test_frto_given_late_originals_undoes(void **state)
{
	(void)state;
	send_ten();
	host_send(&h, 10 * mss());
	h.c.loss |= TCP_L_TLP_OUT | TCP_L_TLP_NEW; /* no probe before it */
	tcp_extra_make(&h.ctx, &h.c)->tlp_seq = h.c.iss + 1 + 10 * mss();
	h.c.send_at = 0;
	tcp_conn_settle(&h.ctx, &h.c, h.now_us);
	time_out();
	assert_sent(0, 0, mss());
	h.now_us += 1000;
	plain_ack(1);
	assert_int_equal(host_output(&h), 2); /* new data, nothing again */
	assert_sent(0, 10, mss());
	assert_sent(1, 11, mss());
	plain_ack(2); /* was sent once */
	assert_int_equal(h.counters.undo_frto, 1);
	assert_true(h.c.cwnd >= 10 * mss());
	assert_true(h.c.ssthresh > 10 * mss());
	assert_int_equal(tcp_conn_lost(&h.ctx, &h.c), 0);
	assert_false(tcp_conn_loss(&h.c, TCP_L_RTO | TCP_L_FRTO));
	host_output(&h);
	assert_int_equal(h.extra.retrans_segs, 1);
}

static void test_frto_given_real_loss_goes_on(void **state)
{
	(void)state;
	send_ten();
	host_send(&h, 10 * mss());
	h.c.loss |= TCP_L_TLP_OUT | TCP_L_TLP_NEW;
	tcp_extra_make(&h.ctx, &h.c)->tlp_seq = h.c.iss + 1 + 10 * mss();
	h.c.send_at = 0;
	tcp_conn_settle(&h.ctx, &h.c, h.now_us);
	time_out();
	h.now_us += RTT_US;
	plain_ack(1);
	assert_int_equal(host_output(&h), 2);
	h.now_us += RTT_US;
	ack(1, 10, 11); /* the new data, and nothing of the old */
	host_output(&h);
	assert_sent(0, 1, mss());
	assert_int_equal(h.counters.undo_frto, 0);
	assert_int_equal(h.c.ssthresh, 5 * mss());
}

/* The peer took its window back: probes, not retransmissions, and no giving up. */
static void test_recovery_given_window_taken_back_probes(void **state)
{
	(void)state;
	send_ten();
	host_input(&h, TCP_ACK, 1, 1, 0, 0);
	for (unsigned int i = 0; i < 40; i++) {
		host_fire(&h);
		host_output(&h);
		if (h.counters.rto_timeouts > 0) {
			assert_true(h.out_n <= 1);
			host_input(&h, TCP_ACK, 1, 1, 0, 0);
			host_output(&h);
		}
	}
	assert_int_equal(h.c.state, TCP_ESTABLISHED);
	assert_true(h.counters.window_probes > 10);
	host_input(&h, TCP_ACK, 1, 1, 60000, 0);
	host_output(&h);
	assert_sent(0, 0, mss());
}

static void test_recovery_given_lost_fin_resends_it(void **state)
{
	(void)state;
	host_send(&h, 3 * mss());
	host_shutdown(&h);
	assert_int_equal(host_output(&h), 3);
	assert_int_equal(h.out[2].flags & TCP_FIN, TCP_FIN);
	host_fire(&h); /* the probe: the last segment with its FIN, cut to one MSS */
	host_output_one(&h);
	assert_int_equal(h.out[0].flags & TCP_FIN, TCP_FIN);
	assert_int_equal(host_rel_seq(&h, &h.out[0]) + h.out[0].len, 1 + 3 * mss());
	h.now_us += RTT_US;
	plain_ack(3); /* all but the FIN */
	host_fire(&h);
	host_output_one(&h);
	assert_int_equal(h.out[0].flags & TCP_FIN, TCP_FIN);
	assert_int_equal(h.out[0].len, 0);
	host_input(&h, TCP_ACK, 1, 2 + 3 * mss(), 60000, 0);
	assert_int_equal(h.c.state, TCP_FIN_WAIT_2);
	assert_false(h.score_used);
}

/* -- undo -----------------------------------------------------------------------------------------
 */

static void lose_first(void)
{
	send_ten();
	host_send(&h, 10 * mss());
	h.now_us += RTT_US;
	ack(0, 1, 4);
	host_output(&h);
	assert_sent(0, 0, mss());
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
}

/* RFC 3522: the ACK echoes the first transmission. */
static void test_undo_given_old_echo_restores(void **state)
{
	uint64_t sent_us = h.now_us;

	(void)state;
	lose_first();
	h.now_us += 5000;
	ack_echo(4, sent_us);
	assert_int_equal(h.counters.undo_timestamp, 1);
	assert_false(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	assert_true(h.c.cwnd >= 10 * mss());
	assert_true(h.c.ssthresh > 10 * mss());
}

static void test_undo_given_new_echo_keeps_recovery(void **state)
{
	(void)state;
	lose_first();
	h.now_us += RTT_US;
	ack_echo(4, h.now_us - RTT_US);
	assert_int_equal(h.counters.undo_timestamp, 0);
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
}

/* RFC 3708: all that was sent again arrived twice. */
static void test_undo_given_dsack_restores(void **state)
{
	(void)state;
	lose_first();
	h.now_us += 5000;
	plain_ack(4); /* the late original */
	host_output(&h);
	assert_true(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	h.now_us += 5000;
	ack(4, 0, 1); /* and then the retransmission */
	assert_int_equal(h.counters.undo_dsack, 1);
	assert_false(tcp_conn_has(&h.c, TCP_F_RECOVERY));
	assert_true(h.c.cwnd >= 10 * mss());
}

#define T(name)	   cmocka_unit_test_setup_teardown(name, setup, host_teardown)
#define T_TS(name) cmocka_unit_test_setup_teardown(name, setup_ts, host_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_recovery_given_request_response_needs_no_scoreboard),
		T(test_recovery_given_second_burst_begins_and_ends_with_the_flight),
		T(test_recovery_given_no_memory_falls_back_to_newreno),
		T(test_recovery_given_three_sacked_resends_the_hole_alone),
		T_TS(test_recovery_given_three_sacked_resends_the_hole_alone),
		T(test_recovery_given_first_sacks_sends_new_data),
		T(test_recovery_given_several_holes_resends_all_in_a_round),
		T(test_rack_given_lost_retransmission_resends_it),
		T(test_rack_given_reordering_waits_for_the_window),
		T(test_rack_given_dsacks_widens_the_window),
		T(test_rack_given_sixteen_recoveries_forgets_dsacks),
		T(test_sack_given_blocks_out_of_flight_ignores_them),
		T(test_sack_given_overtaken_ack_believes_its_blocks),
		T(test_sack_given_overtaken_ack_without_news_changes_nothing),
		T(test_sack_given_overtaken_ack_shows_loss_recovers),
		T(test_dsack_given_more_than_retransmissions_believes_none),
		T(test_recovery_given_reneging_peer_sends_all_again),
		T(test_prr_given_one_loss_sends_in_proportion),
		T(test_prr_given_acks_in_a_burst_counts_all_they_deliver),
		T(test_prr_given_many_losses_grows_like_slow_start),
		T(test_tlp_given_silence_resends_the_last_segment),
		T(test_tlp_given_probe_sacked_recovers_without_timeout),
		T(test_tlp_given_new_data_probes_with_it),
		T(test_tlp_given_repair_reduces_cwnd),
		T(test_tlp_given_dsack_changes_nothing),
		T(test_tlp_given_one_segment_leaves_it_to_the_timeout),
		T(test_recovery_given_timeout_slow_starts_over_what_is_lost),
		T(test_frto_given_late_originals_undoes),
		T(test_frto_given_real_loss_goes_on),
		T(test_recovery_given_window_taken_back_probes),
		T(test_recovery_given_lost_fin_resends_it),
		T_TS(test_undo_given_old_echo_restores),
		T_TS(test_undo_given_new_echo_keeps_recovery),
		T(test_undo_given_dsack_restores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
