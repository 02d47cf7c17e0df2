/* Frames in.
 *
 * A frame of one segment is handed up where the port put it. One of several is copied together
 * into the queue's linear buffer, which is empty again when all frames in it are released;
 * one for which there is no room is dropped and counted.
 *
 * A port's word on checksums is taken: bad ones end here. Where it vouches for TCP but says
 * nothing of the IPv4 header (virtio), the header is summed here, so that GOOD means both.
 */
#include "internal.h"

#include <net/checksum.h>
#include <string.h>

/* IPv6 has no header checksum: nothing to sum. */
static bool is_ip6(const uint8_t *frame, uint32_t len_bytes)
{
	return len_bytes >= 14 + 40 && frame[12] == 0x86 && frame[13] == 0xdd;
}

static bool ip4_header_is_good(const uint8_t *frame, uint32_t len_bytes)
{
	const uint8_t *ip = frame + 14;
	uint32_t header_len;

	if (len_bytes < 14 + 20 || frame[12] != 0x08 || frame[13] != 0x00)
		return false;
	header_len = (ip[0] & 15u) * 4;
	if (ip[0] >> 4 != 4 || header_len < 20 || 14 + header_len > len_bytes)
		return false;
	return net_checksum_fold(net_checksum_add(0, ip, header_len)) == 0;
}

/* Nothing is left to sum but what the port vouches for. */
static bool header_is_good(const uint8_t *frame, uint32_t len_bytes)
{
	if (len_bytes > 14 + NIC_VLAN_BYTES && frame[12] == 0x81 && frame[13] == 0x00) {
		frame += NIC_VLAN_BYTES; /* so that the type is where it would be without a tag */
		len_bytes -= NIC_VLAN_BYTES;
	}
	return is_ip6(frame, len_bytes) || ip4_header_is_good(frame, len_bytes);
}

/* False: the port says that it is wrong. */
static bool judge_checksum(const struct rte_mbuf *m, struct nic_frame *frame)
{
	uint64_t ip = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	bool ip_good = ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE;
	bool l4_good = l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE;

	frame->checksum = NIC_CHECKSUM_UNKNOWN;
	if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return false;
	if (l4_good && (ip_good || header_is_good(frame->data, frame->len_bytes)))
		frame->checksum = NIC_CHECKSUM_GOOD;
	return true;
}

/* Copies the segments together. False: no room. */
static bool linearise(struct nic_queue *queue, struct rte_mbuf *m, struct nic_frame *frame)
{
	uint8_t *to = queue->linear + queue->linear_used;
	uint32_t len = rte_pktmbuf_pkt_len(m);
	uint32_t done = 0;

	if (len > NIC_LINEAR_BYTES - queue->linear_used)
		return false;
	for (const struct rte_mbuf *s = m; s != NULL && done < len; s = s->next) {
		uint32_t part = RTE_MIN((uint32_t)s->data_len, len - done);

		memcpy(to + done, rte_pktmbuf_mtod(s, const void *), part);
		done += part;
	}
	queue->linear_used += done;
	queue->linear_frames++;
	*frame = (struct nic_frame){.data = to, .len_bytes = done, .opaque = m};
	return true;
}

static bool accept_frame(struct nic_queue *queue, struct rte_mbuf *m, struct nic_frame *frame,
	uint32_t longest_bytes)
{
	if (m->nb_segs == 1) {
		*frame = (struct nic_frame){.data = rte_pktmbuf_mtod(m, const uint8_t *),
			.len_bytes = rte_pktmbuf_data_len(m),
			.opaque = m};
	} else if (!linearise(queue, m, frame)) {
		nic_count(&queue->counters.rx_too_long, 1);
		return false;
	}
	frame->vlan_stripped = (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
	frame->vlan_tci = m->vlan_tci;
	if (frame->len_bytes > longest_bytes)
		nic_count(&queue->counters.rx_merged, 1);
	if (judge_checksum(m, frame))
		return true;
	nic_count(&queue->counters.rx_bad_checksum, 1);
	return false;
}

/* Whether the frame lies in the linear buffer is told by its address. */
static void release_frame(struct nic_queue *queue, const struct nic_frame *frame)
{
	uintptr_t at = (uintptr_t)frame->data, linear = (uintptr_t)queue->linear;

	if (at >= linear && at < linear + NIC_LINEAR_BYTES && --queue->linear_frames == 0)
		queue->linear_used = 0;
	rte_pktmbuf_free(frame->opaque);
}

unsigned int nic_rx_burst(
	struct nic_port *port, uint16_t queue, struct nic_frame *frames, unsigned int max)
{
	struct nic_queue *q = &port->queues[queue];
	struct rte_mbuf *mbufs[NIC_BURST_MAX];
	uint16_t received = rte_eth_rx_burst(
		port->id, queue, mbufs, (uint16_t)RTE_MIN(max, NIC_BURST_MAX + 0u));
	uint32_t longest_bytes = port->caps.mtu_bytes + NIC_ETH_OVERHEAD;
	unsigned int count = 0;

	for (uint16_t i = 0; i < received; i++) {
		frames[count] = (struct nic_frame){.opaque = mbufs[i]};
		if (accept_frame(q, mbufs[i], &frames[count], longest_bytes))
			count++;
		else
			release_frame(q, &frames[count]);
	}
	return count;
}

void nic_rx_release(
	struct nic_port *port, uint16_t queue, struct nic_frame *frames, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		release_frame(&port->queues[queue], &frames[i]);
}
