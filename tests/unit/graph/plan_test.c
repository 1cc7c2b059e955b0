/* Golden texts of the plan. */
#include "fixture.h"

FIX_OP(clean, WEIR_OP_FILTER, 1, .mode = 0);
FIX_OP(both, WEIR_OP_FLAT_MAP, 2, .mode = 0);

static char text[1 << 16];

static const wr_job *job_of(weir_pipeline *p)
{
    weir_node lines = SOURCE(p, "mem:///data/words.csv?limit=3", .name = "lines", .format = "csv");
    weir_node parts = APPLY(APPLY(lines, &clean, .on_error = WEIR_DEAD_LETTER), &both), side = parts;
    side.port = 1;
    weir_node totals = KEYED(weir_graph_union(2, parts, READ(p, &numbers, .parallelism = 1)), &count, .parallelism = 3);
    SINK(totals, "mem:", .name = "totals");
    WRITE(side, &store, .parallelism = 1);
    weir_graph_sink(weir_graph_dead_letters(p), &wr_dead_type,
                    FIX_OPTIONS(weir_sink_options, .uri = "one:", .name = "dead"));
    return fix_finish(p, &(wr_job_settings){.parallelism = 2, .connector = fix_connector});
}

/* The fingerprint is cut out: it changes with the structs of the records, not with the plan. */
static void print(void (*plan)(const wr_job *, const wr_exec *, FILE *), bool with_exec)
{
    weir_pipeline *p = wr_job_new("wordcount", NULL, 0);
    const wr_job  *job = job_of(p);
    wr_exec       *x;
    FILE          *file = fmemopen(text, sizeof text, "w");
    assert_non_null(file);
    assert_int_equal(wr_exec_new(job, &x, NULL), WR_OK);
    plan(job, with_exec ? x : NULL, file);
    assert_int_equal(fclose(file), 0);
    char number[20], *at;
    snprintf(number, sizeof number, "%016llx", (unsigned long long)job->fingerprint);
    assert_non_null(at = strstr(text, number));
    memset(at, '#', 16);
    wr_exec_free(x);
    wr_job_free(p);
}

static void compare(const char *want)
{
    if (strcmp(text, want) != 0) fputs(text, stderr);
    assert_string_equal(text, want);
}

static void test_text(void **state)
{
    (void)state;
    print(wr_plan_text, true);
    compare("pipeline wordcount, parallelism 2, fingerprint ################\n"
            "\n"
            "job graph\n"
            "  lines             source mem:///data/words.csv?limit=3 (csv)  x2\n"
            "    clean           filter                                      x2  forward, chained\n"
            "      both          flat map                                    x2  forward, chained\n"
            "        count       keyed by text                               x3  hash by text, output 0\n"
            "          totals    sink mem: (text)                            x2  rebalance\n"
            "        store       custom sink                                 x1  rebalance, output 1, own thread\n"
            "      dead-letters  dead letters                                x1  dead letters\n"
            "        dead        sink one:                                   x1  forward, chained\n"
            "  numbers           custom source                               x1\n"
            "    (count)         see above                                       hash by text\n"
            "\n"
            "chains\n"
            "  lines -> clean -> both  x2\n"
            "  numbers                 x1\n"
            "  count                   x3\n"
            "  totals                  x2\n"
            "  store                   x1  own thread\n"
            "  dead-letters -> dead    x1\n"
            "\n"
            "execution graph: 12 subtasks, 22 channels, 3 slots, 3 own threads\n"
            "  lines enumerator        1 subtask on own thread 0\n"
            "  lines -> clean -> both  2 subtasks on slots 0-1\n"
            "  numbers enumerator      1 subtask on own thread 1\n"
            "  numbers                 1 subtask on slot 0\n"
            "  count                   3 subtasks on slots 0-2, 128 key groups\n"
            "  totals                  2 subtasks on slots 0-1\n"
            "  store                   1 subtask on own thread 2\n"
            "  dead-letters -> dead    1 subtask on slot 0\n"
            "  links\n"
            "    lines enumerator => lines: splits, 2 channels\n"
            "    numbers enumerator => numbers: splits, 1 channel\n"
            "    both => count: hash by text, 6 channels\n"
            "    numbers => count: hash by text, 3 channels\n"
            "    count => totals: rebalance, 6 channels\n"
            "    both => store: rebalance, 2 channels\n"
            "    clean => dead-letters: dead letters, 2 channels\n");
    print(wr_plan_text, false);
    assert_null(strstr(text, "execution graph"));
}

static void test_json(void **state)
{
    (void)state;
    /* Everything is there; that it is JSON is base/json's part. Blanks and line ends do not count. */
    const char *parts[] = {
        "{\"name\":\"wordcount\",\"parallelism\":2,\"fingerprint\":\"################\",\"nodes\":[{"
        "\"id\":0,\"uid\":\"lines\",",
        "\"kind\":\"source\",\"uri\":\"mem:///data/words.csv?limit=3\",\"format\":\"csv\","
        "\"parallelism\":2,\"max_parallelism\":128,",
        "\"kind\":\"keyed\",\"file\":\"t.c\",\"line\":7,\"parallelism\":3,\"max_parallelism\":128,"
        "\"slot_group\":\"default\","
        "\"on_error\":\"fail\",\"blocking\":false,\"chain\":2,\"key\":[\"text\"]}",
        "\"on_error\":\"deadletter\"",
        "{\"id\":5,\"from\":2,\"output\":1,\"to\":6,\"input\":0,\"route\":\"rebalance\",\"record\":\"word\","
        "\"chained\":false}",
        "{\"id\":7,\"from\":1,\"output\":\"deadletters\",\"to\":7,",
        "{\"id\":0,\"name\":\"lines->clean->both\",\"parallelism\":2,\"blocking\":false,\"nodes\":[0,1,2]}",
        "\"execution\":{\"slots\":3,\"own_threads\":3,\"subtasks\":12,\"channels\":22,\"vertices\":[{"
        "\"id\":0,\"name\":\"linesenumerator\","
        "\"kind\":\"enumerator\"",
        "{\"id\":6,\"index\":1,\"attempt\":1,\"slot\":1,\"first_key_group\":43,\"end_key_group\":86,"
        "\"input_channels\":3,"
        "\"output_channels\":2}",
        "\"links\":[{\"id\":0,\"kind\":\"splits\",\"from\":0,\"to\":1,\"record\":\"word\",\"channels\":2}",
    };
    print(wr_plan_json, true);
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != ' ' && *from != '\n') *to++ = *from;
    }
    *to = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!strstr(text, parts[i])) print_message("missing: %s\n", parts[i]);
        assert_non_null(strstr(text, parts[i]));
    }
    assert_string_equal(to - 2, "}}");
    print(wr_plan_json, false);
    assert_null(strstr(text, "execution"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
