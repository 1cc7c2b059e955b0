/* The one table of what kinds of operators do. A kind that is not here does not run yet. */
#include "operators/kernels.h"

const wr_kernel *wr_kernel_of(uint32_t kind)
{
    switch (kind) {
    case WEIR_OP_MAP: return &wr_kernel_map;
    case WEIR_OP_FILTER: return &wr_kernel_filter;
    case WEIR_OP_FLAT_MAP: return &wr_kernel_flat_map;
    case WEIR_OP_KEYED: return &wr_kernel_keyed;
    case WEIR_OP_AGGREGATE: return &wr_kernel_aggregate;
    case WEIR_OP_REDUCE: return &wr_kernel_reduce;
    case WEIR_OP_SOURCE: return &wr_kernel_source;
    case WEIR_OP_SINK: return &wr_kernel_sink;
    case WR_OP_TIME: return &wr_kernel_time;
    case WEIR_OP_TWO_PHASE_SINK: return &wr_kernel_two_phase;
    case WEIR_OP_WINDOW: return &wr_kernel_windows;
    default: return NULL;
    }
}

const wr_kernel *wr_kernel_of_node(const weir_op *def, const wr_node *node)
{
    bool folds = def->kind == WEIR_OP_AGGREGATE || def->kind == WEIR_OP_REDUCE;
    /* One window over the whole input: the accumulator is the key's entry, as in a keyed function. */
    if (folds && node->window.window.kind != WEIR_GLOBAL) return &wr_kernel_windows;
    return wr_kernel_of(def->kind);
}
