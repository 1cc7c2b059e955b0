/* Restart strategies: how often, how long, and what users may set. */
#include "base/prng.h"
#include "jobmanager/core_restart.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static wr_restart of(wr_restart_config config, uint32_t failed)
{
    wr_restart r;
    assert_int_equal(wr_restart_complete(&config, true, NULL), WR_OK);
    wr_restart_init(&r, &config, &(wr_restart_past){.failed = failed});
    return r;
}

/* As a JobManager does it that comes after another one. */
static wr_restart again(const wr_restart *r, int64_t later_ms, const int64_t *at_ms, uint32_t times)
{
    wr_restart next;
    int64_t    at[WR_RESTART_RATE_MAX];
    for (uint32_t i = 0; i < times; i++) at[i] = at_ms[i] - later_ms; /* its clock begins anew */
    const wr_restart_past past = {.failed = r->failed, .last_delay_ms = r->last_delay_ms, .at_ms = at, .times = times};
    wr_restart_init(&next, &r->config, &past);
    return next;
}

/* The delay, or -1. */
static int64_t fails(wr_restart *r, int64_t now_ms, int64_t ran_ms, uint64_t random)
{
    int64_t     delay_ms;
    const char *why;
    bool        again = wr_restart_failed(r, WR_IO, now_ms, ran_ms, random, &delay_ms, &why);
    assert_int_equal(again, why[0] == 0);
    return again ? delay_ms : -1;
}

static void test_none(void **state)
{
    (void)state;
    wr_restart r = of((wr_restart_config){.strategy = WR_RESTART_NONE}, 0);
    assert_true(fails(&r, 0, 0, 0) == -1);
}

static void test_errors_that_stay(void **state)
{
    (void)state;
    int64_t     delay_ms;
    const char *why;
    wr_restart  r = of((wr_restart_config){0}, 0);
    assert_false(wr_restart_failed(&r, WR_DAMAGED, 0, 0, 0, &delay_ms, &why));
    assert_false(wr_restart_failed(&r, WR_BAD_RECORD, 0, 0, 0, &delay_ms, &why));
    assert_true(wr_restart_failed(&r, WR_CRASH, 0, 0, 0, &delay_ms, &why));
    assert_true(wr_restart_failed(&r, WR_UNREACHABLE, 0, 0, 0, &delay_ms, &why));
    assert_true(wr_restart_failed(&r, WR_MEMORY, 0, 0, 0, &delay_ms, &why)); /* of that process */
}

static void test_fixed(void **state)
{
    (void)state;
    wr_restart r = of((wr_restart_config){.strategy = WR_RESTART_FIXED, .attempts = 3, .delay_ms = 70}, 0);
    for (int i = 0; i < 3; i++) assert_true(fails(&r, i, 1000000000, 0) == 70); /* time heals nothing here */
    assert_true(fails(&r, 3, 0, 0) == -1);
    r = of((wr_restart_config){.strategy = WR_RESTART_FIXED, .attempts = 3}, 2); /* 2 before this JobManager */
    assert_true(fails(&r, 0, 0, 0) == 1000);
    assert_true(fails(&r, 0, 0, 0) == -1);
    r = of((wr_restart_config){.strategy = WR_RESTART_FIXED}, 100000);
    for (int i = 0; i < 1000; i++) assert_true(fails(&r, 0, 0, 0) == 1000);
}

static void test_exponential(void **state)
{
    (void)state;
    wr_restart r = of((wr_restart_config){0}, 5);
    int64_t    want = 100, least = INT64_MAX, most = 0;
    for (int i = 0; i < 40; i++) {
        int64_t delay_ms = fails(&r, i, 0, (uint64_t)want / 10); /* these random bits mean: no jitter */
        assert_true(delay_ms == want);
        want = want * 1500 / 1000 > 60000 ? 60000 : want * 1500 / 1000;
    }
    wr_prng random = wr_prng_of(1);
    for (int i = 0; i < 1000; i++) {
        int64_t delay_ms = fails(&r, i, 59999, wr_prng_next(&random)); /* not quiet for long enough */
        least = delay_ms < least ? delay_ms : least;
        most = delay_ms > most ? delay_ms : most;
    }
    assert_true(least >= 54000 && least < 54500 && most <= 66000 && most > 65500);
    int64_t first = fails(&r, 0, 60000, 0);
    assert_true(first == 90);
    r = of((wr_restart_config){.strategy = WR_RESTART_EXPONENTIAL, .attempts = 2}, 0);
    assert_true(fails(&r, 0, 0, 0) > 0 && fails(&r, 0, 0, 0) > 0 && fails(&r, 0, 0, 0) == -1);
    r = of((wr_restart_config){.delay_ms = 1, .factor_permille = 1100}, 0); /* grows, though a tenth of 1 ms is none */
    for (int i = 0; i < 400; i++) most = fails(&r, 0, 0, 0);
    assert_true(most == 54000);
}

