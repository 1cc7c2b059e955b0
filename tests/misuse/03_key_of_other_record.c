/* a key field that the record does not have */
/* says: no member named .wrod. */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_apply(count, weir_key_by(w, wrod));
}
