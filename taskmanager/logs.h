/* taskmanager/logs.h: a log in segments: log-OFFSET, named by the place in the whole log at which it begins. */
#ifndef WR_TASKMANAGER_LOGS_H
#define WR_TASKMANAGER_LOGS_H
#include "base/env.h"
#include "base/limits.h"
#include "wire/control.h"

enum { WR_LOG_NAME_BYTES = 32 };

/* The path of the newest segment; of a first one, when there is none. */
wr_err wr_log_newest(const wr_env *env, const char *folder, char path[WR_PATH_BYTES_MAX], wr_errinfo *info);
/* What the log has from piece->offset on, into `to`: sets offset (later, when that is gone already; the last `room`
 * bytes when it is UINT64_MAX), end, data, data_bytes. */
void wr_log_read(const wr_env *env, const char *folder, wr_log_piece *piece, char *to, uint32_t room);
/* True: `path`, a segment, is full; *next is the path of the one behind it, and too old ones are gone. */
bool wr_log_full(const wr_env *env, const char *path, char next[WR_PATH_BYTES_MAX]);
/* Behind that, when `next` is there and nobody writes to `path` any more: what was written to it meanwhile moves the
 * place at which `next` begins, and with it its name. */
void wr_log_settle(const wr_env *env, const char *path, char next[WR_PATH_BYTES_MAX]);

#endif
