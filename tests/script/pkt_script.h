/* A script as the parser leaves it: a list of events in the order of the text.
 *
 * The language is packetdrill's (Cardwell et al., USENIX ATC 2013), as far as its scripts for
 * TCP use it, with a few additions, all of which are syntax errors there:
 *
 *	<2 S 0:0(0)         a packet of the script's second connection (third, ...)
 *	TS val * ecr 5      a timestamp that may have any value
 *	hex 1e04abcd        an option's bytes as they are
 *	[badsum]            beside [ect0], [ce] ...: the TCP checksum is wrong
 *	sport 5000          a connection's remote port, once, before its first packet
 *	--set NAME=VALUE    a line before the first event: TCP's configuration (pkt_config.c)
 *	[hopopts]           beside [ect0]: an extension header of IPv6, as [dstopts], [routing]
 *(type 0, no segment left) and [atomic] (a fragment that is the whole)
 *
 * --ip_version=ipv6 and --ip_version=ipv4_mapped_ipv6 are packetdrill's: "..." is then a socket
 * and an address of IPv6, and in the latter case the packets are IPv4.
 *
 * Everything that a script consists of lives in its arena and is freed with it.
 */
#ifndef PKT_SCRIPT_H
#define PKT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PKT_CONNS_MAX = 8,
	PKT_ARGS_MAX = 8,
	PKT_ITEMS_MAX = 16,	       /* of a list or a structure */
	PKT_PAYLOAD_MAX = 65535 - 120, /* of one packet */
	PKT_OPTIONS_MAX = 40,
	PKT_EXT_MAX = 4,	   /* extension headers of one packet */
	PKT_BUFFER_MAX = 64 << 20, /* of one call */
	PKT_TOLERANCE_US = 4000,
};

/* -- packets -------------------------------------------------------------------------------------
 */

enum pkt_ecn {
	PKT_ECN_ANY = -1,
	PKT_ECN_NOT_ECT = 0,
	PKT_ECN_ECT1 = 1,
	PKT_ECN_ECT0 = 2,
	PKT_ECN_CE = 3,
};

enum pkt_family {
	PKT_IP4,
	PKT_IP6,
	PKT_IP4_MAPPED, /* IPv4 packets, sockets of IPv6 */
};

struct pkt_icmp {
	uint8_t type, code;
	uint32_t mtu;
	bool has_seq;
	uint32_t seq; /* quoted */
};

/* Numbers are the script's: relative to the initial ones, timestamps too. */
struct pkt_packet {
	uint8_t conn; /* 0, 1, ... */
	uint8_t flags;
	int8_t ecn; /* enum pkt_ecn */
	bool out;   /* expected from the host */
	bool has_ack, has_wnd, has_urg, has_opts;
	bool any_ts_val;
	bool bad_sum;
	bool is_icmp;
	uint16_t wnd, urg;
	uint16_t sport; /* 0: chosen */
	uint32_t seq, len, ack;
	uint8_t ext_count;
	uint8_t ext[PKT_EXT_MAX]; /* protocol numbers */
	uint8_t opt_len;
	uint8_t opt[PKT_OPTIONS_MAX]; /* as on the wire, but for the numbers in them */
	struct pkt_icmp icmp;
};

/* -- calls ---------------------------------------------------------------------------------------
 */

enum pkt_value_kind {
	PKT_VALUE_ANY, /* ... or ? */
	PKT_VALUE_INT,
	PKT_VALUE_STRING,
	PKT_VALUE_LIST,	  /* [a, b] */
	PKT_VALUE_STRUCT, /* {name=a, b} */
};

struct pkt_value {
	enum pkt_value_kind kind;
	const char *name; /* of a structure's member, or NULL */
	int64_t number;
	const char *string;
	uint32_t count;
	struct pkt_value *item;
};

struct pkt_call {
	const char *name;
	struct pkt_value arg[PKT_ARGS_MAX];
	uint32_t arg_count;
	bool any_result;
	int64_t result;
	int err; /* expected errno, 0: none */
	bool blocks;
	int64_t end_us;
	bool end_relative;
};

/* -- events
 * ---------------------------------------------------------------------------------------- */

enum pkt_event_kind {
	PKT_EVENT_PACKET,
	PKT_EVENT_CALL,
	PKT_EVENT_CODE,
	PKT_EVENT_NOTHING, /* a shell command, not run */
};

enum pkt_time_kind {
	PKT_TIME_ABSOLUTE,
	PKT_TIME_RELATIVE, /* to the event before */
	PKT_TIME_ANY,
};

struct pkt_event {
	struct pkt_event *next;
	enum pkt_event_kind kind;
	enum pkt_time_kind time_kind;
	uint32_t line;
	int64_t time_us;
	bool has_range; /* time_us to range_us, of the same kind */
	int64_t range_us;
	union {
		struct pkt_packet *packet;
		struct pkt_call *call;
		const char *code;
	};
};

struct pkt_setting {
	struct pkt_setting *next;
	uint32_t line;
	const char *name;
	int64_t value;
};

struct pkt_script {
	const char *path;
	char *text;
	struct pkt_event *events;
	struct pkt_setting *settings;
	int64_t tolerance_us;
	enum pkt_family family;
	struct pkt_block *arena;
	char error[256]; /* file:line: what, if parsing failed */
};

/* Reads and parses a file. 0, or -1 with `error`; pkt_script_free() in either case. */
int pkt_script_load(struct pkt_script *s, const char *path);
void pkt_script_free(struct pkt_script *s);

/* Zeroed memory of the script's arena; ends the process if there is none. */
void *pkt_script_alloc(struct pkt_script *s, size_t bytes);

#endif
