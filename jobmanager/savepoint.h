/* jobmanager/savepoint.h: a savepoint: a folder of its own with a manifest and files of logical rows, which can be
 * moved, kept for ever, and read by every later version. Nothing in it refers to anything outside. */
#ifndef WR_JOBMANAGER_SAVEPOINT_H
#define WR_JOBMANAGER_SAVEPOINT_H
#include "base/env.h"
#include "wire/manifest.h"
#include <stdatomic.h>

/* From a full snapshot whose files lie in `folder`. `target` is new or empty; its parent is there. Durable when it
 * returns; on an error what it made is gone. Blocks, for as long as reading and writing all state takes: run it on a
 * thread of its own. `stop` (may be NULL): true ends it soon, with WR_CANCELED. */
wr_err wr_savepoint_write_until(const wr_env *env, const char *folder, const wr_manifest *full, const char *target,
                                _Atomic bool *stop, wr_errinfo *info);
wr_err wr_savepoint_write(const wr_env *env, const char *folder, const wr_manifest *full, const char *target,
                          wr_errinfo *info);

/* Whether one could be written there: the folder and a small file in it are made, and removed again. So a job is not
 * stopped for a savepoint that has no place. */
wr_err wr_savepoint_may_write(const wr_env *env, const char *target, wr_errinfo *info);

/* Makes room for another try of a stop whose savepoint goes there: files that an earlier one left, complete or not, are
 * removed. The folder was empty when the stop was ordered. One of another lineage stays, and so do files that are no
 * savepoint's. */
void wr_savepoint_clear(const wr_env *env, const char *target, const char *lineage);

/* Whether there is a complete one there that this lineage wrote. */
bool wr_savepoint_is_there(const wr_env *env, const char *target, const char *lineage);

/* The files that it keeps for its sinks (snapshot/kept.h): read, their checksums compared. WR_DAMAGED names the file.
 * Of an ordinary snapshot there are none. */
wr_err wr_savepoint_check_kept(const wr_env *env, const char *folder, const wr_manifest *m, wr_errinfo *info);

#endif
