/* a source fused with an operator of another record */
/* says: WEIR_FUSE\(heavy_lines\): lines does not make what heavy takes */
#include "common.h"
WEIR_RECORD(part, (uint64_t, next), (uint64_t, end))
typedef struct reader {
    int fd;
} reader;
static void list(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    part_emit(out, (part){.end = 3});
}
static bool open_it(const part *split, reader *r, weir_ctx *ctx)
{
    (void)split;
    (void)r;
    (void)ctx;
    return true;
}
static void close_it(reader *r)
{
    (void)r;
}
WEIR_SOURCE(lines, part, split, reader, r, line, out, ctx, list, open_it, close_it)
{
    for (; split->next < split->end && weir_room(&out->out); split->next++) line_emit(out, (line){weir_lit("x")});
    return split->next == split->end ? WEIR_END : WEIR_MORE;
}
WEIR_FILTER(heavy, word, in)
{
    return in->weight > 2;
}
WEIR_FUSE(heavy_lines, lines, heavy)
