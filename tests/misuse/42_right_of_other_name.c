/* a right half with another name than the left */
/* says: weir_LEFT_of_this_name_must_stand_before_RIGHT_meets */
#include "common.h"
WEIR_LEFT(meet, line, in, counter, st, tally, out)
{
    tally_emit(out, (tally){.word = in->text, .count = ++st->seen});
}
WEIR_RIGHT(meets, word, in, counter, st, tally, out)
{
    tally_emit(out, (tally){.word = in->text, .count = ++st->seen});
}
