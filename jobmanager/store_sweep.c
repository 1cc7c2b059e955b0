/* jobmanager/store_sweep.c: mark and sweep: what no manifest names goes, or its room is kept for the next snapshot. */
#include "base/check.h"
#include "base/failpoint.h"
#include "base/sabotage.h"
#include "jobmanager/files.h"
#include "jobmanager/store_inner.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void wr_store_keep_spares(wr_store *s, uint32_t files, uint64_t bytes)
{
    s->spare_files = files;
    s->spare_bytes = bytes;
}

/* ---- mark -------------------------------------------------------------------------------------------------------- */

static bool has(const uint64_t *list, uint32_t n, uint64_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i] == id) return true;
    }
    return false;
}

static wr_store_marks *find_marks(wr_store *s, uint32_t epoch, uint64_t id)
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
    WR_TRY(wr_store_read_entry(s->env, s->folder, e, &m, info));
    uint32_t count = 0;
    for (uint32_t i = 0; i < m.ops; i++) count += m.op[i].layers;
    wr_store_marks *more = realloc(s->mark, (s->marked + 1) * sizeof *more);
    wr_store_marks  one = {.id = e->id, .epoch = e->epoch, .name = calloc(count + 1u, sizeof *one.name)};
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

/* Its manifest is gone. What it named was complete once, so nobody writes it any more. */
static void retire(wr_store *s, uint32_t epoch, uint64_t id)
{
    wr_store_marks *m = find_marks(s, epoch, id);
    if (m == NULL) return;
    if (s->spare_files > 0 && m->count > 0) {
        s->retired = realloc(s->retired, (s->retireds + m->count) * sizeof *s->retired);
        check(s->retired != NULL);
        memcpy(s->retired + s->retireds, m->name, m->count * sizeof *s->retired);
        s->retireds += m->count;
    }
    free(m->name);
    *m = s->mark[--s->marked];
}

static bool is_newest(const wr_store *s, uint32_t mark)
{
    for (uint32_t i = 0; i < s->marked; i++) {
        if (s->mark[i].id > s->mark[mark].id) return false;
    }
    return true;
}

static bool is_marked(const wr_store *s, const char *name)
{
    for (uint32_t i = 0; i < s->marked; i++) {
        if (wr_sabotage.recycle_early && !is_newest(s, i)) continue;
        for (uint32_t k = 0; k < s->mark[i].count; k++) {
            if (strcmp(s->mark[i].name[k], name) == 0) return true;
        }
    }
    return false;
}

static bool is_retired(const wr_store *s, const char *name)
{
    for (uint32_t i = 0; i < s->retireds; i++) {
        if (strcmp(s->retired[i], name) == 0) return true;
    }
    return false;
}

/* ---- sweep ------------------------------------------------------------------------------------------------------- */

/* A file that may be overwritten instead of being deleted. */
typedef struct spare {
    const char *name, *task;
    uint64_t    id, bytes;
    bool        old; /* it is a spare already */
} spare;

/* What one sweep is about. Caller's storage. */
typedef struct sweep {
    const uint64_t *keep;
    uint32_t        n, deleted;
    uint64_t        pending;
    spare          *spare;
    uint32_t        spares;
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

/* All that stay are read before the first one goes. What the others named may go, or be overwritten, only when their
 * going is durable. */
static wr_err sweep_manifests(wr_store *s, sweep *w, const wr_store_entry *list, uint32_t n, wr_errinfo *info)
{
    for (uint32_t i = 0; i < n; i++) {
        wr_errinfo why = {0};
        if (stays(s, w, &list[i])) WR_TRY(mark(s, &list[i], info));
        if (s->spare_files > 0) (void)mark(s, &list[i], &why); /* what goes may be damaged */
    }
    for (uint32_t i = 0; i < n; i++) {
        if (stays(s, w, &list[i])) continue;
        s->unsynced = true;
        WR_TRY(delete_file(s, w, list[i].name, info));
        retire(s, list[i].epoch, list[i].id);
        wr_failpoint("retention");
    }
    if (!s->unsynced) return WR_OK;
    WR_TRY(wr_folder_sync(s->env, s->folder, info));
    s->unsynced = false;
    return WR_OK;
}

enum fate { STAYS, GOES, MAY_SPARE };

static enum fate fate_of(const wr_store *s, const sweep *w, const char *name, uint64_t *id)
{
    uint32_t          epoch;
    enum wr_name_kind kind = wr_name_read(name, &epoch, id);
    if (epoch > s->epoch || *id >= w->pending) return STAYS;
    if (kind == WR_NAME_TEMP) return GOES;
    if (kind == WR_NAME_SPARE) return s->spare_files > 0 && w->pending - *id <= WR_SPARE_SNAPSHOTS ? MAY_SPARE : GOES;
    if (kind != WR_NAME_STATE || is_marked(s, name)) return STAYS;
    return s->spare_files > 0 && (is_retired(s, name) || wr_sabotage.recycle_early) ? MAY_SPARE : GOES;
}

static void add_spare(wr_store *s, sweep *w, const char *name, uint64_t id)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_errinfo   why = {0};
    wr_file_info about = {0};
    if (wr_path_join(path, s->folder, name, &why) == WR_OK) (void)s->env->stat(s->env->self, path, &about);
    w->spare[w->spares++] = (spare){
        .name = name, .task = wr_name_task(name), .id = id, .bytes = (uint64_t)about.bytes, .old = name[0] == 'r'};
}

