/* An agent of off-path congestion control for mtcpd: additive increase, multiplicative decrease.
 *
 *     mtcp-agent-aimd [SOCKET [SEGMENTS]]
 *
 * A window doubles each round trip until something is lost or marked; from then on it grows by a
 * segment a round trip, and is halved at each loss. It never has more than SEGMENTS. Run it as the
 * user congestion_agent_user, with in mtcpd.conf:
 *
 *     [tcp]
 *     congestion_agent = aimd
 *     congestion_agent_user = mtcp-agent
 *     congestion_control = agent
 *
 * It ends when mtcpd does, or shuts it out: connections then go on without it, until it is started
 * again.
 */
#include <mtcp_agent.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct flow {
	uint64_t number;	 /* as mtcpd says it; 0: none */
	uint32_t window, before; /* bytes; before the last decrease */
	uint32_t acked;		 /* towards the next segment */
	bool slow_start;
};

struct aimd {
	int fd;
	uint32_t engines, slots;
	uint32_t segments_max;
	struct flow *flows; /* by engine and slot */
};

static uint32_t at_least(uint32_t v, uint32_t least)
{
	return v < least ? least : v;
}

static void decrease(struct flow *f, const struct mtcp_agent_report *r)
{
	f->before = f->window;
	f->window = at_least(f->window / 2, 2 * r->mss_bytes);
	f->slow_start = false;
	f->acked = 0;
}

/* A window that is not used proves nothing. */
static void increase(struct flow *f, const struct mtcp_agent_report *r)
{
	if (r->inflight_bytes + r->acked_bytes < r->cwnd_bytes / 2 ||
		r->flags & MTCP_AGENT_RECOVERY)
		return;
	if (f->slow_start) {
		f->window += (uint32_t)r->acked_bytes;
		return;
	}
	f->acked += (uint32_t)r->acked_bytes;
	if (f->acked < f->window)
		return;
	f->acked -= f->window;
	f->window += r->mss_bytes;
}

static void judge(struct aimd *a, struct flow *f, const struct mtcp_agent_report *r)
{
	uint32_t most = a->segments_max * r->mss_bytes;

	if (r->events & MTCP_AGENT_NEW || f->number != r->flow) {
		*f = (struct flow){.number = r->flow, .window = r->cwnd_bytes, .slow_start = true};
		f->before = f->window;
	}
	if (r->events & (MTCP_AGENT_LOSS | MTCP_AGENT_ECN | MTCP_AGENT_TIMEOUT))
		decrease(f, r);
	else
		increase(f, r);
	if (r->events & MTCP_AGENT_UNDO)
		f->window = at_least(f->window, f->before);
	if (f->window > most)
		f->window = most;
}

static struct flow *flow_of(const struct aimd *a, uint64_t number)
{
	uint32_t engine = mtcp_agent_engine(number), slot = mtcp_agent_slot(number);

	if (engine >= a->engines || slot >= a->slots)
		return NULL;
	return &a->flows[(size_t)engine * a->slots + slot];
}

/* Answers a packet of reports with one of orders. */
static int answer(struct aimd *a, const struct mtcp_agent_report *r, size_t count)
{
	struct mtcp_agent_order o[MTCP_AGENT_BATCH];
	size_t n = 0;

	for (; count > 0; count--, r++) {
		struct flow *f = flow_of(a, r->flow);

		if (!f)
			continue;
		if (r->type != MTCP_AGENT_REPORT) {
			f->number = 0;
			continue;
		}
		judge(a, f, r);
		o[n++] = (struct mtcp_agent_order){
			.type = MTCP_AGENT_ORDER,
			.seq = r->seq,
			.flow = r->flow,
			.cwnd_bytes = f->window,
		};
	}
	if (n == 0 || send(a->fd, o, n * sizeof(o[0]), MSG_NOSIGNAL) > 0)
		return 0;
	perror("orders");
	return -1;
}

static int serve(struct aimd *a)
{
	struct mtcp_agent_report r[MTCP_AGENT_BATCH];
	ssize_t n;

	while ((n = recv(a->fd, r, sizeof(r), 0)) > 0) {
		if (answer(a, r, (size_t)n / sizeof(r[0])) < 0)
			return EXIT_FAILURE;
	}
	if (n < 0)
		perror("reports");
	else
		fputs("mtcpd has closed the connection\n", stderr);
	return EXIT_FAILURE;
}

static int attach(struct aimd *a, const char *path)
{
	struct mtcp_agent_hello h = {
		.type = MTCP_AGENT_HELLO, .version = MTCP_AGENT_VERSION, .magic = MTCP_AGENT_MAGIC};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(sun.sun_path)) {
		fprintf(stderr, "%s: too long\n", path);
		return -1;
	}
	strcpy(sun.sun_path, path);
	a->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&sun, sizeof(sun)) ||
		send(a->fd, &h, sizeof(h), MSG_NOSIGNAL) < 0) {
		perror(path);
		return -1;
	}
	if (recv(a->fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
		h.version != MTCP_AGENT_VERSION) {
		fprintf(stderr, "%s: refused\n", path);
		return -1;
	}
	a->engines = h.engines;
	a->slots = h.slots;
	a->flows = calloc((size_t)h.engines * h.slots, sizeof(a->flows[0]));
	if (!a->flows) {
		perror("flows");
		return -1;
	}
	printf("'%.16s' of %u engines, %u connections each\n", h.name, h.engines, h.slots);
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct aimd a = {.segments_max = 100000};

	if (argc > 2)
		a.segments_max = at_least((uint32_t)strtoul(argv[2], NULL, 10), 2);
	if (a.segments_max > 100000)
		a.segments_max = 100000;
	if (attach(&a, argc > 1 ? argv[1] : "/run/mtcpd/" MTCP_AGENT_SOCKET) < 0)
		return EXIT_FAILURE;
	return serve(&a);
}
