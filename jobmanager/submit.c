/* Jobs that come, or leave a TaskManager. */
#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "jobmanager/files.h"
#include "jobmanager/inside.h"
#include "jobmanager/store.h"
#include "wire/names.h"
#include <stdlib.h>
#include <string.h>

enum { MOVE_AGAIN_MS = 300 };

/* ---- what is asked for, made definite ---- */

static const char *path_of(const char *text)
{
    if (strncmp(text, "file:", 5) != 0) return text;
    return strncmp(text, "file:///", 8) == 0 ? text + 7 : text + 5;
}

/* Whether this job has a snapshot. What cannot be read is an error: nothing older is taken in its place, since its
 * sinks may have committed past that. So is a folder without the journal that an attempt leaves there. */
static wr_err look_for_snapshot(wr_jobmanager *jm, const wr_ledger_job *l, bool *found, wr_errinfo *info)
{
    const char  *folder = l->spec.snapshots;
    char         journal[WR_PATH_BYTES_MAX];
    wr_manifest  m;
    wr_file_info about;
    wr_errinfo   why = {0};
    *found = false;
    if (folder[0] == 0) return WR_OK;
    wr_err err = wr_store_newest(jm->env, folder, NULL, &m, found, &why);
    if (err != WR_OK)
        return wr_fail(info, err, "the newest snapshot of job %016llx cannot be had, and older ones are not it: %s",
                       (unsigned long long)l->id, why.text);
    if (*found) wr_manifest_free(&m);
    if (*found || l->attempt == 0) return WR_OK;
    WR_TRY(wr_path_join(journal, folder, WR_JOURNAL_NAME, info));
    if (jm->env->stat(jm->env->self, journal, &about) == 0) return WR_OK;
    return wr_fail(info, WR_NOT_FOUND,
                   "job %016llx has run, and its folder of snapshots is empty or not there; %s; mount it, or name a "
                   "snapshot by its path",
                   (unsigned long long)l->id, folder);
}

/* The newest job of that name that has a snapshot. */
static wr_err latest(wr_jobmanager *jm, wr_job_spec *spec, wr_arena *arena, wr_errinfo *info)
{
    uint32_t             i = 0;
    bool                 found = false;
    const wr_ledger_job *l = NULL;
    while (wr_ledger_job_at(jm->ledger, i) != NULL) i++;
    while (i-- > 0 && !found) {
        l = wr_ledger_job_at(jm->ledger, i);
        if (strcmp(l->spec.name, spec->name) == 0) WR_TRY(look_for_snapshot(jm, l, &found, info));
    }
    if (!found)
        return wr_fail(info, WR_NOT_FOUND, "no job called %s has a snapshot here; name one by its path", spec->name);
    bool same = strcmp(l->spec.snapshots, spec->snapshots) == 0; /* it goes on there by itself */
    spec->restore = same ? "" : wr_arena_str(arena, l->spec.snapshots);
    return WR_OK;
}

/* One folder has one name: attempts are counted on by it. */
static const char *no_slash_behind(const char *path, wr_arena *arena)
{
    size_t n = strlen(path), all = n;
    while (n > 1 && path[n - 1] == '/') n--;
    return wr_arena_printf(arena, "%.*s", n < all ? (int)n : (int)all, path);
}

static wr_err definite(wr_jobmanager *jm, wr_job_spec *spec, uint64_t id, wr_arena *arena, wr_errinfo *info)
{
    if (spec->name == NULL || !wr_job_name_fits(spec->name))
        return wr_fail(info, WR_CONFIG, "a job has a name of 1 to %d printable bytes", WR_NAME_BYTES_MAX);
    if (strcmp(spec->snapshots, "none") == 0) {
        spec->snapshots = "";
    } else if (spec->snapshots[0] != 0) {
        spec->snapshots = no_slash_behind(path_of(spec->snapshots), arena);
        if (spec->snapshots[0] != '/')
            return wr_fail(info, WR_CONFIG,
                           "the folder of the snapshots is the same for everybody: name a whole path, not %s",
                           spec->snapshots);
    } else if (jm->snapshots[0] != 0) {
        spec->snapshots = wr_arena_printf(arena, "%s/%016llx", jm->snapshots, (unsigned long long)id);
    }
    if (strcmp(spec->restore, "latest") == 0) WR_TRY(latest(jm, spec, arena, info));
    if (strlen(spec->snapshots) >= WR_PATH_BYTES_MAX || strlen(spec->restore) >= WR_PATH_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a path has at most %d bytes", WR_PATH_BYTES_MAX - 1);
    wr_restart_config restart = {.strategy = spec->restart,
                                 .delay_ms = spec->restart_delay_ms,
                                 .delay_most_ms = spec->restart_delay_most_ms,
                                 .window_ms = spec->restart_window_ms,
                                 .attempts = spec->restart_attempts,
                                 .factor_permille = spec->restart_factor_permille};
    return wr_restart_complete(&restart, spec->snapshots[0] != 0, info);
}

static wr_err files_are_here(wr_jobmanager *jm, const wr_job_spec *spec, wr_errinfo *info)
{
    bool here = spec->module.bytes == 0 || wr_blobs_has(jm->blobs, spec->module.digest, spec->module.bytes);
    if (!here)
        return wr_fail(info, WR_NOT_FOUND, "the pipeline %s was not shipped; submit it again", spec->module.name);
    for (uint32_t i = 0; i < spec->files; i++) {
        const wr_blob_ref *f = &spec->file[i];
        if (f->bytes == 0 || wr_blobs_has(jm->blobs, f->digest, f->bytes)) continue;
        return wr_fail(info, WR_NOT_FOUND, "the file %s was not shipped; submit the job again", f->name);
    }
    return WR_OK;
}

static wr_err new_id(wr_jobmanager *jm, uint64_t *id, wr_errinfo *info)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < jm->jobs; i++) live += !jm->job[i]->ended;
    if (live >= WR_JOBS_MAX) return wr_fail(info, WR_LIMIT, "there are %u jobs already; cancel one", live);
    do *id = wr_jm_random(jm);
    while (*id == 0 || wr_ledger_find(jm->ledger, *id) != NULL);
    return WR_OK;
}

