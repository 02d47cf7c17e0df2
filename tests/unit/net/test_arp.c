#include "frames.h"

#include <net/arp.h>

enum {
	CAPACITY = 4096,
	SEC = 1000000,
};

static uint8_t frame[64];
static struct net_neigh_table *table;

static int setup(void **state)
{
	void *mem = aligned_alloc(NET_NEIGH_ALIGN, net_neigh_size(CAPACITY));

	(void)state;
	assert_non_null(mem);
	table = net_neigh_init(mem, CAPACITY, 0x1234567890abcdef);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(table);
	return 0;
}

static enum net_drop parse(size_t len, struct net_arp *arp)
{
	struct net_iface iface = test_iface();
	uint8_t *copy = exact(frame, len);
	struct net_packet p;
	enum net_drop why = net_packet_parse(&p, copy, len, &our_link, 0);

	assert_int_equal(why, NET_DROP_NONE);
	why = net_arp_parse(arp, &p, &iface);
	free(copy);
	return why;
}

/* Parses `frame` and lets it act. */
static enum net_drop input(uint64_t now_us, bool *reply_due)
{
	struct net_iface iface = test_iface();
	struct net_arp arp;
	bool due;
	enum net_drop why = parse(42, &arp);

	assert_int_equal(why, NET_DROP_NONE);
	return net_arp_input(table, &iface, &arp, now_us, reply_due ? reply_due : &due);
}

static enum net_neigh_result lookup(uint32_t ip_be, uint64_t now_us)
{
	struct net_mac mac;
	struct net_addr addr = net_addr_from_ip4(ip_be);

	return net_neigh_lookup(table, &addr, now_us, &mac);
}

static void test_arp_truncated_at_every_length_dropped(void **state)
{
	struct net_arp arp;

	(void)state;
	put_arp(frame, &our_mac, 1, &peer_mac, ip4(10, 0, 0, 2), ip4(10, 0, 0, 1));
	for (size_t len = 14; len < 42; len++)
		assert_int_equal(parse(len, &arp), NET_DROP_arp_short);
	assert_int_equal(parse(42, &arp), NET_DROP_NONE);
	assert_int_equal(parse(60, &arp), NET_DROP_NONE);
}

static void test_arp_wrong_format_dropped(void **state)
{
	static const struct {
		uint8_t at, value;
	} lie[] = {{0, 1}, {1, 6}, {2, 9}, {3, 1}, {4, 0}, {4, 7}, {4, 255}, {5, 0}, {5, 16},
		{6, 1}, {7, 0}, {7, 3}, {7, 9}};
	struct net_arp arp;

	(void)state;
	for (size_t i = 0; i < sizeof(lie) / sizeof(lie[0]); i++) {
		put_arp(frame, &our_mac, 1, &peer_mac, ip4(10, 0, 0, 2), ip4(10, 0, 0, 1));
		frame[14 + lie[i].at] = lie[i].value;
		assert_int_equal(parse(42, &arp), NET_DROP_arp_bad_format);
	}
}

static enum net_drop parse_sender(const struct net_mac *mac, uint32_t ip_be)
{
	struct net_arp arp;

	put_arp(frame, &net_mac_broadcast, 1, mac, ip_be, ip4(10, 0, 0, 1));
	return parse(42, &arp);
}

static void test_arp_impossible_senders_dropped(void **state)
{
	static const struct net_mac zero, group = {{1, 0, 0x5e, 0, 0, 9}};
	uint32_t peer = ip4(10, 0, 0, 2);

	(void)state;
	assert_int_equal(parse_sender(&zero, peer), NET_DROP_arp_bad_mac);
	assert_int_equal(parse_sender(&group, peer), NET_DROP_arp_bad_mac);
	assert_int_equal(parse_sender(&net_mac_broadcast, peer), NET_DROP_arp_bad_mac);
	assert_int_equal(parse_sender(&our_mac, peer), NET_DROP_arp_own_echo);
	assert_int_equal(parse_sender(&peer_mac, ip4(10, 0, 0, 1)), NET_DROP_arp_conflict);
	assert_int_equal(parse_sender(&peer_mac, ip4(10, 0, 0, 255)), NET_DROP_arp_bad_ip);
	assert_int_equal(parse_sender(&peer_mac, ip4(127, 0, 0, 1)), NET_DROP_arp_bad_ip);
	assert_int_equal(parse_sender(&peer_mac, ip4(224, 0, 0, 1)), NET_DROP_arp_bad_ip);
	assert_int_equal(parse_sender(&peer_mac, 0xffffffff), NET_DROP_arp_bad_ip);
	assert_int_equal(parse_sender(&peer_mac, peer), NET_DROP_NONE);
}

