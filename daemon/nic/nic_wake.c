/* Receive interrupts, where a driver has them: virtio-user and vhost, whose other side rings an
 * eventfd if it was asked to.
 *
 * Asking and being asked cost something on both sides, so it is done only before sleeping, as
 * nic.h tells. The other side's rings fall into an eventfd that nobody reads: it is watched for
 * edges, and each ring is one, whatever its counter says.
 */
#include "internal.h"

#include <string.h>

bool nic_wake_wanted(const struct rte_eth_dev_info *info)
{
	return strcmp(info->driver_name, "net_virtio_user") == 0 ||
	       strcmp(info->driver_name, "net_vhost") == 0;
}

void nic_wake_setup(struct nic_port *port)
{
	port->wakes = true;
	for (uint16_t q = 0; q < port->queue_count; q++) {
		port->queues[q].fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port->id, q);
		if (port->queues[q].fd < 0)
			port->wakes = false;
	}
	for (uint16_t q = 0; !port->wakes && q < port->queue_count; q++)
		port->queues[q].fd = -1;
}

bool nic_queue_must_arm(const struct nic_port *port)
{
	return port->wakes;
}

/* A vhost that nobody is connected to accepts the wish and forgets it. */
static bool has_peer(const struct nic_port *port)
{
	struct rte_eth_link link = {0};

	return !port->is_vhost || (rte_eth_link_get_nowait(port->id, &link) == 0 &&
					  link.link_status == RTE_ETH_LINK_UP);
}

bool nic_queue_arm(struct nic_port *port, uint16_t queue)
{
	if (!has_peer(port) || rte_eth_dev_rx_intr_enable(port->id, queue) != 0)
		return false;
	/* The wish is out before the queue is read again; the other side has the frame out before
	 * it reads the wish. */
	atomic_thread_fence(memory_order_seq_cst);
	return true;
}

void nic_queue_disarm(struct nic_port *port, uint16_t queue)
{
	rte_eth_dev_rx_intr_disable(port->id, queue);
}
