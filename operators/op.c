/* How a batch goes through a chain: push, grow, hand on. */
#include "operators/op.h"
#include "base/check.h"
#include "operators/exchange.h"
#include "operators/kernels.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

_Thread_local wr_user  wr_user_now;
_Thread_local uint64_t wr_user_calls;

static inline void stat_add(_Atomic uint64_t *counter, uint64_t by)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed); /* one writer: no need for a locked add */
    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

/* ---- outputs ---- */

static uint32_t emit_capacity(uint32_t stride)
{
    uint32_t n = WR_CHAIN_BYTES / stride;
    if (n > WR_BATCH_RECORDS_MAX) n = WR_BATCH_RECORDS_MAX;
    return n ? n : 1;
}

static wr_err emit_init(wr_op *op, uint32_t index, const weir_type *type, bool timed, wr_errinfo *info)
{
    wr_emit *e = &op->emit[index];
    e->op = op;
    e->pub = &op->out[index];
    e->type = type;
    e->index = index;
    e->stride = type->size;
    e->capacity = emit_capacity(type->size);
    size_t bytes = ((size_t)e->stride * e->capacity + WR_BATCH_SPARE_BYTES + WR_CACHE_LINE - 1) &
                   ~(size_t)(WR_CACHE_LINE - 1);
    bool good = posix_memalign((void **)&e->base, WR_CACHE_LINE, bytes) == 0;
    if (good && timed) good = posix_memalign((void **)&e->time, WR_CACHE_LINE, e->capacity * sizeof *e->time) == 0;
    if (!good) {
        return wr_fail(info, WR_MEMORY, "no memory for the output buffer; operator %s; lower the parallelism",
                       op->node->uid);
    }
    e->pub->next = e->base;
    e->pub->end = e->base + (size_t)e->stride * e->capacity;
    e->pub->time = e->time;
    e->pub->ctx = &op->ctx;
    e->pub->engine = e;
    return WR_OK;
}

static void emit_view(wr_emit *e, const wr_view *view)
{
    e->records += view->n;
    stat_add(&e->op->stats.out, view->n);
    for (uint32_t i = 0; i < e->targets; i++) {
        wr_target *t = &e->target[i];
        if (t->op != NULL)
            wr_op_push(t->op, view, t->port);
        else
            wr_exchange_push(t->exchange, view);
    }
}

/* A call may emit without end: nothing of it is kept any more, until it returns. */
static bool is_overdrawn(const wr_op *op)
{
    return __builtin_expect(op->failure.code == WR_OVERDRAFT, 0);
}

static void emit_deliver(wr_emit *e, char *next)
{
    uint32_t n = (uint32_t)((size_t)(next - e->base) / e->stride);
    check(n <= e->capacity);
    if (n == 0 || is_overdrawn(e->op)) return;
    wr_view view = {.records = e->base,
                    .n = n,
                    .time = e->time,
                    .borrowed = e->pub->borrowed,
                    .borrowed_bytes = e->pub->borrowed_bytes};
    emit_view(e, &view);
}

/* Hands on what is there; the buffer is empty again. */
static void emit_flush(wr_emit *e)
{
    char *full = e->pub->next;
    e->pub->next = e->base;
    e->pub->time = e->time;
    emit_deliver(e, full);
}

weir_grown weir_out_grow(void *engine, char *next)
{
    wr_emit *e = engine;
    emit_deliver(e, next);
    return (weir_grown){e->base, e->base + (size_t)e->stride * e->capacity, e->time};
}

void weir_out_own(void *engine, weir_str *s)
{
    wr_emit    *e = engine;
    wr_scratch *scratch = &e->op->home->scratch;
    if (is_overdrawn(e->op)) *s = (weir_str){0};
    if (s->len <= WEIR_STR_INLINE || wr_scratch_holds(scratch, s->u.far)) return;
    char *copy = wr_scratch_take(scratch, s->len);
    memcpy(copy, s->u.far, s->len);
    s->u.far = copy;
}

void wr_op_room(wr_op *op, uint32_t n)
{
    wr_emit *e = &op->emit[0];
    check(n <= e->capacity);
    if ((size_t)(e->pub->end - e->pub->next) >= (size_t)n * e->stride) return;
    emit_flush(e);
}

