/* a setter on a cell of a state that is only read */
/* says: discards .*qualifier */
#include "common.h"
WEIR_KEYED_READ(look, word, in, counter, st, tally, out, ctx)
{
    if (st) weir_text_set(ctx, &st->name, in->text);
    (void)out;
}
