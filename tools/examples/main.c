/* mtcp-echo: an echo server and its client, the example to start from when writing a program on
 * libmtcp-client. server.c and client.c each show one way to use epoll: level-triggered with
 * what could not be sent kept aside, and edge-triggered until EAGAIN. Build it alone with
 *
 *	cc *.c -o mtcp-echo $(pkg-config --cflags --libs mtcp-client) -pthread
 */
#include "echo.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"Usage: mtcp-echo server [-a ADDRESS] [-p PORT[-LAST]] [-t THREADS]\n"
	"       mtcp-echo client -a ADDRESS [-p PORT[-LAST]] [-t THREADS] [-c CONNECTIONS]\n"
	"                        [-m MESSAGES] [-s SIZE] [--hold] [-j]\n"
	"\n"
	"An echo server over mtcpd, and a client that checks every byte that comes back.\n"
	"\n"
	"  -a, --address ADDRESS  IPv4 address to listen on (any) or to connect to\n"
	"  -p, --port PORT[-LAST] ports to listen on, or to spread connections over (7777)\n"
	"  -t, --threads N        threads (1)\n"
	"  -c, --connections N    connections (1)\n"
	"  -m, --messages M       messages of each connection, one after the other (1000)\n"
	"  -s, --size S           bytes of a message (64)\n"
	"      --hold             keep the connections open until SIGINT or SIGTERM\n"
	"  -j, --json             report as JSON: connections, messages, size_bytes, failed,\n"
	"                         seconds, messages_per_s, p50_us, p99_us, max_us\n"
	"  -h, --help             this text\n"
	"\n"
	"Latencies are from the first byte sent to the last one back. The client exits with 1\n"
	"if any connection failed, 2 is a wrong command line. $MTCPD_SOCKET is the daemon's.\n";

static _Noreturn void die_usage(const char *what, const char *value)
{
	fprintf(stderr, "mtcp-echo: %s: '%s'; see --help\n", what, value);
	exit(2);
}

static uint32_t number(const char *text, const char *what, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < min || n > max)
		die_usage(what, text);
	return (uint32_t)n;
}

static void parse_ports(struct echo_options *o, char *text)
{
	char *last = strchr(text, '-');

	if (last)
		*last++ = 0;
	o->port_first = (uint16_t)number(text, "not a port", 1, UINT16_MAX);
	o->port_last = o->port_first;
	if (last)
		o->port_last = (uint16_t)number(last, "not a last port", o->port_first, UINT16_MAX);
}

static void parse_option(struct echo_options *o, int c, char *value)
{
	switch (c) {
	case 'a':
		if (inet_pton(AF_INET, value, &o->address) != 1)
			die_usage("not an IPv4 address", value);
		break;
	case 'p':
		parse_ports(o, value);
		break;
	case 't':
		o->threads = number(value, "threads from 1 to 256", 1, 256);
		break;
	case 'c':
		o->connections = number(value, "connections from 1", 1, 1 << 20);
		break;
	case 'm':
		o->messages = number(value, "not a number of messages", 0, UINT32_MAX - 1);
		break;
	case 's':
		o->size_bytes = number(value, "sizes from 1 to 1 GiB", 1, 1 << 30);
		break;
	case 'H':
		o->hold = true;
		break;
	case 'j':
		o->json = true;
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		exit(2);
	}
}

static void parse(struct echo_options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{"address", required_argument, NULL, 'a'},
		{"port", required_argument, NULL, 'p'},
		{"threads", required_argument, NULL, 't'},
		{"connections", required_argument, NULL, 'c'},
		{"messages", required_argument, NULL, 'm'},
		{"size", required_argument, NULL, 's'},
		{"hold", no_argument, NULL, 'H'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "a:p:t:c:m:s:jh", options, NULL)) >= 0)
		parse_option(o, c, optarg);
}

static sigset_t end_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	return set;
}

void echo_block_signals(void)
{
	sigset_t set = end_signals();

	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void echo_wait_signal(void)
{
	sigset_t set = end_signals();
	int sig;

	sigwait(&set, &sig);
}

int main(int argc, char **argv)
{
	struct echo_options o = {
		.port_first = 7777,
		.port_last = 7777,
		.threads = 1,
		.connections = 1,
		.messages = 1000,
		.size_bytes = 64,
	};

	parse(&o, argc, argv);
	if (optind + 1 != argc)
		die_usage("expected 'server' or 'client'", optind < argc ? argv[optind + 1] : "");
	if (!strcmp(argv[optind], "server"))
		return echo_server(&o);
	if (!strcmp(argv[optind], "client") && o.address.s_addr)
		return echo_client(&o);
	die_usage("expected 'server', or 'client -a ADDRESS'", argv[optind]);
}
