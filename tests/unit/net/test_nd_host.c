/* What a host makes of neighbour discovery: its addresses tried out, its routers, its prefixes,
 * and that no flood displaces what is in use. */
#include "frames.h"

#include <net/nd_host.h>

enum {
	SEC = 1000000,
	CAPACITY = 4096,
};

static struct net_neigh_table *table;
static struct net_nd_host *host;
static struct net_iface iface; /* as last read */
static struct net_nd_answer answer;
static bool answer_due;
static struct net_nd_todo todo[NET_ND_TODO_MAX];

static int setup(void **state)
{
	(void)state;
	table = net_neigh_init(
		aligned_alloc(NET_NEIGH_ALIGN, net_neigh_size(CAPACITY)), CAPACITY, 77);
	host = aligned_alloc(64, (net_nd_host_size() + 63) / 64 * 64);
	assert_non_null(host);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(table);
	free(host);
	return 0;
}

/* `own`: with 2001:db8::1/64 configured. */
static void make(bool own, bool slaac, bool probe)
{
	struct net_iface start = test_iface();

	if (own)
		assert_int_equal(net_iface_add6(&start, &our_ip6, 64, NET_ADDR6_PREFERRED), 0);
	net_nd_host_init(host, &(struct net_nd_config){&start, table, slaac, probe}, SEC);
	net_nd_host_iface(host, &iface);
}

static enum net_drop input(const struct net_nd *nd, uint64_t now_us)
{
	enum net_drop why = net_nd_host_input(host, nd, now_us, &answer, &answer_due);

	net_nd_host_iface(host, &iface);
	return why;
}

/* How many things of this kind a tick wants done. */
static unsigned int tick(uint64_t now_us, enum net_nd_act act)
{
	unsigned int n = net_nd_host_tick(host, now_us, todo), count = 0;

	assert_true(n <= NET_ND_TODO_MAX);
	for (unsigned int i = 0; i < n; i++)
		count += todo[i].act == act;
	net_nd_host_iface(host, &iface);
	return count;
}

static struct net_nd solicit_for(const struct net_addr *target)
{
	return (struct net_nd){
		.src = peer_ip6,
		.target = *target,
		.eth_src = peer_mac,
		.mac = peer_mac,
		.has_mac = true,
		.type = NET_ND_SOLICIT,
	};
}

static struct net_nd advert_of(const struct net_addr *target)
{
	struct net_nd nd = solicit_for(target);

	nd.type = NET_ND_ADVERT;
	nd.solicited = nd.override = true;
	return nd;
}

/* fe80::n advertises itself and 2001:db8:n::/64. */
static struct net_nd router(uint8_t n, uint16_t lifetime_s)
{
	struct net_nd nd = {
		.src = {{0xfe, 0x80}},
		.eth_src = peer_mac,
		.mac = {{2, 0, 0, 0, 9, n}},
		.has_mac = true,
		.type = NET_ND_ROUTER_ADVERT,
		.lifetime_s = lifetime_s,
		.prefix_count = 1,
		.prefix = {{.prefix = {{0x20, 1, 0xd, 0xb8, 0, n}},
			.valid_s = 86400,
			.preferred_s = 14400,
			.len = 64,
			.on_link = true,
			.autonomous = true}},
	};

	nd.src.b[15] = n;
	return nd;
}

/* 2001:db8:n:: with our identifier. */
static struct net_addr made_of(uint8_t n)
{
	struct net_addr a = {{0x20, 1, 0xd, 0xb8, 0, n}};

	net_addr6_set_eui64(&a, &our_mac);
	return a;
}

static bool has(const struct net_addr *a)
{
	return net_iface_is_local6(&iface, a);
}

static void test_nd_host_without_ip6_stays_without(void **state)
{
	struct net_nd ra = router(9, 1800);

	(void)state;
	make(false, false, true);
	assert_int_equal(iface.addr6_count, 0);
	assert_int_equal(net_nd_host_tick(host, SEC, todo), 0);
	assert_int_equal(input(&ra, SEC), NET_DROP_nd_router_off);
	assert_int_equal(iface.addr6_count, 0);
	assert_true(net_addr_is_any(&iface.gateway6));
}

static void test_nd_host_derives_link_local_address(void **state)
{
	static const struct net_addr want = {
		{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1}};

	(void)state;
	make(true, false, false);
	assert_int_equal(iface.addr6_count, 2);
	assert_true(has(&want));
	assert_true(has(&our_ip6));
}

