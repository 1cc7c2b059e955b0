/* WEIR_SPLIT and WEIR_SPLIT_WITH in whole pipelines give what a WEIR_FLAT_MAP with a cursor gives. */
#include "base/prng.h"
#include "connectors/format.h"
#include "operators/kernels.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weir/test.h>

#include <cmocka.h>

WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(word, (weir_str, text))
WEIR_RECORD(note, (int32_t, number), (weir_str, brief), (weir_time, at), (weir_str, text), (weir_str, tale),
            (WEIR_ARRAY_OF(int16_t, 5), marks))
WEIR_RECORD(part, (weir_str, tale), (WEIR_ARRAY_OF(int16_t, 5), marks), (weir_str, word), (uint8_t, other),
            (int32_t, number), (weir_str, brief))
/* With the event time that they came with. */
WEIR_RECORD(stamped, (weir_str, text), (weir_time, at))
WEIR_RECORD(seen, (weir_str, word), (weir_time, at), (int32_t, number))

/* ---- what is compared -------------------------------------------------------------------------------------------- */

WEIR_SPLIT(words, line, text, ' ', word, text)
WEIR_SPLIT_WITH(words_not_lines, line, text, ' ', word, text, text) /* the token counts, not the copy */
WEIR_SPLIT_WITH(parts, note, text, ' ', part, word, number, brief, tale, marks)
WEIR_SPLIT(bare_parts, note, text, ' ', part, word)
WEIR_FLAT_MAP(words_by_cursor, line, in, word, out)
{
    weir_cursor c = weir_str_cursor(&in->text);
    for (weir_str token; weir_next_token(&c, ' ', &token);) word_emit(out, (word){token});
}
WEIR_FLAT_MAP(parts_by_cursor, note, in, part, out)
{
    weir_cursor c = weir_str_cursor(&in->text);
    for (weir_str token; weir_next_token(&c, ' ', &token);) {
        part made = {.word = token, .number = in->number, .brief = in->brief, .tale = in->tale};
        memcpy(made.marks, in->marks, sizeof made.marks);
        part_emit(out, made);
    }
}
WEIR_FLAT_MAP(bare_parts_by_cursor, note, in, part, out)
{
    weir_cursor c = weir_str_cursor(&in->text);
    for (weir_str token; weir_next_token(&c, ' ', &token);) part_emit(out, (part){.word = token});
}
WEIR_FILTER(even, note, in)
{
    return in->number % 2 == 0;
}
WEIR_MAP(text_of, note, in, line, out)
{
    out->text = in->text;
    return true;
}
WEIR_FUSE(even_parts, even, parts)
WEIR_FUSE(text_words, text_of, words)
WEIR_MAP(stamp, word, in, stamped, out, ctx)
{
    *out = (stamped){.text = in->text, .at = weir_time_of(ctx)};
    return true;
}
WEIR_MAP(look, part, in, seen, out, ctx)
{
    *out = (seen){.word = in->word, .number = in->number, .at = weir_time_of(ctx)};
    return true;
}

/* ---- the source: notes over one text, which is borrowed as a file's window is ------------------------------------ */

enum { NOTES = 900, TEXT_BYTES = 700000, TALE_BYTES = 500, PLAIN_ASCII = 94 };
static struct made {
    char     text[TEXT_BYTES];
    uint32_t from[NOTES], bytes[NOTES], notes;
    bool     borrows;
} made;
static const char tale[TALE_BYTES] = "a tale that is told to all who ask for it, and to all others";

static void make_text(wr_prng *prng, uint32_t notes, uint32_t longest, bool borrows)
{
    size_t used = 0;
    made.notes = notes;
    made.borrows = borrows;
    for (uint32_t i = 0; i < notes; i++) {
        uint32_t bytes = (uint32_t)wr_prng_below(prng, wr_prng_one_in(prng, 4) ? 16 : 300);
        uint32_t apart = 2 + (uint32_t)wr_prng_below(prng, 20); /* a space is so likely */
        if (wr_prng_one_in(prng, 60)) bytes = (uint32_t)wr_prng_below(prng, longest + 1);
        if (i == notes / 2) bytes = longest;
        if (used + bytes >= TEXT_BYTES) bytes = 0;
        made.from[i] = (uint32_t)used;
        made.bytes[i] = bytes;
        for (uint32_t k = 0; k < bytes; k++)
            made.text[used++] = (char)(wr_prng_one_in(prng, apart) ? ' ' : '!' + wr_prng_below(prng, PLAIN_ASCII));
        made.text[used++] = '\n';
    }
}

static note note_of(uint32_t i)
{
    note n = {.number = (int32_t)i - 7, .at = {(int64_t)i * 1000}};
    n.text = weir_str_of(made.text + made.from[i], made.bytes[i]);
    n.brief = weir_str_of(tale + i % 9, i % 13);
    n.tale = weir_str_of(tale + i % 50, 13 + i % 400);
    for (int16_t k = 0; k < 5; k++) n.marks[k] = (int16_t)(k * (int16_t)i);
    return n;
}

