/* jobmanager/files.h: whole files through the environment table: read within a bound, and published so that a reader
 * finds all of it or nothing, whenever the power goes. Everything blocks. */
#ifndef WR_JOBMANAGER_FILES_H
#define WR_JOBMANAGER_FILES_H
#include "base/env.h"
#include "base/error.h"

/* FOLDER/NAME in WR_PATH_BYTES_MAX bytes. */
wr_err wr_path_join(char *to, const char *folder, const char *name, wr_errinfo *info);
/* The folder that a path is in: "." when it has none. */
wr_err wr_path_folder(char *to, const char *path, wr_errinfo *info);

/* All of it; free() *bytes. WR_NOT_FOUND; WR_DAMAGED when it is larger than `most`. */
wr_err wr_file_read(const wr_env *env, const char *path, size_t most, char **bytes, size_t *n, wr_errinfo *info);
wr_err wr_folder_sync(const wr_env *env, const char *folder, wr_errinfo *info);
/* Makes it when it is not there, and its being there durable. Its parent must exist. */
wr_err wr_folder_make(const wr_env *env, const char *folder, wr_errinfo *info);

/* NAME.tmp is written, synced, renamed to NAME, the folder is synced. Each step is a place of base/failpoint.h.
 * *published: it failed only behind the rename, so nobody knows which of the two a crash would leave; else nothing
 * has changed. A descriptor is never synced twice: after an error that would prove nothing. */
typedef struct wr_publish {
    const char *folder, *name;
    const char *written, *synced, *renamed; /* names of the places, each behind its step */
} wr_publish;
wr_err wr_file_publish(const wr_env *env, const wr_publish *what, const void *bytes, size_t n, bool *published,
                       wr_errinfo *info);

/* A record more at the end of a file of *bytes bytes, synced. After an error nobody knows how much of it is on the
 * disk: it is cut off, if the disk can still do that, so that whoever opens the file next does not find what was
 * refused; and the descriptor is to be closed, as above. */
typedef struct wr_append {
    int         file;
    const char *path;
    const char *written, *durable; /* names of the places, as above */
} wr_append;
wr_err wr_file_append(const wr_env *env, const wr_append *to, uint64_t *bytes, const void *record, size_t n,
                      wr_errinfo *info);

#endif
