/* nic/nic.h over a simulated link: what the engine sees of a port, without DPDK.
 *
 * Checksums are computed here as a port or nic_tx.c would, and never vouched for on the way
 * in, so that the receiving engine verifies every one. Segments longer than mss_bytes are cut.
 * Frames that no real port would take (too long, a gather list that does not add up) abort.
 */
#ifndef SIM_NIC_H
#define SIM_NIC_H

#include "sim_link.h"

#include <nic/nic.h>

struct nic_port *sim_nic_new(
	struct sim_link *link, int side, const uint8_t mac[6], uint16_t mtu_bytes);
void sim_nic_free(struct nic_port *port);
/* nic_tx() refuses every frame but ARP while set, as a port without mbufs does. */
void sim_nic_refuse(struct nic_port *port, bool refuse);

#endif
