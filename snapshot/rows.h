/* snapshot/rows.h: the files of a savepoint: keyed state as logical rows (key, fields, rows of cells), independent of
 * how entries lie in memory. Format: docs/formats-savepoint.md. Everything blocks; any thread that owns the table. */
#ifndef WR_SNAPSHOT_ROWS_H
#define WR_SNAPSHOT_ROWS_H
#include "base/env.h"
#include "base/limits.h"
#include "snapshot/table.h"
#include "wire/manifest.h"
#include <stdatomic.h>

#define WR_ROWS_MAGIC "WEIRROWS"

static inline bool wr_rows_is(const char first8[8])
{
    return memcmp(first8, WR_ROWS_MAGIC, 8) == 0;
}

/* ---- writing ---- */
typedef struct wr_rows_target {
    const char   *folder, *name; /* a new file */
    const char   *job, *lineage;
    uint64_t      snapshot;
    _Atomic bool *stop; /* true: give up soon (WR_CANCELED); may be NULL */
} wr_rows_target;
/* All keyed state of `op`, whose files lie in `from`, into one file, which is durable (not its name) afterwards. On an
 * error the file is gone. */
wr_err wr_rows_write(const wr_env *env, const char *from, const wr_manifest_op *op, const wr_rows_target *target,
                     wr_state_file *file, wr_errinfo *info);

/* ---- reading ---- */
/* Which of them have the time of their last write: keys, and the rows of the cell state->field[i]. */
typedef struct wr_rows_stamps {
    bool keys;
    bool cell[WR_FIELDS_MAX];
} wr_rows_stamps;
wr_err wr_rows_stamps_of(const wr_env *env, const char *folder, const wr_manifest_op *op, wr_rows_stamps *stamps,
                         wr_errinfo *info);
/* Puts the rows of key groups [group_first, group_end) into an empty table of exactly the types op->record, op->key and
 * op->state. Stamps go where the table has room for them; where there are none, wr_table_now counts. */
wr_err wr_rows_fill(wr_table *table, const wr_env *env, const char *folder, const wr_manifest_op *op,
                    uint32_t group_first, uint32_t group_end, wr_errinfo *info);
/* The whole file: length, checksums, structure. */
wr_err wr_rows_check(const wr_env *env, const char *folder, const wr_state_file *file, wr_errinfo *info);

#endif