void wr_op_pass(wr_op *op, const wr_view *view)
{
    emit_view(&op->emit[0], view);
}

void wr_op_late(wr_op *op, const void *record, weir_time time)
{
    stat_add(&op->stats.late, 1);
    if (op->late == NULL) return;
    wr_emit  *e = op->late;
    weir_out *o = e->pub;
    if (o->next == o->end) emit_flush(e);
    memcpy(o->next, record, e->stride); /* its far strings are the input's, and live until the push is over */
    o->next += e->stride;
    *o->time++ = time;
}

void wr_op_borrow(wr_op *op, const wr_view *view)
{
    for (uint32_t i = 0; i < op->outs; i++) {
        op->out[i].borrowed = view->borrowed;
        op->out[i].borrowed_bytes = view->borrowed_bytes;
    }
}

void wr_op_settle(wr_op *op)
{
    for (uint32_t i = 0; i < op->outs; i++) emit_flush(&op->emit[i]);
    if (op->home->scratch.exhausted && !wr_op_failed(op)) {
        op->home->scratch.exhausted = false; /* its fault; those that called it settle after it */
        wr_op_fail_overdraft(op, true, true);
    }
}

/* ---- calls ---- */

void wr_user_call(wr_user user, weir_loop *loop, weir_ctx *ctx)
{
    wr_user was = wr_user_enter(user);
    loop(ctx);
    wr_user_leave(was);
}

static void scratch_enter(wr_home *home)
{
    home->depth++;
}
static void scratch_leave(wr_home *home)
{
    if (--home->depth == 0) wr_scratch_reset(&home->scratch);
}

void wr_op_push(wr_op *op, const wr_view *view, uint32_t port)
{
    check(view->n > 0);
    if (wr_op_failed(op)) return; /* the task is about to be stopped */
    stat_add(&op->stats.in, view->n);
    stat_add(&op->stats.batches, 1);
    scratch_enter(op->home);
    op->rejected = false;
    op->kernel->push(op, view, port);
    scratch_leave(op->home);
}

bool wr_op_end(wr_op *op)
{
    if (wr_op_failed(op) || op->kernel->end == NULL) return true;
    scratch_enter(op->home);
    bool done = op->kernel->end(op);
    scratch_leave(op->home);
    return done;
}

bool wr_op_advance(wr_op *op)
{
    if (wr_op_failed(op) || op->kernel->advance == NULL) return true;
    scratch_enter(op->home);
    bool done = op->kernel->advance(op);
    scratch_leave(op->home);
    return done;
}

bool wr_op_tick(wr_op *op)
{
    if (wr_op_failed(op) || op->kernel->tick == NULL) return true;
    scratch_enter(op->home);
    bool done = op->kernel->tick(op);
    scratch_leave(op->home);
    return done;
}

int64_t wr_op_due_at(const wr_op *op)
{
    int64_t at = INT64_MAX;
    if (op->due_ns != INT64_MAX)
        at = op->home->mono_ns + (op->due_ns > op->home->now_ns ? op->due_ns - op->home->now_ns : 0);
    return op->due_mono_ns < at ? op->due_mono_ns : at;
}

void wr_op_flush(wr_op *op)
{
    if (!wr_op_failed(op) && op->kernel->flush != NULL) op->kernel->flush(op);
}

bool wr_op_failed(const wr_op *op)
{
    return op->failure.code != WR_OK;
}

void wr_op_fail(wr_op *op, wr_err code, const char *format, ...)
{
    op->ctx.failed = 1;
    if (op->failure.code != WR_OK) return; /* the first cause is the one to read */
    va_list args;
    va_start(args, format);
    op->failure.code = code;
    vsnprintf(op->failure.text, sizeof op->failure.text, format, args);
    va_end(args);
}

/* ---- life ---- */

/* Rejected records leave by an output of their own, behind those of the operator. */
static wr_err dead_init(wr_op *op, wr_errinfo *info)
{
    op->on_error = op->node->on_error;
    if (!op->node->dead) return WR_OK;
    WR_TRY(emit_init(op, op->outs, &wr_dead_type, false, info));
    op->dead = &op->emit[op->outs++];
    return WR_OK;
}

