/* a keyed stream given to a sink */
/* says: no member named .needs_a_plain_stream. */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_sink(weir_key_by(w, text), "print:");
}
