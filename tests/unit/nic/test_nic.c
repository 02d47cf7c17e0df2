/* Ports for real: a ring looped back on itself, a TAP and a packet socket on a veth, the last
 * two against the kernel, which answers only what has right checksums. Runs in a network
 * namespace of its own, so it needs root; without, it says so and is skipped. */
#include <nic/eal.h>
#include <nic/internal.h>
#include <nic/nic.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	ETH = 14,
	IP = 20,
	TCP = 20,
	HEADERS = ETH + IP + TCP,
};

static const char *our_ip = "192.0.2.2", *kernel_ip = "192.0.2.1";
static bool have_namespace;
static unsigned int log_errors;

static void on_log(int level, const char *line)
{
	if (level <= 3)
		log_errors++;
	print_message("<%d>%s\n", level, line);
}

static int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *fmt, ...)
{
	char command[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command);
}

static struct nic_port *open_port(const char *device, uint16_t mtu_bytes)
{
	struct nic_port_config cfg = {.mtu_bytes = mtu_bytes,
		.queues = 1,
		.mbufs = 2048,
		.offload = true,
		.numa_node = -1};
	struct nic_port *port = NULL;

	snprintf(cfg.device, sizeof(cfg.device), "%s", device);
	assert_int_equal(nic_port_open(&port, &cfg), 0);
	assert_string_equal(nic_port_name(port), strtok(cfg.device, ","));
	return port;
}

/* RFC 1071, as plainly as can be. */
static uint32_t naive_sum(const uint8_t *data, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void assert_checksums_good(const uint8_t *frame, uint32_t len)
{
	const uint8_t *ip = frame + ETH;
	uint32_t total = (uint32_t)(ip[2] << 8 | ip[3]);
	uint8_t pseudo[12];

	assert_true(total + ETH <= len);
	assert_int_equal(naive_sum(ip, IP, 0), 0xffff);
	memcpy(pseudo, ip + 12, 8);
	pseudo[8] = 0;
	pseudo[9] = 6;
	pseudo[10] = (uint8_t)((total - IP) >> 8);
	pseudo[11] = (uint8_t)(total - IP);
	assert_int_equal(naive_sum(ip + IP, total - IP, naive_sum(pseudo, 12, 0)), 0xffff);
}

static void make_headers(uint8_t *h, const uint8_t *dst, const uint8_t *src, uint32_t payload)
{
	uint32_t total = IP + TCP + payload;

	memset(h, 0, HEADERS);
	memcpy(h, dst, 6);
	memcpy(h + 6, src, 6);
	h[12] = 0x08;
	h[ETH] = 0x45;
	h[ETH + 2] = (uint8_t)(total >> 8);
	h[ETH + 3] = (uint8_t)total;
	h[ETH + 4] = 0x12; /* identification */
	h[ETH + 5] = 0xff;
	h[ETH + 8] = 64;
	h[ETH + 9] = 6;
	inet_pton(AF_INET, our_ip, h + ETH + 12);
	inet_pton(AF_INET, kernel_ip, h + ETH + 16);
	h[ETH + IP + 1] = 7; /* ports 7 and 9 */
	h[ETH + IP + 3] = 9;
	h[ETH + IP + 7] = 100; /* sequence number */
	h[ETH + IP + 12] = 5 << 4;
}

static struct nic_tx_frame make_frame(const uint8_t *headers)
{
	return (struct nic_tx_frame){.headers = headers,
		.headers_len = HEADERS,
		.l3_offset = ETH,
		.l4_offset = ETH + IP};
}

static void assert_balanced(const struct nic_port *port)
{
	struct nic_stats stats;

	nic_port_stats(port, &stats);
	assert_int_equal(stats.mbufs_free + stats.mbufs_ring, stats.mbufs_total);
}

static unsigned int receive(struct nic_port *port, struct nic_frame *frames, unsigned int max)
{
	unsigned int count = nic_rx_burst(port, 0, frames, max);

	for (int tries = 0; count == 0 && tries < 100; tries++) {
		usleep(1000);
		count = nic_rx_burst(port, 0, frames, max);
	}
	return count;
}

/* -- a ring looped back ---------------------------------------------------------------------- */

static int ring_setup(void **state)
{
	*state = open_port("net_ring0", 1500);
	return 0;
}

static int port_teardown(void **state)
{
	assert_balanced(*state);
	nic_port_close(*state);
	return 0;
}

static void test_tx_given_odd_gather_sums_and_copies(void **state)
{
	static const uint32_t cuts[][4] = {
		{1, 2, 3, 5}, {0, 0, 7, 0}, {333, 1, 400, 11}, {0, 0, 0, 0}, {1460, 0, 0, 0}};
	struct nic_port *port = *state;
	uint8_t payload[1460], headers[HEADERS] = {0};
	struct nic_frame frame;

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 31 + 7);
	for (size_t n = 0; n < sizeof(cuts) / sizeof(cuts[0]); n++) {
		struct nic_gather gather[4];
		uint32_t len = 0;
		struct nic_tx_frame f = make_frame(headers);

		for (int i = 0; i < 4; i++) {
			gather[i] = (struct nic_gather){payload + len, cuts[n][i]};
			len += cuts[n][i];
		}
		make_headers(headers, port->caps.mac, port->caps.mac, len);
		f.gather = gather;
		f.gather_count = 4;
		f.payload_len = len;
		assert_int_equal(nic_tx(port, 0, &f), 0);
		nic_tx_flush(port, 0);
		assert_int_equal(nic_rx_burst(port, 0, &frame, 1), 1);
		assert_int_equal(frame.len_bytes, HEADERS + len);
		assert_int_equal(frame.checksum, NIC_CHECKSUM_UNKNOWN);
		assert_checksums_good(frame.data, frame.len_bytes);
		assert_memory_equal(frame.data + HEADERS, payload, len);
		nic_rx_release(port, 0, &frame, 1);
	}
}

