/* Everything that the headers can say and this version does not run is refused, and says what to do instead. */
#include "fixture.h"

static weir_pipeline *fresh(void)
{
    return wr_job_new("p", NULL, 0);
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        uint32_t    kind;
        const char *text;
    } kinds[] = {{WEIR_OP_CO_KEYED, "WEIR_LEFT and WEIR_RIGHT"},
                 {WEIR_OP_FLAT_MAP_SHARED, "broadcast state"},
                 {WEIR_OP_KEYED_SHARED, "broadcast state"},
                 {WEIR_OP_UPDATE, "WEIR_UPDATE does not"},
                 {WEIR_OP_JOIN, "WEIR_JOIN does not run yet; join the"},
                 {WEIR_OP_COGROUP, "WEIR_COGROUP does not"},
                 {WEIR_OP_ASYNC, "use a map with .blocking = true"}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        weir_op op = map;
        op.kind = kinds[i].kind;
        op.on_left = NULL;
        weir_pipeline *p = fresh();
        SINK(APPLY(READ(p, &numbers), &op), "mem:");
        PROBLEMS(p, NULL, WR_NOT_YET, kinds[i].text);
    }
}

static void test_windows(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers);
    const struct {
        weir_window_spec spec;
        const char      *name;
    } specs[] = {
        {{.window = weir_tumbling(0)}, "1"},
        {{.window = weir_session(WEIR_SECOND)}, "2"},
        {{.window = weir_sliding(WEIR_SECOND, 2 * WEIR_SECOND)}, "3"},
        {{.window = weir_per_batch()}, "4"},
        {{.window = weir_one_window(), .trigger = weir_each(5)}, "5"},
        {{.window = weir_one_window(), .evict = weir_keep_last(5)}, "6"},
        {{.window = weir_one_window(), .lateness = 5}, "7"},
        {{.window = weir_by_clock(weir_one_window())}, "8"},
        {{.window = {0}}, "9"},
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        SINK(WINDOWED(in, &sum, specs[i].spec, .uid = specs[i].name), "mem:", .name = specs[i].name, .uid = "");
    }
    weir_pipeline *q = p;
    SINK(WINDOWED(in, &count, ONE_WINDOW, .uid = "keyed"), "mem:", .name = "x");
    (void)q;
    const wr_job      *job;
    const char *const *texts;
    assert_int_equal(wr_job_finish(p, NULL, &job, NULL), WR_GRAPH);
    const char *want[] = {"operator '1' (t.c:7): the tumbling window has a size, gap or slide that is not above zero",
                          "operator '2' (t.c:7): its session window needs event time, and its input has none",
                          "operator '3' (t.c:7): the sliding window's slide is longer than its size",
                          "operator '4' (t.c:7): per-batch windows",
                          "operator '5' (t.c:7): .trigger does not run yet",
                          "operator '6' (t.c:7): .evict does not run yet",
                          "operator '7' (t.c:7): .lateness is for windows of event time that end",
                          "operator '8' (t.c:7): a window of this kind (one) has no clock; leave weir_by_clock out",
                          "operator '9' (t.c:7): it needs a window",
                          "operator 'keyed' (t.c:7): this kind of operator takes no window"};
    uint32_t    n = wr_job_problems(p, &texts), found = 0;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        for (uint32_t k = 0; k < n; k++) found += strncmp(texts[k], want[i], strlen(want[i])) == 0;
    }
    assert_int_equal(found, 10);
    wr_job_free(p);
}

static void test_late_and_feedback(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      late = WINDOWED(READ(p, &numbers), &sum, ONE_WINDOW, .uid = "s");
    SINK(late, "mem:", .name = "a");
    late.port = WEIR_PORT_LATE;
    SINK(late, "mem:", .name = "late");
    PROBLEMS(p, NULL, WR_GRAPH, "sink 'late' (mem:): it takes the late records of 's', which has none");

    p = fresh();
    weir_node back = weir_graph_feedback(p, &fix_word_type, NULL);
    weir_node step = APPLY(weir_graph_union(2, READ(p, &numbers), back), &split);
    SINK(step, "mem:");
    step.port = 1;
    weir_graph_feed(back, step);
    PROBLEMS(p, NULL, WR_NOT_YET, "weir_feedback of record 'word': feedback does not run yet; unroll the loop");
}

static void test_options(void **state)
{
    (void)state;
    weir_pipeline            *p = fresh();
    static const weir_upgrade upgrade = {0}, other = {&fix_word_type, &fix_word_type, fix_loop};
    weir_node                 in = SOURCE(p, "mem:", .name = "s", .journal = true, .until = "now");
    weir_node                 read = READ(p, &numbers, .latest = "x", .discover_every = -1);
    weir_node keyed = KEYED(in, &count, .ttl = -WEIR_HOUR, .initial = "mem:", .upgrade = {&upgrade, &other});
    SINK(keyed, "mem:", .name = "a", .mode = WEIR_COMPLETE, .guarantee = WEIR_EXACTLY_ONCE);
    SINK(read, "mem:", .name = "b", .guarantee = 9);
    SINK(read, "mem:", .name = "c", .guarantee = WEIR_AT_LEAST_ONCE, .mode = WEIR_APPEND);
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .mode = WEIR_MICRO_BATCH, .trigger = WEIR_ONCE, .interval = 5,
                                  .snapshot_every = WEIR_SECOND, .snapshots = "x", .restarts_max = 3));
    PROBLEMS(p, NULL, WR_GRAPH, ".journal does not run yet", "source 's' (mem:): .latest and .until do not run yet",
             "source 'numbers' (t.c:7): .latest and .until do not run yet", ".discover_every is negative",
             "operator 'count' (t.c:7): .ttl is negative", ".initial does not run yet",
             "an .upgrade has no types or no function", "field 'text' of state 'word' is a borrowed string",
             "an .upgrade makes state 'word', but its state is",
             "sink 'a' (mem:): output modes other than WEIR_APPEND do not run yet",
             "sink 'b' (mem:): 9 is no guarantee", "weir_configure: micro-batch mode does not run yet",
             "weir_configure: batch triggers and .interval", "weir_configure: restarts do not run yet");
}

static void test_formats(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    SINK(SOURCE(p, "mem:", .name = "s", .format = WEIR_JSON), "mem:", .format = WEIR_MSGPACK);
    PROBLEMS(p, (&(wr_job_settings){.connector = fix_connector}), WR_NOT_YET,
             "source 's' (mem:): format json does not run yet; 'mem:' takes text csv",
             "sink 'word' (mem:): format msgpack does not run yet; 'mem:' takes text csv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),   cmocka_unit_test(test_windows), cmocka_unit_test(test_late_and_feedback),
        cmocka_unit_test(test_options), cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
