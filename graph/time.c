/* Event time: the nodes that give it, which streams have it, and whose late records go somewhere. */
#include "graph/build.h"
#include <stdio.h>

/* The first output that feeds a stream, for its name and its record; NULL: nothing readable does. */
static const wr_draft *first_feeder(const weir_pipeline *p, weir_node at, uint32_t *port)
{
    for (uint32_t depth = 0; depth < WR_STREAMS_MAX; depth++) {
        if (at.pipeline != p || at.id >= p->streams) return NULL;
        const wr_stream *s = p->stream[at.id];
        *port = at.port;
        if (s->kind == WR_STREAM_NODE) return p->draft[s->node];
        if (!s->froms) return NULL;
        at = s->from[0];
    }
    return NULL;
}

static const weir_type *type_of(const wr_draft *draft, uint32_t port)
{
    if (port == WEIR_PORT_LATE) return draft->node.in[0];
    return port < draft->node.outs && draft->node.out ? draft->node.out[port] : NULL;
}

/* "clicks-time": stays the same while the pipeline around it changes, since snapshots match on it. */
static const char *time_name(weir_pipeline *p, const wr_draft *feeder)
{
    const char *stem = feeder && feeder->node.name ? feeder->node.name : "event";
    for (uint32_t n = 1;; n++) {
        const char *name = n == 1 ? wr_arena_printf(&p->arena, "%.100s-time", stem)
                                  : wr_arena_printf(&p->arena, "%.100s-time-%u", stem, n);
        bool        taken = false;
        for (uint32_t i = 0; i < p->drafts; i++) {
            const wr_node *other = &p->draft[i]->node;
            taken |= other->kind == WR_NODE_TIME && other->uid && strcmp(other->uid, name) == 0;
        }
        if (!taken) return name;
    }
}

static void check_options(weir_pipeline *p, wr_draft *draft, const weir_time_options *o)
{
    if (o->max_delay < 0 || o->idle_after < 0) {
        wr_graph_problem(p, draft, WR_GRAPH, "%s is negative; give a duration, or leave it out",
                         o->max_delay < 0 ? ".max_delay" : ".idle_after");
    }
    if (o->max_delay && draft->node.watermark) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         "its watermarks come from %s, which .max_delay does not change; leave it out",
                         draft->node.watermark->name ? draft->node.watermark->name : "an own function");
    }
    if (o->align_group || o->align_drift_max) {
        wr_graph_problem(p, draft, WR_NOT_YET,
                         "%s does not run yet; leave it out: a source that is ahead is not held back",
                         o->align_group ? ".align_group" : ".align_drift_max");
    }
}

static void check_field(weir_pipeline *p, wr_draft *draft, const weir_type *type)
{
    for (uint32_t i = 0; type && type->field && i < type->fields; i++) {
        const weir_field *f = &type->field[i];
        if (f->offset == draft->node.time_offset && f->kind == WEIR_TIME) return;
    }
    if (!type) return;
    wr_graph_problem(p, draft, WR_GRAPH, "offset %u of record '%s' is no weir_time; name a field that is one",
                     draft->node.time_offset, type->name ? type->name : "?");
}

weir_node weir_graph_time(weir_node from, uint32_t field_offset, const weir_watermark_def *own,
                          const weir_time_options *options)
{
    weir_pipeline    *p = wr_graph_pipeline_of(from, "weir_event_time");
    weir_node         node;
    uint32_t          port = 0;
    weir_time_options o;
    const wr_draft   *feeder = first_feeder(p, from, &port);
    const weir_type  *type = feeder ? type_of(feeder, port) : NULL;
    const char       *name = time_name(p, feeder);
    wr_draft         *draft = wr_graph_draft(p, WR_NODE_TIME, &node);
    if (!draft) return node;
    wr_node *n = &draft->node;
    wr_graph_common(p, draft, NULL, name);
    n->on_error = WEIR_FAIL; /* it has nothing to reject */
    n->time_offset = field_offset;
    n->watermark = own;
    n->in[0] = type;
    draft->inputs = 1;
    draft->input[0] = from;
    wr_graph_give(draft, type);
    weir_op *op = wr_arena_array(&p->arena, weir_op, 1);
    *op = (weir_op){.abi_size = sizeof *op,
                    .kind = WR_OP_TIME,
                    .name = n->name,
                    .file = "",
                    .outs = 1,
                    .left = type,
                    .out = &draft->out_one,
                    .on_left = own ? own->loop : NULL};
    n->op = op;
    if (own && !own->loop) wr_graph_problem(p, draft, WR_GRAPH, "its WEIR_WATERMARK has no function; give it one");
    if (!wr_graph_options(p, draft, options, &o, sizeof o, "weir_time_options")) return node;
    n->max_delay = o.max_delay;
    n->idle_after = o.idle_after;
    check_options(p, draft, &o);
    check_field(p, draft, type);
    return node;
}

