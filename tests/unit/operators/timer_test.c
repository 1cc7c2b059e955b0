/* Timers and times to live as users have them: keyed functions under the harness's clock and the event time of the
 * records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/test.h>

#include <cmocka.h>

WEIR_RECORD(tick, (uint64_t, key), (weir_time, at), (weir_duration, wait), (uint32_t, what))
WEIR_RECORD(fired, (uint64_t, key), (weir_str, which), (weir_time, at), (uint64_t, seen))

static weir_time at_ms(int64_t ms)
{
    return (weir_time){ms * WEIR_MILLISECOND};
}

/* ---- clock timers ---- */

WEIR_STATE(alarms, (uint64_t, seen), (weir_clock_timer, once), (weir_clock_timer, again), (weir_text, name))
static void ring(const tick *key, alarms *st, fired_out *out, weir_ctx *ctx)
{
    bool once = weir_clock_timer_fired(ctx, &st->once), again = weir_clock_timer_fired(ctx, &st->again);
    assert_true(once != again);
    assert_int_equal(once ? st->once.at.ns : st->again.at.ns, 0);
    assert_int_equal(key->wait, 0);
    if (again && st->seen < 5) weir_clock_timer_set(ctx, &st->again, weir_after(weir_time_of(ctx), WEIR_SECOND));
    if (once && st->seen == 99) weir_clock_timer_clear(ctx, &st->again);
    st->seen++;
    fired_emit(out, (fired){.key = key->key,
                            .which = once ? weir_text_get(ctx, &st->name) : weir_lit("again"),
                            .at = weir_time_of(ctx),
                            .seen = st->seen});
}
WEIR_KEYED(alarm, tick, in, alarms, st, fired, out, ctx, ring)
{
    (void)out;
    assert_false(weir_clock_timer_fired(ctx, &st->once));
    switch (in->what) {
    case 0: weir_clock_timer_set(ctx, &st->once, weir_after(weir_now(ctx), in->wait)); break;
    case 1: weir_clock_timer_set(ctx, &st->again, weir_after(weir_now(ctx), in->wait)); break;
    case 2: weir_clock_timer_clear(ctx, &st->once); break;
    case 3: weir_forget(ctx); break;
    case 4: st->seen = 99; break;
    default: fail();
    }
    if (in->what != 3) weir_text_set(ctx, &st->name, weir_lit("once, as a name that is longer than twelve"));
}

static void expect(weir_test *t, fired_stream s, uint64_t key, const char *which, int64_t ms)
{
    fired got;
    if (!weir_test_pull(t, s, &got)) fail_msg("no %s of %lu", which, (unsigned long)key);
    if (got.key != key || got.at.ns != ms * WEIR_MILLISECOND ||
        strncmp(weir_str_data(&got.which), which, strlen(which)))
        fail_msg("want %s of %lu at %ld ms, got key %lu at %ld ns", which, (unsigned long)key, (long)ms,
                 (unsigned long)got.key, (long)got.at.ns);
}
static void expect_none(weir_test *t, fired_stream s)
{
    fired got;
    if (weir_test_pull(t, s, &got)) fail_msg("one too many: key %lu", (unsigned long)got.key);
}

typedef struct clock_job {
    weir_test   *t;
    tick_stream  in;
    fired_stream out;
} clock_job;

static clock_job clock_begin(void)
{
    clock_job j;
    j.t = weir_test_new(NULL);
    j.in = weir_source(tick, weir_test_pipeline(j.t), "test:");
    j.out = weir_apply(alarm, weir_key_by(j.in, key));
    weir_test_advance(j.t, WEIR_SECOND);
    return j;
}
static void send(const clock_job *j, uint64_t key, uint32_t what, int64_t wait_ms)
{
    weir_test_push(j->t, j->in, {.key = key, .what = what, .wait = wait_ms * WEIR_MILLISECOND});
}

