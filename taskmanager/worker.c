/* Builds slots, tasklets and channels from the execution graph, and runs them. */
#include "taskmanager/worker.h"
#include "base/ahead.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "taskmanager/slot.h"
#include <stdio.h>
#include <stdlib.h>

/* The exchange's edge of a splits link: the enumerator chooses the channel itself. */
typedef struct wr_edge split_edge;

/* Owned by whoever called wr_worker_new; slots belong to their threads between start and join. */
struct wr_worker {
    const wr_exec    *exec;
    wr_worker_options options;
    wr_slot          *slot;
    uint32_t          slots;
    wr_tasklet       *tasklet;    /* by subtask */
    wr_pipe          *pipe;       /* by channel of the execution graph */
    split_edge       *split_edge; /* by link */
    weir_args        *args;       /* by operator instance */
    wr_op           **op_of;      /* by (node, subtask): op_first[node] + subtask */
    uint32_t         *op_first;
    uint32_t          op_count;
    uint32_t          event_next, ack_next;
    wr_ahead         *ahead;
    bool              started, joined;
};

const char *wr_task_state_name(wr_task_state state)
{
    static const char *const names[] = {"?",     "CREATED",  "INITIALIZING", "LOADED", "RUNNING",
                                        "ENDED", "FINISHED", "CANCELED",     "FAILED"};
    return state <= WR_TASK_FAILED ? names[state] : "?";
}

static wr_slot *slot_of(const wr_worker *w, const wr_subtask *s)
{
    return &w->slot[s->own_thread ? w->exec->slots + s->place : s->place];
}

/* ---- build ---- */

static void *zeroed(size_t count, size_t size, size_t align)
{
    size_t bytes = (count * size + align - 1) & ~(align - 1);
    void  *p = aligned_alloc(align, bytes ? bytes : align);
    if (p != NULL) memset(p, 0, bytes);
    return p;
}

static wr_err build_slots(wr_worker *w, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    w->slots = x->slots + x->threads;
    w->slot = zeroed(w->slots, sizeof *w->slot, WR_CACHE_LINE);
    if (w->slot == NULL) return wr_fail(info, WR_MEMORY, "no memory for %u slots", w->slots);
    uint64_t share = x->slots ? w->options.state_max / x->slots : 0;
    for (uint32_t i = 0; i < w->slots; i++) {
        wr_slot      *s = &w->slot[i];
        const wr_env *env = w->options.env;
        bool          own = i >= x->slots;
        s->home.env = env;
        s->home.parker = &s->parker;
        s->home.budget = &s->budget;
        s->home.random = wr_prng_of(w->options.seed + i);
        s->home.slot = i;
        s->home.job = w->options.job;
        s->home.lineage = w->options.lineage;
        s->home.snapshots = w->options.snapshots != NULL;
        s->budget.bytes_max = share;
        s->spin = !own && w->options.spin;
        s->cpu = !own && w->options.cpu != NULL ? w->options.cpu[i] : -1;
        s->notify = w->options.notify;
        s->notify_self = w->options.self;
        snprintf(s->name, sizeof s->name, own ? "weir-own-%u" : "weir-slot-%u", own ? i - x->slots : i);
        int got = env->parker_init(env->self, &s->parker);
        if (got < 0)
            return wr_fail_errno(info, -got,
                                 "cannot make an event descriptor for slot %u; raise the limit of open files", i);
        s->tasklet = calloc(x->subtasks + 1, sizeof(wr_tasklet *));
        if (s->tasklet == NULL) return wr_fail(info, WR_MEMORY, "no memory for the tasklets of slot %u", i);
    }
    return WR_OK;
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
        wr_tasklet       *t = &w->tasklet[i];
        const wr_subtask *s = &x->subtask[i];
        wr_slot          *slot = slot_of(w, s);
        t->vertex = &x->vertex[s->vertex];
        t->subtask = s;
        t->home = &slot->home;
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
            to->up = from;
            WR_TRY(add_target(from, e->from_port, (wr_target){.op = to, .port = e->to_port}, info));
        }
    }
    return WR_OK;
}

