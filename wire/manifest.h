/* wire/manifest.h: a snapshot's description of itself. With this file and the data files that it names, a snapshot can
 * be restored, read and checked without the pipeline and without any other file. Encoded as msgpack behind a magic
 * number and a version, with a checksum at the end: docs/formats-manifest.md.
 *
 * Plain data, owned by its arena: wr_manifest_free ends all of it. */
#ifndef WR_WIRE_MANIFEST_H
#define WR_WIRE_MANIFEST_H
#include "base/arena.h"
#include "wire/snapshot.h"
#include <weir/op.h>

#define WR_MANIFEST_VERSION 1u

/* A file, and when it must be applied: 0 the full one, then increments in order. */
typedef struct wr_manifest_layer {
    wr_state_file file;
    uint64_t      snapshot; /* the one that wrote it */
    uint32_t      from;     /* subtask that wrote it, as numbered then */
    uint32_t      order;
} wr_manifest_layer;

/* One stateful operator, source or sink. */
typedef struct wr_manifest_op {
    const char        *uid, *name;
    uint32_t           kind; /* enum weir_op_kind */
    uint32_t           parallelism, max_parallelism;
    bool               ended;     /* every subtask had ended */
    int64_t            watermark; /* least of its subtasks */
    wr_item           *item;      /* of all subtasks, by `from` */
    uint32_t           items;
    wr_manifest_layer *layer;
    uint32_t           layers;
    const weir_type   *record, *state; /* schemas: of the keyed input and the state; of splits, committables: state */
    weir_key           key;
} wr_manifest_op;

typedef struct wr_manifest {
    uint32_t        version, kind; /* enum wr_snapshot_kind */
    uint64_t        id, base;
    uint32_t        epoch;
    const char     *job, *lineage, *weir;       /* weir: version that wrote it */
    int64_t         triggered_ns, completed_ns; /* wall clock */
    uint64_t        fingerprint;                /* of the job graph */
    bool            ended;                      /* every task had ended: the job is finished */
    wr_manifest_op *op;
    uint32_t        ops;
    wr_arena        arena;
} wr_manifest;

/* The whole file, checksum included; the caller frees *bytes with free(). WR_LIMIT when it would not fit the bounds
 * that decode checks. Any thread. */
wr_err wr_manifest_encode(const wr_manifest *m, char **bytes, size_t *n, wr_errinfo *info);
/* Fills *m, whose memory is its own: `bytes` may go. `name` (of the file) is for messages. WR_DAMAGED with the offset,
 * WR_NEWER when a later version of the format wrote it; then there is nothing to free. */
wr_err wr_manifest_decode(wr_manifest *m, const char *bytes, size_t n, const char *name, wr_errinfo *info);
void   wr_manifest_free(wr_manifest *m); /* zero is nothing */
/* NULL: none with this uid. */
const wr_manifest_op *wr_manifest_find(const wr_manifest *m, const char *uid);

#endif
