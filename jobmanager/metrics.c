/* What the HTTP server asks for: the reading requests' JSON, and metrics in Prometheus' text format 0.0.4. */
#include "jobmanager/inside.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- text format ---- */

static void head(FILE *f, const char *name, const char *type, const char *help)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: any text. */
static void value(FILE *f, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '\\' || *text == '"')
            fprintf(f, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", f);
        else
            fputc(*text, f);
    }
}

static void of_job(FILE *f, const char *name, const wr_jm_job *j)
{
    fprintf(f, "%s{job=\"", name);
    value(f, j->name);
    fprintf(f, "\",id=\"%016" PRIx64 "\"", j->id);
}

static void of_operator(FILE *f, const char *name, const wr_jm_job *j, uint32_t node, uint32_t subtask)
{
    of_job(f, name, j);
    fputs(",operator=\"", f);
    value(f, j->run.exec->job->node[node].uid);
    fprintf(f, "\",subtask=\"%u\"} ", subtask);
}

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
    head(f, "weir_jobs", "gauge", "Jobs in each state, ended ones as long as they are remembered.");
    for (uint32_t s = 1; s < WR_JOB_STATES; s++)
        fprintf(f, "weir_jobs{state=\"%s\"} %u\n", wr_job_state_name((wr_job_state)s), n[s]);
}

