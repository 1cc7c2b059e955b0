/* The test harness of weir/test.h, as users have it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weir/test.h>

#include <cmocka.h>

WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(word, (weir_str, text))
WEIR_RECORD(tally, (weir_str, word), (uint64_t, count))
WEIR_STATE(counter, (uint64_t, seen))
static const weir_counter tokens = {"tokens"};

WEIR_FLAT_MAP(split, line, in, word, out, ctx)
{
    weir_cursor c = weir_str_cursor(&in->text);
    for (weir_str token; weir_next_token(&c, ' ', &token);) {
        weir_counter_add(ctx, &tokens, 1);
        word_emit(out, (word){.text = token});
    }
}
WEIR_KEYED(count, word, in, counter, state, tally, out)
{
    tally_emit(out, (tally){.word = in->text, .count = ++state->seen});
}
WEIR_FILTER(long_enough, word, in)
{
    return in->text.len >= 3;
}
WEIR_MAP(strict, word, in, word, out, ctx)
{
    *out = *in;
    return in->text.len < 50 || weir_reject(ctx, "too long");
}
WEIR_MAP(stamp, word, in, tally, out, ctx)
{
    out->word = in->text;
    out->count = (uint64_t)weir_now(ctx).ns;
    return true;
}
WEIR_REDUCE(sum, tally, so_far, in)
{
    so_far->count += in->count;
}

static bool is(weir_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(weir_str_data(&s), text, s.len) == 0;
}
static line line_of(const char *text)
{
    return (line){.text = weir_str_of(text, strlen(text))};
}

/* ---- event time ---- */
WEIR_RECORD(visit, (int64_t, user), (weir_time, at))
WEIR_RECORD(sight, (int64_t, user), (weir_time, at), (weir_time, watermark))
WEIR_MAP(look, visit, in, sight, out, ctx)
{
    *out = (sight){.user = in->user, .at = weir_time_of(ctx), .watermark = weir_watermark(ctx)};
    return true;
}
WEIR_STATE(nothing, (uint64_t, n))
WEIR_KEYED(look_by_user, visit, in, nothing, st, sight, out, ctx)
{
    st->n++;
    sight_emit(out, (sight){.user = in->user, .at = weir_time_of(ctx), .watermark = weir_watermark(ctx)});
}

static void expect_sight(weir_test *t, sight_stream s, int64_t at, int64_t watermark)
{
    sight got;
    assert_true(weir_test_pull(t, s, &got));
    assert_int_equal(got.at.ns, at);
    assert_int_equal(got.watermark.ns, watermark);
    assert_false(weir_test_pull(t, s, &got));
}

static void test_event_time(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    visit_stream visits = weir_source(visit, weir_test_pipeline(t), "test:");
    visit_stream timed = weir_event_time(visits, at, .max_delay = 10);
    sight_stream seen = weir_apply(look, weir_rebalance(timed), .parallelism = 3);
    sight_stream keyed = weir_apply(look_by_user, weir_key_by(timed, user), .parallelism = 2);
    weir_test_push(t, visits, (visit){.user = 1, .at = {100}});
    expect_sight(t, seen, 100, WEIR_NO_TIME);
    expect_sight(t, keyed, 100, WEIR_NO_TIME);
    weir_test_push(t, timed, (visit){.user = 2, .at = {95}}); /* by either name */
    expect_sight(t, seen, 95, 89);
    expect_sight(t, keyed, 95, 89);
    weir_test_watermark(t, timed, (weir_time){500});
    weir_test_push(t, visits, (visit){.user = 2, .at = {300}});
    expect_sight(t, seen, 300, 500);
    weir_test_watermark(t, visits, (weir_time){400}); /* never back */
    weir_test_push(t, visits, (visit){.user = 2, .at = {1000}});
    expect_sight(t, seen, 1000, 500);
    weir_test_push(t, visits, (visit){.user = 2, .at = {900}});
    expect_sight(t, seen, 900, 989);
    weir_test_end(t);
    assert_null(weir_test_why(t));
    weir_test_free(t);
}

