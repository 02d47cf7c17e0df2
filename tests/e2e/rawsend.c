/* rawsend: hostile and odd frames, one case a run; the scripts judge what they did.
 *
 *	rawsend IFACE SRC DST PORT CASE [ARGUMENT...]
 *
 *	lie NAME             frames that lie in one field: as a SYN, then on a connection, which
 *	                     must afterwards still answer GET /64 (exit status)
 *	padded               GET /64 with bytes behind the end of the IP packet
 *	get MSS PATH         GET with this MSS option; the body on stdout, figures on stderr
 *	overlap SEED BYTES   a stream in segments that overlap with differing bytes; what the
 *	                     peer must read (first bytes win) on stdout
 *	synflood COUNT       SYNs from random addresses, on link and off
 *	arpflood COUNT       ARP packets from as many addresses, SRC being the first
 *	fragflood COUNT      fragments from random addresses: first ones whose rest never comes,
 *	                     ones that overlap, that part a header, that end past 64 KB
 *
 * Exit status: 0, 1 if the peer did not do what it must, 2 if something else failed.
 */
#include "rawnet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	ANSWER_MS = 5000,
	BODY_MAX = 1 << 20,
	LIES_OF_A_KIND = 8,
};

struct run {
	struct raw_host host;
	uint16_t port;
	char **args;
};

/* -- a request -----------------------------------------------------------------------------------
 */

/* Reads to the peer's FIN; returns the bytes, -1 if there was none in time. */
static int read_all(struct raw_conn *c, uint8_t *buf, size_t size)
{
	size_t len = 0;

	while (!c->fin && !c->reset) {
		int n = raw_conn_receive(c, ANSWER_MS, buf + len, size - len);

		if (n < 0)
			return -1;
		len += (size_t)n;
	}
	return c->fin ? (int)len : -1;
}

static void send_request(struct raw_conn *c, const char *path, unsigned int padding)
{
	char text[256];
	struct raw_segment s = {
		.sport = c->sport,
		.dport = c->dport,
		.seq = c->snd_nxt,
		.ack = c->rcv_nxt,
		.flags = RAW_ACK | RAW_PSH,
		.wnd = 65535,
		.payload = text,
		.padding = padding,
	};

	s.payload_len = (unsigned int)snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\n\r\n", path);
	raw_send_tcp(c->host, &s);
	c->snd_nxt += s.payload_len;
}

/* The body's length and place in buf; -1 if the answer is not a whole 200. */
static int fetch(struct raw_conn *c, const char *path, unsigned int padding, uint8_t *buf,
	size_t size, uint8_t **body)
{
	int len;

	send_request(c, path, padding);
	len = read_all(c, buf, size);
	raw_conn_reset(c);
	if (len < 12 || memcmp(buf, "HTTP/1.0 200", 12) != 0)
		return -1;
	*body = memmem(buf, (size_t)len, "\r\n\r\n", 4);
	if (!*body)
		return -1;
	*body += 4;
	return len - (int)(*body - buf);
}

static int fetch_64(struct raw_conn *c, unsigned int padding)
{
	static uint8_t buf[8192];
	uint8_t *body;

	return fetch(c, "/64", padding, buf, sizeof(buf), &body) == 64 ? 0 : 1;
}

/* -- lies -------------------------------------------------------------------------------------- */

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

/* A lie is a row: options, data offset, IP total length; land: from the peer to itself. */
static const struct lie {
	const char *name;
	const uint8_t *options;
	unsigned int options_len;
	unsigned int data_offset;
	unsigned int ip_total;
	bool land;
} lies[] = {
	{"option-length-0", BYTES(254, 0, 1, 1), 0, 0, false},
	{"option-length-1", BYTES(254, 1, 1, 1), 0, 0, false},
	{"mss-option-length-0", BYTES(2, 0, 5, 180), 0, 0, false},
	{"option-past-header", BYTES(254, 40, 1, 1), 0, 0, false},
	{"option-cut", BYTES(1, 1, 1, 2), 0, 0, false},
	{"offset-0", NULL, 0, 16, 0, false}, /* 16 leaves 0 in the nibble */
	{"offset-4", NULL, 0, 4, 0, false},
	{"offset-past-segment", NULL, 0, 15, 0, false},
	{"ip-length-above-frame", NULL, 0, 0, 600, false},
	{"ip-length-65535", NULL, 0, 0, 65535, false},
	{"ip-length-below-header", NULL, 0, 0, 19, false},
	{"ip-length-inside-tcp", NULL, 0, 0, 30, false},
	{"land", NULL, 0, 0, 0, true},
};

static const struct lie *lie_find(const char *name)
{
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++)
		if (strcmp(lies[i].name, name) == 0)
			return &lies[i];
	fprintf(stderr, "no lie is called %s\n", name);
	exit(2);
}

static struct raw_segment lie_segment(const struct lie *l, const struct raw_host *h, uint16_t port)
{
	return (struct raw_segment){
		.sport = l->land ? port : (uint16_t)(1024 + raw_random() % 8000),
		.dport = port,
		.seq = raw_random(),
		.flags = RAW_SYN,
		.wnd = 65535,
		.options = l->options,
		.options_len = l->options_len,
		.data_offset = l->data_offset,
		.ip_total = l->ip_total,
		.src_ip = l->land ? h->peer_ip : 0,
	};
}

