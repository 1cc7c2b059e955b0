/* Sinks: the end of a chain. */
#include "operators/kernels.h"
#include <stdlib.h>

typedef struct sink {
    uint32_t verdict;
    bool     called, opened, unflushed; /* called: open was called, so close is, too */
} sink;

/* Calls user code outside of a push: what it rejects leaves at once, while its texts live. */
static void call(wr_op *op, weir_loop *loop, const char *does)
{
    op->ctx.n = 1;
    op->home->depth++;
    wr_op_call(op, loop, does);
    if (op->outs > 0) wr_op_settle(op);
    if (--op->home->depth == 0) wr_scratch_reset(&op->home->scratch);
}

static wr_err sink_open(wr_op *op, wr_errinfo *info)
{
    sink *s = calloc(1, sizeof *s);
    op->kernel_state = s;
    op->ctx.local = calloc(1, op->def->local_size ? op->def->local_size : 1);
    if (s == NULL || op->ctx.local == NULL) return wr_fail(info, WR_MEMORY, "no memory for sink %s", op->node->uid);
    op->ctx.verdict = &s->verdict;
    s->verdict = 1;
    s->called = true;
    if (op->def->open != NULL) call(op, op->def->open, "in its open function");
    s->opened = s->verdict != 0 && !wr_op_failed(op);
    if (s->opened) return WR_OK;
    if (wr_op_failed(op)) return wr_fail(info, op->failure.code, "%s", op->failure.text);
    return wr_fail(info, WR_USER_FAIL,
                   "the open function of the sink returned false; operator %s subtask %u (%s:%u); "
                   "let it call weir_fail(ctx, reason)",
                   op->node->uid, op->subtask, op->def->file ? op->def->file : "?", op->def->line);
}

static void sink_push(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    sink *s = op->kernel_state;
    op->ctx.in = view->records;
    op->ctx.time = view->time;
    op->ctx.n = view->n;
    s->unflushed = true;
    wr_op_call(op, op->def->on_left, "writing");
    if (op->outs > 0) wr_op_settle(op);
}

static void sink_flush(wr_op *op)
{
    sink *s = op->kernel_state;
    if (s == NULL || !s->opened || !s->unflushed || op->def->flush == NULL) return;
    s->unflushed = false;
    s->verdict = 1;
    call(op, op->def->flush, "in its flush function");
    if (s->verdict == 0 && !wr_op_failed(op)) {
        wr_op_fail(op, WR_USER_FAIL, "the flush function of the sink returned false; operator %s subtask %u",
                   op->node->uid, op->subtask);
    }
}

static bool sink_end(wr_op *op)
{
    sink_flush(op);
    return true;
}

static void sink_close(wr_op *op)
{
    sink *s = op->kernel_state;
    if (s != NULL && s->called && op->def->close != NULL) {
        op->ctx.n = 1;
        wr_op_call(op, op->def->close, "in its close function"); /* nobody takes letters any more */
    }
    free(op->ctx.local);
    op->ctx.local = NULL;
    free(s);
    op->kernel_state = NULL;
}

const wr_kernel wr_kernel_sink = {
    .name = "sink", .open = sink_open, .push = sink_push, .end = sink_end, .flush = sink_flush, .close = sink_close};
