#include "taskmanager/tasklet.h"
#include "base/check.h"

static uint32_t command_of(const wr_tasklet *t)
{
    return atomic_load_explicit(&t->command, memory_order_acquire);
}
static void become(wr_tasklet *t, wr_task_state state)
{
    atomic_store_explicit(&t->state, state, memory_order_release);
}

/* ---- end ---- */

static enum wr_called leave(wr_tasklet *t, wr_task_state state)
{
    /* close may fail as well, but after the first failure nobody wants to hear of it */
    for (uint32_t i = t->opened; i > 0; i--) {
        wr_op *op = &t->op[i - 1];
        bool   ok = !wr_op_failed(op);
        if (op->kernel->close != NULL) op->kernel->close(op);
        wr_op_close_resources(op);
        if (ok && wr_op_failed(op) && state == WR_TASK_FINISHED) {
            t->failure = op->failure;
            state = WR_TASK_FAILED;
        }
    }
    t->opened = 0;
    become(t, state);
    return WR_CALLED_DONE;
}

/* The first failure of the chain, moved to the tasklet. */
static bool failed(wr_tasklet *t)
{
    for (uint32_t i = 0; i < t->ops; i++) {
        if (!wr_op_failed(&t->op[i])) continue;
        t->failure = t->op[i].failure;
        return true;
    }
    return false;
}

static bool ready(wr_tasklet *t)
{
    bool all = true;
    for (uint32_t i = 0; i < t->exchanges; i++) all &= wr_exchange_ready(&t->exchange[i]);
    return all;
}

static void forward(wr_tasklet *t, uint32_t kind, int64_t at)
{
    for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_control(&t->exchange[i], kind, at);
}

/* All that was sent has left, the end included. */
static enum wr_called finish(wr_tasklet *t)
{
    return ready(t) ? leave(t, WR_TASK_FINISHED) : WR_CALLED_BLOCKED;
}

/* One step of the end: operator by operator from the head, each until it has no more results. */
static enum wr_called end_step(wr_tasklet *t)
{
    if (t->ending < t->ops) {
        if (wr_op_end(&t->op[t->ending])) t->ending++;
        if (failed(t)) return leave(t, WR_TASK_FAILED);
        return WR_CALLED_PROGRESS;
    }
    /* The end itself may have to wait for room; a tasklet that is done is not called again to send it. */
    if (!t->said_end) {
        t->said_end = true;
        forward(t, WR_END, 0);
    }
    return finish(t);
}

/* ---- begin ---- */

static enum wr_called open_all(wr_tasklet *t)
{
    become(t, WR_TASK_INITIALIZING);
    /* Sinks first: what is emitted while a source opens finds its way ready. */
    for (uint32_t i = t->ops; i > 0; i--) {
        wr_op     *op = &t->op[i - 1];
        wr_errinfo info = {0};
        wr_err     err = wr_op_open(op, &info);
        if (err != WR_OK) {
            t->failure = info;
            if (t->failure.code == WR_OK) t->failure.code = err;
            for (uint32_t k = i - 1; k < t->ops; k++) {
                if (t->op[k].kernel->close != NULL) t->op[k].kernel->close(&t->op[k]);
                wr_op_close_resources(&t->op[k]);
            }
            become(t, WR_TASK_FAILED);
            return WR_CALLED_DONE;
        }
    }
    t->opened = t->ops;
    become(t, WR_TASK_RUNNING);
    return WR_CALLED_PROGRESS;
}

/* ---- inputs ---- */

/* The least of all live inputs; it never goes back. */
static void on_watermark(wr_tasklet *t, wr_pipe *p, int64_t at)
{
    if (at > p->watermark) p->watermark = at;
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < t->ins; i++) {
        if (!t->in[i]->ended && t->in[i]->watermark < least) least = t->in[i]->watermark;
    }
    if (least == INT64_MAX || least <= t->watermark) return;
    t->watermark = least;
    forward(t, WR_WATERMARK, least);
}

/* Aligned: an input that delivered the barrier is not drained until all live ones did. */
static void align(wr_tasklet *t)
{
    if (!t->barrier_held) return;
    for (uint32_t i = 0; i < t->ins; i++) {
        if (!t->in[i]->ended && !t->in[i]->blocked) return;
    }
    for (uint32_t i = 0; i < t->ins; i++) t->in[i]->blocked = false;
    t->barrier_held = false;
    for (uint32_t i = 0; i < t->ops; i++) wr_op_flush(&t->op[i]);
    t->home->epoch = (uint64_t)t->barrier;
    forward(t, WR_BARRIER, t->barrier);
}

static void on_end(wr_tasklet *t, wr_pipe *p)
{
    p->ended = true;
    t->live--;
    if (t->live > 0) {
        align(t);
        on_watermark(t, p, WEIR_NO_TIME);
        return;
    }
    t->ended = true;
}

static void take(wr_tasklet *t, wr_pipe *p, wr_batch *b)
{
    switch (b->kind) {
    case WR_RECORDS: {
        wr_view view = {.records = b->records, .n = b->n, .borrowed = b->heap, .borrowed_bytes = b->heap_used};
        wr_op_push(&t->op[0], &view, p->port);
        break;
    }
    case WR_WATERMARK: on_watermark(t, p, b->at); break;
    case WR_BARRIER:
        t->barrier_held = true;
        t->barrier = b->at;
        p->blocked = true;
        align(t);
        break;
    case WR_END: on_end(t, p); break;
    default: check(!"an element of no known kind");
    }
    wr_pipe_return(p, b, t->home->env);
}

