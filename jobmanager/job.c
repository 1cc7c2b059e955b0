/* The shell of one job's machine: what workers say becomes events, actions become messages and records. */
#include "base/check.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "jobmanager/inside.h"
#include "jobmanager/savepoint.h"
#include "jobmanager/saving.h"
#include <stdlib.h>
#include <string.h>

enum { ABORTS_MAX = 512, END_AGAIN_MS = 5000, WANT_AGAIN_MS = 300 };

wr_jm_worker *wr_jm_worker_of(wr_jm_job *j, uint64_t tm)
{
    for (uint32_t i = 0; i < j->workers; i++)
        if (j->worker[i].tm == tm) return &j->worker[i];
    return NULL;
}

static void to_workers(wr_jm_job *j, wr_message *m)
{
    for (uint32_t i = 0; i < j->workers; i++) {
        const wr_jm_tm *t = wr_jm_tm_of(j->jm, j->worker[i].tm);
        if (t == NULL || j->worker[i].gone) continue;
        m->job = j->id;
        m->attempt = j->attempt;
        wr_jm_send(j->jm, t->peer, m);
    }
}

void wr_jm_order(wr_jm_job *j, const wr_worker_order *order)
{
    wr_message m = {.kind = WR_MSG_ORDER, .order = *order};
    to_workers(j, &m);
}

static void order(wr_jm_job *j, uint32_t verb, uint64_t id)
{
    wr_jm_order(j, &(wr_worker_order){.verb = verb, .barrier = {.id = id}});
}

void wr_jm_kill(wr_jm_job *j)
{
    wr_message m = {.kind = WR_MSG_KILL};
    to_workers(j, &m);
}

/* ---- the end ---- */

void wr_jm_end_in_ledger(wr_jm_job *j, wr_job_state state, const wr_errinfo *cause)
{
    wr_errinfo info = {0};
    j->end_ms = INT64_MAX;
    if (wr_ledger_end(j->jm->ledger, j->id, state, cause, &info) != WR_OK) {
        wr_log(WR_LOG_ERROR, "job %s is %s, but that cannot be kept: %s; it is tried again", j->name,
               wr_job_state_name(state), info.text);
        j->end_state = state;
        j->end_ms = wr_jm_now_ms(j->jm) + END_AGAIN_MS; /* else the next JobManager would start it again */
    }
    j->ended = true;
    j->respec = j->restart = j->refuse = j->short_of_slots = false;
    free(j->spec_next);
    j->spec_next = NULL;
}

/* Released workers no longer know how it ended; nobody would, if we ended before the ledger took it. */
static void release(wr_jm_job *j)
{
    j->release_next = j->end_ms != INT64_MAX;
    if (j->release_next) return;
    order(j, WR_DO_RELEASE, 0);
    j->released = true;
    j->release_ms = wr_jm_now_ms(j->jm) + j->jm->config.cancel_timeout_ms;
}

/* Its input may have come to its end just when the stop was ordered: then nobody was left to take the savepoint of. */
static void look_for_savepoint(wr_jm_job *j)
{
    const wr_origin *o = &j->run.origin;
    if (j->stop_target == NULL || j->stop_why.code != WR_OK || o->journal == NULL) return;
    if (wr_savepoint_is_there(j->jm->env, j->stop_target, wr_journal_lineage(o->journal))) return;
    wr_fail(&j->stop_why, WR_NOT_FOUND,
            "the job had finished before its savepoint could be written, there is none in %s; its last snapshot, in "
            "%s, has all",
            j->stop_target, o->folder);
}

/* Nobody hears of an end that the ledger does not have: the next JobManager would begin it again. */
static void tell_end(wr_jm_job *j, wr_job_state state)
{
    if (j->end_ms != INT64_MAX) return;
    if (state == WR_JOB_FINISHED) look_for_savepoint(j);
    wr_origin_unlock(&j->run.origin);
    wr_jm_told(j, state);
}

static void end_again(wr_jm_job *j)
{
    wr_job_state state = (wr_job_state)j->end_state;
    wr_jm_end_in_ledger(j, state, state == WR_JOB_FINISHED ? NULL : &j->core.cause);
    tell_end(j, state);
    if (j->release_next) release(j);
}

