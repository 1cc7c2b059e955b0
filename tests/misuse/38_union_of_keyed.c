/* a union of keyed streams: the union is keyed, not its inputs */
/* says: no member named .needs_a_plain_stream. */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream a = weir_source(word, p, "x:"), b = weir_source(word, p, "y:");
    weir_apply(count, weir_union(weir_key_by(a, text), weir_key_by(b, text)));
}
