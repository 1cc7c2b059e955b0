/* operators/kernels.h: the kinds of operators, and what a tasklet asks of a source beyond pushing batches. */
#ifndef WR_OPERATORS_KERNELS_H
#define WR_OPERATORS_KERNELS_H
#include "operators/op.h"

extern const wr_kernel wr_kernel_map, wr_kernel_filter, wr_kernel_flat_map, wr_kernel_keyed, wr_kernel_aggregate,
    wr_kernel_reduce, wr_kernel_source, wr_kernel_sink, wr_kernel_two_phase, wr_kernel_time, wr_kernel_windows;

const wr_kernel *wr_kernel_of_node(const weir_op *def, const wr_node *node); /* NULL: does not run yet */

/* Whether the windows of a snapshot can go on as those of this node: what they are cut by, and what they keep. Then
 * *match is WR_SCHEMA_SAME or WR_SCHEMA_CONVERT, and info->text what becomes other. Pure; a load asks the same. */
wr_err wr_windows_match(const wr_node *node, const wr_manifest_op *saved, uint32_t *match, wr_errinfo *info);

/* A two-phase sink that has found itself in the snapshot from which the job starts. */
bool wr_two_phase_restored(const wr_op *op);
/* How many writes it has prepared that are not committed; while it opens, those of the snapshot. */
uint32_t wr_two_phase_waiting(const wr_op *op);
/* A sink whose committables speak of files says so in its open. The function gives a committable's file, which is kept
 * by savepoints: `path` is where it is, `name` how the sink finds it again (WR_PATH_BYTES_MAX bytes each). False: it
 * has none. */
typedef bool wr_sink_file(void *local, const void *committable, char *path, char *name);
void         wr_two_phase_files(wr_op *op, wr_sink_file *file_of);
/* The file by its name in the savepoint that the job starts from, and its path there; NULL: there is none. */
const struct wr_kept *wr_two_phase_kept(const wr_op *op, const char *name, size_t n, char *path);

/* ---- sources: the head of a chain is polled instead of pushed ---- */

enum wr_polled { WR_POLLED_MORE, WR_POLLED_IDLE, WR_POLLED_EMPTY }; /* EMPTY: no open split is left */

/* Takes a copy of the split and opens it. */
void wr_source_add(wr_op *op, const void *split);
/* Takes a copy of a split that is not wanted yet, at most one: it is in snapshots, and opened by add_held. */
void wr_source_hold(wr_op *op, const void *split);
void wr_source_add_held(wr_op *op);
/* One poll of one split; what it emitted has gone through the chain when it returns. */
enum wr_polled wr_source_poll(wr_op *op);
/* Its open splits: how many, and the number of each, which is the same in every execution; and how often a split has
 * been opened or closed. */
uint32_t wr_source_splits(const wr_op *op);
uint64_t wr_source_split(const wr_op *op, uint32_t index);
uint64_t wr_source_changes(const wr_op *op);
/* For people: the first field of the split of this number, cut; "" when it is not open. */
void wr_source_name(const wr_op *op, uint64_t number, char *text, size_t bytes);
/* For people: the split that is being polled and how far it is: "split a.log (bytes 17, lines 2)"; its numbers only. */
void wr_source_position(const wr_op *op, char *text, size_t bytes);
/* Whether the reader would take another split now: it has none, or those it has are idle or long. */
bool wr_source_wants(const wr_op *op);
/* What an idle source waits for: descriptors (appended, up to WR_PARK_FDS_MAX; more are asked every WR_UNWATCHED_NS)
 * and a point in monotonic time (INT64_MAX: none). */
void wr_source_waits(const wr_op *op, int *fd, uint32_t *fds, int64_t *until_mono_ns);

/* Runs `enumerate` of the source's descriptor: each split is given to take(arg, split record). */
void wr_source_enumerate(wr_op *op, void (*take)(void *arg, const void *split), void *arg);
#endif
