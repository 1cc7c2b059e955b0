/* What the API can say but this version does not run. It is refused, never ignored, and the message names what is
 * there. */
#include "graph/build.h"

static const struct {
    uint32_t    kind;
    const char *what, *instead;
} later_kinds[] = {
    {WEIR_OP_CO_KEYED, "two keyed inputs (WEIR_LEFT and WEIR_RIGHT)",
     "map both streams to one record, join them by weir_union and use WEIR_KEYED"},
    {WEIR_OP_FLAT_MAP_SHARED, "broadcast state (WEIR_FLAT_MAP_SHARED)", "load the values by a resource or .args"},
    {WEIR_OP_KEYED_SHARED, "broadcast state (WEIR_KEYED_SHARED)", "load the values by a resource or .args"},
    {WEIR_OP_UPDATE, "WEIR_UPDATE", "use WEIR_KEYED"},
    {WEIR_OP_JOIN, "WEIR_JOIN", "join the streams by weir_union and use WEIR_KEYED"},
    {WEIR_OP_COGROUP, "WEIR_COGROUP", "join the streams by weir_union and use WEIR_KEYED"},
    {WEIR_OP_ASYNC, "WEIR_ASYNC", "use a map with .blocking = true"},
};

void wr_graph_later_op(weir_pipeline *p, wr_draft *draft)
{
    for (size_t i = 0; i < sizeof later_kinds / sizeof later_kinds[0]; i++) {
        if (draft->node.op->kind != later_kinds[i].kind) continue;
        wr_graph_problem(p, draft, WR_NOT_YET, "%s does not run yet; %s", later_kinds[i].what, later_kinds[i].instead);
        draft->refused = true;
    }
}

void wr_graph_later_job(weir_pipeline *p, const weir_job_options *o)
{
    const char *const call = "weir_configure";
    if (o->mode != WEIR_STREAMING) {
        wr_job_problem(p, WR_NOT_YET, "%s: micro-batch mode does not run yet; leave .mode out", call);
    }
    if (o->trigger || o->interval) {
        wr_job_problem(p, WR_NOT_YET, "%s: batch triggers and .interval do not run yet; leave them out", call);
    }
    if (o->restarts_max) {
        wr_job_problem(p, WR_NOT_YET, "%s: restarts do not run yet; leave .restarts_max out", call);
    }
}
