/* badlink: a cable that is bad, between two interfaces.
 *
 *	badlink IFACE IFACE NAME=NUMBER...
 *
 * The simulator's link (sim/sim_link.h) with real interfaces at its ends, for kernels without
 * netem. The names are `seed` and those of struct sim_profile, the same both ways: loss_ppm,
 * burst_max, duplicate_ppm, reorder_ppm, reorder_us, corrupt_ppm, delay_us, rate_bytes_s,
 * buffer_bytes. ARP and neighbour discovery are spared, since a lost one tells nothing about TCP.
 *
 * Ends at SIGTERM or SIGINT with its figures on stdout, name=number: what the link did, and
 * `missed`, frames that came faster than it could take them in. A test that counts losses
 * wants `missed` to be 0. Exit status 2 if it cannot begin.
 */
#include <sim/sim_link.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
	FRAME_MAX = 9216,
	SOCKET_BYTES = 64 << 20,
	IP6_NEXT_AT = 14 + 6,
	IP6_TYPE_AT = 14 + 40,
	ND_FIRST = 133,
	ND_LAST = 137,
};

struct end {
	int fd;
	uint64_t missed; /* could not be sent */
};

struct batch {
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	struct sim_frame *frame[BATCH];
	uint8_t data[BATCH][FRAME_MAX];
};

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* -- the ends --------------------------------------------------------------------------------- */

static int fail(const char *what)
{
	perror(what);
	return -1;
}

static int end_open(struct end *e, const char *iface)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int one = 1, bytes = SOCKET_BYTES;

	at.sll_ifindex = (int)if_nametoindex(iface);
	e->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	if (!at.sll_ifindex || e->fd < 0)
		return fail(iface);
	setsockopt(e->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(e->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(e->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	if (setsockopt(e->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)))
		return fail("PACKET_IGNORE_OUTGOING");
	return bind(e->fd, (struct sockaddr *)&at, sizeof(at)) ? fail(iface) : 0;
}

static uint64_t end_missed(const struct end *e)
{
	struct tpacket_stats st = {0};
	socklen_t len = sizeof(st);

	getsockopt(e->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len);
	return e->missed + st.tp_drops;
}

/* -- frames ------------------------------------------------------------------------------------ */

static bool is_discovery(const uint8_t *f, size_t len)
{
	return len > IP6_TYPE_AT && f[12] == 0x86 && f[13] == 0xdd &&
	       f[IP6_NEXT_AT] == IPPROTO_ICMPV6 && f[IP6_TYPE_AT] >= ND_FIRST &&
	       f[IP6_TYPE_AT] <= ND_LAST;
}

static void hand_over(struct sim_link *l, int side, const uint8_t *data, uint32_t len)
{
	struct sim_profile kept = l->way[side].profile;

	if (is_discovery(data, len))
		l->way[side].profile = (struct sim_profile){.delay_us = kept.delay_us};
	sim_link_send(l, side, data, len);
	l->way[side].profile = kept;
}

/* True: there may be more. */
static bool take_in(struct sim_link *l, int side, const struct end *e, struct batch *b)
{
	int n;

	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){b->data[i], FRAME_MAX};
		b->msg[i].msg_hdr = (struct msghdr){.msg_iov = &b->iov[i], .msg_iovlen = 1};
	}
	n = recvmmsg(e->fd, b->msg, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		hand_over(l, side, b->data[i], b->msg[i].msg_len);
	return n == BATCH;
}

static void send_all(struct end *e, struct batch *b, unsigned int count)
{
	for (unsigned int sent = 0; sent < count;) {
		int n = sendmmsg(e->fd, b->msg + sent, count - sent, 0);

		if (n < 0 && errno != EAGAIN && errno != ENOBUFS) { /* that one cannot go */
			e->missed++;
			n = 1;
		}
		sent += n > 0 ? (unsigned int)n : 0;
	}
}

