#include "frames.h"

#include <net/neigh.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
	CAPACITY = 4096,
	SEC = 1000000,
	OUT_MAX = 64,
};

static const struct net_addr none;
static bool over_ip6; /* every test runs for both families */
static struct net_neigh_table *table;
static struct net_neigh_request out[OUT_MAX];

static int make_table(uint32_t capacity)
{
	void *mem = aligned_alloc(NET_NEIGH_ALIGN, net_neigh_size(capacity));

	assert_non_null(mem);
	table = net_neigh_init(mem, capacity, 0x1234567890abcdef);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return make_table(CAPACITY);
}

/* So small that addresses keep taking each other's slots. */
static int setup_small(void **state)
{
	(void)state;
	return make_table(NET_NEIGH_CAPACITY_MIN);
}

static int teardown(void **state)
{
	(void)state;
	free(table);
	return 0;
}

/* The n-th host's address; good until the calling thread has asked for four more. */
static const struct net_addr *host(uint32_t n)
{
	static _Thread_local struct net_addr ring[4];
	static _Thread_local unsigned int turn;
	struct net_addr *a = &ring[turn++ % 4];

	*a = net_addr_from_ip4(ip4(10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n));
	if (over_ip6)
		memcpy(a->b, (const uint8_t[]){0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 2, 0, 0, 0xff}, 12);
	return a;
}

