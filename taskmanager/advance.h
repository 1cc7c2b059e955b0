/* taskmanager/advance.h: how event time goes through a task. Watermarks and idleness of its inputs, or what its time
 * operators say, are taken through its operators in order, head first: each does all that is due before those below it
 * learn of the new time. That is a pass; while one is under way, no input is taken. So what an operator's time is when
 * a barrier comes hangs only on the elements before that barrier. Channels are told of the new time at most once in
 * WR_WATERMARK_NS, and when there is nothing else to do, and before each barrier. */
#ifndef WR_TASKMANAGER_ADVANCE_H
#define WR_TASKMANAGER_ADVANCE_H
#include "operators/op.h"

struct wr_tasklet;

/* Slot-owned, a part of its tasklet. */
typedef struct wr_advance {
    bool     timed;     /* an operator has event time */
    uint32_t times;     /* time operators */
    uint32_t ticks;     /* operators that may want to be called by the wall clock */
    bool     news;      /* an input said something since the last pass */
    bool     under_way; /* the pass has come to `at`, which did not finish when `entered` */
    bool     entered;
    uint32_t at;
    bool     idle;         /* of the inputs */
    int64_t  last_mono_ns; /* channels were told, and time operators looked at */
    uint64_t splits_known; /* wr_source_changes of the head */
    int64_t  clock_ns;     /* stands still under back-pressure */
    int64_t  clock_mono_ns;
    bool     end_begun;
} wr_advance;

/* Event time that an operator's keys had come to in a snapshot: the first pass brings it there, with what is due on the
 * way. WR_DAMAGED: what it says is none. */
wr_err wr_advance_load(wr_op *op, const wr_manifest_op *saved, wr_errinfo *info);
/* Operators are open, inputs are known. */
void wr_advance_open(struct wr_tasklet *t);
/* Each call of the tasklet, before it takes input. True: that was this call's work. */
bool wr_advance_step(struct wr_tasklet *t);
/* The same without waiting until it is worth it, since nothing else is to be done. True: call again. */
bool wr_advance_now(struct wr_tasklet *t);
/* Tells the channels how far the operators are. Before a barrier. */
bool wr_advance_tell(struct wr_tasklet *t);
/* All input ended: time goes to its end. True: call again. */
bool wr_advance_end(struct wr_tasklet *t);

/* What inputs say. */
void wr_advance_watermark(struct wr_tasklet *t, wr_pipe *p, int64_t at);
void wr_advance_idle(struct wr_tasklet *t, wr_pipe *p, bool idle);
void wr_advance_ended(struct wr_tasklet *t, wr_pipe *p); /* p->ended is set */

/* When an idle tasklet wants to be called again. */
void wr_advance_waits(const struct wr_tasklet *t, int64_t *until_mono_ns);
#endif
