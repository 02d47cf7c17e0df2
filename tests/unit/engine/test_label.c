/* Flow labels of IPv6: one for each flow, on everything that is sent of it. */
#include "fixture.h"

#include <net/ip6.h>
#include <net/packet.h>
#include <net/wire.h>

#include <string.h>

enum {
	TCP_AT = NET_ETH_HLEN + NET_IP6_HLEN,
};

/* What a side has sent of the flow to one of its own ports. */
static struct seen {
	unsigned int segments;
	unsigned int labels; /* different ones */
	uint32_t label;
} seen[2][65536];

static void tap(void *arg, uint64_t now_us, int side, const uint8_t *frame, uint32_t len)
{
	struct seen *s;
	uint32_t label;

	(void)arg;
	(void)now_us;
	if (len < TCP_AT + 20 || net_get16(frame + 12) != NET_ETHERTYPE_IP6 ||
		frame[NET_ETH_HLEN + 6] != NET_PROTO_TCP)
		return;
	s = &seen[side][net_get16(frame + TCP_AT + (side ? 2 : 0))]; /* the client's port */
	label = net_get32(frame + NET_ETH_HLEN) & NET_IP6_LABEL_MASK;
	s->labels += s->segments == 0 || s->label != label;
	s->label = label;
	s->segments++;
}

static int setup(void **state)
{
	(void)state;
	memset(seen, 0, sizeof(seen));
	fixture_prepare();
	f.cfg.host[0].ip6 = f.cfg.host[1].ip6 = true;
	fixture_start();
	f.w.link.tap = tap;
	return 0;
}

/* Opens, loses something, closes; returns the client's port. */
static uint16_t run_flow(void)
{
	struct net_addr there = sim_ip6(1);
	struct pair p;

	f.w.link.way[0].cut = true; /* the SYN is sent again */
	p.here = sim_client_connect_to(f.here, 0, &there, PORT, 0);
	run_ms(500);
	f.w.link.way[0].cut = false;
	run_ms(2000);
	p.there = sim_client_accept(f.listener, 0);
	run_ms(50);
	assert_int_equal(p.there->state, SIM_SOCK_OPEN);
	f.w.link.way[0].cut = true;
	send_bytes(p.here, 1, 4000);
	run_ms(300); /* a time-out */
	f.w.link.way[0].cut = false;
	run_ms(3000);
	assert_int_equal(read_bytes(p.there, 1), 4000);
	assert_true(sim_sock_close(p.here, false));
	run_ms(50);
	assert_true(sim_sock_close(p.there, false)); /* and a compact entry takes over */
	run_ms(100);
	assert_int_equal(p.here->state, SIM_SOCK_GONE);
	return p.here->key.lport;
}

static void test_label_given_flow_is_one_and_not_anothers(void **state)
{
	uint16_t one = run_flow(), other = run_flow();

	(void)state;
	for (int side = 0; side < 2; side++) {
		assert_true(seen[side][one].segments > 4);
		assert_int_equal(seen[side][one].labels, 1);
		assert_int_equal(seen[side][other].labels, 1);
		assert_int_not_equal(seen[side][one].label, 0);
		assert_int_not_equal(seen[side][one].label, seen[side][other].label);
	}
	assert_int_not_equal(seen[0][one].label, seen[1][one].label); /* each end has its own */
}

static void test_label_given_configuration_is_zero(void **state)
{
	uint16_t port;

	(void)state;
	engine_of(0)->cfg.flow_labels = engine_of(1)->cfg.flow_labels = false;
	port = run_flow();
	for (int side = 0; side < 2; side++) {
		assert_true(seen[side][port].segments > 4);
		assert_int_equal(seen[side][port].labels, 1);
		assert_int_equal(seen[side][port].label, 0);
	}
}

#define L(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		L(test_label_given_flow_is_one_and_not_anothers),
		L(test_label_given_configuration_is_zero),
	};

	return cmocka_run_group_tests_name("label", tests, NULL, NULL);
}