static void test_arp_request_for_us_is_answered_and_learned(void **state)
{
	struct net_iface iface = test_iface();
	struct net_arp arp;
	uint8_t reply[NET_ARP_FRAME_LEN + 1];
	uint8_t want[64] = {0};
	bool due = false;

	(void)state;
	put_arp(frame, &net_mac_broadcast, 1, &peer_mac, ip4(10, 0, 0, 2), ip4(10, 0, 0, 1));
	assert_int_equal(input(SEC, &due), NET_DROP_NONE);
	assert_true(due);
	assert_int_equal(lookup(ip4(10, 0, 0, 2), SEC), NET_NEIGH_FOUND);

	assert_int_equal(parse(42, &arp), NET_DROP_NONE);
	memset(reply, 0xa5, sizeof(reply));
	net_arp_build_reply(reply, &iface, &arp);
	put_arp(want, &peer_mac, 2, &our_mac, ip4(10, 0, 0, 1), ip4(10, 0, 0, 2));
	memcpy(want + 6, our_mac.b, 6);
	memcpy(want + 32, peer_mac.b, 6);
	assert_memory_equal(reply, want, NET_ARP_FRAME_LEN);
	assert_int_equal(reply[NET_ARP_FRAME_LEN], 0xa5);
}

static void test_arp_request_for_another_is_ignored(void **state)
{
	bool due = true;

	(void)state;
	put_arp(frame, &net_mac_broadcast, 1, &peer_mac, ip4(10, 0, 0, 2), ip4(10, 0, 0, 3));
	assert_int_equal(input(SEC, &due), NET_DROP_arp_not_ours);
	assert_false(due);
	assert_int_equal(lookup(ip4(10, 0, 0, 2), SEC), NET_NEIGH_NEED_RESOLVE);
}

/* RFC 5227 section 2.1: a probe must be answered, for that is how a duplicate is found. */
static void test_arp_probe_is_answered_not_learned(void **state)
{
	struct net_neigh_usage usage;
	bool due = false;

	(void)state;
	put_arp(frame, &net_mac_broadcast, 1, &peer_mac, 0, ip4(10, 0, 0, 1));
	assert_int_equal(input(SEC, &due), NET_DROP_NONE);
	assert_true(due);
	net_neigh_usage_get(table, &usage);
	assert_int_equal(usage.count, 0);
}

static void test_arp_off_link_sender_is_answered_not_learned(void **state)
{
	bool due = false;

	(void)state;
	put_arp(frame, &net_mac_broadcast, 1, &peer_mac, ip4(172, 16, 0, 2), ip4(10, 0, 0, 1));
	assert_int_equal(input(SEC, &due), NET_DROP_arp_off_link);
	assert_true(due);
	assert_int_equal(lookup(ip4(172, 16, 0, 2), SEC), NET_NEIGH_NEED_RESOLVE);
}

static void test_arp_reply_unasked_makes_nothing(void **state)
{
	bool due = true;

	(void)state;
	put_arp(frame, &our_mac, 2, &peer_mac, ip4(10, 0, 0, 2), ip4(10, 0, 0, 1));
	assert_int_equal(input(SEC, &due), NET_DROP_arp_unsolicited);
	assert_false(due);
	assert_int_equal(lookup(ip4(10, 0, 0, 2), SEC), NET_NEIGH_NEED_RESOLVE);
}

static void test_arp_resolve_request_and_reply_round_trip(void **state)
{
	struct net_iface iface = test_iface();
	uint32_t peer = ip4(10, 0, 0, 2);
	struct net_addr peer_addr = net_addr_from_ip4(peer);
	uint8_t request[NET_ARP_FRAME_LEN];
	uint8_t want[64] = {0};
	struct net_mac mac;

	(void)state;
	assert_int_equal(net_neigh_resolve(table, &peer_addr, SEC), 1);
	assert_true(net_arp_build_request(request, &iface, peer, &net_mac_broadcast));
	put_arp(want, &net_mac_broadcast, 1, &our_mac, ip4(10, 0, 0, 1), peer);
	memcpy(want + 6, our_mac.b, 6);
	assert_memory_equal(request, want, NET_ARP_FRAME_LEN);

	put_arp(frame, &our_mac, 2, &peer_mac, peer, ip4(10, 0, 0, 1));
	assert_int_equal(input(SEC + 50, NULL), NET_DROP_NONE);
	assert_int_equal(net_neigh_lookup(table, &peer_addr, SEC + 60, &mac), NET_NEIGH_FOUND);
	assert_memory_equal(mac.b, peer_mac.b, 6);
}

