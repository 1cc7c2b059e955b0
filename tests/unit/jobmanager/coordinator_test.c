/* The coordinator by itself: its job ends while a savepoint is being written, and who waits for it hears of that. */
#include "connectors/connectors.h"
#include "graph/exec.h"
#include "jobmanager/coordinator.h"
#include "jobmanager/savepoint.h"
#include "tests/unit/jobmanager/folder.h"
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <weir/pipeline.h>

WEIR_RECORD(number, (uint64_t, n))

enum { PATIENCE_MS = 20000 };

static _Atomic bool blocked, go_on;

/* The savepoint's manifest is not written before somebody waits for its writer. */
static int open_later(void *self, const char *path, int flags)
{
    if (strstr(path, "savepoint.wman") == NULL || !(flags & WR_OPEN_CREATE))
        return wr_env_real()->open(self, path, flags);
    atomic_store(&blocked, true);
    int64_t until = wr_env_real()->mono_ns(NULL) + PATIENCE_MS * INT64_C(1000000);
    while (!atomic_load(&go_on) && wr_env_real()->mono_ns(NULL) < until) sched_yield();
    return -EIO;
}
static void park_and_go_on(void *self, wr_parker *parker, int64_t timeout_ns)
{
    atomic_store(&go_on, true);
    wr_env_real()->park(self, parker, timeout_ns);
}

static _Atomic int64_t ahead_ns; /* of the real clock */

static int64_t clock_ahead(void *self)
{
    return wr_env_real()->mono_ns(self) + atomic_load(&ahead_ns);
}
static void park_in_vain(void *self, wr_parker *parker, int64_t timeout_ns)
{
    (void)self;
    wr_parker_cancel(parker);
    atomic_fetch_add(&ahead_ns, timeout_ns > 0 ? timeout_ns : 1000000);
}