static struct net_mac mac_of(uint32_t n)
{
	return (struct net_mac){{2, 1, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

static enum net_drop hear(uint32_t n, enum net_neigh_source source, uint64_t now_us)
{
	struct net_mac mac = mac_of(n);

	return net_neigh_update(table, host(n), &mac, source, now_us);
}

static enum net_neigh_result look(uint32_t n, uint64_t now_us)
{
	struct net_mac mac, want = mac_of(n);
	enum net_neigh_result r = net_neigh_lookup(table, host(n), now_us, &mac);

	if (r == NET_NEIGH_FOUND)
		assert_memory_equal(mac.b, want.b, 6);
	return r;
}

static unsigned int tick(uint64_t now_us)
{
	return net_neigh_tick(table, now_us, out, OUT_MAX);
}

static enum net_neigh_state state_of(uint32_t n)
{
	struct net_neigh_info info;
	uint32_t cursor = 0;

	while (net_neigh_next(table, &cursor, &info))
		if (net_addr_equal(&info.addr, host(n)))
			return info.state;
	return NET_NEIGH_STATE_FREE;
}

static struct net_neigh_usage usage(void)
{
	struct net_neigh_usage u;

	net_neigh_usage_get(table, &u);
	return u;
}

static void make_reachable(uint32_t n, uint64_t now_us)
{
	assert_int_equal(net_neigh_resolve(table, host(n), now_us), 1);
	assert_int_equal(hear(n, NET_NEIGH_FROM_REPLY, now_us), NET_DROP_NONE);
	assert_int_equal(look(n, now_us), NET_NEIGH_FOUND);
}

static void test_neigh_size_outside_bounds_is_zero(void **state)
{
	(void)state;
	assert_int_equal(net_neigh_size(0), 0);
	assert_int_equal(net_neigh_size(NET_NEIGH_CAPACITY_MIN - 1), 0);
	assert_int_equal(net_neigh_size(NET_NEIGH_CAPACITY_MAX + 1), 0);
	assert_true(net_neigh_size(NET_NEIGH_CAPACITY_MAX) > NET_NEIGH_CAPACITY_MAX * 64u);
}

static void test_neigh_resolve_reply_reachable(void **state)
{
	uint64_t gen = net_neigh_generation(table);

	(void)state;
	assert_int_equal(look(5, SEC), NET_NEIGH_NEED_RESOLVE);
	assert_int_equal(net_neigh_resolve(table, host(5), SEC), 1);
	assert_int_equal(net_neigh_resolve(table, host(5), SEC + 1), 0);
	assert_int_equal(look(5, SEC + 2), NET_NEIGH_NEED_RESOLVE);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_INCOMPLETE);
	assert_int_equal(net_neigh_generation(table), gen);
	assert_int_equal(hear(5, NET_NEIGH_FROM_REPLY, SEC + 3), NET_DROP_NONE);
	assert_int_not_equal(net_neigh_generation(table), gen);
	assert_int_equal(look(5, SEC + 4), NET_NEIGH_FOUND);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_REACHABLE);
	assert_int_equal(net_neigh_resolve(table, host(5), SEC + 5), 0);
	assert_int_equal(usage().incomplete, 0);
}

static void test_neigh_zero_address_never_resolves(void **state)
{
	struct net_mac mac = mac_of(1);

	(void)state;
	assert_int_equal(net_neigh_lookup(table, &none, SEC, &mac), NET_NEIGH_NEED_RESOLVE);
	assert_int_equal(net_neigh_resolve(table, &none, SEC), -EHOSTUNREACH);
	assert_int_equal(net_neigh_update(table, &none, &mac, NET_NEIGH_FROM_REQUEST, SEC),
		NET_DROP_arp_bad_ip);
	assert_int_equal(net_neigh_set_static(table, &none, &mac, SEC), -EINVAL);
	assert_int_equal(usage().count, 0);
}

/* RFC 1122 section 2.3.2.1 wants no more than one request a second per destination. */
static void test_neigh_silence_fails_after_three_requests(void **state)
{
	uint64_t gen, t = SEC;

	(void)state;
	assert_int_equal(net_neigh_resolve(table, host(5), t), 1);
	assert_int_equal(tick(t + SEC - 1), 0);
	for (int i = 0; i < 2; i++) {
		t += SEC;
		assert_int_equal(tick(t), 1);
		assert_true(net_addr_equal(&out[0].addr, host(5)));
		assert_true(net_mac_is_group(&out[0].dst));
		assert_int_equal(tick(t + 1), 0);
	}
	gen = net_neigh_generation(table);
	t += SEC;
	assert_int_equal(tick(t), 0);
	assert_int_not_equal(net_neigh_generation(table), gen);
	assert_int_equal(look(5, t), NET_NEIGH_FAILED);
	assert_int_equal(net_neigh_resolve(table, host(5), t), -EHOSTUNREACH);
	assert_int_equal(look(5, t + NET_NEIGH_FAILED_US), NET_NEIGH_NEED_RESOLVE);
	assert_int_equal(net_neigh_resolve(table, host(5), t + NET_NEIGH_FAILED_US), 1);
	assert_int_equal(hear(5, NET_NEIGH_FROM_REPLY, t + NET_NEIGH_FAILED_US), NET_DROP_NONE);
	assert_int_equal(look(5, t + NET_NEIGH_FAILED_US), NET_NEIGH_FOUND);
}

static void test_neigh_failed_is_forgotten(void **state)
{
	uint64_t t = SEC;

	(void)state;
	assert_int_equal(net_neigh_resolve(table, host(5), t), 1);
	for (int i = 0; i < 3; i++)
		tick(t += SEC);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_FAILED);
	tick(t + NET_NEIGH_FAILED_US);
	assert_int_equal(usage().count, 0);
}

static void test_neigh_used_stale_is_probed_by_unicast_and_confirmed(void **state)
{
	uint64_t t = SEC + NET_NEIGH_REACHABLE_US;
	struct net_mac mac = mac_of(5);

	(void)state;
	make_reachable(5, SEC);
	assert_int_equal(tick(t - 1), 0);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_REACHABLE);
	assert_int_equal(tick(t), 0);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_STALE);
	assert_int_equal(tick(t + SEC), 0); /* not used, not probed */
	assert_int_equal(look(5, t + 2 * SEC), NET_NEIGH_FOUND);
	assert_int_equal(tick(t + 2 * SEC), 1);
	assert_memory_equal(out[0].dst.b, mac.b, 6);
	assert_int_equal(look(5, t + 2 * SEC), NET_NEIGH_FOUND);
	assert_int_equal(hear(5, NET_NEIGH_FROM_REPLY, t + 2 * SEC + 9), NET_DROP_NONE);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_REACHABLE);
}

