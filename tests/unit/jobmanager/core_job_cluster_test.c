/* A job in a cluster: attempts, restarts, adoption, by hand; then random events before an onlooker who knows only what
 * was said to the machine and what it said. */
#include "base/prng.h"
#include "jobmanager/core_job.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 6, ACTIONS = MOST + 8, CANCEL_MS = 3000, DEPLOY_MS = 5000 };

typedef struct bench {
    wr_core_job   job;
    wr_execution  execution[MOST];
    wr_job_action action[ACTIONS];
    uint32_t      actions;
    int64_t       now_ms;
    uint64_t      random;
} bench;

static void begin_with(bench *b, wr_restart_config restart)
{
    memset(b, 0, sizeof *b);
    b->now_ms = 1000;
    b->random = 1;
    wr_core_job_init(&b->job, b->execution, MOST, b->now_ms);
    assert_int_equal(wr_restart_complete(&restart, true, NULL), WR_OK);
    const wr_core_job_config config = {
        .restart = restart, .cancel_timeout_ms = CANCEL_MS, .deploy_timeout_ms = DEPLOY_MS};
    wr_core_job_configure(&b->job, &config);
}

static void begin(bench *b)
{
    begin_with(b, (wr_restart_config){.strategy = WR_RESTART_FIXED, .delay_ms = 500});
}

static void step(bench *b, wr_job_event event)
{
    event.now_ms = b->now_ms;
    event.random = b->random;
    b->actions = wr_core_job_step(&b->job, &event, b->action, ACTIONS);
}

static bool did(const bench *b, wr_job_action_kind kind)
{
    for (uint32_t i = 0; i < b->actions; i++)
        if (b->action[i].kind == kind) return true;
    return false;
}

static void granted(bench *b, uint32_t attempt, uint32_t subtasks)
{
    step(b, (wr_job_event){.kind = WR_JOB_GRANTED, .attempt = attempt, .subtasks = subtasks});
}

static void report(bench *b, uint32_t attempt, uint32_t subtask, wr_exec_state state, wr_err code)
{
    wr_errinfo info = {code, "told by a task"};
    step(b, (wr_job_event){.kind = WR_JOB_REPORT,
                           .subtask = subtask,
                           .attempt = attempt,
                           .reported = state,
                           .loaded = state == WR_EXEC_INITIALIZING,
                           .info = &info});
}

static void lost(bench *b, uint32_t attempt, const uint32_t *list, uint32_t n, wr_err code, bool clean)
{
    wr_errinfo info = {code, "told by its TaskManager"};
    step(b, (wr_job_event){.kind = WR_JOB_LOST,
                           .attempt = attempt,
                           .subtask = UINT32_MAX,
                           .subtask_list = list,
                           .subtasks_listed = n,
                           .info = &info,
                           .clean = clean});
}

static void all(bench *b, uint32_t attempt, wr_exec_state state)
{
    for (uint32_t i = 0; i < b->job.subtasks; i++) report(b, attempt, i, state, WR_OK);
}

