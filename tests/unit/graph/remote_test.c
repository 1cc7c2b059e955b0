/* Job graphs as bytes: the same plan on the other side, the same bytes from everywhere that builds it, and nothing that
 * cannot be planned is ever taken. */
#include "fixture.h"
#include "graph/remote.h"
#include "wire/pack.h"
#include <stdint.h>

uint64_t wr_graph_fingerprint(const wr_job *job); /* graph/build.h */

FIX_OP(clean, WEIR_OP_FILTER, 1, .mode = 0);
FIX_OP(both, WEIR_OP_FLAT_MAP, 2, .mode = 0);
static const weir_field old_fields[] = {{.name = "n", .offset = 0, .size = 4, .kind = WEIR_U32}};
#define OLD                                                                                                            \
    {                                                                                                                  \
        .abi_size = sizeof(weir_type), .fields = 1, .name = "old", .size = 4, .align = 4, .field = old_fields          \
    }
static const weir_type          old_state = OLD, same_state = OLD;
static const weir_upgrade       from_old = {.from = &old_state, .to = &fix_state_type, .loop = fix_loop};
static const weir_upgrade       from_same = {.from = &same_state, .to = &fix_state_type, .loop = fix_loop};
static const weir_watermark_def own = {.name = "mine", .loop = fix_loop};

static weir_pipeline *pipeline(const wr_job_settings *settings, const wr_job **job)
{
    weir_pipeline *p = wr_job_new("words", NULL, 0);
    weir_node      lines = SOURCE(p, "mem:///data/words.csv?limit=3", .name = "lines", .format = "csv", .rate_max = 5);
    weir_node      timed = weir_graph_time(
             lines, offsetof(fix_word, at), NULL,
             FIX_OPTIONS(weir_time_options, .max_delay = WEIR_SECOND, .idle_after = WEIR_HOUR));
    weir_node parts = APPLY(APPLY(timed, &clean, .on_error = WEIR_DEAD_LETTER, .args = "limit=3"), &both), side = parts;
    side.port = 1;
    weir_node mine = weir_graph_time(READ(p, &numbers, .parallelism = 1), offsetof(fix_word, at), &own, NULL);
    weir_node all = weir_graph_union(2, parts, mine);
    weir_node totals = KEYED(all, &count, .parallelism = 3, .uid = "totals", .name = "all totals", .slot_group = "big",
                             .ttl = WEIR_DAY, .upgrade = {&from_old, &from_same});
    weir_node windows = WINDOWED(all, &sum, ((weir_window_spec){.window = weir_tumbling(WEIR_HOUR), .lateness = 7}),
                                 .name = "hourly");
    weir_node late = windows;
    late.port = WEIR_PORT_LATE;
    SINK(totals, "mem:", .name = "out");
    SINK(windows, "mem:", .name = "out2");
    SINK(late, "mem:", .name = "late");
    WRITE(weir_graph_route(side, WEIR_ROUTE_OWN, fix_loop), &store, .parallelism = 2);
    weir_graph_sink(weir_graph_dead_letters(p), &wr_dead_type,
                    FIX_OPTIONS(weir_sink_options, .uri = "one:", .name = "dead"));
    *job = fix_finish(p, settings);
    return p;
}

static char *encoded(const wr_job *job, size_t *n)
{
    char      *bytes = NULL;
    wr_errinfo info = {0};
    if (wr_remote_encode(job, &bytes, n, &info) != WR_OK) fail_msg("%s", info.text);
    return bytes;
}

static wr_err decoded(wr_remote **r, const char *bytes, size_t n, wr_errinfo *info)
{
    char *copy = calloc(n > 0 ? n : 1, 1); /* a block of its own, gone afterwards */
    if (n > 0) memcpy(copy, bytes, n);
    wr_err err = wr_remote_decode(r, copy, n, info);
    memset(copy, 0x55, n);
    free(copy);
    return err;
}

static char *plan_of(const wr_job *job)
{
    char    *text = NULL;
    size_t   n = 0;
    FILE    *file = open_memstream(&text, &n);
    wr_exec *x;
    assert_non_null(file);
    assert_int_equal(wr_exec_new(job, &x, NULL), WR_OK);
    wr_plan_text(job, x, file);
    wr_plan_json(job, x, file);
    fclose(file);
    wr_exec_free(x);
    return text;
}

static const wr_job_settings settings = {.parallelism = 2, .connector = fix_connector};

