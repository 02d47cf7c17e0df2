/* probe ADDRESS PORT NAME [NUMBER [NUMBER]]: runs one probe against a peer; see native.h.
 * Exit status 0, 1 with a message if something was not as it should be. "list" lists the names.
 */
#include "probe.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	PIECE_BYTES = 8192,
	GIVE_UP_S = 200, /* of a busy machine */
};

struct sockaddr_in peer_addr = {.sin_family = AF_INET};
unsigned long arg_number[2];
static const char *probe_name;

_Noreturn void probe_fail(const char *file, int line, const char *what, long seen, long expected)
{
	const char *base = strrchr(file, '/');
	int error = errno;

	fprintf(stderr, "probe %s, %s:%d: %s: %ld instead of %ld (%s)\n", probe_name,
		base ? base + 1 : file, line, what, seen, expected, strerror(error));
	exit(1);
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int open_socket(int flags)
{
	int sd = mtcp_socket(AF_INET, SOCK_STREAM | flags, 0);

	need(sd >= 0);
	return sd;
}

int open_to_peer(void)
{
	int sd = open_socket(0);

	need_equal(mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr)), 0);
	return sd;
}

int ask(uint32_t mode, uint32_t seed, uint64_t bytes, uint32_t delay_ms)
{
	struct request r = {.mode = mode, .seed = seed, .bytes = bytes, .delay_ms = delay_ms};
	int sd = open_to_peer();

	send_exactly(sd, &r, sizeof(r));
	return sd;
}

void open_gate(uint32_t connections, uint32_t delay_ms)
{
	need_equal(mtcp_close(ask(MODE_OPEN, 0, connections, delay_ms)), 0);
}

void send_exactly(int sd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = mtcp_send(sd, p, len, MSG_NOSIGNAL);

		need(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

void recv_exactly(int sd, void *data, size_t len)
{
	need_equal(mtcp_recv(sd, data, len, MSG_WAITALL), len);
}

void send_pattern(int sd, uint32_t seed, uint64_t pos, uint64_t len)
{
	uint8_t buf[PIECE_BYTES];

	while (len) {
		size_t n = len < sizeof(buf) ? (size_t)len : sizeof(buf);

		pattern_fill(seed, pos, buf, n);
		send_exactly(sd, buf, n);
		pos += n;
		len -= n;
	}
}

void recv_pattern(int sd, uint32_t seed, uint64_t pos, uint64_t len)
{
	uint8_t buf[PIECE_BYTES];

	while (len) {
		size_t want = len < sizeof(buf) ? (size_t)len : sizeof(buf);
		ssize_t n = mtcp_read(sd, buf, want);

		need(n > 0);
		need(!pattern_differs(seed, pos, buf, (size_t)n));
		pos += (uint64_t)n;
		len -= (uint64_t)n;
	}
}

int so_error(int sd)
{
	int error = -1;
	socklen_t len = sizeof(error);

	need_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	return error;
}

short poll_one(int sd, short events, int timeout_ms)
{
	struct pollfd p = {.fd = sd, .events = events};
	int n = mtcp_poll(&p, 1, timeout_ms);

	need(n >= 0);
	return n ? p.revents : 0;
}

/* NULL: prints the names of all. */
static const struct probe *find(const char *name)
{
	const struct probe *const all[] = {probe_streams, probe_ends, probe_names, probe_masses};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (const struct probe *p = all[i]; p->name; p++) {
			if (!name)
				puts(p->name);
			else if (!strcmp(p->name, name))
				return p;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct probe *p;

	if (argc == 2 && !strcmp(argv[1], "list")) {
		find(NULL);
		return 0;
	}
	if (argc < 4 || argc > 6 || inet_pton(AF_INET, argv[1], &peer_addr.sin_addr) != 1) {
		fprintf(stderr, "usage: probe ADDRESS PORT NAME [NUMBER [NUMBER]] | list\n");
		return 2;
	}
	peer_addr.sin_port = htons((uint16_t)atoi(argv[2]));
	for (int i = 4; i < argc; i++)
		arg_number[i - 4] = strtoul(argv[i], NULL, 10);
	probe_name = argv[3];
	p = find(probe_name);
	if (!p) {
		fprintf(stderr, "probe: no probe '%s'\n", probe_name);
		return 2;
	}
	alarm(GIVE_UP_S); /* a hang is a failure */
	p->run();
	return 0;
}
