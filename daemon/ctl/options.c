/* The table; how values are parsed is in option_parse.c. */
#include "options.h"

#include "log.h"

#include <string.h>

#define FIELD(field)                                                                               \
	.offset = offsetof(struct config, field), .width = sizeof(((struct config *)0)->field)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define CONGESTION_CONTROLS "newreno|cubic|dctcp|bbr|plugin|agent"

/* One row a key, in the order in which they are documented. */
/* clang-format off */
const struct option option_table[] = {
	{"daemon", "runtime_dir", OPTION_PATH, FIELD(runtime_dir), .value = "/run/mtcpd",
	 .text = "Directory of the sockets mtcpd.sock, mtcpctl.sock and mtcpd-agent.sock; two daemons need two."},
	{"daemon", "group", OPTION_TEXT, FIELD(group), .value = "mtcp",
	 .text = "Members of this group may attach."},
	{"daemon", "log_level", OPTION_CHOICE, FIELD(log_level), .min = LOG_LEVEL_ERROR,
	 .choices = "error|warning|notice|info|debug", .value = "info",
	 .text = "Messages less severe than this are not written."},
	{"daemon", "shutdown_timeout_s", OPTION_NUMBER, FIELD(shutdown_timeout_s), .max = 3600,
	 .value = "10",
	 .text = "On SIGTERM, how long connections may take to close in order before they are reset."},
	{"daemon", "hugepages", OPTION_CHOICE, FIELD(hugepages), .choices = "auto|yes|no",
	 .value = "auto",
	 .text = "Whether to use huge pages; 'yes' refuses to start without them."},
	{"daemon", "memory_mib", OPTION_NUMBER, FIELD(memory_mib), .max = 65536, .value = "0",
	 .text = "Memory for the port's buffers, in MiB; 0: as much as port.mbufs takes."},

	{"port", "device", OPTION_DEVICE, FIELD(port.device), .example = "net_tap0,iface=mtcp0",
	 .text = "The network port: a PCI address, or a virtual device with its arguments. Required."},
	{"port", "address", OPTION_ADDR_LIST, FIELD(addrs), .example = "192.0.2.2/24, 2001:db8::2/64",
	 .text = "Addresses of mtcpd, IPv4 and IPv6, with prefix lengths, comma separated, at most 16. Required, unless slaac is on."},
	{"port", "gateway", OPTION_GATEWAYS, FIELD(gateway), .example = "192.0.2.1, 2001:db8::1",
	 .text = "Next hop for what is not on link: one for IPv4, one for IPv6, or both."},
	{"port", "slaac", OPTION_BOOL, FIELD(slaac), .value = "no",
	 .text = "Whether to take IPv6 addresses, routers and MTU from router advertisements."},
	{"port", "dad", OPTION_BOOL, FIELD(dad), .value = "yes",
	 .text = "Whether to ask, for a second, if anybody else has an IPv6 address before using it."},
	{"port", "mtu", OPTION_NUMBER, FIELD(port.mtu_bytes), .min = 576, .max = 9000,
	 .value = "1500", .text = "Largest IP packet, in bytes."},
	{"port", "vlan", OPTION_NUMBER, FIELD(port.vlan_id), .max = 4094, .value = "0",
	 .text = "VLAN (802.1Q) of all frames, other ones are dropped; 0: frames without a tag."},
	{"port", "reassembly", OPTION_BOOL, FIELD(reassembly), .value = "yes",
	 .text = "Whether fragments are put together, in at most 4 MiB an engine, or dropped."},
	{"port", "flow_labels", OPTION_BOOL, FIELD(flow_labels), .value = "yes",
	 .text = "RFC 6437 flow labels of IPv6, one for each connection; else 0."},
	{"port", "mac", OPTION_MAC, FIELD(port.mac), .example = "02:00:00:00:00:01",
	 .text = "MAC address to use instead of the port's own."},
	{"port", "mbufs", OPTION_NUMBER, FIELD(port.mbufs), .max = 1 << 22, .value = "0",
	 .text = "Packet buffers of 2 KiB; 0: 16384 in huge pages, 8192 in plain ones."},
	{"port", "offload", OPTION_BOOL, FIELD(port.offload), .value = "yes",
	 .text = "Leave checksums and the cutting of segments (TSO) to a port that offers to."},
	{"port", "gso_max", OPTION_SIZE, FIELD(gso_max_bytes), .max = 64000, .value = "16K",
	 .text = "Longest segment that is cut into frames only just before a port without TSO; 0: none."},

	{"route", "congestion_control", OPTION_ROUTES, FIELD(routes),
	 .choices = CONGESTION_CONTROLS, .example = "10.0.0.0/8 dctcp, 0.0.0.0/0 bbr",
	 .text = "Congestion control by destination, of the longest prefix; TCP_CONGESTION goes before."},

	{"engine", "cores", OPTION_CORES, FIELD(cores), .value = "any",
	 .text = "CPUs, one engine on each, as '1' or '1-3,5'; 'any': one engine on whichever is free."},
	{"engine", "spin_us", OPTION_NUMBER, FIELD(spin_us), .max = 10000, .value = "20",
	 .text = "How long an idle engine looks for work before it sleeps; 0 on a contended core."},
	{"engine", "poll_us", OPTION_NUMBER, FIELD(poll_us), .min = 10, .max = 10000, .value = "200",
	 .text = "At least how often a sleeping engine looks at a port that cannot wake it."},

	{"limits", "connections", OPTION_NUMBER, FIELD(limits.connections), .min = 64,
	 .max = 1 << 26, .value = "1048576", .text = "Connections of all clients."},
	{"limits", "half_open", OPTION_NUMBER, FIELD(limits.half_open), .min = 16, .max = 1 << 22,
	 .value = "65536", .text = "Connections in SYN-RECEIVED; beyond, SYN cookies are used."},
	{"limits", "time_wait", OPTION_NUMBER, FIELD(limits.time_wait), .min = 16, .max = 1 << 24,
	 .value = "262144", .text = "Connections in TIME-WAIT; beyond, the oldest goes early."},
	{"limits", "sessions", OPTION_NUMBER, FIELD(limits.sessions), .min = 1, .max = 16384,
	 .value = "1024", .text = "Attached processes."},
	{"limits", "sessions_per_uid", OPTION_NUMBER, FIELD(limits.sessions_per_uid), .min = 1,
	 .max = 16384, .value = "256", .text = "Attached processes of one user."},
	{"limits", "attach_rate_per_uid", OPTION_NUMBER, FIELD(limits.attach_rate_per_uid), .min = 1,
	 .max = 100000, .value = "100", .text = "Attaches a second of one user."},
	{"limits", "connections_per_session", OPTION_NUMBER, FIELD(limits.connections_per_session),
	 .min = 1, .max = 1 << 26, .value = "262144", .text = "Sockets of one process."},
	{"limits", "listeners_per_session", OPTION_NUMBER, FIELD(limits.listeners_per_session),
	 .min = 1, .max = 65535, .value = "256", .text = "Listening sockets of one process."},
	{"limits", "orphans_per_uid", OPTION_NUMBER, FIELD(limits.orphans_per_uid), .max = 1 << 24,
	 .value = "4096", .text = "Connections of one user that outlive their process to send the rest."},
	{"limits", "orphan_timeout_s", OPTION_NUMBER, FIELD(limits.orphan_timeout_s), .min = 1,
	 .max = 3600, .value = "60", .text = "How long such a connection may take."},
	{"limits", "contexts", OPTION_NUMBER, FIELD(limits.contexts), .min = 1, .max = 64,
	 .value = "16", .text = "Ring sets of one process; its threads share them."},
	{"limits", "ring_slots", OPTION_POWER_OF_2, FIELD(limits.ring_slots), .min = 16,
	 .max = 16384, .value = "256", .text = "Slots of each ring."},
	{"limits", "slots_per_turn", OPTION_NUMBER, FIELD(limits.slots_per_turn), .min = 1,
	 .max = 16384, .value = "64", .text = "Submissions that an engine takes from a ring at a time."},
	{"limits", "segment_initial", OPTION_SIZE, FIELD(limits.segment_initial_bytes),
	 .min = 64 * KIB, .max = 1 * GIB, .value = "1M",
	 .text = "Payload memory that a process gets at attach, in either direction."},
	{"limits", "session_down_max", OPTION_SIZE, FIELD(limits.session_down_bytes),
	 .min = 2 * MIB, .max = 64 * GIB, .value = "256M",
	 .text = "Shared memory of one process for sending."},
	{"limits", "session_up_max", OPTION_SIZE, FIELD(limits.session_up_bytes), .min = 2 * MIB,
	 .max = 64 * GIB, .value = "256M", .text = "Shared memory of one process for receiving."},
	{"limits", "sndbuf", OPTION_SIZE, FIELD(limits.sndbuf_bytes), .min = 4 * KIB,
	 .max = 1 * GIB, .value = "256K", .text = "Send buffer of a new socket."},
	{"limits", "sndbuf_max", OPTION_SIZE, FIELD(limits.sndbuf_max_bytes), .min = 4 * KIB,
	 .max = 1 * GIB, .value = "4M", .text = "Largest send buffer, by SO_SNDBUF or by itself."},
	{"limits", "rcvbuf", OPTION_SIZE, FIELD(limits.rcvbuf_bytes), .min = 4 * KIB,
	 .max = 1 * GIB, .value = "128K", .text = "Receive buffer of a new socket."},
	{"limits", "rcvbuf_max", OPTION_SIZE, FIELD(limits.rcvbuf_max_bytes), .min = 4 * KIB,
	 .max = 1 * GIB, .value = "6M", .text = "Largest receive buffer, by SO_RCVBUF or by itself; decides the window scale."},
	{"limits", "tune_buffers", OPTION_BOOL, FIELD(limits.tune_buffers), .value = "yes",
	 .text = "Whether buffers grow as they are used, unless SO_SNDBUF or SO_RCVBUF was set."},
	{"limits", "neighbours", OPTION_NUMBER, FIELD(limits.neighbours), .min = 64,
	 .max = 65536, .value = "4096", .text = "Entries of the neighbour (ARP) table."},

	{"tcp", "ephemeral_ports", OPTION_PORT_RANGE, FIELD(port_first), .min = 1, .max = 65535,
	 .value = "32768-60999", .text = "Local ports for connect and bind(0), shared out to engines."},
	{"tcp", "unprivileged_port_first", OPTION_NUMBER, FIELD(port_unprivileged_first),
	 .max = 65535, .value = "1024",
	 .text = "Ports below this can be bound only with CAP_NET_BIND_SERVICE."},
	{"tcp", "msl_s", OPTION_NUMBER, FIELD(tcp.msl_us), .min = 1, .max = 240, .scale = 1000000,
	 .value = "30", .text = "Maximum segment lifetime; TIME-WAIT lasts twice as long."},
	{"tcp", "fin_wait_2_s", OPTION_NUMBER, FIELD(tcp.fin_wait_2_us), .min = 1, .max = 3600,
	 .scale = 1000000, .value = "60", .text = "How long a closed socket waits for the peer's FIN."},
	{"tcp", "delack_ms", OPTION_NUMBER, FIELD(tcp.delack_us), .min = 1, .max = 500,
	 .scale = 1000, .value = "40", .text = "Longest delay of an acknowledgement."},
	{"tcp", "rto_min_ms", OPTION_NUMBER, FIELD(tcp.rto_min_us), .min = 1, .max = 10000,
	 .scale = 1000, .value = "200", .text = "Shortest retransmission time-out."},
	{"tcp", "rto_initial_ms", OPTION_NUMBER, FIELD(tcp.rto_initial_us), .min = 100,
	 .max = 10000, .scale = 1000, .value = "1000",
	 .text = "Retransmission time-out before a round trip was measured."},
	{"tcp", "rto_max_s", OPTION_NUMBER, FIELD(tcp.rto_max_us), .min = 10, .max = 600,
	 .scale = 1000000, .value = "60", .text = "Longest retransmission time-out."},
	{"tcp", "keepalive_idle_s", OPTION_NUMBER, FIELD(tcp.keepalive_idle_us), .min = 1,
	 .max = 2592000, .scale = 1000000, .value = "7200",
	 .text = "With SO_KEEPALIVE, idle time before the first probe."},
	{"tcp", "keepalive_interval_s", OPTION_NUMBER, FIELD(tcp.keepalive_intvl_us), .min = 1,
	 .max = 3600, .scale = 1000000, .value = "75", .text = "Time between probes."},
	{"tcp", "keepalive_probes", OPTION_NUMBER, FIELD(tcp.keepalive_probes), .min = 1, .max = 255,
	 .value = "9", .text = "Probes without answer that end a connection."},
	{"tcp", "syn_retries", OPTION_NUMBER, FIELD(tcp.syn_retries), .min = 1, .max = 16,
	 .value = "6", .text = "Retransmissions of a SYN before connect fails."},
	{"tcp", "synack_retries", OPTION_NUMBER, FIELD(tcp.synack_retries), .max = 16, .value = "5",
	 .text = "Retransmissions of a SYN|ACK."},
	{"tcp", "data_retries", OPTION_NUMBER, FIELD(tcp.data_retries), .min = 3, .max = 64,
	 .value = "15", .text = "Retransmissions of data before a connection fails."},
	{"tcp", "orphan_retries", OPTION_NUMBER, FIELD(tcp.orphan_retries), .min = 1, .max = 64,
	 .value = "8", .text = "The same, when no process holds the connection any more."},
	{"tcp", "challenge_ack_per_s", OPTION_NUMBER, FIELD(tcp.challenge_ack_per_s), .min = 1,
	 .max = 1000000, .value = "1000", .text = "RFC 5961 challenge ACKs of an engine."},
	{"tcp", "congestion_control", OPTION_CHOICE, FIELD(tcp.cc), .choices = CONGESTION_CONTROLS,
	 .value = "cubic", .text = "Congestion control of a new socket; TCP_CONGESTION changes it."},
	{"tcp", "congestion_plugin", OPTION_PATH, FIELD(congestion_plugin),
	 .example = "/usr/local/lib/mtcpd/cc_scalable.so",
	 .text = "Shared object with one more congestion control, 'plugin'; see mtcpd(8)."},
	{"tcp", "congestion_agent", OPTION_TEXT, FIELD(tcp.cc_agent), .example = "aimd",
	 .text = "Name of one more congestion control, 'agent', which another process does; see mtcpd(8)."},
	{"tcp", "congestion_agent_user", OPTION_TEXT, FIELD(congestion_agent_user),
	 .example = "mtcp-agent",
	 .text = "User of that process, in the group that may attach; else only root and mtcpd's own."},
	{"tcp", "congestion_agent_interval_us", OPTION_NUMBER, FIELD(tcp.cc_agent_interval_us),
	 .min = 100, .max = 1000000, .value = "1000",
	 .text = "How often it is told of a connection at most, where a round trip is not longer."},
	{"tcp", "pacing", OPTION_BOOL, FIELD(tcp.pacing), .value = "no",
	 .text = "Whether windows are sent at an even pace; bbr always does."},
	{"tcp", "ecn", OPTION_CHOICE, FIELD(tcp.ecn), .choices = "off|passive|on",
	 .value = "passive",
	 .text = "RFC 3168 congestion marks: never, when the peer asks, or asked for by us too."},
	{"tcp", "fast_open", OPTION_CHOICE, FIELD(tcp.fastopen), .choices = "off|client|server|on",
	 .value = "off",
	 .text = "RFC 7413 data in SYNs, for sockets that ask for it; such data may come twice."},
	{"tcp", "mtu_probing", OPTION_CHOICE, FIELD(tcp.mtu_probing), .choices = "off|black_hole|always",
	 .value = "black_hole",
	 .text = "RFC 4821 probes of the path MTU: never, once large segments did not pass, or from a small one up."},
	{"tcp", "timestamps", OPTION_BOOL, FIELD(tcp.timestamps), .value = "yes",
	 .text = "RFC 7323 timestamps."},
	{"tcp", "window_scaling", OPTION_BOOL, FIELD(tcp.window_scale), .value = "yes",
	 .text = "RFC 7323 window scaling."},
	{"tcp", "sack", OPTION_BOOL, FIELD(tcp.sack), .value = "yes",
	 .text = "RFC 2018 selective acknowledgements, and what rests on them: RFC 2883, 8985, 9937."},
};
/* clang-format on */
const size_t option_count = sizeof(option_table) / sizeof(option_table[0]);

static_assert(offsetof(struct config, port_last) == offsetof(struct config, port_first) + 2,
	"OPTION_PORT_RANGE writes both");

const struct option *option_find(const char *section, const char *key)
{
	for (size_t i = 0; i < option_count; i++) {
		if (strcmp(option_table[i].section, section) == 0 &&
			strcmp(option_table[i].key, key) == 0)
			return &option_table[i];
	}
	return NULL;
}

bool option_section_exists(const char *section)
{
	for (size_t i = 0; i < option_count; i++) {
		if (strcmp(option_table[i].section, section) == 0)
			return true;
	}
	return false;
}
