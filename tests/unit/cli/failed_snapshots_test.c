/* What snapshots that failed leave behind: it is gone before the next one is taken, also when none has completed. And a
 * new lineage that cannot be written down. */
#include "cli/local.h"
#include "connectors/connectors.h"
#include "graph/exec.h"
#include "jobmanager/origin.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(number, (uint64_t, n))
WEIR_STATE(total, (uint64_t, n))
WEIR_KEYED(add, number, in, total, state, number, out)
{
    state->n++;
    number_emit(out, *in);
}

static void build(weir_pipeline *p)
{
    number_stream numbers = weir_source(number, p, "generator:", .options = "rate=1000 keys=50", .parallelism = 1);
    weir_sink(weir_apply(add, weir_key_by(numbers, n), .parallelism = 2), "blackhole:", .name = "gone");
}

static char        folder[64];
static pthread_t   owner;
static _Atomic int first; /* the first subtask's file + 1; 0: it is whole */

static bool is_of(const char *path, const char *subtask)
{
    return strstr(path, subtask) != NULL;
}

/* The real one, but the disk is full for the second subtask, as soon as the first one's file is whole. */
static int open_full(void *self, const char *path, int flags)
{
    if (is_of(path, "-1.wst") && (flags & WR_OPEN_CREATE) != 0) {
        while (!pthread_equal(pthread_self(), owner) && atomic_load(&first) != 0) sched_yield();
        return -ENOSPC;
    }
    int file = wr_env_real()->open(self, path, flags);
    if (is_of(path, "-0.wst") && (flags & WR_OPEN_CREATE) != 0) atomic_store(&first, file + 1);
    return file;
}
static int close_full(void *self, int file)
{
    int result = wr_env_real()->close(self, file), expected = file + 1;
    atomic_compare_exchange_strong(&first, &expected, 0);
    return result;
}

static bool count_states(void *arg, const char *name)
{
    *(uint32_t *)arg += strncmp(name, "s-", 2) == 0;
    return true;
}
static bool remove_one(void *arg, const char *name)
{
    char path[512];
    (void)arg;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    return true;
}

/* A job that takes snapshots into a folder of its own. */
typedef struct full {
    wr_origin      origin;
    wr_exec       *exec;
    wr_local      *local;
    weir_pipeline *p;
} full;

static void begin(full *f, const wr_env *env, bool fresh)
{
    wr_errinfo    info = {0};
    const wr_job *job;
    f->p = wr_job_new("full", NULL, 0);
    snprintf(folder, sizeof folder, "/tmp/weir-full-XXXXXX");
    assert_non_null(mkdtemp(folder));
    build(f->p);
    wr_job_settings settings = {
        .parallelism_default = 2, .connector = wr_connector_resolve, .inspect = wr_connector_inspect};
    if (wr_job_finish(f->p, &settings, &job, &info) != WR_OK) fail_msg("%s", info.text);
    assert_int_equal(wr_exec_new(job, &f->exec, &info), WR_OK);
    const wr_origin_config of_origin = {.env = env, .job = "full", .folder = folder, .fresh = fresh};
    assert_int_equal(wr_origin_open(&f->origin, &of_origin, &info), WR_OK);
    const wr_local_options options = {.env = env, .origin = &f->origin, .snapshot_interval_ms = 1};
    assert_int_equal(wr_local_new(&f->local, f->exec, &options, &info), WR_OK);
    wr_local_start(f->local);
}

static void end(full *f, const wr_env *env)
{
    wr_local_free(f->local);
    wr_origin_close(&f->origin);
    wr_exec_free(f->exec);
    wr_job_free(f->p);
    env->list(env->self, folder, remove_one, NULL);
    assert_int_equal(rmdir(folder), 0);
}

static void test_they_do_not_pile_up(void **state)
{
    (void)state;
    wr_env   env = *wr_env_real();
    full     f;
    uint32_t files = 0, failures = 4;
    env.open = open_full;
    env.close = close_full;
    owner = pthread_self();
    begin(&f, &env, false);
    while (wr_coordinator_machine(wr_local_snapshots(f.local))->failures_all < failures)
        wr_local_step(f.local, 1000000);
    wr_local_cancel(f.local);
    while (!wr_local_step(f.local, 1000000)) {}
    env.list(env.self, folder, count_states, &files);
    assert_in_range(files, 0, 1); /* of the last one */
    end(&f, &env);
}

static int open_no_journal(void *self, const char *path, int flags)
{
    if (strstr(path, "journal") != NULL && (flags & WR_OPEN_CREATE) != 0) return -ENOSPC;
    return wr_env_real()->open(self, path, flags);
}

/* The job fails, and says why, before any task has taken a record. */
static void test_a_lineage_that_cannot_begin(void **state)
{
    (void)state;
    wr_env            env = *wr_env_real();
    full              f;
    wr_operator_stats stats;
    env.open = open_no_journal;
    begin(&f, &env, true);
    while (!wr_local_step(f.local, 1000000)) {}
    assert_int_equal(wr_local_state(f.local), WR_JOB_FAILED);
    assert_non_null(strstr(wr_local_job(f.local)->cause.text, "journal"));
    for (uint32_t i = 0; wr_worker_operator_stats(wr_local_worker(f.local), i, &stats); i++)
        assert_true(stats.out == 0);
    end(&f, &env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_they_do_not_pile_up),
                                       cmocka_unit_test(test_a_lineage_that_cannot_begin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
