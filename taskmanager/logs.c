#include "taskmanager/logs.h"
#include "taskmanager/files.h"
#include <stdlib.h>
#include <string.h>

static bool begins_at(const char *name, uint64_t *offset)
{
    int end = 0;
    return sscanf(name, "log-%20lu%n", offset, &end) == 1 && end == 24 && name[end] == 0;
}

static bool segment_path(char path[WR_PATH_BYTES_MAX], const char *folder, uint64_t offset)
{
    char name[WR_LOG_NAME_BYTES];
    snprintf(name, sizeof name, "log-%020llu", (unsigned long long)offset);
    return wr_tm_path(path, folder, name);
}

/* Sorted by name, and so by offset. */
static uint32_t list(const wr_env *env, const char *folder, uint64_t **offset)
{
    uint32_t count, n = 0;
    char   **name = wr_tm_folder_list(env, folder, &count);
    *offset = calloc(count + 1, sizeof **offset);
    for (uint32_t i = 0; *offset != NULL && i < count; i++)
        if (begins_at(name[i], &(*offset)[n])) n++;
    free(name);
    return n;
}

wr_err wr_log_newest(const wr_env *env, const char *folder, char path[WR_PATH_BYTES_MAX], wr_errinfo *info)
{
    uint64_t *offset;
    uint32_t  n = list(env, folder, &offset);
    bool      fits = offset != NULL && segment_path(path, folder, n > 0 ? offset[n - 1] : 0);
    free(offset);
    return fits ? WR_OK : wr_fail(info, WR_LIMIT, "the path of a log is too long; %.200s", folder);
}

static uint64_t bytes_of(const wr_env *env, const char *folder, uint64_t offset)
{
    char         path[WR_PATH_BYTES_MAX];
    wr_file_info about;
    bool         there = segment_path(path, folder, offset) && env->stat(env->self, path, &about) == 0;
    return there && about.bytes > 0 ? (uint64_t)about.bytes : 0;
}

static uint32_t read_segment(const wr_env *env, const char *folder, uint64_t offset, uint64_t skip, char *to,
                             uint32_t room)
{
    char path[WR_PATH_BYTES_MAX];
    int  file = segment_path(path, folder, offset) ? env->open(env->self, path, WR_OPEN_READ | WR_OPEN_PLAIN) : -1;
    if (file < 0) return 0;
    int64_t got = env->pread(env->self, file, to, room, (int64_t)skip);
    env->close(env->self, file);
    return got > 0 ? (uint32_t)got : 0;
}

void wr_log_read(const wr_env *env, const char *folder, wr_log_piece *piece, char *to, uint32_t room)
{
    uint64_t *offset;
    uint32_t  n = list(env, folder, &offset);
    if (offset == NULL || n == 0) {
        free(offset);
        piece->offset = piece->end = 0;
        return;
    }
    piece->end = offset[n - 1] + bytes_of(env, folder, offset[n - 1]);
    uint64_t at = piece->offset;
    if (at == UINT64_MAX) at = piece->end > room ? piece->end - room : 0;
    if (at > piece->end) at = piece->end;
    if (at < offset[0]) at = offset[0];
    piece->offset = at;
    piece->data = to;
    for (uint32_t i = 0; i < n && piece->data_bytes < room; i++) {
        uint64_t from = offset[i], end = i + 1 < n ? offset[i + 1] : piece->end;
        if (at < from || at >= end) continue;
        uint64_t want = end - at < room - piece->data_bytes ? end - at : room - piece->data_bytes;
        uint32_t got = read_segment(env, folder, from, at - from, to + piece->data_bytes, (uint32_t)want);
        piece->data_bytes += got;
        at += got;
        if (got < want) break;
    }
    free(offset);
}

/* The folder of a segment, and where it begins. */
static bool part(const char *path, char folder[WR_PATH_BYTES_MAX], uint64_t *offset)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || !begins_at(slash + 1, offset) || slash - path >= WR_PATH_BYTES_MAX) return false;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = 0;
    return true;
}

bool wr_log_full(const wr_env *env, const char *path, char next[WR_PATH_BYTES_MAX])
{
    char         folder[WR_PATH_BYTES_MAX];
    wr_file_info about;
    uint64_t     offset, *all;
    if (!part(path, folder, &offset)) return false;
    if (env->stat(env->self, path, &about) < 0 || about.bytes < WR_LOG_SEGMENT_BYTES) return false;
    uint32_t n = list(env, folder, &all);
    for (uint32_t i = 0; all != NULL && i + WR_LOG_SEGMENTS - 1 < n; i++) {
        char old[WR_PATH_BYTES_MAX];
        if (segment_path(old, folder, all[i])) env->unlink(env->self, old);
    }
    free(all);
    return segment_path(next, folder, offset + (uint64_t)about.bytes);
}

void wr_log_settle(const wr_env *env, const char *path, char next[WR_PATH_BYTES_MAX])
{
    char         folder[WR_PATH_BYTES_MAX], right[WR_PATH_BYTES_MAX];
    wr_file_info about;
    uint64_t     offset;
    if (!part(path, folder, &offset) || env->stat(env->self, path, &about) < 0) return;
    if (!segment_path(right, folder, offset + (uint64_t)about.bytes) || strcmp(right, next) == 0) return;
    if (env->rename(env->self, next, right) == 0) memcpy(next, right, sizeof right);
}