/* What the coordinator said. */
static struct {
    wr_barrier barrier;
    uint32_t   answers, finishes;
    uint64_t   ticket, id, failed_id;
    wr_errinfo why, failed_why;
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

static void failed(void *self, const wr_snapshot_record *r)
{
    (void)self;
    assert_non_null(r);
    told.failed_id = r->id;
    told.failed_why = r->why;
}

/* One job of two tasks, and the coordinator of its snapshots. */
static struct {
    wr_env          env;
    wr_origin       origin;
    wr_exec        *exec;
    weir_pipeline  *pipeline;
    wr_coordinator *coordinator;
} world;

static void begin(void)
{
    wr_errinfo    info = {0};
    const wr_job *job;
    memset(&told, 0, sizeof told);
    world.env = *wr_env_real();
    mkdir(folder, 0700);
    world.pipeline = wr_job_new("saved", NULL, 0);
    weir_sink(weir_source(number, world.pipeline, "generator:", .parallelism = 1), "blackhole:", .parallelism = 1,
              .name = "gone");
    wr_job_settings settings = {.connector = wr_connector_resolve, .inspect = wr_connector_inspect};
    assert_int_equal(wr_job_finish(world.pipeline, &settings, &job, &info), WR_OK);
    assert_int_equal(wr_exec_new(job, &world.exec, &info), WR_OK);
    const wr_origin_config of_origin = {.env = &world.env, .job = "saved", .folder = folder};
    assert_int_equal(wr_origin_open(&world.origin, &of_origin, &info), WR_OK);
    const wr_coordinator_options options = {.env = &world.env,
                                            .origin = &world.origin,
                                            .timeout_ms = 1000000,
                                            .keep = 3,
                                            .order = order,
                                            .answer = answer,
                                            .failed = failed,
                                            .wake = wake};
    assert_int_equal(wr_coordinator_new(&world.coordinator, world.exec, &options, &info), WR_OK);
    for (uint32_t i = 0; i < world.exec->subtasks; i++) wr_coordinator_report(world.coordinator, i, WR_TASK_RUNNING);
}

static void end(void)
{
    wr_coordinator_close(world.coordinator);
    wr_coordinator_free(world.coordinator);
    wr_origin_close(&world.origin);
    wr_exec_free(world.exec);
    wr_job_free(world.pipeline);
}

/* stops: `stop --savepoint`, whose last snapshot is there already; else `savepoint`. */
static void closed_while_saving(bool stops)
{
    char target[100];
    begin();
    atomic_store(&blocked, false);
    atomic_store(&go_on, false);
    world.env.open = open_later;
    world.env.park = park_and_go_on;
    snprintf(target, sizeof target, "%s/saved", folder_top);
    int64_t begun_ms = world.env.mono_ns(world.env.self) / 1000000, since_ms = 0;
    assert_null(wr_coordinator_saving(world.coordinator, &since_ms));
    if (stops)
        wr_coordinator_stop(world.coordinator, 7, false, target);
    else
        wr_coordinator_request(world.coordinator, 7, WR_SAVEPOINT, target);
    wr_coordinator_step(world.coordinator);
    assert_true(told.barrier.id != 0);
    all_ack(world.coordinator, world.exec);
    while (!atomic_load(&blocked)) sched_yield();
    assert_int_equal(told.answers, 0);
    assert_string_equal(wr_coordinator_saving(world.coordinator, &since_ms), target);
    assert_true(since_ms >= begun_ms && since_ms <= world.env.mono_ns(world.env.self) / 1000000);
    wr_coordinator_close(world.coordinator);
    assert_null(wr_coordinator_saving(world.coordinator, &since_ms));
    assert_int_equal(told.answers, 1);
    assert_true(told.ticket == 7 && told.why.code != WR_OK && told.why.text[0] != 0);
    assert_int_equal(told.finishes, 0);
    end();
    assert_int_equal(told.answers, 1);
    assert_int_equal(access(target, F_OK), -1);
}

/* A folder that does not answer keeps nobody but who writes there; until it does, nobody else is let in. */
static void a_folder_that_hangs(void **state)
{
    (void)state;
    char       target[100];
    wr_errinfo info = {0};
    begin();
    atomic_store(&blocked, false);
    atomic_store(&go_on, false);
    world.env.open = open_later;
    world.env.park = park_in_vain;
    world.env.mono_ns = clock_ahead;
    snprintf(target, sizeof target, "%s/saved", folder_top);
    wr_coordinator_request(world.coordinator, 7, WR_SAVEPOINT, target);
    wr_coordinator_step(world.coordinator);
    all_ack(world.coordinator, world.exec);
    while (!atomic_load(&blocked)) sched_yield();
    wr_coordinator_close(world.coordinator);
    assert_true(told.answers == 1 && told.ticket == 7);
    assert_int_equal(told.why.code, WR_CANCELED);
    assert_true(strstr(told.why.text, "does not answer") != NULL && strstr(told.why.text, target) != NULL);
    end();
    begin(); /* another attempt */
    wr_coordinator_request(world.coordinator, 8, WR_SAVEPOINT, target);
    assert_true(told.answers == 1 && told.ticket == 8);
    assert_int_equal(told.why.code, WR_BUSY);
    assert_non_null(strstr(told.why.text, target));
    end();
    assert_false(atomic_load(&go_on));
    atomic_store(&go_on, true);
    while (wr_savepoint_may_write(wr_env_real(), target, &info) == WR_BUSY) sched_yield();
    assert_int_equal(access(target, F_OK), -1);
}

/* What cannot be written is refused before there is a barrier; it holds nothing up, and no snapshot has failed. */
static void a_place_that_is_none(void **state)
{
    (void)state;
    char target[3][100];
    begin();
    snprintf(target[0], sizeof target[0], "%s/is-not/there", folder_top);
    snprintf(target[1], sizeof target[1], "%s/journal", folder); /* a file */
    snprintf(target[2], sizeof target[2], "%s", folder);         /* not empty */
    for (uint32_t i = 0; i < 3; i++) {
        wr_coordinator_request(world.coordinator, 3 + i, WR_SAVEPOINT, target[i]);
        assert_int_equal(told.answers, i + 1);
        assert_true(told.ticket == 3 + i && told.why.code != WR_OK && strstr(told.why.text, target[i]) != NULL);
    }
    wr_coordinator_request(world.coordinator, 9, WR_SAVEPOINT, "");
    assert_int_equal(told.why.code, WR_USAGE);
    wr_coordinator_step(world.coordinator);
    assert_true(told.barrier.id == 0 && told.failed_id == 0);
    assert_int_equal(wr_coordinator_machine(world.coordinator)->failures_all, 0);
    end();
}

/* One fails, and the next begins in the same step: it is the one that failed which is told. */
static void a_failure_is_told_of_the_one_that_failed(void **state)
{
    (void)state;
    char target[2][100], full[120];
    begin();
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(target[i], sizeof target[i], "%s/saved-%u", folder_top, i);
        wr_coordinator_request(world.coordinator, 1 + i, WR_SAVEPOINT, target[i]);
    }
    wr_coordinator_step(world.coordinator);
    uint64_t first = told.barrier.id;
    assert_true(first != 0);
    snprintf(full, sizeof full, "%s/in-the-way", target[0]); /* since it was asked for */
    mkdir(target[0], 0700);
    mkdir(full, 0700);
    all_ack(world.coordinator, world.exec);
    while (told.answers == 0) {
        wr_coordinator_step(world.coordinator);
        sched_yield();
    }
    assert_true(told.ticket == 1 && strstr(told.why.text, "not empty") != NULL);
    assert_true(told.barrier.id > first);
    assert_true(told.failed_id == first);
    assert_non_null(strstr(told.failed_why.text, "not empty"));
    end();
    rmdir(full);
    rmdir(target[0]);
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
        cmocka_unit_test_setup_teardown(a_folder_that_hangs, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(a_place_that_is_none, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(a_failure_is_told_of_the_one_that_failed, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
