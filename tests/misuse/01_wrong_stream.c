/* an operator applied to a stream of another record */
/* says: weir_apply_to_word|'line_stream' */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_apply(to_word, w);
}
