/* Builds slots, tasklets, channels and data planes from the execution graph. */
#include "base/check.h"
#include "net/plane.h"
#include "taskmanager/worker_inner.h"
#include <stdio.h>
#include <stdlib.h>

static void *zeroed(size_t count, size_t size, size_t align)
{
    size_t bytes = (count * size + align - 1) & ~(align - 1);
    void  *p = aligned_alloc(align, bytes ? bytes : align);
    if (p != NULL) memset(p, 0, bytes);
    return p;
}

static wr_slot *slot_of(const wr_worker *w, const wr_subtask *s)
{
    return &w->slot[s->own_thread ? w->exec->slots + s->place : s->place];
}

static bool is_here(const wr_worker *w, uint32_t subtask)
{
    return w->here == NULL || w->here[w->exec->subtask[subtask].slot];
}

static wr_err build_slot(wr_worker *w, uint32_t i, uint64_t share, uint32_t tasklets, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    wr_slot       *s = &w->slot[i];
    const wr_env  *env = w->options.env;
    bool           own = i >= x->slots;
    s->home.env = env;
    s->home.parker = &s->parker;
    s->home.budget = &s->budget;
    s->home.random = wr_prng_of(w->options.seed + i);
    s->home.slot = i;
    s->home.attempt = w->here != NULL ? w->options.attempt : 0;
    s->home.job = w->options.job;
    s->home.lineage = w->options.lineage;
    s->home.snapshots = w->options.snapshots != NULL;
    s->home.lease_until_ns = w->here != NULL ? &w->lease_until_ns : NULL;
    s->budget.bytes_max = share;
    s->spin = !own && w->options.spin;
    s->cpu = !own && w->options.cpu != NULL ? w->options.cpu[i] : -1;
    s->notify = w->options.notify;
    s->notify_self = w->options.self;
    s->leaving = &w->leaving;
    snprintf(s->name, sizeof s->name, own ? "weir-own-%u" : "weir-slot-%u", own ? i - x->slots : i);
    int got = env->parker_init(env->self, &s->parker);
    if (got < 0)
        return wr_fail_errno(info, -got, "cannot make an event descriptor for slot %u; raise the limit of open files",
                             i);
    s->tasklet = calloc(tasklets + 1, sizeof(wr_tasklet *));
    if (s->tasklet == NULL) return wr_fail(info, WR_MEMORY, "no memory for the tasklets of slot %u", i);
    return WR_OK;
}

static wr_err build_slots(wr_worker *w, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    w->slots = x->slots + x->threads;
    w->slot = zeroed(w->slots, sizeof *w->slot, WR_CACHE_LINE);
    uint32_t *tasklets = calloc(w->slots + 1, sizeof *tasklets), local = 0;
    wr_err    err = WR_OK;
    if (w->slot == NULL || tasklets == NULL) err = wr_fail(info, WR_MEMORY, "no memory for %u slots", w->slots);
    for (uint32_t i = 0; err == WR_OK && i < x->subtasks; i++) {
        if (is_here(w, i)) tasklets[slot_of(w, &x->subtask[i]) - w->slot]++;
    }
    for (uint32_t i = 0; i < x->slots; i++) local += w->here == NULL || w->here[i];
    if (w->here != NULL && local > (uint32_t)w->options.env->cpu_count(w->options.env->self)) w->options.spin = false;
    uint64_t share = local > 0 ? w->options.state_max / local : 0;
    for (uint32_t i = 0; err == WR_OK && i < w->slots; i++) {
        bool wanted = i < x->slots ? w->here == NULL || w->here[i] : tasklets[i] > 0;
        if (wanted) err = build_slot(w, i, share, tasklets[i], info);
    }
    free(tasklets);
    return err;
}

static void args_bad(void *self, const char *text)
{
    wr_op *op = self;
    wr_op_fail(op, WR_CONFIG, "%s; operator %s subtask %u; correct it behind `--` or in .args", text, op->node->uid,
               op->subtask);
}

static void place_op(wr_worker *w, wr_op *op, const wr_node *node, wr_home *home, uint32_t subtask)
{
    uint32_t at = w->op_first[node->id] + subtask;
    op->def = node->op;
    op->node = node;
    op->home = home;
    op->subtask = subtask;
    op->subtasks = node->parallelism;
    op->max_parallelism = node->max_parallelism;
    op->endpoint = node->endpoint;
    w->args[at] = wr_args_view(node->arguments, args_bad, op);
    op->args = &w->args[at];
    w->op_of[at] = op;
}

