/* Clusters inside a program: start, wait, stop, cancel, failures. ctest: threads */
#include "base/env.h"
#include "connectors/memory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/embed.h>

#include <cmocka.h>

WEIR_RECORD(number, (uint64_t, n))
WEIR_RECORD(sum, (uint64_t, key), (uint64_t, n))
WEIR_STATE(total, (uint64_t, n))

WEIR_MAP(residue, number, in, sum, out, ctx)
{
    out->key = in->n % 10;
    out->n = in->n;
    if (in->n == (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "fail_at", -1)) weir_fail(ctx, "this number is not wanted");
    return true;
}

WEIR_KEYED(add, sum, in, total, state, sum, out)
{
    state->n += in->n;
    sum_emit(out, (sum){.key = in->key, .n = state->n});
}

static void build(weir_pipeline *p)
{
    number_stream numbers = weir_source(number, p, "generator:", .options = "count=1000", .name = "numbers");
    sum_stream    sums = weir_apply(add, weir_key_by(weir_apply(residue, numbers), key));
    weir_sink(sums, "collect:", .name = "sums");
}

static void build_wrong(weir_pipeline *p)
{
    number_stream numbers = weir_source(number, p, "generatr:");
    weir_sink(numbers, "collect:", .name = "sums");
}

static const weir_type *sum_type(void)
{
    return &weir_type_sum;
}

static void test_runs_and_finishes(void **state)
{
    (void)state;
    wr_collector *sums = wr_collector_new("sums", sum_type(), 0);
    weir_cluster *c = weir_cluster_open(.slots = 2);
    weir_job     *job = weir_start(c, build, .name = "residues");
    assert_int_equal(weir_wait(job, 60 * WEIR_SECOND), WEIR_JOB_FINISHED);
    assert_null(weir_why(job));
    assert_true(weir_stop(job, false)); /* after the end: nothing to do */
    uint64_t greatest[10] = {0}, count = 0;
    for (sum s; wr_collector_take(sums, &s); count++)
        if (s.n > greatest[s.key]) greatest[s.key] = s.n;
    assert_int_equal(count, 1000);
    uint64_t all = 0;
    for (int i = 0; i < 10; i++) all += greatest[i];
    assert_int_equal(all, 999 * 1000 / 2);
    weir_job_free(job);
    weir_cluster_close(c);
    wr_collector_free(sums);
}

static void test_failure_says_why(void **state)
{
    (void)state;
    wr_collector *sums = wr_collector_new("sums", sum_type(), 0);
    weir_cluster *c = weir_cluster_open(.slots = 2);
    weir_job     *job = weir_start(c, build, .args = "fail_at=77 other=1");
    assert_int_equal(weir_wait(job, 60 * WEIR_SECOND), WEIR_JOB_FAILED);
    assert_non_null(strstr(weir_why(job), "this number is not wanted"));
    assert_non_null(strstr(weir_why(job), "residue"));
    assert_false(weir_stop(job, true));
    weir_cluster_close(c); /* frees the job */
    wr_collector_free(sums);
}

static void test_invalid_pipeline_fails(void **state)
{
    (void)state;
    weir_cluster *c = weir_cluster_open(.slots = 1);
    weir_job     *job = weir_start(c, build_wrong);
    assert_int_equal(weir_wait(job, 0), WEIR_JOB_FAILED);
    assert_non_null(strstr(weir_why(job), "generatr"));
    weir_cancel(job);
    weir_job_free(job);
    job = weir_start(c, build, .restore_from = "file:///nowhere");
    assert_int_equal(weir_wait(job, 0), WEIR_JOB_FAILED);
    assert_non_null(strstr(weir_why(job), "/nowhere"));
    weir_cluster_close(c);
}

/* An endless source; set replaces it by name. */
static weir_job *start_endless(weir_cluster *c)
{
    return weir_start(c, build, .name = "endless", .set = "numbers=generator:?rate=10000 sums=blackhole:");
}

