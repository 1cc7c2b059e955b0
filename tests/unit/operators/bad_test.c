/* Bad records: what a dead letter has of them, and where it says that they were. */
#include "base/limits.h"
#include "wire/record.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/test.h>

#include <cmocka.h>

enum { LONG = 40, WIDE = 800, COUNT = 1000, EVIL = 2 };
WEIR_RECORD(part, (uint32_t, name), (uint64_t, next), (int32_t, step))
WEIR_RECORD(number, (uint64_t, n))
WEIR_RECORD(wide, (uint64_t, n), (WEIR_ARRAY_OF(uint64_t, WIDE), more))
WEIR_RECORD(named, (bool, odd), (weir_str, name), (uint64_t, n), (weir_str, other))
WEIR_STATE(timed, (uint64_t, n), (weir_event_timer, ends))
WEIR_STATE(sum, (uint64_t, n))

static bool is(weir_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(weir_str_data(&s), text, s.len) == 0;
}
static void fails_with(weir_test *t, const char *text)
{
    assert_non_null(weir_test_why(t));
    if (strstr(weir_test_why(t), text) == NULL) fail_msg("\"%s\" is not in: %s", text, weir_test_why(t));
}

/* ---- what a letter has ---- */

static void far_text(char to[LONG], char first)
{
    memset(to, 'x', LONG);
    to[0] = first;
}
static named one_named(const char text[LONG])
{
    return (named){.odd = true, .name = weir_str_of(text, LONG), .n = 7, .other = weir_lit("short")};
}

WEIR_MAP(refuse, named, in, named, out, ctx)
{
    *out = *in;
    return weir_reject(ctx, "not that one, whatever it is");
}

static void is_one_named(weir_str raw)
{
    char  text[LONG], bytes[256];
    named got;
    assert_in_range(raw.len, 1, sizeof bytes);
    memcpy(bytes, weir_str_data(&raw), raw.len);
    assert_int_equal(raw.len, 1 + 4 + LONG + 8 + 4 + 5); /* nothing of the struct */
    assert_true(wr_record_decode(&weir_type_named, bytes, raw.len, &got));
    far_text(text, 'a');
    assert_true(got.odd && got.n == 7 && is(got.other, "short"));
    assert_int_equal(got.name.len, LONG);
    assert_memory_equal(weir_str_data(&got.name), text, LONG);
}

static void test_a_letter_has_the_record_with_its_strings(void **state)
{
    (void)state;
    weir_test       *t = weir_test_new(NULL);
    weir_pipeline   *p = weir_test_pipeline(t);
    named_stream     in = weir_source(named, p, "test:");
    weir_dead_stream letters = weir_dead_letters(p);
    weir_dead        letter;
    char             text[LONG];
    weir_apply(refuse, in, .on_error = WEIR_DEAD_LETTER);
    far_text(text, 'a');
    weir_test_push(t, in, one_named(text));
    memset(text, 0, sizeof text);
    assert_true(weir_test_pull(t, letters, &letter));
    is_one_named(letter.record.raw);
    assert_true(is(letter.position, "record 0 of subtask 0"));
    weir_test_free(t);
}

typedef struct writer {
    bool refuses_flush;
} writer;
static bool writer_open(writer *w, weir_ctx *ctx)
{
    w->refuses_flush = weir_arg_i64(weir_ctx_args(ctx), "flush", 0) != 0;
    return true;
}
static bool writer_flush(writer *w, weir_ctx *ctx)
{
    if (w->refuses_flush) weir_reject(ctx, "it cannot be made safe, for reasons of its own");
    return true;
}
static void writer_close(writer *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
}
WEIR_SINK(store, named, in, writer, w, ctx, writer_open, writer_flush, writer_close)
{
    (void)in;
    if (!w->refuses_flush) weir_reject(ctx, "not that one, whatever it is");
}

