/* A script under way; shared by the files that run it. */
#ifndef PKT_STATE_H
#define PKT_STATE_H

#include "pkt_call.h"
#include "pkt_run.h"
#include "pkt_wire.h"
#include "pkt_world.h"

enum {
	PKT_JOBS_MAX = PKT_TASKS_MAX,
};

struct pkt_run {
	struct pkt_world world;
	struct pkt_script script;
	const struct pkt_run_options *options;
	struct pkt_process process;
	struct pkt_map map[PKT_CONNS_MAX];
	/* Of an incarnation on its way: the script's initial number. */
	uint32_t pending_first[PKT_CONNS_MAX];
	struct pkt_job job[PKT_JOBS_MAX];
	uint64_t start_us;  /* live time of the script's 0 */
	uint64_t before_us; /* script time of the event before */
	const struct pkt_event *event;
};

/* "file:line: ..." to stderr; false. */
bool pkt_fail(const struct pkt_run *r, uint32_t line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Prints a packet with its time. */
void pkt_print_at(FILE *out, int64_t us, const struct pkt_packet *p);

static inline double pkt_seconds(int64_t us)
{
	return (double)us / 1e6;
}
static inline int64_t pkt_script_us(const struct pkt_run *r, uint64_t live_us)
{
	return (int64_t)(live_us - r->start_us);
}

/* When an event was to happen, in script time. */
struct pkt_span {
	int64_t from_us, to_us;
};
struct pkt_span pkt_span_of(const struct pkt_run *r, const struct pkt_event *e);

/* pkt_expect.c: waits for a frame and compares it. */
bool pkt_expect(struct pkt_run *r, const struct pkt_event *e);
/* Whether the host has sent nothing more. */
bool pkt_expect_nothing(struct pkt_run *r);
/* A connection's first packet: its numbers. */
struct pkt_map *pkt_map_new(struct pkt_run *r, uint8_t conn, uint16_t lport, uint16_t rport);

#endif