static void test_neigh_probe_unanswered_fails_after_broadcasts(void **state)
{
	uint64_t t = SEC + NET_NEIGH_REACHABLE_US;
	unsigned int unicast = 0, broadcast = 0;

	(void)state;
	make_reachable(5, SEC);
	tick(t);
	look(5, t + 1);
	for (int i = 0; i < 20; i++) {
		if (tick(t += SEC) == 0)
			continue;
		if (net_mac_is_group(&out[0].dst))
			broadcast++;
		else
			unicast++;
		assert_int_equal(look(5, t), NET_NEIGH_FOUND);
	}
	assert_int_equal(unicast, NET_NEIGH_REQUESTS_MAX);
	assert_int_equal(broadcast, NET_NEIGH_REQUESTS_MAX);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_FREE);
}

static void test_neigh_unused_goes_after_five_minutes(void **state)
{
	uint64_t t = SEC + NET_NEIGH_REACHABLE_US;

	(void)state;
	make_reachable(5, SEC);
	tick(t);
	tick(t + NET_NEIGH_UNUSED_US - 1);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_STALE);
	tick(t + NET_NEIGH_UNUSED_US);
	assert_int_equal(usage().count, 0);
}

static void test_neigh_unsolicited_reply_never_confirms(void **state)
{
	uint64_t t = SEC + NET_NEIGH_REACHABLE_US;

	(void)state;
	make_reachable(5, SEC);
	tick(t);
	assert_int_equal(hear(5, NET_NEIGH_FROM_REPLY, t + 1), NET_DROP_NONE);
	assert_int_equal(hear(5, NET_NEIGH_FROM_REQUEST, t + 1), NET_DROP_NONE);
	assert_int_equal(hear(5, NET_NEIGH_FROM_OTHER, t + 1), NET_DROP_NONE);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_STALE);
}

static void test_neigh_changed_mac_is_stale_and_locked_for_a_second(void **state)
{
	struct net_mac first = mac_of(77), second = mac_of(78), mac;
	uint64_t gen;

	(void)state;
	make_reachable(5, SEC);
	assert_int_equal(net_neigh_update(table, host(5), &first, NET_NEIGH_FROM_OTHER, SEC + 1),
		NET_DROP_neigh_locked);
	gen = net_neigh_generation(table);
	assert_int_equal(net_neigh_update(table, host(5), &first, NET_NEIGH_FROM_OTHER, 3 * SEC),
		NET_DROP_NONE);
	assert_int_not_equal(net_neigh_generation(table), gen);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_STALE);
	assert_int_equal(
		net_neigh_update(table, host(5), &second, NET_NEIGH_FROM_REPLY, 3 * SEC + 9),
		NET_DROP_neigh_locked);
	assert_int_equal(net_neigh_lookup(table, host(5), 3 * SEC, &mac), NET_NEIGH_FOUND);
	assert_memory_equal(mac.b, first.b, 6);
}

static void test_neigh_static_resists_and_stays(void **state)
{
	struct net_mac mac = mac_of(5), other = mac_of(6), group = {{1, 2, 3, 4, 5, 6}};

	(void)state;
	assert_int_equal(net_neigh_set_static(table, host(5), &group, SEC), -EINVAL);
	assert_int_equal(net_neigh_set_static(table, host(5), &mac, SEC), 0);
	assert_int_equal(net_neigh_update(table, host(5), &other, NET_NEIGH_FROM_REPLY, 9 * SEC),
		NET_DROP_neigh_static);
	for (uint64_t t = SEC; t < 2000ull * SEC; t += 100ull * SEC)
		assert_int_equal(tick(t), 0);
	assert_int_equal(look(5, 2000ull * SEC), NET_NEIGH_FOUND);
	assert_string_equal(net_neigh_state_name(state_of(5)), "PERMANENT");
	assert_int_equal(net_neigh_delete(table, host(5)), 0);
	assert_int_equal(net_neigh_delete(table, host(5)), -ENOENT);
	assert_int_equal(look(5, 2000ull * SEC), NET_NEIGH_NEED_RESOLVE);
}

