/* filter, map, flat map: one loop over the batch. */
#include "base/check.h"
#include "operators/kernels.h"

/* MAP and FILTER write without looking for room: they get it beforehand, in pieces where their records are larger. */
static void push_one_to_one(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    weir_ctx *ctx = &op->ctx;
    uint32_t  most = op->emit[0].capacity;
    wr_op_borrow(op, view);
    for (uint32_t done = 0, n; done < view->n && !wr_op_failed(op); done += n) {
        n = view->n - done < most ? view->n - done : most;
        wr_op_room(op, n);
        ctx->in = view->records + (size_t)done * op->def->left->size;
        ctx->time = view->time ? view->time + done : NULL;
        ctx->n = n;
        op->behind = view->n - done - n;
        op->rejected = false; /* that was another record with the same index */
        wr_op_call(op, op->def->on_left, "");
    }
    wr_op_settle(op);
}

static void push_flat_map(wr_op *op, const wr_view *view, uint32_t port)
{
    (void)port;
    wr_op_borrow(op, view);
    op->ctx.in = view->records;
    op->ctx.time = view->time;
    op->ctx.n = view->n;
    wr_op_call(op, op->def->on_left, "");
    wr_op_settle(op);
}

const wr_kernel wr_kernel_map = {.name = "map", .push = push_one_to_one};
const wr_kernel wr_kernel_filter = {.name = "filter", .push = push_one_to_one};
const wr_kernel wr_kernel_flat_map = {.name = "flat map", .push = push_flat_map};