/* RFC 4862 section 5.4: a probe, a second of silence, then it is ours. */
static void test_nd_host_probes_before_use(void **state)
{
	struct net_nd ask;
	uint64_t gen;

	(void)state;
	make(true, false, true);
	assert_false(has(&our_ip6));
	gen = net_nd_host_generation(host);
	assert_int_equal(tick(SEC, NET_ND_ACT_PROBE), 2);
	assert_int_equal(tick(2 * SEC - 1, NET_ND_ACT_ANNOUNCE), 0);
	ask = solicit_for(&our_ip6);
	assert_int_equal(input(&ask, SEC + 5), NET_DROP_nd_not_ours);
	assert_false(answer_due);
	assert_false(has(&our_ip6));
	assert_int_equal(net_nd_host_generation(host), gen);
	assert_int_equal(tick(2 * SEC, NET_ND_ACT_ANNOUNCE), 2);
	assert_true(has(&our_ip6));
	assert_int_not_equal(net_nd_host_generation(host), gen);
	assert_int_equal(tick(3 * SEC, NET_ND_ACT_ANNOUNCE), 0);
}

static void test_nd_host_joins_before_it_probes(void **state)
{
	(void)state;
	make(true, false, true);
	assert_int_equal(tick(SEC, NET_ND_ACT_JOIN), 1);
	assert_int_equal(todo[0].act, NET_ND_ACT_JOIN);
	assert_int_equal(tick(SEC + 1, NET_ND_ACT_JOIN), 0);
}

/* RFC 4862 sections 5.4.3, 5.4.4: an advertisement, or a probe of another host. */
static void test_nd_host_gives_up_duplicate(void **state)
{
	struct net_nd probe, ad = advert_of(&our_ip6);

	(void)state;
	make(true, false, true);
	tick(SEC, NET_ND_ACT_PROBE);
	assert_int_equal(input(&ad, SEC + 9), NET_DROP_nd_conflict);
	tick(5 * SEC, NET_ND_ACT_PROBE);
	assert_false(has(&our_ip6));
	assert_int_equal(net_iface_find6(&iface, &our_ip6)->state, NET_ADDR6_DUPLICATE);

	make(true, false, true);
	tick(SEC, NET_ND_ACT_PROBE);
	probe = solicit_for(&our_ip6);
	probe.src = no_ip6;
	probe.has_mac = false;
	assert_int_equal(input(&probe, SEC + 9), NET_DROP_nd_conflict);
	assert_false(answer_due);
	tick(5 * SEC, NET_ND_ACT_PROBE);
	assert_false(has(&our_ip6));
}

static void test_nd_host_keeps_address_in_use(void **state)
{
	struct net_nd ad = advert_of(&our_ip6);

	(void)state;
	make(true, false, false);
	assert_int_equal(input(&ad, SEC), NET_DROP_nd_conflict);
	assert_true(has(&our_ip6));
}

static void test_nd_host_answers_and_learns(void **state)
{
	struct net_nd ask = solicit_for(&our_ip6);
	struct net_mac mac;

	(void)state;
	make(true, false, false);
	assert_int_equal(input(&ask, SEC), NET_DROP_NONE);
	assert_true(answer_due && answer.solicited);
	assert_true(net_addr_equal(&answer.dst, &peer_ip6));
	assert_true(net_mac_equal(&answer.mac, &peer_mac));
	assert_int_equal(net_neigh_lookup(table, &peer_ip6, SEC, &mac), NET_NEIGH_FOUND);
	assert_true(net_mac_equal(&mac, &peer_mac));
	ask = solicit_for(&peer_ll6);
	assert_int_equal(input(&ask, SEC), NET_DROP_nd_not_ours);
	assert_false(answer_due);
}

/* A host that tries out our address is told so, by all hearing it (RFC 4861 section 7.2.4). */
static void test_nd_host_defends_against_probe(void **state)
{
	struct net_nd probe = solicit_for(&our_ip6);

	(void)state;
	make(true, false, false);
	probe.src = no_ip6;
	probe.has_mac = false;
	assert_int_equal(input(&probe, SEC), NET_DROP_NONE);
	assert_true(answer_due && !answer.solicited);
	assert_true(net_addr_equal(&answer.dst, &net_addr6_all_nodes));
}

