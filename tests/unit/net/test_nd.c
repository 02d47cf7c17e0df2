/* Neighbour discovery messages: each check of RFC 4861 sections 6.1 and 7.1, and what we send. */
#include "frames.h"

#include <net/nd.h>

static uint8_t frame[2048];
static size_t msg_len;
static struct net_iface iface;
static struct net_nd nd;

static int setup(void **state)
{
	(void)state;
	iface = test_iface6();
	return 0;
}

static uint8_t *begin(
	const struct net_addr *src, const struct net_addr *dst, uint8_t type, size_t len)
{
	uint8_t *msg = frame + put_ip6(frame, src, dst, 58, 0);

	frame[14 + 7] = 255;
	memset(msg, 0, 1000);
	msg[0] = type;
	msg_len = len;
	return msg;
}

/* The peer asks for our address. */
static uint8_t *put_solicit(void)
{
	struct net_addr group = net_addr6_solicited_node(&our_ip6);
	uint8_t *msg = begin(&peer_ip6, &group, 135, 32);

	memcpy(msg + 8, our_ip6.b, 16);
	msg[24] = 1;
	msg[25] = 1;
	memcpy(msg + 26, peer_mac.b, 6);
	return msg;
}

static uint8_t *put_advert(void)
{
	uint8_t *msg = begin(&peer_ip6, &our_ip6, 136, 32);

	msg[4] = 0x60;
	memcpy(msg + 8, peer_ip6.b, 16);
	msg[24] = 2;
	msg[25] = 1;
	memcpy(msg + 26, peer_mac.b, 6);
	return msg;
}

static uint8_t *put_router_advert(void)
{
	uint8_t *msg = begin(&peer_ll6, &net_addr6_all_nodes, 134, 16);

	msg[4] = 64;
	net_put16(msg + 6, 1800);
	return msg;
}

static enum net_drop parse(void)
{
	struct net_packet p;
	struct net_ip6 ip;
	struct net_icmp icmp;
	uint8_t *copy;
	enum net_drop why;

	net_put16(frame + 18, (unsigned int)msg_len);
	fix_icmp6(frame, msg_len);
	copy = exact(frame, 54 + msg_len);
	assert_int_equal(net_packet_parse(&p, copy, 54 + msg_len, &our_link, 0), NET_DROP_NONE);
	assert_int_equal(net_ip6_parse(&ip, &p, &iface), NET_DROP_NONE);
	why = net_icmp6_parse(&icmp, &ip, &iface);
	if (why == NET_DROP_NONE) {
		assert_int_equal(icmp.kind, NET_ICMP_ND);
		why = net_nd_parse(&nd, &p, &ip, &iface);
	}
	free(copy);
	return why;
}

static void test_nd_messages_parsed(void **state)
{
	(void)state;
	put_solicit();
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_true(net_addr_equal(&nd.target, &our_ip6) && nd.has_mac && nd.multicast);
	assert_true(net_mac_equal(&nd.mac, &peer_mac));
	put_advert();
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_true(nd.solicited && nd.override && !nd.router && nd.has_mac);
	put_router_advert();
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(nd.lifetime_s, 1800);
	assert_int_equal(nd.hop_limit, 64);
}

/* RFC 4861 sections 6.1.2, 7.1.1 and 7.1.2: nothing that a router has forwarded. */
static void test_nd_hop_limit_below_255_dropped(void **state)
{
	uint8_t *(*const put[])(void) = {put_solicit, put_advert, put_router_advert};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (unsigned int limit = 0; limit < 256; limit++) {
			put[i]();
			frame[14 + 7] = (uint8_t)limit;
			assert_int_equal(
				parse(), limit == 255 ? NET_DROP_NONE : NET_DROP_nd_hop_limit);
		}
	}
}

static void test_nd_behind_fragment_header_dropped(void **state)
{
	(void)state;
	put_advert();
	memmove(frame + 62, frame + 54, 32);
	memset(frame + 54, 0, 8);
	frame[54] = 58;
	frame[20] = 44;
	net_put16(frame + 18, 40);
	net_put16(frame + 64, 0);
	net_put16(frame + 64, naive_checksum6(frame + 14, 58, frame + 62, 32));
	{
		struct net_packet p;
		struct net_ip6 ip;

		assert_int_equal(net_packet_parse(&p, frame, 102, &our_link, 0), NET_DROP_NONE);
		assert_int_equal(net_ip6_parse(&ip, &p, &iface), NET_DROP_NONE);
		assert_int_equal(net_nd_parse(&nd, &p, &ip, &iface), NET_DROP_nd_fragmented);
	}
}

static void test_nd_code_must_be_zero(void **state)
{
	(void)state;
	put_advert()[1] = 1;
	assert_int_equal(parse(), NET_DROP_nd_bad_code);
}

