/* Frames out.
 *
 * A frame is built in mbufs at once: headers, then the gathered payload, summed while it is
 * copied unless the port sums. A payload longer than mss_bytes is cut by the port (TSO), with
 * the mbufs chained, or here, frame by frame with the headers adjusted as RFC 9293 wants: the
 * sequence number moves on, FIN and PSH belong to the last frame, CWR to the first, and
 * every IPv4 frame has an identification of its own.
 *
 * Frames are handed here without a VLAN tag. A card inserts it; elsewhere the driver would move the
 * built frame to make room, so the tag is written here with the headers.
 *
 * Built frames are kept in the queue until the port takes them. What it does not take stays
 * for the next flush, unless it has taken nothing for NIC_TX_STALL_US: then they are dropped, so
 * that a dead link pins no memory. TCP retransmits.
 */
#include "internal.h"

#include <errno.h>
#include <net/bytes.h>
#include <net/checksum.h>
#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <string.h>

enum {
	TCP_HEADER_MIN = 20,
	IP4_HEADER_MIN = 20,
	IP6_HEADER = 40,
	TCP_FLAG_FIN = 0x01,
	TCP_FLAG_PSH = 0x08,
	TCP_FLAG_CWR = 0x80,
	MAC_BYTES = 12, /* destination and source */
	TYPE_VLAN = 0x8100,
};

/* Where in the gather list we are, and the sum of what was copied for the present frame. */
struct tx_cursor {
	const struct nic_gather *piece;
	uint32_t offset; /* in *piece */
	uint32_t sum;
	uint32_t summed_bytes;
	bool want_sum;
};

/* By the version field of the IP header that the engine has built. */
static bool is_ip6(const struct nic_tx_frame *f)
{
	return f->headers[f->l3_offset] >> 4 == 6;
}

/* Copies len bytes of payload to `to`. The list holds that many: nic_tx() checked. */
static void copy_payload(struct tx_cursor *c, uint8_t *to, uint32_t len)
{
	while (len > 0) {
		uint32_t part = RTE_MIN(len, c->piece->len_bytes - c->offset);
		const uint8_t *from = c->piece->data + c->offset;

		if (c->want_sum)
			c->sum = net_checksum_append(
				c->sum, net_checksum_copy(to, from, part), c->summed_bytes);
		else
			memcpy(to, from, part);
		c->summed_bytes += part;
		c->offset += part;
		to += part;
		len -= part;
		if (c->offset == c->piece->len_bytes) {
			c->piece++;
			c->offset = 0;
		}
	}
}

/* The whole of a piece, which fits: a small message, with nothing to loop for. */
static void append_piece(struct rte_mbuf *head, struct tx_cursor *c)
{
	uint8_t *to = rte_pktmbuf_mtod_offset(head, uint8_t *, head->data_len);
	uint32_t len = c->piece->len_bytes;

	if (c->want_sum)
		c->sum = net_checksum_copy(to, c->piece->data, len);
	else
		memcpy(to, c->piece->data, len);
	c->piece++;
	head->data_len = (uint16_t)(head->data_len + len);
	head->pkt_len += len;
}

/* Appends len bytes of payload, in further mbufs where the last one is full. */
static int append_payload(
	const struct nic_port *port, struct rte_mbuf *head, struct tx_cursor *c, uint32_t len)
{
	struct rte_mbuf *last = head;

	if (len == 0)
		return 0;
	if (c->offset == 0 && len == c->piece->len_bytes && len <= rte_pktmbuf_tailroom(head)) {
		append_piece(head, c);
		return 0;
	}

	while (len > 0) {
		uint32_t part = RTE_MIN(len, (uint32_t)rte_pktmbuf_tailroom(last));

		copy_payload(c, rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), part);
		last->data_len = (uint16_t)(last->data_len + part);
		head->pkt_len += part;
		len -= part;
		if (len == 0)
			break;
		last->next = rte_pktmbuf_alloc(port->pool);
		if (last->next == NULL)
			return -ENOBUFS;
		last = last->next;
		head->nb_segs++;
	}
	return 0;
}