static void test_nd_host_off_link_sender_not_learned(void **state)
{
	struct net_nd ask = solicit_for(&our_ip6);
	struct net_mac mac;

	(void)state;
	make(true, false, false);
	ask.src.b[2] = 0xe;
	assert_int_equal(input(&ask, SEC), NET_DROP_nd_off_link);
	assert_int_equal(net_neigh_lookup(table, &ask.src, SEC, &mac), NET_NEIGH_NEED_RESOLVE);
	ask = advert_of(&ask.src);
	assert_int_equal(input(&ask, SEC), NET_DROP_nd_off_link);
}

static void test_nd_host_advert_resolves_who_was_asked_for(void **state)
{
	struct net_nd ad = advert_of(&peer_ip6);
	struct net_mac mac;

	(void)state;
	make(true, false, false);
	assert_int_equal(input(&ad, SEC), NET_DROP_nd_unsolicited);
	assert_int_equal(net_neigh_resolve(table, &peer_ip6, SEC), 1);
	ad.has_mac = false;
	assert_int_equal(input(&ad, SEC), NET_DROP_nd_no_mac);
	assert_int_equal(net_neigh_lookup(table, &peer_ip6, SEC, &mac), NET_NEIGH_NEED_RESOLVE);
	ad.has_mac = true;
	assert_int_equal(input(&ad, SEC), NET_DROP_NONE);
	assert_int_equal(net_neigh_lookup(table, &peer_ip6, SEC, &mac), NET_NEIGH_FOUND);
}

/* 100,000 invented neighbours: the one in use stays, and so do the address and the bounds. */
static void test_nd_host_flood_of_100000_leaves_used_neighbour(void **state)
{
	struct net_nd ask = solicit_for(&our_ip6), ad = advert_of(&peer_ip6);
	struct net_neigh_usage usage;
	struct net_mac mac;

	(void)state;
	make(true, false, false);
	assert_int_equal(net_neigh_resolve(table, &peer_ip6, SEC), 1);
	assert_int_equal(input(&ad, SEC), NET_DROP_NONE);
	assert_int_equal(net_neigh_lookup(table, &peer_ip6, SEC, &mac), NET_NEIGH_FOUND);
	for (uint32_t n = 0; n < 100000; n++) {
		memcpy(ask.src.b + 10, &n, sizeof(n));
		ask.mac.b[5] = (uint8_t)n;
		input(&ask, SEC + n);
		assert_true(answer_due);
	}
	assert_int_equal(net_neigh_lookup(table, &peer_ip6, 2 * SEC, &mac), NET_NEIGH_FOUND);
	assert_true(net_mac_equal(&mac, &peer_mac));
	net_neigh_usage_get(table, &usage);
	assert_true(usage.learned <= usage.learned_max);
}

/* -- routers ---------------------------------------------------------------------------------- */

static void test_nd_host_solicits_routers_three_times(void **state)
{
	unsigned int sent = 0;

	(void)state;
	make(false, true, false);
	assert_int_equal(iface.addr6_count, 1);
	for (uint64_t t = SEC; t < 60ull * SEC; t += SEC / 10)
		sent += tick(t, NET_ND_ACT_ROUTER_SOLICIT);
	assert_int_equal(sent, NET_ND_ROUTER_SOLICITS);
}

static void test_nd_host_router_advert_configures_all(void **state)
{
	struct net_nd ra = router(9, 1800);
	struct net_addr made = made_of(9), far = {{0x20, 2, 1}};
	struct net_hop hop;

	(void)state;
	make(false, true, false);
	ra.mtu_bytes = 1400;
	ra.hop_limit = 99;
	assert_int_equal(input(&ra, SEC), NET_DROP_NONE);
	assert_true(has(&made));
	assert_int_equal(iface.mtu6_bytes, 1400);
	assert_int_equal(iface.hop_limit6, 99);
	assert_int_equal(net_route_lookup6(&iface, &far, &hop), 0);
	assert_true(net_addr_equal(&hop.next_hop, &ra.src));
	assert_true(net_addr_equal(&hop.src, &made));
	assert_int_equal(tick(2 * SEC, NET_ND_ACT_ROUTER_SOLICIT), 0);
	made.b[15] ^= 1;
	assert_int_equal(net_route_lookup6(&iface, &made, &hop), 0);
	assert_true(net_addr_equal(&hop.next_hop, &made)); /* on link */
}

