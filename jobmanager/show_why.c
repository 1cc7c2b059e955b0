/* `weir why`: what the JobManager knows of a job, for jobmanager/why.h. */
#include "jobmanager/inside.h"
#include "jobmanager/why.h"
#include <stdlib.h>
#include <string.h>

/* Owner: one call. */
typedef struct known {
    wr_why_input  in;
    wr_why_time  *time;
    wr_why_flow  *flow;
    wr_why_worker worker[WR_SLOTS_MAX];
} known;

static void know_workers(known *k, wr_jobmanager *jm, const wr_jm_job *j)
{
    for (uint32_t i = 0; i < j->workers && i < WR_SLOTS_MAX; i++) {
        const wr_jm_worker *w = &j->worker[i];
        const wr_jm_tm     *t = wr_jm_tm_of(jm, w->tm);
        const char         *name = t != NULL ? t->name : w->tm_name;
        k->worker[k->in.workers++] = (wr_why_worker){
            .name = name != NULL ? name : "one that is not here", .awaited = w->awaited, .gone = w->gone};
    }
    k->in.worker = k->worker;
}

static void know_figures(known *k, const wr_jm_job *j)
{
    const wr_exec *exec = k->in.exec;
    k->time = calloc(exec->vertices + 1, sizeof *k->time);
    k->flow = calloc(exec->job->nodes + 1, sizeof *k->flow);
    if (k->time == NULL || k->flow == NULL) return;
    for (uint32_t v = 0; v < exec->vertices; v++) {
        wr_jm_times t;
        wr_jm_times_of(j, v, &t);
        k->time[v] = (wr_why_time){.measured = t.subtasks,
                                   .busy = t.busy,
                                   .idle = t.idle,
                                   .back_pressured = t.back_pressured,
                                   .busiest = t.busiest,
                                   .busiest_subtask = t.busiest_subtask};
    }
    for (uint32_t n = 0; n < exec->job->nodes; n++) {
        wr_jm_flow f;
        wr_jm_flow_of(j, n, &f);
        k->flow[n] = (wr_why_flow){.measured = f.measured && f.rated,
                                   .in_rate = f.in_rate,
                                   .out_rate = f.out_rate,
                                   .watermark = f.watermark,
                                   .ahead = f.ahead,
                                   .slowest = f.slowest,
                                   .stands = f.stands,
                                   .held = f.held};
    }
    k->in.time = k->time;
    k->in.flow = k->flow;
}

static void know(known *k, wr_jobmanager *jm, const wr_ledger_job *l, const wr_jm_job *j)
{
    memset(k, 0, sizeof *k);
    k->in = (wr_why_input){.name = l->spec.name,
                           .state = l->state != 0 ? (wr_job_state)l->state : WR_JOB_CREATED,
                           .cause = &l->cause,
                           .failed_subtask = UINT32_MAX,
                           .failure = l->failures > 0 ? &l->failure[l->failures - 1] : NULL,
                           .stop = {.how = l->stopping, .folder = l->spec.snapshots, .savepoint = l->target},
                           .now_ms = wr_jm_now_ms(jm),
                           .wall_ms = wr_jm_wall_ms(jm)};
    wr_core_pool_sums(&jm->pool, &k->in.pool);
    if (j == NULL) return;
    k->in.stop.last = j->last_snapshot;
    k->in.stop.seen = true;
    k->in.stop.failure = j->stop_why.code != WR_OK ? &j->stop_why : NULL;
    k->in.job = &j->core;
    k->in.exec = j->run.exec;
    k->in.slots = j->run.exec != NULL ? j->run.exec->slots : 0;
    if (l->state == 0) {
        k->in.state = j->core.state;
        k->in.cause = &j->core.cause;
    }
    k->in.failed_subtask = j->core.failed_subtask;
    if (j->coordinator != NULL && wr_coordinator_taken(j->coordinator))
        k->in.snapshots = wr_coordinator_machine(j->coordinator);
    if (k->in.snapshots != NULL) k->in.savepoint = wr_coordinator_saving(j->coordinator, &k->in.savepoint_ms);
    know_workers(k, jm, j);
    if (k->in.exec != NULL) know_figures(k, j);
}

char *wr_jm_show_why(wr_jobmanager *jm, uint64_t id, bool json, size_t *n)
{
    const wr_ledger_job *l = wr_ledger_find(jm->ledger, id);
    char                *text = NULL;
    FILE                *file = l != NULL ? open_memstream(&text, n) : NULL;
    if (file == NULL) return NULL;
    known         *k = malloc(sizeof *k);
    wr_why_answer *a = malloc(sizeof *a);
    if (k != NULL && a != NULL) {
        know(k, jm, l, wr_jm_job_of(jm, id));
        wr_why(&k->in, a);
        if (json) {
            wr_json j;
            wr_json_init_file(&j, file);
            wr_why_json(&j, &k->in, a);
        }
        for (uint32_t i = 0; !json && i < a->lines; i++) fprintf(file, "%s\n", a->line[i].text);
        free(k->time);
        free(k->flow);
    }
    free(k);
    free(a);
    if (fclose(file) == 0) return text;
    free(text);
    return NULL;
}
