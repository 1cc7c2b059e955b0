/* a window in front of an operator that takes none */
/* says: weir_apply_count|'word_keyed' */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_apply(count, weir_window(weir_key_by(w, text), weir_one_window()));
}
