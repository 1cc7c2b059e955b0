#include "jobmanager/core_job.h"
#include "base/check.h"
#include "jobmanager/core_job_inside.h"
#include <string.h>

/* What one step has: where it collects its actions, and the event. */
typedef struct out {
    wr_job_action *action;
    uint32_t       count, cap;
    uint64_t       random;
} out;

void wr_core_job_init(wr_core_job *job, wr_execution *execution, uint32_t capacity, int64_t now_ms)
{
    check(execution != NULL && capacity > 0);
    memset(job, 0, sizeof *job);
    job->magic = WR_CORE_JOB_MAGIC;
    job->state = WR_JOB_CREATED;
    job->now_ms = now_ms;
    for (uint32_t i = 0; i < WR_JOB_STATES; i++) job->since_ms[i] = -1;
    job->since_ms[WR_JOB_CREATED] = now_ms;
    job->failed_subtask = UINT32_MAX;
    job->kill_ms = job->deploy_ms = job->restart_ms = INT64_MAX;
    job->why_no_restart = "";
    job->execution = execution;
    job->capacity = capacity;
    const wr_restart_config none = {.strategy = WR_RESTART_NONE};
    wr_restart_init(&job->restart, &none, NULL);
    wr_core_job_check(job);
}

void wr_core_job_configure(wr_core_job *job, const wr_core_job_config *config)
{
    check(job->state == WR_JOB_CREATED && !job->waits && config->cancel_timeout_ms > 0);
    job->cluster = true;
    job->cancel_timeout_ms = config->cancel_timeout_ms;
    job->deploy_timeout_ms = config->deploy_timeout_ms;
    wr_restart_init(&job->restart, &config->restart, config->past);
}

void wr_core_job_memory(wr_core_job *job, wr_execution *execution, uint32_t capacity)
{
    check(execution != NULL && capacity > 0 && job->subtasks == 0 && !wr_job_state_final(job->state));
    job->execution = execution;
    job->capacity = capacity;
}

void wr_core_job_number(wr_core_job *job, uint32_t least)
{
    check(job->waits && least < UINT32_MAX);
    if (job->attempt < least) job->attempt = least;
}

static void act(out *o, wr_job_action action)
{
    check(o->count < o->cap);
    o->action[o->count++] = action;
}

/* An action of a cluster, about the newest attempt. */
static void act_of(const wr_core_job *job, out *o, wr_job_action_kind kind)
{
    if (job->cluster) act(o, (wr_job_action){.kind = kind, .attempt = job->attempt});
}