static int case_lie(struct run *r)
{
	const struct lie *l = lie_find(r->args[0]);
	struct raw_segment s;
	struct raw_conn c;

	for (int i = 0; i < LIES_OF_A_KIND; i++) {
		s = lie_segment(l, &r->host, r->port);
		raw_send_tcp(&r->host, &s);
	}
	if (!raw_connect(&c, &r->host, r->port, NULL, 0))
		return 1;
	s.flags = RAW_ACK | RAW_PSH;
	s.sport = l->land ? r->port : c.sport;
	s.seq = c.snd_nxt;
	s.ack = c.rcv_nxt;
	s.payload = "POISON"; /* would spoil the request behind it */
	s.payload_len = 6;
	for (int i = 0; i < LIES_OF_A_KIND; i++)
		raw_send_tcp(&r->host, &s);
	return fetch_64(&c, 0);
}

static int case_padded(struct run *r)
{
	struct raw_conn c;

	return raw_connect(&c, &r->host, r->port, NULL, 0) ? fetch_64(&c, 200) : 1;
}

/* -- MSS -----------------------------------------------------------------------------------------
 */

static int case_get(struct run *r)
{
	static uint8_t buf[BODY_MAX];
	unsigned int mss = (unsigned int)atoi(r->args[0]);
	const uint8_t option[4] = {2, 4, (uint8_t)(mss >> 8), (uint8_t)mss};
	struct raw_conn c;
	uint8_t *body;
	int len;

	if (!raw_connect(&c, &r->host, r->port, option, sizeof(option)))
		return 1;
	len = fetch(&c, r->args[1], 0, buf, sizeof(buf), &body);
	fprintf(stderr, "%d %u %u\n", len, c.segment_max, c.mss_peer);
	if (len < 0 || fwrite(body, 1, (size_t)len, stdout) != (size_t)len)
		return 1;
	return 0;
}

/* -- overlap -------------------------------------------------------------------------------------
 */

enum {
	BLOCK = 1024, /* within one segment, so that the last of a block can close every gap */
	PIECES = 6,
};

/* Sends bytes [from, from + len) of the stream anew at random, and notes those that are the first
 * to arrive at their place. */
static void send_piece(
	struct raw_conn *c, uint8_t *stream, bool *sent, unsigned int from, unsigned int len)
{
	uint8_t bytes[BLOCK];

	for (unsigned int i = 0; i < len; i++) {
		bytes[i] = (uint8_t)raw_random();
		if (!sent[from + i])
			stream[from + i] = bytes[i];
		sent[from + i] = true;
	}
	raw_conn_send(c, (int32_t)from, bytes, len);
}

/* A block: pieces behind its first byte, which come out of order and lie over each other; some
 * bytes from the block before; then all of it, which fills the gaps. */
static void send_block(struct raw_conn *c, uint8_t *stream, bool *sent, unsigned int at)
{
	for (int i = 0; i < PIECES; i++) {
		unsigned int from = 1 + raw_random() % (BLOCK - 1);
		unsigned int len = 1 + raw_random() % (BLOCK - from);

		send_piece(c, stream, sent, at + from, len);
	}
	if (at > 0)
		send_piece(c, stream, sent, at - BLOCK / 2, BLOCK);
	send_piece(c, stream, sent, at, BLOCK);
}

/* FIN at the end of the stream; true if all of it is acknowledged and the reader closes too. */
static bool finish(struct raw_conn *c, unsigned int len)
{
	struct raw_arrival a = {0};
	struct raw_segment fin = {
		.sport = c->sport,
		.dport = c->dport,
		.seq = c->snd_nxt + len,
		.ack = c->rcv_nxt,
		.flags = RAW_FIN | RAW_ACK,
		.wnd = 65535,
	};

	raw_send_tcp(c->host, &fin);
	c->snd_nxt += len + 1;
	while (a.ack != c->snd_nxt || !(a.flags & RAW_FIN)) /* the reader has seen the end */
		if (!raw_wait(c->host, c->sport, c->dport, ANSWER_MS, &a) || a.flags & RAW_RST)
			return false;
	raw_conn_reset(c);
	return true;
}

static int case_overlap(struct run *r)
{
	unsigned int len = (unsigned int)atoi(r->args[1]) / BLOCK * BLOCK;
	uint8_t *stream = calloc(1, len);
	bool *sent = calloc(len, sizeof(*sent));
	struct raw_conn c;
	bool ok;

	if (!stream || !sent || !raw_connect(&c, &r->host, r->port, NULL, 0))
		return 2;
	raw_random_seed((uint64_t)atoi(r->args[0]));
	for (unsigned int at = 0; at < len; at += BLOCK) {
		send_block(&c, stream, sent, at);
		usleep(1000); /* the window of 64 KB and the port's ring are never full */
	}
	ok = finish(&c, len);
	fwrite(stream, 1, len, stdout);
	free(stream);
	free(sent);
	return ok ? 0 : 1;
}

