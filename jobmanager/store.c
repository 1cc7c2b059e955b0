#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/sabotage.h"
#include "jobmanager/files.h"
#include "jobmanager/store_inner.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- listing ----------------------------------------------------------------------------------------------------- */

static bool add_name(void *arg, const char *name)
{
    wr_store_names *all = arg;
    uint32_t        epoch;
    uint64_t        id;
    if (wr_name_read(name, &epoch, &id) == WR_NAME_OTHER) return true;
    if (all->count == all->room) {
        uint32_t room = all->room == 0 ? 64 : 2 * all->room;
        void    *more = realloc(all->name, room * sizeof *all->name);
        all->full = more == NULL;
        if (all->full) return false;
        all->name = more;
        all->room = room;
    }
    snprintf(all->name[all->count++], sizeof *all->name, "%s", name);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

wr_err wr_store_names_list(const wr_env *env, const char *folder, wr_store_names *all, wr_errinfo *info)
{
    *all = (wr_store_names){0};
    int result = env->list(env->self, folder, add_name, all);
    if (result == 0 && all->full) result = -ENOMEM;
    if (result == 0 || result == -ENOENT) {
        if (all->count > 0) qsort(all->name, all->count, sizeof *all->name, by_name);
        return WR_OK;
    }
    free(all->name);
    return wr_fail_errno(info, -result, "cannot list the folder %s", folder);
}

static int newest_first(const void *a, const void *b)
{
    const wr_store_entry *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? 1 : -1;
    return x->epoch < y->epoch ? 1 : x->epoch > y->epoch ? -1 : 0;
}

wr_err wr_store_list(const wr_env *env, const char *folder, wr_store_entry **list, uint32_t *n, wr_errinfo *info)
{
    wr_store_names all;
    *list = NULL;
    *n = 0;
    WR_TRY(wr_store_names_list(env, folder, &all, info));
    wr_store_entry *entry = calloc(all.count + 1, sizeof *entry);
    check(entry != NULL);
    for (uint32_t i = 0; i < all.count; i++) {
        char            path[WR_PATH_BYTES_MAX];
        wr_file_info    about;
        wr_store_entry *e = &entry[*n];
        if (wr_name_read(all.name[i], &e->epoch, &e->id) != WR_NAME_MANIFEST) continue;
        snprintf(e->name, sizeof e->name, "%.*s", WR_FILE_NAME_BYTES - 1, all.name[i]);
        wr_err err = wr_path_join(path, folder, e->name, info);
        if (err != WR_OK) {
            free(all.name);
            free(entry);
            return err;
        }
        if (env->stat(env->self, path, &about) == 0) {
            e->bytes = about.bytes;
            e->changed_ns = about.changed_ns;
        }
        ++*n;
    }
    free(all.name);
    qsort(entry, *n, sizeof *entry, newest_first);
    *list = entry;
    return WR_OK;
}

wr_err wr_store_greatest(const wr_env *env, const char *folder, uint32_t *epoch, uint64_t *id, wr_errinfo *info)
{
    wr_store_names all;
    *epoch = 0;
    *id = 0;
    WR_TRY(wr_store_names_list(env, folder, &all, info));
    for (uint32_t i = 0; i < all.count; i++) {
        uint32_t e;
        uint64_t k;
        wr_name_read(all.name[i], &e, &k);
        if (e > *epoch) *epoch = e;
        if (k > *id) *id = k;
    }
    free(all.name);
    return WR_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

wr_err wr_store_read(const wr_env *env, const char *path, wr_manifest *m, wr_errinfo *info)
{
    char      *bytes;
    size_t     n;
    wr_errinfo why = {0};
    memset(m, 0, sizeof *m);
    WR_TRY(wr_file_read(env, path, WR_MANIFEST_BYTES_MAX, &bytes, &n, info));
    wr_err err = wr_manifest_decode(m, bytes, n, path, &why);
    free(bytes);
    if (err == WR_OK) return WR_OK;
    return wr_fail(info, err, "%s%s", why.text,
                   err == WR_DAMAGED ? "; restore another snapshot: --restore takes its manifest" : "");
}

wr_err wr_store_read_entry(const wr_env *env, const char *folder, const wr_store_entry *e, wr_manifest *m,
                           wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX];
    WR_TRY(wr_path_join(path, folder, e->name, info));
    WR_TRY(wr_store_read(env, path, m, info));
    if (m->id == e->id && m->epoch == e->epoch) return WR_OK;
    wr_fail(
        info, WR_DAMAGED,
        "the manifest is that of snapshot %llu of epoch %u; %s, offset 0; restore another snapshot: --restore takes "
        "its manifest",
        (unsigned long long)m->id, m->epoch, path);
    wr_manifest_free(m);
    return WR_DAMAGED;
}

/* One look. *again: a manifest went away between listing and reading, because a running job swept it. */
static wr_err look_newest(const wr_env *env, const char *folder, const char *lineage, wr_manifest *m, bool *found,
                          bool *again, wr_errinfo *info)
{
    wr_store_entry *list;
    uint32_t        n;
    wr_err          err = WR_OK;
    *found = *again = false;
    WR_TRY(wr_store_list(env, folder, &list, &n, info));
    for (uint32_t i = 0; i < n && !*found; i++) {
        wr_errinfo why = {0};
        err = wr_store_read_entry(env, folder, &list[i], m, &why);
        if (err == WR_OK && (lineage == NULL || strcmp(m->lineage, lineage) == 0)) {
            *found = true;
        } else if (err == WR_OK) {
            wr_manifest_free(m);
        } else {
            *again = err == WR_NOT_FOUND;
            if (*again) err = WR_OK;
            if (err != WR_OK) wr_fail(info, err, "%s", why.text);
            break;
        }
    }
    free(list);
    return err;
}

wr_err wr_store_newest(const wr_env *env, const char *folder, const char *lineage, wr_manifest *m, bool *found,
                       wr_errinfo *info)
{
    enum { LOOKS = 8 };
    memset(m, 0, sizeof *m);
    for (int i = 0; i < LOOKS; i++) {
        bool again;
        WR_TRY(look_newest(env, folder, lineage, m, found, &again, info));
        if (!again) return WR_OK;
    }
    *found = false;
    return wr_fail(info, WR_IO, "the snapshots change faster than they can be read; %s", folder);
}

wr_err wr_store_load(const wr_env *env, const char *path, wr_manifest *m, char *folder, wr_errinfo *info)
{
    char         inside[WR_PATH_BYTES_MAX];
    wr_file_info about;
    bool         found;
    memset(m, 0, sizeof *m);
    int result = env->stat(env->self, path, &about);
    if (result < 0) return wr_fail_errno(info, -result, "cannot find the snapshot %s", path);
    if (!about.is_folder) {
        WR_TRY(wr_path_folder(folder, path, info));
        return wr_store_read(env, path, m, info);
    }
    snprintf(folder, WR_PATH_BYTES_MAX, "%s", path);
    WR_TRY(wr_path_join(inside, path, WR_SAVEPOINT_NAME, info));
    if (env->stat(env->self, inside, &about) == 0) return wr_store_read(env, inside, m, info);
    WR_TRY(wr_store_newest(env, path, NULL, m, &found, info));
    if (!found) return wr_fail(info, WR_NOT_FOUND, "there is no completed snapshot; %s", path);
    return WR_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

wr_err wr_store_open(wr_store **take, const wr_env *env, const char *folder, uint32_t epoch, wr_errinfo *info)
{
    *take = NULL;
    if (strlen(folder) >= WR_PATH_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a path is too long; %.200s...; at most %d bytes", folder, WR_PATH_BYTES_MAX);
    wr_store *s = calloc(1, sizeof *s);
    if (s == NULL) return wr_fail(info, WR_MEMORY, "out of memory: the store of snapshots");
    s->env = env;
    s->epoch = epoch;
    snprintf(s->folder, sizeof s->folder, "%s", folder);
    *take = s;
    return WR_OK;
}

void wr_store_close(wr_store *s)
{
    if (s == NULL) return;
    for (uint32_t i = 0; i < s->marked; i++) free(s->mark[i].name);
    free(s->mark);
    free(s->retired);
    free(s);
}

/* After an error behind the rename: it must not be found later, or its data files must stay for ever. */
static bool take_back(wr_store *s, const char *name)
{
    char       path[WR_PATH_BYTES_MAX];
    wr_errinfo why = {0};
    if (wr_path_join(path, s->folder, name, &why) != WR_OK) return false;
    int result = s->env->unlink(s->env->self, path);
    if (result < 0 && result != -ENOENT) return false;
    return wr_folder_sync(s->env, s->folder, &why) == WR_OK;
}

void wr_store_doubt(wr_store *s)
{
    s->uncertain = true;
}

/* A newer manifest is durable, so no restart looks at the uncertain one, if it is there at all. The next sweep deletes
 * it like any old one, or finds that it has gone; either is made durable before what it names goes. */
static void end_doubt(wr_store *s)
{
    s->unsynced |= s->uncertain;
    s->uncertain = false;
}

/* Each task has said that its files are durable: where it sees the folder. */
static wr_err files_there(const wr_store *s, const wr_manifest *m, wr_errinfo *info)
{
    for (uint32_t i = 0; i < m->ops; i++) {
        for (uint32_t k = 0; k < m->op[i].layers; k++) {
            const wr_state_file *file = &m->op[i].layer[k].file;
            char                 path[WR_PATH_BYTES_MAX];
            wr_file_info         about;
            WR_TRY(wr_path_join(path, s->folder, file->name, info));
            int result = s->env->stat(s->env->self, path, &about);
            if (result == -ENOENT)
                return wr_fail(info, WR_DAMAGED,
                               "%s is not there, though the task that wrote it says so; is %s the same folder for all? "
                               "The next snapshot is a full one",
                               path, s->folder);
            if (result < 0) return wr_fail_errno(info, -result, "cannot look at %s", path);
            if (!about.is_file || about.bytes < 0 || (uint64_t)about.bytes != file->bytes)
                return wr_fail(info, WR_DAMAGED,
                               "%s has %lld bytes, the task that wrote it says %llu; the next snapshot is a full one",
                               path, (long long)about.bytes, (unsigned long long)file->bytes);
        }
    }
    return WR_OK;
}

wr_err wr_store_commit(wr_store *s, const wr_manifest *m, bool *uncertain, wr_errinfo *info)
{
    char       name[WR_FILE_NAME_BYTES], *bytes;
    size_t     n;
    bool       published;
    wr_publish what = {.folder = s->folder,
                       .name = name,
                       .written = "manifest-written",
                       .synced = "manifest-synced",
                       .renamed = "manifest-renamed"};
    if (uncertain != NULL) *uncertain = false;
    check(m->epoch == s->epoch && m->kind == WR_SNAPSHOT);
    wr_name_manifest(name, m->epoch, m->id);
    WR_TRY(wr_manifest_encode(m, &bytes, &n, info));
    /* The data files' names first: a manifest that is found must find them. */
    wr_err err = wr_sabotage.manifest_no_sync ? WR_OK : wr_folder_sync(s->env, s->folder, info);
    if (err == WR_OK) err = files_there(s, m, info);
    if (err == WR_OK) {
        wr_failpoint("manifest-begin");
        err = wr_file_publish(s->env, &what, bytes, n, &published, info);
        if (err != WR_OK && published && !take_back(s, name)) s->uncertain = true;
    }
    free(bytes);
    if (err != WR_OK && uncertain != NULL) *uncertain = s->uncertain;
    if (err == WR_OK) end_doubt(s);
    if (err == WR_OK) wr_failpoint("manifest-durable");
    return err;
}
