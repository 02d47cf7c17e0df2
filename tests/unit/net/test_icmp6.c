/* ICMPv6: echo, errors and what they quote. */
#include "frames.h"

#include <net/icmp6.h>

#include <errno.h>

static uint8_t frame[2048];
static size_t msg_len;
static struct net_iface iface;
static struct net_packet p;
static struct net_ip6 ip;
static struct net_icmp icmp;

static int setup(void **state)
{
	(void)state;
	iface = test_iface6();
	return 0;
}

static enum net_drop parse(void)
{
	size_t len = 54 + msg_len;

	net_put16(frame + 18, (unsigned int)msg_len);
	fix_icmp6(frame, msg_len);
	assert_int_equal(
		net_packet_parse(&p, frame, len, &our_link, NET_RX_L4_CSUM_OK), NET_DROP_NONE);
	assert_int_equal(net_ip6_parse(&ip, &p, &iface), NET_DROP_NONE);
	return net_icmp6_parse(&icmp, &ip, &iface);
}

/* An error of the router about a segment of ours to the peer, of 1400 bytes, sequence number
 * 0x01020304, ports 80 and 4000. */
static void put_error(unsigned int type, unsigned int code, uint32_t word)
{
	uint8_t *msg = frame + put_ip6(frame, &peer_ll6, &our_ip6, 58, 0);
	uint8_t *q = msg + 8;

	memset(msg, 0, 200);
	msg[0] = (uint8_t)type;
	msg[1] = (uint8_t)code;
	net_put16(msg + 4, word >> 16);
	net_put16(msg + 6, word & 0xffff);
	q[0] = 0x60;
	net_put16(q + 4, 1400 - 40);
	q[6] = 6;
	memcpy(q + 8, our_ip6.b, 16);
	memcpy(q + 24, peer_ip6.b, 16);
	net_put16(q + 40, 80);
	net_put16(q + 42, 4000);
	net_put16(q + 44, 0x0102);
	net_put16(q + 46, 0x0304);
	msg_len = 8 + 40 + 8;
}

static void test_icmp6_unreachable_codes_as_in_linux(void **state)
{
	static const int want[] = {
		ENETUNREACH, EACCES, EHOSTUNREACH, EHOSTUNREACH, ECONNREFUSED, EACCES, EACCES};

	(void)state;
	for (unsigned int code = 0; code < 256; code++) {
		put_error(1, code, 0);
		if (code >= 7) {
			assert_int_equal(parse(), NET_DROP_icmp6_ignored);
			continue;
		}
		assert_int_equal(parse(), NET_DROP_NONE);
		assert_int_equal(icmp.kind, NET_ICMP_ERROR);
		assert_int_equal(icmp.error_errno, want[code]);
		assert_true(net_addr_equal(&icmp.key.local, &our_ip6));
		assert_true(net_addr_equal(&icmp.key.remote, &peer_ip6));
		assert_int_equal(icmp.key.lport, 80);
		assert_int_equal(icmp.key.rport, 4000);
		assert_int_equal(icmp.seq, 0x01020304);
	}
}

static void test_icmp6_too_big_yields_mtu(void **state)
{
	(void)state;
	put_error(2, 0, 1300);
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(icmp.kind, NET_ICMP_TOO_BIG);
	assert_int_equal(icmp.mtu_bytes, 1300);
	put_error(2, 0, 1280);
	assert_int_equal(parse(), NET_DROP_NONE);
}

/* RFC 8201 section 4, and no MTU that the packet fitted. */
static void test_icmp6_too_big_below_1280_or_not_below_packet_dropped(void **state)
{
	static const uint32_t bad[] = {0, 1, 68, 1279, 1400, 1500, 65536, 0xffffffff};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_error(2, 0, bad[i]);
		assert_int_equal(parse(), NET_DROP_icmp6_bad_mtu);
	}
}

static void test_icmp6_time_exceeded_and_parameter_problem(void **state)
{
	(void)state;
	put_error(3, 0, 0);
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(icmp.error_errno, EHOSTUNREACH);
	put_error(4, 1, 6);
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(icmp.error_errno, EPROTO);
}

static void test_icmp6_quote_truncated_at_every_length_dropped(void **state)
{
	(void)state;
	put_error(1, 0, 0);
	for (msg_len = 8; msg_len < 56; msg_len++)
		assert_int_equal(parse(), NET_DROP_icmp6_quote_short);
	for (msg_len = 1; msg_len < 8; msg_len++)
		assert_int_equal(parse(), NET_DROP_icmp6_short);
}

