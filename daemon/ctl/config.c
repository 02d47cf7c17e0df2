/* Theory of operation: config.h.
 *
 * inih reads the lines; the reader between it and the file counts them and turns a line that
 * inih would skip or cut silently into an error. A key may stand once in a file.
 */
#include "config.h"

#include "options.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <net/route.h>
#include <proto/layout.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <tcp/cc.h>

enum {
	CONFIG_LINE_BYTES = 1024, /* of an error message */
	CONFIG_FILES_MAX = 256,
	CONFIG_OPTIONS_MAX = 128,
};

/* One file while it is read. */
struct reader {
	struct config *cfg;
	FILE *stream;
	const char *file;
	unsigned int line;
	unsigned int seen_line[CONFIG_OPTIONS_MAX]; /* where each key stood, 0: not yet */
	config_report_fn report;
	void *report_arg;
	unsigned int errors;
};

void config_default(struct config *c)
{
	memset(c, 0, sizeof(*c));
	tcp_config_default(&c->tcp);
	c->port.numa_node = -1;
	for (size_t i = 0; i < option_count; i++) {
		if (option_table[i].value != NULL &&
			option_parse(&option_table[i], c, option_table[i].value) < 0)
			abort(); /* the table contradicts itself; test_config looks at each row */
	}
}

