/* taskmanager/barrier.h: what a subtask does about snapshots: alignment, the step at the barrier, aborts, answers. */
#ifndef WR_TASKMANAGER_BARRIER_H
#define WR_TASKMANAGER_BARRIER_H
#include "operators/batch.h"
#include "taskmanager/capture.h"
#include "taskmanager/command.h"

struct wr_tasklet;

/* What a subtask knows of snapshots. Slot-owned but for the mail. */
typedef struct wr_barriers {
    wr_mail          mail;
    const char      *folder; /* of the snapshots; NULL: none are taken, barriers are passed on all the same */
    const char      *lineage;
    int64_t          timeout_ns; /* of one snapshot; 0: none */
    bool             news;       /* an answer was sent since the slot looked */
    uint64_t         last;   /* the greatest id that was seen or called off: it and those below are not begun again */
    uint64_t         marked; /* the greatest id whose abort was told to those below */
    uint64_t         passed; /* the newest one that was saved here, or restored */
    uint64_t         completed; /* the greatest id that was told to the operators */
    uint32_t         epoch;     /* the greatest that was seen */
    bool             aligning;  /* `now` came by some inputs; no input that delivered it is read */
    bool             due;       /* it came by all of them: wr_barrier_pass is next, before any input */
    bool             wanted;    /* heads: `want` was ordered and is not taken yet */
    wr_barrier       now, want;
    int64_t          triggered_mono_ns; /* of `now`; 0: not known */
    int64_t          arrived_mono_ns;   /* its first barrier */
    int64_t          want_mono_ns;
    wr_capture_state capture;
} wr_barriers;

void wr_barriers_init(wr_barriers *b, const char *folder, const char *lineage, int64_t timeout_ns);
void wr_barriers_fini(struct wr_tasklet *t); /* its thread has ended */

/* Takes orders; true: there were some, and an operator may have failed. Cheap when there are none. */
bool wr_barrier_orders(struct wr_tasklet *t);
/* A head, between two batches: begins the snapshot that was ordered. True: it did. */
bool wr_barrier_head(struct wr_tasklet *t);
/* When it is due and all that came before it is done: saves, begins to capture, passes it on. */
void wr_barrier_pass(struct wr_tasklet *t);
/* A barrier came by input p. */
void wr_barrier_take(struct wr_tasklet *t, wr_pipe *p, const wr_batch *b);
/* Snapshot id will not complete. */
void wr_barrier_abort(struct wr_tasklet *t, uint64_t id);
/* Answers of this subtask. `ack` is the owner's from now on. */
void wr_barrier_answer(struct wr_tasklet *t, wr_ack *ack);
void wr_barrier_decline(struct wr_tasklet *t, uint64_t id, uint32_t phase, const wr_errinfo *info);
#endif
