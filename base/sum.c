#include "base/sum_body.h"

const wr_sum *wr_sum_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return &wr_sum_avx512;
    if (__builtin_cpu_supports("avx2")) return &wr_sum_avx2;
#endif
    return &wr_sum_plain;
}
