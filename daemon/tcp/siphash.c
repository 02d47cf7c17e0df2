/* SipHash-c-d: the paper's sections 2.1 to 2.4, for any c and d. */
#include <tcp/siphash.h>

#include <endian.h>
#include <string.h>

struct sip_state {
	uint64_t v0;
	uint64_t v1;
	uint64_t v2;
	uint64_t v3;
};

static inline uint64_t rotl(uint64_t x, unsigned int n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_rounds(struct sip_state *s, unsigned int n)
{
	while (n--) {
		s->v0 += s->v1;
		s->v2 += s->v3;
		s->v1 = rotl(s->v1, 13) ^ s->v0;
		s->v3 = rotl(s->v3, 16) ^ s->v2;
		s->v0 = rotl(s->v0, 32);
		s->v2 += s->v1;
		s->v0 += s->v3;
		s->v1 = rotl(s->v1, 17) ^ s->v2;
		s->v3 = rotl(s->v3, 21) ^ s->v0;
		s->v2 = rotl(s->v2, 32);
	}
}

static inline void sip_word(struct sip_state *s, uint64_t m, unsigned int c)
{
	s->v3 ^= m;
	sip_rounds(s, c);
	s->v0 ^= m;
}

static inline uint64_t load_le64(const uint8_t *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return le64toh(x);
}

/* The last word: what is left of the data, and the length modulo 256 in the top byte. */
static inline uint64_t last_word(const uint8_t *p, size_t len_bytes)
{
	uint64_t word = (uint64_t)len_bytes << 56;
	size_t i = 0;

	if (len_bytes & 4) {
		uint32_t half;

		memcpy(&half, p, sizeof(half));
		word |= le32toh(half);
		i = 4;
	}
	for (; i < len_bytes % 8; i++)
		word |= (uint64_t)p[i] << (8 * i);
	return word;
}

static inline struct sip_state sip_begin(const uint8_t key[16])
{
	uint64_t k0 = load_le64(key);
	uint64_t k1 = load_le64(key + 8);

	return (struct sip_state){
		.v0 = k0 ^ 0x736f6d6570736575, /* "somepseudorandomlygeneratedbytes" */
		.v1 = k1 ^ 0x646f72616e646f6d,
		.v2 = k0 ^ 0x6c7967656e657261,
		.v3 = k1 ^ 0x7465646279746573,
	};
}

static inline uint64_t sip_end(struct sip_state *s, unsigned int d)
{
	s->v2 ^= 0xff;
	sip_rounds(s, d);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static inline __attribute__((always_inline)) uint64_t siphash(
	const uint8_t key[16], const uint8_t *p, size_t len_bytes, unsigned int c, unsigned int d)
{
	const uint8_t *end = p + len_bytes / 8 * 8;
	struct sip_state s = sip_begin(key);

	for (; p < end; p += 8)
		sip_word(&s, load_le64(p), c);
	sip_word(&s, last_word(p, len_bytes), c);
	return sip_end(&s, d);
}

uint64_t tcp_siphash24(const uint8_t key[16], const void *data, size_t len_bytes)
{
	return siphash(key, data, len_bytes, 2, 4);
}

/* The same of twelve bytes that are in registers. */
static inline __attribute__((always_inline)) uint64_t siphash_twelve(
	const uint8_t key[16], uint64_t first, uint32_t rest, unsigned int c, unsigned int d)
{
	struct sip_state s = sip_begin(key);

	sip_word(&s, le64toh(first), c);
	sip_word(&s, UINT64_C(12) << 56 | le32toh(rest), c);
	return sip_end(&s, d);
}

uint64_t tcp_siphash13_twelve(const uint8_t key[16], uint64_t first, uint32_t rest)
{
	return siphash_twelve(key, first, rest, 1, 3);
}

uint64_t tcp_siphash24_twelve(const uint8_t key[16], uint64_t first, uint32_t rest)
{
	return siphash_twelve(key, first, rest, 2, 4);
}

uint64_t tcp_siphash13(const uint8_t key[16], const void *data, size_t len_bytes)
{
	return siphash(key, data, len_bytes, 1, 3);
}

void tcp_siphash_key(const uint8_t master[16], uint64_t number, uint8_t key[16])
{
	for (uint64_t half = 0; half < 2; half++) {
		uint64_t in[2] = {number, half};
		uint64_t out = tcp_siphash24(master, in, sizeof(in));

		memcpy(key + 8 * half, &out, sizeof(out));
	}
}
