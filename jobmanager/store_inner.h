/* jobmanager/store_inner.h: what store.c and store_sweep.c share. */
#ifndef WR_JOBMANAGER_STORE_INNER_H
#define WR_JOBMANAGER_STORE_INNER_H
#include "base/limits.h"
#include "jobmanager/store.h"

/* Names of one folder. Caller's storage, one thread. */
typedef struct wr_store_names {
    char (*name)[WR_FILE_NAME_BYTES + 4];
    uint32_t count, room;
    bool     full; /* out of memory */
} wr_store_names;

/* The data files that one manifest names: read once, since a manifest never changes. */
typedef struct wr_store_marks {
    uint64_t id;
    uint32_t epoch, count;
    char (*name)[WR_FILE_NAME_BYTES];
} wr_store_marks;

struct wr_store {
    const wr_env   *env;
    char            folder[WR_PATH_BYTES_MAX];
    uint32_t        epoch;
    bool            uncertain; /* a commit ended nobody knows how: nothing is deleted until a later one is durable */
    bool            unsynced;  /* manifests were deleted, and the folder not synced since */
    uint32_t        spare_files;
    uint64_t        spare_bytes;
    wr_store_marks *mark;
    uint32_t        marked;
    char (*retired)[WR_FILE_NAME_BYTES]; /* what manifests named that went in this sweep */
    uint32_t retireds;
};

/* Sorted, so that a simulated run does not depend on the folder's order. A folder that is not there has none. Free
 * all->name. */
wr_err wr_store_names_list(const wr_env *env, const char *folder, wr_store_names *all, wr_errinfo *info);
/* A manifest under another name would be another snapshot than it says. */
wr_err wr_store_read_entry(const wr_env *env, const char *folder, const wr_store_entry *e, wr_manifest *m,
                           wr_errinfo *info);

#endif