static void test_tx_given_long_payload_cuts_it(void **state)
{
	enum { LEN = 20001, MSS = 1448, FRAMES = 14 };
	struct nic_port *port = *state;
	uint8_t *payload = malloc(LEN), headers[HEADERS] = {0};
	struct nic_gather gather[2] = {{payload, 7777}, {payload + 7777, LEN - 7777}};
	struct nic_tx_frame f = make_frame(headers);
	struct nic_frame frames[NIC_BURST_MAX];
	struct nic_stats stats;
	uint32_t off = 0;

	for (size_t i = 0; i < LEN; i++)
		payload[i] = (uint8_t)random();
	make_headers(headers, port->caps.mac, port->caps.mac, LEN);
	headers[ETH + IP + 13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR ACK PSH FIN */
	f.gather = gather;
	f.gather_count = 2;
	f.payload_len = LEN;
	f.mss_bytes = MSS;
	assert_int_equal(nic_tx(port, 0, &f), 0);
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, frames, NIC_BURST_MAX), FRAMES);
	for (int i = 0; i < FRAMES; i++) {
		const uint8_t *p = frames[i].data;
		uint32_t len = frames[i].len_bytes - HEADERS;
		uint8_t flags = 0x10;

		assert_checksums_good(p, frames[i].len_bytes);
		assert_int_equal(p[ETH + 2] << 8 | p[ETH + 3], IP + TCP + len);
		assert_int_equal(p[ETH + 4] << 8 | p[ETH + 5], 0x12ff + i);
		assert_int_equal(p[ETH + IP + 6] << 8 | p[ETH + IP + 7], 100 + off);
		if (i == 0)
			flags |= 0x80;
		if (i == FRAMES - 1)
			flags |= 0x09;
		assert_int_equal(p[ETH + IP + 13], flags);
		assert_memory_equal(p + HEADERS, payload + off, len);
		off += len;
	}
	assert_int_equal(off, LEN);
	nic_rx_release(port, 0, frames, FRAMES);
	nic_port_stats(port, &stats);
	assert_int_equal(stats.tx_cut, 1);
	assert_int_equal(stats.tx_tso, 0);
	free(payload);
}

