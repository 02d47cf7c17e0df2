#include "frames.h"

#include <net/ip4.h>

static uint8_t frame[256];
static uint8_t *const ip_hdr = frame + 14;

/* Parses a copy of exactly len bytes; checks that an accepted view lies inside it. */
static enum net_drop parse(size_t len, uint8_t rx_flags, struct net_ip4 *ip)
{
	struct net_iface iface = test_iface();
	uint8_t *copy = exact(frame, len);
	struct net_packet p;
	enum net_drop why = net_packet_parse(&p, copy, len, &our_link, rx_flags);

	assert_int_equal(why, NET_DROP_NONE);
	why = net_ip4_parse(ip, &p, &iface);
	if (why == NET_DROP_NONE) {
		assert_true(ip->l4 >= copy + 34 && ip->l4 <= copy + len);
		assert_true(ip->l4_len_bytes <= (size_t)(copy + len - ip->l4));
	}
	free(copy);
	return why;
}

static enum net_drop parse_fixed(size_t len)
{
	struct net_ip4 ip;

	fix_ip4(ip_hdr);
	return parse(len, 0, &ip);
}

static void test_ip4_plain_accepted_and_padding_cut(void **state)
{
	struct net_ip4 ip;

	(void)state;
	put_ip4(frame, 6, 24);
	ip_hdr[1] = 0xb9;
	fix_ip4(ip_hdr);
	assert_int_equal(parse(14 + 20 + 24 + 2, 0, &ip), NET_DROP_NONE);
	assert_int_equal(ip.src_be, ip4(10, 0, 0, 2));
	assert_int_equal(ip.dst_be, ip4(10, 0, 0, 1));
	assert_int_equal(ip.proto, NET_PROTO_TCP);
	assert_int_equal(ip.l4_len_bytes, 24);
	assert_int_equal(ip.tos, 0xb9);
	assert_int_equal(ip.ttl, 64);
	assert_false(ip.l4_csum_ok);
}

static void test_ip4_truncated_at_every_length_dropped(void **state)
{
	struct net_ip4 ip;

	(void)state;
	put_ip4(frame, 6, 24);
	for (size_t len = 14; len < 34; len++)
		assert_int_equal(parse(len, 0, &ip), NET_DROP_ip4_short);
	for (size_t len = 34; len < 58; len++)
		assert_int_equal(parse(len, 0, &ip), NET_DROP_ip4_bad_length);
	assert_int_equal(parse(58, 0, &ip), NET_DROP_NONE);
}

static void test_ip4_every_first_byte_is_bounded(void **state)
{
	struct net_ip4 ip;

	(void)state;
	for (unsigned int first = 0; first < 256; first++) {
		enum net_drop why;

		put_ip4(frame, 6, 24);
		ip_hdr[0] = (uint8_t)first;
		why = parse(58, NET_RX_IP4_CSUM_OK, &ip);
		if (first >> 4 != 4)
			assert_int_equal(why, NET_DROP_ip4_bad_version);
		else if ((first & 15) < 5)
			assert_int_equal(why, NET_DROP_ip4_bad_ihl);
		else if ((first & 15) > 11)
			assert_int_equal(why, NET_DROP_ip4_short);
		else
			assert_int_equal(why, NET_DROP_NONE);
	}
}

static void test_ip4_every_lying_total_length_is_bounded(void **state)
{
	(void)state;
	for (unsigned int total = 0; total < 65536; total++) {
		enum net_drop why;

		if (total > 300 && total % 97)
			continue;
		put_ip4(frame, 6, 24);
		net_put16(ip_hdr + 2, total);
		why = parse_fixed(58);
		assert_int_equal(
			why, total < 20 || total > 44 ? NET_DROP_ip4_bad_length : NET_DROP_NONE);
	}
}

