/* jobmanager/compose.h: the manifest of a snapshot, made of what its tasks answered
 * and of the layers that it builds on. */
#ifndef WR_JOBMANAGER_COMPOSE_H
#define WR_JOBMANAGER_COMPOSE_H
#include "graph/exec.h"
#include "wire/manifest.h"

typedef struct wr_compose {
    const wr_exec     *exec;
    wr_barrier         barrier;
    const char        *lineage;
    int64_t            triggered_ns, completed_ns;
    const wr_ack     **ack;  /* by subtask, all of them */
    const wr_manifest *base; /* the one that increments build on; may be NULL when
                              there are none */
} wr_compose;

/* Fills *m, which borrows items from the acks and all else from the exec or its
 * own arena. WR_INTERNAL when an increment does not fit `base`: then nothing
 * may be written. */
wr_err wr_compose_manifest(wr_manifest *m, const wr_compose *c, wr_errinfo *info);

#endif