/* Submitted, granted, running in its first attempt. */
static void run(bench *b)
{
    step(b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    granted(b, 1, 4);
    all(b, 1, WR_EXEC_INITIALIZING);
    all(b, 1, WR_EXEC_RUNNING);
}

/* What was sent may be read by nobody: then the attempt fails, and what came of it ends. */
static void test_something_is_heard_of_what_is_deployed(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    assert_true(wr_core_job_due(&b.job) == INT64_MAX);
    granted(&b, 1, 4);
    assert_true(wr_core_job_due(&b.job) == b.now_ms + DEPLOY_MS);
    for (uint32_t i = 0; i < 3; i++) report(&b, 1, i, WR_EXEC_INITIALIZING, WR_OK);
    b.now_ms += DEPLOY_MS - 1;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    b.now_ms++;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    assert_int_equal(b.job.state, WR_JOB_FAILING);
    assert_true(did(&b, WR_JOB_DO_CANCEL));
    assert_int_equal(b.job.cause.code, WR_TIMEOUT);
    assert_int_equal(b.job.failed_subtask, 3);
    assert_non_null(strstr(b.job.cause.text, "1 of 4 subtasks were deployed"));
    begin(&b); /* what takes its time to load is waited for */
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    granted(&b, 1, 4);
    all(&b, 1, WR_EXEC_INITIALIZING);
    assert_true(wr_core_job_due(&b.job) == INT64_MAX);
    b.now_ms += 10 * DEPLOY_MS;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
}

/* The shell found out that its number was used already. */
static void test_a_number_that_is_used_already_is_stepped_over(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    wr_core_job_number(&b.job, 7);
    wr_core_job_number(&b.job, 3);
    granted(&b, 1, 4);
    assert_int_equal(b.job.state, WR_JOB_CREATED);
    granted(&b, 7, 4);
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    all(&b, 7, WR_EXEC_INITIALIZING);
    assert_true(did(&b, WR_JOB_DO_GO));
}

static void test_first_attempt(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    assert_int_equal(b.actions, 1);
    assert_int_equal(b.action[0].kind, WR_JOB_DO_WANT);
    assert_int_equal(b.action[0].attempt, 1);
    assert_int_equal(b.job.state, WR_JOB_CREATED);
    granted(&b, 2, 4); /* of nobody */
    assert_int_equal(b.actions, 0);
    granted(&b, 1, 4);
    assert_int_equal(b.actions, 5);
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    for (uint32_t i = 0; i < 4; i++) { /* it says that it has begun to load, and later that it is loaded */
        step(&b, (wr_job_event){.kind = WR_JOB_REPORT, .subtask = i, .attempt = 1, .reported = WR_EXEC_INITIALIZING});
        assert_false(did(&b, WR_JOB_DO_GO));
        report(&b, 1, i, WR_EXEC_INITIALIZING, WR_OK);
    }
    assert_int_equal(b.actions, 1);
    assert_int_equal(b.action[0].kind, WR_JOB_DO_GO);
    all(&b, 1, WR_EXEC_RUNNING);
    for (uint32_t i = 0; i < 4; i++) report(&b, 1, i, WR_EXEC_FINISHED, WR_OK);
    assert_int_equal(b.actions, 2);
    assert_int_equal(b.action[0].state, WR_JOB_FINISHED); /* durable before workers go */
    assert_int_equal(b.action[1].kind, WR_JOB_DO_RELEASE);
}

static void test_failure_restarts(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    run(&b);
    b.now_ms += 10;
    report(&b, 1, 2, WR_EXEC_FAILED, WR_USER_FAIL);
    assert_int_equal(b.job.state, WR_JOB_FAILING);
    assert_true(wr_core_job_due(&b.job) == b.now_ms + CANCEL_MS);
    report(&b, 1, 0, WR_EXEC_CANCELED, WR_OK);
    report(&b, 1, 1, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.actions, 0);
    report(&b, 1, 3, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.actions, 3);
    assert_int_equal(b.action[0].kind, WR_JOB_DO_NOTE);
    assert_int_equal(b.action[1].state, WR_JOB_RESTARTING);
    assert_int_equal(b.action[2].kind, WR_JOB_DO_RELEASE);
    assert_int_equal(b.action[2].attempt, 1);
    assert_int_equal(b.job.cause.code, WR_USER_FAIL);
    assert_int_equal(b.job.failed_subtask, 2);
    assert_true(wr_core_job_due(&b.job) == b.now_ms + 500);
    b.now_ms += 499;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    assert_int_equal(b.actions, 0);
    b.now_ms += 1;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    assert_int_equal(b.action[0].kind, WR_JOB_DO_WANT);
    assert_int_equal(b.action[0].attempt, 2);
    assert_true(wr_core_job_due(&b.job) == INT64_MAX);
    granted(&b, 2, 4);
    report(&b, 1, 0, WR_EXEC_FAILED, WR_USER_FAIL); /* late, of the old attempt */
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    all(&b, 2, WR_EXEC_RUNNING);
    assert_int_equal(b.job.cause.code, WR_OK);
    assert_int_equal(b.job.restarts, 1);
    all(&b, 2, WR_EXEC_FINISHED);
    assert_int_equal(b.job.state, WR_JOB_FINISHED);
}

static void test_some_failures_are_for_good(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    run(&b);
    report(&b, 1, 0, WR_EXEC_FAILED, WR_BAD_RECORD);
    for (uint32_t i = 1; i < 4; i++) report(&b, 1, i, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.job.state, WR_JOB_FAILED);
    assert_int_equal(b.job.cause.code, WR_BAD_RECORD);
    assert_string_equal(b.job.why_no_restart, "trying again cannot help");
    assert_true(did(&b, WR_JOB_DO_RELEASE) && did(&b, WR_JOB_DO_NOTE));
}

/* Connections break before the death of their other end is known; the death is the cause. */
static void test_root_cause(void **state)
{
    (void)state;
    const uint32_t dead[] = {1, 3}, other[] = {0, 2};
    bench          b;
    begin(&b);
    run(&b);
    report(&b, 1, 0, WR_EXEC_FAILED, WR_UNREACHABLE);
    assert_int_equal(b.job.cause.code, WR_UNREACHABLE);
    report(&b, 1, 2, WR_EXEC_FAILED, WR_UNREACHABLE);
    lost(&b, 1, dead, 2, WR_CRASH, false);
    assert_int_equal(b.job.state, WR_JOB_RESTARTING);
    assert_int_equal(b.job.cause.code, WR_CRASH);
    assert_int_equal(b.job.failed_subtask, UINT32_MAX);
    begin(&b);
    run(&b);
    lost(&b, 1, dead, 2, WR_CRASH, false);
    lost(&b, 1, other, 2, WR_IO, false); /* later: not the cause */
    assert_int_equal(b.job.cause.code, WR_CRASH);
    begin(&b);
    run(&b);
    lost(&b, 1, dead, 2, WR_UNREACHABLE, false); /* a lost TaskManager is a cause, whatever its code */
    report(&b, 1, 0, WR_EXEC_FAILED, WR_IO);
    assert_int_equal(b.job.cause.code, WR_UNREACHABLE);
    assert_string_equal(b.job.cause.text, "told by its TaskManager");
}

static void test_worker_that_had_finished(void **state)
{
    (void)state;
    const uint32_t dead[] = {1, 3};
    bench          b;
    begin(&b);
    run(&b);
    report(&b, 1, 1, WR_EXEC_FINISHED, WR_OK);
    report(&b, 1, 3, WR_EXEC_FINISHED, WR_OK);
    lost(&b, 1, dead, 2, WR_CRASH, false);
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    report(&b, 1, 0, WR_EXEC_FINISHED, WR_OK);
    report(&b, 1, 2, WR_EXEC_FINISHED, WR_OK);
    assert_int_equal(b.job.state, WR_JOB_FINISHED);
}

static void test_kill(void **state)
{
    (void)state;
    const uint32_t stuck[] = {2, 3};
    bench          b;
    begin(&b);
    run(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.job.state, WR_JOB_CANCELLING);
    report(&b, 1, 0, WR_EXEC_CANCELED, WR_OK);
    report(&b, 1, 1, WR_EXEC_CANCELED, WR_OK);
    for (int times = 0; times < 3; times++) { /* until they are gone: an order may be lost with its connection */
        b.now_ms += CANCEL_MS - 1;
        step(&b, (wr_job_event){.kind = WR_JOB_TICK});
        assert_int_equal(b.actions, 0);
        b.now_ms += 1;
        step(&b, (wr_job_event){.kind = WR_JOB_TICK});
        assert_int_equal(b.actions, 1);
        assert_int_equal(b.action[0].kind, WR_JOB_DO_KILL);
    }
    lost(&b, 1, stuck, 2, WR_OK, true);
    assert_int_equal(b.job.state, WR_JOB_CANCELED);
    assert_true(did(&b, WR_JOB_DO_RELEASE));
}

static void test_cancel_while_it_waits(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.action[0].kind, WR_JOB_DO_FORGET);
    assert_int_equal(b.job.state, WR_JOB_CANCELED);
    granted(&b, 1, 4);
    assert_int_equal(b.actions, 0);

    begin(&b); /* in the delay of a restart */
    run(&b);
    report(&b, 1, 0, WR_EXEC_FAILED, WR_IO);
    for (uint32_t i = 1; i < 4; i++) report(&b, 1, i, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.job.state, WR_JOB_RESTARTING);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.job.state, WR_JOB_CANCELED);
    assert_true(wr_core_job_due(&b.job) == INT64_MAX);

    begin(&b); /* while it fails, and would restart */
    run(&b);
    report(&b, 1, 0, WR_EXEC_FAILED, WR_IO);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.job.state, WR_JOB_FAILING);
    for (uint32_t i = 1; i < 4; i++) report(&b, 1, i, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.job.state, WR_JOB_CANCELED);
}