static void test_clock_timers(void **state)
{
    (void)state;
    clock_job j = clock_begin(); /* it is 1,000 ms */
    send(&j, 1, 0, 500);
    send(&j, 2, 0, 300);
    send(&j, 3, 0, 400);
    send(&j, 3, 2, 0); /* cleared */
    send(&j, 4, 0, 100);
    send(&j, 4, 3, 0); /* forgotten */
    send(&j, 5, 0, 100);
    send(&j, 5, 0, 450); /* moved */
    weir_test_advance(j.t, 299 * WEIR_MILLISECOND);
    expect_none(j.t, j.out);
    weir_test_advance(j.t, 1 * WEIR_MILLISECOND);
    expect(j.t, j.out, 2, "once", 1300);
    expect_none(j.t, j.out);
    weir_test_advance(j.t, WEIR_SECOND);
    expect(j.t, j.out, 5, "once", 1450);
    expect(j.t, j.out, 1, "once", 1500);
    expect_none(j.t, j.out);
    send(&j, 6, 0, -5000); /* in the past: at once */
    expect(j.t, j.out, 6, "once", 2300 - 5000);
    send(&j, 7, 0, 100);
    weir_test_end(j.t); /* what is still set then never fires */
    expect_none(j.t, j.out);
    assert_null(weir_test_why(j.t));
    weir_test_free(j.t);
}

/* Nor after a restart from a snapshot that was taken behind the end. */
static void test_the_end_is_the_end_of_clock_timers(void **state)
{
    (void)state;
    clock_job j = {.t = weir_test_new(NULL)};
    j.in = weir_source(tick, weir_test_pipeline(j.t), "test:");
    j.out = weir_apply(alarm, weir_key_by(j.in, key));
    weir_test_snapshot(j.t);
    send(&j, 1, 0, 100);
    weir_test_end(j.t);
    weir_test_snapshot(j.t);
    weir_test_crash(j.t);
    weir_test_advance(j.t, WEIR_SECOND);
    expect_none(j.t, j.out);
    assert_null(weir_test_why(j.t));
    weir_test_free(j.t);
}

/* Time goes through all that is due on the way, however far it is moved at once. */
static void test_a_timer_that_sets_itself_again(void **state)
{
    (void)state;
    clock_job j = clock_begin();
    send(&j, 1, 1, 1000);
    send(&j, 2, 1, 1001);
    weir_test_advance(j.t, WEIR_MINUTE);
    for (int64_t i = 1; i <= 6; i++) {
        expect(j.t, j.out, 1, "again", 1000 + 1000 * i);
        expect(j.t, j.out, 2, "again", 1001 + 1000 * i);
    }
    expect_none(j.t, j.out);
    weir_test_free(j.t);
}

/* One key's timers never stand in one batch: the first may clear the second. */
static void test_a_timer_clears_another(void **state)
{
    (void)state;
    clock_job j = clock_begin();
    send(&j, 1, 0, 1);
    send(&j, 1, 1, 1);
    send(&j, 1, 4, 0);
    weir_test_advance(j.t, WEIR_MILLISECOND);
    fired    got;
    uint32_t n = 0;
    while (weir_test_pull(j.t, j.out, &got)) n++;
    assert_in_range(n, 1, 2); /* which of the two comes first is open */
    send(&j, 2, 0, 1);
    send(&j, 2, 1, 2);
    send(&j, 2, 4, 0);
    weir_test_advance(j.t, WEIR_MINUTE);
    expect(j.t, j.out, 2, "once", 1002);
    expect_none(j.t, j.out);
    weir_test_free(j.t);
}

/* ---- event timers ---- */