static bool made_ends(const uint32_t *at)
{
    return *at == made.notes;
}

WEIR_RECORD(one, (uint32_t, index))
static void one_split(one_out *out, weir_ctx *ctx)
{
    (void)ctx;
    one_emit(out, (one){0});
}
typedef struct place {
    uint32_t at;
} place;
static bool place_open(const one *split, place *p, weir_ctx *ctx)
{
    return split != NULL && p != NULL && ctx != NULL;
}
static void place_close(place *p)
{
    (void)p;
}
WEIR_SOURCE(notes, one, split, place, p, note, out, ctx, one_split, place_open, place_close)
{
    (void)split;
    if (made.borrows) {
        out->out.borrowed = made.text;
        out->out.borrowed_bytes = sizeof made.text;
    }
    while (!made_ends(&p->at) && weir_room(&out->out)) note_emit(out, note_of(p->at++));
    return made_ends(&p->at) ? WEIR_END : WEIR_MORE;
}
WEIR_FUSE(notes_parts, notes, parts)

/* ---- comparison -------------------------------------------------------------------------------------------------- */

enum { PRINTED_BYTES = 1 << 17 };

/* The records of both streams, printed, are the same. Returns how many there are. */
static uint32_t assert_same(weir_test *t, weir_handle a, weir_handle b)
{
    static char       x[PRINTED_BYTES], y[PRINTED_BYTES];
    _Alignas(16) char record[256];
    for (uint32_t count = 0;; count++) {
        assert_true(a.type->size <= sizeof record && a.type->size == b.type->size);
        bool more = weir_test_pull_(t, a.node, a.type, record);
        if (more) assert_true(wr_record_print(a.type, record, x, sizeof x) < sizeof x - 1);
        if (weir_test_pull_(t, b.node, b.type, record) != more) fail_msg("one has more than %u records", count);
        if (!more) return count;
        wr_record_print(b.type, record, y, sizeof y);
        if (strcmp(x, y) != 0) fail_msg("record %u: %.300s, and not %.300s", count, x, y);
    }
}

static uint32_t words_of(uint32_t first, uint32_t step)
{
    uint32_t count = 0;
    for (uint32_t i = first; i < made.notes; i += step) {
        const char *text = made.text + made.from[i];
        for (uint32_t k = 0; k < made.bytes[i]; k++) count += text[k] != ' ' && (k == 0 || text[k - 1] == ' ');
    }
    return count;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

typedef struct shape {
    uint32_t notes, longest;
    bool     borrows;
} shape;
static const shape shapes[] = {{NOTES, 20000, true}, {NOTES, 20000, false}, {NOTES, 700, true},
                               {3, 20000, true},     {2, 4096, true},       {2, 0, false}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static weir_test *begin(uint32_t i)
{
    wr_prng prng = wr_prng_of(100 + i);
    make_text(&prng, shapes[i].notes, shapes[i].longest, shapes[i].borrows);
    return weir_test_new(NULL);
}

static void records_are_those_of_a_cursor(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHAPES; i++) {
        weir_test  *t = begin(i);
        note_stream in = weir_read(notes, weir_test_pipeline(t));
        line_stream lines = weir_apply(text_of, in);
        word_stream small = weir_apply(words, lines), small_too = weir_apply(words_by_cursor, lines);
        part_stream large = weir_apply(parts, in), large_too = weir_apply(parts_by_cursor, in);
        part_stream bare = weir_apply(bare_parts, in), bare_too = weir_apply(bare_parts_by_cursor, in);
        word_stream again = weir_apply(words_not_lines, lines),
                    again_too = weir_apply(words_by_cursor, lines, .uid = "again");
        uint32_t wanted = words_of(0, 1);
        assert_true(i > 0 || wanted > 10000); /* far more than an output has room for */
        assert_int_equal(assert_same(t, small.handle, small_too.handle), wanted);
        assert_int_equal(assert_same(t, again.handle, again_too.handle), wanted);
        assert_int_equal(assert_same(t, large.handle, large_too.handle), wanted);
        assert_int_equal(assert_same(t, bare.handle, bare_too.handle), wanted);
        assert_null(weir_test_why(t));
        weir_test_free(t);
    }
}

static void times_of_tokens_are_their_lines(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHAPES; i++) {
        weir_test     *t = begin(i);
        note_stream    in = weir_event_time(weir_read(notes, weir_test_pipeline(t)), at);
        line_stream    lines = weir_apply(text_of, in);
        word_stream    small = weir_apply(words, lines), small_too = weir_apply(words_by_cursor, lines);
        part_stream    large = weir_apply(parts, in);
        seen_stream    with_time = weir_apply(look, large);
        seen_stream    with_time_too = weir_apply(look, weir_apply(parts_by_cursor, in), .uid = "look-2");
        stamped_stream stamped = weir_apply(stamp, small), stamped_too = weir_apply(stamp, small_too, .uid = "stamp-2");
        seen           got;
        uint32_t       wanted = words_of(0, 1);
        assert_int_equal(assert_same(t, with_time.handle, with_time_too.handle), wanted);
        assert_int_equal(assert_same(t, stamped.handle, stamped_too.handle), wanted);
        assert_false(weir_test_pull(t, with_time, &got));
        assert_null(weir_test_why(t));
        weir_test_free(t);
        t = begin(i); /* and by what the note's number says */
        in = weir_event_time(weir_read(notes, weir_test_pipeline(t)), at);
        with_time = weir_apply(look, weir_apply(parts, in));
        for (; weir_test_pull(t, with_time, &got); wanted--) assert_int_equal(got.at.ns, (got.number + 7) * 1000);
        assert_int_equal(wanted, 0);
        weir_test_free(t);
    }
}