/* IPv6: another length field, no identification, no header checksum, another pseudo header. */
static void test_tx_given_long_ip6_payload_cuts_it(void **state)
{
	enum { LEN = 5001, MSS = 1428, FRAMES = 4, IP6 = 40, HEADERS6 = ETH + IP6 + TCP };
	struct nic_port *port = *state;
	uint8_t payload[LEN], headers[HEADERS6] = {0}, *ip = headers + ETH;
	struct nic_gather gather = {payload, LEN};
	struct nic_tx_frame f = {.headers = headers,
		.headers_len = HEADERS6,
		.l3_offset = ETH,
		.l4_offset = ETH + IP6,
		.gather = &gather,
		.gather_count = 1,
		.payload_len = LEN,
		.mss_bytes = MSS};
	struct nic_frame frames[NIC_BURST_MAX];
	uint32_t off = 0;

	for (size_t i = 0; i < LEN; i++)
		payload[i] = (uint8_t)random();
	memcpy(headers, port->caps.mac, 6);
	memcpy(headers + 6, port->caps.mac, 6);
	headers[12] = 0x86;
	headers[13] = 0xdd;
	ip[0] = 0x60;
	ip[6] = 6;
	ip[7] = 64;
	for (int i = 8; i < IP6; i++)
		ip[i] = (uint8_t)(i * 31);
	ip[IP6 + 12] = TCP / 4 << 4;
	ip[IP6 + 13] = 0x10;
	assert_int_equal(nic_tx(port, 0, &f), 0);
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, frames, NIC_BURST_MAX), FRAMES);
	for (int i = 0; i < FRAMES; i++) {
		const uint8_t *p = frames[i].data;
		uint32_t len = frames[i].len_bytes - HEADERS6;
		uint32_t sum = naive_sum(p + ETH + 8, 32, 6 + TCP + len);

		sum = naive_sum(p + ETH + IP6, TCP + len, sum);
		sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
		assert_int_equal(p[ETH + 4] << 8 | p[ETH + 5], TCP + len);
		assert_int_equal(p[ETH + IP6 + 6] << 8 | p[ETH + IP6 + 7], off);
		assert_memory_equal(p + ETH + 6, ip + 6, 34);
		assert_memory_equal(p + HEADERS6, payload + off, len);
		off += len;
	}
	assert_int_equal(off, LEN);
	nic_rx_release(port, 0, frames, FRAMES);
}

static void test_tx_given_tso_port_chains_and_asks_for_it(void **state)
{
	enum { LEN = 9000, MSS = 1448 };
	struct nic_port *port = *state;
	uint8_t payload[LEN], headers[HEADERS] = {0};
	struct nic_gather gather = {payload, LEN};
	struct nic_tx_frame f = make_frame(headers);
	struct nic_frame frame;
	const struct rte_mbuf *m;

	memset(payload, 0xa5, LEN);
	make_headers(headers, port->caps.mac, port->caps.mac, LEN);
	f.gather = &gather;
	f.gather_count = 1;
	f.payload_len = LEN;
	f.mss_bytes = MSS;
	port->tx_offloads = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
			    RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	port->caps.tx_checksum = true;
	port->caps.tso_max_bytes = 65000;
	port->cuts = true;
	assert_int_equal(nic_tx(port, 0, &f), 0);
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, &frame, 1), 1);
	m = frame.opaque;
	assert_true(m->nb_segs > 1);
	assert_int_equal(m->tso_segsz, MSS);
	assert_int_equal(m->l2_len, ETH);
	assert_int_equal(m->l3_len, IP);
	assert_int_equal(m->l4_len, TCP);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
	assert_int_equal(frame.len_bytes, HEADERS + LEN); /* linearised */
	assert_memory_equal(frame.data + HEADERS, payload, LEN);
	nic_rx_release(port, 0, &frame, 1);
	assert_int_equal(port->queues[0].linear_used, 0);
}

static void test_tx_given_unsound_frames_refuses_and_counts(void **state)
{
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0}, payload[2000] = {0};
	struct nic_gather gather = {payload, sizeof(payload)};
	struct nic_tx_frame good = make_frame(headers), f;
	struct nic_stats stats;

	make_headers(headers, port->caps.mac, port->caps.mac, 0);
	f = good;
	f.payload_len = 1; /* more than the list has */
	assert_int_equal(nic_tx(port, 0, &f), -ENOBUFS);
	f = good;
	f.gather = &gather; /* longer than the MTU and not to be cut */
	f.gather_count = 1;
	f.payload_len = sizeof(payload);
	assert_int_equal(nic_tx(port, 0, &f), -ENOBUFS);
	f = good;
	f.headers_len = 0;
	assert_int_equal(nic_tx(port, 0, &f), -ENOBUFS);
	f = good;
	f.l4_offset = HEADERS - 4;
	assert_int_equal(nic_tx(port, 0, &f), -ENOBUFS);
	nic_port_stats(port, &stats);
	assert_int_equal(stats.tx_bad, 4);
	assert_false(nic_tx_drain(port, 0));
}

