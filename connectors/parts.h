/* connectors/parts.h: a folder of result files, written exactly once.
 *
 * A file is begun as ".NAME.open"; closed and on the disk it is ".NAME.pending", which a snapshot knows; when that
 * snapshot is durable it becomes NAME. NAME is JOB-UID-LINEAGE-SUBTASK-EPOCH-NUMBER.EXTENSION: no two files ever have
 * the same, and those of a subtask sort in the order of their records. */
#ifndef WR_CONNECTORS_PARTS_H
#define WR_CONNECTORS_PARTS_H
#include "connectors/writer.h"

/* A pending file, as snapshots hold it. */
typedef struct wr_part {
    weir_str name;
    uint64_t bytes;
} wr_part;
extern const weir_type wr_part_type;

/* Owner: one subtask of a file sink, on the thread of its loops. Zero is closed. */
typedef struct wr_parts {
    wr_writer writer;
    char     *folder;
    char      job[80];    /* "JOB-UID-": of every file of this sink, whoever wrote it */
    char      prefix[96]; /* "JOB-UID-LINEAGE-" */
    char      extension[8];
    char      name[160];  /* of the file being written */
    int       file;       /* its descriptor + 1; 0: none */
    int64_t   opened_ns;  /* monotonic */
    uint64_t  roll_bytes; /* a file of this size is closed; 0: never */
    int64_t   roll_every_ns;
    uint64_t  epoch, number; /* of the file that was begun last */
    bool      sync;
    bool      replaces; /* what an earlier run left goes with the first prepare: all tasks have opened by then */
    wr_part  *closed;   /* since the last prepare; their names are ours */
    uint32_t  closeds, room;
} wr_parts;

/* False after they have failed the task. `restored`: the job goes on from a snapshot that knows this sink. */
bool wr_parts_open(wr_parts *parts, weir_ctx *ctx, bool restored);
void wr_parts_close(wr_parts *parts, weir_ctx *ctx); /* what is not committed stays hidden */
void wr_parts_write(wr_parts *parts, weir_ctx *ctx);
bool wr_parts_prepare(wr_parts *parts, weir_ctx *ctx);
/* Both look at ctx->in, ctx->n wr_part. */
weir_commit wr_parts_commit(wr_parts *parts, weir_ctx *ctx);
/* Whether a file of this name may be one that a sink of this uid has finished, in whatever job. */
bool wr_parts_is_result(const char *file, const char *uid);
/* A committable's file, as wr_sink_file says. */
bool wr_parts_file(const wr_parts *parts, const void *committable, char *path, char *name);
bool wr_parts_recover(wr_parts *parts, weir_ctx *ctx, const weir_sink_id *id);

#endif
