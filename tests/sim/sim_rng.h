/* A small seeded generator (splitmix64): a failing seed reproduces anywhere. */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_PPM 1000000u

struct sim_rng {
	uint64_t state;
};

static inline uint64_t sim_rng_next(struct sim_rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 to n - 1; n > 0. */
static inline uint64_t sim_rng_below(struct sim_rng *r, uint64_t n)
{
	return (uint64_t)((unsigned __int128)sim_rng_next(r) * n >> 64);
}

/* min to max, both included. */
static inline uint64_t sim_rng_range(struct sim_rng *r, uint64_t min, uint64_t max)
{
	return min + sim_rng_below(r, max - min + 1);
}

/* True in ppm of a million cases. */
static inline bool sim_rng_chance(struct sim_rng *r, uint32_t ppm)
{
	return ppm && sim_rng_below(r, SIM_PPM) < ppm;
}

/* As likely to lie between 10 and 100 as between 1000 and 10000: for sizes and times. */
static inline uint64_t sim_rng_log(struct sim_rng *r, uint64_t min, uint64_t max)
{
	uint64_t span = min ? min : 1;
	unsigned int octaves = 0;

	while (span < max && span <= UINT64_MAX / 2) {
		span *= 2;
		octaves++;
	}
	span = (min ? min : 1) << sim_rng_below(r, octaves + 1);
	span = sim_rng_range(r, min, span < max ? span : max);
	return span;
}

#endif
