/* Which session may connect from which bound name, where a port is several sessions'.
 *
 * The main thread writes it (ctl/names.c), engines look a name up when a client connects from one.
 * A name is a keyed hash of its address and port: 32 bits of it choose a window of slots, 32
 * others stand in the slot beside the session. What a client cannot know it cannot make collide;
 * two names of 64 equal bits and one session would only be one claim for both.
 */
#ifndef ENGINE_CLAIMS_H
#define ENGINE_CLAIMS_H

#include <net/addr.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	CLAIMS_SLOTS = 1 << 17, /* twice as many as there are names */
	CLAIMS_WINDOW = 64,
};

/* In port_owner: more than one session has a name of this port. */
#define CLAIMS_SHARED UINT32_MAX

struct claims {
	uint8_t key[16];
	_Atomic uint64_t slot[CLAIMS_SLOTS]; /* session, hash; 0: free */
};

/* The name of any address that is for IPv6 only (IPV6_V6ONLY); all zero is any of both. */
extern const struct net_addr claims_any6;

/* False: its window is full. One that is there already is not to be added again. */
bool claims_add(struct claims *c, const struct net_addr *addr, uint16_t port, uint32_t session);
void claims_del(struct claims *c, const struct net_addr *addr, uint16_t port, uint32_t session);
bool claims_has(
	const struct claims *c, const struct net_addr *addr, uint16_t port, uint32_t session);

#endif
