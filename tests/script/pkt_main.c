/* pkt [--trace] [--lenient] [--foreign] [--pcap FILE] SCRIPT...
 *
 * Each script runs in a child of its own: an assertion that fails in the engine fails one
 * script, and nothing of one script is left for the next. */
#include "pkt_run.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SCRIPT_CPU_S = 30, /* the longest take one; the rest is for sanitizers */
};

static const struct option long_options[] = {
	{"trace", no_argument, NULL, 't'},
	{"lenient", no_argument, NULL, 'l'},
	{"foreign", no_argument, NULL, 'f'},
	{"pcap", required_argument, NULL, 'p'},
	{0},
};

/* Present where coverage is measured: a child that leaves by _exit() writes its counts first. */
extern void __gcov_dump(void) __attribute__((weak));

static void clean(const char *dir)
{
	static const char *const names[] = {"run/mtcpd.sock", "run/mtcpctl.sock"};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/run", dir);
	rmdir(path);
}

static _Noreturn void child(const char *path, const struct pkt_run_options *o)
{
	int rc;

	setrlimit(RLIMIT_CPU, &(struct rlimit){SCRIPT_CPU_S, SCRIPT_CPU_S});
	signal(SIGPIPE, SIG_IGN);
	rc = pkt_run(path, o);
	fflush(stdout);
	fflush(stderr);
	if (__gcov_dump)
		__gcov_dump();
	_exit(rc ? EXIT_FAILURE : EXIT_SUCCESS);
}

static bool passes(const char *path, const struct pkt_run_options *o)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		return false;
	}
	if (pid == 0)
		child(path, o);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	clean(o->dir);
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: ended by signal %d (%s)\n", path, WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/mtcpd-script-XXXXXX";
	struct pkt_run_options o = {.dir = dir};
	int opt, failed = 0;

	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (opt == 't')
			o.trace = true;
		else if (opt == 'l')
			o.lenient = true;
		else if (opt == 'f')
			o.foreign = true;
		else if (opt == 'p')
			o.pcap = optarg;
		else
			return 2;
	}
	if (optind == argc || (o.pcap && argc - optind > 1)) {
		fprintf(stderr,
			"usage: pkt [--trace] [--lenient] [--foreign] [--pcap FILE] SCRIPT...\n");
		return 2;
	}
	if (!mkdtemp(dir)) {
		perror(dir);
		return 2;
	}
	for (int i = optind; i < argc; i++)
		failed += !passes(argv[i], &o);
	rmdir(dir);
	printf("%d scripts, %d failed\n", argc - optind, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
