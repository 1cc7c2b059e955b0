#include "jobmanager/store.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/sabotage.h"
#include "jobmanager/files.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- listing ----------------------------------------------------------------------------------------------------- */

/* Names of one folder. Caller's storage, one thread. */
typedef struct names {
    char (*name)[WR_FILE_NAME_BYTES + 4];
    uint32_t count, room;
    bool     full; /* out of memory */
} names;

static bool add_name(void *arg, const char *name)
{
    names   *all = arg;
    uint32_t epoch;
    uint64_t id;
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

/* Sorted, so that a simulated run does not depend on the folder's order. A folder that is not there has none. */
static wr_err list_names(const wr_env *env, const char *folder, names *all, wr_errinfo *info)
{
    *all = (names){0};
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
    names all;
    *list = NULL;
    *n = 0;
    WR_TRY(list_names(env, folder, &all, info));
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
    names all;
    *epoch = 0;
    *id = 0;
    WR_TRY(list_names(env, folder, &all, info));
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
    char  *bytes;
    size_t n;
    memset(m, 0, sizeof *m);
    WR_TRY(wr_file_read(env, path, WR_MANIFEST_BYTES_MAX, &bytes, &n, info));
    wr_err err = wr_manifest_decode(m, bytes, n, path, info);
    free(bytes);
    return err;
}

/* A manifest under another name would be another snapshot than it says. */
static wr_err read_entry(const wr_env *env, const char *folder, const wr_store_entry *e, wr_manifest *m,
                         wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX];
    WR_TRY(wr_path_join(path, folder, e->name, info));
    WR_TRY(wr_store_read(env, path, m, info));
    if (m->id == e->id && m->epoch == e->epoch) return WR_OK;
    wr_fail(info, WR_DAMAGED, "the manifest is that of snapshot %llu of epoch %u; %s, offset 0",
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
        err = read_entry(env, folder, &list[i], m, &why);
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

/* The data files that one manifest names: read once, since a manifest never changes. */
typedef struct marks {
    uint64_t id;
    uint32_t epoch, count;
    char (*name)[WR_FILE_NAME_BYTES];
} marks;

struct wr_store {
    const wr_env *env;
    char          folder[WR_PATH_BYTES_MAX];
    uint32_t      epoch;
    bool          uncertain; /* a commit ended nobody knows how: nothing is deleted any more */
    marks        *mark;
    uint32_t      marked;
};

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
    if (err == WR_OK) {
        wr_failpoint("manifest-begin");
        err = wr_file_publish(s->env, &what, bytes, n, &published, info);
        if (err != WR_OK && published && !take_back(s, name)) s->uncertain = true;
    }
    free(bytes);
    if (err != WR_OK && uncertain != NULL) *uncertain = s->uncertain;
    if (err == WR_OK) wr_failpoint("manifest-durable");
    return err;
}

/* ---- mark and sweep ---------------------------------------------------------------------------------------------- */

static bool has(const uint64_t *list, uint32_t n, uint64_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i] == id) return true;
    }
    return false;
}

static marks *find_marks(wr_store *s, uint32_t epoch, uint64_t id)
{
    for (uint32_t i = 0; i < s->marked; i++) {
        if (s->mark[i].id == id && s->mark[i].epoch == epoch) return &s->mark[i];
    }
    return NULL;
}

static wr_err mark(wr_store *s, const wr_store_entry *e, wr_errinfo *info)
{
    wr_manifest m;
    if (find_marks(s, e->epoch, e->id) != NULL) return WR_OK;
    WR_TRY(read_entry(s->env, s->folder, e, &m, info));
    uint32_t count = 0;
    for (uint32_t i = 0; i < m.ops; i++) count += m.op[i].layers;
    marks *more = realloc(s->mark, (s->marked + 1) * sizeof *more);
    marks  one = {.id = e->id, .epoch = e->epoch, .name = calloc(count + 1u, sizeof *one.name)};
    check(more != NULL && one.name != NULL);
    for (uint32_t i = 0; i < m.ops; i++) {
        for (uint32_t k = 0; k < m.op[i].layers; k++)
            memcpy(one.name[one.count++], m.op[i].layer[k].file.name, sizeof *one.name);
    }
    wr_manifest_free(&m);
    s->mark = more;
    s->mark[s->marked++] = one;
    return WR_OK;
}