static void test_stop_survives_a_restart(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    run(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_STOP});
    assert_true(did(&b, WR_JOB_DO_STOP_SOURCES));
    report(&b, 1, 0, WR_EXEC_FAILED, WR_IO);
    for (uint32_t i = 1; i < 4; i++) report(&b, 1, i, WR_EXEC_CANCELED, WR_OK);
    b.now_ms += 500;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    granted(&b, 2, 4);
    all(&b, 2, WR_EXEC_INITIALIZING);
    assert_int_equal(b.actions, 2);
    assert_int_equal(b.action[0].kind, WR_JOB_DO_GO);
    assert_int_equal(b.action[1].kind, WR_JOB_DO_STOP_SOURCES);
    all(&b, 2, WR_EXEC_FINISHED);
    assert_int_equal(b.job.state, WR_JOB_FINISHED);
}

static void test_rescale(void **state)
{
    (void)state;
    wr_execution more[MOST];
    bench        b;
    begin(&b);
    run(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_RESTART});
    assert_int_equal(b.job.state, WR_JOB_RESTARTING);
    assert_int_equal(b.actions, 5);
    report(&b, 1, 0, WR_EXEC_FAILED, WR_IO); /* on its way out */
    for (uint32_t i = 1; i < 4; i++) report(&b, 1, i, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.actions, 2);
    assert_int_equal(b.action[0].kind, WR_JOB_DO_RELEASE);
    assert_int_equal(b.action[1].kind, WR_JOB_DO_WANT); /* without delay, and not counted as a failure */
    wr_core_job_memory(&b.job, more, MOST);
    granted(&b, 2, 6);
    all(&b, 2, WR_EXEC_RUNNING);
    assert_true(b.job.went);
    assert_int_equal(b.job.subtasks, 6);
    assert_int_equal(more[5].state, WR_EXEC_RUNNING);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.job.state, WR_JOB_CANCELLING);

    begin(&b); /* while it waits: what it wants is another thing now */
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    step(&b, (wr_job_event){.kind = WR_JOB_RESTART});
    assert_int_equal(b.actions, 2);
    assert_int_equal(b.action[0].kind, WR_JOB_DO_FORGET);
    assert_int_equal(b.action[0].attempt, 1);
    assert_int_equal(b.action[1].kind, WR_JOB_DO_WANT);
    assert_int_equal(b.action[1].attempt, 2);
    assert_int_equal(b.job.state, WR_JOB_CREATED);
}

