/* The neighbour table: which MAC address an on-link address has, IPv4 (by ARP) or IPv6 (by ND).
 *
 * One table serves all engines. Lookups take no lock; writers (ARP input, resolve, tick,
 * mtcpctl) are rare and serialised by a spinlock inside the table. Life of an entry, after
 * RFC 1122 section 2.3.2.1 and, for the states, RFC 4861 section 7.3.2 (a "request" is an ARP
 * request or a neighbour solicitation, a "reply" an ARP reply or an advertisement):
 *
 *	(none) --resolve--> INCOMPLETE --reply--> REACHABLE --30 s--> STALE --used--> PROBE
 *	                        |                     ^                 ^               |
 *	                    3 requests                +---- reply ------|---------------+
 *	                        v                                       |               |
 *	                     FAILED <-------------- 3 unicast, 3 broadcast requests ----+
 *	(none) --request for our address--> STALE      (unsolicited news of a MAC also: STALE)
 *
 * REACHABLE, STALE and PROBE are usable. A usable entry that nobody used for 5 minutes goes;
 * FAILED is remembered for 3 s, in which senders are told so without asking again.
 *
 * An engine that finds no MAC calls net_neigh_resolve(), sends the request if told to, parks
 * what it wanted to send, and looks again when net_neigh_generation() has changed.
 *
 * Against floods: an entry is made only for a sender of ours (resolve, bounded by
 * incomplete_max, of which strangers whom we merely answer get half) or for a host that asks
 * for our address. The latter are bounded by learned_max until they answered a request of
 * ours, and replace only each other, and only while nobody has used them. Everything else can
 * only update what exists. The hash is keyed, so that nobody can aim at one bucket.
 */
#ifndef NET_NEIGH_H
#define NET_NEIGH_H

#include <net/addr.h>
#include <net/counters.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NET_NEIGH_ALIGN = 64,
	NET_NEIGH_CAPACITY_MIN = 64,
	NET_NEIGH_CAPACITY_MAX = 1 << 16,

	NET_NEIGH_REQUESTS_MAX = 3, /* broadcast, and as many unicast before them in PROBE */
	NET_NEIGH_RETRANS_US = 1000000,
	NET_NEIGH_REACHABLE_US = 30000000,
	NET_NEIGH_UNUSED_US = 300000000,
	NET_NEIGH_FAILED_US = 3000000,
	NET_NEIGH_LOCK_US = 1000000, /* after a MAC changed, as long no other one is believed */
};

enum net_neigh_state {
	NET_NEIGH_STATE_FREE,
	NET_NEIGH_STATE_INCOMPLETE,
	NET_NEIGH_STATE_REACHABLE,
	NET_NEIGH_STATE_STALE,
	NET_NEIGH_STATE_PROBE,
	NET_NEIGH_STATE_FAILED,
	NET_NEIGH_STATE_STATIC,
	NET_NEIGH_STATE_COUNT
};
/* As `ip neigh` prints it: "REACHABLE", "PERMANENT" for static, ... */
const char *net_neigh_state_name(enum net_neigh_state state);

enum net_neigh_result {
	NET_NEIGH_FOUND,	/* *mac is filled in */
	NET_NEIGH_NEED_RESOLVE, /* unknown or being resolved: call net_neigh_resolve(), wait */
	NET_NEIGH_FAILED,	/* did not answer lately: EHOSTUNREACH */
};

struct net_neigh_table; /* lives in the caller's memory; neigh.c alone looks inside */

/* Bytes that a table of `capacity` entries needs; 0 if capacity is outside CAPACITY_MIN..MAX. */
size_t net_neigh_size(uint32_t capacity);

/* Makes a table in `mem`, of net_neigh_size(capacity) bytes, aligned to NET_NEIGH_ALIGN. The
 * caller keeps the memory until no engine uses the table. `hash_key` is random. */
struct net_neigh_table *net_neigh_init(void *mem, uint32_t capacity, uint64_t hash_key);

/* Looks up, and notes the use. Any thread. A hit is lock-free and bounded; a miss is confirmed
 * under the lock. */
enum net_neigh_result net_neigh_lookup(struct net_neigh_table *t, const struct net_addr *addr,
	uint64_t now_us, struct net_mac *mac);

