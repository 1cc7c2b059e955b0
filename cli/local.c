#include "cli/local.h"
#include "base/check.h"
#include "base/log.h"
#include "cli/control.h"
#include "cli/local_orders.h"
#include <stdlib.h>

/* Owned by the thread that made it; the atomics may be set by others. */
struct wr_local {
    const wr_env    *env;
    const wr_exec   *exec;
    wr_worker       *worker;
    wr_coordinator  *snapshots; /* NULL: none are taken, none is restored */
    wr_control      *control;   /* NULL: nobody can talk to it */
    wr_core_job      job;
    wr_execution    *execution;
    wr_job_action   *action;
    uint32_t         actions_max;
    wr_parker        parker;
    bool             parker_open, started, joined;
    uint32_t         loaded, runnings;               /* subtasks */
    wr_origin       *origin;                         /* NULL: none */
    wr_errinfo       start_failure;                  /* no task's: told at the next look at reports */
    bool             drain, forwarded;               /* of the stop that is being fed; forwarded: the
                            snapshots know already */
    _Atomic bool     stop, stop_drain, cancel, stir; /* orders that are not taken yet; stir: somebody woke us */
    _Atomic uint32_t state;                          /* wr_job_state, for other threads */
};

static int64_t now_ms(const wr_local *l)
{
    return l->env->mono_ns(l->env->self) / 1000000;
}

void wr_local_wake(wr_local *l)
{
    atomic_store_explicit(&l->stir, true, memory_order_release);
    wr_parker_wake(l->env, &l->parker);
}

static void notified(void *self)
{
    wr_local_wake(self);
}

static void ordered(void *self, const wr_worker_order *order)
{
    wr_local_order(((wr_local *)self)->worker, order);
}

static void answered(void *self, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    wr_local *l = self;
    if (l->control != NULL) wr_control_answer(l->control, ticket, id, why);
}

static void snapshot_failed(void *self, const wr_snapshot_record *r)
{
    wr_local *l = self;
    char      place[WR_NAME_BYTES_MAX + 32] = "";
    if (r->why.code == WR_CANCELED) return; /* the job ends: it says so itself */
    if (r->failed_subtask != WR_SNAPSHOT_NOBODY) {
        const wr_subtask *t = &l->exec->subtask[r->failed_subtask];
        snprintf(place, sizeof place, "%.*s subtask %u, ", WR_NAME_BYTES_MAX, l->exec->vertex[t->vertex].name,
                 t->index);
    }
    wr_log(WR_LOG_WARN, "%s %llu failed: %s; %sphase %s; the job goes on%s",
           r->kind == WR_SAVEPOINT ? "savepoint" : "snapshot", (unsigned long long)r->id, r->why.text, place,
           wr_snapshot_phase_name(r->phase), r->kind == WR_SAVEPOINT ? "" : ", and tries again");
}

static wr_err new_snapshots(wr_local *l, const wr_local_options *o, wr_worker_options *of_worker, wr_errinfo *info)
{
    if (o->origin == NULL) return WR_OK;
    const wr_coordinator_options options = {
        .env = l->env,
        .origin = o->origin,
        .interval_ms = o->snapshot_interval_ms > 0 ? o->snapshot_interval_ms : WR_SNAPSHOT_INTERVAL_MS,
        .timeout_ms = o->snapshot_timeout_ms > 0 ? o->snapshot_timeout_ms : WR_SNAPSHOT_TIMEOUT_MS,
        .keep = o->snapshots_keep > 0 ? o->snapshots_keep : WR_SNAPSHOTS_KEEP,
        .order = ordered,
        .answer = answered,
        .failed = snapshot_failed,
        .wake = notified,
        .self = l,
    };
    WR_TRY(wr_coordinator_new(&l->snapshots, l->exec, &options, info));
    wr_local_configure(of_worker, o->origin, options.timeout_ms);
    return WR_OK;
}

static wr_err open_control(wr_local *l, wr_errinfo *info)
{
    const wr_control_config config = {.env = l->env, .local = l, .exec = l->exec};
    return wr_control_open(&l->control, &config, info);
}

static bool takes_snapshots(const wr_local *l)
{
    return l->snapshots != NULL && wr_coordinator_taken(l->snapshots);
}

