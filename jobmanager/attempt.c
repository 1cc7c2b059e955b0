/* What an attempt of a job is made of: the graph as it will be found by the workers, the snapshot that it begins with,
 * its places, its coordinator. */
#include "base/check.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "jobmanager/files.h"
#include "jobmanager/inside.h"
#include "jobmanager/restore.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void wr_jm_run_free(wr_jm_run *run)
{
    wr_exec_free(run->exec);
    if (run->open) wr_origin_close(&run->origin);
    wr_remote_free(run->remote);
    free(run->graph);
    memset(run, 0, sizeof *run);
}

/* The folder itself is the journal's to make; here those above it. */
static void make_parents(const wr_env *env, const char *folder)
{
    char       path[WR_PATH_BYTES_MAX], parent[WR_PATH_BYTES_MAX];
    wr_errinfo silent = {0};
    snprintf(path, sizeof path, "%s", folder);
    for (char *at = path + 1; *at != 0; at++) {
        if (*at != '/') continue;
        *at = 0;
        bool made = env->mkdir(env->self, path) == 0; /* what fails here fails there, and is told there */
        if (made && wr_path_folder(parent, path, &silent) == WR_OK) wr_folder_sync(env, parent, &silent);
        *at = '/';
    }
}

/* Its submit has made a journal there. Without one, and without snapshots, it is another folder: one whose file system
 * is not mounted, say. To begin anew there would be silent, and wrong. */
static wr_err still_there(const wr_env *env, const char *folder, wr_errinfo *info)
{
    char            path[WR_PATH_BYTES_MAX];
    wr_file_info    about;
    wr_store_entry *list = NULL;
    uint32_t        n = 0;
    WR_TRY(wr_path_join(path, folder, WR_JOURNAL_NAME, info));
    if (env->stat(env->self, path, &about) != -ENOENT) return WR_OK;
    WR_TRY(wr_store_list(env, folder, &list, &n, info));
    free(list);
    if (n > 0) return WR_OK;
    return wr_fail(info, WR_IO,
                   "the folder of the job's snapshots is not there, or not what it was; %s; is it mounted?", folder);
}

/* run->attempt: the least number, and then the one that it has. */
static wr_err open_origin(wr_jobmanager *jm, wr_jm_run *run, const wr_job_spec *spec, enum wr_jm_begins how,
                          wr_errinfo *info)
{
    const char      *restore = spec->restore[0] != 0 ? spec->restore : NULL;
    bool             taken = spec->snapshots[0] != 0, first = how == WR_JM_FIRST;
    wr_origin_config config = {.env = jm->env,
                               .job = spec->name,
                               .folder = taken ? spec->snapshots : NULL,
                               .next = how != WR_JM_ADOPTED,
                               .runs = how == WR_JM_ADOPTED,
                               .attempt = run->attempt};
    if (taken && first) make_parents(jm->env, spec->snapshots);
    if (taken && !first && !wr_sabotage.missing_is_new) WR_TRY(still_there(jm->env, spec->snapshots, info));
    config.restore = first || !taken ? restore : NULL;
    WR_TRY(wr_origin_open(&run->origin, &config, info));
    run->open = true;
    if (run->origin.journal != NULL) run->attempt = wr_journal_attempt(run->origin.journal);
    if (first || run->origin.restores || run->origin.finished || restore == NULL || !taken) return WR_OK;
    wr_origin_close(&run->origin); /* none of its own yet: from what it was submitted with */
    run->open = false;
    config.restore = restore;
    config.next = false;
    config.attempt = run->attempt;
    WR_TRY(wr_origin_open(&run->origin, &config, info));
    run->open = true;
    return WR_OK;
}

static wr_err find_manifest(wr_jobmanager *jm, wr_jm_run *run, const wr_job_spec *spec, wr_errinfo *info)
{
    const wr_origin *o = &run->origin;
    char             name[WR_FILE_NAME_BYTES];
    wr_file_info     about;
    wr_name_manifest(name, o->manifest.epoch, o->manifest.id);
    WR_TRY(wr_path_join(run->manifest, o->files, o->manifest.kind == WR_SAVEPOINT ? WR_SAVEPOINT_NAME : name, info));
    int result = jm->env->stat(jm->env->self, run->manifest, &about);
    if (result == 0) return WR_OK;
    if (result != -ENOENT || o->base != 0 || spec->restore[0] == 0) /* never another one, and never none */
        return wr_fail_errno(info, -result, "cannot find the snapshot %s", run->manifest);
    snprintf(run->manifest, sizeof run->manifest, "%s", spec->restore); /* a manifest under another name */
    return WR_OK;
}