/* Starts resolving. Any thread. Returns 1: the caller shall broadcast a request now (later
 * ones come from net_neigh_tick()); 0: under way, or usable by now. Errors: -ENOBUFS, no
 * room or too many incomplete entries; -EHOSTUNREACH, failed lately. */
int net_neigh_resolve(struct net_neigh_table *t, const struct net_addr *addr, uint64_t now_us);

/* The same for what only answers a stranger: a SYN|ACK or a RST. Gives up (-ENOBUFS) earlier, so
 * that a flood from invented on-link addresses leaves room for connections of our own. */
int net_neigh_resolve_stranger(
	struct net_neigh_table *t, const struct net_addr *addr, uint64_t now_us);

/* Did the neighbour not answer lately? Notes no use. Any thread. */
bool net_neigh_has_failed(struct net_neigh_table *t, const struct net_addr *addr, uint64_t now_us);

/* Changes whenever an entry becomes usable, changes its MAC, fails or goes. A MAC remembered
 * from a lookup is good as long as the generation read before that lookup stands, but look
 * it up at least once a second, or the table thinks it unused. */
uint64_t net_neigh_generation(const struct net_neigh_table *t);

/* How we came to hear of a MAC. */
enum net_neigh_source {
	NET_NEIGH_FROM_REPLY,	/* an ARP reply sent to us; a solicited advertisement */
	NET_NEIGH_FROM_REQUEST, /* a request for an address of ours: may make an entry */
	NET_NEIGH_FROM_OTHER,	/* gratuitous, overheard, unsolicited */
	/* Advertisements without the Override flag (RFC 4861 section 7.2.5): another MAC than the
	 * one known only casts doubt on it. */
	NET_NEIGH_FROM_WEAK_REPLY,
	NET_NEIGH_FROM_WEAK_OTHER,
};

/* A host said that addr has this MAC; both were validated. Any thread. Only a reply that was
 * asked for makes an entry REACHABLE. Returns NET_DROP_NONE, or NET_DROP_neigh_*, or
 * NET_DROP_arp_* (nd_* for IPv6) _unsolicited or _not_ours if nothing was learned from it. */
enum net_drop net_neigh_update(struct net_neigh_table *t, const struct net_addr *addr,
	const struct net_mac *mac, enum net_neigh_source source, uint64_t now_us);

/* Sets an entry that no packet can change or evict. -ENOBUFS if there is no room. */
int net_neigh_set_static(struct net_neigh_table *t, const struct net_addr *addr,
	const struct net_mac *mac, uint64_t now_us);

/* Removes an entry of any kind. -ENOENT if there is none. */
int net_neigh_delete(struct net_neigh_table *t, const struct net_addr *addr);

/* A request that is due, by ARP or ND. */
struct net_neigh_request {
	struct net_addr addr;
	struct net_mac
		dst; /* broadcast (for ND: the solicited-node group), or the MAC to be confirmed */
};

/* Lets time pass: expires, and fills `out` with the requests to send now; returns how many,
 * at most out_max; the rest comes with the next call. One thread at a time, about every
 * 100 ms; costs a scan of the table. */
unsigned int net_neigh_tick(struct net_neigh_table *t, uint64_t now_us,
	struct net_neigh_request *out, unsigned int out_max);

/* What mtcpctl shows. Ages are in microseconds before now. */
struct net_neigh_info {
	struct net_addr addr;
	struct net_mac mac; /* zero when not known */
	enum net_neigh_state state;
	uint64_t used_us;    /* when last looked up; 0: never */
	uint64_t changed_us; /* when it got its present MAC or began */
};

/* Iterates without locking: *cursor starts at 0; false at the end. An entry that comes or goes
 * meanwhile may be missed; each one shown is consistent in itself. */
bool net_neigh_next(const struct net_neigh_table *t, uint32_t *cursor, struct net_neigh_info *info);

struct net_neigh_usage {
	uint32_t capacity;
	uint32_t count; /* entries of any state */
	uint32_t incomplete;
	uint32_t incomplete_max;
	uint32_t learned; /* from requests for our address, never confirmed */
	uint32_t learned_max;
};
void net_neigh_usage_get(struct net_neigh_table *t, struct net_neigh_usage *usage);

#endif
