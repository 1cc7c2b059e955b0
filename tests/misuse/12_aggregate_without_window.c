/* an aggregate without a window */
/* says: weir_apply_heaviest|'word_windowed' */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_apply(heaviest, weir_key_by(w, text));
}