/* Those of one subtask together, the largest and then the newest first. */
static int by_task(const void *a, const void *b)
{
    const spare *x = a, *y = b;
    int          order = strcmp(x->task, y->task);
    if (order != 0) return order;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->id > y->id ? -1 : x->id < y->id;
}

static wr_err keep_spare(wr_store *s, const spare *x, wr_errinfo *info)
{
    char name[WR_FILE_NAME_BYTES], from[WR_PATH_BYTES_MAX], to[WR_PATH_BYTES_MAX];
    if (x->old) return WR_OK;
    wr_name_spare(name, x->name);
    WR_TRY(wr_path_join(from, s->folder, x->name, info));
    WR_TRY(wr_path_join(to, s->folder, name, info));
    int result = s->env->rename(s->env->self, from, to);
    if (result < 0 && result != -ENOENT) return wr_fail_errno(info, -result, "cannot rename %s", from);
    wr_failpoint("spare");
    return WR_OK;
}

/* One for each subtask, within the bounds; the others go. */
static wr_err sweep_spares(wr_store *s, sweep *w, wr_errinfo *info)
{
    uint32_t files = 0;
    uint64_t bytes = 0;
    if (w->spares > 0) qsort(w->spare, w->spares, sizeof *w->spare, by_task);
    for (uint32_t i = 0; i < w->spares; i++) {
        const spare *x = &w->spare[i];
        bool         kept = i == 0 || strcmp(x->task, x[-1].task) != 0;
        if (kept && (files == s->spare_files || x->bytes > s->spare_bytes - bytes)) kept = false;
        files += kept;
        bytes += kept ? x->bytes : 0;
        if (kept) {
            WR_TRY(keep_spare(s, x, info));
            continue;
        }
        WR_TRY(delete_file(s, w, x->name, info));
        wr_failpoint("sweep");
    }
    return WR_OK;
}

static wr_err sweep_files(wr_store *s, sweep *w, const wr_store_names *all, wr_errinfo *info)
{
    for (uint32_t i = 0; i < all->count; i++) {
        uint64_t  id;
        enum fate fate = fate_of(s, w, all->name[i], &id);
        if (fate == MAY_SPARE) add_spare(s, w, all->name[i], id);
        if (fate != GOES) continue;
        WR_TRY(delete_file(s, w, all->name[i], info));
        wr_failpoint("sweep");
    }
    return sweep_spares(s, w, info);
}

wr_err wr_store_sweep(wr_store *s, const uint64_t *keep, uint32_t n, uint64_t pending, uint32_t *deleted,
                      wr_errinfo *info)
{
    sweep           w = {.keep = keep, .n = n, .pending = pending};
    wr_store_entry *list;
    uint32_t        entries;
    wr_store_names  all;
    if (deleted != NULL) *deleted = 0;
    if (s->uncertain)
        return wr_fail(
            info, WR_IO,
            "nothing is deleted until a snapshot completes, since it is not known how the last one ended; %s",
            s->folder);
    WR_TRY(wr_store_list(s->env, s->folder, &list, &entries, info));
    wr_err err = sweep_manifests(s, &w, list, entries, info);
    free(list);
    if (err == WR_OK) err = wr_store_names_list(s->env, s->folder, &all, info);
    if (err == WR_OK) {
        w.spare = calloc(all.count + 1u, sizeof *w.spare);
        check(w.spare != NULL);
        err = sweep_files(s, &w, &all, info);
        free(w.spare);
        free(all.name);
    }
    s->retireds = 0;
    if (deleted != NULL) *deleted = w.deleted;
    return err;
}
