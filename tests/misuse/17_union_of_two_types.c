/* a union of streams of two records */
/* says: type mismatch|incompatible operand types */
#include "common.h"
void f(weir_pipeline *p)
{
    word_stream w = weir_source(word, p, "x:");
    line_stream l = weir_source(line, p, "x:");
    weir_union(w, l);
}
