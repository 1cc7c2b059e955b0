#include "taskmanager/files.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool wr_tm_path(char *path, const char *folder, const char *name)
{
    return snprintf(path, WR_PATH_BYTES_MAX, "%s/%s", folder, name) < WR_PATH_BYTES_MAX;
}

static int64_t fill(const wr_env *env, int file, char *to, size_t room)
{
    size_t n = 0;
    while (n < room) {
        int64_t got = env->read(env->self, file, to + n, room - n);
        if (got < 0) return got;
        if (got == 0) break;
        n += (size_t)got;
    }
    return (int64_t)n;
}

wr_err wr_tm_file_read(const wr_env *env, const char *path, size_t most, char **bytes, size_t *n, wr_errinfo *info)
{
    wr_file_info about;
    int          result = env->stat(env->self, path, &about);
    if (result < 0) return wr_fail_errno(info, -result, "cannot read %s", path);
    if (!about.is_file || about.bytes < 0 || (uint64_t)about.bytes > most)
        return wr_fail(info, WR_DAMAGED, "this is not what it is called: no file, or larger than %zu bytes; %s", most,
                       path);
    int file = env->open(env->self, path, WR_OPEN_READ);
    if (file < 0) return wr_fail_errno(info, -file, "cannot open %s", path);
    *bytes = malloc((size_t)about.bytes + 1);
    int64_t got = *bytes != NULL ? fill(env, file, *bytes, (size_t)about.bytes) : -ENOMEM;
    env->close(env->self, file);
    if (got < 0) {
        free(*bytes);
        *bytes = NULL;
        return wr_fail_errno(info, (int)-got, "cannot read %s", path);
    }
    *n = (size_t)got;
    (*bytes)[*n] = 0;
    return WR_OK;
}

bool wr_tm_text_read(const wr_env *env, const char *path, char *to, size_t room)
{
    to[0] = 0;
    int file = env->open(env->self, path, WR_OPEN_READ);
    if (file < 0) return false;
    int64_t got = fill(env, file, to, room);
    env->close(env->self, file);
    bool fits = got >= 0 && (size_t)got < room;
    to[fits ? got : 0] = 0;
    return fits;
}

wr_err wr_tm_folder_make(const wr_env *env, const char *folder, wr_errinfo *info)
{
    char   path[WR_PATH_BYTES_MAX];
    size_t n = strlen(folder);
    if (n == 0 || n >= sizeof path)
        return wr_fail(info, WR_LIMIT, "a folder's path is empty or too long; %.200s", folder);
    memcpy(path, folder, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        path[i] = 0;
        int result = env->mkdir(env->self, path);
        if (result < 0 && result != -EEXIST) {
            wr_file_info about; /* somebody else's folder above ours may not be ours to make */
            if (env->stat(env->self, path, &about) < 0 || !about.is_folder)
                return wr_fail_errno(info, -result, "cannot make the folder %s", path);
        }
        if (i < n) path[i] = '/';
    }
    return WR_OK;
}

/* ---- folders ---- */

typedef struct names {
    char    *bytes;
    size_t   used, room;
    uint32_t count;
    bool     failed;
} names;

static bool add_name(void *arg, const char *name)
{
    names *all = arg;
    size_t n = strlen(name) + 1;
    if (all->used + n > all->room) {
        size_t room = 2 * all->room + n + 256;
        char  *grown = realloc(all->bytes, room);
        if (grown == NULL) {
            all->failed = true;
            return false;
        }
        all->bytes = grown;
        all->room = room;
    }
    memcpy(all->bytes + all->used, name, n);
    all->used += n;
    all->count++;
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **wr_tm_folder_list(const wr_env *env, const char *folder, uint32_t *count)
{
    names all = {0};
    *count = 0;
    int    result = env->list(env->self, folder, add_name, &all);
    char **name = result >= 0 && !all.failed ? malloc((all.count + 1) * sizeof *name + all.used) : NULL;
    if (name != NULL) {
        char *at = (char *)(name + all.count + 1);
        if (all.used > 0) memcpy(at, all.bytes, all.used);
        for (uint32_t i = 0; i < all.count; i++, at += strlen(at) + 1) name[i] = at;
        name[all.count] = NULL;
        if (all.count > 1) qsort(name, all.count, sizeof *name, by_text);
        *count = all.count;
    }
    free(all.bytes);
    return name;
}

/* ---- removing ---- */

enum { LEVELS = 16 /* user code may have made any number of them */, LOOK = 128, SOME_MS = 20 };

/* What is left of one step. Caller's storage. */
typedef struct budget {
    uint32_t entries;
    int64_t  until_ns; /* INT64_MAX: no limit, and the clock is not asked */
} budget;

static bool spent(const wr_env *env, const budget *b)
{
    return b->entries == 0 || (b->until_ns != INT64_MAX && env->mono_ns(env->self) >= b->until_ns);
}

static bool add_some(void *arg, const char *name)
{
    return add_name(arg, name) && ((names *)arg)->count < LOOK;
}

/* True: it is gone, or what is left of it cannot be removed. */
static bool remove_below(const wr_env *env, const char *folder, int levels, budget *b)
{
    for (bool stuck = false; !stuck;) {
        names all = {0};
        bool  out = false;
        int   result = env->list(env->self, folder, add_some, &all);
        stuck = true;
        const char *name = all.bytes;
        for (uint32_t i = 0; result >= 0 && i < all.count && !out; i++, name += strlen(name) + 1) {
            char path[WR_PATH_BYTES_MAX];
            out = spent(env, b);
            if (out || !wr_tm_path(path, folder, name)) continue;
            b->entries -= b->entries != UINT32_MAX;
            bool gone = env->unlink(env->self, path) >= 0;
            if (!gone && levels > 0) {
                out = !remove_below(env, path, levels - 1, b);
                gone = !out && env->rmdir(env->self, path) >= 0;
            }
            stuck = stuck && !gone;
        }
        free(all.bytes);
        if (out) return false;
    }
    return true;
}

void wr_tm_folder_remove(const wr_env *env, const char *folder)
{
    budget all = {UINT32_MAX, INT64_MAX};
    remove_below(env, folder, LEVELS, &all);
    env->rmdir(env->self, folder);
}

bool wr_tm_folder_remove_some(const wr_env *env, const char *folder, uint32_t most)
{
    budget some = {most, env->mono_ns(env->self) + SOME_MS * INT64_C(1000000)};
    if (!remove_below(env, folder, LEVELS, &some)) return false;
    env->rmdir(env->self, folder);
    return true;
}
