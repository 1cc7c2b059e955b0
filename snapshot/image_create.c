/* snapshot/image_create.c: where a file with keyed state comes from, before its writer: made anew, or one that no
 * manifest names any more, to be overwritten. Overwriting takes about half of the time: its blocks are there.
 *
 * A spare is ours alone when it was opened, held (nobody who opened it under its old name still reads it: readers hold
 * what they read, and look whether the name is still there) and given its new name. Names never repeat, so a spare's
 * name means one file for ever, and the file that was held is the one that was renamed. */
#include "base/check.h"
#include "base/failpoint.h"
#include "snapshot/image_inner.h"
#include <errno.h>

int wr_image_open_write(const wr_env *env, const char *path, int flags)
{
    flags |= WR_OPEN_WRITE;
    int file = env->open(env->self, path, flags | WR_OPEN_DIRECT);
    return file == -EINVAL ? env->open(env->self, path, flags | WR_OPEN_TRUNCATE) : file;
}

static bool path_of(char path[WR_PATH_BYTES_MAX], const char *folder, const char *name)
{
    int n = snprintf(path, WR_PATH_BYTES_MAX, "%s/%s", folder, name);
    return n > 0 && n < WR_PATH_BYTES_MAX;
}

int wr_image_create(const wr_env *env, const char *folder, const char *name)
{
    char path[WR_PATH_BYTES_MAX];
    int  file = path_of(path, folder, name) ? wr_image_open_write(env, path, WR_IMAGE_NEW) : -ENAMETOOLONG;
    if (file == 0) wr_image_drop(env, folder, name, file); /* a process without standard input; 0 means none here */
    return file;
}

void wr_image_drop(const wr_env *env, const char *folder, const char *name, int file)
{
    char path[WR_PATH_BYTES_MAX];
    if (file < 0 || !path_of(path, folder, name)) return;
    (void)env->close(env->self, file);
    (void)env->unlink(env->self, path);
}

int wr_image_reuse(const wr_env *env, const char *folder, const char *spare, const char *name)
{
    char from[WR_PATH_BYTES_MAX], to[WR_PATH_BYTES_MAX];
    if (!path_of(from, folder, spare) || !path_of(to, folder, name)) return -ENAMETOOLONG;
    int file = env->open(env->self, from, WR_OPEN_WRITE | WR_OPEN_DIRECT);
    if (file < 0) return file;
    int result = file == 0 ? -EBADF : env->hold(env->self, file, true);
    if (result == 0) result = env->rename_new(env->self, from, to);
    if (result < 0) {
        (void)env->close(env->self, file);
        return result;
    }
    wr_failpoint("recycling");
    return file;
}

wr_err wr_image_cut(const wr_env *env, const char *folder, const wr_state_file *file, wr_errinfo *info)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    check(path_of(path, folder, file->name));
    int result = env->stat(env->self, path, &about);
    if (result == 0 && (uint64_t)about.bytes <= file->bytes) return WR_OK;
    int open = result == 0 ? env->open(env->self, path, WR_OPEN_WRITE) : result;
    if (open < 0) return wr_fail_errno(info, -open, "cannot shorten snapshot file %s", path);
    result = env->truncate(env->self, open, (int64_t)file->bytes);
    if (result == 0) result = env->fsync(env->self, open);
    int closed = env->close(env->self, open);
    if (result == 0) result = closed;
    return result < 0 ? wr_fail_errno(info, -result, "cannot shorten snapshot file %s", path) : WR_OK;
}
