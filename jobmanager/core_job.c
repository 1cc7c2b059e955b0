#include "jobmanager/core_job.h"
#include "base/check.h"
#include <string.h>

#define MAGIC 0x4a6f6231u

/* Where a step collects its actions. */
typedef struct out {
    wr_job_action *action;
    uint32_t       count, cap;
} out;

const char *wr_job_state_name(wr_job_state state)
{
    static const char *const NAME[WR_JOB_STATES] = {
        [WR_JOB_CREATED] = "CREATED",       [WR_JOB_RECONCILING] = "RECONCILING", [WR_JOB_RUNNING] = "RUNNING",
        [WR_JOB_RESTARTING] = "RESTARTING", [WR_JOB_FAILING] = "FAILING",         [WR_JOB_FAILED] = "FAILED",
        [WR_JOB_CANCELLING] = "CANCELLING", [WR_JOB_CANCELED] = "CANCELED",       [WR_JOB_FINISHED] = "FINISHED",
    };
    check(state > 0 && state < WR_JOB_STATES);
    return NAME[state];
}

const char *wr_exec_state_name(wr_exec_state state)
{
    static const char *const NAME[WR_EXEC_STATES] = {
        [WR_EXEC_CREATED] = "CREATED",   [WR_EXEC_DEPLOYING] = "DEPLOYING", [WR_EXEC_INITIALIZING] = "INITIALIZING",
        [WR_EXEC_RUNNING] = "RUNNING",   [WR_EXEC_CANCELING] = "CANCELING", [WR_EXEC_FINISHED] = "FINISHED",
        [WR_EXEC_CANCELED] = "CANCELED", [WR_EXEC_FAILED] = "FAILED",
    };
    check(state > 0 && state < WR_EXEC_STATES);
    return NAME[state];
}

void wr_core_job_init(wr_core_job *job, wr_execution *execution, uint32_t capacity, int64_t now_ms)
{
    check(execution != NULL && capacity > 0);
    memset(job, 0, sizeof *job);
    job->magic = MAGIC;
    job->state = WR_JOB_CREATED;
    job->now_ms = now_ms;
    for (uint32_t i = 0; i < WR_JOB_STATES; i++) job->since_ms[i] = -1;
    job->since_ms[WR_JOB_CREATED] = now_ms;
    job->failed_subtask = UINT32_MAX;
    job->execution = execution;
    job->capacity = capacity;
    wr_core_job_check(job);
}

static uint32_t ended(const wr_core_job *job)
{
    return job->in[WR_EXEC_FINISHED] + job->in[WR_EXEC_CANCELED] + job->in[WR_EXEC_FAILED];
}

/* Constant time: the sums over all subtasks are kept by enter() and looked at again by the tests. */
void wr_core_job_check(const wr_core_job *job)
{
    check(job->magic == MAGIC);
    check(job->state >= WR_JOB_CREATED && job->state < WR_JOB_STATES);
    check(job->state != WR_JOB_RESTARTING);
    check(job->subtasks <= job->capacity);
    check(job->in[0] == 0);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < WR_EXEC_STATES; i++) sum += job->in[i];
    check(sum == job->subtasks);
    check(job->since_ms[job->state] >= 0 && job->since_ms[job->state] <= job->now_ms);
    check((job->failed_subtask == UINT32_MAX) == (job->since_ms[WR_JOB_FAILING] < 0));
    bool all = ended(job) == job->subtasks, submitted = job->subtasks > 0;
    switch (job->state) {
    case WR_JOB_CREATED: check(!submitted); break;
    case WR_JOB_RUNNING:
        check(submitted && !all && job->in[WR_EXEC_FAILED] == 0 && job->in[WR_EXEC_CANCELED] == 0);
        check(job->in[WR_EXEC_CANCELING] == 0 && job->in[WR_EXEC_CREATED] == 0);
        break;
    case WR_JOB_FAILING:
    case WR_JOB_CANCELLING: /* nobody is left who was not told to end */
        check(submitted && !all && ended(job) + job->in[WR_EXEC_CANCELING] == job->subtasks);
        break;
    case WR_JOB_FAILED: check(submitted && all && job->cause.code != WR_OK); break;
    case WR_JOB_FINISHED:
        check(submitted && job->in[WR_EXEC_FINISHED] == job->subtasks && job->cause.code == WR_OK);
        break;
    default: check(all && job->cause.code == WR_CANCELED); break;
    }
}

static void act(out *o, wr_job_action action)
{
    check(o->count < o->cap);
    o->action[o->count++] = action;
}

static void enter_job(wr_core_job *job, wr_job_state state, out *o)
{
    check(!wr_job_state_final(job->state));
    job->state = state;
    job->since_ms[state] = job->now_ms;
    act(o, (wr_job_action){.kind = WR_JOB_DO_TELL, .state = state});
}

static void enter(wr_core_job *job, wr_execution *e, wr_exec_state state)
{
    check(!wr_exec_state_final(e->state));
    check(job->in[e->state] > 0);
    job->in[e->state]--;
    job->in[state]++;
    e->state = state;
    e->since_ms = job->now_ms;
}