static void test_icmp6_quote_of_strangers_dropped(void **state)
{
	uint8_t *q = frame + 62;

	(void)state;
	put_error(1, 0, 0);
	q[0] = 0x40;
	assert_int_equal(parse(), NET_DROP_icmp6_quote_bad);
	put_error(1, 0, 0);
	net_put16(q + 4, 7);
	assert_int_equal(parse(), NET_DROP_icmp6_quote_bad);
	put_error(1, 0, 0);
	q[23] = 9;
	assert_int_equal(parse(), NET_DROP_icmp6_quote_not_ours);
	put_error(1, 0, 0);
	memset(q + 24, 0xff, 16);
	assert_int_equal(parse(), NET_DROP_icmp6_quote_not_ours);
	put_error(1, 0, 0);
	q[6] = 17;
	assert_int_equal(parse(), NET_DROP_icmp6_quote_not_tcp);
}

static void test_icmp6_checksum_covers_everything(void **state)
{
	(void)state;
	put_error(1, 0, 0);
	assert_int_equal(parse(), NET_DROP_NONE);
	for (size_t i = 0; i < msg_len; i++) {
		frame[54 + i] ^= 0x10;
		assert_int_equal(net_icmp6_parse(&icmp, &ip, &iface), NET_DROP_icmp6_bad_checksum);
		frame[54 + i] ^= 0x10;
	}
	ip.src.b[15]++; /* the pseudo header, too */
	assert_int_equal(net_icmp6_parse(&icmp, &ip, &iface), NET_DROP_icmp6_bad_checksum);
}

static void test_icmp6_other_types_ignored(void **state)
{
	(void)state;
	for (unsigned int type = 0; type < 256; type++) {
		enum net_drop why;

		put_error(type, 0, 1300);
		why = parse();
		if ((type >= 1 && type <= 4) || type == 128 || type == 130)
			assert_int_equal(why, NET_DROP_NONE);
		else if (type >= 133 && type <= 137)
			assert_int_equal(icmp.kind, NET_ICMP_ND);
		else
			assert_int_equal(why, NET_DROP_icmp6_ignored);
	}
}

static void test_icmp6_from_nobody_dropped(void **state)
{
	(void)state;
	for (unsigned int type = 1; type <= 130; type = type == 4 ? 128 : type + 1) {
		put_error(type, 0, 1300);
		memset(frame + 22, 0, 16);
		if (type != 129)
			assert_int_equal(parse(), NET_DROP_ip6_bad_source);
	}
}

static void put_echo(const struct net_addr *dst, size_t data)
{
	uint8_t *msg = frame + put_ip6(frame, &peer_ip6, dst, 58, 0);

	msg_len = 8 + data;
	for (size_t i = 0; i < msg_len; i++)
		msg[i] = (uint8_t)(i * 7);
	msg[0] = 128;
	msg[1] = 0;
}

static void test_icmp6_echo_reply_returns_everything(void **state)
{
	static const struct net_addr all_nodes = {
		{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
	const struct net_addr *dst[] = {&our_ip6, &all_nodes};
	uint8_t reply[2048];

	(void)state;
	for (size_t d = 0; d < 2; d++) {
		for (size_t data = 0; data <= 1452; data += 121) {
			put_echo(dst[d], data);
			assert_int_equal(parse(), NET_DROP_NONE);
			assert_int_equal(icmp.kind, NET_ICMP_ECHO);
			assert_int_equal(net_icmp6_build_echo_reply(reply, 1514, &p, &ip, &iface),
				54 + msg_len);
			assert_memory_equal(reply, peer_mac.b, 6);
			assert_memory_equal(reply + 6, our_mac.b, 6);
			assert_memory_equal(reply + 14 + 8, our_ip6.b, 16);
			assert_memory_equal(reply + 14 + 24, peer_ip6.b, 16);
			assert_int_equal(reply[54], 129);
			assert_memory_equal(reply + 58, frame + 58, msg_len - 4);
			assert_int_equal(naive_checksum6(reply + 14, 58, reply + 54, msg_len), 0);
		}
	}
}

static void test_icmp6_echo_longer_than_mtu_not_answered(void **state)
{
	uint8_t reply[2048];

	(void)state;
	put_echo(&our_ip6, 1453);
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(net_icmp6_build_echo_reply(reply, 1514, &p, &ip, &iface), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_icmp6_unreachable_codes_as_in_linux),
		cmocka_unit_test(test_icmp6_too_big_yields_mtu),
		cmocka_unit_test(test_icmp6_too_big_below_1280_or_not_below_packet_dropped),
		cmocka_unit_test(test_icmp6_time_exceeded_and_parameter_problem),
		cmocka_unit_test(test_icmp6_quote_truncated_at_every_length_dropped),
		cmocka_unit_test(test_icmp6_quote_of_strangers_dropped),
		cmocka_unit_test(test_icmp6_checksum_covers_everything),
		cmocka_unit_test(test_icmp6_other_types_ignored),
		cmocka_unit_test(test_icmp6_from_nobody_dropped),
		cmocka_unit_test(test_icmp6_echo_reply_returns_everything),
		cmocka_unit_test(test_icmp6_echo_longer_than_mtu_not_answered),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
