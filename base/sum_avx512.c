/* base/sum_avx512.c: everything below is compiled for that instruction set, so nothing else may stand here. */
#include "base/sum.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC target("avx512f")
#endif
#define XXH_VECTOR XXH_AVX512
#define SUM        wr_sum_avx512
#include "base/sum_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