static void test_neigh_static_answers_who_waits(void **state)
{
	struct net_mac mac = mac_of(5);
	uint64_t gen = net_neigh_generation(table);

	(void)state;
	assert_int_equal(net_neigh_resolve(table, host(5), SEC), 1);
	assert_int_equal(net_neigh_set_static(table, host(5), &mac, SEC), 0);
	assert_int_not_equal(net_neigh_generation(table), gen);
	assert_int_equal(look(5, SEC), NET_NEIGH_FOUND);
	assert_int_equal(usage().incomplete, 0);
}

static void test_neigh_incomplete_entries_are_bounded(void **state)
{
	uint32_t n = 0;

	(void)state;
	while (net_neigh_resolve(table, host(1 + n), SEC) == 1)
		n++;
	assert_int_equal(n, usage().incomplete_max);
	assert_int_equal(net_neigh_resolve(table, host(1 + n), SEC), -ENOBUFS);
	assert_int_equal(hear(1, NET_NEIGH_FROM_REPLY, SEC), NET_DROP_NONE);
	assert_int_equal(net_neigh_resolve(table, host(1 + n), SEC), 1);
}

/* More requests are due than the caller can take at once: the rest comes with the next call. */
static void test_neigh_tick_with_little_room_forgets_none(void **state)
{
	bool seen[101] = {false};
	unsigned int total = 0, got;

	(void)state;
	for (uint32_t n = 1; n <= 100; n++)
		assert_int_equal(net_neigh_resolve(table, host(n), SEC), 1);
	while ((got = net_neigh_tick(table, 2 * SEC, out, 7)) != 0) {
		assert_true(got <= 7);
		total += got;
		for (unsigned int i = 0; i < got; i++)
			seen[out[i].addr.b[15]] = true;
	}
	assert_int_equal(total, 100);
	for (uint32_t n = 1; n <= 100; n++)
		assert_true(seen[n]);
	assert_int_equal(net_neigh_tick(table, 3 * SEC, out, 0), 0);
}

static void test_neigh_fills_to_capacity_with_used_entries(void **state)
{
	uint32_t ok = 0;

	(void)state;
	for (uint32_t n = 1; n <= CAPACITY + 100; n++) {
		if (net_neigh_resolve(table, host(n), SEC) != 1)
			continue;
		assert_int_equal(hear(n, NET_NEIGH_FROM_REPLY, SEC), NET_DROP_NONE);
		ok++;
	}
	assert_int_equal(ok, CAPACITY);
	assert_int_equal(usage().count, CAPACITY);
	assert_int_equal(hear(CAPACITY + 200, NET_NEIGH_FROM_REQUEST, SEC), NET_DROP_neigh_full);
	for (uint32_t n = 1; n <= CAPACITY; n++)
		assert_int_equal(look(n, SEC), NET_NEIGH_FOUND);
}

static void test_neigh_full_of_unused_makes_room(void **state)
{
	uint64_t t = SEC + NET_NEIGH_REACHABLE_US, later = t + 61ull * SEC;
	uint32_t kept = 0;

	(void)state;
	for (uint32_t n = 1; n <= CAPACITY; n++) {
		assert_int_equal(net_neigh_resolve(table, host(n), SEC), 1);
		assert_int_equal(hear(n, NET_NEIGH_FROM_REPLY, SEC), NET_DROP_NONE);
	}
	tick(t);
	assert_int_equal(look(1, later), NET_NEIGH_FOUND);
	for (uint32_t n = CAPACITY + 1; n <= CAPACITY + 200; n++)
		assert_int_equal(net_neigh_resolve(table, host(n), later), 1);
	assert_int_equal(usage().count, CAPACITY);
	assert_int_equal(look(1, later), NET_NEIGH_FOUND);
	for (uint32_t n = 1; n <= CAPACITY; n++)
		kept += look(n, later) == NET_NEIGH_FOUND;
	assert_int_equal(kept, CAPACITY - 200);
}

/* The finish line: 100,000 addresses by requests for ours, replies and gratuitous ARP, at
 * 10,000 a second, while the gateway and one host are in use. */
