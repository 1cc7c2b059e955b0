/* a duration where an instant belongs */
/* says: weir_event_timer_set|'weir_time' */
#include "common.h"
static void over(const word *key, timed *st, tally_out *out, weir_ctx *ctx)
{
    (void)key;
    (void)st;
    (void)out;
    (void)ctx;
}
WEIR_KEYED(visits, word, in, timed, st, tally, out, ctx, over)
{
    weir_event_timer_set(ctx, &st->end, 10 * WEIR_SECOND);
    (void)out;
    (void)in;
}
