/* Building, sending and receiving frames; see rawnet.h. */
#include "rawnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/bytes.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	FLOOD_BATCH = 256,
	CONNECT_TRIES = 5,
	ARP_LEN = 28,
};

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void raw_die(const char *what)
{
	perror(what);
	exit(2);
}

uint64_t raw_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

void raw_random_seed(uint64_t seed)
{
	random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

uint32_t raw_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)(random_state * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

/* -- fields ---------------------------------------------------------------------------------- */

static uint32_t sum_add(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += net_get16(p + i);
	return len % 2 ? sum + ((uint32_t)p[len - 1] << 8) : sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* -- frames out -------------------------------------------------------------------------------- */

static void put_eth(const struct raw_host *h, const uint8_t dst[6], uint16_t type, uint8_t *frame)
{
	memcpy(frame, dst, 6);
	memcpy(frame + 6, h->mac, 6);
	net_put16(frame + 12, type);
}

static void put_ip(
	const struct raw_host *h, const struct raw_segment *s, size_t l4_len, uint8_t *ip)
{
	memset(ip, 0, RAW_IP_HLEN);
	ip[0] = 0x45;
	net_put16(ip + 2, s->ip_total ? s->ip_total : (unsigned int)(RAW_IP_HLEN + l4_len));
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	net_put32(ip + 12, s->src_ip ? s->src_ip : h->ip);
	net_put32(ip + 16, s->dst_ip ? s->dst_ip : h->peer_ip);
	net_put16(ip + 10, sum_fold(sum_add(0, ip, RAW_IP_HLEN)));
}

/* The sum covers what a receiver that believes the IP header takes for the segment, as far as
 * there are bytes, so that only the lie itself can be the reason to drop it. */
static void put_tcp_sum(const uint8_t *ip, uint8_t *tcp, size_t there)
{
	size_t len = net_get16(ip + 2) > RAW_IP_HLEN ? net_get16(ip + 2) - (size_t)RAW_IP_HLEN : 0;
	uint32_t sum = sum_add(IPPROTO_TCP, ip + 12, 8);
	size_t at = len < 18 ? 4 : 16; /* the field, or where a shorter segment hides it */

	if (len > there)
		len = there;
	if (len < at + 2)
		return;
	sum += (uint32_t)len;
	net_put16(tcp + at, 0);
	net_put16(tcp + at, sum_fold(sum_add(sum, tcp, len)));
}

size_t raw_tcp_frame(const struct raw_host *h, const struct raw_segment *s, uint8_t *frame)
{
	unsigned int options = (s->options_len + 3) / 4 * 4;
	size_t l4_len = RAW_TCP_HLEN + options + s->payload_len;
	uint8_t *ip = frame + RAW_ETH_HLEN, *tcp = ip + RAW_IP_HLEN;

	put_eth(h, h->peer_mac, ETHERTYPE_IP, frame);
	put_ip(h, s, l4_len, ip);
	memset(tcp, 0, RAW_TCP_HLEN + options);
	net_put16(tcp, s->sport);
	net_put16(tcp + 2, s->dport);
	net_put32(tcp + 4, s->seq);
	net_put32(tcp + 8, s->ack);
	tcp[12] = (uint8_t)((s->data_offset ? s->data_offset : 5 + options / 4) << 4);
	tcp[13] = s->flags;
	net_put16(tcp + 14, s->wnd);
	if (s->options_len)
		memcpy(tcp + RAW_TCP_HLEN, s->options, s->options_len);
	if (s->payload_len)
		memcpy(tcp + RAW_TCP_HLEN + options, s->payload, s->payload_len);
	memset(tcp + l4_len, 'X', s->padding);
	put_tcp_sum(ip, tcp, l4_len + s->padding);
	return RAW_ETH_HLEN + RAW_IP_HLEN + l4_len + s->padding;
}

size_t raw_arp_frame(const struct raw_host *h, uint16_t op, uint32_t ip, const uint8_t mac[6],
	uint32_t target_ip, uint8_t *frame)
{
	static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
	uint8_t *arp = frame + RAW_ETH_HLEN;

	put_eth(h, op == 1 ? broadcast : h->peer_mac, ETHERTYPE_ARP, frame);
	memcpy(frame + 6, mac, 6);
	memcpy(arp, head, sizeof(head));
	net_put16(arp + 6, op);
	memcpy(arp + 8, mac, 6);
	net_put32(arp + 14, ip);
	memcpy(arp + 18, op == 1 ? (const uint8_t[6]){0} : h->peer_mac, 6);
	net_put32(arp + 24, target_ip);
	return RAW_ETH_HLEN + ARP_LEN;
}

void raw_send(const struct raw_host *h, const void *frame, size_t len)
{
	while (send(h->fd, frame, len, 0) < 0)
		if (errno != EINTR && errno != ENOBUFS)
			raw_die("send");
}

void raw_send_tcp(const struct raw_host *h, const struct raw_segment *s)
{
	uint8_t frame[RAW_FRAME_MAX];

	raw_send(h, frame, raw_tcp_frame(h, s, frame));
}

static void send_all(const struct raw_host *h, struct mmsghdr *m, unsigned int n)
{
	unsigned int done = 0;

	while (done < n) {
		int r = sendmmsg(h->fd, m + done, n - done, 0);

		if (r > 0)
			done += (unsigned int)r;
		else if (errno != EINTR && errno != ENOBUFS && errno != EAGAIN)
			raw_die("sendmmsg");
	}
}

uint64_t raw_flood(const struct raw_host *h, uint32_t count,
	size_t (*make)(const struct raw_host *h, uint32_t i, uint8_t *frame))
{
	static uint8_t frame[FLOOD_BATCH][128];
	struct iovec iov[FLOOD_BATCH];
	struct mmsghdr m[FLOOD_BATCH] = {0};
	uint64_t start_us = raw_now_us();
	unsigned int n = 0;

	for (unsigned int i = 0; i < FLOOD_BATCH; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	for (uint32_t i = 0; i < count; i++) {
		iov[n] = (struct iovec){frame[n], make(h, i, frame[n])};
		if (++n == FLOOD_BATCH || i + 1 == count) {
			send_all(h, m, n);
			n = 0;
		}
	}
	return raw_now_us() - start_us;
}

/* -- frames in -----------------------------------------------------------------------------------
 */

/* The next frame for us; 0 after the deadline. Our own come back too and are skipped. */
static size_t receive(const struct raw_host *h, uint64_t deadline_us, uint8_t *buf, size_t size)
{
	for (;;) {
		struct sockaddr_ll from = {0};
		socklen_t from_len = sizeof(from);
		uint64_t now_us = raw_now_us();
		struct pollfd p = {.fd = h->fd, .events = POLLIN};
		ssize_t n = recvfrom(
			h->fd, buf, size, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);

		if (n > RAW_ETH_HLEN && from.sll_pkttype != PACKET_OUTGOING)
			return (size_t)n;
		if (n >= 0)
			continue;
		if (errno != EAGAIN && errno != EINTR)
			raw_die("recvfrom");
		if (now_us >= deadline_us)
			return 0;
		poll(&p, 1, (int)((deadline_us - now_us) / 1000) + 1);
	}
}

static bool is_arp(const uint8_t *f, size_t len, uint16_t op)
{
	return len >= RAW_ETH_HLEN + ARP_LEN && net_get16(f + 12) == ETHERTYPE_ARP &&
	       net_get16(f + RAW_ETH_HLEN + 6) == op;
}

static void answer_arp(const struct raw_host *h, const uint8_t *f, size_t len)
{
	uint8_t out[64];

	if (is_arp(f, len, 1) && net_get32(f + RAW_ETH_HLEN + 24) == h->ip)
		raw_send(h, out, raw_arp_frame(h, 2, h->ip, h->mac, h->peer_ip, out));
}

static uint16_t find_mss(const uint8_t *opt, size_t len)
{
	for (size_t at = 0; at < len && opt[at] != 0;) {
		if (opt[at] == 1) {
			at++;
			continue;
		}
		if (len - at < 2 || opt[at + 1] < 2 || opt[at + 1] > len - at)
			return 0;
		if (opt[at] == 2 && opt[at + 1] == 4)
			return net_get16(opt + at + 2);
		at += opt[at + 1];
	}
	return 0;
}

/* False if the frame is no segment for these ports of ours. */
static bool parse(const struct raw_host *h, const uint8_t *f, size_t len, uint16_t sport,
	uint16_t dport, struct raw_arrival *out)
{
	const uint8_t *ip = f + RAW_ETH_HLEN, *tcp = ip + RAW_IP_HLEN;
	size_t hlen, total;

	if (len < RAW_ETH_HLEN + RAW_IP_HLEN + RAW_TCP_HLEN || net_get16(f + 12) != ETHERTYPE_IP ||
		ip[0] != 0x45 || ip[9] != IPPROTO_TCP || net_get32(ip + 16) != h->ip)
		return false;
	total = net_get16(ip + 2);
	hlen = (size_t)(tcp[12] >> 4) * 4;
	if (total > len - RAW_ETH_HLEN || hlen < RAW_TCP_HLEN || RAW_IP_HLEN + hlen > total ||
		net_get16(tcp) != dport || net_get16(tcp + 2) != sport)
		return false;
	*out = (struct raw_arrival){
		.seq = net_get32(tcp + 4),
		.ack = net_get32(tcp + 8),
		.flags = tcp[13],
		.wnd = net_get16(tcp + 14),
		.mss = find_mss(tcp + RAW_TCP_HLEN, hlen - RAW_TCP_HLEN),
		.payload = tcp + hlen,
		.payload_len = (unsigned int)(total - RAW_IP_HLEN - hlen),
	};
	return true;
}

bool raw_wait(struct raw_host *h, uint16_t sport, uint16_t dport, unsigned int timeout_ms,
	struct raw_arrival *out)
{
	static uint8_t buf[65536];
	uint64_t deadline_us = raw_now_us() + timeout_ms * UINT64_C(1000);
	size_t n;

	while ((n = receive(h, deadline_us, buf, sizeof(buf)))) {
		answer_arp(h, buf, n);
		if (parse(h, buf, n, sport, dport, out))
			return true;
	}
	return false;
}

/* -- opening -------------------------------------------------------------------------------------
 */

static void resolve_peer(struct raw_host *h)
{
	uint8_t buf[2048], frame[64];

	for (int i = 0; i < 20; i++) {
		uint64_t deadline_us = raw_now_us() + 100000;
		size_t n;

		raw_send(h, frame, raw_arp_frame(h, 1, h->ip, h->mac, h->peer_ip, frame));
		while ((n = receive(h, deadline_us, buf, sizeof(buf)))) {
			if (!is_arp(buf, n, 2) || net_get32(buf + RAW_ETH_HLEN + 14) != h->peer_ip)
				continue;
			memcpy(h->peer_mac, buf + RAW_ETH_HLEN + 8, 6);
			return;
		}
	}
	fprintf(stderr, "the peer does not answer ARP\n");
	exit(2);
}

void raw_open(struct raw_host *h, const char *ifname, uint32_t ip, uint32_t peer_ip)
{
	const int sndbuf = 4 << 20;
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	*h = (struct raw_host){.ip = ip, .peer_ip = peer_ip};
	memcpy(h->mac, (const uint8_t[2]){0x02, 0x66}, 2);
	net_put32(h->mac + 2, ip);
	h->ifindex = (int)if_nametoindex(ifname);
	if (!h->ifindex)
		raw_die(ifname);
	h->fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	sa.sll_ifindex = h->ifindex;
	if (h->fd < 0 || bind(h->fd, (struct sockaddr *)&sa, sizeof(sa)))
		raw_die("packet socket");
	if (setsockopt(h->fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf)) ||
		setsockopt(h->fd, SOL_SOCKET, SO_RCVBUFFORCE, &sndbuf, sizeof(sndbuf)))
		raw_die("socket buffers");
	resolve_peer(h);
}

/* -- a small TCP ---------------------------------------------------------------------------------
 */

static struct raw_segment segment(const struct raw_conn *c, uint8_t flags)
{
	return (struct raw_segment){
		.sport = c->sport,
		.dport = c->dport,
		.seq = c->snd_nxt,
		.ack = flags & RAW_ACK ? c->rcv_nxt : 0,
		.flags = flags,
		.wnd = 65535,
	};
}

bool raw_connect(struct raw_conn *c, struct raw_host *h, uint16_t dport, const uint8_t *options,
	unsigned int options_len)
{
	struct raw_arrival a;
	struct raw_segment syn;

	*c = (struct raw_conn){.host = h, .dport = dport, .iss = raw_random()};
	c->sport = (uint16_t)(10000 + (raw_random() + raw_now_us()) % 20000);
	c->snd_nxt = c->iss;
	syn = segment(c, RAW_SYN);
	syn.options = options;
	syn.options_len = options_len;
	for (int i = 0; i < CONNECT_TRIES; i++) {
		raw_send_tcp(h, &syn);
		if (raw_wait(h, c->sport, dport, 1000, &a) && a.flags == (RAW_SYN | RAW_ACK) &&
			a.ack == c->iss + 1)
			break;
		if (i + 1 == CONNECT_TRIES)
			return false;
	}
	c->irs = a.seq;
	c->rcv_nxt = a.seq + 1;
	c->snd_nxt = c->iss + 1;
	c->mss_peer = a.mss;
	syn = segment(c, RAW_ACK);
	raw_send_tcp(h, &syn);
	return true;
}

void raw_conn_send(struct raw_conn *c, int32_t offset, const void *payload, unsigned int len)
{
	struct raw_segment s = segment(c, RAW_ACK | RAW_PSH);

	s.seq += (uint32_t)offset;
	s.payload = payload;
	s.payload_len = len;
	raw_send_tcp(c->host, &s);
}

int raw_conn_receive(struct raw_conn *c, unsigned int timeout_ms, uint8_t *buf, size_t size)
{
	struct raw_segment ack;
	struct raw_arrival a;
	size_t len;

	if (!raw_wait(c->host, c->sport, c->dport, timeout_ms, &a))
		return -1;
	if (a.flags & RAW_RST)
		c->reset = true;
	if (a.seq != c->rcv_nxt || (!a.payload_len && !(a.flags & RAW_FIN)))
		return 0;
	len = a.payload_len < size ? a.payload_len : size;
	memcpy(buf, a.payload, len);
	if (a.payload_len > c->segment_max)
		c->segment_max = a.payload_len;
	c->rcv_nxt += (uint32_t)len;
	if (a.flags & RAW_FIN && len == a.payload_len) {
		c->fin = true;
		c->rcv_nxt++;
	}
	ack = segment(c, RAW_ACK);
	raw_send_tcp(c->host, &ack);
	return (int)len;
}

void raw_conn_reset(struct raw_conn *c)
{
	struct raw_segment s = segment(c, RAW_RST | RAW_ACK);

	raw_send_tcp(c->host, &s);
}
