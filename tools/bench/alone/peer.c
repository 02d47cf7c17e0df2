/* The other end of the wire: made-up hosts behind one gateway, not counted.
 *
 * Of a connection it keeps 16 bytes: what it will send next, what it expects, and the timestamp
 * to echo. Everything else it takes from the frame that it answers. It behaves as a client of
 * Linux would on a clean link: an ACK rides on the next request, a stream's segments are
 * acknowledged in pairs, the FIN is answered by a FIN. Frames are whole and their checksums
 * right, for the engine checks them.
 */
#include "alone.h"

#include <net/bytes.h>
#include <net/checksum.h>

#include <arpa/inet.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <stdlib.h>
#include <string.h>

enum {
	ETH = 14,
	IP = 20,
	TCP = 20,
	TS_OPTION = 12,
	PORTS_PER_HOST = 50000,
	FIRST_PORT = 1024,
	WSCALE = 10,
	WINDOW = 65535,
	BURST = 64,
};

enum {
	F_FIN = 1,
	F_SYN = 2,
	F_RST = 4,
	F_PSH = 8,
	F_ACK = 16,
};

enum state {
	CLOSED,
	SYN_SENT,
	ESTABLISHED,
	LAST_ACK,
};

struct conn {
	uint32_t snd, rcv, ts;
	uint8_t state;
	bool asks;    /* as soon as it is established */
	uint16_t got; /* bytes of the response */
};

struct peer {
	struct alone_config cfg;
	struct host *host;
	struct rte_mempool *pool;
	struct conn *conns;
	uint32_t count, mss;
	uint8_t mac[6];
	struct peer_counts counts;
	/* a stream */
	uint32_t una, window, wscale;
	uint32_t unacked_segs;
	uint32_t stream_conn;
};

struct peer *peer_new(const struct alone_config *cfg, struct host *h)
{
	struct peer *p = calloc(1, sizeof(*p));
	uint32_t room = cfg->mtu_bytes + 64u + RTE_PKTMBUF_HEADROOM;

	if (!p)
		alone_fail("no memory");
	p->cfg = *cfg;
	p->host = h;
	p->mss = cfg->mtu_bytes - 40u - (cfg->timestamps ? TS_OPTION : 0);
	p->count = cfg->conns + cfg->fresh_max;
	p->conns = calloc(p->count, sizeof(*p->conns));
	p->pool = rte_pktmbuf_pool_create(
		"peer", ALONE_MBUFS, 256, 0, (uint16_t)(room < 2176 ? 2176 : room), -1);
	if (!p->conns || !p->pool)
		alone_fail("no memory for the peer");
	memcpy(p->mac, host_mac(h), sizeof(p->mac));
	return p;
}

/* -- frames out ------------------------------------------------------------------------------- */

static size_t put_options(const struct peer *p, const struct conn *c, uint8_t flags, uint8_t *o)
{
	uint8_t *start = o;

	if (flags & F_SYN) {
		*o++ = 2;
		*o++ = 4;
		net_put16(o, (uint16_t)(p->cfg.mtu_bytes - 40));
		o += 2;
		*o++ = 4;
		*o++ = 2;
	} else if (p->cfg.timestamps) {
		*o++ = 1;
		*o++ = 1;
	}
	if (p->cfg.timestamps) {
		*o++ = 8;
		*o++ = 10;
		net_put32(o, (uint32_t)(host_now_us(p->host) / 1000) + 1);
		net_put32(o + 4, c->ts);
		o += 8;
	}
	if (flags & F_SYN) {
		*o++ = 1;
		*o++ = 3;
		*o++ = 3;
		*o++ = WSCALE;
	}
	while ((o - start) % 4)
		*o++ = 0;
	return (size_t)(o - start);
}

static void put_ip(const struct peer *p, uint32_t conn, uint8_t *f, size_t tcp_len)
{
	uint8_t *ip = f + ETH;
	uint16_t sum;

	memcpy(f, p->mac, 6);
	memcpy(f + 6, "\x02\0\0\0\0\x02\x08\x00", 8);
	memset(ip, 0, IP);
	ip[0] = 0x45;
	net_put16(ip + 2, (uint16_t)(IP + tcp_len));
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = 6;
	net_put32(ip + 12, (10u << 24 | 1u << 16) + conn / PORTS_PER_HOST);
	net_put32(ip + 16, 10u << 24 | 1);
	sum = net_checksum_fold(net_checksum_add(0, ip, IP));
	memcpy(ip + 10, &sum, 2);
}

