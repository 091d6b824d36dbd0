/* Reproducible random numbers: SplitMix64 (Steele, Lea, Flood 2014). Any seed is good. */
#ifndef GYEOL_BASE_RNG_H
#define GYEOL_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

#define RNG_STEP 0x9E3779B97F4A7C15u /* from one state to the next */

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += RNG_STEP);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 <= result < n; the bias of the plain product is below n / 2^64. */
static inline size_t rng_below(struct rng *r, size_t n)
{
    return (size_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

/* Fisher-Yates over indices. */
static inline void rng_shuffle(struct rng *r, uint32_t *v, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = rng_below(r, i);
        uint32_t t = v[i - 1];
        v[i - 1] = v[k];
        v[k] = t;
    }
}

#endif