static void test_tx_given_full_port_keeps_then_gives_up(void **state)
{
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0};
	struct nic_tx_frame f = make_frame(headers);
	struct nic_frame frames[NIC_BURST_MAX];
	struct nic_stats stats;
	unsigned int sent = 0, received = 0, n;
	uint64_t stall_tsc = port->tx_stall_tsc;

	port->tx_stall_tsc = UINT64_MAX; /* however long a busy machine lets us wait */
	make_headers(headers, port->caps.mac, port->caps.mac, 0);
	while (sent < 4096 && nic_tx(port, 0, &f) == 0)
		sent++;
	assert_true(sent > NIC_TX_KEPT_MAX && sent < 4096); /* ring and queue are full */
	assert_true(nic_tx_drain(port, 0));
	n = nic_rx_burst(port, 0, frames, NIC_BURST_MAX);
	nic_rx_release(port, 0, frames, n);
	received += n;
	assert_true(nic_tx_drain(port, 0)); /* the port has room for some of them */
	port->tx_stall_tsc = stall_tsc;
	usleep(NIC_TX_STALL_US + 1000);
	assert_false(nic_tx_drain(port, 0));
	while ((n = nic_rx_burst(port, 0, frames, NIC_BURST_MAX)) > 0) {
		nic_rx_release(port, 0, frames, n);
		received += n;
	}
	nic_port_stats(port, &stats);
	assert_int_equal(received + stats.tx_queue_full + stats.tx_no_mbuf, sent + 1);
}

/* A chain of mbufs, `each` bytes in every one. */
static struct rte_mbuf *make_chain(struct nic_port *port, unsigned int segments, uint16_t each)
{
	struct rte_mbuf *head = NULL;

	for (unsigned int i = 0; i < segments; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(port->pool);

		assert_non_null(m);
		memset(rte_pktmbuf_append(m, each), (int)i, each);
		if (head == NULL)
			head = m;
		else
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
	}
	return head;
}

static void test_rx_given_chains_linearises_or_counts(void **state)
{
	struct nic_port *port = *state;
	enum { LONG = NIC_LINEAR_BYTES / 2 / 2000 };
	struct rte_mbuf *chains[3] = {make_chain(port, LONG, 2000), make_chain(port, 3, 2000),
		make_chain(port, LONG + 3, 2000)};
	struct nic_frame frames[3];
	struct nic_stats stats;

	assert_int_equal(rte_eth_tx_burst(port->id, 0, chains, 3), 3);
	assert_int_equal(nic_rx_burst(port, 0, frames, 3), 2); /* two fit, the third does not */
	assert_int_equal(frames[0].len_bytes, LONG * 2000);
	assert_int_equal(frames[1].len_bytes, 6000);
	for (unsigned int i = 0; i < LONG * 2000; i++)
		assert_int_equal(frames[0].data[i], i / 2000 % 256);
	nic_port_stats(port, &stats);
	assert_int_equal(stats.rx_too_long, 1);
	assert_int_equal(stats.rx_merged, 2);
	nic_rx_release(port, 0, &frames[1], 1);
	assert_int_equal(port->queues[0].linear_used, LONG * 2000 + 6000);
	nic_rx_release(port, 0, &frames[0], 1);
	assert_int_equal(port->queues[0].linear_used, 0);
}

static void test_rx_given_checksum_flags_judges(void **state)
{
	static const struct {
		uint64_t flags;
		bool break_header, passes;
		enum nic_checksum verdict;
	} cases[] = {
		{0, false, true, NIC_CHECKSUM_UNKNOWN},
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD, false, true,
			NIC_CHECKSUM_GOOD},
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD, false, true, NIC_CHECKSUM_UNKNOWN},
		{RTE_MBUF_F_RX_L4_CKSUM_NONE, false, true, NIC_CHECKSUM_GOOD},
		{RTE_MBUF_F_RX_L4_CKSUM_GOOD, true, true, NIC_CHECKSUM_UNKNOWN},
		{RTE_MBUF_F_RX_L4_CKSUM_BAD, false, false, NIC_CHECKSUM_UNKNOWN},
		{RTE_MBUF_F_RX_IP_CKSUM_BAD, false, false, NIC_CHECKSUM_UNKNOWN},
	};
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0};
	struct nic_tx_frame f = make_frame(headers);
	struct nic_stats stats;

	make_headers(headers, port->caps.mac, port->caps.mac, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rte_mbuf *m;
		struct nic_frame frame;

		assert_int_equal(nic_tx(port, 0, &f), 0);
		m = port->queues[0].kept[0];
		m->ol_flags = cases[i].flags;
		if (cases[i].break_header)
			rte_pktmbuf_mtod(m, uint8_t *)[ETH + 8]--;
		nic_tx_flush(port, 0);
		assert_int_equal(nic_rx_burst(port, 0, &frame, 1), cases[i].passes);
		if (!cases[i].passes)
			continue;
		assert_int_equal(frame.checksum, cases[i].verdict);
		nic_rx_release(port, 0, &frame, 1);
	}
	nic_port_stats(port, &stats);
	assert_int_equal(stats.rx_bad_checksum, 2);
}

