/* a timer function with the wrong key type */
/* says: operator visits: must be void over|\(const struct line \*, struct timed \* */
#include "common.h"
static void over(const line *key, timed *st, tally_out *out, weir_ctx *ctx)
{
    (void)key;
    (void)st;
    (void)out;
    (void)ctx;
}
WEIR_KEYED(visits, word, in, timed, st, tally, out, ctx, over)
{
    weir_event_timer_set(ctx, &st->end, in->at);
    (void)out;
}
