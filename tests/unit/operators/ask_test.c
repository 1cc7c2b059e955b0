/* What a function asks for where it cannot be had: the task fails and says where, instead of a crash. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weir/test.h>

#include <cmocka.h>

WEIR_RECORD(part, (uint32_t, name))
WEIR_RECORD(number, (uint64_t, n))
WEIR_STATE(sum, (uint64_t, n))

static bool said(const weir_test *t, const char *text)
{
    if (weir_test_why(t) == NULL) return false;
    if (strstr(weir_test_why(t), text) == NULL) print_message("\"%s\" is not in: %s\n", text, weir_test_why(t));
    return strstr(weir_test_why(t), text) != NULL;
}

/* ---- a window, where there is none ---- */

static weir_span got_span;
WEIR_MAP(windowless, number, in, number, out, ctx)
{
    *out = *in;
    got_span = weir_window_of(ctx);
    return true;
}

static void test_a_map_has_no_window(void **state)
{
    (void)state;
    weir_test    *t = weir_test_new(NULL);
    number_stream in = weir_source(number, weir_test_pipeline(t), "test:");
    weir_apply(windowless, in);
    got_span.start.ns = 7;
    weir_test_push(t, in, (number){1});
    bool good = said(t, "weir_window_of: only a function that makes a window's result has one; operator windowless "
                        "subtask 0");
    weir_test_free(t);
    assert_true(good);
    assert_true(got_span.start.ns == WEIR_NO_TIME && got_span.end.ns == WEIR_NO_TIME);
}

/* ---- a state to forget, where there is none ---- */

WEIR_KEYED_READ(reads, number, in, sum, st, number, out, ctx)
{
    (void)in;
    (void)st;
    (void)out;
    weir_forget(ctx);
}
WEIR_FILTER(stateless, number, in, ctx)
{
    if (in->n == 1) weir_forget(ctx);
    return in->n == 1;
}
static void merge(sum *into, const sum *from)
{
    into->n += from->n;
}
static void result(const number *key, const sum *acc, number_out *out, weir_ctx *ctx)
{
    (void)key;
    (void)acc;
    (void)out;
    weir_forget(ctx);
}
WEIR_AGGREGATE(add_up, number, in, sum, acc, number, merge, result)
{
    acc->n += in->n;
}

static void test_nothing_to_forget(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        weir_test    *t = weir_test_new(NULL);
        number_stream in = weir_source(number, weir_test_pipeline(t), "test:");
        number_keyed  keyed = weir_key_by(in, n);
        if (which == 0) weir_apply(reads, keyed);
        if (which == 1) weir_apply(stateless, in);
        if (which == 2) weir_apply(add_up, weir_window(keyed, weir_one_window()));
        weir_test_push(t, in, (number){0});
        weir_test_push(t, in, (number){1});
        weir_test_end(t);
        const char *where[] = {"operator reads, record 0 of subtask 0;", "operator stateless, record 1 of subtask 0;",
                               "operator add_up, making a result, subtask 0;"};
        bool good = said(t, "weir_forget: there is no state here that could be dropped") && said(t, where[which]);
        weir_test_free(t);
        assert_true(good);
    }
}

/* ---- a time that never comes ---- */

static int64_t  wake_after;
static uint64_t polls;
typedef struct nothing {
    char none;
} nothing;
static void parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    part_emit(out, (part){1});
}
static bool part_open(const part *split, nothing *reader, weir_ctx *ctx)
{
    return split != NULL && reader != NULL && ctx != NULL;
}
static void part_close(nothing *reader)
{
    (void)reader;
}
WEIR_SOURCE(sleeper, part, split, nothing, reader, number, out, ctx, parts, part_open, part_close)
{
    (void)split;
    (void)reader;
    (void)out;
    polls++;
    weir_wake_after(ctx, wake_after);
    return WEIR_IDLE;
}

static void test_a_duration_beyond_the_end_of_time_is_never(void **state)
{
    (void)state;
    static const int64_t after[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX - 1000000000};
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
        weir_test *t = weir_test_new(NULL);
        weir_read(sleeper, weir_test_pipeline(t));
        wake_after = after[i];
        polls = 0;
        for (int hour = 0; hour < 10; hour++) weir_test_advance(t, WEIR_HOUR);
        assert_null(weir_test_why(t));
        weir_test_free(t);
        assert_int_equal(polls, 1);
    }
}

WEIR_MAP(no_source, number, in, number, out, ctx)
{
    *out = *in;
    if (in->n == 1)
        weir_wake_on_fd(ctx, 0);
    else
        weir_wake(weir_waker_of(ctx));
    return true;
}

