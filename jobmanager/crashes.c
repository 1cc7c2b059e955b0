/* The newest crash report of each job that the ledger knows, in a file: CRASHES/JOB. What the ledger says of a failure
 * is one sentence; the report has the backtrace, and who looks for it may come days later, to another JobManager. It is
 * for people: what cannot be kept is logged, and nothing else comes of it. */
#include "base/log.h"
#include "jobmanager/files.h"
#include "jobmanager/inside.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 17 };

static wr_err folder_of(const wr_jobmanager *jm, char to[WR_PATH_BYTES_MAX], wr_errinfo *info)
{
    return wr_path_join(to, jm->folder, "crashes", info);
}

void wr_jm_crash_keep(wr_jobmanager *jm, uint64_t job, const char *report)
{
    char       folder[WR_PATH_BYTES_MAX], name[NAME_BYTES];
    wr_errinfo info = {0};
    bool       published;
    wr_publish what = {.folder = folder,
                       .name = name,
                       .written = "crash-written",
                       .synced = "crash-synced",
                       .renamed = "crash-renamed"};
    snprintf(name, sizeof name, "%016" PRIx64, job);
    wr_err err = folder_of(jm, folder, &info);
    if (err == WR_OK) err = wr_folder_make(jm->env, folder, &info);
    if (err == WR_OK) err = wr_file_publish(jm->env, &what, report, strlen(report), &published, &info);
    if (err != WR_OK) wr_log(WR_LOG_WARN, "a crash report of job %s is not kept: %s", name, info.text);
}

char *wr_jm_crash_of(wr_jobmanager *jm, uint64_t job)
{
    const wr_jm_job *j = wr_jm_job_of(jm, job);
    char             folder[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX], name[NAME_BYTES], *bytes = NULL;
    size_t           n = 0;
    if (j != NULL && j->report != NULL) return strdup(j->report);
    snprintf(name, sizeof name, "%016" PRIx64, job);
    if (folder_of(jm, folder, NULL) != WR_OK || wr_path_join(path, folder, name, NULL) != WR_OK) return NULL;
    if (wr_file_read(jm->env, path, WR_REPORT_BYTES_MAX, &bytes, &n, NULL) != WR_OK) return NULL;
    char *text = strndup(bytes, n);
    free(bytes);
    return text;
}

/* ---- what nobody can ask for any more ---- */

typedef struct sweeping {
    wr_jobmanager *jm;
    char           found[NAME_BYTES + 4]; /* one that goes; "": none does */
} sweeping;

static bool is_known(void *arg, const char *name)
{
    sweeping *s = arg;
    char     *end;
    uint64_t  job = strtoull(name, &end, 16);
    if (strlen(name) >= sizeof s->found ||
        (end == name + NAME_BYTES - 1 && *end == 0 && wr_ledger_find(s->jm->ledger, job)))
        return true;
    snprintf(s->found, sizeof s->found, "%s", name);
    return false;
}

void wr_jm_crashes_sweep(wr_jobmanager *jm)
{
    char folder[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX];
    if (folder_of(jm, folder, NULL) != WR_OK) return;
    for (;;) { /* one per listing: a folder is not changed while it is read */
        sweeping s = {.jm = jm};
        jm->env->list(jm->env->self, folder, is_known, &s);
        if (s.found[0] == 0 || wr_path_join(path, folder, s.found, NULL) != WR_OK) return;
        if (jm->env->unlink(jm->env->self, path) < 0) return;
    }
}
