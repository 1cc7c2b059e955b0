/* assigning a field of broadcast state from the side that reads it */
/* says: read-only|const-qualified */
#include "common.h"
WEIR_STATE(limits, (double, least))
WEIR_SHARED(learn, tally, in, limits, known)
{
    known->least = (double)in->count;
}
WEIR_FLAT_MAP_SHARED(learn, word, in, limits, known, word, out)
{
    if (in->weight > known->least) known->least = in->weight;
    (void)out;
}
