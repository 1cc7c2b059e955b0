/* Windows in pipelines, from the macros to the results: event time and the clock, late records, fields, all kinds of
 * keys. What they compute is tested in window_test.c.
 * ctest: opens */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <weir/test.h>

#include <cmocka.h>

WEIR_RECORD(trade, (weir_str, symbol), (uint16_t, venue), (int64_t, price), (weir_time, at))
WEIR_RECORD(bar, (weir_str, symbol), (uint16_t, venue), (weir_time, start), (weir_time, end), (uint64_t, count),
            (int64_t, low), (int64_t, high), (double, mean))
WEIR_RECORD(listing, (weir_str, symbol), (uint64_t, count), (int64_t, sum))

WEIR_AGGREGATE_FIELDS(bars, trade, bar, (symbol, key, symbol), (start, start), (end, end), (count, count),
                      (low, min, price), (high, max, price), (mean, mean, price))
WEIR_AGGREGATE_FIELDS(counts, trade, bar, (count, count), (high, max, price))
WEIR_AGGREGATE_FIELDS(venues, trade, bar, (symbol, key, symbol), (venue, key, venue), (count, count),
                      (high, max, price))
WEIR_WINDOW(list, trade, rows, listing, out)
{
    listing made = {0};
    for (const trade *t; (t = trade_next(rows)) != NULL;) {
        made.symbol = t->symbol;
        made.count++;
        made.sum += t->price;
    }
    listing_emit(out, made);
}
WEIR_REDUCE(dearest, trade, so_far, in)
{
    if (in->price > so_far->price) *so_far = *in;
}

static const char *const names[] = {"AB", "a company with a long name", "CD"};
static weir_time         ms(int64_t n)
{
    return (weir_time){n * WEIR_MILLISECOND};
}
static trade sold(uint32_t name, int64_t price, int64_t at)
{
    return (trade){weir_str_of(names[name], strlen(names[name])), (uint16_t)(name + 7), price, ms(at)};
}
static void expect_bar(weir_test *t, bar_stream from, uint32_t name, int64_t start, uint64_t count, int64_t high)
{
    bar  got;
    char text[80];
    if (!weir_test_pull(t, from, &got)) fail_msg("no bar: %s", weir_test_why(t) ? weir_test_why(t) : "");
    snprintf(text, sizeof text, "%.*s", (int)got.symbol.len, weir_str_data(&got.symbol));
    assert_string_equal(text, names[name]);
    assert_int_equal(got.start.ns, start * WEIR_MILLISECOND);
    assert_int_equal(got.count, count);
    assert_int_equal(got.high, high);
}
static void nothing(weir_test *t, bar_stream from)
{
    bar got;
    assert_false(weir_test_pull(t, from, &got));
    assert_null(weir_test_why(t));
}

static void test_event_time(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    trade_stream in = weir_source(trade, weir_test_pipeline(t), "test:");
    trade_stream timed = weir_event_time(in, at, .max_delay = 500 * WEIR_MILLISECOND);
    bar_stream   out = weir_apply(
          bars, weir_window(weir_key_by(timed, symbol), weir_tumbling(WEIR_SECOND), .lateness = WEIR_SECOND));
    trade_stream late = weir_late(bars, out);
    trade        got;
    weir_test_push(t, in, sold(0, 5, 100));
    weir_test_push(t, in, sold(1, 7, 1200));
    weir_test_push(t, in, sold(0, 9, 900));
    nothing(t, out);
    weir_test_push(t, in, sold(1, 8, 1500)); /* watermark 999.999999 ms */
    expect_bar(t, out, 0, 0, 2, 9);
    nothing(t, out);
    weir_test_push(t, in, sold(0, 30, 300)); /* late, within .lateness: again */
    expect_bar(t, out, 0, 0, 3, 30);
    weir_test_push(t, in, sold(1, 6, 3000));
    expect_bar(t, out, 1, 1000, 2, 8);
    nothing(t, out);
    assert_false(weir_test_pull(t, late, &got));
    weir_test_push(t, in, sold(0, 31, 999)); /* watermark 2500 ms: over */
    assert_true(weir_test_pull(t, late, &got));
    assert_int_equal(got.price, 31);
    nothing(t, out);
    weir_test_watermark(t, in, ms(3999));
    weir_test_end(t);
    expect_bar(t, out, 1, 3000, 1, 6);
    nothing(t, out);
    weir_test_free(t);
}

