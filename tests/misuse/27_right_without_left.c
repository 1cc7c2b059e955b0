/* a right half without a left */
/* says: weir_LEFT_of_this_name_must_stand_before_RIGHT_both */
#include "common.h"
WEIR_RIGHT(both, word, in, counter, st, tally, out)
{
    st->seen++;
    tally_emit(out, (tally){.word = in->text});
}