static void test_refused(void **state)
{
    (void)state;
    const wr_errinfo damaged = {WR_DAMAGED, "the newest snapshot is damaged"}, io = {WR_IO, "cannot read it"};
    bench            b;
    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT});
    step(&b, (wr_job_event){.kind = WR_JOB_REFUSED, .attempt = 1, .info = &io});
    assert_int_equal(b.action[0].kind, WR_JOB_DO_FORGET);
    assert_int_equal(b.job.state, WR_JOB_RESTARTING);
    assert_false(did(&b, WR_JOB_DO_RELEASE));
    b.now_ms += 500;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    assert_int_equal(b.action[0].attempt, 2);
    step(&b, (wr_job_event){.kind = WR_JOB_REFUSED, .attempt = 2, .info = &damaged});
    assert_int_equal(b.job.state, WR_JOB_FAILED);
    assert_int_equal(b.job.cause.code, WR_DAMAGED);
}

static void test_adopted(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_ADOPT, .attempt = 7, .subtasks = 4});
    assert_int_equal(b.job.state, WR_JOB_RECONCILING);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(b.job.state, WR_JOB_RECONCILING);
        report(&b, 7, i, i == 2 ? WR_EXEC_FINISHED : WR_EXEC_RUNNING, WR_OK);
    }
    assert_int_equal(b.actions, 2);
    assert_int_equal(b.action[0].state, WR_JOB_RUNNING);
    assert_int_equal(b.action[1].kind, WR_JOB_DO_GO); /* perhaps again: it may not have been said */
    all(&b, 7, WR_EXEC_FINISHED);
    assert_int_equal(b.job.state, WR_JOB_FINISHED);

    const uint32_t away[] = {1, 3};
    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_ADOPT, .attempt = 7, .subtasks = 4});
    report(&b, 7, 0, WR_EXEC_RUNNING, WR_OK);
    report(&b, 7, 2, WR_EXEC_RUNNING, WR_OK);
    lost(&b, 7, away, 2, WR_UNREACHABLE, false);
    assert_int_equal(b.job.state, WR_JOB_FAILING);
    report(&b, 7, 0, WR_EXEC_CANCELED, WR_OK);
    report(&b, 7, 2, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.job.state, WR_JOB_RESTARTING);
    b.now_ms += 500;
    step(&b, (wr_job_event){.kind = WR_JOB_TICK});
    assert_int_equal(b.action[0].attempt, 8);

    begin(&b); /* its tasks were being canceled when the JobManager died: it starts again */
    step(&b, (wr_job_event){.kind = WR_JOB_ADOPT, .attempt = 7, .subtasks = 4});
    for (uint32_t i = 0; i < 4; i++) report(&b, 7, i, WR_EXEC_CANCELED, WR_OK);
    assert_int_equal(b.job.state, WR_JOB_RESTARTING);
    assert_int_equal(b.job.cause.code, WR_UNREACHABLE);

    begin(&b); /* comes back without an attempt */
    step(&b, (wr_job_event){.kind = WR_JOB_SUBMIT, .attempt = 7});
    assert_int_equal(b.job.state, WR_JOB_RESTARTING);
    assert_int_equal(b.action[b.actions - 1].kind, WR_JOB_DO_WANT);
    assert_int_equal(b.action[b.actions - 1].attempt, 8);
}