static void test_ip4_header_checksum_each_bit_matters(void **state)
{
	struct net_ip4 ip;

	(void)state;
	for (unsigned int bit = 0; bit < 160; bit++) {
		put_ip4(frame, 6, 24);
		ip_hdr[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(parse(58, 0, &ip), NET_DROP_NONE);
	}
	put_ip4(frame, 6, 24);
	ip_hdr[10] ^= 1;
	assert_int_equal(parse(58, 0, &ip), NET_DROP_ip4_bad_checksum);
	assert_int_equal(parse(58, NET_RX_IP4_CSUM_OK, &ip), NET_DROP_NONE);
}

static void test_ip4_fragments_dropped(void **state)
{
	(void)state;
	put_ip4(frame, 6, 24);
	net_put16(ip_hdr + 6, 0x2000); /* MF */
	assert_int_equal(parse_fixed(58), NET_DROP_ip4_fragment);
	net_put16(ip_hdr + 6, 0x0001); /* offset */
	assert_int_equal(parse_fixed(58), NET_DROP_ip4_fragment);
	net_put16(ip_hdr + 6, 0x4000); /* DF */
	assert_int_equal(parse_fixed(58), NET_DROP_NONE);
}

static void test_ip4_bad_sources_dropped(void **state)
{
	static const struct {
		uint8_t b[4];
		enum net_drop why;
	} bad[] = {
		{{0, 0, 0, 0}, NET_DROP_ip4_bad_source},
		{{0, 1, 2, 3}, NET_DROP_ip4_bad_source},
		{{127, 0, 0, 1}, NET_DROP_ip4_bad_source},
		{{224, 0, 0, 1}, NET_DROP_ip4_bad_source},
		{{255, 255, 255, 255}, NET_DROP_ip4_bad_source},
		{{10, 0, 0, 255}, NET_DROP_ip4_bad_source},
		{{10, 0, 0, 1}, NET_DROP_ip4_own_source}, /* LAND */
		{{8, 8, 8, 8}, NET_DROP_NONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_ip4(frame, 6, 24);
		memcpy(ip_hdr + 12, bad[i].b, 4);
		assert_int_equal(parse_fixed(58), bad[i].why);
	}
}

static void test_ip4_bad_destinations_dropped(void **state)
{
	static const struct {
		uint8_t b[4];
		enum net_drop why;
	} bad[] = {
		{{10, 0, 0, 3}, NET_DROP_ip4_not_ours},
		{{127, 0, 0, 1}, NET_DROP_ip4_not_ours},
		{{10, 0, 0, 255}, NET_DROP_ip4_broadcast},
		{{255, 255, 255, 255}, NET_DROP_ip4_broadcast},
		{{239, 1, 2, 3}, NET_DROP_ip4_broadcast},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_ip4(frame, 6, 24);
		memcpy(ip_hdr + 16, bad[i].b, 4);
		assert_int_equal(parse_fixed(58), bad[i].why);
	}
}

static void test_ip4_unicast_in_broadcast_frame_dropped(void **state)
{
	(void)state;
	put_ip4(frame, 6, 24);
	put_eth(frame, &net_mac_broadcast, 0x0800);
	assert_int_equal(parse_fixed(58), NET_DROP_ip4_l2_broadcast);
}

/* RFC 1122 section 3.2.1.7: a host must not drop for a low TTL. */
static void test_ip4_ttl_zero_accepted(void **state)
{
	(void)state;
	put_ip4(frame, 6, 24);
	ip_hdr[8] = 0;
	assert_int_equal(parse_fixed(58), NET_DROP_NONE);
}

static void test_ip4_unknown_protocol_dropped(void **state)
{
	(void)state;
	put_ip4(frame, 17, 24);
	assert_int_equal(parse_fixed(58), NET_DROP_ip4_unknown_proto);
}

/* A header with 8 bytes of options in front of 16 bytes of TCP. */
static enum net_drop parse_options(const uint8_t opt[8], struct net_ip4 *ip)
{
	put_ip4(frame, 6, 24);
	ip_hdr[0] = 0x47;
	memcpy(ip_hdr + 20, opt, 8);
	fix_ip4(ip_hdr);
	return parse(58, 0, ip);
}

static void test_ip4_good_options_skipped(void **state)
{
	static const uint8_t good[][8] = {
		{0}, {1, 1, 1, 1, 1, 1, 1, 1}, {68, 8, 5, 0, 0, 0, 0, 0},
		{1, 148, 4, 0, 0, 1, 1, 0},
		{0, 7, 0, 0, 0, 0, 0, 9}, /* nothing counts behind the end */
	};
	struct net_ip4 ip;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse_options(good[i], &ip), NET_DROP_NONE);
		assert_int_equal(ip.l4_len_bytes, 16);
	}
}

static void test_ip4_bad_options_dropped(void **state)
{
	static const uint8_t bad[][8] = {
		{7, 0, 0, 0, 0, 0, 0, 0}, {7, 1, 0, 0, 0, 0, 0, 0}, {7, 9, 0, 0, 0, 0, 0, 0},
		{7, 255, 0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1, 1, 7}, /* no room for its length */
	};
	struct net_ip4 ip;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse_options(bad[i], &ip), NET_DROP_ip4_bad_option);
}

