/* `flow` and `listen` in the columns of ss -ti; the table of all views. */
#include "view.h"

#include <string.h>

long long view_int(const json_t *item, const char *key)
{
	return json_integer_value(json_object_get(item, key));
}

const char *view_text(const json_t *item, const char *key)
{
	const char *text = json_string_value(json_object_get(item, key));

	return text ? text : "";
}

/* "[::1]" of an IPv6 address, so that a port can follow; others as they are. */
static const char *bracketed(const char *addr, char text[64])
{
	if (!strchr(addr, ':'))
		return addr;
	snprintf(text, 64, "[%s]", addr);
	return text;
}

/* The common columns: State Recv-Q Send-Q Local Peer Process. Addresses are aligned at their
 * last colon, as ss does. */
static void socket_line(FILE *out, const json_t *item, long long recv_q, long long send_q)
{
	const char *process = view_text(item, "process");
	const char *remote = view_text(item, "remote");
	char rport[8] = "*", local_text[64], remote_text[64];

	if (remote[0])
		snprintf(rport, sizeof(rport), "%lld", view_int(item, "rport"));
	fprintf(out, "%-10s %-6lld %-6lld %20s:%-6lld %20s:%-6s", view_text(item, "state"), recv_q,
		send_q, bracketed(view_text(item, "local"), local_text), view_int(item, "lport"),
		remote[0] ? bracketed(remote, remote_text) : "*", rport);
	if (view_int(item, "session"))
		fprintf(out, " users:((\"%s\",pid=%lld,session=%lld))", process,
			view_int(item, "pid"), view_int(item, "session"));
	if (json_is_true(json_object_get(item, "orphan")))
		fputs(" orphan", out);
}

static void info_number(FILE *out, const json_t *item, const char *key)
{
	if (view_int(item, key))
		fprintf(out, " %s:%lld", key, view_int(item, key));
}

/* The second line of ss -ti: the same names with the same units (ms, segments) where ss has
 * them. */
static void flow_info(FILE *out, const json_t *item)
{
	long long mss = view_int(item, "mss"), ssthresh = view_int(item, "ssthresh_bytes");

	fputs("\t", out);
	if (view_text(item, "cc")[0])
		fprintf(out, " %s", view_text(item, "cc"));
	if (json_is_true(json_object_get(item, "ts")))
		fputs(" ts", out);
	if (json_is_true(json_object_get(item, "sack")))
		fputs(" sack", out);
	if (json_is_true(json_object_get(item, "ecn")))
		fputs(" ecn", out);
	if (view_int(item, "snd_wscale") || view_int(item, "rcv_wscale"))
		fprintf(out, " wscale:%lld,%lld", view_int(item, "snd_wscale"),
			view_int(item, "rcv_wscale"));
	fprintf(out, " rto:%g", (double)view_int(item, "rto_us") / 1000);
	if (view_int(item, "rtt_us"))
		fprintf(out, " rtt:%g/%g", (double)view_int(item, "rtt_us") / 1000,
			(double)view_int(item, "rttvar_us") / 1000);
	fprintf(out, " mss:%lld", mss);
	if (mss)
		fprintf(out, " cwnd:%lld", view_int(item, "cwnd_bytes") / mss);
	if (mss && ssthresh && ssthresh < 1 << 30)
		fprintf(out, " ssthresh:%lld", ssthresh / mss);
	info_number(out, item, "bytes_acked");
	info_number(out, item, "bytes_received");
	info_number(out, item, "segs_out");
	info_number(out, item, "segs_in");
	info_number(out, item, "unacked");
	if (view_int(item, "retrans"))
		fprintf(out, " retrans:%lld/%lld", view_int(item, "retrans_now"),
			view_int(item, "retrans"));
	info_number(out, item, "lost");
	info_number(out, item, "sacked");
	info_number(out, item, "dsack_dups");
	info_number(out, item, "reord_seen");
	info_number(out, item, "rcv_ooopack");
	info_number(out, item, "snd_wnd");
	info_number(out, item, "rcv_wnd");
	info_number(out, item, "chunks");
	if (json_object_get(item, "timer_us"))
		fprintf(out, " timer:%.15gms", (double)view_int(item, "timer_us") / 1000);
	fputc('\n', out);
}

static void view_flow(FILE *out, const json_t *item, const struct options *o)
{
	socket_line(out, item, view_int(item, "recv_q"), view_int(item, "send_q"));
	fputc('\n', out);
	if (!o->brief && json_object_get(item, "mss"))
		flow_info(out, item);
}

static void view_listen(FILE *out, const json_t *item, const struct options *o)
{
	(void)o;
	socket_line(out, item, view_int(item, "pending"), view_int(item, "backlog"));
	if (view_int(item, "half_open"))
		fprintf(out, " half-open:%lld", view_int(item, "half_open"));
	fputc('\n', out);
}

static const struct merge_rule merge_listen = {
	.keys = {"local", "lport", "session"},
	.sums = {"pending", "half_open"},
};

static const struct merge_rule merge_client = {
	.keys = {"session"},
	.sums = {"conns", "orphans", "chunks_used", "slabs_free", "slots", "events", "doorbells"},
};

static const char socket_header[] = "State      Recv-Q Send-Q        Local Address:Port   "
				    "        Peer Address:Port   Process\n";

static const struct view views[] = {
	{"flow", socket_header, view_flow, NULL},
	{"listen", socket_header, view_listen, &merge_listen},
	{"client", VIEW_CLIENT_HEADER, view_client, &merge_client},
	{"engine", VIEW_ENGINE_HEADER, view_engine, NULL},
	{"port", NULL, view_port, NULL},
	{"neigh", NULL, view_neigh, NULL},
	{"counters", NULL, view_counter, NULL},
	{"agent", NULL, view_agent, NULL},
	{"version", NULL, view_version, NULL},
};

const struct view *view_find(const char *command)
{
	for (size_t i = 0; i < sizeof(views) / sizeof(*views); i++) {
		if (strcmp(views[i].command, command) == 0)
			return &views[i];
	}
	return NULL;
}
