#include "frames.h"

#include <net/icmp.h>

#include <errno.h>

enum {
	FRAME_MAX = 2048,
	L4 = 34, /* offset of the ICMP message */
};

static uint8_t frame[FRAME_MAX];
static uint8_t *const msg = frame + L4;

/* The views of the last parse; they point into `copy`. */
static uint8_t *copy;
static struct net_packet packet;
static struct net_ip4 ip;

static int teardown(void **state)
{
	(void)state;
	free(copy);
	copy = NULL;
	return 0;
}

/* Sets the checksum of a message of len bytes and parses it from an exact copy. */
static enum net_drop parse(size_t len, struct net_icmp *icmp)
{
	struct net_iface iface = test_iface();

	put_ip4(frame, 1, len);
	if (len >= 4) {
		net_put16(msg + 2, 0);
		net_put16(msg + 2, naive_checksum(0, msg, len));
	}
	free(copy);
	copy = exact(frame, L4 + len);
	assert_int_equal(net_packet_parse(&packet, copy, L4 + len, &our_link, 0), NET_DROP_NONE);
	assert_int_equal(net_ip4_parse(&ip, &packet, &iface), NET_DROP_NONE);
	return net_icmp_parse(icmp, &ip, &iface);
}

static void put_echo(size_t len)
{
	for (size_t i = 0; i < len; i++)
		msg[i] = (uint8_t)(i * 7 + 3);
	msg[0] = 8;
	msg[1] = 0;
}

/* An error that quotes our segment 10.0.0.1:80 -> 192.0.2.7:40000, sequence number 0x01020304,
 * of 1500 bytes. Returns the message's length: the quote ends with 8 bytes of TCP. */
static size_t put_error(uint8_t type, uint8_t code)
{
	static const uint8_t quote[28] = {0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 63, 6, 0, 0, 10, 0, 0, 1,
		192, 0, 2, 7, 0, 80, 0x9c, 0x40, 1, 2, 3, 4};

	memset(msg, 0, 8);
	msg[0] = type;
	msg[1] = code;
	memcpy(msg + 8, quote, sizeof(quote));
	return 8 + sizeof(quote);
}

static void test_icmp_echo_reply_returns_everything(void **state)
{
	static const size_t lens[] = {8, 9, 10, 56, 63, 64, 65, 1479, 1480};
	struct net_icmp icmp;
	uint8_t reply[1514 + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		size_t len = lens[i];

		put_echo(len);
		assert_int_equal(parse(len, &icmp), NET_DROP_NONE);
		assert_int_equal(icmp.kind, NET_ICMP_ECHO);
		memset(reply, 0xa5, sizeof(reply));
		assert_int_equal(net_icmp_build_echo_reply(reply, 1514, &packet, &ip, 9), L4 + len);
		assert_memory_equal(reply, peer_mac.b, 6);
		assert_memory_equal(reply + 6, our_mac.b, 6);
		assert_int_equal(naive_checksum(0, reply + 14, 20), 0);
		assert_memory_equal(reply + 26, ((uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}), 8);
		assert_int_equal(reply[16] << 8 | reply[17], 20 + len);
		assert_int_equal(reply[L4], 0);
		assert_int_equal(naive_checksum(0, reply + L4, len), 0);
		assert_memory_equal(reply + L4 + 4, msg + 4, len - 4);
		assert_int_equal(reply[L4 + len], 0xa5);
	}
}

static void test_icmp_echo_reply_over_capacity_refused(void **state)
{
	struct net_icmp icmp;
	uint8_t reply[1514];

	(void)state;
	put_echo(1481);
	assert_int_equal(parse(1481, &icmp), NET_DROP_NONE);
	assert_int_equal(net_icmp_build_echo_reply(reply, sizeof(reply), &packet, &ip, 9), 0);
	assert_int_equal(net_icmp_build_echo_reply(reply, 0, &packet, &ip, 9), 0);
}