static void of_cluster(FILE *f, wr_jobmanager *jm)
{
    wr_pool_sums   sums;
    wr_peers_stats s = {0};
    wr_core_pool_sums(&jm->pool, &sums);
    head(f, "weir_leader_epoch", "gauge", "How often a JobManager has begun to lead with this folder.");
    fprintf(f, "weir_leader_epoch %" PRIu64 "\n", jm->leader);
    head(f, "weir_taskmanagers", "gauge", "TaskManagers that are registered.");
    fprintf(f, "weir_taskmanagers %u\n", sums.tms);
    head(f, "weir_slots", "gauge", "Slots of TaskManagers that take work.");
    fprintf(f, "weir_slots{state=\"free\"} %u\nweir_slots{state=\"used\"} %u\n", sums.free_slots,
            sums.slots > sums.free_slots ? sums.slots - sums.free_slots : 0);
    jobs_by_state(f, jm);
    head(f, "weir_jobs_waiting", "gauge", "Jobs that wait for slots.");
    fprintf(f, "weir_jobs_waiting %u\n", sums.waiting);
    head(f, "weir_heartbeat_age_seconds", "gauge", "Since the last heartbeat of each TaskManager.");
    for (uint32_t i = 0; i < jm->tms; i++) {
        fputs("weir_heartbeat_age_seconds{tm=\"", f);
        value(f, jm->tm[i]->name);
        fprintf(f, "\"} %.3f\n", (double)(wr_jm_now_ms(jm) - jm->tm[i]->heard_ms) * 1e-3);
    }
    head(f, "weir_stale_messages_total", "counter", "Messages of attempts that are over, which had no effect.");
    fprintf(f, "weir_stale_messages_total %" PRIu64 "\n", jm->count.stale);
    if (jm->peers->stats == NULL) return;
    jm->peers->stats(jm->peers->self, &s);
    head(f, "weir_connections", "gauge", "Connections of the control port.");
    fprintf(f, "weir_connections{state=\"open\"} %u\nweir_connections{state=\"half_open\"} %u\n", s.open, s.half_open);
    head(f, "weir_connections_refused_total", "counter", "Connections of the control port that were closed, and why.");
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
    head(f, "weir_job_state", "gauge", "1 for the state that the job is in.");
    for (uint32_t i = 0; i < jm->jobs; i++) {
        const wr_jm_job *j = jm->job[i];
        if (j->ended) continue;
        for (uint32_t s = 1; s < WR_JOB_STATES; s++) {
            of_job(f, "weir_job_state", j);
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
    return machine(j) != NULL ? (double)machine(j)->completions : 0;
}
static double failed(const wr_jm_job *j)
{
    return machine(j) != NULL ? (double)machine(j)->failures_all : 0;
}
static double newest(const wr_jm_job *j)
{
    return machine(j) != NULL ? (double)machine(j)->newest : 0;
}
static const wr_snapshot_record *last_completed(const wr_jm_job *j)
{
    const wr_snapshot_record *r = NULL;
    for (uint32_t i = 0; machine(j) != NULL && (r = wr_core_checkpoint_record(machine(j), i)) != NULL; i++)
        if (r->outcome == WR_SNAPSHOT_COMPLETED) return r;
    return NULL;
}
static double last_seconds(const wr_jm_job *j)
{
    const wr_snapshot_record *r = last_completed(j);
    return r != NULL ? (double)(r->ended_ms - r->begun_ms) * 1e-3 : 0;
}
static double last_bytes(const wr_jm_job *j)
{
    const wr_snapshot_record *r = last_completed(j);
    return r != NULL ? (double)r->bytes : 0;
}
static double last_at(const wr_jm_job *j)
{
    const wr_snapshot_record *r = last_completed(j);
    return r != NULL ? (double)(r->wall_ms + r->ended_ms - r->begun_ms) * 1e-3 : 0;
}

static void figures_of_jobs(FILE *f, wr_jobmanager *jm)
{
    static const struct {
        const char   *name, *type, *help;
        figure_of_job of;
    } all[] = {
        {"weir_job_restarts_total", "counter", "Attempts that followed a failure.", restarts},
        {"weir_job_planned_restarts_total", "counter", "Attempts that followed an order: rescaled, or moved.", planned},
        {"weir_snapshots_completed_total", "counter", "Completed snapshots of the newest attempt.", completed},
        {"weir_snapshots_failed_total", "counter", "Failed snapshots of the newest attempt.", failed},
        {"weir_snapshot_last_id", "gauge", "The newest completed snapshot.", newest},
        {"weir_snapshot_last_duration_seconds", "gauge", "How long it took.", last_seconds},
        {"weir_snapshot_last_size_bytes", "gauge", "What it wrote.", last_bytes},
        {"weir_snapshot_last_completed_timestamp_seconds", "gauge", "When it was complete.", last_at},
    };
    for (uint32_t k = 0; k < sizeof all / sizeof *all; k++) {
        head(f, all[k].name, all[k].type, all[k].help);
        for (uint32_t i = 0; i < jm->jobs; i++) {
            if (jm->job[i]->ended) continue;
            of_job(f, all[k].name, jm->job[i]);
            fprintf(f, "} %.17g\n", all[k].of(jm->job[i]));
        }
    }
}

/* ---- what workers measured ---- */

typedef void (*each_worker)(FILE *f, const char *name, const wr_jm_job *j, const wr_jm_worker *w, uint32_t which);

static void walk(FILE *f, wr_jobmanager *jm, const char *name, each_worker each, uint32_t which)
{
    for (uint32_t i = 0; i < jm->jobs; i++) {
        const wr_jm_job *j = jm->job[i];
        for (uint32_t k = 0; !j->ended && j->run.exec != NULL && k < j->workers; k++)
            if (j->worker[k].measured && !j->worker[k].gone) each(f, name, j, &j->worker[k], which);
    }
}

static void task_times(FILE *f, const char *name, const wr_jm_job *j, const wr_jm_worker *w, uint32_t which)
{
    (void)which;
    for (uint32_t i = 0; i < w->stats.stats.tasks; i++) {
        const wr_stats_task *t = &w->stats.stats.task[i];
        const struct {
            const char *mode;
            uint64_t    ns;
        } mode[] = {{"busy", t->busy_ns}, {"idle", t->idle_ns}, {"back_pressured", t->back_pressured_ns}};
        if (t->subtask >= j->run.exec->subtasks) continue;
        const wr_subtask *s = &j->run.exec->subtask[t->subtask];
        for (uint32_t m = 0; m < 3; m++) {
            of_job(f, name, j);
            fputs(",task=\"", f);
            value(f, j->run.exec->vertex[s->vertex].name);
            fprintf(f, "\",subtask=\"%u\",mode=\"%s\"} %.3f\n", s->index, mode[m].mode, (double)mode[m].ns * 1e-9);
        }
    }
}

static const struct {
    const char *name, *type, *help;
} of_operators[] = {
    {"weir_records_in_total", "counter", "Records that came to an operator."},
    {"weir_records_out_total", "counter", "Records that it gave."},
    {"weir_records_bad_total", "counter", "Records that it could not take."},
    {"weir_records_late_total", "counter", "Records that came behind the watermark."},
    {"weir_keys", "gauge", "Keys that it has state for."},
    {"weir_state_bytes", "gauge", "Keyed state."},
    {"weir_watermark_timestamp_seconds", "gauge", "Event time that it has come to."},
};

static void operators(FILE *f, const char *name, const wr_jm_job *j, const wr_jm_worker *w, uint32_t which)
{
    for (uint32_t i = 0; i < w->stats.stats.ops; i++) {
        const wr_stats_operator *o = &w->stats.stats.op[i];
        const uint64_t           figure[] = {o->in, o->out, o->bad, o->late, o->keys, o->state_bytes};
        if (o->node >= j->run.exec->job->nodes) continue;
        if (which == 6 && (o->watermark == WEIR_NO_TIME || o->watermark == INT64_MAX)) continue;
        of_operator(f, name, j, o->node, o->subtask);
        if (which == 6)
            fprintf(f, "%.3f\n", (double)o->watermark * 1e-9);
        else
            fprintf(f, "%" PRIu64 "\n", figure[which]);
    }
}

static void workers(FILE *f, const char *name, const wr_jm_job *j, const wr_jm_worker *w, uint32_t which)
{
    const wr_stats *s = &w->stats.stats;
    const double    figure[] = {(double)s->rss_bytes, (double)s->cpu_ns * 1e-9, (double)s->sent_bytes,
                                (double)s->received_bytes};
    of_job(f, name, j);
    fputs(",tm=\"", f);
    value(f, w->tm_name != NULL ? w->tm_name : "");
    fprintf(f, "\"} %.17g\n", figure[which]);
}

static void user_name(char to[160], const char *name)
{
    int n = snprintf(to, 160, "weir_user_%.100s", name);
    for (int i = 0; i < n; i++)
        if (!isalnum((unsigned char)to[i])) to[i] = '_';
}

static void user_metric(FILE *f, wr_jobmanager *jm, const char *as, const char *name)
{
    for (uint32_t i = 0; i < jm->jobs; i++) {
        const wr_jm_job *j = jm->job[i];
        for (uint32_t k = 0; !j->ended && j->run.exec != NULL && k < j->workers; k++) {
            const wr_jm_worker *w = &j->worker[k];
            for (uint32_t m = 0; w->measured && m < w->stats.stats.metrics; m++) {
                const wr_stats_metric *x = &w->stats.stats.metric[m];
                if (strcmp(x->name, name) != 0 || x->node >= j->run.exec->job->nodes) continue;
                of_operator(f, as, j, x->node, x->subtask);
                fprintf(f, "%.17g\n", x->value);
            }
        }
    }
}

/* One kind of name after the other: a name's lines must stand together. */
static void user_metrics(FILE *f, wr_jobmanager *jm, const char **done, uint32_t room)
{
    uint32_t dones = 0;
    char     name[160];
    for (uint32_t i = 0; i < jm->jobs; i++) {
        for (uint32_t k = 0; !jm->job[i]->ended && k < jm->job[i]->workers; k++) {
            const wr_jm_worker *w = &jm->job[i]->worker[k];
            for (uint32_t m = 0; w->measured && m < w->stats.stats.metrics; m++) {
                const wr_stats_metric *first = &w->stats.stats.metric[m];
                bool                   told = false;
                for (uint32_t d = 0; d < dones; d++) told = told || strcmp(done[d], first->name) == 0;
                if (told || dones == room) continue;
                done[dones++] = first->name;
                user_name(name, first->name);
                head(f, name, first->kind == 1 ? "counter" : "gauge", "Of the pipeline itself.");
                user_metric(f, jm, name, first->name);
            }
        }
    }
}

static char *metrics(wr_jobmanager *jm, size_t *n)
{
    static const struct {
        const char *name, *type, *help;
    } of_workers[] = {{"weir_worker_resident_memory_bytes", "gauge", "Resident memory of a worker process."},
                      {"weir_worker_cpu_seconds_total", "counter", "CPU time of a worker process."},
                      {"weir_worker_sent_bytes_total", "counter", "Bytes that it sent to other workers."},
                      {"weir_worker_received_bytes_total", "counter", "Bytes that it got from other workers."}};
    enum { NAMES = 256 };
    const char *done[NAMES];
    char       *text = NULL;
    FILE       *f = open_memstream(&text, n);
    if (f == NULL) return NULL;
    of_cluster(f, jm);
    states(f, jm);
    figures_of_jobs(f, jm);
    head(f, "weir_task_time_seconds_total", "counter", "Where the time of a task's subtask went.");
    walk(f, jm, "weir_task_time_seconds_total", task_times, 0);
    for (uint32_t i = 0; i < sizeof of_operators / sizeof *of_operators; i++) {
        head(f, of_operators[i].name, of_operators[i].type, of_operators[i].help);
        walk(f, jm, of_operators[i].name, operators, i);
    }
    for (uint32_t i = 0; i < sizeof of_workers / sizeof *of_workers; i++) {
        head(f, of_workers[i].name, of_workers[i].type, of_workers[i].help);
        walk(f, jm, of_workers[i].name, workers, i);
    }
    user_metrics(f, jm, done, NAMES);
    if (fclose(f) == 0) return text;
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