/* Sends a segment with len bytes of payload; snd moves on. */
static void send_segment(struct peer *p, uint32_t conn, uint8_t flags, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(p->pool);
	struct conn *c = &p->conns[conn];
	uint8_t *f, *tcp;
	size_t hlen;
	uint32_t src, dst;
	uint16_t sum;

	if (!m)
		alone_fail("the peer is out of mbufs");
	f = rte_pktmbuf_mtod(m, uint8_t *);
	tcp = f + ETH + IP;
	hlen = TCP + put_options(p, c, flags, tcp + TCP);
	put_ip(p, conn, f, hlen + len);
	net_put16(tcp, (uint16_t)(FIRST_PORT + conn % PORTS_PER_HOST));
	net_put16(tcp + 2, ALONE_PORT);
	net_put32(tcp + 4, c->snd);
	net_put32(tcp + 8, flags & F_ACK ? c->rcv : 0);
	tcp[12] = (uint8_t)(hlen / 4 << 4);
	tcp[13] = flags;
	net_put16(tcp + 14, WINDOW);
	net_put32(tcp + 16, 0);
	memset(tcp + hlen, 'a', len);
	memcpy(&src, f + ETH + 12, 4);
	memcpy(&dst, f + ETH + 16, 4);
	sum = net_checksum_fold(net_checksum_add(
		net_checksum_pseudo4(src, dst, 6, (uint32_t)hlen + len), tcp, hlen + len));
	memcpy(tcp + 16, &sum, 2);
	m->data_len = (uint16_t)(ETH + IP + hlen + len);
	m->pkt_len = m->data_len;
	c->snd += len + ((flags & (F_SYN | F_FIN)) != 0);
	p->counts.frames_out++;
	if (rte_ring_enqueue(host_ring_to(p->host, conn % p->cfg.engines), m))
		alone_fail("the ring to the engine is full");
}

void peer_connect(struct peer *p, uint32_t conn)
{
	struct conn *c = &p->conns[conn];

	*c = (struct conn){.snd = 1000 + conn * 7, .state = SYN_SENT};
	send_segment(p, conn, F_SYN, 0);
}

void peer_connect_and_ask(struct peer *p, uint32_t conn)
{
	peer_connect(p, conn);
	p->conns[conn].asks = true;
}

void peer_request(struct peer *p, uint32_t conn)
{
	if (p->conns[conn].state != ESTABLISHED)
		alone_fail("request on connection %u, which is not established", conn);
	send_segment(p, conn, F_ACK | F_PSH, p->cfg.request_bytes);
}

void peer_stream(struct peer *p, uint32_t conn, uint32_t max_frames)
{
	struct conn *c = &p->conns[conn];

	while (max_frames-- && c->snd - p->una + p->mss <= p->window)
		send_segment(p, conn, F_ACK, p->mss);
}

/* -- frames in -------------------------------------------------------------------------------- */

struct segment {
	uint32_t conn, seq, ack, len, window;
	uint8_t flags;
	const uint8_t *opt;
	size_t opt_len;
};

/* False: not TCP from our address to one of the hosts. */
static bool parse(const struct peer *p, const uint8_t *f, uint32_t frame_len, struct segment *s)
{
	const uint8_t *ip = f + ETH, *tcp = ip + IP;
	uint32_t host;
	size_t hlen;

	if (frame_len < ETH + IP + TCP || net_get16(f + 12) != 0x0800 || ip[9] != 6)
		return false;
	host = net_get32(ip + 16) - (10u << 24 | 1u << 16);
	hlen = (tcp[12] >> 4) * 4u;
	s->conn = host * PORTS_PER_HOST + net_get16(tcp + 2) - FIRST_PORT;
	s->seq = net_get32(tcp + 4);
	s->ack = net_get32(tcp + 8);
	s->flags = tcp[13];
	s->window = net_get16(tcp + 14);
	s->len = net_get16(ip + 2) - IP - (uint32_t)hlen;
	s->opt = tcp + TCP;
	s->opt_len = hlen - TCP;
	return s->conn < p->count;
}

