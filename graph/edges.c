/* From streams to edges: unions and routes are views, and vanish here. */
#include "graph/build.h"

/* One walk from an input of a draft to the outputs that feed it. */
typedef struct wr_walk {
    weir_pipeline *p;
    wr_draft      *to;
    uint32_t       slot;
    uint32_t       found;  /* edges of this draft, both inputs */
    bool           broken; /* something on the way has a problem of its own */
} wr_walk;

static void add_edge(weir_pipeline *p, const wr_edge *edge)
{
    wr_job *job = &p->job;
    if (job->edges == WR_EDGES_MAX) {
        if (!p->too_many) {
            wr_job_problem(p, WR_LIMIT, "the pipeline has more than %d edges; make it smaller", WR_EDGES_MAX);
        }
        p->too_many = true;
        return;
    }
    if (job->edges >= 16 ? (job->edges & (job->edges - 1)) == 0 : job->edges == 0) {
        wr_edge *grown = wr_arena_array(&p->arena, wr_edge, job->edges ? 2 * job->edges : 16);
        if (job->edges) memcpy(grown, job->edge, job->edges * sizeof *grown);
        job->edge = grown;
    }
    job->edge[job->edges] = *edge;
    job->edge[job->edges].id = job->edges;
    job->edges++;
}

static void leaf(wr_walk *w, const wr_stream *stream, weir_node at, uint32_t route, weir_loop *own)
{
    wr_draft        *from = w->p->draft[stream->node];
    const weir_type *takes = w->to->node.in[w->slot];
    bool             late = at.port == WEIR_PORT_LATE;
    if (late && !wr_graph_can_be_late(&from->node)) {
        w->broken = true;
        wr_graph_problem(
            w->p, w->to, WR_GRAPH,
            "it takes the late records of '%s', which has none: only windows of event time that end refuse "
            "records; leave weir_late out",
            from->node.name);
        return;
    }
    if (!late && at.port >= from->node.outs) {
        w->broken = true;
        wr_graph_problem(w->p, w->to, WR_GRAPH, "it takes output %u of '%s', which has %u; use one of them", at.port,
                         from->node.name, from->node.outs);
        return;
    }
    const weir_type *gives = late ? from->node.in[0] : from->node.out[at.port];
    if (takes && gives && !wr_graph_type_equal(takes, gives)) {
        wr_graph_problem(w->p, w->to, WR_GRAPH, "it takes record '%s', but '%s' gives '%s'; put a map between them",
                         takes->name ? takes->name : "?", from->node.name, gives->name ? gives->name : "?");
    }
    const weir_key *key = &w->to->node.key[w->slot];
    wr_edge         edge = {.from = from->node.id,
                            .from_port = at.port,
                            .to = w->to->node.id,
                            .to_port = w->slot,
                            .route = key->count ? WR_ROUTE_HASH : route,
                            .own = key->count ? NULL : own,
                            .key = *key,
                            .type = gives};
    w->found++;
    add_edge(w->p, &edge);
}

/* The route that stands nearest to the consumer is the one that counts. */
static void walk(wr_walk *w, weir_node at, uint32_t route, weir_loop *own)
{
    weir_pipeline *p = w->p;
    if (at.pipeline != p || at.id >= p->streams) {
        w->broken = true;
        wr_graph_problem(p, w->to, WR_GRAPH, "%s; build its input in this pipeline, before it",
                         !at.pipeline       ? "its input is a stream that was never assigned"
                         : at.pipeline == p ? "its input names no stream"
                                            : "its input belongs to another pipeline");
        return;
    }
    wr_stream *s = p->stream[at.id];
    s->used = true;
    switch (s->kind) {
    case WR_STREAM_NODE: leaf(w, s, at, route, own); return;
    case WR_STREAM_BROKEN:
    case WR_STREAM_FEEDBACK: w->broken = true; return;
    case WR_STREAM_ROUTE:
        if (route == WR_ROUTE_FORWARD) {
            route = s->route;
            own = s->own;
        }
        break;
    default: break;
    }
    if (s->open) {
        w->broken = true;
        wr_graph_problem(p, w->to, WR_GRAPH, "its input is made of itself; close loops by weir_feedback");
        return;
    }
    s->open = true;
    for (uint32_t i = 0; i < s->froms; i++) walk(w, s->from[i], route, own);
    s->open = false;
}

