#include "jobmanager/savepoint.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "jobmanager/files.h"
#include "jobmanager/saving.h"
#include "jobmanager/store.h"
#include "snapshot/kept.h"
#include "snapshot/rows.h"
#include "wire/names.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_NAME "savepoint.trial"

/* Owner: who writes it, one thread. */
typedef struct saving {
    const wr_env      *env;
    const char        *from, *target;
    wr_manifest        m; /* of the savepoint; borrows from the snapshot's */
    wr_manifest_layer *layer;
    bool               made; /* the folder is ours */
    uint32_t           kept; /* files of sinks, complete or begun */
    wr_arena           arena;
} saving;

static bool is_anything(void *arg, const char *name)
{
    (void)name;
    *(bool *)arg = true;
    return false;
}

/* New in a folder that is there, or empty: by looking alone. */
static wr_err is_free(const wr_env *env, const char *target, wr_errinfo *info)
{
    wr_file_info about;
    char         parent[WR_PATH_BYTES_MAX];
    bool         full = false;
    if (target[0] == 0) return wr_fail(info, WR_USAGE, "the savepoint's folder has no name");
    int result = env->stat(env->self, target, &about);
    if (result == 0 && about.is_folder) {
        result = env->list(env->self, target, is_anything, &full);
        if (result < 0) return wr_fail_errno(info, -result, "cannot list the folder %s", target);
        if (full) return wr_fail(info, WR_CONFIG, "a savepoint gets a folder of its own; %s is not empty", target);
        return WR_OK;
    }
    if (result == 0) result = -ENOTDIR;
    if (result == -ENOENT) { /* it is made in a folder that is there */
        WR_TRY(wr_path_folder(parent, target, info));
        result = env->stat(env->self, parent, &about);
        if (result == 0 && !about.is_folder) result = -ENOTDIR;
    }
    return result < 0 ? wr_fail_errno(info, -result, "cannot make the folder %s", target) : WR_OK;
}

/* A file there, written and removed: what cannot be seen shows, a file system that is read-only or full. */
static wr_err try_file(const wr_env *env, const char *target, wr_errinfo *info)
{
    static const char some[4096];
    char              path[WR_PATH_BYTES_MAX];
    WR_TRY(wr_path_join(path, target, TRIAL_NAME, info));
    int file = env->open(env->self, path, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE);
    if (file == -EEXIST)
        return wr_fail(info, WR_CONFIG, "another savepoint is being written there; %s; it gets a folder of its own",
                       target);
    if (file < 0) return wr_fail_errno(info, -file, "cannot make %s", path);
    int64_t put = env->write(env->self, file, some, sizeof some);
    int     result = env->close(env->self, file);
    env->unlink(env->self, path);
    if (put >= 0 && put != (int64_t)sizeof some) put = -ENOSPC;
    if (put >= 0) put = result;
    return put < 0 ? wr_fail_errno(info, (int)-put, "cannot write %s", path) : WR_OK;
}

wr_err wr_savepoint_may_write(const wr_env *env, const char *target, wr_errinfo *info)
{
    WR_TRY(wr_saving_may_begin(target, info)); /* ahead of a look, which might never end */
    WR_TRY(is_free(env, target, info));
    int made = env->mkdir(env->self, target);
    if (made < 0 && made != -EEXIST) return wr_fail_errno(info, -made, "cannot make the folder %s", target);
    wr_err err = try_file(env, target, info);
    if (made == 0) env->rmdir(env->self, target);
    return err;
}

/* ---- another try ---- */

typedef struct leftovers {
    const wr_env *env;
    const char   *target;
    uint32_t      removed; /* in this round */
} leftovers;

static bool of_a_savepoint(const char *name)
{
    size_t n = strlen(name);
    bool   rows = strncmp(name, "state-", 6) == 0 && n > 5 && strcmp(name + n - 5, ".rows") == 0;
    return rows || strncmp(name, "prepared-", 9) == 0 || strcmp(name, WR_SAVEPOINT_NAME) == 0 ||
           strcmp(name, WR_SAVEPOINT_NAME ".tmp") == 0 || strcmp(name, WR_CLAIM_NAME) == 0 ||
           strcmp(name, TRIAL_NAME) == 0;
}