static void a_split_ends_a_fuse(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHAPES; i++) {
        weir_test  *t = begin(i);
        note_stream in = weir_read(notes, weir_test_pipeline(t));
        note_stream timed = weir_event_time(in, at);
        part_stream fused = weir_apply(even_parts, in);
        part_stream apart = weir_apply(parts_by_cursor, weir_apply(even, in));
        word_stream small = weir_apply(text_words, in);
        word_stream small_too = weir_apply(words_by_cursor, weir_apply(text_of, in));
        seen_stream with_time = weir_apply(look, weir_apply(even_parts, timed, .uid = "timed-1"));
        seen_stream with_time_too = weir_apply(
            look, weir_apply(parts_by_cursor, weir_apply(even, timed, .uid = "even-2"), .uid = "timed-2"),
            .uid = "look-2");
        part_stream from_source = weir_read(notes_parts, weir_test_pipeline(t), .name = "fused");
        part_stream by_cursor = weir_apply(parts_by_cursor, in, .uid = "whole");
        uint32_t    half = words_of(1, 2); /* note 1 has number -6 */
        assert_int_equal(assert_same(t, fused.handle, apart.handle), half);
        assert_int_equal(assert_same(t, small.handle, small_too.handle), words_of(0, 1));
        assert_int_equal(assert_same(t, with_time.handle, with_time_too.handle), half);
        assert_int_equal(assert_same(t, from_source.handle, by_cursor.handle), words_of(0, 1));
        assert_null(weir_test_why(t));
        weir_test_free(t);
    }
}

/* ---- strings that the output batch must own ---------------------------------------------------------------------- */

static uint32_t owned, lent;

static void look_at_strings(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    for (uint32_t i = 0; i < view->n; i++) {
        const part     *p = (const part *)(const void *)view->records + i;
        const weir_str *far[] = {&p->word, &p->brief, &p->tale};
        for (uint32_t k = 0; k < 3; k++) {
            if (far[k]->len <= WEIR_STR_INLINE) continue;
            bool within = (size_t)(far[k]->u.far - view->borrowed) < view->borrowed_bytes;
            assert_true(within != wr_scratch_holds(&op->home->scratch, far[k]->u.far));
            *(within ? &lent : &owned) += 1;
        }
    }
}

static void what_is_not_borrowed_is_copied(void **state)
{
    (void)state;
    static const wr_kernel kernel = {.name = "look", .push = look_at_strings};
    weir_op                nothing = {0};
    wr_home                home = {0};
    wr_node                node = {.op = &weir_op_parts, .uid = "parts", .name = "parts", .parallelism = 1};
    wr_op                  op = {.def = &weir_op_parts, .node = &node, .home = &home, .subtasks = 1};
    wr_op                  taker = {.def = &nothing, .node = &node, .home = &home, .kernel = &kernel};
    wr_errinfo             info = {0};
    wr_prng                prng = wr_prng_of(5);
    make_text(&prng, NOTES, 20000, true);
    note *all = malloc(NOTES * sizeof *all);
    assert_non_null(all);
    for (uint32_t i = 0; i < NOTES; i++) all[i] = note_of(i);
    assert_int_equal(wr_op_init(&op, &info), WR_OK);
    op.emit[0].target = calloc(1, sizeof(wr_target));
    assert_non_null(op.emit[0].target);
    op.emit[0].target[0].op = &taker;
    op.emit[0].targets = 1;
    for (uint32_t borrows = 0; borrows < 2; borrows++) {
        wr_view view = {.records = (const char *)all, .n = NOTES};
        if (borrows) view.borrowed = made.text;
        if (borrows) view.borrowed_bytes = sizeof made.text;
        owned = lent = 0;
        wr_op_push(&op, &view, 0);
        assert_true(owned > 10000 && (borrows ? lent > 500 : lent == 0));
    }
    wr_op_fini(&op);
    wr_scratch_fini(&home.scratch);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_those_of_a_cursor),
        cmocka_unit_test(times_of_tokens_are_their_lines),
        cmocka_unit_test(a_split_ends_a_fuse),
        cmocka_unit_test(what_is_not_borrowed_is_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