/* What its next run in the same folder must find. */
static void note_finished(wr_jm_job *j)
{
    wr_errinfo       info = {0};
    const wr_origin *o = &j->run.origin;
    wr_err           err = WR_OK;
    if (j->coordinator == NULL) return;
    if (!j->quiet)
        err = wr_coordinator_finished(j->coordinator, &info);
    else if (o->restores && o->manifest.ended)
        err = wr_journal_finish(o->journal, o->manifest.id, &info);
    if (err != WR_OK)
        wr_log(WR_LOG_WARN, "cannot note that job %s has finished: %s; its next run will find out by itself", j->name,
               info.text);
}

static void told(wr_jm_job *j, wr_job_state state)
{
    wr_jobmanager *jm = j->jm;
    bool           why = j->core.cause.code != WR_OK && state != WR_JOB_RUNNING && state != WR_JOB_RECONCILING;
    wr_log(WR_LOG_INFO, "job %s (%016llx) is %s%s%s", j->name, (unsigned long long)j->id, wr_job_state_name(state),
           why ? ": " : "", why ? j->core.cause.text : "");
    if (wr_job_state_final(state)) {
        if (state == WR_JOB_FINISHED)
            note_finished(j);
        else if (j->coordinator != NULL)
            wr_coordinator_close(j->coordinator); /* what it still writes needs the folder */
        j->quiet = true;
        wr_jm_end_in_ledger(j, state, state == WR_JOB_FINISHED ? NULL : &j->core.cause);
        wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_FORGET, .job = j->id});
        tell_end(j, state);
    } else {
        wr_jm_told(j, state);
    }
}

/* ---- actions ---- */

static void refuse(wr_jm_job *j, const wr_errinfo *info)
{
    j->refuse = true;
    j->refused = *info;
}

wr_err wr_jm_room_for(wr_jm_job *j, uint32_t subtasks, wr_errinfo *info)
{
    uint32_t       actions = wr_core_job_actions_max(subtasks);
    wr_execution  *e = calloc(subtasks, sizeof *e);
    wr_job_action *a = actions > j->actions_max ? calloc(actions, sizeof *a) : NULL;
    if (e == NULL || (a == NULL && actions > j->actions_max)) {
        free(e);
        free(a);
        return wr_fail(info, WR_MEMORY, "no memory for %u subtasks", subtasks);
    }
    wr_core_job_memory(&j->core, e, subtasks);
    free(j->execution);
    j->execution = e;
    if (a != NULL) {
        free(j->action_old);
        j->action_old = j->action; /* perhaps in use, further up */
        j->action = a;
        j->actions_max = actions;
    }
    return WR_OK;
}

/* It had finished in an earlier life, and there is nothing to run. */
static void over_before(wr_jm_job *j)
{
    wr_jm_end_in_ledger(j, WR_JOB_FINISHED, NULL);
    wr_jm_pool(j->jm, (wr_pool_event){.kind = WR_POOL_FORGET, .job = j->id});
    j->last_snapshot = j->run.origin.last;
    tell_end(j, WR_JOB_FINISHED);
}

/* Its folder may not be what it was: a file system that is not mounted has no snapshots, and no error. */
static wr_err prepare_next(wr_jm_job *j, const wr_job_spec *spec, wr_errinfo *info)
{
    const wr_origin *o = &j->run.origin;
    if (j->coordinator != NULL && wr_coordinator_taken(j->coordinator)) {
        uint64_t newest = wr_core_checkpoint_newest(wr_coordinator_machine(j->coordinator));
        if (newest > j->newest) j->newest = newest;
    }
    wr_jm_drop_coordinator(j);
    wr_jm_run_free(&j->run);
    const wr_ledger_job *l = wr_ledger_find(j->jm->ledger, j->id);
    const uint32_t       before = wr_jm_attempts_before(j->jm, spec->snapshots, l);
    const uint32_t       attempt = before < j->core.attempt ? j->core.attempt : before + 1;
    WR_TRY(wr_jm_run_prepare(j->jm, &j->run, spec, WR_JM_NEXT, attempt, info));
    if (o->finished || o->base >= j->newest || wr_sabotage.missing_is_new) return WR_OK;
    wr_fail(info, WR_IO, "snapshot %llu was complete, and the folder does not have it; %s; is it mounted?",
            (unsigned long long)j->newest, o->folder);
    wr_jm_run_free(&j->run);
    return WR_IO;
}