static void test_letters_of_a_sink(void **state)
{
    (void)state;
    weir_test       *t = weir_test_new(NULL);
    weir_pipeline   *p = weir_test_pipeline(t);
    named_stream     in = weir_source(named, p, "test:");
    weir_dead_stream letters = weir_dead_letters(p);
    weir_dead        letter;
    char             text[LONG];
    weir_write(store, in, .on_error = WEIR_DEAD_LETTER, .blocking = WEIR_ON_SLOT);
    far_text(text, 'a');
    weir_test_push(t, in, one_named(text));
    assert_true(weir_test_pull(t, letters, &letter)); /* now, not when many have come together */
    is_one_named(letter.record.raw);
    assert_true(is(letter.reason, "not that one, whatever it is"));
    weir_test_free(t);
}

/* There is no record then: what was written before is not taken for it. */
static void test_a_letter_of_a_flush(void **state)
{
    (void)state;
    weir_test       *t = weir_test_new("flush=1");
    weir_pipeline   *p = weir_test_pipeline(t);
    named_stream     in = weir_source(named, p, "test:");
    weir_dead_stream letters = weir_dead_letters(p);
    weir_dead        letter;
    char             text[LONG];
    weir_write(store, in, .on_error = WEIR_DEAD_LETTER, .blocking = WEIR_ON_SLOT);
    far_text(text, 'a');
    weir_test_push(t, in, one_named(text));
    weir_test_end(t);
    assert_true(weir_test_pull(t, letters, &letter));
    assert_int_equal(letter.record.raw.len, 0);
    assert_true(is(letter.reason, "it cannot be made safe, for reasons of its own"));
    assert_true(is(letter.position, "in its flush function, subtask 0"));
    weir_test_free(t);
}

/* ---- where it was ---- */

static void on_end(const named *key, timed *st, named_out *out, weir_ctx *ctx)
{
    (void)key;
    (void)st;
    (void)out;
    weir_reject(ctx, "too late");
}
WEIR_KEYED(wait_for, named, in, timed, st, named, out, ctx, on_end)
{
    (void)in;
    (void)out;
    weir_event_timer_set(ctx, &st->ends, (weir_time){5});
}

static void test_a_timer_has_a_key_and_no_number(void **state)
{
    (void)state;
    weir_test       *t = weir_test_new(NULL);
    weir_pipeline   *p = weir_test_pipeline(t);
    named_stream     in = weir_source(named, p, "test:");
    weir_dead_stream letters = weir_dead_letters(p);
    weir_dead        letter;
    named            got;
    char             text[LONG], bytes[256];
    weir_apply(wait_for, weir_key_by(in, name), .on_error = WEIR_DEAD_LETTER);
    far_text(text, 'k');
    weir_test_push(t, in, one_named(text));
    weir_test_end(t);
    assert_true(weir_test_pull(t, letters, &letter));
    assert_true(is(letter.position, "in its timer function, subtask 0"));
    assert_in_range(letter.record.raw.len, 1, sizeof bytes);
    memcpy(bytes, weir_str_data(&letter.record.raw), letter.record.raw.len);
    assert_true(wr_record_decode(&weir_type_named, bytes, letter.record.raw.len, &got));
    assert_int_equal(got.n, 0);
    assert_int_equal(got.name.len, LONG);
    assert_memory_equal(weir_str_data(&got.name), text, LONG);
    weir_test_free(t);
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
    weir_reject(ctx, "it does not add up");
}
WEIR_AGGREGATE(add_up, number, in, sum, acc, number, merge, result)
{
    acc->n += in->n;
}

static void test_a_result_has_no_number(void **state)
{
    (void)state;
    weir_test    *t = weir_test_new(NULL);
    number_stream in = weir_source(number, weir_test_pipeline(t), "test:");
    weir_apply(add_up, weir_window(weir_key_by(in, n), weir_one_window()));
    weir_test_push(t, in, (number){3});
    weir_test_end(t);
    fails_with(t, "it does not add up; operator add_up, making a result, subtask 0; correct");
    weir_test_free(t);
}