/* So do late ones, which are records of the input. */
static wr_err late_init(wr_op *op, wr_errinfo *info)
{
    if (!op->node->late) return WR_OK;
    WR_TRY(emit_init(op, op->outs, op->def->left, true, info));
    op->late = &op->emit[op->outs++];
    return WR_OK;
}

wr_err wr_op_init(wr_op *op, wr_errinfo *info)
{
    const weir_op *def = op->def;
    op->kernel = wr_kernel_of_node(def, op->node);
    if (op->kernel == NULL)
        return wr_fail(info, WR_NOT_YET, "this kind of operator does not run yet; operator %s", op->node->uid);
    bool sink = def->kind == WEIR_OP_SINK;
    op->outs = sink ? 0 : def->outs;
    op->timed = op->node->timed;
    op->out = calloc(op->outs + 2, sizeof *op->out); /* and those for dead letters and for late records */
    op->emit = calloc(op->outs + 2, sizeof *op->emit);
    if (op->out == NULL || op->emit == NULL)
        return wr_fail(info, WR_MEMORY, "no memory for operator %s", op->node->uid);
    for (uint32_t i = 0; i < op->outs; i++) { /* a connector by URI learns its type from the node */
        WR_TRY(emit_init(op, i, def->out[i] != NULL ? def->out[i] : op->node->type, op->timed, info));
    }
    op->ctx.abi_size = sizeof op->ctx;
    op->ctx.subtask = op->subtask;
    op->ctx.subtasks = op->subtasks;
    op->ctx.out = op->out;
    op->ctx.engine = op;
    op->watermark = op->mark = WEIR_NO_TIME;
    atomic_init(&op->stats.watermark, WEIR_NO_TIME);
    op->due_ns = op->due_mono_ns = INT64_MAX;
    WR_TRY(dead_init(op, info));
    return late_init(op, info);
}

wr_err wr_op_open(wr_op *op, wr_errinfo *info)
{
    return op->kernel->open != NULL ? op->kernel->open(op, info) : WR_OK;
}

void wr_op_share_buffers(wr_op *op)
{
    uint32_t kind = op->def->kind;
    if (op->up == NULL || (kind != WEIR_OP_MAP && kind != WEIR_OP_FILTER)) return;
    uint32_t up = op->up->def->kind;
    if (up != WEIR_OP_MAP && up != WEIR_OP_FILTER) return;
    if (op->up->up == NULL || op->up->up->outs == 0) return;
    /* Our input is what `up` wrote, so what up's input lay in is free again: `up` makes at most one for one and is
     * done with it when it hands on. Only where one operator leads to exactly one other, or a sibling would read it
     * still. */
    wr_emit *theirs = &op->up->up->emit[0], *mine = &op->emit[0];
    if (op->up->up->outs != 1 || theirs->targets != 1 || op->up->emit[0].targets != 1) return;
    if (op->up->up->def->kind != WEIR_OP_MAP && op->up->up->def->kind != WEIR_OP_FILTER) return;
    /* `up` must take its input in one piece: a second piece would be read after we wrote. */
    if (op->up->emit[0].capacity < theirs->capacity || op->up->emit[0].targets != 1) return;
    if (theirs->stride < mine->stride || theirs->capacity < mine->capacity) return;
    free(mine->base);
    free(mine->time);
    mine->base = theirs->base;
    mine->time = theirs->time; /* no time operator stands between, so it has one if we have */
    mine->lent = true;
    mine->pub->next = mine->base;
    mine->pub->end = mine->base + (size_t)mine->stride * mine->capacity;
    mine->pub->time = mine->time;
}

void wr_op_fini(wr_op *op)
{
    if (op->kernel != NULL && op->kernel->close != NULL) op->kernel->close(op);
    if (op->kernel != NULL && op->kernel->close != NULL && op->kernel_state != NULL) op->kernel->close(op);
    wr_op_close_resources(op);
    for (uint32_t i = 0; i < op->outs && op->emit != NULL; i++) {
        if (!op->emit[i].lent) {
            free(op->emit[i].base);
            free(op->emit[i].time);
        }
        free(op->emit[i].target);
    }
    free(op->emit);
    free(op->out);
    free(op->metric);
    op->emit = NULL;
    op->out = NULL;
    op->outs = 0;
}