wr_err wr_local_new(wr_local **take, const wr_exec *exec, const wr_local_options *options, wr_errinfo *info)
{
    *take = NULL;
    wr_local *l = calloc(1, sizeof *l);
    if (l == NULL) return wr_fail(info, WR_MEMORY, "no memory for a job");
    l->env = options->env;
    l->exec = exec;
    l->origin = options->origin;
    l->actions_max = wr_core_job_actions_max(exec->subtasks);
    l->execution = calloc(exec->subtasks, sizeof *l->execution);
    l->action = calloc(l->actions_max, sizeof *l->action);
    wr_err err = WR_OK;
    if (l->execution == NULL || l->action == NULL) {
        err = wr_fail(info, WR_MEMORY, "no memory for %u subtasks", exec->subtasks);
        goto out;
    }
    int got = l->env->parker_init(l->env->self, &l->parker);
    if (got < 0) {
        err = wr_fail_errno(info, -got, "cannot make an event descriptor; raise the limit of open files");
        goto out;
    }
    l->parker_open = true;
    wr_core_job_init(&l->job, l->execution, exec->subtasks, now_ms(l));
    atomic_init(&l->state, l->job.state);
    wr_worker_options of_worker = {.env = options->env,
                                   .job = exec->job->name,
                                   .state_max = options->state_max,
                                   .cpu = options->cpu,
                                   .scribes = options->scribes,
                                   .spin = options->spin,
                                   .seed = options->seed,
                                   .wait_run = l->origin == NULL || !l->origin->restores,
                                   .notify = notified,
                                   .self = l};
    WR_GOTO(new_snapshots(l, options, &of_worker, info));
    if (takes_snapshots(l)) WR_GOTO(wr_job_replays(exec->job, info));
    WR_GOTO(wr_worker_new(&l->worker, exec, &of_worker, info));
    wr_errinfo silent = {0};
    if (options->control && open_control(l, &silent) != WR_OK)
        wr_log(WR_LOG_WARN, "nobody can talk to this job: %s", silent.text);
    *take = l;
    return WR_OK;
out:
    wr_local_free(l);
    return err;
}

/* ---- the shell of the job machine ---- */

static void stop_sources(wr_local *l)
{
    if (!takes_snapshots(l))
        wr_worker_stop_sources(l->worker);
    else if (!l->forwarded)
        wr_coordinator_stop(l->snapshots, 0, l->drain, NULL);
}

static void act(wr_local *l, uint32_t count)
{
    bool deploys = false;
    for (uint32_t i = 0; i < count; i++) {
        const wr_job_action *a = &l->action[i];
        switch (a->kind) {
        case WR_JOB_DO_DEPLOY: deploys = true; break;
        case WR_JOB_DO_STOP_SOURCES: stop_sources(l); break;
        case WR_JOB_DO_CANCEL: wr_worker_cancel(l->worker, a->subtask); break;
        case WR_JOB_DO_TELL: break; /* told at the end of each step, when the machine is at rest */
        default: break;             /* of a cluster */
        }
    }
    if (!deploys) return;
    l->started = true; /* all subtasks are deployed by one order, and here they
                        have one worker */
    wr_worker_start(l->worker, &l->start_failure);
}

static void feed(wr_local *l, wr_job_event event)
{
    event.now_ms = now_ms(l);
    act(l, wr_core_job_step(&l->job, &event, l->action, l->actions_max));
    if (l->snapshots != NULL && l->job.state > WR_JOB_RUNNING && l->job.state != WR_JOB_FINISHED)
        wr_coordinator_close(l->snapshots);
}

static void take_orders(wr_local *l)
{
    if (atomic_exchange(&l->stop, false)) {
        l->drain = atomic_load(&l->stop_drain);
        feed(l, (wr_job_event){.kind = WR_JOB_STOP});
    }
    if (atomic_exchange(&l->cancel, false)) feed(l, (wr_job_event){.kind = WR_JOB_CANCEL});
}

/* No task was refused, and nobody outside has noticed anything: from here on the job is the folder's. */
static bool begin_lineage(wr_local *l)
{
    wr_errinfo info = {0};
    if (l->job.state != WR_JOB_RUNNING) return false;
    if (l->origin == NULL || wr_origin_begin(l->origin, &info) == WR_OK) return true;
    l->start_failure = info;
    for (uint32_t i = 0; i < l->exec->subtasks; i++) wr_worker_cancel(l->worker, i);
    wr_local_wake(l);
    return false;
}

/* Those that start from a snapshot commit while they open: so their lineage begins before. */
static void all_loaded(wr_local *l)
{
    if (begin_lineage(l)) wr_worker_go(l->worker);
}

static void all_running(wr_local *l)
{
    if (begin_lineage(l)) wr_worker_run(l->worker);
}

static void take_reports(wr_local *l)
{
    wr_task_event e;
    if (l->start_failure.code != WR_OK) { /* the cause is the thread that did not
                                           start, not what it took along */
        feed(l, (wr_job_event){
                    .kind = WR_JOB_REPORT, .attempt = 1, .reported = WR_EXEC_FAILED, .info = &l->start_failure});
        l->start_failure.code = WR_OK;
    }
    while (wr_worker_event(l->worker, &e)) {
        feed(l, (wr_job_event){.kind = WR_JOB_REPORT,
                               .subtask = e.subtask,
                               .attempt = e.attempt,
                               .reported = wr_exec_state_of(e.state),
                               .info = e.state == WR_TASK_FAILED ? &e.info : NULL});
        if (e.state == WR_TASK_LOADED && ++l->loaded == l->exec->subtasks) all_loaded(l);
        if (e.state == WR_TASK_RUNNING && ++l->runnings == l->exec->subtasks) all_running(l);
        if (l->start_failure.code != WR_OK) break; /* and no snapshot begins */
        if (l->snapshots != NULL && l->job.state == WR_JOB_RUNNING)
            wr_coordinator_report(l->snapshots, e.subtask, e.state);
    }
}

