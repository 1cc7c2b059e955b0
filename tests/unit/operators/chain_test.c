/* A batch on its way through a chain: growing outputs, larger records, shared buffers, strings, rejects, resources. Run
 * by the test harness, so that what goes by can be seen at every stage. */
#include "base/limits.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/test.h>

#include <cmocka.h>

enum { WIDE = 800 };
WEIR_RECORD(number, (uint64_t, n))
WEIR_RECORD(wide, (uint64_t, n), (WEIR_ARRAY_OF(uint64_t, WIDE), more))
WEIR_RECORD(named, (uint64_t, n), (weir_str, name), (weir_str, other))
WEIR_RECORD(part, (uint32_t, index))

/* ---- the source: 0 ... count - 1, as many at a time as there is room ---- */
static uint64_t source_count;
static void     parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    part_emit(out, (part){0});
}
typedef struct place {
    uint64_t at;
} place;
static bool place_open(const part *split, place *p, weir_ctx *ctx)
{
    return split != NULL && p != NULL && ctx != NULL;
}
static void place_close(place *p)
{
    (void)p;
}
WEIR_SOURCE(numbers, part, split, place, p, number, out, ctx, parts, place_open, place_close)
{
    (void)split;
    while (p->at < source_count && weir_room(&out->out)) number_emit(out, (number){.n = p->at++});
    return p->at < source_count ? WEIR_MORE : WEIR_END;
}

typedef struct fixture {
    weir_test    *t;
    number_stream in;
} fixture;
static fixture begin(uint64_t count)
{
    fixture f;
    source_count = count;
    f.t = weir_test_new(NULL);
    f.in = weir_read(numbers, weir_test_pipeline(f.t));
    return f;
}

/* ---- growing and pieces ---- */

enum { COPIES = 3000 };
WEIR_FLAT_MAP(many, number, in, number, out)
{
    for (uint64_t i = 0; i < COPIES; i++) number_emit(out, (number){.n = in->n * COPIES + i});
}
WEIR_FILTER(even, number, in)
{
    return in->n % 2 == 0;
}

static void test_an_output_grows_in_the_middle_of_a_loop(void **state)
{
    (void)state;
    fixture       f = begin(20);
    number_stream all = weir_apply(many, f.in), half = weir_apply(even, all);
    number        got;
    for (uint64_t i = 0; i < 20 * COPIES; i++) {
        assert_true(weir_test_pull(f.t, all, &got));
        assert_int_equal(got.n, i);
    }
    assert_false(weir_test_pull(f.t, all, &got));
    for (uint64_t i = 0; i < 20 * COPIES; i += 2) {
        assert_true(weir_test_pull(f.t, half, &got));
        assert_int_equal(got.n, i);
    }
    assert_false(weir_test_pull(f.t, half, &got));
    weir_test_free(f.t);
}

WEIR_MAP(widen, number, in, wide, out)
{
    out->n = in->n;
    for (uint64_t i = 0; i < WIDE; i++) out->more[i] = in->n + i;
    return true;
}
WEIR_MAP(narrow, wide, in, number, out)
{
    out->n = in->n;
    for (uint64_t i = 0; i < WIDE; i++) {
        if (in->more[i] != in->n + i) return false;
    }
    return true;
}

static void test_larger_records_are_made_in_pieces(void **state)
{
    (void)state;
    fixture       f = begin(9000);
    wide_stream   large = weir_apply(widen, f.in);
    number_stream small = weir_apply(narrow, large), again = weir_apply(narrow, weir_rebalance(large), .uid = "again");
    number        got;
    for (uint64_t i = 0; i < 9000; i++) {
        assert_true(weir_test_pull(f.t, small, &got));
        assert_int_equal(got.n, i);
        assert_true(weir_test_pull(f.t, again, &got));
        assert_int_equal(got.n, i);
    }
    assert_false(weir_test_pull(f.t, small, &got));
    assert_null(weir_test_why(f.t));
    weir_test_free(f.t);
}

/* ---- shared buffers ---- */

WEIR_MAP(add_one, number, in, number, out)
{
    out->n = in->n + 1;
    return true;
}
WEIR_FILTER(not_of_seven, number, in)
{
    return in->n % 7 != 0;
}