static void test_nd_host_made_address_is_tried_out(void **state)
{
	struct net_nd ra = router(9, 1800);
	struct net_addr made = made_of(9);

	(void)state;
	make(false, true, true);
	tick(SEC, NET_ND_ACT_PROBE);
	tick(2 * SEC, NET_ND_ACT_PROBE);
	assert_int_equal(input(&ra, 2 * SEC), NET_DROP_NONE);
	assert_false(has(&made));
	assert_int_equal(tick(2 * SEC, NET_ND_ACT_PROBE), 1);
	tick(3 * SEC, NET_ND_ACT_PROBE);
	assert_true(has(&made));
}

static void test_nd_host_router_ends_by_lifetime_or_word(void **state)
{
	struct net_nd ra = router(9, 30), bye = router(9, 0);

	(void)state;
	make(false, true, false);
	input(&ra, SEC);
	assert_true(net_addr_equal(&iface.gateway6, &ra.src));
	tick(31 * SEC - 1, NET_ND_ACT_JOIN);
	assert_true(net_addr_equal(&iface.gateway6, &ra.src));
	tick(31 * SEC, NET_ND_ACT_JOIN);
	assert_true(net_addr_is_any(&iface.gateway6));
	input(&ra, 40 * SEC);
	input(&bye, 41 * SEC);
	assert_true(net_addr_is_any(&iface.gateway6));
}

/* RFC 4861 section 7.2.5: a router that advertises itself as a host is no router. */
static void test_nd_host_router_that_becomes_host_is_left(void **state)
{
	struct net_nd ra = router(9, 1800), ad = advert_of(&ra.src);

	(void)state;
	make(false, true, false);
	input(&ra, SEC);
	ad.router = true;
	input(&ad, 3 * SEC);
	assert_true(net_addr_equal(&iface.gateway6, &ra.src));
	ad.router = false;
	input(&ad, 3 * SEC);
	assert_true(net_addr_is_any(&iface.gateway6));
}

static void test_nd_host_prefers_high_and_answering_router(void **state)
{
	struct net_nd first = router(3, 1800), high = router(4, 1800), low = router(5, 1800);

	(void)state;
	make(false, true, false);
	high.preference = 1;
	low.preference = -1;
	input(&low, SEC);
	assert_true(net_addr_equal(&iface.gateway6, &low.src));
	input(&first, SEC);
	assert_true(net_addr_equal(&iface.gateway6, &first.src));
	input(&high, SEC);
	assert_true(net_addr_equal(&iface.gateway6, &high.src));
	/* it does not answer any more */
	assert_int_equal(net_neigh_delete(table, &high.src), 0);
	assert_int_equal(net_neigh_resolve(table, &high.src, SEC), 1);
	for (uint64_t t = 2 * SEC; t < 6 * SEC; t += SEC / 10) {
		struct net_neigh_request req[4];

		net_neigh_tick(table, t, req, 4);
		tick(t, NET_ND_ACT_JOIN);
	}
	assert_true(net_addr_equal(&iface.gateway6, &first.src));
}

static void test_nd_host_configured_gateway_stays(void **state)
{
	struct net_iface start = test_iface6();
	struct net_nd ra = router(9, 1800);

	(void)state;
	assert_int_equal(net_iface_set_gateway6(&start, &peer_ip6), 0);
	net_nd_host_init(host, &(struct net_nd_config){&start, table, true, false}, SEC);
	input(&ra, SEC);
	tick(2 * SEC, NET_ND_ACT_JOIN);
	assert_true(net_addr_equal(&iface.gateway6, &peer_ip6));
}

/* More routers and prefixes than there is room for: the first ones stay. */
static void test_nd_host_flood_of_routers_displaces_nothing(void **state)
{
	struct net_nd first = router(1, 1800);
	struct net_addr made = made_of(1);
	unsigned int full = 0;

	(void)state;
	make(true, true, false);
	input(&first, SEC);
	for (uint32_t n = 0; n < 100000; n++) {
		struct net_nd ra = router(2, 9000);

		ra.preference = -1;
		memcpy(ra.src.b + 8, &n, sizeof(n));
		memcpy(ra.prefix[0].prefix.b + 4, &n, sizeof(n));
		ra.prefix[0].prefix.b[3] = 0xb9;
		full += input(&ra, SEC + n) == NET_DROP_nd_router_full;
	}
	assert_true(full > 99000);
	assert_true(net_addr_equal(&iface.gateway6, &first.src));
	assert_true(has(&made));
	assert_true(has(&our_ip6));
	assert_int_equal(iface.addr6_count, NET_IFACE_ADDRS6_MAX);
	assert_int_equal(iface.prefix6_count, NET_IFACE_PREFIXES6_MAX);
}

