/* Names: bind and listen rules, bounds, and that port_owner always tells the truth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctl/names.h>
#include <proto/attach.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint32_t owner[65536];
static struct claims claims;
static struct names *names;
static struct names_holder one, two;
static const struct net_addr any;
static struct net_addr a1, a2;

static int setup(void **state)
{
	const struct names_config cfg = {.port_owner = owner,
		.claims = &claims,
		.port_first = 50000,
		.port_last = 50003,
		.listeners_per_session = 3};

	(void)state;
	for (unsigned int i = 0; i < 65536; i++)
		atomic_init(&owner[i], 0);
	one = (struct names_holder){.session = 11};
	two = (struct names_holder){.session = 22};
	a1 = net_addr_from_ip4(0x01020304);
	a2 = net_addr_from_ip4(0x05060708);
	return names_create(&names, &cfg);
}

static int teardown(void **state)
{
	(void)state;
	names_drop(names, &one);
	names_drop(names, &two);
	for (unsigned int i = 0; i < 65536; i++)
		assert_int_equal(owner[i], 0);
	for (unsigned int i = 0; i < CLAIMS_SLOTS; i++)
		assert_int_equal(claims.slot[i], 0);
	names_destroy(names);
	return 0;
}

static int bind_at(struct names_holder *h, const struct net_addr *a, uint16_t port, bool reuse)
{
	return names_bind(names, h, a, &port, reuse);
}

static void test_names_bind_taken_by_another_session_is_in_use(void **state)
{
	(void)state;
	assert_int_equal(bind_at(&one, &a1, 80, false), 0);
	assert_int_equal(owner[80], 11);
	assert_int_equal(bind_at(&two, &a1, 80, true), -EADDRINUSE);
	assert_int_equal(bind_at(&two, &any, 80, true), -EADDRINUSE);
	assert_int_equal(names_unbind(names, &two, &a1, 80), -ENOENT);
	assert_int_equal(names_unbind(names, &one, &a1, 80), 0);
	assert_int_equal(owner[80], 0);
	assert_int_equal(bind_at(&two, &any, 80, false), 0);
	assert_int_equal(owner[80], 22);
}

/* A port of two sessions: each connects from its own name alone. */
static void test_names_bind_other_address_shares_the_port(void **state)
{
	struct proto_handle h;
	uint16_t port = 80;

	(void)state;
	assert_int_equal(bind_at(&one, &a1, 80, false), 0);
	assert_int_equal(bind_at(&two, &a2, 80, false), 0);
	assert_int_equal(owner[80], CLAIMS_SHARED);
	assert_true(claims_has(&claims, &a1, 80, 11));
	assert_false(claims_has(&claims, &a2, 80, 11));
	assert_false(claims_has(&claims, &a1, 80, 22));
	assert_true(claims_has(&claims, &a2, 80, 22));
	assert_false(claims_has(&claims, &a2, 81, 22));
	assert_int_equal(names_listen(names, &one, &a1, &port, &h), 0);
	assert_int_equal(names_listen(names, &two, &a2, &port, &h), 0);
	names_drop(names, &one);
	assert_int_equal(owner[80], 22);
	assert_false(claims_has(&claims, &a1, 80, 11));
	assert_true(claims_has(&claims, &a2, 80, 22));
}

/* A name bound twice by one session is one claim, until the last of them goes. */
static void test_names_bind_twice_is_claimed_until_both_are_gone(void **state)
{
	(void)state;
	assert_int_equal(bind_at(&one, &a1, 80, true), 0);
	assert_int_equal(bind_at(&one, &a1, 80, true), 0);
	assert_int_equal(bind_at(&two, &a1, 80, true), 0);
	assert_int_equal(names_unbind(names, &one, &a1, 80), 0);
	assert_true(claims_has(&claims, &a1, 80, 11));
	assert_int_equal(names_unbind(names, &one, &a1, 80), 0);
	assert_false(claims_has(&claims, &a1, 80, 11));
	assert_true(claims_has(&claims, &a1, 80, 22));
}

static void test_names_reuseport_is_shared_by_one_user_alone(void **state)
{
	const uint32_t share = PROTO_NAME_REUSEPORT;
	struct proto_handle h1, h2, h3;
	uint16_t port = 80;

	(void)state;
	assert_int_equal(names_bind(names, &one, &a1, &port, share), 0);
	two.uid = 1000;
	assert_int_equal(names_bind(names, &two, &a1, &port, share), -EADDRINUSE);
	assert_int_equal(names_bind(names, &two, &any, &port, share), -EADDRINUSE);
	assert_int_equal(names_bind(names, &two, &a2, &port, share), 0);
	assert_int_equal(names_unbind(names, &two, &a2, port), 0);
	two.uid = 0;
	assert_int_equal(names_bind(names, &two, &a1, &port, 0), -EADDRINUSE);
	assert_int_equal(names_bind(names, &two, &a1, &port, share), 0);
	assert_int_equal(names_bind(names, &two, &any, &port, share), 0);
	assert_int_equal(names_listen(names, &one, &a1, &port, &h1), 0);
	assert_int_equal(names_listen(names, &two, &a1, &port, &h2), 0);
	assert_int_equal(names_listen(names, &two, &any, &port, &h3), 0);
	assert_true(names_reuseport(names, h1) && names_reuseport(names, h2));
	h2.gen++;
	assert_false(names_reuseport(names, h2));
}

