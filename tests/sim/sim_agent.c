#include "sim_agent.h"

#include "sim_fail.h"

#include <engine/counters.h>
#include <engine/engine.h>
#include <tcp/cc.h>

#include <stdlib.h>
#include <string.h>

void sim_agent_init(struct sim_agent *a, enum sim_agent_kind kind, uint64_t seed)
{
	*a = (struct sim_agent){.kind = kind, .rng = {seed}};
	if (kind == SIM_AGENT_NONE)
		return;
	a->flow = calloc(SIM_AGENT_SLOTS, sizeof(*a->flow));
	SIM_CHECK(a->flow, "no memory");
}

void sim_agent_fini(struct sim_agent *a)
{
	free(a->flow);
}

static bool one_in(struct sim_agent *a, uint64_t n)
{
	return sim_rng_below(&a->rng, n) == 0;
}

/* -- what it is told ------------------------------------------------------------------------------
 */

static void check_report(const struct mtcp_agent_report *r)
{
	SIM_INVARIANT("agent-report",
		r->mss_bytes && r->cwnd_bytes && r->cwnd_bytes < 2u * TCP_CWND_MAX_BYTES &&
			r->ssthresh_bytes <= TCP_CWND_MAX_BYTES,
		"a report of an impossible window: %u, %u", r->cwnd_bytes, r->ssthresh_bytes);
	SIM_INVARIANT("agent-report",
		r->delivered_bytes <= (uint64_t)UINT32_MAX << 8 &&
			r->acked_bytes <= (uint64_t)UINT32_MAX << 8,
		"a report of absurd numbers");
	SIM_INVARIANT("agent-report",
		!r->rtt_us == !r->rtt_least_us && r->rtt_least_us <= r->rtt_us + UINT32_MAX / 2,
		"a report of impossible round trips");
}

static void see_close(struct sim_agent *a, struct sim_agent_flow *f, uint64_t number)
{
	SIM_INVARIANT(
		"agent-closed", f->number == number, "a connection was closed that was not open");
	f->number = 0;
	a->open--;
}

static void see_report(
	struct sim_agent *a, struct sim_agent_flow *f, const struct mtcp_agent_report *r, bool lost)
{
	check_report(r);
	if (r->events & MTCP_AGENT_NEW) {
		SIM_INVARIANT("agent-introduced", !f->number || (lost && f->number != r->flow),
			"a connection was introduced twice");
		SIM_INVARIANT(
			"agent-numbered", r->seq == 1, "its first report is number %u", r->seq);
		a->open += !f->number;
	} else {
		SIM_INVARIANT("agent-introduced", f->number == r->flow,
			"a report of a connection not introduced");
		SIM_INVARIANT("agent-numbered", r->seq == f->seq + 1, "report %u follows report %u",
			r->seq, f->seq);
	}
	*f = (struct sim_agent_flow){r->flow, r->seq};
}

static void see(struct sim_agent *a, struct engine *e, const struct mtcp_agent_report *r)
{
	uint32_t slot = mtcp_agent_slot(r->flow);

	SIM_CHECK(slot < SIM_AGENT_SLOTS && slot < engine_agent_slots(e), "slot %u", slot);
	SIM_CHECK(r->flow >> 32 && mtcp_agent_engine(r->flow) == 0, "an impossible flow");
	if (r->type == MTCP_AGENT_CLOSE)
		see_close(a, &a->flow[slot], r->flow);
	else
		see_report(a, &a->flow[slot], r, engine_counters(e)->agent_closes_lost > 0);
}

/* -- what it says ---------------------------------------------------------------------------------
 */

static struct mtcp_agent_order sober_order(const struct mtcp_agent_report *r)
{
	uint32_t window = r->cwnd_bytes;

	if (r->events & (MTCP_AGENT_LOSS | MTCP_AGENT_ECN | MTCP_AGENT_TIMEOUT))
		window = r->ssthresh_bytes;
	else if (r->inflight_bytes + r->acked_bytes >= window / 2)
		window += r->mss_bytes;
	return (struct mtcp_agent_order){
		.type = MTCP_AGENT_ORDER, .seq = r->seq, .flow = r->flow, .cwnd_bytes = window};
}

