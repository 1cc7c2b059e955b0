/* writing broadcast state from the keyed side */
/* says: discards .*qualifier */
#include "common.h"
WEIR_TABLE(tally, word)
WEIR_STATE(known, (table, tally, all))
WEIR_SHARED(learn, tally, in, known, k, ctx)
{
    tally_table_put(ctx, &k->all, *in);
}
WEIR_FLAT_MAP_SHARED(learn, word, in, known, k, tally, out, ctx)
{
    tally_table_put(ctx, &k->all, (tally){.word = in->text});
    (void)out;
}