static wr_err build_chain(wr_worker *w, wr_tasklet *t, wr_errinfo *info)
{
    const wr_job  *job = w->exec->job;
    const wr_task *task = &job->task[t->vertex->task];
    t->op = zeroed(task->n, sizeof(wr_op), WR_CACHE_LINE);
    if (t->op == NULL) return wr_fail(info, WR_MEMORY, "no memory for task %s", task->name);
    t->ops = task->n;
    for (uint32_t i = 0; i < task->n; i++) {
        place_op(w, &t->op[i], &job->node[task->nodes[i]], t->home, t->subtask->index);
        t->op[i].task = t->subtask->id;
        WR_TRY(wr_op_init(&t->op[i], info));
    }
    return WR_OK;
}

static wr_err build_enumerator(wr_worker *w, wr_tasklet *t, wr_errinfo *info)
{
    const wr_node *node = &w->exec->job->node[t->vertex->node];
    t->enumerator = calloc(1, sizeof *t->enumerator);
    if (t->enumerator == NULL) return wr_fail(info, WR_MEMORY, "no memory for the enumerator of %s", node->uid);
    wr_op like = {.def = node->op, .node = node, .home = t->home, .endpoint = node->endpoint};
    WR_TRY(wr_enumerator_init(t->enumerator, &like, info));
    uint32_t at = w->op_count + node->id; /* behind the operators' */
    w->args[at] = wr_args_view(node->arguments, args_bad, &t->enumerator->op);
    t->enumerator->op.args = &w->args[at];
    return WR_OK;
}

static wr_err build_tasklets(wr_worker *w, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    for (uint32_t i = 0; i < x->subtasks; i++) {
        if (!is_here(w, i)) continue;
        wr_tasklet       *t = w->tasklet_of[i] = &w->tasklet[w->tasklets++];
        const wr_subtask *s = &x->subtask[i];
        wr_slot          *slot = slot_of(w, s);
        t->vertex = &x->vertex[s->vertex];
        t->subtask = s;
        t->home = &slot->home;
        t->attempt = w->here != NULL ? w->options.attempt : s->attempt;
        t->wait_go = w->here != NULL && w->options.wait_go;
        t->wait_run = w->here == NULL && w->options.wait_run;
        t->watermark = WEIR_NO_TIME;
        t->discover_mono_ns = INT64_MAX;
        t->reported = WR_TASK_CREATED;
        t->restore = w->options.restore;
        t->restore_folder = w->options.restore_folder != NULL ? w->options.restore_folder : w->options.snapshots;
        wr_barriers_init(&t->barriers, w->options.snapshots, w->options.lineage, w->options.snapshot_timeout_ns);
        if (t->restore != NULL) t->barriers.passed = t->restore->id;
        atomic_init(&t->state, WR_TASK_CREATED);
        slot->tasklet[slot->tasklets++] = t;
        if (t->vertex->kind == WR_VERTEX_ENUMERATOR)
            WR_TRY(build_enumerator(w, t, info));
        else
            WR_TRY(build_chain(w, t, info));
        t->in = calloc(s->ins + 1, sizeof *t->in);
        t->exchange = zeroed(t->vertex->outs + 1, sizeof *t->exchange, WR_CACHE_LINE);
        if (t->in == NULL || t->exchange == NULL)
            return wr_fail(info, WR_MEMORY, "no memory for the channels of %s", t->vertex->name);
    }
    return WR_OK;
}

static wr_err add_target(wr_op *op, uint32_t port, wr_target target, wr_errinfo *info)
{
    bool     beside = port == WR_PORT_DEAD || port == WEIR_PORT_LATE;
    wr_emit *e = port == WR_PORT_DEAD ? op->dead : port == WEIR_PORT_LATE ? op->late : &op->emit[port];
    check(e != NULL && (beside || port < op->outs));
    wr_target *grown = realloc(e->target, (e->targets + 1) * sizeof *grown);
    if (grown == NULL) return wr_fail(info, WR_MEMORY, "no memory for the outputs of %s", op->node->uid);
    e->target = grown;
    e->target[e->targets++] = target;
    return WR_OK;
}

static wr_op *op_at(const wr_worker *w, uint32_t node, uint32_t subtask)
{
    return w->op_of[w->op_first[node] + subtask];
}

