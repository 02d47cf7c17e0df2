/* From a probed device to a started port: which offloads, how many queues and buffers.
 *
 * One mbuf holds a whole frame of the port's MTU, so that multi-segment frames come only from
 * ports that merge, and go only to ports that cut (TSO). A vhost's peer decides about cutting when
 * it connects (nic_vhost.c): until then, and if it does not, nic_tx.c cuts. net_tap offers
 * checksums, but its driver computes them in software in a pass of its own: summing while copying
 * is cheaper.
 */
#include "internal.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t tx_checksum_offloads =
	RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t tx_tso_offloads = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t rx_wanted_offloads =
	RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t rss_wanted = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_IPV4 |
				   RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_IPV6;

/* Whole pages for jumbo frames: net_af_packet makes its ring of slots of this size. */
uint32_t nic_data_room(uint16_t mtu_bytes)
{
	uint32_t room = mtu_bytes + NIC_ETH_OVERHEAD + NIC_TPACKET_OVERHEAD;

	return room <= NIC_DATA_ROOM_MIN ? NIC_DATA_ROOM_MIN : RTE_ALIGN_CEIL(room, 4096u);
}

/* The MTU to tell the library. net_af_packet says that it takes no jumbo frames, but takes
 * what its ring's slots hold: it is told its own limit, and the interface keeps its MTU. */
static uint16_t library_mtu(const struct nic_port_config *cfg, const struct rte_eth_dev_info *info)
{
	uint32_t frame = cfg->mtu_bytes + NIC_ETH_OVERHEAD;

	if (frame <= info->max_rx_pktlen || strcmp(info->driver_name, "net_af_packet") != 0)
		return cfg->mtu_bytes;
	return RTE_ETHER_MTU;
}

uint32_t nic_mbufs(uint32_t configured)
{
	if (configured != 0)
		return configured;
	return nic_eal_huge() ? NIC_MBUFS_HUGE : NIC_MBUFS_PLAIN;
}

uint32_t nic_memory_mib(uint32_t mbufs, uint16_t mtu_bytes)
{
	uint64_t each = nic_data_room(mtu_bytes) + RTE_PKTMBUF_HEADROOM + sizeof(struct rte_mbuf) +
			2 * RTE_CACHE_LINE_SIZE;
	uint64_t count = mbufs ? mbufs : NIC_MBUFS_HUGE;

	return (uint32_t)((count * each >> 20) + 1);
}

/* Only cards do it in hardware. Virtual ports offer it as well, and move whole frames: the packet
 * socket's driver, whose kernel takes tags off, puts them back in unless asked not to. */
static void choose_vlan_offloads(struct nic_port *port, const struct rte_eth_dev_info *info)
{
	port->rx_offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	port->tx_offloads |= info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
}

