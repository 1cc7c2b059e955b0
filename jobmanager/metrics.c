/* What the HTTP server asks for: the reading requests' JSON, and metrics in Prometheus' text format 0.0.4. */
#include "net/metrics.h"
#include "jobmanager/inside.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the JobManager's ---- */

static void jobs_by_state(FILE *f, wr_jobmanager *jm)
{
    const wr_ledger_job *l;
    uint32_t             n[WR_JOB_STATES] = {0};
    for (uint32_t i = 0; (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++) {
        const wr_jm_job *j = wr_jm_job_of(jm, l->id);
        uint32_t         state = l->state != 0 || j == NULL ? l->state : (uint32_t)j->core.state;
        if (state < WR_JOB_STATES) n[state]++;
    }
    wr_metrics_head(f, "weir_jobs", "gauge", "Jobs in each state, ended ones as long as they are remembered.");
    for (uint32_t s = 1; s < WR_JOB_STATES; s++)
        fprintf(f, "weir_jobs{state=\"%s\"} %u\n", wr_job_state_name((wr_job_state)s), n[s]);
}

static void of_cluster(FILE *f, wr_jobmanager *jm)
{
    wr_pool_sums   sums;
    wr_peers_stats s = {0};
    wr_core_pool_sums(&jm->pool, &sums);
    wr_metrics_head(f, "weir_leader_epoch", "gauge", "How often a JobManager has begun to lead with this folder.");
    fprintf(f, "weir_leader_epoch %" PRIu64 "\n", jm->leader);
    wr_metrics_head(f, "weir_taskmanagers", "gauge", "TaskManagers that are registered.");
    fprintf(f, "weir_taskmanagers %u\n", sums.tms);
    wr_metrics_head(f, "weir_slots", "gauge", "Slots of TaskManagers that take work.");
    fprintf(f, "weir_slots{state=\"free\"} %u\nweir_slots{state=\"used\"} %u\n", sums.free_slots,
            sums.slots > sums.free_slots ? sums.slots - sums.free_slots : 0);
    jobs_by_state(f, jm);
    wr_metrics_head(f, "weir_jobs_waiting", "gauge", "Jobs that wait for slots.");
    fprintf(f, "weir_jobs_waiting %u\n", sums.waiting);
    wr_metrics_head(f, "weir_heartbeat_age_seconds", "gauge", "Since the last heartbeat of each TaskManager.");
    for (uint32_t i = 0; i < jm->tms; i++) {
        fputs("weir_heartbeat_age_seconds{tm=\"", f);
        wr_metrics_value(f, jm->tm[i]->name);
        fprintf(f, "\"} %.3f\n", (double)(wr_jm_now_ms(jm) - jm->tm[i]->heard_ms) * 1e-3);
    }
    wr_metrics_head(f, "weir_stale_messages_total", "counter",
                    "Messages of attempts that are over, which had no effect.");
    fprintf(f, "weir_stale_messages_total %" PRIu64 "\n", jm->count.stale);
    if (jm->peers->stats == NULL) return;
    jm->peers->stats(jm->peers->self, &s);
    wr_metrics_head(f, "weir_connections", "gauge", "Connections of the control port.");
    fprintf(f, "weir_connections{state=\"open\"} %u\nweir_connections{state=\"half_open\"} %u\n", s.open, s.half_open);
    wr_metrics_head(f, "weir_connections_refused_total", "counter",
                    "Connections of the control port that were closed, and why.");
    const struct {
        const char *why;
        uint64_t    n;
    } refused[] = {{"garbage", s.garbage},
                   {"oversized", s.oversized},
                   {"slow", s.slow},
                   {"wrong_token", s.wrong_token},
                   {"wrong_version", s.wrong_version},
                   {"overflowed", s.overflowed},
                   {"undecodable", jm->count.undecodable},
                   {"wrong_role", jm->count.wrong_role},
                   {"other", s.refused}}; /* too many at once, or the caller does not want us */
    for (uint32_t i = 0; i < sizeof refused / sizeof *refused; i++)
        fprintf(f, "weir_connections_refused_total{reason=\"%s\"} %" PRIu64 "\n", refused[i].why, refused[i].n);
}

/* ---- jobs ---- */

static void states(FILE *f, wr_jobmanager *jm)
{
    wr_metrics_head(f, "weir_job_state", "gauge", "1 for the state that the job is in.");
    for (uint32_t i = 0; i < jm->jobs; i++) {
        const wr_jm_job *j = jm->job[i];
        if (j->ended) continue;
        for (uint32_t s = 1; s < WR_JOB_STATES; s++) {
            wr_metrics_of_job(f, "weir_job_state", j->name, j->id);
            fprintf(f, ",state=\"%s\"} %d\n", wr_job_state_name((wr_job_state)s), j->core.state == (wr_job_state)s);
        }
    }
}

typedef double (*figure_of_job)(const wr_jm_job *j);
static double restarts(const wr_jm_job *j)
{
    const wr_ledger_job *l = wr_ledger_find(j->jm->ledger, j->id);
    return l != NULL ? wr_jm_restarts_of(j->jm, l) : 0;
}
static double planned(const wr_jm_job *j)
{
    const wr_ledger_job *l = wr_ledger_find(j->jm->ledger, j->id);
    return l != NULL ? l->planned : 0;
}
static const wr_core_checkpoint *machine(const wr_jm_job *j)
{
    return j->coordinator != NULL ? wr_coordinator_machine(j->coordinator) : NULL;
}
static double completed(const wr_jm_job *j)
{
    return (double)(j->snapshots.completed + (machine(j) != NULL ? machine(j)->completions : 0));
}
static double failed(const wr_jm_job *j)
{
    return (double)(j->snapshots.failed + (machine(j) != NULL ? machine(j)->failures_all : 0));
}
static double last_id(const wr_jm_job *j)
{
    return (double)j->snapshots.id;
}
static double last_seconds(const wr_jm_job *j)
{
    return j->snapshots.took_s;
}
static double last_bytes(const wr_jm_job *j)
{
    return (double)j->snapshots.bytes;
}
static double last_at(const wr_jm_job *j)
{
    return j->snapshots.at_s;
}

static void figures_of_jobs(FILE *f, wr_jobmanager *jm)
{
    static const struct {
        const char   *name, *type, *help;
        figure_of_job of;
        bool          of_last; /* snapshot: left out until there is one, since no alert could tell 0 from long ago */
    } all[] = {
        {"weir_job_restarts_total", "counter", "Attempts that followed a failure.", restarts, false},
        {"weir_job_planned_restarts_total", "counter", "Attempts that followed an order: rescaled, or moved.", planned,
         false},
        {"weir_snapshots_completed_total", "counter", "Snapshots and savepoints that were completed.", completed,
         false},
        {"weir_snapshots_failed_total", "counter", "Snapshots and savepoints that failed.", failed, false},
        {"weir_snapshot_last_id", "gauge", "The newest completed snapshot.", last_id, true},
        {"weir_snapshot_last_duration_seconds", "gauge", "How long it took.", last_seconds, true},
        {"weir_snapshot_last_size_bytes", "gauge", "What it wrote.", last_bytes, true},
        {"weir_snapshot_last_completed_timestamp_seconds", "gauge", "When it was complete.", last_at, true},
    };
    for (uint32_t k = 0; k < sizeof all / sizeof *all; k++) {
        wr_metrics_head(f, all[k].name, all[k].type, all[k].help);
        for (uint32_t i = 0; i < jm->jobs; i++) {
            const wr_jm_job *j = jm->job[i];
            if (j->ended || (all[k].of_last && j->snapshots.id == 0)) continue;
            wr_metrics_of_job(f, all[k].name, j->name, j->id);
            fprintf(f, "} %.17g\n", all[k].of(j));
        }
    }
}

/* ---- what workers measured ---- */

static bool tells(const wr_jm_job *j, const wr_jm_worker *w)
{
    return !j->ended && j->run.exec != NULL && w->measured && !w->gone;
}

static bool workers(FILE *f, wr_jobmanager *jm)
{
    uint32_t n = 0, room = 0;
    for (uint32_t i = 0; i < jm->jobs; i++) room += jm->job[i]->workers;
    wr_metrics_worker *all = calloc((size_t)room + 1, sizeof *all);
    if (all == NULL) return false;
    for (uint32_t i = 0; i < jm->jobs; i++) {
        const wr_jm_job *j = jm->job[i];
        for (uint32_t k = 0; k < j->workers; k++) {
            const wr_jm_worker *w = &j->worker[k];
            if (!tells(j, w)) continue;
            all[n++] = (wr_metrics_worker){.job = j->name,
                                           .id = j->id,
                                           .tm = w->tm_name != NULL ? w->tm_name : "",
                                           .exec = j->run.exec,
                                           .stats = &w->stats.stats};
        }
    }
    wr_metrics_of_workers(f, all, n);
    free(all);
    return true;
}

static char *metrics(wr_jobmanager *jm, size_t *n)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, n);
    if (f == NULL) return NULL;
    of_cluster(f, jm);
    states(f, jm);
    figures_of_jobs(f, jm);
    bool all = workers(f, jm);
    if (fclose(f) == 0 && all) return text;
    free(text);
    return NULL;
}