/* Idleness is a matter of the clock that the test moves. */
static void test_silence(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    visit_stream a = weir_source(visit, weir_test_pipeline(t), "test:a", .name = "a");
    visit_stream b = weir_source(visit, weir_test_pipeline(t), "test:b", .name = "b");
    visit_stream a_timed = weir_event_time(a, at, .idle_after = WEIR_SECOND), b_timed = weir_event_time(b, at);
    sight_stream seen = weir_apply(look, weir_union(a_timed, b_timed), .parallelism = 2);
    weir_test_push(t, b, (visit){.at = {100}});
    expect_sight(t, seen, 100, WEIR_NO_TIME);
    weir_test_push(t, b, (visit){.at = {101}});
    expect_sight(t, seen, 101, WEIR_NO_TIME); /* a holds time back */
    weir_test_advance(t, WEIR_SECOND);
    weir_test_push(t, b, (visit){.at = {102}});
    expect_sight(t, seen, 102, 100);
    weir_test_free(t);
}

WEIR_STATE(visits_so_far, (uint64_t, n))
WEIR_RECORD(visits_of, (int64_t, user), (uint64_t, n))
static void visits_merge(visits_so_far *into, const visits_so_far *from)
{
    into->n += from->n;
}
static void visits_result(const visit *key, const visits_so_far *acc, visits_of_out *out, weir_ctx *ctx)
{
    (void)ctx;
    visits_of_emit(out, (visits_of){.user = key->user, .n = acc->n});
}
WEIR_AGGREGATE(per_second, visit, in, visits_so_far, acc, visits_of, visits_merge, visits_result)
{
    (void)in;
    acc->n++;
}
WEIR_MAP(keep_visit, visit, in, visit, out)
{
    *out = *in;
    return true;
}

/* Late records can be pulled, and read by other operators: with the times that they have. */
static void test_late_records(void **state)
{
    (void)state;
    for (int taken = 0; taken < 2; taken++) {
        weir_test       *t = weir_test_new(NULL);
        visit_stream     visits = weir_source(visit, weir_test_pipeline(t), "test:");
        visit_stream     timed = weir_event_time(visits, at);
        visit_keyed      keyed = weir_key_by(timed, user);
        visits_of_stream sums = weir_apply(per_second, weir_window(keyed, weir_tumbling(1000)), .parallelism = 2);
        visit_stream     late = weir_late(per_second, sums);
        sight_stream     again = {0};
        if (taken) again = weir_apply(look, weir_apply(keep_visit, weir_rebalance(late), .parallelism = 3));
        visit     got;
        visits_of sum;
        weir_test_push(t, visits, (visit){.user = 1, .at = {500}});
        weir_test_push(t, visits, (visit){.user = 1, .at = {2500}});
        assert_true(weir_test_pull(t, sums, &sum));
        assert_int_equal(sum.n, 1);
        assert_false(weir_test_pull(t, late, &got));
        weir_test_push(t, visits, (visit){.user = 7, .at = {999}});
        assert_true(weir_test_pull(t, late, &got));
        assert_int_equal(got.user, 7);
        assert_int_equal(got.at.ns, 999);
        assert_false(weir_test_pull(t, late, &got));
        if (taken) expect_sight(t, again, 999, 2499);
        weir_test_push(t, visits, (visit){.user = 7, .at = {2000}}); /* behind, and not too late */
        assert_false(weir_test_pull(t, late, &got));
        weir_test_end(t);
        assert_null(weir_test_why(t));
        weir_test_free(t);
    }
}

static void time_where_there_is_none(void)
{
    weir_test   *t = weir_test_new(NULL);
    visit_stream visits = weir_source(visit, weir_test_pipeline(t), "test:");
    weir_apply(look, visits);
    weir_test_watermark(t, visits, (weir_time){1});
}