/* What has arrived by now; true: there may be more. */
static bool put_out(struct sim_link *l, int side, struct end *e, struct batch *b)
{
	unsigned int n = 0;

	while (n < BATCH && (b->frame[n] = sim_link_receive(l, side))) {
		if (b->frame[n]->len_bytes < ETHER_HDR_LEN) { /* damaged so that it is no frame */
			free(b->frame[n]);
			continue;
		}
		b->iov[n] = (struct iovec){b->frame[n]->data, b->frame[n]->len_bytes};
		b->msg[n].msg_hdr = (struct msghdr){.msg_iov = &b->iov[n], .msg_iovlen = 1};
		n++;
	}
	send_all(e, b, n);
	for (unsigned int i = 0; i < n; i++)
		free(b->frame[i]);
	return n == BATCH;
}

/* -- the loop ---------------------------------------------------------------------------------- */

static void wait_for_frames(const struct sim_link *l, const struct end *end)
{
	struct pollfd p[2] = {
		{.fd = end[0].fd, .events = POLLIN}, {.fd = end[1].fd, .events = POLLIN}};
	uint64_t next = sim_link_next_us(l), now = now_us();
	struct timespec left = {1, 0};

	if (next != UINT64_MAX) {
		next = next > now ? next - now : 0;
		left = (struct timespec){(time_t)(next / 1000000), (long)(next % 1000000) * 1000};
	}
	ppoll(p, 2, &left, NULL);
}

static void run(struct sim_link *l, struct end *end)
{
	static struct batch b;
	bool busy = false;

	while (!stopped) {
		if (!busy)
			wait_for_frames(l, end);
		busy = false;
		for (int side = 0; side < 2; side++) {
			l->now_us = now_us();
			busy |= take_in(l, side, &end[side], &b);
			busy |= put_out(l, !side, &end[!side], &b);
			busy |= put_out(l, side, &end[side], &b);
		}
	}
}

/* -- arguments --------------------------------------------------------------------------------- */

static bool set(struct sim_profile *p, uint64_t *seed, const char *arg)
{
	struct {
		const char *name;
		uint32_t *small;
		uint64_t *large;
	} const all[] = {
		{"seed", NULL, seed},
		{"loss_ppm", &p->loss_ppm, NULL},
		{"burst_max", &p->burst_max, NULL},
		{"duplicate_ppm", &p->duplicate_ppm, NULL},
		{"reorder_ppm", &p->reorder_ppm, NULL},
		{"reorder_us", &p->reorder_us, NULL},
		{"corrupt_ppm", &p->corrupt_ppm, NULL},
		{"delay_us", &p->delay_us, NULL},
		{"rate_bytes_s", NULL, &p->rate_bytes_s},
		{"buffer_bytes", NULL, &p->buffer_bytes},
	};
	const char *eq = strchr(arg, '=');
	char *end;
	uint64_t n;

	if (!eq || !eq[1])
		return false;
	n = strtoull(eq + 1, &end, 10);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && !*end; i++) {
		if (strlen(all[i].name) != (size_t)(eq - arg) ||
			strncmp(all[i].name, arg, (size_t)(eq - arg)) != 0)
			continue;
		if (all[i].small)
			*all[i].small = (uint32_t)n;
		else
			*all[i].large = n;
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct sim_profile profile = {.spare_arp = true};
	static struct sim_link link;
	struct end end[2] = {{.fd = -1}, {.fd = -1}};
	uint64_t seed = 1;

	if (argc < 3)
		return 2;
	for (int i = 3; i < argc; i++)
		if (!set(&profile, &seed, argv[i])) {
			fprintf(stderr, "badlink: %s?\n", argv[i]);
			return 2;
		}
	if (end_open(&end[0], argv[1]) || end_open(&end[1], argv[2]))
		return 2;
	signal(SIGTERM, stop);
	signal(SIGINT, stop);
	sim_link_init(&link, seed, &profile);
	run(&link, end);
	printf("sent=%llu lost=%llu duplicated=%llu reordered=%llu overflowed=%llu missed=%llu\n",
		(unsigned long long)link.stats.sent, (unsigned long long)link.stats.lost,
		(unsigned long long)link.stats.duplicated, (unsigned long long)link.stats.reordered,
		(unsigned long long)link.stats.overflowed,
		(unsigned long long)(end_missed(&end[0]) + end_missed(&end[1])));
	sim_link_fini(&link);
	return 0;
}
