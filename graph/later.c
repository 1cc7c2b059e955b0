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
    {WEIR_OP_WINDOW, "WEIR_WINDOW", "use WEIR_AGGREGATE over weir_one_window(), or WEIR_KEYED with a list"},
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

static const char *window_name(uint32_t kind)
{
    static const char *const name[] = {"",      "tumbling", "sliding", "session",  "count",
                                       "delta", "one",      "running", "per-batch"};
    return kind < sizeof name / sizeof name[0] ? name[kind] : "unknown";
}

void wr_graph_later_window(weir_pipeline *p, wr_draft *draft, const weir_window_spec *spec)
{
    if (draft->refused) return;
    const weir_op     *op = draft->node.op;
    const weir_window *w = &spec->window;
    bool               folds = op->kind == WEIR_OP_AGGREGATE || op->kind == WEIR_OP_REDUCE;
    if (!folds && w->kind) {
        wr_graph_problem(p, draft, WR_GRAPH, "this kind of operator takes no window; leave weir_window out");
        return;
    }
    if (!folds) return;
    if (!w->kind) {
        wr_graph_problem(p, draft, WR_GRAPH, "it needs a window; put weir_window(stream, weir_one_window()) before it");
        return;
    }
    if (w->kind != WEIR_GLOBAL) {
        wr_graph_problem(p, draft, WR_NOT_YET,
                         "%s windows do not run yet; weir_one_window() does: one result per key at the end of input",
                         window_name(w->kind));
        return;
    }
    if (w->clock || w->offset) {
        wr_graph_problem(p, draft, WR_GRAPH, "weir_one_window() has no clock and no offset; leave %s out",
                         w->clock ? "weir_by_clock" : "weir_shifted");
    }
    const char *late = spec->trigger.kind || spec->trigger.every || spec->trigger.purge || spec->trigger.def
                           ? ".trigger"
                       : spec->evict.kind ? ".evict"
                       : spec->lateness   ? ".lateness"
                                          : NULL;
    if (late) {
        wr_graph_problem(p, draft, WR_NOT_YET,
                         "%s does not run yet; leave it out: the result comes at the end of input", late);
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
    if (o->snapshot_every || o->snapshots) {
        wr_job_problem(p, WR_NOT_YET, "%s: snapshots do not run yet; leave .snapshot_every and .snapshots out", call);
    }
    if (o->restarts_max) {
        wr_job_problem(p, WR_NOT_YET, "%s: restarts do not run yet; leave .restarts_max out", call);
    }
}