static void test_names_bind_same_session_follows_linux(void **state)
{
	(void)state;
	assert_int_equal(bind_at(&one, &a1, 80, false), 0);
	assert_int_equal(bind_at(&one, &a1, 80, false), -EADDRINUSE);
	assert_int_equal(bind_at(&one, &any, 80, true), -EADDRINUSE); /* the other lacks it */
	assert_int_equal(bind_at(&one, &a2, 80, false), 0);
	assert_int_equal(bind_at(&one, &a1, 81, true), 0);
	assert_int_equal(bind_at(&one, &any, 81, true), 0);
	assert_int_equal(names_unbind(names, &one, &a1, 80), 0);
	assert_int_equal(owner[80], 11); /* a2 is still there */
	assert_int_equal(names_unbind(names, &one, &a2, 80), 0);
	assert_int_equal(owner[80], 0);
}

static void test_names_listen_two_overlapping_is_in_use(void **state)
{
	struct proto_handle h1, h2;
	uint16_t port = 80;

	(void)state;
	assert_int_equal(bind_at(&one, &a1, 80, true), 0);
	assert_int_equal(bind_at(&one, &any, 80, true), 0);
	assert_int_equal(names_listen(names, &one, &a1, &port, &h1), 0);
	assert_int_not_equal(h1.gen, 0);
	assert_int_equal(names_listen(names, &one, &any, &port, &h2), -EADDRINUSE);
	assert_int_equal(bind_at(&one, &any, 80, true), -EADDRINUSE); /* it listens */
	assert_int_equal(names_unbind(names, &one, &a1, 80), -EBUSY);
	assert_int_equal(names_unlisten(names, &two, h1), -ENOENT);
	assert_int_equal(names_unlisten(names, &one, h1), 0);
	assert_int_equal(names_unlisten(names, &one, h1), -ENOENT);
	assert_int_equal(names_listen(names, &one, &any, &port, &h2), 0);
	assert_true(h2.idx != h1.idx || h2.gen != h1.gen);
	assert_int_equal(names_unlisten(names, &one, h2), 0);
	assert_int_equal(owner[80], 11); /* bound as before */
	assert_int_equal(one.names, 2);
}

static int bind6(struct names_holder *h, const struct net_addr *a, uint16_t port, uint32_t flags)
{
	return names_bind(names, h, a, &port, flags);
}

/* As bind(2) on Linux judges :: with and without IPV6_V6ONLY against 0.0.0.0 and addresses. */
static void test_names_bind_families_are_apart_only_with_v6only(void **state)
{
	const struct net_addr any4 = net_addr_from_ip4(0), v6 = {{0x20, 1, 0xd, 0xb8}};
	const uint32_t only = PROTO_NAME_V6ONLY;

	(void)state;
	assert_int_equal(bind6(&one, &any, 80, 0), 0);
	assert_int_equal(bind6(&one, &any4, 80, 0), -EADDRINUSE);
	assert_int_equal(bind6(&one, &a1, 80, 0), -EADDRINUSE);
	assert_int_equal(bind6(&one, &v6, 80, 0), -EADDRINUSE);
	assert_int_equal(bind6(&one, &any, 80, only), -EADDRINUSE);
	assert_int_equal(bind6(&one, &any, 81, only), 0);
	assert_int_equal(bind6(&one, &any4, 81, 0), 0);
	assert_int_equal(bind6(&one, &a1, 81, 0), -EADDRINUSE);
	assert_int_equal(bind6(&one, &v6, 81, 0), -EADDRINUSE);
	assert_int_equal(bind6(&one, &v6, 82, 0), 0);
	assert_int_equal(bind6(&one, &any4, 82, 0), 0);
	assert_int_equal(bind6(&one, &any, 82, only), -EADDRINUSE);
	assert_int_equal(bind6(&two, &any, 83, only), 0); /* of two sessions likewise */
	assert_int_equal(bind6(&one, &any, 83, 0), -EADDRINUSE);
	assert_int_equal(bind6(&one, &v6, 83, 0), -EADDRINUSE);
	assert_int_equal(bind6(&one, &any4, 83, 0), 0);
	assert_true(claims_has(&claims, &claims_any6, 83, 22));
	assert_false(claims_has(&claims, &any, 83, 22));
}

static void test_names_listen_both_families_on_one_port(void **state)
{
	const struct net_addr any4 = net_addr_from_ip4(0);
	struct proto_handle h4, h6;
	uint16_t port = 80;

	(void)state;
	assert_int_equal(bind6(&one, &any, 80, PROTO_NAME_V6ONLY), 0);
	assert_int_equal(bind6(&one, &any4, 80, 0), 0);
	assert_int_equal(names_listen(names, &one, &any4, &port, &h4), 0);
	assert_int_equal(names_listen(names, &one, &any, &port, &h6), 0);
	assert_true(names_v6only(names, h6));
	assert_false(names_v6only(names, h4));
	h6.gen++;
	assert_false(names_v6only(names, h6));
}