/* -- VLANs ------------------------------------------------------------------------------------- */

enum { VLAN = 0x123, TAG = 4 };

static void assert_tagged(const uint8_t *frame, const uint8_t *headers)
{
	static const uint8_t tag[TAG] = {0x81, 0x00, VLAN >> 8, VLAN & 0xff};

	assert_memory_equal(frame, headers, 12);
	assert_memory_equal(frame + 12, tag, TAG);
	assert_memory_equal(frame + 12 + TAG, headers + 12, 2);
}

static void test_tx_given_vlan_writes_the_tag(void **state)
{
	enum { LEN = 3000, MSS = 1460, FRAMES = 3 };
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0}, arp[60] = {0}, payload[LEN], plain[2000] = {0};
	struct nic_gather gather = {payload, LEN};
	struct nic_tx_frame f = make_frame(headers), whole = {.headers = arp, .headers_len = 60};
	struct nic_frame frames[FRAMES];

	port->vlan_id = VLAN;
	memset(payload, 0x3c, LEN);
	make_headers(headers, port->caps.mac, port->caps.mac, LEN);
	f.gather = &gather;
	f.gather_count = 1;
	f.payload_len = LEN;
	f.mss_bytes = MSS; /* full frames of the MTU, and a tag more */
	assert_int_equal(nic_tx(port, 0, &f), 0);
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, frames, FRAMES), FRAMES);
	for (unsigned int i = 0; i < FRAMES; i++) {
		assert_tagged(frames[i].data, headers);
		assert_false(frames[i].vlan_stripped);
		memcpy(plain, frames[i].data, 12); /* the same without a tag */
		memcpy(plain + 12, frames[i].data + 12 + TAG, frames[i].len_bytes - 12 - TAG);
		assert_checksums_good(plain, frames[i].len_bytes - TAG);
	}
	assert_int_equal(frames[0].len_bytes, HEADERS + MSS + TAG);
	nic_rx_release(port, 0, frames, FRAMES);

	memset(arp, 0xff, 12);
	arp[12] = 0x08;
	arp[13] = 0x06;
	assert_int_equal(nic_tx(port, 0, &whole), 0);
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, frames, 1), 1);
	assert_tagged(frames[0].data, arp);
	assert_int_equal(frames[0].len_bytes, 60 + TAG);
	nic_rx_release(port, 0, frames, 1);
}

static void test_tx_given_vlan_and_card_leaves_it_to_the_card(void **state)
{
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0};
	struct nic_tx_frame f = make_frame(headers);
	struct nic_frame frame;
	struct rte_mbuf *m;

	port->vlan_id = VLAN;
	port->tx_offloads = RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
	make_headers(headers, port->caps.mac, port->caps.mac, 0);
	assert_int_equal(nic_tx(port, 0, &f), 0);
	m = port->queues[0].kept[0];
	assert_true(m->ol_flags & RTE_MBUF_F_TX_VLAN);
	assert_int_equal(m->vlan_tci, VLAN);
	assert_int_equal(m->data_len, HEADERS);
	assert_memory_equal(rte_pktmbuf_mtod(m, const uint8_t *), headers, ETH);
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, &frame, 1), 1);
	nic_rx_release(port, 0, &frame, 1);
}

static void test_tx_given_vlan_and_sums_by_the_port_counts_the_tag(void **state)
{
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0};
	struct nic_tx_frame f = make_frame(headers);
	struct nic_frame frame;
	const struct rte_mbuf *m;

	port->vlan_id = VLAN;
	port->caps.tx_checksum = true;
	make_headers(headers, port->caps.mac, port->caps.mac, 0);
	assert_int_equal(nic_tx(port, 0, &f), 0);
	m = port->queues[0].kept[0];
	assert_int_equal(m->l2_len, ETH + TAG);
	assert_int_equal(m->l3_len, IP);
	assert_false(m->ol_flags & RTE_MBUF_F_TX_VLAN);
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, &frame, 1), 1);
	nic_rx_release(port, 0, &frame, 1);
}

