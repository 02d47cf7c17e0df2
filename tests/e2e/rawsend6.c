/* rawsend6: hostile and odd frames of IPv6, one case a run; the script judges what they did.
 *
 *	rawsend6 IFACE MAC SRC DST CASE
 *
 * MAC and DST are the daemon's, SRC an address on its link that nobody has. Each case is sent
 * eight times but for
 *
 *	ra        one good router advertisement of 2001:db8:77::/64 by fe80::66
 *	nd-flood  100,000 neighbour solicitations from as many addresses and MACs
 *
 * Exit status: 0, or 2 if something failed.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/bytes.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IP6_HLEN = 40,
	TIMES = 8,
	FLOOD = 100000,
	PROTO_TCP = 6,
	PROTO_ICMP6 = 58,
};

struct run {
	int fd;
	int ifindex;
	uint8_t mac[6];
	uint8_t src[16];
	uint8_t dst[16];
	uint8_t frame[2048];
};

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0x77, 0x66};
static const uint8_t our_link_local[16] = {0xfe, 0x80, [15] = 0x66};
static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* Ethernet and IPv6 headers for `len` bytes; returns where these go. */
static uint8_t *begin(
	struct run *r, const uint8_t src[16], const uint8_t dst[16], uint8_t next, size_t len)
{
	uint8_t *f = r->frame, *ip = f + ETH_HLEN;

	memset(f, 0, sizeof(r->frame));
	memcpy(f, r->mac, 6);
	if (dst[0] == 0xff) {
		f[0] = f[1] = 0x33;
		memcpy(f + 2, dst + 12, 4);
	}
	memcpy(f + 6, our_mac, 6);
	net_put16(f + 12, 0x86dd);
	ip[0] = 0x60;
	net_put16(ip + 4, (unsigned int)len);
	ip[6] = next;
	ip[7] = 64;
	memcpy(ip + 8, src, 16);
	memcpy(ip + 24, dst, 16);
	return ip + IP6_HLEN;
}

static void send_frame(struct run *r, size_t payload_len)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_ifindex = r->ifindex};
	size_t len = ETH_HLEN + IP6_HLEN + payload_len;

	if (sendto(r->fd, r->frame, len, 0, (struct sockaddr *)&sll, sizeof(sll)) != (ssize_t)len)
		die("sendto");
}

/* -- extension headers, before a SYN to port 80 ------------------------------------------------ */

static void send_ext(struct run *r, uint8_t next, const uint8_t *ext, size_t ext_len)
{
	uint8_t *at = begin(r, r->src, r->dst, next, ext_len + 20);

	memcpy(at, ext, ext_len);
	at += ext_len;
	net_put16(at, 4000);
	net_put16(at + 2, 80);
	at[12] = 0x50;
	at[13] = 2;
	send_frame(r, ext_len + 20);
}

static void ext_many(struct run *r)
{
	uint8_t ext[9 * 8] = {0};

	for (unsigned int i = 0; i < 9; i++) {
		ext[i * 8] = i < 8 ? 60 : PROTO_TCP;
		ext[i * 8 + 2] = 1;
		ext[i * 8 + 3] = 4;
	}
	send_ext(r, 60, ext, sizeof(ext));
}

static void ext_past_end(struct run *r)
{
	send_ext(r, 60, (const uint8_t[8]){PROTO_TCP, 255, 1, 4}, 8);
}

static void ext_option(struct run *r)
{
	send_ext(r, 60, (const uint8_t[8]){PROTO_TCP, 0, 1, 200}, 8);
}

static void routing_0(struct run *r)
{
	send_ext(r, 43, (const uint8_t[24]){PROTO_TCP, 2, 0, 1, [8] = 0x20, 1, 0xd, 0xb8}, 24);
}

static void fragment(struct run *r)
{
	send_ext(r, 44, (const uint8_t[8]){PROTO_TCP, 0, 0, 9, 1, 2, 3, 4}, 8);
}

static void jumbogram(struct run *r)
{
	begin(r, r->src, r->dst, 0, 0);
	memcpy(r->frame + ETH_HLEN + IP6_HLEN,
		(const uint8_t[8]){PROTO_TCP, 0, 0xc2, 4, 0, 1, 0, 0}, 8);
	send_frame(r, 28);
}

static void mapped(struct run *r)
{
	const uint8_t src[16] = {[10] = 0xff, 0xff, 10, 77, 0, 1};

	begin(r, src, r->dst, PROTO_TCP, 20);
	send_frame(r, 20);
}

/* -- neighbour discovery -------------------------------------------------------------------------
 */

