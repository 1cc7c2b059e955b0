/* snapshot/find_avx2.c: the batch look-up with one compare per bucket. */
#include "snapshot/find.h"
#include "snapshot/key.h"
#if defined(__x86_64__)
#include <immintrin.h>

#define WR_KERNEL(NAME)  NAME##_avx2
#define WR_KERNEL_TARGET __attribute__((target("avx2,bmi,bmi2,prfchw")))
#define WR_KERNEL_BITS   256
#include "snapshot/find_kernel.h"
#endif
