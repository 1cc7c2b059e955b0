/* wire/snapshot.h: what JobManager and tasks tell each other about snapshots. Plain data: in one process it is passed
 * by pointer, between processes it will be encoded. */
#ifndef WR_WIRE_SNAPSHOT_H
#define WR_WIRE_SNAPSHOT_H
#include "base/arena.h"
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wr_snapshot_kind {
    WR_SNAPSHOT = 1, /* commits sinks, is a base for recovery and for increments */
    WR_SAVEPOINT     /* self-contained; commits nothing, is no base */
};

/* What travels through the streams. Ids rise for ever and are never used twice. */
typedef struct wr_barrier {
    uint64_t id;
    uint64_t base;  /* newest completed ordinary snapshot as the coordinator knows it; 0: none */
    uint32_t kind;  /* enum wr_snapshot_kind */
    uint32_t epoch; /* leader epoch, part of every file's name */
} wr_barrier;

/* A piece of operator state: small, kept in the manifest. What `data` means is the operator's, by `kind`. */
enum wr_item_kind {
    WR_ITEM_SPLIT = 1,   /* a source's split: one reader takes it over */
    WR_ITEM_ENUMERATOR,  /* a known, unassigned split of an enumerator; subtask 0 */
    WR_ITEM_SEEN,        /* what the enumerator has handed out already, so that it does so once */
    WR_ITEM_TIME,        /* greatest event time of a split: every subtask looks at all of them */
    WR_ITEM_COMMITTABLE, /* a prepared write of a two-phase sink */
    WR_ITEM_OWN,         /* of the operator kind itself */
    WR_ITEM_FILE,        /* of savepoints: a file that a committable speaks of: snapshot/kept.h */
    WR_ITEM_WATERMARK    /* event time (8 bytes) that a subtask with keys had come to, while another was behind it */
};
typedef struct wr_item {
    uint32_t kind; /* enum wr_item_kind */
    uint32_t from; /* the subtask that saved it */
    uint32_t bytes;
    char    *data;
} wr_item;

/* A file with keyed state of one subtask: all of it, or what changed since `base`. */
typedef struct wr_state_file {
    char     name[64]; /* within the snapshot directory; "" : none */
    uint64_t bytes;
    uint64_t hash[2];                /* xxh3-128 of the whole file, low half first */
    uint32_t group_first, group_end; /* key groups of the subtask that wrote it */
    bool     increment;
} wr_state_file;

/* State of one operator of a chain in one subtask. */
typedef struct wr_ack_op {
    uint32_t node;      /* id in wr_job.node; an enumerator's acks name its source */
    int64_t  watermark; /* event time it had come to; WEIR_NO_TIME: none */
    bool     table;     /* has keyed state, which is in wr_ack.file under its uid */
    /* Of that state; they live as long as the operator. NULL without. */
    const struct weir_type *record, *state;
    const struct weir_key  *key;
    wr_item                *item;
    uint32_t                items;
} wr_ack_op;

/* Where a snapshot was when it went wrong, and what took its time. */
enum wr_snapshot_phase {
    WR_PHASE_START = 1, /* the barrier is on its way */
    WR_PHASE_ALIGN,
    WR_PHASE_SYNC,  /* at the barrier, processing stands still */
    WR_PHASE_ASYNC, /* captured and written while processing goes on */
    WR_PHASE_MANIFEST,
    WR_PHASE_COMMIT
};
const char *wr_snapshot_phase_name(uint32_t phase);

/* One subtask's answer to a barrier. Made by the task, owned by whoever takes it: wr_ack_free. */
typedef struct wr_ack {
    uint64_t      id;
    uint32_t      subtask, attempt; /* index in wr_exec.subtask */
    bool          declined;         /* info and phase say why and where; nothing else is set */
    uint32_t      phase;
    wr_errinfo    info;
    bool          ended; /* all inputs had ended and all results were given: nothing will come from it again */
    int64_t       start_delay_ns, align_ns, sync_ns, async_ns;
    uint64_t      bytes_full; /* keyed state as it would be written in full */
    wr_ack_op    *op;
    uint32_t      ops;
    wr_state_file file;
    wr_arena      arena; /* of one that came as a message: its types and keys */
} wr_ack;
void wr_ack_free(wr_ack *ack); /* NULL is nothing */

#endif
