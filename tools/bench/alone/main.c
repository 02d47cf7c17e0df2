/* bench-engine, bench-engine-stages: one measurement of one engine, as JSON on standard output.
 *
 * tools/bench/engine runs the first for each workload and number of connections, once alone and
 * once under callgrind, and the second with --stages; tools/bench/lines runs the first with --cold.
 */
#include "alone.h"

#include <engine/engine.h>

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const work_name[WORK_COUNT] = {"rpc", "conn", "in", "out"};

struct options {
	struct alone_config cfg;
	uint64_t units;
	uint32_t chunks;
	bool stages, cold;
};

void alone_fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "bench-engine: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static void usage(FILE *to)
{
	fprintf(to,
		"usage: bench-engine [options]\n"
		"  --work rpc|conn|in|out  request-responses, connections, a stream to or from us\n"
		"  --conns N               connections established before (default 1000)\n"
		"  --engines N             each with a share of the connections (1)\n"
		"  --batch N               requests begun in one turn (32); twice as many in "
		"flight\n"
		"  --bytes N               of a request and of its response (64)\n"
		"  --units N               how much to measure: requests, connections, MiB\n"
		"  --chunks N              measured apart; the median counts (401, or fewer)\n"
		"  --waiting N             of conn: connections in TIME-WAIT (100000)\n"
		"  --mtu N                 (1500)\n"
		"  --gso BYTES             longest segment before it is cut (16384)\n"
		"  --no-timestamps         no TCP timestamps\n"
		"  --pure-acks             the peer acknowledges responses by frames of their own\n"
		"  --edge                  EPOLLET\n"
		"  --no-huge               plain pages even where there are huge ones\n"
		"  --stages                bench-engine-stages: cycles by stage; the total is "
		"higher\n"
		"  --cold                  under callgrind: each request with an empty cache\n"
		"  --verbose\n");
}

static uint64_t number(const char *s, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || *end || end == s || v < min || v > max)
		alone_fail("%s: not a number from %llu to %llu", s, (unsigned long long)min,
			(unsigned long long)max);
	return v;
}

static enum alone_work work_by_name(const char *name)
{
	for (int i = 0; i < WORK_COUNT; i++)
		if (!strcmp(name, work_name[i]))
			return (enum alone_work)i;
	alone_fail("%s: no such work", name);
}

static void parse(struct options *o, int argc, char **argv)
{
	enum {
		WORK,
		CONNS,
		ENGINES,
		BATCH,
		BYTES,
		UNITS,
		CHUNKS,
		WAITING,
		MTU,
		GSO,
		NOTS,
		PURE,
		EDGE,
		NOHUGE,
		STAGES,
		COLD,
		VERBOSE,
		HELP
	};
	static const struct option longs[] = {{"work", 1, NULL, WORK}, {"conns", 1, NULL, CONNS},
		{"engines", 1, NULL, ENGINES}, {"batch", 1, NULL, BATCH}, {"bytes", 1, NULL, BYTES},
		{"units", 1, NULL, UNITS}, {"chunks", 1, NULL, CHUNKS},
		{"waiting", 1, NULL, WAITING}, {"mtu", 1, NULL, MTU}, {"gso", 1, NULL, GSO},
		{"no-timestamps", 0, NULL, NOTS}, {"pure-acks", 0, NULL, PURE},
		{"edge", 0, NULL, EDGE}, {"no-huge", 0, NULL, NOHUGE}, {"stages", 0, NULL, STAGES},
		{"cold", 0, NULL, COLD}, {"verbose", 0, NULL, VERBOSE}, {"help", 0, NULL, HELP},
		{0}};
	struct alone_config *c = &o->cfg;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (opt) {
		case WORK:
			c->work = work_by_name(optarg);
			break;
		case CONNS:
			c->conns = (uint32_t)number(optarg, 0, 1 << 24);
			break;
		case ENGINES:
			c->engines = (uint32_t)number(optarg, 1, ALONE_ENGINES_MAX);
			break;
		case BATCH:
			c->batch = (uint32_t)number(optarg, 1, 512);
			break;
		case BYTES:
			c->request_bytes = (uint32_t)number(optarg, 1, 1400);
			break;
		case UNITS:
			o->units = number(optarg, 1, UINT32_MAX);
			break;
		case CHUNKS:
			o->chunks = (uint32_t)number(optarg, 1, METER_CHUNKS_MAX);
			break;
		case WAITING:
			c->waiting = (uint32_t)number(optarg, 50000, 250000);
			break;
		case MTU:
			c->mtu_bytes = (uint16_t)number(optarg, 576, 9000);
			break;
		case GSO:
			c->gso_max_bytes = (uint32_t)number(optarg, 0, 64000);
			break;
		case NOTS:
			c->timestamps = false;
			break;
		case PURE:
			c->pure_acks = true;
			break;
		case EDGE:
			c->edge = true;
			break;
		case NOHUGE:
			c->huge = false;
			break;
		case STAGES:
			o->stages = true;
			break;
		case COLD:
			o->cold = true;
			break;
		case VERBOSE:
			c->verbose = true;
			break;
		case HELP:
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind != argc) {
		usage(stderr);
		exit(2);
	}
}