static void same_on_the_other_side(void **state)
{
    (void)state;
    const wr_job  *job;
    wr_remote     *r;
    wr_errinfo     info = {0};
    weir_pipeline *p = pipeline(&settings, &job);
    size_t         n, k;
    char          *bytes = encoded(job, &n), *plan = plan_of(job), *again, *theirs;
    if (decoded(&r, bytes, n, &info) != WR_OK) fail_msg("%s", info.text);
    const wr_job *back = wr_remote_job(r);
    theirs = plan_of(back);
    assert_string_equal(plan, theirs);
    assert_true(back->fingerprint == job->fingerprint && wr_graph_fingerprint(back) == job->fingerprint);
    again = encoded(back, &k);
    assert_int_equal(n, k);
    assert_memory_equal(bytes, again, n);
    const wr_node *totals = fix_node(back, "all totals"), *hourly = fix_node(back, "hourly");
    assert_string_equal(totals->uid, "totals");
    assert_string_equal(totals->upgrade[0]->from->name, "old");
    assert_ptr_equal(totals->upgrade[0]->from, totals->upgrade[1]->from); /* two types that are the same: one */
    assert_null(totals->upgrade[2]);
    assert_true(totals->ttl == WEIR_DAY && totals->op->state->fields == 1);
    assert_true(hourly->window.window.size == WEIR_HOUR && hourly->window.lateness == 7 && hourly->late);
    assert_true(fix_node(back, "lines")->op->enumerate != NULL && fix_node(back, "lines")->rate_max == 5);
    assert_string_equal(fix_node(back, "clean")->args, "limit=3");
    assert_null(fix_node(back, "both")->args);
    wr_remote_free(r);
    wr_remote_free(NULL);
    free(bytes);
    free(again);
    free(plan);
    free(theirs);
    wr_job_free(p);
}

/* WEIR_GOLDEN=write makes it anew: only with a new version of the format. */
static void golden(void **state)
{
    (void)state;
    const wr_job  *job;
    wr_remote     *r;
    wr_errinfo     info = {0};
    weir_pipeline *p = pipeline(&settings, &job);
    size_t         n;
    static char    have[1 << 16];
    char          *bytes = encoded(job, &n);
    bool           write = getenv("WEIR_GOLDEN") != NULL;
    FILE          *file = fopen("tests/golden/graph-1", write ? "wb" : "rb");
    assert_non_null(file);
    if (write) assert_int_equal(fwrite(bytes, 1, n, file), n);
    if (!write) assert_int_equal(fread(have, 1, sizeof have, file), n);
    if (!write) assert_memory_equal(have, bytes, n);
    if (!write) assert_int_equal(decoded(&r, have, n, &info), WR_OK);
    if (!write) wr_remote_free(r);
    fclose(file);
    free(bytes);
    wr_job_free(p);
}

static void every_builder_gives_the_same(void **state)
{
    (void)state;
    const wr_job  *one, *two, *three;
    weir_pipeline *p = pipeline(&settings, &one), *q = pipeline(&settings, &two);
    size_t         n, k, m;
    char          *a = encoded(one, &n), *b = encoded(two, &k);
    assert_int_equal(n, k);
    assert_memory_equal(a, b, n);
    weir_pipeline *other = pipeline(&(wr_job_settings){.parallelism = 3, .connector = fix_connector}, &three);
    char          *c = encoded(three, &m);
    assert_true(m != n || memcmp(a, c, n) != 0);
    free(a);
    free(b);
    free(c);
    wr_job_free(p);
    wr_job_free(q);
    wr_job_free(other);
}

/* Key groups of a snapshot: as if the build function had been told of it. */
static void restored(void **state)
{
    (void)state;
    const wr_job  *plain, *told;
    wr_remote     *r;
    wr_errinfo     info = {0};
    wr_manifest_op op[] = {{.uid = "totals", .max_parallelism = 512}, {.uid = "lines", .max_parallelism = 256}};
    wr_manifest    m = {.op = op, .ops = 2};
    weir_pipeline *p = pipeline(&settings, &plain);
    weir_pipeline *q = pipeline(&(wr_job_settings){.parallelism = 2, .connector = fix_connector, .restore = &m}, &told);
    size_t         n, k, j;
    char          *a = encoded(plain, &n), *b = encoded(told, &k);
    assert_int_equal(decoded(&r, a, n, &info), WR_OK);
    assert_int_equal(wr_remote_restored(r, &m, &info), WR_OK);
    char *c = encoded(wr_remote_job(r), &j);
    assert_int_equal(j, k);
    assert_memory_equal(b, c, k);
    wr_remote_free(r);
    free(a);
    free(b);
    free(c);
    wr_job_free(p);
    wr_job_free(q);
}

