/* What a router on the path does to a frame, and says about one. */
#ifndef SIM_ROUTER_H
#define SIM_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SIM_ROUTER_ERROR_MAX = 1300, /* bytes of a frame that reports an error */
};

/* ARP or neighbour discovery: without it there is no TCP to look at. */
bool sim_router_is_neighbour(const uint8_t *frame, uint32_t len);

/* RFC 3168 section 5: CE in place of a drop. False: the frame does not say ECT. */
bool sim_router_mark(uint8_t *frame, uint32_t len);

/* The length of its packet; 0: it is neither IPv4 nor IPv6. */
uint32_t sim_router_packet_len(const uint8_t *frame, uint32_t len);

/* The error that a packet of more than mtu bytes brings its sender (RFC 1191 section 4, RFC 4443
 * section 3.2): builds the frame, returns its length. */
uint32_t sim_router_too_big(
	uint8_t out[SIM_ROUTER_ERROR_MAX], const uint8_t *frame, uint32_t len, uint32_t mtu);

#endif