/* Of a folder of snapshots attempts are counted on, whichever job has it: files of sinks carry them, and who has the
 * greater one is the later one. The folder's journal counts them; this is for one that is lost. */
uint32_t wr_jm_attempts_before(wr_jobmanager *jm, const char *snapshots, const wr_ledger_job *before)
{
    const wr_ledger_job *other;
    uint32_t             most = 0;
    for (uint32_t i = 0; snapshots[0] != 0 && (other = wr_ledger_job_at(jm->ledger, i)) != before; i++) {
        if (other == NULL) break;
        if (other->attempt > most && strcmp(other->spec.snapshots, snapshots) == 0) most = other->attempt;
    }
    return most;
}

/* ---- submit ---- */

/* The folder's lock would only say that this process has it. */
static wr_err folder_is_free(wr_jobmanager *jm, const char *snapshots, wr_errinfo *info)
{
    const wr_ledger_job *l;
    for (uint32_t i = 0; snapshots[0] != 0 && (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++) {
        if (l->state != 0 || strcmp(l->spec.snapshots, snapshots) != 0) continue;
        return wr_fail(info, WR_BUSY,
                       "job %s (%016llx) has these snapshots and has not ended; %s; stop it first, or use another "
                       "folder",
                       l->spec.name, (unsigned long long)l->id, snapshots);
    }
    return WR_OK;
}

static wr_err accept(wr_jobmanager *jm, wr_message *m, uint64_t *id, wr_errinfo *info)
{
    wr_job_spec *spec = &m->ask.spec;
    wr_jm_run    run = {0};
    if (spec->module.name == NULL) return wr_fail(info, WR_USAGE, "a submit names a pipeline");
    WR_TRY(new_id(jm, id, info));
    WR_TRY(definite(jm, spec, *id, &m->arena, info));
    WR_TRY(files_are_here(jm, spec, info));
    WR_TRY(folder_is_free(jm, spec->snapshots, info));
    const uint32_t attempt = wr_jm_attempts_before(jm, spec->snapshots, NULL) + 1;
    /* So what does not fit is said to who asks, at once. */
    WR_TRY(wr_jm_run_prepare(jm, &run, spec, WR_JM_FIRST, attempt, info));
    wr_err     err = wr_ledger_submit(jm->ledger, *id, m->request, spec, info);
    wr_jm_job *j = err == WR_OK ? wr_jm_job_new(jm, *id, info) : NULL;
    if (j == NULL) {
        wr_jm_run_free(&run);
        return err != WR_OK ? err : WR_MEMORY;
    }
    j->run = run;
    j->prepared = true;
    wr_log(WR_LOG_INFO, "job %s (%016llx) is submitted; %u slots", j->name, (unsigned long long)*id,
           run.exec != NULL ? run.exec->slots : 0);
    return WR_OK;
}

void wr_jm_submit(wr_jobmanager *jm, uint64_t peer, wr_message *m)
{
    const wr_ledger_job *l;
    wr_errinfo           info = {0};
    uint64_t             id;
    for (uint32_t i = 0; (l = wr_ledger_job_at(jm->ledger, i)) != NULL; i++) {
        if (m->request == 0 || l->request != m->request) continue;
        wr_jm_reply(jm, peer, m->request, NULL, l->id, 0); /* the answer was lost */
        return;
    }
    if (accept(jm, m, &id, &info) != WR_OK) {
        wr_jm_reply(jm, peer, m->request, &info, 0, 0);
        return;
    }
    wr_jm_reply(jm, peer, m->request, NULL, id, 0);
    wr_jm_feed(wr_jm_job_of(jm, id),
               (wr_job_event){.kind = WR_JOB_SUBMIT}); /* the run that is prepared has its number */
}

/* ---- drain ---- */

static wr_jm_tm *tm_named(wr_jobmanager *jm, const char *text)
{
    char id[17];
    for (uint32_t i = 0; i < jm->tms; i++) {
        snprintf(id, sizeof id, "%016llx", (unsigned long long)jm->tm[i]->tm);
        if (strcmp(jm->tm[i]->name, text) == 0 || (strlen(text) >= 4 && strncmp(id, text, strlen(text)) == 0))
            return jm->tm[i];
    }
    return NULL;
}

static uint32_t slots_on_drained(const wr_jm_job *j)
{
    uint32_t n = 0;
    if (j->ended || j->core.state != WR_JOB_RUNNING || j->run.exec == NULL) return 0;
    for (uint32_t s = 0; s < j->run.exec->slots; s++) {
        const wr_pool_tm *t = wr_core_pool_tm_of(&j->jm->pool, j->place[s]);
        n += t != NULL && t->state == WR_TM_DRAINING;
    }
    return n;
}

void wr_jm_moves(wr_jobmanager *jm)
{
    wr_pool_sums sums;
    wr_core_pool_sums(&jm->pool, &sums);
    for (uint32_t i = 0; i < jm->jobs; i++) {
        wr_jm_job *j = jm->job[i];
        uint32_t   n = sums.draining > 0 ? slots_on_drained(j) : 0;
        bool       can = j->coordinator != NULL && wr_coordinator_taken(j->coordinator) && !j->quiet && j->core.went;
        j->move_ms = n > 0 ? wr_jm_now_ms(jm) + MOVE_AGAIN_MS : INT64_MAX; /* the snapshot may fail */
        bool rescales = j->spec_next != NULL && !j->short_of_slots;
        if (n == 0 || !can || j->moving || j->restart || rescales || n > sums.free_slots) continue;
        wr_jm_wait *w = wr_jm_wait_new(jm, 0, 0, j->id, WR_JM_WAIT_MOVE);
        if (w == NULL) continue;
        j->moving = true;
        sums.free_slots -= n;
        wr_coordinator_request(j->coordinator, w->ticket, WR_SNAPSHOT, NULL);
    }
}

/* What becomes of the jobs there. NULL without memory. */
static char *tell_drain(wr_jobmanager *jm, const wr_jm_tm *t, bool on, bool json, size_t *n)
{
    wr_json j;
    char   *out = NULL;
    FILE   *file = open_memstream(&out, n);
    if (file == NULL) return NULL;
    wr_json_init_file(&j, file);
    if (json) {
        wr_json_object(&j, NULL);
        wr_json_str(&j, "taskmanager", t->name);
        wr_json_printf(&j, "tm", "%016llx", (unsigned long long)t->tm);
        wr_json_bool(&j, "draining", on);
        wr_json_array(&j, "jobs");
    } else {
        fprintf(file, on ? "%s takes no new work\n" : "%s takes work again\n", t->name);
    }
    for (uint32_t i = 0; i < jm->jobs && on; i++) {
        const wr_jm_job     *job = jm->job[i];
        const wr_ledger_job *l = wr_ledger_find(jm->ledger, job->id);
        if (l == NULL || slots_on_drained(job) == 0) continue;
        bool moves = l->spec.snapshots[0] != 0;
        if (json) {
            wr_json_object(&j, NULL);
            wr_json_printf(&j, "id", "%016llx", (unsigned long long)job->id);
            wr_json_str(&j, "job", job->name);
            wr_json_bool(&j, "moves", moves);
            wr_json_end(&j);
        } else {
            fprintf(file, "%016llx %s %s\n", (unsigned long long)job->id, job->name,
                    moves ? "moves as soon as there are slots elsewhere"
                          : "takes no snapshots, and stays until it ends");
        }
    }
    if (json) {
        wr_json_end(&j);
        wr_json_end(&j);
    }
    fclose(file);
    return out;
}

void wr_jm_drain(wr_jobmanager *jm, uint64_t peer, wr_message *m, bool on)
{
    wr_jm_tm  *t = tm_named(jm, m->ask.path[0] != 0 ? m->ask.path : m->ask.job);
    wr_errinfo info = {0};
    if (t == NULL) {
        wr_fail(&info, WR_NOT_FOUND, "there is no TaskManager %s; weir taskmanagers shows those that there are",
                m->ask.path[0] != 0 ? m->ask.path : m->ask.job);
        wr_jm_reply(jm, peer, m->request, &info, 0, 0);
        return;
    }
    if (wr_ledger_drain(jm->ledger, t->tm, on, &info) != WR_OK) {
        wr_jm_reply(jm, peer, m->request, &info, 0, 0);
        return;
    }
    wr_log(WR_LOG_INFO, "TaskManager %s %s", t->name, on ? "is drained" : "takes work again");
    wr_jm_pool(jm, (wr_pool_event){.kind = WR_POOL_DRAIN, .tm = t->tm, .on = on});
    size_t n = 0;
    char  *out = tell_drain(jm, t, on, m->ask.json, &n);
    wr_jm_reply_text(jm, peer, m->request, out, n);
}
