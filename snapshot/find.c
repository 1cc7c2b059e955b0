/* snapshot/find.c: the batch look-up for every CPU, and the choice. */
#include "snapshot/find.h"
#include "snapshot/key.h"

#define WR_KERNEL(NAME) NAME##_plain
#define WR_KERNEL_TARGET
#define WR_KERNEL_BITS 0
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

/* The best of a look-up's three that this CPU runs. */
#if defined(__x86_64__)
#define PICK(TYPE, NAME)                                                                                               \
    TYPE *NAME(void)                                                                                                   \
    {                                                                                                                  \
        return wr_find_has_avx512() ? NAME##_avx512 : wr_find_has_avx2() ? NAME##_avx2 : NAME##_plain;                 \
    }
#else
#define PICK(TYPE, NAME)                                                                                               \
    TYPE *NAME(void)                                                                                                   \
    {                                                                                                                  \
        return NAME##_plain;                                                                                           \
    }
#endif
PICK(wr_find_fn, wr_find_integer)
PICK(wr_find_fn, wr_find_string)
PICK(wr_find_place_fn, wr_find_in_place)
