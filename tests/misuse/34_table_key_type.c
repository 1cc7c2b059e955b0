/* looking up a table by a key of another type */
/* says: tally_table_get|'weir_table_key_of_tally' */
#include "common.h"
WEIR_TABLE(tally, word)
WEIR_STATE(known, (table, tally, all))
WEIR_KEYED(find, word, in, known, st, tally, out, ctx)
{
    const tally *found = tally_table_get(ctx, &st->all, 7);
    if (found) tally_emit(out, *found);
    (void)in;
}