typedef struct nothing {
    char none;
} nothing;
static void parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    part_emit(out, (part){.name = 3, .step = -1});
}
static bool part_open(const part *split, nothing *reader, weir_ctx *ctx)
{
    return split != NULL && reader != NULL && ctx != NULL;
}
static void part_close(nothing *reader)
{
    (void)reader;
}
WEIR_SOURCE(numbers, part, split, nothing, reader, number, out, ctx, parts, part_open, part_close)
{
    (void)reader;
    (void)ctx;
    for (; split->next < COUNT && weir_room(&out->out); split->next++) number_emit(out, (number){split->next});
    return split->next < COUNT ? WEIR_MORE : WEIR_END;
}
WEIR_MAP(no_evil, number, in, number, out)
{
    *out = *in;
    return in->n != EVIL;
}
WEIR_FUSE(good_numbers, numbers, no_evil)

static void test_a_source_has_a_split_and_its_position(void **state)
{
    (void)state;
    weir_test *t = weir_test_new(NULL);
    number     got;
    weir_test_pull(t, weir_read(good_numbers, weir_test_pipeline(t)), &got);
    fails_with(t,
               "the map function returned false; operator good_numbers, subtask 0, split 3 (next 2, step -1); correct");
    weir_test_free(t);
}

/* ---- true after a reject ---- */

/* One is rejected and emitted; the one with the same index in the next piece is just bad. */
static uint64_t first_piece; /* records: so many fit into the output */
WEIR_MAP(widen, number, in, wide, out, ctx)
{
    out->n = in->n;
    if (in->n == EVIL) weir_reject(ctx, "so so");
    return in->n != EVIL + first_piece;
}

static void test_a_reject_is_of_one_piece(void **state)
{
    (void)state;
    weir_test       *t = weir_test_new(NULL);
    weir_pipeline   *p = weir_test_pipeline(t);
    number_stream    in = weir_read(numbers, p);
    wide_stream      larger = weir_apply(widen, in, .on_error = WEIR_DEAD_LETTER);
    weir_dead_stream letters = weir_dead_letters(p);
    weir_dead        letter;
    wide             got;
    uint64_t         n = 0;
    first_piece = WR_CHAIN_BYTES / sizeof(wide);
    assert_in_range(first_piece, 1, COUNT / 2);
    while (weir_test_pull(t, larger, &got)) n++;
    assert_int_equal(n, COUNT - 1); /* rejected and true: it goes on */
    assert_true(weir_test_pull(t, letters, &letter));
    assert_true(is(letter.reason, "so so"));
    assert_true(weir_test_pull(t, letters, &letter));
    assert_true(is(letter.reason, "the map function returned false"));
    assert_false(weir_test_pull(t, letters, &letter));
    weir_test_free(t);
}

/* The same where a source is fused, which has no indices: the two stand one behind the other. */
WEIR_MAP(so_so, number, in, number, out, ctx)
{
    *out = *in;
    if (in->n == EVIL) weir_reject(ctx, "so so");
    return in->n != EVIL + 1;
}
WEIR_FUSE(fused_so_so, numbers, so_so)

static void test_a_reject_is_of_one_record_of_a_fused_source(void **state)
{
    (void)state;
    weir_test       *t = weir_test_new(NULL);
    weir_pipeline   *p = weir_test_pipeline(t);
    number_stream    in = weir_read(fused_so_so, p, .on_error = WEIR_DEAD_LETTER);
    weir_dead_stream letters = weir_dead_letters(p);
    weir_dead        letter;
    number           got;
    uint64_t         n = 0;
    while (weir_test_pull(t, in, &got)) n++;
    assert_int_equal(n, COUNT - 1);
    assert_true(weir_test_pull(t, letters, &letter));
    assert_true(is(letter.reason, "so so"));
    assert_true(weir_test_pull(t, letters, &letter));
    assert_true(is(letter.reason, "the map function returned false"));
    assert_false(weir_test_pull(t, letters, &letter));
    weir_test_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_letter_has_the_record_with_its_strings),
        cmocka_unit_test(test_letters_of_a_sink),
        cmocka_unit_test(test_a_timer_has_a_key_and_no_number),
        cmocka_unit_test(test_a_result_has_no_number),
        cmocka_unit_test(test_a_source_has_a_split_and_its_position),
        cmocka_unit_test(test_a_reject_is_of_one_piece),
        cmocka_unit_test(test_a_reject_is_of_one_record_of_a_fused_source),
        cmocka_unit_test(test_a_letter_of_a_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