static void test_neigh_flood_of_100000_leaves_used_entries(void **state)
{
	enum {
		GATEWAY = 1,
		SERVER = 2,
		FLOOD = 100000,
	};
	uint64_t t = SEC, gen;

	(void)state;
	make_reachable(GATEWAY, t);
	assert_int_equal(hear(SERVER, NET_NEIGH_FROM_REQUEST, t), NET_DROP_NONE);
	assert_int_equal(look(SERVER, t), NET_NEIGH_FOUND);
	tick(t);
	assert_int_equal(hear(SERVER, NET_NEIGH_FROM_REPLY, t), NET_DROP_NONE);
	gen = net_neigh_generation(table);
	for (uint32_t n = 1000; n < 1000 + FLOOD; n++, t += 100) {
		hear(n, NET_NEIGH_FROM_REQUEST, t);
		hear(n + FLOOD, NET_NEIGH_FROM_REPLY, t);
		hear(n + 2 * FLOOD, NET_NEIGH_FROM_OTHER, t);
		if (n % 1000 == 0)
			assert_int_equal(tick(t), 0);
		if (n % 64)
			continue;
		assert_int_equal(look(GATEWAY, t), NET_NEIGH_FOUND);
		assert_int_equal(look(SERVER, t), NET_NEIGH_FOUND);
	}
	assert_true(usage().learned <= usage().learned_max);
	assert_int_equal(usage().count, usage().learned + 2);
	assert_int_equal(net_neigh_generation(table), gen);
	/* and there is still room for whom we want to talk to */
	make_reachable(900, t);
	assert_int_equal(look(GATEWAY, t), NET_NEIGH_FOUND);
	assert_int_equal(state_of(SERVER), NET_NEIGH_STATE_REACHABLE);
}

/* Each invented host asks for us and sends a SYN, so that a reply uses its entry. */
static void test_neigh_flood_that_makes_us_answer_stays_in_its_share(void **state)
{
	uint64_t t = SEC;

	(void)state;
	make_reachable(1, t);
	for (uint32_t n = 1000; n < 101000; n++, t += 100) {
		hear(n, NET_NEIGH_FROM_REQUEST, t);
		if (look(n, t) == NET_NEIGH_NEED_RESOLVE)
			net_neigh_resolve_stranger(table, host(n), t);
		if (n % 1000 == 0)
			while (tick(t) == OUT_MAX)
				continue;
	}
	assert_true(usage().learned <= usage().learned_max);
	assert_true(usage().incomplete <= usage().incomplete_max / 2);
	assert_true(usage().count < usage().capacity / 2);
	assert_int_equal(look(1, t), NET_NEIGH_FOUND);
	make_reachable(2, t);
}

static void test_neigh_strangers_leave_half_of_incomplete(void **state)
{
	uint32_t n = 0;

	(void)state;
	while (net_neigh_resolve_stranger(table, host(1 + n), SEC) == 1)
		n++;
	assert_int_equal(n, usage().incomplete_max / 2);
	assert_int_equal(net_neigh_resolve_stranger(table, host(1 + n), SEC), -ENOBUFS);
	assert_int_equal(net_neigh_resolve(table, host(1 + n), SEC), 1);
}

static void test_neigh_learned_leaves_its_share_when_confirmed(void **state)
{
	(void)state;
	assert_int_equal(hear(5, NET_NEIGH_FROM_REQUEST, SEC), NET_DROP_NONE);
	assert_int_equal(look(5, SEC + 1), NET_NEIGH_FOUND);
	assert_int_equal(tick(SEC + 2), 1);
	assert_int_equal(usage().learned, 1);
	assert_int_equal(hear(5, NET_NEIGH_FROM_REPLY, SEC + 3), NET_DROP_NONE);
	assert_int_equal(usage().learned, 0);
	assert_int_equal(usage().count, 1);
}

