/* base/prng.h: a small generator of pseudo-random numbers for simulation, generators and tests. Not for secrets. */
#ifndef WR_BASE_PRNG_H
#define WR_BASE_PRNG_H
#include <stdint.h>

/* One owner, one thread. The same seed gives the same numbers for ever. A counter with an odd step (Weyl), mixed:
 * the scheme of SplitMix64. */
typedef struct wr_prng {
    uint64_t state;
} wr_prng;

static inline uint64_t wr_prng_next(wr_prng *prng)
{
    uint64_t x = prng->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Mixes the seed first, so that seeds 1 and 2 have nothing in common. */
static inline wr_prng wr_prng_of(uint64_t seed)
{
    wr_prng prng = {seed ^ UINT64_C(0x243f6a8885a308d3)};
    prng.state = wr_prng_next(&prng);
    return prng;
}

/* 0 to bound - 1; bound is not 0. Bias is below bound / 2^64. */
static inline uint64_t wr_prng_below(wr_prng *prng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)wr_prng_next(prng) * bound) >> 64);
}

/* 0 <= x < 1. */
static inline double wr_prng_unit(wr_prng *prng)
{
    return (double)(wr_prng_next(prng) >> 11) * 0x1p-53;
}

/* True once in `times` on average; never for 0. */
static inline int wr_prng_one_in(wr_prng *prng, uint64_t times)
{
    return times != 0 && wr_prng_below(prng, times) == 0;
}

#endif
