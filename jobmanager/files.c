#include "jobmanager/files.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/sabotage.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

wr_err wr_path_join(char *to, const char *folder, const char *name, wr_errinfo *info)
{
    int n = snprintf(to, WR_PATH_BYTES_MAX, "%s/%s", folder, name);
    if (n < WR_PATH_BYTES_MAX) return WR_OK;
    return wr_fail(info, WR_LIMIT, "a path is too long; %.200s...; at most %d bytes", folder, WR_PATH_BYTES_MAX);
}

wr_err wr_path_folder(char *to, const char *path, wr_errinfo *info)
{
    size_t n = strlen(path);
    if (n >= WR_PATH_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a path is too long; %.200s...; at most %d bytes", path, WR_PATH_BYTES_MAX);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    if (n == 0) {
        memcpy(to, ".", 2);
        return WR_OK;
    }
    memcpy(to, path, n);
    to[n] = 0;
    return WR_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The file may grow or shrink while it is read: what is read is what there was room for. */
static wr_err read_all(const wr_env *env, int file, const char *path, char *to, size_t room, size_t *n,
                       wr_errinfo *info)
{
    *n = 0;
    while (*n < room) {
        int64_t got = env->pread(env->self, file, to + *n, room - *n, (int64_t)*n);
        if (got < 0) return wr_fail_errno(info, (int)-got, "cannot read %s, offset %zu", path, *n);
        if (got == 0) break;
        *n += (size_t)got;
    }
    return WR_OK;
}

wr_err wr_file_read(const wr_env *env, const char *path, size_t most, char **bytes, size_t *n, wr_errinfo *info)
{
    wr_file_info about;
    int          result = env->stat(env->self, path, &about);
    if (result < 0) return wr_fail_errno(info, -result, "cannot read %s", path);
    if (!about.is_file) return wr_fail(info, WR_DAMAGED, "this is no file; %s", path);
    if (about.bytes < 0 || (uint64_t)about.bytes > most)
        return wr_fail(info, WR_DAMAGED, "the file is too large to be what it is called; %s, %lld bytes", path,
                       (long long)about.bytes);
    int file = env->open(env->self, path, WR_OPEN_READ);
    if (file < 0) return wr_fail_errno(info, -file, "cannot open %s", path);
    char  *to = malloc((size_t)about.bytes + 1);
    wr_err err = to == NULL ? wr_fail(info, WR_MEMORY, "out of memory: %s", path)
                            : read_all(env, file, path, to, (size_t)about.bytes, n, info);
    env->close(env->self, file);
    if (err != WR_OK) {
        free(to);
        return err;
    }
    *bytes = to;
    return WR_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

wr_err wr_folder_sync(const wr_env *env, const char *folder, wr_errinfo *info)
{
    int file = env->open(env->self, folder, WR_OPEN_READ | WR_OPEN_FOLDER);
    if (file < 0) return wr_fail_errno(info, -file, "cannot open the folder %s", folder);
    int result = env->fsync(env->self, file);
    env->close(env->self, file);
    if (result < 0) return wr_fail_errno(info, -result, "cannot sync the folder %s", folder);
    return WR_OK;
}

wr_err wr_folder_make(const wr_env *env, const char *folder, wr_errinfo *info)
{
    char         parent[WR_PATH_BYTES_MAX];
    wr_file_info about;
    int          result = env->mkdir(env->self, folder);
    bool         there = result == -EEXIST;
    if (there) {
        result = env->stat(env->self, folder, &about);
        if (result == 0 && !about.is_folder) result = -ENOTDIR;
    }
    if (result < 0) return wr_fail_errno(info, -result, "cannot make the folder %s", folder);
    WR_TRY(wr_path_folder(parent, folder, info));
    if (!there) return wr_folder_sync(env, parent, info);
    /* Whoever made it may have been killed before this. Where we must not look, it is somebody else's, and old. */
    wr_errinfo silent = {0};
    wr_err     err = wr_folder_sync(env, parent, &silent);
    return err == WR_OK || err == WR_PERMISSION ? WR_OK : wr_fail(info, err, "%s", silent.text);
}

static wr_err write_all(const wr_env *env, int file, const char *path, uint64_t offset, const char *bytes, size_t n,
                        wr_errinfo *info)
{
    for (size_t at = 0; at < n;) {
        int64_t put = env->pwrite(env->self, file, bytes + at, n - at, (int64_t)(offset + at));
        if (put == 0) put = -EIO;
        if (put < 0)
            return wr_fail_errno(info, (int)-put, "cannot write %s, offset %llu", path,
                                 (unsigned long long)(offset + at));
        at += (size_t)put;
    }
    return WR_OK;
}

wr_err wr_file_append(const wr_env *env, const wr_append *to, uint64_t *bytes, const void *record, size_t n,
                      wr_errinfo *info)
{
    wr_err err = write_all(env, to->file, to->path, *bytes, record, n, info);
    if (err == WR_OK) {
        wr_failpoint(to->written);
        int result = env->fsync(env->self, to->file);
        if (result < 0) err = wr_fail_errno(info, -result, "cannot sync %s", to->path);
    }
    if (err != WR_OK) {
        (void)env->truncate(env->self, to->file, (int64_t)*bytes);
        return err;
    }
    wr_failpoint(to->durable);
    *bytes += n;
    return WR_OK;
}

/* The temp is whole and on the disk, or gone. */
static wr_err write_temp(const wr_env *env, const wr_publish *what, const char *temp, const void *bytes, size_t n,
                         wr_errinfo *info)
{
    int file = env->open(env->self, temp, WR_OPEN_WRITE | WR_OPEN_CREATE | WR_OPEN_TRUNCATE);
    if (file < 0) return wr_fail_errno(info, -file, "cannot make %s", temp);
    wr_err err = write_all(env, file, temp, 0, bytes, n, info);
    if (err == WR_OK) wr_failpoint(what->written);
    int result = err == WR_OK && !wr_sabotage.manifest_no_sync ? env->fsync(env->self, file) : 0;
    if (result < 0) err = wr_fail_errno(info, -result, "cannot sync %s", temp);
    result = env->close(env->self, file);
    if (err == WR_OK && result < 0) err = wr_fail_errno(info, -result, "cannot close %s", temp);
    if (err != WR_OK) env->unlink(env->self, temp);
    return err;
}

wr_err wr_file_publish(const wr_env *env, const wr_publish *what, const void *bytes, size_t n, bool *published,
                       wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX], temp[WR_PATH_BYTES_MAX], name[96];
    *published = false;
    snprintf(name, sizeof name, "%s.tmp", what->name);
    WR_TRY(wr_path_join(path, what->folder, what->name, info));
    WR_TRY(wr_path_join(temp, what->folder, name, info));
    WR_TRY(write_temp(env, what, temp, bytes, n, info));
    wr_failpoint(what->synced);
    int result = env->rename(env->self, temp, path);
    if (result < 0) {
        env->unlink(env->self, temp);
        return wr_fail_errno(info, -result, "cannot rename %s", temp);
    }
    *published = true;
    wr_failpoint(what->renamed);
    return wr_sabotage.manifest_no_sync ? WR_OK : wr_folder_sync(env, what->folder, info);
}
