/* The configuration: what the files say, checked and in the units the code uses.
 *
 * INI files: the main one, then every *.conf of the directory conf.d beside it in the order
 * of their names; a later file overrides an earlier one key by key. All keys are in the table
 * of options.c, which gives type, bounds, default and text; nothing is read that is not in
 * it. Every error of every file is reported, as "file:line: ...".
 */
#ifndef CTL_CONFIG_H
#define CTL_CONFIG_H

#include <net/addr.h>
#include <net/route.h>
#include <nic/nic.h>
#include <tcp/tcp.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_FILE_DEFAULT "/etc/mtcpd/mtcpd.conf"

enum {
	CONFIG_ENGINES_MAX = 64,
	CONFIG_ADDRS_MAX = 16,
	CONFIG_ROUTES_MAX = 32,
	CONFIG_RUNTIME_DIR_MAX = 80, /* so that a socket's name below it fits sun_path */
};

enum config_hugepages {
	CONFIG_HUGEPAGES_AUTO, /* use them if there are any */
	CONFIG_HUGEPAGES_YES,  /* refuse to start without */
	CONFIG_HUGEPAGES_NO,
};

struct config_addr {
	struct net_addr addr;
	uint8_t prefix_len; /* 1..32, of an IPv6 address 1..128 */
};

struct config_limits {
	uint32_t connections; /* of the whole daemon; engines share them evenly */
	uint32_t half_open;
	uint32_t time_wait;
	uint32_t sessions;
	uint32_t sessions_per_uid;
	uint32_t connections_per_session;
	uint32_t listeners_per_session;
	uint32_t attach_rate_per_uid; /* a second */
	uint32_t orphans_per_uid;
	uint32_t orphan_timeout_s;
	uint32_t contexts; /* per session */
	uint32_t ring_slots;
	uint64_t segment_initial_bytes; /* payload of the first segment of either direction */
	uint64_t session_down_bytes;	/* most that all segments of a direction may have */
	uint64_t session_up_bytes;
	uint32_t sndbuf_bytes, sndbuf_max_bytes;
	uint32_t rcvbuf_bytes, rcvbuf_max_bytes;
	bool tune_buffers;
	uint32_t slots_per_turn;
	uint32_t neighbours;
};

struct config {
	/* [daemon] */
	char runtime_dir[CONFIG_RUNTIME_DIR_MAX];
	char group[32];	    /* may attach; empty: only root and the daemon's own user */
	uint32_t log_level; /* enum log_level */
	uint32_t shutdown_timeout_s;
	uint32_t hugepages;  /* enum config_hugepages */
	uint32_t memory_mib; /* for the port's buffers; 0: chosen from mbufs */
	/* [port] */
	struct nic_port_config port; /* port.queues = engine_count */
	struct config_addr addrs[CONFIG_ADDRS_MAX];
	uint32_t addr_count;
	struct net_addr gateway;  /* of IPv4; all zero: none */
	struct net_addr gateway6; /* of IPv6; the same */
	uint32_t gso_max_bytes;
	bool reassembly;
	bool flow_labels;
	bool slaac;
	bool dad;
	/* [route] */
	struct net_prefix_rule routes[CONFIG_ROUTES_MAX]; /* value: enum tcp_cc_id */
	uint32_t route_count;
	/* [engine] */
	int32_t cores[CONFIG_ENGINES_MAX]; /* CPU of each engine; -1: any */
	uint32_t engine_count;
	uint32_t spin_us, poll_us;
	/* [limits] */
	struct config_limits limits;
	/* [tcp] */
	char congestion_plugin[256];	  /* path; empty: none */
	char congestion_agent_user[32];	  /* may be the agent; empty: only root and our own user */
	struct tcp_config tcp;		  /* mss_max_bytes and tso_max_bytes follow from the port */
	uint16_t port_first, port_last;	  /* ephemeral ports */
	uint16_t port_unprivileged_first; /* bind below takes CAP_NET_BIND_SERVICE */
};

/* The defaults of the table. */
void config_default(struct config *c);

/* Reads `file` and its conf.d into *c, over the defaults, and checks what spans keys. Returns
 * the number of errors, each reported by `report` as one line without newline (report_arg is
 * handed through). A file that cannot be read is an error. */
typedef void (*config_report_fn)(void *arg, const char *line);
unsigned int config_load(
	struct config *c, const char *file, config_report_fn report, void *report_arg);

/* Fills in MTU, addresses and gateway of *iface; the MAC is the port's. 0, or the error of
 * net_iface_add() or net_iface_set_gateway(); never fails on what config_load() accepted. */
struct net_iface;
int config_iface(const struct config *c, struct net_iface *iface);

/* One of engine_count + 1 disjoint slices of the ephemeral ports. The last (index engine_count) is
 * the main thread's, for bind(0); the others are the engines', who share them out themselves. */
void config_port_slice(
	const struct config *c, uint32_t index, uint16_t *port_first, uint16_t *port_last);

/* Prints the option table as a commented configuration file, as --help and the example do. */
void config_print_options(FILE *out);

#endif
