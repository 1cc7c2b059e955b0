/* Sums: each kernel that this CPU has against the system's library, whole and in pieces. */
#include "base/prng.h"
#include "base/sum.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

enum { BYTES = 1 << 20 };

/* Random bytes, and what is to agree about them. */
static struct {
    char          bytes[BYTES];
    wr_prng       prng;
    const wr_sum *kernel[4];
    uint32_t      kernels;
} t;

static int begin(void **state)
{
    (void)state;
    t.prng = wr_prng_of(7);
    t.kernels = 0;
    t.kernel[t.kernels++] = &wr_sum_plain;
    t.kernel[t.kernels++] = wr_sum_best();
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) t.kernel[t.kernels++] = &wr_sum_avx2;
    if (__builtin_cpu_supports("avx512f")) t.kernel[t.kernels++] = &wr_sum_avx512;
#endif
    for (size_t i = 0; i < BYTES; i++) t.bytes[i] = (char)wr_prng_next(&t.prng);
    return 0;
}

static void same(const uint64_t sum[2], XXH128_hash_t wanted)
{
    assert_int_equal(sum[0], wanted.low64);
    assert_int_equal(sum[1], wanted.high64);
}

static void as_the_library(void **state)
{
    (void)state;
    for (size_t size = 0; size <= BYTES; size = size < 1100 ? size + 1 : size * 2 + 3) {
        uint64_t    seed = wr_prng_next(&t.prng), sum[2];
        const char *at = t.bytes + (size < BYTES - 64 ? wr_prng_below(&t.prng, 64) : 0); /* not aligned */
        for (uint32_t k = 0; k < t.kernels; k++) {
            assert_int_equal(t.kernel[k]->of64(at, size, seed), XXH3_64bits_withSeed(at, size, seed));
            t.kernel[k]->of128(at, size, sum);
            same(sum, XXH3_128bits(at, size));
        }
    }
}

static void in_pieces(void **state)
{
    (void)state;
    wr_sum_state *s = aligned_alloc(_Alignof(wr_sum_state), sizeof *s);
    assert_non_null(s);
    for (uint32_t round = 0; round < 200; round++) {
        size_t size = wr_prng_below(&t.prng, round % 2 == 0 ? 2000 : BYTES);
        size_t most = 1 + wr_prng_below(&t.prng, round % 3 == 0 ? 300 : 200000);
        for (uint32_t k = 0; k < t.kernels; k++) {
            uint64_t sum[2];
            t.kernel[k]->begin(s);
            for (size_t at = 0, piece; at < size; at += piece) {
                piece = 1 + wr_prng_below(&t.prng, most);
                if (piece > size - at) piece = size - at;
                t.kernel[k]->add(s, t.bytes + at, piece);
            }
            t.kernel[k]->end(s, sum);
            same(sum, XXH3_128bits(t.bytes, size));
        }
    }
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(as_the_library, begin),
                                       cmocka_unit_test_setup(in_pieces, begin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