static void test_stop_and_cancel(void **state)
{
    (void)state;
    weir_cluster *c = weir_cluster_open(.slots = 2);
    weir_job     *job = start_endless(c), *other = start_endless(c);
    assert_int_equal(weir_wait(job, WEIR_MILLISECOND), WEIR_JOB_RUNNING);
    assert_true(weir_stop(job, true));
    assert_int_equal(weir_wait(job, 0), WEIR_JOB_FINISHED);
    assert_int_equal(weir_wait(other, 0), WEIR_JOB_RUNNING);
    weir_cancel(other);
    assert_int_equal(weir_wait(other, 0), WEIR_JOB_CANCELED);
    assert_null(weir_why(other));
    weir_cluster_close(c);
}

static bool remove_file(void *arg, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    wr_env_real()->unlink(wr_env_real()->self, path);
    return true;
}

static void remove_folder(char *folder)
{
    const wr_env *env = wr_env_real();
    env->list(env->self, folder, remove_file, folder);
    assert_int_equal(env->rmdir(env->self, folder), 0);
}

static weir_duration every;
static void          build_with_interval(weir_pipeline *p)
{
    build(p);
    weir_configure(p, .snapshot_every = every);
}

/* An interval that says nothing is not ignored. */
static void test_intervals_of_snapshots(void **state)
{
    (void)state;
    static const struct {
        weir_duration every;
        const char   *why;
    } cases[] = {{-1, ".snapshot_every is -1 ns"},
                 {1000, ".snapshot_every is 1000 ns"},
                 {WEIR_SECOND, "weir_configure gives .snapshot_every, and nobody a folder"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weir_cluster *c = weir_cluster_open(.slots = 1);
        every = cases[i].every;
        weir_job *job = weir_start(c, build_with_interval, .set = "sums=blackhole:");
        assert_int_equal(weir_wait(job, 60 * WEIR_SECOND), WEIR_JOB_FAILED);
        assert_non_null(strstr(weir_why(job), cases[i].why));
        weir_cluster_close(c);
    }
}

/* A stop with snapshots is none for good: the same start goes on behind it. */
static void test_goes_on(void **state)
{
    (void)state;
    char folder[] = "/tmp/weir-embed-XXXXXX";
    assert_non_null(mkdtemp(folder));
    wr_collector  *sums = wr_collector_new("sums", sum_type(), 0);
    uint64_t       count = 0, greatest[10] = {0}, all = 0;
    weir_job_state last = WEIR_JOB_RUNNING;
    uint32_t       starts = 0;
    for (; starts < 4; starts++) {
        weir_cluster *c = weir_cluster_open(.slots = 2, .snapshots = folder);
        weir_job     *job = weir_start(c, build, .name = "going",
                                       .set = starts < 2 ? "numbers=generator:?count=3000&rate=20000"
                                                         : "numbers=generator:?count=3000");
        if (starts < 2) {
            while (count < (starts + 1) * 100) {
                for (sum s; wr_collector_take(sums, &s); count++)
                    if (s.n > greatest[s.key]) greatest[s.key] = s.n;
                assert_int_equal(weir_wait(job, WEIR_MILLISECOND), WEIR_JOB_RUNNING);
            }
            assert_true(weir_stop(job, false));
        }
        last = weir_wait(job, 60 * WEIR_SECOND);
        if (last == WEIR_JOB_FAILED) print_message("%s\n", weir_why(job));
        assert_int_equal(last, WEIR_JOB_FINISHED);
        weir_cluster_close(c);
        for (sum s; wr_collector_take(sums, &s); count++)
            if (s.n > greatest[s.key]) greatest[s.key] = s.n;
    }
    assert_int_equal(count, 3000); /* the fourth start found it finished */
    for (int i = 0; i < 10; i++) all += greatest[i];
    assert_int_equal(all, 2999 * 3000 / 2);
    wr_collector_free(sums);
    char below[64];
    snprintf(below, sizeof below, "%s/going", folder);
    remove_folder(below);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_and_finishes),      cmocka_unit_test(test_failure_says_why),
        cmocka_unit_test(test_invalid_pipeline_fails), cmocka_unit_test(test_stop_and_cancel),
        cmocka_unit_test(test_intervals_of_snapshots), cmocka_unit_test(test_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