/* ---- random events ---- */

enum { WORKERS = 3 };
/* What the onlooker knows; he never looks into the machine but for its state. */
typedef struct onlooker {
    bench        b;
    wr_prng      random;
    wr_job_state job;
    uint32_t     wanted, newest, deployed, subtasks; /* attempts; of the deployed one */
    bool         open;                               /* the deployed attempt was not released */
    bool         went, stopped, stop_ordered, cancel_ordered, fatal, restart_ordered, failed;
    bool         final[MOST], canceled[MOST], loaded[MOST], known[MOST], adopted;
    bool         heard[MOST];
    int64_t      canceled_ms, deployed_ms;
    uint32_t     silences, notes, releases, goes, kills, wants, adoptions;
} onlooker;

static bool over(const onlooker *o)
{
    for (uint32_t i = 0; i < o->subtasks; i++)
        if (!o->final[i]) return false;
    return true;
}

static void look_deploy(onlooker *o, const wr_job_action *a)
{
    if (a->attempt != o->deployed) { /* the first of its attempt */
        assert_false(o->open);       /* two attempts never run side by side */
        memset(o->heard, 0, sizeof o->heard);
        o->deployed_ms = o->b.now_ms;
        assert_int_equal(a->attempt, o->wanted);
        o->wanted = 0;
        o->deployed = a->attempt;
        o->open = true;
        o->went = o->stopped = o->failed = o->restart_ordered = o->adopted = false;
        memset(o->final, 1, sizeof o->final);
        memset(o->canceled, 0, sizeof o->canceled);
        memset(o->loaded, 0, sizeof o->loaded);
    }
    assert_true(a->subtask < o->subtasks && o->final[a->subtask]);
    o->final[a->subtask] = false;
}