static void finish_icmp(struct run *r, size_t len)
{
	const uint8_t *ip = r->frame + ETH_HLEN;
	uint8_t *msg = r->frame + ETH_HLEN + IP6_HLEN;
	uint32_t sum = (uint32_t)len + PROTO_ICMP6;

	net_put16(msg + 2, 0);
	for (size_t i = 8; i < IP6_HLEN; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)msg[i] << 8 | msg[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	net_put16(msg + 2, ~sum & 0xffff);
}

static void send_nd(struct run *r, uint8_t hop_limit, size_t len)
{
	r->frame[ETH_HLEN + 7] = hop_limit;
	finish_icmp(r, len);
	send_frame(r, len);
}

static uint8_t *put_solicit(struct run *r, const uint8_t src[16], const uint8_t mac[6])
{
	uint8_t *msg = begin(r, src, r->dst, PROTO_ICMP6, 32);

	msg[0] = 135;
	memcpy(msg + 8, r->dst, 16);
	msg[24] = 1;
	msg[25] = 1;
	memcpy(msg + 26, mac, 6);
	return msg;
}

static void nd_option_0(struct run *r)
{
	put_solicit(r, r->src, our_mac)[25] = 0;
	send_nd(r, 255, 32);
}

static void nd_hop_limit(struct run *r)
{
	put_solicit(r, r->src, our_mac);
	send_nd(r, 254, 32);
}

static void nd_conflict(struct run *r)
{
	uint8_t *msg = begin(r, r->src, all_nodes, PROTO_ICMP6, 32);

	msg[0] = 136;
	msg[4] = 0x20;
	memcpy(msg + 8, r->dst, 16);
	msg[24] = 2;
	msg[25] = 1;
	memcpy(msg + 26, our_mac, 6);
	send_nd(r, 255, 32);
}

static void put_router_advert(struct run *r)
{
	const uint8_t prefix[16] = {0x20, 1, 0xd, 0xb8, 0, 0x77};
	uint8_t *msg = begin(r, our_link_local, all_nodes, PROTO_ICMP6, 56);

	msg[0] = 134;
	msg[4] = 64;
	net_put16(msg + 6, 1800);
	msg[16] = 3;
	msg[17] = 4;
	msg[18] = 64;
	msg[19] = 0xc0;
	net_put16(msg + 22, 7200);
	net_put16(msg + 26, 3600);
	memcpy(msg + 32, prefix, 16);
	msg[48] = 1;
	msg[49] = 1;
	memcpy(msg + 50, our_mac, 6);
}

static void ra(struct run *r)
{
	put_router_advert(r);
	send_nd(r, 255, 56);
}

static void ra_hop_limit(struct run *r)
{
	put_router_advert(r);
	send_nd(r, 254, 56);
}

static void nd_flood(struct run *r)
{
	uint8_t src[16], mac[6] = {2, 9};

	memcpy(src, r->src, 16);
	for (uint32_t n = 0; n < FLOOD; n++) {
		memcpy(src + 8, &n, sizeof(n));
		memcpy(mac + 2, &n, sizeof(n));
		put_solicit(r, src, mac);
		memcpy(r->frame + 6, mac, 6);
		send_nd(r, 255, 32);
	}
}

static const struct {
	const char *name;
	void (*send)(struct run *r);
	unsigned int times;
} cases[] = {
	{"ext-many", ext_many, TIMES},
	{"ext-past-end", ext_past_end, TIMES},
	{"ext-option", ext_option, TIMES},
	{"routing-0", routing_0, TIMES},
	{"fragment", fragment, TIMES},
	{"jumbogram", jumbogram, TIMES},
	{"mapped", mapped, TIMES},
	{"nd-option-0", nd_option_0, TIMES},
	{"nd-hop-limit", nd_hop_limit, TIMES},
	{"nd-conflict", nd_conflict, TIMES},
	{"nd-flood", nd_flood, 1},
	{"ra", ra, 1},
	{"ra-hop-limit", ra_hop_limit, TIMES},
};

static void open_socket(struct run *r, const char *ifname)
{
	r->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	r->ifindex = (int)if_nametoindex(ifname);
	if (r->fd < 0 || !r->ifindex)
		die(ifname);
}

int main(int argc, char **argv)
{
	static struct run r;
	uint8_t *m = r.mac;

	if (argc != 6 ||
		sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4,
			m + 5) != 6 ||
		inet_pton(AF_INET6, argv[3], r.src) != 1 ||
		inet_pton(AF_INET6, argv[4], r.dst) != 1) {
		fprintf(stderr, "usage: rawsend6 IFACE MAC SRC DST CASE\n");
		return 2;
	}
	open_socket(&r, argv[1]);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[5]) != 0)
			continue;
		for (unsigned int k = 0; k < cases[i].times; k++)
			cases[i].send(&r);
		close(r.fd);
		return 0;
	}
	fprintf(stderr, "rawsend6: no case '%s'\n", argv[5]);
	return 2;
}
