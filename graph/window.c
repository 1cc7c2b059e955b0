/* Windows: which make sense, and what of them does not run yet. */
#include "graph/build.h"

static const char *window_name(uint32_t kind)
{
    static const char *const name[] = {"",      "tumbling", "sliding", "session",  "count",
                                       "delta", "one",      "running", "per-batch"};
    return kind < sizeof name / sizeof name[0] ? name[kind] : "unknown";
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bool timed_kind(uint32_t kind)
{
    return kind == WEIR_TUMBLING || kind == WEIR_SLIDING || kind == WEIR_SESSION;
}

static void check_sizes(weir_pipeline *p, wr_draft *draft, const weir_window *w)
{
    bool count = w->kind == WEIR_COUNT;
    if (w->size <= 0 || (w->kind != WEIR_SESSION && w->slide <= 0)) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         "the %s window has a size, gap or slide that is not above zero; give it one",
                         window_name(w->kind));
        return;
    }
    if (w->kind == WEIR_SESSION) return;
    if (!count && w->slide > w->size) {
        wr_graph_problem(
            p, draft, WR_GRAPH,
            "the sliding window's slide is longer than its size, so that records between two windows would "
            "be lost; choose a slide of at most the size");
        return;
    }
    int64_t slice = gcd(w->size, w->slide);
    if (!count && slice < WR_SLICE_NS_MIN) {
        wr_graph_problem(p, draft, WR_LIMIT,
                         "the window's size and slide have only %lld ns in common; at least %d are needed: choose a "
                         "slide that divides the size",
                         (long long)slice, WR_SLICE_NS_MIN);
    } else if (w->size / slice > WR_SLICES_MAX || (count && w->size > UINT32_MAX)) {
        wr_graph_problem(
            p, draft, WR_LIMIT,
            "the window is %lld times as long as what its size and slide have in common; at most %d times: "
            "choose a longer slide, or one that divides the size",
            (long long)(w->size / slice), WR_SLICES_MAX);
    }
}

static void check_window(weir_pipeline *p, wr_draft *draft, const weir_window_spec *spec)
{
    const weir_window *w = &spec->window;
    bool               slices = w->kind == WEIR_TUMBLING || w->kind == WEIR_SLIDING, timed = timed_kind(w->kind);
    if ((w->clock && !timed) || (w->offset && !slices)) {
        const char *what = w->clock && w->offset ? "clock and no offset" : w->clock ? "clock" : "offset";
        wr_graph_problem(p, draft, WR_GRAPH, "a window of this kind (%s) has no %s; leave %s out", window_name(w->kind),
                         what, w->clock ? "weir_by_clock" : "weir_shifted");
    }
    if (spec->lateness && (!timed || w->clock || spec->lateness < 0)) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         spec->lateness < 0 ? ".lateness is negative"
                                            : ".lateness is for windows of event time that end; leave it out");
    }
    if (slices || w->kind == WEIR_SESSION || w->kind == WEIR_COUNT) check_sizes(p, draft, w);
    const char *later = spec->trigger.kind || spec->trigger.every || spec->trigger.purge || spec->trigger.def
                            ? ".trigger"
                        : spec->evict.kind ? ".evict"
                                           : NULL;
    if (later) {
        wr_graph_problem(p, draft, WR_NOT_YET,
                         "%s does not run yet; leave it out: the result comes when the window ends", later);
    }
}

void wr_graph_window(weir_pipeline *p, wr_draft *draft, const weir_window_spec *spec)
{
    if (draft->refused) return;
    uint32_t           kind = draft->node.op->kind;
    const weir_window *w = &spec->window;
    bool               takes = kind == WEIR_OP_AGGREGATE || kind == WEIR_OP_REDUCE || kind == WEIR_OP_WINDOW;
    if (!takes && w->kind) {
        wr_graph_problem(p, draft, WR_GRAPH, "this kind of operator takes no window; leave weir_window out");
    } else if (takes && !w->kind) {
        wr_graph_problem(p, draft, WR_GRAPH, "it needs a window; put weir_window(stream, weir_one_window()) before it");
    } else if (takes && (w->kind == WEIR_DELTA || w->kind >= WEIR_PER_BATCH)) {
        wr_graph_problem(p, draft, WR_NOT_YET, "%s windows do not run yet; use another kind, or WEIR_KEYED",
                         window_name(w->kind));
    } else if (takes) {
        check_window(p, draft, spec);
    }
}

void wr_graph_windows_timed(weir_pipeline *p)
{
    for (uint32_t i = 0; i < p->drafts; i++) {
        wr_draft          *draft = p->draft[i];
        const weir_window *w = &draft->node.window.window;
        if (w->kind && w->kind != WEIR_GLOBAL && draft->node.upgrade[0]) {
            wr_graph_problem(
                p, draft, WR_NOT_YET,
                ".upgrade of what windows keep does not run yet; fields that are added or widened need none");
        }
        if (draft->node.kind != WR_NODE_OP || draft->refused || draft->node.timed || w->clock || !timed_kind(w->kind))
            continue;
        wr_graph_problem(
            p, draft, WR_GRAPH,
            "its %s window needs event time, and its input has none; put weir_event_time before it, or use "
            "weir_by_clock",
            window_name(w->kind));
    }
}