static void look_attempt(onlooker *o, const wr_job_action *a)
{
    assert_true(o->open && a->attempt == o->deployed);
    switch (a->kind) {
    case WR_JOB_DO_GO:
        assert_false(o->went);
        o->went = true;
        o->goes++;
        for (uint32_t i = 0; i < o->subtasks; i++) assert_true(o->loaded[i]);
        break;
    case WR_JOB_DO_STOP_SOURCES:
        assert_true(o->went && o->stop_ordered && !o->stopped);
        o->stopped = true;
        break;
    case WR_JOB_DO_CANCEL:
        assert_true(!o->final[a->subtask] && !o->canceled[a->subtask]);
        o->canceled[a->subtask] = true;
        o->canceled_ms = o->b.now_ms;
        break;
    case WR_JOB_DO_KILL:
        assert_true(!over(o) && o->b.now_ms - o->canceled_ms >= CANCEL_MS);
        o->kills++;
        break;
    default: /* RELEASE */
        assert_true(over(o));
        o->open = false;
        o->releases++;
    }
}

static void look(onlooker *o)
{
    bool final = wr_job_state_final(o->job);
    for (uint32_t i = 0; i < o->b.actions; i++) {
        const wr_job_action *a = &o->b.action[i];
        if (final) assert_int_equal(a->kind, WR_JOB_DO_RELEASE);
        switch (a->kind) {
        case WR_JOB_DO_TELL:
            o->job = a->state;
            final = wr_job_state_final(a->state);
            break;
        case WR_JOB_DO_WANT:
            assert_true(!o->open && o->wanted == 0 && a->attempt > o->newest);
            o->newest = o->wanted = a->attempt;
            o->wants++;
            break;
        case WR_JOB_DO_FORGET:
            assert_int_equal(a->attempt, o->wanted);
            o->wanted = 0;
            break;
        case WR_JOB_DO_NOTE:
            assert_true(o->failed && (!o->open || over(o)));
            o->failed = false;
            o->notes++;
            break;
        case WR_JOB_DO_DEPLOY: look_deploy(o, a); break;
        default: look_attempt(o, a); break;
        }
    }
    assert_int_equal(o->job, o->b.job.state);
    if (final) assert_int_equal(o->wanted, 0);
    if (final) assert_false(o->open); /* nothing is left behind */
    if (o->open && (o->failed || o->restart_ordered || o->job == WR_JOB_CANCELLING))
        for (uint32_t i = 0; i < o->subtasks; i++) assert_true(o->final[i] || o->canceled[i]);
    if (o->job == WR_JOB_FINISHED) assert_false(o->failed);
    /* It never just sits there: it runs, or waits for somebody, or for a time. */
    if (!final) assert_true(o->open || o->wanted != 0 || wr_core_job_due(&o->b.job) != INT64_MAX);
    wr_core_job_check(&o->b.job);
}

static bool is_failing(const onlooker *o)
{
    return o->open && !o->failed && !o->restart_ordered && !o->cancel_ordered;
}

