/* taskmanager/capture.h: the keyed state of one subtask on its way into a file: begun at the barrier, taken and written
 * in steps between batches, answered when it is durable; and what may be left out because an older file has it. */
#ifndef WR_TASKMANAGER_CAPTURE_H
#define WR_TASKMANAGER_CAPTURE_H
#include "snapshot/image.h"
#include "taskmanager/scribe.h"
#include "taskmanager/spares.h"
#include "wire/snapshot.h"

#include <stdatomic.h>

struct wr_tasklet;

/* What the dirty bits of the subtask's tables mean. All of them are captured at the same barriers. Slot-owned. */
typedef struct wr_chain {
    bool     marking; /* changes are marked, since `last` at least */
    uint64_t since;   /* what changed since this snapshot is marked; 0: since none that can be built upon */
    uint64_t last;    /* a capture whose outcome is not known: marked is then what changed since it, and put aside what
                         changed from `since` to it; 0: none */
    bool     last_increment;
    uint64_t last_bytes;
    uint64_t base_bytes, bytes; /* of the full file below `since`, and of the increments up to `since` */
    uint64_t changed;           /* of entries, between two snapshots when it was counted last; 0: never */
    uint32_t layers;            /* increments up to `since` */
} wr_chain;

/* Slot-owned. */
typedef struct wr_capture_state {
    wr_image_writer *writer; /* NULL: nothing is being written */
    wr_scribe_job    job;    /* while somebody else writes it */
    wr_ack          *ack;    /* of the snapshot that is being written */
    wr_barrier       barrier;
    int64_t          began_mono_ns, stepped_mono_ns;  /* stepped: when the last step ended */
    double           credit_ns;                       /* what capturing may take now, while records wait */
    double           ns_per_byte;                     /* smoothed */
    int64_t          judged_mono_ns, judged_spare_ns; /* at the last barrier */
    bool             patient;                         /* the slot has time to spare: records come first */
    bool             full;
    wr_chain         chain;
    uint32_t         unmarked; /* barriers since marking went off */
    uint32_t         named_by; /* number + 1 of the operator that names the files; 0: no tables. Frozen once it runs */
    uint64_t         file_id;  /* a file that was made in advance is for this snapshot; 0: there is none */
    uint32_t         file_epoch;
    int              file;
    _Atomic bool     full_next; /* the next snapshot will probably be a full one; read by the worker's owner */
} wr_capture_state;

/* After open: changes are marked from now on. */
wr_err wr_capture_mark(struct wr_tasklet *t, wr_errinfo *info);
/* Whether some operator has a table. */
bool wr_capture_wanted(const struct wr_tasklet *t);
/* At the barrier. Takes the ack, which it sends when all is durable; on failure the ack is still the caller's. */
wr_err wr_capture_start(struct wr_tasklet *t, const wr_barrier *barrier, wr_ack *ack, wr_errinfo *info);
/* Creates the file for snapshot `barrier`, if it will need one, so that the slot need not; else 0 or less. A full one
 * comes from `spares` if they have one of this subtask; *reused then. Worker's owner, while the task runs. */
int wr_capture_create(const struct wr_tasklet *t, const wr_barrier *barrier, wr_spares *spares, bool *reused);
/* The slot is given such a file. */
void wr_capture_give(struct wr_tasklet *t, const wr_barrier *barrier, int file);
void wr_capture_forget(struct wr_tasklet *t, uint64_t id); /* and takes it away */
/* Such a file will not be used. */
void wr_capture_drop(const struct wr_tasklet *t, const wr_barrier *barrier, int file);
/* What is under way ends without an answer, and its changes are marked again. */
void wr_capture_stop(struct wr_tasklet *t);
/* Before a batch: whether there are too many old bytes to take a record in this call; *called says what was done
 * instead (enum wr_called). */
bool wr_capture_first(struct wr_tasklet *t, uint32_t *called);
/* Behind a batch (waiting == false) a share of the time; else a bounded piece at once. True: did something. */
bool wr_capture_step(struct wr_tasklet *t, bool waiting);
/* Its thread has ended: before the tables go. */
void wr_capture_release(struct wr_tasklet *t);
#endif
