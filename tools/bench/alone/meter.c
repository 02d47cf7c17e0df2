/* Figures of one measurement: cycles by chunks, instructions by callgrind.
 *
 * A measurement is cut into chunks of about a millisecond. Those in which the thread lost its core
 * are left out, and the median of the others is robust against what is left of others who use
 * the machine. The requests to callgrind are a few no-ops when it is not there.
 */
#include "alone.h"

#include <stdlib.h>
#include <sys/resource.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_TOGGLE_COLLECT
#define CALLGRIND_DUMP_STATS_AT(label) (void)(label)
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#endif

void meter_reset(struct meter *m)
{
	m->chunks = m->disturbed = 0;
	m->sum_disturbed = 0;
}

static uint64_t preempted(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) ? 0 : (uint64_t)u.ru_nivcsw;
}

void meter_begin(struct meter *m)
{
	m->preempted = preempted();
	m->cycles = 0;
}

void meter_chunk(struct meter *m, double units)
{
	bool keep = callgrind_running() || preempted() == m->preempted;

	stages_chunk(keep, units);
	if (!keep) {
		m->disturbed++;
		m->sum_disturbed += (double)m->cycles / units;
	} else if (m->chunks < METER_CHUNKS_MAX) {
		m->chunk[m->chunks++] = (double)m->cycles / units;
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

void meter_summary(struct meter *m, double *median, double *min, double *max, double *mean)
{
	double sum = 0;

	if (!m->chunks && m->disturbed) /* a very busy machine: better than nothing */
		m->chunk[m->chunks++] = m->sum_disturbed / m->disturbed;
	if (!m->chunks)
		alone_fail("nothing was measured");
	qsort(m->chunk, m->chunks, sizeof(m->chunk[0]), by_value);
	for (uint32_t i = 0; i < m->chunks; i++)
		sum += m->chunk[i];
	*median = m->chunk[m->chunks / 2];
	*min = m->chunk[0];
	*max = m->chunk[m->chunks - 1];
	*mean = sum / m->chunks;
}

bool callgrind_running(void)
{
	return RUNNING_ON_VALGRIND;
}

void callgrind_begin(void)
{
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
}

void callgrind_toggle(void)
{
	CALLGRIND_TOGGLE_COLLECT;
}

void callgrind_end(const char *label)
{
	CALLGRIND_DUMP_STATS_AT(label);
	CALLGRIND_STOP_INSTRUMENTATION;
}
