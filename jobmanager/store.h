/* jobmanager/store.h: the snapshot folder: manifests are committed, listed, read, and what no manifest names is swept.
 *
 * Everything blocks. Functions that write are for the holder of the journal's lock, on one thread. */
#ifndef WR_JOBMANAGER_STORE_H
#define WR_JOBMANAGER_STORE_H
#include "base/env.h"
#include "wire/manifest.h"
#include "wire/names.h"

/* One manifest by its name; nothing of it was read. */
typedef struct wr_store_entry {
    uint64_t id;
    uint32_t epoch;
    int64_t  bytes, changed_ns;
    char     name[WR_FILE_NAME_BYTES];
} wr_store_entry;

/* ---- reading: by anybody, at any time ---- */

/* Manifests in the folder, newest id first. Free *list with free(). A folder that is not there is an empty one. */
wr_err wr_store_list(const wr_env *env, const char *folder, wr_store_entry **list, uint32_t *n, wr_errinfo *info);
/* Any manifest by the path of its file. Free it with wr_manifest_free. */
wr_err wr_store_read(const wr_env *env, const char *path, wr_manifest *m, wr_errinfo *info);
/* The newest snapshot of this lineage (NULL: of any). *found is false when there is none. A newer manifest that cannot
 * be read is an error that names file and offset: nothing older is taken in its place. */
wr_err wr_store_newest(const wr_env *env, const char *folder, const char *lineage, wr_manifest *m, bool *found,
                       wr_errinfo *info);
/* What people name: a manifest's file, a savepoint's folder, or a snapshot folder, whose newest snapshot it means.
 * `folder` (WR_PATH_BYTES_MAX bytes) gets where its data files are. WR_NOT_FOUND when there is none. */
wr_err wr_store_load(const wr_env *env, const char *path, wr_manifest *m, char *folder, wr_errinfo *info);
/* Greatest epoch and id in the names of all files; 0 when there are none. */
wr_err wr_store_greatest(const wr_env *env, const char *folder, uint32_t *epoch, uint64_t *id, wr_errinfo *info);

/* ---- writing ---- */
typedef struct wr_store wr_store; /* Owner: the JobManager's thread */
wr_err wr_store_open(wr_store **take, const wr_env *env, const char *folder, uint32_t epoch, wr_errinfo *info);
void   wr_store_close(wr_store *s); /* NULL is nothing */

/* Commits a snapshot whose data files are durable: when it returns WR_OK it will be found after any crash. On an error
 * it will not, and its data files may go, unless *uncertain (may be NULL) says that nobody knows: nothing is deleted by
 * this store then until a later one is committed. WR_DAMAGED: one of its files, or of those that it builds on, is not
 * there whole. */
wr_err wr_store_commit(wr_store *s, const wr_manifest *m, bool *uncertain, wr_errinfo *info);
void   wr_store_doubt(wr_store *s); /* the last commit is uncertain after all */
/* From now on a sweep keeps files that the manifests that it deletes have named, and no other one: as spares, one for
 * each subtask, so many and of so many bytes altogether, which the next snapshots overwrite. None, 0, also takes away
 * those that there are; so it is at first. */
void wr_store_keep_spares(wr_store *s, uint32_t files, uint64_t bytes);
/* Deletes manifests that are not in keep[], then data files that no manifest left names, and temps. Never: savepoints;
 * files of ids at or above `pending`, the least id of a snapshot that is or may be under way; files of an epoch above
 * ours; files that are not Weir's. While a manifest that stays cannot be read, no data file is deleted, and the error
 * says which. Keep the base of whatever is under way, too. `deleted` may be NULL. */
wr_err wr_store_sweep(wr_store *s, const uint64_t *keep, uint32_t n, uint64_t pending, uint32_t *deleted,
                      wr_errinfo *info);

#endif
