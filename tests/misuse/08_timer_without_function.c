/* a state with timers, but no timer function */
/* says: operator visits: state timed has timers: name the timer function last */
#include "common.h"
WEIR_KEYED(visits, word, in, timed, st, tally, out, ctx)
{
    weir_event_timer_set(ctx, &st->end, in->at);
    (void)out;
}