static void say_report(onlooker *o)
{
    static const wr_exec_state STATE[] = {WR_EXEC_INITIALIZING, WR_EXEC_INITIALIZING, WR_EXEC_RUNNING, WR_EXEC_RUNNING,
                                          WR_EXEC_FINISHED,     WR_EXEC_CANCELED,     WR_EXEC_FAILED};
    static const wr_err        CODE[] = {WR_IO, WR_UNREACHABLE, WR_USER_FAIL, WR_BAD_RECORD};
    uint32_t                   subtask = (uint32_t)wr_prng_below(&o->random, MOST);
    uint32_t      attempt = wr_prng_one_in(&o->random, 6) ? (uint32_t)wr_prng_below(&o->random, 4) : o->deployed;
    wr_exec_state to = STATE[wr_prng_below(&o->random, 7)];
    bool          counts = o->open && attempt == o->deployed && subtask < o->subtasks && !o->final[subtask];
    if (to >= WR_EXEC_FINISHED && counts && !o->canceled[subtask] && !wr_prng_one_in(&o->random, 6)) return;
    if (to == WR_EXEC_FINISHED && counts && !o->went) return; /* nobody does before GO */
    if (counts && to >= WR_EXEC_FINISHED) {
        bool fails = to == WR_EXEC_FAILED || (to == WR_EXEC_CANCELED && !o->canceled[subtask]);
        if (fails && is_failing(o)) o->failed = true;
        o->final[subtask] = true;
    }
    if (counts && to <= WR_EXEC_FINISHED) o->loaded[subtask] = true;
    if (counts) o->heard[subtask] = true;
    wr_err code = CODE[wr_prng_below(&o->random, wr_prng_one_in(&o->random, 10) ? 4 : 3)];
    report(&o->b, attempt, subtask, to, code);
}

static void say_lost(onlooker *o)
{
    uint32_t list[MOST], n = 0, worker = (uint32_t)wr_prng_below(&o->random, WORKERS);
    bool     clean = wr_prng_one_in(&o->random, 3), missing = false;
    uint32_t attempt = wr_prng_one_in(&o->random, 6) ? o->deployed + 1 : o->deployed;
    for (uint32_t i = worker; i < o->subtasks; i += WORKERS) {
        list[n++] = i;
        if (attempt != o->deployed || !o->open) continue;
        missing |= !o->final[i] && !o->canceled[i];
        o->final[i] = true;
    }
    if (missing && is_failing(o)) o->failed = true;
    lost(&o->b, attempt, list, n, clean ? WR_OK : WR_CRASH, clean);
}

static void say_granted(onlooker *o)
{
    if (o->wanted == 0 || wr_prng_one_in(&o->random, 8)) {
        granted(&o->b, o->newest + 5, MOST);
        return;
    }
    if (wr_prng_one_in(&o->random, 12)) {
        wr_errinfo info = {WR_IO, "refused"};
        o->failed = true;
        step(&o->b, (wr_job_event){.kind = WR_JOB_REFUSED, .attempt = o->wanted, .info = &info});
        return;
    }
    o->subtasks = 1 + (uint32_t)wr_prng_below(&o->random, MOST);
    granted(&o->b, o->wanted, o->subtasks);
}

static void say_order(onlooker *o, wr_job_event_kind kind)
{
    if (kind == WR_JOB_CANCEL && o->job != WR_JOB_FAILING) o->cancel_ordered = true;
    if (kind == WR_JOB_STOP) o->stop_ordered = true;
    if (kind == WR_JOB_RESTART && (o->job == WR_JOB_RUNNING || o->job == WR_JOB_RECONCILING)) o->restart_ordered = true;
    step(&o->b, (wr_job_event){.kind = kind});
}

static void say_adopt(onlooker *o)
{
    o->subtasks = 1 + (uint32_t)wr_prng_below(&o->random, MOST);
    o->deployed = o->newest = 3;
    o->open = true;
    o->adoptions++;
    memset(o->final, 0, sizeof o->final);
    memset(o->heard, 1, sizeof o->heard); /* of these it is known that they were */
    step(&o->b, (wr_job_event){.kind = WR_JOB_ADOPT, .attempt = 3, .subtasks = o->subtasks});
}

static void say_tick(onlooker *o)
{
    bool silent = false;
    for (uint32_t i = 0; i < o->subtasks && o->b.now_ms - o->deployed_ms >= DEPLOY_MS; i++)
        silent |= !o->heard[i] && !o->final[i];
    if (silent && is_failing(o)) {
        o->failed = true;
        o->silences++;
    }
    step(&o->b, (wr_job_event){.kind = WR_JOB_TICK});
}

