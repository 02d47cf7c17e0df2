/* Buffers that tune themselves, TCP_NOTSENT_LOWAT and TCP_WINDOW_CLAMP in the engine. */
#include "fixture.h"

enum {
	MBIT_BYTES_S = 125000,
	LONG_US = 50000, /* one way */
	STREAM_MS = 4000,
	MEASURED_MS = 2000, /* the last of them */
};

static struct sock *sock_of(int side, const struct sim_sock *sk)
{
	return sock_at(engine_of(side), sk->handle.idx);
}

static struct tcp_conn *conn_of(int side, const struct sim_sock *sk)
{
	return conn_at(engine_of(side), sock_of(side, sk)->conn);
}

/* 100 Mbit/s, 100 ms, and a queue that slow start does not overrun. */
static void prepare_long(void)
{
	fixture_prepare();
	f.cfg.profile.delay_us = LONG_US;
	f.cfg.profile.rate_bytes_s = 100 * MBIT_BYTES_S;
	f.client_cfg.up_bytes = f.client_cfg.down_bytes = 16 << 20;
	f.client_cfg.up_max_bytes = f.client_cfg.down_max_bytes = 64 << 20;
}

static int setup_long(void **state)
{
	(void)state;
	prepare_long();
	fixture_start();
	return 0;
}

static int setup_long_without_timestamps(void **state)
{
	(void)state;
	prepare_long();
	f.cfg.host[0].tcp.timestamps = f.cfg.host[1].tcp.timestamps = false;
	fixture_start();
	return 0;
}

static int setup_long_little_memory(void **state)
{
	(void)state;
	prepare_long();
	f.client_cfg.up_bytes = f.client_cfg.up_max_bytes = 1 << 20;
	fixture_start();
	return 0;
}

static int setup_long_untuned(void **state)
{
	(void)state;
	prepare_long();
	f.cfg.host[0].limits.tune_buffers = f.cfg.host[1].limits.tune_buffers = false;
	fixture_start();
	return 0;
}

static struct pair open_long(void)
{
	struct pair p = {.here = sim_client_connect(f.here, 0, sim_ip_be(1), PORT, 0)};

	run_ms(400);
	p.there = sim_client_accept(f.listener, 0);
	run_ms(400);
	assert_int_equal(p.there->state, SIM_SOCK_OPEN);
	return p;
}

static void fill(struct sim_sock *sk)
{
	static const uint8_t data[SIM_BLOCK_BYTES];

	while (sim_sock_send(sk, data, sizeof(data), false))
		;
}

/* Bytes read in the last MEASURED_MS of STREAM_MS. */
static uint64_t stream(struct pair p)
{
	uint64_t from = 0;

	for (int ms = 0; ms < STREAM_MS; ms++) {
		if (ms == STREAM_MS - MEASURED_MS)
			from = p.there->read_pos;
		fill(p.here);
		run_ms(1);
		read_bytes(p.there, 0);
	}
	return p.there->read_pos - from;
}

static uint64_t mbit_s(uint64_t bytes)
{
	return bytes * 8 / (MEASURED_MS * 1000ull);
}

static void test_tune_given_long_fat_path_fills_it(void **state)
{
	struct pair p = open_long();

	(void)state;
	assert_in_range(mbit_s(stream(p)), 90, 100);
	assert_true(sock_of(1, p.there)->rcvbuf_bytes > 1250000);
	assert_true(sock_of(0, p.here)->sndbuf_bytes > 1250000);
	assert_int_equal(engine_counters(engine_of(1))->rx_chunks_empty, 0);
}

static void test_tune_given_it_is_off_leaves_path_empty(void **state)
{
	struct pair p = open_long();

	(void)state;
	assert_in_range(mbit_s(stream(p)), 1, 15);
}

static void test_tune_given_no_timestamps_fills_path(void **state)
{
	struct pair p = open_long();

	(void)state;
	assert_in_range(mbit_s(stream(p)), 90, 100);
}

static void test_tune_given_rcvbuf_set_leaves_it(void **state)
{
	struct pair p = open_long();

	(void)state;
	assert_true(sim_sock_setopt(p.there, PROTO_SET_RCVBUF, 200000));
	stream(p);
	assert_int_equal(sock_of(1, p.there)->rcvbuf_bytes, 200000);
	assert_int_equal(engine_counters(engine_of(1))->rcvbufs_grown, 0);
}

static void test_tune_given_sndbuf_set_leaves_it(void **state)
{
	struct pair p = open_long();

	(void)state;
	assert_true(sim_sock_setopt(p.here, PROTO_SET_SNDBUF, 300000));
	stream(p);
	assert_int_equal(sock_of(0, p.here)->sndbuf_bytes, 300000);
	assert_int_equal(engine_counters(engine_of(0))->sndbufs_grown, 0);
}

