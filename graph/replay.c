/* Exactly once is from end to end: what a restart takes back, a source must be able to read again. */
#include "graph/build.h"

/* By node: a source of the kind whose records come to it, or NULL. Edges are in no order of their own: until nothing is
 * new. */
static void spread(const wr_job *job, const wr_node **gone)
{
    for (bool news = true; news;) {
        news = false;
        for (uint32_t i = 0; i < job->edges; i++) {
            const wr_edge *e = &job->edge[i];
            if (gone[e->from] == NULL || gone[e->to] != NULL) continue;
            gone[e->to] = gone[e->from];
            news = true;
        }
    }
}

wr_err wr_job_replays(const wr_job *job, wr_errinfo *info)
{
    wr_arena        arena = {0};
    const wr_node **gone = wr_arena_array(&arena, const wr_node *, job->nodes + 1);
    wr_err          err = WR_OK;
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node *n = &job->node[i];
        if (n->kind == WR_NODE_SOURCE && n->connector != NULL && n->connector->flags & WEIR_CONNECTOR_GONE) gone[i] = n;
    }
    spread(job, gone);
    for (uint32_t i = 0; i < job->nodes && err == WR_OK; i++) {
        const wr_node *n = &job->node[i];
        if (n->kind != WR_NODE_SINK || n->guarantee != WEIR_EXACTLY_ONCE || gone[i] == NULL) continue;
        err = wr_fail(
            info, WR_OPTION,
            "sink '%s' asks for WEIR_EXACTLY_ONCE, but what '%s' (%s) has read cannot be read again: a restart "
            "would lose what came after the last snapshot; write the input to a file first, leave .guarantee "
            "out, or take no snapshots",
            n->name, gone[i]->name, gone[i]->uri);
    }
    wr_arena_fini(&arena);
    return err;
}