/* Refused in words, or something that can be planned. */
static void assert_sound(const char *bytes, size_t n)
{
    wr_remote *r;
    wr_errinfo info = {0};
    wr_err     err = decoded(&r, bytes, n, &info);
    if (err != WR_OK) {
        assert_true((err == WR_DAMAGED || err == WR_NEWER) && info.code == err && info.text[0] != 0);
        assert_null(r);
        return;
    }
    uint64_t subtasks = 0;
    for (uint32_t i = 0; i < wr_remote_job(r)->tasks; i++) subtasks += wr_remote_job(r)->task[i].parallelism;
    if (subtasks < 100) free(plan_of(wr_remote_job(r)));
    wr_remote_free(r);
}

static void flips_and_truncations(void **state)
{
    (void)state;
    const wr_job  *job;
    weir_pipeline *p = pipeline(&settings, &job);
    wr_remote     *r;
    wr_errinfo     info = {0};
    size_t         n;
    char          *bytes = encoded(job, &n);
    for (size_t k = 0; k < n; k += 7) assert_int_equal(decoded(&r, bytes, k, &info), WR_DAMAGED);
    for (size_t k = 0; k < n; k++) {
        static const char with[] = {1, 2, (char)0xff};
        bytes[k] ^= with[k % 3];
        assert_sound(bytes, n);
        bytes[k] ^= with[k % 3];
    }
    free(bytes);
    wr_job_free(p);
}

/* One member of the job, decoded and written again, changed by hand: what would break a plan is told by name. */
static void what_cannot_be_planned(void **state)
{
    (void)state;
    static const char *const why[] = {
        "a stream begins or ends nowhere", "chains are not in order",  "two operators have the same uid",
        "a stream cannot go forward",      "a key is no field",        "a parallelism is none",
        "an operator is in no chain",      "output that is not there",
    };
    for (uint32_t i = 0; i < sizeof why / sizeof why[0]; i++) {
        const wr_job  *job;
        weir_pipeline *p = pipeline(&settings, &job);
        wr_job         bad = *job;
        wr_errinfo     info = {0};
        char          *bytes = NULL;
        size_t         n;
        uint32_t       hash = 0, plain = 0;
        while (bad.edge[hash].route != WR_ROUTE_HASH) hash++;
        while (bad.edge[plain].chained || bad.edge[plain].route == WR_ROUTE_HASH) plain++;
        switch (i) {
        case 0: bad.edge[plain].to = bad.nodes; break;
        case 1: bad.edge[hash].to = bad.edge[hash].from = bad.task[0].nodes[0]; break;
        case 2: bad.node[1].uid = bad.node[0].uid; break;
        case 3:
            bad.edge[hash].route = WR_ROUTE_FORWARD;
            bad.edge[hash].key.count = 0;
            break;
        case 4: bad.edge[hash].key.field[0].offset = 4; break;
        case 5: bad.node[0].parallelism = 0; break;
        case 6: bad.tasks--; break;
        case 7: bad.edge[hash].from_port = 9; break;
        }
        assert_int_equal(wr_remote_encode(&bad, &bytes, &n, &info), WR_LIMIT);
        if (strstr(info.text, why[i]) == NULL) fail_msg("'%s' is not in: %s", why[i], info.text);
        wr_job_free(p);
    }
}

static void later_version(void **state)
{
    (void)state;
    const wr_job  *job;
    wr_remote     *r;
    weir_pipeline *p = pipeline(&settings, &job);
    wr_errinfo     info = {0};
    size_t         n;
    char          *bytes = encoded(job, &n);
    char          *version = memmem(bytes, n, "version", 7);
    assert_non_null(version);
    assert_int_equal(version[7], 1);
    version[7] = 2;
    assert_int_equal(decoded(&r, bytes, n, &info), WR_NEWER);
    free(bytes);
    wr_job_free(p);
    p = wr_job_new("none", NULL, 0); /* a URI that nobody looked up */
    SINK(SOURCE(p, "mem:", .name = "in"), "mem:", .name = "out");
    job = fix_finish(p, NULL);
    wr_errinfo_init(&info);
    assert_int_equal(wr_remote_encode(job, &bytes, &n, &info), WR_URI);
    wr_job_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_on_the_other_side),
        cmocka_unit_test(golden),
        cmocka_unit_test(every_builder_gives_the_same),
        cmocka_unit_test(restored),
        cmocka_unit_test(flips_and_truncations),
        cmocka_unit_test(what_cannot_be_planned),
        cmocka_unit_test(later_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