static void test_clock(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    trade_stream in = weir_source(trade, weir_test_pipeline(t), "test:");
    bar_stream out = weir_apply(bars, weir_window(weir_key_by(in, symbol), weir_by_clock(weir_tumbling(WEIR_SECOND))));
    bar_stream slid = weir_apply(
        bars, weir_window(weir_key_by(in, symbol), weir_by_clock(weir_sliding(2 * WEIR_SECOND, WEIR_SECOND))),
        .uid = "slid");
    bar_stream pause = weir_apply(bars, weir_window(weir_key_by(in, symbol), weir_by_clock(weir_session(WEIR_SECOND))),
                                  .uid = "pause");
    bar        got;
    weir_test_push(t, in, sold(0, 5, 0));
    weir_test_advance(t, 100 * WEIR_MILLISECOND);
    weir_test_push(t, in, sold(0, 6, 0));
    weir_test_advance(t, 900 * WEIR_MILLISECOND);
    assert_true(weir_test_pull(t, out, &got));
    uint64_t first = got.count; /* where the second begins is the clock's */
    assert_int_equal(got.end.ns - got.start.ns, WEIR_SECOND);
    if (first == 1) assert_true(weir_test_pull(t, out, &got));
    nothing(t, out);
    weir_test_advance(t, 99 * WEIR_MILLISECOND);
    nothing(t, pause);
    weir_test_advance(t, WEIR_MILLISECOND);
    assert_true(weir_test_pull(t, pause, &got));
    assert_int_equal(got.count, 2);
    nothing(t, pause);
    weir_test_advance(t, 3 * WEIR_SECOND);
    uint64_t seen = 0;
    while (weir_test_pull(t, slid, &got)) seen += got.count;
    assert_int_equal(seen, 4); /* each in two windows */
    weir_test_push(t, in, sold(2, 7, 0));
    nothing(t, out);
    weir_test_end(t); /* nothing is lost */
    assert_true(weir_test_pull(t, out, &got));
    assert_int_equal(got.high, 7);
    nothing(t, out);
    assert_true(weir_test_pull(t, pause, &got));
    weir_test_free(t);
}

static void test_keys_and_kinds(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    trade_stream in = weir_source(trade, weir_test_pipeline(t), "test:");
    trade_stream timed = weir_event_time(in, at);
    bar_stream   both = weir_apply(venues, weir_window(weir_key_by(timed, symbol, venue), weir_tumbling(WEIR_SECOND)));
    bar_stream   all = weir_apply(counts, weir_window_all(timed, weir_count(3, 3)), .uid = "all");
    bar_stream   each = weir_apply(counts, weir_window(weir_key_by(timed, venue), weir_running()), .uid = "each");
    listing_stream rows = weir_apply(list, weir_window(weir_key_by(timed, symbol), weir_one_window()));
    trade_stream   top = weir_apply(dearest, weir_window_all(timed, weir_session(WEIR_SECOND)));
    for (int64_t i = 0; i < 6; i++) weir_test_push(t, in, sold((uint32_t)(i % 3), i + 1, i * 100));
    bar     got;
    listing l;
    trade   best;
    for (uint64_t i = 1; i <= 6; i++) {
        assert_true(weir_test_pull(t, each, &got));
        assert_int_equal(got.count, (i + 2) / 3);
    }
    for (int64_t i = 0; i < 2; i++) {
        assert_true(weir_test_pull(t, all, &got));
        assert_int_equal(got.count, 3);
        assert_int_equal(got.high, 3 * i + 3);
    }
    nothing(t, all);
    weir_test_end(t);
    uint32_t venues_seen = 0;
    while (weir_test_pull(t, both, &got)) {
        venues_seen += 1u << (got.venue - 7);
        assert_int_equal(got.count, 2);
        assert_int_equal(got.high, got.venue - 7 + 4);
    }
    assert_int_equal(venues_seen, 7);
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(weir_test_pull(t, rows, &l));
        assert_int_equal(l.count, 2);
        sum += l.sum;
    }
    assert_int_equal(sum, 21);
    assert_true(weir_test_pull(t, top, &best));
    assert_int_equal(best.price, 6);
    assert_false(weir_test_pull(t, top, &best));
    assert_null(weir_test_why(t));
    weir_test_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_time),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_keys_and_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
