#include "sim_goodput.h"

#include "sim_app.h"
#include "sim_fail.h"

#include <tcp/counters.h>

#include <stdio.h>

enum {
	TRANSFER_BYTES = 10 << 20,
	LIMIT_S = 3600,
	PORT = 5000,
	BURSTS_US = 100, /* what comes in such a time is found at once */
};

struct row {
	const char *name;
	struct sim_profile profile;
	uint32_t nap_us;
};

/* 100 Mbit/s, 20 ms of round trip, a queue of one bandwidth-delay product. */
#define LINK .delay_us = 10000, .rate_bytes_s = 12500000, .queue_max_bytes = 250000 + 125000
/* A cable: 1 Gbit/s, 0.2 ms. What a time-out costs is a thousand round trips. */
#define SHORT .delay_us = 100, .rate_bytes_s = 125000000, .queue_max_bytes = 250000

static const struct row rows[] = {
	{"no loss", {LINK}},
	{"loss 0.1%", {LINK, .loss_ppm = 1000}},
	{"loss 1%", {LINK, .loss_ppm = 10000}},
	{"loss 5%", {LINK, .loss_ppm = 50000}},
	{"loss 1%, bursts of 1 to 10", {LINK, .loss_ppm = 1800, .burst_max = 9}},
	{"reorder 1%, by up to 5 ms", {LINK, .reorder_ppm = 10000, .reorder_us = 5000}},
	{"reorder 10%, by up to 20 ms", {LINK, .reorder_ppm = 100000, .reorder_us = 20000}},
	{"1% lost, 5% duplicated", {LINK, .loss_ppm = 10000, .duplicate_ppm = 50000}},
	{"0.2 ms, loss 1%", {SHORT, .loss_ppm = 10000}},
	{"0.2 ms, loss 5%", {SHORT, .loss_ppm = 50000}},
	{"0.2 ms, loss 1%, in bursts", {SHORT, .loss_ppm = 10000}, BURSTS_US},
	{"0.2 ms, loss 5%, in bursts", {SHORT, .loss_ppm = 50000}, BURSTS_US},
};

struct buffers {
	uint32_t rcvbuf_bytes, sndbuf_bytes;
	bool tune;
};
static const struct buffers large = {4 << 20, 4 << 20, false};

struct result {
	double mbit_s;
	double retransmitted; /* of all segments sent, per cent */
	uint64_t timeouts;
};

static void configure(struct sim_world_config *cfg, struct sim_client_config *client, bool sack,
	const struct buffers *b)
{
	for (int side = 0; side < 2; side++) {
		struct sim_host_config *h = &cfg->host[side];

		h->tcp.sack = sack;
		h->tcp.rcvbuf_bytes = h->limits.rcvbuf_bytes = b->rcvbuf_bytes;
		h->limits.sndbuf_bytes = b->sndbuf_bytes;
		h->limits.tune_buffers = b->tune;
	}
	sim_client_config_default(client);
	client->up_bytes = client->down_bytes = 16 << 20;
	client->up_max_bytes = client->down_max_bytes = 64 << 20;
}

static struct result run_one(const struct row *row, uint64_t seed, bool sack,
	const struct buffers *buffers, uint64_t bytes)
{
	static struct sim_world w;
	static struct sim_app app;
	struct sim_world_config cfg;
	struct sim_client_config client;
	struct sim_flow_spec flow = {
		.port = PORT,
		.end = {{.tx_bytes = bytes, .shutdown = true}, {.shutdown = true}},
	};
	const struct tcp_counters *n;
	struct sim_client *c[2];
	struct result r;

	sim_world_config_default(&cfg, seed);
	cfg.profile = row->profile;
	cfg.profile.spare_arp = true;
	cfg.nap_us[0] = row->nap_us;
	configure(&cfg, &client, sack, buffers);
	for (int i = 0; i < 2; i++) {
		flow.end[i].abort_at_pos = SIM_APP_NEVER;
		flow.end[i].write_max_bytes = flow.end[i].read_max_bytes = SIM_BLOCK_BYTES;
		flow.end[i].consume_step_bytes = 1;
	}
	sim_world_init(&w, &cfg);
	w.check = false;
	sim_app_init(&app, &w, seed);
	for (int side = 0; side < 2; side++)
		c[side] = sim_client_new(&w.host[side], &client);
	sim_client_listen(c[1], 0, PORT, 1);
	sim_app_flow(&app, &flow, c[0], c[1]);
	SIM_CHECK(sim_world_until(&w, LIMIT_S * SIM_SECOND, sim_app_is_done, &app), "stalled");
	sim_app_verify(&app);
	n = engine_tcp_counters(w.host[0].engine);
	r.mbit_s = (double)bytes * 8.0 / (double)(w.now_us - SIM_START_US);
	r.retransmitted = 100.0 * (double)n->retransmitted_segs / (double)n->segs_out;
	r.timeouts = n->rto_timeouts;
	sim_world_fini(&w);
	return r;
}

static struct result run_mean(const struct row *row, uint64_t first, uint64_t last, bool sack,
	const struct buffers *buffers, uint64_t bytes)
{
	double n = (double)(last - first + 1);
	struct result sum = {0};

	for (uint64_t seed = first; seed <= last; seed++) {
		struct result r = run_one(row, seed, sack, buffers, bytes);

		sum.mbit_s += r.mbit_s / n;
		sum.retransmitted += r.retransmitted / n;
		sum.timeouts += r.timeouts;
	}
	return sum;
}

/* -- buffers --------------------------------------------------------------------------------- */

#define PATH(mbit, ms)                                                                             \
	.delay_us = (ms)*500, .rate_bytes_s = (mbit)*125000ull,                                    \
	.queue_max_bytes = (mbit)*125ull * (ms)*2

static const struct row paths[] = {
	{"100 Mbit/s, 10 ms", {PATH(100, 10)}},
	{"100 Mbit/s, 100 ms", {PATH(100, 100)}},
	{"100 Mbit/s, 200 ms", {PATH(100, 200)}},
	{"1 Gbit/s, 20 ms", {PATH(1000, 20)}},
};

static void buffers_table(uint64_t first_seed, uint64_t last_seed)
{
	static const struct buffers how[] = {{128 << 10, 256 << 10, false},
		{128 << 10, 256 << 10, true}, {4 << 20, 4 << 20, false}};

	printf("\n%-28s %16s %16s %16s\n", "40 MiB, Mbit/s", "128 and 256 KiB", "the same, tuned",
		"4 MiB");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		printf("%-28s", paths[i].name);
		for (size_t k = 0; k < sizeof(how) / sizeof(how[0]); k++)
			printf(" %16.2f",
				run_mean(&paths[i], first_seed, last_seed, true, &how[k], 40 << 20)
					.mbit_s);
		printf("\n");
	}
}

int sim_goodput_table(uint64_t first_seed, uint64_t last_seed)
{
	printf("%-28s %24s %24s\n", "", "without SACK", "with SACK");
	printf("%-28s %8s %8s %6s %8s %8s %6s\n", "link", "Mbit/s", "again", "RTOs", "Mbit/s",
		"again", "RTOs");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		printf("%-28s", rows[i].name);
		for (int sack = 0; sack < 2; sack++) {
			struct result r = run_mean(
				&rows[i], first_seed, last_seed, sack, &large, TRANSFER_BYTES);

			printf(" %8.2f %7.2f%% %6llu", r.mbit_s, r.retransmitted,
				(unsigned long long)r.timeouts);
			fflush(stdout);
		}
		printf("\n");
	}
	buffers_table(first_seed, last_seed);
	return 0;
}
