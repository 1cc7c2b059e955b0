#include "jobmanager/origin.h"
#include "jobmanager/files.h"
#include "jobmanager/restore.h"
#include "jobmanager/savepoint.h"
#include "snapshot/image.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "file:PATH", "file:///PATH" or a path. */
static const char *path_of(const char *text)
{
    if (strncmp(text, "file:", 5) != 0) return text;
    return strncmp(text, "file:///", 8) == 0 ? text + 7 : text + 5;
}

static wr_err folder_of(char to[WR_PATH_BYTES_MAX], const char *text, wr_errinfo *info)
{
    const char *path = path_of(text);
    if (path == text && strstr(path, "://") != NULL)
        return wr_fail(info, WR_URI, "snapshots go into a folder, not to %s; name a path or file:PATH", text);
    if (path[0] == 0) return wr_fail(info, WR_USAGE, "the folder of the snapshots has no name; --snapshots DIR");
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    if (n >= WR_PATH_BYTES_MAX - WR_FILE_NAME_BYTES - 1)
        return wr_fail(info, WR_LIMIT, "the path of the snapshot folder is too long: %zu bytes", n);
    memcpy(to, path, n);
    to[n] = 0;
    return WR_OK;
}

/* ---- all files of a manifest, several at once: reading them is what a restart
 * waits for ---- */

/* Shared by the checking threads. */
typedef struct checking {
    const wr_env             *env;
    const char               *folder;
    const wr_manifest_layer **layer;
    uint32_t                  layers;
    _Atomic uint32_t          next;
    _Atomic bool              failed;
    wr_errinfo                info; /* of whoever set `failed` first */
} checking;

static void check_some(void *arg)
{
    checking *c = arg;
    for (;;) {
        uint32_t at = atomic_fetch_add(&c->next, 1);
        if (at >= c->layers || atomic_load(&c->failed)) return;
        wr_errinfo info = {0};
        if (wr_image_check(c->env, c->folder, &c->layer[at]->file, &info) == WR_OK) continue;
        if (!atomic_exchange(&c->failed, true)) c->info = info;
    }
}

static bool listed(const checking *c, const wr_manifest_layer *layer)
{
    for (uint32_t i = 0; i < c->layers; i++)
        if (strcmp(c->layer[i]->file.name, layer->file.name) == 0) return true;
    return false;
}

static uint64_t bytes_of(const wr_manifest *m)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < m->ops; i++) {
        for (uint32_t k = 0; k < m->op[i].layers; k++) bytes += m->op[i].layer[k].file.bytes;
    }
    return bytes;
}

static wr_err check_files(const wr_env *env, const char *folder, const wr_manifest *m, wr_errinfo *info)
{
    enum { THREADS = 8 };
    checking   c = {.env = env, .folder = folder};
    wr_thread *thread[THREADS] = {NULL};
    uint32_t   all = 0;
    for (uint32_t i = 0; i < m->ops; i++) all += m->op[i].layers;
    if (all == 0) return WR_OK;
    c.layer = calloc(all, sizeof *c.layer);
    if (c.layer == NULL)
        return wr_fail(info, WR_MEMORY, "no memory to check %u files of snapshot %llu", all, (unsigned long long)m->id);
    for (uint32_t i = 0; i < m->ops; i++) {
        for (uint32_t k = 0; k < m->op[i].layers; k++)
            if (!listed(&c, &m->op[i].layer[k])) c.layer[c.layers++] = &m->op[i].layer[k];
    }
    uint32_t helpers = (uint32_t)env->cpu_count(env->self) - 1;
    if (helpers > THREADS) helpers = THREADS;
    if (helpers > c.layers - 1) helpers = c.layers - 1;
    for (uint32_t i = 0; i < helpers; i++) {
        if (env->thread_start(env->self, &thread[i], check_some, &c, "weir-check", -1) < 0) thread[i] = NULL;
    }
    check_some(&c);
    for (uint32_t i = 0; i < helpers; i++)
        if (thread[i] != NULL) env->thread_join(env->self, thread[i]);
    free(c.layer);
    if (!atomic_load(&c.failed)) return WR_OK;
    return wr_fail(info, c.info.code, "%s", c.info.text);
}

/* ---- open ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const wr_completed_snapshot *)a)->id, y = ((const wr_completed_snapshot *)b)->id;
    return x < y ? -1 : x > y;
}

static wr_err list_known(wr_origin *o, wr_errinfo *info)
{
    wr_store_entry *list = NULL;
    uint32_t        n = 0;
    WR_TRY(wr_store_list(o->env, o->folder, &list, &n, info));
    for (uint32_t i = 0; i < n && o->knowns < WR_SNAPSHOTS_KEEP_MAX; i++) {
        bool twice = o->knowns > 0 && o->known[o->knowns - 1].id == list[i].id;
        if (!twice) o->known[o->knowns++].id = list[i].id; /* newest first */
    }
    free(list);
    qsort(o->known, o->knowns, sizeof *o->known, by_id);
    return WR_OK;
}

