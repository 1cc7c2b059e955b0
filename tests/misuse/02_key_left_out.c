/* a keyed operator on a stream without a key */
/* says: weir_apply_count|'word_keyed' */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_apply(count, w, .parallelism = 2);
}
