/* taskmanager/pieces.h: how many records a task takes at once. Small ones can become large: a function may make a long
 * string of each, or take one from its state. So a task begins with few, looks at how much of what is bounded they
 * used (strings of the step, batches beyond the room of channels), and takes fewer or more the next time. Between two
 * pieces it waits for room like between two batches. */
#ifndef WR_TASKMANAGER_PIECES_H
#define WR_TASKMANAGER_PIECES_H
#include "operators/batch.h"

struct wr_tasklet;

/* Slot-owned, by its tasklet. */
typedef struct wr_pieces {
    wr_pipe  *pipe;  /* by which `batch` came */
    wr_batch *batch; /* in hand: not all of its records were pushed; NULL: none */
    uint32_t  done;  /* of them */
    uint32_t  most;  /* records of the next piece; 0: none was taken yet */
} wr_pieces;

/* Pushes a piece of the batch in hand; true: that was the last one, and the batch is the caller's again. */
bool wr_pieces_push(struct wr_tasklet *t);
/* How many records a source may emit in its next poll. */
uint32_t wr_pieces_most(struct wr_tasklet *t);
/* Bytes that the task has used so far; only differences mean something. */
uint64_t wr_pieces_used(const struct wr_tasklet *t);
/* A piece of n records used so many bytes: how many the next one has. */
void wr_pieces_learn(wr_pieces *p, uint64_t n, uint64_t used);
/* The task leaves: what is in hand goes home. */
void wr_pieces_drop(struct wr_tasklet *t);
#endif
