#include "frames.h"

static enum net_drop parse(const uint8_t *f, size_t len, struct net_packet *p)
{
	uint8_t *copy = exact(f, len);
	enum net_drop why = net_packet_parse(p, copy, len, &our_link, 0);

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

/* -- VLANs ------------------------------------------------------------------------------------- */

enum {
	OURS = 5,
	FOREIGN = 6,
	PRIORITY = 7 << 13 | 1 << 12, /* and DEI: neither is part of the identifier */
};
static const struct net_iface our_vlan = {.mac = {{2, 0, 0, 0, 0, 1}}, .vlan_id = OURS};

/* Writes a tag and what it says follows. */
static void put_tag(uint8_t *f, unsigned int type, unsigned int tci, unsigned int ethertype)
{
	put_eth(f, &our_mac, type);
	net_put16(f + 14, tci);
	net_put16(f + 16, ethertype);
}

/* Of `len` bytes, as the port hands it over on an interface in a VLAN or in none. */
static enum net_drop parse_on(
	const struct net_iface *iface, const uint8_t *f, size_t len, uint32_t rx_flags)
{
	uint8_t *copy = exact(f, len);
	struct net_packet p;
	enum net_drop why = net_packet_parse(&p, copy, len, iface, rx_flags);
	size_t header = !(rx_flags & NET_RX_VLAN) && f[12] == 0x81 ? 18 : 14;

	if (why == NET_DROP_NONE) {
		assert_ptr_equal(p.l3, copy + header);
		assert_int_equal(p.l3_len_bytes, len - header);
		assert_int_equal(p.ethertype, NET_ETHERTYPE_IP4);
	}
	free(copy);
	return why;
}

static void test_vlan_given_tag_in_the_frame_takes_ours_alone(void **state)
{
	uint8_t f[60] = {0};

	(void)state;
	put_tag(f, 0x8100, OURS, 0x0800);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_NONE);
	assert_int_equal(parse_on(&our_link, f, sizeof(f), 0), NET_DROP_eth_vlan);
	put_tag(f, 0x8100, PRIORITY | OURS, 0x0800);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_NONE);
	put_tag(f, 0x8100, FOREIGN, 0x0800);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_vlan);
	put_tag(f, 0x8100, 0xfff, 0x0800);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_vlan);
	put_eth(f, &our_mac, 0x0800);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_untagged);
}

static void test_vlan_given_tag_taken_off_by_the_port_takes_ours_alone(void **state)
{
	uint8_t f[60] = {0};

	(void)state;
	put_eth(f, &our_mac, 0x0800);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), net_rx_vlan(OURS)), NET_DROP_NONE);
	assert_int_equal(
		parse_on(&our_vlan, f, sizeof(f), net_rx_vlan(PRIORITY | OURS)), NET_DROP_NONE);
	assert_int_equal(
		parse_on(&our_vlan, f, sizeof(f), net_rx_vlan(FOREIGN)), NET_DROP_eth_vlan);
	assert_int_equal(parse_on(&our_link, f, sizeof(f), net_rx_vlan(OURS)), NET_DROP_eth_vlan);
}

static void test_vlan_given_priority_tag_is_untagged(void **state)
{
	uint8_t f[60] = {0};

	(void)state;
	put_tag(f, 0x8100, PRIORITY, 0x0800);
	assert_int_equal(parse_on(&our_link, f, sizeof(f), 0), NET_DROP_NONE);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_untagged);
	put_eth(f, &our_mac, 0x0800);
	assert_int_equal(parse_on(&our_link, f, sizeof(f), net_rx_vlan(PRIORITY)), NET_DROP_NONE);
}

static void test_vlan_given_second_or_service_tag_drops(void **state)
{
	uint8_t f[60] = {0};

	(void)state;
	put_tag(f, 0x8100, OURS, 0x8100);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_vlan_double);
	put_tag(f, 0x8100, 0, 0x8100); /* priority first, as some hop a VLAN */
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_vlan_double);
	assert_int_equal(parse_on(&our_link, f, sizeof(f), 0), NET_DROP_eth_vlan_double);
	put_tag(f, 0x8100, OURS, 0x88a8);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_vlan_double);
	put_tag(f, 0x88a8, OURS, 0x0800);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_eth_vlan_double);
	put_tag(f, 0x8100, OURS, 0x0800); /* behind one that the port took off */
	assert_int_equal(
		parse_on(&our_vlan, f, sizeof(f), net_rx_vlan(OURS)), NET_DROP_eth_vlan_double);
}

static void test_vlan_given_tag_cut_short_drops(void **state)
{
	uint8_t f[18];

	(void)state;
	put_tag(f, 0x8100, OURS, 0x0800);
	for (size_t len = 14; len < sizeof(f); len++)
		assert_int_equal(parse_on(&our_vlan, f, len, 0), NET_DROP_eth_short);
	assert_int_equal(parse_on(&our_vlan, f, sizeof(f), 0), NET_DROP_NONE);
}

static void test_packet_unknown_types_dropped(void **state)
{
	struct net_packet p;
	uint8_t f[60] = {0};

	(void)state;
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
		cmocka_unit_test(test_packet_unknown_types_dropped),
		cmocka_unit_test(test_vlan_given_tag_in_the_frame_takes_ours_alone),
		cmocka_unit_test(test_vlan_given_tag_taken_off_by_the_port_takes_ours_alone),
		cmocka_unit_test(test_vlan_given_priority_tag_is_untagged),
		cmocka_unit_test(test_vlan_given_second_or_service_tag_drops),
		cmocka_unit_test(test_vlan_given_tag_cut_short_drops),
		cmocka_unit_test(test_eth_build_parses_back),
		cmocka_unit_test(test_counters_table_names_each_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
