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
    default: return NULL;
    }
}