/* Reads `stage` and holds it against the sequence that it must be. */
static void expect(weir_test *t, number_stream stage, const uint64_t *want, uint64_t count, const char *what)
{
    number got;
    for (uint64_t i = 0; i < count; i++) {
        if (!weir_test_pull(t, stage, &got)) fail_msg("%s: only %lu records", what, (unsigned long)i);
        if (got.n != want[i]) fail_msg("%s: record %lu is %lu", what, (unsigned long)i, (unsigned long)got.n);
    }
    if (weir_test_pull(t, stage, &got)) fail_msg("%s: a record too many", what);
}

static void test_long_runs_of_maps_with_branches(void **state)
{
    (void)state;
    enum { STAGES = 12, COUNT = 9000 };
    for (int branch = -1; branch < STAGES; branch++) { /* another reader behind one of the stages */
        fixture         f = begin(COUNT);
        number_stream   stage[STAGES], other[2];
        static uint64_t want[COUNT], of_branch[COUNT];
        uint64_t        count = COUNT, branch_count = 0;
        char            uid[24];
        for (int i = 0; i < STAGES; i++) {
            number_stream from = i ? stage[i - 1] : f.in;
            snprintf(uid, sizeof uid, "stage%d", i);
            stage[i] = i % 4 == 2 ? weir_apply(not_of_seven, from, .uid = uid) : weir_apply(add_one, from, .uid = uid);
            if (i != branch) continue;
            other[0] = weir_apply(add_one, stage[i], .uid = "branch");
            other[1] = weir_apply(add_one, other[0], .uid = "branch2");
        }
        for (uint64_t i = 0; i < COUNT; i++) want[i] = i;
        for (int i = 0; i < STAGES; i++) {
            uint64_t kept = 0;
            for (uint64_t k = 0; k < count; k++) {
                if (i % 4 == 2 && want[k] % 7 == 0) continue;
                want[kept++] = i % 4 == 2 ? want[k] : want[k] + 1;
            }
            count = kept;
            snprintf(uid, sizeof uid, "branch %d stage %d", branch, i);
            expect(f.t, stage[i], want, count, uid);
            if (i != branch) continue;
            branch_count = count;
            for (uint64_t k = 0; k < count; k++) of_branch[k] = want[k] + 2;
        }
        if (branch >= 0) expect(f.t, other[1], of_branch, branch_count, "branch");
        weir_test_free(f.t);
    }
}

/* ---- strings: borrowed, owned, kept, made ---- */

static void long_name(char to[64], uint64_t n, char tag)
{
    memset(to, tag, 64);
    snprintf(to, 64, "%lu", (unsigned long)n);
}
WEIR_FLAT_MAP(name, number, in, named, out)
{
    char local[64];
    long_name(local, in->n, 'f');
    named_emit(out,
               (named){.n = in->n, .name = weir_str_of(local, sizeof local), .other = weir_str_of(local, in->n % 13)});
    memset(local, 0, sizeof local);
}
WEIR_MAP(rename, named, in, named, out, ctx)
{
    char local[64];
    long_name(local, in->n, 'm');
    *out = *in;
    out->other = in->name; /* borrowed */
    out->name = in->n % 2 ? weir_keep(ctx, local, sizeof local)
                          : weir_format(ctx, "%lu and %060lu", (unsigned long)in->n, 7lu);
    memset(local, 0, sizeof local);
    return true;
}
WEIR_FILTER(most, named, in)
{
    return in->n % 10 != 0;
}
WEIR_STATE(last_name, (weir_text, name))
WEIR_KEYED(previous, named, in, last_name, st, named, out, ctx)
{
    named_emit(
        out,
        (named){.n = in->n, .name = weir_text_get(ctx, &st->name), .other = in->name}); /* of the cell; of the batch */
    weir_text_set(ctx, &st->name, in->name);
}

static void is_name(weir_str s, uint64_t n, const char *what)
{
    char want[96];
    if (n % 2)
        long_name(want, n, 'm');
    else
        snprintf(want, sizeof want, "%lu and %060lu", (unsigned long)n, 7lu);
    size_t length = n % 2 ? 64 : strlen(want);
    if (s.len != length || memcmp(weir_str_data(&s), want, length) != 0)
        fail_msg("%s of %lu is broken", what, (unsigned long)n);
}