/* Bytes of tag that we write ourselves. */
static uint16_t tag_bytes(const struct nic_port *port)
{
	return port->vlan_id && !(port->tx_offloads & RTE_ETH_TX_OFFLOAD_VLAN_INSERT)
		       ? NIC_VLAN_BYTES
		       : 0;
}

/* Headers, and the tag of our VLAN in its place. Returns where they would begin without a tag, so
 * that the offsets of *f hold. */
static uint8_t *put_headers(const struct nic_port *port, struct rte_mbuf *m,
	const struct nic_tx_frame *f, const uint8_t *headers)
{
	uint16_t tag = tag_bytes(port);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);

	m->data_len = f->headers_len + tag;
	m->pkt_len = m->data_len;
	if (port->vlan_id && !tag) {
		m->vlan_tci = port->vlan_id;
		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	}
	if (!tag) {
		memcpy(data, headers, f->headers_len);
		return data;
	}
	memcpy(data, headers, MAC_BYTES);
	net_put16(data + MAC_BYTES, TYPE_VLAN);
	net_put16(data + MAC_BYTES + 2, port->vlan_id);
	memcpy(data + MAC_BYTES + tag, headers + MAC_BYTES, f->headers_len - MAC_BYTES);
	return data + tag;
}

/* Tells the port what to do; it wants the sum of the pseudo header in the TCP checksum field
 * (for TSO without the length: rte_eth_tx_prepare() sees to that). */
