/* Reading and writing network-order fields at any alignment.
 *
 * Frames are byte arrays here: no struct is ever cast onto one, so alignment and padding
 * cannot matter. The caller has checked that the bytes are there.
 */
#ifndef NET_WIRE_H
#define NET_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t net_get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t net_get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline void net_put16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void net_put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

/* An IPv4 address stays in network order: these copy bytes. */
static inline uint32_t net_get_ip4(const uint8_t *p)
{
	uint32_t ip_be;

	memcpy(&ip_be, p, sizeof(ip_be));
	return ip_be;
}

static inline void net_put_ip4(uint8_t *p, uint32_t ip_be)
{
	memcpy(p, &ip_be, sizeof(ip_be));
}

#endif
