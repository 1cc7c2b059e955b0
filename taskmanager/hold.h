/* taskmanager/hold.h: inputs ahead in event time wait a little for the one that is behind, where the operator says
 * that having them far apart costs it more (wr_op.apart_ns). Without that, what one hiccup set apart stays apart for as
 * long as both sources go at full speed, and windows are slow for as long.
 *
 * Bounded, so that nothing hangs on it: only while the slowest input brings something all the time, for at most half
 * of the time, and not where the inputs are at quite different times. What is held stays in its channel; its producer
 * feels back-pressure. */
#ifndef WR_TASKMANAGER_HOLD_H
#define WR_TASKMANAGER_HOLD_H
#include "operators/batch.h"

struct wr_tasklet;

/* Slot-owned, a part of its tasklet. */
typedef struct wr_hold {
    int64_t        apart_ns;                    /* in event time; 0: inputs may be as far apart as they like */
    const wr_pipe *slowest;                     /* of those that move event time; NULL: not known */
    int64_t        since_mono_ns, last_mono_ns; /* something was held from then to then */
    int64_t        free_until_mono_ns;          /* nothing is held */
    int64_t        until_mono_ns;               /* something is held until then; 0: nothing is */
} wr_hold;

/* Whether this input is not to be read now. */
bool wr_hold_back(struct wr_tasklet *t, const wr_pipe *p);
/* When something held may be read, for an idle tasklet. */
void wr_hold_waits(const struct wr_tasklet *t, int64_t *until_mono_ns);

#endif
