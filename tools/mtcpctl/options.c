/* Options anywhere, then a command, then for `flow` pairs of KEY VALUE as ss and ip take them. */
#include "options.h"

#include "run.h"
#include "view.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"NAME\n"
	"       mtcpctl - show what mtcpd does\n"
	"\n"
	"SYNOPSIS\n"
	"       mtcpctl [OPTION]... COMMAND [FILTER]...\n"
	"\n"
	"COMMANDS\n"
	"       flow       connections, in the columns of ss(8); takes filters\n"
	"       listen     listening sockets\n"
	"       client     attached processes\n"
	"       engine     engines: what they hold and how they sleep\n"
	"       port       the network port: traffic, losses, packet buffers\n"
	"       neigh      neighbours (ARP)\n"
	"       counters   every event that is counted, non-zero ones only\n"
	"       agent      the process that does congestion control, if one is configured\n"
	"       version    of the daemon that answers\n"
	"\n"
	"FILTERS of flow; all given must match\n"
	"       src ADDRESS[/BITS]    local address\n"
	"       dst ADDRESS[/BITS]    peer's address\n"
	"       addr ADDRESS[/BITS]   of either end\n"
	"       sport PORT            local port\n"
	"       dport PORT            peer's port\n"
	"       port PORT             of either end\n"
	"       state STATE[,STATE]   as ss names them: established, syn-sent, syn-recv,\n"
	"                             fin-wait-1, fin-wait-2, time-wait, close-wait, last-ack,\n"
	"                             closing; or connected, synchronized, all\n"
	"       pid PID               process that holds the socket\n"
	"       session ID            its session, as `client` shows it\n"
	"\n"
	"OPTIONS\n"
	"       -j, --json            a JSON array of objects; times in us, sizes in bytes\n"
	"       -n, --max N           flow: stop after N\n"
	"       -b, --brief           flow: one line each, without TCP's inside\n"
	"       -a, --all             counters: also those that are zero\n"
	"       -v, --verbose         counters: say what each one counts\n"
	"       -s, --socket PATH     control socket of the daemon\n"
	"       -d, --runtime-dir DIR its runtime directory (" MTCPCTL_RUNTIME_DIR ")\n"
	"       -h, --help            this text\n"
	"       -V, --version         version of mtcpctl\n"
	"\n"
	"ENVIRONMENT\n"
	"       " MTCPCTL_SOCKET_ENV "      control socket, where -s and -d are not given\n"
	"\n"
	"EXIT STATUS\n"
	"       0 done; 1 the daemon reports an error; 2 usage; 3 cannot connect\n";

static const struct option long_options[] = {
	{"json", no_argument, NULL, 'j'},
	{"max", required_argument, NULL, 'n'},
	{"brief", no_argument, NULL, 'b'},
	{"all", no_argument, NULL, 'a'},
	{"verbose", no_argument, NULL, 'v'},
	{"socket", required_argument, NULL, 's'},
	{"runtime-dir", required_argument, NULL, 'd'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static int usage(FILE *err, const char *what, const char *which)
{
	fprintf(err, "mtcpctl: %s%s\nTry 'mtcpctl --help'.\n", what, which);
	return MTCPCTL_USAGE;
}

/* A whole number above 0; 0 if it is not. */
static json_int_t parse_number(const char *text)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	return errno || *end || end == text || n < 1 ? 0 : n;
}

static int add_number(struct options *o, const char *key, const char *text, FILE *err)
{
	json_int_t n = parse_number(text);

	if (n == 0)
		return usage(err, "not a number above 0: ", text);
	json_object_set_new(o->request, key, json_integer(n));
	return -1;
}

static int add_filter(struct options *o, const char *key, const char *value, FILE *err)
{
	static const char *const texts[] = {"src", "dst", "addr", "state", NULL};
	static const char *const numbers[] = {"sport", "dport", "port", "pid", "session", NULL};

	if (json_object_get(o->request, key))
		return usage(err, "given twice: ", key);
	for (const char *const *t = texts; *t; t++) {
		if (strcmp(*t, key) == 0) {
			json_object_set_new(o->request, key, json_string(value));
			return -1;
		}
	}
	for (const char *const *t = numbers; *t; t++) {
		if (strcmp(*t, key) == 0)
			return add_number(o, key, value, err);
	}
	return usage(err, "unknown filter: ", key);
}

static int parse_command(struct options *o, int argc, char **argv, FILE *err)
{
	const char *name = argc > 0 ? argv[0] : NULL;

	if (!name)
		return usage(err, "no command", "");
	o->view = view_find(name);
	if (!o->view)
		return usage(err, "unknown command: ", name);
	json_object_set_new(o->request, "cmd", json_string(name));
	if (o->brief && strcmp(name, "flow") == 0)
		json_object_set_new(o->request, "brief", json_true());
	if (strcmp(name, "flow") != 0 && (argc > 1 || json_object_get(o->request, "max")))
		return usage(err, "only flow takes filters and -n: ", name);
	for (int i = 1; i < argc; i += 2) {
		int r;

		if (i + 1 == argc)
			return usage(err, "filter without a value: ", argv[i]);
		r = add_filter(o, argv[i], argv[i + 1], err);
		if (r >= 0)
			return r;
	}
	return -1;
}

static int set_socket(struct options *o, const char *path, const char *dir, FILE *err)
{
	const char *env = getenv(MTCPCTL_SOCKET_ENV);
	int n;

	if (!path && !dir)
		path = env && *env ? env : NULL;
	if (path)
		n = snprintf(o->socket, sizeof(o->socket), "%s", path);
	else
		n = snprintf(o->socket, sizeof(o->socket), "%s/%s", dir ? dir : MTCPCTL_RUNTIME_DIR,
			MTCPCTL_SOCKET_NAME);
	if (n < 0 || (size_t)n >= sizeof(o->socket))
		return usage(err, "path of the socket is too long", "");
	return -1;
}

static int parse_flags(struct options *o, int argc, char **argv, FILE *out, FILE *err)
{
	const char *path = NULL, *dir = NULL;
	int c, r;

	optind = 0; /* begin anew: tests call this many times */
	opterr = 0;
	while ((c = getopt_long(argc, argv, "jn:bavs:d:hV", long_options, NULL)) >= 0) {
		switch (c) {
		case 'j':
			o->json = true;
			break;
		case 'n':
			r = add_number(o, "max", optarg, err);
			if (r >= 0)
				return r;
			break;
		case 'b':
			o->brief = true;
			break;
		case 'a':
			o->all = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 's':
			path = optarg;
			break;
		case 'd':
			dir = optarg;
			break;
		case 'h':
			fputs(help, out);
			return MTCPCTL_OK;
		case 'V':
			fprintf(out, "mtcpctl %s\n", MTCPCTL_VERSION);
			return MTCPCTL_OK;
		default:
			return usage(err,
				"unknown option, or one without its value: ", argv[optind - 1]);
		}
	}
	return set_socket(o, path, dir, err);
}

int options_parse(struct options *o, int argc, char **argv, FILE *out, FILE *err)
{
	int r;

	*o = (struct options){.request = json_object()};
	r = parse_flags(o, argc, argv, out, err);
	if (r < 0)
		r = parse_command(o, argc - optind, argv + optind, err);
	return r;
}