static void choose_offloads(struct nic_port *port, const struct nic_port_config *cfg,
	const struct rte_eth_dev_info *info)
{
	port->vlan_id = cfg->vlan_id;
	port->soft_offload = strcmp(info->driver_name, "net_tap") == 0;
	port->is_vhost = strcmp(info->driver_name, "net_vhost") == 0;
	if (port->soft_offload || !cfg->offload)
		return;
	port->rx_offloads = info->rx_offload_capa & rx_wanted_offloads;
	if (cfg->vlan_id && nic_device_is_pci(cfg->device))
		choose_vlan_offloads(port, info);
	/* Elsewhere merging costs latency; here it is the peer's long segments as they are. */
	if (strcmp(info->driver_name, "net_virtio_user") == 0)
		port->rx_offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_LRO;
	if ((info->tx_offload_capa & tx_checksum_offloads) == tx_checksum_offloads)
		port->tx_offloads |= tx_checksum_offloads;
	/* virtio has no IPv4 header checksum: that one is ours, over 20 bytes. */
	else if (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
		port->tx_offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	if ((port->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) &&
		(info->tx_offload_capa & tx_tso_offloads) == tx_tso_offloads)
		port->tx_offloads |= tx_tso_offloads;
}

static int configure(struct nic_port *port, const struct nic_port_config *cfg,
	const struct rte_eth_dev_info *info)
{
	struct rte_eth_conf conf = {
		.rxmode = {.mtu = library_mtu(cfg, info), .offloads = port->rx_offloads},
		.txmode = {.offloads = port->tx_offloads},
		.intr_conf = {.rxq = nic_wake_wanted(info)},
	};
	uint64_t rss = info->flow_type_rss_offloads & rss_wanted;
	int err;

	if (port->rx_offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO)
		conf.rxmode.max_lro_pkt_size = info->max_lro_pkt_size;
	if (cfg->queues > info->max_rx_queues || cfg->queues > info->max_tx_queues) {
		nic_log(ERR, "%s has %u queues, %u engines want one each\n", port->name,
			RTE_MIN(info->max_rx_queues, info->max_tx_queues), cfg->queues);
		return -EINVAL;
	}
	if (cfg->queues > 1 && rss != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = rss;
		port->caps.rss = true;
	}
	err = rte_eth_dev_configure(port->id, cfg->queues, cfg->queues, &conf);
	if (err < 0)
		nic_log(ERR, "%s cannot be configured: %s\n", port->name, rte_strerror(-err));
	return err;
}

static int make_pool(struct nic_port *port, const struct nic_port_config *cfg)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	uint32_t count = nic_mbufs(cfg->mbufs);
	uint32_t least = 2 * NIC_DESCRIPTORS * cfg->queues + NIC_POOL_CACHE * 2;

	if (count < least) {
		nic_log(ERR, "%u mbufs are too few for %u engines: at least %u\n", count,
			cfg->queues, least);
		return -EINVAL;
	}
	port->data_room_bytes = nic_data_room(cfg->mtu_bytes);
	snprintf(name, sizeof(name), "nic%u", port->id);
	port->pool = rte_pktmbuf_pool_create(name, count, NIC_POOL_CACHE, 0,
		(uint16_t)(port->data_room_bytes + RTE_PKTMBUF_HEADROOM), cfg->numa_node);
	if (port->pool != NULL)
		return 0;
	nic_log(ERR, "no memory for %u mbufs: %s\n", count, rte_strerror(rte_errno));
	return -ENOMEM;
}

/* Sets up receive queue q and finds its descriptor, if the driver makes it then. */
static int setup_rx_queue(struct nic_port *port, uint16_t q, uint16_t descriptors)
{
	struct nic_fd_set before, after;
	int err = nic_fd_snapshot(&before);

	if (err < 0)
		return err;
	err = rte_eth_rx_queue_setup(
		port->id, q, descriptors, (unsigned int)SOCKET_ID_ANY, NULL, port->pool);
	if (err == 0)
		err = nic_fd_snapshot(&after);
	if (err == 0) {
		if (nic_fd_new_queues(&before, &after, &port->queues[q].fd, 1) != 1)
			port->queues[q].fd = -1;
		nic_fd_free(&after);
	}
	nic_fd_free(&before);
	return err;
}

/* Descriptors that the driver made while probing, one for each queue in order. */
static int find_probed_fds(
	struct nic_port *port, const struct nic_fd_set *before, const struct nic_fd_set *after)
{
	int fds[NIC_QUEUES_MAX];

	if (nic_fd_new_queues(before, after, fds, NIC_QUEUES_MAX) != port->queue_count)
		return 0;
	for (uint16_t q = 0; q < port->queue_count; q++) {
		if (port->queues[q].fd < 0)
			port->queues[q].fd = fds[q];
	}
	return 0;
}