static void test_nd_truncated_at_every_length_dropped(void **state)
{
	static const size_t fixed[] = {24, 24, 16};
	uint8_t *(*const put[])(void) = {put_solicit, put_advert, put_router_advert};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t len = 8; len < 32; len++) {
			put[i]();
			msg_len = len;
			if (len < fixed[i])
				assert_int_equal(parse(), NET_DROP_nd_short);
			else if (len > fixed[i])
				assert_int_equal(parse(), NET_DROP_nd_bad_option);
			else
				assert_int_equal(parse(), NET_DROP_NONE);
		}
	}
}

static void test_nd_option_of_length_0_dropped(void **state)
{
	uint8_t *(*const put[])(void) = {put_solicit, put_advert, put_router_advert};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (unsigned int type = 0; type < 256; type++) {
			uint8_t *msg = put[i]();

			msg_len = 40;
			msg[32] = (uint8_t)type;
			msg[33] = 0;
			if (i == 2)
				msg[16] = 200, msg[17] = 2;
			assert_int_equal(parse(), NET_DROP_nd_bad_option);
		}
	}
}

static void test_nd_every_option_length_is_bounded(void **state)
{
	(void)state;
	for (unsigned int type = 0; type < 8; type++) {
		for (unsigned int len = 1; len < 256; len++) {
			uint8_t *msg = put_router_advert();
			enum net_drop why;

			msg[16] = (uint8_t)type;
			msg[17] = (uint8_t)len;
			if (type == 1 || type == 2)
				memcpy(msg + 18, peer_mac.b, 6);
			msg_len = 16 + 40 * 8;
			for (size_t at = 16 + len * 8; at < msg_len; at += 8) {
				msg[at] = 99;
				msg[at + 1] = 1;
			}
			why = parse();
			if (len > 40 || (type == 1 && len != 1) || (type == 3 && len != 4) ||
				(type == 5 && len != 1))
				assert_int_equal(why, NET_DROP_nd_bad_option);
			else
				assert_int_equal(why, NET_DROP_NONE);
		}
	}
}

static void test_nd_options_are_counted(void **state)
{
	uint8_t *msg = put_advert();

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		msg[32 + i * 8] = 99;
		msg[33 + i * 8] = 1;
	}
	msg_len = 32 + 63 * 8;
	assert_int_equal(parse(), NET_DROP_NONE);
	msg_len += 8;
	assert_int_equal(parse(), NET_DROP_nd_bad_option);
}

static void test_nd_bad_macs_dropped(void **state)
{
	(void)state;
	memset(put_solicit() + 26, 0, 6);
	assert_int_equal(parse(), NET_DROP_nd_bad_mac);
	memset(put_advert() + 26, 0xff, 6);
	assert_int_equal(parse(), NET_DROP_nd_bad_mac);
	put_advert();
	memcpy(frame + 6, our_mac.b, 6);
	assert_int_equal(parse(), NET_DROP_nd_own_echo);
}

static void test_nd_bad_targets_dropped(void **state)
{
	(void)state;
	memcpy(put_solicit() + 8, net_addr6_all_nodes.b, 16);
	assert_int_equal(parse(), NET_DROP_nd_bad_target);
	memset(put_advert() + 8, 0, 16);
	assert_int_equal(parse(), NET_DROP_nd_bad_target);
}

/* RFC 4861 section 7.1.1: from the unspecified address to the solicited-node group, without MAC. */
static void test_nd_probe_rules(void **state)
{
	struct net_addr group = net_addr6_solicited_node(&our_ip6);

	(void)state;
	put_solicit();
	memset(frame + 22, 0, 16);
	assert_int_equal(parse(), NET_DROP_nd_bad_option);
	memcpy(begin(&no_ip6, &group, 135, 24) + 8, our_ip6.b, 16);
	assert_int_equal(parse(), NET_DROP_NONE);
	memcpy(begin(&no_ip6, &our_ip6, 135, 24) + 8, our_ip6.b, 16);
	assert_int_equal(parse(), NET_DROP_nd_bad_dest);
	memcpy(begin(&no_ip6, &net_addr6_all_nodes, 135, 24) + 8, our_ip6.b, 16);
	assert_int_equal(parse(), NET_DROP_nd_bad_dest);
}

static void test_nd_advert_rules(void **state)
{
	(void)state;
	put_advert();
	memcpy(frame + 38, net_addr6_all_nodes.b, 16);
	memcpy(frame, (const uint8_t[]){0x33, 0x33, 0, 0, 0, 1}, 6);
	assert_int_equal(parse(), NET_DROP_nd_bad_dest); /* solicited, to a group */
	put_advert();
	memset(frame + 22, 0, 16);
	assert_int_equal(parse(), NET_DROP_nd_bad_source);
}

