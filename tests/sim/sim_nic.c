#include "sim_nic.h"

#include <net/bytes.h>
#include <net/checksum.h>
#include <net/ip6.h>
#include <net/packet.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	FRAME_MAX = NET_ETH_HLEN + 65535,
	TCP_FLAGS_AT = 13,
	TCP_CHECKSUM_AT = 16,
	IP_CHECKSUM_AT = 10,
	FIN_OR_PSH = 0x09,
	CWR = 0x80,
};

struct nic_port {
	struct sim_link *link;
	int side;
	struct nic_caps caps;
	struct nic_stats stats;
	bool refuse;
	uint8_t payload[65536]; /* written before it is read, as what follows */
	uint8_t frame[FRAME_MAX];
};

struct nic_port *sim_nic_new(
	struct sim_link *link, int side, const uint8_t mac[6], uint16_t mtu_bytes)
{
	struct nic_port *p = malloc(sizeof(*p));

	assert(p);
	memset(p, 0, offsetof(struct nic_port, payload));
	p->link = link;
	p->side = side;
	p->caps.mtu_bytes = mtu_bytes;
	memcpy(p->caps.mac, mac, sizeof(p->caps.mac));
	return p;
}

void sim_nic_free(struct nic_port *port)
{
	free(port);
}

void sim_nic_refuse(struct nic_port *port, bool refuse)
{
	port->refuse = refuse;
}

const struct nic_caps *nic_port_caps(const struct nic_port *port)
{
	return &port->caps;
}

void nic_port_stats(const struct nic_port *port, struct nic_stats *out)
{
	*out = port->stats;
}

unsigned int nic_rx_burst(
	struct nic_port *port, uint16_t queue, struct nic_frame *frames, unsigned int max)
{
	unsigned int n = 0;
	struct sim_frame *f;

	(void)queue;
	assert(max <= NIC_BURST_MAX);
	while (n < max && (f = sim_link_receive(port->link, port->side)))
		frames[n++] = (struct nic_frame){
			.data = f->data,
			.len_bytes = f->len_bytes,
			.checksum = NIC_CHECKSUM_UNKNOWN,
			.opaque = f,
		};
	port->stats.rx_packets += n;
	return n;
}

void nic_rx_release(
	struct nic_port *port, uint16_t queue, struct nic_frame *frames, unsigned int count)
{
	(void)port;
	(void)queue;
	for (unsigned int i = 0; i < count; i++)
		free(frames[i].opaque);
}

/* -- transmission -------------------------------------------------------------------------------
 */

static bool is_ip6(const uint8_t *ip)
{
	return ip[0] >> 4 == 6;
}

static uint32_t pseudo_sum(const uint8_t *ip, uint32_t l4_len)
{
	uint32_t src_be, dst_be;

	if (is_ip6(ip))
		return net_checksum_pseudo6(ip + 8, ip + 24, ip[6], l4_len);
	memcpy(&src_be, ip + 12, 4);
	memcpy(&dst_be, ip + 16, 4);
	return net_checksum_pseudo4(src_be, dst_be, ip[9], l4_len);
}

static void fill_checksums(uint8_t *frame, const struct nic_tx_frame *f, uint32_t len)
{
	uint8_t *ip = frame + f->l3_offset;
	uint32_t l4_len = len - f->l4_offset;
	uint16_t check;

	if (!is_ip6(ip)) {
		check = net_checksum_fold(net_checksum_add(0, ip, (size_t)(ip[0] & 15) * 4));
		memcpy(ip + IP_CHECKSUM_AT, &check, sizeof(check));
	}
	if (!f->l4_offset)
		return;
	check = net_checksum_fold(
		net_checksum_add(pseudo_sum(ip, l4_len), frame + f->l4_offset, l4_len));
	memcpy(frame + f->l4_offset + TCP_CHECKSUM_AT, &check, sizeof(check));
}

/* A piece of a cut segment: its own length, identification and sequence number; FIN and PSH on
 * the last alone, CWR on the first. */
static void adjust_piece(struct nic_port *p, const struct nic_tx_frame *f, uint32_t off,
	uint32_t len, unsigned int number)
{
	uint8_t *ip = p->frame + f->l3_offset;
	uint8_t *tcp = p->frame + f->l4_offset;
	uint32_t seq = (uint32_t)tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7];

	seq += off;
	net_put16(tcp + 4, (uint16_t)(seq >> 16));
	net_put16(tcp + 6, (uint16_t)seq);
	if (is_ip6(ip)) {
		net_put16(ip + 4, (uint16_t)(f->headers_len - f->l3_offset - NET_IP6_HLEN + len));
	} else {
		net_put16(ip + 2, (uint16_t)(f->headers_len - f->l3_offset + len));
		net_put16(ip + 4, (uint16_t)((ip[4] << 8 | ip[5]) + number));
	}
	if (off + len < f->payload_len)
		tcp[TCP_FLAGS_AT] &= (uint8_t)~FIN_OR_PSH;
	if (off)
		tcp[TCP_FLAGS_AT] &= (uint8_t)~CWR;
}

static void send_frame(struct nic_port *p, uint32_t len)
{
	assert(len <= (uint32_t)p->caps.mtu_bytes + NET_ETH_HLEN);
	if (len < NET_ETH_MIN_LEN) {
		memset(p->frame + len, 0, NET_ETH_MIN_LEN - len);
		len = NET_ETH_MIN_LEN;
	}
	p->stats.tx_packets++;
	sim_link_send(p->link, p->side, p->frame, len);
}

static void send_piece(struct nic_port *p, const struct nic_tx_frame *f, uint32_t off, uint32_t len)
{
	uint32_t frame_len = f->headers_len + len;

	memcpy(p->frame, f->headers, f->headers_len);
	memcpy(p->frame + f->headers_len, p->payload + off, len);
	if (f->mss_bytes)
		adjust_piece(p, f, off, len, off / f->mss_bytes);
	if (f->l3_offset)
		fill_checksums(p->frame, f, frame_len);
	send_frame(p, frame_len);
}

int nic_tx(struct nic_port *port, uint16_t queue, const struct nic_tx_frame *f)
{
	uint32_t len = 0;
	uint32_t step = f->mss_bytes ? f->mss_bytes : f->payload_len;

	(void)queue;
	if (port->refuse && f->l3_offset)
		return -ENOBUFS;
	assert(f->headers_len <= NIC_HEADERS_MAX && f->payload_len <= sizeof(port->payload));
	for (uint16_t i = 0; i < f->gather_count; i++) {
		assert(f->gather[i].len_bytes <= f->payload_len - len);
		memcpy(port->payload + len, f->gather[i].data, f->gather[i].len_bytes);
		len += f->gather[i].len_bytes;
	}
	assert(len == f->payload_len);
	if (!len)
		send_piece(port, f, 0, 0);
	for (uint32_t off = 0; off < len; off += step)
		send_piece(port, f, off, step < len - off ? step : len - off);
	return 0;
}

void nic_tx_flush(struct nic_port *port, uint16_t queue)
{
	(void)port;
	(void)queue;
}