WEIR_STATE(visit, (uint64_t, seen), (weir_event_timer, ends), (weir_event_timer, hint))
static void over(const tick *key, visit *st, fired_out *out, weir_ctx *ctx)
{
    bool ends = weir_event_timer_fired(ctx, &st->ends);
    assert_true(ends != weir_event_timer_fired(ctx, &st->hint));
    assert_true(weir_time_of(ctx).ns <= weir_watermark(ctx).ns);
    fired_emit(out, (fired){.key = key->key,
                            .which = ends ? weir_lit("ends") : weir_lit("hint"),
                            .at = weir_time_of(ctx),
                            .seen = st->seen});
    if (ends) weir_forget(ctx);
}
WEIR_KEYED(visits, tick, in, visit, st, fired, out, ctx, over)
{
    (void)out;
    st->seen++;
    weir_event_timer_set(ctx, &st->ends, weir_after(in->at, in->wait));
    if (in->what == 1) weir_event_timer_set(ctx, &st->hint, weir_after(in->at, in->wait / 2));
}
/* What it gets was emitted by timers: its event time must be their due time. */
WEIR_MAP(stamped, fired, in, fired, out, ctx)
{
    *out = *in;
    return weir_time_of(ctx).ns == in->at.ns || weir_reject(ctx, "another event time");
}

typedef struct event_job {
    weir_test   *t;
    tick_stream  in;
    fired_stream out;
} event_job;
static event_job event_begin(bool timed)
{
    event_job j;
    j.t = weir_test_new(NULL);
    j.in = weir_source(tick, weir_test_pipeline(j.t), "test:");
    tick_stream  s = timed ? weir_event_time(j.in, at, .max_delay = 10 * WEIR_MILLISECOND) : j.in;
    fired_stream f = weir_apply(visits, weir_key_by(s, key));
    j.out = timed ? weir_apply(stamped, f) : f;
    return j;
}
static void come(const event_job *j, uint64_t key, int64_t ms, int64_t wait_ms, uint32_t what)
{
    weir_test_push(j->t, j->in, {.key = key, .at = at_ms(ms), .wait = wait_ms * WEIR_MILLISECOND, .what = what});
}

static void test_event_timers(void **state)
{
    (void)state;
    event_job j = event_begin(true);
    come(&j, 1, 1000, 100, 1);
    come(&j, 2, 1000, 70, 0);
    come(&j, 1, 1040, 100, 0); /* ends moves to 1140 */
    expect_none(j.t, j.out);
    come(&j, 3, 1060, 1000, 0); /* watermark just before 1050 */
    expect_none(j.t, j.out);
    come(&j, 3, 1061, 1000, 0);
    expect(j.t, j.out, 1, "hint", 1050);
    expect_none(j.t, j.out);
    come(&j, 3, 5000, 1000, 0); /* all in order; what 3 was to do at 2061 has moved */
    expect(j.t, j.out, 2, "ends", 1070);
    expect(j.t, j.out, 1, "ends", 1140);
    expect_none(j.t, j.out);
    come(&j, 4, 4995, -100, 0); /* due before the watermark already */
    expect(j.t, j.out, 4, "ends", 4895);
    expect_none(j.t, j.out);
    weir_test_end(j.t); /* the end of time */
    expect(j.t, j.out, 3, "ends", 6000);
    expect_none(j.t, j.out);
    assert_null(weir_test_why(j.t));
    weir_test_free(j.t);
}

static void test_event_timers_without_event_time(void **state)
{
    (void)state;
    event_job j = event_begin(false);
    for (uint64_t i = 0; i < 3000; i++) come(&j, i, 10000 - (int64_t)i, 100, 0);
    expect_none(j.t, j.out);
    weir_test_end(j.t);
    for (uint64_t i = 3000; i-- > 0;) expect(j.t, j.out, i, "ends", 10100 - (int64_t)i);
    expect_none(j.t, j.out);
    assert_null(weir_test_why(j.t));
    weir_test_free(j.t);
}

/* ---- event timers that set themselves again ---- */

WEIR_STATE(series, (uint64_t, rings), (bool, known), (weir_event_timer, next))
static void chime(const tick *key, series *st, fired_out *out, weir_ctx *ctx)
{
    fired_emit(out, (fired){.key = key->key, .which = weir_lit("ring"), .at = weir_time_of(ctx), .seen = ++st->rings});
    if (st->rings < 6) weir_event_timer_set(ctx, &st->next, weir_after(weir_time_of(ctx), 100 * WEIR_MILLISECOND));
}
WEIR_KEYED(chimes, tick, in, series, st, fired, out, ctx, chime)
{
    (void)out;
    if (!st->known) weir_event_timer_set(ctx, &st->next, weir_after(in->at, 100 * WEIR_MILLISECOND));
    st->known = true;
}

