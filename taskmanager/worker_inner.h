/* taskmanager/worker_inner.h: what worker.c and worker_build.c share. */
#ifndef WR_TASKMANAGER_WORKER_INNER_H
#define WR_TASKMANAGER_WORKER_INNER_H
#include "base/ahead.h"
#include "base/lease.h"
#include "taskmanager/slot.h"

/* Owned by whoever called wr_worker_new; slots belong to their threads between start and join. */
struct wr_worker {
    const wr_exec    *exec;
    wr_worker_options options;
    bool             *here; /* by slot of the job; a copy */
    wr_slot          *slot; /* by place: slots of the job, then own threads; those that are elsewhere have nothing */
    uint32_t          slots;
    wr_tasklet       *tasklet; /* those that are here, in the order of wr_exec.subtask */
    uint32_t          tasklets;
    wr_tasklet      **tasklet_of;  /* by subtask; NULL: elsewhere */
    wr_pipe          *pipe, *free; /* one for each channel with an end here; the next one to be used */
    struct wr_edge   *split_edge;  /* by link: the exchange's edge; the enumerator chooses the channel itself */
    weir_args        *args;        /* by operator instance */
    wr_op           **op_of;       /* by (node, subtask): op_first[node] + subtask; NULL: elsewhere */
    uint32_t         *op_first;
    uint32_t          op_count;
    wr_op           **op; /* those that are here */
    uint32_t          ops;
    uint32_t          event_next, ack_next;
    wr_spares         spares;
    wr_ahead         *ahead;
    wr_scribe       **scribe; /* slot i's is number i mod scribes */
    uint32_t          scribes;
    bool              started, joined;
    _Atomic bool      leaving; /* planes have nothing to carry any more */
    _Atomic int64_t   lease_until_ns;
};

wr_err wr_worker_build(wr_worker *w, wr_errinfo *info);

#endif