static void test_arp_build_request_source_follows_prefix(void **state)
{
	struct net_iface iface = test_iface();
	uint8_t request[NET_ARP_FRAME_LEN];

	(void)state;
	assert_int_equal(net_iface_add(&iface, ip4(192, 168, 1, 7), 24), 0);
	assert_true(net_arp_build_request(request, &iface, ip4(192, 168, 1, 9), &peer_mac));
	assert_memory_equal(request, peer_mac.b, 6);
	assert_memory_equal(request + 28, ((uint8_t[]){192, 168, 1, 7}), 4);
	assert_false(net_arp_build_request(request, &iface, ip4(8, 8, 8, 8), &peer_mac));
}

static void test_arp_gratuitous_announces_us(void **state)
{
	struct net_iface iface = test_iface();
	uint8_t f[NET_ARP_FRAME_LEN];
	uint8_t want[64] = {0};

	(void)state;
	net_arp_build_gratuitous(f, &iface, ip4(10, 0, 0, 1));
	put_arp(want, &net_mac_broadcast, 1, &our_mac, ip4(10, 0, 0, 1), ip4(10, 0, 0, 1));
	memcpy(want + 6, our_mac.b, 6);
	assert_memory_equal(f, want, NET_ARP_FRAME_LEN);
}

/* A gratuitous ARP of a neighbour that failed over moves the entry that exists. */
static void test_arp_gratuitous_moves_known_neighbour(void **state)
{
	static const struct net_mac standby = {{2, 0, 0, 0, 0, 3}};
	uint32_t peer = ip4(10, 0, 0, 2);
	struct net_addr peer_addr = net_addr_from_ip4(peer);
	struct net_mac mac;

	(void)state;
	put_arp(frame, &net_mac_broadcast, 1, &peer_mac, peer, ip4(10, 0, 0, 1));
	assert_int_equal(input(SEC, NULL), NET_DROP_NONE);
	put_arp(frame, &net_mac_broadcast, 1, &standby, peer, peer);
	assert_int_equal(input(SEC + 10, NULL), NET_DROP_neigh_locked);
	assert_int_equal(input(3 * SEC, NULL), NET_DROP_NONE);
	assert_int_equal(net_neigh_lookup(table, &peer_addr, 3 * SEC, &mac), NET_NEIGH_FOUND);
	assert_memory_equal(mac.b, standby.b, 6);
}

static void test_arp_random_packets_never_exceed_bounds(void **state)
{
	struct net_iface iface = test_iface();
	struct net_neigh_usage usage;
	struct net_arp arp;
	uint64_t x = 11;
	bool due;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		put_arp(frame, &our_mac, 1, &peer_mac, ip4(10, 0, 0, 2), ip4(10, 0, 0, 1));
		for (int n = 0; n < 3; n++)
			frame[14 + next_random(&x) % 28] = (uint8_t)next_random(&x);
		if (parse(14 + next_random(&x) % 46, &arp) == NET_DROP_NONE)
			net_arp_input(table, &iface, &arp, (uint64_t)i * 100, &due);
	}
	net_neigh_usage_get(table, &usage);
	assert_true(usage.learned <= usage.learned_max);
	assert_true(usage.count == usage.learned && usage.count > 0);
}

#define ARP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ARP_TEST(test_arp_truncated_at_every_length_dropped),
		ARP_TEST(test_arp_wrong_format_dropped),
		ARP_TEST(test_arp_impossible_senders_dropped),
		ARP_TEST(test_arp_request_for_us_is_answered_and_learned),
		ARP_TEST(test_arp_request_for_another_is_ignored),
		ARP_TEST(test_arp_probe_is_answered_not_learned),
		ARP_TEST(test_arp_off_link_sender_is_answered_not_learned),
		ARP_TEST(test_arp_reply_unasked_makes_nothing),
		ARP_TEST(test_arp_resolve_request_and_reply_round_trip),
		ARP_TEST(test_arp_build_request_source_follows_prefix),
		ARP_TEST(test_arp_gratuitous_announces_us),
		ARP_TEST(test_arp_gratuitous_moves_known_neighbour),
		ARP_TEST(test_arp_random_packets_never_exceed_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
