/* From the pipeline to the job: every pass looks at everything, so that all problems come at once. */
#include "base/check.h"
#include "graph/build.h"
#include <stdio.h>

static const weir_field *field_at(const weir_type *type, uint32_t offset)
{
    for (uint32_t i = 0; type && i < type->fields; i++) {
        if (type->field[i].offset == offset) return &type->field[i];
    }
    return NULL;
}

const char *wr_key_field_name(const weir_type *type, uint32_t offset)
{
    const weir_field *field = field_at(type, offset);
    return field ? field->name : "?";
}

const char *wr_route_name(uint32_t route)
{
    static const char *const names[] = {"forward", "rebalance", "rescale", "shuffle",
                                        "global",  "broadcast", "own",     "hash"};
    return route < sizeof names / sizeof names[0] ? names[route] : "?";
}

const char *wr_node_kind_name(const wr_node *node)
{
    static const char *const ops[] = {
        "?",
        "map",
        "filter",
        "flat map",
        "keyed",
        "co-keyed",
        "flat map shared",
        "keyed shared",
        "aggregate",
        "reduce",
        "window",
        "update",
        "join",
        "cogroup",
        "async",
        "source",
        "sink",
        "two-phase sink",
    };
    switch (node->kind) {
    case WR_NODE_OP: return node->op && node->op->kind < sizeof ops / sizeof ops[0] ? ops[node->op->kind] : "?";
    case WR_NODE_SOURCE:
    case WR_NODE_READ: return "source";
    case WR_NODE_SINK:
    case WR_NODE_WRITE: return "sink";
    case WR_NODE_DEAD_LETTERS: return "dead letters";
    case WR_NODE_TIME: return "event time";
    default: return "?";
    }
}

/* Tables from nodes to edges: left inputs first, outputs by port. */
void wr_graph_link_nodes(wr_arena *arena, wr_job *job)
{
    uint32_t *in = wr_arena_array(arena, uint32_t, job->edges + 1);
    uint32_t *out = wr_arena_array(arena, uint32_t, job->edges + 1);
    for (uint32_t n = 0; n < job->nodes; n++) {
        wr_node *node = &job->node[n];
        node->in_edge = in;
        node->out_edge = out;
        for (uint32_t port = 0; port < 2; port++) {
            for (uint32_t i = 0; i < job->edges; i++) {
                if (job->edge[i].to == n && job->edge[i].to_port == port) in[node->in_edges++] = i;
            }
        }
        for (uint32_t port = 0; port < node->outs; port++) {
            for (uint32_t i = 0; i < job->edges; i++) {
                if (job->edge[i].from == n && job->edge[i].from_port == port) out[node->out_edges++] = i;
            }
        }
        for (uint32_t i = 0; i < job->edges; i++) {
            const wr_edge *e = &job->edge[i];
            bool           beside = e->from_port == WR_PORT_DEAD || e->from_port == WEIR_PORT_LATE;
            if (e->from == n && beside) out[node->out_edges++] = i;
        }
        in += node->in_edges;
        out += node->out_edges;
    }
}

static wr_err give_problems(weir_pipeline *p, wr_errinfo *info)
{
    char     text[WR_ERROR_BYTES_MAX];
    wr_err   err = p->problem_code[0];
    size_t   used = 0;
    uint32_t all = p->problems + p->problems_more, said = 0;
    for (uint32_t i = 1; i < p->problems; i++) {
        if (p->problem_code[i] != err) err = WR_GRAPH;
    }
    if (p->problems_more) {
        p->problem[WR_PROBLEMS_MAX] = wr_arena_printf(&p->arena, "and %u more problems", p->problems_more);
    }
    if (all == 1) return wr_fail(info, err, "pipeline '%s': %s", p->name, p->problem[0]);
    used = (size_t)snprintf(text, sizeof text, "pipeline '%.*s' has %u problems", WR_NAME_BYTES_MAX, p->name, all);
    for (; said < p->problems; said++) {
        size_t n = strlen(p->problem[said]);
        if (used + n + 40 > sizeof text) break;
        used += (size_t)snprintf(text + used, sizeof text - used, "\n  %s", p->problem[said]);
    }
    if (said < all) snprintf(text + used, sizeof text - used, "\n  and %u more", all - said);
    return wr_fail(info, err, "%s", text);
}

wr_err wr_job_finish(weir_pipeline *p, const wr_job_settings *settings, const wr_job **out, wr_errinfo *info)
{
    static const wr_job_settings none;
    wr_job                      *job = &p->job;
    uint32_t                    *order = NULL;
    check(!p->finished);
    p->finished = true;
    *out = NULL;
    if (!settings) settings = &none;
    job->name = p->name;
    wr_graph_set(p, settings);
    if (wr_graph_edges(p, settings->loose_ends)) {
        wr_graph_check_names(p);
        if (!settings->loose_ends) wr_graph_check_ends(p);
        wr_graph_endpoints(p, settings);
        wr_graph_compare(p, settings);
        wr_graph_parallelism(p, settings);
        wr_graph_policies(p);
        order = wr_graph_order(p);
        if (order) {
            wr_graph_timed(p, order);
            wr_graph_windows_timed(p);
        }
    }
    if (p->problems) return give_problems(p, info);
    check(order);
    wr_graph_routes(p);
    wr_graph_groups(p, order);
    wr_graph_late(p, settings->loose_ends);
    job->nodes = p->drafts;
    job->node = wr_arena_array(&p->arena, wr_node, job->nodes);
    for (uint32_t i = 0; i < job->nodes; i++) job->node[i] = p->draft[i]->node;
    wr_graph_link_nodes(&p->arena, job);
    wr_graph_chain(p, order);
    job->fingerprint = wr_graph_fingerprint(job);
    *out = job;
    return WR_OK;
}
