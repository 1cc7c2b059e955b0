/* base/sum_body.h: wr_sum for the instruction set of who includes it; SUM names the result. */
#include "base/sum.h"
#ifndef SUM
#define SUM wr_sum_plain
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(wr_sum_state), "");

static uint64_t of64(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}

static void give(XXH128_hash_t from, uint64_t sum[2])
{
    sum[0] = from.low64;
    sum[1] = from.high64;
}

static void of128(const void *bytes, size_t n, uint64_t sum[2])
{
    give(XXH3_128bits(bytes, n), sum);
}

static void begin(wr_sum_state *s)
{
    (void)XXH3_128bits_reset((XXH3_state_t *)(void *)s);
}

static void add(wr_sum_state *s, const void *bytes, size_t n)
{
    (void)XXH3_128bits_update((XXH3_state_t *)(void *)s, bytes, n);
}

static void end(const wr_sum_state *s, uint64_t sum[2])
{
    give(XXH3_128bits_digest((const XXH3_state_t *)(const void *)s), sum);
}

const wr_sum SUM = {of64, of128, begin, add, end};
