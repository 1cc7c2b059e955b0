/* graph/remote.h: a job graph as bytes, and back as one that can be planned, placed, snapshot and matched with a
 * snapshot, but not run: there is no user code in it. So the JobManager knows a job without loading it. */
#ifndef WR_GRAPH_REMOTE_H
#define WR_GRAPH_REMOTE_H
#include "graph/job.h"

/* msgpack, with types as schemas. Two processes that build the same job give the same bytes. free() *bytes. */
wr_err wr_remote_encode(const wr_job *job, char **bytes, size_t *n, wr_errinfo *info);

/* Owner: who decoded it, one thread. wr_exec_new, wr_plan_*, wr_restore_match, and the composing of manifests take its
 * job; loops are NULL, connectors and endpoints too. */
typedef struct wr_remote wr_remote;
wr_err                   wr_remote_decode(wr_remote **take, const char *bytes, size_t n, wr_errinfo *info);
const wr_job            *wr_remote_job(const wr_remote *r);
void                     wr_remote_free(wr_remote *r); /* NULL is nothing */
/* The job starts from this snapshot: what is in it keeps its max_parallelism. Before anything is made of the job. */
wr_err wr_remote_restored(wr_remote *r, const wr_manifest *m, wr_errinfo *info);

#endif