static wr_err build_calls(wr_worker *w, wr_errinfo *info)
{
    const wr_job *job = w->exec->job;
    for (uint32_t i = 0; i < job->edges; i++) {
        const wr_edge *e = &job->edge[i];
        if (!e->chained) continue;
        for (uint32_t s = 0; s < job->node[e->from].parallelism; s++) {
            wr_op *from = op_at(w, e->from, s), *to = op_at(w, e->to, s);
            if (from == NULL) continue; /* a chain is in one place */
            to->up = from;
            WR_TRY(add_target(from, e->from_port, (wr_target){.op = to, .port = e->to_port}, info));
        }
    }
    return WR_OK;
}

/* ---- channels ---- */

static void add_input(wr_tasklet *to, const wr_link *link, wr_pipe *p)
{
    if (link->kind == WR_LINK_SPLITS) {
        to->splits = p;
    } else {
        to->in[to->ins++] = p;
        to->live++;
    }
}

/* The plane of the slot that a subtask belongs to; own threads use that of their slot's. */
static wr_err plane_of(wr_worker *w, uint32_t subtask, wr_plane **plane, wr_errinfo *info)
{
    const wr_subtask *sub = &w->exec->subtask[subtask];
    wr_slot          *s = &w->slot[sub->slot];
    wr_plane_config   config = {.env = w->options.env,
                                .parker = &s->parker,
                                .job = w->options.job_id,
                                .attempt = w->options.attempt,
                                .slot = sub->slot,
                                .lease_until_ns = &w->lease_until_ns};
    if (s->plane == NULL) WR_TRY(wr_plane_new(&s->plane, &config, info));
    s->serves = true;
    slot_of(w, sub)->plane = *plane = s->plane;
    return WR_OK;
}

static wr_plane_channel channel_of(const wr_worker *w, const wr_link *link, const wr_channel *c, bool out, wr_pipe *p)
{
    const wr_exec *x = w->exec;
    bool           data = link->kind == WR_LINK_DATA;
    return (wr_plane_channel){.channel = c->id,
                              .remote = x->subtask[out ? c->to : c->from].slot,
                              .pipe = p,
                              .type = link->type,
                              .timed = data && x->job->node[link->from_node].timed && link->from_port != WR_PORT_DEAD,
                              .splits = !data,
                              .neighbours = data ? x->vertex[link->from_vertex].parallelism : 1};
}

/* One channel of a producer that is here. */
static wr_err build_pipe(wr_worker *w, const wr_link *link, const wr_channel *c, wr_exchange *e, wr_pipe **take,
                         wr_errinfo *info)
{
    wr_tasklet *from = w->tasklet_of[c->from], *to = w->tasklet_of[c->to];
    wr_pipe    *p = *take = w->free++;
    if (to != NULL) {
        wr_pipe_init(p, &e->pool, to->home->parker, from->home->parker, link->to_port);
        add_input(to, link, p);
        return WR_OK;
    }
    wr_plane *plane;
    WR_TRY(plane_of(w, c->from, &plane, info));
    wr_pipe_init(p, &e->pool, &w->slot[w->exec->subtask[c->from].slot].parker, from->home->parker, link->to_port);
    wr_plane_channel about = channel_of(w, link, c, true, p);
    return wr_plane_out(plane, &about, info);
}

/* The channels of one producer in one link, as an exchange. */
static wr_err build_exchange(wr_worker *w, const wr_link *link, uint32_t from, uint32_t first, uint32_t count,
                             wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    wr_tasklet    *t = w->tasklet_of[from];
    wr_exchange   *e = &t->exchange[t->exchanges++];
    wr_pipe      **pipes = calloc(count, sizeof *pipes);
    if (pipes == NULL) return wr_fail(info, WR_MEMORY, "no memory for %u channels of %s", count, t->vertex->name);
    e->channel = pipes;
    for (uint32_t i = 0; i < count; i++) {
        WR_TRY(build_pipe(w, link, &x->channel[first + i], e, &pipes[i], info));
        e->channels++; /* what is there is freed when this fails */
    }
    bool           splits = link->kind == WR_LINK_SPLITS;
    const wr_edge *edge = splits ? &w->split_edge[link->id] : &x->job->edge[link->edge];
    wr_op         *op = splits ? &t->enumerator->op : op_at(w, link->from_node, x->subtask[from].index);
    uint32_t       groups = x->job->node[link->to_node].max_parallelism;
    if (wr_exchange_init(e, edge, op, pipes, count, groups) != WR_OK)
        return wr_fail(info, WR_MEMORY, "no memory for an exchange of %s", t->vertex->name);
    if (splits) return WR_OK;
    return add_target(op, link->from_port, (wr_target){.exchange = e}, info);
}

