/* WEIR_AGGREGATE_FIELDS at the ends of types: sums that run over, numbers that are none. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/test.h>

#include <cmocka.h>

WEIR_RECORD(sample, (uint32_t, key), (int64_t, large), (int32_t, middle), (int8_t, small), (uint16_t, without_sign),
            (double, real), (float, part))
WEIR_RECORD(sums, (uint32_t, key), (int64_t, large), (int32_t, middle), (int8_t, small), (uint16_t, without_sign),
            (double, real), (float, part))
WEIR_RECORD(ends, (uint32_t, key), (double, least), (double, most), (float, part_least), (float, part_most),
            (int64_t, low), (int64_t, high))
WEIR_AGGREGATE_FIELDS(add_up, sample, sums, (key, key, key), (large, sum, large), (middle, sum, middle),
                      (small, sum, small), (without_sign, sum, without_sign), (real, sum, real), (part, sum, part))
WEIR_AGGREGATE_FIELDS(find_ends, sample, ends, (key, key, key), (least, min, real), (most, max, real),
                      (part_least, min, part), (part_most, max, part), (low, min, large), (high, max, large))

static void test_sums_wrap(void **state)
{
    (void)state;
    weir_test    *t = weir_test_new(NULL);
    sample_stream in = weir_source(sample, weir_test_pipeline(t), "test:");
    sums_stream   out = weir_apply(add_up, weir_window(weir_key_by(in, key), weir_one_window()));
    const sample  most = {1, INT64_MAX, INT32_MAX, INT8_MAX, UINT16_MAX, 0.5, 0.25f}, one = {1, 1, 1, 1, 1, -2, -2};
    sums          got;
    weir_test_push(t, in, most);
    weir_test_push(t, in, one);
    weir_test_end(t);
    assert_true(weir_test_pull(t, out, &got));
    weir_test_free(t);
    assert_true(got.large == INT64_MIN && got.middle == INT32_MIN && got.small == INT8_MIN && got.without_sign == 0);
    assert_true(got.real == -1.5 && got.part == -1.75f);
    add_up_acc into = {.n = 1, .large = INT64_MIN, .middle = -1, .real = 1}, from = {.n = 1, .large = -1, .middle = -1};
    weir_fields_merge_add_up(&into, &from);
    assert_true(into.large == INT64_MAX && into.middle == -2 && into.real == 1 && into.n == 2);
}

/* Wherever it stands among them, and whether it came before a merge or by one. */
static void test_nan_is_no_end(void **state)
{
    (void)state;
    for (int nan_at = 0; nan_at < 4; nan_at++) { /* 3: only of them */
        weir_test    *t = weir_test_new(NULL);
        sample_stream in = weir_source(sample, weir_test_pipeline(t), "test:");
        ends_stream   out = weir_apply(find_ends, weir_window(weir_key_by(in, key), weir_one_window()));
        ends          got;
        for (int i = 0; i < 3; i++) {
            double x = i == nan_at || nan_at == 3 ? (double)NAN : i + 1;
            weir_test_push(t, in, (sample){.key = 1, .real = x, .part = (float)x, .large = i});
        }
        weir_test_end(t);
        assert_true(weir_test_pull(t, out, &got));
        weir_test_free(t);
        assert_true(got.low == 0 && got.high == 2);
        double least = nan_at == 0 ? 2 : 1, most = nan_at == 2 ? 2 : 3;
        if (nan_at == 3)
            assert_true(isnan(got.least) && isnan(got.most) && isnan(got.part_least) && isnan(got.part_most));
        else
            assert_true(got.least == least && got.most == most && got.part_least == least && got.part_most == most);
    }
    find_ends_acc none = {.n = 1, .least = NAN, .most = NAN}, some = {.n = 1, .least = 3, .most = 4}, into = none;
    weir_fields_merge_find_ends(&into, &some);
    assert_true(into.least == 3 && into.most == 4);
    weir_fields_merge_find_ends(&into, &none);
    assert_true(into.least == 3 && into.most == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums_wrap), cmocka_unit_test(test_nan_is_no_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
