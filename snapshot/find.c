/* snapshot/find.c: the batch look-up for every CPU, and the choice. */
#include "snapshot/find.h"
#include "snapshot/key.h"

#define WR_KERNEL(NAME) NAME##_plain
#define WR_KERNEL_TARGET
#define WR_KERNEL_AVX2 0
#include "snapshot/find_kernel.h"

wr_find_fn *wr_find_integer(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) return wr_find_integer_avx2;
#endif
    return wr_find_integer_plain;
}

wr_find_fn *wr_find_string(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) return wr_find_string_avx2;
#endif
    return wr_find_string_plain;
}
