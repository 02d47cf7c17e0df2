/* mtcpd: the command line. What follows from it is in ctl/daemon.c.
 *
 * Exit status: 0 after a stop that was asked for, a check that found nothing, --help and
 * --version; 1 if the configuration is wrong or the daemon cannot run; 2 for a wrong
 * argument.
 */
#include <ctl/config.h>
#include <ctl/daemon.h>
#include <ctl/log.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef MTCPD_VERSION
#error "the build gives the version of the project"
#endif

enum {
	EXIT_USAGE = 2,
};

static void print_help(void)
{
	printf("Usage: mtcpd [--config FILE] [--check-config]\n"
	       "       mtcpd --version | --help\n\n"
	       "A TCP stack as a daemon, on a network port of its own.\n\n"
	       "  -c, --config FILE   read FILE and conf.d/*.conf beside it\n"
	       "                      (default " CONFIG_FILE_DEFAULT ")\n"
	       "  -t, --check-config  tell every mistake in it, and end; 0 if there is none\n"
	       "  -V, --version\n"
	       "  -h, --help\n\n"
	       "SIGTERM and SIGINT close all connections in order, then end; a second one ends "
	       "at once.\n\nConfiguration:\n\n");
	config_print_options(stdout);
}

struct arguments {
	const char *file;
	bool check_only;
};

static void report(void *arg, const char *line)
{
	const struct arguments *args = arg;

	if (args->check_only)
		fprintf(stderr, "%s\n", line);
	else
		log_write_always(LOG_LEVEL_ERROR, "%s", line);
}

/* -1: go on; else the status to exit with. */
static int parse_arguments(struct arguments *args, int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 't'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:tVh", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			args->file = optarg;
			break;
		case 't':
			args->check_only = true;
			break;
		case 'V':
			printf("mtcpd " MTCPD_VERSION "\n");
			return EXIT_SUCCESS;
		case 'h':
			print_help();
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "mtcpd: no argument expected: %s\n", argv[optind]);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct arguments args = {.file = CONFIG_FILE_DEFAULT};
	static struct config cfg;
	int status = parse_arguments(&args, argc, argv);

	if (status >= 0)
		return status;
	if (config_load(&cfg, args.file, report, &args) > 0)
		return EXIT_FAILURE;
	if (args.check_only) {
		printf("%s: OK\n", args.file);
		return EXIT_SUCCESS;
	}
	return daemon_run(&cfg, MTCPD_VERSION) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
