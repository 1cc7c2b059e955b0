/* connectors/names.h: which files a path means: one, a list, a pattern, a folder. */
#ifndef WR_CONNECTORS_NAMES_H
#define WR_CONNECTORS_NAMES_H
#include "base/arena.h"
#include "base/env.h"
#include "base/error.h"

typedef struct wr_name {
    const char *path;
    int64_t     bytes;
} wr_name;

/* Caller's storage, one thread. Names lie in the arena. */
typedef struct wr_names {
    wr_name *name; /* sorted within each pattern and folder, each path once */
    uint32_t count, room;
} wr_names;

/* Parts of `path` are separated by commas; a part is a file, a folder (its files, without hidden ones and those that
 * begin with '_'), or a pattern with * ? [...]. A file that is called like the whole path wins. WR_NOT_FOUND when a
 * part means nothing; WR_CONFIG when it is no regular file. Blocks. */
wr_err wr_names_find(wr_names *names, wr_arena *arena, const wr_env *env, const char *path, wr_errinfo *info);

#endif
