/* Two engines on a perfect link, one client each: `here` on side 0, `there` on side 1. */
#ifndef TEST_ENGINE_FIXTURE_H
#define TEST_ENGINE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <engine/internal.h>
#include <sim/sim_fail.h>
#include <sim/sim_frame.h>
#include <sim/sim_world.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

enum {
	PORT = 80,
};

struct fixture {
	struct sim_world_config cfg;
	struct sim_client_config client_cfg;
	struct sim_world w;
	struct sim_client *here, *there;
	struct sim_listener *listener; /* of `there`, port PORT */
};

static struct fixture f;

/* Defaults; a test changes f.cfg and f.client_cfg, then calls fixture_start(). */
static inline void fixture_prepare(void)
{
	memset(&f, 0, sizeof(f));
	sim_world_config_default(&f.cfg, 1);
	sim_client_config_default(&f.client_cfg);
}

static inline void fixture_start(void)
{
	sim_world_init(&f.w, &f.cfg);
	f.here = sim_client_new(&f.w.host[0], &f.client_cfg);
	f.there = sim_client_new(&f.w.host[1], &f.client_cfg);
	f.listener = sim_client_listen(f.there, 0, PORT, 16);
	sim_world_run(&f.w, 10000);
}

static inline int fixture_setup(void **state)
{
	(void)state;
	fixture_prepare();
	fixture_start();
	return 0;
}

static inline int fixture_teardown(void **state)
{
	(void)state;
	sim_world_fini(&f.w);
	return 0;
}

static inline struct engine *engine_of(int side)
{
	return f.w.host[side].engine;
}

/* Engine 0 of host 0 and, after fixture_setup_two(), a neighbour on the same port. */
static struct engine *engines[2];
static unsigned int wakes[2];

static inline void fixture_wake(void *arg, uint16_t engine)
{
	(void)arg;
	wakes[engine]++;
}

static inline int fixture_setup_two(void **state)
{
	struct engine_config cfg;

	fixture_setup(state);
	memset(wakes, 0, sizeof(wakes));
	engines[0] = engine_of(0);
	engines[0]->cfg.count = 2;
	engines[0]->cfg.peers = engines;
	engines[0]->cfg.wake = fixture_wake;
	cfg = engines[0]->cfg;
	cfg.id = 1;
	assert_int_equal(engine_create(&engines[1], &cfg, f.w.now_us), 0);
	return 0;
}

static inline int fixture_teardown_two(void **state)
{
	engines[0]->cfg.count = 1;
	engine_destroy(engines[1]); /* with whatever is still in its inbox */
	return fixture_teardown(state);
}

static inline void run_ms(uint64_t ms)
{
	sim_world_run(&f.w, ms * 1000);
}

static inline struct engine_gauges gauges(int side)
{
	struct engine_gauges g;

	engine_gauges(engine_of(side), &g);
	return g;
}

struct pair {
	struct sim_sock *here, *there;
};

/* A connection from `here`, accepted by `there`. */
static inline struct pair open_pair(struct sim_client *from)
{
	struct pair p = {.here = sim_client_connect(from, 0, sim_ip_be(1), PORT, 0)};

	run_ms(50);
	assert_int_equal(p.here->state, SIM_SOCK_OPEN);
	assert_true(p.here->flags & PROTO_FLOW_ESTABLISHED);
	p.there = sim_client_accept(f.listener, 0);
	run_ms(50);
	assert_int_equal(p.there->state, SIM_SOCK_OPEN);
	return p;
}

/* Sends n bytes of the value b, at most a block a time; all must be accepted by the rings. */
static inline void send_bytes(struct sim_sock *sk, uint8_t b, uint32_t n)
{
	uint8_t data[SIM_BLOCK_BYTES];

	memset(data, b, sizeof(data));
	while (n) {
		uint32_t sent = sim_sock_send(sk, data, n, false);

		if (!sent)
			sim_world_step(&f.w, f.w.now_us + 100000);
		n -= sent;
	}
}

/* Reads what there is, checks that each byte is b; returns how much. */
static inline uint32_t read_bytes(struct sim_sock *sk, uint8_t b)
{
	uint32_t total = 0, n;
	const uint8_t *data;

	while ((n = sim_sock_peek(sk, &data))) {
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(data[i], b);
		sim_sock_take(sk, n);
		total += n;
	}
	assert_true(sim_sock_consumed(sk));
	return total;
}

/* In order, the near end first. */
static inline void close_pair(struct pair p)
{
	assert_true(sim_sock_close(p.here, false));
	run_ms(50);
	assert_true(p.there->flags & PROTO_FLOW_FIN);
	assert_true(sim_sock_close(p.there, false));
	run_ms(100);
	assert_int_equal(p.there->state, SIM_SOCK_GONE);
	assert_int_equal(p.here->state, SIM_SOCK_GONE);
}

/* A whole exchange works: nobody was disturbed. */
static inline void assert_works(struct sim_client *from)
{
	struct pair p = open_pair(from);

	send_bytes(p.here, 0x5a, 3000);
	run_ms(50);
	assert_int_equal(read_bytes(p.there, 0x5a), 3000);
	close_pair(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