static void test_failure_rate(void **state)
{
    (void)state;
    const wr_restart_config config = {
        .strategy = WR_RESTART_FAILURE_RATE, .attempts = 3, .window_ms = 1000, .delay_ms = 5};
    wr_restart r = of(config, 0);
    for (int64_t now_ms = 0; now_ms < 100000; now_ms += 334) /* the 4th always comes 1,002 ms after the 1st */
        assert_true(fails(&r, now_ms, 0, 0) == 5);
    assert_true(fails(&r, 100000 - 100000 % 334 + 300, 0, 0) == -1);
    r = of(config, 0);
    for (int i = 0; i < 3; i++) assert_true(fails(&r, 7, 0, 0) == 5);
    assert_true(fails(&r, 1006, 0, 0) == -1);
    r = of((wr_restart_config){.strategy = WR_RESTART_FAILURE_RATE, .attempts = 1, .window_ms = 10}, 0);
    assert_true(fails(&r, 0, 0, 0) == 1000 && fails(&r, 10, 0, 0) == 1000 && fails(&r, 19, 0, 0) == -1);
}

static void test_what_users_may_set(void **state)
{
    (void)state;
    static const wr_restart_config wrong[] = {
        {.strategy = WR_RESTART_STRATEGIES},
        {.delay_ms = -1},
        {.window_ms = INT64_MAX},
        {.delay_ms = 100, .delay_most_ms = 99},
        {.factor_permille = 999},
        {.factor_permille = UINT32_MAX},
        {.strategy = WR_RESTART_FAILURE_RATE, .attempts = WR_RESTART_RATE_MAX + 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wr_restart_config c = wrong[i];
        wr_errinfo        info = {0};
        assert_int_equal(wr_restart_complete(&c, true, &info), WR_CONFIG);
        assert_true(info.text[0] != 0);
        assert_memory_equal(&c, &wrong[i], sizeof c);
    }
    wr_restart_config c = {0};
    assert_int_equal(wr_restart_complete(&c, true, NULL), WR_OK);
    assert_int_equal(c.strategy, WR_RESTART_EXPONENTIAL);
    c = (wr_restart_config){0};
    assert_int_equal(wr_restart_complete(&c, false, NULL), WR_OK);
    assert_int_equal(c.strategy, WR_RESTART_NONE);
    assert_string_equal(wr_restart_strategy_name(c.strategy), "none");
    assert_string_equal(wr_restart_strategy_name(99), "?");
}

/* Another JobManager goes on where the one before was: with its delay, its number, its times. */
static void test_goes_on_after_a_takeover(void **state)
{
    (void)state;
    const wr_restart_config exponential = {.strategy = WR_RESTART_EXPONENTIAL, .delay_ms = 1000, .attempts = 6};
    wr_restart              one = of(exponential, 0);
    int64_t                 last = 0;
    for (int i = 0; i < 3; i++) last = fails(&one, i, 0, 100); /* jitter 0: 100 of 201 for 1000 */
    assert_in_range(last, 2000, 2500);
    wr_restart two = again(&one, 5000, NULL, 0);
    for (int i = 0; i < 3; i++) assert_true(fails(&one, i, 0, 7) == fails(&two, i, 0, 7));
    assert_true(fails(&two, 9, 0, 0) == -1); /* the seventh, of two JobManagers */
    two = again(&one, 5000, NULL, 0);
    assert_in_range(fails(&two, 0, 70000, 0), 900, 1100); /* a quiet time ends it all the same */

    const wr_restart_config rate = {.strategy = WR_RESTART_FAILURE_RATE, .attempts = 3, .window_ms = 1000};
    const int64_t           at[] = {10, 20, 5000, 5400};
    wr_restart              r = of(rate, 0);
    for (int i = 0; i < 4; i++) assert_true(fails(&r, at[i], 0, 0) >= 0);
    wr_restart s = again(&r, 5300, at, 4);
    assert_true(fails(&s, 5500 - 5300, 0, 0) >= 0); /* the third of this second */
    assert_true(fails(&s, 5600 - 5300, 0, 0) == -1);
    s = again(&r, 5300, at, 4);
    assert_true(fails(&s, 5500 - 5300, 0, 0) >= 0);
    assert_true(fails(&s, 6001 - 5300, 0, 0) >= 0); /* 5000 is long ago */
    s = again(&r, 5300, at, 2);
    for (int i = 0; i < 3; i++) assert_true(fails(&s, 200, 0, 0) >= 0); /* 10 and 20 are longer ago */
    assert_true(fails(&s, 200, 0, 0) == -1);

    wr_restart f = of((wr_restart_config){.strategy = WR_RESTART_FIXED, .attempts = 40}, 0);
    for (int i = 0; i < 39; i++) assert_true(fails(&f, i, 0, 0) >= 0);
    wr_restart g = again(&f, 0, NULL, 0);
    assert_true(fails(&g, 50, 0, 0) >= 0);
    assert_true(fails(&g, 51, 0, 0) == -1);
}

/* The clock of the wall, by which another JobManager knows of failures, was set back: no job ends for that. */
static void test_a_clock_that_was_set_back(void **state)
{
    (void)state;
    const wr_restart_config rate = {
        .strategy = WR_RESTART_FAILURE_RATE, .attempts = 2, .window_ms = 1000, .delay_ms = 5};
    const int64_t hour = 3600000, at_ms[2] = {hour, hour + 1};
    wr_restart    r = of(rate, 0), next = again(&r, 0, at_ms, 2);
    assert_int_equal(fails(&next, 100, 10, 0), 5);
    assert_int_equal(fails(&next, 200, 10, 0), 5);
    assert_int_equal(fails(&next, 300, 10, 0), -1); /* the third within a second */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_errors_that_stay),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_goes_on_after_a_takeover),
        cmocka_unit_test(test_exponential),
        cmocka_unit_test(test_failure_rate),
        cmocka_unit_test(test_a_clock_that_was_set_back),
        cmocka_unit_test(test_what_users_may_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
