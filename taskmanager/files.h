/* taskmanager/files.h: whole files and folders through the environment table. Everything blocks. */
#ifndef WR_TASKMANAGER_FILES_H
#define WR_TASKMANAGER_FILES_H
#include "base/env.h"
#include "base/error.h"

/* PATH = FOLDER/NAME in WR_PATH_BYTES_MAX bytes; false: too long. */
bool wr_tm_path(char *path, const char *folder, const char *name);
/* All of it, and a zero byte; free() *bytes. WR_NOT_FOUND; WR_DAMAGED when it is larger than `most`. */
wr_err wr_tm_file_read(const wr_env *env, const char *path, size_t most, char **bytes, size_t *n, wr_errinfo *info);
/* A file of at most `room` - 1 bytes of text; false: none, or larger. */
bool wr_tm_text_read(const wr_env *env, const char *path, char *to, size_t room);
/* Makes it, and all above it. */
wr_err wr_tm_folder_make(const wr_env *env, const char *folder, wr_errinfo *info);
/* The folder and what is in it. What cannot be removed stays. */
void wr_tm_folder_remove(const wr_env *env, const char *folder);
/* The same bit by bit: at most so many entries of it, and for a few milliseconds. True: no more can be done. */
bool wr_tm_folder_remove_some(const wr_env *env, const char *folder, uint32_t most);
/* Entries, sorted; free() the array: the names lie behind it. NULL and 0: none, or it cannot be read. */
char **wr_tm_folder_list(const wr_env *env, const char *folder, uint32_t *count);

#endif
