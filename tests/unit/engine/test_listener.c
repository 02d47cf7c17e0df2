/* Listeners: the queue and its bound, what is told of it, and floods. */
#include "fixture.h"

#include <tcp/cc.h>

enum {
	FLOOD = 20000,
};

static struct sim_tcp syn_from(uint32_t host, uint16_t sport)
{
	const uint8_t b[4] = {10, 0, (uint8_t)(host >> 8), (uint8_t)(host | 3)};
	struct sim_tcp t = {.dst_be = sim_ip_be(1),
		.sport = sport,
		.dport = PORT,
		.flags = TCP_SYN,
		.wnd = 1000};

	memcpy(&t.src_be, b, 4);
	t.seq = host * 77777 + sport;
	return t;
}

static void inject(const struct sim_tcp *t)
{
	uint8_t frame[SIM_FRAME_MAX];
	uint32_t len = sim_frame_tcp(frame, 0, t);

	sim_link_send(&f.w.link, 0, frame, len);
}

static void test_listener_given_flood_of_syns_serves_the_honest(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < FLOOD; i++) {
		struct sim_tcp t = syn_from(i % 250, (uint16_t)(1024 + i));

		inject(&t);
		if (i % 2000 == 1000) {
			run_ms(5);
			assert_works(f.here);
		}
	}
	run_ms(5);
	assert_true(engine_counters(engine_of(1))->halves_full > FLOOD / 2);
	assert_true(gauges(1).halves <= f.cfg.host[1].limits.halves_max);
	assert_works(f.here);
	assert_true(engine_tcp_counters(engine_of(1))->cookies_accepted > 0);
	run_ms(120000); /* the half-open ones give up */
	assert_int_equal(gauges(1).halves, 0);
	assert_int_equal(gauges(1).conns, 0);
}

/* Only the session that has it, and only while it is there. */
static void test_listener_set_of_another_session_refused(void **state)
{
	struct listener *l = engine_of(1)->listeners[f.listener->handle.idx];
	struct engine_listen_desc d = l->desc;

	(void)state;
	d.defer_accept_us = 5000000;
	assert_int_equal(listener_set(engine_of(1), &d), 0);
	assert_int_equal(l->desc.defer_accept_us, 5000000);
	d.session++;
	assert_int_equal(listener_set(engine_of(1), &d), -ENOENT);
	d.session--;
	d.handle.gen++;
	assert_int_equal(listener_set(engine_of(1), &d), -ENOENT);
}

static struct listener *add_sharing(uint32_t idx, bool v6only)
{
	struct engine_listen_desc d = {.session = f.there->session,
		.handle = {idx, 1},
		.port = PORT + 1,
		.backlog = 4,
		.v6only = v6only,
		.reuseport = true};

	assert_int_equal(listener_add(engine_of(1), &d), 0);
	return engine_of(1)->listeners[idx];
}

/* Of those that share [::] and a port, one that is for IPv6 only gets no connection of IPv4, and
 * leaves them to the others. */
static void test_listener_given_shared_name_picks_one_of_the_family(void **state)
{
	const struct listener *l[3];
	unsigned int got[2][3] = {0};

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		l[i] = add_sharing(100 + i, i != 1);
	for (uint32_t i = 0; i < 600; i++) {
		struct net_tuple key = {.lport = PORT + 1, .rport = (uint16_t)(1024 + i)};
		const struct listener *one;

		key.local.b[15] = 1;
		if (i % 2) {
			key.local.b[10] = key.local.b[11] = 0xff;
			key.local.b[12] = 10;
		}
		one = listener_lookup(engine_of(1), &key);
		assert_ptr_equal(one, listener_lookup(engine_of(1), &key));
		for (unsigned int n = 0; n < 3; n++)
			got[i % 2][n] += one == l[n];
	}
	for (unsigned int n = 0; n < 3; n++)
		assert_true(got[0][n] > 50);
	assert_int_equal(got[1][1], 300);
	listener_del(engine_of(1), l[1]->desc.handle);
	assert_null(listener_lookup(engine_of(1),
		&(struct net_tuple){.lport = PORT + 1,
			.local = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}}}));
}

