/* Chaining: which edges are calls instead of channels. The rules are Flink's, and one more: between two nodes of
 * parallelism 1 no record changes its place, whatever the route says, so such an edge is a call, too. */
#include "graph/build.h"
#include <stdio.h>

/* The only input of e->to is e. */
static bool chainable(const wr_job *job, const wr_edge *e)
{
    const wr_node *from = &job->node[e->from], *to = &job->node[e->to];
    /* A partitioner of the user's runs always, so that a wrong answer of it shows. */
    bool stays = e->route == WR_ROUTE_FORWARD || (from->parallelism == 1 && e->route != WR_ROUTE_OWN);
    /* Splits of a source can be told apart in its own chain only, so event time goes with whatever feeds it. */
    bool wanted = to->kind == WR_NODE_TIME || (from->chaining != WEIR_CHAIN_NEVER && to->chaining == WEIR_CHAIN);
    return stays && wanted && e->from_port != WR_PORT_DEAD && from->parallelism == to->parallelism &&
           from->blocking == to->blocking && strcmp(from->slot_group, to->slot_group) == 0;
}

/* Appends "a -> (b, c -> d)"; what does not fit is left out. */
static void name_chain(const wr_job *job, uint32_t at, char *text, size_t size)
{
    const wr_node *node = &job->node[at];
    uint32_t       calls = 0, done = 0;
    size_t         used = strlen(text);
    snprintf(text + used, size - used, "%s", node->name);
    for (uint32_t i = 0; i < node->out_edges; i++) calls += job->edge[node->out_edge[i]].chained;
    if (!calls) return;
    used = strlen(text);
    snprintf(text + used, size - used, calls > 1 ? " -> (" : " -> ");
    for (uint32_t i = 0; i < node->out_edges; i++) {
        const wr_edge *e = &job->edge[node->out_edge[i]];
        if (!e->chained) continue;
        used = strlen(text);
        if (done++) snprintf(text + used, size - used, ", ");
        name_chain(job, e->to, text, size);
    }
    used = strlen(text);
    if (calls > 1) snprintf(text + used, size - used, ")");
}

static void finish_task(weir_pipeline *p, wr_task *task, const uint32_t *order)
{
    wr_job   *job = &p->job;
    uint32_t *nodes = wr_arena_array(&p->arena, uint32_t, task->n), n = 0;
    char      text[4 * WR_NAME_BYTES_MAX] = "";
    for (uint32_t i = 0; i < job->nodes; i++) {
        if (job->node[order[i]].task == task->id) nodes[n++] = order[i];
    }
    const wr_node *head = &job->node[nodes[0]];
    task->nodes = nodes;
    task->parallelism = head->parallelism;
    task->max_parallelism = head->max_parallelism;
    task->blocking = head->blocking;
    task->slot_group = head->slot_group;
    name_chain(job, nodes[0], text, sizeof text);
    task->name = wr_arena_str(&p->arena, text);
}

/* In topological order a node meets the task of whatever feeds it. */
void wr_graph_chain(weir_pipeline *p, const uint32_t *order)
{
    wr_job *job = &p->job;
    job->task = wr_arena_array(&p->arena, wr_task, job->nodes);
    for (uint32_t i = 0; i < job->nodes; i++) {
        wr_node *node = &job->node[order[i]];
        wr_edge *feed = node->in_edges == 1 ? &job->edge[node->in_edge[0]] : NULL;
        wr_task *task = feed && chainable(job, feed) ? &job->task[job->node[feed->from].task] : NULL;
        if (task && task->n < WR_CHAIN_MAX) {
            feed->chained = true;
        } else {
            task = &job->task[job->tasks];
            task->id = job->tasks++;
        }
        node->task = task->id;
        task->n++;
    }
    for (uint32_t i = 0; i < job->tasks; i++) finish_task(p, &job->task[i], order);
}