static void test_rx_given_tag_says_who_took_it_off(void **state)
{
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0};
	struct nic_tx_frame f = make_frame(headers);
	struct nic_frame frame;
	struct rte_mbuf *m;

	make_headers(headers, port->caps.mac, port->caps.mac, 0);
	assert_int_equal(nic_tx(port, 0, &f), 0);
	m = port->queues[0].kept[0];
	m->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	m->vlan_tci = VLAN;
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, &frame, 1), 1);
	assert_true(frame.vlan_stripped);
	assert_int_equal(frame.vlan_tci, VLAN);
	nic_rx_release(port, 0, &frame, 1);

	port->vlan_id = VLAN; /* in the frame: the header is found behind it */
	assert_int_equal(nic_tx(port, 0, &f), 0);
	m = port->queues[0].kept[0];
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	nic_tx_flush(port, 0);
	assert_int_equal(nic_rx_burst(port, 0, &frame, 1), 1);
	assert_false(frame.vlan_stripped);
	assert_int_equal(frame.checksum, NIC_CHECKSUM_GOOD);
	nic_rx_release(port, 0, &frame, 1);
}

static void test_tx_given_empty_pool_counts(void **state)
{
	struct nic_port *port = *state;
	uint8_t headers[HEADERS] = {0};
	struct nic_tx_frame f = make_frame(headers);
	struct rte_mbuf *taken[2048];
	unsigned int count = 0;
	struct nic_stats stats;

	make_headers(headers, port->caps.mac, port->caps.mac, 0);
	while (count < 2048 && (taken[count] = rte_pktmbuf_alloc(port->pool)) != NULL)
		count++;
	assert_int_equal(nic_tx(port, 0, &f), -ENOBUFS);
	nic_port_stats(port, &stats);
	assert_int_equal(stats.tx_no_mbuf, 1);
	rte_pktmbuf_free_bulk(taken, count);
}

static void test_queue_fd_given_ring_is_none(void **state)
{
	assert_int_equal(nic_queue_fd(*state, 0), -1);
}

/* -- against the kernel ---------------------------------------------------------------------- */

/* Fills mac from /sys/class/net (of the test's own namespace: sysfs is mounted in another). */
static void kernel_mac(const char *iface, uint8_t *mac)
{
	char command[128], line[64] = "";
	unsigned int b[6];
	FILE *p;

	snprintf(command, sizeof(command),
		"ip -o link show %s | sed 's/.*ether \\([0-9a-f:]*\\).*/\\1/'", iface);
	p = popen(command, "r");
	assert_non_null(p);
	assert_non_null(fgets(line, sizeof(line), p));
	pclose(p);
	assert_int_equal(
		sscanf(line, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]), 6);
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
}

static void configure_kernel_end(const char *iface, const struct nic_port *port)
{
	const uint8_t *m = port->caps.mac;

	assert_int_equal(
		run("ip addr add %s/24 dev %s && ip link set %s up", kernel_ip, iface, iface), 0);
	assert_int_equal(
		run("ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev %s nud permanent",
			our_ip, m[0], m[1], m[2], m[3], m[4], m[5], iface),
		0);
}

static bool is_reset_to(const struct nic_frame *f, uint32_t payload, uint32_t extra)
{
	const uint8_t *tcp = f->data + ETH + IP;

	if (f->len_bytes < HEADERS || f->data[12] != 0x08 || f->data[13] != 0 ||
		f->data[ETH + 9] != 6)
		return false;
	/* RFC 9293 3.10.7.1: no ACK in ours: RST|ACK of what it occupied, from port 9 to 7 */
	return tcp[1] == 9 && tcp[3] == 7 && tcp[13] == 0x14 &&
	       (uint32_t)(tcp[10] << 8 | tcp[11]) == 100 + payload + extra;
}

/* Sends segments to a closed port of the kernel, with every length of payload that matters to
 * sums, and expects a reset to each: the kernel drops silently what has a bad checksum. Sleeps
 * on the queue's descriptor for each answer. */