/* Whose stream is this, for messages; NULL: nobody's. */
static const wr_draft *owner(const weir_pipeline *p, weir_node at)
{
    for (uint32_t depth = 0; depth < WR_STREAMS_MAX; depth++) {
        if (at.pipeline != p || at.id >= p->streams) return NULL;
        const wr_stream *s = p->stream[at.id];
        if (s->kind == WR_STREAM_NODE) return p->draft[s->node];
        if (!s->froms) return NULL;
        at = s->from[0];
    }
    return NULL;
}

static const char *owner_text(weir_pipeline *p, const wr_stream *s)
{
    const wr_draft *draft = s->froms ? owner(p, s->from[0]) : NULL;
    return draft ? wr_graph_where(p, draft) : "a stream";
}

static void check_views(weir_pipeline *p, bool loose_ends)
{
    for (uint32_t i = 0; i < p->streams; i++) {
        const wr_stream *s = p->stream[i];
        if (s->kind == WR_STREAM_UNION && s->froms < 2) {
            wr_job_problem(p, WR_GRAPH, "%s: a union needs at least 2 streams; it has %u", owner_text(p, s), s->froms);
        }
        if (loose_ends || s->used) continue;
        if (s->kind == WR_STREAM_ROUTE) {
            wr_job_problem(p, WR_GRAPH, "%s: its stream is %s, but nothing takes the result; use what the call returns",
                           owner_text(p, s), s->own ? "partitioned" : wr_route_name(s->route));
        } else if (s->kind == WR_STREAM_UNION) {
            wr_job_problem(p, WR_GRAPH,
                           "%s: nothing takes the union of its stream and others; use what the call returns",
                           owner_text(p, s));
        }
    }
}

static void connect_draft(weir_pipeline *p, wr_draft *draft)
{
    wr_walk w = {.p = p, .to = draft};
    for (w.slot = 0; w.slot < draft->inputs; w.slot++) {
        walk(&w, draft->input[w.slot], WR_ROUTE_FORWARD, NULL);
    }
    if (w.found > WR_INPUTS_MAX) {
        wr_graph_problem(p, draft, WR_LIMIT, "it takes %u streams; at most %d; put a map over some of them", w.found,
                         WR_INPUTS_MAX);
    }
    if (draft->inputs && !w.found && !w.broken && !draft->wrong) {
        wr_graph_problem(p, draft, WR_GRAPH, "nothing feeds it; give it a stream");
    }
}

bool wr_graph_edges(weir_pipeline *p, bool loose_ends)
{
    for (uint32_t i = 0; i < p->drafts; i++) connect_draft(p, p->draft[i]);
    check_views(p, loose_ends);
    if (p->drafts || p->problems) return true;
    wr_job_problem(p, WR_GRAPH, "the pipeline is empty; it needs a source and a sink at least");
    return false;
}

void wr_graph_dead_edge(weir_pipeline *p, uint32_t from)
{
    wr_edge edge = {.from = from, .from_port = WR_PORT_DEAD, .to = p->dead, .type = &wr_dead_type};
    add_edge(p, &edge);
}

uint32_t wr_job_node_of(const weir_pipeline *p, weir_node at, uint32_t *port)
{
    for (uint32_t i = 0; i < p->streams; i++) { /* a route is another way to the same records */
        if (at.pipeline != p || at.id >= p->streams) return WR_NONE;
        const wr_stream *stream = p->stream[at.id];
        if (stream->kind != WR_STREAM_ROUTE || stream->froms != 1) break;
        at = stream->from[0];
    }
    if (at.pipeline != p || at.id >= p->streams || p->stream[at.id]->kind != WR_STREAM_NODE) return WR_NONE;
    if (port) *port = at.port;
    return p->stream[at.id]->node;
}
