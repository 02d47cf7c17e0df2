#include "sim_world.h"

#include "sim_fail.h"

enum {
	ROUNDS_MAX = 100000, /* without the clock moving */
	MEMORY_CHECK_TURNS = 64,
};

void sim_world_config_default(struct sim_world_config *cfg, uint64_t seed)
{
	*cfg = (struct sim_world_config){
		.seed = seed,
		.profile = {.delay_us = 1000, .spare_arp = true},
	};
	for (int side = 0; side < 2; side++) {
		sim_host_config_default(&cfg->host[side], side);
		cfg->host[side].seed = seed * 2 + (uint64_t)side;
	}
}

void sim_world_init(struct sim_world *w, const struct sim_world_config *cfg)
{
	*w = (struct sim_world){
		.rng = {.state = cfg->seed},
		.now_us = SIM_START_US,
		.nap_us = {cfg->nap_us[0], cfg->nap_us[1]},
		.check = true,
	};
	sim_link_init(&w->link, sim_rng_next(&w->rng), &cfg->profile);
	w->link.now_us = w->now_us;
	sim_wire_init(&w->wire);
	w->link.tap = sim_wire_tap;
	w->link.arrival = sim_wire_arrival;
	w->link.tap_arg = &w->wire;
	for (int side = 0; side < 2; side++)
		sim_host_init(&w->host[side], &cfg->host[side], &w->link, w->now_us);
}

void sim_world_fini(struct sim_world *w)
{
	for (int side = 0; side < 2; side++)
		sim_host_fini(&w->host[side]);
	sim_wire_fini(&w->wire);
	sim_link_fini(&w->link);
}

static unsigned int poll_clients(struct sim_host *h)
{
	unsigned int work = 0;

	for (uint32_t i = 1; i <= h->last_session; i++)
		if (h->clients[i])
			work += sim_client_poll(h->clients[i]);
	return work;
}

/* A turn that did nothing, at a time at which they were looked at before, has left everything as
 * it was. */
static void check(struct sim_world *w, int side, unsigned int work)
{
	if (!w->check || (!work && w->checked_us[side] == w->now_us))
		return;
	w->checked_us[side] = w->now_us;
	sim_check_turn(&w->host[side], w->now_us);
}

/* The engine of that side, and its main thread. */
static unsigned int turn(struct sim_world *w, int side)
{
	struct sim_host *h = &w->host[side];
	unsigned int work = 0;

	if (w->now_us >= w->awake_us[side])
		work = engine_turn(h->engine, w->now_us);
	work += sim_host_messages(h);
	check(w, side, work);
	return work;
}

static unsigned int round_of(struct sim_world *w)
{
	unsigned int work = 0;

	for (int side = 0; side < 2; side++)
		work += turn(w, side) + poll_clients(&w->host[side]);
	if (++w->turns % MEMORY_CHECK_TURNS == 0 && w->check)
		for (int side = 0; side < 2; side++)
			sim_check_memory(&w->host[side]);
	return work + (w->drive ? w->drive(w->drive_arg) : 0);
}

/* Everybody who has nothing to do blocks. False: somebody found work after all. */
static bool sleep_all(struct sim_world *w)
{
	bool idle = true;

	for (int side = 0; side < 2; side++) {
		struct sim_host *h = &w->host[side];

		if (sim_rng_below(&w->rng, 4) && w->now_us >= w->awake_us[side])
			idle &= engine_sleep_prepare(h->engine);
		for (uint32_t i = 1; i <= h->last_session; i++)
			if (h->clients[i] && sim_rng_below(&w->rng, 4))
				idle &= sim_client_sleep(h->clients[i]);
	}
	return idle;
}

void sim_world_settle(struct sim_world *w)
{
	for (unsigned int n = 0; round_of(w) || !sleep_all(w); n++)
		SIM_CHECK(n < ROUNDS_MAX, "the clock stands still at %llu us",
			(unsigned long long)w->now_us);
	for (int side = 0; side < 2; side++)
		if (w->now_us >= w->awake_us[side])
			w->awake_us[side] = w->now_us + w->nap_us[side];
}

/* When the engine of that side has something to do, and does it. */
static uint64_t turn_us(const struct sim_world *w, int side)
{
	uint64_t next = engine_next_us(w->host[side].engine);
	uint64_t arrival = sim_link_arrives_us(&w->link, side);

	next = arrival < next ? arrival : next;
	return next > w->awake_us[side] ? next : w->awake_us[side];
}

static uint64_t next_us(struct sim_world *w, uint64_t until_us)
{
	uint64_t next = until_us;
	uint64_t candidate[3] = {
		turn_us(w, 0),
		turn_us(w, 1),
		w->drive_next_us ? w->drive_next_us(w->drive_arg) : UINT64_MAX,
	};

	for (int i = 0; i < 3; i++)
		if (candidate[i] < next)
			next = candidate[i];
	return next > w->now_us ? next : w->now_us + 1;
}

bool sim_world_step(struct sim_world *w, uint64_t until_us)
{
	sim_world_settle(w);
	if (w->now_us >= until_us)
		return false;
	w->now_us = next_us(w, until_us);
	w->link.now_us = w->now_us;
	return true;
}

void sim_world_run(struct sim_world *w, uint64_t for_us)
{
	uint64_t until_us = w->now_us + for_us;

	while (sim_world_step(w, until_us))
		;
}

bool sim_world_until(struct sim_world *w, uint64_t for_us, bool (*condition)(void *arg), void *arg)
{
	uint64_t until_us = w->now_us + for_us;

	do {
		sim_world_settle(w);
		if (condition(arg))
			return true;
	} while (sim_world_step(w, until_us));
	return false;
}
