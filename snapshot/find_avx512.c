/* snapshot/find_avx512.c: the same for CPUs whose vectors have 64-bit products and masks: 0.2 ns per record less. */
#include "snapshot/find.h"
#include "snapshot/key.h"
#if defined(__x86_64__)
#include <immintrin.h>

#define WR_KERNEL(NAME)  NAME##_avx512
#define WR_KERNEL_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,bmi,bmi2,lzcnt,prfchw")))
#define WR_KERNEL_BITS   512
#include "snapshot/find_kernel.h"
#endif
