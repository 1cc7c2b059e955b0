/* Event time in the graph: the node that gives it, where it runs, which streams have it, late records, the plan. */
#include "fixture.h"

#define AT              offsetof(fix_word, at)
#define TIME(FROM, ...) weir_graph_time(FROM, AT, NULL, FIX_OPTIONS(weir_time_options, __VA_ARGS__))
#define TUMBLING        ((weir_window_spec){.window = weir_tumbling(WEIR_SECOND)})
static const weir_watermark_def own = {"marks", fix_loop};

static weir_pipeline *fresh(void)
{
    return wr_job_new("p", NULL, 0);
}

static void test_the_node_runs_where_its_input_runs(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers, .parallelism = 2, .max_parallelism = 300, .blocking = WEIR_OWN_THREAD,
                             .chaining = WEIR_CHAIN_NEVER);
    weir_node      timed = TIME(in, .max_delay = 5 * WEIR_SECOND, .idle_after = WEIR_MINUTE);
    SINK(KEYED(timed, &count), "mem:", .name = "s");
    SINK(APPLY(timed, &map, .parallelism = 2, .blocking = WEIR_OWN_THREAD), "mem:", .name = "m");
    const wr_job  *job = fix_finish(p, &(wr_job_settings){.parallelism = 4, .connector = fix_connector});
    const wr_node *n = fix_node(job, "numbers-time");
    assert_int_equal(n->kind, WR_NODE_TIME);
    assert_int_equal(n->op->kind, WR_OP_TIME);
    assert_string_equal(n->uid, "numbers-time");
    assert_int_equal(n->parallelism, 2);
    assert_int_equal(n->max_parallelism, 300);
    assert_true(n->blocking);
    assert_int_equal(n->time_offset, AT);
    assert_int_equal(n->max_delay, 5 * WEIR_SECOND);
    assert_int_equal(n->idle_after, WEIR_MINUTE);
    assert_ptr_equal(n->type, &fix_word_type);
    assert_true(fix_edge(job, "numbers", "numbers-time")->chained);
    assert_false(fix_edge(job, "numbers-time", "map")->chained); /* as the source wished */
    assert_false(fix_node(job, "numbers")->timed);
    assert_true(n->timed);
    assert_true(fix_node(job, "count")->timed);
    assert_true(fix_node(job, "s")->timed);
    assert_string_equal(wr_node_kind_name(n), "event time");
    wr_job_free(p);
}

/* Over a union it runs as wide as the widest; every node has a uid of its own that other operators do not change. */
static void test_over_a_union_and_twice(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node a = READ(p, &numbers, .uid = "a", .parallelism = 2), b = READ(p, &numbers, .uid = "b", .parallelism = 3);
    weir_node both = TIME(weir_graph_union(2, a, b)), again = weir_graph_time(both, AT, &own, NULL), third = TIME(a);
    SINK(again, "mem:", .name = "x");
    SINK(third, "mem:", .name = "y");
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = 4, .connector = fix_connector});
    assert_int_equal(fix_node(job, "a-time")->parallelism, 3);
    assert_int_equal(fix_node(job, "a-time-time")->parallelism, 3);
    assert_ptr_equal(fix_node(job, "a-time-time")->op->on_left, fix_loop);
    assert_int_equal(fix_node(job, "a-time-2")->parallelism, 2);
    assert_int_equal(fix_edge(job, "a", "a-time")->route, WR_ROUTE_REBALANCE);
    wr_job_free(p);
}