static void test_push_and_pull(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    line_stream  lines = weir_source(line, weir_test_pipeline(t), "test:", .name = "lines");
    word_stream  words = weir_apply(split, lines);
    tally_stream sums = weir_apply(count, weir_key_by(words, text), .parallelism = 3);
    tally        got;
    word         w;
    weir_test_push(t, lines, line_of("to be or a very-very-long-word-indeed to be"));
    assert_true(weir_test_pull(t, words, &w));
    assert_true(is(w.text, "to"));
    uint64_t to = 0, n = 0;
    while (weir_test_pull(t, sums, &got)) {
        n++;
        if (is(got.word, "to")) assert_int_equal(got.count, ++to);
        if (got.word.len > 12) assert_true(is(got.word, "very-very-long-word-indeed") || is(got.word, "a"));
    }
    assert_int_equal(n, 7);
    assert_int_equal(to, 2);
    assert_int_equal(weir_test_counter(t, "split", "tokens"), 7);
    assert_int_equal(weir_test_counter(t, "split", "others"), 0);
    assert_false(weir_test_pull(t, sums, &got));
    weir_test_push(t, lines, line_of("be"));
    assert_true(weir_test_pull(t, sums, &got));
    assert_int_equal(got.count, 3);
    assert_null(weir_test_why(t));
    weir_test_free(t);
}

/* A long chain shares buffers: what a tap in its middle sees must be what went by there. */
static void test_taps_see_every_stage(void **state)
{
    (void)state;
    weir_test  *t = weir_test_new(NULL);
    line_stream lines = weir_source(line, weir_test_pipeline(t), "test:", .name = "lines");
    word_stream words = weir_apply(split, lines), stage[6] = {0};
    for (int i = 0; i < 6; i++) {
        char uid[8];
        snprintf(uid, sizeof uid, "s%d", i);
        stage[i] = i % 2 ? weir_apply(long_enough, i ? stage[i - 1] : words, .uid = uid)
                         : weir_apply(strict, i ? stage[i - 1] : words, .uid = uid);
    }
    weir_test_push(t, lines, line_of("one a two b three"));
    static const char *const before[] = {"one", "a", "two", "b", "three"}, *const after[] = {"one", "two", "three"};
    word w;
    for (int i = 0; i < 6; i++) {
        const char *const *want = i == 0 ? before : after;
        for (int k = 0; k < (i == 0 ? 5 : 3); k++) {
            assert_true(weir_test_pull(t, stage[i], &w));
            assert_true(is(w.text, want[k]));
        }
        assert_false(weir_test_pull(t, stage[i], &w));
    }
    weir_test_free(t);
}

/* A route is the stream that it was made of, whether somebody takes it or not. */
static void test_routes_are_streams(void **state)
{
    (void)state;
    weir_test  *t = weir_test_new(NULL);
    line_stream lines = weir_source(line, weir_test_pipeline(t), "test:", .name = "lines");
    word_stream spread = weir_rebalance(weir_apply(split, lines)), all = weir_broadcast(spread);
    word_stream checked = weir_apply(strict, all);
    word_stream alone = weir_global(weir_rebalance(weir_apply(strict, spread, .uid = "alone")));
    word        w;
    weir_test_push(t, lines, line_of("one two"));
    assert_true(weir_test_pull(t, spread, &w) && is(w.text, "one"));
    assert_true(weir_test_pull(t, all, &w) && is(w.text, "two")); /* of the same records */
    assert_false(weir_test_pull(t, spread, &w));
    assert_true(weir_test_pull(t, checked, &w) && is(w.text, "one"));
    assert_true(weir_test_pull(t, alone, &w) && is(w.text, "one"));
    assert_null(weir_test_why(t));
    weir_test_free(t);
}

static void test_end_gives_window_results(void **state)
{
    (void)state;
    weir_test   *t = weir_test_new(NULL);
    word_stream  words = weir_source(word, weir_test_pipeline(t), "test:", .name = "words");
    tally_stream stamped = weir_apply(stamp, words);
    tally_stream sums = weir_apply(sum, weir_window(weir_key_by(stamped, word), weir_one_window()), .parallelism = 2);
    tally        got;
    weir_test_push(t, words, (word){.text = weir_lit("a")});
    weir_test_advance(t, 5 * WEIR_SECOND);
    weir_test_push(t, words, (word){.text = weir_lit("a")});
    assert_true(weir_test_pull(t, stamped, &got));
    assert_int_equal(got.count, 0);
    assert_true(weir_test_pull(t, stamped, &got));
    assert_int_equal(got.count, 5 * WEIR_SECOND);
    assert_false(weir_test_pull(t, sums, &got));
    weir_test_end(t);
    assert_true(weir_test_pull(t, sums, &got));
    assert_int_equal(got.count, 5 * WEIR_SECOND);
    assert_false(weir_test_pull(t, sums, &got));
    weir_test_end(t); /* twice does no harm */
    weir_test_free(t);
}