/* The channels of a producer that is elsewhere, as far as they lead here. */
static wr_err build_inputs(wr_worker *w, const wr_link *link, uint32_t first, uint32_t count, wr_errinfo *info)
{
    for (uint32_t i = 0; i < count; i++) {
        const wr_channel *c = &w->exec->channel[first + i];
        wr_tasklet       *to = w->tasklet_of[c->to];
        if (to == NULL) continue;
        wr_plane *plane;
        WR_TRY(plane_of(w, c->to, &plane, info));
        wr_pipe         *p = w->free++;
        wr_plane_channel about = channel_of(w, link, c, false, p);
        WR_TRY(wr_plane_in(plane, &about, to->home->parker, link->to_port, info));
        add_input(to, link, p);
    }
    return WR_OK;
}

static wr_err build_links(wr_worker *w, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    for (uint32_t i = 0; i < x->links; i++) {
        const wr_link *link = &x->link[i];
        w->split_edge[i] = (wr_edge){.type = link->type, .route = WR_ROUTE_REBALANCE};
        for (uint32_t at = link->first_channel, end = at + link->channels; at < end;) {
            uint32_t from = x->channel[at].from, n = 1;
            while (at + n < end && x->channel[at + n].from == from) n++;
            if (w->tasklet_of[from] != NULL)
                WR_TRY(build_exchange(w, link, from, at, n, info));
            else
                WR_TRY(build_inputs(w, link, at, n, info));
            at += n;
        }
    }
    return WR_OK;
}

/* ---- all of it ---- */

static wr_err allocate(wr_worker *w, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    const wr_job  *job = x->job;
    uint32_t       subtasks = 0, channels = 0;
    for (uint32_t i = 0; i < x->subtasks; i++) subtasks += is_here(w, i);
    for (uint32_t i = 0; i < x->channels; i++)
        channels += is_here(w, x->channel[i].from) || is_here(w, x->channel[i].to);
    w->op_first = calloc(job->nodes + 1, sizeof *w->op_first);
    for (uint32_t i = 0; w->op_first != NULL && i < job->nodes; i++) {
        w->op_first[i] = w->op_count;
        w->op_count += job->node[i].parallelism;
    }
    w->op_of = calloc(w->op_count + 1, sizeof(wr_op *));
    w->op = calloc(w->op_count + 1, sizeof(wr_op *));
    w->args = calloc(w->op_count + job->nodes + 1, sizeof *w->args);
    w->tasklet = zeroed(subtasks + 1, sizeof *w->tasklet, WR_CACHE_LINE);
    w->tasklet_of = calloc(x->subtasks + 1, sizeof(wr_tasklet *));
    w->pipe = w->free = zeroed(channels + 1, sizeof *w->pipe, WR_CACHE_LINE);
    w->split_edge = calloc(x->links + 1, sizeof *w->split_edge);
    if (!w->op_first || !w->op_of || !w->op || !w->args || !w->tasklet || !w->tasklet_of || !w->pipe || !w->split_edge)
        return wr_fail(info, WR_MEMORY, "no memory for %u subtasks and %u channels", subtasks, channels);
    return WR_OK;
}

wr_err wr_worker_build(wr_worker *w, wr_errinfo *info)
{
    WR_TRY(allocate(w, info));
    WR_TRY(build_slots(w, info));
    WR_TRY(build_tasklets(w, info));
    for (uint32_t i = 0; i < w->op_count; i++) {
        if (w->op_of[i] != NULL) w->op[w->ops++] = w->op_of[i];
    }
    WR_TRY(build_calls(w, info));
    WR_TRY(build_links(w, info));
    for (uint32_t i = 0; i < w->tasklets; i++) {
        wr_tasklet *t = &w->tasklet[i];
        for (uint32_t k = 0; k < t->ops; k++) wr_op_share_buffers(&t->op[k]);
        if (t->enumerator == NULL && t->op[0].def->kind == WEIR_OP_SOURCE && t->splits == NULL) t->splits_ended = true;
        t->heeds = t->splits != NULL && w->here != NULL;
    }
    return WR_OK;
}
