/* a window over a stream without a key */
/* says: no member named .needs_weir_key_by. */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    weir_apply(heaviest, weir_window(w, weir_tumbling(WEIR_MINUTE)));
}