static void cancel_all(wr_core_job *job, out *o)
{
    for (uint32_t i = 0; i < job->subtasks; i++) {
        wr_execution *e = &job->execution[i];
        if (wr_exec_state_final(e->state)) continue;
        check(e->state != WR_EXEC_CANCELING);
        enter(job, e, WR_EXEC_CANCELING);
        act(o, (wr_job_action){.kind = WR_JOB_DO_CANCEL, .subtask = i, .attempt = e->attempt});
    }
}

/* The job ends when its last subtask did. */
static void settle(wr_core_job *job, out *o)
{
    if (ended(job) < job->subtasks) return;
    if (job->state == WR_JOB_FAILING) {
        enter_job(job, WR_JOB_FAILED, o);
    } else if (job->state == WR_JOB_CANCELLING) {
        enter_job(job, WR_JOB_CANCELED, o);
    } else {
        enter_job(job, WR_JOB_FINISHED, o);
    }
}

static void submit(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (job->state != WR_JOB_CREATED) { /* it was canceled before it came to this */
        check(job->state == WR_JOB_CANCELED);
        return;
    }
    check(event->subtasks >= 1 && event->subtasks <= job->capacity);
    job->subtasks = event->subtasks;
    job->in[WR_EXEC_CREATED] = event->subtasks;
    for (uint32_t i = 0; i < job->subtasks; i++) {
        job->execution[i] = (wr_execution){WR_EXEC_CREATED, 1, job->now_ms};
    }
    enter_job(job, WR_JOB_RUNNING, o);
    for (uint32_t i = 0; i < job->subtasks; i++) {
        enter(job, &job->execution[i], WR_EXEC_DEPLOYING);
        act(o, (wr_job_action){.kind = WR_JOB_DO_DEPLOY, .subtask = i, .attempt = job->execution[i].attempt});
    }
}

static void fail(wr_core_job *job, uint32_t subtask, const wr_errinfo *info, out *o)
{
    if (job->state != WR_JOB_RUNNING) return; /* the first cause is the one to read */
    job->failed_subtask = subtask;
    if (info != NULL && info->code != WR_OK) {
        job->cause = *info;
    } else {
        wr_errinfo_init(&job->cause);
        job->cause.code = WR_INTERNAL;
    }
    enter_job(job, WR_JOB_FAILING, o);
    cancel_all(job, o);
}

/* Whether an attempt may go from one state to what was reported. The others are repeated or late. */
static bool moves(wr_exec_state from, wr_exec_state to)
{
    switch (to) {
    case WR_EXEC_INITIALIZING: return from == WR_EXEC_DEPLOYING;
    case WR_EXEC_RUNNING: return from == WR_EXEC_DEPLOYING || from == WR_EXEC_INITIALIZING;
    case WR_EXEC_FINISHED:
    case WR_EXEC_CANCELED:
    case WR_EXEC_FAILED: return from >= WR_EXEC_DEPLOYING && from <= WR_EXEC_CANCELING;
    default: return false;
    }
}

static void report(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (wr_job_state_final(job->state) || event->subtask >= job->subtasks ||
        event->attempt != job->execution[event->subtask].attempt ||
        !moves(job->execution[event->subtask].state, event->reported)) {
        job->ignored++;
        return;
    }
    wr_execution *e = &job->execution[event->subtask];
    bool          told = e->state == WR_EXEC_CANCELING;
    enter(job, e, event->reported);
    if (event->reported == WR_EXEC_FAILED) {
        fail(job, event->subtask, event->info, o);
    } else if (event->reported == WR_EXEC_CANCELED && !told) { /* nobody asked for it: results are missing */
        fail(job, event->subtask, event->info, o);
    }
    settle(job, o);
}

static void cancel(wr_core_job *job, out *o)
{
    if (job->state != WR_JOB_CREATED && job->state != WR_JOB_RUNNING) return; /* a failure stays one */
    wr_errinfo_init(&job->cause);
    job->cause.code = WR_CANCELED;
    if (job->state == WR_JOB_CREATED) {
        enter_job(job, WR_JOB_CANCELED, o);
        return;
    }
    enter_job(job, WR_JOB_CANCELLING, o);
    cancel_all(job, o);
}

static void stop(wr_core_job *job, out *o)
{
    if (job->state == WR_JOB_CREATED) {
        cancel(job, o); /* there is nothing to drain */
    } else if (job->state == WR_JOB_RUNNING && !job->stopping) {
        job->stopping = true;
        act(o, (wr_job_action){.kind = WR_JOB_DO_STOP_SOURCES});
    }
}

uint32_t wr_core_job_step(wr_core_job *job, const wr_job_event *event, wr_job_action *actions, uint32_t cap)
{
    wr_core_job_check(job);
    check(event->now_ms >= job->now_ms);
    out o = {actions, 0, cap};
    job->now_ms = event->now_ms;
    switch (event->kind) {
    case WR_JOB_SUBMIT:
        check(cap >= wr_core_job_actions_max(event->subtasks));
        submit(job, event, &o);
        break;
    case WR_JOB_REPORT:
    case WR_JOB_STOP:
    case WR_JOB_CANCEL:
        check(cap >= wr_core_job_actions_max(job->subtasks));
        if (event->kind == WR_JOB_REPORT) report(job, event, &o);
        if (event->kind == WR_JOB_STOP) stop(job, &o);
        if (event->kind == WR_JOB_CANCEL) cancel(job, &o);
        break;
    default: check(!"an event of a kind that there is not");
    }
    wr_core_job_check(job);
    return o.count;
}
