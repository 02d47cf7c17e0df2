/* The simulator: two engines over a bad link, as often as there are seeds.
 *
 *	sim --seeds 1-1000            what ctest runs
 *	sim --seeds 1-1000000         a long campaign; stop it when you like
 *	sim --seeds 42 --trace        one seed, a line per frame
 *	sim --seeds 42 --pcap f.pcap  one seed, for wireshark
 *	sim --seeds 42 --describe     what it drew and what came of it
 *	sim --seeds 1-5 --goodput     what a transfer reaches over links that lose (sim_goodput.c)
 *	sim --seeds 1 --grid [--seconds 20] [--json FILE]  congestion control (sim_grid.c)
 *
 * Seeds run in a child process: when one fails, by an invariant, an assertion or a sanitizer,
 * it is named together with the command that repeats it, and the next child goes on behind
 * it. The exit status is 0 only if all held.
 */
#include "sim_goodput.h"
#include "sim_grid.h"
#include "sim_scenario.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	FAILURES_MAX = 20, /* enough to see that it is no accident */
};

struct range {
	uint64_t first, last;
};

static int usage(const char *program)
{
	fprintf(stderr,
		"usage: %s --seeds A[-B] [--trace] [--pcap FILE] [--describe] [--goodput]\n"
		"       [--grid] [--seconds N] [--json FILE]\n",
		program);
	return 2;
}

static bool parse_range(const char *text, struct range *r)
{
	char *end;

	r->first = r->last = strtoull(text, &end, 10);
	if (end != text && *end == '-') {
		text = end + 1;
		r->last = strtoull(text, &end, 10);
	}
	return end != text && !*end && r->last >= r->first;
}

/* Runs seeds from *at on in a child, which keeps *at up to date. True: all held. */
static bool run_child(
	_Atomic uint64_t *at, uint64_t last, const struct sim_scenario_options *options)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		for (; *at <= last; (*at)++)
			sim_scenario_run(*at, options);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int run(struct range r, const struct sim_scenario_options *options, const char *program)
{
	_Atomic uint64_t *at =
		mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int failed = 0;
	time_t start = time(NULL);

	if (at == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	for (*at = r.first; *at <= r.last && failed < FAILURES_MAX; (*at)++) {
		if (run_child(at, r.last, options))
			break;
		failed++;
		printf("seed %llu failed; again: %s --seeds %llu --trace\n",
			(unsigned long long)*at, program, (unsigned long long)*at);
	}
	printf("%llu seeds, %u failed, %lld s\n", (unsigned long long)(r.last - r.first + 1),
		failed, (long long)(time(NULL) - start));
	return failed != 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", required_argument, NULL, 's'},
		{"trace", no_argument, NULL, 't'},
		{"pcap", required_argument, NULL, 'p'},
		{"describe", no_argument, NULL, 'd'},
		{"goodput", no_argument, NULL, 'g'},
		{"grid", no_argument, NULL, 'G'},
		{"seconds", required_argument, NULL, 'S'},
		{"json", required_argument, NULL, 'j'},
		{0},
	};
	struct sim_scenario_options o = {0};
	struct range r = {.first = 1, .last = 0};
	bool goodput = false, grid = false;
	uint32_t seconds = 20;
	const char *json = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's' && !parse_range(optarg, &r))
			return usage(argv[0]);
		if (c == '?')
			return usage(argv[0]);
		o.trace |= c == 't';
		o.describe |= c == 'd';
		goodput |= c == 'g';
		grid |= c == 'G';
		if (c == 'S')
			seconds = (uint32_t)strtoul(optarg, NULL, 10);
		if (c == 'j')
			json = optarg;
		if (c == 'p')
			o.pcap = optarg;
	}
	if (r.last < r.first || optind != argc)
		return usage(argv[0]);
	if (grid && seconds >= 4)
		return sim_grid_run(r.first, seconds, json);
	if (goodput)
		return sim_goodput_table(r.first, r.last);
	return run(r, &o, argv[0]);
}
