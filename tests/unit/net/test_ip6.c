/* IPv6 headers and the chains of extension headers behind them, honest and hostile. */
#include "frames.h"

#include <net/checksum.h>
#include <net/ip6.h>

static uint8_t frame[2048];
static size_t frame_len;
static struct net_ip6 ip;

/* A TCP packet of 20 zero bytes behind the `ext_len` bytes of extension headers at `ext`, the
 * first of type `next`. */
static void make(uint8_t next, const uint8_t *ext, size_t ext_len)
{
	size_t at = put_ip6(frame, &peer_ip6, &our_ip6, next, ext_len + 20);

	memcpy(frame + at, ext, ext_len);
	memset(frame + at + ext_len, 0, 20);
	frame_len = at + ext_len + 20;
}

static void make_plain(void)
{
	make(6, frame, 0);
}

static enum net_drop parse_len(size_t len)
{
	struct net_iface iface = test_iface6();
	uint8_t *copy = exact(frame, len);
	struct net_packet p;
	enum net_drop why = net_packet_parse(&p, copy, len, &our_link, 0);

	if (why == NET_DROP_NONE)
		why = net_ip6_parse(&ip, &p, &iface);
	if (why == NET_DROP_NONE) {
		assert_true(ip.l4 >= copy + 54);
		assert_true(ip.l4 + ip.l4_len_bytes <= copy + len);
		ip.l4 = frame + (ip.l4 - copy);
	}
	free(copy);
	return why;
}

static enum net_drop parse(void)
{
	return parse_len(frame_len);
}

static void test_ip6_plain_packet_parsed(void **state)
{
	(void)state;
	make_plain();
	frame[14] = 0x6a;
	frame[15] = 0xbc;
	frame[16] = 0xde;
	frame[17] = 0xf1;
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_true(net_addr_equal(&ip.src, &peer_ip6));
	assert_true(net_addr_equal(&ip.dst, &our_ip6));
	assert_int_equal(ip.proto, 6);
	assert_int_equal(ip.tclass, 0xab);
	assert_int_equal(ip.flow_label, 0xcdef1);
	assert_int_equal(ip.l4_len_bytes, 20);
	assert_ptr_equal(ip.l4, frame + 54);
	assert_false(ip.multicast);
}

static void test_ip6_link_padding_is_cut(void **state)
{
	(void)state;
	make_plain();
	assert_int_equal(parse_len(frame_len + 100), NET_DROP_NONE);
	assert_int_equal(ip.l4_len_bytes, 20);
}

static void test_ip6_truncated_at_every_length_dropped(void **state)
{
	(void)state;
	make_plain();
	for (size_t len = 14; len < frame_len; len++)
		assert_int_equal(
			parse_len(len), len < 54 ? NET_DROP_ip6_short : NET_DROP_ip6_bad_length);
}

static void test_ip6_version_must_be_6(void **state)
{
	(void)state;
	make_plain();
	for (unsigned int v = 0; v < 16; v++) {
		frame[14] = (uint8_t)(v << 4);
		assert_int_equal(parse(), v == 6 ? NET_DROP_NONE : NET_DROP_ip6_bad_version);
	}
}

static void test_ip6_every_lying_payload_length_is_bounded(void **state)
{
	(void)state;
	make_plain();
	for (unsigned int len = 1; len <= 0xffff; len++) {
		net_put16(frame + 18, len);
		assert_int_equal(parse(), len <= 20 ? NET_DROP_NONE : NET_DROP_ip6_bad_length);
		if (len <= 20)
			assert_int_equal(ip.l4_len_bytes, len);
	}
}

/* RFC 2675: a payload length of 0, or the option without it. */
static void test_ip6_jumbograms_dropped(void **state)
{
	const uint8_t jumbo[8] = {6, 0, 0xc2, 4, 0, 1, 0, 0};

	(void)state;
	make(0, jumbo, 8);
	assert_int_equal(parse(), NET_DROP_ip6_jumbogram);
	net_put16(frame + 18, 0);
	assert_int_equal(parse(), NET_DROP_ip6_jumbogram);
	make_plain();
	net_put16(frame + 18, 0);
	assert_int_equal(parse(), NET_DROP_ip6_bad_length);
}

