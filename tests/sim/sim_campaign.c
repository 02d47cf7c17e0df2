#include "sim_campaign.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	JOBS_MAX = 256,
	STATS = sizeof(struct sim_link_stats) / sizeof(uint64_t),
	SEED_CPU_S = 120, /* the slowest takes one, and some more under a sanitizer */
};

struct job {
	pid_t pid; /* 0: none */
	_Atomic uint64_t seed;
};

/* What the processes share. */
struct shared {
	_Atomic uint64_t next; /* seed that nobody has taken */
	_Atomic uint64_t virtual_us;
	_Atomic uint64_t link[STATS]; /* a struct sim_link_stats */
	struct job job[JOBS_MAX];
};

struct run {
	const struct sim_campaign *c;
	struct shared *shared;
	uint32_t failed;
	struct timespec start;
};

/* -- processes ------------------------------------------------------------------------------------
 */

/* A seed that never ends is ended, by what it costs: others may want the machine, too. */
static void limit_cpu(void)
{
	const struct itimerval limit = {.it_value = {.tv_sec = SEED_CPU_S}};

	setitimer(ITIMER_PROF, &limit, NULL);
}

static void add(struct shared *s, const struct sim_scenario_result *result)
{
	uint64_t link[STATS];

	memcpy(link, &result->link, sizeof(link));
	for (int i = 0; i < STATS; i++)
		s->link[i] += link[i];
	s->virtual_us += result->virtual_us;
}

_Noreturn static void work(struct run *r, struct job *job)
{
	struct sim_scenario_result result;
	uint64_t seed;

	while ((seed = atomic_fetch_add(&r->shared->next, 1)) <= r->c->last) {
		job->seed = seed;
		limit_cpu();
		sim_scenario_run(seed, &r->c->options, &result);
		add(r->shared, &result);
	}
	exit(0); /* and not _exit(): what counts coverage writes its counts now */
}

static pid_t must_fork(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	return pid;
}

static void start(struct run *r, struct job *job)
{
	pid_t pid = must_fork();

	if (!pid)
		work(r, job);
	job->pid = pid;
}

static struct job *job_of(struct run *r, pid_t pid)
{
	for (uint32_t i = 0; i < r->c->jobs; i++)
		if (r->shared->job[i].pid == pid)
			return &r->shared->job[i];
	return NULL;
}

/* -- failures -------------------------------------------------------------------------------------
 */

/* The seed once more, alone, its frames to a file and its words to nowhere. */
static bool fails_again(uint64_t seed, const char *path)
{
	struct sim_scenario_options options = {.pcap = path};
	struct sim_scenario_result result;
	int status;
	pid_t pid = must_fork();

	if (!pid) {
		if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))
			_exit(2);
		limit_cpu();
		sim_scenario_run(seed, &options, &result);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && status != 0;
}

static const char *why(int status)
{
	if (!WIFSIGNALED(status))
		return "sanitizer";
	return WTERMSIG(status) == SIGPROF ? "does not end" : strsignal(WTERMSIG(status));
}

static void report(struct run *r, uint64_t seed, int status)
{
	char path[PATH_MAX];

	r->failed++;
	printf("seed %llu failed (%s); again: %s --seeds %llu --trace\n", (unsigned long long)seed,
		why(status), r->c->program, (unsigned long long)seed);
	if (!r->c->keep)
		return;
	snprintf(path, sizeof(path), "%s/seed-%llu.pcapng", r->c->keep, (unsigned long long)seed);
	if (!fails_again(seed, path))
		printf("seed %llu does not fail alone\n", (unsigned long long)seed);
	printf("seed %llu: its frames are in %s\n", (unsigned long long)seed, path);
}

/* Waits for one process to end, and starts another in its place if there is more to do. */
static void reap(struct run *r)
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);
	struct job *job = pid > 0 ? job_of(r, pid) : NULL;

	if (!job)
		return;
	job->pid = 0;
	if (status == 0)
		return;
	report(r, job->seed, status);
	if (r->failed >= r->c->failures_max)
		r->shared->next = r->c->last + 1; /* who is at it ends his seed */
	if (r->shared->next <= r->c->last)
		start(r, job);
}

static bool is_running(const struct run *r)
{
	for (uint32_t i = 0; i < r->c->jobs; i++)
		if (r->shared->job[i].pid)
			return true;
	return false;
}

/* -- the sum --------------------------------------------------------------------------------------
 */

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double elapsed_s(const struct run *r)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - r->start.tv_sec) +
	       (double)(now.tv_nsec - r->start.tv_nsec) / 1e9;
}

static void print_link(const struct run *r)
{
	struct sim_link_stats s;
	uint64_t link[STATS];

	for (int i = 0; i < STATS; i++)
		link[i] = r->shared->link[i];
	memcpy(&s, link, sizeof(s));
	printf("%llu frames: %llu lost, %llu overflowed, %llu too long, %llu duplicated, "
	       "%llu reordered, %llu corrupted, %llu marked\n",
		(unsigned long long)s.sent, (unsigned long long)s.lost,
		(unsigned long long)s.overflowed, (unsigned long long)s.too_big,
		(unsigned long long)s.duplicated, (unsigned long long)s.reordered,
		(unsigned long long)s.corrupted, (unsigned long long)s.marked);
}

/* By the time of a core, not of the wall: a machine with other work is no slower simulator. */
static bool is_fast(const struct run *r)
{
	double virtual_s = (double)r->shared->virtual_us / 1e6;
	double speed = virtual_s / (cpu_s() + 0.001);

	printf("%.0f virtual s in %.1f s of a core: %.0f times real time\n", virtual_s, cpu_s(),
		speed);
	if (speed >= r->c->speed_min)
		return true;
	printf("too slow: %u times it should be\n", r->c->speed_min);
	return false;
}

int sim_campaign_run(const struct sim_campaign *c)
{
	struct run r = {.c = c};
	bool fast;

	if (c->jobs == 0 || c->jobs > JOBS_MAX)
		return 2;
	r.shared = mmap(
		NULL, sizeof(*r.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r.shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &r.start);
	r.shared->next = c->first;
	for (uint32_t i = 0; i < c->jobs; i++)
		start(&r, &r.shared->job[i]);
	while (is_running(&r))
		reap(&r);
	print_link(&r);
	fast = is_fast(&r);
	printf("%llu seeds, %u failed, %.0f s\n", (unsigned long long)(c->last - c->first + 1),
		r.failed, elapsed_s(&r));
	return r.failed || !fast;
}
