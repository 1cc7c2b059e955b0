/* a side output used as a stream of another record */
/* says: word_emit|'word_out */
#include "common.h"
WEIR_OUTPUTS(routed, (word, words), (line, bad))
WEIR_FLAT_MAP(split, line, in, routed, out)
{
    word_emit(&out->bad, (word){.text = in->text});
}
