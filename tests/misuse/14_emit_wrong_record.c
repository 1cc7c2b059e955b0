/* emitting another record than the output takes */
/* says: tally_emit|'tally_out */
#include "common.h"
WEIR_FLAT_MAP(split, line, in, word, out)
{
    tally_emit(out, (tally){.word = in->text});
}
