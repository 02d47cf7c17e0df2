/* The sum is taken 64 bits at a time with end-around carry, and folded at the end: one's complement
 * addition is associative and does not care about the word size (RFC 1071 section 2(C)), nor at
 * which even offset of a wider word a narrower one is added.
 */
#include <net/checksum.h>

#include <stdbool.h>
#include <string.h>

static inline uint64_t add64(uint64_t sum, uint64_t v)
{
	sum += v;
	return sum + (sum < v);
}

/* Four words, each carry into the next addition: compilers make three instructions of each. The sum
 * is written before all words are read, so it may share no register with one known to be equal. */
static inline uint64_t add_four(uint64_t sum, const uint64_t v[4])
{
#if defined(__x86_64__)
	__asm__("addq %1, %0\n\tadcq %2, %0\n\tadcq %3, %0\n\tadcq %4, %0\n\tadcq $0, %0"
		: "+&r"(sum)
		: "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3])
		: "cc");
	return sum;
#else
	return add64(add64(add64(add64(sum, v[0]), v[1]), v[2]), v[3]);
#endif
}

/* The same of words that need not be copied, and so not be loaded first, whatever type they were
 * stored as. Sanitizers are to see what is read. */
static inline uint64_t add_four_at(uint64_t sum, const uint8_t *at)
{
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
	typedef uint64_t __attribute__((may_alias, aligned(1))) word;
	const word *v = (const void *)at;

	__asm__("addq %1, %0\n\tadcq %2, %0\n\tadcq %3, %0\n\tadcq %4, %0\n\tadcq $0, %0"
		: "+&r"(sum)
		: "m"(v[0]), "m"(v[1]), "m"(v[2]), "m"(v[3])
		: "cc");
	return sum;
#else
	uint64_t v[4];

	memcpy(v, at, sizeof(v));
	return add_four(sum, v);
#endif
}

/* Reads the 8 bytes at `at` and copies them if asked to: one load feeds both. The same with 4
 * and 2. */
static inline uint64_t take8(uint8_t *dst, const uint8_t *src, size_t at, bool copy)
{
	uint64_t v;

	memcpy(&v, src + at, sizeof(v));
	if (copy)
		memcpy(dst + at, &v, sizeof(v));
	return v;
}

static inline uint64_t take4(uint8_t *dst, const uint8_t *src, size_t at, bool copy)
{
	uint32_t v;

	memcpy(&v, src + at, sizeof(v));
	if (copy)
		memcpy(dst + at, &v, sizeof(v));
	return v;
}

static inline uint64_t take2(uint8_t *dst, const uint8_t *src, size_t at, bool copy)
{
	uint16_t v;

	memcpy(&v, src + at, sizeof(v));
	if (copy)
		memcpy(dst + at, &v, sizeof(v));
	return v;
}

/* The last byte, padded with zero. */
static inline uint64_t take1(uint8_t *dst, const uint8_t *src, size_t at, bool copy)
{
	uint8_t tail[2] = {src[at], 0};
	uint16_t v;

	memcpy(&v, tail, sizeof(v));
	if (copy)
		dst[at] = tail[0];
	return v;
}

static inline uint32_t fold64(uint64_t acc)
{
	acc = (acc & 0xffffffff) + (acc >> 32);
	acc = (acc & 0xffffffff) + (acc >> 32);
	return (uint32_t)acc;
}

/* The last 0 to 7 of `len` bytes. Less than 2^33 in all, so that no carry is lost. */
static inline __attribute__((always_inline)) uint64_t sum_tail(
	uint8_t *dst, const uint8_t *src, size_t len, bool copy)
{
	uint64_t sum = 0;

	if (len & 4)
		sum += take4(dst, src, len & ~(size_t)7, copy);
	if (len & 2)
		sum += take2(dst, src, len & ~(size_t)3, copy);
	if (len & 1)
		sum += take1(dst, src, len - 1, copy);
	return sum;
}

/* Inlined twice, with and without a copy. */
static inline __attribute__((always_inline)) uint32_t sum_bytes(
	uint64_t sum, uint8_t *dst, const uint8_t *src, size_t len, bool copy)
{
	size_t at = 0;

	for (; !copy && at + 32 <= len; at += 32)
		sum = add_four_at(sum, src + at);
	for (; copy && at + 32 <= len; at += 32) {
		const uint64_t v[4] = {take8(dst, src, at, true), take8(dst, src, at + 8, true),
			take8(dst, src, at + 16, true), take8(dst, src, at + 24, true)};

		sum = add_four(sum, v);
	}
	for (; at + 8 <= len; at += 8)
		sum = add64(sum, take8(dst, src, at, copy));
	if (at < len)
		sum = add64(sum, sum_tail(dst, src, len, copy));
	return fold64(sum);
}

uint32_t net_checksum_add(uint32_t sum, const void *data, size_t len_bytes)
{
	return sum_bytes(sum, NULL, data, len_bytes, false);
}

uint32_t net_checksum_copy(void *dst, const void *src, size_t len_bytes)
{
	return sum_bytes(0, dst, src, len_bytes, true);
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
