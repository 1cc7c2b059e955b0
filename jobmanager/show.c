/* What the reading requests say, as text for people or as JSON. */
#include "base/json.h"
#include "base/text.h"
#include "jobmanager/history.h"
#include "jobmanager/inside.h"
#include <stdlib.h>
#include <string.h>

/* A text that grows. Owner: one call. */
typedef struct page {
    FILE  *file;
    char  *text;
    size_t n;
} page;

static bool open_page(page *p)
{
    memset(p, 0, sizeof *p);
    p->file = open_memstream(&p->text, &p->n);
    return p->file != NULL;
}

static char *close_page(page *p, size_t *n)
{
    if (fclose(p->file) != 0) {
        free(p->text);
        return NULL;
    }
    *n = p->n;
    return p->text;
}

/* ---- a job's figures ---- */

static const char *state_of(const wr_ledger_job *l, const wr_jm_job *j)
{
    if (l->state != 0) return wr_job_state_name((wr_job_state)l->state);
    if (j == NULL || (l->attempt == 0 && j->core.state == WR_JOB_RESTARTING && j->core.waits)) return "CREATED";
    if (l->stopping != 0 && l->stopping != WR_LEDGER_CANCEL && j->core.state == WR_JOB_RUNNING) return "STOPPING";
    return wr_job_state_name(j->core.state);
}

static uint32_t slots_of(const wr_jm_job *j)
{
    return j != NULL && j->run.exec != NULL ? j->run.exec->slots : 0;
}

static uint32_t widest(const wr_ledger_job *l, const wr_jm_job *j)
{
    uint32_t most = l->spec.parallelism;
    for (uint32_t i = 0; j != NULL && j->run.exec != NULL && i < j->run.exec->vertices; i++)
        if (j->run.exec->vertex[i].parallelism > most) most = j->run.exec->vertex[i].parallelism;
    return most;
}

/* Of all its time, also before this JobManager's. */
uint32_t wr_jm_restarts_of(wr_jobmanager *jm, const wr_ledger_job *l)
{
    uint32_t first = l->first != 0 ? l->first : wr_jm_attempts_before(jm, l->spec.snapshots, l) + 1;
    return l->attempt > first + l->planned ? l->attempt - first - l->planned : 0;
}

static int64_t up_ms(const wr_jobmanager *jm, const wr_ledger_job *l)
{
    int64_t end = l->state != 0 ? l->ended_wall_ms : wr_jm_wall_ms(jm);
    return end > l->submitted_wall_ms ? end - l->submitted_wall_ms : 0;
}

static const wr_errinfo *cause_of(const wr_ledger_job *l, const wr_jm_job *j)
{
    const wr_errinfo *cause = l->state != 0 ? &l->cause : j != NULL ? &j->core.cause : NULL;
    return cause != NULL && cause->code != WR_OK ? cause : NULL;
}

/* ---- JSON ---- */

static void json_error(wr_json *j, const char *key, const wr_errinfo *info)
{
    if (info == NULL) {
        wr_json_null(j, key);
        return;
    }
    wr_json_object(j, key);
    wr_json_printf(j, "code", "E%04d", (int)info->code);
    wr_json_str(j, "text", wr_errinfo_text(info));
    wr_json_end(j);
}

