#include "fixture.h"

static char reported[256];
static int  reports;

static void bad(void *self, const char *text)
{
    *(int *)self += 1;
    reports++;
    snprintf(reported, sizeof reported, "%s", text);
}

static void test_values(void **state)
{
    (void)state;
    wr_arena         arena = {0};
    const weir_args *args;
    const char      *texts[] = {"limit=120", "rate=2.5", "every=1h30m", "input=a=b", "empty="};
    assert_int_equal(wr_args_new(&arena, texts, 5, &args, NULL), WR_OK);
    assert_string_equal(weir_arg(args, "input", "x"), "a=b");
    assert_string_equal(weir_arg(args, "empty", "x"), "");
    assert_string_equal(weir_arg(args, "none", "x"), "x");
    assert_null(weir_arg(args, "none", NULL));
    assert_int_equal(weir_arg_i64(args, "limit", 1), 120);
    assert_int_equal(weir_arg_i64(args, "none", -7), -7);
    assert_true(weir_arg_f64(args, "rate", 0) == 2.5);
    assert_int_equal(weir_arg_duration(args, "every", 0), 90 * WEIR_MINUTE);
    wr_arena_fini(&arena);
}

static void test_wrong_values_are_reported_and_defaulted(void **state)
{
    (void)state;
    wr_arena         arena = {0};
    const weir_args *args;
    const char      *texts[] = {"limit=12x", "rate=", "every=5"};
    int              mine = 0;
    reports = 0;
    assert_int_equal(wr_args_new(&arena, texts, 3, &args, NULL), WR_OK);
    weir_args view = wr_args_view(args, bad, &mine);
    assert_int_equal(weir_arg_i64(&view, "limit", 9), 9);
    assert_string_equal(reported, "argument limit=12x is not a whole number");
    assert_true(weir_arg_f64(&view, "rate", 1) == 1);
    assert_int_equal(weir_arg_duration(&view, "every", 4), 4);
    assert_non_null(strstr(reported, "every=5 is not a duration"));
    assert_int_equal(mine, 3);
    assert_int_equal(weir_arg_i64(args, "limit", 9), 9); /* nobody listens */
    assert_int_equal(reports, 3);
    wr_arena_fini(&arena);
}

static void test_operator_shadows_pipeline(void **state)
{
    (void)state;
    wr_arena         arena = {0};
    const weir_args *all, *mine;
    const char      *texts[] = {"limit=120", "unit=km"};
    int              times = 0;
    assert_int_equal(wr_args_new(&arena, texts, 2, &all, NULL), WR_OK);
    assert_int_equal(wr_args_parse(&arena, "  limit=x  deep=1\t", all, &mine, NULL), WR_OK);
    assert_string_equal(weir_arg(mine, "limit", ""), "x");
    assert_string_equal(weir_arg(mine, "unit", ""), "km");
    assert_string_equal(weir_arg(all, "limit", ""), "120");
    assert_null(weir_arg(all, "deep", NULL));
    weir_args view = wr_args_view(mine, bad, &times);
    assert_int_equal(weir_arg_i64(&view, "deep", 0), 1);
    assert_int_equal(weir_arg_i64(&view, "limit", 3), 3);
    assert_int_equal(times, 1);
    assert_int_equal(wr_args_parse(&arena, NULL, all, &mine, NULL), WR_OK);
    assert_string_equal(weir_arg(mine, "limit", ""), "120");
    wr_arena_fini(&arena);
}

static void test_lists_that_are_wrong(void **state)
{
    (void)state;
    wr_arena         arena = {0};
    const weir_args *args;
    wr_errinfo       info = {0};
    assert_int_equal(wr_args_new(&arena, (const char *[]){"verbose", "a=1"}, 2, &args, &info), WR_CONFIG);
    assert_non_null(strstr(info.text, "'verbose' of the pipeline has no value; write NAME=VALUE"));
    assert_string_equal(weir_arg(args, "a", ""), "1"); /* the rest is there */
    wr_errinfo_init(&info);
    assert_int_equal(wr_args_new(&arena, (const char *[]){"a=1", "a=2"}, 2, &args, &info), WR_CONFIG);
    assert_non_null(strstr(info.text, "'a' of the pipeline stands twice"));
    wr_errinfo_init(&info);
    assert_int_equal(wr_args_parse(&arena, "=1", NULL, &args, &info), WR_CONFIG);
    wr_arena_fini(&arena);
}

/* In a build function the report is a problem of the pipeline. */
static void test_pipeline_collects(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", (const char *[]){"limit=many", "odd"}, 2);
    assert_int_equal(weir_arg_i64(weir_pipeline_args(p), "limit", 5), 5);
    SINK(READ(p, &numbers, .args = "x"), "mem:");
    PROBLEMS(p, NULL, WR_CONFIG, "'odd' of the pipeline has no value",
             "argument limit=many is not a whole number; change it",
             "source 'numbers' (t.c:7): argument 'x' of .args has no value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_wrong_values_are_reported_and_defaulted),
        cmocka_unit_test(test_operator_shadows_pipeline),
        cmocka_unit_test(test_lists_that_are_wrong),
        cmocka_unit_test(test_pipeline_collects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
