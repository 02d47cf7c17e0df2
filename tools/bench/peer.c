/* bench-peer: a whole internet of TCP peers that keeps no state.
 *
 * Every answer follows from the segment alone, as it does with SYN cookies, so that a million
 * connections cost this side nothing, and what a bench measures is mtcpd:
 *
 *	ARP request                 we are everybody
 *	SYN                         SYN|ACK; our first sequence number is a constant
 *	SYN|ACK                     ACK (a connection that we have opened)
 *	data (64 bytes or 1400)     the same bytes back, which acknowledges them
 *	FIN                         FIN|ACK
 *	anything else               nothing: an ACK needs no answer
 *
 * The sequence number of an answer is what the segment acknowledges, which is where our stream
 * stands as the other side sees it. A lost answer is asked for by retransmission, and then
 * answered again. Options are not offered, so there are neither timestamps nor scaling.
 *
 * With -o the peer, when SIGUSR1 comes, opens connections to the port given, from addresses and
 * ports counted through, at most -w of them unanswered. When nothing was answered for a second it
 * goes on all the same, and begins again until as many SYNs were answered as asked for: one that
 * belongs to a connection is answered by an ACK and does no harm. With -p it sends an ICMP echo
 *request every so many microseconds, each with some jitter, and tells when it ends how long the
 *answers took: how fast a sleeping daemon wakes.
 *
 * Prints "ready" when its port is open, and one line of JSON at the end (SIGTERM, or stdin's end).
 */
#include <net/checksum.h>
#include <nic/eal.h>
#include <nic/nic.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
	OUR_ISS = 0x10000000,
	WINDOW = 65535,
	FIRST_PORT = 1024,
	PORTS = 65536 - FIRST_PORT,
	SAMPLES_MAX = 1 << 20,
	OPEN_STALL_US = 1000000, /* no answer for so long: what is open is as much as will be */
};

struct headers {
	struct ether_header eth;
	struct ip ip;
	struct tcphdr tcp;
	uint8_t mss[4];
} __attribute__((packed));

static struct {
	const char *device;
	uint32_t mbufs;
	unsigned int idle_us; /* sleep when nothing came */
	struct in_addr target, first;
	uint16_t port;
	uint32_t open, window;
	unsigned int ping_us;
} arg = {.mbufs = 8192, .idle_us = 20, .window = 512};

static struct {
	uint64_t syns, synacks, echoes, fins, resets, bad, sent, send_failed, pings, pongs;
} stats;

static struct nic_port *port;
static uint8_t our_mac[6], daemon_mac[6];
static bool have_mac;
static uint32_t opened;	     /* number of the next connection */
static uint32_t unanswered;  /* SYNs, and not given up */
static uint64_t answered_us; /* when the last SYN|ACK came */
static uint64_t next_ping_us, ping_sent_ns;
static uint32_t *sample_ns;
static uint32_t samples;
static volatile sig_atomic_t stop, go;

