#include "sim_frame.h"

#include <net/bytes.h>
#include <net/checksum.h>
#include <net/ip4.h>
#include <net/packet.h>

#include <assert.h>
#include <string.h>

enum {
	TCP_HLEN = 20,
};

uint32_t sim_frame_tcp(uint8_t frame[SIM_FRAME_MAX], int side, const struct sim_tcp *t)
{
	const struct net_mac from = {{2, 0, 0, 0, 0, (uint8_t)(side + 1)}};
	const struct net_mac to = {{2, 0, 0, 0, 0, (uint8_t)(!side + 1)}};
	uint8_t *tcp = frame + NET_ETH_HLEN + NET_IP4_HLEN;
	uint32_t hlen = TCP_HLEN + t->opt_len;
	uint32_t total = hlen + t->len;
	struct net_ip4_out ip = {
		.src_be = t->src_be,
		.dst_be = t->dst_be,
		.payload_len_bytes = (uint16_t)total,
		.proto = NET_PROTO_TCP,
	};
	uint16_t check;

	assert(NET_ETH_HLEN + NET_IP4_HLEN + total <= SIM_FRAME_MAX);
	memset(frame, 0, NET_ETH_MIN_LEN);
	net_eth_build(frame, &to, &from, NET_ETHERTYPE_IP4);
	net_ip4_build(frame + NET_ETH_HLEN, &ip);
	net_put16(tcp, t->sport);
	net_put16(tcp + 2, t->dport);
	net_put32(tcp + 4, t->seq);
	net_put32(tcp + 8, t->ack);
	tcp[12] = (uint8_t)(hlen / 4 << 4);
	tcp[13] = t->flags;
	net_put16(tcp + 14, t->wnd);
	net_put32(tcp + 16, 0);
	if (t->opt_len)
		memcpy(tcp + TCP_HLEN, t->opt, t->opt_len);
	if (t->len)
		memcpy(tcp + hlen, t->payload, t->len);
	check = net_checksum_fold(net_checksum_add(
		net_checksum_pseudo4(t->src_be, t->dst_be, NET_PROTO_TCP, total), tcp, total));
	memcpy(tcp + 16, &check, sizeof(check));
	total += NET_ETH_HLEN + NET_IP4_HLEN;
	return total < NET_ETH_MIN_LEN ? (uint32_t)NET_ETH_MIN_LEN : total;
}

bool sim_frame_read(struct sim_tcp *t, const uint8_t *frame, uint32_t len)
{
	const uint8_t *ip = frame + NET_ETH_HLEN;
	const uint8_t *tcp = ip + NET_IP4_HLEN;
	uint32_t hlen;

	if (len < NET_ETH_HLEN + NET_IP4_HLEN + TCP_HLEN ||
		net_get16(frame + 12) != NET_ETHERTYPE_IP4 || ip[0] != 0x45 ||
		ip[9] != NET_PROTO_TCP)
		return false;
	hlen = (uint32_t)(tcp[12] >> 4) * 4;
	if (net_get16(ip + 2) < NET_IP4_HLEN + hlen)
		return false;
	*t = (struct sim_tcp){
		.sport = net_get16(tcp),
		.dport = net_get16(tcp + 2),
		.seq = net_get32(tcp + 4),
		.ack = net_get32(tcp + 8),
		.flags = tcp[13],
		.wnd = net_get16(tcp + 14),
		.payload = tcp + hlen,
		.len = net_get16(ip + 2) - NET_IP4_HLEN - hlen,
	};
	memcpy(&t->src_be, ip + 12, 4);
	memcpy(&t->dst_be, ip + 16, 4);
	return true;
}