static bool take_one(wr_tasklet *t)
{
    for (uint32_t i = 0; i < t->ins; i++) {
        if (++t->next >= t->ins) t->next = 0;
        wr_pipe *p = t->in[t->next];
        if (p->blocked || p->ended) continue;
        wr_batch *b = wr_ring_pop(&p->data);
        if (b == NULL) continue;
        take(t, p, b);
        return true;
    }
    return false;
}

/* ---- sources ---- */

static bool take_split(wr_tasklet *t)
{
    if (t->splits_ended || !wr_source_wants(&t->op[0])) return false;
    wr_batch *b = wr_ring_pop(&t->splits->data);
    if (b == NULL) return false;
    if (b->kind == WR_END) t->splits_ended = true;
    for (uint32_t i = 0; b->kind == WR_RECORDS && i < b->n; i++)
        wr_source_add(&t->op[0], b->records + (size_t)i * b->stride);
    wr_pipe_return(t->splits, b, t->home->env);
    return true;
}

/* True: did something. */
static bool read_source(wr_tasklet *t)
{
    bool took = take_split(t);
    if (command_of(t) & WR_COMMAND_STOP) {
        t->ended = true;
        return true;
    }
    switch (wr_source_poll(&t->op[0])) {
    case WR_POLLED_MORE: return true;
    case WR_POLLED_EMPTY:
        if (t->splits_ended) t->ended = true;
        return t->ended || took;
    default: return took;
    }
}

/* ---- enumerators: on a thread of their own, where user code may block ---- */

static void assign_splits(wr_tasklet *t, bool *progress)
{
    wr_exchange *x = &t->exchange[0];
    for (uint32_t i = 0; i < x->channels; i++) {
        const void *split = wr_enumerator_next(t->enumerator);
        if (split == NULL) return;
        if (++t->next >= x->channels) t->next = 0;
        wr_pipe *p = x->channel[t->next];
        if (wr_ring_free(&p->data) < WR_RING_MAX) continue; /* one credit: it has not taken the last one */
        wr_exchange_put(x, t->next, split);
        wr_enumerator_assigned(t->enumerator);
        *progress = true;
    }
}

static enum wr_called enumerate(wr_tasklet *t)
{
    wr_enumerator *e = t->enumerator;
    uint32_t       command = command_of(t);
    if (command & WR_COMMAND_CANCEL) return leave(t, WR_TASK_CANCELED);
    if (t->ended) return finish(t);
    uint32_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    bool     progress = false;
    if (state == WR_TASK_CREATED) {
        become(t, WR_TASK_RUNNING);
        t->discover_mono_ns = t->home->mono_ns;
    }
    if (t->home->mono_ns >= t->discover_mono_ns) {
        progress = true;
        if (!wr_enumerator_run(e)) {
            t->failure = e->op.failure;
            return leave(t, WR_TASK_FAILED);
        }
        weir_duration every = e->op.node->discover_every;
        t->discover_mono_ns = every > 0 ? t->home->mono_ns + every : INT64_MAX;
    }
    assign_splits(t, &progress);
    bool all = wr_enumerator_next(e) == NULL && t->discover_mono_ns == INT64_MAX;
    if (all || (command & WR_COMMAND_STOP)) {
        forward(t, WR_END, 0);
        t->ended = true;
        return finish(t);
    }
    return progress ? WR_CALLED_PROGRESS : WR_CALLED_IDLE;
}

/* ---- call ---- */

static enum wr_called run(wr_tasklet *t)
{
    bool progress = t->op[0].def->kind == WEIR_OP_SOURCE ? read_source(t) : take_one(t);
    if (failed(t)) return leave(t, WR_TASK_FAILED);
    if (progress) {
        t->quiet = false;
        /* A channel that is rarely hit must not starve under load. */
        for (uint32_t i = 0; i < t->exchanges; i++)
            wr_exchange_send_open(&t->exchange[i], t->home->mono_ns - WR_FLUSH_NS);
        return WR_CALLED_PROGRESS;
    }
    if (!t->quiet) {
        t->quiet = true;
        for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_send_open(&t->exchange[i], INT64_MAX);
        for (uint32_t i = 0; i < t->ops; i++) wr_op_flush(&t->op[i]);
        if (failed(t)) return leave(t, WR_TASK_FAILED);
    }
    return WR_CALLED_IDLE;
}

enum wr_called wr_tasklet_call(wr_tasklet *t)
{
    uint32_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    if (state >= WR_TASK_FINISHED) return WR_CALLED_DONE;
    if (t->enumerator != NULL) return enumerate(t);
    if (command_of(t) & WR_COMMAND_CANCEL) return leave(t, WR_TASK_CANCELED);
    if (state == WR_TASK_CREATED) return open_all(t);
    if (!ready(t)) return WR_CALLED_BLOCKED;
    return t->ended ? end_step(t) : run(t);
}

void wr_tasklet_waits(const wr_tasklet *t, int *fd, uint32_t *fds, int64_t *until_mono_ns)
{
    int64_t  until = INT64_MAX;
    int      wanted = -1;
    uint32_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    if (state >= WR_TASK_FINISHED) return;
    if (t->enumerator != NULL)
        until = t->discover_mono_ns;
    else if (t->opened > 0 && t->op[0].def->kind == WEIR_OP_SOURCE && !t->ended)
        wr_source_waits(&t->op[0], &wanted, &until);
    if (wanted >= 0 && *fds < WR_PARK_FDS_MAX) fd[(*fds)++] = wanted;
    if (until < *until_mono_ns) *until_mono_ns = until;
}