static void on_signal(int signo)
{
	if (signo == SIGUSR1)
		go = 1;
	else
		stop = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* -- sending --------------------------------------------------------------------------------- */

static void transmit(
	const void *headers, size_t len, bool is_ip, bool is_tcp, const struct nic_gather *payload)
{
	struct nic_tx_frame f = {
		.headers = headers,
		.headers_len = (uint16_t)len,
		.l3_offset = is_ip ? sizeof(struct ether_header) : 0,
		.l4_offset = is_tcp ? sizeof(struct ether_header) + sizeof(struct ip) : 0,
		.gather = payload,
		.gather_count = payload != NULL,
		.payload_len = payload ? payload->len_bytes : 0,
	};

	if (nic_tx(port, 0, &f) == 0)
		stats.sent++;
	else
		stats.send_failed++;
}

static void fill_eth(struct ether_header *eth, uint16_t type)
{
	memcpy(eth->ether_dhost, daemon_mac, 6);
	memcpy(eth->ether_shost, our_mac, 6);
	eth->ether_type = htons(type);
}

static struct ip ip_header(struct in_addr src, struct in_addr dst, uint8_t protocol, uint32_t len)
{
	return (struct ip){
		.ip_v = 4,
		.ip_hl = 5,
		.ip_len = htons((uint16_t)len),
		.ip_off = htons(IP_DF),
		.ip_ttl = 64,
		.ip_p = protocol,
		.ip_src = src,
		.ip_dst = dst,
	};
}

static void send_tcp(struct in_addr src, uint16_t sport, struct in_addr dst, uint16_t dport,
	uint32_t seq, uint32_t ack, uint8_t flags, const struct nic_gather *payload)
{
	bool syn = flags & TH_SYN;
	size_t len = syn ? sizeof(struct headers) : offsetof(struct headers, mss);
	uint32_t bytes = payload ? payload->len_bytes : 0;
	struct headers h = {.mss = {TCPOPT_MAXSEG, TCPOLEN_MAXSEG, 1460 >> 8, 1460 & 0xff}};

	fill_eth(&h.eth, ETHERTYPE_IP);
	h.ip = ip_header(src, dst, IPPROTO_TCP, (uint32_t)(len - sizeof(h.eth)) + bytes);
	h.tcp = (struct tcphdr){
		.th_sport = sport,
		.th_dport = dport,
		.th_seq = htonl(seq),
		.th_ack = htonl(ack),
		.th_off = (uint8_t)((len - sizeof(h.eth) - sizeof(h.ip)) / 4) & 0xf,
		.th_flags = flags,
		.th_win = htons(WINDOW),
	};
	transmit(&h, len, true, true, payload);
}

/* -- answering ------------------------------------------------------------------------------- */

static void answer_arp(const uint8_t *frame, uint32_t len)
{
	struct {
		struct ether_header eth;
		struct ether_arp arp;
		uint8_t pad[18];
	} __attribute__((packed)) reply = {0};
	struct ether_arp arp;

	if (len < sizeof(struct ether_header) + sizeof(arp))
		return;
	memcpy(&arp, frame + sizeof(struct ether_header), sizeof(arp));
	memcpy(daemon_mac, arp.arp_sha, 6);
	have_mac = true;
	if (ntohs(arp.ea_hdr.ar_op) != ARPOP_REQUEST || !memcmp(arp.arp_spa, arp.arp_tpa, 4))
		return;
	reply.arp.ea_hdr = arp.ea_hdr;
	reply.arp.ea_hdr.ar_op = htons(ARPOP_REPLY);
	memcpy(reply.arp.arp_sha, our_mac, 6);
	memcpy(reply.arp.arp_spa, arp.arp_tpa, 4);
	memcpy(reply.arp.arp_tha, arp.arp_sha, 6);
	memcpy(reply.arp.arp_tpa, arp.arp_spa, 4);
	fill_eth(&reply.eth, ETHERTYPE_ARP);
	transmit(&reply, sizeof(reply), false, false, NULL);
}

static void answer_segment(
	const struct ip *ip, const struct tcphdr *tcp, const uint8_t *data, uint32_t len)
{
	struct nic_gather payload = {.data = data, .len_bytes = len};
	uint32_t seq = ntohl(tcp->th_seq), ack = ntohl(tcp->th_ack);
	uint8_t flags = TH_ACK;

	if (tcp->th_flags & TH_RST) {
		stats.resets++;
		return;
	}
	switch (tcp->th_flags & (TH_SYN | TH_ACK)) {
	case TH_SYN:
		stats.syns++;
		send_tcp(ip->ip_dst, tcp->th_dport, ip->ip_src, tcp->th_sport, OUR_ISS, seq + 1,
			TH_SYN | TH_ACK, NULL);
		return;
	case TH_SYN | TH_ACK:
		stats.synacks++;
		answered_us = now_ns() / 1000;
		unanswered -= unanswered > 0;
		send_tcp(ip->ip_dst, tcp->th_dport, ip->ip_src, tcp->th_sport, ack, seq + 1, TH_ACK,
			NULL);
		return;
	case TH_ACK:
		break;
	default:
		stats.bad++;
		return;
	}
	if (!len && !(tcp->th_flags & TH_FIN))
		return;
	if (len) {
		stats.echoes++;
		flags |= TH_PUSH;
	}
	if (tcp->th_flags & TH_FIN) {
		stats.fins++;
		flags |= TH_FIN;
	}
	send_tcp(ip->ip_dst, tcp->th_dport, ip->ip_src, tcp->th_sport, ack,
		seq + len + (flags & TH_FIN ? 1 : 0), flags, len ? &payload : NULL);
}

static void take_pong(void)
{
	stats.pongs++;
	if (ping_sent_ns && samples < SAMPLES_MAX)
		sample_ns[samples++] = (uint32_t)(now_ns() - ping_sent_ns);
	ping_sent_ns = 0;
}

static void answer_ip(const uint8_t *frame, uint32_t len)
{
	const uint8_t *l3 = frame + sizeof(struct ether_header), *l4;
	struct tcphdr tcp;
	struct ip ip;
	uint32_t total, offset;

	if (len < sizeof(struct ether_header) + sizeof(ip) + 8)
		goto out_bad;
	memcpy(&ip, l3, sizeof(ip));
	total = ntohs(ip.ip_len);
	l4 = l3 + ip.ip_hl * 4u;
	if (total + sizeof(struct ether_header) > len || total < ip.ip_hl * 4u)
		goto out_bad;
	if (ip.ip_p == IPPROTO_ICMP && *l4 == ICMP_ECHOREPLY) {
		take_pong();
		return;
	}
	if (ip.ip_p != IPPROTO_TCP || total < ip.ip_hl * 4u + sizeof(tcp))
		goto out_bad;
	memcpy(&tcp, l4, sizeof(tcp));
	offset = ip.ip_hl * 4u + tcp.th_off * 4u;
	if (offset > total)
		goto out_bad;
	answer_segment(&ip, &tcp, l3 + offset, total - offset);
	return;
out_bad:
	stats.bad++;
}

static void answer(const struct nic_frame *f)
{
	struct ether_header eth;

	if (f->len_bytes < sizeof(eth))
		return;
	memcpy(&eth, f->data, sizeof(eth));
	if (ntohs(eth.ether_type) == ETHERTYPE_ARP)
		answer_arp(f->data, f->len_bytes);
	else if (ntohs(eth.ether_type) == ETHERTYPE_IP)
		answer_ip(f->data, f->len_bytes);
}

/* -- asking ---------------------------------------------------------------------------------- */

/* Whether another SYN may go out: not too many are unanswered, or they were given up. */
static bool may_open(void)
{
	uint64_t now_us;

	if (!go || !have_mac || stats.synacks >= arg.open)
		return false;
	if (unanswered < arg.window && opened < arg.open)
		return true;
	now_us = now_ns() / 1000;
	if (now_us - answered_us < OPEN_STALL_US)
		return false;
	answered_us = now_us;
	unanswered = 0;
	if (opened == arg.open)
		opened = 0;
	return true;
}

/* SYN from address and port number `opened`. True if one was sent. */
static bool open_one(void)
{
	struct in_addr src;

	if (!may_open())
		return false;
	src.s_addr = htonl(ntohl(arg.first.s_addr) + opened / PORTS);
	send_tcp(src, htons((uint16_t)(FIRST_PORT + opened % PORTS)), arg.target, htons(arg.port),
		OUR_ISS - 1, 0, TH_SYN, NULL);
	opened++;
	unanswered++;
	return true;
}

static void ping(void)
{
	uint64_t now = now_ns();
	struct {
		struct ether_header eth;
		struct ip ip;
		struct icmp icmp;
	} __attribute__((packed)) m = {0};
	size_t len = sizeof(m.eth) + sizeof(m.ip) + 28;

	if (!have_mac || now / 1000 < next_ping_us)
		return;
	next_ping_us = now / 1000 + arg.ping_us + (uint64_t)(random() % 1000) * arg.ping_us / 4000;
	fill_eth(&m.eth, ETHERTYPE_IP);
	m.ip = ip_header(arg.first, arg.target, IPPROTO_ICMP, sizeof(m.ip) + 28);
	m.icmp.icmp_type = ICMP_ECHO;
	m.icmp.icmp_cksum = net_checksum_fold(net_checksum_add(0, &m.icmp, 28));
	ping_sent_ns = now_ns();
	stats.pings++;
	transmit(&m, len, true, false, NULL);
}

/* The daemon's MAC address: somebody has to ask. */
static void ask_arp(void)
{
	static uint64_t again_us;
	struct {
		struct ether_header eth;
		struct ether_arp arp;
		uint8_t pad[18];
	} __attribute__((packed)) m = {0};
	uint64_t now_us = now_ns() / 1000;

	if (have_mac || !arg.target.s_addr || now_us < again_us)
		return;
	again_us = now_us + 100000;
	memset(daemon_mac, 0xff, 6);
	fill_eth(&m.eth, ETHERTYPE_ARP);
	m.arp.ea_hdr = (struct arphdr){.ar_hrd = htons(ARPHRD_ETHER),
		.ar_pro = htons(ETHERTYPE_IP),
		.ar_hln = 6,
		.ar_pln = 4,
		.ar_op = htons(ARPOP_REQUEST)};
	memcpy(m.arp.arp_sha, our_mac, 6);
	memcpy(m.arp.arp_spa, &arg.first, 4);
	memcpy(m.arp.arp_tpa, &arg.target, 4);
	transmit(&m, sizeof(m), false, false, NULL);
}

/* -- the loop -------------------------------------------------------------------------------- */

static void run(void)
{
	const struct timespec nap = {0, (long)arg.idle_us * 1000};
	struct nic_frame frames[NIC_BURST_MAX];

	while (!stop) {
		unsigned int n = nic_rx_burst(port, 0, frames, NIC_BURST_MAX);
		unsigned int work = n;

		for (unsigned int i = 0; i < n; i++)
			answer(&frames[i]);
		nic_rx_release(port, 0, frames, n);
		ask_arp();
		for (unsigned int i = 0; i < NIC_BURST_MAX && open_one(); i++)
			work++;
		if (arg.ping_us)
			ping();
		nic_tx_flush(port, 0);
		if (!work && arg.idle_us && !ping_sent_ns)
			nanosleep(&nap, NULL);
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(double p)
{
	return samples ? sample_ns[(uint32_t)(p * (samples - 1))] / 1000.0 : 0;
}

static void report(void)
{
	struct nic_stats s;

	nic_port_stats(port, &s);
	qsort(sample_ns, samples, sizeof(*sample_ns), compare);
	printf("{\"syns\": %lu, \"synacks\": %lu, \"echoes\": %lu, \"fins\": %lu, \"resets\": %lu, "
	       "\"bad\": %lu, \"sent\": %lu, \"send_failed\": %lu, \"tx_lost\": %lu, "
	       ""
	       "\"pings\": %lu, \"pongs\": %lu, \"ping_p50_us\": %.1f, \"ping_p99_us\": %.1f}\n",
		stats.syns, stats.synacks, stats.echoes, stats.fins, stats.resets, stats.bad,
		stats.sent, stats.send_failed, s.tx_queue_full + s.tx_errors, stats.pings,
		stats.pongs, percentile_us(0.5), percentile_us(0.99));
	fflush(stdout);
}

static void log_line(int level, const char *line)
{
	if (level <= 4)
		fprintf(stderr, "bench-peer: %s\n", line);
}

static int open_port(void)
{
	struct nic_port_config cfg = {.mtu_bytes = 1500, .queues = 1, .mbufs = arg.mbufs};
	struct eal_config eal = {
		.device = arg.device,
		.instance = arg.device,
		.mbufs = arg.mbufs,
		.mtu_bytes = 1500,
		.log = log_line,
	};
	bool huge;
	int err;

	if (snprintf(cfg.device, sizeof(cfg.device), "%s", arg.device) >= (int)sizeof(cfg.device))
		return -ENAMETOOLONG;
	err = eal_start(&eal, &huge);
	if (!err)
		err = nic_port_open(&port, &cfg);
	if (!err)
		memcpy(our_mac, nic_port_caps(port)->mac, 6);
	return err;
}

static void usage(void)
{
	fputs("usage: bench-peer -d DEVICE [-i IDLE_US] [-m MBUFS]\n"
	      "                  [-t TARGET -f FIRST_ADDRESS [-o CONNECTIONS -P PORT [-w WINDOW]]\n"
	      "                   [-p PING_EVERY_US]]\n",
		stderr);
	exit(2);
}

static void arguments(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "d:i:m:t:f:o:P:w:p:")) != -1) {
		uint32_t number = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
		bool good = true;

		switch (c) {
		case 'd':
			arg.device = optarg;
			break;
		case 'i':
			arg.idle_us = number;
			break;
		case 'm':
			arg.mbufs = number;
			break;
		case 't':
			good = inet_aton(optarg, &arg.target);
			break;
		case 'f':
			good = inet_aton(optarg, &arg.first);
			break;
		case 'o':
			arg.open = number;
			break;
		case 'P':
			arg.port = (uint16_t)number;
			break;
		case 'w':
			arg.window = number;
			break;
		case 'p':
			arg.ping_us = number;
			break;
		default:
			good = false;
		}
		if (!good)
			usage();
	}
	if (!arg.device || optind != argc)
		usage();
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	int err;

	arguments(argc, argv);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	prctl(PR_SET_TIMERSLACK, 1UL);
	sample_ns = calloc(SAMPLES_MAX, sizeof(*sample_ns));
	err = sample_ns ? open_port() : -ENOMEM;
	if (err) {
		fprintf(stderr, "bench-peer: %s: %s\n", arg.device, strerror(-err));
		return 1;
	}
	puts("ready");
	fflush(stdout);
	run();
	report();
	nic_port_close(port);
	eal_stop();
	free(sample_ns);
	return 0;
}