static void test_listener_given_land_packet_drops_it(void **state)
{
	struct sim_tcp t = syn_from(0, PORT);

	(void)state;
	t.src_be = sim_ip_be(1);
	inject(&t);
	run_ms(20);
	assert_int_equal(gauges(1).halves, 0);
	assert_int_equal(gauges(1).conns, 0);
	assert_works(f.here);
}

/* A SYN with ACK or RST is no SYN that a cookie could answer. */
static void test_listener_given_no_entries_answers_odd_syns_as_ever(void **state)
{
	const uint8_t odd[] = {TCP_SYN | TCP_ACK, TCP_SYN | TCP_RST, TCP_SYN | TCP_ACK | TCP_RST};
	uint32_t halves_max = engine_of(1)->halves.max;

	(void)state;
	engine_of(1)->halves.max = 0;
	for (size_t i = 0; i < sizeof(odd); i++) {
		struct sim_tcp t = syn_from(0, (uint16_t)(3000 + i));

		t.src_be = sim_ip_be(0);
		t.flags = odd[i];
		inject(&t);
	}
	run_ms(20);
	assert_int_equal(engine_tcp_counters(engine_of(1))->listen_stray_ack, 1);
	assert_int_equal(engine_tcp_counters(engine_of(1))->cookies_sent, 0);
	engine_of(1)->halves.max = halves_max;
	assert_works(f.here);
}

/* -- fast open: RFC 7413 section 5.1 ---------------------------------------------------------- */

enum {
	FASTOPEN_MAX = 2,
};

static int setup_fastopen(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.host[0].tcp.fastopen = f.cfg.host[1].tcp.fastopen =
		TCP_FASTOPEN_CLIENT | TCP_FASTOPEN_SERVER;
	f.client_cfg.fastopen = true;
	f.client_cfg.fastopen_max = FASTOPEN_MAX;
	fixture_start();
	return 0;
}

/* A SYN with host 0's cookie, and 4 bytes; its engine knows nothing of it and resets. */
static void inject_fast_syn(uint16_t sport)
{
	struct sim_tcp t = syn_from(0, sport);
	uint8_t opt[12] = {1, 1, 34, 10};
	struct net_tuple key = {.local = net_addr_from_ip4(sim_ip_be(1))};

	t.src_be = sim_ip_be(0);
	key.remote = net_addr_from_ip4(t.src_be);
	tcp_fastopen_make(&engine_of(1)->tcp, &key, f.w.now_us, opt + 4);
	t.opt = opt;
	t.opt_len = sizeof(opt);
	t.payload = (const uint8_t *)"data";
	t.len = 4;
	inject(&t);
}

/* The cookie is had by a first connection; the data of a second one's SYN comes with its accept,
 * once, and so does the answer. */
static void test_listener_given_fast_open_delivers_before_the_handshake_ends(void **state)
{
	struct sim_sock *c, *s;

	(void)state;
	assert_works(f.here);
	f.w.link.way[1].cut = true; /* the SYN|ACK is lost */
	c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(1);
	send_bytes(c, 0x41, 1000);
	run_ms(50);
	assert_int_equal(f.listener->pending, 1);
	s = sim_client_accept(f.listener, 0);
	run_ms(5);
	assert_int_equal(read_bytes(s, 0x41), 1000);
	assert_false(c->flags & PROTO_FLOW_ESTABLISHED);
	send_bytes(s, 0x42, 2000);
	f.w.link.way[1].cut = false;
	run_ms(3000);
	assert_true(c->flags & PROTO_FLOW_ESTABLISHED);
	assert_int_equal(read_bytes(c, 0x42), 2000);
	assert_int_equal(s->received_pos, 1000);
	assert_int_equal(engine_of(1)->listeners[f.listener->handle.idx]->fastopen_pending, 0);
	assert_int_equal(engine_tcp_counters(engine_of(1))->fastopen_accepted, 1);
}

