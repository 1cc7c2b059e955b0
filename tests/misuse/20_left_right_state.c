/* two halves of one operator with different states */
/* says: operator both: WEIR_LEFT and WEIR_RIGHT share one state */
#include "common.h"
WEIR_LEFT(both, line, in, counter, st, tally, out)
{
    st->seen++;
    tally_emit(out, (tally){.word = in->text});
}
WEIR_RIGHT(both, word, in, timed, st, tally, out)
{
    st->seen++;
    tally_emit(out, (tally){.word = in->text});
}