/* All claims of the pool may be taken, by workers that are still ending: then it is asked again. */
static void ask_for_slots(wr_jm_job *j)
{
    wr_jobmanager *jm = j->jm;
    wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_WANT,
                                   .job = j->id,
                                   .attempt = j->core.attempt,
                                   .slots = j->run.exec->slots,
                                   .rank = j->rank});
    bool asked = wr_core_pool_claim_of(&jm->pool, j->id, j->core.attempt) != NULL;
    j->want_ms = asked ? INT64_MAX : wr_jm_now_ms(jm) + WANT_AGAIN_MS;
}

static void want(wr_jm_job *j)
{
    wr_errinfo           info = {0};
    const wr_ledger_job *l;
    j->adopted = false; /* what was to be taken over has failed */
    if (j->respec && wr_jm_respec(j, &info) != WR_OK) {
        refuse(j, &info);
        return;
    }
    l = wr_ledger_find(j->jm->ledger, j->id);
    if (!j->prepared && prepare_next(j, &l->spec, &info) != WR_OK) {
        refuse(j, &info);
        return;
    }
    j->prepared = false;
    wr_core_job_number(&j->core, j->run.attempt);
    if (j->run.origin.finished) {
        over_before(j);
    } else if (wr_jm_room_for(j, j->run.exec->subtasks, &info) != WR_OK) {
        refuse(j, &info);
    } else {
        ask_for_slots(j);
    }
}

/* Where the savepoint of a stop goes; NULL: nowhere. It was looked at before the stop was ordered: what is wrong now is
 * told, and the job stops all the same. Its last snapshot is as good. */
static const char *stop_target(wr_jm_job *j)
{
    const wr_env *env = j->jm->env;
    wr_errinfo    info = {0}, why = {0};
    if (j->stop_target == NULL) return NULL;
    if (j->stop_tried && wr_saving_may_begin(j->stop_target, NULL) == WR_OK)
        wr_savepoint_clear(env, j->stop_target, wr_journal_lineage(j->run.origin.journal));
    j->stop_tried = true;
    if (wr_savepoint_may_write(env, j->stop_target, &info) == WR_OK) return j->stop_target;
    wr_fail(&why, info.code, "%s; there is no savepoint, but the job has ended; --restore %s takes its last snapshot",
            info.text, wr_ledger_find(j->jm->ledger, j->id)->spec.snapshots);
    wr_jm_answered(j, j->stop_ticket, 0, &why);
    return NULL;
}

static void stop_sources(wr_jm_job *j)
{
    const wr_ledger_job *l = wr_ledger_find(j->jm->ledger, j->id);
    j->stop_why.code = WR_OK;
    if (j->coordinator != NULL && wr_coordinator_taken(j->coordinator) && !j->quiet)
        wr_coordinator_stop(j->coordinator, j->stop_ticket, l->stopping == WR_LEDGER_DRAIN, stop_target(j));
    else if (!j->quiet)
        order(j, WR_DO_STOP_SOURCES, 0);
}

static void note_failure(wr_jm_job *j, uint32_t attempt)
{
    wr_errinfo              info = {0};
    bool                    again = j->core.state == WR_JOB_RESTARTING; /* the step is over */
    const wr_ledger_failure failure = {.wall_ms = wr_jm_wall_ms(j->jm),
                                       .attempt = attempt,
                                       .subtask = j->core.failed_subtask,
                                       .info = j->core.cause,
                                       .count = j->core.restart.failed,
                                       .delay_ms = again ? j->core.restart.last_delay_ms : -1};
    j->jm->count.failures++;
    if (wr_ledger_failed(j->jm->ledger, j->id, &failure, &info) != WR_OK)
        wr_log(WR_LOG_ERROR, "a failure of job %s cannot be kept: %s", j->name, info.text);
}

/* The attempt runs, and an older JobManager had led it: what that had begun is ended in a known way. */
static void take_over(wr_jm_job *j)
{
    const wr_origin *o = &j->run.origin;
    j->adopted = false;
    j->heir = true;
    j->reconcile_ms = INT64_MAX;
    if (o->journal == NULL) return;
    uint64_t ids = wr_journal_ids(o->journal), first = o->base + 1;
    if (o->base != 0) order(j, WR_DO_COMPLETE, o->base);
    if (ids >= ABORTS_MAX && first < ids - ABORTS_MAX) first = ids - ABORTS_MAX;
    for (uint64_t id = first; id <= ids; id++) order(j, WR_DO_ABORT, id);
    if (j->quiet) order(j, WR_DO_FINISH, 0);
}

