/* Slots: each operation passes in its good form, and each bit outside that form condemns. */
#include "support.h"

#include <proto/attach.h>

#include <proto/decode.h>
#include <proto/layout.h>

static struct proto_slot encode(uint8_t op, const union proto_body *body)
{
	return (struct proto_slot){.head = proto_head_make(op, 0xabcd1234), .body = *body};
}

static int decode(uint8_t op, const union proto_body *body)
{
	struct proto_slot slot = encode(op, body);

	return proto_op_judge(&slot);
}

static union proto_body zero_body(void)
{
	union proto_body b;

	memset(&b, 0, sizeof(b));
	return b;
}

static union proto_body good_send(void)
{
	union proto_body b = zero_body();

	b.send.handle = (struct proto_handle){5, 6};
	b.send.pos = 1000;
	b.send.ref = proto_ref_make(1, 4096);
	b.send.len_bytes = 100;
	return b;
}

static void test_decode_unknown_op_condemns(void **state)
{
	const union proto_body b = good_send();

	(void)state;
	for (int op = 0; op <= UINT8_MAX; op++) {
		if (op == PROTO_OP_INVALID || op >= PROTO_OP_COUNT)
			assert_int_equal(decode((uint8_t)op, &b), PROTO_CONDEMNED_OP);
	}
}

static void test_decode_head_bits_condemn_but_phase_and_id(void **state)
{
	const union proto_body b = good_send();

	(void)state;
	for (int bit = 8; bit < 64; bit++) {
		struct proto_slot slot = encode(PROTO_OP_SEND, &b);
		bool fine = bit == 8 || bit >= 32;

		slot.head ^= UINT64_C(1) << bit;
		assert_int_equal(proto_op_judge(&slot), fine ? PROTO_OK : PROTO_CONDEMNED_OP);
	}
}

static void test_decode_send_carries_all_fields(void **state)
{
	const union proto_body b = good_send();
	struct proto_slot slot = encode(PROTO_OP_SEND, &b);

	(void)state;
	slot.head |= SHM_SLOT_PHASE;
	assert_int_equal(proto_op_judge(&slot), PROTO_OK);
	assert_int_equal(proto_head_op(slot.head), PROTO_OP_SEND);
	assert_int_equal(proto_head_request(slot.head), 0xabcd1234);
	assert_true(slot.head == proto_head_make(PROTO_OP_SEND, 0xabcd1234));
	assert_memory_equal(&slot.body, &b, sizeof(b));
}

static void test_decode_send_lengths_are_bounded(void **state)
{
	union proto_body b = good_send();

	(void)state;
	b.send.len_bytes = 0;
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_CONDEMNED_RANGE);
	b.send.len_bytes = PROTO_SEND_LEN_MAX;
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_OK);
	b.send.len_bytes = PROTO_SEND_LEN_MAX + 1;
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_CONDEMNED_RANGE);
	b.send.len_bytes = UINT32_MAX;
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_CONDEMNED_RANGE);
}

static void test_decode_send_segments_are_bounded(void **state)
{
	union proto_body b = good_send();

	(void)state;
	b.send.ref = proto_ref_make(PROTO_SEGMENTS_MAX - 1, (UINT64_C(1) << PROTO_REF_SHIFT) - 1);
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_OK);
	b.send.ref = proto_ref_make(PROTO_SEGMENTS_MAX, 0);
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_CONDEMNED_RANGE);
	b.send.ref = PROTO_REF_NONE;
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_CONDEMNED_RANGE);
}

static void test_decode_send_position_past_2_64_condemns(void **state)
{
	union proto_body b = good_send();

	(void)state;
	b.send.pos = UINT64_MAX - b.send.len_bytes;
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_OK);
	b.send.pos++;
	assert_int_equal(decode(PROTO_OP_SEND, &b), PROTO_CONDEMNED_POSITION);
}

static void test_decode_congestion_number_is_bounded(void **state)
{
	union proto_body b = zero_body();

	(void)state;
	b.connect.congestion = PROTO_CONGESTION_MAX;
	assert_int_equal(decode(PROTO_OP_CONNECT, &b), PROTO_OK);
	b.connect.congestion++;
	assert_int_equal(decode(PROTO_OP_CONNECT, &b), PROTO_CONDEMNED_OP);
	b.connect.congestion = UINT32_MAX;
	assert_int_equal(decode(PROTO_OP_CONNECT, &b), PROTO_CONDEMNED_OP);
}

