/* taskmanager/pieces.h: how many records a task takes at once, and how many results or timers a step makes. Small ones
 * can become large: a function may make a long string of each, or take one from its state. So a task begins with few,
 * looks at how much of what is bounded they used (strings of the step, batches beyond the room of channels), and takes
 * fewer or more the next time. Between two pieces it waits for room like between two batches. */
#ifndef WR_TASKMANAGER_PIECES_H
#define WR_TASKMANAGER_PIECES_H
#include "operators/kernels.h"

struct wr_tasklet;

/* Slot-owned, by its tasklet. */
typedef struct wr_pieces {
    wr_pipe  *pipe;  /* by which `batch` came */
    wr_batch *batch; /* in hand: not all of its records were pushed; NULL: none */
    uint32_t  done;  /* of them */
    uint32_t  most;  /* records of the next piece; 0: none was taken yet */
    /* Results and timers: of the next step; and since that was looked at last. */
    uint32_t results_most;
    uint64_t results, results_used;
} wr_pieces;

/* Pushes a piece of the batch in hand; true: that was the last one, and the batch is the caller's again. */
bool wr_pieces_push(struct wr_tasklet *t);
/* A poll of the source, of a piece. */
enum wr_polled wr_pieces_poll(struct wr_tasklet *t);
/* A step of what event time, the clock or the end brings: wr_op_advance, wr_op_tick, wr_op_end. */
bool wr_pieces_step(struct wr_tasklet *t, wr_op *op, bool (*step)(wr_op *op));
/* The task leaves: what is in hand goes home. */
void wr_pieces_drop(struct wr_tasklet *t);
#endif
