/* net/sum_avx512.c: everything below is compiled for that instruction set, so nothing else may stand here. */
#include "net/sum.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC target("avx512f")
#endif
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX512
#include <xxhash.h>

uint64_t wr_sum_avx512(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