static void json_workers(wr_json *j, wr_jobmanager *jm, const wr_jm_job *job)
{
    wr_json_array(j, "workers");
    for (uint32_t i = 0; job != NULL && i < job->workers; i++) {
        const wr_jm_worker *w = &job->worker[i];
        const wr_jm_tm     *t = wr_jm_tm_of(jm, w->tm);
        if (w->gone) continue;
        wr_json_object(j, NULL);
        wr_json_printf(j, "tm", "%016llx", (unsigned long long)w->tm);
        wr_json_str(j, "name", t != NULL ? t->name : w->tm_name);
        wr_json_array(j, "slots");
        for (uint32_t s = 0; s < slots_of(job); s++)
            if (job->place[s] == w->tm) wr_json_u64(j, NULL, s);
        wr_json_end(j); /* slots */
        if (w->measured) {
            wr_json_u64(j, "rss_bytes", w->stats.stats.rss_bytes);
            wr_json_u64(j, "state_bytes", w->stats.stats.state_bytes);
            wr_json_u64(j, "sent_bytes", w->stats.stats.sent_bytes);
            wr_json_u64(j, "received_bytes", w->stats.stats.received_bytes);
        }
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void json_failures(wr_json *j, const wr_ledger_job *l)
{
    wr_json_array(j, "exceptions");
    for (uint32_t i = l->failures; i-- > 0;) {
        const wr_ledger_failure *f = &l->failure[i];
        wr_json_object(j, NULL);
        wr_json_i64(j, "wall_ms", f->wall_ms);
        wr_json_u64(j, "attempt", f->attempt);
        if (f->subtask == UINT32_MAX)
            wr_json_null(j, "subtask");
        else
            wr_json_u64(j, "subtask", f->subtask);
        wr_json_printf(j, "code", "E%04d", (int)f->info.code);
        wr_json_str(j, "text", wr_errinfo_text(&f->info));
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void json_tasks(wr_json *j, const wr_jm_job *job)
{
    wr_json_array(j, "tasks");
    for (uint32_t v = 0; job != NULL && job->run.exec != NULL && v < job->run.exec->vertices; v++) {
        const wr_vertex *t = &job->run.exec->vertex[v];
        uint32_t         in[WR_EXEC_STATES] = {0};
        wr_json_object(j, NULL);
        wr_json_str(j, "name", t->name);
        wr_json_u64(j, "parallelism", t->parallelism);
        wr_json_object(j, "subtasks");
        for (uint32_t i = 0; i < t->parallelism && t->first_subtask + i < job->core.subtasks; i++)
            in[job->execution[t->first_subtask + i].state]++;
        for (uint32_t s = 1; s < WR_EXEC_STATES; s++)
            if (in[s] > 0) wr_json_u64(j, wr_exec_state_name((wr_exec_state)s), in[s]);
        wr_json_end(j);
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void json_snapshots(wr_json *j, const wr_coordinator *c)
{
    const wr_core_checkpoint *m = wr_coordinator_machine(c);
    wr_json_object(j, "snapshots");
    wr_json_str(j, "folder", wr_coordinator_origin(c)->folder);
    wr_json_u64(j, "newest", m->newest);
    wr_json_u64(j, "completed", m->completions);
    wr_json_u64(j, "failed", m->failures_all);
    wr_json_end(j);
}

static void json_job(wr_json *j, wr_jobmanager *jm, const wr_ledger_job *l, bool whole)
{
    const wr_jm_job *job = wr_jm_job_of(jm, l->id);
    wr_json_object(j, NULL);
    wr_json_str(j, "job", l->spec.name);
    wr_json_printf(j, "id", "%016llx", (unsigned long long)l->id);
    wr_json_str(j, "state", state_of(l, job));
    wr_json_f64(j, "seconds", (double)up_ms(jm, l) * 1e-3);
    wr_json_u64(j, "attempt", l->attempt);
    wr_json_u64(j, "restarts", wr_jm_restarts_of(jm, l));
    wr_json_u64(j, "planned_restarts", l->planned);
    wr_json_u64(j, "parallelism", widest(l, job));
    wr_json_u64(j, "slots", slots_of(job));
    wr_json_i64(j, "submitted_ms", l->submitted_wall_ms);
    if (l->state != 0)
        wr_json_i64(j, "ended_ms", l->ended_wall_ms);
    else
        wr_json_null(j, "ended_ms");
    json_error(j, "cause", cause_of(l, job));
    json_workers(j, jm, job);
    const wr_coordinator *c = job != NULL ? job->coordinator : NULL;
    if (c == NULL || !wr_coordinator_taken(c) || whole)
        wr_history_json(j, "snapshots", c != NULL && wr_coordinator_taken(c) ? c : NULL);
    else
        json_snapshots(j, c); /* of each job all of it would be too much */
    json_failures(j, l);
    if (whole) {
        json_tasks(j, job);
        wr_json_str(j, "pipeline", l->spec.module.name);
        wr_json_str(j, "snapshot_folder", l->spec.snapshots[0] != 0 ? l->spec.snapshots : NULL);
        char *report = wr_jm_crash_of(jm, l->id);
        wr_json_str(j, "report", report);
        free(report);
    }
    wr_json_end(j);
}

/* ---- text ---- */

static void text_job(FILE *file, wr_jobmanager *jm, const wr_ledger_job *l)
{
    const wr_jm_job *j = wr_jm_job_of(jm, l->id);
    char             up[WR_TEXT_NUMBER_MAX + 1];
    wr_text_of_duration(up, up_ms(jm, l) / 1000 * 1000000000);
    fprintf(file, "%016llx  %-24s %-12s %6u %8u %10s\n", (unsigned long long)l->id, l->spec.name, state_of(l, j),
            slots_of(j), wr_jm_restarts_of(jm, l), up);
}

char *wr_jm_show_list(wr_jobmanager *jm, uint64_t nobody, bool json, size_t *n)
{
    page                 p;
    const wr_ledger_job *l;
    uint32_t             jobs = 0;
    (void)nobody;
    if (!open_page(&p)) return NULL;
    if (json) {
        wr_json j;
        wr_json_init_file(&j, p.file);
        wr_json_array(&j, NULL);
        for (uint32_t i = 0; (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++) json_job(&j, jm, l, false);
        wr_json_end(&j);
        return close_page(&p, n);
    }
    for (uint32_t i = 0; (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++, jobs++) {
        if (jobs == 0)
            fprintf(p.file, "%-16s  %-24s %-12s %6s %8s %10s\n", "id", "job", "state", "slots", "restarts", "time");
        text_job(p.file, jm, l);
    }
    if (jobs == 0) fputs("no jobs\n", p.file);
    return close_page(&p, n);
}

static void text_failures(FILE *file, const wr_ledger_job *l)
{
    for (uint32_t i = l->failures; i-- > 0;) {
        const wr_ledger_failure *f = &l->failure[i];
        char                     at[WR_TEXT_NUMBER_MAX + 1];
        wr_text_of_time(at, f->wall_ms * 1000000);
        fprintf(file, "  %s  attempt %u: error[E%04d %s]: %s\n", at, f->attempt, (int)f->info.code,
                wr_err_name(f->info.code), wr_errinfo_text(&f->info));
    }
}

static void text_tasks(FILE *file, wr_jobmanager *jm, const wr_jm_job *j)
{
    for (uint32_t v = 0; j->run.exec != NULL && v < j->run.exec->vertices; v++) {
        const wr_vertex *t = &j->run.exec->vertex[v];
        uint32_t         in[WR_EXEC_STATES] = {0};
        fprintf(file, "  %-40s %4u ", t->name, t->parallelism);
        for (uint32_t i = 0; i < t->parallelism && t->first_subtask + i < j->core.subtasks; i++)
            in[j->execution[t->first_subtask + i].state]++;
        for (uint32_t s = 1; s < WR_EXEC_STATES; s++)
            if (in[s] > 0) fprintf(file, " %u %s", in[s], wr_exec_state_name((wr_exec_state)s));
        fputs("\n", file);
    }
    for (uint32_t i = 0; i < j->workers && !j->ended; i++) {
        const wr_jm_worker *w = &j->worker[i];
        const wr_jm_tm     *t = wr_jm_tm_of(jm, w->tm);
        uint32_t            slots = 0;
        if (w->gone) continue;
        for (uint32_t s = 0; s < slots_of(j); s++) slots += j->place[s] == w->tm;
        fprintf(file, "  worker on %s, %u slots", t != NULL ? t->name : "a TaskManager that is not here", slots);
        if (w->measured) {
            char rss[WR_TEXT_NUMBER_MAX + 1];
            wr_text_of_size(rss, w->stats.stats.rss_bytes);
            fprintf(file, ", %s resident", rss);
        }
        fputs("\n", file);
    }
}

static void text_whole(FILE *file, wr_jobmanager *jm, const wr_ledger_job *l)
{
    const wr_jm_job  *j = wr_jm_job_of(jm, l->id);
    const wr_errinfo *cause = cause_of(l, j);
    char              at[WR_TEXT_NUMBER_MAX + 1];
    wr_text_of_time(at, l->submitted_wall_ms * 1000000);
    fprintf(file, "job        %s\nid         %016llx\nstate      %s\nsubmitted  %s\nattempt    %u\nslots      %u\n",
            l->spec.name, (unsigned long long)l->id, state_of(l, j), at, l->attempt, slots_of(j));
    fprintf(file, "restarts   %u after failures, %u planned\n", wr_jm_restarts_of(jm, l), l->planned);
    fprintf(file, "pipeline   %s\n", l->spec.module.name);
    if (l->spec.snapshots[0] != 0) fprintf(file, "snapshots  %s\n", l->spec.snapshots);
    if (j != NULL && j->coordinator != NULL && wr_coordinator_taken(j->coordinator)) {
        const wr_core_checkpoint *m = wr_coordinator_machine(j->coordinator);
        fprintf(file, "           %llu completed, %llu failed, newest %llu\n", (unsigned long long)m->completions,
                (unsigned long long)m->failures_all, (unsigned long long)m->newest);
    }
    if (cause != NULL)
        fprintf(file, "cause      error[E%04d %s]: %s\n", (int)cause->code, wr_err_name(cause->code),
                wr_errinfo_text(cause));
    if (j != NULL) {
        fputs("tasks\n", file);
        text_tasks(file, jm, j);
    }
    if (l->failures > 0) {
        fputs("failures, newest first\n", file);
        text_failures(file, l);
    }
    char *report = wr_jm_crash_of(jm, l->id);
    if (report != NULL) fprintf(file, "the newest crash\n%s", report);
    free(report);
}

char *wr_jm_show_job(wr_jobmanager *jm, uint64_t id, bool json, size_t *n)
{
    page                 p;
    const wr_ledger_job *l = wr_ledger_find(jm->ledger, id);
    if (l == NULL || !open_page(&p)) return NULL;
    if (json) {
        wr_json j;
        wr_json_init_file(&j, p.file);
        json_job(&j, jm, l, true);
    } else {
        text_whole(p.file, jm, l);
    }
    return close_page(&p, n);
}

/* Of a job that ended before our time: what its folder has. */
static void folder_of(FILE *file, wr_jobmanager *jm, const wr_ledger_job *l, bool json)
{
    wr_store_entry *list = NULL;
    uint32_t        n = 0;
    wr_errinfo      info = {0};
    wr_json         j;
    wr_err          err = wr_store_list(jm->env, l->spec.snapshots, &list, &n, &info);
    if (json) {
        wr_json_init_file(&j, file);
        wr_json_object(&j, NULL);
        wr_json_str(&j, "folder", l->spec.snapshots); /* the members of a job that runs, as far as they are known */
        wr_json_null(&j, "restored");
        wr_json_u64(&j, "newest", n > 0 ? list[0].id : 0);
        wr_json_null(&j, "completed");
        wr_json_null(&j, "failed");
        wr_json_null(&j, "failed_in_a_row");
        wr_json_array(&j, "history");
        wr_json_end(&j);
        wr_json_array(&j, "kept");
        for (uint32_t i = 0; i < n; i++) wr_json_u64(&j, NULL, list[i].id);
        wr_json_end(&j);
        wr_json_end(&j);
    } else if (err != WR_OK) {
        fprintf(file, "%s\n", info.text);
    } else {
        fprintf(file, "%u kept, in %s\n", n, l->spec.snapshots);
        for (uint32_t i = 0; i < n; i++) fprintf(file, "%6llu %s\n", (unsigned long long)list[i].id, list[i].name);
    }
    free(list);
}

char *wr_jm_show_snapshots(wr_jobmanager *jm, uint64_t id, bool json, size_t *n)
{
    page                  p;
    const wr_jm_job      *j = wr_jm_job_of(jm, id);
    const wr_coordinator *c = j != NULL ? j->coordinator : NULL;
    const wr_ledger_job  *l = wr_ledger_find(jm->ledger, id);
    if (l == NULL || !open_page(&p)) return NULL;
    if (c != NULL && wr_coordinator_taken(c))
        wr_history_snapshots(p.file, c, json);
    else if (l->spec.snapshots[0] != 0)
        folder_of(p.file, jm, l, json);
    else
        fputs(json ? "null\n" : "the job takes no snapshots\n", p.file);
    return close_page(&p, n);
}

/* ---- TaskManagers ---- */

static void json_tm(wr_json *j, wr_jobmanager *jm, const wr_jm_tm *t)
{
    const wr_pool_tm *in_pool = wr_core_pool_tm_of(&jm->pool, t->tm);
    uint32_t          used = in_pool != NULL ? in_pool->used : 0;
    wr_json_object(j, NULL);
    wr_json_printf(j, "tm", "%016llx", (unsigned long long)t->tm);
    wr_json_str(j, "name", t->name);
    wr_json_u64(j, "pid", t->pid);
    wr_json_u64(j, "slots", t->slots);
    wr_json_u64(j, "free", used < t->slots ? t->slots - used : 0);
    wr_json_bool(j, "draining", in_pool != NULL && in_pool->state == WR_TM_DRAINING);
    wr_json_str(j, "data", t->data);
    wr_json_str(j, "http", t->http);
    wr_json_i64(j, "heard_ms_ago", wr_jm_now_ms(jm) - t->heard_ms);
    wr_json_array(j, "workers");
    for (uint32_t i = 0; i < jm->jobs; i++) {
        const wr_jm_worker *w = wr_jm_worker_of(jm->job[i], t->tm);
        if (w == NULL || w->gone) continue;
        wr_json_object(j, NULL);
        wr_json_printf(j, "job", "%016llx", (unsigned long long)jm->job[i]->id);
        wr_json_u64(j, "attempt", jm->job[i]->attempt);
        wr_json_end(j);
    }
    wr_json_end(j);
    wr_json_end(j);
}

char *wr_jm_show_taskmanagers(wr_jobmanager *jm, uint64_t nobody, bool json, size_t *n)
{
    page p;
    (void)nobody;
    if (!open_page(&p)) return NULL;
    if (json) {
        wr_json j;
        wr_json_init_file(&j, p.file);
        wr_json_array(&j, NULL);
        for (uint32_t i = 0; i < jm->tms; i++) json_tm(&j, jm, jm->tm[i]);
        wr_json_end(&j);
        return close_page(&p, n);
    }
    if (jm->tms == 0) fputs("no TaskManagers\n", p.file);
    for (uint32_t i = 0; i < jm->tms; i++) {
        const wr_jm_tm   *t = jm->tm[i];
        const wr_pool_tm *in_pool = wr_core_pool_tm_of(&jm->pool, t->tm);
        uint32_t          used = in_pool != NULL ? in_pool->used : 0;
        if (i == 0)
            fprintf(p.file, "%-16s  %-28s %5s %5s  %-22s %-22s\n", "id", "name", "slots", "free", "data", "http");
        fprintf(p.file, "%016llx  %-28s %5u %5u  %-22s %-22s%s\n", (unsigned long long)t->tm, t->name, t->slots,
                used < t->slots ? t->slots - used : 0, t->data, t->http,
                in_pool != NULL && in_pool->state == WR_TM_DRAINING ? " draining" : "");
    }
    return close_page(&p, n);
}