static void take_options(struct peer *p, struct conn *c, const struct segment *s)
{
	for (size_t i = 0; i + 1 < s->opt_len && s->opt[i];) {
		if (s->opt[i] == 1) {
			i++;
			continue;
		}
		if (s->opt[i] == 8)
			c->ts = net_get32(s->opt + i + 2);
		if (s->opt[i] == 3)
			p->wscale = s->opt[i + 2];
		if (!s->opt[i + 1])
			return;
		i += s->opt[i + 1];
	}
}

static void on_syn_ack(struct peer *p, struct conn *c, const struct segment *s)
{
	c->rcv = s->seq + 1;
	c->state = ESTABLISHED;
	p->una = s->ack;
	p->window = s->window;
	p->counts.established++;
	send_segment(p, s->conn, F_ACK, 0);
	if (c->asks)
		peer_request(p, s->conn);
}

static void on_data(struct peer *p, struct conn *c, const struct segment *s)
{
	c->rcv += s->len;
	p->counts.bytes_in += s->len;
	if (p->cfg.work == WORK_OUT) {
		p->stream_conn = s->conn;
		if (++p->unacked_segs < 2)
			return;
		p->unacked_segs = 0;
		send_segment(p, s->conn, F_ACK, 0);
		return;
	}
	c->got = (uint16_t)(c->got + s->len);
	if (c->got < p->cfg.request_bytes)
		return;
	c->got = (uint16_t)(c->got - p->cfg.request_bytes);
	p->counts.responses++;
	if (p->cfg.pure_acks && !(s->flags & F_FIN))
		send_segment(p, s->conn, F_ACK, 0);
}

static void on_segment(struct peer *p, const struct segment *s)
{
	struct conn *c = &p->conns[s->conn];

	take_options(p, c, s);
	if (s->flags & F_RST) {
		p->counts.resets++;
		c->state = CLOSED;
	} else if (s->flags & F_SYN && c->state == SYN_SENT) {
		on_syn_ack(p, c, s);
	} else if (c->state == CLOSED || s->seq != c->rcv) {
		p->counts.strange++;
	} else if (c->state == LAST_ACK) {
		c->state = CLOSED;
		p->counts.closed++;
	} else {
		if (p->cfg.work == WORK_IN) {
			p->counts.bytes_acked += s->ack - p->una;
			p->una = s->ack;
			p->window = s->window << p->wscale;
		}
		if (s->len)
			on_data(p, c, s);
		if (s->flags & F_FIN) {
			c->rcv++;
			c->state = LAST_ACK;
			send_segment(p, s->conn, F_ACK | F_FIN, 0);
		}
	}
}

static unsigned int poll_ring(struct peer *p, struct rte_ring *from)
{
	struct rte_mbuf *m[BURST];
	struct segment s;
	unsigned int n, total = 0;

	while ((n = rte_ring_dequeue_burst(from, (void **)m, BURST, NULL))) {
		for (unsigned int i = 0; i < n; i++) {
			if (m[i]->nb_segs != 1)
				alone_fail("a frame of %u segments", m[i]->nb_segs);
			if (parse(p, rte_pktmbuf_mtod(m[i], uint8_t *), m[i]->data_len, &s))
				on_segment(p, &s);
		}
		rte_pktmbuf_free_bulk(m, n);
		total += n;
	}
	return total;
}

bool peer_poll(struct peer *p)
{
	unsigned int total = 0;

	for (uint32_t i = 0; i < p->cfg.engines; i++)
		total += poll_ring(p, host_ring_from(p->host, i));
	p->counts.frames_in += total;
	if (!total && p->unacked_segs) {
		p->unacked_segs = 0;
		send_segment(p, p->stream_conn, F_ACK, 0);
	}
	return total;
}

const struct peer_counts *peer_counts(const struct peer *p)
{
	return &p->counts;
}
