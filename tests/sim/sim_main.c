/* The simulator: two engines over a bad link, as often as there are seeds.
 *
 *	sim --seeds 1-20000 --jobs 2  what ctest runs
 *	sim --seeds 42 --trace        one seed, a line per frame
 *	sim --seeds 42 --pcap f       one seed, for wireshark (pcapng)
 *	sim --seeds 42 --describe     what it drew and what came of it
 *	sim --seeds 1-5 --goodput     what a transfer reaches over links that lose (sim_goodput.c)
 *	sim --seeds 1 --grid [--seconds 20] [--json FILE]  congestion control (sim_grid.c)
 *
 * tests/sim/nightly runs a million seeds. The exit status is 0 only if all held.
 */
#include "sim_campaign.h"
#include "sim_goodput.h"
#include "sim_grid.h"
#include "sim_scenario.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	FAILURES_MAX = 20,
};

static int usage(const char *program)
{
	fprintf(stderr,
		"usage: %s --seeds A[-B] [--jobs N] [--keep DIRECTORY] [--failures-max N]\n"
		"       [--speed-min N] [--trace] [--pcap FILE] [--describe]\n"
		"   or: %s --seeds A[-B] --goodput\n"
		"   or: %s --seeds A --grid [--seconds N] [--json FILE]\n",
		program, program, program);
	return 2;
}

static bool parse_range(const char *text, struct sim_campaign *r)
{
	char *end;

	r->first = r->last = strtoull(text, &end, 10);
	if (end != text && *end == '-') {
		text = end + 1;
		r->last = strtoull(text, &end, 10);
	}
	return end != text && !*end && r->last >= r->first;
}

static uint32_t number(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", required_argument, NULL, 's'},
		{"jobs", required_argument, NULL, 'n'},
		{"keep", required_argument, NULL, 'k'},
		{"failures-max", required_argument, NULL, 'f'},
		{"speed-min", required_argument, NULL, 'm'},
		{"trace", no_argument, NULL, 't'},
		{"pcap", required_argument, NULL, 'p'},
		{"describe", no_argument, NULL, 'd'},
		{"goodput", no_argument, NULL, 'g'},
		{"grid", no_argument, NULL, 'G'},
		{"seconds", required_argument, NULL, 'S'},
		{"json", required_argument, NULL, 'j'},
		{0},
	};
	struct sim_campaign r = {
		.first = 1, .jobs = 1, .failures_max = FAILURES_MAX, .program = argv[0]};
	bool goodput = false, grid = false;
	uint32_t seconds = 20;
	const char *json = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?' || (c == 's' && !parse_range(optarg, &r)))
			return usage(argv[0]);
		r.options.trace |= c == 't';
		r.options.describe |= c == 'd';
		goodput |= c == 'g';
		grid |= c == 'G';
		if (c == 'n')
			r.jobs = number(optarg);
		if (c == 'k')
			r.keep = optarg;
		if (c == 'f')
			r.failures_max = number(optarg);
		if (c == 'm')
			r.speed_min = number(optarg);
		if (c == 'S')
			seconds = number(optarg);
		if (c == 'j')
			json = optarg;
		if (c == 'p')
			r.options.pcap = optarg;
	}
	if (r.last < r.first || optind != argc)
		return usage(argv[0]);
	if (grid && seconds >= 4)
		return sim_grid_run(r.first, seconds, json);
	if (goodput)
		return sim_goodput_table(r.first, r.last);
	return sim_campaign_run(&r);
}