/* ---- /v1 ---- */

static char *of_one_job(wr_jobmanager *jm, const char *rest, size_t *n)
{
    char   id[WR_NAME_BYTES_MAX + 1];
    char  *slash = strchr(rest, '/');
    size_t length = slash != NULL ? (size_t)(slash - rest) : strlen(rest);
    if (length >= sizeof id) return NULL;
    memcpy(id, rest, length);
    id[length] = 0;
    wr_errinfo           info = {0};
    const wr_ledger_job *l = wr_jm_find_job(jm, id, &info);
    const char          *what = slash != NULL ? slash + 1 : "";
    if (l == NULL) return NULL;
    if (what[0] == 0) return wr_jm_show_job(jm, l->id, true, n);
    if (strcmp(what, "snapshots") == 0) return wr_jm_show_snapshots(jm, l->id, true, n);
    if (strcmp(what, "top") == 0) return wr_jm_show_top(jm, l->id, true, n);
    if (strcmp(what, "why") == 0) return wr_jm_show_why(jm, l->id, true, n);
    return NULL;
}

char *wr_jobmanager_read(wr_jobmanager *jm, const char *what, size_t *n)
{
    *n = 0;
    if (strcmp(what, "metrics") == 0) return metrics(jm, n);
    if (strcmp(what, "jobs") == 0) return wr_jm_show_list(jm, 0, true, n);
    if (strcmp(what, "taskmanagers") == 0) return wr_jm_show_taskmanagers(jm, 0, true, n);
    if (strcmp(what, "top") == 0) return wr_jm_show_top(jm, 0, true, n);
    if (strncmp(what, "jobs/", 5) == 0) return of_one_job(jm, what + 5, n);
    return NULL;
}
