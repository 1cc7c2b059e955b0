#include "graph/exec.h"
#include "base/check.h"
#include <stdlib.h>

/* A pointwise rescale gives every subtask of the smaller side a contiguous range of the larger one, as Flink does. */
static uint32_t rescale(uint64_t from, uint64_t producers, uint64_t consumers, uint32_t *first)
{
    if (producers < consumers) {
        uint64_t end = ((from + 1) * consumers + producers - 1) / producers;
        *first = (uint32_t)((from * consumers + producers - 1) / producers);
        return (uint32_t)end - *first;
    }
    *first = (uint32_t)(((from + 1) * consumers + producers - 1) / producers - 1);
    return 1;
}

uint32_t wr_channels_of(uint32_t route, uint32_t from, uint32_t producers, uint32_t consumers, uint32_t *first)
{
    *first = 0;
    if (route == WR_ROUTE_RESCALE) return rescale(from, producers, consumers, first);
    if (route != WR_ROUTE_FORWARD) return consumers;
    check(producers == consumers);
    *first = from;
    return 1;
}

static bool enumerates(const wr_node *node)
{
    bool source = node->kind == WR_NODE_SOURCE || node->kind == WR_NODE_READ;
    return source && node->op && node->op->enumerate;
}

static wr_vertex *add_vertex(wr_exec *x, uint32_t kind, const wr_task *task)
{
    wr_vertex *v = &x->vertex[x->vertices];
    v->id = x->vertices++;
    v->kind = kind;
    v->task = task->id;
    v->node = task->nodes[0];
    v->slot_group = task->slot_group;
    v->first_subtask = x->subtasks;
    return v;
}

static void make_vertices(wr_exec *x)
{
    const wr_job *job = x->job;
    x->vertex = wr_arena_array(&x->arena, wr_vertex, 2 * (size_t)job->tasks);
    for (uint32_t i = 0; i < job->tasks; i++) {
        const wr_task *task = &job->task[i];
        const wr_node *head = &job->node[task->nodes[0]];
        if (enumerates(head)) {
            wr_vertex *e = add_vertex(x, WR_VERTEX_ENUMERATOR, task);
            e->name = wr_arena_printf(&x->arena, "%s enumerator", head->name);
            e->parallelism = e->max_parallelism = 1;
            e->blocking = true;
            x->subtasks++;
        }
        wr_vertex *v = add_vertex(x, WR_VERTEX_TASK, task);
        v->name = task->name;
        v->parallelism = task->parallelism;
        v->max_parallelism = task->max_parallelism;
        v->blocking = task->blocking;
        x->subtasks += task->parallelism;
    }
}

static wr_link *add_link(wr_exec *x, uint32_t kind, uint32_t from, uint32_t to)
{
    wr_link *link = &x->link[x->links];
    link->id = x->links++;
    link->kind = kind;
    link->from_vertex = from;
    link->to_vertex = to;
    return link;
}

/* Splits first, then the edges in their order: so both lists of a vertex are in order as well. */
static void make_links(wr_exec *x)
{
    const wr_job *job = x->job;
    uint32_t     *vertex_of = wr_arena_array(&x->arena, uint32_t, job->tasks + 1);
    x->link = wr_arena_array(&x->arena, wr_link, (size_t)job->edges + job->tasks + 1);
    for (uint32_t i = 0; i < x->vertices; i++) {
        const wr_vertex *v = &x->vertex[i];
        if (v->kind == WR_VERTEX_TASK) vertex_of[v->task] = i;
        if (v->kind != WR_VERTEX_ENUMERATOR) continue;
        wr_link *link = add_link(x, WR_LINK_SPLITS, i, i + 1);
        link->edge = WR_NONE;
        link->from_node = link->to_node = v->node;
        link->route = WR_ROUTE_OWN;
        link->type = job->node[v->node].op->state;
    }
    for (uint32_t i = 0; i < job->edges; i++) {
        const wr_edge *e = &job->edge[i];
        if (e->chained) continue;
        wr_link *link = add_link(x, WR_LINK_DATA, vertex_of[job->node[e->from].task], vertex_of[job->node[e->to].task]);
        link->edge = e->id;
        link->from_node = e->from;
        link->from_port = e->from_port;
        link->to_node = e->to;
        link->to_port = e->to_port;
        link->route = e->route;
        link->type = e->type;
    }
}

/* One block for all lists; links are in order, so one pass fills them in order. */
static void list_links(wr_exec *x)
{
    uint32_t  *free_in = wr_arena_array(&x->arena, uint32_t, 2 * (size_t)x->links + 1), *free_out = free_in + x->links;
    uint32_t **at = wr_arena_array(&x->arena, uint32_t *, 2 * (size_t)x->vertices + 1);
    for (uint32_t i = 0; i < x->links; i++) {
        x->vertex[x->link[i].to_vertex].ins++;
        x->vertex[x->link[i].from_vertex].outs++;
    }
    for (uint32_t i = 0; i < x->vertices; i++) {
        wr_vertex *v = &x->vertex[i];
        v->in = at[2 * i] = free_in;
        v->out = at[2 * i + 1] = free_out;
        free_in += v->ins;
        free_out += v->outs;
    }
    for (uint32_t i = 0; i < x->links; i++) {
        *at[2 * x->link[i].to_vertex]++ = i;
        *at[2 * x->link[i].from_vertex + 1]++ = i;
    }
}