/* One per listing: a folder is not changed while it is read. */
static bool remove_one(void *arg, const char *name)
{
    leftovers *l = arg;
    char       path[WR_PATH_BYTES_MAX];
    if (!of_a_savepoint(name) || wr_path_join(path, l->target, name, NULL) != WR_OK) return true;
    if (l->env->unlink(l->env->self, path) < 0) return true;
    l->removed++;
    return false;
}

/* Somebody else is writing there, or was when he was killed. */
static bool claimed_by_another(const wr_env *env, const char *target, const char *lineage)
{
    char   path[WR_PATH_BYTES_MAX], *bytes;
    size_t n;
    if (wr_path_join(path, target, WR_CLAIM_NAME, NULL) != WR_OK) return true;
    wr_err err = wr_file_read(env, path, WR_NAME_BYTES_MAX, &bytes, &n, NULL);
    if (err != WR_OK) return err != WR_NOT_FOUND;
    bool another = n > 0 && (n != strlen(lineage) || memcmp(bytes, lineage, n) != 0); /* cut off by a crash: nobody's */
    free(bytes);
    return another;
}

enum whose { NOBODYS, OURS, ANOTHERS }; /* NOBODYS: none, or one that cannot be read */

static enum whose whose(const wr_env *env, const char *target, const char *lineage)
{
    char        path[WR_PATH_BYTES_MAX];
    wr_manifest m;
    if (wr_path_join(path, target, WR_SAVEPOINT_NAME, NULL) != WR_OK || wr_store_read(env, path, &m, NULL) != WR_OK)
        return NOBODYS;
    bool ours = strcmp(m.lineage, lineage) == 0;
    wr_manifest_free(&m);
    return ours ? OURS : ANOTHERS;
}

bool wr_savepoint_is_there(const wr_env *env, const char *target, const char *lineage)
{
    return whose(env, target, lineage) == OURS;
}

void wr_savepoint_clear(const wr_env *env, const char *target, const char *lineage)
{
    leftovers l = {.env = env, .target = target};
    if (claimed_by_another(env, target, lineage) || whose(env, target, lineage) == ANOTHERS) return;
    do {
        l.removed = 0;
        if (env->list(env->self, target, remove_one, &l) < 0) return;
    } while (l.removed > 0);
}

static void unlink_one(const saving *s, const char *name)
{
    char path[WR_PATH_BYTES_MAX];
    if (wr_path_join(path, s->target, name, NULL) == WR_OK) s->env->unlink(s->env->self, path);
}

static bool is_no_claim(void *arg, const char *name)
{
    *(bool *)arg = strcmp(name, WR_CLAIM_NAME) != 0;
    return !*(bool *)arg;
}

/* Two may be told to write into one empty folder. */
static wr_err claim(saving *s, wr_errinfo *info)
{
    char   path[WR_PATH_BYTES_MAX];
    bool   full = false;
    size_t n = strlen(s->m.lineage);
    WR_TRY(wr_path_join(path, s->target, WR_CLAIM_NAME, info));
    int file = s->env->open(s->env->self, path, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE);
    if (file == -EEXIST)
        return wr_fail(info, WR_CONFIG, "another savepoint is being written there; %s; it gets a folder of its own",
                       s->target);
    if (file < 0) return wr_fail_errno(info, -file, "cannot make %s", path);
    int64_t put = s->env->write(s->env->self, file, s->m.lineage, n);
    int     result = s->env->close(s->env->self, file);
    if (put >= 0 && put != (int64_t)n) put = -EIO;
    if (put >= 0) put = result;
    if (put >= 0) put = s->env->list(s->env->self, s->target, is_no_claim, &full); /* he may be done already */
    if (put >= 0 && !full) return WR_OK;
    unlink_one(s, WR_CLAIM_NAME);
    if (put < 0) return wr_fail_errno(info, (int)-put, "cannot write %s", path);
    return wr_fail(info, WR_CONFIG, "a savepoint gets a folder of its own; %s is not empty", s->target);
}