static void test_nd_router_advert_from_global_source_dropped(void **state)
{
	(void)state;
	put_router_advert();
	memcpy(frame + 22, peer_ip6.b, 16);
	assert_int_equal(parse(), NET_DROP_nd_bad_source);
}

static void test_nd_others_ignored(void **state)
{
	(void)state;
	begin(&peer_ll6, &our_ll6, 133, 8); /* a router's business */
	assert_int_equal(parse(), NET_DROP_icmp6_ignored);
	begin(&peer_ll6, &our_ll6, 137, 40);
	assert_int_equal(parse(), NET_DROP_icmp6_ignored);
}

static void test_nd_router_advert_options_parsed(void **state)
{
	uint8_t *msg = put_router_advert();

	(void)state;
	msg[5] = 0x18; /* low */
	msg[16] = 3;
	msg[17] = 4;
	msg[18] = 64;
	msg[19] = 0xc0;
	memset(msg + 20, 0xff, 4);
	net_put16(msg + 26, 600);
	memcpy(msg + 32, our_ip6.b, 8);
	msg[48] = 5;
	msg[49] = 1;
	net_put16(msg + 54, 1400);
	msg[56] = 1;
	msg[57] = 1;
	memcpy(msg + 58, peer_mac.b, 6);
	msg_len = 64;
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(nd.preference, -1);
	assert_int_equal(nd.prefix_count, 1);
	assert_int_equal(nd.prefix[0].len, 64);
	assert_true(nd.prefix[0].on_link && nd.prefix[0].autonomous);
	assert_int_equal(nd.prefix[0].valid_s, UINT32_MAX);
	assert_int_equal(nd.prefix[0].preferred_s, 600);
	assert_int_equal(nd.mtu_bytes, 1400);
	assert_true(nd.has_mac);
	msg[18] = 129;
	assert_int_equal(parse(), NET_DROP_nd_bad_option);
}

static void test_nd_prefixes_beyond_room_not_looked_at(void **state)
{
	uint8_t *msg = put_router_advert();

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		uint8_t *opt = msg + 16 + (size_t)i * 32;

		opt[0] = 3;
		opt[1] = 4;
		opt[2] = (uint8_t)i;
	}
	msg_len = 16 + 20 * 32;
	assert_int_equal(parse(), NET_DROP_NONE);
	assert_int_equal(nd.prefix_count, NET_ND_PREFIXES_MAX);
}

/* A frame of ours as the peer would see it: checksum right, hop limit 255. */
static const uint8_t *check_sent(const uint8_t *f, size_t len, const struct net_addr *dst)
{
	assert_int_equal(f[12] << 8 | f[13], 0x86dd);
	assert_memory_equal(f + 6, our_mac.b, 6);
	assert_int_equal(f[18] << 8 | f[19], len - 54);
	assert_int_equal(f[21], 255);
	assert_memory_equal(f + 38, dst->b, 16);
	assert_int_equal(naive_checksum6(f + 14, 58, f + 54, len - 54), 0);
	return f + 54;
}

static void test_nd_solicit_goes_to_group_or_neighbour(void **state)
{
	struct net_addr group = net_addr6_solicited_node(&peer_ip6);
	static const struct net_mac group_mac = {{0x33, 0x33, 0xff, 0, 0, 2}};
	uint8_t f[NET_ND_FRAME_MAX];
	const uint8_t *msg;
	size_t len;

	(void)state;
	len = net_nd_build_solicit(f, &iface, &peer_ip6, &net_mac_broadcast);
	msg = check_sent(f, len, &group);
	assert_memory_equal(f, group_mac.b, 6);
	assert_memory_equal(f + 22, our_ip6.b, 16);
	assert_int_equal(msg[0], 135);
	assert_memory_equal(msg + 8, peer_ip6.b, 16);
	assert_memory_equal(msg + 26, our_mac.b, 6);
	len = net_nd_build_solicit(f, &iface, &peer_ip6, &peer_mac);
	check_sent(f, len, &peer_ip6);
	assert_memory_equal(f, peer_mac.b, 6);
	len = net_nd_build_solicit(f, &iface, &peer_ll6, &peer_mac);
	check_sent(f, len, &peer_ll6);
	assert_memory_equal(f + 22, our_ll6.b, 16);
}

static void test_nd_probe_is_from_nobody_without_mac(void **state)
{
	struct net_addr group = net_addr6_solicited_node(&our_ip6);
	uint8_t f[NET_ND_FRAME_MAX];
	size_t len = net_nd_build_probe(f, &iface, &our_ip6);

	(void)state;
	assert_int_equal(len, 54 + 24);
	assert_memory_equal(check_sent(f, len, &group) + 8, our_ip6.b, 16);
	assert_memory_equal(f + 22, no_ip6.b, 16);
}