/* As for a connection whose handshake has ended (test_flow.c). */
static void test_listener_given_fast_open_and_a_route_takes_its_congestion_control(void **state)
{
	struct net_prefix_rule rule = {.prefix = net_addr_from_ip4(sim_ip_be(0)),
		.prefix_len = 128,
		.value = TCP_CC_DCTCP};
	struct sim_sock *c, *s;

	(void)state;
	assert_works(f.here);
	engine_of(1)->cfg.cc_rules = &rule;
	engine_of(1)->cfg.cc_rule_count = 1;
	c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(1);
	send_bytes(c, 0x41, 1000);
	run_ms(50);
	s = sim_client_accept(f.listener, 0);
	run_ms(5);
	assert_int_equal(engine_tcp_counters(engine_of(1))->fastopen_accepted, 1);
	assert_int_equal(conn_at(engine_of(1), sock_at(engine_of(1), s->handle.idx)->conn)->cc,
		TCP_CC_DCTCP);
}

/* Those that were reset count for a minute more; SYNs beyond the limit are ordinary ones. */
static void test_listener_given_fast_opens_reset_still_counts_them(void **state)
{
	const struct engine_counters *n = engine_counters(engine_of(1));
	const struct tcp_counters *t = engine_tcp_counters(engine_of(1));
	struct listener *l = engine_of(1)->listeners[f.listener->handle.idx];

	(void)state;
	for (uint16_t i = 0; i < FASTOPEN_MAX + 2; i++) {
		inject_fast_syn((uint16_t)(7000 + i));
		run_ms(50);
	}
	assert_int_equal(t->fastopen_accepted, FASTOPEN_MAX);
	assert_int_equal(n->fastopen_resets_held, FASTOPEN_MAX);
	assert_int_equal(n->fastopen_full, 2);
	assert_int_equal(l->fastopen_pending, FASTOPEN_MAX);
	assert_int_equal(f.listener->pending, FASTOPEN_MAX);
	for (int i = 0; i < FASTOPEN_MAX; i++) { /* they are handed over like any other */
		struct sim_sock *s = sim_client_accept(f.listener, 0);

		run_ms(5);
		assert_int_equal(s->error, ECONNRESET);
		sim_sock_close(s, false);
	}
	run_ms(5);
	assert_int_equal(gauges(1).conns + gauges(1).halves, 0);
	assert_works(f.here);
	run_ms(60000);
	inject_fast_syn(7100);
	run_ms(50);
	assert_int_equal(t->fastopen_accepted, FASTOPEN_MAX + 1);
}

static void test_listener_given_wrong_cookie_answers_with_the_right_one(void **state)
{
	struct sim_sock *c;

	(void)state;
	assert_works(f.here);
	memset(engine_of(1)->tcp.fastopen_key, 7, 16); /* as after a restart */
	c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(1);
	send_bytes(c, 0x43, 1000);
	run_ms(50);
	assert_true(c->flags & PROTO_FLOW_ESTABLISHED);
	assert_int_equal(c->acked_pos, 1000);
	assert_int_equal(engine_tcp_counters(engine_of(1))->fastopen_cookie_bad, 1);
	assert_int_equal(engine_tcp_counters(engine_of(0))->fastopen_data_refused, 1);
	assert_int_equal(engine_tcp_counters(engine_of(0))->fastopen_cookies_learned, 2);
}

static int setup_small_backlog(void **state)
{
	(void)state;
	fixture_prepare();
	fixture_start();
	f.listener = sim_client_listen(f.there, 0, 81, 2);
	run_ms(1);
	return 0;
}

