/* operators/kernels.h: the kinds of operators, and what a tasklet asks of a source beyond pushing batches. */
#ifndef WR_OPERATORS_KERNELS_H
#define WR_OPERATORS_KERNELS_H
#include "operators/op.h"

extern const wr_kernel wr_kernel_map, wr_kernel_filter, wr_kernel_flat_map, wr_kernel_keyed, wr_kernel_aggregate,
    wr_kernel_reduce, wr_kernel_source, wr_kernel_sink, wr_kernel_two_phase;

/* A two-phase sink that has found itself in the snapshot from which the job starts. */
bool wr_two_phase_restored(const wr_op *op);

/* ---- sources: the head of a chain is polled instead of pushed ---- */

enum wr_polled { WR_POLLED_MORE, WR_POLLED_IDLE, WR_POLLED_EMPTY }; /* EMPTY: no open split is left */

/* Takes a copy of the split and opens it. */
void wr_source_add(wr_op *op, const void *split);
/* One poll of one split; what it emitted has gone through the chain when it returns. */
enum wr_polled wr_source_poll(wr_op *op);
/* Whether the reader would take another split now: it has none, or those it has are idle or long. */
bool wr_source_wants(const wr_op *op);
/* What an idle source waits for: a file descriptor (or -1) and a point in monotonic time (INT64_MAX: none). */
void wr_source_waits(const wr_op *op, int *fd, int64_t *until_mono_ns);

/* Runs `enumerate` of the source's descriptor: each split is given to take(arg, split record). */
void wr_source_enumerate(wr_op *op, void (*take)(void *arg, const void *split), void *arg);
#endif
