/* Logs of jobs: LOGS/JOB/log-OFFSET, segments whose names say where in the whole log they begin. So an offset names
 * the same byte for ever, whatever has been thrown away. */
#include "taskmanager/files.h"
#include "taskmanager/logs.h"
#include "taskmanager/supervisor_parts.h"
#include <stdlib.h>
#include <string.h>

bool wr_tm_log_folder(const wr_supervisor *s, uint64_t job, char folder[WR_PATH_BYTES_MAX])
{
    return snprintf(folder, WR_PATH_BYTES_MAX, "%s/logs/%016llx", s->folder, (unsigned long long)job) <
           WR_PATH_BYTES_MAX - WR_LOG_NAME_BYTES;
}

/* A worker that is here writes there: it would go on into files that nobody can name, and never turn to the next. */
static bool in_use(const wr_supervisor *s, const char *name)
{
    uint64_t job;
    if (sscanf(name, "%16lx", &job) != 1) return false;
    for (uint32_t i = 0; i < s->workers; i++)
        if (s->worker[i]->job == job) return true;
    return false;
}

/* The folders that nothing was written into for longest go. */
static void sweep(wr_supervisor *s)
{
    char     logs[WR_PATH_BYTES_MAX], path[WR_PATH_BYTES_MAX];
    uint32_t count;
    snprintf(logs, sizeof logs, "%s/logs", s->folder);
    char **name = wr_tm_folder_list(s->files, logs, &count);
    for (uint32_t left = count; left >= WR_LOGS_KEPT; left--) {
        int64_t  oldest_ns = INT64_MAX;
        uint32_t oldest = UINT32_MAX;
        for (uint32_t i = 0; i < count; i++) {
            wr_file_info about;
            if (name[i] == NULL || in_use(s, name[i]) || !wr_tm_path(path, logs, name[i])) continue;
            if (s->files->stat(s->files->self, path, &about) < 0 || about.changed_ns >= oldest_ns) continue;
            oldest_ns = about.changed_ns;
            oldest = i;
        }
        if (oldest == UINT32_MAX) break;
        wr_tm_path(path, logs, name[oldest]);
        wr_tm_folder_remove(s->files, path);
        name[oldest] = NULL;
    }
    free(name);
}

wr_err wr_tm_log_open(wr_supervisor *s, uint64_t job, char path[WR_PATH_BYTES_MAX], wr_errinfo *info)
{
    char folder[WR_PATH_BYTES_MAX];
    if (!wr_tm_log_folder(s, job, folder))
        return wr_fail(info, WR_LIMIT, "the folder's path is too long; %.200s", s->folder);
    sweep(s);
    WR_TRY(wr_tm_folder_make(s->files, folder, info));
    return wr_log_newest(s->files, folder, path, info);
}

void wr_tm_log_tell(wr_supervisor *s, const wr_message *ask)
{
    char       folder[WR_PATH_BYTES_MAX];
    wr_message m = {.kind = WR_MSG_LOG, .job = ask->job, .attempt = ask->attempt, .request = ask->request};
    char      *bytes = malloc(WR_LOG_PIECE_BYTES);
    uint32_t   room = ask->log.data_bytes > 0 && ask->log.data_bytes < WR_LOG_PIECE_BYTES ? ask->log.data_bytes
                                                                                          : WR_LOG_PIECE_BYTES;
    m.log.offset = ask->log.offset;
    m.log.data = "";
    if (bytes != NULL && wr_tm_log_folder(s, ask->job, folder)) wr_log_read(s->files, folder, &m.log, bytes, room);
    wr_tm_send(s, &m);
    free(bytes);
}
