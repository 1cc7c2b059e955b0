/* Three and four operators in one loop: a fuse may be the rest of another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/test.h>

#include <cmocka.h>

WEIR_RECORD(number, (int64_t, n))
WEIR_RECORD(digit, (int64_t, n), (int32_t, value))

WEIR_FILTER(positive, number, in)
{
    return in->n > 0;
}
WEIR_MAP(next, number, in, number, out)
{
    out->n = in->n + 1;
    return true;
}
WEIR_FLAT_MAP(digits, number, in, digit, out)
{
    for (int64_t rest = in->n; rest; rest /= 10) digit_emit(out, (digit){in->n, (int32_t)(rest % 10)});
}
WEIR_FUSE(next_digits, next, digits)
WEIR_FUSE(positive_next_digits, positive, next_digits)
WEIR_FUSE(all_four, next, positive_next_digits)

static void expect(weir_test *t, digit_stream s, int64_t n, int32_t value)
{
    digit got;
    assert_true(weir_test_pull(t, s, &got));
    assert_int_equal(got.n, n);
    assert_int_equal(got.value, value);
}

static void test_fuses_nest(void **state)
{
    (void)state;
    weir_test    *t = weir_test_new(NULL);
    number_stream numbers = weir_source(number, weir_test_pipeline(t), "test:");
    digit_stream  three = weir_apply(positive_next_digits, numbers);
    digit_stream  four = weir_apply(all_four, numbers);
    digit         got;
    weir_test_push(t, numbers, (number){-7});
    weir_test_push(t, numbers, (number){40});
    assert_null(weir_test_why(t));
    expect(t, three, 41, 1);
    expect(t, three, 41, 4);
    assert_false(weir_test_pull(t, three, &got));
    expect(t, four, 42, 2);
    expect(t, four, 42, 4);
    assert_false(weir_test_pull(t, four, &got));
    weir_test_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fuses_nest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