static void request_offload(
	const struct nic_port *port, struct rte_mbuf *m, const struct nic_tx_frame *f)
{
	m->l2_len = (f->l3_offset + tag_bytes(port)) & 0x7f;
	m->l3_len = (uint16_t)(f->l4_offset - f->l3_offset) & 0x1ff;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
	m->ol_flags |= is_ip6(f) ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if (!is_ip6(f) && port->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	if (f->mss_bytes == 0 || f->payload_len <= f->mss_bytes)
		return;
	m->l4_len = (uint8_t)(f->headers_len - f->l4_offset);
	m->tso_segsz = f->mss_bytes;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
}

static uint32_t pseudo_sum(const uint8_t *ip, uint32_t l4_len)
{
	uint32_t src_be, dst_be;

	if (ip[0] >> 4 == 6)
		return net_checksum_pseudo6(ip + 8, ip + 24, 6, l4_len);
	memcpy(&src_be, ip + 12, 4);
	memcpy(&dst_be, ip + 16, 4);
	return net_checksum_pseudo4(src_be, dst_be, 6, l4_len);
}

/* Fills the IPv4 header and TCP checksums that the port does not. `l4_len`: TCP header and payload;
 * `payload_sum`: of the payload, when summed. */
static void fill_checksums(const struct nic_port *port, uint8_t *headers,
	const struct nic_tx_frame *f, uint32_t l4_len, uint32_t payload_sum)
{
	uint8_t *ip = headers + f->l3_offset;
	uint16_t check;

	if (f->l3_offset == 0)
		return;
	if (f->l4_offset != 0) {
		uint8_t *tcp = headers + f->l4_offset;
		uint32_t sum = pseudo_sum(ip, l4_len);

		if (port->caps.tx_checksum) {
			check = net_checksum_reduce(sum);
		} else {
			sum = net_checksum_add(sum, tcp, f->headers_len - f->l4_offset);
			check = net_checksum_fold(net_checksum_join(sum, payload_sum));
		}
		memcpy(tcp + 16, &check, 2);
		if (port->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
			return;
	}
	if (is_ip6(f)) /* has no header checksum */
		return;
	check = net_checksum_fold(ip[0] == 0x45 ? net_checksum_add_ip4(0, ip)
						: net_checksum_add(0, ip, (ip[0] & 15u) * 4));
	memcpy(ip + 10, &check, 2);
}

/* One frame with the next `len` bytes of payload. NULL: the pool is empty. */
static struct rte_mbuf *build(const struct nic_port *port, const struct nic_tx_frame *f,
	const uint8_t *headers, struct tx_cursor *c, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(port->pool);
	uint8_t *data;

	if (m == NULL)
		return NULL;
	data = put_headers(port, m, f, headers);
	c->sum = 0;
	c->summed_bytes = 0;
	if (append_payload(port, m, c, len) < 0) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	fill_checksums(port, data, f, f->headers_len - f->l4_offset + len, c->sum);
	if (f->l4_offset != 0 && port->caps.tx_checksum)
		request_offload(port, m, f);
	return m;
}

static bool gather_is_sound(const struct nic_tx_frame *f)
{
	uint64_t sum = 0;

	if (f->gather_count == 1)
		return f->gather[0].len_bytes == f->payload_len;
	for (uint16_t i = 0; i < f->gather_count; i++)
		sum += f->gather[i].len_bytes;
	return sum == f->payload_len;
}

/* The engine's promises, checked since a broken one would write past an mbuf. */
static bool frame_is_sound(const struct nic_port *port, const struct nic_tx_frame *f)
{
	uint32_t longest = port->caps.mtu_bytes + NIC_ETH_OVERHEAD - tag_bytes(port);
	bool cut = f->mss_bytes != 0 && f->payload_len > f->mss_bytes;
	uint16_t ip_header;

	if (f->headers_len < MAC_BYTES || f->headers_len > NIC_HEADERS_MAX || !gather_is_sound(f))
		return false;
	if (f->headers_len + (cut ? f->mss_bytes : f->payload_len) > longest)
		return false;
	if (f->l3_offset == 0)
		return f->l4_offset == 0 && !cut;
	if (f->l3_offset >= f->headers_len)
		return false;
	ip_header = is_ip6(f) ? IP6_HEADER : IP4_HEADER_MIN;
	if (f->l3_offset + ip_header > f->headers_len)
		return false;
	if (f->l4_offset == 0)
		return !cut;
	return f->l4_offset >= f->l3_offset + ip_header &&
	       f->l4_offset + TCP_HEADER_MIN <= f->headers_len;
}

/* Takes the frame over. -EINVAL: the port will never be able to send it. */
static int keep(struct nic_port *port, uint16_t queue, struct rte_mbuf *m)
{
	struct nic_queue *q = &port->queues[queue];

	if (port->tx_offloads != 0 && rte_eth_tx_prepare(port->id, queue, &m, 1) != 1) {
		rte_pktmbuf_free(m);
		return -EINVAL;
	}
	if (q->kept_count == 0)
		q->progress_tsc = rte_get_tsc_cycles();
	q->kept[q->kept_count++] = m;
	return 0;
}

/* Adjusts the headers of a cut frame that carries payload [off, off + len). */
static void adjust_headers(
	const struct nic_tx_frame *f, uint8_t *headers, uint32_t off, uint32_t len, uint16_t number)
{
	uint8_t *ip = headers + f->l3_offset, *tcp = headers + f->l4_offset;

	memcpy(headers, f->headers, f->headers_len);
	if (is_ip6(f)) {
		net_put16(ip + 4, (uint16_t)(f->headers_len - f->l3_offset - IP6_HEADER + len));
	} else {
		net_put16(ip + 2, (uint16_t)(f->headers_len - f->l3_offset + len));
		net_put16(ip + 4, (uint16_t)(net_get16(ip + 4) + number));
	}
	net_put32(tcp + 4, net_get32(tcp + 4) + off);
	if (off > 0)
		tcp[13] &= (uint8_t)~TCP_FLAG_CWR;
	if (off + len < f->payload_len)
		tcp[13] &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
}

static int send_cut(
	struct nic_port *port, uint16_t queue, const struct nic_tx_frame *f, struct tx_cursor *c)
{
	uint8_t headers[NIC_HEADERS_MAX];
	struct nic_tx_frame one = *f;
	uint16_t number = 0;
	int err = 0;

	one.mss_bytes = 0;
	nic_count(&port->queues[queue].counters.tx_cut, 1);
	for (uint32_t off = 0; err == 0 && off < f->payload_len; off += f->mss_bytes, number++) {
		uint32_t len = RTE_MIN((uint32_t)f->mss_bytes, f->payload_len - off);
		struct rte_mbuf *m;

		if (port->queues[queue].kept_count == NIC_TX_KEPT_MAX)
			return -EAGAIN;
		adjust_headers(f, headers, off, len, number);
		m = build(port, &one, headers, c, len);
		err = m != NULL ? keep(port, queue, m) : -ENOBUFS;
	}
	return err;
}

static int send_whole(
	struct nic_port *port, uint16_t queue, const struct nic_tx_frame *f, struct tx_cursor *c)
{
	struct rte_mbuf *m = build(port, f, f->headers, c, f->payload_len);

	if (m != NULL && (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
		nic_count(&port->queues[queue].counters.tx_tso, 1);
	return m != NULL ? keep(port, queue, m) : -ENOBUFS;
}

static bool port_cuts(const struct nic_port *port, const struct nic_tx_frame *f)
{
	return f->payload_len <= port->caps.tso_max_bytes &&
	       atomic_load_explicit(&port->cuts, memory_order_relaxed);
}

static void count_failure(struct nic_queue *q, int err)
{
	if (err == -EAGAIN)
		nic_count(&q->counters.tx_queue_full, 1);
	else if (err == -ENOBUFS)
		nic_count(&q->counters.tx_no_mbuf, 1);
	else
		nic_count(&q->counters.tx_bad, 1);
}

int nic_tx(struct nic_port *port, uint16_t queue, const struct nic_tx_frame *f)
{
	struct nic_queue *q = &port->queues[queue];
	bool sum = f->l4_offset != 0 && !port->caps.tx_checksum;
	struct tx_cursor c = {.piece = f->gather, .want_sum = sum};
	bool cut = f->mss_bytes != 0 && f->payload_len > f->mss_bytes;
	int err;

	if (q->kept_count - q->flushed_count >= NIC_TX_BATCH || q->kept_count == NIC_TX_KEPT_MAX)
		nic_tx_flush(port, queue);
	if (!frame_is_sound(port, f))
		err = -EINVAL;
	else if (q->kept_count == NIC_TX_KEPT_MAX)
		err = -EAGAIN;
	else if (cut && !port_cuts(port, f))
		err = send_cut(port, queue, f, &c);
	else
		err = send_whole(port, queue, f, &c);
	if (err == 0)
		return 0;
	count_failure(q, err);
	return -ENOBUFS;
}

/* The port has taken nothing for too long. */
static void give_up(struct nic_queue *q)
{
	rte_pktmbuf_free_bulk(q->kept, q->kept_count);
	nic_count(&q->counters.tx_queue_full, q->kept_count);
	q->kept_count = 0;
}

void nic_tx_flush(struct nic_port *port, uint16_t queue)
{
	struct nic_queue *q = &port->queues[queue];
	uint32_t sent = 0;

	while (sent < q->kept_count) {
		uint16_t n = rte_eth_tx_burst(
			port->id, queue, q->kept + sent, (uint16_t)(q->kept_count - sent));

		if (n == 0)
			break;
		sent += n;
	}
	q->kept_count -= sent;
	if (q->kept_count > 0) {
		uint64_t now_tsc = rte_get_tsc_cycles();

		memmove(q->kept, q->kept + sent, q->kept_count * sizeof(q->kept[0]));
		if (sent > 0)
			q->progress_tsc = now_tsc;
		else if (now_tsc - q->progress_tsc > port->tx_stall_tsc)
			give_up(q);
	}
	q->flushed_count = q->kept_count;
}

bool nic_tx_drain(struct nic_port *port, uint16_t queue)
{
	const struct nic_queue *q = &port->queues[queue];

	if (q->kept_count > 0)
		nic_tx_flush(port, queue);
	return q->kept_count > 0;
}