static void act(wr_jm_job *j, const wr_job_action *action, uint32_t n)
{
    bool deployed = false, canceled = false;
    for (uint32_t i = 0; i < n; i++) {
        const wr_job_action *a = &action[i];
        switch (a->kind) {
        case WR_JOB_DO_DEPLOY:
            if (!deployed) wr_jm_deploy(j);
            deployed = true;
            break;
        case WR_JOB_DO_CANCEL:
            if (!canceled) order(j, WR_DO_CANCEL, 0);
            canceled = true;
            break;
        case WR_JOB_DO_STOP_SOURCES: stop_sources(j); break;
        case WR_JOB_DO_TELL:
            if (a->state == WR_JOB_RUNNING && j->adopted) take_over(j);
            told(j, a->state);
            break;
        case WR_JOB_DO_WANT: want(j); break;
        case WR_JOB_DO_FORGET: wr_jm_pool(j->jm, (wr_pool_event){.kind = WR_POOL_FORGET, .job = j->id}); break;
        case WR_JOB_DO_GO:
            order(j, WR_DO_GO, 0);
            wr_jm_went(j);
            break;
        case WR_JOB_DO_KILL: wr_jm_kill(j); break;
        case WR_JOB_DO_NOTE: note_failure(j, a->attempt); break;
        case WR_JOB_DO_RELEASE: release(j); break;
        }
    }
}

void wr_jm_feed(wr_jm_job *j, wr_job_event event)
{
    if (j->ended && !wr_job_state_final(j->core.state)) return; /* over before it began */
    event.now_ms = wr_jm_now_ms(j->jm);
    if (event.now_ms < j->core.now_ms) event.now_ms = j->core.now_ms;
    event.random = wr_jm_random(j->jm);
    const wr_job_action *action = j->action;
    act(j, action, wr_core_job_step(&j->core, &event, j->action, j->actions_max));
    bool over = j->core.state > WR_JOB_RUNNING && j->core.state != WR_JOB_FINISHED;
    if (over && j->coordinator != NULL) wr_coordinator_close(j->coordinator);
}

/* ---- slots ---- */

static void new_secret(wr_jm_job *j)
{
    for (uint32_t i = 0; i < sizeof j->secret; i += 8) {
        uint64_t bits = wr_jm_random(j->jm);
        memcpy(j->secret + i, &bits, 8);
    }
}

static wr_err keep_attempt(wr_jm_job *j, wr_errinfo *info)
{
    return wr_ledger_attempt(j->jm->ledger, j->id, j->attempt, j->place, j->run.exec->slots, j->secret, info);
}

void wr_jm_granted(wr_jm_job *j, uint32_t attempt)
{
    wr_jobmanager       *jm = j->jm;
    const wr_pool_claim *c = wr_core_pool_claim_of(&jm->pool, j->id, attempt);
    wr_errinfo           info = {0};
    bool                 whole = c != NULL;
    for (uint32_t s = 0; c != NULL && s < c->slots; s++) whole = whole && c->tm[s] != 0;
    bool wanted = !j->ended && j->core.waits && j->core.attempt == attempt && !j->refuse;
    if (!wanted || !whole) { /* it changed its mind, or somebody left in between */
        wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_RETURN, .job = j->id, .attempt = attempt});
        if (wanted) ask_for_slots(j);
        return;
    }
    check(c->slots == j->run.exec->slots);
    j->attempt = attempt;
    j->heir = false;
    j->released = false;
    j->release_ms = INT64_MAX;
    wr_jm_places(j, c->tm, c->slots);
    new_secret(j);
    const wr_ledger_job *l = wr_ledger_find(jm->ledger, j->id);
    if (keep_attempt(j, &info) != WR_OK || wr_jm_new_coordinator(j, &l->spec, &info) != WR_OK) {
        wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_RETURN, .job = j->id, .attempt = attempt});
        wr_jm_forget_workers(j);
        refuse(j, &info);
        return;
    }
    wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_GRANTED, .attempt = attempt, .subtasks = j->run.exec->subtasks});
}

/* ---- what workers say ---- */

