/* Selection lists of the exchange: which records of a batch go to one channel. Vector code by what the CPU has. */
#include "operators/exchange.h"

typedef uint32_t select_range(const uint64_t *hash, uint32_t n, uint32_t lo, uint32_t last, uint32_t *list);

/* Branch-free: a channel is as good as a coin toss, and a mispredicted one costs more than a store. */
static uint32_t range_scalar(const uint64_t *hash, uint32_t n, uint32_t lo, uint32_t last, uint32_t *list)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t h = (uint32_t)(hash[i] >> 32);
        list[k] = i;
        k += (uint32_t)(h - lo <= last - lo);
    }
    return k;
}

static uint32_t equal_scalar(const uint32_t *value, uint32_t n, uint32_t wanted, uint32_t *list)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        list[k] = i;
        k += value[i] == wanted;
    }
    return k;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f,avx512vl"))) static uint32_t range_avx512(const uint64_t *hash, uint32_t n, uint32_t lo,
                                                                         uint32_t last, uint32_t *list)
{
    uint32_t      k = 0, i = 0;
    const __m512i low = _mm512_set1_epi64((int64_t)((uint64_t)lo << 32));
    const __m512i high = _mm512_set1_epi64((int64_t)(((uint64_t)last << 32) | UINT32_MAX));
    __m256i       index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (; i + 8 <= n; i += 8) {
        __m512i  h = _mm512_loadu_si512(hash + i);
        __mmask8 in = _mm512_cmpge_epu64_mask(h, low) & _mm512_cmple_epu64_mask(h, high);
        /* Compress in the register: a compressing store is microcoded on some CPUs. Lanes beyond are overwritten. */
        _mm256_storeu_si256((__m256i *)(void *)(list + k), _mm256_maskz_compress_epi32(in, index));
        k += (uint32_t)__builtin_popcount(in);
        index = _mm256_add_epi32(index, _mm256_set1_epi32(8));
    }
    for (; i < n; i++) {
        uint32_t h = (uint32_t)(hash[i] >> 32);
        list[k] = i;
        k += (uint32_t)(h - lo <= last - lo);
    }
    return k;
}

static select_range *range_pick(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") ? range_avx512 : range_scalar;
}
#else
static select_range *range_pick(void)
{
    return range_scalar;
}
#endif

uint32_t wr_select_range(const uint64_t *hash, uint32_t n, uint32_t lo, uint32_t last, uint32_t *list)
{
    static select_range *_Atomic chosen; /* every thread would choose the same */
    select_range                *f = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (__builtin_expect(f == NULL, 0)) {
        f = range_pick();
        atomic_store_explicit(&chosen, f, memory_order_relaxed);
    }
    return f(hash, n, lo, last, list);
}

uint32_t wr_select_equal(const uint32_t *value, uint32_t n, uint32_t wanted, uint32_t *list)
{
    return equal_scalar(value, n, wanted, list);
}
