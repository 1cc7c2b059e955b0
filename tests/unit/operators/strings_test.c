/* Strings of records read as numbers, and pipelines whose functions reply later: loaded, and refused with "not yet". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <weir/embed.h>

#include <cmocka.h>

WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(number, (int64_t, n))

WEIR_ASYNC(later, line, in, number, reply)
{
    int64_t n;
    if (weir_str_to_i64(&in->text, &n))
        number_reply_with(reply, (number){n});
    else
        number_reply_error(reply, "no number");
}

static weir_str of(const char *text)
{
    return weir_str_of(text, strlen(text));
}

static void test_whole_numbers(void **state)
{
    (void)state;
    weir_str good[] = {of("42"), of("-9223372036854775808"), of("0000000000000007")};
    int64_t  wanted[] = {42, INT64_MIN, 7}, value = 5;
    for (int i = 0; i < 3; i++) assert_true(weir_str_to_i64(&good[i], &value) && value == wanted[i]);
    weir_str bad[] = {of(""), of("4x"), of(" 4"), of("9223372036854775808")};
    value = 5;
    for (int i = 0; i < 4; i++) assert_false(weir_str_to_i64(&bad[i], &value));
    assert_int_equal(value, 5);
}

static void test_decimal_numbers(void **state)
{
    (void)state;
    weir_str good[] = {of("0.5"), of("-1e3"), of("3.1415926535897931")};
    double   wanted[] = {0.5, -1000, 3.1415926535897931}, value = 5;
    for (int i = 0; i < 3; i++) assert_true(weir_str_to_f64(&good[i], &value) && value == wanted[i]);
    weir_str bad[] = {of(""), of("1.5km"), of("--1")};
    value = 5;
    for (int i = 0; i < 3; i++) assert_false(weir_str_to_f64(&bad[i], &value));
    assert_true(value == 5);
}

static void build(weir_pipeline *p)
{
    line_stream lines = weir_source(line, p, "generator:?count=1", .name = "lines");
    weir_sink(weir_apply(later, lines), "blackhole:", .name = "numbers");
}

static void test_async_is_not_yet(void **state)
{
    (void)state;
    weir_cluster *c = weir_cluster_open(.slots = 1);
    weir_job     *job = weir_start(c, build);
    assert_int_equal(weir_wait(job, WEIR_MINUTE), WEIR_JOB_FAILED);
    assert_non_null(strstr(weir_why(job), "WEIR_ASYNC does not run yet"));
    weir_cluster_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_decimal_numbers),
        cmocka_unit_test(test_async_is_not_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