static bool is_there(const wr_jm_job *j, uint64_t tm, uint32_t subtask)
{
    return subtask < j->run.exec->subtasks && j->place[j->run.exec->subtask[subtask].slot] == tm;
}

/* It finished, and we did not say so: the last snapshot was durable before we came. Who has not heard it would wait
 * for ever, and a snapshot of ours for who has. */
static void finish_as_was_said(wr_jm_job *j)
{
    j->quiet = true;
    wr_coordinator_close(j->coordinator);
    order(j, WR_DO_FINISH, 0);
}

void wr_jm_report(wr_jm_job *j, uint64_t tm, const wr_task_report *r)
{
    if (j->ended || !wr_core_job_alive(&j->core) || !is_there(j, tm, r->subtask) || r->state > WR_TASK_FAILED) {
        j->jm->count.stale++;
        return;
    }
    j->jm->count.reports++;
    if (j->core.state == WR_JOB_RECONCILING && r->state == WR_TASK_FINISHED && j->run.origin.journal != NULL)
        j->quiet = true; /* so the last snapshot is durable, and all were told to finish */
    wr_coordinator *c = j->coordinator;
    wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_REPORT,
                                 .subtask = r->subtask,
                                 .attempt = j->attempt,
                                 .reported = wr_exec_state_of(r->state),
                                 .loaded = r->state == WR_TASK_LOADED,
                                 .info = r->state == WR_TASK_FAILED ? &r->info : NULL});
    bool runs = j->core.state == WR_JOB_RUNNING || j->core.state == WR_JOB_RECONCILING;
    if (!runs || j->quiet || c == NULL || c != j->coordinator) return;
    wr_coordinator_report(c, r->subtask, (wr_task_state)r->state);
    bool ours = !wr_coordinator_taken(c) || wr_coordinator_machine(c)->finished;
    if (j->heir && r->state == WR_TASK_FINISHED && !ours) finish_as_was_said(j);
}

static bool makes_sense(const wr_jm_job *j, const wr_ack *a)
{
    for (uint32_t i = 0; i < a->ops; i++) {
        if (a->op[i].node >= j->run.exec->job->nodes) return false;
        if (a->op[i].table && (a->op[i].key == NULL || a->op[i].record == NULL)) return false;
    }
    return true;
}

void wr_jm_ack(wr_jm_job *j, uint64_t tm, wr_ack *ack)
{
    bool taken = j->coordinator != NULL && wr_coordinator_taken(j->coordinator) && !j->quiet;
    if (j->ended || j->core.state != WR_JOB_RUNNING || !taken || !is_there(j, tm, ack->subtask) ||
        !makes_sense(j, ack)) {
        j->jm->count.stale++;
        wr_ack_free(ack);
        return;
    }
    j->jm->count.acks++;
    ack->attempt = j->attempt; /* the message's was compared already */
    wr_coordinator_ack(j->coordinator, ack);
}

void wr_jm_worker_lost(wr_jm_job *j, wr_jm_worker *w, bool clean, uint32_t subtask, const wr_errinfo *info)
{
    const wr_exec *exec = j->run.exec;
    w->gone = true;
    bool guessed = w->missing && info != NULL && info->code == WR_UNREACHABLE;
    w->awaited = w->missing = false;
    if (exec == NULL || j->core.attempt != j->attempt || !wr_core_job_alive(&j->core)) return;
    uint32_t *list = calloc(exec->subtasks, sizeof *list), n = 0;
    check(list != NULL); /* that a worker is lost cannot be left unsaid */
    for (uint32_t i = 0; i < exec->subtasks; i++)
        if (is_there(j, w->tm, i)) list[n++] = i;
    wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_LOST,
                                 .attempt = j->attempt,
                                 .clean = clean,
                                 .guessed = guessed,
                                 .subtask = subtask < exec->subtasks ? subtask : UINT32_MAX,
                                 .info = info,
                                 .subtask_list = list,
                                 .subtasks_listed = n});
    free(list);
}

/* ---- time ---- */

static void nobody_came_back(wr_jm_job *j)
{
    j->reconcile_ms = INT64_MAX;
    for (uint32_t i = 0; i < j->workers; i++) {
        wr_jm_worker *w = &j->worker[i];
        wr_errinfo    info = {0};
        if (!w->awaited) continue;
        wr_fail(&info, WR_UNREACHABLE, "TaskManager %016llx did not come back after the JobManager's restart",
                (unsigned long long)w->tm);
        wr_jm_worker_lost(j, w, false, UINT32_MAX, &info);
        /* Its slots, too: with another number it would be another TaskManager. */
        wr_jm_pool(j->jm, (wr_pool_event){.kind = WR_POOL_FREED, .job = j->id, .attempt = j->attempt, .tm = w->tm});
    }
}