static void test_failure_says_why(void **state)
{
    (void)state;
    weir_test  *t = weir_test_new(NULL);
    word_stream words = weir_source(word, weir_test_pipeline(t), "test:", .name = "words");
    word_stream checked = weir_apply(strict, words);
    word        w;
    char        text[100];
    memset(text, 'x', sizeof text);
    weir_test_push(t, words, (word){.text = weir_lit("good")});
    weir_test_push(t, words, (word){.text = weir_str_of(text, sizeof text)});
    assert_non_null(weir_test_why(t));
    assert_non_null(strstr(weir_test_why(t), "too long; operator strict"));
    weir_test_push(t, words, (word){.text = weir_lit("late")});
    assert_true(weir_test_pull(t, checked, &w));
    assert_false(weir_test_pull(t, checked, &w));
    weir_test_free(t);
}

static void test_dead_letters(void **state)
{
    (void)state;
    weir_test       *t = weir_test_new(NULL);
    weir_pipeline   *p = weir_test_pipeline(t);
    word_stream      words = weir_source(word, p, "test:", .name = "words");
    word_stream      checked = weir_apply(strict, words, .on_error = WEIR_DEAD_LETTER);
    weir_dead_stream dead = weir_dead_letters(p);
    weir_dead        d;
    word             w;
    char             text[100];
    memset(text, 'x', sizeof text);
    weir_test_push(t, words, (word){.text = weir_str_of(text, sizeof text)});
    weir_test_push(t, words, (word){.text = weir_lit("good")});
    assert_null(weir_test_why(t));
    assert_true(weir_test_pull(t, dead, &d));
    assert_true(is(d.uid, "strict"));
    assert_true(is(d.reason, "too long"));
    assert_int_equal(d.record.raw.len, 4 + sizeof text); /* in the raw format: its length, its bytes */
    assert_memory_equal(weir_str_data(&d.record.raw) + 4, text, sizeof text);
    assert_false(weir_test_pull(t, dead, &d));
    assert_true(weir_test_pull(t, checked, &w));
    assert_true(is(w.text, "good"));
    weir_test_free(t);
}

static tally_stream built_sums;
static line_stream  built_lines;
static uint64_t     built_limit;
static void         build(weir_pipeline *p)
{
    built_limit = (uint64_t)weir_arg_i64(weir_args_of(p), "limit", 0);
    built_lines = weir_source(line, p, "file:///nowhere", .name = "lines");
    built_sums = weir_apply(count, weir_key_by(weir_apply(split, built_lines), text));
    weir_sink(built_sums, "print:", .name = "results");
}

static void test_a_whole_pipeline_with_other_ends(void **state)
{
    (void)state;
    weir_test *t = weir_test_new("limit=7 unit=km");
    tally      got;
    weir_test_build(t, build, "lines=test: results=blackhole:");
    assert_int_equal(built_limit, 7);
    weir_test_push(t, built_lines, line_of("x x"));
    assert_true(weir_test_pull(t, built_sums, &got));
    assert_true(weir_test_pull(t, built_sums, &got));
    assert_int_equal(got.count, 2);
    weir_test_free(t);
}

static uint64_t newest_count(weir_test *t, tally_stream sums, uint64_t *records)
{
    tally    got;
    uint64_t count = 0;
    for (*records = 0; weir_test_pull(t, sums, &got); ++*records) count = got.count;
    return count;
}

