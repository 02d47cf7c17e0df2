#include "frames.h"

#include <errno.h>

static void test_iface_add_bad_addresses_refused(void **state)
{
	struct net_iface iface = {0};

	(void)state;
	assert_int_equal(net_iface_add(&iface, ip4(10, 0, 0, 1), 0), -EINVAL);
	assert_int_equal(net_iface_add(&iface, ip4(10, 0, 0, 1), 33), -EINVAL);
	assert_int_equal(net_iface_add(&iface, ip4(10, 0, 0, 255), 24), -EINVAL);
	assert_int_equal(net_iface_add(&iface, ip4(127, 0, 0, 1), 8), -EINVAL);
	assert_int_equal(net_iface_add(&iface, ip4(224, 0, 0, 1), 24), -EINVAL);
	assert_int_equal(net_iface_add(&iface, ip4(0, 0, 0, 0), 24), -EINVAL);
	assert_int_equal(net_iface_add(&iface, 0xffffffff, 32), -EINVAL);
	assert_int_equal(iface.addr_count, 0);
}

static void test_iface_add_until_full(void **state)
{
	struct net_iface iface = {0};

	(void)state;
	for (uint8_t i = 0; i < NET_IFACE_ADDRS_MAX; i++)
		assert_int_equal(net_iface_add(&iface, ip4(10, i, 0, 1), 24), 0);
	assert_int_equal(net_iface_add(&iface, ip4(10, 3, 0, 1), 16), -EEXIST);
	assert_int_equal(net_iface_add(&iface, ip4(10, 99, 0, 1), 24), -ENOSPC);
	assert_true(net_iface_is_local(&iface, ip4(10, 15, 0, 1)));
	assert_false(net_iface_is_local(&iface, ip4(10, 15, 0, 2)));
}

static void test_iface_broadcast_by_prefix(void **state)
{
	struct net_iface iface = {0};

	(void)state;
	assert_int_equal(net_iface_add(&iface, ip4(10, 0, 0, 5), 22), 0);
	assert_int_equal(net_iface_add(&iface, ip4(10, 9, 0, 0), 31), 0);
	assert_int_equal(net_iface_add(&iface, ip4(10, 8, 0, 7), 32), 0);
	assert_true(net_iface_is_broadcast(&iface, ip4(10, 0, 3, 255)));
	assert_false(net_iface_is_broadcast(&iface, ip4(10, 0, 0, 255)));
	assert_false(net_iface_is_broadcast(&iface, ip4(10, 9, 0, 1)));
	assert_false(net_iface_is_broadcast(&iface, ip4(10, 8, 0, 7)));
	assert_true(net_iface_is_broadcast(&iface, 0xffffffff));
}

static void test_gateway_must_be_on_link(void **state)
{
	struct net_iface iface = test_iface();

	(void)state;
	assert_int_equal(net_iface_set_gateway(&iface, ip4(10, 0, 1, 1)), -ENETUNREACH);
	assert_int_equal(net_iface_set_gateway(&iface, ip4(10, 0, 0, 1)), -EINVAL);
	assert_int_equal(net_iface_set_gateway(&iface, ip4(10, 0, 0, 255)), -EINVAL);
	assert_int_equal(net_iface_set_gateway(&iface, 0), -EINVAL);
	assert_int_equal(iface.gateway_be, ip4(10, 0, 0, 254));
}

static void test_route_on_link_is_direct(void **state)
{
	struct net_iface iface = test_iface();
	struct net_route r;

	(void)state;
	assert_int_equal(net_route_lookup(&iface, ip4(10, 0, 0, 77), &r), 0);
	assert_int_equal(r.next_hop_be, ip4(10, 0, 0, 77));
	assert_int_equal(r.src_be, ip4(10, 0, 0, 1));
}

static void test_route_off_link_takes_gateway_and_its_source(void **state)
{
	struct net_iface iface = {0};
	struct net_route r;

	(void)state;
	assert_int_equal(net_iface_add(&iface, ip4(192, 168, 7, 1), 24), 0);
	assert_int_equal(net_iface_add(&iface, ip4(10, 0, 0, 1), 24), 0);
	assert_int_equal(net_route_lookup(&iface, ip4(8, 8, 8, 8), &r), -ENETUNREACH);
	assert_int_equal(net_iface_set_gateway(&iface, ip4(10, 0, 0, 254)), 0);
	assert_int_equal(net_route_lookup(&iface, ip4(8, 8, 8, 8), &r), 0);
	assert_int_equal(r.next_hop_be, ip4(10, 0, 0, 254));
	assert_int_equal(r.src_be, ip4(10, 0, 0, 1));
}

