/* The port: bursts of frames in, bursts of frames out.
 *
 * This interface names no DPDK type, so that the simulator can stand in for it; nic_dpdk.c
 * and its neighbours are the only files that see rte_ethdev and rte_mbuf. A queue belongs to
 * one engine and is used by its thread alone.
 */
#ifndef NIC_NIC_H
#define NIC_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NIC_BURST_MAX = 32,
	NIC_HEADERS_MAX = 128, /* Ethernet + IP + TCP with options, or a whole ARP frame */
	NIC_GATHER_MAX = 64,
	NIC_TX_STALL_US = 20000,
};

enum nic_checksum {
	NIC_CHECKSUM_UNKNOWN, /* software must look */
	NIC_CHECKSUM_GOOD,    /* the port has verified IP (IPv4's header) and TCP */
};

/* Ports leave it at 0; engines receive some frames that no port brought. */
enum nic_origin {
	NIC_FROM_PORT,
	NIC_REASSEMBLED, /* of fragments */
	NIC_LOOPED,	 /* sent to one of our own addresses */
};

/* A received frame, contiguous. Valid until nic_rx_release(). */
struct nic_frame {
	const uint8_t *data;
	uint32_t len_bytes;
	enum nic_checksum checksum;
	bool vlan_stripped; /* the port has taken an 802.1Q tag off, which said vlan_tci */
	uint16_t vlan_tci;
	enum nic_origin origin;
	uint16_t hops; /* how often engines have handed it over */
	void *opaque;
};

/* A frame to send: headers, then the gathered payload. The payload is copied (or attached)
 * before nic_tx() returns. Header checksum fields are zero on entry; nic fills the IPv4
 * header and TCP checksums, by the port where it offers that, else in software while it copies.
 * The headers are without a VLAN tag: nic puts it in, or a card does. */
struct nic_gather {
	const uint8_t *data;
	uint32_t len_bytes;
};
struct nic_tx_frame {
	const uint8_t *headers;
	uint16_t headers_len;
	uint16_t l3_offset; /* 0: not IP, no checksum to fill (ARP) */
	uint16_t l4_offset; /* 0: no TCP checksum to fill (ICMP comes ready) */
	uint16_t mss_bytes; /* payload bytes per frame; 0: one frame whatever the length */
	uint16_t gather_count;
	uint32_t payload_len; /* sum of the gather list */
	const struct nic_gather *gather;
};

struct nic_port_config {
	char device[256]; /* as in the configuration: PCI address or virtual device string */
	uint16_t mtu_bytes;
	uint16_t vlan_id; /* of the tag in what is sent; 0: none */
	uint16_t queues;  /* one per engine */
	uint32_t mbufs;	  /* per port; 0: 16384 in huge pages, 8192 without */
	uint8_t mac[6];	  /* used instead of the port's own if mac_given */
	bool mac_given;
	bool offload; /* use what the port offers: checksums, TSO */
	int numa_node;
};

struct nic_caps {
	uint8_t mac[6];
	uint16_t mtu_bytes;
	uint32_t tso_max_bytes; /* payload bytes of one nic_tx_frame; 0: no TSO */
	bool rx_checksum;
	bool tx_checksum;
	bool rss;
};

struct nic_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_missed, rx_errors, rx_no_mbuf, tx_errors;
	/* ours */
	uint64_t rx_too_long;	  /* multi-segment frame that the linear buffer had no room for */
	uint64_t rx_bad_checksum; /* the port found a wrong IP or TCP checksum */
	uint64_t tx_no_mbuf;	  /* mbuf pool was empty: segment not sent, TCP retransmits */
	uint64_t tx_queue_full;	  /* the port did not take it in time */
	uint64_t tx_bad;	  /* no frame of ours may look so; a bug */
	uint64_t rx_merged;	  /* frames longer than the MTU: several in one (LRO) */
	uint64_t tx_tso;	  /* frames that the port was left to cut */
	uint64_t tx_cut;	  /* segments that were cut here */
	/* Idle, with nothing received and everything sent: total = free + ring. */
	uint32_t mbufs_total, mbufs_free;
	uint32_t mbufs_ring; /* in the port's receive rings since its start */
};

struct nic_port;

/* Opens and starts the port. 0 or -errno with the reason logged. Main thread, after EAL start. */
int nic_port_open(struct nic_port **port, const struct nic_port_config *cfg);
void nic_port_close(struct nic_port *port);
const struct nic_caps *nic_port_caps(const struct nic_port *port);
void nic_port_stats(const struct nic_port *port, struct nic_stats *out); /* any thread */
const char *nic_port_name(const struct nic_port *port);

/* A descriptor that becomes readable when frames wait on the queue, or -1 where there is
 * none and the engine has to poll. */
int nic_queue_fd(const struct nic_port *port, uint16_t queue);

/* Where nic_queue_must_arm() the descriptor is edge-triggered, never read, and becomes readable
 * only after nic_queue_arm(): look at the queue once more before sleeping, for a frame may have
 * come just before. False: the port has nobody yet who could wake us, poll. Disarm when awake, so
 * that the other side need not ring. Engine thread. */
bool nic_queue_must_arm(const struct nic_port *port);
bool nic_queue_arm(struct nic_port *port, uint16_t queue);
void nic_queue_disarm(struct nic_port *port, uint16_t queue);

/* Engine thread. nic_rx_burst() and nic_rx_release() may be called with up to NIC_BURST_MAX
 * frames; every frame must be released, in any order. */
unsigned int nic_rx_burst(
	struct nic_port *port, uint16_t queue, struct nic_frame *frames, unsigned int max);
void nic_rx_release(
	struct nic_port *port, uint16_t queue, struct nic_frame *frames, unsigned int count);
/* 0, or -ENOBUFS (counted). */
int nic_tx(struct nic_port *port, uint16_t queue, const struct nic_tx_frame *f);
/* Hands what nic_tx() has queued to the port. What the port has no room for is kept and tried
 * again with the next call; after NIC_TX_STALL_US without progress it is dropped (counted). */
void nic_tx_flush(struct nic_port *port, uint16_t queue);
/* Flushes; true if something is still kept: call again soon. */
bool nic_tx_drain(struct nic_port *port, uint16_t queue);

#endif
