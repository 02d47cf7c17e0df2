/* Two hosts, the link between them, and one clock.
 *
 * Time stands still while anybody has work: engines take turns, clients read their completions,
 * the driver (an application, or a test) does its part. When nobody has, engines and clients
 * go to sleep as real ones do, and the clock jumps to whatever comes first: an engine's
 * deadline, a frame's arrival, the driver's next plan. All of it is decided by the seed.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim_check.h"
#include "sim_client.h"
#include "sim_host.h"
#include "sim_link.h"
#include "sim_wire.h"

#define SIM_START_US UINT64_C(1000000000)
#define SIM_SECOND   UINT64_C(1000000)

struct sim_world {
	struct sim_link link;
	struct sim_wire wire;
	struct sim_host host[2];
	struct sim_rng rng;
	uint64_t now_us;
	uint64_t turns;
	/* An engine that has been busy elsewhere: after each turn it is away for so long, and
	 * finds what came meanwhile in one burst. */
	uint32_t nap_us[2];
	uint64_t awake_us[2];
	bool check; /* look into the engines after each turn that may have changed something */
	uint64_t checked_us[2];
	/* Optional: does what can be done now, returns how much that was. */
	unsigned int (*drive)(void *arg);
	uint64_t (*drive_next_us)(void *arg);
	void *drive_arg;
};

struct sim_world_config {
	uint64_t seed;
	struct sim_profile profile;
	struct sim_host_config host[2];
	uint32_t nap_us[2];
};
void sim_world_config_default(struct sim_world_config *cfg, uint64_t seed);

void sim_world_init(struct sim_world *w, const struct sim_world_config *cfg);
void sim_world_fini(struct sim_world *w);

/* Lets everybody work until nobody has anything to do at this moment. */
void sim_world_settle(struct sim_world *w);
/* Settles, then jumps to the next moment, at most until_us. False: that was until_us. */
bool sim_world_step(struct sim_world *w, uint64_t until_us);
/* Runs for so long. */
void sim_world_run(struct sim_world *w, uint64_t for_us);
/* Runs until the condition holds; false if it does not within for_us. */
bool sim_world_until(struct sim_world *w, uint64_t for_us, bool (*condition)(void *arg), void *arg);

#endif
