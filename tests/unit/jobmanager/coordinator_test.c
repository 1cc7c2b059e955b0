/* The coordinator by itself: its job ends while a savepoint is being written, and who waits for it hears of that. */
#include "connectors/connectors.h"
#include "graph/exec.h"
#include "jobmanager/coordinator.h"
#include "tests/unit/jobmanager/folder.h"
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <weir/pipeline.h>

WEIR_RECORD(number, (uint64_t, n))

static _Atomic bool blocked, go_on;

/* The savepoint's manifest is not written before somebody waits for its writer. */
static int open_later(void *self, const char *path, int flags)
{
    if (strstr(path, "savepoint.wman") == NULL || !(flags & WR_OPEN_CREATE))
        return wr_env_real()->open(self, path, flags);
    atomic_store(&blocked, true);
    while (!atomic_load(&go_on)) sched_yield();
    return -EIO;
}
static void join_now(void *self, wr_thread *thread)
{
    atomic_store(&go_on, true);
    wr_env_real()->thread_join(self, thread);
}

/* What the coordinator said. */
static struct {
    wr_barrier barrier;
    uint32_t   answers, finishes;
    uint64_t   ticket, id;
    wr_errinfo why;
} told;

static void order(void *self, const wr_worker_order *o)
{
    (void)self;
    if (o->verb == WR_DO_TRIGGER) told.barrier = o->barrier;
    told.finishes += o->verb == WR_DO_FINISH;
}
static void answer(void *self, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    (void)self;
    told.answers++;
    told.ticket = ticket;
    told.id = id;
    told.why = why != NULL ? *why : (wr_errinfo){0};
}
static void wake(void *self)
{
    (void)self;
}

static void all_ack(wr_coordinator *c, const wr_exec *exec)
{
    uint64_t id = told.barrier.id;
    for (uint32_t i = 0; i < exec->subtasks; i++) {
        wr_ack *ack = calloc(1, sizeof *ack);
        ack->id = id;
        ack->subtask = i;
        ack->attempt = exec->subtask[i].attempt;
        wr_coordinator_ack(c, ack);
    }
}

/* stops: `stop --savepoint`, whose last snapshot is there already; else `savepoint`. */
static void closed_while_saving(bool stops)
{
    wr_env          env = *wr_env_real();
    wr_errinfo      info = {0};
    wr_origin       origin;
    wr_exec        *exec;
    const wr_job   *job;
    char            target[100];
    weir_pipeline  *p = wr_job_new("saved", NULL, 0);
    wr_coordinator *c;
    memset(&told, 0, sizeof told);
    atomic_store(&blocked, false);
    atomic_store(&go_on, false);
    env.open = open_later;
    env.thread_join = join_now;
    mkdir(folder, 0700);
    snprintf(target, sizeof target, "%s/saved", folder_top);
    weir_sink(weir_source(number, p, "generator:", .parallelism = 1), "blackhole:", .parallelism = 1, .name = "gone");
    wr_job_settings settings = {.connector = wr_connector_resolve, .inspect = wr_connector_inspect};
    assert_int_equal(wr_job_finish(p, &settings, &job, &info), WR_OK);
    assert_int_equal(wr_exec_new(job, &exec, &info), WR_OK);
    const wr_origin_config of_origin = {.env = &env, .job = "saved", .folder = folder};
    assert_int_equal(wr_origin_open(&origin, &of_origin, &info), WR_OK);
    const wr_coordinator_options options = {.env = &env,
                                            .origin = &origin,
                                            .timeout_ms = 1000000,
                                            .keep = 3,
                                            .order = order,
                                            .answer = answer,
                                            .wake = wake};
    assert_int_equal(wr_coordinator_new(&c, exec, &options, &info), WR_OK);
    for (uint32_t i = 0; i < exec->subtasks; i++) wr_coordinator_report(c, i, WR_TASK_RUNNING);
    if (stops)
        wr_coordinator_stop(c, 7, false, target);
    else
        wr_coordinator_request(c, 7, WR_SAVEPOINT, target);
    wr_coordinator_step(c);
    assert_true(told.barrier.id != 0);
    all_ack(c, exec);
    while (!atomic_load(&blocked)) sched_yield();
    assert_int_equal(told.answers, 0);
    wr_coordinator_close(c);
    assert_int_equal(told.answers, 1);
    assert_true(told.ticket == 7 && told.why.code != WR_OK && told.why.text[0] != 0);
    assert_int_equal(told.finishes, 0);
    wr_coordinator_close(c);
    wr_coordinator_free(c);
    assert_int_equal(told.answers, 1);
    assert_int_equal(access(target, F_OK), -1);
    wr_origin_close(&origin);
    wr_exec_free(exec);
    wr_job_free(p);
}

static void a_savepoint(void **state)
{
    (void)state;
    closed_while_saving(false);
}

static void a_stop_with_a_savepoint(void **state)
{
    (void)state;
    closed_while_saving(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_savepoint, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(a_stop_with_a_savepoint, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