/* For ten minutes; the used entry goes through STALE and PROBE meanwhile. */
static void test_neigh_long_flood_keeps_used_entry_confirmed(void **state)
{
	unsigned int probes = 0;
	uint32_t n = 1000;

	(void)state;
	make_reachable(1, SEC);
	for (uint64_t t = SEC; t < 600ull * SEC; t += SEC / 10) {
		for (int i = 0; i < 20; i++)
			hear(n++ % 90000 + 1000, NET_NEIGH_FROM_REQUEST, t);
		assert_int_equal(look(1, t), NET_NEIGH_FOUND);
		if (tick(t) == 0)
			continue;
		assert_true(net_addr_equal(&out[0].addr, host(1)));
		assert_int_equal(hear(1, NET_NEIGH_FROM_REPLY, t), NET_DROP_NONE);
		probes++;
	}
	assert_in_range(probes, 17, 20);
	assert_true(usage().learned <= usage().learned_max);
}

/* RFC 4861 section 7.2.5: without Override another MAC is not taken, but the one known is
 * doubted. */
static void test_neigh_without_override_only_doubts(void **state)
{
	const struct net_mac other = mac_of(77);

	(void)state;
	make_reachable(5, SEC);
	assert_int_equal(
		net_neigh_update(table, host(5), &other, NET_NEIGH_FROM_WEAK_OTHER, 5 * SEC),
		NET_DROP_neigh_weak);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_STALE);
	assert_int_equal(look(5, 5 * SEC), NET_NEIGH_FOUND);
	assert_int_equal(tick(5 * SEC + 1), 1);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_PROBE);
	assert_int_equal(hear(5, NET_NEIGH_FROM_WEAK_REPLY, 5 * SEC + 2), NET_DROP_NONE);
	assert_int_equal(state_of(5), NET_NEIGH_STATE_REACHABLE);
	assert_int_equal(hear(6, NET_NEIGH_FROM_WEAK_REPLY, SEC),
		over_ip6 ? NET_DROP_nd_unsolicited : NET_DROP_arp_unsolicited);
}

static void test_neigh_next_shows_each_once(void **state)
{
	struct net_neigh_info info;
	uint32_t cursor = 0, sum = 0, count = 0;

	(void)state;
	for (uint32_t n = 1; n <= 100; n++)
		assert_int_equal(hear(n, NET_NEIGH_FROM_REQUEST, SEC + n), NET_DROP_NONE);
	look(7, 5 * SEC);
	while (net_neigh_next(table, &cursor, &info)) {
		uint32_t n = info.addr.b[15];
		struct net_mac mac = mac_of(n);

		sum += n;
		count++;
		assert_memory_equal(info.mac.b, mac.b, 6);
		assert_int_equal(info.state, NET_NEIGH_STATE_STALE);
		assert_int_equal(info.changed_us, SEC + n);
		assert_int_equal(info.used_us, n == 7 ? 5 * SEC : 0);
	}
	assert_int_equal(count, 100);
	assert_int_equal(sum, 5050);
	assert_false(net_neigh_next(table, &cursor, &info));
}

/* -- threads: no reader ever sees half of a change ------------------------------------------ */

enum {
	READERS = 2,
	WRITERS = 2,
	WRITES = 60000,
	HOSTS = 200,
};

static _Atomic unsigned int writers_left;
static _Atomic uint64_t torn, found;

/* A MAC that tells which address it belongs to, in any version. */
static struct net_mac versioned_mac(uint32_t n, uint64_t version)
{
	uint8_t v = (uint8_t)version;
	uint8_t w = (uint8_t)(version >> 8);

	return (struct net_mac){{2, v, w, (uint8_t)(n ^ v), (uint8_t)(n ^ w), (uint8_t)(v ^ w)}};
}

static bool mac_is_whole(uint32_t n, const struct net_mac *m)
{
	struct net_mac want = versioned_mac(n, (uint64_t)m->b[2] << 8 | m->b[1]);

	return net_mac_equal(m, &want);
}

static void *reader(void *arg)
{
	uint64_t x = (uintptr_t)arg + 1;
	struct net_mac mac;

	while (atomic_load(&writers_left) != 0) {
		uint32_t n = next_random(&x) % HOSTS + 1;

		if (net_neigh_lookup(table, host(n), SEC, &mac) != NET_NEIGH_FOUND)
			continue;
		atomic_fetch_add_explicit(&found, 1, memory_order_relaxed);
		if (!mac_is_whole(n, &mac))
			atomic_fetch_add(&torn, 1);
	}
	return NULL;
}

