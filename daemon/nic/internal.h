/* What the files of nic share. The only header that names DPDK types. */
#ifndef NIC_INTERNAL_H
#define NIC_INTERNAL_H

#include "nic.h"

#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <stdatomic.h>

extern int nic_logtype;
#define nic_log(level, ...) rte_log(RTE_LOG_##level, nic_logtype, "nic: " __VA_ARGS__)

enum {
	NIC_QUEUES_MAX = 64,
	NIC_LINEAR_BYTES = 1 << 20,		 /* touched only as far as it is used */
	NIC_TSO_BYTES = 65535 - NIC_HEADERS_MAX, /* IPv4's total length counts headers, too */
	NIC_TX_KEPT_MAX = 1024,			 /* frames that wait for room in the port */
	NIC_TX_BATCH = 64,     /* handed to the port without waiting for the turn's end */
	NIC_DESCRIPTORS = 512, /* asked of the port, for each queue and direction */
	NIC_POOL_CACHE = 256,
	NIC_MBUFS_HUGE = 16384,
	NIC_MBUFS_PLAIN = 8192,
	NIC_DATA_ROOM_MIN = 2048, /* without headroom */
	NIC_ETH_OVERHEAD = 18,	  /* header and a VLAN tag */
	NIC_VLAN_BYTES = 4,
	NIC_TPACKET_OVERHEAD = 96, /* the kernel's header in a slot of a packet socket's ring */
	NIC_DEVICE_MAX = 512,	   /* of the device string, with what we add */
};

/* One writer, the engine's thread; read by others, relaxed. */
struct nic_queue_counters {
	_Atomic uint64_t rx_too_long, rx_bad_checksum, rx_merged;
	_Atomic uint64_t tx_no_mbuf, tx_queue_full, tx_bad, tx_tso, tx_cut;
};

struct nic_queue {
	_Alignas(64) int fd;
	/* receive */
	uint32_t linear_used;	/* bytes of `linear` taken */
	uint32_t linear_frames; /* frames in it that are not released */
	uint8_t *linear;
	/* transmit */
	uint32_t kept_count;
	uint32_t flushed_count; /* of them, tried and not taken */
	uint64_t progress_tsc;	/* when the port last took a frame */
	struct rte_mbuf *kept[NIC_TX_KEPT_MAX];
	_Alignas(64) struct nic_queue_counters counters;
};

struct nic_port {
	uint16_t id;
	uint16_t queue_count;
	bool started, configured, probed;
	bool soft_offload; /* what the driver offers it does in software, worse than we */
	bool wakes;	   /* queues' descriptors fire when armed: nic_wake.c */
	bool is_vhost, rx_interrupt;
	_Atomic bool cuts; /* the port does TSO now: a vhost's peer decides */
	uint32_t data_room_bytes;
	uint64_t tx_offloads, rx_offloads;
	uint16_t vlan_id;      /* 0: none; put in by the port if tx_offloads say so */
	uint64_t tx_stall_tsc; /* NIC_TX_STALL_US */
	struct rte_mempool *pool;
	uint32_t mbufs_ring;
	struct nic_caps caps;
	char name[64]; /* of the device, without arguments */
	struct nic_queue *queues;
};

static inline void nic_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

/* eal.c */
bool nic_eal_huge(void);

/* nic_device.c: the device string with what follows from the configuration added. 0 or
 * -ENAMETOOLONG. */
int nic_device_complete(char *out, size_t size, const struct nic_port_config *cfg);
/* The part that names the device, canonical: "net_tap0", "0000:03:00.0". 0 or -ENAMETOOLONG. */
int nic_device_name(char *out, size_t size, const char *device);
bool nic_device_is_pci(const char *device);

/* nic_fd.c: a set of this process's descriptors. */
struct nic_fd_set {
	uint32_t count;
	int *fds; /* ascending */
};
int nic_fd_snapshot(struct nic_fd_set *set); /* 0 or -errno */
void nic_fd_free(struct nic_fd_set *set);
/* The queue descriptors that are in `after` but not in `before`; returns how many there are,
 * fills at most max. Turns off the signals of those that have them. */
uint32_t nic_fd_new_queues(
	const struct nic_fd_set *before, const struct nic_fd_set *after, int *fds, uint32_t max);

/* nic_wake.c */
/* Whether to configure the port for receive interrupts. */
bool nic_wake_wanted(const struct rte_eth_dev_info *info);
/* After the port was started with them: learns the queues' descriptors. */
void nic_wake_setup(struct nic_port *port);

/* nic_vhost.c: what a vhost port's peer has agreed to. */
int nic_vhost_begin(struct nic_port *port); /* after the start; 0 or -errno */
void nic_vhost_end(struct nic_port *port);

/* nic_setup.c */
/* Bytes of frame that one mbuf holds: a whole one. */
uint32_t nic_data_room(uint16_t mtu_bytes);
uint32_t nic_mbufs(uint32_t configured);
/* What a pool of that many takes, MiB. */
uint32_t nic_memory_mib(uint32_t mbufs, uint16_t mtu_bytes);
/* Between probing and starting: pool, offloads, queues and their descriptors. 0 or -errno,
 * logged; on error the caller closes the port. */
int nic_setup(struct nic_port *port, const struct nic_port_config *cfg,
	const struct nic_fd_set *before_probe);

#endif