static void test_mixed_streams_are_refused(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      a = TIME(READ(p, &numbers, .uid = "a")), b = READ(p, &numbers, .uid = "b");
    SINK(APPLY(weir_graph_union(2, a, b), &map), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH,
             "operator 'map' (t.c:7): its records from 'a-time' have event time, those from 'b' have none");

    p = fresh(); /* a time operator gives all of them a time */
    a = TIME(READ(p, &numbers, .uid = "a")), b = READ(p, &numbers, .uid = "b");
    SINK(APPLY(TIME(weir_graph_union(2, a, b)), &map), "mem:");
    fix_finish(p, NULL);
    wr_job_free(p);

    p = fresh(); /* dead letters come from everywhere, and have no event time */
    b = APPLY(READ(p, &numbers), &map, .on_error = WEIR_DEAD_LETTER);
    SINK(APPLY(TIME(b), &count, .uid = "c", .on_error = WEIR_DEAD_LETTER), "mem:", .name = "s");
    weir_graph_sink(weir_graph_dead_letters(p), &wr_dead_type,
                    FIX_OPTIONS(weir_sink_options, .uri = "one:", .name = "dead"));
    const wr_job *job;
    wr_errinfo    info = {0};
    wr_job_finish(p, NULL, &job, &info);
    assert_null(strstr(info.text, "event time"));
    wr_job_free(p);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers);
    SINK(TIME(in, .max_delay = -1), "mem:", .name = "a");
    SINK(TIME(in, .idle_after = -1), "mem:", .name = "b");
    SINK(TIME(in, .align_group = "g"), "mem:", .name = "c");
    SINK(TIME(in, .align_drift_max = 7), "mem:", .name = "d");
    SINK(weir_graph_time(in, 0, NULL, NULL), "mem:", .name = "e");
    SINK(weir_graph_time(in, AT, &own, FIX_OPTIONS(weir_time_options, .max_delay = 1)), "mem:", .name = "f");
    SINK(weir_graph_time(in, AT, NULL, &(weir_time_options){.size = 3}), "mem:", .name = "g");
    TIME(in);
    PROBLEMS(p, NULL, WR_GRAPH, "operator 'numbers-time': .max_delay is negative",
             "operator 'numbers-time-2': .idle_after is negative", "-3': .align_group does not run yet",
             "-4': .align_drift_max does not run yet", "-5': offset 0 of record 'word' is no weir_time",
             "-6': its watermarks come from marks, which .max_delay does not change", "-7': its options have 3 bytes",
             "-8': nothing takes its stream");
}

static void test_late_records_are_an_output(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      result = WINDOWED(TIME(READ(p, &numbers)), &sum, TUMBLING), late = result;
    late.port = WEIR_PORT_LATE;
    SINK(result, "mem:", .name = "results");
    SINK(late, "mem:", .name = "too-late", .parallelism = 1);
    const wr_job  *job = fix_finish(p, &(wr_job_settings){.parallelism = 2, .connector = fix_connector});
    const wr_edge *e = fix_edge(job, "sum", "too-late");
    assert_true(fix_node(job, "sum")->late);
    assert_int_equal(e->from_port, WEIR_PORT_LATE);
    assert_ptr_equal(e->type, &fix_word_type);
    assert_true(fix_node(job, "too-late")->timed);
    assert_int_equal(fix_node(job, "sum")->out_edges, 2);
    wr_job_free(p);
}

static void test_only_late_records_is_no_end(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      late = WINDOWED(TIME(READ(p, &numbers)), &sum, TUMBLING);
    late.port = WEIR_PORT_LATE;
    SINK(late, "mem:", .name = "too-late");
    const wr_job      *job;
    const char *const *problem;
    wr_errinfo         info = {0};
    assert_int_not_equal(wr_job_finish(p, NULL, &job, &info), WR_OK);
    bool found = false;
    for (uint32_t i = 0; i < wr_job_problems(p, &problem); i++)
        found |= strstr(problem[i], "nothing takes its stream") != NULL;
    assert_true(found);
    wr_job_free(p);
}

static void test_the_plan_shows_it(void **state)
{
    (void)state;
    static char    text[1 << 15];
    weir_pipeline *p = fresh();
    SINK(TIME(READ(p, &numbers), .max_delay = 5 * WEIR_SECOND, .idle_after = WEIR_MINUTE), "mem:", .name = "a");
    SINK(weir_graph_time(READ(p, &numbers, .uid = "n"), AT, &own, NULL), "mem:", .name = "b");
    const wr_job *job = fix_finish(p, NULL);
    FILE         *file = fmemopen(text, sizeof text, "w");
    wr_plan_text(job, NULL, file);
    fclose(file);
    assert_non_null(strstr(text, "event time by at, up to 5s late, idle after 1m"));
    assert_non_null(strstr(text, "event time by at, watermarks by marks"));
    assert_non_null(strstr(text, "numbers -> numbers-time -> a"));
    file = fmemopen(text, sizeof text, "w");
    wr_plan_json(job, NULL, file);
    fclose(file);
    assert_non_null(strstr(text, "\"time\": \"at\""));
    assert_non_null(strstr(text, "\"max_delay_ns\": 5000000000"));
    wr_job_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_node_runs_where_its_input_runs),
        cmocka_unit_test(test_over_a_union_and_twice),
        cmocka_unit_test(test_mixed_streams_are_refused),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_late_records_are_an_output),
        cmocka_unit_test(test_only_late_records_is_no_end),
        cmocka_unit_test(test_the_plan_shows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
