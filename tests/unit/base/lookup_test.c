/* Numbers by hashes: all that was put in is found, nothing else is, and looking takes few steps. */
#include "base/hash.h"
#include "base/lookup.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MANY = 100000 };

static uint32_t find(const wr_lookup *lookup, uint64_t hash, uint32_t *steps)
{
    uint32_t step = 0, found = wr_lookup_next(lookup, hash, &step);
    *steps += step;
    return found;
}

static void what_was_put_in_is_found(void **state)
{
    (void)state;
    wr_lookup lookup = {0};
    uint32_t  steps = 0;
    assert_int_equal(find(&lookup, 7, &steps), WR_LOOKUP_NONE);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(find(&lookup, wr_fmix64(i), &steps), WR_LOOKUP_NONE);
        assert_true(wr_lookup_add(&lookup, wr_fmix64(i), i));
    }
    for (uint32_t i = 0; i < MANY; i++) assert_int_equal(find(&lookup, wr_fmix64(i), &steps), i);
    assert_int_equal(lookup.count, MANY);
    assert_true(steps < 8 * MANY); /* a walk through all that came before takes MANY / 2 for each */
    wr_lookup_fini(&lookup);
    assert_int_equal(find(&lookup, wr_fmix64(1), &steps), WR_LOOKUP_NONE);
}

static void the_same_hash_is_told_apart_by_the_caller(void **state)
{
    (void)state;
    wr_lookup lookup = {0};
    /* The first four have one hash; the last has another one at the same place. */
    for (uint32_t i = 0; i < 4; i++) assert_true(wr_lookup_add(&lookup, 5, 10 + i));
    assert_true(wr_lookup_add(&lookup, 5 + (UINT64_C(1) << 40), 20));
    uint32_t step = 0, seen = 0;
    for (uint32_t number; (number = wr_lookup_next(&lookup, 5, &step)) != WR_LOOKUP_NONE;) {
        assert_in_range(number, 10, 13);
        assert_false(seen & 1u << number);
        seen |= 1u << number;
    }
    assert_int_equal(seen, 15u << 10);
    step = 0;
    assert_int_equal(wr_lookup_next(&lookup, 5 + (UINT64_C(1) << 40), &step), 20);
    assert_int_equal(wr_lookup_next(&lookup, 5 + (UINT64_C(1) << 40), &step), WR_LOOKUP_NONE);
    wr_lookup_fini(&lookup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_put_in_is_found),
                                       cmocka_unit_test(the_same_hash_is_told_apart_by_the_caller)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
