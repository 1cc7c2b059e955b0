/* writing the state of a keyed function that only reads */
/* says: read-only|const-qualified */
#include "common.h"
WEIR_KEYED_READ(look, word, in, counter, st, tally, out)
{
    tally_emit(out, (tally){.word = in->text, .count = st ? ++st->seen : 0});
}
