/* Views that have no counterpart in ss. */
#include "view.h"

/* 4096 -> "4.0K", as ls -h: at most 6 characters. */
static const char *human(long long bytes, char text[16])
{
	static const char units[] = "BKMGTP";
	double v = (double)bytes;
	unsigned int u = 0;

	while (v >= 1024 && u + 1 < sizeof(units) - 1) {
		v /= 1024;
		u++;
	}
	snprintf(text, 16, u && v < 100 ? "%.1f%c" : "%.0f%c", v, units[u]);
	return text;
}

void view_client(FILE *out, const json_t *item, const struct options *o)
{
	char up[16], down[16];

	(void)o;
	fprintf(out, "%10lld %7lld %6lld %-8s %6lld %7lld %10s %10s %6lld %6lld %8lld %s%s\n",
		view_int(item, "session"), view_int(item, "pid"), view_int(item, "uid"),
		view_text(item, "state"), view_int(item, "conns"), view_int(item, "orphans"),
		human(view_int(item, "up_bytes"), up), human(view_int(item, "down_bytes"), down),
		view_int(item, "names"), view_int(item, "listeners"), view_int(item, "doorbells"),
		view_text(item, "process"),
		json_is_true(json_object_get(item, "polled")) ? " (polled: floods its doorbell)"
							      : "");
}

void view_engine(FILE *out, const json_t *item, const struct options *o)
{
	long long turns = view_int(item, "turns");
	char core[16] = "any";

	(void)o;
	if (view_int(item, "core") >= 0)
		snprintf(core, sizeof(core), "%lld", view_int(item, "core"));
	fprintf(out,
		"%6lld %4s %8lld %9lld %9lld %8lld %7lld %7lld %6lld %8lld %12lld %8.1f %8lld\n",
		view_int(item, "engine"), core, view_int(item, "conns"),
		view_int(item, "half_open"), view_int(item, "time_wait"), view_int(item, "sockets"),
		view_int(item, "orphans"), view_int(item, "sessions"), view_int(item, "listeners"),
		view_int(item, "chunks_used"), turns,
		turns ? 100.0 * (double)view_int(item, "busy_turns") / (double)turns : 0.0,
		view_int(item, "sleeps"));
}

static void numbers(
	FILE *out, const json_t *item, const char *title, const char *const *keys, size_t prefix)
{
	fprintf(out, "    %-7s", title);
	for (; *keys; keys++)
		fprintf(out, " %s %lld", *keys + prefix, view_int(item, *keys));
	fputc('\n', out);
}

static void port_addresses(FILE *out, const json_t *item)
{
	const json_t *list = json_object_get(item, "addresses");

	for (size_t i = 0; i < json_array_size(list); i++)
		fprintf(out, "%s %s", i ? "," : "", json_string_value(json_array_get(list, i)));
	if (view_text(item, "gateway")[0] || view_text(item, "gateway6")[0])
		fprintf(out, "\n    gateway %s %s", view_text(item, "gateway"),
			view_text(item, "gateway6"));
	fputc('\n', out);
}

void view_port(FILE *out, const json_t *item, const struct options *o)
{
	static const char *const rx[] = {"rx_packets", "rx_bytes", "rx_missed", "rx_errors",
		"rx_no_mbuf", "rx_too_long", "rx_bad_checksum", "rx_merged", NULL};
	static const char *const tx[] = {"tx_packets", "tx_bytes", "tx_errors", "tx_no_mbuf",
		"tx_queue_full", "tx_bad", "tx_tso", "tx_cut", NULL};
	static const char *const mbufs[] = {"mbufs_total", "mbufs_free", "mbufs_ring", NULL};
	static const char *const flags[] = {"rx_checksum", "tx_checksum", "rss", NULL};
	bool none = true;

	(void)o;
	fprintf(out, "%s: mac %s mtu %lld", view_text(item, "port"), view_text(item, "mac"),
		view_int(item, "mtu"));
	if (view_int(item, "vlan"))
		fprintf(out, " vlan %lld", view_int(item, "vlan"));
	fputs("\n    address", out);
	port_addresses(out, item);
	numbers(out, item, "rx", rx, 3);
	numbers(out, item, "tx", tx, 3);
	numbers(out, item, "mbufs", mbufs, 6);
	fputs("    offload", out);
	for (const char *const *f = flags; *f; f++) {
		if (json_is_true(json_object_get(item, *f))) {
			fprintf(out, " %s", *f);
			none = false;
		}
	}
	if (view_int(item, "tso_max_bytes")) {
		fprintf(out, " tso %lld", view_int(item, "tso_max_bytes"));
		none = false;
	}
	fputs(none ? " none\n" : "\n", out);
}

/* As `ip -s neigh` does: ages in seconds. */
void view_neigh(FILE *out, const json_t *item, const struct options *o)
{
	(void)o;
	fprintf(out, "%s lladdr %s", view_text(item, "address"), view_text(item, "mac"));
	if (json_object_get(item, "used_us"))
		fprintf(out, " used %lld", view_int(item, "used_us") / 1000000);
	fprintf(out, " changed %lld %s\n", view_int(item, "changed_us") / 1000000,
		view_text(item, "state"));
}

void view_counter(FILE *out, const json_t *item, const struct options *o)
{
	if (!view_int(item, "value") && !o->all)
		return;
	fprintf(out, "%-6s %-28s %12lld", view_text(item, "group"), view_text(item, "name"),
		view_int(item, "value"));
	if (o->verbose)
		fprintf(out, "  %s", view_text(item, "help"));
	fputc('\n', out);
}

void view_agent(FILE *out, const json_t *item, const struct options *o)
{
	(void)o;
	fprintf(out, "%s: ", view_text(item, "agent"));
	if (!json_is_true(json_object_get(item, "attached")))
		fputs("no agent is attached, CUBIC stands in\n", out);
	else
		fprintf(out, "pid %lld, uid %lld, attached %lld s, %lld reports, %lld orders\n",
			view_int(item, "pid"), view_int(item, "uid"),
			view_int(item, "age_us") / 1000000, view_int(item, "reports"),
			view_int(item, "orders"));
}

void view_version(FILE *out, const json_t *item, const struct options *o)
{
	(void)o;
	fprintf(out, "mtcpd %s, protocol %lld, pid %lld, up %lld s\n", view_text(item, "version"),
		view_int(item, "protocol"), view_int(item, "pid"),
		view_int(item, "uptime_us") / 1000000);
	fprintf(out, "%lld engines, %lld clients, %lld of %lld descriptors, userfaultfd %s\n",
		view_int(item, "engines"), view_int(item, "sessions"), view_int(item, "fds_used"),
		view_int(item, "fds_max"),
		json_is_true(json_object_get(item, "userfaultfd")) ? "yes" : "no");
}
