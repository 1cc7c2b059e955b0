/* How a job begins in this JobManager's time: anew, or where another JobManager left it. */
#include "base/log.h"
#include "jobmanager/inside.h"
#include <stdlib.h>
#include <string.h>

/* A worker that is known to be alive has a round trip to make, and its TaskManager one more. */
enum { BACK_MARGIN_MS = 1000 };

static bool adopt(wr_jm_job *j, const wr_ledger_job *l)
{
    wr_errinfo info = {0};
    if (l->attempt == 0 || l->place == NULL || l->places == 0 || l->places > WR_SLOTS_MAX) return false;
    j->adopted = true;
    wr_err err = wr_jm_run_prepare(j->jm, &j->run, &l->spec, WR_JM_ADOPTED, l->attempt, &info);
    if (err == WR_OK && (j->run.origin.finished || j->run.exec->slots != l->places)) {
        j->prepared = j->run.origin.finished; /* it is over as soon as it wants slots */
        if (!j->prepared) wr_jm_run_free(&j->run);
        j->adopted = false;
        return false;
    }
    if (err == WR_OK) err = wr_jm_room_for(j, j->run.exec->subtasks, &info);
    if (err == WR_OK) {
        wr_jm_places(j, l->place, l->places);
        err = wr_jm_new_coordinator(j, &l->spec, &info);
    }
    if (err != WR_OK) {
        wr_log(WR_LOG_WARN, "job %s cannot be taken over as it runs: %s", j->name, info.text);
        wr_jm_forget_workers(j);
        wr_jm_run_free(&j->run);
        j->adopted = false;
        return false;
    }
    memcpy(j->secret, l->secret, sizeof j->secret);
    for (uint32_t i = 0; i < j->workers; i++) j->worker[i].awaited = true;
    j->reconcile_ms = j->jm->started_ms + j->jm->config.lease_ms + BACK_MARGIN_MS;
    wr_jm_pool(j->jm,
               (wr_pool_event){
                   .kind = WR_POOL_HOLDS, .job = j->id, .attempt = l->attempt, .slots = l->places, .place = l->place});
    int64_t ran_ms = l->attempt_wall_ms > 0 ? wr_jm_wall_ms(j->jm) - l->attempt_wall_ms : 0;
    wr_jm_feed(j,
               (wr_job_event){
                   .kind = WR_JOB_ADOPT, .attempt = l->attempt, .subtasks = j->run.exec->subtasks, .ran_ms = ran_ms});
    return true;
}

/* It failed, and its time to begin again has not come. The clock of the wall may have been set. */
static int64_t delay_left_ms(const wr_jm_job *j, const wr_ledger_job *l)
{
    const wr_ledger_failure *f = l->failures > 0 ? &l->failure[l->failures - 1] : NULL;
    if (f == NULL || f->attempt != l->attempt || l->place != NULL || f->delay_ms <= 0) return 0;
    int64_t since = wr_jm_wall_ms(j->jm) - f->wall_ms;
    return since < 0 ? f->delay_ms : since < f->delay_ms ? f->delay_ms - since : 0;
}

/* It failed for good, and the JobManager before us ended ahead of saying so. */
static bool has_failed(wr_jm_job *j, const wr_ledger_job *l)
{
    const wr_ledger_failure *f = l->failures > 0 ? &l->failure[l->failures - 1] : NULL;
    if (f == NULL || f->attempt != l->attempt || l->place != NULL || f->delay_ms >= 0) return false;
    j->core.cause = f->info; /* told again, if the ledger does not take it now */
    wr_jm_end_in_ledger(j, l->stopping == WR_LEDGER_CANCEL ? WR_JOB_CANCELED : WR_JOB_FAILED, &f->info);
    return true;
}

/* Ordered, and not done: they are done now. */
static void go_on_restarting(wr_jm_job *j, const wr_ledger_job *l)
{
    if (l->restarting == 0 || l->restarting != l->attempt) return;
    if (l->next_spec != NULL && (j->spec_next = malloc(l->next_spec_bytes)) != NULL) {
        memcpy(j->spec_next, l->next_spec, l->next_spec_bytes);
        j->spec_next_bytes = l->next_spec_bytes;
        j->respec = true;
    }
}

void wr_jm_begin(wr_jm_job *j, const wr_ledger_job *l)
{
    uint32_t stopping = l->stopping;
    if (has_failed(j, l)) return;
    go_on_restarting(j, l);
    bool restarts = l->restarting != 0 && l->restarting == l->attempt;
    if (stopping != 0 && stopping != WR_LEDGER_CANCEL) {
        j->stop_ticket = ++j->jm->tickets;
        if (l->target[0] != 0) j->stop_target = strdup(l->target);
        j->stop_tried = true;
    }
    if (!adopt(j, l))
        wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_SUBMIT, .attempt = l->attempt, .delay_ms = delay_left_ms(j, l)});
    else if (restarts)
        wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_RESTART});
    if (stopping == WR_LEDGER_CANCEL)
        wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_CANCEL});
    else if (stopping != 0)
        wr_jm_feed(j, (wr_job_event){.kind = WR_JOB_STOP});
}