static void test_nd_host_address_is_deprecated_then_goes(void **state)
{
	struct net_nd ra = router(9, 1800);
	struct net_addr made = made_of(9);

	(void)state;
	make(false, true, false);
	ra.prefix[0].preferred_s = 100;
	ra.prefix[0].valid_s = 200;
	input(&ra, SEC);
	tick(101 * SEC, NET_ND_ACT_JOIN);
	assert_int_equal(net_iface_find6(&iface, &made)->state, NET_ADDR6_DEPRECATED);
	assert_true(has(&made));
	tick(201 * SEC, NET_ND_ACT_JOIN);
	assert_null(net_iface_find6(&iface, &made));
	assert_int_equal(iface.prefix6_count, 0);
}

/* RFC 4862 section 5.5.3 e: a forger cannot make an address go at once. */
static void test_nd_host_lifetime_cut_to_two_hours_at_least(void **state)
{
	struct net_nd ra = router(9, 1800);
	struct net_addr made = made_of(9);

	(void)state;
	make(false, true, false);
	input(&ra, SEC);
	ra.prefix[0].valid_s = ra.prefix[0].preferred_s = 0;
	input(&ra, 2 * SEC);
	tick(7201ull * SEC, NET_ND_ACT_JOIN);
	assert_true(has(&made));
	tick(7202ull * SEC, NET_ND_ACT_JOIN);
	assert_false(has(&made));
}

static void test_nd_host_bad_prefixes_and_parameters_not_believed(void **state)
{
	struct net_nd ra = router(9, 1800);
	struct net_addr made = made_of(9);

	(void)state;
	make(false, true, false);
	ra.mtu_bytes = 1279;
	ra.hop_limit = 1;
	ra.prefix[0].len = 63;
	assert_int_equal(input(&ra, SEC), NET_DROP_nd_bad_prefix);
	ra.prefix[0].len = 64;
	ra.prefix[0].preferred_s = ra.prefix[0].valid_s + 1;
	assert_int_equal(input(&ra, SEC), NET_DROP_nd_bad_prefix);
	ra = router(9, 1800);
	ra.mtu_bytes = 1501;
	ra.prefix[0].prefix = (struct net_addr){{0xff, 2}};
	assert_int_equal(input(&ra, SEC), NET_DROP_nd_bad_prefix);
	ra.prefix[0].prefix = (struct net_addr){{0xfe, 0x80}};
	assert_int_equal(input(&ra, SEC), NET_DROP_NONE);
	assert_int_equal(iface.mtu6_bytes, 0);
	assert_int_equal(iface.hop_limit6, 0);
	assert_int_equal(iface.addr6_count, 1);
	assert_false(has(&made));
}

#define HOST_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOST_TEST(test_nd_host_without_ip6_stays_without),
		HOST_TEST(test_nd_host_derives_link_local_address),
		HOST_TEST(test_nd_host_probes_before_use),
		HOST_TEST(test_nd_host_joins_before_it_probes),
		HOST_TEST(test_nd_host_gives_up_duplicate),
		HOST_TEST(test_nd_host_keeps_address_in_use),
		HOST_TEST(test_nd_host_answers_and_learns),
		HOST_TEST(test_nd_host_defends_against_probe),
		HOST_TEST(test_nd_host_off_link_sender_not_learned),
		HOST_TEST(test_nd_host_advert_resolves_who_was_asked_for),
		HOST_TEST(test_nd_host_flood_of_100000_leaves_used_neighbour),
		HOST_TEST(test_nd_host_solicits_routers_three_times),
		HOST_TEST(test_nd_host_router_advert_configures_all),
		HOST_TEST(test_nd_host_made_address_is_tried_out),
		HOST_TEST(test_nd_host_router_ends_by_lifetime_or_word),
		HOST_TEST(test_nd_host_router_that_becomes_host_is_left),
		HOST_TEST(test_nd_host_prefers_high_and_answering_router),
		HOST_TEST(test_nd_host_configured_gateway_stays),
		HOST_TEST(test_nd_host_flood_of_routers_displaces_nothing),
		HOST_TEST(test_nd_host_address_is_deprecated_then_goes),
		HOST_TEST(test_nd_host_lifetime_cut_to_two_hours_at_least),
		HOST_TEST(test_nd_host_bad_prefixes_and_parameters_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