/* Who does not read is not promised more. */
static void test_tune_given_slow_reader_keeps_buffer(void **state)
{
	struct pair p = open_long();
	const uint8_t *data;
	uint32_t n;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		fill(p.here);
		run_ms(1);
		n = sim_sock_peek(p.there, &data);
		if (n)
			sim_sock_take(p.there, n < 200 ? n : 200);
		sim_sock_consumed(p.there);
	}
	assert_int_equal(sock_of(1, p.there)->rcvbuf_bytes, 128 << 10);
}

/* What is promised is kept: the buffer stays within the chunks that there are. */
static void test_tune_given_little_memory_drops_nothing(void **state)
{
	struct pair p = open_long();

	(void)state;
	stream(p);
	assert_in_range(sock_of(1, p.there)->rcvbuf_bytes, 128 << 10, 1 << 20);
	assert_int_equal(engine_counters(engine_of(1))->rx_chunks_empty, 0);
}

static void test_tune_given_idle_connections_none_has_a_block(void **state)
{
	struct pair p[10];

	(void)state;
	for (int i = 0; i < 10; i++)
		p[i] = open_pair(f.here);
	for (int i = 0; i < 10; i++)
		send_bytes(p[i].here, 0, 5000);
	run_ms(100);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(read_bytes(p[i].there, 0), 5000);
		assert_int_equal(sock_of(1, p[i].there)->rcvbuf_bytes, 128 << 10);
		assert_int_equal(sock_of(0, p[i].here)->sndbuf_bytes, 256 << 10);
	}
	assert_int_equal(engine_of(0)->tunes.used + engine_of(1)->tunes.used, 0);
}

/* A dialogue crosses TUNE_EVERY_BYTES now and then, is measured and found to be none of ours. */
static void test_tune_given_dialogue_gives_block_back(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	for (int i = 0; i < 200; i++) {
		send_bytes(p.here, 0, 1000);
		run_ms(50);
		assert_int_equal(read_bytes(p.there, 0), 1000);
	}
	assert_int_equal(engine_of(1)->tunes.used, 0);
	assert_int_equal(sock_of(1, p.there)->rcvbuf_bytes, 128 << 10);
}

static void test_tune_given_blocks_run_out_takes_an_idle_one(void **state)
{
	struct engine *e = engine_of(0);
	struct pair p = open_pair(f.here), q = open_pair(f.here);
	uint32_t idx, last = 0;

	(void)state;
	assert_true(sim_sock_setopt(p.here, PROTO_SET_NOTSENT_LOWAT, 1000));
	run_ms(5);
	while ((idx = shm_arena_alloc(&e->tunes)) != NONE)
		last = idx;
	for (uint32_t i = 0; i < e->tunes.grown; i++) /* nobody's: in use all the time */
		if (i + 1u != sock_of(0, p.here)->tune)
			((struct tune *)shm_arena_at(&e->tunes, i))->lowat_bytes = 1;
	assert_true(sim_sock_setopt(q.here, PROTO_SET_WINDOW_CLAMP, 20000));
	run_ms(5);
	assert_int_equal(sock_of(0, q.here)->tune, 0);
	assert_int_equal(engine_counters(e)->tunes_full, 1);
	q.here->sndbuf_bytes = 1000; /* as a client assumes that has set what is refused now */
	assert_true(sim_sock_setopt(q.here, PROTO_SET_NOTSENT_LOWAT, 1000));
	run_ms(5);
	assert_int_equal(engine_counters(e)->tunes_full, 2);
	assert_int_equal(q.here->sndbuf_bytes, 256 << 10);
	assert_true(sim_sock_setopt(p.here, PROTO_SET_NOTSENT_LOWAT, 0));
	run_ms(2000);
	for (uint32_t i = 0; i <= last / 16 && !sock_of(0, q.here)->tune; i++) {
		assert_true(sim_sock_setopt(q.here, PROTO_SET_WINDOW_CLAMP, 20000));
		run_ms(1);
	}
	assert_int_not_equal(sock_of(0, q.here)->tune, 0);
	assert_int_equal(sock_of(0, p.here)->tune, 0);
}

/* -- TCP_NOTSENT_LOWAT ----------------------------------------------------------------------- */

static void test_tune_given_lowat_bounds_what_is_unsent(void **state)
{
	struct pair p = open_long();
	struct tcp_conn *c = conn_of(0, p.here);
	uint64_t most = 0;

	(void)state;
	assert_true(sim_sock_setopt(p.here, PROTO_SET_NOTSENT_LOWAT, 16384));
	run_ms(1);
	assert_true(p.here->flags & PROTO_FLOW_ANY_ROOM);
	for (int i = 0; i < STREAM_MS; i++) {
		fill(p.here);
		run_ms(1);
		read_bytes(p.there, 0);
		if (c->snd_end_pos - tcp_conn_snd_max(c) > most)
			most = c->snd_end_pos - tcp_conn_snd_max(c);
	}
	assert_in_range(most, 1, 16384);
	assert_true(p.there->read_pos > 20 << 20); /* and it does not starve */
}

