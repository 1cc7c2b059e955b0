/* The life of a job: each transition by hand, then random events against the invariants. */
#include "base/prng.h"
#include "jobmanager/core_job.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { SUBTASKS = 5, ACTIONS = SUBTASKS + 8 };

typedef struct bench {
    wr_core_job   job;
    wr_execution  execution[SUBTASKS];
    wr_job_action action[ACTIONS];
    uint32_t      actions;
    int64_t       now_ms;
} bench;

static void begin(bench *b)
{
    memset(b, 0, sizeof *b);
    b->now_ms = 100;
    wr_core_job_init(&b->job, b->execution, SUBTASKS, b->now_ms);
}

static void step(bench *b, wr_job_event event)
{
    event.now_ms = ++b->now_ms;
    b->actions = wr_core_job_step(&b->job, &event, b->action, ACTIONS);
}

static void submit(bench *b)
{
    step(b, (wr_job_event){.kind = WR_JOB_SUBMIT, .subtasks = SUBTASKS});
}

static void report(bench *b, uint32_t subtask, wr_exec_state state)
{
    wr_errinfo info = {WR_USER_FAIL, ""};
    snprintf(info.text, sizeof info.text, "subtask %u broke", subtask);
    step(b, (wr_job_event){.kind = WR_JOB_REPORT,
                           .subtask = subtask,
                           .attempt = 1,
                           .reported = state,
                           .info = state == WR_EXEC_FAILED ? &info : NULL});
}

static void expect(const bench *b, uint32_t at, wr_job_action_kind kind, uint32_t value)
{
    assert_true(at < b->actions);
    assert_int_equal(b->action[at].kind, kind);
    if (kind == WR_JOB_DO_TELL)
        assert_int_equal(b->action[at].state, value);
    else if (kind != WR_JOB_DO_STOP_SOURCES)
        assert_int_equal(b->action[at].subtask, value);
}

static void test_runs_to_the_end(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    assert_int_equal(b.actions, 1 + SUBTASKS);
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_RUNNING);
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        expect(&b, 1 + i, WR_JOB_DO_DEPLOY, i);
        assert_int_equal(b.action[1 + i].attempt, 1);
    }
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        report(&b, i, WR_EXEC_INITIALIZING);
        report(&b, i, WR_EXEC_RUNNING);
        assert_int_equal(b.actions, 0);
    }
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        assert_int_equal(b.job.state, WR_JOB_RUNNING);
        report(&b, i, WR_EXEC_FINISHED);
    }
    assert_int_equal(b.actions, 1);
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_FINISHED);
    assert_int_equal(b.job.cause.code, WR_OK);
    assert_int_equal(b.job.since_ms[WR_JOB_FINISHED], b.now_ms);
}

static void test_one_failure_cancels_all(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    report(&b, 0, WR_EXEC_FINISHED);
    report(&b, 3, WR_EXEC_FAILED);
    assert_int_equal(b.actions, 1 + 3);
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_FAILING);
    expect(&b, 1, WR_JOB_DO_CANCEL, 1);
    expect(&b, 2, WR_JOB_DO_CANCEL, 2);
    expect(&b, 3, WR_JOB_DO_CANCEL, 4);
    report(&b, 1, WR_EXEC_FAILED); /* a second failure: not the cause */
    report(&b, 2, WR_EXEC_CANCELED);
    assert_int_equal(b.job.state, WR_JOB_FAILING);
    report(&b, 4, WR_EXEC_FINISHED); /* it was faster than the order */
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_FAILED);
    assert_int_equal(b.job.cause.code, WR_USER_FAIL);
    assert_string_equal(b.job.cause.text, "subtask 3 broke");
    assert_int_equal(b.job.failed_subtask, 3);
}

static void test_failure_of_the_last_subtask(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    for (uint32_t i = 0; i + 1 < SUBTASKS; i++) report(&b, i, WR_EXEC_FINISHED);
    report(&b, SUBTASKS - 1, WR_EXEC_FAILED);
    assert_int_equal(b.actions, 2);
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_FAILING);
    expect(&b, 1, WR_JOB_DO_TELL, WR_JOB_FAILED);
}