static int setup_queues(struct nic_port *port, const struct nic_fd_set *before_probe)
{
	uint16_t rx_descriptors = NIC_DESCRIPTORS, tx_descriptors = NIC_DESCRIPTORS;
	struct nic_fd_set probed;
	int err = nic_fd_snapshot(&probed);

	if (err == 0)
		err = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx_descriptors, &tx_descriptors);
	for (uint16_t q = 0; err == 0 && q < port->queue_count; q++)
		err = setup_rx_queue(port, q, rx_descriptors);
	for (uint16_t q = 0; err == 0 && q < port->queue_count; q++)
		err = rte_eth_tx_queue_setup(
			port->id, q, tx_descriptors, (unsigned int)SOCKET_ID_ANY, NULL);
	if (err == 0)
		err = find_probed_fds(port, before_probe, &probed);
	if (err < 0)
		nic_log(ERR, "%s: queues cannot be set up: %s\n", port->name, rte_strerror(-err));
	nic_fd_free(&probed);
	return err;
}

static int set_mtu(const struct nic_port *port, uint16_t library, uint16_t wanted)
{
	int err;

	if (library != wanted) {
		nic_log(NOTICE, "%s: its interface must have an MTU of %u already\n", port->name,
			wanted);
		return 0;
	}
	err = rte_eth_dev_set_mtu(port->id, wanted);
	if (err == 0 || err == -ENOTSUP)
		return 0;
	nic_log(ERR, "%s: no MTU of %u: %s\n", port->name, wanted, rte_strerror(-err));
	return err;
}

/* The MAC that we answer to. A tap's own is that of the kernel's end as well: the two must
 * differ, and a tap lets everything through. */
static int choose_mac(struct nic_port *port, const struct nic_port_config *cfg)
{
	struct rte_ether_addr mac;
	int err = rte_eth_macaddr_get(port->id, &mac);

	if (err < 0)
		return err;
	if (cfg->mac_given) {
		memcpy(mac.addr_bytes, cfg->mac, sizeof(cfg->mac));
		if (!port->soft_offload)
			err = rte_eth_dev_default_mac_addr_set(port->id, &mac);
	} else if (port->soft_offload) {
		mac.addr_bytes[0] |= RTE_ETHER_LOCAL_ADMIN_ADDR;
		mac.addr_bytes[5] ^= 0x80;
	}
	if (err < 0)
		nic_log(ERR, "%s: the MAC cannot be set: %s\n", port->name, rte_strerror(-err));
	memcpy(port->caps.mac, mac.addr_bytes, sizeof(port->caps.mac));
	return err;
}

static void fill_caps(struct nic_port *port, const struct nic_port_config *cfg)
{
	bool cuts = (port->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0;

	port->caps.mtu_bytes = cfg->mtu_bytes;
	port->caps.rx_checksum = (port->rx_offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0;
	port->caps.tx_checksum = (port->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0;
	atomic_store_explicit(&port->cuts, cuts, memory_order_relaxed);
	if (cuts || (port->is_vhost && port->caps.tx_checksum))
		port->caps.tso_max_bytes = NIC_TSO_BYTES;
	port->tx_stall_tsc = rte_get_tsc_hz() / 1000000 * NIC_TX_STALL_US;
}

int nic_setup(struct nic_port *port, const struct nic_port_config *cfg,
	const struct nic_fd_set *before_probe)
{
	struct rte_eth_dev_info info;
	int err = rte_eth_dev_info_get(port->id, &info);

	if (err < 0)
		return err;
	choose_offloads(port, cfg, &info);
	err = configure(port, cfg, &info);
	if (err < 0)
		return err;
	port->configured = true;
	port->rx_interrupt = nic_wake_wanted(&info);
	err = make_pool(port, cfg);
	if (err == 0)
		err = setup_queues(port, before_probe);
	if (err == 0)
		err = set_mtu(port, library_mtu(cfg, &info), cfg->mtu_bytes);
	if (err == 0)
		err = choose_mac(port, cfg);
	if (err == 0)
		fill_caps(port, cfg);
	return err;
}
