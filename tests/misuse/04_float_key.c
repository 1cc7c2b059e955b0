/* a floating point key */
/* says: weir_this_field_cannot_be_a_key */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_apply(count, weir_key_by(w, weight));
}
