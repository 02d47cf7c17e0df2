/* IPv6 addresses of the interface, source selection and the way out. */
#include "frames.h"

#include <errno.h>

static struct net_addr addr6(uint16_t a, uint16_t b, uint16_t last)
{
	struct net_addr r = no_ip6;

	net_put16(r.b, a);
	net_put16(r.b + 2, b);
	net_put16(r.b + 14, last);
	return r;
}

static void test_route6_unicast_or_not(void **state)
{
	static const struct net_addr loopback = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
	struct net_addr mapped = net_addr_from_ip4(ip4(10, 0, 0, 1)), group = addr6(0xff02, 0, 1);

	(void)state;
	assert_false(net_ip6_is_unicast(&no_ip6));
	assert_false(net_ip6_is_unicast(&loopback));
	assert_false(net_ip6_is_unicast(&mapped));
	assert_false(net_ip6_is_unicast(&group));
	assert_true(net_ip6_is_unicast(&our_ip6));
	assert_true(net_ip6_is_unicast(&our_ll6));
}

static void test_route6_prefix_of_every_length(void **state)
{
	(void)state;
	for (unsigned int bit = 0; bit < 128; bit++) {
		struct net_addr a = our_ip6;

		a.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		for (unsigned int len = 0; len <= 128; len++)
			assert_int_equal(
				net_addr6_in_prefix(&a, &our_ip6, (uint8_t)len), len <= bit);
	}
	assert_true(net_addr6_in_prefix(&our_ip6, &our_ip6, 128));
}

static void test_route6_add_checks(void **state)
{
	struct net_iface iface = test_iface6();
	struct net_addr a = addr6(0x2001, 1, 0);

	(void)state;
	assert_int_equal(net_iface_add6(&iface, &our_ip6, 64, NET_ADDR6_PREFERRED), -EEXIST);
	assert_int_equal(net_iface_add6(&iface, &no_ip6, 64, NET_ADDR6_PREFERRED), -EINVAL);
	assert_int_equal(net_iface_add6(&iface, &a, 0, NET_ADDR6_PREFERRED), -EINVAL);
	assert_int_equal(net_iface_add6(&iface, &a, 129, NET_ADDR6_PREFERRED), -EINVAL);
	while (iface.addr6_count < NET_IFACE_ADDRS6_MAX) {
		a.b[15]++;
		assert_int_equal(net_iface_add6(&iface, &a, 128, NET_ADDR6_PREFERRED), 0);
	}
	a.b[15]++;
	assert_int_equal(net_iface_add6(&iface, &a, 128, NET_ADDR6_PREFERRED), -ENOSPC);
}

static void test_route6_link_local_is_made_of_mac(void **state)
{
	struct net_iface iface = {.mac = {{0x00, 0x11, 0x22, 0x33, 0x44, 0x55}}, .mtu_bytes = 1500};
	static const struct net_addr want = {
		{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x02, 0x11, 0x22, 0xff, 0xfe, 0x33, 0x44, 0x55}};

	(void)state;
	assert_int_equal(net_iface_add_link_local(&iface, NET_ADDR6_PREFERRED), 0);
	assert_int_equal(net_iface_add_link_local(&iface, NET_ADDR6_PREFERRED), 0);
	assert_int_equal(iface.addr6_count, 1);
	assert_true(net_iface_is_local6(&iface, &want));
}

static void test_route6_on_link_or_by_gateway(void **state)
{
	struct net_iface iface = test_iface6();
	struct net_addr far = addr6(0x2002, 7, 1), gw_off = addr6(0x2003, 0, 1);
	struct net_hop hop;

	(void)state;
	assert_int_equal(net_route_find(&iface, &peer_ip6, &hop), 0);
	assert_true(net_addr_equal(&hop.next_hop, &peer_ip6));
	assert_true(net_addr_equal(&hop.src, &our_ip6));
	assert_int_equal(net_route_find(&iface, &far, &hop), -ENETUNREACH);
	assert_int_equal(net_iface_set_gateway6(&iface, &gw_off), -ENETUNREACH);
	assert_int_equal(net_iface_set_gateway6(&iface, &our_ip6), -EINVAL);
	assert_int_equal(net_iface_set_gateway6(&iface, &peer_ll6), 0);
	assert_int_equal(net_route_find(&iface, &far, &hop), 0);
	assert_true(net_addr_equal(&hop.next_hop, &peer_ll6));
	assert_true(net_addr_equal(&hop.src, &our_ip6)); /* never link-local beyond the link */
	assert_int_equal(net_route_lookup6(&iface, &our_ip6, &hop), -ENETUNREACH);
	assert_int_equal(net_route_find(&iface, &no_ip6, &hop), -ENETUNREACH);
	assert_int_equal(net_route_find(&iface, &net_addr6_all_nodes, &hop), -ENETUNREACH);
}

