/* Send descriptors: contiguous pieces are one, scattered ones are gathered, all are freed. */
#include "fixture.h"

static void submit_send(struct sim_sock *sk, uint64_t pos, uint64_t offset, uint32_t len, bool more)
{
	struct proto_slot s = {.head = proto_head_make(PROTO_OP_SEND, 0)};

	s.body.send = (struct proto_send){
		.handle = sk->handle,
		.pos = pos,
		.ref = proto_ref_make(0, f.here->layout.down_payload + offset),
		.len_bytes = len,
		.flags = more ? PROTO_SEND_MORE : 0,
	};
	while (sim_client_submit(f.here, 0, &s))
		run_ms(1);
	sk->sent_pos = pos + len > sk->sent_pos ? pos + len : sk->sent_pos;
}

static uint8_t *payload(uint64_t offset)
{
	return f.here->down[0].client + f.here->layout.down_payload + offset;
}

static void test_txq_given_adjacent_pieces_keeps_one_descriptor(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	sim_nic_refuse(f.w.host[0].port, true);
	memset(payload(0), 0x31, 1000);
	for (uint32_t i = 0; i < 10; i++)
		submit_send(p.here, i * 100, i * 100, 100, false);
	run_ms(2);
	assert_int_equal(engine_of(0)->descs.used, 1);
	sim_nic_refuse(f.w.host[0].port, false);
	run_ms(1000);
	assert_int_equal(read_bytes(p.there, 0x31), 1000);
	assert_int_equal(engine_of(0)->descs.used, 0);
	assert_int_equal(p.here->acked_pos, 1000);
}

/* One byte here, one there: more pieces in a segment than a gather list of a real port holds. */
static void test_txq_given_scattered_bytes_gathers_them(void **state)
{
	struct pair p = open_pair(f.here);
	enum { BYTES = 3000 };

	(void)state;
	for (uint32_t i = 0; i < BYTES; i++)
		*payload(i * 16ull) = 0x32;
	for (uint32_t i = 0; i < BYTES; i++)
		submit_send(p.here, i, i * 16ull, 1, i + 1 < BYTES);
	run_ms(2000);
	assert_int_equal(read_bytes(p.there, 0x32), BYTES);
	assert_int_equal(engine_of(0)->descs.used, 0);
	assert_int_equal(engine_counters(engine_of(0))->tx_payload_missing, 0);
}

/* A turn sends as many frames of a connection, however many segments they are of. */
static void test_output_given_segments_cut_here_sends_as_many_frames(void **state)
{
	struct engine *e = engine_of(0);

	(void)state;
	e->cfg.tcp.mss_max_bytes = 1460;
	e->cfg.tcp.tso_max_bytes = 0;
	assert_int_equal(engine_segments_per_output(e), SEGMENTS_PER_OUTPUT);
	e->cfg.tcp.tso_max_bytes = 2000; /* makes none longer than a frame */
	assert_int_equal(engine_segments_per_output(e), SEGMENTS_PER_OUTPUT);
	e->cfg.tcp.tso_max_bytes = 16384;
	assert_int_equal(engine_segments_per_output(e), 2);
	e->cfg.tcp.tso_max_bytes = 64000;
	assert_int_equal(engine_segments_per_output(e), 1);
}

static int setup_tso(void **state)
{
	(void)state;
	fixture_prepare();
	f.cfg.host[0].tcp.tso_max_bytes = 65535;
	fixture_start();
	return 0;
}

static void test_txq_given_overlapping_send_takes_new_bytes_alone(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	memset(payload(0), 0x33, 100);
	memset(payload(4096), 0xee, 50);
	memset(payload(4096 + 50), 0x33, 50);
	submit_send(p.here, 0, 0, 100, false);
	submit_send(p.here, 50, 4096, 100, false);
	run_ms(200);
	assert_int_equal(read_bytes(p.there, 0x33), 150);
}

static void test_txq_given_abort_frees_descriptors(void **state)
{
	struct pair p = open_pair(f.here);

	(void)state;
	send_bytes(p.here, 0x34, 100000);
	sim_world_settle(&f.w);
	assert_true(engine_of(0)->descs.used > 0);
	assert_true(sim_sock_close(p.here, true));
	run_ms(50);
	assert_int_equal(engine_of(0)->descs.used, 0);
	assert_int_equal(p.here->state, SIM_SOCK_GONE);
	assert_int_equal(p.there->error, ECONNRESET);
}

#define S(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_output_given_segments_cut_here_sends_as_many_frames),
		T(test_txq_given_adjacent_pieces_keeps_one_descriptor),
		T(test_txq_given_scattered_bytes_gathers_them),
		S(test_txq_given_scattered_bytes_gathers_them, setup_tso),
		T(test_txq_given_overlapping_send_takes_new_bytes_alone),
		T(test_txq_given_abort_frees_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
