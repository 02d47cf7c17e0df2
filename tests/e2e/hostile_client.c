/* hostile_client: one case a run; see hostile.h.
 *
 *	hostile_client SOCKET TARGET PORT CASE
 *
 * TARGET:PORT is an echo server beyond mtcpd, TARGET:PORT+1 listens but never accepts.
 * Environment: WATCHERS (epoll-storm), CRASHES (crashes).
 */
#include "hostile.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{"operations", case_operations},
	{"references", case_references},
	{"positions", case_positions},
	{"handles", case_handles},
	{"generations", case_generations},
	{"slots", case_slots},
	{"descriptors", case_descriptors},
	{"index-ahead", case_index_ahead},
	{"index-back", case_index_back},
	{"index-random", case_index_random},
	{"deaf", case_deaf},
	{"never-sleeps", case_never_sleeps},
	{"never-wakes", case_never_wakes},
	{"epoll-storm", case_epoll_storm},
	{"epoll-storm-alone", case_epoll_storm_alone},
	{"bells", case_bells},
	{"holes", case_holes},
	{"holes-drained", case_holes_drained},
	{"read-only", case_read_only},
	{"jammed", case_jammed},
	{"closed", case_closed},
	{"passed-on", case_passed_on},
	{"messages-with-fds", case_messages_with_fds},
	{"malformed", case_malformed},
	{"unread", case_unread},
	{"requests", case_requests},
	{"crashes", case_crashes},
	{"lingerers", case_lingerers},
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 5) {
		hostile_args.socket = argv[1];
		memset(hostile_args.target + 10, 0xff, 2);
		inet_pton(AF_INET, argv[2], hostile_args.target + 12);
		hostile_args.target_port = (uint16_t)atoi(argv[3]);
	}
	for (size_t i = 0; argc == 5 && i < sizeof(cases) / sizeof(*cases); i++)
		if (strcmp(cases[i].name, argv[4]) == 0)
			return cases[i].run();
	fprintf(stderr, "usage: hostile_client SOCKET TARGET PORT CASE\ncases:");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		fprintf(stderr, " %s", cases[i].name);
	fprintf(stderr, "\n");
	return 2;
}