static void test_nd_advert_names_us(void **state)
{
	struct net_nd_answer answer = {our_ip6, peer_ip6, peer_mac, true};
	uint8_t f[NET_ND_FRAME_MAX];
	size_t len = net_nd_build_advert(f, &iface, &answer);
	const uint8_t *msg = check_sent(f, len, &peer_ip6);

	(void)state;
	assert_int_equal(msg[0], 136);
	assert_int_equal(msg[4], 0x60);
	assert_int_equal(msg[24], 2);
	assert_memory_equal(msg + 26, our_mac.b, 6);
	assert_memory_equal(f + 22, our_ip6.b, 16);
}

static void test_nd_router_solicit_with_and_without_address(void **state)
{
	struct net_iface none = test_iface();
	uint8_t f[NET_ND_FRAME_MAX];
	size_t len = net_nd_build_router_solicit(f, &iface);

	(void)state;
	check_sent(f, len, &net_addr6_all_routers);
	assert_memory_equal(f + 22, our_ll6.b, 16);
	len = net_nd_build_router_solicit(f, &none);
	assert_int_equal(len, 54 + 8);
	check_sent(f, len, &net_addr6_all_routers);
	assert_memory_equal(f + 22, no_ip6.b, 16);
}

static void test_nd_mld_report_names_each_group_once(void **state)
{
	struct net_iface two = test_iface6();
	struct net_addr third = {{0x20, 2}}, group = net_addr6_solicited_node(&our_ip6);
	uint8_t f[NET_ND_FRAME_MAX];
	size_t len;

	(void)state;
	memset(f, 0, sizeof(f));
	third.b[15] = 9;
	assert_int_equal(net_iface_add6(&two, &third, 64, NET_ADDR6_TENTATIVE), 0);
	len = net_nd_build_mld_report(f, &two, true);
	assert_int_equal(len, 14 + 40 + 8 + 8 + 2 * 20); /* ...:1 twice is one group */
	assert_int_equal(f[20], 0);			 /* hop-by-hop: router alert */
	assert_int_equal(f[21], 1);
	assert_memory_equal(f + 54, ((const uint8_t[]){58, 0, 5, 2, 0, 0}), 6);
	assert_int_equal(f[62], 143);
	assert_int_equal(f[69], 2);
	assert_int_equal(f[70], 4);
	assert_memory_equal(f + 74, group.b, 16);
	assert_int_equal(naive_checksum6(f + 14, 58, f + 62, len - 62), 0);
}

static void test_nd_random_options_stay_inside(void **state)
{
	uint8_t *(*const put[])(void) = {put_solicit, put_advert, put_router_advert};
	uint64_t x = 17;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint8_t *msg = put[next_random(&x) % 3]();

		msg_len = 24 + next_random(&x) % 300;
		for (size_t k = 16; k < msg_len; k++)
			msg[k] = (uint8_t)(next_random(&x) % 2 ? next_random(&x) % 8
							       : next_random(&x));
		parse();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nd_messages_parsed),
		cmocka_unit_test(test_nd_hop_limit_below_255_dropped),
		cmocka_unit_test(test_nd_behind_fragment_header_dropped),
		cmocka_unit_test(test_nd_code_must_be_zero),
		cmocka_unit_test(test_nd_truncated_at_every_length_dropped),
		cmocka_unit_test(test_nd_option_of_length_0_dropped),
		cmocka_unit_test(test_nd_every_option_length_is_bounded),
		cmocka_unit_test(test_nd_options_are_counted),
		cmocka_unit_test(test_nd_bad_macs_dropped),
		cmocka_unit_test(test_nd_bad_targets_dropped),
		cmocka_unit_test(test_nd_probe_rules),
		cmocka_unit_test(test_nd_advert_rules),
		cmocka_unit_test(test_nd_router_advert_from_global_source_dropped),
		cmocka_unit_test(test_nd_others_ignored),
		cmocka_unit_test(test_nd_router_advert_options_parsed),
		cmocka_unit_test(test_nd_prefixes_beyond_room_not_looked_at),
		cmocka_unit_test(test_nd_solicit_goes_to_group_or_neighbour),
		cmocka_unit_test(test_nd_probe_is_from_nobody_without_mac),
		cmocka_unit_test(test_nd_advert_names_us),
		cmocka_unit_test(test_nd_router_solicit_with_and_without_address),
		cmocka_unit_test(test_nd_mld_report_names_each_group_once),
		cmocka_unit_test(test_nd_random_options_stay_inside),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