wr_err wr_jm_run_prepare(wr_jobmanager *jm, wr_jm_run *run, const wr_job_spec *spec, enum wr_jm_begins how,
                         uint32_t attempt, wr_errinfo *info)
{
    wr_err err = WR_OK;
    memset(run, 0, sizeof *run);
    run->attempt = attempt;
    WR_GOTO(wr_remote_decode(&run->remote, spec->graph, spec->graph_bytes, info));
    WR_GOTO(open_origin(jm, run, spec, how, info));
    if (run->origin.finished) return WR_OK;
    if (run->origin.restores) {
        WR_GOTO(wr_remote_restored(run->remote, &run->origin.manifest, info));
        WR_GOTO(wr_origin_match(&run->origin, wr_remote_job(run->remote), spec->allow_non_restored, info));
        WR_GOTO(find_manifest(jm, run, spec, info));
    }
    WR_GOTO(wr_remote_encode(wr_remote_job(run->remote), &run->graph, &run->graph_bytes, info));
    WR_GOTO(wr_exec_new(wr_remote_job(run->remote), &run->exec, info));
    if (run->exec->slots > WR_SLOTS_MAX)
        err = wr_fail(info, WR_LIMIT, "the job needs %u slots; a job has at most %d", run->exec->slots, WR_SLOTS_MAX);
out:
    if (err != WR_OK && how == WR_JM_FIRST) wr_origin_withdraw(&run->origin);
    if (err != WR_OK) wr_jm_run_free(run);
    return err;
}

/* ---- places ---- */

void wr_jm_forget_workers(wr_jm_job *j)
{
    for (uint32_t i = 0; i < j->workers; i++) {
        wr_jm_worker *w = &j->worker[i];
        if (w->measured) wr_message_free(&w->stats);
        if (w->compared) wr_message_free(&w->last);
        free(w->tm_name);
    }
    free(j->worker);
    j->worker = NULL;
    j->workers = 0;
}

void wr_jm_was_on(wr_jm_job *j, const wr_jm_tm *t)
{
    for (uint32_t i = 0; i < j->was_ons; i++)
        if (strcmp(j->was_on[i], t->name) == 0) return;
    if (j->was_ons == WR_LOG_HOLDERS_MAX) { /* the oldest is forgotten */
        free(j->was_on[0]);
        memmove(j->was_on, j->was_on + 1, --j->was_ons * sizeof *j->was_on);
    }
    char  *name = strdup(t->name);
    char **more = name != NULL ? realloc(j->was_on, (j->was_ons + 1) * sizeof *more) : NULL;
    if (more == NULL) {
        free(name);
        return;
    }
    j->was_on = more;
    j->was_on[j->was_ons++] = name;
}

void wr_jm_places(wr_jm_job *j, const uint64_t *place, uint32_t places)
{
    check(places <= WR_SLOTS_MAX);
    wr_jm_forget_workers(j);
    memset(j->place, 0, sizeof j->place);
    j->worker = calloc(places, sizeof *j->worker);
    check(j->worker != NULL); /* small, and nothing else is left to do without it */
    for (uint32_t s = 0; s < places; s++) {
        j->place[s] = place[s];
        if (place[s] == 0 || wr_jm_worker_of(j, place[s]) != NULL) continue;
        const wr_jm_tm *t = wr_jm_tm_of(j->jm, place[s]);
        j->worker[j->workers++] = (wr_jm_worker){.tm = place[s], .tm_name = t != NULL ? strdup(t->name) : NULL};
        if (t != NULL) wr_jm_was_on(j, t);
    }
    for (uint32_t i = 0; i < j->run.exec->subtasks; i++) j->run.exec->subtask[i].attempt = j->attempt;
}

/* ---- the coordinator ---- */

static void ordered(void *self, const wr_worker_order *order)
{
    wr_jm_order(self, order);
}

static void answered(void *self, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    wr_jm_answered(self, ticket, id, why);
}

static void snapshot_failed(void *self, const wr_snapshot_record *r)
{
    wr_jm_job *j = self;
    if (r->why.code == WR_CANCELED) return; /* the attempt ends: that is told elsewhere */
    wr_log(WR_LOG_WARN, "job %s: snapshot %llu failed: %s; phase %s; the job goes on, and tries again", j->name,
           (unsigned long long)r->id, r->why.text, wr_snapshot_phase_name(r->phase));
}

