#include "frames.h"

static enum net_drop parse(const uint8_t *f, size_t len, struct net_packet *p)
{
	uint8_t *copy = exact(f, len);
	enum net_drop why = net_packet_parse(p, copy, len, &our_mac, 0);

	if (why == NET_DROP_NONE) {
		assert_ptr_equal(p->frame, copy);
		assert_ptr_equal(p->l3, copy + 14);
		assert_int_equal(p->l3_len_bytes, len - 14);
	}
	free(copy);
	return why;
}

static void test_packet_ours_accepted(void **state)
{
	struct net_packet p;
	uint8_t f[60] = {0};

	(void)state;
	put_eth(f, &our_mac, 0x0800);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_NONE);
	assert_int_equal(p.ethertype, NET_ETHERTYPE_IP4);
	assert_false(p.broadcast);
	assert_memory_equal(p.src.b, peer_mac.b, 6);
	assert_memory_equal(p.dst.b, our_mac.b, 6);
}

static void test_packet_broadcast_arp_accepted(void **state)
{
	struct net_packet p;
	uint8_t f[60] = {0};

	(void)state;
	put_eth(f, &net_mac_broadcast, 0x0806);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_NONE);
	assert_true(p.broadcast);
}

static void test_packet_truncated_at_every_length_dropped(void **state)
{
	struct net_packet p;
	uint8_t f[14];

	(void)state;
	put_eth(f, &our_mac, 0x0800);
	for (size_t len = 0; len < 14; len++)
		assert_int_equal(parse(f, len, &p), NET_DROP_eth_short);
	assert_int_equal(parse(f, 14, &p), NET_DROP_NONE);
}

static void test_packet_other_destinations_dropped(void **state)
{
	static const struct net_mac other = {{2, 0, 0, 0, 0, 9}};
	static const struct net_mac multicast = {{1, 0, 0x5e, 0, 0, 1}};
	struct net_packet p;
	uint8_t f[60] = {0};

	(void)state;
	put_eth(f, &other, 0x0800);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_eth_not_ours);
	put_eth(f, &multicast, 0x0800);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_eth_multicast);
}

static void test_packet_group_source_dropped(void **state)
{
	struct net_packet p;
	uint8_t f[60] = {0};

	(void)state;
	put_eth(f, &our_mac, 0x0800);
	f[6] |= 1;
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_eth_bad_source);
}

static void test_packet_vlan_and_unknown_types_dropped(void **state)
{
	struct net_packet p;
	uint8_t f[60] = {0};

	(void)state;
	put_eth(f, &our_mac, 0x8100);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_eth_vlan);
	put_eth(f, &our_mac, 0x88a8);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_eth_vlan);
	put_eth(f, &our_mac, 0x86de);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_eth_unknown_type);
	put_eth(f, &our_mac, 46); /* an IEEE 802.3 length */
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_eth_unknown_type);
}

static void test_eth_build_parses_back(void **state)
{
	struct net_packet p;
	uint8_t f[14];

	(void)state;
	net_eth_build(f, &our_mac, &peer_mac, NET_ETHERTYPE_ARP);
	assert_int_equal(parse(f, sizeof(f), &p), NET_DROP_NONE);
	assert_int_equal(p.ethertype, NET_ETHERTYPE_ARP);
	assert_memory_equal(p.src.b, peer_mac.b, 6);
}

static void test_counters_table_names_each_field(void **state)
{
	struct net_counters c = {0};

	(void)state;
	for (int i = 1; i < NET_DROP_COUNT; i++) {
		const struct net_counter_info *info = &net_counter_table[i - 1];

		net_drop_count(&c, (enum net_drop)i);
		assert_int_equal(*(uint64_t *)((uint8_t *)&c + info->offset_bytes), 1);
		assert_string_equal(net_drop_name((enum net_drop)i), info->name);
		assert_true(strlen(info->help) > 10);
	}
	net_drop_count(&c, NET_DROP_NONE);
	net_drop_count(&c, NET_DROP_ip4_fragment);
	assert_int_equal(c.eth_short, 1);
	assert_int_equal(c.ip4_fragment, 2);
	assert_string_equal(net_drop_name(NET_DROP_NONE), "none");
	assert_string_equal(net_drop_name(NET_DROP_COUNT), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packet_ours_accepted),
		cmocka_unit_test(test_packet_broadcast_arp_accepted),
		cmocka_unit_test(test_packet_truncated_at_every_length_dropped),
		cmocka_unit_test(test_packet_other_destinations_dropped),
		cmocka_unit_test(test_packet_group_source_dropped),
		cmocka_unit_test(test_packet_vlan_and_unknown_types_dropped),
		cmocka_unit_test(test_eth_build_parses_back),
		cmocka_unit_test(test_counters_table_names_each_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
