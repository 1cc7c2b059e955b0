/* net/sum_avx2.c: everything below is compiled for that instruction set, so nothing else may stand here. */
#include "net/sum.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

uint64_t wr_sum_avx2(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
