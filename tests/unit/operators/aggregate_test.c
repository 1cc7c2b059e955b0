/* What the body of an aggregate over string keys sees: only what a key can have, whether its key was near or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <weir/test.h>

#include <cmocka.h>

enum { KEYS = 5000, EACH = 2 };
WEIR_RECORD(part, (uint32_t, index))
WEIR_RECORD(sample, (weir_str, key), (uint64_t, x))
WEIR_RECORD(both, (weir_str, key), (uint64_t, first), (uint64_t, second), (uint64_t, n))

typedef struct place {
    uint64_t at;
} place;
static void parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    part_emit(out, (part){0});
}
static bool place_open(const part *split, place *p, weir_ctx *ctx)
{
    return split != NULL && p != NULL && ctx != NULL;
}
static void place_close(place *p)
{
    (void)p;
}
/* All keys once, then all keys again: in the first round none is near. */
WEIR_SOURCE(samples, part, split, place, p, sample, out, ctx, parts, place_open, place_close)
{
    (void)split;
    for (; p->at < KEYS * EACH && weir_room(&out->out); p->at++) {
        char name[16];
        int  n = snprintf(name, sizeof name, "k%u", (unsigned)(p->at % KEYS));
        sample_emit(out, (sample){.key = weir_str_of(name, (size_t)n), .x = p->at});
    }
    return p->at < KEYS * EACH ? WEIR_MORE : WEIR_END;
}

static uint64_t calls, beyond; /* calls of a body; those that found the accumulator fuller than any key's can be */

/* The same twice: in 24 bytes, which go the way without a branch, and in more. */
#define LAST_TWO(NAME, A)                                                                                              \
    static void NAME##_merge(A *into, const A *from)                                                                   \
    {                                                                                                                  \
        for (uint32_t i = 0; i < from->n && into->n < EACH; i++) into->v[into->n++] = from->v[i];                      \
    }                                                                                                                  \
    static void NAME##_result(const sample *key, const A *acc, both_out *out, weir_ctx *ctx)                           \
    {                                                                                                                  \
        (void)ctx;                                                                                                     \
        both_emit(out, (both){key->key, acc->v[0], acc->v[1], acc->n});                                                \
    }                                                                                                                  \
    WEIR_AGGREGATE(NAME, sample, in, A, acc, both, NAME##_merge, NAME##_result)                                        \
    {                                                                                                                  \
        calls++;                                                                                                       \
        if (acc->n >= EACH)                                                                                            \
            beyond++; /* it would write behind the array */                                                            \
        else                                                                                                           \
            acc->v[acc->n++] = in->x;                                                                                  \
    }

WEIR_STATE(small, (WEIR_ARRAY_OF(uint64_t, EACH), v), (uint32_t, n))
WEIR_STATE(large, (WEIR_ARRAY_OF(uint64_t, EACH), v), (uint32_t, n), (WEIR_ARRAY_OF(uint64_t, 4), unused))
LAST_TWO(into_small, small)
LAST_TWO(into_large, large)

static void see(weir_test *t, both_stream results)
{
    bool seen[KEYS] = {false};
    both got;
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_true(weir_test_pull(t, results, &got));
        assert_int_equal(got.n, EACH);
        assert_in_range(got.first, 0, KEYS - 1);
        assert_int_equal(got.second, got.first + KEYS);
        assert_false(seen[got.first]);
        seen[got.first] = true;
    }
    assert_false(weir_test_pull(t, results, &got));
    assert_null(weir_test_why(t));
    assert_int_equal(beyond, 0);
}

static void test_a_small_accumulator(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    sample_keyed keyed = weir_key_by(weir_read(samples, weir_test_pipeline(t)), key);
    both_stream  results = weir_apply(into_small, weir_window(keyed, weir_one_window()));
    calls = beyond = 0;
    see(t, results);
    assert_true(calls >= KEYS * EACH);
    weir_test_free(t);
}

static void test_a_large_accumulator(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    sample_keyed keyed = weir_key_by(weir_read(samples, weir_test_pipeline(t)), key);
    both_stream  results = weir_apply(into_large, weir_window(keyed, weir_one_window()));
    calls = beyond = 0;
    see(t, results);
    assert_int_equal(calls, KEYS * EACH);
    weir_test_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_accumulator),
        cmocka_unit_test(test_a_large_accumulator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