/* However far event time moves at once, and also when it ends. */
static void test_event_timers_that_are_set_again(void **state)
{
    (void)state;
    event_job j;
    j.t = weir_test_new(NULL);
    j.in = weir_source(tick, weir_test_pipeline(j.t), "test:");
    j.out = weir_apply(chimes, weir_key_by(weir_event_time(j.in, at, .max_delay = 10 * WEIR_MILLISECOND), key));
    come(&j, 1, 1000, 0, 0);
    expect_none(j.t, j.out);
    come(&j, 2, 1350, 0, 0);
    for (int64_t i = 1; i <= 3; i++) expect(j.t, j.out, 1, "ring", 1000 + 100 * i);
    expect_none(j.t, j.out);
    weir_test_end(j.t);
    for (int64_t i = 4; i <= 9; i++) {
        if (i <= 6) expect(j.t, j.out, 1, "ring", 1000 + 100 * i);
        expect(j.t, j.out, 2, "ring", 1050 + 100 * i);
    }
    expect_none(j.t, j.out);
    assert_null(weir_test_why(j.t));
    weir_test_free(j.t);
}

/* ---- time to live ---- */

WEIR_RECORD(entry, (uint64_t, id), (uint64_t, value))
WEIR_TABLE(entry, id)
WEIR_STATE(memory, (uint64_t, seen), (list, entry, recent, 100 * WEIR_MILLISECOND),
           (table, entry, known, 200 * WEIR_MILLISECOND))
WEIR_RECORD(recall, (uint64_t, key), (uint64_t, seen), (uint64_t, recent), (uint64_t, known), (bool, has))
WEIR_KEYED(remember, tick, in, memory, st, recall, out, ctx)
{
    if (in->what == 0) {
        st->seen++;
        entry_list_add(ctx, &st->recent, (entry){in->key, st->seen});
        entry_table_put(ctx, &st->known, (entry){(uint64_t)in->wait, st->seen});
    }
    uint64_t   rows = 0;
    entry_rows all = entry_table_rows(ctx, &st->known);
    while (entry_next(&all) != NULL) rows++;
    assert_int_equal(rows, entry_table_count(&st->known));
    rows = 0;
    all = entry_list_rows(ctx, &st->recent);
    while (entry_next(&all) != NULL) rows++;
    assert_int_equal(rows, entry_list_count(&st->recent));
    recall_emit(out, (recall){.key = in->key,
                              .seen = st->seen,
                              .recent = entry_list_count(&st->recent),
                              .known = entry_table_count(&st->known),
                              .has = entry_table_get(ctx, &st->known, (uint64_t)in->wait) != NULL});
}

typedef struct ttl_job {
    weir_test    *t;
    tick_stream   in;
    recall_stream out;
} ttl_job;
static ttl_job ttl_begin(weir_duration ttl, uint32_t rule)
{
    ttl_job j;
    j.t = weir_test_new(NULL);
    j.in = weir_source(tick, weir_test_pipeline(j.t), "test:");
    j.out = weir_apply(remember, weir_key_by(j.in, key), .ttl = ttl, .ttl_rule = rule);
    weir_test_advance(j.t, WEIR_SECOND);
    return j;
}
static recall ask(const ttl_job *j, uint64_t key, uint32_t what, uint64_t id)
{
    recall got = {0};
    weir_test_push(j->t, j->in, {.key = key, .what = what, .wait = (weir_duration)id});
    if (!weir_test_pull(j->t, j->out, &got)) fail_msg("no answer: %s", weir_test_why(j->t));
    assert_int_equal(got.key, key);
    return got;
}
#define MS WEIR_MILLISECOND

