/* base/sum_avx2.c: everything below is compiled for that instruction set, so nothing else may stand here. */
#include "base/sum.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#define XXH_VECTOR XXH_AVX2
#define SUM        wr_sum_avx2
#include "base/sum_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
