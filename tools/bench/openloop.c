/* Round trips at a fixed rate, on plain sockets: it runs on the kernel's TCP and under mtcp-run.
 *
 * Two programs in one: an echo server, and a generator that sends on schedule and never waits for
 * an answer to send the next message, as independent users do (openloop_drive.c). A generator
 * that waits would send less the slower the server gets, and so leave out the worst.
 */
#include "openloop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: openloop -l [-a ADDRESS] [-p PORT]         echo server\n"
	"       openloop [-a ADDRESS] [-p PORT] [OPTION]...  generator\n"
	"  -a ADDRESS   IPv4 (127.0.0.1)\n"
	"  -p PORT      (7777)\n"
	"  -r RATE      messages a second, of all connections (10000)\n"
	"  -t SECONDS   how long (2)\n"
	"  -w SECONDS   warm-up before that, which does not count (0.5)\n"
	"  -c NUMBER    connections, in turn (1)\n"
	"  -b BYTES     of a message and of its answer (1)\n"
	"  -s           spin until the next message is due, where a core is free for it\n"
	"  -j           JSON, one object:\n"
	"     rate_asked, rate      messages due and answers that came, a second, while it lasted\n"
	"     due, answered         messages after the warm-up\n"
	"     p50_us, p90_us, p99_us, p999_us, max_us\n"
	"                           latency from when a message was due, also of those that were\n"
	"                           not answered within a second of the end\n"
	"     late_p50_us, late_p99_us   how late the generator itself was: part of the above\n"
	"exit status: 0; 1 a connection failed; 2 wrong usage\n";

static void usage(void)
{
	fputs(help, stderr);
	exit(2);
}

static double number(const char *text, double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= least && value <= most))
		usage();
	return value;
}

static void set_option(struct openloop_options *o, int option, const char *value)
{
	switch (option) {
	case 'l':
		o->listen = true;
		break;
	case 'a':
		if (inet_pton(AF_INET, value, &o->address.sin_addr) != 1)
			usage();
		break;
	case 'p':
		o->address.sin_port = htons((uint16_t)number(value, 1, 65535));
		break;
	case 'r':
		o->rate = number(value, 1, 1e8);
		break;
	case 't':
		o->seconds = number(value, 0.01, 3600);
		break;
	case 'w':
		o->warmup_s = number(value, 0, 3600);
		break;
	case 'c':
		o->connections = (unsigned int)number(value, 1, 65535);
		break;
	case 'b':
		o->size_bytes = (unsigned int)number(value, 1, 1 << 20);
		break;
	case 's':
		o->spin = true;
		break;
	case 'j':
		o->json = true;
		break;
	default:
		usage();
	}
}

static double us(const struct histogram *h, double share)
{
	return (double)histogram_quantile(h, share) / 1e3;
}

static void print_json(const struct openloop_options *o, const struct openloop_result *r)
{
	const struct histogram *h = &r->latency_ns, *late = &r->late_ns;

	printf("{\"rate_asked\": %.1f, \"rate\": %.1f, \"due\": %llu, \"answered\": %llu, ",
		o->rate, (double)r->in_time / o->seconds, (unsigned long long)h->count,
		(unsigned long long)r->answered);
	printf("\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, ",
		us(h, 0.5), us(h, 0.9), us(h, 0.99), us(h, 0.999));
	printf("\"max_us\": %.1f, \"late_p50_us\": %.1f, \"late_p99_us\": %.1f}\n", us(h, 1),
		us(late, 0.5), us(late, 0.99));
}

static void print_text(const struct openloop_options *o, const struct openloop_result *r)
{
	const struct histogram *h = &r->latency_ns, *late = &r->late_ns;

	printf("%.1f/s asked, %.1f/s answered in time; %llu due, %llu answered\n", o->rate,
		(double)r->in_time / o->seconds, (unsigned long long)h->count,
		(unsigned long long)r->answered);
	printf("latency us: p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n", us(h, 0.5),
		us(h, 0.9), us(h, 0.99), us(h, 0.999), us(h, 1));
	printf("sent late us: p50 %.1f, p99 %.1f\n", us(late, 0.5), us(late, 0.99));
}

int main(int argc, char **argv)
{
	static struct openloop_result result;
	struct openloop_options o = {
		.address = {.sin_family = AF_INET,
			.sin_port = htons(7777),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
		.rate = 10000,
		.seconds = 2,
		.warmup_s = 0.5,
		.connections = 1,
		.size_bytes = 1,
	};
	int option, err;

	while ((option = getopt(argc, argv, "la:p:r:t:w:c:b:sj")) != -1)
		set_option(&o, option, optarg);
	if (optind != argc)
		usage();
	err = o.listen ? openloop_serve(&o) : openloop_drive(&o, &result);
	if (err < 0) {
		fprintf(stderr, "openloop: %s\n", strerror(-err));
		return 1;
	}
	if (o.json)
		print_json(&o, &result);
	else
		print_text(&o, &result);
	return 0;
}
