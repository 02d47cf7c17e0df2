/* The Internet checksum (RFC 1071).
 *
 * A partial sum is a uint32_t that holds the one's complement sum of 16-bit words as they lie
 * in memory (not byte-swapped: RFC 1071 section 2(B)), so the finished value is stored as it
 * is. Sums of pieces are combined by net_checksum_append(), which knows that a piece that
 * starts at an odd offset of the whole counts byte-swapped; net_checksum_add() is the short
 * form for pieces that start at even offsets, as headers do.
 *
 *	sum = net_checksum_pseudo4(src, dst, 6, len);
 *	sum = net_checksum_add(sum, hdr, hdr_len);                     hdr_len is even
 *	for each piece: sum = net_checksum_append(sum,
 *			net_checksum_copy(dst + off, src, n), off); off += n
 *	check = net_checksum_fold(sum);
 */
#ifndef NET_CHECKSUM_H
#define NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Adds `len_bytes` at `data`, any alignment, any length, to a partial sum. `data` starts at an
 * even offset of what is summed; an odd last byte is padded with zero. */
uint32_t net_checksum_add(uint32_t sum, const void *data, size_t len_bytes);

/* Copies `len_bytes` from src to dst (not overlapping) and returns the partial sum of the
 * bytes copied. Each is read once: the sum is that of dst even if src changes meanwhile. */
uint32_t net_checksum_copy(void *dst, const void *src, size_t len_bytes);

/* Adds two partial sums. */
static inline uint32_t net_checksum_join(uint32_t a, uint32_t b)
{
	a += b;
	return a + (a < b);
}

/* Adds the partial sum of a piece that starts `off_bytes` into the whole. */
static inline uint32_t net_checksum_append(uint32_t sum, uint32_t piece, size_t off_bytes)
{
	if (off_bytes & 1)
		piece = piece << 8 | piece >> 24;
	return net_checksum_join(sum, piece);
}

/* The 16-bit sum, not complemented: what goes into the checksum field of a segment whose
 * checksum the hardware finishes. Store as is. */
static inline uint16_t net_checksum_reduce(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The checksum: store as is. Over data that includes a right checksum it is 0. */
static inline uint16_t net_checksum_fold(uint32_t sum)
{
	return (uint16_t)~net_checksum_reduce(sum);
}

/* Adds an IPv4 header without options, the usual one: net_checksum_add() of 20 bytes. */
static inline uint32_t net_checksum_add_ip4(uint32_t sum, const uint8_t *ip)
{
	uint64_t a, b;
	uint32_t c;

	memcpy(&a, ip, sizeof(a));
	memcpy(&b, ip + 8, sizeof(b));
	memcpy(&c, ip + 16, sizeof(c));
	a = (a & 0xffffffff) + (a >> 32) + (b & 0xffffffff) + (b >> 32) + c + sum;
	a = (a & 0xffffffff) + (a >> 32);
	return (uint32_t)((a & 0xffffffff) + (a >> 32));
}

/* Partial sum of the pseudo header (RFC 9293 section 3.1); `len_bytes` of header and payload. */
static inline uint32_t net_checksum_pseudo4(
	uint32_t src_be, uint32_t dst_be, uint8_t proto, uint32_t len_bytes)
{
	uint8_t last[4] = {0, proto, (uint8_t)(len_bytes >> 8), (uint8_t)len_bytes};
	uint32_t word;
	uint64_t sum;

	memcpy(&word, last, sizeof(word));
	sum = (uint64_t)src_be + dst_be + word;
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (uint32_t)((sum & 0xffffffff) + (sum >> 32));
}

/* The same for IPv6 (RFC 8200 section 8.1); `src16` and `dst16` as on the wire. */
uint32_t net_checksum_pseudo6(
	const uint8_t *src16, const uint8_t *dst16, uint8_t proto, uint32_t len_bytes);

#endif