/* Sets each bit of bytes [from, to) of the body in turn: each must give `want`. */
static void check_bits(uint8_t op, union proto_body b, size_t from, size_t to, int want)
{
	uint8_t *bytes = (uint8_t *)&b;

	for (size_t bit = from * 8; bit < to * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(decode(op, &b), want);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(decode(op, &b), PROTO_OK);
}

static void test_decode_reserved_bits_condemn(void **state)
{
	const union proto_body zero = zero_body();
	const size_t end = sizeof(zero);
	const int bad = PROTO_CONDEMNED_OP;

	(void)state;
	check_bits(PROTO_OP_ACCEPT, zero, offsetof(struct proto_accept, reserved), end, bad);
	check_bits(PROTO_OP_SEND, good_send(), offsetof(struct proto_send, reserved), end, bad);
	check_bits(PROTO_OP_CONSUMED, zero, offsetof(struct proto_consumed, reserved), end, bad);
	check_bits(PROTO_OP_SHUTDOWN, zero, offsetof(struct proto_shutdown, reserved), end, bad);
	check_bits(PROTO_OP_CLOSE, zero, offsetof(struct proto_close, reserved32), end, bad);
	check_bits(PROTO_OP_SETOPT, zero, offsetof(struct proto_setopt, reserved32),
		offsetof(struct proto_setopt, value), bad);
	check_bits(PROTO_OP_SETOPT, zero, offsetof(struct proto_setopt, reserved), end, bad);
	check_bits(PROTO_OP_INFO, zero, offsetof(struct proto_info, reserved), end, bad);
}

static void test_decode_other_bits_are_the_gates(void **state)
{
	const union proto_body zero = zero_body();

	(void)state;
	check_bits(PROTO_OP_CONNECT, zero, 0, offsetof(struct proto_connect, options), PROTO_OK);
	check_bits(PROTO_OP_ACCEPT, zero, 0, offsetof(struct proto_accept, flags), PROTO_OK);
	check_bits(PROTO_OP_CONSUMED, zero, 0, offsetof(struct proto_consumed, reserved), PROTO_OK);
	check_bits(PROTO_OP_SHUTDOWN, zero, 0, offsetof(struct proto_shutdown, reserved), PROTO_OK);
	check_bits(PROTO_OP_CLOSE, zero, 0, offsetof(struct proto_close, flags), PROTO_OK);
	check_bits(PROTO_OP_SETOPT, zero, 0, offsetof(struct proto_setopt, reserved32), PROTO_OK);
	check_bits(PROTO_OP_INFO, zero, 0, offsetof(struct proto_info, reserved), PROTO_OK);
}

static void test_decode_flags_beyond_the_known_condemn(void **state)
{
	(void)state;
	for (int bit = 0; bit < 32; bit++) {
		const uint32_t flag = UINT32_C(1) << bit;
		union proto_body b = good_send();

		b.send.flags = flag;
		assert_int_equal(decode(PROTO_OP_SEND, &b),
			flag == PROTO_SEND_MORE ? PROTO_OK : PROTO_CONDEMNED_OP);
		b = zero_body();
		b.accept.flags = flag;
		assert_int_equal(decode(PROTO_OP_ACCEPT, &b),
			flag & (PROTO_ACCEPT_KEEP | PROTO_ACCEPT_CANCEL) ? PROTO_OK
									 : PROTO_CONDEMNED_OP);
		b = zero_body();
		b.close.flags = flag;
		assert_int_equal(decode(PROTO_OP_CLOSE, &b),
			flag == PROTO_CLOSE_ABORT ? PROTO_OK : PROTO_CONDEMNED_OP);
		b = zero_body();
		b.connect.options = flag;
		assert_int_equal(decode(PROTO_OP_CONNECT, &b),
			flag & (PROTO_OPTION_NODELAY | PROTO_OPTION_KEEPALIVE |
				       PROTO_OPTION_RCVBUF_CLAMP | PROTO_OPTION_FASTOPEN)
				? PROTO_OK
				: PROTO_CONDEMNED_OP);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode_unknown_op_condemns),
		cmocka_unit_test(test_decode_head_bits_condemn_but_phase_and_id),
		cmocka_unit_test(test_decode_send_carries_all_fields),
		cmocka_unit_test(test_decode_send_lengths_are_bounded),
		cmocka_unit_test(test_decode_send_segments_are_bounded),
		cmocka_unit_test(test_decode_send_position_past_2_64_condemns),
		cmocka_unit_test(test_decode_congestion_number_is_bounded),
		cmocka_unit_test(test_decode_reserved_bits_condemn),
		cmocka_unit_test(test_decode_other_bits_are_the_gates),
		cmocka_unit_test(test_decode_flags_beyond_the_known_condemn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