static void converse_with_kernel(struct nic_port *port, const char *iface)
{
	static const uint32_t lengths[] = {0, 1, 2, 3, 63, 64, 65, 535, 1000, 1459, 1460};
	uint8_t headers[HEADERS] = {0}, payload[1460], mac[6];
	struct pollfd fd = {.fd = nic_queue_fd(port, 0), .events = POLLIN};
	unsigned int answers = 0;

	configure_kernel_end(iface, port);
	kernel_mac(iface, mac);
	assert_memory_not_equal(mac, port->caps.mac, 6);
	assert_true(fd.fd >= 0);
	memset(payload, 0x5a, sizeof(payload));
	for (unsigned int round = 0; round < 200; round++) {
		uint32_t len = lengths[round % (sizeof(lengths) / sizeof(lengths[0]))];
		struct nic_gather gather = {payload, len};
		struct nic_tx_frame f = make_frame(headers);
		bool answered = false;

		make_headers(headers, mac, port->caps.mac, len);
		headers[ETH + IP + 13] = 0x02; /* SYN */
		f.gather = &gather;
		f.gather_count = 1;
		f.payload_len = len;
		assert_int_equal(nic_tx(port, 0, &f), 0);
		nic_tx_flush(port, 0);
		while (!answered) {
			struct nic_frame frames[NIC_BURST_MAX];
			unsigned int n;

			assert_int_equal(poll(&fd, 1, 60000), 1);
			n = nic_rx_burst(port, 0, frames, NIC_BURST_MAX);
			for (unsigned int i = 0; i < n; i++) {
				if (!is_reset_to(&frames[i], len, 1))
					continue; /* the kernel's own multicast */
				assert_checksums_good(frames[i].data, frames[i].len_bytes);
				answered = true;
			}
			nic_rx_release(port, 0, frames, n);
		}
		answers++;
	}
	assert_int_equal(answers, 200);
	for (int more = 0; more < 100 && poll(&fd, 1, 0) == 1; more++) { /* multicast again */
		struct nic_frame frames[NIC_BURST_MAX];

		nic_rx_release(port, 0, frames, nic_rx_burst(port, 0, frames, NIC_BURST_MAX));
	}
	assert_int_equal(poll(&fd, 1, 0), 0); /* level: silent again */
}

static void drain(struct nic_port *port)
{
	struct nic_frame frames[NIC_BURST_MAX];
	unsigned int n;

	while ((n = receive(port, frames, NIC_BURST_MAX)) > 0)
		nic_rx_release(port, 0, frames, n);
}

static void test_tap_given_kernel_peer_converses(void **state)
{
	struct nic_port *port;
	int flags;

	(void)state;
	if (!have_namespace || access("/dev/net/tun", R_OK | W_OK) != 0)
		skip();
	port = open_port("net_tap0,iface=daemontap0", 1500);
	flags = fcntl(nic_queue_fd(port, 0), F_GETFL);
	assert_true(flags >= 0 && !(flags & O_ASYNC));
	converse_with_kernel(port, "daemontap0");
	drain(port);
	assert_balanced(port);
	nic_port_close(port);
	assert_int_not_equal(run("ip link show daemontap0 >/dev/null 2>&1"), 0);
}

static void test_af_packet_given_kernel_peer_converses(void **state)
{
	struct nic_port *port;

	(void)state;
	if (!have_namespace)
		skip();
	assert_int_equal(run("ip link add daemonv0 type veth peer name daemonv1 && "
			     "ethtool -K daemonv0 tx off tso off gso off >/dev/null && "
			     "ip link set daemonv1 up"),
		0);
	port = open_port("net_af_packet0,iface=daemonv1", 1500);
	converse_with_kernel(port, "daemonv0");
	drain(port);
	assert_balanced(port);
	nic_port_close(port);
	assert_int_equal(run("ip link del daemonv0"), 0);
}

static void test_open_given_bad_devices_fails_cleanly(void **state)
{
	static const char *const bad[] = {
		"net_af_packet0,iface=nonesuch", "net_tap0,iface=lo", "net_nonesuch0"};
	struct nic_fd_set before, after;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct nic_port_config cfg = {.mtu_bytes = 1500, .queues = 1, .numa_node = -1};
		struct nic_port *port = NULL;
		unsigned int errors = log_errors;

		snprintf(cfg.device, sizeof(cfg.device), "%s", bad[i]);
		assert_int_equal(nic_fd_snapshot(&before), 0);
		assert_true(nic_port_open(&port, &cfg) < 0);
		assert_null(port);
		assert_true(log_errors > errors);
		assert_int_equal(nic_fd_snapshot(&after), 0);
		assert_int_equal(before.count, after.count);
		nic_fd_free(&before);
		nic_fd_free(&after);
	}
}