/* Mostly such that it comes through. Rates that would take a day are rare. */
static struct mtcp_agent_order mad_order(struct sim_agent *a, const struct mtcp_agent_report *r)
{
	struct mtcp_agent_order o = {
		.type = MTCP_AGENT_ORDER,
		.seq = r->seq,
		.flow = r->flow,
		.flags = (uint16_t)sim_rng_below(&a->rng, 2),
		.cwnd_bytes = (uint32_t)(sim_rng_next(&a->rng) >> sim_rng_range(&a->rng, 32, 63)),
		.pacing_rate = one_in(a, 2) ? 0 : sim_rng_log(&a->rng, 1 << 16, UINT64_MAX >> 1),
	};

	if (one_in(a, 100))
		o.pacing_rate = sim_rng_next(&a->rng) >> sim_rng_range(&a->rng, 0, 63);
	if (one_in(a, 8))
		o.seq += (uint32_t)sim_rng_below(&a->rng, 5) - 2;
	if (one_in(a, 8))
		o.flow ^= UINT64_C(1) << sim_rng_below(&a->rng, 64);
	if (one_in(a, 16))
		o.flow = sim_rng_next(&a->rng) >> sim_rng_below(&a->rng, 64);
	return o;
}

static unsigned int answer(struct sim_agent *a, struct engine *e, const struct mtcp_agent_report *r)
{
	struct mtcp_agent_order o = a->kind == SIM_AGENT_MAD ? mad_order(a, r) : sober_order(r);

	if (a->kind == SIM_AGENT_MUTE || r->type != MTCP_AGENT_REPORT)
		return 0;
	engine_agent_order(e, a->epochs, &o); /* or there is no room */
	return 1;
}

/* At once, or some turns later; what does not fit is never answered. */
static void answer_later(struct sim_agent *a, const struct mtcp_agent_report *r)
{
	if (a->waiting_count < SIM_AGENT_WAITING)
		a->waiting[a->waiting_count++] = *r;
}

static unsigned int answer_waiting(struct sim_agent *a, struct engine *e)
{
	unsigned int n = 0;

	if (!a->waiting_count || !one_in(a, 4))
		return 0;
	for (uint32_t i = 0; i < a->waiting_count; i++)
		n += answer(a, e, &a->waiting[i]);
	a->waiting_count = 0;
	return n;
}

/* -- its life -------------------------------------------------------------------------------------
 */

static void come_or_go(struct sim_agent *a, struct engine *e)
{
	a->attached = !a->attached;
	a->waiting_count = 0;
	a->open = 0;
	memset(a->flow, 0, SIM_AGENT_SLOTS * sizeof(*a->flow));
	engine_agent_set(e, a->attached ? ++a->epochs : 0);
}

static unsigned int read_reports(struct sim_agent *a, struct engine *e)
{
	struct mtcp_agent_report r[16];
	unsigned int n = 0, count;

	while ((count = engine_agent_reports(e, a->epochs, r, 16))) {
		for (unsigned int i = 0; i < count; i++) {
			see(a, e, &r[i]);
			if (one_in(a, 2))
				n += answer(a, e, &r[i]);
			else
				answer_later(a, &r[i]);
		}
	}
	return n;
}

unsigned int sim_agent_turn(struct sim_agent *a, struct engine *e)
{
	unsigned int n;

	if (a->kind == SIM_AGENT_NONE)
		return 0;
	if (one_in(a, a->attached ? 2000 : 50))
		come_or_go(a, e);
	if (a->kind == SIM_AGENT_ASLEEP && one_in(a, a->asleep ? 5000 : 100))
		a->asleep = !a->asleep;
	if (!a->attached || a->asleep)
		return 0;
	n = answer_waiting(a, e);
	return n + read_reports(a, e);
}

void sim_agent_check_over(struct sim_agent *a, struct engine *e)
{
	if (a->kind == SIM_AGENT_NONE || !a->attached)
		return;
	read_reports(a, e);
	SIM_INVARIANT("agent-closed", !a->open || engine_counters(e)->agent_closes_lost,
		"the agent was not told of the end of %u connections", a->open);
}