static void complete(struct options *o)
{
	static const uint32_t units[WORK_COUNT] = {400000, 50000, 2000, 2000};
	struct alone_config *c = &o->cfg;

	if (!o->units)
		o->units = units[c->work];
	if (c->work == WORK_IN || c->work == WORK_OUT)
		c->conns = 1;
	if (c->work == WORK_RPC && c->conns == 0)
		alone_fail("requests need a connection");
	if (o->stages && !stages_compiled)
		alone_fail("bench-engine-stages has --stages");
	if (o->cold && c->work != WORK_RPC)
		alone_fail("--cold is for requests");
	if (c->work != WORK_CONN)
		c->waiting = 0;
	c->fresh_max = 2 * c->waiting;
}

static void print_stages(void)
{
	double cycles[STAGE_COUNT];

	stages_get(cycles);
	printf(", \"stages\": {");
	for (int i = 0; i < STAGE_COUNT; i++)
		printf("%s\"%s\": %.2f", i ? ", " : "", stage_name[i], cycles[i]);
	printf("}");
}

static void print(struct bench *b, const struct options *o)
{
	const struct peer_counts *peer = peer_counts(b->peer);
	double median, min, max, mean;
	const char *first;
	uint64_t drops = host_drops(b->host, &first);

	printf("{\"work\": \"%s\", \"conns\": %u, \"waiting\": %u, \"engines\": %u, \"batch\": %u, "
	       "\"bytes\": %u, \"mtu\": %u, "
	       "\"pure_acks\": %s, \"huge\": %s, \"units\": %llu",
		work_name[o->cfg.work], o->cfg.conns, host_waiting(b->host), o->cfg.engines,
		o->cfg.batch, o->cfg.request_bytes, o->cfg.mtu_bytes,
		o->cfg.pure_acks ? "true" : "false", host_huge(b->host) ? "true" : "false",
		(unsigned long long)b->units);
	if (!o->cold) {
		meter_summary(&b->meter, &median, &min, &max, &mean);
		printf(", \"cycles\": {\"median\": %.1f, \"min\": %.1f, \"max\": %.1f, "
		       "\"mean\": %.1f, \"chunks\": %u, \"disturbed\": %u}",
			median, min, max, mean, b->meter.chunks, b->meter.disturbed);
	}
	if (o->stages)
		print_stages();
	printf(", \"frames_in\": %llu, \"frames_out\": %llu, \"resets\": %llu, \"strange\": %llu, "
	       "\"drops\": %llu, \"drop\": %s%s%s}\n",
		(unsigned long long)peer->frames_out, (unsigned long long)peer->frames_in,
		(unsigned long long)peer->resets, (unsigned long long)peer->strange,
		(unsigned long long)drops, first ? "\"" : "", first ? first : "null",
		first ? "\"" : "");
}

int main(int argc, char **argv)
{
	struct options o = {.chunks = 401,
		.cfg = {.conns = 1000,
			.engines = 1,
			.batch = 32,
			.request_bytes = 64,
			.waiting = 100000,
			.mtu_bytes = 1500,
			.gso_max_bytes = 16384,
			.timestamps = true,
			.huge = true}};
	static struct bench b;

	parse(&o, argc, argv);
	complete(&o);
	b.cfg = o.cfg;
	b.host = host_new(&o.cfg);
	b.app = app_new(&o.cfg, b.host);
	b.peer = peer_new(&o.cfg, b.host);
	work_connect(&b);
	stages_calibrate();
	stages_on = o.stages;
	if (o.cold)
		work_cold(&b);
	else
		work_run(&b, o.units, o.chunks);
	print(&b, &o);
	fflush(stdout);
	_exit(0); /* nothing outlives the process, and closing a million connections takes time */
}
