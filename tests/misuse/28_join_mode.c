/* a join mode that does not exist */
/* says: WEIR_OUTER */
#include "common.h"
WEIR_JOIN(both, OUTER, line, l, word, r, tally, out)
{
    (void)l;
    tally_emit(out, (tally){.word = r->text});
}