static void test_route6_source_same_scope(void **state)
{
	struct net_iface iface = test_iface6();

	(void)state;
	assert_true(net_addr_equal(net_iface_source6(&iface, &peer_ll6), &our_ll6));
	assert_true(net_addr_equal(net_iface_source6(&iface, &peer_ip6), &our_ip6));
	iface.addr6[0].state = NET_ADDR6_TENTATIVE;
	assert_null(net_iface_source6(&iface, &peer_ip6));
}

static void test_route6_source_longest_match_and_not_deprecated(void **state)
{
	struct net_iface iface = test_iface6();
	struct net_addr near = addr6(0x2002, 7, 9), dst = addr6(0x2002, 7, 1);

	(void)state;
	assert_int_equal(net_iface_add6(&iface, &near, 64, NET_ADDR6_PREFERRED), 0);
	assert_true(net_addr_equal(net_iface_source6(&iface, &dst), &near));
	assert_true(net_addr_equal(net_iface_source6(&iface, &peer_ip6), &our_ip6));
	iface.addr6[2].state = NET_ADDR6_DEPRECATED;
	assert_true(net_addr_equal(net_iface_source6(&iface, &dst), &our_ip6));
	assert_true(net_iface_is_local6(&iface, &near));
}

static void test_route6_groups_of_every_address(void **state)
{
	struct net_iface iface = test_iface6();
	struct net_addr mine = net_addr6_solicited_node(&our_ip6), other = mine;
	struct net_mac mac = net_mac_of_group6(&mine);

	(void)state;
	assert_memory_equal(mine.b,
		((const uint8_t[]){0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1}), 16);
	assert_memory_equal(mac.b, ((const uint8_t[]){0x33, 0x33, 0xff, 0, 0, 1}), 6);
	assert_true(net_iface_in_group6(&iface, &mine));
	assert_true(net_iface_in_group6(&iface, &net_addr6_all_nodes));
	other.b[15] = 2;
	assert_false(net_iface_in_group6(&iface, &other));
	assert_false(net_iface_in_group6(&iface, &net_addr6_all_routers));
}

static void test_route_find_serves_both_families(void **state)
{
	struct net_iface iface = test_iface6();
	struct net_addr peer = net_addr_from_ip4(ip4(10, 0, 0, 2)),
			own = net_addr_from_ip4(ip4(10, 0, 0, 1));
	struct net_hop hop;

	(void)state;
	assert_int_equal(net_route_find(&iface, &peer, &hop), 0);
	assert_true(net_addr_equal(&hop.next_hop, &peer));
	assert_true(net_addr_equal(&hop.src, &own));
	assert_true(net_iface_has(&iface, &own));
	assert_true(net_iface_has(&iface, &our_ip6));
	assert_false(net_iface_has(&iface, &peer));
	assert_false(net_iface_has(&iface, &peer_ip6));
	iface.mtu6_bytes = 1400;
	assert_int_equal(net_iface_mtu(&iface, &peer), 1500);
	assert_int_equal(net_iface_mtu(&iface, &peer_ip6), 1400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_route6_unicast_or_not),
		cmocka_unit_test(test_route6_prefix_of_every_length),
		cmocka_unit_test(test_route6_add_checks),
		cmocka_unit_test(test_route6_link_local_is_made_of_mac),
		cmocka_unit_test(test_route6_on_link_or_by_gateway),
		cmocka_unit_test(test_route6_source_same_scope),
		cmocka_unit_test(test_route6_source_longest_match_and_not_deprecated),
		cmocka_unit_test(test_route6_groups_of_every_address),
		cmocka_unit_test(test_route_find_serves_both_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