static void test_ip6_bad_sources_dropped(void **state)
{
	static const struct net_addr bad[] = {
		{{0}},						    /* unspecified: not for TCP */
		{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}, /* loopback */
		{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
		{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2}}, /* IPv4-mapped */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_plain();
		memcpy(frame + 22, bad[i].b, 16);
		assert_int_equal(parse(), NET_DROP_ip6_bad_source);
	}
	make_plain();
	memcpy(frame + 22, our_ip6.b, 16);
	assert_int_equal(parse(), NET_DROP_ip6_own_source);
}

static void test_ip6_bad_destinations_dropped(void **state)
{
	static const struct {
		struct net_addr dst;
		enum net_drop why;
	} cases[] = {
		{{{0}}, NET_DROP_ip6_bad_dest},
		{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}, NET_DROP_ip6_bad_dest},
		{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}}, NET_DROP_ip6_bad_dest},
		{{{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}}, NET_DROP_ip6_not_ours},
		{{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
			NET_DROP_ip6_multicast}, /* TCP */
		{{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}}, NET_DROP_ip6_multicast},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		make_plain();
		memcpy(frame + 38, cases[i].dst.b, 16);
		assert_int_equal(parse(), cases[i].why);
	}
}

static void test_ip6_unicast_in_group_frame_dropped(void **state)
{
	(void)state;
	make_plain();
	frame[0] = frame[1] = 0x33;
	assert_int_equal(parse(), NET_DROP_ip6_l2_multicast);
	memset(frame, 0xff, 6);
	assert_int_equal(parse(), NET_DROP_ip6_l2_multicast);
}

static void test_ip6_icmp_to_our_groups_accepted(void **state)
{
	struct net_addr solicited = net_addr6_solicited_node(&our_ip6);

	(void)state;
	put_ip6(frame, &no_ip6, &solicited, 58, 8);
	frame_len = 62;
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_true(ip.multicast);
	put_ip6(frame, &peer_ll6, &net_addr6_all_nodes, 58, 8);
	assert_int_equal(parse(), NET_DROP_NONE);
	put_ip6(frame, &peer_ll6, &net_addr6_all_routers, 58, 8);
	assert_int_equal(parse(), NET_DROP_ip6_multicast);
}

static void test_ip6_extension_headers_skipped(void **state)
{
	const uint8_t chain[] = {
		60, 0, 1, 4, 0, 0, 0, 0, /* hop-by-hop: PadN */
		43, 1, 0, 0, 0, 1, 7, 0, 0, 0, 5, 2, 0, 0, 1,
		0, /* destination: Pad1, PadN, unknown skippable */
		44, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0,			 /* routing, none left */
		60, 0, 0, 0, 1, 2, 3, 4, /* an atomic fragment */
		6, 0, 0, 0, 0, 0, 0, 0,	 /* destination: Pad1 only */
	};

	(void)state;
	make(0, chain, sizeof(chain));
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(ip.proto, 6);
	assert_ptr_equal(ip.l4, frame + 54 + sizeof(chain));
	assert_int_equal(ip.l4_len_bytes, 20);
	assert_true(ip.fragmented);
	for (size_t len = 14; len < frame_len; len++)
		assert_int_not_equal(parse_len(len), NET_DROP_NONE);
}

