/* A bulk sender through a bottleneck of 100 Mbit/s, one cell at a time.
 *
 * Losses are random and independent, so that theory applies: Mathis's formula for Reno, and the
 * response function of RFC 9438 section 5.2 for CUBIC, which is Reno's where Reno would be faster.
 * Both are bounded by the link. Goodput is what the reader got in the last three quarters of
 * the time: slow start is not what is compared. A buffer is given in bandwidth-delay products.
 *
 * Fairness is Jain's index of flows that share the bottleneck, and start a tenth of a second
 * apart: 1 if all have the same, 1/n if one has all.
 */
#include "sim_grid.h"

#include "sim_app.h"
#include "sim_fail.h"

#include <tcp/cc.h>
#include <tcp/counters.h>

#include <stdio.h>
#include <string.h>

enum {
	RATE_BYTES_S = 12500000,
	MSS = 1448,
	PORT = 5000,
	FLOWS_MAX = 8,
	FAIR_RTT_US = 20000,
	FAIR_TIMES = 3, /* fairness takes longer to show */
};

static const uint32_t losses_ppm[] = {0, 100, 1000, 10000, 30000};
static const uint32_t rtts_us[] = {10000, 50000, 200000};
static const double buffers_bdp[] = {0.5, 2};
static const char *const names[TCP_CC_COUNT] = {
	[TCP_CC_NEWRENO] = "newreno",
	[TCP_CC_CUBIC] = "cubic",
	[TCP_CC_DCTCP] = "dctcp",
	[TCP_CC_BBR] = "bbr",
};

struct cell {
	uint32_t cc, rtt_us, loss_ppm, flows, seconds;
	double buffer_bdp;
	uint64_t mark_bytes;
};

struct result {
	double mbit_s[FLOWS_MAX];
	double sum_mbit_s;
	double queue_ms; /* mean wait at the bottleneck */
	uint64_t retransmitted, timeouts;
};

/* -- one cell ------------------------------------------------------------------------------- */

static void configure(struct sim_world_config *cfg, struct sim_client_config *client,
	const struct cell *x, uint64_t seed)
{
	uint64_t bdp = (uint64_t)RATE_BYTES_S * x->rtt_us / 1000000;
	uint32_t window = 16 << 20;

	sim_world_config_default(cfg, seed);
	cfg->profile = (struct sim_profile){
		.delay_us = x->rtt_us / 2,
		.rate_bytes_s = RATE_BYTES_S,
		.loss_ppm = x->loss_ppm,
		.buffer_bytes = (uint64_t)((double)bdp * x->buffer_bdp) + 3000,
		.mark_bytes = x->mark_bytes,
		.spare_arp = true,
	};
	for (int side = 0; side < 2; side++) {
		struct sim_host_config *h = &cfg->host[side];

		h->tcp.cc = x->cc;
		h->tcp.rcvbuf_bytes = h->tcp.rcvbuf_max_bytes = window;
		h->limits.rcvbuf_bytes = h->limits.rcvbuf_max_bytes = window;
		h->limits.sndbuf_bytes = h->limits.sndbuf_max_bytes = window;
	}
	sim_client_config_default(client);
	client->up_bytes = client->down_bytes = 32 << 20;
	client->up_max_bytes = client->down_max_bytes = 512 << 20;
}

static void add_flow(struct sim_app *app, struct sim_client *c[2], uint32_t i)
{
	struct sim_flow_spec flow = {
		.port = PORT,
		.start_us = i * 100000,
		.end = {{.tx_bytes = UINT64_C(1) << 40, .shutdown = true}, {.shutdown = true}},
	};

	for (int k = 0; k < 2; k++) {
		flow.end[k].abort_at_pos = SIM_APP_NEVER;
		flow.end[k].write_max_bytes = flow.end[k].read_max_bytes = SIM_BLOCK_BYTES;
		flow.end[k].consume_step_bytes = 1;
	}
	sim_app_flow(app, &flow, c[0], c[1]);
}

static uint64_t read_of(const struct sim_app *app, uint32_t i)
{
	return app->flows[i].end[1].sk ? app->flows[i].end[1].sk->read_pos : 0;
}

static double queue_ms(const struct sim_world *w)
{
	const struct sim_way *way = &w->link.way[0];

	return way->busy_until_us > w->now_us ? (double)(way->busy_until_us - w->now_us) / 1e3 : 0;
}

