/* Probes of many connections whose bytes pile up on one side: memory grows with them, stops at
 * its limit, and all bytes are right in the end.
 *
 * Number 0 is how many connections, number 1 how many KiB each. When everything piles up
 * "piled" is printed; a line on stdin lets the probe go on.
 */
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int *open_all(uint32_t mode, uint64_t bytes, uint32_t delay_ms)
{
	int *sd = calloc(arg_number[0], sizeof(*sd));

	need(sd);
	for (uint32_t i = 0; i < arg_number[0]; i++)
		sd[i] = ask(mode, i, bytes, delay_ms);
	return sd;
}

static void wait_go(void)
{
	char line[8];

	puts("piled");
	fflush(stdout);
	need(fgets(line, sizeof(line), stdin));
	alarm(200);
}

/* Each connection reads nothing until told to, then all of it, a piece from each in turn. */
static void probe_slow_readers(void)
{
	uint64_t bytes = arg_number[1] << 10, piece = 5000;
	int *sd = open_all(MODE_SOURCE, bytes, 0);
	char byte;

	wait_go();
	for (uint64_t pos = 0; pos < bytes; pos += piece) {
		uint64_t n = bytes - pos < piece ? bytes - pos : piece;

		for (uint32_t i = 0; i < arg_number[0]; i++)
			recv_pattern(sd[i], i, pos, n);
	}
	for (uint32_t i = 0; i < arg_number[0]; i++) {
		need_equal(mtcp_read(sd[i], &byte, 1), 0);
		need_equal(mtcp_close(sd[i]), 0);
	}
	free(sd);
}

/* Sends as much as goes on each connection; whether all is sent. */
static bool send_round(const int *sd, uint64_t *pos, uint64_t bytes)
{
	uint8_t buf[8192];
	bool all = true;

	for (uint32_t i = 0; i < arg_number[0]; i++) {
		ssize_t n = 1;

		while (pos[i] < bytes && n > 0) {
			size_t len = bytes - pos[i] < sizeof(buf) ? (size_t)(bytes - pos[i])
								  : sizeof(buf);

			pattern_fill(i, pos[i], buf, len);
			n = mtcp_send(sd[i], buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0)
				need_equal(errno, EAGAIN);
			else
				pos[i] += (uint64_t)n;
		}
		all = all && pos[i] == bytes;
	}
	return all;
}

/* Each connection writes until its peer, which does not read before the gate opens, takes no more.
 */
static void probe_fast_writers(void)
{
	uint64_t bytes = arg_number[1] << 10, seen;
	uint64_t *pos = calloc(arg_number[0], sizeof(*pos));
	int *sd = open_all(MODE_SINK, 0, GATE);
	struct pollfd *p = calloc(arg_number[0], sizeof(*p));

	need(pos && p);
	need(!send_round(sd, pos, bytes));
	wait_go();
	open_gate((uint32_t)arg_number[0], 0);
	while (!send_round(sd, pos, bytes)) {
		for (uint32_t i = 0; i < arg_number[0]; i++)
			p[i] = (struct pollfd){.fd = sd[i], .events = pos[i] < bytes ? POLLOUT : 0};
		need(mtcp_poll(p, arg_number[0], PATIENCE_MS) > 0);
	}
	for (uint32_t i = 0; i < arg_number[0]; i++)
		need_equal(mtcp_shutdown(sd[i], SHUT_WR), 0);
	for (uint32_t i = 0; i < arg_number[0]; i++) {
		recv_exactly(sd[i], &seen, sizeof(seen));
		need_equal(seen, bytes);
		need_equal(mtcp_close(sd[i]), 0);
	}
	free(p);
	free(sd);
	free(pos);
}

const struct probe probe_masses[] = {
	{"slow_readers", probe_slow_readers},
	{"fast_writers", probe_fast_writers},
	{0},
};