static void test_route_longest_prefix_gives_source(void **state)
{
	struct net_iface iface = {0};
	struct net_route r;

	(void)state;
	assert_int_equal(net_iface_add(&iface, ip4(10, 0, 0, 1), 8), 0);
	assert_int_equal(net_iface_add(&iface, ip4(10, 1, 2, 1), 24), 0);
	assert_int_equal(net_iface_add(&iface, ip4(10, 1, 0, 1), 16), 0);
	assert_int_equal(net_route_lookup(&iface, ip4(10, 1, 2, 9), &r), 0);
	assert_int_equal(r.src_be, ip4(10, 1, 2, 1));
	assert_int_equal(net_route_lookup(&iface, ip4(10, 1, 3, 9), &r), 0);
	assert_int_equal(r.src_be, ip4(10, 1, 0, 1));
	assert_int_equal(net_route_lookup(&iface, ip4(10, 200, 3, 9), &r), 0);
	assert_int_equal(r.src_be, ip4(10, 0, 0, 1));
}

static void test_route_impossible_destinations_refused(void **state)
{
	const uint32_t bad[] = {0, 0xffffffff, ip4(127, 0, 0, 1), ip4(224, 0, 0, 251),
		ip4(10, 0, 0, 255), ip4(10, 0, 0, 1), ip4(0, 1, 2, 3), ip4(239, 255, 255, 255)};
	struct net_iface iface = test_iface();
	struct net_route r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(net_route_lookup(&iface, bad[i], &r), -ENETUNREACH);
}

/* -- rules for prefixes -------------------------------------------------------------------------
 */

static uint8_t rule_of(const struct net_prefix_rule *rules, uint32_t count, struct net_addr addr)
{
	const struct net_prefix_rule *r = net_prefix_rule_find(rules, count, &addr);

	return r ? r->value : 0;
}

static void test_prefix_rule_given_several_takes_the_longest_of_its_family(void **state)
{
	static const struct net_addr far6 = {{0x20, 2, 0, 7, [15] = 1}};
	struct net_prefix_rule rules[] = {
		{.prefix = net_addr_from_ip4(ip4(10, 0, 0, 0)), .prefix_len = 96 + 8, .value = 1},
		{.prefix = net_addr_from_ip4(ip4(10, 1, 0, 0)), .prefix_len = 96 + 16, .value = 2},
		{.prefix = net_addr_from_ip4(0), .prefix_len = 96, .value = 3},
		{.prefix = our_ip6, .prefix_len = 64, .value = 4},
		{.prefix_len = 0, .value = 5},
	};

	(void)state;
	assert_int_equal(rule_of(rules, 5, net_addr_from_ip4(ip4(10, 2, 0, 1))), 1);
	assert_int_equal(rule_of(rules, 5, net_addr_from_ip4(ip4(10, 1, 0, 1))), 2);
	assert_int_equal(rule_of(rules, 5, net_addr_from_ip4(ip4(192, 0, 2, 1))), 3);
	assert_int_equal(rule_of(rules, 5, peer_ip6), 4);
	assert_int_equal(rule_of(rules, 5, far6), 5);
	assert_int_equal(rule_of(rules, 2, net_addr_from_ip4(ip4(11, 0, 0, 1))), 0);
	assert_int_equal(rule_of(rules + 4, 1, net_addr_from_ip4(ip4(10, 0, 0, 1))), 0);
	assert_int_equal(rule_of(NULL, 0, peer_ip6), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefix_rule_given_several_takes_the_longest_of_its_family),
		cmocka_unit_test(test_iface_add_bad_addresses_refused),
		cmocka_unit_test(test_iface_add_until_full),
		cmocka_unit_test(test_iface_broadcast_by_prefix),
		cmocka_unit_test(test_gateway_must_be_on_link),
		cmocka_unit_test(test_route_on_link_is_direct),
		cmocka_unit_test(test_route_off_link_takes_gateway_and_its_source),
		cmocka_unit_test(test_route_longest_prefix_gives_source),
		cmocka_unit_test(test_route_impossible_destinations_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
