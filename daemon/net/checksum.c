/* The sum is taken 64 bits at a time with end-around carry, and folded at the end: one's complement
 * addition is associative and does not care about the word size (RFC 1071 section 2(C)), nor at
 * which even offset of a wider word a narrower one is added.
 */
#include <net/checksum.h>

#include <string.h>

static inline uint64_t add64(uint64_t sum, uint64_t v)
{
	sum += v;
	return sum + (sum < v);
}

/* Reads 8 bytes and, if dst is given, copies them: one load feeds both. The same with 4 and 2. */
static inline uint64_t take8(uint8_t *dst, const uint8_t *src)
{
	uint64_t v;

	memcpy(&v, src, sizeof(v));
	if (dst)
		memcpy(dst, &v, sizeof(v));
	return v;
}

static inline uint64_t take4(uint8_t *dst, const uint8_t *src)
{
	uint32_t v;

	memcpy(&v, src, sizeof(v));
	if (dst)
		memcpy(dst, &v, sizeof(v));
	return v;
}

static inline uint64_t take2(uint8_t *dst, const uint8_t *src)
{
	uint16_t v;

	memcpy(&v, src, sizeof(v));
	if (dst)
		memcpy(dst, &v, sizeof(v));
	return v;
}

/* The last byte, padded with zero. */
static inline uint64_t take1(uint8_t *dst, const uint8_t *src)
{
	uint8_t tail[2] = {*src, 0};
	uint16_t v;

	memcpy(&v, tail, sizeof(v));
	if (dst)
		*dst = tail[0];
	return v;
}

static inline uint32_t fold64(uint64_t acc)
{
	acc = (acc & 0xffffffff) + (acc >> 32);
	acc = (acc & 0xffffffff) + (acc >> 32);
	return (uint32_t)acc;
}

/* Inlined twice, with and without dst. Two accumulators, so that additions overlap. */
static inline __attribute__((always_inline)) uint32_t sum_bytes(
	uint32_t sum, uint8_t *dst, const uint8_t *src, size_t len)
{
	uint64_t even = sum, odd = 0;
	size_t at = 0;

	for (; len - at >= 32; at += 32) {
		even = add64(even, take8(dst ? dst + at : NULL, src + at));
		odd = add64(odd, take8(dst ? dst + at + 8 : NULL, src + at + 8));
		even = add64(even, take8(dst ? dst + at + 16 : NULL, src + at + 16));
		odd = add64(odd, take8(dst ? dst + at + 24 : NULL, src + at + 24));
	}
	for (; len - at >= 8; at += 8)
		even = add64(even, take8(dst ? dst + at : NULL, src + at));
	if (len & 4) {
		odd = add64(odd, take4(dst ? dst + at : NULL, src + at));
		at += 4;
	}
	if (len & 2) {
		odd = add64(odd, take2(dst ? dst + at : NULL, src + at));
		at += 2;
	}
	if (len & 1)
		odd = add64(odd, take1(dst ? dst + at : NULL, src + at));
	return fold64(add64(even, odd));
}

uint32_t net_checksum_add(uint32_t sum, const void *data, size_t len_bytes)
{
	return sum_bytes(sum, NULL, data, len_bytes);
}

uint32_t net_checksum_copy(void *dst, const void *src, size_t len_bytes)
{
	return sum_bytes(0, dst, src, len_bytes);
}

uint32_t net_checksum_pseudo6(
	const uint8_t *src16, const uint8_t *dst16, uint8_t proto, uint32_t len_bytes)
{
	uint8_t tail[8] = {(uint8_t)(len_bytes >> 24), (uint8_t)(len_bytes >> 16),
		(uint8_t)(len_bytes >> 8), (uint8_t)len_bytes, 0, 0, 0, proto};
	uint32_t sum = net_checksum_add(0, src16, 16);

	sum = net_checksum_add(sum, dst16, 16);
	return net_checksum_add(sum, tail, sizeof(tail));
}
