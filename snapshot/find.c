/* snapshot/find.c: the batch look-up for every CPU, and the choice. */
#include "snapshot/find.h"
#include "snapshot/key.h"

#define WR_KERNEL(NAME) NAME##_plain
#define WR_KERNEL_TARGET
#define WR_KERNEL_AVX2 0
#include "snapshot/find_kernel.h"

#if defined(__x86_64__)
bool wr_find_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
bool wr_find_has_avx512(void)
{
    return wr_find_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}
#endif

wr_find_fn *wr_find_integer(void)
{
#if defined(__x86_64__)
    if (wr_find_has_avx512()) return wr_find_integer_avx512;
    if (wr_find_has_avx2()) return wr_find_integer_avx2;
#endif
    return wr_find_integer_plain;
}

wr_find_fn *wr_find_string(void)
{
#if defined(__x86_64__)
    if (wr_find_has_avx512()) return wr_find_string_avx512;
    if (wr_find_has_avx2()) return wr_find_string_avx2;
#endif
    return wr_find_string_plain;
}

wr_find_place_fn *wr_find_in_place(void)
{
#if defined(__x86_64__)
    if (wr_find_has_avx512()) return wr_find_in_place_avx512;
    if (wr_find_has_avx2()) return wr_find_in_place_avx2;
#endif
    return wr_find_in_place_plain;
}
