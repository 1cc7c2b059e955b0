#include "net/sum.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t wr_sum_plain(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}

wr_sum_fn *wr_sum_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return wr_sum_avx512;
    if (__builtin_cpu_supports("avx2")) return wr_sum_avx2;
#endif
    return wr_sum_plain;
}
