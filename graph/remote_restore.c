/* What starts from a snapshot keeps the key groups that its state was cut by, as wr_job_settings.restore does where the
 * build function runs: the same numbers, so that both sides get the same bytes. */
#include "graph/build.h"
#include "graph/remote.h"

static void as_its_input(wr_job *job, wr_node *time)
{
    uint32_t widest = 1;
    time->max_parallelism = 1;
    for (uint32_t i = 0; i < job->edges; i++) {
        if (job->edge[i].to != time->id) continue;
        const wr_node *from = &job->node[job->edge[i].from];
        if (from->parallelism < widest) continue;
        widest = from->parallelism;
        time->max_parallelism = from->max_parallelism;
    }
}

wr_err wr_remote_restored(wr_remote *r, const wr_manifest *m, wr_errinfo *info)
{
    wr_job *job = (wr_job *)(uintptr_t)wr_remote_job(r); /* its owner's */
    for (uint32_t i = 0; i < job->nodes; i++) {
        wr_node *n = &job->node[i];
        if (n->kind == WR_NODE_TIME) {
            as_its_input(job, n);
            continue;
        }
        const wr_manifest_op *op = wr_manifest_find(m, n->uid);
        if (op == NULL || op->max_parallelism == 0) continue;
        if (op->max_parallelism < n->parallelism)
            return wr_fail(info, WR_STATE,
                           "%s: parallelism %u is above the max_parallelism of %u that its state was written with; "
                           "lower it",
                           n->uid, n->parallelism, op->max_parallelism);
        n->max_parallelism = op->max_parallelism;
    }
    for (uint32_t i = 0; i < job->tasks; i++)
        job->task[i].max_parallelism = job->node[job->task[i].nodes[0]].max_parallelism;
    job->fingerprint = wr_graph_fingerprint(job);
    return WR_OK;
}