static void snapshot_completed(void *self, const wr_snapshot_record *r)
{
    wr_jm_snapshots *s = &((wr_jm_job *)self)->snapshots;
    s->id = r->id;
    s->bytes = r->bytes;
    s->took_s = (double)(r->ended_ms - r->begun_ms) * 1e-3;
    s->at_s = (double)r->wall_ms * 1e-3 + s->took_s;
}

static void wake(void *self)
{
    wr_jm_job *j = self;
    wr_parker_wake(j->jm->env, j->jm->config.parker);
}

void wr_jm_drop_coordinator(wr_jm_job *j)
{
    if (j->coordinator != NULL) {
        const wr_core_checkpoint *m = wr_coordinator_machine(j->coordinator);
        j->snapshots.completed += m->completions;
        j->snapshots.failed += m->failures_all;
    }
    wr_coordinator_free(j->coordinator);
    j->coordinator = NULL;
}

enum { INTERVAL_MS = 10000, TIMEOUT_MS = 600000, KEEP = 3 };

wr_err wr_jm_new_coordinator(wr_jm_job *j, const wr_job_spec *spec, wr_errinfo *info)
{
    const wr_coordinator_options options = {
        .env = j->jm->env,
        .lasting = j->jm->config.env,
        .origin = &j->run.origin,
        .interval_ms = spec->snapshot_interval_ms > 0 ? spec->snapshot_interval_ms : INTERVAL_MS,
        .timeout_ms = spec->snapshot_timeout_ms > 0 ? spec->snapshot_timeout_ms : TIMEOUT_MS,
        .keep = spec->snapshots_keep > 0 ? spec->snapshots_keep : KEEP,
        .order = ordered,
        .answer = answered,
        .failed = snapshot_failed,
        .completed = snapshot_completed,
        .wake = wake,
        .self = j,
        .alone = !j->jm->config.threads,
        .adopts = j->adopted,
    };
    wr_jm_drop_coordinator(j);
    j->quiet = false;
    return wr_coordinator_new(&j->coordinator, j->run.exec, &options, info);
}

/* ---- to the workers ---- */

void wr_jm_deploy(wr_jm_job *j)
{
    wr_jobmanager       *jm = j->jm;
    const wr_ledger_job *l = wr_ledger_find(jm->ledger, j->id);
    wr_place             place[WR_SLOTS_MAX];
    const wr_origin     *o = &j->run.origin;
    const char *lineage = o->journal != NULL ? wr_journal_lineage(o->journal) : o->restores ? o->manifest.lineage : "";
    for (uint32_t s = 0; s < j->run.exec->slots; s++) {
        const wr_jm_tm *t = wr_jm_tm_of(jm, j->place[s]);
        place[s] = (wr_place){.tm = j->place[s], .data = t != NULL ? t->data : ""};
    }
    for (uint32_t i = 0; i < j->workers; i++) {
        const wr_jm_tm *t = wr_jm_tm_of(jm, j->worker[i].tm);
        if (t == NULL) continue; /* lost just now: told to the machine by who lost it */
        wr_message m = {.kind = WR_MSG_DEPLOY, .job = j->id, .attempt = j->attempt};
        m.deploy = (wr_deploy){.spec = l->spec,
                               .place = place,
                               .places = j->run.exec->slots,
                               .self = t->tm,
                               .lineage = lineage,
                               .restore_manifest = o->restores ? j->run.manifest : "",
                               .restore_folder = o->restores ? o->files : ""};
        m.deploy.spec.graph = j->run.graph;
        m.deploy.spec.graph_bytes = (uint32_t)j->run.graph_bytes;
        memcpy(m.deploy.secret, j->secret, sizeof j->secret);
        wr_errinfo info = {0};
        if (wr_jm_try_send(jm, t->peer, &m, &info) == WR_OK) continue;
        j->worker[i].unsent = j->undeployed = true; /* and it would be waited for */
        j->unsent = (wr_errinfo){0};
        wr_fail(&j->unsent, info.code, "attempt %u cannot be sent to TaskManager %s: %.800s", j->attempt, t->name,
                info.text);
    }
    wr_log(WR_LOG_INFO, "job %s (%016llx): attempt %u on %u TaskManagers%s%s", j->name, (unsigned long long)j->id,
           j->attempt, j->workers, o->restores ? ", from " : "", o->restores ? j->run.manifest : "");
}