/* A full queue holds handshakes back; none is established here and dropped there. */
static void test_listener_given_full_queue_holds_handshakes_back(void **state)
{
	struct sim_sock *c[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		c[i] = sim_client_connect(f.here, 0, sim_ip_be(1), 81, 0);
	run_ms(100);
	assert_int_equal(f.listener->pending, 2);
	for (int i = 0; i < 4; i++) {
		assert_non_null(sim_client_accept(f.listener, 0));
		run_ms(8000); /* a repetition of the SYN, or of the SYN|ACK */
	}
	for (int i = 0; i < 4; i++) {
		assert_true(c[i]->flags & PROTO_FLOW_ESTABLISHED);
		assert_int_equal(c[i]->error, 0);
	}
	assert_int_equal(gauges(1).socks + f.listener->pending, 4);
}

static void test_listener_given_accept_of_nothing_says_again(void **state)
{
	struct sim_sock *s = sim_client_accept(f.listener, 0);

	(void)state;
	run_ms(5);
	assert_int_equal(s->state, SIM_SOCK_FAILED);
	assert_int_equal(s->error, EAGAIN);
	assert_works(f.here);
}

/* An accept that comes before its connection waits for it, and is all that the client hears. */
static void test_listener_given_accept_ahead_answers_it_with_the_connection(void **state)
{
	struct sim_sock *s[2], *c[3];

	(void)state;
	for (int i = 0; i < 2; i++)
		s[i] = sim_client_accept_ahead(f.listener, 0);
	run_ms(5);
	assert_int_equal(s[0]->state, SIM_SOCK_ACCEPTING);
	assert_int_equal(engine_counters(engine_of(1))->accepts_kept, 2);
	for (int i = 0; i < 3; i++) {
		c[i] = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
		run_ms(50);
		send_bytes(c[i], 0x51, 100);
		run_ms(50);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(s[i]->state, SIM_SOCK_OPEN);
		assert_int_equal(s[i]->key.rport, c[i]->key.lport);
		assert_int_equal(read_bytes(s[i], 0x51), 100);
	}
	assert_int_equal(f.listener->pending, 1); /* the third is told of as ever */
	s[0] = sim_client_accept_ahead(f.listener, 0);
	run_ms(5);
	assert_int_equal(s[0]->state, SIM_SOCK_OPEN);
	assert_int_equal(f.listener->pending, 0);
	assert_int_equal(engine_counters(engine_of(1))->accepts_kept, 2);
}

static void test_listener_given_too_many_accepts_ahead_refuses_the_rest(void **state)
{
	struct sim_sock *s[PROTO_ACCEPTS_KEPT + 1];

	(void)state;
	for (int i = 0; i <= PROTO_ACCEPTS_KEPT; i++) {
		s[i] = sim_client_accept_ahead(f.listener, 0);
		run_ms(1);
	}
	assert_int_equal(s[PROTO_ACCEPTS_KEPT - 1]->state, SIM_SOCK_ACCEPTING);
	assert_int_equal(s[PROTO_ACCEPTS_KEPT]->state, SIM_SOCK_FAILED);
	assert_int_equal(s[PROTO_ACCEPTS_KEPT]->error, EAGAIN);
}

/* The other one of two goes on waiting; of a listener that is gone none does. */
static void test_listener_given_cancel_answers_the_accept(void **state)
{
	struct sim_sock *s[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		s[i] = sim_client_accept_ahead(f.listener, 0);
	run_ms(5);
	sim_client_accept_cancel(f.listener, s[0]);
	run_ms(5);
	assert_int_equal(s[0]->state, SIM_SOCK_FAILED);
	assert_int_equal(s[0]->error, EAGAIN);
	assert_non_null(sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0));
	run_ms(50);
	assert_int_equal(s[1]->state, SIM_SOCK_OPEN);
	s[0] = sim_client_accept_ahead(f.listener, 0);
	run_ms(5);
	sim_client_unlisten(f.listener);
	run_ms(5);
	assert_int_equal(s[0]->state, SIM_SOCK_ACCEPTING);
	sim_client_accept_cancel(f.listener, s[0]);
	run_ms(5);
	assert_int_equal(s[0]->state, SIM_SOCK_FAILED);
	assert_int_equal(s[0]->error, EBADF);
}

static void reset_before_accept(void)
{
	struct sim_sock *c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);

	run_ms(50);
	send_bytes(c, 0x33, 100);
	run_ms(50);
	assert_true(sim_sock_close(c, true));
	run_ms(50);
	assert_int_equal(f.listener->pending, 1);
	assert_int_equal(gauges(1).conns, 1);
}

/* As Linux: whoever accepts it reads what had come, and then how it ended. */
static void test_listener_given_peer_reset_before_accept_hands_it_over(void **state)
{
	struct sim_sock *s;

	(void)state;
	reset_before_accept();
	s = sim_client_accept(f.listener, 0);
	run_ms(50);
	assert_int_equal(f.listener->pending, 0);
	assert_int_equal(s->error, ECONNRESET);
	assert_int_equal(read_bytes(s, 0x33), 100);
	sim_sock_close(s, false);
	run_ms(50);
	assert_int_equal(gauges(1).conns, 0);
}

