/* an option of a sink on a map */
/* says: no member named .guarantee.|field designator 'guarantee' does not refer */
#include "common.h"
void f(weir_pipeline *p)
{
    line_stream l = weir_source(line, p, "x:");
    weir_apply(to_word, l, .guarantee = WEIR_AT_LEAST_ONCE);
}