static wr_err count_channels(wr_exec *x, wr_errinfo *info)
{
    uint64_t all = 0;
    uint32_t first;
    for (uint32_t i = 0; i < x->links; i++) {
        wr_link *link = &x->link[i];
        uint32_t producers = x->vertex[link->from_vertex].parallelism;
        uint32_t consumers = x->vertex[link->to_vertex].parallelism;
        uint64_t here = 0;
        for (uint32_t from = 0; from < producers; from++) {
            here += wr_channels_of(link->route, from, producers, consumers, &first);
        }
        all += here;
        if (all > WR_CHANNELS_MAX) {
            return wr_fail(info, WR_LIMIT,
                           "pipeline '%s' needs more than %d channels, the last %u x %u of them into '%s'; "
                           "lower the parallelism",
                           x->job->name, WR_CHANNELS_MAX, producers, consumers, x->vertex[link->to_vertex].name);
        }
        link->first_channel = (uint32_t)(all - here);
        link->channels = (uint32_t)here;
    }
    x->channels = (uint32_t)all;
    return WR_OK;
}

static void make_channels(wr_exec *x)
{
    x->channel = wr_arena_array(&x->arena, wr_channel, (size_t)x->channels + 1);
    for (uint32_t i = 0; i < x->links; i++) {
        wr_link         *link = &x->link[i];
        const wr_vertex *from = &x->vertex[link->from_vertex], *to = &x->vertex[link->to_vertex];
        uint32_t         id = link->first_channel;
        uint32_t        *taken = wr_arena_array(&x->arena, uint32_t, to->parallelism);
        for (uint32_t s = 0; s < from->parallelism; s++) {
            uint32_t first, n = wr_channels_of(link->route, s, from->parallelism, to->parallelism, &first);
            for (uint32_t c = 0; c < n; c++, id++) {
                x->channel[id] = (wr_channel){.id = id,
                                              .link = i,
                                              .from = from->first_subtask + s,
                                              .to = to->first_subtask + first + c,
                                              .from_index = c,
                                              .to_index = taken[first + c]++};
            }
        }
    }
}

/* Channels are in order of link, then producer, then consumer: one pass fills both lists of every subtask in order. */
static void list_channels(wr_exec *x)
{
    uint32_t *in = wr_arena_array(&x->arena, uint32_t, (size_t)x->channels + 1);
    uint32_t *out = wr_arena_array(&x->arena, uint32_t, (size_t)x->channels + 1);
    for (uint32_t i = 0; i < x->channels; i++) {
        x->subtask[x->channel[i].from].outs++;
        x->subtask[x->channel[i].to].ins++;
    }
    uint32_t **at = wr_arena_array(&x->arena, uint32_t *, 2 * (size_t)x->subtasks + 1);
    for (uint32_t i = 0; i < x->subtasks; i++) {
        wr_subtask *s = &x->subtask[i];
        s->in = at[2 * i] = in;
        s->out = at[2 * i + 1] = out;
        in += s->ins;
        out += s->outs;
    }
    for (uint32_t i = 0; i < x->channels; i++) {
        *at[2 * x->channel[i].to]++ = i;
        *at[2 * x->channel[i].from + 1]++ = i;
    }
}

/* Every slot group has slots of its own, as many as its widest task; own threads count where there is nothing else, as
 * each belongs to a slot. */
static uint32_t slots_of(const wr_exec *x, const char *group)
{
    uint32_t most = 0, own = 0;
    for (uint32_t i = 0; i < x->vertices; i++) {
        const wr_vertex *v = &x->vertex[i];
        uint32_t        *widest = v->blocking ? &own : &most;
        if (strcmp(v->slot_group, group) == 0 && v->parallelism > *widest) *widest = v->parallelism;
    }
    return most > 0 ? most : own;
}

static void place(wr_exec *x)
{
    uint32_t *base = wr_arena_array(&x->arena, uint32_t, 2 * (size_t)x->vertices + 1), *width = base + x->vertices;
    for (uint32_t i = 0; i < x->vertices; i++) {
        uint32_t k = 0;
        while (strcmp(x->vertex[k].slot_group, x->vertex[i].slot_group) != 0) k++;
        base[i] = k < i ? base[k] : x->slots;
        width[i] = k < i ? width[k] : slots_of(x, x->vertex[i].slot_group);
        if (k == i) x->slots += width[i];
    }
    for (uint32_t i = 0; i < x->vertices; i++) {
        const wr_vertex *v = &x->vertex[i];
        for (uint32_t s = 0; s < v->parallelism; s++) {
            wr_subtask *sub = &x->subtask[v->first_subtask + s];
            sub->id = v->first_subtask + s;
            sub->vertex = i;
            sub->index = s;
            sub->attempt = 1;
            sub->own_thread = v->blocking;
            sub->place = v->blocking ? x->threads++ : base[i] + s;
            sub->slot = base[i] + s % width[i];
            sub->groups = wr_key_groups_of(s, v->parallelism, v->max_parallelism);
        }
    }
}

wr_err wr_exec_new(const wr_job *job, wr_exec **exec, wr_errinfo *info)
{
    wr_exec *x = calloc(1, sizeof *x);
    *exec = NULL;
    if (!x) return wr_fail(info, WR_MEMORY, "no memory for the execution graph");
    wr_arena_init(&x->arena);
    x->job = job;
    make_vertices(x);
    x->subtask = wr_arena_array(&x->arena, wr_subtask, (size_t)x->subtasks + 1);
    make_links(x);
    list_links(x);
    wr_err err = count_channels(x, info);
    if (err) {
        wr_exec_free(x);
        return err;
    }
    make_channels(x);
    list_channels(x);
    place(x);
    *exec = x;
    return WR_OK;
}

void wr_exec_free(wr_exec *x)
{
    if (!x) return;
    wr_arena_fini(&x->arena);
    free(x);
}