static void test_icmp_short_or_corrupt_dropped(void **state)
{
	struct net_iface iface = test_iface();
	struct net_icmp icmp;

	(void)state;
	put_echo(64);
	for (size_t len = 0; len < 8; len++)
		assert_int_equal(parse(len, &icmp), NET_DROP_icmp_short);
	for (size_t bit = 0; bit < 64 * 8; bit++) {
		assert_int_equal(parse(64, &icmp), NET_DROP_NONE);
		copy[L4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(net_icmp_parse(&icmp, &ip, &iface), NET_DROP_icmp_bad_checksum);
	}
}

static void test_icmp_unreachable_maps_to_errno_as_linux(void **state)
{
	static const int want[] = {ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, ECONNREFUSED, 0,
		EOPNOTSUPP, ENETUNREACH, EHOSTDOWN, ENONET, ENETUNREACH, EHOSTUNREACH, ENETUNREACH,
		EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH};
	struct net_icmp icmp;

	(void)state;
	for (uint8_t code = 0; code < 16; code++) {
		if (code == 4)
			continue;
		assert_int_equal(parse(put_error(3, code), &icmp), NET_DROP_NONE);
		assert_int_equal(icmp.kind, NET_ICMP_ERROR);
		assert_int_equal(icmp.error_errno, want[code]);
		assert_int_equal(icmp.seq, 0x01020304);
		assert_int_equal(icmp.key.lport, 80);
		assert_int_equal(icmp.key.rport, 40000);
		assert_int_equal(net_addr_to_ip4(&icmp.key.local), ip4(10, 0, 0, 1));
		assert_int_equal(net_addr_to_ip4(&icmp.key.remote), ip4(192, 0, 2, 7));
	}
	assert_int_equal(parse(put_error(3, 16), &icmp), NET_DROP_icmp_ignored);
	assert_int_equal(parse(put_error(3, 255), &icmp), NET_DROP_icmp_ignored);
}

static void test_icmp_time_exceeded_and_parameter_problem_map(void **state)
{
	struct net_icmp icmp;

	(void)state;
	assert_int_equal(parse(put_error(11, 0), &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.error_errno, EHOSTUNREACH);
	assert_int_equal(parse(put_error(12, 0), &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.error_errno, EPROTO);
}

static enum net_drop parse_too_big(unsigned int total, unsigned int mtu, struct net_icmp *icmp)
{
	size_t len = put_error(3, 4);

	net_put16(msg + 8 + 2, total);
	net_put16(msg + 6, mtu);
	return parse(len, icmp);
}

static void test_icmp_too_big_yields_mtu(void **state)
{
	struct net_icmp icmp;

	(void)state;
	assert_int_equal(parse_too_big(1500, 1400, &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.kind, NET_ICMP_TOO_BIG);
	assert_int_equal(icmp.mtu_bytes, 1400);
	assert_int_equal(parse_too_big(1500, 68, &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.mtu_bytes, 68);
}

static void test_icmp_too_big_impossible_mtu_dropped(void **state)
{
	struct net_icmp icmp;

	(void)state;
	assert_int_equal(parse_too_big(1500, 67, &icmp), NET_DROP_icmp_bad_mtu);
	assert_int_equal(parse_too_big(1500, 1, &icmp), NET_DROP_icmp_bad_mtu);
	assert_int_equal(parse_too_big(1500, 1500, &icmp), NET_DROP_icmp_bad_mtu);
	assert_int_equal(parse_too_big(1500, 65535, &icmp), NET_DROP_icmp_bad_mtu);
	assert_int_equal(parse_too_big(60, 0, &icmp), NET_DROP_icmp_bad_mtu);
}

/* RFC 1191 section 7.1. */
static void test_icmp_too_big_without_mtu_takes_plateau(void **state)
{
	struct net_icmp icmp;

	(void)state;
	assert_int_equal(parse_too_big(1500, 0, &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.mtu_bytes, 1492);
	assert_int_equal(parse_too_big(1492, 0, &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.mtu_bytes, 1006);
	assert_int_equal(parse_too_big(65535, 0, &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.mtu_bytes, 32000);
	assert_int_equal(parse_too_big(200, 0, &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.mtu_bytes, 68);
}

static void test_icmp_quote_truncated_at_every_length_dropped(void **state)
{
	struct net_icmp icmp;
	size_t full = put_error(3, 1);

	(void)state;
	for (size_t len = 8; len < full; len++)
		assert_int_equal(parse(len, &icmp), NET_DROP_icmp_quote_short);
	assert_int_equal(parse(full, &icmp), NET_DROP_NONE);
}

static void test_icmp_quote_with_options_finds_ports(void **state)
{
	struct net_icmp icmp;
	size_t len = put_error(3, 1);

	(void)state;
	memmove(msg + 8 + 60, msg + 8 + 20, 8);
	memset(msg + 8 + 20, 1, 40);
	msg[8] = 0x4f;
	assert_int_equal(parse(len + 40, &icmp), NET_DROP_NONE);
	assert_int_equal(icmp.key.rport, 40000);
	assert_int_equal(icmp.seq, 0x01020304);
	for (size_t cut = 1; cut <= 40; cut++)
		assert_int_equal(parse(len + 40 - cut, &icmp), NET_DROP_icmp_quote_short);
}

static enum net_drop parse_changed_quote(size_t at, uint8_t value)
{
	struct net_icmp icmp;
	size_t len = put_error(3, 1);

	msg[8 + at] = value;
	return parse(len, &icmp);
}

static void test_icmp_quote_lies_dropped(void **state)
{
	(void)state;
	assert_int_equal(parse_changed_quote(0, 0x65), NET_DROP_icmp_quote_bad);
	assert_int_equal(parse_changed_quote(0, 0x44), NET_DROP_icmp_quote_bad);
	assert_int_equal(parse_changed_quote(0, 0x4f), NET_DROP_icmp_quote_short);
	assert_int_equal(parse_changed_quote(6, 0x1f), NET_DROP_icmp_quote_bad);
	assert_int_equal(parse_changed_quote(7, 0x01), NET_DROP_icmp_quote_bad);
	assert_int_equal(parse_changed_quote(9, 17), NET_DROP_icmp_quote_not_tcp);
	assert_int_equal(parse_changed_quote(15, 9), NET_DROP_icmp_quote_not_ours);
	assert_int_equal(parse_changed_quote(16, 224), NET_DROP_icmp_quote_not_ours);
	assert_int_equal(parse_changed_quote(2, 0), NET_DROP_NONE); /* 220 bytes: fits */
}

static void test_icmp_quote_total_below_header_dropped(void **state)
{
	struct net_icmp icmp;
	size_t len = put_error(3, 1);

	(void)state;
	net_put16(msg + 10, 27);
	assert_int_equal(parse(len, &icmp), NET_DROP_icmp_quote_bad);
	net_put16(msg + 10, 28);
	assert_int_equal(parse(len, &icmp), NET_DROP_NONE);
}

static void test_icmp_other_types_ignored(void **state)
{
	struct net_icmp icmp;

	(void)state;
	for (unsigned int type = 0; type < 256; type++) {
		size_t len = put_error((uint8_t)type, 0);

		if (type == 3 || type == 8 || type == 11 || type == 12)
			continue;
		assert_int_equal(parse(len, &icmp), NET_DROP_icmp_ignored);
	}
	put_echo(64);
	msg[1] = 1;
	assert_int_equal(parse(64, &icmp), NET_DROP_icmp_ignored);
}

static void test_icmp_random_errors_stay_inside(void **state)
{
	unsigned int accepted = 0;
	struct net_icmp icmp;
	uint64_t x = 13;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		size_t len = put_error(3, (uint8_t)(next_random(&x) % 17));

		for (int n = 0; n < 2; n++)
			msg[4 + next_random(&x) % (len - 4)] = (uint8_t)next_random(&x);
		if (parse(8 + next_random(&x) % (len - 7), &icmp) != NET_DROP_NONE)
			continue;
		accepted++;
		assert_int_equal(net_addr_to_ip4(&icmp.key.local), ip4(10, 0, 0, 1));
		if (icmp.kind == NET_ICMP_TOO_BIG)
			assert_in_range(icmp.mtu_bytes, NET_IP4_MTU_MIN, 65534);
	}
	assert_true(accepted > 100);
}

#define ICMP_TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ICMP_TEST(test_icmp_echo_reply_returns_everything),
		ICMP_TEST(test_icmp_echo_reply_over_capacity_refused),
		ICMP_TEST(test_icmp_short_or_corrupt_dropped),
		ICMP_TEST(test_icmp_unreachable_maps_to_errno_as_linux),
		ICMP_TEST(test_icmp_time_exceeded_and_parameter_problem_map),
		ICMP_TEST(test_icmp_too_big_yields_mtu),
		ICMP_TEST(test_icmp_too_big_impossible_mtu_dropped),
		ICMP_TEST(test_icmp_too_big_without_mtu_takes_plateau),
		ICMP_TEST(test_icmp_quote_truncated_at_every_length_dropped),
		ICMP_TEST(test_icmp_quote_with_options_finds_ports),
		ICMP_TEST(test_icmp_quote_lies_dropped),
		ICMP_TEST(test_icmp_quote_total_below_header_dropped),
		ICMP_TEST(test_icmp_other_types_ignored),
		ICMP_TEST(test_icmp_random_errors_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