static void test_only_a_source_is_woken(void **state)
{
    (void)state;
    static const char *const verb[] = {"weir_wake_on_fd", "weir_waker_of"};
    for (uint64_t i = 0; i < 2; i++) {
        char          text[128];
        weir_test    *t = weir_test_new(NULL);
        number_stream in = weir_source(number, weir_test_pipeline(t), "test:");
        weir_apply(no_source, in);
        weir_test_push(t, in, (number){i + 1});
        snprintf(text, sizeof text, "%s: call it in the open function or the body of a source; operator no_source",
                 verb[i]);
        bool good = said(t, text);
        weir_test_free(t);
        assert_true(good);
    }
}

static void list_and_wake(part_out *out, weir_ctx *ctx)
{
    weir_wake(weir_waker_of(ctx));
    part_emit(out, (part){1});
}
WEIR_SOURCE(wakes_early, part, p, nothing, r, number, out, ctx, list_and_wake, part_open, part_close)
{
    (void)p, (void)r, (void)out, (void)ctx;
    return WEIR_END;
}

static void test_enumerate_has_no_waker(void **state)
{
    (void)state;
    weir_test *t = weir_test_new(NULL);
    weir_read(wakes_early, weir_test_pipeline(t));
    weir_test_advance(t, WEIR_SECOND);
    bool good = said(t, "weir_waker_of: call it in the open function or the body of a source; operator wakes_early");
    weir_test_free(t);
    assert_true(good);
}

/* ---- resources ---- */

enum { PLACES = 8 };
typedef struct wide {
    _Alignas(64) char lane[64];
} wide;
static uint64_t misaligned;
static bool     wide_open(wide *self, const weir_args *args)
{
    misaligned += (uintptr_t)self % 64 != 0;
    for (size_t i = 0; i < sizeof self->lane; i++) misaligned += self->lane[i] != 0; /* zeroed */
    return args != NULL;
}
static void wide_close(wide *self)
{
    (void)self;
}
WEIR_RESOURCE(wide, wide_open, wide_close)
WEIR_FILTER(lanes, number, in, ctx)
{
    return wide_of(ctx) != NULL && in->n > 0;
}

static void test_resources_are_aligned(void **state)
{
    (void)state;
    weir_test    *t = weir_test_new(NULL);
    number_stream in = weir_source(number, weir_test_pipeline(t), "test:"), out[PLACES];
    number        got;
    char          uid[16];
    misaligned = 0;
    for (int i = 0; i < PLACES; i++) {
        snprintf(uid, sizeof uid, "lanes%d", i);
        out[i] = weir_apply(lanes, in, .uid = uid);
    }
    weir_test_push(t, in, (number){1});
    for (int i = 0; i < PLACES; i++) assert_true(weir_test_pull(t, out[i], &got));
    weir_test_free(t);
    assert_int_equal(misaligned, 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
typedef struct huge {
    char much[UINT32_C(3) << 30];
} huge;
static bool huge_open(huge *self, const weir_args *args)
{
    return self != NULL && args != NULL;
}
static void huge_close(huge *self)
{
    (void)self;
}
WEIR_RESOURCE(huge, huge_open, huge_close)
WEIR_FILTER(greedy, number, in, ctx)
{
    return huge_of(ctx) != NULL && in->n > 0;
}

static void ask_for_too_much(void)
{
    struct rlimit limit = {UINT64_C(2) << 30, UINT64_C(2) << 30};
    weir_test    *t = weir_test_new(NULL);
    number_stream in = weir_source(number, weir_test_pipeline(t), "test:");
    weir_apply(greedy, in);
    setrlimit(RLIMIT_AS, &limit);
    weir_test_push(t, in, (number){1});
}

static void test_no_memory_for_a_large_resource(void **state)
{
    (void)state;
    int  ends[2], status = 0;
    char text[1024] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], 2);
        ask_for_too_much();
        _exit(0);
    }
    close(ends[1]);
    size_t at = 0;
    for (ssize_t n; (n = read(ends[0], text + at, sizeof text - 1 - at)) > 0;) at += (size_t)n;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    if (strstr(text, "weir: no memory for resource huge (3221225472 bytes); operator greedy subtask 0") == NULL)
        fail_msg("it says: %s", text);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_map_has_no_window),
        cmocka_unit_test(test_nothing_to_forget),
        cmocka_unit_test(test_a_duration_beyond_the_end_of_time_is_never),
        cmocka_unit_test(test_only_a_source_is_woken),
        cmocka_unit_test(test_enumerate_has_no_waker),
        cmocka_unit_test(test_resources_are_aligned),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_no_memory_for_a_large_resource),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