/* What to start from, if anything. */
static wr_err choose(wr_origin *o, const wr_origin_config *config, wr_errinfo *info)
{
    bool newest = false;
    if (o->journal != NULL && !config->fresh) /* else nothing of it counts, not even damage */
        WR_TRY(wr_store_newest(o->env, o->folder, wr_journal_lineage(o->journal), &o->manifest, &newest, info));
    if (newest && config->restore != NULL)
        return wr_fail(
            info, WR_CONFIG,
            "%s has newer results of this job (snapshot %llu) than --restore %s; leave --restore out to go "
            "on with them, or begin a new lineage with that one: weir run by --fresh, weir submit by another "
            "folder in --snapshots",
            o->folder, (unsigned long long)o->manifest.id, config->restore);
    if (config->restore != NULL) {
        WR_TRY(wr_store_load(o->env, path_of(config->restore), &o->manifest, o->files, info));
        o->restores = true;
    } else if (newest) {
        memcpy(o->files, o->folder, sizeof o->files);
        o->restores = true;
        o->base = o->manifest.id;
    }
    if (!o->restores || config->runs) return WR_OK;
    WR_TRY(wr_savepoint_check_kept(o->env, o->files, &o->manifest, info));
    /* What loads large files checks every block that it takes, and no task runs before all are loaded: reading them
     * twice would only double the time of a restart. */
    if (o->manifest.kind == WR_SNAPSHOT && bytes_of(&o->manifest) > WR_CHECK_FIRST_BYTES) return WR_OK;
    return check_files(o->env, o->files, &o->manifest, info);
}

/* The job would begin anew there, and write between files that are meant to be kept. One with a journal is a job's
 * folder already. */
static wr_err no_savepoint(wr_origin *o, wr_errinfo *info)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    WR_TRY(wr_path_join(path, o->folder, WR_JOURNAL_NAME, info));
    int result = o->env->stat(o->env->self, path, &about);
    o->claims = result == -ENOENT;
    if (result == 0) return WR_OK;
    WR_TRY(wr_path_join(path, o->folder, WR_SAVEPOINT_NAME, info));
    if (o->env->stat(o->env->self, path, &about) != 0) return WR_OK;
    return wr_fail(info, WR_CONFIG,
                   "%s is a savepoint, and no folder for the snapshots of a job; start from it by --restore %s, and "
                   "name another folder in --snapshots",
                   o->folder, o->folder);
}

static wr_err open_folder(wr_origin *o, const wr_origin_config *config, wr_errinfo *info)
{
    WR_TRY(folder_of(o->folder, config->folder, info));
    WR_TRY(no_savepoint(o, info));
    const wr_journal_config of_journal = {.env = config->env,
                                          .folder = o->folder,
                                          .job = config->job,
                                          .fresh = config->fresh,
                                          .next = config->next,
                                          .attempt = config->attempt};
    WR_TRY(wr_journal_open(&o->journal, &of_journal, info));
    if (wr_journal_finished(o->journal, &o->last)) {
        o->finished = true;
        if (config->restore == NULL) return WR_OK;
        return wr_fail(info, WR_CONFIG,
                       "the job has finished, and %s has its last snapshot, %llu, which is newer than --restore %s; "
                       "name another folder, or add --fresh to begin a new lineage with that one",
                       o->folder, (unsigned long long)o->last, config->restore);
    }
    WR_TRY(wr_store_open(&o->store, config->env, o->folder, wr_journal_epoch(o->journal), info));
    return list_known(o, info);
}

wr_err wr_origin_open(wr_origin *o, const wr_origin_config *config, wr_errinfo *info)
{
    memset(o, 0, sizeof *o);
    o->env = config->env;
    wr_err err = WR_OK;
    if (config->folder != NULL) WR_GOTO(open_folder(o, config, info));
    if (o->finished) return WR_OK;
    WR_GOTO(choose(o, config, info));
    return WR_OK;
out:
    wr_origin_close(o);
    return err;
}

wr_err wr_origin_begin(wr_origin *o, wr_errinfo *info)
{
    return o->journal != NULL ? wr_journal_begin(o->journal, info) : WR_OK;
}

void wr_origin_withdraw(wr_origin *o)
{
    char path[WR_PATH_BYTES_MAX];
    if (!o->claims || o->journal == NULL || wr_path_join(path, o->folder, WR_JOURNAL_NAME, NULL) != WR_OK) return;
    o->env->unlink(o->env->self, path); /* behind the lock still */
}

void wr_origin_unlock(wr_origin *o)
{
    wr_store_close(o->store);
    wr_journal_close(o->journal);
    o->store = NULL;
    o->journal = NULL;
}

void wr_origin_close(wr_origin *o)
{
    wr_manifest_free(&o->manifest);
    wr_origin_unlock(o);
    memset(o, 0, sizeof *o);
}

wr_err wr_origin_match(const wr_origin *o, const wr_job *job, bool allow_non_restored, wr_errinfo *info)
{
    return o->restores ? wr_restore_match(&o->manifest, job, allow_non_restored, NULL, info) : WR_OK;
}