static bool anything_new(wr_local *l)
{
    return atomic_exchange_explicit(&l->stir, false, memory_order_acquire);
}

/* At most as long as the caller wants, until the snapshots want something, or
 * somebody says something. */
static void wait_for_something(wr_local *l, int64_t timeout_ns)
{
    int     fd[WR_PARK_FDS_MAX];
    int64_t due_ns = l->snapshots != NULL ? wr_coordinator_wait_ns(l->snapshots) : -1;
    if (due_ns >= 0 && (timeout_ns < 0 || due_ns < timeout_ns)) timeout_ns = due_ns;
    uint32_t fds = l->control != NULL ? wr_control_fds(l->control, fd) : 0;
    wr_parker_prepare(&l->parker);
    if (anything_new(l))
        wr_parker_cancel(&l->parker);
    else if (fds > 0)
        l->env->park_fds(l->env->self, &l->parker, timeout_ns, fd, fds);
    else
        l->env->park(l->env->self, &l->parker, timeout_ns);
    anything_new(l);
}

static void end_of_job(wr_local *l)
{
    wr_errinfo info = {0};
    if (l->started && !l->joined) {
        wr_worker_join(l->worker);
        l->joined = true;
        if (l->snapshots != NULL && l->job.state == WR_JOB_FINISHED &&
            wr_coordinator_finished(l->snapshots, &info) != WR_OK)
            wr_log(WR_LOG_WARN, "cannot note that the job has finished: %s; its next run will find out by itself",
                   info.text);
    }
}

void wr_local_start(wr_local *l)
{
    check(l->job.state == WR_JOB_CREATED);
    feed(l, (wr_job_event){.kind = WR_JOB_SUBMIT, .subtasks = l->exec->subtasks});
    atomic_store(&l->state, l->job.state);
}

static void step_snapshots(wr_local *l)
{
    if (takes_snapshots(l))
        for (wr_ack *ack; (ack = wr_worker_ack(l->worker)) != NULL;) wr_coordinator_ack(l->snapshots, ack);
    wr_coordinator_step(l->snapshots);
}

bool wr_local_step(wr_local *l, int64_t timeout_ns)
{
    if (!anything_new(l) && !wr_job_state_final(l->job.state)) wait_for_something(l, timeout_ns);
    take_orders(l);
    if (l->control != NULL) wr_control_step(l->control);
    take_reports(l);
    if (l->snapshots != NULL && l->started && l->job.state == WR_JOB_RUNNING) step_snapshots(l);
    bool ended = wr_job_state_final(l->job.state);
    if (ended) end_of_job(l);
    atomic_store(&l->state, l->job.state);
    return ended;
}

void wr_local_stop(wr_local *l)
{
    atomic_store(&l->stop, true);
    wr_local_wake(l);
}

void wr_local_drain(wr_local *l)
{
    atomic_store(&l->stop_drain, true);
    wr_local_stop(l);
}

void wr_local_stop_for(wr_local *l, uint64_t ticket, bool drain, const char *savepoint)
{
    if (takes_snapshots(l)) {
        wr_coordinator_stop(l->snapshots, ticket, drain, savepoint);
        l->forwarded = true;
    }
    feed(l, (wr_job_event){.kind = WR_JOB_STOP});
}

void wr_local_cancel(wr_local *l)
{
    atomic_store(&l->cancel, true);
    wr_local_wake(l);
}

/* ---- what it shows ---- */

wr_job_state wr_local_state(const wr_local *l)
{
    return (wr_job_state)atomic_load(&((wr_local *)(uintptr_t)l)->state);
}

const wr_core_job *wr_local_job(const wr_local *l)
{
    return &l->job;
}

const wr_worker *wr_local_worker(const wr_local *l)
{
    return l->worker;
}

const wr_coordinator *wr_local_snapshots(const wr_local *l)
{
    return takes_snapshots(l) ? l->snapshots : NULL;
}

wr_coordinator *wr_local_snapshots_to_ask(wr_local *l)
{
    return takes_snapshots(l) ? l->snapshots : NULL;
}

const char *wr_local_hanging(const wr_local *l)
{
    for (uint32_t i = 0; i < l->job.subtasks; i++) {
        if (l->execution[i].state == WR_EXEC_CANCELING) return l->exec->vertex[l->exec->subtask[i].vertex].name;
    }
    return NULL;
}

void wr_local_free(wr_local *l)
{
    if (l == NULL) return;
    check(!l->started || l->joined);
    wr_control_close(l->control);
    wr_coordinator_free(l->snapshots); /* first: its manifests name types of the operators */
    wr_worker_free(l->worker);
    if (l->parker_open) l->env->parker_fini(l->env->self, &l->parker);
    free(l->execution);
    free(l->action);
    free(l);
}