static struct result run(const struct cell *x, uint64_t seed)
{
	static struct sim_world w;
	static struct sim_app app;
	struct sim_world_config cfg;
	struct sim_client_config client;
	struct sim_client *c[2];
	uint64_t before[FLOWS_MAX], quarter_us = x->seconds * SIM_SECOND / 4;
	const struct tcp_counters *n;
	struct result r = {0};

	configure(&cfg, &client, x, seed);
	sim_world_init(&w, &cfg);
	w.check = false;
	sim_app_init(&app, &w, seed);
	for (int side = 0; side < 2; side++)
		c[side] = sim_client_new(&w.host[side], &client);
	sim_client_listen(c[1], 0, PORT, FLOWS_MAX);
	for (uint32_t i = 0; i < x->flows; i++)
		add_flow(&app, c, i);
	sim_world_run(&w, quarter_us);
	for (uint32_t i = 0; i < x->flows; i++)
		before[i] = read_of(&app, i);
	for (int i = 0; i < 30; i++) { /* the queue is looked at now and then */
		sim_world_run(&w, quarter_us / 10);
		r.queue_ms += queue_ms(&w) / 30;
	}
	for (uint32_t i = 0; i < x->flows; i++) {
		r.mbit_s[i] = (double)(read_of(&app, i) - before[i]) * 8 / (double)(3 * quarter_us);
		r.sum_mbit_s += r.mbit_s[i];
	}
	n = engine_tcp_counters(w.host[0].engine);
	r.retransmitted = n->retransmitted_segs;
	r.timeouts = n->rto_timeouts;
	sim_world_fini(&w);
	return r;
}

/* -- theory --------------------------------------------------------------------------------- */

