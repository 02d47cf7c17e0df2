/* The port's life and what it tells about itself. Bursts are in nic_rx.c and nic_tx.c. */
#include "internal.h"

#include <errno.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <stdlib.h>
#include <string.h>

static int alloc_queues(struct nic_port *port, uint16_t count)
{
	if (count == 0 || count > NIC_QUEUES_MAX)
		return -EINVAL;
	port->queues = aligned_alloc(64, count * sizeof(*port->queues));
	if (port->queues == NULL)
		return -ENOMEM;
	memset(port->queues, 0, count * sizeof(*port->queues));
	port->queue_count = count;
	for (uint16_t q = 0; q < count; q++) {
		port->queues[q].fd = -1;
		port->queues[q].linear = malloc(NIC_LINEAR_BYTES);
		if (port->queues[q].linear == NULL)
			return -ENOMEM;
	}
	return 0;
}

/* Plugs the device in and learns its port number. */
static int probe(struct nic_port *port, const struct nic_port_config *cfg)
{
	char device[NIC_DEVICE_MAX];
	int err = nic_device_complete(device, sizeof(device), cfg);

	if (err == 0)
		err = nic_device_name(port->name, sizeof(port->name), device);
	if (err < 0)
		return err;
	if (rte_eth_dev_get_port_by_name(port->name, &port->id) == 0)
		return 0; /* on PCI: EAL has found it */
	err = rte_dev_probe(device);
	if (err < 0) {
		nic_log(ERR, "%s: %s\n", device, rte_strerror(-err));
		return err;
	}
	port->probed = true;
	err = rte_eth_dev_get_port_by_name(port->name, &port->id);
	if (err < 0)
		nic_log(ERR, "%s is no network port\n", device);
	return err;
}

/* What the port keeps of the pool from its start on. */
static uint32_t mbufs_in_rings(const struct nic_port *port)
{
	return port->pool->size - rte_mempool_avail_count(port->pool);
}

static int start(struct nic_port *port, const struct nic_port_config *cfg,
	const struct nic_fd_set *before_probe)
{
	int err = nic_setup(port, cfg, before_probe);

	if (err < 0)
		return err;
	err = rte_eth_dev_start(port->id);
	if (err < 0) {
		nic_log(ERR, "%s does not start: %s\n", port->name, rte_strerror(-err));
		return err;
	}
	port->started = true;
	/* IPv6 lives by multicast; a port that cannot be told so passes it anyway, or has none. */
	(void)rte_eth_allmulticast_enable(port->id);
	port->mbufs_ring = mbufs_in_rings(port);
	if (port->rx_interrupt)
		nic_wake_setup(port);
	if (port->is_vhost)
		err = nic_vhost_begin(port);
	if (err < 0)
		return err;
	return 0;
}

int nic_port_open(struct nic_port **out, const struct nic_port_config *cfg)
{
	struct nic_port *port = calloc(1, sizeof(*port));
	struct nic_fd_set before;
	int err;

	if (port == NULL)
		return -ENOMEM;
	err = alloc_queues(port, cfg->queues);
	if (err == 0)
		err = nic_fd_snapshot(&before);
	if (err < 0) {
		nic_port_close(port);
		return err;
	}
	port->id = RTE_MAX_ETHPORTS;
	err = probe(port, cfg);
	if (err == 0)
		err = start(port, cfg, &before);
	nic_fd_free(&before);
	if (err < 0) {
		nic_port_close(port);
		return err;
	}
	*out = port;
	return 0;
}

static void drop_kept(struct nic_queue *queue)
{
	for (uint32_t i = 0; i < queue->kept_count; i++)
		rte_pktmbuf_free(queue->kept[i]);
	queue->kept_count = 0;
}

static void unplug(const struct nic_port *port)
{
	struct rte_eth_dev_info info;
	struct rte_device *device = NULL;

	if (rte_eth_dev_info_get(port->id, &info) == 0)
		device = info.device;
	rte_eth_dev_close(port->id);
	if (port->probed && device != NULL)
		rte_dev_remove(device);
}

void nic_port_close(struct nic_port *port)
{
	if (port == NULL)
		return;
	for (uint16_t q = 0; port->queues != NULL && q < port->queue_count; q++)
		drop_kept(&port->queues[q]);
	if (port->started && port->is_vhost)
		nic_vhost_end(port);
	if (port->started)
		rte_eth_dev_stop(port->id);
	if (rte_eth_dev_is_valid_port(port->id))
		unplug(port);
	rte_mempool_free(port->pool);
	for (uint16_t q = 0; port->queues != NULL && q < port->queue_count; q++)
		free(port->queues[q].linear);
	free(port->queues);
	free(port);
}

const struct nic_caps *nic_port_caps(const struct nic_port *port)
{
	return &port->caps;
}

const char *nic_port_name(const struct nic_port *port)
{
	return port->name;
}

int nic_queue_fd(const struct nic_port *port, uint16_t queue)
{
	return port->queues[queue].fd;
}

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void nic_port_stats(const struct nic_port *port, struct nic_stats *out)
{
	struct rte_eth_stats eth = {0};

	rte_eth_stats_get(port->id, &eth);
	*out = (struct nic_stats){
		.rx_packets = eth.ipackets,
		.rx_bytes = eth.ibytes,
		.tx_packets = eth.opackets,
		.tx_bytes = eth.obytes,
		.rx_missed = eth.imissed,
		.rx_errors = eth.ierrors,
		.rx_no_mbuf = eth.rx_nombuf,
		.tx_errors = eth.oerrors,
		.mbufs_total = port->pool->size,
		.mbufs_free = rte_mempool_avail_count(port->pool),
		.mbufs_ring = port->mbufs_ring,
	};
	for (uint16_t q = 0; q < port->queue_count; q++) {
		const struct nic_queue_counters *c = &port->queues[q].counters;

		out->rx_too_long += read_counter(&c->rx_too_long);
		out->rx_merged += read_counter(&c->rx_merged);
		out->tx_tso += read_counter(&c->tx_tso);
		out->tx_cut += read_counter(&c->tx_cut);
		out->rx_bad_checksum += read_counter(&c->rx_bad_checksum);
		out->tx_no_mbuf += read_counter(&c->tx_no_mbuf);
		out->tx_queue_full += read_counter(&c->tx_queue_full);
		out->tx_bad += read_counter(&c->tx_bad);
	}
}