static void test_strings_live_long_enough(void **state)
{
    (void)state;
    enum { COUNT = 6000 };
    fixture      f = begin(COUNT);
    named_stream names = weir_apply(name, f.in), renamed = weir_apply(rename, names), kept = weir_apply(most, renamed);
    named_stream behind = weir_apply(
        previous, weir_key_by(weir_apply(most, weir_rebalance(kept), .uid = "most2", .parallelism = 3), n));
    named got;
    char  first[64];
    for (uint64_t i = 0; i < COUNT; i++) {
        if (i % 10 == 0) continue;
        assert_true(weir_test_pull(f.t, kept, &got));
        assert_int_equal(got.n, i);
        is_name(got.name, i, "name");
        long_name(first, i, 'f');
        assert_int_equal(got.other.len, 64);
        assert_memory_equal(weir_str_data(&got.other), first, 64);
    }
    uint64_t n = 0;
    for (; weir_test_pull(f.t, behind, &got); n++) {
        is_name(got.other, got.n, "name by key");
        assert_int_equal(got.name.len, 0); /* each key comes once */
    }
    assert_int_equal(n, COUNT - COUNT / 10);
    weir_test_free(f.t);
}

/* The previous value is in a cell that changes while its string is on the way. */
WEIR_MAP(same_key, named, in, named, out)
{
    *out = *in;
    out->n = in->n % 3;
    return true;
}
static void test_a_string_of_a_cell_outlives_the_cell(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    fixture      f = begin(COUNT);
    named_stream names = weir_apply(name, f.in);
    named_stream behind = weir_apply(previous, weir_key_by(weir_apply(same_key, names), n));
    named        got;
    char         want[64];
    for (uint64_t i = 0, n = 0; i < COUNT; i++, n++) {
        assert_true(weir_test_pull(f.t, behind, &got));
        if (i < 3) continue;
        long_name(want, i - 3, 'f');
        if (got.name.len != 64 || memcmp(weir_str_data(&got.name), want, 64) != 0)
            fail_msg("record %lu", (unsigned long)i);
    }
    weir_test_free(f.t);
}

WEIR_FLAT_MAP(hoard, number, in, named, out, ctx)
{
    static char much[1 << 20];
    if (in->n != 2) return;
    for (int i = 0; i < 70; i++) named_emit(out, (named){.name = weir_keep(ctx, much, sizeof much)});
}
static void test_one_call_cannot_keep_more_than_its_bound(void **state)
{
    (void)state;
    fixture      f = begin(5);
    named_stream kept = weir_apply(hoard, f.in);
    named        got;
    weir_test_pull(f.t, kept, &got);
    assert_non_null(weir_test_why(f.t));
    assert_non_null(strstr(weir_test_why(f.t), "one call kept more than 64 MiB of strings; operator hoard"));
    weir_test_free(f.t);
}

/* ---- rejects ---- */

WEIR_MAP(strict, number, in, wide, out, ctx)
{
    out->n = in->n;
    if (in->n % 1000 == 777) return weir_reject(ctx, "no good");
    return in->n % 1000 != 778;
}

static void test_a_reject_names_its_record(void **state)
{
    (void)state;
    fixture     f = begin(5000);
    wide_stream checked = weir_apply(strict, f.in);
    wide        got;
    weir_test_pull(f.t, checked, &got);
    assert_non_null(strstr(weir_test_why(f.t), "no good; operator strict, record 777 of subtask 0;"));
    weir_test_free(f.t);
}

static void test_skip_and_dead_letter(void **state)
{
    (void)state;
    for (int dead = 0; dead < 2; dead++) {
        fixture          f = begin(5000);
        wide_stream      checked = weir_apply(strict, f.in, .on_error = dead ? WEIR_DEAD_LETTER : WEIR_SKIP);
        weir_dead_stream letters = {0};
        if (dead) letters = weir_dead_letters(weir_test_pipeline(f.t));
        wide      got;
        weir_dead letter;
        uint64_t  n = 0;
        for (uint64_t i = 0; i < 5000; i++) {
            if (i % 1000 == 777 || i % 1000 == 778) continue;
            assert_true(weir_test_pull(f.t, checked, &got));
            assert_int_equal(got.n, i);
        }
        assert_false(weir_test_pull(f.t, checked, &got));
        for (; dead && weir_test_pull(f.t, letters, &letter); n++) {
            const char *why = n % 2 ? "the map function returned false" : "no good";
            char        position[40];
            number      raw;
            snprintf(position, sizeof position, "record %lu of subtask 0", (unsigned long)(n / 2 * 1000 + 777 + n % 2));
            assert_int_equal(letter.reason.len, strlen(why));
            assert_memory_equal(weir_str_data(&letter.reason), why, strlen(why));
            assert_int_equal(letter.position.len, strlen(position));
            assert_memory_equal(weir_str_data(&letter.position), position, strlen(position));
            assert_int_equal(letter.record.raw.len, sizeof raw);
            memcpy(&raw, weir_str_data(&letter.record.raw), sizeof raw);
            assert_int_equal(raw.n, n / 2 * 1000 + 777 + n % 2);
        }
        assert_int_equal(n, dead ? 10 : 0);
        assert_null(weir_test_why(f.t));
        weir_test_free(f.t);
    }
}