static void say_something(onlooker *o)
{
    uint64_t what = wr_prng_below(&o->random, 100);
    o->b.now_ms += (int64_t)wr_prng_below(&o->random, wr_prng_one_in(&o->random, 10) ? 4000 : 50);
    o->b.random = wr_prng_next(&o->random);
    if (what < 60)
        say_report(o);
    else if (what < 64)
        say_lost(o);
    else if (what < 80)
        say_granted(o);
    else if (what < 96)
        say_tick(o);
    else if (what < 97)
        say_order(o, WR_JOB_STOP);
    else if (what < 98)
        say_order(o, WR_JOB_RESTART);
    else if (wr_prng_one_in(&o->random, 3))
        say_order(o, WR_JOB_CANCEL);
}

/* From here on everything goes well: the job must come to its end. */
static void go_well(onlooker *o)
{
    for (uint32_t n = 0; n < 200 && !wr_job_state_final(o->job); n++) {
        o->b.actions = 0;
        if (o->wanted != 0) {
            o->subtasks = 3;
            granted(&o->b, o->wanted, 3);
        } else if (!o->open) {
            int64_t due_ms = wr_core_job_due(&o->b.job);
            if (due_ms > o->b.now_ms) o->b.now_ms = due_ms;
            step(&o->b, (wr_job_event){.kind = WR_JOB_TICK});
        } else {
            uint32_t i = 0;
            while (i < o->subtasks && (o->final[i] || (!o->went && o->loaded[i] && !o->canceled[i]))) i++;
            if (i == o->subtasks) { /* loaded, all of it, but not told to go */
                assert_true(o->went);
                continue;
            }
            wr_exec_state to = o->canceled[i] ? WR_EXEC_CANCELED : o->went ? WR_EXEC_FINISHED : WR_EXEC_RUNNING;
            o->loaded[i] = true;
            o->final[i] = to >= WR_EXEC_FINISHED;
            report(&o->b, o->deployed, i, to, WR_OK);
        }
        look(o);
    }
    assert_true(wr_job_state_final(o->job));
}

static void test_random_events(void **state)
{
    (void)state;
    uint32_t seen[WR_JOB_STATES] = {0}, notes = 0, goes = 0, kills = 0, wants = 0, adoptions = 0, silences = 0;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        onlooker o = {.random = wr_prng_of(seed), .job = WR_JOB_CREATED};
        begin_with(&o.b, (wr_restart_config){.strategy = WR_RESTART_NONE + (uint32_t)(seed % 4), .attempts = 6});
        if (wr_prng_one_in(&o.random, 4))
            say_adopt(&o);
        else
            step(&o.b, (wr_job_event){.kind = WR_JOB_SUBMIT});
        look(&o);
        for (uint32_t n = (uint32_t)wr_prng_below(&o.random, 250); n > 0; n--) {
            o.b.actions = 0;
            say_something(&o);
            look(&o);
        }
        go_well(&o);
        seen[o.job]++;
        notes += o.notes;
        goes += o.goes;
        kills += o.kills;
        wants += o.wants;
        adoptions += o.adoptions;
        silences += o.silences;
    }
    assert_true(seen[WR_JOB_FINISHED] > 1000 && seen[WR_JOB_FAILED] > 1000 && seen[WR_JOB_CANCELED] > 1000);
    assert_true(notes > 5000 && goes > 5000 && kills > 500 && wants > 20000 && adoptions > 1000);
    assert_true(silences > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_attempt),
        cmocka_unit_test(test_something_is_heard_of_what_is_deployed),
        cmocka_unit_test(test_a_number_that_is_used_already_is_stepped_over),
        cmocka_unit_test(test_failure_restarts),
        cmocka_unit_test(test_some_failures_are_for_good),
        cmocka_unit_test(test_root_cause),
        cmocka_unit_test(test_worker_that_had_finished),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_cancel_while_it_waits),
        cmocka_unit_test(test_stop_survives_a_restart),
        cmocka_unit_test(test_rescale),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_adopted),
        cmocka_unit_test(test_random_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
