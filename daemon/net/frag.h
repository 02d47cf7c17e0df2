/* Fragments (RFC 791 section 3.2, RFC 8200 section 4.5) put together again.
 *
 * TCP here sends no fragments, but peers whose path is narrower than they know do, and so does
 * ping. What strangers can make us keep is bounded whatever they send: NET_FRAG_DATAGRAMS_MAX
 * packets of one slot each, NET_FRAG_PER_SOURCE_MAX of one source (an IPv6 source is its /64), all
 * of it in memory that the caller gives once. Where either is used up, the oldest unfinished packet
 * of that source, or of all, gives way: to refuse the newest instead would let two fragments a
 * second keep everybody else's out.
 *
 * A slot is the packet's own buffer: a fragment is copied to its place at once and remembered only
 * by its borders, so that completion is a comparison of two lengths. Nothing may overlap (RFC 5722,
 * which is kept for IPv4 too): an overlap gives the whole packet up, with the fragments that are
 * still to come, which is what the slot remembers until its time is over. A fragment that comes
 * again byte by byte is ignored. The first fragment must hold the whole TCP or ICMP header (RFC
 * 1858, RFC 7112), and a packet has at most NET_FRAG_PIECES_MAX fragments.
 *
 * The source of a packet whose time is over is owed "reassembly time exceeded" if its first
 * fragment came (RFC 1122 section 3.3.2, RFC 8200 section 4.5): net_frag_expire() hands that out.
 *
 * One table belongs to one engine.
 */
#ifndef NET_FRAG_H
#define NET_FRAG_H

#include <net/counters.h>
#include <net/ip4.h>
#include <net/ip6.h>
#include <net/packet.h>

#include <stddef.h>
#include <stdint.h>

enum {
	NET_FRAG_DATAGRAMS_MAX = 64,
	NET_FRAG_PER_SOURCE_MAX = 16,
	NET_FRAG_PIECES_MAX = 128,
	NET_FRAG_ALIGN = 64,
	NET_FRAG_TIMEOUT4_US = 30000000, /* RFC 1122 section 3.3.2 says 60 s; Linux does this */
	NET_FRAG_TIMEOUT6_US = 60000000, /* RFC 8200 section 4.5 */
};

struct net_frag_table;

/* What a table takes; memory that nobody sends fragments to is never touched. */
size_t net_frag_size(void);
/* `mem`: that many zeroed bytes, aligned to NET_FRAG_ALIGN, which stay the caller's. What is given
 * up or comes too late is counted in *counters. */
struct net_frag_table *net_frag_init(void *mem, struct net_counters *counters);

/* A packet that is whole: a frame without VLAN tag, right header checksum and no trace of
 * fragments. Valid until the next call with this table. */
struct net_frag_whole {
	const uint8_t *frame; /* NULL: it is not whole yet */
	uint32_t len_bytes;
};

/* Takes a packet that net_ip4_parse() called NET_DROP_ip4_fragment. NET_DROP_NONE and *whole, or
 * why it was dropped. */
enum net_drop net_frag_input4(struct net_frag_table *t, const struct net_packet *p,
	const struct net_ip4 *ip, uint64_t now_us, struct net_frag_whole *whole);
/* The same for NET_DROP_ip6_fragment. */
enum net_drop net_frag_input6(struct net_frag_table *t, const struct net_packet *p,
	const struct net_ip6 *ip, uint64_t now_us, struct net_frag_whole *whole);

/* The first fragment of what was given up, with the header that it came with, but for options and
 * extension headers. Valid until the next call with this table. */
struct net_frag_first {
	const uint8_t *frame;
	uint32_t data_bytes; /* behind the IP header */
	uint32_t id;
};

/* Gives up what has waited too long, one packet at a time: true if *first tells of one whose source
 * is to hear of it; call again until false. Before fragments are put in, and now and then while
 * anything waits. */
bool net_frag_expire(struct net_frag_table *t, uint64_t now_us, struct net_frag_first *first);
bool net_frag_waits(const struct net_frag_table *t);

#endif