static void test_device_given_strings_completes_and_names(void **state)
{
	static const struct {
		const char *device;
		uint16_t queues, mtu;
		const char *complete, *name;
	} cases[] = {
		{"net_tap0,iface=x", 4, 1500, "net_tap0,iface=x", "net_tap0"},
		{"net_af_packet1,iface=x", 2, 1500,
			"net_af_packet1,iface=x,qpairs=2,qdisc_bypass=1,blocksz=65536,framesz=2048,"
			"framecnt=2048",
			"net_af_packet1"},
		{"net_af_packet1,iface=x", 1, 9000,
			"net_af_packet1,iface=x,qpairs=1,qdisc_bypass=1,blocksz=12288,framesz="
			"12288,"
			"framecnt=2048",
			"net_af_packet1"},
		{"net_af_packet1,iface=x,qpairs=3,framesz=4096", 2, 9000,
			"net_af_packet1,iface=x,qpairs=3,framesz=4096,qdisc_bypass=1",
			"net_af_packet1"},
		{"net_af_xdp0,iface=x", 2, 1500, "net_af_xdp0,iface=x,queue_count=2",
			"net_af_xdp0"},
		{"net_virtio_user0,path=p", 2, 1500, "net_virtio_user0,path=p,queues=2",
			"net_virtio_user0"},
		{"net_vhost0,iface=p", 2, 1500,
			"net_vhost0,iface=p,queues=2,tso=1,linear-buffer=1,ext-buffer=1",
			"net_vhost0"},
		{"net_vhost0,iface=p,tso=0", 1, 1500,
			"net_vhost0,iface=p,tso=0,linear-buffer=1,ext-buffer=1", "net_vhost0"},
		{"03:00.0", 1, 1500, "03:00.0", "0000:03:00.0"},
		{"0001:03:00.0,x=1", 1, 1500, "0001:03:00.0,x=1", "0001:03:00.0"},
	};
	char text[NIC_DEVICE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nic_port_config cfg = {
			.queues = cases[i].queues, .mtu_bytes = cases[i].mtu, .offload = true};

		snprintf(cfg.device, sizeof(cfg.device), "%s", cases[i].device);
		assert_int_equal(nic_device_complete(text, sizeof(text), &cfg), 0);
		assert_string_equal(text, cases[i].complete);
		assert_int_equal(nic_device_name(text, sizeof(text), cases[i].device), 0);
		assert_string_equal(text, cases[i].name);
		assert_int_equal(nic_device_name(text, 4, cases[i].device), -ENAMETOOLONG);
	}
}

#define RING(f) cmocka_unit_test_setup_teardown(f, ring_setup, port_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device_given_strings_completes_and_names),
		RING(test_tx_given_odd_gather_sums_and_copies),
		RING(test_tx_given_long_payload_cuts_it),
		RING(test_tx_given_long_ip6_payload_cuts_it),
		RING(test_tx_given_tso_port_chains_and_asks_for_it),
		RING(test_tx_given_unsound_frames_refuses_and_counts),
		RING(test_tx_given_full_port_keeps_then_gives_up),
		RING(test_tx_given_vlan_writes_the_tag),
		RING(test_tx_given_vlan_and_card_leaves_it_to_the_card),
		RING(test_tx_given_vlan_and_sums_by_the_port_counts_the_tag),
		RING(test_rx_given_tag_says_who_took_it_off),
		RING(test_tx_given_empty_pool_counts),
		RING(test_rx_given_chains_linearises_or_counts),
		RING(test_rx_given_checksum_flags_judges),
		RING(test_queue_fd_given_ring_is_none),
		cmocka_unit_test(test_tap_given_kernel_peer_converses),
		cmocka_unit_test(test_af_packet_given_kernel_peer_converses),
		cmocka_unit_test(test_open_given_bad_devices_fails_cleanly),
	};
	struct eal_config eal = {.device = "net_ring0",
		.instance = "test_nic",
		.mbufs = 2048,
		.mtu_bytes = 1500,
		.hugepages = EAL_HUGEPAGES_NO, /* other tests drain the pool */
		.log = on_log};
	char dir[128];
	bool huge;
	int failed;

	have_namespace = unshare(CLONE_NEWNET) == 0;
	if (!have_namespace)
		print_message("no right to make a network namespace: kernel tests are skipped\n");
	if (eal_start(&eal, &huge) < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	eal_stop();
	snprintf(dir, sizeof(dir), "ls /run/dpdk 2>/dev/null | grep -q mtcpd-%d-", (int)getpid());
	if (system(dir) == 0) {
		print_message("something is left in /run/dpdk\n");
		failed++;
	}
	return failed;
}
