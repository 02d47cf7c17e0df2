/* A script's events one after the other; see pkt_script.h for the language.
 *
 * Each event has a time, counted from the script's beginning or from the event before. The
 * world runs until then; a packet is put on the link, a call is made, code is evaluated. For a
 * packet that is expected the world runs until a frame has been sent, and the frame must be the
 * right one at the right time. Frames are kept in order, so one that nobody expected is found
 * when the next expected packet is compared, or at the end.
 */
#include "pkt_run.h"

#include "pkt_config.h"
#include "pkt_const.h"
#include "pkt_expr.h"
#include "pkt_state.h"

#include <engine/engine.h>
#include <libclient/mtcp_client.h>

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	REMOTE_PORT = 33000,
};

/* -- telling
 * ---------------------------------------------------------------------------------------- */

bool pkt_fail(const struct pkt_run *r, uint32_t line, const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%s:%u: ", r->script.path, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

void pkt_print_at(FILE *out, int64_t us, const struct pkt_packet *p)
{
	fprintf(out, "%.6f ", pkt_seconds(us));
	pkt_wire_print(out, p);
	fputc('\n', out);
}

static void trace_packet(const struct pkt_run *r, const struct pkt_packet *p)
{
	if (r->options->trace)
		pkt_print_at(stdout, pkt_script_us(r, r->world.now_us), p);
}

/* -- jobs
 * --------------------------------------------------------------------------------------------- */

static bool check_result(const struct pkt_run *r, const struct pkt_job *j)
{
	const struct pkt_call *c = j->call;

	if (j->why[0])
		return pkt_fail(r, j->line, "%s: %s", c->name, j->why);
	if (c->any_result || (c->result == j->result && c->err == j->err))
		return true;
	if (j->result < 0)
		return pkt_fail(r, j->line, "%s returned -1 %s, expected %" PRId64 " %s", c->name,
			pkt_errno_name(j->err), c->result, c->err ? pkt_errno_name(c->err) : "");
	return pkt_fail(r, j->line, "%s returned %" PRId64 ", expected %" PRId64 " %s", c->name,
		j->result, c->result, c->err ? pkt_errno_name(c->err) : "");
}

static bool check_end(const struct pkt_run *r, const struct pkt_job *j)
{
	int64_t off = (int64_t)(j->done_us - j->end_us);

	if (off >= -r->script.tolerance_us && off <= r->script.tolerance_us)
		return true;
	return pkt_fail(r, j->line, "%s returned at %.6f, expected %.6f", j->call->name,
		pkt_seconds(pkt_script_us(r, j->done_us)),
		pkt_seconds(pkt_script_us(r, j->end_us)));
}

/* Calls that have returned since. */
static bool reap_jobs(struct pkt_run *r)
{
	for (int i = 0; i < PKT_JOBS_MAX; i++) {
		struct pkt_job *j = &r->job[i];

		if (!j->call || !j->done)
			continue;
		if (!check_result(r, j) || (j->call->blocks && !check_end(r, j)))
			return false;
		j->call = NULL;
	}
	return true;
}

static struct pkt_job *free_job(struct pkt_run *r)
{
	for (int i = 0; i < PKT_JOBS_MAX; i++)
		if (!r->job[i].call)
			return &r->job[i];
	return NULL;
}

static bool run_call(struct pkt_run *r, const struct pkt_event *e)
{
	struct pkt_job *j = free_job(r);
	const struct pkt_call *c = e->call;

	if (!pkt_call_known(c->name))
		return pkt_fail(r, e->line, "there is no call '%s'", c->name);
	if (!j)
		return pkt_fail(r, e->line, "too many calls block at the same time");
	*j = (struct pkt_job){.call = c, .process = &r->process, .line = e->line};
	j->end_us = r->start_us + (uint64_t)c->end_us + (c->end_relative ? r->before_us : 0);
	j->task = pkt_task_start(pkt_call_run, j);
	pkt_world_settle(&r->world);
	if (r->options->trace)
		printf("%.6f %s() = %" PRId64 " %s\n",
			pkt_seconds(pkt_script_us(r, r->world.now_us)), c->name, j->result,
			j->done ? (j->err ? pkt_errno_name(j->err) : "") : "...");
	if (!j->done && !c->blocks)
		return pkt_fail(r, e->line, "%s blocks", c->name);
	return reap_jobs(r);
}

/* -- packets of the script
 * ------------------------------------------------------------------------------ */

static void run_inbound(struct pkt_run *r, const struct pkt_packet *p)
{
	static uint8_t frame[PKT_FRAME_MAX];
	struct pkt_map *m = &r->map[p->conn];
	bool syn = p->flags & 2, first = !m->used;

	if (first)
		m = pkt_map_new(r, p->conn, r->process.port,
			p->sport ? p->sport : (uint16_t)(REMOTE_PORT + p->conn));
	if (syn && (first || !m->remote_known)) {
		m->remote_first = p->seq;
		m->remote_known = true;
	} else if (syn && !p->has_ack && p->seq != m->remote_first) {
		m->local_may_change = true;
		r->pending_first[p->conn] = p->seq;
	}
	trace_packet(r, p);
	pkt_world_inject(&r->world, frame, pkt_wire_build(frame, p, m));
	pkt_world_settle(&r->world);
}

struct pkt_span pkt_span_of(const struct pkt_run *r, const struct pkt_event *e)
{
	int64_t base = e->time_kind == PKT_TIME_RELATIVE ? (int64_t)r->before_us : 0;
	struct pkt_span s = {base + e->time_us, base + (e->has_range ? e->range_us : e->time_us)};

	if (e->time_kind == PKT_TIME_ANY)
		s = (struct pkt_span){
			INT64_MIN / 2, (int64_t)r->before_us + 3600 * INT64_C(1000000)};
	return s;
}

/* -- code
 * ------------------------------------------------------------------------------------------------
 */

struct info_job {
	int fd, rc;
	struct tcp_info info;
	bool done;
};

static void get_info(void *arg)
{
	struct info_job *i = arg;
	socklen_t len = sizeof(i->info);

	i->rc = mtcp_getsockopt(i->fd, IPPROTO_TCP, TCP_INFO, &i->info, &len);
	i->done = true;
}

static bool run_code(struct pkt_run *r, const struct pkt_event *e)
{
	struct pkt_expr_env env = {
		.tcp = engine_tcp_counters(r->world.host.engine),
		.isn = r->map[0].isn,
		.isn_before = r->map[0].isn_before,
		.now_us = (uint64_t)pkt_script_us(r, r->world.now_us),
	};
	struct info_job job = {.fd = r->process.last_fd};
	char *text = NULL;
	size_t bytes = 0;
	FILE *out;
	bool ok;

	if (pkt_expr_needs_info(e->code) && job.fd >= 0) {
		pkt_task_start(get_info, &job);
		pkt_world_settle(&r->world);
		env.has_info = job.done && job.rc == 0;
		env.info = job.info;
	}
	out = open_memstream(&text, &bytes);
	ok = pkt_expr_run(e->code, &env, out);
	fclose(out);
	if (!ok)
		pkt_fail(r, e->line, "an assertion does not hold");
	fputs(text, ok ? stdout : stderr);
	free(text);
	return ok;
}

/* -- the whole
 * ---------------------------------------------------------------------------------------------- */

static bool run_event(struct pkt_run *r, const struct pkt_event *e)
{
	struct pkt_span s = pkt_span_of(r, e);
	int64_t late;

	r->event = e;
	if (e->kind == PKT_EVENT_PACKET && e->packet->out)
		return pkt_expect(r, e) && reap_jobs(r);
	if (e->time_kind == PKT_TIME_ANY)
		s.from_us = (int64_t)r->before_us;
	pkt_world_run_until(&r->world, r->start_us + (uint64_t)s.from_us);
	late = pkt_script_us(r, r->world.now_us) - s.from_us;
	if (late > r->script.tolerance_us)
		return pkt_fail(r, e->line, "%.6f s too late for this", pkt_seconds(late));
	if (!reap_jobs(r))
		return false;
	if (e->kind == PKT_EVENT_PACKET)
		run_inbound(r, e->packet);
	else if (e->kind == PKT_EVENT_CALL && !run_call(r, e))
		return false;
	else if (e->kind == PKT_EVENT_CODE && !run_code(r, e))
		return false;
	r->before_us = (uint64_t)s.from_us;
	return reap_jobs(r);
}

static bool no_job_left(struct pkt_run *r)
{
	for (int i = 0; i < PKT_JOBS_MAX; i++) {
		struct pkt_job *j = &r->job[i];

		if (!j->call)
			continue;
		pkt_world_run_until(&r->world, j->end_us + (uint64_t)r->script.tolerance_us);
		if (!j->done)
			return pkt_fail(r, j->line, "%s did not return", j->call->name);
	}
	return reap_jobs(r);
}

static void attach(void *arg)
{
	*(int *)arg = mtcp_attach(NULL) ? errno : 0;
}

static bool start(struct pkt_run *r)
{
	int rc, err = -1;

	pkt_world_init(&r->world, r->options->dir);
	r->process.family = r->script.family;
	r->world.host_cfg.ip6 = r->script.family != PKT_IP4;
	for (const struct pkt_setting *s = r->script.settings; s; s = s->next)
		pkt_config_set(&r->world, s->name, s->value);
	if (r->options->pcap && (rc = sim_wire_pcapng(&r->world.wire, r->options->pcap, "pkt")))
		return pkt_fail(r, 0, "%s: %s", r->options->pcap, strerror(-rc));
	rc = pkt_world_open(&r->world);
	if (rc)
		return pkt_fail(r, 0, "the host does not start: %s", strerror(-rc));
	pkt_task_start(attach, &err);
	pkt_world_settle(&r->world);
	if (err)
		return pkt_fail(r, 0, "cannot attach: %s", err > 0 ? strerror(err) : "no answer");
	r->start_us = r->world.now_us;
	return true;
}

static bool run_script(struct pkt_run *r)
{
	const struct pkt_event *e;

	if (!start(r))
		return false;
	for (e = r->script.events; e; e = e->next)
		if (!run_event(r, e))
			return false;
	return no_job_left(r) && (!r->event || pkt_expect_nothing(r));
}

int pkt_run(const char *path, const struct pkt_run_options *options)
{
	static struct pkt_run r;
	bool ok;

	r.options = options;
	r.process = (struct pkt_process){.last_fd = -1, .port = PKT_PORT};
	if (pkt_script_load(&r.script, path)) {
		fprintf(stderr, "%s\n", r.script.error);
		return -1;
	}
	ok = run_script(&r);
	pkt_world_close(&r.world);
	pkt_script_free(&r.script);
	return ok ? 0 : -1;
}