static wr_err make_target(saving *s, wr_errinfo *info)
{
    wr_file_info about;
    WR_TRY(is_free(s->env, s->target, info));
    s->made = s->env->stat(s->env->self, s->target, &about) == -ENOENT;
    wr_err err = wr_folder_make(s->env, s->target, info);
    if (err == WR_OK) err = claim(s, info);
    if (err != WR_OK && s->made) s->env->rmdir(s->env->self, s->target);
    return err;
}

/* "state-3-count-words.rows": the number makes it the only one. */
static void name_file(char to[WR_FILE_NAME_BYTES], uint32_t number, const char *uid)
{
    char   slug[33];
    size_t n = 0;
    for (; uid[n] != 0 && n < sizeof slug - 1; n++) {
        char c = uid[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        slug[n] = plain ? c : '-';
    }
    slug[n] = 0;
    snprintf(to, WR_FILE_NAME_BYTES, "state-%u-%s.rows", number, slug);
}

static wr_err write_files(saving *s, const wr_manifest *full, _Atomic bool *stop, wr_errinfo *info)
{
    for (uint32_t i = 0; i < full->ops; i++) {
        wr_manifest_op    *op = &s->m.op[i];
        wr_manifest_layer *layer = &s->layer[i];
        char               name[WR_FILE_NAME_BYTES];
        if (op->layers == 0) continue;
        name_file(name, i, op->uid);
        wr_rows_target target = {.folder = s->target,
                                 .name = name,
                                 .job = full->job,
                                 .lineage = full->lineage,
                                 .snapshot = full->id,
                                 .stop = stop};
        WR_TRY(wr_rows_write(s->env, s->from, &full->op[i], &target, &layer->file, info));
        layer->snapshot = full->id;
        op->layer = layer;
        op->layers = 1;
        wr_failpoint("savepoint-file");
    }
    return WR_OK;
}

/* Its number makes it the only one. */
static void name_kept(char to[WR_FILE_NAME_BYTES], uint32_t number)
{
    snprintf(to, WR_FILE_NAME_BYTES, "prepared-%u", number);
}

/* A file that a sink has prepared: copied, and named as it is called here. */
static wr_err keep_file(saving *s, wr_item *item, const char *uid, _Atomic bool *stop, wr_errinfo *info)
{
    wr_kept    k;
    char       name[WR_FILE_NAME_BYTES], to[WR_PATH_BYTES_MAX], *bytes;
    size_t     n;
    wr_errinfo why = {0};
    WR_TRY(wr_kept_decode(&k, &s->arena, item->data, item->bytes, info));
    name_kept(name, s->kept);
    WR_TRY(wr_path_join(to, s->target, name, info));
    s->kept++;
    wr_err err = wr_kept_copy(s->env, k.path, to, stop, &k, &why);
    if (err != WR_OK)
        return wr_fail(info, err == WR_CANCELED ? err : WR_IO,
                       "%s; sink %s has prepared it, and nothing else has its records; who writes a savepoint must be "
                       "able to read what the sinks write",
                       why.text, uid);
    k.path = "";
    k.file = name;
    WR_TRY(wr_kept_encode(&k, &bytes, &n, info));
    item->data = wr_arena_copy(&s->arena, bytes, n);
    item->bytes = (uint32_t)n;
    free(bytes);
    wr_failpoint("savepoint-file");
    return WR_OK;
}

static wr_err keep_files(saving *s, _Atomic bool *stop, wr_errinfo *info)
{
    for (uint32_t i = 0; i < s->m.ops; i++) {
        wr_manifest_op *op = &s->m.op[i];
        wr_item        *own = NULL; /* the others are borrowed as they are */
        for (uint32_t k = 0; k < op->items; k++) {
            if (op->item[k].kind != WR_ITEM_FILE) continue;
            if (own == NULL) {
                own = wr_arena_array(&s->arena, wr_item, op->items);
                memcpy(own, op->item, op->items * sizeof *own);
                op->item = own;
            }
            WR_TRY(keep_file(s, &own[k], op->uid, stop, info));
        }
    }
    return WR_OK;
}

wr_err wr_savepoint_check_kept(const wr_env *env, const char *folder, const wr_manifest *m, wr_errinfo *info)
{
    wr_arena arena = {0};
    wr_err   err = WR_OK;
    for (uint32_t i = 0; i < m->ops && err == WR_OK; i++) {
        for (uint32_t n = 0; n < m->op[i].items && err == WR_OK; n++) {
            const wr_item *item = &m->op[i].item[n];
            wr_kept        k, have;
            char           path[WR_PATH_BYTES_MAX];
            if (item->kind != WR_ITEM_FILE) continue;
            err = wr_kept_decode(&k, &arena, item->data, item->bytes, info);
            if (err == WR_OK && k.file[0] == 0)
                err = wr_fail(info, WR_DAMAGED, "%s of sink %s is not in the savepoint; %s", k.name, m->op[i].uid,
                              folder);
            if (err == WR_OK) err = wr_path_join(path, folder, k.file, info);
            if (err == WR_OK) err = wr_kept_copy(env, path, NULL, NULL, &have, info);
            if (err == WR_OK && (have.bytes != k.bytes || memcmp(have.hash, k.hash, sizeof k.hash) != 0))
                err = wr_fail(info, WR_DAMAGED, "its checksum does not fit; %s, offset 0", path);
        }
    }
    wr_arena_fini(&arena);
    return err;
}

static wr_err publish(saving *s, wr_errinfo *info)
{
    wr_publish what = {.folder = s->target,
                       .name = WR_SAVEPOINT_NAME,
                       .written = "savepoint-written",
                       .synced = "savepoint-synced",
                       .renamed = "savepoint-renamed"};
    char      *bytes;
    size_t     n;
    bool       published;
    char       parent[WR_PATH_BYTES_MAX];
    WR_TRY(wr_folder_sync(s->env, s->target, info)); /* the files' names, before a manifest speaks of them */
    WR_TRY(wr_manifest_encode(&s->m, &bytes, &n, info));
    wr_err err = wr_file_publish(s->env, &what, bytes, n, &published, info);
    free(bytes);
    if (err != WR_OK) return err;
    WR_TRY(wr_path_folder(parent, s->target, info));
    return wr_folder_sync(s->env, parent, info);
}

/* After an error: nothing that looks like a savepoint stays. */
static void clean_up(saving *s)
{
    char name[WR_FILE_NAME_BYTES];
    unlink_one(s, WR_SAVEPOINT_NAME);
    for (uint32_t i = 0; i < s->m.ops; i++) {
        name_file(name, i, s->m.op[i].uid);
        unlink_one(s, name);
    }
    for (uint32_t i = 0; i < s->kept; i++) {
        name_kept(name, i);
        unlink_one(s, name);
    }
    unlink_one(s, WR_CLAIM_NAME);
    if (s->made) s->env->rmdir(s->env->self, s->target);
}

wr_err wr_savepoint_write_until(const wr_env *env, const char *folder, const wr_manifest *full, const char *target,
                                _Atomic bool *stop, wr_errinfo *info)
{
    saving s = {.env = env, .from = folder, .target = target, .m = *full};
    WR_TRY(make_target(&s, info));
    s.m.arena = (wr_arena){0};
    s.m.kind = WR_SAVEPOINT;
    s.m.base = 0;
    s.m.op = malloc((full->ops + 1) * sizeof *s.m.op);
    s.layer = calloc(full->ops + 1, sizeof *s.layer);
    wr_err err = s.m.op != NULL && s.layer != NULL ? WR_OK : wr_fail(info, WR_MEMORY, "out of memory: a savepoint");
    if (err == WR_OK && full->ops > 0) memcpy(s.m.op, full->op, full->ops * sizeof *s.m.op);
    if (err == WR_OK) err = write_files(&s, full, stop, info);
    if (err == WR_OK) err = keep_files(&s, stop, info);
    if (err == WR_OK && stop != NULL && atomic_load(stop))
        err = wr_fail(info, WR_CANCELED, "the savepoint was given up; %s", target);
    if (err == WR_OK) err = publish(&s, info);
    if (err == WR_OK)
        unlink_one(&s, WR_CLAIM_NAME); /* one that stays harms nobody */
    else
        clean_up(&s);
    wr_arena_fini(&s.arena);
    free(s.m.op);
    free(s.layer);
    return err;
}

wr_err wr_savepoint_write(const wr_env *env, const char *folder, const wr_manifest *full, const char *target,
                          wr_errinfo *info)
{
    return wr_savepoint_write_until(env, folder, full, target, NULL, info);
}