/* The same packet with the payload length shortened: the chain ends nowhere but at its end. */
static void test_ip6_chain_cut_at_every_length_is_bounded(void **state)
{
	const uint8_t chain[] = {
		60, 0, 1, 4, 0, 0, 0, 0, 6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

	(void)state;
	make(0, chain, sizeof(chain));
	for (unsigned int len = 1; len < sizeof(chain); len++) {
		net_put16(frame + 18, len);
		assert_int_equal(parse_len(54 + len), NET_DROP_ip6_bad_ext);
	}
	net_put16(frame + 18, sizeof(chain));
	assert_int_equal(parse_len(54 + sizeof(chain)), NET_DROP_NONE);
	assert_int_equal(ip.l4_len_bytes, 0);
}

static void test_ip6_every_length_of_an_extension_header_is_bounded(void **state)
{
	static const uint8_t types[] = {0, 43, 60};

	(void)state;
	for (size_t t = 0; t < sizeof(types); t++) {
		for (unsigned int len = 0; len < 256; len++) {
			const uint8_t ext[8] = {6, (uint8_t)len, 0, 0, 0, 0, 0, 0};

			make(types[t], ext, 8);
			assert_int_equal(
				parse(), 8 + len * 8 <= 28 ? NET_DROP_NONE : NET_DROP_ip6_bad_ext);
		}
	}
}

static void test_ip6_long_chain_refused(void **state)
{
	uint8_t chain[16 * 8] = {0};

	(void)state;
	for (size_t n = 1; n <= 16; n++) {
		for (size_t i = 0; i < n; i++)
			chain[i * 8] = i + 1 < n ? 60 : 6;
		make(60, chain, n * 8);
		assert_int_equal(
			parse(), n <= NET_IP6_EXT_MAX ? NET_DROP_NONE : NET_DROP_ip6_many_ext);
	}
}

static void test_ip6_hop_by_hop_only_comes_first(void **state)
{
	const uint8_t chain[16] = {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4};

	(void)state;
	make(60, chain, 16);
	assert_int_equal(parse(), NET_DROP_ip6_bad_ext);
}

/* RFC 8200 section 4.2: 00 skip, 01 discard, 10 and 11 discard and tell. */
static void test_ip6_unknown_options_follow_their_top_bits(void **state)
{
	(void)state;
	for (unsigned int type = 2; type < 256; type++) {
		const uint8_t ext[8] = {6, 0, (uint8_t)type, 4, 0, 0, 0, 0};

		make(60, ext, 8);
		if (type == 0xc2)
			assert_int_equal(parse(), NET_DROP_ip6_jumbogram);
		else
			assert_int_equal(
				parse(), type < 64 ? NET_DROP_NONE : NET_DROP_ip6_bad_option);
	}
}

static void test_ip6_option_past_its_header_dropped(void **state)
{
	(void)state;
	for (unsigned int len = 0; len < 256; len++) {
		const uint8_t ext[8] = {6, 0, 1, (uint8_t)len, 0, 0, 0, 0};

		make(60, ext, 8);
		/* what a shorter one leaves are Pad1 */
		assert_int_equal(parse(), len <= 4 ? NET_DROP_NONE : NET_DROP_ip6_bad_option);
	}
}

/* RFC 5095 and RFC 8200 section 4.4: of any type, also one that we have never heard of. */
static void test_ip6_routing_with_segments_left_refused(void **state)
{
	(void)state;
	for (unsigned int type = 0; type < 256; type++) {
		const uint8_t ext[8] = {6, 0, (uint8_t)type, 1, 0, 0, 0, 0};

		make(43, ext, 8);
		assert_int_equal(parse(), NET_DROP_ip6_source_route);
		frame[54 + 3] = 0;
		assert_int_equal(parse(), NET_DROP_NONE);
	}
}

static void test_ip6_fragments_dropped(void **state)
{
	static const uint16_t words[] = {0x0001, 0x0008, 0x0009, 0xfff8, 0xfff9};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const uint8_t ext[8] = {
			6, 0, (uint8_t)(words[i] >> 8), (uint8_t)words[i], 1, 2, 3, 4};

		make(44, ext, 8);
		assert_int_equal(parse(), NET_DROP_ip6_fragment);
	}
}

static void test_ip6_other_protocols_dropped(void **state)
{
	(void)state;
	make_plain();
	for (unsigned int proto = 0; proto < 256; proto++) {
		frame[20] = (uint8_t)proto;
		if (proto == 6 || proto == 58)
			assert_int_equal(parse(), NET_DROP_NONE);
		else if (proto != 0 && proto != 43 && proto != 44 && proto != 60)
			assert_int_equal(parse(), NET_DROP_ip6_unknown_proto);
	}
}

static void test_ip6_without_addresses_drops_all(void **state)
{
	struct net_iface iface = test_iface();
	struct net_packet p;

	(void)state;
	make_plain();
	assert_int_equal(net_packet_parse(&p, frame, frame_len, &our_link, 0), NET_DROP_NONE);
	assert_int_equal(net_ip6_parse(&ip, &p, &iface), NET_DROP_ip6_not_ours);
	put_ip6(frame, &peer_ll6, &net_addr6_all_nodes, 58, 8);
	assert_int_equal(net_packet_parse(&p, frame, frame_len, &our_link, 0), NET_DROP_NONE);
	assert_int_equal(net_ip6_parse(&ip, &p, &iface), NET_DROP_ip6_multicast);
}

