/* Exactly once needs sources that can read again what a restart takes back; and what can be read once has one reader.
 */
#include "fixture.h"

static const weir_connector gone = {.magic = WEIR_CONNECTOR_MAGIC,
                                    .abi = WEIR_ABI,
                                    .size = sizeof(weir_connector),
                                    .flags = WEIR_CONNECTOR_GONE,
                                    .scheme = "gone",
                                    .source_formats = "text",
                                    .source = &fix_mem_source};
static const weir_connector pipe_end = {.magic = WEIR_CONNECTOR_MAGIC,
                                        .abi = WEIR_ABI,
                                        .size = sizeof(weir_connector),
                                        .flags = WEIR_CONNECTOR_GONE | WEIR_CONNECTOR_ONE,
                                        .scheme = "pipe",
                                        .source_formats = "text",
                                        .source = &fix_mem_source};
static const weir_op        two_phase = {.abi_size = sizeof(weir_op),
                                         .kind = WEIR_OP_TWO_PHASE_SINK,
                                         .name = "exact",
                                         .shared = &fix_word_type,
                                         .outs = 1,
                                         .on_left = fix_loop,
                                         .prepare = fix_loop,
                                         .commit = fix_loop,
                                         .recover = fix_loop};
static const weir_connector exact = {.magic = WEIR_CONNECTOR_MAGIC,
                                     .abi = WEIR_ABI,
                                     .size = sizeof(weir_connector),
                                     .scheme = "exact",
                                     .sink_formats = "text",
                                     .sink = &two_phase};

static const weir_connector *find(void *self, const char *scheme, size_t n, const char **suggestion)
{
    if (n == 4 && memcmp(scheme, "gone", 4) == 0) return &gone;
    if (n == 4 && memcmp(scheme, "pipe", 4) == 0) return &pipe_end;
    if (n == 5 && memcmp(scheme, "exact", 5) == 0) return &exact;
    return fix_connector(self, scheme, n, suggestion);
}

static void check_job(const char *source, uint32_t guarantee, bool behind, wr_err want)
{
    weir_pipeline *p = wr_job_new("exact", NULL, 0);
    wr_errinfo     info = {0};
    weir_node      in = SOURCE(p, source, .name = "in"), other = SOURCE(p, "mem:", .name = "other");
    weir_node      both = weir_graph_union(2, KEYED(in, &count, .uid = "keyed"), other);
    SINK(behind ? both : other, "exact:", .name = "out", .guarantee = guarantee);
    SINK(behind ? other : both, "mem:", .name = "beside");
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = 1, .connector = find});
    assert_int_equal(wr_job_replays(job, &info), want);
    if (want != WR_OK)
        assert_non_null(strstr(info.text, "sink 'out' asks for WEIR_EXACTLY_ONCE, but what 'in' (gone:)"));
    wr_job_free(p);
}

static void what_is_refused(void **state)
{
    (void)state;
    check_job("gone:", WEIR_EXACTLY_ONCE, true, WR_OPTION);
    check_job("gone:", WEIR_EXACTLY_ONCE, false, WR_OK);     /* nothing of it comes to that sink */
    check_job("gone:", WEIR_GUARANTEE_DEFAULT, true, WR_OK); /* the best that there is */
    check_job("gone:", WEIR_AT_LEAST_ONCE, true, WR_OK);
    check_job("mem:", WEIR_EXACTLY_ONCE, true, WR_OK);
}

static weir_pipeline *two_sources(const char *first, const char *second)
{
    weir_pipeline *p = wr_job_new("once", NULL, 0);
    SINK(SOURCE(p, first, .name = "a"), "mem:", .name = "x");
    SINK(SOURCE(p, second, .name = "b"), "mem:", .name = "y");
    return p;
}

static void two_readers_are_refused(void **state)
{
    (void)state;
    const wr_job_settings settings = {.parallelism = 2, .connector = find};
    PROBLEMS(two_sources("pipe:", "pipe:"), &settings, WR_GRAPH,
             "source 'b' (pipe:): it reads what source 'a' (pipe:) reads, and 'pipe:' can only be read once; give both "
             "operators the stream of one source");
    static const char *const good[][2] = {{"pipe:7001", "pipe:7002"}, {"one:", "one:"}, {"gone:", "gone:"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        weir_pipeline *p = two_sources(good[i][0], good[i][1]);
        fix_finish(p, &settings);
        wr_job_free(p);
    }
    weir_pipeline *p = two_sources("pipe:", "mem:");
    PROBLEMS(p,
             (&(wr_job_settings){.parallelism = 2, .connector = find, .sets = 1, .set = (const char *[]){"b=pipe:"}}),
             WR_GRAPH, "source 'b' (pipe:): it reads what source 'a' (pipe:) reads");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_refused), cmocka_unit_test(two_readers_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