static void test_cancel(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    report(&b, 2, WR_EXEC_FINISHED);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.actions, 1 + 4);
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_CANCELLING);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.actions, 0);
    report(&b, 0, WR_EXEC_FAILED); /* on the way out: not a failure of the job */
    report(&b, 1, WR_EXEC_CANCELED);
    report(&b, 3, WR_EXEC_CANCELED);
    report(&b, 4, WR_EXEC_CANCELED);
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_CANCELED);
    assert_int_equal(b.job.cause.code, WR_CANCELED);

    begin(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL}); /* before it ran */
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_CANCELED);
    submit(&b);
    assert_int_equal(b.actions, 0);
    assert_int_equal(b.job.state, WR_JOB_CANCELED);
}

static void test_cancel_does_not_hide_a_failure(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    report(&b, 0, WR_EXEC_FAILED);
    step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
    assert_int_equal(b.actions, 0);
    for (uint32_t i = 1; i < SUBTASKS; i++) report(&b, i, WR_EXEC_CANCELED);
    assert_int_equal(b.job.state, WR_JOB_FAILED);
    assert_int_equal(b.job.cause.code, WR_USER_FAIL);
}

static void test_stop_drains(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_STOP});
    assert_int_equal(b.actions, 1);
    expect(&b, 0, WR_JOB_DO_STOP_SOURCES, 0);
    step(&b, (wr_job_event){.kind = WR_JOB_STOP});
    assert_int_equal(b.actions, 0);
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    for (uint32_t i = 0; i < SUBTASKS; i++) report(&b, i, WR_EXEC_FINISHED);
    assert_int_equal(b.job.state, WR_JOB_FINISHED);
}

static void test_stale_and_repeated_reports(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    step(&b, (wr_job_event){.kind = WR_JOB_REPORT, .subtask = 1, .attempt = 2, .reported = WR_EXEC_FAILED});
    step(&b, (wr_job_event){.kind = WR_JOB_REPORT, .subtask = 1, .attempt = 0, .reported = WR_EXEC_FAILED});
    step(&b, (wr_job_event){.kind = WR_JOB_REPORT, .subtask = SUBTASKS, .attempt = 1, .reported = WR_EXEC_FAILED});
    step(&b, (wr_job_event){.kind = WR_JOB_REPORT, .subtask = 1, .attempt = 1, .reported = WR_EXEC_CREATED});
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    assert_int_equal(b.job.ignored, 4);
    report(&b, 1, WR_EXEC_RUNNING);
    report(&b, 1, WR_EXEC_INITIALIZING); /* overtaken */
    assert_int_equal(b.execution[1].state, WR_EXEC_RUNNING);
    report(&b, 1, WR_EXEC_FINISHED);
    report(&b, 1, WR_EXEC_FINISHED);
    report(&b, 1, WR_EXEC_FAILED);
    assert_int_equal(b.job.state, WR_JOB_RUNNING);
    assert_int_equal(b.job.ignored, 7);
}

static void test_canceled_without_order_is_a_failure(void **state)
{
    (void)state;
    bench b;
    begin(&b);
    submit(&b);
    report(&b, 0, WR_EXEC_CANCELED);
    expect(&b, 0, WR_JOB_DO_TELL, WR_JOB_FAILING);
    assert_int_equal(b.job.cause.code, WR_INTERNAL);
}

/* What the machine has told so far, kept apart from it. */
typedef struct model {
    wr_exec_state state[SUBTASKS];
    bool          deployed[SUBTASKS], canceled[SUBTASKS];
    wr_job_state  job;
    bool          failed, cancel_first, stopped;
    uint32_t      first_failure;
} model;

static void apply_actions(const bench *b, model *m)
{
    for (uint32_t i = 0; i < b->actions; i++) {
        const wr_job_action *a = &b->action[i];
        assert_false(wr_job_state_final(m->job)); /* nothing comes after the end */
        switch (a->kind) {
        case WR_JOB_DO_DEPLOY:
            assert_false(m->deployed[a->subtask]);
            m->deployed[a->subtask] = true;
            break;
        case WR_JOB_DO_CANCEL:
            assert_true(m->deployed[a->subtask] && !m->canceled[a->subtask]);
            assert_false(wr_exec_state_final(m->state[a->subtask]));
            m->canceled[a->subtask] = true;
            break;
        case WR_JOB_DO_STOP_SOURCES:
            assert_false(m->stopped);
            m->stopped = true;
            break;
        case WR_JOB_DO_TELL: m->job = a->state; break;
        default: fail_msg("an action of a cluster");
        }
    }
}