/* Sets, changes and deletes entries, and lets a flood evict others. On a busy machine it may be
 * done before a reader has begun, and goes on. */
static void *writer(void *arg)
{
	uint64_t x = (uintptr_t)arg + 100;

	for (uint64_t i = 0; i < WRITES || atomic_load(&found) == 0; i++) {
		uint32_t n = next_random(&x) % HOSTS + 1;
		struct net_mac mac = versioned_mac(n, next_random(&x));

		switch (next_random(&x) % 8) {
		case 0:
			net_neigh_delete(table, host(n));
			break;
		case 1:
			net_neigh_resolve(table, host(n), SEC + i);
			net_neigh_update(table, host(n), &mac, NET_NEIGH_FROM_REPLY, SEC + i);
			break;
		case 2:
			net_neigh_update(table, host(n), &mac, NET_NEIGH_FROM_REQUEST, i * SEC);
			break;
		default:
			net_neigh_set_static(table, host(n), &mac, SEC);
		}
	}
	atomic_fetch_sub(&writers_left, 1);
	return NULL;
}

static void test_neigh_threads_see_whole_entries(void **state)
{
	pthread_t thread[READERS + WRITERS];
	uint32_t cursor = 0, count = 0;
	struct net_neigh_info info;

	(void)state;
	atomic_store(&writers_left, WRITERS);
	for (uintptr_t i = 0; i < READERS + WRITERS; i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, i < READERS ? reader : writer, (void *)i),
			0);
	for (int i = 0; i < READERS + WRITERS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(atomic_load(&torn), 0);
	assert_true(atomic_load(&found) > 0);
	while (net_neigh_next(table, &cursor, &info))
		count++;
	assert_int_equal(count, usage().count); /* the accounts survived, and no address is twice */
	assert_true(count <= HOSTS);
}

#define NEIGH_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NEIGH_TEST(test_neigh_size_outside_bounds_is_zero),
		NEIGH_TEST(test_neigh_resolve_reply_reachable),
		NEIGH_TEST(test_neigh_zero_address_never_resolves),
		NEIGH_TEST(test_neigh_silence_fails_after_three_requests),
		NEIGH_TEST(test_neigh_failed_is_forgotten),
		NEIGH_TEST(test_neigh_used_stale_is_probed_by_unicast_and_confirmed),
		NEIGH_TEST(test_neigh_probe_unanswered_fails_after_broadcasts),
		NEIGH_TEST(test_neigh_unused_goes_after_five_minutes),
		NEIGH_TEST(test_neigh_unsolicited_reply_never_confirms),
		NEIGH_TEST(test_neigh_changed_mac_is_stale_and_locked_for_a_second),
		NEIGH_TEST(test_neigh_static_resists_and_stays),
		NEIGH_TEST(test_neigh_static_answers_who_waits),
		NEIGH_TEST(test_neigh_incomplete_entries_are_bounded),
		NEIGH_TEST(test_neigh_tick_with_little_room_forgets_none),
		NEIGH_TEST(test_neigh_fills_to_capacity_with_used_entries),
		NEIGH_TEST(test_neigh_full_of_unused_makes_room),
		NEIGH_TEST(test_neigh_flood_of_100000_leaves_used_entries),
		NEIGH_TEST(test_neigh_flood_that_makes_us_answer_stays_in_its_share),
		NEIGH_TEST(test_neigh_strangers_leave_half_of_incomplete),
		NEIGH_TEST(test_neigh_learned_leaves_its_share_when_confirmed),
		NEIGH_TEST(test_neigh_long_flood_keeps_used_entry_confirmed),
		NEIGH_TEST(test_neigh_without_override_only_doubts),
		NEIGH_TEST(test_neigh_next_shows_each_once),
		cmocka_unit_test_setup_teardown(
			test_neigh_threads_see_whole_entries, setup_small, teardown),
	};

	int failed = cmocka_run_group_tests_name("IPv4", tests, NULL, NULL);

	over_ip6 = true;
	return failed + cmocka_run_group_tests_name("IPv6", tests, NULL, NULL);
}