static void unmark(wr_store *s, uint32_t epoch, uint64_t id)
{
    marks *m = find_marks(s, epoch, id);
    if (m == NULL) return;
    free(m->name);
    *m = s->mark[--s->marked];
}

static bool is_marked(const wr_store *s, const char *name)
{
    for (uint32_t i = 0; i < s->marked; i++) {
        for (uint32_t k = 0; k < s->mark[i].count; k++) {
            if (strcmp(s->mark[i].name[k], name) == 0) return true;
        }
    }
    return false;
}

/* What one sweep is about. Caller's storage. */
typedef struct sweep {
    const uint64_t *keep;
    uint32_t        n, deleted;
    uint64_t        pending;
} sweep;

static wr_err delete_file(wr_store *s, sweep *w, const char *name, wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX];
    WR_TRY(wr_path_join(path, s->folder, name, info));
    int result = s->env->unlink(s->env->self, path);
    if (result == -ENOENT) return WR_OK;
    if (result < 0) return wr_fail_errno(info, -result, "cannot delete %s", path);
    w->deleted++;
    return WR_OK;
}

static bool stays(const wr_store *s, const sweep *w, const wr_store_entry *e)
{
    return e->epoch > s->epoch || e->id >= w->pending || has(w->keep, w->n, e->id);
}

/* All that stay are read before the first one goes. What the others named may go only when their going is durable. */
static wr_err sweep_manifests(wr_store *s, sweep *w, const wr_store_entry *list, uint32_t n, wr_errinfo *info)
{
    for (uint32_t i = 0; i < n; i++) {
        if (stays(s, w, &list[i])) WR_TRY(mark(s, &list[i], info));
    }
    for (uint32_t i = 0; i < n; i++) {
        if (stays(s, w, &list[i])) continue;
        WR_TRY(delete_file(s, w, list[i].name, info));
        unmark(s, list[i].epoch, list[i].id);
        wr_failpoint("retention");
    }
    return w->deleted > 0 ? wr_folder_sync(s->env, s->folder, info) : WR_OK;
}

static bool is_garbage(const wr_store *s, const sweep *w, const char *name)
{
    uint32_t epoch;
    uint64_t id;
    switch (wr_name_read(name, &epoch, &id)) {
    case WR_NAME_TEMP: return epoch <= s->epoch && id < w->pending;
    case WR_NAME_STATE: return epoch <= s->epoch && id < w->pending && !is_marked(s, name);
    default: return false;
    }
}

wr_err wr_store_sweep(wr_store *s, const uint64_t *keep, uint32_t n, uint64_t pending, uint32_t *deleted,
                      wr_errinfo *info)
{
    sweep           w = {.keep = keep, .n = n, .pending = pending};
    wr_store_entry *list;
    uint32_t        entries;
    names           all;
    if (deleted != NULL) *deleted = 0;
    if (s->uncertain)
        return wr_fail(info, WR_IO, "nothing is deleted any more, since it is not known how a snapshot ended; %s",
                       s->folder);
    WR_TRY(wr_store_list(s->env, s->folder, &list, &entries, info));
    wr_err err = sweep_manifests(s, &w, list, entries, info);
    free(list);
    if (err == WR_OK) err = list_names(s->env, s->folder, &all, info);
    if (err == WR_OK) {
        for (uint32_t i = 0; i < all.count && err == WR_OK; i++) {
            if (!is_garbage(s, &w, all.name[i])) continue;
            err = delete_file(s, &w, all.name[i], info);
            wr_failpoint("sweep");
        }
        free(all.name);
    }
    if (deleted != NULL) *deleted = w.deleted;
    return err;
}
