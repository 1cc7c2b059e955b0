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

static uint32_t kernels(const wr_sum *all[4])
{
    uint32_t n = 0;
    all[n++] = &wr_sum_plain;
    all[n++] = wr_sum_best();
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) all[n++] = &wr_sum_avx2;
    if (__builtin_cpu_supports("avx512f")) all[n++] = &wr_sum_avx512;
#endif
    return n;
}

static void fill(char *bytes, wr_prng *prng)
{
    for (size_t i = 0; i < BYTES; i++) bytes[i] = (char)wr_prng_next(prng);
}

static void as_the_library(void **state)
{
    (void)state;
    static char   bytes[BYTES];
    wr_prng       prng = wr_prng_of(7);
    const wr_sum *all[4];
    uint32_t      n = kernels(all);
    fill(bytes, &prng);
    for (size_t size = 0; size <= BYTES; size = size < 1100 ? size + 1 : size * 2 + 3) {
        uint64_t      seed = wr_prng_next(&prng), sum[2];
        size_t        at = size < BYTES - 64 ? wr_prng_next(&prng) % 64 : 0; /* not aligned */
        XXH128_hash_t wanted = XXH3_128bits(bytes + at, size);
        for (uint32_t k = 0; k < n; k++) {
            assert_int_equal(all[k]->of64(bytes + at, size, seed), XXH3_64bits_withSeed(bytes + at, size, seed));
            all[k]->of128(bytes + at, size, sum);
            assert_int_equal(sum[0], wanted.low64);
            assert_int_equal(sum[1], wanted.high64);
        }
    }
}

static void in_pieces(void **state)
{
    (void)state;
    static char   bytes[BYTES];
    wr_prng       prng = wr_prng_of(8);
    const wr_sum *all[4];
    uint32_t      n = kernels(all);
    wr_sum_state *s = aligned_alloc(_Alignof(wr_sum_state), sizeof *s);
    assert_non_null(s);
    fill(bytes, &prng);
    for (uint32_t round = 0; round < 200; round++) {
        size_t        size = wr_prng_next(&prng) % (round % 2 == 0 ? 2000 : BYTES);
        size_t        most = 1 + wr_prng_next(&prng) % (round % 3 == 0 ? 300 : 200000);
        XXH128_hash_t wanted = XXH3_128bits(bytes, size);
        for (uint32_t k = 0; k < n; k++) {
            uint64_t sum[2];
            all[k]->begin(s);
            for (size_t at = 0; at < size;) {
                size_t piece = 1 + wr_prng_next(&prng) % most;
                if (piece > size - at) piece = size - at;
                all[k]->add(s, bytes + at, piece);
                at += piece;
            }
            all[k]->end(s, sum);
            assert_int_equal(sum[0], wanted.low64);
            assert_int_equal(sum[1], wanted.high64);
        }
    }
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_library), cmocka_unit_test(in_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