static void verify(const bench *b, const model *m, bool submitted)
{
    assert_int_equal(b->job.state, m->job);
    if (!submitted) return;
    uint32_t ended = 0, finished = 0;
    for (uint32_t i = 0; i < SUBTASKS; i++) {
        bool final = wr_exec_state_final(m->state[i]);
        ended += final;
        finished += m->state[i] == WR_EXEC_FINISHED;
        if (final) assert_int_equal(b->execution[i].state, m->state[i]);
        if (m->failed || m->cancel_first) assert_true(final || m->canceled[i]); /* one failure ends all */
    }
    assert_int_equal(wr_job_state_final(m->job), ended == SUBTASKS);
    if (m->job == WR_JOB_FINISHED) assert_int_equal(finished, SUBTASKS);
    if (m->job == WR_JOB_FAILED) {
        assert_true(m->failed);
        assert_int_equal(b->job.failed_subtask, m->first_failure);
    }
    if (m->job == WR_JOB_CANCELED) assert_true(m->cancel_first);
}

/* Reports come in any order, twice, and for attempts that never were. */
static void random_report(bench *b, model *m, wr_prng *random)
{
    static const wr_exec_state STATE[] = {WR_EXEC_INITIALIZING, WR_EXEC_RUNNING,  WR_EXEC_RUNNING,
                                          WR_EXEC_FINISHED,     WR_EXEC_CANCELED, WR_EXEC_FAILED};
    uint32_t                   subtask = (uint32_t)wr_prng_below(random, SUBTASKS + 1);
    uint32_t                   attempt = wr_prng_one_in(random, 5) ? (uint32_t)wr_prng_below(random, 3) : 1;
    wr_exec_state              to = STATE[wr_prng_below(random, sizeof STATE / sizeof STATE[0])];
    if (to == WR_EXEC_FAILED && !wr_prng_one_in(random, 3)) to = WR_EXEC_FINISHED;
    if (to == WR_EXEC_CANCELED && subtask < SUBTASKS && !m->canceled[subtask] && !wr_prng_one_in(random, 8)) return;
    bool counts = subtask < SUBTASKS && attempt == 1 && m->deployed[subtask] && !wr_exec_state_final(m->state[subtask]);
    wr_errinfo info = {WR_USER_FAIL, "broke"};
    if (counts && wr_exec_state_final(to)) {
        bool fails = to == WR_EXEC_FAILED || (to == WR_EXEC_CANCELED && !m->canceled[subtask]);
        if (fails && !m->failed && !m->cancel_first) {
            m->failed = true;
            m->first_failure = subtask;
        }
        m->state[subtask] = to;
    }
    step(b,
         (wr_job_event){.kind = WR_JOB_REPORT, .subtask = subtask, .attempt = attempt, .reported = to, .info = &info});
}

static void test_random_events(void **state)
{
    (void)state;
    uint32_t seen[WR_JOB_STATES] = {0};
    for (uint64_t seed = 0; seed < 20000; seed++) {
        wr_prng random = wr_prng_of(seed);
        bench   b;
        model   m = {.job = WR_JOB_CREATED};
        begin(&b);
        bool submitted = false;
        for (uint32_t n = 0; n < 60; n++) {
            b.actions = 0;
            uint64_t what = wr_prng_below(&random, 40);
            if (what == 0 || (!submitted && what == 1)) {
                if (m.job == WR_JOB_CREATED || m.job == WR_JOB_RUNNING) m.cancel_first = true;
                step(&b, (wr_job_event){.kind = WR_JOB_CANCEL});
            } else if (what == 2 && submitted) {
                step(&b, (wr_job_event){.kind = WR_JOB_STOP});
            } else if (!submitted) {
                submitted = m.job == WR_JOB_CREATED;
                submit(&b);
                if (!submitted) break;
            } else {
                random_report(&b, &m, &random);
            }
            apply_actions(&b, &m);
            verify(&b, &m, submitted);
        }
        seen[b.job.state]++;
    }
    assert_true(seen[WR_JOB_FINISHED] > 100 && seen[WR_JOB_FAILED] > 100 && seen[WR_JOB_CANCELED] > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_to_the_end),
        cmocka_unit_test(test_one_failure_cancels_all),
        cmocka_unit_test(test_failure_of_the_last_subtask),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_does_not_hide_a_failure),
        cmocka_unit_test(test_stop_drains),
        cmocka_unit_test(test_stale_and_repeated_reports),
        cmocka_unit_test(test_canceled_without_order_is_a_failure),
        cmocka_unit_test(test_random_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