static void test_names_listen_unbound_binds_until_unlisten(void **state)
{
	struct proto_handle h;
	uint16_t port = 8080;

	(void)state;
	assert_int_equal(names_listen(names, &one, &any, &port, &h), 0);
	assert_int_equal(owner[8080], 11);
	assert_int_equal(names_unlisten(names, &one, h), 0);
	assert_int_equal(owner[8080], 0);
	port = 0;
	assert_int_equal(names_listen(names, &one, &any, &port, &h), 0);
	assert_in_range(port, 50000, 50003);
}

static void test_names_bind_any_port_chooses_until_slice_is_spent(void **state)
{
	uint16_t port;

	(void)state;
	for (int i = 0; i < 4; i++) {
		port = 0;
		assert_int_equal(names_bind(names, &one, &any, &port, false), 0);
		assert_in_range(port, 50000, 50003);
		assert_int_equal(owner[port], 11);
	}
	port = 0;
	assert_int_equal(names_bind(names, &two, &any, &port, false), -EADDRINUSE);
	assert_int_equal(names_unbind(names, &one, &any, 50002), 0);
	port = 0;
	assert_int_equal(names_bind(names, &two, &any, &port, false), 0);
	assert_int_equal(port, 50002);
}

static void test_names_bounds_refuse_and_drop_returns_all(void **state)
{
	struct proto_handle h;
	uint16_t port;

	(void)state;
	for (port = 1; port <= NAMES_PER_SESSION_MAX; port++)
		assert_int_equal(bind_at(&one, &any, port, false), 0);
	assert_int_equal(bind_at(&one, &any, 60000, false), -ENOBUFS);
	for (port = 1; port <= 3; port++)
		assert_int_equal(names_listen(names, &one, &any, &port, &h), 0);
	port = 4;
	assert_int_equal(names_listen(names, &one, &any, &port, &h), -ENOBUFS);
	names_drop(names, &one);
	assert_int_equal(one.names, 0);
	assert_int_equal(names_unlisten(names, &one, h), -ENOENT);
	for (port = 1; port <= NAMES_PER_SESSION_MAX; port++)
		assert_int_equal(bind_at(&two, &any, port, false), 0);
}

static void test_names_unlisten_wild_handle_is_refused(void **state)
{
	struct proto_handle h;
	uint16_t port = 80;

	(void)state;
	assert_int_equal(names_listen(names, &one, &any, &port, &h), 0);
	assert_int_equal(
		names_unlisten(names, &one, (struct proto_handle){.idx = UINT32_MAX, .gen = h.gen}),
		-ENOENT);
	assert_int_equal(
		names_unlisten(names, &one, (struct proto_handle){.idx = h.idx, .gen = h.gen + 1}),
		-ENOENT);
	assert_int_equal(
		names_unlisten(names, &one, (struct proto_handle){.idx = h.idx + 1}), -ENOENT);
	assert_int_equal(one.listeners, 1);
}

/* Many random steps against the simplest model: who owns which port. */
static void test_names_random_steps_owner_matches_names(void **state)
{
	static uint32_t count[3][65];
	struct names_holder *holder[3] = {NULL, &one, &two};

	(void)state;
	memset(count, 0, sizeof(count));
	srand(1);
	for (int step = 0; step < 20000; step++) {
		int who = 1 + rand() % 2;
		uint16_t port = (uint16_t)(1 + rand() % 64);
		const struct net_addr *a = rand() % 2 ? &a1 : &a2;

		if (rand() % 2) {
			if (bind_at(holder[who], a, port, rand() % 2) == 0)
				count[who][port]++;
		} else if (names_unbind(names, holder[who], a, port) == 0) {
			assert_true(count[who][port] > 0);
			count[who][port]--;
		}
		assert_int_equal(owner[port], count[1][port] && count[2][port] ? CLAIMS_SHARED
					      : count[1][port]		       ? 11
					      : count[2][port]		       ? 22
									       : 0);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_names_bind_taken_by_another_session_is_in_use),
		T(test_names_bind_other_address_shares_the_port),
		T(test_names_bind_twice_is_claimed_until_both_are_gone),
		T(test_names_reuseport_is_shared_by_one_user_alone),
		T(test_names_bind_same_session_follows_linux),
		T(test_names_listen_two_overlapping_is_in_use),
		T(test_names_bind_families_are_apart_only_with_v6only),
		T(test_names_listen_both_families_on_one_port),
		T(test_names_listen_unbound_binds_until_unlisten),
		T(test_names_bind_any_port_chooses_until_slice_is_spent),
		T(test_names_bounds_refuse_and_drop_returns_all),
		T(test_names_unlisten_wild_handle_is_refused),
		T(test_names_random_steps_owner_matches_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
