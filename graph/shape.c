/* Validation of the graph as a whole: order and cycles, names, loose ends. */
#include "graph/build.h"
#include <stdio.h>

static void report_cycle(weir_pipeline *p, const uint32_t *left)
{
    char      text[WR_ERROR_BYTES_MAX / 2] = "";
    size_t    used = 0;
    wr_job   *job = &p->job;
    uint32_t *feeder = wr_arena_array(&p->arena, uint32_t, p->drafts), at = WR_NONE;
    bool     *passed = wr_arena_array(&p->arena, bool, p->drafts);
    for (uint32_t i = 0; i < job->edges; i++) {
        if (left[job->edge[i].from] && left[job->edge[i].to]) feeder[at = job->edge[i].to] = job->edge[i].from;
    }
    /* Whatever is left has a feeder that is left: going back as many steps as there are nodes ends on a cycle. */
    for (uint32_t i = 0; i < p->drafts; i++) at = feeder[at];
    for (; !passed[at]; at = feeder[at]) {
        passed[at] = true;
        if (used >= sizeof text) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s'%s'", used ? " <- " : "",
                                 p->draft[at]->node.name);
    }
    wr_job_problem(p, WR_GRAPH, "operators feed themselves (%s <- ...) without weir_feedback; break the cycle", text);
}

/* Kahn's algorithm; among nodes that are free the one that was built first comes first. */
uint32_t *wr_graph_order(weir_pipeline *p)
{
    wr_job   *job = &p->job;
    uint32_t *order = wr_arena_array(&p->arena, uint32_t, p->drafts + 1);
    uint32_t *left = wr_arena_array(&p->arena, uint32_t,
                                    p->drafts + 1); /* 1 + inputs that are not in order yet; 0: done */
    uint32_t  count = 0;
    for (uint32_t i = 0; i < p->drafts; i++) left[i] = 1;
    for (uint32_t i = 0; i < job->edges; i++) left[job->edge[i].to]++;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < p->drafts; i++) {
            if (left[i] != 1) continue;
            left[i] = 0;
            order[count++] = i;
            moved = true;
            for (uint32_t k = 0; k < job->edges; k++) {
                if (job->edge[k].from == i) left[job->edge[k].to]--;
            }
        }
    }
    if (count == p->drafts) return order;
    report_cycle(p, left);
    return NULL;
}

static bool is_io(const wr_draft *draft)
{
    uint32_t kind = draft->node.kind;
    return kind == WR_NODE_SOURCE || kind == WR_NODE_SINK || kind == WR_NODE_READ || kind == WR_NODE_WRITE;
}

static bool clash(weir_pipeline *p, wr_draft *first, wr_draft *second)
{
    if (first->unread || second->unread) return false;
    if (is_io(first) && is_io(second) && strcmp(first->node.name, second->node.name) == 0) {
        wr_graph_problem(p, second, WR_GRAPH, "the name is also that of %s; give one of them its own .name",
                         wr_graph_where(p, first));
        return true;
    }
    if (strcmp(first->node.uid, second->node.uid) == 0) {
        wr_graph_problem(p, second, WR_GRAPH, "its uid '%s' is also that of %s; give one of them its own .uid",
                         second->node.uid, wr_graph_where(p, first));
        return true;
    }
    return false;
}

void wr_graph_check_names(weir_pipeline *p)
{
    for (uint32_t i = 0; i < p->drafts; i++) {
        for (uint32_t k = 0; k < i && !clash(p, p->draft[k], p->draft[i]); k++) {}
    }
}

void wr_graph_check_ends(weir_pipeline *p)
{
    bool *taken = wr_arena_array(&p->arena, bool, p->drafts + 1);
    for (uint32_t i = 0; i < p->job.edges; i++) {
        uint32_t port = p->job.edge[i].from_port;
        if (port != WR_PORT_DEAD && port != WEIR_PORT_LATE) taken[p->job.edge[i].from] = true;
    }
    for (uint32_t i = 0; i < p->drafts; i++) {
        wr_draft *draft = p->draft[i];
        if (taken[i] || !draft->node.outs) continue;
        wr_graph_problem(p, draft, WR_GRAPH,
                         "nothing takes %s; end it in a sink (\"blackhole:\" drops it), or remove it",
                         draft->node.outs == 1 ? "its stream" : "any of its streams");
    }
}
