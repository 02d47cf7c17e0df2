/* Stages: which part of a turn the cycles go to.
 *
 * The linker hands calls from one object file of the engine to another to the __wrap_ functions
 * here, which note the time at the border and go on: in bench-engine-stages alone, which is not
 * optimized across files, as the daemon and bench-engine are. So stages sum up to more than what
 * bench-engine reports as the total. Each border's own cost is measured and taken off the stage
 * that bears it.
 */
#include "alone.h"

#include <engine/engine.h>
#include <nic/nic.h>
#include <tcp/table.h>

const char *const stage_name[STAGE_COUNT] = {
	[STAGE_NONE] = "turn",
	[STAGE_RX] = "rx",
	[STAGE_LOOKUP] = "lookup",
	[STAGE_TCP_IN] = "tcp_in",
	[STAGE_SUBMIT] = "submit",
	[STAGE_TIMERS] = "timers",
	[STAGE_TCP_OUT] = "tcp_out",
	[STAGE_TX] = "tx",
	[STAGE_PUBLISH] = "publish",
	[STAGE_LIBRARY] = "library",
};

bool stages_on;

static struct {
	enum stage now;
	uint64_t last_tsc;
	uint64_t cycles[STAGE_COUNT];  /* of the present chunk */
	uint64_t borders[STAGE_COUNT]; /* crossed out of the stage, in the present chunk */
	double sum[2][STAGE_COUNT];    /* of chunks that count, and of those that do not */
	double units[2];
	double border_cycles;
} st;

/* The stage that was on, for stage_leave(). */
enum stage stage_enter(enum stage s)
{
	enum stage before = st.now;
	uint64_t now = __rdtsc();

	st.cycles[before] += now - st.last_tsc;
	st.borders[before]++;
	st.last_tsc = now;
	st.now = s;
	return before;
}

void stage_leave(enum stage before)
{
	stage_enter(before);
}

void stages_reset(void)
{
	double border = st.border_cycles;

	memset(&st, 0, sizeof(st));
	st.border_cycles = border;
}

void stages_begin(void)
{
	if (!stages_on)
		return;
	st.now = STAGE_NONE;
	st.last_tsc = __rdtsc();
}

void stages_end(void)
{
	if (stages_on)
		stage_enter(STAGE_NONE);
}

void stages_calibrate(void)
{
	enum { N = 100000 };
	double best = 1e9;

	for (int round = 0; round < 5; round++) {
		uint64_t from = __rdtsc();
		double each;

		for (int i = 0; i < N; i++)
			stage_leave(stage_enter(STAGE_RX));
		each = (double)(__rdtsc() - from) / (2 * N);
		best = each < best ? each : best;
	}
	st.border_cycles = best;
	stages_reset();
}

void stages_chunk(bool keep, double units)
{
	for (int i = 0; i < STAGE_COUNT; i++)
		st.sum[!keep][i] += (double)st.cycles[i] - (double)st.borders[i] * st.border_cycles;
	st.units[!keep] += units;
	memset(st.cycles, 0, sizeof(st.cycles));
	memset(st.borders, 0, sizeof(st.borders));
}

/* If no chunk counts, of the others: see meter_summary(). On a busy machine a stage may come out
 * below what its borders were calibrated to cost; 0 is only a stage that was never entered. */
void stages_get(double cycles[STAGE_COUNT])
{
	int which = st.units[0] == 0;

	for (int i = 0; i < STAGE_COUNT; i++)
		cycles[i] = st.units[which] > 0 ? st.sum[which][i] / st.units[which] : 0;
}

/* -- the borders ------------------------------------------------------------------------------- */

#ifdef ALONE_STAGES
const bool stages_compiled = true;

struct engine;
struct tcp_out;

#define WRAP(which, result, name, params, args)                                                    \
	result __real_##name params;                                                               \
	result __wrap_##name params;                                                               \
	result __wrap_##name params                                                                \
	{                                                                                          \
		enum stage before;                                                                 \
		result r;                                                                          \
                                                                                                   \
		if (!stages_on)                                                                    \
			return __real_##name args;                                                 \
		before = stage_enter(which);                                                       \
		r = __real_##name args;                                                            \
		stage_leave(before);                                                               \
		return r;                                                                          \
	}

#define WRAP_VOID(which, name, params, args)                                                       \
	void __real_##name params;                                                                 \
	void __wrap_##name params;                                                                 \
	void __wrap_##name params                                                                  \
	{                                                                                          \
		enum stage before;                                                                 \
                                                                                                   \
		if (!stages_on) {                                                                  \
			__real_##name args;                                                        \
			return;                                                                    \
		}                                                                                  \
		before = stage_enter(which);                                                       \
		__real_##name args;                                                                \
		stage_leave(before);                                                               \
	}

WRAP(STAGE_RX, unsigned int, engine_rx, (struct engine * e), (e))
WRAP_VOID(STAGE_TCP_IN, flow_segment,
	(struct engine * e, const struct tcp_segment *seg, uint64_t hash, tcp_ref guess),
	(e, seg, hash, guess))
WRAP(STAGE_LOOKUP, uint64_t, tcp_table_hash,
	(const struct tcp_table *t, const struct net_tuple *key), (t, key))
WRAP(STAGE_LOOKUP, tcp_ref, tcp_table_lookup,
	(const struct tcp_table *t, uint64_t hash, const struct net_tuple *key), (t, hash, key))
WRAP(STAGE_SUBMIT, unsigned int, gate_poll, (struct engine * e), (e))
WRAP(STAGE_TIMERS, unsigned int, flow_timers, (struct engine * e), (e))
WRAP(STAGE_TCP_OUT, unsigned int, engine_output, (struct engine * e), (e))
WRAP_VOID(STAGE_TCP_OUT, engine_tx_reply, (struct engine * e, const struct tcp_out *out), (e, out))
WRAP(STAGE_TX, int, nic_tx, (struct nic_port * port, uint16_t queue, const struct nic_tx_frame *f),
	(port, queue, f))
WRAP_VOID(STAGE_TX, nic_tx_flush, (struct nic_port * port, uint16_t queue), (port, queue))
WRAP(STAGE_PUBLISH, unsigned int, gate_publish, (struct engine * e), (e))
#else
const bool stages_compiled;
#endif