static void test_ip4_source_routes_refused(void **state)
{
	static const uint8_t lsrr[8] = {131, 7, 4, 10, 0, 0, 9, 0};
	static const uint8_t ssrr[8] = {1, 137, 7, 4, 10, 0, 0, 9};
	struct net_ip4 ip;

	(void)state;
	assert_int_equal(parse_options(lsrr, &ip), NET_DROP_ip4_source_route);
	assert_int_equal(parse_options(ssrr, &ip), NET_DROP_ip4_source_route);
}

static void test_ip4_random_headers_stay_inside(void **state)
{
	unsigned int accepted = 0;
	struct net_ip4 ip;
	uint64_t x = 7;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		put_ip4(frame, 6, 60);
		for (int n = 0; n < 3; n++)
			ip_hdr[next_random(&x) % 28] = (uint8_t)next_random(&x);
		accepted +=
			parse(14 + next_random(&x) % 90, NET_RX_IP4_CSUM_OK, &ip) == NET_DROP_NONE;
	}
	assert_true(accepted > 100);
}

static void test_ip4_build_parses_back(void **state)
{
	static const struct net_ip4_out out = {
		.payload_len_bytes = 24, .id = 0x1234, .proto = NET_PROTO_TCP, .tos = 2};
	struct net_ip4_out o = out;
	struct net_ip4 ip;

	(void)state;
	o.src_be = ip4(10, 0, 0, 2);
	o.dst_be = ip4(10, 0, 0, 1);
	put_eth(frame, &our_mac, 0x0800);
	net_ip4_build(ip_hdr, &o);
	assert_int_equal(naive_checksum(0, ip_hdr, 20), 0);
	assert_int_equal(ip_hdr[6], 0x40);
	assert_int_equal(ip_hdr[4] << 8 | ip_hdr[5], 0x1234);
	assert_int_equal(parse(58, 0, &ip), NET_DROP_NONE);
	assert_int_equal(ip.l4_len_bytes, 24);
	assert_int_equal(ip.ttl, NET_IP4_TTL);
	assert_int_equal(ip.tos, 2);
}

static void test_ip4_tcp_check_finds_each_flipped_bit(void **state)
{
	const uint8_t pseudo[12] = {10, 0, 0, 2, 10, 0, 0, 1, 0, 6, 0, 23};
	uint8_t seg[23];
	struct net_ip4 ip = {.src_be = ip4(10, 0, 0, 2),
		.dst_be = ip4(10, 0, 0, 1),
		.l4 = seg,
		.l4_len_bytes = sizeof(seg),
		.proto = NET_PROTO_TCP};
	uint32_t sum = 0xffffu - naive_checksum(0, pseudo, sizeof(pseudo));

	(void)state;
	for (size_t i = 0; i < sizeof(seg); i++)
		seg[i] = (uint8_t)(i * 37 + 5);
	net_put16(seg + 16, 0);
	net_put16(seg + 16, naive_checksum(sum, seg, sizeof(seg)));
	assert_int_equal(net_ip4_tcp_check(&ip), NET_DROP_NONE);
	for (unsigned int bit = 0; bit < sizeof(seg) * 8; bit++) {
		seg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(net_ip4_tcp_check(&ip), NET_DROP_tcp_bad_checksum);
		ip.l4_csum_ok = true;
		assert_int_equal(net_ip4_tcp_check(&ip), NET_DROP_NONE);
		ip.l4_csum_ok = false;
		seg[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip4_plain_accepted_and_padding_cut),
		cmocka_unit_test(test_ip4_truncated_at_every_length_dropped),
		cmocka_unit_test(test_ip4_every_first_byte_is_bounded),
		cmocka_unit_test(test_ip4_every_lying_total_length_is_bounded),
		cmocka_unit_test(test_ip4_header_checksum_each_bit_matters),
		cmocka_unit_test(test_ip4_fragments_dropped),
		cmocka_unit_test(test_ip4_bad_sources_dropped),
		cmocka_unit_test(test_ip4_bad_destinations_dropped),
		cmocka_unit_test(test_ip4_unicast_in_broadcast_frame_dropped),
		cmocka_unit_test(test_ip4_ttl_zero_accepted),
		cmocka_unit_test(test_ip4_unknown_protocol_dropped),
		cmocka_unit_test(test_ip4_good_options_skipped),
		cmocka_unit_test(test_ip4_bad_options_dropped),
		cmocka_unit_test(test_ip4_source_routes_refused),
		cmocka_unit_test(test_ip4_random_headers_stay_inside),
		cmocka_unit_test(test_ip4_build_parses_back),
		cmocka_unit_test(test_ip4_tcp_check_finds_each_flipped_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