static void complain(struct reader *r, unsigned int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void complain(struct reader *r, unsigned int line, const char *fmt, ...)
{
	char text[CONFIG_LINE_BYTES];
	va_list ap;
	int len;

	len = line ? snprintf(text, sizeof(text), "%s:%u: ", r->file, line)
		   : snprintf(text, sizeof(text), "%s: ", r->file);
	if (len < 0 || (size_t)len >= sizeof(text))
		len = 0;
	va_start(ap, fmt);
	vsnprintf(text + len, sizeof(text) - (size_t)len, fmt, ap);
	va_end(ap);
	r->errors++;
	r->report(r->report_arg, text);
}

static void complain_unknown(struct reader *r, const char *section, const char *key)
{
	char known[CONFIG_LINE_BYTES / 2] = "";
	size_t len = 0;
	const char *last = "";
	bool is_section = option_section_exists(section);

	for (size_t i = 0; i < option_count && len < sizeof(known); i++) {
		const struct option *o = &option_table[i];
		const char *word = is_section ? o->key : o->section;

		if (is_section ? strcmp(o->section, section) != 0 : strcmp(o->section, last) == 0)
			continue;
		last = o->section;
		len += (size_t)snprintf(
			known + len, sizeof(known) - len, "%s%s", len ? ", " : "", word);
	}
	if (is_section)
		complain(r, r->line, "[%s] has no key '%s'; there are: %s", section, key, known);
	else
		complain(
			r, r->line, "no section [%s] for '%s'; there are: %s", section, key, known);
}

static int on_value(void *arg, const char *section, const char *key, const char *value)
{
	struct reader *r = arg;
	const struct option *o = option_find(section, key);
	char accepted[CONFIG_LINE_BYTES / 2];
	unsigned int *seen;

	if (o == NULL) {
		complain_unknown(r, section, key);
		return 1;
	}
	seen = &r->seen_line[o - option_table];
	if (*seen != 0) {
		complain(r, r->line, "[%s] %s was already given in line %u", section, key, *seen);
		return 1;
	}
	*seen = r->line;
	if (option_parse(o, r->cfg, value) < 0)
		complain(r, r->line, "[%s] %s = '%s': expected %s", section, key, value,
			option_accepted(o, accepted, sizeof(accepted)));
	return 1;
}

/* What inih understands: nothing, a comment, [section] or key = value. */
static bool line_is_sound(const char *line)
{
	line += strspn(line, " \t\r\n");
	if (*line == '\0' || *line == ';' || *line == '#')
		return true;
	if (*line == '[')
		return strchr(line, ']') != NULL;
	return *line != '=' && *line != ':' && strpbrk(line, "=:") != NULL;
}

static char *read_line(char *str, int num, void *stream)
{
	struct reader *r = stream;
	size_t len;
	int c;

	if (fgets(str, num, r->stream) == NULL)
		return NULL;
	r->line++;
	len = strlen(str);
	if (len + 1 == (size_t)num && str[len - 1] != '\n') {
		while ((c = fgetc(r->stream)) != EOF && c != '\n')
			;
		complain(r, r->line, "longer than %d characters", num - 2);
		str[0] = '\0';
	} else if (!line_is_sound(str)) {
		complain(r, r->line, "expected [section], key = value or a comment");
		str[0] = '\0';
	}
	/* A blank in front would continue the line before: not in this format. */
	memmove(str, str + strspn(str, " \t"), strlen(str + strspn(str, " \t")) + 1);
	return str;
}

static unsigned int load_file(
	struct config *c, const char *file, config_report_fn report, void *report_arg)
{
	struct reader r = {.cfg = c, .file = file, .report = report, .report_arg = report_arg};

	r.stream = fopen(file, "re");
	if (r.stream == NULL) {
		complain(&r, 0, "%s", strerror(errno));
		return r.errors;
	}
	ini_parse_stream(read_line, &r, on_value, &r);
	if (ferror(r.stream))
		complain(&r, r.line, "read error");
	fclose(r.stream);
	return r.errors;
}

static int is_conf(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return d->d_name[0] != '.' && len > 5 && strcmp(d->d_name + len - 5, ".conf") == 0;
}

/* DIR/conf.d/ *.conf, DIR being where `file` is. None is no error. */
static unsigned int load_directory(
	struct config *c, const char *file, config_report_fn report, void *report_arg)
{
	const char *slash = strrchr(file, '/');
	int dir_len = slash ? (int)(slash - file) : 1;
	struct dirent **entries = NULL;
	char *dir = NULL;
	unsigned int errors = 0;
	int count;

	if (asprintf(&dir, "%.*s/conf.d", dir_len, slash ? file : ".") < 0)
		return 1;
	count = scandir(dir, &entries, is_conf, alphasort);
	for (int i = 0; i < count; i++) {
		char *path = NULL;

		if (asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0)
			errors++;
		else
			errors += load_file(c, path, report, report_arg);
		free(path);
		free(entries[i]);
	}
	free(entries);
	free(dir);
	return errors;
}

static int add_address(struct net_iface *iface, const struct config_addr *a)
{
	if (net_addr_is_ip4(&a->addr))
		return net_iface_add(iface, net_addr_to_ip4(&a->addr), a->prefix_len);
	return net_iface_add6(iface, &a->addr, a->prefix_len, NET_ADDR6_PREFERRED);
}

int config_iface(const struct config *c, struct net_iface *iface)
{
	int err = 0;

	memset(iface, 0, sizeof(*iface));
	iface->mtu_bytes = c->port.mtu_bytes;
	iface->vlan_id = c->port.vlan_id;
	for (uint32_t i = 0; err == 0 && i < c->addr_count; i++)
		err = add_address(iface, &c->addrs[i]);
	if (err == 0 && !net_addr_is_any(&c->gateway))
		err = net_iface_set_gateway(iface, net_addr_to_ip4(&c->gateway));
	if (err == 0 && !net_addr_is_any(&c->gateway6))
		err = net_iface_set_gateway6(iface, &c->gateway6);
	return err;
}

static void check_addresses(struct reader *r)
{
	struct net_iface iface;

	if (r->cfg->addr_count == 0 && !r->cfg->slaac) {
		complain(r, 0, "[port] address is required, or slaac");
		return;
	}
	switch (config_iface(r->cfg, &iface)) {
	case 0:
		if ((iface.addr6_count || r->cfg->slaac) && iface.mtu_bytes < NET_IP6_MTU_MIN)
			complain(r, 0, "[port] mtu: IPv6 takes at least %d", NET_IP6_MTU_MIN);
		break;
	case -EEXIST:
		complain(r, 0, "[port] address: one is given twice");
		break;
	case -ENETUNREACH:
		complain(
			r, 0, "[port] gateway: inside no prefix of [port] address, nor link-local");
		break;
	default:
		complain(r, 0, "[port] address, gateway: not unicast addresses of hosts");
		break;
	}
}

/* Those that are not built in are there only if another key says what they are. */
static void check_congestion(struct reader *r, const char *section, uint32_t cc)
{
	const struct config *c = r->cfg;

	if (cc == TCP_CC_PLUGIN && c->congestion_plugin[0] == '\0')
		complain(r, 0, "%s congestion_control: plugin takes a congestion_plugin", section);
	if (cc == TCP_CC_AGENT && c->tcp.cc_agent[0] == '\0')
		complain(r, 0, "%s congestion_control: agent takes a congestion_agent", section);
}

/* What no single key can be blamed for. */
static void check_whole(struct reader *r)
{
	const struct config *c = r->cfg;
	const struct config_limits *l = &c->limits;
	int cc = tcp_cc_find(c->tcp.cc_agent);

	if (c->port.device[0] == '\0')
		complain(r, 0, "[port] device is required");
	check_addresses(r);
	if (l->sndbuf_bytes > l->sndbuf_max_bytes)
		complain(r, 0, "[limits] sndbuf is above sndbuf_max");
	if (l->rcvbuf_bytes > l->rcvbuf_max_bytes)
		complain(r, 0, "[limits] rcvbuf is above rcvbuf_max");
	if (l->segment_initial_bytes > l->session_down_bytes ||
		l->segment_initial_bytes > l->session_up_bytes)
		complain(r, 0,
			"[limits] segment_initial is above session_down_max or "
			"session_up_max");
	if (c->tcp.rto_min_us > c->tcp.rto_initial_us || c->tcp.rto_min_us > c->tcp.rto_max_us)
		complain(r, 0, "[tcp] rto_min_ms is above rto_initial_ms or rto_max_s");
	check_congestion(r, "[tcp]", c->tcp.cc);
	for (uint32_t i = 0; i < c->route_count; i++)
		check_congestion(r, "[route]", c->routes[i].value);
	if ((cc >= 0 && cc != TCP_CC_AGENT) || strcmp(c->tcp.cc_agent, "reno") == 0)
		complain(r, 0, "[tcp] congestion_agent: there is a '%s' already", c->tcp.cc_agent);
	if ((uint32_t)c->port_last - c->port_first + 1 < c->engine_count + 1)
		complain(r, 0, "[tcp] ephemeral_ports: fewer than one for each engine and one");
}

unsigned int config_load(
	struct config *c, const char *file, config_report_fn report, void *report_arg)
{
	struct reader r = {.cfg = c, .file = file, .report = report, .report_arg = report_arg};

	config_default(c);
	r.errors = load_file(c, file, report, report_arg);
	r.errors += load_directory(c, file, report, report_arg);
	if (r.errors == 0)
		check_whole(&r);
	c->port.queues = (uint16_t)c->engine_count;
	c->tcp.rcvbuf_bytes = c->limits.rcvbuf_bytes;
	c->tcp.rcvbuf_max_bytes = c->limits.rcvbuf_max_bytes;
	return r.errors;
}

void config_port_slice(
	const struct config *c, uint32_t index, uint16_t *port_first, uint16_t *port_last)
{
	uint32_t ports = (uint32_t)c->port_last - c->port_first + 1;
	uint32_t slices = c->engine_count + 1;

	*port_first = (uint16_t)(c->port_first + ports * index / slices);
	*port_last = (uint16_t)(c->port_first + ports * (index + 1) / slices - 1);
}

void config_print_options(FILE *out)
{
	char accepted[CONFIG_LINE_BYTES];
	const char *section = "";

	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];

		if (strcmp(section, o->section) != 0)
			fprintf(out, "%s[%s]\n", i ? "\n" : "", o->section);
		section = o->section;
		fprintf(out, "\n# %s\n# (%s%s)\n", o->text,
			option_accepted(o, accepted, sizeof(accepted)),
			o->value ? "" : "; no default");
		fprintf(out, "#%s = %s\n", o->key, o->value ? o->value : o->example);
	}
}

static_assert(
	(int)CONFIG_ENGINES_MAX <= (int)PROTO_ENGINES_MAX, "a session has room for every engine");
static_assert((int)CONFIG_ADDRS_MAX <= (int)NET_IFACE_ADDRS_MAX,
	"an interface has room for every address");
