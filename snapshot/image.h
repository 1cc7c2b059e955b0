/* snapshot/image.h: files with keyed state. A writer takes tables through snapshot/capture.h into a file, in steps
 * between batches; a loader fills tables from files; a reader walks them without the pipeline. Format:
 * docs/formats-state.md.
 *
 * File names never repeat (they carry epoch and snapshot id), so a file is written under its own name; it counts once
 * a manifest names it. */
#ifndef WR_SNAPSHOT_IMAGE_H
#define WR_SNAPSHOT_IMAGE_H
#include "base/env.h"
#include "snapshot/table.h"
#include "wire/manifest.h"

/* ---- writing. Owner: the slot that owns the tables ---- */
typedef struct wr_image_writer wr_image_writer;
typedef struct wr_image_config {
    const wr_env *env;
    wr_parker    *parker; /* woken when storage has done something; of the thread that captures */
    const char   *folder; /* of the snapshots */
    const char   *name;   /* of the file, at most 63 bytes */
    int           file;   /* what wr_image_create gave for it: the writer's from now on; 0 or less: it creates it */
    bool        raced; /* without `file`: somebody of this process may be creating it at this moment; then it is used */
    const char *job, *lineage;
    wr_barrier  barrier;
} wr_image_config;

enum wr_image_step {
    WR_IMAGE_MORE = 1, /* did something; call again */
    WR_IMAGE_WAIT,     /* waits for storage */
    WR_IMAGE_DURABLE,  /* all of it is on the disk */
    WR_IMAGE_FAILED
};

/* Makes what the first writer of a table would make at its barrier: buffers and a queue. Optional. The table's
 * thread. */
wr_err wr_image_prepare(wr_table *table, const wr_env *env, wr_parker *parker, wr_errinfo *info);
/* Creates the file of a writer that comes later: creating takes a third of a millisecond, which no slot has. 0 or
 * less: it cannot be done (yet), let the writer try and say why. Any thread. */
int  wr_image_create(const wr_env *env, const char *folder, const char *name);
void wr_image_drop(const wr_env *env, const char *folder, const char *name, int file); /* no writer came */
/* The same without making one: the file `spare` (wire/names.h), which no manifest names, becomes the one that the
 * writer overwrites. 0 or less: it cannot be had, somebody may be reading it, or `name` is there. Any thread. */
int wr_image_reuse(const wr_env *env, const char *folder, const char *spare, const char *name);
/* After DURABLE, before anybody is told of it: takes away what stood there before behind the end of the new one. */
wr_err wr_image_cut(const wr_env *env, const char *folder, const wr_state_file *file, wr_errinfo *info);
/* At the barrier, between batches. */
wr_err wr_image_writer_new(wr_image_writer **take, const wr_image_config *config, wr_errinfo *info);
/* At the barrier, for each table of the subtask: begins its capture. full == false: only what changed since the last
 * begin. uid must outlive the writer. */
wr_err wr_image_writer_add(wr_image_writer *w, const char *uid, wr_table *table, bool full, wr_errinfo *info);
/* Captures about `quantum` bytes and hands full buffers to storage. Ends the captures (wr_capture_end) as soon as the
 * last region is taken, unless another thread captures (wr_capture_apart). */
enum wr_image_step wr_image_writer_step(wr_image_writer *w, uint64_t quantum, wr_errinfo *info);
bool               wr_image_writer_captured(const wr_image_writer *w); /* no undo memory is needed any more */
/* Then the tables' thread ends the captures once wr_image_writer_captured says so; the other may still be stepping.
 * Repeated calls are harmless. */
void     wr_image_writer_settle(wr_image_writer *w);
uint64_t wr_image_writer_undo_bytes(const wr_image_writer *w); /* now, of all its tables */
/* Of entries that had changed since the last barrier; known once all is captured. */
uint64_t wr_image_writer_changed(const wr_image_writer *w);
/* After DURABLE. */
void wr_image_writer_result(const wr_image_writer *w, wr_state_file *file, uint64_t *bytes_full);
/* At any time: ends captures that are open, removes an unfinished file. */
void wr_image_writer_free(wr_image_writer *w);

/* ---- restoring ---- */
/* Reads the whole file: length, checksums, structure. What is wrong is named with file and offset. Any thread. */
wr_err wr_image_check(const wr_env *env, const char *folder, const wr_state_file *file, wr_errinfo *info);
/* Fills an empty table with its key groups from the layers of `op`, whatever subtask wrote them: memcpy where the
 * layout of the entries is the same, else field by field (added fields are zero, removed ones are dropped, integers
 * and floats widen, `upgrade` runs when one of them starts from the snapshot's schema). Thread: the table's. */
wr_err wr_image_load(wr_table *table, const wr_env *env, const char *folder, const wr_manifest_op *op,
                     const weir_upgrade *const *upgrade, wr_errinfo *info);
/* The same, and states whose schema one of the upgrades starts from go through its loop: ctx->state[] are new states of
 * `table`, ctx->other[] the old ones, which lie in *old while the loop runs (NULL otherwise). wr_image_load refuses
 * what needs an upgrade. The loop is user code: whoever knows the operator calls it. */
typedef struct wr_upgrading {
    const weir_upgrade *const *upgrade; /* ends with NULL; NULL: none */
    weir_ctx                  *ctx;     /* whose engine knows the table */
    void (*call)(weir_ctx *ctx, const weir_upgrade *upgrade);
    const wr_table **old; /* may be NULL */
} wr_upgrading;
wr_err wr_image_upgrade(wr_table *table, const wr_env *env, const char *folder, const wr_manifest_op *op,
                        const wr_upgrading *how, wr_errinfo *info);
/* Whether wr_image_load would accept the snapshot's schema for these types, and what it would do; `info` names the
 * field. `upgrade` ends with NULL, or is NULL. Pure. */
enum wr_schema_match { WR_SCHEMA_SAME = 1, WR_SCHEMA_CONVERT, WR_SCHEMA_UPGRADE, WR_SCHEMA_REFUSED };
enum wr_schema_match wr_schema_match(const weir_type *from, const weir_type *to, const weir_upgrade *const *upgrade,
                                     wr_errinfo *info);

/* ---- reading without the pipeline: states of keys, group by group. Any thread ---- */
typedef struct wr_image_reader wr_image_reader;
wr_err wr_image_reader_new(wr_image_reader **take, const wr_env *env, const char *folder, const wr_manifest_op *op,
                           wr_errinfo *info);
/* The next key: `key` is a record of op->record with only the key fields set, `state` one of op->state, whose cells
 * are read through the wr_cell_* getters with `*table`. False: no more, or failed (info->code). */
bool wr_image_reader_next(wr_image_reader *r, const wr_table **table, const void **key, const void **state,
                          wr_errinfo *info);
void wr_image_reader_free(wr_image_reader *r);

#endif