static double root(double v, unsigned int n)
{
	double lo = 0, hi = v > 1 ? v : 1;

	for (int i = 0; i < 200; i++) {
		double mid = (lo + hi) / 2, pow = 1;

		for (unsigned int k = 0; k < n; k++)
			pow *= mid;
		if (pow < v)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* Payload that the link carries: 1500 bytes of packet and 14 of Ethernet have 1448. */
static double link_mbit_s(void)
{
	return RATE_BYTES_S * 8e-6 * MSS / 1514;
}

/* Mean window in segments: Mathis et al. 1997, with every segment counted. */
static double reno_segments(double p)
{
	return root(1.5 / p, 2);
}

/* RFC 9438 section 5.2, figure 6: C = 0.4, beta = 0.7; or Reno's with that beta. */
static double cubic_segments(double p, double rtt_s)
{
	double cubic = root(0.4 * 3.7 / 1.2, 4) * root(rtt_s * rtt_s * rtt_s / (p * p * p), 4);
	double reno = reno_segments(p);

	return cubic > reno ? cubic : reno;
}

/* Negative: there is no formula. */
static double theory_mbit_s(const struct cell *x)
{
	double p = x->loss_ppm / 1e6, rtt_s = x->rtt_us / 1e6, segments, rate;

	if (x->loss_ppm == 0 || x->cc == TCP_CC_BBR || x->cc >= TCP_CC_COUNT)
		return -1;
	segments = x->cc == TCP_CC_CUBIC ? cubic_segments(p, rtt_s) : reno_segments(p);
	rate = segments * MSS * 8e-6 / rtt_s;
	return rate < link_mbit_s() ? rate : link_mbit_s();
}

static double jain(const double *v, uint32_t n)
{
	double sum = 0, squares = 0;

	for (uint32_t i = 0; i < n; i++) {
		sum += v[i];
		squares += v[i] * v[i];
	}
	return squares > 0 ? sum * sum / (n * squares) : 0;
}

/* -- output --------------------------------------------------------------------------------- */

static void print_cell(FILE *json, const struct cell *x, const struct result *r, bool first)
{
	double theory = theory_mbit_s(x);

	printf("| %-7s | %6.2f%% | %5u | %6.1f | %8.2f |", names[x->cc], x->loss_ppm / 1e4,
		x->rtt_us / 1000, x->buffer_bdp, r->sum_mbit_s);
	if (theory > 0)
		printf(" %8.2f | %5.2f |", theory, r->sum_mbit_s / theory);
	else
		printf("          |       |");
	printf(" %7.1f | %6llu | %4llu |\n", r->queue_ms, (unsigned long long)r->retransmitted,
		(unsigned long long)r->timeouts);
	fflush(stdout);
	if (!json)
		return;
	fprintf(json,
		"%s\n  {\"cc\": \"%s\", \"loss\": %g, \"rtt_ms\": %u, \"buffer_bdp\": %g, "
		"\"mbit_s\": %.3f, \"theory_mbit_s\": %.3f, \"queue_ms\": %.2f, "
		"\"retransmitted\": %llu, \"timeouts\": %llu}",
		first ? "" : ",", names[x->cc], x->loss_ppm / 1e6, x->rtt_us / 1000, x->buffer_bdp,
		r->sum_mbit_s, theory, r->queue_ms, (unsigned long long)r->retransmitted,
		(unsigned long long)r->timeouts);
}

/* RFC 8257 is NewReno where nothing marks; K as its section 4 has it for 10 Gbit/s. */
static uint64_t marks(uint32_t cc)
{
	return cc == TCP_CC_DCTCP ? 65 * 1500 : 0;
}

static void run_cells(FILE *json, uint64_t seed, uint32_t seconds)
{
	bool first = true;

	printf("| control | loss    | RTT   | buffer | goodput  | theory   | ratio | queue   | "
	       "sent   "
	       "|      |\n|         |         | ms    | BDP    | Mbit/s   | Mbit/s   |       | ms  "
	       "   "
	       " | again  | RTOs |\n|---|---|---|---|---|---|---|---|---|---|\n");
	for (uint32_t cc = 0; cc < TCP_CC_COUNT; cc++) {
		if (!names[cc])
			continue;
		for (size_t b = 0; b < sizeof(buffers_bdp) / sizeof(*buffers_bdp); b++)
			for (size_t t = 0; t < sizeof(rtts_us) / sizeof(*rtts_us); t++)
				for (size_t l = 0; l < sizeof(losses_ppm) / sizeof(*losses_ppm);
					l++) {
					struct cell x = {cc, rtts_us[t], losses_ppm[l], 1, seconds,
						buffers_bdp[b], marks(cc)};
					struct result r = run(&x, seed);

					print_cell(json, &x, &r, first);
					first = false;
				}
	}
}

static void run_fairness(FILE *json, uint64_t seed, uint32_t seconds)
{
	bool first = true;

	printf("\n| control | flows | sum, Mbit/s | Jain's index | queue, ms | sent again |\n"
	       "|---|---|---|---|---|---|\n");
	for (uint32_t cc = 0; cc < TCP_CC_COUNT; cc++) {
		for (uint32_t flows = 2; names[cc] && flows <= FLOWS_MAX; flows *= 2) {
			struct cell x = {
				cc, FAIR_RTT_US, 0, flows, FAIR_TIMES * seconds, 1, marks(cc)};
			struct result r = run(&x, seed);

			printf("| %-7s | %u | %.2f | %.3f | %.1f | %llu |\n", names[cc], flows,
				r.sum_mbit_s, jain(r.mbit_s, flows), r.queue_ms,
				(unsigned long long)r.retransmitted);
			fflush(stdout);
			if (json)
				fprintf(json,
					"%s\n  {\"cc\": \"%s\", \"flows\": %u, \"mbit_s\": %.3f, "
					"\"jain\": %.4f, \"queue_ms\": %.2f}",
					first ? "" : ",", names[cc], flows, r.sum_mbit_s,
					jain(r.mbit_s, flows), r.queue_ms);
			first = false;
		}
	}
}

int sim_grid_run(uint64_t seed, uint32_t seconds, const char *json_path)
{
	FILE *json = json_path ? fopen(json_path, "w") : NULL;

	if (json_path && !json) {
		perror(json_path);
		return 2;
	}
	if (json)
		fprintf(json, "{\"seconds\": %u, \"seed\": %llu, \"cells\": [", seconds,
			(unsigned long long)seed);
	run_cells(json, seed, seconds);
	if (json)
		fprintf(json, "],\n \"fairness\": [");
	run_fairness(json, seed, seconds);
	if (json)
		fprintf(json, "]}\n");
	return json && fclose(json) ? 2 : 0;
}