static void test_rows_expire(void **state)
{
    (void)state;
    ttl_job j = ttl_begin(0, 0);
    ask(&j, 1, 0, 7);
    weir_test_advance(j.t, 60 * MS);
    ask(&j, 1, 0, 8);
    recall r = ask(&j, 1, 1, 7);
    assert_true(r.recent == 2 && r.known == 2 && r.has);
    weir_test_advance(j.t, 40 * MS); /* the first row of the list is 100 ms old */
    r = ask(&j, 1, 1, 7);
    assert_true(r.recent == 1 && r.known == 2 && r.has);
    weir_test_advance(j.t, 50 * MS); /* 150: put again */
    ask(&j, 1, 0, 7);
    weir_test_advance(j.t, 120 * MS); /* 270: the 8 of 60 is over, the 7 of 150 is not */
    r = ask(&j, 1, 1, 8);
    assert_true(r.recent == 0 && r.known == 1 && !r.has);
    r = ask(&j, 1, 1, 7);
    assert_true(r.known == 1 && r.has);
    weir_test_advance(j.t, 90 * MS);
    r = ask(&j, 1, 1, 7);
    assert_true(r.recent == 0 && r.known == 0 && !r.has && r.seen == 3);
    assert_null(weir_test_why(j.t));
    weir_test_free(j.t);
}

/* On write: looking does not keep it. On read: it does. */
static void test_keys_expire(void **state)
{
    (void)state;
    for (uint32_t rule = WEIR_TTL_ON_WRITE; rule <= WEIR_TTL_ON_READ; rule++) {
        ttl_job j = ttl_begin(500 * MS, rule);
        ask(&j, 1, 0, 7);
        ask(&j, 2, 0, 7);
        weir_test_advance(j.t, 300 * MS);
        assert_int_equal(ask(&j, 1, 1, 7).seen, 1); /* looks */
        assert_int_equal(ask(&j, 2, 0, 7).seen, 2); /* writes */
        weir_test_advance(j.t, 250 * MS);
        assert_int_equal(ask(&j, 1, 1, 7).seen, rule == WEIR_TTL_ON_READ ? 1 : 0);
        assert_int_equal(ask(&j, 2, 1, 7).seen, 2);
        weir_test_advance(j.t, 500 * MS);
        assert_int_equal(ask(&j, 1, 1, 7).seen, 0);
        assert_int_equal(ask(&j, 2, 0, 7).seen, 1);
        assert_null(weir_test_why(j.t));
        weir_test_free(j.t);
    }
}

/* ---- one window over the whole input: a key that has outlived its time gives no result ---- */

WEIR_REDUCE(latest, tick, so_far, in)
{
    *so_far = *in;
}

static void test_results_expire(void **state)
{
    (void)state;
    weir_test  *t = weir_test_new(NULL);
    tick_stream in = weir_source(tick, weir_test_pipeline(t), "test:");
    tick_stream last = weir_apply(latest, weir_window(weir_key_by(in, key), weir_one_window()), .ttl = WEIR_MINUTE);
    for (uint64_t i = 0; i < 9000; i++) {
        weir_test_push(t, in, {.key = i, .what = 1});
        if (i == 4000) weir_test_advance(t, 59 * WEIR_SECOND); /* the sweep is somewhere in the table */
    }
    weir_test_advance(t, WEIR_SECOND);
    weir_test_end(t);
    uint8_t *seen = calloc(9000, 1);
    tick     got;
    while (weir_test_pull(t, last, &got)) seen[got.key]++;
    for (uint64_t i = 0; i < 9000; i++) assert_int_equal(seen[i], i > 4000);
    free(seen);
    assert_null(weir_test_why(t));
    weir_test_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_timers),
        cmocka_unit_test(test_the_end_is_the_end_of_clock_timers),
        cmocka_unit_test(test_a_timer_that_sets_itself_again),
        cmocka_unit_test(test_event_timers_that_are_set_again),
        cmocka_unit_test(test_a_timer_clears_another),
        cmocka_unit_test(test_event_timers),
        cmocka_unit_test(test_event_timers_without_event_time),
        cmocka_unit_test(test_rows_expire),
        cmocka_unit_test(test_keys_expire),
        cmocka_unit_test(test_results_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