static void test_listener_given_unlisten_forgets_who_was_reset(void **state)
{
	(void)state;
	reset_before_accept();
	sim_client_unlisten(f.listener);
	run_ms(50);
	assert_int_equal(gauges(1).conns, 0);
	assert_int_equal(engine_of(1)->pending_chunks.chunks_used, 0);
}

/* Its name is free meanwhile: the peer comes back from the same port. */
static void test_listener_given_reset_in_the_queue_takes_its_peer_again(void **state)
{
	uint32_t conns;

	(void)state;
	for (conns = 1; conns <= 3; conns++) {
		struct sim_sock *c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 5555);

		run_ms(50);
		assert_int_equal(f.listener->pending, conns);
		assert_true(sim_sock_close(c, true));
		run_ms(50);
	}
}

static void test_listener_given_unlisten_resets_the_waiting(void **state)
{
	struct sim_sock *c = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	struct sim_sock *late;

	(void)state;
	run_ms(50);
	sim_client_unlisten(f.listener);
	run_ms(50);
	assert_int_equal(c->error, ECONNRESET);
	late = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0);
	run_ms(50);
	assert_int_equal(late->error, ECONNREFUSED);
}

static int32_t post_listen(uint32_t session, uint32_t idx, uint32_t context, uint16_t port)
{
	struct engine_msg *m = sim_host_msg(ENGINE_CMD_LISTEN_ADD);
	int32_t result;

	m->tag = m;
	m->listen = (struct engine_listen_desc){.session = session,
		.handle = {.idx = idx, .gen = 1},
		.port = port,
		.context = context,
		.backlog = 1};
	sim_host_post(&f.w.host[1], m);
	run_ms(1);
	result = f.w.host[1].done->result;
	free(f.w.host[1].done);
	f.w.host[1].done = NULL;
	return result;
}

static void test_listener_given_bad_descriptions_refuses(void **state)
{
	uint32_t session = f.there->session;

	(void)state;
	assert_int_equal(post_listen(999, 5, 0, 90), -ENOENT);
	assert_int_equal(post_listen(session, LISTENERS_MAX, 0, 90), -EINVAL);
	assert_int_equal(post_listen(session, 5, 1, 90), -EINVAL);
	assert_int_equal(post_listen(session, 5, 0, PORT), -EADDRINUSE);
	assert_int_equal(post_listen(session, 5, 0, 90), 0);
	assert_int_equal(post_listen(session, 5, 0, 91), -EADDRINUSE);
}

#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_listener_given_flood_of_syns_serves_the_honest),
		cmocka_unit_test_setup_teardown(
			test_listener_given_fast_open_delivers_before_the_handshake_ends,
			setup_fastopen, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_listener_given_fast_open_and_a_route_takes_its_congestion_control,
			setup_fastopen, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_listener_given_fast_opens_reset_still_counts_them, setup_fastopen,
			fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_listener_given_wrong_cookie_answers_with_the_right_one, setup_fastopen,
			fixture_teardown),
		T(test_listener_given_land_packet_drops_it),
		T(test_listener_given_no_entries_answers_odd_syns_as_ever),
		T(test_listener_set_of_another_session_refused),
		T(test_listener_given_shared_name_picks_one_of_the_family),
		S(test_listener_given_full_queue_holds_handshakes_back, setup_small_backlog),
		T(test_listener_given_accept_of_nothing_says_again),
		T(test_listener_given_accept_ahead_answers_it_with_the_connection),
		T(test_listener_given_too_many_accepts_ahead_refuses_the_rest),
		T(test_listener_given_cancel_answers_the_accept),
		T(test_listener_given_peer_reset_before_accept_hands_it_over),
		T(test_listener_given_unlisten_forgets_who_was_reset),
		T(test_listener_given_reset_in_the_queue_takes_its_peer_again),
		T(test_listener_given_unlisten_resets_the_waiting),
		T(test_listener_given_bad_descriptions_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