/* With everything sent and nothing acknowledged there is room; with half unsent nobody is told. */
static void test_tune_given_lowat_tells_when_half_is_free(void **state)
{
	struct pair p = open_long();
	struct tcp_conn *c = conn_of(0, p.here);
	uint64_t events;

	(void)state;
	assert_true(sim_sock_setopt(p.here, PROTO_SET_NOTSENT_LOWAT, 8000));
	run_ms(1);
	send_bytes(p.here, 0, 8000);
	run_ms(1);
	assert_int_equal(tcp_conn_snd_max(c), 8000);
	assert_int_equal(sim_sock_writable(p.here), 8000);
	while (c->snd_end_pos - tcp_conn_snd_max(c) < 4000) { /* until the window is full */
		fill(p.here);
		run_ms(1);
	}
	fill(p.here);
	events = f.here->events;
	run_ms(20); /* nothing is acknowledged yet */
	assert_int_equal(f.here->events, events);
	assert_in_range(sim_sock_writable(p.here), 0, 4000);
	run_ms(100);
	assert_in_range(sim_sock_writable(p.here), 4000, 8000);
}

static void test_tune_given_lowat_taken_back_gives_whole_buffer(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	assert_true(sim_sock_setopt(p.here, PROTO_SET_NOTSENT_LOWAT, 1));
	run_ms(5);
	assert_int_equal(p.here->sndbuf_bytes, 1);
	assert_true(sim_sock_setopt(p.here, PROTO_SET_NOTSENT_LOWAT, 0));
	run_ms(5);
	assert_int_equal(p.here->sndbuf_bytes, 256 << 10);
	assert_false(p.here->flags & PROTO_FLOW_ANY_ROOM);
}

/* The process dies while its bytes are on their way. */
static void test_tune_given_lowat_and_death_sends_the_rest(void **state)
{
	struct pair p = open_long();

	(void)state;
	assert_true(sim_sock_setopt(p.here, PROTO_SET_NOTSENT_LOWAT, 30000));
	run_ms(1);
	send_bytes(p.here, 0, 30000);
	sim_client_crash(f.here);
	run_ms(2000);
	assert_int_equal(read_bytes(p.there, 0), 30000);
	assert_int_equal(engine_of(0)->tunes.used, 0);
}

/* -- TCP_WINDOW_CLAMP ------------------------------------------------------------------------ */

static void test_tune_given_clamp_bounds_the_window(void **state)
{
	struct pair p = open_long();
	struct tcp_conn *c = conn_of(1, p.there);

	(void)state;
	assert_true(sim_sock_setopt(p.there, PROTO_SET_WINDOW_CLAMP, 20000));
	run_ms(1);
	send_bytes(p.here, 0, 30000); /* what was promised before is kept */
	run_ms(200);
	read_bytes(p.there, 0);
	for (int i = 0; i < 1000; i++) {
		fill(p.here);
		run_ms(1);
		read_bytes(p.there, 0);
		if (c->rcv_nxt_pos > 70000)
			assert_in_range(tcp_conn_rcv_wnd(c), 0, 20000 + (1 << c->rcv_wscale));
	}
	assert_true(c->rcv_nxt_pos > 150000);
}

int main(void)
{
#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		S(test_tune_given_long_fat_path_fills_it, setup_long),
		S(test_tune_given_it_is_off_leaves_path_empty, setup_long_untuned),
		S(test_tune_given_no_timestamps_fills_path, setup_long_without_timestamps),
		S(test_tune_given_rcvbuf_set_leaves_it, setup_long),
		S(test_tune_given_sndbuf_set_leaves_it, setup_long),
		S(test_tune_given_slow_reader_keeps_buffer, setup_long),
		S(test_tune_given_little_memory_drops_nothing, setup_long_little_memory),
		T(test_tune_given_idle_connections_none_has_a_block),
		T(test_tune_given_dialogue_gives_block_back),
		T(test_tune_given_blocks_run_out_takes_an_idle_one),
		S(test_tune_given_lowat_bounds_what_is_unsent, setup_long),
		S(test_tune_given_lowat_tells_when_half_is_free, setup_long),
		T(test_tune_given_lowat_taken_back_gives_whole_buffer),
		S(test_tune_given_lowat_and_death_sends_the_rest, setup_long),
		S(test_tune_given_clamp_bounds_the_window, setup_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
