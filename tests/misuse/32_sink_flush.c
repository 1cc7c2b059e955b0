/* a sink whose flush returns nothing */
/* says: sink book: must be bool flush_it\(writer \*writer, weir_ctx \*ctx\) */
#include "common.h"
typedef struct writer {
    uint64_t written;
} writer;
static bool open_it(writer *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
    return true;
}
static void flush_it(writer *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
}
static void close_it(writer *w, weir_ctx *ctx)
{
    (void)w;
    (void)ctx;
}
WEIR_SINK(book, tally, in, writer, w, ctx, open_it, flush_it, close_it)
{
    w->written += in->count;
}
