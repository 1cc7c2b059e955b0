#include "taskmanager/tasklet.h"
#include "base/check.h"
#include "base/sabotage.h"
#include "taskmanager/heads.h"

_Static_assert(WR_COMMAND_CANCEL == WR_HOME_CANCEL, "loops that wait look for it");

static uint32_t command_of(const wr_tasklet *t)
{
    return atomic_load_explicit(&t->command, memory_order_acquire);
}
static void become(wr_tasklet *t, wr_task_state state)
{
    atomic_store_explicit(&t->state, state, memory_order_release);
}

/* ---- end ---- */

enum wr_called wr_tasklet_leave(wr_tasklet *t, wr_task_state state)
{
    wr_capture_stop(t); /* before its tables go */
    wr_pieces_drop(t);
    /* close may fail as well, but after the first failure nobody wants to hear of it */
    for (uint32_t i = t->ops; i > t->ops - t->opened - t->opening; i--) {
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
    t->opening = false;
    become(t, state);
    return WR_CALLED_DONE;
}

/* The first failure of the chain, moved to the tasklet. */
bool wr_tasklet_failed(wr_tasklet *t)
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

void wr_tasklet_forward(wr_tasklet *t, uint32_t kind, int64_t at)
{
    for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_control(&t->exchange[i], kind, at);
}

void wr_tasklet_say_end(wr_tasklet *t)
{
    t->ended = t->said_end = true;
    wr_tasklet_forward(t, WR_END, 0);
}

/* FINISHED, but for what an operator has still to do before: that is due now, or later. */
static enum wr_called finish(wr_tasklet *t)
{
    bool waits = false;
    for (uint32_t i = 0; i < t->opened; i++) {
        wr_op *op = &t->op[i];
        if (op->kernel->settled == NULL || wr_op_failed(op) || op->kernel->settled(op)) continue;
        waits = true;
        if (!wr_op_due(op)) continue;
        wr_op_tick(op);
        return wr_tasklet_failed(t) ? wr_tasklet_leave(t, WR_TASK_FAILED) : WR_CALLED_PROGRESS;
    }
    return waits ? WR_CALLED_IDLE : wr_tasklet_leave(t, WR_TASK_FINISHED);
}

/* All that was sent has left, the end included. With snapshots it stays until the last one holds what it gave. */
enum wr_called wr_tasklet_rest(wr_tasklet *t)
{
    if (!ready(t)) return WR_CALLED_BLOCKED;
    if (t->barriers.folder == NULL) return finish(t);
    if (atomic_load_explicit(&t->state, memory_order_relaxed) != WR_TASK_RUNNING) return WR_CALLED_IDLE;
    become(t, WR_TASK_ENDED);
    return WR_CALLED_PROGRESS;
}

/* Event time has moved on by a step, which may have called user code. */
static enum wr_called advanced(wr_tasklet *t)
{
    return wr_tasklet_failed(t) ? wr_tasklet_leave(t, WR_TASK_FAILED) : WR_CALLED_PROGRESS;
}

/* One step of the end: time goes to its end; then operator by operator from the head, each until it has no more
 * results. */
static enum wr_called end_step(wr_tasklet *t)
{
    if (wr_advance_end(t)) return advanced(t);
    if (t->ending < t->ops) {
        bool before = t->ended_before >> t->ending & 1;
        if (before || wr_pieces_step(t, &t->op[t->ending], wr_op_end)) t->ending++;
        if (wr_tasklet_failed(t)) return wr_tasklet_leave(t, WR_TASK_FAILED);
        return WR_CALLED_PROGRESS;
    }
    /* The end itself may have to wait for room; a tasklet that is done is not called again to send it. */
    wr_tasklet_say_end(t);
    return WR_CALLED_PROGRESS;
}

/* ---- begin ---- */

enum wr_called wr_tasklet_fail(wr_tasklet *t, const wr_errinfo *info)
{
    t->failure = *info;
    return wr_tasklet_leave(t, WR_TASK_FAILED);
}

static enum wr_called fail_begin(wr_tasklet *t, wr_err err, const wr_errinfo *info)
{
    t->failure = *info;
    if (t->failure.code == WR_OK) t->failure.code = err;
    return wr_tasklet_leave(t, WR_TASK_FAILED);
}

static wr_err load_op(wr_tasklet *t, uint32_t i, wr_errinfo *info)
{
    wr_op                *op = &t->op[i];
    const wr_manifest_op *saved = wr_manifest_find(t->restore, op->node->uid);
    if (saved == NULL) return WR_OK;
    if (!wr_sabotage.no_watermark) {
        op->watermark = saved->watermark;
        WR_TRY(wr_advance_load(op, saved, info));
    }
    if (saved->ended) t->ended_before |= UINT64_C(1) << i;
    return op->kernel->load != NULL ? op->kernel->load(op, saved, t->restore_folder, info) : WR_OK;
}

/* State only: nobody outside may notice, since another task may yet fail to load. */
static enum wr_called load_all(wr_tasklet *t)
{
    wr_errinfo info = {0};
    wr_err     err = WR_OK;
    if (t->enumerator != NULL && t->restore != NULL) {
        const wr_manifest_op *saved = wr_manifest_find(t->restore, t->enumerator->op.node->uid);
        if (saved != NULL) {
            t->ended_before = saved->ended;
            err = wr_enumerator_load(t->enumerator, saved, &info);
        }
    }
    for (uint32_t i = 0; i < t->ops && t->restore != NULL && err == WR_OK; i++) err = load_op(t, i, &info);
    if (err != WR_OK) return fail_begin(t, err, &info);
    become(t, WR_TASK_LOADED);
    return WR_CALLED_PROGRESS;
}

/* Heads whose input had ended say so again; the others hear it from them. */
static void end_again(wr_tasklet *t)
{
    if ((t->ended_before & 1) == 0) return;
    if (t->enumerator != NULL)
        wr_tasklet_say_end(t);
    else if (t->op[0].def->kind == WEIR_OP_SOURCE)
        t->ended = true;
}

/* The next operator, or a step of it when it was not ready at once. *waits: it has to be called again later. */
static wr_err open_next(wr_tasklet *t, bool *waits, wr_errinfo *info)
{
    uint32_t i = t->ops - t->opened - 1;
    wr_op   *op = &t->op[i];
    if (!t->opening) {
        t->opening = true; /* also when it fails: it is closed */
        WR_TRY(wr_op_open(op, info));
    } else if (wr_op_due(op)) {
        wr_op_tick(op);
        if (wr_op_failed(op)) return wr_fail(info, op->failure.code, "%s", op->failure.text);
    }
    *waits = op->kernel->opened != NULL && !op->kernel->opened(op);
    if (*waits) return WR_OK;
    if (t->ended_before >> i & 1) op->due_ns = INT64_MAX; /* clock timers that its end left never fire */
    t->opened++;
    t->opening = false;
    return WR_OK;
}

/* Sinks first: what is emitted while a source opens finds its way ready. */
static enum wr_called open_all(wr_tasklet *t)
{
    wr_errinfo info = {0};
    bool       waits = false;
    while (t->opened < t->ops) {
        wr_err err = open_next(t, &waits, &info);
        if (err != WR_OK) return fail_begin(t, err, &info);
        if (waits) return WR_CALLED_IDLE;
    }
    wr_advance_open(t);
    wr_err err = t->barriers.folder != NULL ? wr_capture_mark(t, &info) : WR_OK;
    if (err != WR_OK) return fail_begin(t, err, &info);
    /* What is to be read must be there before the task counts as running. */
    if (t->enumerator != NULL && (t->ended_before & 1) == 0 && !wr_enumerator_rests(t->enumerator)) {
        if (!wr_heads_discover(t)) return fail_begin(t, t->enumerator->op.failure.code, &t->enumerator->op.failure);
    }
    end_again(t);
    become(t, WR_TASK_RUNNING);
    return WR_CALLED_PROGRESS;
}

static enum wr_called begin(wr_tasklet *t, uint32_t state)
{
    if (state == WR_TASK_CREATED) become(t, WR_TASK_INITIALIZING);
    if (t->restore == NULL && !t->wait_go) return open_all(t);
    if (state != WR_TASK_LOADED) return load_all(t);
    return command_of(t) & WR_COMMAND_GO ? open_all(t) : WR_CALLED_IDLE;
}

/* ---- inputs ---- */

static void on_end(wr_tasklet *t, wr_pipe *p)
{
    p->ended = true;
    t->live--;
    wr_advance_ended(t, p);
    if (t->live == 0) t->ended = true;
}

static void give_home(wr_tasklet *t, wr_pipe *p, wr_batch *b)
{
    p->taken_mono_ns = t->home->mono_ns;
    wr_pipe_return(p, b, t->home->env);
}

/* A piece of the batch in hand. */
static void on_records(wr_tasklet *t)
{
    wr_batch *b = t->pieces.batch;
    if (wr_pieces_push(t)) give_home(t, t->pieces.pipe, b);
}

static void take(wr_tasklet *t, wr_pipe *p, wr_batch *b)
{
    switch (b->kind) {
    case WR_RECORDS:
        t->pieces.pipe = p;
        t->pieces.batch = b;
        t->pieces.done = 0;
        on_records(t);
        return;
    case WR_WATERMARK: wr_advance_watermark(t, p, b->at); break;
    case WR_IDLE: wr_advance_idle(t, p, b->at != 0); break;
    case WR_BARRIER: wr_barrier_take(t, p, b); break;
    case WR_ABORT: wr_barrier_abort(t, (uint64_t)b->at); break;
    case WR_END: on_end(t, p); break;
    default: check(!"an element of no known kind");
    }
    give_home(t, p, b);
}

static bool take_one(wr_tasklet *t)
{
    t->hold.until_mono_ns = 0;
    if (t->pieces.batch != NULL) {
        on_records(t);
        return true;
    }
    for (uint32_t i = 0; i < t->ins; i++) {
        if (++t->next >= t->ins) t->next = 0;
        wr_pipe *p = t->in[t->next];
        if (p->blocked) continue; /* behind the end of the data barriers still come */
        if (wr_ring_peek(&p->data) == NULL || wr_hold_back(t, p)) continue;
        take(t, p, wr_ring_pop(&p->data));
        return true;
    }
    return false;
}

/* ---- call ---- */

static enum wr_called run(wr_tasklet *t)
{
    bool progress = t->op[0].def->kind == WEIR_OP_SOURCE ? wr_heads_read(t) : take_one(t);
    if (wr_tasklet_failed(t)) return wr_tasklet_leave(t, WR_TASK_FAILED);
    if (progress) {
        t->quiet = false;
        /* A channel that is rarely hit must not starve under load. */
        for (uint32_t i = 0; i < t->exchanges; i++)
            wr_exchange_send_open(&t->exchange[i], t->home->mono_ns - WR_FLUSH_NS);
        return WR_CALLED_PROGRESS;
    }
    if (wr_advance_now(t)) return advanced(t);
    if (!t->quiet) {
        t->quiet = true;
        for (uint32_t i = 0; i < t->exchanges; i++) wr_exchange_send_open(&t->exchange[i], INT64_MAX);
        for (uint32_t i = 0; i < t->ops; i++) wr_op_flush(&t->op[i]);
        if (wr_tasklet_failed(t)) return wr_tasklet_leave(t, WR_TASK_FAILED);
    }
    return WR_CALLED_IDLE;
}

/* What came before goes before: results of the end precede a barrier that came behind it. */
static enum wr_called work(wr_tasklet *t)
{
    if (!ready(t)) return WR_CALLED_BLOCKED;
    if (t->pieces.batch != NULL) return run(t); /* the rest of a batch comes before all else */
    if (t->barriers.due) {
        if (!wr_advance_now(t)) wr_barrier_pass(t);
        return wr_tasklet_failed(t) ? wr_tasklet_leave(t, WR_TASK_FAILED) : WR_CALLED_PROGRESS;
    }
    if (t->enumerator != NULL) return wr_heads_enumerate(t);
    if (wr_advance_step(t)) return advanced(t);
    if (t->ended && !t->said_end) return end_step(t);
    enum wr_called called = run(t);
    return t->said_end && called == WR_CALLED_IDLE ? wr_tasklet_rest(t) : called;
}

/* The same while a snapshot is being written. */
static enum wr_called work_and_capture(wr_tasklet *t)
{
    uint32_t first;
    if (wr_capture_first(t, &first)) return (enum wr_called)first;
    enum wr_called called = work(t);
    if (t->barriers.capture.writer == NULL || called == WR_CALLED_DONE) return called;
    bool stepped = wr_capture_step(t, called != WR_CALLED_PROGRESS);
    return stepped ? WR_CALLED_PROGRESS : called;
}

/* It is open, and others may not be. */
static bool held_back(const wr_tasklet *t)
{
    return t->wait_run && (command_of(t) & WR_COMMAND_RUN) == 0;
}

enum wr_called wr_tasklet_call(wr_tasklet *t)
{
    uint32_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    if (state >= WR_TASK_FINISHED) return WR_CALLED_DONE;
    t->home->epoch = t->barriers.passed;
    t->home->command = &t->command;
    if (wr_barrier_orders(t) && wr_tasklet_failed(t)) return wr_tasklet_leave(t, WR_TASK_FAILED);
    if (command_of(t) & WR_COMMAND_CANCEL) return wr_tasklet_leave(t, WR_TASK_CANCELED);
    if (t->finishing) return finish(t);
    if (state < WR_TASK_RUNNING) return begin(t, state);
    if (held_back(t)) return WR_CALLED_IDLE;
    return t->barriers.capture.writer != NULL ? work_and_capture(t) : work(t);
}

void wr_tasklet_waits(const wr_tasklet *t, int *fd, uint32_t *fds, int64_t *until_mono_ns)
{
    int64_t  until = INT64_MAX;
    uint32_t state = atomic_load_explicit(&t->state, memory_order_relaxed);
    if (state >= WR_TASK_FINISHED) return;
    for (uint32_t i = t->ops - t->opened - t->opening; i < t->ops; i++) {
        const wr_op *op = &t->op[i];
        if (op->kernel->settled == NULL && op->kernel->opened == NULL) continue;
        int64_t at = wr_op_due_at(op);
        if (at < *until_mono_ns) *until_mono_ns = at;
    }
    if (t->opened < t->ops || held_back(t)) return;
    if (t->ended || (command_of(t) & WR_COMMAND_PAUSE)) return;
    if (t->enumerator != NULL)
        until = t->discover_mono_ns;
    else if (t->opened > 0 && t->op[0].def->kind == WEIR_OP_SOURCE && !t->ended)
        wr_source_waits(&t->op[0], fd, fds, &until);
    if (t->opened > 0) wr_advance_waits(t, &until);
    wr_hold_waits(t, &until);
    if (until < *until_mono_ns) *until_mono_ns = until;
}
