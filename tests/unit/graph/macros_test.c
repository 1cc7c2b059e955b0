/* What the macros say reaches the graph: the pipelines of a user's file, built here. */
#include <weir/pipeline.h>
// the pipeline first: it must not lean on anything of the engine
#include "fixture.h"

WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(word, (weir_str, text), (uint32_t, length))
WEIR_RECORD(tally, (weir_str, word), (uint64_t, count))
WEIR_STATE(counter, (uint64_t, seen))
WEIR_OUTPUTS(routed, (word, words), (line, too_long))

WEIR_FLAT_MAP(split, line, in, routed, out)
{
    if (in->text.len > 1000) line_emit(&out->too_long, *in);
    weir_cursor c = weir_str_cursor(&in->text);
    for (weir_str token; weir_next_token(&c, ' ', &token);) word_emit(&out->words, (word){.text = token});
}

WEIR_FILTER(not_empty, word, in)
{
    return in->text.len > 0;
}

WEIR_KEYED(tally_up, word, in, counter, state, tally, out)
{
    tally_emit(out, (tally){.word = in->text, .count = ++state->seen});
}

WEIR_REDUCE(longest, word, so_far, in)
{
    if (in->length > so_far->length) *so_far = *in;
}

static void build(weir_pipeline *p)
{
    line_stream    lines = weir_source(line, p, "mem:x?limit=3", .name = "lines");
    routed_streams parts = weir_apply(split, lines, .on_error = WEIR_DEAD_LETTER);
    word_stream    words = weir_apply(not_empty, weir_rebalance(parts.words), .parallelism = 3, .args = "limit=4");
    weir_sink(weir_apply(tally_up, weir_key_by(words, text), .parallelism = 4), "mem:", .format = WEIR_CSV);
    weir_sink(parts.too_long, "mem:", .name = "too-long");
    weir_sink(weir_apply(longest, weir_window_all(words, weir_one_window())), "mem:", .name = "longest-out");
    weir_sink(weir_apply(longest, weir_window(weir_key_by(words, length, text), weir_one_window()), .uid = "by-length"),
              "mem:", .name = "by-length-out");
    weir_sink(weir_dead_letters(p), "mem:", .name = "dead");
}

static void test_macros(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    build(p);
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = 2, .connector = fix_connector});
    assert_int_equal(job->nodes, 12);
    const wr_node *words = fix_node(job, "not_empty"), *tallies = fix_node(job, "tally_up");
    assert_int_equal(words->parallelism, 3);
    assert_string_equal(weir_arg(words->arguments, "limit", ""), "4");
    assert_int_equal(tallies->key[0].count, 1);
    assert_int_equal(tallies->parallelism, 4);
    assert_string_equal(fix_node(job, "tally")->format, "csv");
    assert_int_equal(fix_node(job, "longest")->parallelism, 1); /* without a key */
    const wr_edge *side = fix_edge(job, "split", "too-long"), *both = fix_edge(job, "not_empty", "by-length");
    assert_int_equal(side->from_port, 1);
    assert_int_equal(side->route, WR_ROUTE_FORWARD);
    assert_true(side->chained);
    assert_int_equal(fix_edge(job, "split", "not_empty")->route, WR_ROUTE_REBALANCE);
    assert_int_equal(both->route, WR_ROUTE_HASH);
    assert_int_equal(both->key.count, 2);
    assert_string_equal(wr_key_field_name(both->type, both->key.field[0].offset), "length");
    assert_int_equal(fix_edge(job, "split", "dead-letters")->from_port, WR_PORT_DEAD);
    assert_true(fix_node(job, "dead")->in[0] != &wr_dead_type); /* the user's own table, equal by content */
    assert_non_null(strstr(fix_node(job, "split")->op->file, "macros_test.c"));
    uint64_t first = job->fingerprint;
    wr_job_free(p);

    p = wr_job_new("p", NULL, 0); /* a worker builds the same again */
    build(p);
    job = fix_finish(p, &(wr_job_settings){.parallelism = 2, .connector = fix_connector});
    assert_true(job->fingerprint == first);
    wr_job_free(p);
}

/* A field that results take from the key, of a stream that is not keyed by it. */
WEIR_RECORD(total, (weir_str, text), (uint32_t, length), (uint64_t, count))
WEIR_AGGREGATE_FIELDS(count_both, word, total, (text, key, text), (length, key, length), (count, count))

static void test_keys_of_results(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    word_stream    words = weir_source(word, p, "mem:", .name = "words");
    weir_sink(weir_apply(count_both, weir_window(weir_key_by(words, length, text), weir_one_window())), "mem:");
    fix_finish(p, &(wr_job_settings){.connector = fix_connector});
    wr_job_free(p);

    p = wr_job_new("p", NULL, 0);
    words = weir_source(word, p, "mem:", .name = "words");
    weir_sink(weir_apply(count_both, weir_window(weir_key_by(words, text), weir_one_window())), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "its list takes 'length' from the key");

    p = wr_job_new("p", NULL, 0);
    words = weir_source(word, p, "mem:", .name = "words");
    weir_sink(weir_apply(count_both, weir_window_all(words, weir_one_window())), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "its list takes 'text' from the key", "its list takes 'length' from the key");
}

/* The same operator twice, a stream left over, and an option that cannot be. */
static void test_misuse(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    line_stream    lines = weir_source(line, p, "mem:", .name = "lines");
    routed_streams parts = weir_apply(split, lines);
    word_stream    words = weir_apply(not_empty, parts.words);
    word_stream    again = weir_apply(not_empty, words);
    (void)weir_rebalance(again);
    weir_apply(tally_up, weir_key_by(words, text), .ttl = -WEIR_HOUR);
    PROBLEMS(p, NULL, WR_GRAPH, "its uid 'not_empty' is also that of operator 'not_empty'",
             "its stream is rebalance, but", "): .ttl is negative", "operator 'tally_up' (",
             "nothing takes its stream");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_macros), cmocka_unit_test(test_keys_of_results),
                                       cmocka_unit_test(test_misuse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