static void release_late(wr_jm_job *j)
{
    bool left = false;
    for (uint32_t i = 0; i < j->workers; i++) left = left || !j->worker[i].gone;
    j->release_ms = left ? wr_jm_now_ms(j->jm) + j->jm->config.cancel_timeout_ms : INT64_MAX;
    if (left) wr_jm_kill(j);
}

void wr_jm_job_due(wr_jm_job *j)
{
    int64_t now = wr_jm_now_ms(j->jm);
    if (j->reconcile_ms <= now) nobody_came_back(j);
    if (j->late_ms <= now) wr_jm_nobody_said_why(j);
    if (j->release_ms <= now) release_late(j);
    if (j->end_ms <= now) end_again(j);
    if (j->move_ms <= now) j->jm->look_at_moves = true;
    if (j->want_ms <= now) {
        j->want_ms = INT64_MAX;
        if (j->core.waits && !j->ended && !j->refuse && j->run.exec != NULL) ask_for_slots(j);
    }
    if (wr_core_job_due(&j->core) <= now) wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_TICK});
    if (j->coordinator != NULL && j->core.state == WR_JOB_RUNNING && !j->quiet) wr_coordinator_step(j->coordinator);
}

/* Before anybody is told to end: who comes after us must not take that for a failure. */
static bool keep_restart(wr_jm_job *j)
{
    wr_errinfo info = {0};
    size_t     n = j->respec ? j->spec_next_bytes : 0;
    if (j->core.state != WR_JOB_RUNNING && j->core.state != WR_JOB_RECONCILING) return true; /* nobody will be told */
    if (wr_ledger_restart(j->jm->ledger, j->id, j->respec ? j->spec_next : NULL, n, &info) == WR_OK) return true;
    wr_log(WR_LOG_WARN, "job %s stays as it is: %s", j->name, info.text);
    if (j->respec) wr_jm_not_rescaled(j, &info);
    return false;
}

/* Nobody else will ever say anything of them. */
static void lose_unsent(wr_jm_job *j)
{
    for (uint32_t i = 0; i < j->workers; i++) {
        wr_jm_worker *w = &j->worker[i];
        if (!w->unsent || w->gone) continue;
        const uint32_t attempt = j->attempt;
        const uint64_t tm = w->tm;
        wr_jm_worker_lost(j, w, false, UINT32_MAX, &j->unsent);
        bool keep = !wr_job_state_final(j->core.state) && !j->core.waits && j->core.attempt == attempt;
        wr_jm_pool(j->jm,
                   (wr_pool_event){.kind = WR_POOL_FREED, .job = j->id, .attempt = attempt, .tm = tm, .keep = keep});
    }
}

void wr_jm_settle_job(wr_jm_job *j, bool *more)
{
    if (j->undeployed) {
        j->undeployed = false;
        *more = true;
        lose_unsent(j);
    }
    if (j->refuse) {
        wr_errinfo info = j->refused;
        j->refuse = false;
        *more = true;
        wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_REFUSED, .attempt = j->core.attempt, .info = &info});
    }
    if (j->restart) {
        j->restart = false;
        *more = true;
        bool fits = j->respec ? wr_jm_rescale_fits(j) : wr_jm_move_fits(j);
        if (fits && keep_restart(j))
            wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_RESTART});
        else if (fits) /* what was reserved for it is free again */
            wr_jm_pool(j->jm, (wr_pool_event){.kind = WR_POOL_RESERVE, .job = j->id});
    }
}

/* ---- end ---- */

void wr_jm_job_free(wr_jm_job *j)
{
    wr_coordinator_free(j->coordinator);
    wr_jm_forget_workers(j);
    for (uint32_t i = 0; i < j->was_ons; i++) free(j->was_on[i]);
    free(j->was_on);
    wr_jm_run_free(&j->run);
    free(j->execution);
    free(j->action);
    free(j->action_old);
    free(j->stop_target);
    free(j->spec_next);
    free(j->report);
    free(j);
}
