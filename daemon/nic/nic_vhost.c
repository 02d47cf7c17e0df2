/* vhost ports: the peer says whether it takes segments that it cuts itself, or need not cut.
 *
 * The driver can hand over such segments but does not list that among its offloads, since only
 * the peer, when it connects, decides. So the port starts without, and is told at each connect.
 */
#include "internal.h"

#include <linux/virtio_net.h>
#include <rte_eth_vhost.h>
#include <rte_vhost.h>

static void learn(struct nic_port *port)
{
	uint64_t features = 0;
	int vid = rte_eth_vhost_get_vid_from_port_id(port->id);
	uint64_t needed =
		UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO4 | UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM;
	bool cuts = vid >= 0 && rte_vhost_get_negotiated_features(vid, &features) == 0 &&
		    (features & needed) == needed;

	atomic_store_explicit(&port->cuts, cuts, memory_order_relaxed);
}

/* In the library's thread. */
static int on_link_change(uint16_t id, enum rte_eth_event_type type, void *arg, void *unused)
{
	(void)id;
	(void)type;
	(void)unused;
	learn(arg);
	return 0;
}

int nic_vhost_begin(struct nic_port *port)
{
	int err;

	if (port->caps.tso_max_bytes == 0)
		return 0;
	err = rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_LSC, on_link_change, port);
	if (err == 0)
		learn(port);
	return err;
}

void nic_vhost_end(struct nic_port *port)
{
	rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_LSC, on_link_change, port);
}