/* State goes back to the snapshot, and the source reads again what came since: the count ends where it was. */
static void test_crash_goes_back(void **state)
{
    (void)state;
    weir_test *t = weir_test_new(NULL);
    uint64_t   records, first;
    weir_test_build(t, build, "lines=test: results=blackhole:");
    first = weir_test_snapshot(t);
    for (uint32_t round = 1; round <= 3; round++) {
        weir_test_push(t, built_lines, line_of("x x"));
        assert_int_equal(weir_test_snapshot(t), first + round);
        weir_test_push(t, built_lines, line_of("x"));
        assert_int_equal(newest_count(t, built_sums, &records), 3 * round);
        assert_int_equal(records, 3);
        weir_test_crash(t);
        assert_int_equal(newest_count(t, built_sums, &records), 3 * round); /* not 3 * round + 1 */
        assert_int_equal(records, 1);
        weir_test_crash(t); /* once more, to the same */
        assert_int_equal(newest_count(t, built_sums, &records), 3 * round);
        assert_null(weir_test_why(t));
    }
    weir_test_end(t);
    assert_int_equal(weir_test_snapshot(t), first + 4);
    weir_test_crash(t);
    assert_int_equal(newest_count(t, built_sums, &records), 0); /* all had ended */
    weir_test_free(t);
}

static void test_nothing_was_built_or_run(void **state)
{
    (void)state;
    weir_test_free(weir_test_new(NULL));
    weir_test_free(NULL);
}

/* Runs `what` in a child; its standard error must hold `said`. */
static void aborts(void (*what)(void), const char *said)
{
    int  ends[2];
    char text[4096] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], 2);
        what();
        _exit(0);
    }
    close(ends[1]);
    size_t at = 0;
    for (ssize_t n; (n = read(ends[0], text + at, sizeof text - 1 - at)) > 0;) at += (size_t)n;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (strstr(text, said) == NULL) fail_msg("\"%s\" is not in: %s", said, text);
}

static void snapshot_late(void)
{
    weir_test  *t = weir_test_new(NULL);
    word_stream words = weir_source(word, weir_test_pipeline(t), "test:", .name = "words");
    weir_test_push(t, words, (word){.text = weir_lit("a")});
    weir_test_snapshot(t);
}
static void crash_now(void)
{
    weir_test_crash(weir_test_new(NULL));
}
static void batch_now(void)
{
    weir_test_batch(weir_test_new(NULL));
}
static void push_into_no_source(void)
{
    weir_test  *t = weir_test_new(NULL);
    word_stream words = weir_source(word, weir_test_pipeline(t), "test:", .name = "words");
    word_stream checked = weir_apply(strict, words);
    weir_test_push(t, checked, (word){.text = weir_lit("a")});
}
static void push_after_end(void)
{
    weir_test  *t = weir_test_new(NULL);
    word_stream words = weir_source(word, weir_test_pipeline(t), "test:", .name = "words");
    weir_test_end(t);
    weir_test_push(t, words, (word){.text = weir_lit("a")});
}
static void pull_from_a_union(void)
{
    weir_test  *t = weir_test_new(NULL);
    word_stream a = weir_source(word, weir_test_pipeline(t), "test:", .name = "a");
    word_stream b = weir_source(word, weir_test_pipeline(t), "test:", .name = "b"), both = weir_union(a, b);
    word        w;
    weir_apply(strict, both);
    weir_test_pull(t, weir_rebalance(both), &w);
}
static void wrong_uri(void)
{
    weir_test  *t = weir_test_new(NULL);
    word_stream words = weir_source(word, weir_test_pipeline(t), "tset:", .name = "words");
    weir_test_push(t, words, (word){.text = weir_lit("a")});
}

static void test_wrong_use_aborts_with_a_reason(void **state)
{
    (void)state;
    aborts(time_where_there_is_none, "visit has no event time");
    aborts(snapshot_late, "before the first push");
    aborts(crash_now, "no snapshot to go back to");
    aborts(batch_now, "not yet");
    aborts(push_into_no_source, "strict is no source");
    aborts(push_after_end, "weir_test_end");
    aborts(wrong_uri, "tset");
    aborts(pull_from_a_union, "pull: a union is no stream of its own here");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_and_pull),
        cmocka_unit_test(test_event_time),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_late_records),
        cmocka_unit_test(test_taps_see_every_stage),
        cmocka_unit_test(test_routes_are_streams),
        cmocka_unit_test(test_end_gives_window_results),
        cmocka_unit_test(test_failure_says_why),
        cmocka_unit_test(test_dead_letters),
        cmocka_unit_test(test_a_whole_pipeline_with_other_ends),
        cmocka_unit_test(test_crash_goes_back),
        cmocka_unit_test(test_nothing_was_built_or_run),
        cmocka_unit_test(test_wrong_use_aborts_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
