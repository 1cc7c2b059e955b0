/* Arenas, ranges of address space, pseudo-random numbers. */
#include "base/arena.h"
#include "base/env.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void arena(void **state)
{
    (void)state;
    wr_arena arena;
    wr_arena_init(&arena);
    unsigned char *blocks[500];
    for (size_t i = 0; i < 500; i++) {
        size_t bytes = i * 37 % 1000 + 1;
        blocks[i] = wr_arena_get(&arena, bytes);
        assert_true((uintptr_t)blocks[i] % 16 == 0);
        for (size_t j = 0; j < bytes; j++) assert_int_equal(blocks[i][j], 0);
        memset(blocks[i], (int)(i & 255), bytes);
    }
    for (size_t i = 0; i < 500; i++) /* no block lies in another */
        for (size_t j = 0; j < i * 37 % 1000 + 1; j++) assert_int_equal(blocks[i][j], i & 255);
    char *large = wr_arena_get(&arena, 1 << 20);
    memset(large, 1, 1 << 20);
    assert_true((uintptr_t)wr_arena_get_aligned(&arena, 10, 4096) % 4096 == 0);
    uint64_t *numbers = wr_arena_array(&arena, uint64_t, 1000);
    numbers[999] = 1;
    assert_true(arena.bytes > 1 << 20);
    assert_string_equal(wr_arena_str(&arena, "text"), "text");
    assert_null(wr_arena_str(&arena, NULL));
    assert_string_equal(wr_arena_copy(&arena, "text", 2), "te");
    assert_string_equal(wr_arena_copy(&arena, NULL, 0), "");
    assert_string_equal(wr_arena_printf(&arena, "%s-%d", "a", 7), "a-7");
    wr_arena_fini(&arena);
    assert_true(arena.bytes == 0 && arena.chunk == NULL);
    wr_arena_fini(&arena); /* empty again: twice is fine */
}

static void ranges(void **state)
{
    (void)state;
    uint64_t before = wr_mem_reserved_bytes();
    size_t   bytes = (size_t)1 << 32; /* far more than is touched */
    char    *range = wr_mem_reserve(bytes);
    assert_non_null(range);
    assert_true((uintptr_t)range % WR_HUGE_BYTES == 0);
    assert_true(wr_mem_reserved_bytes() == before + bytes);
    assert_int_equal(range[0], 0);
    assert_int_equal(range[bytes - 1], 0);
    memset(range, 7, 3 * WR_PAGE_BYTES);
    wr_mem_discard(range + WR_PAGE_BYTES, WR_PAGE_BYTES);
    assert_int_equal(range[0], 7);
    assert_int_equal(range[WR_PAGE_BYTES], 0);
    assert_int_equal(range[2 * WR_PAGE_BYTES], 7);
    wr_mem_huge(range, bytes);
    wr_mem_release(range, bytes);
    char *small = wr_mem_reserve(1);
    small[WR_PAGE_BYTES - 1] = 1; /* rounded up */
    wr_mem_release(small, 1);
    wr_mem_release(NULL, 5);
    assert_true(wr_mem_reserved_bytes() == before);
    assert_true(wr_mem_resident_bytes() > 100000);
}

static void reserve_often(void *failed)
{
    for (int i = 0; i < 2000; i++) {
        size_t bytes = (size_t)1 << (31 + i % 3);
        void  *range = wr_mem_reserve(bytes);
        *(bool *)failed |= range == NULL;
        wr_mem_release(range, bytes);
    }
}

/* Each raises the bound for what it reserves; none may lower it under the others, nor leave it too low. */
static void ranges_of_many_threads_within_a_bound(void **state)
{
    (void)state;
    struct rlimit before, after;
    const wr_env *env = wr_env_real();
    wr_thread    *thread[4];
    bool          failed[4] = {false};
    if (SANITIZED) skip(); /* what it reserves for itself counts as well */
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    wr_mem_bound(WR_MIB(512));
    for (int i = 0; i < 4; i++)
        assert_int_equal(env->thread_start(env->self, &thread[i], reserve_often, &failed[i], "reserves", -1), 0);
    for (int i = 0; i < 4; i++) env->thread_join(env->self, thread[i]);
    getrlimit(RLIMIT_DATA, &after);
    wr_mem_bound(0);
    setrlimit(RLIMIT_DATA, &before);
    for (int i = 0; i < 4; i++) assert_false(failed[i]);
    assert_true(after.rlim_cur == WR_MIB(512) + wr_mem_reserved_bytes());
}

static void numbers(void **state)
{
    (void)state;
    wr_prng a = wr_prng_of(1), b = wr_prng_of(1), c = wr_prng_of(2);
    int     same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = wr_prng_next(&a);
        assert_true(x == wr_prng_next(&b));
        same += x == wr_prng_next(&c);
    }
    assert_int_equal(same, 0);
    int      hits[10] = {0}, ones = 0;
    double   sum = 0;
    wr_prng *p = &a;
    for (int i = 0; i < 100000; i++) {
        hits[wr_prng_below(p, 10)]++;
        double unit = wr_prng_unit(p);
        assert_true(unit >= 0 && unit < 1);
        sum += unit;
        ones += wr_prng_one_in(p, 100);
        assert_false(wr_prng_one_in(p, 0));
    }
    for (int i = 0; i < 10; i++) assert_in_range(hits[i], 9500, 10500);
    assert_true(sum > 49500 && sum < 50500);
    assert_in_range(ones, 850, 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(arena), cmocka_unit_test(ranges),
                                       cmocka_unit_test(ranges_of_many_threads_within_a_bound),
                                       cmocka_unit_test(numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
