/* assigning a record's string to the state's text */
/* says: assigning to (type )?.weir_text */
#include "common.h"
WEIR_KEYED(keep, word, in, counter, st, tally, out)
{
    st->name = in->text;
    (void)out;
}