/* ---- it runs where its input runs, so that it can be called by it ------------------------------------------------ */

void wr_graph_time_blocking(weir_pipeline *p, wr_draft *draft)
{
    bool all = false, none = true;
    draft->node.chaining = WEIR_CHAIN;
    for (uint32_t i = 0; i < p->job.edges; i++) {
        if (p->job.edge[i].to != draft->node.id) continue;
        const wr_node *from = &p->draft[p->job.edge[i].from]->node;
        bool           blocking = from->blocking;
        if (from->chaining == WEIR_CHAIN_NEVER) draft->node.chaining = WEIR_CHAIN_NEVER; /* for those behind it */
        all = none ? blocking : all && blocking;
        none = false;
    }
    draft->node.blocking = all;
}

void wr_graph_time_parallelism(weir_pipeline *p, wr_draft *draft)
{
    wr_node *n = &draft->node;
    n->parallelism = n->max_parallelism = 1;
    for (uint32_t i = 0; i < p->job.edges; i++) {
        if (p->job.edge[i].to != n->id) continue;
        const wr_node *from = &p->draft[p->job.edge[i].from]->node;
        if (from->parallelism < n->parallelism) continue;
        n->parallelism = from->parallelism;
        n->max_parallelism = from->max_parallelism;
    }
}

/* ---- which streams have event time ------------------------------------------------------------------------------- */

static bool edge_timed(const weir_pipeline *p, const wr_edge *e)
{
    return e->from_port != WR_PORT_DEAD && p->draft[e->from]->node.timed;
}

/* Records of some inputs would have times, those of others none. */
static void check_mixed(weir_pipeline *p, wr_draft *draft)
{
    const wr_edge *with = NULL, *without = NULL;
    for (uint32_t i = 0; i < p->job.edges; i++) {
        const wr_edge *e = &p->job.edge[i];
        if (e->to != draft->node.id) continue;
        if (edge_timed(p, e))
            with = with ? with : e;
        else
            without = without ? without : e;
    }
    if (!with || !without) return;
    wr_graph_problem(
        p, draft, WR_GRAPH,
        "its records from '%s' have event time, those from '%s' have none; put weir_event_time on both, or "
        "on their union",
        p->draft[with->from]->node.name, p->draft[without->from]->node.name);
}

void wr_graph_timed(weir_pipeline *p, const uint32_t *order)
{
    for (uint32_t i = 0; i < p->drafts; i++) {
        wr_draft *draft = p->draft[order[i]];
        wr_node  *n = &draft->node;
        n->timed = n->kind == WR_NODE_TIME;
        for (uint32_t k = 0; k < p->job.edges && n->kind != WR_NODE_DEAD_LETTERS; k++) {
            if (p->job.edge[k].to == n->id) n->timed |= edge_timed(p, &p->job.edge[k]);
        }
        if (n->kind != WR_NODE_TIME && n->kind != WR_NODE_DEAD_LETTERS) check_mixed(p, draft);
    }
}

/* ---- late records ------------------------------------------------------------------------------------------------ */

bool wr_graph_can_be_late(const wr_node *n)
{
    const weir_window *w = &n->window.window;
    return !w->clock && (w->kind == WEIR_TUMBLING || w->kind == WEIR_SLIDING || w->kind == WEIR_SESSION);
}

/* Tests may look at late records that nothing takes. */
void wr_graph_late(weir_pipeline *p, bool all)
{
    for (uint32_t i = 0; i < p->drafts; i++) {
        wr_node *n = &p->draft[i]->node;
        for (uint32_t k = 0; k < p->job.edges; k++) {
            const wr_edge *e = &p->job.edge[k];
            n->late |= e->from == n->id && e->from_port == WEIR_PORT_LATE;
        }
        n->late |= all && n->timed && wr_graph_can_be_late(n);
    }
}
