/* a source whose open has another reader */
/* says: source lines: must be bool open_it|bool \(const struct line \*, other \* */
#include "common.h"
typedef struct {
    int fd;
} reader;
typedef struct {
    int fd;
} other;
static void list(line_out *out, weir_ctx *ctx)
{
    (void)out;
    (void)ctx;
}
static bool open_it(const line *s, other *r, weir_ctx *ctx)
{
    (void)s;
    (void)r;
    (void)ctx;
    return true;
}
static void close_it(reader *r)
{
    (void)r;
}
WEIR_SOURCE(lines, line, split, reader, r, word, out, ctx, list, open_it, close_it)
{
    (void)split;
    (void)out;
    return WEIR_END;
}
