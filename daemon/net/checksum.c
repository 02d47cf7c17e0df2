/* The sum is taken 32 bits at a time into 64-bit accumulators, which cannot overflow for any
 * length that fits in memory, and folded at the end: one's complement addition is associative
 * and does not care about the word size (RFC 1071 section 2(C)).
 */
#include <net/checksum.h>

#include <string.h>

/* Sums 8 bytes from src and, if dst is given, copies them: one load feeds both. */
static inline uint64_t sum8(uint8_t *dst, const uint8_t *src)
{
	uint64_t v;

	memcpy(&v, src, sizeof(v));
	if (dst)
		memcpy(dst, &v, sizeof(v));
	return (v & 0xffffffff) + (v >> 32);
}

/* The last 0 to 7 bytes, padded with zero. */
static inline uint64_t sum_tail(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint8_t tail[8] = {0};

	memcpy(tail, src, len);
	if (dst)
		memcpy(dst, tail, len);
	return sum8(NULL, tail);
}

static inline uint32_t fold64(uint64_t acc)
{
	acc = (acc & 0xffffffff) + (acc >> 32);
	acc = (acc & 0xffffffff) + (acc >> 32);
	return (uint32_t)acc;
}

/* Inlined twice, with and without dst. Four accumulators, so that additions overlap. */
static inline __attribute__((always_inline)) uint32_t sum_bytes(
	uint32_t sum, uint8_t *dst, const uint8_t *src, size_t len)
{
	uint64_t acc[4] = {sum, 0, 0, 0};
	size_t at = 0;

	for (; len - at >= 32; at += 32)
		for (unsigned int i = 0; i < 4; i++)
			acc[i] += sum8(dst ? dst + at + i * 8 : NULL, src + at + i * 8);
	for (; len - at >= 8; at += 8)
		acc[0] += sum8(dst ? dst + at : NULL, src + at);
	if (at < len)
		acc[1] += sum_tail(dst ? dst + at : NULL, src + at, len - at);
	return fold64((uint64_t)fold64(acc[0]) + fold64(acc[1]) + fold64(acc[2]) + fold64(acc[3]));
}

uint32_t net_checksum_add(uint32_t sum, const void *data, size_t len_bytes)
{
	return sum_bytes(sum, NULL, data, len_bytes);
}

uint32_t net_checksum_copy(void *dst, const void *src, size_t len_bytes)
{
	return sum_bytes(0, dst, src, len_bytes);
}

uint32_t net_checksum_pseudo4(uint32_t src_be, uint32_t dst_be, uint8_t proto, uint32_t len_bytes)
{
	uint8_t pseudo[12] = {0};

	memcpy(pseudo, &src_be, 4);
	memcpy(pseudo + 4, &dst_be, 4);
	pseudo[9] = proto;
	pseudo[10] = (uint8_t)(len_bytes >> 8);
	pseudo[11] = (uint8_t)len_bytes;
	return net_checksum_add(0, pseudo, sizeof(pseudo));
}
