/* writing to the input record */
/* says: read-only|const-qualified */
#include "common.h"
WEIR_FILTER(heavy, word, in)
{
    in->weight += 1;
    return in->weight > 2;
}