/* -- floods --------------------------------------------------------------------------------------
 */

static uint16_t flood_port;

static size_t make_syn(const struct raw_host *h, uint32_t i, uint8_t *frame)
{
	static const uint8_t options[] = {2, 4, 5, 180, 4, 2, 1, 1, 1, 3, 3, 7};
	uint32_t random = raw_random();
	struct raw_segment s = {
		.sport = (uint16_t)raw_random(),
		.dport = flood_port,
		.seq = raw_random(),
		.flags = RAW_SYN,
		.wnd = 65535,
		.options = options,
		.options_len = sizeof(options),
	};

	/* every second one pretends to be on link; none to be what no source can be */
	s.src_ip = i % 2 ? (h->ip & 0xffffff00) | (3 + random % 250)
			 : (11 + random % 100) << 24 | (random >> 8 & 0xffffff);
	return raw_tcp_frame(h, &s, frame);
}

static void print_rate(const char *what, uint32_t count, uint64_t us)
{
	printf("%u %s in %.1f s, %.0f a second\n", count, what, (double)us / 1e6,
		(double)count * 1e6 / (double)us);
}

static int case_synflood(struct run *r)
{
	uint32_t count = (uint32_t)atoi(r->args[0]);

	flood_port = r->port;
	print_rate("SYNs", count, raw_flood(&r->host, count, make_syn));
	return 0;
}

/* In turn: a request for the peer's address, a reply nobody asked for, an announcement. */
static size_t make_arp(const struct raw_host *h, uint32_t i, uint8_t *frame)
{
	uint32_t ip = h->ip + i;
	const uint8_t mac[6] = {
		0x02, 0x77, (uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};

	if (i % 3 == 0)
		return raw_arp_frame(h, 1, ip, mac, h->peer_ip, frame);
	return raw_arp_frame(h, i % 3 == 1 ? 2 : 1, ip, mac, i % 3 == 1 ? h->peer_ip : ip, frame);
}

static int case_arpflood(struct run *r)
{
	uint32_t count = (uint32_t)atoi(r->args[0]);

	print_rate("ARP packets", count, raw_flood(&r->host, count, make_arp));
	return 0;
}

/* Makes frame a fragment: first of a packet of its own, or one that lies about the one before. */
static size_t make_fragment(const struct raw_host *h, uint32_t i, uint8_t *frame)
{
	static const uint16_t words[4] = {0x2000, 0x2002, 0x2001, 0x1fff};
	static const uint8_t payload[44] = {0};
	static uint32_t src_ip;
	struct raw_segment s = {.sport = 7,
		.dport = flood_port,
		.flags = RAW_ACK,
		.payload = payload,
		.payload_len = sizeof(payload)};
	uint8_t *ip = frame + RAW_ETH_HLEN;
	uint32_t sum = 0;
	size_t len;

	if (i % 4 == 0)
		src_ip = 0x0b000000 | (raw_random() & 0xffffff);
	s.src_ip = src_ip;
	len = raw_tcp_frame(h, &s, frame);
	ip[4] = (uint8_t)(i >> 10);
	ip[5] = (uint8_t)(i >> 2);
	ip[6] = (uint8_t)(words[i % 4] >> 8);
	ip[7] = (uint8_t)words[i % 4];
	ip[10] = ip[11] = 0;
	for (unsigned int at = 0; at < RAW_IP_HLEN; at += 2)
		sum += (uint32_t)ip[at] << 8 | ip[at + 1];
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	return len;
}

static int case_fragflood(struct run *r)
{
	uint32_t count = (uint32_t)atoi(r->args[0]);

	flood_port = r->port;
	print_rate("fragments", count, raw_flood(&r->host, count, make_fragment));
	return 0;
}

/* -- main -----------------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	int args;
	int (*run)(struct run *);
} cases[] = {
	{"lie", 1, case_lie},
	{"padded", 0, case_padded},
	{"get", 2, case_get},
	{"overlap", 2, case_overlap},
	{"synflood", 1, case_synflood},
	{"arpflood", 1, case_arpflood},
	{"fragflood", 1, case_fragflood},
};

static uint32_t address(const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1) {
		fprintf(stderr, "%s is no address\n", text);
		exit(2);
	}
	return ntohl(a.s_addr);
}

int main(int argc, char **argv)
{
	struct run r = {0};

	for (size_t i = 0; argc > 5 && i < sizeof(cases) / sizeof(*cases); i++) {
		if (strcmp(cases[i].name, argv[5]) != 0 || argc != 6 + cases[i].args)
			continue;
		raw_random_seed(raw_now_us() ^ (uint64_t)getpid() << 32);
		raw_open(&r.host, argv[1], address(argv[2]), address(argv[3]));
		r.port = (uint16_t)atoi(argv[4]);
		r.args = argv + 6;
		return cases[i].run(&r);
	}
	fprintf(stderr, "usage: rawsend IFACE SRC DST PORT CASE [ARGUMENT...] (see its source)\n");
	return 2;
}