static void enter_job(wr_core_job *job, wr_job_state state, out *o)
{
    check(!wr_job_state_final(job->state));
    job->state = state;
    job->since_ms[state] = job->now_ms;
    act(o, (wr_job_action){.kind = WR_JOB_DO_TELL, .state = state, .attempt = job->attempt});
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

static void set_cause(wr_core_job *job, uint32_t subtask, const wr_errinfo *info, bool secondary)
{
    job->failed_subtask = subtask < job->subtasks ? subtask : UINT32_MAX;
    job->secondary = secondary;
    if (info != NULL && info->code != WR_OK) {
        job->cause = *info;
        return;
    }
    wr_errinfo_init(&job->cause);
    wr_fail(&job->cause, WR_INTERNAL, "it ended without having been told to, and without saying why");
}

static void no_cause(wr_core_job *job)
{
    wr_errinfo_init(&job->cause);
    job->failed_subtask = UINT32_MAX;
    job->secondary = false;
}

static void cancel_all(wr_core_job *job, out *o)
{
    for (uint32_t i = 0; i < job->subtasks; i++) {
        wr_execution *e = &job->execution[i];
        if (wr_exec_state_final(e->state) || e->state == WR_EXEC_CANCELING) continue;
        enter(job, e, WR_EXEC_CANCELING);
        act(o, (wr_job_action){.kind = WR_JOB_DO_CANCEL, .subtask = i, .attempt = e->attempt});
    }
    if (job->cluster && job->kill_ms == INT64_MAX && wr_core_job_alive(job))
        job->kill_ms = job->now_ms + job->cancel_timeout_ms;
}

/* ---- attempts ---- */

static void want(wr_core_job *job, out *o)
{
    check(!wr_core_job_alive(job) && !job->waits && job->attempt < UINT32_MAX);
    if (job->state == WR_JOB_RESTARTING) job->restarts++;
    job->attempt++;
    job->waits = true;
    job->went = false;
    job->restart_ms = INT64_MAX;
    job->subtasks = job->loaded = 0;
    memset(job->in, 0, sizeof job->in);
    act_of(job, o, WR_JOB_DO_WANT);
}

static void want_nothing(wr_core_job *job, out *o)
{
    if (job->waits) act_of(job, o, WR_JOB_DO_FORGET);
    job->waits = false;
    job->restart_ms = INT64_MAX;
}

/* All subtasks of the newest attempt, in one state. */
static void begin_attempt(wr_core_job *job, uint32_t subtasks)
{
    check(subtasks >= 1 && subtasks <= job->capacity);
    job->subtasks = subtasks;
    job->loaded = 0;
    job->ran_ms = 0;
    job->went = false;
    memset(job->in, 0, sizeof job->in);
    job->in[WR_EXEC_DEPLOYING] = subtasks;
    for (uint32_t i = 0; i < subtasks; i++)
        job->execution[i] = (wr_execution){
            .state = WR_EXEC_DEPLOYING, .attempt = job->attempt, .since_ms = job->now_ms};
}

static void deploy(wr_core_job *job, uint32_t subtasks, out *o)
{
    begin_attempt(job, subtasks);
    enter_job(job, WR_JOB_RUNNING, o);
    if (job->cluster && job->deploy_timeout_ms > 0) job->deploy_ms = job->now_ms + job->deploy_timeout_ms;
    for (uint32_t i = 0; i < subtasks; i++)
        act(o, (wr_job_action){.kind = WR_JOB_DO_DEPLOY, .subtask = i, .attempt = job->attempt});
}

/* The attempt failed, and nothing of it is left. Only now is the cause known for good. */
static void after_failure(wr_core_job *job, out *o)
{
    bool    deployed = job->subtasks > 0;
    int64_t ran_ms = job->went ? job->since_ms[WR_JOB_FAILING] - job->went_ms : 0, delay_ms = 0;
    if (deployed) ran_ms += job->ran_ms;
    act_of(job, o, WR_JOB_DO_NOTE);
    bool again = wr_restart_failed(&job->restart, job->cause.code, job->now_ms, ran_ms, o->random, &delay_ms,
                                   &job->why_no_restart);
    if (!again) {
        enter_job(job, WR_JOB_FAILED, o);
    } else if (job->canceled) {
        wr_errinfo_init(&job->cause);
        job->cause.code = WR_CANCELED;
        enter_job(job, WR_JOB_CANCELED, o);
    } else {
        enter_job(job, WR_JOB_RESTARTING, o);
        job->restart_ms = job->now_ms + delay_ms;
    }
    if (deployed) act_of(job, o, WR_JOB_DO_RELEASE);
}

/* The attempt ends when its last subtask did. */
static void settle(wr_core_job *job, out *o)
{
    if (wr_core_job_alive(job)) return;
    job->kill_ms = INT64_MAX;
    if (job->state == WR_JOB_FAILING) {
        after_failure(job, o);
    } else if (job->state == WR_JOB_RESTARTING) {
        act_of(job, o, WR_JOB_DO_RELEASE);
        want(job, o);
    } else {
        bool canceled = job->state == WR_JOB_CANCELLING;
        if (!canceled) no_cause(job);
        enter_job(job, canceled ? WR_JOB_CANCELED : WR_JOB_FINISHED, o);
        act_of(job, o, WR_JOB_DO_RELEASE);
    }
}

/* What is a consequence may come to be known before its cause: then the cause takes its place. */
static void fail(wr_core_job *job, uint32_t subtask, const wr_errinfo *info, bool secondary, out *o)
{
    if (job->state == WR_JOB_RUNNING || job->state == WR_JOB_RECONCILING) {
        set_cause(job, subtask, info, secondary);
        enter_job(job, WR_JOB_FAILING, o);
        cancel_all(job, o);
    } else if (job->state == WR_JOB_FAILING && job->secondary && !secondary && info != NULL && info->code != WR_OK) {
        set_cause(job, subtask, info, false);
    }
}

/* Everybody is there: run; or the workers of an older JobManager are back, and go on. */
static void go(wr_core_job *job, out *o)
{
    if (job->state == WR_JOB_RECONCILING && wr_core_job_alive(job) && job->in[WR_EXEC_DEPLOYING] == 0)
        enter_job(job, WR_JOB_RUNNING, o);
    if (!job->cluster || job->state != WR_JOB_RUNNING || job->went || job->loaded < job->subtasks) return;
    job->went = true;
    job->went_ms = job->now_ms;
    no_cause(job);
    act_of(job, o, WR_JOB_DO_GO);
    if (job->stopping) act_of(job, o, WR_JOB_DO_STOP_SOURCES);
}

/* ---- events ---- */

static void submit(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (job->state == WR_JOB_CANCELED) return; /* before it came to this */
    check(job->state == WR_JOB_CREATED && !job->waits);
    job->attempt = event->attempt;
    if (job->cluster) {
        if (job->attempt > 0) enter_job(job, WR_JOB_RESTARTING, o);
        if (job->attempt > 0 && event->delay_ms > 0)
            job->restart_ms = job->now_ms + event->delay_ms;
        else
            want(job, o);
    } else {
        job->attempt = 1;
        deploy(job, event->subtasks, o);
    }
}

static void adopt(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (job->state == WR_JOB_CANCELED) return;
    check(job->cluster && job->state == WR_JOB_CREATED && !job->waits && event->attempt > 0);
    job->attempt = event->attempt;
    begin_attempt(job, event->subtasks);
    job->ran_ms = event->ran_ms > 0 ? event->ran_ms : 0;
    enter_job(job, WR_JOB_RECONCILING, o);
}

static void granted(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (!job->waits || event->attempt != job->attempt) {
        job->ignored++;
        return;
    }
    job->waits = false;
    deploy(job, event->subtasks, o);
}

static void refused(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (!job->waits || event->attempt != job->attempt) {
        job->ignored++;
        return;
    }
    want_nothing(job, o);
    set_cause(job, UINT32_MAX, event->info, false);
    after_failure(job, o);
}

/* Whether an attempt may go from one state to what was reported. The others are repeated or late. */
static bool moves(const wr_execution *e, const wr_job_event *event)
{
    switch (event->reported) {
    case WR_EXEC_INITIALIZING:
        return e->state == WR_EXEC_DEPLOYING || (e->state == WR_EXEC_INITIALIZING && event->loaded && !e->loaded);
    case WR_EXEC_RUNNING: return e->state == WR_EXEC_DEPLOYING || e->state == WR_EXEC_INITIALIZING;
    case WR_EXEC_FINISHED:
    case WR_EXEC_CANCELED:
    case WR_EXEC_FAILED: return e->state >= WR_EXEC_DEPLOYING && e->state <= WR_EXEC_CANCELING;
    default: return false;
    }
}

static void report(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (wr_job_state_final(job->state) || event->subtask >= job->subtasks ||
        event->attempt != job->execution[event->subtask].attempt || !moves(&job->execution[event->subtask], event)) {
        job->ignored++;
        return;
    }
    wr_execution *e = &job->execution[event->subtask];
    bool          told = e->state == WR_EXEC_CANCELING, failed = event->reported == WR_EXEC_FAILED;
    bool          loaded = event->loaded || event->reported == WR_EXEC_RUNNING || event->reported == WR_EXEC_FINISHED;
    enter(job, e, event->reported);
    if (loaded && !e->loaded) {
        e->loaded = true;
        job->loaded++;
    }
    if (failed || (event->reported == WR_EXEC_CANCELED && !told)) { /* nobody asked for it: results are missing */
        bool       reason = failed && event->info != NULL && event->info->code != WR_OK;
        wr_errinfo old = {WR_UNREACHABLE, "it was being ended when the JobManager stopped"};
        bool       late = !failed && job->state == WR_JOB_RECONCILING; /* the JobManager before us gave the order */
        bool       secondary = job->cluster && (!reason || event->info->code == WR_UNREACHABLE);
        fail(job, event->subtask, late ? &old : event->info, secondary, o);
    }
    settle(job, o);
    go(job, o);
}

static void lost(wr_core_job *job, const wr_job_event *event, out *o)
{
    if (wr_job_state_final(job->state) || event->attempt != job->attempt || !wr_core_job_alive(job)) {
        job->ignored++;
        return;
    }
    bool missing = false;
    for (uint32_t i = 0; i < event->subtasks_listed; i++) {
        check(event->subtask_list[i] < job->subtasks);
        wr_execution *e = &job->execution[event->subtask_list[i]];
        if (wr_exec_state_final(e->state)) continue;
        bool told = e->state == WR_EXEC_CANCELING;
        missing |= !told;
        enter(job, e, told ? WR_EXEC_CANCELED : WR_EXEC_FAILED);
    }
    if (missing || !event->clean) {
        bool running = job->state == WR_JOB_RUNNING || job->state == WR_JOB_RECONCILING;
        if (missing || !running)
            fail(job, event->subtask, event->info, event->guessed, o); /* it had done all its work */
    }
    settle(job, o);
    go(job, o);
}

static void cancel(wr_core_job *job, out *o)
{
    if (wr_job_state_final(job->state) || job->state == WR_JOB_CANCELLING) return;
    if (job->state == WR_JOB_FAILING) { /* a failure stays one, if it would have been the end */
        job->canceled = true;
        return;
    }
    wr_errinfo_init(&job->cause);
    job->cause.code = WR_CANCELED;
    job->failed_subtask = UINT32_MAX;
    want_nothing(job, o);
    if (!wr_core_job_alive(job)) {
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
    } else if (!wr_job_state_final(job->state) && !job->stopping) {
        bool running = job->state == WR_JOB_RUNNING && (job->went || !job->cluster);
        if (!job->cluster && !running) return;
        job->stopping = true; /* a later attempt is stopped when it goes */
        if (running) act(o, (wr_job_action){.kind = WR_JOB_DO_STOP_SOURCES, .attempt = job->attempt});
    }
}

static void restart(wr_core_job *job, out *o)
{
    check(job->cluster);
    if (job->state == WR_JOB_RUNNING || job->state == WR_JOB_RECONCILING) {
        enter_job(job, WR_JOB_RESTARTING, o);
        cancel_all(job, o);
    } else if (job->waits) { /* what it wants may be something else now */
        want_nothing(job, o);
        want(job, o);
    } else {
        job->ignored++; /* it is on its way to another attempt, or to its end */
    }
}

/* What was sent may not have come, or its worker may not get as far as to say anything. */
static void nothing_said(wr_core_job *job, out *o)
{
    wr_errinfo info = {0};
    uint32_t   silent = 0;
    while (job->execution[silent].state != WR_EXEC_DEPLOYING) silent++;
    wr_fail(&info, WR_TIMEOUT,
            "%u of %u subtasks were deployed, and nothing was heard of them for %lld s; see the logs of their "
            "TaskManagers",
            job->in[WR_EXEC_DEPLOYING], job->subtasks, (long long)job->deploy_timeout_ms / 1000);
    job->deploy_ms = INT64_MAX;
    fail(job, silent, &info, false, o);
}

static void tick(wr_core_job *job, out *o)
{
    if (job->deploy_ms <= job->now_ms) nothing_said(job, o);
    if (job->kill_ms <= job->now_ms) {
        job->kill_ms = job->now_ms + job->cancel_timeout_ms;
        act_of(job, o, WR_JOB_DO_KILL);
    }
    if (job->restart_ms <= job->now_ms) want(job, o);
}

uint32_t wr_core_job_step(wr_core_job *job, const wr_job_event *event, wr_job_action *actions, uint32_t cap)
{
    wr_core_job_check(job);
    check(event->now_ms >= job->now_ms);
    check(cap >= wr_core_job_actions_max(event->subtasks > job->subtasks ? event->subtasks : job->subtasks));
    out o = {actions, 0, cap, event->random};
    job->now_ms = event->now_ms;
    switch (event->kind) {
    case WR_JOB_SUBMIT: submit(job, event, &o); break;
    case WR_JOB_REPORT: report(job, event, &o); break;
    case WR_JOB_STOP: stop(job, &o); break;
    case WR_JOB_CANCEL: cancel(job, &o); break;
    case WR_JOB_ADOPT: adopt(job, event, &o); break;
    case WR_JOB_GRANTED: granted(job, event, &o); break;
    case WR_JOB_REFUSED: refused(job, event, &o); break;
    case WR_JOB_LOST: lost(job, event, &o); break;
    case WR_JOB_RESTART: restart(job, &o); break;
    case WR_JOB_TICK: tick(job, &o); break;
    default: check(!"an event of a kind that there is not");
    }
    if (job->state != WR_JOB_RUNNING || job->in[WR_EXEC_DEPLOYING] == 0) job->deploy_ms = INT64_MAX;
    wr_core_job_check(job);
    return o.count;
}