/* The channels of one producer in one link, as an exchange. */
static wr_err build_exchange(wr_worker *w, const wr_link *link, uint32_t from, uint32_t first, uint32_t count,
                             wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    wr_tasklet    *t = &w->tasklet[from];
    wr_exchange   *e = &t->exchange[t->exchanges++];
    wr_pipe      **pipes = calloc(count, sizeof *pipes);
    if (pipes == NULL) return wr_fail(info, WR_MEMORY, "no memory for %u channels of %s", count, t->vertex->name);
    for (uint32_t i = 0; i < count; i++) {
        const wr_channel *c = &x->channel[first + i];
        wr_tasklet       *to = &w->tasklet[c->to];
        wr_pipe          *p = &w->pipe[c->id];
        wr_pipe_init(p, &e->pool, to->home->parker, t->home->parker, link->to_port);
        pipes[i] = p;
        if (link->kind == WR_LINK_SPLITS) {
            to->splits = p;
        } else {
            to->in[to->ins++] = p;
            to->live++;
        }
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

static wr_err build_links(wr_worker *w, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    for (uint32_t i = 0; i < x->links; i++) {
        const wr_link *link = &x->link[i];
        w->split_edge[i] = (wr_edge){.type = link->type, .route = WR_ROUTE_REBALANCE};
        for (uint32_t at = link->first_channel, end = at + link->channels; at < end;) {
            uint32_t from = x->channel[at].from, n = 1;
            while (at + n < end && x->channel[at + n].from == from) n++;
            WR_TRY(build_exchange(w, link, from, at, n, info));
            at += n;
        }
    }
    return WR_OK;
}

static wr_err build(wr_worker *w, wr_errinfo *info)
{
    const wr_exec *x = w->exec;
    const wr_job  *job = x->job;
    w->op_first = calloc(job->nodes + 1, sizeof *w->op_first);
    for (uint32_t i = 0; w->op_first != NULL && i < job->nodes; i++) {
        w->op_first[i] = w->op_count;
        w->op_count += job->node[i].parallelism;
    }
    w->op_of = calloc(w->op_count + 1, sizeof(wr_op *));
    w->args = calloc(w->op_count + job->nodes + 1, sizeof *w->args);
    w->tasklet = zeroed(x->subtasks + 1, sizeof *w->tasklet, WR_CACHE_LINE);
    w->pipe = zeroed(x->channels + 1, sizeof *w->pipe, WR_CACHE_LINE);
    w->split_edge = calloc(x->links + 1, sizeof *w->split_edge);
    if (!w->op_first || !w->op_of || !w->args || !w->tasklet || !w->pipe || !w->split_edge) {
        return wr_fail(info, WR_MEMORY, "no memory for %u subtasks and %u channels", x->subtasks, x->channels);
    }
    WR_TRY(build_slots(w, info));
    WR_TRY(build_tasklets(w, info));
    WR_TRY(build_calls(w, info));
    WR_TRY(build_links(w, info));
    for (uint32_t i = 0; i < x->subtasks; i++) {
        wr_tasklet *t = &w->tasklet[i];
        for (uint32_t k = 0; k < t->ops; k++) wr_op_share_buffers(&t->op[k]);
        if (t->enumerator == NULL && t->op[0].def->kind == WEIR_OP_SOURCE && t->splits == NULL) t->splits_ended = true;
    }
    return WR_OK;
}

wr_err wr_worker_new(wr_worker **take, const wr_exec *exec, const wr_worker_options *options, wr_errinfo *info)
{
    wr_worker *w = calloc(1, sizeof *w);
    *take = NULL;
    if (w == NULL) return wr_fail(info, WR_MEMORY, "no memory for a worker");
    w->exec = exec;
    w->options = *options;
    wr_err err = build(w, info);
    if (err != WR_OK) {
        wr_worker_free(w);
        return err;
    }
    *take = w;
    return WR_OK;
}

/* ---- run ---- */

wr_err wr_worker_start(wr_worker *w, wr_errinfo *info)
{
    const wr_env *env = w->options.env;
    w->started = true;
    w->ahead = wr_ahead_new(env); /* only with threads of our own: steps by hand stay deterministic */
    for (uint32_t i = 0; i < w->slots; i++) w->slot[i].budget.ahead = w->ahead;
    for (uint32_t i = 0; i < w->slots; i++) {
        wr_slot *s = &w->slot[i];
        int      got = env->thread_start(env->self, &s->thread, wr_slot_run, s, s->name, s->cpu);
        if (got == 0) continue;
        s->thread = NULL;
        for (uint32_t k = 0; k < w->exec->subtasks; k++) wr_worker_cancel(w, k);
        for (uint32_t k = i; k < w->slots; k++) { /* nobody will run these */
            for (uint32_t n = 0; n < w->slot[k].tasklets; n++)
                atomic_store(&w->slot[k].tasklet[n]->state, WR_TASK_CANCELED);
        }
        return wr_fail_errno(info, -got, "cannot start the thread of slot %u; raise the limit of threads or lower -p",
                             i);
    }
    return WR_OK;
}

bool wr_worker_event(wr_worker *w, wr_task_event *event)
{
    for (uint32_t i = 0; i < w->exec->subtasks; i++) {
        uint32_t    at = (w->event_next + i) % w->exec->subtasks;
        wr_tasklet *t = &w->tasklet[at];
        uint32_t    state = atomic_load_explicit(&t->state, memory_order_acquire);
        if (state == t->reported) continue;
        t->reported = state;
        w->event_next = at + 1;
        memset(event, 0, sizeof *event);
        event->subtask = at;
        event->attempt = t->subtask->attempt;
        event->state = (wr_task_state)state;
        if (state == WR_TASK_FAILED) event->info = t->failure;
        return true;
    }
    return false;
}

static void command(wr_worker *w, uint32_t subtask, uint32_t bit)
{
    wr_tasklet *t = &w->tasklet[subtask];
    atomic_fetch_or_explicit(&t->command, bit, memory_order_release);
    wr_parker_wake(w->options.env, t->home->parker);
}

void wr_worker_stop_sources(wr_worker *w)
{
    for (uint32_t i = 0; i < w->exec->subtasks; i++) command(w, i, WR_COMMAND_STOP);
}

void wr_worker_cancel(wr_worker *w, uint32_t subtask)
{
    command(w, subtask, WR_COMMAND_CANCEL);
}

/* ---- snapshots ---- */

static bool is_done(const wr_tasklet *t)
{
    return atomic_load_explicit(&t->state, memory_order_acquire) >= WR_TASK_FINISHED;
}

static void order(wr_worker *w, wr_tasklet *t, uint32_t kind, const wr_barrier *barrier, int file)
{
    wr_order o = {
        .kind = kind, .barrier = *barrier, .file = file, .at_mono_ns = w->options.env->mono_ns(w->options.env->self)};
    wr_mail_order(&t->barriers.mail, &o);
    wr_parker_wake(w->options.env, t->home->parker);
}

static void order_all(wr_worker *w, uint32_t kind, uint64_t id)
{
    wr_barrier about = {.id = id};
    for (uint32_t i = 0; i < w->exec->subtasks; i++) {
        if (!is_done(&w->tasklet[i])) order(w, &w->tasklet[i], kind, &about, 0); /* else nobody would read it */
    }
}

/* Files first: so that they are there when the barrier is, and the slots create none. */
void wr_worker_trigger(wr_worker *w, const wr_barrier *barrier)
{
    wr_failpoint("trigger");
    for (uint32_t i = 0; i < w->exec->subtasks; i++) {
        wr_tasklet *t = &w->tasklet[i];
        uint32_t    state = atomic_load_explicit(&t->state, memory_order_acquire);
        int         file = state >= WR_TASK_RUNNING && state < WR_TASK_FINISHED ? wr_capture_create(t, barrier) : 0;
        if (file > 0) order(w, t, WR_ORDER_FILE, barrier, file);
    }
    for (uint32_t i = 0; i < w->exec->subtasks; i++) {
        wr_tasklet *t = &w->tasklet[i];
        if (t->ins == 0 && t->splits == NULL && !is_done(t)) order(w, t, WR_ORDER_TRIGGER, barrier, 0);
    }
}

void wr_worker_abort(wr_worker *w, uint64_t id)
{
    order_all(w, WR_ORDER_ABORT, id);
}

void wr_worker_complete(wr_worker *w, uint64_t id)
{
    order_all(w, WR_ORDER_COMPLETE, id);
}

void wr_worker_finish(wr_worker *w)
{
    order_all(w, WR_ORDER_FINISH, 0);
}

void wr_worker_go(wr_worker *w)
{
    for (uint32_t i = 0; i < w->exec->subtasks; i++) command(w, i, WR_COMMAND_GO);
}

void wr_worker_pause_sources(wr_worker *w)
{
    for (uint32_t i = 0; i < w->exec->subtasks; i++) command(w, i, WR_COMMAND_PAUSE);
}

wr_ack *wr_worker_ack(wr_worker *w)
{
    for (uint32_t i = 0; i < w->exec->subtasks; i++) {
        uint32_t    at = (w->ack_next + i) % w->exec->subtasks;
        wr_tasklet *t = &w->tasklet[at];
        if (wr_mail_retry(&t->barriers.mail)) wr_parker_wake(w->options.env, t->home->parker);
        wr_ack *ack = wr_mail_ack(&t->barriers.mail);
        if (ack == NULL) continue;
        w->ack_next = at + 1;
        return ack;
    }
    return NULL;
}

bool wr_worker_done(const wr_worker *w)
{
    for (uint32_t i = 0; i < w->exec->subtasks; i++) {
        if (atomic_load_explicit(&w->tasklet[i].state, memory_order_acquire) < WR_TASK_FINISHED) return false;
    }
    return true;
}

void wr_worker_join(wr_worker *w)
{
    for (uint32_t i = 0; i < w->slots; i++) {
        if (w->slot[i].thread != NULL) w->options.env->thread_join(w->options.env->self, w->slot[i].thread);
        w->slot[i].thread = NULL;
    }
    w->joined = true;
}

static void free_tasklet(wr_tasklet *t)
{
    wr_barriers_fini(t); /* before the tables that it captures */
    free(t->held);
    for (uint32_t i = 0; i < t->ops; i++) wr_op_fini(&t->op[i]);
    free(t->op);
    if (t->enumerator != NULL) wr_enumerator_fini(t->enumerator);
    free(t->enumerator);
    for (uint32_t i = 0; i < t->exchanges; i++) {
        wr_exchange *x = &t->exchange[i];
        for (uint32_t c = 0; c < x->channels; c++) wr_pipe_fini(x->channel[c]);
        free(x->channel);
        wr_exchange_fini(x);
    }
    free(t->exchange);
    free(t->in);
}

void wr_worker_free(wr_worker *w)
{
    if (w == NULL) return;
    check(!w->started || w->joined);
    for (uint32_t i = 0; w->tasklet != NULL && i < w->exec->subtasks; i++) free_tasklet(&w->tasklet[i]);
    for (uint32_t i = 0; w->slot != NULL && i < w->slots; i++) {
        wr_slot *s = &w->slot[i];
        if (s->home.env != NULL && s->tasklet != NULL) s->home.env->parker_fini(s->home.env->self, &s->parker);
        wr_scratch_fini(&s->home.scratch);
        free(s->tasklet);
    }
    wr_ahead_free(w->ahead);
    free(w->slot);
    free(w->tasklet);
    free(w->pipe);
    free(w->split_edge);
    free(w->args);
    free(w->op_of);
    free(w->op_first);
    free(w);
}

uint32_t wr_worker_slots(const wr_worker *w)
{
    return w->slots;
}

bool wr_worker_step(wr_worker *w, uint32_t slot)
{
    check(slot < w->slots && !w->started);
    return wr_slot_step(&w->slot[slot]);
}

wr_slot *wr_worker_slot(wr_worker *w, uint32_t slot)
{
    check(slot < w->slots && !w->started);
    return &w->slot[slot];
}

wr_op *wr_worker_op(wr_worker *w, uint32_t node, uint32_t subtask)
{
    return node < w->exec->job->nodes && subtask < w->exec->job->node[node].parallelism ? op_at(w, node, subtask)
                                                                                        : NULL;
}

/* ---- measures ---- */

static uint64_t relaxed(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

bool wr_worker_operator_stats(const wr_worker *w, uint32_t index, wr_operator_stats *stats)
{
    if (index >= w->op_count) return false;
    const wr_op *op = w->op_of[index];
    *stats = (wr_operator_stats){.node = op->node,
                                 .subtask = op->subtask,
                                 .in = relaxed(&op->stats.in),
                                 .out = relaxed(&op->stats.out),
                                 .bad = relaxed(&op->stats.bad),
                                 .late = relaxed(&op->stats.late),
                                 .watermark = atomic_load_explicit(&op->stats.watermark, memory_order_relaxed),
                                 .batches = relaxed(&op->stats.batches),
                                 .state_bytes = relaxed(&op->stats.state_bytes),
                                 .keys = relaxed(&op->stats.keys)};
    return true;
}

bool wr_worker_task_stats(const wr_worker *w, uint32_t index, wr_task_stats *stats)
{
    if (index >= w->exec->subtasks) return false;
    const wr_tasklet *t = &w->tasklet[index];
    *stats = (wr_task_stats){.subtask = index,
                             .state = (wr_task_state)atomic_load_explicit(&t->state, memory_order_acquire),
                             .busy_ns = relaxed(&t->busy_ns),
                             .idle_ns = relaxed(&t->idle_ns),
                             .back_pressured_ns = relaxed(&t->back_pressured_ns),
                             .place = t->subtask->place};
    return true;
}

bool wr_worker_metric(const wr_worker *w, uint32_t index, wr_user_metric *metric)
{
    for (uint32_t i = 0; i < w->op_count; i++) {
        const wr_op *op = w->op_of[i];
        uint32_t     n = atomic_load_explicit(&op->metrics, memory_order_acquire);
        if (index >= n) {
            index -= n;
            continue;
        }
        const wr_metric *m = &op->metric[index];
        uint64_t         bits = relaxed(&m->value);
        double           value = (double)bits;
        if (m->kind == 2) memcpy(&value, &bits, sizeof value);
        *metric = (wr_user_metric){op->node, op->subtask, m->name, m->kind, value, relaxed(&m->count)};
        return true;
    }
    return false;
}

uint64_t wr_worker_state_bytes(const wr_worker *w)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < w->op_count; i++) bytes += relaxed(&w->op_of[i]->stats.state_bytes);
    return bytes;
}

int64_t wr_worker_due(const wr_worker *w)
{
    int64_t due = INT64_MAX;
    for (uint32_t i = 0; i < w->op_count; i++) {
        if (w->op_of[i]->due_ns < due) due = w->op_of[i]->due_ns;
    }
    return due;
}