static void test_ip6_tcp_check_finds_each_flipped_bit(void **state)
{
	(void)state;
	make_plain();
	for (size_t i = 0; i < 20; i++)
		frame[54 + i] = (uint8_t)(i * 37);
	net_put16(frame + 54 + 16, 0);
	net_put16(frame + 54 + 16, naive_checksum6(frame + 14, 6, frame + 54, 20));
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(net_ip6_tcp_check(&ip), NET_DROP_NONE);
	for (size_t bit = 0; bit < 20 * 8; bit++) {
		frame[54 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(parse(), NET_DROP_NONE);
		assert_int_equal(net_ip6_tcp_check(&ip), NET_DROP_tcp_bad_checksum);
		frame[54 + bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ip.l4_csum_ok = true;
	frame[54]++;
	assert_int_equal(net_ip6_tcp_check(&ip), NET_DROP_NONE);
}

static void test_ip6_pseudo_sum_equals_the_plain_one(void **state)
{
	uint64_t x = 99;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint8_t head[40], data[64];
		size_t len = next_random(&x) % sizeof(data);
		uint16_t check;
		uint32_t sum;

		for (size_t k = 0; k < 40; k++)
			head[k] = (uint8_t)next_random(&x);
		for (size_t k = 0; k < len; k++)
			data[k] = (uint8_t)next_random(&x);
		sum = net_checksum_pseudo6(head + 8, head + 24, 6, (uint32_t)len);
		check = net_checksum_fold(net_checksum_add(sum, data, len));
		assert_int_equal(
			(uint16_t)(check << 8 | check >> 8), naive_checksum6(head, 6, data, len));
	}
}

static void test_ip6_build_round_trip(void **state)
{
	struct net_ip6_out out = {
		.src = &peer_ip6,
		.dst = &our_ip6,
		.payload_len_bytes = 20,
		.flow_label = 0xabcde,
		.proto = 6,
		.hop_limit = 7,
		.tclass = 0x5a,
	};

	(void)state;
	make_plain();
	memset(frame + 14, 0xee, 40);
	net_ip6_build(frame + 14, &out);
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(ip.hop_limit, 7);
	assert_int_equal(ip.tclass, 0x5a);
	assert_int_equal(ip.flow_label, 0xabcde);
}

static void test_ip6_random_bytes_stay_inside(void **state)
{
	uint64_t x = 4711;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		size_t len = next_random(&x) % 200;

		make(next_random(&x) % 2 ? 0 : 60, frame, 0);
		for (size_t k = 54; k < 54 + len; k++)
			frame[k] = (uint8_t)(next_random(&x) % 4 ? next_random(&x) % 64
								 : next_random(&x));
		net_put16(frame + 18, (unsigned int)(next_random(&x) % (len + 8)));
		parse_len(54 + len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip6_plain_packet_parsed),
		cmocka_unit_test(test_ip6_link_padding_is_cut),
		cmocka_unit_test(test_ip6_truncated_at_every_length_dropped),
		cmocka_unit_test(test_ip6_version_must_be_6),
		cmocka_unit_test(test_ip6_every_lying_payload_length_is_bounded),
		cmocka_unit_test(test_ip6_jumbograms_dropped),
		cmocka_unit_test(test_ip6_bad_sources_dropped),
		cmocka_unit_test(test_ip6_bad_destinations_dropped),
		cmocka_unit_test(test_ip6_unicast_in_group_frame_dropped),
		cmocka_unit_test(test_ip6_icmp_to_our_groups_accepted),
		cmocka_unit_test(test_ip6_extension_headers_skipped),
		cmocka_unit_test(test_ip6_chain_cut_at_every_length_is_bounded),
		cmocka_unit_test(test_ip6_every_length_of_an_extension_header_is_bounded),
		cmocka_unit_test(test_ip6_long_chain_refused),
		cmocka_unit_test(test_ip6_hop_by_hop_only_comes_first),
		cmocka_unit_test(test_ip6_unknown_options_follow_their_top_bits),
		cmocka_unit_test(test_ip6_option_past_its_header_dropped),
		cmocka_unit_test(test_ip6_routing_with_segments_left_refused),
		cmocka_unit_test(test_ip6_fragments_dropped),
		cmocka_unit_test(test_ip6_other_protocols_dropped),
		cmocka_unit_test(test_ip6_without_addresses_drops_all),
		cmocka_unit_test(test_ip6_tcp_check_finds_each_flipped_bit),
		cmocka_unit_test(test_ip6_pseudo_sum_equals_the_plain_one),
		cmocka_unit_test(test_ip6_build_round_trip),
		cmocka_unit_test(test_ip6_random_bytes_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