static uint64_t calls_after_fail;
WEIR_MAP(fails, number, in, number, out, ctx)
{
    *out = *in;
    if (in->n > 100) calls_after_fail++;
    if (in->n == 100) weir_fail(ctx, "cannot go on");
    return true;
}
static void test_no_record_after_weir_fail(void **state)
{
    (void)state;
    fixture       f = begin(3000);
    number_stream out = weir_apply(fails, f.in);
    number        got;
    calls_after_fail = 0;
    weir_test_pull(f.t, out, &got);
    assert_non_null(strstr(weir_test_why(f.t), "cannot go on; operator fails subtask 0"));
    assert_int_equal(calls_after_fail, 0);
    weir_test_free(f.t);
}

/* ---- resources and metrics ---- */

static int opened, closed;
typedef struct table_of {
    int id;
} table_of;
static bool table_open(table_of *r, const weir_args *args)
{
    r->id = ++opened;
    return weir_arg_i64(args, "works", 1) != 0;
}
static void table_close(table_of *r)
{
    (void)r;
    closed++;
}
WEIR_RESOURCE(table_of, table_open, table_close)
static const weir_counter   seen = {"seen"};
static const weir_gauge     level = {"level"};
static const weir_histogram sizes = {"sizes"};
WEIR_MAP(uses, number, in, number, out, ctx)
{
    *out = *in;
    weir_counter_add(ctx, &seen, 2);
    weir_gauge_set(ctx, &level, 0.5);
    weir_histogram_add(ctx, &sizes, in->n);
    return table_of_of(ctx)->id > 0;
}

static void test_a_resource_opens_once_in_each_subtask(void **state)
{
    (void)state;
    fixture       f = begin(4000);
    number_stream out = weir_apply(uses, weir_rebalance(f.in), .parallelism = 3);
    number        got;
    opened = closed = 0;
    for (uint64_t i = 0; i < 4000; i++) assert_true(weir_test_pull(f.t, out, &got));
    assert_int_equal(opened, 3);
    assert_int_equal(weir_test_counter(f.t, "uses", "seen"), 8000);
    assert_int_equal(weir_test_counter(f.t, "uses", "level"), 0); /* no counter */
    weir_test_free(f.t);
    assert_int_equal(closed, 3);
}

static void test_a_resource_that_does_not_open_fails_the_task(void **state)
{
    (void)state;
    fixture       f = begin(10);
    number_stream out = weir_apply(uses, f.in, .args = "works=0");
    number        got;
    opened = closed = 0;
    weir_test_pull(f.t, out, &got);
    assert_non_null(strstr(weir_test_why(f.t), "resource table_of did not open; operator uses subtask 0"));
    weir_test_free(f.t);
    assert_int_equal(opened, closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_output_grows_in_the_middle_of_a_loop),
        cmocka_unit_test(test_larger_records_are_made_in_pieces),
        cmocka_unit_test(test_long_runs_of_maps_with_branches),
        cmocka_unit_test(test_strings_live_long_enough),
        cmocka_unit_test(test_a_string_of_a_cell_outlives_the_cell),
        cmocka_unit_test(test_one_call_cannot_keep_more_than_its_bound),
        cmocka_unit_test(test_a_reject_names_its_record),
        cmocka_unit_test(test_skip_and_dead_letter),
        cmocka_unit_test(test_no_record_after_weir_fail),
        cmocka_unit_test(test_a_resource_opens_once_in_each_subtask),
        cmocka_unit_test(test_a_resource_that_does_not_open_fails_the_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
